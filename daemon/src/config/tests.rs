//! The whole way from a file and an environment to a checked configuration.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::schema::{KEYS, SECTIONS};
use super::*;
use crate::jobs::LimitOverrides;

const MIB: u64 = 1 << 20;

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, &Environment::default())
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::parse(text, &Environment::of(variables))
}

fn errors(text: &str) -> Vec<String> {
    parse(text).unwrap_err().errors.iter().map(ToString::to_string).collect()
}

#[test]
fn without_a_file_the_defaults_hold() {
    let config = Config::load(None, &Environment::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:4334");
    assert_eq!(config.server.body_limit, 50 * 1024);
    assert_eq!(config.server.admin_token, None);
    assert_eq!(config.server.allowed_origins.len(), 4);
    assert_eq!(config.rooms.lock_wait, Duration::from_secs(5));
    assert_eq!(config.rooms.message_buffer, 1000);
    assert_eq!(config.redis, None);
    assert_eq!(config.reloadable.admission.memory, MemoryBudget::Percent(75));
    assert_eq!(config.history.retention, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(config.history.path, config.data_dir.join("crankcase.db"));
    assert_eq!(config.reloadable.quotas, Quotas::default());
    let limits = &config.reloadable.limits;
    assert_eq!((limits.code_chars, limits.stdin_chars, limits.general.output_chars), (10_000, 1000, 5000));
    assert_eq!(limits.general.run.memory.get(), 256 * MIB);
    assert_eq!(limits.general.run.cpu_quota.get(), 1000);
    assert_eq!(config.log.format, LogFormat::Auto);
}

#[test]
fn all_errors_come_at_once_with_their_keys() {
    let found = errors(
        r#"
        colour = "red"
        [server]
        listen = "localhost"
        body-limit = 5
        [limits]
        memory = "1MiB"
        [limits.python]
        memory = "2TiB"
        code-chars = 5
        [quotas]
        user-queued = 0
        "#,
    );
    let keys: Vec<&str> = found.iter().map(|error| error.split(':').next().unwrap()).collect();
    let expected = [
        "colour",
        "server.listen",
        "server.body-limit",
        "limits.memory",
        "limits.python.memory",
        "limits.python.code-chars",
        "quotas.user-queued",
    ];
    assert_eq!(keys, expected);
    assert_eq!(found[4], "limits.python.memory: is \"2TiB\", it must be a size from \"4MiB\" to \"1TiB\"");
}

#[test]
fn every_key_refuses_a_value_of_another_type_by_its_name() {
    // No key takes a date.
    for key in KEYS {
        let text = format!("{} = 1979-05-27", key.name);
        let found = parse(&text).unwrap_err();
        assert_eq!(found.errors.len(), 1, "{found}");
        assert_eq!(found.errors[0].key, key.name);
        assert!(found.errors[0].message.contains(&key.kind.words()), "{found}");
        if key.per_language {
            let name = format!("{}.python.{}", key.section(), key.leaf());
            let found = parse(&format!("{name} = 1979-05-27")).unwrap_err();
            assert_eq!(found.errors[0].key, name);
        }
    }
}

#[test]
fn unknown_keys_get_a_suggestion_where_one_is_close() {
    assert_eq!(errors("server.lisen = 1"), ["server.lisen: no such key, did you mean server.listen?"]);
    assert_eq!(errors("limits.wall_time = 1"), ["limits.wall_time: no such key, did you mean limits.wall-time?"]);
    assert_eq!(errors("limits.c.memry = 1"), ["limits.c.memry: no such key, did you mean memory?"]);
    assert_eq!(errors("listen = 1"), ["listen: no such key, did you mean server.listen?"]);
    assert_eq!(errors("server.colour = 1"), ["server.colour: no such key"]);
    assert_eq!(errors("[serfer]\nx = 1"), ["serfer: no such section, did you mean server?"]);
}

#[test]
fn a_section_must_be_a_table_and_a_key_must_not() {
    assert_eq!(errors("server = 5"), ["server: is a section and must be a table"]);
    assert!(errors("limits.memory.python = \"1GiB\"")[0].starts_with("limits.memory: is a table"));
    assert!(errors("limits.Python.memory = \"1GiB\"")[0].starts_with("limits.Python: the language must be"));
}

#[test]
fn syntax_errors_name_the_line_and_show_no_secret() {
    let found = errors("[server]\nadmin-token = \"hunter2hunter2hunter2\" x\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("line 2: is no TOML"), "{}", found[0]);
    assert!(!found[0].contains("hunter2"));
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "data-dir = \"/srv/a\"\n[server]\nlisten = \"0.0.0.0:80\"\nallowed-origins = []\n[redis]\nurl = \"redis://a\"\n[log]\nfilter = \"warn\"";
    let variables = [
        ("PORT", "5000"),
        ("REDIS_URL", "redis://b"),
        ("ALLOWED_ORIGINS", "http://a, https://b:8443,"),
        ("CRANKCASE_DATA_DIR", "/srv/b"),
        ("RUST_LOG", "crankcase=debug"),
    ];
    let config = with(file, &variables).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.redis.unwrap().url.expose(), "redis://b");
    assert_eq!(config.server.allowed_origins, ["http://a", "https://b:8443"]);
    assert_eq!(config.history.path, PathBuf::from("/srv/b/crankcase.db"));
    assert_eq!(config.log.filter, "crankcase=debug");
    let config = with(file, &[]).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:80");
    assert_eq!(config.redis.unwrap().url.expose(), "redis://a");
    assert_eq!(config.data_dir, PathBuf::from("/srv/a"));
    assert_eq!(config.log.filter, "warn");
}

#[test]
fn an_empty_variable_is_none() {
    let config = with("", &[("PORT", ""), ("REDIS_URL", ""), ("ALLOWED_ORIGINS", "")]).unwrap();
    assert_eq!(config, parse("").unwrap());
}

#[test]
fn errors_of_the_environment_name_the_variable() {
    let variables = [("PORT", "http"), ("ALLOWED_ORIGINS", "*"), ("CRANKCASE_DATA_DIR", "relative")];
    let found = with("", &variables).unwrap_err().to_string();
    assert!(found.contains("PORT: is \"http\", it must be a port"), "{found}");
    assert!(found.contains("ALLOWED_ORIGINS (server.allowed-origins): is"), "{found}");
    assert!(found.contains("CRANKCASE_DATA_DIR (data-dir): is"), "{found}");
}

#[test]
fn a_wrong_address_in_the_file_stays_an_error_behind_port() {
    let found = with("server.listen = \"x\"", &[("PORT", "5000")]).unwrap_err();
    assert_eq!(found.errors[0].key, "server.listen");
    assert_eq!(found.errors.len(), 1);
}

#[test]
fn the_file_is_the_one_given_before_the_one_of_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let (given, other) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
    std::fs::write(&given, "sandbox.hostname = \"given\"").unwrap();
    std::fs::write(&other, "sandbox.hostname = \"other\"").unwrap();
    let environment = Environment::of(&[("CRANKCASE_CONFIG", other.to_str().unwrap())]);
    assert_eq!(Config::load(Some(&given), &environment).unwrap().sandbox.hostname, "given");
    assert_eq!(Config::load(None, &environment).unwrap().sandbox.hostname, "other");
    let missing = dir.path().join("c.toml");
    let error = Config::load(Some(&missing), &environment).unwrap_err().to_string();
    assert!(error.contains("c.toml") && error.contains("cannot be read"), "{error}");
}

#[test]
fn where_data_goes_by_default() {
    let path = |environment: &Environment| Config::parse("", environment).unwrap().data_dir;
    let mut root = Environment::default();
    root.root = true;
    assert_eq!(path(&root), PathBuf::from("/var/lib/crankcase"));
    assert_eq!(path(&Environment::of(&[("STATE_DIRECTORY", "/var/lib/x:/var/lib/y")])), PathBuf::from("/var/lib/x"));
    let own = path(&Environment::default());
    assert!(own.is_absolute() && own.ends_with("crankcase-data"));
}

#[test]
fn secrets_are_never_shown() {
    let file = "server.admin-token = \"hunter2hunter2hunter2\"\nredis.url = \"redis://:hunter2@127.0.0.1\"";
    let shown = format!("{:?}", parse(file).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
    let wrong = "server.admin-token = \"hunter2\"\nredis.url = \"http://:hunter2@127.0.0.1\"";
    let found = parse(wrong).unwrap_err().to_string();
    assert!(!found.contains("hunter2") && found.contains("server.admin-token"), "{found}");
}

#[test]
fn the_admin_token_may_stand_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let file = format!("server.admin-token-file = {:?}", path.to_str().unwrap());
    assert!(errors(&file)[0].contains("cannot be read"));
    std::fs::write(&path, "short\n").unwrap();
    assert!(errors(&file)[0].contains("must hold 16 to 4096 characters"));
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    assert!(parse(&file).unwrap().server.admin_token.unwrap().matches("0123456789abcdef"));
    let both = format!("{file}\nserver.admin-token = \"0123456789abcdef\"");
    assert!(errors(&both)[0].starts_with("server.admin-token-file: cannot be set together"));
}

#[test]
fn a_bad_address_of_redis_is_an_error_at_once() {
    let found = errors("redis.url = \"redis://:hunter2@host:port\"");
    assert!(found[0].starts_with("redis.url: ") && !found[0].contains("hunter2"), "{found:?}");
    assert!(parse("redis.url = \"unix:///run/redis/redis.sock\"").unwrap().redis.is_some());
}

#[test]
fn a_bad_log_filter_is_an_error_at_once() {
    assert!(errors("log.filter = \"crankcase=loud\"")[0].starts_with("log.filter: is"));
}

#[test]
fn the_last_id_of_a_sandbox_is_a_positive_int() {
    let most = parse("sandbox.uid-base = 2147400000\nsandbox.max-sandboxes = 10000").unwrap().sandbox;
    assert!(i32::try_from(most.uid_base + most.max_sandboxes).is_ok());
}

#[test]
fn names_of_languages_are_checked_against_those_that_there_are() {
    let config = parse("runtimes.enabled = [\"python\", \"cobol\"]\n[limits.pyton]\nmemory = \"1GiB\"").unwrap();
    let error = config.check_languages(&["python", "java"]).unwrap_err().to_string();
    assert!(error.contains("limits.pyton: there is no language \"pyton\", did you mean python?"), "{error}");
    assert!(error.contains("runtimes.enabled: there is no language \"cobol\""), "{error}");
    assert_eq!(parse("").unwrap().check_languages(&[]), Ok(()));
}

#[test]
fn proxies_are_networks_or_single_addresses() {
    let server = parse("server.trusted-proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]").unwrap().server;
    let proxies: Vec<String> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["127.0.0.1/32", "10.0.0.0/8"]);
}

#[test]
fn a_restart_is_needed_for_what_cannot_be_reloaded() {
    let old = parse("").unwrap();
    let new =
        parse("limits.memory = \"1GiB\"\nadmission.queue-length = 1\nquotas.user-queued = 3\nrate-limit.burst = 5")
            .unwrap();
    assert_eq!(old.needs_restart(&new), Vec::<&str>::new());
    assert_ne!(old.reloadable, new.reloadable);
    let new = parse("sandbox.hostname = \"x\"\nserver.piston-api = false").unwrap();
    assert_eq!(old.needs_restart(&new), ["server", "sandbox"]);
    // Every section that is not reloadable is looked at.
    for section in SECTIONS.iter().filter(|section| !section.reloadable && !section.name.is_empty()) {
        let text = match section.name {
            "server" => "server.piston-api = false",
            "rooms" => "rooms.chat-chars = 1",
            "history" => "history.retention = \"off\"",
            "redis" => "redis.url = \"redis://a\"",
            "runtimes" => "runtimes.enabled = []",
            "sandbox" => "sandbox.hostname = \"x\"",
            "log" => "log.filter = \"debug\"",
            other => panic!("{other} is missing here"),
        };
        assert_eq!(old.needs_restart(&parse(text).unwrap()), [section.name]);
    }
}

fn limits(text: &str) -> Limits {
    parse(text).unwrap().reloadable.limits
}

fn manifest(memory: u64) -> LimitSet {
    let run = StageSet { memory: crankcase_sandbox::spec::MemoryMax::new(memory).ok(), ..StageSet::default() };
    LimitSet { run, ..LimitSet::default() }
}

#[test]
fn the_language_outweighs_the_manifest_which_outweighs_the_general_section() {
    let none = LimitOverrides::default();
    let memory = |text: &str, set: &LimitSet| limits(text).resolve("java", set, &none).unwrap().run.memory.get();
    assert_eq!(memory("", &LimitSet::default()), 256 * MIB);
    assert_eq!(memory("limits.memory = \"100MiB\"", &LimitSet::default()), 100 * MIB);
    assert_eq!(memory("limits.memory = \"100MiB\"", &manifest(512 * MIB)), 512 * MIB);
    let own = "limits.memory = \"100MiB\"\nlimits.java.memory = \"300MiB\"";
    assert_eq!(memory(own, &manifest(512 * MIB)), 300 * MIB);
    assert_eq!(memory("limits.python.memory = \"300MiB\"", &manifest(512 * MIB)), 512 * MIB);
}

#[test]
fn a_runtime_brings_the_limits_of_its_manifest() {
    let registry = crankcase_runtimes::Registry::load(&[]).unwrap();
    let java = registry.find("java").unwrap();
    let resolved = resolve(&limits(""), java, &LimitOverrides::default()).unwrap();
    assert_eq!(Some(resolved.run.memory.get()), java.limits.run.memory);
    assert_eq!(Some(resolved.run.pids.get()), java.limits.run.processes);
    assert_eq!(Some(resolved.compile.wall.get()), java.limits.compile.wall_ms);
    let lowered = resolve(&limits("limits.java.memory = \"300MiB\""), java, &LimitOverrides::default()).unwrap();
    assert_eq!(lowered.run.memory.get(), 300 * MIB);
    assert!(java.limits.run.memory > Some(300 * MIB));
}

#[test]
fn every_limit_of_a_language_reaches_its_place() {
    let base = limits("").general;
    for key in KEYS.iter().filter(|key| key.per_language && key.section() == "limits") {
        let value = match key.kind {
            kind::Kind::Integer(..) => "77",
            kind::Kind::Cores(..) => "0.77",
            kind::Kind::Size(..) => "\"77MiB\"",
            kind::Kind::Time(..) => "\"77s\"",
            other => panic!("{other:?}"),
        };
        let set = limits(&format!("limits.x.{} = {value}", key.leaf()));
        let own = set.of_language("x", &LimitSet::default());
        let general = limits(&format!("limits.{} = {value}", key.leaf())).general;
        assert_ne!(own, base, "{}", key.name);
        assert_eq!(own, general, "{}", key.name);
    }
}

#[test]
fn a_request_above_the_limit_is_told_the_bound() {
    let set = limits("");
    let asked = |overrides| set.resolve("c", &LimitSet::default(), &overrides);
    let error = asked(LimitOverrides { run_wall_ms: Some(20_000), ..Default::default() }).unwrap_err();
    assert_eq!(error.limit.field(), "timeLimitMs");
    assert_eq!(error.to_string(), "the time limit must be 10 ms to 10000 ms here, 20000 ms was asked for");
    let error = asked(LimitOverrides { run_memory_bytes: Some(1), ..Default::default() }).unwrap_err();
    assert_eq!(error.limit.field(), "memoryLimitMb");
    assert_eq!(error.to_string(), "the memory limit must be 4MiB to 256MiB here, 1B was asked for");
    let error = asked(LimitOverrides { compile_cpu_ms: Some(u64::MAX), ..Default::default() }).unwrap_err();
    assert_eq!(error.limit.field(), "compile_cpu_time");
}

#[test]
fn requests_lower_each_limit_alone() {
    let set = limits("");
    let none = set.general;
    let overrides = LimitOverrides {
        run_wall_ms: Some(1001),
        run_cpu_ms: Some(1002),
        run_memory_bytes: Some(10 * MIB),
        compile_wall_ms: Some(1003),
        compile_cpu_ms: Some(1004),
        compile_memory_bytes: Some(11 * MIB),
    };
    let lowered = set.resolve("c", &LimitSet::default(), &overrides).unwrap();
    assert_eq!((lowered.run.wall.get(), lowered.run.cpu.get(), lowered.run.memory.get()), (1001, 1002, 10 * MIB));
    let compile = lowered.compile;
    assert_eq!((compile.wall.get(), compile.cpu.get(), compile.memory.get()), (1003, 1004, 11 * MIB));
    assert_eq!((lowered.sandbox, lowered.output_bytes), (none.sandbox, none.output_bytes));
    assert_eq!(lowered.run.pids, none.run.pids);
}

proptest! {
    #[test]
    fn no_request_raises_a_limit(wall: Option<u64>, cpu: Option<u64>, memory: Option<u64>) {
        let set = limits("");
        let overrides = LimitOverrides {
            run_wall_ms: wall, run_cpu_ms: cpu, run_memory_bytes: memory,
            compile_wall_ms: cpu, compile_cpu_ms: memory, compile_memory_bytes: wall,
        };
        if let Ok(resolved) = set.resolve("c", &LimitSet::default(), &overrides) {
            for (stage, most) in [(resolved.run, set.general.run), (resolved.compile, set.general.compile)] {
                prop_assert!(stage.wall <= most.wall && stage.cpu <= most.cpu && stage.memory <= most.memory);
            }
            prop_assert_eq!(resolved.run.wall.get(), wall.unwrap_or(set.general.run.wall.get()));
        }
    }

    #[test]
    fn no_file_panics(text in "(\\[?[a-z.-]{1,20}\\]?( = (\"[0-9a-zA-Z%]{0,9}\"|-?[0-9.]{1,9}|\\[\\]))?\n){0,6}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_value_of_a_known_key_panics(index in 0..KEYS.len(), value in "(\"[0-9a-zA-Z%/:.*]{0,20}\"|-?[0-9]{1,18}|[0-9]{1,9}\\.[0-9]|true|\\[\\]|\\[\"[a-z/:*]{0,9}\"\\]|\\{\\})") {
        let _ = parse(&format!("{} = {value}", KEYS[index].name));
    }
}

#[test]
fn on_a_small_host_a_compiler_gets_what_there_is() {
    let mut limits = limits("limits.java.compile-memory = \"2GiB\"");
    let of = |limits: &Limits, language: &str| {
        let resolved = limits.of_language(language, &LimitSet::default());
        (resolved.run.memory.get() >> 20, resolved.compile.memory.get() >> 20)
    };
    assert_eq!((of(&limits, "c"), of(&limits, "java")), ((256, 1024), (256, 2048)));
    assert!(!limits.cap_memory(4 << 30));
    assert_eq!(of(&limits, "java"), (256, 2048));
    assert!(limits.cap_memory(700 << 20));
    assert_eq!((of(&limits, "c"), of(&limits, "java")), ((256, 700), (256, 700)));
}
