//! The controls of the Pod Security Standards: which level, which versions, and what each verifies.

use super::pod::Pod;
use super::{Level, Violation, baseline, restricted};

/// A control: a check of admission's library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Control {
    /// AppArmor profiles.
    AppArmor,
    /// Added capabilities, by the baseline.
    CapabilitiesBaseline,
    /// The host's network, PID and IPC namespaces.
    HostNamespaces,
    /// Volumes of the host's files.
    HostPathVolumes,
    /// Ports of the host.
    HostPorts,
    /// Hosts of probes and lifecycle handlers.
    HostProbes,
    /// Privileged containers.
    Privileged,
    /// Masks of /proc, by the baseline.
    ProcMountBaseline,
    /// SELinux types, users and roles.
    SeLinux,
    /// Seccomp profiles, by the baseline.
    SeccompBaseline,
    /// Sysctls.
    Sysctls,
    /// Windows HostProcess containers.
    WindowsHostProcess,
    /// Privilege escalation.
    AllowPrivilegeEscalation,
    /// Capabilities, by the restricted level.
    CapabilitiesRestricted,
    /// Masks of /proc, by the restricted level.
    ProcMountRestricted,
    /// Types of volumes.
    RestrictedVolumes,
    /// Running as root.
    RunAsNonRoot,
    /// The user 0.
    RunAsUser,
    /// Seccomp profiles, by the restricted level.
    SeccompRestricted,
}

impl Control {
    /// All of them, in the order in which admission names them: the baseline's first, each by id.
    pub const ALL: [Self; 19] = [
        Self::AppArmor,
        Self::CapabilitiesBaseline,
        Self::HostNamespaces,
        Self::HostPathVolumes,
        Self::HostPorts,
        Self::HostProbes,
        Self::Privileged,
        Self::ProcMountBaseline,
        Self::SeLinux,
        Self::SeccompBaseline,
        Self::Sysctls,
        Self::WindowsHostProcess,
        Self::AllowPrivilegeEscalation,
        Self::CapabilitiesRestricted,
        Self::ProcMountRestricted,
        Self::RestrictedVolumes,
        Self::RunAsNonRoot,
        Self::RunAsUser,
        Self::SeccompRestricted,
    ];

    /// The id of the check in admission's library.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self {
            Self::AppArmor => "appArmorProfile",
            Self::CapabilitiesBaseline => "capabilities_baseline",
            Self::HostNamespaces => "hostNamespaces",
            Self::HostPathVolumes => "hostPathVolumes",
            Self::HostPorts => "hostPorts",
            Self::HostProbes => "hostProbesAndHostLifecycle",
            Self::Privileged => "privileged",
            Self::ProcMountBaseline => "procMount",
            Self::SeLinux => "seLinuxOptions",
            Self::SeccompBaseline => "seccompProfile_baseline",
            Self::Sysctls => "sysctls",
            Self::WindowsHostProcess => "windowsHostProcess",
            Self::AllowPrivilegeEscalation => "allowPrivilegeEscalation",
            Self::CapabilitiesRestricted => "capabilities_restricted",
            Self::ProcMountRestricted => "procMount_restricted",
            Self::RestrictedVolumes => "restrictedVolumes",
            Self::RunAsNonRoot => "runAsNonRoot",
            Self::RunAsUser => "runAsUser",
            Self::SeccompRestricted => "seccompProfile_restricted",
        }
    }

    /// The level that it belongs to.
    #[must_use]
    pub fn level(self) -> Level {
        if self < Self::AllowPrivilegeEscalation { Level::Baseline } else { Level::Restricted }
    }

    /// The first policy version that has it, as a minor version of 1.
    #[must_use]
    pub fn since(self) -> u32 {
        match self {
            Self::AllowPrivilegeEscalation => 8,
            Self::SeccompRestricted => 19,
            Self::CapabilitiesRestricted => 22,
            Self::RunAsUser => 23,
            Self::HostProbes => 34,
            Self::ProcMountRestricted => 35,
            _ => 0,
        }
    }

    /// The policy versions from which it verifies something else than before.
    #[must_use]
    pub fn revisions(self) -> &'static [u32] {
        match self {
            Self::ProcMountBaseline | Self::RunAsNonRoot => &[0, 35],
            Self::SeLinux => &[0, 31],
            Self::SeccompBaseline => &[0, 19],
            Self::Sysctls => &[0, 27, 29, 32, 37],
            Self::AllowPrivilegeEscalation => &[8, 25],
            Self::CapabilitiesRestricted => &[22, 25],
            Self::RunAsUser => &[23, 35],
            Self::SeccompRestricted => &[19, 25],
            Self::HostProbes => &[34],
            Self::ProcMountRestricted => &[35],
            _ => &[0],
        }
    }

    /// The control of the restricted level that takes the place of this one of the baseline.
    #[must_use]
    pub fn overridden_by(self) -> Option<Self> {
        match self {
            Self::CapabilitiesBaseline => Some(Self::CapabilitiesRestricted),
            Self::HostPathVolumes => Some(Self::RestrictedVolumes),
            Self::ProcMountBaseline => Some(Self::ProcMountRestricted),
            Self::SeccompBaseline => Some(Self::SeccompRestricted),
            _ => None,
        }
    }

    /// Does a level evaluate it, by the rules of 1.`minor`, in an API server 1.`server`?
    #[must_use]
    pub fn applies(self, level: Level, minor: u32, server: u32) -> bool {
        let overridden = || {
            // Kubernetes 1.23 says the same twice.
            let by = self.overridden_by().filter(|_| level == Level::Restricted && server >= 24);
            by.is_some_and(|by| by.since() <= minor)
        };
        self.level() <= level && self.since() <= minor && !overridden()
    }

    /// The control's judgment of a pod, by the rules of 1.`minor`, in an API server 1.`server`.
    #[must_use]
    pub(super) fn judge(self, pod: &Pod, minor: u32, server: u32) -> Option<Violation> {
        // From 1.25 on these ask nothing of pods for Windows, where the fields do not exist.
        let windows = minor >= 25 && pod.is_windows();
        // From 1.35 on these ask nothing of pods in a user namespace (KEP-127).
        let user_namespace = minor >= 35 && pod.is_in_user_namespace();
        let verdict = match self {
            Self::AppArmor if server < 30 => baseline::app_armor_annotations(pod),
            Self::AppArmor => baseline::app_armor(pod),
            Self::CapabilitiesBaseline => baseline::capabilities(pod),
            Self::HostNamespaces => baseline::host_namespaces(pod),
            Self::HostPathVolumes => baseline::host_path_volumes(pod),
            Self::HostPorts => baseline::host_ports(pod),
            Self::HostProbes => baseline::host_probes(pod),
            Self::Privileged => baseline::privileged(pod),
            Self::ProcMountBaseline if user_namespace => None,
            Self::ProcMountBaseline | Self::ProcMountRestricted => baseline::proc_mount(pod),
            Self::SeLinux => baseline::se_linux(pod, minor, server),
            Self::SeccompBaseline if minor < 19 => baseline::seccomp_annotations(pod),
            Self::SeccompBaseline => baseline::seccomp(pod),
            Self::Sysctls => baseline::sysctls(pod, minor),
            Self::WindowsHostProcess => baseline::windows_host_process(pod),
            Self::AllowPrivilegeEscalation | Self::CapabilitiesRestricted | Self::SeccompRestricted if windows => None,
            Self::AllowPrivilegeEscalation => restricted::allow_privilege_escalation(pod),
            Self::CapabilitiesRestricted => restricted::capabilities(pod),
            Self::SeccompRestricted => restricted::seccomp(pod),
            Self::RestrictedVolumes => restricted::volumes(pod, server),
            Self::RunAsNonRoot | Self::RunAsUser if user_namespace => None,
            Self::RunAsNonRoot => restricted::run_as_non_root(pod),
            Self::RunAsUser => restricted::run_as_user(pod),
        };
        verdict.map(|Verdict { reason, detail, offenses }| Violation { control: self, reason, detail, offenses })
    }
}

/// What a check says of a pod that it refuses.
pub(super) struct Verdict {
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) offenses: Vec<super::Offense>,
}

impl Verdict {
    pub(super) fn new(reason: &str, detail: String, offenses: Vec<super::Offense>) -> Self {
        Self { reason: reason.to_owned(), detail, offenses }
    }
}
