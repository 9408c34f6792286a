//! Objects that a specification adds to the add-ons, and fields of the add-ons' own that it changes.

use serde_json::Value;

use crate::patches;

/// The objects of YAML documents, in order.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    let objects: Vec<_> = documents.into_iter().filter(|document| !document.is_null()).collect();
    for (number, object) in objects.iter().enumerate() {
        for field in ["/apiVersion", "/kind", "/metadata/name"] {
            if object.pointer(field).and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(format!(
                    "object {} has no {}",
                    number + 1,
                    field.trim_start_matches('/').replace('/', ".")
                ));
            }
        }
    }
    Ok(objects)
}

/// Adds objects to those of the add-ons. The fields of one that is there already are merged into it before it is
/// created: a change afterwards would replace its pods.
pub(super) fn add(objects: &mut Vec<Value>, more: Vec<Value>) -> Result<(), String> {
    for object in more {
        let same = |other: &&mut Value| {
            ["/apiVersion", "/kind", "/metadata/namespace", "/metadata/name"]
                .iter()
                .all(|field| other.pointer(field) == object.pointer(field))
        };
        match objects.iter_mut().find(same) {
            Some(there) => *there = patches::merged(there.take(), object)?,
            None => objects.push(object),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_merged_and_new_objects_added() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: coredns, namespace: kube-system}\n\
                    spec: {replicas: 2}\n---\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
        let metadata = json!({ "name": "coredns", "namespace": "kube-system" });
        let spec = json!({ "replicas": 1, "strategy": {} });
        let mut objects =
            vec![json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec })];
        add(&mut objects, read(text).unwrap()).unwrap();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["spec"], json!({ "replicas": 2, "strategy": {} }));
        assert_eq!(objects[1]["kind"], "Namespace");
    }

    #[test]
    fn what_is_no_object_is_named() {
        assert_eq!(read("apiVersion: v1\nkind: Pod\n").unwrap_err(), "object 1 has no metadata.name");
        assert_eq!(read("just text\n").unwrap_err(), "object 1 has no apiVersion");
        assert!(read("a: [\n").unwrap_err().contains("line"));
    }
}
