//! What kubeadm refuses once a file is decoded: `cmd/kubeadm/app/apis/kubeadm/validation`, and the checks that its
//! dynamic defaults make before. A test asks kubeadm's own loader the same questions.

use super::document::{
    BootstrapToken, ClusterConfiguration, Endpoint, Etcd, ExternalEtcd, InitConfiguration, JoinConfiguration,
    NodeRegistration, Taint,
};
use super::{BadConfiguration, Configuration, bad, features, network, parse};
use crate::bootstrap::Token;
use crate::shared_certs::CertificateKey;

type Checked = Result<(), BadConfiguration>;

/// Looks at all of it, for a minor version of Kubernetes.
pub(super) fn check(configuration: &Configuration, minor: u32) -> Checked {
    cluster(&configuration.cluster, minor)?;
    network::check(&configuration.services()?, &configuration.pods()?)?;
    configuration.algorithm()?;
    configuration.start_within()?;
    configuration.init.as_ref().map_or(Ok(()), init)?;
    configuration.join.as_ref().map_or(Ok(()), join)
}

fn cluster(cluster: &ClusterConfiguration, minor: u32) -> Checked {
    if let Some(repository) = &cluster.dns.image_repository {
        image_repository("dns.imageRepository", repository)?;
    }
    let networking = &cluster.networking;
    if !parse::is_subdomain(&networking.dns_domain) {
        let why = format!("'{}' is not a DNS name in lower case", networking.dns_domain);
        return Err(bad("networking.dnsDomain", why));
    }
    node_masks(cluster)?;
    // Since 1.21 kubeadm writes these in lower case first; it does so for the API server's alone.
    let lower: Vec<_> = cluster.api_server.cert_sans.iter().map(|san| san.to_lowercase()).collect();
    sans("apiServer.certSANs", &lower)?;
    flags("apiServer.extraArgs", &cluster.api_server.component.extra_args)?;
    flags("controllerManager.extraArgs", &cluster.controller_manager.extra_args)?;
    flags("scheduler.extraArgs", &cluster.scheduler.extra_args)?;
    absolute("certificatesDir", &cluster.certificates_dir)?;
    if let Some(unknown) = cluster.feature_gates.keys().find(|gate| features::default(gate, minor).is_none()) {
        let known = features::known(minor).collect::<Vec<_>>().join(", ");
        let why = format!("kubeadm 1.{minor} has no such feature gate, only {known}");
        return Err(bad(&format!("featureGates.{unknown}"), why));
    }
    if let Some(endpoint) = &cluster.control_plane_endpoint {
        parse::host_port(endpoint).map_err(|why| bad("controlPlaneEndpoint", why))?;
    }
    image_repository("imageRepository", &cluster.image_repository)?;
    etcd(&cluster.etcd)?;
    for (field, text) in [
        ("certificateValidityPeriod", &cluster.certificate_validity_period),
        ("caCertificateValidityPeriod", &cluster.ca_certificate_validity_period),
    ] {
        if !parse::duration(text).map_err(|why| bad(field, why))?.is_positive() {
            return Err(bad(field, format!("'{text}' leaves no time at all")));
        }
    }
    Ok(())
}

/// The mask of nodes must lie within the network of pods, by 16 bits at most.
fn node_masks(cluster: &ClusterConfiguration) -> Checked {
    let flag = |name: &str| {
        let found = cluster.controller_manager.extra_args.iter().rfind(|(flag, _)| flag == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    };
    let field = "networking.podSubnet";
    let pods = network::networks(field, &cluster.networking.pod_subnet)?;
    network::large_enough(field, &pods)?;
    if flag("allocate-node-cidrs") == Some("false") {
        return Ok(());
    }
    for pods in pods {
        let (name, default) =
            if pods.addr().is_ipv4() { ("node-cidr-mask-size-ipv4", 24) } else { ("node-cidr-mask-size-ipv6", 64) };
        let mask = match flag(name) {
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| bad(field, format!("--{name}={text} of the controller-manager is not a number")))?,
            None => default,
        };
        let prefix = i64::from(pods.prefix_len());
        if prefix > mask {
            return Err(bad(field, format!("{pods} is too small: each node gets a /{mask} of it")));
        }
        if mask - prefix > 16 {
            let why = format!("{pods} is too large: /{} at most, since each node gets a /{mask}", mask - 16);
            return Err(bad(field, why));
        }
    }
    Ok(())
}

fn etcd(etcd: &Etcd) -> Checked {
    if etcd.local.is_some() && etcd.external.is_some() {
        return Err(bad("etcd", "local and external are both set: etcd runs in one place"));
    }
    if let Some(local) = &etcd.local {
        absolute("etcd.local.dataDir", &local.data_dir)?;
        sans("etcd.local.serverCertSANs", &local.server_cert_sans)?;
        sans("etcd.local.peerCertSANs", &local.peer_cert_sans)?;
        if let Some(repository) = &local.image_repository {
            image_repository("etcd.local.imageRepository", repository)?;
        }
        flags("etcd.local.extraArgs", &local.extra_args)?;
    }
    etcd.external.as_ref().map_or(Ok(()), external)
}

fn external(etcd: &ExternalEtcd) -> Checked {
    let files = [("caFile", &etcd.ca_file), ("certFile", &etcd.cert_file), ("keyFile", &etcd.key_file)];
    let [ca, certificate, key] = files.map(|(_, file)| !file.is_empty());
    if certificate != key {
        return Err(bad("etcd.external", "certFile and keyFile are set together or not at all"));
    }
    if certificate && !ca {
        return Err(bad("etcd.external.caFile", "certFile and keyFile need it"));
    }
    if etcd.endpoints.is_empty() {
        return Err(bad("etcd.external.endpoints", "at least one endpoint must be given"));
    }
    let urls = |field: &str, urls: &[String], secure: bool| {
        for (at, url) in urls.iter().enumerate() {
            let field = format!("etcd.external.{field}[{at}]");
            let scheme = url.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
            let plain = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            if !plain || !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Err(bad(&field, format!("'{url}' is not a URL")));
            }
            if secure && !scheme.eq_ignore_ascii_case("https") {
                return Err(bad(&field, format!("'{url}' must be https, since caFile is set")));
            }
        }
        Ok(())
    };
    urls("endpoints", &etcd.endpoints, ca || certificate || key)?;
    urls("httpEndpoints", &etcd.http_endpoints, false)?;
    files
        .into_iter()
        .filter(|(_, file)| !file.is_empty())
        .try_for_each(|(name, file)| absolute(&format!("etcd.external.{name}"), file))
}

fn init(init: &InitConfiguration) -> Checked {
    registration(&init.node_registration)?;
    init.bootstrap_tokens.iter().enumerate().try_for_each(|(at, one)| token(&format!("bootstrapTokens[{at}]"), one))?;
    endpoint("localAPIEndpoint", &init.local_api_endpoint)?;
    init.certificate_key.as_ref().map_or(Ok(()), |key| certificate_key("certificateKey", key.reveal()))
}

fn join(join: &JoinConfiguration) -> Checked {
    discovery(join)?;
    registration(&join.node_registration)?;
    if let Some(plane) = &join.control_plane {
        endpoint("controlPlane.localAPIEndpoint", &plane.local_api_endpoint)?;
        if let Some(key) = &plane.certificate_key {
            certificate_key("controlPlane.certificateKey", key.reveal())?;
        }
    }
    if join.ca_cert_path.starts_with('/') && join.ca_cert_path.ends_with(".crt") {
        return Ok(());
    }
    Err(bad("caCertPath", format!("'{}' is not the absolute path of a file *.crt", join.ca_cert_path)))
}

fn discovery(join: &JoinConfiguration) -> Checked {
    let discovery = &join.discovery;
    let a_token = |field: &str, text: Option<&str>| {
        let read = text.unwrap_or_default().parse::<Token>();
        read.map(drop).map_err(|error| bad(field, error.to_string()))
    };
    let tls = discovery.tls_bootstrap_token.as_ref().map(|token| token.reveal());
    match (&discovery.bootstrap_token, &discovery.file) {
        (None, None) => Err(bad("discovery", "bootstrapToken or file must be set")),
        (Some(_), Some(_)) => Err(bad("discovery", "bootstrapToken and file are both set: one is enough")),
        (Some(found), None) => {
            let token = found.token.as_ref().map(|token| token.reveal());
            let server = found.api_server_endpoint.as_deref().unwrap_or_default();
            if parse::split(server).is_none() {
                let why = format!("'{server}' is not host:port");
                return Err(bad("discovery.bootstrapToken.apiServerEndpoint", why));
            }
            if found.ca_cert_hashes.is_empty() && !found.unsafe_skip_ca_verification {
                let why = "without a hash of the CA, unsafeSkipCAVerification must be true";
                return Err(bad("discovery.bootstrapToken.caCertHashes", why));
            }
            a_token("discovery.bootstrapToken.token", token)?;
            a_token("discovery.tlsBootstrapToken", tls.or(token))
        }
        (None, Some(file)) => {
            let path = &file.kube_config_path;
            let there = match path.split_once("://") {
                Some(("https", _)) => true,
                Some(("file", path)) => std::path::Path::new(path).exists(),
                Some(_) => false,
                None => std::path::Path::new(path).exists(),
            };
            if !there {
                let why = format!("'{path}' is neither a file that is there nor an https URL");
                return Err(bad("discovery.file.kubeConfigPath", why));
            }
            tls.map_or(Ok(()), |tls| a_token("discovery.tlsBootstrapToken", Some(tls)))
        }
    }
}

fn registration(registration: &NodeRegistration) -> Checked {
    if let Some(name) = &registration.name {
        // An empty one is the machine's; case does not matter.
        let lower = name.trim().to_lowercase();
        if lower.is_empty() || !parse::is_subdomain(&lower) {
            return Err(bad("nodeRegistration.name", format!("'{name}' is not a DNS name")));
        }
    }
    if let Some(socket) = &registration.cri_socket {
        let path = socket.strip_prefix("unix:").map_or(&**socket, |rest| rest.strip_prefix("//").unwrap_or(rest));
        if !path.starts_with('/') || path.contains(|c: char| c.is_ascii_control()) {
            return Err(bad("nodeRegistration.criSocket", format!("'{socket}' is not the socket unix:///PATH")));
        }
    }
    flags("nodeRegistration.kubeletExtraArgs", &registration.kubelet_extra_args)?;
    let policy = registration.image_pull_policy.as_str();
    if !matches!(policy, "" | "Always" | "IfNotPresent" | "Never") {
        let why = format!("'{policy}' is none of Always, IfNotPresent and Never");
        return Err(bad("nodeRegistration.imagePullPolicy", why));
    }
    let taints = registration.taints.iter().flatten().enumerate();
    let mut seen: Vec<&Taint> = Vec::new();
    for (at, one) in taints {
        taint(&format!("nodeRegistration.taints[{at}]"), one)?;
        if seen.iter().any(|other| other.key == one.key && other.effect == one.effect) {
            let why = format!("{}:{} is given twice", one.key, one.effect);
            return Err(bad(&format!("nodeRegistration.taints[{at}]"), why));
        }
        seen.push(one);
    }
    Ok(())
}

/// kubeadm does not look at taints; the API server refuses a node with such a one (`validateNodeTaints`).
fn taint(field: &str, taint: &Taint) -> Checked {
    let word = |text: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = text.as_bytes();
        bytes.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    let (prefix, name) = taint.key.split_once('/').map_or((None, &*taint.key), |(prefix, name)| (Some(prefix), name));
    if !word(name) || prefix.is_some_and(|prefix| !parse::is_subdomain(prefix)) {
        return Err(bad(&format!("{field}.key"), format!("'{}' is not the key of a taint", taint.key)));
    }
    if let Some(value) = taint.value.as_deref().filter(|value| !value.is_empty() && !word(value)) {
        return Err(bad(&format!("{field}.value"), format!("'{value}' is not the value of a taint")));
    }
    if !matches!(&*taint.effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
        let why = format!("'{}' is none of NoSchedule, PreferNoSchedule and NoExecute", taint.effect);
        return Err(bad(&format!("{field}.effect"), why));
    }
    Ok(())
}

fn token(field: &str, token: &BootstrapToken) -> Checked {
    if let Some(usage) = token.usages.iter().find(|usage| !matches!(&***usage, "signing" | "authentication")) {
        return Err(bad(&format!("{field}.usages"), format!("'{usage}' is neither signing nor authentication")));
    }
    // Those that have none have kubeadm's.
    if !token.usages.is_empty() && !token.usages.iter().any(|usage| usage == "authentication") {
        let why = "groups are for authentication, which is not among these: kubeadm always gives a token groups";
        return Err(bad(&format!("{field}.usages"), why));
    }
    for group in &token.groups {
        let name = group.strip_prefix("system:bootstrappers:").filter(|name| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":-".contains(&byte);
            let last = name.bytes().last().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            name.len() <= 256 && name.bytes().all(plain) && last
        });
        if name.is_none() {
            let why = format!("'{group}' is not of the form system:bootstrappers:NAME");
            return Err(bad(&format!("{field}.groups"), why));
        }
    }
    if token.expires.is_some() {
        // kubeadm gives each token a ttl, and then refuses the two together.
        let why = "kubeadm refuses expires, beside which it always has a ttl: give a ttl";
        return Err(bad(&format!("{field}.expires"), why));
    }
    Ok(())
}

fn endpoint(field: &str, endpoint: &Endpoint) -> Checked {
    let Some(text) = &endpoint.advertise_address else { return Ok(()) };
    let field = format!("{field}.advertiseAddress");
    let address = parse::address(text).ok_or_else(|| bad(&field, format!("'{text}' is not an IP address")))?;
    if address.is_loopback() {
        return Err(bad(&field, format!("no other host reaches {text}")));
    }
    Ok(())
}

fn certificate_key(field: &str, text: &str) -> Checked {
    text.parse::<CertificateKey>().map(drop).map_err(|error| bad(field, error.to_string()))
}

fn sans(field: &str, sans: &[String]) -> Checked {
    let fine = |san: &str| {
        let name = san.strip_prefix("*.").unwrap_or(san);
        parse::is_subdomain(name) && san.len() <= 253 || parse::address(san).is_some()
    };
    match sans.iter().position(|san| !fine(san)) {
        None => Ok(()),
        Some(at) => {
            let why = format!("'{}' is neither an address nor a DNS name in lower case", sans[at]);
            Err(bad(&format!("{field}[{at}]"), why))
        }
    }
}

fn flags(field: &str, flags: &[(String, String)]) -> Checked {
    match flags.iter().position(|(name, _)| name.is_empty()) {
        None => Ok(()),
        Some(at) => Err(bad(&format!("{field}[{at}]"), "a flag has no name")),
    }
}

fn absolute(field: &str, path: &str) -> Checked {
    if path.starts_with('/') { Ok(()) } else { Err(bad(field, format!("'{path}' is not an absolute path"))) }
}

/// Is it the front of an image's name (`github.com/distribution/reference`)?
fn image_repository(field: &str, text: &str) -> Checked {
    let part = |part: &str| {
        let mut rest = part;
        loop {
            let word = rest.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(rest.len());
            if word == 0 {
                return false;
            }
            rest = &rest[word..];
            if rest.is_empty() {
                return true;
            }
            let dashes = rest.len() - rest.trim_start_matches('-').len();
            rest = match () {
                () if dashes > 0 => &rest[dashes..],
                () if rest.starts_with("__") => &rest[2..],
                () if rest.starts_with(['.', '_']) => &rest[1..],
                () => return false,
            };
        }
    };
    let host = |text: &str| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (text, None),
        };
        let label = |label: &str| {
            let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
            edge(label.bytes().next())
                && edge(label.bytes().last())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let v6 = v6.is_some_and(|one| !one.is_empty() && one.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'));
        (v6 || host.split('.').all(label))
            && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (first, rest) = text.split_once('/').map_or((text, None), |(first, rest)| (first, Some(rest)));
    let rest = rest.is_none_or(|rest| rest.split('/').all(part));
    if rest && (part(first) || host(first)) {
        return Ok(());
    }
    Err(bad(field, format!("'{text}' is not the repository of an image: write it as registry.example/path")))
}
