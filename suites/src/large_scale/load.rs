//! The claims about load: one run on a cluster, and what Kubernetes' objectives say of it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use seaworthy_reports::Severity;
use seaworthy_scale::load::{Machine, Objective, Report, clean_up, drive};
use tokio::sync::Mutex;

use super::cluster;
use crate::cluster::{Claim, Ctx, Stop};
use crate::trial::Trial;

const SLOS: (&str, &str) = (
    "Kubernetes scalability SLIs and SLOs",
    "https://github.com/kubernetes/community/blob/master/sig-scalability/slos/slos.md",
);
const LARGE_CLUSTERS: (&str, &str) =
    ("Considerations for large clusters", "https://kubernetes.io/docs/setup/best-practices/cluster-large/");
const LEASES: (&str, &str) = ("Leases: node heartbeats", "https://kubernetes.io/docs/concepts/architecture/leases/");

/// How long the run may take: the first claim has it run, the others judge it.
const LIMIT: Duration = Duration::from_mins(20);
/// The objective for pods: 99 of 100 that need no image are ready within 5 s.
const STARTUP: f64 = 5.0;
/// What a scheduler must place each second: the changes that the objectives allow for.
const PLACED: f64 = 20.0;

pub(super) fn trials() -> Vec<Trial> {
    let how = "Registers simulated nodes, creates pods with and without the scheduler, measures requests that are sent \
               by schedule, and deletes everything. One run serves all claims of this group.";
    macro_rules! claim {
        ($id:literal, $title:literal, $caught:literal, $judge:expr) => {
            Claim::new(concat!("large-scale.load.", $id), $title, [cluster()], $caught, |ctx: Ctx| async move {
                let report = report(&ctx).await?;
                let judge: fn(&Ctx, &Report) -> Result<(), Stop> = $judge;
                judge(&ctx, &report)
            })
            .how(how)
            .label("load")
            .limit(LIMIT)
            .without_namespace()
            .disturbs()
        };
    }
    let claims = [
        claim!("filled", "All nodes and pods of the plan are ready at the same time", "slow-scheduler", filled)
            .why("A limit that is not reached is not tested: what was reached is told as a part of the envelope.")
            .fix("Look at the controller-manager's and the scheduler's --kube-api-qps, then at etcd's disk.")
            .basis(LARGE_CLUSTERS.0, LARGE_CLUSTERS.1),
        claim!("pod-startup", "99 of 100 pods are ready within 5 s of their creation", "slow-scheduler", startup)
            .why("It is the latency of everything that scales or recovers.")
            .fix("Compare the scheduler's and the kubelets' parts: kubectl get pod -o yaml shows both times.")
            .basis(SLOS.0, SLOS.1)
            .alias("PodStartupLatency"),
        claim!("scheduler", "The scheduler places at least 20 pods a second", "slow-scheduler", scheduler)
            .why("Kubernetes' objectives hold for up to 20 changes of pods a second.")
            .fix("Raise --kube-api-qps and --kube-api-burst of kube-scheduler.")
            .basis(SLOS.0, SLOS.1)
            .alias("SchedulingThroughput"),
        claim!("api-writes", "99 of 100 writes of one object are answered within 1 s", "slow-api-server", writes)
            .why("Controllers wait for each of their writes.")
            .fix("Look at etcd_disk_wal_fsync_duration_seconds, then at admission webhooks.")
            .basis(SLOS.0, SLOS.1)
            .alias("APIResponsiveness"),
        claim!(
            "api-reads",
            "99 of 100 reads are answered within 1 s for one object, and within 30 s for lists",
            "slow-api-server",
            reads
        )
        .why("A client whose list takes longer begins it anew, and the load grows.")
        .fix("Look for clients that list without resourceVersion=0, and at memory and CPU of the API servers.")
        .basis(SLOS.0, SLOS.1),
        claim!("leases", "Every node's lease is renewed in time", "leases-refused", leases)
            .why(
                "A lease that is not renewed for 50 s makes its node unreachable, and its pods are evicted 5 minutes \
                 later.",
            )
            .fix(
                "Look for what refuses or delays writes of leases in kube-node-lease: admission, priority levels, \
                 etcd.",
            )
            .basis(LEASES.0, LEASES.1)
            .severity(Severity::Critical),
        claim!("deletion", "All pods are gone after their deletion", "deletions-refused", deletion)
            .why("What cannot be deleted stays a load for ever.")
            .fix("Look for finalizers and for admission that refuses deletions.")
            .basis(LARGE_CLUSTERS.0, LARGE_CLUSTERS.1),
    ];
    claims.into_iter().map(Claim::trial).collect()
}

type Ran = Result<Arc<Report>, String>;

/// Runs by cluster. One that is cut off leaves its reason, and is not begun anew by the next claim.
static RUNS: LazyLock<Mutex<HashMap<String, Ran>>> = LazyLock::new(Mutex::default);

async fn report(ctx: &Ctx) -> Result<Arc<Report>, Stop> {
    let target = ctx.target();
    let mut runs = RUNS.lock().await;
    if let Some(ran) = runs.get(&target.facts.uid) {
        return ran.clone().map_err(Stop::Undetermined);
    }
    let plan = super::plan();
    let fits = if target.ours.is_some() { plan.fits(Machine::left()) } else { Ok(()) };
    fits.map_err(|why| Stop::Undetermined(why.to_string()))?;
    runs.insert(target.facts.uid.clone(), Err("the run of the load was cut off".to_owned()));
    let (client, kubelets) = (super::client(target)?, super::kubelets(target)?);
    let run = format!("load-{}", ctx.run().rsplit('-').next().unwrap_or("run"));
    // The API server's own names, and the clean-up of what a broken run left.
    let (cleaner, name) = (client.clone(), run.clone());
    ctx.undo("deleting the load's namespaces and nodes", async move {
        clean_up(&cleaner, &name).await.map_err(|error| error.to_string())
    });
    let steps = ctx.clone();
    let ran = drive(&client, &kubelets, &plan, &run, move |text| steps.step(text)).await;
    let ran = ran.map(Arc::new).map_err(|error| error.to_string());
    runs.insert(target.facts.uid.clone(), ran.clone());
    let report = ran.map_err(Stop::Undetermined)?;
    for (label, value) in summary(&report) {
        ctx.evidence(&label, value);
    }
    Ok(report)
}

/// The run in a few lines, for the claim that had it run.
fn summary(report: &Report) -> Vec<(String, String)> {
    let spent = &report.spent;
    let all = [
        ("part of the envelope that was reached", format!("{:.1} %", report.envelope * 100.0)),
        ("nodes", format!("{} of {} after {:.1} s", report.nodes.1, report.nodes.0, report.nodes_seconds)),
        ("pods", format!("{} of {} after {:.1} s", report.pods.1, report.pods.0, report.fill_seconds)),
        ("containers", report.containers.to_string()),
        ("API server", format!("{} MiB before, {} MiB full", report.server_memory.0, report.server_memory.1)),
        ("etcd's database", format!("{} MiB before, {} MiB full", report.database.0, report.database.1)),
        (
            "generator and simulated nodes",
            format!("{:.0} % of the machine, {} MiB at most", spent.cpu_share * 100.0, spent.memory),
        ),
        ("requests were sent late by", format!("{:.3} s (p99)", report.lag.p99)),
        (
            "machine",
            format!(
                "{} x {}, {} MiB, Linux {}, load {}",
                report.machine.processors,
                report.machine.model,
                report.machine.memory,
                report.machine.kernel,
                report.machine.load
            ),
        ),
        ("report", serde_json::to_string(report).unwrap_or_default()),
        ("perf-dash", report.perf_dash().to_string()),
    ];
    all.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
}

/// A time that is too long, where the generator itself was in time; else nobody can tell.
fn too_slow(ctx: &Ctx, report: &Report, thing: &str, message: String) -> Result<(), Stop> {
    if report.is_late() {
        let late = report.lag.p99;
        return Err(Stop::Undetermined(format!(
            "{message}; but the machine was so busy that requests were sent {late:.1} s late"
        )));
    }
    ctx.breach(thing, message);
    Ok(())
}

fn filled(ctx: &Ctx, report: &Report) -> Result<(), Stop> {
    for (thing, (wanted, ready)) in [("nodes", report.nodes), ("pods", report.pods)] {
        if ready < wanted {
            ctx.breach(thing, format!("{ready} of {wanted} {thing} were ready at the same time"));
        }
    }
    Ok(())
}

fn startup(ctx: &Ctx, report: &Report) -> Result<(), Stop> {
    let startup = &report.startup;
    ctx.evidence("pods that were timed", startup.count.to_string());
    ctx.evidence("startup", format!("p50 {:.2} s, p90 {:.2} s, p99 {:.2} s", startup.p50, startup.p90, startup.p99));
    ctx.evidence("watch", format!("p99 {:.3} s", report.watch.p99));
    if report.not_started > 0 {
        let message = format!("{} pods were not ready 30 s after the last one was created", report.not_started);
        return too_slow(ctx, report, "pods", message);
    }
    if startup.count == 0 {
        return Err(Stop::Undetermined("no pod was timed".to_owned()));
    }
    if startup.p99 > STARTUP {
        let message = format!("99 of 100 pods were ready within {:.2} s; expected at most {STARTUP} s", startup.p99);
        return too_slow(ctx, report, "pods", message);
    }
    Ok(())
}

fn scheduler(ctx: &Ctx, report: &Report) -> Result<(), Stop> {
    ctx.evidence("pods that it placed", report.scheduled.to_string());
    ctx.evidence("a second", format!("{:.1}", report.scheduled_per_second));
    if report.scheduled < 50 {
        return Err(Stop::Undetermined(format!("{} pods are too few to tell a rate", report.scheduled)));
    }
    if report.scheduled_per_second < PLACED {
        let rate = report.scheduled_per_second;
        let message = format!("the scheduler placed {rate:.1} pods a second; expected at least {PLACED}");
        return too_slow(ctx, report, "kube-scheduler", message);
    }
    Ok(())
}

fn requests(ctx: &Ctx, report: &Report, are: fn(&str) -> bool) -> Result<(), Stop> {
    let ours: Vec<&Objective> = report.requests.iter().filter(|one| are(&one.about)).collect();
    if ours.iter().all(|one| one.latency.count == 0) {
        return Err(Stop::Undetermined("no request was answered".to_owned()));
    }
    for one in &ours {
        let latency = &one.latency;
        let value = format!("p50 {:.3} s, p99 {:.3} s, {} requests", latency.p50, latency.p99, latency.count);
        ctx.evidence(&one.about, value);
        if one.failed > 0 {
            ctx.breach(&one.about, format!("{}: {} requests were refused or not answered", one.about, one.failed));
        }
        if latency.p99 > one.most {
            let (about, found, most) = (&one.about, latency.p99, one.most);
            let message = format!("{about}: 99 of 100 took up to {found:.2} s; expected at most {most} s");
            too_slow(ctx, report, about, message)?;
        }
    }
    // The API server's own view: what it takes without the way to it.
    for (about, (seconds, count)) in report.server.iter().filter(|(about, _)| are(about)).take(8) {
        ctx.evidence(&format!("{about}, by the API server"), format!("p99 {seconds:.3} s, {count} requests"));
    }
    Ok(())
}

fn is_write(about: &str) -> bool {
    ["POST ", "PUT ", "PATCH ", "DELETE "].iter().any(|verb| about.starts_with(verb))
}

fn writes(ctx: &Ctx, report: &Report) -> Result<(), Stop> {
    requests(ctx, report, is_write)
}

fn reads(ctx: &Ctx, report: &Report) -> Result<(), Stop> {
    requests(ctx, report, |about| !is_write(about))
}

fn leases(ctx: &Ctx, report: &Report) -> Result<(), Stop> {
    let (nodes, leases) = (&report.fleet.nodes, &report.fleet.leases);
    ctx.evidence("renewals", leases.renewed.to_string());
    ctx.evidence("longest gap", format!("{:.1} s", leases.worst_gap_millis as f64 / 1e3));
    ctx.evidence("sent late", leases.late.to_string());
    if leases.renewed == 0 {
        return Err(Stop::Undetermined("no lease was renewed".to_owned()));
    }
    let why = report.fleet.last_failure.as_deref().unwrap_or("no request failed");
    if leases.refused > 0 {
        ctx.breach("leases", format!("{} renewals were refused ({why})", leases.refused));
    } else if leases.missed > 0 {
        let message = format!("{} times a lease ran out before it was renewed ({why})", leases.missed);
        return too_slow(ctx, report, "leases", message);
    }
    if nodes.ready < nodes.registered {
        ctx.breach(
            "nodes",
            format!("{} of {} nodes were not ready at the end", nodes.registered - nodes.ready, nodes.registered),
        );
    }
    Ok(())
}

fn deletion(ctx: &Ctx, report: &Report) -> Result<(), Stop> {
    if let Some(why) = &report.deletion_refused {
        return Err(Stop::breach("pods", format!("the deletion of pods is refused: {why}")));
    }
    match report.deletion_seconds {
        Some(seconds) => {
            ctx.evidence("deletion of all pods", format!("{seconds:.1} s"));
            Ok(())
        }
        None => Err(Stop::breach("pods", "pods were still there a minute after the last one had gone")),
    }
}
