//! The thread that sees to one unit: starts it, asks whether it is ready, and starts it again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};

use super::super::unit::Restart;
use super::{Shared, probe, spawn};

/// The pause before a unit is started again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a unit must run for its pauses to begin anew.
const SETTLED: Duration = Duration::from_secs(10);
/// The pause between questions until it is ready, at least and at most, and afterwards.
const ASK: (Duration, Duration, Duration) =
    (Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(2));
/// The pause grows with the time that it already took, of which it is this part: who waits for it loses no more.
const PART: u32 = 40;

/// Keeps a unit for as long as its life is this one, and it is wanted or runs.
pub(super) fn keep(shared: &Arc<Shared>, name: &str, life: u64) {
    if !shared.wait_for_needed(name, life) {
        return;
    }
    let mut pause = PAUSE.0;
    loop {
        let begun = Instant::now();
        {
            let mut units = shared.lock();
            let Some(kept) = units.kept.get_mut(name).filter(|kept| kept.life == life && kept.wanted) else { return };
            match spawn::unit(&kept.unit, &kept.sockets) {
                Ok(pid) => {
                    kept.pid = Some(pid);
                    kept.ready = kept.unit.ready.is_none();
                }
                Err(error) => {
                    kept.doubt = Some(format!("{} cannot be started: {error}", kept.unit.argv.join(" ")));
                    kept.crashes += 1;
                }
            }
        }
        shared.changed.notify_all();
        watch(shared, name, life);
        if begun.elapsed() > SETTLED {
            pause = PAUSE.0;
        }
        let end = Instant::now() + pause;
        pause = (pause * 2).min(PAUSE.1);
        let mut units = shared.lock();
        loop {
            let Some(kept) = units.kept.get_mut(name).filter(|kept| kept.life == life) else { return };
            if kept.unit.restart == Restart::Never {
                kept.wanted = false;
                shared.changed.notify_all();
            }
            if !kept.wanted {
                return;
            }
            if Instant::now() >= end {
                kept.restarts += 1;
                break;
            }
            units = shared.wait(units, end);
        }
    }
}

/// Watches a unit until it has ended.
fn watch(shared: &Shared, name: &str, life: u64) {
    let mut begun = Instant::now();
    let mut next = begun + ASK.0;
    let mut units = shared.lock();
    loop {
        let Some(kept) = units.kept.get_mut(name).filter(|kept| kept.life == life) else { return };
        let Some(pid) = kept.pid else { return };
        let now = Instant::now();
        if kept.kill_at.is_some_and(|at| now >= at) && !kept.wanted {
            killpg(pid, Signal::SIGKILL).ok();
            kept.kill_at = None;
        }
        let question = kept.unit.ready.clone().filter(|_| now >= next && !kept.frozen && kept.wanted);
        let Some(question) = question else {
            let end = if kept.wanted { next } else { kept.kill_at.unwrap_or(now + ASK.2) };
            units = shared.wait(units, end.max(now + Duration::from_millis(1)));
            continue;
        };
        drop(units);
        let answer = probe::ask(&question);
        let now = Instant::now();
        let mut pause = ((now - begun) / PART).clamp(ASK.0, ASK.1);
        units = shared.lock();
        if let Some(kept) = units.kept.get_mut(name).filter(|kept| kept.life == life && kept.pid == Some(pid)) {
            let was = kept.ready;
            kept.ready = answer.is_ok();
            kept.doubt = answer.err();
            if kept.ready {
                kept.crashes = 0;
            }
            if kept.ready {
                pause = ASK.2;
            } else if was {
                (begun, pause) = (now, ASK.0);
            }
            if was != kept.ready {
                shared.changed.notify_all();
            }
        }
        next = now + pause;
    }
}
