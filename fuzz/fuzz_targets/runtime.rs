//! Anything in configurations of containerd, CRI-O, Docker Engine, crictl and CNI is judged without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_fuzz::files;

fuzz_target!(|bytes: &[u8]| {
    files(
        &[
            "/etc/containerd/config.toml",
            "/etc/crio/crio.conf",
            "/etc/docker/daemon.json",
            "/etc/crictl.yaml",
            "/etc/cni/net.d/10-net.conflist",
        ],
        bytes,
    );
});
