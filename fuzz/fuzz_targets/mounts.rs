//! Anything in mount tables and cgroup files is judged without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_fuzz::files;

fuzz_target!(|bytes: &[u8]| {
    files(
        &[
            "/proc/1/mounts",
            "/proc/1/mountinfo",
            "/proc/cgroups",
            "/sys/fs/cgroup/cgroup.controllers",
            "/proc/swaps",
            "/etc/fstab",
        ],
        bytes,
    );
});
