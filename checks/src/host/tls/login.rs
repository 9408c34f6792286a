//! Showing a client certificate of the node to the server that it is for: the one thing that uses a private key, and
//! done only where the user asks for it.
//!
//! The key signs the handshake here and goes nowhere. What comes back is whether the certificate was let in, never an
//! answer's content.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::{Endpoint, Uri};

use super::handshake::{self, Ear, Welcome, alert};
use crate::host::{Host as _, LiveHost, Query, Question, Refusal, RefusalKind, Reply};
use crate::pki::kubeconfig;

/// How long etcd may take for all of it.
const PATIENCE: Duration = Duration::from_secs(4);

/// How a server receives who shows a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reception {
    /// It knows who that is, and answers.
    In,
    /// It takes the certificate, and its holder may not ask. So says etcd of a user whom it does not know, too.
    Forbidden(String),
    /// It does not take the certificate.
    Refused(String),
}

/// Shows the certificate and asks.
pub(super) fn log_in(
    host: &LiveHost,
    address: SocketAddr,
    certificate: &str,
    key: &str,
    question: &Question,
) -> Result<Reception, Refusal> {
    let identity = Arc::new(identity(host, certificate, key)?);
    match question {
        Question::Get { path } => {
            let welcome = handshake::get(address, path, Some(identity))?;
            Ok(match welcome {
                Welcome::Status(401) => Reception::Refused("401 Unauthorized".to_owned()),
                Welcome::Status(403) => Reception::Forbidden("403 Forbidden".to_owned()),
                Welcome::Status(200..=299) => Reception::In,
                Welcome::Status(other) => return Err(failed(format!("{address}: GET {path}: status {other}"))),
                Welcome::Alert(alert) => Reception::Refused(format!("alert {alert}")),
                Welcome::Nothing => Reception::Refused("the connection was ended without a word".to_owned()),
            })
        }
        Question::EtcdKeys => crate::host::within(async {
            match tokio::time::timeout(PATIENCE, etcd_keys(address, identity)).await {
                Ok(reception) => reception,
                Err(_) => Err(Refusal::new(RefusalKind::TimedOut, format!("{address}: no answer within {PATIENCE:?}"))),
            }
        }),
    }
}

fn failed(why: String) -> Refusal {
    Refusal::new(RefusalKind::Failed, why)
}

/// The certificate and the key of two files, each of PEM or a kubeconfig.
fn identity(host: &LiveHost, certificate: &str, key: &str) -> Result<CertifiedKey, Refusal> {
    let chain = pem(host, certificate, |user| user.certificate)?;
    let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| failed(format!("{certificate}: {error}")))?;
    // Errors of a key say what is wrong, and nothing of what is in it.
    let private = PrivateKeyDer::from_pem_slice(&pem(host, key, |user| user.key)?);
    let private = private.map_err(|_| failed(format!("{key} holds no private key that can be used")))?;
    let private = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private);
    let private = private.map_err(|_| failed(format!("{key} holds a private key of a kind that cannot be used")))?;
    Ok(CertifiedKey::new(chain, private))
}

type User = kubeconfig::User<Vec<u8>>;

fn pem(host: &LiveHost, path: &str, of: impl Fn(User) -> Option<Vec<u8>>) -> Result<Vec<u8>, Refusal> {
    let Reply::Bytes { bytes, .. } = host.ask(&Query::Read { path: path.to_owned() })? else {
        return Err(failed(format!("{path}: no bytes were read")));
    };
    let text = std::str::from_utf8(&bytes).ok().filter(|text| text.contains("clusters"));
    let value = text.and_then(kubeconfig::yaml);
    let Some(config) = value.as_ref().and_then(kubeconfig::parse) else { return Ok(bytes) };
    let user = config.user().cloned().and_then(of);
    user.ok_or_else(|| failed(format!("{path} embeds no client certificate for its current context")))
}

/// What is asked of etcd: is there any key below `/registry/`? One key, without its value, from this member's own
/// store.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    range_end: Vec<u8>,
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(bool, tag = "7")]
    serializable: bool,
    #[prost(bool, tag = "8")]
    keys_only: bool,
}

/// Nothing of what it answers is kept.
#[derive(Clone, PartialEq, prost::Message)]
struct RangeResponse {}

/// etcd's authorization goes by the common name of a certificate in gRPC alone: its HTTP gateway does not look at it
/// (etcd, "Role-based access control": "Using TLS Common Name").
async fn etcd_keys(address: SocketAddr, identity: Arc<CertifiedKey>) -> Result<Reception, Refusal> {
    let ear = Arc::new(Ear::new(Some(identity)));
    let mut config = handshake::config(&ear)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address).await;
    let stream = stream.map_err(|error| failed(format!("{address}: {error}")))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(address.ip().into(), stream).await;
    let refused = |alert| Reception::Refused(format!("alert {alert}"));
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => return alert(&error).map(refused).ok_or_else(|| failed(format!("{address}: {error}"))),
    };
    // In TLS 1.3 a certificate is refused after the handshake, when nobody asks any more why a read failed.
    let sent = Arc::new(Mutex::new(None));
    let outcome = ask(Heeding { stream, alert: sent.clone() }).await;
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (outcome, sent) {
        (_, Some(alert)) => Ok(refused(alert)),
        (Ok(()), None) => Ok(Reception::In),
        (Err(status), None) => Ok(match status.code() {
            Code::PermissionDenied => Reception::Forbidden(status.message().to_owned()),
            Code::Unauthenticated | Code::InvalidArgument | Code::FailedPrecondition => {
                Reception::Refused(status.message().to_owned())
            }
            code => return Err(failed(format!("{address}: {code:?}: {}", status.message()))),
        }),
    }
}

/// Asks the question on a connection.
async fn ask(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<(), tonic::Status> {
    let unavailable = |error: tonic::transport::Error| tonic::Status::unavailable(error.to_string());
    let mut stream = Some(TokioIo::new(stream));
    let connect = tower::service_fn(move |_: Uri| {
        let stream = stream.take().ok_or_else(|| std::io::Error::other("the server closed the connection"));
        async move { stream }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
    let mut client = tonic::client::Grpc::new(channel.map_err(unavailable)?);
    client.ready().await.map_err(unavailable)?;
    let request = RangeRequest {
        key: b"/registry/".to_vec(),
        range_end: b"/registry0".to_vec(),
        limit: 1,
        serializable: true,
        keys_only: true,
    };
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Range");
    let codec = tonic_prost::ProstCodec::<RangeRequest, RangeResponse>::default();
    client.unary(tonic::Request::new(request), path, codec).await.map(drop)
}

/// A connection that remembers by which alert it was ended.
struct Heeding<S> {
    stream: S,
    alert: Arc<Mutex<Option<String>>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heeding<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Poll::Ready(Err(error)) = &read
            && let Some(alert) = alert(error)
        {
            *self.alert.lock().unwrap_or_else(PoisonError::into_inner) = Some(alert);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heeding<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
