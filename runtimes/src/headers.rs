//! Headers that GCC has compiled ahead of need.
//!
//! A C++ hello is compiled in a quarter of the time when the compiler maps what it made of `<iostream>` before, a program
//! that begins with `#include <bits/stdc++.h>` in a third. A manifest names sets of headers; a program is compiled with
//! the first one of which it includes everything before it does anything else. The set goes by `-include`, so that the
//! program's own directives find their headers included already. That changes nothing: C++ lets its headers be included
//! in any order and any number of times (\[using.headers\]).
//!
//! The directory that holds a set is named after all that it depends on ([`name`]), so that whoever compiles need not know
//! whether it is there: a line of shell looks. One has 28 to 124 MB. It lies in the cache, root's own, and is bound
//! read-only into all sandboxes at the same path; it is mapped from there, so that all compilers share its pages.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;

use crate::direct::Steps;
use crate::runtime::{Direct, Runtime};
use crate::{cache, scan, version};

/// Where they lie, on the host and in sandboxes.
pub const HEADERS: &str = "/var/cache/crankcase/headers";
/// How long a slow machine may take for one.
const PATIENCE: Duration = Duration::from_secs(600);
/// What the disk must have left before one is made, bytes: one has up to 130 MiB.
const SPARE: u64 = 1 << 30;
/// A set's name in its directory, as `-include` is told; the compiler puts `.gch` behind it.
const FILE: &str = "first";

/// [`HEADERS`], made if need be; none unless it is ours and nobody else can write there.
#[must_use]
pub fn directory() -> Option<PathBuf> {
    cache::readable(Path::new(HEADERS))
}

/// The directory of a toolchain's set. Another one as soon as any package was installed or removed.
fn name(runtime: &Runtime, steps: &Steps, set: &[String]) -> String {
    let (headers, signature, identity) = (set.join("\0"), steps.signature(), runtime.toolchain_identity());
    cache::key([FILE.as_bytes(), headers.as_bytes(), signature.as_bytes(), identity.as_bytes()])
}

/// The file that a program of this language is to include first, whether or not it was made; none where no set suits.
pub(crate) fn of_program(runtime: &Runtime, direct: &Direct, steps: &Steps, code: &str) -> Option<String> {
    let includes = scan::leading_includes(code);
    let set = direct.headers.iter().find(|set| suits(&includes, set))?;
    Some(format!("{HEADERS}/{}/{FILE}", name(runtime, steps, set)))
}

/// Whether what a program includes holds a set, with nothing before the set's last header whose place could matter: the
/// headers of C++ itself have neither point nor slash in their names.
fn suits(includes: &[&str], set: &[String]) -> bool {
    let of_set = |name: &&str| set.iter().any(|header| header == name);
    let of_language =
        |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let first: Vec<&str> = includes.iter().copied().take_while(|name| of_set(name) || of_language(name)).collect();
    set.iter().all(|header| first.contains(&header.as_str()))
}

/// Makes what is missing of installed languages' sets, and removes what no language has any more. Nothing when another
/// process is at it, or the disk is too full. `false` when something could not be made; what it is goes to stderr.
pub(crate) fn make<'a>(runtimes: impl Iterator<Item = &'a Runtime> + Send + Clone) -> bool {
    let Some(directory) = directory() else {
        eprintln!("{HEADERS} is not this account's own, or others may write to it or above it");
        return false;
    };
    let Ok(lock) = File::open(&directory) else { return false };
    let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else { return true };
    version::detect(runtimes.clone(), &version::ask);
    let mut good = true;
    let sets: Vec<_> = runtimes.flat_map(sets).collect();
    // Old ones go first: there may be no room for both.
    sweep(&directory, &sets.iter().map(Set::name).collect::<Vec<_>>());
    for set in &sets {
        if let Err(error) = set.make(&directory) {
            eprintln!("the precompiled {} of {}: {error}", set.headers.join(", "), set.runtime.name);
            good = false;
        }
    }
    good
}

/// What is compiled ahead of need for a language, once its compiler's steps are known.
fn sets(runtime: &Runtime) -> Vec<Set<'_>> {
    let Some((direct, steps)) = runtime.direct().and_then(|direct| Some((direct, direct.steps.get()?))) else {
        return Vec::new();
    };
    direct.headers.iter().map(|headers| Set { runtime, steps, headers }).collect()
}

/// Removes what is not wanted. A compiler that has mapped one keeps it.
fn sweep(directory: &Path, wanted: &[String]) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !wanted.iter().any(|name| entry.file_name() == name.as_str()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Headers of a language that are compiled together.
struct Set<'a> {
    runtime: &'a Runtime,
    steps: &'a Steps,
    headers: &'a [String],
}

impl Set<'_> {
    fn name(&self) -> String {
        name(self.runtime, self.steps, self.headers)
    }

    /// Nothing where it is there already.
    fn make(&self, directory: &Path) -> io::Result<()> {
        let name = self.name();
        if directory.join(&name).exists() {
            return Ok(());
        }
        let space = statvfs(directory)?;
        if space.blocks_available() * space.fragment_size() < SPARE {
            eprintln!("less than {} MiB are free in {HEADERS}: no header is precompiled", SPARE >> 20);
            return Ok(());
        }
        let new = tempfile::Builder::new().prefix(".new-").tempdir_in(directory)?;
        let precompiled = new.path().join(format!("{FILE}.gch"));
        let source = tempfile::Builder::new().suffix(".h").tempfile()?;
        let includes: String = self.headers.iter().map(|header| format!("#include <{header}>\n")).collect();
        fs::write(source.path(), includes)?;
        let assembly = tempfile::NamedTempFile::new()?;
        run(&self.steps.precompile(&text(source.path()), &text(assembly.path()), &text(&precompiled)))?;
        // Half of it may be of one toolchain and half of another; the change that made it so brings us back.
        if self.name() != name {
            return Ok(());
        }
        // A torn one would be found under its name after a power cut.
        File::open(&precompiled)?.sync_all()?;
        fs::set_permissions(&precompiled, Permissions::from_mode(0o444))?;
        fs::set_permissions(new.path(), Permissions::from_mode(0o755))?;
        fs::rename(new.keep(), directory.join(name))
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// To its end, or to the end of patience.
fn run(words: &[String]) -> io::Result<()> {
    let mut compiler = version::tool(words).ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = compiler.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("the compiler ended with {status}"))),
            None if Instant::now() > end => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other(format!("the compiler took more than {PATIENCE:?}")));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_suits_where_all_of_it_is_included_and_nothing_but_the_languages_own_before() {
        let suits = |code: &str, set: &[&str]| {
            let set: Vec<String> = set.iter().map(|header| (*header).to_owned()).collect();
            suits(&scan::leading_includes(code), &set)
        };
        for code in [
            "#include <iostream>\n#include <vector>",
            "#include <vector>\n#include <map>\n#include <iostream>\nint main() {}",
            "#include <vector>\n#include <iostream>\n#include <sys/socket.h>\n",
        ] {
            assert!(suits(code, &["iostream", "vector"]), "{code}");
        }
        for code in [
            "#include <iostream>",
            "#include <iostream>\nusing namespace std;\n#include <vector>",
            "#include <libgen.h>\n#include <iostream>\n#include <vector>",
            "#include <iostream>\n#include <sys/socket.h>\n#include <vector>",
            "#include <iostream>\n#include <QString>\n#include <vector>",
        ] {
            assert!(!suits(code, &["iostream", "vector"]), "{code}");
        }
        assert!(suits("#include <bits/stdc++.h>\n", &["bits/stdc++.h"]));
        assert!(suits("#include <map>\n#include \"bits/stdc++.h\"\n", &["bits/stdc++.h"]));
        assert!(!suits("#include <ext/rope>\n#include <bits/stdc++.h>\n", &["bits/stdc++.h"]));
    }
}
