//! Finds what of a block fails without a word: Bash goes on, in spite of `set -e`, behind a command that fails left of
//! `&&`, and behind one with `!` that does not fail. In the last line of a block it is the exit code of the block.

/// Returns the number of the first line whose failure would be passed over, the first being 1, and why.
///
/// Lists in parentheses are commands of their own, and fail as a whole.
pub fn first(block: &str) -> Option<(usize, &'static str)> {
    let last = block.lines().filter(|line| !line.trim().is_empty()).count();
    let (mut reader, mut end_of_text, mut count) = (Reader::default(), None::<String>, 0);
    for (at, line) in block.lines().enumerate() {
        count += usize::from(!line.trim().is_empty());
        if let Some(end) = &end_of_text {
            if line.trim() == end {
                end_of_text = None;
            }
            continue;
        }
        let is_fresh = reader.quote.is_none() && reader.depth == 0;
        let code = reader.code(line);
        end_of_text = heredoc(&code, line);
        if count == last && end_of_text.is_none() {
            return None;
        }
        let word = code.split_whitespace().next().unwrap_or_default();
        if is_fresh && ["if", "elif", "while", "until"].contains(&word) {
            continue;
        }
        if code.contains("&&") {
            return Some((
                at + 1,
                "a failure left of && is passed over: give each command a line of its own",
            ));
        }
        if is_fresh && word == "!" {
            return Some((
                at + 1,
                "a line with ! never fails: ask with if, or in the last line of the block",
            ));
        }
    }
    None
}

/// Returns the word that ends a text which begins behind this line, if one does.
fn heredoc(code: &str, line: &str) -> Option<String> {
    if !code.contains("<<") || code.contains("<<<") {
        return None;
    }
    let word = line.rsplit_once("<<")?.1.trim_start_matches('-').split_whitespace().next()?;
    Some(word.trim_matches(['\'', '"']).to_owned())
}

/// Where in quotes and parentheses a block is, line by line.
#[derive(Default)]
struct Reader {
    quote: Option<char>,
    depth: usize,
}

impl Reader {
    /// Returns what of a line is neither quoted, nor in parentheses, nor a comment.
    fn code(&mut self, line: &str) -> String {
        let (mut code, mut letters, mut before) = (String::new(), line.chars(), ' ');
        while let Some(letter) = letters.next() {
            match (self.quote, letter) {
                (Some(quote), letter) => {
                    if letter == '\\' && quote == '"' {
                        letters.next();
                    } else if letter == quote {
                        self.quote = None;
                    }
                }
                (None, '\'' | '"') => self.quote = Some(letter),
                (None, '\\') => drop(letters.next()),
                (None, '#') if before.is_whitespace() => break,
                (None, '(') => self.depth += 1,
                (None, ')') => self.depth = self.depth.saturating_sub(1),
                (None, letter) if self.depth == 0 => code.push(letter),
                (None, _) => {}
            }
            before = letter;
        }
        code
    }
}
