//! The addresses of key servers that the user named, on the command line or in a configuration: a document alone
//! cannot have credentials sent anywhere else.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use selkie::keys::{KeyGroup, MasterKey};
use selkie::sops::config::{Config, Target};

use crate::config_file::{ConfigFile, discover};

/// The addresses of key servers that the user named. What is learned in a run is shared by all copies.
#[derive(Clone, Debug)]
pub struct NamedAddresses {
    directory: PathBuf,
    config: Option<PathBuf>,
    learned: Arc<Mutex<Learned>>,
}

#[derive(Debug, Default)]
struct Learned {
    /// Folders of files, in the order in which they were worked on.
    folders: Vec<PathBuf>,
    /// Addresses of keys that the user named.
    addresses: Vec<String>,
    /// What configurations name, by their paths.
    of_configs: HashMap<PathBuf, Vec<String>>,
}

impl NamedAddresses {
    /// Returns those that the configuration of a run names: the one that was given, or else what is found from the
    /// working directory upward. It is read when it matters.
    #[must_use]
    pub fn new(directory: &Path, config: Option<&Path>) -> Self {
        let config = config.map(|path| crate::session::clean(&directory.join(path)));
        Self { directory: directory.to_owned(), config, learned: Arc::default() }
    }

    /// Notes that a file is worked on, by its absolute path: the configuration in its folder or above applies to it if
    /// none does from the working directory upward.
    pub fn note_file(&self, file: &Path) {
        let Some(folder) = file.parent() else { return };
        self.learn(|learned| {
            if !learned.folders.iter().any(|known| known == folder) {
                learned.folders.push(folder.to_owned());
            }
        });
    }

    /// Notes keys that the user named.
    pub fn note_keys<'a>(&self, keys: impl IntoIterator<Item = &'a MasterKey>) {
        let addresses: Vec<_> = keys.into_iter().filter_map(address_of).collect();
        self.learn(|learned| learned.addresses.extend(addresses));
    }

    /// Returns all addresses that are known by now.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        self.learn(|learned| {
            let mut all = learned.addresses.clone();
            for path in self.configs(&learned.folders) {
                let of_config = learned.of_configs.entry(path).or_insert_with_key(|path| {
                    // One that cannot be read names nothing; whoever needs it is told why.
                    let file = ConfigFile::load(path, &self.directory);
                    file.map(|file| addresses_of(&file.config)).unwrap_or_default()
                });
                all.extend_from_slice(of_config);
            }
            all
        })
    }

    /// Returns the configurations that apply, as [`Context::config_for`](crate::context::Context::config_for) finds
    /// them.
    fn configs(&self, folders: &[PathBuf]) -> Vec<PathBuf> {
        let general = self.config.clone().or_else(|| discover(&self.directory).path);
        match general {
            Some(path) => vec![path],
            None => folders.iter().filter_map(|folder| discover(folder).path).collect(),
        }
    }

    fn learn<T>(&self, use_it: impl FnOnce(&mut Learned) -> T) -> T {
        use_it(&mut self.learned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the addresses that the rules of a configuration name.
fn addresses_of(config: &Config) -> Vec<String> {
    let of_groups = |groups: &[KeyGroup]| {
        groups.iter().flat_map(|group| &group.0).filter_map(address_of).collect::<Vec<_>>()
    };
    let mut addresses: Vec<_> = config.creation_rules().flat_map(|rule| of_groups(&rule.groups)).collect();
    for rule in config.destination_rules() {
        if let Target::Vault { address, .. } = &rule.target {
            addresses.push(address.clone());
        }
        addresses.extend(rule.recreation_rule.iter().flat_map(|rule| of_groups(&rule.groups)));
    }
    addresses.retain(|address| !address.is_empty());
    addresses
}

/// Returns the address of the server that a key is on, if the key has one.
fn address_of(key: &MasterKey) -> Option<String> {
    let addresses = ADDRESS_FIELDS.iter().map(|field| key.field(field));
    addresses.filter(|address| !address.is_empty()).map(str::to_owned).next()
}

/// The fields of keys that hold addresses.
const ADDRESS_FIELDS: [&str; 2] = ["vault_address", "vault_url"];

#[cfg(test)]
mod tests {
    use std::fs;

    use selkie::keys::KeyKind;

    use super::*;

    const CONFIG: &str = "\
creation_rules:
  - path_regex: a
    key_groups:
      - hc_vault: [https://groups/v1/transit/keys/k]
  - hc_vault_transit_uri: https://flat:8200/v1/transit/keys/k,https://second/v1/t/keys/k
destination_rules:
  - vault_path: x
    vault_address: https://destination
  - s3_bucket: b
    recreation_rule:
      hc_vault_transit_uri: https://recreated/v1/transit/keys/k
";

    #[test]
    fn every_rule_of_a_configuration_counts() {
        let config = Config::parse(CONFIG.as_bytes()).expect("a configuration");
        assert_eq!(
            addresses_of(&config),
            [
                "https://groups",
                "https://flat:8200",
                "https://second",
                "https://destination",
                "https://recreated"
            ]
        );
    }

    #[test]
    fn the_configuration_of_a_file_counts_only_if_no_other_applies() {
        let place = tempfile::tempdir().expect("a folder");
        let (work, files) = (place.path().join("work"), place.path().join("files"));
        for folder in [&work, &files] {
            fs::create_dir(folder).expect("a folder");
        }
        let config =
            |name: &str| format!("creation_rules: [{{hc_vault_transit_uri: https://{name}/v1/t/keys/k}}]");
        fs::write(files.join(".sops.yaml"), config("files")).expect("a file");
        let named = NamedAddresses::new(&work, None);
        assert_eq!(named.all(), Vec::<String>::new());
        named.clone().note_file(&files.join("a.yaml"));
        assert_eq!(named.all(), ["https://files"]);
        fs::write(work.join(".sops.yaml"), config("work")).expect("a file");
        assert_eq!(named.all(), ["https://work"]);
        let given = NamedAddresses::new(&work, Some(Path::new("../files/.sops.yaml")));
        assert_eq!(given.all(), ["https://files"]);
    }

    #[test]
    fn keys_that_are_given_count() {
        let named = NamedAddresses::new(Path::new("/nonexistent"), None);
        let kind = KeyKind::from_name("hc_vault").expect("a kind");
        let keys = MasterKey::parse_list(kind, "https://given/v1/transit/keys/k").expect("a key");
        named.note_keys(&keys);
        assert_eq!(named.all(), ["https://given"]);
    }
}
