//! Documents that real sops encrypted, from `testdata/sops`: each must come to what its case expects.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};
use selkie::format::{Format, WriteOptions};
use selkie::keys::age::{AgeService, Identities};
use selkie::secret::SecretBytes;
use selkie::sops::{Envelope, MacCheck, Metadata, OpenError, Opened, Sealed, Stash};

use crate::envelope::{NOW, rng};

/// A folder of `testdata/sops`.
#[derive(Clone)]
pub struct Case {
    folder: PathBuf,
    about: String,
}

/// A document that some sops encrypted.
#[derive(Clone)]
pub struct Encrypted {
    case: Case,
    /// Where it is.
    pub path: PathBuf,
    /// The version of sops that made it.
    pub version: String,
}

/// What decrypting comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The MAC is missing or wrong.
    MacFailure,
    /// The metadata is missing or malformed.
    MetadataFailure,
    /// No identity fits.
    NoMatch,
    /// The text is not of its format.
    ParseFailure,
    /// The document is decrypted.
    Success,
    /// A value cannot be decrypted.
    ValueFailure,
}

/// Returns the tests that need no peer.
pub fn tests() -> Vec<Trial> {
    let mut tests = vec![
        Trial::test("golden::every_folder_is_a_case", every_folder_is_a_case),
        Trial::test("golden::there_are_cases", || {
            (documents().len() > 100).then_some(()).ok_or_else(|| "testdata/sops is not there".into())
        }),
    ];
    for document in documents() {
        tests.push(Trial::test(document.test_name("golden::"), move || document.comes_to_what_is_expected()));
    }
    tests
}

/// Returns all encrypted documents.
pub fn documents() -> Vec<Encrypted> {
    let mut documents: Vec<_> = cases().iter().flat_map(Case::documents).collect();
    documents.sort_by(|left, right| left.path.cmp(&right.path));
    documents
}

/// Returns the folder of the cases.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/sops")
}

/// The cases that can be read; [`every_folder_is_a_case`] fails on the others.
fn cases() -> Vec<Case> {
    files(&folder()).into_iter().filter_map(|folder| Case::read(folder).ok()).collect()
}

fn every_folder_is_a_case() -> Result<(), Failed> {
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let at = |error: Failed| format!("{}: {}", path.display(), error.message().unwrap_or_default());
        let case = Case::read(path.clone()).map_err(|error| at(error.into()))?;
        for entry in fs::read_dir(&path)? {
            entry?;
        }
        if case.documents().is_empty() {
            return Err(at("it has no encrypted document".into()).into());
        }
    }
    Ok(())
}

impl Case {
    fn read(folder: PathBuf) -> std::io::Result<Self> {
        let about = fs::read_to_string(folder.join("about"))?;
        Ok(Self { folder, about })
    }

    /// Returns what `about` says in a line.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.about.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns whether the encrypted documents are as sops made them.
    pub fn is_unchanged(&self) -> bool {
        self.field("change").is_none()
    }

    fn documents(&self) -> Vec<Encrypted> {
        let names = files(&self.folder).into_iter().filter_map(|path| {
            let version = path.file_stem()?.to_str()?.strip_prefix("encrypted-")?.to_owned();
            Some(Encrypted { case: self.clone(), path, version })
        });
        names.collect()
    }
}

impl Encrypted {
    /// Returns a name for a test of this document.
    pub fn test_name(&self, prefix: &str) -> String {
        let case = self.case.folder.file_name().unwrap_or_default().to_string_lossy().replace('-', "_");
        format!("{prefix}{case}::made_by_{}", self.version.replace('.', "_"))
    }

    /// Returns the case that the document belongs to.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// Returns the format of the document.
    pub fn format(&self) -> Format {
        Format::from_file_name(&self.path.to_string_lossy())
    }

    /// Returns what decrypting should come to, with us or with some version of sops.
    pub fn expected(&self, version: Option<&str>) -> Result<Outcome, Failed> {
        let special = version.and_then(|version| self.case.field(&format!("expect-{version}")));
        let text = special.or_else(|| self.case.field("expect")).unwrap_or_default();
        let outcome = OUTCOMES.iter().find(|(name, _)| *name == text).map(|&(_, outcome)| outcome);
        Ok(outcome.ok_or_else(|| format!("{text:?} is no outcome"))?)
    }

    /// Returns the file beside the document whose name begins so.
    pub fn sibling(&self, stem: &str) -> Option<PathBuf> {
        files(&self.case.folder).into_iter().find(|path| path.file_stem().is_some_and(|name| name == stem))
    }

    /// Encrypts the source again, for the same keys, and hands the result over.
    pub fn seal_source<T>(
        &self,
        source: &[u8],
        then: impl FnOnce(&Sealed<'_>) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let tree = self.format().read(&fs::read(&self.path)?[..])?;
        let envelope = recover(Metadata::from_entry(tree.metadata())?)?;
        let sealed =
            envelope.seal(self.format(), self.format().read(source)?, Stash::new(), NOW, &mut rng(1))?;
        then(&sealed)
    }

    fn comes_to_what_is_expected(&self) -> Result<(), Failed> {
        let expected = self.expected(None)?;
        match (self.open()?, expected) {
            (Ok(opened), Outcome::Success) => {
                self.prints_as_sops(&opened)?;
                opened.plaintext()?;
                if self.case.is_unchanged() { self.seals_and_opens() } else { Ok(()) }
            }
            (Ok(_), expected) => Err(format!("it decrypts, and {expected:?} is expected").into()),
            (Err(outcome), expected) if outcome == expected => Ok(()),
            (Err(outcome), expected) => Err(format!("it comes to {outcome:?}, not to {expected:?}").into()),
        }
    }

    fn open(&self) -> Result<Result<Opened, Outcome>, Failed> {
        let Ok(tree) = self.format().read(&fs::read(&self.path)?[..]) else {
            return Ok(Err(Outcome::ParseFailure));
        };
        let Ok(metadata) = Metadata::from_entry(tree.metadata()) else {
            return Ok(Err(Outcome::MetadataFailure));
        };
        let Ok(envelope) = recover(metadata) else { return Ok(Err(Outcome::NoMatch)) };
        Ok(match envelope.open(self.format(), tree, MacCheck::Require) {
            Ok(opened) => Ok(opened),
            Err(OpenError::Mac(_) | OpenError::MacMismatch | OpenError::MacMissing) => {
                Err(Outcome::MacFailure)
            }
            Err(OpenError::Value { .. }) => Err(Outcome::ValueFailure),
            Err(error) => return Err(error.into()),
        })
    }

    fn prints_as_sops(&self, opened: &Opened) -> Result<(), Failed> {
        let written = opened.write(self.format(), &WriteOptions::default())?;
        let expected =
            self.sibling("decrypted").or_else(|| self.sibling(&format!("decrypted-{}", self.version)));
        let expected = fs::read(expected.ok_or("there is no file that says what is printed")?)?;
        same_text("what is printed", written.expose_secret(), &expected)
    }

    /// The source, encrypted and decrypted by us, is what it was; with the old document at hand every
    /// value keeps its ciphertext.
    fn seals_and_opens(&self) -> Result<(), Failed> {
        let source = fs::read(self.sibling("plain").ok_or("there is no source")?)?;
        let encrypted = self.seal_source(&source, |sealed| Ok(sealed.in_place()?))?;
        let tree = self.format().read(encrypted)?;
        let envelope = recover(Metadata::from_entry(tree.metadata())?)?;
        let opened = envelope.open(self.format(), tree, MacCheck::Require)?;
        same_text("the source", opened.plaintext()?.expose_secret(), &source)?;
        let again = envelope.seal(
            self.format(),
            self.format().read(&source[..])?,
            opened.stash(),
            NOW,
            &mut rng(2),
        )?;
        let (kept, all) = (again.reused_count(), again.encrypted_count());
        if kept == all { Ok(()) } else { Err(format!("{kept} of {all} values kept their ciphertext").into()) }
    }
}

/// Fails with both texts if they differ.
pub fn same_text(what: &str, found: &[u8], expected: &[u8]) -> Result<(), Failed> {
    if found == expected {
        return Ok(());
    }
    let (found, expected) = (String::from_utf8_lossy(found), String::from_utf8_lossy(expected));
    Err(format!("{what} differs; found:\n{found}\nexpected:\n{expected}").into())
}

fn recover(metadata: Metadata) -> Result<Envelope, Failed> {
    let keys = SecretBytes::from(&fs::read(folder().join("keys.txt"))?[..]);
    let service = AgeService::new(Identities::parse("keys.txt", &keys)?);
    Ok(pollster::block_on(Envelope::recover(metadata, &[&service], &[]))?)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

const OUTCOMES: [(&str, Outcome); 6] = [
    ("mac failure", Outcome::MacFailure),
    ("metadata failure", Outcome::MetadataFailure),
    ("no match", Outcome::NoMatch),
    ("parse failure", Outcome::ParseFailure),
    ("success", Outcome::Success),
    ("value failure", Outcome::ValueFailure),
];
