//! The first process of a pod: waits, and buries what is orphaned in a shared process namespace.

use std::io;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

/// Waits for SIGTERM or SIGINT. Needs no memory to speak of, and no threads.
pub(super) fn pause() -> io::Result<ExitCode> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    // Blocked signals wait for `wait`, so none is missed between two of them.
    signals.thread_block()?;
    // What ended before that sent its signal to nobody.
    bury()?;
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => bury()?,
            _ => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// One SIGCHLD may stand for many children.
fn bury() -> io::Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
