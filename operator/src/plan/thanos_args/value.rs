//! What a flag of Thanos takes, and whether a release would take a value. The messages say what to write instead.

use crate::plan::{
    duration::Nanos,
    go_number,
    listen::{Address, NotAnAddress},
};

use super::Minor;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: `--x` or `--no-x`.
    Switch,
    /// Anything.
    Text,
    /// Anything but nothing.
    NotEmpty,
    /// One of these words, each with the first minor release that knows it.
    OneOf(&'static [(&'static str, u32)]),
    /// A number that Thanos cuts to a whole one.
    Integer,
    /// A whole number with 64 bits.
    Whole,
    /// The same, not below 0.
    Unsigned,
    /// A number above 0 and not above 1.
    Ratio,
    /// One bucket of a histogram.
    Bucket,
    /// `5m`, `1d12h`.
    PrometheusDuration,
    /// The same, but 0 makes Thanos panic or spin.
    Interval,
    /// `1.5h`, `-1s`; from 0.39 also `1d`.
    GoDuration,
    /// The same, but not 0.
    GoDurationNotZero,
    /// `host:port`, or a name with a DNS prefix.
    Endpoint,
    /// `host:port` only.
    StrictEndpoint,
    /// `host:port` only from 0.38; before, a DNS prefix is taken too.
    StrictGroup,
    /// Where to listen.
    Listen,
    /// `name="value"`.
    Label,
    /// A file; the other half of its pair is the flag without `-file`.
    File,
    /// What would be in the file; the other half of its pair is the flag with `-file`.
    Content,
}

/// From here Go-style durations have days and weeks.
const DAYS_SINCE: u32 = 39;
/// From here a strict group has no DNS prefix.
const PLAIN_STRICT_GROUP_SINCE: u32 = 38;

const PROMETHEUS: &str =
    "is no duration; write whole numbers with y, w, d, h, m, s or ms, the largest first, such as 5m or 1h30m";
const STRICT: &str = "Thanos does not start when a strict endpoint has a DNS prefix; write it as host:port, or do not make it strict";

// === impl Value ===

impl Value {
    /// Whether a release takes `text`.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn check(self, text: &str, minor: Minor) -> Result<(), String> {
        match self {
            // The port must be known, whatever the kubelet fills in.
            Self::Listen => {
                text.parse::<Address>().map(drop).map_err(|error: NotAnAddress| error.to_string())
            }
            _ if has_variable(text) => Ok(()),
            _ => self.check_literal(text, minor),
        }
    }

    fn check_literal(self, text: &str, minor: Minor) -> Result<(), String> {
        let must = |holds: bool, error: &str| if holds { Ok(()) } else { Err(error.to_owned()) };
        match self {
            Self::Switch | Self::Text | Self::File | Self::Content | Self::Listen => Ok(()),
            Self::NotEmpty => must(!text.is_empty(), "must not be empty"),
            Self::OneOf(words) => one_of(words, text, minor),
            Self::Integer => {
                let is_number = go_number::float(text).is_some_and(f64::is_finite);
                must(is_number, "is no number; write it like 20")
            }
            Self::Whole => must(go_number::signed(text).is_some(), "is no whole number; write it like 20"),
            Self::Unsigned => {
                must(go_number::unsigned(text).is_some(), "is no whole number from 0 up; write it like 20")
            }
            Self::Ratio => must(
                go_number::float(text).is_some_and(|ratio| ratio > 0.0 && ratio <= 1.0),
                "must be more than 0 and at most 1; write it like 0.9",
            ),
            Self::Bucket => must(
                go_number::float(text).is_some_and(|bucket| !bucket.is_nan()),
                "is no number; write it like 0.5",
            ),
            Self::PrometheusDuration => must(Nanos::prometheus(text).is_some(), PROMETHEUS),
            Self::Interval => match Nanos::prometheus(text) {
                Some(Nanos::ZERO) => {
                    Err("Thanos panics, spins or finds no store with an interval of 0; write 1s or more"
                        .to_owned())
                }
                found => must(found.is_some(), PROMETHEUS),
            },
            Self::GoDuration => go_duration(text, minor).map(drop),
            Self::GoDurationNotZero => match go_duration(text, minor)? {
                Nanos::ZERO => Err("Thanos does not start with 0; write a duration such as 24h".to_owned()),
                _ => Ok(()),
            },
            Self::Endpoint => endpoint(text),
            Self::StrictEndpoint if text.contains('+') => Err(STRICT.to_owned()),
            Self::StrictGroup if text.contains('+') && minor.has(PLAIN_STRICT_GROUP_SINCE) => {
                Err(STRICT.to_owned())
            }
            Self::StrictEndpoint | Self::StrictGroup => endpoint(text),
            Self::Label => label(text),
        }
    }
}

/// Whether the kubelet fills something in, so that the value is not known yet. `$$(` is a literal `$(`.
pub fn has_variable(text: &str) -> bool {
    text.replace("$$", "").split_once("$(").is_some_and(|(_, rest)| rest.contains(')'))
}

fn one_of(words: &[(&str, u32)], text: &str, minor: Minor) -> Result<(), String> {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, since)) if !minor.has(*since) => {
            Err(format!("{text} is known from v0.{since}, and this is {minor}"))
        }
        // A release that was never looked at may have more of them.
        Some(_) => Ok(()),
        None if minor == Minor::Any => Ok(()),
        None => {
            let known = words.iter().filter(|(word, since)| !word.is_empty() && minor.has(*since));
            let known: Vec<&str> = known.map(|(word, _)| *word).collect();
            Err(format!("must be one of {}", known.join(", ")))
        }
    }
}

fn go_duration(text: &str, minor: Minor) -> Result<Nanos, String> {
    match Nanos::go(text, true) {
        Some(nanos) if minor.has(DAYS_SINCE) || Nanos::go(text, false).is_some() => Ok(nanos),
        Some(nanos) => Err(format!("{minor} knows no days and weeks here; write {nanos}")),
        None => Err("is no duration; write it like 1h30m, with h, m, s or ms".to_owned()),
    }
}

fn endpoint(text: &str) -> Result<(), String> {
    match text {
        "" => Err("the address is empty; write it as host:port".to_owned()),
        _ if text.contains([':', '+']) => Ok(()),
        _ => Err(format!("the address has no port; write it as {text}:10901")),
    }
}

fn label(text: &str) -> Result<(), String> {
    let is_quoted = |value: &str| {
        let inner = ['"', '`'].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        inner.is_some_and(|inner| {
            !inner.replace("\\\\", "").replace("\\\"", "").contains('"') || value.starts_with('`')
        })
    };
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && is_quoted(value) => Ok(()),
        Some((name, value)) if !name.is_empty() => Err(format!(
            "the value of the label must be quoted; write {name}=\"{}\"",
            value.trim_matches('"')
        )),
        _ => Err("is no label; write it as name=\"value\"".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Minor = Minor::Is(42);
    const OLD: Minor = Minor::Is(35);

    fn takes(value: Value, texts: &[&str]) {
        for text in texts {
            assert_eq!(value.check(text, NEW), Ok(()), "{value:?} {text}");
        }
    }

    fn refuses(value: Value, texts: &[&str]) {
        for text in texts {
            assert!(value.check(text, NEW).is_err(), "{value:?} {text}");
        }
    }

    #[test]
    fn numbers_are_taken_as_thanos_takes_them() {
        takes(Value::Integer, &["20", "1e3", "-1", "1.5"]);
        refuses(Value::Integer, &["", "0x10", "many", "NaN"]);
        takes(Value::Unsigned, &["0", "0x10"]);
        refuses(Value::Unsigned, &["-1", "1e3"]);
        takes(Value::Ratio, &["0.9", "1"]);
        refuses(Value::Ratio, &["0", "2", "x"]);
    }

    #[test]
    fn the_two_duration_grammars_are_told_apart() {
        takes(Value::PrometheusDuration, &["5m", "1d12h", "0"]);
        refuses(Value::PrometheusDuration, &["1.5s", "-1s", "", "5"]);
        takes(Value::GoDuration, &["1.5s", "-1s", "1d"]);
        refuses(Value::GoDuration, &["1y", "5", ""]);
        let error = Value::GoDuration.check("1d", Minor::Is(38)).expect_err("no days below 0.39");
        assert!(error.ends_with("write 24h"), "{error}");
    }

    #[test]
    fn an_interval_of_0_is_refused() {
        refuses(Value::Interval, &["0", "0s", "0d0ms"]);
        takes(Value::Interval, &["1s"]);
        refuses(Value::GoDurationNotZero, &["0", "0s"]);
    }

    #[test]
    fn endpoints_need_a_port_or_a_dns_prefix_and_strict_ones_have_none() {
        takes(Value::Endpoint, &["a:1", "dnssrv+_grpc._tcp.a.b.svc"]);
        refuses(Value::Endpoint, &["", "a"]);
        refuses(Value::StrictEndpoint, &["", "a", "dns+a:1"]);
        refuses(Value::StrictGroup, &["dns+a:1"]);
        assert_eq!(Value::StrictGroup.check("dns+a:1", Minor::Is(37)), Ok(()));
    }

    #[test]
    fn a_word_may_be_known_to_newer_releases_only() {
        let words = Value::OneOf(&[("logfmt", 0), ("journald", 42)]);
        takes(words, &["journald"]);
        assert!(words.check("journald", OLD).expect_err("new").contains("v0.42"));
        assert_eq!(words.check("xml", OLD), Err("must be one of logfmt".into()));
        assert_eq!(words.check("xml", Minor::Any), Ok(()));
    }

    #[test]
    fn a_label_is_quoted() {
        takes(Value::Label, &[r#"a="b""#, r#"a="b=c\"""#, "a=`b`", "a=\"\""]);
        refuses(Value::Label, &["a", "a=b", "=\"b\"", "a=\"", r#"a="b"c""#]);
    }

    #[test]
    fn what_the_kubelet_fills_in_is_not_judged_but_for_a_port() {
        takes(Value::Interval, &["$(INTERVAL)"]);
        refuses(Value::Interval, &["$$(INTERVAL)", "$INTERVAL"]);
        takes(Value::Listen, &["$(POD_IP):9090"]);
        refuses(Value::Listen, &["0.0.0.0:$(PORT)"]);
    }
}
