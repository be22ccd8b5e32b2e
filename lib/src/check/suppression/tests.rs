use super::*;
use crate::check::baseline::Baseline;
use crate::check::config::Config;
use crate::check::test_kit::Repository;
use crate::check::{Checker, Content, Context, Files, Mode, Policies, Severity, decode, rule};

fn today() -> Date {
    day("2026-11-28").expect("a day")
}

/// Returns what is allowed and what is told of a file with findings of a rule where `MARK` stands.
fn suppressed(path: &str, id: &str, text: &str) -> (Vec<usize>, Vec<String>) {
    let content = decode(text.as_bytes());
    let file = File::new(path, text.as_bytes(), &content, Mode::File);
    let rule = rule(id).expect("a rule");
    let mut found: Vec<_> =
        text.match_indices("MARK").map(|(at, _)| Finding::new(rule, &file, at..at + 4, "here")).collect();
    let mut told = Findings::default();
    suppress(&file, today(), &mut found, &mut told);
    let allowed = found
        .iter()
        .filter(|finding| matches!(&finding.standing, Standing::Allowed(reason) if reason == "x"));
    let allowed = allowed.map(|finding| finding.start.line).collect();
    let told = told.into_vec();
    assert!(told.iter().all(|finding| finding.rule.id == "META002" && finding.severity == Severity::Warning));
    (allowed, told.iter().map(|finding| format!("{} {}", finding.start.line, finding.message)).collect())
}

#[test]
fn a_comment_allows_its_line_or_the_next_one() {
    let text = "\
a: MARK # seal:allow K8S006 reason=x
b: MARK
# seal:allow K8S006,TOK003 reason=x
# seal:allow K8S002 reason=x
c: MARK
d: MARK
";
    let (allowed, told) = suppressed("a.yaml", "K8S006", text);
    assert_eq!(allowed, [1, 5]);
    assert_eq!(told, ["3 TOK003 is allowed here for nothing", "4 K8S002 is allowed here for nothing"]);
}

#[test]
fn a_comment_before_a_key_allows_all_of_its_value() {
    let text = "# seal:allow TOK002 reason=x\na: |\n  y\n  MARK\n# seal:allow TOK002 reason=x\nb:\n  MARK\nc: |\n  MARK\n";
    assert_eq!(suppressed("a.yaml", "TOK002", text), (vec![4, 7], vec![]));
    // Of several findings in a value, none was decided on.
    let text = "# seal:allow TOK002 reason=x\na: |\n  MARK\n  MARK\n";
    assert_eq!(
        suppressed("a.yaml", "TOK002", text),
        (vec![], vec!["1 TOK002 is allowed here for nothing".to_owned()])
    );
    let text =
        "a: # seal:allow TOK002 reason=x\n  'MARK'\nb: {c: MARK, d: MARK} # seal:allow TOK002 reason=x\n";
    assert_eq!(suppressed("a.yaml", "TOK002", text), (vec![2, 3, 3], vec![]));
}

#[test]
fn a_carriage_return_ends_the_line_of_a_comment() {
    let text = "a: MARK # seal:allow K8S006 reason=x\rb: MARK\r";
    let (allowed, told) = suppressed("a.yaml", "K8S006", text);
    assert_eq!((allowed.len(), told.len()), (1, 0));
    let (allowed, _) = suppressed("a.env", "K8S006", &text.replace(": ", "="));
    assert_eq!(allowed.len(), 1);
}

#[test]
fn a_value_of_several_lines_between_quotes_allows_nothing() {
    let text = "DB=\"a\n# seal:allow TOK002 reason=x\nMARK\"\n";
    assert_eq!(suppressed("a.env", "TOK002", text), (vec![], vec![]));
}

#[test]
fn a_value_allows_nothing() {
    let text = "a: |\n  # seal:allow K8S006 reason=x\n  MARK\nb: \"# seal:allow K8S006 reason=x MARK\"\n";
    assert_eq!(suppressed("a.yaml", "K8S006", text), (vec![], vec![]));
    let json = "{\"a\": \"# seal:allow K8S006 reason=x\",\n\"b\": \"MARK\"}\n";
    assert_eq!(suppressed("a.json", "K8S006", json), (vec![], vec![]));
    assert_eq!(suppressed("a.env", "TOK003", "A=\"MARK # seal:allow TOK003 reason=x\"\n"), (vec![], vec![]));
}

#[test]
fn what_expired_or_is_malformed_allows_nothing_and_is_told() {
    for (comment, wanted) in [
        ("K8S006 reason=x until=2026-11-27", "what this comment allows expired: 2026-11-27 was its last day"),
        ("K8S006", "this comment allows nothing: it gives no reason"),
        ("reason=x", "this comment allows nothing: it names no rule"),
        ("K8S996 reason=x", "this comment allows nothing: there is no rule K8S996"),
        ("all reason=x", "this comment allows nothing: there is no rule that is called so"),
        ("KEY001 reason=x", "KEY001 is not allowed by a comment"),
    ] {
        let (allowed, told) = suppressed("a.yaml", "K8S006", &format!("a: MARK # seal:allow {comment}\n"));
        assert!(allowed.is_empty(), "{comment}");
        assert_eq!(told, [format!("1 {wanted}")]);
    }
    let today = "a: MARK # seal:allow K8S006 reason=x until=2026-11-28\n";
    assert_eq!(suppressed("a.yaml", "K8S006", today), (vec![1], vec![]));
}

#[test]
fn what_depends_on_more_than_the_file_is_not_told_as_unused() {
    let text = "# seal:allow SOPS004,SOPS012,SEAL004,SOPS005 reason=x\na: b\n";
    assert_eq!(suppressed("a.yaml", "K8S006", text), (vec![], vec![]));
}

#[test]
fn of_two_comments_one_is_for_nothing() {
    let text = "# seal:allow K8S006 reason=x\na: MARK # seal:allow K8S006 reason=x\n";
    let (allowed, told) = suppressed("a.yaml", "K8S006", text);
    assert_eq!((allowed, told), (vec![2], vec!["2 K8S006 is allowed here for nothing".to_owned()]));
}

#[test]
fn many_comments_and_findings_take_no_long_time() {
    let text = "# seal:allow K8S006 reason=x\n".repeat(20_000)
        + "a: MARK # seal:allow K8S006 reason=x\n"
        + &"b: [MARK]\n".repeat(20_000);
    let (allowed, told) = suppressed("a.txt", "K8S006", &text);
    assert_eq!((allowed.len(), told.len()), (1, 101));
    assert_eq!(told[100], "20001 19900 more comments or rules in them allow nothing");
    let malformed = "# seal:allow\n".repeat(20_000) + "a: b\n";
    assert_eq!(suppressed("a.yaml", "K8S006", &malformed).1.len(), 101);
    let line = "x # seal:allow".repeat(20_000);
    assert_eq!(suppressed("a.txt", "K8S006", &line).1.len(), 1);
}

#[test]
fn entries_of_the_configuration_allow_by_path_and_pointer() {
    let text = "allow:\n- {path: 'demo/*.json', pointer: /data, rule: K8S001, reason: one}\n- {path: '**', rule: KEY001, reason: two, until: 2026-11-28}\n- {path: '**', rule: K8S002, reason: x, until: 2026-11-27}\n- {path: '**', rule: K8S003, reason: x}\n";
    let config = Config::parse(text.as_bytes()).expect("a configuration");
    let allowances = Allowances::new(&config);
    let content = Content::Text("a\n".into());
    let check = |path: &str, id: &str, pointer: &str| {
        let file = File::new(path, b"a\n", &content, Mode::File);
        let mut found = [Finding::new(rule(id).expect("a rule"), &file, 0..1, "here").at("", pointer)];
        allowances.apply(&config, today(), path, &mut found);
        match &found[0].standing {
            Standing::Allowed(reason) => reason.clone(),
            _ => "no".to_owned(),
        }
    };
    assert_eq!(check("demo/a.json", "K8S001", "/data/b"), "one");
    assert_eq!(check("demo/a.json", "K8S001", "/data"), "one");
    assert_eq!(check("demo/a.json", "K8S001", "/database"), "no");
    assert_eq!(check("demo/a.json", "K8S001", ""), "no");
    assert_eq!(check("demo/b/a.json", "K8S001", "/data/b"), "no");
    assert_eq!(check("x", "KEY001", ""), "two");
    assert_eq!(check("x", "K8S002", "/a"), "no");

    let after: Files = [(Config::NAME, text)].into_iter().collect();
    let policies = Policies::new(&after);
    let (before, keys) = (None, None);
    let context =
        Context { after: &after, before, config: &config, policies: &policies, keys, today: today() };
    let told = |is_whole| {
        let mut told = Findings::default();
        allowances.tell(&context, is_whole, &mut told);
        let show = |finding: Finding| format!("{}:{} {}", finding.path, finding.start.line, finding.message);
        told.into_vec().into_iter().map(show).collect::<Vec<_>>()
    };
    let expired = ".seal-check.yaml:4 this entry of `allow` expired: 2026-11-27 was its last day";
    assert_eq!(told(false), [expired]);
    assert_eq!(
        told(true),
        [expired, ".seal-check.yaml:5 this entry of `allow` allows nothing that is there"]
    );
}

#[test]
fn what_is_told_of_comments_has_the_severity_that_the_repository_says() {
    let text = "a: b\n# seal:allow K8S002 reason=x\nc: d\n";
    let repository = |config: &str| Repository::default().with_config(config).with("a.yaml", text);
    assert_eq!(repository("").found(), ["META002 a.yaml:2"]);
    assert_eq!(repository("paths: [{match: '*.yaml', rules: {META002: off}}]").found(), Vec::<String>::new());
    let found = repository("rules: {META002: error}").check();
    assert_eq!(
        (found.len(), found[0].severity, found[0].standing.clone()),
        (1, Severity::Error, Standing::New)
    );
}

#[test]
fn what_all_files_together_show_can_be_allowed_in_the_file_and_by_the_configuration() {
    let text = "# seal:allow SEAL005 reason=x\na: b\nc: d\n";
    let config =
        Config::parse(b"allow: [{path: b.yaml, rule: SEAL005, reason: y}]").expect("a configuration");
    let after: Files = [("a.yaml", text), ("b.yaml", "a: b\n")].into_iter().collect();
    let policies = Policies::new(&after);
    let (before, keys) = (None, None);
    let context =
        Context { after: &after, before, config: &config, policies: &policies, keys, today: today() };
    let checker = Checker::new(context, Baseline::default());
    let content = decode(text.as_bytes());
    let rule = rule("SEAL005").expect("a rule");
    let finding = |path: &str, at: usize| {
        Finding::new(rule, &File::new(path, text.as_bytes(), &content, Mode::File), at..at, "here")
    };
    let at = text.find("c: d").expect("a line");
    let mut found =
        vec![finding("b.yaml", 0), finding("a.yaml", at), finding("a.yaml", at - 5), finding("gone", 0)];
    checker.allow(&mut found);
    let show = |finding: &Finding| (finding.path.clone(), finding.start.line, finding.standing.clone());
    let allowed = |reason: &str| Standing::Allowed(reason.to_owned());
    let wanted = [
        ("a.yaml".to_owned(), 3, Standing::New),
        ("a.yaml".to_owned(), 2, allowed("x")),
        ("b.yaml".to_owned(), 1, allowed("y")),
        ("gone".to_owned(), 1, Standing::New),
    ];
    assert_eq!(found.iter().map(show).collect::<Vec<_>>(), wanted);
}
