//! Faults, tried in namespaces of our own: what they do, what they leave alone, and that nothing is left when they are undone.
//!
//! The binary is also the program whose processes make the faults, as the harness is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

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
    let trials = link::TRIALS.iter().copied().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
