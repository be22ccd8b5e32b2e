//! The keys of this machine that need neither a network, nor another program's secrets, nor a person.
//!
//! Identities of age are looked for where sops looks, but for commands: a check runs no program that a variable names.
//! Nothing is read before a document needs it. What a passphrase protects is passed over, and so are the secret keys of
//! gpg, whose agent may ask; its public keys are used.

use std::fs;
use std::future::ready;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use selkie::keys::age::{AgeService, Identities, IdentityLayout, IdentitySource};
use selkie::keys::{Cause, Effort, KeyFuture, KeyService, KeySetup, MasterKey, ServiceError, pgp};
use selkie::secret::SecretBytes;

use super::Keys;

/// The keys of this machine.
pub struct LocalKeys {
    services: Vec<Quiet>,
}

impl LocalKeys {
    /// Returns the keys that the environment names, or that lie where they are looked for. `variable` returns a
    /// variable of the environment, and relative paths are from `directory` on.
    #[must_use]
    pub fn new(variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static, directory: &Path) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut identities = Identities::new();
        if let Some(keys) = set("SOPS_AGE_KEY") {
            let keys = SecretBytes::from(keys.as_str());
            let source = IdentitySource::new("SOPS_AGE_KEY", move |_| Ok(Some(keys.expose_secret().into())));
            identities.add_source(source.with_layout(IdentityLayout::Words));
        }
        if let Some(path) = set("SOPS_AGE_KEY_FILE") {
            identities.add_source(file("SOPS_AGE_KEY_FILE", directory.join(path), true));
        }
        if let Some(path) = default_file(&set) {
            identities.add_source(file(&path.display().to_string(), path, false));
        }
        if let Some(path) = set("SOPS_AGE_SSH_PRIVATE_KEY_FILE") {
            identities
                .add_source(file("SOPS_AGE_SSH_PRIVATE_KEY_FILE", directory.join(path), true).for_ssh());
        }
        if let Some(home) = set("HOME").or_else(|| set("USERPROFILE")) {
            for name in ["id_ed25519", "id_rsa"] {
                let path = Path::new(&home).join(".ssh").join(name);
                identities.add_source(file(&path.display().to_string(), path, false).for_ssh());
            }
        }
        let mut services: Vec<Box<dyn KeyService>> = vec![Box::new(AgeService::new(identities))];
        let setup = KeySetup::new(variable);
        services.extend(pgp::KIND.connect.map(|connect| connect(&setup)));
        Self { services: services.into_iter().map(Quiet).collect() }
    }
}

impl Keys for LocalKeys {
    fn with_services(&self, _: bool, with: &mut dyn FnMut(&[&dyn KeyService])) -> Result<(), String> {
        let services: Vec<_> = self.services.iter().map(|service| service as &dyn KeyService).collect();
        with(&services);
        Ok(())
    }
}

/// A service that wraps, and unwraps only what nobody need be asked for.
struct Quiet(Box<dyn KeyService>);

impl KeyService for Quiet {
    fn name(&self) -> String {
        self.0.name()
    }

    fn effort(&self, key: &MasterKey) -> Effort {
        self.0.effort(key)
    }

    fn wrap<'a>(&'a self, key: &'a MasterKey, secret: &'a SecretBytes) -> KeyFuture<'a, String> {
        self.0.wrap(key, secret)
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        if self.0.effort(key) == Effort::Free {
            return self.0.unwrap(key);
        }
        let what = format!("{} may ask for a passphrase, which is not done here", self.name());
        Box::pin(ready(Some(Err(ServiceError::new(Cause::Other, what).into()))))
    }
}

/// Returns a file with identities, which must be there if the user named it.
fn file(name: &str, path: PathBuf, is_named: bool) -> IdentitySource {
    IdentitySource::new(name, move |_| match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MAX_SIZE => Err("it is too large to hold identities".to_owned()),
        Ok(_) => {
            fs::read(&path).map(|text| Some(text.into())).map_err(|error| format!("cannot read it: {error}"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !is_named => Ok(None),
        Err(error) => Err(format!("cannot read it: {error}")),
    })
}

/// Returns where sops keeps identities.
fn default_file(set: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let of_desktop = || set("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || set("HOME").map(PathBuf::from);
    let folder = if cfg!(windows) {
        set("AppData").or_else(|| set("APPDATA")).map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        of_desktop().or_else(|| Some(home()?.join("Library/Application Support")))
    } else {
        of_desktop().or_else(|| Some(home()?.join(".config")))
    };
    Some(folder?.join("sops/age/keys.txt"))
}

/// How large a file with identities is at most.
const MAX_SIZE: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use selkie::format::Format;
    use selkie::keys::KeyGroup;
    use selkie::keys::age::{IdentityKind, KIND, generate};
    use selkie::sops::Metadata;

    use super::*;

    fn decrypts(keys: &LocalKeys, text: &SecretBytes) -> bool {
        let mut is_open = false;
        let act = &mut |services: &[&dyn KeyService]| {
            is_open = selkie::decrypt(text.expose_secret(), Format::Yaml, services).is_ok();
        };
        keys.with_services(false, act).expect("services");
        is_open
    }

    #[test]
    fn identities_are_found_where_sops_finds_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let secret = String::from_utf8(identity.secret.expose_secret().to_vec()).expect("UTF-8");
        let group = KeyGroup(MasterKey::parse_list(&KIND, &identity.recipient).expect("a recipient"));
        let keys = |variables: &[(&str, &str)]| {
            let variables: Vec<_> =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let find = move |wanted: &str| {
                variables.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
            };
            LocalKeys::new(find, folder.path())
        };
        let mut text = SecretBytes::new();
        let wrap = &mut |services: &[&dyn KeyService]| {
            let metadata = Metadata::new(vec![group.clone()]);
            let rng = &mut rand::rngs::OsRng;
            let encrypted =
                selkie::encrypt("a: b\n", Format::Yaml, metadata, services, "2026-01-02T03:04:05Z", rng);
            text = encrypted.expect("encrypted");
        };
        keys(&[]).with_services(true, wrap).expect("services");
        assert!(!decrypts(&keys(&[]), &text));
        assert!(decrypts(&keys(&[("SOPS_AGE_KEY", secret.trim())]), &text));
        fs::write(folder.path().join("keys"), &secret).expect("written");
        assert!(decrypts(&keys(&[("SOPS_AGE_KEY_FILE", "keys")]), &text));
        let home = folder.path().display().to_string();
        let place = default_file(&|name| (name == "HOME").then(|| home.clone())).expect("a place");
        fs::create_dir_all(place.parent().expect("a folder")).expect("made");
        fs::write(place, &secret).expect("written");
        assert!(decrypts(&keys(&[("HOME", &home)]), &text));
    }
}
