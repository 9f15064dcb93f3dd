//! Programs that look for differences (`tests/warm/LANGUAGE.toml`), in real sandboxes: by a daemon that starts each of them
//! plainly, and by one that has their interpreters ready. All that a client is told has to be the same.

use crankcase_tests::{Daemon, Options};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{filled, too_slow_to_count, warm_hits};
use case::Case;

#[path = "../warm/case.rs"]
mod case;

/// Within this program: where it is run the sources need not be.
const LANGUAGES: [(&str, &str); 7] = [
    ("python", include_str!("../warm/python.toml")),
    ("javascript", include_str!("../warm/javascript.toml")),
    ("ruby", include_str!("../warm/ruby.toml")),
    ("php", include_str!("../warm/php.toml")),
    ("perl", include_str!("../warm/perl.toml")),
    ("java", include_str!("../warm/java.toml")),
    ("typescript", include_str!("../warm/typescript.toml")),
];

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

/// What a client sees of a run, but for what it took.
fn shown(daemon: &Daemon, language: &str, case: &Case) -> Value {
    let files: Vec<Value> =
        case.files.iter().map(|(name, content)| json!({"name": name, "content": content})).collect();
    let request = json!({"language": language, "code": case.code, "stdin": case.stdin, "files": files});
    let mut body = daemon.post("/compile", &request).body;
    let of = |body: &Value, keys: &[&str]| -> serde_json::Map<_, _> {
        keys.iter().map(|key| ((*key).to_owned(), body[*key].clone())).collect()
    };
    // An engine that crashes tells where its code lies, in each process elsewhere.
    let stderr = body["stderr"].as_str().map(without_addresses);
    body["stderr"] = stderr.into();
    let mut told = of(&body, &["success", "status", "exitCode", "signal", "limit", "truncated", "stdout", "stderr"]);
    told.insert(
        "compile".to_owned(),
        of(&body["compile"], &["exitCode", "signal", "limit", "stdout", "stderr"]).into(),
    );
    told.into()
}

/// With `0x` in place of hexadecimal numbers.
fn without_addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "0x" + part.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
}

#[test]
fn what_stands_ready_shows_nothing_of_it() {
    let plainly = Daemon::start(Options::new());
    let installed = plainly.get("/api/v2/runtimes").text;
    let mut differing = Vec::new();
    for (language, text) in LANGUAGES {
        if !installed.contains(&format!("\"{language}\"")) {
            eprintln!("SKIP {language}: not installed");
            continue;
        }
        let cases: Cases = toml::from_str(text).unwrap();
        // One language at a time: all of them would not fit a small machine.
        let ready = Daemon::start(Options::new().set("warm", language, 1).set("warm", "memory", "\"512MiB\""));
        for case in &cases.case {
            filled(&ready);
            let (before, expected) = (warm_hits(&ready, language), shown(&plainly, language, case));
            let found = shown(&ready, language, case);
            // An empty program is refused by both.
            let served = !case.plain && expected["status"].is_string();
            let hits = warm_hits(&ready, language) - before;
            assert!(hits == u64::from(served) || too_slow_to_count(), "{language}, {}: {hits} hits", case.name);
            if found != expected {
                differing.push(format!("{language}, {}:\nplain {expected:#}\nready {found:#}", case.name));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
