//! kubeadm's feature gates, by the versions that have them (`cmd/kubeadm/app/features/features.go`, 1.23 to 1.37).

/// A gate: its name, the first and last minor version that know it with this default.
const GATES: [(&str, u32, u32, bool); 14] = [
    ("IPv6DualStack", 23, 23, true),
    ("PublicKeysECDSA", 23, 36, false),
    ("RootlessControlPlane", 23, u32::MAX, false),
    ("UnversionedKubeletConfigMap", 23, 23, false),
    ("UnversionedKubeletConfigMap", 24, 25, true),
    ("EtcdLearnerMode", 27, 28, false),
    ("EtcdLearnerMode", 29, 32, true),
    ("UpgradeAddonsBeforeControlPlane", 28, 30, false),
    ("WaitForAllControlPlaneComponents", 30, 32, false),
    ("WaitForAllControlPlaneComponents", 33, 34, true),
    ("ControlPlaneKubeletLocalMode", 31, 32, false),
    ("ControlPlaneKubeletLocalMode", 33, 35, true),
    ("NodeLocalCRISocket", 32, 33, false),
    ("NodeLocalCRISocket", 34, 36, true),
];

/// The gate that makes keys ECDSA where v1beta3 has no field for it.
pub(crate) const ECDSA: &str = "PublicKeysECDSA";

fn of(minor: u32) -> impl Iterator<Item = &'static (&'static str, u32, u32, bool)> {
    GATES.iter().filter(move |(_, first, last, _)| (*first..=*last).contains(&minor))
}

/// What a gate is by default; `None` where this version does not know it.
pub(crate) fn default(name: &str, minor: u32) -> Option<bool> {
    of(minor).find(|(gate, ..)| *gate == name).map(|(.., default)| *default)
}

/// The gates that a version knows.
pub(crate) fn known(minor: u32) -> impl Iterator<Item = &'static str> {
    of(minor).map(|(gate, ..)| *gate)
}
