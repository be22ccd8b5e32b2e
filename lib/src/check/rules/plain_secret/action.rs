//! Texts that are written in actions of templates and end up as the value: defaults, and texts that are only encoded.

use std::ops::Range;

use crate::check::template;

/// Returns where texts are, without their quotes, that are the value of `source`, which is one action, in quotes or
/// not. What an action makes of other values is none, nor are texts that name files, templates or keys.
pub(super) fn literals(source: &str) -> Vec<Range<usize>> {
    let found = action(source).map(|inner| texts(source, inner)).unwrap_or_default();
    if found.is_empty() { branches(source) } else { found }
}

/// Returns where texts are that are all that a branch of a value in one line has: `{{ if .a }}{{ .a }}{{ else }}…{{ end }}`.
fn branches(source: &str) -> Vec<Range<usize>> {
    let actions = template::mask(source).actions;
    let blank: &[char] = &[' ', '\t', '"', '\''];
    let (Some(first), Some(last)) = (actions.first(), actions.last()) else { return Vec::new() };
    let around = [&source[..first.start], &source[last.end..]];
    let is_whole = around.iter().all(|text| text.trim_matches(blank).is_empty());
    let control = |action: &Range<usize>| {
        let word = source[action.clone()].trim_start_matches(['{', '-', ' ']);
        ["if", "with", "else", "end"]
            .into_iter()
            .find(|known| word.strip_prefix(known).is_some_and(|rest| rest.starts_with([' ', '-', '}', '('])))
    };
    if !is_whole || control(last) != Some("end") || !matches!(control(first), Some("if" | "with")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for pair in actions.windows(2) {
        let text = source[pair[0].end..pair[1].start].trim_matches(blank);
        let is_branch = control(&pair[0]).is_some_and(|word| word != "end")
            && control(&pair[1]).is_some_and(|word| matches!(word, "else" | "end"));
        if is_branch && text.contains(char::is_alphanumeric) {
            let start = text.as_ptr() as usize - source.as_ptr() as usize;
            found.push(start..start + text.len());
        }
    }
    for triple in actions.windows(3).filter(|triple| control(&triple[1]).is_none()) {
        let is_alone = source[triple[0].end..triple[1].start].trim_matches(blank).is_empty()
            && source[triple[1].end..triple[2].start].trim_matches(blank).is_empty();
        if is_alone && control(&triple[0]).is_some() && control(&triple[2]).is_some() {
            found.extend(texts(source, triple[1].start + 2..triple[1].end - 2));
        }
    }
    found
}

/// Returns where texts are in an action that are its value.
fn texts(source: &str, inner: Range<usize>) -> Vec<Range<usize>> {
    let tokens = tokens(source, inner);
    let mut found = Vec::new();
    // The function whose arguments these are, and how many texts of it may still be values.
    let (mut function, mut left) = ("", 0);
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::End => (function, left) = ("", 0),
            Token::Text(range) => {
                let starts = index == 0 || matches!(tokens[index - 1], Token::End);
                if left > 0 || (starts && is_passed_on(&tokens[index + 1..], source)) {
                    found.push(range.clone());
                    left = if function == "default" { 0 } else { usize::saturating_sub(left, 1) };
                } else if function == "default" {
                    left = 0;
                }
            }
            Token::Word(range) => match &source[range.clone()] {
                word @ "default" => (function, left) = (word, 1),
                word @ ("b64enc" | "quote" | "squote" | "toString" | "trim" | "upper" | "lower") => {
                    (function, left) = (word, 1);
                }
                word @ "ternary" => (function, left) = (word, 2),
                // All of what is printed is the text only where nothing else is.
                word @ "print" if matches!(tokens.get(index + 2), None | Some(Token::End)) => {
                    (function, left) = (word, 1);
                }
                word @ ("coalesce" | "or") => (function, left) = (word, usize::MAX),
                // The default is the first argument.
                _ if function == "default" => left = 0,
                _ if function.is_empty() => (function, left) = ("other", 0),
                _ => {}
            },
        }
    }
    found.retain(|range| source[range.clone()].contains(char::is_alphanumeric));
    found
}

enum Token {
    /// What ends a call: a bar or a parenthesis.
    End,
    Text(Range<usize>),
    Word(Range<usize>),
}

/// Returns what stands in the braces if a value is one action and nothing else.
fn action(source: &str) -> Option<Range<usize>> {
    let mut start = source.len() - source.trim_start().len();
    let mut end = source.trim_end().len();
    let quote = source.get(start..)?.chars().next().filter(|letter| matches!(letter, '"' | '\''));
    if quote.is_some_and(|quote| end > start + 1 && source[..end].ends_with(quote)) {
        (start, end) = (start + 1, end - 1);
    }
    let inner = source.get(start..end)?.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    let inner = inner.strip_suffix('-').unwrap_or(inner);
    let at = inner.as_ptr() as usize - source.as_ptr() as usize;
    Some(at..at + inner.len())
}

/// Returns the tokens of an action; none if it is several.
fn tokens(source: &str, inner: Range<usize>) -> Vec<Token> {
    let (bytes, end) = (source.as_bytes(), inner.end);
    let (mut found, mut at) = (Vec::new(), inner.start);
    while at < end {
        let start = at;
        match bytes[at] {
            b'|' | b'(' | b')' => found.push(Token::End),
            b'"' | b'`' => {
                at += 1;
                while at < end && bytes[at] != bytes[start] {
                    at += if bytes[at] == b'\\' && bytes[start] == b'"' { 2 } else { 1 };
                }
                found.push(Token::Text(start + 1..at.min(end)));
            }
            // Within quotes, quotes are escaped.
            b'\\' if bytes.get(at + 1) == Some(&b'"') => {
                let rest = &bytes[at + 2..end];
                let length = memchr::memmem::find(rest, b"\\\"").unwrap_or(rest.len());
                found.push(Token::Text(at + 2..at + 2 + length));
                at += length + 3;
            }
            b'{' | b'}' => return Vec::new(),
            byte if byte.is_ascii_whitespace() => {}
            _ => {
                let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"|()\"`{}\\".contains(byte);
                let length = bytes[start..end].iter().position(is_end).unwrap_or(end - start);
                found.push(Token::Word(start..start + length.max(1)));
                at = start + length.max(1) - 1;
            }
        }
        at += 1;
    }
    // Half a letter is no place of a text.
    found.retain(|token| match token {
        Token::End => true,
        Token::Text(range) | Token::Word(range) => source.get(range.clone()).is_some(),
    });
    found
}

/// Returns whether what follows a text leaves it what it is, or encodes it.
fn is_passed_on(rest: &[Token], source: &str) -> bool {
    match rest {
        [] => true,
        [Token::End, Token::Word(word), ..] => {
            ["b64enc", "quote", "squote", "toString", "trim", "indent", "nindent"]
                .contains(&&source[word.clone()])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str) -> Vec<&str> {
        literals(source).into_iter().map(|range| &source[range]).collect()
    }

    #[test]
    fn texts_that_end_up_as_the_value_are_found() {
        assert_eq!(found("{{ .Values.p | default \"hunter2\" | b64enc }}"), ["hunter2"]);
        assert_eq!(found("\"{{- default `hunter2` .Values.p -}}\""), ["hunter2"]);
        assert_eq!(found("{{ \"hunter2\" | b64enc | quote }}"), ["hunter2"]);
        assert_eq!(found("{{ b64enc \"hunter2\" }}"), ["hunter2"]);
        assert_eq!(found("{{ (default \"a\\\"b\" .Values.p) | b64enc }}"), ["a\\\"b"]);
        assert_eq!(found("{{ ternary \"a\" \"b\" .Values.x | b64enc }}"), ["a", "b"]);
        assert_eq!(found("{{ coalesce .Values.a .Values.b \"c\" | b64enc }}"), ["c"]);
        assert_eq!(found("{{ \"hunter2\" }}"), ["hunter2"]);
        assert_eq!(found("{{ or .Values.p \"hunter2\" }}"), ["hunter2"]);
        assert_eq!(found("{{ print \"hunter2\" | b64enc }}"), ["hunter2"]);
        assert_eq!(found("\"{{ .p | default \\\"hunter2\\\" }}\""), ["hunter2"]);
        assert_eq!(found("{{ if .p }}{{ .p }}{{ else }}hunter2{{ end }}"), ["hunter2"]);
        assert_eq!(found("{{ if .p }}{{ .p }}{{ else }}{{ \"hunter2\" | b64enc }}{{ end }}"), ["hunter2"]);
    }

    #[test]
    fn texts_that_name_something_are_left_alone() {
        for source in [
            "{{ .Values.p | b64enc }}",
            "{{ .Values.p | default \"\" | b64enc }}",
            "{{ .Files.Get \"tls.crt\" | b64enc }}",
            "{{ include \"chart.password\" . | b64enc }}",
            "{{ default (randAlphaNum 32) .Values.p | b64enc }}",
            "{{ default (include \"chart.password\" .) .Values.p }}",
            "{{ default .Values.a (index .Values \"b\") }}",
            "{{ index (lookup \"v1\" \"Secret\" .Release.Namespace \"name\").data \"key\" }}",
            "{{ required \"password is needed\" .Values.p | b64enc }}",
            "{{ printf \"%s-%s\" .a .b | b64enc }}",
            "{{ .a }}{{ .b }}",
            "{{ if eq .a \"x\" }}{{ .b }}{{ end }}",
            "{{ if .a }}a{{ .b }}{{ end }}",
            "x{{ if .a }}y{{ end }}",
            "{{ print \"a-\" .b | b64enc }}",
            "{{ \\",
            "{{ .a",
            "\"",
            "",
            "{{}}",
            "{{ \"{{\" }}",
        ] {
            assert!(found(source).is_empty(), "{source}");
        }
    }
}
