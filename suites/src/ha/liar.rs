//! API servers that lie: a proxy before one of them, which ends TLS and passes everything on, but for one lie. It is
//! a defect of the cluster as the suite's clients see it; the cluster itself does not know of it.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::scene;
use super::wire::{Gate, Line};
use crate::cluster::{Ours, Target};

/// One request or event of so many is lied about.
const EACH: usize = 8;
/// So many events pass before a cache becomes stale.
const FRESH: usize = 20;

/// Where the clients of the suite find the API servers of clusters that are lied about: by uid, the host and the proxy.
static PROXIES: Mutex<BTreeMap<String, (String, SocketAddr)>> = Mutex::new(BTreeMap::new());

/// What a proxy lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Updates are acknowledged, and not passed on.
    DroppedWrites,
    /// A read is answered with the first answer to it.
    OldReads,
    /// An event of a watch is left out.
    SwallowedEvents,
    /// Two events of a watch change places.
    SwappedEvents,
    /// Watches stay open, and nothing more arrives; lists of the cache remain what they were.
    StaleCache,
}

/// Which API server of a cluster is reached by which proxy.
pub(super) fn proxy_of(uid: &str) -> Option<(String, SocketAddr)> {
    PROXIES.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
}

/// Puts a proxy before the first API server.
pub(super) async fn start(target: &Target, lie: Lie) -> Result<(), String> {
    let ours = target.ours.as_ref().ok_or("the hosts cannot be entered")?;
    let (host, gate) = scene::first_server(target, ours).await?;
    let tls = TlsAcceptor::from(Arc::new(server_tls(ours, &host).await?));
    let text = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.map_err(text)?;
    let address = listener.local_addr().map_err(text)?;
    let proxy = Arc::new(Proxy { gate, lie, count: AtomicUsize::new(0), first: Mutex::default() });
    // It lives as long as the run does.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(proxy.clone().serve(tls.clone(), stream));
        }
    });
    let mut proxies = PROXIES.lock().unwrap_or_else(PoisonError::into_inner);
    proxies.insert(target.facts.uid.clone(), (host, address));
    Ok(())
}

async fn server_tls(ours: &Ours, host: &str) -> Result<rustls::ServerConfig, String> {
    let chain = scene::pki_file(ours, host, "apiserver.crt").await?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&scene::pki_file(ours, host, "apiserver.key").await?);
    let key = key.map_err(|_| "apiserver.key is no key".to_owned())?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// An answer that is complete.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    content: Bytes,
}

struct Proxy {
    gate: Arc<Gate>,
    lie: Lie,
    count: AtomicUsize,
    /// The first answer to each read.
    first: Mutex<HashMap<String, Answer>>,
}

impl Answer {
    fn response(self) -> Response<Body> {
        let body = Full::new(self.content).map_err(|never: Infallible| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response
    }
}

impl Proxy {
    /// One connection, and its own one to the API server.
    async fn serve(self: Arc<Self>, tls: TlsAcceptor, stream: tokio::net::TcpStream) {
        let (Ok(stream), Ok(line)) = (tls.accept(stream).await, self.gate.open().await) else { return };
        let service = service_fn(move |request| {
            let (proxy, line) = (self.clone(), line.clone());
            async move { proxy.answer(line, request).await.map_err(std::io::Error::other) }
        });
        // The other side went away.
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await.ok();
    }

    /// Is it this one's turn?
    fn turn(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) % EACH == EACH - 1
    }

    async fn answer(&self, mut line: Line, request: Request<Incoming>) -> Result<Response<Body>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let (head, body) = request.into_parts();
        let content = body.collect().await.map_err(|error| text(&error))?.to_bytes();
        let path = head.uri.path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
        let about = path.contains("/configmaps");
        if self.lie == Lie::DroppedWrites && about && head.method == Method::PUT && self.turn() {
            return Ok(acknowledged(&content).response());
        }
        let read = head.method == Method::GET && about;
        let kind = head.headers.get("content-type").cloned();
        let mut passed = Request::builder().method(head.method).uri(path.as_str()).header("accept", "application/json");
        if let Some(kind) = kind {
            passed = passed.header("content-type", kind);
        }
        let passed = passed.body(content).map_err(|error| text(&error))?;
        let answer = line.pass(passed).await.map_err(|broke| broke.why().to_owned())?;
        if read && path.contains("watch=1") {
            return Ok(self.watch(answer));
        }
        let status = answer.status();
        let content = answer.into_body().collect().await.map_err(|error| text(&error))?.to_bytes();
        let answer = Answer { status, content };
        let cached = path.contains("resourceVersion=0");
        let old = match self.lie {
            Lie::OldReads => read && !path.contains('?') && status == StatusCode::OK,
            Lie::StaleCache => read && cached,
            _ => false,
        };
        if !old {
            return Ok(answer.response());
        }
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let first = first.entry(path).or_insert_with(|| answer.clone()).clone();
        Ok(if self.lie == Lie::StaleCache || self.turn() { first } else { answer }.response())
    }

    /// The events of a watch, some of them not as they were.
    fn watch(&self, answer: Response<Incoming>) -> Response<Body> {
        let (head, body) = answer.into_parts();
        let events = Events { body, buffer: Vec::new(), held: None, count: 0, lie: self.lie };
        let frames = stream::unfold(events, |mut events| async move { Some((events.next().await?, events)) });
        let body = StreamBody::new(frames.map(|event| event.map(Frame::data))).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        response
    }
}

/// An update as if it had been carried out.
fn acknowledged(content: &Bytes) -> Answer {
    let mut object: Value = serde_json::from_slice(content).unwrap_or_default();
    let version = object["metadata"]["resourceVersion"].as_str().and_then(|version| version.parse::<u64>().ok());
    object["metadata"]["resourceVersion"] = json!((version.unwrap_or_default() + 1).to_string());
    Answer { status: StatusCode::OK, content: object.to_string().into() }
}

/// A watch's answer, line by line.
struct Events {
    body: Incoming,
    buffer: Vec<u8>,
    held: Option<Bytes>,
    count: usize,
    lie: Lie,
}

impl Events {
    async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Bytes = self.buffer.drain(..=end).collect::<Vec<_>>().into();
                if let Some(sent) = self.pass(line) {
                    return Some(Ok(sent));
                }
            }
            match self.body.frame().await? {
                Err(error) => return Some(Err(error)),
                Ok(frame) => self.buffer.extend(frame.into_data().unwrap_or_default()),
            }
        }
    }

    /// What is sent for an event; bookmarks pass as they are, unless nothing does.
    fn pass(&mut self, line: Bytes) -> Option<Bytes> {
        let event: Value = serde_json::from_slice(&line).unwrap_or_default();
        let counts = ["ADDED", "MODIFIED", "DELETED"].iter().any(|kind| event["type"] == *kind);
        self.count += usize::from(counts);
        let turn = counts && self.count.is_multiple_of(EACH);
        match self.lie {
            Lie::StaleCache if self.count > FRESH => None,
            Lie::SwallowedEvents if turn => None,
            Lie::SwappedEvents if turn => {
                self.held = Some(line);
                None
            }
            Lie::SwappedEvents if counts => match self.held.take() {
                Some(held) => Some([line, held].concat().into()),
                None => Some(line),
            },
            _ => Some(line),
        }
    }
}
