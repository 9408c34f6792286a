//! What runs in pods, run as it is there but for the pod.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A workload; ends with this value.
struct Workload {
    child: Child,
    http: u16,
    udp: u16,
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Workload {
    fn serve() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["workload", "serve", "--http", "0", "--udp", "0"]).env("SAID", "so");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut port = |name: &str| {
            let line = lines.next().expect("it says where it listens");
            line.strip_prefix(name).unwrap().trim().parse::<SocketAddr>().unwrap().port()
        };
        let (http, udp) = (port("http"), port("udp"));
        Self { child, http, udp }
    }

    /// Status and body.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        self.ask_at("127.0.0.1", method, path)
    }

    fn ask_at(&self, address: &str, method: &str, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((address, self.http)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn ended(&mut self, signal: Signal) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_server_says_who_it_is_and_whom_it_sees() {
    let mut server = Workload::serve();
    let hostname = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(server.ask("GET", "/hostname"), (200, hostname.clone()));
    let (_, client) = server.ask("GET", "/clientip");
    assert!(client.starts_with("127.0.0.1:"), "an IPv4 client has an IPv4 address: {client}");
    let (_, client) = server.ask_at("::1", "GET", "/clientip");
    assert!(client.starts_with("[::1]:"), "{client}");
    assert_eq!(server.json("/env")["SAID"], "so");

    assert_eq!(server.ask("GET", "/readyz").0, 200);
    assert_eq!(server.ask("POST", "/readyz?ready=false").0, 200);
    assert_eq!(server.ask("GET", "/readyz").0, 503);
    assert_eq!(server.ask("GET", "/healthz").0, 200);
    assert_eq!(server.ask("POST", "/readyz?ready=perhaps").0, 400);
    assert_eq!(server.ask("GET", "/nothing").0, 404);

    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", server.udp)).unwrap();
    for (said, answer) in [("hostname", hostname), ("anything", "anything".to_owned())] {
        client.send(said.as_bytes()).unwrap();
        let mut bytes = [0; 512];
        let length = client.recv(&mut bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes[..length]), answer);
    }
    assert_eq!(server.ended(Signal::SIGTERM), Some(0));
}

#[test]
fn a_server_tells_what_it_reaches_and_how_it_does_not() {
    let server = Workload::serve();
    let to = |path: &str| format!("/dial?url=http%3A%2F%2F{path}");
    let reached = server.json(&to(&format!("127.0.0.1%3A{}%2Fclientip", server.http)));
    assert_eq!(reached["status"], 200);
    assert_eq!(reached["body"], reached["local"], "it sees itself under the address that it has");
    let reached = server.json(&to(&format!("%5B%3A%3A1%5D%3A{}%2Freadyz", server.http)));
    assert_eq!((&reached["status"], &reached["body"]), (&200.into(), &"ok".into()));
    let reached = server.json(&format!("/dial?udp=127.0.0.1:{}&text=here", server.udp));
    assert_eq!(reached["body"], "here");

    // A port that was just given back, and one that is silent.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(server.json(&to(&format!("127.0.0.1%3A{}%2F", free.port())))["error"], "refused");
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    assert_eq!(server.json(&format!("/dial?udp=127.0.0.1:{port}&timeout=50"))["error"], "timed-out");
    assert_eq!(server.json("/dial?url=ftp%3A%2F%2Fx%2F")["error"], "failed");
    assert_eq!(server.ask("GET", "/dial").0, 400);
    assert_eq!(server.ask("GET", "/dns?name=x&type=WRONG").0, 400);
    assert_eq!(server.ask("GET", "/dns").0, 400);
}

#[test]
fn a_server_ends_with_the_code_that_it_is_told() {
    let mut server = Workload::serve();
    assert_eq!(server.ask("POST", "/shutdown?code=7"), (200, "{\"ends\":7}".to_owned()));
    assert_eq!(server.child.wait().unwrap().code(), Some(7));
    let misused = Command::new(env!("CARGO_BIN_EXE_seaworthy")).args(["workload", "serve", "--prot", "1"]).output();
    let misused = misused.unwrap();
    assert_eq!(misused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&misused.stderr).contains("'--prot'"));
}

#[test]
fn a_pause_buries_orphans_and_ends_when_it_is_told() {
    // A child that the shell leaves behind is the pause's own after exec.
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun & sleep 0.1 & exec \"$0\" workload pause"]).arg(env!("CARGO_BIN_EXE_seaworthy"));
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut pause = Workload { child, http: 0, udp: 0 };
    let mut line = String::new();
    BufReader::new(pause.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "begun\n");
    let pid = pause.child.id();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let begun = std::time::Instant::now();
    while !std::fs::read_to_string(&children).unwrap().is_empty() {
        assert!(begun.elapsed().as_secs() < 60, "the orphan is not buried");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(pause.ended(Signal::SIGTERM), Some(0));
}
