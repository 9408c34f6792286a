//! Health: who says that he is ready, often enough.

use std::time::Duration;

use reqwest::{Certificate, Client};
use tokio::sync::watch;

use super::backend::Backend;

/// How backends are asked for their health.
#[derive(Debug, Clone)]
pub struct Health {
    /// `http` or `https`.
    pub scheme: String,
    /// The path that answers 200 when it is ready: `/readyz`.
    pub path: String,
    /// The CA that signs the backends' certificates, in PEM; needed for `https`.
    pub ca: Option<String>,
    /// The time between two questions.
    pub interval: Duration,
    /// How long an answer may take.
    pub patience: Duration,
    /// So many bad answers in a row make a backend ill.
    pub fall: u32,
    /// So many good ones make it healthy again.
    pub rise: u32,
}

impl Health {
    /// `/readyz` of API servers whose certificates this CA signed: asked each second, ill after two bad answers,
    /// healthy after one good one.
    #[must_use]
    pub fn readyz(ca: impl Into<String>) -> Self {
        Self {
            scheme: "https".to_owned(),
            path: "/readyz".to_owned(),
            ca: Some(ca.into()),
            interval: Duration::from_secs(1),
            patience: Duration::from_secs(1),
            fall: 2,
            rise: 1,
        }
    }
}

/// Asks.
pub(super) struct Asker {
    health: Health,
    client: Client,
}

impl Asker {
    pub(super) fn new(health: Health) -> Result<Self, String> {
        crate::tls::install();
        let mut client = Client::builder().no_proxy().timeout(health.patience).pool_max_idle_per_host(1);
        if let Some(ca) = &health.ca {
            let ca = Certificate::from_pem_bundle(ca.as_bytes()).unwrap_or_default();
            if ca.is_empty() {
                return Err("the CA is no certificate in PEM".to_owned());
            }
            client = client.tls_certs_only(ca);
        }
        let client = client.build().map_err(|error| error.to_string())?;
        Ok(Self { health, client })
    }

    async fn is_ready(&self, backend: &Backend) -> bool {
        let url = format!("{}://{}{}", self.health.scheme, backend.address, self.health.path);
        self.client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// The first question, whose answer counts by itself.
    pub(super) async fn begin(&self, backend: &Backend) {
        backend.set_healthy(self.is_ready(backend).await);
    }

    /// Asks until it is told to stop.
    pub(super) async fn watch(&self, backend: &Backend, mut stopped: watch::Receiver<bool>) {
        let mut against = 0;
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                () = tokio::time::sleep(self.health.interval) => {}
            }
            let healthy = backend.is_healthy();
            against = if self.is_ready(backend).await == healthy { 0 } else { against + 1 };
            if against >= if healthy { self.health.fall } else { self.health.rise } {
                backend.set_healthy(!healthy);
                against = 0;
            }
        }
    }
}
