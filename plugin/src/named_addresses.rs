//! The addresses of key servers that the user named, on the command line or in a configuration of theirs: a document
//! cannot have credentials sent anywhere else, nor can a configuration that came with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use selkie::keys::{KeyGroup, MasterKey, Trust};
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

    /// Notes that a file is worked on, by its absolute path. The configuration in its folder or above may have come with
    /// it, and may apply to it: what it names is not what the user named, see [`Self::doubted`].
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
            if let Some(path) = self.own_config() {
                all.extend_from_slice(learned.of_config(path, &self.directory));
            }
            all
        })
    }

    /// Returns the configuration that names an address and was only found from the folder of a file: whoever made the
    /// file may have written it.
    #[must_use]
    pub fn doubted(&self, address: &str) -> Option<String> {
        let own = self.own_config();
        self.learn(|learned| {
            let found: Vec<_> = learned.folders.iter().filter_map(|folder| discover(folder).path).collect();
            let mut others = found.into_iter().filter(|path| Some(path) != own.as_ref());
            let path = others.find(|path| {
                let named = learned.of_config(path.clone(), &self.directory).to_vec();
                Trust::Listed(named).admits(address)
            })?;
            Some(path.strip_prefix(&self.directory).unwrap_or(&path).display().to_string())
        })
    }

    /// Returns the configuration that is the user's own.
    fn own_config(&self) -> Option<PathBuf> {
        self.config.clone().or_else(|| discover(&self.directory).path)
    }

    fn learn<T>(&self, use_it: impl FnOnce(&mut Learned) -> T) -> T {
        use_it(&mut self.learned.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Learned {
    /// Returns what a configuration names, by its absolute path.
    fn of_config(&mut self, path: PathBuf, directory: &Path) -> &[String] {
        self.of_configs.entry(path).or_insert_with_key(|path| {
            // One that cannot be read names nothing; whoever needs it is told why.
            let file = ConfigFile::load(path, directory);
            file.map(|file| addresses_of(&file.config)).unwrap_or_default()
        })
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
    key.address().map(str::to_owned)
}

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
    fn the_configuration_of_a_file_is_not_the_users() {
        let place = tempfile::tempdir().expect("a folder");
        let work = place.path().join("work");
        let (files, below) = (place.path().join("files"), work.join("below"));
        for folder in [&work, &files, &below] {
            fs::create_dir(folder).expect("a folder");
        }
        let config =
            |name: &str| format!("creation_rules: [{{hc_vault_transit_uri: https://{name}/v1/t/keys/k}}]");
        for folder in [&files, &below] {
            let name = folder.file_name().expect("a name").to_string_lossy();
            fs::write(folder.join(".sops.yaml"), config(&name)).expect("a file");
        }
        let named = NamedAddresses::new(&work, None);
        for folder in [&files, &below] {
            named.clone().note_file(&folder.join("a.yaml"));
        }
        assert_eq!(named.all(), Vec::<String>::new());
        let of_files = files.join(".sops.yaml").display().to_string();
        assert_eq!(named.doubted("https://files"), Some(of_files));
        assert_eq!(named.doubted("https://below").as_deref(), Some("below/.sops.yaml"));
        assert_eq!(named.doubted("https://other"), None);
        // From the working directory upward is the user's.
        let above = NamedAddresses::new(&below.join("x"), None);
        above.note_file(&below.join("a.yaml"));
        assert_eq!((above.all(), above.doubted("https://below")), (vec!["https://below".to_owned()], None));
        fs::write(work.join(".sops.yaml"), config("work")).expect("a file");
        assert_eq!(named.all(), ["https://work"]);
        assert!(named.doubted("https://below").is_some());
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
