use super::RULE;
use super::plain::{AGE, Doubt, Key, Kind};
use super::{encoded, plain};
use crate::check::Severity;
use crate::check::test_kit::{Repository, found};
use crate::sealed::encode_base64;

/// Lines that look like the body of a key, and are of none.
fn lines(count: usize) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut state = 12345_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        char::from(alphabet[(state >> 16) as usize % 64])
    };
    (0..count).map(|_| (0..64).map(|_| letter()).collect::<String>() + "\n").collect()
}

fn pem(label: &str) -> String {
    format!("-----BEGIN {label}-----\nMIIE{}-----END {label}-----\n", lines(3))
}

fn age_key() -> String {
    // Made of the bytes 0 to 31.
    String::from_utf8_lossy(AGE).into_owned() + "1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG"
}

fn kinds(text: &str) -> Vec<(Kind, Option<Doubt>, usize)> {
    let keys = plain::find(text.as_bytes()).into_iter().chain(encoded::find(text.as_bytes()));
    keys.map(|Key { kind, doubt, layers, .. }| (kind, doubt, layers)).collect()
}

#[test]
fn keys_in_pem_are_found_wherever_they_stand() {
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "ANY PRIVATE KEY"] {
        assert_eq!(kinds(&pem(label)), [(Kind::Pem, None, 0)], "{label}");
    }
    let key = pem("PRIVATE KEY");
    let written = [
        key.replace('\n', "\\n"),
        key.replace('\n', "\\\\n"),
        key.replace('\n', "\r\n"),
        key.replace('\n', " "),
        key.lines().map(|line| format!("    {line}\n")).collect(),
        key.lines().map(|line| format!("# {line}\n")).collect(),
        key.lines().map(|line| format!("  \"{line}\\n\" +\n")).collect(),
        key.replace("-----END", "").replace(" PRIVATE KEY-----\n", " PRIVATE KEY-----\n\n"),
    ];
    for text in written {
        assert_eq!(kinds(&format!("a: {text}")), [(Kind::Pem, None, 0)], "{text}");
    }
}

#[test]
fn other_keys_are_found() {
    let pgp = format!("-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: x\nComment: y\n\n{}=abcd\n", lines(3));
    assert_eq!(kinds(&pgp), [(Kind::Pgp, None, 0)]);
    let openssh = |cipher: &str| {
        let body = format!("b3BlbnNzaC1rZXktdjEAAAAA{cipher}{}", lines(2));
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}-----END OPENSSH PRIVATE KEY-----\n")
    };
    assert_eq!(kinds(&openssh("BG5vbmU")), [(Kind::OpenSsh, None, 0)]);
    assert_eq!(kinds(&openssh("CmFlczI1Ni1")), [(Kind::OpenSsh, Some(Doubt::Locked), 0)]);
    let putty = |cipher: &str| {
        let head =
            format!("PuTTY-User-Key-File-3: ssh-rsa\nEncryption: {cipher}\nComment: c\nPublic-Lines: 2\n");
        format!("{head}{}Private-Lines: 3\n{}Private-MAC: 00\n", lines(2), lines(3))
    };
    assert_eq!(kinds(&putty("none")), [(Kind::Putty, None, 0)]);
    assert_eq!(kinds(&putty("aes256-cbc")), [(Kind::Putty, Some(Doubt::Locked), 0)]);
    let ssh2 = format!("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: \"x\"\n{}", lines(2));
    assert_eq!(kinds(&ssh2), [(Kind::Pem, Some(Doubt::Locked), 0)]);
}

#[test]
fn keys_that_need_a_passphrase_are_warnings() {
    let legacy = pem("RSA PRIVATE KEY").replacen(
        "-----\n",
        "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n",
        1,
    );
    for text in [pem("ENCRYPTED PRIVATE KEY"), legacy] {
        assert_eq!(kinds(&text), [(Kind::Pem, Some(Doubt::Locked), 0)], "{text}");
        let found = Repository::default().with("key.pem", text).check();
        let found: Vec<_> = found.iter().filter(|finding| finding.rule == &RULE).collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Warning);
    }
}

#[test]
fn identities_of_age_are_found_by_their_checksum() {
    let key = age_key();
    assert_eq!(kinds(&format!("# public key: age1x\n{key}\n")), [(Kind::Age, None, 0)]);
    assert_eq!(kinds(&format!("{{\"k\": \"#\\n{key}\\n\"}}")), [(Kind::Age, None, 0)]);
    let damaged = key.replace("QCYQ5", "QCYQ6");
    assert_eq!(kinds(&damaged), [(Kind::Age, Some(Doubt::Damaged), 0)]);
    let mark = String::from_utf8_lossy(AGE);
    let clean = [
        format!("{mark}1{}", "Q".repeat(58)),
        format!("{mark}1..."),
        format!("{mark}1QYQSZQGPQYQSZQ"),
        format!("X{key}"),
        format!("{key}Q"),
        key.replace('C', "B"),
        key.to_ascii_lowercase(),
        "AGE-PLUGIN-YUBIKEY-1QQQQQQQQQQ".to_owned(),
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".to_owned(),
    ];
    for text in clean {
        assert_eq!(kinds(&text), [], "{text}");
    }
}

#[test]
fn keys_in_base64_are_found_at_every_place() {
    let wanted = [(pem("EC PRIVATE KEY"), Kind::Pem), (format!("{}\n", age_key()), Kind::Age)];
    for (key, kind) in wanted {
        for before in ["", "#", "##", "# a comment\n"] {
            let once = encode_base64(format!("{before}{key}").as_bytes());
            assert_eq!(kinds(&format!("k: {once}\n")), [(kind, None, 1)], "{kind:?} {before}");
            let folded: String = once
                .as_bytes()
                .chunks(60)
                .fold(String::new(), |text, line| text + "    " + &String::from_utf8_lossy(line) + "\r\n");
            assert_eq!(kinds(&format!("k: |\n{folded}")), [(kind, None, 1)], "{kind:?} {before}");
            for outer in ["", "x", "xy", "a: "] {
                let twice = encode_base64(format!("{outer}{once}").as_bytes());
                assert_eq!(kinds(&format!("k: {twice}\n")), [(kind, None, 2)], "{kind:?} {before} {outer}");
            }
        }
    }
    let bundle = format!("-----BEGIN CERTIFICATE-----\nMIIE{}-----END CERTIFICATE-----\n", lines(9));
    assert_eq!(kinds(&encode_base64(bundle.as_bytes())), []);
    let bundle = encode_base64((bundle + &pem("PRIVATE KEY")).as_bytes());
    assert_eq!(kinds(&bundle), [(Kind::Pem, None, 1)]);
}

#[test]
fn what_only_speaks_of_keys_is_clean() {
    let clean = [
        "const HEADER: &str = \"-----BEGIN PRIVATE KEY-----\";\nfn parse(text: &str) -> Option<Vec<u8>> {}\n"
            .to_owned(),
        "grep -r -- '-----BEGIN RSA PRIVATE KEY-----' /usr/local/share/ca-certificates/extra\n".to_owned(),
        "-----BEGIN (RSA |EC )?PRIVATE KEY-----[\\s\\S]{32,}".to_owned(),
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF...\n-----END PRIVATE KEY-----\n"
            .to_owned(),
        "-----BEGIN PRIVATE KEY-----\n<your key>\n-----END PRIVATE KEY-----\n".to_owned(),
        "-----BEGIN PRIVATE KEY-----\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n".to_owned(),
        "-----BEGIN PRIVATE KEY-----\n{{ .Values.key }}\n-----END PRIVATE KEY-----\n".to_owned(),
        "-----BEGIN PRIVATE KEY-----\nENC[AES256_GCM,data:0123456789abcdefABCDEF0123456789abcdef]\n"
            .to_owned(),
        pem("CERTIFICATE"),
        pem("PUBLIC KEY"),
        pem("PGP MESSAGE"),
        pem("AGE ENCRYPTED FILE"),
        encode_base64(pem("PUBLIC KEY").as_bytes()),
        "PuTTY-User-Key-File-2: ssh-rsa\nPuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 1\n".to_owned(),
    ];
    for text in clean {
        assert_eq!(kinds(&text), [], "{text}");
    }
}

#[test]
fn findings_are_on_the_line_of_the_key_and_tell_its_place() {
    let key: String = pem("RSA PRIVATE KEY").lines().map(|line| format!("    {line}\n")).collect();
    let text = format!("kind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  k.pem: |\n{key}  other: x\n");
    assert_eq!(found("KEY001", "a.yaml", &text), ["5 /data/k.pem"]);
    let encoded = encode_base64(pem("PRIVATE KEY").as_bytes());
    let text = format!("kind: X\nspec:\n- a: b\n- key: {encoded}\n");
    assert_eq!(found("KEY001", "a.yaml", &text), ["4 /spec/1/key"]);
    assert_eq!(found("KEY001", "id_rsa", &pem("RSA PRIVATE KEY")), ["1"]);
    let binary = [b"\0\x01\x02\xff\xfe".repeat(9), pem("PRIVATE KEY").into_bytes()].concat();
    let found = Repository::default().with("a.bin", binary).check();
    assert_eq!(found.iter().filter(|finding| finding.rule == &RULE).count(), 1);
}

#[test]
fn hostile_texts_end() {
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}", lines(1));
    let texts = [
        "-----BEGIN PRIVATE KEY-----".repeat(20_000),
        key.repeat(5_000),
        "AGE-SECRET-KEY-1".repeat(20_000),
        "PuTTY-User-Key-File-2: Private-Lines: 1".repeat(10_000),
        encode_base64("-----BEGIN".repeat(20_000).as_bytes()),
        encode_base64("AGE-SECRET-KEY-".repeat(50_000).as_bytes()),
        encode_base64("PuTTY-User-Key-File-".repeat(50_000).as_bytes()),
        encode_base64(encode_base64("-----BEGIN PRIVATE KEY-----".repeat(5_000).as_bytes()).as_bytes()),
        "a".repeat(1_000_000) + &encode_base64(b"-----BEGIN PRIVATE KEY-----"),
    ];
    for text in texts {
        let _ = kinds(&text);
    }
}
