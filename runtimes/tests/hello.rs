//! Every built-in language's hello, run as its plan says, without the sandbox.
//!
//! The programs are ours; the sandboxed counterpart is `crankcase runtimes test`. A language that is not
//! installed is reported as SKIP.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crankcase_runtimes::{Plan, Registry, Request};
use crankcase_sandbox::spec::{SourceFile, StageCommand};

const GIB: u64 = 1 << 30;

fn registry() -> Registry {
    Registry::load(&[]).expect("the built-in manifests are sound")
}

fn request<'a>(code: &'a str, files: &'a [SourceFile], args: &'a [String]) -> Request<'a> {
    Request { code, files, args, run_memory_bytes: GIB / 2, compile_memory_bytes: GIB }
}

fn file(name: &str, content: &str) -> SourceFile {
    SourceFile { name: name.into(), content: content.into(), executable: false }
}

/// Runs one stage in `dir`, with nothing inherited; `HOME` and the compilers' caches stay in the directory.
fn stage(dir: &Path, command: &StageCommand, stdin: &str) -> Output {
    let private = dir.join("tmp");
    std::fs::create_dir_all(&private).unwrap();
    let private = format!("{}/", private.display());
    let argv: Vec<String> = command.argv.iter().map(|word| word.replace("/tmp/", &private)).collect();
    // Relative to the work directory, which is where the child starts, not we.
    let program = dir.join("box").join(&command.argv[0]);
    let mut child = Command::new(program)
        .arg0(&command.argv[0])
        .args(&argv[1..])
        .env_clear()
        .envs(command.env.iter().map(|(key, value)| (key, value.replace("/tmp/", &private))))
        .env("HOME", &private)
        .current_dir(dir.join("box"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{argv:?}: {error}"));
    // A program that ends without reading its stdin is none of our business.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// The compile stage's output when it failed, else the run stage's.
fn run(plan: &Plan, stdin: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    for file in &plan.files {
        let path = dir.path().join("box").join(&file.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &file.content).unwrap();
    }
    if let Some(compile) = &plan.compile {
        let output = stage(dir.path(), compile, "");
        if !output.status.success() {
            return output;
        }
        let artefact = plan.artefact.as_ref().expect("a compile stage makes something");
        assert!(dir.path().join("box").join(artefact).exists(), "{artefact} was not made");
    }
    stage(dir.path(), &plan.run, stdin)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs code of a language and gives stdout, or `None` after a SKIP.
fn stdout(language: &str, code: &str, files: &[SourceFile], args: &[&str], stdin: &str) -> Option<String> {
    let registry = registry();
    let runtime = registry.find(language).unwrap();
    if !runtime.installed() {
        eprintln!("SKIP {language}: {}", runtime.missing_hint());
        return None;
    }
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let output = run(&runtime.plan(&request(code, files, &args)).unwrap(), stdin);
    assert!(output.status.success(), "{language}: {}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout))
}

#[test]
fn every_installed_language_says_hello() {
    let registry = registry();
    for runtime in registry.iter() {
        let hello = runtime.hello();
        if let Some(stdout) = stdout(&runtime.name, &hello.code, &[], &[], &hello.stdin) {
            assert_eq!(stdout, hello.expected_stdout, "{}", runtime.name);
        }
    }
}

#[test]
fn mistakes_are_compile_errors_with_diagnostics() {
    for (language, code, needle) in [
        ("c", "int main(void) { return x; }", "main.c"),
        ("cpp", "int main() { return x; }", "main.cpp"),
        ("java", "public class Odd { void f() { return 1; } }", "Odd.java"),
        ("go", "package main\nfunc main() { x() }", "main.go"),
        ("rust", "fn main() { x() }", "main.rs"),
        ("typescript", "const x: number = 'a';", "main.ts"),
    ] {
        let registry = registry();
        let runtime = registry.find(language).unwrap();
        if !runtime.installed() {
            eprintln!("SKIP {language}: {}", runtime.missing_hint());
            continue;
        }
        let output = run(&runtime.plan(&request(code, &[], &[])).unwrap(), "");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!output.status.success() && said.contains(needle), "{language}: {said}");
    }
}

#[test]
fn java_takes_any_class_name_and_package() {
    let code = "package a.b;\nclass Other { static String s() { return \"h\"; } }\n\
        public class Überall { public static void main(String[] x) { System.out.print(Other.s() + x[0]); } }";
    if let Some(out) = stdout("java", code, &[], &["arg"], "") {
        assert_eq!(out, "harg");
    }
    let files = [file("App.java", "public class App { public static void main(String[] a) { new Lib().f(); } }")];
    if let Some(out) = stdout("java", "public class Lib { void f() { System.out.print(7); } }", &files, &[], "") {
        assert_eq!(out, "7");
    }
}

#[test]
fn javascript_runs_as_the_kind_of_module_it_is() {
    let module = "import fs from 'node:fs';\nconst x = await Promise.resolve(import.meta.url.length > 0);\n\
        process.stdout.write(`${typeof fs} ${x} ${typeof require}`);";
    if let Some(out) = stdout("node", module, &[], &[], "") {
        assert_eq!(out, "object true undefined");
    }
    let script = "process.stdout.write(`${typeof require} ${process.argv[2]}`)";
    if let Some(out) = stdout("js", script, &[], &["--help"], "") {
        assert_eq!(out, "function --help");
    }
}

#[test]
fn further_files_belong_to_the_program() {
    let cases: [(&str, &str, Vec<SourceFile>); 9] = [
        (
            "c",
            "#include \"lib/f.h\"\n#include <stdio.h>\nint main(void) { printf(\"%d\", f()); }",
            vec![file("lib/f.h", "int f(void);"), file("lib/f.c", "int f(void) { return 42; }")],
        ),
        (
            "cpp",
            "#include <iostream>\nint f(); int main() { std::cout << f(); }",
            vec![file("-f.cc", "int f() { return 42; }")],
        ),
        ("python", "import other; print(other.X, end='')", vec![file("other.py", "X = 42")]),
        (
            "go",
            "package main\nimport \"fmt\"\nfunc main() { fmt.Print(f()) }",
            vec![file("f.go", "package main\nfunc f() int { return 42 }")],
        ),
        (
            "go",
            "package main\nimport (\"fmt\"; \"./shapes\")\nfunc main() { fmt.Print(shapes.F()) }",
            vec![file("shapes/f.go", "package shapes\nfunc F() int { return 42 }")],
        ),
        (
            "go",
            "package main\nimport (_ \"embed\"; \"fmt\")\n//go:embed n.txt\nvar n string\nfunc main() { fmt.Print(n) }",
            vec![file("n.txt", "42")],
        ),
        (
            "go",
            "package main\n// static int f(void) { return 42; }\nimport \"C\"\nimport \"fmt\"\nfunc main() { fmt.Print(C.f()) }",
            vec![],
        ),
        ("rust", "mod f;\nfn main() { print!(\"{}\", f::f()) }", vec![file("f.rs", "pub fn f() -> i32 { 42 }")]),
        (
            "typescript",
            "import { f } from './lib/f';\nprocess.stdout.write(String(f()));",
            vec![file("lib/f.ts", "export function f(): number { return 42; }")],
        ),
    ];
    for (language, code, files) in cases {
        if let Some(out) = stdout(language, code, &files, &[], "") {
            assert_eq!(out, "42", "{language}");
        }
    }
}

#[test]
fn typescript_knows_node() {
    let code = r#"
import * as readline from "readline";
import { EventEmitter, once } from "events";
import fs from "fs";
import path = require("path");
import { createHash } from "node:crypto";

class Bus extends EventEmitter {}
const lines: readline.Interface = readline.createInterface({ input: process.stdin });
let timer: NodeJS.Timeout = setTimeout(() => {}, 1);
clearTimeout(timer);
(async () => {
    const read: string[] = [];
    for await (const line of lines) read.push(line);
    const bus = new Bus();
    setImmediate(() => bus.emit("go", read.at(-1)));
    const [last] = await once(bus, "go");
    const stats: fs.Stats = fs.statSync(".");
    console.log(last, stats.isDirectory(), path.join("a", "b"), Buffer.from("x").toString("hex"));
    console.log(createHash("md5").update("a").digest("hex").length, new URL("http://a/b").pathname);
})();
"#;
    if let Some(out) = stdout("ts", code, &[], &[], "one\ntwo\n") {
        assert_eq!(out, "two true a/b 78\n32 /b\n");
    }
}

#[test]
fn versions_are_found_for_what_is_installed() {
    let registry = registry();
    registry.detect_versions();
    for runtime in registry.iter().filter(|runtime| runtime.installed()) {
        let version = runtime.version().unwrap_or_else(|| panic!("{} has no version", runtime.name));
        assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{}: {version}", runtime.name);
    }
}

/// Without the driver a program is what it was with it, and so is everything that is said about it.
#[test]
fn a_compiler_without_its_driver_says_what_the_driver_says() {
    let (driver, direct) = (registry(), registry());
    direct.detect_versions();
    for (language, code) in [
        ("c", "#include <stdio.h>\nint main(void) { int unused; puts(\"hi\"); return 3 }\n"),
        ("c", "#include <stdio.h>\nint main(void) { char *p = 1; puts(\"hi\"); return 3; }\n"),
        ("c", "#include <missing.h>\nint main(void) { return 0; }\n"),
        ("c", "int f(void);\nint main(void) { return f(); }\n"),
        ("c", "char *gets(char *);\nint main(void) { char line[9]; return gets(line) != 0; }\n"),
        ("c", "int main(void) { __asm__(\"nonsense\"); return 0; }\n"),
        (
            "c",
            "#include <math.h>\n#include <pthread.h>\n#include <stdio.h>\nstatic void *f(void *x) { return x; }\nint main(int n, char **v) { pthread_t t; pthread_create(&t, 0, f, 0); pthread_join(t, 0); printf(\"%.3f\\n\", pow(n + 1, .5)); return 0; }\n",
        ),
        ("cpp", "#include <iostream>\nint main() { std::cout << \"hi\\n\"; return 4; }\n"),
        ("cpp", "#include <vector>\nint main() { std::vector<int> v; v.push_back(\"x\"); }\n"),
        ("cpp", "int f();\nint main() { return f(); }\n"),
        (
            "cpp",
            "#include <stdexcept>\nint main() { try { throw std::runtime_error(\"x\"); } catch (std::exception &) { return 7; } }\n",
        ),
    ] {
        let plan = |registry: &Registry| registry.find(language).unwrap().plan(&request(code, &[], &[])).unwrap();
        let (with, without) = (plan(&driver), plan(&direct));
        let argv = |plan: &Plan| plan.compile.clone().unwrap().argv;
        if argv(&with) == argv(&without) {
            eprintln!("SKIP {language}: no gold here");
            continue;
        }
        assert!(argv(&without)[2].contains("/cc1"), "{:?}", argv(&without));
        // A program that was kept before the steps were known is found afterwards.
        assert_eq!(with.kept, without.kept);
        let (with, without) = (run(&with, ""), run(&without, ""));
        assert_eq!(with.status, without.status, "{code}: {}", text(&without.stderr));
        assert_eq!(text(&with.stdout), text(&without.stdout), "{code}");
        assert_eq!(plain(&text(&with.stderr)), plain(&text(&without.stderr)), "{code}");
    }
    // Of several files each is compiled by itself: the driver's work.
    let files = [file("other.c", "int f(void) { return 5; }\n")];
    let runtime = direct.find("c").unwrap();
    let plan = runtime.plan(&request("int f(void);\nint main(void) { return f(); }\n", &files, &[])).unwrap();
    assert!(plan.compile.clone().unwrap().argv[0].ends_with("gcc"));
    assert_eq!(run(&plan, "").status.code(), Some(5));
}

/// Without the names of temporary files, which differ from run to run anyway.
fn plain(said: &str) -> String {
    let is_temporary = |word: &str| word.contains("/tmp") && word.contains(".o");
    let words = |line: &str| {
        line.split(' ')
            .map(|word| if is_temporary(word) { "OBJECT" } else { word }.to_owned() + " ")
            .collect::<String>()
    };
    said.lines().map(|line| words(line) + "\n").collect()
}
