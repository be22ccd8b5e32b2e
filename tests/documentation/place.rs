//! Where a page is run: a folder to work in, a home, and a search path, all of them fresh and gone afterwards.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;

/// A fresh place.
pub struct Place {
    folder: tempfile::TempDir,
    /// Beside the program of the tests, so that a second name of that costs nothing.
    programs: tempfile::TempDir,
}

impl Place {
    /// Makes a place with our programs in `~/.cargo/bin`, a user for Git, and a `kubectl` that knows plugins alone.
    pub fn new() -> Result<Self, Failed> {
        let place = Self {
            folder: tempfile::tempdir()?,
            programs: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?,
        };
        for folder in [place.work(), place.home().join(".cargo"), place.tools(), place.own_programs()] {
            fs::create_dir_all(folder)?;
        }
        let this = env::current_exe()?;
        for name in OURS {
            let path = place.program(name);
            fs::hard_link(&this, &path).or_else(|_| fs::copy(&this, &path).map(drop))?;
        }
        symlink(place.programs.path(), place.home().join(".cargo/bin"))?;
        fs::write(place.home().join(".gitconfig"), GITCONFIG)?;
        place.provide_script("kubectl", KUBECTL)?;
        Ok(place)
    }

    /// Returns the folder that the commands start in.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Returns the home of the user.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Returns a path beside both, for what a lab keeps.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns where one of our programs is.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.path().join(name)
    }

    /// Puts a program on the search path, in place of another one of this name.
    pub fn provide(&self, name: &str, program: &Path) -> Result<(), Failed> {
        let link = self.tools().join(name);
        if link.exists() {
            fs::remove_file(&link)?;
        }
        Ok(symlink(program, link)?)
    }

    /// Puts a script on the search path, in place of another program of this name.
    pub fn provide_script(&self, name: &str, text: &str) -> Result<(), Failed> {
        let path = self.tools().join(name);
        if path.exists() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, text)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    }

    /// Returns the variables that the commands see, apart from what a lab adds.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let path = format!(
            "{}:{}:{}:{SYSTEM}",
            self.own_programs().display(),
            self.home().join(".cargo/bin").display(),
            self.tools().display()
        );
        let temporary = self.folder.path();
        vec![
            ("PATH", path.into()),
            ("HOME", self.home().into()),
            ("TMPDIR", temporary.into()),
            ("LC_ALL", "C.UTF-8".into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_ALLOW_PROTOCOL", "file".into()),
            ("GIT_CEILING_DIRECTORIES", temporary.into()),
            ("SOPS_DISABLE_VERSION_CHECK", "true".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            // There is no network: what asks for it is told so at once, and what is on this machine is reached.
            ("http_proxy", NOWHERE.into()),
            ("https_proxy", NOWHERE.into()),
            ("no_proxy", "127.0.0.1,localhost".into()),
            // The top of this repository, for pages that show its own files.
            ("SELKIE", super::top().into()),
        ]
    }

    /// Where a user puts programs of his own, which go before all others.
    fn own_programs(&self) -> PathBuf {
        self.home().join(".local/bin")
    }

    fn tools(&self) -> PathBuf {
        self.folder.path().join("tools")
    }
}

/// The programs of this project.
const OURS: [&str; 4] = ["kubectl-seal", "kubectl_complete-seal", "seal-hook", "selkie-decryptor"];

/// Finds a plugin as kubectl does, and has no cluster.
const KUBECTL: &str = "#!/bin/sh
if [ \"$1\" = seal ]; then shift; exec kubectl-seal \"$@\"; fi
echo \"there is no kubectl in this lab: $*\" >&2
exit 1
";

const GITCONFIG: &str = "\
[user]
\tname = Ada
\temail = ada@example.org
[init]
\tdefaultBranch = main
[advice]
\tdetachedHead = false
";

/// Where the programs of every system are.
const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A proxy that is not there.
const NOWHERE: &str = "http://127.0.0.1:9";
