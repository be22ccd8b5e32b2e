//! Clients of KMS: one for each region, role and profile, made when it is asked for first.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_config::default_provider::use_dual_stack::use_dual_stack_provider;
use aws_config::default_provider::use_fips::use_fips_provider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::config::{Credentials, IdentityCache, SharedCredentialsProvider};
use tokio::sync::OnceCell;

use super::limit::AnswerLimit;
use crate::keys::{Cause, KeySetup, ServiceError};

/// The clients of a run, with the credentials that each of them found.
pub struct Connections {
    setup: KeySetup,
    known: Mutex<HashMap<Place, Arc<Connection>>>,
}

/// Where a request goes, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The region of the key.
    pub region: String,
    /// The role to assume.
    pub role: Option<String>,
    /// The profile of the user's AWS configuration, if it is not the default one.
    pub profile: Option<String>,
}

#[derive(Default)]
struct Connection {
    client: OnceCell<Client>,
    /// Whether there are credentials, which the first request finds out.
    credentials: OnceCell<Result<(), (Instant, ServiceError)>>,
}

impl Connections {
    /// Returns no client yet.
    pub fn new(setup: &KeySetup) -> Self {
        Self { setup: setup.clone(), known: Mutex::default() }
    }

    /// Sends a request. The first one to a place finds the credentials; others wait for it, and need not look for
    /// credentials that are not there.
    ///
    /// # Errors
    /// If there are no credentials, or the request fails.
    pub async fn ask<T, F>(&self, place: &Place, request: impl Fn(Client) -> F) -> Result<T, ServiceError>
    where
        F: Future<Output = Result<T, ServiceError>>,
    {
        if self.setup.is_isolated() && place.profile.is_some() {
            let detail = "the key names a profile, and only the credentials that were handed in may be used";
            return Err(ServiceError::new(Cause::Credentials, detail));
        }
        let connection = self.connection(place);
        let client = connection.client.get_or_init(|| self.connect(place)).await;
        let mut first = None;
        let credentials = connection.credentials.get_or_init(|| async {
            let answer = request(client.clone()).await;
            let found = match &answer {
                Err(error) if error.cause == Cause::Credentials => Err((Instant::now(), error.clone())),
                _ => Ok(()),
            };
            first = Some(answer);
            found
        });
        let credentials = credentials.await;
        match (first, credentials) {
            (Some(answer), _) => answer,
            (None, Err((_, error))) => Err(error.clone()),
            (None, Ok(())) => request(client.clone()).await,
        }
    }

    fn connection(&self, place: &Place) -> Arc<Connection> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = known.entry(place.clone()).or_default();
        // Someone may have logged in since.
        if matches!(connection.credentials.get(), Some(Err((since, _))) if since.elapsed() > REMEMBERED) {
            *connection = Arc::default();
        }
        Arc::clone(connection)
    }

    async fn connect(&self, place: &Place) -> Client {
        let limit = self.setup.remote.limit();
        let region = Region::new(place.region.clone());
        // The one of the SDK is too short for a program that asks a person.
        let cache = IdentityCache::lazy().load_timeout(limit).build();
        let loader =
            aws_config::defaults(BehaviorVersion::latest()).region(region.clone()).identity_cache(cache);
        let loader = match &place.profile {
            None if self.setup.is_isolated() => loader.credentials_provider(handed_in(&self.setup)),
            None => loader,
            // As in sops: a profile that a key names goes before the credentials of the environment.
            Some(profile) => {
                let config = ProviderConfig::without_region().with_region(Some(region));
                let (fips, dual) = (use_fips_provider(&config).await, use_dual_stack_provider(&config).await);
                let config = config.with_use_fips(fips).with_use_dual_stack(dual);
                let provider = ProfileFileCredentialsProvider::builder().profile_name(profile);
                loader.profile_name(profile).credentials_provider(provider.configure(&config).build())
            }
        };
        let mut config = loader.load().await;
        if let Some(role) = &place.role {
            let session = session_name(&self.setup.host());
            let provider = AssumeRoleProvider::builder(role).configure(&config).session_name(session);
            let provider = SharedCredentialsProvider::new(provider.build().await);
            config = config.into_builder().credentials_provider(provider).build();
        }
        let config = aws_sdk_kms::config::Builder::from(&config).interceptor(AnswerLimit);
        Client::from_conf(config.build())
    }
}

/// Returns the credentials that the variables hold. Without any, they are empty, which no server takes.
fn handed_in(setup: &KeySetup) -> Credentials {
    let variable = |name| setup.variable(name);
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let (id, secret) = (id.unwrap_or_default(), secret.unwrap_or_default());
    Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "handed in")
}

/// Returns the name that the session of a role has, as sops names it: policies may ask for it.
fn session_name(host: &str) -> String {
    let kept = |character: &char| character.is_ascii_alphanumeric() || "=,.@_".contains(*character);
    format!("sops@{host}").chars().filter(kept).take(SESSION_NAME).collect()
}

/// How long it is remembered that there are no credentials.
const REMEMBERED: Duration = Duration::from_secs(30);

/// How long the name of a session may be.
const SESSION_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn isolated(variables: &'static [(&str, &str)]) -> KeySetup {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        KeySetup::new(move |name| find(name).map(|(_, value)| (*value).to_owned())).isolated()
    }

    #[test]
    fn credentials_that_are_handed_in_are_those_of_the_variables() {
        let found = handed_in(&isolated(&[
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
        ]));
        assert_eq!((found.access_key_id(), found.secret_access_key()), ("id", "secret"));
        assert_eq!(found.session_token(), Some("token"));
    }

    #[test]
    fn whoever_hands_in_credentials_gets_no_profile_of_this_machine() {
        let place = Place { region: "eu-west-1".to_owned(), role: None, profile: Some("prod".to_owned()) };
        let connections = Connections::new(&isolated(&[]));
        let answer = connections.ask(&place, |_| async { Ok(()) });
        assert_eq!(pollster::block_on(answer).map_err(|error| error.cause), Err(Cause::Credentials));
    }

    #[test]
    fn sessions_are_named_as_sops_names_them() {
        assert_eq!(session_name("build-7.example.com"), "sops@build7.example.com");
        assert_eq!(session_name("a b/ü_="), "sops@ab_=");
        assert_eq!(session_name(&"x".repeat(90)), format!("sops@{}", "x".repeat(59)));
    }
}
