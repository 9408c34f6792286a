//! `seaworthy explain --effective`: what a component of a node really runs with, each value with its source.

use std::fmt::Write as _;

use anstream::eprintln;
use seaworthy_checks::effective::{COMPONENTS, Explained};
use serde_json::{Value, json};

use crate::cli::{ExplainOptions, Output, RemoteOptions};
use crate::fault::Fault;
use crate::pki::table::table;
use crate::{answer, sources};

/// The names of the components, for `--effective`.
pub(crate) fn names() -> Vec<&'static str> {
    COMPONENTS.iter().map(|(name, _)| *name).collect()
}

/// Prints the merged configuration; 3 where it may not be all.
pub(crate) fn explain(component: &str, options: &ExplainOptions) -> Result<i32, Fault> {
    let Some((name, explain)) = COMPONENTS.iter().find(|(name, _)| *name == component) else {
        return Err(Fault::usage(format!("'{component}' cannot be explained; name one of {}", names().join(", "))));
    };
    let hosts = std::slice::from_ref(&options.host);
    let remote = RemoteOptions { kubeconfig: options.kubeconfig.clone(), ..RemoteOptions::default() };
    let sources = sources::open(hosts, options.layout.layout(), &remote)?;
    let explained = explain(sources[0].host());
    answer::print(&match options.output {
        Output::Text => text(&explained),
        Output::Json => json(name, &explained)?,
    });
    for why in &explained.unread {
        eprintln!("not read: {why}");
    }
    Ok(if explained.unread.is_empty() { 0 } else { 3 })
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        other => other.to_string(),
    }
}

fn text(explained: &Explained) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    for (label, value) in &explained.head {
        let _ = writeln!(out, "{label}: {value}");
    }
    for why in &explained.ends {
        let _ = writeln!(out, "does not start: {why}");
    }
    for why in &explained.warns {
        let _ = writeln!(out, "ignored: {why}");
    }
    if explained.settings.iter().next().is_none() {
        return out;
    }
    let mut rows = vec![["SETTING", "VALUE", "SOURCE"].map(str::to_owned).to_vec()];
    rows.extend(
        explained
            .settings
            .iter()
            .map(|(path, setting)| vec![path.join("."), shown(setting.value), setting.origin.to_string()]),
    );
    out.push('\n');
    out + &table(&rows)
}

fn json(name: &str, explained: &Explained) -> Result<String, Fault> {
    let settings: Vec<Value> = explained
        .settings
        .iter()
        .map(|(path, setting)| {
            let place = setting.origin.location();
            json!({
                "path": path,
                "value": setting.value,
                "source": setting.origin.to_string(),
                "file": place.map(|at| at.path.as_str()),
                "line": place.and_then(|at| at.line),
            })
        })
        .collect();
    let head: serde_json::Map<String, Value> =
        explained.head.iter().map(|(label, value)| (label.clone(), json!(value))).collect();
    let all = json!({
        "component": name,
        "found": head,
        "ends": explained.ends,
        "ignored": explained.warns,
        "unread": explained.unread,
        "settings": settings,
    });
    serde_json::to_string_pretty(&all).map(|text| text + "\n").map_err(|error| Fault::ours(error.to_string()))
}
