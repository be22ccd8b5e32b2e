//! The service for keys of AWS KMS: requests to encrypt and decrypt, with the credentials that the AWS SDK finds.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::KIND;
use super::arn::{check_role, region_of};
use super::connections::{Connections, Place};
use super::failure::Asked;
use crate::keys::{
    Effort, KeyError, KeyFuture, KeyParseError, KeyService, KeySetup, MasterKey, Remote, ServiceError,
};
use crate::secret::SecretBytes;

/// Wraps and unwraps with keys of AWS KMS.
pub struct KmsService {
    remote: Arc<Remote>,
    connections: Arc<Connections>,
}

impl KmsService {
    /// Returns a service that looks for credentials when a key is asked for first.
    #[must_use]
    pub fn new(setup: &KeySetup) -> Self {
        let connections = Arc::new(Connections::new(setup));
        Self { remote: Arc::clone(&setup.remote), connections }
    }

    async fn encrypt(&self, key: &MasterKey, secret: &SecretBytes) -> Result<String, KeyError> {
        let request = Request::of("kms:Encrypt", key)?;
        let asked = request.asked.clone();
        let secret = SecretBytes::from(secret.expose_secret());
        let ask = move |client: Client| {
            let call =
                client.encrypt().key_id(&request.asked.arn).plaintext(Blob::new(secret.expose_secret()));
            let (call, asked) = (call.set_encryption_context(request.context.clone()), request.asked.clone());
            async move { call.send().await.map_err(|error| asked.failed(&error)) }
        };
        match self.ask(asked.clone(), ask).await?.ciphertext_blob {
            Some(blob) if !blob.as_ref().is_empty() => Ok(STANDARD.encode(blob)),
            _ => Err(asked.incomplete().into()),
        }
    }

    async fn decrypt(&self, key: &MasterKey) -> Result<SecretBytes, KeyError> {
        let request = Request::of("kms:Decrypt", key)?;
        let wrapped = STANDARD.decode(key.wrapped());
        let wrapped = wrapped.map_err(|_| KeyError::Malformed("it is not base64".to_owned()))?;
        let asked = request.asked.clone();
        let ask = move |client: Client| {
            let call =
                client.decrypt().key_id(&request.asked.arn).ciphertext_blob(Blob::new(wrapped.clone()));
            let (call, asked) = (call.set_encryption_context(request.context.clone()), request.asked.clone());
            async move { call.send().await.map_err(|error| asked.failed(&error)) }
        };
        let secret = self.ask(asked.clone(), ask).await?.plaintext.map(Blob::into_inner);
        match secret.map(SecretBytes::from) {
            Some(secret) if !secret.is_empty() => Ok(secret),
            _ => Err(asked.incomplete().into()),
        }
    }

    async fn ask<T, F>(
        &self,
        asked: Asked,
        request: impl Fn(Client) -> F + Send + Sync + 'static,
    ) -> Result<T, KeyError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ServiceError>> + Send,
    {
        let (connections, place) = (Arc::clone(&self.connections), asked.place.clone());
        let answer = self.remote.run(async move { Ok(connections.ask(&place, request).await?) });
        asked.named(answer.await)
    }
}

impl KeyService for KmsService {
    fn name(&self) -> String {
        "AWS KMS".to_owned()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        if is_ours(key) { Effort::Remote } else { Effort::Free }
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        Box::pin(async move { if is_ours(key) { Some(self.encrypt(key, secret).await) } else { None } })
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Box::pin(async move { if is_ours(key) { Some(self.decrypt(key).await) } else { None } })
    }
}

fn is_ours(key: &MasterKey) -> bool {
    key.kind().name == KIND.name
}

/// What is asked of KMS about a key.
struct Request {
    asked: Asked,
    context: Option<HashMap<String, String>>,
}

impl Request {
    fn of(action: &'static str, key: &MasterKey) -> Result<Self, KeyError> {
        let text = |name: &str| Some(key.field(name)).filter(|text| !text.is_empty()).map(str::to_owned);
        let arn = key.field("arn").to_owned();
        let region = region_of(&arn)?.to_owned();
        let role = text("role");
        role.as_deref().map_or(Ok(()), check_role)?;
        let place = Place { region, role, profile: text("aws_profile") };
        Ok(Self { context: context_of(key)?, asked: Asked { action, arn, place } })
    }
}

/// Returns the context of a key as KMS takes it: names and texts.
fn context_of(key: &MasterKey) -> Result<Option<HashMap<String, String>>, KeyError> {
    let context = match key.fields().get("context") {
        None | Some(Json::Null) => return Ok(None),
        Some(Json::Object(context)) => context,
        Some(other) => return Err(KeyParseError::new(&other.to_string(), CONTEXT).into()),
    };
    let text = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let pairs = context.iter().map(|(name, value)| Some((name.clone(), text(value)?)));
    let pairs: Option<HashMap<_, _>> = pairs.collect();
    pairs.map(Some).ok_or_else(|| KeyParseError::of_object(context, CONTEXT).into())
}

const CONTEXT: &str = "an encryption context: names and a text for each";
