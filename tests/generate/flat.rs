//! Made-up dotenv, INI and binary documents.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use serde_json::{Value as Json, json};

use super::one_of;

/// Returns texts of dotenv.
pub fn dotenv() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        4 => "[A-Z][A-Z_]{0,8}",
        1 => one_of(&["export A", "data", "a", "b", " lead", "trail ", "a:b", "k_clear", "api_secret", "ключ", "password", "sops", "dotted.key"]),
    ];
    let value = prop_oneof![
        4 => "[ a-zA-Z0-9#:,'\"{}&*!=|<>%@é日-]{0,16}",
        1 => one_of(&["", "\"quoted\"", "'x'", "a\\nb", "a=b=c", "x # y", "\t", "\\\\n", "${X}", "trail \\"]),
    ];
    let line = prop_oneof![
        6 => (key, value).prop_map(|(key, value)| format!("{key}={value}")),
        1 => one_of(&["# note", "#tight", "#! both", "# a secret", "# in clear", "#  x=y ", "# \u{1F511}"]),
        1 => Just(String::new()),
    ];
    (vec(line, 1..8), any::<bool>()).prop_map(|(lines, ends)| lines.join("\n") + if ends { "\n" } else { "" })
}

/// Returns texts of INI.
pub fn ini() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        4 => "[a-z][a-z_]{0,8}",
        2 => "[a-c]",
        1 => one_of(&["two words", "k_clear", "api_secret", "dotted.key", "data", "A-B", "ключ", "-", "\"in quotes\"", "`a:b`", "\"\"\"x`y\"\"\"", "'single'", "a ; b"]),
    ];
    let value = prop_oneof![
        4 => "[a-zA-Z0-9]([ a-zA-Z0-9:,'{}&*!=|<>%@é日-]{0,12}[a-zA-Z0-9])?",
        2 => one_of(&[
            "", "\"quoted\"", "'single'", "\"a;b\"", "`back # quote`", "\"\"\"l1\nl2\"\"\"", "a;b", "a # b", "x ; inline", "%(x)s", "long \\\nline", "\"\"",
            "\" lead\"", "a\\nb",
        ]),
        1 => one_of(&[
            "\"\"\"l1\nl2\"\"\" ; beside", "`l1\n\nl2`", "\"\"\"one line\"\"\"", "``", "\"\"\"\"\"\"", "\"\"\"", "\"q\" ; beside", "'it''s'", "\"a\"b\"", "; only", "#tight",
            "x ;; two", "x #", "open \\\n", "open \\\n\n", "one \\\n two \\\nthree", "`x` ; dropped", "a secret ; in clear", "\\", "]", "\"\"\"a\nb\"\"\" c", "\u{a0}x\u{a0}",
        ]),
        1 => "[a-c;#`'\"= \\\\\\[\\]]{0,6}",
    ];
    let sign = one_of(&["=", " = ", ": ", ":", "   =   ", "\t=\t", "= "]);
    let indent = prop_oneof![8 => Just(String::new()), 1 => one_of(&["  ", "\t"])];
    let line = prop_oneof![
        6 => (key, sign, value).prop_map(|(key, sign, value)| key + &sign + &value),
        2 => "[a-z]{1,6}".prop_map(|section| format!("[{section}]")),
        2 => one_of(&["; note", "# hash", ";tight", "# a secret", "; in clear", "", "[two words]", "[DEFAULT]", "[data]"]),
        1 => one_of(&[";", "#", ";; two", "# ; both", "[a] ; beside", "[ b ]#tight", "[a]b]", "[a] dropped", "[default]", "a=1\na=2", "a=1\n\na=2 ; beside", "; x ", "  ", "\t"]),
    ];
    let line = (indent, line).prop_map(|(indent, line)| indent + &line);
    let breaks = prop_oneof![8 => Just("\n"), 1 => Just("\r\n")];
    let starts = prop_oneof![12 => Just(""), 1 => Just("\u{feff}")];
    (vec(line, 0..12), breaks, starts, any::<bool>()).prop_map(|(lines, line_break, start, ends)| {
        let text = start.to_owned() + &lines.join("\n") + if ends { "\n" } else { "" };
        text.replace('\n', line_break)
    })
}

/// Returns documents of INI as the peer writes them.
pub fn sections() -> impl Strategy<Value = Json> {
    let key = prop_oneof![
        6 => "[a-z][a-z_]{0,8}",
        1 => "[a-c;#`\"=:\\[\\] -]{1,4}",
        1 => one_of(&["two words", "ключ", "-", "#1", "'x'"]),
    ];
    let text = prop_oneof![
        4 => "[ a-zA-Z0-9:,'{}&*!=|<>%@é日-]{0,12}",
        2 => "[a-c;#`'\"= \\\\\n\r]{0,6}",
        1 => one_of(&["\"quoted\"", "'single'", "a;b", "`", "a\nb", "\"\"\"", "back\\", " lead", "\u{a0}", "\n", "a`\nb", "`\"\"\"\n"]),
    ];
    let value = prop_oneof![
        8 => text.prop_map(|text| json!({ "str": text })),
        1 => any::<i64>().prop_map(|number| json!({ "int": number.to_string() })),
        1 => any::<bool>().prop_map(|value| json!({ "bool": value })),
    ];
    let comment = one_of(&[" note", "note", "two\nlines", "one\n; two", "", "  x ", "# x", "a;b"]);
    let entry = prop_oneof![
        5 => (key.clone(), value).prop_map(|(key, value)| json!({ "key": key, "value": value })),
        1 => comment.clone().prop_map(|comment| json!({ "comment": comment })),
    ];
    let name =
        prop_oneof![4 => "[a-z]{1,6}", 1 => one_of(&["DEFAULT", "default", "a]b", " a ", "two words"])];
    let section = prop_oneof![
        9 => (name, vec(entry, 0..6)).prop_map(|(name, map)| json!({ "key": name, "value": { "map": map } })),
        1 => comment.prop_map(|comment| json!({ "comment": comment })),
    ];
    vec(section, 0..5).prop_map(|sections| json!([{ "map": sections }]))
}

/// Returns any bytes.
pub fn binary() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..200), "\\PC{0,40}".prop_map(String::into_bytes)]
}
