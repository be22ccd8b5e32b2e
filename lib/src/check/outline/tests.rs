use super::*;

fn dump(text: &str) -> Vec<String> {
    let outline = Outline::read(text);
    let leaves = outline.roots().flat_map(|root| root.walk()).filter(|entry| entry.text().is_some());
    leaves.map(|entry| format!("{}={}", entry.pointer(None), entry.text().unwrap_or_default())).collect()
}

#[test]
fn values_are_found_with_their_places_in_every_style() {
    let text = "a: 1\nb: {c: \"x\\ty\", d: 'z'}\ne:\n- |\n  l\n  m\n- ~\n---\n- f: g\n";
    assert_eq!(dump(text), ["/a=1", "/b/c=x\ty", "/b/d=z", "/e/0=l\nm\n", "/e/1=~", "/0/f=g"]);
    assert_eq!(dump("{\"a\": {\"b/c\": [1, \"x\"]}}"), ["/a/b~1c/0=1", "/a/b~1c/1=x"]);
    let outline = Outline::read(text);
    let root = outline.roots().next().expect("a document");
    let entry = root.at(&["b", "c"]).expect("a value");
    assert_eq!((&text[entry.span()], &text[entry.key_span()]), ("\"x\\ty\"", "c"));
    assert_eq!(&text[root.get("b").expect("a map").span()], "{c: \"x\\ty\", d: 'z'}");
}

#[test]
fn a_document_that_cannot_be_read_does_not_hide_the_others() {
    let outline = Outline::read("a: 1\n---\nb: [\n--- # c\nd: 2\n...\n");
    assert_eq!(outline.documents().len(), 3);
    let errors: Vec<_> = outline.documents().iter().map(|document| document.error.is_some()).collect();
    assert_eq!(errors, [false, true, false]);
    assert_eq!(outline.roots().count(), 2);
}

#[test]
fn aliases_and_merges_are_what_they_stand_for() {
    let text = "x: &x {p: 1, q: 2}\ny: *x\nz: {<<: *x, q: 3}\n";
    assert_eq!(dump(text), ["/x/p=1", "/x/q=2", "/x/p=1", "/x/q=2", "/z/q=3", "/x/p=1", "/x/q=2"]);
    let outline = Outline::read(text);
    let z = outline.roots().next().and_then(|root| root.get("z")).expect("a map");
    assert_eq!((z.text_at(&["p"]), z.text_at(&["q"])), (Some("1"), Some("3")));
}

#[test]
fn bombs_of_aliases_end() {
    let mut text = "a0: &a0 [x, x]\n".to_owned();
    for level in 1..40 {
        text += &format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1);
    }
    text += "m0: &m0 {k: v}\n";
    for level in 1..40 {
        text += &format!("m{level}: &m{level} {{<<: [*m{0}, *m{0}]}}\n", level - 1);
    }
    let outline = Outline::read(&text);
    let root = outline.roots().next().expect("a document");
    assert!(root.walk().len() > 1000);
    assert!(outline.is_exhausted());
    assert!(root.get("m39").is_some());
}

#[test]
fn templates_are_read_around_their_actions() {
    let text = "{{- if .Values.a }}\nkind: Secret\ndata:\n  {{- range .b }}\n  k: {{ .c | quote }}\n  l: literal\n  {{- end }}\n{{- end }}\n";
    let outline = Outline::read(text);
    let data = outline.roots().next().and_then(|root| root.get("data")).expect("a map");
    assert!(data.get("k").expect("a value").has_action());
    let literal = data.get("l").expect("a value");
    assert!(!literal.has_action());
    assert_eq!(literal.text(), Some("literal"));
}

#[test]
fn json_is_read_with_what_yaml_has_not() {
    let text = "{\n\t\"a\": \"\\ud83d\\ude00\\/x\",\n\t\"b\": {\"c\": [1, true, null, \"d\\te\"]}, \"b\": \"\\ud83d!\"}\n";
    let wanted = ["/a=\u{1f600}/x", "/b/c/0=1", "/b/c/1=true", "/b/c/2=null", "/b/c/3=d\te", "/b=\u{fffd}!"];
    assert_eq!(dump(text), wanted);
    assert_eq!(dump("{\"a\": 1}\n{\"a\": 2}\n[{\"a\": 3}]"), ["/a=1", "/a=2", "/0/a=3"]);
    let text = "{ // of a\n a: 'it\\'s', /* b */ \"b\": [1, 2,],\n\t\"c\": word,\n}\n";
    assert_eq!(dump(text), ["/a=it's", "/b/0=1", "/b/1=2", "/c=word"]);
    assert_eq!(dump("{a: b c, \"d\": 'e''f'}\n"), ["/a=b c", "/d=e'f"]);
}

#[test]
fn json_that_ends_early_is_not_read() {
    for text in
        ["{", "{\"a\"", "{\"a\":", "{\"a\": \"x", "{\"a\": \"\\u12", "{\"a\": 1}}", "[1", "{\"a\" 1 /*"]
    {
        let outline = Outline::read(text);
        assert!(outline.documents().iter().any(|document| document.error.is_some()), "{text}");
    }
    assert!(Outline::read(&"[".repeat(1_000_000)).documents()[0].error.is_some());
}

#[test]
fn marks_part_documents_in_flow_style_too() {
    assert_eq!(dump("{a: 1}\n---\n{b: 2}\n"), ["/a=1", "/b=2"]);
    assert_eq!(dump("{{ if .x }}\na: 1\n---\nb: 2\n{{ end }}\n"), ["/a=1", "/b=2"]);
    assert_eq!(dump("%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n--- {b: 2}\n"), ["/a=1", "/b=2"]);
    let text = "# c\n".repeat(1000) + &"%\n".repeat(100_000) + "---\na: 1\n";
    assert_eq!(dump(&text), ["/a=1"]);
    let documents = "--- # c\nkind: A\n".repeat(10_000);
    assert_eq!(Outline::read(&documents).roots().count(), 10_000);
}

#[test]
fn long_chains_of_merges_end() {
    let mut text = "m0: &m0 {k: v}\n".to_owned();
    for level in 1..50_000 {
        text += &format!("m{level}: &m{level} {{<<: *m{}}}\n", level - 1);
    }
    let outline = Outline::read(&text);
    let last = outline.roots().next().and_then(|root| root.get("m49999")).expect("a map");
    assert_eq!(last.text_at(&["k"]), Some("v"));
}

#[test]
fn lines_of_texts_are_found_where_they_stand() {
    let text = "a: |\n  one\n\n    two\nb: \"x\\ny\"\nc: plain\nd: >-\n  one\n  two\n";
    let outline = Outline::read(text);
    let root = outline.roots().next().expect("a document");
    let place = |key: &str, what: &str| {
        let entry = root.get(key).expect("a value");
        let at = entry.text().and_then(|text| text.find(what)).expect("a part");
        entry.places().of(at)
    };
    assert_eq!(place("a", "two"), text.find("two").expect("a place"));
    assert_eq!(place("c", "ain"), text.find("ain").expect("a place"));
    assert_eq!(place("b", "y"), text.find("\"x").expect("a place"));
    assert_eq!(place("d", "two"), text.rfind("one").expect("a place"));
}

#[test]
fn what_is_left_out_is_not_walked() {
    let outline = Outline::read("a: {b: 1, c: {d: 2}}\n");
    let root = outline.roots().next().expect("a document");
    assert_eq!(root.walk_unless(|entry| entry.key() == Some("c")).len(), 3);
}

#[test]
fn what_is_merged_many_times_is_there_once() {
    let text = format!(
        "b: &b {{p: 1, q: 2}}\nc: &c {{<<: [{}], r: 3}}\nd: {{<<: [*c, *b]}}\n",
        "*b,".repeat(50_000)
    );
    let outline = Outline::read(&text);
    let root = outline.roots().next().expect("a document");
    let keys = |name: &str| -> Vec<_> {
        root.get(name).expect("a map").entries().filter_map(|entry| entry.key().map(str::to_owned)).collect()
    };
    assert_eq!(keys("c"), ["r", "p", "q"]);
    assert_eq!(keys("d"), ["r", "p", "q"]);
    assert!(!outline.is_exhausted());
}
