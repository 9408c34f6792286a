//! Issuing: what is there is kept if it fits, and the rest is made.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use aws_lc_rs::rand;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::key::{Key, pem};
use super::{Algorithm, BACKDATE, Certificate, PkiError, Spec, Usage, files, plan};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It was made.
    Made,
    /// It was there, and fits.
    Kept,
}

/// One certificate or key pair, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// kubeadm's name of it; `sa` is the key pair of service accounts.
    pub name: &'static str,
    /// What became of it.
    pub did: Did,
}

/// A CA that can sign.
pub(super) struct Signer {
    issuer: Issuer<'static, rcgen::KeyPair>,
}

/// Makes what a node's PKI lacks in `folder`, which is kubeadm's `/etc/kubernetes/pki`.
///
/// A CA whose certificate is there without its key is external: what it has signed is kept, and nothing new is asked of
/// it.
///
/// # Errors
/// [`PkiError`] names the file or the certificate. What was written before stays, and is kept by the next attempt.
pub fn issue(spec: &Spec, folder: &Path) -> Result<Vec<Step>, PkiError> {
    make(spec, folder, &plan(spec)?, true)
}

/// Makes, of what [`issue()`] would, only the certificates of these names, with the CAs that sign them, as
/// `kubeadm init phase certs NAME` does: what a member of an external etcd has.
///
/// # Errors
/// [`PkiError`] names the file or the certificate.
pub fn issue_only(spec: &Spec, folder: &Path, names: &[&str]) -> Result<Vec<Step>, PkiError> {
    let mut plan = plan(spec)?;
    let signs: Vec<_> = plan.iter().filter(|one| names.contains(&one.name)).filter_map(|one| one.ca).collect();
    plan.retain(|one| names.contains(&one.name) || signs.contains(&one.name));
    make(spec, folder, &plan, false)
}

/// Makes what is planned and not there, and the key pair of service accounts.
fn make(spec: &Spec, folder: &Path, plan: &[Certificate], accounts: bool) -> Result<Vec<Step>, PkiError> {
    let mut there = BTreeMap::new();
    for one in plan {
        there.insert(one.name, look(one, folder)?);
    }
    let sa = folder.join("sa.key");
    let sa_is_there = files::read(&sa)?;
    let missing: Vec<_> = plan.iter().filter(|one| there[one.name].certificate.is_none()).collect();
    let mut keys = generate(missing.len() + usize::from(accounts && sa_is_there.is_none()), spec.algorithm)?;
    let mut signers: BTreeMap<&str, Option<Signer>> = BTreeMap::new();
    let mut certificates: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut steps = Vec::new();
    for one in plan {
        let found = there.remove(one.name).unwrap_or_default();
        let did = if let Some(certificate) = found.certificate {
            if let Some(ca) = one.ca {
                signed_by(&certificate, &certificates[ca], &folder.join(format!("{}.crt", one.base)))?;
            } else {
                signers.insert(one.name, found.key.map(|key| signer(one, &certificate, key)).transpose()?);
            }
            certificates.insert(one.name, certificate);
            Did::Kept
        } else {
            let key = keys.pop().ok_or_else(|| broken(one, "it has no key"))?;
            let ca = match one.ca {
                None => None,
                Some(ca) => Some(signers.get(ca).and_then(Option::as_ref).ok_or_else(|| {
                    let base = plan.iter().find(|other| other.name == ca).map_or(ca, |other| other.base);
                    let path = |base: &str| folder.join(format!("{base}.crt")).display().to_string();
                    PkiError::ExternalCa { missing: path(one.base), ca: path(base) }
                })?),
            };
            let certificate = sign(one, spec, &key, ca)?;
            let key_pem = key.to_pem().map_err(|why| broken(one, &why))?;
            files::write(&folder.join(format!("{}.key", one.base)), &key_pem, 0o600)?;
            files::write(&folder.join(format!("{}.crt", one.base)), &pem("CERTIFICATE", &certificate), 0o644)?;
            if one.ca.is_none() {
                signers.insert(one.name, Some(signer(one, &certificate, key)?));
            }
            certificates.insert(one.name, certificate);
            Did::Made
        };
        steps.push(Step { name: one.name, did });
    }
    if accounts {
        steps.push(Step { name: "sa", did: service_accounts(folder, sa_is_there, keys.pop())? });
    }
    Ok(steps)
}

/// The key pair that signs the tokens of service accounts.
fn service_accounts(folder: &Path, there: Option<String>, made: Option<Key>) -> Result<Did, PkiError> {
    let (private, public) = (folder.join("sa.key"), folder.join("sa.pub"));
    let unfit = |path: &Path, why: String| PkiError::Unfit { path: path.display().to_string(), why };
    let Some(text) = there else {
        let key = made.ok_or_else(|| PkiError::Spec("no key was made for service accounts".to_owned()))?;
        files::write(&private, &key.to_pem().map_err(|why| unfit(&private, why))?, 0o600)?;
        files::write(&public, &key.public_pem(), 0o600)?;
        return Ok(Did::Made);
    };
    let key = Key::from_pem(&text).map_err(|why| unfit(&private, why))?;
    match files::read(&public)? {
        Some(text) if text.trim() != key.public_pem().trim() => {
            Err(unfit(&public, "it is not the public key of sa.key: tokens would be refused".to_owned()))
        }
        Some(_) => Ok(Did::Kept),
        None => {
            files::write(&public, &key.public_pem(), 0o600)?;
            Ok(Did::Kept)
        }
    }
}

fn broken(one: &Certificate, why: &str) -> PkiError {
    PkiError::Certificate { name: one.name.to_owned(), why: why.to_owned() }
}

#[derive(Default)]
struct Found {
    certificate: Option<Vec<u8>>,
    key: Option<Key>,
}

/// What is there of a certificate and its key.
fn look(one: &Certificate, folder: &Path) -> Result<Found, PkiError> {
    let (crt, key) = (folder.join(format!("{}.crt", one.base)), folder.join(format!("{}.key", one.base)));
    let unfit = |path: &Path, why: String| PkiError::Unfit { path: path.display().to_string(), why };
    let (certificate, key_text) = (files::read(&crt)?, files::read(&key)?);
    let Some(text) = certificate else {
        return match key_text {
            Some(_) => Err(unfit(&key, format!("its certificate {} is not there", crt.display()))),
            None => Ok(Found::default()),
        };
    };
    let der = first_certificate(&text).map_err(|why| unfit(&crt, why))?;
    let key = key_text.map(|text| Key::from_pem(&text)).transpose().map_err(|why| unfit(&key, why))?;
    let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| unfit(&crt, error.to_string()))?;
    if let Some(key) = &key
        && key.0.subject_public_key_info() != parsed.public_key().raw
    {
        return Err(unfit(&crt, "it is not the certificate of the key beside it".to_owned()));
    }
    if one.ca.is_some() && key.is_none() {
        return Err(unfit(&crt, "the key beside it is not there".to_owned()));
    }
    if one.ca.is_none() && !parsed.is_ca() {
        return Err(unfit(&crt, "it is no CA's certificate".to_owned()));
    }
    Ok(Found { certificate: Some(der), key })
}

fn first_certificate(text: &str) -> Result<Vec<u8>, String> {
    let block =
        Pem::iter_from_buffer(text.as_bytes()).find(|block| block.as_ref().is_ok_and(|one| one.label == "CERTIFICATE"));
    match block {
        Some(Ok(block)) => Ok(block.contents),
        _ => Err("it holds no certificate in PEM".to_owned()),
    }
}

/// A certificate that is kept must be of the CA that is there.
fn signed_by(certificate: &[u8], ca: &[u8], path: &Path) -> Result<(), PkiError> {
    let unfit = |why: &str| PkiError::Unfit { path: path.display().to_string(), why: why.to_owned() };
    let parse =
        |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|_| unfit("it cannot be parsed"));
    let (one, ca) = (parse(certificate)?, parse(ca)?);
    let issued = one.issuer().as_raw() == ca.subject().as_raw() && one.verify_signature(Some(ca.public_key())).is_ok();
    if issued { Ok(()) } else { Err(unfit("the CA that is there did not sign it")) }
}

/// Makes keys, on all CPUs.
pub(super) fn generate(count: usize, algorithm: Algorithm) -> Result<Vec<Key>, PkiError> {
    let failed = |error: rcgen::Error| PkiError::Certificate { name: "key".to_owned(), why: error.to_string() };
    Key::generate(count, algorithm).map_err(failed)
}

fn signer(one: &Certificate, certificate: &[u8], key: Key) -> Result<Signer, PkiError> {
    let issuer =
        Issuer::from_ca_cert_der(&certificate.into(), key.0).map_err(|error| broken(one, &error.to_string()))?;
    Ok(Signer { issuer })
}

fn sign(one: &Certificate, spec: &Spec, key: &Key, ca: Option<&Signer>) -> Result<Vec<u8>, PkiError> {
    let failed = |error: rcgen::Error| broken(one, &error.to_string());
    let period = if one.ca.is_none() { spec.ca_period } else { spec.period };
    let until = spec.now.checked_add(period).map_err(|error| broken(one, &error.to_string()))?;
    let from = spec.now.checked_sub(BACKDATE).map_err(|error| broken(one, &error.to_string()))?;
    let params = parameters(one, from, until)?;
    let certificate = match ca {
        None => params.self_signed(&key.0),
        Some(ca) => params.signed_by(&key.0, &ca.issuer),
    };
    Ok(certificate.map_err(failed)?.der().to_vec())
}

/// Signs a client certificate that is not of the plan, for a kubeconfig.
pub(super) fn client(one: &Certificate, spec: &Spec, key: &Key, ca: &Signer) -> Result<(String, String), PkiError> {
    let certificate = sign(one, spec, key, Some(ca))?;
    Ok((pem("CERTIFICATE", &certificate), key.to_pem().map_err(|why| broken(one, &why))?))
}

/// The cluster's CA as it is on disk: its certificate, and the means to sign if its key is there.
pub(super) fn cluster_ca(spec: &Spec, folder: &Path) -> Result<(String, Signer), PkiError> {
    let plan = plan(spec)?;
    let one = &plan[0];
    let found = look(one, folder)?;
    let path = folder.join("ca.crt");
    let missing = || PkiError::File { path: path.display().to_string(), source: std::io::ErrorKind::NotFound.into() };
    let certificate = found.certificate.ok_or_else(missing)?;
    let key = found
        .key
        .ok_or_else(|| PkiError::ExternalCa { missing: "a kubeconfig".to_owned(), ca: path.display().to_string() })?;
    Ok((pem("CERTIFICATE", &certificate), signer(one, &certificate, key)?))
}

fn parameters(one: &Certificate, from: Timestamp, until: Timestamp) -> Result<CertificateParams, PkiError> {
    let failed = |why: &str| broken(one, why);
    let time = |time: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(time.as_second()).map_err(|error| failed(&error.to_string()))
    };
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (time(from)?, time(until)?);
    params.serial_number = Some(serial().ok_or_else(|| failed("there are no random numbers"))?);
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = one.organization {
        params.distinguished_name.push(DnType::OrganizationName, text(organization));
    }
    params.distinguished_name.push(DnType::CommonName, text(&one.common_name));
    let name = |name: &String| name.as_str().try_into().map(SanType::DnsName);
    let names: Result<Vec<_>, rcgen::Error> = one.sans.names.iter().map(name).collect();
    params.subject_alt_names = names.map_err(|error| failed(&error.to_string()))?;
    params
        .subject_alt_names
        .extend(one.sans.addresses.iter().copied().map(|address: IpAddr| SanType::IpAddress(address)));
    // Go derives key identifiers so since 1.25 (RFC 7093 section 2, method 1).
    params.key_identifier_method = KeyIdMethod::Sha256;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    match one.usage {
        None => {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Some(usage) => {
            params.use_authority_key_identifier_extension = true;
            // Basic constraints that say no, without the key identifier that the library would add to them.
            let mut constraints = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
            constraints.set_criticality(true);
            params.custom_extensions.push(constraints);
            if usage != Usage::Client {
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
            }
            if usage != Usage::Server {
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
            }
        }
    }
    Ok(params)
}

/// The string type that Go chooses: PrintableString where its alphabet does, else UTF8String.
fn text(value: &str) -> DnValue {
    match value.try_into() {
        Ok(printable) => DnValue::PrintableString(printable),
        Err(_) => DnValue::Utf8String(value.to_owned()),
    }
}

/// A random number from 1 to 2⁶³ − 1.
fn serial() -> Option<SerialNumber> {
    loop {
        let mut bytes = [0; 8];
        rand::fill(&mut bytes).ok()?;
        bytes[0] &= 0x7f;
        if bytes != [0; 8] {
            return Some(SerialNumber::from(u64::from_be_bytes(bytes)));
        }
    }
}
