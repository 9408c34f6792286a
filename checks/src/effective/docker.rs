//! Docker Engine's effective cgroup driver: `daemon.json`, flags of dockerd, and what it chooses by itself.

use serde_json::Value;

use super::Origin;
use super::systemd::{self, Word};
use crate::conclusion::Location;
use crate::fact::Fact;
use crate::host::Host;

/// Where dockerd looks for its configuration, unless a flag names another file.
pub const DAEMON: &str = "/etc/docker/daemon.json";
const OPTION: &str = "native.cgroupdriver=";

/// What dockerd is configured with.
#[derive(Debug, Clone, PartialEq)]
pub struct Docker {
    /// Its file.
    pub path: String,
    /// What is in the file.
    pub daemon: Fact<Value>,
    text: String,
    words: Vec<Word>,
}

impl Docker {
    /// Reads the configuration that dockerd is started with.
    pub fn read(host: &dyn Host) -> Self {
        let words = match systemd::unit(host, "docker.service") {
            Fact::Known(unit) => unit.command(&unit.environment(host)),
            _ => Vec::new(),
        };
        let named = values(&words, "config-file").pop().map(|(path, _)| path);
        let path = named.unwrap_or_else(|| DAEMON.to_owned());
        let read = host.text(&path);
        let text = read.known().cloned().unwrap_or_default();
        let daemon =
            read.parse(|text| serde_json::from_str(&text).map_err(|error| format!("{path} is no JSON: {error}")));
        Self { path, daemon, text, words }
    }

    /// The cgroup driver that is set, by the file or by a flag, and where.
    #[must_use]
    pub fn cgroup_driver(&self) -> Option<(String, Origin)> {
        let flags = values(&self.words, "exec-opt").into_iter();
        let flag = flags.filter_map(|(value, at)| Some((value.strip_prefix(OPTION)?.to_owned(), at))).next_back();
        if let Some((driver, at)) = flag {
            return Some((driver, Origin::Flag { flag: "--exec-opt".to_owned(), at }));
        }
        let options = self.daemon.known()?.get("exec-opts")?.as_array()?;
        let driver =
            options.iter().filter_map(Value::as_str).filter_map(|option| option.strip_prefix(OPTION)).next_back();
        Some((driver?.to_owned(), Origin::file(&self.path, self.line("exec-opts"))))
    }

    /// The line of a member of the file.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<u32> {
        let key = format!("\"{name}\"");
        let number = self.text.lines().position(|line| line.contains(&key))?;
        u32::try_from(number + 1).ok()
    }
}

fn values(words: &[Word], name: &str) -> Vec<(String, Option<Location>)> {
    let mut found = Vec::new();
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        let Some(flag) = word.text.strip_prefix("--") else { continue };
        match flag.split_once('=') {
            Some((flag, value)) if flag == name => found.push((value.trim_matches('"').to_owned(), word.at.clone())),
            None if flag == name => found.extend(rest.next().map(|next| (next.text.clone(), next.at.clone()))),
            _ => {}
        }
    }
    found
}
