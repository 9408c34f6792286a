//! The balancer between clients and servers that come, go and hang.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seaworthy_provision::balancer::{Balancer, Config, Health, State, bind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A server that says its name to `?`, and to a GET whether it is ready.
struct Server {
    address: SocketAddr,
    ready: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ready = Arc::new(AtomicBool::new(true));
        let is_ready = ready.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let is_ready = is_ready.clone();
                connections.spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        if buffer[..count].starts_with(b"GET /readyz ") {
                            let status = if is_ready.load(Ordering::SeqCst) { "200 OK" } else { "500 No" };
                            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                            stream.write_all(answer.as_bytes()).await.ok();
                            return;
                        }
                        stream.write_all(name.as_bytes()).await.ok();
                    }
                });
            }
        });
        Self { address, ready, task }
    }
}

fn config(servers: &[(&str, &Server)]) -> Config {
    Config {
        backends: servers.iter().map(|(name, server)| ((*name).to_owned(), server.address)).collect::<BTreeMap<_, _>>(),
        health: Some(Health {
            scheme: "http".to_owned(),
            path: "/readyz".to_owned(),
            ca: None,
            interval: Duration::from_millis(20),
            patience: Duration::from_secs(5),
            fall: 2,
            rise: 2,
        }),
    }
}

fn anywhere() -> Vec<std::net::TcpListener> {
    bind(&["127.0.0.1:0".parse().unwrap()]).unwrap()
}

/// Who answers; `None` where the connection is closed.
async fn ask(stream: &mut TcpStream) -> Option<String> {
    stream.write_all(b"?").await.ok()?;
    let mut buffer = [0; 64];
    match stream.read(&mut buffer).await {
        Ok(0) | Err(_) => None,
        Ok(count) => Some(String::from_utf8_lossy(&buffer[..count]).into_owned()),
    }
}

async fn becomes(balancer: &Balancer, name: &str, state: State) {
    while balancer.backends().counts()[name].state != state {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn connections_are_shared_and_counted() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let balancer = Balancer::start(anywhere(), config(&[("a", &a), ("b", &b)])).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(balancer.addresses()[0]).await.unwrap();
        assert!(ask(&mut stream).await.is_some());
        open.push(stream);
    }
    let counts = balancer.backends().counts();
    assert_eq!((counts["a"].open, counts["b"].open), (5, 5));
    drop(open);
    while balancer.backends().counts().values().any(|count| count.open > 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(balancer.backends().counts()["a"].carried, 5);
}

#[tokio::test]
async fn who_falls_ill_loses_its_connections_and_gets_them_again() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let balancer = Balancer::start(anywhere(), config(&[("a", &a), ("b", &b)])).await.unwrap();
    let connect = || async { TcpStream::connect(balancer.addresses()[0]).await.unwrap() };
    let (mut one, mut two) = (connect().await, connect().await);
    let names = [ask(&mut one).await.unwrap(), ask(&mut two).await.unwrap()];
    assert_ne!(names[0], names[1]);
    a.ready.store(false, Ordering::SeqCst);
    becomes(&balancer, "a", State::Down).await;
    let of_a = if names[0] == "a" { &mut one } else { &mut two };
    assert_eq!(ask(of_a).await, None, "its client must not wait on it");
    for _ in 0..4 {
        assert_eq!(ask(&mut connect().await).await.unwrap(), "b");
    }
    a.ready.store(true, Ordering::SeqCst);
    becomes(&balancer, "a", State::Up).await;
    assert_eq!(ask(&mut connect().await).await.unwrap(), "a");
    assert_eq!(balancer.backends().counts()["a"].falls, 1);
}

#[tokio::test]
async fn who_is_drained_keeps_its_connections() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    let balancer = Balancer::start(anywhere(), config(&[("a", &a), ("b", &b)])).await.unwrap();
    let mut one = TcpStream::connect(balancer.addresses()[0]).await.unwrap();
    let name = ask(&mut one).await.unwrap();
    assert!(balancer.backends().drain(&name, true) && !balancer.backends().drain("nobody", true));
    for _ in 0..4 {
        let mut other = TcpStream::connect(balancer.addresses()[0]).await.unwrap();
        assert_ne!(ask(&mut other).await.unwrap(), name);
    }
    assert_eq!(ask(&mut one).await.unwrap(), name);
    assert_eq!(balancer.backends().counts()[&name].state, State::Draining);
}

#[tokio::test]
async fn one_that_refuses_is_passed_over_and_none_closes_at_once() {
    let (a, b) = (Server::start("a").await, Server::start("b").await);
    // No health check: only the connection itself tells.
    let balancer =
        Balancer::start(anywhere(), Config { health: None, ..config(&[("a", &a), ("b", &b)]) }).await.unwrap();
    a.task.abort();
    while TcpStream::connect(a.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..3 {
        let mut stream = TcpStream::connect(balancer.addresses()[0]).await.unwrap();
        assert_eq!(ask(&mut stream).await.unwrap(), "b");
    }
    assert!(balancer.backends().counts()["a"].refused > 0);
    balancer.backends().drain("b", true);
    let mut stream = TcpStream::connect(balancer.addresses()[0]).await.unwrap();
    assert_eq!(ask(&mut stream).await, None);
}

#[tokio::test]
async fn a_successor_takes_over_without_a_refusal() {
    let a = Server::start("a").await;
    let sockets = anywhere();
    let kept = sockets[0].try_clone().unwrap();
    let first = Balancer::start(sockets, config(&[("a", &a)])).await.unwrap();
    let address = first.addresses()[0];
    let mut old = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut old).await.unwrap(), "a");
    let clients = tokio::spawn(async move {
        for _ in 0..200 {
            let mut stream = TcpStream::connect(address).await.expect("nobody is refused");
            assert_eq!(ask(&mut stream).await.as_deref(), Some("a"));
        }
    });
    // The first one has stopped taking connections before the second begins.
    let stopping = tokio::spawn(first.stop(Duration::from_mins(1)));
    tokio::task::yield_now().await;
    let second = Balancer::start(vec![kept], config(&[("a", &a)])).await.unwrap();
    clients.await.unwrap();
    // What the first one carries goes on until it ends by itself.
    assert_eq!(ask(&mut old).await.unwrap(), "a");
    drop(old);
    stopping.await.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(&mut stream).await.unwrap(), "a");
    assert!(second.backends().counts()["a"].carried > 0);
}

#[tokio::test]
async fn what_cannot_start_is_named() {
    let a = Server::start("a").await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let why = bind(&[address]).unwrap_err().to_string();
    assert!(why.contains(&address.to_string()) && why.contains("in use"), "{why}");
    let why = Balancer::start(anywhere(), config(&[])).await.unwrap_err().to_string();
    assert!(why.contains("no backends"), "{why}");
    let mut bad = config(&[("a", &a)]);
    bad.health = Some(Health::readyz("no certificate"));
    let why = Balancer::start(anywhere(), bad).await.unwrap_err().to_string();
    assert!(why.contains("health cannot be asked for"), "{why}");
}
