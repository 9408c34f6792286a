//! `pki expiry` prints and refuses what `kubeadm certs check-expiration` does.

use super::*;

#[test]
fn expiry_is_what_the_real_kubeadm_prints() {
    let Some(kubeadm) = kubeadm() else { return };
    let years = |years: i64| jiff::SignedDuration::from_hours(24 * 365 * years);
    // Leaves are over after a year, CAs after ten; what lasts longer than Go can count is told as the most that it can.
    let expired = node_with(|spec| spec.now -= years(2));
    let all_expired = node_with(|spec| spec.now -= years(11));
    let endless = node_with(|spec| spec.ca_period = years(400));
    let external = node();
    let pki = |node: &tempfile::TempDir| node.path().join("etc/kubernetes/pki");
    std::fs::remove_file(pki(&external).join("front-proxy-ca.key")).unwrap();
    std::fs::remove_file(pki(&external).join("etcd/healthcheck-client.crt")).unwrap();
    for (what, node) in [
        ("fresh", node()),
        ("external", external),
        ("expired", expired),
        ("all expired", all_expired),
        ("endless", endless),
    ] {
        let (theirs, ours) = (check_expiration(&kubeadm, &pki(&node)), expiration(&pki(&node)));
        assert_eq!((theirs.0, ours.0), (Some(0), Some(0)), "{what}: {}", ours.2);
        // What is left is counted at another moment; everything else is the same to the byte.
        let parts = |text: &str| {
            let (mut still, mut left) = (Vec::new(), Vec::new());
            for line in text.lines() {
                match line.trim().strip_prefix("\"residualTime\": ") {
                    Some(number) => left.push(number.trim_end_matches(',').parse::<i64>().unwrap()),
                    None => still.push(line.to_owned()),
                }
            }
            (still, left)
        };
        let ((our_lines, our_left), (their_lines, their_left)) = (parts(&ours.1), parts(&theirs.1));
        assert_eq!(our_lines, their_lines, "{what}");
        assert_eq!(our_left.len(), their_left.len(), "{what}");
        for (ours, theirs) in our_left.iter().zip(&their_left) {
            assert!((ours - theirs).abs() < 600 && (*ours == 0) == (*theirs == 0), "{what}: {ours} {theirs}");
        }
        assert_eq!(their_left.iter().any(|left| *left < 0), what.contains("expired"), "{what}");
    }
}

pub(super) fn check_expiration(kubeadm: &Path, pki: &Path) -> (Option<i32>, String) {
    // It looks for kubeconfigs on the machine alone, so that a folder of a PKI is what both can look at.
    let mut command = Command::new(kubeadm);
    let output = command.args(["certs", "check-expiration", "-o", "json", "--cert-dir"]).arg(pki).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

pub(super) fn expiration(pki: &Path) -> (Option<i32>, String, String) {
    said(&["pki", "expiry", "-o", "kubeadm"], pki)
}

#[test]
fn what_the_real_kubeadm_refuses_to_list_is_refused() {
    let Some(kubeadm) = kubeadm() else { return };
    for broken in
        ["apiserver.crt", "front-proxy-client.crt", "etcd/server.crt", "ca.crt", "front-proxy-ca.crt", "etcd/ca.crt"]
    {
        let node = node();
        let pki = node.path().join("etc/kubernetes/pki");
        let file = pki.join(broken);
        let whole = std::fs::read_to_string(&file).unwrap();
        // Cut off, something else, and a second certificate that is none.
        let second = whole.clone() + &whole.replacen("MII", "MIX", 1);
        for content in [&whole[..200], "nothing of the kind\n", "", &second] {
            std::fs::write(&file, content).unwrap();
            let (theirs, ours) = (check_expiration(&kubeadm, &pki), expiration(&pki));
            assert_eq!((theirs.0, theirs.1.as_str()), (Some(1), ""), "{broken}: {content}");
            assert_eq!((ours.0, ours.1.as_str()), (Some(3), ""), "{broken}: {content}");
            assert!(ours.2.contains(broken), "{broken}: {}", ours.2);
        }
        std::fs::remove_file(&file).unwrap();
        let (theirs, ours) = (check_expiration(&kubeadm, &pki), expiration(&pki));
        // A certificate that is not there is listed as missing; a CA is needed.
        let code = if broken.ends_with("ca.crt") { (Some(1), Some(3)) } else { (Some(0), Some(0)) };
        assert_eq!((theirs.0, ours.0), code, "{broken}: {}", ours.2);
        assert_eq!(theirs.1.is_empty(), ours.1.is_empty(), "{broken}");
        std::fs::write(&file, &whole[..200]).unwrap();
        // The list that needs not be kubeadm's has the rest, and says what it has not.
        let (code, out, err) = said(&["pki", "expiry"], &pki);
        assert_eq!(code, Some(3));
        assert!(out.lines().count() > 8, "{out}");
        assert!(err.contains("missing: ") && err.contains(broken), "{err}");
    }
}

/// A node's root with one thing changed below /etc/kubernetes, by name.
type Change = (&'static str, fn(&Path));

/// Replaces a member of a kubeconfig.
fn member(conf: &Path, file: &str, name: &str, line: &str) {
    let text = std::fs::read_to_string(conf.join(file)).unwrap();
    let mut changed: Vec<String> = Vec::new();
    let (mut within, depth) = (None, |one: &str| one.len() - one.trim_start().len());
    for one in text.lines() {
        match one.trim_start().strip_prefix(name) {
            Some(rest) if rest.starts_with(':') => {
                changed.push(format!("{}{line}", &one[..depth(one)]));
                within = Some(depth(one));
            }
            // The rest of a value that is folded.
            _ if within.is_some_and(|at| depth(one) > at) => {}
            _ => {
                changed.push(one.to_owned());
                within = None;
            }
        }
    }
    assert_ne!(changed.join("\n"), text.trim_end(), "{file} has no {name}");
    std::fs::write(conf.join(file), changed.join("\n") + "\n").unwrap();
}

fn gone(conf: &Path, files: &[&str]) {
    files.iter().for_each(|file| std::fs::remove_file(conf.join(file)).unwrap());
}

fn copied(conf: &Path, from: &str, to: &str) {
    std::fs::copy(conf.join(from), conf.join(to)).unwrap();
}

const CHANGES: [Change; 22] = [
    ("nothing", |_| ()),
    ("a certificate by its file", |conf| {
        member(conf, "admin.conf", "client-certificate-data", "client-certificate: /etc/kubernetes/pki/apiserver.crt");
    }),
    ("a CA by its file", |conf| {
        member(
            conf,
            "scheduler.conf",
            "certificate-authority-data",
            "certificate-authority: /etc/kubernetes/pki/ca.crt",
        );
    }),
    ("a CA that is no PEM", |conf| {
        member(conf, "scheduler.conf", "certificate-authority-data", "certificate-authority-data: aGVsbG8=");
    }),
    ("a certificate that is no PEM", |conf| {
        member(conf, "super-admin.conf", "client-certificate-data", "client-certificate-data: aGVsbG8=");
    }),
    ("no current context", |conf| member(conf, "admin.conf", "current-context", "current-context: ''")),
    ("another current context", |conf| member(conf, "admin.conf", "current-context", "current-context: other")),
    ("an empty kubeconfig", |conf| std::fs::write(conf.join("controller-manager.conf"), "").unwrap()),
    ("no kubeconfig", |conf| gone(conf, &["controller-manager.conf", "super-admin.conf"])),
    ("a folder for a kubeconfig", |conf| {
        gone(conf, &["scheduler.conf"]);
        std::fs::create_dir(conf.join("scheduler.conf")).unwrap();
    }),
    ("an external CA", |conf| gone(conf, &["pki/ca.key"])),
    ("external CAs", |conf| gone(conf, &["pki/ca.key", "pki/etcd/ca.key", "pki/front-proxy-ca.key"])),
    ("an external CA and no key", |conf| gone(conf, &["pki/ca.key", "pki/apiserver.key"])),
    ("an external CA and no certificate", |conf| gone(conf, &["pki/ca.key", "pki/apiserver-kubelet-client.crt"])),
    ("an external etcd CA and no certificate", |conf| gone(conf, &["pki/etcd/ca.key", "pki/etcd/peer.crt"])),
    ("an external CA and what another signed", |conf| {
        gone(conf, &["pki/front-proxy-ca.key"]);
        copied(conf, "pki/apiserver.crt", "pki/front-proxy-client.crt");
    }),
    ("what another signed", |conf| copied(conf, "pki/apiserver.crt", "pki/front-proxy-client.crt")),
    ("a CA that is none", |conf| copied(conf, "pki/front-proxy-client.crt", "pki/front-proxy-ca.crt")),
    ("no CA", |conf| gone(conf, &["pki/front-proxy-ca.crt"])),
    ("no CA and nothing of it", |conf| gone(conf, &["pki/front-proxy-ca.crt", "pki/front-proxy-client.crt"])),
    ("a key behind a certificate", |conf| {
        let text = |name: &str| std::fs::read_to_string(conf.join(name)).unwrap();
        std::fs::write(conf.join("pki/apiserver.crt"), text("pki/apiserver.crt") + &text("pki/apiserver.key")).unwrap();
    }),
    ("a link that leads nowhere for a key", |conf| {
        gone(conf, &["pki/ca.key"]);
        std::os::unix::fs::symlink("/nowhere", conf.join("pki/ca.key")).unwrap();
    }),
];

#[test]
fn of_a_node_the_real_kubeadm_lists_and_refuses_the_same() {
    let Some(kubeadm) = kubeadm() else { return };
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: mounting /etc needs root");
        return;
    }
    let still = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("residualTime"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let old = |spec: &mut Spec| spec.now -= jiff::SignedDuration::from_hours(24 * 365 * 2);
    let (mut faults, mut refused) = (Vec::new(), 0);
    for (name, change) in CHANGES {
        for (age, node) in [("fresh", node()), ("expired", node_with(old))] {
            let conf = node.path().join("etc/kubernetes");
            change(&conf);
            // kubeadm looks for kubeconfigs in /etc/kubernetes alone.
            let script = "mount -t tmpfs none /etc && mkdir /etc/kubernetes && mount --bind \"$1\" /etc/kubernetes && \
                          exec \"$2\" certs check-expiration -o json --kubeconfig /nowhere";
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", script, "sh"]).arg(&conf).arg(&kubeadm);
            let output = command.output().unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            let (code, ours, err) = said(&["pki", "expiry", "-o", "kubeadm"], node.path());
            refused += usize::from(!output.status.success());
            let same = (code == Some(0)) == output.status.success() && still(&theirs) == still(&ours);
            if !same {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                faults.push(format!("{age}, {name}: kubeadm {theirs}{said}\nwe {code:?} {ours}{err}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n\n"));
    assert!(refused >= 20, "only {refused} are refused: the cases show nothing");
}
