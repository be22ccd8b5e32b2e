//! What is asked of the certificate of a database.

use std::fs;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// What is asked of the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// That an authority issued it: one of a file, or of those that the system trusts.
    Authority(Option<String>),
    /// That, and that it names the host.
    Full(Option<String>),
    /// Nothing.
    None,
}

impl Verification {
    /// Returns how to connect.
    ///
    /// # Errors
    /// If the authorities cannot be read.
    pub fn client(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let of = |root: &Option<String>, full| {
            let certificates = authorities(root.as_deref())?;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates.iter().cloned());
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            Ok::<_, String>(Authorities { certificates, verifier, full })
        };
        let authorities = match self {
            Self::Authority(root) => Some(of(root, false)?),
            Self::Full(root) => Some(of(root, true)?),
            Self::None => None,
        };
        let verifier = Arc::new(Verifier { authorities, provider: Arc::clone(&provider) });
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error.to_string())?;
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}

/// Reads certificates of authorities.
fn authorities(file: Option<&str>) -> Result<Vec<CertificateDer<'static>>, String> {
    let is_there = |path: &&str| fs::exists(path).unwrap_or_default();
    let path = file.or_else(|| SYSTEM.into_iter().find(is_there));
    let path = path.ok_or("no certificates of authorities are found: name them with sslrootcert")?;
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| format!("{path}: {error}"))?;
    let certificates: Vec<_> = certificates.filter_map(Result::ok).collect();
    if certificates.is_empty() { Err(format!("there is no certificate in {path}")) } else { Ok(certificates) }
}

/// Asks as much of a certificate as is wanted.
#[derive(Debug)]
struct Verifier {
    authorities: Option<Authorities>,
    provider: Arc<CryptoProvider>,
}

/// Who has to have issued the certificate.
#[derive(Debug)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    verifier: Arc<WebPkiServerVerifier>,
    /// Whether it has to name the host as well.
    full: bool,
}

impl Authorities {
    /// Returns whether one of them is the server itself: a certificate that signs itself. That it has not expired is
    /// known by then.
    fn include(&self, error: &CertificateError, certificate: &CertificateDer<'_>) -> bool {
        matches!(error, CertificateError::Other(why) if why.to_string() == "CaUsedAsEndEntity")
            && self.certificates.contains(certificate)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        let verifier = &authorities.verifier;
        match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !authorities.full => Ok(ServerCertVerified::assertion()),
            Err(Error::InvalidCertificate(error)) if authorities.include(&error, end_entity) => {
                if authorities.full {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Where systems keep the authorities that they trust. No variable says so: a user must not choose them.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
