//! A program of the user that breaks a part of a cluster which is not ours, and mends it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;

/// How long one call may take.
const LIMIT: Duration = Duration::from_mins(2);
/// `EX_UNAVAILABLE` of sysexits(3): the hook does not know this fault.
const UNAVAILABLE: i32 = 69;
/// So much of what a hook says is quoted.
const QUOTED: usize = 400;

/// A hook: it is called as `HOOK FAULT TARGET on|off [OPTIONS]`.
///
/// What is on is kept in a file, so that the next run ends what a killed one left.
#[derive(Debug, Clone)]
pub struct Hook {
    program: PathBuf,
    kubeconfig: PathBuf,
    ledger: PathBuf,
}

/// Why a hook did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookError {
    /// It says that it does not know the fault.
    #[error("the hook does not know {0} (exit code {UNAVAILABLE})")]
    Unknown(String),
    /// It failed, or did not return.
    #[error("{0}")]
    Failed(String),
}

impl Hook {
    /// A hook that is called with this kubeconfig in its environment; `ledger` is where what is on is kept.
    #[must_use]
    pub fn new(program: &Path, kubeconfig: &Path, ledger: PathBuf) -> Self {
        Self { program: program.to_owned(), kubeconfig: kubeconfig.to_owned(), ledger }
    }

    /// Begins a fault: the words of `seaworthy cluster fault`.
    ///
    /// # Errors
    /// [`HookError`]. After one that failed the fault may be there in part: [`Self::end`] ends it.
    pub async fn begin(&self, words: &str) -> Result<(), HookError> {
        let failed = |why: std::io::Error| HookError::Failed(format!("{}: {why}", self.ledger.display()));
        self.note(words).map_err(failed)?;
        let begun = self.call(words, "on").await;
        if matches!(begun, Err(HookError::Unknown(_))) {
            self.forget(words).map_err(failed)?;
        }
        begun
    }

    /// Ends all faults that are on, the last one first; also those that an earlier run left.
    ///
    /// # Errors
    /// What could not be ended, with the reasons.
    pub async fn end(&self) -> Result<(), String> {
        let mut left = Vec::new();
        for words in self.on().into_iter().rev() {
            match self.call(&words, "off").await {
                Ok(()) => self.forget(&words).map_err(|why| format!("{}: {why}", self.ledger.display()))?,
                Err(why) => left.push(why.to_string()),
            }
        }
        if left.is_empty() { Ok(()) } else { Err(left.join("; ")) }
    }

    /// What is on.
    #[must_use]
    pub fn on(&self) -> Vec<String> {
        std::fs::read_to_string(&self.ledger).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn note(&self, words: &str) -> std::io::Result<()> {
        if let Some(folder) = self.ledger.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.ledger)?;
        writeln!(file, "{words}")?;
        file.sync_all()
    }

    fn forget(&self, words: &str) -> std::io::Result<()> {
        let mut on = self.on();
        let Some(at) = on.iter().rposition(|one| one == words) else { return Ok(()) };
        on.remove(at);
        if on.is_empty() {
            return std::fs::remove_file(&self.ledger);
        }
        let mut file = File::create(&self.ledger)?;
        on.iter().try_for_each(|one| writeln!(file, "{one}"))?;
        file.sync_all()
    }

    async fn call(&self, words: &str, switch: &str) -> Result<(), HookError> {
        let (fault, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (target, options) = rest.split_once(' ').unwrap_or((rest, ""));
        let arguments = [fault, target, switch].into_iter().chain(options.split_whitespace());
        let shown = format!("{} {fault} {target} {switch}", self.program.display());
        let failed = |why: &dyn std::fmt::Display| HookError::Failed(format!("{shown}: {why}"));
        let mut command = Command::new(&self.program);
        command.args(arguments.map(OsStr::new)).env("KUBECONFIG", &self.kubeconfig).process_group(0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.map_err(|why| failed(&why))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let Ok(output) = tokio::time::timeout(LIMIT, child.wait_with_output()).await else {
            // What it started goes with it.
            let ended = group.map_or(Ok(()), |group| killpg(group, Signal::SIGKILL));
            let left = ended.err().map_or(String::new(), |why| format!(", and it could not be ended: {why}"));
            return Err(failed(&format!("it did not return within {LIMIT:?}{left}")));
        };
        let output = output.map_err(|why| failed(&why))?;
        if output.status.success() {
            return Ok(());
        }
        if output.status.code() == Some(UNAVAILABLE) {
            return Err(HookError::Unknown(format!("'{fault} {target}'")));
        }
        let said = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        let last: Vec<char> = said.trim().chars().rev().take(QUOTED).collect();
        let last: String = last.into_iter().rev().collect();
        Err(failed(&format!("{}: {last}", output.status)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A hook of this script in a folder of its own, and the file in which the script notes its calls.
    fn hook(script: &str) -> (tempfile::TempDir, Hook) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("hook");
        let calls = folder.path().join("calls").display().to_string();
        std::fs::write(&program, format!("#!/bin/sh\necho \"$@\" >>{calls}\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let hook = Hook::new(&program, Path::new("/kubeconfig"), folder.path().join("state/faults"));
        (folder, hook)
    }

    fn calls(folder: &tempfile::TempDir) -> String {
        std::fs::read_to_string(folder.path().join("calls")).unwrap_or_default()
    }

    #[tokio::test]
    async fn what_begins_is_ended_in_the_opposite_order() {
        let (folder, hook) = hook("");
        hook.begin("slow-disk cp1 --fsync 200ms").await.unwrap();
        hook.begin("kill cp2/etcd").await.unwrap();
        assert_eq!(hook.on().len(), 2);
        hook.end().await.unwrap();
        let wanted = "slow-disk cp1 on --fsync 200ms\nkill cp2/etcd on\nkill cp2/etcd off\n\
                      slow-disk cp1 off --fsync 200ms\n";
        assert_eq!(calls(&folder), wanted);
        assert!(hook.on().is_empty() && !folder.path().join("state/faults").exists());
    }

    #[tokio::test]
    async fn what_could_not_be_ended_is_ended_by_the_next_run() {
        let (folder, hook) = hook(&format!("test \"$3\" = on || test -e {}", "\"$(dirname \"$0\")/mended\""));
        hook.begin("stop cp1/etcd").await.unwrap();
        assert!(hook.end().await.unwrap_err().contains("stop cp1/etcd off"));
        assert_eq!(hook.on(), ["stop cp1/etcd"]);
        std::fs::write(folder.path().join("mended"), "").unwrap();
        hook.end().await.unwrap();
        assert!(hook.on().is_empty());
    }

    #[tokio::test]
    async fn a_fault_that_is_not_known_is_told_from_one_that_fails() {
        let (_folder, unknown) = hook("exit 69");
        assert_eq!(unknown.begin("kill cp1").await, Err(HookError::Unknown("'kill cp1'".to_owned())));
        assert!(unknown.on().is_empty());
        let (_folder, failing) = hook("echo no route to cp1 >&2; exit 1");
        let why = failing.begin("kill cp1").await.unwrap_err().to_string();
        assert!(why.contains("kill cp1 on") && why.contains("no route to cp1"), "{why}");
        assert_eq!(failing.on(), ["kill cp1"]);
    }
}
