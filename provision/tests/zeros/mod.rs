//! Objects as Go writes them, and what they say.

use serde_json::{Map, Value};

/// Without what Go writes for nothing at all. `false` says something where it is a pointer, as in the kubelet's
/// `enabled`.
pub(crate) fn without_zeros(value: Value) -> Value {
    let zero = |key: &str, value: &Value| match value {
        Value::Null => true,
        Value::Bool(false) => key != "enabled",
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => matches!(text.as_str(), "" | "0" | "0s"),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().map(|(key, value)| (key, without_zeros(value)));
            Value::Object(kept.filter(|(key, value)| !zero(key, value)).collect::<Map<_, _>>())
        }
        other => other,
    }
}
