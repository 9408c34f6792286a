//! A thin client: a few HTTP/2 connections to one API server, requests as bytes, watches as frames.
//!
//! It exists because thousands of nodes in one process want what general clients do not give: the connection that a
//! request takes is chosen (leases do not wait behind pods), answers are decoded only as far as somebody reads them,
//! and the API's protobuf form is used, which costs the API server a fraction of JSON and is shared with its other
//! watchers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::Mutex;

use crate::kubeconfig::{self, Access, BadKubeconfig, Token};
use crate::wire::{self, PROTOBUF, PROTOBUF_WATCH};

/// How long a request may take that is no watch.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest frame of a watch: objects are at most 1.5 MiB in etcd, and managed fields and encodings add to that.
const FRAME: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig cannot be used.
    #[error(transparent)]
    Kubeconfig(#[from] BadKubeconfig),
    /// Nothing that speaks TLS and HTTP/2 is there.
    #[error("{server}: {why}")]
    Connect {
        /// Host and port.
        server: String,
        /// Why not.
        why: String,
    },
    /// The connection ended, or the answer did not come in time.
    #[error("{method} {path}: {why}")]
    Broken {
        /// The request's method.
        method: String,
        /// The request's path, without what follows `?`.
        path: String,
        /// How it ended.
        why: String,
    },
    /// The API server refused.
    #[error("{method} {path}: {code} {reason}: {message}")]
    Refused {
        /// The request's method.
        method: String,
        /// The request's path, without what follows `?`.
        path: String,
        /// The HTTP status.
        code: u16,
        /// The API's reason, such as `Forbidden`.
        reason: String,
        /// The API server's words.
        message: String,
    },
}

impl ClientError {
    /// The HTTP status, if the API server answered.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// May the same request succeed later, unchanged?
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Kubeconfig(_) => false,
            Self::Connect { .. } | Self::Broken { .. } => true,
            Self::Refused { code, .. } => matches!(code, 408 | 429 | 500 | 502 | 503 | 504),
        }
    }
}

/// Which connection a request takes. Requests of one lane wait for each other only within HTTP/2's flow control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Lists and watches.
    Watch,
    /// Leases and heartbeats of nodes.
    Lease,
    /// Everything else, spread over what connections are left.
    Work,
}

/// In which form objects are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Whole, in JSON.
    Json,
    /// Whole, in protobuf; custom resources have no such form.
    Protobuf,
    /// Their metadata alone, in protobuf.
    Metadata,
}

impl Form {
    fn accept(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Protobuf => PROTOBUF,
            Self::Metadata => "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        }
    }
}

/// A request that has a body, or none.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The body's media type.
    pub content: &'static str,
    /// The body.
    pub body: Bytes,
}

/// The media type of JSON.
const JSON: &str = "application/json";

impl Call {
    /// A request without a body.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), content: JSON, body: Bytes::new() }
    }

    /// Creates an object that is given in JSON.
    #[must_use]
    pub fn post(path: impl Into<String>, object: &serde_json::Value) -> Self {
        Self { method: Method::POST, path: path.into(), content: JSON, body: object.to_string().into() }
    }

    /// A strategic merge patch, as kubelets send them.
    #[must_use]
    pub fn patch(path: impl Into<String>, patch: impl Into<Bytes>) -> Self {
        let content = "application/strategic-merge-patch+json";
        Self { method: Method::PATCH, path: path.into(), content, body: patch.into() }
    }

    /// A JSON merge patch.
    #[must_use]
    pub fn merge(path: impl Into<String>, patch: &serde_json::Value) -> Self {
        let content = "application/merge-patch+json";
        Self { method: Method::PATCH, path: path.into(), content, body: patch.to_string().into() }
    }

    /// Deletes an object, or a collection.
    #[must_use]
    pub fn delete(path: impl Into<String>, options: &serde_json::Value) -> Self {
        Self { method: Method::DELETE, path: path.into(), content: JSON, body: options.to_string().into() }
    }

    /// A request with a body in protobuf.
    pub(crate) fn sealed(method: Method, path: impl Into<String>, body: Bytes) -> Self {
        Self { method, path: path.into(), content: PROTOBUF, body }
    }

    fn broken(&self, why: impl ToString) -> ClientError {
        let path = self.path.split('?').next().unwrap_or_default().to_owned();
        ClientError::Broken { method: self.method.to_string(), path, why: why.to_string() }
    }
}

/// What the API server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// After how long the API server wants to be asked again.
    pub retry_after: Option<Duration>,
    /// The body, in the form that was asked for.
    pub body: Bytes,
}

impl Reply {
    /// The reply, if it is a success.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the API server's reason and words.
    pub fn success(self, call: &Call) -> Result<Self, ClientError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let (reason, message) = self.refusal();
        Err(ClientError::Refused {
            method: call.method.to_string(),
            path: call.path.split('?').next().unwrap_or_default().to_owned(),
            code: self.status.as_u16(),
            reason,
            message,
        })
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`ClientError::Broken`] if it is none.
    pub fn json(&self, call: &Call) -> Result<serde_json::Value, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| call.broken(format!("the answer is no JSON: {error}")))
    }

    /// Why the API server refused: its reason and its words.
    fn refusal(&self) -> (String, String) {
        let status = wire::open::<wire::Status>(self.body.clone());
        if let Some(status) = status {
            return (status.reason, status.message);
        }
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |field: &str| json[field].as_str().map(str::to_owned);
        let plain = || String::from_utf8_lossy(&self.body[..self.body.len().min(300)]).trim().to_owned();
        (text("reason").unwrap_or_default(), text("message").unwrap_or_else(plain))
    }
}

/// A client of one API server. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server", &self.inner.access.url).finish_non_exhaustive()
    }
}

struct Inner {
    access: Access,
    slots: Vec<Mutex<Option<SendRequest<Full<Bytes>>>>>,
    next: AtomicUsize,
    header: Mutex<Option<(Instant, HeaderValue)>>,
    agent: HeaderValue,
}

/// The connections: one of lists and watches, one of leases, the rest for work.
const CONNECTIONS: usize = 4;

impl Client {
    /// A client by a kubeconfig's current context, or by the one that is named. Connects when something is asked.
    ///
    /// # Errors
    /// [`ClientError::Kubeconfig`] names the file and what is wrong with it.
    pub fn open(kubeconfig: &Path, context: Option<&str>) -> Result<Self, ClientError> {
        let access = kubeconfig::read(kubeconfig, context)?;
        let slots = (0..CONNECTIONS).map(|_| Mutex::new(None)).collect();
        let agent = HeaderValue::from_static(concat!("seaworthy-simulated/", env!("CARGO_PKG_VERSION")));
        let inner = Inner { access, slots, next: AtomicUsize::new(0), header: Mutex::new(None), agent };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The API server's URL.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.inner.access.url
    }

    /// Sends a request and reads the whole answer, whatever its status. Asks for protobuf and takes JSON.
    ///
    /// # Errors
    /// [`ClientError`], if there is no answer.
    pub(crate) async fn send(&self, lane: Lane, call: &Call) -> Result<Reply, ClientError> {
        self.exchange(lane, call, PROTOBUF).await
    }

    /// Sends a request and reads the whole answer in JSON.
    ///
    /// # Errors
    /// [`ClientError`], if there is no answer.
    pub async fn ask(&self, lane: Lane, call: &Call) -> Result<Reply, ClientError> {
        self.exchange(lane, call, JSON).await
    }

    /// Sends a request and reads the whole answer in the API's protobuf form, or as objects of which only the metadata
    /// is told.
    ///
    /// # Errors
    /// [`ClientError`], if there is no answer.
    pub async fn fetch(&self, lane: Lane, call: &Call, form: Form) -> Result<Reply, ClientError> {
        self.exchange(lane, call, form.accept()).await
    }

    async fn exchange(&self, lane: Lane, call: &Call, accept: &'static str) -> Result<Reply, ClientError> {
        let whole = async {
            let answer = self.begin(lane, call, accept).await?;
            let status = answer.status();
            let after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let body = answer.into_body().collect().await.map_err(|error| call.broken(cause(&error)))?.to_bytes();
            Ok(Reply { status, retry_after: after.map(Duration::from_secs), body })
        };
        let late = || Err(call.broken(format!("no answer within {PATIENCE:?}")));
        tokio::time::timeout(PATIENCE, whole).await.unwrap_or_else(|_| late())
    }

    /// Begins a watch in protobuf.
    pub(crate) async fn watch(&self, call: &Call) -> Result<Frames, ClientError> {
        let begun = tokio::time::timeout(PATIENCE, self.begin(Lane::Watch, call, PROTOBUF_WATCH)).await;
        let answer = begun.unwrap_or_else(|_| Err(call.broken(format!("no answer within {PATIENCE:?}"))))?;
        let status = answer.status();
        if !status.is_success() {
            let body = answer.into_body().collect().await.map_err(|error| call.broken(cause(&error)))?.to_bytes();
            let refused = Reply { status, retry_after: None, body }.success(call);
            return Err(refused.err().unwrap_or_else(|| call.broken("refused")));
        }
        Ok(Frames { body: answer.into_body(), buffer: BytesMut::new() })
    }

    async fn begin(
        &self,
        lane: Lane,
        call: &Call,
        accept: &'static str,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let slot = match lane {
            Lane::Watch => 0,
            Lane::Lease => 1,
            Lane::Work => 2 + self.inner.next.fetch_add(1, Ordering::Relaxed) % (CONNECTIONS - 2),
        };
        let mut sender = self.connection(slot).await?;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.inner.access.url, call.path))
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, self.inner.agent.clone());
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, call.content);
        }
        if let Some(value) = self.authorization().await.map_err(|why| call.broken(why))? {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(call.body.clone())).map_err(|error| call.broken(error))?;
        sender.send_request(request).await.map_err(|error| call.broken(cause(&error)))
    }

    /// The connection of a slot, made anew where it has ended.
    async fn connection(&self, slot: usize) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let mut held = self.inner.slots[slot].lock().await;
        if let Some(sender) = held.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let server = &self.inner.access.address;
        let failed = |why: String| ClientError::Connect { server: server.clone(), why };
        let made = tokio::time::timeout(CONNECT, connect(&self.inner.access)).await;
        let sender = made.unwrap_or_else(|_| Err(format!("no connection within {CONNECT:?}"))).map_err(failed)?;
        *held = Some(sender.clone());
        Ok(sender)
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let bearer = |token: &str| {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
            let mut value = value.map_err(|_| "the token has bytes that no header may have".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        let path = match &self.inner.access.token {
            Token::None => return Ok(None),
            Token::Fixed(token) => return bearer(token).map(Some),
            Token::File(path) => path,
        };
        let mut held = self.inner.header.lock().await;
        match held.as_ref().filter(|(read, _)| read.elapsed() < Duration::from_mins(1)) {
            Some((_, value)) => Ok(Some(value.clone())),
            None => {
                let token = tokio::fs::read_to_string(path).await;
                let value = bearer(&token.map_err(|error| format!("{}: {error}", path.display()))?)?;
                *held = Some((Instant::now(), value.clone()));
                Ok(Some(value))
            }
        }
    }
}

async fn connect(access: &Access) -> Result<SendRequest<Full<Bytes>>, String> {
    let socket = tokio::net::TcpStream::connect(&access.address).await.map_err(|error| error.to_string())?;
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(&access.tls));
    let socket = connector.connect(access.name.clone(), socket).await.map_err(|error| error.to_string())?;
    if socket.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err("the server does not speak HTTP/2".to_owned());
    }
    // A server whose packets vanish is found out by pings, not by the kernel's quarter of an hour.
    let mut builder = Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    builder.keep_alive_interval(Duration::from_secs(10)).keep_alive_timeout(Duration::from_secs(10));
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
    let (sender, connection) = builder.handshake(TokioIo::new(socket)).await.map_err(|error| cause(&error))?;
    // Ends with the connection; senders learn of it by themselves.
    tokio::spawn(connection);
    Ok(sender)
}

/// hyper's errors say the least at their top.
fn cause(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts.dedup();
    texts.join(": ")
}

/// The frames of a watch.
pub(crate) struct Frames {
    body: Incoming,
    buffer: BytesMut,
}

impl Frames {
    /// The next event; `None` at the end of the watch.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(cause(&error)),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }
}

/// Takes a frame off the front: a length of four bytes, big end first, and as many bytes.
fn take_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, String> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
    if length > FRAME {
        return Err(format!("a frame of {length} bytes is no event"));
    }
    if buffer.len() < 4 + length {
        buffer.reserve(4 + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_whole() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, b'a', b'b', 0, 0, 0][..]);
        assert_eq!(take_frame(&mut buffer).unwrap().unwrap(), "ab");
        assert_eq!(take_frame(&mut buffer).unwrap(), None);
        buffer.extend_from_slice(&[1, b'c']);
        assert_eq!(take_frame(&mut buffer).unwrap().unwrap(), "c");
        assert!(take_frame(&mut BytesMut::from(&[255, 0, 0, 0][..])).is_err());
    }

    #[test]
    fn refusals_carry_the_api_servers_words() {
        let call = Call::get("/api/v1/nodes?limit=1");
        let body = br#"{"kind":"Status","reason":"Forbidden","message":"no"}"#;
        let reply = Reply { status: StatusCode::FORBIDDEN, retry_after: None, body: Bytes::from_static(body) };
        let error = reply.success(&call).unwrap_err();
        assert_eq!(error.to_string(), "GET /api/v1/nodes: 403 Forbidden: no");
        assert!(!error.is_transient());
        let plain = Reply { status: StatusCode::TOO_MANY_REQUESTS, retry_after: None, body: "slow".into() };
        assert!(plain.success(&call).unwrap_err().is_transient());
    }
}
