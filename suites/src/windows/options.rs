//! `windowsOptions`: HostProcess pods, `runAsUserName`, GMSA; and the values of `spec.os.name`.

use http::Method;
use serde_json::{Value, json};

use super::{BOTH, NEWEST, accepted, common, pod, refused};
use crate::cluster::{Claim, Ctx, Ref, Requirement, Stop};
use crate::trial::Trial;

/// The document about HostProcess pods.
const HOST_PROCESS: (&str, &str) = (
    "Create a Windows HostProcess Pod",
    "https://kubernetes.io/docs/tasks/configure-pod-container/create-hostprocess-pod/",
);
const RUN_AS_USER_NAME: (&str, &str) = (
    "Configure RunAsUserName for Windows pods and containers",
    "https://kubernetes.io/docs/tasks/configure-pod-container/configure-runasusername/",
);
const GMSA: (&str, &str) = (
    "Configure GMSA for Windows Pods and containers",
    "https://kubernetes.io/docs/tasks/configure-pod-container/configure-gmsa/",
);

/// A HostProcess pod: what is set where, and the refusal, if there is one.
#[derive(Debug, Clone, Copy)]
struct HostProcess {
    id: &'static str,
    title: &'static str,
    pod: Option<bool>,
    containers: &'static [Option<bool>],
    init: Option<Option<bool>>,
    network: bool,
    refusal: Option<&'static str>,
}

const ALL_OF_THEM: &str = "then all containers must be HostProcess containers";
const IDENTICAL: &str = "pod hostProcess value must be identical if both are specified";

const HOST_PROCESSES: [HostProcess; 8] = [
    HostProcess {
        id: "pod",
        title: "A pod whose pod-level hostProcess is true is accepted with hostNetwork",
        pod: Some(true),
        containers: &[None, None],
        init: Some(None),
        network: true,
        refusal: None,
    },
    HostProcess {
        id: "containers",
        title: "A pod with hostProcess true on every container is accepted with hostNetwork",
        pod: None,
        containers: &[Some(true), Some(true)],
        init: Some(Some(true)),
        network: true,
        refusal: None,
    },
    HostProcess {
        id: "off",
        title: "A pod with hostProcess false needs no hostNetwork",
        pod: Some(false),
        containers: &[Some(false)],
        init: None,
        network: false,
        refusal: None,
    },
    HostProcess {
        id: "host-network",
        title: "A HostProcess pod without hostNetwork is refused",
        pod: Some(true),
        containers: &[None],
        init: None,
        network: false,
        refusal: Some("hostNetwork must be true if pod contains any hostProcess containers"),
    },
    HostProcess {
        id: "mixed",
        title: "A pod with HostProcess and other containers is refused",
        pod: None,
        containers: &[Some(true), None],
        init: None,
        network: true,
        refusal: Some(ALL_OF_THEM),
    },
    HostProcess {
        id: "mixed-init",
        title: "A HostProcess pod with an init container of another kind is refused",
        pod: None,
        containers: &[Some(true)],
        init: Some(None),
        network: true,
        refusal: Some(ALL_OF_THEM),
    },
    HostProcess {
        id: "contradiction",
        title: "A HostProcess pod with hostProcess false on a container is refused",
        pod: Some(true),
        containers: &[Some(false)],
        init: None,
        network: true,
        refusal: Some(IDENTICAL),
    },
    HostProcess {
        id: "contradiction-of-container",
        title: "A container with hostProcess true in a pod with hostProcess false is refused",
        pod: Some(false),
        containers: &[Some(true)],
        init: None,
        network: true,
        refusal: Some(IDENTICAL),
    },
];

/// A value of an option, and the refusal, if there is one.
#[derive(Debug, Clone, Copy)]
struct Setting {
    id: &'static str,
    title: &'static str,
    option: &'static str,
    value: fn() -> String,
    refusal: Option<&'static str>,
}

const fn user(id: &'static str, title: &'static str, value: fn() -> String, refusal: Option<&'static str>) -> Setting {
    Setting { id, title, option: "runAsUserName", value, refusal }
}

const USERS: [Setting; 13] = [
    user("plain", "runAsUserName ContainerUser is accepted", || "ContainerUser".to_owned(), None),
    user(
        "system",
        "runAsUserName NT AUTHORITY\\NETWORK SERVICE is accepted",
        || r"NT AUTHORITY\NETWORK SERVICE".to_owned(),
        None,
    ),
    user("netbios", "runAsUserName with a NetBIOS domain is accepted", || r"CONTOSO\svc-web".to_owned(), None),
    user("dns", "runAsUserName with a DNS domain is accepted", || r"corp.example.com\svc-web".to_owned(), None),
    user("empty", "An empty runAsUserName is refused", String::new, Some("runAsUserName cannot be an empty string")),
    user(
        "control",
        "A control character in runAsUserName is refused",
        || "a\u{7}b".to_owned(),
        Some("cannot contain control characters"),
    ),
    user(
        "backslashes",
        "A second backslash in runAsUserName is refused",
        || r"a\b\c".to_owned(),
        Some("cannot contain more than one backslash"),
    ),
    user(
        "long-domain",
        "A domain of 256 characters in runAsUserName is refused",
        || format!(r"{}\u", "d".repeat(256)),
        Some("Domain length must be under 256 characters"),
    ),
    user(
        "bad-domain",
        "A domain that begins with a dot in runAsUserName is refused",
        || r".corp\u".to_owned(),
        Some("Domain doesn't match the NetBios nor the DNS format"),
    ),
    user("no-user", "runAsUserName without a user is refused", || "CONTOSO\\".to_owned(), Some("User cannot be empty")),
    user(
        "long-user",
        "A user of 105 characters in runAsUserName is refused",
        || "u".repeat(105),
        Some("User length must not be longer than 104 characters"),
    ),
    user(
        "dots",
        "A user of nothing but dots and spaces in runAsUserName is refused",
        || ". .".to_owned(),
        Some("User cannot contain only periods or spaces"),
    ),
    user(
        "characters",
        "A user with the character * in runAsUserName is refused",
        || "us*er".to_owned(),
        Some("User cannot contain the following characters"),
    ),
];

const GMSAS: [Setting; 6] = [
    Setting {
        id: "name",
        title: "A gmsaCredentialSpecName that is a DNS name is accepted",
        option: "gmsaCredentialSpecName",
        value: || "gmsa-webapp1".to_owned(),
        refusal: None,
    },
    Setting {
        id: "name-invalid",
        title: "A gmsaCredentialSpecName that is no DNS name is refused",
        option: "gmsaCredentialSpecName",
        value: || "Web_App".to_owned(),
        refusal: Some("RFC 1123 subdomain"),
    },
    Setting {
        id: "name-long",
        title: "A gmsaCredentialSpecName of 254 characters is refused",
        option: "gmsaCredentialSpecName",
        value: || "a".repeat(254),
        refusal: Some("253"),
    },
    Setting {
        id: "spec",
        title: "A gmsaCredentialSpec of 64 KiB is accepted",
        option: "gmsaCredentialSpec",
        value: || "x".repeat(64 * 1024),
        refusal: None,
    },
    Setting {
        id: "spec-empty",
        title: "An empty gmsaCredentialSpec is refused",
        option: "gmsaCredentialSpec",
        value: String::new,
        refusal: Some("gmsaCredentialSpec cannot be an empty string"),
    },
    Setting {
        id: "spec-long",
        title: "A gmsaCredentialSpec of more than 64 KiB is refused",
        option: "gmsaCredentialSpec",
        value: || "x".repeat(64 * 1024 + 1),
        refusal: Some("gmsaCredentialSpec size must be under 64 KiB"),
    },
];

pub(super) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = HOST_PROCESSES.into_iter().map(host_process).collect();
    trials.extend(USERS.into_iter().map(|one| option("user-name", one, RUN_AS_USER_NAME)));
    trials.extend(GMSAS.into_iter().map(|one| option("gmsa", one, GMSA)));
    trials.extend(others());
    trials
}

fn flag(value: Option<bool>) -> Value {
    value.map_or_else(|| json!({}), |value| json!({ "windowsOptions": { "hostProcess": value } }))
}

fn host_process_pod(ctx: &Ctx, row: HostProcess) -> Value {
    let container = |name: String, value: Option<bool>| {
        json!({
            "name": name, "image": ctx.target().image, "securityContext": flag(value),
        })
    };
    let mut pod = pod(ctx, "host-process", None);
    pod["spec"]["hostNetwork"] = row.network.into();
    pod["spec"]["securityContext"] = flag(row.pod);
    let containers = row.containers.iter().enumerate();
    pod["spec"]["containers"] = containers.map(|(number, value)| container(format!("c{number}"), *value)).collect();
    if let Some(init) = row.init {
        pod["spec"]["initContainers"] = json!([container("init".to_owned(), init)]);
    }
    pod
}

fn host_process(row: HostProcess) -> Trial {
    let claim = Claim::new(
        format!("windows.host-process.{}", row.id),
        row.title,
        BOTH,
        "privileged-forbidden",
        move |ctx| async move {
            ctx.service_account().await?;
            let attempt = ctx.dry_run(host_process_pod(&ctx, row)).await?;
            match row.refusal {
                Some(refusal) => refused(&ctx, "the pod", &attempt, &[refusal]),
                None => drop(accepted(&ctx, "the pod", attempt)?),
            }
            // The rules say nothing on a cluster that allows no HostProcess pods at all.
            let attempt = ctx.dry_run(host_process_pod(&ctx, HOST_PROCESSES[0])).await?;
            accepted(&ctx, "a valid HostProcess pod", attempt)?;
            Ok(())
        },
    );
    common(claim)
        .label("validation")
        .alias("windowsOptions.hostProcess")
        .alias("[sig-windows] [Feature:WindowsHostContainers] [MinimumKubeletVersion:1.22] HostProcess containers")
        .why("CNI plug-ins, kube-proxy and storage drivers run on Windows nodes as HostProcess pods.")
        .how("Asks the API server by dry run for the pod, and for a valid HostProcess pod.")
        .fix("Set --allow-privileged=true on the API server; look for policies that forbid HostProcess pods.")
        .basis(HOST_PROCESS.0, HOST_PROCESS.1)
        .trial()
}

fn option(group: &str, row: Setting, document: (&str, &str)) -> Trial {
    let claim =
        Claim::new(format!("windows.{group}.{}", row.id), row.title, BOTH, "windows-options-removed", move |ctx| {
            set_option(ctx, row)
        });
    common(claim)
        .label("validation")
        .alias(format!("windowsOptions.{}", row.option))
        .why("A value that the API server accepts and Windows does not leaves a pod that never starts.")
        .how("Asks the API server by dry run for a pod with the option, at the level of the pod and of a container.")
        .fix("Look for a mutating webhook or policy that changes windowsOptions.")
        .basis(document.0, document.1)
        .trial()
}

async fn set_option(ctx: Ctx, row: Setting) -> Result<(), Stop> {
    ctx.service_account().await?;
    let value = (row.value)();
    let context = json!({ "windowsOptions": { row.option: value } });
    for (subject, pointer) in [("the pod", "/spec"), ("a container", "/spec/containers/0")] {
        let mut pod = pod(&ctx, "option", None);
        if let Some(at) = pod.pointer_mut(pointer) {
            at["securityContext"] = context.clone();
        }
        let attempt = ctx.dry_run(pod).await?;
        let subject = format!("{} of {subject}", row.option);
        if let Some(refusal) = row.refusal {
            refused(&ctx, &subject, &attempt, &[row.option, refusal]);
        } else if let Some(made) = accepted(&ctx, &subject, attempt)? {
            let pointer = format!("{pointer}/securityContext/windowsOptions/{}", row.option);
            let kept = made.pointer(&pointer).and_then(Value::as_str) == Some(value.as_str());
            ctx.expect(&subject, "the value is kept", &kept, &true);
        }
    }
    Ok(())
}

fn other<F>(id: &str, title: &str, from: u32, body: impl Fn(Ctx) -> F + Send + Sync + 'static) -> Claim
where
    F: Future<Output = Result<(), Stop>> + Send + 'static,
{
    common(Claim::new(format!("windows.os.{id}"), title, [NEWEST], "os-removed", body))
        .label("validation")
        .requires(Requirement::KubernetesFrom(from))
        .alias("spec.os.name")
        .fix("Look for a mutating webhook or policy that changes spec.os.")
}

fn others() -> Vec<Trial> {
    let wrong = |value: &'static str, part: &'static str| {
        move |ctx: Ctx| async move {
            ctx.service_account().await?;
            let attempt = ctx.dry_run(pod(&ctx, "os", Some(value))).await?;
            refused(&ctx, &format!("the OS '{value}'"), &attempt, &["spec.os", part]);
            kept(&ctx).await
        }
    };
    vec![
        other(
            "unknown",
            "A pod of an OS other than linux and windows is refused",
            24,
            wrong("darwin", "Unsupported value"),
        )
        .why("A misspelled OS would pass as no OS, and nothing else of the pod would be checked.")
        .how("Asks the API server by dry run for a pod of the OS darwin.")
        .trial(),
        other("case", "spec.os.name is case-sensitive: Windows is refused", 24, wrong("Windows", "Unsupported value"))
            .why("The setup guide of v1.23 writes Windows in one place; only windows is accepted.")
            .how("Asks the API server by dry run for a pod of the OS Windows.")
            .trial(),
        other("empty", "A pod with an empty spec.os.name is refused", 24, wrong("", "Required value"))
            .why("An empty OS would pass as no OS.")
            .how("Asks the API server by dry run for a pod whose OS has an empty name.")
            .trial(),
        other("kept", "The API server keeps spec.os.name of both values", 24, |ctx| async move {
            ctx.service_account().await?;
            kept(&ctx).await
        })
        .why("The kubelet refuses pods of another OS than its own by this field.")
        .how("Asks the API server by dry run for a pod of each OS, and reads the field of the answer.")
        .trial(),
        other("immutable", "spec.os.name of a pod cannot be changed", 24, immutable)
            .why("Fields are checked against the OS when a pod is created; a later change would bypass that.")
            .how("Creates a Windows pod that fits on no node, and tries by dry run to make it a Linux pod.")
            .trial(),
        other("unset", "A pod without spec.os may have fields of either OS", 24, unset)
            .why("Pods of older manifests have no OS, and must still be accepted.")
            .how("Asks the API server by dry run for pods with runAsUser and with windowsOptions, both without an OS.")
            .trial(),
        other("run-as-non-root", "A Windows pod may set runAsNonRoot", 24, run_as_non_root)
            .why(
                "It keeps containers from running as ContainerAdministrator, and is the one shared field that Windows \
                 honors.",
            )
            .how("Asks the API server by dry run for a Windows pod with runAsNonRoot on the pod and on its container.")
            .trial(),
        other("resize", "A Windows pod cannot be resized in place", 33, resize)
            .alias("windows pods cannot be resized")
            .why("Windows containers cannot change their limits while they run.")
            .how(
                "Creates a Windows pod that fits on no node, and tries by dry run to change its CPU request by \
                 /resize.",
            )
            .trial(),
    ]
}

async fn kept(ctx: &Ctx) -> Result<(), Stop> {
    for os in ["linux", "windows"] {
        let attempt = ctx.dry_run(pod(ctx, "os", Some(os))).await?;
        let subject = format!("a {os} pod");
        if let Some(made) = accepted(ctx, &subject, attempt)? {
            ctx.expect(&subject, "spec.os.name", &made["spec"]["os"]["name"].as_str(), &Some(os));
        }
    }
    Ok(())
}

async fn immutable(ctx: Ctx) -> Result<(), Stop> {
    ctx.service_account().await?;
    let made = ctx.create(pod(&ctx, "immutable", Some("windows"))).await?;
    ctx.expect("the pod", "spec.os.name", &made["spec"]["os"]["name"].as_str(), &Some("windows"));
    let path = format!("{}?dryRun=All", Ref::new("v1", "Pod", ctx.namespace(), "immutable").path());
    let patch = json!({ "spec": { "os": { "name": "linux" } } });
    let attempt = ctx.request(Method::PATCH, &path, Some(&patch)).await?;
    refused(&ctx, "the change of spec.os.name", &attempt, &["pod updates may not change fields"]);
    Ok(())
}

async fn unset(ctx: Ctx) -> Result<(), Stop> {
    ctx.service_account().await?;
    for context in [json!({ "runAsUser": 1000 }), json!({ "windowsOptions": { "runAsUserName": "ContainerUser" } })] {
        let mut pod = pod(&ctx, "unset", None);
        pod["spec"]["securityContext"] = context.clone();
        let attempt = ctx.dry_run(pod).await?;
        accepted(&ctx, &format!("a pod without an OS and with {context}"), attempt)?;
    }
    kept(&ctx).await
}

async fn run_as_non_root(ctx: Ctx) -> Result<(), Stop> {
    ctx.service_account().await?;
    let mut pod = pod(&ctx, "non-root", Some("windows"));
    pod["spec"]["securityContext"] = json!({ "runAsNonRoot": true });
    pod["spec"]["containers"][0]["securityContext"] = json!({ "runAsNonRoot": true });
    let attempt = ctx.dry_run(pod).await?;
    if let Some(made) = accepted(&ctx, "a Windows pod with runAsNonRoot", attempt)? {
        ctx.expect("the pod", "spec.os.name", &made["spec"]["os"]["name"].as_str(), &Some("windows"));
        ctx.expect("the pod", "runAsNonRoot", &made["spec"]["securityContext"]["runAsNonRoot"], &json!(true));
    }
    Ok(())
}

async fn resize(ctx: Ctx) -> Result<(), Stop> {
    ctx.service_account().await?;
    for (os, allowed) in [("windows", false), ("linux", true)] {
        let name = format!("resize-{os}");
        ctx.create(pod(&ctx, &name, Some(os))).await?;
        let path = format!("{}/resize?dryRun=All", Ref::new("v1", "Pod", ctx.namespace(), &name).path());
        // Only resources may differ from what is there.
        let mut container =
            ctx.get(&Ref::new("v1", "Pod", ctx.namespace(), &name)).await?["spec"]["containers"][0].clone();
        container["resources"] = json!({ "requests": { "cpu": "250m", "memory": "1Gi" } });
        let patch = json!({ "spec": { "containers": [container] } });
        let attempt = ctx.request(Method::PATCH, &path, Some(&patch)).await?;
        let subject = format!("the resize of a {os} pod");
        if allowed {
            accepted(&ctx, &subject, attempt)?;
        } else {
            refused(&ctx, &subject, &attempt, &["windows pods cannot be resized"]);
        }
    }
    Ok(())
}
