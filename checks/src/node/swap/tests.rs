//! What turns swap on, by every source of it.

use super::*;
use crate::construct::{Edit, apply, dir, no_dir, no_stat, refuses, said, stat};
use crate::host::{FileKind, Query, RefusalKind, Transcript};
use crate::profile::Profile;
use crate::{Conclusion, Verdict};

/// A node of systemd without swap, and the places that are looked at.
fn node(edits: &[Edit]) -> Transcript {
    let mut transcript = Transcript::default();
    let folders = [
        "/etc/systemd/system.control",
        "/run/systemd/transient",
        "/run/systemd/generator.early",
        "/etc/systemd/system.attached",
        "/run/systemd/system",
        "/run/systemd/generator",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
        "/run/systemd/generator.late",
    ];
    apply(&mut transcript, &folders.map(no_dir)).unwrap();
    let rest = [
        dir("/etc/systemd/system", &[]),
        file(SWAPS, "Filename Type\n"),
        gone(FSTAB),
        no_stat(GENERATOR),
        stat("/proc/version", FileKind::File, 0o444, 0, 0),
    ];
    apply(&mut transcript, &rest).unwrap();
    apply(&mut transcript, edits).unwrap();
    transcript
}

fn judge(id: &str, edits: &[Edit]) -> Conclusion {
    let transcript = node(edits);
    let facts = crate::node::Facts::read(&transcript);
    let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
    let check = checks().into_iter().find(|check| check.id == id).unwrap();
    check.judge(&crate::node::View::alone(&facts, &profile))
}

/// Devices with their places, of the claim on the next boot.
fn at_boot(edits: &[Edit]) -> Vec<String> {
    places(judge("node.machine.swap-at-boot", edits).verdict)
}

fn places(verdict: Verdict) -> Vec<String> {
    let place = |breach: &Breach| {
        let at = breach.at.clone().unwrap();
        format!("{} {}:{}", breach.subject, at.path, at.line.unwrap_or(0))
    };
    match verdict {
        Verdict::Holds => Vec::new(),
        Verdict::Breached(breaches) => breaches.iter().map(place).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_in_use_is_located_at_its_own_line() {
    let swaps = "Filename Type\n/dev/dm-1 partition 1 0 -2\n/mnt/a\\040b file 1 0 -3\n";
    let fstab = "/dev/vda3 none swap sw 0 0\n";
    let verdict = judge("node.machine.swap", &[file(SWAPS, swaps), file(FSTAB, fstab)]).verdict;
    assert_eq!(places(verdict), ["/dev/dm-1 /proc/swaps:2", "/mnt/a b /proc/swaps:3"]);
}

#[test]
fn a_kernel_without_swap_has_none_and_a_root_without_proc_is_not_known() {
    assert_eq!(judge("node.machine.swap", &[gone(SWAPS)]).verdict, Verdict::Holds);
    let offline = judge("node.machine.swap", &[gone(SWAPS), no_stat("/proc/version")]).verdict;
    assert!(matches!(offline, Verdict::Undetermined(_)), "{offline:?}");
}

#[test]
fn lines_of_fstab_count_by_their_type_and_options() {
    let text = "# /dev/a none swap sw 0 0\n#/dev/b none swap sw 0 0\n/dev/c none swap sw,noauto 0 0\n\
        /dev/d none swap nofail,pri=10 0 0\n/var/swap\\040file swap swap defaults\nUUID=1 / ext4 defaults 0 1\n\
        tmpfs /swap tmpfs defaults 0 0\n/dev/e none swap\n";
    let wanted = ["/dev/d /etc/fstab:4", "/var/swap file /etc/fstab:5", "/dev/e /etc/fstab:8"];
    assert_eq!(at_boot(&[file(FSTAB, text)]), wanted);
    assert!(at_boot(&[file(FSTAB, "\0\0 \u{fffd}")]).is_empty());
}

#[test]
fn a_swap_file_that_is_gone_or_a_masked_unit_is_not_turned_on() {
    let line = [file(FSTAB, "/swapfile none swap sw 0 0\n")];
    assert_eq!(at_boot(&line).len(), 1);
    assert!(at_boot(&[line.clone().to_vec(), vec![no_stat("/swapfile")]].concat()).is_empty());
    for unit in ["swapfile.swap", "swap.target"] {
        let mask = [
            dir("/etc/systemd/system", &[&format!("{unit}@")]),
            said(Query::Link { path: format!("/etc/systemd/system/{unit}") }, "/dev/null"),
        ];
        assert!(at_boot(&[&line[..], &mask[..]].concat()).is_empty(), "{unit}");
    }
    assert_eq!(unit_of("UUID=\"8c4d-1\""), r"dev-disk-by\x2duuid-8c4d\x2d1.swap");
}

#[test]
fn units_count_where_something_starts_them() {
    let unit =
        file("/etc/systemd/system/dev-vdb.swap", "[Unit]\nDescription=x\n[Swap]\n# What=/dev/vdx\nWhat=/dev/vdb\n");
    let alone = [unit.clone(), dir("/etc/systemd/system", &["dev-vdb.swap"])];
    assert!(at_boot(&alone).is_empty());
    let enabled = [
        unit,
        dir("/etc/systemd/system", &["dev-vdb.swap", "swap.target.wants/"]),
        dir("/etc/systemd/system/swap.target.wants", &["dev-vdb.swap@"]),
    ];
    assert_eq!(at_boot(&enabled), ["/dev/vdb /etc/systemd/system/dev-vdb.swap:5"]);
}

#[test]
fn of_generated_units_those_count_whose_source_is_not_read() {
    let generated = |text: &str| {
        at_boot(&[
            dir("/run/systemd/generator.late", &["dev-vda3.swap", "swap.target.wants/"]),
            dir("/run/systemd/generator.late/swap.target.wants", &["dev-vda3.swap@"]),
            file("/run/systemd/generator.late/dev-vda3.swap", text),
        ])
    };
    assert!(generated("[Unit]\nSourcePath=/etc/fstab\n[Swap]\nWhat=/dev/vda3\n").is_empty());
    assert!(generated("[Unit]\nRequires=systemd-zram-setup@zram0.service\n[Swap]\nWhat=/dev/zram0\n").is_empty());
    let by_gpt = "# Automatically generated by systemd-gpt-auto-generator\n[Swap]\nWhat=/dev/vda3\n";
    assert_eq!(generated(by_gpt), ["/dev/vda3 /run/systemd/generator.late/dev-vda3.swap:3"]);
}

#[test]
fn zram_counts_where_its_generator_is_installed() {
    let config = |path: &str, text: &str| [stat(path, FileKind::File, 0o644, 0, 0), file(path, text)];
    let installed = || stat(GENERATOR, FileKind::File, 0o755, 0, 0);
    let (vendor, own) = ("/usr/lib/systemd/zram-generator.conf", "/etc/systemd/zram-generator.conf");
    let defaults = config(vendor, "# Fedora\n[zram0]\nzram-size = min(ram, 8192)\n").to_vec();
    assert!(at_boot(&defaults).is_empty(), "no generator, no swap");
    assert_eq!(at_boot(&[defaults.clone(), vec![installed()]].concat()), [format!("/dev/zram0 {vendor}:2")]);
    for (text, wanted) in [
        ("", vec![]),
        ("[zram0]\nmount-point = /var/tmp\n", vec![]),
        ("[zram0]\nzram-size = 0\n", vec![]),
        ("[zram0]\nfs-type = ext2\n[zram1]\n", vec![format!("/dev/zram1 {own}:3")]),
    ] {
        let edits = [defaults.clone(), config(own, text).to_vec(), vec![installed()]].concat();
        assert_eq!(at_boot(&edits), wanted, "{text:?}");
    }
    let drop_in = "/etc/systemd/zram-generator.conf.d";
    let edits = [
        config(own, "").to_vec(),
        vec![installed(), dir(drop_in, &["10.conf", "README"]), file(&format!("{drop_in}/10.conf"), "[zram0]\n")],
    ];
    assert_eq!(at_boot(&edits.concat()), [format!("/dev/zram0 {drop_in}/10.conf:1")]);
}

#[test]
fn a_service_that_makes_swap_counts() {
    let edits = [
        dir("/etc/systemd/system", &["multi-user.target.wants/"]),
        dir("/etc/systemd/system/multi-user.target.wants", &["dphys-swapfile.service@"]),
        dir("/lib/systemd/system", &["dphys-swapfile.service"]),
    ];
    assert_eq!(at_boot(&edits), ["dphys-swapfile.service /lib/systemd/system/dphys-swapfile.service:0"]);
}

#[test]
fn a_source_that_cannot_be_read_leaves_the_next_boot_open() {
    let query = Query::Read { path: FSTAB.to_owned() };
    let verdict =
        judge("node.machine.swap-at-boot", &[refuses(query, RefusalKind::Denied, "permission denied")]).verdict;
    assert!(matches!(&verdict, Verdict::Undetermined(why) if why.contains("permission")), "{verdict:?}");
}

#[test]
fn remedies_name_the_line_and_the_unit() {
    let edits = [file(FSTAB, "\n/dev/a none swap sw 0 0\n")];
    let Verdict::Breached(breaches) = judge("node.machine.swap-at-boot", &edits).verdict else { panic!() };
    assert_eq!(breaches[0].remedy[0].commands, ["sed -i '2s/^/# /' /etc/fstab"]);
}
