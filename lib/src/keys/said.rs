//! What servers say about failures, as people may see it.

/// Returns what a server said, on one line, without control characters, and not too long.
pub fn said(text: &str) -> String {
    let line: Vec<_> = text.split(|char: char| char.is_whitespace() || char.is_control()).collect();
    let line = line.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// How many characters of what a server says are shown.
const LONGEST: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_short_line() {
        assert_eq!(said(" a\r\n\u{1b}[31mb\tc "), "a [31mb c");
        assert_eq!(said(&"ä".repeat(301)).chars().count(), 301);
        assert_eq!(said(&"ä".repeat(300)).chars().count(), 300);
    }
}
