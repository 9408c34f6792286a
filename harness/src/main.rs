//! The program `seaworthy`: puts Kubernetes nodes on sea trials.
//!
//! Standard output carries the answer and nothing else; progress and errors go to standard error.

mod answer;
mod assets;
mod cidr;
mod cli;
mod cluster;
mod container;
mod effective;
mod explain;
mod fault;
mod pki;
mod progress;
mod reach;
mod report;
mod run;
mod select;
mod signals;
mod simulate;
mod sources;
mod summary;
mod text;
mod waivers;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use fault::Fault;

fn main() -> ExitCode {
    // Before anything starts a thread: a probe unshares namespaces, and a workload may have none to spare.
    let arguments: Vec<_> = std::env::args_os().collect();
    let early = seaworthy_checks::host::probe_main(&arguments);
    let early = early.or_else(|| seaworthy_suites::workload_main(&arguments));
    if let Some(code) = early.or_else(|| seaworthy_provision::hidden_main(&arguments)) {
        return code;
    }
    match begin() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(fault) => {
            fault.print();
            ExitCode::from(fault.code())
        }
    }
}

fn begin() -> Result<i32, Fault> {
    let arguments = container::arguments(std::env::args_os().collect(), |name| std::env::var(name).ok())?;
    let cli = Cli::try_parse_from(arguments).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Run(options) => run::run(&options),
        Command::List(options) => explain::list(&options),
        Command::Explain(options) => explain::explain(&options),
        Command::Record(options) => report::record(&options),
        Command::Report(options) => report::report(&options),
        Command::Diff(options) => report::diff(&options),
        Command::Listen(options) => reach::listen(&options),
        Command::Reach(options) => reach::reach(&options),
        Command::Assets(command) => assets::run(&command),
        Command::Cluster(command) => cluster::run(&command),
        Command::Simulate(options) => simulate::simulate(&options),
        Command::Pki(command) => pki::run(&command),
        Command::Schema => report::schema(),
        Command::Completions { shell } => explain::completions(shell),
        Command::Man { folder } => explain::man(folder.as_deref()),
    }
}
