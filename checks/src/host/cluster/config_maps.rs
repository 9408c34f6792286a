//! ConfigMaps, reduced as they arrive to what of them is no configuration: private keys, and tokens in kubeconfigs. Of
//! each it is said where it stands and what it is, never what it says.
//!
//! A marker alone is no key: what is between BEGIN and END must be the DER of one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::bytes::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::pki::x509::BrokenKey;
use crate::pki::x509::pem::{Content, Document};

/// All ConfigMaps of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigMaps {
    /// How many there are.
    pub count: usize,
    /// What of them belongs into a Secret.
    pub exposed: Vec<Exposed>,
}

/// Something in a ConfigMap that belongs into a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {
    /// The ConfigMap's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The entry of its `data` or `binaryData`.
    pub entry: String,
    /// The line of that entry, from 1.
    pub line: usize,
    /// What it is.
    pub what: Material,
}

/// What belongs into a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Material {
    /// A private key, in PEM or in base64 of PEM.
    PrivateKey,
    /// The same, under a passphrase.
    EncryptedKey,
    /// `client-key-data` of a kubeconfig.
    ClientKey,
    /// The token of a kubeconfig.
    Token,
}

impl fmt::Display for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateKey => "a private key",
            Self::EncryptedKey => "a private key under a passphrase",
            Self::ClientKey => "the client key of a kubeconfig",
            Self::Token => "the token of a kubeconfig",
        })
    }
}

/// A ConfigMap as the API has it.
#[derive(Deserialize)]
pub(super) struct Object {
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default, rename = "binaryData")]
    binary: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    namespace: String,
    name: String,
}

impl ConfigMaps {
    /// Takes in a ConfigMap.
    pub(super) fn add(&mut self, Object { metadata, data, binary }: Object) {
        self.count += 1;
        let texts = data.into_iter().map(|(entry, text)| (entry, Zeroizing::new(text.into_bytes())));
        let bytes =
            binary.into_iter().map(|(entry, text)| (entry, Zeroizing::new(STANDARD.decode(text).unwrap_or_default())));
        for (entry, content) in texts.chain(bytes) {
            self.exposed.extend(material(&content).into_iter().map(|(line, what)| Exposed {
                namespace: metadata.namespace.clone(),
                name: metadata.name.clone(),
                entry: entry.clone(),
                line,
                what,
            }));
        }
    }
}

fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(pattern) => pattern,
        Err(error) => unreachable!("a constant pattern, compiled by every test: {error}"),
    }
}

/// A block of PEM that says that it is a private key: its label, what is in it, and the label of its end.
static PEM: LazyLock<Regex> = LazyLock::new(|| {
    compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----((?:[^-]|-[^-])*)-----END ([A-Z0-9 ]*PRIVATE KEY)-----")
});

/// PEM in base64, which may be broken into lines, and the member of a kubeconfig that it stands in, if it does.
static ENCODED: LazyLock<Regex> =
    LazyLock::new(|| compile(r#"(client-key-data["']?\s*:[\s"'|>-]*)?(LS0tLS1CRUdJTi[A-Za-z0-9+/\s]*={0,2})"#));

/// How many things of one entry are told.
const TOLD: usize = 16;

/// What of an entry belongs into a Secret, each with its line. Total: whatever it is, there is an answer.
#[must_use]
pub fn material(content: &[u8]) -> Vec<(usize, Material)> {
    let line = |at: usize| 1 + content[..at].iter().filter(|byte| **byte == b'\n').count();
    let mut found: Vec<_> = keys(content).take(TOLD).map(|(at, what)| (line(at), what)).collect();
    for run in ENCODED.captures_iter(content) {
        if found.len() >= TOLD {
            break;
        }
        let Some(encoded) = run.get(2) else { continue };
        let client = run.get(1).is_some();
        let place = line(encoded.start());
        let decoded = decoded(encoded.as_bytes());
        found.extend(keys(&decoded).map(|(_, what)| (place, if client { Material::ClientKey } else { what })));
    }
    found.extend(tokens(content).take(TOLD).map(|at| (line(at), Material::Token)));
    found.truncate(TOLD);
    found.sort_by_key(|(line, _)| *line);
    found
}

/// What a run of base64 holds; words behind it that look like more of it are decoded, too, and are no PEM.
fn decoded(encoded: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(encoded.len()));
    text.extend(encoded.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let whole = text.len() / 4 * 4;
    Zeroizing::new(STANDARD.decode(&text[..whole]).unwrap_or_default())
}

/// The private keys of a text, each with where it begins.
fn keys(text: &[u8]) -> impl Iterator<Item = (usize, Material)> {
    PEM.captures_iter(text).filter_map(|found| {
        let (whole, label, inside) = (found.get(0)?, found.get(1)?, found.get(2)?);
        if label.as_bytes() != found.get(3)?.as_bytes() {
            return None;
        }
        // In JSON, as the keys of Google's service accounts are, its lines end with the characters \ and n.
        let (begin, end) = (&text[whole.start()..inside.start()], &text[inside.end()..whole.end()]);
        let mut pem = Zeroizing::new(Vec::with_capacity(whole.len() + 2));
        pem.extend_from_slice(begin);
        pem.push(b'\n');
        // Go takes an empty line for the end of the headers, so none may stand before them.
        let mut bytes = inside.as_bytes().trim_ascii_start().iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            let escaped = byte == b'\\' && bytes.next_if(|next| matches!(next, b'n' | b'r')).is_some();
            pem.push(if escaped { b'\n' } else { byte });
        }
        pem.push(b'\n');
        pem.extend_from_slice(end);
        let document = Document::read(&pem);
        let what = document.blocks.iter().find_map(|block| match &block.content {
            Content::Key(key) if key.form.is_private() => Some(Material::PrivateKey),
            Content::BrokenKey(BrokenKey::Unsupported(_)) => Some(Material::PrivateKey),
            Content::BrokenKey(BrokenKey::Encrypted) => Some(Material::EncryptedKey),
            _ => None,
        })?;
        Some((whole.start(), what))
    })
}

/// The tokens of users in a kubeconfig, each with where it stands.
fn tokens(content: &[u8]) -> impl Iterator<Item = usize> {
    let text = std::str::from_utf8(content).ok().filter(|text| text.contains("token") && text.contains("clusters"));
    let config: Option<Value> = text.and_then(|text| serde_saphyr::from_str(text).ok());
    let config = config.filter(|config| config["kind"] == "Config" && config.get("clusters").is_some());
    let users = config.and_then(|mut config| match config["users"].take() {
        Value::Array(users) => Some(users),
        _ => None,
    });
    users.into_iter().flatten().filter_map(move |user| {
        let token = user["user"]["token"].as_str().filter(|token| is_token(token))?;
        text?.find(token)
    })
}

/// Is this a token, rather than what stands in the place of one in a template?
fn is_token(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=:".contains(&byte);
    let (letters, digits) =
        (text.bytes().any(|byte| byte.is_ascii_alphabetic()), text.bytes().any(|byte| byte.is_ascii_digit()));
    // Bootstrap tokens have 23 characters, and no others are as short.
    text.len() >= 23 && letters && digits && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6ZGVmYXVsdDpkZWZhdWx0In0.c2lnbmVk";

    fn kubeconfig(user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{server: 'https://a:6443'}}\nusers:\n\
             - name: u\n  user:\n{user}\n"
        )
    }

    /// What is found in one ConfigMap, as line and kind.
    fn found(kind: &str, content: &str) -> Vec<(usize, Material)> {
        let object = json!({ "metadata": { "namespace": "default", "name": "one" }, kind: { "entry": content } });
        let mut all = ConfigMaps::default();
        all.add(serde_json::from_value(object).unwrap());
        assert_eq!(all.count, 1);
        all.exposed.iter().map(|one| (one.line, one.what)).collect()
    }

    #[test]
    fn keys_are_found_in_every_dress() {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let encoded = STANDARD.encode(&key);
        let wrapped = encoded.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>();
        let (private, client) = (Material::PrivateKey, Material::ClientKey);
        for (content, wanted) in [
            (key.clone(), (1, private)),
            (key.replace('\n', "\r\n"), (1, private)),
            (format!("tls:\n  key: |\n    {}\n", key.trim().replace('\n', "\n    ")), (3, private)),
            (format!("{{\n\"private_key\": \"{}\"}}", key.replace('\n', "\\n")), (2, private)),
            (format!("kind: Secret\ndata:\n  tls.key: {encoded}\n  other: x\n"), (3, private)),
            (wrapped.join("\n"), (1, private)),
            (kubeconfig(&format!("    client-key-data: {encoded}")), (9, client)),
            (kubeconfig(&format!("    client-key-data: |\n      {}", wrapped.join("\n      "))), (10, client)),
            (format!("{{\"client-key-data\": \"{encoded}\"}}"), (1, client)),
            (STANDARD.encode(format!("{}{key}", certificate())), (1, private)),
        ] {
            assert_eq!(found("data", &content), [wanted], "{content}");
            assert_eq!(found("binaryData", &STANDARD.encode(&content)), [wanted], "{content}");
        }
        assert_eq!(found("data", &format!("{key}{}{key}", certificate())).len(), 2);
    }

    fn certificate() -> String {
        CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn keys_that_kubernetes_cannot_load_are_keys() {
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        let ssh = pem("OPENSSH PRIVATE KEY", b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01");
        assert_eq!(found("data", &ssh), [(1, Material::PrivateKey)]);
        let encrypted = include_str!("../../../../suites/tests/pki/keys/encrypted.txt");
        assert_eq!(found("data", encrypted), [(1, Material::EncryptedKey)]);
        let headers = format!(
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{}\n\
             -----END EC PRIVATE KEY-----\n",
            STANDARD.encode([7; 128])
        );
        assert_eq!(found("data", &headers), [(1, Material::EncryptedKey)]);
    }

    #[test]
    fn tokens_of_kubeconfigs_are_found() {
        assert_eq!(found("data", &kubeconfig(&format!("    token: {TOKEN}"))), [(9, Material::Token)]);
        assert_eq!(found("data", &kubeconfig("    token: abcdef.0123456789abcdef")), [(9, Material::Token)]);
    }

    #[test]
    fn what_only_looks_like_a_key_is_none() {
        let public = KeyPair::generate().unwrap().public_key_pem();
        for content in [
            certificate(),
            STANDARD.encode(certificate()),
            public,
            "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----\n".to_owned(),
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n".to_owned(),
            "-----BEGIN PRIVATE KEY----- is what a key begins with".to_owned(),
            "-----BEGIN RSA PRIVATE KEY-----\n<your key>\n-----END EC PRIVATE KEY-----\n".to_owned(),
            // As kubeadm's kube-proxy has it.
            kubeconfig("    tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token"),
            kubeconfig("    token: __SERVICEACCOUNT_TOKEN__"),
            kubeconfig("    token: ${SERVICE_ACCOUNT_TOKEN_2}"),
            kubeconfig("    token: \"\""),
            format!("kind: Other\nclusters: []\ntoken: {TOKEN}\n"),
            String::new(),
        ] {
            assert_eq!(found("data", &content), [], "{content}");
            assert_eq!(found("binaryData", &STANDARD.encode(&content)), [], "{content}");
        }
        assert_eq!(found("binaryData", "no base64"), []);
    }
}
