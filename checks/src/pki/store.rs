//! The files of a PKI as they are known: type, mode, owner, who can reach them, and what they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::discover::member;
use super::kubeconfig::Kubeconfig;
use super::talos::Talos;
use super::x509::{Certificate, Fingerprint, Key, KeyForm, PublicKey, RevocationList};
use crate::fact::Fact;
use crate::host::{Block, Credentials, Form, Holds, Host, Oddity, Query, Stat, WrongLabel};

/// A certificate, where it stands.
#[derive(Debug, Clone)]
pub struct Held {
    /// The line in the file where it begins; 0 where there are no lines.
    pub line: u32,
    /// The certificate.
    pub certificate: Arc<Certificate>,
}

/// A private key, of which only the public half is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    /// The line in the file where it begins; 0 where there are no lines.
    pub line: u32,
    /// Its public half.
    pub public: PublicKey,
}

/// A block of PEM, or a file of DER: whoever reads the file takes some of them and passes over others.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The line in the file where it begins; 0 where there are no lines.
    pub line: u32,
    /// Its label; none for what is no block.
    pub label: Option<String>,
    /// Are there header lines in it?
    pub headers: bool,
    /// Does Go's `pem.Decode` pass over it, whatever is in it?
    pub unseen: bool,
    /// What is in it.
    pub what: What,
}

/// What an [`Entry`] holds.
#[derive(Debug, Clone)]
pub enum What {
    /// A certificate.
    Certificate(Arc<Certificate>),
    /// A private key: its public half, and how it is written.
    PrivateKey(PublicKey, Option<KeyForm>),
    /// A public key, and how it is written.
    PublicKey(PublicKey, Option<KeyForm>),
    /// A private key that is encrypted.
    Encrypted,
    /// A revocation list.
    Revocations,
    /// Something else that a PKI may have: a request, parameters.
    Other,
    /// Something that cannot be understood, and why.
    Malformed(String),
}

/// What a file, or an embedded text, holds.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// All of it in order.
    pub entries: Vec<Entry>,
    /// Certificates in order.
    pub certificates: Vec<Held>,
    /// Private keys in order.
    pub keys: Vec<HeldKey>,
    /// Public keys in order.
    pub public_keys: Vec<PublicKey>,
    /// Revocation lists in order: the lines where they begin, and each.
    pub revocations: Vec<(u32, Arc<RevocationList>)>,
    /// Encrypted private keys: the lines where they begin.
    pub encrypted: Vec<u32>,
    /// What cannot be understood: line and reason.
    pub malformed: Vec<(u32, String)>,
    /// Blocks whose label says something else than what is in them, by line.
    pub mislabeled: Vec<(u32, WrongLabel)>,
}

impl Contents {
    /// The key that signs, or that belongs to the certificate: the first one.
    #[must_use]
    pub fn key(&self) -> Option<&PublicKey> {
        self.keys.first().map(|key| &key.public)
    }

    /// Is there neither a certificate, a key nor a revocation list in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { certificates, keys, public_keys, revocations, encrypted, .. } = self;
        certificates.is_empty()
            && keys.is_empty()
            && public_keys.is_empty()
            && revocations.is_empty()
            && encrypted.is_empty()
    }

    fn of(blocks: &[Block], pool: &mut Pool) -> Self {
        let mut contents = Self::default();
        for block in blocks {
            let line = block.line;
            let what = contents.add(block, pool);
            if !matches!(what, What::Malformed(_) | What::Other | What::Encrypted) {
                contents.mislabeled.extend(block.mislabeled.iter().map(|wrong| (line, wrong.clone())));
            }
            // A label is recorded only where it says something else.
            let label = block.label.clone().or_else(|| label_of(&what).map(str::to_owned));
            let (headers, unseen) = (block.headers, block.unseen);
            contents.entries.push(Entry { line, label, headers, unseen, what });
        }
        contents
    }

    /// Adds a block to the lists of what it is.
    fn add(&mut self, block: &Block, pool: &mut Pool) -> What {
        let line = block.line;
        let read = match &block.holds {
            Holds::Certificate { der } => pool.certificate(der).map(|certificate| {
                self.certificates.push(Held { line, certificate: certificate.clone() });
                What::Certificate(certificate)
            }),
            Holds::PrivateKey { spki, form } => {
                Key::parse(KeyForm::PkixPublic, spki).map_err(|why| why.to_string()).map(|key| {
                    self.keys.push(HeldKey { line, public: key.public.clone() });
                    What::PrivateKey(key.public, *form)
                })
            }
            Holds::PublicKey { spki, form } => {
                Key::parse(KeyForm::PkixPublic, spki).map_err(|why| why.to_string()).map(|key| {
                    self.public_keys.push(key.public.clone());
                    What::PublicKey(key.public, *form)
                })
            }
            Holds::RevocationList { der } => RevocationList::parse(der).map_err(|why| why.to_string()).map(|list| {
                self.revocations.push((line, Arc::new(list)));
                What::Revocations
            }),
            Holds::EncryptedKey => {
                self.encrypted.push(line);
                Ok(What::Encrypted)
            }
            Holds::Malformed { why } => Err(why.clone()),
            Holds::Other => Ok(What::Other),
        };
        read.unwrap_or_else(|why| {
            self.malformed.push((line, why.clone()));
            What::Malformed(why)
        })
    }
}

/// The label that belongs to something.
fn label_of(what: &What) -> Option<&'static str> {
    match what {
        What::Certificate(_) => Some("CERTIFICATE"),
        What::PrivateKey(_, form) => Some(form.map_or("PRIVATE KEY", KeyForm::label)),
        What::PublicKey(_, form) => Some(form.map_or("PUBLIC KEY", KeyForm::label)),
        _ => None,
    }
}

/// A file of the PKI.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path on the node.
    pub path: String,
    /// Where it leads to, if it is a link.
    pub link: Option<String>,
    /// Its type, mode and owner; those of what a link leads to.
    pub stat: Fact<Stat>,
    /// Type, mode and owner of the folders above it, the nearest first.
    pub above: Vec<Stat>,
    /// What it holds.
    pub contents: Fact<Contents>,
    /// Is it PEM, DER, a kubeconfig?
    pub form: Form,
    /// The kubeconfig that it is, with what is embedded in it.
    pub kubeconfig: Option<Kubeconfig<Contents>>,
    /// The file of Talos that it is; what it holds has places of its own.
    pub talos: Option<Talos<()>>,
    /// What is odd about its text.
    pub oddities: Vec<Oddity>,
}

impl File {
    /// The bits of its mode that let others than its owner do something, after what the folders above it let them do:
    /// 0o040 is reading by the group, 0o004 by anyone.
    #[must_use]
    pub fn open_to(&self) -> u32 {
        self.stat.known().map_or(0, |stat| open_to(stat, &self.above))
    }

    /// Has it a private key in it?
    #[must_use]
    pub fn has_key(&self) -> bool {
        let holds = |contents: &Contents| !contents.keys.is_empty() || !contents.encrypted.is_empty();
        self.contents.known().is_some_and(holds)
            || self.kubeconfig.iter().flat_map(|config| &config.users).any(|user| user.key.as_ref().is_some_and(holds))
            || self.talos.as_ref().is_some_and(Talos::has_key)
    }
}

/// The bits of a file's mode that let others than its owner do something, after what the folders above it let them do.
///
/// The bits are those of a mode: 0o040 is reading by the group, 0o004 by anyone. Access lists show in them, too: the
/// group's bits of a file with one are its mask, the most that any entry gives (acl(5)).
pub(super) fn open_to(stat: &Stat, above: &[Stat]) -> u32 {
    // Somebody of the group must pass each folder as its group or as anyone; as which group is not compared, so that
    // what is in doubt counts as open.
    let group = above.iter().all(|folder| folder.mode & 0o011 != 0);
    let others = above.iter().all(|folder| folder.mode & 0o001 != 0);
    let group_bits = if group { stat.mode & 0o070 } else { 0 };
    let other_bits = if others { stat.mode & 0o007 } else { 0 };
    group_bits | other_bits
}

/// Every certificate once, however many files it is in.
#[derive(Default)]
struct Pool(BTreeMap<Fingerprint, Arc<Certificate>>);

impl Pool {
    fn certificate(&mut self, der: &[u8]) -> Result<Arc<Certificate>, String> {
        let known = self.0.get(&Fingerprint::of(der));
        if let Some(certificate) = known {
            return Ok(Arc::clone(certificate));
        }
        let certificate = Arc::new(Certificate::parse(der).map_err(|error| error.to_string())?);
        self.0.insert(certificate.fingerprint, Arc::clone(&certificate));
        Ok(certificate)
    }
}

/// The files of a PKI, each read once.
#[derive(Default)]
pub struct Store {
    files: BTreeMap<String, File>,
    folders: BTreeMap<String, Fact<Stat>>,
    pool: Pool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}

impl Store {
    /// Reads a file, unless it is known.
    pub(super) fn read(&mut self, host: &dyn Host, path: &str) {
        if self.files.contains_key(path) {
            return;
        }
        let (stat, link) = (host.stat(path), host.link(path).known().cloned());
        let mut above = Vec::new();
        let mut folder = path;
        while let Some((parent, _)) = folder.rsplit_once('/') {
            let name = if parent.is_empty() { "/" } else { parent };
            let stat = self.folders.entry(name.to_owned()).or_insert_with(|| host.stat(name));
            above.extend(stat.known());
            folder = parent;
        }
        let said: Fact<Credentials> = host.parsed(&Query::Credentials { path: path.to_owned() });
        let (mut form, mut kubeconfig, mut talos, mut oddities) = (Form::Nothing, None, None, Vec::new());
        let pool = &mut self.pool;
        let mut contents = said.map(|said| {
            form = said.form;
            oddities = said.oddities;
            kubeconfig = said.kubeconfig.map(|config| config.map(|blocks| Contents::of(&blocks, pool)));
            talos = said.talos;
            Contents::of(&said.blocks, pool)
        });
        if let (Some(talos), Fact::Known(contents)) = (&talos, &mut contents) {
            contents.malformed.extend(talos.broken.clone());
            self.members(path, talos);
        }
        let talos = talos.map(|talos| talos.map(|_| ()));
        let file = File { path: path.to_owned(), link, stat, above, contents, form, kubeconfig, talos, oddities };
        self.files.insert(path.to_owned(), file);
    }

    /// Adds what a file of Talos holds, each at a place of its own. Who may read it is said of the file.
    fn members(&mut self, path: &str, talos: &Talos<Vec<Block>>) {
        for pair in &talos.pairs {
            let public = (&pair.name, pair.public.concat());
            let key = pair.key.iter().map(|blocks| (&pair.key_name, blocks.clone()));
            for (name, blocks) in std::iter::once(public).filter(|(_, blocks)| !blocks.is_empty()).chain(key) {
                let place = member(path, name);
                let file = File {
                    path: place.clone(),
                    link: None,
                    stat: Fact::NotGathered(format!("{place} is a member of a file")),
                    above: Vec::new(),
                    contents: Fact::Known(Contents::of(&blocks, &mut self.pool)),
                    form: Form::Talos,
                    kubeconfig: None,
                    talos: None,
                    oddities: Vec::new(),
                };
                self.files.insert(place, file);
            }
        }
    }

    /// A file, if it was read.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// What a file holds.
    #[must_use]
    pub fn contents(&self, path: &str) -> Option<&Contents> {
        self.get(path)?.contents.known()
    }

    /// All files, by path.
    pub fn iter(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    /// Type, mode and owner of a folder above a file.
    #[must_use]
    pub fn folder(&self, path: &str) -> Option<&Stat> {
        self.folders.get(path)?.known()
    }
}
