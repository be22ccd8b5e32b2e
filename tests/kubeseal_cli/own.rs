//! What no transcript shows: that values which one program sealed can be opened by the other, and what we do in
//! place of what would lose something.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use proptest::collection::vec;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;

use super::{Case, Ran, masked, prepare, source, start_ours, start_theirs};
use crate::live::{number_of_documents, runner};
use crate::peer::Peer;

pub fn tests() -> Vec<Trial> {
    let test =
        |name: &str, run: fn() -> Result<(), Failed>| Trial::test(format!("kubeseal_cli::own::{name}"), run);
    vec![
        test("certificates_come_from_addresses", certificates_come_from_addresses),
        test("files_keep_their_mode_and_their_links", files_keep_their_mode_and_their_links),
        test("help_is_that_of_kubeseal", help_is_that_of_kubeseal),
        test("merging_keeps_the_scope", merging_keeps_the_scope),
        test("merging_takes_one_secret_into_one_format", merging_takes_one_secret_into_one_format),
        test("sealed_values_can_be_opened", || round_trip(&ours, &ours)),
        test("values_are_not_in_errors", values_are_not_in_errors),
    ]
}

pub fn live_tests() -> Vec<Trial> {
    vec![
        Peer::Kubeseal.test("opens_what_we_sealed", |program| round_trip(&ours, &theirs(&program))),
        Peer::Kubeseal.test("seals_what_we_open", |program| round_trip(&theirs(&program), &ours)),
        Peer::Kubeseal.test("takes_the_same_flags", |program| takes_the_same_flags(&program)),
        Peer::Kubeseal.test("has_the_same_help", |program| {
            let folder = prepare()?;
            let ran = start_theirs(&Case::new("--help", ""), &program, folder.path())?;
            same(&ran.stdout, &fs::read_to_string(source().join("help.txt"))?)
        }),
    ]
}

type Run<'a> = dyn Fn(&str, &str) -> Result<Ran, Failed> + 'a;

/// Runs ours with arguments between blanks.
pub fn ours(arguments: &str, stdin: &str) -> Result<Ran, Failed> {
    Ok(start_ours(&Case::new(arguments, stdin), prepare()?.path()))
}

fn theirs(program: &Path) -> impl Fn(&str, &str) -> Result<Ran, Failed> {
    |arguments, stdin| start_theirs(&Case::new(arguments, stdin), program, prepare()?.path())
}

/// Seals with one program, and opens with the other.
fn round_trip(seal: &Run<'_>, open: &Run<'_>) -> Result<(), Failed> {
    let secret = "kind: Secret\nmetadata: {name: a, namespace: b}\ndata: {bin: AP/+, none: ''}\nstringData: {t: 1.50, u: y}\n";
    for scope in ["strict", "namespace-wide", "cluster-wide"] {
        for format in ["json", "yaml"] {
            let sealed = seal(&format!("--cert k.crt --scope {scope} -o {format}"), secret)?;
            let opened = open("--recovery-unseal --recovery-private-key k.key -o yaml", &sealed.stdout)?;
            assert_eq!((sealed.exit, opened.exit), (0, 0), "{}{}", sealed.stderr, opened.stderr);
            let data = "data:\n  bin: AP/+\n  none: null\n  t: MS41\n  u: dHJ1ZQ==\n";
            if !opened.stdout.contains(data) {
                return Err(format!("{scope}, {format}: {}", opened.stdout).into());
            }
        }
    }
    Ok(())
}

/// Runs made-up command lines with both programs.
fn takes_the_same_flags(program: &Path) -> Result<(), Failed> {
    let mut runner = runner((number_of_documents()? / 4).clamp(1, 2000));
    let lines = (vec(select(WORDS), 0..5), select(INPUTS));
    runner.run(&lines, |(words, stdin)| {
        let line = words.join(" ");
        let (ours, theirs) = (ours(&line, stdin), theirs(program)(&line, stdin));
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else {
            return Err(TestCaseError::fail("it does not run".to_owned()));
        };
        // Of nothing it makes an empty Secret.
        if ours.stderr == "error: there is no SealedSecret in the input\n" {
            return Ok(());
        }
        same(&seen(&ours), &seen(&theirs))
            .map_err(|error| TestCaseError::fail(error.message().unwrap_or_default().to_owned()))
    })?;
    Ok(())
}

/// Returns what both programs do alike: we say on stderr that a flag is deprecated, and tell of the network, and of
/// what is wrong with its configuration, in other words.
fn seen(ran: &Ran) -> (i32, String, String) {
    let told = "Flag --rotate has been deprecated, please use --re-encrypt instead\n";
    let (stdout, mut stderr) = (masked(&ran.stdout).replace(told, ""), ran.stderr.replace(told, ""));
    if let (Some(start), Some(end)) = (stderr.find("secret service: "), stderr.find(".\nPlease")) {
        stderr.replace_range(start..end, "");
    }
    if let Some(start) = stderr.find("invalid configuration: ") {
        stderr.truncate(start);
    }
    (ran.exit, stdout, stderr)
}

/// Flags and values that do not make a cluster be asked.
const WORDS: &[&str] = &[
    "--cert",
    "--cert=k.crt",
    "--cert k.crt",
    "--cert exp.crt",
    "--cert pub.pem",
    "--cert nope",
    "--cert=",
    "k.crt",
    "-n",
    "-n q",
    "-nq",
    "--namespace=other",
    "--name x",
    "--name=",
    "-o",
    "-o yaml",
    "-oYAML",
    "--format=xml",
    "-o=json",
    "--raw",
    "--raw=false",
    "--raw=x",
    "--scope",
    "--scope=strict",
    "--scope cluster-wide",
    "--scope=namespace-wide",
    "--scope=",
    "--scope=Strict",
    "--from-file=f.txt",
    "--from-file f.txt,f.txt",
    "--from-file=a=f.txt",
    "--from-file=\"",
    "--from-file",
    "-f min.json",
    "-f=ss.json",
    "-fnope",
    "--secret-file",
    "--fetch-cert",
    "--validate",
    "--re-encrypt",
    "--rotate",
    "--recovery-unseal",
    "--recovery-private-key k.key",
    "--recovery-private-key=kbad.json",
    "--recovery-private-key nope",
    "--allow-empty-data",
    "--allow-empty-data=0",
    "--version",
    "--version=F",
    "--help",
    "--help=false",
    "-h",
    "--",
    "-",
    "x",
    "--kubeconfig kc.yaml",
    "--context ctx2",
    "--as-group a",
    "--token=t",
    "--password=p",
    "--disable-compression=maybe",
    "-v",
    "-v 5",
    "-v5",
    "-vx",
    "--v=99999999999",
    "--vmodule=a=1",
    "--vmodule=a=b",
    "--logtostderr",
    "--logtostderr=2",
    "--stderrthreshold=ERROR",
    "--stderrthreshold=x",
    "--log_file_max_size=0x10",
    "--log_file_max_size=-1",
    "--log_backtrace_at=a.go:1",
    "--log_backtrace_at=a:1",
    "--log_dir",
    "--bogus",
    "--bogus=1",
    "-x",
    "-on",
    "--=",
    "---",
    "--rotate=maybe",
    "--add_dir_header=t",
    "--one_output=1",
    "--request-timeout=5s",
];

const INPUTS: &[&str] = &[
    "",
    "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {b: c}\n",
    "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"a\",\"namespace\":\"q\"},\"data\":{\"b\":\"Yw==\"}}",
    "apiVersion: v1\nkind: Secret\nmetadata: {namespace: q}\ndata: {b: Yw==}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: d}\n",
];

fn help_is_that_of_kubeseal() -> Result<(), Failed> {
    let ran = ours("--help", "")?;
    same(&ran.stdout, &fs::read_to_string(source().join("help.txt"))?)
}

fn certificates_come_from_addresses() -> Result<(), Failed> {
    let cert = fs::read_to_string(source().with_file_name("cert.pem"))?;
    let path = source().with_file_name("cert.pem");
    let ran = ours(&format!("--fetch-cert --cert file://{}", path.display()), "")?;
    same(&ran.stdout, &cert)?;
    let ran = ours("--fetch-cert --cert file:///nope/cert.pem", "")?;
    same(&ran.stderr.as_str(), &"error: cannot fetch \"file:///nope/cert.pem\": 404 Not Found\n")
}

fn files_keep_their_mode_and_their_links() -> Result<(), Failed> {
    let folder = prepare()?;
    let (target, link) = (folder.path().join("target.yaml"), folder.path().join("link.yaml"));
    fs::write(&target, "old")?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640))?;
    symlink("target.yaml", &link)?;
    let ran = start_ours(&Case::new("--cert k.crt -n q -f min.json -w link.yaml", ""), folder.path());
    same(&ran.stderr.as_str(), &"")?;
    assert!(fs::symlink_metadata(&link)?.is_symlink());
    assert!(fs::read_to_string(&target)?.starts_with("---\napiVersion: bitnami.com/v1alpha1\n"));
    same(&(fs::metadata(&target)?.permissions().mode() & 0o777), &0o640)
}

fn merging_keeps_the_scope() -> Result<(), Failed> {
    let folder = prepare()?;
    let run = |arguments: &str, stdin: &str| start_ours(&Case::new(arguments, stdin), folder.path());
    let sealed = run(
        "--cert k.crt --scope cluster-wide -o yaml -w c.yaml",
        "metadata: {name: a}\nstringData: {b: c}\n",
    );
    same(&sealed.stderr.as_str(), &"")?;
    let merged = run("--cert k.crt --merge-into c.yaml", "metadata: {name: other}\nstringData: {d: e}\n");
    same(&merged.stderr.as_str(), &"")?;
    let opened = run("--recovery-unseal --recovery-private-key k.key -f c.yaml -o yaml", "");
    assert!(opened.stdout.contains("data:\n  b: Yw==\n  d: ZQ==\n"), "{}{}", opened.stdout, opened.stderr);
    let other = run("--cert k.crt --scope namespace-wide -n x --merge-into c.yaml", "stringData: {d: e}\n");
    same(&other.stderr.as_str(), &"error: the sealed secret has the scope cluster-wide, not namespace-wide\n")
}

fn merging_takes_one_secret_into_one_format() -> Result<(), Failed> {
    let secret = "metadata: {name: a}\nstringData: {b: c}\n";
    let two = ours("--cert k.crt --merge-into m1.yaml", &format!("{secret}---\n{secret}"))?;
    same(&two.stderr.as_str(), &"error: only one Secret can be merged into a sealed secret\n")?;
    let json = ours("--cert k.crt --merge-into m4.yaml -o json", secret)?;
    let why = "error: the file holds more than a sealed secret, which another format would lose: leave out --format\n";
    same(&json.stderr.as_str(), &why)?;
    let folder = prepare()?;
    let converted = Case::new("--cert k.crt --merge-into m1.yaml -o json", secret);
    same(&start_ours(&converted, folder.path()).stderr.as_str(), &"")?;
    assert!(
        fs::read_to_string(folder.path().join("m1.yaml"))?.starts_with("{\n  \"kind\": \"SealedSecret\",\n")
    );
    Ok(())
}

fn values_are_not_in_errors() -> Result<(), Failed> {
    for stdin in [
        "kind: Secret\nstringData: {a: [hush]}\n",
        "kind: Secret\ndata: {a: hush!}\n",
        "kind: Secret\ndata: {a: !!int hush}\n",
        "kind: Secret\n---\nkind: Secret\nstringData: {a: \"hush\n",
        "kind: Secret\n--- hush\n",
        "kind: Secret\nmetadata: {generation: hush}\n",
        "{\"kind\":\"Secret\",\"stringData\":{\"a\":\"hush}",
    ] {
        let ran = ours("--cert k.crt -n q --name n", stdin)?;
        let is_silent = ran.exit == 1 && !ran.stderr.contains("hush") && ran.stdout.is_empty();
        if !is_silent {
            return Err(format!("{stdin}: {}{}", ran.stdout, ran.stderr).into());
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), Failed> {
    (found == expected).then_some(()).ok_or_else(|| format!("it is\n{found:#?}\nnot\n{expected:#?}").into())
}
