//! Pod networks: the CNI configurations that the runtime uses, and the plug-ins that they name.

use serde_json::Value;

use super::Network;
use crate::Inconclusive;
use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, file, no_dir};
use crate::fact::Fact;
use crate::node::View;
use crate::profile::{Role, Runtime};

const CNI: &str = "https://www.cni.dev/docs/spec/";
const NET_D: &str = "/etc/cni/net.d";

/// A configuration that counts: its path, and its content or what is wrong with it.
type Used = (String, Result<Value, String>);

/// What is wrong with a configuration, as the runtimes' CNI libraries see it.
fn parse(text: &str) -> Result<Value, String> {
    let config: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let list = config.get("plugins").and_then(Value::as_array).is_some_and(|plugins| !plugins.is_empty());
    let text = |name: &str| config.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if text("name") && (list || text("type")) {
        Ok(config)
    } else {
        Err("it names no network or no plug-in".to_owned())
    }
}

/// The configurations that the runtime uses, in the order of their names. containerd stops at one that is damaged;
/// CRI-O and cri-dockerd pass over it.
fn used(view: &View<'_>) -> Result<Vec<Used>, Inconclusive> {
    let (runtime, network) = view.facts.runtime.network(view.profile)?;
    let folder = network.cni.configurations.trim_end_matches('/');
    let Some(files) = network.configurations.present(folder)? else { return Ok(Vec::new()) };
    let most = if network.cni.most == 0 { usize::MAX } else { network.cni.most };
    let mut found = Vec::new();
    let mut damaged = None;
    for (name, text) in files {
        let path = format!("{folder}/{name}");
        let parsed = parse(text.need(&path)?);
        if parsed.is_err() && runtime != Runtime::Containerd {
            damaged = damaged.or(Some((path, parsed)));
            continue;
        }
        found.push((path, parsed));
        if found.len() == most {
            break;
        }
    }
    Ok(if found.is_empty() { damaged.into_iter().collect() } else { found })
}

fn folder<'v>(view: &'v View<'_>) -> Result<&'v str, Inconclusive> {
    Ok(view.facts.runtime.network(view.profile)?.1.cni.configurations.trim_end_matches('/'))
}

fn judge_config(view: &View<'_>) -> Judgment {
    let all = used(view)?;
    let folder = folder(view)?;
    if all.is_empty() {
        let why =
            format!("there is no CNI configuration in {folder}: the node is NotReady until a pod network is installed");
        return Ok(Conclusion::breach(Breach::new(folder, why).found("none").at(folder, None)));
    }
    Ok(match all.iter().find_map(|(path, parsed)| Some((path, parsed.as_ref().err()?))) {
        Some((path, why)) => Conclusion::breach(
            Breach::new(path, why).at(path, None).remedy(
                Remedy::new("Remove the damaged file, or install its pod network again.")
                    .command(format!("mv {path} {path}.damaged")),
            ),
        ),
        None => Conclusion::holds().because("used", all[0].0.as_str()),
    })
}

fn judge_plugins(view: &View<'_>) -> Judgment {
    let all = used(view)?;
    let (runtime, network) = view.facts.runtime.network(view.profile)?;
    let valid: Vec<_> = all.iter().filter_map(|(path, parsed)| Some((path, parsed.as_ref().ok()?))).collect();
    if valid.is_empty() {
        return Ok(Conclusion::not_applicable("there is no valid CNI configuration"));
    }
    let mut wanted: Vec<(String, &String)> = Vec::new();
    for (path, config) in &valid {
        let list = config.get("plugins").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![(*config).clone()]);
        let types = list.iter().filter_map(|plugin| plugin.get("type").and_then(Value::as_str));
        wanted.extend(types.map(|name| (name.to_owned(), *path)));
    }
    // CRI-O sets the loopback interface up itself, and so may containerd 2.
    if needs_loopback(view, runtime) {
        wanted.push(("loopback".to_owned(), valid[0].0));
    }
    let folders = network.cni.plugins.join(", ");
    let mut breaches = Vec::new();
    for (name, path) in wanted {
        if has(network, &name)? || breaches.iter().any(|breach: &Breach| breach.subject == name) {
            continue;
        }
        let why = format!("the CNI plug-in {name} is missing from {folders} ({})", network.cni.origin);
        breaches.push(Breach::new(&name, why).found("missing").wanted(format!("{name} in {folders}")).at(path, None));
    }
    Ok(Conclusion::from_breaches(breaches).because("folders of plug-ins", folders))
}

fn needs_loopback(view: &View<'_>, runtime: Runtime) -> bool {
    let own = || {
        let it = view.facts.runtime.containerd.known();
        it.and_then(|it| it.runtime(&["cni", "use_internal_loopback"]))
            .is_some_and(|set| set.value.as_bool() == Some(true))
    };
    runtime != Runtime::Crio && !(runtime == Runtime::Containerd && own())
}

/// Is a plug-in in any of the runtime's folders?
fn has(network: &Network, name: &str) -> Result<bool, Inconclusive> {
    for (folder, plugins) in network.cni.plugins.iter().zip(&network.plugins) {
        match plugins {
            Fact::Absent(_) => {}
            plugins if plugins.need(folder)?.iter().any(|plugin| plugin == name) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

fn judge_one_network(view: &View<'_>) -> Judgment {
    let (_, network) = view.facts.runtime.network(view.profile)?;
    let folder = folder(view)?;
    let Some(files) = network.configurations.present(folder)? else {
        return Ok(Conclusion::not_applicable("there is no CNI configuration"));
    };
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    Ok(match names[..] {
        [first, _, ..] if network.cni.most == 1 => {
            let why = format!("{folder} has {}, and only {first} is used", names.join(", "));
            let breach = Breach::new(folder, why).found(names.join(", ")).wanted("one configuration").at(folder, None);
            Conclusion::breach(breach)
        }
        _ => Conclusion::holds().because(folder, names.join(", ")),
    })
}

/// The checks of pod networks.
pub(super) fn checks() -> Vec<Check> {
    let members = [Role::ControlPlane, Role::Worker];
    let install = |when: &str, command: &str| {
        Remedy::new("Install the CNI plug-ins where the runtime looks for them.").when(when).command(command)
    };
    vec![
        Check::new("node.runtime.cni-config", "The CNI configuration that the runtime uses is valid", judge_config)
            .severity(Severity::Medium)
            .roles(members)
            .label("runtime")
            .label("network")
            .alias("cni plugin not initialized")
            .page(
                "Runtimes use the first file in the order of names. containerd does not go on past one that is \
                 damaged.",
                "Reads the folder that the runtime is configured with, /etc/cni/net.d by default.",
            )
            .basis("CNI specification: network configuration", CNI)
            .remedy(Remedy::new("Install a pod network; its DaemonSet writes the file."))
            .bad([no_dir(NET_D)]),
        Check::new("node.runtime.cni-plugins", "The CNI plug-ins that the runtime needs are there", judge_plugins)
            .severity(Severity::Medium)
            .roles(members)
            .label("runtime")
            .label("network")
            .alias("failed to find plugin")
            .page(
                "Each pod sandbox runs them; where one is missing every pod fails with 'failed to find plugin'.",
                "Compares the types in the configuration, and loopback, with the folders that the runtime is \
                 configured with: bin_dir or bin_dirs of containerd, plugin_dirs of CRI-O.",
            )
            .basis("CNI specification: network configuration", CNI)
            .remedy(install(
                "Debian/Ubuntu",
                "apt-get install -y containernetworking-plugins && mkdir -p /opt/cni/bin && cp -n /usr/lib/cni/* \
                 /opt/cni/bin/",
            ))
            .remedy(install(
                "RHEL/Fedora",
                "dnf install -y containernetworking-plugins && mkdir -p /opt/cni/bin && cp -n /usr/libexec/cni/* \
                 /opt/cni/bin/",
            ))
            .bad([dir("/opt/cni/bin", &["loopback"])]),
        Check::new("node.runtime.one-network", "There is one CNI configuration", judge_one_network)
            .severity(Severity::Low)
            .label("runtime")
            .label("network")
            .alias("several CNI configurations")
            .page(
                "What a removed network leaves behind sorts before the new one and wins.",
                "Lists the folder of configurations. With max_conf_num of containerd other than 1 several are used.",
            )
            .basis(
                "containerd: CNI configuration",
                "https://github.com/containerd/containerd/blob/main/docs/cri/installation.md",
            )
            .remedy(
                Remedy::new("Move away what is left of the old network.")
                    .command("ls -t /etc/cni/net.d")
                    .command("mv /etc/cni/net.d/OLD.conflist /root/"),
            )
            .bad([dir(NET_D, &["00-old.conf", "10-net.conflist"]), file("/etc/cni/net.d/00-old.conf", "{}")]),
    ]
}
