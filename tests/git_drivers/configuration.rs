//! What is written to Git's configuration and to attributes, and taken out of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use libtest_mimic::Failed;

use super::Case;
use super::lab::{Lab, expect, same, text_of};

/// The tests.
pub const TRIALS: &[Case] = &[
    ("install_twice_is_install_once_and_uninstall_leaves_nothing", install_twice),
    ("install_leaves_what_is_somebody_elses", foreign_drivers),
    ("install_and_uninstall_write_through_no_link", links),
    ("install_that_fails_leaves_nothing_half_done", half_done),
    ("install_for_lines_takes_the_diff_out", lines_alone),
    ("install_mends_the_drivers_of_earlier_versions", earlier),
    ("names_that_are_no_utf_8_are_counted_and_covered", names_of_bytes),
    ("names_that_look_like_options_are_names", option_names),
    ("install_of_the_user_is_for_all_repositories", global),
    ("install_of_a_dry_run_writes_nothing", dry_run),
    ("install_works_in_worktrees_and_submodules_and_not_in_bare_repositories", kinds_of_repositories),
    ("install_for_one_clone_writes_nothing_that_is_committed", private),
    ("git_hands_over_any_path_whole", paths),
    ("patterns_come_from_creation_rules", patterns_of_rules),
    ("patterns_cover_encrypted_files_of_any_name", patterns_of_files),
    ("attributes_of_others_are_told", other_attributes),
    ("status_tells_what_is_missing", status),
];

fn install_twice(lab: &Lab) -> Result<(), Failed> {
    lab.write(".gitattributes", "* text=auto\n*.png -diff")?;
    let (config, attributes) = (lab.git(&["config", "--list"])?, lab.read(".gitattributes")?);
    lab.seal(&["git", "install"])?;
    let (first, lines) = (lab.git(&["config", "--list"])?, lab.read(".gitattributes")?);
    let driver = "merge.seal.driver=kubectl-seal git merge-file --ancestor %O --ours %A --theirs %B --marker-size %L \
                  --path=%P\n";
    let wanted =
        [driver, "diff.seal.textconv=kubectl-seal git textconv --\n", "diff.seal.cachetextconv=false\n"];
    expect(&first, &wanted, &["recursive"])?;
    expect(&lines, &["*.yaml merge=seal diff=seal\n", "\n* text=auto\n*.png -diff"], &[])?;
    let again = lab.run("kubectl-seal", &["git", "install"], &[])?;
    expect(
        &text_of(&again),
        &["Git knows of the drivers already", ".gitattributes has the lines already"],
        &[],
    )?;
    same(&lab.git(&["config", "--list"])?, &first)?;
    same(&lab.read(".gitattributes")?, &lines)?;
    lab.seal(&["git", "uninstall"])?;
    same(&lab.git(&["config", "--list"])?, &config)?;
    same(&lab.read(".gitattributes")?, &attributes)?;
    // Where there were no attributes, there are none.
    fs::remove_file(lab.top().join(".gitattributes"))?;
    lab.seal(&["git", "install"])?;
    lab.seal(&["git", "uninstall"])?;
    same(&lab.git(&["status", "--short"])?, "")
}

fn foreign_drivers(lab: &Lab) -> Result<(), Failed> {
    lab.git(&["config", "diff.seal.textconv", "sops -d"])?;
    let said = lab.refused(&["git", "install"])?;
    expect(&said, &["diff.seal.textconv of Git is \"sops -d\", which is not ours", "--force"], &[])?;
    expect(&lab.git(&["config", "--list"])?, &[], &["merge.seal"])?;
    let forced = text_of(&lab.run("kubectl-seal", &["git", "install", "--force"], &[])?);
    expect(&forced, &["diff.seal.textconv of Git is \"sops -d\", whose place is taken"], &["error"])?;
    same(&lab.git(&["config", "diff.seal.textconv"])?, "kubectl-seal git textconv --\n")?;
    lab.git(&["config", "merge.seal.driver", "mine %A"])?;
    expect(
        &text_of(&lab.run("kubectl-seal", &["git", "uninstall"], &[])?),
        &["merge.seal.driver is somebody else's"],
        &[],
    )?;
    same(&lab.git(&["config", "merge.seal.driver"])?, "mine %A\n")?;
    // Another program is another call of ours.
    lab.git(&["config", "--unset", "merge.seal.driver"])?;
    lab.seal(&["git", "install"])?;
    lab.seal(&["git", "install", "--program", "/opt/it's 100%/seal"])?;
    let config = lab.git(&["config", "--list"])?;
    expect(
        &config,
        &["\"/opt/it's 100%%/seal\" git merge-file", "\"/opt/it's 100%/seal\" git diff --\n"],
        &[],
    )
}

/// What a repository brings along is not to lead out of it.
fn links(lab: &Lab) -> Result<(), Failed> {
    let outside = lab.beside("outside");
    fs::write(&outside, "mine\n")?;
    lab.encrypt("x;touch y", "a: b\n")?;
    let unchanged = || -> Result<(), Failed> {
        same(&fs::read_to_string(&outside)?, "mine\n")?;
        expect(&lab.git(&["config", "--list"])?, &[], &["seal"])
    };
    symlink(&outside, lab.top().join(".gitattributes"))?;
    for arguments in [&["git", "install"][..], &["git", "install", "--dry-run"], &["git", "uninstall"]] {
        let said = lab.refused(arguments)?;
        expect(&said, &[".gitattributes is a symbolic link", "nothing was written", "remove it"], &[])?;
        unchanged()?;
    }
    fs::remove_file(lab.top().join(".gitattributes"))?;
    symlink(lab.beside("tmp"), lab.top().join("below"))?;
    symlink(&outside, lab.top().join("named"))?;
    let said = lab.refused(&["git", "install", "--attributes", "below/attributes"])?;
    expect(&said, &["behind the symbolic link"], &[])?;
    expect(&lab.refused(&["git", "install", "--attributes", "named"])?, &["named is a symbolic link"], &[])?;
    fs::create_dir_all(lab.top().join(".git/info"))?;
    let own = lab.top().join(".git/info/attributes");
    drop(fs::remove_file(&own));
    symlink(&outside, &own)?;
    expect(&lab.refused(&["git", "install", "--private"])?, &["attributes is a symbolic link"], &[])?;
    unchanged()?;
    // What is the user's own may be a link.
    symlink(&outside, lab.beside("link"))?;
    fs::remove_file(&own)?;
    lab.seal(&["git", "install", "--attributes", &lab.beside("link").to_string_lossy()])?;
    expect(&fs::read_to_string(&outside)?, &["*.yaml merge=seal", "\nmine\n"], &[])
}

fn half_done(lab: &Lab) -> Result<(), Failed> {
    lab.write(".gitattributes", b"# >>> kubectl seal git install\n\xff\n")?;
    expect(
        &lab.refused(&["git", "install"])?,
        &[".gitattributes:1: the end of these lines is missing"],
        &[],
    )?;
    expect(&lab.git(&["config", "--list"])?, &[], &["seal"])?;
    lab.write(".gitattributes", b"\xff -diff\n")?;
    lab.seal(&["git", "install"])?;
    lab.seal(&["git", "uninstall"])?;
    let left = fs::read(lab.top().join(".gitattributes"))?;
    if left == b"\xff -diff\n" { Ok(()) } else { Err("the other lines changed".into()) }
}

fn lines_alone(lab: &Lab) -> Result<(), Failed> {
    lab.seal(&["git", "install"])?;
    let said = lab.seal(&["git", "install", "--lines", "--dry-run"])?;
    expect(&said, &["git config --local --unset-all diff.seal.command\n"], &["merge.seal"])?;
    lab.seal(&["git", "install", "--lines"])?;
    expect(&lab.git(&["config", "--list"])?, &["diff.seal.textconv="], &["diff.seal.command"])?;
    lab.git(&["config", "diff.seal.command", "mine"])?;
    lab.seal(&["git", "install", "--lines"])?;
    same(&lab.git(&["config", "diff.seal.command"])?, "mine\n")
}

fn earlier(lab: &Lab) -> Result<(), Failed> {
    let driver = "kubectl-seal git merge-file --ancestor %O --ours %A --theirs %B --marker-size %L --path %P";
    lab.git(&["config", "merge.seal.driver", driver])?;
    lab.git(&["config", "diff.seal.textconv", "kubectl-seal git textconv"])?;
    lab.git(&["config", "diff.seal.command", "kubectl-seal git diff"])?;
    lab.seal(&["git", "install"])?;
    let wanted = ["--path=%P\n", "kubectl-seal git textconv --\n", "kubectl-seal git diff --\n"];
    expect(&lab.git(&["config", "--list"])?, &wanted, &[])
}

#[cfg(target_os = "linux")]
fn names_of_bytes(lab: &Lab) -> Result<(), Failed> {
    let path = |name: &[u8]| lab.top().join(OsStr::from_bytes(name));
    lab.encrypt("a.pem", "a key\n")?;
    fs::rename(lab.top().join("a.pem"), path(b"k\xff y.pem"))?;
    fs::write(path(b"plain\xff.yaml"), "a: 1\n")?;
    expect(&lab.refused(&["git", "status"])?, &["1 encrypted file, 0 with"], &[])?;
    lab.seal(&["git", "install"])?;
    expect(&lab.seal(&["git", "status"])?, &["1 encrypted file, 1 with"], &["!"])?;
    lab.commit("one")?;
    fs::write(path(b"plain\xff.yaml"), "a: 2\n")?;
    let patch = lab.git(&["diff"])?;
    expect(&patch, &["\"a/plain\\377.yaml\""], &[])?;
    fs::write(lab.beside("patch"), patch)?;
    lab.git(&["checkout", "-q", "."])?;
    lab.git(&["apply", &lab.beside("patch").to_string_lossy()])?;
    same(&fs::read_to_string(path(b"plain\xff.yaml"))?, "a: 2\n")
}

/// Elsewhere such names cannot be.
#[cfg(not(target_os = "linux"))]
fn names_of_bytes(_lab: &Lab) -> Result<(), Failed> {
    Ok(())
}

/// Git hands paths to the drivers as they are.
fn option_names(lab: &Lab) -> Result<(), Failed> {
    lab.seal(&["git", "install"])?;
    let names = ["-x.yaml", "--plain.yaml", "--identity=x.yaml", "-hx.yaml"];
    lab.encrypt("new.yaml", "a: correct-horse\nb: c\n")?;
    for name in names {
        fs::copy(lab.top().join("new.yaml"), lab.top().join(name))?;
    }
    lab.commit("base")?;
    lab.git(&["checkout", "-q", "-b", "side"])?;
    let change = |key: &str| -> Result<(), Failed> {
        for name in names {
            fs::copy(lab.top().join(name), lab.top().join("new.yaml"))?;
            lab.seal(&["set", "new.yaml", key, "battery-staple"])?;
            fs::rename(lab.top().join("new.yaml"), lab.top().join(name))?;
        }
        Ok(())
    };
    change("a")?;
    let shown = lab.git(&["diff"])?;
    for name in names {
        expect(&shown, &[&format!("diff --git a/{name} b/{name}\n")], &["correct-horse", "Usage"])?;
        let shown = lab.git(&["diff", "--no-ext-diff", "--", name])?;
        expect(&shown, &["\n-a: ENC[", "\n+a: ENC["], &["correct-horse", "AES256_GCM", "Usage"])?;
    }
    expect(&shown, &["~ a  changed"], &["ENC["])?;
    lab.commit("theirs")?;
    lab.git(&["checkout", "-q", "main"])?;
    change("b")?;
    lab.commit("ours")?;
    lab.git(&["merge", "-q", "--no-edit", "side"])?;
    for name in names {
        fs::copy(lab.top().join(name), lab.top().join("new.yaml"))?;
        same(&lab.seal(&["decrypt", "new.yaml"])?, "a: battery-staple\nb: battery-staple\n")?;
    }
    Ok(())
}

fn global(lab: &Lab) -> Result<(), Failed> {
    let outside = lab.run_in(&lab.beside("tmp"), "kubectl-seal", &["git", "install", "--global"], &[])?;
    expect(&text_of(&outside), &["no attributes were written"], &["error"])?;
    expect(&lab.git(&["config", "--global", "--list"])?, &["merge.seal.driver="], &[])?;
    expect(&lab.git(&["config", "--local", "--list"])?, &[], &["seal"])?;
    lab.seal(&["git", "install", "--global"])?;
    expect(&lab.read(".gitattributes")?, &["*.yaml merge=seal"], &[])?;
    lab.seal(&["git", "status"])?;
    lab.seal(&["git", "uninstall", "--global"])?;
    expect(&lab.git(&["config", "--list"])?, &[], &["seal"])
}

fn dry_run(lab: &Lab) -> Result<(), Failed> {
    let said = lab.seal(&["git", "install", "--dry-run"])?;
    expect(
        &said,
        &["git config --local merge.seal.driver 'kubectl-seal git merge-file", "*.ini merge=seal diff=seal"],
        &[],
    )?;
    expect(&lab.git(&["config", "--list"])?, &[], &["seal"])?;
    same(&lab.git(&["status", "--short"])?, "")
}

fn kinds_of_repositories(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("a.yaml", "a: b\n")?;
    lab.commit("one")?;
    let bare = lab.beside("bare");
    lab.git(&["clone", "-q", "--bare", ".", &bare.to_string_lossy()])?;
    let refused = lab.run_in(&bare, "kubectl-seal", &["git", "install"], &[])?;
    expect(&text_of(&refused), &["this is a bare repository", "in a clone of it"], &[])?;
    let outside = lab.run_in(&lab.beside("bin"), "kubectl-seal", &["git", "install"], &[])?;
    expect(&text_of(&outside), &["not a git repository"], &[])?;
    lab.git(&["worktree", "add", "-q", "../other tree", "-b", "other"])?;
    let other = lab.beside("other tree");
    let output = lab.run_in(&other, "kubectl-seal", &["git", "install", "--private"], &[])?;
    expect(&text_of(&output), &["wrote"], &["error"])?;
    // All worktrees have one configuration.
    lab.seal(&["git", "status"])?;
    lab.git(&["submodule", "add", "-q", &bare.to_string_lossy(), "sub"])?;
    let submodule = lab.top().join("sub");
    let output = lab.run_in(&submodule, "kubectl-seal", &["git", "install"], &[])?;
    expect(&text_of(&output), &["wrote"], &["error"])?;
    let status = lab.run_in(&submodule, "kubectl-seal", &["git", "status"], &[])?;
    expect(&text_of(&status), &["1 encrypted file, 1 with the drivers"], &["!"])
}

fn private(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("below/a.yaml", "a: b\n")?;
    lab.commit("one")?;
    let below = lab.top().join("below");
    let output = lab.run_in(&below, "kubectl-seal", &["git", "install", "--private"], &[])?;
    expect(&text_of(&output), &["wrote"], &["error"])?;
    same(&lab.git(&["status", "--short"])?, "")?;
    same(&lab.git(&["check-attr", "merge", "--", "below/a.yaml"])?, "below/a.yaml: merge: seal\n")?;
    lab.seal(&["git", "status"])?;
    lab.seal(&["git", "uninstall"])?;
    same(&lab.git(&["check-attr", "merge", "--", "below/a.yaml"])?, "below/a.yaml: merge: unspecified\n")
}

/// Git starts the driver by the shell, and quotes the path by itself.
fn paths(lab: &Lab) -> Result<(), Failed> {
    let program = lab.beside("my \"own\" program's");
    fs::write(&program, "#!/bin/sh\nfor word; do echo \"<$word>\"; done >&2\nexit 1\n")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    lab.seal(&["git", "install", "--program", &program.to_string_lossy()])?;
    for path in ["-x.yaml", "a b.yaml", "\u{fc} 'it' \"q\" $HOME `x` %A.yaml", "l\nm.yaml"] {
        lab.write(path, "a: 1\n")?;
        lab.commit("base")?;
        lab.git(&["checkout", "-q", "-b", "side"])?;
        lab.write(path, "a: 2\n")?;
        lab.commit("theirs")?;
        lab.git(&["checkout", "-q", "main"])?;
        lab.write(path, "a: 3\n")?;
        lab.commit("ours")?;
        let merged = lab.run("git", &["merge", "side"], &[])?;
        let wanted = "<merge-file>\n<--ancestor>\n<.merge_file_";
        expect(&text_of(&merged), &[wanted, &format!("<--marker-size>\n<7>\n<--path={path}>\n")], &[])?;
        // What the driver does not merge stays as it was.
        same(&lab.read(path)?, "a: 3\n")?;
        expect(&lab.git(&["ls-files", "-u"])?, &[" 1\t", " 2\t", " 3\t"], &[])?;
        lab.git(&["merge", "--abort"])?;
        lab.git(&["branch", "-q", "-D", "side"])?;
    }
    Ok(())
}

fn patterns_of_rules(lab: &Lab) -> Result<(), Failed> {
    let rules =
        "creation_rules:\n- path_regex: \\.enc\\.ya?ml$\n  age: x\n- path_regex: ^prod/.*\\.env$\n  age: x\n";
    lab.write(".sops.yaml", rules.replace("age: x", &format!("age: {}", RECIPIENT)))?;
    lab.write(
        "apps/.sops.yaml",
        format!("creation_rules:\n- path_regex: (^|/)db\\.json$\n  age: {RECIPIENT}\n"),
    )?;
    lab.seal(&["git", "install"])?;
    for (path, value) in [
        ("a.enc.yaml", "seal"),
        ("deep/er/a.enc.yml", "seal"),
        ("a.yaml", "unspecified"),
        ("prod/x/a.env", "seal"),
        ("prod/a.env", "seal"),
        ("a.env", "unspecified"),
        ("apps/db.json", "seal"),
        ("apps/x/db.json", "seal"),
        ("db.json", "unspecified"),
    ] {
        same(&lab.git(&["check-attr", "diff", "--", path])?, &format!("{path}: diff: {value}\n"))?;
    }
    // A rule for any file makes no narrow pattern.
    lab.write("apps/.sops.yaml", format!("creation_rules:\n- age: {RECIPIENT}\n"))?;
    lab.seal(&["git", "install"])?;
    same(&lab.git(&["check-attr", "diff", "--", "a.yaml"])?, "a.yaml: diff: seal\n")
}

fn patterns_of_files(lab: &Lab) -> Result<(), Failed> {
    lab.write(".sops.yaml", format!("creation_rules:\n- path_regex: \\.enc\\.yaml$\n  age: {RECIPIENT}\n"))?;
    lab.encrypt("keys/[a] b*.pem", "a key\n")?;
    lab.write("sealed.yaml", SEALED)?;
    lab.seal(&["git", "install"])?;
    expect(&lab.seal(&["git", "status"])?, &["2 encrypted files, 2 with the drivers"], &["!"])?;
    same(&lab.git(&["check-attr", "diff", "--", "keys/a b.pem"])?, "keys/a b.pem: diff: unspecified\n")
}

fn other_attributes(lab: &Lab) -> Result<(), Failed> {
    lab.write(".gitattributes", "old.yaml -diff\n")?;
    lab.encrypt("old.yaml", "a: b\n")?;
    lab.encrypt("new.yaml", "a: b\n")?;
    let said = text_of(&lab.run("kubectl-seal", &["git", "install"], &[])?);
    expect(&said, &["old.yaml: another line says diff=unset, which wins"], &["new.yaml"])?;
    expect(&lab.refused(&["git", "status"])?, &["old.yaml: merge is seal, diff is unset"], &["new.yaml:"])
}

fn status(lab: &Lab) -> Result<(), Failed> {
    lab.encrypt("a.yaml", "a: b\n")?;
    let said = lab.refused(&["git", "status"])?;
    let wanted = [
        "merge.seal.driver is not set",
        "a.yaml: merge is unspecified",
        "1 encrypted file, 0 with the drivers",
    ];
    expect(&said, &wanted, &[])?;
    lab.seal(&["git", "install", "--program", "/no/such/program"])?;
    expect(&lab.refused(&["git", "status"])?, &["/no/such/program cannot be started"], &["unspecified"])?;
    lab.seal(&["git", "install"])?;
    expect(&lab.seal(&["git", "status"])?, &["program  kubectl-seal ", "1 encrypted file, 1 with"], &["!"])
}

/// A manifest as the controller takes it, of which nothing can be opened.
pub const SEALED: &str = "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n  namespace: \
    shop\nspec:\n  encryptedData:\n    password: AgBy8hHF3xyz0123456789\n  template:\n    type: Opaque\n";

const RECIPIENT: &str = "age17jf3fza89glmnzdh57m462m3uvwmmjlhrlaa8wejg63g77x0qsnstk4un8";
