//! CRI-O as a runtime.

use serde_json::{Value, json};

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Inconclusive};
use crate::construct::{Edit, dir, file, stat, value};
use crate::effective::Origin;
use crate::effective::crio::{CONFIG, Crio, DROP_INS, SOCKET};
use crate::host::{CriCall, FileKind, Query};
use crate::node::View;
use crate::node::runtime::Socket;
use crate::profile::{Role, Runtime};

const DOCS: &str = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/#cri-o";
const VALID: &str = "node.crio.config-valid";
const MANAGER_FILE: &str = "/etc/crio/crio.conf.d/99-cgroup-manager.conf";

fn with_crio(view: &View<'_>, judge: impl FnOnce(&Crio, Option<&Socket>) -> Judgment) -> Judgment {
    let facts = &view.facts.runtime;
    let socket = facts.socket(view.profile)?;
    if facts.runtime(view.profile)? != Some(Runtime::Crio) {
        return Ok(Conclusion::not_applicable("CRI-O is not the runtime"));
    }
    judge(facts.crio.need("CRI-O's configuration")?, socket)
}

/// The same for what needs a configuration that CRI-O starts with.
fn with_valid(view: &View<'_>, judge: impl FnOnce(&Crio, Option<&Socket>) -> Judgment) -> Judgment {
    with_crio(view, |it, socket| match &it.broken {
        Some(broken) => Err(Inconclusive::new(format!("because of {VALID}: {broken}"))),
        None => judge(it, socket),
    })
}

fn judge_valid(view: &View<'_>) -> Judgment {
    with_crio(view, |it, _| {
        Ok(match &it.broken {
            Some(broken) => {
                let why = format!("CRI-O does not start with its configuration: {}", broken.why);
                let remedy =
                    Remedy::new(format!("Correct {}, until CRI-O reads the whole configuration.", broken.at.path));
                let breach = Breach::new(&broken.at.path, why).at(&broken.at.path, broken.at.line);
                Conclusion::breach(breach.remedy(remedy.command("crio status config || crio config > /dev/null")))
            }
            None => Conclusion::holds().because("files", it.files.join(", ")),
        })
    })
}

fn judge_manager(view: &View<'_>) -> Judgment {
    with_valid(view, |it, _| {
        let Some(kubelet) = view.facts.kubelet.effective(view.profile)? else {
            return Ok(Conclusion::not_applicable("the node has not joined a cluster"));
        };
        let kubelet = kubelet.in_effect()?;
        let driver = kubelet.text(&["cgroupDriver"]).unwrap_or_default();
        let (manager, origin) = it.cgroup_manager();
        let told = view.facts.runtime.cgroup_driver(view.profile);
        if kubelet.driver_from_runtime() && matches!(told.known(), Some((_, Origin::Answer(_)))) {
            let why = format!("{manager}, which the kubelet takes from the runtime");
            return Ok(Conclusion::holds().because("both", why));
        }
        Ok(if manager == driver {
            Conclusion::holds().because("both", driver).because("cgroup_manager", origin.to_string())
        } else {
            let why = format!("CRI-O uses {manager} ({origin}), and the kubelet {driver}: no pod starts");
            let breach = Breach::new("cgroup_manager", why).found(manager).wanted(driver);
            let conmon = if driver == "cgroupfs" { "conmon_cgroup = \"pod\"\n" } else { "" };
            let content = format!("[crio.runtime]\n{conmon}cgroup_manager = \"{driver}\"\n");
            Conclusion::breach(
                origin.place(breach).remedy(
                    Remedy::new("Set the kubelet's driver in CRI-O and restart it. Running pods must be made anew.")
                        .persist(MANAGER_FILE, content)
                        .command("systemctl restart crio"),
                ),
            )
        })
    })
}

fn judge_monitors(view: &View<'_>) -> Judgment {
    with_valid(view, |it, _| {
        let Some((found, wanted, origin)) = it.monitor_refusal() else {
            let cgroups: Vec<_> = it.monitor_cgroups().into_iter().map(|(cgroup, _)| cgroup).collect();
            return Ok(Conclusion::holds().because("cgroups of monitors", cgroups.join(", ")));
        };
        let manager = it.cgroup_manager().0;
        let why = format!(
            "CRI-O does not start: with cgroup_manager {manager} the cgroup of monitors is {wanted} ({origin})"
        );
        let breach = Breach::new("conmon_cgroup", why).found(found).wanted(wanted);
        Ok(Conclusion::breach(
            origin.place(breach).remedy(
                Remedy::new("Put the monitors into the pods' cgroups, beside the cgroup manager.")
                    .persist(
                        MANAGER_FILE,
                        format!("[crio.runtime]\nconmon_cgroup = \"pod\"\ncgroup_manager = \"{manager}\"\n"),
                    )
                    .command("systemctl restart crio"),
            ),
        ))
    })
}

fn judge_version(view: &View<'_>) -> Judgment {
    with_crio(view, |_, socket| {
        let Some(socket) = socket else { return Ok(Conclusion::not_applicable("CRI-O does not run")) };
        let said = socket.version.need("CRI-O's version")?;
        let version = said.get("runtimeVersion").and_then(Value::as_str).unwrap_or_default();
        let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
        let minor = minor.ok_or_else(|| Inconclusive::new(format!("CRI-O says that its version is '{version}'")))?;
        let cluster = view.profile.kubernetes.0;
        // As for kubelets: not newer than the cluster, three minors older at most.
        Ok(if minor <= cluster && cluster - minor <= 3 {
            Conclusion::holds().because("CRI-O", version)
        } else {
            let breach = Breach::new("crio", format!("CRI-O {version} was not made for Kubernetes 1.{cluster}"));
            Conclusion::breach(breach.found(version).wanted(format!("1.{cluster}")).at(SOCKET, None))
        })
    })
}

fn used(config: &str) -> Vec<Edit> {
    used_by("1.37.1", config)
}

fn used_by(version: &str, config: &str) -> Vec<Edit> {
    vec![
        stat(SOCKET, FileKind::Socket, 0o660, 0, 0),
        file(CONFIG, config),
        dir(DROP_INS, &[]),
        value(
            Query::Cri { socket: SOCKET.to_owned(), call: CriCall::Version },
            json!({ "runtimeName": "cri-o", "runtimeVersion": version, "runtimeApiVersion": "v1" }),
        ),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let check = |check: Check| check.roles([Role::ControlPlane, Role::Worker]).label("runtime").label("cri-o");
    vec![
        check(Check::new(VALID, "CRI-O starts with its configuration", judge_valid))
            .alias("crio.conf")
            .page(
                "CRI-O ends at start where a file of its configuration is damaged.",
                "Reads crio.conf and every file below crio.conf.d, whatever its ending, as CRI-O does.",
            )
            .basis("Container runtimes: CRI-O", DOCS)
            .remedy(Remedy::new("Correct the file.").command("crio config > /dev/null"))
            .good(used(""))
            .bad(used("[crio.runtime\n")),
        check(Check::new(
            "node.crio.cgroup-manager",
            "CRI-O and the kubelet use the same cgroup driver",
            judge_manager,
        ))
        .alias("cgroup_manager")
        .page(
            "The kubelet makes a pod's cgroup, and CRI-O the containers' below it: the paths must meet.",
            "Compares cgroup_manager of CRI-O's merged configuration with the kubelet's cgroupDriver.",
        )
        .basis("Container runtimes: CRI-O, cgroup driver", DOCS)
        .remedy(
            Remedy::new("Set systemd in both, and restart both.")
                .command("systemctl restart crio kubelet")
                .persist(MANAGER_FILE, "[crio.runtime]\ncgroup_manager = \"systemd\"\n"),
        )
        .good(used("[crio.runtime]\ncgroup_manager = \"systemd\"\n"))
        .bad(used("[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n")),
        check(Check::new(
            "node.crio.conmon-cgroup",
            "The cgroup of CRI-O's monitors fits its cgroup manager",
            judge_monitors,
        ))
        .alias("conmon_cgroup")
        .alias("monitor_cgroup")
        .page(
            "CRI-O does not start where they do not fit: with cgroupfs it must be pod or empty, with systemd pod or a \
                 slice. Before 1.33 the default, system.slice, does not fit cgroupfs.",
            "Reads conmon_cgroup, and monitor_cgroup of each runtime, in CRI-O's merged configuration.",
        )
        .basis("Container runtimes: CRI-O, cgroup driver; CRI-O pull request 8888", DOCS)
        .remedy(
            Remedy::new("Set it beside the cgroup manager.")
                .persist(MANAGER_FILE, "[crio.runtime]\nconmon_cgroup = \"pod\"\ncgroup_manager = \"cgroupfs\"\n")
                .command("systemctl restart crio"),
        )
        .good(used("[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n"))
        .bad(used_by("1.32.4", "[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n")),
        check(Check::new("node.crio.version", "CRI-O is of the cluster's minor release", judge_version))
            .severity(Severity::Medium)
            .alias("cri-o version")
            .page(
                "CRI-O's minor releases go with Kubernetes' own, and follow its skew policy.",
                "Asks CRI-O over its socket.",
            )
            .basis(
                "CRI-O: compatibility matrix",
                "https://github.com/cri-o/cri-o#compatibility-matrix-cri-o--kubernetes",
            )
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
            .bad(used_by("1.29.1", "")),
    ]
    .into_iter()
    .map(|check| check.example_profile(|profile| profile.runtime = Some(Runtime::Crio)))
    .collect()
}
