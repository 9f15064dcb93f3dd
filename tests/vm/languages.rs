//! Nine languages, and what a hello takes in each.

use crankcase_tests::vm::figures;

use crate::installed::Installed;

const HELLOS: [(&str, &str); 9] = [
    ("python", "print('hello')"),
    ("javascript", "console.log('hello')"),
    ("bash", "echo hello"),
    ("perl", "print \"hello\\n\";"),
    ("ruby", "puts 'hello'"),
    ("php", "<?php echo \"hello\\n\";"),
    ("c", "#include <stdio.h>\nint main(void) { puts(\"hello\"); }"),
    ("cpp", "#include <iostream>\nint main() { std::cout << \"hello\\n\"; }"),
    ("java", "public class Main { public static void main(String[] a) { System.out.println(\"hello\"); } }"),
];

#[test]
#[ignore = "full form: make test-vm"]
fn nine_languages_say_hello() {
    let mut host = Installed::resume();
    for (language, code) in HELLOS {
        // The first one reads the toolchain from the disk.
        let mut times: Vec<i64> = (0..3)
            .map(|_| {
                let answer = host.run(language, code);
                assert_eq!((&answer["stdout"], &answer["success"]), (&"hello\n".into(), &true.into()), "{answer}");
                answer["executionTime"].as_i64().expect("a number")
            })
            .collect();
        times.sort_unstable();
        figures::note(&format!("{language} hello, ms under emulation"), times[0]);
    }
}
