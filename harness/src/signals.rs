//! Signals: the first asks to stop and report, the second kills.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static SEEN: AtomicI32 = AtomicI32::new(0);
static CLUSTERS: AtomicBool = AtomicBool::new(false);

/// What is said where a second signal leaves clusters behind.
const LAST_WORDS: &[u8] = b"interrupted twice; to remove the clusters of this run: seaworthy cluster down --all\n";

extern "C" fn note(number: nix::libc::c_int) {
    if SEEN.swap(number, Ordering::SeqCst) != 0 {
        if CLUSTERS.load(Ordering::SeqCst) {
            // SAFETY: write(2) is async-signal-safe, and the bytes live for ever.
            unsafe { nix::libc::write(2, LAST_WORDS.as_ptr().cast(), LAST_WORDS.len()) };
        }
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

/// Says that clusters of this run are up: a second signal prints how to remove them.
pub(crate) fn has_clusters(up: bool) {
    CLUSTERS.store(up, Ordering::SeqCst);
}
