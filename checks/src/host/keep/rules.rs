//! Which members of configuration files stay. A new member that a judge reads is one line here.

use super::members::Members;

/// The members of an object of Kubernetes, by its kind; `other` where that is none of those below.
pub(super) fn of_kind(kind: &str, other: Members) -> Members {
    match kind {
        "KubeletConfiguration" | "CredentialProviderConfig" => KUBELET,
        "ClusterConfiguration" | "InitConfiguration" | "JoinConfiguration" | "ResetConfiguration"
        | "UpgradeConfiguration" | "ClusterStatus" => KUBEADM,
        "KubeProxyConfiguration" => PROXY,
        "KubeSchedulerConfiguration" => SCHEDULER,
        "Pod" | "DaemonSet" | "Deployment" => POD,
        "Config" => KUBECONFIG,
        _ => other,
    }
}

/// All members of KubeletConfiguration (k8s.io/kubelet/config/v1beta1) but `staticPodURLHeader`, which may log in.
pub(super) const KUBELET: Members = Members {
    whole: &[
        "enableServer", "staticPodPath", "podLogsDir", "syncFrequency", "fileCheckFrequency", "httpCheckFrequency",
        "address", "port", "readOnlyPort", "tlsCertFile", "tlsPrivateKeyFile", "tlsCipherSuites", "tlsMinVersion",
        "tlsCurvePreferences", "rotateCertificates", "serverTLSBootstrap", "authentication/x509/clientCAFile",
        "authentication/webhook/enabled", "authentication/webhook/cacheTTL", "authentication/anonymous/enabled",
        "authorization/mode", "authorization/webhook/cacheAuthorizedTTL",
        "authorization/webhook/cacheUnauthorizedTTL", "registryPullQPS", "registryBurst", "eventRecordQPS",
        "eventBurst", "enableDebuggingHandlers", "enableContentionProfiling", "healthzPort", "healthzBindAddress",
        "oomScoreAdj", "clusterDomain", "clusterDNS", "streamingConnectionIdleTimeout", "nodeStatusUpdateFrequency",
        "nodeStatusReportFrequency", "nodeLeaseDurationSeconds", "imageMinimumGCAge", "imageMaximumGCAge",
        "imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "volumeStatsAggPeriod", "kubeletCgroups",
        "systemCgroups", "cgroupRoot", "cgroupsPerQOS", "cgroupDriver", "cpuManagerPolicy",
        "cpuManagerPolicyOptions/*", "singleProcessOOMKill", "cpuManagerReconcilePeriod", "memoryManagerPolicy",
        "topologyManagerPolicy", "topologyManagerScope", "topologyManagerPolicyOptions/*", "qosReserved/*",
        "runtimeRequestTimeout", "hairpinMode", "maxPods", "podCIDR", "podPidsLimit", "resolvConf", "runOnce",
        "cpuCFSQuota", "cpuCFSQuotaPeriod", "nodeStatusMaxImages", "maxOpenFiles", "contentType", "kubeAPIQPS",
        "kubeAPIBurst", "serializeImagePulls", "maxParallelImagePulls", "evictionHard/*", "evictionSoft/*",
        "evictionSoftGracePeriod/*", "evictionPressureTransitionPeriod", "evictionMaxPodGracePeriod",
        "evictionMinimumReclaim/*", "mergeDefaultEvictionSettings", "podsPerCore", "enableControllerAttachDetach",
        "protectKernelDefaults", "makeIPTablesUtilChains", "iptablesMasqueradeBit", "iptablesDropBit",
        "featureGates/*", "failSwapOn", "memorySwap/swapBehavior", "containerLogMaxSize", "containerLogMaxFiles",
        "containerLogMaxWorkers", "containerLogMonitorInterval", "configMapAndSecretChangeDetectionStrategy",
        "systemReserved/*", "kubeReserved/*", "reservedSystemCPUs", "showHiddenMetricsForVersion",
        "systemReservedCgroup", "kubeReservedCgroup", "enforceNodeAllocatable", "allowedUnsafeSysctls",
        "volumePluginDir", "providerID", "kernelMemcgNotification", "logging/format", "logging/verbosity",
        "logging/flushFrequency", "logging/vmodule/*", "enableSystemLogHandler", "enableSystemLogQuery",
        "shutdownGracePeriod", "shutdownGracePeriodCriticalPods", "shutdownGracePeriodByPodPriority/*",
        "crashLoopBackOff/maxContainerRestartPeriod", "reservedMemory/numaNode", "reservedMemory/limits/*",
        "enableProfilingHandler", "enableDebugFlagsHandler", "seccompDefault", "memoryThrottlingFactor",
        "registerWithTaints/key", "registerWithTaints/value", "registerWithTaints/effect", "registerNode",
        "tracing/samplingRatePerMillion", "localStorageCapacityIsolation", "containerRuntimeEndpoint",
        "imageServiceEndpoint", "failCgroupV1", "userNamespaces/*", "imagePullCredentialsVerificationPolicy",
        "preloadedImagesVerificationAllowlist", "logging/options/**", "memoryReservationPolicy", "memoryQoSPolicy",
    ],
    words: &[],
    flags: &[],
    urls: &["staticPodURL", "tracing/endpoint"],
};

/// What `/configz` answers.
pub(super) const CONFIGZ: Members = Members { whole: &["kubeletconfig/**"], ..Members::NONE };

/// kubeadm's configurations (kubeadm.k8s.io), without tokens and certificate keys.
pub(super) const KUBEADM: Members = Members {
    whole: &[
        "networking/serviceSubnet", "networking/podSubnet", "networking/dnsDomain", "kubernetesVersion",
        "controlPlaneEndpoint", "certificatesDir", "imageRepository", "clusterName", "encryptionAlgorithm",
        "certificateValidityPeriod", "caCertificateValidityPeriod", "featureGates/*", "apiServer/certSANs",
        "apiServer/timeoutForControlPlane", "etcd/local/dataDir", "etcd/local/imageRepository", "etcd/local/imageTag",
        "etcd/local/serverCertSANs", "etcd/local/peerCertSANs", "etcd/external/caFile", "etcd/external/certFile",
        "etcd/external/keyFile", "dns/imageRepository", "dns/imageTag", "dns/disabled", "proxy/disabled",
        "nodeRegistration/name", "nodeRegistration/criSocket", "nodeRegistration/taints/key",
        "nodeRegistration/taints/value", "nodeRegistration/taints/effect", "nodeRegistration/ignorePreflightErrors",
        "nodeRegistration/imagePullPolicy", "nodeRegistration/imagePullSerial", "localAPIEndpoint/advertiseAddress",
        "localAPIEndpoint/bindPort", "controlPlane/localAPIEndpoint/advertiseAddress",
        "controlPlane/localAPIEndpoint/bindPort", "bootstrapTokens/ttl", "bootstrapTokens/usages",
        "bootstrapTokens/groups", "discovery/bootstrapToken/apiServerEndpoint",
        "discovery/bootstrapToken/caCertHashes", "discovery/bootstrapToken/unsafeSkipCAVerification",
        "discovery/file/kubeConfigPath", "discovery/timeout", "caCertPath", "skipPhases", "patches/directory",
        "apiEndpoints/*/advertiseAddress", "apiEndpoints/*/bindPort", "apiServer/extraVolumes/name",
        "apiServer/extraVolumes/hostPath", "apiServer/extraVolumes/mountPath", "timeouts/*",
    ],
    words: &[],
    flags: &[
        "apiServer/extraArgs", "controllerManager/extraArgs", "scheduler/extraArgs", "etcd/local/extraArgs",
        "nodeRegistration/kubeletExtraArgs",
    ],
    urls: &["etcd/external/endpoints"],
};

/// KubeProxyConfiguration.
pub(super) const PROXY: Members = Members {
    whole: &[
        "bindAddress", "healthzBindAddress", "metricsBindAddress", "bindAddressHardFail", "enableProfiling",
        "clientConnection/kubeconfig", "clientConnection/qps", "clientConnection/burst", "hostnameOverride", "mode",
        "iptables/*", "ipvs/*", "nftables/*", "winkernel/*", "detectLocalMode", "detectLocal/*", "clusterCIDR",
        "nodePortAddresses", "oomScoreAdj", "conntrack/*", "configSyncPeriod", "portRange", "windowsRunAsService",
        "featureGates/*", "showHiddenMetricsForVersion", "udpIdleTimeout", "logging/format", "logging/verbosity",
    ],
    words: &[],
    flags: &[],
    urls: &[],
};

/// KubeSchedulerConfiguration.
pub(super) const SCHEDULER: Members = Members {
    whole: &[
        "clientConnection/kubeconfig", "clientConnection/qps", "clientConnection/burst", "leaderElection/*",
        "profiles/schedulerName", "parallelism", "enableProfiling", "healthzBindAddress", "metricsBindAddress",
    ],
    ..Members::NONE
};

/// A static pod: how its containers are started, and what of the node they see. Variables go.
pub(super) const POD: Members = Members {
    whole: &[
        "metadata/name", "metadata/namespace", "metadata/labels/*", "spec/hostNetwork", "spec/priorityClassName",
        "spec/containers/name", "spec/containers/image", "spec/containers/imagePullPolicy",
        "spec/containers/volumeMounts/**", "spec/containers/ports/**", "spec/containers/securityContext/**",
        "spec/containers/resources/**", "spec/containers/env/name", "spec/volumes/name",
        "spec/volumes/hostPath/path", "spec/volumes/hostPath/type", "spec/securityContext/**",
        "spec/containers/livenessProbe/httpGet/host", "spec/containers/livenessProbe/httpGet/path",
        "spec/containers/livenessProbe/httpGet/port", "spec/containers/livenessProbe/httpGet/scheme",
    ],
    words: &["spec/containers/command", "spec/containers/args"],
    flags: &[],
    urls: &[],
};

/// A kubeconfig: of users nothing but files of certificates.
pub(super) const KUBECONFIG: Members = Members {
    whole: &[
        "current-context", "clusters/name", "clusters/cluster/certificate-authority",
        "clusters/cluster/certificate-authority-data", "clusters/cluster/tls-server-name",
        "clusters/cluster/insecure-skip-tls-verify", "contexts/name", "contexts/context/cluster",
        "contexts/context/user", "contexts/context/namespace", "users/name", "users/user/client-certificate",
        "users/user/client-certificate-data", "users/user/client-key", "users/user/tokenFile",
    ],
    words: &[],
    flags: &[],
    urls: &["clusters/cluster/server", "clusters/cluster/proxy-url"],
};

/// etcd's configuration file.
pub(super) const ETCD: Members = Members {
    whole: &[
        "name", "data-dir", "wal-dir", "snapshot-count", "heartbeat-interval", "election-timeout",
        "quota-backend-bytes", "initial-cluster", "initial-cluster-state", "cipher-suites", "tls-min-version",
        "tls-max-version", "client-transport-security/*", "peer-transport-security/*", "logger", "log-level",
        "auto-compaction-mode", "auto-compaction-retention", "enable-v2", "strict-reconfig-check",
    ],
    words: &[],
    flags: &[],
    urls: &[
        "listen-client-urls", "listen-peer-urls", "advertise-client-urls", "initial-advertise-peer-urls",
        "listen-metrics-urls", "listen-client-http-urls",
    ],
};

/// config.yaml of k3s and RKE2, whose members are flags.
pub(super) const K3S: Members = Members { flags: &["."], ..Members::NONE };

/// crictl's configuration.
pub(super) const CRICTL: Members =
    Members { whole: &["runtime-endpoint", "image-endpoint", "timeout", "debug"], ..Members::NONE };

/// A CNI configuration: which plug-ins, and which networks.
pub(super) const CNI: Members = Members {
    whole: &[
        "cniVersion", "cniVersions", "name", "type", "disableCheck", "disableGC", "bridge", "isGateway",
        "isDefaultGateway", "ipMasq", "hairpinMode", "mtu", "master", "mode", "ipam/**", "capabilities/*", "dns/**",
        "plugins/cniVersion", "plugins/name", "plugins/type", "plugins/bridge", "plugins/isGateway",
        "plugins/isDefaultGateway", "plugins/ipMasq", "plugins/hairpinMode", "plugins/mtu", "plugins/master",
        "plugins/mode", "plugins/ipam/type", "plugins/ipam/subnet", "plugins/ipam/ranges/**",
        "plugins/ipam/routes/**", "plugins/ipam/dataDir", "plugins/ipam/gateway", "plugins/capabilities/*",
        "plugins/delegate/hairpinMode", "plugins/delegate/isDefaultGateway", "plugins/delegate/type",
        "plugins/kubernetes/kubeconfig", "plugins/snat", "plugins/log_level", "plugins/datastore_type",
        "plugins/nodename", "plugins/policy/type", "plugins/network", "plugins/subnetFile",
    ],
    ..Members::NONE
};

/// Docker Engine's daemon.json.
pub(super) const DOCKER: Members = Members {
    whole: &[
        "exec-opts", "storage-driver", "log-driver", "log-opts/max-size", "log-opts/max-file", "data-root",
        "exec-root", "live-restore", "iptables", "ip6tables", "ip-forward", "bip", "default-runtime",
        "default-cgroupns-mode", "features/*", "selinux-enabled", "userland-proxy", "bridge", "mtu", "ipv6",
        "fixed-cidr", "fixed-cidr-v6", "icc", "init", "containerd", "cgroup-parent", "default-address-pools/*",
        "runtimes/*/path",
    ],
    urls: &["hosts", "registry-mirrors"],
    ..Members::NONE
};

/// containerd's configuration, versions 1 to 3: without registries, but for the folder of their files.
pub(super) const CONTAINERD: Members = Members {
    whole: &[
        "version", "root", "state", "temp", "imports", "disabled_plugins", "required_plugins", "oom_score",
        "plugin_dir", "cgroup/path", "grpc/address", "grpc/uid", "grpc/gid", "debug/address", "debug/level",
        "metrics/address", "timeouts/*",
        // Version 1 has the plug-in's short name, later ones its whole.
        "plugins/*/sandbox_image", "plugins/*/sandbox", "plugins/*/pinned_images/*", "plugins/*/systemd_cgroup",
        "plugins/*/restrict_oom_score_adj", "plugins/*/disable_cgroup", "plugins/*/disable_apparmor",
        "plugins/*/disable_hugetlb_controller", "plugins/*/tolerate_missing_hugetlb_controller",
        "plugins/*/enable_selinux", "plugins/*/enable_cdi", "plugins/*/cdi_spec_dirs", "plugins/*/max_container_log_line_size",
        "plugins/*/stream_server_address", "plugins/*/stream_server_port", "plugins/*/enable_unprivileged_ports",
        "plugins/*/enable_unprivileged_icmp", "plugins/*/device_ownership_from_security_context",
        "plugins/*/snapshotter", "plugins/*/root_path", "plugins/*/config_path", "plugins/*/use_local_image_pull",
        "plugins/*/cni/bin_dir", "plugins/*/cni/bin_dirs", "plugins/*/cni/conf_dir", "plugins/*/cni/conf_template",
        "plugins/*/cni/max_conf_num", "plugins/*/cni/setup_serially", "plugins/*/cni/ip_pref",
        "plugins/*/cni/use_internal_loopback", "plugins/*/registry/config_path", "plugins/*/containerd/snapshotter",
        "plugins/*/containerd/default_runtime_name", "plugins/*/containerd/no_pivot",
        "plugins/*/containerd/disable_snapshot_annotations", "plugins/*/containerd/discard_unpacked_layers",
        "plugins/*/containerd/ignore_rdt_not_enabled_errors", "plugins/*/containerd/runtimes/*/runtime_type",
        "plugins/*/containerd/runtimes/*/runtime_root", "plugins/*/containerd/runtimes/*/runtime_engine",
        "plugins/*/containerd/runtimes/*/runtime_path", "plugins/*/containerd/runtimes/*/base_runtime_spec",
        "plugins/*/containerd/runtimes/*/cni_conf_dir", "plugins/*/containerd/runtimes/*/snapshotter",
        "plugins/*/containerd/runtimes/*/sandboxer", "plugins/*/containerd/runtimes/*/sandbox_mode",
        "plugins/*/containerd/runtimes/*/privileged_without_host_devices",
        "plugins/*/containerd/runtimes/*/options/SystemdCgroup", "plugins/*/containerd/runtimes/*/options/BinaryName",
        "plugins/*/containerd/runtimes/*/options/Root", "plugins/*/containerd/runtimes/*/options/NoPivotRoot",
        "plugins/*/containerd/runtimes/*/options/ShimCgroup", "plugins/*/containerd/default_runtime/**",
        "plugins/*/containerd/untrusted_workload_runtime/**", "plugins/*/runtime_platforms/**",
        "plugins/*/upperdir_label", "plugins/*/pool_name", "plugins/*/shim", "plugins/*/runtime",
        "proxy_plugins/*/type", "proxy_plugins/*/address",
    ],
    ..Members::NONE
};

/// CRI-O's configuration.
pub(super) const CRIO: Members = Members {
    whole: &[
        "crio/root", "crio/runroot", "crio/imagestore", "crio/storage_driver", "crio/log_dir", "crio/version_file", "crio/internal_wipe",
        "crio/storage_option", "crio/api/listen", "crio/api/stream_address", "crio/api/stream_port",
        "crio/runtime/cgroup_manager", "crio/runtime/conmon", "crio/runtime/conmon_cgroup",
        "crio/runtime/monitor_cgroup", "crio/runtime/default_runtime", "crio/runtime/selinux",
        "crio/runtime/seccomp_profile", "crio/runtime/apparmor_profile", "crio/runtime/pids_limit",
        "crio/runtime/drop_infra_ctr", "crio/runtime/no_pivot", "crio/runtime/default_ulimits", "crio/runtime/log_level",
        "crio/runtime/allowed_devices", "crio/runtime/default_sysctls", "crio/runtime/hooks_dir",
        "crio/runtime/runtimes/*/runtime_path", "crio/runtime/runtimes/*/runtime_type",
        "crio/runtime/runtimes/*/runtime_root", "crio/runtime/runtimes/*/runtime_config_path",
        "crio/runtime/runtimes/*/monitor_path", "crio/runtime/runtimes/*/monitor_cgroup",
        "crio/runtime/runtimes/*/allowed_annotations", "crio/image/pause_image", "crio/image/pause_command",
        "crio/image/pinned_images", "crio/image/default_transport", "crio/network/network_dir",
        "crio/network/plugin_dirs", "crio/network/cni_default_network", "crio/metrics/enable_metrics",
        "crio/metrics/metrics_port",
    ],
    ..Members::NONE
};

/// storage.conf of containers/storage.
pub(super) const STORAGE: Members =
    Members { whole: &["storage/driver", "storage/graphroot", "storage/runroot", "storage/imagestore"], ..Members::NONE };

/// netplan: interfaces and addresses. Of access points and credentials nothing.
pub(super) const NETPLAN: Members = Members {
    whole: &[
        "network/version", "network/renderer", "network/*/*/addresses", "network/*/*/dhcp4", "network/*/*/dhcp6",
        "network/*/*/gateway4", "network/*/*/gateway6", "network/*/*/mtu", "network/*/*/macaddress",
        "network/*/*/match/*", "network/*/*/set-name", "network/*/*/interfaces", "network/*/*/id", "network/*/*/link",
        "network/*/*/nameservers/*", "network/*/*/routes/to", "network/*/*/routes/via", "network/*/*/routes/metric",
    ],
    ..Members::NONE
};

/// What a runtime says of itself: its answers to Version, RuntimeConfig and Status.
pub(super) const CRI: Members = Members {
    whole: &[
        "runtimeName", "runtimeVersion", "runtimeApiVersion", "cgroupDriver", "conditions/type", "conditions/status",
        "conditions/reason", "conditions/message", "info/golang", "info/lastCNILoadStatus",
        "info/lastCNILoadStatus.*", "info/cniconfig/PluginDirs", "info/cniconfig/PluginConfDir",
        "info/cniconfig/PluginMaxConfNum", "info/cniconfig/Prefix", "info/config/containerd/snapshotter",
        "info/config/containerd/defaultRuntimeName", "info/config/containerd/runtimes/*/runtimeType",
        "info/config/containerd/runtimes/*/runtimePath", "info/config/containerd/runtimes/*/snapshotter",
        "info/config/containerd/runtimes/*/options/SystemdCgroup",
        "info/config/containerd/runtimes/*/options/BinaryName", "info/config/cni/binDir", "info/config/cni/binDirs",
        "info/config/cni/confDir", "info/config/systemdCgroup", "info/config/sandboxImage",
        "info/config/enableSelinux", "info/config/disableApparmor", "info/config/containerdRootDir",
        "info/config/containerdEndpoint", "info/config/rootDir", "info/config/stateDir",
    ],
    ..Members::NONE
};

/// What a component's `/version` says.
pub(super) const VERSION: Members = Members {
    whole: &["major", "minor", "gitVersion", "gitCommit", "buildDate", "goVersion", "compiler", "platform", "etcdserver", "etcdcluster"],
    ..Members::NONE
};
