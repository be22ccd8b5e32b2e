//! Credentials of Huawei Cloud: where they are looked for, in the order of the vendor's SDKs.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::{Client, Method};
use serde_json::Value as Json;
use zeroize::Zeroizing;

use crate::keys::http::Http;
use crate::keys::rest::take_text;
use crate::keys::{Cause, KeySetup, ServiceError};

/// An access key of Huawei Cloud and what belongs to it.
pub(super) struct Credentials {
    pub access_key: String,
    pub secret_key: Zeroizing<String>,
    /// The token of temporary credentials.
    pub security_token: Option<Zeroizing<String>>,
    /// The project to work in; else it is asked for by the name of the region.
    pub project: Option<String>,
    /// The address to ask for the project, if it is another one.
    pub iam_endpoint: Option<String>,
}

impl Credentials {
    /// Finds credentials: in the environment, in the file of profiles, or from the metadata of the machine.
    pub async fn find(setup: &KeySetup) -> Result<Self, ServiceError> {
        if let Some(found) = Self::of_environment(setup) {
            return Ok(found);
        }
        if let Some(found) = Self::of_profile(setup)? {
            return Ok(found);
        }
        Self::of_metadata(METADATA).await.ok_or_else(|| {
            let federated = setup.variable("HUAWEICLOUD_SDK_IDP_ID").is_some();
            let what = if federated {
                "an identity provider cannot be used here"
            } else {
                "there are no credentials for Huawei Cloud"
            };
            ServiceError::new(Cause::Credentials, what).with_remedy(PROVIDE)
        })
    }

    fn of_environment(setup: &KeySetup) -> Option<Self> {
        let variable = |name: &str| setup.variable(&format!("HUAWEICLOUD_SDK_{name}"));
        Some(Self {
            access_key: variable("AK")?,
            secret_key: Zeroizing::new(variable("SK")?),
            security_token: variable("SECURITY_TOKEN").map(Zeroizing::new),
            project: variable("PROJECT_ID"),
            iam_endpoint: None,
        })
    }

    fn of_profile(setup: &KeySetup) -> Result<Option<Self>, ServiceError> {
        let named = setup.variable("HUAWEICLOUD_SDK_CREDENTIALS_FILE").map(PathBuf::from);
        let home = || setup.variable("HOME").map(|home| PathBuf::from(home).join(".huaweicloud/credentials"));
        let Some(path) = named.clone().or_else(home) else { return Ok(None) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&Zeroizing::new(text))),
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let what = if named.is_some() {
                    "HUAWEICLOUD_SDK_CREDENTIALS_FILE names a file that"
                } else {
                    "the file ~/.huaweicloud/credentials is there and"
                };
                let detail = format!("{what} cannot be read: {error}");
                Err(ServiceError::new(Cause::Credentials, detail).with_remedy(PROVIDE))
            }
        }
    }

    /// Reads the section `basic` of a file of profiles.
    fn parse(text: &str) -> Option<Self> {
        let lines = text.lines().map(str::trim).skip_while(|line| *line != "[basic]").skip(1);
        let section: Vec<_> = lines.take_while(|line| !line.starts_with('[')).collect();
        let field = |name: &str| {
            let values = section.iter().filter_map(|line| line.split_once(['=', ':']));
            let mut values = values.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
            let value = values.next_back();
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        Some(Self {
            access_key: field("ak")?,
            secret_key: Zeroizing::new(field("sk")?),
            security_token: field("security_token").map(Zeroizing::new),
            project: field("project_id"),
            iam_endpoint: field("iam_endpoint"),
        })
    }

    /// Asks the metadata of an elastic cloud server for the temporary credentials of its agency.
    async fn of_metadata(address: &str) -> Option<Self> {
        // The address is one of the machine itself: nothing goes through a proxy.
        let http = Http::from_builder(Client::builder().no_proxy().timeout(METADATA_LIMIT)).ok()?;
        let token = http.request(Method::PUT, &format!("{address}/meta-data/latest/api/token"));
        let token = http.send(token.header("X-Metadata-Token-Ttl-Seconds", "21600")).await.ok()?;
        let mut request = http.request(Method::GET, &format!("{address}/openstack/latest/securitykey"));
        if token.status == 200 {
            // Older machines have no tokens.
            let mut token = HeaderValue::from_bytes(token.body.expose_secret()).ok()?;
            token.set_sensitive(true);
            request = request.header("X-Metadata-Token", token);
        }
        let answer = http.send(request).await.ok().filter(|answer| answer.status == 200)?;
        let mut credential = answer.json().ok()?.get_mut("credential").map(Json::take)?;
        let (access, secret) = (take_text(&mut credential, "access"), take_text(&mut credential, "secret"));
        (!access.is_empty() && !secret.is_empty()).then(|| Self {
            access_key: access.to_string(),
            secret_key: secret,
            security_token: Some(take_text(&mut credential, "securitytoken")),
            project: None,
            iam_endpoint: None,
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credentials({})", self.access_key)
    }
}

/// What gives a person credentials.
pub(super) const PROVIDE: &str = "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or write them to ~/.huaweicloud/credentials: `[basic]`, `ak = …`, `sk = …`";

const METADATA: &str = "http://169.254.169.254";
const METADATA_LIMIT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyError;
    use crate::keys::endpoint::server;

    #[test]
    fn profiles_are_read() {
        let text = "[global]\nak = no\n[basic]\n# ak = no\nak = a\nsk=b=c \nproject_id:p\nsecurity_token =\n[other]\nak = no\n";
        let found = Credentials::parse(text).expect("credentials");
        assert_eq!((found.access_key.as_str(), found.secret_key.as_str()), ("a", "b=c"));
        assert_eq!((found.project.as_deref(), found.security_token.is_none()), (Some("p"), true));
        for text in ["", "[basic]\nak = a\n", "ak = a\nsk = b\n", "[basic]\n[other]\nak = a\nsk = b\n"] {
            assert!(Credentials::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_environment_wins_and_is_not_shown() {
        let setup = KeySetup::new(|name| match name {
            "HUAWEICLOUD_SDK_AK" => Some("a".to_owned()),
            "HUAWEICLOUD_SDK_SK" => Some("SECRET".to_owned()),
            _ => None,
        });
        let found = Credentials::of_environment(&setup).expect("credentials");
        assert_eq!(format!("{found:?} {}", found.secret_key.as_str()), "Credentials(a) SECRET");
    }

    #[test]
    fn only_a_default_file_that_is_not_there_is_passed_over() {
        let home = std::env::temp_dir().join(format!("selkie-hckms-{}", std::process::id()));
        let text = home.to_string_lossy().into_owned();
        let setup = KeySetup::new(move |name| (name == "HOME").then(|| text.clone()));
        assert!(Credentials::of_profile(&setup).expect("nothing is there").is_none());
        // A folder cannot be read, not even by root.
        std::fs::create_dir_all(home.join(".huaweicloud/credentials")).expect("a folder");
        let error = Credentials::of_profile(&setup).expect_err("it cannot be read");
        std::fs::remove_dir_all(&home).expect("it is removed");
        assert_eq!(error.cause, Cause::Credentials);
        assert!(
            error.detail.starts_with("the file ~/.huaweicloud/credentials is there and cannot"),
            "{error}"
        );
    }

    #[test]
    fn the_metadata_gives_temporary_credentials() {
        let answer =
            r#"{"credential": {"access": "a", "secret": "b", "securitytoken": "t", "expires_at": "x"}}"#;
        let (address, requests) = server(vec![(404, String::new()), (200, answer.to_owned())]);
        let setup = KeySetup::new(|_| None);
        let ask = async move { Ok::<_, KeyError>(Credentials::of_metadata(&address).await) };
        let found = pollster::block_on(setup.remote.run(ask)).expect("no time-out").expect("credentials");
        assert_eq!((found.access_key.as_str(), found.secret_key.as_str()), ("a", "b"));
        assert_eq!(found.security_token.expect("a token").as_str(), "t");
        let requests = requests.join().expect("no panic");
        assert!(requests[0].starts_with("PUT /meta-data/latest/api/token "), "{requests:?}");
        assert!(requests[1].starts_with("GET /openstack/latest/securitykey "), "{requests:?}");
    }
}
