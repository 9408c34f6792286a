//! What runs on a node, as files and command lines: containerd, the pod network, the kubelet and kube-proxy.
//!
//! Everything here is a pure function of what is said of the cluster and of the host. What is written equals what
//! kubeadm 1.37 writes, which a test looks at; where a host made of namespaces needs something else, a [`Deviation`]
//! says what and why.

pub mod cni;
pub mod containerd;
pub mod kubelet;
pub mod proxy;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};

/// A value that is another than kubeadm's, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    /// The field, as a dotted path.
    pub field: &'static str,
    /// What it is set to.
    pub value: Value,
    /// Does it stand above what the user wrote? Only where a node could not start otherwise.
    pub above_user: bool,
    /// Why.
    pub reason: &'static str,
}

/// A configuration document with the deviations that it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// The document.
    pub document: Value,
    /// What is other than kubeadm has it. A user's value that was put aside is among them ([`Deviation::above_user`]).
    pub deviations: Vec<Deviation>,
}

impl Configured {
    /// kubeadm's document with deviations, of which the user's own fields are spared.
    fn new(mut document: Value, user: Option<&Value>, deviations: Vec<Deviation>) -> Self {
        let holds = |field: &str| user.is_some_and(|user| at(user, field).is_some());
        let deviations: Vec<_> = deviations
            .into_iter()
            .filter(|one| one.above_user || !holds(one.field))
            .filter(|one| at(&document, one.field) != Some(&one.value))
            .collect();
        for one in &deviations {
            set(&mut document, one.field, one.value.clone());
        }
        Self { document, deviations }
    }

    /// The document as YAML.
    ///
    /// # Panics
    /// Never: a document is made of maps, lists, texts and numbers.
    #[must_use]
    pub fn yaml(&self) -> String {
        yaml(&self.document)
    }
}

pub(crate) fn yaml(document: &Value) -> String {
    serde_saphyr::to_string(document).expect("maps, lists, texts and numbers have a form in YAML")
}

/// The address of the cluster's DNS: the tenth of the first network of Services (kubeadm's `constants.GetDNSIP`).
#[must_use]
pub fn dns_address(services: &IpNet) -> IpAddr {
    match services.network() {
        IpAddr::V4(first) => IpAddr::V4((u32::from(first) + 10).into()),
        IpAddr::V6(first) => IpAddr::V6((u128::from(first) + 10).into()),
    }
}

/// Puts `over` onto `under`: maps field by field, everything else whole. A null says nothing.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

fn at<'v>(document: &'v Value, field: &str) -> Option<&'v Value> {
    field.split('.').try_fold(document, |value, key| value.get(key)).filter(|value| !value.is_null())
}

fn set(document: &mut Value, field: &str, value: Value) {
    let mut place = document;
    for key in field.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_users_field_is_spared_unless_the_node_could_not_start() {
        let deviation = |field, above_user| Deviation { field, value: json!("ours"), above_user, reason: "a test" };
        let deviations = vec![deviation("a.b", false), deviation("c", true), deviation("d", false)];
        let user = json!({ "a": { "b": "theirs" }, "c": "theirs" });
        let configured = Configured::new(user.clone(), Some(&user), deviations);
        assert_eq!(configured.document, json!({ "a": { "b": "theirs" }, "c": "ours", "d": "ours" }));
        assert_eq!(configured.deviations.iter().map(|one| one.field).collect::<Vec<_>>(), ["c", "d"]);
    }

    #[test]
    fn maps_are_merged_and_lists_replaced() {
        let mut under = json!({ "a": { "x": 1, "y": 2 }, "b": [1, 2], "c": 3 });
        merge(&mut under, &json!({ "a": { "y": 4, "z": 5 }, "b": [6], "c": null }));
        assert_eq!(under, json!({ "a": { "x": 1, "y": 4, "z": 5 }, "b": [6], "c": 3 }));
    }

    #[test]
    fn dns_is_the_tenth_address() {
        for (network, address) in [("10.96.0.0/12", "10.96.0.10"), ("fd00:10:96::/112", "fd00:10:96::a")] {
            assert_eq!(dns_address(&network.parse().unwrap()).to_string(), address);
        }
    }
}
