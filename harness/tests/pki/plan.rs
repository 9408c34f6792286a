//! Graphs, and plans that rotate a CA: the real kubeadm knows each command.

use super::expiry::{check_expiration, expiration};
use super::*;

#[test]
fn graphs_and_plans_name_what_is_there() {
    let node = node();
    let (_, json) = seaworthy(&["pki", "graph", "-o", "json"], node.path());
    let graph: serde_json::Value = serde_json::from_str(&json).unwrap();
    let id = |label: &str| {
        let nodes = graph["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["label"] == label).unwrap_or_else(|| panic!("{label}: {json}"))["id"].clone()
    };
    let has = |from: &str, to: &str, kind: &str| {
        let (from, to) = (id(from), id(to));
        graph["edges"]
            .as_array()
            .unwrap()
            .iter()
            .any(|edge| edge["from"] == from && edge["to"] == to && edge["kind"] == kind)
    };
    assert!(has("kubernetes", "kube-apiserver", "signs") || has("etcd-ca", "kube-apiserver-etcd-client", "signs"));
    assert!(has("front-proxy-ca", "front-proxy-client", "signs") && has("etcd", "etcd-ca", "trusts"));
    assert!(!has("kubernetes", "front-proxy-client", "signs"));
    for client in ["kubectl", "kubelet", "kube-scheduler", "kube-controller-manager"] {
        assert!(has(client, "kubernetes", "trusts"), "{client}: {json}");
    }
    let (_, dot) = seaworthy(&["pki", "graph"], node.path());
    assert!(dot.starts_with("digraph pki {") && dot.contains("front-proxy-ca"), "{dot}");
    let (_, svg) = seaworthy(&["pki", "graph", "-o", "svg"], node.path());
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>") && svg.contains("kubernetes-admin"),
        "{svg}"
    );
    let (_, plan) = seaworthy(&["pki", "plan", "--within", "30"], node.path());
    assert_eq!(plan, "Nothing expires within 30 days.\n");
    let (_, plan) = seaworthy(&["pki", "plan", "--within", "400"], node.path());
    assert!(
        plan.contains("kubeadm certs renew apiserver\n") && plan.contains("kubeadm certs renew admin.conf\n"),
        "{plan}"
    );
    // In a CA's rotation the new one is trusted before anything is signed by it.
    let (_, plan) = seaworthy(&["pki", "plan", "--within", "4000"], node.path());
    let (trust, sign) = (plan.find("Add the new CA").unwrap(), plan.find("by the new CA").unwrap());
    assert!(trust < sign && plan.contains("Rotate the CA CN=kubernetes"), "{plan}");
}

/// The words of a command of kubeadm's that are no flags, and its flags.
fn words(command: &str) -> (Vec<&str>, Vec<&str>) {
    let words = command.split_whitespace().take_while(|word| *word != ">");
    let mut words = words.collect::<Vec<_>>();
    let flags = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
    let flags = words.split_off(flags).into_iter().filter(|word| word.starts_with("--")).collect();
    (words, flags)
}

#[test]
fn the_real_kubeadm_knows_every_command_of_a_plan() {
    let Some(kubeadm) = kubeadm() else { return };
    let node = node();
    let mut known = std::collections::BTreeSet::new();
    for within in ["400", "4000"] {
        let (_, plan) = seaworthy(&["pki", "plan", "--within", within], node.path());
        for command in plan.lines().map(str::trim).filter(|line| line.starts_with("kubeadm ")) {
            let (words, flags) = words(command);
            let help = Command::new(&kubeadm).args(&words[1..]).arg("--help").output().unwrap();
            let help = String::from_utf8(help.stdout).unwrap();
            // Of a command that there is not it says how another one is used.
            assert!(help.contains(&format!("\n  {} [flags]\n", words.join(" "))), "{command}: {help}");
            assert!(flags.iter().all(|flag| help.contains(&format!("{flag} "))), "{command}: {help}");
            known.insert(command.to_owned());
        }
    }
    // Everything that kubeadm renews is there, and what the kubelet renews.
    assert_eq!(known.len(), 12, "{known:?}");
    let kubelet = "kubeadm kubeconfig user --org system:nodes --client-name system:node:cp1 > kubelet.conf";
    assert!(known.contains(kubelet), "{known:?}");
}

#[test]
fn a_plan_that_is_followed_rotates_the_ca() {
    let Some(kubeadm) = kubeadm() else { return };
    // The new CA is what lasts longer; it is not to be replaced itself.
    let (node, next) = (node_with(|spec| spec.now -= jiff::SignedDuration::from_hours(24)), node());
    let pki = node.path().join("etc/kubernetes/pki");
    let folder = tempfile::tempdir().unwrap();
    let made = next.path().join("etc/kubernetes/pki");
    for (from, to) in
        [(made.join("ca.crt"), "new-ca.crt"), (made.join("ca.key"), "new-ca.key"), (pki.join("ca.crt"), "old-ca.crt")]
    {
        std::fs::copy(from, folder.path().join(to)).unwrap();
    }
    let rotation = |subject: &str| {
        let (_, plan) = seaworthy(&["pki", "plan", "--within", "3649"], node.path());
        let title = format!("Rotate the CA CN={subject} ");
        plan.split("\n\n").find(|one| one.contains(&title)).unwrap_or_else(|| panic!("{plan}")).to_owned()
    };
    let plan = rotation("kubernetes");
    let place = |text: &str| plan.find(text).unwrap_or_else(|| panic!("'{text}' is not in: {plan}"));
    let order = [
        "Add the new CA behind",
        "Start kube-apiserver again",
        "cluster-info",
        "Sign by the new CA",
        "kubeadm certs renew apiserver\n",
        "take it out of",
    ];
    assert!(order.map(place).is_sorted(), "{plan}");
    // What the API hands out are CAs of the API server and of its clients; etcd is not among them.
    assert!(plan.contains("kube-root-ca.crt") && plan.contains("extension-apiserver-authentication"), "{plan}");
    let (proxy, etcd) = (rotation("front-proxy-ca"), rotation("etcd-ca"));
    assert!(proxy.contains("extension-apiserver-authentication") && !proxy.contains("cluster-info"), "{proxy}");
    assert!(
        !etcd.contains("kubectl") && !etcd.contains("cluster-info") && etcd.contains("Sign by the new CA"),
        "{etcd}"
    );

    let root = node.path().to_str().unwrap();
    let follow = |step: &str| {
        let mut lines = plan.lines().skip_while(|line| !line.contains(step)).skip(1);
        let commands: Vec<_> =
            std::iter::from_fn(|| lines.next()).take_while(|line| line.starts_with("            ")).collect();
        assert!(!commands.is_empty(), "{step}: {plan}");
        for command in commands {
            let command = command.trim().replace("/etc/kubernetes/", &format!("{root}/etc/kubernetes/"));
            assert!(Command::new("sh").args(["-ec", &command]).current_dir(folder.path()).status().unwrap().success());
        }
    };
    // Who signed what the API server serves: the CA whose key is here, or another one?
    let renew = || {
        let mut command = Command::new(&kubeadm);
        let output = command.args(["certs", "renew", "apiserver", "--cert-dir"]).arg(&pki).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (_, json) = seaworthy(&["pki", "graph", "-o", "json"], node.path());
        let graph: serde_json::Value = serde_json::from_str(&json).unwrap();
        let nodes = graph["nodes"].as_array().unwrap();
        let leaf = nodes.iter().find(|node| node["label"] == "kube-apiserver").unwrap();
        let mut edges = graph["edges"].as_array().unwrap().iter();
        let signed = edges.find(|edge| edge["kind"] == "signs" && edge["to"] == leaf["id"]).unwrap();
        signed["from"].as_str().unwrap().to_owned()
    };
    let old = renew();
    follow("sign by a file of its own");
    follow("Add the new CA behind the old one in /etc/kubernetes/pki/ca.crt");
    assert_eq!(renew(), old, "nothing is signed by the new CA before all trust it");
    let done = |step: &str| {
        let plan = rotation("kubernetes");
        plan.lines().find(|line| line.contains(step)).unwrap().trim_start().starts_with("done ")
    };
    assert!(done("behind the old one in /etc/kubernetes/pki/ca.crt") && !done("Sign by the new CA"));
    follow("Sign by the new CA");
    assert_ne!(renew(), old);
    assert!(done("behind the old one in /etc/kubernetes/pki/ca.crt") && done("Sign by the new CA"));
    // The signer takes one certificate.
    let alone = std::fs::read_to_string(pki.join("signing-ca.crt")).unwrap();
    assert_eq!(alone.matches("BEGIN CERTIFICATE").count(), 1);
    let (theirs, ours) = (check_expiration(&kubeadm, &pki), expiration(&pki));
    assert_eq!((theirs.0, ours.0), (Some(0), Some(0)));
}
