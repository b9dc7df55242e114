//! What it takes to speak to a hub: its address, whose certificates are believed, and who one is there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_rt::net::TcpStream;
use actix_service::{Service, ServiceExt as _};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Connector};
use awc::http::Uri;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::HubUrl;
use crate::identity::Keeper;

/// A hub, and this process's standing there.
#[derive(Clone)]
pub struct HubAccess {
    /// Its address.
    pub url: HubUrl,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Who one is there.
    pub keeper: Keeper,
    former_life: bool,
}

impl HubAccess {
    /// Access under an identity that a keeper keeps.
    pub fn new(url: HubUrl, trust: Trust, keeper: Keeper) -> Self {
        let former_life = keeper.load().is_ok_and(|identity| identity.is_some());
        HubAccess {
            url,
            trust,
            keeper,
            former_life,
        }
    }

    /// Whether the identity is older than this process.
    pub(super) fn former_life(&self) -> bool {
        self.former_life
    }

    /// A client for requests, each of which may take so long.
    pub(crate) fn client(&self, limit: Option<Duration>) -> awc::Client {
        let connector = awc::Connector::new()
            .connector(at_once())
            .rustls_0_23(self.trust.0.clone());
        let builder = awc::Client::builder().connector(connector);
        match limit {
            Some(limit) => builder.timeout(limit).finish(),
            None => builder.disable_timeout().finish(),
        }
    }
}

impl From<HubUrl> for HubAccess {
    /// Access under an identity that ends with the process, and the usual authorities.
    fn from(url: HubUrl) -> Self {
        let keeper = Keeper::in_memory(&url.to_string());
        HubAccess::new(url, Trust::default(), keeper)
    }
}

/// Connections on which a small frame does not wait until the one before it was acknowledged: that takes 40 ms and more, each
/// time that two are sent in a row.
fn at_once() -> impl Service<
    ConnectInfo<Uri>,
    Response = Connection<Uri, TcpStream>,
    Error = ConnectError,
    Future: 'static,
> + Clone
+ 'static {
    Connector::default().service().map(|connection| {
        if let Err(error) = connection.io_ref().set_nodelay(true) {
            tracing::debug!(%error, "frames to the hub may wait for each other");
        }
        connection
    })
}

/// Whose certificates are believed.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

/// A file of certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} cannot be used as a certificate authority: {why}; a file of PEM certificates was expected"
)]
pub struct CaError {
    path: String,
    why: String,
}

impl Default for Trust {
    /// The usual authorities, those that Mozilla trusts.
    fn default() -> Self {
        Trust::of(usual())
    }
}

impl Trust {
    /// The usual authorities, and those of a file in PEM.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate in it.
    pub fn with_ca(path: &Path) -> Result<Self, CaError> {
        let wrong = |why: String| CaError {
            path: path.display().to_string(),
            why,
        };
        let mut roots = usual();
        let before = roots.len();
        let certificates =
            CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| wrong(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(wrong("there is no certificate in it".to_owned()));
        }
        Ok(Trust::of(roots))
    }

    fn of(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            // It has suites for the default versions, as its own documentation says.
            .expect("the provider has the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A WebSocket begins with HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Trust(Arc::new(config))
    }
}

fn usual() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Each small frame leaves at once.
    #[actix_rt::test]
    async fn frames_to_the_hub_do_not_wait_for_each_other() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = listener.local_addr().unwrap();
        let info = ConnectInfo::new(Uri::from_static("http://hub.example")).set_addr(hub);
        let connection = at_once().call(info).await.unwrap();
        assert!(connection.io_ref().nodelay().unwrap());
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let refused = || Trust::with_ca(&path).err().unwrap().to_string();
        assert!(refused().contains("ca.pem"), "{}", refused());
        for text in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            std::fs::write(&path, text).unwrap();
            assert!(refused().contains("PEM certificates"), "{}", refused());
        }
    }
}
