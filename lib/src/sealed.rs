//! Sealed Secrets: Secrets whose values only the controller of one cluster can open, as
//! [bitnami/sealed-secrets](https://github.com/bitnami/sealed-secrets) 0.40 writes and reads them.
//!
//! Every value of a Secret is an *item*: encrypted under a session key of its own, which is encrypted to the
//! certificate of the cluster together with a label, the [`SealingScope`]. The name of the item, the type of
//! the Secret and its template are not authenticated: whoever can write the object can change them.
//!
//! Invariants: a session key is used once; a value is handed out only after its tag has been checked; nothing
//! here reads a clock, a file or an environment.

mod backup;
mod base64;
mod cert;
mod digest;
mod file;
mod flaws;
mod item;
mod key;
mod key_secret;
mod leak;
mod object_meta;
mod pem_block;
mod place;
mod probe;
mod registry;
mod rotation;
mod rsa;
mod scheme;
mod scope;
mod sealed_secret;
mod sealing;
mod secret;
mod secret_file;
mod unseal;
mod unsealed_file;

pub use backup::{Backup, BackupError, BackupKey, BackupProblem, BackupProblemKind, to_manifest};
pub use base64::Base64Error;
pub(crate) use base64::{decode as decode_base64, encode as encode_base64};
pub use cert::{CertError, SealingCert, Validity};
pub use digest::{Digest, DigestKey, SealedValue};
pub use file::{
    OpenedFile, SealedFile, SealedFileError, SealedObject, holds_sealed_secrets, is_sealed_secret, objects,
};
pub use flaws::{Flaw, FlawKind, flaws, render_flaws};
pub use item::{ItemError, KeyCause, key_bits};
pub use key::{KeySize, SealingKey, SealingKeyError, SmallKeys};
pub use key_secret::KeySecret;
pub use object_meta::ObjectMeta;
pub use probe::{Candidates, Diagnosis, Fit, MAX_TRIALS};
pub use registry::{Key, KeyRegistry, OpenedItem};
pub use rotation::{RotationError, rotated, rotation_request, verification_request};
pub use scheme::{SealedSecrets, names_group};
pub use scope::{SealingScope, UnknownScope};
pub use sealed_secret::{Resealed, SealedSecret, SealedSecretError, SealingError, SecretTemplate};
pub use sealing::Sealing;
pub use secret::{Secret, SecretError};
pub use secret_file::{Remains, SecretFile, SecretFileError, SecretObject, replaced_nodes, secret_values};
pub use unseal::{Collision, Unseal, UnsealError, ValueError};
pub use unsealed_file::UnsealedFile;

/// The group of the kind SealedSecret.
pub const GROUP: &str = "bitnami.com";
/// The `apiVersion` of SealedSecrets.
pub const API_VERSION: &str = "bitnami.com/v1alpha1";
/// The kind of a sealed Secret.
pub const KIND: &str = "SealedSecret";
/// The label of Secrets that hold a sealing key; keys in use have the value `active`.
pub const KEY_LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";
/// The value of that label for keys in use.
pub const ACTIVE: &str = "active";
