//! Signals: the first asks to stop and report, the second kills.

use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static SEEN: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(number: nix::libc::c_int) {
    if SEEN.swap(number, Ordering::SeqCst) != 0 {
        // SAFETY: _exit(2) is async-signal-safe.
        unsafe { nix::libc::_exit(128 + number) };
    }
}

/// Listens for SIGINT and SIGTERM from now on.
pub(crate) fn listen() {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only touches an atomic and _exit, both async-signal-safe.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// The signal that asked to stop, if one did.
pub(crate) fn seen() -> Option<Signal> {
    Signal::try_from(SEEN.load(Ordering::SeqCst)).ok()
}
