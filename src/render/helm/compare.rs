//! What Helm made of the same chart with different words for the same values, compared: where a difference is, there is a
//! value, or something that was computed of one.
//!
//! Invariant: nothing of what was rendered with values is in an error.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use selkie::render::{Marks, Piece, Rule};
use selkie::secret::SecretBytes;
use serde_json::Value as Json;

use super::HelmError;
use super::chart::meant;
use super::stand_in::{StandIns, value_of};

/// The objects that were rendered in all passes.
pub(super) struct Rendered<'a> {
    /// Under marks.
    pub(super) marks: &'a [Json],
    /// Under other marks.
    pub(super) other: &'a [Json],
    /// With values, if they are known, and with other marks for what cannot be decrypted, if there is such.
    pub(super) values: Vec<&'a [Json]>,
    /// With what stands in for values that are not known.
    pub(super) stand_ins: Vec<(&'a StandIns, &'a [Json])>,
}

/// What the words stand for.
pub(super) struct Meaning<'a> {
    /// The marks.
    pub(super) marks: &'a Marks,
    /// The other marks.
    pub(super) other: &'a Marks,
    /// Where more than Secrets may hold values.
    pub(super) rule: &'a Rule,
}

/// A place in the objects at which something stands that was computed of values.
pub(super) struct Derived {
    /// Which object it is.
    pub(super) object: usize,
    /// The way to it.
    pub(super) steps: Vec<Step>,
    /// The same, for people.
    pub(super) path: String,
    /// What is to stand there; `None` where it stays as it is.
    pub(super) value: Option<Value>,
}

/// What was computed of values.
pub(super) struct Value {
    /// As it stands there; `None` if no keys were asked for.
    pub(super) text: Option<Json>,
    /// Whether it is base64 there.
    pub(super) is_base64: bool,
}

/// A step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Index(usize),
    Key(String),
}

/// Returns everything that was computed of values.
///
/// # Errors
/// If it stands where it may not, or what is rendered at all hangs on values.
pub(super) fn compare(rendered: &Rendered<'_>, meaning: &Meaning<'_>) -> Result<Vec<Derived>, HelmError> {
    let length = rendered.marks.len();
    let stand_ins = rendered.stand_ins.iter().map(|(_, objects)| objects);
    if rendered.other.len() != length
        || rendered.values.iter().chain(stand_ins).any(|values| values.len() != length)
    {
        return Err(HelmError::Structure {
            place: "the chart".to_owned(),
            path: "how many objects there are".to_owned(),
        });
    }
    let mut found = Vec::new();
    for (number, object) in rendered.marks.iter().enumerate() {
        let mut walk = Walk {
            meaning,
            object,
            number,
            known: rendered.values.len(),
            stand_ins: rendered.stand_ins.iter().map(|(stand_ins, _)| *stand_ins).collect(),
            steps: Vec::new(),
            path: String::new(),
            found: &mut found,
        };
        let stand_ins = rendered.stand_ins.iter().map(|(_, objects)| objects);
        let all: Vec<_> = rendered.values.iter().chain(stand_ins).map(|values| &values[number]).collect();
        walk.value(object, &rendered.other[number], &all)?;
    }
    Ok(found)
}

/// Returns what stands at a place.
pub(super) fn at<'j>(object: &'j Json, steps: &[Step]) -> Option<&'j Json> {
    steps.iter().try_fold(object, |value, step| match step {
        Step::Index(index) => value.get(index),
        Step::Key(key) => value.get(key),
    })
}

/// Returns what stands at a place, to be changed.
pub(super) fn at_mut<'j>(object: &'j mut Json, steps: &[Step]) -> Option<&'j mut Json> {
    steps.iter().try_fold(object, |value, step| match step {
        Step::Index(index) => value.get_mut(index),
        Step::Key(key) => value.get_mut(key),
    })
}

/// Returns the kind and name of an object, for people.
pub(super) fn name_of(object: &Json) -> String {
    selkie::render::Document { object: object.clone(), path: None }.name()
}

/// A walk through an object.
struct Walk<'a> {
    meaning: &'a Meaning<'a>,
    object: &'a Json,
    number: usize,
    /// How many of the passes after those with marks are with values that are known.
    known: usize,
    /// What stood in for values in the passes after those.
    stand_ins: Vec<&'a StandIns>,
    steps: Vec<Step>,
    path: String,
    found: &'a mut Vec<Derived>,
}

/// What a place holds.
enum Leaf {
    /// The same in all passes, but for marks.
    Same,
    /// Something that was computed of values.
    Derived,
}

impl Walk<'_> {
    fn value(&mut self, marks: &Json, other: &Json, values: &[&Json]) -> Result<(), HelmError> {
        match marks {
            Json::Array(items) => {
                let mut lists = vec![other.as_array().ok_or_else(|| self.structure())?];
                for list in values {
                    lists.push(list.as_array().ok_or_else(|| self.structure())?);
                }
                if lists.iter().any(|list| list.len() != items.len()) {
                    return Err(self.structure());
                }
                for (index, item) in items.iter().enumerate() {
                    let of_values: Vec<_> = lists[1..].iter().map(|list| &list[index]).collect();
                    self.step(Step::Index(index), item, &lists[0][index], &of_values)?;
                }
                Ok(())
            }
            Json::Object(entries) => {
                let mut maps = vec![other.as_object().ok_or_else(|| self.structure())?];
                for map in values {
                    maps.push(map.as_object().ok_or_else(|| self.structure())?);
                }
                if maps.iter().any(|map| map.len() != entries.len()) {
                    return Err(self.structure());
                }
                for (key, entry) in entries {
                    let mut of_all = Vec::with_capacity(maps.len());
                    for map in &maps {
                        of_all.push(map.get(key).ok_or_else(|| self.structure())?);
                    }
                    self.step(Step::Key(key.clone()), entry, of_all[0], &of_all[1..])?;
                }
                Ok(())
            }
            _ => self.leaf(marks, other, values),
        }
    }

    fn step(&mut self, step: Step, marks: &Json, other: &Json, values: &[&Json]) -> Result<(), HelmError> {
        let length = self.path.len();
        match &step {
            Step::Index(index) => self.path.push_str(&format!("[{index}]")),
            Step::Key(key) => {
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(key);
            }
        }
        self.steps.push(step);
        self.value(marks, other, values)?;
        self.steps.pop();
        self.path.truncate(length);
        Ok(())
    }

    fn leaf(&mut self, marks: &Json, other: &Json, values: &[&Json]) -> Result<(), HelmError> {
        if other.is_array()
            || other.is_object()
            || values.iter().any(|value| value.is_array() || value.is_object())
        {
            return Err(self.structure());
        }
        let (values, tried) = values.split_at(self.known);
        if let [value, other] = values
            && value != other
            && !self.is_check_sum()
        {
            return Err(HelmError::Closed { place: name_of(self.object), path: self.path.clone() });
        }
        let is_same = |value, stand_ins| matches!(self.sort(marks, other, value, stand_ins), Leaf::Same);
        let mut of_stand_ins = self.stand_ins.iter().zip(tried);
        if is_same(values.first().copied(), None)
            && of_stand_ins.all(|(stand_ins, &value)| is_same(Some(value), Some(stand_ins)))
        {
            return Ok(());
        }
        let value = if self.is_check_sum() {
            None
        } else if self.may_hold_values() {
            // What is not text is not what a Secret may hold.
            let text = values
                .first()
                .map(|&value| if self.is_entry() { text_of(value).into() } else { value.clone() });
            Some(Value { text, is_base64: self.is_base64() })
        } else {
            return Err(HelmError::Derived { place: name_of(self.object), path: self.path.clone() });
        };
        let (steps, path) = (self.steps.clone(), self.path.clone());
        self.found.push(Derived { object: self.number, steps, path, value });
        Ok(())
    }

    fn sort(&self, marks: &Json, other: &Json, value: Option<&Json>, stand_ins: Option<&StandIns>) -> Leaf {
        let is_meant = |expected: Option<Json>| match (value, expected) {
            // Where no keys are asked for nobody knows.
            (None, _) => true,
            (Some(value), Some(expected)) if self.is_entry() => text_of(value) == text_of(&expected),
            (Some(value), Some(expected)) => *value == expected,
            (Some(_), None) => false,
        };
        let is_same = if marks == other {
            is_meant(Some(marks.clone()))
        } else if let (Json::String(text), Json::String(other)) = (marks, other) {
            if self.is_base64() {
                match (decode_base64(text), decode_base64(other)) {
                    (Some(text), Some(other))
                        if self.corresponds(text.expose_secret(), other.expose_secret()) =>
                    {
                        value.is_none_or(|value| self.is_filled(text.expose_secret(), value, stand_ins))
                    }
                    _ => false,
                }
            } else {
                self.corresponds(text.as_bytes(), other.as_bytes())
                    && (is_meant(meant(self.meaning.marks, stand_ins, text)) || !self.may_hold_values())
            }
        } else {
            false
        };
        if is_same { Leaf::Same } else { Leaf::Derived }
    }

    /// Returns whether two texts are the same but for the marks that stand for the same.
    fn corresponds(&self, text: &[u8], other: &[u8]) -> bool {
        match (self.meaning.marks.pieces(text), self.meaning.other.pieces(other)) {
            (Ok(text), Ok(other)) => text == other,
            _ => false,
        }
    }

    /// Returns whether base64 is that of a text with values in it.
    fn is_filled(&self, text: &[u8], value: &Json, stand_ins: Option<&StandIns>) -> bool {
        let value = value.as_str().and_then(decode_base64);
        let (Some(value), Ok(pieces)) = (value, self.meaning.marks.pieces(text)) else { return false };
        let mut filled = SecretBytes::new();
        for piece in pieces {
            match piece {
                Piece::Clear(clear) => filled.extend_from_slice(clear),
                Piece::Mark(id) => {
                    let Some(value) = value_of(self.meaning.marks.get(id), stand_ins) else { return false };
                    filled.extend_from_slice(value);
                }
            }
        }
        filled.is_same(&value)
    }

    fn field(&self) -> &str {
        match self.steps.first() {
            Some(Step::Key(key)) => key,
            _ => "",
        }
    }

    fn is_a(&self, kind: &str) -> bool {
        self.object["apiVersion"] == "v1" && self.object["kind"] == kind
    }

    /// Returns whether this is an entry of a Secret.
    fn is_entry(&self) -> bool {
        self.steps.len() == 2 && self.is_a("Secret") && matches!(self.field(), "data" | "stringData")
    }

    fn is_base64(&self) -> bool {
        match self.field() {
            "data" => self.is_a("Secret"),
            "binaryData" => self.is_a("ConfigMap"),
            _ => false,
        }
    }

    fn may_hold_values(&self) -> bool {
        let kind = self.object["kind"].as_str().unwrap_or_default();
        self.is_entry() || (!self.is_a("Secret") && self.meaning.rule.allows_taint(kind, &self.path))
    }

    /// Returns whether this is an annotation that changes when something else does, and tells nothing more.
    fn is_check_sum(&self) -> bool {
        matches!(&self.steps[..], [.., Step::Key(map), Step::Key(key)] if map == "annotations" && key.starts_with("checksum/"))
    }

    fn structure(&self) -> HelmError {
        let path = if self.path.is_empty() { "which fields there are".to_owned() } else { self.path.clone() };
        HelmError::Structure { place: name_of(self.object), path }
    }
}

/// Returns a scalar as text.
pub(super) fn text_of(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns what base64 stands for, as Kubernetes reads it.
pub(super) fn decode_base64(text: &str) -> Option<SecretBytes> {
    let text: String = text.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
    BASE64_STANDARD.decode(text).ok().map(SecretBytes::from)
}

/// Returns a word in base64.
pub(super) fn encode_base64(word: &str) -> String {
    BASE64_STANDARD.encode(word)
}

#[cfg(test)]
mod tests {
    use selkie::render::{Mark, TaintRule, ValueKind};
    use serde_json::json;

    use super::*;

    struct Case {
        marks: Marks,
        other: Marks,
        rule: Rule,
    }

    impl Case {
        fn new() -> Self {
            let mut marks = Marks::default();
            marks.add(Mark::new(b"key", "s.yaml", "a", ValueKind::Text, Some("hunter2".into())));
            marks.add(Mark::new(b"key", "s.yaml", "n", ValueKind::Int, Some("5".into())));
            let other = marks.other_words();
            Self { marks, other, rule: Rule::default() }
        }

        /// Compares objects of a kind with a field, which is made of the words of the values.
        fn compared(
            &self,
            kind: &str,
            field: &str,
            make: &dyn Fn(&str, &str) -> Json,
        ) -> Result<Vec<Derived>, HelmError> {
            let object = |value: Json| {
                let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
                object[field] = value;
                vec![object]
            };
            let words = |marks: &Marks| {
                let words: Vec<_> = marks.iter().map(|mark| mark.word().to_owned()).collect();
                object(make(&words[0], &words[1]))
            };
            let (marks, other, values) =
                (words(&self.marks), words(&self.other), object(make("hunter2", "5")));
            let rendered =
                Rendered { marks: &marks, other: &other, values: vec![&values], stand_ins: Vec::new() };
            compare(&rendered, &Meaning { marks: &self.marks, other: &self.other, rule: &self.rule })
        }
    }

    #[test]
    fn values_that_stand_as_they_are_are_not_derived() {
        let case = Case::new();
        for (field, make) in [
            ("data", &(|a: &str, _: &str| json!({"k": encode_base64(a)})) as &dyn Fn(&str, &str) -> Json),
            ("data", &|a, n| json!({"k": encode_base64(&format!("{a}:{n}")), "l": "YQ=="})),
            ("stringData", &|a, n| json!({"k": format!("x{a}"), "n": n})),
            ("metadata", &|_, _| json!({"name": "x"})),
        ] {
            assert!(case.compared("Secret", field, make).expect("it may").is_empty(), "{field}");
        }
        // That it may not stand there is told by whoever fills it in.
        assert!(case.compared("ConfigMap", "data", &|a, _| json!({"k": a})).expect("it may").is_empty());
    }

    #[test]
    fn what_is_computed_of_values_is_derived() {
        let case = Case::new();
        for (field, make, text, path) in [
            (
                "stringData",
                &(|a: &str, _: &str| json!({"k": a.to_uppercase()})) as &dyn Fn(&str, &str) -> Json,
                "HUNTER2",
                "stringData.k",
            ),
            ("stringData", &|a, _| json!({"k": a[..7].to_owned()}), "hunter2", "stringData.k"),
            ("stringData", &|a, _| json!({"k": a.len()}), "7", "stringData.k"),
            ("data", &|a, _| json!({"k": encode_base64(&encode_base64(a))}), "YUhWdWRHVnlNZz09", "data.k"),
        ] {
            let found = case.compared("Secret", field, make).expect("it may");
            let [derived] = &found[..] else { panic!("{path}: {} places", found.len()) };
            let value = derived.value.as_ref().expect("it is filled in");
            assert_eq!((derived.path.as_str(), value.text.as_ref()), (path, Some(&json!(text))));
            let told = case.compared("ConfigMap", field, make).err().map(|error| error.to_string());
            let expected = format!("ConfigMap x: {path} is computed of a decrypted value");
            assert!(told.as_ref().is_some_and(|told| told.starts_with(&expected)), "{told:?}");
        }
    }

    #[test]
    fn a_rule_lets_values_be_computed_elsewhere() {
        let mut case = Case::new();
        case.rule.taint.push(TaintRule { kind: "Deployment".to_owned(), path: "spec.*".to_owned() });
        let found = case.compared("Deployment", "spec", &|_, n| json!({"replicas": n.len() + 1}));
        let found = found.expect("it may");
        assert_eq!(found[0].value.as_ref().and_then(|value| value.text.clone()), Some(json!(2)));
        assert!(case.compared("Deployment", "data", &|_, n| json!({"replicas": n.len()})).is_err());
    }

    #[test]
    fn check_sums_stay_those_of_marks() {
        let case = Case::new();
        let make = |a: &str, _: &str| json!({"annotations": {"checksum/secret": a.to_uppercase()}});
        let found = case.compared("Deployment", "metadata", &make).expect("it may");
        assert!(found.len() == 1 && found[0].value.is_none());
    }

    #[test]
    fn what_hangs_on_values_is_refused() {
        let case = Case::new();
        for make in [
            &(|a: &str, _: &str| if a.len() > 7 { json!({"a": 1}) } else { json!({}) })
                as &dyn Fn(&str, &str) -> Json,
            &|a, _| json!({a: 1}),
            &|a, _| a.chars().map(|letter| json!(letter.to_string())).collect(),
            &|a, _| if a.len() > 7 { json!("x") } else { json!(["x"]) },
        ] {
            let told = case.compared("Secret", "stringData", make).err();
            assert!(matches!(told, Some(HelmError::Structure { .. })), "{told:?}");
        }
    }
}
