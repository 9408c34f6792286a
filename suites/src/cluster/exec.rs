//! Commands in containers, attached streams and forwarded ports: what goes over the kubelet's streaming server.

use std::time::Duration;

use futures_util::StreamExt as _;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::{Ctx, Stop};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command in a container came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// Its exit code; none is one that did not run or did not end by itself, with the reason in `why`.
    pub code: Option<i32>,
    /// The message of the API.
    pub why: String,
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await.ok();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Ctx {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client().clone(), self.namespace())
    }

    /// Runs a script of our workload in a container.
    ///
    /// # Errors
    /// [`Stop::Breached`] if the node does not run commands.
    pub async fn exec(&self, pod: &str, container: &str, script: &str) -> Result<Executed, Stop> {
        self.exec_program(pod, container, &["/seaworthy", "workload", "do", script], None).await
    }

    /// Runs a script in a container until it ends well.
    ///
    /// # Errors
    /// [`Stop::Breached`] with what it said last, if it does not in time.
    pub async fn until_exec(&self, pod: &str, container: &str, script: &str) -> Result<Executed, Stop> {
        let end = tokio::time::Instant::now() + PATIENCE * 2;
        loop {
            let done = self.exec(pod, container, script).await?;
            if done.code == Some(0) {
                return Ok(done);
            }
            if tokio::time::Instant::now() > end {
                let why = format!("{script} in {container} of {pod} does not end well: {} {}", done.why, done.err);
                return Err(Stop::breach(pod, why));
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }

    /// Runs a program in a container, with this on its standard input if there is any.
    ///
    /// # Errors
    /// [`Stop::Breached`] if the node does not run commands.
    pub async fn exec_program(
        &self,
        pod: &str,
        container: &str,
        command: &[&str],
        input: Option<&str>,
    ) -> Result<Executed, Stop> {
        self.step(format!("run in {container} of {pod}: {}", command.join(" ")));
        let parameters =
            AttachParams { container: Some(container.to_owned()), stdin: input.is_some(), ..AttachParams::default() };
        let refused =
            |why: String| Stop::breach(pod, format!("a command cannot be run in {container} of {pod}: {why}"));
        let process = self.pods().exec(pod, command.iter().copied(), &parameters).await;
        let process = process.map_err(|error| refused(error.to_string()))?;
        let done = tokio::time::timeout(PATIENCE, drive(process, input)).await;
        done.map_err(|_| refused(format!("no end within {PATIENCE:?}")))
    }

    /// Attaches to a container, sends it a text, and reads until `enough` of what comes, or the end.
    ///
    /// # Errors
    /// [`Stop::Breached`] if the node does not attach, or not enough comes in time.
    pub async fn attach(
        &self,
        pod: &str,
        container: &str,
        input: Option<&str>,
        enough: impl Fn(&str) -> bool,
    ) -> Result<String, Stop> {
        self.step(format!("attach to {container} of {pod}"));
        let parameters =
            AttachParams { container: Some(container.to_owned()), stdin: input.is_some(), ..AttachParams::default() };
        let refused = |why: String| Stop::breach(pod, format!("{container} of {pod} cannot be attached to: {why}"));
        let process = self.pods().attach(pod, &parameters).await;
        let mut process = process.map_err(|error| refused(error.to_string()))?;
        let mut seen = String::new();
        let reading = async {
            let writer = process.stdin();
            if let (Some(text), Some(mut writer)) = (input, writer) {
                writer.write_all(text.as_bytes()).await.ok();
                writer.flush().await.ok();
            }
            let Some(mut out) = process.stdout() else { return };
            let mut bytes = [0; 4096];
            while !enough(&seen) {
                match out.read(&mut bytes).await {
                    Ok(length) if length > 0 => seen += &String::from_utf8_lossy(&bytes[..length]),
                    _ => break,
                }
            }
        };
        let timely = tokio::time::timeout(PATIENCE, reading).await.is_ok();
        process.abort();
        if enough(&seen) {
            return Ok(seen);
        }
        let how = if timely { "the stream ended" } else { "nothing more came in time" };
        Err(refused(format!("{how}; it printed: {seen}")))
    }

    /// Reads the log of a container over a WebSocket with the protocol `binary.k8s.io`, as browsers do.
    ///
    /// # Errors
    /// [`Stop::Breached`] if it does not come.
    pub async fn log_by_websocket(&self, pod: &str, container: &str) -> Result<String, Stop> {
        self.step(format!("read the log of {container} in {pod} over a WebSocket"));
        let refused = |why: String| Stop::breach(pod, format!("the log of {container} in {pod}: {why}"));
        let path = format!("{}/log?container={container}", self.pod(pod).path());
        let request = http::Request::get(path)
            .header(http::header::CONNECTION, "Upgrade")
            .header(http::header::UPGRADE, "websocket")
            .header(http::header::SEC_WEBSOCKET_VERSION, "13")
            .header(http::header::SEC_WEBSOCKET_KEY, tungstenite::handshake::client::generate_key())
            .header(http::header::SEC_WEBSOCKET_PROTOCOL, "binary.k8s.io")
            .body(kube::client::Body::empty())
            .map_err(|error| refused(error.to_string()))?;
        let response = self.client().send(request).await.map_err(|error| refused(error.to_string()))?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(format!("the API server answers {} to the upgrade", response.status())));
        }
        let stream = hyper::upgrade::on(response).await.map_err(|error| refused(error.to_string()))?;
        let role = tungstenite::protocol::Role::Client;
        let mut stream = WebSocketStream::from_raw_socket(TokioIo::new(stream), role, None).await;
        let reading = async {
            let mut bytes = Vec::new();
            while let Some(Ok(message)) = stream.next().await {
                match message {
                    tungstenite::Message::Binary(data) => bytes.extend_from_slice(&data),
                    tungstenite::Message::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                    tungstenite::Message::Close(_) => break,
                    _ => {}
                }
            }
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let read = tokio::time::timeout(PATIENCE, reading).await;
        read.map_err(|_| refused(format!("no end within {PATIENCE:?}")))
    }

    /// Sends a request to a port of a pod through port forwarding, and reads until the other side closes.
    ///
    /// # Errors
    /// [`Stop::Breached`] if the node does not forward.
    pub async fn forward(&self, pod: &str, port: u16, request: &str) -> Result<String, Stop> {
        self.step(format!("forward port {port} of {pod}"));
        let refused = |why: String| Stop::breach(pod, format!("port {port} of {pod} cannot be forwarded: {why}"));
        let forwarder = self.pods().portforward(pod, &[port]).await;
        let mut forwarder = forwarder.map_err(|error| refused(error.to_string()))?;
        let mut stream = forwarder.take_stream(port).ok_or_else(|| refused("there is no stream".to_owned()))?;
        let work = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(refused(error.to_string())),
            Err(_) => Err(refused(format!("no answer within {PATIENCE:?}"))),
        }
    }
}

/// Feeds a process and waits for its end.
async fn drive(mut process: AttachedProcess, input: Option<&str>) -> Executed {
    let status = process.take_status();
    let (out, err, stdin) = (process.stdout(), process.stderr(), process.stdin());
    let feeding = async {
        if let (Some(text), Some(mut stdin)) = (input, stdin) {
            stdin.write_all(text.as_bytes()).await.ok();
            stdin.flush().await.ok();
            stdin.shutdown().await.ok();
        }
    };
    let ((), out, err) = tokio::join!(feeding, read(out), read(err));
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    process.join().await.ok();
    let Some(status) = status else {
        return Executed { out, err, code: None, why: "the stream ended without a status".to_owned() };
    };
    let why = status.message.unwrap_or_default();
    if status.status.as_deref() == Some("Success") {
        return Executed { out, err, code: Some(0), why };
    }
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let code = code.and_then(|cause| cause.message.as_deref()?.parse().ok());
    Executed { out, err, code, why }
}
