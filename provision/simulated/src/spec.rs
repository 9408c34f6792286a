//! What simulated nodes are: groups of alike nodes, and how pods behave on them.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;

/// The label of every simulated node; its value is the fleet's name.
pub const LABEL: &str = "seaworthy.dev/simulated";
/// The taint that keeps pods away from simulated nodes unless they tolerate it.
pub const TAINT: &str = "seaworthy.dev/simulated";
/// An annotation of pods: after how many seconds the containers start, instead of [`Behavior::start`].
pub const STARTS_AFTER: &str = "simulated.seaworthy.dev/starts-after";
/// An annotation of pods: after how many seconds the containers end, whatever the restart policy is.
pub const RUNS_FOR: &str = "simulated.seaworthy.dev/runs-for";
/// An annotation of pods: what the containers end with.
pub const EXIT_CODE: &str = "simulated.seaworthy.dev/exit-code";

/// An operating system with what Kubernetes shows of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Os {
    /// Linux.
    #[default]
    Linux,
    /// Windows Server of a build, such as `10.0.20348`.
    Windows(String),
}

impl Os {
    /// As the label `kubernetes.io/os` has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows(_) => "windows",
        }
    }
}

/// A taint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTaint {
    /// Its key.
    pub key: String,
    /// Its value; may be empty.
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
}

/// Why something is no taint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no taint: expected key=value:NoSchedule, PreferNoSchedule or NoExecute")]
pub struct BadTaint(String);

impl std::str::FromStr for NodeTaint {
    type Err = BadTaint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadTaint(text.to_owned());
        let (left, effect) = text.rsplit_once(':').ok_or_else(bad)?;
        let (key, value) = left.split_once('=').unwrap_or((left, ""));
        if key.is_empty() || !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            return Err(bad());
        }
        Ok(Self { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() })
    }
}

/// What a node has, as Kubernetes writes quantities. All of it is allocatable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// Cores.
    pub cpu: String,
    /// Memory.
    pub memory: String,
    /// Disk for pods.
    pub ephemeral_storage: String,
    /// How many pods fit; the kubelet refuses more.
    pub pods: u32,
    /// Extended resources by name.
    pub extended: BTreeMap<String, String>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            cpu: "32".to_owned(),
            memory: "128Gi".to_owned(),
            ephemeral_storage: "200Gi".to_owned(),
            pods: 110,
            extended: BTreeMap::new(),
        }
    }
}

/// Nodes that are alike but for their name, address and zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeGroup {
    /// What names begin with; a number follows: `sim-00001`.
    pub prefix: String,
    /// How many.
    pub count: u32,
    /// The operating system.
    pub os: Os,
    /// As the label `kubernetes.io/arch` has it.
    pub arch: String,
    /// Zones; nodes are spread over them in turn. Empty: no label.
    pub zones: Vec<String>,
    /// The region of all zones.
    pub region: Option<String>,
    /// What each node has.
    pub capacity: Capacity,
    /// Labels beside those of kubelets; they stand above these.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<NodeTaint>,
    /// The kubelet's version; by default the API server's.
    pub kubelet: Option<String>,
}

impl NodeGroup {
    /// Linux nodes.
    #[must_use]
    pub fn linux(count: u32) -> Self {
        Self {
            prefix: "sim-".to_owned(),
            count,
            os: Os::Linux,
            arch: "amd64".to_owned(),
            zones: Vec::new(),
            region: None,
            capacity: Capacity::default(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            kubelet: None,
        }
    }

    /// Windows nodes of a build: `10.0.17763`, `10.0.20348`, `10.0.26100`.
    #[must_use]
    pub fn windows(count: u32, build: &str) -> Self {
        let prefix = "sim-win-".to_owned();
        Self { prefix, os: Os::Windows(build.to_owned()), ..Self::linux(count) }
    }

    /// The same with zones.
    #[must_use]
    pub fn zones<S: Into<String>>(mut self, zones: impl IntoIterator<Item = S>) -> Self {
        self.zones = zones.into_iter().map(Into::into).collect();
        self
    }

    /// The same with another beginning of names.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The same with one more label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The same with one more taint.
    #[must_use]
    pub fn taint(mut self, key: &str, value: &str, effect: &str) -> Self {
        self.taints.push(NodeTaint { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned() });
        self
    }

    /// The same with another capacity.
    #[must_use]
    pub fn capacity(mut self, capacity: Capacity) -> Self {
        self.capacity = capacity;
        self
    }

    /// The name of a node, counted from 0.
    #[must_use]
    pub fn name(&self, index: u32) -> String {
        format!("{}{:05}", self.prefix, u64::from(index) + 1)
    }
}

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Anything between the two.
    Uniform(Duration, Duration),
    /// Log-normal, as times of programs are: half take less than the first, all but one of a hundred less than the
    /// second.
    LogNormal {
        /// Half take less.
        median: Duration,
        /// All but one of a hundred take less.
        p99: Duration,
    },
}

impl Latency {
    /// One draw.
    pub fn draw(&self, random: &mut fastrand::Rng) -> Duration {
        match *self {
            Self::Fixed(time) => time,
            Self::Uniform(from, to) => from + to.saturating_sub(from).mul_f64(random.f64()),
            Self::LogNormal { median, p99 } => {
                let median = median.as_secs_f64().max(1e-6);
                // 2.326 standard deviations are what 99 of 100 stay below.
                let sigma = (p99.as_secs_f64().max(median) / median).ln() / 2.326_347_9;
                let (a, b) = (1.0 - random.f64(), random.f64());
                let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
                Duration::from_secs_f64((median * (sigma * normal).exp()).min(86_400.0))
            }
        }
    }
}

/// How kubelets and pods behave.
#[derive(Debug, Clone, PartialEq)]
pub struct Behavior {
    /// From seeing a pod to its containers running.
    pub start: Latency,
    /// From seeing a pod's deletion to its containers being gone; at most the grace period.
    pub stop: Latency,
    /// How long containers run whose pods do not restart them always.
    pub run: Latency,
    /// Which part of containers' starts fails: 0 to 1. The kubelet waits 10 s, 20 s, … up to 5 min, then tries again.
    pub failing_starts: f64,
    /// Which part of the containers that end does so with code 1: 0 to 1.
    pub failing_ends: f64,
    /// Is the end of a deleted pod's containers reported before the pod is deleted for good, as kubelets do? Pods that
    /// are not restarted always have it in any case, since Jobs count it.
    pub final_status: bool,
    /// Does each start leave an event?
    pub events: bool,
    /// How often a node renews its lease; it is valid for four times as long.
    pub lease: Duration,
    /// How often a node reports its status, if nothing changes.
    pub heartbeat: Duration,
    /// How many requests may be on the way at once; leases have as many of their own.
    pub requests: usize,
    /// Networks of pods, one a family, of which each node has a part by its number. By default each node waits for what
    /// the controller-manager assigns (`spec.podCIDRs`).
    pub pod_networks: Vec<IpNet>,
    /// The network of nodes' own addresses, which nothing answers at.
    pub node_network: IpNet,
    /// The seed of everything that is drawn.
    pub seed: u64,
}

impl Default for Behavior {
    fn default() -> Self {
        Self {
            start: Latency::LogNormal { median: Duration::from_millis(400), p99: Duration::from_millis(1500) },
            stop: Latency::LogNormal { median: Duration::from_millis(300), p99: Duration::from_millis(1500) },
            run: Latency::LogNormal { median: Duration::from_secs(5), p99: Duration::from_secs(20) },
            failing_starts: 0.0,
            failing_ends: 0.0,
            final_status: true,
            events: false,
            lease: Duration::from_secs(10),
            heartbeat: Duration::from_mins(5),
            requests: 64,
            pod_networks: Vec::new(),
            node_network: IpNet::new_assert(std::net::Ipv4Addr::new(198, 18, 0, 0).into(), 15),
            seed: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_spread_as_they_say() {
        let mut random = fastrand::Rng::with_seed(1);
        let latency = Latency::LogNormal { median: Duration::from_millis(400), p99: Duration::from_millis(1500) };
        let mut all: Vec<_> = (0..20_000).map(|_| latency.draw(&mut random)).collect();
        all.sort_unstable();
        let at = |quantile: f64| all[(quantile * 20_000.0) as usize].as_millis();
        assert!((380..420).contains(&at(0.5)), "{}", at(0.5));
        assert!((1350..1650).contains(&at(0.99)), "{}", at(0.99));
        let uniform = Latency::Uniform(Duration::from_secs(1), Duration::from_secs(2));
        assert!((0..100).all(|_| (1.0..=2.0).contains(&uniform.draw(&mut random).as_secs_f64())));
    }

    #[test]
    fn taints_are_read() {
        let taint: NodeTaint = "os=windows:NoSchedule".parse().unwrap();
        assert_eq!((taint.key.as_str(), taint.value.as_str(), taint.effect.as_str()), ("os", "windows", "NoSchedule"));
        for bad in ["", "a", "a=b", "a=b:Never", "=b:NoSchedule"] {
            assert!(bad.parse::<NodeTaint>().is_err(), "{bad}");
        }
    }
}
