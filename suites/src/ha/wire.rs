//! Connections of which the suite knows when they begin and end: HTTP/2 over TLS, one after the other, nothing
//! retried.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a connection is asked for a sign of life, and how long that may take. client-go has 30 and 15 seconds.
const PING: Duration = Duration::from_secs(2);

static NUMBERS: AtomicU32 = AtomicU32::new(1);

/// An address that is asked.
pub(super) struct Gate {
    /// What it is called in histories.
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// Where it is reached, if not there.
    pub(super) proxy: Option<SocketAddr>,
    pub(super) host: ServerName<'static>,
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// The header of who asks, where TLS does not say it.
    pub(super) login: Option<HeaderValue>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("name", &self.name).field("address", &self.address).finish_non_exhaustive()
    }
}

/// A connection.
#[derive(Clone)]
pub(super) struct Line {
    /// No other one of this process has it.
    pub(super) number: u32,
    authority: String,
    login: Option<HeaderValue>,
    sender: http2::SendRequest<Full<Bytes>>,
    /// When it was last heard of.
    heard: Arc<Mutex<Instant>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broke {
    /// The request was not sent.
    NotSent(String),
    /// It may have arrived.
    Lost(String),
}

impl Broke {
    pub(super) fn why(&self) -> &str {
        match self {
            Self::NotSent(why) | Self::Lost(why) => why,
        }
    }
}

impl Gate {
    /// Connects.
    pub(super) async fn open(&self) -> Result<Line, String> {
        let connected = tokio::time::timeout(CONNECT, self.connect()).await;
        connected.unwrap_or_else(|_| Err("no connection".to_owned()))
    }

    async fn connect(&self) -> Result<Line, String> {
        let stream = TcpStream::connect(self.proxy.unwrap_or(self.address)).await.map_err(|error| word(&error))?;
        stream.set_nodelay(true).map_err(|error| word(&error))?;
        let stream = TlsConnector::from(self.tls.clone()).connect(self.host.clone(), stream).await;
        let stream = TokioIo::new(stream.map_err(|error| word(&error))?);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(2 * PING);
        let (sender, connection) =
            builder.keep_alive_while_idle(true).handshake(stream).await.map_err(|error| words(&error))?;
        // It ends with its last sender, or with the connection, which requests then tell of.
        tokio::spawn(connection);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let heard = Arc::new(Mutex::new(Instant::now()));
        let (authority, login) = (self.address.to_string(), self.login.clone());
        Ok(Line { number, authority, login, sender, heard })
    }
}

impl Line {
    /// Has nothing been heard of it for so long?
    pub(super) fn is_silent(&self, patience: Duration) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= patience
    }

    fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Sends a request; the body of the answer is yet to come.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Response<Incoming>, Broke> {
        let mut request = Request::builder().method(method).uri(format!("https://{}{path}", self.authority));
        request = request.header("accept", "application/json").header("user-agent", "seaworthy-ha");
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        let content = match body {
            Some((kind, value)) => {
                request = request.header("content-type", kind);
                Full::from(value.to_string())
            }
            None => Full::default(),
        };
        let request = request.body(content).map_err(|error| Broke::NotSent(error.to_string()))?;
        self.exchange(request).await
    }

    /// Passes on a request that somebody else made.
    pub(super) async fn pass(&mut self, request: Request<Bytes>) -> Result<Response<Incoming>, Broke> {
        let (mut head, content) = request.into_parts();
        let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let uri = format!("https://{}{path}", self.authority).parse();
        head.uri = uri.map_err(|error: http::uri::InvalidUri| Broke::NotSent(error.to_string()))?;
        self.exchange(Request::from_parts(head, Full::from(content))).await
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Broke> {
        self.sender.ready().await.map_err(|error| Broke::NotSent(words(&error)))?;
        let answer = self.sender.send_request(request).await.map_err(|error| Broke::Lost(words(&error)))?;
        self.heard();
        Ok(answer)
    }

    /// Sends a request and reads the answer: its status and its JSON.
    pub(super) async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<(u16, Value), Broke> {
        let answer = self.send(method, path, body).await?;
        let status = answer.status().as_u16();
        let content = answer.into_body().collect().await.map_err(|error| Broke::Lost(words(&error)))?.to_bytes();
        Ok((status, serde_json::from_slice(&content).unwrap_or_default()))
    }
}

/// What happened to a connection, in a word.
fn words(error: &hyper::Error) -> String {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(one) = source {
        if let Some(io) = one.downcast_ref::<std::io::Error>() {
            return word(io);
        }
        source = one.source();
    }
    if error.is_timeout() {
        return "silent".to_owned();
    }
    // A connection that ends, GOAWAY included.
    "reset".to_owned()
}

fn word(error: &std::io::Error) -> String {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "refused".to_owned(),
        Kind::ConnectionReset | Kind::BrokenPipe | Kind::UnexpectedEof | Kind::ConnectionAborted => "reset".to_owned(),
        Kind::HostUnreachable | Kind::NetworkUnreachable => "unreachable".to_owned(),
        Kind::TimedOut => "silent".to_owned(),
        _ => error.to_string(),
    }
}
