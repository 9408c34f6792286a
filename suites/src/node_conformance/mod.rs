//! The node-conformance suite: do the kubelet and the container runtime of a node behave as Kubernetes promises?
//!
//! Its trials put pods of our own image on one node, and compare what the pods, the kubelet and the API say with the
//! documents. They carry the names of upstream's `[NodeConformance]` tests whose work they do ([`upstream_names`]);
//! `docs/node-conformance.md` says which of those is covered by what.

mod containers;
mod coverage;
mod defects;
mod env;
mod hooks;
mod identity;
mod images;
mod network;
mod node;
mod pods;
mod probes;
mod resources;
mod runtime_class;
mod security;
mod states;
mod statics;
mod streams;
mod upstream;
mod volumes;

pub use coverage::node_conformance_coverage;
pub use upstream::upstream_names;

use crate::cluster::{Claim, ClusterNeed, Ctx, Stop};
use crate::trial::Suite;

/// A control plane and one worker, which is the node under test. On a cluster that exists any node will do.
const NODE: ClusterNeed =
    ClusterNeed { workers: 1, any_families: true, kubeadm: Some(KUBELET), ..ClusterNeed::new("node") };

/// What of the kubelet the claims are about, where it is not the default.
const KUBELET: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: 128
";

/// How long a body may take: what it waits for first and last may each take two minutes on a busy node.
const LIMIT: std::time::Duration = std::time::Duration::from_mins(6);

/// What trials of one theme have in common.
#[derive(Debug, Clone, Copy)]
struct Area {
    /// The second segment of their ids, and their label.
    id: &'static str,
    /// The defect that catches them.
    caught_by: &'static str,
    why: &'static str,
    how: &'static str,
    fix: &'static str,
    /// The document, and where it is.
    basis: (&'static str, &'static str),
}

impl Area {
    /// A claim of the area.
    fn claim<F>(self, id: &str, title: impl Into<String>, body: impl Fn(Ctx) -> F + Send + Sync + 'static) -> Claim
    where
        F: Future<Output = Result<(), Stop>> + Send + 'static,
    {
        Claim::new(format!("node-conformance.{}.{id}", self.id), title, [NODE], self.caught_by, body)
            .limit(LIMIT)
            .label(self.id)
            .why(self.why)
            .how(self.how)
            .fix(self.fix)
            .basis(self.basis.0, self.basis.1)
    }
}

/// The node-conformance suite.
#[must_use]
pub fn node_conformance_suite() -> Suite {
    let areas = [
        containers::trials(),
        env::trials(),
        volumes::trials(),
        probes::trials(),
        hooks::trials(),
        states::trials(),
        pods::trials(),
        streams::trials(),
        identity::trials(),
        security::trials(),
        resources::trials(),
        statics::trials(),
        node::trials(),
        images::trials(),
        runtime_class::trials(),
        network::trials(),
    ];
    Suite {
        name: "node-conformance",
        title: "Do the node's kubelet and container runtime behave as Kubernetes promises?",
        trials: areas.into_iter().flatten().collect(),
        defects: &defects::DEFECTS,
    }
}

/// The configuration of the kubelet under test, as it says it itself.
async fn kubelet_configuration(ctx: &Ctx) -> Result<serde_json::Value, Stop> {
    let node = ctx.node().await?;
    let path = format!("/api/v1/nodes/{node}/proxy/configz");
    let refused = |why: String| Stop::Undetermined(format!("the configuration of the kubelet on {node}: {why}"));
    let answer = ctx.request(http::Method::GET, &path, None).await?.map_err(|why| refused(why.to_string()))?;
    Ok(answer["kubeletconfig"].clone())
}

/// The body of a trial that is made by a function of several.
type Body = futures_util::future::BoxFuture<'static, Result<(), Stop>>;

/// An object with the fields of another one laid over its own.
fn merged(mut object: serde_json::Value, over: serde_json::Value) -> serde_json::Value {
    match (&mut object, over) {
        (serde_json::Value::Object(into), serde_json::Value::Object(fields)) => {
            for (key, value) in fields {
                let own = into.remove(&key).unwrap_or_default();
                into.insert(key, merged(own, value));
            }
            object
        }
        (_, over) => over,
    }
}

/// A quantity of resources as a number: `100m`, `64Mi`, `2`, `1e3`. What is no quantity is none at all.
fn quantity(value: &serde_json::Value) -> f64 {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => f64::NAN,
    };
    digits.parse::<f64>().unwrap_or(f64::NAN) * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_numbers() {
        for (text, wanted) in [("100m", 0.1), ("64Mi", 67_108_864.0), ("2", 2.0), ("24659200Ki", 25_251_020_800.0)] {
            assert!((quantity(&text.into()) - wanted).abs() < 1e-9, "{text}");
        }
        assert!(quantity(&"x".into()).is_nan());
    }
}
