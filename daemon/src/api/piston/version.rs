//! Versions and selectors as npm's semver has them, which Piston uses.

use nodejs_semver::{Range, Version};

/// Three numbers: what a toolchain calls its version, cut or filled up to what semver takes.
pub fn normal(version: Option<&str>) -> String {
    let mut numbers = version.unwrap_or_default().split('.').map(|part| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse::<u32>().unwrap_or(0)
    });
    let mut next = || numbers.next().unwrap_or(0);
    format!("{}.{}.{}", next(), next(), next())
}

/// Whether a normal version is in the selector's range. What is no selector selects nothing.
pub fn satisfies(version: &str, selector: &str) -> bool {
    match (Version::parse(version), Range::parse(selector.trim())) {
        (Ok(version), Ok(range)) => range.satisfies(&version),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_cut_and_filled_up() {
        for (given, version) in [
            (Some("3.11.2"), "3.11.2"),
            (Some("1.19"), "1.19.0"),
            (Some("3.1.2p20"), "3.1.2"),
            (Some("17.0.15.1"), "17.0.15"),
            (Some("5.2.15(1)-release"), "5.2.15"),
            (Some("unknown"), "0.0.0"),
            (None, "0.0.0"),
        ] {
            assert_eq!(normal(given), version);
        }
    }

    #[test]
    fn selectors_are_npms() {
        for (selector, hit) in [
            ("*", true),
            ("3.11.2", true),
            ("=3.11.2", true),
            ("v3.11.2", true),
            ("3.11.1", false),
            ("3", true),
            ("3.x", true),
            ("3.11", true),
            ("3.11.x", true),
            ("3.10.x", false),
            ("3.10", false),
            ("^3.9.0", true),
            ("~3.11.0", true),
            ("~3.10.0", false),
            (">=3 <4", true),
            (">=4", false),
            ("2 || 3", true),
            ("1.0.0 - 3.11.2", true),
            ("latest", false),
            ("💥", false),
        ] {
            assert_eq!(satisfies("3.11.2", selector), hit, "{selector}");
        }
    }
}
