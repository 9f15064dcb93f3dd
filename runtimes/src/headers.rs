//! Headers that GCC has compiled ahead of need.
//!
//! A program that begins with `#include <bits/stdc++.h>` is compiled in a third of the time when the compiler maps what
//! it made of that header before. GCC looks for `HEADER.gch` in each directory of its path; the directory that holds one
//! is named after all that it depends on ([`name`]), so that whoever compiles need not know whether it is there: GCC
//! passes by a directory that is not.
//!
//! One has a hundred megabytes. It lies in the cache, root's own, and is bound read-only into all sandboxes at the same
//! path; it is mapped from there, so that all compilers share its pages.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::statvfs;

use crate::direct::Steps;
use crate::runtime::Runtime;
use crate::{cache, scan, version};

/// Where they lie, on the host and in sandboxes.
pub const HEADERS: &str = "/var/cache/crankcase/headers";
/// How long a slow machine may take for one.
const PATIENCE: Duration = Duration::from_secs(600);
/// What the disk must have left before one is made, bytes: one has up to 130 MiB.
const SPARE: u64 = 1 << 30;

/// [`HEADERS`], made if need be; none unless it is ours and nobody else can write there.
#[must_use]
pub fn directory() -> Option<PathBuf> {
    cache::readable(Path::new(HEADERS))
}

/// The directory of this toolchain's header and steps. Another one as soon as any package was installed or removed.
pub(crate) fn name(runtime: &Runtime, steps: &Steps, header: &str) -> String {
    cache::key([header, &steps.signature(), &runtime.toolchain_identity()].map(str::as_bytes))
}

/// Whether a program may be compiled with the header's precompiled form: where its first words include it, once. Then
/// nothing stands before it that could change what it means, and nothing in the program could tell.
pub(crate) fn suits(code: &str, header: &str) -> bool {
    scan::first_include(code) == Some(header) && code.matches(header).count() == 1
}

/// Makes what is missing of an installed language's header, and removes what no language has any more. Nothing when
/// another process is at it, or the disk is too full. `false` when something could not be made; what it is goes to stderr.
pub(crate) fn make<'a>(runtimes: impl Iterator<Item = &'a Runtime> + Send + Clone) -> bool {
    let Some(directory) = directory() else {
        eprintln!("{HEADERS} is not this account's own, or others may write to it or above it");
        return false;
    };
    let Ok(lock) = File::open(&directory) else { return false };
    let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else { return true };
    version::detect(runtimes.clone(), &version::ask);
    let mut wanted = Vec::new();
    let mut good = true;
    for (runtime, steps, header) in runtimes.filter_map(with_header) {
        let name = name(runtime, steps, header);
        if !directory.join(&name).exists() {
            sweep(&directory, &wanted);
            let made = one(&directory, &name, steps, header, || self::name(runtime, steps, header));
            if let Err(error) = made {
                eprintln!("the precompiled {header} of {}: {error}", runtime.name);
                good = false;
            }
        }
        wanted.push(name);
    }
    sweep(&directory, &wanted);
    good
}

/// The language's header and how it is compiled.
pub(crate) fn with_header(runtime: &Runtime) -> Option<(&Runtime, &Steps, &str)> {
    let direct = runtime.toolchain.as_ref()?.direct.as_ref()?;
    Some((runtime, direct.steps.get()?, direct.header.as_deref()?))
}

/// Removes what is not wanted. A compiler that has mapped one keeps it.
fn sweep(directory: &Path, wanted: &[String]) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !wanted.iter().any(|name| entry.file_name() == name.as_str()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn one(directory: &Path, name: &str, steps: &Steps, header: &str, now: impl Fn() -> String) -> io::Result<()> {
    let space = statvfs(directory)?;
    if space.blocks_available() * space.fragment_size() < SPARE {
        eprintln!("less than {} MiB are free in {HEADERS}: no header is precompiled", SPARE >> 20);
        return Ok(());
    }
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(directory)?;
    let precompiled = new.path().join(format!("{header}.gch"));
    let above = precompiled.parent().unwrap_or(new.path());
    fs::create_dir_all(above)?;
    let source = tempfile::Builder::new().suffix(".h").tempfile()?;
    fs::write(source.path(), format!("#include <{header}>\n"))?;
    let assembly = tempfile::NamedTempFile::new()?;
    run(&steps.precompile(&text(source.path()), &text(assembly.path()), &text(&precompiled)))?;
    // Half of it may be of one toolchain and half of another; the change that made it so brings us back.
    if now() != name {
        return Ok(());
    }
    // A torn one would be found under its name after a power cut.
    File::open(&precompiled)?.sync_all()?;
    fs::set_permissions(&precompiled, Permissions::from_mode(0o444))?;
    for below in above.ancestors().take_while(|path| path.starts_with(new.path())) {
        fs::set_permissions(below, Permissions::from_mode(0o755))?;
    }
    fs::rename(new.keep(), directory.join(name))
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
    fn only_a_program_that_begins_with_the_header_gets_it() {
        let suits = |code: &str| suits(code, "bits/stdc++.h");
        for good in [
            "#include <bits/stdc++.h>",
            "\u{feff}// mine\n/* two\nlines */ # include<bits/stdc++.h>\n#define int long long\n",
            "\r\n#include \"bits/stdc++.h\"\nint main() {}",
        ] {
            assert!(suits(good), "{good}");
        }
        for bad in [
            "",
            "int a;\n#include <bits/stdc++.h>",
            "#define private public\n#include <bits/stdc++.h>",
            "#pragma GCC optimize(\"O3\")\n#include <bits/stdc++.h>",
            "#include <iostream>\n#include <bits/stdc++.h>",
            "#include <bits/stdc++.h>\n#include <bits/stdc++.h>",
            "#include <bits/stdc++.h>\n#if __has_include(<bits/stdc++.h.gch>)\n#endif",
            "#include <bits/stdc++.hpp>",
            "#include_next <bits/stdc++.h>",
            "/* #include <bits/stdc++.h>",
        ] {
            assert!(!suits(bad), "{bad}");
        }
    }
}
