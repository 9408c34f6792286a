//! Asking a unit whether it is ready.

use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use super::super::unit::Ready;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks. An error says what was answered instead of yes.
pub(super) fn ask(ready: &Ready) -> Result<(), String> {
    match ready {
        Ready::Http(url) => http(url),
        Ready::Socket(path) => {
            UnixStream::connect(path).map(drop).map_err(|error| format!("{}: {error}", path.display()))
        }
    }
}

fn http(url: &str) -> Result<(), String> {
    static CLIENT: OnceLock<Result<reqwest::blocking::Client, String>> = OnceLock::new();
    let client = CLIENT.get_or_init(|| {
        crate::tls::install();
        // What answers is known by its address, as for a kubelet's probe; no secret is sent.
        let builder = reqwest::blocking::Client::builder().tls_danger_accept_invalid_certs(true).timeout(PATIENCE);
        builder.no_proxy().build().map_err(|error| error.to_string())
    });
    let client = client.as_ref().map_err(Clone::clone)?;
    let response = client.get(url).send().map_err(|error| {
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(one) = cause {
            text = format!("{text}: {one}");
            cause = one.source();
        }
        text
    })?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    let body = response.text().unwrap_or_default();
    let failed: Vec<_> = body.lines().filter(|line| line.starts_with("[-]")).take(4).collect();
    Err(format!("{url} answers {status} {}", failed.join(" ")).trim().to_owned())
}
