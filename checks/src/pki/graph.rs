//! The trust graph: who signed what, who shows it, and who verifies it by which bundle.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::expiry::KUBECONFIG_CA;
use super::facts::Facts;
use super::x509::{Certificate, Fingerprint};

/// What a node of the graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A CA.
    Authority,
    /// A certificate that is no CA.
    Certificate,
    /// A component, or people with kubectl.
    Holder,
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its id: `c` and the first digits of the SHA-256 for a certificate, else the component's name.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// What it is called: a subject, or a component.
    pub label: String,
    /// The files that it is in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Its end, for certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Is its private key in this PKI?
    pub has_key: bool,
}

/// What an edge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// The first signed the second.
    Signs,
    /// The first, a component, shows the second.
    Shows,
    /// The first, a component, trusts the second.
    Trusts,
}

/// An edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// What it says.
    pub kind: EdgeKind,
    /// For what, in words; empty for signatures.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
}

/// The trust graph. Nodes and edges are sorted, so that the same PKI gives the same graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Graph {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The edges.
    pub edges: Vec<Edge>,
    /// What should be in it and is not known, each a sentence that names the file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

fn id(fingerprint: Fingerprint) -> String {
    format!("c{}", &fingerprint.to_string()[..12])
}

impl Facts {
    /// The trust graph of the PKI.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        let mut edges = Vec::new();
        let mut known: Vec<&Certificate> = Vec::new();
        let mut meet = |certificate: &Certificate, file: &str| {
            let node = nodes.entry(id(certificate.fingerprint)).or_insert_with(|| Node {
                id: id(certificate.fingerprint),
                kind: if certificate.is_ca() { NodeKind::Authority } else { NodeKind::Certificate },
                label: certificate.subject.common_name().map_or_else(|| certificate.subject.called(), str::to_owned),
                files: Vec::new(),
                not_after: Some(certificate.not_after),
                has_key: self.has_key_of(certificate),
            });
            if !node.files.iter().any(|known| known == file) {
                node.files.push(file.to_owned());
            }
        };
        for one in &self.credentials {
            for held in &one.chain {
                meet(&held.certificate, &one.file);
                known.push(&held.certificate);
            }
            let (from, to) = (one.holder.name().to_owned(), id(one.leaf().fingerprint));
            edges.push(Edge { from, to, kind: EdgeKind::Shows, role: one.role.title().to_owned() });
        }
        for one in &self.bundles {
            for held in &one.certificates {
                meet(&held.certificate, &one.file);
                known.push(&held.certificate);
                let (from, to) = (one.holder.name().to_owned(), id(held.certificate.fingerprint));
                edges.push(Edge { from, to, kind: EdgeKind::Trusts, role: one.role.title().to_owned() });
            }
        }
        for client in &self.clients {
            let Some((file, held)) = &client.ca else { continue };
            for held in held {
                meet(&held.certificate, file);
                known.push(&held.certificate);
                let (from, to) = (client.of.holder.name().to_owned(), id(held.certificate.fingerprint));
                edges.push(Edge { from, to, kind: EdgeKind::Trusts, role: KUBECONFIG_CA.to_owned() });
            }
        }
        for edge in &edges {
            nodes.entry(edge.from.clone()).or_insert_with(|| Node {
                id: edge.from.clone(),
                kind: NodeKind::Holder,
                label: edge.from.clone(),
                files: Vec::new(),
                not_after: None,
                has_key: false,
            });
        }
        let signed = |one: &Certificate, by: &Certificate| {
            one.fingerprint != by.fingerprint
                && one.issuer.der == by.subject.der
                && matches!(self.signatures.check(one, &by.public_key), super::x509::path::Signature::Good)
        };
        for one in &known {
            for by in known.iter().filter(|by| by.is_ca() && signed(one, by)) {
                let (from, to) = (id(by.fingerprint), id(one.fingerprint));
                edges.push(Edge { from, to, kind: EdgeKind::Signs, role: String::new() });
            }
        }
        edges.sort();
        edges.dedup();
        let mut nodes: Vec<_> = nodes.into_values().collect();
        nodes.sort_by(|a, b| (a.kind, &a.label, &a.id).cmp(&(b.kind, &b.label, &b.id)));
        Graph { nodes, edges, missing: self.missing() }
    }
}
