//! Files, the standard input and messages.

use super::*;

fn these(paths: &[&str]) -> Wanted {
    Wanted::Paths(paths.iter().map(PathBuf::from).collect())
}

#[test]
fn files_and_folders_of_the_disk_are_told_from_the_top_on() {
    let sandbox = Sandbox::new();
    sandbox.add(".gitignore", "ignored*\n").add("d/a", "1").add("d/ignored-but-known", "2");
    sandbox.write("d/ignored", "3").write("d/.hidden", "4").write("d/a", "worktree").write("other", "5");
    sandbox.write("d/.ignore", "a\n");
    std::os::unix::fs::symlink("a", sandbox.at.join("d/link")).expect("links can be made");
    let wanted = [
        seen("d/.hidden", "4", None),
        seen("d/.ignore", "a\n", None),
        seen("d/a", "worktree", None),
        seen("d/ignored-but-known", "2", None),
        seen("d/link", "a", None),
    ];
    assert_eq!(sandbox.look(&these(&["d"])), wanted);
    assert_eq!(sandbox.look(&these(&["d", "./d/../d/a"])), wanted);
    assert_eq!(sandbox.look(&these(&["d/ignored", "other"])).len(), 2);
    assert_eq!(sandbox.paths(&these(&["."])).len(), 7);
    let below = sandbox.at.join("d");
    let found = look(&sandbox.repository(), &these(&["a", "../other"]), &below, "", &[]);
    assert_eq!(found.expect("they are there"), [seen("d/a", "worktree", None), seen("other", "5", None)]);
    let told = sandbox.try_look(&these(&["d/a", "nothing"]), "", &[]);
    assert!(matches!(told, Err(GitError::File { path, .. }) if path == "nothing"));
}

#[test]
fn lists_above_the_repository_leave_nothing_out_and_its_own_are_counted() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.folder.path().join(".gitignore"), "*\n").expect("files can be written");
    sandbox.write(".gitignore", "*.log\nbuild/\n").write("a", "1").write("d/x.log", "2").write("d/b", "3");
    sandbox.write("build/x", "4").write("build/y/z.log", "5").write("e.log", "6").add("known.log", "7");
    let found = |path: &str| {
        let (repository, none) = (sandbox.repository(), |_: &str| None);
        let mut told = (Vec::new(), 0);
        let (wanted, input) = (these(&[path]), &mut std::io::empty());
        changes(Some(&repository), &wanted, &sandbox.at, input, &none, &mut |change| {
            told = (change.items.into_iter().map(|item| item.path).collect(), change.left_out);
            Ok(())
        })
        .expect("it is there");
        told
    };
    let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    assert_eq!(found("."), (paths(&[".gitignore", "a", "d/b", "known.log"]), 4));
    assert_eq!(found("d"), (paths(&["d/b"]), 1));
    // What is named is looked at, whoever ignores it.
    assert_eq!(found("build"), (paths(&["build/x", "build/y/z.log"]), 0));
    assert_eq!(found("build/y"), (paths(&["build/y/z.log"]), 0));
}

#[test]
fn files_need_no_repository() {
    let sandbox = Sandbox::new();
    let folder = sandbox.folder.path();
    fs::create_dir(folder.join("plain")).expect("folders can be made");
    fs::write(folder.join("plain/a"), "1").expect("files can be written");
    let mut told = Vec::new();
    let none = |_: &str| None;
    let folder = folder.join("plain");
    changes(None, &these(&["."]), &folder, &mut std::io::empty(), &none, &mut |change| {
        assert_eq!(change.after.paths(), ["a"]);
        assert_eq!(change.after.read("a"), Ok(Some(b"1".to_vec())));
        assert_eq!(change.after.read("../repository/.git/config"), Ok(None));
        told.extend(change.items.into_iter().map(|item| item.path));
        Ok(())
    })
    .expect("it is there");
    assert_eq!(told, ["a"]);
    let needed = changes(None, &Wanted::Staged, &folder, &mut std::io::empty(), &none, &mut |_| Ok(()));
    assert!(matches!(needed, Err(GitError::NoRepository(_))));
}

#[test]
fn what_is_given_is_as_if_it_were_a_file() {
    let sandbox = Sandbox::new();
    sandbox.write("d/a", "1").write("b", "2");
    let repository = sandbox.repository();
    let wanted = Wanted::Stdin("d/new/../x.yaml".to_owned());
    let none = |_: &str| None;
    let mut visited = 0;
    changes(Some(&repository), &wanted, &sandbox.at, &mut "given".as_bytes(), &none, &mut |change| {
        visited += 1;
        assert_eq!(change.items[0].path, "d/x.yaml");
        assert_eq!(repository.read(&change.items[0].new).as_deref(), Ok(&b"given"[..]));
        assert_eq!(change.after.paths(), ["b", "d/a", "d/x.yaml"]);
        assert_eq!(change.after.read("d/x.yaml"), Ok(Some(b"given".to_vec())));
        assert_eq!(change.after.read("b"), Ok(Some(b"2".to_vec())));
        assert!(
            change.after.contains("d/x.yaml") && change.after.contains("d/a") && !change.after.contains("d")
        );
        Ok(())
    })
    .expect("it can be read");
    assert_eq!(visited, 1);
    // From the top on, wherever somebody is.
    let below = sandbox.at.join("d");
    let found = look(&repository, &Wanted::Stdin("d/x.yaml".to_owned()), &below, "given", &[]);
    assert_eq!(found.expect("it can be read")[0].path, "d/x.yaml");
}

#[test]
fn messages_are_read_but_for_the_difference_that_git_shows() {
    let sandbox = Sandbox::new();
    let cut =
        "; ------------------------ >8 ------------------------\n; Do not touch it.\ndiff --git a/x b/x\n";
    sandbox.write(".git/COMMIT_EDITMSG", &format!("Add\n\n# hint\n{cut}"));
    let wanted = Wanted::CommitMessage(".git/COMMIT_EDITMSG".into());
    let text = |environment: &[(&str, &str)]| {
        let seen = sandbox.try_look(&wanted, "", environment).expect("it can be read");
        assert_eq!(seen[0].path, "COMMIT_EDITMSG");
        seen[0].new.clone()
    };
    assert_eq!(text(&[]), "Add\n\n# hint\n");
    // Where nobody edits it, all of it is stored.
    assert_eq!(text(&[("GIT_EDITOR", ":")]), format!("Add\n\n# hint\n{cut}"));
    let missing = sandbox.try_look(&Wanted::CommitMessage("nothing".into()), "", &[]);
    assert!(matches!(missing, Err(GitError::File { .. })));
}
