//! `seaworthy pki`: what a PKI is, rather than what is wrong with it: when what expires, who trusts whom, what to do
//! next.

mod expiry;
mod export;
mod graph;
mod metrics;
mod plan;
pub(crate) mod table;

use std::net::SocketAddr;
use std::path::PathBuf;

use anstream::eprintln;
use clap::{Args, Subcommand, ValueEnum};
use seaworthy_checks::pki::Facts;

use crate::answer;
use crate::cli::{LayoutOptions, RemoteOptions};
use crate::fault::Fault;
use crate::sources;

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// List when certificates expire: text, JSON, metrics or kubeadm's format
    Expiry(ExpiryOptions),
    /// Serve the metrics of `expiry -o prometheus` over HTTP
    Export(ExportOptions),
    /// Draw the trust graph: signers, certificates, holders
    Graph(GraphOptions),
    /// Plan renewals and CA rotations in order, with the steps that are done
    Plan(PlanOptions),
}

/// Where the PKI is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Path of the PKI: / for this machine, a mounted root, a PKI directory, a kubeconfig, a Talos machine
    /// configuration or a recording
    #[arg(long, visible_alias = "rootfs", value_name = "PATH", default_value = "/")]
    host: PathBuf,
    #[command(flatten)]
    layout: LayoutOptions,
}

/// The API that is asked for certificates that were issued by request.
#[derive(Debug, Default, Args)]
pub(crate) struct Api {
    /// Kubeconfig of a cluster: also list what its CertificateSigningRequests issued
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    context: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExpiryOutput {
    Text,
    Json,
    /// The object that `kubeadm certs check-expiration -o json` prints
    Kubeadm,
    /// Metrics of x509-certificate-exporter 4
    Prometheus,
}

#[derive(Debug, Args)]
pub(crate) struct ExpiryOptions {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    api: Api,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = ExpiryOutput::Text)]
    output: ExpiryOutput,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    api: Api,
    /// IP address and port to serve /metrics on
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
    /// Output format
    #[arg(short, long, value_enum, default_value_t = GraphOutput::Dot)]
    output: GraphOutput,
}

#[derive(Debug, Args)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    place: Place,
    /// Plan for certificates that expire within this many days
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    within: u16,
}

impl Place {
    /// Opens it and looks, once.
    fn look(&self, api: &Api) -> Result<Facts, Fault> {
        let hosts = std::slice::from_ref(&self.host);
        let (kubeconfig, context) = (api.kubeconfig.clone(), api.context.clone());
        let remote = RemoteOptions { kubeconfig, context, ..RemoteOptions::default() };
        let sources = sources::open(hosts, self.layout.layout(), &remote)?;
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
    let place = match command {
        PkiCommand::Export(options) => return export::serve(&options.place, &options.api, options.listen),
        PkiCommand::Expiry(ExpiryOptions { place, .. })
        | PkiCommand::Graph(GraphOptions { place, .. })
        | PkiCommand::Plan(PlanOptions { place, .. }) => place,
    };
    let nothing = Api::default();
    let facts = place.look(match command {
        PkiCommand::Expiry(options) => &options.api,
        _ => &nothing,
    })?;
    let missing = facts.missing();
    let text = match command {
        PkiCommand::Expiry(options) => match options.output {
            ExpiryOutput::Text => expiry::text(&facts, now),
            ExpiryOutput::Json => expiry::json(&facts, now),
            ExpiryOutput::Kubeadm => expiry::kubeadm(&facts, now)?,
            ExpiryOutput::Prometheus => {
                let mut errors = metrics::Errors::new();
                metrics::count(&facts, &mut errors);
                metrics::text(&facts, now, &errors)
            }
        },
        PkiCommand::Graph(options) => match options.output {
            GraphOutput::Dot => graph::dot(&facts.graph()),
            GraphOutput::Json => graph::json(&facts.graph()),
            GraphOutput::Svg => graph::svg(&facts.graph(), now),
        },
        PkiCommand::Plan(options) => plan::text(&facts.rotation_plan(now, options.within), options.within, &missing),
        PkiCommand::Export(_) => String::new(),
    };
    answer::print(&text);
    // What kubeadm lists as missing is part of its answer.
    let of_kubeadm = matches!(command, PkiCommand::Expiry(ExpiryOptions { output: ExpiryOutput::Kubeadm, .. }));
    if missing.is_empty() || of_kubeadm {
        return Ok(0);
    }
    missing.iter().for_each(|why| eprintln!("missing: {why}"));
    Ok(3)
}
