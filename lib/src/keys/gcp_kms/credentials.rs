//! Google credentials: where they are looked for, and the headers that they put on a request.
//!
//! Private keys and refresh tokens stay within Google's own library; what leaves it is a token for an hour.

use std::fmt;
use std::path::Path;

use google_cloud_auth::build_errors;
use google_cloud_auth::credentials::{
    AccessTokenCredentials, Builder, CacheableResource, CredentialsProvider, external_account,
    external_account_authorized_user, impersonated, service_account, user_account,
};
use google_cloud_auth::errors::CredentialsError;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::keys::http::set_up_tls;
use crate::keys::said;
use crate::keys::{Cause, KeySetup, ServiceError};

/// Google credentials of a run.
pub struct Credentials {
    source: Source,
    project: Option<String>,
}

enum Source {
    /// Found and kept fresh by Google's library.
    Library(AccessTokenCredentials),
    /// A token that somebody else got.
    Token(Zeroizing<String>),
}

impl Credentials {
    /// Finds credentials: those of `GOOGLE_CREDENTIALS`, which holds the path of a file or its text; else the token
    /// in `GOOGLE_OAUTH_ACCESS_TOKEN`; else the application default credentials of the machine.
    ///
    /// It must run on the runtime of [`KeySetup::remote`], as must all that asks for [`Self::headers`]: a task keeps
    /// the token fresh.
    ///
    /// # Errors
    /// If what is found cannot be used.
    pub fn find(setup: &KeySetup) -> Result<Self, ServiceError> {
        // Google's library uses the TLS that is set up by it.
        set_up_tls();
        let project = setup.variable("GOOGLE_CLOUD_QUOTA_PROJECT");
        let universe = setup.variable("SOPS_GCP_KMS_UNIVERSE_DOMAIN");
        let source = if let Some(given) = setup.variable("GOOGLE_CREDENTIALS") {
            Source::Library(from_json(read(&given)?, project.as_deref(), universe)?)
        } else if let Some(token) = setup.variable("GOOGLE_OAUTH_ACCESS_TOKEN") {
            Source::Token(Zeroizing::new(token))
        } else {
            let builder = Builder::default();
            let builder = universe.into_iter().fold(builder, Builder::with_universe_domain);
            let built = builder.build_access_token_credentials();
            Source::Library(built.map_err(|error| unusable("the application default credentials", &error))?)
        };
        Ok(Self { source, project })
    }

    /// Returns the headers that authorize a request: they hold a token.
    ///
    /// # Errors
    /// If no token can be had.
    pub async fn headers(&self) -> Result<HeaderMap, ServiceError> {
        match &self.source {
            Source::Library(library) => match library.headers(Default::default()).await {
                Ok(CacheableResource::New { data, .. }) => Ok(data),
                Ok(CacheableResource::NotModified) => Err(credentials_error("there is no new token")),
                Err(error) => Err(no_token(&error)),
            },
            Source::Token(token) => {
                let malformed = |_| credentials_error("GOOGLE_OAUTH_ACCESS_TOKEN is not a token");
                let bearer = Zeroizing::new(format!("Bearer {}", token.trim()));
                let mut value = HeaderValue::from_str(&bearer).map_err(malformed)?;
                value.set_sensitive(true);
                let mut headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
                if let Some(Ok(project)) = self.project.as_deref().map(HeaderValue::from_str) {
                    headers.insert(HeaderName::from_static("x-goog-user-project"), project);
                }
                Ok(headers)
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.source {
            Source::Library(_) => "Credentials(of Google's library)",
            Source::Token(_) => "Credentials(a token)",
        })
    }
}

/// Returns what `GOOGLE_CREDENTIALS` holds or names.
fn read(given: &str) -> Result<Json, ServiceError> {
    let wrong = |what: String| {
        credentials_error(&format!("GOOGLE_CREDENTIALS {what}"))
            .with_remedy("set GOOGLE_CREDENTIALS to the path or the text of a JSON file of credentials")
    };
    let text = if Path::new(given).exists() {
        let text = std::fs::read_to_string(given);
        Zeroizing::new(text.map_err(|error| wrong(format!("names a file that cannot be read: {error}")))?)
    } else {
        Zeroizing::new(given.to_owned())
    };
    // What the parser says may quote a private key.
    serde_json::from_str(&text).map_err(|_| wrong("is neither a file nor JSON".to_owned()))
}

fn from_json(
    json: Json,
    project: Option<&str>,
    universe: Option<String>,
) -> Result<AccessTokenCredentials, ServiceError> {
    /// Builds credentials of a type whose builder has these settings.
    macro_rules! build {
        ($type:ident $(, $universe:ident)?) => {{
            let builder = $type::Builder::new(json);
            let builder = project.into_iter().fold(builder, |builder, project| builder.with_quota_project_id(project));
            $(let builder = $universe.into_iter().fold(builder, |builder, domain| builder.with_universe_domain(domain));)?
            builder.build_access_token_credentials()
        }};
    }
    let of_type = json.get("type").and_then(Json::as_str).unwrap_or_default().to_owned();
    let built = match of_type.as_str() {
        "authorized_user" => build!(user_account),
        "external_account" => build!(external_account, universe),
        "external_account_authorized_user" => build!(external_account_authorized_user, universe),
        "impersonated_service_account" => build!(impersonated, universe),
        "service_account" => build!(service_account, universe),
        _ => {
            return Err(credentials_error("GOOGLE_CREDENTIALS has no `type` that is known").with_remedy(
                "known are authorized_user, external_account, external_account_authorized_user, \
                 impersonated_service_account and service_account",
            ));
        }
    };
    built.map_err(|error| unusable("GOOGLE_CREDENTIALS", &error))
}

/// Tells what is wrong with credentials in words that cannot quote them.
fn unusable(what: &str, error: &build_errors::Error) -> ServiceError {
    let problem = if error.is_loading() {
        "cannot be read"
    } else if error.is_unknown_type() || error.is_not_supported() {
        "are of a type that is not supported"
    } else if error.is_missing_field() {
        "lack a field"
    } else {
        "are not of the form that Google gives them"
    };
    credentials_error(&format!("{what} {problem}"))
}

/// Tells why there is no token: what the server says about it, or the innermost cause.
fn no_token(error: &CredentialsError) -> ServiceError {
    let mut causes = vec![error.to_string()];
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        causes.push(source.to_string());
        next = source.source();
    }
    let of_server = causes.iter().find_map(|cause| {
        let body = cause.split_once("body=<")?.1.rsplit_once('>')?.0;
        let body: Json = serde_json::from_str(body).ok()?;
        let text = |name: &str| body.get(name).and_then(Json::as_str);
        Some([text("error"), text("error_description")].into_iter().flatten().collect::<Vec<_>>().join(": "))
    });
    let reason = of_server.filter(|text| !text.is_empty());
    let reason = reason.or_else(|| causes.pop().filter(|cause| !cause.contains("body=<")));
    let reason = reason.as_deref().unwrap_or("its answer is not the one that was expected");
    credentials_error(&format!("Google gave no token: {}", said(reason)))
}

fn credentials_error(detail: &str) -> ServiceError {
    ServiceError::new(Cause::Credentials, detail).with_remedy(LOG_IN)
}

/// What gives a person credentials.
pub(super) const LOG_IN: &str = "run `gcloud auth application-default login`, or set GOOGLE_CREDENTIALS to the credentials of a service account";

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use rsa::pkcs8::{EncodePrivateKey, LineEnding};
    use serde_json::json;

    use super::*;
    use crate::keys::KeyError;

    fn headers(variables: &[(&str, String)]) -> Result<HeaderMap, ServiceError> {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let find = move |name: &str| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let setup = KeySetup::new(find);
        let remote = setup.remote.clone();
        let request = async move { Ok(Credentials::find(&setup)?.headers().await?) };
        pollster::block_on(remote.run(request)).map_err(|error| match error {
            KeyError::Service(error) => error,
            error => panic!("{error}"),
        })
    }

    fn service_account() -> Json {
        let key = rsa::RsaPrivateKey::new(&mut rand::thread_rng(), 2048).expect("a key");
        let pem = key.to_pkcs8_pem(LineEnding::LF).expect("PEM");
        json!({
            "type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "private_key_id": "1",
            "private_key": pem.as_str(), "project_id": "p", "token_uri": "https://oauth2.googleapis.com/token",
        })
    }

    #[test]
    fn a_given_token_is_a_bearer_token() {
        let project = ("GOOGLE_CLOUD_QUOTA_PROJECT", "q".to_owned());
        let headers = headers(&[("GOOGLE_OAUTH_ACCESS_TOKEN", "t\n".to_owned()), project]).expect("headers");
        assert_eq!(headers["authorization"], "Bearer t");
        assert!(headers["authorization"].is_sensitive());
        assert_eq!(headers["x-goog-user-project"], "q");
    }

    #[test]
    fn service_accounts_sign_their_own_tokens_and_beat_a_given_one() {
        let given = [
            ("GOOGLE_CREDENTIALS", service_account().to_string()),
            ("GOOGLE_OAUTH_ACCESS_TOKEN", "t".to_owned()),
        ];
        let headers = headers(&given).expect("headers");
        let token = headers["authorization"].to_str().expect("text").trim_start_matches("Bearer ");
        let claims = token.split('.').nth(1).expect("claims");
        let claims: Json =
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64")).expect("JSON");
        assert_eq!(claims["sub"], "a@p.iam.gserviceaccount.com");
        assert_eq!(claims["scope"], "https://www.googleapis.com/auth/cloud-platform");
    }

    #[test]
    fn unusable_credentials_are_not_quoted() {
        let mut lacking = service_account();
        lacking.as_object_mut().expect("an object").remove("client_email");
        for (given, detail) in [
            ("-----BEGIN SECRET".to_owned(), "GOOGLE_CREDENTIALS is neither a file nor JSON"),
            (r#"{"type": "SECRET"}"#.to_owned(), "GOOGLE_CREDENTIALS has no `type` that is known"),
            (lacking.to_string(), "GOOGLE_CREDENTIALS are not of the form that Google gives them"),
        ] {
            let error = headers(&[("GOOGLE_CREDENTIALS", given)]).expect_err("nothing usable");
            assert_eq!((error.cause, error.detail.as_str()), (Cause::Credentials, detail));
            assert!(error.remedy.is_some());
        }
    }

    #[test]
    fn what_the_token_server_says_is_told() {
        let error = CredentialsError::from_msg(
            false,
            r#"it failed, body=<{"error": "invalid_grant", "error_description": "expired"}>"#,
        );
        assert_eq!(no_token(&error).detail, "Google gave no token: invalid_grant: expired");
        let error = CredentialsError::from_msg(false, "it failed, body=<SECRET>");
        assert_eq!(
            no_token(&error).detail,
            "Google gave no token: its answer is not the one that was expected"
        );
    }
}
