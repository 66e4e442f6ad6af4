//! Pure: quantities of Kubernetes, such as `500m`, `1.5Gi` or `12E6`, by their value.

/// Whether two quantities are the same amount; by their spelling when one of them is none.
pub fn is_same(a: &str, b: &str) -> bool {
    a == b || billionths(a).is_some_and(|amount| billionths(b) == Some(amount))
}

/// In billionths of the unit, which is as fine as the API server keeps it; it rounds up. None when it is no quantity,
/// or far more than anybody has.
fn billionths(text: &str) -> Option<i128> {
    let (sign, text) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: i128 = digits.parse().ok()?;
    let (ten, two) = scale(suffix)?;
    let ten = ten + 9 - i32::try_from(fraction.len()).ok()?;
    let amount = digits.checked_mul(1_i128.checked_shl(two)?)?;
    let power = |exponent: i32| 10_i128.checked_pow(u32::try_from(exponent).ok()?);
    let amount = match power(ten) {
        Some(times) => amount.checked_mul(times)?,
        // As far away from zero as it takes.
        None => match power(-ten) {
            Some(parts) => amount.checked_add(parts - 1)? / parts,
            None => return None,
        },
    };
    Some(sign * amount)
}

/// The powers of ten and of two that a suffix stands for.
fn scale(suffix: &str) -> Option<(i32, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        _ => (suffix.strip_prefix(['e', 'E'])?.parse::<i16>().ok()?.into(), 0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_amount_may_be_spelled_in_many_ways() {
        for (a, b) in [
            ("1", "1000m"),
            ("1", "1000000u"),
            ("1", "1000000000n"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("+1", "1"),
            ("-1", "-1000m"),
            ("0", "-0"),
            ("1Gi", "1024Mi"),
            ("1.5Gi", "1536Mi"),
            ("1Ki", "1024"),
            ("1Ei", "1024Pi"),
            ("1Pi", "1024Ti"),
            ("1k", "1e3"),
            ("12E6", "12M"),
            ("1e-3", "1m"),
            ("1E", "1e18"),
            ("1P", "1000T"),
            ("100G", "0.1T"),
            ("1E+3", "1k"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
        ] {
            assert!(is_same(a, b) && is_same(b, a), "{a} {b}");
        }
    }

    #[test]
    fn other_amounts_are_others() {
        for (a, b) in [
            ("1", "1001m"),
            ("1Gi", "1G"),
            ("1", "-1"),
            ("1E", "1Ei"),
            ("500m", "500M"),
            ("1", ""),
            ("1x", "1"),
            ("", "0"),
            (".", "0"),
            ("-", "0"),
            ("1.2.3", "12.3"),
            ("1e", "1"),
            ("1e999", "1e998"),
        ] {
            assert!(!is_same(a, b) && !is_same(b, a), "{a} {b}");
        }
        assert!(is_same("odd", "odd"));
    }
}
