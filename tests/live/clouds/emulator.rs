//! Emulators of clouds, and the programs that are their clients.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;
use tempfile::TempDir;

use crate::peer::{Peer, output};

/// A vendor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Azure Key Vault.
    Azure,
    /// Google Cloud KMS.
    Gcp,
    /// Huawei Cloud KMS.
    Huawei,
}

/// One of our command lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// `kubectl seal`.
    Kubectl,
    /// `sops`.
    Sops,
}

/// An emulator that runs, and its folder, which is the home of its clients.
pub struct Emulator {
    /// What it emulates.
    pub cloud: Cloud,
    /// The port on this machine where it listens.
    pub port: u16,
    folder: TempDir,
    server: Child,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Azure, Self::Gcp, Self::Huawei];

    /// Returns the name of the emulator.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Huawei => "huawei",
        }
    }

    /// Returns the variable that names keys to encrypt with.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Azure => "SOPS_AZURE_KEYVAULT_URLS",
            Self::Gcp => "SOPS_GCP_KMS_IDS",
            Self::Huawei => "SOPS_HUAWEICLOUD_KMS_IDS",
        }
    }

    /// Returns a key of the emulator; what it is called says how it behaves.
    pub fn key(self, name: &str) -> String {
        match self {
            Self::Azure => format!("https://v.vault.azure.net/keys/{name}"),
            Self::Gcp => format!("projects/project/locations/global/keyRings/ring/cryptoKeys/{name}"),
            Self::Huawei => format!("tr-west-1:{name}"),
        }
    }

    /// Returns a key group of a rule.
    pub fn group(self, name: &str) -> String {
        match self {
            Self::Azure => format!(
                "azure_keyvault: [{{vaultUrl: 'https://v.vault.azure.net', key: {name}, version: ''}}]"
            ),
            Self::Gcp => format!("gcp_kms: [{{resource_id: {}}}]", self.key(name)),
            Self::Huawei => format!("hckms: [{{key_id: '{}'}}]", self.key(name)),
        }
    }

    /// Returns the variables by which clients have credentials.
    pub fn variables(self, emulator: &Emulator) -> Vec<(&'static str, String)> {
        match self {
            Self::Azure => vec![
                ("AZURE_TENANT_ID", "11111111-2222-3333-4444-555555555555".to_owned()),
                ("AZURE_CLIENT_ID", "66666666-7777-8888-9999-000000000000".to_owned()),
                ("AZURE_CLIENT_SECRET", "~client~secret~".to_owned()),
            ],
            Self::Gcp => vec![
                ("GOOGLE_CREDENTIALS", emulator.place("service-account.json").display().to_string()),
                ("SOPS_GCP_KMS_CLIENT_TYPE", "rest".to_owned()),
            ],
            Self::Huawei => vec![
                ("HUAWEICLOUD_SDK_AK", "AKSELKIE".to_owned()),
                ("HUAWEICLOUD_SDK_SK", "secret/of+selkie=".to_owned()),
                ("HUAWEICLOUD_SDK_PROJECT_ID", "0123456789abcdef0123456789abcdef".to_owned()),
                // The vendor's SDK does not look at HTTPS_PROXY.
                ("HUAWEICLOUD_SDK_REGION_KMS_TR_WEST_1", format!("https://127.0.0.1:{}", emulator.port)),
            ],
        }
    }
}

impl Face {
    /// Returns the argument that decrypts a file.
    pub const fn decrypt(self) -> &'static str {
        match self {
            Self::Kubectl => "decrypt",
            Self::Sops => "-d",
        }
    }

    /// Returns the arguments that encrypt a file in place.
    pub const fn encrypt_in_place(self) -> &'static [&'static str] {
        match self {
            Self::Kubectl => &["encrypt", "-i"],
            Self::Sops => &["-e", "-i"],
        }
    }

    /// Returns the arguments that give a file a new data key.
    pub const fn rotate(self) -> &'static [&'static str] {
        match self {
            Self::Kubectl => &["rotate"],
            Self::Sops => &["rotate", "-i"],
        }
    }
}

impl Emulator {
    /// Starts an emulator.
    pub fn start(cloud: Cloud) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/emulators");
        let mut command = Command::new(Peer::Python.path().ok_or("there is no Python")?);
        command.arg("-B").arg(scripts.join(format!("{}.py", cloud.name()))).arg(folder.path());
        let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = server.stdout.take().ok_or("there is an output")?;
        let mut emulator = Self { cloud, port: 0, folder, server };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        emulator.port = line.trim().parse().map_err(|_| format!("the emulator says {line:?}"))?;
        let identity =
            emulator.file("identity.txt", &fs::read_to_string(testdata().join("identities.txt"))?)?;
        output(Command::new("chmod").arg("600").arg(identity))?;
        Ok(emulator)
    }

    /// Returns a path in the folder.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf, Failed> {
        let path = self.place(name);
        fs::write(&path, content)?;
        Ok(path)
    }

    /// Returns the requests until now, each a line.
    pub fn requests(&self) -> Result<String, Failed> {
        let path = self.place("requests.log");
        Ok(if path.exists() { fs::read_to_string(path)? } else { String::new() })
    }

    /// Returns a command that is a client: all that it asks for on the network is answered here.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("SOPS_DISABLE_VERSION_CHECK", "true").current_dir(self.folder.path());
        command.env("HTTPS_PROXY", format!("http://127.0.0.1:{}", self.port));
        command.env("SSL_CERT_FILE", self.place("ca.pem")).envs(self.cloud.variables(self));
        command
    }

    /// Returns a client that encrypts with a key.
    pub fn with_key(&self, program: &Path, key: &str) -> Command {
        let mut command = self.command(program);
        command.env(self.cloud.variable(), key);
        command
    }

    /// Lets a client have an identity of age.
    pub fn with_identity(&self, mut command: Command) -> Command {
        command.env("SOPS_AGE_KEY_FILE", self.place("identity.txt"));
        command
    }

    /// Encrypts a file with a key.
    pub fn encrypted(&self, key: &str) -> Result<PathBuf, Failed> {
        let path = self.file("encrypted.yaml", super::PLAIN)?;
        let mut command = ours(self, Face::Kubectl)?;
        output(command.env(self.cloud.variable(), self.cloud.key(key)).args(["encrypt", "-i"]).arg(&path))?;
        Ok(path)
    }

    /// Returns a copy of a file in which a key has another name.
    pub fn rename_key(&self, file: &Path, old: &str, new: &str) -> Result<PathBuf, Failed> {
        let text = fs::read_to_string(file)?;
        let renamed = match self.cloud {
            Cloud::Azure => text.replace(&format!("name: {old}\n"), &format!("name: {new}\n")),
            Cloud::Gcp | Cloud::Huawei => text.replace(&self.cloud.key(old), &self.cloud.key(new)),
        };
        if renamed == text {
            return Err(format!("there is no key {old} in\n{text}").into());
        }
        self.file("renamed.yaml", &renamed)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Returns a client that is this program, under one of its names.
pub fn ours(emulator: &Emulator, face: Face) -> Result<Command, Failed> {
    let name = match face {
        Face::Kubectl => "kubectl-seal",
        Face::Sops => "sops",
    };
    let program = emulator.place(name);
    if !program.exists() {
        symlink(env::current_exe()?, &program)?;
    }
    Ok(emulator.command(&program))
}

/// Returns a recipient whose identity clients may have, and one whose identity nobody has.
pub fn recipients() -> Result<(String, String), Failed> {
    let recipients = fs::read_to_string(testdata().join("recipients.txt"))?;
    let mut recipients = recipients.lines().map(str::to_owned);
    let known = recipients.next().ok_or("there is no recipient")?;
    Ok((known, recipients.next_back().ok_or("there is no other recipient")?))
}

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops-cli")
}
