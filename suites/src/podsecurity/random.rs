//! Pods that combine cases at random: a cluster's admission and the evaluator must agree about each.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use seaworthy_objects::podsecurity::cases::{Case, cases, combined, wrap};
use seaworthy_objects::podsecurity::{Kind, Level, Policy, Version};
use serde_json::Value;

use super::live::{OFF, Said, TOGETHER, Tally, claim, compare, create, evaluator, expected, labels, namespace, pod};
use crate::cluster::{Ctx, Stop};
use crate::random::Random;
use crate::trial::Trial;

/// How many pods: together with the cluster of the other version, 10,000.
const PODS: usize = 5_000;
/// How many cases a pod combines at most.
const MOST: usize = 4;

pub(super) fn trial() -> Trial {
    let title = format!("Admission and the evaluator agree about {PODS} random pods");
    claim("random", title, OFF, random)
        .why("Controls look at the same fields, and at each other: examples of one control alone do not show that.")
        .how(
            "Creates pods by dry run that combine the changes of up to four cases, in namespaces that enforce \
             different levels and versions; each verdict must be the evaluator's, word for word. The seed is in the \
             evidence.",
        )
        .limit(Duration::from_mins(10))
        .trial()
}

async fn random(ctx: Ctx) -> Result<(), Stop> {
    let evaluator = evaluator(&ctx);
    let mut random = Random::of(ctx.run());
    ctx.evidence("seed", random.seed().to_string());
    let versions = [Version::Latest, Version::V1(evaluator.server), Version::V1(23), Version::V1(7)];
    let policies = [Level::Baseline, Level::Restricted]
        .into_iter()
        .flat_map(|level| versions.map(|version| Policy { level, version }));
    let mut places = Vec::new();
    for (number, policy) in policies.enumerate() {
        places.push((policy, namespace(&ctx, &number.to_string(), labels("enforce", policy)).await?));
    }
    let (all, mut asked) = (cases(), Vec::new());
    for number in 0..PODS {
        let chosen: Vec<&Case> = (0..=random.below(MOST)).map(|_| random.pick(&all)).collect();
        let (policy, place) = &places[number % places.len()];
        asked.push(ask(&ctx, place, *policy, chosen));
    }
    let said: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(TOGETHER).try_collect().await?;
    let mut tally = Tally::default();
    for (names, object, policy, said) in said {
        let subject = format!("{names} by {policy}");
        compare(&ctx, &subject, policy, expected(evaluator, policy, &object), &said.attempt, &mut tally)?;
    }
    tally.report(&ctx)
}

/// Tries a pod of several cases by dry run: what it is of, the pod, the policy and the answer.
async fn ask(
    ctx: &Ctx,
    place: &str,
    policy: Policy,
    chosen: Vec<&Case>,
) -> Result<(String, Value, Policy, Said), Stop> {
    let object = wrap(Kind::Pod, &pod(&combined(&chosen)));
    let said = create(ctx, place, &object).await?;
    let names = chosen.iter().map(|case| case.name.as_str()).collect::<Vec<_>>().join(", ");
    Ok((names, object, policy, said))
}
