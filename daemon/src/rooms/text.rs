//! Texts that people typed and others will see: bounded, without control characters, never HTML.

/// What somebody without a name is called.
pub const ANONYMOUS: &str = "Anonymous";

/// The largest number of Unicode characters of a name.
pub const NAME_CHARS: usize = 64;

/// The text without control characters and at most `max` characters of it; true when it was cut.
#[must_use]
pub fn plain(text: &str, max: usize) -> (String, bool) {
    let mut kept = text.chars().filter(|character| !character.is_control());
    let plain: String = kept.by_ref().take(max).collect();
    (plain, kept.next().is_some())
}

/// Whether the text has at most `max` Unicode characters; looks at no more than it must.
#[must_use]
pub fn fits(text: &str, max: usize) -> bool {
    text.len() <= max || text.chars().take(max + 1).count() <= max
}

/// Whether the value nests at most `depth` levels and is at most `bytes` long as JSON.
#[must_use]
pub fn json_fits(value: &serde_json::Value, depth: usize, bytes: usize) -> bool {
    shallow(value, depth) && serde_json::to_string(value).is_ok_and(|text| text.len() <= bytes)
}

fn shallow(value: &serde_json::Value, depth: usize) -> bool {
    match value {
        serde_json::Value::Array(items) => depth > 0 && items.iter().all(|item| shallow(item, depth - 1)),
        serde_json::Value::Object(fields) => depth > 0 && fields.values().all(|item| shallow(item, depth - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn control_characters_go_and_markup_stays_as_typed() {
        assert_eq!(plain("a\u{0}b\u{7f}c\u{9b}d\r\n", 10), ("abcd".to_owned(), false));
        assert_eq!(plain("<b>&amp;</b>", 100), ("<b>&amp;</b>".to_owned(), false));
        assert_eq!(plain("äöü", 2), ("äö".to_owned(), true));
        assert_eq!(plain("äö\u{1}", 2), ("äö".to_owned(), false));
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(fits(&"😀".repeat(10), 10));
        assert!(!fits(&"😀".repeat(11), 10));
    }

    #[test]
    fn json_is_bounded_in_depth_and_size() {
        assert!(json_fits(&json!([[1]]), 2, 100));
        assert!(!json_fits(&json!([[[1]]]), 2, 100));
        assert!(!json_fits(&json!({"a": {"b": {}}}), 2, 100));
        assert!(!json_fits(&json!("x".repeat(99)), 2, 100));
    }
}
