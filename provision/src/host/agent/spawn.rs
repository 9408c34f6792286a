//! Starting programs: units with their logs, and commands for somebody who waits.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::TcpListener;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, dup2_raw};

use super::super::cgroup;
use super::super::unit::{Reply, Unit};
use super::Shared;

/// Where programs are looked for in a host.
const PATH: &str = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin";
/// Where the logs of units are in a host.
const LOGS: &str = "/var/log/seaworthy";
/// Beyond this a log is set aside when its unit is started, as `NAME.log.1`.
const LOG_LIMIT: u64 = 64 << 20;
/// The first descriptor of sockets that are handed on (sd_listen_fds(3) begins there, too).
const FIRST: RawFd = 3;

fn program(argv: &[String], env: &BTreeMap<String, String>) -> io::Result<Command> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("HOME", "/root").envs(env).current_dir("/");
    Ok(command)
}

/// Starts a unit in a session of its own, so that a signal reaches what it starts, too.
pub(super) fn unit(unit: &Unit, sockets: &[TcpListener]) -> io::Result<Pid> {
    let path = format!("{LOGS}/{}.log", unit.name);
    if std::fs::metadata(&path).is_ok_and(|there| there.len() > LOG_LIMIT) {
        std::fs::rename(&path, format!("{path}.1"))?;
    }
    let log = OpenOptions::new().create(true).append(true).open(&path)?;
    let mut command = program(&unit.argv, &unit.env)?;
    command.env("SEAWORTHY_LISTEN_FDS", sockets.len().to_string());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // Copies above those that they are to become, so that none is overwritten before it is copied.
    let copies: Vec<OwnedFd> = sockets.iter().map(above).collect::<io::Result<_>>()?;
    let raw: Vec<RawFd> = copies.iter().map(|copy| copy.as_raw_fd()).collect();
    // SAFETY: setsid(2) and dup2(2) are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            for (&from, to) in raw.iter().zip(FIRST..) {
                let made = dup2_raw(std::os::fd::BorrowedFd::borrow_raw(from), to)?;
                std::mem::forget(made);
            }
            Ok(())
        });
    }
    // It is reaped with everything else.
    let child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    if let Some(name) = &unit.cgroup {
        cgroup::put(name, pid.as_raw())?;
    }
    Ok(pid)
}

fn above(socket: &TcpListener) -> io::Result<OwnedFd> {
    let copy = nix::fcntl::fcntl(socket.as_fd(), nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(100))?;
    // SAFETY: fcntl(2) has just made this descriptor for us.
    Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(copy) })
}

/// Runs a command for somebody, and ends it if they go away.
pub(super) fn command(
    shared: &Shared,
    argv: &[String],
    env: &BTreeMap<String, String>,
    [input, output, errors]: [OwnedFd; 3],
    stream: &UnixStream,
) -> Reply {
    let mut units = shared.lock();
    let spawned = program(argv, env).and_then(|mut command| {
        command.stdin(input).stdout(output).stderr(errors);
        // SAFETY: setsid(2) is async-signal-safe.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
        command.spawn()
    });
    let pid = match spawned {
        Ok(child) => Pid::from_raw(child.id().cast_signed()),
        Err(error) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let name = argv.first().map_or("", String::as_str);
            let why = match missing {
                true if name.contains('/') => format!("there is no program {name}"),
                true => format!("there is no program {name} in {PATH}"),
                false => format!("{name} cannot be run: {error}"),
            };
            return Reply::NotStarted { why, missing };
        }
    };
    units.commands.insert(pid, None);
    loop {
        if let Some(exit) = units.commands.get(&pid).copied().flatten() {
            units.commands.remove(&pid);
            return Reply::Exited(exit);
        }
        // Nothing more is said on the stream: it becomes readable when who asked is gone.
        let mut end = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
        if poll(&mut end, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
            killpg(pid, Signal::SIGKILL).ok();
        }
        units = shared.wait(units, Instant::now() + Duration::from_millis(200));
    }
}

/// The last lines of a unit's log; those of the kubelet about a static pod that never ran.
pub(super) fn last_lines(unit: &Unit, count: usize) -> Vec<String> {
    let last =
        |lines: Vec<&str>| lines[lines.len().saturating_sub(count)..].iter().map(|&line| line.to_owned()).collect();
    let Some(pod) = &unit.pod else { return last(end_of_log(&unit.name).unwrap_or_default().lines().collect()) };
    match pod.log(Path::new(super::pod::VAR)) {
        Ok(text) => last(text.lines().collect()),
        Err(_) => {
            let kubelets = end_of_log("kubelet").unwrap_or_default();
            last(kubelets.lines().filter(|line| line.contains(&pod.name)).collect())
        }
    }
}

/// What a unit said last.
fn end_of_log(unit: &str) -> io::Result<String> {
    const ENOUGH: u64 = 64 << 10;
    let mut file = File::open(format!("{LOGS}/{unit}.log"))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
    let mut bytes = Vec::new();
    file.take(ENOUGH).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
