//! The search for paths. [`Search::accept`] goes as Go's buildChains does: what is refused is not followed.
//! [`Search::explain`] follows everything, so as to tell what is wrong with it. Both ask the same functions what is
//! wrong, so that they cannot contradict each other.

use std::sync::Arc;

use super::super::algorithm::{Hash, Scheme};
use super::super::certificate::Certificate;
use super::super::extension::KeyUsage;
use super::super::go_version::{GoVersion, Refusal};
use super::super::oid::known;
use super::super::public_key::KeyKind;
use super::problem::{Problem, ProblemKind};
use super::signature::{Signature, Signatures};
use super::{Mode, Outcome, Path, Pool, Refused, Request, Usage, constraints, hostname, policy};

/// An explanation holds at most this many paths.
pub const MOST_PATHS: usize = 32;
/// An explanation takes at most this many steps from a certificate to a possible issuer.
pub const MOST_STEPS: usize = 1000;
/// An explanation follows a path through at most this many certificates.
pub const MOST_CERTIFICATES: usize = 16;
/// Go gives up after as many signatures.
const GO_SIGNATURES: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Root,
    Intermediate,
}

pub(super) struct Search<'a> {
    request: Request<'a>,
    signatures: &'a Signatures,
    steps: usize,
    exhausted: bool,
    found: Vec<Path>,
}

impl<'a> Search<'a> {
    pub(super) const fn new(request: Request<'a>, signatures: &'a Signatures) -> Self {
        Self { request, signatures, steps: 0, exhausted: false, found: Vec::new() }
    }

    pub(super) fn run(mut self, mode: Mode) -> Outcome {
        if let Some(path) = self.accept(mode) {
            return Outcome::Accepted(path);
        }
        let too_much_work = self.exhausted;
        let (paths, incomplete) = Self::new(self.request, self.signatures).explain_for(Some(mode));
        Outcome::Refused(Refused { mode, paths, incomplete, too_much_work })
    }

    pub(super) fn explain(self) -> (Vec<Path>, bool) {
        self.explain_for(None)
    }

    /// A path that is accepted, if there is one.
    fn accept(&mut self, mode: Mode) -> Option<Path> {
        let mut problems = self.leaf();
        if problems.iter().any(|problem| problem.refused_in(mode)) {
            return None;
        }
        let mut path = vec![Arc::clone(self.request.leaf)];
        if self.request.roots.contains(self.request.leaf) {
            return self.complete(mode, &path, &problems);
        }
        self.extend(mode, &mut path, &mut problems)
    }

    fn extend(&mut self, mode: Mode, path: &mut Vec<Arc<Certificate>>, problems: &mut Vec<Problem>) -> Option<Path> {
        let child = Arc::clone(path.last()?);
        let limit = if matches!(mode, Mode::Go(_)) { GO_SIGNATURES } else { MOST_STEPS };
        for (role, pool) in [(Role::Root, self.request.roots), (Role::Intermediate, self.request.intermediates)] {
            for issuer in candidates(pool, &child, mode) {
                self.steps += 1;
                if self.steps > limit {
                    self.exhausted = true;
                    return None;
                }
                if matches!(issuer.public_key.kind, KeyKind::Other(_))
                    || in_path(issuer, path)
                    || path.len() >= MOST_CERTIFICATES * 8
                {
                    continue;
                }
                let before = problems.len();
                self.step(path, issuer, role, problems);
                let accepted = !problems[before..].iter().any(|problem| problem.refused_in(mode));
                if accepted {
                    path.push(Arc::clone(issuer));
                    let found = if role == Role::Root {
                        self.complete(mode, path, problems)
                    } else {
                        self.extend(mode, path, problems)
                    };
                    if found.is_some() {
                        return found;
                    }
                    path.pop();
                }
                problems.truncate(before);
                if self.exhausted {
                    return None;
                }
            }
        }
        None
    }

    /// The path, if what only a whole path can breach is not breached.
    fn complete(&self, mode: Mode, path: &[Arc<Certificate>], problems: &[Problem]) -> Option<Path> {
        let mut problems = problems.to_vec();
        self.whole(path, &mut problems);
        let path = Path { certificates: path.to_vec(), problems };
        path.is_accepted(mode).then_some(path)
    }

    /// All paths that there could be; those first that a verifier of this kind comes nearest to accepting.
    fn explain_for(mut self, mode: Option<Mode>) -> (Vec<Path>, bool) {
        let problems = self.leaf();
        let mut path = vec![Arc::clone(self.request.leaf)];
        if self.request.roots.contains(self.request.leaf) {
            self.end(&path, problems);
        } else {
            self.follow(&mut path, &problems);
        }
        let refusals = |path: &Path| mode.map_or(path.problems.len(), |mode| path.refusals(mode).count());
        let any = |path: &Path, is: fn(&ProblemKind) -> bool| path.problems.iter().any(|problem| is(&problem.kind));
        let astray = |path: &Path| any(path, |kind| matches!(kind, ProblemKind::IssuerName));
        // Of two CAs of one name that are refused for as much, the one that signed is meant.
        let unsigned = |path: &Path| any(path, is_signature);
        self.found.sort_by_key(|path| (astray(path), refusals(path), unsigned(path), path.certificates.len()));
        (self.found, self.exhausted)
    }

    fn follow(&mut self, path: &mut Vec<Arc<Certificate>>, problems: &[Problem]) {
        let Some(child) = path.last().map(Arc::clone) else { return };
        let at = path.len() - 1;
        let mut next: Vec<(Role, &Arc<Certificate>, Vec<Problem>)> = Vec::new();
        for (role, pool) in [(Role::Root, self.request.roots), (Role::Intermediate, self.request.intermediates)] {
            for issuer in possible(pool, &child) {
                if in_path(issuer, path) || role == Role::Intermediate && self.request.roots.contains(issuer) {
                    continue;
                }
                self.steps += 1;
                if self.steps > MOST_STEPS {
                    self.exhausted = true;
                    break;
                }
                let mut problems = problems.to_vec();
                self.step(path, issuer, role, &mut problems);
                next.push((role, issuer, problems));
            }
        }
        let unsigned =
            |problems: &[Problem]| problems.iter().any(|problem| problem.at == at && is_signature(&problem.kind));
        let signed = next.iter().any(|(_, _, problems)| !unsigned(problems));
        let root = child.is_self_issued() && self.signatures.check(&child, &child.public_key) == Signature::Good;
        // Beside a root that nobody trusts others of its name mean nothing, but for one that is trusted.
        let namesakes = root && !signed && next.iter().all(|(role, ..)| *role == Role::Intermediate);
        if next.is_empty() || namesakes {
            let kind =
                if root { ProblemKind::UntrustedRoot } else { ProblemKind::NoIssuer(Box::new(child.issuer.clone())) };
            let mut problems = problems.to_vec();
            problems.push(Problem::fatal(at, kind));
            self.end(path, problems);
            return;
        }
        for (role, issuer, problems) in next {
            if self.found.len() >= MOST_PATHS {
                self.exhausted = true;
                return;
            }
            path.push(Arc::clone(issuer));
            // Where one issuer signed, those that did not are told of, but what is above them does not matter.
            let goes_on = role == Role::Intermediate && (!signed || !unsigned(&problems));
            if goes_on && path.len() < MOST_CERTIFICATES {
                self.follow(path, &problems);
            } else {
                let mut problems = problems;
                if goes_on {
                    problems.push(Problem::fatal(path.len() - 1, ProblemKind::TooLong));
                }
                self.end(path, problems);
            }
            path.pop();
        }
    }

    fn end(&mut self, path: &[Arc<Certificate>], mut problems: Vec<Problem>) {
        self.whole(path, &mut problems);
        self.found.push(Path { certificates: path.to_vec(), problems });
    }

    /// What is wrong with the leaf, whatever the path.
    fn leaf(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.certificate(0, self.request.leaf, &mut problems);
        for name in self.request.names {
            hostname::problems(self.request.leaf, name, &mut problems);
        }
        problems.dedup();
        problems
    }

    /// What is wrong with a certificate, wherever it is on a path.
    fn certificate(&self, at: usize, certificate: &Certificate, problems: &mut Vec<Problem>) {
        for defect in &certificate.defects {
            let go = defect.refusal();
            problems.push(Problem::new(at, ProblemKind::Malformed(defect.clone()), go, go != Refusal::Never));
        }
        if certificate.extension_list.iter().any(|extension| extension.critical) {
            unknown_critical(at, certificate, problems);
        }
        if self.request.time < certificate.not_before {
            problems.push(Problem::fatal(at, ProblemKind::NotYetValid));
        }
        if self.request.time > certificate.not_after {
            problems.push(Problem::fatal(at, ProblemKind::Expired));
        }
        if self.request.usage != Usage::Any
            && let Some(purposes) = &certificate.extensions.extended_key_usage
        {
            let wanted = if self.request.usage == Usage::Server { known::SERVER_AUTH } else { known::CLIENT_AUTH };
            // Only Go takes the purposes of a CA for those of all that it signs.
            if purposes.is_empty() {
                problems.push(Problem::new(at, ProblemKind::EmptyEku, Refusal::Never, at == 0));
            } else if !purposes.iter().any(|purpose| purpose.is(wanted) || purpose.is(known::ANY_EXTENDED_KEY_USAGE)) {
                problems.push(Problem::new(at, ProblemKind::Eku(self.request.usage), Refusal::Always, at == 0));
            }
        }
    }

    /// What is wrong with this issuer for the last certificate of the path.
    fn step(&self, path: &[Arc<Certificate>], issuer: &Arc<Certificate>, role: Role, problems: &mut Vec<Problem>) {
        let (at, Some(child)) = (path.len() - 1, path.last()) else { return };
        let ids = key_ids(child, issuer);
        if child.issuer.der != issuer.subject.der {
            let encoding = child.issuer.canonical() == issuer.subject.canonical();
            let kind = if encoding { ProblemKind::IssuerEncoding } else { ProblemKind::IssuerName };
            problems.push(Problem::new(at, kind, Refusal::Always, !encoding));
        }
        match self.signatures.check(child, &issuer.public_key) {
            Signature::Good => {}
            // By a key of another kind it cannot be, either.
            Signature::Wrong | Signature::Unsupported if ids == Some(false) => {
                problems.push(Problem::fatal(at, ProblemKind::SameSubjectOtherKey))
            }
            Signature::Wrong => problems.push(Problem::fatal(at, ProblemKind::WrongSignature)),
            Signature::Unsupported => problems.push(Problem::fatal(at, ProblemKind::UnsupportedSignature)),
        }
        if ids == Some(false) {
            problems.push(Problem::new(at, ProblemKind::AkiMismatch, Refusal::Never, false));
        }
        match child.signature_algorithm.scheme.hash() {
            Some(Hash::Sha1) => problems.push(Problem::new(at, ProblemKind::Sha1, Refusal::since(18), false)),
            Some(Hash::Md5) => problems.push(Problem::fatal(at, ProblemKind::Md5)),
            _ => {}
        }
        if let (KeyKind::Rsa(key), Scheme::RsaPkcs1(_) | Scheme::RsaPss(_)) =
            (&issuer.public_key.kind, child.signature_algorithm.scheme)
            && key.bits() < 1024
        {
            problems.push(Problem::new(at + 1, ProblemKind::WeakRsa(key.bits()), Refusal::since(24), false));
        }
        issuing(at + 1, path, issuer, role, problems);
        self.certificate(at + 1, issuer, problems);
    }

    /// What only a whole path can breach.
    fn whole(&self, path: &[Arc<Certificate>], problems: &mut Vec<Problem>) {
        constraints::problems(path, problems);
        if !policy::valid(path) {
            problems.push(Problem::new(0, ProblemKind::NoPolicy, Refusal::since(24), true));
        }
    }
}

const fn is_signature(kind: &ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::WrongSignature
            | ProblemKind::SameSubjectOtherKey
            | ProblemKind::UnsupportedSignature
            | ProblemKind::IssuerName
    )
}

fn unknown_critical(at: usize, certificate: &Certificate, problems: &mut Vec<Problem>) {
    let (old, new) = (GoVersion::new(17), GoVersion::NEWEST);
    let mut add = |oid: &super::super::Oid, go, rfc5280| {
        problems.push(Problem::new(at, ProblemKind::UnknownCritical(oid.clone()), go, rfc5280))
    };
    let newest: Vec<_> = certificate.unhandled_by(new).collect();
    for extension in &newest {
        // The RFC knows all that Go knows, and more kinds of names.
        let known = [known::NAME_CONSTRAINTS, known::SUBJECT_ALT_NAME, known::ISSUER_ALT_NAME];
        let known = known.iter().any(|oid| extension.oid.is(oid));
        add(&extension.oid, Refusal::Always, !known);
    }
    for extension in certificate.unhandled_by(old).filter(|extension| !newest.contains(extension)) {
        add(&extension.oid, Refusal::Before(GoVersion::new(24)), false);
    }
}

/// Whether a certificate may have signed the last one of the path.
fn issuing(at: usize, path: &[Arc<Certificate>], issuer: &Certificate, role: Role, problems: &mut Vec<Problem>) {
    let extensions = &issuer.extensions;
    let constraints = extensions.basic_constraints;
    // Go takes an old certificate for a CA only if it is a root.
    let excused = constraints.is_none() && issuer.version != 3 && role == Role::Root;
    if !constraints.is_some_and(|constraints| constraints.ca) && !excused {
        problems.push(Problem::new(at, ProblemKind::NotACa, Refusal::Always, role == Role::Intermediate));
    }
    if extensions.key_usage.is_some_and(|usage| usage.0 != 0 && !usage.has(KeyUsage::KEY_CERT_SIGN)) {
        problems.push(Problem::new(at, ProblemKind::NoCertSign, Refusal::Always, role == Role::Intermediate));
    }
    if let Some(allowed) = constraints.and_then(|constraints| constraints.path_len) {
        let count =
            |all: bool| path.iter().skip(1).filter(|certificate| all || !certificate.is_self_issued()).count() as u64;
        // The RFC does not count certificates that a CA issued to itself; Go does.
        let (found, by_rfc) = (count(true), count(false));
        if found > allowed {
            problems.push(Problem::new(at, ProblemKind::PathLen { allowed, found }, Refusal::Always, by_rfc > allowed));
        }
    }
}

/// Whether the key identifiers of a certificate and its issuer agree; `None` if one is missing.
fn key_ids(child: &Certificate, issuer: &Certificate) -> Option<bool> {
    let wanted = child.extensions.authority_key_id.as_ref()?.key_id.as_ref()?;
    Some(wanted == issuer.extensions.subject_key_id.as_ref()?)
}

/// The issuers that a verifier of this kind tries, in Go's order: those whose key identifier agrees, those where one is
/// missing, the others.
fn candidates<'a>(pool: &'a Pool, child: &Certificate, mode: Mode) -> Vec<&'a Arc<Certificate>> {
    let parsed = |issuer: &&Arc<Certificate>| match mode {
        Mode::Go(version) => issuer.refused_by(version).next().is_none(),
        Mode::Rfc5280 => true,
    };
    let mut found: Vec<_> = match mode {
        Mode::Go(_) => pool.of(pool.by_subject.get(&child.issuer.der)).filter(parsed).collect(),
        Mode::Rfc5280 => pool.of(pool.by_canonical_subject.get(&child.issuer.canonical())).collect(),
    };
    if found.len() > 1 {
        let wanted = child.extensions.authority_key_id.as_ref().and_then(|id| id.key_id.as_deref()).unwrap_or_default();
        found.sort_by_key(|issuer| {
            let id = issuer.extensions.subject_key_id.as_deref().unwrap_or_default();
            if id == wanted { 0 } else { 1 + u8::from(id.is_empty() == wanted.is_empty()) }
        });
    }
    found
}

/// Everything that could be meant as the issuer: by name, in whatever encoding, or by key identifier.
fn possible<'a>(pool: &'a Pool, child: &Certificate) -> Vec<&'a Arc<Certificate>> {
    let mut found = candidates(pool, child, Mode::Rfc5280);
    if let Some(id) = child.extensions.authority_key_id.as_ref().and_then(|id| id.key_id.as_ref()) {
        let others =
            pool.of(pool.by_key_id.get(id)).filter(|issuer| issuer.subject.canonical() != child.issuer.canonical());
        found.extend(others.take(super::MOST_PATHS));
    }
    found
}

/// Whether a certificate with this subject, key and alternative names is on the path: then it would be a loop.
fn in_path(candidate: &Certificate, path: &[Arc<Certificate>]) -> bool {
    let san = candidate.extension(known::SUBJECT_ALT_NAME).map(|extension| candidate.value(extension));
    for one in path {
        if candidate.subject.der != one.subject.der || candidate.public_key.spki != one.public_key.spki {
            continue;
        }
        let theirs = one.extension(known::SUBJECT_ALT_NAME).map(|extension| one.value(extension));
        match (san, theirs) {
            (None, None) => return true,
            // As in Go: the first such certificate decides.
            (None, _) | (_, None) => return false,
            (Some(ours), Some(theirs)) if ours == theirs => return true,
            _ => {}
        }
    }
    false
}
