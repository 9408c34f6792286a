//! What `kubeadm certs check-expiration` lists, and where it gives up (kubeadm, phases/certs/renewal and
//! phases/certs/certs.go).

use jiff::Timestamp;

use crate::fact::Fact;
use crate::pki::discover::{Component, Role};
use crate::pki::facts::Facts;
use crate::pki::store::{Contents, Held};
use crate::pki::x509::path::{Mode, Pool, Request, Usage};
use crate::pki::x509::{GoVersion, KeyKind};

/// A line of `kubeadm certs check-expiration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeadmLine {
    /// kubeadm's name: `apiserver`, `admin.conf`, `etcd-ca`.
    pub name: &'static str,
    /// When it ends; `None` if it is not there.
    pub until: Option<Timestamp>,
    /// kubeadm's name of the CA that signs it; `None` for a CA.
    pub ca: Option<&'static str>,
    /// Is the key of that CA elsewhere?
    pub external: bool,
}

/// What kubeadm lists, in its order: certificates by name, then CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeadmExpiration {
    /// Certificates and kubeconfigs.
    pub certificates: Vec<KubeadmLine>,
    /// CAs.
    pub authorities: Vec<KubeadmLine>,
    /// Why kubeadm fails and lists nothing.
    pub broken: Vec<String>,
}

/// kubeadm's certificates: name, role, and the CA's name.
pub(in crate::pki) const CERTIFICATES: [(&str, Role, &str); 11] = [
    ("admin.conf", Role::AdminClient, "ca"),
    ("apiserver", Role::ApiserverServing, "ca"),
    ("apiserver-etcd-client", Role::ApiserverEtcdClient, ETCD_CA),
    ("apiserver-kubelet-client", Role::ApiserverKubeletClient, "ca"),
    ("controller-manager.conf", Role::ControllerManagerClient, "ca"),
    ("etcd-healthcheck-client", Role::EtcdClient, ETCD_CA),
    ("etcd-peer", Role::EtcdPeer, ETCD_CA),
    ("etcd-server", Role::EtcdServer, ETCD_CA),
    ("front-proxy-client", Role::FrontProxyClient, "front-proxy-ca"),
    ("scheduler.conf", Role::SchedulerClient, "ca"),
    ("super-admin.conf", Role::SuperAdminClient, "ca"),
];

/// kubeadm's name of etcd's CA.
const ETCD_CA: &str = "etcd-ca";

/// kubeadm's CAs: name, and the roles that its file has.
const AUTHORITIES: [(&str, &[Role]); 3] = [
    ("ca", &[Role::ClientCa, Role::RootCa]),
    (ETCD_CA, &[Role::EtcdClientCa, Role::EtcdServerCa]),
    ("front-proxy-ca", &[Role::FrontProxyCa]),
];

/// What kubeadm verifies of a CA whose key is elsewhere: the certificates that it has signed, and their keys.
const OF_EXTERNAL: [(&str, &[&str]); 3] = [
    ("ca", &["apiserver", "apiserver-kubelet-client"]),
    (ETCD_CA, &["apiserver-etcd-client", "etcd/server", "etcd/peer", "etcd/healthcheck-client"]),
    ("front-proxy-ca", &["front-proxy-client"]),
];

/// The name of a file below `certificatesDir`, without its ending: `etcd/ca` of etcd-ca.
fn base(name: &str) -> String {
    match name.strip_prefix("etcd-") {
        Some(rest) => format!("etcd/{rest}"),
        None => name.to_owned(),
    }
}

impl Facts {
    /// What `kubeadm certs check-expiration` says of this node: of kubeadm's own files where the PKI is kubeadm's, of
    /// others by their roles.
    #[must_use]
    pub fn kubeadm_expiration(&self, now: Timestamp) -> KubeadmExpiration {
        let mut all = match self.discovery.certificates.as_deref().filter(|_| self.discovery.is_kubeadm()) {
            Some(folder) => Files { facts: self, folder, now }.expiration(),
            None => self.expiration_by_roles(),
        };
        // Where etcd is on hosts of its own kubeadm leaves out all that is etcd's.
        if self.discovery.command(Component::Apiserver).is_some()
            && self.discovery.of_role(Role::EtcdServer).next().is_none()
        {
            all.authorities.retain(|one| one.name != ETCD_CA);
            all.certificates.retain(|one| one.ca != Some(ETCD_CA));
        }
        all
    }

    fn expiration_by_roles(&self) -> KubeadmExpiration {
        let authority = |name: &str| {
            let roles = AUTHORITIES.iter().find(|(ca, _)| *ca == name).map_or(&[][..], |(_, roles)| roles);
            roles.iter().find_map(|&role| self.bundle(role))
        };
        // A CA that is there, and whose key is not.
        let external =
            |name: &str| authority(name).is_some_and(|bundle| !self.has_key_of(&bundle.certificates[0].certificate));
        let certificates = CERTIFICATES.iter().map(|&(name, role, ca)| {
            let until = self.of_role(role).next().map(|one| one.leaf().not_after);
            KubeadmLine { name, until, ca: Some(ca), external: external(ca) }
        });
        let authorities = AUTHORITIES.iter().map(|&(name, _)| {
            let until = authority(name).map(|bundle| bundle.certificates[0].certificate.not_after);
            KubeadmLine { name, until, ca: None, external: external(name) }
        });
        let listed = |role: Role| {
            CERTIFICATES.iter().any(|(_, one, _)| *one == role)
                || AUTHORITIES.iter().any(|(_, roles)| roles.contains(&role))
        };
        let broken = self.lost().filter(|lost| lost.there && lost.role.is_some_and(listed));
        let mut broken: Vec<_> = broken.map(|lost| lost.why.clone()).collect();
        broken.dedup();
        KubeadmExpiration { certificates: certificates.collect(), authorities: authorities.collect(), broken }
    }
}

/// kubeadm's own files.
struct Files<'f> {
    facts: &'f Facts,
    folder: &'f str,
    now: Timestamp,
}

impl<'f> Files<'f> {
    fn expiration(&self) -> KubeadmExpiration {
        let (mut certificates, mut authorities, mut broken) = (Vec::new(), Vec::new(), Vec::new());
        let mut line = |name, until: Result<Option<Timestamp>, String>, ca: Option<&'static str>, of: &str| {
            let external = self.is_external(of);
            let until = until.and_then(|until| match until {
                Some(until) => external.clone().map(|_| Some(until)),
                None => Ok(None),
            });
            broken.extend(until.clone().err());
            KubeadmLine { name, until: until.ok().flatten(), ca, external: external.unwrap_or(false) }
        };
        for (name, _, ca) in CERTIFICATES {
            certificates.push(line(name, self.until(name), Some(ca), ca));
        }
        for (name, _) in AUTHORITIES {
            let file = self.path(name, "crt");
            let until = self.is_there(&file).then(|| Ok(self.certificates(&file)?[0].certificate.not_after));
            authorities.push(line(name, until.transpose(), None, name));
        }
        broken.dedup();
        KubeadmExpiration { certificates, authorities, broken }
    }

    fn path(&self, name: &str, ending: &str) -> String {
        format!("{}/{}.{ending}", self.folder.trim_end_matches('/'), base(name))
    }

    /// The end of a certificate or of a kubeconfig's; `None` if it is not there.
    fn until(&self, name: &str) -> Result<Option<Timestamp>, String> {
        if name.ends_with(".conf") {
            return self.until_of_kubeconfig(name);
        }
        let file = self.path(name, "crt");
        if !self.is_there(&file) {
            return Ok(None);
        }
        Ok(Some(self.certificates(&file)?[0].certificate.not_after))
    }

    /// kubeadm renews what is embedded, and so wants that the certificate and the CA are.
    fn until_of_kubeconfig(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let of_name = |path: &&str| path.rsplit('/').next() == Some(name);
        let mut configs = self.facts.discovery.kubeconfigs.iter().map(|one| one.file.as_str()).filter(of_name);
        let Some(path) = configs.next().filter(|path| self.is_there(path)) else { return Ok(None) };
        let config = self.facts.store.get(path).and_then(|file| file.kubeconfig.as_ref());
        let config = config.ok_or_else(|| format!("{path} is not a kubeconfig"))?;
        self.certificates(&self.path("ca", "crt"))?;
        let lacks = |what: &str| format!("{path} has no {what}");
        config.context().ok_or_else(|| lacks("current context"))?;
        let cluster = config.cluster().ok_or_else(|| lacks("cluster of its current context"))?;
        cluster.ca.as_ref().ok_or_else(|| lacks("embedded CA"))?;
        let user = config.user().ok_or_else(|| lacks("user of its current context"))?;
        let contents = user.certificate.as_ref().ok_or_else(|| lacks("embedded client certificate"))?;
        Ok(Some(parsed(path, contents)?[0].certificate.not_after))
    }

    fn is_there(&self, path: &str) -> bool {
        use crate::host::FileKind;
        self.facts
            .store
            .get(path)
            .and_then(|file| file.stat.known())
            .is_some_and(|stat| stat.kind != FileKind::Directory)
    }

    /// All certificates of a file (client-go, `cert.CertsFromFile`): one that cannot be parsed, and none at all, is
    /// an error.
    fn certificates(&self, path: &str) -> Result<&'f [Held], String> {
        match self.facts.store.get(path).map(|file| &file.contents) {
            Some(Fact::Known(contents)) => parsed(path, contents),
            Some(Fact::Unreadable(why) | Fact::Malformed(why)) => Err(why.clone()),
            _ => Err(format!("{path} does not exist")),
        }
    }

    /// Is the key of a CA elsewhere? Then what it has signed must be in order.
    fn is_external(&self, ca: &str) -> Result<bool, String> {
        let file = self.path(ca, "crt");
        let root = &self.certificates(&file)?[0];
        if !root.certificate.is_ca() {
            return Err(format!("{file} is not a CA"));
        }
        let key = self.facts.store.get(&self.path(ca, "key"));
        if key.is_some_and(|key| !key.stat.is_absent()) {
            return Ok(false);
        }
        let signed = OF_EXTERNAL.iter().find(|(name, _)| *name == ca).map_or(&[][..], |(_, signed)| signed);
        for name in signed {
            self.verify(name, root)?;
        }
        Ok(true)
    }

    fn verify(&self, name: &str, root: &Held) -> Result<(), String> {
        let (file, key) = (self.path(name, "crt"), self.path(name, "key"));
        let kind = self.facts.store.contents(&key).and_then(Contents::key).map(|key| &key.kind);
        match kind {
            Some(KeyKind::Rsa(_) | KeyKind::Ec(_)) => {}
            Some(_) => return Err(format!("{key} is neither an RSA nor an ECDSA key")),
            None => return Err(format!("{key} holds no private key that can be read")),
        }
        let (leaf, others) = self.certificates(&file)?.split_first().ok_or("no certificate")?;
        let intermediates = Pool::new(others.iter().map(|held| held.certificate.clone()));
        let roots = Pool::new([root.certificate.clone()]);
        let request = Request {
            leaf: &leaf.certificate,
            intermediates: &intermediates,
            roots: &roots,
            usage: Usage::Any,
            names: &[],
            time: self.now,
        };
        let outcome = request.verify(Mode::Go(GoVersion::NEWEST), &self.facts.signatures);
        if outcome.is_accepted() { Ok(()) } else { Err(format!("{file} is not signed by its CA, or is not in force")) }
    }
}

fn parsed<'c>(path: &str, contents: &'c Contents) -> Result<&'c [Held], String> {
    if let Some((line, why)) = contents.malformed.first() {
        return Err(if *line > 0 { format!("{path} line {line}: {why}") } else { format!("{path}: {why}") });
    }
    if contents.certificates.is_empty() {
        return Err(format!("{path} holds no certificate"));
    }
    Ok(&contents.certificates)
}
