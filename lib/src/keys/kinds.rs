//! The table of key kinds. Each kind is described in a file of its own.

use super::{KeyKind, age, azure_kv, gcp_kms, hc_vault, hckms, kms, pgp};

/// Every kind of master key, in the order in which a group holds them once its document is read.
pub static KEY_KINDS: &[&KeyKind] =
    &[&kms::KIND, &gcp_kms::KIND, &hckms::KIND, &azure_kv::KIND, &hc_vault::KIND, &pgp::KIND, &age::KIND];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn kinds_share_no_name() {
        let distinct = |names: Vec<&str>| names.iter().collect::<HashSet<_>>().len() == KEY_KINDS.len();
        assert!(distinct(KEY_KINDS.iter().map(|kind| kind.name).collect()));
        assert!(distinct(KEY_KINDS.iter().map(|kind| kind.flag).collect()));
        assert!(distinct(KEY_KINDS.iter().map(|kind| kind.variable).collect()));
        assert!(distinct(KEY_KINDS.iter().map(|kind| kind.rule_field).collect()));
        assert!(distinct(KEY_KINDS.iter().map(|kind| kind.group_field).collect()));
        assert_eq!(
            KEY_KINDS.iter().map(|kind| kind.rule_rank).collect::<HashSet<_>>().len(),
            KEY_KINDS.len()
        );
    }

    #[test]
    fn addresses_are_fields() {
        for kind in KEY_KINDS {
            let has = |name: &str| kind.fields.iter().any(|field| field.name == name);
            assert!(kind.address_field.is_none_or(has), "{kind:?}");
        }
    }

    #[test]
    fn fields_are_in_alphabetical_order() {
        for kind in KEY_KINDS {
            assert!(kind.fields.is_sorted_by_key(|field| field.name), "{kind:?}");
        }
    }
}
