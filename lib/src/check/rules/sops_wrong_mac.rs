//! SOPS005: an encrypted file is not as it was encrypted, as a key at hand tells.

use super::unverified;
use crate::check::config::RequireMac;
use crate::check::sops_file::metadata_line;
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity, Verdict};

pub(super) static RULE: Rule = Rule {
    id: "SOPS005",
    severity: Severity::Error,
    title: "an encrypted file is not as it was encrypted",
    explanation: "A key at hand opens the data key of the file, and with it the file does not decrypt: a value was \
        changed, moved or taken out, or its MAC is not the one of its values. sops refuses the file, and so does \
        whatever deploys it.\n\n\
        Keys are only used if they are at hand without a network, and nothing that is decrypted is kept or told. \
        Without a key the rule is silent, unless the repository demands that every MAC is checked: then what cannot \
        be checked is a finding of META001.\n\n\
        To mend it, take the change back and make it again with \"kubectl seal edit PATH\".",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let wanted = context.config.require_mac();
    if wanted == RequireMac::Never || (context.keys.is_none() && wanted != RequireMac::Always) {
        return;
    }
    let Some(sops) = file.sops().filter(|sops| sops.tree().is_some()) else { return };
    let verdict =
        context.keys.map_or(Verdict::NoKey, |keys| keys.verify(sops.format, file.text().as_bytes()));
    let span = metadata_line(file, "mac");
    match verdict {
        Verdict::Bad(reason) => {
            let message = format!("the file is not as it was encrypted: {reason}");
            let remedy = format!("take the change back, and make it with: kubectl seal edit {}", file.path());
            found.add(Finding::new(&RULE, file, span, message).at("", "/sops/mac").remedy(remedy));
        }
        Verdict::NoKey if wanted == RequireMac::Always => {
            let message =
                "the MAC cannot be checked: no key at hand opens the file, and the repository demands it";
            let remedy = "run the check where a key of the file is at hand";
            let finding = Finding::new(&unverified::RULE, file, span, message);
            found.add(finding.at("", "/sops/mac").remedy(remedy));
        }
        Verdict::Good | Verdict::NoKey => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::encrypted;
    use crate::check::test_kit::Repository;
    use crate::check::{Verdict, Verifier};
    use crate::format::Format;

    struct Says(Verdict);

    impl Verifier for Says {
        fn verify(&self, _format: Format, _text: &[u8]) -> Verdict {
            self.0.clone()
        }
    }

    fn found(path: &str, text: &str, verdict: Verdict) -> Vec<String> {
        let found = Repository::default().with(path, text).check_with(Some(&Says(verdict)));
        found.into_iter().map(|finding| format!("{} {}", finding.rule.id, finding.pointer)).collect()
    }

    #[test]
    fn a_bad_mac_is_found_where_it_stands() {
        let yaml = encrypted(Format::Yaml, "a: b\n", "");
        let bad = || Verdict::Bad("the MAC does not match".to_owned());
        assert_eq!(found("a.yaml", &yaml, bad()), ["SOPS005 /sops/mac"]);
        let check = Repository::default().with("a.yaml", &yaml).check_with(Some(&Says(bad())));
        let line = yaml.lines().position(|line| line.trim_start().starts_with("mac:")).expect("a MAC");
        assert_eq!(check[0].start.line, line + 1);
        for (format, path, source) in [
            (Format::Dotenv, "a.env", "A=b\n"),
            (Format::Ini, "a.ini", "[a]\nb = c\n"),
            (Format::Json, "a.json", "{\"a\": 1}"),
        ] {
            assert_eq!(found(path, &encrypted(format, source, ""), bad()), ["SOPS005 /sops/mac"]);
        }
    }

    #[test]
    fn good_files_and_files_without_keys_are_clean() {
        let yaml = encrypted(Format::Yaml, "a: b\n", "");
        assert_eq!(found("a.yaml", &yaml, Verdict::Good), [""; 0]);
        assert_eq!(found("a.yaml", &yaml, Verdict::NoKey), [""; 0]);
        assert_eq!(found("a.yaml", "a: sops\n", Verdict::Bad(String::new())), [""; 0]);
    }
}
