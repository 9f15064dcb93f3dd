//! "Did you mean": the known name that is closest to a mistyped one.

use strsim::damerau_levenshtein;

/// The closest of the names: the same word in another section, or one that differs by a third of its letters at
/// most.
#[must_use]
pub fn suggest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.replace('_', "-").to_lowercase();
    names
        .map(|name| (distance(&given, name), name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= last_word(name).len().max(3) / 3)
        .map(|(_, name)| name)
}

fn distance(given: &str, name: &str) -> usize {
    // A word in the wrong section is nearly right, a mistyped word in the right section likewise.
    let moved = damerau_levenshtein(last_word(given), last_word(name)) + 1;
    damerau_levenshtein(given, name).min(moved)
}

fn last_word(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["server.listen", "limits.memory", "limits.wall-time", "history.retention"];

    #[test]
    fn close_names_are_found() {
        for (given, expected) in [
            ("server.lisen", "server.listen"),
            ("listen", "server.listen"),
            ("limits.wall_time", "limits.wall-time"),
            ("server.memory", "limits.memory"),
            ("history.Retention", "history.retention"),
        ] {
            assert_eq!(suggest(given, NAMES.into_iter()), Some(expected), "{given}");
        }
    }

    #[test]
    fn far_names_are_not() {
        for given in ["server.colour", "", "x", "limits.python"] {
            assert_eq!(suggest(given, NAMES.into_iter()), None, "{given}");
        }
    }
}
