//! containerd's configuration, as the release at hand merges it.

use serde_json::json;

use super::answers::{defaults, is_systemd};
use super::{RUNTIMES, cri, with_containerd, with_valid};
use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{file, replace, value};
use crate::effective::containerd::{self, Containerd};
use crate::host::CriCall;
use crate::node::View;
use crate::profile::Runtime;

/// The check of a configuration that containerd starts with.
pub(super) const VALID: &str = "node.runtime.config-valid";
/// The check of the CRI plug-in.
pub(super) const PLUGIN: &str = "node.runtime.cri-plugin";
/// What Docker's package has as a configuration, comments aside.
const OF_DOCKER: &str = "disabled_plugins = [\"cri\"]";

fn restart(view: &View<'_>) -> &'static str {
    let socket = view.facts.runtime.socket(view.profile).ok().flatten();
    socket.and_then(super::Socket::row).map_or("systemctl restart containerd", |row| row.restart)
}

fn judge_plugin(view: &View<'_>) -> Judgment {
    with_valid(view, |it| {
        let Some((name, origin)) = it.cri_disabled() else { return Ok(Conclusion::holds()) };
        let why = format!("the CRI plug-in is disabled by {name} ({origin}): the kubelet cannot use this containerd");
        let breach = Breach::new("disabled_plugins", why).found(name).wanted("a list without it");
        let path = origin.location().map_or(it.main.as_str(), |at| at.path.as_str());
        // The file of Docker's package says nothing else: the defaults of containerd's CRI are needed with it.
        let stub = path == containerd::CONFIG
            && it.files.len() == 1
            && it.settings.below(&["plugins"]).all(|(_, set)| set.origin.location().is_none());
        let remedy = if stub {
            Remedy::new("Write containerd's defaults with the cgroup driver of the init system. Replaces the file.")
                .command(defaults(path, is_systemd(view)))
        } else {
            let short = name.rsplit('.').next().unwrap_or(name);
            Remedy::new("Remove the name from the list; the rest of the file stays.").command(format!(
                "sed -i -z -E 's/(disabled_plugins *= *\\[[^]]*)\"({name}|{short})\",? */\\1/' {path}"
            ))
        };
        Ok(Conclusion::breach(origin.place(breach).remedy(remedy.command(restart(view)))))
    })
}

/// A runtime without a type makes no pod: containerd 1 forgets its default where any runtime is set.
fn typeless(it: &Containerd) -> Option<Breach> {
    let (name, origin) = it.default_runtime()?;
    if !it.runtime_type(name).is_empty() || !it.has_runtime(name) {
        return None;
    }
    let place = it.runtime(&["containerd", "runtimes", name, "options", "SystemdCgroup"]);
    let origin = place.map_or(origin, |setting| setting.origin);
    let why = format!("the default runtime {name} has no runtime_type: containerd {} makes no pod with it", it.release);
    let breach = Breach::new("runtime_type", why).found("none").wanted("io.containerd.runc.v2");
    let plugin = it.runtime_plugin()[1];
    Some(origin.place(breach).remedy(Remedy::new("Set the type above the options of the runtime.").persist(
        origin.location().map_or(it.main.as_str(), |at| at.path.as_str()),
        format!(
            "[plugins.\"{plugin}\".containerd.runtimes.{name}]\nruntime_type = \"io.containerd.runc.v2\"\n\
             [plugins.\"{plugin}\".containerd.runtimes.{name}.options]\nSystemdCgroup = true\n"
        ),
    )))
}

fn judge_valid(view: &View<'_>) -> Judgment {
    with_containerd(view, |it| {
        if let Some(broken) = &it.broken {
            let why = format!("containerd does not start with its configuration: {}", broken.why);
            let breach = Breach::new(&broken.at.path, why).at(&broken.at.path, broken.at.line);
            let dump = format!("containerd --config {} config dump > /dev/null", it.main);
            let remedy =
                Remedy::new(format!("Correct {}, until containerd reads the whole configuration.", broken.at.path));
            return Ok(Conclusion::breach(breach.remedy(remedy.command(dump).command(restart(view)))));
        }
        if let Some((why, origin)) = it.cri_refusal() {
            let why =
                format!("the CRI plug-in refuses its configuration, and the kubelet cannot use this containerd: {why}");
            let remedy = Remedy::new(format!("Correct the setting ({origin})."));
            let breach = origin.place(Breach::new("plugins", why));
            return Ok(Conclusion::breach(breach.remedy(remedy.command(restart(view)))));
        }
        if let Some(breach) = typeless(it) {
            return Ok(Conclusion::breach(breach));
        }
        if it.files.is_empty() {
            return Ok(
                Conclusion::holds().because(&it.main, format!("not there: defaults of containerd {}", it.release))
            );
        }
        Ok(Conclusion::holds().because("files", it.files.join(", ")))
    })
}

fn judge_version(view: &View<'_>) -> Judgment {
    let facts = &view.facts.runtime;
    let Some(socket) = facts.socket(view.profile)?.filter(|socket| socket.runtime == Runtime::Containerd) else {
        return Ok(Conclusion::not_applicable("containerd is not the runtime"));
    };
    let version = socket.version.need("containerd's version")?;
    let text = version.get("runtimeVersion").and_then(serde_json::Value::as_str).unwrap_or_default();
    let Some(release) = containerd::Release::parse(text) else {
        return Ok(Conclusion::undetermined(format!("containerd says that its version is '{text}'")));
    };
    Ok(if release.series() >= (1, 7) {
        Conclusion::holds().because("containerd", release.to_string())
    } else {
        let breach = Breach::new("containerd", format!("containerd {release} is end of life"));
        Conclusion::breach(breach.found(release.to_string()).wanted("1.7 or later").at(&socket.path, None))
    })
}

fn judge_sandbox(view: &View<'_>) -> Judgment {
    with_valid(view, |it| {
        let Some(set) = it.sandbox_image() else {
            return Ok(Conclusion::holds().because("sandbox image", "not set: containerd's default"));
        };
        let image = set.value.as_str().unwrap_or_default();
        Ok(if image.is_empty() {
            let breach = Breach::new("sandbox_image", "the sandbox image is empty: containerd makes no pod");
            Conclusion::breach(set.origin.place(breach.found("\"\"").wanted("registry.k8s.io/pause:3.10")))
        } else {
            Conclusion::holds().because("sandbox image", image).because("set in", set.origin.to_string())
        })
    })
}

/// The checks of containerd's configuration.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new(PLUGIN, "containerd's CRI plug-in is enabled", judge_plugin)
            .label("runtime")
            .alias("disabled_plugins")
            .alias("ContainerRuntimeVersion")
            .page(
                "Docker's containerd.io package ships with it disabled. The kubelet then finds no runtime service.",
                "Reads disabled_plugins in containerd's configuration and in what it imports. Not applicable where \
                 another runtime, such as cri-dockerd, is the node's.",
            )
            .basis("Container runtimes: containerd", RUNTIMES)
            .remedy(
                Remedy::new("Remove cri from the list.")
                    .command(
                        "sed -i -z -E 's/(disabled_plugins *= *\\[[^]]*)\"cri\",? */\\1/' /etc/containerd/config.toml",
                    )
                    .command("systemctl restart containerd"),
            )
            .bad([file(containerd::CONFIG, OF_DOCKER)]),
        Check::new(VALID, "containerd starts with its configuration", judge_valid)
            .label("runtime")
            .alias("containerd config")
            .page(
                "containerd ends at start where a file of its configuration or one that it imports is damaged, missing \
                 or of a version that it does not know. A CRI plug-in that refuses its settings leaves the kubelet \
                 without a runtime.",
                "Reads the file that containerd is started with and its imports, and merges them as this release of \
                 containerd does.",
            )
            .basis(
                "containerd: configuration",
                "https://github.com/containerd/containerd/blob/main/docs/man/containerd-config.toml.5.md",
            )
            .remedy(
                Remedy::new("Correct the file, until containerd reads the whole configuration.")
                    .command("containerd config dump > /dev/null")
                    .command("systemctl restart containerd"),
            )
            .bad([file(containerd::CONFIG, "version = [\n")]),
        Check::new("node.runtime.containerd-version", "containerd is a supported release", judge_version)
            .severity(Severity::Medium)
            .label("runtime")
            .alias("containerd version")
            .page("Releases before 1.7 are end of life.", "Calls Version.")
            .basis("containerd: releases", "https://containerd.io/releases/")
            .remedy(
                Remedy::new("Install a supported release. Containers keep running.")
                    .when("Debian/Ubuntu")
                    .command("apt-get install -y --only-upgrade containerd"),
            )
            .remedy(
                Remedy::new("Install a supported release. Containers keep running.")
                    .when("RHEL/Fedora")
                    .command("dnf upgrade -y containerd.io"),
            )
            .bad([value(
                cri(CriCall::Version),
                json!({"runtimeName": "containerd", "runtimeVersion": "1.5.9", "runtimeApiVersion": "v1"}),
            )]),
        Check::new("node.runtime.sandbox-image", "containerd has a sandbox image", judge_sandbox)
            .label("runtime")
            .alias("sandbox_image")
            .alias("pause image")
            .page(
                "Every pod begins with it; behind a firewall the default cannot be pulled.",
                "Reads containerd's configuration.",
            )
            .basis("Container runtimes: overriding the sandbox (pause) image", RUNTIMES)
            .remedy(
                Remedy::new("Name the image that your registry has, then restart containerd.")
                    .command("systemctl restart containerd"),
            )
            .bad([replace(containerd::CONFIG, "registry.k8s.io/pause:3.10.1", "")]),
    ]
}
