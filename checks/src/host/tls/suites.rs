//! Cipher suites by number and name, and what is wrong with them; groups; signature schemes.
//!
//! Numbers and names are those of the IANA registry "TLS Parameters". What a suite is worth follows from its name.

/// Everything that a server is asked about up to TLS 1.2, the worst first: a server that picks by the client's order
/// shows it at once.
pub const SUITES: &[(u16, &str)] = &[
    (0x0001, "TLS_RSA_WITH_NULL_MD5"),
    (0x0002, "TLS_RSA_WITH_NULL_SHA"),
    (0x003b, "TLS_RSA_WITH_NULL_SHA256"),
    (0xc006, "TLS_ECDHE_ECDSA_WITH_NULL_SHA"),
    (0xc010, "TLS_ECDHE_RSA_WITH_NULL_SHA"),
    (0x0003, "TLS_RSA_EXPORT_WITH_RC4_40_MD5"),
    (0x0006, "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5"),
    (0x0008, "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0014, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA"),
    (0x0018, "TLS_DH_anon_WITH_RC4_128_MD5"),
    (0x001b, "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA"),
    (0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA"),
    (0x003a, "TLS_DH_anon_WITH_AES_256_CBC_SHA"),
    (0x006c, "TLS_DH_anon_WITH_AES_128_CBC_SHA256"),
    (0x006d, "TLS_DH_anon_WITH_AES_256_CBC_SHA256"),
    (0x00a6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256"),
    (0x00a7, "TLS_DH_anon_WITH_AES_256_GCM_SHA384"),
    (0xc017, "TLS_ECDH_anon_WITH_3DES_EDE_CBC_SHA"),
    (0xc018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA"),
    (0xc019, "TLS_ECDH_anon_WITH_AES_256_CBC_SHA"),
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0xc007, "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA"),
    (0xc011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"),
    (0x0009, "TLS_RSA_WITH_DES_CBC_SHA"),
    (0x0015, "TLS_DHE_RSA_WITH_DES_CBC_SHA"),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0016, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc008, "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA"),
    (0xc012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x0041, "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA"),
    (0x0084, "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x006b, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009f, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xccaa, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xcca9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xcca8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

/// The suites of TLS 1.3.
pub const SUITES_13: &[(u16, &str)] = &[
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
];

/// The suites that Go's crypto/tls knows by name, secure or not, in every version that a Kubernetes of today is built
/// with.
const GO_SUITES: &[u16] = &[
    0x0005, 0x000a, 0x002f, 0x0035, 0x003c, 0x009c, 0x009d, 0xc007, 0xc009, 0xc00a, 0xc011, 0xc012, 0xc013, 0xc014,
    0xc023, 0xc027, 0xc02b, 0xc02c, 0xc02f, 0xc030, 0xcca8, 0xcca9, 0x1301, 0x1302, 0x1303,
];

/// Names that Kubernetes and etcd take beside Go's, from before Go 1.14.
const OLD_NAMES: &[(&str, u16)] =
    &[("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", 0xcca8), ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", 0xcca9)];

/// Named groups that a server is asked about.
pub const GROUPS: &[(u16, &str)] = &[
    (0x11ec, "X25519MLKEM768"),
    (0x11eb, "SecP256r1MLKEM768"),
    (0x11ed, "SecP384r1MLKEM1024"),
    (29, "x25519"),
    (23, "secp256r1"),
    (24, "secp384r1"),
    (25, "secp521r1"),
    (30, "x448"),
    (256, "ffdhe2048"),
];

/// The group that withstands quantum computers and that Go has offered since 1.24.
pub const X25519MLKEM768: u16 = 0x11ec;

/// Signature schemes of today, and SHA-1 behind them: as a client that takes anything offers them.
pub(super) const SCHEMES: &[u16] =
    &[0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201];

/// The schemes with SHA-1: RSA and ECDSA.
pub const SHA1_SCHEMES: &[u16] = &[0x0201, 0x0203];

/// What is wrong with a cipher suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weakness {
    /// Encrypts nothing, or so that anyone can read it, or authenticates nobody.
    Broken(&'static str),
    /// Not broken, and not to be used any more.
    Weak(&'static str),
    /// CBC with a MAC in the wrong order; safe where it is implemented with care, and in Go's defaults.
    Cbc,
}

/// The name of a suite.
#[must_use]
pub fn suite_name(number: u16) -> String {
    named(number, &[SUITES, SUITES_13])
}

/// The name of a group.
#[must_use]
pub fn group_name(number: u16) -> String {
    named(number, &[GROUPS])
}

/// The name of a suite of Go's, by a name that Kubernetes and etcd take for it in a flag; `None` where they take none.
#[must_use]
pub fn go_suite(name: &str) -> Option<&'static str> {
    let old = OLD_NAMES.iter().find(|(old, _)| *old == name);
    let rows = SUITES.iter().chain(SUITES_13);
    let mut known = rows.filter(|(number, _)| GO_SUITES.contains(number));
    known.find(|(number, own)| old.map_or(*own == name, |(_, new)| number == new)).map(|(_, own)| *own)
}

fn named(number: u16, tables: &[&[(u16, &str)]]) -> String {
    let row = tables.iter().copied().flatten().find(|(own, _)| *own == number);
    row.map_or_else(|| format!("{number:#06x}"), |(_, name)| (*name).to_owned())
}

/// What is wrong with a suite of this name; `None` is a good one.
#[must_use]
pub fn weakness(name: &str) -> Option<Weakness> {
    const BROKEN: [(&str, &str); 6] = [
        ("_NULL_", "encrypts nothing"),
        ("_EXPORT_", "export strength: 40 bits"),
        ("_anon_", "authenticates nobody"),
        ("_RC4_", "RC4 (RFC 7465)"),
        ("_DES_CBC_", "DES: 56 bits"),
        ("_MD5", "MD5"),
    ];
    let has = |part: &str| name.contains(part);
    if let Some((_, why)) = BROKEN.iter().find(|(part, _)| has(part)) {
        return Some(Weakness::Broken(why));
    }
    if has("_3DES_") {
        return Some(Weakness::Weak("3DES: blocks of 64 bits (SWEET32)"));
    }
    if name.starts_with("TLS_RSA_") {
        return Some(Weakness::Weak("RSA key exchange: no forward secrecy"));
    }
    has("_CBC_").then_some(Weakness::Cbc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_worth_what_its_name_says() {
        for (name, wanted) in [
            ("TLS_RSA_WITH_NULL_SHA", Some(Weakness::Broken("encrypts nothing"))),
            ("TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", Some(Weakness::Broken("export strength: 40 bits"))),
            ("TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", Some(Weakness::Weak("3DES: blocks of 64 bits (SWEET32)"))),
            ("TLS_RSA_WITH_AES_128_GCM_SHA256", Some(Weakness::Weak("RSA key exchange: no forward secrecy"))),
            ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", Some(Weakness::Cbc)),
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", None),
            ("TLS_AES_128_GCM_SHA256", None),
        ] {
            assert_eq!(weakness(name), wanted, "{name}");
        }
    }

    #[test]
    fn go_knows_some_suites_by_name() {
        for (name, wanted) in [
            ("TLS_RSA_WITH_RC4_128_SHA", Some("TLS_RSA_WITH_RC4_128_SHA")),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", Some("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")),
            ("TLS_AES_128_GCM_SHA256", Some("TLS_AES_128_GCM_SHA256")),
            ("TLS_RSA_WITH_AES_256_CBC_SHA256", None),
            ("TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", None),
            (" TLS_AES_128_GCM_SHA256", None),
            ("", None),
        ] {
            assert_eq!(go_suite(name), wanted, "{name}");
        }
        let all = SUITES.iter().chain(SUITES_13).filter(|(_, name)| go_suite(name).is_some());
        assert_eq!(all.count(), GO_SUITES.len());
    }

    #[test]
    fn no_number_and_no_name_stands_twice() {
        let all: Vec<_> = [SUITES, SUITES_13].concat();
        let distinct = |count: usize| assert_eq!(count, all.len());
        distinct(all.iter().map(|row| row.0).collect::<std::collections::BTreeSet<_>>().len());
        distinct(all.iter().map(|row| row.1).collect::<std::collections::BTreeSet<_>>().len());
        assert_eq!(suite_name(0xc02f), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(suite_name(0xfafa), "0xfafa");
    }
}
