//! etcd on a faulty disk: what it acknowledged survives a power cut, and we would see it if it did not.

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use seaworthy_provision::assets::{Release, Request, find};
use seaworthy_provision::fault::disk::Settings;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::lab::{Namespace, Process};

pub(crate) const TRIALS: &[(&str, fn())] = &[
    ("etcd keeps what it acknowledged over a power cut", acknowledged),
    ("etcd without fsync loses what it acknowledged, and we see it", without_fsync),
    ("etcd stops on a full disk, and keeps what it acknowledged", on_a_full_disk),
];

/// Run by `--ignored`: what the disk costs.
pub(crate) const FIGURES: (&str, fn()) = ("figures: etcd on the disk beside etcd on the folder", figures);

fn program() -> Option<PathBuf> {
    let found = find(&Request::here(Release::newest(), &["etcd"])?)
        .ok()
        .and_then(|found| found.path("etcd").map(Path::to_owned));
    if found.is_none() {
        crate::required("`seaworthy assets fetch etcd`");
    }
    found
}

/// An etcd of one member, alone in a network namespace.
struct Etcd {
    process: Process,
    network: Namespace,
    connection: Option<BufReader<TcpStream>>,
}

impl Etcd {
    fn start(program: &Path, data: &Path, flags: &[&str]) -> Self {
        let network = Namespace::new();
        network.run("ip link set lo up");
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(data).args(["--log-level", "panic"]).args(flags);
        let process = network.inside(|| Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()));
        let mut etcd = Self { process, network, connection: None };
        while etcd.ask("maintenance/status", &json!({})).is_err() {
            assert_eq!(etcd.process.0.try_wait().unwrap(), None, "etcd ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        etcd
    }

    /// Asks the gateway from JSON to gRPC.
    fn ask(&mut self, path: &str, question: &Value) -> io::Result<Value> {
        if self.connection.is_none() {
            let stream = self.network.inside(|| TcpStream::connect("127.0.0.1:2379"))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_mins(1)))?;
            self.connection = Some(BufReader::new(stream));
        }
        let answer = self.talk(path, question.to_string().as_bytes());
        if !matches!(answer, Ok((_, true))) {
            self.connection = None;
        }
        answer.map(|(answer, _)| answer)
    }

    /// The answer, and whether the connection can be used again.
    fn talk(&mut self, path: &str, question: &[u8]) -> io::Result<(Value, bool)> {
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let length = question.len();
        // Version 1.0, so that the answer comes in one piece.
        let mut request =
            format!("POST /v3/{path} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {length}\r\n\r\n")
                .into_bytes();
        request.extend_from_slice(question);
        connection.get_mut().write_all(&request)?;
        let (mut head, mut length) = (String::new(), None);
        while connection.read_line(&mut head)? > 2 {
            let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
            length = line.strip_prefix("content-length: ").and_then(|number| number.parse::<u64>().ok()).or(length);
        }
        let mut body = Vec::new();
        match length {
            Some(length) => connection.take(length).read_to_end(&mut body)?,
            None => connection.read_to_end(&mut body)?,
        };
        if head.split(' ').nth(1) != Some("200") {
            return Err(io::Error::other(format!("{head}{}", String::from_utf8_lossy(&body))));
        }
        Ok((serde_json::from_slice(&body)?, length.is_some()))
    }

    fn put(&mut self, key: &str, value: &[u8]) -> io::Result<()> {
        let question = json!({ "key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(value) });
        self.ask("kv/put", &question).map(drop)
    }

    /// All keys that begin with k.
    fn keys(&mut self) -> Vec<String> {
        let range =
            json!({ "key": BASE64_STANDARD.encode("k"), "range_end": BASE64_STANDARD.encode("l"), "keys_only": true });
        let answer = self.ask("kv/range", &range).unwrap();
        let key =
            |pair: &Value| String::from_utf8(BASE64_STANDARD.decode(pair["key"].as_str().unwrap()).unwrap()).unwrap();
        answer["kvs"].as_array().into_iter().flatten().map(key).collect()
    }
}

/// Writes until etcd is killed in the middle of it, and cuts the power. Leaves the disk and what was acknowledged.
fn cut_off(program: &Path, flags: &[&str]) -> Option<(Disk, Vec<String>)> {
    let disk = Disk::new()?;
    let mut etcd = Etcd::start(program, &disk.at("etcd"), flags);
    let killed = nix::unistd::Pid::from_raw(etcd.process.0.id().cast_signed());
    let mut acknowledged = Vec::new();
    for number in 0_u32.. {
        let key = format!("k{number:06}");
        if etcd.put(&key, &[7; 1000]).is_err() {
            break;
        }
        acknowledged.push(key);
        if number == 200 {
            std::thread::spawn(move || nix::sys::signal::kill(killed, nix::sys::signal::Signal::SIGKILL));
        }
    }
    drop(etcd);
    disk.cut_power();
    assert!(acknowledged.len() > 200);
    Some((disk, acknowledged))
}

/// The keys that are to be found in the log, whether etcd finds them or not.
fn in_log(disk: &Disk) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for file in std::fs::read_dir(disk.at("etcd/member/wal")).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        for (at, _) in content.iter().enumerate().filter(|(_, byte)| **byte == b'k') {
            let digits = content.get(at + 1..at + 7).filter(|digits| digits.iter().all(u8::is_ascii_digit));
            keys.extend(digits.map(|digits| format!("k{}", String::from_utf8_lossy(digits))));
        }
    }
    keys
}

fn acknowledged() {
    let Some(program) = program() else { return };
    let Some((disk, acknowledged)) = cut_off(&program, &[]) else { return };
    let kept = Etcd::start(&program, &disk.at("etcd"), &[]).keys();
    let lost: Vec<_> = acknowledged.iter().filter(|key| !kept.contains(key)).collect();
    assert!(lost.is_empty(), "of {} acknowledged writes were lost: {lost:?}", acknowledged.len());
    let log = in_log(&disk);
    assert!(acknowledged.iter().all(|key| log.contains(key)));
}

fn without_fsync() {
    let Some(program) = program() else { return };
    let Some((disk, acknowledged)) = cut_off(&program, &["--unsafe-no-fsync"]) else { return };
    // What is left is the log as it was made, with which etcd does not even elect itself.
    let kept = in_log(&disk);
    assert!(acknowledged.iter().all(|key| !kept.contains(key)), "{kept:?} was not synced, and is there");
}

fn on_a_full_disk() {
    let (Some(program), Some(disk)) = (program(), Disk::new()) else { return };
    let mut etcd = Etcd::start(&program, &disk.at("etcd"), &[]);
    etcd.put("k0", b"before").unwrap();
    disk.set(Settings { free: Some(0), ..Settings::default() });
    let mut count = 1;
    // The log is allocated ahead and takes some more; the database has to grow.
    while etcd.put(&format!("k{count}"), &vec![7; 100_000]).is_ok() {
        count += 1;
        assert!(count < 10_000, "a gigabyte was written to a full disk");
    }
    drop(etcd);
    disk.set(Settings::default());
    disk.cut_power();
    let kept = Etcd::start(&program, &disk.at("etcd"), &[]).keys();
    assert!(kept.len() >= count, "{} of {count} are left", kept.len());
}

fn figures() {
    let (Some(program), Some(disk)) = (program(), Disk::new()) else { return };
    let plain = tempfile::tempdir().unwrap();
    let places = [("the folder", plain.path().join("etcd")), ("the disk", disk.at("etcd"))];
    let mut etcds = places.map(|(name, data)| (name, Etcd::start(&program, &data, &[]), Vec::new()));
    for number in 0..3000 {
        for (_, etcd, latencies) in &mut etcds {
            let began = Instant::now();
            etcd.put(&format!("k{number}"), &[7; 1000]).unwrap();
            latencies.push(began.elapsed());
        }
    }
    for (name, _, latencies) in &mut etcds {
        latencies.sort_unstable();
        let at = |percent: usize| latencies[latencies.len() * percent / 100];
        let mean = latencies.iter().sum::<Duration>() / u32::try_from(latencies.len()).unwrap();
        println!("{name}: put mean {mean:.2?}, median {:.2?}, 99th percentile {:.2?}", at(50), at(99));
    }
}
