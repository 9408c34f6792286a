//! The box with its folder of clusters, and the program that is run in it.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seaworthy_provision::cluster::{Cluster, Clusters, HostStatus};
use seaworthy_provision::host::Host;
use serde_json::Value;

use super::inventory::Inventory;

/// Where clusters are kept in the box.
const CLUSTERS: &str = "/var/lib/seaworthy/clusters";
/// What the trials themselves write, which is no part of an inventory.
const SCRATCH: &str = "/mnt";
/// How long something may take that is not said to be there by `up` itself.
const PATIENCE: Duration = Duration::from_mins(3);

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A trial's part of the box.
pub(crate) struct Lab {
    prefix: String,
}

impl Lab {
    /// Runs a trial, and holds what it leaves against what there was before.
    pub(crate) fn trial(prefix: &str, run: fn(&Self)) -> Result<(), String> {
        let lab = Self { prefix: prefix.to_owned() };
        lab.inventory();
        let (before, begun) = (lab.inventory(), Instant::now());
        let ended = std::panic::catch_unwind(AssertUnwindSafe(|| run(&lab)));
        let down = lab.run(&["down", "--all"]);
        println!("    {:.1} s", begun.elapsed().as_secs_f64());
        if ended.is_err() {
            return Err("see above".to_owned());
        }
        let left = lab.left(&before);
        match (down.code, left.is_empty()) {
            (Some(0), true) => Ok(()),
            _ => Err(format!("down: {}\n{left}", down.err)),
        }
    }

    pub(crate) fn inventory(&self) -> Inventory {
        Inventory::take(&self.prefix)
    }

    /// What there is more or less than before. The kernel clears away a network namespace a moment after its last
    /// process.
    pub(crate) fn left(&self, before: &Inventory) -> String {
        let begun = Instant::now();
        loop {
            let left = self.inventory().since(before);
            if left.is_empty() || begun.elapsed() > Duration::from_secs(20) {
                return left;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The full name of a cluster.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// `seaworthy`.
    pub(crate) fn program(&self) -> Command {
        let binary = std::env::var_os("SEAWORTHY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_seaworthy").into());
        let mut command = Command::new(binary);
        command.env("SEAWORTHY_STATE", CLUSTERS).stdin(Stdio::null());
        command
    }

    /// `seaworthy cluster` with these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.program();
        command.arg("cluster").args(words);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        ran(&mut self.command(words))
    }

    /// What a command prints; it must end with 0.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "{words:?}: {}\n{}", ran.out, ran.err);
        ran.out
    }

    /// Brings a cluster up from a specification, shows its phases, and returns its name.
    pub(crate) fn up(&self, name: &str, spec: &str) -> String {
        let ran = self.try_up(name, spec);
        assert_eq!(ran.code, Some(0), "{name}: {}", ran.err);
        println!("{}", ran.err);
        self.name(name)
    }

    pub(crate) fn try_up(&self, name: &str, spec: &str) -> Ran {
        ran(&mut self.up_command(name, spec))
    }

    pub(crate) fn up_command(&self, name: &str, spec: &str) -> Command {
        let file = Path::new(SCRATCH).join(format!("{name}.yaml"));
        std::fs::write(&file, spec).unwrap();
        self.command(&["up", "--name", &self.name(name), file.to_str().unwrap()])
    }

    /// Starts `up`, with its errors in a file that can be read meanwhile.
    pub(crate) fn begin_up(&self, name: &str, spec: &str) -> (Child, PathBuf) {
        let path = Path::new(SCRATCH).join(format!("{name}.err"));
        let errors = File::create(&path).unwrap();
        (self.up_command(name, spec).stdout(Stdio::null()).stderr(errors).spawn().unwrap(), path)
    }

    pub(crate) fn clusters(&self) -> Clusters {
        Clusters::at(CLUSTERS)
    }

    pub(crate) fn cluster(&self, name: &str) -> Cluster {
        self.clusters().open(&self.name(name)).unwrap()
    }

    pub(crate) fn host(&self, name: &str, host: &str) -> Host {
        self.cluster(name).host(host).unwrap()
    }

    pub(crate) fn down(&self, name: &str) {
        self.ok(&["down", &self.name(name)]);
    }

    /// Runs a command on a host.
    pub(crate) fn exec(&self, name: &str, host: &str, words: &[&str]) -> Ran {
        self.run(&[&["exec", "--name", &self.name(name), host, "--"], words].concat())
    }

    /// What a command on a host prints; it must end with 0.
    pub(crate) fn said(&self, name: &str, host: &str, words: &[&str]) -> String {
        let ran = self.exec(name, host, words);
        assert_eq!(ran.code, Some(0), "{words:?} on {host}: {}\n{}", ran.out, ran.err);
        ran.out
    }

    /// kubectl on a control plane.
    pub(crate) fn kubectl(&self, name: &str, host: &str, words: &[&str]) -> String {
        self.said(name, host, &[&["kubectl"], words].concat())
    }

    /// Applies objects.
    pub(crate) fn apply(&self, name: &str, host: &str, objects: &str) {
        let file = self.host(name, host).kubernetes().join("objects.yaml");
        std::fs::write(file, objects).unwrap();
        self.kubectl(name, host, &["apply", "-f", "/etc/kubernetes/objects.yaml"]);
    }

    /// What the API server has at a path.
    pub(crate) fn get(&self, name: &str, host: &str, path: &str) -> Value {
        self.try_get(name, host, path).unwrap()
    }

    /// The same, or why it does not say.
    pub(crate) fn try_get(&self, name: &str, host: &str, path: &str) -> Result<Value, String> {
        let ran = self.exec(name, host, &["kubectl", "get", "--raw", path]);
        if ran.code != Some(0) {
            return Err(format!("{path} on {host}: {}{}", ran.out, ran.err));
        }
        serde_json::from_str(&ran.out).map_err(|fault| format!("{path} on {host}: {fault}: {}", ran.out))
    }

    /// How a cluster is, and the code that `status` ends with.
    pub(crate) fn status(&self, name: &str) -> (Option<i32>, Vec<Value>) {
        let ran = self.run(&["status", "-o", "json", &self.name(name)]);
        let status: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{}", ran.err));
        (ran.code, status["hosts"].as_array().unwrap().clone())
    }

    /// Waits until `status` says that everything is ready.
    pub(crate) fn until_ready(&self, name: &str) {
        until("everything is ready", || match self.status(name) {
            (Some(0), _) => Ok(()),
            (_, hosts) => Err(format!("{hosts:#?}")),
        });
    }

    /// The hosts that are up.
    pub(crate) fn alive(&self, name: &str) -> Vec<HostStatus> {
        self.cluster(name).status().hosts.into_iter().filter(|host| host.pid.is_some()).collect()
    }
}

/// Runs a command to its end.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Waits until a question is answered with `Ok`.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(found) => return found,
            Err(why) => assert!(begun.elapsed() < PATIENCE, "not so within {PATIENCE:?}: {what}: {why}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
