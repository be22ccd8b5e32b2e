use proptest::prelude::*;
use selkie::check::{File, Mode, decode, rule};
use serde_json::Value;

use super::*;

fn found(path: &str, text: &str, id: &str, severity: Severity) -> Found {
    let content = decode(text.as_bytes());
    let file = File::new(path, text.as_bytes(), &content, Mode::File);
    let finding = Finding::new(rule(id).expect(id), &file, 9..text.trim_end().len(), "the value is in clear")
        .at("Secret/web/db", "/data/pass\u{1b}word")
        .value(&text.as_bytes()[9..])
        .remedy("kubectl seal encrypt -i path")
        .severity(severity);
    Found { finding, change: String::new() }
}

fn outcome() -> Outcome {
    let mut allowed = found("b.yaml", "aaaaaaa: u\n", "K8S001", Severity::Error);
    allowed.finding.standing = Standing::Allowed("a demo".to_owned());
    let findings = vec![
        found("a b:c,%.yaml", "aaaaaaa: s3cr3t\n", "K8S001", Severity::Error),
        found("w.yaml", "aaaaaaa: w\n", "K8S006", Severity::Warning),
        allowed,
    ];
    Outcome {
        findings,
        files: 3,
        changes: 1,
        unverified: vec!["x.yaml: no".to_owned()],
        ..Outcome::default()
    }
}

fn written(format: Format, options: Options) -> String {
    let mut text = Vec::new();
    format.write(&outcome(), options, &mut text).expect("a vector takes all");
    String::from_utf8(text).expect("reports are text")
}

#[test]
fn people_read_places_rules_and_what_to_do() {
    let plain = "\
a b:c,%.yaml:1:10: error K8S001: the value is in clear (Secret/web/db /data/pass\\u{1b}word)
    fix: kubectl seal encrypt -i path
w.yaml:1:10: warning K8S006: the value is in clear (Secret/web/db /data/pass\\u{1b}word)
    fix: kubectl seal encrypt -i path
not verified: x.yaml: no
3 files checked: 1 error, 1 warning, 1 not counted
";
    assert_eq!(written(Format::Text, Options::default()), plain);
    let all = written(Format::Text, Options { verbose: true, colour: true, strict: true });
    assert!(all.contains("[allowed: a demo]") && all.contains("2 errors, 0 warnings"), "{all}");
    assert!(all.contains("\u{1b}[1m"), "{all}");
}

#[test]
fn commands_of_github_cannot_be_broken_out_of() {
    let text = written(Format::Github, Options::default());
    let first = text.lines().next().expect("a line");
    assert!(
        first.starts_with("::error file=a b%3Ac%2C%25.yaml,line=1,endLine=1,col=10,title=K8S001 "),
        "{first}"
    );
    assert_eq!(text.lines().count(), 3);
    let many = Outcome {
        findings: (0..25).map(|_| found("a", "aaaaaaa: x\n", "K8S001", Severity::Error)).collect(),
        ..Outcome::default()
    };
    let mut text = Vec::new();
    Format::Github.write(&many, Options::default(), &mut text).expect("a vector takes all");
    let text = String::from_utf8(text).expect("text");
    assert_eq!(text.lines().count(), 11);
    assert!(text.ends_with("::notice::15 more findings are in the log of this step\n"), "{text}");
}

#[test]
fn sarif_has_what_code_scanning_needs() {
    let log: Value = serde_json::from_str(&written(Format::Sarif, Options::default())).expect("JSON");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), selkie::check::RULES.len());
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 3);
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert_eq!(result["partialFingerprints"]["secretLocator/v1"].as_str().map(str::len), Some(32));
    }
    let location = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "a%20b%3Ac%2C%25.yaml");
    assert_eq!(location["region"]["startColumn"], 10);
    assert_eq!(results[2]["suppressions"][0]["justification"], "a demo");
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
}

#[test]
fn programs_find_everything_but_the_value() {
    let json: Value = serde_json::from_str(&written(Format::Json, Options::default())).expect("JSON");
    assert_eq!((&json["errors"], &json["warnings"], &json["notCounted"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(json["exitCode"], 1);
    let lines = written(Format::JsonLines, Options::default());
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count(), 4);
    let issues: Value = serde_json::from_str(&written(Format::Gitlab, Options::default())).expect("JSON");
    assert_eq!(issues[0]["location"]["lines"]["begin"], 1);
    assert_eq!(issues[0]["severity"], "critical");
    let lines = written(Format::GlHookErr, Options::default());
    assert!(lines.lines().all(|line| line.starts_with("GL-HOOK-ERR: ")), "{lines}");
}

#[test]
fn every_rule_is_explained_within_the_width() {
    for rule in selkie::check::RULES {
        let mut text = Vec::new();
        explain(rule, &mut text).expect("a vector takes all");
        let text = String::from_utf8(text).expect("text");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
}

proptest! {
    /// What was found is told, what it is never.
    #[test]
    fn no_report_holds_a_value(value in "[A-Za-z0-9+/!@#]{8,40}") {
        let text = format!("aaaaaaa: {value}\n");
        let findings = vec![found("a.yaml", &text, "K8S001", Severity::Error)];
        let outcome = Outcome { findings, files: 1, changes: 1, ..Outcome::default() };
        for format in Format::ALL {
            for verbose in [false, true] {
                let mut report = Vec::new();
                format.write(&outcome, Options { verbose, ..Options::default() }, &mut report)?;
                let report = String::from_utf8_lossy(&report).into_owned();
                prop_assert!(!report.contains(&value), "{}", format.name());
            }
        }
    }
}

#[test]
fn findings_at_one_place_have_fingerprints_of_their_own() {
    let mut outcome = outcome();
    let same = || found("w.yaml", "aaaaaaa: w\n", "K8S006", Severity::Warning);
    let mut other = same();
    other.change = "another".to_owned();
    outcome.findings.extend([same(), same(), other]);
    let report = Report { outcome: &outcome, options: Options::default() };
    let all: Vec<_> = report.fingerprints().map(|(_, fingerprint)| fingerprint).collect();
    // The second, fourth and fifth are about one place; so is the last, in another change.
    let different: std::collections::HashSet<_> = all[..5].iter().collect();
    assert_eq!((different.len(), &all[5]), (5, &all[1]));
}
