//! The kubeconfig that is named, and what of it a client needs: a server, whom to trust, who one is.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::Deserialize;

/// Why a kubeconfig cannot be used. No message has a key, a token or a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct BadKubeconfig {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Document {
    clusters: Vec<Named<NamedCluster>>,
    users: Vec<Named<NamedUser>>,
    contexts: Vec<Named<NamedContext>>,
    current_context: String,
}

#[derive(Debug, Deserialize)]
struct Named<T> {
    name: String,
    #[serde(flatten)]
    value: T,
}

#[derive(Debug, Deserialize)]
struct NamedCluster {
    cluster: Cluster,
}

#[derive(Debug, Deserialize)]
struct NamedUser {
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
struct NamedContext {
    context: Context,
}

#[derive(Debug, Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

/// Who one is. Has no `Debug`, since it holds what must not be printed.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    exec: Option<Exec>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User")
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exec {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Option<Vec<Variable>>,
    #[serde(default)]
    api_version: String,
}

#[derive(Debug, Deserialize)]
struct Variable {
    name: String,
    value: String,
}

/// Where the API server is, and how to speak with it.
pub(crate) struct Access {
    /// `host:port`, as a socket is opened.
    pub(crate) address: String,
    /// `https://host:port/prefix` without a slash at the end.
    pub(crate) url: String,
    /// The name that its certificate must have.
    pub(crate) name: ServerName<'static>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) token: Token,
}

/// What stands in the `Authorization` header.
pub(crate) enum Token {
    None,
    Fixed(String),
    /// Read anew each minute: projected tokens are rotated.
    File(PathBuf),
}

/// Reads the current context of a kubeconfig, or the one that is named.
pub(crate) fn read(path: &Path, context: Option<&str>) -> Result<Access, BadKubeconfig> {
    let bad = |why: String| BadKubeconfig { path: path.to_owned(), why };
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    // The library's snippets would quote keys.
    let document: Document = serde_saphyr::from_str(&text)
        .map_err(|error| bad(error.without_snippet().to_string().lines().next().unwrap_or_default().to_owned()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    access(&document, folder, context).map_err(bad)
}

fn access(document: &Document, folder: &Path, context: Option<&str>) -> Result<Access, String> {
    let wanted = context.unwrap_or(&document.current_context);
    if wanted.is_empty() {
        return Err("current-context is empty: name one with --context".to_owned());
    }
    let found = document.contexts.iter().find(|one| one.name == wanted).ok_or_else(|| {
        let names: Vec<_> = document.contexts.iter().map(|one| one.name.as_str()).collect();
        format!("there is no context '{wanted}', only {}", names.join(", "))
    })?;
    let context = &found.value.context;
    let cluster = document.clusters.iter().find(|one| one.name == context.cluster);
    let cluster = &cluster.ok_or_else(|| format!("there is no cluster '{}'", context.cluster))?.value.cluster;
    let none = User::default();
    let user = match context.user.as_str() {
        "" => &none,
        name => {
            let user = document.users.iter().find(|one| one.name == name);
            user.ok_or_else(|| format!("there is no user '{name}'"))?.value.user.as_ref().unwrap_or(&none)
        }
    };
    if let Some(proxy) = cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty()) {
        return Err(format!("proxy-url {proxy} is not supported: name a kubeconfig that reaches the server directly"));
    }
    if user.username.is_some() {
        return Err("basic authentication is not supported by any Kubernetes since 1.19".to_owned());
    }
    let uri: http::Uri = cluster.server.parse().map_err(|error| format!("server '{}': {error}", cluster.server))?;
    if uri.scheme_str() != Some("https") {
        return Err(format!("server '{}' is not an https URL", cluster.server));
    }
    let host = uri.host().ok_or_else(|| format!("server '{}' has no host", cluster.server))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = cluster.tls_server_name.as_deref().unwrap_or(bare).to_owned();
    let name = ServerName::try_from(name.clone()).map_err(|_| format!("'{name}' is no name of a server"))?;
    let credentials = credentials(user, folder)?;
    let prefix = uri.path().trim_end_matches('/');
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    Ok(Access {
        address: format!("{host}:{}", uri.port_u16().unwrap_or(443)),
        url: format!("https://{authority}{prefix}"),
        name,
        tls: Arc::new(tls(cluster, folder, &credentials)?),
        token: credentials.token,
    })
}

struct Credentials {
    pair: Option<(Vec<u8>, Vec<u8>)>,
    token: Token,
}

/// What a field has inline, or the file that it names. Names are relative to the kubeconfig.
fn bytes(inline: Option<&str>, file: Option<&PathBuf>, folder: &Path, field: &str) -> Result<Option<Vec<u8>>, String> {
    if let Some(text) = inline.filter(|text| !text.is_empty()) {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| format!("{field}-data is no base64"))?;
        return Ok(Some(bytes));
    }
    let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else { return Ok(None) };
    let path = folder.join(path);
    std::fs::read(&path).map(Some).map_err(|error| format!("{field} {}: {error}", path.display()))
}

fn credentials(user: &User, folder: &Path) -> Result<Credentials, String> {
    if let Some(exec) = &user.exec {
        return plugin(exec, folder);
    }
    let certificate =
        bytes(user.client_certificate_data.as_deref(), user.client_certificate.as_ref(), folder, "client-certificate")?;
    let key = bytes(user.client_key_data.as_deref(), user.client_key.as_ref(), folder, "client-key")?;
    let pair = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return Err("client-certificate has no client-key".to_owned()),
        (None, Some(_)) => return Err("client-key has no client-certificate".to_owned()),
    };
    let token = match (&user.token_file, &user.token) {
        (Some(path), _) if !path.as_os_str().is_empty() => Token::File(folder.join(path)),
        (_, Some(token)) if !token.is_empty() => Token::Fixed(token.clone()),
        _ => Token::None,
    };
    Ok(Credentials { pair, token })
}

/// Runs a credential plugin once, as kubectl does.
fn plugin(exec: &Exec, folder: &Path) -> Result<Credentials, String> {
    let version = match exec.api_version.as_str() {
        "" => "client.authentication.k8s.io/v1",
        version => version,
    };
    let info = serde_json::json!({"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": false}});
    let program = if exec.command.contains('/') { folder.join(&exec.command) } else { PathBuf::from(&exec.command) };
    let mut command = Command::new(program);
    command.args(&exec.args).env("KUBERNETES_EXEC_INFO", info.to_string());
    command.envs(exec.env.iter().flatten().map(|one| (&one.name, &one.value)));
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let failed = |why: String| format!("the credential plugin '{}' {why}", exec.command);
    let output = command.output().map_err(|error| failed(format!("does not start: {error}")))?;
    if !output.status.success() {
        return Err(failed(format!("ended with {}", output.status)));
    }
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("printed no JSON".to_owned()))?;
    let text = |field: &str| answer["status"][field].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let pair = match (text("clientCertificateData"), text("clientKeyData")) {
        (Some(certificate), Some(key)) => Some((certificate.into_bytes(), key.into_bytes())),
        _ => None,
    };
    let token = text("token").map_or(Token::None, Token::Fixed);
    if pair.is_none() && matches!(token, Token::None) {
        return Err(failed("gave neither a token nor a certificate".to_owned()));
    }
    Ok(Credentials { pair, token })
}

fn tls(cluster: &Cluster, folder: &Path, credentials: &Credentials) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if cluster.insecure_skip_tls_verify {
        let verifier = Arc::new(insecure::Unverified(provider));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    } else {
        let data = cluster.certificate_authority_data.as_deref();
        let pem = bytes(data, cluster.certificate_authority.as_ref(), folder, "certificate-authority")?;
        let pem = pem.ok_or("the cluster has no certificate-authority, and roots of the system are not used")?;
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| "certificate-authority is no PEM")?;
            roots.add(certificate).map_err(|error| format!("certificate-authority: {error}"))?;
        }
        if roots.is_empty() {
            return Err("certificate-authority has no certificate".to_owned());
        }
        builder.with_root_certificates(roots)
    };
    let mut config = match &credentials.pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
            let chain = chain.map_err(|_| "client-certificate is no PEM")?;
            let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "client-key is no PEM of a private key")?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("client-certificate: {error}"))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// `insecure-skip-tls-verify`: whoever answers is believed, since the kubeconfig says so.
mod insecure {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Unverified(pub(super) Arc<CryptoProvider>);

    impl ServerCertVerifier for Unverified {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let document: Document = serde_saphyr::from_str(text).unwrap();
        access(&document, Path::new("/nowhere"), None).err().unwrap()
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let with = |cluster: &str, user: &str| {
            format!(
                "current-context: a\ncontexts: [{{name: a, context: {{cluster: b, user: c}}}}]\n\
                 clusters: [{{name: b, cluster: {{{cluster}}}}}]\nusers: [{{name: c, user: {{{user}}}}}]\n"
            )
        };
        for (text, why) in [
            ("{}".to_owned(), "current-context is empty"),
            ("current-context: x\ncontexts: [{name: a, context: {cluster: b}}]\n".to_owned(), "'x', only a"),
            ("current-context: a\ncontexts: [{name: a, context: {cluster: b}}]\n".to_owned(), "no cluster 'b'"),
            (with("server: 'http://a'", ""), "not an https URL"),
            (with("server: 'https://a'", ""), "no certificate-authority"),
            (with("server: 'https://a', proxy-url: 'http://p'", ""), "proxy-url http://p"),
            (with("server: 'https://a', certificate-authority: ca.crt", ""), "/nowhere/ca.crt"),
            (with("server: 'https://a', certificate-authority-data: '!'", ""), "no base64"),
            (with("server: 'https://a'", "username: u"), "basic authentication"),
            (with("server: 'https://a'", "client-certificate-data: YQ=="), "has no client-key"),
            (with("server: 'https://a'", "exec: {command: /no/such/plugin}"), "does not start"),
            (with("server: 'https://a'", "exec: {command: 'false'}"), "ended with"),
        ] {
            let said = refused(&text);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn tokens_are_taken_from_where_they_are() {
        let text = "current-context: a\ncontexts: [{name: a, context: {cluster: b, user: c}}]\n\
            clusters: [{name: b, cluster: {server: 'https://[::1]:6443/k8s/', insecure-skip-tls-verify: true}}]\n\
            users: [{name: c, user: {token: secret}}]\n";
        let document: Document = serde_saphyr::from_str(text).unwrap();
        let access = access(&document, Path::new("/"), None).unwrap();
        assert_eq!((access.address.as_str(), access.url.as_str()), ("[::1]:6443", "https://[::1]:6443/k8s"));
        assert!(matches!(access.token, Token::Fixed(token) if token == "secret"));
    }
}
