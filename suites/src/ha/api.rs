//! How a kubeconfig's API servers are asked: address, TLS, and what its user logs in with.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use tower::{BoxError, Layer as _, ServiceExt as _};

use super::wire::Gate;
use crate::cluster::Target;

/// How a kubeconfig's server is asked.
pub(super) struct Api {
    address: SocketAddr,
    host: ServerName<'static>,
    tls: Arc<rustls::ClientConfig>,
    login: Option<HeaderValue>,
}

impl Api {
    /// Of the kubeconfig of a cluster.
    ///
    /// # Errors
    /// What is wrong with the file, or why its credentials cannot be had.
    pub(super) async fn of(target: &Target) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let config = Kubeconfig::read_from(&target.kubeconfig).map_err(|error| text(&error))?;
        let options = KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(config, &options).await.map_err(|error| text(&error))?;
        let url = &config.cluster_url;
        let name = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(443);
        let mut found = tokio::net::lookup_host((name.clone(), port)).await.map_err(|error| text(&error))?;
        let address = found.next().ok_or_else(|| format!("{name} has no address"))?;
        let host = config.tls_server_name.clone().unwrap_or(name);
        let host = ServerName::try_from(host).map_err(|error| text(&error))?;
        let mut tls = config.rustls_client_config().map_err(|error| text(&error))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let login = login(&config).await?;
        Ok(Self { address, host, tls: Arc::new(tls), login })
    }

    /// What the kubeconfig names.
    pub(super) fn named(&self, name: &str) -> Gate {
        Gate { host: self.host.clone(), ..self.at(name, self.address) }
    }

    /// One of the API servers, by its own address.
    pub(super) fn at(&self, name: &str, address: SocketAddr) -> Gate {
        let host = ServerName::IpAddress(address.ip().into());
        let (tls, login) = (self.tls.clone(), self.login.clone());
        Gate { name: name.to_owned(), address, proxy: None, host, tls, login }
    }
}

/// The header of a token, whether the kubeconfig holds it, names its file, or names a plug-in that prints it; a client
/// certificate is part of TLS.
async fn login(config: &kube::Config) -> Result<Option<HeaderValue>, String> {
    let Some(layer) = config.auth_layer().map_err(|error| error.to_string())? else { return Ok(None) };
    let echo = tower::service_fn(|request: Request<Body>| {
        let mut answer = Response::new(Body::empty());
        if let Some(value) = request.headers().get(AUTHORIZATION) {
            answer.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        std::future::ready(Ok::<_, BoxError>(answer))
    });
    let asked: BoxFuture<'static, Result<Response<Body>, BoxError>> =
        layer.layer(echo).oneshot(Request::new(Body::empty())).boxed();
    let answer = asked.await.map_err(|error| error.to_string())?;
    Ok(answer.headers().get(AUTHORIZATION).cloned())
}
