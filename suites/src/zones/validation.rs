//! Constraints that the API server refuses.

use serde_json::{Value, json};

use super::spread::constraint;
use super::{NEWEST, SPREAD, common};
use crate::cluster::{Claim, Ctx, Requirement, Stop};
use crate::trial::Trial;

/// Constraints that are invalid, and the field that the refusal names.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: &'static str,
    title: &'static str,
    constraints: &'static str,
    field: &'static str,
    from: u32,
}

const ROWS: [Row; 10] = [
    Row {
        id: "skew-zero",
        title: "maxSkew 0 is refused",
        constraints: r#"[{"maxSkew":0}]"#,
        field: "maxSkew",
        from: 19,
    },
    Row {
        id: "skew-negative",
        title: "A negative maxSkew is refused",
        constraints: r#"[{"maxSkew":-1}]"#,
        field: "maxSkew",
        from: 19,
    },
    Row {
        id: "no-key",
        title: "A constraint without a topology key is refused",
        constraints: r#"[{"topologyKey":""}]"#,
        field: "topologyKey",
        from: 19,
    },
    Row {
        id: "action",
        title: "An unknown whenUnsatisfiable is refused",
        constraints: r#"[{"whenUnsatisfiable":"Never"}]"#,
        field: "whenUnsatisfiable",
        from: 19,
    },
    Row {
        id: "twice",
        title: "Two constraints of the same key and action are refused",
        constraints: "[{},{}]",
        field: "{topologyKey, whenUnsatisfiable}",
        from: 19,
    },
    Row {
        id: "domains-zero",
        title: "minDomains 0 is refused",
        constraints: r#"[{"minDomains":0}]"#,
        field: "minDomains",
        from: 27,
    },
    Row {
        id: "domains-anyway",
        title: "minDomains with ScheduleAnyway is refused",
        constraints: r#"[{"minDomains":2,"whenUnsatisfiable":"ScheduleAnyway"}]"#,
        field: "minDomains",
        from: 27,
    },
    Row {
        id: "policy",
        title: "An unknown nodeTaintsPolicy is refused",
        constraints: r#"[{"nodeTaintsPolicy":"Sometimes"}]"#,
        field: "nodeTaintsPolicy",
        from: 26,
    },
    Row {
        id: "keys-without-selector",
        title: "matchLabelKeys without a label selector is refused",
        constraints: r#"[{"matchLabelKeys":["rev"],"labelSelector":null}]"#,
        field: "matchLabelKeys",
        from: 27,
    },
    Row {
        id: "keys-overlap",
        title: "A label that is in matchLabelKeys and in the selector is refused",
        constraints: r#"[{"matchLabelKeys":["app"]}]"#,
        field: "matchLabelKeys",
        from: 27,
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let of = |row: Row| {
        let claim = Claim::new(
            format!("zones.validation.{}", row.id),
            row.title,
            [NEWEST],
            "constraints-removed",
            move |ctx| run(ctx, row),
        );
        common(claim)
            .label("validation")
            .requires(Requirement::KubernetesFrom(row.from))
            .basis(SPREAD.0, SPREAD.1)
            .alias(format!("spec.topologySpreadConstraints[0].{}", row.field))
            .why("A constraint that is accepted and cannot be met, or means nothing, spreads nothing.")
            .how("Asks the API server by dry run for a pod with the constraints, and for one with a valid constraint.")
            .fix("Look for a mutating webhook or policy that changes topologySpreadConstraints.")
            .trial()
    };
    ROWS.into_iter().map(of).collect()
}

async fn run(ctx: Ctx, row: Row) -> Result<(), Stop> {
    ctx.service_account().await?;
    let with = |constraints: &[Value]| {
        let all: Value = constraints.iter().map(constraint).collect();
        ctx.bare_pod("pod", &[("app", "x"), ("rev", "1")], &json!({ "topologySpreadConstraints": all }))
    };
    let constraints: Vec<Value> = serde_json::from_str(row.constraints).unwrap_or_default();
    match ctx.dry_run(with(&constraints)).await? {
        Err(why) if why.code == 422 && why.message.contains(row.field) => {}
        Err(why) => {
            ctx.breach("the pod", format!("refused for another reason: {why}; expected one about {}", row.field))
        }
        Ok(_) => {
            ctx.breach("the pod", format!("{} is accepted; expected a refusal about {}", row.constraints, row.field))
        }
    }
    match ctx.dry_run(with(&[json!({})])).await? {
        Ok(made) => {
            let kept = made["spec"]["topologySpreadConstraints"].as_array().map_or(0, Vec::len);
            ctx.expect("a pod with a valid constraint", "how many constraints are kept", &kept, &1);
        }
        Err(why) => ctx.breach("a pod with a valid constraint", format!("a valid constraint is refused: {why}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_json() {
        for row in ROWS {
            assert!(serde_json::from_str::<Vec<Value>>(row.constraints).is_ok(), "{}", row.id);
        }
    }
}
