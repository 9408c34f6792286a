//! Secrets, reduced to what is no secret as soon as they arrive: of a key its public half is compared and forgotten, of
//! a token it is said whether it signed, of shared certificates their names.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::jws;
use crate::pki::x509::PublicKey;
use crate::pki::x509::pem::{Content, Document};

/// All TLS Secrets of a cluster. A certificate that many of them hold with its key is kept once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSecrets {
    /// The certificates, in the order in which they were met.
    pub leaves: Vec<Leaf>,
    /// The Secrets.
    pub secrets: Vec<TlsSecret>,
}

/// What is known of the first certificate in a `tls.crt`, and of those behind it.
///
/// It and the Secrets are rows without the names of their members where they are recorded: there may be a hundred
/// thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "LeafRow", into = "LeafRow")]
pub struct Leaf {
    /// The first second in which it is valid.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
    /// The DNS names that it is for.
    pub dns: Vec<String>,
    /// The first certificate of the chain that is not signed by the one behind it, by their names.
    pub disorder: Option<Box<Disorder>>,
}

/// A certificate that does not stand before the one that signed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Disorder {
    /// Its place in the chain, counted from 1.
    pub place: usize,
    /// Its subject.
    pub subject: String,
    /// Its issuer, which should stand behind it.
    pub issuer: String,
}

/// The members of a [`Leaf`] in their order.
type LeafRow = (Timestamp, Timestamp, Vec<String>, Option<Box<Disorder>>);

impl From<LeafRow> for Leaf {
    fn from((not_before, not_after, dns, disorder): LeafRow) -> Self {
        Self { not_before, not_after, dns, disorder }
    }
}

impl From<Leaf> for LeafRow {
    fn from(leaf: Leaf) -> Self {
        (leaf.not_before, leaf.not_after, leaf.dns, leaf.disorder)
    }
}

/// A TLS Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SecretRow", into = "SecretRow")]
pub struct TlsSecret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its certificate, by its place in [`TlsSecrets::leaves`].
    pub leaf: Option<usize>,
    /// Do certificate and key belong together?
    pub pairing: Pairing,
}

/// The members of a [`TlsSecret`] in their order.
type SecretRow = (String, String, Option<usize>, Pairing);

impl From<SecretRow> for TlsSecret {
    fn from((namespace, name, leaf, pairing): SecretRow) -> Self {
        Self { namespace, name, leaf, pairing }
    }
}

impl From<TlsSecret> for SecretRow {
    fn from(secret: TlsSecret) -> Self {
        (secret.namespace, secret.name, secret.leaf, secret.pairing)
    }
}

/// Do a certificate and a key belong together?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// They do.
    Pair,
    /// The key is that of another certificate.
    Mismatch,
    /// One of them is not there, or cannot be read.
    Broken(NoPair),
}

/// What is missing of a pair, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum NoPair {
    /// The certificate.
    #[error("tls.crt: {0}")]
    Certificate(String),
    /// The key.
    #[error("tls.key: {0}")]
    Key(String),
}

/// A Secret in the text of an answer of the API; only what is needed is read, and it is read in place.
#[derive(Debug, Deserialize)]
pub struct SecretObject<'a> {
    #[serde(borrow)]
    metadata: SecretMetadata<'a>,
    #[serde(borrow, default)]
    data: SecretData<'a>,
}

#[derive(Debug, Deserialize)]
struct SecretMetadata<'a> {
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct SecretData<'a> {
    #[serde(borrow, default, rename = "tls.crt")]
    certificate: Cow<'a, str>,
    #[serde(borrow, default, rename = "tls.key")]
    key: Cow<'a, str>,
}

impl SecretData<'_> {
    /// The SHA-256 of both.
    fn sum(&self) -> Sum {
        let mut both = Context::new(&SHA256);
        // Neither is the beginning of the other: a zero is in no base64.
        [self.certificate.as_bytes(), &[0], self.key.as_bytes()].iter().for_each(|part| both.update(part));
        let mut sum = [0; 32];
        sum.copy_from_slice(both.finish().as_ref());
        sum
    }
}

impl std::fmt::Debug for SecretData<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretData(not shown)")
    }
}

type Sum = [u8; 32];

/// Turns Secrets into [`TlsSecrets`], one at a time: memory grows with the pairs that differ, not with their copies.
#[derive(Debug, Default)]
pub struct Reducer {
    all: TlsSecrets,
    /// Where the first Secret with this `tls.crt` and `tls.key` is, by the SHA-256 of both.
    first: HashMap<Sum, usize>,
}

impl Reducer {
    /// Takes in a Secret.
    pub fn add(&mut self, SecretObject { metadata, data }: &SecretObject<'_>) {
        let TlsSecrets { leaves, secrets } = &mut self.all;
        let (leaf, pairing) = match self.first.entry(data.sum()) {
            Entry::Occupied(first) => {
                let first = &secrets[*first.get()];
                (first.leaf, first.pairing.clone())
            }
            Entry::Vacant(place) => {
                place.insert(secrets.len());
                let certificate = leaf(&data.certificate);
                let pairing = fit(&certificate, &data.key);
                let leaf = certificate.ok().map(|(leaf, _)| {
                    leaves.push(leaf);
                    leaves.len() - 1
                });
                (leaf, pairing)
            }
        };
        let (namespace, name) = (metadata.namespace.to_string(), metadata.name.to_string());
        secrets.push(TlsSecret { namespace, name, leaf, pairing });
    }

    /// All that were taken in.
    #[must_use]
    pub fn finish(self) -> TlsSecrets {
        self.all
    }
}

/// How what was read of a `tls.crt` and a `tls.key` fit.
fn fit(certificate: &Result<(Leaf, Sum), String>, key: &str) -> Pairing {
    match (certificate, public_half(key)) {
        (Err(why), _) => Pairing::Broken(NoPair::Certificate(why.clone())),
        (_, Err(why)) => Pairing::Broken(NoPair::Key(why)),
        (Ok((_, wanted)), Ok(found)) if *wanted == found => Pairing::Pair,
        _ => Pairing::Mismatch,
    }
}

/// Reads a `tls.crt`: what is kept of it, and the SHA-256 of its public key.
fn leaf(encoded: &str) -> Result<(Leaf, Sum), String> {
    let pem = STANDARD.decode(encoded).map_err(|_| "it is no base64".to_owned())?;
    let document = Document::read(&pem);
    let chain: Vec<_> = document.certificates().collect();
    let first = chain.first().ok_or_else(|| nothing(&document, "certificate"))?;
    let disorder = chain.windows(2).position(|pair| pair[0].issuer.der != pair[1].subject.der).map(|index| {
        let (subject, issuer) = (chain[index].subject.to_string(), chain[index].issuer.to_string());
        Box::new(Disorder { place: index + 1, subject, issuer })
    });
    let leaf = Leaf {
        not_before: first.not_before,
        not_after: first.not_after,
        dns: first.extensions.subject_alt_names.as_ref().map(|names| names.dns.clone()).unwrap_or_default(),
        disorder,
    };
    Ok((leaf, first.public_key.sha256.0))
}

/// Reads a `tls.key`: the SHA-256 of its public half.
fn public_half(encoded: &str) -> Result<Sum, String> {
    let pem = STANDARD.decode(encoded).map_err(|_| "it is no base64".to_owned())?;
    let document = Document::read(&pem);
    let key: Option<&PublicKey> = document.keys().map(|key| &key.public).next();
    key.map(|key| key.sha256.0).ok_or_else(|| nothing(&document, "key"))
}

/// Why there is none.
fn nothing(document: &Document, what: &str) -> String {
    let broken = document.blocks.iter().find_map(|block| match &block.content {
        Content::BrokenCertificate(why) => Some(why.to_string()),
        Content::BrokenKey(why) => Some(why.to_string()),
        _ => None,
    });
    broken.unwrap_or_else(|| format!("there is no {what} in it"))
}

/// Has a token signed `cluster-info`?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signature {
    /// It has.
    Good,
    /// There is a signature in its name, which is not its own; says why.
    Bad(String),
    /// There is no signature in its name.
    Missing,
}

/// A bootstrap token without its secret, and whether it signed `cluster-info` (the ConfigMap, or null).
pub(super) fn token(secret: &Value, info: &Value) -> Value {
    let field = |name: &str| {
        let encoded = secret.pointer(&format!("/data/{name}")).and_then(Value::as_str)?;
        STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    };
    let id = field("token-id").unwrap_or_default();
    let content = info.pointer("/data/kubeconfig").and_then(Value::as_str);
    let signature = info["data"][format!("{}{id}", jws::KEY_PREFIX)].as_str();
    let signature = match (content, signature) {
        (Some(content), Some(signature)) => {
            let key = field("token-secret").unwrap_or_default();
            jws::verify(&id, key.as_bytes(), content, signature)
                .map_or_else(|why| Signature::Bad(why.to_string()), |()| Signature::Good)
        }
        _ => Signature::Missing,
    };
    let truth = |name: &str| field(name).as_deref() == Some("true");
    json!({
        "name": secret.pointer("/metadata/name"),
        "created": secret.pointer("/metadata/creationTimestamp"),
        "id": id,
        "expiration": field("expiration"),
        "groups": field("auth-extra-groups"),
        "authenticates": truth("usage-bootstrap-authentication"),
        "signs": truth("usage-bootstrap-signing"),
        "signature": signature,
    })
}

/// The Secret `kubeadm-certs` without its content.
pub(super) fn shared_certs(secret: &Value) -> Value {
    let files = secret["data"].as_object().map(|data| data.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    let owners = secret.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let owners: Vec<_> = owners.into_iter().flatten().map(|owner| owner["name"].clone()).collect();
    json!({ "created": secret.pointer("/metadata/creationTimestamp"), "owners": owners, "files": files })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

    use super::*;

    /// A root, a certificate under it, and the key of that.
    fn chain(names: &[&str]) -> (String, String, String) {
        let root = CertifiedIssuer::self_signed(CertificateParams::default(), KeyPair::generate().unwrap()).unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "leaf");
        let key = KeyPair::generate().unwrap();
        (root.pem(), params.signed_by(&key, &root).unwrap().pem(), key.serialize_pem())
    }

    fn reduced(secrets: &[(&str, &str, &str)]) -> TlsSecrets {
        let mut reducer = Reducer::default();
        for (name, certificate, key) in secrets {
            let data = json!({ "tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key) });
            let secret = json!({ "metadata": { "namespace": "default", "name": name }, "data": data });
            reducer.add(&serde_json::from_str(&secret.to_string()).unwrap());
        }
        reducer.finish()
    }

    #[test]
    fn what_does_not_belong_together_is_told_of_each_secret() {
        let ((_, one, one_key), (_, other, other_key)) = (chain(&["one.test"]), chain(&["other.test"]));
        let all = reduced(&[
            ("one", &one, &one_key),
            ("copy", &one, &one_key),
            ("other", &other, &other_key),
            ("swapped", &one, &other_key),
            ("no-key", &one, "nothing"),
            ("no-certificate", &other_key, &other_key),
        ]);
        let pairings: Vec<_> = all.secrets.iter().map(|secret| (secret.leaf, &secret.pairing)).collect();
        let broken = |why| Pairing::Broken(why);
        let no_key = broken(NoPair::Key("there is no key in it".to_owned()));
        let no_certificate = broken(NoPair::Certificate("there is no certificate in it".to_owned()));
        let wanted = [
            (Some(0), &Pairing::Pair),
            (Some(0), &Pairing::Pair),
            (Some(1), &Pairing::Pair),
            (Some(2), &Pairing::Mismatch),
            (Some(3), &no_key),
            (None, &no_certificate),
        ];
        assert_eq!(pairings, wanted);
        let names: Vec<_> = all.leaves.iter().flat_map(|leaf| &leaf.dns).collect();
        assert_eq!(names, ["one.test", "other.test", "one.test", "one.test"], "once with its key");
    }

    #[test]
    fn a_chain_is_in_order_up_to_a_certificate() {
        let (root, leaf, key) = chain(&["one.test"]);
        let all = reduced(&[
            ("good", &(leaf.clone() + &root), &key),
            ("turned", &(root.clone() + &leaf), &key),
            ("between", &(leaf + &root + &chain(&["other.test"]).1), &key),
        ]);
        let place = |leaf: &Leaf| leaf.disorder.as_ref().map(|disorder| (disorder.place, disorder.subject.clone()));
        let root = "CN=rcgen self signed cert".to_owned();
        let wanted = [None, Some((1, root.clone())), Some((2, root))];
        assert_eq!(all.leaves.iter().map(place).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let (root, leaf, key) = chain(&["one.test", "*.one.test"]);
        let all = reduced(&[("good", &leaf, &key), ("turned", &(root + &leaf), &key), ("none", "", "")]);
        let recorded = serde_json::to_value(&all).unwrap();
        assert_eq!(serde_json::from_value::<TlsSecrets>(recorded).unwrap(), all);
    }
}
