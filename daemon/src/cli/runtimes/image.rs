//! `crankcase runtimes build`, `export` and `import`: the languages as an image, and its way to a machine without a network.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use crankcase::config::Config;
use crankcase::image::{self, Bundle, Contents, Digest, FORMAT, Installed, Profile};
use crankcase_runtimes::{IMAGE_FILE, ImageFacts, Registry, Tree};
use nix::unistd::geteuid;

use super::super::ConfigOption;

/// Where `import` puts images; root's, unlike the daemon's data below it.
const BASE: &str = "/var/lib/crankcase";
/// What of Debian's packages is for people, not for programs.
const LEFT_OUT: [&str; 4] = ["/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"];

/// Which languages, from where.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// The set of languages: small, classroom or full.
    #[arg(long, default_value = "classroom", value_parser = Profile::find, conflicts_with = "languages")]
    profile: Profile,
    /// These languages in place of a profile's, separated by commas.
    #[arg(long, value_delimiter = ',')]
    languages: Vec<String>,
    /// The Debian release.
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// Where to fetch packages from; without it Debian's own servers, as mmdebstrap knows them.
    #[arg(long)]
    mirror: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct BuildOptions {
    #[command(flatten)]
    config: ConfigOption,
    #[command(flatten)]
    source: Source,
    /// The image's directory; must not exist yet.
    directory: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct ExportOptions {
    #[command(flatten)]
    config: ConfigOption,
    #[command(flatten)]
    source: Source,
    /// An image that `build` made, in place of making one now.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["languages", "mirror"])]
    image: Option<PathBuf>,
    /// The Debian package to put in; without it crankcase_VERSION_ARCHITECTURE.deb in this directory or in dist/.
    #[arg(long, value_name = "FILE")]
    deb: Option<PathBuf>,
    /// The file to write.
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct ImportOptions {
    #[command(flatten)]
    config: ConfigOption,
    /// The digest that `export` printed. Without it the file is only compared with what it says of itself.
    #[arg(long)]
    digest: Option<Digest>,
    /// Where images lie.
    #[arg(long, value_name = "DIRECTORY", default_value = BASE)]
    base: PathBuf,
    /// Leave configuration and services as they are.
    #[arg(long)]
    no_enable: bool,
    /// The file that `export` wrote.
    file: PathBuf,
}

pub fn build(options: &BuildOptions) -> anyhow::Result<ExitCode> {
    needs_root("mounts what packages need while they are set up")?;
    let config = options.config.load()?;
    let facts = make(&config, &options.source, &options.directory)?;
    println!("{}: {}", options.directory.display(), listed(&facts));
    println!(
        "To use it: root = {:?} in the section [sandbox] of the configuration",
        options.directory.display().to_string()
    );
    Ok(ExitCode::SUCCESS)
}

pub fn export(options: &ExportOptions) -> anyhow::Result<ExitCode> {
    let config = options.config.load()?;
    let package = package(options.deb.as_deref())?;
    let temporary;
    let (image, facts) = match &options.image {
        Some(image) => {
            let facts = Tree::image(image).facts();
            (image.clone(), facts.with_context(|| format!("{} was not made by `runtimes build`", image.display()))?)
        }
        None => {
            needs_root("mounts what packages need while they are set up")?;
            temporary = tempfile::tempdir().context("making a directory for the image")?;
            let image = temporary.path().join("image");
            let facts = make(&config, &options.source, &image)?;
            (image, facts)
        }
    };
    let contents = Contents {
        format: FORMAT,
        crankcase: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: facts.architecture.clone(),
        suite: facts.suite.clone(),
        profile: match (&options.image, options.source.languages.as_slice()) {
            (None, []) => options.source.profile.name.to_owned(),
            _ => "custom".to_owned(),
        },
        image_bytes: 0,
        image_sha256: String::new(),
        package_sha256: String::new(),
        languages: facts.languages.clone(),
    };
    eprintln!("packing {}", image.display());
    let digest = Bundle { image: &image, package: &package, contents }.write(&options.file)?;
    println!("{}: {}", options.file.display(), listed(&facts));
    println!("SHA-256, to be quoted when it is imported:\n{digest}");
    Ok(ExitCode::SUCCESS)
}

pub fn import(options: &ImportOptions) -> anyhow::Result<ExitCode> {
    needs_root("owns the images")?;
    let mut config = options.config.load()?;
    let received = image::receive(&options.file, &options.base, options.digest, &architecture()?)?;
    match options.digest {
        Some(_) => println!("The file has the digest that you quoted."),
        None => println!("SHA-256 of the file, which you did not quote: compare it.\n{}", received.digest),
    }
    if received.contents.crankcase != env!("CARGO_PKG_VERSION") {
        println!(
            "The file brings crankcase {}, this is {}: tar -xf {} crankcase.deb, and dpkg -i crankcase.deb",
            received.contents.crankcase,
            env!("CARGO_PKG_VERSION"),
            options.file.display()
        );
    }
    // Tried where it lies before anybody is to rely on it, by a spawner of its own.
    config.sandbox.root = Some(received.directory().to_owned());
    config.sandbox.spawner_socket = None;
    anyhow::ensure!(super::hellos(&config, &[])?, "the image is not installed: a language in it does not work here");
    let Installed { directory, link } = received.install()?;
    println!("{} is in {}", link.display(), directory.display());
    if !options.no_enable {
        enable(options.config.path(&crankcase::config::Environment::of_process()).as_deref(), &link)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration and the services that go by it.
fn enable(config: Option<&Path>, link: &Path) -> anyhow::Result<()> {
    let Some(config) = config else {
        println!(
            "There is no configuration file; in its section [sandbox] write: root = {:?}",
            link.display().to_string()
        );
        return Ok(());
    };
    let changed = image::enable_in_config(config, link)?;
    println!("{} {} it", config.display(), if changed { "now names" } else { "names" });
    if Path::new("/run/systemd/system").is_dir() {
        let units = ["crankcase-spawner.service", "crankcase.service"];
        let status = Command::new("systemctl").arg("try-restart").args(units).status().context("systemctl")?;
        anyhow::ensure!(status.success(), "the services could not be restarted: systemctl restart {}", units.join(" "));
        println!("services restarted, where they ran");
    } else {
        println!("start the service again");
    }
    Ok(())
}

/// Makes an image, asks its tools for their versions, runs its hellos, and writes down what it is.
fn make(config: &Config, source: &Source, directory: &Path) -> anyhow::Result<ImageFacts> {
    let registry = Registry::load(&config.runtimes.directories)
        .map_err(|errors| anyhow::anyhow!("{}", super::super::lines(&errors)))?;
    let packages = packages(&registry, source)?;
    anyhow::ensure!(!directory.exists(), "{} exists", directory.display());
    std::fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--mode=root", "--variant=essential", "--format=directory", "--quiet"]);
    mmdebstrap.arg(format!("--include={}", packages.join(",")));
    mmdebstrap.args(LEFT_OUT.map(|path| format!("--dpkgopt=path-exclude={path}")));
    // Java's packages link their manual pages into a directory that they expect to be there.
    mmdebstrap.arg("--setup-hook=mkdir -p \"$1/usr/share/man/man1\"");
    mmdebstrap.arg(&source.suite).arg(directory).args(&source.mirror);
    eprintln!("making {} with {}", directory.display(), packages.join(" "));
    let status = mmdebstrap.status().context("mmdebstrap, which makes the image: apt-get install mmdebstrap")?;
    anyhow::ensure!(status.success(), "mmdebstrap failed");
    let mut config = config.clone();
    config.sandbox.root = Some(directory.to_owned());
    config.sandbox.spawner_socket = None;
    let facts = ImageFacts {
        suite: source.suite.clone(),
        architecture: architecture()?,
        languages: super::ask_versions(&config)?,
    };
    let text = toml::to_string(&facts).context("writing down what the image is")?;
    std::fs::write(directory.join(IMAGE_FILE), text).context("writing down what the image is")?;
    anyhow::ensure!(super::hellos(&config, &[])?, "a language in {} does not work", directory.display());
    Ok(facts)
}

fn packages(registry: &Registry, source: &Source) -> anyhow::Result<Vec<String>> {
    let mut packages = Vec::new();
    let named: Vec<&str> = match source.languages.as_slice() {
        [] => source.profile.languages.to_vec(),
        languages => languages.iter().map(String::as_str).collect(),
    };
    for name in &named {
        let runtime = registry.find(name).with_context(|| format!("there is no language {name:?}"))?;
        anyhow::ensure!(!runtime.packages.is_empty(), "{name} has no Debian package");
        packages.extend(runtime.packages.iter().cloned());
    }
    if named.is_empty() {
        packages.extend(registry.iter().flat_map(|runtime| runtime.packages.iter().cloned()));
    }
    packages.sort();
    packages.dedup();
    Ok(packages)
}

fn package(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named {
        anyhow::ensure!(path.is_file(), "{} is no file", path.display());
        return Ok(path.to_owned());
    }
    let name = format!("crankcase_{}_{}.deb", env!("CARGO_PKG_VERSION"), architecture()?);
    let candidates = [PathBuf::from(&name), Path::new("dist").join(&name)];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!("{name} is neither here nor in dist/: name the package with --deb (make deb builds it)")
    })
}

/// As Debian names it.
fn architecture() -> anyhow::Result<String> {
    Ok(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => anyhow::bail!("crankcase does not run on {other}"),
    }
    .to_owned())
}

fn needs_root(why: &str) -> anyhow::Result<()> {
    anyhow::ensure!(geteuid().is_root(), "this must be started as root, which {why}");
    Ok(())
}

fn listed(facts: &ImageFacts) -> String {
    let languages: Vec<String> = facts.languages.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!("Debian {} for {}, {}", facts.suite, facts.architecture, languages.join(", "))
}
