//! Quantities of Kubernetes and thresholds of eviction.

/// The value of a quantity such as `100Mi` or `1.5e3`; `None` where it is none.
#[must_use]
pub fn parse(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 16] = [
        ("", 1.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
    ];
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    if !number.chars().any(|c| c.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    if let Some(exponent) = suffix.strip_prefix(['e', 'E']).and_then(|rest| rest.parse::<i32>().ok()) {
        return Some(sign * number * 10_f64.powi(exponent));
    }
    SUFFIXES.iter().find(|(name, _)| *name == suffix).map(|(_, scale)| sign * number * scale)
}

/// What an eviction threshold asks for: a share, or a quantity; `None` where the kubelet refuses it.
#[must_use]
pub fn threshold(text: &str) -> Option<f64> {
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    }
    parse(text).filter(|quantity| *quantity > 0.0)
}

/// Does a threshold never evict? The kubelet ignores `0%` and `100%`.
#[must_use]
pub fn is_nothing(text: &str) -> bool {
    matches!(text, "0%" | "100%") || threshold(text).is_none_or(|limit| limit == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_and_thresholds() {
        assert_eq!(parse("100Mi"), Some(104_857_600.0));
        assert_eq!((parse("1e3"), parse("-5m"), parse("1E")), (Some(1000.0), Some(-0.005), Some(1e18)));
        for text in ["", "Mi", "5 Mi", "1..5", "five", "5Q"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(threshold("10%").is_some() && threshold("100Mi").is_some());
        assert!(threshold("0").is_none() && threshold("101%").is_none() && threshold("").is_none());
        assert!(is_nothing("0%") && is_nothing("100%") && !is_nothing("5%") && !is_nothing("1"));
    }
}
