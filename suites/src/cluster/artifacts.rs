//! What a failing act leaves to read: its steps, its objects with their events, and the logs of its own time window.

use super::{Ctx, Ref};
use http::Method;

/// The kinds of which the objects in an act's namespace are kept. No Secret is among them.
const KINDS: [(&str, &str); 6] = [
    ("v1", "Pod"),
    ("v1", "Service"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("v1", "Event"),
];
/// Whose logs are kept on clusters of ours, by the beginning of the host's name.
const COMPONENTS: [(&str, &[&str]); 2] =
    [("cp", &["kube-apiserver", "kube-controller-manager", "kube-scheduler"]), ("worker", &["kubelet", "kube-proxy"])];
/// The most lines of a log.
const LINES: usize = 400;

/// A file beside the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its name: `objects.yaml`.
    pub name: String,
    /// What is in it.
    pub content: String,
}

/// Gathers what can still be had. It is asked for after a failure, and so nothing here fails.
pub(super) async fn gather(ctx: &Ctx) -> Vec<Artifact> {
    let steps = ctx.steps();
    let lines = steps.iter().map(|step| format!("{}  {}\n", step.at.strftime("%H:%M:%S%.3f"), step.text));
    let mut artifacts = vec![Artifact { name: "steps.txt".to_owned(), content: lines.collect() }];
    let mut objects = String::new();
    for (version, kind) in KINDS {
        let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all(version, kind) };
        let Ok(items) = ctx.list(&place).await else { continue };
        for mut item in items {
            item["apiVersion"] = version.into();
            item["kind"] = kind.into();
            if let Some(metadata) = item["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            objects += "---\n";
            objects += &serde_saphyr::to_string(&item).unwrap_or_else(|_| item.to_string());
        }
    }
    if !objects.is_empty() {
        artifacts.push(Artifact { name: "objects.yaml".to_owned(), content: objects });
    }
    artifacts.extend(pod_logs(ctx).await);
    artifacts.extend(component_logs(ctx).await);
    artifacts
}

async fn pod_logs(ctx: &Ctx) -> Vec<Artifact> {
    let place = Ref { namespace: Some(ctx.namespace().to_owned()), ..Ref::all("v1", "Pod") };
    let mut logs = Vec::new();
    for pod in ctx.list(&place).await.unwrap_or_default().iter().take(8) {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{}/pods/{name}/log?tailLines={LINES}", ctx.namespace());
        if let Ok(Ok(content)) = ctx.text(Method::GET, &path).await
            && !content.is_empty()
        {
            logs.push(Artifact { name: format!("pod-{name}.log"), content });
        }
    }
    logs
}

async fn component_logs(ctx: &Ctx) -> Vec<Artifact> {
    let Some(ours) = &ctx.target().ours else { return Vec::new() };
    let status = ours.status().await.unwrap_or_default();
    let hosts = status["hosts"].as_array().cloned().unwrap_or_default();
    let from = ctx.begun().strftime("%m%d %H:%M:%S").to_string();
    let mut logs = Vec::new();
    for host in hosts.iter().filter_map(|host| host["name"].as_str()) {
        for component in COMPONENTS.iter().filter(|(start, _)| host.starts_with(start)).flat_map(|(_, all)| *all) {
            let text = ours.log(host, component, LINES).await.unwrap_or_default();
            let content = since(&text, &from);
            if !content.is_empty() {
                logs.push(Artifact { name: format!("{host}-{component}.log"), content });
            }
        }
    }
    logs
}

/// The lines of a log from a time on. Lines of klog begin with a letter and `MMDD HH:MM:SS`; what follows one belongs
/// to it.
fn since(text: &str, from: &str) -> String {
    let time = |line: &str| line.get(1..14).filter(|time| time.as_bytes()[4] == b' ').map(str::to_owned);
    let lines = text.lines().skip_while(|line| time(line).is_none_or(|time| time.as_str() < from));
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_begins_where_the_act_did() {
        let log = "I1130 10:00:00.000001 1 a.go:1] old\nI1130 10:00:05.000001 1 a.go:1] new\n\tstack\n\
                   E1130 10:00:06.0 x\n";
        assert_eq!(since(log, "1130 10:00:05").lines().count(), 3);
        assert_eq!(since(log, "1130 11:00:00"), "");
        assert_eq!(since("{}", "1130 11:00:00"), "");
    }

    #[test]
    fn no_secret_is_kept() {
        assert!(KINDS.iter().all(|(_, kind)| *kind != "Secret" && *kind != "ConfigMap"));
    }
}
