//! What a key may hold: the one place that both checks a value and says its bounds in words.

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path};
use std::time::Duration;

use axum::http::Uri;
use ipnet::IpNet;
use toml::Value;

use super::units::{duration_text, parse_duration, parse_size, size_text};

/// The type and the bounds of a key's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number; bounds inclusive.
    Integer(i64, i64),
    /// A number of cores, whole or with a fraction; bounds in thousandths, inclusive.
    Cores(u64, u64),
    /// A size; bounds in bytes, inclusive.
    Size(u64, u64),
    /// A duration; bounds in milliseconds, inclusive.
    Time(u64, u64),
    /// A share from 1 to 95 percent.
    Percent,
    /// Text of at least so many characters, at most 4096, without control characters.
    Text(usize),
    /// The same, never shown.
    Secret(usize),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// A browser origin: scheme, host and perhaps a port, nothing behind it.
    Origin,
    /// An IP address, or a network of them.
    Network,
    /// An absolute path without `..`, other than `/`.
    AbsolutePath,
    /// A URL with one of these schemes; it may hold a password, so it is never shown.
    Url(&'static [&'static str]),
    /// A lower-case name of letters, digits, `+`, `-`, `.`, `_`, `#`, at most 40 characters.
    Name,
    /// A host name of one label.
    Hostname,
    /// A list of values.
    List(&'static Kind),
    /// This word, or the other kind.
    Or(&'static str, &'static Kind),
    /// Either of two kinds.
    Either(&'static Kind, &'static Kind),
}

/// A value that its [`Kind`] has found good.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked {
    /// Of a flag.
    Flag(bool),
    /// Of an integer.
    Integer(i64),
    /// Thousandths, of cores.
    Thousandths(u64),
    /// Bytes, of a size.
    Bytes(u64),
    /// Milliseconds, of a time.
    Millis(u64),
    /// Of a percentage.
    Percent(u64),
    /// Of every kind of text.
    Text(String),
    /// Of an address.
    Address(SocketAddr),
    /// Of a list.
    List(Vec<Checked>),
    /// The word of a [`Kind::Or`], or no value where none is needed.
    Word,
}

impl Kind {
    /// Checks a value; none when it is of another type or out of bounds.
    #[must_use]
    pub fn check(&self, value: &Value) -> Option<Checked> {
        match (self, value) {
            (Self::Flag, Value::Boolean(flag)) => Some(Checked::Flag(*flag)),
            (Self::Integer(min, max), Value::Integer(number)) => {
                (min..=max).contains(&number).then_some(Checked::Integer(*number))
            }
            (Self::Cores(min, max), Value::Integer(_) | Value::Float(_)) => {
                let thousandths = thousandths(value)?;
                (min..=max).contains(&&thousandths).then_some(Checked::Thousandths(thousandths))
            }
            (Self::Size(min, max), Value::String(text)) => {
                parse_size(text).filter(|bytes| (min..=max).contains(&bytes)).map(Checked::Bytes)
            }
            (Self::Time(min, max), Value::String(text)) => {
                parse_duration(text).filter(|millis| (min..=max).contains(&millis)).map(Checked::Millis)
            }
            (Self::Percent, Value::String(text)) => text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok())
                .filter(|percent| (1..=95).contains(percent))
                .map(Checked::Percent),
            (Self::Address, Value::String(text)) => text.parse().ok().map(Checked::Address),
            (Self::List(kind), Value::Array(values)) => {
                values.iter().map(|value| kind.check(value)).collect::<Option<_>>().map(Checked::List)
            }
            (Self::Or(word, _), Value::String(text)) if text == word => Some(Checked::Word),
            (Self::Or(_, kind), value) => kind.check(value),
            (Self::Either(first, second), value) => first.check(value).or_else(|| second.check(value)),
            (kind, Value::String(text)) => kind.accepts_text(text).then(|| Checked::Text(text.clone())),
            _ => None,
        }
    }

    fn accepts_text(&self, text: &str) -> bool {
        match self {
            Self::Text(min) | Self::Secret(min) => {
                (*min..=4096).contains(&text.chars().count()) && !text.chars().any(char::is_control)
            }
            Self::OneOf(words) => words.contains(&text),
            Self::Origin => is_origin(text),
            Self::Network => text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok(),
            Self::AbsolutePath => is_plain_absolute(text),
            Self::Url(schemes) => schemes.iter().any(|scheme| {
                text.strip_prefix(scheme)
                    .and_then(|rest| rest.strip_prefix("://"))
                    .is_some_and(|rest| !rest.is_empty() && !rest.chars().any(|c| c.is_control() || c.is_whitespace()))
            }),
            Self::Name => {
                (1..=40).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-._#".contains(&b))
            }
            Self::Hostname => {
                (1..=63).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !text.starts_with('-')
                    && !text.ends_with('-')
            }
            _ => false,
        }
    }

    /// Whether a value must not appear in a message.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(_) | Self::Url(_))
    }

    /// The type and the bounds in words, to stand behind "it must be".
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::Integer(min, max) => format!("a whole number from {min} to {max}"),
            Self::Cores(min, max) => format!("a number of cores from {} to {}", cores_text(*min), cores_text(*max)),
            Self::Size(min, max) => format!("a size from \"{}\" to \"{}\"", size_text(*min), size_text(*max)),
            Self::Time(min, max) => format!("a duration from \"{}\" to \"{}\"", time_text(*min), time_text(*max)),
            Self::Percent => "a share from \"1%\" to \"95%\"".into(),
            Self::Text(min) | Self::Secret(min) => {
                format!("text of {min} to 4096 characters without control characters")
            }
            Self::OneOf(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Self::Address => "an IP address with a port, like \"127.0.0.1:4334\" or \"[::1]:4334\"".into(),
            Self::Network => "an IP address or a network like \"10.0.0.0/8\"".into(),
            Self::Origin => "an origin like \"https://code.example.org\", without a path".into(),
            Self::AbsolutePath => "an absolute path, not / and without \"..\"".into(),
            Self::Url(schemes) => {
                let starts: Vec<String> = schemes.iter().map(|scheme| format!("\"{scheme}://\"")).collect();
                format!("a URL that starts with {}", starts.join(" or "))
            }
            Self::Name => "a name of 1 to 40 lower-case letters, digits and + - . _ #".into(),
            Self::Hostname => "a host name of 1 to 63 letters, digits and hyphens".into(),
            Self::List(kind) => format!("a list, each {}", kind.words()),
            Self::Or(word, kind) => format!("\"{word}\" or {}", kind.words()),
            Self::Either(first, second) => format!("{} or {}", first.words(), second.words()),
        }
    }
}

fn time_text(millis: u64) -> String {
    duration_text(Duration::from_millis(millis))
}

fn cores_text(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before the cast")]
fn thousandths(value: &Value) -> Option<u64> {
    match value {
        Value::Integer(cores) => u64::try_from(*cores).ok()?.checked_mul(1000),
        Value::Float(cores) if (0.0..=1e6).contains(cores) => Some((cores * 1000.0).round() as u64),
        _ => None,
    }
}

fn is_plain_absolute(text: &str) -> bool {
    let mut components = Path::new(text).components();
    !text.contains('\0')
        && components.next() == Some(Component::RootDir)
        && components.clone().next().is_some()
        && components.all(|part| matches!(part, Component::Normal(_)))
}

/// `*` is none: the interface sends credentials, and browsers then take no wildcard.
fn is_origin(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && uri.query().is_none();
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let has_userinfo = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    plain && has_host && !has_userinfo && !text.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::String(text.into())
    }

    #[test]
    fn bounds_are_inclusive() {
        let kind = Kind::Size(1024, 4096);
        assert_eq!(kind.check(&text("1KiB")), Some(Checked::Bytes(1024)));
        assert_eq!(kind.check(&text("4KiB")), Some(Checked::Bytes(4096)));
        assert_eq!(kind.check(&text("1023B")), None);
        assert_eq!(kind.check(&text("4097B")), None);
        assert_eq!(kind.check(&Value::Integer(2048)), None);
        assert_eq!(Kind::Integer(-1, 1).check(&Value::Integer(-1)), Some(Checked::Integer(-1)));
        assert_eq!(Kind::Integer(-1, 1).check(&Value::Integer(2)), None);
    }

    #[test]
    fn cores_take_fractions() {
        let kind = Kind::Cores(50, 1_024_000);
        assert_eq!(kind.check(&Value::Integer(2)), Some(Checked::Thousandths(2000)));
        assert_eq!(kind.check(&Value::Float(0.5)), Some(Checked::Thousandths(500)));
        for bad in [Value::Float(f64::NAN), Value::Float(-1.0), Value::Float(f64::INFINITY), Value::Integer(-1)] {
            assert_eq!(kind.check(&bad), None, "{bad}");
        }
        assert_eq!(Value::Integer(i64::MAX), Value::Integer(i64::MAX));
        assert_eq!(kind.check(&Value::Integer(i64::MAX)), None);
        assert_eq!(kind.words(), "a number of cores from 0.05 to 1024");
    }

    #[test]
    fn origins_have_no_path_and_no_wildcard() {
        for good in ["http://localhost:3000", "https://code.example.org", "http://[::1]:5173"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in
            ["*", "localhost:3000", "http://x/", "http://x/y", "ftp://x", "http://", "http://a@b", "http://x?y", ""]
        {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn words_and_lists() {
        let kind = Kind::Or("auto", &Kind::Either(&Kind::Percent, &Kind::Size(1, 1024)));
        assert_eq!(kind.check(&text("auto")), Some(Checked::Word));
        assert_eq!(kind.check(&text("75%")), Some(Checked::Percent(75)));
        assert_eq!(kind.check(&text("1KiB")), Some(Checked::Bytes(1024)));
        assert_eq!(kind.check(&text("0%")), None);
        assert_eq!(kind.words(), "\"auto\" or a share from \"1%\" to \"95%\" or a size from \"1B\" to \"1KiB\"");
        let list = Kind::List(&Kind::AbsolutePath);
        assert_eq!(list.check(&Value::Array(vec![text("/opt/a"), text("opt")])), None);
        assert_eq!(list.check(&text("/opt/a")), None);
        assert_eq!(list.check(&Value::Array(vec![text("/opt/../etc")])), None);
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        for good in ["/a", "/a/b.c", "/a//b", "/a/"] {
            assert!(Kind::AbsolutePath.check(&text(good)).is_some(), "{good}");
        }
        for bad in ["", "/", "//", "a", "./a", "/a/../b", "/a\0b"] {
            assert_eq!(Kind::AbsolutePath.check(&text(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn networks_and_addresses() {
        for good in ["10.0.0.0/8", "127.0.0.1", "::1", "fd00::/8"] {
            assert!(Kind::Network.check(&text(good)).is_some(), "{good}");
        }
        for bad in ["10.0.0.0/33", "localhost", "10.0.0.1:80", ""] {
            assert_eq!(Kind::Network.check(&text(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn urls_keep_to_their_schemes() {
        let kind = Kind::Url(&["redis", "rediss"]);
        assert!(kind.check(&text("redis://127.0.0.1:6379/0")).is_some());
        for bad in ["http://127.0.0.1", "redis://", "redis:x", "redis://a b", "rediss"] {
            assert_eq!(kind.check(&text(bad)), None, "{bad}");
        }
    }
}
