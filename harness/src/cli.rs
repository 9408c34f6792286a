//! The command line.

use std::path::PathBuf;

use crate::assets::AssetsCommand;
use crate::cluster::{ClusterCommand, EngineOptions};
use crate::fault::Fault;
use crate::pki::PkiCommand;
use crate::reach::{ListenOptions, ReachOptions};
use crate::simulate::SimulateOptions;
use clap::{Args, Parser, Subcommand, ValueEnum};
use seaworthy_checks::host::Layout;
use seaworthy_checks::node::kubeadm_config::KubeadmConfig;
use seaworthy_checks::pki::live::Target;
use seaworthy_checks::{KubernetesVersion, Lifetimes, PkiProfile, Profile, Role, Runtime};
use seaworthy_objects::podsecurity::{Level, Version};
use seaworthy_reports::{Format, Severity};

/// Validate Kubernetes nodes, PKIs and clusters.
#[derive(Debug, Parser)]
#[command(name = "seaworthy", version, arg_required_else_help = true, after_help = AFTER)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Exit codes:
  0         every selected claim holds
  1         a claim failed at or above --fail-on
  2         usage, configuration or selection error
  3         no claim failed, but one is undetermined, or seaworthy broke
  4         nothing was run
  130, 143  interrupted; the journal is complete";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run checks and write reports
    Run(RunOptions),
    /// List the checks that `run` would run
    List(ListOptions),
    /// Explain a check, or the effective configuration of a component
    Explain(ExplainOptions),
    /// Record a node into a file; `run --host FILE` judges it anywhere
    Record(RecordOptions),
    /// Render reports from journals; several journals are merged
    Report(ReportOptions),
    /// Compare two runs
    Diff(DiffOptions),
    /// Listen on unused ports of a role, for `seaworthy reach` on other nodes
    Listen(ListenOptions),
    /// Test ports, MTU, clock and name of nodes that run `seaworthy listen`
    Reach(ReachOptions),
    /// Find, fetch and verify the programs of a cluster
    #[command(subcommand)]
    Assets(AssetsCommand),
    /// Create, inspect and delete clusters on this machine
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Simulate nodes on a cluster, thousands in one process
    Simulate(SimulateOptions),
    /// Inspect a PKI: expiry, trust, rotation order
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Print the JSON schema of report.json
    Schema,
    /// Print shell completions
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
    /// Write manual pages
    Man {
        /// Folder for all pages; without it the main page is printed
        folder: Option<PathBuf>,
    },
}

/// Which trials.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Run this suite; node by default, repeatable (`list` prints all)
    #[arg(long = "suite", value_name = "NAME")]
    pub(crate) suites: Vec<String>,
    /// Run only checks whose id, title or alias matches; repeatable [env: FOCUS]
    #[arg(long, value_name = "REGEX")]
    pub(crate) focus: Vec<String>,
    /// Skip checks whose id, title or alias matches; repeatable [env: SKIP]
    #[arg(long, value_name = "REGEX")]
    pub(crate) skip: Vec<String>,
    /// Run only checks with this label; repeatable
    #[arg(short, long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
}

/// What the node is meant to become.
#[derive(Debug, Args)]
pub(crate) struct ProfileOptions {
    /// Kubernetes release of the cluster: 1.23 to 1.37; by default that of the node
    ///
    /// By default it is the release of each node's kubelet, else of its kubeadm, else 1.37.
    #[arg(long, value_name = "1.N")]
    pub(crate) kubernetes_version: Option<KubernetesVersion>,
    /// Role of the node
    #[arg(long, value_enum, default_value_t = RoleName::ControlPlane)]
    pub(crate) role: RoleName,
    /// Container runtime of the node; by default the one that it has
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeName>,
    /// IP families of the cluster
    #[arg(long, value_enum, default_value_t = Families::V4)]
    pub(crate) ip_family: Families,
    /// Rules that a PKI is judged by
    #[arg(long, value_enum, default_value_t = PkiProfileName::Kubeadm)]
    pub(crate) pki_profile: PkiProfileName,
    #[command(flatten)]
    pub(crate) lifetimes: LifetimeOptions,
}

/// How long certificates may live, and how much of it must be left.
#[derive(Debug, Args)]
pub(crate) struct LifetimeOptions {
    /// Fail certificates that expire sooner; a fifth for those under 150 days
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().warn)]
    pub(crate) expiry_warn: u16,
    /// Fail CAs that expire sooner
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().ca_warn)]
    pub(crate) ca_expiry_warn: u16,
    /// Fail certificates that expire sooner and only a restart renews
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().restart_warn)]
    pub(crate) restart_warn: u16,
    /// Fail certificates that are valid for longer
    #[arg(long, value_name = "DAYS", default_value_t = Lifetimes::default().longest)]
    pub(crate) longest: u16,
    /// Fail CAs that are valid for longer
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
    /// Accept what kubeadm makes
    Kubeadm,
    /// CIS benchmark
    Cis,
    /// BSI TR-02102
    Bsi,
    /// All rules together
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
    /// Configuration file of the kubelet, if its flags do not name it
    #[arg(long, env = "KUBELET_CONFIG", value_name = "PATH")]
    pub(crate) kubelet_config: Option<String>,
    /// Folder of static pods
    #[arg(long, env = "CONFIG_DIR", value_name = "PATH")]
    pub(crate) config_dir: Option<String>,
    /// Folder of the PKI: kubeadm's certificatesDir
    #[arg(long, value_name = "PATH")]
    pub(crate) pki_dir: Option<String>,
    /// Look up the name of another node; repeatable
    #[arg(long = "peer", value_name = "NAME")]
    pub(crate) peers: Vec<String>,
}

impl LayoutOptions {
    pub(crate) fn layout(&self) -> Layout {
        let given = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
        Layout {
            kubelet_config: given(&self.kubelet_config),
            manifests: given(&self.config_dir),
            pki: given(&self.pki_dir),
            peers: self.peers.clone(),
            ..Layout::default()
        }
    }
}

/// A kubeadm configuration that is compared with the node.
#[derive(Debug, Args)]
pub(crate) struct KubeadmOptions {
    /// Compare this kubeadm configuration with the node
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeadm_config: Option<PathBuf>,
    /// Ask the registry of that configuration, too
    #[arg(long, requires = "kubeadm_config")]
    pub(crate) ask_registry: bool,
}

impl KubeadmOptions {
    /// Adds the file to what is known of the node. Tokens and keys in it are not kept.
    pub(crate) fn add(&self, layout: Layout) -> Result<Layout, Fault> {
        let Some(path) = &self.kubeadm_config else { return Ok(layout) };
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Fault::usage(format!("{shown}: {error}")))?;
        let config = KubeadmConfig::read(&shown, &text).map_err(Fault::usage)?;
        Ok(Layout { kubeadm_config: Some(config), ask_registry: self.ask_registry, ..layout })
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
    /// Ask the API of this cluster; nodes are judged only with --host
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; by default the current one
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
    /// Ask this TLS server; repeatable
    #[arg(long = "endpoint", value_name = "HOST:PORT[=ROLE]")]
    pub(crate) endpoints: Vec<Target>,
    /// Log in to servers with the node's own client certificates
    #[arg(long)]
    pub(crate) log_in: bool,
}

impl RemoteOptions {
    /// Is a cluster or a server named?
    pub(crate) fn is_given(&self) -> bool {
        self.kubeconfig.is_some() || !self.endpoints.is_empty()
    }
}

/// Clusters that suites act on. Without --kubeconfig or --cluster they are raised, and taken down again.
#[derive(Debug, Args)]
#[command(next_help_heading = "Suites that act on clusters")]
pub(crate) struct FixtureOptions {
    /// Act on this cluster of `seaworthy cluster up`
    #[arg(long, value_name = "NAME", conflicts_with = "kubeconfig")]
    pub(crate) cluster: Option<String>,
    /// Start a throw-away control plane on this host's loopback, and act on the kubelet that runs here: it must be
    /// started with a kubeconfig whose server is http://localhost:8080
    #[arg(long, conflicts_with_all = ["cluster", "kubeconfig", "keep", "defect"])]
    pub(crate) beside_kubelet: bool,
    /// Leave raised clusters up; the next run with --keep reuses them
    #[arg(long, conflicts_with_all = ["cluster", "kubeconfig"])]
    pub(crate) keep: bool,
    /// Allow trials that disturb the cluster of --kubeconfig: the uid of its namespace kube-system
    #[arg(long, value_name = "UID", requires = "kubeconfig")]
    pub(crate) allow_disruption: Option<String>,
    /// Program that breaks parts of the cluster of --kubeconfig and mends them: docs/ha.md says how it is called
    #[arg(long, value_name = "PROGRAM", requires = "kubeconfig")]
    pub(crate) fault_hook: Option<PathBuf>,
    /// Time in which the load balancer of --kubeconfig drops an API server that is silent
    #[arg(long, value_name = "TIME", default_value = "4s", requires = "fault_hook")]
    pub(crate) balancer_drops: jiff::SignedDuration,
    /// Image of Seaworthy that the nodes of --kubeconfig can pull
    #[arg(long, value_name = "REF", requires = "kubeconfig")]
    pub(crate) image: Option<String>,
    /// Node that the node-conformance suite is about; by default the first one that runs pods
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// Break the raised clusters on purpose, and run the trials that must fail then
    #[arg(long, value_name = "NAME", hide = true, conflicts_with = "kubeconfig")]
    pub(crate) defect: Option<String>,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

/// The load of the large-scale suite. Without any of these it is what CI runs: 500 nodes and 10,000 pods.
#[derive(Debug, Args)]
#[command(next_help_heading = "Load of the large-scale suite")]
pub(crate) struct LoadOptions {
    /// Profile: envelope, density, churn, burst or list-storm [default: envelope]
    #[arg(long = "profile", value_name = "NAME", value_parser = load_profile)]
    pub(crate) load_profile: Option<seaworthy_scale::load::Profile>,
    /// Part of the documented envelope, 5,000 nodes and 150,000 pods: more than 0, at most 1
    #[arg(long, value_name = "PART")]
    pub(crate) scale: Option<f64>,
}

fn load_profile(text: &str) -> Result<seaworthy_scale::load::Profile, String> {
    let all = seaworthy_scale::load::Profile::ALL;
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, profile)| *profile);
    found.ok_or_else(|| format!("expected one of {}", all.map(|(name, _)| name).join(", ")))
}

/// What the HA suite does besides its drills.
#[derive(Debug, Args)]
#[command(next_help_heading = "Soak and observation of the HA suite")]
pub(crate) struct LongOptions {
    /// For ha.soak: put faults on the cluster at random for so long
    #[arg(long, value_name = "TIME")]
    pub(crate) soak: Option<jiff::SignedDuration>,
    /// Choose the faults of --soak as the run with this seed did
    #[arg(long, value_name = "N", requires = "soak")]
    pub(crate) seed: Option<u64>,
    /// For ha.observe: look on for so long while somebody else breaks the cluster
    #[arg(long, value_name = "TIME")]
    pub(crate) observe: Option<jiff::SignedDuration>,
}

impl LongOptions {
    /// Hands them to the suite.
    pub(crate) fn set(&self) {
        let seed = || self.seed.unwrap_or_else(|| fastrand::u64(0..1_000_000));
        let soak = self.soak.map(|span| (span.unsigned_abs(), seed()));
        let observe = self.observe.map(jiff::SignedDuration::unsigned_abs);
        seaworthy_suites::set_long(seaworthy_suites::Long { soak, observe });
    }
}

impl LoadOptions {
    /// Hands the load to the suite.
    pub(crate) fn set(&self) -> Result<(), Fault> {
        if self.load_profile.is_none() && self.scale.is_none() {
            return Ok(());
        }
        let profile = self.load_profile.unwrap_or(seaworthy_scale::load::Profile::Envelope);
        let plan = seaworthy_scale::load::Plan::new(profile, self.scale.unwrap_or(0.1));
        seaworthy_suites::set_load(plan.map_err(|error| Fault::usage(format!("--scale: {error}")))?);
        Ok(())
    }
}

/// Objects that are judged without a cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Suites that judge manifests")]
pub(crate) struct ManifestOptions {
    /// Judge these manifests: a file, a folder, or - for stdin; repeatable
    #[arg(long = "manifests", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Level that workloads must satisfy: privileged, baseline, restricted
    #[arg(long, value_name = "LEVEL", default_value = "restricted")]
    pub(crate) level: Level,
    /// Version of the Pod Security Standards: latest or v1.N
    #[arg(long, visible_alias = "version", value_name = "VERSION", default_value = "latest")]
    pub(crate) policy_version: Version,
    /// Write a script that labels the namespaces of the objects
    #[arg(long, value_name = "FILE")]
    pub(crate) label_script: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) profile: ProfileOptions,
    /// Judge this node: /, a mounted root, a recording; repeatable
    ///
    /// For the PKI suite also a folder with a PKI, a kubeconfig, or a machine configuration of Talos.
    #[arg(long = "host", visible_alias = "rootfs", value_name = "PATH")]
    #[arg(default_value = "/", default_value_ifs = NO_HOST)]
    pub(crate) hosts: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) layout: LayoutOptions,
    #[command(flatten)]
    pub(crate) kubeadm: KubeadmOptions,
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    #[command(flatten)]
    pub(crate) cluster: FixtureOptions,
    #[command(flatten)]
    pub(crate) load: LoadOptions,
    #[command(flatten)]
    pub(crate) long: LongOptions,
    #[command(flatten)]
    pub(crate) manifests: ManifestOptions,
    /// Only look: skip kernel probes, which try features in namespaces
    #[arg(long)]
    pub(crate) passive: bool,
    /// Fail the run from this severity on; report the rest as warnings
    #[arg(long, value_enum, default_value_t = SeverityName::High)]
    pub(crate) fail_on: SeverityName,
    /// Accept the failures that this file lists
    #[arg(long, value_name = "FILE")]
    pub(crate) waivers: Option<PathBuf>,
    /// Write the journal and the reports to this folder
    #[arg(
        short = 'O',
        long,
        visible_alias = "report-dir",
        env = "REPORT_PATH",
        value_name = "FOLDER",
        default_value = "results"
    )]
    pub(crate) output: PathBuf,
    /// Write this report; all by default, repeatable
    #[arg(long = "format", value_name = "FORMAT")]
    pub(crate) formats: Vec<Format>,
    /// Run so many checks at once; by default as many as there are CPUs
    #[arg(long, env = "PARALLELISM", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallelism: Option<u16>,
    /// Try failed checks up to so many times; a later success is flaky
    #[arg(long, env = "FLAKE_ATTEMPTS", value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) flake_attempts: u8,
    /// Print how long each phase took
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
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    /// Id or alias of the check; `cidr` explains networks for pods
    #[arg(required_unless_present_any = ["all", "effective"])]
    pub(crate) id: Option<String>,
    /// Networks for `explain cidr`: one, or one of each family, such as 10.244.0.0/16,2001:db8::/56
    #[arg(value_name = "CIDRS", requires = "id")]
    pub(crate) cidrs: Option<String>,
    /// How many nodes the networks of `explain cidr` must hold
    #[arg(long, value_name = "N", requires = "cidrs")]
    pub(crate) nodes: Option<u32>,
    /// Prefix length of a node's IPv4 network [default: 24]
    #[arg(long, value_name = "BITS", requires = "cidrs", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) node_mask_ipv4: Option<u8>,
    /// Prefix length of a node's IPv6 network [default: 64]
    #[arg(long, value_name = "BITS", requires = "cidrs", value_parser = clap::value_parser!(u8).range(1..=128))]
    pub(crate) node_mask_ipv6: Option<u8>,
    /// Print every check, in Markdown
    #[arg(long, conflicts_with = "id")]
    pub(crate) all: bool,
    /// Print the merged configuration of a component, with sources
    #[arg(long, value_name = "COMPONENT", value_parser = crate::effective::names(), conflicts_with_all = ["id", "all"])]
    pub(crate) effective: Option<String>,
    /// Node of --effective: /, a mounted root, a recording
    #[arg(long, visible_alias = "rootfs", value_name = "PATH", default_value = "/", requires = "effective")]
    pub(crate) host: PathBuf,
    #[command(flatten)]
    pub(crate) layout: LayoutOptions,
    /// Ask the kubelet through the API server of this kubeconfig
    #[arg(long, value_name = "FILE", requires = "effective")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Output format of --effective
    #[arg(short, long, value_enum, default_value_t = Output::Text, requires = "effective")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct RecordOptions {
    /// Record this node: / or a mounted root
    #[arg(long = "host", visible_alias = "rootfs", value_name = "PATH")]
    #[arg(default_value = "/", default_value_ifs = NO_HOST)]
    pub(crate) host: Option<PathBuf>,
    /// Write the recording to this file
    #[arg(short = 'O', long, value_name = "FILE", default_value = "node.tar.zst")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) layout: LayoutOptions,
    #[command(flatten)]
    pub(crate) kubeadm: KubeadmOptions,
    #[command(flatten)]
    pub(crate) remote: RemoteOptions,
    /// Only look: skip kernel probes
    #[arg(long)]
    pub(crate) passive: bool,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportOptions {
    /// Journals, or folders that hold one
    #[arg(required = true, value_name = "JOURNAL")]
    pub(crate) journals: Vec<PathBuf>,
    /// Render this format; one format is printed unless -O is given
    #[arg(long = "format", value_name = "FORMAT")]
    pub(crate) formats: Vec<Format>,
    /// Write the reports to this folder
    #[arg(short = 'O', long, value_name = "FOLDER")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DiffOptions {
    /// Earlier run: a journal or a folder that holds one
    pub(crate) before: PathBuf,
    /// Later run
    pub(crate) after: PathBuf,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}
