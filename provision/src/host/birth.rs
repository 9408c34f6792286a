//! How a host comes to be: the process that leaves the machine's namespaces, and the one that waits for it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork, pipe, sethostname};

use crate::whole;

use super::{ARGUMENT, Host, HostError, HostSpec, LOG, PID, Process, SOCKET, agent, cgroup, file, root};

/// What is announced.
const ALIVE: &[u8; 5] = b"alive";

/// Starts a host, and returns its process 1 once it can be asked.
pub(super) fn start(folder: &Path, spec: &HostSpec) -> Result<Process, HostError> {
    // What an earlier life left: in version 2 nobody may enter a cgroup whose children have controllers.
    if !spec.rootless {
        cgroup::remove(&spec.cgroup).map_err(|(path, source)| file(&path)(source))?;
    }
    let path = folder.join(LOG);
    let log = File::create(&path).map_err(file(&path))?;
    let birth = |why: String| HostError::Birth { host: spec.name.clone(), why };
    let lives = detached(ARGUMENT, folder, log).map_err(|error| birth(error.to_string()))?;
    match Host::open(folder)?.process() {
        Some(process) if lives => Ok(process),
        left => {
            if let Some(process) = left {
                let _ = process.end();
            }
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            Err(birth(log.trim().to_owned()))
        }
    }
}

/// Starts this very program as one that forks and leaves behind a process that outlives who started it. `true` once
/// that one has [announced](announce) that it lives.
pub(crate) fn detached(argument: &str, folder: &Path, log: File) -> std::io::Result<bool> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(argument).arg(folder).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let parent = nix::unistd::getpid();
    let alone = move || {
        nix::unistd::setsid()?;
        // What it leaves behind outlives who started it; while it is not known by its number yet, it does not.
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if nix::unistd::getppid() == parent { Ok(()) } else { Err(nix::errno::Errno::ESRCH.into()) }
    };
    // SAFETY: setsid(2), prctl(2) and getppid(2) are async-signal-safe.
    unsafe { command.pre_exec(alone) };
    let again = |error| std::io::Error::other(format!("seaworthy cannot be started again: {error}"));
    let mut child = command.spawn().map_err(again)?;
    let mut said = Vec::new();
    if let Some(mut out) = child.stdout.take() {
        // Until all writing ends are closed: those of the process itself, which ends, and of the one that it leaves
        // behind.
        out.read_to_end(&mut said)?;
    }
    child.wait()?;
    Ok(said == ALIVE)
}

/// Tells who started this process that it lives, and lets go of them.
pub(crate) fn announce() -> std::io::Result<()> {
    std::io::stdout().write_all(ALIVE)?;
    std::io::stdout().flush()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    Ok(nix::unistd::dup2_stdout(&null)?)
}

/// If the arguments make this program a host: becomes it, and ends with it. Must be called before the program starts a
/// thread.
#[must_use]
pub fn host_main(arguments: &[std::ffi::OsString]) -> Option<ExitCode> {
    let [_, argument, folder] = arguments else { return None };
    if argument != ARGUMENT {
        return None;
    }
    match become_host(Path::new(folder)) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            // Standard error is the host's log.
            writeln!(std::io::stderr(), "{error}").ok();
            Some(ExitCode::FAILURE)
        }
    }
}

fn become_host(folder: &Path) -> Result<(), HostError> {
    let host = Host::open(folder)?;
    let spec = host.spec();
    let step = |what: &str| {
        let (host, what) = (spec.name.clone(), what.to_owned());
        move |errno: nix::Error| HostError::Birth { host, why: format!("{what}: {errno}") }
    };
    // Bound by its bare name: the path of a socket is short (unix(7)), and that of the folder may not be.
    nix::unistd::chdir(folder).map_err(step("entering its folder"))?;
    match std::fs::remove_file(SOCKET) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file(&folder.join(SOCKET))(error)),
        _ => {}
    }
    let listener = UnixListener::bind(SOCKET).map_err(file(&folder.join(SOCKET)))?;
    let mut namespaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID;
    if !spec.rootless {
        cgroup::join(&spec.cgroup)?;
        namespaces |= CloneFlags::CLONE_NEWCGROUP;
    }
    unshare(namespaces).map_err(step("leaving the machine's namespaces"))?;
    let (registered, register) = pipe().map_err(step("making a pipe"))?;
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { fork() }.map_err(step("forking"))? {
        ForkResult::Parent { child } => {
            drop(registered);
            let path = folder.join(PID);
            let process = Process::of(child.as_raw());
            let text = serde_json::to_string(&process).unwrap_or_default();
            whole::write(&path, text, 0o600).map_err(file(&path))?;
            File::from(register).write_all(b"1").map_err(file(&path))
        }
        ForkResult::Child => {
            drop(register);
            // Nobody knows of this process before its number is written: without that it must not live.
            if File::from(registered).read_exact(&mut [0]).is_err() {
                return Ok(());
            }
            root::enter(folder, spec)?;
            sethostname(&spec.name).map_err(step("setting the host name"))?;
            let served = agent::serve(listener, announce);
            served.map_err(|error| HostError::Birth { host: spec.name.clone(), why: error.to_string() })
        }
    }
}
