//! Creation rules: the keys and the selector of new documents.

use serde_json::Value as Json;

use crate::keys::{KEY_KINDS, KeyGroup, KeyKind, KeyParseError, MasterKey};
use crate::sops::config::entry::{Entry, Fields};
use crate::sops::config::{ConfigError, ConfigErrorKind};
use crate::sops::{Pattern, Selector};

/// What a new document gets.
#[derive(Clone, Debug)]
pub struct CreationRule {
    /// The 1-based position among the rules.
    pub position: usize,
    /// The 1-based line on which the rule starts.
    pub line: usize,
    /// The pattern for paths; without one the rule applies to every file.
    pub path_regex: Option<String>,
    /// The master keys. A rule without any has one group, which is empty.
    pub groups: Vec<KeyGroup>,
    /// Whether the rule lists groups. If not, it is one group, and the options of the command line
    /// (such as an encryption context) apply to its keys.
    pub has_key_groups: bool,
    /// How many groups recover the data key; all of them if it is not set.
    pub shamir_threshold: Option<u8>,
    /// Which values are encrypted, if the rule says so.
    pub selector: Option<Selector>,
    /// Whether the MAC covers only what is encrypted.
    pub mac_only_encrypted: bool,
}

impl CreationRule {
    /// Reads the fields of a rule, except for the pattern that selects it.
    pub(super) fn read(
        fields: &mut Fields<'_>,
        position: usize,
        path_regex: Option<&Pattern>,
    ) -> Result<Self, ConfigError> {
        let flat = read_flat(fields);
        let groups = match fields.list("key_groups")? {
            Some(entries) if !entries.is_empty() => {
                let group = |entry| read_group(fields, entry);
                Some(entries.iter().map(group).collect::<Result<Vec<_>, _>>()?)
            }
            _ => None,
        };
        Ok(Self {
            position,
            line: fields.line,
            path_regex: path_regex.map(|pattern| pattern.as_str().to_owned()),
            has_key_groups: groups.is_some(),
            groups: match groups {
                Some(groups) => groups,
                None => vec![flat?],
            },
            shamir_threshold: fields.number("shamir_threshold")?.filter(|&threshold| threshold != 0),
            selector: read_selector(fields)?,
            mac_only_encrypted: fields.flag("mac_only_encrypted")?,
        })
    }

    /// Returns whether the rule has no key at all.
    #[must_use]
    pub fn is_without_keys(&self) -> bool {
        self.groups.iter().all(|group| group.0.is_empty())
    }
}

/// Reads the keys that stand in the rule itself: one group.
fn read_flat(fields: &mut Fields<'_>) -> Result<KeyGroup, ConfigError> {
    let mut group = KeyGroup::default();
    // All fields are taken, so that none counts as unknown, before the first fault is told.
    let taken: Vec<_> =
        kinds_in_order().into_iter().map(|kind| (kind, fields.take(kind.rule_field))).collect();
    let options: Vec<_> = taken.iter().map(|(kind, _)| take_options(fields, kind)).collect();
    for ((kind, entry), options) in taken.into_iter().zip(options) {
        for item in entry.map(Entry::items).unwrap_or_default() {
            let text =
                item.text().ok_or_else(|| item.mistyped(kind.rule_field, "a text, or a list of texts"))?;
            let keys =
                MasterKey::parse_list(kind, text).map_err(|error| key_error(item, kind.rule_field, error))?;
            group.0.extend(keys);
        }
        for (name, entry, value) in options {
            let value = value.map_err(|error| key_error(entry, kind.rule_field, error))?;
            let of_kind = group.0.iter_mut().filter(|key| key.kind().name == kind.name);
            of_kind.for_each(|key| key.set_field(name, value.clone()));
        }
    }
    Ok(group)
}

type OptionEntry<'a> = (&'static str, &'a Entry, Result<Json, KeyParseError>);

fn take_options<'a>(fields: &mut Fields<'a>, kind: &'static KeyKind) -> Vec<OptionEntry<'a>> {
    let of_rule = kind.options.iter().filter_map(|option| Some((option, option.rule_field?)));
    let present = of_rule.filter_map(|(option, name)| Some((option, fields.take(name)?)));
    present
        .map(|(option, entry)| (option.field, entry, (option.parse)(entry.text().unwrap_or_default())))
        .collect()
}

/// Reads one of `key_groups`, with the groups that it merges in front.
fn read_group(parent: &mut Fields<'_>, entry: &Entry) -> Result<KeyGroup, ConfigError> {
    let mut fields = parent.below(entry, "key_groups")?;
    let mut group = KeyGroup::default();
    for merged in fields.list("merge")?.unwrap_or_default() {
        group.0.extend(read_group(&mut fields, merged)?.0);
    }
    for kind in kinds_in_order() {
        for item in fields.take(kind.group_field).map(Entry::items).unwrap_or_default() {
            let keys = MasterKey::parse_entry(kind, &group_entry(item));
            group.0.extend(keys.map_err(|error| key_error(item, kind.group_field, error))?);
        }
    }
    fields.finish();
    group.deduplicate();
    Ok(group)
}

/// Returns an entry of a key group: a text as it was written, or an object.
fn group_entry(item: &Entry) -> Json {
    item.text().map_or_else(|| item.to_json(), Into::into)
}

fn read_selector(fields: &mut Fields<'_>) -> Result<Option<Selector>, ConfigError> {
    let mut texts = Vec::new();
    let mut line = fields.line;
    for name in Selector::FIELDS {
        if let Some((at, text)) = fields.text(name)? {
            texts.push((name, text));
            line = line.max(at);
        }
    }
    let text_of = |name| texts.iter().find(|(given, _)| *given == name).map(|(_, text)| *text);
    Selector::from_fields(text_of).map_err(|error| ConfigError { line, kind: error.into() })
}

fn key_error(entry: &Entry, field: &'static str, error: KeyParseError) -> ConfigError {
    ConfigError { line: entry.line, kind: ConfigErrorKind::Key { field, error } }
}

fn kinds_in_order() -> Vec<&'static KeyKind> {
    let mut kinds = KEY_KINDS.to_vec();
    kinds.sort_by_key(|kind| kind.rule_rank);
    kinds
}

#[cfg(test)]
mod tests {
    use crate::sops::config::Config;

    use super::*;

    fn rule(text: &str) -> Result<CreationRule, ConfigError> {
        let indented = text.trim_end().replace('\n', "\n  ");
        let config = Config::parse(format!("creation_rules:\n- {indented}\n").as_bytes()).expect("it parses");
        assert_eq!(config.warnings(), [], "{text}");
        config.rule_for("a.yaml").map(|rule| rule.expect("it matches").clone())
    }

    fn keys(rule: &str) -> Vec<Vec<String>> {
        let of_key = |key: &MasterKey| format!("{}:{key}", key.kind().name);
        let rule = self::rule(rule).expect(rule);
        rule.groups.iter().map(|group| group.0.iter().map(of_key).collect()).collect()
    }

    #[test]
    fn flat_keys_are_one_group_in_the_order_of_kinds() {
        let rule = "gcp_kms: projects/p/locations/l/keyRings/r/cryptoKeys/k\npgp: 'A, B,'\nhckms: ['r:1']\n\
            kms: [arn:aws:kms:us-west-2:1:key/a]\naws_profile: me\n\
            hc_vault_transit_uri: https://vault.test/v1/transit/keys/k\n";
        assert_eq!(
            keys(rule),
            [[
                "pgp:A",
                "pgp:B",
                "kms:arn:aws:kms:us-west-2:1:key/a||me",
                "gcp_kms:projects/p/locations/l/keyRings/r/cryptoKeys/k",
                "hckms:r:1",
                "hc_vault:https://vault.test/v1/transit/keys/k",
            ]]
        );
    }

    #[test]
    fn key_groups_win_over_flat_keys() {
        assert_eq!(
            keys("pgp: A\nkey_groups:\n- pgp: [B]\n- pgp: [C, D]\n"),
            [vec!["pgp:B"], vec!["pgp:C", "pgp:D"]]
        );
        assert_eq!(keys("pgp: A\nkey_groups: []\n"), [["pgp:A"]]);
    }

    #[test]
    fn groups_merge_others_in_front_and_drop_equal_keys() {
        let rule = "key_groups:\n- pgp: [C, A]\n  merge:\n  - pgp: [B]\n    merge: [{pgp: [A, A]}]\n  - pgp: [B, D]\n";
        assert_eq!(keys(rule), [["pgp:A", "pgp:B", "pgp:D", "pgp:C"]]);
    }

    #[test]
    fn fingerprints_of_digits_are_texts() {
        assert_eq!(
            keys("pgp: 0123456789012345678901234567890123456789\n"),
            [["pgp:0123456789012345678901234567890123456789"]]
        );
        assert_eq!(keys("key_groups: [{pgp: [0123456789]}]\n"), [["pgp:0123456789"]]);
    }

    #[test]
    fn a_rule_selects_in_one_way() {
        let selected =
            rule("pgp: A\nencrypted_regex: ^(data|stringData)$\nmac_only_encrypted: true").expect("a rule");
        let selector = selected.selector.expect("a selector");
        assert_eq!((selector.field(), selector.text()), ("encrypted_regex", "^(data|stringData)$"));
        assert!(selected.mac_only_encrypted);
        let error = rule("pgp: A\nencrypted_regex: a\nunencrypted_suffix: b").expect_err("two selectors");
        assert_eq!(
            error.to_string(),
            "line 4: unencrypted_suffix and encrypted_regex cannot be used together"
        );
        let error = rule("pgp: A\nencrypted_regex: ^(?!a)").expect_err("look-around");
        assert!(error.to_string().starts_with("line 3: encrypted_regex: "), "{error}");
    }

    #[test]
    fn a_threshold_of_zero_is_none() {
        assert_eq!(rule("shamir_threshold: 0").expect("a rule").shamir_threshold, None);
        assert_eq!(rule("shamir_threshold: 2").expect("a rule").shamir_threshold, Some(2));
        let error = rule("shamir_threshold: 256").expect_err("too large");
        assert_eq!(error.kind, ConfigErrorKind::Number("shamir_threshold"));
    }

    #[test]
    fn a_key_that_cannot_be_read_is_an_error() {
        let error = rule("pgp: A\nhc_vault_transit_uri: nonsense").expect_err("no address");
        assert_eq!(error.line, 3);
        assert!(matches!(error.kind, ConfigErrorKind::Key { field: "hc_vault_transit_uri", .. }), "{error}");
        let error = rule("pgp: {a: b}").expect_err("a map");
        assert_eq!(error.to_string(), "line 2: pgp is not a text, or a list of texts");
    }

    #[test]
    fn a_rule_may_have_no_keys() {
        assert!(rule("encrypted_regex: a").expect("a rule").is_without_keys());
        assert!(!rule("pgp: A").expect("a rule").is_without_keys());
    }
}
