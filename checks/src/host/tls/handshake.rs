//! A whole handshake by rustls that believes everything: to see the certificates that a server presents to a client of
//! today, how it asks for the client's, and whether it lets one in that has none.
//!
//! Without an identity no key is at hand here, so none can be used; who gives one is [`login`](super::login).

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ProtocolVersion, SignatureScheme, StreamOwned,
};
use serde::{Deserialize, Serialize};

use super::hello::{CertificateRequest, alert_name};
use super::suites::SCHEMES;
use super::wire::Wire;
use crate::host::{Refusal, RefusalKind};

/// What a server presents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Served {
    /// The version that was agreed on, where it got that far.
    pub version: Option<String>,
    /// The certificates, the server's own first, in DER, as sent.
    #[serde(with = "super::der")]
    pub chain: Vec<Vec<u8>>,
    /// How a client certificate was asked for; `None`: it was not.
    pub request: Option<CertificateRequest>,
    /// Why the handshake was not finished, if it was not.
    pub failure: Option<String>,
}

/// How a server treats a client without a certificate or a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Welcome {
    /// It answers the request, with this HTTP status.
    Status(u16),
    /// It ends the connection with this alert.
    Alert(String),
    /// It ends the connection without a word, or says what is no HTTP.
    Nothing,
}

/// What is heard during the handshake, and what is shown if a certificate is asked for.
#[derive(Debug)]
pub(super) struct Ear {
    heard: Mutex<Served>,
    schemes: Vec<SignatureScheme>,
    identity: Option<Arc<CertifiedKey>>,
}

impl Ear {
    pub(super) fn new(identity: Option<Arc<CertifiedKey>>) -> Self {
        let schemes = SCHEMES.iter().map(|scheme| SignatureScheme::from(*scheme)).collect();
        Self { heard: Mutex::default(), schemes, identity }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Served> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for Ear {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.heard().chain = chain.map(|certificate| certificate.to_vec()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

impl ResolvesClientCert for Ear {
    fn resolve(&self, root_hint_subjects: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.heard().request = Some(CertificateRequest {
            authorities: root_hint_subjects.iter().map(|name| name.to_vec()).collect(),
            schemes: schemes.iter().map(|scheme| u16::from(*scheme)).collect(),
        });
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

type Stream = StreamOwned<ClientConnection, Wire>;

fn failed(why: impl ToString) -> Refusal {
    Refusal::new(RefusalKind::Failed, why.to_string())
}

/// A client that believes every server.
pub(super) fn config(ear: &Arc<Ear>) -> Result<ClientConfig, Refusal> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(ear.clone())
        .with_client_cert_resolver(ear.clone());
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Shakes hands as far as the server goes along; without a name no server name is indicated.
pub(super) fn shake(
    address: SocketAddr,
    name: Option<&str>,
    ear: &Arc<Ear>,
) -> Result<(Stream, Option<std::io::Error>), Refusal> {
    let server = match name {
        Some(name) => {
            ServerName::try_from(name.to_owned()).map_err(|_| failed(format!("'{name}' is no DNS name to ask for")))?
        }
        None => ServerName::IpAddress(address.ip().into()),
    };
    let connection = ClientConnection::new(Arc::new(config(ear)?), server).map_err(failed)?;
    let mut stream = StreamOwned::new(connection, Wire::dial(address)?);
    let mut failure = None;
    while failure.is_none() && stream.conn.is_handshaking() {
        failure = stream.conn.complete_io(&mut stream.sock).err();
    }
    Ok((stream, failure))
}

/// The certificates that a server presents, with `name` as server name indication or without one.
pub(super) fn served(address: SocketAddr, name: Option<&str>) -> Result<Served, Refusal> {
    let ear = Arc::new(Ear::new(None));
    let (mut stream, failure) = shake(address, name, &ear)?;
    let mut served = std::mem::take(&mut *ear.heard());
    served.version = stream.conn.protocol_version().map(|version| match version {
        ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        other => format!("{other:?}"),
    });
    served.failure = failure.map(|error| alert(&error).unwrap_or_else(|| error.to_string()));
    stream.conn.send_close_notify();
    // Only a courtesy: what was to be seen has been seen.
    let _ = stream.flush();
    Ok(served)
}

/// Asks for a path: without an identity as nobody in particular.
///
/// # Errors
/// Where nobody listens, and where no answer comes in time: what the server would say is not known then.
pub(super) fn get(address: SocketAddr, path: &str, identity: Option<Arc<CertifiedKey>>) -> Result<Welcome, Refusal> {
    let (mut stream, failure) = shake(address, None, &Arc::new(Ear::new(identity)))?;
    let outcome = failure.map_or(Ok(()), Err).and_then(|()| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut chunk = [0; 64];
        while head.len() < 12 {
            let count = stream.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            head.extend_from_slice(&chunk[..count]);
        }
        Ok(head)
    });
    Ok(match outcome {
        Ok(head) => status(&head).map_or(Welcome::Nothing, Welcome::Status),
        // Who is slow has said neither yes nor no.
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            return Err(Refusal::new(RefusalKind::TimedOut, format!("{address}: GET {path}: {error}")));
        }
        Err(error) => alert(&error).map_or(Welcome::Nothing, Welcome::Alert),
    })
}

/// The status in an HTTP status line.
fn status(head: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(head.get(..12)?).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// The alert that the server sent, if that is what went wrong.
pub(super) fn alert(error: &std::io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::AlertReceived(alert) => Some(alert_name(u8::from(*alert))),
        _ => None,
    }
}
