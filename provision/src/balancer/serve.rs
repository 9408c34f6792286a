//! The load balancer as a program of its own, on sockets that whoever starts it keeps.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use super::{Balancer, Config, Count, Health};

/// The first argument that makes this program a load balancer. The second one is the file of [`Settings`], or `status`,
/// or `drain` or `undrain` with a backend's name.
pub const ARGUMENT: &str = "__load-balancer";
/// Where a load balancer is asked how it is.
pub const CONTROL: &str = "/run/load-balancer.sock";
/// How long connections may last once it is to end.
const GRACE: Duration = Duration::from_secs(5);
/// The first of the sockets, and the variable that says how many there are.
const FIRST: RawFd = 3;
const COUNT: &str = "SEAWORTHY_LISTEN_FDS";

/// What is balanced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The API servers by name.
    pub backends: BTreeMap<String, SocketAddr>,
    /// The CA that signs their certificates, in PEM.
    pub ca: String,
    /// Are backends never asked for their health? It is how a balancer keeps one that is dead.
    #[serde(default)]
    pub unchecked: bool,
}

/// The sockets that a host's agent keeps for this process.
///
/// # Errors
/// If the variable is not set, or what it counts are no sockets.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let count = std::env::var(COUNT).ok().and_then(|text| text.parse().ok());
    let count: RawFd = count.ok_or_else(|| io::Error::other(format!("{COUNT} is not set")))?;
    let socket = |fd: RawFd| {
        // SAFETY: whoever started this process put sockets there for it, and nothing else in it uses them.
        let socket = TcpListener::from(unsafe { OwnedFd::from_raw_fd(fd) });
        socket.local_addr().map(|_| socket)
    };
    (FIRST..FIRST + count).map(socket).collect()
}

/// Serves until SIGTERM, or asks the one that serves.
///
/// # Errors
/// What the system said; of the settings, what is wrong with them.
pub fn main(arguments: &[&str]) -> io::Result<()> {
    match arguments {
        ["status"] => ask("status"),
        [command @ ("drain" | "undrain"), name] => ask(&format!("{command} {name}")),
        [settings] => {
            let text = std::fs::read_to_string(settings)?;
            let settings: Settings = serde_json::from_str(&text)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            runtime.block_on(serve(inherited()?, settings))
        }
        _ => Err(io::Error::other("a file of settings is wanted")),
    }
}

fn ask(line: &str) -> io::Result<()> {
    let mut stream = UnixStream::connect(CONTROL)?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    io::stdout().write_all(answer.as_bytes())
}

async fn serve(sockets: Vec<TcpListener>, settings: Settings) -> io::Result<()> {
    let mut ended = signal(SignalKind::terminate())?;
    let health = (!settings.unchecked).then(|| Health::readyz(settings.ca));
    let config = Config { backends: settings.backends, health };
    let balancer = Balancer::start(sockets, config).await.map_err(io::Error::other)?;
    if Path::new(CONTROL).exists() {
        std::fs::remove_file(CONTROL)?;
    }
    let control = tokio::net::UnixListener::bind(CONTROL)?;
    loop {
        tokio::select! {
            _ = ended.recv() => break,
            asked = control.accept() => {
                let (stream, _) = asked?;
                // Who asks and goes away is no reason to end.
                answer(&balancer, stream).await.ok();
            }
        }
    }
    balancer.stop(GRACE).await;
    Ok(())
}

async fn answer(balancer: &Balancer, stream: tokio::net::UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    // Whoever only looks whether it listens says nothing, and hangs up.
    tokio::time::timeout(Duration::from_secs(1), stream.read_line(&mut line)).await??;
    let backends = balancer.backends();
    let text = match line.trim().split_once(' ') {
        Some(("drain", name)) => backends.drain(name, true).to_string(),
        Some(("undrain", name)) => backends.drain(name, false).to_string(),
        _ => {
            let counts: BTreeMap<String, Count> = backends.counts();
            serde_json::to_string(&counts)?
        }
    };
    stream.get_mut().write_all(text.as_bytes()).await
}
