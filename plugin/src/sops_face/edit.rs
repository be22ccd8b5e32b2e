//! `sops edit`: lets the user edit the plaintext of a file in their editor.

use std::path::{Path, PathBuf};

use selkie::format::{Format, MetadataEdit, Rewrite};
use selkie::keys::KeyGroup;
use selkie::secret::SecretBytes;
use selkie::sops::{Envelope, Metadata, Opened, Stash, VERSION};
use selkie::tree::{MetadataEntry, Tree};

use super::document::{
    Formats, Source, base_name, is_missing, plaintext, read_plain, rewrap, seal, write_failure,
    write_in_place,
};
use super::failure::{Failure, already_encrypted};
use super::services::Services;
use super::{Action, Command, Context, creation, flags, report};
use crate::audit::Deed;
use crate::editor::{Dialogue, Editor};
use crate::exit::Exit;
use crate::files::{self, Audience, Expected};
use crate::pasted;
use crate::turn::Turn;

pub(super) static COMMAND: Command = Command {
    name: "edit",
    about: "edit an encrypted file, or make a new one",
    arguments: "file",
    flags: || {
        let mut all = flags::keys();
        all.extend(flags::types());
        all.extend(flags::rules());
        all.extend([
            flags::encryption_context(),
            flags::threshold(),
            flags::show_master_keys(),
            flags::ignore_mac(),
            flags::decryption_order(),
        ]);
        all.extend(flags::key_services());
        all
    },
    action: Action::Run(run),
};

fn run(context: &Context<'_>) -> Result<(), Failure> {
    let file = Source::file(context)?;
    context.warn_of_more_arguments();
    edit(context, &Source::File(file))
}

/// Lets the user edit a file, or an example if there is none.
pub(super) fn edit(context: &Context<'_>, source: &Source) -> Result<(), Failure> {
    let Source::File(path) = source else { return Err(Failure::generic("a stream cannot be edited")) };
    let configuration = context.configuration()?;
    let name = source.name(context);
    let services = Services::of(context)?;
    let session = Session {
        context,
        formats: Formats::of(context, configuration, &name),
        services: &services,
        path: path.clone(),
        shows_keys: context.given.switch("show-master-keys"),
    };
    if is_missing(path) {
        // Before anything is typed that then could not be written. sops makes no folders.
        let folder = std::fs::metadata(files::folder_of(path)).map(|_| ());
        folder.and_then(|()| files::check_creation(path)).map_err(|error| write_failure(path, &error))?;
        let metadata = creation::metadata(context, configuration, &name, session.formats.input)?;
        return session.edit_example(metadata);
    }
    let (envelope, opened) =
        source.read_encrypted(context, session.formats.input)?.open(context, &services)?;
    check_version(envelope.metadata())?;
    session.edit_opened(envelope, &opened)
}

/// One file that is edited.
struct Session<'a> {
    context: &'a Context<'a>,
    formats: Formats,
    services: &'a Services,
    path: PathBuf,
    shows_keys: bool,
}

impl Session<'_> {
    fn edit_example(&self, metadata: Metadata) -> Result<(), Failure> {
        let mut envelope = creation::create(self.context, metadata, self.services).map_err(|list| {
            let message = format!("Error encrypting the data key with one or more master keys: {list}");
            Failure::new(Exit::DataKey, message)
        })?;
        let example = SecretBytes::from(example(self.formats.input));
        self.edit_text(&example, &mut envelope, &Stash::new, Expected::Absent)
    }

    fn edit_opened(&self, mut envelope: Envelope, opened: &Opened) -> Result<(), Failure> {
        let expected = Expected::Content(opened.tree().source());
        self.edit_text(&plaintext(opened)?, &mut envelope, &|| opened.stash(), expected)
    }

    /// Lets the user edit a text until it could be written: in place of what is expected, so that nothing is
    /// lost that somebody else wrote meanwhile.
    fn edit_text(
        &self,
        plaintext: &SecretBytes,
        envelope: &mut Envelope,
        stash: &dyn Fn() -> Stash,
        expected: Expected<'_>,
    ) -> Result<(), Failure> {
        let environment = &self.context.session.environment;
        let editor = Editor::find(environment)?;
        let text = self.shown(plaintext, envelope)?;
        let mut terminal = Terminal { context: self.context, path: self.path.clone() };
        editor.edit(base_name(&self.path), &text, environment, &mut terminal, &mut |edited| {
            let tree = self.take(edited, envelope)?;
            let sealed = self.seal(envelope, tree, stash())?;
            let log = &self.context.log;
            let _turn = Turn::wait_for(&self.path, &|text| log.warn(text));
            write_in_place(self.context, &self.path, &sealed, Audience::Everyone, expected).map_err(text_of)
        })?;
        Ok(())
    }

    /// Returns what the user gets to see.
    fn shown(&self, plaintext: &SecretBytes, envelope: &Envelope) -> Result<SecretBytes, Failure> {
        let copy = SecretBytes::from(plaintext.expose_secret());
        if !self.shows_keys {
            return Ok(copy);
        }
        let tree = read_plain(self.formats.input, copy)?;
        let metadata = envelope.metadata().to_json();
        let rewrite = Rewrite { metadata: MetadataEdit::Put(&metadata), ..Rewrite::default() };
        let shown = self.formats.input.store().rewrite(&tree, &rewrite);
        shown.map_err(|error| super::document::marshal_failure(&error))
    }

    /// Reads what the user saved.
    fn take(&self, edited: SecretBytes, envelope: &mut Envelope) -> Result<Tree, String> {
        let format = self.formats.input;
        let read = |text| {
            format
                .read(text)
                .map_err(|error| format!("Could not load tree, probably due to invalid syntax: {error}."))
        };
        let tree = read(edited)?;
        if !self.shows_keys {
            return match tree.metadata() {
                MetadataEntry::Absent => Ok(tree),
                _ => Err(format!("Tree not valid for encryption: {}", already_encrypted())),
            };
        }
        let metadata = Metadata::from_entry(tree.metadata());
        let metadata = metadata.map_err(|error| format!("SOPS metadata is invalid: {error}."))?;
        self.take_metadata(metadata, envelope)?;
        let rewrite = Rewrite { metadata: MetadataEdit::Remove, ..Rewrite::default() };
        read(format.store().rewrite(&tree, &rewrite).map_err(|error| error.to_string())?)
    }

    /// Puts the keys and rules that the user saved in place of those of the file.
    fn take_metadata(&self, metadata: Metadata, envelope: &mut Envelope) -> Result<(), String> {
        let old = envelope.metadata();
        let are_wrapped =
            metadata.groups.iter().flat_map(|group| &group.0).all(|key| !key.wrapped().is_empty());
        if metadata.groups != old.groups || metadata.shamir_threshold != old.shamir_threshold || !are_wrapped
        {
            self.context.record(Deed::Rewrap, Some(&self.path)).map_err(text_of)?;
            self.wrap(envelope, metadata.groups, metadata.shamir_threshold)?;
        }
        let kept = envelope.metadata_mut();
        kept.selector = metadata.selector;
        kept.mac_only_encrypted = metadata.mac_only_encrypted;
        Ok(())
    }

    fn wrap(&self, envelope: &mut Envelope, groups: Vec<KeyGroup>, threshold: usize) -> Result<(), String> {
        rewrap(self.context, envelope, groups, threshold, self.services)
            .map_err(|error| format!("The data key could not be wrapped: {}.", report::of_wrapping(&error)))
    }

    fn seal(&self, envelope: &mut Envelope, tree: Tree, stash: Stash) -> Result<SecretBytes, String> {
        if envelope.metadata().has_mixed_up_contexts() {
            // A newer version says that no context is mixed up.
            let (groups, threshold) =
                (envelope.metadata().groups.clone(), envelope.metadata().shamir_threshold);
            self.wrap(envelope, groups, threshold)?;
        }
        if is_newer(VERSION, &envelope.metadata().version).unwrap_or_default() {
            VERSION.clone_into(&mut envelope.metadata_mut().version);
        }
        let source = Source::File(self.path.clone());
        let sealed =
            seal(self.context, &source, envelope, (self.formats.input, tree), stash).map_err(text_of)?;
        self.formats.write_into_file(self.context, &sealed).map_err(text_of)
    }
}

/// Asks at the terminal.
struct Terminal<'a> {
    context: &'a Context<'a>,
    path: PathBuf,
}

impl Dialogue for Terminal<'_> {
    fn warn(&mut self, message: &str) {
        self.context.log.warn(message);
    }

    fn refused(&mut self, why: &str) -> bool {
        let why = why.trim_end_matches('.');
        let message = format!("{why}. Press enter to return to the editor, or Ctrl+C to exit.");
        self.context.log.error(&message, None);
        matches!(self.context.session.stdin.read_line(), Ok(Some(_)))
    }

    fn how_to_go_on(&self, kept: &Path) -> String {
        how_to_go_on(&self.path, kept)
    }

    fn exit_code(&self, _: i32) -> u8 {
        Exit::Failure.code()
    }
}

/// Says how a kept text gets into its file: by an editor that only puts it there.
fn how_to_go_on(path: &Path, kept: &Path) -> String {
    let editor = pasted::word(&format!("cp {}", pasted::path(kept)));
    let folder = pasted::path(kept.parent().unwrap_or(kept));
    format!("to take it, run EDITOR={editor} sops edit {}; then rm -r {folder}", pasted::path(path))
}

fn text_of(failure: Failure) -> String {
    failure.message
}

/// Fails if the version that the file names cannot be compared.
fn check_version(metadata: &Metadata) -> Result<(), Failure> {
    is_newer(VERSION, &metadata.version).map(|_| ()).ok_or_else(|| {
        let version = &metadata.version;
        Failure::new(
            Exit::Version,
            format!("Failed to compare document version {version:?} with program version {VERSION:?}"),
        )
    })
}

/// Returns whether one version is newer than another; `None` if one is no version.
fn is_newer(left: &str, right: &str) -> Option<bool> {
    // What sops 1 wrote is not always a version.
    if right.starts_with("1.") {
        return Some(true);
    }
    Some(parts(left)? > parts(right)?)
}

fn parts(version: &str) -> Option<[u64; 3]> {
    let version = version.trim_start_matches('v');
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = core.split('.').map(|part| part.parse().ok());
    let parts = [numbers.next()??, numbers.next()??, numbers.next()??];
    numbers.next().is_none().then_some(parts)
}

/// Returns what a new file of a format starts as.
fn example(format: Format) -> &'static str {
    match format {
        Format::Binary => "Welcome to SOPS! Replace this text by what is to be encrypted.\n",
        Format::Dotenv => {
            "# An example: replace it\nhello=Welcome to SOPS!\nexample_key=example_value\n\
             example_multiline=foo\\nbar\\nbaz\n"
        }
        Format::Ini => {
            "; An example: replace it\n[Welcome!]\nhello = Welcome to SOPS!\nexample_key = example_value\n"
        }
        Format::Json => {
            "{\n\t\"hello\": \"Welcome to SOPS!\",\n\t\"example_key\": \"example_value\",\n\t\
             \"example_array\": [\n\t\t\"example_value1\",\n\t\t\"example_value2\"\n\t],\n\t\
             \"example_number\": 1234.56789,\n\t\"example_booleans\": [\n\t\ttrue,\n\t\tfalse\n\t]\n}\n"
        }
        Format::Yaml => {
            "hello: Welcome to SOPS!\nexample_key: example_value\n# Example comment\nexample_array:\n    \
             - example_value1\n    - example_value2\nexample_number: 1234.56789\nexample_booleans:\n    \
             - true\n    - false\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use selkie::format::STORES;

    use super::*;

    #[test]
    fn versions_are_compared_part_by_part() {
        assert_eq!(is_newer("3.13.3", "3.9.0"), Some(true));
        assert_eq!(is_newer("3.13.3", "3.13.3"), Some(false));
        assert_eq!(is_newer("3.13.3", "v3.14.0-rc.1"), Some(false));
        assert_eq!(is_newer("3.13.3", "1.x"), Some(true));
        for version in ["", "abc", "3.13", "3.13.3.1"] {
            assert_eq!(is_newer("3.13.3", version), None, "{version}");
        }
    }

    #[test]
    fn examples_are_documents_of_their_formats() {
        for store in STORES {
            let read = store.format().read(example(store.format()));
            assert!(read.is_ok(), "{}", store.name());
        }
    }
}
