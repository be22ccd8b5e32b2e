//! The key service of sops: master keys that are used in another process, by gRPC.
//!
//! [`RemoteKeyService`] asks one; [`KeyServer`] is one, with the services that it is given. Both speak with sops, whose
//! protocol knows neither encryption nor authentication: across TCP whoever reaches a server may use its keys, and
//! whoever is in between reads them. At a Unix socket both sides look at the user of the other one.
//!
//! ```proto
//! syntax = "proto3";
//!
//! service KeyService {
//!   rpc Encrypt (EncryptRequest) returns (EncryptResponse);
//!   rpc Decrypt (DecryptRequest) returns (DecryptResponse);
//! }
//!
//! message Key {
//!   oneof key_type {
//!     KmsKey kms_key = 1;
//!     PgpKey pgp_key = 2;
//!     GcpKmsKey gcp_kms_key = 3;
//!     AzureKeyVaultKey azure_keyvault_key = 4;
//!     VaultKey vault_key = 5;
//!     AgeKey age_key = 6;
//!     HckmsKey hckms_key = 7;
//!   }
//! }
//!
//! message KmsKey { string arn = 1; string role = 2; map<string, string> context = 3; string aws_profile = 4; }
//! message PgpKey { string fingerprint = 1; }
//! message GcpKmsKey { string resource_id = 1; }
//! message AzureKeyVaultKey { string vault_url = 1; string name = 2; string version = 3; }
//! message VaultKey { string vault_address = 1; string engine_path = 2; string key_name = 3; }
//! message AgeKey { string recipient = 1; }
//! message HckmsKey { string key_id = 1; }
//!
//! message EncryptRequest { Key key = 1; bytes plaintext = 2; }
//! message EncryptResponse { bytes ciphertext = 1; }
//! message DecryptRequest { Key key = 1; bytes ciphertext = 2; }
//! message DecryptResponse { bytes plaintext = 1; }
//! ```
//!
//! A ciphertext is the text that the metadata of a document has as `enc`. The messages of the kinds are those of
//! [`KEY_KINDS`](crate::keys::KEY_KINDS): a further kind needs nothing here.

mod address;
mod client;
mod connection;
mod failure;
mod gate;
mod message;
mod server;

pub use address::{Address, AddressError};
pub use client::RemoteKeyService;
pub use connection::{Listener, Peer};
pub use gate::{Gate, Open, Operation, Use};
pub use server::{KeyServer, Limits};

/// How long a message may be, in bytes: far more than any wrapped key takes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The paths of the methods.
const ENCRYPT: &str = "/KeyService/Encrypt";
const DECRYPT: &str = "/KeyService/Decrypt";
