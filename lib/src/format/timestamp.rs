//! Points in time as SOPS hashes them: RFC 3339 with as many digits of a second as are needed.
//!
//! Source: Go's `time.RFC3339Nano`.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Reads RFC 3339 text, such as a `lastmodified`, and returns it in UTC with whole seconds.
///
/// Returns `None` for anything else.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    time.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}

/// Returns RFC 3339 text in the one form that is hashed: trailing zeros of the second's fraction are
/// dropped, a zero offset is `Z`, any other offset stays. `None` for anything else.
#[must_use]
pub fn canonical_timestamp(text: &str) -> Option<String> {
    OffsetDateTime::parse(text, &Rfc3339).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_stays_and_a_zero_offset_is_z() {
        let canonical = |text| canonical_timestamp(text).expect(text);
        assert_eq!(canonical("2001-12-14T21:59:43.100-05:00"), "2001-12-14T21:59:43.1-05:00");
        assert_eq!(canonical("2001-12-14T21:59:43+00:00"), "2001-12-14T21:59:43Z");
    }

    #[test]
    fn a_lastmodified_is_read_in_any_zone() {
        assert_eq!(parse_timestamp("2024-01-01T01:00:00.5+01:00").as_deref(), Some("2024-01-01T00:00:00Z"));
        assert_eq!(parse_timestamp("yesterday"), None);
        // There is no such year in UTC.
        assert_eq!(parse_timestamp("9999-12-31T23:59:59-23:59"), None);
    }
}
