//! Docker Engine as a runtime: by dockershim until Kubernetes 1.23, by cri-dockerd after it.

use serde_json::Value;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{Edit, file, said, stat};
use crate::effective::docker::{DAEMON, Docker};
use crate::fact::Fact;
use crate::host::{FileKind, Host, Program, Query};
use crate::node::View;
use crate::node::runtime::CgroupDriver;
use crate::profile::{Role, Runtime};

const DRIVERS: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/#docker";
const VALIDATORS: &str = "https://github.com/kubernetes/system-validators";

/// What is known of Docker Engine.
#[derive(Debug)]
pub struct Facts {
    /// `20.10.24`, as the program says.
    version: Fact<String>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        Self {
            version: host.run(Program::DockerVersion).parse(|text| {
                let mut words = text.split_whitespace().skip_while(|word| *word != "version");
                let version = words.nth(1).map(|word| word.trim_end_matches(',').to_owned());
                version.ok_or_else(|| format!("docker --version said '{}'", text.trim()))
            }),
        }
    }
}

fn with_docker(view: &View<'_>, judge: impl FnOnce(&Docker) -> Judgment) -> Judgment {
    let facts = &view.facts.runtime;
    if facts.runtime(view.profile)? == Some(Runtime::Docker) {
        judge(facts.docker())
    } else {
        Ok(Conclusion::not_applicable("Docker Engine is not the runtime"))
    }
}

/// A member of daemon.json, or `None` where there is no such file or member.
fn setting<'d>(docker: &'d Docker, name: &str) -> Result<Option<&'d Value>, Inconclusive> {
    Ok(docker.daemon.present(&docker.path)?.and_then(|daemon| daemon.get(name)))
}

/// Does Docker Engine end at start?
fn judge_valid(view: &View<'_>) -> Judgment {
    with_docker(view, |docker| {
        Ok(match &docker.daemon {
            Fact::Known(_) => Conclusion::holds(),
            Fact::Absent(_) => Conclusion::holds().because(&docker.path, "not there: defaults"),
            Fact::Malformed(why) => Conclusion::breach(
                Breach::new(&docker.path, format!("dockerd does not start with it: {why}")).at(&docker.path, None),
            ),
            Fact::Unreadable(why) | Fact::NotGathered(why) => Conclusion::undetermined(why),
        })
    })
}

fn judge_driver(view: &View<'_>) -> Judgment {
    with_docker(view, |_| {
        if view.facts.machine.init.need("the name of the first process")? != "systemd" {
            return Ok(Conclusion::not_applicable("systemd is not the init system"));
        }
        let fact = view.facts.runtime.cgroup_driver(view.profile);
        let (driver, origin) = fact.need("Docker Engine's cgroup driver")?;
        Ok(if *driver == CgroupDriver::Systemd {
            Conclusion::holds().because("cgroup driver", format!("{driver} ({origin})"))
        } else {
            let why = format!("Docker Engine uses {driver} ({origin}): two managers of one tree of cgroups");
            let breach = Breach::new("cgroup driver", why).found(driver.name()).wanted("systemd");
            Conclusion::breach(origin.place(breach))
        })
    })
}

fn used(edits: impl IntoIterator<Item = Edit>) -> Vec<Edit> {
    let socket = stat("/run/cri-dockerd.sock", FileKind::Socket, 0o660, 0, 0);
    std::iter::once(socket).chain(edits).collect()
}

fn docker(version: &str) -> Edit {
    said(Query::Run { program: Program::DockerVersion }, &format!("Docker version {version}, build 1234567\n"))
}

/// Graph drivers that system-validators knows.
const GRAPH_DRIVERS: [&str; 7] = ["aufs", "btrfs", "overlay", "overlay2", "devicemapper", "zfs", "overlayfs"];

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let check = |check: Check| {
        check
            .roles([Role::ControlPlane, Role::Worker])
            .label("runtime")
            .label("docker")
            .example_profile(|profile| profile.runtime = Some(Runtime::Docker))
    };
    vec![
        check(Check::new("node.docker.version", "Docker Engine is of a version that was validated", |view| {
            with_docker(view, |_| {
                let Some(version) = view.facts.docker.version.present("docker --version")? else {
                    return Ok(Conclusion::breach(Breach::new(
                        "docker",
                        "Docker Engine is to be the runtime, and docker is not installed",
                    )));
                };
                let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
                let (major, minor) = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
                let known = matches!((major, minor), (1, 11..=13) | (17, 3 | 6 | 9) | (18, 6 | 9) | (19, 3) | (20, 10));
                let breach =
                    |why: String| Conclusion::breach(Breach::new("docker", why).found(version).wanted("20.10"));
                Ok(if known || (major > 20 && view.profile.kubernetes.0 > 23) {
                    Conclusion::holds().because("docker", version)
                } else if major > 20 {
                    breach(format!("dockershim was validated with Docker Engine up to 20.10; this is {version}"))
                } else {
                    breach(format!("Docker Engine {version} is older than any that was validated"))
                })
            })
        }))
        .severity(Severity::Medium)
        .alias("DOCKER_VERSION")
        .alias("SystemVerification")
        .page(
            "dockershim spoke Docker's API of its time: what is newer was never tried with it.",
            "Runs docker --version on the node.",
        )
        .basis("system-validators: Docker", VALIDATORS)
        .remedy(Remedy::new("Install a validated version, or move to containerd."))
        .good(used([docker("20.10.24")]))
        .bad(used([docker("1.10.3")])),
        check(Check::new("node.docker.config-valid", "Docker Engine starts with its configuration", judge_valid))
            .alias("daemon.json")
            .page("dockerd ends at start where its configuration is damaged.", "Reads and parses the file.")
            .basis("Container runtimes: Docker", DRIVERS)
            .remedy(
                Remedy::new("Correct the file.").command("dockerd --validate --config-file /etc/docker/daemon.json"),
            )
            .good(used([file(DAEMON, "{}")]))
            .bad(used([file(DAEMON, "{\"exec-opts\": [")])),
        check(Check::new(
            "node.docker.cgroup-driver",
            "Docker Engine uses the systemd cgroup driver under systemd",
            judge_driver,
        ))
        .alias("IsDockerSystemdCheck")
        .alias("native.cgroupdriver")
        .page(
            "The kubelet's default is systemd since kubeadm 1.22; where Docker uses cgroupfs the kubelet does not \
             start.",
            "Reads exec-opts of /etc/docker/daemon.json.",
        )
        .basis("Container runtimes: Docker; Configuring a cgroup driver", DRIVERS)
        .remedy(
            Remedy::new("Set it, and restart Docker before the node joins.")
                .command("systemctl restart docker")
                .persist(
                    DAEMON,
                    "{\n  \"exec-opts\": [\"native.cgroupdriver=systemd\"],\n  \"log-driver\": \"json-file\",\n  \
                     \"log-opts\": {\"max-size\": \"100m\"},\n  \"storage-driver\": \"overlay2\"\n}\n",
                ),
        )
        .good(used([file(DAEMON, r#"{"exec-opts": ["native.cgroupdriver=systemd"]}"#)]))
        .bad(used([file(DAEMON, r#"{"exec-opts": ["native.cgroupdriver=cgroupfs"]}"#)])),
        check(Check::new(
            "node.docker.storage-driver",
            "Docker Engine uses a storage driver that was validated",
            |view| {
                with_docker(view, |docker| {
                    let Some(driver) = setting(docker, "storage-driver")?.and_then(Value::as_str) else {
                        return Ok(Conclusion::holds().because("storage-driver", "chosen by Docker Engine"));
                    };
                    Ok(if GRAPH_DRIVERS.contains(&driver) {
                        Conclusion::holds().because("storage-driver", driver)
                    } else {
                        let breach =
                            Breach::new("storage-driver", format!("{driver} was not validated with Kubernetes"));
                        Conclusion::breach(breach.found(driver).wanted("overlay2").at(DAEMON, None))
                    })
                })
            },
        ))
        .severity(Severity::Medium)
        .alias("DOCKER_GRAPH_DRIVER")
        .page(
            "vfs, among others, copies every layer of every container.",
            "Reads storage-driver of /etc/docker/daemon.json.",
        )
        .basis("system-validators: Docker graph drivers", VALIDATORS)
        .remedy(
            Remedy::new("Use overlay2. Images must be pulled again.")
                .persist(DAEMON, "{\"storage-driver\": \"overlay2\"}\n"),
        )
        .good(used([file(DAEMON, "{}")]))
        .bad(used([file(DAEMON, r#"{"storage-driver": "vfs"}"#)])),
        check(Check::new("node.docker.log-size", "Docker Engine limits the size of containers' logs", |view| {
            with_docker(view, |docker| {
                let limit =
                    setting(docker, "log-opts")?.and_then(|options| options.get("max-size")).and_then(Value::as_str);
                Ok(match limit {
                    Some(limit) => Conclusion::holds().because("max-size", limit),
                    None => Conclusion::breach(
                        Breach::new("log-opts", "logs of containers grow until the disk is full")
                            .wanted("max-size, such as 100m")
                            .at(DAEMON, None),
                    ),
                })
            })
        }))
        .severity(Severity::Low)
        .alias("log-opts max-size")
        .page(
            "With Docker Engine it is not the kubelet that rotates containers' logs.",
            "Reads log-opts of /etc/docker/daemon.json.",
        )
        .basis("Container runtimes: Docker", DRIVERS)
        .remedy(
            Remedy::new("Set a limit, and restart Docker.")
                .command("systemctl restart docker")
                .persist(DAEMON, "{\"log-driver\": \"json-file\", \"log-opts\": {\"max-size\": \"100m\"}}\n"),
        )
        .good(used([file(DAEMON, r#"{"log-opts": {"max-size": "100m"}}"#)]))
        .bad(used([file(DAEMON, "{}")])),
    ]
}
