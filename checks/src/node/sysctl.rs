//! Kernel parameters under /proc/sys that Kubernetes needs: a table of rows.

use std::collections::BTreeMap;

use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{file, gone};
use crate::fact::Fact;
use crate::host::Host;
use crate::profile::Profile;

/// The parameters of [`ROWS`], by key.
#[derive(Debug)]
pub struct Facts(BTreeMap<&'static str, Fact<String>>);

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        Self(ROWS.iter().map(|row| (row.key, host.text(&path(row.key)).map(|text| text.trim().to_owned()))).collect())
    }
}

fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

enum Want {
    Exactly(&'static str),
    AtLeast(u64),
}

struct Row {
    key: &'static str,
    want: Want,
    severity: Severity,
    /// Not asked of profiles for which this is false.
    when: fn(&Profile) -> bool,
    /// What must be loaded for the key to exist.
    module: Option<&'static str>,
    why: &'static str,
    basis: (&'static str, &'static str),
    aliases: &'static [&'static str],
    bad: &'static str,
}

const RUNTIMES: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/";

const ROWS: &[Row] = &[
    Row {
        key: "net.ipv4.ip_forward",
        want: Want::Exactly("1"),
        severity: Severity::High,
        when: |profile| profile.ipv4,
        module: None,
        why: "The node routes packets between pods and the network; without forwarding they are dropped in silence.",
        basis: ("kubeadm preflight: FileContent--proc-sys-net-ipv4-ip_forward", RUNTIMES),
        aliases: &["FileContent--proc-sys-net-ipv4-ip_forward"],
        bad: "0",
    },
    Row {
        key: "net.bridge.bridge-nf-call-iptables",
        want: Want::Exactly("1"),
        severity: Severity::Medium,
        when: |profile| profile.ipv4,
        module: Some("br_netfilter"),
        why: "Bridged pod traffic must pass through iptables, or Services are not translated between pods of one node.",
        basis: ("Installing kubeadm: letting iptables see bridged traffic", RUNTIMES),
        aliases: &["FileContent--proc-sys-net-bridge-bridge-nf-call-iptables", "br_netfilter"],
        bad: "0",
    },
];

fn check(row: &'static Row) -> Check {
    let id = format!("node.sysctl.{}", row.key.replace('_', "-"));
    let (title, value) = match row.want {
        Want::Exactly(value) => (format!("{} is {value}", row.key), value.to_owned()),
        Want::AtLeast(least) => (format!("{} is at least {least}", row.key), least.to_string()),
    };
    let path = path(row.key);
    let mut check = Check::new(id, title, move |view| {
        if !(row.when)(view.profile) {
            return Ok(Conclusion::not_applicable("the profile's cluster does not use this"));
        }
        let path = self::path(row.key);
        let Some(found) = view.facts.sysctl.0[row.key].present(row.key)? else {
            let cause = row.module.map_or_else(
                || format!("{} does not exist on this kernel", row.key),
                |module| format!("{} does not exist: the kernel module {module} is not loaded", row.key),
            );
            return Ok(Conclusion::breach(Breach::new(row.key, cause).at(path, None)));
        };
        let (holds, wanted) = match row.want {
            Want::Exactly(value) => (found == value, value.to_owned()),
            Want::AtLeast(least) => (found.parse().is_ok_and(|found: u64| found >= least), format!("{least} or more")),
        };
        let conclusion = if holds {
            Conclusion::holds()
        } else {
            let breach = Breach::new(row.key, format!("{} is {found}, not {wanted}", row.key));
            Conclusion::breach(breach.found(found).wanted(wanted).at(path, None))
        };
        Ok(conclusion.because(row.key, found))
    })
    .severity(row.severity)
    .label("sysctl")
    .label("kernel")
    .alias(row.key)
    .page(row.why, format!("Reads {path}."))
    .basis(row.basis.0, row.basis.1)
    .remedy(
        Remedy::new(format!("Set {} to {value}, now and at boot.", row.key))
            .command(format!("sysctl -w {}={value}", row.key))
            .persist("/etc/sysctl.d/99-kubernetes.conf", format!("{} = {value}\n", row.key)),
    )
    .bad([file(&path, format!("{}\n", row.bad))]);
    if let Some(module) = row.module {
        check = check
            .remedy(
                Remedy::new(format!("Load {module}, now and at boot."))
                    .when(format!("{module} is not loaded"))
                    .command(format!("modprobe {module}"))
                    .persist("/etc/modules-load.d/kubernetes.conf", format!("{module}\n")),
            )
            .bad([gone(&path)]);
    }
    row.aliases.iter().fold(check, |check, alias| check.alias(*alias))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    ROWS.iter().map(check).collect()
}
