//! Words of commands that people are told to run. They come from files that anybody may have written.

/// Returns a word as a command has it, or a placeholder if a shell could take it for more than a word.
#[must_use]
pub fn word<'a>(text: &'a str, placeholder: &'a str) -> &'a str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@-".contains(&byte);
    let is_word = !text.is_empty() && !text.starts_with('-') && text.bytes().all(is_plain);
    if is_word { text } else { placeholder }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_shell_could_run_is_a_word() {
        for text in ["transit", "a/b.c-d_e", "https://v:8200", "user@host"] {
            assert_eq!(word(text, "X"), text);
        }
        for text in
            ["", "$(rm)", "a;b", "a b", "`a`", "a'b", "a\"b", "a\nb", "-f", "a&b", "~", "ä", "a|b", "a\\b"]
        {
            assert_eq!(word(text, "X"), "X", "{text}");
        }
    }
}
