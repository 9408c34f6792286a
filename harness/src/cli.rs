//! The command line.

use std::path::PathBuf;

use crate::assets::AssetsCommand;
use crate::cluster::ClusterCommand;
use crate::pki::PkiCommand;
use clap::{Args, Parser, Subcommand, ValueEnum};
use seaworthy_checks::host::Layout;
use seaworthy_checks::pki::live::Target;
use seaworthy_checks::{KubernetesVersion, Lifetimes, PkiProfile, Profile, Role, Runtime};
use seaworthy_reports::{Format, Severity};

/// Puts Kubernetes nodes on sea trials and says whether they are seaworthy.
#[derive(Debug, Parser)]
#[command(name = "seaworthy", version, arg_required_else_help = true, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Exit codes: 0 all that was selected was verified; 1 a claim failed at or above --fail-on; 2 usage, configuration or
selection error; 3 nothing failed, but something could not be determined or seaworthy broke; 4 nothing was run;
130, 143 interrupted, journal complete.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the trials, and leave reports
    Run(RunOptions),
    /// Print what `run` would run
    List(ListOptions),
    /// Explain a check, or what a component runs with: what it verifies, why, how to fix it, how to waive it
    Explain(ExplainOptions),
    /// Record a node into a file, to be judged anywhere with `run --host FILE`
    Record(RecordOptions),
    /// Render reports again from journals; several are merged
    Report(ReportOptions),
    /// Compare two runs
    Diff(DiffOptions),
    /// Find, fetch and verify the programs that clusters are made of
    #[command(subcommand)]
    Assets(AssetsCommand),
    /// Bring up, look at and take down clusters on this machine
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Say of a PKI when what expires, who trusts whom, and what to renew next
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Print the JSON schema of report.json
    Schema,
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// Folder to write them to; without it the main page goes to standard output
        folder: Option<PathBuf>,
    },
}

/// Which trials.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Suite to run: node, which is the default, or pki; several allowed
    #[arg(long = "suite", value_name = "NAME")]
    pub(crate) suites: Vec<String>,
    /// Only trials whose id, title or alias matches this regular expression; several allowed [env: FOCUS]
    #[arg(long, value_name = "REGEX")]
    pub(crate) focus: Vec<String>,
    /// Not the trials whose id, title or alias matches this regular expression; several allowed [env: SKIP]
    #[arg(long, value_name = "REGEX")]
    pub(crate) skip: Vec<String>,
    /// Only trials with this label; several allowed
    #[arg(short, long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
}

/// What the node is meant to become.
#[derive(Debug, Args)]
pub(crate) struct ProfileOptions {
    /// The Kubernetes release of the cluster: 1.23 to 1.37; by default that of each node's kubelet, else of its kubeadm, else 1.37
    #[arg(long, value_name = "1.N")]
    pub(crate) kubernetes_version: Option<KubernetesVersion>,
    /// What the node is to do
    #[arg(long, value_enum, default_value_t = RoleName::ControlPlane)]
    pub(crate) role: RoleName,
    /// The container runtime that it is to use; by default whatever it has
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeName>,
    /// The cluster's IP families
    #[arg(long, value_enum, default_value_t = Families::V4)]
    pub(crate) ip_family: Families,
    /// By whose measure a PKI is judged
    #[arg(long, value_enum, default_value_t = PkiProfileName::Kubeadm)]
    pub(crate) pki_profile: PkiProfileName,
    #[command(flatten)]
    pub(crate) lifetimes: LifetimeOptions,
}

/// How long certificates may live, and how much of it must be left.
#[derive(Debug, Args)]
pub(crate) struct LifetimeOptions {
    /// A certificate that expires within so many days fails; of one that lives for less than 150 days a fifth must be left
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().warn)]
    pub(crate) expiry_warn: u16,
    /// A CA that expires within so many days fails
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().ca_warn)]
    pub(crate) ca_expiry_warn: u16,
    /// A certificate that only a restart of its component renews fails if it expires within so many days
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().restart_warn)]
    pub(crate) restart_warn: u16,
    /// A certificate that lives for more than so many days fails
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().longest)]
    pub(crate) longest: u16,
    /// A CA that lives for more than so many days fails
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().ca_longest)]
    pub(crate) ca_longest: u16,
}

impl ProfileOptions {
    pub(crate) fn profile(&self, now: jiff::Timestamp) -> Profile {
        Profile {
            kubernetes: self.kubernetes_version.unwrap_or(KubernetesVersion::NEWEST),
            cluster: self.kubernetes_version,
            role: match self.role {
                RoleName::ControlPlane => Role::ControlPlane,
                RoleName::Worker => Role::Worker,
                RoleName::Etcd => Role::Etcd,
            },
            runtime: self.runtime.map(|runtime| match runtime {
                RuntimeName::Containerd => Runtime::Containerd,
                RuntimeName::CriO => Runtime::Crio,
                RuntimeName::Docker => Runtime::Docker,
            }),
            ipv4: self.ip_family != Families::V6,
            ipv6: self.ip_family != Families::V4,
            pki: match self.pki_profile {
                PkiProfileName::Kubeadm => PkiProfile::Kubeadm,
                PkiProfileName::Cis => PkiProfile::Cis,
                PkiProfileName::Bsi => PkiProfile::Bsi,
                PkiProfileName::Strict => PkiProfile::Strict,
            },
            lifetimes: Lifetimes {
                warn: self.lifetimes.expiry_warn,
                ca_warn: self.lifetimes.ca_expiry_warn,
                restart_warn: self.lifetimes.restart_warn,
                longest: self.lifetimes.longest,
                ca_longest: self.lifetimes.ca_longest,
            },
            now,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    ControlPlane,
    Worker,
    Etcd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeName {
    Containerd,
    CriO,
    Docker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Families {
    V4,
    V6,
    Dual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PkiProfileName {
    /// What kubeadm makes is right
    Kubeadm,
    /// The CIS benchmark
    Cis,
    /// BSI TR-02102
    Bsi,
    /// All of them
    Strict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SeverityName {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl From<SeverityName> for Severity {
    fn from(name: SeverityName) -> Self {
        match name {
            SeverityName::Info => Self::Info,
            SeverityName::Low => Self::Low,
            SeverityName::Medium => Self::Medium,
            SeverityName::High => Self::High,
            SeverityName::Critical => Self::Critical,
        }
    }
}

/// Where things are that do not lie where kubeadm puts them.
#[derive(Debug, Args)]
pub(crate) struct LayoutOptions {
    /// The kubelet's configuration file, where neither its flags nor kubeadm's layout lead to it
    #[arg(long, env = "KUBELET_CONFIG", value_name = "PATH")]
    pub(crate) kubelet_config: Option<String>,
    /// The folder of static pods
    #[arg(long, env = "CONFIG_DIR", value_name = "PATH")]
    pub(crate) config_dir: Option<String>,
    /// The folder of the PKI, kubeadm's certificatesDir
    #[arg(long, value_name = "PATH")]
    pub(crate) pki_dir: Option<String>,
}

impl LayoutOptions {
    pub(crate) fn layout(&self) -> Layout {
        let given = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
        Layout {
            kubelet_config: given(&self.kubelet_config),
            manifests: given(&self.config_dir),
            pki: given(&self.pki_dir),
            ..Layout::default()
        }
    }
}

/// Who names a cluster or servers names no node, unless one is named, too.
const NO_HOST: [(&str, clap::builder::ArgPredicate, Option<&str>); 2] = [
    ("kubeconfig", clap::builder::ArgPredicate::IsPresent, None),
    ("endpoints", clap::builder::ArgPredicate::IsPresent, None),
];

/// What can be asked without a node, for the PKI suite.
#[derive(Debug, Default, Args)]
pub(crate) struct RemoteOptions {
    /// The cluster whose API is asked, by a kubeconfig; its own node is not judged unless --host names it
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; by default its current one
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
    /// A TLS server to ask, as HOST:PORT or HOST:PORT=ROLE; several allowed
    #[arg(long = "endpoint", value_name = "HOST:PORT[=ROLE]")]
    pub(crate) endpoints: Vec<Target>,
    /// Show the node's own client certificates to the servers that they are for, to see whether they are let in; without it no key is used
    #[arg(long)]
    pub(crate) log_in: bool,
}

impl RemoteOptions {
    /// Is a cluster or a server named?
    pub(crate) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || !self.endpoints.is_empty()
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
    /// The node: / for this machine, a folder that a node's root is mounted at, or a recording; for the PKI suite also a
    /// folder that holds a PKI, a kubeconfig, or a machine configuration of Talos; several allowed
    #[arg(long = "host", visible_alias = "rootfs", value_name = "PATH", default_value = "/", default_value_ifs = NO_HOST)]
    pub(crate) hosts: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) layout: LayoutOptions,
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    /// Only look: leave out the kernel probes, which try features in namespaces of their own
    #[arg(long)]
    pub(crate) passive: bool,
    /// A failed claim below this severity is reported and does not fail the run
    #[arg(long, value_enum, default_value_t = SeverityName::High)]
    pub(crate) fail_on: SeverityName,
    /// Claims that are known not to hold, with reason and expiry
    #[arg(long, value_name = "FILE")]
    pub(crate) waivers: Option<PathBuf>,
    /// Folder for the journal and the reports
    #[arg(
        short = 'O',
        long,
        visible_alias = "report-dir",
        env = "REPORT_PATH",
        value_name = "FOLDER",
        default_value = "results"
    )]
    pub(crate) output: PathBuf,
    /// Reports to write; all by default, several allowed
    #[arg(long = "format", value_name = "FORMAT")]
    pub(crate) formats: Vec<Format>,
    /// How many trials run at once; by default as many as there are CPUs
    #[arg(long, env = "PARALLELISM", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallelism: Option<u16>,
    /// How often a trial may be attempted; above 1 a claim that holds on a retry is flaky
    #[arg(long, env = "FLAKE_ATTEMPTS", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) flake_attempts: u8,
    /// Print how long gathering, judging and reporting took, to standard error
    #[arg(long)]
    pub(crate) timings: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ListOptions {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// The form of the list
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    /// The check's id or one of its aliases
    #[arg(required_unless_present_any = ["all", "effective"])]
    pub(crate) id: Option<String>,
    /// Every check, in Markdown
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    /// What a component of a node really runs with: its merged configuration, each value with its source
    #[arg(long, value_name = "COMPONENT", value_parser = crate::effective::names(), conflicts_with_all = ["id", "all"])]
    pub(crate) effective: Option<String>,
    /// The node of --effective: / for this machine, a folder that a node's root is mounted at, or a recording
    #[arg(long, visible_alias = "rootfs", value_name = "PATH", default_value = "/", requires = "effective")]
    pub(crate) host: PathBuf,
    #[command(flatten)]
    pub(crate) layout: LayoutOptions,
    /// A kubeconfig of the cluster, to ask the kubelet itself through the API server
    #[arg(long, value_name = "FILE", requires = "effective")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The form of the answer to --effective
    #[arg(short, long, value_enum, default_value_t = Output::Text, requires = "effective")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RecordOptions {
    /// The node: / for this machine, or a folder that a node's root is mounted at
    #[arg(long = "host", visible_alias = "rootfs", value_name = "PATH", default_value = "/", default_value_ifs = NO_HOST)]
    pub(crate) host: Option<PathBuf>,
    /// The recording to write
    #[arg(short = 'O', long, value_name = "FILE", default_value = "node.tar.zst")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) layout: LayoutOptions,
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    /// Only look: leave out the kernel probes
    #[arg(long)]
    pub(crate) passive: bool,
    /// Replace an older file of the same name
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportOptions {
    /// Journals, or result folders that hold one
    #[arg(required = true, value_name = "JOURNAL")]
    pub(crate) journals: Vec<PathBuf>,
    /// The form; one goes to standard output unless a folder is named
    #[arg(long = "format", value_name = "FORMAT")]
    pub(crate) formats: Vec<Format>,
    /// Folder for the reports
    #[arg(short = 'O', long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffOptions {
    /// The earlier run: a journal or a result folder
    pub(crate) before: PathBuf,
    /// The later run
    pub(crate) after: PathBuf,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}
