//! Anything in the kernel's configuration, plain and compressed is judged without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_fuzz::files;

fuzz_target!(|bytes: &[u8]| {
    files(&["/boot/config-6.12.0-1-amd64", "/proc/config.gz"], bytes);
});
