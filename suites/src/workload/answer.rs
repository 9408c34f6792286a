//! What the server says over HTTP.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::dial;
use super::serve::Options;

/// How long a dial or a look-up may take, where the request does not say.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes that are answered at once: a dialing pod takes no more than 64 KiB.
const MOST_BYTES: usize = 60_000;

/// The server's state.
#[derive(Debug)]
pub(super) struct Server {
    ready: AtomicBool,
    end: mpsc::UnboundedSender<u8>,
    options: Options,
    began: Instant,
    /// How often each path was asked for.
    seen: Mutex<BTreeMap<String, usize>>,
}

impl Server {
    /// One that is ready, and the exit codes with which clients have it end.
    pub(super) fn new(options: Options) -> (Self, mpsc::UnboundedReceiver<u8>) {
        let (end, ends) = mpsc::unbounded_channel();
        let server = Self { ready: AtomicBool::new(true), end, options, began: Instant::now(), seen: Mutex::default() };
        (server, ends)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request.
    pub(super) fn saw(&self, what: &str) {
        *self.seen().entry(what.to_owned()).or_default() += 1;
    }

    /// Is it healthy still?
    pub(super) fn healthy(&self) -> bool {
        self.options.unhealthy_after.is_none_or(|after| self.began.elapsed() < Duration::from_secs(after.into()))
    }
}

/// The name of the pod's host, as the kernel has it.
pub(super) fn hostname() -> String {
    nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// An IPv4 client of a socket of both families has its own address.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn object(value: &Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, value.to_string());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A redirect, with the text that Go's net/http gives it.
fn redirect(to: &str) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::FOUND, format!("<a href=\"{to}\">Found</a>.\n\n"));
    match to.parse() {
        Ok(to) => drop(response.headers_mut().insert(header::LOCATION, to)),
        Err(_) => return text(StatusCode::BAD_REQUEST, "loc is no URL"),
    }
    response
}

pub(super) async fn answer(server: &Server, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let query: BTreeMap<String, String> =
        form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let given = |name: &str| query.get(name).map(String::as_str);
    let wrong = |why: &str| text(StatusCode::BAD_REQUEST, why.to_owned());
    let Some(patience) = given("timeout").map_or(Some(PATIENCE), |text| text.parse().ok().map(Duration::from_millis))
    else {
        return wrong("timeout is a number of milliseconds");
    };
    server.saw(request.uri().path());
    if server.options.log {
        writeln!(std::io::stdout(), "{} {}", request.method(), request.uri()).ok();
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/" | "/hostname") => text(StatusCode::OK, hostname()),
        (&Method::GET, "/clientip") => text(StatusCode::OK, plain(peer).to_string()),
        (&Method::GET, "/healthz") if server.healthy() => text(StatusCode::OK, "ok"),
        (&Method::GET, "/healthz") => text(StatusCode::INTERNAL_SERVER_ERROR, "unhealthy, as it was asked to be"),
        (&Method::GET, "/echo") => text(StatusCode::OK, given("msg").unwrap_or_default().to_owned()),
        (&Method::GET, "/redirect") => redirect(given("loc").unwrap_or("/")),
        (&Method::GET, "/seen") => {
            let path = given("path").unwrap_or("/");
            let (seen, least) = (server.seen().get(path).copied().unwrap_or_default(), given("least").unwrap_or("1"));
            let status = match least.parse() {
                Ok(least) if seen >= least => StatusCode::OK,
                Ok(_) => StatusCode::SERVICE_UNAVAILABLE,
                Err(_) => return wrong("least is a number"),
            };
            text(status, seen.to_string())
        }
        (&Method::GET, "/readyz") if server.ready.load(Ordering::Relaxed) => text(StatusCode::OK, "ok"),
        (&Method::GET, "/readyz") => text(StatusCode::SERVICE_UNAVAILABLE, "made unready by POST /readyz?ready=false"),
        (&Method::POST, "/readyz") => match given("ready").map(str::parse) {
            Some(Ok(ready)) => {
                server.ready.store(ready, Ordering::Relaxed);
                text(StatusCode::OK, "ok")
            }
            _ => wrong("ready is true or false"),
        },
        (&Method::GET, "/bytes") => match given("count").map(str::parse::<usize>) {
            Some(Ok(count)) if count <= MOST_BYTES => text(StatusCode::OK, "x".repeat(count)),
            _ => wrong("count is a number of bytes, at most 60000"),
        },
        (&Method::GET, "/env") => {
            let variable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
                (name.to_string_lossy().into_owned(), Value::from(value.to_string_lossy()))
            };
            object(&Value::Object(std::env::vars_os().map(variable).collect()))
        }
        (&Method::GET, "/dns") => match (given("name"), given("type").unwrap_or("A").parse()) {
            (Some(name), Ok(kind)) => object(&dial::look_up(name, kind, patience).await),
            (None, _) => wrong("name is missing: the name that is looked up"),
            (_, Err(_)) => wrong("type is a type of DNS records: A, AAAA, SRV, PTR, CNAME, TXT"),
        },
        (&Method::GET, "/dial") => match (given("url"), given("udp")) {
            (Some(url), None) => match url.parse() {
                Ok(url) => object(&dial::get(&url, patience).await),
                Err(_) => wrong("url is no URL"),
            },
            (None, Some(to)) => object(&dial::ask(to, given("text").unwrap_or("hostname"), patience).await),
            _ => wrong("one of url and udp says what is dialed: http://HOST:PORT/PATH, or HOST:PORT"),
        },
        (&Method::POST, "/shutdown") => match given("code").unwrap_or("0").parse() {
            Ok(code) => {
                server.end.send(code).ok();
                object(&json!({ "ends": code }))
            }
            Err(_) => wrong("code is a number up to 255"),
        },
        (method, path) => text(StatusCode::NOT_FOUND, format!("there is no {method} {path} here")),
    }
}
