//! `seaworthy pki`: what a PKI is, rather than what is wrong with it: when what expires, who trusts whom, what to do next.

mod expiry;
mod export;
mod graph;
mod plan;
pub(crate) mod table;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use seaworthy_checks::pki::Facts;

use crate::answer;
use crate::cli::{LayoutOptions, RemoteOptions};
use crate::fault::Fault;
use crate::sources;

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Say when each certificate expires, as text, JSON, metrics, or as kubeadm says it
    Expiry(ExpiryOptions),
    /// Serve the metrics of `expiry -o prometheus` over HTTP; every request looks again
    Export(ExportOptions),
    /// Draw who signed what, who shows it and who trusts it
    Graph(GraphOptions),
    /// Say what to renew next, in which order, and which bundles hold the new CA already
    Plan(PlanOptions),
}

/// Where the PKI is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The PKI: / for this machine, a folder that a node's root is mounted at, a folder that holds a PKI, a kubeconfig, a machine configuration of Talos or a recording
    #[arg(long, visible_alias = "rootfs", value_name = "PATH", default_value = "/")]
    host: PathBuf,
    #[command(flatten)]
    layout: LayoutOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExpiryOutput {
    Text,
    Json,
    /// The object of `kubeadm certs check-expiration -o json`
    Kubeadm,
    /// Metrics with the names of x509-certificate-exporter
    Prometheus,
}

#[derive(Debug, Args)]
pub(crate) struct ExpiryOptions {
    #[command(flatten)]
    place: Place,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = ExpiryOutput::Text)]
    output: ExpiryOutput,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    #[command(flatten)]
    place: Place,
    /// The IP address and port to listen at; /metrics is what is served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9793", value_parser = listen)]
    listen: SocketAddr,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an IP address and a port are wanted, as in 127.0.0.1:9793 or [::]:9793".to_owned())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GraphOutput {
    /// For Graphviz
    Dot,
    Json,
    Svg,
}

#[derive(Debug, Args)]
pub(crate) struct GraphOptions {
    #[command(flatten)]
    place: Place,
    /// The form of the picture
    #[arg(short, long, value_enum, default_value_t = GraphOutput::Dot)]
    output: GraphOutput,
}

#[derive(Debug, Args)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    place: Place,
    /// Plan for what expires within so many days
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    within: u16,
}

impl Place {
    /// Opens it and looks, once.
    fn look(&self) -> Result<Facts, Fault> {
        let hosts = std::slice::from_ref(&self.host);
        let sources = sources::open(hosts, self.layout.layout(), &RemoteOptions::default())?;
        let facts = sources[0].pki();
        if facts.expiries().is_empty() {
            let fault = Fault::usage(format!("{} has no PKI that can be read", self.host.display()));
            return Err(fault.hint("run as root, or name another place with --host or --pki-dir"));
        }
        Ok(facts)
    }
}

/// The trust graph for a report, if there is anything to see.
pub(crate) fn picture(facts: &Facts, now: jiff::Timestamp) -> Option<seaworthy_reports::Picture> {
    let graph = facts.graph();
    let title = "Who signed what, who shows it, and who trusts it".to_owned();
    (!graph.nodes.is_empty()).then(|| seaworthy_reports::Picture { title, svg: graph::svg(&graph, now) })
}

pub(crate) fn run(command: &PkiCommand) -> Result<i32, Fault> {
    let now = jiff::Timestamp::now();
    let text = match command {
        PkiCommand::Expiry(options) => {
            let facts = options.place.look()?;
            if matches!(options.output, ExpiryOutput::Text | ExpiryOutput::Json) {
                expiry::warn(&facts);
            }
            match options.output {
                ExpiryOutput::Text => expiry::text(&facts, now),
                ExpiryOutput::Json => expiry::json(&facts, now),
                ExpiryOutput::Kubeadm => expiry::kubeadm(&facts, now)?,
                ExpiryOutput::Prometheus => expiry::prometheus(&facts, now),
            }
        }
        PkiCommand::Export(options) => return export::serve(&options.place, options.listen),
        PkiCommand::Graph(options) => {
            let graph = options.place.look()?.graph();
            match options.output {
                GraphOutput::Dot => graph::dot(&graph),
                GraphOutput::Json => graph::json(&graph),
                GraphOutput::Svg => graph::svg(&graph, now),
            }
        }
        PkiCommand::Plan(options) => {
            plan::text(&options.place.look()?.rotation_plan(now, options.within), options.within)
        }
    };
    answer::print(&text);
    Ok(0)
}
