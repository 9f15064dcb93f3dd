//! Headers that were compiled ahead of need: nobody can tell but by the time.

use std::process::Command;
use std::sync::OnceLock;

use crankcase_tests::{Answer, Daemon, Options, daemon, shared, unique};

/// A daemon that uses them, once they are there; `shared()` does not.
fn with_headers() -> &'static Daemon {
    static WITH: OnceLock<Daemon> = OnceLock::new();
    WITH.get_or_init(|| {
        let made = Command::new(daemon::binary("crankcase")).arg("precompile").env_remove("CRANKCASE_CONFIG").output();
        let made = made.expect("starting it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Daemon::start(Options::new().set("runtimes", "precompiled-headers", true))
    })
}

fn compile(daemon: &Daemon, code: &str) -> Answer {
    daemon.program("cpp", code).who(&unique("room-"), "u").run().expect_success()
}

const B: &str = "#include <bits/stdc++.h>\nusing namespace std;\n";
const IO: &str = "#include <iostream>\n";

#[test]
fn what_is_said_is_the_same_with_them_and_without() {
    let after = |text: &str| format!("{B}{text}\n");
    let programs = [
        after("int main() { vector<int> v{3, 1, 2}; ranges::sort(v); for (int x : v) cout << x; return v.size(); }"),
        after(
            "int main() { cout << __INCLUDE_LEVEL__ << __LINE__ << __FILE__ << __COUNTER__ << typeid([] {}).name(); assert(1 == 2); }",
        ),
        after("int main() { int x = y; vectr<int> v; cuot << 1; srot(v.begin(), v.end()); return 0 }"),
        after("struct S {}; int main() { vector<S> v; sort(v.begin(), v.end()); }"),
        after("int count = 0; struct S {}; int main() { map<S, int> m; m[S{}] = count; cout << S{}; }"),
        after("int main() { auto_ptr<int> p; char b[3]; memcpy(b, \"aaaaaaaaa\", 10); int x = 5000000000; }"),
        after("#define assert(x) 1\n#define EOF 3\n#pragma GCC optimize(\"O3\")\nint main() { cout << EOF; }"),
        after("#include <nope.h>\nint main() {}"),
        after("#include <ext/pb_ds/assoc_container.hpp>\nint main() { __gnu_pbds::gp_hash_table<int, int> t; t[1]; }"),
        format!("{B}{B}int foo() {{ return 1; }}\n"),
        format!("#define _GLIBCXX_DEBUG\n{B}int main() {{ cout << sizeof(vector<int>); }}\n"),
        format!("{B}#if __has_include(<bits/stdc++.h.gch>)\n#error it shows\n#endif\nint main() {{}}\n"),
        "#include \"bits/stdc++.h\"\nint main() { std::cout << 1; }\n".to_owned(),
        format!(
            "{IO}int main() {{ std::string s; std::cin >> s; std::cout << __COUNTER__ << s << __INCLUDE_LEVEL__; }}\n"
        ),
        format!("{IO}int main() {{ std::vector<int> v; }}\n"),
        format!("{IO}#include <vector>\nint main() {{ std::vector<int> v{{1}}; std::sort(v.begin(), v.end()); }}\n"),
        format!("{IO}#include <algorithm>\n#include <vector>\nint main() {{ std::map<int, int> m; }}\n"),
        format!("#include <map>\n#include <vector>\n#include <algorithm>\n{IO}int main() {{ std::cot << 1; }}\n"),
        format!("#include <vector> // \\\n{IO}int main() {{ std::cout << 1; }}\n"),
        format!("{IO}#include <vector> int main() {{ std::cout << 1; }}\n"),
        format!("{IO}#undef _GLIBCXX_IOSTREAM\n#include <iostream>\nint main() {{ std::cout << 1; }}\n"),
        format!("{IO}#undef _GLIBCXX_VECTOR\n#ifdef _GLIBCXX_MAP\n#error it shows\n#endif\nint main() {{}}\n"),
    ];
    let mut differing = Vec::new();
    for code in &programs {
        let (with, without) = (compile(with_headers(), code), compile(shared(), code));
        for field in ["/success", "/exitCode", "/signal", "/stdout", "/stderr", "/limit", "/compile/exitCode"]
            .into_iter()
            .chain(["/compile/signal", "/compile/stdout", "/compile/stderr", "/compile/limit"])
        {
            let (with, without) = (with.body.pointer(field), without.body.pointer(field));
            if with != without {
                differing.push(format!("{code}\n{field}: {with:?}, without it {without:?}"));
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn a_file_of_the_same_name_is_the_programs_own() {
    for include in ["\"bits/stdc++.h\"", "<bits/stdc++.h>"] {
        let code = format!("#include {include}\nint main() {{ return X; }}\n");
        let ask = |daemon: &Daemon| {
            let program = daemon.program("cpp", &code).file("bits/stdc++.h", "enum { X = 4 };\n");
            program.who(&unique("room-"), "u").run().expect_success()
        };
        let (with, without) = (ask(with_headers()), ask(shared()));
        assert_eq!(with.body["exitCode"], without.body["exitCode"], "{include}");
        assert_eq!(with.str("/compile/stderr"), without.str("/compile/stderr"), "{include}");
    }
}

/// Half of the compiler's work is left, or less: as much CPU time as without them would mean that they are not taken.
#[test]
fn they_are_taken() {
    for includes in
        [B.to_owned(), IO.to_owned(), format!("{IO}#include <vector>\n#include <map>\n#include <algorithm>\n")]
    {
        let cpu = |daemon: &Daemon| {
            let code = || format!("{includes}int main() {{ std::cout << 1; }} // {}\n", unique(""));
            let of = |_| compile(daemon, &code()).number("/compile/cpuTime");
            (0..3).map(of).min().expect("three")
        };
        let (with, without) = (cpu(with_headers()), cpu(shared()));
        assert!(with * 4 < without * 3, "{includes}{with} ms with them, {without} ms without");
    }
}

#[test]
fn programs_can_read_them_and_nothing_else() {
    let place = "/var/cache/crankcase/headers";
    let code = format!(
        "cd {place} || exit 1\nfor f in */*.gch; do [ -r $f ] && [ ! -x $f ] || echo $f; done\n\
         touch x 2>/dev/null && echo written\nrm -rf * 2>/dev/null\nls * | grep -c gch\nls -A ..\n\
         while read -r a b c d e f; do [ \"$e\" = {place} ] && echo \"$f\"; done </proc/self/mountinfo\n"
    );
    let answer = with_headers().run("bash", &code).expect_success();
    let lines: Vec<&str> = answer.stdout().lines().collect();
    assert_eq!(lines[..2], ["5", "headers"], "{}", answer.text);
    let options = lines.get(2).copied().unwrap_or_default();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.split([',', ' ']).any(|one| one == option), "{option}: {}", answer.text);
    }
    // Who does not want it has not even the place.
    let without = shared().run("bash", &format!("ls {place}")).expect_status(200);
    assert_eq!(without.stdout(), "");
}
