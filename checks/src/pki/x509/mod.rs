//! X.509 as a cluster's components see it: one certificate, read leniently; the files that hold certificates and keys;
//! lints; and paths from a certificate to a root, explained.
//!
//! - [`Certificate::parse`] takes the DER of one certificate. What can be read is in plain fields, what is malformed is
//!   a typed [`Defect`], and each defect knows which versions of Go refuse to parse the certificate for it.
//! - [`pem::Document::read`] takes a file: PEM with all its faults, or DER. Certificates and keys come out, with typed
//!   remarks. A [`Key`] is only ever the public half, by whose SHA-256 ([`PublicKey::sha256`]) keys and certificates
//!   pair.
//! - [`RevocationList::parse`] takes the DER of a certificate revocation list.
//! - [`lint::lint`] tells what is questionable in a certificate, [`lint::lint_key`] in a key, [`lint::shared_factors`]
//!   between keys.
//! - [`path::Request::verify`] looks for a path to a root as Go of some version, or RFC 5280, would; where none is
//!   accepted it tells what is wrong with every path that there could be. [`path::webpki::verify`] asks rustls-webpki.
//!
//! Everything is pure, and bounded in time and memory by the size of its input: nothing reads a file, a clock or the
//! environment, and hostile input leads to defects and not to a panic.

mod algorithm;
mod certificate;
mod constraint;
mod defect;
mod der;
mod extension;
mod go_pem;
mod go_version;
mod key;
pub mod lint;
mod name;
mod number;
mod oid;
pub mod path;
pub mod pem;
mod point;
mod public_key;
mod revocation;
mod time;
mod uri;

pub use algorithm::{Hash, Parameters, Scheme, SignatureAlgorithm};
pub use certificate::{Certificate, MAX_SIZE, NoCertificate, Serial};
pub use constraint::{IpRange, NameConstraints, Subtrees};
pub use defect::{Defect, Flaw, Part};
pub use extension::{
    AuthorityKeyId, BasicConstraints, Extension, Extensions, KeyUsage, PolicyConstraints, SubjectAltNames,
};
pub use go_version::{GoVersion, NoGoVersion, Refusal};
pub use key::{BrokenKey, Key, KeyForm};
pub use name::{Attribute, Encoding, Name};
pub use oid::{Oid, known};
pub use public_key::{Curve, Fingerprint, KeyKind, PublicKey, RsaKey};
pub use revocation::{NoRevocationList, RevocationList};
