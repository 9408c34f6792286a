//! What is killed, broken or full: it is named, it goes on, and nothing is left.

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use seaworthy_provision::cluster::PHASES;

use super::lab::{Lab, ran, until};

/// The smallest cluster, made the fastest way.
const QUICK: &str = "durability: fast\n\
                     kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  \
                     encryptionAlgorithm: ECDSA-P256\n";

pub(super) fn twenty_times(lab: &Lab) {
    let before = lab.inventory();
    for _ in 0..20 {
        lab.up("again", QUICK);
        assert_eq!(lab.status("again").0, Some(0));
        lab.down("again");
        let left = lab.left(&before);
        assert!(left.is_empty(), "{left}");
    }
}

/// Lets `up` run until it has ended this phase or itself, and kills it.
fn kill_after(mut up: Child, errors: &Path, phase: &str) {
    let ended = format!("s  {phase}\n");
    until("the phase ends", || {
        let text = std::fs::read_to_string(errors).unwrap();
        if text.contains(&ended) || up.try_wait().unwrap().is_some() { Ok(()) } else { Err(text) }
    });
    up.kill().unwrap();
    up.wait().unwrap();
    let text = std::fs::read_to_string(errors).unwrap();
    assert!(text.contains(&ended), "{phase} did not end: {text}");
}

pub(super) fn killed_and_on(lab: &Lab) {
    let spec = format!("workers: 1\n{QUICK}");
    for phase in &PHASES {
        let (up, errors) = lab.begin_up("on", &spec);
        kill_after(up, &errors, phase.name);
    }
    lab.up("on", &spec);
    assert_eq!(lab.status("on").0, Some(0));
    let nodes = lab.kubectl("on", "cp1", &["get", "nodes", "--no-headers"]);
    assert!(nodes.contains("worker1") && nodes.contains(" Ready "), "{nodes}");
}

pub(super) fn killed_and_down(lab: &Lab) {
    let before = lab.inventory();
    // Within the making of hosts and links, and then later and later.
    for delay in (0..64).step_by(3).chain([64, 96, 128, 192, 256, 512, 1024, 2048]) {
        let (mut up, _) = lab.begin_up("off", QUICK);
        std::thread::sleep(Duration::from_millis(delay));
        up.kill().unwrap();
        up.wait().unwrap();
        let down = lab.run(&["down", "--all"]);
        assert_eq!(down.code, Some(0), "killed after {delay} ms: {}", down.err);
        let left = lab.left(&before);
        assert!(left.is_empty(), "killed after {delay} ms: {left}");
    }
}

pub(super) fn down_all(lab: &Lab) {
    lab.up("first", QUICK);
    lab.up("second", QUICK);
    // One was cut off before it had a specification.
    let cut = lab.clusters().folder().join(lab.name("cut"));
    std::fs::create_dir(&cut).unwrap();
    std::fs::write(cut.join("slot"), "9").unwrap();
    let hosts: Vec<_> =
        ["first", "second"].iter().flat_map(|name| lab.alive(name)).filter_map(|host| host.pid).collect();
    assert_eq!(hosts.len(), 4);
    for pid in hosts {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    until("all hosts are down", || {
        let alive = lab.alive("first").len() + lab.alive("second").len();
        if alive == 0 { Ok(()) } else { Err(format!("{alive} are alive")) }
    });
    let down = lab.run(&["down", "--all"]);
    assert_eq!(down.code, Some(0), "{}", down.err);
    assert_eq!(down.err.matches(" is gone").count(), 3, "{}", down.err);
    assert_eq!(lab.ok(&["list"]), "");
}

pub(super) fn crashing(lab: &Lab) {
    let spec = format!(
        "{QUICK}  apiServer: {{extraArgs: [{{name: no-such-flag, value: 'on'}}], extraEnvs: [{{name: A, value: \
         b}}]}}\n"
    );
    let up = lab.try_up("crash", &spec);
    assert_eq!(up.code, Some(3), "{}", up.err);
    for part in [
        "phase control-plane",
        "kube-apiserver on cp1",
        "exit code 1",
        "--no-such-flag=on",
        "unknown flag",
        "cluster down",
    ] {
        assert!(up.err.contains(part), "no '{part}': {}", up.err);
    }
    // Now and then it runs, for a moment.
    until("how it ended is shown", || {
        let (code, hosts) = lab.status("crash");
        assert_eq!(code, Some(1));
        let cp1 = hosts.iter().find(|host| host["name"] == "cp1").unwrap()["components"].to_string();
        if cp1.contains("it ended with exit code 1") { Ok(()) } else { Err(cp1) }
    });
}

/// The first Ctrl-C ends `up`, and says what stays and how to remove it.
pub(super) fn interrupted(lab: &Lab) {
    let before = lab.inventory();
    let (mut up, errors) = lab.begin_up("stop", QUICK);
    until("the hosts are there", || {
        let text = std::fs::read_to_string(&errors).unwrap();
        if text.contains("s  hosts\n") { Ok(()) } else { Err(text) }
    });
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130));
    let text = std::fs::read_to_string(&errors).unwrap();
    let name = lab.name("stop");
    let remove = format!("seaworthy cluster down {name}");
    assert!(text.contains(&format!("what is up of {name} stays")) && text.contains(&remove), "{text}");
    lab.down("stop");
    let left = lab.left(&before);
    assert!(left.is_empty(), "{left}");
}

pub(super) fn disk_full(lab: &Lab) {
    let folder = Path::new("/var/lib/full");
    std::fs::create_dir(folder).unwrap();
    let mount = |options: &str| {
        let done = ran(std::process::Command::new("mount").args(["-t", "tmpfs", "-o", options, "full"]).arg(folder));
        assert_eq!(done.code, Some(0), "{}", done.err);
    };
    let up = |name: &str| ran(lab.up_command(name, QUICK).env("SEAWORTHY_STATE", folder.join("clusters")));
    mount("size=64m");
    let small = up("small");
    assert_eq!(small.code, Some(3), "{}", small.err);
    assert!(small.err.contains("/var/lib/full") && small.err.contains("MiB of disk"), "{}", small.err);
    nix::mount::umount(folder).unwrap();
    // Room enough, so they say, and then no file can be made any more.
    mount("size=3g,nr_inodes=60");
    let full = up("full");
    assert_eq!(full.code, Some(3), "{}", full.err);
    assert!(full.err.contains("No space left on device") && full.err.contains("/var/lib/full"), "{}", full.err);
    let down = ran(lab.command(&["down", "--all"]).env("SEAWORTHY_STATE", folder.join("clusters")));
    assert_eq!(down.code, Some(0), "{}", down.err);
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    nix::mount::umount(folder).unwrap();
    std::fs::remove_dir(folder).unwrap();
}
