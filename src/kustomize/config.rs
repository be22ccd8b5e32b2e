//! Configurations of generators and transformers.

use serde_json::Value as Json;

use super::FaceError;

/// A kind of configuration.
pub(super) struct Kind {
    /// The group and version.
    pub(super) version: &'static str,
    /// The kind.
    pub(super) kind: &'static str,
    role: Role,
}

/// What a configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Generator,
    Transformer,
}

/// A configuration.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// How it is called, for people.
    pub(super) place: String,
    /// What it asks for.
    pub(super) role: Role,
    /// Files with manifests, or, for a transformer, files that resources were made of.
    pub(super) files: Vec<String>,
    /// Secrets to make of files.
    pub(super) secrets: Vec<SecretFrom>,
    /// Whether lines of dotenv files are read as KSOPS reads them, and not as Kustomize does.
    pub(super) is_godotenv: bool,
}

/// A Secret to make of files.
#[derive(Clone, Debug)]
pub(super) struct SecretFrom {
    pub(super) metadata: Json,
    pub(super) kind: Option<String>,
    pub(super) is_immutable: bool,
    /// Keys and paths, those of `binaryFiles` included.
    pub(super) files: Vec<(String, String)>,
    pub(super) envs: Vec<String>,
}

impl Config {
    /// Returns whether an object is a configuration for us.
    pub(super) fn is_one(object: &Json) -> bool {
        kind_of(object).is_some()
    }

    /// Reads a configuration, which is one for us whatever its kind if we are started with it.
    pub(super) fn new(object: &Json) -> Result<Self, FaceError> {
        let text = |field: &Json| field.as_str().unwrap_or_default().to_owned();
        let place = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        let known = kind_of(object);
        let role = known.map_or(Role::Generator, |kind| kind.role);
        // What has a kind of its own was written for KSOPS, which does not look at the kind.
        let is_godotenv = known.is_none_or(|kind| kind.kind == "ksops");
        let reader = Reader { place: &place };
        let list = if role == Role::Transformer { "sources" } else { "files" };
        let own: &[&str] = if role == Role::Transformer { &["sources"] } else { &["files", "secretFrom"] };
        // The last two are for Kustomize alone.
        let all = ["apiVersion", "kind", "metadata", "argsFromFile", "argsOneLiner"];
        reader.known(object, "", &[own, &all].concat())?;
        let files = reader.texts(&object[list], list)?;
        let secrets = reader.list(&object["secretFrom"], "secretFrom")?;
        let secrets = secrets.iter().map(|secret| reader.secret(secret)).collect::<Result<Vec<_>, _>>()?;
        if role == Role::Generator && files.is_empty() && secrets.is_empty() {
            return Err(reader.wrong("has neither `files` nor `secretFrom`, so that it generates nothing"));
        }
        Ok(Self { place, role, files, secrets, is_godotenv })
    }
}

/// Reads fields of one configuration.
struct Reader<'a> {
    place: &'a str,
}

impl Reader<'_> {
    /// Makes sure that a map has no field but known ones: one more is a typing error, and would leave something out.
    fn known(&self, map: &Json, place: &str, known: &[&str]) -> Result<(), FaceError> {
        let mut names = map.as_object().into_iter().flat_map(|map| map.keys());
        match names.find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let known = known.join(", ");
                Err(self.wrong(&format!("has no field `{place}{name}`; there are {known}")))
            }
            None => Ok(()),
        }
    }

    fn secret(&self, secret: &Json) -> Result<SecretFrom, FaceError> {
        if !secret.is_object() {
            return Err(self.wrong("`secretFrom` has an entry that is no map"));
        }
        let known = ["binaryFiles", "envs", "files", "immutable", "metadata", "type"];
        self.known(secret, "secretFrom.", &known)?;
        if secret["metadata"]["name"].as_str().is_none_or(str::is_empty) {
            return Err(self.wrong("`secretFrom` has an entry without metadata.name"));
        }
        let mut files = Vec::new();
        for name in ["files", "binaryFiles"] {
            for source in self.texts(&secret[name], name)? {
                files.push(key_and_path(&source).ok_or_else(|| {
                    self.wrong(&format!("an entry of `{name}` is neither a path nor a key, one = and a path"))
                })?);
            }
        }
        let envs = self.texts(&secret["envs"], "envs")?;
        if files.is_empty() && envs.is_empty() {
            return Err(self.wrong(
                "`secretFrom` has an entry without `files`, `binaryFiles` and `envs`, which would be an empty Secret",
            ));
        }
        let kind = match &secret["type"] {
            Json::Null => None,
            Json::String(kind) => Some(kind.clone()),
            _ => return Err(self.wrong("`secretFrom.type` is no text")),
        };
        let is_immutable = match &secret["immutable"] {
            Json::Null => false,
            Json::Bool(value) => *value,
            _ => return Err(self.wrong("`secretFrom.immutable` is neither true nor false")),
        };
        Ok(SecretFrom { metadata: secret["metadata"].clone(), kind, is_immutable, files, envs })
    }

    fn texts(&self, field: &Json, name: &str) -> Result<Vec<String>, FaceError> {
        let text = |entry: &Json| entry.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let entries = self.list(field, name)?.iter().map(text);
        entries.collect::<Option<_>>().ok_or_else(|| self.wrong(&format!("`{name}` holds what is no path")))
    }

    fn list<'j>(&self, field: &'j Json, name: &str) -> Result<&'j [Json], FaceError> {
        match field {
            Json::Null => Ok(&[]),
            Json::Array(entries) => Ok(entries),
            _ => Err(self.wrong(&format!("`{name}` is no list"))),
        }
    }

    fn wrong(&self, reason: &str) -> FaceError {
        FaceError::Config { place: self.place.to_owned(), reason: reason.to_owned() }
    }
}

/// Returns the key and path of an entry of `files`, as KSOPS takes it apart.
fn key_and_path(source: &str) -> Option<(String, String)> {
    let (key, path) = match source.split_once('=') {
        None => (source.rsplit('/').next().unwrap_or(source), source),
        Some(both) => both,
    };
    let is_right = !key.is_empty() && !path.is_empty() && !path.contains('=');
    is_right.then(|| (key.to_owned(), path.to_owned()))
}

fn kind_of(object: &Json) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| object["apiVersion"] == kind.version && object["kind"] == kind.kind)
}

/// The kinds of configurations.
pub(super) static KINDS: &[Kind] = &[
    Kind { version: "selkie.dev/v1alpha1", kind: "SopsGenerator", role: Role::Generator },
    Kind { version: "selkie.dev/v1alpha1", kind: "SopsTransformer", role: Role::Transformer },
    Kind { version: "viaduct.ai/v1", kind: "ksops", role: Role::Generator },
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ksops(fields: &Json) -> Result<Config, String> {
        let mut object = json!({"apiVersion": "viaduct.ai/v1", "kind": "ksops", "metadata": {"name": "a"}});
        for (name, value) in fields.as_object().expect("fields") {
            object[name] = value.clone();
        }
        Config::new(&object).map_err(|error| error.to_string())
    }

    #[test]
    fn a_configuration_of_ksops_is_read() {
        let config = ksops(&json!({
            "files": ["a.enc.yaml"],
            "secretFrom": [{
                "metadata": {"name": "b", "annotations": {"c": "d"}},
                "type": "kubernetes.io/tls",
                "files": ["x/y.enc.txt", "key=z"],
                "binaryFiles": ["w"],
                "envs": ["e.env"],
            }],
        }))
        .expect("a configuration");
        assert_eq!((config.place.as_str(), config.role), ("ksops a", Role::Generator));
        let files: Vec<_> =
            config.secrets[0].files.iter().map(|(key, path)| format!("{key} {path}")).collect();
        assert_eq!(files, ["y.enc.txt x/y.enc.txt", "key z", "w w"]);
        assert_eq!(config.secrets[0].kind.as_deref(), Some("kubernetes.io/tls"));
    }

    #[test]
    fn a_wrong_configuration_says_what_to_write_and_none_of_its_values() {
        for (fields, expected) in [
            (json!({}), "ksops a: has neither `files` nor `secretFrom`, so that it generates nothing"),
            (json!({"files": "hunter2"}), "ksops a: `files` is no list"),
            (json!({"files": [{"hunter2": 1}]}), "ksops a: `files` holds what is no path"),
            (json!({"secretFrom": [{}]}), "ksops a: `secretFrom` has an entry without metadata.name"),
            (json!({"secretFrom": ["hunter2"]}), "ksops a: `secretFrom` has an entry that is no map"),
            (
                json!({"sources": ["hunter2"]}),
                "ksops a: has no field `sources`; there are files, secretFrom, apiVersion, kind, metadata, argsFromFile, argsOneLiner",
            ),
            (
                json!({"secretFrom": [{"metadata": {"name": "b"}, "file": ["hunter2"]}]}),
                "ksops a: has no field `secretFrom.file`; there are binaryFiles, envs, files, immutable, metadata, type",
            ),
            (
                json!({"secretFrom": [{"metadata": {"name": "b"}, "files": []}]}),
                "ksops a: `secretFrom` has an entry without `files`, `binaryFiles` and `envs`, which would be an empty Secret",
            ),
            (
                json!({"secretFrom": [{"metadata": {"name": "b"}, "files": ["a"], "immutable": "hunter2"}]}),
                "ksops a: `secretFrom.immutable` is neither true nor false",
            ),
            (
                json!({"secretFrom": [{"metadata": {"name": "b"}, "files": ["a"], "type": 1}]}),
                "ksops a: `secretFrom.type` is no text",
            ),
            (
                json!({"secretFrom": [{"metadata": {"name": "b"}, "files": ["a=b=hunter2"]}]}),
                "ksops a: an entry of `files` is neither a path nor a key, one = and a path",
            ),
        ] {
            assert_eq!(ksops(&fields).expect_err("wrong"), expected);
        }
    }
}
