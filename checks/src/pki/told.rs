//! What a component is told of TLS: the versions and the cipher suites of its flags, or of the members of a
//! configuration that stand for them. A component that is told nothing goes by Go's defaults, of which nothing is said.

use super::discover::{CommandLine, Component};
use crate::host::hello::Version;
use crate::host::suites::{SUITES_13, go_suite};

/// Of these Go wants one in a list, or it serves no HTTP/2 (x/net/http2, `ConfigureServer`).
const OF_HTTP2: [&str; 2] = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];

/// What a component is told of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told<'f> {
    /// The cipher suites, as they are written; empty: Go's own.
    pub(super) suites: Vec<&'f str>,
    /// The flag that names them.
    pub(super) flag: &'static str,
    component: Component,
    min: &'f str,
    max: &'f str,
    http2: bool,
}

impl<'f> Told<'f> {
    /// What a component is told by its command line; none for one that serves no TLS.
    pub(super) fn of(line: &'f CommandLine) -> Option<Self> {
        let component = line.component;
        let flag = match component {
            Component::Apiserver | Component::ControllerManager | Component::Scheduler | Component::Kubelet => {
                "tls-cipher-suites"
            }
            Component::Etcd => "cipher-suites",
            Component::Proxy | Component::Apid | Component::Kubeadm | Component::People => return None,
        };
        let mut lists: Vec<_> = line.all(flag).filter(|list| !list.is_empty()).collect();
        // Given often, Kubernetes adds one to the other, and etcd takes the last.
        if component == Component::Etcd {
            lists.drain(..lists.len().saturating_sub(1));
        }
        let get = |flag| line.get(flag).unwrap_or_default();
        let (min, http2) = (get("tls-min-version"), get("disable-http2-serving") != "true");
        let max = if component == Component::Etcd { get("tls-max-version") } else { "" };
        Some(Self { suites: lists.iter().flat_map(|list| list.split(',')).collect(), flag, component, min, max, http2 })
    }

    /// The name of a version: `VersionTLS12`, of etcd `TLS1.2`. None is the default.
    fn version(&self, name: &str) -> Option<Version> {
        Some(match (self.component, name) {
            (Component::Etcd, "TLS1.2") => Version::Tls12,
            (Component::Etcd, "TLS1.3") => Version::Tls13,
            (Component::Etcd, _) => return None,
            (_, "VersionTLS10") => Version::Tls10,
            (_, "VersionTLS11") => Version::Tls11,
            (_, "VersionTLS12") => Version::Tls12,
            (_, "VersionTLS13") => Version::Tls13,
            _ => return None,
        })
    }

    /// The oldest version that it shall speak, if it is told one.
    pub(super) fn oldest(&self) -> Option<Version> {
        self.version(self.min)
    }

    /// The newest version that it shall speak, if it is told one.
    pub(super) fn newest(&self) -> Option<Version> {
        self.version(self.max)
    }

    /// The suites that count, each by the name that it has in Go: those of TLS 1.3 cannot be chosen, and with it alone
    /// none can.
    pub(super) fn chosen(&self) -> Vec<&'static str> {
        if self.oldest() == Some(Version::Tls13) {
            return Vec::new();
        }
        let known = self.suites.iter().filter_map(|name| go_suite(name));
        known.filter(|name| !is_of_tls13(name)).collect()
    }

    /// Is it told anything?
    pub(super) fn is_anything(&self) -> bool {
        !(self.suites.is_empty() && self.min.is_empty() && self.max.is_empty())
    }

    /// Why it does not start (component-base, `cliflag.TLSCipherSuites`; etcd, `embed.Config.Validate`).
    pub(super) fn refusals(&self) -> Vec<String> {
        let mut all = Vec::new();
        for name in self.suites.iter().filter(|name| go_suite(name).is_none()) {
            all.push(format!("--{} names '{name}', and Go knows no such cipher suite", self.flag));
        }
        for (flag, name) in [("tls-min-version", self.min), ("tls-max-version", self.max)] {
            if !name.is_empty() && self.version(name).is_none() {
                all.push(format!("--{flag} is '{name}', and it knows no such version"));
            }
        }
        let only_tls13 = self.oldest() == Some(Version::Tls13);
        if self.newest().is_some_and(|newest| Some(newest) < self.oldest()) {
            all.push("--tls-max-version is older than --tls-min-version".to_owned());
        }
        if self.component == Component::Etcd && only_tls13 && !self.suites.is_empty() {
            all.push(format!("it takes no --{} with --tls-min-version={}", self.flag, self.min));
        }
        let http2 = self.http2 && !only_tls13 && !self.suites.is_empty();
        if all.is_empty() && http2 && !self.chosen().iter().any(|name| OF_HTTP2.contains(name)) {
            all.push(format!(
                "--{} names neither {} nor {}, one of which HTTP/2 needs",
                self.flag, OF_HTTP2[0], OF_HTTP2[1]
            ));
        }
        all
    }

    /// What of it has no effect.
    pub(super) fn without_effect(&self) -> Option<String> {
        let vain: Vec<_> = self.suites.iter().copied().filter(|name| is_of_tls13(name)).collect();
        if self.oldest() == Some(Version::Tls13) && !self.suites.is_empty() {
            Some(format!("--{} beside --tls-min-version={}", self.flag, self.min))
        } else {
            (!vain.is_empty()).then(|| format!("{} in --{}", vain.join(", "), self.flag))
        }
    }
}

fn is_of_tls13(name: &str) -> bool {
    SUITES_13.iter().any(|(_, own)| *own == name)
}
