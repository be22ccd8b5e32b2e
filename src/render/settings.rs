//! What the command line says of rendering, alike for all faces.

use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use selkie::render::{Defer, EmitMode, Reseal, TaintRule};
use selkie::sealed::{CertError, SealingCert};
use selkie::secret::SecretBytes;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::policy::{PolicyFile, PolicyFileError, RenderPolicy, SealingKeysError, sealing_keys};
use super::renderer::Renderer;

/// How to render.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Rendering")]
pub struct Settings {
    /// Read age identities from this file, or keys and credentials from this folder by the names that Flux gives them:
    /// *.agekey, *.asc, sops.vault-token, sops.aws-kms, sops.azure-kv, sops.gcp-kms
    #[arg(
        long = "keys",
        visible_alias = "age-key-file",
        value_name = "PATH",
        env = "SOPS_AGE_KEY_FILE",
        value_delimiter = ','
    )]
    pub keys: Vec<PathBuf>,
    /// Read private keys of Sealed Secrets from this backup; without it, SealedSecrets are passed on
    #[arg(long, value_name = "FILE", env = "SELKIE_SEALING_KEYS")]
    pub sealing_keys: Option<PathBuf>,
    /// What is allowed for whom: a policy. Its rules name the keys that are used, too
    #[arg(long, value_name = "FILE", env = "SELKIE_RENDER_POLICY")]
    pub policy: Option<PathBuf>,
    /// What comes out for decrypted values [default: plain, or what the policy says]
    #[arg(long, value_enum, env = "SELKIE_MODE")]
    pub mode: Option<Mode>,
    /// The certificate to seal for, with --mode reseal
    #[arg(long, value_name = "FILE", env = "SELKIE_CERT")]
    pub cert: Option<PathBuf>,
    /// A file with at least 32 bytes of randomness, with --mode reseal: the same values give the same ciphertext. Keep it
    /// as secret as the keys
    #[arg(long, value_name = "FILE", env = "SELKIE_RESEAL_KEY")]
    pub reseal_key: Option<PathBuf>,
    /// The Secret with the keys, in the namespace of each object, with --mode defer
    #[arg(long, value_name = "NAME", env = "SELKIE_KEY_SECRET")]
    pub key_secret: Option<String>,
    /// Let it pass that nothing is rendered
    #[arg(long, env = "SELKIE_ALLOW_EMPTY", value_parser = FalseyValueParser::new())]
    pub allow_empty: bool,
    /// Let Secrets be sealed for more than their name and namespace, with --mode reseal, where their annotations ask for it
    #[arg(long, env = "SELKIE_ALLOW_WIDE_SCOPES", value_parser = FalseyValueParser::new())]
    pub allow_wide_scopes: bool,
    /// Let decrypted values come out in objects of this kind that are no Secrets, at these places: patterns such as
    /// HelmRelease:spec.values.* or ConfigMap
    #[arg(long, value_name = "KIND[:PATH]", env = "SELKIE_ALLOW_TAINT", value_delimiter = ',')]
    pub allow_taint: Vec<String>,
    /// The program that builds kustomizations, if one is rendered: kustomize, or kubectl
    #[arg(long, value_name = "PROGRAM", default_value = "kustomize")]
    pub kustomize_program: PathBuf,
    /// The program that renders charts, if one is rendered
    #[arg(long, value_name = "PROGRAM", default_value = "helm")]
    pub helm_program: PathBuf,
    /// Let these programs fetch things from a network
    #[arg(long)]
    pub allow_network: bool,
    /// Let what charts compute of decrypted values be another thing each time
    #[arg(long)]
    pub allow_random: bool,
}

/// What comes out for decrypted values.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// SopsSecrets that carry the encrypted files, for the controller to open; asks for no keys
    Defer,
    /// Dummies of the same type and length; asks for no keys
    Fake,
    /// The values
    Plain,
    /// The word REDACTED; asks for no keys
    Redact,
    /// SealedSecrets for the cluster of --cert
    Reseal,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The certificate cannot be used.
    #[error("{path}: cannot be used as a certificate", path = .0.display())]
    Cert(PathBuf, #[source] CertError),
    /// A file cannot be read.
    #[error("{path}: cannot be read", path = .0.display())]
    Io(PathBuf, #[source] std::io::Error),
    /// A flag is missing that the mode asks for.
    #[error("--mode {mode} asks for {flag}")]
    Missing {
        /// The mode.
        mode: &'static str,
        /// The flag.
        flag: &'static str,
    },
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyFileError),
    /// A flag is given that a policy has a field for.
    #[error("{flag} cannot be given beside a policy: say it there, as `{field}` of a rule")]
    PolicyFlag {
        /// The flag.
        flag: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The key for resealing is too short.
    #[error("{path}: holds {bytes} bytes, and at least 32 bytes of randomness are needed: head -c 32 /dev/urandom >{path}", path = .0.display(), bytes = .1)]
    ResealKey(PathBuf, usize),
    /// The private keys cannot be used.
    #[error(transparent)]
    SealingKeys(#[from] SealingKeysError),
}

impl Mode {
    /// Returns the name, as policies have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Defer => "defer",
            Self::Fake => "fake",
            Self::Plain => "plain",
            Self::Redact => "redact",
            Self::Reseal => "reseal",
        }
    }
}

impl Settings {
    /// Makes sure that the flags are there that a mode asks for.
    ///
    /// # Errors
    /// If they are not.
    pub fn check_mode(&self, mode: Mode) -> Result<(), SettingsError> {
        self.emit_mode(mode).map(drop)
    }

    /// Returns what renders so.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn renderer(&self) -> Result<Renderer, SettingsError> {
        let mode = self.emit_mode(self.mode.unwrap_or(Mode::Plain))?;
        let mut renderer = Renderer::new(self.keys.clone(), mode);
        renderer.mode_is_open = self.mode.is_none();
        renderer.further_modes = self.further_modes()?;
        if let Some(policy) = &self.policy {
            self.check_beside_policy()?;
            renderer.policy = RenderPolicy::File(PolicyFile::open(policy.clone())?);
        }
        renderer.sealing_keys =
            self.sealing_keys.as_ref().map(|path| sealing_keys(std::slice::from_ref(path))).transpose()?;
        renderer.rule.allow_empty = self.allow_empty;
        renderer.rule.wide_scopes = self.allow_wide_scopes;
        renderer.rule.network = self.allow_network;
        renderer.rule.random = self.allow_random;
        renderer.rule.taint = self.allow_taint.iter().map(|text| taint_rule(text)).collect();
        renderer.programs.kustomize.clone_from(&self.kustomize_program);
        renderer.programs.helm.clone_from(&self.helm_program);
        Ok(renderer)
    }

    /// Makes sure that no flag says what a policy says.
    fn check_beside_policy(&self) -> Result<(), SettingsError> {
        let given = [
            (!self.keys.is_empty(), "--keys (or SOPS_AGE_KEY_FILE)", "keys"),
            (self.sealing_keys.is_some(), "--sealing-keys (or SELKIE_SEALING_KEYS)", "sealingKeys"),
            (self.allow_empty, "--allow-empty (or SELKIE_ALLOW_EMPTY)", "allowEmpty"),
            (self.allow_network, "--allow-network", "network"),
            (self.allow_random, "--allow-random", "random"),
            (self.allow_wide_scopes, "--allow-wide-scopes (or SELKIE_ALLOW_WIDE_SCOPES)", "wideScopes"),
            (!self.allow_taint.is_empty(), "--allow-taint (or SELKIE_ALLOW_TAINT)", "taint"),
        ];
        match given.into_iter().find(|(is_given, ..)| *is_given) {
            None => Ok(()),
            Some((_, flag, field)) => Err(SettingsError::PolicyFlag { flag, field }),
        }
    }

    /// Returns all modes that can be had with the flags that are given.
    fn further_modes(&self) -> Result<Vec<EmitMode>, SettingsError> {
        let mut modes = vec![Mode::Defer, Mode::Fake, Mode::Plain, Mode::Redact];
        if self.cert.is_some() && self.reseal_key.is_some() {
            modes.push(Mode::Reseal);
        }
        modes.into_iter().map(|mode| self.emit_mode(mode)).collect()
    }

    fn emit_mode(&self, mode: Mode) -> Result<EmitMode, SettingsError> {
        Ok(match mode {
            Mode::Defer => EmitMode::Defer(Defer { key_secret: self.key_secret.clone() }),
            Mode::Fake => EmitMode::Fake,
            Mode::Plain => EmitMode::Plain,
            Mode::Redact => EmitMode::Redact,
            Mode::Reseal => {
                let missing = |flag| SettingsError::Missing { mode: "reseal", flag };
                let cert = self.cert.as_deref().ok_or_else(|| missing("--cert"))?;
                let key = self.reseal_key.as_deref().ok_or_else(|| missing("--reseal-key"))?;
                let failed = |error| SettingsError::Cert(cert.to_owned(), error);
                let parsed = SealingCert::parse(read(cert)?.expose_secret());
                let parsed =
                    parsed.and_then(|cert| cert.check_expiry(OffsetDateTime::now_utc()).map(|()| cert));
                let cert = parsed.map_err(failed)?;
                EmitMode::Reseal(Box::new(Reseal { cert, key: reseal_key(key)? }))
            }
        })
    }
}

fn taint_rule(text: &str) -> TaintRule {
    let (kind, path) = text.split_once(':').unwrap_or((text, "*"));
    TaintRule { kind: kind.to_owned(), path: path.to_owned() }
}

fn reseal_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, SettingsError> {
    let bytes = read(path)?;
    if bytes.len() < 32 {
        return Err(SettingsError::ResealKey(path.to_owned(), bytes.len()));
    }
    Ok(Zeroizing::new(Sha256::digest(bytes.expose_secret()).into()))
}

fn read(path: &Path) -> Result<SecretBytes, SettingsError> {
    fs::read(path).map(SecretBytes::from).map_err(|error| SettingsError::Io(path.to_owned(), error))
}

/// How many bytes the files of a request to a server may have together, unless a policy says more.
pub const SERVED_BYTES: u64 = 256 << 20;

/// How many bytes a server holds at once, in archives and unpacked files.
pub const SERVED_MEMORY: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn settings(words: &[&str]) -> Settings {
        let command = Settings::augment_args(Command::new("x").no_binary_name(true));
        let matches = command.try_get_matches_from(words).expect("they are flags");
        Settings::from_arg_matches(&matches).expect("settings")
    }

    #[test]
    fn what_a_policy_says_no_flag_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("policy.yaml");
        fs::write(&path, "rules: []").expect("a file");
        let policy = path.display().to_string();
        for (flags, field) in [
            (&["--allow-network"] as &[&str], "network"),
            (&["--allow-random"], "random"),
            (&["--allow-empty"], "allowEmpty"),
            (&["--sealing-keys", "/keys"], "sealingKeys"),
            (&["--allow-taint", "ConfigMap"], "taint"),
        ] {
            let words: Vec<_> = ["--policy", &policy].into_iter().chain(flags.iter().copied()).collect();
            match settings(&words).renderer() {
                Err(SettingsError::PolicyFlag { field: told, .. }) => assert_eq!(told, field),
                _ => panic!("{flags:?} is given beside a policy"),
            }
        }
        assert!(settings(&["--policy", &policy]).renderer().is_ok());
    }

    #[test]
    fn without_a_policy_the_flags_are_the_rule() {
        let renderer = settings(&["--allow-network", "--allow-random", "--allow-taint", "A:b,C"]).renderer();
        let rule = renderer.unwrap_or_else(|error| panic!("{error}")).rule;
        assert!(rule.network && rule.random);
        let taint = |kind: &str, path: &str| TaintRule { kind: kind.to_owned(), path: path.to_owned() };
        assert_eq!(rule.taint, [taint("A", "b"), taint("C", "*")]);
    }

    #[test]
    fn variables_say_yes_as_people_do() {
        let command = Settings::augment_args(Command::new("x").no_binary_name(true));
        for name in ["allow_empty", "allow_wide_scopes"] {
            let flag = command.get_arguments().find(|flag| flag.get_id() == name).expect("a flag");
            assert!(flag.get_env().is_some(), "{name}");
            for (text, expected) in [("1", true), ("true", true), ("0", false), ("false", false), ("", false)]
            {
                let command = Command::new("x")
                    .arg(clap::Arg::new("x").long("x").value_parser(flag.get_value_parser().clone()));
                let matches = command.try_get_matches_from(["x", &format!("--x={text}")]);
                let matches = matches.unwrap_or_else(|error| panic!("{name} {text:?}: {error}"));
                assert_eq!(matches.get_one::<bool>("x"), Some(&expected), "{name} {text:?}");
            }
        }
    }
}
