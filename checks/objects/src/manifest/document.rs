//! The documents of a text, and their objects.

use std::sync::Arc;

use serde_json::Value;

use super::{Manifests, Object, Problem, Trouble};
use crate::node::{BadText, Member, Node, Tree};
use crate::{json, yaml};

/// A document: its text, and how many lines come before it.
struct Document<'t> {
    text: &'t str,
    before: u32,
}

/// Reads every document of a text.
pub(super) fn read(file: &Arc<str>, text: &str, manifests: &mut Manifests) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for document in split(without_notes(text)) {
        one(file, &document, manifests);
    }
}

/// Splits a text as apimachinery's YAMLReader does: at lines of `---`, which a comment may follow.
fn split(text: &str) -> Vec<Document<'_>> {
    let (mut documents, mut begin, mut before) = (Vec::new(), 0, 0);
    let (mut at, mut lines) = (0, 0);
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---").map(str::trim);
        let end = at;
        at += line.len();
        lines += 1;
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#')) {
            documents.push(Document { text: &text[begin..end], before });
            (begin, before) = (at, lines);
        }
    }
    documents.push(Document { text: &text[begin..], before });
    documents
}

/// What `helm install --dry-run` and `helm get all` print ends with the notes of the chart, which are prose.
fn without_notes(text: &str) -> &str {
    let helm = text.starts_with("NAME: ") || text.contains("\n# Source: ") || text.starts_with("# Source: ");
    let notes = text.starts_with("NOTES:").then_some(0).or_else(|| text.find("\nNOTES:\n").map(|at| at + 1));
    notes.filter(|_| helm).map_or(text, |at| &text[..at])
}

fn one(file: &Arc<str>, document: &Document<'_>, manifests: &mut Manifests) {
    let problem = |line: u32, trouble, why: String| {
        let line = Some(line + document.before);
        Problem { file: file.clone(), line, trouble, why }
    };
    let nodes = match parse(document.text) {
        Ok(nodes) => nodes,
        Err(BadText { line, .. }) if document.text.contains("{{") => {
            let why = "this is a template, not a manifest: render it first (helm template, kustomize build, envsubst)";
            return manifests.problems.push(problem(line, Trouble::Template, why.to_owned()));
        }
        Err(BadText { line, why }) => {
            let why = format!("this document is neither YAML nor JSON: {why}");
            return manifests.problems.push(problem(line, Trouble::Syntax, why));
        }
    };
    for mut node in nodes {
        if let Some((name, line)) = node.repeated() {
            let why =
                format!("the field {name} is there twice; the last one counts, and strict validation refuses both");
            manifests.problems.push(problem(line, Trouble::Repeated, why));
        }
        shift(&mut node, document.before);
        let source = document.text.lines().find_map(|line| line.strip_prefix("# Source: ")).map(str::trim);
        collect(file, node, None, source, manifests);
    }
}

fn parse(text: &str) -> Result<Vec<Node>, BadText> {
    // A document that begins with a brace is JSON (yaml.IsJSONBuffer), and may be followed by more.
    if text.trim_start().starts_with('{') {
        return json::read(text);
    }
    Ok(yaml::read(text)?.filter(|node| !node.is_null()).into_iter().collect())
}

/// Counts lines from the beginning of the file.
fn shift(node: &mut Node, by: u32) {
    node.line += by;
    match &mut node.tree {
        Tree::Scalar(_) => {}
        Tree::List(items) => items.iter_mut().for_each(|item| shift(item, by)),
        Tree::Map(members) => {
            for member in members {
                member.line += by;
                shift(&mut member.node, by);
            }
        }
    }
}

/// What a typed list says of its items, which do not say it themselves.
#[derive(Clone)]
struct Typed {
    api_version: String,
    kind: String,
}

fn collect(file: &Arc<str>, mut node: Node, typed: Option<&Typed>, source: Option<&str>, manifests: &mut Manifests) {
    let said = |name: &str| node.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let api_version = said("apiVersion").or_else(|| typed.map(|typed| typed.api_version.clone()));
    let kind = said("kind").or_else(|| typed.map(|typed| typed.kind.clone()));
    let line = node.line;
    let mut problem = |trouble, why: &str| {
        manifests.problems.push(Problem { file: file.clone(), line: Some(line), trouble, why: why.to_owned() });
    };
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        // Helm's own header, or its heading of what comes next.
        if ["LAST DEPLOYED", "MANIFEST", "HOOKS", "USER-SUPPLIED VALUES"].iter().any(|name| node.get(name).is_some()) {
            return;
        }
        return problem(Trouble::NotAnObject, "this document has no apiVersion and kind, and is not an object");
    };
    if kind.contains("{{") || api_version.contains("{{") {
        return problem(Trouble::Template, "the kind is a placeholder: render the template first");
    }
    if kind == "Template" && api_version.starts_with("template.openshift.io/") {
        return problem(Trouble::Template, "this is an OpenShift template: render it first (oc process)");
    }
    if let Some(items) = items(&mut node, &kind) {
        let item = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        let typed = item.map(|kind| Typed { api_version, kind: kind.to_owned() });
        for item in items {
            if item.is_null() {
                continue;
            }
            collect(file, item, typed.as_ref(), source, manifests);
        }
        return;
    }
    let metadata = node.get("metadata").map(|member| &member.node);
    let said = |name: &str| metadata.and_then(|data| data.text(name)).filter(|text| !text.is_empty());
    let name = said("name").map(str::to_owned).or_else(|| said("generateName").map(|name| format!("{name}*")));
    manifests.objects.push(Object {
        file: file.clone(),
        line,
        namespace: said("namespace").map(str::to_owned),
        name: name.unwrap_or_default(),
        template: source.map(str::to_owned),
        api_version,
        kind,
        node,
    });
}

/// The items of a list, taken out of it.
fn items(node: &mut Node, kind: &str) -> Option<Vec<Node>> {
    if !kind.ends_with("List") {
        return None;
    }
    let Tree::Map(members) = &mut node.tree else { return None };
    let items = |member: &mut Member| match &mut member.node.tree {
        Tree::List(items) if member.name == "items" => Some(std::mem::take(items)),
        Tree::Scalar(Value::Null) if member.name == "items" => Some(Vec::new()),
        _ => None,
    };
    members.iter_mut().rev().find_map(items)
}
