//! Made-up YAML: every shape of scalar, comments everywhere, and every way to write a map or list down.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::Union;

use super::one_of;

/// A value, as it is written.
#[derive(Clone, Debug)]
enum Node {
    /// A repetition of what was named before; a null if nothing was.
    Alias(usize),
    /// A scalar in lines of its own below a header.
    Block { header: &'static str, indented: bool, lines: Vec<String> },
    /// A scalar on one line.
    Line(String),
    /// A scalar in quotes over several lines.
    Lines { quote: char, lines: Vec<String> },
    /// Items in order.
    List { flow: bool, items: Vec<Item> },
    /// Keys and values in order.
    Map { flow: bool, items: Vec<Item> },
}

/// A value with what stands before, beside and after it.
#[derive(Clone, Debug)]
struct Item {
    key: Key,
    node: Node,
    anchor: bool,
    tag: Option<&'static str>,
    above: Vec<String>,
    beside: Option<String>,
    below: Vec<String>,
}

/// A key in the way it is written: plain, in single or in double quotes.
#[derive(Clone, Debug)]
struct Key {
    name: String,
    quote: &'static str,
}

/// How a whole text is written.
#[derive(Clone, Debug)]
struct Layout {
    step: usize,
    hanging_lists: bool,
    crlf: bool,
    byte_order_mark: bool,
    start: &'static str,
    end: &'static str,
    last: Vec<String>,
}

/// Returns texts of YAML, of one document or several.
pub fn yaml() -> impl Strategy<Value = String> {
    let documents = prop_oneof![6 => vec(document(), 1), 1 => vec(document(), 2..4)];
    (documents, layout()).prop_map(|(documents, layout)| write(&documents, &layout))
}

fn document() -> impl Strategy<Value = Vec<Item>> {
    vec(item(node()), 1..6)
}

fn layout() -> impl Strategy<Value = Layout> {
    let start =
        prop_oneof![4 => Just(""), 1 => Just("---\n"), 1 => Just("\n# first\n\n"), 1 => Just("--- # head\n")];
    let end = prop_oneof![6 => Just("\n"), 1 => Just(""), 1 => Just("\n\n"), 1 => Just("\n...\n"), 1 => Just("\n# last\n")];
    let rare = || proptest::bool::weighted(0.08);
    (1..5_usize, any::<bool>(), rare(), rare(), start, end, vec(comment(), 0..2)).prop_map(
        |(step, hanging_lists, crlf, byte_order_mark, start, end, last)| Layout {
            step,
            hanging_lists,
            crlf,
            byte_order_mark,
            start,
            end,
            last,
        },
    )
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        12 => one_line().prop_map(Node::Line),
        2 => block(),
        1 => lines(),
        1 => any::<usize>().prop_map(Node::Alias),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let items = vec(item(inner), 0..5).boxed();
        let flow = || proptest::bool::weighted(0.2);
        prop_oneof![
            3 => (flow(), items.clone()).prop_map(|(flow, items)| Node::Map { flow, items }),
            2 => (flow(), items).prop_map(|(flow, items)| Node::List { flow, items }),
        ]
    })
}

fn item(node: impl Strategy<Value = Node>) -> impl Strategy<Value = Item> {
    let tag = prop_oneof![20 => Just(None), 1 => Just(Some("!!str")), 1 => Just(Some("!local"))];
    let above =
        prop_oneof![6 => Just(Vec::new()), 2 => vec(comment(), 1..3), 1 => vec(Just(String::new()), 1..3)];
    let below = prop_oneof![12 => Just(Vec::new()), 1 => vec(comment(), 1)];
    let anchor = proptest::bool::weighted(0.08);
    (key(), node, anchor, tag, above, weighted(0.15, comment()), below).prop_map(
        |(key, node, anchor, tag, above, beside, below)| Item {
            key,
            node,
            anchor,
            tag,
            above,
            beside,
            below,
        },
    )
}

fn key() -> impl Strategy<Value = Key> {
    let plain = one_of(&[
        "a",
        "b",
        "c",
        "d",
        "data",
        "stringData",
        "password",
        "k_clear",
        "x_unencrypted",
        "api_secret",
        "two words",
        "ключ",
        "dotted.key",
        "dash-key",
        "y",
        "on",
        "x/y",
        "sops_like",
        "a:b",
    ]);
    let quoted =
        one_of(&["1", "true", "null", "", "# no comment", "a: b", "*x", "[x]", "2001-01-01", "\u{1F511}"]);
    prop_oneof![
        8 => plain.prop_map(|name| Key { name, quote: "" }),
        1 => quoted.clone().prop_map(|name| Key { name, quote: "'" }),
        1 => quoted.prop_map(|name| Key { name, quote: "\"" }),
    ]
}

fn one_line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => plain_spelling(),
        3 => "[a-z][a-zA-Z0-9_./@-]{0,12}( [a-z0-9]{1,6}){0,3}",
        2 => "[0-9]{1,18}",
        1 => "-?[0-9]{1,8}\\.[0-9]{1,8}(e[+-]?[0-9]{1,3})?",
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_filter("a number", |number| number.is_finite()).prop_map(|number| format!("{number:?}")),
        2 => single_quoted(),
        2 => double_quoted(),
    ]
}

/// Every shape of plain scalar that resolves in its own way.
fn plain_spelling() -> impl Strategy<Value = String> {
    one_of(&[
        "",
        "~",
        "null",
        "Null",
        "NULL",
        "nUll",
        "true",
        "True",
        "TRUE",
        "tRue",
        "false",
        "False",
        "FALSE",
        "y",
        "Y",
        "yes",
        "n",
        "no",
        "on",
        "off",
        "01",
        "007",
        "0o7",
        "0O7",
        "017",
        "08",
        "09",
        "0b1",
        "0x1F",
        "0X1f",
        "0x_1F",
        "1_000",
        "1__0",
        "+1",
        "-0",
        "0",
        "42",
        "-7",
        "0o8",
        "0b2",
        "_1",
        "0x1p4",
        "1e400",
        "inf",
        "nan",
        "1.",
        ".5",
        "+.5",
        "1e3",
        "1.e3",
        "1_0.5",
        "1e-400",
        "-0.0",
        "1.0",
        "1.10",
        ".inf",
        ".Inf",
        ".INF",
        "+.inf",
        "-.inf",
        ".nan",
        ".NaN",
        ".NAN",
        "2024-01-01",
        "2024-1-2",
        "2001-12-14 21:59:43",
        "2001-12-14 21:59:43.10",
        "2024-01-01T00:00:00Z",
        "2001-12-14t21:59:43.10-05:00",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00:00z",
        "2024-13-01",
        "2001-12-14 21:59:43 -5",
        "12:30",
        "190:20:30",
        "9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "=",
        "a b",
        "é",
        "日本",
        "ENC",
        "a'b",
        "a\"b",
        "a#b",
        "a:b",
        "x=y",
        "http://u:p@h/",
        "1.2.3",
        "-x",
        "?x",
        "1e3x",
        "100000",
        "1000000",
        "1234567.0",
        "0.0001",
        "0.00001",
        "\u{1F600}",
    ])
}

fn single_quoted() -> impl Strategy<Value = String> {
    prop_oneof![
        one_of(&[
            "",
            "1",
            "true",
            "~",
            "it''s",
            " lead",
            "trail ",
            "a: b",
            "# x",
            "\"",
            "\\n",
            "2024-01-01",
            "a \u{2028}b",
            "\u{2029}"
        ]),
        "[ a-z#:,{}&*!|>\"%@-]{0,10}",
    ]
    .prop_map(|text| format!("'{text}'"))
}

fn double_quoted() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ a-zA-Z0-9#:,'{}&*!|>%@é日-]{0,6}",
        1 => one_of(&[
            "\\n", "\\t", "\\\\", "\\\"", "\\x41", "\\u00e9", "\\U0001F600", "\\0", "\\e", "\\r", "\\_", "\\N", "\\L", "\\/", "\\ ", "\\a",
            "\\x7f", "\\uFEFF", "\t", "\u{2028}",
        ]),
    ];
    vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn block() -> impl Strategy<Value = Node> {
    let header = Union::new(["|", "|-", "|+", ">", ">-", ">+"].map(Just));
    let line = prop_oneof![
        4 => "[a-z0-9#:'\"{}-][a-z0-9 #:'\"{}-]{0,10}[a-z0-9]",
        1 => Just(String::new()),
        1 => one_of(&["  more", "\ttab", "trail ", "é 日本", "# no comment", "- no list", "--- x", "key: value", "a\u{2028}    b"]),
    ];
    (header, proptest::bool::weighted(0.2), vec(line, 0..5))
        .prop_map(|(header, indented, lines)| Node::Block { header, indented, lines })
}

fn lines() -> impl Strategy<Value = Node> {
    let line = prop_oneof![4 => "[a-z0-9]{1,5}( [a-z0-9:]{1,5}){0,2}", 1 => Just(String::new())];
    let quote = prop_oneof![Just('\''), Just('"')];
    (quote, vec(line, 2..4)).prop_map(|(quote, lines)| Node::Lines { quote, lines })
}

fn comment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => one_of(&[
            " note", "tight", " in clear", " a secret", "! both", " # twice", "\ttab", " ünï", " ENC[no]", " - item", " key: value",
            " deep  space", "\"", " 'quoted'",
        ]),
        1 => " [a-z][a-z ]{0,12}[a-z]",
    ]
}

fn write(documents: &[Vec<Item>], layout: &Layout) -> String {
    let mut writer = Writer { text: layout.start.to_owned(), layout, anchors: Vec::new(), named: 0 };
    for (index, items) in documents.iter().enumerate() {
        if index > 0 {
            writer.text.push_str("---\n");
        }
        writer.anchors.clear();
        writer.block_map(items, 0);
    }
    for comment in &layout.last {
        writer.line(0, &format!("#{comment}"));
    }
    let mut text = writer.text;
    text.truncate(text.trim_end_matches('\n').len());
    text.push_str(layout.end);
    if layout.crlf {
        text = text.replace('\n', "\r\n");
    }
    if layout.byte_order_mark { format!("\u{FEFF}{text}") } else { text }
}

struct Writer<'a> {
    text: String,
    layout: &'a Layout,
    /// The names of what is complete, so that an alias may stand for it.
    anchors: Vec<String>,
    named: usize,
}

impl Writer<'_> {
    fn block_map(&mut self, items: &[Item], indent: usize) {
        let mut seen = HashSet::new();
        for item in items.iter().filter(|item| seen.insert(item.key.name.as_str())) {
            self.above(item, indent);
            self.text.push_str(&" ".repeat(indent));
            self.text.push_str(&item.key.written());
            self.text.push(':');
            self.value(item, indent, false);
            self.below(item, indent);
        }
    }

    fn block_list(&mut self, items: &[Item], indent: usize) {
        for item in items {
            self.above(item, indent);
            self.text.push_str(&" ".repeat(indent));
            self.text.push('-');
            self.value(item, indent, true);
            self.below(item, indent);
        }
    }

    /// Writes a value behind `key:` or `-`, and ends its line.
    fn value(&mut self, item: &Item, indent: usize, in_list: bool) {
        let anchor = self.anchor(item);
        let inner = indent + self.layout.step.max(if in_list { 2 } else { 1 });
        let beside = item.beside.as_ref().map(|comment| format!(" #{comment}")).unwrap_or_default();
        match &item.node {
            Node::Map { flow: false, items } if !items.is_empty() => {
                self.text.push_str(&beside);
                self.text.push('\n');
                self.block_map(items, inner);
            }
            Node::List { flow: false, items } if !items.is_empty() => {
                self.text.push_str(&beside);
                self.text.push('\n');
                let hangs = self.layout.hanging_lists && !in_list;
                self.block_list(items, if hangs { indent } else { inner });
            }
            Node::Block { header, indented, lines } => {
                self.tag(item);
                self.block(header, *indented, lines, &beside, indent, inner);
            }
            Node::Lines { quote, lines } => {
                self.tag(item);
                let separator = format!("\n{}", " ".repeat(inner));
                let written = format!(" {quote}{}{quote}{beside}\n", lines.join(&separator));
                self.text.push_str(&written);
            }
            node => {
                if !matches!(node, Node::Alias(_)) {
                    self.tag(item);
                }
                let written = self.inline(node, false);
                self.text.push(' ');
                self.text.push_str(&written);
                self.text.push_str(&beside);
                self.text.push('\n');
            }
        }
        self.anchors.extend(anchor);
    }

    fn block(
        &mut self,
        header: &str,
        indented: bool,
        lines: &[String],
        beside: &str,
        indent: usize,
        inner: usize,
    ) {
        let needs_digit = indented
            || lines.iter().find(|line| !line.is_empty()).is_some_and(|line| line.starts_with([' ', '\t']));
        let mut header = header.to_owned();
        if needs_digit {
            header.insert_str(1, &(inner - indent).to_string());
        }
        self.text.push_str(&format!(" {header}{beside}\n"));
        for line in lines {
            self.line(if line.is_empty() { 0 } else { inner }, line);
        }
    }

    /// Returns a node that is written on one line.
    fn inline(&mut self, node: &Node, in_flow: bool) -> String {
        match node {
            Node::Alias(index) if !self.anchors.is_empty() => {
                format!("*{}", self.anchors[index % self.anchors.len()])
            }
            Node::Alias(_) | Node::Block { .. } => "null".to_owned(),
            Node::Line(text) if in_flow && is_special_in_flow(text) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            Node::Line(text) => text.clone(),
            Node::Lines { quote, lines } => format!("{quote}{}{quote}", lines.join(" ")),
            Node::List { items, .. } => {
                let items: Vec<_> =
                    items.iter().map(|item| self.inline(&item.node, true)).map(or_null).collect();
                format!("[{}]", items.join(", "))
            }
            Node::Map { items, .. } => {
                let mut seen = HashSet::new();
                let items: Vec<_> = items
                    .iter()
                    .filter(|item| seen.insert(item.key.name.as_str()))
                    .map(|item| format!("{}: {}", item.key.written(), or_null(self.inline(&item.node, true))))
                    .collect();
                format!("{{{}}}", items.join(", "))
            }
        }
    }

    fn anchor(&mut self, item: &Item) -> Option<String> {
        let has_place = !matches!(&item.node, Node::Alias(_));
        (item.anchor && has_place).then(|| {
            self.named += 1;
            let name = format!("n{}", self.named);
            self.text.push_str(&format!(" &{name}"));
            name
        })
    }

    fn tag(&mut self, item: &Item) {
        let is_scalar = matches!(item.node, Node::Block { .. } | Node::Line(_) | Node::Lines { .. });
        if let (Some(tag), true) = (item.tag, is_scalar) {
            self.text.push_str(&format!(" {tag}"));
        }
    }

    fn above(&mut self, item: &Item, indent: usize) {
        for comment in &item.above {
            if comment.is_empty() { self.line(0, "") } else { self.line(indent, &format!("#{comment}")) }
        }
    }

    fn below(&mut self, item: &Item, indent: usize) {
        for comment in &item.below {
            self.line(indent, &format!("#{comment}"));
            self.line(0, "");
        }
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.text.push_str(&" ".repeat(indent));
        self.text.push_str(text);
        self.text.push('\n');
    }
}

impl Key {
    fn written(&self) -> String {
        format!("{}{}{}", self.quote, self.name, self.quote)
    }
}

fn or_null(text: String) -> String {
    if text.is_empty() { "~".to_owned() } else { text }
}

fn is_special_in_flow(text: &str) -> bool {
    let is_quoted = text.starts_with(['\'', '"']);
    !is_quoted && (text.contains([',', '[', ']', '{', '}', ':', '#']) || text.starts_with(['-', '?', '=']))
}
