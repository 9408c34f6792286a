//! What runs in pods: this very program, so there is never an image to pull.
//!
//! `seaworthy workload pause` holds a pod's namespaces; `seaworthy workload serve` answers over HTTP and UDP who it is,
//! whom it sees, and what it reaches, which is what trials of Services, DNS and network policies ask. Neither needs a
//! file. `seaworthy workload do SCRIPT` does small steps, which is what trials of a node ask.

mod answer;
mod dial;
mod more;
mod pause;
mod script;
mod serve;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

/// What the program is called with to be a workload.
const ARGUMENT: &str = "workload";
const USAGE: &str = "a workload is one of: pause [-v]; serve [--http PORT] [--udp PORT] ...; do 'STEP; STEP; ...'";

/// Is this process a workload? Then does its work until it is told to end; for the first lines of `main`.
pub fn workload_main(arguments: &[OsString]) -> Option<ExitCode> {
    if arguments.get(1)? != ARGUMENT {
        return None;
    }
    let words: Option<Vec<_>> = arguments[2..].iter().map(|word| word.to_str()).collect();
    let ended = match words.as_deref() {
        Some(["pause"]) => pause::pause(),
        // What Kubernetes' own says of itself; `kubeadm upgrade` has a Job do it, to see whether Jobs are run.
        Some(["pause", "-v"]) => {
            writeln!(std::io::stdout(), "pause of seaworthy {}", env!("CARGO_PKG_VERSION")).map(|()| ExitCode::SUCCESS)
        }
        Some(["serve", options @ ..]) => match serve::Options::read(options) {
            Ok(options) => serve::serve(options),
            Err(why) => return Some(misused(&why)),
        },
        // Arguments of a container may be expanded and split; they are one script.
        Some(["do", script @ ..]) => script::run(&script.join(" ")),
        _ => return Some(misused(USAGE)),
    };
    Some(ended.unwrap_or_else(|error| {
        writeln!(std::io::stderr(), "workload: {error}").ok();
        ExitCode::FAILURE
    }))
}

fn misused(why: &str) -> ExitCode {
    writeln!(std::io::stderr(), "workload: {why}").ok();
    ExitCode::from(2)
}
