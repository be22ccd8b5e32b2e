//! Transit keys of a real OpenBao, which we and real sops wrap and unwrap with.

mod place;
mod server;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use selkie::keys::hc_vault::Client;
use selkie::keys::{KeySetup, Trust};

use crate::peer::Peer;
use place::{Place, Thief};
use server::Server;

pub use server::{end, shared};

/// A test on a server.
type Run = fn(&Server) -> Result<(), Failed>;

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
    let alone: [(&str, Run); 13] = [
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
        (
            "no_token_goes_where_what_came_with_the_file_says",
            no_token_goes_where_what_came_with_the_file_says,
        ),
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
    place.with(sops, ["-d", "a.yaml"], &second_token)?.fails(&["Failed to get the data key"])?;
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
    thread::sleep(Duration::from_secs(2));
    for face in ["kubectl-seal", "sops"] {
        for token in [token.as_str(), "s.never"] {
            let program = place.program(face);
            let output = place.with(&program, ["decrypt", "a.yaml"], &[("VAULT_TOKEN", token)])?;
            if output.stderr().contains(token) {
                return Err(output.describe());
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
    if !skipping.stderr().contains("VAULT_SKIP_VERIFY is set") {
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

fn no_token_goes_where_what_came_with_the_file_says(server: &Server) -> Result<(), Failed> {
    let place = Place::new(server)?;
    place.encrypt(server, "transit", "stolen")?;
    let thief = Thief::start()?;
    let hostile = place.read("a.yaml")?.replace(&server.address, &thief.address);
    let config = format!("creation_rules: [{{hc_vault_transit_uri: {}/v1/t/keys/k}}]", thief.address);
    let seal = place.program("kubectl-seal");
    let downloads = place.home().join("x");
    std::fs::create_dir(&downloads)?;
    std::fs::create_dir(place.home().join("../work/below"))?;
    for folder in ["../home/x", "below"] {
        let (evil, plain) = (format!("{folder}/evil.yaml"), format!("{folder}/plain.yaml"));
        place.write(&evil, &hostile)?;
        place.write(&plain, PLAIN)?;
        place.write(&format!("{folder}/.sops.yaml"), &config)?;
        for arguments in [&["decrypt", &evil][..], &["set", &evil, "a", "x"], &["encrypt", "-i", &plain]] {
            place.seal_at_home(arguments.iter().copied())?.fails(&[
                "no token was sent to",
                &thief.address,
                "names it, which may have come with the file",
                "VAULT_ADDR",
                "SOPS_HC_VAULT_ALLOWLIST",
                "`--config ",
            ])?;
        }
        place.holds(&evil, &hostile)?;
        place.holds(&plain, PLAIN)?;
    }
    if !thief.requests().is_empty() {
        return Err(format!("the thief was asked: {:?}", thief.requests()).into());
    }
    // Whoever says that it is theirs means it, and what encrypts follows.
    let config = "below/.sops.yaml";
    place.seal(["decrypt", "--config", config, "below/evil.yaml"])?.fails(&["is not JSON"])?;
    place.with(&seal, ["decrypt", "below/evil.yaml"], &[("SOPS_CONFIG", config)])?.fails(&["is not JSON"])?;
    let rule = format!("creation_rules: [{{hc_vault_transit_uri: {}}}]", server.key("transit", "stolen"));
    place.write(config, &rule)?;
    let (uri, file) = (server.address.as_str(), "below/plain.yaml");
    place.seal(["encrypt", "-i", file])?.fails(&["no token was sent to", uri])?;
    place.seal(["encrypt", "-i", "--config", config, file])?.succeeds()?;
    place
        .with(&seal, ["decrypt", file], &[("VAULT_ADDR", ""), ("SOPS_HC_VAULT_ALLOWLIST", uri)])?
        .prints(PLAIN)
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
    if !thief.requests().is_empty() {
        return Err(format!("somebody was asked: {:?}", thief.requests()).into());
    }
    // Another key may tell as much without a server.
    let uri = server.key("transit", "quiet");
    place.write("b.yaml", PLAIN)?;
    place.seal(["encrypt", "-i", "--hc-vault-transit", &uri, "--age", RECIPIENT, "b.yaml"])?.succeeds()?;
    for (key, is_readable) in [(IDENTITY, true), ("", false)] {
        let status = place.with(&seal, ["status", "b.yaml"], &[("SOPS_AGE_KEY", key)])?;
        if status.stdout().contains("readable") != is_readable {
            return Err(status.describe());
        }
    }
    Ok(())
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

const PLAIN: &str = "a: b\nc:\n    - 1\n    - two\n";

/// A key of `testdata/age`.
const RECIPIENT: &str = "age1ufvgdfghrnn5n006cvmcdjllacq2h720yachf548knqz3hv2fysqlkw6ut";
const IDENTITY: &str = "AGE-SECRET-KEY-1MJVYRUDJS2R85WX77VNRJM6S9WJD84LXTVM9ZWKTSSYKVVDAC0LQVZZL40";
