//! The cgroup driver of a runtime: what it tells the kubelet, else what it is configured with.

use std::fmt;

use super::{Facts, Socket};
use crate::effective::Origin;
use crate::effective::docker::Docker;
use crate::fact::Fact;
use crate::host::{FileKind, Host};
use crate::node::cgroup;
use crate::profile::Runtime;

/// Who makes cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CgroupDriver {
    /// systemd, asked for slices and scopes.
    Systemd,
    /// The program itself, in the file system of cgroups.
    Cgroupfs,
}

impl CgroupDriver {
    /// The name as configurations have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Cgroupfs => "cgroupfs",
        }
    }

    /// The driver of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Systemd, Self::Cgroupfs].into_iter().find(|driver| driver.name() == name)
    }

    fn of(systemd: bool) -> Self {
        if systemd { Self::Systemd } else { Self::Cgroupfs }
    }
}

impl fmt::Display for CgroupDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What decides where no configuration does.
#[derive(Debug)]
pub(super) struct Surroundings {
    systemd: Fact<bool>,
    mode: Fact<bool>,
    docker: Docker,
}

impl Surroundings {
    pub(super) fn read(host: &dyn Host) -> Self {
        let systemd = match host.stat("/run/systemd/system") {
            Fact::Known(stat) => Fact::Known(stat.kind == FileKind::Directory),
            Fact::Absent(_) => Fact::Known(false),
            other => other.map(|_| false),
        };
        let mode = cgroup::Facts::read(host).mode.map(|mode| mode.version() == 2);
        Self { systemd, mode, docker: Docker::read(host) }
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }
}

/// The driver of the runtime behind a socket, and who says so.
pub(super) fn of(facts: &Facts, socket: &Socket) -> Fact<(CgroupDriver, Origin)> {
    let told = socket.config.known().and_then(|config| config.get("cgroupDriver")?.as_str());
    if let Some(driver) = told.and_then(CgroupDriver::named) {
        return Fact::Known((driver, Origin::Answer(format!("RuntimeConfig of {}", socket.path))));
    }
    match socket.runtime {
        Runtime::Containerd => facts.containerd.clone().and_then(|it| match (&it.broken, it.systemd_cgroup()) {
            (Some(broken), _) => Fact::Malformed(format!("containerd does not start with its configuration: {broken}")),
            _ if !socket.answers() && it.cri_disabled().is_some() => {
                Fact::Malformed("containerd's CRI plug-in is disabled".to_owned())
            }
            (None, Some((systemd, origin))) => Fact::Known((CgroupDriver::of(systemd), origin)),
            (None, None) => facts.surroundings.systemd.clone().map(|systemd| {
                let origin = Origin::Default(format!("containerd {}, which looks for systemd", it.release));
                (CgroupDriver::of(systemd), origin)
            }),
        }),
        Runtime::Crio => facts.crio.clone().and_then(|it| {
            let (name, origin) = it.cgroup_manager();
            match CgroupDriver::named(name) {
                Some(driver) => Fact::Known((driver, origin)),
                None => Fact::Malformed(format!("CRI-O's cgroup_manager is {name} ({origin})")),
            }
        }),
        Runtime::Docker => docker(&facts.surroundings),
    }
}

fn docker(around: &Surroundings) -> Fact<(CgroupDriver, Origin)> {
    let malformed = |why: &String| Fact::Malformed(why.clone());
    match (around.docker.cgroup_driver(), &around.docker.daemon) {
        (_, Fact::Malformed(why)) => malformed(why),
        (Some((name, origin)), _) => match CgroupDriver::named(&name) {
            Some(driver) => Fact::Known((driver, origin)),
            None => Fact::Malformed(format!("native.cgroupdriver is {name} ({origin})")),
        },
        (None, Fact::Known(_) | Fact::Absent(_)) => around.mode.clone().and_then(|unified| {
            // 20.10 and later choose systemd with cgroup v2 where systemd runs.
            let origin = Origin::Default("Docker Engine".to_owned());
            let systemd = around.systemd.clone();
            systemd.map(|systemd| (CgroupDriver::of(systemd && unified), origin))
        }),
        (None, other) => other.clone().map(|_| (CgroupDriver::Cgroupfs, Origin::Default(String::new()))),
    }
}
