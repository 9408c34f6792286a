//! The one TLS provider of the process.

/// Makes AWS-LC the provider of every connection that does not name one. Does nothing the second time.
pub(crate) fn install() {
    // An error says that one is installed, by us.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
