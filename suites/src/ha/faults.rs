//! The faults: what is broken, for how long, and what a highly available control plane may show of it.

use std::time::Duration;

use seaworthy_history::Kind;

use super::scene::Constants;

/// What may be broken, by the part that it plays when the fault begins.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    /// The host of etcd's leader, and those of its other members.
    pub(super) etcd_leader: String,
    pub(super) etcd_followers: Vec<String>,
    /// Who holds the Leases.
    pub(super) manager: String,
    pub(super) scheduler: String,
    /// All control planes; first those that lead nothing.
    pub(super) planes: Vec<String>,
    pub(super) workers: Vec<String>,
    /// What the load balancer is called.
    pub(super) balancer: &'static str,
}

/// How long a fault stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stay {
    /// Until its bound is past, and the load balancer has had the time to see it.
    Bound,
    /// Until requests at the load balancer fail.
    Refused,
    /// Until this Lease has another holder, and that has acted.
    Takeover(&'static [&'static str]),
    /// Until all is well after each of the words, which undo themselves.
    Rolling,
    /// Until the API says that the worker is not Ready.
    NotReady,
    /// Others come at random, for as long as the user says.
    Soak,
    /// Somebody else breaks what he likes, for as long as the user says.
    Observe,
}

/// The longest times that a fault may show at the load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) write: Duration,
    pub(super) read: Duration,
    /// How it is computed.
    pub(super) because: &'static str,
}

impl Stay {
    /// Are gaps held against a bound? Not where faults meet that nobody planned.
    pub(super) fn is_bounded(self) -> bool {
        !matches!(self, Self::Soak | Self::Observe)
    }
}

/// A fault.
pub(super) struct Drill {
    /// The last part of the trial's id.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) why: &'static str,
    /// The words of `seaworthy cluster fault`, one command each; several are one after the other.
    pub(super) words: fn(&Cast) -> Vec<String>,
    pub(super) stay: Stay,
    pub(super) bound: fn(&Constants) -> Bound,
    /// Must every new connection be served once the bound is past?
    pub(super) drops: bool,
    /// Is no write to be acknowledged while the fault is there?
    pub(super) outage: bool,
    /// Whom to watch after the fault: a holder that was stopped must give up in time.
    pub(super) resumes: bool,
    /// Which anomalies it is about; all of them and the gaps, if none is named.
    pub(super) kinds: &'static [Kind],
    pub(super) caught_by: &'static str,
}

/// What the load balancer of our engine does: it asks each second, waits as long for the answer, and drops a
/// backend after two bad ones. `suites/tests` compares this with the balancer.
pub(super) const BALANCER_INTERVAL: Duration = Duration::from_secs(1);
pub(super) const BALANCER_PATIENCE: Duration = Duration::from_secs(1);
pub(super) const BALANCER_FALL: u32 = 2;

/// What no formula counts: a connection made anew, a request of the usual length.
const AGAIN: Duration = Duration::from_millis(300);

/// Until our balancer has dropped a backend that refuses, or that answers that it is not ready.
pub(super) fn refused() -> Duration {
    BALANCER_INTERVAL * BALANCER_FALL + BALANCER_PATIENCE
}

/// Until our balancer has dropped a backend that is silent.
pub(super) fn silent() -> Duration {
    (BALANCER_INTERVAL + BALANCER_PATIENCE) * BALANCER_FALL
}

fn both(time: Duration, because: &'static str) -> Bound {
    Bound { write: time + AGAIN, read: time + AGAIN, because }
}

pub(super) fn quiet(_: &Constants) -> Bound {
    both(Duration::ZERO, "nothing that serves the API is touched: a connection made anew")
}

fn crash(_: &Constants) -> Bound {
    both(Duration::ZERO, "the connection is reset, and the next one goes to a live API server")
}

fn silence(constants: &Constants) -> Bound {
    both(constants.silent, "the load balancer drops a silent backend")
}

fn member_crash(constants: &Constants) -> Bound {
    let time = constants.leader().max(constants.refused);
    both(time, "etcd elects within 2 × election timeout; the load balancer drops the API server beside the member")
}

fn member_silence(constants: &Constants) -> Bound {
    let time = constants.leader() + constants.silent;
    both(time, "etcd elects within 2 × election timeout; the load balancer drops the silent API server beside it")
}

fn outage(constants: &Constants) -> Bound {
    // What the drill adds: how long the fault stayed.
    let time = constants.leader() * 2 + constants.silent + Duration::from_secs(10);
    both(time, "after the fault: two elections, the balancer, and 10 s for what has to start again")
}

fn kill(host: &str, component: &str) -> Vec<String> {
    vec![format!("kill {host}/{component}")]
}

fn stop(host: &str, component: &str) -> Vec<String> {
    vec![format!("stop {host}/{component}")]
}

const MANAGER: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";

/// What most drills have in common.
pub(super) const PLAIN: Drill = Drill {
    name: "none",
    title: "",
    why: "",
    words: |_| Vec::new(),
    stay: Stay::Bound,
    bound: quiet,
    drops: false,
    outage: false,
    resumes: false,
    kinds: &[],
    caught_by: "two-members",
};

/// All faults of the slice that CI runs, the quick ones first.
pub(super) static DRILLS: [Drill; 19] = [
    Drill {
        name: "none",
        title: "Without a fault the API answers without a gap",
        why: "It is the measure of all the others: what this cluster and this machine show while nothing is broken.",
        caught_by: "two-schedulers",
        ..PLAIN
    },
    Drill {
        name: "api-server-crash",
        title: "The API outlives the crash of an API server",
        why: "A process that dies resets its connections: behind a load balancer nobody waits for it.",
        words: |cast| kill(&cast.planes[0], "kube-apiserver"),
        bound: crash,
        drops: true,
        caught_by: "one-member",
        ..PLAIN
    },
    Drill {
        name: "api-server-silence",
        title: "The API outlives an API server that is silent",
        why: "A process that hangs keeps its connections open: only an active health check finds it.",
        words: |cast| stop(&cast.planes[0], "kube-apiserver"),
        bound: silence,
        drops: true,
        caught_by: "balancer-keeps-the-dead",
        ..PLAIN
    },
    Drill {
        name: "etcd-leader-crash",
        title: "The API outlives the crash of etcd's leader",
        why: "Without a leader nothing is written; the other members elect one within two election timeouts.",
        words: |cast| kill(&cast.etcd_leader, "etcd"),
        bound: member_crash,
        ..PLAIN
    },
    Drill {
        name: "etcd-leader-silence",
        title: "The API outlives a leader of etcd that is silent",
        why: "The API server beside it waits for it, though the other members have long elected another one.",
        words: |cast| stop(&cast.etcd_leader, "etcd"),
        bound: member_silence,
        ..PLAIN
    },
    Drill {
        name: "etcd-follower-crash",
        title: "The API outlives the crash of a follower of etcd",
        why: "A majority is left, so that only the API server beside the member fails.",
        words: |cast| cast.etcd_followers.iter().take(1).map(|host| format!("kill {host}/etcd")).collect(),
        bound: member_crash,
        ..PLAIN
    },
    Drill {
        name: "controller-manager-crash",
        title: "Another controller-manager takes over from one that crashed",
        why: "Nothing is reconciled until the Lease has run out and another one holds it.",
        words: |cast| kill(&cast.manager, MANAGER),
        stay: Stay::Takeover(&[MANAGER]),
        caught_by: "no-standby",
        ..PLAIN
    },
    Drill {
        name: "scheduler-crash",
        title: "Another scheduler takes over from one that crashed",
        why: "No pod is bound until the Lease has run out and another one holds it.",
        words: |cast| kill(&cast.scheduler, SCHEDULER),
        stay: Stay::Takeover(&[SCHEDULER]),
        caught_by: "no-standby",
        ..PLAIN
    },
    Drill {
        name: "scheduler-stopped-and-continued",
        title: "A scheduler that was stopped and continues gives up within its renew deadline",
        why: "A Lease is no fence: it believes that it leads, and acts beside its successor, until it fails to renew.",
        words: |cast| stop(&cast.scheduler, SCHEDULER),
        stay: Stay::Takeover(&[SCHEDULER]),
        resumes: true,
        caught_by: "two-schedulers",
        ..PLAIN
    },
    Drill {
        name: "load-balancer-restart",
        title: "The API outlives a restart of its load balancer",
        why: "All connections break at once, and all clients come back at once.",
        words: |cast| vec![format!("restart {}", cast.balancer)],
        bound: |_| both(Duration::from_secs(1), "a process starts, and asks its backends once"),
        caught_by: "balancer-does-not-restart",
        ..PLAIN
    },
    Drill {
        name: "leader-in-the-minority",
        title: "The API outlives a partition with etcd's leader in the minority",
        why: "The old leader must not acknowledge anything more, and its API server must leave the load balancer.",
        words: |cast| vec![format!("partition {}", cast.etcd_leader)],
        bound: member_silence,
        ..PLAIN
    },
    Drill {
        name: "one-way-partition",
        title: "The API outlives a follower that is heard and hears nothing",
        why: "What reaches it is lost, and what it sends arrives: it stands for election again and again.",
        words: |cast| {
            let Some(one) = cast.etcd_followers.first() else { return Vec::new() };
            let others: Vec<_> = cast.planes.iter().filter(|host| *host != one).map(String::as_str).collect();
            vec![format!("partition {} / {one} --one-way", others.join(","))]
        },
        bound: member_silence,
        ..PLAIN
    },
    Drill {
        name: "quorum-loss",
        title: "Without a majority of etcd nothing is acknowledged, and all is well after its return",
        why: "A control plane that writes without a majority loses what it wrote.",
        words: |cast| cast.etcd_followers.iter().map(|host| format!("kill {host}/etcd")).collect(),
        stay: Stay::Refused,
        bound: outage,
        outage: true,
        caught_by: "one-member",
        ..PLAIN
    },
    Drill {
        name: "slow-disk",
        title: "The API outlives a slow disk of etcd's leader",
        why: "The followers' disks make a majority; a leader that waits for its own disk makes all wait.",
        words: |cast| vec![format!("slow-disk {} --fsync 200ms", cast.etcd_leader)],
        bound: |constants| both(constants.leader(), "at worst the leader changes: 2 × election timeout"),
        caught_by: "two-schedulers",
        ..PLAIN
    },
    Drill {
        name: "disk-full",
        title: "The API outlives a full disk of etcd's leader",
        why: "A member that cannot write its log ends: it is a crash that comes back as long as the disk is full.",
        words: |cast| vec![format!("disk-full {}", cast.etcd_leader)],
        bound: member_crash,
        ..PLAIN
    },
    Drill {
        name: "power-cut",
        title: "Nothing acknowledged is lost when all control planes lose their power",
        why: "What etcd acknowledged is on disk, or it is gone.",
        words: |cast| vec![format!("power-cut {}", cast.planes.join(","))],
        stay: Stay::Refused,
        bound: |constants| {
            let bound = outage(constants);
            Bound { write: bound.write * 2, read: bound.read * 2, because: "three hosts start from nothing" }
        },
        outage: true,
        caught_by: "no-fsync",
        ..PLAIN
    },
    Drill {
        name: "control-plane-down",
        title: "The control plane outlives the loss of the host that leads everything",
        why: "API server, member of etcd, controller-manager and scheduler are gone together.",
        words: |cast| vec![format!("kill {}", cast.manager)],
        stay: Stay::Takeover(&[MANAGER]),
        bound: member_silence,
        ..PLAIN
    },
    Drill {
        name: "rolling-restart",
        title: "The API outlives a restart of one control plane after the other",
        why: "It is what every upgrade does.",
        words: |cast| cast.planes.iter().map(|host| format!("restart {host}")).collect(),
        stay: Stay::Rolling,
        bound: member_silence,
        ..PLAIN
    },
    Drill {
        name: "worker-down",
        title: "A worker that is gone is not Ready within the grace period",
        why: "Until then its pods count as well, and nothing replaces them.",
        words: |cast| cast.workers.iter().take(1).map(|host| format!("kill {host}")).collect(),
        stay: Stay::NotReady,
        caught_by: "no-controller-manager",
        ..PLAIN
    },
];
