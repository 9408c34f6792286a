//! The options that a kernel was built with, where distributions leave them.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::fact::Fact;
use crate::host::Host;

/// The most that a compressed configuration may unpack to.
const CONFIG_LIMIT: u64 = 4 << 20;

/// The options that a kernel was built with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where that was read.
    pub path: String,
    /// `y`, `m` or a value, by option without `CONFIG_`.
    pub options: BTreeMap<String, String>,
}

/// Reads the configuration from the first place that has it: the order of system-validators.
pub(super) fn read(host: &dyn Host, release: &str) -> Fact<Config> {
    let mut tried = vec!["/proc/config.gz".to_owned()];
    match host.read("/proc/config.gz").parse(|bytes| unpack(&bytes)) {
        Fact::Absent(_) => {}
        other => return other.map(|text| Config { path: tried.remove(0), options: options(&text) }),
    }
    for place in [
        "/boot/config-{}",
        "/usr/src/linux-{}/.config",
        "/usr/src/linux/.config",
        "/usr/lib/modules/{}/config",
        "/usr/lib/ostree-boot/config-{}",
        "/usr/lib/kernel/config-{}",
        "/usr/src/linux-headers-{}/.config",
        "/lib/modules/{}/build/.config",
    ] {
        let path = place.replace("{}", release);
        match host.text(&path) {
            Fact::Absent(_) => tried.push(path),
            other => return other.map(|text| Config { path, options: options(&text) }),
        }
    }
    Fact::Absent(format!("no kernel configuration at {}", tried.join(", ")))
}

fn unpack(bytes: &[u8]) -> Result<String, String> {
    let mut text = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(bytes).take(CONFIG_LIMIT + 1).read_to_end(&mut text);
    unpacked.map_err(|error| format!("/proc/config.gz does not unpack: {error}"))?;
    if text.len() as u64 > CONFIG_LIMIT {
        return Err(format!("/proc/config.gz unpacks to more than {} MiB", CONFIG_LIMIT >> 20));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// `CONFIG_X=y` lines.
fn options(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (name, value) = line.trim().strip_prefix("CONFIG_")?.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_configuration_is_unreadable() {
        assert!(unpack(b"garbage").is_err());
        assert!(unpack(&[]).is_err() || unpack(&[]).is_ok_and(|text| text.is_empty()));
    }
}
