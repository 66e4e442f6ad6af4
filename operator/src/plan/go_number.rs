//! Numbers as Go's `strconv` reads them, which is how Thanos reads the numbers in its flags.

/// A floating-point number, as `strconv.ParseFloat`. Hexadecimal ones are left to nobody.
pub fn float(text: &str) -> Option<f64> {
    let number: f64 = without_underscores(text)?.parse().ok()?;
    // Go refuses what does not fit; Rust makes it infinite.
    let is_overflow = number.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    (!is_overflow).then_some(number)
}

/// A whole number without a sign, as `strconv.ParseUint` with base 0: also `0x10`, `0b1`, `0o7` and `017`.
pub fn unsigned(text: &str) -> Option<u64> {
    let digits = |text: &str, base| {
        let is_plain = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        is_plain.then(|| u64::from_str_radix(text, base).ok()).flatten()
    };
    let lower = without_underscores(&text.to_ascii_lowercase())?;
    match lower.as_bytes() {
        [b'0', b'x', ..] => digits(&lower[2..], 16),
        [b'0', b'b', ..] => digits(&lower[2..], 2),
        [b'0', b'o', ..] => digits(&lower[2..], 8),
        [b'0', _, ..] => digits(&lower[1..], 8),
        _ => digits(&lower, 10),
    }
}

/// A whole number with a sign, as `strconv.ParseInt` with base 0.
pub fn signed(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(rest) => unsigned(rest).and_then(|number| 0_i64.checked_sub_unsigned(number)),
        None => i64::try_from(unsigned(text.strip_prefix('+').unwrap_or(text))?).ok(),
    }
}

/// Go allows `_` between digits.
fn without_underscores(text: &str) -> Option<String> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let is_between = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'_').all(|(at, _)| {
        is_digit(at.checked_sub(1).and_then(|before| bytes.get(before))) && is_digit(bytes.get(at + 1))
    });
    is_between.then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_as_go_reads_them() {
        assert_eq!(float("1.5"), Some(1.5));
        assert_eq!(float("1e3"), Some(1000.0));
        assert_eq!(float("1_0"), Some(10.0));
        assert_eq!(float("+Inf"), Some(f64::INFINITY));
        for text in ["", "abc", "0x10", "1e999", " 1", "1,5", "_1"] {
            assert_eq!(float(text), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_may_have_a_base() {
        assert_eq!(unsigned("0x10"), Some(16));
        assert_eq!(unsigned("017"), Some(15));
        assert_eq!(unsigned("1_000"), Some(1000));
        assert_eq!(unsigned("0"), Some(0));
        assert_eq!(signed("-5"), Some(-5));
        for text in ["", "-1", "+1", "1e3", "1.0", "08", "0x", "0x+1", "18446744073709551616"] {
            assert_eq!(unsigned(text), None, "{text}");
        }
        assert_eq!(signed("9223372036854775808"), None);
    }
}
