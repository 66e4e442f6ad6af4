//! The text of a cache in memory, as Thanos' query frontend reads it.

use crds::query_frontend::InMemoryCacheConfig;

/// Writes the configuration: type and sizes, in bytes.
///
/// # Errors
/// The name of the field that makes it impossible, and why.
pub fn in_memory(config: &InMemoryCacheConfig) -> Result<String, (&'static str, String)> {
    let size = config.max_size.as_deref().filter(|size| !size.is_empty());
    let size = size.ok_or_else(|| {
        (
            "maxSize",
            "is missing, and without a size Thanos makes no cache; write one such as 512Mi".to_owned(),
        )
    })?;
    let bytes_of = |field, size: &str| {
        bytes(size).ok_or_else(|| (field, format!("{size:?} is no size above 0; write it like 512Mi")))
    };
    let mut text = format!("type: IN-MEMORY\nconfig:\n  max_size: {}B", bytes_of("maxSize", size)?);
    if let Some(size) = config.max_item_size.as_deref().filter(|size| !size.is_empty()) {
        text += &format!("\n  max_item_size: {}B", bytes_of("maxItemSize", size)?);
    }
    Ok(text)
}

/// Bytes of a Kubernetes quantity, rounded up. Thanos reads `512Mi` in the same way, but `512m` as megabytes and `1e9`
/// not at all.
fn bytes(quantity: &str) -> Option<u64> {
    let unsigned = quantity.strip_prefix('+').unwrap_or(quantity);
    let is_number = |char: char| char.is_ascii_digit() || char == '.';
    let (number, unit) = unsigned.split_at(unsigned.find(|char| !is_number(char)).unwrap_or(unsigned.len()));
    let factor = match unit {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024_f64,
        "Mi" => 1024_f64.powi(2),
        "Gi" => 1024_f64.powi(3),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        _ => 10_f64.powi(unit.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let bytes = (number.parse::<f64>().ok()? * factor).ceil();
    // Thanos counts in 64 bits.
    (bytes >= 1.0 && bytes < 2_f64.powi(63)).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_become_bytes() {
        let cases = [
            ("512Mi", 536_870_912),
            ("1G", 1_000_000_000),
            ("1.5Ki", 1536),
            ("500m", 1),
            ("1e9", 1_000_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        assert_eq!(bytes("+2E3"), Some(2000));
        for text in ["", "0", "-1Mi", "1MiB", "x", "1e", "1..2Mi", "9E"] {
            assert_eq!(bytes(text).filter(|bytes| *bytes < 1 << 62), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_written_in_a_unit_that_thanos_cannot_misread() {
        let config =
            InMemoryCacheConfig { max_size: Some("512Mi".into()), max_item_size: Some("1Mi".into()) };
        assert_eq!(
            in_memory(&config),
            Ok("type: IN-MEMORY\nconfig:\n  max_size: 536870912B\n  max_item_size: 1048576B".into())
        );
    }

    #[test]
    fn without_a_size_there_is_no_cache() {
        assert_eq!(in_memory(&InMemoryCacheConfig::default()).expect_err("no size").0, "maxSize");
        let config = InMemoryCacheConfig { max_size: Some("1Mi".into()), max_item_size: Some("-1".into()) };
        assert_eq!(in_memory(&config).expect_err("negative").0, "maxItemSize");
    }
}
