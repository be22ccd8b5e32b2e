//! What an application says itself of how it is rendered: its parameters, or variables of the same names.

use clap::ValueEnum;
use serde_json::Value as Json;

use super::facts::Facts;
use super::message::ParameterAnnouncement;
use crate::render::helm::check_values;
use crate::render::settings::Mode;

/// How an application wants to be rendered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub builder: BuilderName,
    /// What comes out for decrypted values, if the application may choose.
    pub mode: Option<Mode>,
    /// The name of the release, with Helm.
    pub release: Option<String>,
    /// Files with values, with Helm, relative to the folder of the application.
    pub values: Vec<String>,
}

/// What builds the manifests of an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum BuilderName {
    /// What its files are for.
    #[default]
    Auto,
    Directory,
    Helm,
    Kustomize,
}

/// Why a parameter cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum ParameterError {
    /// They are not what the repo-server sends.
    #[error("the parameters of the application cannot be read")]
    Malformed,
    /// A parameter is there twice.
    #[error("the parameter {0} is there twice")]
    Twice(String),
    /// It is of another type.
    #[error("the parameter {0} has to be {1}")]
    Type(&'static str, &'static str),
    /// There is no such parameter.
    #[error("there is no parameter {0:?}, only builder, mode, release and values")]
    Unknown(String),
    /// It has another value than it can have.
    #[error("the parameter {name} is {value:?}, and has to be {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

impl Parameters {
    /// Reads the parameters of an application.
    pub(super) fn read(facts: &Facts, folder: &str) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for (name, variable) in VARIABLES {
            if let Some(value) = facts.get(variable) {
                parameters.set(name, &Json::from(value), folder)?;
            }
        }
        let Some(text) = facts.get(PARAMETERS) else { return Ok(parameters) };
        let list: Json = serde_json::from_str(text).map_err(|_| ParameterError::Malformed)?;
        let list = match list {
            Json::Array(list) => list,
            Json::Null => return Ok(parameters),
            _ => return Err(ParameterError::Malformed),
        };
        let mut seen = Vec::new();
        for item in &list {
            let name = item["name"].as_str().ok_or(ParameterError::Malformed)?;
            if seen.contains(&name) {
                return Err(ParameterError::Twice(name.to_owned()));
            }
            seen.push(name);
            let value = ["string", "array", "map"].iter().find_map(|kind| item.get(kind));
            parameters.set(name, value.unwrap_or(&Json::Null), folder)?;
        }
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: &Json, folder: &str) -> Result<(), ParameterError> {
        match name {
            "builder" => {
                let expected = "auto, directory, helm or kustomize";
                self.builder = choice("builder", value, expected)?.unwrap_or_default();
            }
            "mode" => self.mode = choice("mode", value, "defer, fake, plain, redact or reseal")?,
            "release" => self.release = text("release", value)?.map(str::to_owned),
            "values" => self.values = values(value, folder)?,
            _ => return Err(ParameterError::Unknown(name.to_owned())),
        }
        Ok(())
    }
}

/// Returns what an application may say, for forms.
pub(super) fn announcements() -> Vec<ParameterAnnouncement> {
    let parameter = |name: &str, title: &str, tooltip: &str, value: &str| ParameterAnnouncement {
        name: name.to_owned(),
        title: title.to_owned(),
        tooltip: tooltip.to_owned(),
        item_type: "string".to_owned(),
        collection_type: "string".to_owned(),
        string: value.to_owned(),
        ..ParameterAnnouncement::default()
    };
    let builders = "What builds the manifests: auto, directory, helm or kustomize";
    let modes =
        "What comes out for decrypted values, where that may be chosen: defer, fake, plain, redact or reseal";
    let mut all =
        vec![parameter("builder", "Builder", builders, "auto"), parameter("mode", "Mode", modes, "")];
    let release = "The name of the release, with Helm; without it, that of the application";
    all.push(parameter("release", "Release", release, ""));
    let values = "Files with values, with Helm, relative to the application; they may be encrypted";
    let values = parameter("values", "Values files", values, "");
    all.push(ParameterAnnouncement { collection_type: "array".to_owned(), ..values });
    all
}

fn text<'a>(name: &'static str, value: &'a Json) -> Result<Option<&'a str>, ParameterError> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        _ => Err(ParameterError::Type(name, "a string")),
    }
}

fn choice<T: ValueEnum>(
    name: &'static str,
    value: &Json,
    expected: &'static str,
) -> Result<Option<T>, ParameterError> {
    let Some(text) = text(name, value)? else { return Ok(None) };
    let unknown = |_| ParameterError::Value { name, value: text.to_owned(), expected };
    T::from_str(text, false).map(Some).map_err(unknown)
}

/// Reads files with values: an array, or a text with commas between them.
fn values(value: &Json, folder: &str) -> Result<Vec<String>, ParameterError> {
    let wrong = ParameterError::Type("values", "an array of strings");
    let paths: Vec<&str> = match value {
        Json::Null => Vec::new(),
        Json::String(text) => text.split(',').filter(|path| !path.is_empty()).collect(),
        Json::Array(items) => items.iter().map(Json::as_str).collect::<Option<_>>().ok_or(wrong)?,
        _ => return Err(wrong),
    };
    for path in &paths {
        if path.is_empty() || check_values(folder, path).is_err() {
            let expected = "a path in the repository";
            return Err(ParameterError::Value { name: "values", value: (*path).to_owned(), expected });
        }
    }
    Ok(paths.into_iter().map(str::to_owned).collect())
}

/// What Argo CD puts the parameters in.
const PARAMETERS: &str = "ARGOCD_APP_PARAMETERS";

/// The variables that say the same as a parameter, which wins.
const VARIABLES: [(&str, &str); 4] = [
    ("builder", "ARGOCD_ENV_SELKIE_BUILDER"),
    ("mode", "ARGOCD_ENV_SELKIE_MODE"),
    ("release", "ARGOCD_ENV_SELKIE_RELEASE"),
    ("values", "ARGOCD_ENV_SELKIE_VALUES"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(entries: &[(&str, &str)]) -> Result<Parameters, ParameterError> {
        let entries = entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Parameters::read(&Facts::new(entries).expect("they are clear"), "apps/cart")
    }

    #[test]
    fn parameters_are_those_of_the_application() {
        let list = r#"[{"name":"builder","string":"helm"},{"name":"values","array":["a.yaml","../b.yaml"]},
            {"name":"release","string":"cart"},{"name":"mode","string":"reseal"}]"#;
        let parameters = read(&[(PARAMETERS, list), ("ARGOCD_ENV_SELKIE_BUILDER", "directory")]);
        assert_eq!(
            parameters.expect("they are sound"),
            Parameters {
                builder: BuilderName::Helm,
                mode: Some(Mode::Reseal),
                release: Some("cart".to_owned()),
                values: vec!["a.yaml".to_owned(), "../b.yaml".to_owned()],
            }
        );
        for nothing in ["null", "[]", ""] {
            assert_eq!(read(&[(PARAMETERS, nothing)]).expect("there are none"), Parameters::default());
        }
        let from_root = r#"[{"name":"values","array":["/env/x.yaml","$values/b.yaml","secrets://c.yaml"]}]"#;
        let from_root = read(&[(PARAMETERS, from_root)]).expect("they are files of the repository");
        assert_eq!(from_root.values, ["/env/x.yaml", "$values/b.yaml", "secrets://c.yaml"]);
        let by_variable = read(&[("ARGOCD_ENV_SELKIE_VALUES", "a.yaml,b.yaml")]).expect("it is sound");
        assert_eq!(by_variable.values, ["a.yaml", "b.yaml"]);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (list, expected) in [
            (r#"{"#, "the parameters of the application cannot be read"),
            (r#"{"a":1}"#, "the parameters of the application cannot be read"),
            (r#"[{"string":"x"}]"#, "the parameters of the application cannot be read"),
            (
                r#"[{"name":"bulider","string":"helm"}]"#,
                "there is no parameter \"bulider\", only builder, mode, release and values",
            ),
            (
                r#"[{"name":"builder","string":"jsonnet"}]"#,
                "the parameter builder is \"jsonnet\", and has to be auto, directory, helm or kustomize",
            ),
            (r#"[{"name":"builder","array":["helm"]}]"#, "the parameter builder has to be a string"),
            (r#"[{"name":"values","map":{"a":"b"}}]"#, "the parameter values has to be an array of strings"),
            (
                r#"[{"name":"values","array":["../../../etc/passwd"]}]"#,
                "the parameter values is \"../../../etc/passwd\", and has to be a path in the repository",
            ),
            (
                r#"[{"name":"values","array":["https://example.com/x"]}]"#,
                "the parameter values is \"https://example.com/x\", and has to be a path in the repository",
            ),
            (
                r#"[{"name":"release","string":"a"},{"name":"release","string":"b"}]"#,
                "the parameter release is there twice",
            ),
        ] {
            let error = read(&[(PARAMETERS, list)]).expect_err("it is refused");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn all_that_is_announced_is_known() {
        for parameter in announcements() {
            let list = json!([{"name": parameter.name}]).to_string();
            assert_eq!(read(&[(PARAMETERS, &list)]).expect("it is known"), Parameters::default());
        }
        for mode in Mode::value_variants() {
            let value = mode.to_possible_value().expect("it has a name");
            assert_eq!(value.get_name(), mode.name());
        }
    }
}
