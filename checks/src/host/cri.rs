//! The Container Runtime Interface, spoken natively: gRPC over the runtime's Unix socket.
//!
//! Only the read-only calls that judges need, with the few messages that they carry (k8s.io/cri-api,
//! runtime/v1/api.proto).

use std::collections::HashMap;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint, Uri};

use super::live::LiveHost;
use super::{Answer, CriCall, Refusal, RefusalKind, Reply};

/// How long a runtime may take to answer. A runtime that is alive answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, PartialEq, prost::Message)]
struct VersionRequest {
    #[prost(string, tag = "1")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct VersionResponse {
    #[prost(string, tag = "2")]
    runtime_name: String,
    #[prost(string, tag = "3")]
    runtime_version: String,
    #[prost(string, tag = "4")]
    runtime_api_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRequest {
    #[prost(bool, tag = "1")]
    verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<RuntimeStatus>,
    #[prost(map = "string, string", tag = "2")]
    info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeStatus {
    #[prost(message, repeated, tag = "1")]
    conditions: Vec<RuntimeCondition>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeCondition {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(bool, tag = "2")]
    status: bool,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(string, tag = "4")]
    message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeConfigRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct RuntimeConfigResponse {
    #[prost(message, optional, tag = "1")]
    linux: Option<LinuxRuntimeConfiguration>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LinuxRuntimeConfiguration {
    /// 0 is systemd, 1 is cgroupfs.
    #[prost(int32, tag = "1")]
    cgroup_driver: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListImagesRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct ListImagesResponse {
    #[prost(message, repeated, tag = "1")]
    images: Vec<Image>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(string, repeated, tag = "2")]
    repo_tags: Vec<String>,
}

/// Components whose images are named: what else a node has is nobody's business.
const COMPONENTS: [&str; 7] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "etcd", "pause"];

/// Is it a tag of an image of Kubernetes?
pub(super) fn is_component(tag: &str) -> bool {
    if !tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@".contains(c)) {
        return false;
    }
    let name = tag.rsplit('/').next().and_then(|last| last.split([':', '@']).next());
    name.is_some_and(|name| COMPONENTS.contains(&name))
}

/// Makes one call. The socket is resolved inside the node's root.
pub(super) fn call(host: &LiveHost, socket: &str, call: CriCall) -> Answer {
    let descriptor = host.open_path(socket)?;
    // connect(2) through the descriptor reaches the very socket that was resolved, and no other that takes its place.
    let reachable = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let fail = |kind, why: String| Refusal::new(kind, format!("{socket}: {why}"));
    super::within(async {
        let begun = tokio::time::timeout(PATIENCE, async {
            let stream = tokio::net::UnixStream::connect(&reachable).await.map_err(|error| match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    fail(RefusalKind::Denied, "permission denied; run as root".to_owned())
                }
                std::io::ErrorKind::ConnectionRefused => fail(
                    RefusalKind::Failed,
                    "the socket is stale: nothing accepts connections on it, so the runtime is not running".to_owned(),
                ),
                _ => fail(RefusalKind::Failed, format!("cannot be connected to: {error}")),
            })?;
            let mut stream = Some(TokioIo::new(stream));
            let connect = tower::service_fn(move |_: Uri| {
                let stream = stream.take().ok_or_else(|| std::io::Error::other("the runtime closed the connection"));
                async move { stream }
            });
            // The authority is of no meaning on a Unix socket, and gRPC wants one.
            let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
            let channel = channel.map_err(|error| {
                let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                fail(RefusalKind::WrongKind, format!("does not speak gRPC: {cause}"))
            })?;
            ask(channel, call).await.map_err(|status| {
                let message = status.message();
                match status.code() {
                    tonic::Code::Unimplemented => {
                        fail(RefusalKind::Unsupported, format!("{call:?} is not implemented: {message}"))
                    }
                    tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Internal => {
                        fail(RefusalKind::WrongKind, format!("{call:?} failed, it may not speak gRPC: {message}"))
                    }
                    code => fail(RefusalKind::Failed, format!("{call:?} failed with {code:?}: {message}")),
                }
            })
        });
        let patience =
            |_| fail(RefusalKind::TimedOut, format!("no answer to {call:?} within {PATIENCE:?}: the runtime hangs"));
        begun.await.map_err(patience)?.map(Reply::from)
    })
}

async fn ask(channel: Channel, call: CriCall) -> Result<Value, tonic::Status> {
    match call {
        CriCall::Version | CriCall::VersionV1alpha2 => {
            let package = if call == CriCall::Version { "v1" } else { "v1alpha2" };
            let request = VersionRequest { version: package.to_owned() };
            let response: VersionResponse = unary(channel, package, "Version", request).await?;
            Ok(json!({
                "runtimeName": response.runtime_name,
                "runtimeVersion": response.runtime_version,
                "runtimeApiVersion": response.runtime_api_version,
            }))
        }
        CriCall::Status => {
            let response: StatusResponse = unary(channel, "v1", "Status", StatusRequest { verbose: true }).await?;
            let condition = |condition: RuntimeCondition| {
                json!({
                    "type": condition.r#type,
                    "status": condition.status,
                    "reason": condition.reason,
                    "message": condition.message,
                })
            };
            let conditions = response.status.unwrap_or_default().conditions.into_iter().map(condition);
            // Verbose information is JSON in text.
            let info = response.info.into_iter().map(|(key, text)| {
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                (key, value)
            });
            let info: serde_json::Map<_, _> = info.collect();
            Ok(json!({ "conditions": conditions.collect::<Vec<_>>(), "info": info }))
        }
        CriCall::RuntimeConfig => {
            let response: RuntimeConfigResponse =
                unary(channel, "v1", "RuntimeConfig", RuntimeConfigRequest {}).await?;
            let driver = response.linux.map(|linux| if linux.cgroup_driver == 0 { "systemd" } else { "cgroupfs" });
            Ok(json!({ "cgroupDriver": driver }))
        }
        CriCall::Images => {
            let path = "v1.ImageService/ListImages";
            let response: ListImagesResponse = method(channel, path, ListImagesRequest {}).await?;
            let mut tags: Vec<_> = response.images.into_iter().flat_map(|image| image.repo_tags).collect();
            tags.retain(|tag| is_component(tag));
            tags.sort();
            Ok(json!(tags))
        }
    }
}

async fn unary<Request, Response>(
    channel: Channel,
    package: &str,
    method: &str,
    request: Request,
) -> Result<Response, tonic::Status>
where
    Request: prost::Message + 'static,
    Response: prost::Message + Default + 'static,
{
    self::method(channel, &format!("{package}.RuntimeService/{method}"), request).await
}

/// Calls a method by its path below the package `runtime`.
async fn method<Request, Response>(channel: Channel, path: &str, request: Request) -> Result<Response, tonic::Status>
where
    Request: prost::Message + 'static,
    Response: prost::Message + Default + 'static,
{
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_maybe_shared(format!("/runtime.{path}"));
    let path = path.map_err(|error| tonic::Status::internal(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<Request, Response>::default();
    Ok(client.unary(tonic::Request::new(request), path, codec).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;

    #[test]
    fn images_of_kubernetes_are_named_and_no_others() {
        for tag in
            ["registry.k8s.io/kube-proxy:v1.37.2", "harbor.example:5000/k8s/coredns/coredns:v1.12.1", "pause:3.10"]
        {
            assert!(is_component(tag), "{tag}");
        }
        for tag in ["docker.io/library/secret-project:1", "registry.k8s.io/etcd-backup:1", ""] {
            assert!(!is_component(tag), "{tag}");
        }
    }

    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        dir
    }

    fn refusal(dir: &tempfile::TempDir) -> Refusal {
        let host = LiveHost::open(dir.path()).unwrap();
        // A tree is not asked (`liveness`), and so the call is made by itself.
        call(&host, "/s.sock", CriCall::Version).unwrap_err()
    }

    #[test]
    fn a_socket_that_is_not_there_a_stale_one_and_a_file_are_told_apart() {
        let dir = root();
        assert_eq!(refusal(&dir).kind, RefusalKind::Absent);
        drop(UnixListener::bind(dir.path().join("s.sock")).unwrap());
        let stale = refusal(&dir);
        assert!(stale.message.contains("stale"), "{stale}");
    }

    #[test]
    fn what_does_not_speak_grpc_is_said_so() {
        let dir = root();
        let listener = UnixListener::bind(dir.path().join("s.sock")).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
            let _ = stream.read(&mut [0; 64]);
        });
        let garbage = refusal(&dir);
        assert_eq!(garbage.kind, RefusalKind::WrongKind, "{garbage}");
        server.join().unwrap();
    }

    #[test]
    fn a_socket_that_hangs_is_given_up() {
        let dir = root();
        let _listener = UnixListener::bind(dir.path().join("s.sock")).unwrap();
        let hung = refusal(&dir);
        assert_eq!(hung.kind, RefusalKind::TimedOut, "{hung}");
    }
}
