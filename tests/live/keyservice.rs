//! Real sops as the one who asks our key service, and as the one who is asked.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libtest_mimic::{Failed, Trial};
use selkie::keys::KEY_KINDS;

use crate::keyservice::{Counted, Place, Service, text};
use crate::peer::Peer;

type Test = fn(&Path) -> Result<(), Failed>;

pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Test); 7] = [
        ("their_client_uses_our_port", their_client_uses_our_port),
        ("their_client_uses_our_socket", their_client_uses_our_socket),
        ("our_client_uses_their_port", our_client_uses_their_port),
        ("our_client_uses_their_socket", our_client_uses_their_socket),
        ("several_services_are_asked", several_services_are_asked),
        ("who_is_asked_may_refuse", who_is_asked_may_refuse),
        ("keys_of_all_kinds_are_written_as_theirs", keys_of_all_kinds_are_written_as_theirs),
    ];
    let peers = [Peer::Sops311, Peer::Sops313];
    let all = peers.into_iter().flat_map(|peer| tests.map(|(name, test)| (peer, name, test)));
    all.map(|(peer, name, test)| peer.test(format!("keyservice::{name}"), move |program| test(&program)))
        .collect()
}

fn their_client_uses_our_port(sops: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let native = place.serve("kubectl-seal", &["keyservice", "--listen", "tcp://127.0.0.1:0"])?;
    round_trip(&place, sops, &native.address)?;
    let words = ["keyservice", "--verbose", "--network", "tcp", "--address", "127.0.0.1:0"];
    let face = place.serve("sops", &words)?;
    round_trip(&place, sops, &face.address)
}

fn their_client_uses_our_socket(sops: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let socket = place.work("keys.sock").display().to_string();
    let native = place.serve("kubectl-seal", &["keyservice", "--listen", &format!("unix://{socket}")])?;
    round_trip(&place, sops, &native.address)?;
    native.end()?;
    let face = place.serve("sops", &["keyservice", "--verbose", "--net=unix", "--addr", &socket])?;
    round_trip(&place, sops, &format!("unix://{socket}"))?;
    face.end()?;
    Ok(())
}

fn our_client_uses_their_port(sops: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let theirs = place.serve_at_free_port(sops, &["keyservice", "--verbose", "--addr"])?;
    round_trip(&place, "sops".as_ref(), &theirs.address)?;
    round_trip(&place, "kubectl-seal".as_ref(), &theirs.address)
}

fn our_client_uses_their_socket(sops: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let socket = place.work("theirs.sock").display().to_string();
    let _theirs = place.serve(sops, &["keyservice", "--verbose", "--net", "unix", "--addr", &socket])?;
    for address in [format!("unix://{socket}"), format!("unix:{socket}")] {
        round_trip(&place, "sops".as_ref(), &address)?;
        round_trip(&place, "kubectl-seal".as_ref(), &address)?;
    }
    Ok(())
}

/// Who has no identities encrypts, decrypts and rotates a file with the key service at an address alone.
fn round_trip(place: &Place, program: &Path, address: &str) -> Result<(), Failed> {
    let stranger = place.stranger();
    place.write("a.yaml", "a: one\n")?;
    let run = |words: &[&str]| {
        let given = ["--enable-local-keyservice=false", "--keyservice", address, "a.yaml"];
        place.succeeds(stranger.command(program).args(words).args(given))
    };
    run(&["encrypt", "-i"])?;
    assert!(place.read("a.yaml")?.contains("ENC["));
    assert_eq!(run(&["decrypt"])?, "a: one\n");
    let before = place.read("a.yaml")?;
    run(if program.ends_with("kubectl-seal") { &["rotate"] } else { &["rotate", "-i"] })?;
    assert_ne!(place.read("a.yaml")?, before);
    // What it came to is for whoever has the identities.
    assert_eq!(place.succeeds(place.command("kubectl-seal").args(["view", "a.yaml"]))?, "a: one\n");
    Ok(())
}

fn several_services_are_asked(sops: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("a.yaml", "a: one\n")?;
    place.succeeds(place.command(sops).args(["encrypt", "-i", "a.yaml"]))?;
    let with = place.serve("kubectl-seal", &["keyservice", "--listen", "unix:with.sock"])?;
    let theirs = place.serve_at_free_port(sops, &["keyservice", "--verbose", "--addr"])?;
    let without = place.stranger().serve("kubectl-seal", &["keyservice", "--listen", "unix:without.sock"])?;
    let dead = "tcp://127.0.0.1:1";
    for program in [sops, "sops".as_ref(), "kubectl-seal".as_ref()] {
        for services in [
            &[without.address.as_str(), &with.address][..],
            &[dead, &without.address, &theirs.address],
            &[&with.address, dead],
        ] {
            let stranger = place.stranger();
            let mut command = stranger.command(program);
            command.args(["decrypt", "--enable-local-keyservice=false"]);
            command.args(services.iter().flat_map(|service| ["--keyservice", service]));
            assert_eq!(place.succeeds(command.arg("a.yaml"))?, "a: one\n");
            // As one variable, beside the local keys, which are of no use.
            let mut command = stranger.command(program);
            command.args(["decrypt", "a.yaml"]).env("SOPS_KEYSERVICE", services.join(","));
            assert_eq!(place.succeeds(&mut command)?, "a: one\n");
        }
        let mut command = place.stranger().command(program);
        command.args(["decrypt", "--keyservice", &without.address, "--keyservice", dead, "a.yaml"]);
        let failed = command.output()?;
        assert_eq!(failed.status.code(), Some(128), "{}", text(&failed.stderr));
        assert!(text(&failed.stderr).contains("no identity matched"), "{}", text(&failed.stderr));
    }
    without.end()?;
    Ok(())
}

fn who_is_asked_may_refuse(sops: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    place.write("a.yaml", "a: one\n")?;
    place.succeeds(place.command(sops).args(["encrypt", "-i", "a.yaml"]))?;
    let theirs = ["keyservice", "--verbose", "--prompt", "--addr"];
    let ours = ["keyservice", "--prompt", "--listen", "unix:keys.sock"];
    let face = ["keyservice", "--verbose", "--prompt", "--net", "unix", "--addr", "face.sock"];
    let asks =
        |service: &mut Service, address: &str, program: &Path, answer: &str| -> Result<Output, Failed> {
            service.say(answer)?;
            let words = ["decrypt", "--enable-local-keyservice=false", "--keyservice", address, "a.yaml"];
            Ok(place.stranger().command(program).args(words).output()?)
        };
    for (server, words, client) in [
        (sops, &theirs[..], Path::new("kubectl-seal")),
        (sops, &theirs, "sops".as_ref()),
        ("kubectl-seal".as_ref(), &ours, sops),
        ("sops".as_ref(), &face, sops),
    ] {
        let mut service = match server == sops {
            true => place.serve_at_free_port(server, words)?,
            false => place.serve(server, words)?,
        };
        let address = match service.address.as_str() {
            "unix://face.sock" => format!("unix://{}", place.work("face.sock").display()),
            address => address.to_owned(),
        };
        let refused = asks(&mut service, &address, client, "n\n")?;
        assert_eq!(refused.status.code(), Some(128), "{}", text(&refused.stderr));
        assert!(refused.stdout.is_empty());
        // Reports break lines.
        let errors = text(&refused.stderr).replace('|', " ");
        let errors = errors.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(errors.contains("Request rejected by user"), "{errors}");
        let allowed = asks(&mut service, &address, client, "y\n")?;
        assert_eq!(text(&allowed.stdout), "a: one\n", "{}", text(&allowed.stderr));
    }
    Ok(())
}

/// What both clients send for a file with keys of all kinds is the same, byte for byte.
fn keys_of_all_kinds_are_written_as_theirs(sops: &Path) -> Result<(), Failed> {
    let place = Place::new()?;
    let created = "\"created_at\": \"2026-01-01T00:00:00Z\"";
    place.write(
        "all.json",
        &format!(
            r#"{{
	"a": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]",
	"sops": {{
		"kms": [
			{{"arn": "arn:aws:kms:us-east-1:111122223333:key/a", "role": "arn:aws:iam::111122223333:role/r",
			  "context": {{"env": "prod"}}, "aws_profile": "dev", {created}, "enc": "kms one"}},
			{{"arn": "arn:aws:kms:us-east-1:111122223333:key/b", "aws_profile": "", {created}, "enc": "kms two"}}
		],
		"gcp_kms": [{{"resource_id": "projects/p/locations/l/keyRings/r/cryptoKeys/k", {created}, "enc": "gcp"}}],
		"azure_kv": [
			{{"vault_url": "https://v.example.com", "name": "n", "version": "7", {created}, "enc": "azure"}}
		],
		"hc_vault": [
			{{"vault_address": "https://v.example.com:8200", "engine_path": "a/b", "key_name": "k", {created},
			  "enc": "vault:v1:x"}}
		],
		"hckms": [{{"key_id": "tr-west-1:abc12345-6789-0123-4567-890123456789", {created}, "enc": "huawei"}}],
		"pgp": [{{"fp": "85D77543B3D624B63CEA9E6DBC17301B491B3F21", {created}, "enc": "pgp é"}}],
		"age": [{{"recipient": "{}", "enc": "age"}}],
		"lastmodified": "2026-01-01T00:00:00Z",
		"mac": "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]",
		"version": "3.13.3"
	}}
}}
"#,
            place.recipient
        ),
    )?;
    let counted = Counted::new(1);
    let server = counted.start()?;
    let ask = |program: &Path| -> Result<BTreeSet<Vec<u8>>, Failed> {
        let wire = Wire::new(&server)?;
        let words = ["decrypt", "--enable-local-keyservice=false", "--keyservice", &wire.address, "all.json"];
        let failed = place.command(program).args(words).output()?;
        assert_eq!(failed.status.code(), Some(128), "{}", text(&failed.stderr));
        Ok(wire.messages())
    };
    let theirs = ask(sops)?;
    // sops 3.11 does not know keys of Huawei.
    let is_old = !theirs.iter().any(|message| contains(message, b"huawei"));
    assert_eq!(theirs.len(), KEY_KINDS.len() + 1 - usize::from(is_old));
    for program in ["sops", "kubectl-seal"] {
        let mut ours = ask(program.as_ref())?;
        assert_eq!(ours.len(), KEY_KINDS.len() + 1);
        ours.retain(|message| !is_old || !contains(message, b"huawei"));
        assert!(ours == theirs, "{program} writes\n{ours:?}\nwhere sops writes\n{theirs:?}");
    }
    Ok(())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What a client says to a server, listened to in between.
struct Wire {
    address: String,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Wire {
    fn new(server: &str) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("tcp://{}", listener.local_addr()?);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (server, all) = (server.trim_start_matches("tcp://").to_owned(), Arc::clone(&heard));
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { return };
                let at = {
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(Vec::new());
                    all.len() - 1
                };
                let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
                let all = Arc::clone(&all);
                let hear = move |bytes: &[u8]| {
                    all.lock().unwrap_or_else(PoisonError::into_inner)[at].extend_from_slice(bytes);
                };
                thread::spawn(move || pass_on(from, to, hear));
                thread::spawn(move || pass_on(server, client, |_| {}));
            }
        });
        Ok(Self { address, heard })
    }

    /// Returns the messages of all requests: what the frames of data hold behind the length of the message.
    fn messages(&self) -> BTreeSet<Vec<u8>> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut messages = BTreeSet::new();
        for connection in heard.iter() {
            let mut rest = connection.get(PREFACE..).unwrap_or_default();
            while let Some((head, tail)) = rest.split_at_checked(9) {
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
                let (payload, tail) = tail.split_at_checked(length).unwrap_or((tail, &[]));
                if head[3] == 0 && payload.len() > 5 {
                    messages.insert(payload[5..].to_vec());
                }
                rest = tail;
            }
        }
        messages
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, hear: impl Fn(&[u8])) {
    let mut chunk = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut chunk) {
        hear(&chunk[..length]);
        if to.write_all(&chunk[..length]).is_err() {
            return;
        }
    }
    // Whoever ended, the other one should know.
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// How many bytes a client says before its first frame.
const PREFACE: usize = 24;
