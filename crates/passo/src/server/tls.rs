//! TLS on the server's one port.
//!
//! Invariant: other machines speak TLS or are sent away. Processes of this machine may speak plain HTTP on the same port, so
//! that functions and the command line need not trust the certificate. Certificate and key are read again when they have
//! changed; a new pair that cannot be used leaves the old one in force and a line in the log.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use services::server::{Connection, Opening};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// First byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// What somebody from elsewhere hears who speaks plain HTTP.
const SENT_AWAY: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 45\r\nconnection: close\r\n\r\nThis server speaks HTTPS; use an https:// URL";

/// Where certificate chain and private key are, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, then its issuers.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The pair in force.
pub(super) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    stamps: Stamps,
    looked: Instant,
}

/// When the files were last changed.
type Stamps = [Option<SystemTime>; 2];

impl Tls {
    /// Reads the pair, or says what is wrong with it.
    pub fn open(files: &TlsFiles) -> Result<Tls, String> {
        let stamps = stamps(files);
        let current = Current { acceptor: acceptor(files)?, stamps, looked: Instant::now() };
        Ok(Tls { files: files.clone(), current: Mutex::new(current) })
    }

    /// TLS for all, and plain HTTP for processes of this machine.
    pub fn opening(self) -> Opening {
        let tls = Arc::new(self);
        Arc::new(move |stream, peer| {
            let tls = Arc::clone(&tls);
            Box::pin(async move { tls.accept(stream, peer).await })
        })
    }

    async fn accept(&self, mut stream: TcpStream, peer: SocketAddr) -> Option<Box<dyn Connection>> {
        let mut first = [0];
        let peeked = stream.peek(&mut first).await.ok()?;
        if peeked == 1 && first == [HANDSHAKE] {
            // Whoever does not trust us, or scans, is no concern of ours.
            let stream = self.acceptor().accept(stream).await.ok()?;
            return Some(Box::new(stream));
        }
        let local = stream.local_addr().ok()?;
        if is_here(peer.ip(), local.ip()) {
            return Some(Box::new(stream));
        }
        let _ = stream.write_all(SENT_AWAY).await;
        let _ = stream.shutdown().await;
        None
    }

    fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_EVERY {
            current.looked = Instant::now();
            self.refresh(&mut current);
        }
        current.acceptor.clone()
    }

    fn refresh(&self, current: &mut Current) {
        let stamps = stamps(&self.files);
        if stamps == current.stamps {
            return;
        }
        match acceptor(&self.files) {
            Ok(acceptor) => {
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read again");
                (current.acceptor, current.stamps) = (acceptor, stamps);
            }
            // Half of the pair may be new; it is looked at again.
            Err(error) => tracing::error!(error, "the new certificate cannot be used; the old one stays"),
        }
    }
}

/// Whether a peer is a process of this machine: only those have the address that they dialled.
pub(super) fn is_here(peer: IpAddr, local: IpAddr) -> bool {
    let (peer, local) = (peer.to_canonical(), local.to_canonical());
    peer.is_loopback() || peer == local
}

fn stamps(files: &TlsFiles) -> Stamps {
    let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    [changed(&files.certificate), changed(&files.key)]
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let wrong = |path: &Path, what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(&files.certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(&files.certificate, &"holds no certificate in PEM form"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| wrong(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_here_if_it_has_the_address_it_dialled() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(is_here(address("127.0.0.1"), address("127.0.0.1")));
        assert!(is_here(address("::ffff:127.0.0.1"), address("::1")));
        assert!(is_here(address("192.168.1.5"), address("::ffff:192.168.1.5")));
        assert!(!is_here(address("192.168.1.6"), address("192.168.1.5")));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let files = TlsFiles { certificate: certificate.clone(), key };
        let refusal = || Tls::open(&files).err().unwrap_or_default();
        assert!(refusal().starts_with(&certificate.display().to_string()), "{}", refusal());
        std::fs::write(&certificate, "no certificate").expect("written");
        assert!(refusal().ends_with("holds no certificate in PEM form"), "{}", refusal());
    }

    #[test]
    fn the_refusal_is_whole() {
        let text = std::str::from_utf8(SENT_AWAY).expect("text");
        let (_, body) = text.split_once("\r\n\r\n").expect("head and body");
        assert!(text.contains(&format!("content-length: {}\r\n", body.len())));
    }
}
