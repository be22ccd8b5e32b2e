//! Sealing the Secrets that were found, each in its place.

use std::collections::BTreeSet;

use rand::rngs::OsRng;
use selkie::check::{Fix, Outline, objects};
use selkie::format::Format;
use selkie::sealed::{SealedSecret, Sealing, SealingCert, SecretFile, SecretObject};
use selkie::secret::SecretBytes;

use super::{Mender, Wish};

impl Mender<'_> {
    /// Puts SealedSecrets in the place of the Secrets that findings are about. Documents without one stay byte for byte.
    pub(super) fn seal(
        &self,
        path: &str,
        format: Format,
        text: &SecretBytes,
        wishes: &[Wish],
        notes: &mut Vec<String>,
    ) -> Result<SecretBytes, String> {
        if !matches!(format, Format::Json | Format::Yaml) {
            return Err("a Secret is sealed in a file of YAML or JSON".to_owned());
        }
        let cert = self.policy.cert()?;
        cert.check_expiry(self.now).map_err(|error| error.to_string())?;
        let wanted: BTreeSet<_> =
            wishes.iter().filter(|wish| wish.fix == Fix::Seal).map(|wish| wish.object.as_str()).collect();
        let bytes = text.expose_secret();
        let whole = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let outline = Outline::read(whole);
        let mut out = SecretBytes::with_capacity(bytes.len());
        let (mut position, mut line, mut sealed) = (0, 1, 0);
        for document in outline.documents() {
            let part = &whole[document.span.clone()];
            if outline.root(document).is_none() || !is_wanted(part, &wanted)? {
                continue;
            }
            out.extend_from_slice(&bytes[position..document.span.start]);
            line += memchr::memchr_iter(b'\n', &bytes[position..document.span.start]).count();
            let document_sealed = seal_document(format, part, &cert, &mut sealed);
            let document_sealed = document_sealed.map_err(|error| match line {
                1 => error,
                line => format!("in the document at line {line}: {error}"),
            })?;
            out.extend_from_slice(document_sealed.expose_secret());
            line += memchr::memchr_iter(b'\n', &bytes[document.span.clone()]).count();
            position = document.span.end;
        }
        out.extend_from_slice(&bytes[position..]);
        if sealed == 0 {
            return Err("the Secret is not where it was found".to_owned());
        }
        format.read(SecretBytes::from(out.expose_secret())).map_err(|error| error.to_string())?;
        tell_of_remains(path, format, text, &out, notes);
        Ok(out)
    }
}

/// Returns whether a document holds Secrets that are to be sealed: all of them, or none.
fn is_wanted(document: &str, wanted: &BTreeSet<&str>) -> Result<bool, String> {
    let outline = Outline::read(document);
    let labels = objects(&outline).filter(|object| object.is_secret()).map(|object| object.label());
    let (found, others): (Vec<_>, Vec<_>) = labels.partition(|label| wanted.contains(label.as_str()));
    if !found.is_empty() && !others.is_empty() {
        return Err("not all Secrets of one list are to be sealed; part them into documents".to_owned());
    }
    Ok(!found.is_empty())
}

fn seal_document(
    format: Format,
    text: &str,
    cert: &SealingCert,
    count: &mut usize,
) -> Result<SecretBytes, String> {
    let tree = format.read(SecretBytes::from(text)).map_err(|error| error.to_string())?;
    let file = SecretFile::new(format, tree).map_err(|error| error.to_string())?;
    let sealed =
        file.secrets().iter().map(|object| seal_secret(object, cert)).collect::<Result<Vec<_>, _>>()?;
    *count += sealed.len();
    file.replace(&sealed).map_err(|error| error.to_string())
}

fn seal_secret(object: &SecretObject, cert: &SealingCert) -> Result<SealedSecret, String> {
    let mut sealed = Sealing::default().prepare(&object.secret).map_err(|error| error.to_string())?;
    let label = sealed.label();
    for (key, value) in &object.secret.data {
        let item = cert.seal_labelled(value, &label, &mut OsRng).map_err(|error| error.to_string())?;
        sealed.encrypted_data.insert(key.clone(), item);
    }
    Ok(sealed)
}

/// Tells of values that stand in clear elsewhere in the file.
fn tell_of_remains(
    path: &str,
    format: Format,
    text: &SecretBytes,
    result: &SecretBytes,
    notes: &mut Vec<String>,
) {
    let tree = format.read(SecretBytes::from(text.expose_secret()));
    // That the file can be read is known by now.
    let Ok(Ok(file)) = tree.map(|tree| SecretFile::new(format, tree)) else { return };
    for remains in file.remains(result.expose_secret()) {
        notes.push(format!(
            "{}, line {}: the value of {} of the Secret {} still stands there in clear",
            super::show(path),
            remains.line,
            super::show(&remains.key),
            super::show(&remains.name)
        ));
    }
}
