//! TLS servers of every kind, listened to over real sockets: what they serve, whom they ask for, what they accept.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use seaworthy_checks::host::hello::Version;
use seaworthy_checks::host::{Clock, Host, LiveHost, Query, RefusalKind, Reply, Served, Survey, TlsCall, Welcome};
use serde::de::DeserializeOwned;

fn ask(address: SocketAddr, call: TlsCall) -> Result<Reply, RefusalKind> {
    let host = LiveHost::open(Path::new("/")).unwrap();
    host.ask(&Query::Tls { address: address.to_string(), call }).map_err(|refusal| refusal.kind)
}

fn said<T: DeserializeOwned>(address: SocketAddr, call: TlsCall) -> T {
    match ask(address, call).unwrap() {
        Reply::Value(value) => T::deserialize(&*value).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn served(address: SocketAddr, name: Option<&str>) -> Served {
    said(address, TlsCall::Served { name: name.map(str::to_owned) })
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(name: &str, ca: &CertifiedIssuer<'_, KeyPair>) -> (CertificateDer<'static>, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.signed_by(&key, ca).unwrap().der().clone(), key)
}

fn certified(name: &str, ca: &CertifiedIssuer<'_, KeyPair>) -> Arc<CertifiedKey> {
    let (leaf, key) = leaf(name, ca);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    Arc::new(CertifiedKey::new(vec![leaf, ca.der().clone()], key))
}

/// Serves one certificate to those who name it, and another to the rest, as kube-apiserver does with its loopback
/// client.
#[derive(Debug)]
struct ByName {
    name: &'static str,
    named: Arc<CertifiedKey>,
    rest: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(if hello.server_name() == Some(self.name) { self.named.clone() } else { self.rest.clone() })
    }
}

/// Whom a server asks for a certificate, and whether it insists.
enum Clients<'a> {
    Nobody,
    May(&'a CertifiedIssuer<'static, KeyPair>),
    Must(&'a CertifiedIssuer<'static, KeyPair>),
}

/// A server on a port of its own, as long as the test runs. It answers every request with 401.
fn serve(resolver: Arc<dyn ResolvesServerCert>, clients: &Clients<'_>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let verifier = |ca: &CertifiedIssuer<'_, KeyPair>, must: bool| {
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        if must { builder.build().unwrap() } else { builder.allow_unauthenticated().build().unwrap() }
    };
    let builder = match clients {
        Clients::Nobody => builder.with_no_client_auth(),
        Clients::May(ca) => builder.with_client_cert_verifier(verifier(ca, false)),
        Clients::Must(ca) => builder.with_client_cert_verifier(verifier(ca, true)),
    };
    let config = Arc::new(builder.with_cert_resolver(resolver));
    answer_each(move |stream| {
        let Ok(connection) = ServerConnection::new(config.clone()) else { return };
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = [0; 512];
        if stream.read(&mut request).is_ok_and(|count| count > 0) {
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").ok();
        }
        stream.conn.send_close_notify();
        stream.flush().ok();
    })
}

/// A server that answers every request with this.
fn say(ca: &CertifiedIssuer<'static, KeyPair>, answer: impl Fn() -> String + Send + Sync + 'static) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = certified("kubernetes", ca);
    let resolver = Arc::new(ByName { name: "", named: key.clone(), rest: key });
    let config = Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver));
    answer_each(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        if stream.read(&mut [0; 512]).is_ok_and(|count| count > 0) {
            stream.write_all(answer().as_bytes()).ok();
        }
        stream.conn.send_close_notify();
        stream.flush().ok();
    })
}

#[test]
fn what_time_it_is_to_a_server_is_between_two_times() {
    let ca = authority("kubernetes");
    let refused = |fields: &str| format!("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n{fields}\r\n");
    // Its clock is an hour behind: however long the way takes, that is in what is said.
    let behind = say(&ca, move || {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
        refused(&format!("Date: {}\r\n", then.strftime("%a, %d %b %Y %H:%M:%S GMT")))
    });
    let Clock { at_least, at_most } = said(behind, TlsCall::Clock);
    assert!((at_least..=at_most).contains(&-3_600_000), "{at_least} to {at_most}");
    // One that stands still.
    let still = say(&ca, move || refused("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    let before = jiff::Timestamp::now();
    let clock: Clock = said(still, TlsCall::Clock);
    let after = jiff::Timestamp::now();
    let stood = |now: jiff::Timestamp| 784_111_777_000 - now.as_millisecond();
    assert!(clock.at_least >= stood(after) && clock.at_most <= stood(before) + 1000, "{clock:?}");
    assert!(clock.seconds() < -900_000_000, "{clock:?}");

    assert_eq!(ask(say(&ca, move || refused("")), TlsCall::Clock), Err(RefusalKind::Absent));
    assert_eq!(ask(say(&ca, || "SSH-2.0-x\r\n".to_owned()), TlsCall::Clock), Err(RefusalKind::Failed));
    assert_eq!(ask(answer_each(drop), TlsCall::Clock), Err(RefusalKind::Failed));
}

fn answer_each(answer: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

#[test]
fn the_chain_is_what_the_server_presents_to_that_name() {
    let ca = authority("kubernetes");
    let (named, rest) = (certified("apiserver-loopback-client", &ca), certified("kubernetes", &ca));
    let wanted = |key: &CertifiedKey| key.cert.iter().map(|der| der.to_vec()).collect::<Vec<_>>();
    let (loopback, usual) = (wanted(&named), wanted(&rest));
    let address = serve(Arc::new(ByName { name: "apiserver-loopback-client", named, rest }), &Clients::Nobody);
    let without = served(address, None);
    assert_eq!(without.chain, usual);
    assert_eq!((without.version.as_deref(), without.request, without.failure), (Some("TLS 1.3"), None, None));
    assert_eq!(served(address, Some("apiserver-loopback-client")).chain, loopback);
    assert_eq!(served(address, Some("kubernetes.default.svc")).chain, usual);
    let welcome: Welcome = said(address, TlsCall::Welcome { path: "/pods".to_owned() });
    assert_eq!(welcome, Welcome::Status(401));
}

#[test]
fn the_cas_whose_clients_are_taken_are_seen_and_whether_one_is_needed() {
    let (ca, etcd) = (authority("kubernetes"), authority("etcd-ca"));
    let server = || Arc::new(ByName { name: "", named: certified("a", &ca), rest: certified("a", &ca) });
    let subject = |issuer: &CertifiedIssuer<'_, KeyPair>| {
        let (_, certificate) = x509_parser::parse_x509_certificate(issuer.der()).unwrap();
        certificate.subject().as_raw().to_vec()
    };
    let may = serve(server(), &Clients::May(&ca));
    let must = serve(server(), &Clients::Must(&etcd));
    let request = served(may, None).request.unwrap();
    assert_eq!(request.authorities, [subject(&ca)]);
    assert!(request.schemes.contains(&0x0403), "{:x?}", request.schemes);
    let seen = served(must, None);
    assert_eq!(seen.request.unwrap().authorities, [subject(&etcd)]);
    assert_eq!(seen.chain.len(), 2, "the chain is seen even where we are not let in");
    let welcome = |address| said::<Welcome>(address, TlsCall::Welcome { path: "/".to_owned() });
    assert_eq!(welcome(may), Welcome::Status(401));
    assert_eq!(welcome(must), Welcome::Alert("certificate_required".to_owned()));
}

#[test]
fn a_good_server_is_surveyed() {
    let ca = authority("kubernetes");
    let key = certified("a", &ca);
    let survey: Survey =
        said(serve(Arc::new(ByName { name: "", named: key.clone(), rest: key }), &Clients::Nobody), TlsCall::Survey);
    assert_eq!(survey.suites.keys().copied().collect::<Vec<_>>(), [Version::Tls12, Version::Tls13]);
    assert_eq!(survey.suites[&Version::Tls13].len(), 3);
    assert!(survey.suites[&Version::Tls12].iter().all(|name| name.starts_with("TLS_ECDHE_ECDSA_WITH_")));
    assert!(survey.groups.contains(&"X25519MLKEM768".to_owned()), "{:?}", survey.groups);
    assert_eq!((survey.signs_sha1, survey.cut, survey.plain), (false, None, None));
}

#[test]
fn what_is_no_tls_server_is_said_to_be_none() {
    let http = answer_each(|mut stream| {
        let mut request = [0; 64];
        let _ = stream.read(&mut request);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
    });
    let survey: Survey = said(http, TlsCall::Survey);
    assert_eq!(survey.plain.as_deref(), Some("HTTP/1.1 400 Bad Request"));
    assert!(survey.suites.is_empty());
    let garbage = answer_each(|mut stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").ok();
        let _ = stream.read(&mut [0; 1024]);
    });
    let survey: Survey = said(garbage, TlsCall::Survey);
    assert_eq!(survey.cut.as_deref(), Some("the answer is not TLS: its first byte is 0x53"));
    assert!(served(garbage, None).chain.is_empty());
    let closing = answer_each(drop);
    assert_eq!(said::<Survey>(closing, TlsCall::Survey), Survey::default());
    assert!(served(closing, None).failure.is_some());
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for call in [TlsCall::Survey, TlsCall::Served { name: None }, TlsCall::Welcome { path: "/".to_owned() }] {
        assert_eq!(ask(nobody, call), Err(RefusalKind::Absent));
    }
}

#[test]
fn a_server_that_says_nothing_does_not_hold_us() {
    let silent = answer_each(|stream| {
        std::thread::park();
        drop(stream);
    });
    let survey: Survey = said(silent, TlsCall::Survey);
    assert_eq!(survey.cut, Some(format!("{silent}: no answer to a ClientHello of TLS 1.3")));
    assert!(served(silent, None).failure.unwrap().contains("longer than"));
    let welcome = |address| ask(address, TlsCall::Welcome { path: "/pods".to_owned() });
    assert_eq!(welcome(silent), Err(RefusalKind::TimedOut), "no answer is no refusal");
    // One that shakes hands, and then thinks for ever.
    let pondering = say(&authority("kubernetes"), || {
        std::thread::park();
        String::new()
    });
    assert_eq!(welcome(pondering), Err(RefusalKind::TimedOut));
}

/// A server that speaks what rustls does not, by `openssl s_server`.
struct OpenSsl(Child, SocketAddr);

impl Drop for OpenSsl {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl OpenSsl {
    fn serve(folder: &Path, arguments: &[&str]) -> Option<Self> {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = CertificateParams::new(vec!["old".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (crt, pem) = (folder.join("old.crt"), folder.join("old.key"));
        std::fs::write(&crt, certificate.pem()).unwrap();
        std::fs::write(&pem, key.serialize_pem()).unwrap();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert"]).arg(&crt).arg("-key").arg(&pem).args(arguments);
        let Ok(mut child) = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs openssl");
            println!("skipped: it needs openssl");
            return None;
        };
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok());
        // What it says further is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("openssl says where it listens");
        Some(Self(child, address))
    }
}

#[test]
fn a_server_that_rustls_cannot_talk_to_is_seen_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-tls1_1", "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"];
    let Some(server) = OpenSsl::serve(folder.path(), &arguments) else { return };
    let survey: Survey = said(server.1, TlsCall::Survey);
    assert_eq!(survey.suites.keys().copied().collect::<Vec<_>>(), [Version::Tls11], "{survey:?}");
    let suites = &survey.suites[&Version::Tls11];
    for suite in ["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_NULL_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"] {
        assert!(suites.iter().any(|own| own == suite), "{suite} is not among {suites:?}");
    }
    let seen = served(server.1, None);
    assert_eq!((seen.version.as_deref(), seen.chain.len()), (Some("TLS 1.1"), 1));
}

#[test]
fn a_server_that_signs_with_nothing_but_sha_1_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256:AES128-SHA:@SECLEVEL=0", "-sigalgs", "RSA+SHA1"];
    let Some(server) = OpenSsl::serve(folder.path(), &arguments) else { return };
    let survey: Survey = said(server.1, TlsCall::Survey);
    assert!(survey.signs_sha1 && survey.only_sha1, "{survey:?}");
    let suites = &survey.suites[&Version::Tls12];
    assert_eq!(suites.len(), 2, "{suites:?}");
}
