//! What is pushed, at both ends: what Git says on the standard input of `pre-push` and of `pre-receive`.
//!
//! Invariants: a line that cannot be read stops the run; what is pushed is looked at whatever is checked out.

use std::collections::HashMap;
use std::io::Read;

use gix_hash::ObjectId;
use gix_object::Kind;

use super::history::{self, Walk};
use crate::change::Change;
use crate::git::{GitError, Repository};

/// What is pushed to a remote.
pub(super) fn push(
    repository: &Repository,
    remote: Option<&str>,
    input: &mut dyn Read,
    environment: &dyn Fn(&str) -> Option<String>,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    let remote = remote.map(str::to_owned).or_else(|| variable("PRE_COMMIT_REMOTE_NAME"));
    let mut pushed = Pushed::new(repository);
    // Hook managers read the standard input themselves.
    if let (Some(from), Some(to)) = (variable("PRE_COMMIT_FROM_REF"), variable("PRE_COMMIT_TO_REF")) {
        pushed.without(named(repository, &from)?);
        pushed.with(named(repository, &to)?, &to)?;
    } else {
        let lines = lines(input)?;
        for line in &lines {
            let mut fields = line.rsplitn(4, ' ');
            let old = id(fields.next())?;
            let name = fields.next().unwrap_or_default();
            let new = id(fields.next())?;
            fields.next().ok_or_else(malformed)?;
            pushed.without(old);
            pushed.with(new, name)?;
        }
        // A manager that has no commit to start from has a branch that is all new.
        let branch = variable("PRE_COMMIT_LOCAL_BRANCH").filter(|branch| branch != "(delete)");
        if let (true, Some(branch)) = (lines.is_empty(), branch) {
            pushed.with(repository.commit(&branch)?, &branch)?;
        }
    }
    let known = remote.and_then(|remote| history::known_to(&remote));
    let known: Vec<_> = known.iter().flatten().map(String::as_str).collect();
    pushed.walk(&mut Walk::new(repository, visit), "", &known)
}

/// What a server received, and nothing of it refers to yet. It is judged by what the server had before: of the name
/// that is moved or, where that is new, of the branch that is checked out.
pub(super) fn receive(
    repository: &Repository,
    input: &mut dyn Read,
    visit: &mut dyn FnMut(Change) -> Result<(), GitError>,
) -> Result<(), GitError> {
    let mut groups: Vec<(Option<ObjectId>, Pushed<'_>)> = Vec::new();
    let mut places: HashMap<Option<ObjectId>, usize> = HashMap::new();
    for line in lines(input)? {
        let mut fields = line.splitn(3, ' ');
        let old = id(fields.next())?;
        let new = id(fields.next())?;
        let name = fields.next().ok_or_else(malformed)?;
        let is_known = groups.len() < MAX_POLICIES && history::is_commit(repository.objects(), old);
        let policy = if is_known { Some(old) } else { repository.head() };
        let place = *places.entry(policy).or_insert_with(|| {
            groups.push((policy, Pushed::new(repository)));
            groups.len() - 1
        });
        groups[place].1.with(new, name)?;
    }
    let mut walk = Walk::new(repository, visit);
    let mut before = String::new();
    for (policy, group) in groups {
        walk.judge_by(policy);
        // Each commit is judged once.
        let tips: String = group.tips().collect();
        group.walk(&mut walk, &before, &["--not", "--all"])?;
        before.push_str(&tips);
    }
    Ok(())
}

/// What is pushed.
struct Pushed<'a> {
    repository: &'a Repository,
    /// Commits, and those that are not, as `git rev-list` reads them.
    revisions: String,
    /// How many commits are wanted.
    wanted: usize,
    /// What is no commit, with the name that leads to it.
    others: Vec<(Kind, ObjectId, String)>,
}

impl<'a> Pushed<'a> {
    const fn new(repository: &'a Repository) -> Self {
        Self { repository, revisions: String::new(), wanted: 0, others: Vec::new() }
    }

    /// Adds what a name will lead to.
    fn with(&mut self, id: ObjectId, name: &str) -> Result<(), GitError> {
        if id.is_null() {
            return Ok(());
        }
        match self.repository.objects().peel(id).map_err(GitError::Unreadable)? {
            (Kind::Commit, id) => {
                self.revisions.push_str(&format!("{id}\n"));
                self.wanted += 1;
            }
            (kind, id) => self.others.push((kind, id, name.to_owned())),
        }
        Ok(())
    }

    /// Takes out what the other side has already. What is not here takes nothing out.
    fn without(&mut self, id: ObjectId) {
        if !id.is_null() && history::is_commit(self.repository.objects(), id) {
            self.revisions.push_str(&format!("^{id}\n"));
        }
    }

    /// Returns the commits that are wanted, as what takes them out.
    fn tips(&self) -> impl Iterator<Item = String> + '_ {
        self.revisions.lines().filter(|line| !line.starts_with('^')).map(|line| format!("^{line}\n"))
    }

    /// Walks through what is pushed, but for what `without` takes out, in lines of `git rev-list`.
    fn walk(self, walk: &mut Walk<'_>, without: &str, options: &[&str]) -> Result<(), GitError> {
        if self.wanted > 0 {
            walk.commits(&(self.revisions + without), options)?;
        }
        for (kind, id, name) in self.others {
            walk.object(kind, id, &name)?;
        }
        Ok(())
    }
}

/// Returns the commit that a name leads to; zeros are no commit.
fn named(repository: &Repository, name: &str) -> Result<ObjectId, GitError> {
    match ObjectId::from_hex(name.as_bytes()) {
        Ok(id) if id.is_null() => Ok(id),
        _ => repository.commit(name),
    }
}

fn lines(input: &mut dyn Read) -> Result<Vec<String>, GitError> {
    let mut text = Vec::new();
    let read = input.take(MAX_INPUT + 1).read_to_end(&mut text);
    read.map_err(|error| GitError::Unreadable(format!("the standard input cannot be read: {error}")))?;
    if text.len() as u64 > MAX_INPUT {
        return Err(GitError::Unreadable("too much is pushed at once".to_owned()));
    }
    // Names are only shown, and need be no UTF-8.
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn id(field: Option<&str>) -> Result<ObjectId, GitError> {
    ObjectId::from_hex(field.unwrap_or_default().as_bytes()).map_err(|_| malformed())
}

fn malformed() -> GitError {
    GitError::Unreadable("a line of the standard input is not as Git writes it for this hook".to_owned())
}

/// How many different policies a push is judged by; what is more is judged by that of the branch that is checked out.
const MAX_POLICIES: usize = 64;

/// How much Git may say of what is pushed.
const MAX_INPUT: u64 = 64 << 20;
