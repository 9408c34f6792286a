//! The layouts of distributions, with their names, owners and quirks: each is recognized, its roles are found, and
//! nothing is reported but what is known of it.

mod maker;

use base64::Engine as _;
use maker::{CONTROL_PLANE, Maker, SERVICE};
use rcgen::SanType;
use seaworthy_checks::host::{Host, LiveHost, Recorder};
use seaworthy_checks::pki::Facts;
use seaworthy_checks::pki::discover::Role;
use seaworthy_provision::pki::Usage;

use crate::forge::{self, Authority};
use crate::tree::{Base, Tree};
use crate::{audit, audit_tree, profile};

/// k3s and RKE2: five CAs, and chains in the files of certificates.
fn rancher(name: &str, folder: &str) {
    let m = Maker::new();
    let tls = format!("var/lib/rancher/{folder}/server/tls");
    let path = |file: &str| format!("{tls}/{file}");
    let pair = |stem: &str| (path(&format!("{stem}.crt")), path(&format!("{stem}.key")));
    let ca = |stem: &str, name: &str| {
        let (crt, key) = pair(stem);
        m.ca(&crt, Some(&key), &format!("{folder}-{name}@1790000000"))
    };
    let client = ca("client-ca", "client-ca");
    m.file(&path("client-ca.nochain.crt"), &client.pem);
    let server = ca("server-ca", "server-ca");
    m.file(&path("server-ca.nochain.crt"), &server.pem);
    let proxy = ca("request-header-ca", "request-header-ca");
    let leaf = |by: &Authority, stem: &str, who: &str, usage, sans: &[&str]| {
        let (crt, key) = pair(stem);
        let pem = m.leaf(by, (&crt, &key), who, usage, sans);
        m.file(&crt, &format!("{pem}{}", by.pem));
    };
    leaf(&server, "serving-kube-apiserver", "kube-apiserver", Usage::Server, &SERVICE);
    for (stem, who) in [
        ("client-admin", "system:admin/system:masters"),
        ("client-controller", "system:kube-controller-manager"),
        ("client-scheduler", "system:kube-scheduler"),
        ("client-kube-apiserver", "system:apiserver/system:masters"),
        ("client-kube-proxy", "system:kube-proxy"),
        ("client-supervisor", "system:k3s-supervisor/system:masters"),
    ] {
        leaf(&client, stem, who, Usage::Client, &[]);
    }
    leaf(&proxy, "client-auth-proxy", "system:auth-proxy", Usage::Client, &[]);
    m.service_accounts(&path("service.key"), None);
    let key = std::fs::read_to_string(m.root().join(path("service.key"))).unwrap();
    m.file(&path("service.current.key"), &key);
    let etcd = m.ca(&path("etcd/server-ca.crt"), Some(&path("etcd/server-ca.key")), "etcd-server-ca@1790000000");
    let peers = m.ca(&path("etcd/peer-ca.crt"), Some(&path("etcd/peer-ca.key")), "etcd-peer-ca@1790000000");
    leaf(&etcd, "etcd/server-client", "etcd-server", Usage::Both, &["n1", "localhost", "127.0.0.1"]);
    leaf(&peers, "etcd/peer-server-client", "etcd-peer", Usage::Both, &["n1", "localhost", "127.0.0.1"]);
    leaf(&etcd, "etcd/client", "etcd-client", Usage::Client, &[]);
    for (file, stem) in
        [("admin", "client-admin"), ("controller", "client-controller"), ("scheduler", "client-scheduler")]
    {
        let absolute = |file: String| format!("/{file}");
        let (crt, key) = pair(stem);
        m.kubeconfig(
            &format!("var/lib/rancher/{folder}/server/cred/{file}.kubeconfig"),
            &absolute(path("server-ca.crt")),
            &absolute(crt),
            &absolute(key),
        );
    }
    m.is(
        name,
        &[&CONTROL_PLANE[..], &[Role::EtcdServer, Role::EtcdPeer, Role::KubeletServingCa, Role::SchedulerClient]]
            .concat(),
        &[],
    );
}

#[test]
fn k3s() {
    rancher("k3s", "k3s");
}

#[test]
fn rke2() {
    rancher("RKE2", "rke2");
}

#[test]
fn k0s_has_users_for_its_components_and_no_full_name() {
    let m = Maker::new();
    let pair = |stem: &str| (format!("var/lib/k0s/pki/{stem}.crt"), format!("var/lib/k0s/pki/{stem}.key"));
    let ca = |stem: &str, name: &str| m.ca(&pair(stem).0, Some(&pair(stem).1), name);
    let (cluster, proxy, etcd) =
        (ca("ca", "kubernetes-ca"), ca("front-proxy-ca", "kubernetes-front-proxy-ca"), ca("etcd/ca", "etcd-ca"));
    let leaf = |by: &Authority, stem: &str, who: &str, usage, sans: &[&str]| {
        m.leaf(by, (&pair(stem).0, &pair(stem).1), who, usage, sans);
    };
    let names: Vec<_> = SERVICE
        .into_iter()
        .filter(|name| !name.ends_with("cluster.local"))
        .chain(["kubernetes.svc.cluster.local"])
        .collect();
    leaf(&cluster, "server", "kubernetes/kubernetes", Usage::Both, &names);
    leaf(&cluster, "k0s-api", "k0s-api/kubernetes", Usage::Both, &["n1"]);
    for (stem, who) in [
        ("admin", "kubernetes-admin/system:masters"),
        ("konnectivity", "kubernetes-konnectivity/system:masters"),
        ("ccm", "system:kube-controller-manager"),
        ("scheduler", "system:kube-scheduler"),
        ("apiserver-kubelet-client", "apiserver-kubelet-client/system:masters"),
    ] {
        leaf(&cluster, stem, who, Usage::Client, &[]);
    }
    leaf(&proxy, "front-proxy-client", "front-proxy-client/front-proxy-client", Usage::Client, &[]);
    leaf(&etcd, "etcd/server", "etcd-server", Usage::Both, &["n1", "127.0.0.1"]);
    leaf(&etcd, "etcd/peer", "n1", Usage::Both, &["n1"]);
    leaf(&etcd, "apiserver-etcd-client", "apiserver-etcd-client", Usage::Client, &[]);
    m.service_accounts("var/lib/k0s/pki/sa.key", Some("var/lib/k0s/pki/sa.pub"));
    m.own("var/lib/k0s/pki/server.key", 998, 0o640);
    m.own("var/lib/k0s/pki/konnectivity.key", 997, 0o640);
    m.is("k0s", &[&CONTROL_PLANE[..], &[Role::EtcdServer, Role::AdminClient]].concat(), &["pki.san.service-domain"]);
}

#[test]
fn rke1_has_one_ca_for_everything() {
    let m = Maker::new();
    let pair = |stem: &str| (format!("etc/kubernetes/ssl/{stem}.pem"), format!("etc/kubernetes/ssl/{stem}-key.pem"));
    let cluster = m.ca(&pair("kube-ca").0, Some(&pair("kube-ca").1), "kube-ca");
    let proxy = m.ca(
        &pair("kube-apiserver-requestheader-ca").0,
        Some(&pair("kube-apiserver-requestheader-ca").1),
        "kube-apiserver-requestheader-ca",
    );
    let leaf = |by: &Authority, stem: &str, who: &str, usage, sans: &[&str]| {
        m.leaf(by, (&pair(stem).0, &pair(stem).1), who, usage, sans);
    };
    leaf(&cluster, "kube-apiserver", "system:kube-apiserver", Usage::Both, &SERVICE);
    leaf(&cluster, "kube-controller-manager", "system:kube-controller-manager", Usage::Client, &[]);
    leaf(&cluster, "kube-scheduler", "system:kube-scheduler", Usage::Client, &[]);
    leaf(&cluster, "kube-proxy", "system:kube-proxy", Usage::Client, &[]);
    leaf(&cluster, "kube-node", "system:node/system:nodes", Usage::Client, &[]);
    leaf(&cluster, "kube-etcd-10-0-0-11", "system:kube-etcd", Usage::Both, &["n1", "10.0.0.11", "127.0.0.1"]);
    leaf(&proxy, "kube-apiserver-proxy-client", "system:kube-apiserver-proxy-client", Usage::Client, &[]);
    leaf(&cluster, "kube-service-account-token", "kube-service-account-token", Usage::Server, &["n1"]);
    m.is(
        "RKE1",
        &[&CONTROL_PLANE[..], &[Role::EtcdServer, Role::EtcdPeer, Role::ApiserverEtcdClient]].concat(),
        &["pki.ca.etcd-own", "pki.file.extra", "pki.user.kubelet"],
    );
}

#[test]
fn microk8s_takes_its_flags_from_files() {
    let m = Maker::new();
    let certs = "var/snap/microk8s/current/certs";
    let pair = |stem: &str| (format!("{certs}/{stem}.crt"), format!("{certs}/{stem}.key"));
    let cluster = m.ca(&pair("ca").0, Some(&pair("ca").1), "10.152.183.1");
    let proxy = m.ca(&pair("front-proxy-ca").0, Some(&pair("front-proxy-ca").1), "front-proxy-ca");
    let sans = [&SERVICE[..], &["10.152.183.1"]].concat();
    m.leaf(&cluster, (&pair("server").0, &pair("server").1), "127.0.0.1", Usage::Both, &sans);
    m.leaf(
        &proxy,
        (&pair("front-proxy-client").0, &pair("front-proxy-client").1),
        "front-proxy-client",
        Usage::Client,
        &[],
    );
    m.leaf(
        &cluster,
        (&pair("apiserver-kubelet-client").0, &pair("apiserver-kubelet-client").1),
        "kube-apiserver-kubelet-client/system:masters",
        Usage::Client,
        &[],
    );
    m.service_accounts(&format!("{certs}/serviceaccount.key"), None);
    m.file(
        "var/snap/microk8s/current/args/kube-apiserver",
        "--service-cluster-ip-range=10.152.183.0/24\n--client-ca-file=${SNAP_DATA}/certs/ca.crt\n\
         --tls-cert-file=${SNAP_DATA}/certs/server.crt\n--tls-private-key-file=${SNAP_DATA}/certs/server.key\n\
         --service-account-key-file=${SNAP_DATA}/certs/serviceaccount.key\n\
         --service-account-signing-key-file=${SNAP_DATA}/certs/serviceaccount.key\n\
         --requestheader-client-ca-file=${SNAP_DATA}/certs/front-proxy-ca.crt\n\
         --requestheader-allowed-names=front-proxy-client\n\
         --proxy-client-cert-file=${SNAP_DATA}/certs/front-proxy-client.crt\n\
         --proxy-client-key-file=${SNAP_DATA}/certs/front-proxy-client.key\n\
         --kubelet-client-certificate=${SNAP_DATA}/certs/apiserver-kubelet-client.crt\n\
         --kubelet-client-key=${SNAP_DATA}/certs/apiserver-kubelet-client.key\n\
         --etcd-servers=unix:///var/snap/microk8s/current/var/kubernetes/backend/kine.sock:12379\n",
    );
    for file in ["ca.key", "server.key"] {
        m.own(&format!("{certs}/{file}"), 0, 0o640);
    }
    m.is("MicroK8s", &CONTROL_PLANE, &[]);
}

#[test]
fn kops_mounts_its_files_elsewhere_in_the_container() {
    let m = Maker::new();
    let base = "srv/kubernetes";
    let pair = |stem: &str| (format!("{base}/kube-apiserver/{stem}.crt"), format!("{base}/kube-apiserver/{stem}.key"));
    let cluster = m.ca(&format!("{base}/ca.crt"), None, "kubernetes-ca");
    let etcd = m.ca(&format!("{base}/kube-apiserver/etcd-ca.crt"), None, "etcd-clients-ca");
    let proxy = m.ca(&format!("{base}/kube-apiserver/apiserver-aggregator-ca.crt"), None, "apiserver-aggregator-ca");
    let leaf = |by: &Authority, stem: &str, who: &str, usage, sans: &[&str]| {
        m.leaf(by, (&pair(stem).0, &pair(stem).1), who, usage, sans);
    };
    let sans = [&SERVICE[..], &["100.64.0.1"]].concat();
    let (crt, key) = pair("server");
    let serving = m.leaf(&cluster, (&crt, &key), "kubernetes-master", Usage::Server, &sans);
    m.file(&crt, &format!("{serving}{}", cluster.pem));
    leaf(&cluster, "kubelet-api", "kubelet-api", Usage::Client, &[]);
    leaf(&etcd, "etcd-client", "etcd-client", Usage::Client, &[]);
    leaf(&proxy, "apiserver-aggregator", "aggregator", Usage::Client, &[]);
    // etcd-manager's volumes: main and events share the CA of clients, Cilium's has one of its own, and of peers each
    // has.
    m.file("etc/kubernetes/pki/etcd-manager-main/etcd-clients-ca.crt", &etcd.pem);
    let other = m.ca("tmp/cilium.crt", None, "etcd-clients-ca-cilium");
    for (volume, token, clients) in [("a", "Zm9v", &etcd), ("b", "YmFy", &etcd), ("c", "YmF6", &other)] {
        let place = |file: &str| format!("mnt/master-vol-0{volume}/pki/{token}/{file}");
        let peers = m.ca(&place("peers/ca.crt"), None, &format!("etcd-peers-ca-{volume}"));
        m.file(&place("clients/ca.crt"), &clients.pem);
        let sans = ["etcd-a", "etcd-a.internal.test", "127.0.0.1"];
        m.leaf(&peers, (&place("peers/me.crt"), &place("peers/me.key")), "etcd-a", Usage::Both, &sans);
        m.leaf(clients, (&place("clients/server.crt"), &place("clients/server.key")), "etcd-a", Usage::Both, &sans);
    }
    m.service_accounts(
        &format!("{base}/kube-apiserver/service-account.key"),
        Some(&format!("{base}/kube-apiserver/service-account.pub")),
    );
    m.file(
        "etc/kubernetes/manifests/kube-apiserver.manifest",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\n\
         spec:\n  containers:\n  - name: kube-apiserver\n    image: kube-apiserver-amd64\n    args:\n    - \
         --log-file=/var/log/kube-apiserver.log\n    - --also-stdout\n    - /usr/local/bin/kube-apiserver\n    - \
         --client-ca-file=/srv/kubernetes/ca.crt\n    - --tls-cert-file=/srv/kubernetes/kube-apiserver/server.crt\n    \
         - --tls-private-key-file=/srv/kubernetes/kube-apiserver/server.key\n    - \
         --etcd-cafile=/srv/kubernetes/kube-apiserver/etcd-ca.crt\n    - \
         --etcd-certfile=/srv/kubernetes/kube-apiserver/etcd-client.crt\n    - \
         --etcd-keyfile=/srv/kubernetes/kube-apiserver/etcd-client.key\n    - \
         --etcd-servers=https://127.0.0.1:4001\n    - \
         --kubelet-client-certificate=/srv/kubernetes/kube-apiserver/kubelet-api.crt\n    - \
         --kubelet-client-key=/srv/kubernetes/kube-apiserver/kubelet-api.key\n    - \
         --proxy-client-cert-file=/pki/apiserver-aggregator.crt\n    - \
         --proxy-client-key-file=/pki/apiserver-aggregator.key\n    - \
         --requestheader-client-ca-file=/pki/apiserver-aggregator-ca.crt\n    - \
         --requestheader-allowed-names=aggregator\n    - --service-account-key-file=/pki/service-account.pub\n    - \
         --service-account-signing-key-file=/pki/service-account.key\n    - \
         --service-cluster-ip-range=100.64.0.0/13\n    volumeMounts:\n    - {mountPath: /pki, name: own}\n    - \
         {mountPath: /srv/kubernetes, name: all}\n  volumes:\n  - {name: own, hostPath: {path: \
         /srv/kubernetes/kube-apiserver}}\n  - {name: all, hostPath: {path: /srv/kubernetes}}\n",
    );
    let etcd = [Role::ApiserverEtcdClient, Role::EtcdServerCa, Role::EtcdServer, Role::EtcdPeer, Role::EtcdPeerCa];
    m.is("kops", &[&CONTROL_PLANE[..], &etcd].concat(), &[]);
    let host = LiveHost::open(m.root()).unwrap();
    let facts = Facts::read(&Recorder::new(&host, true));
    assert_eq!((facts.of_role(Role::EtcdServer).count(), facts.of_role(Role::EtcdPeer).count()), (3, 3));
    // What one volume has is verified by what lies beside it.
    let (mine, others) = ("mnt/master-vol-0a/pki/Zm9v/peers/ca.crt", "mnt/master-vol-0b/pki/YmFy/peers/ca.crt");
    std::fs::copy(m.root().join(others), m.root().join(mine)).unwrap();
    let found = audit(&host, None, &profile()).breached;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["pki.chain.wrong-ca"], "{found:#?}");
}

#[test]
fn kubespray_has_etcd_of_a_script_for_a_hundred_years() {
    let m = Maker::new();
    let pair = |stem: &str| (format!("etc/kubernetes/ssl/{stem}.crt"), format!("etc/kubernetes/ssl/{stem}.key"));
    let cluster = m.ca(&pair("ca").0, Some(&pair("ca").1), "kubernetes");
    let proxy = m.ca(&pair("front-proxy-ca").0, Some(&pair("front-proxy-ca").1), "front-proxy-ca");
    std::os::unix::fs::symlink("ssl", m.root().join("etc/kubernetes/pki")).unwrap();
    m.leaf(&cluster, (&pair("apiserver").0, &pair("apiserver").1), "kube-apiserver", Usage::Server, &SERVICE);
    m.leaf(
        &cluster,
        (&pair("apiserver-kubelet-client").0, &pair("apiserver-kubelet-client").1),
        "kube-apiserver-kubelet-client/kubeadm:cluster-admins",
        Usage::Client,
        &[],
    );
    m.leaf(
        &proxy,
        (&pair("front-proxy-client").0, &pair("front-proxy-client").1),
        "front-proxy-client",
        Usage::Client,
        &[],
    );
    m.service_accounts("etc/kubernetes/ssl/sa.key", Some("etc/kubernetes/ssl/sa.pub"));
    let etcd = |stem: &str| (format!("etc/ssl/etcd/ssl/{stem}.pem"), format!("etc/ssl/etcd/ssl/{stem}-key.pem"));
    let authority = m.ca_until(&etcd("ca").0, Some(&etcd("ca").1), "etcd-ca", 36_500);
    for (stem, who) in [("member-n1", "etcd-member-n1"), ("admin-n1", "etcd-admin-n1"), ("node-n1", "etcd-node-n1")] {
        m.leaf_for(
            &authority,
            (&etcd(stem).0, &etcd(stem).1),
            who,
            Usage::Both,
            &["n1", "localhost", "127.0.0.1"],
            36_500,
        );
    }
    m.is(
        "Kubespray",
        &[&CONTROL_PLANE[..], &[Role::EtcdServer, Role::EtcdPeer, Role::ApiserverEtcdClient, Role::EtcdClient]]
            .concat(),
        &["pki.validity.ca-long", "pki.validity.long"],
    );
}

#[test]
fn minikube_shows_what_it_serves() {
    let m = Maker::new();
    let pair =
        |stem: &str| (format!("var/lib/minikube/certs/{stem}.crt"), format!("var/lib/minikube/certs/{stem}.key"));
    let cluster = m.ca(&pair("ca").0, Some(&pair("ca").1), "minikubeCA");
    let proxy = m.ca(&pair("proxy-client-ca").0, Some(&pair("proxy-client-ca").1), "proxyClientCA");
    m.leaf_for(
        &cluster,
        (&pair("apiserver").0, &pair("apiserver").1),
        "minikube/system:masters",
        Usage::Both,
        &SERVICE,
        1_095,
    );
    m.leaf_for(&proxy, (&pair("proxy-client").0, &pair("proxy-client").1), "aggregator", Usage::Client, &[], 1_095);
    m.service_accounts("var/lib/minikube/certs/sa.key", Some("var/lib/minikube/certs/sa.pub"));
    let absolute = |file: String| format!("/{file}");
    m.kubeconfig(
        "var/lib/minikube/kubeconfig",
        &absolute(pair("ca").0),
        &absolute(pair("apiserver").0),
        &absolute(pair("apiserver").1),
    );
    m.is("minikube", &[&CONTROL_PLANE[..], &[Role::AdminClient]].concat(), &["pki.validity.long"]);
}

#[test]
fn talos_gives_each_component_a_user_and_etcd_ten_years() {
    let m = Maker::new();
    let server = |stem: &str| (kube("kube-apiserver", stem, "crt"), kube("kube-apiserver", stem, "key"));
    fn kube(component: &str, stem: &str, end: &str) -> String {
        format!("system/secrets/kubernetes/{component}/{stem}.{end}")
    }
    let signing = (kube("kube-controller-manager", "ca", "crt"), kube("kube-controller-manager", "ca", "key"));
    let cluster = m.ca(&signing.0, Some(&signing.1), "kubernetes");
    m.file(&server("ca").0, &cluster.pem);
    m.file("etc/kubernetes/pki/ca.crt", &cluster.pem);
    // The key of this one is in the machine configuration alone.
    let proxy = m.ca(&server("aggregator-ca").0, Some("tmp/aggregator.key"), "front-proxy");
    let leaf = |by: &Authority, stem: &str, who: &str, usage, sans: &[&str]| {
        m.leaf(by, (&server(stem).0, &server(stem).1), who, usage, sans)
    };
    let sans = [&SERVICE[..], &["localhost", "10.96.0.1", "api.example.test"]].concat();
    let serving = leaf(&cluster, "apiserver", "kube-apiserver/kube-master", Usage::Server, &sans);
    m.file(&server("apiserver").0, &format!("{serving}\n{}", cluster.pem));
    let kubelets = "apiserver-kubelet-client/system:masters";
    leaf(&cluster, "apiserver-kubelet-client", kubelets, Usage::Client, &[]);
    leaf(&proxy, "front-proxy-client", "front-proxy-client", Usage::Client, &[]);
    let key = kube("kube-controller-manager", "service-account", "key");
    m.service_accounts(&key, Some(&kube("kube-apiserver", "service-account", "pub")));
    let etcd = |stem: &str| (format!("system/secrets/etcd/{stem}.crt"), format!("system/secrets/etcd/{stem}.key"));
    let authority = m.ca(&etcd("ca").0, Some(&etcd("ca").1), "etcd");
    m.file(&server("etcd-client-ca").0, &authority.pem);
    // Made anew when etcd starts, for as long as its CA had at its begin.
    let long = |files: (String, String), who: &str, usage, sans: &[&str]| {
        m.leaf_for(&authority, (&files.0, &files.1), who, usage, sans, 3_650);
    };
    long(server("etcd-client"), "kube-apiserver", Usage::Client, &[]);
    long(etcd("server"), "n1", Usage::Both, &["n1", "localhost", "127.0.0.1"]);
    long(etcd("peer"), "n1", Usage::Both, &["n1"]);
    long(etcd("admin"), "talos", Usage::Client, &[]);
    for (component, user) in [("kube-apiserver", 65_534), ("kube-controller-manager", 65_535), ("etcd", 60)] {
        let folder = if component == "etcd" { "etcd".to_owned() } else { format!("kubernetes/{component}") };
        for entry in std::fs::read_dir(m.root().join("system/secrets").join(&folder)).unwrap() {
            let name = entry.unwrap().file_name();
            m.own(&format!("system/secrets/{folder}/{}", name.to_str().unwrap()), user, 0o400);
        }
    }
    let wanted =
        [Role::RootCa, Role::SigningCa, Role::KubeletClientCa, Role::EtcdServer, Role::EtcdPeer, Role::EtcdClient];
    let known = ["pki.chain.outlives-ca", "pki.validity.long"];
    m.is("Talos", &[&CONTROL_PLANE[..], &wanted].concat(), &known);
    // What the node was told lies beside it, and counts where no flag says so.
    let base64 =
        |path: &str| base64::engine::general_purpose::STANDARD.encode(std::fs::read(m.root().join(path)).unwrap());
    let pair = |crt: &str, key: &str| format!("{{crt: {}, key: {}}}", base64(crt), base64(key));
    m.ca("tmp/talos.crt", Some("tmp/talos.key"), "talos");
    let config = |name: &str| {
        let members = [
            ("ca", pair(&signing.0, &signing.1)),
            ("aggregatorCA", pair(&server("aggregator-ca").0, "tmp/aggregator.key")),
            ("serviceAccount", format!("{{key: {}}}", base64(&key))),
            ("etcd", format!("{{ca: {}}}", pair(&etcd("ca").0, &etcd("ca").1))),
            ("controlPlane", format!("{{endpoint: 'https://{name}:6443'}}")),
            ("network", "{serviceSubnets: [10.96.0.0/12]}".to_owned()),
        ];
        let members: String = members.iter().map(|(name, value)| format!("  {name}: {value}\n")).collect();
        let talos = pair("tmp/talos.crt", "tmp/talos.key");
        format!("version: v1alpha1\nmachine:\n  type: controlplane\n  ca: {talos}\ncluster:\n{members}")
    };
    for (name, finds) in
        [("api.example.test", &known[..]), ("other.example.test", &[known[0], "pki.san.endpoint", known[1]])]
    {
        m.file("system/state/config.yaml", &config(name));
        m.own("system/state/config.yaml", 0, 0o600);
        m.is("Talos", &[Role::TalosCa], finds);
    }
}

#[test]
fn openshift_serves_several_certificates() {
    let m = Maker::new();
    let base = "etc/kubernetes/static-pod-resources";
    let secret = |component: &str, name: &str| {
        let folder = format!("{base}/{component}-certs/secrets/{name}");
        (format!("{folder}/tls.crt"), format!("{folder}/tls.key"))
    };
    let clients = m.ca(
        &format!("{base}/kube-apiserver-certs/configmaps/client-ca/ca-bundle.crt"),
        None,
        "admin-kubeconfig-signer",
    );
    m.ca(
        &format!("{base}/kube-apiserver-certs/configmaps/aggregator-client-ca/ca-bundle.crt"),
        None,
        "openshift_aggregator-client-signer",
    );
    // A signer for each purpose, of which most sign for other nodes.
    let purposes = [
        "kube-csr-signer_@1790000000",
        "kubelet-signer",
        "kube-apiserver-to-kubelet-signer",
        "control-plane",
        "e",
        "f",
    ];
    let signers: String = purposes.map(|name| m.ca("tmp/signer.crt", None, name).pem).concat();
    m.file(
        &format!("{base}/kube-apiserver-certs/configmaps/client-ca/ca-bundle.crt"),
        &format!("{}{signers}", clients.pem),
    );
    let (signer, _) = Authority::new(&{
        let mut params = forge::leaf("kube-apiserver-service-network-signer", None, None);
        params.not_after = forge::days(3000);
        params
    });
    for (name, san) in
        [("service-network-serving-certkey", "kubernetes.default.svc"), ("localhost-serving-cert-certkey", "localhost")]
    {
        let files = secret("kube-apiserver", name);
        let serving = m.leaf_for(&signer, (&files.0, &files.1), san, Usage::Server, &[san], 29);
        m.file(&files.0, &format!("{serving}{}", signer.pem));
    }
    // The certificates of all members, as of 4.16 by one signer.
    let etcd_certs = format!("{base}/etcd-certs");
    let bundle = format!("{etcd_certs}/configmaps/etcd-all-bundles/server-ca-bundle.crt");
    let etcd = m.ca(&bundle, None, "openshift-etcd_etcd-signer@1790000000");
    let metrics = m.ca("tmp/metrics.crt", None, "openshift-etcd_etcd-metric-signer@1790000000");
    for node in ["master-0", "master-1"] {
        for (kind, signer) in [("serving", &etcd), ("peer", &etcd), ("serving-metrics", &metrics)] {
            let stem = format!("{etcd_certs}/secrets/etcd-all-certs/etcd-{kind}-{node}");
            let sans = ["etcd.openshift-etcd.svc", "localhost", "10.0.0.4", "127.0.0.1", "::1"];
            let files = (format!("{stem}.crt"), format!("{stem}.key"));
            m.leaf_for(signer, (&files.0, &files.1), "10.0.0.4", Usage::Both, &sans, 1095);
        }
    }
    let host = LiveHost::open(m.root()).unwrap();
    let facts = Facts::read(&Recorder::new(&host, true));
    assert_eq!(facts.of_role(Role::ApiserverServing).count(), 2);
    assert_eq!((facts.of_role(Role::EtcdServer).count(), facts.of_role(Role::EtcdPeer).count()), (2, 2));
    assert!(facts.credentials.iter().all(|one| !one.file.contains("metrics")), "{:#?}", facts.credentials);
    let found = audit(&host, None, &profile()).breached;
    // Certificates of thirty days are no alarm, one for localhost need not name the Service, and signers may be many.
    let alarms = ["pki.validity", "pki.san", "pki.chain.bundle", "pki.chain.root", "pki.chain.wrong-ca", "pki.usage"];
    let found: Vec<_> = found.keys().filter(|id| alarms.iter().any(|alarm| id.starts_with(alarm))).collect();
    // etcd's last for three years.
    assert_eq!(found, ["pki.validity.long"]);
}

#[test]
fn etcdadm_and_bottlerocket() {
    let m = Maker::new();
    let etcd = |stem: &str| (format!("etc/etcd/pki/{stem}.crt"), format!("etc/etcd/pki/{stem}.key"));
    let authority = m.ca(&etcd("ca").0, Some(&etcd("ca").1), "etcd-ca");
    for (stem, usage) in [("server", Usage::Both), ("peer", Usage::Both), ("etcdctl-etcd-client", Usage::Client)] {
        m.leaf(&authority, (&etcd(stem).0, &etcd(stem).1), "n1", usage, &["n1", "127.0.0.1"]);
    }
    m.is("etcdadm", &[Role::EtcdServer, Role::EtcdPeer, Role::EtcdClient], &[]);
    // The client of etcd has a key of another name.
    let m = Maker::new();
    let authority = m.ca("var/lib/kubeadm/pki/etcd/ca.crt", None, "etcd-ca");
    m.leaf(
        &authority,
        ("var/lib/kubeadm/pki/server-etcd-client.crt", "var/lib/kubeadm/pki/apiserver-etcd-client.key"),
        "apiserver",
        Usage::Client,
        &[],
    );
    m.is("Bottlerocket", &[Role::ApiserverEtcdClient, Role::EtcdServerCa], &[]);
}

#[test]
fn a_managed_node_has_a_kubelet_and_no_more() {
    let m = Maker::new();
    let authority = m.ca("etc/kubernetes/certs/ca.crt", None, "ca");
    m.leaf(
        &authority,
        ("etc/kubernetes/certs/client.crt", "etc/kubernetes/certs/client.key"),
        "system:node:n1/system:nodes",
        Usage::Client,
        &[],
    );
    m.kubeconfig(
        "var/lib/kubelet/kubeconfig",
        "/etc/kubernetes/certs/ca.crt",
        "/etc/kubernetes/certs/client.crt",
        "/etc/kubernetes/certs/client.key",
    );
    m.is("managed", &[Role::KubeletClient, Role::KubeletClientCa], &[]);
}

#[test]
fn kind_is_kubeadm_with_its_configuration_in_another_place() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    tree.write(
        "kind/kubeadm.conf",
        "apiServer:\n  certSANs:\n  - localhost\n  - 127.0.0.1\napiVersion: kubeadm.k8s.io/v1beta3\nclusterName: kind\n\
         controlPlaneEndpoint: kind-control-plane:6443\nkind: ClusterConfiguration\n\
         networking:\n  serviceSubnet: 10.96.0.0/12\n---\napiVersion: kubeadm.k8s.io/v1beta3\n\
         kind: InitConfiguration\n",
    );
    let found = audit_tree(&tree).breached;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["pki.san.endpoint"], "{found:#?}");
    tree.reissue("apiserver", |params| {
        for name in ["kind-control-plane", "localhost"] {
            params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        }
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
    });
    let audit = audit_tree(&tree);
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty(), "{audit:#?}");
    assert!(audit.held.contains("pki.san.endpoint"), "{:?}", audit.held);
}

#[test]
fn a_machine_without_a_pki_is_no_noise() {
    let m = Maker::new();
    let audit = audit(&LiveHost::open(m.root()).unwrap() as &dyn Host, None, &profile());
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty() && audit.held.is_empty(), "{audit:#?}");
}
