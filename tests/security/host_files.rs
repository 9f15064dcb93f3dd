//! Gains: every file of the host that is readable by all: homes, sources, configurations, tokens.

use std::fs;
use std::path::PathBuf;

use crate::attempt::{shared, unique};

/// A readable file with a secret in a place of the host; removed when dropped.
struct Planted(PathBuf);

impl Planted {
    fn new(directory: &str, name: &str, secret: &str) -> Option<Self> {
        let path = PathBuf::from(directory).join(name);
        fs::write(&path, secret).ok().map(|()| Self(path))
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn no_file_of_the_host_beyond_the_toolchains_is_there() {
    let secret = unique("secret-of-the-host-");
    let name = unique(".crankcase-test-");
    let places = [
        "/root", "/home", "/srv", "/mnt", "/media", "/opt", "/var", "/var/tmp", "/var/lib", "/var/log", "/tmp", "/run",
        "/etc", "/boot", "/",
    ];
    let planted: Vec<Planted> = places.iter().filter_map(|place| Planted::new(place, &name, &secret)).collect();
    assert!(planted.len() >= 10, "the files could be planted");
    let paths: Vec<String> = planted.iter().map(|file| file.0.to_string_lossy().into_owned()).collect();
    let answer = shared()
        .program(
            "python",
            "
import os, sys
name = sys.argv[1]
for path in sys.argv[2:]:
    try:
        print('OPENED', path, open(path).read())
    except OSError:
        pass
looked = 0
for directory, below, files in os.walk('/'):
    looked += 1
    if directory == '/':
        below[:] = [entry for entry in below if entry not in ('proc', 'usr')]
    if name in files:
        print('FOUND', directory)
print('looked' if looked > 5 else 'BLIND')
",
        )
        .args(&[&[name.as_str()][..], &paths.iter().map(String::as_str).collect::<Vec<_>>()].concat())
        .run();
    assert_eq!(answer.expect_stdout(), "looked\n");
}

#[test]
fn the_root_holds_only_what_is_meant() {
    let stdout = shared().run("python", "import os\nprint('\\n'.join(sorted(os.listdir('/'))))").expect_stdout();
    let meant = [
        "bin", "box", "dev", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "run", "sbin", "tmp", "usr",
        "var",
    ];
    for needed in ["box", "etc", "proc", "tmp", "usr"] {
        assert!(stdout.lines().any(|entry| entry == needed), "{stdout}");
    }
    for entry in stdout.lines() {
        assert!(meant.contains(&entry), "{entry} in the root of a sandbox");
    }
}
