//! The host under trial, read-only by type: it answers queries and cannot be told to change.
//!
//! Three kinds answer: [`LiveHost`] (this machine, or a node's root mounted at a path), [`Transcript`] (what a host
//! once said, from memory or a recording) and [`Recorder`], which asks another host, redacts and remembers.

mod cluster;
mod credentials;
mod cri;
mod http;
mod keep;
mod live;
mod liveness;
mod lookup;
mod private_keys;
mod probe;
mod process;
mod program;
mod query;
mod recording;
mod remote;
mod tls;
mod transcript;

pub use cluster::{
    ApiCall, Cluster, ConfigMaps, Disorder, Exposed, Leaf, Material, NoPair, Pairing, Reducer, SecretObject,
    SecretUses, Signature, TlsSecret, TlsSecrets, jws, kubeconfig, material,
};
pub use credentials::{Block, Credentials, Form, Holds, Oddity, WrongLabel, credentials};
pub use keep::{is_listed, redact};
pub use live::LiveHost;
pub use private_keys::{Among, FoundKey, PrivateKeys, private_keys};
pub use probe::probe_main;
pub use process::Process;
pub use query::{
    Answer, CriCall, Entry, FileKind, FileSystem, Layout, Probe, Program, Query, Question, Refusal, RefusalKind, Reply,
    Stat, System, TlsCall,
};
pub use recording::{BadRecording, FORMAT as RECORDING_FORMAT, read_recording, write_recording};
pub use remote::Remote;
pub use tls::{Clock, Reception, Served, Survey, Welcome, hello, suites};
pub use transcript::{Meta, Recorder, Transcript, UNRECORDED};

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::fact::Fact;

/// Something that answers queries about a node and cannot be told to change it.
pub trait Host: Sync {
    /// Answers one query. Bounded in time and size; never panics, whatever the node holds.
    fn ask(&self, query: &Query) -> Answer;
}

impl dyn Host + '_ {
    /// A whole file as bytes. A file beyond 1 MiB is unreadable: half a file is not parsed.
    pub fn read(&self, path: &str) -> Fact<Vec<u8>> {
        match self.ask(&Query::Read { path: path.to_owned() }) {
            Ok(Reply::Bytes { truncated: true, bytes }) => {
                Fact::Unreadable(format!("{path} is too large: only its first {} bytes were read", bytes.len()))
            }
            Ok(Reply::Bytes { bytes, truncated: false }) => Fact::Known(bytes),
            other => refused(path, other),
        }
    }

    /// A whole file as text; what is not UTF-8 becomes U+FFFD.
    pub fn text(&self, path: &str) -> Fact<String> {
        self.read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The first bytes of a file as text, however long the file is.
    pub fn head(&self, path: &str) -> Fact<String> {
        match self.ask(&Query::Read { path: path.to_owned() }) {
            Ok(Reply::Bytes { bytes, .. }) => Fact::Known(String::from_utf8_lossy(&bytes).into_owned()),
            other => refused(path, other),
        }
    }

    /// The entries of a directory, by name.
    pub fn list(&self, path: &str) -> Fact<Vec<Entry>> {
        match self.ask(&Query::List { path: path.to_owned() }) {
            Ok(Reply::Entries(entries)) => Fact::Known(entries),
            other => refused(path, other),
        }
    }

    /// Type, mode and owner of a file, symbolic links followed inside the root.
    pub fn stat(&self, path: &str) -> Fact<Stat> {
        match self.ask(&Query::Stat { path: path.to_owned() }) {
            Ok(Reply::Stat(stat)) => Fact::Known(stat),
            other => refused(path, other),
        }
    }

    /// Where a symbolic link points.
    pub fn link(&self, path: &str) -> Fact<String> {
        match self.ask(&Query::Link { path: path.to_owned() }) {
            Ok(Reply::Text(target)) => Fact::Known(target),
            other => refused(path, other),
        }
    }

    /// The file system that holds a path.
    pub fn file_system(&self, path: &str) -> Fact<FileSystem> {
        match self.ask(&Query::StatFs { path: path.to_owned() }) {
            Ok(Reply::FileSystem(stat)) => Fact::Known(stat),
            other => refused(path, other),
        }
    }

    /// Where the user says that things are; nowhere special, if nobody said so.
    pub fn layout(&self) -> Layout {
        self.parsed(&Query::Layout).known().cloned().unwrap_or_default()
    }

    /// The machine, and what we may do on it.
    pub fn system(&self) -> Fact<System> {
        match self.ask(&Query::System) {
            Ok(Reply::System(system)) => Fact::Known(system),
            other => refused("the machine", other),
        }
    }

    /// A structured answer (CRI, probes, HTTP, …).
    pub fn value(&self, query: &Query) -> Fact<Arc<serde_json::Value>> {
        match self.ask(query) {
            Ok(Reply::Value(value)) => Fact::Known(value),
            other => refused(&query.to_string(), other),
        }
    }

    /// A structured answer as what it stands for.
    pub fn parsed<T: DeserializeOwned>(&self, query: &Query) -> Fact<T> {
        self.value(query).parse(|value| T::deserialize(&*value).map_err(|error| format!("{query}: {error}")))
    }

    /// The TLS Secrets of the cluster.
    pub fn tls_secrets(&self) -> Fact<Arc<TlsSecrets>> {
        let query = Query::Api { call: ApiCall::TlsSecrets };
        match self.ask(&query) {
            Ok(Reply::TlsSecrets(all)) => Fact::Known(all),
            other => refused(&query.to_string(), other),
        }
    }

    /// Which Secrets of the cluster are named by what could serve by them.
    pub fn secret_uses(&self) -> Fact<Arc<SecretUses>> {
        let query = Query::Api { call: ApiCall::SecretUses };
        match self.ask(&query) {
            Ok(Reply::SecretUses(all)) => Fact::Known(all),
            other => refused(&query.to_string(), other),
        }
    }

    /// The output of an allow-listed program.
    pub fn run(&self, program: Program) -> Fact<String> {
        let query = Query::Run { program };
        match self.ask(&query) {
            Ok(Reply::Text(text)) => Fact::Known(text),
            other => refused(&query.to_string(), other),
        }
    }
}

/// The fact that a refusal, or a reply of the wrong type, stands for.
pub fn refused<T>(what: &str, answer: Answer) -> Fact<T> {
    match answer {
        Ok(_) => Fact::Unreadable(format!("{what}: the recording holds a reply of another type")),
        Err(refusal) => match refusal.kind {
            RefusalKind::Absent => Fact::Absent(refusal.to_string()),
            RefusalKind::NotAsked => Fact::NotGathered(refusal.to_string()),
            _ => Fact::Unreadable(refusal.to_string()),
        },
    }
}

/// Runs a future to its end on a thread of its own, whatever runtime the caller may be in.
fn block_on<T: Send>(runtime: &tokio::runtime::Runtime, future: impl Future<Output = T> + Send) -> T {
    let thread = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join());
    thread.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a future to its end on a thread and runtime of its own, whatever runtime the caller may be in.
fn within<T: Send>(future: impl Future<Output = Result<T, Refusal>> + Send) -> Result<T, Refusal> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(future),
            Err(error) => Err(Refusal::new(RefusalKind::Failed, format!("no runtime could be started: {error}"))),
        }
    };
    let thread = std::thread::scope(|scope| scope.spawn(run).join());
    thread.unwrap_or_else(|_| Err(Refusal::new(RefusalKind::Failed, "a defect of seaworthy: a query panicked")))
}
