//! What a pod reaches: names through its resolv.conf, HTTP and UDP servers through the network. An answer is JSON, with
//! what was found or with `error`: how it failed (`refused`, `timed-out`, ...), and why in words.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RecordType;
use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpStream, UdpSocket};

use super::answer::plain;

/// The most of an answer that is taken.
const LIMIT: usize = 64 << 10;

/// How something was not reached.
struct Failure {
    how: &'static str,
    why: String,
}

fn failure(how: &'static str, why: impl ToString) -> Failure {
    Failure { how, why: why.to_string() }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let how = match error.kind() {
            io::ErrorKind::ConnectionRefused => "refused",
            io::ErrorKind::ConnectionReset => "reset",
            io::ErrorKind::TimedOut => "timed-out",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
            // EPERM: a rule of the pod's own side rejects it.
            io::ErrorKind::PermissionDenied => "denied",
            _ => "failed",
        };
        failure(how, error)
    }
}

/// In time, or a failure.
async fn within(patience: Duration, work: impl Future<Output = Result<Value, Failure>>) -> Value {
    let silence = |_| failure("timed-out", format!("no answer within {patience:?}"));
    match tokio::time::timeout(patience, work).await.map_err(silence).flatten() {
        Ok(value) => value,
        Err(Failure { how, why }) => json!({ "error": how, "why": why }),
    }
}

/// A resolver that reads resolv.conf anew and remembers nothing: what it says was asked.
fn resolver(patience: Duration) -> Result<TokioResolver, Failure> {
    let failed = |error: &dyn std::error::Error| failure("resolver", format!("/etc/resolv.conf: {error}"));
    let mut builder = TokioResolver::builder_tokio().map_err(|error| failed(&error))?;
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = patience;
    options.attempts = 0;
    builder.build().map_err(|error| failed(&error))
}

/// Looks up the records of a name.
pub(super) async fn look_up(name: &str, kind: RecordType, patience: Duration) -> Value {
    within(patience, async {
        let found = resolver(patience)?
            .lookup(name, kind)
            .await
            .map_err(|error| failure(if error.is_no_records_found() { "no-records" } else { "resolver" }, error))?;
        let records = found.answers().iter().map(|record| {
            json!({
                "name": record.name.to_string(), "type": record.record_type().to_string(), "ttl": record.ttl,
                "data": record.data.to_string(),
            })
        });
        Ok(json!({ "records": records.collect::<Vec<_>>() }))
    })
    .await
}

/// The addresses of a host, which may be an address itself.
async fn addresses(host: &str, port: u16, patience: Duration) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = resolver(patience)?.lookup_ip(host).await.map_err(|error| failure("resolver", error))?;
    Ok(found.iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// Gets an `http` URL over a connection of its own. A name's addresses are tried in order.
pub(super) async fn get(url: &Uri, patience: Duration) -> Value {
    within(patience, async {
        let (Some("http"), Some(host)) = (url.scheme_str(), url.host()) else {
            return Err(failure("failed", format!("{url} is no http URL with a host")));
        };
        let mut last = failure("no-records", format!("{host} has no address"));
        for address in addresses(host, url.port_u16().unwrap_or(80), patience).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return exchange(stream, url).await,
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    })
    .await
}

async fn exchange(stream: TcpStream, url: &Uri) -> Result<Value, Failure> {
    let (local, peer) = (plain(stream.local_addr()?), plain(stream.peer_addr()?));
    let failed = |error: hyper::Error| failure("failed", error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let host = url.authority().map_or("", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(header::HOST, host).header(header::CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failure("failed", error))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), LIMIT).collect().await.map_err(|error| failure("failed", error))?;
    connection.abort();
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(json!({ "status": status, "body": body, "local": local.to_string(), "peer": peer.to_string() }))
}

/// Sends a datagram to `HOST:PORT`, and waits for one that comes back.
pub(super) async fn ask(to: &str, text: &str, patience: Duration) -> Value {
    within(patience, async {
        let parts = to.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts.ok_or_else(|| failure("failed", format!("{to} is no HOST:PORT")))?;
        let found = addresses(host, port, patience).await?;
        let peer = *found.first().ok_or_else(|| failure("no-records", format!("{host} has no address")))?;
        let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(peer).await?;
        socket.send(text.as_bytes()).await?;
        let mut bytes = vec![0; LIMIT];
        let length = socket.recv(&mut bytes).await?;
        let local = socket.local_addr()?;
        let body = String::from_utf8_lossy(&bytes[..length]).into_owned();
        Ok(json!({ "body": body, "local": local.to_string(), "peer": peer.to_string() }))
    })
    .await
}
