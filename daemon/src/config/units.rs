//! Sizes and durations as people write them: `"256MiB"`, `"5s"`. A number without a unit is refused.

use std::time::Duration;

use bytesize::ByteSize;

const SIZES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
const TIMES: [(&str, u64); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];

/// Bytes of a size with its unit: `B`, `KiB`, `MiB`, `GiB`, `TiB`, or the decimal `KB`, `MB`, `GB`, `TB`.
/// A size above `u64::MAX` counts as `u64::MAX`. None when it is no size.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    // bytesize takes a bare number for bytes and `M` for a decimal megabyte; neither says what is meant.
    if !text.ends_with('B') {
        return None;
    }
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// A size in the largest binary unit that expresses it exactly; [`parse_size`] reads it back.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    match SIZES.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

/// Whole milliseconds of a duration with its units: `"250ms"`, `"5s"`, `"1h 30m"`, `"30d"`.
/// None when it is no duration, has a part below a millisecond, or is beyond some 500 years.
#[must_use]
pub fn parse_duration(text: &str) -> Option<u64> {
    let duration = humantime::parse_duration(text).ok()?;
    if !duration.subsec_nanos().is_multiple_of(1_000_000) {
        return None;
    }
    u64::try_from(duration.as_millis()).ok()
}

/// A duration in the largest unit that expresses it exactly; [`parse_duration`] reads it back.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    match TIMES.iter().find(|(_, factor)| millis != 0 && millis.is_multiple_of(u128::from(*factor))) {
        Some((unit, factor)) => format!("{}{unit}", millis / u128::from(*factor)),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(parse_size("256MiB"), Some(256 << 20));
        assert_eq!(parse_size("1.5GiB"), Some(3 << 29));
        assert_eq!(parse_size("50 KB"), Some(50_000));
        assert_eq!(parse_size("0B"), Some(0));
        for bad in ["256", "256M", "MiB", "-1MiB", "1 MiB free", "", "B", "1e3B", "0x10B"] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_size_beyond_all_bounds_does_not_wrap() {
        assert_eq!(parse_size("99999999999TiB"), Some(u64::MAX));
        assert_eq!(parse_size("99999999999999999999999999999B"), Some(u64::MAX));
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("5s"), Some(5000));
        assert_eq!(parse_duration("1h 30m"), Some(5_400_000));
        assert_eq!(parse_duration("30d"), Some(30 * 86_400_000));
        for bad in ["5", "s", "", "-5s", "1500us", "five seconds"] {
            assert_eq!(parse_duration(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes: u64) {
            prop_assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }

        #[test]
        fn round_sizes_round_trip(count in 0_u64..1 << 20, shift in 0_u32..44) {
            prop_assert_eq!(parse_size(&size_text(count << shift)), Some(count << shift));
        }

        #[test]
        fn durations_round_trip(millis in 0_u64..1 << 44) {
            prop_assert_eq!(parse_duration(&duration_text(Duration::from_millis(millis))), Some(millis));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (parse_size(&text), parse_duration(&text));
        }

        #[test]
        fn nothing_that_looks_like_a_unit_panics(text in "[0-9.]{0,30} ?[kKmMgGtTpPeE]?i?[bBsmhd]{0,2}") {
            let _ = (parse_size(&text), parse_duration(&text));
        }
    }
}
