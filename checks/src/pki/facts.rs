//! All that is known of a node's PKI: what was discovered, what the files hold, and who shows what to whom.

use std::sync::Arc;

use super::discover::{Component, Discovery, From, Kind, KubeconfigUse, Role};
use super::gap::{Gap, untold};
use super::kubeconfig::{Cluster, User};
use super::reader::Reader;
use super::settings::Settings;
use super::store::{Contents, File, Held, Store};
use super::x509::path::Signatures;
use super::x509::{Certificate, PublicKey};
use super::{api, leak, live};
use crate::conclusion::{Conclusion, Inconclusive};
use crate::fact::Fact;
use crate::host::{Host, Query, UNRECORDED};

/// A certificate that somebody shows, and its key.
#[derive(Debug, Clone)]
pub struct Credential {
    /// What it is for.
    pub role: Role,
    /// Who shows it.
    pub holder: Component,
    /// The file that it is in: a certificate's or a kubeconfig's.
    pub file: String,
    /// The kubeconfig that leads to it, if one does.
    pub kubeconfig: Option<String>,
    /// The certificate and what stands behind it in the file; never empty.
    pub chain: Vec<Held>,
    /// The file of its key.
    pub key_file: Option<String>,
    /// The public half of its key.
    pub key: Option<PublicKey>,
    /// Who says so.
    pub from: From,
    /// Does it stand behind other certificates in its file, where those that load it look for the first?
    pub misplaced: bool,
}

impl Credential {
    /// The certificate itself.
    #[must_use]
    pub fn leaf(&self) -> &Arc<Certificate> {
        &self.chain[0].certificate
    }

    /// The line where it begins in its file, if the file has lines.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        Some(self.chain[0].line).filter(|line| *line > 0)
    }
}

/// Certificates that somebody trusts.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What they are trusted for.
    pub role: Role,
    /// By whom.
    pub holder: Component,
    /// The file.
    pub file: String,
    /// The certificates.
    pub certificates: Vec<Held>,
    /// The key of the first one, if it is here.
    pub key: Option<PublicKey>,
    /// The file of that key.
    pub key_file: Option<String>,
}

/// A kubeconfig with what it leads to.
#[derive(Debug, Clone)]
pub struct Client {
    /// The kubeconfig.
    pub of: KubeconfigUse,
    /// The CAs that it trusts, and the file that they are in; none if it names none.
    pub ca: Option<(String, Vec<Held>)>,
    /// The cluster that counts.
    pub cluster: Option<Cluster<Contents>>,
    /// The user that counts.
    pub user: Option<User<Contents>>,
}

/// All that is known of a node's PKI.
#[derive(Debug)]
pub struct Facts {
    /// Why there are no files to judge, if that is known before one is looked for.
    unseen: Option<Unseen>,
    /// What was discovered.
    pub discovery: Discovery,
    /// The files.
    pub store: Store,
    /// What the cluster is told of itself.
    pub settings: Settings,
    /// The certificates that somebody shows.
    pub credentials: Vec<Credential>,
    /// The bundles that somebody trusts.
    pub bundles: Vec<Bundle>,
    /// The kubeconfigs.
    pub clients: Vec<Client>,
    /// Why files that are there could not be read; each names its file.
    pub unread: Vec<String>,
    /// Files with a role that do not tell what they must.
    pub gaps: Vec<Gap>,
    /// What the flags of components would name that nobody knows.
    pub untold: Vec<Gap>,
    /// Signatures that were verified, each once.
    pub signatures: Signatures,
    /// What the cluster's servers present.
    pub live: live::Facts,
    /// What its API says.
    pub api: api::Facts,
    /// Certificates that were issued by CertificateSigningRequests, the newest of each subject: no file on a node holds
    /// them.
    pub issued: Vec<Issued>,
    /// Where its keys got to.
    pub leaks: leak::Facts,
}

/// A certificate that was issued by a CertificateSigningRequest.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The object: `csr/NAME`.
    pub place: String,
    /// The certificate.
    pub certificate: Arc<Certificate>,
}

/// Why there are no files to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unseen {
    /// Servers and an API were named, and no node.
    NoNode,
    /// A recording of before the PKI was looked at.
    NotRecorded,
}

impl Facts {
    /// Asks a host for everything.
    #[must_use]
    pub fn read(host: &dyn Host) -> Self {
        let mut facts = Self::of_roles(host);
        facts.leaks = leak::Facts::read(host, &facts.discovery);
        facts
    }

    /// Asks a host for what has a role, without the search for keys in logs, copies of etcd's data and images, which
    /// takes longer than all else.
    #[must_use]
    pub fn of_roles(host: &dyn Host) -> Self {
        let unseen = match host.ask(&Query::Processes) {
            _ if host.layout().remote => Some(Unseen::NoNode),
            // Of a tree that is no running node nobody asks it either.
            Err(refusal) if refusal.message.ends_with(UNRECORDED) => Some(Unseen::NotRecorded),
            _ => None,
        };
        let discovery = Discovery::of(host);
        let mut store = Store::default();
        discovery.talos.iter().for_each(|(file, _)| store.read(host, file));
        for one in &discovery.uses {
            store.read(host, &one.file);
            one.key.iter().for_each(|key| store.read(host, key));
        }
        discovery.kubeconfigs.iter().for_each(|one| store.read(host, &one.file));
        discovery.others.iter().chain(&discovery.backups).for_each(|file| store.read(host, file));
        discovery.astray.iter().for_each(|link| store.read(host, link));
        let named: Vec<_> = store.iter().flat_map(referred).collect();
        named.iter().for_each(|file| store.read(host, file));
        let settings = Settings::read(host, &discovery);
        let api = api::Facts::read(host);
        let issued = api.newest_issued();
        let mut facts = Self {
            unseen,
            discovery,
            store,
            settings,
            credentials: Vec::new(),
            bundles: Vec::new(),
            clients: Vec::new(),
            unread: Vec::new(),
            gaps: Vec::new(),
            untold: Vec::new(),
            signatures: Signatures::default(),
            live: live::Facts::read(host, api.leads()),
            api,
            issued,
            leaks: leak::Facts::default(),
        };
        facts.relate();
        facts.gaps = facts.find_gaps();
        facts.live.log_ins = live::log_ins(host, &facts.credentials, &facts.live);
        facts.untold = untold(&facts.discovery);
        facts
    }

    /// Turns uses of files into certificates and bundles.
    fn relate(&mut self) {
        let Self { discovery, store, credentials, bundles, clients, unread, .. } = self;
        let mut known = |path: &str| {
            let file = store.get(path)?;
            if let Fact::Unreadable(why) = &file.contents
                && !unread.contains(why)
            {
                unread.push(why.clone());
            }
            file.contents.known()
        };
        for one in &discovery.uses {
            let (role, holder, file) = (one.role, one.holder, one.file.clone());
            let contents = known(&one.file);
            let key = one.key.as_ref().and_then(|key| known(key));
            let key = key.and_then(|key| Reader::of_key(role).read(key, None).keys.into_iter().next());
            // What its reader passes over is nobody's.
            let (Some(reader), Some(contents)) = (Reader::of(role), contents) else { continue };
            let certificates = reader.read(contents, None).certificates;
            if certificates.is_empty() {
                continue;
            }
            match role.kind() {
                Kind::Key | Kind::Revocations => {}
                Kind::Bundle => {
                    bundles.push(Bundle { role, holder, file, certificates, key, key_file: one.key.clone() });
                }
                Kind::Server | Kind::Client | Kind::Both => {
                    let (chain, misplaced) = in_order(certificates, key.as_ref());
                    credentials.push(Credential {
                        role,
                        holder,
                        file,
                        kubeconfig: None,
                        chain,
                        key_file: one.key.clone(),
                        key,
                        from: one.from.clone(),
                        misplaced,
                    });
                }
            }
        }
        let others =
            discovery.others.iter().filter(|path| store.get(path).is_some_and(|file| file.kubeconfig.is_some()));
        let others = others.map(|path| KubeconfigUse {
            file: path.clone(),
            holder: Component::People,
            role: Role::OtherClient,
            from: From::Layout("a kubeconfig"),
            required: false,
        });
        for of in discovery.kubeconfigs.iter().cloned().chain(others) {
            known(&of.file);
            let Some(config) = store.get(&of.file).and_then(|file| file.kubeconfig.as_ref()) else { continue };
            let (cluster, user) = (config.cluster().cloned(), config.user().cloned());
            let held = |embedded: Option<&Contents>, named: Option<&String>| match (embedded, named) {
                (Some(contents), _) => Some((of.file.clone(), contents.clone())),
                (None, Some(name)) => {
                    let path = beside(&of.file, name);
                    Some((path.clone(), store.contents(&path)?.clone()))
                }
                (None, None) => None,
            };
            let ca = cluster.as_ref().and_then(|one| held(one.ca.as_ref(), one.ca_file.as_ref()));
            let ca = ca.map(|(file, contents)| (file, Reader::Pool.read(&contents, None).certificates));
            if let Some(user) = &user
                && let Some((file, contents)) = held(user.certificate.as_ref(), user.certificate_file.as_ref())
                && let chain = Reader::Pair.read(&contents, None).certificates
                && let Some(first) = chain.first()
            {
                let key = held(user.key.as_ref(), user.key_file.as_ref());
                // kubelet.conf leads to the file that the kubelet rotates: one certificate, two ways to it.
                let twice = credentials
                    .iter_mut()
                    .find(|one| one.role == of.role && one.leaf().fingerprint == first.certificate.fingerprint);
                match twice {
                    Some(one) => one.kubeconfig = Some(of.file.clone()),
                    None => credentials.push(Credential {
                        role: of.role,
                        holder: of.holder,
                        file,
                        kubeconfig: Some(of.file.clone()),
                        chain,
                        key_file: key.as_ref().map(|(file, _)| file.clone()),
                        key: key.and_then(|(_, key)| Reader::PairKey.read(&key, None).keys.into_iter().next()),
                        from: of.from.clone(),
                        misplaced: false,
                    }),
                }
            }
            clients.push(Client { of, ca, cluster, user });
        }
        for file in discovery.others.iter().chain(&discovery.backups) {
            known(file);
        }
        if discovery.is_nameless() {
            let files = || discovery.others.iter().filter_map(|path| Some((path, store.contents(path)?)));
            for (file, contents) in files() {
                let Some(first) = contents.certificates.first() else { continue };
                let public = &first.certificate.public_key;
                let key = files().find(|(_, other)| other.keys.iter().any(|key| key.public == *public));
                let (key_file, key) = (key.map(|(file, _)| file.clone()), key.map(|_| public.clone()));
                let (file, certificates) = (file.clone(), contents.certificates.clone());
                if certificates.iter().all(|one| one.certificate.is_ca()) {
                    let (role, holder) = (Role::GivenCa, Role::GivenCa.holder());
                    bundles.push(Bundle { role, holder, file, certificates, key, key_file });
                } else {
                    let (role, holder, from) = (Role::Given, Role::Given.holder(), From::Layout("what was given"));
                    let chain = certificates;
                    credentials.push(Credential {
                        role,
                        holder,
                        file,
                        kubeconfig: None,
                        chain,
                        key_file,
                        key,
                        from,
                        misplaced: false,
                    });
                }
            }
        }
        unread.extend(discovery.unread.iter().cloned());
    }

    /// Is there anything to judge? Not applicable on a node without a PKI, undetermined where nobody looked.
    ///
    /// # Errors
    /// If nobody looked.
    pub(super) fn there(&self) -> Result<Option<Conclusion>, Inconclusive> {
        match self.unseen {
            Some(Unseen::NoNode) => {
                return Ok(Some(Conclusion::not_applicable("no node was named, only servers and an API")));
            }
            Some(Unseen::NotRecorded) => {
                return Err(Inconclusive::new("nobody looked at the PKI when this was recorded: record it again"));
            }
            None => {}
        }
        let nothing = self.discovery.uses.is_empty()
            && self.discovery.kubeconfigs.is_empty()
            && self.discovery.talos.is_empty()
            && self.discovery.others.is_empty()
            && self.discovery.unread.is_empty();
        Ok(nothing.then(|| Conclusion::not_applicable("there is no PKI: the node has not joined a cluster")))
    }

    /// Is it a node of the control plane, by what is there?
    #[must_use]
    pub fn is_control_plane(&self) -> bool {
        self.discovery.uses.iter().any(|one| one.holder == Component::Apiserver && one.role == Role::ApiserverServing)
    }

    /// The bundle that counts for a role: the API server's, if it has one.
    #[must_use]
    pub fn bundle(&self, role: Role) -> Option<&Bundle> {
        let all = || self.bundles.iter().filter(move |bundle| bundle.role == role);
        all().find(|bundle| bundle.holder == Component::Apiserver).or_else(|| all().next())
    }

    /// The bundle by which whoever a certificate is shown to verifies it.
    #[must_use]
    pub fn verifier(&self, role: Role) -> Option<&Bundle> {
        role.verified_by().iter().find_map(|&role| self.bundle(role))
    }

    /// The bundle by which whoever this certificate is shown to verifies it: of several of its role, as of the etcds
    /// that kops keeps on a node, the one beside it.
    #[must_use]
    pub fn verifier_of(&self, credential: &Credential) -> Option<&Bundle> {
        let folder = |file: &str| file.rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let home = folder(&credential.file);
        let beside = |role| self.bundles.iter().find(|bundle| bundle.role == role && folder(&bundle.file) == home);
        let several = self.of_role(credential.role).count() > 1;
        let beside = several.then(|| credential.role.verified_by().iter().find_map(|&role| beside(role)));
        beside.flatten().or_else(|| self.verifier(credential.role))
    }

    /// The certificates of a role.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Credential> {
        self.credentials.iter().filter(move |one| one.role == role)
    }

    /// Does somebody present this very certificate as its own, whatever it says that it is?
    #[must_use]
    pub fn presents(&self, certificate: &Certificate) -> bool {
        self.credentials.iter().any(|one| one.leaf().fingerprint == certificate.fingerprint)
    }

    /// Every certificate with a role, each once with the file where it is met first: shown ones, then trusted ones.
    #[must_use]
    pub fn certificates(&self) -> Vec<(&str, &Held)> {
        let shown = self.credentials.iter().flat_map(|one| one.chain.iter().map(|held| (one.file.as_str(), held)));
        let trusted = self.bundles.iter().flat_map(|one| one.certificates.iter().map(|held| (one.file.as_str(), held)));
        let configs = self.clients.iter().filter_map(|client| client.ca.as_ref());
        let configs = configs.flat_map(|(file, all)| all.iter().map(|held| (file.as_str(), held)));
        let mut seen = std::collections::BTreeSet::new();
        shown.chain(trusted).chain(configs).filter(|(_, held)| seen.insert(held.certificate.fingerprint)).collect()
    }
}

/// The certificates of a file with the one in front that its key belongs to, so that a chain in the wrong order is
/// judged as the chain that it should be; and whether another one stands in front of it.
fn in_order(mut chain: Vec<Held>, key: Option<&PublicKey>) -> (Vec<Held>, bool) {
    let of_key = |held: &Held| key.is_some_and(|key| held.certificate.public_key.sha256 == key.sha256);
    match chain.iter().position(of_key) {
        Some(at @ 1..) => {
            let leaf = chain.remove(at);
            // What signed it is what is left, the nearest first: from the one behind it to the front, mostly.
            chain.reverse();
            chain.insert(0, leaf);
            (chain, true)
        }
        _ => (chain, false),
    }
}

/// The files that a kubeconfig names.
fn referred(file: &File) -> Vec<String> {
    let Some(config) = &file.kubeconfig else { return Vec::new() };
    let clusters = config.clusters.iter().filter_map(|one| one.ca_file.as_ref());
    let users = config.users.iter().flat_map(|one| [one.certificate_file.as_ref(), one.key_file.as_ref()]);
    clusters.chain(users.flatten()).map(|name| beside(&file.path, name)).collect()
}

/// A path in a kubeconfig: what is relative is so to the kubeconfig's folder (client-go, clientcmd).
pub(super) fn beside(kubeconfig: &str, name: &str) -> String {
    match kubeconfig.rsplit_once('/') {
        Some((folder, _)) if !name.starts_with('/') => format!("{folder}/{name}"),
        _ => name.to_owned(),
    }
}
