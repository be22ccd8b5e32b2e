//! The index.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::*;

#[test]
fn what_is_staged_counts_and_not_what_is_in_the_worktree() {
    let sandbox = Sandbox::new();
    sandbox.add("leak.yaml", "staged").add("same.yaml", "same").commit("base");
    // Staged, and taken back in the worktree only; and the other way round.
    sandbox.add("new.yaml", "secret").write("new.yaml", "clean");
    sandbox.write("same.yaml", "secret").write("untracked.yaml", "secret");
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("new.yaml", "secret", None)]);
}

#[test]
fn whole_blobs_are_told_with_what_was_there_before() {
    let sandbox = Sandbox::new();
    sandbox.add("a.yaml", "kind: Secret\nold\n").add("gone.yaml", "x").commit("base");
    sandbox.add("a.yaml", "kind: Secret\nnew\n").git(&["rm", "-q", "gone.yaml"]);
    let wanted = [seen("a.yaml", "kind: Secret\nnew\n", Some("kind: Secret\nold\n"))];
    assert_eq!(sandbox.look(&Wanted::Staged), wanted);
}

#[test]
fn no_configuration_and_no_attribute_changes_what_is_told() {
    let sandbox = Sandbox::new();
    sandbox.add("sub/a.yaml", "old").commit("base");
    sandbox.write(".git/order", "z*\n").add("sub/a.yaml", "new").add("ü z.yaml", "more");
    sandbox.add(".gitattributes", "*.yaml -diff diff=odd filter=none\n");
    let settings = [
        "color.ui=always",
        "core.abbrev=4",
        "core.fsmonitor=/bin/false",
        "core.quotePath=true",
        "diff.external=false",
        "diff.ignoreSubmodules=all",
        "diff.mnemonicPrefix=true",
        "diff.noprefix=true",
        "diff.odd.textconv=false",
        "diff.orderFile=.git/order",
        "diff.relative=true",
        "diff.renames=copies",
        "log.showSignature=true",
        "status.showUntrackedFiles=no",
    ];
    let plain = sandbox.look(&Wanted::Staged);
    assert_eq!(plain.len(), 3);
    assert_eq!(plain[1], seen("sub/a.yaml", "new", Some("old")));
    for setting in settings {
        let (name, value) = setting.split_once('=').expect("it is a setting");
        sandbox.git(&["config", name, value]);
    }
    assert_eq!(sandbox.look(&Wanted::Staged), plain);
    let mut below = Sandbox { folder: tempfile::tempdir().expect("a folder"), ..sandbox };
    below.variables =
        [("GIT_EXTERNAL_DIFF", "false"), ("GIT_LITERAL_PATHSPECS", "1"), ("GIT_PREFIX", "sub/")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
    assert_eq!(below.look(&Wanted::Staged), plain);
}

#[test]
fn the_first_commit_is_compared_with_nothing() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.look(&Wanted::Staged), []);
    sandbox.add("a", "1").add("empty", "");
    assert_eq!(sandbox.repository().head(), None);
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("a", "1", None), seen("empty", "", None)]);
}

#[test]
fn nobody_has_to_be_known_to_git() {
    let mut sandbox = Sandbox::new();
    sandbox.add("a", "1");
    for name in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"] {
        sandbox.variables.push((name.into(), "".into()));
    }
    sandbox.git(&["config", "user.useConfigOnly", "true"]);
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("a", "1", None)]);
}

#[test]
fn odd_names_are_told_as_they_are() {
    let sandbox = Sandbox::new();
    for name in ["-dash.yaml", "a\nb.yaml", "ü.yaml", "q\"uote.yaml", " space ", "back\\slash", ":0:x"] {
        sandbox.write(name, name);
    }
    fs::write(sandbox.at.join(std::ffi::OsStr::from_bytes(b"odd\xff")), "odd").expect("any byte is a name");
    sandbox.git(&["add", "-A"]);
    let mut wanted: Vec<_> =
        ["-dash.yaml", "a\nb.yaml", "ü.yaml", "q\"uote.yaml", " space ", "back\\slash", ":0:x"]
            .map(|name| seen(name, name, None))
            .into();
    wanted.push(seen("odd\\377", "odd", None));
    wanted.sort();
    for asked in [Wanted::Staged, Wanted::All] {
        let mut found = sandbox.look(&asked);
        found.sort();
        assert_eq!(found, wanted, "{asked:?}");
    }
    let commit = sandbox.commit("odd");
    let found = sandbox.paths(&Wanted::Range(commit));
    assert!(found.contains(&"odd\\377".to_owned()) && found.contains(&"a\nb.yaml".to_owned()));
}

#[test]
fn the_index_of_a_partial_commit_is_the_one_that_counts() {
    let mut sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("base");
    sandbox.add("b", "not in this commit");
    fs::copy(sandbox.at.join(".git/index"), sandbox.at.join(".git/next")).expect("files can be copied");
    assert!(sandbox.repository().has_usual_index());
    // As Git does it: from the top of the worktree on.
    sandbox.variables = vec![("GIT_INDEX_FILE".into(), ".git/next".into())];
    sandbox.git(&["reset", "-q"]);
    sandbox.add("c", "part");
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("c", "part", None)]);
    assert!(!sandbox.repository().has_usual_index());
    assert!(sandbox.repository().index_file().ends_with(".git/next"));
    sandbox.variables.clear();
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("b", "not in this commit", None)]);
}

#[test]
fn filters_are_not_run() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "filter.hide.clean", "echo ciphertext"]);
    sandbox.git(&["config", "filter.hide.smudge", "false"]);
    sandbox.add(".gitattributes", "a.yaml filter=hide text eol=crlf\n").commit("base");
    sandbox.add("a.yaml", "plain");
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("a.yaml", "ciphertext\n", None)]);
    sandbox.add("crlf", "a\r\nb\r\n");
    assert_eq!(sandbox.look(&Wanted::Staged)[1], seen("crlf", "a\r\nb\r\n", None));
}

#[test]
fn renames_links_and_changes_of_kind_are_files_of_their_own() {
    let sandbox = Sandbox::new();
    sandbox.add("exempt/a.yaml", "secret").write("real", "x");
    std::os::unix::fs::symlink("../../outside", sandbox.at.join("link")).expect("links can be made");
    sandbox.git(&["add", "link"]);
    assert_eq!(sandbox.look(&Wanted::Staged)[1], seen("link", "../../outside", None));
    sandbox.commit("base");
    sandbox.git(&["mv", "exempt/a.yaml", "b.yaml"]);
    fs::remove_file(sandbox.at.join("link")).expect("it is there");
    sandbox.add("link", "now a file");
    // What the link said is nothing that was in the file before.
    assert_eq!(
        sandbox.look(&Wanted::Staged),
        [seen("b.yaml", "secret", None), seen("link", "now a file", None)]
    );
}

#[test]
fn submodules_are_repositories_of_their_own() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1");
    let commit = sandbox.commit("base");
    sandbox.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},module")]);
    assert_eq!(sandbox.look(&Wanted::Staged), []);
    assert_eq!(sandbox.paths(&Wanted::All), ["a"]);
    sandbox.commit("module");
    assert_eq!(sandbox.paths(&Wanted::Range("HEAD".to_owned())), ["a"]);
}

#[test]
fn conflicts_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("base");
    sandbox.git(&["checkout", "-q", "-b", "side"]);
    sandbox.add("a", "side").commit("side");
    sandbox.git(&["checkout", "-q", "main"]);
    sandbox.add("a", "main").add("b", "2").commit("main");
    assert!(!sandbox.command(&["merge", "-q", "side"]).output().expect("git runs").status.success());
    for wanted in [Wanted::Staged, Wanted::All] {
        let error = sandbox.try_look(&wanted, "", &[]).expect_err("there is a conflict");
        assert!(matches!(&error, GitError::Unmerged(paths) if paths == &["a"]), "{error}");
        assert_eq!(error.to_string(), "1 file is in conflict, such as a: resolve them, then `git add` them");
    }
    sandbox.add("a", "both");
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("a", "both", Some("main"))]);
}

#[test]
fn what_is_only_intended_to_be_added_is_not_there_yet() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("base");
    sandbox.write("later", "secret").git(&["add", "-N", "later"]);
    sandbox.add("b", "2");
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("b", "2", None)]);
}

#[test]
fn an_index_like_head_is_checked_as_a_whole() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").add("d/b", "2").commit("base");
    let repository = sandbox.repository();
    let mut whole = Vec::new();
    let none = |_: &str| None;
    changes(Some(&repository), &Wanted::Staged, &sandbox.at, &mut std::io::empty(), &none, &mut |change| {
        assert!(change.before.is_none() && change.label.is_empty());
        whole.push((change.is_whole, change.items.len()));
        Ok(())
    })
    .expect("there is an index");
    assert_eq!(whole, [(true, 2)]);
    assert_eq!(sandbox.look(&Wanted::All), sandbox.look(&Wanted::Staged));
}

#[test]
fn snapshots_are_of_the_index_and_of_head() {
    let sandbox = Sandbox::new();
    sandbox.add("a.yaml", "old").add("a/b", "deep").add("a-b", "x").add("gone", "1").commit("base");
    std::os::unix::fs::symlink("a/b", sandbox.at.join("link")).expect("links can be made");
    std::os::unix::fs::symlink("../../etc/passwd", sandbox.at.join("out")).expect("links can be made");
    std::os::unix::fs::symlink("/etc/passwd", sandbox.at.join("a/abs")).expect("links can be made");
    std::os::unix::fs::symlink("loop", sandbox.at.join("loop")).expect("links can be made");
    sandbox.git(&["add", "-A"]);
    sandbox.add("a.yaml", "new").write("a.yaml", "worktree").git(&["rm", "-q", "gone"]);
    let read = |snapshot: &dyn Snapshot, path: &str| {
        snapshot.read(path).expect("it can be read").map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let repository = sandbox.repository();
    let none = |_: &str| None;
    let mut visited = 0;
    changes(Some(&repository), &Wanted::Staged, &sandbox.at, &mut std::io::empty(), &none, &mut |change| {
        visited += 1;
        let (after, before) = (change.after, change.before.expect("there is a commit"));
        assert_eq!(after.paths(), ["a-b", "a.yaml", "a/abs", "a/b", "link", "loop", "out"]);
        assert_eq!(before.paths(), ["a-b", "a.yaml", "a/b", "gone"]);
        assert_eq!(read(&*after, "a.yaml").as_deref(), Some("new"));
        assert_eq!(read(&*before, "a.yaml").as_deref(), Some("old"));
        assert_eq!(read(&*before, "a/b").as_deref(), Some("deep"));
        assert_eq!(read(&*after, "link").as_deref(), Some("deep"));
        for path in ["gone", "a", "a/abs", "out", "loop", "", "a/b/c", "/a.yaml", "../a.yaml"] {
            assert_eq!(read(&*after, path), None, "{path:?}");
        }
        assert!(
            before.contains("gone")
                && before.contains("a/b")
                && !before.contains("a")
                && !before.contains("x")
        );
        assert!(after.contains("link") && !after.contains("gone"));
        Ok(())
    })
    .expect("there is an index");
    assert_eq!(visited, 1);
}

#[test]
fn folders_below_the_top_make_no_difference() {
    let sandbox = Sandbox::new();
    sandbox.add("d/a", "1").add("b", "2");
    let top = sandbox.at.canonicalize().expect("it is there");
    for below in ["d", ".git"] {
        let repository = sandbox.repository_at(&sandbox.at.join(below));
        let found = look(&repository, &Wanted::All, &sandbox.at.join(below), "", &[]);
        assert_eq!(repository.top(), top);
        let found = found.expect("there is an index");
        assert_eq!(found, [seen("b", "2", None), seen("d/a", "1", None)], "{below}");
    }
}

#[test]
fn folders_of_git_itself_lead_to_the_worktree_or_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("base");
    sandbox.git(&["worktree", "add", "-q", "../linked", "-b", "other"]);
    let linked = sandbox.elsewhere("linked");
    linked.add("b", "2");
    let inside = linked.repository().git_dir().to_owned();
    let found = look(&linked.repository_at(&inside), &Wanted::Staged, &inside, "", &[]);
    assert_eq!(found.expect("there is an index"), [seen("b", "2", None)]);

    sandbox.git(&["init", "-q", "--separate-git-dir", "../apart", "../other"]);
    let apart = sandbox.folder.path().join("apart");
    let told = Repository::find_with(&apart, sandbox.variables());
    assert!(matches!(told, Err(GitError::NoWorktree(_))), "{:?}", told.err());
    sandbox.git(&["--git-dir", "../apart", "config", "core.worktree", "../other"]);
    let other = sandbox.folder.path().join("other").canonicalize().expect("it is there");
    assert_eq!(sandbox.repository_at(&apart).top(), other);
}

#[test]
fn linked_worktrees_have_an_index_of_their_own() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").commit("base");
    sandbox.git(&["worktree", "add", "-q", "../linked", "-b", "other"]);
    let linked = sandbox.elsewhere("linked");
    linked.add("b", "2");
    assert_eq!(linked.look(&Wanted::Staged), [seen("b", "2", None)]);
    assert_eq!(sandbox.paths(&Wanted::Staged), ["a"]);
    assert_eq!(linked.repository().common_dir(), sandbox.repository().git_dir());
    assert_ne!(linked.repository().git_dir(), sandbox.repository().git_dir());
    assert!(linked.repository().has_usual_index());
}

#[test]
fn git_can_be_told_where_everything_is() {
    let mut sandbox = Sandbox::new();
    sandbox.add("d/a", "1");
    sandbox.variables =
        vec![("GIT_DIR".into(), "repository/.git".into()), ("GIT_WORK_TREE".into(), "repository".into())];
    let folder = sandbox.folder.path().to_owned();
    let repository = sandbox.repository_at(&folder);
    assert_eq!(repository.top(), sandbox.at.canonicalize().expect("it is there"));
    let found = look(&repository, &Wanted::Staged, &folder, "", &[]);
    assert_eq!(found.expect("there is an index"), [seen("d/a", "1", None)]);
}

#[test]
fn repositories_without_a_worktree_have_what_is_in_head() {
    let sandbox = Sandbox::new();
    sandbox.add("d/a", "1").add("b", "2").commit("base");
    sandbox.git(&["clone", "-q", "--bare", ".", "../bare"]);
    let bare = sandbox.elsewhere("bare");
    assert!(bare.repository().is_bare());
    for wanted in [Wanted::All, Wanted::Staged] {
        assert_eq!(bare.look(&wanted), [seen("b", "2", None), seen("d/a", "1", None)]);
    }
    let empty = Sandbox::with(&["init", "-q", "--bare", "repository"]);
    assert_eq!(empty.look(&Wanted::All), []);
}

#[test]
fn names_of_objects_may_be_longer() {
    let sandbox = Sandbox::with(&["init", "-q", "-b", "main", "--object-format=sha256", "repository"]);
    sandbox.add("d/a", "1");
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("d/a", "1", None)]);
    let commit = sandbox.commit("base");
    assert_eq!(commit.len(), 64);
    assert_direct(&sandbox, ":d/a");
    sandbox.add("d/a", "2").add("empty", "");
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("d/a", "2", Some("1")), seen("empty", "", None)]);
    sandbox.commit("more");
    sandbox.git(&["gc", "-q"]);
    assert_eq!(sandbox.paths(&Wanted::Range("HEAD".to_owned())), ["d/a", "d/a", "empty"]);
    assert_eq!(sandbox.paths(&Wanted::All), ["d/a", "empty"]);
}

#[test]
fn objects_are_found_wherever_they_are() {
    let sandbox = Sandbox::new();
    for number in 0..50 {
        sandbox.write(&format!("f{number}"), &format!("{}{number}", "line\n".repeat(200)));
    }
    sandbox.git(&["add", "-A"]);
    sandbox.commit("base");
    let loose = sandbox.look(&Wanted::All);
    assert_eq!(loose.len(), 50);
    sandbox.git(&["gc", "-q"]);
    assert_eq!(sandbox.look(&Wanted::All), loose);
    assert_direct(&sandbox, ":f7");
    sandbox.git(&["multi-pack-index", "write"]);
    assert_eq!(sandbox.look(&Wanted::All), loose);
    assert_direct(&sandbox, ":f7");
    // From many threads at once.
    let repository = sandbox.repository();
    let read = |path: String| {
        let blob = id(&sandbox.git(&["rev-parse", &format!(":{path}")]));
        (0..20).map(|_| repository.read(&Source::Blob(blob)).expect("it is there").len()).sum::<usize>()
    };
    let paths: Vec<_> = (0..8).map(|number| format!("f{number}")).collect();
    assert_eq!(paths.into_par_iter().map(read).collect::<Vec<_>>(), [20 * 1001; 8]);
    sandbox.git(&["clone", "-q", "--shared", ".", "../shared"]);
    let shared = sandbox.elsewhere("shared");
    assert_eq!(shared.look(&Wanted::All), loose);
    assert_direct(&shared, ":f7");
    // The same by the environment, also where it is in quotes, which Git reads alone.
    fs::remove_file(shared.at.join(".git/objects/info/alternates")).expect("it is there");
    let objects = sandbox.at.join(".git/objects").display().to_string();
    for value in [objects.clone(), format!("\"{objects}\"")] {
        let variables = vec![("GIT_ALTERNATE_OBJECT_DIRECTORIES".into(), value.into())];
        let shared = Sandbox { variables, ..sandbox.elsewhere("shared") };
        assert_eq!(shared.look(&Wanted::All), loose);
    }
}

#[test]
fn what_is_larger_than_wanted_is_not_read() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "0123456789").add("empty", "");
    // More than is read in this process.
    let large = fs::File::create(sandbox.at.join("large")).expect("files can be made");
    large.set_len((64 << 20) + 1).expect("files can grow");
    sandbox.git(&["-c", "core.bigFileThreshold=1m", "add", "large"]);
    for _ in 0..2 {
        let repository = sandbox.repository();
        let source = |name: &str| Source::Blob(id(&sandbox.git(&["rev-parse", name])));
        assert_eq!(repository.read_up_to(&source(":a"), 9), Ok(None));
        assert_eq!(repository.read_up_to(&source(":a"), 10), Ok(Some(b"0123456789".to_vec())));
        assert_eq!(repository.read_up_to(&source(":empty"), 0), Ok(Some(Vec::new())));
        assert_eq!(repository.read_up_to(&source(":large"), 16 << 20), Ok(None));
        assert_eq!(repository.size(&source(":large")), Ok((64 << 20) + 1));
        let mut streamed = 0;
        repository.stream(&source(":large"), &mut |piece| streamed += piece.len()).expect("it is there");
        assert_eq!(streamed, (64 << 20) + 1);
        let disk = Source::Disk(sandbox.at.join("a"));
        assert_eq!(repository.read_up_to(&disk, 9), Ok(None));
        assert_eq!(repository.read_up_to(&disk, 10), Ok(Some(b"0123456789".to_vec())));
        assert!(repository.read_up_to(&Source::Blob(id(&"1".repeat(40))), 10).is_err());
        sandbox.commit("base");
        sandbox.git(&["gc", "-q"]);
    }
}

#[test]
fn what_is_missing_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").add("b", "2");
    let blob = sandbox.git(&["rev-parse", ":a"]);
    fs::remove_file(sandbox.at.join(".git/objects").join(&blob[..2]).join(&blob[2..])).expect("it is loose");
    let repository = sandbox.repository();
    let source = Source::Blob(id(&blob));
    for _ in 0..20 {
        let error = repository.read(&source).expect_err("it is missing");
        assert!(error.contains("is missing"), "{error}");
        assert!(repository.size(&source).is_err());
    }
    assert!(repository.stream(&source, &mut |_| {}).is_err());
    assert!(sandbox.try_look(&Wanted::Staged, "", &[]).is_err());
    let other = Source::Blob(id(&sandbox.git(&["rev-parse", ":b"])));
    assert_eq!(repository.read(&other).as_deref(), Ok(&b"2"[..]));
    let mut streamed = Vec::new();
    repository.stream(&other, &mut |piece| streamed.extend_from_slice(piece)).expect("it is there");
    assert_eq!(streamed, b"2");
}

#[test]
fn partial_clones_are_never_fetched_for() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "1").add("b", "2").commit("base");
    sandbox.git(&["config", "uploadpack.allowFilter", "true"]);
    let address = format!("file://{}", sandbox.at.display());
    sandbox.git(&["clone", "-q", "--filter=blob:none", "--no-checkout", &address, "../partial"]);
    let partial = sandbox.elsewhere("partial");
    partial.git(&["read-tree", "HEAD"]);
    let error = partial.try_look(&Wanted::All, "", &[]).expect_err("no blob is here");
    assert!(error.to_string().contains("git fetch --refetch --no-filter"), "{error}");
    // What is new is here.
    partial.add("c", "3");
    assert_eq!(partial.look(&Wanted::Staged), [seen("c", "3", None)]);
}

#[test]
fn replacements_do_not_hide_anything() {
    let sandbox = Sandbox::new();
    sandbox.add("a", "secret");
    let commit = sandbox.commit("base");
    let clean = sandbox.git_with(&["hash-object", "-w", "--stdin"], "clean");
    let blob = sandbox.git(&["rev-parse", "HEAD:a"]);
    sandbox.git(&["replace", &blob, &clean]);
    assert_eq!(sandbox.look(&Wanted::All), [seen("a", "secret", None)]);
    let tree = sandbox.git_with(&["mktree"], "");
    let empty = sandbox.git(&["commit-tree", "-m", "empty", &tree]);
    sandbox.git(&["replace", &commit, &empty]);
    assert_eq!(sandbox.look(&Wanted::Range("HEAD".to_owned()))[0].new, "secret");
}

#[test]
fn a_sparse_index_is_read_as_a_whole() {
    let sandbox = Sandbox::new();
    sandbox.add("in/a", "1").add("out/b", "2").add("out/deep/c", "3").commit("base");
    sandbox.git(&["sparse-checkout", "set", "--cone", "--sparse-index", "in"]);
    assert!(sandbox.git(&["ls-files", "--sparse"]).lines().any(|line| line == "out/"));
    assert_eq!(sandbox.paths(&Wanted::All), ["in/a", "out/b", "out/deep/c"]);
    sandbox.write("out/b", "new").git(&["add", "--sparse", "out/b"]);
    assert!(sandbox.git(&["ls-files", "--sparse"]).lines().any(|line| line == "out/deep/"));
    assert_eq!(sandbox.look(&Wanted::Staged), [seen("out/b", "new", Some("2"))]);
    assert_eq!(sandbox.paths(&Wanted::All), ["in/a", "out/b", "out/deep/c"]);
}

#[test]
fn ten_thousand_files_are_read() {
    let sandbox = Sandbox::new();
    let blob = sandbox.git_with(&["hash-object", "-w", "--stdin"], "the same");
    let entries: String =
        (0..10_000).map(|number| format!("100644 {blob}\td{}/f{number}\n", number % 100)).collect();
    sandbox.git_with(&["update-index", "--add", "--index-info"], &entries);
    let found = sandbox.look(&Wanted::Staged);
    assert_eq!(found.len(), 10_000);
    assert!(found.iter().all(|seen| seen.new == "the same"));
}

#[test]
fn folders_without_a_repository_are_told_apart_from_those_git_refuses() {
    let sandbox = Sandbox::new();
    let mut variables = sandbox.variables();
    variables.push(("GIT_CEILING_DIRECTORIES".into(), sandbox.folder.path().into()));
    let nowhere = Repository::find_with(sandbox.folder.path(), variables.clone());
    assert!(matches!(nowhere, Err(GitError::NoRepository(_))));
    fs::write(sandbox.at.join(".git/config"), "[core]\n\trepositoryformatversion = 99\n")
        .expect("it is there");
    let refused = Repository::find_with(&sandbox.at, variables.clone());
    assert!(matches!(&refused, Err(GitError::Refused { command, .. }) if command.starts_with("rev-parse")));
    variables.push(("GIT_TEST_ASSUME_DIFFERENT_OWNER".into(), "1".into()));
    fs::write(sandbox.at.join(".git/config"), "[core]\n\trepositoryformatversion = 0\n")
        .expect("it is there");
    let Err(refused) = Repository::find_with(&sandbox.at, variables) else { panic!("it is somebody else's") };
    assert!(refused.to_string().contains("safe.directory"), "{refused}");
}

#[test]
fn damaged_objects_are_errors_and_nothing_worse() {
    let sandbox = Sandbox::new();
    let text = |number: usize| format!("{}{number}\n", "some line of a file\n".repeat(40));
    for number in 0..8 {
        sandbox.write(&format!("f{number}"), &text(number));
    }
    sandbox.git(&["add", "-A"]);
    let whole = sandbox.look(&Wanted::All);
    let blobs: Vec<_> =
        (0..8).map(|number| id(&sandbox.git(&["rev-parse", &format!(":f{number}")]))).collect();
    let objects = sandbox.at.join(".git/objects");
    let loose = {
        let name = blobs[0].to_string();
        objects.join(&name[..2]).join(&name[2..])
    };
    let check = |file: &Path, step: usize| {
        let good = fs::read(file).expect("it is there");
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).expect("it is ours");
        for at in (0..good.len()).step_by(step) {
            let mut bad = good.clone();
            bad[at] ^= 0x5a;
            fs::write(file, &bad).expect("files can be written");
            let repository = sandbox.repository();
            for (blob, seen) in blobs.iter().zip(&whole) {
                // What is read all the same is what it was.
                if let Ok(found) = repository.read(&Source::Blob(*blob)) {
                    assert_eq!(String::from_utf8_lossy(&found), seen.new, "{}: {at}", file.display());
                }
            }
        }
        fs::write(file, &good).expect("files can be written");
    };
    check(&loose, 9);
    sandbox.commit("base");
    sandbox.git(&["gc", "-q"]);
    let packs = fs::read_dir(objects.join("pack")).expect("there is a folder");
    for file in packs.map(|file| file.expect("it is there").path()) {
        let name = file.extension().and_then(std::ffi::OsStr::to_str);
        if matches!(name, Some("idx" | "pack")) {
            check(&file, 47);
        }
    }
    assert_eq!(sandbox.look(&Wanted::All), whole);
}
