//! Clusters of the bootstrap engine end to end: the program as people run it, with real components.
//!
//! Everything runs in a box: network, mount and PID namespaces of its own, so that an inventory of the box is an
//! inventory of what this test left, whatever else the machine does, and that nothing outlives the test. Needs root,
//! the Debian packages of `.ci/apt` and the programs that `seaworthy assets fetch` leaves in the cache. Trials run one
//! after another: clusters are heavy.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod audit;
mod failures;
mod faults;
mod input;
mod inventory;
mod lab;
mod large_scale;
mod nodes;
mod simulated;
mod static_pods;
mod topologies;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};
use seaworthy_provision::assets::{Release, Request, find};

/// Set in the box: what names of clusters begin with, since cgroups are the machine's.
const BOX: &str = "SEAWORTHY_BOX";
/// The trials that need programs of versions of their own.
const GUIDE: &str = "the_kubernetes_of_the_setup_guide";
const OLDER: &str = "a_worker_may_be_older_than_its_cluster";
/// Trials of the nightly tier (`SEAWORTHY_NIGHTLY`): the widest ones.
const NIGHTLY: [&str; 6] = [
    "static_pods_of_three_control_planes",
    "simulated_nodes_take_the_schedulers_pods",
    "a_large_cluster_is_audited_and_loaded",
    "each_defect_of_a_large_cluster_is_caught",
    "twenty_times_up_and_down_leaks_nothing",
    "down_all_after_everything_was_killed",
];
/// The programs of a cluster's hosts, and of a worker alone.
const ALL: &str = "etcd etcdctl kube-apiserver kube-controller-manager kube-scheduler kubectl kubeadm kubelet \
                   kube-proxy coredns containerd containerd-shim-runc-v2 runc bridge host-local loopback portmap \
                   haproxy";
const WORKER: &str = "kubelet kube-proxy";
/// What comes before the test in its box. Process 1 there is a shell, which reaps whatever is orphaned.
const ENTER: &str = "set -e; mount -t tmpfs -o mode=755 run /run; mount -t tmpfs -o mode=755 state /var/lib; mount -t \
                     tmpfs scratch /mnt; mkdir -m 1777 /var/lib/tmp; ip link set lo up; set +e; \"$@\"; exit $?";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let boxed = std::env::var(BOX).ok();
    let ignored = boxed.is_none() && !arguments.list && !is_possible(Release::newest(), ALL);
    if boxed.is_some() || ignored || arguments.list {
        let prefix = boxed.unwrap_or_default();
        type Test = fn(&lab::Lab);
        let tests: [(&str, Test); 28] = [
            ("one_control_plane_and_the_real_kubeadm", topologies::one),
            ("three_control_planes_lose_one_and_then_all", topologies::three),
            ("etcd_on_hosts_of_its_own", topologies::external_etcd),
            ("ipv6_only_in_zones_behind_haproxy", topologies::ipv6),
            ("two_clusters_at_once", topologies::two),
            ("an_external_ca_signs_nothing", topologies::external_ca),
            (GUIDE, topologies::guide),
            (OLDER, topologies::older),
            ("static_pods_of_one_control_plane", static_pods::one),
            ("static_pods_of_three_control_planes", static_pods::three),
            ("a_static_pod_that_crashes_is_shown", static_pods::crashing),
            ("its_pki_audits_clean_and_each_defect_is_diagnosed", audit::defects),
            ("its_nodes_are_seaworthy", nodes::healthy),
            ("simulated_nodes_take_the_schedulers_pods", simulated::in_a_cluster),
            ("simulate_is_a_command_that_cleans_up", simulated::as_a_command),
            ("a_large_cluster_is_audited_and_loaded", large_scale::healthy),
            ("each_defect_of_a_large_cluster_is_caught", large_scale::defects),
            ("twenty_times_up_and_down_leaks_nothing", failures::twenty_times),
            ("killed_after_each_phase_it_goes_on", failures::killed_and_on),
            ("killed_at_any_time_down_leaves_nothing", failures::killed_and_down),
            ("down_all_after_everything_was_killed", failures::down_all),
            ("a_component_that_crashes_is_shown", failures::crashing),
            ("an_interrupted_up_says_what_stays", failures::interrupted),
            ("a_full_disk_is_named", failures::disk_full),
            ("faults_are_felt_listed_and_undone", faults::faults),
            ("what_cannot_be_is_refused_by_name", input::refused),
            ("kubeadms_fields_are_in_a_real_cluster", input::fields),
            ("without_programs_the_sources_are_named", input::without_programs),
        ];
        let trial = |(name, run): (&str, fn(&lab::Lab))| {
            let prefix = prefix.clone();
            let lacks = || match name {
                _ if arguments.list => false,
                _ if NIGHTLY.contains(&name) => std::env::var_os("SEAWORTHY_NIGHTLY").is_none(),
                GUIDE => !is_possible(topologies::guide_release(), ALL),
                OLDER => !is_possible(topologies::older_release(), WORKER),
                _ => false,
            };
            Trial::test(name, move || lab::Lab::trial(&prefix, run).map_err(Into::into))
                .with_ignored_flag(ignored || lacks())
        };
        return libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect()).exit_code();
    }
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", ENTER, "sh"]);
    command.arg(std::env::current_exe().unwrap()).args(std::env::args_os().skip(1));
    command.env(BOX, format!("e2e{}", std::process::id())).env("TMPDIR", "/var/lib/tmp");
    let ended = command.status().expect("unshare(1) is there");
    ExitCode::from(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Is everything there that clusters need? Where it must be, that it is not fails.
fn is_possible(release: Release, names: &str) -> bool {
    let names: Vec<_> = names.split_whitespace().collect();
    let missing = match Request::here(release, &names).map(|request| find(&request)) {
        Some(Ok(_)) if nix::unistd::geteuid().is_root() => return true,
        Some(Err(missing)) => missing.to_string(),
        _ => "root and a HOME".to_owned(),
    };
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {missing}");
    println!("skipped: it needs {missing}");
    false
}
