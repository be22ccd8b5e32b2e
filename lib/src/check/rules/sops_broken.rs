//! SOPS013: an encrypted file is broken.

use crate::check::sops_file::{SopsFile, metadata_line};
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};
use crate::format::{Format, METADATA_KEY};
use crate::sops::{MetadataError, is_well_formed};

pub(super) static RULE: Rule = Rule {
    id: "SOPS013",
    severity: Severity::Error,
    title: "an encrypted file is broken",
    explanation: "The file says that SOPS encrypted it, and sops cannot read it: a merge left its conflict behind, a key or \
        the metadata is given twice, the metadata is no map or lacks what it needs, such as a MAC, or the text is not of its format. \
        What cannot be read cannot be decrypted, and nobody can tell whether its values are encrypted.\n\n\
        A pattern in the metadata that does not compile is a warning: sops takes it for one that matches nothing.\n\n\
        To mend it, take the file from before the merge (\"git checkout --ours PATH\" or \"--theirs\") and make the other \
        change again with \"kubectl seal edit PATH\"; \"kubectl seal merge\" merges such files value by value.",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    if conflicts(file, found) {
        return;
    }
    let mut tell = |span, message: String, severity| {
        let remedy = "take the file from an earlier version, and make the change with: kubectl seal edit ";
        let finding = Finding::new(&RULE, file, span, message).severity(severity);
        found.add(finding.remedy(format!("{remedy}{}", file.path())));
    };
    if let Err(error) = &sops.tree {
        let message = format!("the file says that it is encrypted, and cannot be read: {}", error.kind);
        return tell(trimmed_line(file, error.line), message, Severity::Error);
    }
    for span in second_metadata(file, sops) {
        tell(span, "the metadata of SOPS is given twice".to_owned(), Severity::Error);
    }
    if sops.has_too_many_rules() {
        let message = "the documents of this file have more different rules than are looked at";
        tell(metadata_line(file, METADATA_KEY), message.to_owned(), Severity::Error);
    }
    match &sops.metadata {
        // A file without keys is told with its recipients.
        None | Some(Err(MetadataError::NoKeys)) => {}
        Some(Err(error)) => {
            let field = if let MetadataError::Field(field) = error { field } else { METADATA_KEY };
            let message = format!("the metadata of SOPS cannot be used: {error}");
            tell(metadata_line(file, field), message, Severity::Error);
        }
        Some(Ok(metadata)) if metadata.selector.is_broken() => {
            let field = metadata.selector.field();
            let message = format!("the pattern of {field} does not compile, so that it matches nothing");
            tell(metadata_line(file, field), message, Severity::Warning);
        }
        Some(Ok(metadata)) if !has_mac(metadata.mac.as_bytes()) => {
            let message = "the file has no MAC that can be read, so that sops refuses it".to_owned();
            tell(metadata_line(file, "mac"), message, Severity::Error);
        }
        Some(Ok(_)) => {}
    }
}

/// Returns whether a MAC is an encrypted value, as sops writes it.
pub(super) fn has_mac(mac: &[u8]) -> bool {
    is_well_formed(mac) && mac.trim_ascii_end().ends_with(b"]")
}

/// Tells conflicts that a merge left behind; returns whether there are any.
fn conflicts(file: &File<'_>, found: &mut Findings) -> bool {
    if !file.needles().has(Needles::CONFLICT) {
        return false;
    }
    let is_marker = |line: &str, marker: &str| {
        line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r']))
    };
    let has_end = file.text().lines().any(|line| is_marker(line, ">>>>>>>"));
    let mut is_any = false;
    let mut start = 0;
    for line in file.text().split_inclusive('\n') {
        if has_end && is_marker(line.trim_end_matches('\n'), "<<<<<<<") {
            let message = "a merge left its conflict here: sops cannot read the file";
            let span = start..start + line.trim_end().len();
            let remedy = format!("git checkout --ours {}, or kubectl seal merge", file.path());
            found.add(Finding::new(&RULE, file, span, message).remedy(remedy));
            is_any = true;
        }
        start += line.len();
    }
    is_any
}

/// Returns where metadata is given again; other formats than JSON cannot be read then.
fn second_metadata(file: &File<'_>, sops: &SopsFile) -> Vec<std::ops::Range<usize>> {
    if !matches!(sops.format, Format::Binary | Format::Json) {
        return Vec::new();
    }
    let roots = file.outline().roots().filter(|root| root.is_map());
    let second = |root: crate::check::Entry<'_>| {
        let entries = root.entries().filter(|entry| entry.key() == Some(METADATA_KEY));
        entries.skip(1).map(|entry| entry.key_span()).collect::<Vec<_>>()
    };
    roots.flat_map(second).collect()
}

fn trimmed_line(file: &File<'_>, line: usize) -> std::ops::Range<usize> {
    let line = file.line(line.clamp(1, file.line_count().max(1)));
    let text = file.text().get(line.clone()).unwrap_or_default();
    let indent = text.len() - text.trim_start().len();
    line.start + indent..line.start + text.trim_end().len().max(indent)
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::{self, Repository};
    use crate::format::Format;

    fn found(path: &str, text: &str) -> Vec<String> {
        let found = Repository::default().with(path, text).check();
        let found = found.into_iter().filter(|finding| finding.rule.id == "SOPS013");
        found.map(|finding| format!("{} {}", finding.severity.name(), finding.start.line)).collect()
    }

    #[test]
    fn a_file_without_a_mac_is_found_and_judged_as_plain() {
        let source = "kind: Secret\nmetadata: {name: n}\nstringData: {a: b}\n";
        let text = encrypted(Format::Yaml, source, "encrypted_regex=^stringData$");
        let line = text.lines().find(|line| line.trim_start().starts_with("mac:")).expect("a MAC");
        for mac in ["    mac: ''", "    mac: horse", "    mac: ENC[AES256_GCM,data:x]"] {
            let broken = text.replace(line, mac);
            assert_eq!(found("a.yaml", &broken)[0].get(..5), Some("error"), "{mac}");
            assert_eq!(test_kit::found("K8S001", "a.yaml", &broken), [""; 0], "{mac}");
            let start = broken.find("ENC[").expect("a value");
            let end = start + broken[start..].find(']').expect("an end") + 1;
            let plain = format!("{}horse{}", &broken[..start], &broken[end..]);
            assert_eq!(test_kit::found("K8S001", "a.yaml", &plain).len(), 1, "{mac} {plain}");
        }
    }

    #[test]
    fn broken_files_are_found() {
        let yaml = encrypted(Format::Yaml, "a: b\nc: d\n", "encrypted_regex=^(a|c)$");
        let conflict = yaml.replacen("c:", "<<<<<<< HEAD\nc: x\n=======\nc: y\n>>>>>>> theirs\nd:", 1);
        assert_eq!(found("a.yaml", &conflict), ["error 2"]);
        assert_eq!(found("a.yaml", &yaml.replacen("c:", "a:", 1)), ["error 2"]);
        let block = yaml.find("sops:").expect("metadata");
        assert_eq!(found("a.yaml", &format!("{yaml}{}", &yaml[block..])).len(), 1);
        assert_eq!(found("a.yaml", &format!("sops: none\n{}", &yaml[..block])), ["error 1"]);
        assert_eq!(found("a.yaml", &yaml.replace("    version: ", "    verzion: ")), ["error 3"]);
        assert_eq!(found("a.yaml", &yaml.replace("lastmodified: \"", "lastmodified: \"x")).len(), 1);
        assert_eq!(found("a.yaml", &yaml.replace("^(a|c)$", "^(a|c$"))[0].get(..7), Some("warning"));
        let json = encrypted(Format::Json, "{\n  \"a\": \"b\"\n}\n", "");
        let twice = json.replacen("{\n", "{\n  \"sops\": {\"mac\": \"x\"},\n", 1);
        assert!(!found("a.json", &twice).is_empty());
        assert_eq!(found("a.json", &json.replacen("\n}", "\n", 1)).len(), 1);
        let dotenv = encrypted(Format::Dotenv, "A=b\n", "");
        assert_eq!(found("a.env", &format!("{dotenv}no sign\n")).len(), 1);
    }

    #[test]
    fn what_can_be_read_is_clean() {
        for (format, path, source) in [
            (Format::Yaml, "a.yaml", "a: b\nconflict_unencrypted: |\n  <<<<<<< x\n"),
            (Format::Json, "a.json", "{\"a\": \"b\", \"a\": \"c\"}"),
            (Format::Dotenv, "a.env", "A=b\nA=c\n"),
            (Format::Ini, "a.ini", "[a]\nb = c\n"),
            (Format::Binary, "a", "<<<<<<< x\n>>>>>>> y\n"),
        ] {
            assert_eq!(found(path, &encrypted(format, source, "")), [""; 0], "{path}");
        }
        assert_eq!(found("a.yaml", "<<<<<<< x\nsops: y\n>>>>>>> z\n"), [""; 0]);
    }
}
