//! The CAs that the world trusts: the keys of the roots of Mozilla's programme, by which browsers and distributions go.
//!
//! `public_roots.txt` has one a line: the SHA-256 of its SubjectPublicKeyInfo (`openssl x509 -noout -pubkey | openssl
//! pkey -pubin -outform DER | sha256sum`) and its name. They are those of Mozilla's list of today (webpki-root-certs
//! 1.0.11) and those of Debian 12 (ca-certificates 20230311), so that roots that browsers have dropped since are known,
//! too. A root that is younger than the table is not recognized; none is wrongly.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::pki::x509::PublicKey;

static ROOTS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let table = include_str!("public_roots.txt");
    table.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect()
});

/// Is this the key of a public CA?
pub(super) fn is_public(key: &PublicKey) -> bool {
    ROOTS.contains(key.sha256.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::ROOTS;

    #[test]
    fn the_table_holds_one_key_a_line() {
        assert_eq!(ROOTS.len(), include_str!("public_roots.txt").lines().count());
        let digest =
            |text: &&str| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        assert!(ROOTS.iter().all(digest));
    }
}
