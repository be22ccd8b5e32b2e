//! Repositories of the corpus with everything staged, and what gitleaks says of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::checks::Case;
use crate::peer::output;

/// Returns how many cases gitleaks refuses.
pub fn refused(gitleaks: &Path, cases: &[Case]) -> Result<usize, Failed> {
    let verdicts: Result<Vec<_>, String> = cases
        .par_iter()
        .map(|case| is_refused(gitleaks, case).map_err(|error| format!("{error:?}")))
        .collect();
    Ok(verdicts?.into_iter().filter(|&is_refused| is_refused).count())
}

/// Stages a case in a repository of its own, and asks gitleaks as its hook does.
fn is_refused(gitleaks: &Path, case: &Case) -> Result<bool, Failed> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    output(&mut git(folder, &["init", "--quiet"]))?;
    write(folder, &case.before)?;
    output(&mut git(folder, &["add", "--all", "--force"]))?;
    output(&mut git(folder, &["commit", "--quiet", "--allow-empty", "--message", "before"]))?;
    write(folder, &case.files)?;
    output(&mut git(folder, &["add", "--all", "--force"]))?;
    let mut command = Command::new(gitleaks);
    command.args(["git", "--staged", "--no-banner", "--redact", "--exit-code", "42"]).arg(folder);
    command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin");
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    match status.code() {
        Some(0) => Ok(false),
        Some(42) => Ok(true),
        _ => Err(format!("gitleaks ended with {status} on: {}", case.name).into()),
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@example.org"]).args(arguments).current_dir(folder);
    command.env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin").env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

fn write(folder: &Path, files: &[(String, Vec<u8>)]) -> Result<(), Failed> {
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, content)?;
    }
    Ok(())
}
