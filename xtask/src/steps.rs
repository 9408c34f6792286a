//! Steps of a command: each is named, timed, and ends the command where it fails.

use std::process::{Command, Stdio};
use std::time::Instant;

/// The steps so far.
pub(crate) struct Steps {
    name: String,
    begun: Instant,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        Self { name: String::new(), begun: Instant::now() }
    }

    /// The step that runs.
    pub(crate) fn current(&self) -> &str {
        &self.name
    }

    /// Ends the step before and says how long it took.
    pub(crate) fn begin_step(&mut self, name: &str) {
        self.end();
        (self.name, self.begun) = (name.to_owned(), Instant::now());
    }

    /// Says how long the last step took.
    pub(crate) fn end(&mut self) {
        if !self.name.is_empty() {
            println!("== {}: {} s", self.name, self.begun.elapsed().as_secs());
        }
    }

    /// Runs a program, which prints where we print.
    pub(crate) fn run(&self, command: &[&str], environment: &[(&str, &str)]) -> Result<(), String> {
        let status = start(command).envs(environment.iter().copied()).status();
        ended(command, status)
    }

    /// Runs a program and returns the last line that it prints.
    pub(crate) fn output(&self, command: &[&str]) -> Result<String, String> {
        let output = start(command).stderr(Stdio::inherit()).output();
        let text = output.as_ref().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let text = text.unwrap_or_default();
        ended(command, output.map(|output| output.status))?;
        Ok(text.trim_end().lines().last().unwrap_or_default().to_owned())
    }
}

fn start(command: &[&str]) -> Command {
    let mut started = Command::new(command[0]);
    started.args(&command[1..]);
    started
}

fn ended(command: &[&str], status: std::io::Result<std::process::ExitStatus>) -> Result<(), String> {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}: {status}", command.join(" "))),
        Err(error) => Err(format!("{}: {error}", command.join(" "))),
    }
}

/// Where `cargo build --release` puts the program: below the folder of its target.
pub(crate) fn release_binary() -> Result<String, String> {
    let target = std::env::current_dir().map_err(|error| error.to_string())?.join("target");
    let folders = std::fs::read_dir(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    let places = folders.flatten().map(|folder| folder.path().join("release/seaworthy"));
    let found = places.chain([target.join("release/seaworthy")]).find(|place| place.is_file());
    found.map(|place| place.display().to_string()).ok_or_else(|| format!("{} holds no binary", target.display()))
}
