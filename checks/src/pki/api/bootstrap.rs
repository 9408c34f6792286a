//! Claims about what lets nodes in: `cluster-info` and its signatures, bootstrap tokens, shared certificates.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::kubeconfig::server;
use super::{Token, certificates, claim, need};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::host::{Signature, jws, kubeconfig};
use crate::pki::tally::Tally;
use crate::pki::{Check, View, trust};

const TOKENS: &str = "https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/";
const INIT: &str = "https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init/";

/// How long kubeadm's certificates are shared (kubeadm, `DefaultCertTokenDuration`).
const SHARED: SignedDuration = SignedDuration::from_hours(2);
/// What the groups of bootstrap tokens begin with (Kubernetes: bootstrap tokens).
const GROUPS: &str = "system:bootstrappers:";

/// The kubeconfig in `cluster-info`, which has a cluster and nobody in it.
fn handed_out(view: &View<'_>, tally: &mut Tally) -> Option<Result<kubeconfig::Facts, String>> {
    let info = need(&view.facts.api.cluster_info, tally)?;
    let text = info.data.get("kubeconfig").and_then(Value::as_str).unwrap_or_default();
    let mut no_file = |path: &str| Err(format!("it names a file, {path}"));
    Some(kubeconfig::Facts::parse(text, None, &mut no_file).map_err(|why| why.to_string()))
}

fn cluster_info(view: &View<'_>, tally: &mut Tally) {
    const SUBJECT: &str = "kube-public/cluster-info";
    let Some(handed_out) = handed_out(view, tally) else { return };
    tally.look();
    let config = match handed_out {
        Ok(config) => config,
        Err(why) => return tally.breach(Breach::new(SUBJECT, format!("{SUBJECT} is of no use: {why}"))),
    };
    let roots = config.ca.as_deref().map(certificates).unwrap_or_default();
    if roots.is_empty() {
        return tally
            .breach(Breach::new(SUBJECT, format!("{SUBJECT} hands out no CA: nodes cannot verify the API server")));
    }
    let Some(presented) = server(view).and_then(|endpoint| endpoint.presented.known()) else {
        return tally.unknown("the API server did not present a certificate");
    };
    if let Err(why) = trust::verify(&presented.chain, &roots, view) {
        let message = format!(
            "{SUBJECT} hands out a CA by which the API server cannot be verified: {why}; new nodes cannot join"
        );
        let found = roots
            .iter()
            .map(|root| format!("{}, key {}", root.subject, root.public_key.sha256))
            .collect::<Vec<_>>()
            .join("; ");
        let wanted = presented.leaf().map_or_else(String::new, |leaf| format!("the CA {}", leaf.issuer));
        tally.breach(Breach::new(SUBJECT, message).found(found).wanted(wanted));
    }
}

fn expiry(token: &Token) -> Option<Timestamp> {
    token.expiration.as_ref()?.parse().ok()
}

fn living(tokens: &[Token], now: Timestamp) -> impl Iterator<Item = &Token> {
    tokens.iter().filter(move |token| expiry(token).is_none_or(|end| end > now))
}

fn signatures(view: &View<'_>, tally: &mut Tally) {
    let Some(tokens) = need(&view.facts.api.tokens, tally) else { return };
    let Some(info) = need(&view.facts.api.cluster_info, tally) else { return };
    for token in living(tokens, view.profile.now).filter(|token| token.signs) {
        tally.look();
        let why = match &token.signature {
            Signature::Good => continue,
            Signature::Bad(why) => format!("the signature of token {} under cluster-info is not good: {why}", token.id),
            Signature::Missing => {
                format!("token {} has not signed cluster-info: is the controller bootstrap-signer running?", token.id)
            }
        };
        tally.breach(Breach::new(&token.name, format!("{why}; nodes cannot join with it")));
    }
    let ids: BTreeSet<_> = tokens.iter().map(|token| token.id.as_str()).collect();
    for id in info.data.keys().filter_map(|key| key.strip_prefix(jws::KEY_PREFIX)) {
        tally.look();
        if !ids.contains(id) {
            let message = format!("cluster-info is signed by token {id}, which is not there any more");
            tally.breach(Breach::new("kube-public/cluster-info", message));
        }
    }
}

fn tokens(view: &View<'_>, tally: &mut Tally) {
    for token in need(&view.facts.api.tokens, tally).into_iter().flatten() {
        tally.look();
        let breach = match (&token.expiration, expiry(token)) {
            (None, _) => Breach::new(
                &token.name,
                format!("token {} never expires: whoever has seen it can add nodes for ever", token.id),
            ),
            (Some(text), None) => {
                Breach::new(&token.name, format!("token {} expires at a time that cannot be read", token.id))
                    .found(text)
            }
            (Some(text), Some(end)) if end < view.profile.now => {
                let message = format!(
                    "token {} has expired and is still there: is the controller token-cleaner running?",
                    token.id
                );
                Breach::new(&token.name, message).found(text)
            }
            _ => continue,
        };
        tally.breach(breach.wanted("a day soon, as of `kubeadm token create`: 24 hours"));
    }
}

fn groups(view: &View<'_>, tally: &mut Tally) {
    for token in need(&view.facts.api.tokens, tally).into_iter().flatten().filter(|token| token.authenticates) {
        tally.look();
        let groups = token.groups.as_deref().unwrap_or_default();
        let odd: Vec<_> =
            groups.split(',').map(str::trim).filter(|group| !group.is_empty() && !group.starts_with(GROUPS)).collect();
        if !odd.is_empty() {
            let message =
                format!("token {} is of a group that tokens may not have: the API server refuses it", token.id);
            tally.breach(
                Breach::new(&token.name, message)
                    .found(odd.join(", "))
                    .wanted(format!("groups that begin with {GROUPS}")),
            );
        }
    }
}

fn shared(view: &View<'_>, tally: &mut Tally) {
    const SUBJECT: &str = "kube-system/kubeadm-certs";
    let Some(shared) = need(&view.facts.api.shared_certs, tally) else { return };
    let Some(tokens) = need(&view.facts.api.tokens, tally) else { return };
    tally.look();
    let keys: Vec<_> = shared.files.iter().filter(|file| file.ends_with(".key")).map(String::as_str).collect();
    let owned = living(tokens, view.profile.now).any(|token| shared.owners.contains(&token.name));
    let age = view.profile.now.duration_since(shared.created);
    if age > SHARED || !owned {
        let message = if owned {
            format!(
                "{SUBJECT} has been there for {} hours: whoever gets the certificate key has the keys of the CAs",
                age.as_hours()
            )
        } else {
            format!(
                "{SUBJECT} belongs to no token that is valid, so nothing removes it: whoever gets the certificate key \
                 has the keys of the CAs"
            )
        };
        tally.breach(
            Breach::new(SUBJECT, message).found(keys.join(", ")).wanted("no such Secret, two hours after it was made"),
        );
    }
}

/// The claims about what lets nodes in.
pub(super) fn checks() -> Vec<Check> {
    let token = || {
        Remedy::new("Delete the token, and make another one when it is needed.")
            .command("kubeadm token delete ID")
            .command("kubeadm token create --print-join-command")
    };
    vec![
        claim(
            "pki.api.cluster-info",
            "cluster-info hands out the CA of the API server",
            "ConfigMap kube-public/cluster-info",
            cluster_info,
        )
        .alias("PKI-K06")
        .alias("kubeadm join")
        .page(
            "`kubeadm join` believes this CA, and the server that does not fit it, it refuses. A CA that was replaced \
             is not replaced here by anyone.",
            "Builds a path from what the API server presents to the CA in the ConfigMap.",
        )
        .basis(
            "kubeadm join: discovering what cluster CA to trust",
            "https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/",
        )
        .remedy(
            Remedy::new("Have kubeadm write it again.")
                .command("kubectl -n kube-public delete configmap cluster-info && kubeadm init phase bootstrap-token"),
        ),
        claim(
            "pki.api.cluster-info-signed",
            "every bootstrap token that may has signed cluster-info",
            "bootstrap token that signs",
            signatures,
        )
        .alias("PKI-K06")
        .alias("there is no JWS signed token in the cluster-info ConfigMap")
        .page(
            "`kubeadm join` refuses a cluster-info that the token it was given has not signed.",
            "Makes the HMAC of the kubeconfig with each token's secret and compares it with the signature in the \
             ConfigMap.",
        )
        .basis("Bootstrap tokens: ConfigMap signing", TOKENS)
        .remedy(Remedy::new(
            "See that kube-controller-manager runs its controller bootstrap-signer \
             (--controllers=*,bootstrap-signer-controller), then make the token again.",
        )),
        claim(
            "pki.api.token-expiry",
            "every bootstrap token expires, and those that have are gone",
            "bootstrap token",
            tokens,
        )
        .alias("PKI-K07")
        .alias("ttl: 0s")
        .page(
            "A bootstrap token makes nodes of whoever shows it.",
            "Reads the expiry of each Secret of type bootstrap.kubernetes.io/token.",
        )
        .basis("Bootstrap tokens: token expiration", TOKENS)
        .remedy(token()),
        claim(
            "pki.api.token-groups",
            "every bootstrap token has only groups that tokens may have",
            "bootstrap token that authenticates",
            groups,
        )
        .severity(Severity::Medium)
        .alias("PKI-K07")
        .alias("auth-extra-groups")
        .page(
            "A token with any other group is refused as a whole; somebody meant to give it more than a token can have.",
            "Reads auth-extra-groups of each token.",
        )
        .basis("Bootstrap tokens: bootstrap token Secret format", TOKENS)
        .remedy(token()),
        claim(
            "pki.api.shared-certs",
            "the keys of the CAs do not lie in the cluster",
            "Secret kube-system/kubeadm-certs",
            shared,
        )
        .alias("PKI-K07")
        .alias("upload-certs")
        .page(
            "`kubeadm init --upload-certs` puts the CAs' keys, encrypted, into a Secret for two hours; it goes away \
             with its token, if the token goes away.",
            "Reads the age and the owner of the Secret, not its content.",
        )
        .basis("kubeadm init: uploading control-plane certificates to the cluster", INIT)
        .remedy(Remedy::new("Delete it.").command("kubectl -n kube-system delete secret kubeadm-certs")),
    ]
}
