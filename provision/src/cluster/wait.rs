//! Waiting until the API shows something, and saying why it does not.
//!
//! The cause of a wait that fails is rarely in the object that is waited for: it is in the log of the component that
//! should have made it, or in the conditions and events of a pod. So a [`Wait`] names its suspects, and its error
//! quotes them.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::api::{Api, ApiError};
use super::engine::{EngineError, PATIENCE};
use crate::host::Host;

/// How often a component may restart during a wait before the wait is over: it will not become better by itself.
const RESTARTS: u32 = 5;
/// How often the suspects are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How many lines of a log, and how many events of a pod, are quoted.
const LINES: usize = 8;

/// Something that did not come, and what is known of why.
#[derive(Debug)]
pub struct Waited {
    what: String,
    after: Duration,
    last: String,
    known: Vec<String>,
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, after, last, known } = self;
        write!(f, "gave up waiting for {what} after {:.0?}: {last}", Duration::from_secs(after.as_secs().max(1)))?;
        known.iter().try_for_each(|line| write!(f, "\n  {line:.300}"))
    }
}

impl std::error::Error for Waited {}

/// A unit that may be the cause, and how often it had restarted before the wait.
struct Suspect {
    host: Host,
    unit: &'static str,
    restarts: u32,
}

impl Suspect {
    fn restarts(&self) -> u32 {
        let units = self.host.client().status().unwrap_or_default();
        units.iter().find(|one| one.unit.name == self.unit).map_or(0, |one| one.restarts)
    }

    /// How it is, and the last lines of its log.
    fn quote(&self, known: &mut Vec<String>) {
        let units = self.host.client().status();
        let status = units.as_ref().ok().and_then(|units| units.iter().find(|one| one.unit.name == self.unit));
        let place = format!("{} on {}", self.unit, self.host.name());
        let how = match (&units, status) {
            (Err(error), _) => error.to_string(),
            (_, None) => "was not started".to_owned(),
            (_, Some(status)) => {
                let exit = status.exit.map_or_else(String::new, |exit| format!(", last ended with {exit}"));
                let doubt = status.doubt.as_ref().map_or_else(String::new, |doubt| format!(", {doubt}"));
                format!("is {}, restarted {} times{exit}{doubt}", status.state, status.restarts)
            }
        };
        known.push(format!("{place} {how}"));
        let log = self.host.log(self.unit).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        known.extend(lines[lines.len().saturating_sub(LINES)..].iter().map(|line| format!("  {line}")));
    }
}

/// A wait for what is at a path of the API.
pub(super) struct Wait<'a> {
    api: &'a Api,
    what: String,
    path: String,
    suspects: Vec<Suspect>,
    pods: Option<String>,
}

impl<'a> Wait<'a> {
    /// For `what` people call the object at `path`.
    pub(super) fn new(api: &'a Api, what: impl Into<String>, path: impl Into<String>) -> Self {
        Self { api, what: what.into(), path: path.into(), suspects: Vec::new(), pods: None }
    }

    /// A unit whose log tells why, and whose fifth restart ends the wait.
    pub(super) fn suspect(mut self, host: Host, unit: &'static str) -> Self {
        let mut suspect = Suspect { host, unit, restarts: 0 };
        suspect.restarts = suspect.restarts();
        self.suspects.push(suspect);
        self
    }

    /// Pods whose conditions and events tell why: the path of a list.
    pub(super) fn pods(mut self, path: &str) -> Self {
        self.pods = Some(path.to_owned());
        self
    }

    /// Waits until `look` finds what it looks for.
    ///
    /// # Errors
    /// [`EngineError::Waited`] with what `look` said last and what the suspects say.
    pub(super) fn until<T>(self, look: impl Fn(&Value) -> Result<T, String>) -> Result<T, EngineError> {
        let begun = Instant::now();
        loop {
            let last = match self.api.wait(&self.what, &self.path, LOOK, &look) {
                Ok(found) => return Ok(found),
                Err(ApiError::Waited { last, .. }) => last,
                Err(error) => return Err(error.into()),
            };
            let hopeless = self.suspects.iter().any(|one| one.restarts().saturating_sub(one.restarts) >= RESTARTS);
            if hopeless || begun.elapsed() > PATIENCE {
                let mut known = Vec::new();
                if let Some(pods) = &self.pods {
                    quote_pods(self.api, pods, &mut known);
                }
                self.suspects.iter().for_each(|suspect| suspect.quote(&mut known));
                let (what, after) = (self.what, begun.elapsed());
                return Err(EngineError::Waited(Box::new(Waited { what, after, last, known })));
            }
        }
    }
}

/// What the pods of a list that are not ready say of themselves, and their last events.
fn quote_pods(api: &Api, path: &str, known: &mut Vec<String>) {
    let pods = match api.get(path) {
        Ok(pods) => pods,
        Err(error) => return known.push(format!("its pods cannot be listed: {error}")),
    };
    let items = pods["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        known.push("no pod of it exists".to_owned());
    }
    for pod in items {
        known.extend(troubles(pod));
        let text = |pointer| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let events = format!("/api/v1/namespaces/{namespace}/events?fieldSelector=involvedObject.name%3D{name}");
        let events = api.get(&events).unwrap_or_default();
        let events = events["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        known.extend(events[events.len().saturating_sub(LINES)..].iter().map(|event| {
            let text = |key: &str| event[key].as_str().unwrap_or_default();
            format!("  event {}: {}", text("reason"), text("message"))
        }));
    }
}

/// Why a pod is not ready, a line each: its phase, conditions that do not hold, and containers that wait or have ended.
fn troubles(pod: &Value) -> Vec<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let mut lines = vec![format!("pod {name} is {}", pod["status"]["phase"].as_str().unwrap_or("of no phase"))];
    let reasons = |state: &Value| {
        let text = |key: &str| state[key].as_str().filter(|text| !text.is_empty());
        [text("reason"), text("message")].into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    for condition in pod["status"]["conditions"].as_array().into_iter().flatten() {
        if condition["status"] != "True" {
            let kind = condition["type"].as_str().unwrap_or_default();
            lines.push(format!("  condition {kind} does not hold: {}", reasons(condition)));
        }
    }
    for container in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        for (state, word) in [("waiting", "waits"), ("terminated", "has ended")] {
            let state = &container["state"][state];
            if state.is_object() {
                lines.push(format!("  container {name} {word}: {}", reasons(state)));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_says_what_keeps_it() {
        let pod = json!({
            "metadata": { "name": "coredns-1" },
            "status": {
                "phase": "Pending",
                "conditions": [
                    { "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                      "message": "0/1 nodes are available: 1 node(s) had untolerated taint(s)" },
                    { "type": "Initialized", "status": "True" },
                ],
                "containerStatuses": [{ "name": "coredns", "state": { "waiting": { "reason": "ImagePullBackOff" } } }],
            },
        });
        assert_eq!(
            troubles(&pod),
            [
                "pod coredns-1 is Pending",
                "  condition PodScheduled does not hold: Unschedulable: 0/1 nodes are available: 1 node(s) had \
                 untolerated taint(s)",
                "  container coredns waits: ImagePullBackOff",
            ]
        );
    }

    #[test]
    fn the_time_in_the_message_is_the_time_that_passed() {
        let waited = Waited {
            what: "node worker1".into(),
            after: Duration::from_millis(7_400),
            last: "not found".into(),
            known: vec!["kubelet on worker1 is waiting, restarted 5 times".into()],
        };
        let text = waited.to_string();
        assert_eq!(
            text,
            "gave up waiting for node worker1 after 7s: not found\n  kubelet on worker1 is waiting, restarted 5 times"
        );
    }
}
