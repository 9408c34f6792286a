//! A registry of images that are in a [`Store`]: the pulling half of the OCI distribution specification 1.1.
//!
//! It is one registry for all: a client that was sent here in place of another says which one it means (`?ns=`, as
//! containerd does), and gets that one's image. Nothing can be written. The listening sockets come from outside, as the
//! balancer's do.

mod answer;
mod request;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::image::Store;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a registry does not start.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// It cannot be run.
    #[error("the registry cannot be run: {0}")]
    Run(io::Error),
}

/// A registry that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Registry {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Registry {
    /// Begins to serve a store on these sockets. Images that are added later are served, too.
    ///
    /// # Errors
    /// [`RegistryError::Listen`] names the address.
    pub fn start(sockets: Vec<TcpListener>, store: Store) -> Result<Self, RegistryError> {
        let (stop, stopped) = watch::channel(false);
        let store = Arc::new(store);
        let (mut addresses, mut tasks) = (Vec::new(), JoinSet::new());
        for socket in sockets {
            let address = socket.local_addr().unwrap_or_else(|_| (Ipv4Addr::UNSPECIFIED, 0).into());
            let listener = socket.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(socket));
            let listener = listener.map_err(|source| RegistryError::Listen { address, source })?;
            addresses.push(address);
            tasks.spawn(accept(listener, store.clone(), stopped.clone()));
        }
        Ok(Self { addresses, stop, tasks })
    }

    /// Where it listens: the ports that the kernel chose, where none was named.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Takes no more requests, lets those that it took end for as long as `grace`, then ends them.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Serves a store until SIGTERM or SIGINT: the whole of a process that is a registry.
///
/// # Errors
/// [`RegistryError`] names the address.
pub fn serve(sockets: Vec<TcpListener>, store: Store) -> Result<(), RegistryError> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(RegistryError::Run)?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(RegistryError::Run)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RegistryError::Run)?;
        let registry = Registry::start(sockets, store)?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        registry.stop(Duration::from_secs(2)).await;
        Ok(())
    })
}

/// The first argument that makes this program a registry; the second one is the folder of images.
pub const ARGUMENT: &str = "__registry";

/// Takes connections until it is told to stop; then waits for those that it took.
async fn accept(listener: tokio::net::TcpListener, store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, store.clone(), stopped.clone()));
                }
                // Out of descriptors, most likely: clients wait in the backlog meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(stream: tokio::net::TcpStream, store: Arc<Store>, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let store = store.clone();
        async move { Ok::<_, Infallible>(answer::answer(&store, &request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // A client that goes away is no error of ours.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    connection.await.ok();
}
