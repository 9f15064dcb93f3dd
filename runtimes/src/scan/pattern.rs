//! Fixed texts in a source, words only as whole words.

/// Whether `text` holds `pattern`, with no letter or digit joined to an end of it that is one.
pub(crate) fn holds(text: &str, pattern: &str) -> bool {
    let word_first = pattern.chars().next().is_some_and(is_word);
    let word_last = pattern.chars().next_back().is_some_and(is_word);
    text.match_indices(pattern).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(is_word);
        let behind = text[at + pattern.len()..].chars().next().is_some_and(is_word);
        !(word_first && before || word_last && behind)
    })
}

/// In any language: a `$` belongs to the name in some, and stands before it in others.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_whole_and_other_texts_are_not() {
        for (text, pattern, expected) in [
            ("import gc", "gc", true),
            ("gc", "gc", true),
            ("x.gc.collect()", "gc", true),
            ("gcd(1, 2)", "gc", false),
            ("my_gc", "gc", false),
            ("gcd = gc", "gc", true),
            ("open('/proc/self')", "/proc/", true),
            ("a/proc/b", "/proc/", true),
            ("if (-M $file)", "-M", true),
            ("x -Max", "-M", false),
            ("ü$^T", "$^T", true),
            ("", "gc", false),
        ] {
            assert_eq!(holds(text, pattern), expected, "{text:?} {pattern:?}");
        }
    }
}
