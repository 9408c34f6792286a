//! What the server speaks besides plain HTTP: HTTPS with a certificate of its own making, and gRPC's health service.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::answer::{self, Server};

/// Serves HTTPS with a self-signed certificate, which the kubelet does not verify.
pub(super) fn https(listener: TcpListener, server: Arc<Server>) -> io::Result<impl Future<Output = ()> + Send> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.with_no_client_auth();
    let config = config.with_single_cert(vec![pair.cert.der().clone()], key).map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Ok(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            server.saw("https-connection");
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(answer::answer(&server, peer, request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                http.serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    })
}

/// Serves `grpc.health.v1.Health/Check` (gRPC over HTTP/2 without TLS): SERVING while healthy, else NOT_SERVING.
pub(super) async fn grpc(listener: TcpListener, server: Arc<Server>) {
    while let Ok((stream, _)) = listener.accept().await {
        let server = server.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(health(&server, request.uri().path())) }
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            http.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

type Frames = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

fn health(server: &Server, path: &str) -> Response<Frames> {
    let mut trailers = HeaderMap::new();
    let mut frames = Vec::new();
    if path == "/grpc.health.v1.Health/Check" {
        server.saw("grpc");
        // A frame: not compressed, two bytes long; the message: field 1 (status) = 1 (SERVING) or 2 (NOT_SERVING).
        let status = if server.healthy() { 1 } else { 2 };
        frames.push(Ok(Frame::data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 0x08, status]))));
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
    } else {
        trailers.insert("grpc-status", HeaderValue::from_static("12"));
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
