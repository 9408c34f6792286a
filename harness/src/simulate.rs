//! `seaworthy simulate`: simulated nodes on a cluster that is named, until Ctrl-C.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstream::eprintln;
use clap::{Args, ValueEnum};
use seaworthy_simulated::{
    Behavior, Call, Capacity, Client, ClientError, Counts, Fleet, FleetError, Keep, LABEL, Lane, Latency, NodeGroup,
    NodeTaint, Running, TAINT,
};

use crate::answer;
use crate::cli::Output;
use crate::fault::Fault;
use crate::signals;

#[derive(Debug, Args)]
pub(crate) struct SimulateOptions {
    /// Kubeconfig of the cluster; there is no default
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Number of Linux nodes
    #[arg(long, value_name = "N", default_value_t = 0)]
    nodes: u32,
    /// Number of Windows nodes
    #[arg(long, value_name = "N", default_value_t = 0)]
    windows: u32,
    /// Build of Windows Server: 10.0.17763, 10.0.20348 or 10.0.26100
    #[arg(long, value_name = "BUILD", default_value = "10.0.20348")]
    windows_build: String,
    /// Zones; nodes are spread over them in turn
    #[arg(long, value_name = "ZONE", value_delimiter = ',')]
    zones: Vec<String>,
    /// Region of all zones
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Cores of each node
    #[arg(long, value_name = "CORES", default_value = "32")]
    cpu: String,
    /// Memory of each node
    #[arg(long, value_name = "QUANTITY", default_value = "128Gi")]
    memory: String,
    /// Pods that fit on each node
    #[arg(long, value_name = "N", default_value_t = 110)]
    pods_per_node: u32,
    /// Label of each node; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Taint of each node; repeatable
    #[arg(long = "taint", value_name = "KEY=VALUE:EFFECT")]
    taints: Vec<NodeTaint>,
    /// Do not taint the nodes on a cluster that has real ones
    ///
    /// Where a cluster has nodes that are not simulated, simulated ones get the taint
    /// seaworthy.dev/simulated:NoSchedule, so that no workload of the cluster ends up where nothing runs it. With this
    /// option only --taint counts.
    #[arg(long)]
    schedulable: bool,
    /// Beginning of node names
    #[arg(long, value_name = "TEXT", default_value = "sim-")]
    prefix: String,
    /// Name of the fleet, the value of its nodes' label seaworthy.dev/simulated
    #[arg(long, value_name = "NAME", default_value = "seaworthy")]
    fleet: String,
    /// Network of pods, of which each node has a part [default: what the controller-manager assigns]
    #[arg(long = "pod-cidr", value_name = "CIDR", value_delimiter = ',')]
    pod_networks: Vec<String>,
    /// Time that half of all pods need to start; the slowest of 100 need four times as long
    #[arg(long, value_name = "DURATION", default_value = "400ms", value_parser = duration)]
    start: Duration,
    /// Part of the containers whose start fails: 0 to 1
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = part)]
    failing_starts: f64,
    /// Record an event for each start
    #[arg(long)]
    events: bool,
    /// End after this time instead of on Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasts: Option<Duration>,
    /// What happens to the Node objects at the end
    #[arg(long, value_enum, default_value_t = OnEnd::Delete)]
    on_end: OnEnd,
    /// Form of the counts: a line per second, or JSON lines
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Unix socket that accepts once every node is ready
    #[arg(long, value_name = "PATH", hide = true)]
    ready_socket: Option<PathBuf>,
}

/// What happens to Node objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnEnd {
    /// They are deleted with their leases
    Delete,
    /// They stay, and become NotReady; the same command takes them over
    Keep,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().map_err(|_| "expected a time such as 400ms or 2m".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "expected a time that is not negative".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    let part = text.parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

impl SimulateOptions {
    fn groups(&self, is_tainted: bool) -> Result<Vec<NodeGroup>, Fault> {
        if self.nodes == 0 && self.windows == 0 {
            return Err(Fault::usage("there is no node to simulate").hint("--nodes N, --windows N or both"));
        }
        let mut labels = Vec::new();
        for label in &self.labels {
            let pair = label.split_once('=').filter(|(key, _)| !key.is_empty());
            labels.push(pair.ok_or_else(|| Fault::usage(format!("--label {label}: expected KEY=VALUE")))?);
        }
        let capacity = Capacity {
            cpu: self.cpu.clone(),
            memory: self.memory.clone(),
            pods: self.pods_per_node,
            ..Capacity::default()
        };
        let linux = NodeGroup::linux(self.nodes).prefix(self.prefix.clone());
        let windows = NodeGroup::windows(self.windows, &self.windows_build).prefix(format!("{}win-", self.prefix));
        let all = [linux, windows].into_iter().filter(|group| group.count > 0).map(|group| {
            let mut group = group.zones(self.zones.clone()).capacity(capacity.clone());
            group.region = self.region.clone();
            group.taints = self.taints.clone();
            group = labels.iter().fold(group, |group, (key, value)| group.label(*key, *value));
            if is_tainted { group.taint(TAINT, "", "NoSchedule") } else { group }
        });
        Ok(all.collect())
    }

    fn behavior(&self) -> Result<Behavior, Fault> {
        let mut pod_networks = Vec::new();
        for text in &self.pod_networks {
            let network = text.parse().map_err(|_| Fault::usage(format!("--pod-cidr {text}: expected a CIDR")))?;
            pod_networks.push(network);
        }
        Ok(Behavior {
            start: Latency::LogNormal { median: self.start, p99: self.start * 4 },
            failing_starts: self.failing_starts,
            events: self.events,
            pod_networks,
            ..Behavior::default()
        })
    }
}

/// What the user can mend, and what is the cluster's or ours.
fn fault(error: &FleetError) -> Fault {
    match error {
        FleetError::Spec(why) => Fault::usage(why.clone()),
        FleetError::Api { why, .. } if matches!(**why, ClientError::Kubeconfig(_)) => Fault::usage(error.to_string()),
        _ => Fault::ours(error.to_string()),
    }
}

pub(crate) fn simulate(options: &SimulateOptions) -> Result<i32, Fault> {
    signals::listen();
    let client = Client::open(&options.kubeconfig, options.context.as_deref());
    let client = client.map_err(|error| Fault::usage(error.to_string()))?;
    let behavior = options.behavior()?;
    options.groups(false)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Fault::ours(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let is_tainted = !options.schedulable && has_real_nodes(&client).await?;
        if is_tainted {
            eprintln!("note: the cluster has real nodes, so simulated ones get the taint {TAINT}:NoSchedule");
        }
        let fleet = Fleet::new(client).name(options.fleet.clone()).behavior(behavior);
        let fleet = options.groups(is_tainted)?.into_iter().fold(fleet, Fleet::nodes);
        let fleet = fleet.start().await.map_err(|error| fault(&error))?;
        let interrupted = watch(options, &fleet).await?;
        let keep = if options.on_end == OnEnd::Delete { Keep::Nothing } else { Keep::Nodes };
        let counts = fleet.shutdown(keep).await.map_err(|error| {
            let hint = format!("kubectl delete nodes -l {LABEL}={}", options.fleet);
            fault(&error).hint(hint)
        })?;
        show(options.output, &counts);
        Ok(interrupted.map_or(0, |signal| 128 + signal))
    })
}

/// Does the cluster have nodes that are not simulated?
async fn has_real_nodes(client: &Client) -> Result<bool, Fault> {
    let call = Call::get(format!("/api/v1/nodes?limit=1&labelSelector=%21{}", LABEL.replace('/', "%2F")));
    let reply = client.ask(Lane::Work, &call).await.and_then(|reply| reply.success(&call)?.json(&call));
    let list = reply.map_err(|error| Fault::ours(error.to_string()))?;
    Ok(list["items"].as_array().is_some_and(|items| !items.is_empty()))
}

/// Shows the counts until it is enough, and returns the signal that said so. Where people read, a count that has not
/// changed is not shown again.
async fn watch(options: &SimulateOptions, fleet: &Running) -> Result<Option<i32>, Fault> {
    let begun = Instant::now();
    let mut socket = None;
    let mut shown = String::new();
    let mut next = Duration::from_secs(1);
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Some(signal) = signals::seen() {
            return Ok(Some(signal as i32));
        }
        if options.lasts.is_some_and(|lasts| begun.elapsed() >= lasts) {
            return Ok(None);
        }
        let counts = fleet.counts();
        if let Some(path) = &options.ready_socket
            && socket.is_none()
            && counts.nodes.wanted > 0
            && counts.nodes.schedulable == counts.nodes.wanted
        {
            // What an earlier run left there accepts nothing.
            std::fs::remove_file(path).ok();
            let bound = UnixListener::bind(path);
            socket = Some(bound.map_err(|error| Fault::ours(format!("{}: {error}", path.display())))?);
        }
        if let Some(socket) = &socket {
            socket.set_nonblocking(true).ok();
            while socket.accept().is_ok() {}
        }
        if begun.elapsed() < next {
            continue;
        }
        next = begun.elapsed() + Duration::from_secs(1);
        let line = counts.to_string();
        if options.output == Output::Json || line != shown {
            show(options.output, &counts);
            shown = line;
        }
    }
}

fn show(output: Output, counts: &Counts) {
    answer::print(&match output {
        Output::Text => format!("{counts}\n"),
        Output::Json => format!("{}\n", serde_json::to_value(counts).unwrap_or_default()),
    });
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_and_parts_are_read() {
        assert_eq!(super::duration("400ms"), Ok(std::time::Duration::from_millis(400)));
        assert!(super::duration("-1s").is_err() && super::duration("soon").is_err());
        assert_eq!(super::part("0.01"), Ok(0.01));
        assert!(super::part("1.1").is_err() && super::part("NaN").is_err());
    }
}
