//! Files of lines: tables of mounts, names and addresses, what systems say of themselves.

use std::net::IpAddr;
use std::sync::LazyLock;

use regex::Regex;

use super::members::is_name;
use super::scrub::{MARK, compile, scrub};

/// Applies a function to each line, its ending left where it is.
pub(super) fn per_line(text: &str, keep: impl Fn(&str) -> String) -> String {
    let mut kept = String::with_capacity(text.len());
    for piece in text.split_inclusive('\n') {
        let body = piece.trim_end_matches(['\n', '\r']);
        if !body.trim().is_empty() {
            kept += &keep(body);
        }
        kept += &piece[body.len()..];
    }
    kept
}

/// Applies a function to each word of a line, with its number; blanks stay.
fn per_word(text: &str, mut keep: impl FnMut(usize, &str) -> String) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut number = 0;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        if !word.is_empty() {
            kept += &keep(number, word);
            number += 1;
        }
        kept += &piece[word.len()..];
    }
    kept
}

/// What the kernel writes of its own state, in which no user's text stands.
pub(super) fn kernel(text: &str) -> String {
    scrub(text).into_owned()
}

/// Options of mounts that stay, with their values.
const OPTIONS: &[&str] = &[
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "defaults",
    "sync",
    "async",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "lazytime",
    "nolazytime",
    "nofail",
    "_netdev",
    "sw",
    "swap",
    "pri",
    "discard",
    "bind",
    "rbind",
    "shared",
    "private",
    "slave",
    "unbindable",
    "remount",
    "hidepid",
    "gid",
    "uid",
    "mode",
    "size",
    "nr_inodes",
    "inode64",
    "huge",
    "seclabel",
    "errors",
    "data",
    "barrier",
    "nobarrier",
    "quota",
    "noquota",
    "usrquota",
    "grpquota",
    "prjquota",
    "pquota",
    "uquota",
    "gquota",
    "attr2",
    "logbufs",
    "logbsize",
    "sunit",
    "swidth",
    "subvol",
    "subvolid",
    "compress",
    "space_cache",
    "ssd",
    "xattr",
    "acl",
    "noacl",
    "name",
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "io",
    "pids",
    "rdma",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "misc",
    "dmem",
    "nsdelegate",
    "memory_recursiveprot",
    "memory_hugetlb_accounting",
    "favordynmods",
    "release_agent",
    "clone_children",
    "fd",
    "pgrp",
    "timeout",
    "minproto",
    "maxproto",
    "direct",
    "max_read",
    "blksize",
    "newinstance",
    "ptmxmode",
    "x-systemd.automount",
    "x-systemd.device-timeout",
    "x-systemd.mount-timeout",
    "x-systemd.growfs",
    "x-systemd.makefs",
    "x-systemd.requires",
    "x-systemd.after",
    "x-systemd.before",
    "x-initrd.mount",
    "idmapped",
    "index",
    "metacopy",
    "redirect_dir",
    "nfs_export",
    "volatile",
    "xino",
    "userxattr",
    "propagate_from",
    "master",
    "lowerdir",
    "upperdir",
    "workdir",
];

/// Options of a mount: those that are listed; of others the names go too, since one without a value may be one.
pub(super) fn options(text: &str) -> String {
    let option = |one: &str| {
        let (name, value) = one.split_once('=').map_or((one, None), |(name, value)| (name, Some(value)));
        match value {
            _ if !OPTIONS.contains(&name) => match value {
                Some(_) if is_name(name) && !name.contains([' ', '/', ':', '@']) => {
                    format!("{name}={MARK}")
                }
                _ => MARK.to_owned(),
            },
            // Where layers of images are says nothing, and takes much room.
            Some(_) if matches!(name, "lowerdir" | "upperdir" | "workdir") => format!("{name}={MARK}"),
            _ => scrub(one).into_owned(),
        }
    };
    text.split(',').map(option).collect::<Vec<_>>().join(",")
}

/// A device or another source of a mount.
fn source(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let labels = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="];
    let label = labels.iter().find_map(|label| text.strip_prefix(label));
    let known = label.is_some_and(|label| label.chars().all(|c| plain(c) || "\"' \\/".contains(c)));
    // A device, or a file that is swapped to, lies anywhere; what begins with two is of another host.
    let local = text.starts_with('/') && !text.starts_with("//");
    let local = local && text.chars().all(|c| plain(c) || "/\\:+".contains(c));
    if known || local || text.chars().all(plain) { scrub(text).into_owned() } else { MARK.to_owned() }
}

/// Is a word the type of a file system, such as `fuse.sshfs`?
fn is_type(word: &str) -> bool {
    word.len() <= 32
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-,".contains(&byte))
}

/// An optional field of mountinfo: `shared:7`.
fn options_tag(word: &str) -> String {
    let known = ["shared", "master", "propagate_from", "unbindable"];
    if known.contains(&word.split(':').next().unwrap_or_default()) { word.to_owned() } else { MARK.to_owned() }
}

/// /etc/fstab and /proc/PID/mounts: device, folder, type, options, two numbers.
pub(super) fn mounts(text: &str) -> String {
    per_line(text, |line| {
        if line.trim_start().starts_with('#') {
            return "#".to_owned();
        }
        let mut fields = line.split_whitespace().skip(1);
        let point = fields.next().is_some_and(|point| point.starts_with('/') || matches!(point, "none" | "swap"));
        if !point || fields.next().is_none() {
            return MARK.to_owned();
        }
        per_word(line, |number, word| match number {
            0 => source(word),
            1 if word.starts_with('/') || matches!(word, "none" | "swap") => scrub(word).into_owned(),
            2 if is_type(word) => word.to_owned(),
            3 => options(word),
            4 | 5 if word.bytes().all(|byte| byte.is_ascii_digit()) => word.to_owned(),
            _ => MARK.to_owned(),
        })
    })
}

/// /proc/PID/mountinfo: ids, device, root, folder, options, optional fields, a dash, type, source, options.
pub(super) fn mountinfo(text: &str) -> String {
    per_line(text, |line| {
        let mut behind = None;
        per_word(line, |number, word| {
            if behind.is_none() && number > 5 && word == "-" {
                behind = Some(number);
                return word.to_owned();
            }
            let number_of = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
            match behind.map(|dash| number - dash) {
                None if number < 3 && number_of(word) => word.to_owned(),
                None if matches!(number, 3 | 4) && (word.starts_with('/') || word.contains(":[")) => {
                    scrub(word).into_owned()
                }
                None if number == 5 => options(word),
                None if number > 5 && word.split(':').next_back().is_some_and(number_of) => options_tag(word),
                Some(1) if is_type(word) => word.to_owned(),
                Some(2) => source(word),
                Some(3) => options(word),
                _ => MARK.to_owned(),
            }
        })
    })
}

/// /etc/hosts: addresses and names.
pub(super) fn hosts(text: &str) -> String {
    let name = |word: &str| word.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) && word.len() <= 253;
    per_line(text, |line| {
        let (body, comment) = line.split_once('#').map_or((line, ""), |(body, _)| (body, "#"));
        let address = body.split_whitespace().next().and_then(|word| word.split('%').next());
        if address.is_some_and(|address| address.parse::<IpAddr>().is_err()) {
            return format!("{MARK}{comment}");
        }
        let kept = per_word(body, |number, word| match number {
            0 => word.to_owned(),
            _ if name(word) => scrub(word).into_owned(),
            _ => MARK.to_owned(),
        });
        format!("{kept}{comment}")
    })
}

/// /etc/resolv.conf: name servers, search domains, options.
pub(super) fn resolver(text: &str) -> String {
    per_line(text, |line| {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver" | "search" | "domain" | "options" | "sortlist") => {
                let plain = |c: char| c.is_alphanumeric() || ".:%_-/".contains(c);
                let mut comment = false;
                per_word(line, |_, word| {
                    comment |= word.starts_with(['#', ';']);
                    match word {
                        _ if comment => "#".to_owned(),
                        _ if word.chars().all(plain) => scrub(word).into_owned(),
                        _ => MARK.to_owned(),
                    }
                })
            }
            Some(word) if word.starts_with(['#', ';']) => "#".to_owned(),
            _ => MARK.to_owned(),
        }
    })
}

/// Members of /etc/os-release that stay.
const RELEASE: &[&str] = &[
    "NAME",
    "PRETTY_NAME",
    "ID",
    "ID_LIKE",
    "VERSION",
    "VERSION_ID",
    "VERSION_CODENAME",
    "VARIANT",
    "VARIANT_ID",
    "BUILD_ID",
    "IMAGE_ID",
    "IMAGE_VERSION",
    "PLATFORM_ID",
    "CPE_NAME",
    "UBUNTU_CODENAME",
    "FLATCAR_BOARD",
    "COREOS_BOARD",
    "OSTREE_VERSION",
];

/// /etc/os-release.
pub(super) fn release(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "\"' ._-/():;+,~!&".contains(c);
    per_line(text, |line| match line.split_once('=') {
        _ if line.trim_start().starts_with('#') => "#".to_owned(),
        Some((name, value)) if RELEASE.contains(&name) && value.chars().all(plain) => scrub(line).into_owned(),
        Some((name, _)) if is_name(name) && !name.contains([' ', '/', ':', '@']) => {
            format!("{name}={MARK}")
        }
        _ => MARK.to_owned(),
    })
}

/// A kernel's configuration: options that are y, m or a number; texts, which name keys and command lines, go.
pub(super) fn kernel_config(text: &str) -> String {
    static OPTION: LazyLock<Regex> =
        LazyLock::new(|| compile(r"^CONFIG_[A-Za-z0-9_]+=(?:y|m|n|-?[0-9]+|0x[0-9a-fA-F]+)$"));
    static UNSET: LazyLock<Regex> = LazyLock::new(|| compile(r"^# CONFIG_[A-Za-z0-9_]+ is not set$"));
    per_line(text, |line| match line.split_once('=') {
        _ if OPTION.is_match(line.trim()) || UNSET.is_match(line.trim()) => line.to_owned(),
        _ if line.trim_start().starts_with('#') => "#".to_owned(),
        Some((name, "\"\"")) if name.starts_with("CONFIG_") => line.to_owned(),
        Some((name, _)) if name.starts_with("CONFIG_") && is_name(name) && !name.contains(' ') => {
            format!("{name}=\"{MARK}\"")
        }
        _ => "#".to_owned(),
    })
}

/// Parameters of the kernel's command line that stay with their values.
const PARAMETERS: &[&str] = &[
    "cgroup_enable",
    "cgroup_disable",
    "cgroup_no_v1",
    "cgroup_memory",
    "systemd.unified_cgroup_hierarchy",
    "systemd.legacy_systemd_cgroup_controller",
    "swapaccount",
    "apparmor",
    "selinux",
    "enforcing",
    "security",
    "lsm",
    "quiet",
    "splash",
    "ro",
    "rw",
    "nomodeset",
    "systemd.swap",
    "fips",
    "mitigations",
    "hugepages",
    "hugepagesz",
    "default_hugepagesz",
    "transparent_hugepage",
    "psi",
    "ipv6.disable",
    "audit",
    "user_namespace.enable",
    "namespace.unpriv_enable",
];

/// /proc/cmdline.
pub(super) fn parameters(text: &str) -> String {
    per_line(text, |line| {
        per_word(line, |_, word| {
            let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
            let known = PARAMETERS.contains(&name);
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            match value {
                _ if known => scrub(word).into_owned(),
                Some(_) if name.chars().all(plain) && is_name(name) => format!("{name}={MARK}"),
                _ => MARK.to_owned(),
            }
        })
    })
}

/// One word: a name, an id, a number.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "._:/-()[]".contains(c);
    let short = text.trim().len() <= 253 && !text.trim().contains('\n');
    per_line(
        text,
        |line| if short && line.trim().chars().all(plain) { scrub(line).into_owned() } else { MARK.to_owned() },
    )
}

/// /etc/machine-id: 32 hexadecimal digits, or `uninitialized` (machine-id(5)).
pub(super) fn machine_id(text: &str) -> String {
    let is = |line: &str| {
        line == "uninitialized" || (line.len() <= 36 && line.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
    };
    per_line(text, |line| if is(line.trim()) { line.to_owned() } else { MARK.to_owned() })
}

/// modules.builtin, modules.dep and the like: paths of modules.
pub(super) fn modules(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./-+,: ".contains(c);
    let is = |line: &str| line.contains(".ko") && line.chars().all(plain);
    per_line(text, |line| if is(line) { line.to_owned() } else { "#".to_owned() })
}

/// Settings of the kernel in /etc/sysctl.d: names, which have dots or slashes, and values that are numbers.
pub(super) fn sysctl(text: &str) -> String {
    // A pattern names several keys, a dash in front lets the assignment fail.
    let is_key = |key: &str| {
        let of_key = |c: char| c.is_ascii_alphanumeric() || "._/-*?[]!".contains(c);
        let plain = key.replace(['*', '?', '[', ']', '!'], "");
        key.contains(['.', '/']) && key.chars().all(of_key) && is_name(&plain)
    };
    let number = |text: &str| text.split_whitespace().all(|word| word.parse::<i64>().is_ok());
    per_line(text, |line| match line.split_once('=') {
        _ if line.trim_start().starts_with(['#', ';']) => "#".to_owned(),
        Some((key, said)) if is_key(key.trim()) && number(said) => line.to_owned(),
        Some((key, _)) if is_key(key.trim()) => format!("{key}= {MARK}"),
        // No assignment: a key that patterns leave out.
        None if line.trim_start().starts_with('-') && is_key(line.trim()) => line.to_owned(),
        _ => MARK.to_owned(),
    })
}

/// Names of modules to load, one a line.
pub(super) fn module_list(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    per_line(text, |line| {
        if line.trim_start().starts_with(['#', ';']) {
            "#".to_owned()
        } else if line.trim().chars().all(plain) {
            line.to_owned()
        } else {
            MARK.to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_keep_what_is_no_secret() {
        let text = "# s3cret\nUUID=1-2 / ext4 defaults,errors=remount-ro 0 1\n\
            /swap\\040file none swap sw,pri=5,noauto 0 0\n\
                    //s/x /mnt cifs credentials=/root/s3cret,password=s3cret,s3cret,vers=3 0 0\n\
                        u:s3cret@h:/ /m fuse.sshfs ro 0 0 s3cret\n";
        let kept = "#\nUUID=1-2 / ext4 defaults,errors=remount-ro 0 1\n/swap\\040file none swap sw,pri=5,noauto 0 0\n\
                    [redacted] /mnt cifs credentials=[redacted],password=[redacted],[redacted],vers=[redacted] 0 0\n\
                        [redacted] /m fuse.sshfs ro 0 0 [redacted]\n";
        assert_eq!(mounts(text), kept);
        let info = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
            30 24 0:5 / /o rw - overlay overlay rw,lowerdir=/a:/b,password=s3cret\n";
        let kept = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
            30 24 0:5 / /o rw - overlay overlay rw,lowerdir=[redacted],password=[redacted]\n";
        assert_eq!(mountinfo(info), kept);
    }

    #[test]
    fn names_and_addresses_stay() {
        assert_eq!(hosts("10.0.0.1 a b.c # s3cret\ns3cret x\n"), "10.0.0.1 a b.c #\n[redacted]\n");
        let text = "; s3cret\nnameserver 127.0.0.53 # s3cret\nsearch a.b\noptions ndots:5\ns3cret\n";
        assert_eq!(resolver(text), "#\nnameserver 127.0.0.53 # #\nsearch a.b\noptions ndots:5\n[redacted]\n");
        assert_eq!(
            release("ID=debian\nSECRET=\"x\"\nPRETTY_NAME=\"Debian 12\"\n"),
            "ID=debian\nSECRET=[redacted]\nPRETTY_NAME=\"Debian 12\"\n"
        );
        let config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_CMDLINE=\"pw=s3cret\"\n# s3cret\n";
        assert_eq!(kernel_config(config), "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_CMDLINE=\"[redacted]\"\n#\n");
        assert_eq!(
            parameters("BOOT=x swapaccount=1 s3cret quiet\n"),
            "BOOT=[redacted] swapaccount=1 [redacted] quiet\n"
        );
    }
}
