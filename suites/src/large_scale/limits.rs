//! The limits of size, each a claim over counts; read only.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use seaworthy_reports::Severity;
use seaworthy_scale::audit::{Flags, Row, Usage, gather, rows};
use tokio::sync::Mutex;

use super::cluster;
use crate::cluster::{Claim, Ctx, Ours, Stop};
use crate::trial::Trial;

/// What catches rows of which no cluster in CI is beyond: a unit test goes the smallest step beyond each.
const UNIT: &str = "the-smallest-step-beyond";

/// Which defect of a cluster catches a row.
fn caught_by(id: &str) -> &'static str {
    match id {
        "pods-per-namespace" => "namespace-over-its-limits",
        "backends-per-service" => "too-many-backends",
        "etcd-size" => "etcd-near-its-quota",
        "room-for-pods" | "pods-per-node" | "control-planes-per-zone" | "object-sizes" => "crowded",
        _ => UNIT,
    }
}

/// Rows that a cluster may be beyond and still work: they are wise, not needed.
const WISE: [&str; 4] = ["events-etcd", "client-rates", "control-planes-per-zone", "room-for-pods"];

pub(super) fn trials() -> Vec<Trial> {
    let claim = |row: &'static Row| {
        let severity = if WISE.contains(&row.id) { Severity::Medium } else { Severity::High };
        let body = move |ctx: Ctx| async move { judge(&ctx, row).await };
        Claim::new(format!("large-scale.limits.{}", row.id), row.title, [cluster()], caught_by(row.id), body)
            .why(row.why)
            .how("Counts objects page by page and reads the API server's metrics. Changes nothing.")
            .fix(row.fix)
            .basis(row.basis.0, row.basis.1)
            .severity(severity)
            .label("limits")
            .without_namespace()
            .trial()
    };
    rows().iter().map(claim).collect()
}

/// Usages by cluster: all rows judge what was read once.
static USAGES: LazyLock<Mutex<HashMap<String, Arc<Usage>>>> = LazyLock::new(Mutex::default);

async fn usage(ctx: &Ctx) -> Result<Arc<Usage>, Stop> {
    let target = ctx.target();
    let mut usages = USAGES.lock().await;
    if let Some(usage) = usages.get(&target.facts.uid) {
        return Ok(Arc::clone(usage));
    }
    ctx.step("count everything that is limited");
    let mut usage = gather(&super::client(target)?).await;
    if let Some(ours) = &target.ours {
        usage = usage.with_flags(flags(ours).await.map_err(Stop::Undetermined)?);
    }
    let usage = Arc::new(usage);
    usages.insert(target.facts.uid.clone(), Arc::clone(&usage));
    Ok(usage)
}

/// Prints the command line of every process of a host, a word a line, with an empty line after each.
const COMMAND_LINES: &str = "for one in /proc/[0-9]*/cmdline; do tr '\\0' '\\n' < $one; echo; done 2>/dev/null; true";

/// The flags of a control plane of ours, whose components are processes rather than pods.
async fn flags(ours: &Ours) -> Result<Flags, String> {
    let output = ours.exec("cp1", &["sh", "-c", COMMAND_LINES]).await.map_err(|error| error.to_string())?;
    Ok(read_flags(&String::from_utf8_lossy(&output.stdout)))
}

fn read_flags(text: &str) -> Flags {
    let mut all = BTreeMap::new();
    for block in text.split("\n\n") {
        let words: Vec<String> = block.lines().map(str::to_owned).collect();
        let name = words.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
        if ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"].contains(&name.as_str()) {
            all.insert(name, words);
        }
    }
    all
}

async fn judge(ctx: &Ctx, row: &Row) -> Result<(), Stop> {
    let judged = (row.judge)(&*usage(ctx).await?);
    for (label, value) in judged.used {
        ctx.evidence(&label, value);
    }
    let breached = !judged.beyond.is_empty();
    for (thing, message) in judged.beyond {
        ctx.breach(thing, message);
    }
    match (judged.not_applicable, judged.unknown) {
        (Some(why), _) => Err(Stop::NotApplicable(why)),
        (None, Some(why)) if !breached => Err(Stop::Undetermined(why)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_become_flags() {
        let text = "/usr/local/bin/etcd\n--quota-backend-bytes=5\n\nsh\n-c\n\nkube-scheduler\n--kube-api-qps=5\n\n";
        let flags = read_flags(text);
        assert_eq!(flags.keys().collect::<Vec<_>>(), ["etcd", "kube-scheduler"]);
        assert_eq!(flags["etcd"][1], "--quota-backend-bytes=5");
    }
}
