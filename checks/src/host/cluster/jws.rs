//! The signature under `cluster-info`: a detached JSON Web Signature (RFC 7515 appendix F) by HMAC-SHA-256, whose key
//! is the secret of the bootstrap token that it is named after.
//!
//! The controller manager's bootstrap-signer makes it; `kubeadm join` verifies it before it believes the CA in there.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// What the names of signatures in the ConfigMap start with; the token's id follows.
pub const KEY_PREFIX: &str = "jws-kubeconfig-";

/// Why a text is not signed by a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// It is no detached signature.
    #[error("it is no detached JWS: a header, two points and a signature in base64url")]
    Form,
    /// Its header is not that of this token.
    #[error("its header does not name the algorithm HS256 and the token")]
    Header,
    /// The signature is of another text or by another secret.
    #[error("it was made for another kubeconfig, or with another token secret")]
    Signature,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

/// Did the token `id` with this secret sign `content` so?
///
/// # Errors
/// [`Unsigned`], why not.
pub fn verify(id: &str, secret: &[u8], content: &str, signature: &str) -> Result<(), Unsigned> {
    let mut parts = signature.split('.');
    let (Some(header), Some(""), Some(mac), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Unsigned::Form);
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Unsigned::Form);
    let named: Header = serde_json::from_slice(&decode(header)?).map_err(|_| Unsigned::Header)?;
    if named.alg != "HS256" || named.kid != id {
        return Err(Unsigned::Header);
    }
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::verify(&key, signed.as_bytes(), &decode(mac)?).map_err(|_| Unsigned::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    // `printf '%s.%s' HEADER $(printf content | base64url) | openssl dgst -sha256 -hmac 0123456789abcdef -binary |
    // base64url`
    const HEADER: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9";
    const MAC: &str = "psz1NayrXM3IaFzKZGsb5n_mBl7MjtlsZ1xE8MRmF_4";

    #[test]
    fn a_signature_is_of_one_token_and_one_text() {
        let signature = format!("{HEADER}..{MAC}");
        let verify = |id, secret: &str, content| verify(id, secret.as_bytes(), content, &signature);
        assert_eq!(verify("abcdef", "0123456789abcdef", "content"), Ok(()));
        assert_eq!(verify("abcdef", "0123456789abcdef", "other"), Err(Unsigned::Signature));
        assert_eq!(verify("abcdef", "fedcba9876543210", "content"), Err(Unsigned::Signature));
        assert_eq!(verify("fedcba", "0123456789abcdef", "content"), Err(Unsigned::Header));
    }

    #[test]
    fn what_is_no_signature_is_told_apart() {
        for (text, why) in [
            ("", Unsigned::Form),
            ("..", Unsigned::Header),
            ("a.b.c", Unsigned::Form),
            ("eyJhbGciOiJub25lIiwia2lkIjoiYWJjZGVmIn0..", Unsigned::Header),
            ("!..!", Unsigned::Form),
        ] {
            assert_eq!(verify("abcdef", b"0123456789abcdef", "content", text), Err(why), "{text}");
        }
    }
}
