//! SOPS011: an encrypted file has other recipients than its creation rule says.

use crate::check::sops_file::metadata_line;
use crate::check::{Check, Context, File, Finding, Findings, Needles, Rule, Severity};
use crate::keys::{KeyGroup, MasterKey};
use crate::sops::config::CreationRule;
use crate::sops::{Metadata, MetadataError};

pub(super) static RULE: Rule = Rule {
    id: "SOPS011",
    severity: Severity::Warning,
    title: "an encrypted file has other recipients than its creation rule says",
    explanation: "The metadata of an encrypted file lists who can decrypt it, and .sops.yaml lists who should. Where they \
        differ, somebody who left can still read the file, or somebody who came cannot, or fewer key groups are \
        needed than was agreed. Recipients that cannot be read are told, too: nobody can decrypt by them.\n\n\
        It is an error if the file has no recipients at all, as then nobody can decrypt it. Files that no creation \
        rule matches, and rules that name no keys, are accepted.\n\n\
        To mend it, run \"kubectl seal updatekeys PATH\". Whoever lost access may have kept the values: change them.",
    needles: Needles::SOPS,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let Some(sops) = file.sops() else { return };
    let path = file.path();
    let metadata = match &sops.metadata {
        Some(Ok(metadata)) => metadata,
        Some(Err(MetadataError::NoKeys)) => {
            let message = "the file has no recipients, so that nobody can decrypt it";
            let finding = Finding::new(&RULE, file, metadata_line(file, "sops"), message).at("", "/sops");
            return found
                .add(finding.severity(Severity::Error).remedy("take the file from an earlier version"));
        }
        _ => return,
    };
    let mut tell = |message: String| {
        let kind = metadata.groups.iter().flat_map(|group| &group.0).next().map(|key| key.kind().name);
        let span = match metadata.groups.len() {
            1 => metadata_line(file, kind.unwrap_or("sops")),
            _ => metadata_line(file, "key_groups"),
        };
        let span = if span.is_empty() { metadata_line(file, "mac") } else { span };
        let finding = Finding::new(&RULE, file, span, message).at("", "/sops");
        found.add(finding.remedy(format!("kubectl seal updatekeys {path}")));
    };
    if metadata.groups.iter().any(|group| group.0.is_empty()) {
        tell(
            "a key group has no recipients, so that nobody can recover its share of the data key".to_owned(),
        );
    }
    let keys = metadata.groups.iter().flat_map(|group| &group.0);
    let broken: Vec<_> = keys.filter(|key| is_malformed(key)).collect();
    if !broken.is_empty() {
        tell(format!("{} cannot be read as recipients: nobody can decrypt by them", count(broken.len())));
    }
    let Some(policy) = context.policies.of(path) else { return };
    // What cannot be read is told with the policy.
    let Ok(Ok(Some(rule))) = policy.config.as_ref().map(|config| config.rule_for(policy.relative(path)))
    else {
        return;
    };
    if !rule.is_without_keys() {
        let at = format!("{}:{}", policy.path, rule.line);
        differences(metadata, rule, &at).into_iter().for_each(tell);
    }
}

/// Returns in which ways the recipients of a file are not those of its rule, which is at this place.
fn differences(metadata: &Metadata, rule: &CreationRule, at: &str) -> Vec<String> {
    let all = |groups: &[KeyGroup]| KeyGroup(groups.iter().flat_map(|group| group.0.clone()).collect());
    let (file, mut wanted) = (all(&metadata.groups), all(&rule.groups));
    // Nobody has so many recipients, and each is compared with each.
    if file.0.len().saturating_mul(wanted.0.len()) <= MAX_COMPARED {
        wanted.settle(&file);
    }
    let mut told = Vec::new();
    let extra = missing_from(&file, &wanted);
    if !extra.is_empty() {
        told.push(format!("recipients of the file are not in its creation rule ({at}): {}", list(&extra)));
    }
    let missing = missing_from(&wanted, &file);
    if !missing.is_empty() {
        told.push(format!("recipients of the creation rule ({at}) cannot read the file: {}", list(&missing)));
    }
    let required = rule.shamir_threshold.map_or(rule.groups.len(), usize::from);
    if told.is_empty() && metadata.groups.len() != rule.groups.len() {
        told.push(format!(
            "the file has {} key groups, and its creation rule ({at}) has {}",
            metadata.groups.len(),
            rule.groups.len()
        ));
    } else if told.is_empty() && rule.groups.len() > 1 && metadata.required_groups() != required {
        told.push(format!(
            "{} key groups decrypt the file, and its creation rule ({at}) wants {required}",
            metadata.required_groups()
        ));
    }
    told
}

/// Returns the keys of a group that another one does not have.
pub(super) fn missing_from<'k>(keys: &'k KeyGroup, other: &KeyGroup) -> Vec<&'k MasterKey> {
    let name = |key: &MasterKey| (key.kind().name, key.to_string());
    let known: std::collections::HashSet<_> = other.0.iter().map(name).collect();
    keys.0.iter().filter(|key| !known.contains(&name(key))).collect()
}

/// Returns whether a recipient of age is none; those of other kinds are for their services to judge.
fn is_malformed(key: &MasterKey) -> bool {
    let parsed = || MasterKey::parse_list(key.kind(), &key.to_string());
    key.kind().name == "age" && parsed().map_or(true, |keys| keys.is_empty())
}

/// Returns keys for people. Recipients are public; what stands in their place need not be.
pub(super) fn list(keys: &[&MasterKey]) -> String {
    let shown = keys.iter().take(MAX_SHOWN);
    let mut shown: Vec<_> = shown
        .map(|key| match public(key) {
            Some(text) => format!("{} {text}", key.kind().name),
            None => format!("one of {} that cannot be read", key.kind().name),
        })
        .collect();
    if keys.len() > MAX_SHOWN {
        shown.push(format!("and {} more", keys.len() - MAX_SHOWN));
    }
    shown.join(", ")
}

/// Returns what people call a recipient by, if it is one: an address without what logs in.
fn public(key: &MasterKey) -> Option<String> {
    let text = key.to_string();
    let is_of = |allowed: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || allowed.as_bytes().contains(&byte))
    };
    let is_name = text.len() <= MAX_NAME && is_of(":/_+=,.@-| ");
    match key.kind().name {
        "age" => (!is_malformed(key) && !text.to_ascii_uppercase().contains("SECRET")).then_some(text),
        "azure_kv" | "hc_vault" => {
            let (scheme, rest) = text.split_once("://").filter(|_| text.len() <= MAX_NAME)?;
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            let path = path.split(['?', '#']).next().unwrap_or_default();
            // A password with a slash in it puts the host behind the slash.
            let is_whole = matches!(scheme, "http" | "https") && !host.is_empty() && !path.contains('@');
            is_whole.then(|| format!("{scheme}://{host}/{path}"))
        }
        "gcp_kms" => (is_name && text.starts_with("projects/")).then_some(text),
        "hckms" => {
            let (region, id) = text.split_once(':')?;
            let is_region = region.len() <= 32 && region.contains('-') && !region.contains('/');
            (is_name && is_region && id.len() == UUID && id.matches('-').count() == 4).then_some(text)
        }
        "kms" => (is_name && text.starts_with("arn:")).then_some(text),
        "pgp" => {
            let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            (is_hex && [16, 40, 64].contains(&text.len())).then_some(text)
        }
        _ => None,
    }
}

fn count(number: usize) -> String {
    if number == 1 { "one of the recipients".to_owned() } else { format!("{number} of the recipients") }
}

/// How many pairs of recipients are compared field by field.
const MAX_COMPARED: usize = 10_000;

/// How long the name of a key of a service is at most.
const MAX_NAME: usize = 512;

/// How long an identifier of a key is.
const UUID: usize = 36;

/// How many keys a message names at most.
const MAX_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use crate::check::sops_file::tests::{RECIPIENT, encrypted};
    use crate::check::test_kit::Repository;
    use crate::format::Format;

    const OTHER: &str = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun";

    fn found(text: &str, policy: &str) -> Vec<String> {
        let found = Repository::default().with("a.yaml", text).with(".sops.yaml", policy).check();
        let found = found.into_iter().filter(|finding| finding.rule.id == "SOPS011");
        found.map(|finding| format!("{} {}", finding.severity.name(), finding.message)).collect()
    }

    #[test]
    fn other_recipients_are_found() {
        let text = encrypted(Format::Yaml, "a: b\n", "");
        let policy = format!("creation_rules:\n- path_regex: a\n  age: {OTHER}\n");
        let told = found(&text, &policy);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("warning") && told[0].contains(".sops.yaml:2") && told[0].contains(RECIPIENT)
        );
        assert!(told[1].contains(OTHER));
        let more = format!("creation_rules:\n- age: {RECIPIENT},{OTHER}\n");
        assert_eq!(found(&text, &more).len(), 1);
        let groups =
            format!("creation_rules:\n- key_groups:\n  - age: [{RECIPIENT}]\n  - age: [{RECIPIENT}]\n");
        assert_eq!(found(&text, &groups).len(), 1);
        assert_eq!(found(&text.replace(RECIPIENT, "age1nonsense"), "creation_rules: []\n").len(), 1);
        let list = text.find("    age:").expect("recipients");
        let end = text.find("    lastmodified").expect("the next field");
        let none = format!("{}{}", &text[..list], &text[end..]);
        assert!(found(&none, "creation_rules: []\n")[0].starts_with("error"), "{none}");
    }

    #[test]
    fn nothing_that_is_no_recipient_is_told() {
        let text = encrypted(Format::Yaml, "a: b\n", "");
        for (rule, shown) in [
            (
                "hc_vault_transit_uri: 'https://me:horse@vault.corp/v1/transit/keys/a'",
                "https://vault.corp/v1",
            ),
            ("azure_keyvault: 'https://me:horse@vault.corp/keys/a/1'", "https://vault.corp/keys"),
            ("pgp: horsebattery", "pgp that cannot be read"),
            ("kms: horsebattery", "kms that cannot be read"),
            ("gcp_kms: horsebattery", "gcp_kms that cannot be read"),
        ] {
            let told = found(&text, &format!("creation_rules:\n- {rule}\n"));
            let all = told.join("\n");
            assert!(all.contains(shown) && !all.contains("horse") && !all.contains("rse@"), "{rule} {all}");
        }
        let private = concat!("AGE-SECRET-", "KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ");
        let told =
            found(&text.replace(RECIPIENT, private), &format!("creation_rules:\n- age: {RECIPIENT}\n"));
        assert!(!told.is_empty() && !told.join("").contains("QQQ"), "{told:?}");
    }

    #[test]
    fn the_recipients_of_the_rule_are_clean() {
        let text = encrypted(Format::Yaml, "a: b\n", "");
        for policy in [
            format!("creation_rules:\n- age: {RECIPIENT}\n"),
            format!("creation_rules:\n- path_regex: ^b\n  age: {OTHER}\n- age: ' {RECIPIENT} ,'\n"),
            format!("creation_rules:\n- path_regex: ^b\n  age: {OTHER}\n"),
            "creation_rules:\n- encrypted_regex: ^data$\n".to_owned(),
            "creation_rules: [\n".to_owned(),
            "stores: {yaml: {indent: 2}}\n".to_owned(),
        ] {
            assert_eq!(found(&text, &policy), [""; 0], "{policy}");
        }
    }
}
