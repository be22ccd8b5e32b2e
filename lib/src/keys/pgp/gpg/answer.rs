//! What a run of `gpg` came to: its output, or why there is none, in gpg's own words.
//!
//! What kind of failure it is comes from its reports for programs (`[GNUPG:] …`), which are the same in every
//! language; what people are told comes from its complaints.

use super::process::{Ended, Process};
use crate::keys::{Cause, ServiceError, said};
use crate::secret::SecretBytes;

/// What the program was run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Decrypt,
    Encrypt,
}

/// Returns what the program wrote.
pub fn read(
    process: &Process,
    operation: Operation,
    ended: Result<Ended, ServiceError>,
) -> Result<SecretBytes, ServiceError> {
    let ended = ended?;
    if !ended.is_cut && !ended.status.success() {
        let complaints = Complaints::read(&ended.complaints);
        let words = complaints.words.join("; ");
        let detail = if words.is_empty() {
            format!("{} ended with {} and said nothing", process.program, ended.status)
        } else {
            format!("gpg: {words}")
        };
        let (cause, remedy) = complaints.diagnose(operation);
        let error = ServiceError::new(cause, detail);
        return Err(match remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        });
    }
    let max = if operation == Operation::Decrypt { MAX_SECRET_LENGTH } else { usize::MAX };
    if ended.is_cut || ended.output.len() > max {
        return Err(process.error(Cause::Answer, "wrote more than a data key"));
    }
    if ended.output.is_empty() {
        // gpg 2.2 does so with messages of newer ones that it does not understand.
        return Err(process
            .error(Cause::Answer, "succeeded, and wrote nothing")
            .with_remedy("see what `gpg -d` says of the message, and whether a newer gpg made it"));
    }
    Ok(ended.output)
}

/// What the program said.
#[derive(Debug, Default)]
struct Complaints {
    words: Vec<String>,
    reports: Vec<String>,
}

impl Complaints {
    fn read(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let (reports, lines): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.starts_with(REPORT));
        let lines: Vec<String> = lines.into_iter().map(said).filter(|line| !line.is_empty()).collect();
        // What is indented, or comes from a script around it, helps only if there is nothing else.
        let own: Vec<String> =
            lines.iter().filter_map(|line| line.strip_prefix("gpg: ")).map(str::to_owned).collect();
        let mut words = if own.is_empty() { lines } else { own };
        words.drain(..words.len().saturating_sub(LINES));
        let reports = reports.iter().map(|line| line[REPORT.len()..].trim().to_owned()).collect();
        Self { words, reports }
    }

    fn diagnose(&self, operation: Operation) -> (Cause, Option<&'static str>) {
        match operation {
            Operation::Decrypt => self.diagnose_decryption(),
            Operation::Encrypt => self.diagnose_encryption(),
        }
    }

    fn diagnose_decryption(&self) -> (Cause, Option<&'static str>) {
        match self.code("ERROR pkdecrypt_failed") {
            Some(BAD_PASSPHRASE) => (Cause::Credentials, Some("the passphrase was not right: try again")),
            Some(CANCELED | FULLY_CANCELED) => (Cause::Denied, None),
            Some(NO_PINENTRY | PINENTRY_FAILED | NOT_A_TERMINAL | NO_DEVICE | TIMEOUT) => {
                (Cause::Credentials, Some(PINENTRY))
            }
            Some(NO_AGENT) => {
                (Cause::Unreachable, Some("see whether `gpg-connect-agent /bye` starts the agent"))
            }
            Some(CARD_REMOVED | CARD_NOT_PRESENT) => {
                (Cause::Credentials, Some("put the card in; `gpg --card-status` shows whether it is seen"))
            }
            _ if self.has("NO_SECKEY") => (Cause::Credentials, Some(NO_SECRET_KEY)),
            _ if self.has("DECRYPTION_FAILED") || self.has("NODATA") || self.has("BADMDC") => {
                (Cause::Ciphertext, None)
            }
            _ => (Cause::Other, None),
        }
    }

    fn diagnose_encryption(&self) -> (Cause, Option<&'static str>) {
        let refused = |reason: &str| self.has(&format!("INV_RECP {reason} "));
        if refused("1") {
            (Cause::Key, Some(NO_PUBLIC_KEY))
        } else if self.has("KEYEXPIRED") || refused("5") {
            (Cause::Key, Some("the key has expired: get it anew from its owner, or use another one"))
        } else if self.has("KEYREVOKED") || refused("4") {
            (Cause::Key, Some("the key is revoked: use another one"))
        } else if refused("10") {
            (Cause::Key, Some("gpg does not trust the key: sign it with `gpg --lsign-key`"))
        } else if self.has("INV_RECP") {
            (Cause::Key, Some("`gpg --list-keys --with-subkey-fingerprint` shows which keys can encrypt (E)"))
        } else {
            (Cause::Other, None)
        }
    }

    fn has(&self, report: &str) -> bool {
        self.reports.iter().any(|line| {
            line.strip_prefix(report)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') || report.ends_with(' '))
        })
    }

    /// Returns the code of an error, without the part of the program that it comes from.
    fn code(&self, report: &str) -> Option<u32> {
        let rest = self.reports.iter().find_map(|line| line.strip_prefix(report))?;
        let number: u32 = rest.split_whitespace().next()?.parse().ok()?;
        Some(number & 0xFFFF)
    }
}

const REPORT: &str = "[GNUPG:] ";

/// How many lines are passed on: the last ones say why.
const LINES: usize = 4;

/// Far more than a data key, or a share of one, takes.
const MAX_SECRET_LENGTH: usize = 1 << 10;

const NO_PUBLIC_KEY: &str = if cfg!(feature = "pgp-native") {
    "import the key with `gpg --import FILE` or `gpg --recv-keys FINGERPRINT`, or name its file in SELKIE_PGP_KEY_FILE"
} else {
    "import the key with `gpg --import FILE` or `gpg --recv-keys FINGERPRINT`"
};
const NO_SECRET_KEY: &str = if cfg!(feature = "pgp-native") {
    "import the secret key with `gpg --import FILE`, or name its file in SELKIE_PGP_KEY_FILE; `gpg --list-secret-keys` \
     shows those that are there"
} else {
    "import the secret key with `gpg --import FILE`; `gpg --list-secret-keys` shows those that are there"
};
const PINENTRY: &str = "gpg could not ask for the passphrase: run `export GPG_TTY=$(tty)` in a terminal, and \
                        `gpg-connect-agent updatestartuptty /bye`";

// Codes of libgpg-error.
const BAD_PASSPHRASE: u32 = 11;
const TIMEOUT: u32 = 62;
const NO_AGENT: u32 = 77;
const NO_PINENTRY: u32 = 85;
const PINENTRY_FAILED: u32 = 86;
const CANCELED: u32 = 99;
const CARD_REMOVED: u32 = 110;
const CARD_NOT_PRESENT: u32 = 112;
const FULLY_CANCELED: u32 = 198;
const NOT_A_TERMINAL: u32 = 0x8000 | 102;
const NO_DEVICE: u32 = 0x8000 | 104;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn outcome(operation: Operation, code: i32, output: &[u8], is_cut: bool) -> Result<usize, ServiceError> {
        let process = Process { program: "gpg2".to_owned(), environment: Vec::new() };
        let status = std::process::Command::new("sh").args(["-c", &format!("exit {code}")]).status();
        let status = status.expect("a shell runs");
        let ended = Ended { status, output: output.into(), is_cut, complaints: Vec::new() };
        read(&process, operation, Ok(ended)).map(|output| output.len())
    }

    #[test]
    fn success_without_a_data_key_is_none() {
        let detail = |operation, code, output: &[u8], is_cut| {
            outcome(operation, code, output, is_cut).map_err(|error| error.detail)
        };
        assert_eq!(detail(Operation::Decrypt, 0, &[7; 32], false), Ok(32));
        assert_eq!(detail(Operation::Encrypt, 0, &[7; 5000], false), Ok(5000));
        for (operation, code, output, is_cut, expected) in [
            (Operation::Decrypt, 0, &[][..], false, "gpg2 succeeded, and wrote nothing"),
            (Operation::Decrypt, 0, &[7; 5000], false, "gpg2 wrote more than a data key"),
            (Operation::Encrypt, 1, &[7; 9], true, "gpg2 wrote more than a data key"),
            (Operation::Decrypt, 2, &[7; 9], false, "gpg2 ended with exit status: 2 and said nothing"),
        ] {
            assert_eq!(detail(operation, code, output, is_cut), Err(expected.to_owned()));
        }
    }

    fn decryption(text: &str) -> (Cause, Option<&'static str>) {
        Complaints::read(text.as_bytes()).diagnose(Operation::Decrypt)
    }

    fn encryption(text: &str) -> (Cause, Option<&'static str>) {
        Complaints::read(text.as_bytes()).diagnose(Operation::Encrypt)
    }

    #[test]
    fn the_last_words_of_gpg_are_kept() {
        let text = "\
[GNUPG:] ENC_TO B36BBAD3D1F62D08 1 0
gpg: encrypted with 2048-bit RSA key, ID B36BBAD3D1F62D08, created 2026-11-28
      \"RSA <rsa@example.com>\"
[GNUPG:] NO_SECKEY B36BBAD3D1F62D08
gpg: decryption failed: No \u{1b}[31msecret key
[GNUPG:] END_DECRYPTION
";
        assert_eq!(
            Complaints::read(text.as_bytes()).words,
            [
                "encrypted with 2048-bit RSA key, ID B36BBAD3D1F62D08, created 2026-11-28",
                "decryption failed: No [31msecret key",
            ]
        );
        let many: String = (0..9).map(|number| format!("gpg: line {number}\n")).collect();
        assert_eq!(Complaints::read(many.as_bytes()).words, ["line 5", "line 6", "line 7", "line 8"]);
        let script = "my-gpg: no such card\n\u{fffd}\n";
        assert_eq!(Complaints::read(script.as_bytes()).words, ["my-gpg: no such card", "\u{fffd}"]);
        let long = format!("gpg: {}", "x".repeat(1000));
        assert_eq!(
            Complaints::read(long.as_bytes()).words[0],
            format!("{}…", "x".repeat(300 - "gpg: ".len()))
        );
    }

    #[test]
    fn reports_tell_why_nothing_was_decrypted() {
        let failed = |code: u32| {
            // As gpg-agent reports them: with the part of the program in front.
            decryption(&format!(
                "[GNUPG:] ERROR pkdecrypt_failed {}\n[GNUPG:] DECRYPTION_FAILED",
                code | 5 << 24
            ))
        };
        assert_eq!(failed(NOT_A_TERMINAL), (Cause::Credentials, Some(PINENTRY)));
        assert_eq!(failed(CANCELED), (Cause::Denied, None));
        assert!(failed(BAD_PASSPHRASE).1.is_some_and(|remedy| remedy.contains("passphrase")));
        assert!(failed(CARD_NOT_PRESENT).1.is_some_and(|remedy| remedy.contains("card")));
        assert_eq!(failed(1), (Cause::Ciphertext, None));
        assert_eq!(
            decryption("[GNUPG:] NO_SECKEY 12\n[GNUPG:] DECRYPTION_FAILED"),
            (Cause::Credentials, Some(NO_SECRET_KEY))
        );
        assert_eq!(
            decryption("gpg: no valid OpenPGP data found.\n[GNUPG:] NODATA 1"),
            (Cause::Ciphertext, None)
        );
        assert_eq!(decryption("gpg: NO_SECKEY"), (Cause::Other, None));
    }

    #[test]
    fn reports_tell_why_nothing_was_encrypted() {
        let told = |text: &str, expected: &str| {
            let (cause, remedy) = encryption(text);
            assert_eq!(cause, Cause::Key, "{text}");
            assert!(remedy.is_some_and(|remedy| remedy.contains(expected)), "{text}: {remedy:?}");
        };
        told("[GNUPG:] INV_RECP 1 ABC", "import the key");
        told("[GNUPG:] KEYEXPIRED 1795860621\n[GNUPG:] INV_RECP 0 ABC", "expired");
        told("[GNUPG:] INV_RECP 4 ABC", "revoked");
        told("[GNUPG:] INV_RECP 10 ABC", "does not trust");
        told("[GNUPG:] INV_RECP 0 ABC", "can encrypt");
        assert_eq!(encryption("[GNUPG:] FAILURE encrypt 53"), (Cause::Other, None));
    }
}
