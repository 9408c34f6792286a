//! Combinations of file, drop-ins and flags that a real kubelet and our model are given alike.

/// A kubelet's configuration in files and flags. `@` stands for the folder of the files, which has a CA in
/// `pki/ca.crt`.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The members of the base file behind its head; what begins with `!` is the whole file.
    pub(crate) base: Option<&'static str>,
    /// Drop-ins by path below the folder, with their members; without any there is no `--config-dir`.
    pub(crate) drop_ins: &'static [(&'static str, &'static str)],
    pub(crate) flags: &'static [&'static str],
}

pub(crate) const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

const fn base(name: &'static str, base: &'static str) -> Case {
    Case { name, base: Some(base), drop_ins: &[], flags: &[] }
}

const fn flags(name: &'static str, flags: &'static [&'static str]) -> Case {
    Case { name, base: Some(""), drop_ins: &[], flags }
}

const fn drop_ins(name: &'static str, base: &'static str, drop_ins: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, base: Some(base), drop_ins, flags: &[] }
}

/// For every release.
pub(crate) const CASES: &[Case] = &[
    Case { name: "nothing but defaults", base: None, drop_ins: &[], flags: &[] },
    Case {
        name: "flags without a file",
        base: None,
        drop_ins: &[],
        flags: &[
            "--anonymous-auth=false",
            "--authorization-mode=Webhook",
            "--max-pods",
            "30",
            "--eviction-hard=memory.available<1Gi",
        ],
    },
    base("a file that says nothing", ""),
    base(
        "kubeadm's file",
        "authentication:\n  anonymous:\n    enabled: false\n  webhook:\n    cacheTTL: 0s\n    enabled: true\n  \
         x509:\n    clientCAFile: \"@/pki/ca.crt\"\n\
         authorization:\n  mode: Webhook\n  webhook:\n    cacheAuthorizedTTL: 0s\n    cacheUnauthorizedTTL: 0s\n\
         cgroupDriver: systemd\nclusterDNS:\n- 10.96.0.10\nclusterDomain: cluster.local\n\
         cpuManagerReconcilePeriod: 0s\nevictionPressureTransitionPeriod: 0s\nfileCheckFrequency: 0s\n\
         healthzBindAddress: 127.0.0.1\nhealthzPort: 10248\nhttpCheckFrequency: 0s\nimageMinimumGCAge: 0s\n\
         memorySwap: {}\nnodeStatusReportFrequency: 0s\nnodeStatusUpdateFrequency: 0s\nrotateCertificates: true\n\
         runtimeRequestTimeout: 0s\nshutdownGracePeriod: 0s\nshutdownGracePeriodCriticalPods: 0s\n\
         staticPodPath: /etc/kubernetes/manifests\nstreamingConnectionIdleTimeout: 0s\nsyncFrequency: 0s\n\
         volumeStatsAggPeriod: 0s\n",
    ),
    base(
        "zeros that are not set",
        "maxPods: 0\nport: 0\ncgroupDriver: \"\"\nauthorization:\n  mode: \"\"\nkubeAPIBurst: 0\n",
    ),
    base(
        "zeros that are",
        "healthzPort: 0\neventRecordQPS: 0\nregistryPullQPS: 0\nfailSwapOn: false\nresolvConf: \"\"\n",
    ),
    base(
        "nulls",
        "maxPods: null\nevictionHard: null\nauthentication: null\nclusterDNS: null\nhealthzPort: null\n\
         cpuCFSQuotaPeriod: null\n",
    ),
    base("eviction of one signal", "evictionHard:\n  memory.available: 5%\n"),
    base("eviction of none", "evictionHard: {}\n"),
    base("eviction with null", "evictionHard:\n  memory.available: null\n"),
    base(
        "relative paths",
        "staticPodPath: manifests\nresolvConf: ./resolv.conf\nauthentication:\n  x509:\n    clientCAFile: pki/ca.crt\n",
    ),
    base("truth of YAML 1.1", "failSwapOn: no\nrotateCertificates: on\nprotectKernelDefaults: y\n"),
    base("numbers of YAML 1.1", "maxPods: 0100\nport: 0x2713\npodsPerCore: 1_0\nmaxOpenFiles: 5.0\n"),
    base(
        "durations",
        "syncFrequency: 90s\nfileCheckFrequency: 1.5h\nhttpCheckFrequency: 100ms\nnodeStatusUpdateFrequency: 4s\n",
    ),
    base(
        "an anchor",
        "evictionSoft: &limits\n  memory.available: 10%\nevictionHard: *limits\n\
         evictionSoftGracePeriod:\n  memory.available: 1m\n",
    ),
    base(
        "lists",
        "enforceNodeAllocatable: []\ncgroupsPerQOS: false\ntlsCipherSuites: [TLS_AES_128_GCM_SHA256]\n\
         clusterDNS: [10.0.0.10, \"fd00::a\"]\n",
    ),
    base("taints", "registerWithTaints:\n- key: a\n  value: b\n  effect: NoSchedule\n- key: c\n  effect: NoExecute\n"),
    base("logging", "logging:\n  verbosity: 3\n"),
    base("logging with nanoseconds", "logging:\n  flushFrequency: 10000000000\n"),
    base("two streams of JSON", "logging:\n  options:\n    json:\n      splitStream: true\n"),
    Case {
        name: "two streams of JSON by a flag",
        base: Some(""),
        drop_ins: &[],
        flags: &["--log-json-split-stream", "--feature-gates=LoggingAlphaOptions=true"],
    },
    base("reserved", "systemReserved:\n  cpu: 100m\nkubeReserved:\n  memory: 1Gi\nreservedSystemCPUs: 0-1\n"),
    base("an unknown member", "bogusMember: 1\nmaxPods: 50\n"),
    base("an unknown member below", "authentication:\n  anonymous:\n    enable: true\nmaxPods: 50\n"),
    base("a name in another case", "MaxPods: 50\n"),
    base("a member that is there twice", "maxPods: 50\nmaxPods: 60\n"),
    base("a second document", "maxPods: 50\n---\nkind: Nonsense\n"),
    base("a line of dashes at the end", "maxPods: 50\n---\n"),
    base(
        "JSON",
        "!{\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"kind\":\"KubeletConfiguration\",\"maxPods\":50}\n",
    ),
    base(
        "JSON with tabs",
        "!{\n\t\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\n\t\"kind\":\"KubeletConfiguration\",\n\
         \t\"maxPods\":50\n}\n",
    ),
    base(
        "JSON with a member twice",
        "!{\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"kind\":\"KubeletConfiguration\",\
         \"maxPods\":50,\"maxPods\":60}",
    ),
    base(
        "a byte order mark",
        "!\u{feff}apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 50\n",
    ),
    // What ends it.
    base("a string for a bool", "failSwapOn: \"false\"\n"),
    base("a number for a string", "clusterDomain: 5\n"),
    base("a string for a number", "maxPods: \"50\"\n"),
    base("a number for a duration", "syncFrequency: 10\n"),
    base("null for a duration", "syncFrequency: null\n"),
    base("a word for a duration", "syncFrequency: soon\n"),
    base("a number that is too large", "maxPods: 5000000000\n"),
    base("a fraction for a number", "maxPods: 5.5\n"),
    base("a number for a threshold", "evictionHard:\n  memory.available: 100\n"),
    base("a map for a list", "clusterDNS:\n  a: b\n"),
    base("a list for a map", "evictionHard:\n- a\n"),
    base("a tab", "authentication:\n\tanonymous:\n\t\tenabled: true\n"),
    base("an empty file", "!"),
    base("a comment alone", "!# nothing\n"),
    base("a list", "!- a\n"),
    base("no kind", "!apiVersion: kubelet.config.k8s.io/v1beta1\nmaxPods: 50\n"),
    base("no version", "!kind: KubeletConfiguration\nmaxPods: 50\n"),
    base("another version", "!apiVersion: kubelet.config.k8s.io/v1alpha1\nkind: KubeletConfiguration\n"),
    base("another kind", "!apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfig\n"),
    base(
        "an empty document first",
        "!---\n---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n",
    ),
    base(
        "JSON with a comma too many",
        "!{\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"kind\":\"KubeletConfiguration\",}",
    ),
    base("JSON and more", "!{\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"kind\":\"KubeletConfiguration\"}\n{}"),
    base("thresholds out of order", "imageGCHighThresholdPercent: 70\n"),
    base("a port that is none", "healthzPort: 70000\n"),
    base("a mode of hairpins that is none", "hairpinMode: veth\n"),
    base("enforcement without a group", "enforceNodeAllocatable: [pods, system-reserved]\n"),
    // Flags.
    flags("a flag beats the file", &["--max-pods=20", "--max-pods=30"]),
    flags("flags with a blank and with underscores", &["--max_pods", "20", "--fail_swap_on=false", "-v", "3"]),
    flags("a bool without a value", &["--rotate-certificates", "--protect-kernel-defaults=true"]),
    flags("numbers of flags", &["--port=0x2713", "--healthz-port=0", "--read-only-port=10255"]),
    flags("lists add up", &["--cluster-dns=10.0.0.10", "--cluster-dns=10.0.0.11,10.0.0.12"]),
    flags("maps add up", &["--system-reserved=cpu=1,memory=1Gi", "--system-reserved=pid=100"]),
    Case {
        name: "a flag's map replaces the file's",
        base: Some("evictionHard:\n  memory.available: 5%\n  nodefs.available: 7%\n"),
        drop_ins: &[],
        flags: &["--eviction-hard=memory.available<200Mi"],
    },
    Case {
        name: "gates of both count",
        base: Some("featureGates:\n  RotateKubeletServerCertificate: true\n"),
        drop_ins: &[],
        flags: &["--feature-gates=GracefulNodeShutdown=true"],
    },
    flags("a gate that no kubelet knows", &["--feature-gates=NoSuchGate=true"]),
    base("a gate in the file that no kubelet knows", "featureGates:\n  NoSuchGate: true\n"),
    flags("taints of a flag", &["--register-with-taints=a=b:NoSchedule,c=:NoExecute"]),
    flags("a duration of a flag", &["--sync-frequency=90s", "--streaming-connection-idle-timeout=5m"]),
    flags("an address", &["--address=::", "--healthz-bind-address=0.0.0.0"]),
    flags("an unknown flag", &["--no-such-flag=1"]),
    flags("one dash", &["-max-pods=20"]),
    flags("a word that is no flag", &["--max-pods=20", "extra"]),
    flags("a bool and its value apart", &["--fail-swap-on", "false"]),
    flags("no number", &["--max-pods=many"]),
    flags("no bool", &["--fail-swap-on=no"]),
    flags("no address", &["--address=localhost"]),
    flags("no duration", &["--sync-frequency=10"]),
    flags("no separator", &["--eviction-hard=memory.available=5%"]),
    flags("a flag that refuses the file's neighbor", &["--image-gc-high-threshold=70"]),
    flags("a flag at the end without its value", &["--max-pods"]),
];

/// For releases with drop-ins.
pub(crate) const DROP_INS: &[Case] = &[
    drop_ins(
        "order of names",
        "maxPods: 10\n",
        &[("20-b.conf", "maxPods: 20\n"), ("10-a.conf", "maxPods: 30\nport: 11250\n")],
    ),
    drop_ins(
        "folders among the names",
        "",
        &[("a/z.conf", "maxPods: 1\n"), ("b.conf", "maxPods: 2\n"), ("c/a.conf", "podsPerCore: 3\n")],
    ),
    drop_ins(
        "other names are passed over",
        "",
        &[("a.yaml", "maxPods: 1\n"), ("b.conf.bak", "maxPods: 2\n"), (".conf", "maxPods: 3\n")],
    ),
    drop_ins(
        "maps merge, lists are replaced",
        "clusterDNS: [10.0.0.10]\nsystemReserved:\n  cpu: 100m\n",
        &[("a.conf", "clusterDNS: [10.0.0.11]\nsystemReserved:\n  memory: 1Gi\n")],
    ),
    drop_ins("thresholds merge into the defaults", "", &[("a.conf", "evictionHard:\n  memory.available: 5%\n")]),
    drop_ins(
        "thresholds of a file that has some",
        "evictionHard:\n  nodefs.available: 5%\n",
        &[("a.conf", "evictionHard:\n  memory.available: 5%\n")],
    ),
    drop_ins(
        "null removes",
        "maxPods: 50\nclusterDomain: a\n",
        &[("a.conf", "maxPods: null\nclusterDomain: null\nevictionHard: null\nsyncFrequency: null\n")],
    ),
    drop_ins("zero is not set", "maxPods: 50\nreadOnlyPort: 10255\n", &[("a.conf", "maxPods: 0\nreadOnlyPort: 0\n")]),
    drop_ins("an empty list of the file is lost", "enforceNodeAllocatable: []\n", &[("a.conf", "maxPods: 5\n")]),
    drop_ins("an unknown member is passed over", "", &[("a.conf", "bogus: 1\nmaxPods: 70\n")]),
    drop_ins(
        "names in another case count where nothing else is set",
        "",
        &[("a.conf", "ClusterDomain: x\nMaxPods: 77\n")],
    ),
    drop_ins("a relative path stays", "", &[("a.conf", "staticPodPath: manifests\n")]),
    drop_ins(
        "JSON",
        "",
        &[(
            "a.conf",
            "!{\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"kind\":\"KubeletConfiguration\",\"maxPods\":50}",
        )],
    ),
    drop_ins("a second document", "", &[("a.conf", "maxPods: 50\n---\nmaxPods: 60\n")]),
    drop_ins("a member twice ends it", "", &[("a.conf", "maxPods: 50\nmaxPods: 60\n")]),
    drop_ins("a string for a bool ends it", "", &[("a.conf", "failSwapOn: \"false\"\n")]),
    drop_ins("a number for a duration ends it", "", &[("a.conf", "syncFrequency: 10\n")]),
    drop_ins("no kind ends it", "", &[("a.conf", "!maxPods: 50\n")]),
    drop_ins("an empty file ends it", "", &[("a.conf", "!")]),
    drop_ins(
        "another version ends it",
        "",
        &[("a.conf", "!apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n")],
    ),
    drop_ins("parallel pulls in a drop-in alone end it", "", &[("a.conf", "maxParallelImagePulls: 5\n")]),
    drop_ins(
        "parallel pulls with their neighbor",
        "",
        &[("a.conf", "maxParallelImagePulls: 5\nserializeImagePulls: false\n")],
    ),
    base("parallel pulls in the file", "maxParallelImagePulls: 5\n"),
    base(
        "thresholds with their defaults",
        "evictionHard:\n  memory.available: 5%\nmergeDefaultEvictionSettings: true\n",
    ),
    drop_ins(
        "a drop-in asks too late for their defaults",
        "evictionHard:\n  memory.available: 5%\n",
        &[("a.conf", "mergeDefaultEvictionSettings: true\n")],
    ),
    base("logging with a duration", "logging:\n  flushFrequency: 10s\n"),
    drop_ins("two streams of text", "", &[("a.conf", "logging:\n  options:\n    text:\n      splitStream: true\n")]),
    Case { name: "drop-ins without a file", base: None, drop_ins: &[("a.conf", "maxPods: 9\n")], flags: &[] },
    Case {
        name: "a flag beats a drop-in",
        base: Some("maxPods: 10\n"),
        drop_ins: &[("a.conf", "maxPods: 20\n")],
        flags: &["--max-pods=30"],
    },
    Case { name: "a folder that is missing", base: Some(""), drop_ins: &[], flags: &["--config-dir=@/none"] },
    Case { name: "a file that is missing", base: None, drop_ins: &[], flags: &["--config=@/none.yaml"] },
];
