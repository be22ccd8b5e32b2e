//! Commands as people type them, in repositories of a real `git`.

use std::fs;
use std::path::Path;
use std::process::Command as Process;

use selkie::keys::age::{IdentityKind, generate};

use super::*;

const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\nstringData:\n  password: heron-made-up\n";

/// Noon of 2026-11-01.
const NOON: i64 = 1_793_534_400;

struct Lab {
    folder: tempfile::TempDir,
}

/// How a command ended, and what it said.
#[derive(Debug)]
struct Told {
    exit: Exit,
    output: String,
    messages: String,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().expect("a folder") };
        lab.git(&["init", "-q", "-b", "main", "."]);
        lab
    }

    fn top(&self) -> &Path {
        self.folder.path()
    }

    fn git_command(&self, arguments: &[&str]) -> Process {
        let mut command = Process::new("git");
        command.current_dir(self.top()).args(["-c", "user.name=s", "-c", "user.email=s@s"]).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    fn git(&self, arguments: &[&str]) {
        let output = self.git_command(arguments).output().expect("git runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.top().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
        self
    }

    fn add(&self, path: &str, text: &str) -> &Self {
        self.write(path, text).git(&["add", "--", path]);
        self
    }

    fn commit(&self) -> &Self {
        self.git(&["commit", "-q", "--allow-empty", "-m", "m"]);
        self
    }

    /// Adds rules by which everything below a folder is encrypted.
    fn with_rules(&self, folder: &str) -> &Self {
        let key = generate(IdentityKind::X25519, &mut rand::rngs::OsRng).recipient;
        self.add(".sops.yaml", &format!("creation_rules:\n- path_regex: ^{folder}\n  age: {key}\n"))
    }

    fn run(&self, arguments: &[&str]) -> Told {
        self.run_in("", arguments, b"")
    }

    fn run_in(&self, folder: &str, arguments: &[&str], input: &[u8]) -> Told {
        self.run_with(folder, arguments, input, &[])
    }

    fn run_with(
        &self,
        folder: &str,
        arguments: &[&str],
        mut input: &[u8],
        variables: &[(&str, &str)],
    ) -> Told {
        let arguments: Vec<OsString> = ["seal-hook"].iter().chain(arguments).map(Into::into).collect();
        let command = parse(&arguments).expect("arguments");
        let folder = self.top().join(folder);
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let keys = LocalKeys::new(|_| None, &folder);
        let (mut output, mut messages) = (Vec::new(), Vec::new());
        let exit = command.run(Surroundings {
            folder,
            environment: &variable,
            input: &mut input,
            output: &mut output,
            messages: &mut messages,
            colour: false,
            program: "seal-hook",
            keys: &keys,
            now: OffsetDateTime::from_unix_timestamp(NOON).expect("a time"),
        });
        let [output, messages] = [output, messages].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(!output.contains("heron") && !messages.contains("heron"), "{output}{messages}");
        Told { exit, output, messages }
    }

    fn exit(&self, arguments: &[&str]) -> Exit {
        self.run(arguments).exit
    }
}

#[test]
fn a_fix_ends_as_a_check_does_of_what_it_leaves() {
    let lab = Lab::new();
    lab.with_rules("s/").add("s/a.yaml", SECRET).add("d/b.yaml", SECRET);
    assert_eq!(lab.exit(&["fix", "d"]), Exit::Findings);
    assert_eq!(lab.exit(&["fix", "--continue", "d/"]), Exit::Findings);
    let told = lab.run(&["fix", "--dry-run", "s"]);
    assert_eq!(told.exit, Exit::Findings, "{told:?}");
    assert!(told.messages.contains("would be mended in the index: s/a.yaml"), "{told:?}");
    assert_eq!(lab.exit(&["fix", "s"]), Exit::Fixed);
    assert_eq!(lab.exit(&["check"]), Exit::Findings);
    lab.git(&["rm", "-q", "--cached", "d/b.yaml"]);
    assert_eq!(lab.exit(&["fix"]), Exit::Clean);
    assert_eq!(lab.exit(&["check"]), Exit::Clean);
}

#[test]
fn a_fix_of_a_strict_repository_leaves_no_warning() {
    let lab = Lab::new();
    lab.add(
        "c.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  DB_PASSWORD: heron-made-up\n",
    );
    assert_eq!((lab.exit(&["check"]), lab.exit(&["fix", "--continue"])), (Exit::Clean, Exit::Clean));
    lab.add(".seal-check.yaml", "version: 1\nstrict: true\n");
    assert_eq!((lab.exit(&["check"]), lab.exit(&["fix", "--continue"])), (Exit::Findings, Exit::Findings));
}

#[test]
fn a_fix_of_what_cannot_be_verified_says_so() {
    let lab = Lab::new();
    lab.add("a", "1\n").commit();
    lab.git(&["checkout", "-q", "-b", "other"]);
    lab.add("a", "2\n").commit();
    lab.git(&["checkout", "-q", "main"]);
    lab.add("a", "3\n").commit();
    assert!(!lab.git_command(&["merge", "-q", "other"]).output().expect("git runs").status.success());
    for arguments in [&["fix"][..], &["fix", "--continue"], &["fix", "a"], &["check"]] {
        assert_eq!(lab.exit(arguments), Exit::Unverified, "{arguments:?}");
    }
    assert!(lab.run(&["fix"]).messages.contains("not verified: 1 file is in conflict"));
}

#[test]
fn a_fix_refuses_a_path_that_is_not_staged() {
    let lab = Lab::new();
    lab.add("d/known", "1\n").commit();
    lab.with_rules("d/").add("d/s.yaml", SECRET).write("d/unknown", "2\n");
    for path in ["nothing", "d/unknown", "d/known", "d/s"] {
        let told = lab.run(&["fix", path]);
        assert_eq!(told.exit, Exit::Usage, "{told:?}");
        assert!(told.messages.contains(&format!("{path} is not among what is staged")), "{told:?}");
    }
    // As reports name it, from a folder below the top.
    assert_eq!(lab.run_in("d", &["fix", "d/s.yaml"], b"").exit, Exit::Fixed);
    assert_eq!(lab.run_in("d", &["fix", "s.yaml"], b"").exit, Exit::Clean);
    lab.add(".seal-check.yaml", "rule: {}\n");
    assert_eq!((lab.exit(&["check"]), lab.exit(&["fix"])), (Exit::Usage, Exit::Usage));
}

#[test]
fn stdin_is_judged_at_its_path_and_by_nothing_else() {
    let lab = Lab::new();
    lab.with_rules("secrets/").add("d/a", "1\n");
    let text = b"password: heron-made-up\n";
    for folder in ["", "d"] {
        let told = lab.run_in(folder, &["check", "-", "--stdin-path", "secrets/a.yaml"], text);
        assert_eq!(told.exit, Exit::Findings, "{told:?}");
    }
    for more in [&["--all"][..], &["--staged"], &["d/a"], &["d/a", "-"], &[]] {
        let arguments = [&["check", "--stdin-path", "README"], more].concat();
        assert_eq!(lab.exit(&arguments), Exit::Usage, "{arguments:?}");
    }
}

#[test]
fn a_check_within_the_folder_of_git_is_one_of_the_index() {
    let lab = Lab::new();
    lab.add("a", "1\n").commit();
    lab.with_rules("").add("s.yaml", SECRET);
    assert_eq!(lab.run_in(".git", &["check"], b"").exit, Exit::Findings);
    assert_eq!(lab.run_in(".git", &["fix"], b"").exit, Exit::Fixed);
    assert_eq!(lab.run_in(".git/refs", &["check"], b"").exit, Exit::Clean);
}

#[test]
fn reports_go_where_they_are_wanted_and_what_is_found_is_told_first() {
    let lab = Lab::new();
    lab.add("s.yaml", SECRET).write("real.json", "");
    std::os::unix::fs::symlink("real.json", lab.top().join("link.json")).expect("links can be made");
    assert_eq!(lab.exit(&["check", "--report", "json=link.json"]), Exit::Findings);
    assert!(lab.top().join("link.json").is_symlink());
    assert!(fs::read_to_string(lab.top().join("real.json")).expect("a report").contains("K8S001"));
    assert_eq!(lab.exit(&["check", "--report", "json=/dev/null"]), Exit::Findings);
    assert!(!fs::metadata("/dev/null").expect("it is there").is_file());
    let told = lab.run(&["check", "--report", "json=nowhere/a.json"]);
    assert_eq!(told.exit, Exit::Unverified);
    assert!(told.output.contains("K8S001") && told.messages.contains("nowhere/a.json"), "{told:?}");
}

#[test]
fn what_a_push_brings_does_not_say_how_it_is_judged() {
    let lab = Lab::new();
    lab.add("a", "1\n").commit();
    lab.git(&["init", "-q", "--bare", "server"]);
    lab.git(&["push", "-q", "server", "main"]);
    // Receives what the last commit is, and takes it if it may.
    let receive = || {
        let name = |arguments: &[&str]| {
            let output = lab.git_command(arguments).output().expect("git runs");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let (old, new) = (name(&["--git-dir", "server", "rev-parse", "main"]), name(&["rev-parse", "HEAD"]));
        // The objects are there, and no name leads to them.
        lab.git(&["push", "-q", "server", "HEAD:refs/heads/x"]);
        lab.git(&["--git-dir", "server", "update-ref", "-d", "refs/heads/x"]);
        let line = format!("{old} {new} refs/heads/main\n");
        let told = lab.run_in("server", &["check", "--pre-receive"], line.as_bytes());
        lab.git(&["push", "-q", "server", "main"]);
        told
    };
    let off = "version: 1\nrules:\n  K8S001: {severity: off, reason: \"we know\"}\n";
    let told = {
        lab.add(".seal-check.yaml", off).add("s.yaml", SECRET).commit();
        receive()
    };
    assert_eq!(told.exit, Exit::Findings, "{told:?}");
    assert!(told.messages.contains("K8S001") && told.messages.contains("META003"), "{told:?}");
    // Once the server has it, it counts.
    lab.add("t.yaml", SECRET).commit();
    assert_eq!(receive().exit, Exit::Clean);
    // What cannot be used is not taken, and can be mended.
    lab.add(".seal-check.yaml", "rule: {}\n").commit();
    assert_eq!(receive().exit, Exit::Usage);
    lab.add(".seal-check.yaml", "version: 1\n").commit();
    assert_eq!(receive().exit, Exit::Clean);
}

#[test]
fn the_configuration_is_that_which_will_be_committed() {
    let lab = Lab::new();
    lab.add(".seal-check.yaml", "version: 1\nstrict: true\n").write(".seal-check.yaml", "rule: {}\n");
    assert_eq!(lab.exit(&["config"]), Exit::Clean);
    lab.git(&["add", ".seal-check.yaml"]);
    assert_eq!(lab.exit(&["config"]), Exit::Usage);
    let text = "sealed: {cert: no.pem}\nallow:\n- {path: a, rule: K8S002, reason: x, until: 2026-10-31}\n\
                - {path: b, rule: K8S002, reason: x, until: 2026-11-01}\n";
    lab.add(".seal-check.yaml", text).add(".seal-baseline", "x\n");
    assert_eq!(lab.exit(&["config"]), Exit::Clean);
    let told = lab.run(&["config", "--check"]);
    assert_eq!((told.exit, told.messages.lines().count()), (Exit::Usage, 3), "{told:?}");
    for what in ["no.pem: it is not among", "allowed in a expired: 2026-10-31", ".seal-baseline: line 1"] {
        assert!(told.messages.contains(what), "{told:?}");
    }
    lab.commit();
    lab.git(&["clone", "-q", "--bare", ".", "bare"]);
    assert_eq!(lab.run_in("bare", &["config", "--check"], b"").messages, told.messages);
}

#[test]
fn a_manager_that_is_run_by_hand_has_all_files_looked_at() {
    let lab = Lab::new();
    lab.add("s.yaml", SECRET).commit().add("README", "1\n");
    let exit = |variables: &[(&str, &str)]| lab.run_with("", &["check", "--hook"], b"", variables).exit;
    assert_eq!(exit(&[("PRE_COMMIT", "1")]), Exit::Findings);
    assert_eq!(exit(&[("PRE_COMMIT", "1"), ("GIT_INDEX_FILE", ".git/index")]), Exit::Clean);
    assert_eq!(exit(&[]), Exit::Clean);
}

#[test]
fn a_policy_that_comes_later_warns_of_what_is_there() {
    let lab = Lab::new();
    lab.add("s/a.yaml", "password: heron-made-up\n").add("t.yaml", SECRET).commit();
    lab.with_rules("s/");
    let told = lab.run(&["check"]);
    assert_eq!(told.exit, Exit::Clean, "{told:?}");
    assert!(told.output.contains("s/a.yaml:1:") && told.output.contains("warning SOPS"), "{told:?}");
    assert!(!told.output.contains("t.yaml"), "{told:?}");
    // It is not mended unasked.
    assert_eq!(lab.exit(&["fix"]), Exit::Clean);
    lab.commit().add("b", "1\n");
    assert!(!lab.run(&["check"]).output.contains("s/a.yaml"));
    lab.add(".seal-check.yaml", "version: 1\nrules:\n  K8S001: {severity: off, reason: \"x\"}\n").commit();
    lab.add(".seal-check.yaml", "version: 1\n");
    let told = lab.run(&["check"]);
    assert!(told.output.contains("t.yaml:") && told.exit == Exit::Clean, "{told:?}");
}

#[test]
fn a_policy_of_a_later_commit_warns_of_what_earlier_ones_brought() {
    let lab = Lab::new();
    lab.add("a", "1\n").commit();
    lab.add("s/a.yaml", "password: heron-made-up\n").add("t.yaml", SECRET).commit();
    lab.with_rules("s/").commit();
    lab.add("s/b.yaml", "password: heron-made-up\n").commit();
    let told = lab.run(&["check", "--range", "HEAD~3.."]);
    let count = |what: &str| told.output.lines().filter(|line| line.contains(what)).count();
    assert_eq!((count("s/a.yaml:1:"), count("s/b.yaml:1:"), count("t.yaml:")), (1, 1, 1), "{told:?}");
    assert!(
        told.output.lines().any(|line| line.contains("s/a.yaml:1:") && line.contains("warning")),
        "{told:?}"
    );
    // All from the first commit on; and nothing where the policy was there before.
    assert!(lab.run(&["check", "--range", "HEAD"]).output.contains("s/a.yaml:1:"));
    assert!(!lab.run(&["check", "--range", "HEAD~1.."]).output.contains("s/a.yaml"));
}

#[test]
fn a_policy_of_the_other_side_of_a_merge_warns_of_what_this_one_brought() {
    let lab = Lab::new();
    lab.add("a", "1\n").commit();
    lab.git(&["checkout", "-q", "-b", "other"]);
    lab.add("s/a.yaml", "password: heron-made-up\n").commit();
    lab.git(&["checkout", "-q", "main"]);
    lab.with_rules("s/").commit();
    lab.git(&["checkout", "-q", "other"]);
    lab.git(&["merge", "-q", "--no-edit", "main"]);
    let told = lab.run(&["check", "--range", "main.."]);
    assert!(
        told.output.lines().any(|line| line.contains("s/a.yaml:1:") && line.contains("warning")),
        "{told:?}"
    );
    assert_eq!(told.exit, Exit::Clean);
}

#[test]
fn a_run_ends_once_its_time_is_over() {
    let lab = Lab::new();
    for number in ["1", "2", "3"] {
        lab.add("a", number).commit();
    }
    let repository = Repository::find(lab.top()).expect("a repository");
    let how = check::How { deadline: Some(std::time::Instant::now()), ..check::How::default() };
    let (none, keys) = (|_: &str| None, LocalKeys::new(|_| None, lab.top()));
    let mut surroundings = Surroundings {
        folder: lab.top().to_owned(),
        environment: &none,
        input: &mut io::empty(),
        output: &mut io::sink(),
        messages: &mut io::sink(),
        colour: false,
        program: "seal-hook",
        keys: &keys,
        now: OffsetDateTime::from_unix_timestamp(NOON).expect("a time"),
    };
    let wanted = crate::modes::Wanted::Range("HEAD".to_owned());
    let outcome = check::outcome(Some(&repository), &wanted, how, &mut surroundings).expect("an outcome");
    assert_eq!((outcome.changes, outcome.unverified.len()), (0, 1), "{:?}", outcome.unverified);
    assert_eq!(outcome.exit(false), Exit::Unverified);
}

#[test]
fn commands_are_told_under_the_name_of_the_program() {
    let text =
        "kubectl seal fix a; `kubectl seal check`; kubectl seal hook config; kubectl seal encrypt -i a";
    let own = "seal-hook fix a; `seal-hook check`; seal-hook config; kubectl seal encrypt -i a";
    assert_eq!(own_words("seal-hook", text), own);
    assert_eq!(own_words("kubectl seal", text), text);
    let help = parse(&["seal-hook", "check", "--help"].map(Into::into)).map(|_| ()).expect_err("a help");
    let help = help.to_string();
    assert!(help.contains("seal-hook check --explain") && !help.contains("kubectl seal"), "{help}");
}
