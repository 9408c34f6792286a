//! Conditions that objects are waited for to meet.

use serde_json::Value;

type Test = Box<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

/// What an object is waited for to be. Conditions compose; each says of an object that does not meet it what it saw
/// instead.
pub struct Condition {
    /// In words, behind the object's name: "is Ready".
    pub(super) what: String,
    test: Test,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Condition").field(&self.what).finish()
    }
}

impl Condition {
    /// A condition in words, and its test, which says what it saw where the condition is not met.
    pub fn new(what: impl Into<String>, test: impl Fn(&Value) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self { what: what.into(), test: Box::new(test) }
    }

    /// `status.conditions` has this type with the status True.
    #[must_use]
    pub fn is(kind: &'static str) -> Self {
        Self::new(format!("is {kind}"), move |object| {
            let all = object.pointer("/status/conditions").and_then(Value::as_array);
            let one = all.into_iter().flatten().find(|one| one["type"] == kind);
            match one {
                Some(one) if one["status"] == "True" => Ok(()),
                Some(one) => {
                    let part = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
                    Err(format!("{kind}={} {} {}", part("status"), part("reason"), part("message")).trim().to_owned())
                }
                None => Err(format!("no condition {kind}; {}", phase(object))),
            }
        })
    }

    /// A field, by JSON pointer, has this value.
    #[must_use]
    pub fn field(pointer: &'static str, value: impl Into<Value>) -> Self {
        let value = value.into();
        Self::new(format!("has {pointer} = {value}"), move |object| match object.pointer(pointer) {
            Some(found) if *found == value => Ok(()),
            Some(found) => Err(format!("{pointer} = {found}")),
            None => Err(format!("no {pointer}; {}", phase(object))),
        })
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let what = format!("{} and {}", self.what, other.what);
        Self::new(what, move |object| (self.test)(object).and_then(|()| (other.test)(object)))
    }

    /// One of them holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let what = format!("{} or {}", self.what, other.what);
        Self::new(what, move |object| {
            (self.test)(object).or_else(|one| (other.test)(object).map_err(|two| format!("{one}; {two}")))
        })
    }

    /// Does an object meet it?
    ///
    /// # Errors
    /// What is seen instead.
    pub fn test(&self, object: &Value) -> Result<(), String> {
        (self.test)(object)
    }
}

fn phase(object: &Value) -> String {
    let phase = object.pointer("/status/phase").and_then(Value::as_str);
    phase.map_or_else(|| "the status is empty".to_owned(), |phase| format!("the phase is {phase}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_compose_and_say_what_they_saw() {
        let pod = json!({"status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}]}});
        let seen = Condition::is("PodScheduled").test(&pod).unwrap_err();
        assert_eq!(seen, "PodScheduled=False Unschedulable 0/2 nodes");
        let phase = |value: &'static str| Condition::field("/status/phase", value);
        assert!(phase("Pending").or(Condition::is("Ready")).test(&pod).is_ok());
        let both = phase("Pending").and(Condition::is("Ready"));
        assert_eq!(both.test(&pod).unwrap_err(), "no condition Ready; the phase is Pending");
        assert_eq!(both.what, "has /status/phase = \"Pending\" and is Ready");
    }
}
