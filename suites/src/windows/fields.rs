//! The fields that `spec.os.name` forbids: one claim a field and kind of container.

use http::Method;
use serde_json::{Value, json};

use super::{NEWEST, accepted, common, pod, refused, set};
use crate::cluster::{Attempt, Claim, Ctx, Ref, Requirement, Stop};
use crate::trial::Trial;

/// A field that a Windows pod must not have: its path, a value that is valid for Linux, and the minor since which it is
/// refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) path: &'static str,
    pub(super) value: &'static str,
    pub(super) from: u32,
}

const fn field(path: &'static str, value: &'static str, from: u32) -> Field {
    Field { path, value, from }
}

/// Below `spec`. Source: validateWindows and validatePodResources of pkg/apis/core/validation; the minors are those in
/// which the field exists and its feature is on by default.
pub(super) const OF_PODS: [Field; 16] = [
    field("hostPID", "true", 24),
    field("hostIPC", "true", 24),
    field("hostUsers", "false", 33),
    field("shareProcessNamespace", "true", 24),
    field("resources", r#"{"limits":{"cpu":"1"}}"#, 34),
    field("securityContext.appArmorProfile", r#"{"type":"RuntimeDefault"}"#, 30),
    field("securityContext.seLinuxOptions", r#"{"level":"s0:c1,c2"}"#, 24),
    field("securityContext.seLinuxChangePolicy", r#""MountOption""#, 33),
    field("securityContext.seccompProfile", r#"{"type":"RuntimeDefault"}"#, 24),
    field("securityContext.fsGroup", "1000", 24),
    field("securityContext.fsGroupChangePolicy", r#""Always""#, 24),
    field("securityContext.sysctls", r#"[{"name":"kernel.shm_rmid_forced","value":"0"}]"#, 24),
    field("securityContext.runAsUser", "1000", 24),
    field("securityContext.runAsGroup", "1000", 24),
    field("securityContext.supplementalGroups", "[1000]", 24),
    field("securityContext.supplementalGroupsPolicy", r#""Merge""#, 33),
];

/// Below `securityContext` of each container.
pub(super) const OF_CONTAINERS: [Field; 10] = [
    field("appArmorProfile", r#"{"type":"RuntimeDefault"}"#, 30),
    field("seLinuxOptions", r#"{"level":"s0:c1,c2"}"#, 24),
    field("seccompProfile", r#"{"type":"RuntimeDefault"}"#, 24),
    field("capabilities", r#"{"drop":["ALL"]}"#, 24),
    field("readOnlyRootFilesystem", "true", 24),
    field("privileged", "true", 24),
    field("allowPrivilegeEscalation", "false", 24),
    field("procMount", r#""Default""#, 33),
    field("runAsUser", "1000", 24),
    field("runAsGroup", "1000", 24),
];

/// What a Linux pod must not have.
const WINDOWS_OPTIONS: Field = field("windowsOptions", r#"{"runAsUserName":"ContainerUser"}"#, 24);

/// A list of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Containers,
    InitContainers,
    EphemeralContainers,
}

impl Of {
    const ALL: [Self; 3] = [Self::Containers, Self::InitContainers, Self::EphemeralContainers];

    fn name(self) -> &'static str {
        match self {
            Self::Containers => "containers",
            Self::InitContainers => "initContainers",
            Self::EphemeralContainers => "ephemeralContainers",
        }
    }

    /// As part of an id.
    fn slug(self) -> &'static str {
        match self {
            Self::Containers => "container",
            Self::InitContainers => "init-container",
            Self::EphemeralContainers => "ephemeral-container",
        }
    }
}

/// As part of an id: `runAsUser` is `run-as-user`.
pub(super) fn slug(path: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    let mut slug = String::new();
    let mut lower = false;
    for letter in last.chars() {
        if letter.is_ascii_uppercase() && lower {
            slug.push('-');
        }
        lower = letter.is_ascii_lowercase();
        slug.push(letter.to_ascii_lowercase());
    }
    slug
}

fn value(field: Field) -> Value {
    serde_json::from_str(field.value).unwrap_or(Value::Null)
}

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = OF_PODS.into_iter().map(of_pod).collect();
    for of in Of::ALL {
        trials.extend(OF_CONTAINERS.into_iter().map(|field| of_container(field, of, "windows")));
        trials.push(of_container(WINDOWS_OPTIONS, of, "linux"));
    }
    trials.push(of_linux_pod());
    trials
}

fn declared(claim: Claim, field: Field, os: &str, other: &str) -> Trial {
    common(claim)
        .label("validation")
        .requires(Requirement::KubernetesFrom(field.from))
        .why(format!(
            "A kubelet of {os} cannot apply the field: a pod that is accepted with it runs without it, or not at all."
        ))
        .how(format!(
            "Asks the API server by dry run for a pod of the OS {os} with the field, and reads the refusal; the same \
             pod of the OS {other} has to be accepted.",
        ))
        .fix("Look for a mutating webhook or policy that changes spec.os, and compare the API server's version.")
        .trial()
}

fn of_pod(field: Field) -> Trial {
    let claim = Claim::new(
        format!("windows.field.pod.{}", slug(field.path)),
        format!("A Windows pod with spec.{} is refused", field.path),
        [NEWEST],
        "os-removed",
        move |ctx| in_pod(ctx, field, "windows", "linux", "for a windows pod"),
    );
    declared(claim.alias(format!("spec.{}: Forbidden", field.path)), field, "Windows", "Linux")
}

fn of_linux_pod() -> Trial {
    let field = Field { path: "securityContext.windowsOptions", ..WINDOWS_OPTIONS };
    let claim = Claim::new(
        "windows.field.linux.pod.windows-options",
        "A Linux pod with spec.securityContext.windowsOptions is refused",
        [NEWEST],
        "os-removed",
        move |ctx| in_pod(ctx, field, "linux", "windows", "windows options cannot be set for a linux pod"),
    );
    declared(claim.alias("windows options cannot be set for a linux pod"), field, "Linux", "Windows")
}

async fn in_pod(ctx: Ctx, field: Field, os: &str, other: &str, wanted: &str) -> Result<(), Stop> {
    ctx.service_account().await?;
    let with = |os: &str| {
        let mut pod = pod(&ctx, "field", Some(os));
        set(&mut pod["spec"], field.path, value(field));
        pod
    };
    let path = format!("spec.{}", field.path);
    let attempt = ctx.dry_run(with(os)).await?;
    refused(&ctx, &format!("{path} of a {os} pod"), &attempt, &[&format!("{path}: Forbidden"), wanted]);
    let attempt = ctx.dry_run(with(other)).await?;
    accepted(&ctx, &format!("{path} of a {other} pod"), attempt)?;
    Ok(())
}

fn of_container(field: Field, of: Of, os: &'static str) -> Trial {
    let (other, prefix, title) =
        if os == "windows" { ("linux", "", "A Windows pod") } else { ("windows", "linux.", "A Linux pod") };
    let claim = Claim::new(
        format!("windows.field.{prefix}{}.{}", of.slug(), slug(field.path)),
        format!("{title} with spec.{}[*].securityContext.{} is refused", of.name(), field.path),
        [NEWEST],
        "os-removed",
        move |ctx| in_container(ctx, field, of, os, other),
    );
    let alias = format!("spec.{}[0].securityContext.{}: Forbidden", of.name(), field.path);
    let (os, other) = if os == "windows" { ("Windows", "Linux") } else { ("Linux", "Windows") };
    declared(claim.alias(alias), field, os, other)
}

async fn in_container(ctx: Ctx, field: Field, of: Of, os: &str, other: &str) -> Result<(), Stop> {
    ctx.service_account().await?;
    let context = json!({ field.path: value(field) });
    let path = format!("spec.{}[0].securityContext.{}", of.name(), field.path);
    let wanted = if os == "windows" { "cannot be set for a windows pod" } else { "cannot be set for a linux pod" };
    let attempt = with_container(&ctx, of, os, &context).await?;
    refused(&ctx, &format!("{path} of a {os} pod"), &attempt, &[&format!("{path}: Forbidden"), wanted]);
    let attempt = with_container(&ctx, of, other, &context).await?;
    accepted(&ctx, &format!("{path} of a {other} pod"), attempt)?;
    Ok(())
}

/// What becomes of a pod with a container of this security context.
async fn with_container(ctx: &Ctx, of: Of, os: &str, context: &Value) -> Result<Attempt, Stop> {
    let image = &ctx.target().image;
    let container = json!({ "name": "field", "image": image, "securityContext": context });
    match of {
        Of::Containers => {
            let mut pod = pod(ctx, "field", Some(os));
            pod["spec"]["containers"] = json!([container]);
            ctx.dry_run(pod).await
        }
        Of::InitContainers => {
            let mut pod = pod(ctx, "field", Some(os));
            pod["spec"]["initContainers"] = json!([container]);
            ctx.dry_run(pod).await
        }
        Of::EphemeralContainers => {
            // Ephemeral containers are added to pods that exist. No node has the label that this one selects.
            let name = format!("field-{os}");
            ctx.create(pod(ctx, &name, Some(os))).await?;
            let place = Ref::new("v1", "Pod", ctx.namespace(), &name);
            let path = format!("{}/ephemeralcontainers?dryRun=All", place.path());
            let patch = json!({ "spec": { "ephemeralContainers": [container] } });
            ctx.request(Method::PATCH, &path, Some(&patch)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_json_and_ids_read_well() {
        for field in OF_PODS.into_iter().chain(OF_CONTAINERS) {
            assert!(serde_json::from_str::<Value>(field.value).is_ok(), "{}", field.path);
        }
        assert_eq!(slug("securityContext.runAsUser"), "run-as-user");
        assert_eq!(slug("hostPID"), "host-pid");
        assert_eq!(slug("securityContext.seLinuxOptions"), "se-linux-options");
    }
}
