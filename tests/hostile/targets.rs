//! What must hold for any bytes: no panic, and no document that changes on its way.
//!
//! The fuzz targets in `fuzz/` and the tests in `hostile.rs` run these.

use std::ops::Range;

use selkie::format::{Format, Place, Rewrite, WriteError};
use selkie::keys::age::Identities;
use selkie::manifest::{ObjectKind, print_json, print_yaml, read_object, read_objects, read_stream};
use selkie::merge;
use selkie::render::{self, Archive, EmitMode, Engine, Files, Policy, Rule, Sources, emit};
use selkie::sealed::{
    Backup, KeySecret, SealedFile, SealingCert, Secret, SmallKeys, UnsealedFile, flaws, to_manifest,
};
use selkie::secret::SecretBytes;
use selkie::sops::audit::{DoubtKind, inspect};
use selkie::sops::config::Config;
use selkie::sops::{Envelope, Forecast, LeafState, MacCheck, Metadata, SealError, Selector, Stash, leaves};
use selkie::template::{Limits, Surroundings, render as render_template};
use selkie::tree::{MetadataEntry, NodeId, Origin, Tree, TreePath, Value, differences};
use serde_json::{Map, Value as Json, json};
use time::OffsetDateTime;

use crate::envelope::{self, NOW};

/// Takes any bytes, and panics if what must hold does not.
type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("archive", archive),
    ("binary", binary),
    ("compare", compare),
    ("config", config),
    ("dotenv", dotenv),
    ("edit_dotenv", edit_dotenv),
    ("edit_ini", edit_ini),
    ("edit_json", edit_json),
    ("edit_yaml", edit_yaml),
    ("encrypted", encrypted),
    ("envelope", envelope),
    ("identities", identities),
    ("ini", ini),
    ("json", json),
    ("manifest", manifest),
    ("merging", merging),
    ("metadata", metadata),
    ("path", path),
    ("policy", policy),
    ("rendering", rendering),
    ("sealed_secrets", sealed_secrets),
    ("sealing_keys", sealing_keys),
    ("template", template),
    ("yaml", yaml),
];

/// Unpacks an archive: nothing in it leads out of it.
pub fn archive(data: &[u8]) {
    let limits = render::Limits { files: 1000, total_bytes: 1 << 20, ..render::Limits::default() };
    let Ok(archive) = Archive::unpack(data, &limits) else { return };
    for path in archive.paths() {
        let leads_out = path.starts_with('/') || path.split('/').any(|name| matches!(name, "" | "." | ".."));
        assert!(!leads_out, "{path}");
        if let Ok(content) = archive.read(&path) {
            assert!(content.len() as u64 <= limits.total_bytes);
        }
    }
}

/// Reads, rewrites, encrypts and decrypts.
pub fn binary(data: &[u8]) {
    survives(Format::Binary, data);
}

/// Compares two documents, and looks at them without a key; the first byte chooses their format.
pub fn compare(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    let format = FORMATS[usize::from(choice) % FORMATS.len()];
    let mut trees = data.split(|&byte| byte == DIVIDER).map(|text| format.read(text));
    let (Some(Ok(one)), Some(Ok(other))) = (trees.next(), trees.next()) else { return };
    let envelope = envelope::envelope(&Map::new(), 0).expect("there are no rules");
    looks_at(format, &one, &other, envelope.metadata());
    looks_at(format, &other, &one, envelope.metadata());
}

/// Reads the rules of `.sops.yaml`.
pub fn config(data: &[u8]) {
    if let Ok(config) = Config::parse(data) {
        // Which rule it is, if any, is for other tests.
        let _ = (config.rule_for("some/path.yaml"), config.destination_for("some/path.yaml"));
    }
}

/// Reads, rewrites, encrypts and decrypts.
pub fn dotenv(data: &[u8]) {
    survives(Format::Dotenv, data);
}

/// Puts values into a document and takes them out.
pub fn edit_dotenv(data: &[u8]) {
    edit(Format::Dotenv, data);
}

/// Puts values into a document and takes them out.
pub fn edit_ini(data: &[u8]) {
    edit(Format::Ini, data);
}

/// Puts values into a document and takes them out.
pub fn edit_json(data: &[u8]) {
    edit(Format::Json, data);
}

/// Puts values into a document and takes them out.
pub fn edit_yaml(data: &[u8]) {
    edit(Format::Yaml, data);
}

/// Decrypts what pretends to be an encrypted document; the first byte chooses its format.
pub fn encrypted(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else { return };
    decrypts(FORMATS[usize::from(choice) % FORMATS.len()], data);
}

/// Decrypts what pretends to be an encrypted value.
pub fn envelope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let metadata = json!({
        "age": [{ "recipient": "age1", "enc": "" }], "lastmodified": NOW, "mac": text, "version": "3.13.3"
    });
    decrypts(Format::Json, json!({ "a": text, "sops": metadata }).to_string().as_bytes());
}

/// Reads age identities.
pub fn identities(data: &[u8]) {
    if let Ok(identities) = Identities::parse("input", &SecretBytes::from(data)) {
        // Deriving them is what may fail.
        let _ = identities.recipients();
    }
}

/// Reads, rewrites, encrypts and decrypts.
pub fn ini(data: &[u8]) {
    survives(Format::Ini, data);
}

/// Reads, rewrites, encrypts and decrypts.
pub fn json(data: &[u8]) {
    survives(Format::Json, data);
}

/// Reads manifests, and prints what can be read again as the same.
pub fn manifest(data: &[u8]) {
    for kind in [ObjectKind::Secret, ObjectKind::SealedSecret] {
        for object in read_stream(data, kind).into_iter().flatten() {
            prints_back(&object.into());
        }
    }
    for object in read_objects(data).into_iter().flatten() {
        prints_back(&object);
    }
}

/// Reads metadata, and what is written of it.
pub fn metadata(data: &[u8]) {
    let Ok(Json::Object(entry)) = serde_json::from_slice(data) else { return };
    let Ok(metadata) = Metadata::from_json(&entry) else { return };
    let written = metadata.to_json();
    let again = Metadata::from_json(&written).expect("what is written can be read");
    assert_eq!(again.to_json(), written);
}

/// Reads a path, and what is written of it.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(path) = TreePath::parse(text) else { return };
    assert_eq!(TreePath::parse(&path.to_string()).ok(), Some(path));
}

/// Merges three versions, parted by [`DIVIDER`], in the format of the first byte: what comes of it can be read, and is one
/// text unless there is a conflict. What is written with markers comes apart again.
pub fn merging(data: &[u8]) {
    let Some((&format, data)) = data.split_first() else { return };
    let format = FORMATS[usize::from(format) % FORMATS.len()];
    // Metadata is taken out before.
    let read = |version| format.read(version).ok().filter(|tree| *tree.metadata() == MetadataEntry::Absent);
    let mut versions = data.splitn(3, |byte| *byte == DIVIDER).map(read);
    let (Some(Some(base)), Some(Some(ours)), Some(Some(theirs))) =
        (versions.next(), versions.next(), versions.next())
    else {
        return;
    };
    let Ok(merged) =
        merge::plain::merge(format, merge::Sides { base: Some(&base), ours: &ours, theirs: &theirs })
    else {
        return;
    };
    let (ours, theirs) = (merged.ours.expose_secret(), merged.theirs.expose_secret());
    assert!(format.read(ours).is_ok() && format.read(theirs).is_ok(), "what is merged cannot be read");
    assert!(!merged.conflicts.is_empty() || ours == theirs, "without a conflict there is one result");
    let markers = merge::sides::Markers { ours: "ours", theirs: "theirs", length: 7 };
    if ours != theirs {
        let joined = merge::sides::join(ours, theirs, markers);
        let (left, right) = merge::sides::split(joined.expose_secret()).expect("there are markers");
        assert!(left.expose_secret() == ours && right.expose_secret() == theirs, "a side is another one");
    }
}

/// Reads a policy for rendering.
pub fn policy(data: &[u8]) {
    let Ok(policy) = Policy::parse(data) else { return };
    assert!(policy.rules().iter().all(|rule| !rule.modes.is_empty()));
}

/// Renders a stream without keys: nothing encrypted and no mark comes out.
pub fn rendering(data: &[u8]) {
    let (rule, limits) = (Rule::default(), render::Limits { documents: 1000, ..render::Limits::default() });
    let engine = Engine { services: None, sealing_keys: None, rule: &rule, limits: &limits };
    let mut sources = Sources::default();
    let Ok(documents) = engine.stream(&SecretBytes::from(data), &mut sources) else { return };
    for mode in [EmitMode::Fake, EmitMode::Redact] {
        let Ok(emission) = emit(&rule, &limits, &sources, &documents, &mode) else { continue };
        let Ok(text) = emission.to_yaml(&limits) else { continue };
        assert!(sources.iter().all(|source| !source.original().is_empty()));
        for mark in sources.marks().iter() {
            let word = mark.word().as_bytes();
            assert!(!text.expose_secret().windows(word.len()).any(|window| window == word));
        }
    }
}

/// Looks for flaws of SealedSecrets, and makes Secrets of them: what is made can be read.
pub fn sealed_secrets(data: &[u8]) {
    let Ok(tree) = Format::Yaml.read(data) else { return };
    let (count, flaws) = flaws(&tree, None, None);
    assert!(count > 0 || flaws.is_empty(), "something is wrong with nothing");
    let Ok(file) = SealedFile::new(Format::Yaml, tree) else { return };
    for (to, only_secrets) in [(Format::Yaml, false), (Format::Yaml, true), (Format::Json, false)] {
        let unsealed = UnsealedFile { from: Format::Yaml, to, base64: false, only_secrets };
        let text = unsealed.write(&file, |sealed, _| {
            let metadata = sealed.metadata.clone();
            Ok::<_, std::convert::Infallible>(Secret { metadata, ..Secret::default() })
        });
        let Ok(text) = text;
        assert!(text.is_empty() || to.read(text).is_ok(), "what is made cannot be read");
    }
}

/// Reads keys and certificates, and writes the keys down: they are the same.
pub fn sealing_keys(data: &[u8]) {
    if let Ok(cert) = SealingCert::parse(data) {
        let again = SealingCert::parse(cert.to_pem().as_bytes()).map(|cert| cert.fingerprint());
        assert_eq!(again, Ok(cert.fingerprint()));
    }
    let Ok(backup) = Backup::parse(data.into(), SmallKeys::Allow) else { return };
    let secrets: Vec<_> = backup.keys.into_iter().map(|key| key.secret).collect();
    let fingerprints =
        |secrets: &[KeySecret]| -> Vec<_> { secrets.iter().map(|secret| secret.key.fingerprint()).collect() };
    if let (false, Ok(text)) = (secrets.is_empty(), to_manifest(&secrets, Format::Yaml)) {
        let again = Backup::parse(text, SmallKeys::Allow).expect("it was written as a backup");
        let again: Vec<_> = again.keys.into_iter().map(|key| key.secret).collect();
        assert_eq!(fingerprints(&again), fingerprints(&secrets));
    }
}

/// Renders a template with little of everything: it ends, and no error tells a value.
pub fn template(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let limits =
        Limits { depth: 40, output_bytes: 1 << 16, steps: 15_000, value_bytes: 1 << 16, ..Limits::default() };
    let context = ["k-with-dash", "json", "number", "password", "text", "user"];
    let context = context.map(|key| (key.to_owned(), SecretBytes::from(VALUE_OF_TEMPLATE))).into();
    let rng = &mut envelope::rng(1);
    let mut surroundings = Surroundings { now: OffsetDateTime::UNIX_EPOCH, rng };
    if let Err(error) = render_template("t", source, &context, &mut surroundings, &limits) {
        assert!(!error.to_string().contains(VALUE_OF_TEMPLATE), "an error tells a value");
    }
}

/// Reads, rewrites, encrypts and decrypts.
pub fn yaml(data: &[u8]) {
    survives(Format::Yaml, data);
}

fn survives(format: Format, data: &[u8]) {
    let Ok(tree) = format.read(data) else { return };
    check_spans(&tree);
    let rewritten = format.store().rewrite(&tree, &Rewrite::default()).expect("nothing is changed");
    assert!(rewritten.expose_secret() == data, "it changes when nothing is changed");
    // Sixteen rules and seeds come from the document itself.
    let choice = data.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    seals(format, data, tree, choice);
}

/// Encrypts, as was foreseen, and decrypts.
fn seals(format: Format, data: &[u8], tree: Tree, choice: u8) {
    let mut rules = Map::new();
    if let Some(&(field, text)) = RULES.get(usize::from(choice) % (RULES.len() + 1)) {
        rules.insert(field.to_owned(), text.into());
    }
    let seed = u64::from(choice);
    let envelope = envelope::envelope(&rules, seed).expect("the rules are valid");
    let foreseen = Forecast::of(format, &tree, &envelope.metadata().selector).refusal;
    let selected = selected_leaves(format, &tree, &envelope);
    let sealed = envelope.seal(format, tree, Stash::new(), NOW, &mut envelope::rng(seed));
    match (&foreseen, sealed.as_ref().err()) {
        // Only the one that encrypts knows of these.
        (None, Some(SealError::AmbiguousComment { .. } | SealError::Write(_))) => {}
        (foreseen, error) => assert_eq!(foreseen.as_ref(), error, "it was foreseen otherwise"),
    }
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(
            SealError::AlreadyEncrypted
            | SealError::AmbiguousComment { .. }
            | SealError::NothingSelected { .. }
            | SealError::Unsigned { .. }
            | SealError::Write(WriteError::ReservedKey(_)),
        ) => return,
        Err(error) => panic!("it is read and cannot be encrypted: {error}"),
    };
    let encrypted = match sealed.in_place() {
        Ok(encrypted) => encrypted,
        Err(SealError::Write(_)) => return,
        Err(error) => panic!("it cannot be encrypted in place: {error}"),
    };
    is_sealed(format, encrypted.expose_secret(), &envelope, selected);
    let opened =
        envelope::open(format, encrypted.expose_secret(), envelope::DATA_KEY).expect("the key is right");
    let plain = opened.plaintext().expect("what was read can be written");
    assert!(plain.expose_secret() == data, "it changes by encrypting and decrypting");
}

/// Without the key, a document that was encrypted here raises no doubt but of keys that SOPS mistakes.
fn is_sealed(format: Format, encrypted: &[u8], envelope: &Envelope, selected: usize) {
    let tree = format.read(encrypted).expect("what is written can be read");
    let doubts = inspect(format, &tree, envelope.metadata());
    assert!(doubts.iter().all(|doubt| doubt.kind == DoubtKind::AmbiguousKey), "a doubt: {doubts:?}");
    assert_eq!(selected_leaves(format, &tree, envelope), selected, "other values are selected");
    let left = leaves(format, &tree, &envelope.metadata().selector);
    let is_clear = |state| state == LeafState::Clear;
    assert!(!left.iter().any(|leaf| leaf.selected && is_clear(leaf.state)), "a value is left in clear");
}

fn selected_leaves(format: Format, tree: &Tree, envelope: &Envelope) -> usize {
    let leaves = leaves(format, tree, &envelope.metadata().selector);
    leaves.iter().filter(|leaf| leaf.selected).count()
}

/// Looks at a document without a key, in every way there is, and compares it with itself and with another.
pub fn looks_at(format: Format, tree: &Tree, other: &Tree, metadata: &Metadata) {
    let last = Forecast::of(format, tree, &metadata.selector).comments.len();
    assert!(last <= tree.nodes().len(), "there are more comments than nodes");
    let leaves = leaves(format, tree, &metadata.selector);
    assert!(leaves.is_sorted_by_key(|leaf| leaf.id), "leaves are out of order");
    let lines = tree.source().iter().filter(|&&byte| byte == b'\n').count() + 1;
    let doubts = inspect(format, tree, metadata);
    assert!(doubts.iter().all(|doubt| (1..=lines).contains(&doubt.line)), "a doubt is nowhere");
    assert!(differences(tree, tree).is_empty(), "a document differs from itself");
    let there = differences(tree, other);
    assert_eq!(there.len(), differences(other, tree).len(), "there and back are not equally far");
}

fn decrypts(format: Format, data: &[u8]) {
    let Ok(tree) = format.read(data) else { return };
    let Ok(metadata) = Metadata::from_entry(tree.metadata()) else { return };
    let again = format.read(data).expect("it was read before");
    looks_at(format, &tree, &again, &metadata);
    let Ok(envelope) = envelope::recover(metadata, envelope::DATA_KEY) else { return };
    let Ok(opened) = envelope.open(format, tree, MacCheck::Ignore) else { return };
    looks_at(format, opened.tree(), &again, envelope.metadata());
    // A document that nobody encrypted may hold what cannot be written.
    let _ = opened.plaintext();
    let _ = opened.stash();
}

/// The first two bytes choose a node and what is put there.
fn edit(format: Format, data: &[u8]) {
    let [choice, kind, data @ ..] = data else { return };
    let Ok(tree) = format.read(data) else { return };
    let Some(place) = tree.nodes().map(|(id, _)| id).nth(usize::from(*choice)) else { return };
    let is_value =
        |id| tree.node(id).origin == Origin::Source && !matches!(tree.node(id).value, Value::Comment(_));
    if !is_value(place) || tree.documents().contains(&place) {
        return;
    }
    let value = &VALUES[usize::from(*kind) % VALUES.len()];
    let value: Json = serde_json::from_str(value).expect("the values are JSON");
    let has_only_texts = matches!(format, Format::Dotenv | Format::Ini);
    let (start, end) = (place.index(), tree.node(place).end as usize);
    if let Ok(changed) = format.store().put(&tree, Place::Node(place), &value) {
        let again = format.read(changed).expect("what was put in can be read");
        let expected = shape_of(key_of(&tree, place), &value, has_only_texts);
        same_but(format, &tree, &again, start..end, expected);
    }
    if let Ok(changed) = format.store().remove(&tree, place) {
        let again = format.read(changed).expect("what is left can be read");
        same_but(format, &tree, &again, start..end, vec![]);
    }
    let (below, key) = match tree.node(place).value {
        Value::List => (Place::Append(place), None),
        Value::Map => (Place::Entry(place, "new"), Some(b"new".to_vec())),
        _ => return,
    };
    if let Ok(changed) = format.store().put(&tree, below, &value) {
        let again = format.read(changed).expect("what was put in can be read");
        same_but(format, &tree, &again, end..end, shape_of(key, &value, has_only_texts));
    }
}

/// Values before and behind those in `range` are the same in both trees, and others are in their place.
fn same_but(format: Format, before: &Tree, after: &Tree, range: Range<usize>, entry: Shape) {
    let mut expected = shape(before, |id| id.index() < range.start);
    expected.extend(entry);
    expected.extend(shape(before, |id| id.index() >= range.end));
    // A comment keeps the section of INI in which the lines above all sections are.
    let kept = |mut shape: Shape| {
        shape.retain(|(_, text)| format != Format::Ini || text != MAP);
        shape
    };
    let (expected, found, source) =
        (kept(expected), kept(shape(after, |_| true)), kept(shape(before, |_| true)));
    assert!(found == expected, "an edit changed more than its place");
    assert!(found == source || !differences(before, after).is_empty(), "an edit makes no difference");
}

/// Keys and values, in order.
type Shape = Vec<(Option<Vec<u8>>, String)>;

/// The keys and values of what is put in.
fn shape_of(key: Option<Vec<u8>>, value: &Json, has_only_texts: bool) -> Shape {
    let below: Vec<_> = match value {
        Json::Array(items) => items.iter().map(|item| (None, item)).collect(),
        Json::Object(entries) => {
            entries.iter().map(|(key, entry)| (Some(key.clone().into_bytes()), entry)).collect()
        }
        Json::Bool(_) | Json::Number(_) if has_only_texts => {
            return vec![(key, Json::from(value.to_string()).to_string())];
        }
        value => return vec![(key, value.to_string())],
    };
    let open = if value.is_array() { LIST } else { MAP };
    let below = below.into_iter().flat_map(|(key, value)| shape_of(key, value, has_only_texts));
    [(key, open.to_owned())].into_iter().chain(below).collect()
}

/// The keys and values of all nodes that are wanted, in order.
fn shape(tree: &Tree, wanted: impl Fn(NodeId) -> bool) -> Shape {
    let nodes = tree.nodes().filter(|(id, node)| {
        wanted(*id) && node.origin != Origin::Metadata && !matches!(node.value, Value::Comment(_))
    });
    let text = |id, value| match value {
        Value::List => LIST.to_owned(),
        Value::Map => MAP.to_owned(),
        _ => tree.to_json(id).to_string(),
    };
    nodes.map(|(id, node)| (key_of(tree, id), text(id, node.value))).collect()
}

fn key_of(tree: &Tree, id: NodeId) -> Option<Vec<u8>> {
    tree.key(id).map(<[u8]>::to_vec)
}

fn check_spans(tree: &Tree) {
    let source = tree.source();
    let text = std::str::from_utf8(source).ok();
    for (_, node) in tree.nodes() {
        let (start, end) = (node.span.start as usize, node.span.end as usize);
        assert!(start <= end && end <= source.len(), "a span is out of bounds");
        let is_boundary = |at| text.is_none_or(|text| text.is_char_boundary(at));
        assert!(is_boundary(start) && is_boundary(end), "a span cuts a character");
    }
}

/// What no text holds stands between two of them.
pub const DIVIDER: u8 = 0xFF;

/// What no template says by itself.
const VALUE_OF_TEMPLATE: &str = "hUnTeR2";

const FORMATS: [Format; 5] = [Format::Binary, Format::Dotenv, Format::Ini, Format::Json, Format::Yaml];

const LIST: &str = "list";
const MAP: &str = "map";

const RULES: [(&str, &str); 6] = [
    (Selector::FIELDS[0], "_clear"),
    (Selector::FIELDS[1], "a"),
    (Selector::FIELDS[2], "^b"),
    (Selector::FIELDS[3], "a|b|c"),
    (Selector::FIELDS[4], "clear"),
    (Selector::FIELDS[5], "e"),
];

const VALUES: [&str; 10] = [
    "null",
    "true",
    "7",
    "1.5",
    "\"\"",
    "\"text\"",
    "\"a: b\\n# c\"",
    "\"1\"",
    "[1, \"a\"]",
    "{\"k\": {\"l\": [2]}}",
];

fn prints_back(object: &Json) {
    let yaml = print_yaml(object);
    match read_object(yaml.expose_secret()) {
        Ok(read) => assert!(is_same(object, &read), "{object:?} is printed as {read:?}"),
        // JSON may be nested a little deeper.
        Err(error) => assert!(error.to_string().contains("nested too deeply"), "{object:?}: {error}"),
    }
    if object.is_object() {
        let read = read_object(print_json(object).expose_secret()).expect("it is JSON");
        assert!(is_same(object, &read), "{object:?} is printed as {read:?}");
    }
}

/// Returns whether two values are the same, numbers up to how closely they are read.
fn is_same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Json::Number(left), Json::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or_default(), right.as_f64().unwrap_or_default());
            (left - right).abs() <= left.abs() * 1e-12
        }
        (Json::Object(left), Json::Object(right)) => {
            let is_in =
                |(name, value): (&String, &Json)| right.get(name).is_some_and(|other| is_same(value, other));
            left.len() == right.len() && left.iter().all(is_in)
        }
        _ => left == right,
    }
}
