//! The text that components serve at /metrics, as far as it is needed here: samples by name and labels, and quantiles
//! of their histograms as Prometheus computes them.

use std::collections::BTreeMap;

/// A sample.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) value: f64,
}

impl<'a> Sample<'a> {
    pub(crate) fn label(&self, name: &str) -> &'a str {
        self.labels.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}

/// The samples of these names. Lines that are no samples are skipped.
pub(crate) fn samples<'a>(text: &'a str, names: &'a [&str]) -> impl Iterator<Item = Sample<'a>> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let end = line.find(['{', ' '])?;
        let name = &line[..end];
        if !names.contains(&name) {
            return None;
        }
        let (labels, rest) = match line[end..].strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), &line[end..]),
        };
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Sample { name, labels, value })
    })
}

/// `a="b",c="d"} 1`: the labels, and what follows. Values with escapes are taken as they are written.
fn labels(mut text: &str) -> Option<(Vec<(&str, &str)>, &str)> {
    let mut all = Vec::new();
    loop {
        text = text.trim_start_matches(',');
        if let Some(rest) = text.strip_prefix('}') {
            return Some((all, rest));
        }
        let (key, rest) = text.split_once("=\"")?;
        let mut end = 0;
        let bytes = rest.as_bytes();
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        all.push((key, &rest[..end]));
        text = &rest[end + 1..];
    }
}

/// The buckets of a histogram: the count of all values up to a bound, in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Buckets(BTreeMap<u64, f64>);

impl Buckets {
    /// Adds a sample of a bucket.
    pub(crate) fn add(&mut self, bound: &str, count: f64) {
        // Bounds are positive, so that the order of their bits is that of their values.
        if let Ok(bound) = bound.parse::<f64>() {
            *self.0.entry(bound.to_bits()).or_default() += count;
        }
    }

    /// What came in since an earlier state.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let left = |(bound, count): (&u64, &f64)| (*bound, count - earlier.0.get(bound).copied().unwrap_or(0.0));
        Self(self.0.iter().map(left).collect())
    }

    /// How many values there are.
    pub(crate) fn count(&self) -> f64 {
        self.0.last_key_value().map_or(0.0, |(_, count)| *count)
    }

    /// A quantile in seconds, by linear interpolation within its bucket; `None` without values.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.count();
        if total <= 0.0 {
            return None;
        }
        let rank = quantile * total;
        let (mut lower, mut before) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            let bound = f64::from_bits(*bound);
            if *count >= rank {
                if bound.is_infinite() {
                    return Some(lower);
                }
                let within = if *count > before { (rank - before) / (count - before) } else { 1.0 };
                return Some(lower + (bound - lower) * within);
            }
            (lower, before) = (bound, *count);
        }
        Some(lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a b\nup 1\nd_bucket{verb=\"GET\",le=\"0.1\"} 50\nd_bucket{verb=\"GET\",le=\"1\"} 100\n\
                        d_bucket{verb=\"GET\",le=\"+Inf\"} 100\nother{x=\"a\\\"b,}\"} 3 1700000000\nbroken{x=\n";

    #[test]
    fn samples_have_names_labels_and_values() {
        let all: Vec<_> = samples(TEXT, &["up", "other", "broken"]).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].value, all[1].label("x"), all[1].value), (1.0, "a\\\"b,}", 3.0));
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let mut buckets = Buckets::default();
        for sample in samples(TEXT, &["d_bucket"]) {
            buckets.add(sample.label("le"), sample.value);
        }
        assert_eq!(buckets.quantile(0.5), Some(0.1));
        assert!((buckets.quantile(0.99).unwrap() - 0.982).abs() < 1e-9);
        assert_eq!(buckets.since(&buckets).quantile(0.99), None);
        // What lies beyond the last bound is told as that bound.
        let mut slow = Buckets::default();
        slow.add("60", 1.0);
        slow.add("+Inf", 100.0);
        assert_eq!(slow.quantile(0.99), Some(60.0));
    }
}
