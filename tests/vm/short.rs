//! The short form: install, ten runs, each limit, the cgroups, the units' exposure, a restart.

use std::time::Instant;

use crankcase_tests::vm::figures;
use serde_json::json;

use crate::installed::Installed;

/// What `systemd-analyze security` may find at most, of the daemon and of the spawner.
const EXPOSURES: [(&str, f64); 2] = [("crankcase.service", 1.5), ("crankcase-spawner.service", 4.5)];

#[test]
fn the_package_runs_limits_and_restarts() {
    let start = Instant::now();
    let mut host = Installed::resume();
    figures::note("package installed and first answer, seconds", format!("{:.1}", start.elapsed().as_secs_f64()));
    let slowness = host.guest.slowness();
    figures::note("slowness (python start against 14 ms)", format!("{slowness:.1}"));
    host.guest.ok("crankcase doctor");
    ten_runs(&mut host);
    each_limit(&mut host);
    its_cgroups(&mut host);
    exposures(&mut host);
    restart(&mut host);
}

fn ten_runs(host: &mut Installed) {
    for number in 1..=10 {
        let (language, code) = match number % 5 {
            0 => ("bash", format!("echo $(({number} * {number}))")),
            1 => ("c", format!("#include <stdio.h>\nint main(void) {{ printf(\"%d\\n\", {number} * {number}); }}")),
            _ => ("python", format!("print({number} * {number})")),
        };
        assert_eq!(host.stdout(language, &code), format!("{}\n", number * number), "{language}");
    }
}

fn each_limit(host: &mut Installed) {
    for (limit, code) in [
        ("memory", "x = bytearray(300 << 20)"),
        ("output", "while True: print('x' * 1000)"),
        ("processes", "import os\nwhile True:\n    if os.fork() == 0:\n        import time; time.sleep(60)"),
        ("disk", "f = open('/box/f', 'wb')\nwhile True: f.write(b'x' * 65536)"),
        ("time", "import time; time.sleep(60)"),
        ("cpu", "while True: pass"),
    ] {
        let mut body = json!({"language": "python", "code": format!("print('before', flush=True)\n{code}")});
        match limit {
            "memory" => body["memoryLimitMb"] = json!(64),
            "time" => body["timeLimitMs"] = json!(5000),
            _ => {}
        }
        let answer = host.request("/compile", &body);
        assert_eq!(answer["limit"], limit, "{answer}");
        assert!(answer["stdout"].as_str().is_some_and(|text| text.starts_with("before\n")), "{limit}: {answer}");
        assert_eq!(host.stdout("python", "print('next')"), "next\n");
    }
}

/// The spawner divides the cgroup that systemd delegated to it, and every sandbox has one with its limits.
fn its_cgroups(host: &mut Installed) {
    let pid = host.start_in("cgroups", "token-cgroups");
    let path = host.guest.ok(&format!("cut -d: -f3 /proc/{pid}/cgroup"));
    let path = path.trim().to_owned();
    let unit = "/system.slice/crankcase-spawner.service";
    assert!(path.starts_with(unit), "a sandbox is in the spawner's unit: {path}");
    let spawner = host.main_pid("crankcase-spawner");
    let own = host.guest.ok(&format!("cut -d: -f3 /proc/{spawner}/cgroup"));
    assert!(own.trim().starts_with(unit) && own.trim() != unit, "the spawner is in a leaf of its own: {own}");
    let leaf = format!("/sys/fs/cgroup{path}");
    let jobs = leaf.rsplit_once('/').expect("a parent").0;
    let weight = format!("/sys/fs/cgroup{unit}/cpu.weight");
    let files = ["memory.max", "pids.max", "cpu.max", "memory.oom.group", "memory.swap.max", "memory.peak"];
    let mut paths: Vec<String> = files.iter().map(|file| format!("{leaf}/{file}")).collect();
    paths.extend([format!("{jobs}/memory.max"), weight, format!("{jobs}/memory.pressure")]);
    // In one go: a program under emulation may be over before one has looked at everything.
    let text = host.guest.ok(&format!("head -qn 1 {}", paths.join(" ")));
    let values: Vec<&str> = text.lines().collect();
    let [memory, pids, cpu, group, swap, peak, all, weight, pressure] = values[..] else { panic!("{text}") };
    for (file, value) in [("memory.max", memory), ("pids.max", pids), ("cpu.max", cpu), ("of all, memory.max", all)] {
        assert!(value.starts_with(|digit: char| digit.is_ascii_digit()), "{file} is {value}");
    }
    assert_eq!((group, swap, weight), ("1", "0", "400"), "memory.oom.group, memory.swap.max, cpu.weight of the unit");
    assert!(peak.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 20), "memory.peak is {peak}");
    assert!(pressure.starts_with("some "), "memory.pressure is {pressure}");
    host.guest.ok(&format!("kill -9 {pid}"));
    let answer = host.answer_of("token-cgroups");
    assert_eq!(answer["success"], true, "a program that is killed is the program's end: {answer}");
    host.guest.eventually(crate::installed::SERVICE, &format!("! test -d {leaf}"));
}

fn exposures(host: &mut Installed) {
    for (unit, bound) in EXPOSURES {
        let exposure = host.exposure(unit);
        figures::note(&format!("exposure of {unit}"), exposure);
        assert!(exposure <= bound, "{unit}: {exposure} is more than {bound}");
    }
}

fn restart(host: &mut Installed) {
    let answer = host.run_in("kept", "python", "print('kept')");
    let before = host.history("kept");
    assert!(before.len() == 1 && before[0]["executionId"] == answer["executionId"], "{before:?}");
    host.restart();
    host.expect_up();
    assert_eq!(host.history("kept"), before);
    assert_eq!(host.stdout("python", "print('after')"), "after\n");
    assert_eq!(host.guest.ok("systemctl is-system-running || true").trim(), "running");
}
