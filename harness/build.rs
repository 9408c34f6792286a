//! Links the program at a fixed address, as Go links kubeadm and kubectl.
//!
//! What can be loaded anywhere has to set 45,000 pointers right before it starts, on 190 pages that are then no longer shared with
//! other processes. That takes half a millisecond, a fifth of `seaworthy pki expiry`.

use std::env::{var, var_os};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, wanted: &str| var(name).is_ok_and(|value| value.split(',').any(|one| one == wanted));
    // rustc asks for `-static-pie`; of these options GCC follows the last. Clang refuses to be told both: who names a linker keeps rustc's way.
    if is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
        && var_os("RUSTC_LINKER").is_none()
    {
        println!("cargo:rustc-link-arg-bin=seaworthy=-static");
        println!("cargo:rustc-link-arg-bin=seaworthy=-no-pie");
    }
}
