//! A machine with the package on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crankcase_tests::daemon::binary;
use crankcase_tests::vm::Guest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Starting and stopping the service on the machines that time-outs are made for.
pub const SERVICE: Duration = Duration::from_secs(20);

/// The package under test: what `CRANKCASE_DEB` names, else one of the programs that the other suites drive.
pub fn package() -> PathBuf {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    let made = PACKAGE.get_or_init(|| std::env::var_os("CRANKCASE_DEB").map_or_else(build_package, PathBuf::from));
    assert!(made.is_file(), "{} is missing: run make deb", made.display());
    made.clone()
}

fn build_package() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/build-deb");
    let binaries = binary("crankcase");
    let output = Command::new(script)
        .arg("--bin-dir")
        .arg(binaries.parent().expect("it lies in a directory"))
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("build-deb starts");
    let (path, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "build-deb: {error}");
    PathBuf::from(path.trim())
}

/// What the machine finds in `/share`.
pub fn share() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::copy(package(), directory.path().join("crankcase.deb")).expect("copying the package");
    directory
}

/// The service on a machine.
pub struct Installed {
    pub guest: Guest,
}

impl Installed {
    /// Installs the package on a machine fresh from its boot and waits for the first answer.
    #[track_caller]
    pub fn resume() -> Self {
        let share = share();
        Self::on(Guest::resume(Some(share.path())))
    }

    /// Installs the package.
    #[track_caller]
    pub fn on(mut guest: Guest) -> Self {
        assert_eq!(guest.ok("ls /sys/class/net").trim(), "lo", "the machine has no network device");
        guest.ok("DEBIAN_FRONTEND=noninteractive dpkg -i /share/crankcase.deb");
        let mut installed = Self { guest };
        installed.expect_up();
        installed.widen_limits();
        installed
    }

    /// Under emulation a program must not run into its clocks before what is tested of it.
    fn widen_limits(&mut self) {
        // Not by all of it: what hits a clock on purpose shall be over in reasonable time.
        let factor = self.guest.slowness().min(6.0);
        for (key, seconds) in
            [("wall-time", 10.0), ("cpu-time", 5.0), ("compile-wall-time", 20.0), ("compile-cpu-time", 15.0)]
        {
            let milliseconds = (seconds * factor * 1000.0).round();
            let config = "/etc/crankcase/crankcase.toml";
            self.guest.ok(&format!(
                "grep -qx '{key} = \"{seconds}s\"' {config} && sed -i 's/^{key} = \"{seconds}s\"$/{key} = \"{milliseconds}ms\"/' {config}"
            ));
        }
        // Manifests have clocks of their own, which win over the general ones.
        let compile = (30_000.0 * factor).round();
        self.guest.ok(&format!(
            "for language in c cpp java; do printf '\\n[limits.%s]\\ncompile-wall-time = \"{compile}ms\"\\n\
             compile-cpu-time = \"{compile}ms\"\\n' $language; done >>/etc/crankcase/crankcase.toml
             crankcase check-config /etc/crankcase/crankcase.toml && systemctl reload crankcase"
        ));
    }

    /// Waits until the service answers.
    #[track_caller]
    pub fn expect_up(&mut self) {
        self.guest.eventually(SERVICE, "curl -sf http://127.0.0.1:4334/health || {
            systemctl --no-pager status crankcase crankcase-spawner; journalctl --no-pager -n 20 -u 'crankcase*'; exit 1; }");
    }

    /// Restarts both halves; both must come up at the first try.
    #[track_caller]
    pub fn restart(&mut self) {
        self.guest.ok("systemctl restart crankcase-spawner crankcase || {
            journalctl --no-pager -n 40 -u 'crankcase*'; exit 1; }");
    }

    /// Sends a request with a JSON body; `null` is a `GET`.
    #[track_caller]
    pub fn request(&mut self, path: &str, body: &Value) -> Value {
        let method = if body.is_null() { "--get" } else { "-H 'content-type: application/json' --data-binary @-" };
        let text = self.guest.ok(&format!(
            "curl -sS --max-time 280 {method} 'http://127.0.0.1:4334{path}' <<'END-OF-BODY'\n{body}\nEND-OF-BODY"
        ));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Runs a program.
    #[track_caller]
    pub fn run(&mut self, language: &str, code: &str) -> Value {
        self.request("/compile", &json!({"language": language, "code": code, "roomId": "standalone"}))
    }

    /// Runs a program that must end well, and gives its standard output.
    #[track_caller]
    pub fn stdout(&mut self, language: &str, code: &str) -> String {
        let answer = self.run(language, code);
        assert!(answer["success"] == true && answer["exitCode"] == 0, "{answer}");
        answer["stdout"].as_str().unwrap_or_default().to_owned()
    }

    /// The entries of a room's history.
    #[track_caller]
    pub fn history(&mut self, room: &str) -> Vec<Value> {
        let answer = self.request(&format!("/api/execution/history/room/{room}"), &Value::Null);
        answer["history"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// Runs a program in a room.
    #[track_caller]
    pub fn run_in(&mut self, room: &str, language: &str, code: &str) -> Value {
        self.request("/compile", &json!({"language": language, "code": code, "roomId": room, "userId": "u"}))
    }

    /// Starts a program that stays, in a room, and waits until it is seen on the host; its answer goes to a file.
    /// Gives its process id.
    #[track_caller]
    pub fn start_in(&mut self, room: &str, token: &str) -> i32 {
        let body = json!({"language": "python", "code": "import time\ntime.sleep(600)", "args": [token], "roomId": room,
            "userId": "u"});
        self.guest.ok(&format!(
            "cat >/tmp/{token}.json <<'END'\n{body}\nEND\n
             systemd-run -q --unit={token} sh -c 'curl -s --max-time 280 -H content-type:application/json \
                 --data-binary @/tmp/{token}.json http://127.0.0.1:4334/compile >/tmp/{token}.answer; true'"
        ));
        let pid =
            self.guest.eventually(SERVICE, &format!("pgrep -f '^[^ ]*python[^ ]* .*{token}$' | head -1 | grep ."));
        pid.trim().parse().expect("a process id")
    }

    /// The answer to [`Self::start_in`].
    #[track_caller]
    pub fn answer_of(&mut self, token: &str) -> Value {
        let text =
            self.guest.eventually(SERVICE, &format!("! systemctl -q is-active {token} && cat /tmp/{token}.answer"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// A unit's main process.
    #[track_caller]
    pub fn main_pid(&mut self, unit: &str) -> i32 {
        let text = self.guest.ok(&format!("systemctl show -P MainPID {unit}"));
        text.trim().parse().expect("a process id")
    }

    /// The exposure that `systemd-analyze security` finds, 0 to 10.
    #[track_caller]
    pub fn exposure(&mut self, unit: &str) -> f64 {
        let text = self.guest.ok(&format!("systemd-analyze security --no-pager {unit}"));
        let line =
            text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{text}"));
        let number = line.split_whitespace().find_map(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("no number in {line}"))
    }
}
