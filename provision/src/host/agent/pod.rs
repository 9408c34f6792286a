//! The thread that sees to a unit that is a static pod: gives the kubelet its manifest, looks which container runs, and
//! asks whether it is ready. Starting it again is the kubelet's.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::super::pod;
use super::{Shared, probe};

/// A host's own /var.
pub(super) const VAR: &str = "/var";
/// How often it is looked at, until it is ready and afterwards.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Keeps a unit for as long as its life is this one, and it is wanted or runs.
pub(super) fn keep(shared: &Arc<Shared>, name: &str, life: u64) {
    if !shared.wait_for_needed(name, life) {
        return;
    }
    let mine = |shared: &Shared| {
        let units = shared.lock();
        units.kept.get(name).filter(|kept| kept.life == life).and_then(|kept| kept.unit.pod.clone())
    };
    let Some(pod) = mine(shared) else { return };
    let placed = pod.place(name).map_err(|error| format!("its manifest cannot be written: {error}"));
    // The container whose end was counted.
    let mut counted = String::new();
    loop {
        let container = pod.newest(Path::new(VAR));
        let pid = container.as_ref().and_then(|one| one.pid).map(Pid::from_raw);
        let mut units = shared.lock();
        let Some(kept) = units.kept.get_mut(name).filter(|kept| kept.life == life) else { return };
        let question = kept.unit.ready.clone().filter(|_| pid.is_some() && kept.wanted && !kept.frozen);
        drop(units);
        let answer = match (&placed, question) {
            (Err(why), _) => Err(why.clone()),
            (Ok(()), Some(question)) => probe::ask(&question),
            (Ok(()), None) if container.is_none() => Err("the kubelet has started no container of it yet".to_owned()),
            (Ok(()), None) => Err(String::new()),
        };
        let mut units = shared.lock();
        let Some(kept) = units.kept.get_mut(name).filter(|kept| kept.life == life) else { return };
        let before = (kept.pid, kept.ready, kept.exit);
        if kept.pid != pid {
            (kept.pid, kept.frozen) = (pid, false);
        }
        if let Some(container) = &container {
            kept.restarts = container.attempt;
            if container.exit.is_some() && container.id != counted {
                counted.clone_from(&container.id);
                kept.exit = container.exit;
                kept.crashes += u32::from(!kept.ready);
            }
        }
        if kept.wanted && !kept.frozen {
            kept.ready = answer.is_ok();
            kept.doubt = answer.err().filter(|why| !why.is_empty());
        }
        if kept.ready {
            kept.crashes = 0;
        }
        if before != (kept.pid, kept.ready, kept.exit) {
            shared.changed.notify_all();
        }
        if !kept.wanted {
            match pid {
                None => return,
                Some(pid) if kept.kill_at.is_some_and(|at| Instant::now() >= at) => drop(killpg(pid, Signal::SIGKILL)),
                Some(_) => {}
            }
        }
        let told = (kept.wanted, kept.ready);
        let end = Instant::now() + if told == (true, true) { LOOK.1 } else { LOOK.0 };
        // Whatever changes in the host wakes everybody, which is no reason to look more often.
        while Instant::now() < end && units.kept.get(name).is_some_and(|kept| (kept.wanted, kept.ready) == told) {
            units = shared.wait(units, end);
        }
    }
}

/// Takes the manifest away, so that what ends stays so.
pub(super) fn withdraw(name: &str) -> Result<(), String> {
    pod::withdraw(name).map_err(|error| format!("the manifest of {name} cannot be removed: {error}"))
}
