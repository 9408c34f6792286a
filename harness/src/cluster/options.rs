//! The command line of `seaworthy cluster`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use seaworthy_provision::cluster::ClusterSpec;
use seaworthy_provision::cluster::spec::{Durability, EtcdTopology, Family, LoadBalancer, RunAs};

use crate::cli::{Families, Output};
use crate::fault::Fault;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Bring up a cluster, or what is missing of it
    Up(UpOptions),
    /// Take down a cluster; nothing of it is left
    Down(DownOptions),
    /// Say how each host and component is; exit code 1 if one is not ready
    Status {
        /// The cluster, where there are several
        name: Option<String>,
        /// The form of the answer
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// List the clusters
    List {
        /// The form of the answer
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Print the administrator's kubeconfig
    Kubeconfig {
        /// The cluster, where there are several
        name: Option<String>,
    },
    /// Run a command on a host
    Exec(ExecOptions),
    /// Print the log of a component; without one, which components there are
    Logs(LogsOptions),
    /// Break a cluster on purpose, and mend it
    #[command(after_help = format!("Faults:\n{}", seaworthy_provision::fault::grammar::USAGE))]
    Fault {
        /// The cluster, where there are several
        #[arg(long)]
        name: Option<String>,
        /// The fault, `list` or `undo`
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// List the phases that `up` runs
    Phases,
    /// Run one phase of a cluster that is there
    Phase {
        /// The phase
        phase: String,
        /// The cluster, where there are several
        name: Option<String>,
        #[command(flatten)]
        engine: EngineOptions,
    },
    /// Stop every process of a cluster for a while
    Pause {
        /// The cluster, where there are several
        name: Option<String>,
    },
    /// Let a paused cluster go on
    Resume {
        /// The cluster, where there are several
        name: Option<String>,
    },
    /// Delete what killed runs left on a cluster
    Sweep(SweepOptions),
    /// Print the JSON schema of a cluster's specification
    Schema,
}

/// Where programs come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineOptions {
    /// A directory that has programs
    #[arg(long, env = "KUBEBUILDER_ASSETS", value_name = "FOLDER")]
    pub(crate) bin_dir: Option<PathBuf>,
    /// A mirror of the release sites
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
    /// Where programs and images are kept [default: ~/.cache/seaworthy]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LoadBalancerName {
    None,
    Seaworthy,
    Haproxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EtcdName {
    Stacked,
    External,
}

#[derive(Debug, Args)]
pub(crate) struct UpOptions {
    /// A specification; flags stand above it
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The cluster's name [default: sea]
    #[arg(long)]
    name: Option<String>,
    /// Kubernetes' version
    #[arg(long, value_name = "VERSION")]
    kubernetes_version: Option<String>,
    /// How many control planes [default: 1]
    #[arg(long, value_name = "N")]
    control_planes: Option<usize>,
    /// How many workers [default: 0]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// How many simulated nodes: they run no containers, and the API server cannot tell [default: 0]
    #[arg(long, value_name = "N")]
    simulated_nodes: Option<u32>,
    /// How many simulated Windows nodes [default: 0]
    #[arg(long, value_name = "N")]
    simulated_windows: Option<u32>,
    /// The IP families [default: v4]
    #[arg(long, value_enum)]
    ip_family: Option<Families>,
    /// Where etcd runs [default: stacked]
    #[arg(long, value_enum)]
    etcd: Option<EtcdName>,
    /// Run the control planes as static pods of kubelets, as kubeadm does, rather than as processes
    #[arg(long)]
    static_pods: bool,
    /// What stands before the API servers [default: seaworthy, where there are several]
    #[arg(long, value_enum)]
    load_balancer: Option<LoadBalancerName>,
    /// Do not wait for the disk: faster, and not safe when the power goes
    #[arg(long)]
    fast: bool,
    /// A folder like /etc/kubernetes, with what of its PKI and kubeconfigs is not to be issued
    #[arg(long, value_name = "FOLDER")]
    credentials: Option<PathBuf>,
    /// kubeadm's configuration file
    #[arg(long, value_name = "FILE")]
    kubeadm_config: Option<PathBuf>,
    /// Change and fetch nothing: print a script that does the same, phase by phase
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Leave out this phase; several allowed
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    pub(super) skip_phases: Vec<String>,
    /// Form of the progress: text on standard error, or JSON lines on standard output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
    #[command(flatten)]
    pub(super) engine: EngineOptions,
}

impl UpOptions {
    /// What is asked for.
    pub(super) fn spec(&self) -> Result<ClusterSpec, Fault> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|error| Fault::usage(format!("{}: {error}", path.display())))
        };
        let mut spec = match &self.file {
            None => ClusterSpec::default(),
            Some(path) => ClusterSpec::read(&read(path)?).map_err(|error| {
                Fault::usage(format!("{}: {error}", path.display())).hint("seaworthy cluster schema")
            })?,
        };
        spec.name = self.name.clone().unwrap_or(spec.name);
        spec.kubernetes = self.kubernetes_version.clone().or(spec.kubernetes);
        spec.control_planes = self.control_planes.unwrap_or(spec.control_planes);
        spec.workers = self.workers.unwrap_or(spec.workers);
        spec.simulated.nodes = self.simulated_nodes.unwrap_or(spec.simulated.nodes);
        spec.simulated.windows = self.simulated_windows.unwrap_or(spec.simulated.windows);
        if let Some(families) = self.ip_family {
            spec.network.families = match families {
                Families::V4 => vec![Family::V4],
                Families::V6 => vec![Family::V6],
                Families::Dual => vec![Family::V4, Family::V6],
            };
        }
        if let Some(etcd) = self.etcd {
            spec.etcd.topology = match etcd {
                EtcdName::Stacked => EtcdTopology::Stacked,
                EtcdName::External => EtcdTopology::External,
            };
        }
        if let Some(name) = self.load_balancer {
            spec.load_balancer = Some(match name {
                LoadBalancerName::None => LoadBalancer::None,
                LoadBalancerName::Seaworthy => LoadBalancer::Seaworthy,
                LoadBalancerName::Haproxy => LoadBalancer::Haproxy,
            });
        }
        if self.static_pods {
            spec.control_plane.run_as = RunAs::StaticPods;
        }
        if self.fast {
            spec.durability = Durability::Fast;
        }
        if let Some(folder) = &self.credentials {
            let error = |error| Fault::usage(format!("--credentials {}: {error}", folder.display()));
            spec.credentials = Some(folder.canonicalize().map_err(error)?);
        }
        if let Some(path) = &self.kubeadm_config {
            spec.kubeadm = Some(read(path)?);
        }
        spec.check().map_err(|error| Fault::usage(error.to_string()))?;
        Ok(spec)
    }
}

#[derive(Debug, Args)]
pub(crate) struct DownOptions {
    /// The cluster, where there are several
    pub(super) name: Option<String>,
    /// Every cluster that there is, and what is left of any
    #[arg(long, conflicts_with = "name")]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExecOptions {
    /// The cluster, where there are several
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The host
    pub(super) node: String,
    /// The command
    #[arg(last = true, required = true)]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsOptions {
    /// The cluster, where there are several
    #[arg(long)]
    pub(super) name: Option<String>,
    /// The host
    pub(super) node: String,
    /// The component
    pub(super) component: Option<String>,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub(super) tail: Option<usize>,
    /// Go on printing what is added, until interrupted
    #[arg(short, long, requires = "component")]
    pub(super) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SweepOptions {
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: PathBuf,
    /// Context of the kubeconfig; by default the current one
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// Delete only what this run left
    #[arg(long, value_name = "RUN")]
    pub(super) run: Option<String>,
}
