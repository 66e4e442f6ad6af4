//! How long Thanos may take to finish its queries: its grace periods run one after the other.

use super::duration::Nanos;

/// The flags of these periods; each is two minutes where nothing else is said.
pub const HTTP_GRACE: &str = "--http-grace-period";
/// See [`HTTP_GRACE`].
pub const GRPC_GRACE: &str = "--grpc-grace-period";

const DEFAULT_SECONDS: i64 = 120;
/// A pod that takes longer than a year to end is none.
const LONGEST_SECONDS: i64 = 365 * 24 * 3_600;

/// Seconds that Thanos may take with these arguments, when it has the given periods.
pub fn drain_seconds(args: &[String], periods: &[&str]) -> i64 {
    let one = |flag: &&str| {
        let given = args.iter().rev().find_map(|arg| arg.strip_prefix(flag)?.strip_prefix('='));
        let read = given.and_then(|text| Nanos::prometheus(text).or_else(|| Nanos::go(text, true)));
        read.map_or(DEFAULT_SECONDS, |period| period.seconds().clamp(0, LONGEST_SECONDS))
    };
    periods.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(args: &[&str]) -> i64 {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        drain_seconds(&args, &[HTTP_GRACE, GRPC_GRACE])
    }

    #[test]
    fn both_periods_count_and_what_is_given_replaces_the_default() {
        assert_eq!(drain(&[]), 240);
        assert_eq!(drain(&["--http-grace-period=1h30m"]), 5400 + 120);
        assert_eq!(drain(&["--http-grace-period=1.5s", "--grpc-grace-period=0s"]), 2);
        assert_eq!(drain(&["--http-grace-period=odd"]), 240);
        assert_eq!(drain(&["--http-grace-period=100y"]), 31_536_000 + 120);
    }
}
