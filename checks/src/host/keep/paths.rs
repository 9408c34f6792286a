//! Which keeper a file has, by its path. To gather another file is to add a line here; `checks/tests/keep.rs` finds
//! one that is missing.

use super::members::Members;
use super::{lines, rules, unit};

/// What is done to the content of a file before it is recorded.
#[derive(Clone, Copy)]
pub(super) enum Keeper {
    /// Text; what is not UTF-8 becomes U+FFFD, as for whoever reads it as text.
    Text(fn(&str) -> String),
    /// A file in YAML or JSON.
    Config(Members),
    /// A file in TOML.
    Toml(Members),
    /// A file of certificates or keys.
    Pem,
    /// A kernel's configuration, compressed.
    Compressed,
    /// Words separated by NUL.
    Command,
    /// Variables separated by NUL.
    Variables,
    /// Nothing of it.
    Nothing,
}

use Keeper::{Command, Compressed, Config, Nothing, Pem, Text, Toml, Variables};

/// Paths, and their keepers: the first that matches counts. `*` stands for anything within a name, `**` for any path.
const KEEPERS: &[(&[&str], Keeper)] = &[
    // What the kernel says.
    (&["/proc/config.gz"], Compressed),
    (&["/proc/cmdline"], Text(lines::parameters)),
    (&["/proc/*/cmdline"], Command),
    (&["/proc/*/environ"], Variables),
    (&["/proc/*/mounts", "/proc/mounts"], Text(lines::mounts)),
    (&["/proc/*/mountinfo"], Text(lines::mountinfo)),
    (
        &[
            "/proc/*/comm",
            "/proc/*/limits",
            "/proc/*/stat",
            "/proc/*/status",
            "/proc/*/cgroup",
            "/proc/*/oom_score_adj",
            "/proc/*/net/*",
            "/proc/*/uid_map",
            "/proc/*/gid_map",
        ],
        Text(lines::kernel),
    ),
    (
        &[
            "/proc/net/*",
            "/proc/sys/**",
            "/proc/pressure/*",
            "/proc/swaps",
            "/proc/modules",
            "/proc/cgroups",
            "/proc/stat",
            "/proc/meminfo",
            "/proc/cpuinfo",
            "/proc/version",
            "/proc/filesystems",
            "/proc/partitions",
            "/proc/uptime",
            "/proc/loadavg",
            "/proc/devices",
            "/proc/misc",
        ],
        Text(lines::kernel),
    ),
    (&["/sys/**"], Text(lines::kernel)),
    (
        &[
            "/boot/config-*",
            "/usr/src/*/.config",
            "/usr/lib/modules/*/config",
            "/lib/modules/*/config",
            "/lib/modules/*/build/.config",
            "/usr/lib/ostree-boot/config-*",
            "/usr/lib/kernel/config-*",
        ],
        Text(lines::kernel_config),
    ),
    (&["/lib/modules/*/modules.*", "/usr/lib/modules/*/modules.*"], Text(lines::modules)),
    // The system.
    (&["/etc/machine-id", "/var/lib/dbus/machine-id"], Text(lines::machine_id)),
    (&["/etc/hostname", "/etc/timezone"], Text(lines::word)),
    (&["/etc/os-release", "/usr/lib/os-release", "/etc/lsb-release", "/etc/initrd-release"], Text(lines::release)),
    (&["/etc/fstab"], Text(lines::mounts)),
    (&["/etc/hosts"], Text(lines::hosts)),
    (&["**/resolv.conf", "**/*resolv*.conf"], Text(lines::resolver)),
    (
        &[
            "/etc/sysctl.conf",
            "/etc/sysctl.d/*",
            "/run/sysctl.d/*",
            "/usr/lib/sysctl.d/*",
            "/lib/sysctl.d/*",
            "/usr/local/lib/sysctl.d/*",
        ],
        Text(lines::sysctl),
    ),
    (
        &[
            "/etc/modules",
            "/etc/modules-load.d/*",
            "/run/modules-load.d/*",
            "/usr/lib/modules-load.d/*",
            "/lib/modules-load.d/*",
        ],
        Text(lines::module_list),
    ),
    (&["/etc/netplan/*", "/run/netplan/*", "/lib/netplan/*"], Config(rules::NETPLAN)),
    (&["/etc/ufw/ufw.conf", "/etc/selinux/config"], Text(unit::unit)),
    (&["**/systemd/zram-generator.conf", "**/systemd/zram-generator.conf.d/*"], Text(unit::unit)),
    (
        &["/etc/environment", "/etc/environment.d/*", "/etc/default/*", "/etc/sysconfig/*", "/etc/conf.d/*"],
        Text(unit::arguments),
    ),
    // Units, wherever a distribution has them.
    (
        &[
            "**/*.service",
            "**/*.swap",
            "**/*.mount",
            "**/*.socket",
            "**/*.slice",
            "**/*.target",
            "**/*.timer",
            "**/*.service.d/*.conf",
            "**/*.d/*.conf.unit",
            "/etc/systemd/*.conf",
            "/etc/systemd/*.conf.d/*",
            "/usr/lib/systemd/*.conf.d/*",
        ],
        Text(unit::unit),
    ),
    // Certificates and keys.
    (&["**/*.crt", "**/*.cer", "**/*.pem", "**/*.key", "**/*.pub", "**/*.crl", "**/*.der", "**/*.csr"], Pem),
    // Runtimes.
    (
        &[
            "/etc/containerd/certs.d/**",
            "/etc/docker/certs.d/**",
            "/etc/containers/auth.json",
            "**/.docker/config.json",
            "/var/lib/kubelet/config.json",
        ],
        Nothing,
    ),
    (
        &[
            "/etc/containerd/**",
            "/usr/share/containerd/**",
            "/usr/local/etc/containerd/**",
            "**/containerd/**/*.toml",
            "**/containerd/*.toml",
            "**/containerd-template.toml",
            "**/config.toml",
            "**/args/*.toml",
            "/etc/cri/**",
            "/etc/k0s/*.toml",
            "/run/k0s/*.toml",
            "**/config-v3.toml.tmpl",
            "**/config.toml.tmpl",
        ],
        Toml(rules::CONTAINERD),
    ),
    (&["/etc/crio/**", "/usr/share/crio/**", "/usr/lib/crio/**", "/run/crio/**"], Toml(rules::CRIO)),
    (&["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"], Toml(rules::STORAGE)),
    (&["/etc/docker/daemon.json"], Config(rules::DOCKER)),
    (&["**/crictl.yaml"], Config(rules::CRICTL)),
    (&["**/cni/**", "**/cni-network/**", "**/net.d/**"], Config(rules::CNI)),
    // Kubernetes.
    (&["**/kubeadm-flags.env", "**/*.env", "**/*-env", "**/environment", "**/args/*"], Text(unit::arguments)),
    (&["**/meta/snap.yaml"], Config(rules::SNAP)),
    (&["/etc/rancher/**/*.yaml", "/etc/rancher/**/*.yaml.d/*", "/etc/k0s/**"], Config(rules::K3S)),
    (
        &[
            "/var/lib/kubelet/config.yaml",
            "**/kubelet*.yaml",
            "**/kubelet*.json",
            "**/kubelet/**",
            "**/kubelet.conf.d/*",
            "**/kubelet*.d/*",
            "/var/lib/rancher/**/kubelet.conf.d/*",
        ],
        Config(rules::KUBELET),
    ),
    (&["**/kubeadm*.yaml", "**/kubeadm*.yml", "**/kubeadm*.conf"], Config(rules::KUBEADM)),
    (&["**/manifests/*", "**/pod-manifests/*", "**/static-pods/*", "**/static-pod-resources/**"], Config(rules::POD)),
    (&["**/etcd*.yaml", "**/etcd*.yml", "**/etcd.conf", "**/etcd*.conf.yml", "**/etcd/config*"], Config(rules::ETCD)),
    (
        &["**/*.kubeconfig", "**/kubeconfig", "/etc/kubernetes/*.conf", "**/kubeconfig*", "**/.kube/*"],
        Config(rules::KUBECONFIG),
    ),
];

/// The keeper of a path.
pub(super) fn keeper(path: &str) -> Option<Keeper> {
    KEEPERS
        .iter()
        .find(|(patterns, _)| patterns.iter().any(|pattern| glob(pattern.as_bytes(), path.as_bytes())))
        .map(|row| row.1)
}

/// The keeper of a file that none is listed for: by what it seems to be, and by what all that is listed has in common.
pub(super) fn guess(path: &str, bytes: &[u8]) -> Keeper {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(64 << 10)]);
    let begins = |marks: &[&str]| head.lines().any(|line| marks.iter().any(|mark| line.trim_start().starts_with(mark)));
    let assigns = |mark: char| {
        head.lines().any(|line| line.split_once(mark).is_some_and(|(name, _)| super::members::is_name(name.trim())))
    };
    match path.rsplit('.').next().unwrap_or_default() {
        _ if begins(&["-----BEGIN "]) && !begins(&["kind:", "apiVersion:"]) => Pem,
        _ if begins(&["[Unit]", "[Service]", "[Install]", "[Mount]", "[Swap]"]) => Text(unit::unit),
        // containerd imports files from anywhere.
        "toml" => Toml(rules::CONTAINERD),
        _ if head.contains("\"cniVersion\"") => Config(rules::CNI),
        "yaml" | "yml" | "json" => Config(Members::NONE),
        _ if head.trim_start().starts_with('{') || begins(&["kind:", "apiVersion:", "---"]) => Config(Members::NONE),
        _ if begins(&["nameserver "]) => Text(lines::resolver),
        _ if begins(&["["]) && assigns('=') => Toml(Members::NONE),
        _ if assigns('=') || begins(&["--"]) => Text(unit::arguments),
        _ if assigns(':') => Config(Members::NONE),
        _ => Nothing,
    }
}

fn glob(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => {
            // `**/` stands for no folder, too.
            let rest = if path.first() == Some(&b'/') { rest } else { rest.strip_prefix(b"/").unwrap_or(rest) };
            (0..=path.len()).any(|at| glob(rest, &path[at..]))
        }
        [b'*', rest @ ..] => {
            let name = path.iter().take_while(|byte| **byte != b'/').count();
            (0..=name).any(|at| glob(rest, &path[at..]))
        }
        [first, rest @ ..] => path.first() == Some(first) && glob(rest, &path[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_names_and_paths() {
        for (pattern, path, yes) in [
            ("/proc/*/comm", "/proc/17/comm", true),
            ("/proc/*/comm", "/proc/17/task/comm", false),
            ("/sys/**", "/sys/a/b/c", true),
            ("**/*.service", "/usr/lib/systemd/system/kubelet.service", true),
            ("**/cni/**", "/etc/cni/net.d/10-x.conflist", true),
            ("**/kubelet*.yaml", "/etc/kubelet-config.yaml", true),
            ("/etc/default/*", "/etc/default/kubelet", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), path.as_bytes()), yes, "{pattern} {path}");
        }
    }
}
