//! The released binary: small, static, and at home in an empty root.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::process::Command;

#[test]
fn it_is_under_40_mb_and_runs_from_an_empty_root() {
    let Some(binary) = std::env::var_os("SEAWORTHY_BIN").filter(|_| nix::unistd::geteuid().is_root()) else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_BIN must name the binary, and we be root");
        println!("skipped: it needs root, and SEAWORTHY_BIN to name the binary of `cargo build --release`");
        return;
    };
    let size = std::fs::metadata(&binary).unwrap().len();
    assert!(size < 40_000_000, "{size} bytes");
    let root = tempfile::tempdir().unwrap();
    std::fs::copy(&binary, root.path().join("seaworthy")).unwrap();
    let output = Command::new("chroot").arg(root.path()).args(["/seaworthy", "--version"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new("chroot").arg(root.path()).args(["/seaworthy", "list", "-o", "json"]).output().unwrap();
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert!(listed.len() >= 150);
    // An ELF file with an interpreter (program header PT_INTERP) wants a dynamic linker.
    let bytes = std::fs::read(&binary).unwrap();
    assert!(!bytes.windows(13).any(|window| window == b"/ld-linux-x86"), "it names a dynamic linker");
}
