//! Transit keys of a real OpenBao, which we and real sops wrap and unwrap with.

mod server;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use libtest_mimic::{Failed, Trial};
use selkie::keys::hc_vault::Client;
use selkie::keys::{KeySetup, Trust};
use tempfile::TempDir;

use crate::peer::Peer;
use server::{Server, shared};

pub use server::end;

/// Returns the tests that need OpenBao.
pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for sops in [Peer::Sops311, Peer::Sops313] {
        let with_sops = |name: &str, run: fn(&Server, &Path) -> Result<(), Failed>| {
            let (path, version) = (sops.path(), if sops == Peer::Sops311 { "3_11" } else { "3_13" });
            let is_absent = path.is_none() || Peer::Openbao.path().is_none();
            let run = move || run(shared()?, &path.ok_or("there is no sops")?);
            Trial::test(format!("live::openbao::sops_{version}::{name}"), run).with_ignored_flag(is_absent)
        };
        tests.push(with_sops("and_we_open_files_of_each_other", opens_files_of_each_other));
        tests.push(with_sops("and_we_share_key_groups", shares_key_groups));
        tests.push(with_sops("opens_what_our_sops_changed", opens_what_our_sops_changed));
    }
    let alone: [(&str, fn(&Server) -> Result<(), Failed>); 12] = [
        ("a_token_needs_a_policy", a_token_needs_a_policy),
        ("a_token_expires", a_token_expires),
        ("a_token_comes_from_its_file", a_token_comes_from_its_file),
        ("a_key_is_rotated", a_key_is_rotated),
        ("a_key_has_a_type", a_key_has_a_type),
        ("a_namespace_has_keys_of_its_own", a_namespace_has_keys_of_its_own),
        ("a_proxy_adds_the_token", a_proxy_adds_the_token),
        ("a_certificate_is_checked", a_certificate_is_checked),
        ("a_changed_file_does_not_open", a_changed_file_does_not_open),
        ("no_token_goes_where_the_file_alone_says", no_token_goes_where_the_file_alone_says),
        ("nothing_is_asked_to_tell_what_is_there", nothing_is_asked_to_tell_what_is_there),
        ("a_store_is_read_and_written", a_store_is_read_and_written),
    ];
    tests.extend(alone.into_iter().map(|(name, run)| Peer::Openbao.test(name, move |_| run(shared()?))));
    tests
}

fn opens_files_of_each_other(server: &Server, sops: &Path) -> Result<(), Failed> {
    for engine in ["transit", "a/b/c"] {
        let place = Place::new(server)?;
        let uri = server.key(engine, "shared");
        place.write("ours.yaml", PLAIN)?;
        place.seal(["encrypt", "-i", "--hc-vault-transit", &uri, "ours.yaml"])?.succeeds()?;
        place.run(sops, ["-d", "ours.yaml"])?.prints(PLAIN)?;
        place.write("theirs.yaml", PLAIN)?;
        place.run(sops, ["-e", "-i", "--hc-vault-transit", &uri, "theirs.yaml"])?.succeeds()?;
        place.seal_at_home(["decrypt", "theirs.yaml"])?.prints(PLAIN)?;
        place.sops(["decrypt", "theirs.yaml"])?.prints(PLAIN)?;
        // What we encrypt with the face of sops.
        place.write("face.json", "{\n\t\"a\": 1\n}\n")?;
        place.sops(["encrypt", "-i", "--hc-vault-transit", &uri, "face.json"])?.succeeds()?;
        place.run(sops, ["-d", "face.json"])?.prints("{\n\t\"a\": 1\n}\n")?;
    }
    Ok(())
}

fn shares_key_groups(server: &Server, sops: &Path) -> Result<(), Failed> {
    let place = Place::new(server)?;
    let config = format!(
        "creation_rules:\n  - shamir_threshold: 2\n    key_groups:\n      - hc_vault: [{}]\n      - age: [{}]\n      \
         - hc_vault: [{}]\n",
        server.key("transit", "one"),
        RECIPIENT,
        server.key("a/b/c", "two"),
    );
    place.write(".sops.yaml", &config)?;
    let identity = [("SOPS_AGE_KEY", IDENTITY)];
    place.write("ours.yaml", PLAIN)?;
    place.seal(["encrypt", "-i", "ours.yaml"])?.succeeds()?;
    place.write("theirs.yaml", PLAIN)?;
    place.run(sops, ["-e", "-i", "theirs.yaml"])?.succeeds()?;
    // Both groups of OpenBao, and then one of them and age.
    place.run(sops, ["-d", "ours.yaml"])?.prints(PLAIN)?;
    place.seal(["decrypt", "theirs.yaml"])?.prints(PLAIN)?;
    let one = server.token("one", r#"path "transit/decrypt/one" { capabilities = ["update"] }"#, &[])?;
    let limited = [("VAULT_TOKEN", one.as_str())];
    place.with(&place.program("kubectl-seal"), ["decrypt", "theirs.yaml"], &limited)?.fails(&[
        "1 of the 2 key groups that are needed could be used",
        "group 3: ",
        "a/b/c/decrypt/two",
        "there are no identities",
    ])?;
    let both = [limited[0], identity[0]];
    place.with(&place.program("kubectl-seal"), ["decrypt", "theirs.yaml"], &both)?.prints(PLAIN)?;
    place.with(&place.program("sops"), ["decrypt", "theirs.yaml"], &both)?.prints(PLAIN)?;
    place.with(sops, ["-d", "ours.yaml"], &both)?.prints(PLAIN)
}

fn opens_what_our_sops_changed(server: &Server, sops: &Path) -> Result<(), Failed> {
    let place = Place::new(server)?;
    let (first, second) = (server.key("transit", "first"), server.key("a/b/c", "second"));
    let only_second =
        server.token("second", r#"path "a/b/c/+/second" { capabilities = ["create", "update"] }"#, &[])?;
    let second_token = [("VAULT_TOKEN", only_second.as_str())];
    let opens = |file: &str| {
        place.run(sops, ["-d", file])?.prints(PLAIN)?;
        place.with(sops, ["-d", file], &second_token)?.prints(PLAIN)
    };
    place.write("a.yaml", PLAIN)?;
    place.sops(["encrypt", "-i", "--hc-vault-transit", &first, "a.yaml"])?.succeeds()?;
    place.with(sops, ["-d", "a.yaml"], &second_token)?.fails(&["a.yaml"]).or_else(|_| Ok::<_, Failed>(()))?;
    place.sops(["rotate", "-i", "--add-hc-vault-transit", &second, "a.yaml"])?.succeeds()?;
    opens("a.yaml")?;
    // The second one is taken out again, and comes back with the configuration.
    place.sops(["rotate", "-i", "--rm-hc-vault-transit", &second, "a.yaml"])?.succeeds()?;
    place
        .write(".sops.yaml", &format!("creation_rules: [{{hc_vault_transit_uri: '{first},{second}'}}]\n"))?;
    place.sops(["updatekeys", "-y", "a.yaml"])?.succeeds()?;
    opens("a.yaml")?;
    place.sops(["groups", "add", "-i", "-f", "a.yaml", "--age", RECIPIENT])?.succeeds()?;
    place.with(sops, ["-d", "a.yaml"], &[("SOPS_AGE_KEY", IDENTITY)])?.prints(PLAIN)?;
    // And with our own commands.
    place.write("b.yaml", PLAIN)?;
    place.seal(["encrypt", "-i", "--hc-vault-transit", &first, "b.yaml"])?.succeeds()?;
    place.seal(["rotate", "--add-hc-vault-transit", &second, "b.yaml"])?.succeeds()?;
    opens("b.yaml")
}

fn a_token_needs_a_policy(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    let uri = server.key("transit", "narrow");
    place.write("a.yaml", PLAIN)?;
    place.seal(["encrypt", "-i", "--hc-vault-transit", &uri, "a.yaml"])?.succeeds()?;
    let policy = r#"path "transit/decrypt/narrow" { capabilities = ["update"] }"#;
    let token = server.token("narrow", policy, &[])?;
    let narrow = [("VAULT_TOKEN", token.as_str())];
    let seal = place.program("kubectl-seal");
    place.with(&seal, ["decrypt", "a.yaml"], &narrow)?.prints(PLAIN)?;
    place.write("b.yaml", PLAIN)?;
    place.with(&seal, ["encrypt", "-i", "--hc-vault-transit", &uri, "b.yaml"], &narrow)?.fails(&[
        "does not permit this token transit/encrypt/narrow: permission denied",
        r#"path "transit/encrypt/narrow" { capabilities = ["update"] }"#,
    ])?;
    place.holds("b.yaml", PLAIN)?;
    let other =
        server.token("other", r#"path "transit/decrypt/other" { capabilities = ["update"] }"#, &[])?;
    place
        .with(&seal, ["decrypt", "a.yaml"], &[("VAULT_TOKEN", &other)])?
        .fails(&["transit/keys/narrow: ", r#"path "transit/decrypt/narrow" { capabilities = ["update"] }"#])
}

fn a_token_expires(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "expiring")?;
    let policy = r#"path "transit/decrypt/expiring" { capabilities = ["update"] }"#;
    let token = server.token("expiring", policy, &["-ttl=1s"])?;
    thread::sleep(std::time::Duration::from_secs(2));
    for face in ["kubectl-seal", "sops"] {
        for token in [token.as_str(), "s.never"] {
            let program = place.program(face);
            let output = place.with(&program, ["decrypt", "a.yaml"], &[("VAULT_TOKEN", token)])?;
            let all = String::from_utf8_lossy(&output.0.stderr).into_owned();
            if all.contains(token) {
                return Err(format!("the token is told: {all}").into());
            }
            // sops breaks lines, and we as it does.
            output.fails(if face == "sops" {
                &["does not take the token"]
            } else {
                &["it is not valid, or has expired", "vault login"]
            })?;
        }
    }
    let none = place.with(&place.program("kubectl-seal"), ["decrypt", "a.yaml"], &[("VAULT_TOKEN", "")])?;
    none.fails(&["wants a token, and there is none", "vault login"])
}

fn a_token_comes_from_its_file(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "file")?;
    fs::write(place.home().join(".vault-token"), "root\n")?;
    let seal = place.program("kubectl-seal");
    place.with(&seal, ["decrypt", "a.yaml"], &[("VAULT_TOKEN", "")])?.prints(PLAIN)?;
    // OpenBao's own variables do as well.
    fs::write(place.home().join(".vault-token"), "wrong")?;
    let bao = [
        ("VAULT_TOKEN", ""),
        ("VAULT_ADDR", ""),
        ("VAULT_CACERT", ""),
        ("BAO_TOKEN", "root"),
        ("BAO_ADDR", server.address.as_str()),
        ("BAO_CACERT", &server.authority.display().to_string()),
    ];
    place.with(&seal, ["decrypt", "a.yaml"], &bao)?.prints(PLAIN)
}

fn a_key_is_rotated(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "turning")?;
    server.bao(["write", "-f", "transit/keys/turning/rotate"])?;
    place.seal_at_home(["decrypt", "a.yaml"])?.prints(PLAIN)?;
    place.seal_at_home(["rotate", "a.yaml"])?.succeeds()?;
    let text = place.read("a.yaml")?;
    if !text.contains("vault:v2:") {
        return Err("a new data key is not wrapped with the new version".into());
    }
    place.seal_at_home(["decrypt", "a.yaml"])?.prints(PLAIN)
}

fn a_key_has_a_type(server: &Server) -> Result<(), Failed> {
    for kind in ["aes128-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "rsa-2048"] {
        server.bao(["write", "-f", &format!("transit/keys/{kind}"), &format!("type={kind}")])?;
        let place = Place::new(server)?;
        place.encrypt(server, "transit", kind)?;
        place.seal_at_home(["decrypt", "a.yaml"])?.prints(PLAIN)?;
    }
    server.bao(["write", "-f", "transit/keys/signing", "type=ed25519"])?;
    let place = Place::new(server)?;
    place.write("a.yaml", PLAIN)?;
    let uri = server.key("transit", "signing");
    place
        .seal(["encrypt", "-i", "--hc-vault-transit", &uri, "a.yaml"])?
        .fails(&["not supported for key type"])?;
    place.holds("a.yaml", PLAIN)?;
    let nowhere = server.key("nowhere", "k");
    place
        .seal(["encrypt", "-i", "--hc-vault-transit", &nowhere, "a.yaml"])?
        .fails(&["has nothing at nowhere/encrypt/k", "vault secrets list"])
}

fn a_namespace_has_keys_of_its_own(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    let seal = place.program("kubectl-seal");
    let team = [("VAULT_NAMESPACE", "team")];
    let uri = server.key("transit", "in-team");
    place.write("a.yaml", PLAIN)?;
    place.with(&seal, ["encrypt", "-i", "--hc-vault-transit", &uri, "a.yaml"], &team)?.succeeds()?;
    place.with(&seal, ["decrypt", "a.yaml"], &team)?.prints(PLAIN)?;
    place.with(&place.program("sops"), ["decrypt", "a.yaml"], &team)?.prints(PLAIN)?;
    place.seal_at_home(["decrypt", "a.yaml"])?.fails(&["has no such key: encryption key not found"])?;
    let other = [("VAULT_NAMESPACE", "nobody")];
    place.with(&seal, ["decrypt", "a.yaml"], &other)?.fails(&["namespace not found", "VAULT_NAMESPACE"])
}

fn a_proxy_adds_the_token(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "by-proxy")?;
    let seal = place.program("kubectl-seal");
    // Whatever the file says, it is the proxy that is asked: the address need not be the user's own.
    for agent in [&server.proxy, &server.socket] {
        let variables = [("VAULT_AGENT_ADDR", agent.as_str()), ("VAULT_TOKEN", ""), ("VAULT_ADDR", "")];
        for face in ["kubectl-seal", "sops"] {
            place.with(&place.program(face), ["decrypt", "a.yaml"], &variables)?.prints(PLAIN)?;
        }
    }
    // As an address of its own, without TLS and without a token.
    let variables = [("VAULT_TOKEN", ""), ("VAULT_ADDR", server.proxy.as_str())];
    place.write("b.yaml", PLAIN)?;
    let uri = format!("{}/v1/transit/keys/by-proxy", server.proxy);
    place.with(&seal, ["encrypt", "-i", "--hc-vault-transit", &uri, "b.yaml"], &variables)?.succeeds()?;
    place.with(&seal, ["decrypt", "b.yaml"], &variables)?.prints(PLAIN)?;
    let nobody = [("VAULT_AGENT_ADDR", "http://127.0.0.1:1")];
    place.with(&seal, ["decrypt", "a.yaml"], &nobody)?.fails(&["http://127.0.0.1:1", "vault status"])
}

fn a_certificate_is_checked(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "secured")?;
    let seal = place.program("kubectl-seal");
    let without = ("VAULT_CACERT", "");
    place.with(&seal, ["decrypt", "a.yaml"], &[without])?.fails(&["certificate", "VAULT_CACERT"])?;
    let text = fs::read_to_string(&server.authority)?;
    place.with(&seal, ["decrypt", "a.yaml"], &[without, ("VAULT_CACERT_BYTES", &text)])?.prints(PLAIN)?;
    let folder = place.home().join("authorities");
    fs::create_dir(&folder)?;
    fs::copy(&server.authority, folder.join("ca.pem"))?;
    let folder = folder.display().to_string();
    place.with(&seal, ["decrypt", "a.yaml"], &[without, ("VAULT_CAPATH", &folder)])?.prints(PLAIN)?;
    let skipping = place.with(&seal, ["decrypt", "a.yaml"], &[without, ("VAULT_SKIP_VERIFY", "true")])?;
    if !String::from_utf8_lossy(&skipping.0.stderr).contains("VAULT_SKIP_VERIFY is set") {
        return Err("nobody is warned".into());
    }
    skipping.prints(PLAIN)?;
    place.with(&seal, ["decrypt", "a.yaml"], &[("VAULT_TLS_SERVER_NAME", "localhost")])?.prints(PLAIN)?;
    let wrong = [("VAULT_TLS_SERVER_NAME", "nobody.example")];
    place.with(&seal, ["decrypt", "a.yaml"], &wrong)?.fails(&["certificate", "VAULT_TLS_SERVER_NAME"])
}

fn a_changed_file_does_not_open(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "changed")?;
    let text = place.read("a.yaml")?;
    let (front, rest) = text.split_once("vault:v1:").ok_or("nothing is wrapped")?;
    let other = if rest.starts_with('A') { "B" } else { "A" };
    for (wrapped, what) in [
        (format!("vault:v1:{other}{}", &rest[1..]), "message authentication failed"),
        (format!("vault:v9:{rest}"), "version is too new"),
        (format!("nonsense{rest}"), "no prefix"),
    ] {
        place.write("a.yaml", &format!("{front}{wrapped}"))?;
        place.seal_at_home(["decrypt", "a.yaml"])?.fails(&["cannot decrypt what the file holds", what])?;
    }
    place.write("a.yaml", &text.replace("key_name: changed", "key_name: missing"))?;
    place.seal_at_home(["decrypt", "a.yaml"])?.fails(&["has no such key", "vault list transit/keys"])?;
    place.write("a.yaml", &text.replace("key_name: changed", "key_name: ../../sys/seal"))?;
    place.seal_at_home(["decrypt", "a.yaml"])?.fails(&["the name of the key is not one of a transit key"])
}

fn no_token_goes_where_the_file_alone_says(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "stolen")?;
    let thief = Thief::start()?;
    let hostile = place.read("a.yaml")?.replace(&server.address, &thief.address);
    place.write("evil.yaml", &hostile)?;
    let seal = place.program("kubectl-seal");
    let before = place.read("evil.yaml")?;
    for arguments in [
        &["decrypt", "evil.yaml"][..],
        &["view", "evil.yaml"],
        &["rotate", "evil.yaml"],
        &["set", "evil.yaml", "a", "x"],
        &["sops", "--help"],
    ] {
        let output = place.seal_at_home(arguments.iter().copied())?;
        if arguments[0] != "sops" {
            output.fails(&["no token was sent to", &thief.address, "SOPS_HC_VAULT_ALLOWLIST"])?;
        }
    }
    let listed = [("SOPS_HC_VAULT_ALLOWLIST", "https://other,none")];
    place.with(&seal, ["decrypt", "evil.yaml"], &listed)?.fails(&["no token was sent to"])?;
    for list in ["none", "https://other"] {
        let variables = [("SOPS_HC_VAULT_ALLOWLIST", list)];
        place
            .with(&place.program("sops"), ["decrypt", "evil.yaml"], &variables)?
            .fails(&["no token was sent"])?;
    }
    place.holds("evil.yaml", &before)?;
    if !thief.requests().is_empty() {
        return Err(format!("the thief was asked: {:?}", thief.requests()).into());
    }
    // As in sops, its own face asks whomever the file names, and says so.
    place.sops(["decrypt", "evil.yaml"])?.fails(&["the token for Vault goes to", &thief.address])?;
    // Whoever names the address means it.
    place
        .with(&seal, ["decrypt", "evil.yaml"], &[("VAULT_ADDR", &thief.address)])?
        .fails(&["is not JSON"])?;
    place.write(
        ".sops.yaml",
        &format!("creation_rules: [{{hc_vault_transit_uri: {}/v1/t/keys/k}}]", thief.address),
    )?;
    place.seal(["decrypt", "evil.yaml"])?.fails(&["is not JSON"])?;
    if thief.requests().len() != 3 {
        return Err(format!("the thief was asked {} times", thief.requests().len()).into());
    }
    Ok(())
}

fn nothing_is_asked_to_tell_what_is_there(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "quiet")?;
    let thief = Thief::start()?;
    place.write("a.yaml", &place.read("a.yaml")?.replace(&server.address, &thief.address))?;
    let seal = place.program("kubectl-seal");
    let variables = [("VAULT_ADDR", thief.address.as_str()), ("SOPS_HC_VAULT_ALLOWLIST", "all")];
    for arguments in [["explain", "a.yaml"], ["status", "."]] {
        // What they find is another matter.
        place.with(&seal, arguments, &variables)?;
    }
    place.with(&place.program("sops"), ["filestatus", "a.yaml"], &variables)?.succeeds()?;
    if thief.requests().is_empty() { Ok(()) } else { Err("somebody was asked".into()) }
}

fn a_store_is_read_and_written(server: &Server) -> Result<(), Failed> {
    let (address, authority) = (server.address.clone(), server.authority.display().to_string());
    let mut setup = KeySetup::new(move |name| match name {
        "VAULT_TOKEN" => Some("root".to_owned()),
        "VAULT_ADDR" => Some(address.clone()),
        "VAULT_CACERT" => Some(authority.clone()),
        _ => None,
    });
    setup.trust = Trust::Listed(Vec::new());
    let (client, address) = (Client::new(&setup), server.address.as_str());
    for (path, body, pointer) in [
        ("kv1/app/db", r#"{"password":"x"}"#, "/data/password"),
        ("kv2/data/app/db", r#"{"data":{"password":"x"}}"#, "/data/data/password"),
    ] {
        let read = || pollster::block_on(client.read(address, path));
        if read()?.is_some() {
            return Err(format!("there is something at {path}").into());
        }
        pollster::block_on(client.write(address, path, body.as_bytes().into()))?;
        let json = read()?.ok_or("it was written")?.json()?;
        if json.pointer(pointer).and_then(|value| value.as_str()) != Some("x") {
            return Err(format!("{path}: {json}").into());
        }
        pollster::block_on(client.delete(address, path))?;
        if read()?.is_some() {
            return Err(format!("there is something at {path} yet").into());
        }
    }
    match pollster::block_on(client.read(address, "nowhere/x")) {
        Err(error) if error.to_string().contains("has nothing at nowhere/x") => Ok(()),
        other => Err(format!("{:?}", other.map(|answer| answer.is_some())).into()),
    }
}

/// Folders for a test, and the programs in them.
struct Place {
    folder: TempDir,
    address: String,
    authority: PathBuf,
}

/// How a program ended.
struct Ended(Output);

impl Place {
    fn new(server: &Server) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        for name in ["work", "home", "bin"] {
            fs::create_dir(folder.path().join(name))?;
        }
        for name in ["kubectl-seal", "sops"] {
            symlink(env::current_exe()?, folder.path().join("bin").join(name))?;
        }
        Ok(Self { folder, address: server.address.clone(), authority: server.authority.clone() })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.folder.path().join("bin").join(name)
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Encrypts a file for a key of the server.
    fn encrypt(&self, server: &Server, engine: &str, name: &str) -> Result<(), Failed> {
        self.write("a.yaml", PLAIN)?;
        self.seal(["encrypt", "-i", "--hc-vault-transit", &server.key(engine, name), "a.yaml"])?.succeeds()
    }

    /// Runs our command; nothing but its arguments and configurations names the server.
    fn seal<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ended, Failed> {
        self.with(&self.program("kubectl-seal"), arguments, &[("VAULT_ADDR", "")])
    }

    /// Runs our command; the server is the user's own.
    fn seal_at_home<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ended, Failed> {
        self.run(&self.program("kubectl-seal"), arguments)
    }

    /// Runs our sops.
    fn sops<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ended, Failed> {
        self.run(&self.program("sops"), arguments)
    }

    fn run<'a>(&self, program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Result<Ended, Failed> {
        self.with(program, arguments, &[])
    }

    /// Runs a program as an administrator, with other variables.
    fn with<'a>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
        variables: &[(&str, &str)],
    ) -> Result<Ended, Failed> {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home()).env("SOPS_DISABLE_VERSION_CHECK", "true");
        command
            .env("VAULT_TOKEN", "root")
            .env("VAULT_CACERT", &self.authority)
            .env("VAULT_ADDR", &self.address);
        command.envs(variables.iter().copied()).current_dir(self.folder.path().join("work"));
        Ok(Ended(command.args(arguments).output()?))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failed> {
        Ok(fs::write(self.folder.path().join("work").join(name), text)?)
    }

    fn read(&self, name: &str) -> Result<String, Failed> {
        Ok(fs::read_to_string(self.folder.path().join("work").join(name))?)
    }

    fn holds(&self, name: &str, text: &str) -> Result<(), Failed> {
        if self.read(name)? == text { Ok(()) } else { Err(format!("{name} was changed").into()) }
    }
}

impl Ended {
    fn succeeds(&self) -> Result<(), Failed> {
        if self.0.status.success() { Ok(()) } else { Err(self.describe()) }
    }

    fn prints(&self, text: &str) -> Result<(), Failed> {
        let is_printed = self.0.status.success() && self.0.stdout == text.as_bytes();
        if is_printed { Ok(()) } else { Err(self.describe()) }
    }

    /// Makes sure that it failed, and said all this.
    fn fails(&self, texts: &[&str]) -> Result<(), Failed> {
        let said = String::from_utf8_lossy(&self.0.stderr);
        let is_as_expected = !self.0.status.success() && texts.iter().all(|text| said.contains(text));
        if is_as_expected {
            Ok(())
        } else {
            Err(format!("{texts:?}: {}", self.describe().message().unwrap_or("")).into())
        }
    }

    fn describe(&self) -> Failed {
        let (stdout, stderr) = (&self.0.stdout, &self.0.stderr);
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        format!("{}\n--- stdout\n{}\n--- stderr\n{}", self.0.status, text(stdout), text(stderr)).into()
    }
}

impl Server {
    /// Returns the URI of a key.
    fn key(&self, engine: &str, name: &str) -> String {
        format!("{}/v1/{engine}/keys/{name}", self.address)
    }
}

/// A server that writes down what it is sent.
struct Thief {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Thief {
    fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).unwrap_or_default();
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                log.lock().expect("no panic").push(text);
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nthanks");
            }
        });
        Ok(Self { address, requests })
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }
}

const PLAIN: &str = "a: b\nc:\n    - 1\n    - two\n";

/// A key of `testdata/age`.
const RECIPIENT: &str = "age1ufvgdfghrnn5n006cvmcdjllacq2h720yachf548knqz3hv2fysqlkw6ut";
const IDENTITY: &str = "AGE-SECRET-KEY-1MJVYRUDJS2R85WX77VNRJM6S9WJD84LXTVM9ZWKTSSYKVVDAC0LQVZZL40";
