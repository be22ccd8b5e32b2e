//! A Git repository that Argo CD reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::Failed;

use crate::live::sync_engine::path_of;
use crate::peer::{Peer, output};

/// A Git repository in a folder.
pub struct Repository {
    folder: PathBuf,
}

impl Repository {
    /// Makes one in a folder that is not there yet.
    pub fn new(folder: PathBuf) -> Result<Self, Failed> {
        fs::create_dir(&folder)?;
        let repository = Self { folder };
        output(repository.git()?.args(["init", "--quiet", "--initial-branch=main"]))?;
        Ok(repository)
    }

    /// Returns where Argo CD finds it.
    pub fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// Returns the folder of the files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file, with the folders that it is in.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), Failed> {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().ok_or("a file is in a folder")?)?;
        Ok(fs::write(path, content)?)
    }

    /// Removes a file.
    pub fn remove(&self, name: &str) -> Result<(), Failed> {
        Ok(fs::remove_file(self.folder.join(name))?)
    }

    /// Commits everything as it is, and returns the revision.
    pub fn commit(&self) -> Result<String, Failed> {
        output(self.git()?.args(["add", "--all"]))?;
        output(self.git()?.args(["commit", "--quiet", "--allow-empty", "--message=Change"]))?;
        Ok(String::from_utf8(output(self.git()?.args(["rev-parse", "HEAD"]))?)?.trim().to_owned())
    }

    fn git(&self) -> Result<Command, Failed> {
        let mut command = Command::new(path_of(Peer::Git)?);
        command.env_clear().env("HOME", &self.folder).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{who}_NAME"), "test")
                .env(format!("GIT_{who}_EMAIL"), "test@example.com");
        }
        command.current_dir(&self.folder);
        Ok(command)
    }
}
