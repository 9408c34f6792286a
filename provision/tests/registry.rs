//! Images are made once, the same bytes each time, and the registry serves them as the distribution specification says.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use seaworthy_provision::image::{Descriptor, Digest, Image, ImageError, ImageFile, Store};
use seaworthy_provision::registry::Registry;
use serde_json::{Value, json};

fn image(source: &Path, name: &str) -> Image {
    Image {
        reference: name.parse().unwrap(),
        files: vec![ImageFile { at: "/usr/local/bin/tool".into(), source: source.to_owned(), mode: 0o755 }],
        entrypoint: vec!["/usr/local/bin/tool".to_owned()],
        command: vec!["serve".to_owned()],
        env: vec![("PATH".to_owned(), "/usr/local/bin".to_owned())],
        user: Some(65534),
        ports: vec!["8080/tcp".to_owned()],
    }
}

/// A folder with a program that is none.
fn program() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("tool");
    std::fs::write(&source, b"a program".repeat(1000)).unwrap();
    (dir, source)
}

fn json_of(store: &Store, digest: &Digest) -> Value {
    let mut text = String::new();
    store.blob(digest).unwrap().unwrap().file.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_same_files_are_the_same_image_wherever_it_is_made() {
    let (dir, source) = program();
    let one = Store::open(dir.path().join("one")).unwrap();
    let made = one.add(&image(&source, "registry.k8s.io/tool:v1")).unwrap();
    assert_eq!(one.references().unwrap().into_values().collect::<Vec<_>>(), std::slice::from_ref(&made));

    let manifest = json_of(&one, &made.digest);
    let config = json_of(&one, &serde_json::from_value(manifest["config"]["digest"].clone()).unwrap());
    assert_eq!(config["config"]["User"], "65534");
    assert_eq!(config["config"]["Entrypoint"], json!(["/usr/local/bin/tool"]));
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    let layer: Digest = serde_json::from_value(manifest["layers"][0]["digest"].clone()).unwrap();
    let mut tar = tar::Archive::new(one.blob(&layer).unwrap().unwrap().file);
    let mut seen = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
        seen.push((entry.path().unwrap().display().to_string(), header.mode().unwrap(), content.len()));
    }
    let folder = |path: &str| (path.to_owned(), 0o755, 0);
    let file = ("usr/local/bin/tool".to_owned(), 0o755, 9000);
    assert_eq!(seen, [folder("usr"), folder("usr/local"), folder("usr/local/bin"), file]);

    // Elsewhere, later, from a copy: the same digest.
    let copy = dir.path().join("copy");
    std::fs::copy(&source, &copy).unwrap();
    let other = Store::open(dir.path().join("other")).unwrap();
    assert_eq!(other.add(&image(&copy, "registry.k8s.io/tool:v1")).unwrap(), made);
}

#[test]
fn a_program_that_has_not_changed_is_not_read_again() {
    let (dir, source) = program();
    let store = Store::open(dir.path().join("store")).unwrap();
    let made = store.add(&image(&source, "registry.k8s.io/tool:v1")).unwrap();
    let layer: Descriptor = serde_json::from_value(json_of(&store, &made.digest)["layers"][0].clone()).unwrap();
    // Had it been read, the layer would be whole again.
    let path = dir.path().join("store/blobs/sha256").join(layer.digest.hex());
    let (whole, damaged) = (std::fs::read(&path).unwrap(), vec![0; usize::try_from(layer.size).unwrap()]);
    std::fs::write(&path, &damaged).unwrap();
    store.add(&image(&source, "registry.k8s.io/tool:v2")).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), damaged);
    // Half of a layer is seen, and made whole.
    std::fs::write(&path, &whole[..512]).unwrap();
    assert_eq!(store.add(&image(&source, "registry.k8s.io/tool:v2")).unwrap(), made);
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    // A change of the same length is seen.
    std::fs::write(&source, b"A program".repeat(1000)).unwrap();
    assert_ne!(store.add(&image(&source, "registry.k8s.io/tool:v1")).unwrap(), made);
    assert_eq!(store.references().unwrap().len(), 2);
}

#[test]
fn several_add_images_at_once() {
    let (dir, source) = program();
    let name = |number: usize| format!("registry.k8s.io/tool:v{number}");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (dir, source) = (&dir, &source);
            scope.spawn(move || {
                let store = Store::open(dir.path().join("store")).unwrap();
                store.add(&image(source, &name(number))).unwrap();
            });
        }
    });
    let store = Store::open(dir.path().join("store")).unwrap();
    let references: Vec<_> = store.references().unwrap().into_keys().map(|one| one.to_string()).collect();
    assert_eq!(references, (0..8).map(name).collect::<Vec<_>>());
    let blobs = std::fs::read_dir(dir.path().join("store/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 3, "a layer, a configuration and a manifest, and nothing half made");
}

#[test]
fn what_no_image_has_any_more_goes() {
    let (dir, source) = program();
    let store = Store::open(dir.path().join("store")).unwrap();
    let blobs = || std::fs::read_dir(dir.path().join("store/blobs/sha256")).unwrap().count();
    let old = store.add(&image(&source, "registry.k8s.io/tool:v1")).unwrap();
    store.add(&image(&source, "registry.k8s.io/same:v1")).unwrap();
    std::fs::write(&source, b"another program").unwrap();
    let new = store.add(&image(&source, "registry.k8s.io/tool:v1")).unwrap();
    assert_eq!(blobs(), 6, "another image has the old content");
    store.add(&image(&source, "registry.k8s.io/same:v1")).unwrap();
    assert_eq!(blobs(), 3);
    assert!(store.blob(&old.digest).unwrap().is_none());
    json_of(&store, &new.digest);
    // What was there before can come again.
    std::fs::write(&source, b"a program".repeat(1000)).unwrap();
    assert_eq!(store.add(&image(&source, "registry.k8s.io/tool:v1")).unwrap(), old);
    json_of(&store, &old.digest);
}

#[test]
fn what_cannot_be_an_image_is_named() {
    let (dir, _) = program();
    let store = Store::open(dir.path().join("store")).unwrap();
    let missing = store.add(&image(&dir.path().join("nowhere"), "registry.k8s.io/tool:v1")).unwrap_err();
    assert!(matches!(&missing, ImageError::File { path, .. } if path.ends_with("nowhere")), "{missing}");
    let folder = store.add(&image(dir.path(), "registry.k8s.io/tool:v1")).unwrap_err();
    assert!(folder.to_string().contains("it is no file"), "{folder}");
    assert_eq!(store.references().unwrap().len(), 0);
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> (u16, String) {
        (self.status, self.json()["errors"][0]["code"].as_str().unwrap().to_owned())
    }
}

fn ask(to: SocketAddr, method: &str, path: &str, header: &str) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n{header}\r\n").unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Answer { status, headers: headers.collect(), body: all[end + 4..].to_vec() }
}

#[test]
fn the_registry_serves_what_the_store_has() {
    let (dir, source) = program();
    let store = Store::open(dir.path().join("store")).unwrap();
    let made = store.add(&image(&source, "registry.k8s.io/deep/tool:v1")).unwrap();
    store.add(&Image { user: None, ..image(&source, "example.test/deep/tool:v1") }).unwrap();
    store.add(&image(&source, "registry.k8s.io/deep/tool:v2")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let registry = Registry::start(vec![TcpListener::bind("127.0.0.1:0").unwrap()], store.clone()).unwrap();
    let to = registry.addresses()[0];
    let get = |path: &str| ask(to, "GET", path, "");

    let base = get("/v2/");
    assert_eq!((base.status, base.headers["docker-distribution-api-version"].as_str()), (200, "registry/2.0"));
    let manifest = get("/v2/deep/tool/manifests/v1?ns=registry.k8s.io");
    assert_eq!(manifest.status, 200);
    assert_eq!(manifest.headers["docker-content-digest"], made.digest.to_string());
    assert_eq!(manifest.headers["content-type"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(Digest::of(&manifest.body), made.digest);
    let head = ask(to, "HEAD", "/v2/deep/tool/manifests/v1?ns=registry.k8s.io", "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], manifest.body.len().to_string());
    assert_eq!(head.headers["docker-content-digest"], made.digest.to_string());
    // The same name at another registry is another image, and by its digest it is found without its tag.
    let other = get("/v2/deep/tool/manifests/v1?ns=example.test");
    assert!(other.status == 200 && Digest::of(&other.body) != made.digest);
    assert_eq!(get(&format!("/v2/deep/tool/manifests/{}", made.digest)).body, manifest.body);

    let layer = manifest.json()["layers"][0].clone();
    let blob = format!("/v2/deep/tool/blobs/{}", layer["digest"].as_str().unwrap());
    let whole = get(&blob);
    assert_eq!(Digest::of(&whole.body).to_string(), layer["digest"]);
    assert_eq!(whole.body.len() as u64, layer["size"]);
    let part = ask(to, "GET", &blob, "Range: bytes=512-1023\r\n");
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[512..1024]));
    assert_eq!(part.headers["content-range"], format!("bytes 512-1023/{}", whole.body.len()));
    assert_eq!(ask(to, "GET", &blob, "Range: bytes=9999999-\r\n").status, 416);

    assert_eq!(get("/v2/_catalog").json(), json!({ "repositories": ["deep/tool"] }));
    assert_eq!(get("/v2/deep/tool/tags/list").json(), json!({ "name": "deep/tool", "tags": ["v1", "v2"] }));
    let first = get("/v2/deep/tool/tags/list?n=1");
    assert_eq!(first.json()["tags"], json!(["v1"]));
    assert_eq!(first.headers["link"], "</v2/deep/tool/tags/list?n=1&last=v1>; rel=\"next\"");
    assert_eq!(get("/v2/deep/tool/tags/list?n=1&last=v1").json()["tags"], json!(["v2"]));

    let nothing = Digest::of(b"nothing");
    let known = |code: &str| (404, code.to_owned());
    assert_eq!(get("/v2/deep/tool/manifests/v3").error(), known("MANIFEST_UNKNOWN"));
    assert_eq!(get("/v2/deep/tool/manifests/v2?ns=example.test").error(), known("MANIFEST_UNKNOWN"));
    assert_eq!(get(&format!("/v2/deep/tool/blobs/{nothing}")).error(), known("BLOB_UNKNOWN"));
    assert_eq!(get("/v2/nothing/tags/list").error(), known("NAME_UNKNOWN"));
    assert_eq!(get("/v1/search").error(), known("UNSUPPORTED"));
    assert_eq!(get("/v2/..%2f/manifests/v1").error(), (400, "NAME_INVALID".to_owned()));
    let pushed = ask(to, "POST", "/v2/deep/tool/blobs/uploads/", "Content-Length: 0\r\n");
    assert_eq!(pushed.error(), (405, "UNSUPPORTED".to_owned()));
    assert_eq!(pushed.headers["allow"], "GET, HEAD");

    // A socket that is kept is free for the next registry; nothing is left of this one.
    runtime.block_on(registry.stop(Duration::from_secs(5)));
    assert!(TcpStream::connect(to).is_err());
}
