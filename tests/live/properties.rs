//! Generated documents, encrypted and decrypted by both sides.

use std::env;
use std::fmt::{Debug, Display};
use std::path::Path;

use libtest_mimic::{Failed, Trial};
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, TestCaseError, TestRng, TestRunner};
use selkie::format::{Format, ParseError, ParseErrorKind, WriteOptions};
use selkie::secret::SecretBytes;
use selkie::sops::{OpenError, SealError, Stash};
use selkie::tree::Origin;
use serde_json::{Value as Json, json};

use super::gotree::{self, Gotree, Refusal};
use crate::envelope::{self, DATA_KEY, NOW, OpenFailure};
use crate::generate::{self, Rules};
use crate::peer::Peer;

/// How many documents a usual run makes, of each kind.
const DOCUMENTS: u32 = 400;

/// What we say when we refuse on purpose what sops reads, as it would change the value.
const STRICTER: &[&str] =
    &["half a character", "must be written as an escape", "which SOPS would drop", "at the end of the text"];

pub fn tests() -> Vec<Trial> {
    vec![
        Peer::Gotree.test("binary_both_ways", |peer| both_ways(&peer, Format::Binary, generate::binary())),
        Peer::Gotree.test("dotenv_both_ways", |peer| both_ways(&peer, Format::Dotenv, generate::dotenv())),
        Peer::Gotree.test("ini_both_ways", |peer| both_ways(&peer, Format::Ini, generate::ini())),
        Peer::Gotree.test("json_both_ways", |peer| both_ways(&peer, Format::Json, generate::json())),
        Peer::Gotree.test("yaml_both_ways", |peer| both_ways(&peer, Format::Yaml, generate::yaml())),
    ]
}

/// Demands of each document that both sides read it alike and decrypt what the other encrypted.
fn both_ways<T: AsRef<[u8]> + Debug>(
    peer: &Path,
    format: Format,
    texts: impl Strategy<Value = T>,
) -> Result<(), Failed> {
    let peer = Gotree::start(peer)?;
    let mut runner = runner(number_of_documents()?);
    let cases = (texts, generate::rules(), any::<u64>());
    runner.run(&cases, |(text, rules, seed)| {
        // A single value has no rules.
        let rules = if format.store().is_single_value() { Rules::default() } else { rules };
        Case { peer: &peer, format, text: text.as_ref(), rules, seed }.check()
    })?;
    Ok(())
}

/// Returns how many documents to make: the few of a usual run, or as many as were asked for.
pub fn number_of_documents() -> Result<u32, Failed> {
    Ok(env::var("SELKIE_LONG").map_or(Ok(DOCUMENTS), |number| number.parse())?)
}

/// Returns what runs so many cases: always the same ones in a usual run, so that what it says of a change is due to the
/// change, and new ones in a long run.
pub fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if env::var_os("SELKIE_LONG").is_some() {
        return TestRunner::new(config);
    }
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    TestRunner::new_with_rng(config, rng)
}

fn has_bare_separator(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).lines().any(|line| line.starts_with(['\u{2028}', '\u{2029}']))
}

struct Case<'a> {
    peer: &'a Gotree,
    format: Format,
    text: &'a [u8],
    rules: Rules,
    seed: u64,
}

impl Case<'_> {
    fn check(&self) -> Result<(), TestCaseError> {
        let Some(plain) = self.reads_alike()? else { return Ok(()) };
        // What sops writes as null, or not at all, it cannot decrypt for us either.
        if self.format == Format::Yaml && holds_lost_text(&plain) {
            return self.encrypts_and_decrypts().map(drop);
        }
        let theirs = self.encrypted_by_sops();
        // Sops writes some values such that it reads others (`1.0` as `1`).
        let reread = theirs.as_deref().and_then(|theirs| self.decrypted_by_sops(theirs).ok());
        self.sops_decrypts_ours(&plain, reread.as_ref())?;
        match (&theirs, &reread) {
            (Some(theirs), Some(reread)) => self.we_decrypt_theirs(theirs, reread),
            _ => Ok(()),
        }
    }

    /// Both sides see the same values. `None` if both refuse.
    fn reads_alike(&self) -> Result<Option<Json>, TestCaseError> {
        let theirs = self.ask("load", json!({ "text": gotree::text(self.text) }));
        let ours = self.format.read(self.text);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                let theirs = &theirs["documents"];
                same_but_comments("the documents", &gotree::documents(&ours), theirs)?;
                // Sops copies comments with what an alias stands for; we do not.
                let has_copies = ours.nodes().any(|(_, node)| node.origin == Origin::Alias);
                if self.format == Format::Ini {
                    same_but_the_last_comment(&gotree::documents(&ours), theirs)?;
                } else if !has_copies {
                    keeps_comments(&gotree::documents(&ours), theirs)?;
                }
                Ok(Some(theirs.clone()))
            }
            (Err(_), Err(_)) => Ok(None),
            // What is valid may be read although go-yaml stumbles over it.
            (Ok(_), Err(_)) => Ok(None),
            (Err(error), Ok(_)) if is_stricter(&error) => Ok(None),
            // Of a key that is given twice in an INI section, sops drops the first value.
            (Err(ParseError { kind: ParseErrorKind::DuplicateKey(_), .. }), Ok(_))
                if self.format == Format::Ini =>
            {
                Ok(None)
            }
            (Err(error), Ok(_)) => fail(format!("sops reads what we refuse: {error}")),
        }
    }

    fn sops_decrypts_ours(&self, plain: &Json, reread: Option<&Json>) -> Result<(), TestCaseError> {
        let Some((in_place, written)) = self.encrypts_and_decrypts()? else { return Ok(()) };
        self.decrypts_to("in place", &in_place, &[plain])?;
        match reread {
            // Of INI we lose nothing that sops reads, whatever it loses itself.
            _ if self.format == Format::Ini => self.decrypts_to("written anew", &written, &[plain]),
            // As sops writes it, or better.
            Some(reread) => self.decrypts_to("written anew", &written, &[reread, plain]),
            None => Ok(()),
        }
    }

    /// What we encrypt, we give back byte for byte. Returns it encrypted in place and written anew, or `None`
    /// if it is refused with good reason.
    fn encrypts_and_decrypts(&self) -> Result<Option<(SecretBytes, SecretBytes)>, TestCaseError> {
        let envelope = envelope::envelope(&self.rules.to_json(), self.seed).map_err(problem)?;
        let tree = self.format.read(self.text).map_err(problem)?;
        let has_aliases = tree.nodes().any(|(_, node)| node.origin == Origin::Alias);
        let sealed = match envelope.seal(self.format, tree, Stash::new(), NOW, &mut envelope::rng(self.seed))
        {
            Err(
                SealError::AmbiguousComment { .. }
                | SealError::NothingSelected { .. }
                | SealError::Unsigned { .. },
            ) => return Ok(None),
            sealed => sealed.map_err(problem)?,
        };
        let in_place = match sealed.in_place() {
            // Where an alias is written out, comments around it may belong to something else.
            Err(SealError::Unreadable(_))
                if sealed.metadata().selector.looks_at_comments() && has_aliases =>
            {
                return Ok(None);
            }
            in_place => in_place.map_err(problem)?,
        };
        let opened = envelope::open(self.format, in_place.expose_secret(), DATA_KEY).map_err(problem)?;
        let back = opened.plaintext().map_err(problem)?;
        same("the text after encrypting and decrypting it", &lossy(back.expose_secret()), &lossy(self.text))?;
        let written = sealed.write(self.format, &WriteOptions::default()).map_err(problem)?;
        Ok(Some((in_place, written)))
    }

    /// Sops decrypts a text to one of some documents.
    fn decrypts_to(
        &self,
        what: &str,
        encrypted: &SecretBytes,
        expected: &[&Json],
    ) -> Result<(), TestCaseError> {
        let encrypted = encrypted.expose_secret();
        match self.decrypted_by_sops(encrypted) {
            Ok(theirs) => {
                let theirs = gotree::with_integers(&theirs);
                let compare = |plain: &&Json| {
                    let plain = gotree::with_integers(plain);
                    same_but_comments(&format!("what sops decrypts ({what})"), &theirs, &plain)
                };
                // A copy of a comment, where an alias is, cannot be decrypted. Without a line break at the end
                // go-yaml gives the last comment to another value.
                if !self.text.contains(&b'*') && self.text.ends_with(b"\n") && expected.len() == 1 {
                    let is_open = |comment: &String| !comment.contains("ENC[AES256_GCM");
                    let all = gotree::comments(&theirs).iter().all(is_open);
                    same("whether sops decrypts all comments", &all, &true)
                        .map_err(|error| problem(format!("{error}\n{}", lossy(encrypted))))?;
                }
                let mut results = expected.iter().map(compare);
                let first = results.next().unwrap_or(Ok(()));
                if first.is_ok() || results.any(|result| result.is_ok()) {
                    return Ok(());
                }
                first.map_err(|error| problem(format!("{error}\n{}", lossy(encrypted))))
            }
            // Sops cannot write a comment that has an empty first line, which our encrypted files have only
            // where the rule leaves comments in clear.
            Err(Refusal { error, .. })
                if self.format == Format::Ini
                    && error.contains("index out of range [0]")
                    && has_empty_comment(encrypted) =>
            {
                Ok(())
            }
            Err(Refusal { stage, error }) => {
                fail(format!("sops refuses ours ({what}): {stage}: {error}\n{}", lossy(encrypted)))
            }
        }
    }

    fn we_decrypt_theirs(&self, theirs: &[u8], reread: &Json) -> Result<(), TestCaseError> {
        let opened = match envelope::open(self.format, theirs, DATA_KEY) {
            Ok(opened) => opened,
            Err(error) if is_stricter(&error) || is_broken_by_sops(&error) => return Ok(()),
            // Sops writes U+2028 where a line ends, which to YAML 1.2 is text without indentation.
            Err(_) if self.format == Format::Yaml && has_bare_separator(theirs) => return Ok(()),
            Err(error) => return fail(format!("{error:?}\n{}", lossy(theirs))),
        };
        same_but_comments("what we decrypt", &gotree::documents(opened.tree()), reread)
            .map_err(|error| problem(format!("{error}\n{}", lossy(theirs))))?;
        opened.plaintext().map_err(problem)?;
        self.refuses_what_was_changed(theirs)
    }

    fn encrypted_by_sops(&self) -> Option<Vec<u8>> {
        let request = json!({
            "text": gotree::text(self.text), "key": hex(&DATA_KEY), "rules": self.rules.to_json(), "lastmodified": NOW
        });
        self.ask("encrypt", request).ok().map(|answer| gotree::bytes(&answer["text"]))
    }

    fn decrypted_by_sops(&self, encrypted: &[u8]) -> Result<Json, Refusal> {
        let request = json!({ "text": gotree::text(encrypted), "key": hex(&DATA_KEY) });
        self.ask("decrypt", request).map(|mut answer| answer["documents"].take())
    }

    /// Neither side reads a document under a wrong key or without its MAC.
    fn refuses_what_was_changed(&self, encrypted: &[u8]) -> Result<(), TestCaseError> {
        let mut wrong = DATA_KEY;
        wrong[(self.seed % 32) as usize] ^= 1 << (self.seed % 8);
        match envelope::open(self.format, encrypted, wrong) {
            Err(OpenFailure::Open(OpenError::Value { .. } | OpenError::Mac(_))) => {}
            other => return fail(format!("a wrong key leads to {:?}", other.err())),
        }
        let theirs = self.ask("decrypt", json!({ "text": gotree::text(encrypted), "key": hex(&wrong) }));
        match theirs {
            Err(Refusal { stage, .. }) if matches!(&stage[..], "decrypt" | "mac") => Ok(()),
            Err(Refusal { stage, error }) => {
                fail(format!("a wrong key leads sops to {stage}: {error}\n{}", lossy(encrypted)))
            }
            Ok(_) => fail("sops decrypts with a wrong key".to_owned()),
        }
    }

    fn ask(&self, operation: &str, mut request: Json) -> Result<Json, Refusal> {
        request["op"] = operation.into();
        request["format"] = self.format.store().name().into();
        self.peer.ask(&request)
    }
}

fn same<T: PartialEq + Display>(what: &str, left: &T, right: &T) -> Result<(), TestCaseError> {
    if left == right {
        return Ok(());
    }
    fail(format!("{what} differ:\n{left}\n{right}"))
}

fn is_stricter(error: &impl ToString) -> bool {
    STRICTER.iter().any(|part| error.to_string().contains(part))
}

/// The indentation that go-yaml writes into the header of a block scalar in a list is not that of its lines.
fn is_broken_by_sops(error: &OpenFailure) -> bool {
    error.to_string().contains("wrongly indented line in block scalar")
}

fn same_but_comments(what: &str, left: &Json, right: &Json) -> Result<(), TestCaseError> {
    same(what, &gotree::without_comments(left), &gotree::without_comments(right))
}

/// Returns whether documents hold a text of several lines that begins with a tab, which sops loses.
fn holds_lost_text(documents: &Json) -> bool {
    match documents {
        Json::String(text) => text.starts_with('\t') && text.contains('\n'),
        Json::Array(items) => items.iter().any(holds_lost_text),
        Json::Object(fields) => fields.values().any(holds_lost_text),
        _ => false,
    }
}

/// Demands that comments of INI are where sops has them, and that there is at most one more: the one at the
/// end, which sops drops.
fn same_but_the_last_comment(ours: &Json, theirs: &Json) -> Result<(), TestCaseError> {
    let mut shorter = ours.clone();
    let last = shorter[0]["map"].as_array_mut().and_then(|sections| sections.last_mut());
    let children = last.and_then(|section| section["value"]["map"].as_array_mut());
    if let Some(children) = children {
        children.pop_if(|child| child.get("comment").is_some());
    }
    // A first line that is empty has a space with us, as sops could not write it.
    let theirs = &theirs.to_string().replace(r#"{"comment":"\n"#, r#"{"comment":" \n"#);
    let theirs: &Json = &serde_json::from_str(theirs).map_err(problem)?;
    if shorter == *theirs { Ok(()) } else { same("the documents with comments", ours, theirs) }
}

/// Demands that no comment is lost that sops sees. Where go-yaml puts one, and whether it drops one, hangs
/// on details of its scanner.
fn keeps_comments(ours: &Json, theirs: &Json) -> Result<(), TestCaseError> {
    let mut ours = gotree::comments(ours);
    for comment in gotree::comments(theirs) {
        match ours.iter().position(|ours| *ours == comment) {
            Some(index) => drop(ours.swap_remove(index)),
            None => return fail(format!("the comment {comment:?} is lost")),
        }
    }
    Ok(())
}

/// Returns whether a line has nothing but the marker of a comment.
fn has_empty_comment(text: &[u8]) -> bool {
    lossy(text)
        .lines()
        .any(|line| matches!(line.trim().trim_start_matches([';', '#', ' ']), "") && !line.trim().is_empty())
}

fn problem(error: impl ToString) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn fail<T>(reason: String) -> Result<T, TestCaseError> {
    Err(TestCaseError::fail(reason))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
