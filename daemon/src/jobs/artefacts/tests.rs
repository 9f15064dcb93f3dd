use std::time::Duration;

use super::*;
use crate::ids::{RoomId, UserId};
use crate::jobs::admission::memory::Machine;
use crate::jobs::admission::{Admission, AdmissionConfig, RoomKey};
use crankcase_sandbox::spec::{SandboxSpec, StageCommand, StageLimits};

fn metrics() -> Metrics {
    Metrics::new(["c"], Admission::new(AdmissionConfig::default(), Machine::fixed(2, 4 << 30)))
}

fn artefact(content: &[u8]) -> Artefact {
    let file = |name: &str, executable| SourceFile { name: name.into(), content: content.to_vec(), executable };
    Artefact {
        stdout: Captured::default(),
        stderr: Captured { bytes: b"main.c:1: warning".to_vec(), truncated: false },
        files: vec![file("main", true), file("out/data", false)],
    }
}

fn key(number: u8) -> Key {
    Key::from_name(&hex::encode([number; 32])).unwrap()
}

/// Waits for the thread that writes.
async fn found(artefacts: &Artefacts, key: &Key) -> Option<Artefact> {
    for _ in 0..500 {
        if let Some(found) = artefacts.find("c", key).await {
            return Some(found);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    None
}

#[tokio::test]
async fn what_was_kept_is_found_also_by_the_next_process() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("artefacts");
    let first = Artefacts::open(&place, 1 << 20, Scope::Room, metrics());
    assert_eq!(first.find("c", &key(1)).await, None);
    first.keep(key(1), artefact(b"one"));
    assert_eq!(found(&first, &key(1)).await, Some(artefact(b"one")));
    std::fs::write(place.join(".tmp-of-a-killed-daemon"), "half").unwrap();
    let metrics = metrics();
    let second = Artefacts::open(&place, 1 << 20, Scope::Room, metrics.clone());
    assert_eq!(second.find("c", &key(1)).await, Some(artefact(b"one")));
    assert_eq!(second.find("c", &key(2)).await, None);
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 1);
    let text = metrics.render();
    for line in [
        "crankcase_artefact_lookups_total{language=\"c\",result=\"hit\"} 1",
        "crankcase_artefact_lookups_total{language=\"c\",result=\"miss\"} 1",
        "crankcase_artefact_entries 1",
        "crankcase_artefact_cache_bytes 4096",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_damaged_entry_is_a_miss_and_goes() {
    let directory = tempfile::tempdir().unwrap();
    let artefacts = Artefacts::open(directory.path(), 1 << 20, Scope::Room, metrics());
    for (number, damage) in [
        (1, (|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2)) as fn(&mut Vec<u8>)),
        (2, |bytes| bytes.clear()),
        (3, |bytes| *bytes.last_mut().unwrap() ^= 1),
        (4, |bytes| bytes[0] ^= 1),
        (5, |bytes| bytes[20] ^= 1),
        (6, |bytes| bytes.push(0)),
        // As a power cut leaves it: of full length, its blocks never written.
        (7, |bytes| bytes.fill(0)),
    ] {
        artefacts.keep(key(number), artefact(b"fine"));
        assert!(found(&artefacts, &key(number)).await.is_some());
        let path = directory.path().join(key(number).name());
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(artefacts.find("c", &key(number)).await, None, "{number}");
        assert!(!path.exists(), "{number}");
        artefacts.keep(key(number), artefact(b"again"));
        assert_eq!(found(&artefacts, &key(number)).await, Some(artefact(b"again")), "{number}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_turns_it_off() {
    let artefacts = Artefacts::open(Path::new("/proc/nowhere"), 1 << 20, Scope::Room, metrics());
    artefacts.keep(key(1), artefact(b"one"));
    assert_eq!((artefacts.find("c", &key(1)).await, artefacts.entry_bytes_max()), (None, 0));
}

#[test]
fn the_least_recently_used_go_first() {
    let mut index = Index::new(3 * 4096);
    for number in 1..=3 {
        assert_eq!(index.insert(key(number), 100), []);
    }
    assert!(index.touch(&key(1)));
    assert_eq!(index.insert(key(4), 4097), [key(2), key(3)]);
    assert_eq!((index.len(), index.bytes()), (2, 3 * 4096));
    // Another of the same name takes the place of the old one.
    assert_eq!(index.insert(key(4), 1), []);
    assert_eq!(index.bytes(), 2 * 4096);
    assert!(!index.touch(&key(2)));
    // What alone is too much stays out, and takes nothing else... but what is older along.
    assert_eq!(index.insert(key(5), 1 << 20).last(), Some(&key(5)));
    assert_eq!(index.bytes(), 0);
}

#[test]
fn a_smaller_bound_holds_from_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for number in 1..=4_u8 {
        std::fs::write(directory.path().join(key(number).name()), [number; 10]).unwrap();
    }
    let index = Index::load(directory.path(), 2 * 4096).unwrap();
    assert_eq!((index.len(), index.bytes()), (2, 2 * 4096));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
}

fn limits(memory: u64) -> StageLimits {
    let general = crate::config::Config::parse("", &crate::config::Environment::default()).unwrap();
    let mut limits = general.reloadable.limits.general.compile;
    limits.memory = crankcase_sandbox::spec::MemoryMax::new(memory).unwrap();
    limits
}

/// Everything that goes into a key, changeable one by one.
struct Parts {
    party: RoomKey,
    user: UserId,
    language: &'static str,
    toolchain: &'static str,
    command: StageCommand,
    files: Vec<SourceFile>,
    artefacts: Vec<String>,
    memory: u64,
    output_bytes: usize,
}

impl Parts {
    fn new() -> Self {
        let file =
            |name: &str, content: &str| SourceFile { name: name.into(), content: content.into(), executable: false };
        Self {
            party: RoomKey::Room(RoomId::new("r").unwrap()),
            user: UserId::new("u").unwrap(),
            language: "c",
            toolchain: "gcc 12",
            command: StageCommand {
                argv: vec!["gcc".into(), "-O2".into()],
                env: vec![("PATH".into(), "/usr/bin".into())],
            },
            files: vec![file("main.c", "int main;"), file("a.h", "x")],
            artefacts: vec!["main".into()],
            memory: 1 << 30,
            output_bytes: 1000,
        }
    }

    fn key(&self, scope: Scope) -> Key {
        let sandbox = SandboxSpec {
            box_size: crankcase_sandbox::spec::TmpfsSize::new(1 << 20).unwrap(),
            box_inodes: crankcase_sandbox::spec::TmpfsInodes::new(100).unwrap(),
            tmp_size: crankcase_sandbox::spec::TmpfsSize::new(1 << 20).unwrap(),
        };
        Inputs {
            party: &self.party,
            user: &self.user,
            language: self.language,
            toolchain: self.toolchain,
            command: &self.command,
            files: &self.files,
            artefacts: &self.artefacts,
            limits: &limits(self.memory),
            sandbox: &sandbox,
            output_bytes: self.output_bytes,
        }
        .key(scope)
    }
}

#[test]
fn every_input_makes_another_key() {
    let base = Parts::new().key(Scope::Room);
    assert_eq!(Parts::new().key(Scope::Room), base);
    let changes: [fn(&mut Parts); 15] = [
        |p| p.language = "cpp",
        |p| p.toolchain = "gcc 13",
        |p| p.command.argv[1] = "-O3".into(),
        |p| p.command.argv.push("-g".into()),
        |p| p.command.argv = vec!["gcc -O2".into()],
        |p| p.command.env[0].1 = "/bin".into(),
        |p| p.command.env.clear(),
        |p| p.files[0].content.push(b' '),
        |p| p.files[0].name = "main.h".into(),
        |p| p.files.swap(0, 1),
        |p| p.files[1].executable = true,
        |p| drop(p.files.pop()),
        |p| p.artefacts.push("other".into()),
        |p| p.memory = 1 << 29,
        |p| p.output_bytes = 1001,
    ];
    let mut keys = vec![base];
    for change in changes {
        let mut parts = Parts::new();
        change(&mut parts);
        keys.push(parts.key(Scope::Room));
    }
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len());
    // A byte that moves from a name to a content is another program.
    let moved = |name: &str, content: &str| {
        let mut parts = Parts::new();
        parts.files = vec![SourceFile { name: name.into(), content: content.into(), executable: false }];
        parts.key(Scope::Room)
    };
    assert_ne!(moved("ab", "c"), moved("a", "bc"));
}

#[test]
fn who_shares_follows_the_scope() {
    let with = |party: RoomKey, user: &str, scope| {
        let parts = Parts { party, user: UserId::new(user).unwrap(), ..Parts::new() };
        parts.key(scope)
    };
    let room = |name| RoomKey::Room(RoomId::new(name).unwrap());
    let user = |name| RoomKey::User(UserId::new(name).unwrap());
    assert_eq!(with(room("a"), "u", Scope::Global), with(user("v"), "v", Scope::Global));
    assert_eq!(with(room("a"), "u", Scope::Room), with(room("a"), "v", Scope::Room));
    assert_ne!(with(room("a"), "u", Scope::Room), with(room("b"), "u", Scope::Room));
    assert_ne!(with(room("a"), "u", Scope::Room), with(user("a"), "u", Scope::Room));
    assert_ne!(with(room("a"), "u", Scope::User), with(room("a"), "v", Scope::User));
    assert_ne!(with(room("a"), "u", Scope::User), with(room("b"), "u", Scope::User));
    let address = |text: &str| RoomKey::Address(text.parse().unwrap());
    assert_ne!(with(address("192.0.2.1"), "u", Scope::Room), with(address("192.0.2.2"), "u", Scope::Room));
    assert_ne!(with(address("192.0.2.1"), "u", Scope::Room), with(user("192.0.2.1"), "u", Scope::Room));
}
