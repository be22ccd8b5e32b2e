//! A look at the lines in which words of secrets stand, which costs far less than reading what is around them. Most
//! manifests refer to their secrets: they end here.
//!
//! Invariant: where it says no, no rule that reads the document would find a literal under the name of a secret; in doubt
//! it says yes.

use crate::check::names::is_secret_name;
use crate::check::needles::secret_words;

/// Returns whether a text may hold a literal under the name of a secret.
pub(super) fn may_hold_literal(text: &str) -> bool {
    let mut known = 0;
    secret_words(text.as_bytes()).any(|at| {
        // One name may hold several of the words.
        if at < known {
            return false;
        }
        let name = Name::around(text, at);
        known = name.end;
        is_secret_name(name.text) && name.may_have_literal(text)
    })
}

/// A name in a text, with the letters around a word that names of secrets have.
struct Name<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Name<'a> {
    fn around(text: &'a str, at: usize) -> Self {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let bytes = text.as_bytes();
        let start = bytes[..at].iter().rposition(|byte| !is_part(byte)).map_or(0, |before| before + 1);
        let end =
            bytes[at..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| at + length);
        Self { text: text.get(start..end).unwrap_or_default(), start, end }
    }

    fn may_have_literal(&self, text: &str) -> bool {
        let line_start = text[..self.start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[self.end..].find('\n').map_or(text.len(), |at| self.end + at);
        let (before, behind) = (&text[line_start..self.start], &text[self.end..line_end]);
        if before.ends_with('-') || self.text.starts_with('-') && self.text.len() > 1 {
            // An argument of a command.
            return true;
        }
        let behind = behind.trim_start_matches(['"', '\'', '\\']).trim_start();
        if let Some(value) = behind.strip_prefix([':', '=']) {
            let value = value.trim().trim_end_matches(',').trim_end();
            return match value {
                // What is on the next lines may be a map of settings, or a text.
                "" => !is_map_or_list(text, line_end),
                "\"\"" | "''" | "null" | "~" | "true" | "false" | "{}" | "[]" => false,
                // What is in it is looked at by its own names.
                _ => value != "{" && value != "[",
            };
        }
        // The name of a variable or of a parameter, whose value stands beside it.
        let key = before.trim_end_matches(['"', '\'', ' ', '\\']);
        if !key.ends_with("name\":") && !key.ends_with("name:") && !key.ends_with("name\\\":") {
            // Part of a value, of a comment, or of a list of names.
            return key.ends_with([':', '=']) && behind.contains([':', '=']);
        }
        let rest = text[line_end..].lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let above = text[..line_start].lines().next_back().unwrap_or_default();
        behind.contains("value")
            || before.contains("value")
            || has_value(rest)
            || has_value(above.trim().trim_start_matches("- "))
    }
}

/// Returns whether a line gives a `value`, and no reference to one.
fn has_value(line: &str) -> bool {
    let line = line.trim_start_matches(['"', '\'', '{', ' ']);
    let Some(rest) = line.strip_prefix("value") else {
        return !line.starts_with("valueFrom") && line.contains("value");
    };
    !rest.starts_with("From")
}

/// Returns whether the first line behind a place begins a map or a list.
fn is_map_or_list(text: &str, at: usize) -> bool {
    let line = text[at..].lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = line else { return true };
    let names_value = line.trim_start_matches(['"', '\'']).starts_with("value");
    !names_value
        && (line.starts_with("- ") || line.ends_with(':') || line.contains(": ") || line.contains("\":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_and_empty_values_need_no_reading() {
        for text in [
            "env:\n- name: DB_PASSWORD\n  valueFrom: {secretKeyRef: {name: db, key: password}}\n",
            "env:\n- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: db\n      key: password\n",
            "auth:\n  password: \"\"\n  existingSecret: db\n  secretKeys:\n    adminPasswordKey: password\n",
            "auth:\n  token:\n    enabled: true\n",
            "volumes:\n- name: token\n  secret:\n    secretName: token\n",
            "{\"env\": [{\"name\": \"TOKEN_FILE\"}]}\n",
            "# the password is in the vault\nx: 1\n",
        ] {
            assert!(!may_hold_literal(text), "{text}");
        }
    }

    #[test]
    fn whatever_may_be_a_literal_is_read() {
        for text in [
            "env:\n- name: DB_PASSWORD\n  value: hunter2\n",
            "env:\n- value: hunter2\n  name: DB_PASSWORD\n",
            "env:\n- {name: DB_PASSWORD, value: hunter2}\n",
            "[{\"name\":\"DB_PASSWORD\",\"value\":\"hunter2\"}]",
            "{\n \"name\": \"DB_PASSWORD\",\n \"value\": \"hunter2\"\n}",
            "auth:\n  password: hunter2\n",
            "auth: {password: hunter2}\n",
            "auth:\n  password:\n    hunter2\n",
            "auth:\n  password: |\n    hunter2\n",
            "password:\n  value: hunter2\n",
            "args: [--password, hunter2]\n",
            "args: [\"--token=hunter2\"]\n",
            "data:\n  app.properties: |\n    db.password=hunter2\n",
            "x: '{\\\"password\\\":\\\"hunter2\\\"}'\n",
        ] {
            assert!(may_hold_literal(text), "{text}");
        }
    }
}
