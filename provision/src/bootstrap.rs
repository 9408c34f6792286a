//! How nodes are let in: bootstrap tokens, the signed `cluster-info`, and the rules that go with them, as
//! `kubeadm init phase bootstrap-token` leaves them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The group of nodes that show a bootstrap token.
pub(crate) const JOINING: &str = "system:bootstrappers:kubeadm:default-node-token";
/// What kubeadm has tokens for.
pub(crate) const USAGES: [&str; 2] = ["signing", "authentication"];
/// The alphabet of tokens (Kubernetes: bootstrap tokens, token format).
const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const ID: usize = 6;
const SECRET: usize = 16;

/// A bootstrap token: a public id, a point, and a secret, which is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    id: String,
    secret: String,
}

/// Why a text is no bootstrap token. The text itself is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no bootstrap token: it is 6 characters, a point and 16 characters, of a-z and 0-9")]
pub struct BadToken;

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}.not shown)", self.id)
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let plain = |part: &str, length| part.len() == length && part.bytes().all(|byte| ALPHABET.contains(&byte));
        match text.split_once('.') {
            Some((id, secret)) if plain(id, ID) && plain(secret, SECRET) => {
                Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
            }
            _ => Err(BadToken),
        }
    }
}

impl Token {
    /// A new one.
    ///
    /// # Panics
    /// Never in practice: if the kernel has no random numbers.
    #[must_use]
    pub fn generate() -> Self {
        let mut letters = Vec::with_capacity(ID + SECRET);
        while letters.len() < ID + SECRET {
            let mut bytes = [0; 64];
            rand::fill(&mut bytes).expect("the kernel has random numbers");
            // What is left of a byte beyond a multiple of 36 would make some letters likelier than others.
            let even = bytes.into_iter().filter(|byte| *byte < 252);
            letters.extend(even.map(|byte| char::from(ALPHABET[usize::from(byte % 36)])));
        }
        Self { id: letters[..ID].iter().collect(), secret: letters[ID..ID + SECRET].iter().collect() }
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole token, for the one who is to show it.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, self.secret)
    }

    /// The Secret that makes the API server take it, until `expires`, for whatever kubeadm has tokens for by default.
    #[must_use]
    pub fn object(&self, description: Option<&str>, expires: Option<Timestamp>) -> Value {
        self.object_for(description, expires, &USAGES, &[JOINING])
    }

    /// The Secret that makes the API server take it, until `expires`, for these usages and as a member of these groups.
    #[must_use]
    pub fn object_for(
        &self,
        description: Option<&str>,
        expires: Option<Timestamp>,
        usages: &[&str],
        groups: &[&str],
    ) -> Value {
        let mut data = Map::new();
        let mut put = |key: &str, value: &str| drop(data.insert(key.to_owned(), STANDARD.encode(value).into()));
        put("token-id", &self.id);
        put("token-secret", &self.secret);
        if let Some(description) = description {
            put("description", description);
        }
        if let Some(expires) = expires {
            put("expiration", &expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        usages.iter().for_each(|usage| put(&format!("usage-bootstrap-{usage}"), "true"));
        if !groups.is_empty() {
            put("auth-extra-groups", &groups.join(","));
        }
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": format!("bootstrap-token-{}", self.id), "namespace": "kube-system" },
            "type": "bootstrap.kubernetes.io/token",
            "data": data,
        })
    }

    /// The signature of a text, detached: a JWS (RFC 7515 appendix F) with HMAC-SHA-256 under the token's secret.
    #[must_use]
    pub fn sign(&self, content: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{}"}}"#, self.id));
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        format!("{header}..{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
    }

    /// Did this token sign the text so?
    #[must_use]
    pub fn signed(&self, content: &str, signature: &str) -> bool {
        let mut parts = signature.split('.');
        let (Some(header), Some(""), Some(mac), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let named = URL_SAFE_NO_PAD.decode(header).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let named = named.is_some_and(|header| header["alg"] == "HS256" && header["kid"] == self.id.as_str());
        let Ok(mac) = URL_SAFE_NO_PAD.decode(mac) else { return false };
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        named && hmac::verify(&key, signed.as_bytes(), &mac).is_ok()
    }
}

/// The pin of a CA: `sha256:` and the hash of its public key, as `--discovery-token-ca-cert-hash` takes it (RFC 7469
/// section 2.4). `None` where `ca` holds no certificate.
#[must_use]
pub fn pin(ca: &str) -> Option<String> {
    let block = Pem::iter_from_buffer(ca.as_bytes()).flatten().find(|block| block.label == "CERTIFICATE")?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    let hash = digest::digest(&digest::SHA256, certificate.public_key().raw);
    Some(hash.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// What lets nodes in, and administrators: in the order in which it can be created. The controller-manager signs
/// `cluster-info` itself.
#[must_use]
pub fn objects(ca: &str, server: &str) -> Vec<Value> {
    let group = |name: &str| json!([{ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name }]);
    let user = |name: &str| json!([{ "kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name }]);
    let binding = |name: &str, role: &str, subjects: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
            "subjects": subjects,
        })
    };
    let signing_requests = "system:certificates.k8s.io:certificatesigningrequests";
    let reader = json!({ "name": "kubeadm:bootstrap-signer-clusterinfo", "namespace": "kube-public" });
    vec![
        binding("kubeadm:cluster-admins", "cluster-admin", group("kubeadm:cluster-admins")),
        binding("kubeadm:apiserver-kubelet-client", "system:kubelet-api-admin", user("kube-apiserver-kubelet-client")),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "kubeadm:get-nodes" },
            "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["nodes"] }],
        }),
        binding("kubeadm:get-nodes", "kubeadm:get-nodes", group(JOINING)),
        binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", group(JOINING)),
        binding("kubeadm:node-autoapprove-bootstrap", &format!("{signing_requests}:nodeclient"), group(JOINING)),
        binding(
            "kubeadm:node-autoapprove-certificate-rotation",
            &format!("{signing_requests}:selfnodeclient"),
            group("system:nodes"),
        ),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "cluster-info", "namespace": "kube-public" },
            "data": { "kubeconfig": cluster_info(ca, server) },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": reader.clone(),
            "rules": [
                { "verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cluster-info"] },
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": reader.clone(),
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": reader["name"] },
            "subjects": user("system:anonymous"),
        }),
    ]
}

/// A kubeconfig with a cluster and nobody in it, letter by letter as client-go writes it: it is what is signed.
fn cluster_info(ca: &str, server: &str) -> String {
    format!(
        "apiVersion: v1\nclusters:\n\
         - cluster:\n    certificate-authority-data: {}\n    server: {server}\n  name: \"\"\ncontexts: null\n\
         current-context: \"\"\nkind: Config\nusers: null\n",
        STANDARD.encode(ca)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_of_their_form_and_are_not_shown() {
        let token = Token::generate();
        assert_eq!(token.reveal().parse(), Ok(token.clone()));
        assert_ne!(token, Token::generate());
        assert!(!format!("{token:?}").contains(&token.secret));
        for text in ["", "abcdef", "abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef "] {
            assert_eq!(text.parse::<Token>(), Err(BadToken), "{text}");
        }
    }

    #[test]
    fn a_signature_is_of_one_token_and_one_text() {
        let token: Token = "abcdef.0123456789abcdef".parse().unwrap();
        let signature = token.sign("content");
        assert!(token.signed("content", &signature));
        assert!(!token.signed("other", &signature));
        assert!(!"abcdef.fedcba9876543210".parse::<Token>().unwrap().signed("content", &signature));
        assert!(!"fedcba.0123456789abcdef".parse::<Token>().unwrap().signed("content", &signature));
        for bad in ["", "..", "a.b.c", &signature[1..]] {
            assert!(!token.signed("content", bad), "{bad}");
        }
    }
}
