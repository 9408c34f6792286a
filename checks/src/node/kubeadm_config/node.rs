//! Claims about versions, names, sockets, images and folders in a kubeadm configuration.

use serde_json::json;

use super::{
    CLUSTER, KubeadmConfig, at, certificates_dir, claim, cluster, data_dir, init, layout, minor, repository, settle,
    with,
};
use crate::Inconclusive;
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, no_stat, refuses, said, value};
use crate::host::{CriCall, FileKind, Program, Query, RefusalKind};
use crate::node::View;

const REFERENCE: &str = "https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/";
const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";
const KUBELET: &str = "https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/";
const PROXY: &str = "https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/";

/// The versions of kubeadm that read an API version: kubeadm/app/apis/kubeadm/scheme and validateSupportedVersion.
const READERS: [(&str, u32, u32); 3] =
    [("kubeadm.k8s.io/v1beta2", 15, 26), ("kubeadm.k8s.io/v1beta3", 22, 36), ("kubeadm.k8s.io/v1beta4", 31, u32::MAX)];

fn api_version(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let ours = config.documents.iter().filter(|document| document.version.starts_with("kubeadm.k8s.io/"));
    let versions = &view.facts.kubeadm_config.versions;
    let kubeadm = versions.get("kubeadm").and_then(|minor| minor.known()).copied();
    let kubeadm = kubeadm.unwrap_or(view.profile.kubernetes.0);
    let breach = |document: &super::Document| {
        let row = READERS.iter().find(|(version, ..)| *version == document.version);
        let wanted = READERS.iter().rev().find(|(_, first, last)| (*first..=*last).contains(&kubeadm));
        if row.is_some_and(|(_, first, last)| (*first..=*last).contains(&kubeadm)) {
            return None;
        }
        let message = format!("kubeadm 1.{kubeadm} does not read {} of {}", document.kind, document.version);
        let breach = Breach::new(&document.kind, message).found(&document.version);
        Some(
            breach
                .wanted(wanted.map_or("another API version", |(version, ..)| version))
                .at(&config.path, Some(document.line)),
        )
    };
    Ok(Conclusion::from_breaches(ours.filter_map(breach).collect()).because("kubeadm", format!("1.{kubeadm}")))
}

fn version(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let Some(leaf) = config.get(CLUSTER, "kubernetesVersion") else {
        return Ok(Conclusion::not_applicable("the file names no kubernetesVersion: kubeadm takes its own"));
    };
    let Some(wanted) = minor(&leaf.value) else {
        let why = format!("kubernetesVersion is {}, a label that kubeadm resolves on the internet", leaf.value);
        return Ok(Conclusion::undetermined(why));
    };
    let (mut breaches, mut unknown) = (Vec::new(), None);
    let mut compare = |program: &'static str, holds: fn(u32, u32) -> bool, range: String| {
        let versions = &view.facts.kubeadm_config.versions;
        match versions.get(program).map(|minor| minor.present(program)) {
            Some(Ok(Some(&installed))) if !holds(installed, wanted) => {
                let message =
                    format!("kubernetesVersion is {}, and {program} on this node is 1.{installed}", leaf.value);
                let breach = Breach::new(program, message).found(format!("1.{installed}")).wanted(range);
                breaches.push(at(config, Some(leaf), breach));
            }
            Some(Err(why)) => unknown = Some(why),
            _ => {}
        }
    };
    let older = |by: u32| wanted.saturating_sub(by);
    compare(
        "kubelet",
        |kubelet, wanted| kubelet <= wanted && kubelet + 3 >= wanted,
        format!("1.{} to 1.{wanted}", older(3)),
    );
    compare(
        "kubeadm",
        |kubeadm, wanted| kubeadm == wanted || kubeadm == wanted + 1,
        format!("1.{wanted} or 1.{}", wanted + 1),
    );
    settle(breaches, unknown)
}

fn cri_socket(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let leaf = config.node("nodeRegistration.criSocket");
    let wrong = |message: String| {
        let breach = Breach::new("criSocket", message)
            .wanted("the socket of a runtime, such as unix:///run/containerd/containerd.sock");
        Ok(Conclusion::breach(at(config, leaf, breach)))
    };
    if let Some(leaf) = leaf.filter(|leaf| leaf.value.contains("://") && !leaf.value.starts_with("unix://")) {
        return wrong(format!("criSocket {} is not a Unix socket", leaf.value));
    }
    match &view.facts.kubeadm_config.socket {
        None => {
            Ok(Conclusion::not_applicable("the file names no criSocket: node.runtime.* is about what kubeadm finds"))
        }
        Some((path, kind)) => match kind.present(path)? {
            Some(FileKind::Socket) => Ok(Conclusion::holds().because("criSocket", path)),
            Some(_) => wrong(format!("criSocket {path} is not a socket")),
            None => wrong(format!("criSocket {path} does not exist on this node")),
        },
    }
}

/// Images that a node of this file runs; those with a tag of their own are named by it.
fn wanted(config: &KubeadmConfig) -> Vec<String> {
    let repository = repository(config);
    let Some(version) = config.get(CLUSTER, "kubernetesVersion").filter(|leaf| minor(&leaf.value).is_some()) else {
        return Vec::new();
    };
    let tag = format!("v{}", version.value.trim_start_matches('v'));
    let components = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];
    components.iter().map(|component| format!("{repository}/{component}:{tag}")).collect()
}

fn images(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let wanted = wanted(config);
    if wanted.is_empty() {
        return Ok(Conclusion::not_applicable("the file names no version, so its images are not known"));
    }
    let images = view.facts.kubeadm_config.images.need("the runtime's images")?;
    let missing: Vec<_> = wanted.iter().filter(|image| !images.contains(image)).cloned().collect();
    if missing.is_empty() {
        return Ok(Conclusion::holds().because("images", wanted.join(", ")));
    }
    let message =
        format!("{} of {} images are not in the runtime: kubeadm has to pull them", missing.len(), wanted.len());
    let breach = Breach::new("images", message).found(missing.join(", "));
    Ok(Conclusion::breach(at(config, config.get(CLUSTER, "kubernetesVersion"), breach)))
}

fn registry(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let Some(registry) = &view.facts.kubeadm_config.registry else {
        return Ok(Conclusion::not_applicable("the registry is only asked with --ask-registry"));
    };
    let repository = repository(config);
    Ok(match registry {
        crate::fact::Fact::Known(()) => Conclusion::holds().because("imageRepository", repository),
        crate::fact::Fact::Absent(why) => {
            let breach = Breach::new(&repository, format!("the registry of {repository} cannot be reached: {why}"));
            Conclusion::breach(at(config, config.get(CLUSTER, "imageRepository"), breach))
        }
        other => return other.need(&format!("the registry of {repository}")).map(|()| Conclusion::holds()),
    })
}

fn empty_data_dir(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    if config.kind("InitConfiguration").is_none() && config.kind(CLUSTER).is_none() {
        return Ok(Conclusion::not_applicable("the file sets up no etcd"));
    }
    if !config.list(CLUSTER, "etcd.external.endpoints").is_empty() {
        return Ok(Conclusion::not_applicable("etcd runs elsewhere"));
    }
    let path = data_dir(config);
    let folders = &view.facts.kubeadm_config.folders;
    let Some(names) = folders.get(&path) else {
        return Ok(Conclusion::undetermined(format!("{path} was not looked at")));
    };
    Ok(match names.present(&path)? {
        Some(names) if !names.is_empty() => {
            let breach = Breach::new("dataDir", format!("etcd's dataDir {path} is not empty")).found(names.join(", "));
            Conclusion::breach(at(
                config,
                config.get(CLUSTER, "etcd.local.dataDir"),
                breach.wanted("an empty or absent folder"),
            ))
        }
        _ => Conclusion::holds().because("dataDir", path),
    })
}

fn certificates(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let path = certificates_dir(config);
    let folders = &view.facts.kubeadm_config.folders;
    let Some(names) = folders.get(&path) else {
        return Ok(Conclusion::undetermined(format!("{path} was not looked at")));
    };
    let has = |names: &[String], name: &str| names.iter().any(|known| known == name);
    Ok(match names.present(&path)? {
        Some(names) if has(names, "apiserver.crt") && !has(names, "ca.crt") => {
            let message = format!(
                "certificatesDir {path} has apiserver.crt and no ca.crt: kubeadm makes a new CA that \
                 did not sign it"
            );
            let breach = Breach::new("certificatesDir", message).wanted("a whole PKI, a CA, or an empty folder");
            Conclusion::breach(at(config, config.get(CLUSTER, "certificatesDir"), breach))
        }
        _ => Conclusion::holds().because("certificatesDir", path),
    })
}

/// A DNS subdomain in lower case (RFC 1123), which a node's name must be.
fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn node_name(view: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let leaf = config.node("nodeRegistration.name");
    let name = match leaf {
        Some(leaf) => leaf.value.clone(),
        // kubeadm: GetHostname, which trims and lowers.
        None => view.facts.network.hostname.need("host name")?.trim().to_lowercase(),
    };
    if !is_subdomain(&name) {
        let breach = Breach::new(
            "nodeRegistration.name",
            format!("the node's name {name} is not a DNS subdomain in lower case"),
        );
        return Ok(Conclusion::breach(at(config, leaf, breach.found(&name).wanted("a-z, 0-9, '-' and '.'"))));
    }
    let named = config.node("nodeRegistration.kubeletExtraArgs.hostname-override");
    if let Some(named) = named.filter(|named| named.value != name) {
        let message = format!(
            "the kubelet is told to register as {}, and kubeadm issues its certificate for {name}",
            named.value
        );
        let breach = Breach::new("hostname-override", message).found(&named.value).wanted(&name);
        return Ok(Conclusion::breach(at(config, Some(named), breach)));
    }
    Ok(Conclusion::holds().because("name", name))
}

fn taints(_: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let mut breaches = Vec::new();
    for number in 0..1000 {
        let leaf = |member: &str| config.node(&format!("nodeRegistration.taints.{number}.{member}"));
        let (key, effect) = (leaf("key"), leaf("effect"));
        let Some(first) = key.or(effect) else { break };
        let effect = effect.map_or("", |effect| &effect.value);
        let key = key.map_or("", |key| &key.value);
        let wrong = if key.is_empty() {
            Some((format!("a taint with the effect {effect} has no key"), String::new(), "a key"))
        } else if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            let message = format!("the taint {key} has the effect '{effect}': the kubelet refuses to register");
            Some((message, effect.to_owned(), "NoSchedule, PreferNoSchedule or NoExecute"))
        } else {
            None
        };
        if let Some((message, found, wanted)) = wrong {
            breaches.push(at(config, Some(first), Breach::new("taints", message).found(found).wanted(wanted)));
        }
    }
    Ok(Conclusion::from_breaches(breaches))
}

fn cluster_dns(_: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let servers = config.list("KubeletConfiguration", "clusterDNS");
    if servers.is_empty() {
        return Ok(Conclusion::not_applicable(
            "the file names no clusterDNS: kubeadm takes the tenth address of Services",
        ));
    }
    let services = config.get(CLUSTER, "networking.serviceSubnet").map_or("10.96.0.0/12", |leaf| &leaf.value);
    let nets: Vec<ipnet::IpNet> = services.split(',').filter_map(|net| net.trim().parse().ok()).collect();
    // A node-local cache of DNS listens on a link-local address of its own.
    let local = |address: &std::net::IpAddr| matches!(address, std::net::IpAddr::V4(v4) if v4.is_link_local());
    let breach = |leaf: &super::Leaf| {
        let address: Option<std::net::IpAddr> = leaf.value.parse().ok();
        let inside = address.is_some_and(|address| local(&address) || nets.iter().any(|net| net.contains(&address)));
        let message = format!("clusterDNS {} is not in the serviceSubnet: pods cannot resolve names", leaf.value);
        (!inside).then(|| {
            at(
                config,
                Some(leaf),
                Breach::new("clusterDNS", message).found(&leaf.value).wanted(format!("an address of {services}")),
            )
        })
    };
    Ok(Conclusion::from_breaches(servers.into_iter().filter_map(breach).collect()))
}

fn cluster_cidr(_: &View<'_>, config: &KubeadmConfig) -> Result<Conclusion, Inconclusive> {
    let Some(leaf) = config.get("KubeProxyConfiguration", "clusterCIDR") else {
        return Ok(Conclusion::not_applicable(
            "the file sets no clusterCIDR of kube-proxy: kubeadm takes the podSubnet",
        ));
    };
    let pods = config.get(CLUSTER, "networking.podSubnet").map_or("", |leaf| &leaf.value);
    if leaf.value.replace(' ', "") == pods.replace(' ', "") {
        return Ok(Conclusion::holds().because("clusterCIDR", pods));
    }
    let message = format!(
        "kube-proxy's clusterCIDR is {}, and the podSubnet is {}",
        leaf.value,
        if pods.is_empty() { "not set" } else { pods }
    );
    let breach = Breach::new("clusterCIDR", message).found(&leaf.value).wanted(if pods.is_empty() {
        "no clusterCIDR"
    } else {
        pods
    });
    Ok(Conclusion::breach(at(config, Some(leaf), breach)))
}

pub(super) fn checks() -> Vec<Check> {
    let of_version = |version: &str| with(&cluster(&format!("kubernetesVersion: {version}")));
    let kubelet =
        |version: &str| said(Query::Run { program: Program::KubeletVersion }, &format!("Kubernetes v{version}\n"));
    let kubeadm = |version: &str| said(Query::Run { program: Program::KubeadmVersion }, &format!("v{version}\n"));
    let socket = "/run/containerd/containerd.sock";
    let cri = |call| Query::Cri { socket: socket.to_owned(), call };
    let image = |component: &str| format!("registry.k8s.io/{component}:v1.37.2");
    let all = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"].map(image);
    let named = |name: &str| with(&init(&format!("nodeRegistration: {{name: {name}}}")));
    let repository = || layout(&cluster("imageRepository: harbor.example/k8s"), true);
    let harbor = || Query::Lookup { name: "harbor.example".to_owned() };
    let served = Query::Tls {
        address: "192.0.2.40:443".to_owned(),
        call: crate::host::TlsCall::Served { name: Some("harbor.example".to_owned()) },
    };
    vec![
        claim("api-version", "this node's kubeadm reads the API version of the configuration", api_version)
            .alias("kubeadm config migrate")
            .page(
                "kubeadm refuses documents of an API version that it does not know, or no longer does.",
                "Compares apiVersion with the version of the node's kubeadm, or with the profile's where \
                 there is none.",
            )
            .basis("kubeadm: validateSupportedVersion", REFERENCE)
            .remedy(
                Remedy::new("Have kubeadm write the file anew.")
                    .command("kubeadm config migrate --old-config kubeadm.yaml --new-config kubeadm-new.yaml"),
            )
            .good([kubeadm("1.37.2"), with(&init(""))])
            .bad([kubeadm("1.30.1"), with(&init(""))]),
        claim("version", "kubernetesVersion fits this node's kubelet and kubeadm", version)
            .alias("KubernetesVersion")
            .alias("KubeletVersion")
            .page(
                "kubeadm sets up its own minor or the one before, and a kubelet may be three minors older \
                 than the API server and never newer.",
                "Compares kubernetesVersion with kubelet --version and kubeadm version.",
            )
            .basis("Version skew policy: kubelet, kubeadm", SKEW)
            .remedy(Remedy::new("Install the kubelet and kubeadm of kubernetesVersion, or change kubernetesVersion."))
            .good([kubelet("1.37.2"), kubeadm("1.37.2"), of_version("v1.37.2")])
            .bad([kubelet("1.37.2"), kubeadm("1.37.2"), of_version("v1.36.3")]),
        claim("cri-socket", "kubeadm's criSocket is a socket on this node", cri_socket)
            .alias("criSocket")
            .page(
                "The kubelet and kubeadm connect to the runtime by it.",
                "Looks at nodeRegistration.criSocket on the node.",
            )
            .basis("kubeadm configuration: nodeRegistration.criSocket", REFERENCE)
            .remedy(
                Remedy::new("Start the runtime, or name its socket in nodeRegistration.criSocket.")
                    .command("ls -l /run/*/*.sock"),
            )
            .good([with(&init(&format!("nodeRegistration: {{criSocket: \"unix://{socket}\"}}")))])
            .bad([with(&init("nodeRegistration: {criSocket: \"unix:///run/none.sock\"}")), no_stat("/run/none.sock")]),
        claim("images", "the runtime has the images of kubernetesVersion", images)
            .severity(Severity::Low)
            .alias("ImagePull")
            .page(
                "kubeadm pulls what is missing, so it matters on nodes that cannot reach a registry.",
                "Asks the runtime for its images. Only names of Kubernetes' own images are looked at.",
            )
            .basis("kubeadm init phase preflight: ImagePull", REFERENCE)
            .remedy(
                Remedy::new("Pull the images, or import them.")
                    .command("kubeadm config images pull --config kubeadm.yaml"),
            )
            .good([of_version("v1.37.2"), value(cri(CriCall::Images), json!(all))])
            .bad([of_version("v1.37.2"), value(cri(CriCall::Images), json!([image("kube-proxy")]))]),
        claim("registry", "the registry of kubeadm's imageRepository answers", registry)
            .severity(Severity::Info)
            .alias("imageRepository")
            .page(
                "Images cannot be pulled from a registry that does not answer. A node without internet \
                 needs none, if it has the images.",
                "Only with --ask-registry: looks up the registry and begins a TLS handshake; nothing is \
                 pulled.",
            )
            .basis("kubeadm configuration: imageRepository", REFERENCE)
            .remedy(Remedy::new("Correct imageRepository, or let the node reach the registry."))
            .good([repository(), value(harbor(), json!(["192.0.2.40"])), value(served, json!({}))])
            .bad([repository(), refuses(harbor(), RefusalKind::Absent, "harbor.example has no address")]),
        claim("etcd-data-dir", "etcd's dataDir in kubeadm's configuration is empty", empty_data_dir)
            .alias("DirAvailable--var-lib-etcd")
            .page("kubeadm refuses to set up an etcd over the data of another.", "Lists etcd.local.dataDir.")
            .basis("kubeadm preflight: DirAvailable--var-lib-etcd", REFERENCE)
            .remedy(Remedy::new("Back up and empty the folder, or name another.").command("kubeadm reset"))
            .good([with(&cluster("etcd: {local: {dataDir: /data/etcd}}")), dir("/data/etcd", &[])])
            .bad([with(&cluster("etcd: {local: {dataDir: /data/etcd}}")), dir("/data/etcd", &["member/"])]),
        claim("certificates-dir", "kubeadm's certificatesDir holds a whole PKI, a CA or nothing", certificates)
            .alias("certificatesDir")
            .page(
                "kubeadm keeps the certificates that it finds; without their CA it makes another, which \
                 did not sign them.",
                "Lists certificatesDir.",
            )
            .basis("Certificate management with kubeadm: using custom certificates", REFERENCE)
            .remedy(Remedy::new("Copy the CA into the folder, or empty it."))
            .good([with(&cluster("certificatesDir: /pki")), dir("/pki", &["ca.crt", "ca.key", "apiserver.crt"])])
            .bad([with(&cluster("certificatesDir: /pki")), dir("/pki", &["apiserver.crt", "apiserver.key"])]),
        claim("node-name", "the node's name in kubeadm's configuration is one that it can register", node_name)
            .alias("nodeRegistration.name")
            .alias("hostname-override")
            .page(
                "The API server takes only DNS subdomains in lower case, and the kubelet may only change \
                 the node that its certificate names.",
                "Reads nodeRegistration.name and the kubelet's hostname-override; without a name, the \
                 host name in lower case.",
            )
            .basis("kubeadm: ValidateNodeRegistrationOptions", REFERENCE)
            .remedy(Remedy::new("Correct nodeRegistration.name, and leave hostname-override to kubeadm."))
            .good([named("node-1")])
            .bad([named("Node_1")]),
        claim("taints", "every taint in kubeadm's configuration is one that the kubelet takes", taints)
            .alias("nodeRegistration.taints")
            .page(
                "kubeadm does not validate taints; a kubelet with a wrong one does not start.",
                "Reads nodeRegistration.taints.",
            )
            .basis("kubeadm configuration: nodeRegistration.taints", REFERENCE)
            .remedy(Remedy::new("Use the effects NoSchedule, PreferNoSchedule or NoExecute."))
            .good([with(&init("nodeRegistration:\n  taints:\n  - key: a.example/b\n    effect: NoSchedule"))])
            .bad([with(&init("nodeRegistration:\n  taints:\n  - key: a.example/b\n    effect: noschedule"))]),
        claim("cluster-dns", "clusterDNS in kubeadm's configuration is an address of a Service", cluster_dns)
            .alias("clusterDNS")
            .page(
                "Pods get it as their name server; outside the serviceSubnet nothing answers.",
                "Compares KubeletConfiguration with networking.serviceSubnet.",
            )
            .basis("kubelet configuration: clusterDNS", KUBELET)
            .remedy(Remedy::new("Leave clusterDNS out, or name the tenth address of the serviceSubnet."))
            .good([with(
                "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS: [10.96.0.10]\n",
            )])
            .bad([with(
                "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS: [10.32.0.10]\n",
            )]),
        claim("cluster-cidr", "kube-proxy's clusterCIDR is the podSubnet", cluster_cidr)
            .severity(Severity::Medium)
            .alias("clusterCIDR")
            .page(
                "kube-proxy takes traffic from elsewhere for traffic from outside, and masquerades it.",
                "Compares KubeProxyConfiguration with networking.podSubnet.",
            )
            .basis("kube-proxy configuration: clusterCIDR", PROXY)
            .remedy(Remedy::new("Leave clusterCIDR out: kubeadm sets it to the podSubnet."))
            .good([with(&both("10.244.0.0/16"))])
            .bad([with(&both("10.0.0.0/8"))]),
    ]
}

fn both(cidr: &str) -> String {
    let proxy = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: ";
    format!("{}---\n{proxy}{cidr}\n", cluster("networking: {podSubnet: 10.244.0.0/16}"))
}
