//! Claims about whether the kubelet starts: its flags, its files, its unit, its health.

use super::{CONFIG, DROP_INS, FLAGS, INTEGRATION, REFERENCE, with_kubelet};
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{file, gone, replace, value};
use crate::effective::kubelet::{CONFIG_VALID, Problem, REMOVED_FLAGS, Runner};
use crate::host::Query;
use crate::node::View;

const FILES: &str = "https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/";
const TROUBLE: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/";

/// What the kubelet ends of that a claim is about.
fn ends(view: &View<'_>, claim: &str, what: &str) -> Result<Option<Vec<Breach>>, crate::Inconclusive> {
    let Some(kubelet) = view.facts.kubelet.effective(view.profile)? else { return Ok(None) };
    let breach = |problem: &Problem| problem.breach(what);
    Ok(Some(kubelet.ends.iter().filter(|problem| problem.claim == claim).map(breach).collect()))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new(CONFIG_VALID, "The kubelet starts with its flags and its configuration", |view| {
            let Some(kubelet) = view.facts.kubelet.effective(view.profile)? else {
                return Ok(Conclusion::not_applicable(format!(
                    "there is no {CONFIG}: the node has not joined a cluster"
                )));
            };
            let breaches = ends(view, CONFIG_VALID, "the kubelet ends at start")?.unwrap_or_default();
            Ok(match kubelet.unread.first().filter(|_| breaches.is_empty()) {
                Some(why) => Conclusion::undetermined(why),
                None => Conclusion::from_breaches(breaches).because("told by", &kubelet.start.told_by),
            })
        })
        .label("kubelet")
        .alias("KubeletConfiguration")
        .page(
            "A kubelet that cannot read its configuration, or that refuses a value in it, ends at once, and systemd \
             restarts it without end.",
            "Merges the file of --config, the drop-ins of --config-dir and the flags as the kubelet does, and applies \
             the rules of its decoder and of its validation.",
        )
        .basis("Set kubelet parameters via a configuration file", FILES)
        .remedy(
            Remedy::new("Have kubeadm write the file again, and restart the kubelet.")
                .when("kubeadm")
                .command("kubeadm upgrade node phase kubelet-config && systemctl restart kubelet"),
        )
        .remedy(
            Remedy::new("Correct the line, and restart the kubelet; its log names what it refuses.")
                .when("another installer")
                .command("journalctl -u kubelet -n 20 --no-pager"),
        )
        .bad([file(CONFIG, "kind: KubeletConfiguration\n  bad: [\n")]),
        Check::new("node.kubelet.unknown-members", "The kubelet knows every member of its configuration", |view| {
            let Some(kubelet) = view.facts.kubelet.effective(view.profile)? else {
                return Ok(Conclusion::not_applicable(format!(
                    "there is no {CONFIG}: the node has not joined a cluster"
                )));
            };
            let breaches = kubelet.warns.iter().map(|problem| problem.breach("")).collect();
            Ok(Conclusion::from_breaches(breaches).because("kubelet", format!("1.{}", kubelet.minor)))
        })
        .severity(Severity::Medium)
        .label("kubelet")
        .alias("strict decoding error")
        .alias("unknown field")
        .page(
            "The kubelet ignores a member that it does not know, and of two with the same name it takes the last: it \
             runs without a setting that somebody wrote down.",
            "Compares the members of its files with those of its release.",
        )
        .basis("KubeletConfiguration (v1beta1)", REFERENCE)
        .remedy(
            Remedy::new("Correct the name of the member, or remove it, and restart the kubelet.")
                .command("systemctl restart kubelet"),
        )
        .bad([replace(CONFIG, "rotateCertificates: true", "rotateCertificate: true")]),
        Check::new(REMOVED_FLAGS, "The kubelet knows every flag that it is given", |view| {
            if view.facts.kubelet.sources.present("the kubelet")?.is_none() {
                return Ok(Conclusion::not_applicable("no kubelet is set up on this node"));
            }
            let sources = view.facts.kubelet.sources.need("the kubelet")?;
            let kubelet = sources.settle(view.profile.kubernetes.0);
            let breach = |problem: &Problem| problem.breach("").wanted("a flag of this kubelet");
            let breaches = kubelet.ends.iter().filter(|problem| problem.claim == REMOVED_FLAGS).map(breach).collect();
            Ok(Conclusion::from_breaches(breaches).because("kubelet", format!("1.{}", kubelet.minor)))
        })
        .label("kubelet")
        .alias("kubeadm-flags.env")
        .alias("unknown flag")
        .page(
            "Environment files and drop-ins outlive upgrades; a kubelet that meets a flag it does not know ends at \
             once.",
            "Compares the words of the running process, else of the unit with its environment files, with the flags of \
             this kubelet's release.",
        )
        .basis("Kubernetes CHANGELOG: removed kubelet flags", INTEGRATION)
        .remedy(
            Remedy::new("Remove the flag from the file that the finding names, and restart the kubelet.")
                .command(format!("sed -i 's/--network-plugin=cni *//' {FLAGS} && systemctl restart kubelet")),
        )
        .bad([file(FLAGS, "KUBELET_KUBEADM_ARGS=\"--network-plugin=cni\"\n")]),
        Check::new("node.kubelet.kubeadm-drop-in", "The kubelet's service passes it kubeadm's files", |view| {
            if let Some(runner) = view.facts.kubelet.other_runner() {
                return Ok(Conclusion::not_applicable(format!("{runner} runs the kubelet, without kubeadm's drop-in")));
            }
            if !view.facts.kubelet.has_config {
                return Ok(Conclusion::not_applicable("the node has not joined a cluster"));
            }
            let sources = view.facts.kubelet.sources.need("the kubelet")?;
            let kubelet = sources.settle(view.profile.kubernetes.0);
            if matches!(kubelet.start.runner, Runner::Unit { .. })
                && let Some(config) = kubelet.config
            {
                return Ok(Conclusion::holds().because("--config", config));
            }
            Ok(match view.facts.kubelet.drop_in.present("10-kubeadm.conf")? {
                Some(path) if matches!(kubelet.start.runner, Runner::Unknown) => {
                    Conclusion::holds().because("drop-in", path)
                }
                drop_in => {
                    let why = "the kubelet starts without its kubeconfig and its configuration";
                    let found = drop_in.map_or("no drop-in", String::as_str);
                    let breach =
                        Breach::new("10-kubeadm.conf", format!("kubelet.service does not pass --config: {why}"));
                    let place = drop_in.map_or(kubelet.start.told_by.as_str(), String::as_str);
                    let breach = breach.found(found).wanted(DROP_INS[0]);
                    Conclusion::breach(if place.starts_with('/') { breach.at(place, None) } else { breach })
                }
            })
        })
        .severity(Severity::Medium)
        .label("kubelet")
        .label("kubeadm")
        .alias("10-kubeadm.conf")
        .page(
            "kubeadm's drop-in passes the kubelet its configuration, its kubeconfigs and kubeadm-flags.env. Without \
             --config the kubelet accepts anonymous requests and authorizes all of them. Nodes of other installers do \
             without the drop-in.",
            "Reads kubelet.service with its drop-ins.",
        )
        .basis(
            "Configuring each kubelet in your cluster using kubeadm: the kubelet drop-in file for systemd",
            INTEGRATION,
        )
        .remedy(
            Remedy::new("Install the kubeadm package, which brings it.")
                .when("Debian/Ubuntu")
                .command("apt-get install -y --reinstall kubeadm"),
        )
        .remedy(
            Remedy::new("Install the kubeadm package, which brings it.")
                .when("RHEL/Fedora")
                .command("dnf reinstall -y kubeadm --disableexcludes=kubernetes"),
        )
        .bad([gone(DROP_INS[0])]),
        Check::new("node.kubelet.healthz", "a kubelet that runs is healthy", |view| {
            if !view.facts.machine.runs("kubelet")? {
                return Ok(Conclusion::not_applicable("the kubelet is not running"));
            }
            let kubelet = view.facts.kubelet.effective(view.profile)?;
            let health = kubelet.as_ref().map(|kubelet| kubelet.health());
            let url = match &health {
                Some(None) => {
                    return Ok(Conclusion::not_applicable("healthzPort is 0: the kubelet has no health port"));
                }
                Some(Some(url)) => url.as_str(),
                None => "http://127.0.0.1:10248/healthz",
            };
            if !["http://127.", "http://[::1]"].iter().any(|local| url.starts_with(local)) {
                let why = format!("the health port is at {url}, and only loopback addresses are asked");
                return Ok(Conclusion::not_applicable(why));
            }
            Ok(match view.facts.kubelet.healthz.present("the kubelet's health")? {
                Some((200, _)) => Conclusion::holds().because("asked", url),
                Some((status, body)) => {
                    let why = format!("the kubelet is not healthy: {}", body.trim());
                    Conclusion::breach(Breach::new("kubelet", why).found(status.to_string()).wanted("200"))
                }
                None => {
                    let why = format!("the kubelet runs, and nothing listens on {url}: it is starting or ending");
                    Conclusion::breach(Breach::new("kubelet", why).found("connection refused").wanted("200"))
                }
            })
        })
        .label("kubelet")
        .alias("KubeletUnhealthy")
        .alias("kubelet healthz")
        .page(
            "kubeadm waits for this answer, and 'connection refused' here is the most common failure of kubeadm init.",
            "Asks /healthz at the address and port that the kubelet is configured with, by default 127.0.0.1:10248.",
        )
        .basis("Troubleshooting kubeadm: kubeadm blocks waiting for control plane", TROUBLE)
        .remedy(Remedy::new("Read what the kubelet says.").command("journalctl -u kubelet -n 50 --no-pager"))
        .bad([value(
            Query::Get { url: "http://127.0.0.1:10248/healthz".into() },
            serde_json::json!({"status": 500, "body": "syncloop: failed"}),
        )]),
        Check::new("node.kubelet.image-gc", "image garbage collection starts above where it ends", |view| {
            let breaches = ends(view, "node.kubelet.image-gc", "the kubelet ends at start")?.unwrap_or_default();
            if !breaches.is_empty() {
                return Ok(Conclusion::from_breaches(breaches));
            }
            with_kubelet(view, |kubelet| {
                let percent = |path| kubelet.get(&[path]).map_or_else(String::new, |setting| setting.value.to_string());
                let (high, low) = (percent("imageGCHighThresholdPercent"), percent("imageGCLowThresholdPercent"));
                Ok(Conclusion::holds().because("high and low", format!("{high} % and {low} %")))
            })
        })
        .label("kubelet")
        .alias("imageGCHighThresholdPercent")
        .page(
            "The kubelet validates the pair and ends if the low threshold is not below the high one.",
            "Reads both thresholds from its files and flags.",
        )
        .basis("KubeletConfiguration: imageGCHighThresholdPercent", REFERENCE)
        .remedy(
            Remedy::new("Set the low threshold below the high one, and restart the kubelet.")
                .command("systemctl restart kubelet")
                .persist(CONFIG, "imageGCHighThresholdPercent: 85\nimageGCLowThresholdPercent: 80\n"),
        )
        .bad([replace(CONFIG, "rotateCertificates: true", "imageGCHighThresholdPercent: 70")]),
    ]
}
