//! What a C program includes first of all.

/// The header that the first words of a C or C++ program include, if nothing but blanks and comments stand before.
pub(crate) fn first_include(code: &str) -> Option<&str> {
    let mut rest = code.strip_prefix('\u{feff}').unwrap_or(code).trim_start();
    loop {
        rest = if rest.starts_with("//") {
            rest.split_once('\n')?.1
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/")?.1
        } else {
            break;
        }
        .trim_start();
    }
    let name = rest.strip_prefix('#')?.trim_start().strip_prefix("include")?.trim_start();
    let closed = |open, close| Some(name.strip_prefix(open)?.split_once(close)?.0);
    closed('<', '>').or_else(|| closed('"', '"'))
}
