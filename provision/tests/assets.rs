//! Sources of programs: directories, PATH, the cache, and a mirror that misbehaves.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use seaworthy_provision::assets::{Cache, Program, Progress, Release, Request, Source, fetch, find, find_known};

const KUBELET: &str = "#!/bin/sh\necho Kubernetes v1.37.2\n";

fn request(folder: &Path, names: &[&str], sources: &[Source]) -> Request {
    Request {
        release: Release::newest(),
        programs: names.iter().map(|name| Program::named(name).unwrap()).collect(),
        sources: sources.to_vec(),
        directory: Some(folder.join("bin")),
        path: vec![folder.join("path")],
        cache: Cache::at(folder.join("cache")),
        mirror: None,
    }
}

fn script(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn sources_are_asked_in_order_and_a_wrong_version_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    script(&dir.path().join("bin/kubelet"), "#!/bin/sh\necho Kubernetes v1.36.0\n");
    script(&dir.path().join("path/kubelet"), KUBELET);
    let local = [Source::Cache, Source::Path, Source::Directory];
    let found = find(&request(dir.path(), &["kubelet"], &local)).unwrap();
    let kubelet = found.iter().next().unwrap();
    assert_eq!((kubelet.source, kubelet.version.as_deref()), (Source::Path, Some("1.37.2")));
    assert_eq!(found.path("kubelet").unwrap(), dir.path().join("path/kubelet"));

    let why = find(&request(dir.path(), &["kubelet"], &[Source::Directory])).unwrap_err().to_string();
    assert!(why.contains("bin/kubelet is of version 1.36.0, and v1.37.2 is wanted"), "{why}");
}

#[test]
fn programs_that_did_not_change_are_not_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let (program, runs) = (dir.path().join("bin/kubelet"), dir.path().join("runs"));
    let content = |version: &str| format!("#!/bin/sh\necho x >>{}\necho Kubernetes v{version}\n", runs.display());
    script(&program, &content("1.37.2"));
    let request = request(dir.path(), &["kubelet"], &[Source::Directory]);
    let count = || std::fs::read_to_string(&runs).unwrap().lines().count();
    find_known(&request).unwrap();
    find_known(&request).unwrap();
    assert_eq!(count(), 1);
    find(&request).unwrap();
    assert_eq!(count(), 2);
    // Of the same length.
    script(&program, &content("1.37.1"));
    assert!(find_known(&request).unwrap_err().to_string().contains("is of version 1.37.1"));
    assert_eq!(count(), 3);
    std::fs::write(dir.path().join("cache/versions.json"), "damaged").unwrap();
    script(&program, &content("1.37.2"));
    find_known(&request).unwrap();
    assert_eq!(count(), 4);
}

#[test]
fn what_is_no_program_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let asked = |name: &str| find(&request(dir.path(), &[name], &[Source::Directory])).unwrap_err().to_string();
    assert!(asked("etcd").contains("bin/etcd is not there"));
    script(&dir.path().join("bin/etcd"), "no script");
    assert!(asked("etcd").contains("cannot be run"), "{}", asked("etcd"));
    script(&dir.path().join("bin/etcd"), "#!/bin/sh\necho hello\n");
    assert!(asked("etcd").contains("does not say its version, but 'hello'"));
    std::fs::set_permissions(dir.path().join("bin/etcd"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(asked("etcd").contains("no program that may be run"));
    let why = find(&request(dir.path(), &["kubelet"], &[Source::Path])).unwrap_err().to_string();
    assert!(why.contains("in no directory of PATH"), "{why}");
}

#[test]
fn a_plug_in_is_not_taken_for_a_program_of_its_name_in_path() {
    let dir = tempfile::tempdir().unwrap();
    script(&dir.path().join("path/bridge"), "#!/bin/sh\n");
    let found = find(&request(dir.path(), &["bridge"], &[Source::Path]));
    // Where the plug-ins are installed it is theirs, elsewhere it is missing.
    assert!(found.is_err() || found.unwrap().path("bridge").unwrap() != dir.path().join("path/bridge"));
}

/// An answer of the mirror: status line, body, and after how many bytes it hangs up.
#[derive(Clone)]
struct Page {
    status: &'static str,
    body: Vec<u8>,
    cut: Option<usize>,
}

impl Page {
    fn new(status: &'static str, body: &[u8]) -> Self {
        Self { status, body: body.to_vec(), cut: None }
    }
}

type Asked = Arc<Mutex<Vec<String>>>;

/// A mirror on loopback that gives the pages of a path in turn, the last of them for ever. Ends with the process.
fn mirror(mut pages: BTreeMap<String, Vec<Page>>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Asked::default();
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let headers: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let from =
                headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
            let from: Option<usize> = from.map(|range| range.trim_end_matches('-').parse().unwrap());
            log.lock().unwrap().push(format!("{path} {}", from.unwrap_or(0)));
            let page = match pages.get_mut(&path) {
                Some(pages) if pages.len() > 1 => pages.remove(0),
                Some(pages) => pages[0].clone(),
                None => Page::new("404 Not Found", b""),
            };
            let (status, body, range) = match from {
                Some(from) if page.status.starts_with("200") && from < page.body.len() => (
                    "206 Partial Content",
                    &page.body[from..],
                    format!("content-range: bytes {from}-{}/{}\r\n", page.body.len() - 1, page.body.len()),
                ),
                _ => (page.status, &page.body[..], String::new()),
            };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{range}connection: close\r\n\r\n")
                .unwrap();
            stream.write_all(&body[..page.cut.unwrap_or(length).min(length)]).ok();
        }
    });
    (url, asked)
}

const PATH: &str = "/release/v1.37.2/bin/linux/amd64/kubelet";

fn from_mirror(pages: Vec<(&str, Vec<Page>)>) -> (Result<String, String>, Vec<String>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (url, asked) = mirror(pages.into_iter().map(|(path, pages)| (path.to_owned(), pages)).collect());
    let request = Request { mirror: Some(url), ..request(dir.path(), &["kubelet"], &[Source::Cache, Source::Mirror]) };
    let seen = Mutex::new(0);
    let answer = fetch(&request, &|progress| {
        if let Progress::Download { done, .. } = progress {
            *seen.lock().unwrap() = done;
        }
    });
    if answer.is_ok() {
        assert_eq!(*seen.lock().unwrap(), KUBELET.len() as u64, "progress ends at the end");
    }
    let answer = answer.map_err(|missing| missing.to_string());
    let answer = answer.map(|found| std::fs::read_to_string(found.path("kubelet").unwrap()).unwrap());
    let asked = asked.lock().unwrap().clone();
    (answer, asked, dir)
}

#[test]
fn a_mirror_is_asked_again_where_it_was_busy_and_goes_on_where_it_was_cut() {
    if std::env::consts::ARCH != "x86_64" {
        return;
    }
    let sum = sha256(KUBELET.as_bytes());
    let busy = Page::new("503 Service Unavailable", b"");
    let cut = Page { cut: Some(10), ..Page::new("200 OK", KUBELET.as_bytes()) };
    let (answer, asked, dir) = from_mirror(vec![
        (PATH, vec![busy, cut, Page::new("200 OK", KUBELET.as_bytes())]),
        (&format!("{PATH}.sha256"), vec![Page::new("200 OK", sum.as_bytes())]),
    ]);
    assert_eq!(answer.unwrap(), KUBELET);
    assert_eq!(asked[1..], [format!("{PATH} 0"), format!("{PATH} 0"), format!("{PATH} 10")]);
    // Nothing but the program and the lock is left, and the cache answers from now on.
    let mut left: Vec<_> = std::fs::read_dir(dir.path().join("cache/kubernetes/v1.37.2"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".lock", "kubelet"]);
    assert!(find(&request(dir.path(), &["kubelet"], &[Source::Cache])).is_ok());
}

#[test]
fn a_wrong_checksum_is_refused_and_nothing_is_kept() {
    let (answer, _, dir) = from_mirror(vec![
        (PATH, vec![Page::new("200 OK", KUBELET.as_bytes())]),
        (&format!("{PATH}.sha256"), vec![Page::new("200 OK", sha256(b"another").as_bytes())]),
    ]);
    let why = answer.unwrap_err();
    assert!(why.contains("its SHA-256 is") && why.contains(&sha256(b"another")), "{why}");
    assert!(!dir.path().join("cache/kubernetes/v1.37.2/kubelet").exists());
    assert!(!dir.path().join("cache/kubernetes/v1.37.2/.kubelet.part").exists());
}

#[test]
fn what_a_mirror_does_not_have_is_named() {
    let (answer, asked, _dir) = from_mirror(vec![]);
    let why = answer.unwrap_err();
    assert!(why.contains("kubelet.sha256: 404 Not Found"), "{why}");
    assert_eq!(asked.len(), 1, "what is not there is not asked for again");
}

#[test]
fn an_archive_is_unpacked() {
    if std::env::consts::ARCH != "x86_64" {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in [
        ("etcd-v3.7.3-linux-amd64/etcd", "#!/bin/sh\necho etcd Version: 3.7.3\n"),
        ("etcd-v3.7.3-linux-amd64/README.md", "x"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    let archive = tar.into_inner().unwrap().finish().unwrap();
    let base = "/etcd-io/etcd/releases/download/v3.7.3";
    let sums = format!(
        "{}  etcd-v3.7.3-darwin-arm64.zip\n{}  etcd-v3.7.3-linux-amd64.tar.gz\n",
        sha256(b"x"),
        sha256(&archive)
    );
    let pages = BTreeMap::from([
        (format!("{base}/etcd-v3.7.3-linux-amd64.tar.gz"), vec![Page::new("200 OK", &archive)]),
        (format!("{base}/SHA256SUMS"), vec![Page::new("200 OK", sums.as_bytes())]),
    ]);
    let (url, _) = mirror(pages);
    let asked = |names: &[&str]| {
        let request =
            Request { mirror: Some(url.clone()), ..request(dir.path(), names, &[Source::Cache, Source::Mirror]) };
        fetch(&request, &|_| {}).map_err(|missing| missing.to_string())
    };
    assert_eq!(asked(&["etcd"]).unwrap().iter().next().unwrap().version.as_deref(), Some("3.7.3"));
    let why = asked(&["etcdctl"]).unwrap_err();
    assert!(why.contains("does not hold etcdctl"), "{why}");
}
