use pollster::block_on;
use proptest::prelude::*;
use rand::rngs::OsRng;

use super::*;
use crate::keys::{Cause, KeyFuture, KeyGroup, MasterKey, ServiceError};
use crate::merge::{ConflictKind, plain};
use crate::sops::{
    BY_EFFORT, Envelope, MacCheck, Metadata, MetadataError, OpenError, Opened, Selector, Stash, Vault, group,
};

const BEFORE: &str = "2026-11-23T02:23:49Z";
const NOW: &str = "2026-11-29T08:00:00Z";
const ALL: &[&str] = &["a", "b", "c", "d", "e"];

/// Reads what anybody can, and wraps for nobody.
struct Unreachable;

impl KeyService for Unreachable {
    fn name(&self) -> String {
        "unreachable".to_owned()
    }

    fn wrap<'a>(&'a self, _: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
        let error = ServiceError::new(Cause::Unreachable, "there is nobody at the address");
        Box::pin(std::future::ready(Some(Err(error.into()))))
    }

    fn unwrap<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        Vault(ALL).unwrap_now(key)
    }
}

impl Vault {
    fn unwrap_now<'a>(&self, key: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
        let answer = block_on(self.unwrap(key));
        Box::pin(std::future::ready(answer))
    }
}

fn copy(text: &SecretBytes) -> SecretBytes {
    SecretBytes::from(text.expose_secret())
}

fn shown(text: &SecretBytes) -> String {
    String::from_utf8_lossy(text.expose_secret()).into_owned()
}

fn groups(keys: &[&str]) -> Vec<KeyGroup> {
    keys.iter().map(|keys| group(&keys.split_whitespace().collect::<Vec<_>>())).collect()
}

fn metadata(keys: &[&str]) -> Metadata {
    Metadata::new(groups(keys))
}

/// Encrypts a text under a new data key.
fn new(format: Format, text: &str, metadata: Metadata) -> SecretBytes {
    let envelope = block_on(Envelope::create(metadata, &[&Vault(ALL)], BEFORE, &mut OsRng)).expect("wraps");
    let tree = format.read(text).expect("a document");
    let sealed = envelope.seal(format, tree, Stash::of_document(), BEFORE, &mut OsRng).expect("seals");
    sealed.in_place().expect("writes")
}

fn opened(format: Format, text: &SecretBytes) -> (Envelope, Opened) {
    let tree = format.read(copy(text)).expect("a document");
    let mut metadata = Metadata::from_entry(tree.metadata()).expect("metadata");
    metadata.keep_unknown(tree.metadata());
    let envelope = block_on(Envelope::recover(metadata, &[&Vault(ALL)], BY_EFFORT)).expect("a data key");
    let opened = envelope.open(format, tree, MacCheck::Require).expect("opens");
    (envelope, opened)
}

/// Encrypts another text and other metadata under the data key of a version.
fn changed(format: Format, old: &SecretBytes, text: &str, edit: impl FnOnce(&mut Metadata)) -> SecretBytes {
    let (envelope, opened) = opened(format, old);
    let mut metadata = envelope.metadata().clone();
    edit(&mut metadata);
    let (groups, threshold) = (metadata.groups.clone(), metadata.shamir_threshold);
    let mut envelope = envelope.with_metadata(metadata);
    block_on(envelope.wrap_missing(groups, threshold, &[&Vault(ALL)], BEFORE, &mut OsRng)).expect("wraps");
    let tree = format.read(text).expect("a document");
    let sealed = envelope.seal(format, tree, opened.stash(), BEFORE, &mut OsRng).expect("seals");
    sealed.in_place().expect("writes")
}

fn edited(old: &SecretBytes, text: &str) -> SecretBytes {
    changed(Format::Yaml, old, text, |_| {})
}

/// Leaves recipients that were there as they are, and adds and removes others.
fn for_keys(old: &SecretBytes, text: &str, keys: &str) -> SecretBytes {
    changed(Format::Yaml, old, text, |metadata| {
        let known = std::mem::take(&mut metadata.groups[0].0);
        metadata.groups = groups(&[keys]);
        for key in &mut metadata.groups[0].0 {
            if let Some(known) = known.iter().find(|known| *known == key) {
                *key = known.clone();
            }
        }
    })
}

fn run(
    format: Format,
    base: Option<&SecretBytes>,
    ours: &SecretBytes,
    theirs: &SecretBytes,
) -> Result<MergedFile, MergeError> {
    let sides = Sides { base: base.map(copy), ours: copy(ours), theirs: copy(theirs) };
    merge(format, sides, &[&Vault(ALL)], NOW, &mut OsRng)
}

fn merged(base: &SecretBytes, ours: &SecretBytes, theirs: &SecretBytes) -> SecretBytes {
    let merged = run(Format::Yaml, Some(base), ours, theirs).expect("merges");
    assert_eq!(merged.conflicts, []);
    assert!(merged.ours.is_same(&merged.theirs));
    merged.ours
}

fn failure(base: &SecretBytes, ours: &SecretBytes, theirs: &SecretBytes) -> MergeError {
    run(Format::Yaml, Some(base), ours, theirs).err().expect("an error")
}

/// Reads a document as somebody with these keys can.
fn read_by(format: Format, text: &SecretBytes, known: &'static [&'static str]) -> Option<String> {
    crate::decrypt(copy(text), format, &[&Vault(known)]).ok().map(|text| shown(&text))
}

fn read(text: &SecretBytes) -> String {
    read_by(Format::Yaml, text, ALL).expect("it opens")
}

fn recipients(text: &SecretBytes) -> String {
    let (envelope, _) = opened(Format::Yaml, text);
    let group = |group: &KeyGroup| group.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    envelope.metadata().groups.iter().map(group).collect::<Vec<_>>().join(" | ")
}

fn has_key_of(text: &SecretBytes, other: &SecretBytes) -> bool {
    opened(Format::Yaml, text).0.has_same_key(&opened(Format::Yaml, other).0)
}

const BASE: &str = "# the first\na: one\nm: {x: 1}\n\nb: two\nl:\n  - p\n  - q\n\nc: three\n";

fn base() -> SecretBytes {
    new(Format::Yaml, BASE, metadata(&["a b"]))
}

#[test]
fn both_sides_are_in_the_result_with_the_ciphertexts_that_they_have() {
    let base = base();
    let ours = edited(&base, &BASE.replace("one", "uno"));
    let theirs = edited(&base, &BASE.replace("three", "tre").replace("- q", "- q\n  - r"));
    let result = merged(&base, &ours, &theirs);
    let wanted = BASE.replace("one", "uno").replace("three", "tre").replace("- q", "- q\n  - r");
    assert_eq!(read(&result), wanted);
    let (ours, theirs, result) = (shown(&ours), shown(&theirs), shown(&result));
    for line in result.lines().filter(|line| line.contains("ENC[") && !line.contains("mac:")) {
        assert!(ours.lines().chain(theirs.lines()).any(|known| known == line), "{line}");
    }
    assert!(result.contains(&format!("lastmodified: \"{NOW}\"")), "{result}");
}

#[test]
fn a_side_that_did_nothing_needs_no_key() {
    let base = base();
    let other = edited(&base, &BASE.replace("one", "uno"));
    let nobody = |ours: &SecretBytes, theirs: &SecretBytes| {
        let sides = Sides { base: Some(copy(&base)), ours: copy(ours), theirs: copy(theirs) };
        merge(Format::Yaml, sides, &[], NOW, &mut OsRng).expect("no key is needed").ours
    };
    assert!(nobody(&base, &other).is_same(&other));
    assert!(nobody(&other, &base).is_same(&other));
    assert!(nobody(&other, &other).is_same(&other));
}

#[test]
fn what_one_side_says_alone_is_that_side_byte_for_byte() {
    let base = base();
    let text = BASE.replace("one", "uno");
    let (ours, same) = (edited(&base, &text), edited(&base, &text));
    assert!(!ours.is_same(&same));
    assert!(merged(&base, &ours, &same).is_same(&ours));
    let more = edited(&base, &text.replace("two", "due"));
    assert!(merged(&base, &ours, &more).is_same(&more));
    assert!(merged(&base, &more, &ours).is_same(&more));
}

#[test]
fn a_side_in_clear_is_an_error_and_a_base_in_clear_is_none() {
    let base = base();
    let (clear, other) = (SecretBytes::from(BASE), edited(&base, &BASE.replace("one", "uno")));
    let not_encrypted = |side| MergeError::NotEncrypted { side };
    assert_eq!(failure(&base, &clear, &other), not_encrypted(Side::Ours));
    assert_eq!(failure(&base, &other, &clear), not_encrypted(Side::Theirs));
    assert_eq!(failure(&base, &base, &clear), not_encrypted(Side::Theirs));
    assert_eq!(failure(&base, &clear, &base), not_encrypted(Side::Ours));
    assert_eq!(failure(&clear, &clear, &SecretBytes::from("a: b\n")), not_encrypted(Side::Theirs));
    let theirs = new(Format::Yaml, &BASE.replace("three", "tre"), metadata(&["a b"]));
    let result = merged(&clear, &other, &theirs);
    assert_eq!(read(&result), BASE.replace("one", "uno").replace("three", "tre"));
    assert_eq!(recipients(&result), "a b");
    assert!(has_key_of(&result, &other));
}

#[test]
fn a_changed_version_is_refused_and_nothing_of_it_told() {
    let base = new(Format::Yaml, "a: hidden\nb_unencrypted: open\n", metadata(&["a"]));
    let other = edited(&base, "a: hidden2\nb_unencrypted: open\n");
    let third = edited(&base, "a: hidden\nb_unencrypted: open\nc: hidden3\n");
    let tampered = SecretBytes::from(shown(&third).replace("open", "changed"));
    for (base, ours, theirs, side) in [
        (&base, &tampered, &other, Side::Ours),
        (&base, &other, &tampered, Side::Theirs),
        (&tampered, &other, &third, Side::Base),
    ] {
        let error = failure(base, ours, theirs);
        assert!(!format!("{error} {error:?}").contains("hidden"));
        assert_eq!(error, MergeError::Open { side, error: OpenError::MacMismatch.into() });
    }
    let moved = SecretBytes::from(shown(&third).replace("\nc:", "\nd:"));
    let error = failure(&base, &other, &moved);
    assert!(matches!(
        error,
        MergeError::Open { side: Side::Theirs, error: DecryptError::Open(OpenError::Value { .. }) }
    ));
    let broken = SecretBytes::from(shown(&third).replace("mac:", "version: x\n    mac:"));
    assert!(matches!(failure(&base, &other, &broken), MergeError::Open { side: Side::Theirs, .. }));
    let not_a_map = SecretBytes::from("a: b\nsops: 1\n");
    assert_eq!(
        failure(&base, &other, &not_a_map),
        MergeError::Open { side: Side::Theirs, error: MetadataError::NotAMapping.into() }
    );
}

#[test]
fn without_a_key_nothing_is_merged() {
    let base = base();
    let (ours, theirs) = (edited(&base, "a: uno\n"), edited(&base, "a: un\n"));
    let sides = Sides { base: Some(copy(&base)), ours, theirs };
    let error = merge(Format::Yaml, sides, &[&Vault(&["e"])], NOW, &mut OsRng).err();
    assert!(matches!(error, Some(MergeError::Open { side: Side::Ours, error: DecryptError::Recover(_) })));
}

#[test]
fn a_data_key_that_is_known_opens_a_version_that_is_not_for_us() {
    let base = new(Format::Yaml, BASE, metadata(&["a"]));
    let ours = edited(&base, &BASE.replace("one", "uno"));
    let theirs = for_keys(&base, &BASE.replace("three", "tre"), "a c");
    let sides = Sides { base: Some(copy(&base)), ours, theirs };
    let merged = merge(Format::Yaml, sides, &[&Vault(&["c"])], NOW, &mut OsRng).expect("one key helps");
    assert_eq!(recipients(&merged.ours), "a c");
}

#[test]
fn recipients_are_merged_and_each_can_read() {
    for (ours, theirs, wanted) in
        [("a b c", "a b", "a b c"), ("a b c", "a b d", "a b c d"), ("a", "a b", "a"), ("a b", "b c", "b c")]
    {
        let base = base();
        let ours = for_keys(&base, &BASE.replace("one", "uno"), ours);
        let theirs = for_keys(&base, &BASE.replace("three", "tre"), theirs);
        let result = merged(&base, &ours, &theirs);
        assert_eq!(recipients(&result), wanted);
        for (key, known) in [("a", &["a"]), ("b", &["b"]), ("c", &["c"]), ("d", &["d"])] {
            assert_eq!(read_by(Format::Yaml, &result, known).is_some(), wanted.contains(key), "{key}");
        }
    }
}

#[test]
fn only_recipients_merge_too() {
    let base = base();
    let (ours, theirs) = (for_keys(&base, BASE, "a b c"), for_keys(&base, BASE, "b"));
    assert_eq!(recipients(&merged(&base, &ours, &theirs)), "b c");
}

#[test]
fn a_new_data_key_stays_and_nobody_comes_back() {
    let base = base();
    let text = |from, to| BASE.replace(from, to);
    let both = text("one", "uno").replace("three", "tre");
    // Theirs has a new one, without b; ours has added c under the old one.
    let ours = for_keys(&base, &text("one", "uno"), "a b c");
    let theirs = new(Format::Yaml, &text("three", "tre"), metadata(&["a"]));
    let result = merged(&base, &ours, &theirs);
    assert!(has_key_of(&result, &theirs));
    assert_eq!((recipients(&result).as_str(), read(&result)), ("a c", both.clone()));
    assert!(read_by(Format::Yaml, &result, &["b"]).is_none());
    assert!(read_by(Format::Yaml, &result, &["c"]).is_some());
    // The other way round.
    let result = merged(&base, &theirs, &ours);
    assert!(has_key_of(&result, &theirs));
    assert_eq!((recipients(&result).as_str(), read(&result)), ("a c", both.clone()));
    // Ours removed b without a new one, theirs has a new one.
    let ours = for_keys(&base, &text("one", "uno"), "a");
    let theirs = new(Format::Yaml, &text("three", "tre"), metadata(&["a b d"]));
    let result = merged(&base, &ours, &theirs);
    assert!(has_key_of(&result, &theirs));
    assert_eq!(recipients(&result), "a d");
    // Nothing but a new data key.
    let theirs = new(Format::Yaml, BASE, metadata(&["a b"]));
    let ours = edited(&base, &text("one", "uno"));
    let result = merged(&base, &ours, &theirs);
    assert!(has_key_of(&result, &theirs));
    assert_eq!(read(&result), text("one", "uno"));
}

#[test]
fn of_two_new_data_keys_none_stays_that_somebody_removed_knows() {
    let base = new(Format::Yaml, BASE, metadata(&["a b c"]));
    let ours_text = BASE.replace("one", "uno");
    let theirs_text = BASE.replace("three", "tre");
    for (ours, theirs, wanted, is_ours, is_theirs) in [
        ("a b c", "a b c", "a b c", true, false),
        ("a b", "a b c", "a b", true, false),
        ("a b c", "a b d", "a b d", false, true),
        ("a b", "a c", "a", false, false),
    ] {
        let ours = new(Format::Yaml, &ours_text, metadata(&[ours]));
        let theirs = new(Format::Yaml, &theirs_text, metadata(&[theirs]));
        let result = merged(&base, &ours, &theirs);
        assert_eq!(recipients(&result), wanted);
        assert_eq!(
            (has_key_of(&result, &ours), has_key_of(&result, &theirs)),
            (is_ours, is_theirs),
            "{wanted}"
        );
        assert_eq!(read(&result), ours_text.replace("three", "tre"));
    }
}

#[test]
fn a_service_that_cannot_be_reached_is_an_error_if_it_is_needed() {
    let base = base();
    let ours = for_keys(&base, &BASE.replace("one", "uno"), "a b c");
    let with = |theirs: SecretBytes| {
        let sides = Sides { base: Some(copy(&base)), ours: copy(&ours), theirs };
        merge(Format::Yaml, sides, &[&Unreachable], NOW, &mut OsRng).err()
    };
    let theirs = BASE.replace("three", "tre");
    assert_eq!(with(for_keys(&base, &theirs, "a")), None, "all hold the data key already");
    let error = with(new(Format::Yaml, &theirs, metadata(&["a b"])));
    assert!(matches!(error, Some(MergeError::Wrap(WrapError::Keys(failed))) if failed.len() == 1));
}

#[test]
fn a_new_rule_holds_for_what_the_other_side_added() {
    let rule = |suffix: &str| Selector::EncryptedSuffix(suffix.to_owned());
    let base = "a_s: one\nm: {x: 1}\n\nb_t: two\n";
    let old = changed(Format::Yaml, &new(Format::Yaml, base, metadata(&["a"])), base, |metadata| {
        metadata.selector = rule("_s");
    });
    let ours = changed(Format::Yaml, &old, base, |metadata| metadata.selector = Selector::default());
    let theirs = edited(&old, &format!("{base}c_s: three\n"));
    let result = shown(&merged(&old, &ours, &theirs));
    assert_eq!(result.matches("type:str]").count(), 4, "{result}");
    assert!(result.contains("unencrypted_suffix"));
}

#[test]
fn what_the_new_rule_leaves_in_clear_is_not_taken_from_a_side_that_encrypted_it() {
    let text = "a_x: one\nm: {x: 1}\n\nb: two\n";
    let base = new(Format::Yaml, text, metadata(&["a"]));
    let rule = |metadata: &mut Metadata| metadata.selector = Selector::UnencryptedSuffix("_x".to_owned());
    let ours = changed(Format::Yaml, &base, text, rule);
    let fine = edited(&base, &text.replace("two", "due"));
    let result = merged(&base, &ours, &fine);
    assert_eq!(read(&result), text.replace("two", "due"));
    for changes in
        [text.replace("one", "uno"), format!("{text}new_x: three\n"), format!("{text}#note\nc: 1\n")]
    {
        let theirs = edited(&base, &changes);
        let result = run(Format::Yaml, Some(&base), &ours, &theirs).expect("merges");
        if changes.contains("note") {
            // Comments follow the rule, too, which encrypts this one.
            assert_eq!(result.conflicts, []);
            continue;
        }
        let [conflict] = &result.conflicts[..] else { panic!("{:?}", result.conflicts) };
        assert_eq!(conflict.kind, ConflictKind::Metadata);
        assert!(conflict.path.to_string().contains("_x"), "{}", conflict.path);
        assert!(result.ours.is_same(&ours) && result.theirs.is_same(&theirs));
        assert!(!shown(&result.ours).contains("uno") && !shown(&result.ours).contains("three"));
    }
}

#[test]
fn two_new_rules_are_a_conflict_of_two_whole_files() {
    let base = base();
    let rule = |suffix: &'static str| {
        move |metadata: &mut Metadata| metadata.selector = Selector::UnencryptedSuffix(suffix.to_owned())
    };
    let ours = changed(Format::Yaml, &base, &BASE.replace("one", "uno"), rule("_x"));
    let theirs = changed(Format::Yaml, &base, &BASE.replace("three", "tre"), rule("_y"));
    let result = run(Format::Yaml, Some(&base), &ours, &theirs).expect("merges");
    assert_eq!(result.conflicts, [metadata::conflict("unencrypted_suffix")]);
    assert!(shown(&result.ours).contains("unencrypted_suffix: _x"));
    assert!(shown(&result.theirs).contains("unencrypted_suffix: _y"));
    let both = BASE.replace("one", "uno").replace("three", "tre");
    assert_eq!((read(&result.ours), read(&result.theirs)), (both.clone(), both));
}

#[test]
fn a_conflict_is_two_whole_files_that_share_what_they_can() {
    let base = base();
    let ours = edited(&base, &BASE.replace("one", "uno"));
    let theirs = new(Format::Yaml, &BASE.replace("one", "un"), metadata(&["a b"]));
    let result = run(Format::Yaml, Some(&base), &ours, &theirs).expect("merges");
    assert_eq!(result.conflicts.len(), 1);
    assert_eq!(read(&result.ours), BASE.replace("one", "uno"));
    assert_eq!(read(&result.theirs), BASE.replace("one", "un"));
    let (left, right) = (shown(&result.ours), shown(&result.theirs));
    let differing: Vec<_> = left.lines().zip(right.lines()).filter(|(left, right)| left != right).collect();
    assert_eq!(left.lines().count(), right.lines().count());
    assert!(
        differing.iter().all(|(line, _)| line.starts_with("a:") || line.contains("mac:")),
        "{differing:?}"
    );
    assert_eq!(differing.len(), 2);
}

#[test]
fn both_added_the_file() {
    let ours = new(Format::Yaml, "a: one\n", metadata(&["a"]));
    let theirs = new(Format::Yaml, "a: one\n", metadata(&["b"]));
    for base in [None, Some(SecretBytes::new())] {
        let result = run(Format::Yaml, base.as_ref(), &ours, &theirs).expect("merges");
        assert_eq!(result.conflicts.len(), 1, "nobody knows whether a recipient was added or removed");
        assert_eq!(result.conflicts[0].kind, ConflictKind::Metadata);
        assert!(result.ours.is_same(&ours) && result.theirs.is_same(&theirs));
    }
    let theirs = new(Format::Yaml, "a: one\nb: two\n", metadata(&["a"]));
    let result = run(Format::Yaml, None, &ours, &theirs).expect("merges");
    assert_eq!(result.conflicts, []);
    assert!(has_key_of(&result.ours, &ours));
}

#[test]
fn every_format_is_merged() {
    for (format, text) in [
        (Format::Dotenv, "# note\nA=one\nB=1\nM=x\nN=y\nC=three\n"),
        (Format::Ini, "[s]\na = one\nb = 1\n\n[t]\nm = x\nn = y\nc = three\n"),
        (
            Format::Json,
            "{\n\t\"a\": \"one\",\n\t\"b\": 1,\n\t\"m\": 1,\n\t\"n\": [],\n\t\"c\": \"three\"\n}\n",
        ),
        (Format::Yaml, "a: one\nb: 1\n---\nm: 1\n---\nc: three # note\n"),
    ] {
        let base = new(format, text, metadata(&["a"]));
        let ours = changed(format, &base, &text.replace("one", "uno"), |_| {});
        let theirs = changed(format, &base, &text.replace("three", "tre"), |_| {});
        let result = run(format, Some(&base), &ours, &theirs).expect("merges");
        assert_eq!(result.conflicts, [], "{format:?}");
        let wanted = text.replace("one", "uno").replace("three", "tre");
        assert_eq!(read_by(format, &result.ours, ALL), Some(wanted), "{format:?}");
    }
}

#[test]
fn bytes_are_merged_as_a_whole() {
    let base = new(Format::Binary, "one", metadata(&["a"]));
    let changed = |text: &str| changed(Format::Binary, &base, text, |_| {});
    let (ours, theirs) = (changed("uno"), changed("un"));
    let result = run(Format::Binary, Some(&base), &ours, &theirs).expect("merges");
    assert_eq!(result.conflicts.len(), 1);
    assert_eq!(read_by(Format::Binary, &result.ours, ALL).as_deref(), Some("uno"));
    assert_eq!(read_by(Format::Binary, &result.theirs, ALL).as_deref(), Some("un"));
    let same = changed("uno");
    assert!(run(Format::Binary, Some(&base), &ours, &same).expect("merges").ours.is_same(&ours));
}

#[test]
fn groups_are_merged_and_their_shares_fit_together() {
    let with = |threshold| {
        let mut metadata = metadata(&["a", "b", "c"]);
        metadata.shamir_threshold = threshold;
        metadata
    };
    let base = new(Format::Yaml, BASE, with(2));
    let regrouped = |text: &str, keys: &[&str]| {
        changed(Format::Yaml, &base, text, |metadata| metadata.groups = groups(keys))
    };
    let ours = regrouped(&BASE.replace("one", "uno"), &["a d", "b", "c"]);
    let theirs = regrouped(&BASE.replace("three", "tre"), &["a", "b", "c e"]);
    let result = merged(&base, &ours, &theirs);
    assert_eq!(recipients(&result), "a d | b | c e");
    for known in [&["a", "b"], &["d", "e"], &["b", "c"]] {
        assert!(read_by(Format::Yaml, &result, known).is_some(), "{known:?}");
    }
    assert!(read_by(Format::Yaml, &result, &["a", "d"]).is_none(), "one group is not enough");
    // What only one side did is taken as it is.
    let theirs = edited(&base, &BASE.replace("three", "tre"));
    let result = merged(&base, &ours, &theirs);
    assert!(read_by(Format::Yaml, &result, &["d", "c"]).is_some());
    // Two new thresholds, and another number of groups, are for people.
    let threshold = |text: &str, threshold| {
        let mut metadata = metadata(&["a", "b", "c", "d"]);
        metadata.shamir_threshold = threshold;
        new(Format::Yaml, text, metadata)
    };
    let (ours, theirs) = (threshold(BASE, 2), threshold(&BASE.replace("one", "uno"), 3));
    let result = run(Format::Yaml, Some(&threshold(BASE, 4)), &ours, &theirs).expect("merges");
    assert_eq!(result.conflicts, [metadata::conflict("shamir_threshold")]);
    assert!(result.ours.is_same(&ours) && result.theirs.is_same(&theirs));
    let ours = regrouped(BASE, &["a", "b", "c", "d"]);
    let theirs = regrouped(BASE, &["a e", "b", "c"]);
    let result = run(Format::Yaml, Some(&base), &ours, &theirs).expect("merges");
    assert_eq!(result.conflicts, [metadata::conflict("key_groups")]);
}

#[test]
fn fields_of_a_newer_version_and_the_newer_version_stay() {
    let base = base();
    let ours = changed(Format::Yaml, &base, &BASE.replace("one", "uno"), |metadata| {
        metadata.unknown.insert("future".to_owned(), serde_json::json!({"x": [1, "y"]}));
        metadata.version = "9.1.0".to_owned();
    });
    let theirs = edited(&base, &BASE.replace("three", "tre"));
    for result in [merged(&base, &ours, &theirs), merged(&base, &theirs, &ours)] {
        let (envelope, _) = opened(Format::Yaml, &result);
        assert_eq!(envelope.metadata().unknown["future"], serde_json::json!({"x": [1, "y"]}));
        assert_eq!(envelope.metadata().version, "9.1.0");
    }
}

/// A map with what random edits may do to it.
fn map() -> impl Strategy<Value = Vec<(u8, u8)>> {
    proptest::collection::vec((0..8u8, 0..4u8), 0..8)
}

fn edit(edits: &[(u8, u8)]) -> String {
    let mut map: std::collections::BTreeMap<u8, u8> = (0..6).map(|key| (key, 9)).collect();
    for (key, value) in edits {
        match value {
            0 => map.remove(key),
            value => map.insert(*key, *value),
        };
    }
    map.insert(9, 9);
    map.iter().map(|(key, value)| format!("k{key}: v{value}\n")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_says_what_the_plaintexts_merged_say(ours in map(), theirs in map()) {
        let (base_text, ours_text, theirs_text) = (edit(&[]), edit(&ours), edit(&theirs));
        let base = new(Format::Yaml, &base_text, metadata(&["a"]));
        let (ours, theirs) = (edited(&base, &ours_text), edited(&base, &theirs_text));
        let tree = |text: &str| Format::Yaml.read(text).expect("a document");
        let (base_tree, ours_tree, theirs_tree) = (tree(&base_text), tree(&ours_text), tree(&theirs_text));
        let sides = Sides { base: Some(&base_tree), ours: &ours_tree, theirs: &theirs_tree };
        let plain = plain::merge(Format::Yaml, sides).expect("merges");
        let merged = run(Format::Yaml, Some(&base), &ours, &theirs).expect("merges");
        prop_assert_eq!(&merged.conflicts, &plain.conflicts);
        prop_assert_eq!(read(&merged.ours), shown(&plain.ours));
        prop_assert_eq!(read(&merged.theirs), shown(&plain.theirs));
    }
}
