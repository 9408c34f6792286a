//! Lateness: a process that carries frames between the segments of the switch and holds each for as long as is asked.
//!
//! While nothing is delayed, all ports are on one bridge and this process does nothing. Otherwise ports that are to be
//! reached late go to bridges of their own (segments), and a TAP device on each leads to the forwarder. When the
//! process ends, by SIGTERM or SIGINT, the ports are back on the one bridge; when it was killed, its successor puts
//! them back as it starts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, Signal};
use serde::{Deserialize, Serialize};

use super::Interface;
use super::forwarder::{Forwarder, Shapes};
use super::segment::Segments;
use crate::fault::control::{self, ControlError};

/// The name that the process is started under.
pub(in crate::fault) const NAME: &str = "fault-delay";

/// What one path does to a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How long each frame is held.
    pub delay: Duration,
    /// By how much the time differs from frame to frame, more or less.
    pub jitter: Duration,
    /// How much passes at most, in bits per second.
    pub rate: Option<NonZeroU64>,
}

/// Which ports are apart, and what is between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delays {
    /// The segment of each port; on segment 0, the common bridge, are also all that are not named.
    pub segments: BTreeMap<Interface, usize>,
    /// What happens between segments, by direction; where nothing is said frames pass at once.
    pub paths: Vec<DelayedPath>,
}

/// One direction between two segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelayedPath {
    /// The segment that sends.
    pub from: usize,
    /// The segment that receives.
    pub to: usize,
    /// What happens in between.
    pub shape: Shape,
}

/// The command of the process for one switch: its network namespace, the bridge that the ports are on, and the socket
/// to [`set`] it by. The process is ready when the socket answers. `program` is one whose main function calls
/// [`process_main`](crate::fault::process_main).
#[must_use]
pub fn command(program: &OsStr, switch: &Path, bridge: &Interface, socket: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(NAME).arg(switch).arg(bridge.name()).arg(socket);
    command
}

/// Replaces what is delayed, whole. Frames under way are lost if the number of segments changes.
///
/// Set it again when a host was made anew: its port is a new one, on the common bridge.
///
/// # Errors
/// [`ControlError`]: the process is not there, or could not move a port.
pub fn set(socket: &Path, delays: &Delays) -> Result<(), ControlError> {
    control::ask(socket, delays)
}

/// The process.
pub(in crate::fault) fn main(arguments: &[OsString]) -> Result<(), String> {
    let [switch, bridge, socket] = arguments else {
        return Err(format!("usage: {NAME} NETWORK-NAMESPACE BRIDGE SOCKET"));
    };
    let bridge: Interface = bridge.to_string_lossy().parse()?;
    let entered = File::open(switch).and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?));
    entered.map_err(|error| format!("the network namespace {} cannot be entered: {error}", switch.display()))?;
    if !super::exists(&bridge) {
        return Err(format!("there is no bridge {bridge} in the network namespace {}", switch.display()));
    }
    // Threads inherit the mask, so the signals wait for us.
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().map_err(|errno| errno.to_string())?;
    let switch = Switch::new(bridge).map_err(|error| format!("the switch cannot be had: {error}"))?;
    let switch = Arc::new(Mutex::new(switch));
    let socket = Path::new(socket);
    let listener = control::listen(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
    let asked = switch.clone();
    std::thread::spawn(move || {
        control::serve(&listener, |delays: Delays| {
            let mut switch = asked.lock().unwrap_or_else(PoisonError::into_inner);
            switch.set(&delays).map_err(|error| format!("ports cannot be moved between segments: {error}"))
        });
    });
    signals.wait().map_err(|errno| errno.to_string())?;
    std::fs::remove_file(socket).ok();
    let mut switch = switch.lock().unwrap_or_else(PoisonError::into_inner);
    switch.set(&Delays::default()).map_err(|error| format!("the ports are not all back: {error}"))
}

struct Switch {
    segments: Segments,
    count: usize,
    forwarder: Option<Forwarder>,
}

impl Switch {
    fn new(bridge: Interface) -> io::Result<Self> {
        let mut switch = Self { segments: Segments::new(bridge)?, count: 1, forwarder: None };
        switch.set(&Delays::default())?;
        Ok(switch)
    }

    fn set(&mut self, delays: &Delays) -> io::Result<()> {
        let shapes: Shapes = delays.paths.iter().map(|path| ((path.from, path.to), path.shape)).collect();
        let count = delays.segments.values().max().map_or(1, |last| last + 1);
        match &self.forwarder {
            Some(forwarder) if count == self.count => forwarder.reshape(shapes),
            _ if count == 1 => self.forwarder = None,
            _ => {
                // First away with the old one, whose devices have the same names.
                self.forwarder = None;
                self.forwarder = Some(Forwarder::start(self.segments.open(count)?, shapes)?);
            }
        }
        self.count = count;
        self.segments.arrange(&delays.segments)?;
        self.segments.close(count)
    }
}
