//! The states, each with what is wanted of it.

use std::process::Output;

use libtest_mimic::Failed;
use selkie::format::Format;
use selkie::keys::age::{AgeService, Identities, IdentityKind, generate};
use selkie::keys::{KeyGroup, MasterKey, age};
use selkie::sops::{Metadata, Selector};

use super::lab::Lab;

/// A state of a repository.
pub struct State {
    pub name: &'static str,
    /// Whether hook managers are asked, too.
    pub is_for_managers: bool,
    pub wanted: Wanted,
    /// Makes the state, and does what may be refused.
    pub make: fn(&Lab) -> Result<Output, Failed>,
}

/// What has to become of it.
#[derive(Clone, Copy)]
pub enum Wanted {
    Accept,
    /// It is refused, by this rule.
    Reject(&'static str),
}

/// The value that nobody may see.
pub const VALUE: &str = "correct horse battery";
/// The same in base64.
pub const ENCODED: &str = "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5";

const fn accept(name: &'static str, make: fn(&Lab) -> Result<Output, Failed>) -> State {
    State { name, is_for_managers: true, wanted: Wanted::Accept, make }
}

const fn reject(name: &'static str, rule: &'static str, make: fn(&Lab) -> Result<Output, Failed>) -> State {
    State { name, is_for_managers: true, wanted: Wanted::Reject(rule), make }
}

impl State {
    /// Hook managers cannot come to this state, or look at nothing in it.
    const fn git_only(mut self) -> Self {
        self.is_for_managers = false;
        self
    }
}

pub static STATES: &[State] = &[
    reject("staged_and_removed_in_the_worktree", "K8S001", |lab| {
        lab.stage("a.yaml", secret())?;
        lab.write("a.yaml", "kind: ConfigMap\n")?;
        lab.guarded(COMMIT)
    }),
    accept("only_in_the_worktree", |lab| {
        lab.stage("a.yaml", "kind: ConfigMap\n")?;
        lab.write("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("one_value_of_a_committed_secret_is_another", "K8S001", |lab| {
        lab.commit_before(&[("a.yaml", secret().replace(VALUE, "old value").as_bytes())])?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("a_password_is_added_to_a_committed_secret", "K8S001", |lab| {
        lab.commit_before(&[("a.yaml", secret().replace(VALUE, "").as_bytes())])?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("a_line_in_clear_is_added_to_an_encrypted_file", "SOPS002", |lab| {
        let encrypted = encrypted("a: x\n", Selector::default())?;
        lab.commit_before(&[("a.yaml", encrypted.as_bytes())])?;
        lab.stage("a.yaml", format!("password: {VALUE}\n{encrypted}"))?;
        lab.guarded(COMMIT)
    }),
    reject("a_clear_field_of_an_encrypted_file_is_another", "SOPS004", |lab| {
        let rule = Selector::EncryptedSuffix("_secret".to_owned());
        let encrypted = encrypted("user: a\npassword_secret: x\n", rule)?;
        lab.commit_before(&[("a.yaml", encrypted.as_bytes())])?;
        lab.stage("a.yaml", encrypted.replace("user: a", "user: b"))?;
        lab.guarded(COMMIT)
    }),
    accept("a_driver_shows_encrypted_files_decrypted", |lab| {
        lab.commit_before(&[(".gitattributes", b"*.yaml diff=sops\n")])?;
        lab.git(&["config", "diff.sops.textconv", "echo 'kind: Secret\nstringData: {password: x}' #"])?;
        lab.stage("a.yaml", encrypted("a: x\n", Selector::default())?)?;
        lab.guarded(COMMIT)
    }),
    reject("attributes_say_that_there_is_no_diff", "K8S001", |lab| {
        lab.commit_before(&[(".gitattributes", b"*.yaml -diff -text binary\n")])?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("git_is_set_to_colour", "K8S001", |lab| {
        lab.git(&["config", "color.ui", "always"])?;
        lab.git(&["config", "color.diff", "always"])?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("diffs_have_no_prefix", "K8S001", |lab| {
        lab.git(&["config", "diff.noprefix", "true"])?;
        lab.git(&["config", "diff.mnemonicPrefix", "true"])?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("diffs_are_made_by_a_program", "K8S001", |lab| {
        lab.git(&["config", "diff.external", "true"])?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("utf_16", "K8S001", |lab| {
        let text: Vec<u8> =
            format!("\u{feff}{}", secret()).encode_utf16().flat_map(u16::to_le_bytes).collect();
        lab.stage("a.yaml", text)?;
        lab.guarded(COMMIT)
    }),
    reject("the_first_commit", "K8S001", |lab| {
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("an_odd_name", "K8S001", |lab| {
        lab.stage("-dash ü\nline.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("one_path_of_several_is_committed", "K8S001", |lab| {
        lab.commit_before(&[("a.yaml", b"kind: ConfigMap\n"), ("b.yaml", b"b: 1\n")])?;
        lab.stage("b.yaml", "b: 2\n")?;
        lab.write("a.yaml", secret())?;
        lab.guarded(&["commit", "-m", "m", "a.yaml"])
    }),
    accept("one_path_is_committed_and_another_is_staged", |lab| {
        lab.commit_before(&[("a.yaml", b"kind: ConfigMap\n"), ("b.yaml", b"b: 1\n")])?;
        lab.stage("b.yaml", secret())?;
        lab.write("a.yaml", "kind: ConfigMap\ndata: {}\n")?;
        lab.guarded(&["commit", "-m", "m", "a.yaml"])
    }),
    accept("a_clean_filter_encrypts", |lab| {
        let encrypted = encrypted("a: x\n", Selector::default())?;
        std::fs::write(lab.beside("cipher"), encrypted)?;
        lab.commit_before(&[(".gitattributes", b"*.yaml filter=seal\n")])?;
        lab.git(&["config", "filter.seal.clean", &format!("cat '{}'", lab.beside("cipher").display())])?;
        lab.git(&["config", "filter.seal.smudge", "cat"])?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    accept("a_secret_is_deleted", |lab| {
        lab.commit_before(&[("a.yaml", secret().as_bytes()), ("b", b"b")])?;
        lab.git(&["rm", "-q", "a.yaml"])?;
        lab.guarded(COMMIT)
    }),
    reject("a_file_is_moved_out_of_a_folder_that_is_exempt", "K8S001", |lab| {
        let config = "version: 1\npaths:\n- {match: 'docs/**', rules: {K8S001: off}, reason: examples}\n";
        lab.commit_before(&[(".seal-check.yaml", config.as_bytes()), ("docs/a.yaml", secret().as_bytes())])?;
        lab.write("apps/x", "")?;
        lab.git(&["mv", "docs/a.yaml", "apps/a.yaml"])?;
        lab.guarded(COMMIT)
    }),
    accept("a_link_and_a_submodule", |lab| {
        lab.commit_before(&[("f", b"f")])?;
        std::os::unix::fs::symlink("/nowhere/secret.yaml", lab.top().join("link.yaml"))?;
        lab.git(&["add", "link.yaml"])?;
        let head = lab.run("git", &["rev-parse", "HEAD"])?.stdout;
        let head = String::from_utf8_lossy(&head).trim().to_owned();
        lab.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},module")])?;
        std::fs::create_dir(lab.top().join("module"))?;
        lab.guarded(COMMIT)
    }),
    reject("a_link_becomes_a_file", "K8S001", |lab| {
        std::os::unix::fs::symlink("f", lab.top().join("a.yaml"))?;
        lab.git(&["add", "a.yaml"])?;
        lab.commit_before(&[("f", b"f")])?;
        std::fs::remove_file(lab.top().join("a.yaml"))?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(COMMIT)
    }),
    reject("git_runs_in_a_folder_below", "K8S001", |lab| {
        lab.stage("a.yaml", secret())?;
        lab.write("below/f", "f")?;
        lab.install()?;
        lab.run_in(&lab.top().join("below"), "git", COMMIT, &[])
    }),
    reject("nobody_said_who_commits", "K8S001", |lab| {
        lab.stage("a.yaml", secret())?;
        let nobody =
            [("GIT_AUTHOR_NAME", ""), ("GIT_COMMITTER_NAME", ""), ("GIT_AUTHOR_EMAIL", ""), ("EMAIL", "")];
        lab.run_in(&lab.top(), lab.program(), &["check", "--staged"], &nobody)
    })
    .git_only(),
    reject("lines_end_as_on_windows", "K8S001", |lab| {
        lab.stage("a.yaml", secret().replace('\n', "\r\n"))?;
        lab.guarded(COMMIT)
    }),
    reject("a_merge_is_resolved_with_a_secret", "K8S001", |lab| {
        conflict(lab)?;
        lab.stage("a.yaml", secret())?;
        lab.guarded(&["commit", "-m", "m"])
    }),
    reject("a_merge_brings_a_secret", "K8S001", |lab| {
        lab.commit_before(&[("a.yaml", b"a: 1\n")])?;
        lab.git(&["checkout", "-q", "-b", "other"])?;
        lab.commit_before(&[("b.yaml", secret().as_bytes())])?;
        lab.git(&["checkout", "-q", "main"])?;
        lab.commit_before(&[("c.yaml", b"c: 1\n")])?;
        lab.guarded(&["merge", "-q", "--no-edit", "other"])
    }),
    reject("nothing_is_staged_and_the_last_commit_leaks", "K8S001", |lab| {
        lab.commit_before(&[("a.yaml", secret().as_bytes())])?;
        lab.run_in_ci()
    }),
    accept("nothing_is_staged_and_the_last_commit_is_clean", |lab| {
        lab.commit_before(&[("a.yaml", b"a: 1\n")])?;
        lab.run_in_ci()
    }),
    reject("pushed_in_one_commit_and_removed_in_the_next", "K8S001", |lab| {
        upstream(lab)?;
        lab.commit_before(&[("a.yaml", secret().as_bytes())])?;
        lab.git(&["rm", "-q", "a.yaml"])?;
        lab.commit_before(&[("f", b"f")])?;
        lab.guarded(&["push", "-q", "origin", "main"])
    })
    .git_only(),
    reject("a_branch_is_pushed_that_is_not_checked_out", "K8S001", |lab| {
        upstream(lab)?;
        lab.git(&["checkout", "-q", "-b", "other"])?;
        lab.commit_before(&[("a.yaml", secret().as_bytes())])?;
        lab.git(&["checkout", "-q", "main"])?;
        lab.guarded(&["push", "-q", "origin", "other"])
    }),
    accept("what_is_pushed_is_clean", |lab| {
        upstream(lab)?;
        lab.commit_before(&[("a.yaml", b"a: 1\n")])?;
        lab.guarded(&["push", "-q", "origin", "main"])
    }),
    accept("a_branch_is_deleted_upstream", |lab| {
        upstream(lab)?;
        lab.git(&["push", "-q", "origin", "main:gone"])?;
        lab.guarded(&["push", "-q", "origin", ":gone"])
    }),
    reject("a_merge_has_what_none_of_its_parents_has", "K8S001", |lab| {
        conflict(lab)?;
        lab.stage("evil.yaml", secret())?;
        lab.git(&["checkout", "-q", "--ours", "a.yaml"])?;
        lab.git(&["add", "a.yaml"])?;
        lab.git(&["commit", "-q", "--no-verify", "-m", "m"])?;
        lab.run(lab.program(), &["check", "--range", "other~1..HEAD"])
    })
    .git_only(),
    reject("a_server_receives_what_was_removed_again", "K8S001", |lab| {
        server(lab)?;
        lab.commit_before(&[("a.yaml", secret().as_bytes())])?;
        lab.git(&["rm", "-q", "a.yaml"])?;
        lab.commit_before(&[("f", b"f")])?;
        lab.run("git", &["push", "-q", "origin", "main"])
    })
    .git_only(),
    accept("a_server_receives_what_is_clean", |lab| {
        server(lab)?;
        lab.commit_before(&[("a.yaml", b"a: 1\n")])?;
        lab.run("git", &["push", "-q", "origin", "main"])
    })
    .git_only(),
    reject("the_message_of_a_commit", "KEY001", |lab| {
        let key = String::from_utf8_lossy(
            generate(IdentityKind::X25519, &mut rand::rngs::OsRng).secret.expose_secret(),
        )
        .into_owned();
        lab.stage("f", "f")?;
        lab.install()?;
        lab.run("git", &["commit", "-m", &format!("the key is {key}")])
    })
    .git_only(),
];

const COMMIT: &[&str] = &["commit", "-m", "m"];

fn secret() -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  user: web\n  password: {VALUE}\n"
    )
}

/// Encrypts a document for a new key, by a rule.
fn encrypted(text: &str, selector: Selector) -> Result<String, Failed> {
    let identity = generate(IdentityKind::X25519, &mut rand::rngs::OsRng);
    let service = AgeService::new(Identities::new());
    let mut metadata = Metadata::new(vec![KeyGroup(MasterKey::parse_list(&age::KIND, &identity.recipient)?)]);
    metadata.selector = selector;
    let (now, rng) = ("2026-01-02T03:04:05Z", &mut rand::rngs::OsRng);
    let encrypted = selkie::encrypt(text, Format::Yaml, metadata, &[&service], now, rng)?;
    Ok(String::from_utf8(encrypted.expose_secret().to_vec())?)
}

/// Makes two branches, `main` and `other`, and a merge of them that stops at `a.yaml`.
fn conflict(lab: &Lab) -> Result<(), Failed> {
    lab.commit_before(&[("a.yaml", b"a: 1\n")])?;
    lab.git(&["checkout", "-q", "-b", "other"])?;
    lab.commit_before(&[("a.yaml", b"a: 2\n")])?;
    lab.git(&["checkout", "-q", "main"])?;
    lab.commit_before(&[("a.yaml", b"a: 3\n")])?;
    let merged = lab.run("git", &["merge", "-q", "other"])?;
    if merged.status.success() { Err("there is no conflict".into()) } else { Ok(()) }
}

/// Makes a repository to push to, which has the first commit.
fn upstream(lab: &Lab) -> Result<(), Failed> {
    let bare = lab.beside("upstream.git");
    let bare = bare.to_string_lossy();
    lab.git(&["init", "-q", "--bare", "-b", "main", &bare])?;
    lab.commit_before(&[("first", b"1")])?;
    lab.git(&["remote", "add", "origin", &bare])?;
    lab.git(&["push", "-q", "origin", "main"])
}

/// Makes a repository that checks what it receives.
fn server(lab: &Lab) -> Result<(), Failed> {
    upstream(lab)?;
    let bare = lab.beside("upstream.git");
    let installed = lab.run_in(&bare, lab.program(), &["install"], &[])?;
    if installed.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&installed.stderr).into_owned().into())
    }
}
