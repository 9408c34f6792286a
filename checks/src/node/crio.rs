//! CRI-O as a runtime.

use serde_json::{Value, json};

use crate::check::{Check, Judgement, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{Edit, dir, file, stat, value};
use crate::fact::Fact;
use crate::host::{CriCall, FileKind, Host, Query};
use crate::node::View;
use crate::profile::{Role, Runtime};

const CONFIG: &str = "/etc/crio/crio.conf";
const DROP_INS: &str = "/etc/crio/crio.conf.d";
const DOCS: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/#cri-o";
const SOCKET: &str = "/run/crio/crio.sock";

/// A configuration file of CRI-O.
#[derive(Debug)]
struct File {
    path: String,
    text: String,
    table: toml::Table,
}

/// What is known of CRI-O.
#[derive(Debug)]
pub struct Facts {
    /// Its configuration files, the last of which counts most (crio.conf(5)).
    files: Fact<Vec<File>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let mut paths = vec![CONFIG.to_owned()];
        let drop_ins = host.list(DROP_INS);
        if let Fact::Known(entries) = &drop_ins {
            let drop_ins = entries.iter().filter(|entry| entry.name.ends_with(".conf"));
            paths.extend(drop_ins.map(|entry| format!("{DROP_INS}/{}", entry.name)));
        }
        let mut files = Vec::new();
        for path in paths {
            let parsed = host.text(&path).parse(|text| match text.parse::<toml::Table>() {
                Ok(table) => Ok(File { path: path.clone(), text, table }),
                Err(error) => Err(format!("{path} is no TOML: {}", error.message())),
            });
            match parsed {
                Fact::Known(file) => files.push(file),
                Fact::Absent(_) => {}
                other => return Self { files: other.map(|_| Vec::new()) },
            }
        }
        Self { files: Fact::Known(files) }
    }

    /// A key of `[crio.runtime]`, as the last file that sets it has it.
    fn runtime(&self, key: &str) -> Result<Option<Setting<'_>>, Inconclusive> {
        let files = self.files.need("CRI-O's configuration")?;
        Ok(files.iter().rev().find_map(|file| {
            let value = file.table.get("crio")?.get("runtime")?.get(key)?.as_str()?;
            let line = file.text.lines().position(|line| line.trim_start().starts_with(key));
            Some(Setting { value, path: &file.path, line: line.and_then(|number| u32::try_from(number + 1).ok()) })
        }))
    }
}

/// A value, and where it is set.
#[derive(Debug, PartialEq, Eq)]
struct Setting<'f> {
    value: &'f str,
    path: &'f str,
    line: Option<u32>,
}

fn with_crio(view: &View<'_>, judge: impl FnOnce() -> Judgement) -> Judgement {
    let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
    let there = sockets.iter().any(|socket| socket.runtime == Runtime::Crio);
    if there && view.profile.runtime.is_none_or(|runtime| runtime == Runtime::Crio) {
        judge()
    } else {
        Ok(Conclusion::not_applicable("CRI-O is not the runtime"))
    }
}

fn manager<'v>(view: &'v View<'_>) -> Result<Setting<'v>, Inconclusive> {
    let default = Setting { value: "systemd", path: CONFIG, line: None };
    Ok(view.facts.crio.runtime("cgroup_manager")?.unwrap_or(default))
}

fn used(config: &str) -> Vec<Edit> {
    vec![
        stat(SOCKET, FileKind::Socket, 0o660, 0, 0),
        file(CONFIG, config),
        dir(DROP_INS, &[]),
        value(
            Query::Cri { socket: SOCKET.to_owned(), call: CriCall::Version },
            json!({ "runtimeName": "cri-o", "runtimeVersion": "1.37.1", "runtimeApiVersion": "v1" }),
        ),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let check = |check: Check| check.roles([Role::ControlPlane, Role::Worker]).label("runtime").label("cri-o");
    vec![
        check(Check::new("node.crio.config-valid", "CRI-O's configuration can be read", |view| {
            with_crio(view, || {
                Ok(match &view.facts.crio.files {
                    Fact::Known(files) => Conclusion::holds()
                        .because("files", files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")),
                    Fact::Malformed(why) => Conclusion::breach(
                        Breach::new(CONFIG, format!("CRI-O cannot start with it: {why}")).at(CONFIG, None),
                    ),
                    Fact::Absent(why) | Fact::Unreadable(why) | Fact::NotGathered(why) => Conclusion::undetermined(why),
                })
            })
        }))
        .alias("crio.conf")
        .page(
            "CRI-O ends at start where its configuration is damaged.",
            "Reads and parses crio.conf and the files of crio.conf.d.",
        )
        .basis("Container runtimes: CRI-O", DOCS)
        .remedy(Remedy::new("Mend the file.").command("crio config --validate"))
        .good(used(""))
        .bad(used("[crio.runtime\n")),
        check(Check::new("node.crio.cgroup-manager", "CRI-O and the kubelet use the same cgroup driver", |view| {
            with_crio(view, || {
                let Some(kubelet) = view.facts.kubelet.config.present("the kubelet's configuration")? else {
                    return Ok(Conclusion::not_applicable("the node has not joined a cluster"));
                };
                let driver = kubelet.get("cgroupDriver").and_then(Value::as_str).unwrap_or("cgroupfs");
                let Setting { value: manager, path, line } = manager(view)?;
                Ok(if manager == driver {
                    Conclusion::holds().because("both", driver)
                } else {
                    let breach = Breach::new(
                        "cgroup_manager",
                        format!("CRI-O uses {manager}, and the kubelet {driver}: no pod starts"),
                    );
                    Conclusion::breach(breach.found(manager).wanted(driver).at(path, line))
                })
            })
        }))
        .alias("cgroup_manager")
        .page(
            "The kubelet makes a pod's cgroup, and CRI-O the containers' below it: the paths must meet.",
            "Compares cgroup_manager of CRI-O's configuration with the kubelet's cgroupDriver.",
        )
        .basis("Container runtimes: CRI-O, cgroup driver", DOCS)
        .remedy(
            Remedy::new("Set systemd in both, and restart both.").command("systemctl restart crio kubelet").persist(
                "/etc/crio/crio.conf.d/02-cgroup-manager.conf",
                "[crio.runtime]\ncgroup_manager = \"systemd\"\n",
            ),
        )
        .good(used("[crio.runtime]\ncgroup_manager = \"systemd\"\n"))
        .bad(used("[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n")),
        check(Check::new(
            "node.crio.conmon-cgroup",
            "CRI-O's monitors are in the pods' cgroups with cgroupfs",
            |view| {
                with_crio(view, || {
                    if manager(view)?.value != "cgroupfs" {
                        return Ok(Conclusion::not_applicable("CRI-O uses the systemd cgroup driver"));
                    }
                    let default = Setting { value: "", path: CONFIG, line: None };
                    let Setting { value: found, path, line } =
                        view.facts.crio.runtime("conmon_cgroup")?.unwrap_or(default);
                    Ok(if found == "pod" {
                        Conclusion::holds().because("conmon_cgroup", found)
                    } else {
                        let breach = Breach::new(
                            "conmon_cgroup",
                            "with cgroup_manager cgroupfs it must be pod: CRI-O does not start otherwise",
                        );
                        Conclusion::breach(breach.found(found).wanted("pod").at(path, line))
                    })
                })
            },
        ))
        .alias("conmon_cgroup")
        .page(
            "The value must fit the cgroup manager, and is easily forgotten with cgroupfs.",
            "Reads conmon_cgroup of CRI-O's configuration.",
        )
        .basis("Container runtimes: CRI-O, cgroup driver", DOCS)
        .remedy(Remedy::new("Set it beside the cgroup manager.").persist(
            "/etc/crio/crio.conf.d/02-cgroup-manager.conf",
            "[crio.runtime]\nconmon_cgroup = \"pod\"\ncgroup_manager = \"cgroupfs\"\n",
        ))
        .good(used("[crio.runtime]\nconmon_cgroup = \"pod\"\ncgroup_manager = \"cgroupfs\"\n"))
        .bad(used("[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n")),
        check(Check::new("node.crio.version", "CRI-O is of the cluster's minor release", |view| {
            with_crio(view, || {
                let sockets = view.facts.runtime.sockets.need("runtime sockets")?;
                let Some(socket) = sockets.iter().find(|socket| socket.runtime == Runtime::Crio) else {
                    return Ok(Conclusion::not_applicable("CRI-O is not the runtime"));
                };
                let said = socket.version.need("CRI-O's version")?;
                let version = said.get("runtimeVersion").and_then(Value::as_str).unwrap_or_default();
                let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
                let minor =
                    minor.ok_or_else(|| Inconclusive::new(format!("CRI-O says that its version is '{version}'")))?;
                let cluster = view.profile.kubernetes.0;
                // As for kubelets: not newer than the cluster, three minors older at most.
                Ok(if minor <= cluster && cluster - minor <= 3 {
                    Conclusion::holds().because("CRI-O", version)
                } else {
                    let breach =
                        Breach::new("crio", format!("CRI-O {version} was not made for Kubernetes 1.{cluster}"));
                    Conclusion::breach(breach.found(version).wanted(format!("1.{cluster}")).at(SOCKET, None))
                })
            })
        }))
        .severity(Severity::Medium)
        .alias("cri-o version")
        .page(
            "CRI-O's minor releases go with Kubernetes' own, and follow its skew policy.",
            "Asks CRI-O over its socket.",
        )
        .basis("CRI-O: compatibility matrix", "https://github.com/cri-o/cri-o#compatibility-matrix-cri-o--kubernetes")
        .remedy(
            Remedy::new("Install CRI-O of the cluster's minor release.")
                .when("Debian/Ubuntu")
                .command("apt-get install -y cri-o=1.37.*"),
        )
        .remedy(
            Remedy::new("Install CRI-O of the cluster's minor release.")
                .when("RHEL/Fedora")
                .command("dnf install -y cri-o-1.37.*"),
        )
        .good(used(""))
        .bad(used("").into_iter().chain([value(
            Query::Cri { socket: SOCKET.to_owned(), call: CriCall::Version },
            json!({ "runtimeName": "cri-o", "runtimeVersion": "1.29.1", "runtimeApiVersion": "v1" }),
        )])),
    ]
    .into_iter()
    .map(|check| check.example_profile(|profile| profile.runtime = Some(Runtime::Crio)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::construct::{apply, replace};
    use crate::host::Transcript;

    #[test]
    fn the_last_file_counts() {
        let mut transcript = Transcript::default();
        let edits = [
            file(CONFIG, "[crio.runtime]\ncgroup_manager = \"systemd\"\n"),
            dir(DROP_INS, &["10-a.conf", "README"]),
            file("/etc/crio/crio.conf.d/10-a.conf", "[crio.runtime]\n\ncgroup_manager = \"cgroupfs\"\n"),
        ];
        apply(&mut transcript, &edits).unwrap();
        let found = Facts::read(&transcript);
        let expected = Setting { value: "cgroupfs", path: "/etc/crio/crio.conf.d/10-a.conf", line: Some(3) };
        assert_eq!(found.runtime("cgroup_manager").unwrap(), Some(expected));
        apply(&mut transcript, &[replace(CONFIG, "[crio.runtime]", "[crio.runtime")]).unwrap();
        assert!(matches!(Facts::read(&transcript).files, Fact::Malformed(_)));
    }
}
