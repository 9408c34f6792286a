//! The Secret `kubeadm-certs`: the certificates and keys that all control-plane nodes share, each encrypted with the
//! certificate key, as `kubeadm init phase upload-certs` leaves it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::bootstrap::Token;
use crate::pki::Etcd;

/// The name of the Secret.
const NAME: &str = "kubeadm-certs";
/// Files below the PKI's folder that all control-plane nodes share.
const SHARED: [&str; 6] = ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key", "sa.pub"];
/// Those of an etcd beside the control plane.
const OF_ETCD: [&str; 2] = ["etcd/ca.crt", "etcd/ca.key"];

/// Why the Secret cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SharedCertsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// An entry is not of this key, or damaged.
    #[error(
        "{entry} of the Secret {NAME} cannot be decrypted: the certificate key is another, or the entry is damaged"
    )]
    Entry {
        /// The entry's name.
        entry: String,
    },
    /// What was given is no such Secret.
    #[error("this is no Secret {NAME}: it has no data")]
    NoSecret,
    /// The machine has no random numbers.
    #[error("there are no random numbers")]
    Random,
}

/// The key that the entries are encrypted with: 32 bytes, written as 64 hexadecimal digits. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct CertificateKey([u8; 32]);

/// A text that is no certificate key. The text itself is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no certificate key: it is 64 hexadecimal digits")]
pub struct BadCertificateKey;

impl fmt::Debug for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateKey(not shown)")
    }
}

impl FromStr for CertificateKey {
    type Err = BadCertificateKey;

    fn from_str(text: &str) -> Result<Self, BadCertificateKey> {
        let mut key = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(BadCertificateKey);
        }
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| BadCertificateKey)?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(BadCertificateKey);
            }
            *byte = u8::from_str_radix(digits, 16).map_err(|_| BadCertificateKey)?;
        }
        Ok(Self(key))
    }
}

impl CertificateKey {
    /// A new one.
    ///
    /// # Errors
    /// If the machine has no random numbers.
    pub fn generate() -> Result<Self, SharedCertsError> {
        let mut key = [0; 32];
        rand::fill(&mut key).map_err(|_| SharedCertsError::Random)?;
        Ok(Self(key))
    }

    /// The key as text, for the one who is to show it.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn cipher(&self) -> Result<LessSafeKey, SharedCertsError> {
        UnboundKey::new(&AES_256_GCM, &self.0).map(LessSafeKey::new).map_err(|_| SharedCertsError::Random)
    }
}

/// The entry's name of a file: a slash cannot stand in one.
fn entry(file: &str) -> String {
    file.replace('/', "-")
}

fn shared(etcd: Etcd) -> impl Iterator<Item = &'static str> {
    let of_etcd = if etcd == Etcd::Local { &OF_ETCD[..] } else { &[] };
    SHARED.into_iter().chain(of_etcd.iter().copied())
}

/// The Secret of the PKI in a folder. A file that is not there, as the key of an external CA, is an empty entry.
///
/// # Errors
/// [`SharedCertsError::File`] if a file is there and cannot be read.
pub fn seal(pki: &Path, etcd: Etcd, key: &CertificateKey) -> Result<Value, SharedCertsError> {
    let cipher = key.cipher()?;
    let mut data = Map::new();
    for file in shared(etcd) {
        let path = pki.join(file);
        let mut content = match std::fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                data.insert(entry(file), "".into());
                continue;
            }
            Err(source) => return Err(SharedCertsError::File { path: path.display().to_string(), source }),
        };
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SharedCertsError::Random)?;
        let sealed = cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut content);
        sealed.map_err(|_| SharedCertsError::Random)?;
        data.insert(entry(file), STANDARD.encode([&nonce[..], &content].concat()).into());
    }
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": NAME, "namespace": "kube-system" },
        "data": data,
    }))
}

/// The token whose end is the Secret's: a Secret of a bootstrap token that nobody can use, and that the
/// controller-manager deletes at `expires`. kubeadm gives it two hours.
#[must_use]
pub fn owner(token: &Token, expires: Timestamp) -> Value {
    let mut object = token.object(Some("Proxy for managing TTL for the kubeadm-certs secret"), Some(expires));
    if let Some(data) = object["data"].as_object_mut() {
        data.retain(|key, _| !key.starts_with("usage-") && key != "auth-extra-groups");
    }
    object
}

/// Has the Secret end with its owner: the token's Secret as the API server has it.
pub fn own(secret: &mut Value, owner: &Value) {
    secret["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1",
        "kind": "Secret",
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    }]);
}

/// The files of a Secret, by their paths below the PKI's folder.
///
/// # Errors
/// [`SharedCertsError`] names the entry that the key does not open.
pub fn open(
    secret: &Value,
    etcd: Etcd,
    key: &CertificateKey,
) -> Result<BTreeMap<&'static str, Vec<u8>>, SharedCertsError> {
    let cipher = key.cipher()?;
    let data = secret.get("data").and_then(Value::as_object).ok_or(SharedCertsError::NoSecret)?;
    let mut files = BTreeMap::new();
    for file in shared(etcd) {
        let damaged = || SharedCertsError::Entry { entry: entry(file) };
        let Some(text) = data.get(&entry(file)).and_then(Value::as_str).filter(|text| !text.is_empty()) else {
            continue;
        };
        let bytes = STANDARD.decode(text).map_err(|_| damaged())?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut sealed = sealed.to_vec();
        let content = cipher.open_in_place(nonce, Aad::empty(), &mut sealed).map_err(|_| damaged())?;
        files.insert(file, content.to_vec());
    }
    Ok(files)
}

/// What lets nodes that join read the Secret.
#[must_use]
pub fn objects() -> Vec<Value> {
    let metadata = json!({ "name": format!("kubeadm:{NAME}"), "namespace": "kube-system" });
    let group = "rbac.authorization.k8s.io";
    vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata.clone(),
            "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME] }],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata.clone(),
            "roleRef": { "apiGroup": group, "kind": "Role", "name": metadata["name"] },
            "subjects": [{ "kind": "Group", "apiGroup": group, "name": crate::bootstrap::JOINING }],
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_their_form_and_are_not_shown() {
        let key = CertificateKey::generate().unwrap();
        assert_eq!(key.reveal().parse(), Ok(key.clone()));
        assert_eq!(format!("{key:?}"), "CertificateKey(not shown)");
        for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(text.parse::<CertificateKey>(), Err(BadCertificateKey), "{text}");
        }
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_key_only() {
        let pki = tempfile::tempdir().unwrap();
        std::fs::create_dir(pki.path().join("etcd")).unwrap();
        for file in shared(Etcd::Local).filter(|file| *file != "ca.key") {
            std::fs::write(pki.path().join(file), file).unwrap();
        }
        let key = CertificateKey::generate().unwrap();
        let secret = seal(pki.path(), Etcd::Local, &key).unwrap();
        let files = open(&secret, Etcd::Local, &key).unwrap();
        assert_eq!(files.len(), 7, "all but the key that is not there");
        assert!(files.iter().all(|(name, content)| content == name.as_bytes()));
        let why = open(&secret, Etcd::Local, &CertificateKey::generate().unwrap()).unwrap_err().to_string();
        assert!(why.contains("ca.crt") && why.contains("cannot be decrypted"), "{why}");
        assert!(open(&json!({}), Etcd::Local, &key).is_err());
    }
}
