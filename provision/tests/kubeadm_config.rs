//! Configuration files: read as kubeadm reads them, refused as kubeadm refuses them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

#[path = "kubeadm/ask.rs"]
mod ask;
#[path = "kubeadm/corpus.rs"]
mod corpus;

use std::process::Command;

use seaworthy_provision::kubeadm::{Configuration, read, read_for};

/// Where ours is stricter than `kubeadm config validate`: a part of our message, and why.
const STRICTER: [(&str, &str); 9] = [
    ("overlap", "no Service works where pods and Services share a network"),
    ("nodeRegistration.taints", "the API server refuses the node later"),
    ("leaves no time at all", "a certificate that has ended serves nobody"),
    ("labels are not resolved", "a label is asked of the internet"),
    ("no other host reaches", "kubeadm takes a loopback address where the machine has a global one on it"),
    ("a document begins here", "kubeadm drops what stands behind a line of three points"),
    ("is not the socket unix:///PATH", "kubeadm takes a host there, too"),
    ("KubeletConfiguration", "kubeadm does not look at it where there is no ClusterConfiguration"),
    ("KubeProxyConfiguration", "kubeadm does not look at it where there is no ClusterConfiguration"),
];

const HEAD: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n";

/// Files that both must take, and files that both must refuse, with what our refusal names.
fn cases() -> Vec<(String, Option<&'static str>)> {
    let cluster = |rest: &str| format!("{HEAD}{rest}");
    vec![
        (cluster(""), None),
        (cluster("apiServer: {certSANs: [a.test], extraArgs: [{name: v, value: '2'}]}\n"), None),
        (
            cluster(
                "networking: {serviceSubnet: '10.96.0.0/12,fd00:10:96::/112', podSubnet: \
                 '10.244.0.0/16,fd00:10:244::/56'}\n",
            ),
            None,
        ),
        (
            cluster(
                "etcd: {external: {endpoints: ['https://192.0.2.1:2379'], caFile: /a, certFile: /b, keyFile: /c}}\n",
            ),
            None,
        ),
        (
            cluster(
                "dns: {disabled: true}\nproxy: {disabled: true}\nencryptionAlgorithm: ECDSA-P384\n\
                 certificateValidityPeriod: 100h30m\n",
            ),
            None,
        ),
        (
            format!(
                "{HEAD}---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
                 cgroupDriver: cgroupfs\n"
            ),
            None,
        ),
        (cluster("apiServer:\n  certSAN: [a.test]\n"), Some("line 5: apiServer.certSAN: v1beta4 has no such field")),
        (
            cluster("apiServer:\n  extraArgs: {v: '2'}\n"),
            Some("line 5: apiServer.extraArgs: it must be a list of name and value, not a mapping"),
        ),
        (
            cluster("apiServer:\n  timeoutForControlPlane: 4m\n"),
            Some("line 5: apiServer.timeoutForControlPlane: v1beta4 has no such field: it is of v1beta3"),
        ),
        (
            cluster("networking: {serviceSubnet: nonsense}\n"),
            Some("line 4: networking.serviceSubnet: 'nonsense' is not a network"),
        ),
        (
            cluster("networking: {serviceSubnet: 'fd00::/64'}\n"),
            Some("fd00::/64 is too large for Services: the prefix must be /108"),
        ),
        (cluster("networking: {serviceSubnet: '10.96.0.0/30'}\n"), Some("10.96.0.0/30 is too small")),
        (cluster("networking: {serviceSubnet: '10.0.0.0/16,10.1.0.0/16'}\n"), Some("are of one family")),
        (cluster("encryptionAlgorithm: RSA-1024\n"), Some("encryptionAlgorithm: 'RSA-1024' is no algorithm")),
        (
            cluster("etcd: {local: {dataDir: /d}, external: {endpoints: ['https://192.0.2.1:2379']}}\n"),
            Some("etcd: local and external are both set"),
        ),
        (
            format!("{HEAD}---\napiVersion: kubeadm.k8s.io/v1beta9\nkind: InitConfiguration\n"),
            Some("line 5: kubeadm.k8s.io/v1beta9 is not read"),
        ),
        (
            format!(
                "{HEAD}---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
                 nodeRegistration:\n  tains: []\n"
            ),
            Some("line 8: nodeRegistration.tains: v1beta4 has no such field"),
        ),
        (format!("{HEAD}---\n{HEAD}"), Some("line 5: there are two documents of kind ClusterConfiguration")),
        ("apiVersion: kubeadm.k8s.io/v1beta4\nkind: [\n".to_owned(), Some("line ")),
    ]
}

#[test]
fn what_cannot_be_used_is_named_with_its_place() {
    for (text, refused) in cases() {
        match (read(&text), refused) {
            (Ok(_), None) => {}
            (Err(why), Some(named)) => assert!(why.to_string().contains(named), "{why}\n{text}"),
            (other, _) => panic!("{other:?}\n{text}"),
        }
    }
    // kubeadm does not look whether they meet; then no Service works.
    let text = format!("{HEAD}networking: {{serviceSubnet: 10.96.0.0/16, podSubnet: 10.96.0.0/12}}\n");
    assert!(read(&text).unwrap_err().to_string().contains("overlap"));
}

#[test]
fn kubeadm_takes_and_refuses_the_same() {
    let Some(kubeadm) = std::env::var_os("SEAWORTHY_KUBEADM") else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_KUBEADM must name kubeadm");
        println!("skipped: SEAWORTHY_KUBEADM does not name a kubeadm; `seaworthy assets fetch kubeadm` builds one");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.yaml");
    for (text, refused) in cases() {
        std::fs::write(&file, &text).unwrap();
        let output = Command::new(&kubeadm).args(["config", "validate", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), refused.is_none(), "{said}\n{text}");
    }
    // What kubeadm prints as its defaults is what a file that says nothing means.
    let printed = |what: &str| {
        let output = Command::new(&kubeadm).args(["config", "print", what]).output().unwrap();
        read(&String::from_utf8(output.stdout).unwrap()).unwrap()
    };
    let theirs = printed("init-defaults");
    let ours = read(HEAD).unwrap();
    let plain = |mut one: Configuration| {
        one.cluster.kubernetes_version = None;
        // kubeadm writes the local etcd out.
        one.cluster.etcd.local.get_or_insert_default();
        one.cluster
    };
    assert_eq!(plain(theirs.clone()), plain(ours));
    let init = theirs.init.unwrap();
    assert_eq!(init.local_api_endpoint.bind_port, 6443);
    assert_eq!(init.bootstrap_tokens[0].token.as_ref().unwrap().reveal(), "abcdef.0123456789abcdef");
    let join = printed("join-defaults").join.unwrap();
    assert!(join.discovery.bootstrap_token.unwrap().unsafe_skip_ca_verification);
}

/// Every file of the corpus: what kubeadm refuses is refused by us, with its line, and what it takes is taken.
fn differ(version: &str, manifest: &str, sums: &str, least: usize) {
    let dir = tempfile::tempdir().unwrap();
    let Some(oracle) = ask::oracle(&dir.path().join(version), manifest, sums) else { return };
    let version: seaworthy_provision::assets::Version = version.parse().unwrap();
    let cases = corpus::cases(version.minor(), &version.to_string());
    let texts: Vec<_> = cases.iter().map(|case| case.text.clone()).collect();
    let answers = ask::ask(&oracle, &texts);
    assert_eq!(answers.len(), cases.len());
    let (mut differ, mut refused) = (Vec::new(), 0);
    for (case, theirs) in cases.iter().zip(&answers) {
        let ours = read_for(&case.text, Some(&version)).map_err(|error| error.to_string());
        match &ours {
            Err(why) => {
                refused += 1;
                let stricter = STRICTER.iter().any(|(part, _)| why.contains(part));
                let placed = why.starts_with("line ");
                if !placed || (theirs.is_empty() && !stricter) {
                    differ.push(format!(
                        "{} = {}\n  ours:   {why}\n  theirs: {theirs}\n{}",
                        case.field, case.value, case.text
                    ));
                }
            }
            Ok(_) if theirs.is_empty() => {}
            Ok(_) => differ
                .push(format!("{} = {}\n  ours takes it\n  theirs: {theirs}\n{}", case.field, case.value, case.text)),
        }
    }
    println!("{} files, {refused} refused, {} differ", cases.len(), differ.len());
    let shown = std::env::var("SEAWORTHY_DIFFER").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    assert!(
        differ.is_empty(),
        "{} of {} differ:\n{}",
        differ.len(),
        cases.len(),
        differ[..differ.len().min(shown)].join("\n")
    );
    assert!(cases.len() > least && refused > least / 2, "{} files, {refused} refused", cases.len());
}

#[test]
fn kubeadm_1_37_takes_and_refuses_the_same_of_a_corpus() {
    differ(
        "v1.37.2",
        include_str!("../gomod/kubernetes-v1.37.2/go.mod"),
        include_str!("../gomod/kubernetes-v1.37.2/go.sum"),
        10_000,
    );
}

#[test]
fn kubeadm_1_36_which_reads_v1beta3_too_takes_and_refuses_the_same() {
    differ(
        "v1.36.3",
        include_str!("kubeadm/oracle/v1.36.3/go.mod"),
        include_str!("kubeadm/oracle/v1.36.3/go.sum"),
        3_000,
    );
}

#[test]
fn v1beta3_is_read_into_the_same_form() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n\
                apiServer:\n  extraArgs: {audit-log-path: /a, v: '2'}\n  timeoutForControlPlane: 4m0s\n---\n\
                apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\n\
                nodeRegistration:\n  name: cp1\n  kubeletExtraArgs: {node-ip: 192.0.2.1}\n\
                localAPIEndpoint: {advertiseAddress: 192.0.2.1, bindPort: 7443}\n";
    let read_it = read(text).unwrap();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let (spec, plane) = read_it.control_plane("other", "10.0.0.1".parse().unwrap(), now).unwrap();
    assert_eq!((spec.node.as_str(), spec.advertise.to_string(), spec.port), ("cp1", "192.0.2.1".to_owned(), 7443));
    let arguments: Vec<_> = plane.components()[1].arguments().collect();
    for flag in ["--audit-log-path=/a", "--v=2", "--secure-port=7443", "--advertise-address=192.0.2.1"] {
        assert!(arguments.iter().any(|argument| argument == flag), "{flag}: {arguments:?}");
    }
    for field in ["encryptionAlgorithm", "proxy", "certificateValidityPeriod"] {
        let text = format!("apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n{field}: RSA-2048\n");
        let error = read(&text).unwrap_err().to_string();
        assert_eq!(error, format!("line 3: {field}: v1beta3 has no such field: it is of v1beta4"));
    }
    let newest = "v1.37.2".parse().unwrap();
    let error = read_for(text, Some(&newest)).unwrap_err().to_string();
    assert!(
        error.starts_with("line 1: kubeadm.k8s.io/v1beta3 is read by kubeadm up to 1.36, and this is for 1.37"),
        "{error}"
    );
}

#[test]
fn secrets_are_not_shown() {
    let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nbootstrapTokens:\n\
                - token: abcdef.0123456789abcdef\n\
                certificateKey: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
    let shown = format!("{:?}", read(text).unwrap());
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("00112233"), "a secret is shown");
}
