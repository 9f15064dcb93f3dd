//! The loader from outside: built-in manifests, an admin's directory, mistakes, and the plan of each language.

use std::path::{Path, PathBuf};

use crankcase_runtimes::{ManifestError, Plan, PlanError, Registry, Request, WarmStage};
use crankcase_sandbox::spec::{COMMAND_BYTES_MAX, SourceFile};

const MIB: u64 = 1 << 20;

fn request<'a>(code: &'a str, files: &'a [SourceFile], args: &'a [String]) -> Request<'a> {
    Request { code, files, args, run_memory_bytes: 256 * MIB, compile_memory_bytes: 1024 * MIB }
}

fn file(name: &str) -> SourceFile {
    SourceFile { name: name.into(), content: b"x".to_vec(), executable: false }
}

/// A manifest whose only tool every Debian has.
fn manifest(name: &str, further: &str) -> String {
    format!(
        r#"name = "{name}"
display-name = "Test"
{further}
source = {{ file = "main.x", extensions = ["x"] }}
hello = {{ code = "cat", expected-stdout = "cat" }}

[[toolchain]]
tools = {{ cat = ["/no/such/cat", "/usr/bin/cat"] }}
version = {{ command = ["{{cat}}", "--version"], prefix = "coreutils) " }}
compile = {{ command = ["{{cat}}", "-m{{memory-mb}}", "{{sources}}"] }}
run = {{ command = ["{{cat}}", "-h{{heap-mb}}", "{{source}}"], heap-percent = 50, environment = {{ HOME = "/box", M = "{{memory-mb}}" }} }}
"#
    )
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn load(files: &[(&str, &str)]) -> Result<Registry, Vec<ManifestError>> {
    let dir = directory(files);
    Registry::load(&[dir.path().to_owned()])
}

/// The keys of all mistakes of a manifest.
fn keys(text: &str) -> Vec<String> {
    let errors = load(&[("bad.toml", text)]).unwrap_err();
    assert!(errors.iter().all(|error| error.file.ends_with("bad.toml")), "{errors:?}");
    errors.into_iter().filter_map(|error| error.key).collect()
}

#[test]
fn the_contracts_languages_are_built_in() {
    let registry = Registry::load(&[]).unwrap();
    let names: Vec<&str> = registry.iter().map(|runtime| runtime.name.as_str()).collect();
    for name in "javascript python java cpp c go ruby php swift rust typescript bash".split(' ') {
        assert!(names.contains(&name), "{name}");
        assert_eq!(registry.find(name).unwrap().manifest_file(), Path::new("<built-in>").join(format!("{name}.toml")));
    }
    for (alias, name) in [
        ("js", "javascript"),
        ("node", "javascript"),
        ("py", "python"),
        ("python3", "python"),
        ("c++", "cpp"),
        ("golang", "go"),
        ("ts", "typescript"),
        ("sh", "bash"),
        ("shell", "bash"),
        ("rb", "ruby"),
        ("rs", "rust"),
    ] {
        assert_eq!(registry.find(alias).unwrap().name, name);
    }
    assert!(registry.find("cobol").is_none() && registry.find("Python").is_none() && registry.find("").is_none());
}

#[test]
fn supported_lists_installed_names_then_aliases() {
    let registry = Registry::load(&[]).unwrap();
    let supported = registry.supported();
    let names = registry.iter().filter(|runtime| runtime.installed()).count();
    for (position, name) in supported.iter().enumerate() {
        let runtime = registry.find(name).unwrap();
        assert!(runtime.installed());
        assert_eq!(runtime.name == *name, position < names, "{name}");
    }
    for runtime in registry.iter().filter(|runtime| !runtime.installed()) {
        assert!(!supported.contains(&runtime.name));
        let error = runtime.plan(&request("", &[], &[])).unwrap_err();
        assert!(error.to_string().contains(&runtime.missing_hint()), "{error}");
    }
}

#[test]
fn every_plan_keeps_the_rules() {
    let registry = Registry::load(&[]).unwrap();
    for runtime in registry.iter().filter(|runtime| runtime.installed()) {
        let args = ["a b".to_owned(), "--version".to_owned(), String::new()];
        let code = &runtime.hello().code;
        let plan = runtime.plan(&request(code, &[], &args)).unwrap();
        for command in plan.compile.iter().chain([&plan.run]) {
            let program = &command.argv[0];
            assert!(program.starts_with("./") || Path::new(program).is_absolute(), "{program}");
            assert!(!program.starts_with("/root") && !program.starts_with("/home"), "{program}");
            let value = |key: &str| command.env.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
            assert_eq!(value("PATH"), Some("/usr/local/bin:/usr/bin:/bin"));
            assert_eq!(value("HOME"), Some("/tmp"));
            assert_eq!(value("LANG"), Some("C.UTF-8"));
            assert!(command.argv.iter().all(|word| !word.contains('\0')));
        }
        assert!(plan.run.argv.ends_with(&args), "{}: arguments come last", runtime.name);
        assert_eq!(plan.files[0].content, code.as_bytes());
        assert_eq!(plan.compile.is_some(), plan.artefact.is_some(), "{}", runtime.name);
        assert_eq!(plan.compile.is_some(), runtime.compiled());
        assert!(runtime.tools().count() > 0 && runtime.version().is_none());
    }
}

fn plan(registry: &Registry, language: &str, code: &str) -> Option<Plan> {
    let runtime = registry.find(language).unwrap();
    if !runtime.installed() {
        eprintln!("SKIP {language}: {}", runtime.missing_hint());
        return None;
    }
    Some(runtime.plan(&request(code, &[], &[])).unwrap())
}

#[test]
fn the_main_file_is_named_as_the_language_wants() {
    let registry = Registry::load(&[]).unwrap();
    for (language, code, name) in [
        ("python", "", "main.py"),
        ("javascript", "require('fs')", "main.js"),
        ("javascript", "import fs from 'fs'", "main.mjs"),
        ("c", "", "main.c"),
        ("cpp", "", "main.cpp"),
        ("go", "", "main.go"),
        ("ruby", "", "main.rb"),
        ("php", "", "main.php"),
        ("rust", "", "main.rs"),
        ("swift", "", "main.swift"),
        ("typescript", "import x from 'x'", "main.ts"),
        ("bash", "", "main.sh"),
        ("java", "", "Main.java"),
        ("java", "package p; public class Shop { public static void main(String[] a) {} }", "Shop.java"),
    ] {
        if let Some(plan) = plan(&registry, language, code) {
            assert_eq!(plan.files[0].name, name, "{language}");
        }
    }
    let code = "package p; class A {} public class B {} class C { static void main(String[] a) {} }";
    if let Some(plan) = plan(&registry, "java", code) {
        assert_eq!(plan.run.argv.last().unwrap(), "p.C");
        assert!(plan.compile.unwrap().argv.contains(&"B.java".to_owned()));
        assert!(plan.run.argv.iter().any(|word| word == "-Xmx179m"), "{:?}", plan.run.argv);
    }
}

#[test]
fn impossible_requests_are_refused() {
    let registry = load(&[("x.toml", &manifest("x", ""))]).unwrap();
    let runtime = registry.find("x").unwrap();
    let refuse = |files: &[SourceFile], args: &[String]| runtime.plan(&request("", files, args)).unwrap_err();
    for name in ["../up", "/etc/passwd", "", "a//b", "a\0b"] {
        assert_eq!(refuse(&[file(name)], &[]), PlanError::UnsafeName(name.into()));
    }
    assert_eq!(refuse(&[file("main.x")], &[]), PlanError::NameTaken("main.x".into()));
    assert_eq!(refuse(&[file("a"), file("a")], &[]), PlanError::NameTaken("a".into()));
    assert_eq!(refuse(&[file("a/b/c"), file("a/b")], &[]), PlanError::NameTaken("a/b".into()));
    assert_eq!(refuse(&[], &["a".into(), "b\0".into()]), PlanError::NulInArgument(1));
    assert!(matches!(refuse(&[], &["x".repeat(COMMAND_BYTES_MAX)]), PlanError::CommandTooLong(_)));
    let many: Vec<SourceFile> = (0..512).map(|n| file(&format!("f{n}"))).collect();
    assert_eq!(refuse(&many, &[]), PlanError::TooManyFiles(513));
}

#[test]
fn an_admin_adds_and_replaces_languages() {
    let python = manifest("python", "aliases = [\"snake\"]");
    let registry =
        load(&[("zz.toml", &manifest("x", "aliases = [\"ex\"]")), ("p.toml", &python), ("n.txt", "no")]).unwrap();
    let runtime = registry.find("ex").unwrap();
    assert_eq!((runtime.name.as_str(), runtime.installed()), ("x", true));
    assert!(registry.find("snake").is_some_and(|r| r.name == "python") && registry.find("py").is_none());
    assert_eq!(registry.iter().last().unwrap().name, "x");

    let args = ["-v".to_owned()];
    let files = [file("lib/-a.x"), file("-b.x"), file("data.csv")];
    let plan = runtime.plan(&request("code", &files, &args)).unwrap();
    assert_eq!(plan.run.argv, ["/usr/bin/cat", "-h128", "main.x", "-v"]);
    assert_eq!(plan.compile.unwrap().argv, ["/usr/bin/cat", "-m1024", "main.x", "lib/-a.x", "./-b.x"]);
    assert!(
        plan.run.env.contains(&("HOME".into(), "/box".into())) && plan.run.env.contains(&("M".into(), "256".into()))
    );
    assert_eq!(plan.run.env.iter().filter(|(key, _)| key == "HOME").count(), 1);
    registry.detect_versions();
    assert!(registry.find("x").unwrap().version().is_some());
}

#[test]
fn later_directories_win_and_missing_ones_are_empty() {
    let first = directory(&[("a.toml", &manifest("x", "aliases = [\"one\"]"))]);
    let second = directory(&[("b.toml", &manifest("x", "aliases = [\"two\"]"))]);
    let dirs = [first.path().to_owned(), PathBuf::from("/no/such/directory"), second.path().to_owned()];
    let registry = Registry::load(&dirs).unwrap();
    assert!(registry.find("two").is_some() && registry.find("one").is_none());
}

#[test]
fn what_is_missing_is_named_with_the_way_to_mend_it() {
    let absent = |further: &str| manifest("x", further).replace("/usr/bin/cat", "/usr/bin/no-such-cat");
    let hint = |further: &str| {
        let registry = load(&[("x.toml", &absent(further))]).unwrap();
        let runtime = registry.find("x").unwrap();
        assert!(!runtime.installed() && !registry.supported().contains(&"x".to_owned()));
        runtime.missing_hint()
    };
    assert_eq!(hint("packages = [\"kitten\", \"cat9\"]"), "install it with: apt-get install kitten cat9");
    assert_eq!(hint("install-hint = \"ask a vet\""), "ask a vet");
    assert_eq!(hint(""), "it needs cat");
}

#[test]
fn names_clash_loudly() {
    let twice = load(&[("a.toml", &manifest("x", "")), ("b.toml", &manifest("x", ""))]).unwrap_err();
    assert_eq!(twice.len(), 1);
    assert!(twice[0].file.ends_with("b.toml") && twice[0].message.contains("a.toml"), "{}", twice[0]);
    for alias in ["python", "py"] {
        let taken = load(&[("a.toml", &manifest("x", &format!("aliases = [{alias:?}]")))]).unwrap_err();
        assert_eq!(taken[0].key.as_deref(), Some("aliases"));
        assert!(taken[0].file.ends_with("a.toml") && taken[0].message.contains("\"python\""), "{}", taken[0]);
    }
    assert_eq!(keys(&manifest("x", "aliases = [\"x\", \"y\", \"y\"]")), ["aliases", "aliases"]);
}

#[test]
fn every_mistake_has_its_file_and_key() {
    let good = manifest("x", "");
    assert!(load(&[("good.toml", &good)]).is_ok());
    for (from, to, key) in [
        ("name = \"x\"", "name = \"X y\"", "name"),
        ("display-name = \"Test\"", "display-name = \" \"", "display-name"),
        ("display-name = \"Test\"", "display-name = 5", "display-name"),
        ("display-name", "packages = [\"a; rm -rf\"]\ndisplay-name", "packages"),
        ("display-name", "read-only = [\"/etc/shadow\"]\ndisplay-name", "read-only"),
        ("display-name", "environment = { A = \"{cat}\" }\ndisplay-name", "environment.A"),
        ("display-name", "limits = { run = { memory = \"1KiB\" } }\ndisplay-name", "limits.run.memory"),
        ("display-name", "colour = \"red\"\ndisplay-name", "colour"),
        ("\"main.x\"", "\"../main.x\"", "source.file"),
        ("\"main.x\"", "\"{class}.x\"", "source.file"),
        ("\"main.x\"", "\"main.x\", module-file = \"m.x\"", "source.module-file"),
        ("\"/no/such/cat\"", "\"cat\"", "toolchain.1.tools.cat"),
        ("tools = { cat", "tools = { source = [], cat", "toolchain.1.tools.source"),
        ("{source}", "{sauce}", "toolchain.1.run.command"),
        ("[\"{cat}\", \"-h", "[\"cat\", \"-h", "toolchain.1.run.command"),
        ("heap-percent = 50", "heap-percent = 0", "toolchain.1.run.heap-percent"),
        ("M = \"{memory-mb}\"", "M = \"{sources}\"", "toolchain.1.run.environment.M"),
        ("[[toolchain]]\n", "[[toolchain]]\nartefact = \"/x\"\n", "toolchain.1.artefact"),
        ("[[toolchain]]\n", "[[toolchain]]\nkeep = { files = [\"main\"] }\n", "toolchain.1.keep.files"),
        ("[[toolchain]]\n", "[[toolchain]]\nkeep = { files = [] }\n", "toolchain.1.keep.files"),
        ("[[toolchain]]\n", "[[toolchain]]\nkeep = { files = [\"m\"], unless = [\"\"] }\n", "toolchain.1.keep.unless"),
        (
            "[[toolchain]]\n",
            "[[toolchain]]\ndirect = { shell = \"sh\", remove = \"cat\", assembler = \"cat\", linker = \"cat\" }\n",
            "toolchain.1.direct.shell",
        ),
        ("[[toolchain]]\n", "[[toolchain]]\nfiles = [{ name = \"../x\", content = \"\" }]\n", "toolchain.1.files"),
        ("expected-stdout = \"cat\"", "expected-stdout = \"\"", "hello.expected-stdout"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(keys(&bad).contains(&key.to_owned()), "{to}: {:?}", load(&[("bad.toml", &bad)]));
    }
    let several = good.replace("name = \"x\"", "name = \"X\"").replace("heap-percent = 50", "heap-percent = 101");
    assert_eq!(keys(&several), ["name", "toolchain.1.run.heap-percent"]);
}

#[test]
fn files_that_are_no_manifests_are_errors() {
    for text in ["", "name = ", "[[[", "\u{0}"] {
        assert_eq!(load(&[("bad.toml", text)]).unwrap_err().len(), 1, "{text:?}");
    }
    let huge = format!("# {}", "x".repeat(300_000));
    assert!(load(&[("bad.toml", &huge)]).unwrap_err()[0].message.contains("bytes"));
    let dir = directory(&[]);
    std::fs::create_dir(dir.path().join("d.toml")).unwrap();
    std::fs::write(dir.path().join("e.toml"), [0xff, 0xfe]).unwrap();
    let errors = Registry::load(&[dir.path().to_owned()]).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    let error = &load(&[("bad.toml", "name = \"x\"\nx = 1")]).unwrap_err()[0].to_string();
    assert!(error.contains("bad.toml: x: line 2: unknown field `x`"), "{error}");
}

#[test]
fn read_only_paths_exist_and_none_holds_another() {
    let further =
        "read-only = [\"/etc/alternatives\", \"/etc/alternatives/README\", \"/etc/no-such\", \"/etc/ld.so.c*\"]";
    let registry = load(&[("x.toml", &manifest("x", further))]).unwrap();
    let paths = registry.read_only_paths();
    assert!(paths.contains(&"/etc/alternatives".into()), "{paths:?}");
    for (position, path) in paths.iter().enumerate() {
        assert!(path.exists() && path.is_absolute());
        assert!(
            paths.iter().enumerate().all(|(other, above)| other == position || !path.starts_with(above)),
            "{paths:?}"
        );
    }
}

#[test]
fn the_example_of_the_documentation_is_a_manifest() {
    let text = include_str!("../../docs/runtimes.md");
    let example = text.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let registry = load(&[("lua.toml", example)]).unwrap();
    assert_eq!(registry.find("lua5.4").unwrap().name, "lua");
    // What the example has as comments, switched on: only placeholders for values may be wrong with it.
    let full = example
        .replace("# scan = \"java\"", "#")
        .replace("[...]", "[\"{lua}\", \"{sources}\"]")
        .replace("{ ... }", "{}")
        .replace("\n# ", "\n");
    let registry = load(&[("lua.toml", &full)]).unwrap_or_else(|errors| panic!("{errors:?}\n{full}"));
    let lua = registry.find("lua").unwrap();
    assert_eq!(lua.limits.run.stack, Some(64 * MIB));
    assert_eq!(lua.limits.box_inodes, Some(4096));
}

#[test]
fn every_language_is_documented() {
    let text = include_str!("../../docs/runtimes.md");
    for runtime in Registry::load(&[]).unwrap().iter() {
        let row = format!("| `{}` | {} |", runtime.name, runtime.aliases.join(", "));
        assert!(text.contains(&row), "{row}");
    }
}

/// A manifest with a gate, in a directory whose `gates` hold `gate/start.x`.
fn with_gate(warm: &str) -> Result<Registry, Vec<ManifestError>> {
    let text = manifest("lua", "").replace("compile = ", "# compile = ") + "[toolchain.warm]\n" + warm;
    let dir = directory(&[("lua.toml", &text)]);
    std::fs::create_dir_all(dir.path().join("gates/gate")).unwrap();
    std::fs::write(dir.path().join("gates/gate/start.x"), "the gate").unwrap();
    Registry::load(&[dir.path().to_owned()])
}

#[test]
fn a_manifest_names_what_is_started_ahead() {
    let registry = with_gate(
        r#"gate = "gate"
command = ["{cat}", "-m{memory-mb}", "/opt/crankcase/gate/start.x", "{source}"]
environment = { GATE = "1" }
fork = true
idle-memory = "3MiB"
plain-if = ["word", "$^T"]
plain-if-files = ["hidden.x"]
plain-shebang = true
"#,
    )
    .unwrap();
    let lua = registry.find("lua").unwrap();
    let warm = lua.warm(256 * MIB, 0).unwrap();
    assert_eq!(warm.command.argv, ["/usr/bin/cat", "-m256", "/opt/crankcase/gate/start.x", "main.x"]);
    let variable = |name: &str| warm.command.env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    assert_eq!((variable("GATE"), variable("HOME"), variable("M")), (Some("1"), Some("/box"), Some("256")));
    assert_eq!((warm.gate.as_str(), warm.fork, warm.stage, warm.idle_memory), ("gate", true, WarmStage::Run, 3 * MIB));
    let files = registry.gate_files();
    assert!(files.contains(&("gate/start.x".into(), b"the gate".to_vec())));
    assert!(files.iter().any(|(path, _)| path == Path::new("python/sitecustomize.py")));

    let warm = |code: &str, files: &[SourceFile], args: &[String]| lua.plan(&request(code, files, args)).unwrap().warm;
    assert!(warm("words", &[file("other.x")], &[]));
    assert!(!warm("a word", &[], &[]));
    assert!(!warm("x$^T y", &[], &[]));
    assert!(!warm("#!lua", &[], &[]));
    assert!(!warm("words", &[file("hidden.x")], &[]));
    assert!(!warm("words", &[], &["argument".into()]));
    let hidden = SourceFile { name: "a.x".into(), content: b"a word".to_vec(), executable: false };
    assert!(!warm("words", &[hidden], &[]));
}

#[test]
fn mistakes_around_gates_are_named() {
    let keys = |warm: &str| -> Vec<String> {
        with_gate(warm).unwrap_err().into_iter().filter_map(|error| error.key).collect()
    };
    assert_eq!(keys("gate = \"none\"\nidle-memory = \"1MiB\"\n"), ["toolchain.1.warm.gate"]);
    assert_eq!(keys("gate = \"gate\"\nidle-memory = \"much\"\n"), ["toolchain.1.warm.idle-memory"]);
    assert_eq!(
        keys("gate = \"gate\"\nidle-memory = \"1MiB\"\nstage = \"both\"\nplain-if = [\"\"]\ncommand = [\"{dog}\"]\n"),
        ["toolchain.1.warm.stage", "toolchain.1.warm.plain-if", "toolchain.1.warm.command"]
    );
    assert!(with_gate("gate = \"gate\"\n").is_err());
    assert!(with_gate("gate = \"gate\"\nidle-memory = \"1MiB\"\nfrok = true\n").is_err());
}

#[test]
fn gates_are_few_plain_files() {
    let dir = tempfile::tempdir().unwrap();
    let gate = dir.path().join("gates/python");
    std::fs::create_dir_all(&gate).unwrap();
    std::fs::write(gate.join("own.py"), "own").unwrap();
    let load = || Registry::load(&[dir.path().to_owned()]);
    let files = load().unwrap().gate_files();
    let python: Vec<_> = files.iter().filter(|(path, _)| path.starts_with("python")).collect();
    assert_eq!(python, [&(PathBuf::from("python/own.py"), b"own".to_vec())], "it replaces the built-in one");

    std::os::unix::fs::symlink("/etc/passwd", gate.join("link")).unwrap();
    assert!(load().unwrap_err()[0].file.ends_with("gates/python/link"));
    std::fs::remove_file(gate.join("link")).unwrap();
    std::fs::write(gate.join("big"), vec![0; (2 << 20) + 1]).unwrap();
    assert!(!load().unwrap_err().is_empty());
}

#[test]
fn the_compiler_that_waits_is_told_what_the_compile_stage_tells() {
    let registry = Registry::load(&[]).unwrap();
    let typescript = registry.find("typescript").unwrap();
    let Some(warm) = typescript.warm(256 * MIB, 512 * MIB) else {
        return eprintln!("SKIP: typescript is not installed");
    };
    let compile = typescript.plan(&request("", &[], &["an argument".into()])).unwrap();
    assert!(compile.warm, "arguments are the program's, not the compiler's");
    // But for the size of what it keeps while it waits.
    let words = |command: &[String]| -> Vec<String> {
        command.iter().filter(|word| !word.starts_with("--max-semi-space-size=")).cloned().collect()
    };
    assert_eq!((warm.stage, words(&warm.command.argv)), (WarmStage::Compile, words(&compile.compile.unwrap().argv)));
}
