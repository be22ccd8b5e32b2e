//! What is pushed and received.

use super::*;

const ZERO: &str = "0000000000000000000000000000000000000000";

/// Returns a repository, and one that it is pushed to, which has its first commit.
fn pair() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.git(&["init", "-q", "--bare", "../server"]);
    sandbox.add("a", "1");
    let first = sandbox.commit("first");
    sandbox.git(&["remote", "add", "origin", "../server"]);
    sandbox.git(&["push", "-q", "origin", "main"]);
    (sandbox, first)
}

fn push(sandbox: &Sandbox, input: &str) -> Vec<String> {
    let wanted = Wanted::PrePush(Some("origin".to_owned()));
    let seen = sandbox.try_look(&wanted, input, &[]).expect("it can be read");
    seen.into_iter().map(|seen| seen.path).collect()
}

#[test]
fn new_commits_are_looked_at_whatever_is_checked_out() {
    let (sandbox, first) = pair();
    sandbox.git(&["checkout", "-q", "-b", "feature"]);
    sandbox.add("leak", "secret").commit("leak");
    sandbox.git(&["rm", "-q", "leak"]);
    let tip = sandbox.commit("removed");
    sandbox.git(&["checkout", "-q", "main"]);
    let none: [&str; 0] = [];
    // A new branch; one that is there; one that is deleted; what is there already; nothing.
    assert_eq!(push(&sandbox, &format!("refs/heads/feature {tip} refs/heads/feature {ZERO}\n")), ["leak"]);
    assert_eq!(push(&sandbox, &format!("refs/heads/feature {tip} refs/heads/main {first}\n")), ["leak"]);
    assert_eq!(push(&sandbox, &format!("HEAD@{{1 day ago}} {tip} refs/heads/main {first}\n")), ["leak"]);
    assert_eq!(push(&sandbox, &format!("(delete) {ZERO} refs/heads/main {first}\n")), none);
    assert_eq!(push(&sandbox, &format!("refs/heads/main {first} refs/heads/new {ZERO}\n")), none);
    assert_eq!(push(&sandbox, ""), none);
    // What the other side has and this one does not takes nothing out.
    let unknown = "1".repeat(40);
    assert_eq!(push(&sandbox, &format!("refs/heads/feature {tip} refs/heads/main {unknown}\n")), ["leak"]);
    // To a remote that has nothing yet, everything is new.
    let elsewhere = Wanted::PrePush(Some("https://example.org/*".to_owned()));
    let line = format!("refs/heads/feature {tip} refs/heads/feature {ZERO}\n");
    assert_eq!(sandbox.try_look(&elsewhere, &line, &[]).expect("it can be read").len(), 2);
}

#[test]
fn lines_that_cannot_be_read_stop_the_run() {
    let (sandbox, first) = pair();
    for line in [
        "x",
        "a b c d",
        &format!("{first} refs/heads/main {first}"),
        &format!("a {first} b {}", "1".repeat(39)),
    ] {
        let told = sandbox.try_look(&Wanted::PrePush(None), line, &[]);
        assert!(matches!(told, Err(GitError::Unreadable(_))), "{line}");
        let told = sandbox.try_look(&Wanted::PreReceive, line, &[]);
        assert!(matches!(told, Err(GitError::Unreadable(_))), "{line}");
    }
    for length in [40, 64] {
        let missing = format!("refs/heads/x {} refs/heads/x {ZERO}", "1".repeat(length));
        let told = sandbox.try_look(&Wanted::PrePush(None), &missing, &[]);
        assert!(told.is_err_and(|error| error.to_string().contains("is missing")));
    }
}

#[test]
fn hook_managers_say_it_in_variables() {
    let (sandbox, first) = pair();
    sandbox.add("leak", "secret");
    let tip = sandbox.commit("leak");
    sandbox.git(&["rm", "-q", "leak"]);
    let after = sandbox.commit("removed");
    let look = |variables: &[(&str, &str)]| {
        let seen = sandbox.try_look(&Wanted::PrePush(None), "", variables).expect("it can be read");
        seen.into_iter().map(|seen| seen.path).collect::<Vec<_>>()
    };
    assert_eq!(look(&[("PRE_COMMIT_FROM_REF", &first), ("PRE_COMMIT_TO_REF", &after)]), ["leak"]);
    assert_eq!(look(&[("PRE_COMMIT_FROM_REF", &tip), ("PRE_COMMIT_TO_REF", &after)]), Vec::<String>::new());
    assert_eq!(look(&[("PRE_COMMIT_FROM_REF", ZERO), ("PRE_COMMIT_TO_REF", &tip)]), ["a", "leak"]);
    // A branch that is all new has no commit to start from.
    let branch = ("PRE_COMMIT_LOCAL_BRANCH", "refs/heads/main");
    assert_eq!(look(&[branch]), ["a", "leak"]);
    assert_eq!(look(&[("PRE_COMMIT_LOCAL_BRANCH", "(delete)")]), Vec::<String>::new());
    assert_eq!(look(&[branch, ("PRE_COMMIT_REMOTE_NAME", "origin")]), ["leak"]);
}

#[test]
fn tags_may_lead_to_anything() {
    let (sandbox, _) = pair();
    let blob = sandbox.git_with(&["hash-object", "-w", "--stdin"], "secret");
    let tree = sandbox.git_with(&["mktree"], &format!("100644 blob {blob}\tf\n"));
    let tag = |name: &str, target: &str| {
        sandbox.git(&["tag", "-a", "-m", "tag", name, target]);
        sandbox.git(&["rev-parse", &format!("refs/tags/{name}")])
    };
    let line = |id: &str| format!("refs/tags/t {id} refs/tags/t {ZERO}\n");
    assert_eq!(push(&sandbox, &line(&blob)), ["refs/tags/t"]);
    assert_eq!(push(&sandbox, &line(&tree)), ["f"]);
    assert_eq!(push(&sandbox, &line(&tag("one", &blob))), ["refs/tags/t"]);
    let two = tag("two", &tree);
    assert_eq!(push(&sandbox, &line(&tag("three", &two))), ["f"]);
    sandbox.add("leak", "x");
    let commit = sandbox.commit("leak");
    assert_eq!(push(&sandbox, &line(&tag("four", &commit))), ["leak"]);
}

#[test]
fn what_a_server_received_is_read_in_the_quarantine() {
    // Received objects are packed from so many on.
    for limit in ["1", "100"] {
        receive(limit);
    }
}

fn receive(limit: &str) {
    let (sandbox, first) = pair();
    let server = sandbox.elsewhere("server");
    server.git(&["config", "receive.unpackLimit", limit]);
    // The hook keeps what it was told, and what is in the quarantine, and refuses the push.
    let hook = "#!/bin/sh\ncat > told\nenv | grep '^GIT_' > variables\ncp -r \"$GIT_OBJECT_DIRECTORY\" kept\nexit 1\n";
    let path = server.at.join("hooks/pre-receive");
    fs::create_dir_all(server.at.join("hooks")).expect("folders can be made");
    fs::write(&path, hook).expect("files can be written");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
    sandbox.add("leak", "secret").commit("leak");
    sandbox.git(&["rm", "-q", "leak"]);
    let tip = sandbox.commit("removed");
    let refused = sandbox.command(&["push", "-q", "origin", "main", "HEAD:refs/heads/new"]).output();
    assert!(!refused.expect("git runs").status.success());
    let told = fs::read_to_string(server.at.join("told")).expect("the hook ran");
    assert!(told.contains(&format!("{first} {tip} refs/heads/main")));
    let variables = fs::read_to_string(server.at.join("variables")).expect("the hook ran");
    let quarantine = variables.lines().find_map(|line| line.strip_prefix("GIT_OBJECT_DIRECTORY="));
    assert!(quarantine.is_some_and(|folder| folder.starts_with('/')), "{variables}");
    let server = Sandbox {
        variables: vec![
            ("GIT_DIR".into(), ".".into()),
            ("GIT_OBJECT_DIRECTORY".into(), server.at.join("kept").into()),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES".into(), server.at.join("objects").into()),
            ("GIT_QUARANTINE_PATH".into(), server.at.join("kept").into()),
        ],
        ..server
    };
    let found = server.try_look(&Wanted::PreReceive, &told, &[]).expect("it can be read");
    assert_direct(&server, &format!("{tip}~1:leak"));
    assert_direct(&server, &format!("{first}:a"));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].path.as_str(), found[0].new.as_str()), ("leak", "secret"));
    // What is deleted, and what is there already.
    let told = format!("{first} {ZERO} refs/heads/main\n{ZERO} {first} refs/heads/again\n");
    assert_eq!(server.try_look(&Wanted::PreReceive, &told, &[]).expect("it can be read"), []);
}

#[test]
fn what_a_server_has_says_how_a_push_is_judged() {
    let (sandbox, first) = pair();
    sandbox.add(".seal-check.yaml", "version: 1\n").add("b", "2");
    let second = sandbox.commit("second");
    sandbox.git(&["push", "-q", "origin", "main"]);
    sandbox.add("c", "3");
    let tip = sandbox.commit("third");
    let server = sandbox.elsewhere("server");
    server.git(&["symbolic-ref", "HEAD", "refs/heads/main"]);
    let objects = sandbox.at.join(".git/objects");
    let server =
        Sandbox { variables: vec![("GIT_ALTERNATE_OBJECT_DIRECTORIES".into(), objects.into())], ..server };
    let policies = |input: &str| {
        let none = |_: &str| None;
        let mut told = Vec::new();
        changes(
            Some(&server.repository()),
            &Wanted::PreReceive,
            &server.at,
            &mut input.as_bytes(),
            &none,
            &mut |change| {
                let policy = change.policy.map(|policy| policy.read(".seal-check.yaml").expect("it is read"));
                told.push((change.label, policy.map(|policy| policy.is_some())));
                Ok(())
            },
        )
        .expect("it can be read");
        told
    };
    let label = short(&tip).to_owned();
    let line = |old: &str, name: &str| format!("{old} {tip} refs/heads/{name}\n");
    assert_eq!(policies(&line(&second, "main")), [(label.clone(), Some(true))]);
    assert_eq!(policies(&line(&first, "other")), [(label.clone(), Some(false))]);
    // A new name is judged by the branch that is checked out, and a commit of two names once.
    assert_eq!(policies(&line(ZERO, "new")), [(label.clone(), Some(true))]);
    assert_eq!(policies(&(line(&first, "a") + &line(ZERO, "b"))), [(label, Some(false))]);
}
