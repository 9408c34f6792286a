//! HTTP GET on the node's loopback addresses: health and status that anyone on the node may ask.
//!
//! No credential is ever sent, so the server's certificate is not verified: there is nothing to lose to an impostor.

use std::time::Duration;

use super::{Answer, Refusal, RefusalKind};

const PATIENCE: Duration = Duration::from_secs(2);
const BODY_LIMIT: usize = 64 << 10;

pub(super) fn get(url: &str) -> Answer {
    let fail = |kind, why: String| Refusal::new(kind, format!("GET {url}: {why}"));
    let local = ["http://127.0.0.1:", "https://127.0.0.1:", "http://[::1]:", "https://[::1]:"];
    if !local.iter().any(|prefix| url.starts_with(prefix)) {
        return Err(fail(RefusalKind::Unsupported, "only loopback addresses are asked".to_owned()));
    }
    super::within(async {
        // Fails only if a provider is installed already, which is then this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| fail(RefusalKind::Failed, error.to_string()))?;
        let refused = |error: reqwest::Error| {
            if error.is_timeout() {
                fail(RefusalKind::TimedOut, format!("no answer within {PATIENCE:?}"))
            } else if error.is_connect() {
                fail(RefusalKind::Absent, "nothing listens there".to_owned())
            } else {
                fail(RefusalKind::Failed, error.to_string())
            }
        };
        let mut response = client.get(url).send().await.map_err(refused)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(refused)? {
            body.extend_from_slice(&chunk);
            if body.len() > BODY_LIMIT {
                body.truncate(BODY_LIMIT);
                break;
            }
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(serde_json::json!({ "status": status, "body": body }).into())
    })
}
