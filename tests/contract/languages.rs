//! Every language that is installed: a program that answers its input, compile errors, exits, signals.

use crankcase_tests::{shared, skip};

/// Name, the tool that must be there, a program that prints `hello <line of stdin>`.
const ECHO: &[(&str, &str, &str)] = &[
    ("python", "/usr/bin/python3", "print('hello', input())"),
    ("javascript", "/usr/bin/node", "console.log('hello', require('fs').readFileSync(0, 'utf8').trim())"),
    (
        "typescript",
        "/usr/bin/node",
        "const line: string = require('fs').readFileSync(0, 'utf8').trim();\nconsole.log('hello', line)",
    ),
    (
        "java",
        "/usr/bin/javac",
        "import java.util.Scanner;\npublic class Greeter {\n  public static void main(String[] a) { System.out.println(\"hello \" + new Scanner(System.in).nextLine()); }\n}",
    ),
    (
        "c",
        "/usr/bin/gcc",
        "#include <stdio.h>\nint main(void) { char s[64]; fgets(s, sizeof s, stdin); printf(\"hello %s\\n\", s); return 0; }",
    ),
    (
        "cpp",
        "/usr/bin/g++",
        "#include <iostream>\n#include <string>\nint main() { std::string s; std::getline(std::cin, s); std::cout << \"hello \" << s << std::endl; }",
    ),
    (
        "go",
        "/usr/bin/go",
        "package main\nimport (\"bufio\"; \"fmt\"; \"os\")\nfunc main() { s := bufio.NewScanner(os.Stdin); s.Scan(); fmt.Println(\"hello\", s.Text()) }",
    ),
    ("ruby", "/usr/bin/ruby", "puts \"hello #{gets.chomp}\""),
    ("php", "/usr/bin/php", "<?php echo 'hello ', trim(fgets(STDIN)), \"\\n\";"),
    (
        "rust",
        "/usr/bin/rustc",
        "fn main() { let mut s = String::new(); std::io::stdin().read_line(&mut s).unwrap(); println!(\"hello {}\", s.trim()); }",
    ),
    ("bash", "/bin/bash", "read -r line; echo \"hello $line\""),
];

#[test]
fn every_installed_language_reads_its_input_and_prints() {
    let mut failed = Vec::new();
    for (language, tool, code) in ECHO {
        if !std::path::Path::new(tool).exists() {
            skip(&format!("{language}: {tool} is not installed"));
            continue;
        }
        let answer = shared().program(language, code).stdin("größer").run();
        if answer.stdout().trim_end() != "hello größer" || answer.body["exitCode"] != 0 {
            failed.push(format!("{language}: {}", answer.text));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_language_that_is_not_installed_says_how_to_install_it() {
    if std::path::Path::new("/usr/bin/swift").exists() {
        return;
    }
    let answer = shared().run("swift", "print(\"hello\")").expect_status(400);
    assert_eq!(answer.body["success"], false);
    assert!(answer.str("/error").starts_with("Unsupported language"), "{}", answer.text);
    assert!(answer.text.to_lowercase().contains("install"), "{}", answer.text);
    let supported = answer.body["supportedLanguages"].as_array().expect("a list");
    assert!(supported.iter().any(|name| name == "python"));
    assert!(!supported.iter().any(|name| name == "swift"));
}

#[test]
fn any_public_class_name_works_in_java() {
    for name in ["Main", "Solution", "Täst", "A_1"] {
        let code = format!(
            "// public class Comment {{}}\n/* public class Other */\npublic class {name} {{ public static void main(String[] a) {{ System.out.print(\"{name}\"); }} }}\nclass Helper {{}}"
        );
        assert_eq!(shared().run("java", &code).expect_stdout(), name);
    }
    let answer = shared().run("java", "class Package { public static void main(String[] a) { System.out.print(1); } }");
    assert_eq!(answer.expect_stdout(), "1");
}

#[test]
fn compile_errors_come_with_their_diagnostics_as_a_success() {
    for (language, code, part) in [
        ("c", "int main(void) { return undeclared; }", "undeclared"),
        ("cpp", "int main() { return undeclared; }", "undeclared"),
        ("java", "public class A { int f() { return undeclared; } }", "undeclared"),
        ("go", "package main\nfunc main() { undeclared() }", "undeclared"),
        ("rust", "fn main() { undeclared() }", "undeclared"),
    ] {
        let answer = shared().run(language, code).expect_success();
        assert!(answer.str("/output").contains(part), "{language}: {}", answer.text);
        assert!(answer.number("/compile/exitCode") != 0, "{language}: {}", answer.text);
        let streams = format!("{}{}", answer.str("/compile/stdout"), answer.str("/compile/stderr"));
        assert!(streams.contains(part), "{language}: {}", answer.text);
        assert!(answer.body["error"].is_null(), "{language}: {}", answer.text);
    }
}

#[test]
fn warnings_of_a_compiler_stay_out_of_the_programs_output() {
    let answer = shared().run("c", "#include <stdio.h>\n#warning mind\nint main(void) { puts(\"ran\"); return 0; }");
    assert_eq!(answer.clone().expect_stdout(), "ran\n");
    assert!(answer.str("/compile/stderr").contains("mind"), "{}", answer.text);
    assert_eq!(answer.stderr(), "");
}

#[test]
fn tracebacks_name_the_users_file_and_nothing_of_ours() {
    let answer = shared().run("python", "def f():\n    raise ValueError('mine')\nf()").expect_success();
    assert_eq!(answer.number("/exitCode"), 1);
    let expected = "Traceback (most recent call last):\n  File \"/box/main.py\", line 3, in <module>\n    f()\n  File \"/box/main.py\", line 2, in f\n    raise ValueError('mine')\nValueError: mine\n";
    assert_eq!(answer.stderr(), expected);
    assert_eq!(answer.str("/output"), expected, "stderr, where stdout is empty");
    let answer = shared().run("javascript", "throw new Error('mine')").expect_success();
    assert!(answer.stderr().contains("main.js:1") && answer.stderr().contains("Error: mine"), "{}", answer.text);
}

#[test]
fn aliases_and_case_lead_to_the_same_language() {
    for (alias, code) in
        [("js", "console.log(1)"), ("node", "console.log(1)"), ("py", "print(1)"), ("python3", "print(1)")]
    {
        let answer = shared().run(alias, code);
        assert_eq!(answer.body["language"], alias, "as the client wrote it: {}", answer.text);
        assert_eq!(answer.expect_stdout(), "1\n", "{alias}");
    }
}
