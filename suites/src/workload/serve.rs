//! The server of a pod: HTTP and UDP, on every address of both families.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{SignalKind, signal};

use super::answer::{self, Server};
use super::more;

/// How long requests that are being answered may take once the pod is to end; the kubelet's patience is 30 s.
const GRACE: Duration = Duration::from_secs(25);
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest datagram that is answered.
const DATAGRAM: usize = 64 << 10;

/// Where it listens, and how it behaves; port 0 leaves the choice to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Options {
    http: u16,
    udp: u16,
    https: Option<u16>,
    grpc: Option<u16>,
    /// From when on, in seconds after the start, it says of itself that it is unhealthy.
    pub(super) unhealthy_after: Option<u16>,
    /// Does it log requests?
    pub(super) log: bool,
}

const OPTIONS: &str = "--http PORT, --udp PORT, --https PORT, --grpc PORT, --unhealthy-after SECONDS and --log";

impl Options {
    pub(super) fn read(words: &[&str]) -> Result<Self, String> {
        let mut options = Self { http: 8080, udp: 8080, https: None, grpc: None, unhealthy_after: None, log: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || {
                let number = words.next().and_then(|text| text.parse().ok());
                number.ok_or_else(|| match *word {
                    "--unhealthy-after" => format!("{word} wants a number of seconds"),
                    _ => format!("{word} wants a port, a number up to 65535"),
                })
            };
            match *word {
                "--http" => options.http = number()?,
                "--udp" => options.udp = number()?,
                "--https" => options.https = Some(number()?),
                "--grpc" => options.grpc = Some(number()?),
                "--unhealthy-after" => options.unhealthy_after = Some(number()?),
                "--log" => options.log = true,
                other => return Err(format!("'{other}' is no option of serve: there are {OPTIONS}")),
            }
        }
        Ok(options)
    }
}

/// Listens on all addresses; of IPv4 only, where the kernel has no IPv6.
async fn everywhere<T, F: Future<Output = io::Result<T>>>(port: u16, bind: impl Fn(SocketAddr) -> F) -> io::Result<T> {
    match bind((Ipv6Addr::UNSPECIFIED, port).into()).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => bind((Ipv4Addr::UNSPECIFIED, port).into()).await,
        bound => bound,
    }
    .map_err(|error| io::Error::new(error.kind(), format!("port {port} cannot be listened on: {error}")))
}

/// Serves until SIGTERM or SIGINT, or until a client has it end; then answers what it was asked before.
pub(super) fn serve(options: Options) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let listener = everywhere(options.http, TcpListener::bind).await?;
        let socket = everywhere(options.udp, UdpSocket::bind).await?;
        // The log of the pod begins with where it is to be found.
        writeln!(io::stdout(), "http {}\nudp {}", listener.local_addr()?, socket.local_addr()?)?;
        tokio::spawn(datagrams(socket));
        let (server, mut ends) = Server::new(options);
        let server = Arc::new(server);
        if let Some(port) = options.https {
            tokio::spawn(more::https(everywhere(port, TcpListener::bind).await?, server.clone())?);
        }
        if let Some(port) = options.grpc {
            tokio::spawn(more::grpc(everywhere(port, TcpListener::bind).await?, server.clone()));
        }
        let graceful = GracefulShutdown::new();
        let code = loop {
            tokio::select! {
                _ = terminate.recv() => break ExitCode::SUCCESS,
                _ = interrupt.recv() => break ExitCode::SUCCESS,
                Some(code) = ends.recv() => break ExitCode::from(code),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        server.saw("tcp");
                        let server = server.clone();
                        let service = service_fn(move |request| {
                            let server = server.clone();
                            async move { Ok::<_, Infallible>(answer::answer(&server, peer, request).await) }
                        });
                        let mut http = hyper::server::conn::http1::Builder::new();
                        http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                        tokio::spawn(graceful.watch(http.serve_connection(TokioIo::new(stream), service)));
                    }
                    // Out of descriptors, most likely: clients wait in the backlog meanwhile.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        };
        drop(listener);
        tokio::time::timeout(GRACE, graceful.shutdown()).await.ok();
        Ok(code)
    })
}

/// Answers datagrams: `hostname` and `clientip` with those, any other with itself.
async fn datagrams(socket: UdpSocket) {
    let mut bytes = vec![0; DATAGRAM];
    loop {
        // An error is one of an earlier answer that did not arrive.
        let Ok((length, peer)) = socket.recv_from(&mut bytes).await else { continue };
        let said = match bytes[..length].trim_ascii() {
            b"hostname" => answer::hostname().into_bytes(),
            b"clientip" => answer::plain(peer).to_string().into_bytes(),
            _ => bytes[..length].to_vec(),
        };
        socket.send_to(&said, peer).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_when_they_are_wrong() {
        let options =
            Options::read(&["--http", "80", "--udp", "53", "--grpc", "5000", "--unhealthy-after", "9", "--log"]);
        let options = options.unwrap();
        assert_eq!((options.http, options.udp, options.https, options.grpc), (80, 53, None, Some(5000)));
        assert_eq!((options.unhealthy_after, options.log), (Some(9), true));
        assert_eq!(Options::read(&[]).map(|options| (options.http, options.udp, options.log)), Ok((8080, 8080, false)));
        assert!(Options::read(&["--port", "80"]).unwrap_err().contains("'--port'"));
        for words in [&["--http"][..], &["--http", "x"], &["--http", "65536"]] {
            assert!(Options::read(words).unwrap_err().contains("--http wants a port"), "{words:?}");
        }
    }
}
