//! A certificate that is renewed while the hub runs.

use std::path::Path;
use std::sync::Arc;

use awc::Connector;
use loaner::hub::TlsFiles;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::support::*;

/// An authority, and a certificate of it for this machine.
struct Authority {
    own: CertificateDer<'static>,
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let own = params.self_signed(&key).unwrap().der().clone();
        let issuer = rcgen::Issuer::new(params, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        Authority {
            own,
            certificate,
            key: key.serialize_pem(),
        }
    }

    fn write(&self, files: &TlsFiles) {
        let replace = |file: &Path, text: &str| {
            let new = file.with_extension("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(&new, file).unwrap();
        };
        replace(&files.certificate, &self.certificate);
        replace(&files.key, &self.key);
    }

    /// Opens a WebSocket, as one who trusts this authority and no other.
    async fn connect(&self, url: &str) -> Result<Peer, awc::error::WsClientError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        let client = awc::Client::builder()
            .connector(Connector::new().rustls_0_23(Arc::new(config)))
            .finish();
        let (_, framed) = client.ws(url).connect().await?;
        Ok(Peer::over(framed))
    }
}

/// A new certificate on disk is what the next peer gets, without a restart; those who are connected stay.
#[actix_web::test]
async fn a_renewed_certificate_is_served_to_the_next_peer() {
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        certificate: dir.path().join("chain.pem"),
        key: dir.path().join("key.pem"),
    };
    let (old, new) = (Authority::new(), Authority::new());
    old.write(&files);
    let hub = hub_with(|config| config.tls = Some(files.clone()));
    let url = format!("wss://{}/", hub.addrs[0]);
    let mut early = old.connect(&url).await.unwrap();
    early.hears_nothing().await;
    assert!(new.connect(&url).await.is_err(), "not yet");

    new.write(&files);
    let renewed = async {
        loop {
            if let Ok(peer) = new.connect(&url).await {
                return peer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let mut late = tokio::time::timeout(std::time::Duration::from_secs(60), renewed)
        .await
        .expect("the new certificate is not served");
    late.hears_nothing().await;
    assert!(old.connect(&url).await.is_err(), "the old one is gone");
    early.hears_nothing().await;
}
