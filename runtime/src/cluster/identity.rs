//! Who is at the other end: a raw Ed25519 key in TLS (RFC 7250), both ways, and nothing else.
//!
//! Anybody may have a key, so the handshake proves who speaks and not that they may; that is judged by
//! the certificate in the hello. A signature is verified by the same function as everywhere else here.

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureAlgorithm, SignatureScheme, version::TLS13,
};
use std::sync::Arc;
use troop_actors::ids::{Digest, NodeId, NodeKey, digest, verifies_bytes};

/// The application protocol; nothing else is spoken on the port.
const ALPN: &[u8] = b"troop/1";

/// What a node shows to those that dial it.
pub fn server(key: &NodeKey) -> Result<QuicServerConfig, Error> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Keys { expected: None }))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(certified(
            key,
        ))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
}

/// What a node shows to `peer`, which it dials; whoever has another key is not talked to.
pub fn client(key: &NodeKey, peer: NodeId) -> Result<QuicClientConfig, Error> {
    QuicClientConfig::try_from(client_tls(key, peer)?)
        .map_err(|error| Error::General(error.to_string()))
}

/// The same, before QUIC makes it its own.
pub(super) fn client_tls(key: &NodeKey, peer: NodeId) -> Result<rustls::ClientConfig, Error> {
    let verifier = Keys {
        expected: Some(peer),
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(
            key,
        ))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// Who is at the other end of a connection whose handshake is over.
pub(super) fn peer(connection: &quinn::Connection) -> Option<NodeId> {
    let shown = connection.peer_identity()?;
    let shown = shown.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    node(shown.first()?)
}

/// The key under which a restarted node can tell its peers that it has forgotten their connections.
pub(super) fn reset_key(key: &NodeKey) -> Arc<dyn quinn::crypto::HmacKey> {
    let signed = key.sign(digest("troop/reset/v1", &[]));
    Arc::new(ResetKey(digest("troop/reset/key/v1", &[&signed.0])))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certified(key: &NodeKey) -> Arc<CertifiedKey> {
    let signing = TlsKey {
        spki: spki(key.node()),
        key: key.clone(),
    };
    let shown = CertificateDer::from(signing.spki.to_vec());
    Arc::new(CertifiedKey::new(vec![shown], Arc::new(signing)))
}

/// The public key in the form of RFC 8410.
fn spki(node: NodeId) -> [u8; SPKI_BYTES] {
    let mut spki = [0; SPKI_BYTES];
    spki[..SPKI_HEAD.len()].copy_from_slice(&SPKI_HEAD);
    spki[SPKI_HEAD.len()..].copy_from_slice(&node.0);
    spki
}

fn node(shown: &CertificateDer<'_>) -> Option<NodeId> {
    let key = shown.as_ref().strip_prefix(&SPKI_HEAD)?;
    Some(NodeId(key.try_into().ok()?))
}

/// The node's key as TLS uses it.
#[derive(Clone, Debug)]
struct TlsKey {
    key: NodeKey,
    spki: [u8; SPKI_BYTES],
}

impl rustls::sign::SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        offered
            .contains(&SignatureScheme::ED25519)
            .then(|| Box::new(self.clone()) as Box<dyn rustls::sign::Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(&self.spki[..]))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ED25519
    }
}

impl rustls::sign::Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.key.sign_bytes(message).to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// Accepts any key that is one, or the expected key only.
#[derive(Debug)]
struct Keys {
    expected: Option<NodeId>,
}

impl Keys {
    fn judge(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        let node = node(shown).ok_or(CertificateError::BadEncoding)?;
        if self.expected.is_some_and(|expected| expected != node) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }
}

fn verify(
    message: &[u8],
    shown: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let node = node(shown).ok_or(CertificateError::BadEncoding)?;
    if signed.scheme == SignatureScheme::ED25519
        && verifies_bytes(node, message, signed.signature())
    {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
}

impl ServerCertVerifier for Keys {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(end_entity)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Keys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(end_entity)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Makes the tokens by which a peer recognises that a connection is forgotten. Nobody else can make them.
struct ResetKey(Digest);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&digest("troop/reset/token/v1", &[&self.0.0, data]).0);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let right = digest("troop/reset/token/v1", &[&self.0.0, data]);
        if right.0 == signature {
            Ok(())
        } else {
            Err(quinn::crypto::CryptoError)
        }
    }
}

const SPKI_HEAD: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const SPKI_BYTES: usize = SPKI_HEAD.len() + 32;
