//! Gains: whatever the capability allows, from the network to the kernel's modules.

use std::time::Duration;

use crate::attempt::{Background, PYTHON_READY, eventually, host, shared};

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

#[test]
fn a_program_has_no_capability_in_any_set_as_the_host_sees_it() {
    let program = Background::start("python", PYTHON_READY);
    for set in SETS {
        assert_eq!(host::status(program.pid(), set).as_deref(), Some("0000000000000000"), "{set}");
    }
    assert_eq!(host::status(program.pid(), "NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(host::status(program.pid(), "Seccomp").as_deref(), Some("2"), "a filter is installed");
    let uids = host::status(program.pid(), "Uid").unwrap_or_default();
    let gids = host::status(program.pid(), "Gid").unwrap_or_default();
    for id in uids.split_whitespace().chain(gids.split_whitespace()) {
        assert!(id.parse::<u32>().is_ok_and(|id| id >= 10_000), "ids of the sandboxes' own range: {uids}, {gids}");
    }
    assert_eq!(host::status(program.pid(), "Groups").as_deref(), Some(""), "no supplementary groups");
}

/// What a compiler may do, seen from the host while it works.
#[test]
fn a_compiler_has_none_either() {
    // Seconds of work in few characters.
    let code =
        "#include <regex>\n#include <map>\nint main() { std::regex r(\"a\"); std::map<int, int> m; return m.size(); }";
    std::thread::scope(|scope| {
        let run = scope.spawn(|| shared().run("cpp", code));
        let (pid, sets) = eventually(Duration::from_secs(60), || {
            assert!(!run.is_finished(), "the compiler was not seen");
            let below = host::descendants(shared().pid());
            let compiler = below.into_iter().find(|pid| host::name(*pid) == "cc1plus").ok_or("no compiler")?;
            let sets: Option<Vec<String>> = SETS.iter().map(|set| host::status(compiler, set)).collect();
            let filter = host::status(compiler, "Seccomp").zip(host::status(compiler, "NoNewPrivs"));
            let sets = sets.zip(filter).ok_or("it has ended")?;
            Ok::<_, &str>((compiler, sets))
        });
        let (sets, (seccomp, no_new_privs)) = sets;
        assert_eq!(sets, vec!["0000000000000000"; 5], "{pid}");
        assert_eq!((seccomp.as_str(), no_new_privs.as_str()), ("2", "1"));
        run.join().expect("an answer").expect_success();
    });
}
