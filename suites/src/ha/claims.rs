//! Claims about all histories of a run: what no drill may show.

use std::collections::BTreeSet;

use seaworthy_history::Kind;

use super::faults::{Drill, PLAIN};
use super::past::Past;
use super::verdict::breaches;
use super::{CLUSTERS, STACKED, drill};
use crate::cluster::{Claim, Ctx, Requirement, Stop};
use crate::trial::Trial;

const GUARANTEES: (&str, &str) = (
    "Kubernetes API Concepts: Resource versions, Efficient detection of changes",
    "https://kubernetes.io/docs/reference/using-api/api-concepts/",
);

/// The claims. Each is a drill without a fault, for where no drill has run before it.
static CLAIMS: [Drill; 6] = [
    Drill {
        name: "writes",
        title: "No acknowledged write is lost, and none appears that was not acknowledged or under way",
        why: "Whoever is told that something is written builds upon it.",
        kinds: &[
            Kind::LostWrite,
            Kind::WrittenTwice,
            Kind::Fork,
            Kind::Phantom,
            Kind::RefusedWriteTookEffect,
            Kind::PlacesDisagree,
            Kind::VersionWentBack,
            Kind::VersionReused,
        ],
        caught_by: "drops-writes",
        ..PLAIN
    },
    Drill {
        name: "reads",
        title: "No quorum read returns less than what was acknowledged before it, and none goes back",
        why: "A controller that reads an old state undoes what others did.",
        kinds: &[Kind::StaleRead, Kind::ReadWentBack, Kind::NotLinearizable],
        caught_by: "answers-old-reads",
        ..PLAIN
    },
    Drill {
        name: "watch-order",
        title: "Watches send events in order, once, and as they happened",
        why: "An informer that applies events in another order keeps a state that never was.",
        kinds: &[Kind::WatchOutOfOrder, Kind::WatchRepeated, Kind::WatchPhantom, Kind::WatchKindWrong],
        caught_by: "reorders-events",
        ..PLAIN
    },
    Drill {
        name: "watch-gaps",
        title: "Watches leave out no event, over resumption too",
        why: "A controller never hears again of what its watch left out.",
        kinds: &[Kind::WatchGap],
        caught_by: "swallows-events",
        ..PLAIN
    },
    Drill {
        name: "watch-fresh",
        title: "The watch cache of each API server has everything once a fault is over",
        why: "An API server with a stale cache answers its clients as if nothing had happened since.",
        kinds: &[Kind::WatchBehind],
        caught_by: "stale-cache",
        ..PLAIN
    },
    Drill {
        name: "leaders",
        title: "Nobody acts under a Lease that another one holds",
        why: "Two schedulers or controller-managers undo each other's work.",
        kinds: &[Kind::LeaseTakenEarly, Kind::ActedWithoutLease, Kind::TransitionNotCounted],
        caught_by: "two-schedulers",
        ..PLAIN
    },
];

pub(super) fn trials() -> impl Iterator<Item = Trial> {
    CLAIMS.iter().map(|claim| {
        let id = format!("ha.history.{}", claim.name);
        Claim::new(id, claim.title, [STACKED], claim.caught_by, move |ctx| run(ctx, claim))
            .why(claim.why)
            .how("Judges the histories of all drills of the run; without any, one of a cluster that is left alone")
            .alias(format!("failover: {}", claim.name.replace('-', " ")))
            .label("disruptive")
            .label("quick")
            .fix("See history.json of the trial that is named, and docs/ha.md for what each checker demands")
            .basis(GUARANTEES.0, GUARANTEES.1)
            .basis(CLUSTERS.0, CLUSTERS.1)
            .requires(Requirement::Faults)
            .limit(super::LIMIT)
            .disturbs()
            .trial()
    })
}

async fn run(ctx: Ctx, claim: &'static Drill) -> Result<(), Stop> {
    let past = Past::of(&ctx.target().facts.uid);
    if past.operations == 0 {
        return drill::run(ctx, claim).await;
    }
    ctx.evidence("operations", past.operations.to_string());
    ctx.evidence("events of watches", past.events.to_string());
    if ctx.target().ours.is_none() && claim.kinds.contains(&Kind::ActedWithoutLease) {
        ctx.evidence("who wrote what", "not known: audit logs are read on hosts of ours only".to_owned());
    }
    let about = |kind| claim.kinds.contains(&kind);
    let faults: BTreeSet<_> =
        past.anomalies.iter().filter(|(_, one)| about(one.kind)).map(|(fault, _)| fault.as_str()).collect();
    if breaches(&ctx, past.anomalies.iter().map(|(_, one)| one), claim.kinds) > 0 {
        ctx.evidence("shown by", faults.into_iter().collect::<Vec<_>>().join(", "));
    }
    Ok(())
}
