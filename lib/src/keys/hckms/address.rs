//! Names of keys and addresses of Huawei Cloud. Regions and projects become parts of URLs, so neither holds anything
//! that a URL could take for something else.

use std::path::PathBuf;

use serde_json::Value as Json;

use crate::format::Format;
use crate::keys::endpoint::Endpoint;
use crate::keys::{Cause, KeyParseError, KeySetup, ServiceError};

/// The name of a key: `REGION:IDENTIFIER`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyName {
    pub region: String,
    pub id: String,
}

impl KeyName {
    /// Reads the name of a key.
    pub fn parse(text: &str) -> Result<Self, KeyParseError> {
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(is_word_byte);
        match text.trim().split_once(':').map(|(region, id)| (region.trim(), id.trim())) {
            Some((region, id)) if is_word(region) && is_word(&id.to_ascii_lowercase()) => {
                Ok(Self { region: region.to_owned(), id: id.to_owned() })
            }
            _ => Err(KeyParseError::new(text, "a key like `tr-west-1:abc12345-6789-0123-4567-890123456789`")),
        }
    }
}

/// Returns whether a text can be the identifier of a project.
pub(super) fn is_project(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Finds the address of the key management of a region: `HUAWEICLOUD_SDK_REGION_KMS_…`, else what the file of regions
/// says, else the vendor's.
pub(super) fn kms_endpoint(setup: &KeySetup, region: &str) -> Result<Endpoint, ServiceError> {
    let variable = format!("HUAWEICLOUD_SDK_REGION_KMS_{}", region.to_uppercase().replace('-', "_"));
    if let Some(given) = setup.variable(&variable) {
        return Endpoint::given(&variable, given.split(',').next().unwrap_or_default().trim());
    }
    if let Some(given) = of_file(setup, region)? {
        return Endpoint::given("the file of regions", &given);
    }
    Endpoint::given("the region", &format!("https://kms.{region}.{}", domain(region)))
}

/// Finds the address where projects are asked for: what the credentials name, else `HUAWEICLOUD_SDK_IAM_ENDPOINT`,
/// else the vendor's.
pub(super) fn iam_endpoint(
    setup: &KeySetup,
    region: &str,
    of_credentials: Option<&str>,
) -> Result<Endpoint, ServiceError> {
    const VARIABLE: &str = "HUAWEICLOUD_SDK_IAM_ENDPOINT";
    match of_credentials.map(str::to_owned).or_else(|| setup.variable(VARIABLE)) {
        Some(given) => Endpoint::given(VARIABLE, &given),
        None => Endpoint::given("the region", &format!("https://iam.{region}.{}", domain(region))),
    }
}

fn domain(region: &str) -> &'static str {
    if region == "eu-west-101" { "myhuaweicloud.eu" } else { "myhuaweicloud.com" }
}

/// Returns what the file of regions says of a region: `KMS: [{id: …, endpoint: …}]`.
fn of_file(setup: &KeySetup, region: &str) -> Result<Option<String>, ServiceError> {
    let named = setup.variable("HUAWEICLOUD_SDK_REGIONS_FILE").map(PathBuf::from);
    let home = || setup.variable("HOME").map(|home| PathBuf::from(home).join(".huaweicloud/regions.yaml"));
    let Some(path) = named.or_else(home).filter(|path| path.exists()) else { return Ok(None) };
    let broken = |what: String| {
        ServiceError::new(Cause::Other, format!("the file of regions {}: {what}", path.display()))
            .with_remedy("mend the file, or name another one with HUAWEICLOUD_SDK_REGIONS_FILE")
    };
    let text = std::fs::read(&path).map_err(|error| broken(error.to_string()))?;
    let tree = Format::Yaml.read(text).map_err(|error| broken(error.to_string()))?;
    let services = tree.documents().first().map(|&document| tree.to_json(document)).unwrap_or_default();
    let of_kms =
        services.as_object().into_iter().flatten().filter(|(name, _)| name.eq_ignore_ascii_case("kms"));
    let mut regions = of_kms.filter_map(|(_, regions)| regions.as_array()).flatten();
    let found = regions.find(|entry| entry.get("id").and_then(Json::as_str) == Some(region));
    let text = |pointer: &str| found.and_then(|entry| entry.pointer(pointer)?.as_str());
    Ok(text("/endpoint").or_else(|| text("/endpoints/0")).map(str::to_owned))
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(variables: &'static [(&'static str, &'static str)], region: &str) -> Result<String, Cause> {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let endpoint = kms_endpoint(&KeySetup::new(find), region);
        endpoint.map(|endpoint| endpoint.url).map_err(|error| error.cause)
    }

    #[test]
    fn names_hold_nothing_that_a_url_could_take_for_something_else() {
        let name = KeyName::parse(" tr-west-1: abc-1 ").expect("a name");
        assert_eq!((name.region.as_str(), name.id.as_str()), ("tr-west-1", "abc-1"));
        for text in ["evil.org/:abc", "a@b:c", "A-1:abc", "tr-west-1:a/b", "tr-west-1:", ":a", "a", "a:b:c"] {
            assert!(KeyName::parse(text).is_err(), "{text}");
        }
        for (text, expected) in [("0a1B", true), ("", false), ("a/b", false), ("..", false)] {
            assert_eq!(is_project(text), expected, "{text}");
        }
    }

    #[test]
    fn the_address_is_that_of_the_region() {
        assert_eq!(address(&[], "tr-west-1").as_deref(), Ok("https://kms.tr-west-1.myhuaweicloud.com"));
        assert_eq!(address(&[], "eu-west-101").as_deref(), Ok("https://kms.eu-west-101.myhuaweicloud.eu"));
        let given = &[("HUAWEICLOUD_SDK_REGION_KMS_TR_WEST_1", "https://a.example.com,https://b")];
        assert_eq!(address(given, "tr-west-1").as_deref(), Ok("https://a.example.com"));
        let given = &[("HUAWEICLOUD_SDK_REGION_KMS_TR_WEST_1", "http://a.example.com")];
        assert_eq!(address(given, "tr-west-1"), Err(Cause::Untrusted));
    }

    #[test]
    fn a_file_of_regions_is_read() {
        let path = std::env::temp_dir().join(format!("selkie-regions-{}.yaml", std::process::id()));
        let text = "ECS:\n- {id: x-1, endpoint: https://ecs}\nKMS:\n- {id: x-1, endpoint: https://one}\n\
                    - id: x-2\n  endpoints: [https://two]\n";
        std::fs::write(&path, text).expect("room");
        let named = path.display().to_string();
        let setup =
            KeySetup::new(move |name| (name == "HUAWEICLOUD_SDK_REGIONS_FILE").then(|| named.clone()));
        let of = |region| of_file(&setup, region).expect("it can be read");
        assert_eq!(of("x-1").as_deref(), Some("https://one"));
        assert_eq!(of("x-2").as_deref(), Some("https://two"));
        assert_eq!(of("x-3"), None);
        std::fs::remove_file(path).expect("it is there");
    }
}
