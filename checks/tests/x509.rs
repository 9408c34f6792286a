//! Certificates, keys and the files that hold them: read as x509-parser reads them, and further where it stops.

#![allow(clippy::unwrap_used, reason = "test code")]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType,
    SerialNumber,
};
use seaworthy_checks::pki::x509::path::{Signature, verify_list};
use seaworthy_checks::pki::x509::pem::{Content, Document, RemarkKind};
use seaworthy_checks::pki::x509::{Certificate, Curve, Flaw, GoVersion, Key, KeyForm, KeyKind, Part, RevocationList};
use x509_parser::prelude::FromDer as _;

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(["kubernetes".to_owned(), "kubernetes.default.svc".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "system:masters");
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.subject_alt_names.push(SanType::IpAddress("10.96.0.1".parse().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("fd00::1".parse().unwrap()));
    params.subject_alt_names.push(SanType::URI("spiffe://cluster.local/ns/x".try_into().unwrap()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// A certificate in DER, its PEM, and its key.
fn made() -> (Vec<u8>, String, KeyPair) {
    let key = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let certificate = params().self_signed(&key).unwrap();
    (certificate.der().to_vec(), certificate.pem(), key)
}

#[test]
fn revocation_lists_are_read_as_x509_parser_reads_them() {
    let key = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let mut params = params();
    params.key_usages.push(KeyUsagePurpose::CrlSign);
    let time = |second| time::OffsetDateTime::from_unix_timestamp(second).unwrap();
    let revoked = |serial: &[u8], reason_code| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: time(1_700_000_000),
        reason_code,
        invalidity_date: None,
    };
    let made = CertificateRevocationListParams {
        this_update: time(1_700_000_000),
        next_update: time(2_600_000_000),
        crl_number: SerialNumber::from(7),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked(&[0x7f], None), revoked(&[0x80, 1], Some(RevocationReason::KeyCompromise))],
        key_identifier_method: params.key_identifier_method.clone(),
    };
    let der = made.signed_by(&Issuer::from_params(&params, &key)).unwrap().der().to_vec();
    let ours = RevocationList::parse(&der).unwrap();
    let (_, theirs) = x509_parser::revocation_list::CertificateRevocationList::from_der(&der).unwrap();
    assert_eq!(&*ours.der, der);
    assert_eq!(ours.version, 2);
    assert_eq!(&*ours.issuer.der, theirs.issuer().as_raw());
    assert_eq!(ours.this_update.as_second(), theirs.last_update().timestamp());
    assert_eq!(ours.next_update.map(|time| time.as_second()), theirs.next_update().map(|time| time.timestamp()));
    let serials: Vec<_> = theirs.iter_revoked_certificates().map(|one| one.raw_serial().to_vec()).collect();
    assert_eq!(ours.revoked.iter().map(|serial| serial.0.to_vec()).collect::<Vec<_>>(), serials);
    assert_eq!(ours.revoked.iter().map(ToString::to_string).collect::<Vec<_>>(), ["7F", "8001"]);
    assert_eq!(ours.tbs(), theirs.tbs_cert_list.as_ref());
    let key_of = |key: &KeyPair| Key::parse(KeyForm::Pkcs8Private, key.serialized_der()).unwrap().public;
    assert_eq!(verify_list(&ours, &key_of(&key)), Signature::Good);
    assert_eq!(verify_list(&ours, &key_of(&pair(&rcgen::PKCS_ECDSA_P384_SHA384))), Signature::Wrong);
    // Whatever is cut off, it is none: to Go, and so to etcd.
    assert!((0..der.len()).all(|length| RevocationList::parse(&der[..length]).is_err()));
}

#[test]
fn fields_are_those_of_x509_parser() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = pair(algorithm);
        let der = params().self_signed(&key).unwrap().der().to_vec();
        let ours = Certificate::parse(&der).unwrap();
        let (_, theirs) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
        assert_eq!(ours.defects, []);
        assert_eq!(&*ours.der, der);
        assert_eq!(ours.version, 3);
        assert_eq!(&*ours.serial.0, theirs.tbs_certificate.raw_serial());
        assert_eq!(&*ours.subject.der, theirs.subject().as_raw());
        assert_eq!(ours.subject.to_string(), "CN=kube-apiserver,O=system:masters");
        assert_eq!(ours.subject.common_name(), Some("kube-apiserver"));
        assert_eq!(ours.subject.organizations().collect::<Vec<_>>(), ["system:masters"]);
        assert_eq!(ours.not_before.as_second(), theirs.validity().not_before.timestamp());
        assert_eq!(ours.not_after.as_second(), theirs.validity().not_after.timestamp());
        assert_eq!(&*ours.public_key.spki, theirs.public_key().raw);
        assert_eq!(ours.tbs(), theirs.tbs_certificate.as_ref());
        assert_eq!(&*ours.signature, &*theirs.signature_value.data);
        let names = ours.extensions.subject_alt_names.as_ref().unwrap();
        assert_eq!(names.dns, ["kubernetes", "kubernetes.default.svc"]);
        assert_eq!(names.ips.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.96.0.1", "fd00::1"]);
        assert_eq!(names.uris, ["spiffe://cluster.local/ns/x"]);
        let constraints = ours.extensions.basic_constraints.unwrap();
        assert!(constraints.ca && constraints.critical && constraints.path_len == Some(1));
        assert_eq!(ours.extensions.key_usage.unwrap().0, theirs.key_usage().unwrap().unwrap().value.flags);
        assert_eq!(ours.extensions.extended_key_usage.as_ref().unwrap()[0].to_string(), "serverAuth");
        assert_eq!(ours.extension_list.len(), theirs.extensions().len());
        for (ours_, theirs) in ours.extension_list.iter().zip(theirs.extensions()) {
            assert_eq!((ours_.oid.dotted(), ours_.critical), (theirs.oid.to_id_string(), theirs.critical));
            assert_eq!(ours.value(ours_), theirs.value);
        }
        assert!(ours.refused_by(GoVersion::NEWEST).next().is_none());
    }
}

/// Replaces the only place where `from` stands.
fn replace(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = der.windows(from.len()).enumerate().filter(|(_, window)| *window == from).collect();
    assert_eq!(places.len(), 1, "{from:x?} stands in {} places", places.len());
    let mut der = der.to_vec();
    der[places[0].0..][..from.len()].copy_from_slice(to);
    der
}

#[test]
fn a_broken_extension_takes_nothing_else_with_it() {
    let (der, ..) = made();
    // The length of the list of purposes is one too many.
    let broken =
        replace(&der, &[0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1], &[0x30, 11, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1]);
    let certificate = Certificate::parse(&broken).unwrap();
    let [defect] = &certificate.defects[..] else { panic!("{:?}", certificate.defects) };
    assert_eq!((defect.to_string().as_str(), &defect.flaw), ("extension extKeyUsage: malformed", &Flaw::Malformed));
    assert!(defect.refused_by(GoVersion::new(17)));
    assert_eq!(certificate.extensions.extended_key_usage, None);
    assert_eq!(certificate.extensions.subject_alt_names.unwrap().dns.len(), 2);
    assert!(certificate.extensions.basic_constraints.unwrap().ca);
}

#[test]
fn what_cannot_be_seen_in_a_name_is_written_out() {
    let mut odd = CertificateParams::default();
    odd.distinguished_name = DistinguishedName::new();
    odd.distinguished_name.push(DnType::CommonName, "bn\u{202e}nim\u{200b}da\u{7}\u{e9}");
    let der = odd.self_signed(&pair(&rcgen::PKCS_ECDSA_P256_SHA256)).unwrap().der().to_vec();
    assert_eq!(Certificate::parse(&der).unwrap().subject.to_string(), "CN=bn\\202Enim\\200Bda\\07\u{e9}");
}

#[test]
fn what_go_refuses_since_some_version() {
    let mut negative = params();
    negative.serial_number = Some(vec![0x01, 0x02, 0x03].into());
    let key = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let der = negative.self_signed(&key).unwrap().der().to_vec();
    let certificate = Certificate::parse(&replace(&der, &[2, 3, 1, 2, 3], &[2, 3, 0x81, 2, 3])).unwrap();
    assert_eq!(certificate.serial.to_string(), "-7EFDFD");
    assert_eq!(certificate.refused_by(GoVersion::new(22)).count(), 0);
    assert_eq!(
        certificate.refused_by(GoVersion::new(23)).map(|defect| &defect.part).collect::<Vec<_>>(),
        [&Part::Serial]
    );

    let path_len = replace(&der, &[0x30, 6, 1, 1, 0xff, 2, 1, 1], &[0x30, 6, 1, 1, 0xff, 2, 1, 0x81]);
    let certificate = Certificate::parse(&path_len).unwrap();
    assert_eq!(certificate.extensions.basic_constraints.unwrap().path_len, None);
    assert!(
        !certificate.defects[0].refused_by(GoVersion::new(24)) && certificate.defects[0].refused_by(GoVersion::new(25))
    );
}

#[test]
fn every_prefix_and_every_changed_byte_is_read_without_a_panic() {
    let (der, ..) = made();
    for length in 0..der.len() {
        assert!(Certificate::parse(&der[..length]).is_err());
    }
    for at in 0..der.len() {
        for byte in [0, 0x7f, 0x80, 0xff, der[at] ^ 1] {
            let mut changed = der.clone();
            changed[at] = byte;
            std::hint::black_box(Certificate::parse(&changed).ok());
        }
    }
}

fn kinds(document: &Document) -> Vec<&RemarkKind> {
    document.remarks.iter().map(|remark| &remark.kind).collect()
}

#[test]
fn remarks_are_in_the_order_of_their_lines() {
    let document = Document::read(b"-----\n==\n-----END -----\n");
    assert!(document.remarks.len() > 1 && document.remarks.is_sorted_by_key(|remark| remark.line), "{document:?}");
}

#[test]
fn what_is_wrong_with_a_file() {
    let (der, pem, _) = made();
    let pem = pem.replace('\r', "");
    let trimmed = pem.trim_end();
    let other = made().1.replace('\r', "");
    for (content, remarks, blocks, skipped) in [
        (pem.clone(), vec![], 1, 0),
        (String::new(), vec![RemarkKind::Empty], 0, 0),
        (" \n\n".to_owned(), vec![RemarkKind::Empty], 0, 0),
        ("hello\n".to_owned(), vec![RemarkKind::NoBlock, RemarkKind::TextOutside(1)], 0, 0),
        (format!("{pem}{pem}"), vec![RemarkKind::Duplicate(1)], 2, 0),
        (format!("{trimmed}{other}"), vec![RemarkKind::Glued], 2, 2),
        (pem.replace('\n', "\r\n"), vec![RemarkKind::CrLf], 1, 0),
        (format!("\u{feff}{pem}"), vec![RemarkKind::ByteOrderMark], 1, 1),
        (format!("a: b\nc\n{pem}"), vec![RemarkKind::TextOutside(2)], 1, 0),
        (format!("{pem}xyz\n"), vec![RemarkKind::TrailingData(3)], 1, 0),
        (format!("  {pem}"), vec![RemarkKind::Indented], 1, 1),
        (trimmed[..trimmed.len() - 30].to_owned(), vec![RemarkKind::NoEnd], 0, 0),
        (format!("{}\n{other}", &trimmed[..trimmed.len() - 30]), vec![RemarkKind::NoEnd], 1, 0),
        (pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), vec![RemarkKind::WrongLabel("CERTIFICATE")], 1, 0),
        (pem.replacen("MI", "!I", 1), vec![RemarkKind::NotBase64], 1, 1),
    ] {
        let document = Document::read(content.as_bytes());
        assert_eq!(kinds(&document), remarks.iter().collect::<Vec<_>>(), "{content}");
        assert_eq!(document.blocks.len(), blocks, "{content}");
        assert_eq!(document.blocks.iter().filter(|block| block.skipped_by_go).count(), skipped, "{content}");
    }
    let document = Document::read(&der);
    assert_eq!(kinds(&document), [&RemarkKind::DerInsteadOfPem]);
    assert_eq!(document.certificates().next().unwrap().fingerprint, Certificate::parse(&der).unwrap().fingerprint);
}

#[test]
fn keys_pair_with_their_certificates_in_every_form() {
    let (der, _, key) = made();
    let certificate = Certificate::parse(&der).unwrap();
    let sec1 = openssl(&["ec"], &key.serialize_pem());
    let public = openssl(&["pkey", "-pubout"], &key.serialize_pem());
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    for (pem, form) in [
        (key.serialize_pem(), KeyForm::Pkcs8Private),
        (format!("{parameters}{sec1}"), KeyForm::Sec1Private),
        (public, KeyForm::PkixPublic),
    ] {
        let document = Document::read(pem.as_bytes());
        let found = document.keys().next().unwrap_or_else(|| panic!("{document:?}"));
        assert_eq!(found.form, form);
        assert_eq!(found.public.kind, KeyKind::Ec(Curve::P256));
        assert_eq!(found.public.sha256, certificate.public_key.sha256);
    }
    for kind in ["ED25519", "EC -pkeyopt ec_paramgen_curve:P-521", "RSA -pkeyopt rsa_keygen_bits:2048"] {
        let words: Vec<_> = ["genpkey", "-algorithm"].into_iter().chain(kind.split(' ')).collect();
        let private = openssl(&words, "");
        let spki = openssl(&["pkey", "-pubout"], &private);
        let (private, spki) = (Document::read(private.as_bytes()), Document::read(spki.as_bytes()));
        assert_eq!(private.keys().next().unwrap().public, spki.keys().next().unwrap().public, "{kind}");
    }
}

#[test]
fn rsa_keys_in_their_forms_and_under_false_labels() {
    let private = openssl(&["genrsa", "-traditional", "2048"], "");
    let public = openssl(&["rsa", "-RSAPublicKey_out"], &private);
    let spki = openssl(&["rsa", "-pubout"], &private);
    let mut hashes = std::collections::HashSet::new();
    for (pem, form) in
        [(&private, KeyForm::Pkcs1Private), (&public, KeyForm::Pkcs1Public), (&spki, KeyForm::PkixPublic)]
    {
        let document = Document::read(pem.as_bytes());
        assert_eq!(document.remarks, []);
        let key = document.keys().next().unwrap();
        assert_eq!((key.form, key.public.bits()), (form, 2048));
        assert_eq!(key.rsa().unwrap().exponent, 65537);
        hashes.insert(key.public.sha256);
    }
    assert_eq!(hashes.len(), 1);
    // kops writes a PKIX key under the label of PKCS#1.
    let document = Document::read(spki.replace("PUBLIC", "RSA PUBLIC").as_bytes());
    assert_eq!(kinds(&document), [&RemarkKind::WrongLabel("PUBLIC KEY")]);
    assert!(document.keys().all(|key| hashes.contains(&key.public.sha256)));
    for encrypted in [
        openssl(&["rsa", "-aes128", "-traditional", "-passout", "pass:x"], &private),
        openssl(&["pkcs8", "-topk8", "-passout", "pass:x"], &private),
    ] {
        let document = Document::read(encrypted.as_bytes());
        assert!(kinds(&document).contains(&&RemarkKind::EncryptedKey), "{document:?}");
        assert!(matches!(document.blocks[0].content, Content::BrokenKey(_)));
    }
}

#[test]
fn what_is_left_of_a_damaged_rsa_key_is_taken_where_aws_lc_takes_it() {
    let sound = pair(&rcgen::PKCS_RSA_SHA256).serialize_der();
    // PKCS#8 is a version, an algorithm and the key of PKCS#1 as an OCTET STRING with four bytes of header.
    let sound = &sound[26..];
    let ours = |der: &[u8]| Key::parse(KeyForm::Pkcs1Private, der).is_ok();
    let theirs = |der: &[u8]| aws_lc_rs::signature::RsaKeyPair::from_der(der).is_ok();
    assert!(ours(sound) && theirs(sound));
    for place in (0..sound.len()).step_by(5) {
        let mut damaged = sound.to_vec();
        damaged[place] ^= 1 << (place % 8);
        assert_eq!(ours(&damaged), theirs(&damaged), "bit {} of byte {place}", place % 8);
    }
}

#[test]
fn a_private_key_is_never_printed() {
    let key = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let secret = key.serialize_der();
    let document = Document::read(key.serialize_pem().as_bytes());
    let printed = format!("{document:?}");
    // The scalar stands behind the header of the ECPrivateKey.
    let at = secret.windows(4).position(|bytes| bytes == [2, 1, 1, 4]).unwrap() + 5;
    let scalar = &secret[at..at + 32];
    assert!(!printed.contains(&format!("{scalar:?}").replace(['[', ']'], "")));
    assert!(
        printed.contains(&format!("{:?}", &key.public_key_raw()[1..9]).replace(['[', ']'], "")),
        "the public half is there"
    );
}

/// Runs openssl, which is on every machine that a kubeadm cluster is made on.
fn openssl(words: &[&str], input: &str) -> String {
    use std::io::Write as _;
    let mut command = std::process::Command::new("openssl");
    command
        .args(words)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {words:?}");
    String::from_utf8(output.stdout).unwrap()
}
