//! haproxy before the API servers, as kubeadm's guide to high availability configures it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Where haproxy says that it runs.
pub const HEALTH: &str = "http://127.0.0.1:8404/health";

/// `haproxy.cfg`: TCP to the API servers, each asked for `/readyz` over HTTPS; `ca` is the file of the CA that signs
/// their certificates.
#[must_use]
pub fn configuration(addresses: &[SocketAddr], backends: &BTreeMap<String, SocketAddr>, ca: &str) -> String {
    let binds: String = addresses.iter().map(|address| format!("    bind {address}\n")).collect();
    let server = |(name, address): (&String, &SocketAddr)| {
        format!("    server {name} {address} check check-ssl verify required ca-file {ca} inter 1s fall 2 rise 1\n")
    };
    let servers: String = backends.iter().map(server).collect();
    format!(
        "global
    log stdout format raw local0
    maxconn 4096

defaults
    mode tcp
    log global
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 2s

frontend health
    mode http
    bind 127.0.0.1:8404
    monitor-uri /health

frontend apiserver
{binds}    option tcplog
    default_backend apiservers

backend apiservers
    option httpchk GET /readyz
    http-check expect status 200
    balance leastconn
    # A connection to one that fell ill would wait on a silence.
    default-server on-marked-down shutdown-sessions
{servers}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn haproxy_itself_takes_it() {
        let Ok(version) = std::process::Command::new("haproxy").arg("-v").output() else {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs haproxy");
            return;
        };
        assert!(version.status.success());
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.crt");
        let spec = crate::pki::Spec::new("cp1", "192.0.2.1".parse().unwrap(), jiff::Timestamp::now());
        let spec = crate::pki::Spec { algorithm: crate::pki::Algorithm::EcdsaP256, ..spec };
        crate::pki::issue(&spec, folder.path()).unwrap();
        let backends = BTreeMap::from([("cp1".to_owned(), "[2001:db8::1]:6443".parse().unwrap())]);
        let addresses = ["192.0.2.7:6443".parse().unwrap(), "[2001:db8::7]:6443".parse().unwrap()];
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(&addresses, &backends, &ca.display().to_string())).unwrap();
        let checked = std::process::Command::new("haproxy").args(["-c", "-f"]).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}
