//! What a pod is called, and how it resolves names: hostname, /etc/hosts, resolv.conf.

use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Ctx, Pod, Requirement, Stop, container};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "identity",
    caught_by: "runtime-loses-identity",
    why: "Clustered programs find themselves and each other by host names; a wrong resolv.conf fails every look-up.",
    how: "Runs a pod that prints its host name, /etc/hosts and /etc/resolv.conf.",
    fix: "Look at clusterDNS, clusterDomain and resolvConf of the kubelet, and for a wrapper around the OCI runtime.",
    basis: ("DNS for Services and Pods", "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/"),
};

/// Rejections by the API server, which a policy that drops the field prevents.
const REJECTED: Area = Area { caught_by: "host-names-are-stripped", ..AREA };

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = hosts();
    trials.extend(names());
    trials.extend(dns());
    trials
}

fn hosts() -> Vec<Trial> {
    vec![
        AREA.claim(
            "etc-hosts",
            "The kubelet manages /etc/hosts, except where a container mounts its own or \
                                 is in the node's network",
            managed,
        )
        .covers("KubeletManagedEtcHosts should test kubelet managed /etc/hosts file")
        .trial(),
        AREA.claim("host-aliases", "hostAliases are entries in /etc/hosts", |ctx| aliases(ctx, false))
            .covers("Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts")
            .trial(),
        AREA.claim(
            "host-aliases-host-network",
            "hostAliases are entries in /etc/hosts, also in the network \
                                                 of the node",
            |ctx| aliases(ctx, true),
        )
        .covers(
            "Kubelet with pods in a privileged namespace when scheduling an agnhost Pod with hostAliases \
                and hostNetwork \
                 should write entries to /etc/hosts when hostNetwork is enabled",
        )
        .trial(),
    ]
}

/// In the network of the node the line goes on: the file is the node's, with the entries of hostAliases.
const MANAGED: &str = "# Kubernetes-managed hosts file.";

async fn managed(ctx: Ctx) -> Result<(), Stop> {
    let own = super::merged(
        container("own", "cat /etc/hosts"),
        json!({ "volumeMounts": [{ "name": "hosts", "mountPath": "/etc/hosts" }] }),
    );
    let pod = Pod::new("managed", "cat /etc/hosts")
        .and(container("second", "cat /etc/hosts"))
        .and(own)
        .source("hosts", json!({ "hostPath": { "path": "/etc/hosts", "type": "File" } }));
    let printed = ctx.output(&pod).await?;
    let ip = ctx.get(&ctx.pod("managed")).await?["status"]["podIP"].as_str().unwrap_or_default().to_owned();
    ctx.prints("the first container", &printed, MANAGED);
    ctx.prints("the first container", &printed, &format!("{ip}\tmanaged"));
    ctx.prints("the second container", &ctx.logs("managed", "second").await?, MANAGED);
    let own = ctx.logs("managed", "own").await?;
    ctx.expect("a container that mounts its own", "it is managed", &own.starts_with(MANAGED), &false);
    let host = Pod::new("host", "cat /etc/hosts").spec(json!({ "hostNetwork": true }));
    let printed = ctx.output(&host).await?;
    ctx.expect("a container in the node's network", "it is managed", &printed.starts_with(MANAGED), &false);
    // It is the node's file, perhaps below a line that says so.
    let lines = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    ctx.expect("a container in the node's network", "it has the node's entries", &lines(&printed), &lines(&own));
    Ok(())
}

async fn aliases(ctx: Ctx, host_network: bool) -> Result<(), Stop> {
    let aliases =
        json!([{ "ip": "123.45.67.89", "hostnames": ["foo", "bar"] }, { "ip": "2001:db8::7", "hostnames": ["six"] }]);
    let pod =
        Pod::new("aliases", "cat /etc/hosts").spec(json!({ "hostAliases": aliases, "hostNetwork": host_network }));
    let printed = ctx.output(&pod).await?;
    ctx.line("/etc/hosts", &printed, "123.45.67.89\tfoo\tbar");
    ctx.line("/etc/hosts", &printed, "2001:db8::7\tsix");
    Ok(())
}

fn names() -> Vec<Trial> {
    let said = |id: &'static str, title: &'static str, words: &'static str, spec: fn() -> Value, name: &'static str| {
        let claim = AREA.claim(id, title, move |ctx| async move {
            let printed = ctx.output(&Pod::new("named", "hostname").spec(spec())).await?;
            ctx.line("the host name", &printed, name);
            Ok(())
        });
        if words.is_empty() {
            return claim.alias("hostname").trial();
        }
        claim.covers(&format!("Override hostname of Pod {words}")).requires(Requirement::KubernetesFrom(35)).trial()
    };
    let refused =
        |id: &'static str, title: &'static str, words: &'static str, spec: fn() -> Value, reason: &'static str| {
            REJECTED
                .claim(id, title, move |ctx| async move {
                    match ctx.try_put(&Pod::new("refused", "exit 0").spec(spec())).await? {
                        Ok(_) => {
                            ctx.breach("refused", format!("the pod is accepted; expected a refusal about {reason}"))
                        }
                        Err(why) => ctx.prints("the refusal", &why.message, reason),
                    }
                    Ok(())
                })
                .covers(&format!("Override hostname of Pod {words}"))
                .requires(Requirement::KubernetesFrom(35))
                .trial()
        };
    vec![
        said("hostname-of-pod", "A pod's host name is its name", "", || json!({}), "named"),
        said("hostname", "hostname is the host name of a pod", "", || json!({ "hostname": "chosen" }), "chosen"),
        AREA.claim(
            "fqdn",
            "With setHostnameAsFQDN the host name is the whole name in the domain of the cluster",
            |ctx| async move {
                let spec = json!({ "hostname": "host", "subdomain": "sub", "setHostnameAsFQDN": true });
                let printed = ctx.output(&Pod::new("named", "hostname").spec(spec)).await?;
                ctx.prints("the host name", &printed, &format!("host.sub.{}.svc.", ctx.namespace()));
                Ok(())
            },
        )
        .alias("setHostnameAsFQDN")
        .trial(),
        said(
            "override-subdomain",
            "hostnameOverride may be a name in a domain",
            "a pod has hostnameOverride field with value that is a valid DNS subdomain.",
            || json!({ "hostnameOverride": "override.example.host" }),
            "override.example.host",
        ),
        said(
            "override-hostname",
            "hostnameOverride prevails over hostname",
            "a pod with hostname and hostnameOverride fields will have hostnameOverride as hostname",
            || json!({ "hostnameOverride": "override-host", "hostname": "custom-host" }),
            "override-host",
        ),
        said(
            "override",
            "hostnameOverride is the host name of a pod",
            "a pod with only hostnameOverride field will have hostnameOverride as hostname",
            || json!({ "hostnameOverride": "override-host" }),
            "override-host",
        ),
        said(
            "override-with-subdomain",
            "hostnameOverride prevails over subdomain",
            "a pod with subdomain and hostnameOverride fields will have hostnameOverride as hostname",
            || json!({ "hostnameOverride": "override-host", "subdomain": "t" }),
            "override-host",
        ),
        refused(
            "override-fqdn",
            "hostnameOverride together with setHostnameAsFQDN is refused",
            "a pod with setHostnameAsFQDN and hostnameOverride fields will fail to be created",
            || json!({ "hostnameOverride": "override-host", "setHostnameAsFQDN": true }),
            "hostnameOverride",
        ),
        refused(
            "override-host-network",
            "hostnameOverride in the network of the node is refused",
            "a pod with hostNetwork and hostnameOverride fields will fail to be created",
            || json!({ "hostnameOverride": "override-host", "hostNetwork": true }),
            "hostnameOverride",
        ),
        refused(
            "override-invalid",
            "A hostnameOverride that is no DNS name is refused",
            "a pod with non-RFC1123 subdomain string for hostnameOverride field will fail to be created",
            || json!({ "hostnameOverride": "Not-RFC1123" }),
            "RFC 1123",
        ),
    ]
}

fn dns() -> Vec<Trial> {
    vec![
        AREA.claim(
            "dns-cluster-first",
            "resolv.conf names the cluster's DNS and searches the pod's \
                                         namespace",
            |ctx| async move {
                let printed = ctx.output(&Pod::new("resolver", "cat /etc/resolv.conf")).await?;
                ctx.prints("resolv.conf", &printed, "nameserver ");
                ctx.prints("resolv.conf", &printed, &format!("search {}.svc.", ctx.namespace()));
                ctx.prints("resolv.conf", &printed, "options ndots:5");
                Ok(())
            },
        )
        .alias("ClusterFirst")
        .trial(),
        AREA.claim("dns-config", "dnsConfig with the policy None is all that resolv.conf has", |ctx| async move {
            let config = json!({ "nameservers": ["1.1.1.1"], "searches": ["resolv.conf.local"],
                "options": [{ "name": "ndots", "value": "2" }] });
            let spec = json!({ "dnsPolicy": "None", "dnsConfig": config });
            let printed = ctx.output(&Pod::new("resolver", "cat /etc/resolv.conf").spec(spec)).await?;
            let mut lines: Vec<_> = printed.lines().filter(|line| !line.is_empty()).collect();
            lines.sort_unstable();
            ctx.expect(
                "resolv.conf",
                "its lines",
                &lines,
                &vec!["nameserver 1.1.1.1", "options ndots:2", "search resolv.conf.local"],
            );
            Ok(())
        })
        .alias("dnsConfig")
        .trial(),
        AREA.claim(
            "dns-default",
            "With the policy Default resolv.conf has the node's name servers",
            |ctx| async move {
                let pod = Pod::new("resolver", "cat /etc/resolv.conf").spec(json!({ "dnsPolicy": "Default" }));
                let printed = ctx.output(&pod).await?;
                if printed.contains(&format!("{}.svc.", ctx.namespace())) {
                    ctx.breach("resolv.conf", format!("it searches the cluster's domain: {printed}"));
                }
                let servers = printed.lines().filter(|line| line.starts_with("nameserver ")).count();
                ctx.expect("resolv.conf", "it names a server", &(servers > 0), &true);
                Ok(())
            },
        )
        .alias("dnsPolicy Default")
        .trial(),
    ]
}
