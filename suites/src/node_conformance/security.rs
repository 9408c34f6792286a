//! Security contexts: users, groups, capabilities, privileges, read-only roots, seccomp and sysctls.

use serde_json::{Value, json};

use super::Area;
use super::upstream::Covers as _;
use crate::cluster::{Ctx, Pod, Requirement, Stop, container, container_is};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "security",
    caught_by: "runtime-grants-everything",
    why: "A container with more rights than its pod says can take over the node; one with fewer does not work.",
    how: "Runs a pod with the security context, and reads from inside who it is and what the kernel lets it do.",
    fix: "Look for a wrapper around the OCI runtime or an NRI plug-in, and at the runtime's default profiles.",
    basis: (
        "Configure a Security Context for a Pod or Container",
        "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/",
    ),
};

/// What a runtime that takes rights away is caught by, rather than one that grants all.
const DENIED: Area = Area { caught_by: "runtime-denies-everything", ..AREA };
const STRIPPED: Area = Area { caught_by: "security-contexts-are-stripped", ..AREA };

/// Bits of capability sets (linux/capability.h).
const NET_BIND_SERVICE: u32 = 10;
const NET_ADMIN: u32 = 12;
const SYS_ADMIN: u32 = 21;
const SYS_TIME: u32 = 25;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = users();
    trials.extend(privileges());
    trials.extend(sysctls());
    trials
}

async fn id(ctx: &Ctx, pod: Value, main: Value) -> Result<String, Stop> {
    let pod = Pod::new("id", "id").spec(json!({ "securityContext": pod })).main(json!({ "securityContext": main }));
    ctx.output(&pod).await
}

/// A set of capabilities that `id` printed.
fn set(printed: &str, name: &str) -> u64 {
    let start = format!("{name}=");
    let text = printed.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default();
    u64::from_str_radix(text, 16).unwrap_or_default()
}

fn has(printed: &str, name: &str, capability: u32) -> bool {
    set(printed, name) & (1 << capability) != 0
}

fn users() -> Vec<Trial> {
    vec![
        AREA.claim("user-non-root", "runAsUser is the user of a container", |ctx| async move {
            let printed = id(&ctx, json!({}), json!({ "runAsUser": 65534 })).await?;
            ctx.prints("the user", &printed, "uid=65534 euid=65534 ");
            Ok(())
        })
        .covers("Security Context When creating a container with runAsUser should run the container with uid 65534")
        .trial(),
        DENIED
            .claim("user-root", "runAsUser 0 is root, also where the pod says another one", |ctx| async move {
                let printed = id(&ctx, json!({ "runAsUser": 1000 }), json!({ "runAsUser": 0 })).await?;
                ctx.prints("the user", &printed, "uid=0 euid=0 ");
                Ok(())
            })
            .covers("Security Context When creating a container with runAsUser should run the container with uid 0")
            .trial(),
        AREA.claim(
            "groups",
            "runAsGroup, supplementalGroups and fsGroup are the groups of a \
                              container",
            |ctx| async move {
                let pod =
                    json!({ "runAsUser": 1000, "runAsGroup": 3000, "supplementalGroups": [4000], "fsGroup": 5000 });
                let printed = id(&ctx, pod, json!({})).await?;
                ctx.prints("the group", &printed, " gid=3000 egid=3000");
                let groups = printed.lines().find_map(|line| line.strip_prefix("groups=")).unwrap_or_default();
                let groups: Vec<_> = groups.split(',').collect();
                for group in ["4000", "5000"] {
                    ctx.expect(group, "it is among the groups", &groups.contains(&group), &true);
                }
                Ok(())
            },
        )
        .alias("supplementalGroups")
        .trial(),
        STRIPPED
            .claim("non-root-explicit", "runAsNonRoot lets a user other than root run", |ctx| async move {
                let printed = id(&ctx, json!({}), json!({ "runAsNonRoot": true, "runAsUser": 1234 })).await?;
                ctx.prints("the user", &printed, "uid=1234 ");
                Ok(())
            })
            .covers(
                "Security Context When creating a container with runAsNonRoot should run with an explicit \
                     non-root user ID",
            )
            .trial(),
        STRIPPED
            .claim("non-root-but-root", "runAsNonRoot refuses to run as root", |ctx| async move {
                let message = refused(&ctx, json!({ "runAsNonRoot": true, "runAsUser": 0 })).await?;
                ctx.prints("the refusal", &message, "breaks non-root policy");
                Ok(())
            })
            .covers(
                "Security Context When creating a container with runAsNonRoot should not run with an \
                     explicit root user ID",
            )
            .trial(),
        STRIPPED
            .claim("non-root-of-image", "runAsNonRoot refuses an image without a user", |ctx| async move {
                let message = refused(&ctx, json!({ "runAsNonRoot": true })).await?;
                ctx.prints("the refusal", &message, "image will run as root");
                Ok(())
            })
            .covers(
                "Security Context When creating a container with runAsNonRoot should not run without a \
                     specified user ID",
            )
            .trial(),
    ]
}

/// The kubelet does not create the container; why.
async fn refused(ctx: &Ctx, security: Value) -> Result<String, Stop> {
    ctx.put(&Pod::new("id", "id").main(json!({ "securityContext": security }))).await?;
    let refused = container_is("is not created", "main", |status| {
        status["state"]["waiting"]["reason"] == "CreateContainerConfigError"
            || status["state"]["terminated"].is_object()
    });
    let pod = ctx.until_pod("id", &refused, std::time::Duration::from_secs(120)).await?;
    let state = &crate::cluster::status_of(&pod, "main")["state"];
    ctx.expect("id", "it waits for", &state["waiting"]["reason"].as_str(), &Some("CreateContainerConfigError"));
    Ok(state["waiting"]["message"].as_str().unwrap_or_default().to_owned())
}

/// A program with the set-user-ID bit, run by another user: what it is then.
async fn escalated(ctx: Ctx, allow: Option<bool>) -> Result<String, Stop> {
    let mounts =
        json!({ "volumeMounts": [{ "name": "dir", "mountPath": "/dir" }], "securityContext": { "runAsUser": 0 } });
    let copy = super::merged(container("copy", "copy /seaworthy /dir/program 4755"), mounts);
    let mut security = json!({ "runAsUser": 1000 });
    if let Some(allow) = allow {
        security["allowPrivilegeEscalation"] = allow.into();
    }
    let pod = Pod::new("escalation", "run /dir/program id")
        .init(copy)
        .main(json!({ "securityContext": security }))
        .volume("dir", "/dir", json!({ "emptyDir": {} }));
    ctx.output(&pod).await
}

fn privileges() -> Vec<Trial> {
    let escalation = "Security Context when creating containers with AllowPrivilegeEscalation";
    vec![
        AREA.claim(
            "no-escalation",
            "Without allowPrivilegeEscalation a set-user-ID program gains \
                                     nothing",
            |ctx| async move {
                let printed = escalated(ctx.clone(), Some(false)).await?;
                ctx.prints("the user", &printed, "uid=1000 euid=1000 ");
                ctx.line("the process", &printed, "no-new-privs=1");
                Ok(())
            },
        )
        .covers(&format!("{escalation} should not allow privilege escalation when false"))
        .trial(),
        DENIED
            .claim(
                "escalation",
                "With allowPrivilegeEscalation a set-user-ID program becomes its \
                                  owner",
                |ctx| async move {
                    let printed = escalated(ctx.clone(), Some(true)).await?;
                    ctx.prints("the user", &printed, "uid=1000 euid=0 ");
                    Ok(())
                },
            )
            .covers(&format!("{escalation} should allow privilege escalation when true"))
            .trial(),
        DENIED
            .claim(
                "default-escalation",
                "A set-user-ID program becomes its owner where nothing is said \
                                          of it",
                |ctx| async move {
                    let printed = escalated(ctx.clone(), None).await?;
                    ctx.prints("the user", &printed, "uid=1000 euid=0 ");
                    Ok(())
                },
            )
            .covers(&format!("{escalation} should allow privilege escalation when not explicitly set and uid != 0"))
            .trial(),
        AREA.claim(
            "read-only-root",
            "With readOnlyRootFilesystem nothing can be written to \
                                      the root",
            |ctx| async move {
                let pod = Pod::new(
                    "writer",
                    "try write /file text; \
                                          echo over",
                )
                .main(json!({ "securityContext": { "readOnlyRootFilesystem": true } }));
                let printed = ctx.output(&pod).await?;
                ctx.line("writing", &printed, "failed EROFS");
                Ok(())
            },
        )
        .covers(
            "Security Context When creating a pod with readOnlyRootFilesystem should run the container \
                 with readonly rootfs when readOnlyRootFilesystem=true",
        )
        .covers("Kubelet when scheduling a read only busybox container should not write to root filesystem")
        .trial(),
        DENIED
            .claim("writable-root", "Without readOnlyRootFilesystem the root can be written to", |ctx| async move {
                let pod = Pod::new("writer", "write /file text; cat /file")
                    .main(json!({ "securityContext": { "readOnlyRootFilesystem": false } }));
                let printed = ctx.output(&pod).await?;
                ctx.line("writing", &printed, "text");
                Ok(())
            })
            .covers(
                "Security Context When creating a pod with readOnlyRootFilesystem should run the \
                     container with writable rootfs when readOnlyRootFilesystem=false",
            )
            .trial(),
        AREA.claim(
            "unprivileged",
            "A container that is not privileged cannot administer the system",
            |ctx| async move {
                let pod = Pod::new("unprivileged", "try set-hostname other; id")
                    .main(json!({ "securityContext": { "privileged": false } }));
                let printed = ctx.output(&pod).await?;
                ctx.line("setting the host name", &printed, "failed EPERM");
                ctx.expect("effective", "it has CAP_SYS_ADMIN", &has(&printed, "effective", SYS_ADMIN), &false);
                ctx.expect("effective", "it has CAP_NET_ADMIN", &has(&printed, "effective", NET_ADMIN), &false);
                Ok(())
            },
        )
        .covers(
            "Security Context When creating a pod with privileged should run the container as \
                 unprivileged when false",
        )
        .trial(),
        DENIED
            .claim(
                "privileged",
                "A privileged container can administer its system, one beside it \
                                  cannot",
                |ctx| async move {
                    let other = container("other", "try set-hostname other; id");
                    let pod = Pod::new("privileged", "set-hostname mine; hostname; id").and(other);
                    let printed = ctx.output(&pod.main(json!({ "securityContext": { "privileged": true } }))).await?;
                    ctx.line("the privileged container", &printed, "mine");
                    ctx.expect("effective", "it has CAP_NET_ADMIN", &has(&printed, "effective", NET_ADMIN), &true);
                    let printed = ctx.logs("privileged", "other").await?;
                    ctx.line("the container beside it", &printed, "failed EPERM");
                    Ok(())
                },
            )
            .covers("PrivilegedPod should enable privileged commands")
            .trial(),
        AREA.claim("capabilities", "Capabilities are added and dropped as a container says", |ctx| async move {
            let security = json!({ "capabilities": { "add": ["SYS_TIME"], "drop": ["NET_BIND_SERVICE"] } });
            let printed = id(&ctx, json!({}), security).await?;
            ctx.expect("effective", "it has CAP_SYS_TIME", &has(&printed, "effective", SYS_TIME), &true);
            ctx.expect(
                "effective",
                "it has CAP_NET_BIND_SERVICE",
                &has(&printed, "effective", NET_BIND_SERVICE),
                &false,
            );
            ctx.expect("bounding", "it has CAP_NET_BIND_SERVICE", &has(&printed, "bounding", NET_BIND_SERVICE), &false);
            Ok(())
        })
        .alias("capabilities")
        .trial(),
        AREA.claim("no-capabilities", "A container that drops all capabilities has none", |ctx| async move {
            let printed = id(&ctx, json!({}), json!({ "capabilities": { "drop": ["ALL"] } })).await?;
            for name in ["effective", "permitted", "bounding"] {
                ctx.expect(name, "the set", &set(&printed, name), &0);
            }
            Ok(())
        })
        .alias("drop ALL")
        .trial(),
        AREA.claim("seccomp-default", "The profile RuntimeDefault filters system calls", |ctx| async move {
            let printed = id(&ctx, json!({ "seccompProfile": { "type": "RuntimeDefault" } }), json!({})).await?;
            ctx.line("the process", &printed, "seccomp=2");
            Ok(())
        })
        .alias("seccompProfile")
        .trial(),
        DENIED
            .claim("seccomp-unconfined", "The profile Unconfined filters nothing", |ctx| async move {
                let printed = id(&ctx, json!({ "seccompProfile": { "type": "Unconfined" } }), json!({})).await?;
                ctx.line("the process", &printed, "seccomp=0");
                Ok(())
            })
            .alias("seccomp Unconfined")
            .trial(),
        AREA.claim(
            "pid-namespace",
            "Containers do not see each other's processes unless the pod \
                                     says so",
            |ctx| async move {
                for share in [false, true] {
                    let name = format!("share-{share}");
                    let pod = Pod::new(&name, "list /proc").spec(json!({ "shareProcessNamespace": share }));
                    let printed = ctx.output(&pod).await?;
                    let processes = printed.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).count();
                    // Beside it there is the pause process, which is then the first.
                    ctx.expect(&name, "it sees more than one process", &(processes > 1), &share);
                }
                Ok(())
            },
        )
        .alias("shareProcessNamespace")
        .trial(),
    ]
}

fn sysctls() -> Vec<Trial> {
    let basis = |claim: crate::cluster::Claim| {
        claim.basis(
            "Using sysctls in a Kubernetes Cluster",
            "https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/",
        )
    };
    let set = |id: &'static str, title: &'static str, name: &'static str, words: &'static str| {
        let claim = AREA.claim(id, title, move |ctx| async move {
            let sysctls = json!({ "securityContext": { "sysctls": [{ "name": name, "value": "1" }] } });
            let pod = Pod::new("sysctls", "cat /proc/sys/kernel/shm_rmid_forced").spec(sysctls);
            let printed = ctx.output(&pod).await?;
            ctx.line("kernel.shm_rmid_forced", &printed, "1");
            Ok(())
        });
        basis(claim).covers(&format!("Sysctls {words}")).trial()
    };
    vec![
        set("sysctl", "A safe sysctl is set for a pod", "kernel.shm_rmid_forced", "should support sysctls"),
        set(
            "sysctl-slashes",
            "A sysctl may be written with slashes",
            "kernel/shm_rmid_forced",
            "should support sysctls with slashes as separator",
        ),
        basis(STRIPPED.claim(
            "sysctl-invalid",
            "Sysctls with wrong names are refused, and only those are named",
            |ctx| async move {
                let sysctls: Vec<_> = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."]
                    .iter()
                    .map(|name| json!({ "name": name, "value": "100000000" }))
                    .collect();
                let pod = Pod::new("sysctls", "exit 0").spec(json!({ "securityContext": { "sysctls": sysctls } }));
                match ctx.try_put(&pod).await? {
                    Ok(_) => ctx.breach("sysctls", "the pod is accepted"),
                    Err(why) => {
                        for (name, named) in [
                            ("\"foo-\"", true),
                            ("\"bar..\"", true),
                            ("safe-and-unsafe", false),
                            ("kernel.shmmax", false),
                        ] {
                            ctx.expect(name, "the refusal names it", &why.message.contains(name), &named);
                        }
                    }
                }
                Ok(())
            },
        ))
        .covers("Sysctls should reject invalid sysctls")
        .trial(),
        basis(Area { caught_by: "unsafe-sysctls-are-allowed", ..AREA }.claim(
            "sysctl-unsafe",
            "The kubelet rejects pods with unsafe sysctls that it does not allow",
            |ctx| async move {
                let sysctls =
                    json!({ "securityContext": { "sysctls": [{ "name": "kernel.msgmax", "value": "65536" }] } });
                ctx.put(&Pod::new("sysctls", "exit 0").spec(sysctls)).await?;
                let pod = ctx.ended("sysctls").await?;
                ctx.expect("sysctls", "its phase", &pod["status"]["phase"].as_str(), &Some("Failed"));
                ctx.expect("sysctls", "its reason", &pod["status"]["reason"].as_str(), &Some("SysctlForbidden"));
                Ok(())
            },
        ))
        .covers("Sysctls should not launch unsafe, but not explicitly enabled sysctls on the node")
        .requires(Requirement::KubernetesFrom(19))
        .trial(),
    ]
}
