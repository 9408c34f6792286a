//! Static pods and the mirror pods that the kubelet makes of them.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Area, kubelet_configuration};
use crate::cluster::{Condition, Ctx, Pod, Ref, Requirement, Stop};
use crate::trial::Trial;

const AREA: Area = Area {
    id: "static-pods",
    caught_by: "no-static-pods",
    why: "Control planes of kubeadm are static pods: where the kubelet does not run, update or end them, \
          there is no cluster.",
    how: "Puts a manifest into the kubelet's folder of static pods on the host, and watches the mirror pod at the API.",
    fix: "Look at staticPodPath in the kubelet's configuration and whether the folder exists; then into the \
          kubelet's log.",
    basis: ("Create static Pods", "https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/"),
};

/// How long the kubelet may take to see a file; it looks every twenty seconds, beside what the kernel tells it.
const SEEN: Duration = Duration::from_secs(120);

pub(super) fn trials() -> Vec<Trial> {
    let trial = |id: &'static str, title: &'static str, upstream: &'static str, body: fn(Manifest) -> super::Body| {
        AREA.claim(id, title, move |ctx| async move {
            let manifest = Manifest::place(ctx).await?;
            body(manifest).await
        })
        .alias(format!("[sig-node] MirrorPod when create a mirror pod {upstream} [NodeConformance]"))
        .requires(Requirement::KubeletFiles)
        .limit(Duration::from_mins(8))
        .trial()
    };
    vec![
        trial("created", "A static pod runs, and the API has a mirror pod of it", "is created", |m| {
            Box::pin(created(m))
        }),
        trial(
            "updated",
            "A static pod whose file changes is replaced, and so is its mirror pod",
            "should be updated when static pod updated",
            |m| Box::pin(updated(m)),
        ),
        trial(
            "deleted-gracefully",
            "A mirror pod that is deleted is made anew, and the static pod runs on",
            "should be recreated when mirror pod gracefully deleted",
            |m| Box::pin(recreated(m, None)),
        ),
        trial(
            "deleted-forcibly",
            "A mirror pod that is deleted by force is made anew, and the static pod runs on",
            "should be recreated when mirror pod forcibly deleted",
            |m| Box::pin(recreated(m, Some(0))),
        ),
        trial(
            "removed",
            "A static pod whose file is removed ends, and comes back with the file",
            "should successfully recreate when file is removed and recreated",
            |m| Box::pin(removed(m)),
        ),
        trial(
            "image-updated",
            "A static pod whose command changes runs the new one",
            "mirror pod: update container image",
            |m| Box::pin(commanded(m)),
        ),
        trial(
            "grace",
            "A static pod whose file is removed has its grace period",
            "mirror pod termination should satisfy grace period when static pod is deleted",
            |m| Box::pin(graceful(m)),
        ),
        trial(
            "deadline",
            "A static pod ends with its activeDeadlineSeconds",
            "mirror pod: update activeDeadlineSeconds",
            |m| Box::pin(deadline(m)),
        ),
    ]
}

/// A static pod being tried: its file on the host, and its mirror pod.
#[derive(Clone)]
struct Manifest {
    ctx: Ctx,
    host: String,
    path: String,
    mirror: String,
}

impl Manifest {
    /// Puts a first manifest in place.
    async fn place(ctx: Ctx) -> Result<Self, Stop> {
        let host = ctx.node().await?;
        let configuration = kubelet_configuration(&ctx).await?;
        let folder = configuration["staticPodPath"].as_str().unwrap_or_default().trim_end_matches('/');
        if folder.is_empty() {
            return Err(Stop::breach(host, "the kubelet has no staticPodPath: it runs no static pods"));
        }
        // In a namespace of its own the name of the pod may be plain.
        let path = format!("{folder}/{}.yaml", ctx.namespace());
        let one = Self { mirror: format!("static-{host}"), host, path, ctx };
        let undone = one.clone();
        one.ctx.undo(format!("remove {} from {}", one.path, one.host), async move {
            undone.remove(&undone.path).await.map_err(|stop| format!("{stop:?}"))
        });
        Ok(one)
    }

    fn pod(script: &str) -> Pod {
        Pod::new("static", script).spec(json!({ "restartPolicy": "Always", "terminationGracePeriodSeconds": 20 }))
    }

    async fn run(&self, command: &[&str]) -> Result<(), Stop> {
        let none = || Stop::Undetermined("the hosts cannot be entered".to_owned());
        let ours = self.ctx.target().ours.as_ref().ok_or_else(none)?;
        let failed = |why: String| Stop::Undetermined(format!("{} on {}: {why}", command.join(" "), self.host));
        let output = ours.exec(&self.host, command).await.map_err(|error| failed(error.to_string()))?;
        if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).into_owned())) }
    }

    /// Puts a file in place in one step.
    async fn put(&self, part: &str, path: &str, text: &str) -> Result<(), Stop> {
        if !self.ctx.target().is_local {
            let script = "printf %s \"$1\" > \"$2\" && mv \"$2\" \"$3\"";
            return self.run(&["sh", "-c", script, "sh", text, part, path]).await;
        }
        std::fs::write(part, text).and_then(|()| std::fs::rename(part, path)).map_err(|error| {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Stop::Undetermined(format!(
                "{path} cannot be written: {error}; a container needs the kubelet's folder: -v {folder}:{folder}"
            ))
        })
    }

    /// Removes a file or a folder, if it is there.
    async fn remove(&self, path: &str) -> Result<(), Stop> {
        if !self.ctx.target().is_local {
            return self.run(&["rm", "-rf", path]).await;
        }
        let removed = if Path::new(path).is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Stop::Undetermined(format!("{path} cannot be removed: {error}")))
            }
            _ => Ok(()),
        }
    }

    async fn exists(&self, path: &str) -> bool {
        if self.ctx.target().is_local {
            Path::new(path).exists()
        } else {
            self.run(&["test", "-e", path]).await.is_ok()
        }
    }

    /// Writes the file, in one step: the kubelet ignores names that begin with a dot.
    async fn write(&self, pod: &Pod) -> Result<(), Stop> {
        let mut object = pod.object(&self.host, &self.ctx.target().image);
        object["metadata"]["namespace"] = self.ctx.namespace().into();
        // A static pod is on its node by its file.
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.remove("nodeName");
        }
        self.ctx.step(format!("write {} on {}", self.path, self.host));
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let part = format!("{folder}/.{}.part", self.ctx.namespace());
        self.put(&part, &self.path, &object.to_string()).await
    }

    fn mirror(&self) -> Ref {
        self.ctx.pod(&self.mirror)
    }

    async fn running(&self) -> Result<Value, Stop> {
        self.ctx.until_pod(&self.mirror, &Condition::is("Ready"), SEEN).await
    }

    /// Waits until there is a mirror pod with another UID that is Ready.
    async fn another(&self, uid: &Value) -> Result<Value, Stop> {
        let uid = uid.clone();
        let other = Condition::new("is another one", move |pod: &Value| match pod["metadata"]["uid"] == uid {
            true => Err("it is the old one".to_owned()),
            false => Ok(()),
        });
        self.ctx.until_pod(&self.mirror, &other.and(Condition::is("Ready")), SEEN).await
    }
}

fn hash(pod: &Value) -> Option<&str> {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].as_str()
}

/// The running container, by the time at which it began.
fn began(pod: &Value) -> Option<&str> {
    crate::cluster::status_of(pod, "main")["state"]["running"]["startedAt"].as_str()
}

async fn created(m: Manifest) -> Result<(), Stop> {
    m.write(&Manifest::pod("echo static; sleep 900")).await?;
    let pod = m.running().await?;
    m.ctx.expect("the mirror pod", "it has its annotation", &hash(&pod).is_some(), &true);
    let owner = &pod["metadata"]["ownerReferences"][0];
    m.ctx.expect(
        "the mirror pod",
        "its owner",
        &(owner["kind"].as_str(), owner["name"].as_str()),
        &(Some("Node"), Some(m.host.as_str())),
    );
    m.ctx.until_printed(&m.mirror, "main", "static").await?;
    // The kubelet looks after it, whatever the API has.
    let patched = m
        .ctx
        .try_patch(&m.mirror(), &json!({ "metadata": { "annotations": { "kubernetes.io/config.mirror": "x" } } }))
        .await?;
    m.ctx.expect("the mirror pod", "its annotation can be changed", &patched.is_ok(), &false);
    Ok(())
}

async fn updated(m: Manifest) -> Result<(), Stop> {
    m.write(&Manifest::pod("echo first; sleep 900")).await?;
    let old = m.running().await?;
    m.write(&Manifest::pod("echo second; sleep 900")).await?;
    let new = m.another(&old["metadata"]["uid"]).await?;
    m.ctx.expect("the mirror pod", "its annotation is the old one", &(hash(&new) == hash(&old)), &false);
    m.ctx.until_printed(&m.mirror, "main", "second").await.map(drop)
}

async fn recreated(m: Manifest, grace: Option<u32>) -> Result<(), Stop> {
    m.write(&Manifest::pod("sleep 900")).await?;
    let old = m.running().await?;
    m.ctx.delete(&m.mirror(), grace).await?;
    let new = m.another(&old["metadata"]["uid"]).await?;
    m.ctx.expect("the mirror pod", "its annotation", &hash(&new), &hash(&old));
    m.ctx.expect("the static pod", "when its container began", &began(&new), &began(&old));
    Ok(())
}

async fn removed(m: Manifest) -> Result<(), Stop> {
    let pod = Manifest::pod("until-term; exit 0");
    m.write(&pod).await?;
    m.running().await?;
    m.remove(&m.path).await?;
    m.ctx.until_gone(&m.mirror(), SEEN).await?;
    m.write(&pod).await?;
    m.running().await.map(drop)
}

async fn commanded(m: Manifest) -> Result<(), Stop> {
    let pod = Manifest::pod("sleep 900");
    m.write(&pod).await?;
    let old = m.running().await?;
    // The same image by another name is another image to the kubelet.
    let image = m.ctx.target().image.clone();
    let other = match image.split_once('/') {
        Some(("registry.seaworthy.dev", rest)) => format!("mirror.seaworthy.dev/{rest}"),
        Some((registry, rest)) if m.ctx.target().is_local => {
            format!("{}/{rest}", registry.replace("127.0.0.1", "localhost"))
        }
        _ => image,
    };
    if other == m.ctx.target().image {
        return Err(Stop::NotApplicable("the image has one name only".to_owned()));
    }
    m.write(&pod.main(json!({ "image": other, "args": ["do", "echo other; sleep 900"] }))).await?;
    m.ctx.until_pod(&m.mirror, &Condition::field("/spec/containers/0/image", other.as_str()), SEEN).await?;
    let new = m.ctx.get(&m.mirror()).await?;
    m.ctx.expect("the mirror pod", "it is another one", &(new["metadata"]["uid"] != old["metadata"]["uid"]), &true);
    Ok(())
}

async fn graceful(m: Manifest) -> Result<(), Stop> {
    // It ends by itself, after a while, and leaves a file on the host: killed it would leave none. The file is beside
    // its manifest, where a container of ours sees it too, in a folder that the kubelet passes over.
    let folder = format!("{}.d", m.path.replace(m.ctx.namespace(), &format!(".{}", m.ctx.namespace())));
    let (undone, made) = (m.clone(), folder.clone());
    m.ctx.undo(format!("remove {folder} from {}", m.host), async move {
        undone.remove(&made).await.map_err(|stop| format!("{stop:?}"))
    });
    let pod = Manifest::pod("until-term; sleep 4; write /host/ended yes")
        .spec(json!({ "terminationGracePeriodSeconds": 60 }))
        .volume("host", "/host", json!({ "hostPath": { "path": folder, "type": "DirectoryOrCreate" } }));
    m.write(&pod).await?;
    m.running().await?;
    m.remove(&m.path).await?;
    m.ctx.until_gone(&m.mirror(), SEEN).await?;
    if !m.exists(&format!("{folder}/ended")).await {
        m.ctx.breach("the static pod", "it was killed before its grace period was over");
    }
    Ok(())
}

async fn deadline(m: Manifest) -> Result<(), Stop> {
    m.write(&Manifest::pod("sleep 900")).await?;
    m.running().await?;
    m.write(&Manifest::pod("sleep 900").spec(json!({ "activeDeadlineSeconds": 3 }))).await?;
    let failed = Condition::field("/status/reason", "DeadlineExceeded");
    m.ctx.until_pod(&m.mirror, &failed, SEEN).await.map(drop)
}
