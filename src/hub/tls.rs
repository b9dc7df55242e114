//! TLS by certificate files. A renewed certificate is taken up without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Where the certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, as PEM: the server's own first.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read, or holds nothing of the kind.
    #[error("{}: {why}", .file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The key is none of the certificate, or of a kind that is not supported.
    #[error("the key in {} does not fit the certificate in {}: {why}", .files.key.display(), .files.certificate.display())]
    Pair {
        /// The files.
        files: TlsFiles,
        /// What the library said.
        why: String,
    },
}

fn unreadable(file: &Path, error: &rustls_pki_types::pem::Error) -> TlsError {
    let why = match error {
        rustls_pki_types::pem::Error::NoItemsFound => {
            "there is nothing of the kind in it; PEM is expected".to_owned()
        }
        other => other.to_string(),
    };
    TlsError::File {
        file: file.to_owned(),
        why,
    }
}

fn load(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(unreadable(
            &files.certificate,
            &rustls_pki_types::pem::Error::NoItemsFound,
        ));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, &error))?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| TlsError::Pair {
        files: files.clone(),
        why: error.to_string(),
    })
}

fn changed(files: &TlsFiles) -> Option<SystemTime> {
    let time = |file: &Path| file.metadata().and_then(|meta| meta.modified()).ok();
    time(&files.certificate).max(time(&files.key))
}

/// The certificate in use.
#[derive(Debug)]
pub(super) struct Certificate {
    files: TlsFiles,
    current: RwLock<(Arc<CertifiedKey>, Option<SystemTime>)>,
}

impl Certificate {
    /// Reads the files.
    pub(super) fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let time = changed(&files);
        let key = load(&files)?;
        Ok(Arc::new(Certificate {
            files,
            current: RwLock::new((Arc::new(key), time)),
        }))
    }

    /// The server's side of TLS with it.
    pub(super) fn server(self: &Arc<Self>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Takes up new files, when they are new and whole.
    pub(super) fn renew(&self) {
        let time = changed(&self.files);
        let known = self
            .current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .1;
        if time == known {
            return;
        }
        match load(&self.files) {
            Ok(key) => {
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was renewed");
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    (Arc::new(key), time);
            }
            // The two files are rarely replaced at the same instant: the old pair serves until the new one is whole.
            Err(error) => {
                tracing::warn!(%error, "the new certificate cannot be used; the old one stays")
            }
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.0))
    }
}
