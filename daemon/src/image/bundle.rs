//! The one file: written on a connected machine, read on one that is not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ImageError;
use super::digest::{Digest, Digesting};
use super::pack::{pack, unpack};

/// The version of the layout.
pub const FORMAT: u32 = 1;
const FACTS: &str = "bundle.toml";
const PACKAGE: &str = "crankcase.deb";
const IMAGE: &str = "image.tar.zst";
/// Bytes that the facts may have.
const FACTS_BYTES_MAX: u64 = 64 * 1024;

/// What a file says of itself, first of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Contents {
    /// [`FORMAT`].
    pub format: u32,
    /// The package's version.
    pub crankcase: String,
    /// As Debian names it.
    pub architecture: String,
    /// The release that the image was made from.
    pub suite: String,
    /// The set of languages, or `custom`.
    pub profile: String,
    /// Bytes that the image takes once unpacked.
    pub image_bytes: u64,
    /// SHA-256 of the image's archive.
    pub image_sha256: String,
    /// SHA-256 of the package.
    pub package_sha256: String,
    /// Versions by language.
    pub languages: BTreeMap<String, String>,
}

/// What goes into a file.
pub struct Bundle<'a> {
    /// The image's directory.
    pub image: &'a Path,
    /// The Debian package.
    pub package: &'a Path,
    /// All but sizes and digests.
    pub contents: Contents,
}

impl Bundle<'_> {
    /// Writes it beside its place and moves it there when it is whole; gives its digest.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn write(mut self, file: &Path) -> Result<Digest, ImageError> {
        let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary =
            || tempfile::NamedTempFile::new_in(directory).map_err(ImageError::io("writing into", directory));
        let mut image = Digesting::new(BufWriter::new(temporary()?));
        self.contents.image_bytes = pack(self.image, &mut image)?;
        let (digest, image) = image.finish();
        self.contents.image_sha256 = digest.to_string();
        let mut image = image.into_inner().map_err(|error| ImageError::io("writing", file)(error.into_error()))?;
        let mut package = File::open(self.package).map_err(ImageError::io("opening", self.package))?;
        let mut digesting = Digesting::new(&mut package);
        io::copy(&mut digesting, &mut io::sink()).map_err(ImageError::io("reading", self.package))?;
        self.contents.package_sha256 = digesting.finish().0.to_string();

        let failed = || ImageError::io("writing", file);
        let mut archive = tar::Builder::new(Digesting::new(BufWriter::new(temporary()?)));
        let facts = toml::to_string(&self.contents).map_err(|error| ImageError::wrong(error.to_string()))?;
        append(&mut archive, FACTS, facts.len() as u64, facts.as_bytes()).map_err(failed())?;
        package.rewind().map_err(failed())?;
        let size = package.metadata().map_err(failed())?.len();
        append(&mut archive, PACKAGE, size, package).map_err(failed())?;
        let image = image.as_file_mut();
        image.rewind().map_err(failed())?;
        let size = image.metadata().map_err(failed())?.len();
        append(&mut archive, IMAGE, size, image).map_err(failed())?;
        let (digest, mut written) = archive.into_inner().map_err(failed())?.finish();
        written.flush().map_err(failed())?;
        let written = written.into_inner().map_err(|error| failed()(error.into_error()))?;
        written.as_file().sync_all().map_err(failed())?;
        let whole = written.persist(file).map_err(|error| failed()(error.error))?;
        use std::os::unix::fs::PermissionsExt as _;
        whole.set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed())?;
        Ok(digest)
    }
}

fn append(archive: &mut tar::Builder<impl io::Write>, name: &str, size: u64, data: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, data)
}

/// Reads a file once, unpacking the image into `directory`; `accept` may refuse what it says of itself. Gives that and the
/// file's digest, which is for the caller to compare.
///
/// # Errors
/// [`ImageError`] also when the parts have other digests than the file says.
pub fn read(
    file: &Path,
    directory: &Path,
    accept: impl FnOnce(&Contents) -> Result<(), ImageError>,
) -> Result<(Contents, Digest), ImageError> {
    let failed = || ImageError::io("reading", file);
    let opened = File::open(file).map_err(ImageError::io("opening", file))?;
    let mut archive = tar::Archive::new(Digesting::new(BufReader::with_capacity(1 << 18, opened)));
    let contents = {
        let mut entries = archive.entries().map_err(failed())?;
        let mut text = String::new();
        let mut facts = part(&mut entries, FACTS, file)?;
        facts.by_ref().take(FACTS_BYTES_MAX).read_to_string(&mut text).map_err(failed())?;
        let contents = parse(&text)?;
        accept(&contents)?;
        let mut package = Digesting::new(part(&mut entries, PACKAGE, file)?);
        io::copy(&mut package, &mut io::sink()).map_err(failed())?;
        same(PACKAGE, &contents.package_sha256, package.finish().0)?;
        let mut image = Digesting::new(part(&mut entries, IMAGE, file)?);
        unpack(&mut image, directory, contents.image_bytes)?;
        io::copy(&mut image, &mut io::sink()).map_err(failed())?;
        same(IMAGE, &contents.image_sha256, image.finish().0)?;
        if entries.next().is_some() {
            return Err(ImageError::wrong("the file holds more than it should"));
        }
        contents
    };
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(failed())?;
    Ok((contents, rest.finish().0))
}

fn part<'a, R: Read>(
    entries: &mut tar::Entries<'a, R>,
    name: &str,
    file: &Path,
) -> Result<tar::Entry<'a, R>, ImageError> {
    let entry = entries.next().transpose().map_err(ImageError::io("reading", file))?;
    entry.filter(|entry| *entry.path_bytes() == *name.as_bytes()).ok_or_else(|| {
        ImageError::wrong(format!("{} was not made by `crankcase runtimes export`: no {name}", file.display()))
    })
}

fn parse(text: &str) -> Result<Contents, ImageError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    // The layout's version is looked at before what another version may have changed.
    let Version { format } =
        toml::from_str(text).map_err(|error| ImageError::wrong(format!("{FACTS}: {}", error.message())))?;
    if format != FORMAT {
        return Err(ImageError::wrong(format!("the file has format {format}, this crankcase reads {FORMAT}")));
    }
    toml::from_str(text).map_err(|error| ImageError::wrong(format!("{FACTS}: {}", error.message())))
}

fn same(name: &str, said: &str, found: Digest) -> Result<(), ImageError> {
    if said == found.to_string() {
        Ok(())
    } else {
        Err(ImageError::wrong(format!("the file is damaged: {name} has the SHA-256 {found}, it should have {said}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        Contents {
            format: FORMAT,
            crankcase: "0.1.0".into(),
            architecture: "amd64".into(),
            suite: "bookworm".into(),
            profile: "small".into(),
            image_bytes: 0,
            image_sha256: String::new(),
            package_sha256: String::new(),
            languages: BTreeMap::from([("python".to_owned(), "3.11.2".to_owned())]),
        }
    }

    #[test]
    fn a_file_comes_back_and_any_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (image, package, file) = (dir.path().join("i"), dir.path().join("p.deb"), dir.path().join("f"));
        std::fs::create_dir_all(image.join("usr/bin")).unwrap();
        std::fs::write(image.join("usr/bin/python3"), "snake").unwrap();
        std::fs::write(&package, "package").unwrap();
        let digest = Bundle { image: &image, package: &package, contents: contents() }.write(&file).unwrap();
        let out = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (found, again) = read(&file, &out("a"), |_| Ok(())).unwrap();
        assert_eq!((again, found.languages["python"].as_str(), found.image_bytes), (digest, "3.11.2", 5));
        assert_eq!(std::fs::read_to_string(dir.path().join("a/usr/bin/python3")).unwrap(), "snake");
        let refused = read(&file, &out("b"), |_| Err(ImageError::wrong("no"))).unwrap_err();
        assert_eq!(refused.to_string(), "no");

        let good = std::fs::read(&file).unwrap();
        for at in (0..good.len()).step_by(97) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&file, &bad).unwrap();
            let place = out(&format!("c{at}"));
            // What the parts' digests do not cover, such as a header's date, the file's does.
            let taken = read(&file, &place, |_| Ok(())).is_ok_and(|(_, found)| found == digest);
            assert!(!taken, "bit in byte {at}");
        }
        std::fs::write(&file, &good[..good.len() / 2]).unwrap();
        assert!(read(&file, &out("d"), |_| Ok(())).is_err());
    }

    #[test]
    fn another_format_is_named() {
        let error = parse("format = 2\nfuture = true\n").unwrap_err();
        assert_eq!(error.to_string(), "the file has format 2, this crankcase reads 1");
        assert!(parse("nonsense").is_err());
    }
}
