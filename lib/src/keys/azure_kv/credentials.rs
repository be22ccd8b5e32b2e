//! Azure credentials: which of them are tried, in the order of `DefaultAzureCredential` of Azure's libraries. Each
//! comes from Azure's own library.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, ExponentialRetryOptions, RetryOptions};
use azure_identity::{
    AzureCliCredential, AzureDeveloperCliCredential, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
};
use reqwest::{Client, Method};

use crate::keys::http::{Http, set_up_tls};
use crate::keys::said;
use crate::keys::{Cause, KeySetup, ServiceError};

/// Azure credentials of a run.
pub(super) struct Credentials(Vec<Source>);

/// One of the credentials that are tried, and what people can do if it fails.
struct Source {
    name: &'static str,
    remedy: &'static str,
    credential: Arc<dyn TokenCredential>,
}

impl Credentials {
    /// Finds credentials: a secret in the environment, a workload identity, or what this machine has: a managed
    /// identity, the login of `az`, that of `azd`. `AZURE_TOKEN_CREDENTIALS` chooses some of them.
    pub async fn find(setup: &KeySetup) -> Result<Self, ServiceError> {
        // Azure's library uses the TLS that is set up by it.
        set_up_tls();
        let wanted = setup.variable("AZURE_TOKEN_CREDENTIALS").map(|name| name.to_lowercase());
        let wants = |name: &str, group: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == group || wanted == format!("{name}credential"))
        };
        if wants("environment", "prod")
            && let Some(source) = of_environment(setup)?
        {
            return Ok(Self(vec![source]));
        }
        if wants("workloadidentity", "prod") && setup.variable("AZURE_FEDERATED_TOKEN_FILE").is_some() {
            let credential = WorkloadIdentityCredential::new(None);
            let credential = credential.map_err(|error| no_token("the workload identity", LOG_IN, &error))?;
            return Ok(Self(vec![Source { name: "the workload identity", remedy: LOG_IN, credential }]));
        }
        let mut sources = Vec::new();
        if wants("managedidentity", "prod") && has_managed_identity(setup).await {
            let id = setup.variable("AZURE_CLIENT_ID").map(UserAssignedId::ClientId);
            let options = ManagedIdentityCredentialOptions { user_assigned_id: id, ..Default::default() };
            let remedy = "assign an identity to this machine, and set AZURE_CLIENT_ID if it has several";
            if let Ok(credential) = ManagedIdentityCredential::new(Some(options)) {
                sources.push(Source { name: "the managed identity", remedy, credential });
            }
        }
        if wants("azurecli", "dev")
            && let Ok(credential) = AzureCliCredential::new(None)
        {
            sources.push(Source { name: "az", remedy: LOG_IN, credential });
        }
        if wants("azuredevelopercli", "dev")
            && let Ok(credential) = AzureDeveloperCliCredential::new(None)
        {
            sources.push(Source { name: "azd", remedy: LOG_IN, credential });
        }
        Ok(Self(sources))
    }

    /// Returns a token for a scope, of the first credentials that have one.
    pub async fn token(&self, scope: &str) -> Result<Secret, ServiceError> {
        let mut failures = Vec::new();
        for source in &self.0 {
            match source.credential.get_token(&[scope], None).await {
                Ok(AccessToken { token, .. }) => return Ok(token),
                Err(error) => failures.push(no_token(source.name, source.remedy, &error)),
            }
        }
        match failures.len() {
            1 => Err(failures.remove(0)),
            _ => {
                let details: Vec<_> = failures.iter().map(|failure| failure.detail.as_str()).collect();
                let details =
                    if details.is_empty() { "no credentials were found" } else { &details.join("; ") };
                Err(ServiceError::new(Cause::Credentials, details).with_remedy(LOG_IN))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|source| source.name)).finish()
    }
}

/// Returns the credentials of an application that the environment holds.
fn of_environment(setup: &KeySetup) -> Result<Option<Source>, ServiceError> {
    const NAME: &str = "the application of AZURE_CLIENT_ID";
    const REMEDY: &str = "see whether AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET belong together, and \
                          whether the secret is still valid: `az ad app credential list --id $AZURE_CLIENT_ID`";
    let (tenant, client) = (setup.variable("AZURE_TENANT_ID"), setup.variable("AZURE_CLIENT_ID"));
    let (Some(tenant), Some(client)) = (tenant, client) else { return Ok(None) };
    let Some(secret) = setup.variable("AZURE_CLIENT_SECRET") else {
        return match setup.variable("AZURE_CLIENT_CERTIFICATE_PATH") {
            Some(_) => Err(ServiceError::new(
                Cause::Credentials,
                "the certificate of AZURE_CLIENT_CERTIFICATE_PATH cannot be used by this build",
            )
            .with_remedy("use AZURE_CLIENT_SECRET, a workload identity, a managed identity, or `az login`")),
            None => Ok(None),
        };
    };
    // Whoever waits has a time-out, and wants to know the reason before it ends.
    let retry = ExponentialRetryOptions { max_retries: 2, ..Default::default() };
    let client_options = ClientOptions { retry: RetryOptions::exponential(retry), ..Default::default() };
    let options = ClientSecretCredentialOptions { client_options };
    let credential = ClientSecretCredential::new(&tenant, client, Secret::new(secret), Some(options));
    let credential = credential.map_err(|error| no_token(NAME, REMEDY, &error))?;
    Ok(Some(Source { name: NAME, remedy: REMEDY, credential }))
}

/// Returns whether this machine has something that gives out tokens of managed identities. The library waits long
/// for one that is not there.
async fn has_managed_identity(setup: &KeySetup) -> bool {
    if ["IDENTITY_ENDPOINT", "MSI_ENDPOINT"].iter().any(|name| setup.variable(name).is_some()) {
        return true;
    }
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(1));
    let Ok(http) = Http::from_builder(client) else { return false };
    http.send(http.request(Method::GET, METADATA)).await.is_ok()
}

/// Tells why there is no token, in the words of the innermost cause.
fn no_token(source: &str, remedy: &str, error: &azure_core::Error) -> ServiceError {
    let (mut cause, mut words) = (Cause::Credentials, error.to_string());
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = next {
        if matches!(current.downcast_ref().map(azure_core::Error::kind), Some(ErrorKind::Connection)) {
            cause = Cause::Unreachable;
        }
        words = current.to_string();
        next = current.source();
    }
    // What follows are identifiers for the support, and links.
    let words = words.split(" Trace ID:").next().unwrap_or_default();
    let words = words.split("To troubleshoot, visit").next().unwrap_or_default();
    ServiceError::new(cause, format!("Azure gave no token to {source}: {}", said(words))).with_remedy(
        match cause {
            Cause::Unreachable => {
                "see whether the login server of Azure can be reached from here: AZURE_AUTHORITY_HOST"
            }
            _ => remedy,
        },
    )
}

/// What gives a person credentials.
pub(super) const LOG_IN: &str =
    "run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET";

const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01";
