//! Commits.

use super::*;

fn range(range: &str) -> Wanted {
    Wanted::Range(range.to_owned())
}

fn of(commit: &str, path: &str, new: &str, old: Option<&str>) -> Seen {
    Seen { label: short(commit).to_owned(), ..seen(path, new, old) }
}

#[test]
fn what_was_added_and_removed_again_is_found() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1");
    let first = sandbox.commit("first");
    sandbox.add("leak", "secret");
    let second = sandbox.commit("second");
    sandbox.git(&["rm", "-q", "leak"]);
    sandbox.add("a", "2");
    let third = sandbox.commit("third");
    sandbox.add("leak", "secret").commit("fourth");
    // The same blob at the same path is told once.
    let wanted = [of(&second, "leak", "secret", None), of(&third, "a", "2", Some("1"))];
    assert_eq!(sandbox.look(&range("HEAD~3..HEAD")), wanted);
    assert_eq!(sandbox.look(&range(&format!("{first}..main"))), wanted);
    assert_eq!(sandbox.look(&range("HEAD~3..")), wanted);
    assert_eq!(
        sandbox.look(&range("HEAD~2")),
        [of(&first, "a", "1", None), of(&second, "leak", "secret", None)]
    );
    assert_eq!(sandbox.look(&range("HEAD..HEAD")), []);
    assert_eq!(sandbox.look(&range("HEAD..HEAD~3")), []);
}

#[test]
fn what_was_outside_of_the_range_and_came_back_is_new() {
    let sandbox = Sandbox::new();
    sandbox.add("leak", "secret").commit("base");
    sandbox.git(&["rm", "-q", "leak"]);
    sandbox.commit("removed");
    sandbox.add("leak", "secret");
    let back = sandbox.commit("back");
    assert_eq!(sandbox.look(&range("HEAD~2..HEAD")), [of(&back, "leak", "secret", None)]);
}

#[test]
fn merges_have_only_what_no_parent_has() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("base");
    for side in ["x", "y", "z"] {
        sandbox.git(&["checkout", "-q", "-b", side, "main"]);
        sandbox.add(side, side).commit(side);
    }
    sandbox.git(&["checkout", "-q", "main"]);
    sandbox.add("m", "m").commit("main");
    let before = sandbox.git(&["rev-parse", "HEAD"]);
    sandbox.git(&["merge", "-q", "--no-ff", "--no-commit", "x"]);
    sandbox.add("evil", "secret").add("a", "evil");
    let evil = sandbox.commit("evil");
    assert_eq!(
        sandbox
            .look(&range("x..main"))
            .into_iter()
            .filter(|seen| seen.label == short(&evil))
            .collect::<Vec<_>>(),
        [of(&evil, "a", "evil", Some("1")), of(&evil, "evil", "secret", None)]
    );
    // What came from the other side is in its own commit.
    let paths = sandbox.paths(&range(&format!("{before}..main")));
    assert_eq!(paths, ["x", "a", "evil"]);
    // What was there on one side already is not new.
    assert_eq!(sandbox.paths(&range(&format!("{before}..main^1"))), Vec::<String>::new());
    // An octopus, with something that none of its arms has.
    let tree =
        sandbox.git_with(&["mktree"], &format!("100644 blob {}\todd\n", sandbox.git(&["rev-parse", "x:x"])));
    let octopus = sandbox.git(&["commit-tree", &tree, "-p", "main", "-p", "y", "-p", "z", "-m", "octopus"]);
    let found = sandbox.look(&range(&format!("main..{octopus}")));
    let mut paths: Vec<_> = found.iter().map(|seen| seen.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["odd", "y", "z"]);
    // Each side of three dots has commits of its own.
    let mut paths = sandbox.paths(&range("y...z"));
    paths.sort_unstable();
    assert_eq!(paths, ["y", "z"]);
}

#[test]
fn commits_have_their_files_and_those_before() {
    let sandbox = Sandbox::new();
    sandbox.add("d/a", "1").commit("first");
    sandbox.add("d/b", "2").commit("second");
    let repository = sandbox.repository();
    let mut told = Vec::new();
    let none = |_: &str| None;
    changes(Some(&repository), &range("HEAD"), &sandbox.at, &mut std::io::empty(), &none, &mut |change| {
        let before = change.before.map(|before| before.paths().to_vec());
        told.push((change.after.paths().to_vec(), before, change.is_whole));
        Ok(())
    })
    .expect("there are commits");
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let wanted = [(paths(&["d/a"]), None, false), (paths(&["d/a", "d/b"]), Some(paths(&["d/a"])), false)];
    assert_eq!(told, wanted);
}

#[test]
fn a_tree_that_cannot_be_read_stops_the_run() {
    let sandbox = Sandbox::new();
    sandbox.add("d/a", "1").commit("first");
    sandbox.add("b", "1").commit("second");
    let tree = sandbox.git(&["rev-parse", "HEAD:d"]);
    fs::remove_file(sandbox.at.join(".git/objects").join(&tree[..2]).join(&tree[2..])).expect("it is loose");
    let repository = sandbox.repository();
    let none = |_: &str| None;
    let told = changes(
        Some(&repository),
        &range("HEAD~1..HEAD"),
        &sandbox.at,
        &mut std::io::empty(),
        &none,
        &mut |change| {
            assert_eq!(change.after.paths().len(), 0);
            Ok(())
        },
    );
    assert!(matches!(told, Err(GitError::Unreadable(_))));
}

#[test]
fn names_are_no_options() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("base");
    for name in
        ["--all", "-n1", "--output=x", "^HEAD", "HEAD..--all", "--not..HEAD", "nothing", "", "HEAD:a", "a\nb"]
    {
        let error = sandbox.try_look(&range(name), "", &[]).expect_err("it names no commit");
        assert!(matches!(error, GitError::UnknownRevision(_)), "{name}: {error}");
    }
    assert!(!sandbox.at.join("x").exists());
}

#[test]
fn shallow_clones_start_where_they_end() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("first");
    sandbox.add("b", "2").commit("second");
    let address = format!("file://{}", sandbox.at.display());
    sandbox.git(&["clone", "-q", "--depth=1", &address, "../shallow"]);
    assert_eq!(sandbox.elsewhere("shallow").paths(&range("HEAD")), ["a", "b"]);
}

#[test]
fn a_thousand_commits_take_two_processes() {
    use std::fmt::Write;
    let sandbox = Sandbox::new();
    let mut stream = String::new();
    for number in 1..=1000 {
        let text = format!("content {number}");
        let message = "commit";
        write!(
            stream,
            "commit refs/heads/main\nmark :{number}\ncommitter S <s@example.org> {number} +0000\ndata {}\n{message}\n",
            message.len()
        )
        .expect("texts take all");
        write!(stream, "M 100644 inline d{}/f{number}\ndata {}\n{text}\n", number % 10, text.len())
            .expect("texts take all");
    }
    sandbox.git_with(&["fast-import", "--quiet"], &stream);
    let found = sandbox.look(&range("main"));
    assert_eq!(found.len(), 1000);
    assert_eq!(found[999].new, "content 1000");
    assert_eq!(found[0].path, "d1/f1");
}

#[test]
fn every_blob_of_any_history_is_told() {
    use std::collections::BTreeSet;
    use std::fmt::Write;
    // Any numbers do that are the same each time.
    let mut state = 7_u32;
    let mut any = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    let sandbox = Sandbox::new();
    let mut stream = String::new();
    for number in 1..=80_u32 {
        writeln!(
            stream,
            "commit refs/heads/c{number}\nmark :{number}\ncommitter S <s@example.org> {number} +0000"
        )
        .expect("texts take all");
        stream.push_str("data 1\nx\n");
        if number > 1 && any(12) > 0 {
            let parents: BTreeSet<_> = (0..=any(3)).map(|_| 1 + any(number - 1)).collect();
            for (index, parent) in parents.iter().enumerate() {
                let word = if index == 0 { "from" } else { "merge" };
                writeln!(stream, "{word} :{parent}").expect("texts take all");
            }
        }
        for _ in 0..any(4) {
            let path = format!("d{}/f{}", any(2), any(5));
            if any(4) == 0 {
                writeln!(stream, "D {path}").expect("texts take all");
            } else {
                let text = format!("text {}", any(6));
                writeln!(stream, "M 100644 inline {path}\ndata {}\n{text}", text.len())
                    .expect("texts take all");
            }
        }
    }
    sandbox.git_with(&["fast-import", "--quiet"], &stream);
    let tree = |commit: &str| -> BTreeSet<String> {
        sandbox.git(&["ls-tree", "-r", commit]).lines().map(str::to_owned).collect()
    };
    for (wanted, revisions) in [
        (range("c80"), vec!["c80"]),
        (range("c40..c79"), vec!["c79", "^c40"]),
        (range("c60...c78"), vec!["c60...c78"]),
    ] {
        let commits = sandbox.git(&[&["rev-list", "--parents"], &revisions[..]].concat());
        let mut expected = BTreeSet::new();
        for line in commits.lines() {
            let mut ids = line.split(' ');
            let own = tree(ids.next().expect("it has a name"));
            let parents: Vec<_> = ids.map(tree).collect();
            expected
                .extend(own.into_iter().filter(|entry| parents.iter().all(|parent| !parent.contains(entry))));
        }
        let found: Vec<_> = sandbox
            .look(&wanted)
            .into_iter()
            .map(|seen| {
                let blob = gix_object::compute_hash(
                    gix_hash::Kind::Sha1,
                    gix_object::Kind::Blob,
                    seen.new.as_bytes(),
                )
                .expect("it has a hash");
                format!("100644 blob {blob}\t{}", seen.path)
            })
            .collect();
        assert!(!found.is_empty(), "{wanted:?}");
        assert_eq!(found.len(), found.iter().collect::<BTreeSet<_>>().len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{wanted:?}");
    }
}
