//! What each control claims, why, and how to satisfy it.

use seaworthy_objects::podsecurity::Control;
use seaworthy_reports::Severity;

use super::{Page, STANDARDS};

const fn page(
    id: &'static str,
    title: &'static str,
    aliases: &'static [&'static str],
    why: &'static str,
    how: &'static str,
    fix: &'static str,
) -> Page {
    Page {
        id,
        title,
        severity: Severity::High,
        labels: &["control"],
        aliases,
        why,
        how,
        fix,
        commands: &[],
        basis: STANDARDS,
    }
}

/// The controls, in the order in which admission names them.
pub(super) const CONTROLS: [(Control, Page); 19] = [
    (
        Control::AppArmor,
        page(
            "podsecurity.baseline.app-armor",
            "AppArmor profiles are the runtime's default or a local one",
            &["appArmorProfile", "restrict-apparmor-profiles"],
            "An unconfined container loses a layer that keeps it from the host's files and mounts.",
            "Evaluates, as admission of --kubernetes-version does: appArmorProfile.type of the pod and its containers, \
             and the annotations container.apparmor.security.beta.kubernetes.io/*.",
            "Remove the profile, or set appArmorProfile.type to RuntimeDefault or Localhost.",
        ),
    ),
    (
        Control::CapabilitiesBaseline,
        page(
            "podsecurity.baseline.capabilities",
            "Containers add no capability beyond the runtime's default ones",
            &["capabilities_baseline", "disallow-capabilities", "CIS 5.2.9"],
            "SYS_ADMIN, NET_RAW and others let a container take over its node or the traffic of its neighbors.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.capabilities.add of every \
             container.",
            "Remove the capability from securityContext.capabilities.add.",
        ),
    ),
    (
        Control::HostNamespaces,
        page(
            "podsecurity.baseline.host-namespaces",
            "Pods do not share the host's network, process or IPC namespace",
            &["hostNamespaces", "disallow-host-namespaces", "CIS 5.2.3", "CIS 5.2.4", "CIS 5.2.5"],
            "In the host's namespaces a container sees the node's processes and listens on its addresses.",
            "Evaluates, as admission of --kubernetes-version does: spec.hostNetwork, spec.hostPID and spec.hostIPC.",
            "Remove hostNetwork, hostPID and hostIPC. What needs them, such as a CNI plug-in, belongs in a privileged \
             namespace.",
        ),
    ),
    (
        Control::HostPathVolumes,
        page(
            "podsecurity.baseline.host-path-volumes",
            "Pods mount no paths of the host",
            &["hostPathVolumes", "disallow-host-path", "CIS 5.2.11"],
            "A path of the host gives access to the kubelet's credentials and to the files of other pods.",
            "Evaluates, as admission of --kubernetes-version does: spec.volumes[*].hostPath.",
            "Use a configMap, an emptyDir, a persistentVolumeClaim or a CSI volume.",
        ),
    ),
    (
        Control::HostPorts,
        page(
            "podsecurity.baseline.host-ports",
            "Containers use no ports of the host",
            &["hostPorts", "disallow-host-ports", "CIS 5.2.12"],
            "A port of the host bypasses network policies and keeps a second replica off the node.",
            "Evaluates, as admission of --kubernetes-version does: ports[*].hostPort of every container; in the host's \
             network each containerPort is one.",
            "Remove hostPort, and publish the port by a Service.",
        ),
    ),
    (
        Control::HostProbes,
        page(
            "podsecurity.baseline.host-probes",
            "Probes and lifecycle handlers ask the pod, not another host",
            &["hostProbesAndHostLifecycle"],
            "The kubelet would send requests into the network for whoever may create pods.",
            "Evaluates, as admission of --kubernetes-version does: httpGet.host and tcpSocket.host of probes and \
             lifecycle handlers, from v1.34 on.",
            "Remove host: the kubelet then asks the pod's own address.",
        ),
    ),
    (
        Control::Privileged,
        page(
            "podsecurity.baseline.privileged",
            "No container is privileged",
            &["privileged", "disallow-privileged-containers", "CIS 5.2.2"],
            "A privileged container is root on its node.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.privileged of every container.",
            "Remove privileged, and add the one capability that is needed.",
        ),
    ),
    (
        Control::ProcMountBaseline,
        page(
            "podsecurity.baseline.proc-mount",
            "/proc is masked as usual",
            &["procMount", "disallow-proc-mount"],
            "An unmasked /proc exposes kernel settings of the node.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.procMount of every container; from \
             v1.35 on not of pods with hostUsers: false.",
            "Remove procMount, or set hostUsers: false.",
        ),
    ),
    (
        Control::SeLinux,
        page(
            "podsecurity.baseline.se-linux",
            "SELinux options keep to the types for containers",
            &["seLinuxOptions", "disallow-selinux"],
            "Another type, user or role can take a container out of its confinement.",
            "Evaluates, as admission of --kubernetes-version does: seLinuxOptions.type, user and role of the pod and \
             its containers.",
            "Use container_t, container_init_t, container_kvm_t or, from v1.31 on, container_engine_t, and remove user \
             and role.",
        ),
    ),
    (
        Control::SeccompBaseline,
        page(
            "podsecurity.baseline.seccomp",
            "No seccomp profile is Unconfined",
            &["seccompProfile_baseline", "restrict-seccomp"],
            "Without a filter every system call of the kernel is open to the container.",
            "Evaluates, as admission of --kubernetes-version does: seccompProfile.type of the pod and its containers; \
             up to v1.18 the alpha annotations.",
            "Remove the profile, or set seccompProfile.type to RuntimeDefault or Localhost.",
        ),
    ),
    (
        Control::Sysctls,
        page(
            "podsecurity.baseline.sysctls",
            "Pods set safe sysctls only",
            &["sysctls", "restrict-sysctls"],
            "Other sysctls act on the whole node, or switch off its defenses.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.sysctls[*].name of the pod; the \
             list grows by version: 1.27, 1.29, 1.32, 1.37.",
            "Remove the sysctl, or pin a version that calls it safe.",
        ),
    ),
    (
        Control::WindowsHostProcess,
        page(
            "podsecurity.baseline.windows-host-process",
            "No Windows container is a HostProcess container",
            &["windowsHostProcess", "disallow-host-process", "CIS 5.2.10"],
            "A HostProcess container runs as a process of the Windows node.",
            "Evaluates, as admission of --kubernetes-version does: windowsOptions.hostProcess of the pod and its \
             containers.",
            "Remove hostProcess.",
        ),
    ),
    (
        Control::AllowPrivilegeEscalation,
        page(
            "podsecurity.restricted.privilege-escalation",
            "Containers forbid privilege escalation",
            &["allowPrivilegeEscalation", "disallow-privilege-escalation", "CIS 5.2.6"],
            "A set-user-ID program in the image could gain root.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.allowPrivilegeEscalation of every \
             container, from v1.8 on; from v1.25 on not of pods for Windows.",
            "Set securityContext.allowPrivilegeEscalation: false on each container.",
        ),
    ),
    (
        Control::CapabilitiesRestricted,
        page(
            "podsecurity.restricted.capabilities",
            "Containers drop all capabilities and add NET_BIND_SERVICE at most",
            &["capabilities_restricted", "disallow-capabilities-strict", "CIS 5.2.8"],
            "Each default capability is one more way from a container to its node.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.capabilities of every container, \
             from v1.22 on; from v1.25 on not of pods for Windows.",
            "Set securityContext.capabilities.drop: [\"ALL\"] on each container.",
        ),
    ),
    (
        Control::ProcMountRestricted,
        page(
            "podsecurity.restricted.proc-mount",
            "/proc is masked as usual, in user namespaces too",
            &["procMount_restricted"],
            "An unmasked /proc exposes kernel settings of the node.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.procMount of every container, from \
             v1.35 on; before, it is the baseline's claim.",
            "Remove procMount.",
        ),
    ),
    (
        Control::RestrictedVolumes,
        page(
            "podsecurity.restricted.volume-types",
            "Pods use volumes of the allowed types only",
            &["restrictedVolumes", "restrict-volume-types"],
            "Other types reach storage past the cluster's access control, or need drivers that are removed.",
            "Evaluates, as admission of --kubernetes-version does: the source of each of spec.volumes.",
            "Use configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected or secret.",
        ),
    ),
    (
        Control::RunAsNonRoot,
        page(
            "podsecurity.restricted.run-as-non-root",
            "Containers are required to run as a user other than root",
            &["runAsNonRoot", "require-run-as-nonroot", "CIS 5.2.7"],
            "Root in a container is root on the node as soon as anything lets it out.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.runAsNonRoot of the pod and its \
             containers; from v1.35 on not of pods with hostUsers: false.",
            "Set securityContext.runAsNonRoot: true for the pod, and build the image with a user.",
        ),
    ),
    (
        Control::RunAsUser,
        page(
            "podsecurity.restricted.run-as-user",
            "No user ID is 0",
            &["runAsUser", "require-run-as-non-root-user"],
            "The user 0 is root, whatever the image says.",
            "Evaluates, as admission of --kubernetes-version does: securityContext.runAsUser of the pod and its \
             containers, from v1.23 on; from v1.35 on not of pods with hostUsers: false.",
            "Set another runAsUser, or none.",
        ),
    ),
    (
        Control::SeccompRestricted,
        page(
            "podsecurity.restricted.seccomp",
            "A seccomp profile is set, and none is Unconfined",
            &["seccompProfile_restricted", "restrict-seccomp-strict"],
            "Without a profile the kubelet's default holds, which is Unconfined unless seccompDefault is set.",
            "Evaluates, as admission of --kubernetes-version does: seccompProfile.type of the pod and its containers, \
             from v1.19 on; from v1.25 on not of pods for Windows.",
            "Set securityContext.seccompProfile.type: RuntimeDefault for the pod.",
        ),
    ),
];
