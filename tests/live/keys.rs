//! Data keys that one side wraps with age, and the other unwraps.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities};
use selkie::keys::{KeyGroup, KeyKind, KeyService, MasterKey};
use selkie::secret::SecretBytes;
use selkie::sops::{Envelope, MacCheck, Metadata, Stash};
use tempfile::TempDir;

use crate::envelope::{self, DATA_KEY, NOW, rng};
use crate::golden::same_text;
use crate::peer::{Peer, output, piped};

/// A key of `testdata/age`, and a folder with what belongs to it.
struct Key {
    recipient: String,
    identity: PathBuf,
    folder: TempDir,
}

const PLAIN: &str = "{\n\t\"a\": \"b\"\n}\n";

pub fn tests() -> Vec<Trial> {
    let kinds = ["hybrid", "ssh-ed25519", "ssh-rsa", "x25519"];
    // sops 3.11 and age 1.1 are older than hybrid keys.
    let is_known = |peer: Peer, kind: &str| peer == Peer::Sops313 || kind != "hybrid";
    let mut tests = Vec::new();
    for peer in [Peer::Age, Peer::Sops311, Peer::Sops313] {
        for kind in kinds.into_iter().filter(|kind| is_known(peer, kind)) {
            let name = format!("keys::{}", kind.replace('-', "_"));
            tests.push(peer.test(name, move |program| {
                let key = Key::new(kind)?;
                if peer == Peer::Age {
                    key.age_unwraps_ours(&program)?;
                    return key.we_unwrap_what_age_wrapped(&program);
                }
                key.sops_decrypts_ours(&program)?;
                key.we_decrypt_theirs(&program)
            }));
        }
    }
    tests
}

impl Key {
    fn new(kind: &str) -> Result<Self, Failed> {
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/age").join(format!("{kind}.case"));
        let case = fs::read_to_string(case)?;
        let recipient =
            case.lines().find_map(|line| line.strip_prefix("recipient: ")).ok_or("no recipient")?;
        let (_, identity) = case.split_once("--- identity\n").ok_or("no identity")?;
        let (identity, _) = identity.split_once("--- file\n").ok_or("no file")?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("identity");
        fs::write(&path, identity)?;
        Command::new("chmod").arg("600").arg(&path).status()?;
        Ok(Self { recipient: recipient.to_owned(), identity: path, folder })
    }

    fn sops_decrypts_ours(&self, sops: &Path) -> Result<(), Failed> {
        let path = self.folder.path().join("ours.json");
        fs::write(&path, self.sealed()?.expose_secret())?;
        let printed = output(&mut self.sops(sops, ["-d".as_ref(), path.as_os_str()]))?;
        same_text("what sops prints", &printed, PLAIN.as_bytes())
    }

    fn we_decrypt_theirs(&self, sops: &Path) -> Result<(), Failed> {
        let path = self.folder.path().join("theirs.json");
        fs::write(&path, PLAIN)?;
        let arguments = ["-e".as_ref(), "--age".as_ref(), self.recipient.as_ref(), path.as_os_str()];
        let encrypted = output(&mut self.sops(sops, arguments))?;
        let tree = Format::Json.read(encrypted)?;
        let metadata = Metadata::from_entry(tree.metadata())?;
        let service = self.service()?;
        let envelope = pollster::block_on(Envelope::recover(metadata, &[&service], &[]))?;
        let opened = envelope.open(Format::Json, tree, MacCheck::Require)?;
        same_text("what we decrypt", opened.plaintext()?.expose_secret(), PLAIN.as_bytes())
    }

    fn age_unwraps_ours(&self, age: &Path) -> Result<(), Failed> {
        let encrypted = self.sealed()?;
        let metadata = Metadata::from_entry(Format::Json.read(encrypted.expose_secret())?.metadata())?;
        let wrapped = metadata.groups[0].0[0].wrapped();
        let key = piped(Command::new(age).arg("-d").arg("-i").arg(&self.identity), wrapped.as_bytes())?;
        let key = key.try_into().map_err(|_| "what age unwraps is no data key")?;
        let opened = envelope::open(Format::Json, encrypted.expose_secret(), key)?;
        same_text("the document", opened.plaintext()?.expose_secret(), PLAIN.as_bytes())
    }

    fn we_unwrap_what_age_wrapped(&self, age: &Path) -> Result<(), Failed> {
        let wrapped = piped(Command::new(age).arg("-a").arg("-r").arg(&self.recipient), &DATA_KEY)?;
        let mut key = self.master_keys()?.remove(0);
        key.set_wrapped(String::from_utf8(wrapped)?, NOW);
        let service = self.service()?;
        let secret = pollster::block_on(service.unwrap(&key)).ok_or("age keys are for the age service")??;
        same_text("the data key", secret.expose_secret(), &DATA_KEY)
    }

    fn sealed(&self) -> Result<SecretBytes, Failed> {
        let metadata = Metadata::new(vec![KeyGroup(self.master_keys()?)]);
        let service = self.service()?;
        let envelope = pollster::block_on(Envelope::create(metadata, &[&service], NOW, &mut rng(1)))?;
        let tree = Format::Json.read(PLAIN.as_bytes())?;
        Ok(envelope.seal(Format::Json, tree, Stash::new(), NOW, &mut rng(2))?.in_place()?)
    }

    fn master_keys(&self) -> Result<Vec<MasterKey>, Failed> {
        let kind = KeyKind::from_name("age").ok_or("age is a kind of keys")?;
        Ok(MasterKey::parse_list(kind, &self.recipient)?)
    }

    fn service(&self) -> Result<AgeService, Failed> {
        let identity = SecretBytes::from(&fs::read(&self.identity)?[..]);
        Ok(AgeService::new(Identities::parse("identity", &identity)?))
    }

    fn sops<'a>(&self, sops: &Path, arguments: impl IntoIterator<Item = &'a OsStr>) -> Command {
        let is_ssh = self.recipient.starts_with("ssh-");
        let variable = if is_ssh { "SOPS_AGE_SSH_PRIVATE_KEY_FILE" } else { "SOPS_AGE_KEY_FILE" };
        let mut command = Command::new(sops);
        command.env_clear().env("HOME", self.folder.path()).env(variable, &self.identity);
        command.env("SOPS_DISABLE_VERSION_CHECK", "true").args(arguments);
        command
    }
}
