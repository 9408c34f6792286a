//! What a file holds of certificates, keys, kubeconfigs and machine configurations, read where the file is, so that no
//! private half leaves it.
//!
//! Certificates and revocation lists stay whole, since they are public. Of a private key the public half is derived and
//! the rest forgotten; of a token or a password it is said that it is there.

use serde::{Deserialize, Serialize};

use super::live::LiveHost;
use super::recording::lossless;
use super::{Answer, Host, Query, Refusal, RefusalKind, Reply};
use crate::pki::kubeconfig::{self, Kubeconfig};
use crate::pki::talos::{self, Talos};
use crate::pki::x509::pem::{Content, Document, RemarkKind, is_pkcs12};
use crate::pki::x509::{BrokenKey, KeyForm};

/// What a file holds, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Credentials {
    /// How it is written.
    pub form: Form,
    /// What it holds, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Block>,
    /// The kubeconfig that it is, with what is embedded in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<Kubeconfig<Vec<Block>>>,
    /// The file of Talos that it is, with what is embedded in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talos: Option<Talos<Vec<Block>>>,
    /// What is odd about its text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub oddities: Vec<Oddity>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// PEM: text with blocks.
    Pem,
    /// DER: one certificate or key in binary.
    Der,
    /// A kubeconfig.
    Kubeconfig,
    /// A machine configuration, a secrets bundle or a talosconfig.
    Talos,
    /// None of these.
    Nothing,
}

/// A certificate or a key, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Block {
    /// The line where it begins; 0 where there are no lines.
    pub line: u32,
    /// What it is.
    pub holds: Holds,
    /// Its label, where that is not what belongs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Are there header lines in it?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headers: bool,
    /// Does Go's `pem.Decode` pass over it, whatever is in it?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unseen: bool,
    /// Its label, where that says something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mislabeled: Option<WrongLabel>,
}

/// A label that says something else than what is in the block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WrongLabel {
    /// The label.
    pub label: String,
    /// The one that belongs there.
    pub belongs: String,
}

/// What a block is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// A certificate.
    Certificate {
        /// Its DER.
        #[serde(with = "lossless")]
        der: Vec<u8>,
    },
    /// A private key.
    PrivateKey {
        /// The SubjectPublicKeyInfo of its public half.
        #[serde(with = "lossless")]
        spki: Vec<u8>,
        /// How it is written, if that was recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        form: Option<KeyForm>,
    },
    /// A private key that is encrypted.
    EncryptedKey,
    /// A public key.
    PublicKey {
        /// Its SubjectPublicKeyInfo.
        #[serde(with = "lossless")]
        spki: Vec<u8>,
        /// How it is written, if that was recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        form: Option<KeyForm>,
    },
    /// A certificate revocation list.
    RevocationList {
        /// Its DER.
        #[serde(with = "lossless")]
        der: Vec<u8>,
    },
    /// Something that a PKI may have and no component reads: a request, parameters.
    Other,
    /// Something that cannot be understood.
    Malformed {
        /// Why not.
        why: String,
    },
}

/// Something odd about a file of PEM, that Go reads over and others may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// Lines that end in CR LF.
    CarriageReturns,
    /// Text that is in no block, at this line.
    Text(u32),
}

/// What a file of a host holds.
pub(super) fn read(host: &LiveHost, path: &str) -> Answer {
    let Reply::Bytes { bytes, truncated } = host.ask(&Query::Read { path: path.to_owned() })? else {
        return Err(Refusal::new(RefusalKind::Failed, format!("{path}: no bytes were read")));
    };
    if truncated {
        let message = format!("{path} is too large: it has more than {} bytes", bytes.len());
        return Err(Refusal::new(RefusalKind::Failed, message));
    }
    if is_pkcs12(&bytes) {
        let message = format!(
            "{path} is PKCS#12, which takes a passphrase and which no component of Kubernetes reads: `openssl pkcs12 \
             -in {path}` writes as PEM what is in it"
        );
        return Err(Refusal::new(RefusalKind::Failed, message));
    }
    let value = serde_json::to_value(credentials(&bytes));
    value.map(Reply::from).map_err(|error| Refusal::new(RefusalKind::Failed, format!("{path}: {error}")))
}

/// What bytes hold. Total: whatever they are, there is an answer.
#[must_use]
pub fn credentials(bytes: &[u8]) -> Credentials {
    let text = std::str::from_utf8(bytes).ok();
    if let Some(talos) = text.and_then(talos::parse) {
        let talos = Some(talos.map(|pem| embedded(&pem)));
        return Credentials { form: Form::Talos, blocks: Vec::new(), kubeconfig: None, talos, oddities: Vec::new() };
    }
    let text = text.filter(|text| text.contains("clusters"));
    let yaml = text.and_then(kubeconfig::yaml);
    if let Some(config) = yaml.as_ref().and_then(kubeconfig::parse) {
        let kubeconfig = Some(config.map(|bytes| data(&bytes)));
        return Credentials {
            form: Form::Kubeconfig,
            blocks: Vec::new(),
            kubeconfig,
            talos: None,
            oddities: Vec::new(),
        };
    }
    let document = Document::read(bytes);
    let has = |kind: &RemarkKind| document.remarks.iter().any(|remark| remark.kind == *kind);
    let form = match () {
        () if has(&RemarkKind::DerInsteadOfPem) => Form::Der,
        () if has(&RemarkKind::NoBlock) || has(&RemarkKind::Empty) => Form::Nothing,
        () => Form::Pem,
    };
    let oddities = document.remarks.iter().filter_map(|remark| match remark.kind {
        RemarkKind::CrLf => Some(Oddity::CarriageReturns),
        RemarkKind::TextOutside(_) | RemarkKind::TrailingData(_) => Some(Oddity::Text(line(remark.line))),
        _ => None,
    });
    let oddities = if form == Form::Pem { oddities.collect() } else { Vec::new() };
    Credentials { form, blocks: blocks(&document), kubeconfig: None, talos: None, oddities }
}

/// What a member of a kubeconfig holds; never nothing.
fn data(bytes: &[u8]) -> Vec<Block> {
    let blocks = blocks(&Document::read(bytes));
    if !blocks.is_empty() {
        return blocks;
    }
    let twice = bytes.trim_ascii_start().starts_with(b"LS0tLS1CRUdJTi");
    let why = if twice { "is encoded in base64 twice" } else { "holds no PEM" };
    vec![Block::malformed(0, why)]
}

impl Block {
    /// Something that is no block, and should be one.
    fn malformed(line: u32, why: &str) -> Self {
        let holds = Holds::Malformed { why: why.to_owned() };
        Self { line, holds, label: None, headers: false, unseen: true, mislabeled: None }
    }
}

/// The blocks of PEM in a file of Talos, by the lines of that file.
fn embedded(pem: &talos::Pem) -> Vec<Block> {
    let malformed = |why: &str| vec![Block::malformed(pem.line, why)];
    let bytes = match &pem.text {
        Ok(bytes) => bytes,
        Err(why) => return malformed(why),
    };
    let mut blocks = blocks(&Document::read(bytes));
    for block in &mut blocks {
        block.line = if pem.spread { pem.line.saturating_add(block.line.saturating_sub(1)) } else { pem.line };
        // What Talos calls keys of Ed25519, and looks for (siderolabs/crypto).
        let own = |wrong: &mut WrongLabel| wrong.label == "ED25519 PRIVATE KEY" && wrong.belongs == "PRIVATE KEY";
        block.mislabeled.take_if(own);
        // Talos reads it itself, and writes it anew for whoever needs it.
        block.label = None;
    }
    if blocks.is_empty() { malformed("it is no PEM") } else { blocks }
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// A label as it may be recorded: it says what is in the block, and nothing else.
fn label(label: &str) -> String {
    let plain = label.len() <= 40 && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ');
    if plain { label.to_owned() } else { "another label".to_owned() }
}

/// The blocks of a document, and what is so wrong that a block never came to be.
fn blocks(document: &Document) -> Vec<Block> {
    let remarks_at =
        |line| document.remarks.iter().filter(move |remark| remark.line == line).map(|remark| &remark.kind);
    let mut all: Vec<_> = document
        .blocks
        .iter()
        .map(|block| {
            let malformed = |why: String| Holds::Malformed { why };
            let mut holds = match &block.content {
                Content::Certificate(certificate) => Holds::Certificate { der: certificate.der.to_vec() },
                Content::BrokenCertificate(error) => malformed(error.to_string()),
                Content::Key(key) if key.form.is_private() => {
                    Holds::PrivateKey { spki: key.public.spki.to_vec(), form: Some(key.form) }
                }
                Content::Key(key) => Holds::PublicKey { spki: key.public.spki.to_vec(), form: Some(key.form) },
                Content::BrokenKey(BrokenKey::Encrypted) => Holds::EncryptedKey,
                Content::BrokenKey(error) => malformed(error.to_string()),
                Content::RevocationList(list) => Holds::RevocationList { der: list.der.to_vec() },
                Content::BrokenRevocationList(error) => malformed(error.to_string()),
                Content::CertificateRequest | Content::Parameters => Holds::Other,
                Content::Unknown => Holds::Other,
            };
            // Go reads over what stands behind these (x509.ParsePKCS8PrivateKey, ParseECPrivateKey).
            let tolerant =
                matches!(&holds, Holds::PrivateKey { form: Some(KeyForm::Pkcs8Private | KeyForm::Sec1Private), .. });
            let mut mislabeled = None;
            for remark in remarks_at(block.line) {
                match remark {
                    RemarkKind::WrongLabel(belongs) => {
                        let label = block.label.as_deref().map(label).unwrap_or_default();
                        mislabeled = Some(WrongLabel { label, belongs: (*belongs).to_owned() });
                    }
                    RemarkKind::NotBase64 => holds = malformed("what is between BEGIN and END is no base64".to_owned()),
                    RemarkKind::TrailingDer(bytes) if !tolerant => {
                        holds = malformed(format!("{bytes} bytes behind its end"));
                    }
                    _ => {}
                }
            }
            let usual =
                mislabeled.is_none() && !matches!(holds, Holds::Other | Holds::EncryptedKey | Holds::Malformed { .. });
            let label = block.label.as_deref().filter(|_| !usual).map(label);
            let (headers, unseen) = (block.headers, block.skipped_by_go);
            Block { line: line(block.line), holds, label, headers, unseen, mislabeled }
        })
        .collect();
    let cut = document.remarks.iter().filter(|remark| remark.kind == RemarkKind::NoEnd);
    let why = "BEGIN and END do not belong together: it is cut off, or was put together badly";
    all.extend(cut.map(|remark| Block::malformed(line(remark.line), why)));
    all
}
