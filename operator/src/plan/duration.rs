//! The three ways in which a duration is written: Prometheus' (`1d`, whole numbers), Go's (`1.5h`), and that of
//! upstream's fields, which Thanos does not read (`-1y2w`, points in time).
//!
//! Which flag takes which: reference "How `thanos query` discovers endpoints", section 1.4.

use std::fmt;

/// A length of time in nanoseconds, as Go holds it: up to 292 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(i64);

/// What a field says is no duration that Thanos could take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDuration {
    /// The pattern of upstream's CRD allows it.
    #[error("is a point in time; write a duration such as 24h")]
    PointInTime,
    /// Neither.
    #[error("is no duration; write it like 24h or 1d12h")]
    Unreadable,
}

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// Units in the order in which Prometheus wants them.
const PROMETHEUS_UNITS: [(&str, u64); 7] = [
    ("y", 365 * DAY),
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", HOUR),
    ("m", 60 * SECOND),
    ("s", SECOND),
    ("ms", MILLISECOND),
];

const GO_UNITS: [(&str, u64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", MILLISECOND),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", HOUR),
    ("d", DAY),
    ("w", 7 * DAY),
];

// === impl Nanos ===

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Whole seconds, of which the last may be a part.
    pub fn seconds(self) -> i64 {
        let whole = self.0 / 1_000_000_000;
        if self.0 % 1_000_000_000 > 0 { whole + 1 } else { whole }
    }

    /// Reads `5m` or `1d12h`: whole numbers, each unit once, the largest first, no sign.
    pub fn prometheus(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::ZERO);
        }
        let mut rest = text;
        let mut units = PROMETHEUS_UNITS.iter();
        let mut total = 0_u64;
        while !rest.is_empty() || text.is_empty() {
            let (number, unit, after) = number_and_unit(rest)?;
            let (_, length) = units.find(|(name, _)| *name == unit)?;
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*length)?)?;
            rest = after;
        }
        i64::try_from(total).ok().map(Self)
    }

    /// Reads `1.5h` or `-1s`: any units in any order, with a sign. `days` adds `d` and `w`, which Thanos knows from
    /// 0.39.
    pub fn go(text: &str, days: bool) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned == "0" {
            return Some(Self::ZERO);
        }
        let mut rest = unsigned;
        let mut total = 0_u64;
        while !rest.is_empty() || unsigned.is_empty() {
            let (number, unit, after) = number_and_unit(rest)?;
            let (_, length) = GO_UNITS.iter().find(|(name, _)| *name == unit)?;
            if *length >= DAY && !days {
                return None;
            }
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if whole.is_empty() && fraction.is_empty() {
                return None;
            }
            let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
            total = total.checked_add(whole.checked_mul(*length)?)?;
            if !fraction.is_empty() {
                let part: f64 = format!("0.{fraction}").parse().ok()?;
                // Below one unit, so that it fits.
                total = total.checked_add((part * *length as f64) as u64)?;
            }
            rest = after;
        }
        let total = i64::try_from(total).ok()?;
        Some(Self(if negative { -total } else { total }))
    }

    /// Reads what the pattern of upstream's fields allows.
    ///
    /// # Errors
    /// When it is not a length of time.
    pub fn field(text: &str) -> Result<Self, NoDuration> {
        if text.contains('T') {
            return Err(NoDuration::PointInTime);
        }
        let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let Self(total) = Self::prometheus(unsigned).ok_or(NoDuration::Unreadable)?;
        Ok(Self(if negative { -total } else { total }))
    }
}

/// As every release of Thanos reads it, whichever of the two grammars the flag has: whole hours, minutes, seconds and
/// milliseconds.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.unsigned_abs();
        if rest < MILLISECOND {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        for (unit, length) in PROMETHEUS_UNITS.iter().skip_while(|(_, length)| *length > HOUR) {
            if rest >= *length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

/// Splits `1.5h30m` into `1.5`, `h` and `30m`.
fn number_and_unit(text: &str) -> Option<(&str, &str, &str)> {
    let is_number = |char: char| char.is_ascii_digit() || char == '.';
    let (number, rest) = text.split_at(text.find(|char| !is_number(char))?);
    if number.is_empty() {
        return None;
    }
    let (unit, after) = rest.split_at(rest.find(is_number).unwrap_or(rest.len()));
    Some((number, unit, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prometheus(text: &str) -> Option<String> {
        Nanos::prometheus(text).map(|nanos| nanos.to_string())
    }

    fn go(text: &str, days: bool) -> Option<String> {
        Nanos::go(text, days).map(|nanos| nanos.to_string())
    }

    #[test]
    fn prometheus_takes_whole_numbers_the_largest_unit_first() {
        assert_eq!(prometheus("1d12h"), Some("36h".into()));
        assert_eq!(prometheus("1y2w"), Some("9096h".into()));
        assert_eq!(prometheus("1m500ms"), Some("1m500ms".into()));
        assert_eq!(prometheus("0"), Some("0s".into()));
        for text in [
            "",
            "5",
            "m",
            "1.5s",
            "-1s",
            "+1s",
            "1s1m",
            "1m1m",
            "1us",
            "1 m",
            "300y",
            "99999999999999999999s",
        ] {
            assert_eq!(prometheus(text), None, "{text}");
        }
    }

    #[test]
    fn go_takes_fractions_signs_and_any_order_and_days_only_where_the_release_does() {
        assert_eq!(go("1.5h", false), Some("1h30m".into()));
        assert_eq!(go("-.5s", false), Some("-500ms".into()));
        assert_eq!(go("+1m1h1m", false), Some("1h2m".into()));
        assert_eq!(go("1d", true), Some("24h".into()));
        assert_eq!(go("1d", false), None);
        for text in ["", "-", "5", "1y", ".s", "1..5s", "1,5s", "293y", "2562048h"] {
            assert_eq!(go(text, true), None, "{text}");
        }
    }

    #[test]
    fn a_field_may_be_negative_but_no_point_in_time() {
        assert_eq!(Nanos::field("-1s").map(|nanos| nanos.to_string()), Ok("-1s".into()));
        assert_eq!(Nanos::field("0"), Ok(Nanos::ZERO));
        assert_eq!(Nanos::field("2026-01-01T00:00:00Z"), Err(NoDuration::PointInTime));
        assert_eq!(Nanos::field("-"), Err(NoDuration::Unreadable));
    }
}
