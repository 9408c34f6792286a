//! Swap: what is on now, and what turns swap on at the next boot.
//!
//! At boot swap comes from /etc/fstab, from `.swap` units, from zram-generator, or from a service that sets it up. The
//! two claims are independent: `swapoff` ends what is on, and changes nothing of the next boot.

use std::collections::BTreeMap;

use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{file, gone};
use crate::fact::Fact;
use crate::host::Host;
use crate::node::units::{Units, escape_path};

const SWAP: &str = "https://kubernetes.io/docs/concepts/cluster-administration/swap-memory-management/";
const SWAPS: &str = "/proc/swaps";
const FSTAB: &str = "/etc/fstab";
const GENERATOR: &str = "/usr/lib/systemd/system-generators/zram-generator";
/// Where zram-generator looks for its configuration, the most important last.
const ZRAM: [&str; 4] = ["/usr/lib/systemd", "/usr/local/lib/systemd", "/etc/systemd", "/run/systemd"];
/// Services that make swap, with the packages that bring them.
const SERVICES: [(&str, &str); 5] = [
    ("dphys-swapfile.service", "Raspberry Pi OS"),
    ("rpi-setup-loop@var-swap.service", "Raspberry Pi OS"),
    ("zramswap.service", "zram-tools"),
    ("zram-config.service", "zram-config"),
    ("swapspace.service", "swapspace"),
];

/// A device or file that is in use as swap.
#[derive(Debug, Clone, PartialEq, Eq)]
struct On {
    device: String,
    line: u32,
}

/// Something that turns swap on at the next boot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AtBoot {
    /// The device, the file or the service.
    device: String,
    by: By,
    path: String,
    line: Option<u32>,
}

/// How it is turned on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Fstab,
    /// A unit by its name.
    Unit(String),
    /// zram-generator, for the device of a section.
    Zram,
    /// A service, of a package.
    Service(&'static str),
}

/// What is known of swap.
#[derive(Debug)]
pub struct Facts {
    on: Fact<Vec<On>>,
    at_boot: Vec<AtBoot>,
    /// Why a source of swap at boot is not known.
    unread: Option<String>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host, units: &Units) -> Self {
        let on = match host.text(SWAPS) {
            Fact::Known(text) => Fact::Known(on(&text)),
            // A kernel without swap has no such file, a root without /proc has none either.
            Fact::Absent(_) if host.stat("/proc/version").known().is_some() => Fact::Known(Vec::new()),
            other => other.map(|_| Vec::new()),
        };
        let mut facts = Self { on, at_boot: Vec::new(), unread: units.unread().map(str::to_owned) };
        facts.fstab(host, units);
        facts.units(host, units);
        facts.zram(host);
        facts
    }

    /// Is nothing in use as swap?
    ///
    /// # Errors
    /// If it is not known.
    pub(super) fn is_off(&self) -> Result<bool, Inconclusive> {
        Ok(self.on.need(SWAPS)?.is_empty())
    }

    /// The text of a file that may be missing.
    fn text(&mut self, host: &dyn Host, path: &str) -> Option<String> {
        match host.text(path) {
            Fact::Known(text) => Some(text),
            Fact::Absent(_) => None,
            Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
                self.unread.get_or_insert(why);
                None
            }
        }
    }

    fn fstab(&mut self, host: &dyn Host, units: &Units) {
        let Some(text) = self.text(host, FSTAB) else { return };
        for (line, device) in fstab(&text) {
            let on_disk = device.starts_with('/') && !device.starts_with("/dev/");
            let gone = on_disk && host.stat(&device).is_absent();
            let masked = ["swap.target".to_owned(), unit_of(&device)].iter().any(|unit| is_masked(host, units, unit));
            if !gone && !masked {
                self.at_boot.push(AtBoot { device, by: By::Fstab, path: FSTAB.to_owned(), line: Some(line) });
            }
        }
    }

    fn units(&mut self, host: &dyn Host, units: &Units) {
        for name in units.names(".swap").into_iter().map(str::to_owned).collect::<Vec<_>>() {
            let Some(unit) = units.find(host, &name).known().cloned() else { continue };
            let Some(link) = unit.started_by.filter(|_| !unit.masked) else { continue };
            if link.contains("/swap.target.") && is_masked(host, units, "swap.target") {
                continue;
            }
            let Some(text) = self.text(host, &unit.path) else { continue };
            let generated = unit.path.starts_with("/run/systemd/generator");
            // Made anew at each boot from sources that are read themselves.
            if generated && (text.contains("SourcePath=/etc/fstab") || text.contains("systemd-zram-setup@")) {
                continue;
            }
            let what = value(&text, "Swap", "What");
            let (line, device) = what.map_or((None, name.clone()), |(line, device)| (Some(line), device));
            self.at_boot.push(AtBoot { device, by: By::Unit(name), path: unit.path, line });
        }
        for (name, package) in SERVICES {
            let unit = units.find(host, name).known().cloned();
            if let Some(unit) = unit.filter(|unit| !unit.masked && unit.started_by.is_some()) {
                self.at_boot.push(AtBoot {
                    device: name.to_owned(),
                    by: By::Service(package),
                    path: unit.path,
                    line: None,
                });
            }
        }
    }

    fn zram(&mut self, host: &dyn Host) {
        if host.stat(GENERATOR).known().is_none() {
            return;
        }
        let main = ZRAM.iter().rev().map(|folder| format!("{folder}/zram-generator.conf"));
        let mut files: Vec<_> = main.filter(|path| host.stat(path).known().is_some()).take(1).collect();
        let mut drop_ins = BTreeMap::new();
        for folder in ZRAM.map(|folder| format!("{folder}/zram-generator.conf.d")) {
            for entry in host.list(&folder).known().cloned().unwrap_or_default() {
                if entry.name.ends_with(".conf") {
                    drop_ins.insert(entry.name.clone(), format!("{folder}/{}", entry.name));
                }
            }
        }
        files.extend(drop_ins.into_values());
        let mut devices: BTreeMap<String, Zram> = BTreeMap::new();
        for path in files {
            if let Some(text) = self.text(host, &path) {
                zram(&path, &text, &mut devices);
            }
        }
        for (name, zram) in devices.into_iter().filter(|(_, zram)| zram.is_swap()) {
            let (path, line) = zram.at;
            self.at_boot.push(AtBoot { device: format!("/dev/{name}"), by: By::Zram, path, line: Some(line) });
        }
    }
}

/// The lines of /proc/swaps below its head, each with its number.
fn on(text: &str) -> Vec<On> {
    let line = |(number, line): (usize, &str)| {
        let device = unescape(line.split_whitespace().next()?);
        Some(On { device, line: u32::try_from(number + 1).unwrap_or(u32::MAX) })
    };
    text.lines().enumerate().skip(1).filter_map(line).collect()
}

/// The devices that fstab(5) turns on as swap at boot, each with its line.
fn fstab(text: &str) -> Vec<(u32, String)> {
    let line = |(number, line): (usize, &str)| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let options = fields.get(3).copied().unwrap_or_default();
        let swap = !fields.first()?.starts_with('#') && *fields.get(2)? == "swap";
        let turned_on = swap && !options.split(',').any(|option| option == "noauto");
        turned_on.then(|| (u32::try_from(number + 1).unwrap_or(u32::MAX), unescape(fields[0])))
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// Blanks in fields of fstab and of /proc/swaps are written as three octal digits.
fn unescape(field: &str) -> String {
    ["\\040 ", "\\011\t", "\\012\n", "\\134\\"]
        .iter()
        .fold(field.to_owned(), |text, pair| text.replace(&pair[..4], &pair[4..]))
}

/// The unit that systemd makes of a device in fstab.
fn unit_of(device: &str) -> String {
    let tag = device.split_once('=').and_then(|(tag, value)| {
        let value = value.trim_matches('"');
        let folder = ["UUID", "LABEL", "PARTUUID", "PARTLABEL"].contains(&tag).then(|| tag.to_lowercase())?;
        Some(format!("/dev/disk/by-{folder}/{value}"))
    });
    format!("{}.swap", escape_path(tag.as_deref().unwrap_or(device)))
}

fn is_masked(host: &dyn Host, units: &Units, name: &str) -> bool {
    units.find(host, name).known().is_some_and(|unit| unit.masked)
}

/// The last value of a key in a section of a file of systemd, and its line.
fn value(text: &str, section: &str, key: &str) -> Option<(u32, String)> {
    let (mut inside, mut found) = (false, None);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name == section;
        } else if let Some((name, value)) = line.split_once('=')
            && inside
            && name.trim_end() == key
        {
            found = Some((u32::try_from(number + 1).unwrap_or(u32::MAX), value.trim().to_owned()));
        }
    }
    found
}

/// A section of zram-generator.conf.
#[derive(Debug, Default)]
struct Zram {
    at: (String, u32),
    size: Option<String>,
    mounted: bool,
}

impl Zram {
    /// zram-generator.conf(5): a device is swap unless it is given a mount point or another file system.
    fn is_swap(&self) -> bool {
        !self.mounted && self.size.as_deref().map(str::trim) != Some("0")
    }
}

fn zram(path: &str, text: &str, devices: &mut BTreeMap<String, Zram>) {
    let mut section: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with(['#', ';']) {
            continue;
        }
        let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.starts_with("zram").then(|| name.to_owned());
            if let Some(name) = &section {
                devices.entry(name.clone()).or_default().at = (path.to_owned(), number);
            }
        } else if let (Some(section), Some((key, value))) = (&section, line.split_once('=')) {
            let device = devices.entry(section.clone()).or_default();
            match (key.trim(), value.trim()) {
                ("zram-size" | "max-zram-size" | "zram-fraction", size) => device.size = Some(size.to_owned()),
                ("mount-point", point) => device.mounted = !point.is_empty(),
                ("fs-type", kind) => device.mounted = !kind.is_empty() && kind != "swap",
                _ => {}
            }
        }
    }
}

impl AtBoot {
    fn breach(&self) -> Breach {
        let Self { device, path, .. } = self;
        let (found, remedy) = match &self.by {
            By::Fstab => {
                let line = self.line.unwrap_or_default();
                let fix = Remedy::new("Comment the line out. Nothing is restarted.");
                (path.clone(), fix.command(format!("sed -i '{line}s/^/# /' {path}")))
            }
            By::Unit(name) => {
                let fix = Remedy::new("Mask the unit; a GPT partition of type swap is found by systemd without one.");
                (name.clone(), fix.when("systemd").command(format!("systemctl mask --now '{name}'")))
            }
            By::Zram if path.starts_with("/usr") => {
                let fix = Remedy::new("An empty file in /etc takes the place of the vendor's.").when("zram-generator");
                let fix = fix.command(format!("swapoff {device}")).persist("/etc/systemd/zram-generator.conf", "");
                ("zram-generator".to_owned(), fix)
            }
            By::Zram => {
                let section = device.trim_start_matches("/dev/");
                let fix = Remedy::new(format!("Give the device of [{section}] no size."));
                let fix = fix.when("zram-generator").command(format!("swapoff {device}"));
                let content = format!("[{section}]\nzram-size = 0\n");
                (
                    "zram-generator".to_owned(),
                    fix.persist("/etc/systemd/zram-generator.conf.d/zz-no-swap.conf", content),
                )
            }
            By::Service(package) => {
                let fix = Remedy::new("Disable the service.").when(*package);
                (device.clone(), fix.command(format!("systemctl disable --now {device}")))
            }
        };
        let message = match &self.by {
            By::Service(package) => format!("{device} of {package} sets swap up at the next boot"),
            _ => format!("{device} becomes swap at the next boot"),
        };
        Breach::new(device, message).found(found).wanted("no swap at boot").at(path, self.line).remedy(remedy)
    }
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new("node.machine.swap", "swap is off", |view| {
            let breach = |swap: &On| {
                let off = Remedy::new("Turn it off; node.machine.swap-at-boot says what turns it on at the next boot.");
                Breach::new(&swap.device, format!("{} is in use as swap", swap.device))
                    .found("on")
                    .wanted("off")
                    .at(SWAPS, Some(swap.line))
                    .remedy(off.command(format!("swapoff '{}'", swap.device)))
            };
            Ok(Conclusion::from_breaches(view.facts.swap.on.need(SWAPS)?.iter().map(breach).collect()))
        })
        .severity(Severity::Medium)
        .label("machine")
        .label("kubeadm")
        .alias("Swap")
        .page(
            "The kubelet refuses to start on a node with swap unless failSwapOn is false. Memory limits and eviction \
             know of swap only with NodeSwap.",
            "Reads /proc/swaps. A kernel without swap has no such file.",
        )
        .basis("kubeadm preflight: Swap; Installing kubeadm: before you begin", SWAP)
        .remedy(
            Remedy::new("Turn swap off; or keep it, and let the kubelet start (failSwapOn: false).")
                .command("swapoff -a"),
        )
        .bad([file(SWAPS, "Filename\tType\tSize\tUsed\tPriority\n/dev/vda2 partition 1048572 0 -2\n")]),
        Check::new("node.machine.swap-at-boot", "no swap is turned on at boot", |view| {
            let facts = &view.facts.swap;
            match &facts.unread {
                Some(why) if facts.at_boot.is_empty() => Err(Inconclusive::new(why.clone())),
                _ => Ok(Conclusion::from_breaches(facts.at_boot.iter().map(AtBoot::breach).collect())),
            }
        })
        .severity(Severity::Low)
        .label("machine")
        .alias("fstab swap")
        .alias("zram-generator")
        .page(
            "swapoff lasts until the next boot: the kubelet then fails to start, weeks after the node was set up.",
            "Reads /etc/fstab (lines without noauto), units of systemd that something starts and that are not masked, \
             zram-generator's configuration where it is installed, and the services of packages that make swap.",
        )
        .basis("Installing kubeadm: swap configuration", SWAP)
        .remedy(
            Remedy::new(
                "Remove what turns it on: the line of /etc/fstab, the unit or the service that the finding names.",
            )
            .command("systemctl --type swap --all"),
        )
        .good([gone(FSTAB)])
        .bad([file(FSTAB, "UUID=1 / ext4 defaults 0 1\n/swapfile none swap sw 0 0\n")]),
    ]
}

#[cfg(test)]
mod tests;
