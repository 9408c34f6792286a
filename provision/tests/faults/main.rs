//! Faults, tried in namespaces of our own: what they do, what they leave alone, and that nothing is left when they are
//! undone.
//!
//! The binary is also the program whose processes make the faults, as the harness is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod disk;
mod etcd;
mod lab;
mod link;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn required(what: &str) {
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
    println!("skipped: it needs {what}");
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = seaworthy_provision::fault::process_main(&arguments) {
        return code;
    }
    let trial = |(name, test): (&str, fn())| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    if nix::unistd::geteuid().is_root() {
        // Mounts are ours alone, and go with us.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    }
    let mut trials: Vec<_> = [disk::TRIALS, etcd::TRIALS, link::TRIALS].concat().into_iter().map(trial).collect();
    trials.push(trial(etcd::FIGURES).with_ignored_flag(true));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
