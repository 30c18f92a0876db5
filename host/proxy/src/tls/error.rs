//! Why TLS could not be set up. Every sentence names the file and what to do about it.

use std::io;
use std::path::PathBuf;

/// What is wrong with the files or names that TLS was configured with. Always the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// Nothing is at the path.
    #[error("{}: no such file; check the path, and that it is mounted", .0.display())]
    Missing(PathBuf),
    /// It is there, and not readable.
    #[error("{}: permission denied; let the user that the gateway runs as read it", .0.display())]
    Forbidden(PathBuf),
    /// A directory, socket or pipe.
    #[error("{}: not a regular file; name the file itself", .0.display())]
    NotAFile(PathBuf),
    /// Far larger than any certificate.
    #[error("{}: larger than {limit} bytes; this is hardly a PEM file", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is read at most.
        limit: u64,
    },
    /// Reading failed in another way.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It has PEM sections, one of them broken.
    #[error("{}: broken PEM: {source}; write the file again", .path.display())]
    BrokenPem {
        /// The file.
        path: PathBuf,
        /// What is broken.
        source: rustls::pki_types::pem::Error,
    },
    /// No certificate in it.
    #[error("{}: no certificate in PEM in it; it must have a section `-----BEGIN CERTIFICATE-----`", .0.display())]
    NoCertificate(PathBuf),
    /// The binary form of a certificate or key.
    #[error("{}: not PEM, but probably DER; convert it with `openssl x509 -inform der` or `openssl pkey -inform der`", .0.display())]
    Der(PathBuf),
    /// A certificate that cannot be used.
    #[error("{}: unusable certificate: {reason}; issue it anew as X.509 version 3", .path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// None of the certificates can stand as an authority.
    #[error("{}: no certificate in it can serve as an authority: {reason}", .path.display())]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// What the verifier said.
        reason: String,
    },
    /// No private key in it.
    #[error("{}: no private key in PEM in it; it must have a section `-----BEGIN PRIVATE KEY-----` (or RSA, or EC)", .0.display())]
    NoKey(PathBuf),
    /// A key behind a passphrase.
    #[error("{}: the private key is encrypted; take the passphrase off with `openssl pkey -in FILE -out NEW`", .0.display())]
    EncryptedKey(PathBuf),
    /// A key of a kind that ring does not sign with.
    #[error("{}: unusable private key: {reason}; use RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519", .path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What the provider said.
        reason: String,
    },
    /// Certificate and key are both good, but not a pair.
    #[error(
        "the private key in {} does not belong to the certificate in {}; replace both together, with the server's own certificate first \
         and those of its issuers after it", .key.display(), .certificate.display()
    )]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// Cannot be asked for in a handshake.
    #[error("`{0}` is neither a host name nor an address that a certificate could be for; set a server name for TLS")]
    ServerName(String),
    /// The library refused for a reason of its own.
    #[error("TLS cannot be set up: {0}")]
    Library(#[from] rustls::Error),
}
