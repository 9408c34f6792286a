//! What the program that a file is for makes of it: what it takes, what it passes over, and for what it refuses the
//! whole file.
//!
//! Each [`Reader`] is one function of Go or Kubernetes, block by block. `suites/tests/pki/readers` asks those functions
//! themselves.

use super::discover::{Kind, Role};
use super::store::{Contents, Entry, Held, What};
use super::x509::{Curve, GoVersion, KeyForm, KeyKind, PublicKey};

/// A function that reads files of a PKI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reader {
    /// The certificates of `tls.X509KeyPair`, all of which the other side parses.
    Pair,
    /// The key of `tls.X509KeyPair`.
    PairKey,
    /// client-go's `cert.ParseCertsPEM`.
    Certificates,
    /// `x509.CertPool.AppendCertsFromPEM`, as client-go's transport uses it.
    Pool,
    /// etcd's `tlsutil.NewCertPool`.
    EtcdPool,
    /// client-go's `keyutil.ParsePrivateKeyPEM`, as kubeadm uses it.
    AuthorityKey,
    /// `tls.X509KeyPair` and then that: the controller manager's signers.
    SigningKey,
    /// The same, and then Kubernetes' `serviceaccount.JWTTokenGenerator`.
    TokenKey,
    /// client-go's `keyutil.ParsePublicKeysPEM`.
    TokenKeys,
}

/// What a reader makes of a file.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The certificates that it takes.
    pub(super) certificates: Vec<Held>,
    /// The keys that it takes.
    pub(super) keys: Vec<PublicKey>,
    /// For what it refuses the file: the line, 0 for all of it, and why.
    pub(super) refused: Option<(u32, String)>,
    /// What it passes over without a word, although it is what it looks for: the line, and why.
    pub(super) passed_over: Vec<(u32, String)>,
}

impl Reader {
    /// The one that reads the file of a role.
    pub(super) fn of(role: Role) -> Option<Self> {
        Some(match role {
            Role::ServiceAccountKey => Self::TokenKey,
            Role::ServiceAccountPublicKeys => Self::TokenKeys,
            Role::EtcdServerCa | Role::EtcdClientCa | Role::EtcdPeerCa => Self::EtcdPool,
            Role::KubeletServingCa => Self::Pool,
            role => match role.kind() {
                Kind::Revocations => return None,
                Kind::Bundle => Self::Certificates,
                _ => Self::Pair,
            },
        })
    }

    /// The one that reads the key beside it.
    pub(super) fn of_key(role: Role) -> Self {
        match role {
            Role::SigningCa | Role::OtherSigningCa => Self::SigningKey,
            role if role.kind() == Kind::Bundle => Self::AuthorityKey,
            _ => Self::PairKey,
        }
    }

    /// Does it read keys?
    pub(super) const fn is_of_keys(self) -> bool {
        !matches!(self, Self::Pair | Self::Certificates | Self::Pool | Self::EtcdPool)
    }

    /// What it looks for, in words.
    pub(super) const fn wanted(self) -> &'static str {
        match self {
            Self::Pair | Self::Certificates | Self::Pool | Self::EtcdPool => "a certificate in PEM",
            Self::PairKey | Self::AuthorityKey | Self::SigningKey | Self::TokenKey => "a private key in PEM",
            Self::TokenKeys => "a key in PEM",
        }
    }

    /// Its name.
    const fn name(self) -> &'static str {
        match self {
            Self::Pair | Self::PairKey => "tls.X509KeyPair",
            Self::Certificates => "cert.ParseCertsPEM",
            Self::Pool => "x509.CertPool",
            Self::EtcdPool => "etcd",
            Self::AuthorityKey | Self::SigningKey | Self::TokenKey => "keyutil.ParsePrivateKeyPEM",
            Self::TokenKeys => "keyutil.ParsePublicKeysPEM",
        }
    }

    /// Reads. Which certificates cannot be parsed hangs on the version of Go; where none is given, each that is one is
    /// parsed.
    pub(super) fn read(self, contents: &Contents, go: Option<GoVersion>) -> Reading {
        if self == Self::SigningKey {
            let pair = Self::PairKey.read(contents, go);
            return if pair.refused.is_some() { pair } else { Self::AuthorityKey.read(contents, go) };
        }
        let mut reading = Reading::default();
        for entry in &contents.entries {
            let verdict = match self {
                _ if entry.unseen => match &entry.what {
                    What::Malformed(why) => Verdict::OverBecause(why.clone()),
                    _ => Verdict::Over("Go does not see it: its BEGIN or END is damaged"),
                },
                Self::Pair | Self::Certificates | Self::Pool | Self::EtcdPool => self.certificate(entry, go),
                Self::PairKey if !reading.keys.is_empty() || reading.refused.is_some() => Verdict::Ignored,
                Self::AuthorityKey | Self::TokenKey if !reading.keys.is_empty() || reading.refused.is_some() => {
                    Verdict::Ignored
                }
                Self::PairKey => pair_key(entry),
                Self::AuthorityKey | Self::SigningKey | Self::TokenKey => private_key(entry),
                Self::TokenKeys => token_key(entry, go),
            };
            reading.add(self, entry, verdict);
        }
        reading.conclude(self);
        reading
    }

    fn certificate(self, entry: &Entry, go: Option<GoVersion>) -> Verdict {
        let label = entry.label.as_deref();
        if self != Self::EtcdPool {
            if label != Some("CERTIFICATE") {
                return Verdict::Over("its label is not CERTIFICATE");
            }
            if self != Self::Pair && entry.headers {
                return Verdict::Over("it has header lines");
            }
        }
        let why = match &entry.what {
            What::Certificate(certificate) => match go.and_then(|go| certificate.refused_by(go).next()) {
                None if self == Self::Pair
                    && matches!(certificate.public_key.kind, KeyKind::Dsa | KeyKind::Other(_)) =>
                {
                    format!("TLS does not use keys of the kind {}", certificate.public_key.kind)
                }
                None => return Verdict::Taken,
                Some(defect) => defect.to_string(),
            },
            What::Malformed(why) => why.clone(),
            _ => "it is not a certificate".to_owned(),
        };
        if self == Self::Pool { Verdict::OverBecause(why) } else { Verdict::Refused(why) }
    }
}

/// What a reader does with one block.
enum Verdict {
    Taken,
    /// It is not what it looks for.
    Ignored,
    /// It is passed over.
    Over(&'static str),
    OverBecause(String),
    /// The whole file is refused.
    Refused(String),
}

/// The first block with this label counts, whatever is in it, and however the key is written.
fn pair_key(entry: &Entry) -> Verdict {
    let label = entry.label.as_deref().unwrap_or_default();
    if label != "PRIVATE KEY" && !label.ends_with(" PRIVATE KEY") {
        return Verdict::Over("its label does not end in PRIVATE KEY");
    }
    match &entry.what {
        What::PrivateKey(..) => Verdict::Taken,
        What::Encrypted => {
            Verdict::Refused("it is encrypted with a passphrase, and Kubernetes cannot ask for it".to_owned())
        }
        What::Malformed(why) => Verdict::Refused(why.clone()),
        _ => Verdict::Refused("it is not a private key".to_owned()),
    }
}

/// The first block that is the key that its label says.
fn private_key(entry: &Entry) -> Verdict {
    let label = entry.label.as_deref().unwrap_or_default();
    match &entry.what {
        What::PrivateKey(_, form) => {
            let belongs = form.map_or(label, |form| form.label());
            if label == belongs { Verdict::Taken } else { Verdict::Over("its label is not that of its form") }
        }
        What::Encrypted => Verdict::Over("it is encrypted with a passphrase, and Kubernetes cannot ask for it"),
        // The parser takes it, and then nobody can sign with it.
        What::Malformed(why) if label == "PRIVATE KEY" && why.ends_with("X25519") => Verdict::Refused(why.clone()),
        What::Malformed(why) => Verdict::OverBecause(why.clone()),
        _ => Verdict::Ignored,
    }
}

/// Every block that can be read as a key, whatever its label.
fn token_key(entry: &Entry, go: Option<GoVersion>) -> Verdict {
    let usual = |key: &PublicKey| matches!(key.kind, KeyKind::Rsa(_) | KeyKind::Ec(_));
    let kind = "it is neither RSA nor ECDSA";
    match &entry.what {
        What::PrivateKey(key, Some(KeyForm::Pkcs8Private)) if matches!(key.kind, KeyKind::Ec(_)) => {
            Verdict::Over("the private half of an ECDSA key is read in SEC 1 alone (EC PRIVATE KEY)")
        }
        What::PublicKey(_, Some(KeyForm::Pkcs1Public)) => {
            Verdict::Over("it is in PKCS#1: only PKIX is read (openssl rsa -RSAPublicKey_in -pubout)")
        }
        What::PrivateKey(key, _) | What::PublicKey(key, _) => {
            if usual(key) {
                Verdict::Taken
            } else {
                Verdict::Over(kind)
            }
        }
        What::Certificate(certificate) => match go.and_then(|go| certificate.refused_by(go).next()) {
            Some(defect) => Verdict::OverBecause(defect.to_string()),
            None if usual(&certificate.public_key) => Verdict::Taken,
            None => Verdict::Over(kind),
        },
        What::Encrypted => Verdict::Over("it is encrypted with a passphrase, and Kubernetes cannot ask for it"),
        What::Malformed(why) => Verdict::OverBecause(why.clone()),
        What::Revocations | What::Other => Verdict::Ignored,
    }
}

impl Reading {
    fn add(&mut self, reader: Reader, entry: &Entry, verdict: Verdict) {
        let certificates = !reader.is_of_keys();
        // What nobody looks for here may stand beside: a key behind a certificate, a request.
        let label = entry.label.as_deref().unwrap_or_default();
        let meant = match &entry.what {
            What::Certificate(_) => certificates,
            What::PrivateKey(..) | What::Encrypted => !certificates,
            What::PublicKey(..) => reader == Reader::TokenKeys,
            What::Malformed(_) if entry.label.is_none() => true,
            What::Malformed(_) if certificates => label.contains("CERTIFICATE"),
            What::Malformed(_) => label.ends_with(" KEY"),
            What::Revocations | What::Other => false,
        };
        match verdict {
            Verdict::Taken => match &entry.what {
                What::Certificate(certificate) => {
                    self.certificates.push(Held { line: entry.line, certificate: certificate.clone() });
                    self.keys.push(certificate.public_key.clone());
                }
                What::PrivateKey(key, _) | What::PublicKey(key, _) => self.keys.push(key.clone()),
                _ => {}
            },
            Verdict::Refused(why) => {
                self.refused.get_or_insert((entry.line, why));
            }
            Verdict::Over(why) if meant => self.passed_over.push((entry.line, why.to_owned())),
            Verdict::OverBecause(why) if meant => self.passed_over.push((entry.line, why)),
            _ => {}
        }
    }

    fn conclude(&mut self, reader: Reader) {
        if reader == Reader::TokenKey
            && let Some(key) = self.keys.first()
            && !matches!(key.kind, KeyKind::Rsa(_) | KeyKind::Ec(Curve::P256 | Curve::P384 | Curve::P521))
        {
            let why =
                format!("tokens are signed with RSA or ECDSA on P-256, P-384 or P-521, and not with {}", key.kind);
            self.refused.get_or_insert((0, why));
        }
        if self.keys.is_empty() && self.refused.is_none() {
            // The first that was meant, and was not read, says why.
            let first = if self.passed_over.is_empty() { None } else { Some(self.passed_over.remove(0)) };
            let (line, why) = match first {
                Some((line, why)) => (line, format!("{} passes over it: {why}", reader.name())),
                None => (0, format!("it holds nothing that {} reads", reader.name())),
            };
            self.refused = Some((line, why));
        }
    }
}
