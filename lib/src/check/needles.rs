//! One pass over the bytes of a file that tells which rules may find something in it. Most files end here.

use std::ops::BitOr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::sealed::encode_base64;

/// Which of the texts that rules look for are in a file, in whatever case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needles(u32);

impl Needles {
    /// Every file, whatever it holds.
    pub const ANY_FILE: Self = Self(1);
    /// `Secret` (in `kind: Secret`, `SealedSecret`, `SopsSecret`, `secretGenerator`, and in much else).
    pub const SECRET: Self = Self(1 << 1);
    /// `ENC[AES256_GCM`, or the `sops` entry of an encrypted document.
    pub const SOPS: Self = Self(1 << 2);
    /// `last-applied-configuration`.
    pub const LAST_APPLIED: Self = Self(1 << 3);
    /// What kustomizations and patches have: `Generator`, `patch`, `"op"`, `op:`.
    pub const KUSTOMIZE: Self = Self(1 << 4);
    /// Names that kubeconfigs and the configuration of Docker give to credentials.
    pub const CREDENTIAL_FILE: Self = Self(1 << 5);
    /// Private keys: in PEM, of age, of PuTTY, or in base64 of these.
    pub const KEY: Self = Self(1 << 6);
    /// How tokens of providers begin.
    pub const TOKEN: Self = Self(1 << 7);
    /// `://`.
    pub const URL: Self = Self(1 << 8);
    /// Words that names of secret values have.
    pub const SECRET_NAME: Self = Self(1 << 9);
    /// `--from-literal` and its like.
    pub const FROM_LITERAL: Self = Self(1 << 10);
    /// What conflicts of a merge leave: lines of `<<<<<<<` and `>>>>>>>`.
    pub const CONFLICT: Self = Self(1 << 11);
    /// `seal:allow`, the mark of suppressions.
    pub const ALLOW: Self = Self(1 << 12);

    /// Returns which needles are in some bytes.
    #[must_use]
    pub fn find(bytes: &[u8]) -> Self {
        let mut found = Self::ANY_FILE;
        // Each needle is found once; behind it, the search goes on by the automaton alone.
        let table = Table::known();
        for at in table.automaton(bytes.len()).find_overlapping_iter(bytes) {
            found = found | table.needles[at.pattern().as_usize()];
            if found.0 == ALL {
                break;
            }
        }
        found
    }

    /// Returns whether any of these is among the needles.
    #[must_use]
    pub const fn has(self, any_of: Self) -> bool {
        self.0 & any_of.0 != 0
    }
}

impl BitOr for Needles {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Needles {
    /// As `|`, for constants.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Returns what base64 makes of a text that starts at the first, second or third byte of a group of three, without the
/// letters that what is around the text has a part in.
pub(super) fn base64_forms(text: &[u8]) -> [String; 3] {
    [(0, 0), (1, 2), (2, 3)].map(|(before, first)| {
        let bytes = [&[0; 2][..before], text].concat();
        encode_base64(&bytes)[first..bytes.len() * 4 / 3].to_owned()
    })
}

/// Returns where words stand that names of secret values have.
pub(super) fn secret_words(bytes: &[u8]) -> impl Iterator<Item = usize> {
    static WORDS: OnceLock<AhoCorasick> = OnceLock::new();
    let automaton = WORDS.get_or_init(|| {
        let words = TEXTS.iter().filter(|(_, needle)| *needle == Needles::SECRET_NAME);
        build(words.map(|(text, _)| text), AhoCorasickKind::ContiguousNFA)
    });
    automaton.find_iter(bytes).map(|found| found.start())
}

struct Table {
    /// Quick to build, for what a commit usually holds.
    small: AhoCorasick,
    /// Quick to run, for all files of a repository.
    large: OnceLock<AhoCorasick>,
    texts: Vec<String>,
    /// What each pattern is.
    needles: Vec<Needles>,
    /// How many bytes were looked at.
    work: AtomicUsize,
}

impl Table {
    fn known() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| {
            let mut texts: Vec<_> =
                TEXTS.iter().map(|(text, needle)| ((*text).to_owned(), *needle)).collect();
            for text in KEYS {
                for once in base64_forms(text.as_bytes()) {
                    texts.extend(base64_forms(once.as_bytes()).map(|twice| (twice, Needles::KEY)));
                    texts.push((once, Needles::KEY));
                }
            }
            let (texts, needles): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
            let small = build(&texts, AhoCorasickKind::ContiguousNFA);
            Self { small, large: OnceLock::new(), texts, needles, work: AtomicUsize::new(0) }
        })
    }

    /// Returns the automaton for so many more bytes.
    fn automaton(&self, bytes: usize) -> &AhoCorasick {
        let work = self.work.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if work < WORTH_BUILDING {
            return &self.small;
        }
        self.large.get_or_init(|| build(&self.texts, AhoCorasickKind::DFA))
    }
}

fn build<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>, kind: AhoCorasickKind) -> AhoCorasick {
    let builder = AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(kind)).build(texts);
    builder.expect("the table is small")
}

/// From how many bytes on building the automaton that is quick to run pays.
const WORTH_BUILDING: usize = 2 << 20;

const ALL: u32 = (1 << 13) - 1;

/// How private keys begin, which are looked for in base64, and in base64 of that, too.
const KEYS: &[&str] = &["-----BEGIN", "AGE-SECRET-KEY-", "AGE-PLUGIN-", "PuTTY-User-Key-File-"];

/// What is looked for.
const TEXTS: &[(&str, Needles)] = &[
    ("secret", Needles::SECRET),
    ("sops", Needles::SOPS),
    ("enc[aes256_gcm", Needles::SOPS),
    ("last-applied-configuration", Needles::LAST_APPLIED),
    ("generator", Needles::KUSTOMIZE),
    ("patch", Needles::KUSTOMIZE),
    ("\"op\"", Needles::KUSTOMIZE),
    ("op:", Needles::KUSTOMIZE),
    ("client-key-data", Needles::CREDENTIAL_FILE),
    ("current-context", Needles::CREDENTIAL_FILE),
    ("\"auths\"", Needles::CREDENTIAL_FILE),
    ("auths:", Needles::CREDENTIAL_FILE),
    ("identitytoken", Needles::CREDENTIAL_FILE),
    ("private key", Needles::KEY),
    ("age-secret-key-", Needles::KEY),
    ("age-plugin-", Needles::KEY),
    ("putty-user-key-file", Needles::KEY),
    ("akia", Needles::TOKEN),
    ("asia", Needles::TOKEN),
    ("ghp_", Needles::TOKEN),
    ("gho_", Needles::TOKEN),
    ("ghu_", Needles::TOKEN),
    ("ghs_", Needles::TOKEN),
    ("ghr_", Needles::TOKEN),
    ("github_pat_", Needles::TOKEN),
    ("glpat-", Needles::TOKEN),
    ("xoxa-", Needles::TOKEN),
    ("xoxb-", Needles::TOKEN),
    ("xoxp-", Needles::TOKEN),
    ("xoxr-", Needles::TOKEN),
    ("xoxs-", Needles::TOKEN),
    ("hooks.slack.com/services/", Needles::TOKEN),
    ("npm_", Needles::TOKEN),
    ("sk_live_", Needles::TOKEN),
    ("rk_live_", Needles::TOKEN),
    ("sg.", Needles::TOKEN),
    ("sk-ant-", Needles::TOKEN),
    ("t3blbkfj", Needles::TOKEN),
    ("hvs.", Needles::TOKEN),
    ("eyjhbgcioi", Needles::TOKEN),
    ("://", Needles::URL),
    ("password", Needles::SECRET_NAME),
    ("passwd", Needles::SECRET_NAME),
    ("passphrase", Needles::SECRET_NAME),
    ("secret", Needles::SECRET_NAME),
    ("token", Needles::SECRET_NAME),
    ("apikey", Needles::SECRET_NAME),
    ("api_key", Needles::SECRET_NAME),
    ("api-key", Needles::SECRET_NAME),
    ("credential", Needles::SECRET_NAME),
    ("private_key", Needles::SECRET_NAME),
    ("private-key", Needles::SECRET_NAME),
    ("privatekey", Needles::SECRET_NAME),
    ("access_key", Needles::SECRET_NAME),
    ("access-key", Needles::SECRET_NAME),
    ("accesskey", Needles::SECRET_NAME),
    ("_pass", Needles::SECRET_NAME),
    ("dbpass", Needles::SECRET_NAME),
    ("pass:", Needles::SECRET_NAME),
    ("pass\":", Needles::SECRET_NAME),
    ("pass=", Needles::SECRET_NAME),
    ("passcode", Needles::SECRET_NAME),
    ("requirepass", Needles::SECRET_NAME),
    ("pwd", Needles::SECRET_NAME),
    ("encryption_key", Needles::SECRET_NAME),
    ("encryption-key", Needles::SECRET_NAME),
    ("encryptionkey", Needles::SECRET_NAME),
    ("signing_key", Needles::SECRET_NAME),
    ("signing-key", Needles::SECRET_NAME),
    ("signingkey", Needles::SECRET_NAME),
    ("master_key", Needles::SECRET_NAME),
    ("master-key", Needles::SECRET_NAME),
    ("masterkey", Needles::SECRET_NAME),
    ("app_key", Needles::SECRET_NAME),
    ("auth_key", Needles::SECRET_NAME),
    ("authkey", Needles::SECRET_NAME),
    (":_auth", Needles::SECRET_NAME),
    ("from-literal", Needles::FROM_LITERAL),
    ("docker-password", Needles::FROM_LITERAL),
    ("<<<<<<<", Needles::CONFLICT),
    (">>>>>>>", Needles::CONFLICT),
    ("seal:allow", Needles::ALLOW),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_seen_wherever_base64_of_them_starts() {
        for text in KEYS {
            for before in 0..3 {
                let once = encode_base64(format!("{}{text} x", &"abc"[..before]).as_bytes());
                assert!(Needles::find(once.as_bytes()).has(Needles::KEY), "{text} {before}");
                for outer in 0..3 {
                    let twice = encode_base64(format!("{}{once}", &"abc"[..outer]).as_bytes());
                    assert!(Needles::find(twice.as_bytes()).has(Needles::KEY), "{text} {before} {outer}");
                }
            }
        }
        assert!(!Needles::find(b"a public key, and nothing else").has(Needles::KEY));
    }
}
