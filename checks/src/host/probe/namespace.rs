//! Namespaces, by entering them.

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use serde_json::Value;

use super::{At as _, Stuck, Tried};

/// Leaves the parent's namespaces of these kinds.
pub(super) fn unshare(flags: i32) -> Result<(), Stuck> {
    // SAFETY: a plain system call; this process has one thread.
    Errno::result(unsafe { nix::libc::unshare(flags) }).at("unshare")?;
    Ok(())
}

pub(super) fn enter(flags: i32) -> Tried {
    unshare(flags)?;
    Ok(Value::Null)
}

/// A PID namespace is entered by the next child, which then is process 1.
pub(super) fn pid() -> Tried {
    unshare(nix::libc::CLONE_NEWPID)?;
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { fork() }.at("fork")? {
        ForkResult::Child => {
            let first = nix::unistd::getpid().as_raw() == 1;
            // SAFETY: ends the child at once, without the parent's exit handlers.
            unsafe { nix::libc::_exit(i32::from(!first)) }
        }
        ForkResult::Parent { child } => match waitpid(child, None).at("wait")? {
            WaitStatus::Exited(_, 0) => Ok(Value::Null),
            _ => Err(Stuck { stage: "being process 1", errno: Errno::EINVAL }),
        },
    }
}
