//! What a kubelet runs with where nobody says otherwise, by minor release (k8s.io/kubernetes,
//! pkg/kubelet/apis/config/v1beta1/defaults.go, and pkg/kubelet/eviction/defaults_linux.go).

use serde_json::{Value, json};

use super::Settings;
use super::duration;
use crate::effective::Origin;

/// Path, value in JSON, first and last minor release with this default.
type Row = (&'static str, &'static str, u32, u32);

const ALL: u32 = 23;
const ON: u32 = u32::MAX;

const ROWS: &[Row] = &[
    ("address", r#""0.0.0.0""#, ALL, ON),
    ("authentication.anonymous.enabled", "false", ALL, ON),
    ("authentication.webhook.cacheTTL", r#""2m0s""#, ALL, ON),
    ("authentication.webhook.enabled", "true", ALL, ON),
    ("authorization.mode", r#""Webhook""#, ALL, ON),
    ("authorization.webhook.cacheAuthorizedTTL", r#""5m0s""#, ALL, ON),
    ("authorization.webhook.cacheUnauthorizedTTL", r#""30s""#, ALL, ON),
    ("cgroupDriver", r#""cgroupfs""#, ALL, ON),
    ("cgroupsPerQOS", "true", ALL, ON),
    ("configMapAndSecretChangeDetectionStrategy", r#""Watch""#, ALL, ON),
    ("containerLogMaxFiles", "5", ALL, ON),
    ("containerLogMaxSize", r#""10Mi""#, ALL, ON),
    ("containerLogMaxWorkers", "1", 30, ON),
    ("containerLogMonitorInterval", r#""10s""#, 30, ON),
    ("containerRuntimeEndpoint", r#""unix:///run/containerd/containerd.sock""#, 27, ON),
    ("contentType", r#""application/vnd.kubernetes.protobuf""#, ALL, ON),
    ("cpuCFSQuota", "true", ALL, ON),
    ("cpuCFSQuotaPeriod", r#""100ms""#, ALL, ON),
    ("cpuManagerPolicy", r#""none""#, ALL, ON),
    ("cpuManagerReconcilePeriod", r#""10s""#, ALL, ON),
    ("enableControllerAttachDetach", "true", ALL, ON),
    ("enableDebugFlagsHandler", "true", ALL, ON),
    ("enableDebuggingHandlers", "true", ALL, ON),
    ("enableProfilingHandler", "true", ALL, ON),
    ("enableServer", "true", ALL, ON),
    ("enableSystemLogHandler", "true", ALL, ON),
    ("enforceNodeAllocatable", r#"["pods"]"#, ALL, ON),
    ("eventBurst", "10", ALL, 26),
    ("eventBurst", "100", 27, ON),
    ("eventRecordQPS", "5", ALL, 26),
    ("eventRecordQPS", "50", 27, ON),
    ("evictionPressureTransitionPeriod", r#""5m0s""#, ALL, ON),
    ("failCgroupV1", "false", 31, 34),
    ("failCgroupV1", "true", 35, ON),
    ("failSwapOn", "true", ALL, ON),
    ("fileCheckFrequency", r#""20s""#, ALL, ON),
    ("hairpinMode", r#""promiscuous-bridge""#, ALL, ON),
    ("healthzBindAddress", r#""127.0.0.1""#, ALL, ON),
    ("healthzPort", "10248", ALL, ON),
    ("httpCheckFrequency", r#""20s""#, ALL, ON),
    ("imageGCHighThresholdPercent", "85", ALL, ON),
    ("imageGCLowThresholdPercent", "80", ALL, ON),
    ("imageMinimumGCAge", r#""2m0s""#, ALL, ON),
    ("iptablesDropBit", "15", ALL, ON),
    ("iptablesMasqueradeBit", "14", ALL, ON),
    ("kubeAPIBurst", "10", ALL, 26),
    ("kubeAPIBurst", "100", 27, ON),
    ("kubeAPIQPS", "5", ALL, 26),
    ("kubeAPIQPS", "50", 27, ON),
    ("localStorageCapacityIsolation", "true", 25, ON),
    ("logging.flushFrequency", r#""5s""#, ALL, ON),
    ("logging.format", r#""text""#, ALL, ON),
    ("makeIPTablesUtilChains", "true", ALL, ON),
    ("maxOpenFiles", "1000000", ALL, ON),
    ("maxPods", "110", ALL, ON),
    ("memoryManagerPolicy", r#""None""#, ALL, ON),
    ("memoryReservationPolicy", r#""None""#, 36, ON),
    ("memoryThrottlingFactor", "0.8", ALL, 26),
    ("memoryThrottlingFactor", "0.9", 27, 36),
    ("mergeDefaultEvictionSettings", "false", 33, ON),
    ("nodeLeaseDurationSeconds", "40", ALL, ON),
    ("nodeStatusMaxImages", "50", ALL, ON),
    ("nodeStatusUpdateFrequency", r#""10s""#, ALL, ON),
    ("oomScoreAdj", "-999", ALL, ON),
    ("podLogsDir", r#""/var/log/pods""#, 30, ON),
    ("podPidsLimit", "-1", ALL, ON),
    ("port", "10250", ALL, ON),
    ("registerNode", "true", ALL, ON),
    ("registryBurst", "10", ALL, ON),
    ("registryPullQPS", "5", ALL, ON),
    ("resolvConf", r#""/etc/resolv.conf""#, ALL, ON),
    ("runtimeRequestTimeout", r#""2m0s""#, ALL, ON),
    ("seccompDefault", "false", ALL, ON),
    ("streamingConnectionIdleTimeout", r#""4h0m0s""#, ALL, ON),
    ("syncFrequency", r#""1m0s""#, ALL, ON),
    ("topologyManagerPolicy", r#""none""#, ALL, ON),
    ("topologyManagerScope", r#""container""#, ALL, ON),
    ("volumePluginDir", r#""/usr/libexec/kubernetes/kubelet-plugins/volume/exec/""#, ALL, ON),
    ("volumeStatsAggPeriod", r#""1m0s""#, ALL, ON),
    // What Go's zero values say of members that claims ask for.
    ("authentication.x509.clientCAFile", r#""""#, ALL, ON),
    ("clusterDNS", "[]", ALL, ON),
    ("clusterDomain", r#""""#, ALL, ON),
    ("protectKernelDefaults", "false", ALL, ON),
    ("readOnlyPort", "0", ALL, ON),
    ("rotateCertificates", "false", ALL, ON),
    ("serverTLSBootstrap", "false", ALL, ON),
    ("staticPodPath", r#""""#, ALL, ON),
];

/// The thresholds of an eviction signal that nobody sets.
pub(super) const EVICTION: [(&str, &str, u32); 5] = [
    ("memory.available", "100Mi", ALL),
    ("nodefs.available", "10%", ALL),
    ("nodefs.inodesFree", "5%", ALL),
    ("imagefs.available", "15%", ALL),
    ("imagefs.inodesFree", "5%", 30),
];

/// Members whose default hangs on others.
const CONDITIONAL: [&str; 2] = ["nodeStatusReportFrequency", "imagePullCredentialsVerificationPolicy"];

/// The default of a member, if it has one that is not Go's zero value.
fn default_of(path: &[String], minor: u32) -> Option<Value> {
    let path = path.join(".");
    if CONDITIONAL.contains(&path.as_str()) {
        return Some(Value::Null);
    }
    let row = ROWS.iter().find(|(name, _, from, to)| *name == path && (*from..=*to).contains(&minor))?;
    serde_json::from_str(row.1).ok().filter(|value| !is_zero(value))
}

/// Is it what Go takes for "not set" where a member is no pointer?
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || duration::parse(text) == Some(0),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Forgets members whose value Go takes for "not set", so that their defaults count.
pub(super) fn forget_zeros(settings: &mut Settings, minor: u32, empty_too: bool) {
    let zero = |path: &[String], value: &Value| {
        let pointer = super::tables::member(&path.join("."), minor)
            .is_some_and(|row| row.kind.ends_with('?') && !value.is_null());
        let empty = empty_too && value.as_array().is_some_and(Vec::is_empty);
        !pointer && (is_zero(value) || empty) && (value.is_null() || default_of(path, minor).is_some())
    };
    let gone: Vec<Vec<String>> =
        settings.iter().filter(|(path, setting)| zero(path, setting.value)).map(|(path, _)| path.to_vec()).collect();
    for path in gone {
        settings.remove(&path.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

/// Sets what is not set.
pub(super) fn fill(settings: &mut Settings, minor: u32) {
    let origin = || Origin::Default(format!("kubelet 1.{minor}"));
    let set = |settings: &mut Settings, path: &str, value: Value| {
        let path: Vec<&str> = path.split('.').collect();
        if settings.below(&path).next().is_none() {
            settings.set(&path, value, origin());
        }
    };
    let report = match settings.get(&["nodeStatusUpdateFrequency"]) {
        Some(update) => update.value.clone(),
        None => json!("5m0s"),
    };
    set(settings, "nodeStatusReportFrequency", report);
    let parallel = settings.get(&["maxParallelImagePulls"]).and_then(|setting| setting.value.as_i64());
    set(settings, "serializeImagePulls", json!(parallel.is_none_or(|number| number < 2)));
    let gate = |settings: &Settings, name: &str, from: u32| {
        let set = settings.get(&["featureGates", name]).and_then(|setting| setting.value.as_bool());
        set.unwrap_or(minor >= from)
    };
    if gate(settings, "KubeletCrashLoopBackOffMax", 35) && minor >= 32 {
        set(settings, "crashLoopBackOff.maxContainerRestartPeriod", json!("5m0s"));
    }
    if gate(settings, "KubeletEnsureSecretPulledImages", 35) && minor >= 33 {
        set(settings, "imagePullCredentialsVerificationPolicy", json!("NeverVerifyPreloadedImages"));
    }
    // A negative limit is none.
    let limit = settings.get(&["podPidsLimit"]).and_then(|setting| setting.value.as_i64());
    if limit.is_some_and(|limit| limit < 0) {
        settings.remove(&["podPidsLimit"]);
    }
    for (path, text, from, to) in ROWS {
        if (*from..=*to).contains(&minor)
            && let Ok(value) = serde_json::from_str(text)
        {
            set(settings, path, value);
        }
    }
    if minor < 26 {
        eviction(settings, minor, false);
    }
}

/// The default thresholds: where none is set, or, with `merge`, for each signal that is not.
pub(super) fn eviction(settings: &mut Settings, minor: u32, merge: bool) {
    if !merge && settings.below(&["evictionHard"]).next().is_some() {
        return;
    }
    for (signal, limit, from) in EVICTION {
        let path = ["evictionHard", signal];
        if minor >= from && settings.get(&path).is_none() {
            settings.set(&path, json!(limit), Origin::Default(format!("kubelet 1.{minor}")));
        }
    }
}

/// What a kubelet without `--config` runs with instead, so that its command line means what it always meant.
pub(super) fn legacy(settings: &mut Settings, minor: u32) {
    for (path, value) in [
        ("authentication.anonymous.enabled", json!(true)),
        ("authentication.webhook.enabled", json!(false)),
        ("authorization.mode", json!("AlwaysAllow")),
        ("readOnlyPort", json!(10255)),
    ] {
        let path: Vec<&str> = path.split('.').collect();
        settings.set(&path, value, Origin::Default(format!("kubelet 1.{minor} without --config")));
    }
}
