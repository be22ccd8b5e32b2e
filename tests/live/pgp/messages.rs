//! Messages of gpg in all the forms that it writes, opened out of exported files; and ours, opened by gpg.

use std::process::Stdio;

use libtest_mimic::{Failed, Trial};
use selkie::keys::pgp::{self, Gpg, PgpKeys, PgpService};
use selkie::keys::{Cause, Effort, KeyError, KeyService, MasterKey};
use selkie::secret::SecretBytes;

use super::home::{Home, Key};
use super::test;
use crate::envelope::{DATA_KEY, NOW};
use crate::golden::same_text;
use crate::peer::piped;

pub fn tests() -> Vec<Trial> {
    vec![
        test("messages_of_gpg_open_without_it", messages_of_gpg),
        test("hidden_recipients_are_found", hidden_recipients),
        test("a_passphrase_opens_exported_keys", passphrases),
        test("only_valid_keys_are_encrypted_to", only_valid_keys),
        test("subkeys_alone_open_messages", subkeys_alone),
        test("a_changed_message_is_refused", changed_messages),
    ]
}

fn messages_of_gpg(home: &Home) -> Result<(), Failed> {
    let (rsa, curve) = (home.generate("rsa2048", "rsa")?, home.generate("ed25519", "curve")?);
    let stranger = home.generate("ed25519", "stranger")?;
    let service = PgpService::new().with_keys(exported(home, &[&rsa, &curve], None)?);
    for key in [&rsa, &curve] {
        let to_key = ["-r", &key.fingerprint];
        for options in [
            &[][..],
            &["--compress-algo", "none"],
            &["--compress-algo", "zip"],
            &["--compress-algo", "zlib"],
            &["--compress-algo", "bzip2"],
            &["--cipher-algo", "AES"],
            &["--cipher-algo", "TWOFISH"],
            &["--rfc4880", "--cipher-algo", "3DES"],
            &["--hidden-recipient", &stranger.fingerprint],
            &["-r", &stranger.fingerprint],
            &["--no-emit-version", "--comment", "someone's: key"],
        ] {
            let message = home.encrypt(&[&to_key, options].concat(), &DATA_KEY)?;
            let message = master_key(&key.fingerprint, &message)?;
            let opened = unwrap(&service, &message).map_err(|error| format!("{options:?}: {error}"))?;
            same_text("the data key", opened.expose_secret(), &DATA_KEY)?;
            if service.effort(&message) != Effort::Free {
                return Err(format!("{options:?}: it is not seen to be for the key").into());
            }
        }
    }
    let message = home.encrypt(&["-r", &stranger.fingerprint], &DATA_KEY)?;
    match unwrap(&service, &master_key(&rsa.fingerprint, &message)?) {
        Err(KeyError::Service(error)) if error.cause == Cause::Credentials => Ok(()),
        other => Err(format!("the message of a stranger: {:?}", other.map(|_| ())).into()),
    }
}

fn hidden_recipients(home: &Home) -> Result<(), Failed> {
    let (rsa, curve) = (home.generate("rsa2048", "rsa")?, home.generate("ed25519", "curve")?);
    let by_gpg = || Gpg::new().with_variable("GNUPGHOME", &home.gnupg().to_string_lossy());
    for (key, other) in [(&rsa, &curve), (&curve, &rsa)] {
        let hidden = home.encrypt(&["-R", &key.fingerprint], &DATA_KEY)?;
        let hidden = master_key(&key.fingerprint, &hidden)?;
        for keys in [exported(home, &[key], None)?, exported(home, &[other, key], None)?] {
            let service = PgpService::new().with_keys(keys);
            same_text("the data key", unwrap(&service, &hidden)?.expose_secret(), &DATA_KEY)?;
        }
        // With the wrong key at hand, gpg is asked.
        let service = PgpService::new().with_keys(exported(home, &[other], None)?).with_gpg(by_gpg());
        if service.effort(&hidden) != Effort::Person {
            return Err("a hidden recipient may be one of gpg".into());
        }
        same_text("the data key", unwrap(&service, &hidden)?.expose_secret(), &DATA_KEY)?;
    }
    Ok(())
}

fn passphrases(home: &Home) -> Result<(), Failed> {
    for (kind, name) in [("rsa2048", "rsa"), ("ed25519", "curve")] {
        let key = home.generate_with(kind, name, "correct horse", "never")?;
        let message = master_key(&key.fingerprint, &home.encrypt(&["-r", &key.fingerprint], &DATA_KEY)?)?;
        let file = export_with_passphrase(home, &key)?;
        let mut keys = PgpKeys::new();
        keys.add(&file, Some(&SecretBytes::from("correct horse")))?;
        let service = PgpService::new().with_keys(keys);
        same_text("the data key", unwrap(&service, &message)?.expose_secret(), &DATA_KEY)?;
        for (passphrase, expected) in [
            (None, "is protected by a passphrase, which is not given"),
            (Some(SecretBytes::from("wrong")), "the passphrase that is given is not that of"),
        ] {
            let mut keys = PgpKeys::new();
            let error = keys.add(&file, passphrase.as_ref()).err().ok_or("the key stays locked")?;
            if !error.to_string().contains(expected) || !error.to_string().contains(&key.subkey) {
                return Err(format!("{error}").into());
            }
            let service = PgpService::new().with_keys(keys);
            if unwrap(&service, &message).is_ok() {
                return Err("a locked key opens nothing".into());
            }
            // The public part is there nevertheless.
            wrap(&service, &message)?;
        }
    }
    Ok(())
}

fn only_valid_keys(home: &Home) -> Result<(), Failed> {
    // Older than its second subkey by more than a second.
    let key = home.generate_old("ed25519", "key")?;
    let newer = newer_subkey(home, &key)?;
    // The newest subkey encrypts, unless another one is named.
    for (name, reader) in [
        (key.fingerprint.clone(), &newer),
        (key.subkey.clone(), &newer),
        (key.fingerprint[24..].to_owned(), &newer),
        (format!("{}!", key.subkey), &key.subkey),
        (format!("{newer}!"), &newer),
    ] {
        let service = PgpService::new().with_keys(exported(home, &[&key], None)?);
        let by_gpg = Gpg::new().with_variable("GNUPGHOME", &home.gnupg().to_string_lossy());
        for service in [service, PgpService::new().with_gpg(by_gpg)] {
            let wrapped = wrap(&service, &master_key(&name, "")?)?;
            let listed = piped(home.gpg(["--list-packets"]).stdin(Stdio::piped()), wrapped.as_bytes())?;
            let listed = String::from_utf8_lossy(&listed).to_uppercase();
            if !listed.contains(&format!("KEYID {}", &reader[24..])) {
                return Err(format!("{name}: not for {reader}: {listed}").into());
            }
        }
    }
    let refused =
        |service: &PgpService, name: &str, expected: &str| match wrap(service, &master_key(name, "")?) {
            Err(KeyError::Service(error)) if error.cause == Cause::Key && error.detail.contains(expected) => {
                Ok(())
            }
            other => Err(Failed::from(format!("{name}: {expected}: {other:?}"))),
        };
    let by_gpg = Gpg::new().with_variable("GNUPGHOME", &home.gnupg().to_string_lossy());
    let by_gpg = PgpService::new().with_gpg(by_gpg);
    // One that only signs.
    let exact = format!("{}!", key.fingerprint);
    let natively = PgpService::new().with_keys(exported(home, &[&key], None)?);
    refused(&natively, &exact, "no part of the key")?;
    refused(&by_gpg, &exact, "Unusable public key")?;
    // An expired one: by a clock that is ahead.
    let expiring = home.generate_with("ed25519", "expiring", "", "1d")?;
    let later = || std::time::SystemTime::now() + std::time::Duration::from_secs(3 * 86_400);
    let natively = PgpService::new().with_keys(exported(home, &[&expiring], None)?.with_clock(later));
    refused(&natively, &expiring.fingerprint, "has expired")?;
    // A revoked one; the file from before may be there, too.
    let before = home.export("--export", &key, "before.asc")?;
    let certificate = format!("g/openpgp-revocs.d/{}.rev", key.fingerprint);
    let certificate = std::fs::read_to_string(home.path(&certificate))?.replace(":-----BEGIN", "-----BEGIN");
    home.write("revocation.asc", certificate)?;
    crate::peer::output(&mut home.gpg(["--batch", "--import", "revocation.asc"]))?;
    let mut keys = exported(home, &[&key], None)?;
    keys.add(&std::fs::read(before)?.into(), None)?;
    refused(&PgpService::new().with_keys(keys), &key.fingerprint, "is revoked")?;
    refused(&by_gpg, &key.fingerprint, "Unusable public key")
}

/// A file from `--export-secret-subkeys` has no secret of the primary key.
fn subkeys_alone(home: &Home) -> Result<(), Failed> {
    let (rsa, curve) = (home.generate("rsa2048", "rsa")?, home.generate("ed25519", "curve")?);
    for key in [rsa, curve] {
        let mut keys = PgpKeys::new();
        let file = home.export("--export-secret-subkeys", &key, "subkeys.asc")?;
        keys.add(&std::fs::read(file)?.into(), None)?;
        let message = home.encrypt(&["-r", &key.fingerprint], &DATA_KEY)?;
        let service = PgpService::new().with_keys(keys);
        let opened = unwrap(&service, &master_key(&key.fingerprint, &message)?)?;
        same_text("the data key", opened.expose_secret(), &DATA_KEY)?;
    }
    Ok(())
}

fn changed_messages(home: &Home) -> Result<(), Failed> {
    let key = home.generate("ed25519", "key")?;
    let other = home.generate("ed25519", "other")?;
    let natively = PgpService::new().with_keys(exported(home, &[&key], None)?);
    let by_gpg = Gpg::new().with_variable("GNUPGHOME", &home.gnupg().to_string_lossy());
    let by_gpg = PgpService::new().with_gpg(by_gpg);
    let binary = piped(
        home.gpg(["--batch", "--trust-model", "always", "-e", "-r", &key.fingerprint]).stdin(Stdio::piped()),
        &DATA_KEY,
    )?;
    let long = home.encrypt(&["-r", &key.fingerprint], &vec![0; 1 << 20])?;
    let signed = home
        .gpg(["--batch", "--armor", "-u", &other.fingerprint, "--store"])
        .stdin(Stdio::piped())
        .output()?;
    let mut changed = binary.clone();
    let last = changed.len() - 3;
    changed[last] ^= 1;
    let armor = |bytes: &[u8]| -> Result<String, Failed> {
        let text = piped(home.gpg(["--enarmor"]).stdin(Stdio::piped()), bytes)?;
        Ok(String::from_utf8(text)?.replace("PGP ARMORED FILE", "PGP MESSAGE"))
    };
    for (what, text) in [
        ("changed", armor(&changed)?),
        ("cut", armor(&binary[..binary.len() - 10])?),
        ("long", long),
        ("not encrypted", String::from_utf8(signed.stdout)?),
        ("no message", "-----BEGIN PGP MESSAGE-----\n\nabcd\n-----END PGP MESSAGE-----".to_owned()),
        ("no armor", "abc".to_owned()),
        ("nothing", String::new()),
    ] {
        let key = master_key(&key.fingerprint, &text)?;
        for (how, service) in [("natively", &natively), ("by gpg", &by_gpg)] {
            match unwrap(service, &key) {
                Ok(_) => return Err(format!("{what}, {how}: it opens").into()),
                Err(error) => {
                    let words = error.to_string();
                    if words.len() > 600 || words.chars().any(char::is_control) {
                        return Err(format!("{what}, {how}: {words:?}").into());
                    }
                }
            }
        }
    }
    Ok(())
}

fn newer_subkey(home: &Home, key: &Key) -> Result<String, Failed> {
    let quiet = ["--batch", "--passphrase", "", "--pinentry-mode", "loopback"];
    crate::peer::output(home.gpg(quiet).args([
        "--quick-add-key",
        &key.fingerprint,
        "cv25519",
        "encrypt",
        "never",
    ]))?;
    let listed = crate::peer::output(&mut home.gpg([
        "--with-colons",
        "--with-subkey-fingerprint",
        "--list-keys",
        &key.fingerprint,
    ]))?;
    let listed = String::from_utf8(listed)?;
    let of_line = |line: &str| line.strip_prefix("fpr:")?.split(':').nth(8).map(str::to_owned);
    Ok(listed.lines().filter_map(of_line).next_back().ok_or("there is a subkey")?)
}

fn exported(home: &Home, keys: &[&Key], passphrase: Option<&SecretBytes>) -> Result<PgpKeys, Failed> {
    let mut exported = PgpKeys::new();
    for key in keys {
        let file = home.export("--export-secret-keys", key, "exported.asc")?;
        exported.add(&std::fs::read(file)?.into(), passphrase)?;
    }
    Ok(exported)
}

fn export_with_passphrase(home: &Home, key: &Key) -> Result<SecretBytes, Failed> {
    let quiet = ["--batch", "--pinentry-mode", "loopback", "--passphrase", "correct horse"];
    let file = crate::peer::output(home.gpg(quiet).args(["--export-secret-keys", &key.fingerprint]))?;
    Ok(file.into())
}

fn master_key(fingerprint: &str, wrapped: &str) -> Result<MasterKey, Failed> {
    let mut key = MasterKey::parse_list(&pgp::KIND, fingerprint)?.remove(0);
    key.set_wrapped(wrapped.to_owned(), NOW);
    Ok(key)
}

fn wrap(service: &PgpService, key: &MasterKey) -> Result<String, KeyError> {
    pollster::block_on(service.wrap(key, &SecretBytes::from(&DATA_KEY[..]))).unwrap_or_else(|| unreachable!())
}

fn unwrap(service: &PgpService, key: &MasterKey) -> Result<SecretBytes, KeyError> {
    pollster::block_on(service.unwrap(key)).unwrap_or_else(|| unreachable!())
}
