//! Who wrote what: the audit logs of the API servers, which know from which host a controller-manager or a
//! scheduler asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use seaworthy_history::Act;
use serde_json::Value;

use super::clock::Clock;
use crate::cluster::Ours;

/// Where the policy is put on control planes, below `/etc/kubernetes`.
pub(super) const POLICY_FILE: &str = "audit-policy.yaml";
/// Where the log is.
const LOG: &str = "/var/log/audit.log";

/// Only what the controller-manager and the scheduler write.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: None
  resources:
  - {group: coordination.k8s.io}
  - {group: authentication.k8s.io}
  - {group: authorization.k8s.io}
  - {group: '', resources: [events, serviceaccounts/token]}
  - {group: events.k8s.io}
- level: Metadata
  users: ['system:kube-scheduler', 'system:kube-controller-manager']
- level: Metadata
  userGroups: ['system:serviceaccounts:kube-system']
- level: None
";

/// The flags of the API server, as kubeadm's document.
pub(super) const KUBEADM: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs:
  - {name: audit-policy-file, value: /etc/kubernetes/audit-policy.yaml}
  - {name: audit-log-path, value: /var/log/audit.log}
";

/// How long each host's log is.
pub(super) async fn sizes(ours: &Ours, hosts: impl Iterator<Item = &String>) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for host in hosts {
        let size = ours.exec(host, &["stat", "-c", "%s", LOG]).await.ok();
        let size = size.and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok());
        sizes.insert(host.clone(), size.unwrap_or_default());
    }
    sizes
}

/// What was written since the logs had these sizes. An error names the host whose log cannot be read.
pub(super) async fn acts(
    ours: &Ours,
    since: &BTreeMap<String, u64>,
    hosts: &BTreeMap<IpAddr, String>,
    clock: Clock,
) -> Result<Vec<Act>, String> {
    let mut acts = Vec::new();
    for (host, size) in since {
        let from = format!("+{}", size + 1);
        let output = ours.exec(host, &["tail", "-c", &from, LOG]).await.map_err(|error| format!("{host}: {error}"))?;
        if !output.status.success() {
            return Err(format!("{host}: {LOG} cannot be read: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        acts.extend(lines.filter_map(|event| act(&event, hosts, clock)));
    }
    acts.sort_by_key(|act| act.at);
    Ok(acts)
}

/// A write that succeeded, and whose author is one of the two.
fn act(event: &Value, hosts: &BTreeMap<IpAddr, String>, clock: Clock) -> Option<Act> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let agent = text("/userAgent")?;
    let lease = super::watcher::LEASES.into_iter().find(|lease| agent.starts_with(lease))?;
    let code = event.pointer("/responseStatus/code").and_then(Value::as_u64)?;
    if !(200..300).contains(&code) {
        return None;
    }
    let author = hosts.get(&text("/sourceIPs/0")?.parse().ok()?)?;
    let resource = [text("/objectRef/resource"), text("/objectRef/subresource")];
    let resource: Vec<_> = resource.into_iter().flatten().collect();
    Some(Act {
        at: clock.wall(text("/requestReceivedTimestamp")?.parse().ok()?),
        lease: lease.to_owned(),
        author: author.clone(),
        what: format!("{} {} {}", text("/verb")?, resource.join("/"), text("/objectRef/name").unwrap_or_default())
            .trim()
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_act_is_a_write_that_succeeded() {
        let hosts = BTreeMap::from([("10.0.0.11".parse().unwrap(), "cp1".to_owned())]);
        let event = |agent: &str, code: u16| {
            json!({
                "userAgent": agent, "verb": "create", "sourceIPs": ["10.0.0.11"],
                "responseStatus": { "code": code },
                "objectRef": { "resource": "pods", "subresource": "binding", "name": "work-1" },
                "requestReceivedTimestamp": jiff::Timestamp::now().to_string(),
            })
        };
        let found = |event: &Value| act(event, &hosts, Clock::new()).map(|act| (act.lease, act.author, act.what));
        let wanted = ["kube-scheduler", "cp1", "create pods/binding work-1"].map(str::to_owned);
        assert_eq!(found(&event("kube-scheduler/v1.37.2 (linux/amd64)", 201)), Some(wanted.into()));
        assert_eq!(found(&event("kube-scheduler/v1.37.2 (linux/amd64)", 409)), None);
        assert_eq!(found(&event("kubelet/v1.37.2", 201)), None);
    }

    #[test]
    fn flags_and_policy_name_the_same_files() {
        assert!(KUBEADM.contains(LOG) && KUBEADM.contains(POLICY_FILE));
    }
}
