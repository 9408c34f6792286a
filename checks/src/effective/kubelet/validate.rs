//! What the kubelet refuses of settings that it could read: the rules of its validation that a file or a flag can break
//! (k8s.io/kubernetes, pkg/kubelet/apis/config/validation).

use serde_json::Value;

use super::{IMAGE_GC, Problem, Settings, duration, quantity, tables};
use crate::effective::Setting;

/// A member, and the least and the greatest value that the kubelet takes.
const RANGES: &[(&str, i64, i64)] = &[
    ("eventBurst", 0, i64::MAX),
    ("eventRecordQPS", 0, i64::MAX),
    ("healthzPort", 0, 65_535),
    ("imageGCHighThresholdPercent", 0, 100),
    ("imageGCLowThresholdPercent", 0, 100),
    ("iptablesDropBit", 0, 31),
    ("iptablesMasqueradeBit", 0, 31),
    ("kubeAPIBurst", 0, i64::MAX),
    ("kubeAPIQPS", 0, i64::MAX),
    ("maxOpenFiles", 0, i64::MAX),
    ("maxParallelImagePulls", 1, i64::MAX),
    ("maxPods", 0, i64::MAX),
    ("nodeLeaseDurationSeconds", 1, i64::MAX),
    ("nodeStatusMaxImages", -1, i64::MAX),
    ("oomScoreAdj", -1000, 1000),
    ("podsPerCore", 0, i64::MAX),
    ("port", 1, 65_535),
    ("readOnlyPort", 0, 65_535),
    ("registryBurst", 0, i64::MAX),
    ("registryPullQPS", 0, i64::MAX),
];

/// A member, and the values that the kubelet takes.
const CHOICES: &[(&str, &[&str])] = &[
    ("hairpinMode", &["promiscuous-bridge", "hairpin-veth", "none"]),
    ("topologyManagerPolicy", &["none", "best-effort", "restricted", "single-numa-node"]),
    ("topologyManagerScope", &["container", "pod"]),
];

/// Values of `enforceNodeAllocatable`, the last two from 1.32 on.
const ENFORCED: [&str; 6] =
    ["none", "pods", "system-reserved", "kube-reserved", "system-reserved-compressible", "kube-reserved-compressible"];

/// Every rule that is broken.
pub(super) fn validate(settings: &Settings, minor: u32) -> Vec<Problem> {
    let mut found = Vec::new();
    let number = |path: &str| settings.get(&[path]).and_then(|setting| setting.value.as_i64());
    let text = |path: &str| settings.get(&[path]).and_then(|setting| setting.value.as_str()).unwrap_or_default();
    let truth = |path: &str| settings.get(&[path]).and_then(|setting| setting.value.as_bool()).unwrap_or_default();
    let problem = |path: &str, why: String| {
        let problem = Problem::new(path, why);
        match settings.get(&[path]) {
            Some(setting) => problem.found(shown(setting.value)).at(setting.origin.location().cloned()),
            None => problem,
        }
    };
    for (path, least, greatest) in RANGES {
        if let Some(found_number) = number(path)
            && !(*least..=*greatest).contains(&found_number)
        {
            let wanted =
                if *greatest == i64::MAX { format!("{least} or more") } else { format!("{least} to {greatest}") };
            found.push(problem(path, format!("{path} is {found_number}")).wanted(wanted));
        }
    }
    for (path, choices) in CHOICES {
        if !choices.contains(&text(path)) {
            found.push(problem(path, format!("{path} is '{}'", text(path))).wanted(choices.join(", ")));
        }
    }
    if let (Some(high), Some(low)) = (number("imageGCHighThresholdPercent"), number("imageGCLowThresholdPercent"))
        && low >= high
    {
        // The member that somebody set is the one at fault.
        let set = |path: &str| settings.get(&[path]).is_some_and(|setting| setting.origin.location().is_some());
        let path = if set("imageGCHighThresholdPercent") || !set("imageGCLowThresholdPercent") {
            "imageGCHighThresholdPercent"
        } else {
            "imageGCLowThresholdPercent"
        };
        let why = format!("imageGCLowThresholdPercent, {low}, is not below imageGCHighThresholdPercent, {high}");
        found.push(problem(path, why).of(IMAGE_GC).wanted("a low threshold below the high one"));
    }
    if truth("serializeImagePulls") && number("maxParallelImagePulls").is_some_and(|pulls| pulls > 1) {
        let why = "maxParallelImagePulls is above 1, and serializeImagePulls is true";
        found.push(problem("maxParallelImagePulls", why.to_owned()).wanted("serializeImagePulls: false"));
    }
    if minor >= 32 && truth("runOnce") {
        found.push(problem("runOnce", "runOnce is no longer supported".to_owned()).wanted("false"));
    }
    if !text("systemCgroups").is_empty() && text("cgroupRoot").is_empty() {
        found.push(problem("systemCgroups", "systemCgroups is set without cgroupRoot".to_owned()).wanted("cgroupRoot"));
    }
    found.extend(enforced(settings, minor, &problem));
    found.extend(thresholds(settings));
    found.extend(gates(settings, minor));
    let period = |path: &str| duration::parse(text(path)).unwrap_or(0);
    let (all, critical) = (period("shutdownGracePeriod"), period("shutdownGracePeriodCriticalPods"));
    if critical > all {
        let why = "shutdownGracePeriodCriticalPods is longer than shutdownGracePeriod";
        found.push(problem("shutdownGracePeriodCriticalPods", why.to_owned()));
    }
    found
}

/// Thresholds of eviction are read after all else, by a parser of their own (pkg/kubelet/eviction/helpers.go).
fn thresholds(settings: &Settings) -> Vec<Problem> {
    const SIGNALS: [&str; 9] = [
        "memory.available",
        "nodefs.available",
        "nodefs.inodesFree",
        "imagefs.available",
        "imagefs.inodesFree",
        "containerfs.available",
        "containerfs.inodesFree",
        "allocatableMemory.available",
        "pid.available",
    ];
    let mut found = Vec::new();
    for member in ["evictionHard", "evictionSoft"] {
        for (signal, setting) in settings.below(&[member]) {
            let Some(signal) = signal.first() else { continue };
            let limit = setting.value.as_str().unwrap_or_default();
            let why = if !SIGNALS.contains(&signal.as_str()) {
                format!("{member} names the signal '{signal}', which is none")
            } else if quantity::threshold(limit).is_none() {
                format!("{member} of {signal} is '{limit}', which is no threshold")
            } else {
                continue;
            };
            let problem = Problem::new(format!("{member}.{signal}"), why).found(limit);
            found.push(problem.wanted("such as 100Mi or 10%").at(setting.origin.location().cloned()));
        }
    }
    found
}

/// A kubelet ends of a feature gate that it does not know: of one that is new, and of one that was removed.
fn gates(settings: &Settings, minor: u32) -> Vec<Problem> {
    let minor = minor.clamp(*tables::RELEASES.start(), *tables::RELEASES.end());
    let unknown = |(name, setting): (&[String], Setting<'_>)| {
        let name = name.first()?;
        let releases = tables::releases_of_gate(name);
        let why = match releases {
            Some(releases) if releases.contains(&minor) => return None,
            Some(releases) if *releases.start() > minor => format!("which is new in 1.{}", releases.start()),
            Some(releases) => format!("which was removed in 1.{}", releases.end() + 1),
            None => "which no kubelet knows".to_owned(),
        };
        let problem = Problem::new(format!("featureGates.{name}"), format!("the feature gate {name} is set, {why}"));
        let wanted = format!("a feature gate of kubelet 1.{minor}");
        Some(problem.found(setting.value.to_string()).wanted(wanted).at(setting.origin.location().cloned()))
    };
    settings.below(&["featureGates"]).filter_map(unknown).collect()
}

/// Rules of `enforceNodeAllocatable`.
fn enforced(settings: &Settings, minor: u32, problem: &dyn Fn(&str, String) -> Problem) -> Vec<Problem> {
    const PATH: &str = "enforceNodeAllocatable";
    let mut found = Vec::new();
    let all = settings.get(&[PATH]).and_then(|setting| setting.value.as_array()).cloned().unwrap_or_default();
    let known = if minor >= 32 { &ENFORCED[..] } else { &ENFORCED[..4] };
    let set =
        |path: &str| settings.get(&[path]).and_then(|one| one.value.as_str()).is_some_and(|text| !text.is_empty());
    for one in all.iter().filter_map(Value::as_str) {
        if !known.contains(&one) {
            found.push(problem(PATH, format!("{PATH} has '{one}'")).wanted(known.join(", ")));
        } else if one == "none" && all.len() > 1 {
            found.push(problem(PATH, format!("{PATH} has 'none' beside others")));
        } else if one.starts_with("system-reserved") && !set("systemReservedCgroup") {
            found.push(problem(PATH, format!("{PATH} has '{one}', and systemReservedCgroup is not set")));
        } else if one.starts_with("kube-reserved") && !set("kubeReservedCgroup") {
            found.push(problem(PATH, format!("{PATH} has '{one}', and kubeReservedCgroup is not set")));
        }
    }
    let per_qos = settings.get(&["cgroupsPerQOS"]).and_then(|setting| setting.value.as_bool()).unwrap_or(true);
    // Until 1.30 even `none` counted.
    let any = all.iter().any(|one| minor < 31 || one.as_str() != Some("none"));
    if !per_qos && any && !all.is_empty() {
        found.push(problem("cgroupsPerQOS", format!("cgroupsPerQOS is false, and {PATH} is not empty")).wanted("true"));
    }
    found
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
