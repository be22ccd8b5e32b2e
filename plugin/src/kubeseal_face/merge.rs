//! Merging a Secret into a SealedSecret of a file. kubeseal prints the object anew, in JSON unless it is told
//! otherwise, and drops whatever else the file holds.
//!
//! Here a file that says no more than the object, as kubeseal printed it, is printed anew in its own format; in every
//! other one, values are put where they belong, and the rest stays byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use rand::rngs::OsRng;
use selkie::format::Format as Text;
use selkie::kubeseal::{self, Choices};
use selkie::manifest::{ObjectKind, read_object, read_objects, read_stream};
use selkie::sealed::{SealedSecret, SealingCert, SealingScope};
use selkie::secret::SecretBytes;
use selkie::tree::{NodeId, Step, TreePath};
use serde_json::{Map, Value as Json};

use super::failure::Failure;
use super::input::Input;
use super::options::Options;
use super::output::Format;
use super::recovery::sealed_secret;
use crate::change;
use crate::files::{self, Audience, Expected};
use crate::session::Session;

/// Seals the Secret of the input for the SealedSecret of a file, and puts its values there.
pub(super) fn run(
    session: &Session,
    options: &Options<'_>,
    input: Input<'_>,
    file: &str,
    cert: &SealingCert,
) -> Result<(), Failure> {
    let path = session.absolute(Path::new(file));
    let failure = |error: &std::io::Error| Failure::of_file("open", Path::new(file), error);
    let source = files::read(&path).map_err(|error| failure(&error))?;
    let object = read_object(source.expose_secret()).map_err(Failure::new)?;
    let target = sealed_secret(&object)?;
    let update = update(session, options, input, &target, cert)?;
    let result = merged(options, &source, &object, target, update)?;
    files::write_expecting(
        &path,
        result.expose_secret(),
        Audience::Owner,
        Expected::Content(source.expose_secret()),
    )
    .map_err(|error| failure(&error))
}

/// Returns the Secret of the input, sealed for the name, namespace and scope of the target: values that were sealed
/// for others could not be opened there.
fn update(
    session: &Session,
    options: &Options<'_>,
    input: Input<'_>,
    target: &SealedSecret,
    cert: &SealingCert,
) -> Result<SealedSecret, Failure> {
    let scope = target.scope();
    if ![SealingScope::Strict, scope].contains(&options.scope) {
        let wanted = options.scope;
        return Err(Failure::new(format!("the sealed secret has the scope {scope}, not {wanted}")));
    }
    let place = options.place(session);
    let named = |text: &'_ str| (!text.is_empty()).then(|| text.to_owned());
    let (name, namespace) = (named(target.metadata.name()), named(target.metadata.namespace()));
    let choices =
        Choices { name: name.as_deref(), namespace: namespace.as_deref(), scope, ..options.choices(&place) };
    let objects = read_stream(input.read()?.expose_secret(), ObjectKind::Secret).map_err(Failure::new)?;
    let [object] = <[Map<String, Json>; 1]>::try_from(objects)
        .map_err(|_| Failure::new("only one Secret can be merged into a sealed secret"))?;
    let mut secret = kubeseal::secret(object, &choices).map_err(Failure::new)?;
    scope.annotate(&mut secret.metadata);
    kubeseal::seal(secret, &choices, cert, &mut OsRng).map_err(Failure::new)
}

/// Returns the text of the file with the update in it.
fn merged(
    options: &Options<'_>,
    source: &SecretBytes,
    object: &Json,
    mut target: SealedSecret,
    update: SealedSecret,
) -> Result<SecretBytes, Failure> {
    let own = format_of(source);
    let wanted = if options.format.1 { Format::parse(options.format.0)? } else { own };
    let mut changes = Vec::new();
    for (key, item) in &update.encrypted_data {
        changes.push((vec!["spec", "encryptedData", key], Json::from(item.as_str())));
    }
    for field in ["annotations", "labels"] {
        let entries = update.template.metadata.field(field).and_then(Json::as_object);
        for (key, value) in entries.into_iter().flatten() {
            changes.push((vec!["spec", "template", "metadata", field, key], value.clone()));
        }
    }
    let text = if is_printed(source, [object]) {
        let mut object = object.clone();
        for (path, value) in changes {
            put(&mut object, &path, value);
        }
        wanted.print(&object, ObjectKind::SealedSecret)
    } else if wanted == own {
        let mut editor = Editor::new(source);
        for (path, value) in changes {
            editor.put(0, &path, &value)?;
        }
        editor.finish()
    } else {
        let why =
            "the file holds more than a sealed secret, which another format would lose: leave out --format";
        return Err(Failure::new(why));
    };
    target.merge(update);
    let written = read_object(text.expose_secret()).map_err(Failure::new)?;
    if sealed_secret(&written)? != target {
        return Err(Failure::new("the sealed secret cannot be changed in place"));
    }
    Ok(text)
}

/// Puts a value into an object; maps on the way are made.
fn put(object: &mut Json, path: &[&str], value: Json) {
    let mut place = object;
    for &key in path {
        if !place.is_object() {
            *place = Json::Object(Map::new());
        }
        place = &mut place[key];
    }
    *place = value;
}

/// Returns a text with the items of its SealedSecrets, one after the other, in place of those that are there.
pub(super) fn with_items<'a>(
    source: &SecretBytes,
    items: impl IntoIterator<Item = &'a BTreeMap<String, String>>,
) -> Result<SecretBytes, Failure> {
    let items: Vec<_> = items.into_iter().collect();
    let mut editor = Editor::new(source);
    let documents = editor.documents_with_content()?;
    if documents.len() != items.len() {
        return Err(Failure::new(
            "the input cannot be changed in place: name another file with --sealed-secret-file",
        ));
    }
    for (document, items) in documents.iter().zip(&items) {
        for (key, item) in *items {
            editor.put(*document, &["spec", "encryptedData", key], &item.as_str().into())?;
        }
    }
    let text = editor.finish();
    let written = read_objects(text.expose_secret()).map_err(Failure::new)?;
    let found: Vec<_> = written.iter().map(sealed_secret).collect::<Result<_, _>>()?;
    match found.iter().map(|sealed| &sealed.encrypted_data).eq(items) {
        true => Ok(text),
        false => Err(Failure::new("the input cannot be changed in place")),
    }
}

/// Returns whether a text says nothing but what these objects say, as kubeseal prints them.
pub(super) fn is_printed<'a>(source: &SecretBytes, objects: impl IntoIterator<Item = &'a Json>) -> bool {
    let format = format_of(source);
    let mut printed = SecretBytes::new();
    for object in objects {
        printed.extend_from_slice(format.print(object, ObjectKind::SealedSecret).expose_secret());
    }
    let printed = printed.expose_secret();
    // What comes from elsewhere has no such line at its start.
    [Some(printed), printed.strip_prefix(b"---\n")].contains(&Some(source.expose_secret()))
}

fn format_of(source: &SecretBytes) -> Format {
    let is_json = source.expose_secret().trim_ascii_start().starts_with(b"{");
    if is_json { Format::Json } else { Format::Yaml }
}

/// Puts values into a text, one after the other.
struct Editor {
    format: Text,
    text: SecretBytes,
}

impl Editor {
    fn new(source: &SecretBytes) -> Self {
        let format = if format_of(source) == Format::Json { Text::Json } else { Text::Yaml };
        Self { format, text: source.expose_secret().into() }
    }

    /// Returns which documents hold something.
    fn documents_with_content(&self) -> Result<Vec<usize>, Failure> {
        let tree = self.format.read(self.text.expose_secret()).map_err(Failure::new)?;
        let has_content = |(_, root): &(usize, &NodeId)| tree.items(**root).next().is_some();
        Ok(tree.documents().iter().enumerate().filter(has_content).map(|(index, _)| index).collect())
    }

    fn put(&mut self, document: usize, path: &[&str], value: &Json) -> Result<(), Failure> {
        let tree = self.format.read(self.text.expose_secret()).map_err(Failure::new)?;
        let path: TreePath = path.iter().map(|&key| Step::Key(key.to_owned())).collect();
        let root = tree.documents().get(document).copied();
        let root = root.ok_or_else(|| Failure::new("the sealed secret is not where it was"))?;
        self.text = change::set(self.format, &tree, root, &path, value).map_err(Failure::new)?;
        Ok(())
    }

    fn finish(self) -> SecretBytes {
        self.text
    }
}
