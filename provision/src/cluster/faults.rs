//! Faults of a cluster: begun, listed, timed, undone. What is active stands in the cluster's folder, so that any run of
//! this program can undo what another began.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::engine::{EngineError, file};
use super::folder::Cluster;
use super::plan::{PlannedHost, Role, SWITCH};
use super::spec::EtcdTopology;
use crate::fault::control::ControlError;
use crate::fault::disk;
use crate::fault::link::{Interface, LinkError, Mac, Port};
use crate::fault::plan::{Held, Host as FaultyHost, Plan, PlanError, Topology, plan};
use crate::fault::{Active, Fault, Faults, Hosts, Path as FaultPath, link};
use crate::host::unit::{Ready, Unit};
use crate::host::{Host, Process};
use crate::network::BRIDGE;

/// The unit of the switch that delays frames, and where it is asked, in the switch.
const DELAYS: &str = "delays";
const DELAYS_SOCKET: &str = "/run/delays.sock";
/// The unit of a host that serves etcd's folder, and where it is asked, in the host.
pub(super) const DISK: &str = "disk";
const DISK_SOCKET: &str = "/run/disk.sock";
/// The first argument that makes this program the one that ends timed faults of a cluster's folder.
const TIMER: &str = "__fault-timer";

/// Why a fault does not begin or end.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// It names what the cluster does not have.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The network does not take it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The process that delays frames, or that serves a disk.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// None has this number.
    #[error("there is no fault {0}; `seaworthy cluster fault list` shows those that there are")]
    Unknown(u32),
    /// The disk of a host is the machine's own.
    #[error("the disk of {0} is the machine's own, which no fault is put on: bring the cluster up with disks: faulty")]
    PlainDisk(String),
    /// The disks of hosts are the machine's own, which keeps what was not synced.
    #[error(
        "a power cut of {0} would lose nothing: the disk is the machine's own. Bring the cluster up with disks: \
         faulty, which etcd's hosts have then, or use `kill`"
    )]
    NothingLost(String),
}

/// What stands in a cluster's folder.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    faults: Faults,
    /// Hosts and components that faults hold at present, so that they are let go.
    held: BTreeSet<(String, Option<String>)>,
    /// Who ends those that are timed.
    timer: Option<Process>,
}

impl Cluster {
    fn faults_file(&self) -> PathBuf {
        self.folder.join("faults.json")
    }

    fn kept(&self) -> Result<Kept, EngineError> {
        let path = self.faults_file();
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
            text => serde_json::from_slice(&text.map_err(file(&path))?).map_err(|error| file(&path)(error.into())),
        }
    }

    fn keep(&self, kept: &Kept) -> Result<(), EngineError> {
        let (whole, part) = (self.faults_file(), self.folder.join("faults.part"));
        let text = serde_json::to_vec_pretty(kept).unwrap_or_default();
        std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &whole)).map_err(file(&whole))
    }

    /// The faults that are active.
    ///
    /// # Errors
    /// [`EngineError::File`] if the cluster's folder cannot be read.
    pub fn faults(&self) -> Result<Vec<Active>, EngineError> {
        Ok(self.kept()?.faults.active().to_vec())
    }

    /// Lets a fault begin, which ends by itself after `lasts`, if that is given.
    ///
    /// # Errors
    /// [`EngineError::Fault`] if it names what the cluster does not have, or cannot be put into force; it is not active
    /// then.
    pub fn begin_fault(&self, fault: Fault, lasts: Option<Duration>) -> Result<Active, EngineError> {
        let _lock = self.lock()?;
        let mut kept = self.kept()?;
        // Before anything is changed.
        let wanted = self.fault_plan(&[&fault])?;
        if let Some(host) = wanted.disks.keys().find(|_| !self.has_faulty_disks()) {
            return Err(FaultError::PlainDisk(host.clone()).into());
        }
        if let Fault::PowerCut { hosts } = &fault {
            let hosts = crate::fault::plan::resolve(hosts, &self.topology()).map_err(FaultError::from)?;
            let loses = |host: &&String| self.has_faulty_disks() && self.disk_hosts().any(|one| one.name == **host);
            let kept: Vec<_> = hosts.iter().filter(|host| !loses(host)).cloned().collect();
            if !kept.is_empty() {
                return Err(FaultError::NothingLost(kept.join(", ")).into());
            }
        }
        if let Fault::Restart(processes) = &fault {
            let hosts = crate::fault::plan::resolve(&processes.hosts, &self.topology()).map_err(FaultError::from)?;
            for host in hosts {
                self.restart(&host, processes.component.as_deref())?;
            }
            return Ok(Faults::default().begin(fault, Timestamp::now(), None));
        }
        let active = kept.faults.begin(fault, Timestamp::now(), lasts);
        self.put_into_force(&mut kept)?;
        self.start_timer(&mut kept)?;
        self.keep(&kept)?;
        Ok(active)
    }

    /// Ends a fault, or all.
    ///
    /// # Errors
    /// [`EngineError::Fault`] if there is none of this number, or what it did cannot be undone.
    pub fn undo_faults(&self, ids: Option<&[u32]>) -> Result<Vec<Active>, EngineError> {
        let _lock = self.lock()?;
        let mut kept = self.kept()?;
        let ended = match ids {
            None => kept.faults.undo_all(),
            Some(ids) => {
                let undo = |id: &u32| kept.faults.undo(*id).ok_or(FaultError::Unknown(*id));
                ids.iter().map(undo).collect::<Result<_, _>>()?
            }
        };
        self.put_into_force(&mut kept)?;
        self.keep(&kept)?;
        Ok(ended)
    }

    /// Puts the faults that are active into force again: hosts were made anew.
    pub(super) fn apply_faults(&self) -> Result<(), EngineError> {
        let mut kept = self.kept()?;
        self.put_into_force(&mut kept)?;
        self.keep(&kept)
    }

    /// The hosts as faults see them.
    fn topology(&self) -> Topology {
        let plan = self.plan();
        let members = if plan.spec.etcd.topology == EtcdTopology::External { Role::Etcd } else { Role::ControlPlane };
        let host = |planned: &PlannedHost| {
            let interface: Interface = planned.name.parse().ok()?;
            let port = Port { interface, mac: Mac(plan.mac(planned)) };
            let zone = plan.spec.zones.get(planned.zone).cloned();
            Some((planned.name.clone(), FaultyHost { port, zone, etcd: planned.role == members }))
        };
        plan.hosts.iter().filter(|planned| planned.role != Role::Switch).filter_map(host).collect()
    }

    /// The delays between zones, which are part of the specification.
    fn standing(&self) -> Vec<Fault> {
        let delay = |delay: &super::spec::ZoneDelay| {
            let zone = |at: usize| format!("zone:{}", delay.between[at]).parse::<Hosts>();
            let path = FaultPath { from: zone(0).ok()?, to: Some(zone(1).ok()?), one_way: false };
            Some(Fault::Delay { path, delay: delay.delay(), jitter: Duration::ZERO })
        };
        self.plan().spec.network.delays.iter().filter_map(delay).collect()
    }

    fn fault_plan(&self, faults: &[&Fault]) -> Result<Plan, EngineError> {
        let standing = self.standing();
        let all: Vec<&Fault> = standing.iter().chain(faults.iter().copied()).collect();
        Ok(plan(all, &self.topology()).map_err(FaultError::from)?)
    }

    fn put_into_force(&self, kept: &mut Kept) -> Result<(), EngineError> {
        let wanted = self.fault_plan(&kept.faults.active().iter().map(|active| &active.fault).collect::<Vec<_>>())?;
        let switch = self.process(SWITCH)?;
        let namespace = PathBuf::from(format!("/proc/{}/ns/net", switch.pid));
        link::apply(&namespace, &wanted.rules).map_err(FaultError::from)?;
        self.delay(switch, &wanted)?;
        self.disks(&wanted)?;
        for key in kept.held.clone() {
            if !wanted.processes.contains_key(&key) {
                self.let_go(&key.0, key.1.as_deref())?;
                kept.held.remove(&key);
            }
        }
        for (key, how) in &wanted.processes {
            if kept.held.insert(key.clone()) {
                self.hold(&key.0, key.1.as_deref(), *how)?;
            }
        }
        Ok(())
    }

    fn delay(&self, switch: Process, wanted: &Plan) -> Result<(), EngineError> {
        let client = self.host(SWITCH)?.client();
        let runs = client.status()?.iter().any(|status| status.unit.name == DELAYS);
        if wanted.delays.paths.is_empty() && !runs {
            return Ok(());
        }
        if !runs {
            let bridge: Interface = BRIDGE.parse().map_err(EngineError::Preflight)?;
            let program = OsStr::new("/usr/local/bin/seaworthy");
            let own = Path::new("/proc/self/ns/net");
            let command = link::delay::command(program, own, &bridge, Path::new(DELAYS_SOCKET));
            client.start(unit_of(DELAYS, &command, DELAYS_SOCKET))?;
            super::engine::await_unit(&self.host(SWITCH)?, DELAYS)?;
        }
        let socket = PathBuf::from(format!("/proc/{}/root{DELAYS_SOCKET}", switch.pid));
        Ok(link::delay::set(&socket, &wanted.delays).map_err(FaultError::from)?)
    }

    fn hold(&self, name: &str, component: Option<&str>, how: Held) -> Result<(), EngineError> {
        let host = self.host(name)?;
        match (how, component) {
            (Held::Stopped, unit) => Ok(host.client().signal(unit, Signal::SIGSTOP)?),
            (Held::Down, Some(unit)) => Ok(host.client().stop(unit, Duration::ZERO)?),
            (Held::Down, None) => self.power_off(name),
            (Held::Off, _) => self.cut_power(&host),
        }
    }

    fn let_go(&self, name: &str, component: Option<&str>) -> Result<(), EngineError> {
        let host = self.host(name)?;
        if host.process().is_none() {
            return self.power_on(name);
        }
        match component {
            None => Ok(host.client().signal(None, Signal::SIGCONT)?),
            Some(unit) => match host.client().signal(Some(unit), Signal::SIGCONT) {
                Ok(()) => Ok(()),
                // It was killed rather than stopped.
                Err(_) => Ok(host.client().restart(unit)?),
            },
        }
    }

    fn restart(&self, name: &str, component: Option<&str>) -> Result<(), EngineError> {
        let host = self.host(name)?;
        match component {
            // Its agent starts it again.
            Some(unit) => Ok(host.client().signal(Some(unit), Signal::SIGKILL)?),
            None => self.power_off(name).and_then(|()| self.power_on(name)),
        }
    }

    /// Starts who ends timed faults, unless somebody does.
    fn start_timer(&self, kept: &mut Kept) -> Result<(), EngineError> {
        if kept.faults.next_end().is_none() || kept.timer.is_some_and(Process::is_alive) {
            return Ok(());
        }
        let mut command = Command::new("/proc/self/exe");
        command.arg(TIMER).arg(&self.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: setsid(2) is async-signal-safe. It outlives who started it.
        unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
        let child = command.spawn().map_err(file(&self.folder))?;
        kept.timer = Process::of(child.id().cast_signed());
        Ok(())
    }

    /// Ends who would end timed faults: the cluster goes.
    pub(super) fn stop_timer(folder: &Path) {
        let kept = std::fs::read(folder.join("faults.json")).ok();
        let kept = kept.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        if let Some(timer) = kept.and_then(|kept| kept.timer) {
            let _ = timer.end();
        }
    }
}

/// A unit of a command, that is ready once its socket is there.
pub(super) fn unit_of(name: &str, command: &Command, socket: &str) -> Unit {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let argv = words.map(|word| word.to_string_lossy().into_owned()).collect();
    Unit { ready: Some(Ready::Socket(socket.into())), ..super::engine::unit(name, argv) }
}

/// If the arguments make this program the one that ends timed faults: does so, until none is left.
#[must_use]
pub fn fault_timer_main(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, argument, folder] = arguments else { return None };
    if argument != TIMER {
        return None;
    }
    let folder = Path::new(folder);
    let clusters = super::folder::Clusters::at(folder.parent()?);
    let name = folder.file_name()?.to_str()?;
    // Often enough to see a fault that was undone, or begun, meanwhile.
    let often = Duration::from_millis(200);
    while let Ok(cluster) = clusters.open(name) {
        // Somebody may be at work on the cluster: then the next time.
        let pause = match cluster.kept().map(|kept| kept.faults.next_end()) {
            Ok(Some(end)) => match end.duration_since(Timestamp::now()) {
                left if left.is_positive() => left.unsigned_abs().min(often),
                _ if cluster.expire_faults().is_ok() => continue,
                _ => often,
            },
            Ok(None) if cluster.retire_timer().is_ok_and(|retired| retired) => break,
            Ok(None) => often,
            Err(_) => break,
        };
        std::thread::sleep(pause);
    }
    Some(ExitCode::SUCCESS)
}

impl Cluster {
    /// Is nothing left to end? Then the timer is none from now on: who begins a timed fault starts another.
    fn retire_timer(&self) -> Result<bool, EngineError> {
        let _lock = self.lock()?;
        let mut kept = self.kept()?;
        if kept.faults.next_end().is_some() {
            return Ok(false);
        }
        kept.timer = None;
        self.keep(&kept)?;
        Ok(true)
    }

    fn expire_faults(&self) -> Result<(), EngineError> {
        let _lock = self.lock()?;
        let mut kept = self.kept()?;
        if !kept.faults.expire(Timestamp::now()).is_empty() {
            self.put_into_force(&mut kept)?;
            self.keep(&kept)?;
        }
        Ok(())
    }
}

/// Disks.
impl Cluster {
    /// Are the disks of etcd's members such that faults can be put on them?
    pub(super) fn has_faulty_disks(&self) -> bool {
        self.plan().spec.disks == super::spec::Disks::Faulty
    }

    fn disk_hosts(&self) -> impl Iterator<Item = &PlannedHost> {
        let members =
            if self.plan().spec.etcd.topology == EtcdTopology::External { Role::Etcd } else { Role::ControlPlane };
        self.plan().of(members).filter(|_| self.has_faulty_disks())
    }

    /// Has a disk serve etcd's folder of a host, if it is to be such a one.
    pub(super) fn start_disk(&self, host: &Host) -> Result<(), EngineError> {
        if !self.disk_hosts().any(|planned| planned.name == host.name()) {
            return Ok(());
        }
        let outside = host.var().join("lib/etcd-disk");
        std::fs::create_dir_all(&outside).map_err(file(&outside))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&outside, mode).map_err(file(&outside))?;
        let program = OsStr::new("/usr/local/bin/seaworthy");
        let (folder, mountpoint) = (Path::new("/var/lib/etcd-disk"), Path::new("/var/lib/etcd"));
        let command = disk::command(program, folder, mountpoint, Path::new(DISK_SOCKET));
        host.client().start(unit_of(DISK, &command, DISK_SOCKET))?;
        super::engine::await_unit(host, DISK)
    }

    fn disk_socket(process: Process) -> PathBuf {
        format!("/proc/{}/root{DISK_SOCKET}", process.pid).into()
    }

    fn disks(&self, wanted: &Plan) -> Result<(), EngineError> {
        for planned in self.disk_hosts() {
            let host = self.host(&planned.name)?;
            let Some(process) = host.process() else { continue };
            let settings = wanted.disks.get(&planned.name).copied().unwrap_or_default();
            // It is not there before etcd is started for the first time.
            if host.client().status()?.iter().any(|status| status.unit.name == DISK) {
                disk::set(&Self::disk_socket(process), settings).map_err(FaultError::from)?;
            }
        }
        Ok(())
    }

    /// Ends a host, and what its disk had not synced.
    fn cut_power(&self, host: &Host) -> Result<(), EngineError> {
        let disk = self.disk_hosts().any(|planned| planned.name == host.name());
        let Some(process) = host.process().filter(|_| disk) else { return self.power_off(host.name()) };
        // What ran is to run again when the power comes back, and not before.
        let units = host.saved_units()?;
        host.client().stop("etcd", Duration::ZERO)?;
        disk::cut_power(&Self::disk_socket(process)).map_err(FaultError::from)?;
        self.power_off(host.name())?;
        Ok(host.save_units(&units)?)
    }
}
