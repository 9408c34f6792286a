//! containerd's configuration: Debian's 1.6 and the 2.x of today, with every image from our registry.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::image::Reference;

/// How a version of containerd is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// 1.x: configuration version 2.
    One,
    /// 2.0: configuration version 3.
    Two,
    /// 2.1 and later: the folders of CNI plug-ins are a list, and the single one goes away.
    TwoOne,
}

impl Generation {
    /// Of what `containerd --version` says: `containerd github.com/containerd/containerd/v2 v2.4.2 ...`. `None` where
    /// no version is in it.
    #[must_use]
    pub fn of(said: &str) -> Option<Self> {
        let word = said.split_whitespace().nth(2)?;
        let mut numbers = word.trim_start_matches('v').split(['.', '~', '-', '+']).map(str::parse::<u32>);
        match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
            (1, _) => Some(Self::One),
            (2, 0) => Some(Self::Two),
            _ => Some(Self::TwoOne),
        }
    }
}

/// A host's containerd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containerd {
    /// How it is configured.
    pub generation: Generation,
    /// Where it keeps images and containers: `/var/lib/containerd`.
    pub root: PathBuf,
    /// Where it keeps what does not outlive the host: `/run/containerd`.
    pub state: PathBuf,
    /// Its socket: `/run/containerd/containerd.sock`.
    pub socket: PathBuf,
    /// The image of pods' sandboxes.
    pub sandbox: Reference,
    /// The folder of registries, which holds `_default/hosts.toml` ([`hosts`]): `/etc/containerd/certs.d`.
    pub registries: PathBuf,
    /// The folder of the pod network's configuration: `/etc/cni/net.d`.
    pub cni_configuration: PathBuf,
    /// The folder of CNI plug-ins.
    pub cni_plugins: PathBuf,
    /// Its shim, `containerd-shim-runc-v2`, which must be of its version; without, the first one in PATH.
    pub shim: Option<PathBuf>,
    /// runc; without, the first one in PATH.
    pub runc: Option<PathBuf>,
    /// May it make a process less likely to be killed than it is itself (`CAP_SYS_RESOURCE`)?
    pub sys_resource: bool,
}

/// Plug-ins that a host of namespaces is better without.
const DISABLED: [(&str, &str); 2] = [
    ("io.containerd.internal.v1.opt", "it makes /opt/containerd, which is the machine's"),
    ("io.containerd.nri.v1.nri", "its sockets and plug-ins are the machine's: /var/run/nri, /opt/nri"),
];

impl Containerd {
    /// `config.toml`.
    #[must_use]
    pub fn config(&self) -> String {
        // An empty path says nothing.
        let [shim, runc] = [&self.shim, &self.runc].map(|path| path.as_deref().map_or_else(String::new, shown));
        let runtimes = json!({
            "runc": {
                "runtime_type": "io.containerd.runc.v2",
                "runtime_path": shim,
                // The kubelet's cgroupDriver is cgroupfs: there is no systemd on a host.
                "options": { "BinaryName": runc, "SystemdCgroup": false },
            },
        });
        let sandbox = self.sandbox.to_string();
        let registry = json!({ "config_path": shown(&self.registries) });
        let mut cni = json!({ "conf_dir": shown(&self.cni_configuration) });
        match self.generation {
            Generation::One | Generation::Two => cni["bin_dir"] = shown(&self.cni_plugins).into(),
            Generation::TwoOne => cni["bin_dirs"] = json!([shown(&self.cni_plugins)]),
        }
        let restrict = !self.sys_resource;
        let (version, plugins) = match self.generation {
            Generation::One => (
                2,
                json!({
                    "io.containerd.grpc.v1.cri": {
                        "sandbox_image": sandbox,
                        "restrict_oom_score_adj": restrict,
                        "containerd": {
                            "snapshotter": "overlayfs", "default_runtime_name": "runc", "runtimes": runtimes,
                        },
                        "cni": cni,
                        "registry": registry,
                    },
                }),
            ),
            Generation::Two | Generation::TwoOne => (
                3,
                json!({
                    "io.containerd.cri.v1.images": {
                        "snapshotter": "overlayfs",
                        "pinned_images": { "sandbox": sandbox },
                        "registry": registry,
                    },
                    "io.containerd.cri.v1.runtime": {
                        "restrict_oom_score_adj": restrict,
                        "containerd": { "default_runtime_name": "runc", "runtimes": runtimes },
                        "cni": cni,
                    },
                }),
            ),
        };
        toml(&json!({
            "version": version,
            "root": shown(&self.root),
            "state": shown(&self.state),
            // Without it, containerd would come up with a CRI plug-in that failed, and say so nowhere but in its log.
            "required_plugins": ["io.containerd.grpc.v1.cri"],
            "disabled_plugins": DISABLED.map(|(plugin, _)| plugin),
            "grpc": { "address": shown(&self.socket) },
            "plugins": plugins,
        }))
    }
}

/// `certs.d/_default/hosts.toml`: every registry's images come from this one (`harbor:5000`), and nothing is asked of
/// the internet. containerd 1.6 does not take an IPv6 address here: name the registry where it has one.
#[must_use]
pub fn hosts(registry: &str) -> String {
    let url = format!("http://{registry}");
    let host = Map::from_iter([(url.clone(), json!({ "capabilities": ["pull", "resolve"] }))]);
    toml(&json!({ "server": url, "host": host }))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn toml(value: &Value) -> String {
    toml::to_string(value).expect("texts, numbers, lists and tables have a form in TOML")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containerd(generation: Generation) -> Containerd {
        Containerd {
            generation,
            root: "/var/lib/containerd".into(),
            state: "/run/containerd".into(),
            socket: "/run/containerd/containerd.sock".into(),
            sandbox: "registry.k8s.io/pause:3.10.2".parse().unwrap(),
            registries: "/etc/containerd/certs.d".into(),
            cni_configuration: "/etc/cni/net.d".into(),
            cni_plugins: "/usr/lib/cni".into(),
            shim: None,
            runc: None,
            sys_resource: false,
        }
    }

    #[test]
    fn the_generation_is_read_from_what_containerd_says() {
        for (said, generation) in [
            ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n", Some(Generation::One)),
            ("containerd github.com/containerd/containerd v1.7.27 05044ec\n", Some(Generation::One)),
            ("containerd github.com/containerd/containerd/v2 v2.0.5 fb4c30d\n", Some(Generation::Two)),
            ("containerd github.com/containerd/containerd/v2 v2.4.2 x\n", Some(Generation::TwoOne)),
            ("containerd github.com/containerd/containerd/v2 2.1.0-rc.1 x\n", Some(Generation::TwoOne)),
            ("containerd: command not found\n", None),
        ] {
            assert_eq!(Generation::of(said), generation, "{said}");
        }
    }

    #[test]
    fn each_generation_has_its_own_tables() {
        let read = |generation| containerd(generation).config().parse::<toml::Table>().unwrap();
        let one = read(Generation::One);
        assert_eq!(one["version"].as_integer(), Some(2));
        let cri = &one["plugins"]["io.containerd.grpc.v1.cri"];
        assert_eq!(cri["sandbox_image"].as_str(), Some("registry.k8s.io/pause:3.10.2"));
        assert_eq!(cri["restrict_oom_score_adj"].as_bool(), Some(true));
        assert_eq!(cri["cni"]["bin_dir"].as_str(), Some("/usr/lib/cni"));
        assert_eq!(cri["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"].as_bool(), Some(false));
        for (generation, key) in [(Generation::Two, "bin_dir"), (Generation::TwoOne, "bin_dirs")] {
            let two = read(generation);
            assert_eq!(two["version"].as_integer(), Some(3));
            let images = &two["plugins"]["io.containerd.cri.v1.images"];
            assert_eq!(images["pinned_images"]["sandbox"].as_str(), Some("registry.k8s.io/pause:3.10.2"));
            assert_eq!(images["registry"]["config_path"].as_str(), Some("/etc/containerd/certs.d"));
            assert!(two["plugins"]["io.containerd.cri.v1.runtime"]["cni"].get(key).is_some());
        }
    }

    #[test]
    fn every_registry_is_ours() {
        let hosts = hosts("harbor:5000").parse::<toml::Table>().unwrap();
        assert_eq!(hosts["server"].as_str(), Some("http://harbor:5000"));
        assert!(hosts["host"].get("http://harbor:5000").is_some());
    }
}
