//! Anything in PEM and certificates is judged without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_fuzz::files;

fuzz_target!(|bytes: &[u8]| {
    files(&["/etc/kubernetes/pki/ca.crt", "/var/lib/kubelet/pki/kubelet-client-current.pem"], bytes);
});
