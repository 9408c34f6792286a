//! What rustls-webpki says of the same: yes or no, by another implementation. Where it disagrees with Go, kubectl works
//! and clients in Rust do not, or the other way round.

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{Mode, Request, Signatures, Usage, WantedName};

/// Why rustls-webpki accepts no path, as a sentence about the certificate or what is above it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rustls-webpki: {0}")]
pub struct Rejected(pub String);

/// One of two verifiers accepts, the other does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The mode that was asked accepts: with Go, kubectl works, and clients that use rustls do not.
    #[error("accepted, but not by {0}")]
    OnlyWeAccept(Rejected),
    /// rustls-webpki accepts.
    #[error("refused, but accepted by rustls-webpki")]
    OnlyWebpkiAccepts,
}

/// Whether rustls-webpki says otherwise than this mode.
pub fn disagreement(request: &Request<'_>, mode: Mode, signatures: &Signatures) -> Option<Disagreement> {
    match (request.verify(mode, signatures).is_accepted(), verify(request)) {
        (true, Err(rejected)) => Some(Disagreement::OnlyWeAccept(rejected)),
        (false, Ok(())) => Some(Disagreement::OnlyWebpkiAccepts),
        _ => None,
    }
}

/// Asks rustls-webpki. A root that it cannot read is none.
///
/// # Errors
///
/// [`Rejected`] if it accepts no path.
pub fn verify(request: &Request<'_>) -> Result<(), Rejected> {
    let rejected = |error: webpki::Error| Rejected(words(&error));
    let der = |certificate: &super::Certificate| CertificateDer::from(certificate.der.to_vec());
    let roots: Vec<_> = request.roots.certificates().iter().map(|root| der(root)).collect();
    let anchors: Vec<_> = roots.iter().filter_map(|root| anchor_from_trusted_cert(root).ok()).collect();
    let intermediates: Vec<_> = request.intermediates.certificates().iter().map(|one| der(one)).collect();
    let leaf = der(request.leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(rejected)?;
    let seconds = u64::try_from(request.time.as_second()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let verify = |usage| {
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &intermediates, time, usage, None, None).map(drop)
    };
    match request.usage {
        Usage::Server => verify(KeyUsage::server_auth()),
        Usage::Client => verify(KeyUsage::client_auth()),
        Usage::Any => verify(KeyUsage::server_auth()).or_else(|_| verify(KeyUsage::client_auth())),
    }
    .map_err(rejected)?;
    for name in request.names {
        let wanted = match name {
            WantedName::Ip(ip) => ServerName::from(*ip),
            WantedName::Dns(name) => ServerName::try_from(name.as_str())
                .map_err(|_| Rejected(format!("{name:?} is no name that it knows")))?,
        };
        leaf.verify_is_valid_for_subject_name(&wanted).map_err(rejected)?;
    }
    Ok(())
}

/// What an error says; it has no words of its own.
fn words(error: &webpki::Error) -> String {
    use webpki::Error;
    let words = match error {
        Error::BadDer => "something in it is no DER",
        Error::BadDerTime => "a time in it cannot be read",
        Error::CaUsedAsEndEntity => "it says that it is a CA, and is presented",
        Error::CertExpired { .. } => "it has expired",
        Error::CertNotValidForName(_) => "it is not for this name",
        Error::CertNotValidYet { .. } => "it is not valid yet",
        Error::EmptyEkuExtension => "its list of purposes is empty",
        Error::EndEntityUsedAsCa => "what signed it does not say that it is a CA",
        Error::ExtensionValueInvalid => "an extension of it cannot be read",
        Error::InvalidCertValidity => "it ends before it begins",
        Error::InvalidNetworkMaskConstraint => "a range of addresses in a name constraint is none",
        Error::InvalidSerialNumber => "its serial number is malformed, negative or longer than 20 bytes",
        Error::InvalidSignatureForPublicKey => "its signature is not by the key of the CA",
        Error::MalformedDnsIdentifier => "a DNS name in it is none",
        Error::MalformedExtensions => "its extensions cannot be read",
        Error::MalformedNameConstraint => "a name constraint cannot be read",
        Error::MaximumNameConstraintComparisonsExceeded
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded => "it takes too long to verify",
        Error::NameConstraintViolation => "a name in it is not what a CA may sign for",
        Error::PathLenConstraintViolated => "a CA has more CAs below it than it allows",
        Error::RequiredEkuNotFoundContext(_) => "it is not for the purpose",
        Error::SignatureAlgorithmMismatch => "its signature algorithm is not the same inside and outside",
        Error::TrailingData(_) => "bytes stand behind what is read of it",
        Error::UnknownIssuer => "no trusted CA of the name of its issuer has signed it",
        Error::UnsupportedCertVersion => "it is not of X.509 version 3",
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not known",
        Error::UnsupportedNameType => "a name in it is of a kind that is not known",
        Error::UnsupportedSignatureAlgorithmContext(_) => "it is signed by an algorithm that is not known",
        Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "its signature algorithm and the key of the CA do not go together"
        }
        // Without revocation lists there is no other; what a later version adds is named.
        other => {
            let name = format!("{other:?}");
            return name.split(['(', ' ']).next().unwrap_or_default().to_owned();
        }
    };
    words.to_owned()
}
