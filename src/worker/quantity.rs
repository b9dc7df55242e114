//! Amounts of memory, disk and time as people write them: `"8 GB"`, `"512 MiB"`, `"2h 30m"`.

use std::time::Duration;

use serde::Deserialize;

/// The longest time that can be asked for: a year.
const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// A number of bytes, from 1 to 2^63 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub u64);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const UNITS: [(&str, u64); 9] = [
            ("b", 1),
            ("kb", 1000),
            ("mb", 1_000_000),
            ("gb", 1_000_000_000),
            ("tb", 1_000_000_000_000),
            ("kib", 1 << 10),
            ("mib", 1 << 20),
            ("gib", 1 << 30),
            ("tib", 1 << 40),
        ];
        let wrong = || format!("{text:?} is no size: write a number and a unit, as in \"8 GB\"");
        let split = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let unit = unit.trim().to_ascii_lowercase();
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = number * *factor as f64;
        if bytes < 1.0 || bytes >= i64::MAX as f64 {
            return Err(wrong());
        }
        Ok(Bytes(bytes as u64))
    }
}

/// A time span from 1 s to a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let span = humantime::parse_duration(&text).map_err(|_| {
            format!(
                "{text:?} is no time: write numbers and units, as in \"90m\" or \"2h 30m\" or \"60s\""
            )
        })?;
        if span < Duration::from_secs(1) || span > MAX_TIME {
            return Err(format!("{text:?} is not between 1 s and a year"));
        }
        Ok(Span(span))
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Decimal and binary units, with and without a space or a fraction; anything else is refused.
    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("8 GB", 8_000_000_000),
            ("8000MB", 8_000_000_000),
            ("1.5 GiB", 3 << 29),
            ("1 b", 1),
            ("2tb", 2_000_000_000_000),
        ] {
            assert_eq!(Bytes::try_from(text.to_owned()), Ok(Bytes(bytes)), "{text}");
        }
        for text in [
            "", "8", "GB", "-1 GB", "8 G B", "8 XB", "1.2.3 MB", "0 GB", "1e99 B", "99999999999 TB",
        ] {
            let error = Bytes::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains("as in \"8 GB\""), "{text}: {error}");
        }
    }

    /// Times as humantime reads them, within bounds.
    #[test]
    fn times() {
        for (text, seconds) in [
            ("90m", 5400),
            ("2h 30m", 9000),
            ("60s", 60),
            ("1day", 86400),
        ] {
            assert_eq!(
                text.parse(),
                Ok(Span(Duration::from_secs(seconds))),
                "{text}"
            );
        }
        for text in ["", "90", "x", "-1s", "0s", "10ms", "2years"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
