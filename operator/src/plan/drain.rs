//! How long Thanos may take to finish its queries: its grace periods run one after the other.

/// The flags of these periods; each is two minutes where nothing else is said.
pub const HTTP_GRACE: &str = "--http-grace-period";
/// See [`HTTP_GRACE`].
pub const GRPC_GRACE: &str = "--grpc-grace-period";

const DEFAULT_SECONDS: f64 = 120.0;

/// Seconds that Thanos may take with these arguments, when it has the given periods.
pub fn drain_seconds(args: &[String], periods: &[&str]) -> i64 {
    let one = |flag: &&str| {
        let given = args.iter().rev().find_map(|arg| arg.strip_prefix(flag)?.strip_prefix('='));
        given.and_then(seconds).unwrap_or(DEFAULT_SECONDS)
    };
    // Far below what an i64 holds: a pod that takes longer than a year to end is none.
    let all = periods.iter().map(one).sum::<f64>().ceil().clamp(0.0, 31_536_000.0);
    format!("{all:.0}").parse().unwrap_or(31_536_000)
}

/// Both of Thanos' grammars: `1h30m`, `1.5s`, `2d`.
fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut all = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match rest.get(..end)? {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            "y" => 31_536_000.0,
            _ => return None,
        };
        all += number * unit;
        rest = rest.get(end..)?;
    }
    Some(all)
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
        assert_eq!(drain(&["--http-grace-period=1000y"]), 31_536_000);
    }
}
