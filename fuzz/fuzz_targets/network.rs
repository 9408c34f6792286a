//! Anything in routes, sockets, resolver and hosts is judged without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seaworthy_fuzz::files;

fuzz_target!(|bytes: &[u8]| {
    files(
        &[
            "/proc/1/net/route",
            "/proc/1/net/ipv6_route",
            "/proc/1/net/if_inet6",
            "/proc/1/net/tcp",
            "/proc/1/net/tcp6",
            "/etc/resolv.conf",
            "/etc/hosts",
            "/etc/environment",
        ],
        bytes,
    );
});
