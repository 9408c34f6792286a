//! Process 1 of a host: starts its units, watches them, starts them again, and answers who asks.
//!
//! Everything that happens to a unit happens under one lock (`Shared`); each unit has a thread (`keeper`) that sees to
//! it, each question has one, and one thread reaps whatever ends in the host, orphans included.

mod keeper;
mod pod;
mod probe;
mod spawn;

use std::collections::BTreeMap;
use std::io::{self, IoSliceMut, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::unit::{Exit, Reply, Request, State, Status, Unit};

/// How often a unit may end before it is ready, until who waits for it is told.
const CRASHES: u32 = 3;
/// How many lines of a log are shown.
const LINES: usize = 12;
/// The longest question.
const LIMIT: usize = 4 << 20;

/// What is known of a unit.
struct Kept {
    unit: Unit,
    /// Is it to run? Where not, it is let end, with SIGKILL at this time.
    wanted: bool,
    kill_at: Option<Instant>,
    /// Counts what it was told: its keeper ends where this is no longer its own.
    life: u64,
    pid: Option<Pid>,
    ready: bool,
    frozen: bool,
    restarts: u32,
    crashes: u32,
    exit: Option<Exit>,
    doubt: Option<String>,
    sockets: Arc<Vec<TcpListener>>,
}

impl Kept {
    fn state(&self) -> State {
        match self.pid {
            Some(_) if self.frozen => State::Frozen,
            Some(_) if self.ready => State::Ready,
            Some(_) => State::Starting,
            None if self.wanted => State::Waiting,
            None => State::Stopped,
        }
    }

    fn status(&self) -> Status {
        Status {
            unit: self.unit.clone(),
            state: self.state(),
            pid: self.pid.map(Pid::as_raw),
            restarts: self.restarts,
            exit: self.exit,
            doubt: self.doubt.clone(),
        }
    }
}

#[derive(Default)]
struct Units {
    kept: BTreeMap<String, Kept>,
    /// Commands that run for somebody, and how they ended.
    commands: BTreeMap<Pid, Option<Exit>>,
    lives: u64,
}

/// What all threads share; the condition is told of whatever changes.
#[derive(Default)]
struct Shared {
    units: Mutex<Units>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Units> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the unit that a unit needs is ready. False if it is not to be started any more.
    fn wait_for_needed(&self, name: &str, life: u64) -> bool {
        let mut units = self.lock();
        loop {
            let Some(kept) = units.kept.get(name).filter(|kept| kept.life == life && kept.wanted) else { return false };
            let needed = kept.unit.after.as_ref().and_then(|after| units.kept.get(after)).filter(|other| !other.ready);
            let Some(needed) = needed.map(|other| other.unit.name.clone()) else { return true };
            if let Some(kept) = units.kept.get_mut(name) {
                kept.doubt = Some(format!("it waits for {needed}"));
            }
            units = self.changed.wait(units).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a change, until `end`.
    fn wait<'a>(&self, guard: MutexGuard<'a, Units>, end: Instant) -> MutexGuard<'a, Units> {
        let left = end.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Serves until the host is killed. `ready` is called once questions are answered.
pub(super) fn serve(listener: UnixListener, ready: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let shared = Arc::new(Shared::default());
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    // For every thread to come; what is started begins with an empty mask.
    children.thread_block()?;
    std::thread::spawn({
        let shared = shared.clone();
        move || reap(&shared, children)
    });
    ready()?;
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        std::thread::spawn(move || {
            let (request, descriptors) = match receive(&stream) {
                Ok(received) => received,
                Err(error) => {
                    return reply(&stream, &Reply::Failed(format!("the question was not understood: {error}")));
                }
            };
            let answer = answer(&shared, request, descriptors, &stream);
            reply(&stream, &answer);
        });
    }
    Ok(())
}

fn reply(mut stream: &UnixStream, reply: &Reply) {
    if let Ok(mut line) = serde_json::to_vec(reply) {
        line.push(b'\n');
        // Who asked may be gone.
        stream.write_all(&line).ok();
    }
}

/// Reads a question: a line, and the descriptors that come along.
fn receive(stream: &UnixStream) -> io::Result<(Request, Vec<OwnedFd>)> {
    let (mut line, mut descriptors) = (Vec::new(), Vec::new());
    while line.last() != Some(&b'\n') {
        let mut bytes = [0; 16 << 10];
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 3]);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = message {
                // SAFETY: the kernel has just made these descriptors for us.
                descriptors.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
            }
        }
        let length = received.bytes;
        if length == 0 || line.len() > LIMIT {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&bytes[..length]);
    }
    Ok((serde_json::from_slice(&line)?, descriptors))
}

/// Takes the exit of every process that ends in the host.
fn reap(shared: &Shared, children: SigSet) {
    loop {
        children.wait().ok();
        // Starting a program holds the same lock, so that nobody ends before it is known.
        let mut units = shared.lock();
        loop {
            let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => continue,
            };
            if let Some(ended) = units.commands.get_mut(&pid) {
                *ended = Some(exit);
            }
            if let Some(kept) = units.kept.values_mut().find(|kept| kept.pid == Some(pid)) {
                (kept.pid, kept.exit, kept.frozen) = (None, Some(exit), false);
                if kept.wanted && !kept.ready {
                    kept.crashes += 1;
                }
                kept.ready = false;
            }
        }
        drop(units);
        shared.changed.notify_all();
    }
}

fn answer(shared: &Arc<Shared>, request: Request, descriptors: Vec<OwnedFd>, stream: &UnixStream) -> Reply {
    match request {
        Request::Start(unit) => start(shared, unit),
        Request::Wait { unit, patience } => wait(shared, &unit, Duration::from_millis(patience)),
        Request::Stop { unit, grace } => stop(shared, &unit, Duration::from_millis(grace)),
        Request::Restart { unit } => {
            let found = shared.lock().kept.get(&unit).map(|kept| kept.unit.clone());
            let Some(again) = found else { return unknown(&unit) };
            stop(shared, &unit, Duration::from_secs(10));
            start(shared, again)
        }
        Request::Signal { unit, signal } => send(shared, unit.as_deref(), signal),
        Request::Status => Reply::Status(shared.lock().kept.values().map(Kept::status).collect()),
        Request::Exec { argv, env } => match <[OwnedFd; 3]>::try_from(descriptors) {
            Ok(descriptors) => spawn::command(shared, &argv, &env, descriptors, stream),
            Err(_) => Reply::Failed("a command needs input, output and errors".to_owned()),
        },
    }
}

fn unknown(unit: &str) -> Reply {
    Reply::Failed(format!("it has no unit '{unit}'"))
}

fn start(shared: &Arc<Shared>, unit: Unit) -> Reply {
    let mut units = shared.lock();
    let mut sockets = None;
    if let Some(there) = units.kept.get(&unit.name) {
        if there.wanted && there.unit == unit {
            return Reply::Done;
        }
        if there.unit.listen == unit.listen {
            sockets = Some(there.sockets.clone());
        }
        let wanted = there.wanted;
        drop(units);
        if wanted {
            stop(shared, &unit.name, Duration::from_secs(10));
        }
        units = shared.lock();
    }
    let sockets = match sockets {
        Some(sockets) => sockets,
        None => match crate::balancer::bind(&unit.listen) {
            Ok(sockets) => Arc::new(sockets),
            Err(error) => return Reply::Failed(error.to_string()),
        },
    };
    units.lives += 1;
    let (life, name, is_pod) = (units.lives, unit.name.clone(), unit.pod.is_some());
    let kept = Kept {
        unit,
        wanted: true,
        kill_at: None,
        life,
        pid: None,
        ready: false,
        frozen: false,
        restarts: 0,
        crashes: 0,
        exit: None,
        doubt: None,
        sockets,
    };
    units.kept.insert(name.clone(), kept);
    save(&units);
    drop(units);
    let shared = shared.clone();
    std::thread::spawn(
        move || if is_pod { pod::keep(&shared, &name, life) } else { keeper::keep(&shared, &name, life) },
    );
    Reply::Done
}

fn stop(shared: &Shared, name: &str, grace: Duration) -> Reply {
    let mut units = shared.lock();
    let Some(kept) = units.kept.get_mut(name) else { return unknown(name) };
    (kept.wanted, kept.kill_at) = (false, Some(Instant::now() + grace));
    let pid = kept.pid;
    if kept.unit.pod.is_some()
        && let Err(why) = pod::withdraw(name)
    {
        return Reply::Failed(why);
    }
    save(&units);
    if let Some(pid) = pid {
        // One that is stopped would not see SIGTERM.
        let signals: &[_] = if grace.is_zero() { &[Signal::SIGKILL] } else { &[Signal::SIGTERM, Signal::SIGCONT] };
        for &signal in signals {
            kill(pid, signal).ok();
        }
    }
    shared.changed.notify_all();
    let end = Instant::now() + grace + Duration::from_secs(10);
    while units.kept.get(name).is_some_and(|kept| kept.pid.is_some() && !kept.wanted) {
        if Instant::now() > end {
            return Reply::Failed(format!("{name} outlives SIGKILL"));
        }
        units = shared.wait(units, end);
    }
    Reply::Done
}

/// Writes down which units are to run, for whoever starts the host again.
fn save(units: &Units) {
    let wanted: Vec<_> = units.kept.values().filter(|kept| kept.wanted).map(|kept| &kept.unit).collect();
    let (whole, part) = (Path::new(super::unit::SAVED), Path::new(super::unit::SAVED).with_extension("part"));
    let folder = whole.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = folder.and_then(|()| std::fs::write(&part, serde_json::to_vec(&wanted)?));
    // A full disk keeps no unit from running.
    written.and_then(|()| std::fs::rename(&part, whole)).ok();
}

fn send(shared: &Shared, unit: Option<&str>, signal: i32) -> Reply {
    let Ok(signal) = Signal::try_from(signal) else { return Reply::Failed(format!("{signal} is no signal")) };
    let mut units = shared.lock();
    let sent = match unit {
        // Process 1 itself gets nothing of what it sends to all (kill(2)).
        None => kill(Pid::from_raw(-1), signal),
        Some(name) => match units.kept.get(name).map(|kept| kept.pid) {
            None => return unknown(name),
            Some(None) => return Reply::Failed(format!("{name} does not run")),
            Some(Some(pid)) => killpg(pid, signal),
        },
    };
    if let Err(errno) = sent
        && !(unit.is_none() && errno == Errno::ESRCH)
    {
        return Reply::Failed(format!("{signal} cannot be sent: {errno}"));
    }
    for (name, kept) in &mut units.kept {
        if unit.is_none_or(|unit| unit == name) && kept.pid.is_some() {
            match signal {
                // Its end is seen a moment later, by the files that tell of it.
                Signal::SIGKILL if kept.unit.pod.is_some() => kept.ready = false,
                Signal::SIGSTOP => kept.frozen = true,
                Signal::SIGCONT => kept.frozen = false,
                _ => {}
            }
        }
    }
    drop(units);
    shared.changed.notify_all();
    Reply::Done
}

fn wait(shared: &Shared, name: &str, patience: Duration) -> Reply {
    let end = Instant::now() + patience;
    let mut units = shared.lock();
    loop {
        let Some(kept) = units.kept.get(name) else { return unknown(name) };
        let over = Instant::now() >= end || kept.crashes >= CRASHES || kept.state() == State::Stopped;
        if kept.state() == State::Ready {
            return Reply::Done;
        }
        if over {
            return Reply::NotReady { status: kept.status(), log: spawn::last_lines(&kept.unit, LINES) };
        }
        units = shared.wait(units, end);
    }
}
