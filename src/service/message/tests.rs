use std::collections::BTreeMap;

use super::*;

/// Returns the number and the wire type of the one field of a message that is set.
fn field(message: &impl Message) -> (u32, u32) {
    let bytes = message.encode_to_vec();
    let mut bytes = bytes.as_slice();
    let key = prost::encoding::decode_varint(&mut bytes).expect("a key");
    let key = u32::try_from(key).expect("small");
    (key >> 3, key & 7)
}

/// Returns the fields of all messages in the file: by message and name, the number and the type.
fn written() -> BTreeMap<(String, String), (u32, String)> {
    let text = include_str!("../../../deploy/api/selkie/v1/decryptor.proto");
    let (mut message, mut fields) = (String::new(), BTreeMap::new());
    for line in text.lines().map(str::trim) {
        let words: Vec<_> = line.trim_end_matches(';').split_whitespace().collect();
        match words[..] {
            ["message", name, "{"] => name.clone_into(&mut message),
            [ref types @ .., name, "=", number] if !message.is_empty() && !line.starts_with("//") => {
                let kind = types.join(" ");
                let number = number.parse().expect("a number");
                fields.insert((message.clone(), name.to_owned()), (number, kind));
            }
            _ => {}
        }
    }
    fields
}

#[test]
fn the_file_says_what_is_sent() {
    let mut written = written();
    let mut check = |message: &str, name: &str, found: (u32, u32)| {
        let of = (message.to_owned(), name.to_owned());
        let (number, kind) = written.remove(&of).unwrap_or_else(|| panic!("{message}.{name} is not written"));
        let wire_type = if matches!(kind.as_str(), "uint32" | "bool") { 0 } else { 2 };
        assert_eq!((number, wire_type), found, "{message}.{name}");
    };
    macro_rules! fields {
        ($type:ident: $($name:ident = $value:expr),*) => {
            $({
                let mut message = $type::default();
                message.$name = $value;
                check(stringify!($type), stringify!($name), field(&message));
            })*
        };
    }
    let text = || "x".to_owned();
    fields!(RequestPart: options = Some(Options::default()), stream = vec![1], archive = vec![1]);
    fields!(Options: mode = text(), builder = text(), folder = text(), origin = Some(Origin::default()), helm = Some(Helm::default()));
    fields!(Origin: project = text(), namespace = text(), repository = text(), path = text());
    fields!(Helm: release = text(), namespace = text(), values = vec![text()], set = vec![text()]);
    fields!(ResponsePart: report = Some(Report::default()), yaml = vec![1]);
    fields!(Report: mode = text(), objects = 1, opened = 1, warnings = vec![Warning::default()], taint = vec![Taint::default()]);
    fields!(Warning: place = text(), text = text());
    fields!(Taint: object = text(), path = text(), source = text(), source_place = text());
    fields!(ExplainResponse: explanations = vec![Explanation::default()]);
    fields!(Explanation: path = text(), place = text(), content = text(), format = text(), groups = vec![KeyGroup::default()],
        required_groups = 1, selector_field = text(), selector = text(), encrypted = 1, clear = 1, has_mac = true,
        mac_only_encrypted = true, last_modified = text(), version = text(), scope = text(), verdict = text(),
        passes = true, reason = text());
    fields!(KeyGroup: recipients = vec![Recipient::default()]);
    fields!(Recipient: kind = text(), name = text(), tried = true);
    assert!(written.is_empty(), "nobody sends {written:?}");
}

#[test]
fn the_file_has_the_methods_that_are_served() {
    let text = include_str!("../../../deploy/api/selkie/v1/decryptor.proto");
    for method in super::super::rpc::METHODS {
        assert!(text.contains(&format!("rpc {method} (stream RequestPart)")), "{method}");
    }
    assert_eq!(text.matches("  rpc ").count(), super::super::rpc::METHODS.len());
}
