//! The kubelet: version, what it really runs with, start-up files, health.

mod config;
mod node;
mod start;
mod version;

use std::net::IpAddr;

use serde_json::Value;

use crate::Inconclusive;
use crate::check::{Check, Judgment};
use crate::conclusion::Conclusion;
use crate::effective::kubelet::{Kubelet, Runner, Sources, tables};
use crate::fact::Fact;
use crate::host::{ApiCall, Host, Program, Query};
use crate::node::View;
use crate::profile::{KubernetesVersion, Profile};

/// Where kubeadm puts the kubelet's configuration.
pub use crate::effective::kubelet::CONFIG;

const FLAGS: &str = crate::effective::kubelet::FLAGS;
const DROP_INS: [&str; 3] = [
    "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
];
const REFERENCE: &str = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/";
const INTEGRATION: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubelet-integration/";

/// What is known of the kubelet.
#[derive(Debug)]
pub struct Facts {
    /// `1.37.2`, as the program, or what starts it, says.
    pub version: Fact<String>,
    /// What the node says of its kubelet.
    pub sources: Fact<Sources>,
    /// The same, settled for its own release, if that is known.
    settled: Option<Kubelet>,
    /// Where kubeadm's drop-in is.
    drop_in: Fact<String>,
    /// Is the configuration there that kubeadm writes?
    has_config: bool,
    /// `1.37.2`, as kubeadm says of itself.
    pub kubeadm: Fact<String>,
    /// What its health port answers: status and body.
    healthz: Fact<(u64, String)>,
    /// The file that it hands to pods, as its resolvConf names it.
    pub resolv_conf: ResolvConf,
    /// The release of the cluster, where its API was asked, and who says so.
    cluster: Option<(KubernetesVersion, String)>,
}

/// The resolver configuration that pods get.
#[derive(Debug)]
pub struct ResolvConf {
    /// Its path; empty where pods get none of the node's, absent where no kubelet is set up.
    pub path: Fact<String>,
    /// Is it there?
    there: Fact<()>,
    /// Its name servers, each with its line.
    pub servers: Fact<Vec<(u32, String)>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let sources = Sources::read(host);
        // What is asked for here hangs on no release.
        let any = sources.known().map(|sources| sources.settle(*tables::RELEASES.end()));
        let settled = any.clone().filter(|kubelet| kubelet.version.is_some());
        let program = host.run(Program::KubeletVersion).parse(|text| {
            let version = text.split_whitespace().find_map(|word| word.strip_prefix('v'));
            version.map(str::to_owned).ok_or_else(|| format!("kubelet --version said '{}'", text.trim()))
        });
        let version = match settled.as_ref().and_then(|kubelet| kubelet.version.as_ref()) {
            Some(version) => Fact::Known(version.text.clone()),
            None => program,
        };
        Self {
            version,
            kubeadm: host.run(Program::KubeadmVersion).map(|text| text.trim().trim_start_matches('v').to_owned()),
            drop_in: drop_in(host),
            has_config: !matches!(host.text(CONFIG), Fact::Absent(_) | Fact::NotGathered(_)),
            healthz: health(host, any.as_ref()),
            resolv_conf: ResolvConf::read(host, any.as_ref()),
            cluster: cluster(host),
            settled,
            sources,
        }
    }

    /// What the kubelet runs with; `None` where none is set up, or where kubeadm has not yet written its configuration.
    ///
    /// # Errors
    /// If nobody looked, or the node could not say.
    pub fn effective(&self, profile: &Profile) -> Result<Option<Kubelet>, Inconclusive> {
        let Some(sources) = self.sources.present("the kubelet")? else { return Ok(None) };
        let kubelet = match &self.settled {
            Some(kubelet) => kubelet.clone(),
            None => sources.settle(profile.kubernetes.0),
        };
        Ok((!kubelet.waits_for_kubeadm()).then_some(kubelet))
    }

    /// The distribution that starts the kubelet here itself, without a unit `kubelet.service`.
    #[must_use]
    pub fn distribution(&self) -> Option<&'static str> {
        match self.sources.known()?.start.runner {
            Runner::Distribution(name) => Some(name),
            _ => None,
        }
    }

    /// Who starts the kubelet here, if that is not a unit `kubelet.service` that starts a program of PATH.
    #[must_use]
    pub fn other_runner(&self) -> Option<String> {
        let start = &self.sources.known()?.start;
        match &start.runner {
            Runner::Distribution(name) => Some((*name).to_owned()),
            Runner::Unit { program, .. } => {
                let folder = program.rsplit_once('/').map_or("", |(folder, _)| folder);
                (program.starts_with('/') && !crate::node::programs::PATH.contains(&folder)).then(|| program.clone())
            }
            Runner::Unknown => start.process.map(|(pid, _)| format!("process {pid}")),
        }
    }

    /// The release of Kubernetes that the node is judged by where the user names none, and who says so: that of the
    /// cluster's API, of its kubelet, of kubeadm.
    #[must_use]
    pub fn release(&self) -> Option<(KubernetesVersion, String)> {
        let known = |text: &str| text.parse::<KubernetesVersion>().ok();
        let kubelet = self.version.known().and_then(|text| Some((known(text)?, format!("its kubelet is {text}"))));
        let kubeadm = self.kubeadm.known().and_then(|text| Some((known(text)?, format!("its kubeadm is {text}"))));
        kubelet.or(kubeadm).or_else(|| self.cluster.clone())
    }

    /// The release of the cluster that the node is in: as the user says, else as its API says.
    fn cluster_release(&self, profile: &Profile) -> Option<(KubernetesVersion, String)> {
        let told = profile.cluster.map(|version| (version, "--kubernetes-version".to_owned()));
        told.or_else(|| self.cluster.clone())
    }
}

/// The release of the cluster whose API may be asked: of its server, else of kubeadm's configuration in it.
fn cluster(host: &dyn Host) -> Option<(KubernetesVersion, String)> {
    let said = host.value(&Query::Api { call: ApiCall::Version });
    let text = said.known()?.get("gitVersion").and_then(Value::as_str)?.to_owned();
    Some((text.parse().ok()?, format!("the API server is {text}")))
}

/// What the health port answers that this kubelet has.
fn health(host: &dyn Host, kubelet: Option<&Kubelet>) -> Fact<(u64, String)> {
    let url = match kubelet {
        // Nothing is known of it: where it is by default.
        None => Some("http://127.0.0.1:10248/healthz".to_owned()),
        Some(kubelet) => kubelet.health(),
    };
    let Some(url) = url else {
        return Fact::NotGathered("healthzPort is 0: the kubelet has no health port".to_owned());
    };
    host.value(&Query::Get { url }).parse(|answer| {
        let status = answer.get("status").and_then(Value::as_u64).ok_or("the answer has no status")?;
        let body = answer.get("body").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok::<_, &str>((status, body))
    })
}

impl ResolvConf {
    fn read(host: &dyn Host, kubelet: Option<&Kubelet>) -> Self {
        let path = match kubelet {
            Some(kubelet) => Fact::Known(kubelet.text(&["resolvConf"]).unwrap_or_default().to_owned()),
            None => Fact::Absent("no kubelet is set up".to_owned()),
        };
        let (there, servers) = match path.known() {
            Some(path) if !path.is_empty() => (host.stat(path).map(|_| ()), host.text(path).map(|text| servers(&text))),
            Some(_) => (Fact::Known(()), Fact::Known(Vec::new())),
            None => (path.clone().map(|_| ()), path.clone().map(|_| Vec::new())),
        };
        Self { path, there, servers }
    }
}

/// The name servers of a resolver configuration, each with its line.
fn servers(text: &str) -> Vec<(u32, String)> {
    let server = |(number, line): (usize, &str)| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then_some(())?;
        Some((u32::try_from(number + 1).ok()?, words.next()?.to_owned()))
    };
    text.lines().enumerate().filter_map(server).collect()
}

/// Is a name server one that only the node itself reaches? Clouds serve DNS to pods, too, at addresses of their own.
#[must_use]
pub fn is_the_node_s_own(server: &str) -> bool {
    const CLOUDS: [&str; 2] = ["169.254.169.253", "169.254.169.254"];
    let bare = server.split('%').next().unwrap_or(server);
    match bare.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local() && !CLOUDS.contains(&bare),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unicast_link_local(),
        Err(_) => false,
    }
}

fn drop_in(host: &dyn Host) -> Fact<String> {
    let mut last = Fact::Absent("no place of it was looked at".to_owned());
    for path in DROP_INS {
        last = host.text(path).map(|_| path.to_owned());
        if !last.is_absent() {
            return last;
        }
    }
    last
}

/// Judges what the kubelet runs with; not applicable where there is none, since the node has not joined.
fn with_kubelet(view: &View<'_>, judge: impl FnOnce(&Kubelet) -> Judgment) -> Judgment {
    let Some(kubelet) = view.facts.kubelet.effective(view.profile)? else {
        return Ok(Conclusion::not_applicable(format!("there is no {CONFIG}: the node has not joined a cluster")));
    };
    if let Runner::Unit { name, .. } = &kubelet.start.runner
        && kubelet.config.is_none()
        && view.facts.kubelet.has_config
    {
        let why = format!("node.kubelet.kubeadm-drop-in: {name} starts the kubelet without {CONFIG}");
        return Err(Inconclusive::because_of("what the kubelet runs with", &why));
    }
    judge(kubelet.in_effect()?)
}

fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let mut all = version::checks();
    all.extend(start::checks());
    all.extend(node::checks());
    all.extend(config::checks());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_s_own_name_servers_are_told_apart() {
        for own in ["127.0.0.53", "127.0.0.1", "::1", "fe80::1%eth0", "169.254.20.10"] {
            assert!(is_the_node_s_own(own), "{own}");
        }
        for other in ["192.0.2.53", "2001:db8::53", "169.254.169.254", "not an address"] {
            assert!(!is_the_node_s_own(other), "{other}");
        }
        assert_eq!(
            servers("# nameserver 1\nnameserver 192.0.2.1 # x\n nameserver ::1\n"),
            [(2, "192.0.2.1".to_owned()), (3, "::1".to_owned())]
        );
    }
}
