//! Allow-listed programs of the node: run without a shell, bounded in time and output.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::live::LiveHost;
use super::{Answer, FileKind, Program, Query, Refusal, RefusalKind, Reply};
use crate::host::Host as _;

const PATH: &[&str] = &["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin"];
const PATIENCE: Duration = Duration::from_secs(5);
const OUTPUT_LIMIT: u64 = 64 << 10;

/// Runs a program of the node. Where the node's root is not ours, the child enters it by chroot(2).
pub(super) fn run(host: &LiveHost, program: Program) -> Answer {
    let argv = program.argv();
    let is_program = |path: &String| {
        let stat = host.ask(&Query::Stat { path: path.clone() });
        matches!(stat, Ok(Reply::Stat(stat)) if stat.kind == FileKind::File && stat.mode & 0o111 != 0)
    };
    let found = PATH.iter().map(|folder| format!("{folder}/{}", argv[0])).find(is_program);
    let path = found
        .ok_or_else(|| Refusal::new(RefusalKind::Absent, format!("{} is in none of {}", argv[0], PATH.join(":"))))?;
    let mut command = Command::new(&path);
    command.args(&argv[1..]).env_clear().env("PATH", PATH.join(":"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if !host.is_own_root() {
        let root: PathBuf = host.root().to_owned();
        enter(&mut command, root);
    }
    let mut child = command.spawn().map_err(|error| {
        let kind = if error.kind() == std::io::ErrorKind::PermissionDenied {
            RefusalKind::Denied
        } else {
            RefusalKind::Failed
        };
        let need = if host.is_own_root() { "" } else { "; entering the node's root needs CAP_SYS_CHROOT" };
        Refusal::new(kind, format!("{path} cannot be run: {error}{need}"))
    })?;
    let streams = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(out) = streams.0 {
            out.take(OUTPUT_LIMIT).read_to_end(&mut text).ok();
        }
        if let Some(err) = streams.1.filter(|_| text.is_empty()) {
            err.take(OUTPUT_LIMIT).read_to_end(&mut text).ok();
        }
        text
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
                nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
                child.wait().ok();
                return Err(Refusal::new(RefusalKind::TimedOut, format!("{program} did not end within {PATIENCE:?}")));
            }
        }
    };
    let text = String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned();
    if status.success() {
        return Ok(Reply::Text(text));
    }
    let last = text.lines().last().unwrap_or("it said nothing");
    Err(Refusal::new(RefusalKind::Failed, format!("{program} failed ({status}): {last}")))
}

fn enter(command: &mut Command, root: PathBuf) {
    let chroot = move || {
        nix::unistd::chroot(Path::new(&root))?;
        nix::unistd::chdir("/")?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing that another thread could
    // hold a lock of: nix copies short paths to the stack.
    unsafe { command.pre_exec(chroot) };
}
