//! SOPS003: an encrypted value is malformed.

use crate::check::sops_file::{PREFIX, places_of};
use crate::check::{Check, Context, File, Findings, Needles, Rule, Severity};
use crate::sops::{LeafState, is_well_formed};

pub(super) static RULE: Rule = Rule {
    id: "SOPS003",
    severity: Severity::Error,
    title: "an encrypted value is malformed",
    explanation: "A value begins as one that SOPS encrypted, and is none: a part is missing, is no base64, or does not \
        have its length. No key decrypts it. It was cut off, wrapped into other lines, or edited by hand, and behind \
        such a beginning a secret may stand in clear.\n\n\
        Accepted is what sops writes: \"ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]\", with an iv of 32 bytes (12 or 16 in \
        very old files), a tag of 16 and a type that sops knows. Text behind the closing bracket is in clear: sops \
        passes over it, and never writes any.\n\n\
        To mend it, take the value from an earlier version of the file (\"git checkout -p HEAD -- PATH\"), or set it \
        anew with \"kubectl seal set PATH\".",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, _context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    let Some(tree) = sops.tree() else { return };
    let mut places = places_of(tree);
    for value in sops.values().iter().filter(|value| value.selected && value.state != LeafState::Empty) {
        let bytes = sops.bytes(value);
        if !bytes.starts_with(PREFIX) {
            continue;
        }
        let message = if !is_well_formed(bytes) {
            "this value begins as an encrypted one, and no key can decrypt it"
        } else if !bytes.trim_ascii_end().ends_with(b"]") {
            "there is text behind the end of this encrypted value, in clear"
        } else {
            continue;
        };
        let finding = places.finding(&RULE, file, value, message).value(bytes);
        found.add(finding.remedy(format!(
            "take the value from an earlier version, or run: kubectl seal set {}",
            file.path()
        )));
    }
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::found;
    use crate::format::Format;

    fn changed(from: &str, to: &str) -> Vec<String> {
        let text = encrypted(Format::Yaml, "a: b\nc: secret\n", "");
        let start = text.find("c: ").expect("the second value");
        let (before, after) = text.split_at(start);
        let after = after.replacen(from, to, 1);
        found("SOPS003", "a.yaml", &format!("{before}{after}"))
    }

    #[test]
    fn what_no_key_can_open_is_found() {
        for (from, to) in [
            (",type:str]", ",type:string]"),
            (",type:str]", ",type:str"),
            (",type:str]", "]"),
            (",tag:", ",tag:AAAA"),
            (",tag:", ",mark:"),
            (",iv:", ",iv:AAAA"),
            ("data:", "data:horse battery "),
            ("data:", "data:*"),
        ] {
            assert_eq!(changed(from, to), ["2 /c"], "{from} {to}");
        }
        // sops passes over it.
        assert_eq!(changed(",type:str]", ",type:str] horse"), ["2 /c"]);
    }

    #[test]
    fn what_a_key_may_open_is_clean() {
        for (from, to) in [
            ("c: ", "c: "),
            (",type:str]", ",type:bytes]"),
            (",type:str]", ",type:int]"),
            ("c: ENC", "c_unencrypted: ENC[AES256_GCM,data:x]ENC"),
        ] {
            assert_eq!(changed(from, to), [""; 0], "{from} {to}");
        }
        let quoted = encrypted(Format::Json, "{\"a\": \"b\", \"c\": 1, \"d\": false}", "");
        assert_eq!(found("SOPS003", "a.json", &quoted), [""; 0]);
    }
}
