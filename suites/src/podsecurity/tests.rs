use seaworthy_objects::manifest::Manifests;
use seaworthy_objects::podsecurity::cases::{cases, wrap};
use seaworthy_objects::podsecurity::{Control, Evaluator, Kind, Policy};

use seaworthy_objects::podsecurity::Level;

use super::*;
use crate::objects::Standard;

fn objects(policy: &str, text: &str) -> Objects {
    let policy: Policy = policy.parse().unwrap();
    let standard = Standard { policy, evaluator: Evaluator::NEWEST };
    Objects::of("test".to_owned(), Manifests::of_text("dir/a.yaml", text), standard)
}

fn run(id: &str, objects: &Objects) -> Verdict {
    let trials = podsecurity_suite().trials;
    trials.iter().find(|trial| trial.info.id == id).unwrap().run_on_objects(objects)
}

fn lines(verdict: &Verdict) -> Vec<u32> {
    verdict.findings.iter().map(|finding| finding.at.as_ref().unwrap().line.unwrap()).collect()
}

const GOOD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: good}\n\
                    spec:\n  securityContext:\n    runAsNonRoot: true\n\
                    \x20   seccompProfile: {type: RuntimeDefault}\n  containers:\n  - name: c\n    image: i\n\
                    \x20   securityContext:\n      allowPrivilegeEscalation: false\n\
                    \x20     capabilities: {drop: [ALL]}\n";

#[test]
fn each_control_fails_for_the_cases_that_it_refuses_and_holds_for_the_others() {
    for (control, page) in &pages::CONTROLS {
        let mut seen = [0, 0];
        let level = if control.level() == Level::Baseline { "baseline:latest" } else { "restricted:latest" };
        let policy: Policy = level.parse().unwrap();
        for case in cases() {
            let objects = objects(level, &wrap(Kind::Deployment, &case.pod).to_string());
            let (_, judged) = objects.workloads().next().unwrap();
            let violations = Evaluator::NEWEST.evaluate(policy, &judged.pod);
            let refused = violations.iter().any(|violation| violation.control == *control);
            let verdict = run(page.id, &objects);
            let wanted = if refused { Outcome::Fail } else { Outcome::Pass };
            assert_eq!(verdict.outcome, wanted, "{}: {}: {verdict:?}", page.id, case.name);
            assert_eq!(verdict.findings.is_empty(), !refused);
            assert!(verdict.findings.iter().all(|finding| finding.at.as_ref().unwrap().line.is_some()));
            seen[usize::from(refused)] += 1;
        }
        assert!(seen[0] > 0 && seen[1] > 0, "{}: {seen:?}", page.id);
    }
    assert_eq!(pages::CONTROLS.map(|(control, _)| control), Control::ALL);
}

#[test]
fn findings_name_object_container_field_file_and_line() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n\
                spec:\n  template:\n    spec:\n\
                \x20     hostNetwork: true\n      containers:\n      - name: c\n        securityContext:\n\
                \x20         privileged: true\n        ports:\n        - containerPort: 80\n          hostPort: 80\n";
    let objects = objects("restricted:latest", text);
    let verdict = run("podsecurity.baseline.privileged", &objects);
    let line = "Deployment shop/web: container \"c\" sets securityContext.privileged (found true, expected false, or \
                none) [dir/a.yaml:11]";
    assert_eq!(verdict.findings[0].line(), line);
    let field = "Deployment shop/web: spec.template.spec.containers[0].securityContext.privileged";
    assert_eq!(verdict.findings[0].subject, field);
    let said = "violates PodSecurity \"restricted:latest\": privileged (container \"c\" must not set \
                securityContext.privileged=true)";
    assert_eq!(verdict.evidence[0].value, said);
    let missing = run("podsecurity.restricted.seccomp", &objects);
    let line = "Deployment shop/web: container \"c\" does not set securityContext.seccompProfile.type (expected \
                RuntimeDefault or Localhost, here or for the pod) [dir/a.yaml:10]";
    assert_eq!(missing.findings[0].line(), line);
    assert_eq!(lines(&run("podsecurity.baseline.host-namespaces", &objects)), [7]);
    assert_eq!(lines(&run("podsecurity.baseline.host-ports", &objects)), [14]);
}

#[test]
fn what_a_policy_does_not_have_is_not_applicable_and_what_is_hidden_undetermined() {
    let outcome = |policy: &str, id: &str, text: &str| run(id, &objects(policy, text)).outcome;
    let seccomp = "podsecurity.restricted.seccomp";
    assert_eq!(outcome("baseline:latest", seccomp, GOOD), Outcome::NotApplicable);
    assert_eq!(outcome("restricted:v1.18", seccomp, GOOD), Outcome::NotApplicable);
    assert_eq!(outcome("restricted:v1.19", seccomp, GOOD), Outcome::Pass);
    // The restricted control takes the place of the baseline's.
    assert_eq!(outcome("restricted:v1.19", "podsecurity.baseline.seccomp", GOOD), Outcome::NotApplicable);
    let none = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
    assert_eq!(outcome("restricted:latest", seccomp, none), Outcome::NotApplicable);
    let template = format!("{GOOD}---\nkind: {{{{ .Values.kind }}}}\n");
    assert_eq!(outcome("restricted:latest", seccomp, &template), Outcome::Undetermined);
    assert_eq!(outcome("restricted:latest", "podsecurity.manifest.readable", &template), Outcome::Undetermined);
    // What fails does so whatever is hidden.
    let bad = template.replace("{type: RuntimeDefault}", "{type: Unconfined}");
    assert_eq!(outcome("restricted:latest", seccomp, &bad), Outcome::Fail);
    let misfit = GOOD.replace("runAsNonRoot: true", "runAsNonRoot: \"true\"");
    assert_eq!(outcome("restricted:latest", "podsecurity.manifest.decodes", &misfit), Outcome::Fail);
    assert_eq!(outcome("restricted:latest", seccomp, &misfit), Outcome::Undetermined);
    assert_eq!(outcome("restricted:latest", "podsecurity.manifest.readable", "a: [\n"), Outcome::Fail);
    assert_eq!(outcome("restricted:latest", "podsecurity.manifest.readable", "a: 1\na: 2\n"), Outcome::Fail);
}

/// `E` stands for the enforce label, and so on.
fn namespace(labels: &str) -> String {
    let labels = labels.replace('E', "pod-security.kubernetes.io/enforce");
    let labels =
        labels.replace('A', "pod-security.kubernetes.io/audit").replace('W', "pod-security.kubernetes.io/warn");
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    {labels}\n")
}

#[test]
fn each_claim_about_namespaces_fails_for_one_that_is_wrong_and_holds_for_one_that_is_right() {
    let right = namespace("E: restricted\n    A: restricted");
    let pod = GOOD.replace("{name: good}", "{name: good, namespace: shop}");
    let host = pod.replace("spec:\n", "spec:\n  hostPID: true\n");
    let with = |labels: &str, pod: &str| format!("{}---\n{pod}", namespace(labels));
    let configuration = |names: &str| {
        format!(
            "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n\
             exemptions:\n  namespaces: [{names}]\n"
        )
    };
    for (id, wrong, right, line) in [
        ("namespace.labels", namespace("team: a"), right.clone(), 4),
        ("namespace.label-values", namespace("E: strict"), right.clone(), 6),
        ("namespace.label-names", namespace("Ed: restricted"), right.clone(), 6),
        ("namespace.modes", namespace("E: restricted"), right.clone(), 4),
        ("namespace.level", namespace("E: baseline"), right.clone(), 6),
        ("namespace.pinned", namespace("E: baseline\n    E-version: v1.30"), right.clone(), 7),
        ("namespace.future", namespace("E: baseline\n    E-version: v1.99"), right.clone(), 7),
        ("namespace.workloads", with("E: baseline", &host), with("E: baseline", &pod), 12),
        ("namespace.next-level", with("E: privileged", &host), with("E: privileged", &pod), 12),
        ("exemptions", configuration("kube-system, shop"), configuration("kube-system"), 4),
    ] {
        let id = format!("podsecurity.{id}");
        let verdict = run(&id, &objects("restricted:latest", &wrong));
        assert_eq!((verdict.outcome, lines(&verdict)), (Outcome::Fail, vec![line]), "{id}: {verdict:?}");
        assert_eq!(run(&id, &objects("restricted:latest", &right)).outcome, Outcome::Pass, "{id}");
        assert_eq!(run(&id, &objects("restricted:latest", "")).outcome, Outcome::NotApplicable, "{id}");
    }
    let bare = "apiVersion: v1\nkind: Pod\nspec:\n  containers: [{name: c}]\n";
    let drift = "podsecurity.version.drift";
    assert_eq!(run(drift, &objects("restricted:v1.7", bare)).outcome, Outcome::Fail);
    assert_eq!(run(drift, &objects("restricted:v1.7", GOOD)).outcome, Outcome::Pass);
    assert_eq!(run(drift, &objects("restricted:latest", bare)).outcome, Outcome::NotApplicable);
}

#[test]
fn the_defaults_of_the_configuration_count() {
    let text = format!(
        "{}---\napiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n\
         defaults: {{enforce: restricted, audit: restricted, warn: restricted}}\n",
        namespace("a: b")
    );
    let objects = objects("restricted:latest", &text);
    assert_eq!(run("podsecurity.namespace.labels", &objects).outcome, Outcome::Pass);
    assert_eq!(run("podsecurity.namespace.modes", &objects).outcome, Outcome::Pass);
}

#[test]
fn labels_are_proposed_for_every_namespace_that_is_named() {
    let pod = GOOD.replace("{name: good}", "{name: good, namespace: web}");
    let script = objects("baseline:latest", &format!("{}---\n{pod}", namespace("a: b"))).label_script();
    assert!(script.contains("namespace shop \\\n  pod-security.kubernetes.io/enforce=baseline"), "{script}");
    assert!(script.contains("namespace web \\\n  pod-security.kubernetes.io/enforce=baseline"), "{script}");
}
