//! Anything in the kubelet's configuration and flags is judged without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_fuzz::files;

fuzz_target!(|bytes: &[u8]| {
    files(&["/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env"], bytes);
});
