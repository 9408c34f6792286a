//! What a specification and kubeadm's documents in it say together: versions, and the configuration of kubeadm.

use std::path::Path;

use ipnet::IpNet;

use super::spec::{BadSpec, ClusterSpec, Family, bad};
use crate::assets::{Release, Version};
use crate::kubeadm::{self, BadConfiguration, Configuration};

impl ClusterSpec {
    /// The versions of the cluster: that of Kubernetes as this specification or else kubeadm's documents name it.
    ///
    /// # Errors
    /// [`BadSpec`] names the field.
    pub fn release(&self) -> Result<Release, BadSpec> {
        let mut release = match (&self.kubernetes, &self.kubeadm) {
            (Some(text), _) => {
                Release::of(&version("kubernetes", text)?).map_err(|error| bad("kubernetes", error.to_string()))?
            }
            (None, Some(text)) => {
                let field = "kubernetesVersion";
                match kubeadm::named_version(text)? {
                    Some((line, version)) => Release::of(&version).map_err(|error| BadConfiguration::Value {
                        line: Some(line),
                        field: field.to_owned(),
                        why: error.to_string(),
                    })?,
                    None => Release::newest(),
                }
            }
            (None, None) => Release::newest(),
        };
        if let Some(text) = &self.etcd.version {
            release.etcd = version("etcd.version", text)?;
        }
        Ok(release)
    }

    /// The versions of a host.
    ///
    /// # Errors
    /// [`BadSpec::Value`] names the field.
    pub fn release_of(&self, host: &str) -> Result<Release, BadSpec> {
        let mut release = self.release()?;
        let Some(node) = self.nodes.get(host) else { return Ok(release) };
        if let Some(text) = &node.kubernetes {
            release.kubernetes = version(&format!("nodes.{host}.kubernetes"), text)?;
        }
        if let Some(text) = &node.etcd {
            release.etcd = version(&format!("nodes.{host}.etcd"), text)?;
        }
        Ok(release)
    }

    /// kubeadm's configuration with what this specification says of it.
    ///
    /// # Errors
    /// [`BadSpec`] if kubeadm's documents cannot be used, or contradict the rest.
    pub fn configuration(&self) -> Result<Configuration, BadSpec> {
        let version = self.release()?.kubernetes;
        let mut configuration = match &self.kubeadm {
            Some(text) => kubeadm::read_for(text, Some(&version))?,
            None => Configuration::default(),
        };
        let services = "ClusterConfiguration.networking.serviceSubnet";
        let said = configuration.given().iter().any(|given| given.path == services);
        let networking = &mut configuration.cluster.networking;
        let list = |networks: &[IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let default = |of: &dyn Fn(Family) -> &'static str| {
            self.network.families.iter().map(|family| of(*family)).collect::<Vec<_>>().join(",")
        };
        if !self.network.pods.is_empty() {
            networking.pod_subnet = list(&self.network.pods);
        } else if networking.pod_subnet.is_empty() {
            networking.pod_subnet = default(&|family| match family {
                // A /16 has networks for 256 nodes. The larger ones keep clear of Services and of hosts.
                Family::V4 if self.simulated.total() > 8000 => "10.128.0.0/10",
                Family::V4 if self.simulated.total() > 200 => "10.128.0.0/11",
                Family::V4 => "10.244.0.0/16",
                Family::V6 if self.simulated.total() > 200 => "fd00:10:244::/48",
                Family::V6 => "fd00:10:244::/56",
            });
        }
        if !self.network.services.is_empty() {
            networking.service_subnet = list(&self.network.services);
        } else if !said {
            networking.service_subnet = default(&|family| match family {
                Family::V4 => "10.96.0.0/12",
                Family::V6 => "fd00:10:96::/112",
            });
        }
        if self.simulated.total() > 0 {
            // By default 20 and 50 requests a second: it would take minutes until a thousand nodes have their networks.
            let cluster = &mut configuration.cluster;
            for component in [&mut cluster.controller_manager, &mut cluster.scheduler] {
                for (flag, value) in [("kube-api-qps", "1000"), ("kube-api-burst", "2000")] {
                    if !component.extra_args.iter().any(|(name, _)| name == flag) {
                        component.extra_args.push((flag.to_owned(), value.to_owned()));
                    }
                }
            }
        }
        for (field, networks) in [("podSubnet", configuration.pods()?), ("serviceSubnet", configuration.services()?)] {
            let families: Vec<_> = networks.iter().map(Family::of).collect();
            if let Some(why) = mismatch(&families, &self.network.families) {
                return Err(configuration.refuse(&format!("networking.{field}"), why).into());
            }
        }
        configuration.check(&version)?;
        if !Path::new(&configuration.cluster.certificates_dir).starts_with("/etc/kubernetes") {
            let why = "it must be below /etc/kubernetes, which is what a host has for itself";
            return Err(configuration.refuse("certificatesDir", why).into());
        }
        Ok(configuration)
    }
}

/// How the families of networks differ from `network.families`: in which there are, or in their order.
pub(super) fn mismatch(families: &[Family], wanted: &[Family]) -> Option<String> {
    let list = |families: &[Family]| {
        let name = |family: &Family| if *family == Family::V4 { "IPv4" } else { "IPv6" };
        families.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let (found, expected) = (list(families), list(wanted));
    let same = families.len() == wanted.len() && families.iter().all(|family| wanted.contains(family));
    match families == wanted {
        true => None,
        false if same => Some(format!(
            "the order of its families is {found}, and that of network.families {expected}: use one order"
        )),
        false => {
            Some(format!("its families are {found}, and network.families names {expected}: they must be the same"))
        }
    }
}

fn version(field: &str, text: &str) -> Result<Version, BadSpec> {
    text.parse().map_err(|error: crate::assets::BadVersion| bad(field, error.to_string()))
}
