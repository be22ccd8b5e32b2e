//! Fixes of repositories of a real `git`, one for each way in which one could lose or publish something.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use selkie::check::Snapshot;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, KIND, generate};
use selkie::keys::{KeyGroup, KeyService, MasterKey};
use selkie::sealed::SealingCert;
use selkie::sops::Metadata;
use selkie::sops::config::{Config, CreationRule};
use tempfile::TempDir;

use super::mend::Policy;
use super::*;
use crate::run::Found;

const PLAIN: &str = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db # its name\nstringData:\n  user: blue\n  \
                     pass: heron\n";

/// Keys of age, made for a test.
struct Age {
    service: AgeService,
    recipient: String,
}

impl Age {
    fn new() -> Self {
        let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
        let identities = Identities::parse("a new key", &identity.secret).expect("an identity");
        Self { service: AgeService::new(identities), recipient: identity.recipient }
    }

    /// Returns the same keys without any identity.
    fn public(&self) -> Self {
        Self { service: AgeService::new(Identities::new()), recipient: self.recipient.clone() }
    }

    fn metadata(&self) -> Metadata {
        let keys = MasterKey::parse_list(&KIND, &self.recipient).expect("a recipient");
        let mut metadata = Metadata::new(vec![KeyGroup(keys)]);
        let rule = Config::parse(self.rules().as_bytes()).expect("rules");
        let rule = rule.rule_for("s.yaml").expect("it can be read").expect("a rule").clone();
        metadata.selector = rule.selector.unwrap_or_default();
        metadata
    }

    fn encrypt(&self, text: &str) -> String {
        let (metadata, rng) = (self.metadata(), &mut rand::rngs::OsRng);
        let services: &[&dyn KeyService] = &[&self.service];
        let text = selkie::encrypt(text, Format::Yaml, metadata, services, "2026-01-02T03:04:05Z", rng);
        String::from_utf8(text.expect("encrypted").expose_secret().to_vec()).expect("UTF-8")
    }

    fn decrypt(&self, text: &[u8]) -> String {
        let text = selkie::decrypt(text, Format::Yaml, &[&self.service]).expect("it decrypts");
        String::from_utf8(text.expose_secret().to_vec()).expect("UTF-8")
    }

    fn rules(&self) -> String {
        format!("creation_rules:\n- encrypted_regex: ^(data|stringData)$\n  age: {}\n", self.recipient)
    }
}

impl Keys for Age {
    fn with_services(&self, _: bool, with: &mut dyn FnMut(&[&dyn KeyService])) -> Result<(), String> {
        with(&[&self.service]);
        Ok(())
    }
}

/// What a repository says, without a repository.
struct Stub<'a> {
    keys: &'a Age,
    remaining: &'a [(&'static str, bool)],
}

impl Policy for Stub<'_> {
    fn rule(&self, path: &str) -> Result<CreationRule, String> {
        let config = Config::parse(self.keys.rules().as_bytes()).map_err(|error| error.to_string())?;
        let rule = config.rule_for(path).map_err(|error| error.to_string())?;
        rule.cloned().ok_or_else(|| "there is no rule".to_owned())
    }

    fn cert(&self) -> Result<SealingCert, String> {
        let pem = include_bytes!("../../../../testdata/sealed-secrets/cert.pem");
        SealingCert::parse(pem).map_err(|error| error.to_string())
    }

    fn remaining(&self, _: &str, _: &[u8], _: Option<&[u8]>) -> Vec<(&'static str, bool)> {
        self.remaining.to_vec()
    }
}

/// A repository in a folder of its own, with no configuration but its own.
struct Repo {
    folder: TempDir,
    git: Git,
    keys: Age,
    options: Fix,
}

impl Repo {
    fn new() -> Self {
        Self::with(&[])
    }

    /// Makes a repository with options of `git init`.
    fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().join("r");
        fs::create_dir(&top).expect("made");
        let git = Git::new(&top)
            .with_variable("HOME", folder.path())
            .with_variable("GIT_CONFIG_GLOBAL", "/dev/null")
            .with_variable("GIT_CONFIG_NOSYSTEM", "1");
        let repo = Self { folder, git, keys: Age::new(), options: Fix::default() };
        repo.run(&[&["init", "-q", "-b", "main"], options].concat());
        for (name, value) in [("user.name", "n"), ("user.email", "e@example.org"), ("gc.auto", "0")] {
            repo.run(&["config", name, value]);
        }
        repo
    }

    /// Returns a repository in which a text is staged.
    fn staged(path: &str, text: &str) -> Self {
        let repo = Self::new();
        repo.stage(path, text);
        repo
    }

    fn stage(&self, path: &str, text: &str) {
        self.write(path, text);
        self.run(&["add", "--", path]);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn top(&self) -> &Path {
        self.git.top()
    }

    /// Returns the repository of another worktree of this one.
    fn in_worktree(self, name: &str) -> Self {
        let top = self.folder.path().join(name);
        self.run(&["worktree", "add", "-q", "--detach", &top.display().to_string()]);
        let git = self.git.at(&top);
        Self { git, ..self }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let said = self.git.run(arguments, None).expect("git does it");
        String::from_utf8_lossy(said.expose_secret()).into_owned()
    }

    fn staged_text(&self, path: &str) -> Vec<u8> {
        let files = IndexFiles::new(&self.git).expect("the index");
        files.read(path).expect("it can be read").expect("it is there")
    }

    fn copy(&self, path: &str) -> String {
        fs::read_to_string(self.top().join(path)).expect("it is there")
    }

    fn index(&self) -> Vec<u8> {
        fs::read(self.top().join(".git/index")).expect("an index")
    }

    fn fix(&self, path: &str, ways: &[Way]) -> Fixed {
        self.try_fix(path, ways, &|_| None).expect("it can be fixed")
    }

    fn try_fix(
        &self,
        path: &str,
        ways: &[Way],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Fixed, String> {
        self.try_fix_with(&self.keys, &[], (path, ways), environment)
    }

    fn try_fix_with(
        &self,
        keys: &Age,
        remaining: &[(&'static str, bool)],
        (path, ways): (&str, &[Way]),
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Fixed, String> {
        let policy = Stub { keys, remaining };
        let mender = Mender { policy: &policy, keys, now: OffsetDateTime::UNIX_EPOCH };
        let files = IndexFiles::new(&self.git)?;
        let work = Work { git: &self.git, files: &files, mender: &mender, fix: &self.options, environment };
        work.run(&[(path.to_owned(), self.wanted(path, ways))].into_iter().collect())
    }

    fn wanted(&self, path: &str, ways: &[Way]) -> Wanted {
        let text = String::from_utf8_lossy(&self.staged_text(path)).into_owned();
        let start = text.find("last-applied").unwrap_or_default();
        let wish = |&fix: &Way| Wish { fix, span: start..start + 1, object: "Secret/db".to_owned() };
        Wanted { wishes: ways.iter().map(wish).collect(), others: BTreeSet::from(["TOK001"]) }
    }

    /// Makes sure that a file is encrypted in the index, and is what it was.
    fn assert_encrypted(&self, path: &str, plain: &str) {
        let staged = self.staged_text(path);
        assert!(!staged.windows(5).any(|part| part == b"heron"), "it is in clear");
        assert_eq!(self.keys.decrypt(&staged), plain);
    }
}

fn reason(fixed: &Fixed) -> &str {
    assert!(fixed.mended.is_empty());
    &fixed.refused.first().expect("it is refused").1
}

#[test]
fn commit_of_the_whole_index_holds_ciphertext_alone() {
    let repo = Repo::staged("a/s.yaml", PLAIN);
    let fixed = repo.fix("a/s.yaml", &[Way::Encrypt]);
    assert_eq!((fixed.mended, fixed.refused), (vec!["a/s.yaml".to_owned()], Vec::new()));
    repo.assert_encrypted("a/s.yaml", PLAIN);
    assert_eq!(repo.copy("a/s.yaml").as_bytes(), repo.staged_text("a/s.yaml"));
    repo.run(&["commit", "-q", "-m", "m"]);
    assert_eq!(repo.run(&["status", "--porcelain"]), "");
    assert!(repo.run(&["show", "HEAD:a/s.yaml"]).contains("ENC["));
}

#[test]
fn commit_with_an_index_of_its_own_is_refused() {
    let repo = Repo::staged("s.yaml", PLAIN);
    repo.run(&["commit", "-q", "-m", "m"]);
    let hook = repo.top().join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().expect("a folder")).expect("made");
    fs::write(&hook, "#!/bin/sh\nprintf %s \"$GIT_INDEX_FILE\" > .git/named\n").expect("written");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("set");
    let named = |arguments: &[&str], add: bool| {
        repo.write("s.yaml", &format!("{PLAIN}# {arguments:?}\n"));
        if add {
            repo.run(&["add", "s.yaml"]);
        }
        repo.run(&[&["-c", "core.hooksPath=.git/hooks"], arguments].concat());
        repo.copy(".git/named")
    };
    let own = [named(&["commit", "-q", "-mx", "s.yaml"], true), named(&["commit", "-a", "-q", "-mx"], false)];
    let whole = named(&["commit", "-q", "-m", "x", "-m", "y"], true);
    let before = repo.index();
    for index in own {
        let fixed = repo
            .try_fix("s.yaml", &[Way::Encrypt], &|name| (name == "GIT_INDEX_FILE").then(|| index.clone()));
        let fixed = fixed.expect("it is told");
        assert!(reason(&fixed).contains("index of its own"), "{fixed:?}");
        assert!(reason(&fixed).ends_with("`kubectl seal encrypt -i s.yaml && git add s.yaml`"), "{fixed:?}");
        assert_eq!(repo.index(), before);
    }
    let environment = |name: &str| (name == "GIT_INDEX_FILE").then(|| whole.clone());
    let fixed = repo.try_fix("s.yaml", &[Way::Encrypt], &environment).expect("it is fixed");
    assert_eq!(fixed.mended, ["s.yaml"]);
}

#[test]
fn edits_that_are_not_staged_are_neither_lost_nor_staged() {
    for edited in [PLAIN.replace("blue", "green"), format!("# on top\n{PLAIN}")] {
        let repo = Repo::staged("s.yaml", PLAIN);
        repo.write("s.yaml", &edited);
        let fixed = repo.fix("s.yaml", &[Way::Encrypt]);
        assert!(
            fixed.notes[0].starts_with("worktree copy of s.yaml is still plaintext"),
            "{:?}",
            fixed.notes
        );
        repo.assert_encrypted("s.yaml", PLAIN);
        assert_eq!(repo.copy("s.yaml"), edited);
    }
}

#[test]
fn under_hook_managers_edits_that_are_not_staged_refuse_it() {
    let repo = Repo::staged("s.yaml", PLAIN);
    let cache = repo.folder.path().join("cache").display().to_string();
    let managed = |name: &str| match name {
        "PRE_COMMIT" => Some("1".to_owned()),
        "XDG_CACHE_HOME" => Some(cache.clone()),
        _ => None,
    };
    repo.write("s.yaml", "a: b\n");
    let before = repo.index();
    let fixed = repo.try_fix("s.yaml", &[Way::Encrypt], &managed).expect("it is told");
    assert!(reason(&fixed).contains("hook manager"), "{fixed:?}");
    // What a manager put aside does not show in the worktree.
    repo.write("s.yaml", PLAIN);
    fs::create_dir(repo.top().join(".git/info")).ok();
    let patch = repo.top().join(".git/info/lefthook-unstaged.patch");
    fs::write(&patch, "diff --git a/s.yaml b/s.yaml\n").expect("written");
    let fixed = repo.try_fix("s.yaml", &[Way::Encrypt], &|_| None).expect("it is told");
    assert!(reason(&fixed).contains("hook manager"), "{fixed:?}");
    assert_eq!(repo.index(), before);
    fs::remove_file(patch).expect("removed");
    let fixed = repo.try_fix("s.yaml", &[Way::Encrypt], &managed).expect("it is fixed");
    assert_eq!(fixed.mended, ["s.yaml"]);
}

#[test]
fn end_between_the_objects_and_the_index_changes_nothing() {
    let repo = Repo::staged("s.yaml", PLAIN);
    let before = repo.index();
    let policy = Stub { keys: &repo.keys, remaining: &[] };
    let mender = Mender { policy: &policy, keys: &repo.keys, now: OffsetDateTime::UNIX_EPOCH };
    let files = IndexFiles::new(&repo.git).expect("the index");
    let work =
        Work { git: &repo.git, files: &files, mender: &mender, fix: &repo.options, environment: &|_| None };
    let aside = PutAside::find(&repo.top().join(".git"), &|_| None, &[]);
    let wanted = repo.wanted("s.yaml", &[Way::Encrypt]);
    let mended = work.mend("s.yaml", &wanted, &aside, &mut Vec::new()).expect("it is mended");
    let replacements = work.store(&[mended]).expect("it is stored");
    assert!(repo.git.blob(&replacements[0].blob).is_ok());
    assert_eq!((repo.index(), repo.copy("s.yaml")), (before, PLAIN.to_owned()));
}

#[test]
fn entry_that_was_staged_anew_meanwhile_stops_all() {
    let repo = Repo::staged("a.yaml", PLAIN);
    repo.stage("b.yaml", PLAIN);
    let entries = repo.git.entries().expect("entries");
    let blob = repo.git.store(b"new").expect("stored");
    let replacements: Vec<_> =
        entries.into_iter().map(|entry| Replacement { entry, blob: blob.clone() }).collect();
    repo.stage("b.yaml", "a: b\n");
    let before = repo.index();
    let index = repo.top().join(".git/index");
    let error = repo.git.replace(&index, &replacements).expect_err("it was staged anew");
    assert!(error.contains("b.yaml was staged anew"), "{error}");
    assert_eq!(repo.index(), before);
    assert!(!repo.top().join(".git/index.lock").exists());
    repo.git.replace(&index, &replacements[..1]).expect("it is as it was");
    assert_eq!(repo.staged_text("a.yaml"), b"new");
}

#[test]
fn lock_of_another_git_is_told_and_stays() {
    let repo = Repo::staged("s.yaml", PLAIN);
    let lock = repo.top().join(".git/index.lock");
    fs::write(&lock, "another").expect("written");
    let before = repo.index();
    let error = repo.try_fix("s.yaml", &[Way::Encrypt], &|_| None).expect_err("it is locked");
    assert!(error.contains("index.lock is there, so another git is at work"), "{error}");
    assert_eq!((repo.index(), repo.copy("s.yaml")), (before, PLAIN.to_owned()));
    assert_eq!(fs::read(lock).expect("it is there"), b"another");
}

#[test]
fn copies_that_cannot_be_written_are_told() {
    let repo = Repo::staged("s.yaml", PLAIN);
    let path = repo.top().join("s.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("set");
    let fixed = repo.fix("s.yaml", &[Way::Encrypt]);
    assert_eq!(fixed.notes[0], "worktree copy of s.yaml is still plaintext: it is read-only");
    repo.assert_encrypted("s.yaml", PLAIN);
    assert_eq!(repo.copy("s.yaml"), PLAIN);
}

#[test]
fn links_are_not_followed() {
    let repo = Repo::staged("a/s.yaml", PLAIN);
    let elsewhere = repo.folder.path().join("elsewhere");
    fs::rename(repo.top().join("a"), &elsewhere).expect("moved");
    symlink(&elsewhere, repo.top().join("a")).expect("linked");
    let fixed = repo.fix("a/s.yaml", &[Way::Encrypt]);
    assert!(fixed.notes[0].contains("still plaintext"), "{fixed:?}");
    assert_eq!(fs::read_to_string(elsewhere.join("s.yaml")).expect("it is there"), PLAIN);
}

#[test]
fn line_ends_of_the_worktree_are_kept() {
    let repo = Repo::new();
    repo.stage(".gitattributes", "*.yaml text eol=crlf\n");
    let crlf = PLAIN.replace('\n', "\r\n");
    repo.stage("s.yaml", &crlf);
    repo.fix("s.yaml", &[Way::Encrypt]);
    repo.assert_encrypted("s.yaml", PLAIN);
    let copy = repo.copy("s.yaml");
    assert!(copy.contains("ENC[") && copy.lines().count() == copy.matches("\r\n").count());
    repo.run(&["commit", "-q", "-m", "m"]);
    assert_eq!(repo.run(&["status", "--porcelain"]), "");
    // Without attributes, they are those of the blob.
    let repo = Repo::staged("s.yaml", &crlf);
    repo.fix("s.yaml", &[Way::Encrypt]);
    repo.assert_encrypted("s.yaml", &crlf);
}

#[test]
fn modes_are_kept() {
    let repo = Repo::new();
    repo.write("s.yaml", PLAIN);
    let path = repo.top().join("s.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).expect("set");
    repo.run(&["add", "s.yaml"]);
    repo.fix("s.yaml", &[Way::Encrypt]);
    assert_eq!(repo.git.entries().expect("entries")[0].mode, "100755");
    assert_eq!(fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o750);
    repo.assert_encrypted("s.yaml", PLAIN);
}

#[test]
fn odd_names_are_names() {
    for path in ["-x.yaml", "a b/'\"$(x)\n\t\u{e4}.yaml", ":(glob)*.yaml", "[a]*.yaml"] {
        let repo = Repo::staged("b.yaml", PLAIN);
        repo.stage(path, PLAIN);
        let fixed = repo.fix(path, &[Way::Encrypt]);
        assert_eq!(fixed.mended, [path], "{fixed:?}");
        assert!(fixed.notes.iter().all(|note| !note.contains('\n')), "{fixed:?}");
        repo.assert_encrypted(path, PLAIN);
        assert!(repo.copy(path).contains("ENC["));
        assert_eq!(repo.staged_text("b.yaml"), PLAIN.as_bytes());
    }
}

#[test]
fn secret_of_several_documents_is_sealed_alone() {
    let (head, tail) = (
        "# top\nkind: A\n---\n",
        "---\n# next\nkind:   B # odd\n---\n{kind: Secret, metadata: {name: other}}\n",
    );
    let secret = PLAIN.replace("name: db", "namespace: shop\n  name: db").replace("Secret/db", "");
    let repo = Repo::staged("s.yaml", &format!("{head}{secret}{tail}"));
    let mut wanted = repo.wanted("s.yaml", &[Way::Seal]);
    wanted.wishes[0].object = "Secret/shop/db".to_owned();
    let policy = Stub { keys: &repo.keys, remaining: &[] };
    let mender = Mender { policy: &policy, keys: &repo.keys, now: OffsetDateTime::UNIX_EPOCH };
    let files = IndexFiles::new(&repo.git).expect("the index");
    let work =
        Work { git: &repo.git, files: &files, mender: &mender, fix: &repo.options, environment: &|_| None };
    let fixed = work.run(&[("s.yaml".to_owned(), wanted)].into_iter().collect()).expect("it is fixed");
    assert_eq!(fixed.mended, ["s.yaml"], "{fixed:?}");
    let text = String::from_utf8(repo.staged_text("s.yaml")).expect("UTF-8");
    assert!(
        text.starts_with(&format!("{head}apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\n")),
        "{text}"
    );
    assert!(text.ends_with(tail) && !text.contains("heron") && text.contains("    pass: Ag"), "{text}");
    assert_eq!(repo.copy("s.yaml"), text);
}

#[test]
fn secret_without_a_namespace_is_not_sealed_for_a_wrong_one() {
    let repo = Repo::staged("s.yaml", PLAIN);
    let fixed = repo.fix("s.yaml", &[Way::Seal]);
    assert!(reason(&fixed).ends_with("`kubectl seal seal -i s.yaml && git add s.yaml`"), "{fixed:?}");
}

#[test]
fn what_was_added_in_clear_is_encrypted_with_the_data_key_at_hand() {
    let repo = Repo::new();
    let encrypted = repo.keys.encrypt(PLAIN);
    let added = encrypted.replace("\nsops:", "\n  more: |\n    heron\n    gull\n  last: 'x' # y\nsops:");
    let added = if added == encrypted { panic!("the metadata is elsewhere") } else { added };
    repo.stage("s.yaml", &added);
    let fixed = repo.fix("s.yaml", &[Way::EncryptRest]);
    assert_eq!(fixed.mended, ["s.yaml"], "{fixed:?}");
    let text = String::from_utf8(repo.staged_text("s.yaml")).expect("UTF-8");
    repo.assert_encrypted("s.yaml", &format!("{PLAIN}  more: |\n    heron\n    gull\n  last: 'x' # y\n"));
    // What was encrypted keeps its ciphertext.
    let kept = encrypted.lines().find(|line| line.contains("pass: ENC[")).expect("a line");
    assert!(text.contains(kept));
    let public = repo.keys.public();
    repo.stage("s.yaml", &added);
    let fixed =
        repo.try_fix_with(&public, &[], ("s.yaml", &[Way::EncryptRest]), &|_| None).expect("it is told");
    assert!(reason(&fixed).starts_with("its data key is needed"), "{fixed:?}");
}

#[test]
fn value_that_was_replaced_in_clear_needs_the_commit_to_trust_the_others() {
    let repo = Repo::new();
    let encrypted = repo.keys.encrypt(PLAIN);
    let line = encrypted.lines().find(|line| line.contains("pass: ENC[")).expect("a line");
    let replaced = encrypted.replace(line, "  pass: heron2");
    repo.stage("s.yaml", &replaced);
    let fixed = repo.fix("s.yaml", &[Way::EncryptRest]);
    assert!(reason(&fixed).starts_with("its MAC does not fit"), "{fixed:?}");
    repo.stage("s.yaml", &encrypted);
    repo.run(&["commit", "-q", "-m", "m"]);
    repo.stage("s.yaml", &replaced);
    let fixed = repo.fix("s.yaml", &[Way::EncryptRest]);
    assert_eq!(fixed.mended, ["s.yaml"], "{fixed:?}");
    repo.assert_encrypted("s.yaml", &PLAIN.replace("heron", "heron2"));
    // A ciphertext that the commit does not have may be of any time.
    let other = repo.keys.encrypt(PLAIN);
    let user = |text: &str| text.lines().find(|line| line.contains("user: ENC[")).expect("a line").to_owned();
    repo.stage("s.yaml", &replaced.replace(&user(&encrypted), &user(&other)));
    assert!(!repo.fix("s.yaml", &[Way::EncryptRest]).refused.is_empty());
}

#[test]
fn annotation_goes_before_the_rest_is_encrypted() {
    let text = PLAIN.replace(
        "  name: db",
        "  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      {\"heron\": 1}\n  name: db",
    );
    let repo = Repo::staged("s.yaml", &text);
    repo.fix("s.yaml", &[Way::Encrypt, Way::Strip]);
    repo.assert_encrypted("s.yaml", PLAIN);
    // In an encrypted file the MAC covers it.
    let repo = Repo::new();
    repo.stage("s.yaml", &repo.keys.encrypt(&text));
    repo.fix("s.yaml", &[Way::Strip]);
    repo.assert_encrypted("s.yaml", PLAIN);
}

#[test]
fn conflicts_filters_and_files_that_are_left_alone_are_refused() {
    let repo = Repo::staged("s.yaml", PLAIN);
    let blob = repo.git.store(PLAIN.as_bytes()).expect("stored");
    let lines = format!("0 {} 0\ts.yaml\n100644 {blob} 1\ts.yaml\n100644 {blob} 2\ts.yaml\n", "0".repeat(40));
    repo.git.run(&["update-index", "--index-info"], Some(lines.as_bytes())).expect("a conflict");
    assert!(reason(&repo.fix("s.yaml", &[Way::Encrypt])).starts_with("it is in conflict"));
    let repo = Repo::staged("s.yaml", PLAIN);
    repo.write(".gitattributes", "*.yaml filter=other\n");
    assert!(reason(&repo.fix("s.yaml", &[Way::Encrypt])).contains("filter"));
    let repo = Repo::staged("s.yaml", PLAIN);
    repo.run(&["update-index", "--skip-worktree", "s.yaml"]);
    assert!(reason(&repo.fix("s.yaml", &[Way::Encrypt])).contains("skip-worktree"));
}

#[test]
fn result_has_to_pass_the_checks() {
    let repo = Repo::staged("s.yaml", PLAIN);
    let fix = |remaining: &[(&'static str, bool)]| {
        repo.try_fix_with(&repo.keys, remaining, ("s.yaml", &[Way::Encrypt]), &|_| None).expect("it is told")
    };
    let before = repo.index();
    for remaining in [[("K8S001", true)], [("KEY001", false)]] {
        assert!(reason(&fix(&remaining)).contains("does not pass the checks"));
        assert_eq!(repo.index(), before);
    }
    let fixed = fix(&[("TOK001", false)]);
    assert_eq!(fixed.mended, ["s.yaml"]);
    assert_eq!(fixed.notes[0], "s.yaml: what TOK001 found is still in it");
}

#[test]
fn dry_run_writes_nothing() {
    let mut repo = Repo::staged("s.yaml", PLAIN);
    repo.options.dry_run = true;
    let (index, objects) = (repo.index(), repo.run(&["count-objects"]));
    assert_eq!(repo.fix("s.yaml", &[Way::Encrypt]).mended, ["s.yaml"]);
    assert_eq!((repo.index(), repo.run(&["count-objects"])), (index, objects));
    assert_eq!(repo.copy("s.yaml"), PLAIN);
}

#[test]
fn plaintext_is_purged_only_if_nothing_leads_to_it() {
    let mut repo = Repo::staged("s.yaml", PLAIN);
    let blob = repo.git.entries().expect("entries")[0].blob.clone();
    assert!(repo.fix("s.yaml", &[Way::Encrypt]).notes[0].contains("still in .git/objects"));
    assert!(repo.git.blob(&blob).is_ok());
    repo.stage("s.yaml", PLAIN);
    repo.options.purge = true;
    assert_eq!(
        repo.fix("s.yaml", &[Way::Encrypt]).notes,
        ["s.yaml: its plaintext is gone from .git/objects"]
    );
    assert!(repo.git.blob(&blob).is_err());
    // Another worktree may have it staged.
    repo.run(&["commit", "-q", "-m", "m"]);
    let other = repo.folder.path().join("other").display().to_string();
    repo.run(&["worktree", "add", "-q", "--detach", &other]);
    fs::write(Path::new(&other).join("x.yaml"), PLAIN).expect("written");
    repo.run(&["-C", &other, "add", "x.yaml"]);
    repo.stage("s.yaml", PLAIN);
    assert!(repo.fix("s.yaml", &[Way::Encrypt]).notes[0].contains("another index"));
    assert!(repo.git.blob(&blob).is_ok());
    // Commits are told.
    repo.stage("s.yaml", PLAIN);
    repo.run(&["commit", "-q", "-m", "m"]);
    let short = repo.run(&["rev-parse", "--short", "HEAD"]);
    for purge in [true, false] {
        repo.options.purge = purge;
        repo.stage("s.yaml", PLAIN);
        let notes = repo.fix("s.yaml", &[Way::Encrypt]).notes;
        assert!(notes[0].contains(short.trim()) && notes[0].contains("rotate"), "{notes:?}");
    }
    assert!(repo.git.blob(&blob).is_ok());
}

#[test]
fn nothing_that_is_told_holds_a_value() {
    let repo = Repo::staged("s.yaml", &format!("{PLAIN}  : [heron\n"));
    let fixed = repo.fix("s.yaml", &[Way::Encrypt]);
    assert!(!reason(&fixed).contains("heron"), "{fixed:?}");
}

#[test]
fn every_kind_of_index_is_replaced() {
    let split = Repo::new();
    split.run(&["config", "core.splitIndex", "true"]);
    let odd = Repo::new();
    odd.run(&["config", "core.untrackedCache", "true"]);
    odd.run(&["config", "index.version", "4"]);
    let linked = Repo::new();
    linked.run(&["commit", "-q", "--allow-empty", "-m", "m"]);
    for repo in [split, odd, linked.in_worktree("linked"), Repo::with(&["--object-format=sha256"])] {
        for number in 0..20 {
            repo.stage(&format!("{number}.yaml"), "a: b\n");
        }
        repo.stage("s.yaml", PLAIN);
        repo.run(&["commit", "-q", "-m", "m"]);
        repo.stage("s.yaml", &PLAIN.replace("blue", "green"));
        let own = repo.git.folder().expect("a folder").join("index").display().to_string();
        let environment = |name: &str| (name == "GIT_INDEX_FILE").then(|| own.clone());
        let fixed = repo.try_fix("s.yaml", &[Way::Encrypt], &environment).expect("it is fixed");
        assert_eq!(fixed.mended, ["s.yaml"], "{fixed:?}");
        repo.assert_encrypted("s.yaml", &PLAIN.replace("blue", "green"));
        assert_eq!(repo.run(&["status", "--porcelain"]), "M  s.yaml\n");
        assert_eq!(repo.run(&["ls-files"]).lines().count(), 21);
        repo.run(&["fsck", "--strict"]);
    }
}

#[test]
fn commit_that_has_another_plaintext_is_told() {
    let repo = Repo::staged("s.yaml", PLAIN);
    repo.run(&["commit", "-q", "-m", "m"]);
    repo.stage("s.yaml", &PLAIN.replace("blue", "green"));
    let policy = Clear(Stub { keys: &repo.keys, remaining: &[] });
    let mender = Mender { policy: &policy, keys: &repo.keys, now: OffsetDateTime::UNIX_EPOCH };
    let files = IndexFiles::new(&repo.git).expect("the index");
    let work =
        Work { git: &repo.git, files: &files, mender: &mender, fix: &repo.options, environment: &|_| None };
    let wanted = [("s.yaml".to_owned(), repo.wanted("s.yaml", &[Way::Encrypt]))];
    let fixed = work.run(&wanted.into_iter().collect()).expect("it is fixed");
    let short = repo.run(&["rev-parse", "--short", "HEAD"]);
    assert!(fixed.notes[0].contains(short.trim()) && fixed.notes[0].contains("rotate"), "{fixed:?}");
}

/// Finds what is in clear.
struct Clear<'a>(Stub<'a>);

impl Policy for Clear<'_> {
    fn rule(&self, path: &str) -> Result<CreationRule, String> {
        self.0.rule(path)
    }

    fn cert(&self) -> Result<SealingCert, String> {
        self.0.cert()
    }

    fn remaining(&self, _: &str, text: &[u8], _: Option<&[u8]>) -> Vec<(&'static str, bool)> {
        if text.windows(5).any(|part| part == b"heron") { vec![("K8S001", true)] } else { Vec::new() }
    }
}

/// Checks what is staged, and fixes what was found with what the repository itself says.
fn check_and_fix(repo: &Repo, options: &Fix) -> (Vec<String>, Fixed) {
    let variables =
        vec![("HOME".into(), repo.folder.path().into()), ("GIT_CONFIG_NOSYSTEM".into(), "1".into())];
    let repository = Repository::find_with(repo.top(), variables).expect("a repository");
    let check = || {
        let files = IndexFiles::new(&repo.git).expect("the index");
        let judge = Judge::new(&files, None, OffsetDateTime::UNIX_EPOCH.date()).expect("a configuration");
        let mut outcome = Outcome::default();
        for path in files.paths() {
            let text = repo.staged_text(path);
            let old = repo.git.committed(path.as_bytes()).map(|blob| repo.git.blob(&blob).expect("a blob"));
            let findings = judge.findings(path, &text, old.as_ref().map(SecretBytes::expose_secret));
            outcome
                .findings
                .extend(findings.into_iter().map(|finding| Found { finding, change: String::new() }));
        }
        outcome
    };
    let outcome = check();
    let surroundings = Surroundings { environment: &|_| None, now: OffsetDateTime::UNIX_EPOCH };
    let fixed = fix(&repository, &outcome, &repo.keys, options, &surroundings).expect("it is fixed");
    let left = check().findings.into_iter().filter(|found| found.finding.blocks());
    (left.map(|found| format!("{:?}", found.finding)).collect(), fixed)
}

#[test]
fn what_rules_find_is_mended_by_what_the_repository_says() {
    let repo = Repo::new();
    repo.stage(".sops.yaml", &repo.keys.rules().replace("- enc", "- path_regex: sops/.*\\.yaml$\n  enc"));
    let annotation = "metadata:\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      \
                      {\"kind\":\"Secret\",\"data\":{\"a\":\"aGVyb24=\"}}\n";
    repo.stage("sops/s.yaml", &PLAIN.replace("metadata:\n", annotation));
    let encrypted = repo.keys.encrypt(PLAIN);
    repo.stage("sops/old.yaml", &encrypted);
    repo.stage("ok.yaml", "kind: A\n");
    repo.run(&["commit", "-q", "-m", "m", "sops/old.yaml"]);
    let line = encrypted.lines().find(|line| line.contains("pass: ENC[")).expect("a line");
    repo.stage("sops/old.yaml", &encrypted.replace(line, "  pass: heron2"));
    let (left, fixed) = check_and_fix(&repo, &Fix::default());
    assert_eq!((left, &fixed.refused), (Vec::new(), &Vec::new()), "{fixed:?}");
    assert_eq!(fixed.mended, ["sops/old.yaml", "sops/s.yaml"]);
    repo.assert_encrypted("sops/s.yaml", PLAIN);
    repo.assert_encrypted("sops/old.yaml", &PLAIN.replace("heron", "heron2"));
}

#[test]
fn secrets_elsewhere_are_sealed_for_the_certificate_of_the_configuration() {
    let repo = Repo::new();
    let cert = include_str!("../../../../testdata/sealed-secrets/cert.pem");
    repo.stage("pub.pem", cert);
    repo.stage(".seal-check.yaml", "version: 1\nsealed: {cert: pub.pem}\n");
    let secret = PLAIN.replace("  name: db", "  namespace: shop\n  name: db");
    repo.stage("s.yaml", &format!("kind: A\n---\n{secret}"));
    let (left, fixed) = check_and_fix(&repo, &Fix::default());
    assert_eq!((left, &fixed.refused), (Vec::new(), &Vec::new()), "{fixed:?}");
    let text = String::from_utf8(repo.staged_text("s.yaml")).expect("UTF-8");
    assert!(text.starts_with("kind: A\n---\napiVersion: bitnami.com/v1alpha1\n"), "{text}");
}
