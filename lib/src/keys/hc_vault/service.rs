//! Wrapping and unwrapping with transit keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::KIND;
use super::client::Client;
use super::failure::of_content;
use crate::keys::service::{Cause, Effort, KeyError, KeyFuture, KeyService, ServiceError};
use crate::keys::{KeySetup, MasterKey};
use crate::secret::SecretBytes;

/// Wraps and unwraps with the transit engine of HashiCorp Vault or OpenBao.
pub struct VaultService {
    client: Client,
}

impl VaultService {
    /// Returns a service that works with what the environment says of Vault.
    #[must_use]
    pub fn new(setup: &KeySetup) -> Self {
        Self { client: Client::new(setup) }
    }

    async fn encrypt(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let text = Zeroizing::new(STANDARD.encode(secret.expose_secret()));
        let mut data = self.ask(key, "encrypt", "plaintext", &text).await?;
        match data.take_text("ciphertext") {
            Some(text) if !text.is_empty() => Ok(text.to_string()),
            _ => Err(data.lacks("no ciphertext")),
        }
    }

    async fn decrypt(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        if key.wrapped().is_empty() {
            return Err(KeyError::Malformed("it is empty".to_owned()));
        }
        let mut data = self.ask(key, "decrypt", "ciphertext", key.wrapped()).await?;
        let text = data.take_text("plaintext").ok_or_else(|| data.lacks("no plaintext"))?;
        let secret = STANDARD.decode(text.as_bytes()).map(SecretBytes::from);
        match secret {
            Ok(secret) if LENGTHS.contains(&secret.len()) => Ok(secret),
            _ => Err(data.lacks("no data key")),
        }
    }

    /// Asks the server of a key, and returns what it found.
    async fn ask(&self, key: &MasterKey, verb: &str, field: &str, text: &str) -> Result<Data, KeyError> {
        let (address, name) = (key.field("vault_address"), key.field("key_name"));
        if name.is_empty() || name.contains('/') {
            return Err(
                ServiceError::new(Cause::Key, "the name of the key is not one of a transit key").into()
            );
        }
        let path = format!("{}/{verb}/{name}", key.field("engine_path").trim_matches('/'));
        // What the text can hold needs no escapes, or comes from the document.
        let mut body = SecretBytes::with_capacity(text.len() + field.len() + 8);
        body.push_str("{\"");
        body.push_str(field);
        body.push_str("\":");
        body.push_str(&Zeroizing::new(Json::from(text).to_string()));
        body.push_str("}");
        let answer = self.client.write(address, &path, body).await?;
        Ok(Data {
            json: answer.json().map_err(|_| of_content(address, "is not JSON"))?,
            server: address.to_owned(),
        })
    }
}

impl KeyService for VaultService {
    fn name(&self) -> String {
        "vault".to_owned()
    }

    fn effort(&self, _: &MasterKey) -> Effort {
        Effort::Remote
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move {
            if key.kind().name == KIND.name { Some(self.encrypt(key, secret).await) } else { None }
        })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(
            async move { if key.kind().name == KIND.name { Some(self.decrypt(key).await) } else { None } },
        )
    }
}

/// What a server answered.
struct Data {
    json: Json,
    server: String,
}

impl Data {
    /// Takes a text out of what was found; it is wiped afterwards.
    fn take_text(&mut self, field: &str) -> Option<Zeroizing<String>> {
        match self.json.get_mut("data")?.get_mut(field)? {
            Json::String(text) => Some(Zeroizing::new(std::mem::take(text))),
            _ => None,
        }
    }

    fn lacks(&self, what: &str) -> KeyError {
        let server = super::address::cleaned(&self.server);
        of_content(&server, &format!("has {what} in it")).into()
    }
}

/// How long a data key is, or a share of one.
const LENGTHS: std::ops::RangeInclusive<usize> = 1..=256;
