//! Volumes: what of ConfigMaps, Secrets, the downward API, memory, disk and the node is seen in containers, with which
//! mode and owner.

mod directories;
mod downward;
mod files;

use serde_json::{Value, json};

use super::Area;
use crate::cluster::{Ctx, Stop};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "volumes",
    caught_by: "runtime-loses-mounts",
    why: "A program that finds its files missing, unreadable or stale fails, or works with what is no longer \
    true; files with \
          too wide a mode show secrets to other users.",
    how: "Runs a pod with the volume, and reads content, mode, owner and file system from inside.",
    fix: "Look into the kubelet's log for the volume's name, and at the mounts of /var/lib/kubelet \
          (propagation, nosuid, quota).",
    basis: ("Volumes", "https://kubernetes.io/docs/concepts/storage/volumes/"),
};

/// The first user that is not root, and the group of fsGroup.
const USER: u32 = 1000;
const GROUP: u32 = 1001;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = files::trials();
    trials.extend(downward::trials());
    trials.extend(directories::trials());
    trials
}

/// An object with the keys data-1 to data-3.
fn data(kind: &str, name: &str) -> Value {
    let field = if kind == "Secret" { "stringData" } else { "data" };
    let mut object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
    object[field] = json!({ "data-1": "value-1", "data-2": "value-2", "data-3": "value-3" });
    object
}

/// The words of a file that `stat` printed.
fn facts<'a>(printed: &'a str, path: &str) -> Option<Vec<&'a str>> {
    let start = format!("stat {path} ");
    let line = printed.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(line.split(' ').collect())
}

/// The claim does not hold unless a file has all these facts, such as `mode=0644`.
fn file_has(ctx: &Ctx, printed: &str, path: &str, wanted: &[String]) -> Result<(), Stop> {
    let found = facts(printed, path);
    let found = found.ok_or_else(|| Stop::breach(path, format!("{path}: nothing was printed of it: {printed}")))?;
    for fact in wanted {
        if !found.contains(&fact.as_str()) {
            ctx.breach(path, format!("{path}: expected {fact}; it has {}", found.join(" ")));
        }
    }
    Ok(())
}
