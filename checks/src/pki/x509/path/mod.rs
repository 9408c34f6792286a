//! Paths from a certificate to a root, explained: not only whether a verifier accepts, but every defect of every path
//! that there could be.
//!
//! ```
//! # use seaworthy_checks::pki::x509::Certificate;
//! # fn example(leaf: std::sync::Arc<Certificate>, ca: std::sync::Arc<Certificate>) {
//! use seaworthy_checks::pki::x509::path::{Mode, Outcome, Pool, Request, Signatures, Usage, WantedName};
//! use seaworthy_checks::pki::x509::GoVersion;
//!
//! let (roots, signatures) = (Pool::new([ca]), Signatures::default());
//! let names = [WantedName::Dns("kubernetes".to_owned())];
//! let (intermediates, time) = (Pool::default(), jiff::Timestamp::UNIX_EPOCH);
//! let usage = Usage::Server;
//! let request = Request { leaf: &leaf, intermediates: &intermediates, roots: &roots, usage, names: &names, time };
//! match request.verify(Mode::Go(GoVersion::NEWEST), &signatures) {
//!     Outcome::Accepted(path) => assert_eq!(path.certificates[0].fingerprint, leaf.fingerprint),
//!     Outcome::Refused(refused) => for path in &refused.paths {
//!         for problem in path.refusals(refused.mode) {
//!             println!("{} {}", path.certificates[problem.at].subject, problem.kind);
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! A [`Problem`] carries who refuses for it: [`Problem::go`] says since which Go, [`Problem::rfc5280`] whether the RFC
//! does. So one explanation answers for all of them: which certificates the next Kubernetes version refuses is a filter
//! ([`Problem::newly_refused`]), not a second run. [`webpki::verify`] is a third opinion, by another implementation.
//!
//! Work is bounded: Go's own limit of 100 signatures in its mode, and [`MOST_STEPS`] and [`MOST_PATHS`] for an
//! explanation.

mod constraints;
mod hostname;
mod policy;
mod problem;
mod search;
mod signature;
pub mod webpki;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::certificate::Certificate;
use super::go_version::GoVersion;
use super::public_key::Fingerprint;

pub use problem::{Constrained, ConstraintBreach, Problem, ProblemKind, WantedName};
pub use search::{MOST_CERTIFICATES, MOST_PATHS, MOST_STEPS};
pub use signature::{Signature, Signatures, verify_list};

/// Whose rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Those of crypto/x509 in this version of Go: what a component of Kubernetes does.
    Go(GoVersion),
    /// Those of RFC 5280 section 6, as most other verifiers have them.
    Rfc5280,
}

/// What a certificate shall be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// To serve TLS: serverAuth.
    Server,
    /// To be a client of TLS: clientAuth.
    Client,
    /// Anything.
    Any,
}

impl fmt::Display for Usage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Server => "serverAuth",
            Self::Client => "clientAuth",
            Self::Any => "any",
        })
    }
}

/// Certificates to look issuers up in; each is in it once.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    all: Vec<Arc<Certificate>>,
    by_subject: HashMap<Box<[u8]>, Vec<usize>>,
    by_canonical_subject: HashMap<Vec<u8>, Vec<usize>>,
    by_key_id: HashMap<Box<[u8]>, Vec<usize>>,
    fingerprints: HashSet<Fingerprint>,
}

impl Pool {
    /// A pool of these, in this order, which is the order in which they are tried.
    pub fn new(certificates: impl IntoIterator<Item = Arc<Certificate>>) -> Self {
        let mut pool = Self::default();
        certificates.into_iter().for_each(|certificate| pool.add(certificate));
        pool
    }

    /// Adds one.
    pub fn add(&mut self, certificate: Arc<Certificate>) {
        if !self.fingerprints.insert(certificate.fingerprint) {
            return;
        }
        let index = self.all.len();
        self.by_subject.entry(certificate.subject.der.clone()).or_default().push(index);
        self.by_canonical_subject.entry(certificate.subject.canonical()).or_default().push(index);
        if let Some(id) = &certificate.extensions.subject_key_id {
            self.by_key_id.entry(id.clone()).or_default().push(index);
        }
        self.all.push(certificate);
    }

    /// All, in order.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.all
    }

    /// Whether it holds this very certificate.
    pub fn contains(&self, certificate: &Certificate) -> bool {
        self.fingerprints.contains(&certificate.fingerprint)
    }

    fn of<'a>(&'a self, indexes: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a Arc<Certificate>> {
        indexes.into_iter().flatten().map(|index| &self.all[*index])
    }
}

/// What is to be verified.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The certificate.
    pub leaf: &'a Arc<Certificate>,
    /// Certificates that may be between it and a root.
    pub intermediates: &'a Pool,
    /// Certificates that are trusted.
    pub roots: &'a Pool,
    /// What it shall be used for.
    pub usage: Usage,
    /// What it shall be for: all of these names.
    pub names: &'a [WantedName],
    /// When.
    pub time: Timestamp,
}

/// A path: the leaf first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Its certificates.
    pub certificates: Vec<Arc<Certificate>>,
    /// What is wrong with it, by anyone's rules.
    pub problems: Vec<Problem>,
}

impl Path {
    /// What a verifier of this kind refuses it for.
    pub fn refusals(&self, mode: Mode) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(move |problem| problem.refused_in(mode))
    }

    /// Whether a verifier of this kind accepts it.
    pub fn is_accepted(&self, mode: Mode) -> bool {
        self.refusals(mode).next().is_none()
    }
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This path is accepted; its problems are those that others refuse it for.
    Accepted(Path),
    /// None is.
    Refused(Refused),
}

/// Why no path is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Whose rules were asked.
    pub mode: Mode,
    /// The paths that there could be, the one that comes nearest first; at least one.
    pub paths: Vec<Path>,
    /// Whether there are more paths than were looked at.
    pub incomplete: bool,
    /// Whether it was refused for taking too long: Go's `signature check attempts limit reached`.
    pub too_much_work: bool,
}

impl Outcome {
    /// Whether there is a path.
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// The path that is accepted, or the one that comes nearest.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Accepted(path) => Some(path),
            Self::Refused(refused) => refused.paths.first(),
        }
    }
}

impl Request<'_> {
    /// Looks for a path that is accepted; failing that, explains.
    pub fn verify(&self, mode: Mode, signatures: &Signatures) -> Outcome {
        search::Search::new(*self, signatures).run(mode)
    }

    /// Every path that there could be, with its problems by anyone's rules; and whether there are more.
    pub fn explain(&self, signatures: &Signatures) -> (Vec<Path>, bool) {
        search::Search::new(*self, signatures).explain()
    }
}
