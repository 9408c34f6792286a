//! What breaks a cluster so that claims of the dual-stack suite must fail.

use crate::cluster::{Defect, Families};

pub(super) static DEFECTS: [Defect; 3] = [
    Defect::raised(
        "families-of-the-api-server",
        "The cluster has one family where two are meant, and two where one is",
        |need| {
            need.families = match need.families {
                Families::V4 => Families::V4V6,
                Families::V6 => Families::V6V4,
                Families::V4V6 => Families::V4,
                Families::V6V4 => Families::V6,
            };
        },
    ),
    Defect::raised("order-of-families", "The families of the cluster are in the wrong order", |need| {
        need.families = match need.families {
            Families::V4 => Families::V6,
            Families::V6 => Families::V4,
            Families::V4V6 => Families::V6V4,
            Families::V6V4 => Families::V4V6,
        };
    }),
    Defect::put("no-service-defaults", "An admission policy refuses Services of the type ExternalName", |target| {
        Box::pin(async move { target.apply_defect(EXTERNAL_NAME_POLICY).await })
    }),
];

/// A policy that refuses Services of the type ExternalName, as an overzealous guard does.
const EXTERNAL_NAME_POLICY: &str = r#"[
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy",
 "metadata":{"name":"no-external-names"},
 "spec":{"matchConstraints":{"resourceRules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["services"]}]},
 "validations":[{"expression":"!has(object.spec.type) || object.spec.type != 'ExternalName'","message":"no external names"}]}},
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding",
 "metadata":{"name":"no-external-names"},
 "spec":{"policyName":"no-external-names","validationActions":["Deny"]}}]"#;
