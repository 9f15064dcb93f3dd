//! What a C or C++ program includes first of all.

/// The headers that a C or C++ program includes before anything else but blanks and comments, in order.
///
/// Never one that the compiler would not include there: what a backslash stands before or in is not read.
pub(crate) fn leading_includes(code: &str) -> Vec<&str> {
    let code = code.strip_prefix('\u{feff}').unwrap_or(code);
    let mut rest = code.split('\\').next().unwrap_or(code);
    let mut names = Vec::new();
    while let Some((name, behind)) = behind_blanks(rest).and_then(include) {
        names.push(name);
        rest = behind;
    }
    names
}

/// What follows blanks and comments; none where a comment has no end.
fn behind_blanks(mut code: &str) -> Option<&str> {
    loop {
        code = code.trim_start();
        code = if code.starts_with("//") {
            code.split_once('\n')?.1
        } else if let Some(comment) = code.strip_prefix("/*") {
            comment.split_once("*/")?.1
        } else {
            return Some(code);
        };
    }
}

/// The directive's header, and what stands behind it.
fn include(code: &str) -> Option<(&str, &str)> {
    let name = code.strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
    let closed = |open, close| name.strip_prefix(open)?.split_once(close);
    closed('<', '>').or_else(|| closed('"', '"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_read_up_to_the_first_other_word() {
        for (code, expected) in [
            ("", &[][..]),
            ("#include <a>", &["a"]),
            (
                "\u{feff}// mine\n/* two\nlines */ # include<a/b.h>\n\r\n#include \"c\" // why\nint i;\n#include <d>",
                &["a/b.h", "c"],
            ),
            ("#include <a>\n#define X\n#include <b>", &["a"]),
            ("#include <a>\n#ifdef X\n#include <b>\n#endif", &["a"]),
            ("#include_next <a>", &[]),
            ("#include A\n#include <b>", &[]),
            ("/* #include <a>", &[]),
            ("// a \\\n#include <b>\n", &[]),
            ("#include <a>\n/* *\\\n/ int i; /* */\n#include <b>", &["a"]),
            ("#include <a>\n#inc\\\nlude <b>", &["a"]),
        ] {
            assert_eq!(leading_includes(code), expected, "{code}");
        }
    }
}
