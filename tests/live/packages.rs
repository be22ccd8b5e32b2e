//! The packages, installed by the programs that people install them with.
//!
//! What is packed is this very test, under the names of the programs whose part it plays, and the decryptor. Nothing of it is
//! compressed, as that would take longer than all else.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::peer::{Peer, output};

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    vec![
        Trial::test("packages::manual_pages_name_every_command", manual_pages_name_every_command),
        Peer::Python.test("packages::have_the_same_bytes_twice", |_| have_the_same_bytes_twice()),
        Peer::Cyclonedx
            .test("packages::lists_of_parts_fit_the_schema", |program| lists_fit_the_schema(&program)),
        Peer::Dpkg.test("packages::are_installed_and_removed", |dpkg| are_installed_and_removed(&dpkg)),
        Peer::Krew
            .test("packages::krew_installs_what_has_the_hash", |krew| krew_installs_what_has_the_hash(&krew)),
        Peer::PreCommit.test("packages::wheel_stops_a_secret", |program| wheel_stops_a_secret(&program)),
    ]
}

/// The pages that are not made from the program itself.
fn manual_pages_name_every_command() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let hook = play(folder.path(), "seal-hook")?;
    for (program, name) in [(hook, "seal-hook"), (PathBuf::from(DECRYPTOR), "selkie-decryptor")] {
        let page = fs::read_to_string(packer().join(format!("man/{name}.1")))?;
        let help = String::from_utf8(output(Command::new(program).arg("--help"))?)?;
        let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let commands: Vec<_> = commands
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
            .filter(|word| !word.is_empty() && *word != "help")
            .collect();
        ensure(!commands.is_empty(), || format!("{name} --help tells no commands"))?;
        let named: Vec<_> = page.lines().filter_map(|line| line.strip_prefix(".B ")).collect();
        for command in commands {
            ensure(named.contains(&command), || format!("{name}.1 does not name the command {command}"))?;
        }
    }
    Ok(())
}

fn have_the_same_bytes_twice() -> Result<(), Failed> {
    let (one, another) = (Packed::new(&[])?, Packed::new(&[])?);
    let hashes = one.hashes()?;
    ensure(hashes == another.hashes()?, || "two runs wrote different bytes".into())?;
    ensure(hashes.len() > 12, || format!("there are only {hashes:?}"))?;
    let told: BTreeMap<_, _> = fs::read_to_string(one.out().join("SHA256SUMS"))?
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
        .collect();
    let but = |name: &str| hashes.iter().filter(|(path, _)| *path != name).count();
    ensure(told.len() == but("SHA256SUMS"), || "SHA256SUMS leaves files out".into())?;
    ensure(told.iter().all(|(path, hash)| hashes.get(path) == Some(hash)), || "SHA256SUMS is wrong".into())?;
    let statement = one.json("provenance.json")?;
    let subjects = statement["subject"].as_array().ok_or("the statement is about nothing")?;
    ensure(subjects.len() == told.len() - 1, || "the statement leaves files out".into())?;
    for subject in subjects {
        let name = subject["name"].as_str().unwrap_or_default();
        let is_right = hashes.get(name).map(String::as_str) == subject["digest"]["sha256"].as_str();
        ensure(is_right, || format!("the statement has another hash of {name}"))?;
    }
    let parts = one.json("cdx.json")?;
    let has = |purl: &str| {
        let components = parts["components"].as_array();
        components.is_some_and(|all| {
            all.iter().any(|one| one["purl"].as_str().is_some_and(|it| it.starts_with(purl)))
        })
    };
    ensure(has("pkg:cargo/selkie@") && has("pkg:cargo/aes-gcm@"), || {
        "a list of parts leaves some out".into()
    })?;
    let here = env!("CARGO_MANIFEST_DIR");
    for text in [statement.to_string(), parts.to_string()] {
        ensure(!text.contains(here), || "a path of this machine is told".into())?;
    }
    Ok(())
}

fn lists_fit_the_schema(program: &Path) -> Result<(), Failed> {
    let packed = Packed::new(&[])?;
    let lists = packed.named(".cdx.json")?;
    ensure(lists.len() == 3, || format!("there are {lists:?}"))?;
    output(Command::new(program).args(lists)).map(drop)
}

fn are_installed_and_removed(dpkg: &Path) -> Result<(), Failed> {
    let packed = Packed::new(&[])?;
    let root = tempfile::tempdir()?;
    for folder in [
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/dpkg/alternatives",
        "etc/alternatives",
        "usr/local/bin",
    ] {
        fs::create_dir_all(root.path().join(folder))?;
    }
    fs::write(root.path().join("var/lib/dpkg/status"), "")?;
    let run = |arguments: &[&str]| -> Result<Vec<u8>, Failed> {
        let mut command = Command::new(dpkg);
        command.arg("--root").arg(root.path()).args(["--force-script-chrootless", "--force-bad-path"]);
        output(command.args(arguments).env("LC_ALL", "C"))
    };
    let packages = packed.named(".deb")?;
    ensure(packages.len() == 3, || format!("there are {packages:?}"))?;
    for package in &packages {
        run(&["--install", &package.to_string_lossy()])?;
    }
    let there = |path: &str| root.path().join(path).symlink_metadata().is_ok();
    for path in [
        "usr/bin/kubectl-seal",
        "usr/bin/seal-hook",
        "usr/bin/selkie-decryptor",
        "usr/share/bash-completion/completions/kubectl-seal",
        "usr/share/fish/vendor_completions.d/kubectl-seal.fish",
        "usr/share/zsh/vendor-completions/_kubectl-seal",
        "usr/share/man/man1/kubectl-seal-encrypt.1.gz",
        "usr/share/man/man1/seal-hook.1.gz",
        "usr/share/man/man1/selkie-decryptor.1.gz",
        "usr/share/doc/kubectl-seal/copyright",
        "usr/share/doc/seal-hook/THIRD-PARTY-LICENSES.gz",
    ] {
        ensure(there(path), || format!("{path} is not there"))?;
    }
    let completer = root.path().join("usr/bin/kubectl_complete-seal");
    let answer = output(Command::new(completer).arg("encr"))?;
    ensure(answer.starts_with(b"encrypt\t"), || "kubectl would not complete `kubectl seal encr`".into())?;
    for name in ["usr/bin/sops", "usr/bin/kubeseal", "usr/local/bin/sops", "usr/local/bin/kubeseal"] {
        ensure(!there(name), || format!("{name} was made by default"))?;
    }
    let version = output(Command::new(root.path().join("usr/bin/seal-hook")).arg("--version"))?;
    ensure(version.starts_with(b"seal-hook "), || "what is installed is another program".into())?;
    // As README.Debian says.
    let mut alternatives = Command::new("update-alternatives");
    alternatives.arg("--root").arg(root.path()).args(["--quiet", "--install"]);
    output(alternatives.args(["/usr/local/bin/sops", "sops", "/usr/bin/kubectl-seal", "50"]))?;
    ensure(there("usr/local/bin/sops"), || "the name was not given".into())?;
    run(&["--remove", "kubectl-seal", "seal-hook", "selkie-decryptor"])?;
    for path in ["usr/local/bin/sops", "usr/bin", "usr/share", "etc/alternatives/sops"] {
        ensure(!there(path), || format!("{path} was left behind"))?;
    }
    Ok(())
}

fn krew_installs_what_has_the_hash(krew: &Path) -> Result<(), Failed> {
    let packed = Packed::new(&["kubectl-seal"])?;
    let manifest = packed.out().join("seal.yaml");
    let archive = packed.named(".tar.gz")?.pop().ok_or("there is no archive")?;
    let validator = krew.with_file_name("validate-krew-manifest");
    output(Command::new(validator).arg("-skip-install").arg("-manifest").arg(&manifest))?;
    let root = tempfile::tempdir()?;
    let install = |archive: &Path| {
        let mut command = Command::new(krew);
        command.arg("install").arg("--manifest").arg(&manifest).arg("--archive").arg(archive);
        command.env("KREW_ROOT", root.path()).env("KREW_NO_UPGRADE_CHECK", "1");
        command.env("KREW_OS", "linux").env("KREW_ARCH", architecture()).env("HOME", root.path());
        output(&mut command)
    };
    let other = packed.folder.path().join("other.tar.gz");
    fs::write(&other, [fs::read(&archive)?, vec![0]].concat())?;
    let refused =
        install(&other).err().and_then(|failed| failed.message().map(str::to_owned)).unwrap_or_default();
    ensure(refused.contains("checksum"), || format!("an archive with another hash: {refused:?}"))?;
    install(&archive)?;
    let version = output(Command::new(root.path().join("bin/kubectl-seal")).arg("--version"))?;
    ensure(version.starts_with(b"kubectl-seal "), || "what is installed is another program".into())
}

fn wheel_stops_a_secret(program: &Path) -> Result<(), Failed> {
    let packed = Packed::new(&["seal-hook"])?;
    let top = packed.folder.path();
    let run = |folder: &Path, program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env("HOME", top).env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{name}_NAME"), "selkie");
            command.env(format!("GIT_{name}_EMAIL"), "selkie@example.org");
        }
        // Nothing but what was packed may be installed.
        command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", packed.out());
        command.env("PRE_COMMIT_HOME", top.join("cache"));
        command.env("PYTHONPATH", program.with_file_name("site"));
        command.output()
    };
    let git = |folder: &Path, arguments: &[&str]| {
        let done = run(folder, Path::new("git"), arguments)?;
        ensure(done.status.success(), || {
            format!("git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr))
        })?;
        Ok::<_, Failed>(String::from_utf8(done.stdout)?.trim().to_owned())
    };
    let mirror = packed.out().join("pre-commit");
    git(&mirror, &["init", "-q", "."])?;
    git(&mirror, &["add", "-A"])?;
    git(&mirror, &["commit", "-q", "-m", "mirror"])?;
    let revision = git(&mirror, &["rev-parse", "HEAD"])?;
    let repository = top.join("repository");
    fs::create_dir(&repository)?;
    git(&repository, &["init", "-q", "."])?;
    let address = mirror.display();
    let configuration =
        format!("repos:\n- repo: file://{address}\n  rev: {revision}\n  hooks:\n  - id: seal-check\n");
    fs::write(repository.join(".pre-commit-config.yaml"), configuration)?;
    git(&repository, &["add", "-A"])?;
    let clean = run(&repository, program, &["run"])?;
    let told = String::from_utf8_lossy(&clean.stdout).into_owned();
    let errors = String::from_utf8_lossy(&clean.stderr).into_owned();
    ensure(clean.status.success() && told.contains("Passed"), || format!("nothing to stop: {told}{errors}"))?;
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\nstringData:\n  password: hunter2hunter2\n";
    fs::write(repository.join("secret.yaml"), secret)?;
    git(&repository, &["add", "-A"])?;
    let stopped = run(&repository, program, &["run"])?;
    let told = String::from_utf8_lossy(&stopped.stdout).into_owned();
    ensure(stopped.status.code() == Some(1) && told.contains("K8S001"), || format!("a secret: {told}"))?;
    ensure(!told.contains("hunter2"), || "the value is told".into())
}

/// What the release script made of the programs under test.
struct Packed {
    folder: TempDir,
}

impl Packed {
    /// Packs these programs, or all.
    fn new(programs: &[&str]) -> Result<Self, Failed> {
        let packed = Self { folder: tempfile::tempdir()? };
        let binaries = packed.folder.path().join("binaries");
        let target = binaries.join(format!("{}-unknown-linux-gnu", env::consts::ARCH));
        fs::create_dir_all(&target)?;
        for name in ["kubectl-seal", "seal-hook"] {
            play(&target, name)?;
        }
        stripped(Path::new(DECRYPTOR), &target.join("selkie-decryptor"))?;
        let mut command = Command::new(packer().join("release.sh"));
        command.arg("--binaries").arg(&binaries).arg("--out").arg(packed.out()).arg("--uncompressed");
        for program in programs {
            command.args(["--program", program]);
        }
        output(command.env("SOURCE_DATE_EPOCH", "1750000000"))?;
        Ok(packed)
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Returns the files whose names end so.
    fn named(&self, end: &str) -> Result<Vec<PathBuf>, Failed> {
        let files = fs::read_dir(self.out())?.map(|entry| entry.map(|entry| entry.path()));
        let mut files = files.collect::<Result<Vec<_>, _>>()?;
        files.retain(|path| path.to_string_lossy().ends_with(end));
        files.sort();
        Ok(files)
    }

    /// Returns the first file whose name ends so.
    fn json(&self, end: &str) -> Result<Value, Failed> {
        let path = self.named(end)?.into_iter().next().ok_or_else(|| format!("there is no {end}"))?;
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }

    /// Returns the hash of every file, by its path.
    fn hashes(&self) -> Result<BTreeMap<String, String>, Failed> {
        let mut hashes = BTreeMap::new();
        let mut folders = vec![self.out()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let hash = Sha256::digest(fs::read(&path)?);
                let name = path.strip_prefix(self.out())?.to_string_lossy().into_owned();
                hashes.insert(name, hash.iter().map(|byte| format!("{byte:02x}")).collect());
            }
        }
        Ok(hashes)
    }
}

/// Puts this test there under the name of a program whose part it plays.
fn play(folder: &Path, name: &str) -> Result<PathBuf, Failed> {
    let program = folder.join(name);
    stripped(&env::current_exe()?, &program)?;
    Ok(program)
}

/// Copies a program without what only debuggers read, where the system has the means.
fn stripped(from: &Path, to: &Path) -> Result<(), Failed> {
    let done = Command::new("strip").arg("-o").arg(to).arg(from).output();
    if !done.is_ok_and(|done| done.status.success()) {
        fs::copy(from, to)?;
    }
    Ok(())
}

fn packer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/packages")
}

/// What krew calls this machine.
fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn ensure(is_so: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(otherwise().into()) }
}

const DECRYPTOR: &str = env!("CARGO_BIN_EXE_selkie-decryptor");
