//! `kubectl seal tour`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use similar::{ChangeTag, TextDiff};
use tempfile::TempDir;

use crate::cli;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::pasted;
use crate::report::{BAD, GOOD, STRONG};
use crate::session::{Environment, Input, Output, Session};

/// Show what this tool does, on an example
///
/// Runs the commands that you would run, on the example manifests of the repository, with a throw-away key,
/// in a temporary folder. Checks what each of them did. Nothing outside of the folder is touched, and no key
/// of yours is read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the folder behind, to look around in it
    #[arg(long)]
    keep: bool,
}

/// Walks through the example.
///
/// # Errors
/// If the temporary folder cannot be used, or something is not as it should be.
pub fn run(args: &Args, context: &Context<'_>) -> Result<Exit, Failure> {
    let folder = TempDir::with_prefix("kubectl-seal-tour-");
    let folder = folder.map_err(Failure::io("write", "a temporary folder"))?;
    let mut tour = Tour { context, folder: folder.path(), checks: 0, failed: Vec::new() };
    tour.walk()?;
    let (checks, failed) = (tour.checks, tour.failed);
    if args.keep {
        context.report.note(format!("the folder is {}", folder.keep().display()));
    }
    if failed.is_empty() {
        context.report.done("passed", format!("all {checks} checks"), "");
        return Ok(Exit::Success);
    }
    Err(Failure::Check(format!("{} of {checks} checks failed: {}", failed.len(), failed.join("; "))))
}

/// A walk through the example.
struct Tour<'a> {
    context: &'a Context<'a>,
    folder: &'a Path,
    checks: usize,
    failed: Vec<String>,
}

impl Tour<'_> {
    fn walk(&mut self) -> Result<(), Failure> {
        self.prepare()?;
        self.encrypt()?;
        self.change_a_value()?;
        self.refuse_what_was_tampered_with()?;
        self.take_in_a_plain_copy()?;
        self.decrypt()?;
        self.seal_for_a_cluster()
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        self.chapter(
            "1. A repository with secrets",
            "Three manifests, and a .sops.yaml that says which values are encrypted, and for whom.\n\
             `kubectl seal init` makes one for you, and a key. Here, a throw-away key is used.",
        )?;
        for (name, text) in EXAMPLES {
            self.write(name, text)?;
        }
        self.print(CONFIG)?;
        self.seal(&["explain", "secret.yaml"])?;
        Ok(())
    }

    fn encrypt(&mut self) -> Result<(), Failure> {
        self.chapter(
            "2. Encrypting",
            "A whole folder at once. The Deployment has no values that the rule selects, so it stays as it is.",
        )?;
        self.seal(&["encrypt", "-i", "."])?;
        let encrypted = self.read("secret.yaml")?;
        self.say("Only the secret values changed; names, comments and layout did not:\n")?;
        self.show_diff(SECRET, &encrypted)?;
        let leaked = ["correct horse", "postgres://", "Rotated every quarter", "BEGIN CERTIFICATE"];
        self.check("no secret is left in clear", !leaked.iter().any(|secret| encrypted.contains(secret)))?;
        let kept = "# The database of the shop. Who needs access: see the runbook.\napiVersion: v1\nkind: \
                    Secret\nmetadata:\n  name: shop-database\n  labels: {app: shop, tier: backend}\n";
        self.check("what is not secret is as it was", encrypted.starts_with(kept))?;
        self.check("the Deployment is untouched", self.read("deployment.yaml")? == DEPLOYMENT)?;
        let again = self.seal(&["view", "secret.yaml"])?;
        self.check("view shows the original, byte for byte", again.out == SECRET)
    }

    fn change_a_value(&mut self) -> Result<(), Failure> {
        self.chapter(
            "3. Changing a value",
            "`kubectl seal edit` opens your editor, with the plaintext in memory. `set` changes one value.",
        )?;
        let before = self.read("secret.yaml")?;
        self.write("before.yaml", &before)?;
        self.seal(&["set", "secret.yaml", "stringData.password", "a new password"])?;
        let after = self.read("secret.yaml")?;
        self.say("In the file, the value changed, and the proof that nobody else changed it:\n")?;
        self.show_diff(&before, &after)?;
        let changed = changed_lines(&before, &after);
        // A fast machine does both within one second, and the time stays.
        self.check("nothing differs but the value, the time and the MAC", (2..=3).contains(&changed))?;
        self.say("To review that, compare two versions, or Git revisions. Values stay masked:\n")?;
        let diff = self.seal(&["diff", "before.yaml", "secret.yaml"])?;
        self.check(
            "the diff names the value, and nothing else",
            diff.out.trim() == "~ stringData.password  changed",
        )?;
        let again = self.seal(&["set", "secret.yaml", "stringData.password", "a new password"])?;
        let is_untouched = again.exit == Exit::Success && self.read("secret.yaml")? == after;
        self.check("the same again leaves the file untouched", is_untouched)
    }

    fn refuse_what_was_tampered_with(&mut self) -> Result<(), Failure> {
        self.chapter(
            "4. Tampering",
            "Somebody without the key removes a line. The file is no longer what was encrypted:",
        )?;
        let whole = self.read("secret.yaml")?;
        let is_removed = |line: &&str| !line.trim_start().starts_with("username: ENC[");
        let tampered: String = whole.split_inclusive('\n').filter(is_removed).collect();
        self.write("tampered.yaml", &tampered)?;
        let refused = self.seal(&["decrypt", "tampered.yaml"])?;
        let is_refused = refused.exit == Exit::Mac && refused.out.is_empty();
        self.check("it is refused, and nothing of it is shown", tampered != whole && is_refused)?;
        self.remove("tampered.yaml")
    }

    fn take_in_a_plain_copy(&mut self) -> Result<(), Failure> {
        self.chapter(
            "5. From a plain copy",
            "You have an edited copy in clear. Encrypted onto the file, only what differs changes:",
        )?;
        let before = self.read("payments.yaml")?;
        self.write("copy.yaml", &PAYMENTS.replace("whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH", "whsec_new"))?;
        self.seal(&["encrypt", "copy.yaml", "-o", "payments.yaml"])?;
        let after = self.read("payments.yaml")?;
        let api_key = |text: &str| text.lines().find(|line| line.contains("api-key:")).map(str::to_owned);
        let kept = before != after && api_key(&before).is_some() && api_key(&before) == api_key(&after);
        self.check("the other secret kept its ciphertext", kept)?;
        self.remove("copy.yaml")?;
        self.remove("before.yaml")?;
        self.say("What is encrypted, for whom, and does anything look wrong?\n")?;
        let status = self.seal(&["status", "--strict", "."])?;
        self.check("nothing looks wrong", status.exit == Exit::Success)
    }

    fn decrypt(&mut self) -> Result<(), Failure> {
        self.chapter("6. Decrypting", "Into a file of its own, which only you can read:")?;
        self.seal(&["decrypt", "secret.yaml", "-o", "plain.yaml"])?;
        let expected = SECRET.replace("correct horse battery staple", "a new password");
        self.check("the original is back, with the new password", self.read("plain.yaml")? == expected)?;
        #[cfg(unix)]
        self.check("nobody else can read it", self.mode("plain.yaml")? & 0o077 == 0)?;
        self.remove("plain.yaml")?;
        self.say("In place, for once. Files then stay as open to others as they were encrypted:\n")?;
        #[cfg(unix)]
        let mode = self.mode("secret.yaml")?;
        self.seal(&["decrypt", "-i", "."])?;
        self.check("the file is in clear again", self.read("secret.yaml")? == expected)?;
        let expected = PAYMENTS.replace("whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH", "whsec_new");
        self.check("so is the other file", self.read("payments.yaml")? == expected)?;
        #[cfg(unix)]
        self.check("who may read it is as before", self.mode("secret.yaml")? == mode)?;
        Ok(())
    }

    fn seal_for_a_cluster(&mut self) -> Result<(), Failure> {
        self.chapter(
            "7. For a cluster with Sealed Secrets",
            "There, the controller alone has the key. Its certificate comes from the cluster, or a file; here, a pair\n\
             of our own plays the controller.",
        )?;
        self.seal(&["keys", "generate", "--bits", "2048"])?;
        self.seal(&[
            "seal",
            "--cert",
            "tls.crt",
            "-n",
            "shop",
            "secret.yaml",
            "-o",
            "sealed.yaml",
            "--no-digests",
        ])?;
        let sealed = self.read("sealed.yaml")?;
        let leaked = ["a new password", "postgres://", "BEGIN CERTIFICATE"];
        let is_sealed = sealed.contains("kind: SealedSecret");
        self.check(
            "no secret is left in clear",
            is_sealed && !leaked.iter().any(|secret| sealed.contains(secret)),
        )?;
        self.say("One more value; nothing else of the file changes:\n")?;
        let values = ["--from-literal", "token=of the sea"];
        let merge = ["merge", "sealed.yaml", "--cert", "tls.crt", "--no-digests"];
        self.seal(&merge.into_iter().chain(values).collect::<Vec<_>>())?;
        let merged = self.read("sealed.yaml")?;
        let rest: String = merged.split_inclusive('\n').filter(|line| !line.contains(" token: ")).collect();
        self.check("the other values kept their ciphertext", merged != sealed && rest == sealed)?;
        self.say("For which key, name and namespace was each value sealed?\n")?;
        let moved = merged.replace("namespace: shop", "namespace: other");
        self.write("moved.yaml", &moved)?;
        let explained =
            self.seal(&["explain", "--sealing-key", "tls.key", "--try-namespace", "shop", "moved.yaml"])?;
        self.check(
            "a value that was moved says where it belongs",
            explained.out.contains("in the namespace shop"),
        )?;
        let unsealed = self.seal(&["unseal", "--sealing-key", "tls.key", "sealed.yaml"])?;
        let is_back =
            unsealed.out.contains("password: a new password") && unsealed.out.contains("token: of the sea");
        self.check("with the key, the Secret is back", is_back)?;
        self.say(
            "That is the main job. `kubectl seal --help` lists the rest; to start in your own repository:\n\
             kubectl seal init",
        )
    }

    /// Runs a command as the user would, in the folder and with the throw-away key alone.
    fn seal(&mut self, arguments: &[&str]) -> Result<Ran, Failure> {
        let shown: Vec<_> = arguments.iter().map(|word| pasted::word(word)).collect();
        let command = format!("$ kubectl seal {}\n", shown.join(" "));
        self.print(&self.context.report.paint_data(STRONG, command))?;
        let (out, err) = (Captured::default(), Captured::default());
        let session = Session {
            environment: Environment::from_iter([("SOPS_AGE_KEY", IDENTITY)]),
            directory: self.folder.to_owned(),
            stdin: Input::new(io::empty(), true),
            stdout: Output::new(out.clone(), false),
            stderr: Output::new(err.clone(), false),
            clock: self.context.session.clock,
            audit: self.context.session.audit.clone(),
        };
        let words = ["kubectl-seal"].into_iter().chain(arguments.iter().copied());
        let exit = cli::run(&session, &words.map(Into::into).collect::<Vec<_>>());
        let (out, err) = (out.text(), err.text());
        self.print(&indented(&format!("{err}{out}")))?;
        Ok(Ran { exit, out })
    }

    fn check(&mut self, what: &str, holds: bool) -> Result<(), Failure> {
        self.checks += 1;
        if holds {
            let mark = self.context.report.paint_data(GOOD, "✓");
            return self.print(&format!("{mark} {what}\n"));
        }
        self.failed.push(what.to_owned());
        let mark = self.context.report.paint_data(BAD, "✗");
        self.print(&format!("{mark} {what}\n"))
    }

    fn chapter(&self, title: &str, text: &str) -> Result<(), Failure> {
        self.print(&format!("\n{}\n", self.context.report.paint_data(STRONG, title)))?;
        self.say(text)
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{}\n", text.trim_end()))
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        self.context.session.stdout.write(text.as_bytes()).map_err(Failure::io("write", "stdout"))
    }

    fn show_diff(&self, old: &str, new: &str) -> Result<(), Failure> {
        let report = &self.context.report;
        let mut text = String::new();
        for change in TextDiff::from_lines(old, new).iter_all_changes() {
            let line = shortened(change.value());
            match change.tag() {
                ChangeTag::Delete => text.push_str(&report.paint_data(BAD, format!("- {line}"))),
                ChangeTag::Equal => continue,
                ChangeTag::Insert => text.push_str(&report.paint_data(GOOD, format!("+ {line}"))),
            }
            text.push('\n');
        }
        self.print(&indented(&text))
    }

    fn read(&self, name: &str) -> Result<String, Failure> {
        fs::read_to_string(self.folder.join(name)).map_err(Failure::io("read", name))
    }

    #[cfg(unix)]
    fn mode(&self, name: &str) -> Result<u32, Failure> {
        let metadata = fs::metadata(self.folder.join(name)).map_err(Failure::io("read", name))?;
        Ok(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        fs::write(self.folder.join(name), text).map_err(Failure::io("write", name))
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        fs::remove_file(self.folder.join(name)).map_err(Failure::io("write", name))
    }
}

/// What a command did.
struct Ran {
    exit: Exit,
    out: String,
}

/// A stream that keeps what is written to it.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn changed_lines(old: &str, new: &str) -> usize {
    let diff = TextDiff::from_lines(old, new);
    let changes = diff.iter_all_changes().filter(|change| change.tag() == ChangeTag::Insert);
    changes.count()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

/// Returns a line that fits a terminal.
fn shortened(line: &str) -> String {
    let line = line.trim_end();
    match line.char_indices().nth(LINE_LENGTH) {
        None => line.to_owned(),
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

const LINE_LENGTH: usize = 88;

const SECRET: &str = include_str!("../../../testdata/examples/secret.yaml");

const DEPLOYMENT: &str = include_str!("../../../testdata/examples/deployment.yaml");

const PAYMENTS: &str = include_str!("../../../testdata/examples/payments.yaml");

const CONFIG: &str = include_str!("../../../testdata/examples/.sops.yaml");

const IDENTITY: &str = include_str!("../../../testdata/examples/key.txt");

const EXAMPLES: [(&str, &str); 4] = [
    (".sops.yaml", CONFIG),
    ("deployment.yaml", DEPLOYMENT),
    ("payments.yaml", PAYMENTS),
    ("secret.yaml", SECRET),
];
