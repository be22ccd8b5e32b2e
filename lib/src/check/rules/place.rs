//! Where in an object a byte of a file is, for rules that look for texts wherever they stand.

use crate::check::{Entry, File, Object, objects};

/// The places of a file that values can have, in order.
#[derive(Default)]
pub(super) struct Places<'a> {
    objects: Vec<Object<'a>>,
    scalars: Vec<Entry<'a>>,
}

impl<'a> Places<'a> {
    /// Returns the places of a file; none if it has no structure.
    pub(super) fn of(file: &'a File<'_>) -> Self {
        if !file.is_text() || !file.is_structured() {
            return Self::default();
        }
        let outline = file.outline();
        // An alias stands elsewhere than what it says.
        let is_written_here = |entry: &Entry<'_>| {
            let (span, written) = (entry.span(), entry.written_span());
            written.start <= span.start && span.end <= written.end
        };
        let scalars = outline.nodes().filter(|entry| entry.text().is_some() && is_written_here(entry));
        Self { objects: objects(outline).collect(), scalars: scalars.collect() }
    }

    /// Returns what findings call the object that a byte is in, and its pointer there.
    pub(super) fn at(&self, byte: usize) -> (String, String) {
        let object = self.objects.partition_point(|object| object.entry.span().start <= byte).checked_sub(1);
        let object = object.map(|index| self.objects[index]);
        let object = object.filter(|object| byte < object.entry.span().end);
        let scalar = self.scalars.partition_point(|entry| entry.span().start <= byte).checked_sub(1);
        let scalar = scalar.map(|index| self.scalars[index]).filter(|entry| byte < entry.span().end);
        let pointer = scalar.map(|entry| entry.pointer(object.map(|object| object.entry)));
        (object.map(Object::label).unwrap_or_default(), pointer.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Mode, decode};

    #[test]
    fn bytes_are_in_objects_and_values() {
        let text = "kind: List\nitems:\n- {kind: A, metadata: {name: n}, x: [p, q]}\n---\ny: &y z\nw: *y\n";
        let content = decode(text.as_bytes());
        let file = File::new("a.yaml", text.as_bytes(), &content, Mode::File);
        let places = Places::of(&file);
        let place = |what: &str| places.at(text.find(what).expect("it is there"));
        assert_eq!(place("q]"), ("A/n".to_owned(), "/x/1".to_owned()));
        assert_eq!(place("z\n"), (String::new(), "/y".to_owned()));
        assert_eq!(place("items"), (String::new(), String::new()));
    }
}
