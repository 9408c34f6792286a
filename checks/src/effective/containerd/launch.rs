//! How a containerd is started: by which file is it configured, and on which socket does it listen?

use crate::effective::Origin;
use crate::effective::systemd::{self, Word};
use crate::fact::Fact;
use crate::host::{Host, Process, Query};

/// Where containerd looks for its configuration, unless a flag names another file.
pub const CONFIG: &str = "/etc/containerd/config.toml";
/// Where it listens, unless a flag or the configuration names another socket.
pub const SOCKET: &str = "/run/containerd/containerd.sock";

/// A distribution whose containerd is started with flags of its own.
struct Layout {
    socket: &'static str,
    config: &'static str,
    root: Option<&'static str>,
}

const fn layout(socket: &'static str, config: &'static str, root: Option<&'static str>) -> Layout {
    Layout { socket, config, root }
}

const K3S: &str = "/run/k3s/containerd/containerd.sock";

/// By socket, the first whose file is there.
const LAYOUTS: [Layout; 7] = [
    layout(K3S, "/var/lib/rancher/k3s/agent/etc/containerd/config.toml", Some("/var/lib/rancher/k3s/agent/containerd")),
    layout(
        K3S,
        "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
        Some("/var/lib/rancher/rke2/agent/containerd"),
    ),
    layout(
        "/var/snap/microk8s/common/run/containerd.sock",
        "/var/snap/microk8s/current/args/containerd.toml",
        Some("/var/snap/microk8s/common/var/lib/containerd"),
    ),
    layout("/run/k0s/containerd.sock", "/etc/k0s/containerd.toml", Some("/var/lib/k0s/containerd")),
    // Talos has a containerd of its own for the system, which /etc/containerd is for.
    layout(SOCKET, "/etc/cri/containerd.toml", None),
    layout(SOCKET, CONFIG, None),
    // Flatcar, where no file of the user's is there.
    layout(SOCKET, "/usr/share/containerd/config.toml", None),
];

/// The sockets of containerds that are known, the first first.
pub(super) fn sockets() -> Vec<&'static str> {
    let mut all = vec![SOCKET];
    all.extend(LAYOUTS.iter().map(|row| row.socket).filter(|socket| *socket != SOCKET));
    all.dedup();
    all
}

/// How a containerd is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Its main file.
    pub config: String,
    /// Does a flag name the file? Then containerd ends where it is missing.
    pub is_named: bool,
    /// Who says so.
    pub origin: Origin,
    /// The socket, as its flag or the default has it.
    pub socket: String,
    /// The folder of images and containers, if a flag names one.
    pub root: Option<(String, Origin)>,
}

impl Launch {
    /// How the containerd behind a socket is started: its process, else its unit, else the layout of the distribution.
    #[must_use]
    pub fn of(host: &dyn Host, socket: &str) -> Self {
        let started = processes(host).into_iter().chain(unit(host));
        let mut known = started.filter(|launch| launch.socket == socket);
        known.next().unwrap_or_else(|| Self::of_layout(host, socket))
    }

    fn of_layout(host: &dyn Host, socket: &str) -> Self {
        let mut rows = LAYOUTS.iter().filter(|row| row.socket == socket);
        let first = rows.clone().next().filter(|_| socket != SOCKET);
        let there = rows.find(|row| matches!(host.text(row.config), Fact::Known(_) | Fact::Unreadable(_))).or(first);
        let origin = Origin::Default("containerd".to_owned());
        Self {
            config: there.map_or(CONFIG, |row| row.config).to_owned(),
            is_named: false,
            root: there.and_then(|row| row.root).map(|root| (root.to_owned(), origin.clone())),
            origin,
            socket: socket.to_owned(),
        }
    }

    /// Reads the flags of a command line, the program first.
    fn parse(words: &[Word]) -> Option<Self> {
        let program = words.iter().position(|word| word.text.rsplit('/').next() == Some("containerd"))?;
        let (mut config, mut socket, mut root) = (None, None, None);
        let mut rest = words[program + 1..].iter();
        while let Some(word) = rest.next() {
            let Some(name) = word.text.strip_prefix('-') else { break };
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some((value.to_owned(), word.at.clone()))),
                None if matches!(name, "v" | "version" | "h" | "help") => (name, None),
                None => (name, rest.next().map(|next| (next.text.clone(), next.at.clone()))),
            };
            match name {
                "c" | "config" => config = value,
                "a" | "address" => socket = value,
                "root" => root = value,
                _ => {}
            }
        }
        let socket = socket.map_or_else(|| SOCKET.to_owned(), |(socket, _)| plain(&socket));
        let flag = |name: &str, at| Origin::Flag { flag: format!("--{name}"), at };
        let root = root.map(|(root, at)| (root, flag("root", at)));
        Some(match config {
            Some((config, at)) => Self { config, is_named: true, origin: flag("config", at), socket, root },
            None => {
                let origin = Origin::Default("containerd".to_owned());
                Self { config: CONFIG.to_owned(), is_named: false, origin, socket, root }
            }
        })
    }
}

/// A socket's path without its scheme, below /run rather than /var/run, which is a link to it.
#[must_use]
pub fn plain(socket: &str) -> String {
    let path = socket.strip_prefix("unix://").unwrap_or(socket);
    path.strip_prefix("/var/run/").map_or_else(|| path.to_owned(), |rest| format!("/run/{rest}"))
}

fn processes(host: &dyn Host) -> Vec<Launch> {
    let all: Vec<Process> = match host.value(&Query::Processes) {
        Fact::Known(value) => serde_json::from_value((*value).clone()).unwrap_or_default(),
        _ => Vec::new(),
    };
    let words = |process: &Process| -> Vec<Word> {
        process.command.split('\0').map(|text| Word { text: text.to_owned(), at: None }).collect()
    };
    let is_containerd = |process: &&Process| {
        let program = process.command.split('\0').next().unwrap_or_default();
        program.rsplit('/').next() == Some("containerd") && !process.sandboxed
    };
    // What dockerd starts has a file that dockerd writes, and no CRI.
    let is_docker = |launch: &Launch| launch.config.contains("/docker/containerd/");
    let own = all.iter().filter(is_containerd).filter_map(|process| Launch::parse(&words(process)));
    own.filter(|launch| !is_docker(launch)).collect()
}

fn unit(host: &dyn Host) -> Option<Launch> {
    // The environment of Flatcar's and MicroK8s' units names the file.
    let names = ["containerd.service", "snap.microk8s.daemon-containerd.service"];
    names.iter().find_map(|name| {
        let Fact::Known(unit) = systemd::unit(host, name) else { return None };
        let launch = Launch::parse(&unit.command(&unit.environment(host)))?;
        // A path with a specifier or a variable that is not known says nothing.
        (!launch.config.contains(['$', '%'])).then_some(launch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(command: &str) -> Launch {
        let words: Vec<_> = command.split(' ').map(|text| Word { text: text.to_owned(), at: None }).collect();
        Launch::parse(&words).unwrap()
    }

    #[test]
    fn flags_are_read_as_containerd_reads_them() {
        let of_k3s = launch(
            "containerd -c /var/lib/rancher/k3s/agent/etc/containerd/config.toml -a \
             /run/k3s/containerd/containerd.sock --state /run/k3s/containerd --root \
             /var/lib/rancher/k3s/agent/containerd",
        );
        assert_eq!(of_k3s.config, "/var/lib/rancher/k3s/agent/etc/containerd/config.toml");
        assert_eq!(of_k3s.socket, "/run/k3s/containerd/containerd.sock");
        assert_eq!(of_k3s.root.unwrap().0, "/var/lib/rancher/k3s/agent/containerd");
        let flatcar = launch("/usr/bin/env PATH=/usr/bin containerd --config=/usr/share/containerd/config.toml");
        assert_eq!((flatcar.config.as_str(), flatcar.is_named), ("/usr/share/containerd/config.toml", true));
        let plain = launch("/usr/bin/containerd");
        assert_eq!((plain.config.as_str(), plain.is_named, plain.socket.as_str()), (CONFIG, false, SOCKET));
        assert_eq!(launch("containerd -address unix:///var/run/x.sock").socket, "/run/x.sock");
    }
}
