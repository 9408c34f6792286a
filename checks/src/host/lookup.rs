//! Name resolution as the node does it: its /etc/hosts, then its name servers.
//!
//! The C library's resolver would read our files and load plug-ins, which a static program cannot.

use std::net::IpAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::live::LiveHost;
use super::{Answer, Host, Refusal, RefusalKind};

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn lookup(host: &LiveHost, name: &str) -> Answer {
    let no_dns = host.no_dns();
    let host: &dyn Host = host;
    let wanted = name.to_lowercase();
    if let Some(hosts) = host.text("/etc/hosts").known() {
        let addresses: Vec<_> = hosts
            .lines()
            .filter_map(|line| {
                let mut words = line.split('#').next()?.split_whitespace();
                let address = words.next()?;
                words.any(|word| word.to_lowercase() == wanted).then(|| address.to_owned())
            })
            .collect();
        if !addresses.is_empty() {
            return Ok(serde_json::Value::from(addresses).into());
        }
    }
    if let Some(why) = no_dns {
        return Err(Refusal::new(RefusalKind::NotAsked, why));
    }
    let servers: Vec<IpAddr> = host
        .text("/etc/resolv.conf")
        .known()
        .map(|text| {
            let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
            servers.take(3).collect()
        })
        .unwrap_or_default();
    if servers.is_empty() {
        return Err(Refusal::new(
            RefusalKind::Absent,
            format!("{name} is not in /etc/hosts, and there is no name server to ask"),
        ));
    }
    super::within(async {
        let servers = servers.iter().map(|&address| NameServerConfig::udp(address)).collect();
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut options = ResolverOpts::default();
        options.timeout = PATIENCE;
        options.attempts = 1;
        let failed = |why: String| Refusal::new(RefusalKind::Failed, format!("{name} cannot be looked up: {why}"));
        let resolver =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build();
        let resolver = resolver.map_err(|error| failed(error.to_string()))?;
        match tokio::time::timeout(PATIENCE * 2, resolver.lookup_ip(format!("{name}."))).await {
            Err(_) => Err(Refusal::new(
                RefusalKind::TimedOut,
                format!("{name}: no name server answered within {:?}", PATIENCE * 2),
            )),
            Ok(Ok(found)) => Ok(found.iter().map(|address| address.to_string()).collect::<serde_json::Value>().into()),
            Ok(Err(error)) if error.is_no_records_found() => {
                Err(Refusal::new(RefusalKind::Absent, format!("{name} has no address in /etc/hosts or DNS")))
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
        }
    })
}
