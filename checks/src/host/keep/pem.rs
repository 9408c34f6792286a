//! Files of certificates and keys: what is public stays, the lines of all else are empty.

use super::scrub::scrub;
use crate::pki::x509::pem::{Content, Document};

/// Labels of what is public.
const PUBLIC: &[&str] = &[
    "CERTIFICATE",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "X509 CRL",
    "CRL",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "EC PARAMETERS",
    "DH PARAMETERS",
];

/// What stands where a key or a text stood.
const GONE: &str = "# [redacted]";

/// A file of PEM, or a certificate in DER.
pub(super) fn pem(bytes: &[u8]) -> Vec<u8> {
    if is_public(bytes) && bytes.first() == Some(&0x30) {
        return bytes.to_vec();
    }
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let Some(label) = label(line, "-----BEGIN ") else {
            kept += &replaced(line, if line.trim().is_empty() { line.trim_end_matches(['\n', '\r']) } else { GONE });
            at += 1;
            continue;
        };
        let rest = &lines[at + 1..];
        let end = rest.iter().position(|line| line.contains("-----END ") || line.contains("-----BEGIN "));
        let closed = end.is_some_and(|end| rest[end].contains("-----END "));
        let length = 1 + end.map_or(rest.len(), |end| end + usize::from(closed));
        block(&label, &lines[at..at + length], closed, &mut kept);
        at += length;
    }
    kept.into_bytes()
}

/// The label of a line that begins or ends a block, and nothing else.
fn label(line: &str, marker: &str) -> Option<String> {
    let label = line.trim_start_matches('\u{feff}').trim().strip_prefix(marker)?.strip_suffix("-----")?;
    Some(label.to_owned())
}

fn block(label: &str, lines: &[&str], closed: bool, kept: &mut String) {
    if !PUBLIC.contains(&label) {
        for (number, line) in lines.iter().enumerate() {
            *kept += &replaced(line, if number == 0 { GONE } else { "" });
        }
        return;
    }
    let (body, end) = lines[1..].split_at(lines.len() - 1 - usize::from(closed));
    *kept += lines[0];
    // Headers stand before the first empty line; Go passes over certificates that have some.
    let blank = body.iter().position(|line| line.trim().is_empty());
    let headers = blank.filter(|&blank| body[..blank].iter().all(|line| line.contains(':')) && blank > 0).unwrap_or(0);
    for line in &body[..headers] {
        let name = line.split(':').next().unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        *kept += &replaced(line, &format!("{}: [redacted]", if plain { name } else { "X" }));
    }
    let whole: String = ["-----BEGIN ", label, "-----\n"].concat() + &body[headers..].concat();
    let whole = whole + "\n-----END " + label + "-----\n";
    let public = is_public(whole.as_bytes());
    for line in &body[headers..] {
        if public {
            *kept += line;
        } else {
            // What cannot be read stays what cannot be read, of the same length.
            *kept += &line.replace(|c: char| c.is_alphanumeric() || "+/".contains(c), "A");
        }
    }
    for line in end {
        let closes = self::label(line, "-----END ").is_some_and(|name| PUBLIC.contains(&&*name));
        *kept += &if closes { (*line).to_owned() } else { replaced(line, "-----END [redacted]-----") };
    }
}

/// Is all that is in a file public?
fn is_public(bytes: &[u8]) -> bool {
    let document = Document::read(bytes);
    let public = |content: &Content| match content {
        Content::Certificate(_) | Content::CertificateRequest | Content::RevocationList(_) | Content::Parameters => {
            true
        }
        Content::Key(key) => !key.form.is_private(),
        _ => false,
    };
    !document.blocks.is_empty() && document.blocks.iter().all(|block| public(&block.content))
}

fn replaced(line: &str, by: &str) -> String {
    let ending = &line[line.trim_end_matches(['\n', '\r']).len()..];
    format!("{}{ending}", scrub(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../../node/certificate/valid.pem");

    fn kept(text: &str) -> String {
        String::from_utf8(pem(text.as_bytes())).unwrap()
    }

    #[test]
    fn certificates_stay_and_keys_go_line_by_line() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nMIIsecret\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n";
        for text in
            [format!("{CERTIFICATE}{key}"), format!("{key}{CERTIFICATE}"), format!("secret\n{key}\n{CERTIFICATE}")]
        {
            let clean = kept(&text);
            assert!(clean.contains(CERTIFICATE) && !clean.contains("ecret") && !clean.contains("c2Vj"), "{clean}");
            assert_eq!(clean.lines().count(), text.lines().count());
            assert_eq!(kept(&clean), clean);
        }
    }

    #[test]
    fn a_label_alone_makes_nothing_public() {
        for label in ["CERTIFICATE", "PUBLIC KEY", "SECRET", "ODD PRIVATE KEY"] {
            let text = format!("-----BEGIN {label}-----\nComment: secret\n\nc2VjcmV0\n-----END {label}-----\n");
            let clean = kept(&text);
            assert!(!clean.contains("secret") && !clean.contains("c2VjcmV0"), "{clean}");
            assert_eq!(clean.lines().count(), text.lines().count(), "{clean}");
        }
    }
}
