//! Keys and certificates of a real cluster, as `kubectl seal` deals with them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kubectl_seal::exit::Exit;
use kubectl_seal::session::{Environment, Input, Output, Session};
use libtest_mimic::{Failed, Trial};
use selkie::sealed::{SealedSecret, SealingCert, Secret};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;

use super::cluster::{self, Cluster};
use super::controller;
use crate::envelope::rng;

pub fn tests() -> Vec<Trial> {
    let with_controller = |name, run: fn(&Cluster) -> Result<(), Failed>| {
        cluster::test(name, &controller::NEEDED, move |cluster| {
            controller::start(cluster)?;
            run(cluster)
        })
    };
    vec![
        with_controller("a_certificate_is_kept_for_a_day", certificate),
        with_controller("keys_are_saved_and_brought_back", backup),
        with_controller("the_controller_seals_again_and_only_values_change", reseal),
        with_controller("what_is_sealed_is_checked_and_unsealed", unseal),
    ]
}

fn certificate(cluster: &Cluster) -> Result<(), Failed> {
    let user = User::new(&cluster.account("default", "sealer", &[])?)?;
    let first = user.run(&["cert"])?;
    let folder = user.folder.path().join("cache/kubectl-seal/certificates");
    let copies: Vec<_> = fs::read_dir(&folder)?.filter_map(Result::ok).map(|file| file.path()).collect();
    let [copy] = copies.as_slice() else { return Err(format!("{} copies", copies.len()).into()) };
    if fs::metadata(copy)?.permissions().mode() & 0o777 != 0o600 {
        return Err("others can read the copy".into());
    }
    let again = user.run(&["cert"])?;
    let is_told = again.stderr.contains("(fetched 0 minutes ago, expires on ");
    if !first.stderr.is_empty() || again.stdout != first.stdout || !is_told {
        return Err(format!("{}\n{}", first.stderr, again.stderr).into());
    }
    // What is in the copy is believed, so that this shows which certificate it is.
    let other = fs::read(root().join("testdata/sealed-secrets/cert.pem"))?;
    fs::write(copy, &other)?;
    let from_copy = user.run(&["cert", "--quiet"])?.stdout.into_bytes() == other;
    let not_from_copy = user.run(&["cert", "--no-cache"])?.stdout == first.stdout;
    let refreshed = user.run(&["cert", "--refresh"])?.stdout == first.stdout;
    let kept = fs::read(copy)? == first.stdout.as_bytes();
    if !(from_copy && not_from_copy && refreshed && kept) {
        return Err(format!("{from_copy} {not_from_copy} {refreshed} {kept}").into());
    }
    // A copy that is a day old is used if the cluster does not answer, and only then.
    let user = User { clock: || OffsetDateTime::now_utc() + time::Duration::days(2), ..user };
    let nowhere = ["--proxy-url", "http://127.0.0.1:1"];
    let old = user.run(&["cert", nowhere[0], nowhere[1]])?;
    let is_told =
        old.stderr.contains("warning: cannot reach the cluster") && old.stderr.contains("2 days ago");
    if old.stdout != first.stdout || !is_told {
        return Err(old.stderr.into());
    }
    let refused = user.run_any(&["cert", "--refresh", nowhere[0], nowhere[1]])?;
    if refused.exit == Exit::Success { Err("a copy is not what was asked for".into()) } else { Ok(()) }
}

fn backup(cluster: &Cluster) -> Result<(), Failed> {
    let user = User::new(&cluster.kubeconfig())?;
    let recipients = fs::read_to_string(root().join("testdata/sops-cli/recipients.txt"))?;
    let recipient = recipients.lines().next().unwrap_or_default();
    user.run(&["keys", "backup", "-o", "keys.yaml", "--age", recipient])?;
    let saved = fs::read_to_string(user.folder.path().join("keys.yaml"))?;
    if !saved.contains("tls.key: ENC[") {
        return Err("the backup is in clear".into());
    }
    let listed = user.run(&["keys", "list", "--json"])?.stdout;
    let in_backup = user.run(&["keys", "list", "--json", "keys.yaml"])?.stdout;
    let keys: Json = serde_json::from_str(&listed)?;
    if listed != in_backup || keys[0]["state"] != "active" || keys[0]["newest"] != true {
        return Err(format!("{listed}\n{in_backup}").into());
    }
    cluster.make_namespace("restored")?;
    let there = ["--controller-namespace", "restored"];
    let restore = |user: &User| user.run(&["keys", "restore", "keys.yaml", there[0], there[1]]);
    let (dry, first, again) = (
        user.run(&["keys", "restore", "--dry-run", "keys.yaml", there[0], there[1]])?.stderr,
        restore(&user)?.stderr,
        restore(&user)?.stderr,
    );
    let is_told = dry.contains("would restore sealed-secrets-key")
        && first.contains("restored sealed-secrets-key")
        && first
            .contains("kubectl rollout restart deployment/sealed-secrets-controller --namespace restored")
        && again.contains("unchanged sealed-secrets-key")
        && !again.contains("restart");
    if !is_told || user.run(&["keys", "list", "--json", there[0], there[1]])?.stdout != listed {
        return Err(format!("{dry}{first}{again}").into());
    }
    // Another key of the same name gets another one.
    user.run(&["keys", "generate", "--bits", "2048", "--manifest", "own.yaml", "--name", "taken"])?;
    user.run(&["keys", "restore", "own.yaml", there[0], there[1]])?;
    user.run(&["keys", "generate", "--bits", "2048", "--manifest", "other.yaml", "--name", "taken"])?;
    let other = user.run(&["keys", "restore", "other.yaml", there[0], there[1]])?.stderr;
    let fingerprint = keys[0]["fingerprint"].as_str().unwrap_or_default();
    let retired = user.run(&["keys", "retire", fingerprint, there[0], there[1]])?.stderr;
    let again = user.run(&["keys", "retire", "taken", there[0], there[1]])?.stderr;
    let listed: Json =
        serde_json::from_str(&user.run(&["keys", "list", "--json", there[0], there[1]])?.stdout)?;
    let states: Vec<_> = listed.as_array().into_iter().flatten().map(|key| &key["state"]).collect();
    let is_told = other.contains("restored taken (as sealed-secrets-key")
        && retired.contains("retired sealed-secrets-key")
        && again.contains("retired taken");
    if !is_told || states.iter().filter(|state| **state == "active").count() != 1 || states.len() != 3 {
        return Err(format!("{other}{retired}{again}{states:?}").into());
    }
    Ok(())
}

fn reseal(cluster: &Cluster) -> Result<(), Failed> {
    let user = User::new(&cluster.kubeconfig())?;
    let secret = "# kept\napiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  namespace: resealed\n  labels: {app: x}\n\
                  stringData: {password: of the sea, user: selkie}\n---\nkind: ConfigMap # kept\n";
    fs::write(user.folder.path().join("secret.yaml"), secret)?;
    let template = "--template=url=https://{{ .user }}";
    user.run(&["seal", "secret.yaml", "-o", "sealed.yaml", "--no-digests", template])?;
    let before = fs::read_to_string(user.folder.path().join("sealed.yaml"))?;
    user.run(&["reseal", "--by-controller", "--no-digests", "sealed.yaml"])?;
    let after = fs::read_to_string(user.folder.path().join("sealed.yaml"))?;
    let is_value = |line: &&str| line.starts_with("    password: ") || line.starts_with("    user: ");
    let rest =
        |text: &str| text.lines().filter(|line| !is_value(line)).map(str::to_owned).collect::<Vec<_>>();
    let values = |text: &str| text.lines().filter(is_value).map(str::to_owned).collect::<Vec<_>>();
    if rest(&before) != rest(&after) || values(&after).len() != 2 {
        return Err(format!("{before}\n{after}").into());
    }
    if values(&before).iter().zip(values(&after)).any(|(old, new)| *old == new) {
        return Err("a value was not sealed again".into());
    }
    let unsealed = user.run(&["unseal", "--from-cluster", "sealed.yaml"])?.stdout;
    if unsealed.contains("password: of the sea") && unsealed.contains("url: https://selkie") {
        Ok(())
    } else {
        Err(unsealed.into())
    }
}

fn unseal(cluster: &Cluster) -> Result<(), Failed> {
    cluster.make_namespace("unsealed")?;
    let user = User::new(&cluster.kubeconfig())?;
    let cert = SealingCert::parse(user.run(&["cert"])?.stdout.as_bytes())?;
    let secret = Secret::from_json(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "unsealed", "name": "a"},
        "stringData": {"password": "of the sea"},
    }))?;
    let sealed = SealedSecret::seal(&secret, &cert, &mut rng(5))?.to_json();
    let (good, moved) = (user.folder.path().join("good.json"), user.folder.path().join("moved.json"));
    fs::write(&good, sealed.to_string())?;
    fs::write(&moved, sealed.to_string().replacen(r#""name":"a""#, r#""name":"b""#, 1))?;
    user.run(&["validate", "--ask-controller", "--from-cluster", "good.json"])?;
    let found = user.run_any(&["validate", "--ask-controller", "--from-cluster", "moved.json"])?;
    let is_found = found.stdout.contains("the controller cannot open all of it (controller)")
        && found.stdout.contains("it was sealed for the name a in the namespace unsealed");
    if !is_found || found.exit == Exit::Success {
        return Err(found.stdout.into());
    }
    let ours = user.run(&["unseal", "--from-cluster", "good.json"])?.stdout;
    let secret: Json = serde_json::from_str(&ours)?;
    cluster.apply(secret.to_string())?;
    let theirs: Json =
        serde_json::from_str(&user.run(&["unseal", "--from-cluster-secret", "good.json"])?.stdout)?;
    let is_same = |field: &str| secret[field] == theirs[field];
    if secret["stringData"]["password"] != "of the sea" || !is_same("stringData") || !is_same("metadata") {
        return Err(format!("{secret}\n{theirs}").into());
    }
    Ok(())
}

/// Somebody at work in a folder.
struct User {
    folder: tempfile::TempDir,
    config: PathBuf,
    clock: fn() -> OffsetDateTime,
}

struct Ran {
    exit: Exit,
    stdout: String,
    stderr: String,
}

impl User {
    fn new(config: &Path) -> io::Result<Self> {
        let (folder, clock) = (tempfile::tempdir()?, OffsetDateTime::now_utc);
        Ok(Self { folder, config: config.to_owned(), clock })
    }

    /// Runs a command that has to work.
    fn run(&self, arguments: &[&str]) -> Result<Ran, Failed> {
        let ran = self.run_any(arguments)?;
        if ran.exit == Exit::Success { Ok(ran) } else { Err(format!("{arguments:?}: {}", ran.stderr).into()) }
    }

    fn run_any(&self, arguments: &[&str]) -> Result<Ran, Failed> {
        let (stdout, stderr) = (Buffer::default(), Buffer::default());
        let identities = root().join("testdata/sops-cli/identities.txt");
        let path = |path: &Path| path.display().to_string();
        let variables = [
            ("KUBECONFIG", path(&self.config)),
            ("SOPS_AGE_KEY_FILE", path(&identities)),
            ("XDG_CACHE_HOME", path(&self.folder.path().join("cache"))),
        ];
        let session = Session {
            environment: variables.into_iter().collect::<Environment>(),
            directory: self.folder.path().to_owned(),
            stdin: Input::new(io::empty(), false),
            stdout: Output::new(stdout.clone(), false),
            stderr: Output::new(stderr.clone(), false),
            clock: self.clock,
            audit: "/nonexistent".into(),
        };
        let arguments: Vec<OsString> =
            std::iter::once("kubectl-seal").chain(arguments.iter().copied()).map(Into::into).collect();
        let exit = kubectl_seal::run(&session, &arguments);
        Ok(Ran { exit, stdout: stdout.text(), stderr: stderr.text() })
    }
}

/// What a stream was written.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}
