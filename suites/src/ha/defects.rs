//! What breaks a cluster so that drills must fail.

use std::sync::Arc;

use http::Request;
use serde_json::Value;

use super::liar::{self, Lie};
use super::watcher::LEASES;
use crate::cluster::{Defect, Target};

pub(super) static DEFECTS: [Defect; 15] = [
    Defect::raised("two-members", "etcd has two members, of which both make the majority", |need| {
        need.control_planes = 2;
    }),
    Defect::raised("one-member", "There is one control plane", |need| need.control_planes = 1),
    Defect::raised("one-dns", "CoreDNS has one replica and no PodDisruptionBudget, as with one worker", |need| {
        (need.workers, need.manifests) = (1, None);
    }),
    Defect::put("drops-writes", "A proxy before an API server acknowledges updates and drops them", |target| {
        Box::pin(async move { liar::start(&target, Lie::DroppedWrites).await })
    }),
    Defect::put("answers-old-reads", "A proxy before an API server answers old reads", |target| {
        Box::pin(async move { liar::start(&target, Lie::OldReads).await })
    }),
    Defect::put("swallows-events", "A proxy before an API server swallows events of watches", |target| {
        Box::pin(async move { liar::start(&target, Lie::SwallowedEvents).await })
    }),
    Defect::put("reorders-events", "A proxy before an API server reorders events of watches", |target| {
        Box::pin(async move { liar::start(&target, Lie::SwappedEvents).await })
    }),
    Defect::put("stale-cache", "The watch cache of an API server goes stale", |target| {
        Box::pin(async move { liar::start(&target, Lie::StaleCache).await })
    }),
    Defect::raised("no-fsync", "etcd acknowledges before its disk does", |need| need.durable = false),
    Defect::put("balancer-keeps-the-dead", "The load balancer does not ask its backends for their health", |target| {
        Box::pin(async move {
            let change = "sed -i 's/\"unchecked\": false/\"unchecked\": true/' /var/lib/balancer.json";
            target.on_hosts("harbor", &["sh", "-c", change]).await?;
            fault(&target, &["restart", "harbor/load-balancer"]).await
        })
    }),
    Defect::put("balancer-does-not-restart", "The load balancer's configuration on disk is broken", |target| {
        Box::pin(async move { target.on_hosts("harbor", &["sh", "-c", "echo '{' > /var/lib/balancer.json"]).await })
    }),
    Defect::put("two-schedulers", "A second scheduler does not elect a leader", |target| {
        Box::pin(async move { second_scheduler(&target).await })
    }),
    Defect::put("no-standby", "Only the leaders among controller-managers and schedulers run", |target| {
        Box::pin(async move { no_standby(&target).await })
    }),
    Defect::raised("endless-lease", "The Leases of the control plane hold for ten minutes", |need| {
        need.kubeadm = Some(ENDLESS);
    }),
    Defect::put("no-controller-manager", "No controller-manager runs", |target| {
        Box::pin(async move {
            let hosts = planes(&target).await?.join(",");
            fault(&target, &["stop", &format!("{hosts}/kube-controller-manager")]).await
        })
    }),
];

const ENDLESS: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs:
  - {name: audit-policy-file, value: /etc/kubernetes/audit-policy.yaml}
  - {name: audit-log-path, value: /var/log/audit.log}
controllerManager:
  extraArgs:
  - {name: leader-elect-lease-duration, value: 10m}
  - {name: leader-elect-renew-deadline, value: 5m}
scheduler:
  extraArgs:
  - {name: leader-elect-lease-duration, value: 10m}
  - {name: leader-elect-renew-deadline, value: 5m}
";

async fn fault(target: &Target, words: &[&str]) -> Result<(), String> {
    let ours = target.ours.as_ref().ok_or("faults need a cluster of ours")?;
    let output = ours.fault(words).await.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

async fn planes(target: &Target) -> Result<Vec<String>, String> {
    let ours = target.ours.as_ref().ok_or("the hosts cannot be entered")?;
    let status = ours.status().await.map_err(|error| error.to_string())?;
    let hosts = status["hosts"].as_array().cloned().unwrap_or_default();
    let names = hosts.iter().filter_map(|host| host["name"].as_str()).filter(|name| name.starts_with("cp"));
    Ok(names.map(str::to_owned).collect())
}

async fn holder(target: &Target, lease: &str) -> Result<String, String> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{lease}");
    let request = Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let lease: Value = target.client.request(request).await.map_err(|error| error.to_string())?;
    let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    Ok(holder.split('_').next().unwrap_or(holder).to_owned())
}

async fn no_standby(target: &Arc<Target>) -> Result<(), String> {
    for component in LEASES {
        let leader = holder(target, component).await?;
        let others: Vec<_> = planes(target).await?.into_iter().filter(|host| *host != leader).collect();
        fault(target, &["kill", &format!("{}/{component}", others.join(","))]).await?;
    }
    Ok(())
}

async fn second_scheduler(target: &Arc<Target>) -> Result<(), String> {
    let leader = holder(target, "kube-scheduler").await?;
    let other = planes(target).await?.into_iter().find(|host| *host != leader).ok_or("there is one control plane")?;
    // With the arguments of the one that runs there, in a session of its own so that it outlives the command.
    let script = "for p in /proc/[0-9]*; do case \"$(tr '\\0' ' ' < $p/cmdline)\" in */kube-scheduler\\ *) \
                  set -- $(tr '\\0' ' ' < $p/cmdline); \
                  setsid \"$@\" --leader-elect=false --secure-port=10269 > /var/log/second.log 2>&1 < /dev/null & \
                  exit 0;; esac; done; exit 1";
    target.on_hosts(&other, &["sh", "-c", script]).await
}
