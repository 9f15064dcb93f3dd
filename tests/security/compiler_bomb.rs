//! Gains: the host by way of the compiler, which reads what the source tells it to and works as long as it is told.

use crate::attempt::{expect_unharmed, host, shared};

/// A compile that went wrong in any of the ways it may: diagnostics, or a limit of the compile stage.
#[track_caller]
fn expect_compile_failure(language: &str, code: &str) -> crate::attempt::Answer {
    let answer = shared().run(language, code);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!answer.body["compile"].is_null(), "{}", answer.text);
    let failed = answer.body["compile"]["exitCode"] != 0 || !answer.body["limit"].is_null();
    assert!(failed, "it compiled: {}", answer.text);
    answer
}

#[test]
fn includes_of_endless_and_secret_files_fail() {
    expect_compile_failure("c", "#include \"/dev/zero\"\nint main(void) { return 0; }");
    expect_compile_failure("c", "#include \"/dev/urandom\"\nint main(void) { return 0; }");
    expect_compile_failure("c", "#include \"/dev/stdin\"\nint main(void) { return x; }");
    let answer = expect_compile_failure("c", "#include \"/etc/shadow\"\nint main(void) { return 0; }");
    assert!(!answer.text.contains("root:"), "{}", answer.text);
    expect_unharmed();
}

#[test]
fn incbin_of_a_secret_file_fails() {
    expect_compile_failure("c", "__asm__(\".incbin \\\"/etc/shadow\\\"\");\nint main(void) { return 0; }");
}

#[test]
fn recursive_templates_and_macros_end() {
    let before = host::Snapshot::take(shared());
    expect_compile_failure(
        "cpp",
        "template<class T, int N> struct B { using L = typename B<B<T, 1>, N - 1>::T1; using R = typename B<B<T, 2>, N - 1>::T1; };\nint main() { B<int, 1000000>::L x; }",
    );
    // 2^30 tokens out of thirty lines.
    let mut code = "#define A0 x,\n".to_owned();
    for n in 1..=30 {
        code.push_str(&format!("#define A{n} A{} A{}\n", n - 1, n - 1));
    }
    code.push_str("int main(void) { int x; int y[] = {A30}; return 0; }");
    expect_compile_failure("c", &code);
    expect_unharmed();
    host::expect_back_to(shared(), &before);
}

#[test]
fn an_artefact_of_a_terabyte_is_not_made() {
    let answer = shared().run("c", "char a[1L << 40] = {1};\nint main(void) { return a[5]; }");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.body["compile"]["exitCode"] != 0 || !answer.body["limit"].is_null(), "{}", answer.text);
    expect_unharmed();
}

#[test]
fn a_flood_of_diagnostics_is_cut() {
    let mut code = String::from("int main(void) {");
    for n in 0..400 {
        code.push_str(&format!("u{n}();x{n};"));
    }
    let answer = expect_compile_failure("c", &code);
    assert!(answer.str("/output").chars().count() <= 5000);
}
