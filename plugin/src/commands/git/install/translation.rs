//! What a regular expression for paths says of the names of files.
//!
//! Only how a path ends, and the folder that it begins with, are taken over: what is found is for every file that the
//! expression matches, and may be for more. Where that is not certain there is no answer.

/// Names of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// The folder that they are below; empty, or with a slash at its end.
    pub folder: String,
    /// Whether they may be in folders of that folder.
    pub is_below: bool,
    /// Whether `end` is the whole name, not its end alone.
    pub is_whole: bool,
    /// How the names end.
    pub end: String,
}

/// Returns the names of all files that a regular expression may match; nothing if it does not tell.
pub(super) fn names(regex: &str) -> Option<Vec<Name>> {
    let mut found = Vec::new();
    for alternative in alternatives(regex)? {
        found.extend(names_of(&alternative)?);
        if found.len() > MOST {
            return None;
        }
    }
    Some(found)
}

/// A part of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any text.
    Any,
    /// One of these texts.
    Choice(Vec<String>),
    /// The end of the path.
    End,
    /// The start of the path.
    Start,
}

fn names_of(parts: &[Part]) -> Option<Vec<Name>> {
    let (is_anchored, parts) = match parts {
        [Part::Start, rest @ ..] => (true, rest),
        parts => (false, parts),
    };
    let [parts @ .., Part::End] = parts else { return None };
    if parts.iter().any(|part| matches!(part, Part::End | Part::Start)) {
        return None;
    }
    let (mut ends, mut used) = (vec![String::new()], 0);
    for part in parts.iter().rev() {
        let Part::Choice(texts) = part else { break };
        if ends.len() * texts.len() > MOST {
            break;
        }
        ends = texts.iter().flat_map(|text| ends.iter().map(move |end| format!("{text}{end}"))).collect();
        used += 1;
    }
    let is_path = is_anchored && used == parts.len();
    let folder = if is_anchored { folder_of(parts) } else { String::new() };
    ends.into_iter().map(|end| name(end, is_path, &folder)).collect()
}

fn name(end: String, is_path: bool, folder: &str) -> Option<Name> {
    let (above, file) = match end.rsplit_once('/') {
        Some((above, file)) => (Some(above), file.to_owned()),
        None => (None, end.clone()),
    };
    if file.is_empty() {
        return None;
    }
    if is_path {
        let folder = above.map(|above| format!("{above}/")).unwrap_or_default();
        return Some(Name { folder, is_below: false, is_whole: true, end: file });
    }
    Some(Name { folder: folder.to_owned(), is_below: true, is_whole: above.is_some(), end: file })
}

/// Returns the folder that every path begins with.
fn folder_of(parts: &[Part]) -> String {
    let mut start = String::new();
    for part in parts {
        match part {
            Part::Choice(texts) if texts.len() == 1 => start.push_str(&texts[0]),
            _ => break,
        }
    }
    start.truncate(start.rfind('/').map_or(0, |slash| slash + 1));
    start
}

/// Takes a regular expression apart; nothing if something in it is not known here.
fn alternatives(regex: &str) -> Option<Vec<Vec<Part>>> {
    let mut all = vec![Vec::new()];
    let mut rest = regex.chars().peekable();
    while let Some(character) = rest.next() {
        let parts = all.last_mut()?;
        let part = match character {
            '^' => Part::Start,
            '$' => Part::End,
            '.' => Part::Any,
            '|' => {
                all.push(Vec::new());
                continue;
            }
            '\\' => escaped(rest.next()?)?,
            '[' => {
                skip_class(&mut rest)?;
                Part::Any
            }
            '(' => group(&mut rest)?,
            ')' | '*' | '+' | '?' | '{' => return None,
            literal => Part::Choice(vec![literal.to_string()]),
        };
        let part = match (rest.peek(), part) {
            (Some('*' | '+' | '?' | '{'), Part::Start | Part::End) | (Some('{'), _) => return None,
            (Some('*' | '+'), _) => {
                rest.next();
                rest.next_if_eq(&'?');
                Part::Any
            }
            (Some('?'), part) => {
                rest.next();
                rest.next_if_eq(&'?');
                match part {
                    Part::Choice(texts) => Part::Choice([texts, vec![String::new()]].concat()),
                    other => other,
                }
            }
            (_, part) => part,
        };
        parts.push(part);
    }
    Some(all)
}

fn escaped(character: char) -> Option<Part> {
    match character {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => Some(Part::Any),
        character if character.is_ascii_punctuation() => Some(Part::Choice(vec![character.to_string()])),
        _ => None,
    }
}

/// Passes over a class of characters, whose bracket is read.
fn skip_class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<()> {
    rest.next_if_eq(&'^');
    let mut is_first = true;
    loop {
        match rest.next()? {
            ']' if !is_first => return Some(()),
            '[' => return None,
            '\\' => drop(rest.next()?),
            _ => {}
        }
        is_first = false;
    }
}

/// Reads a group, whose parenthesis is read. One of texts is a choice, and any other may be anything.
fn group(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    if rest.next_if_eq(&'?').is_some() && rest.next()? != ':' {
        return None;
    }
    let (mut texts, mut depth, mut is_simple) = (vec![String::new()], 1, true);
    loop {
        match rest.next()? {
            ')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(if is_simple { Part::Choice(texts) } else { Part::Any });
                }
            }
            '|' => texts.push(String::new()),
            '\\' => match escaped(rest.next()?)? {
                Part::Choice(literal) => texts.last_mut()?.push_str(&literal[0]),
                _ => is_simple = false,
            },
            '[' => {
                skip_class(rest)?;
                is_simple = false;
            }
            '(' => {
                if rest.next_if_eq(&'?').is_some() && rest.next()? != ':' {
                    return None;
                }
                depth += 1;
                is_simple = false;
            }
            '.' | '^' | '$' | '*' | '+' | '?' | '{' => is_simple = false,
            literal => texts.last_mut()?.push(literal),
        }
    }
}

/// How many names an expression may have.
const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(regex: &str) -> Option<Vec<String>> {
        let show = |name: Name| {
            let star = if name.is_whole { "" } else { "*" };
            let below = if name.is_below { "**/" } else { "" };
            format!("{}{below}{star}{}", name.folder, name.end)
        };
        names(regex).map(|names| names.into_iter().map(show).collect())
    }

    #[test]
    fn ends_of_paths_are_taken_over() {
        let told = [
            (r"\.yaml$", vec!["**/*.yaml"]),
            (r".*\.enc\.ya?ml$", vec!["**/*.enc.yaml", "**/*.enc.yml"]),
            (r"secrets/.*\.(yaml|json)$", vec!["**/*.yaml", "**/*.json"]),
            (r"^apps/[^/]+/secret\.yaml$", vec!["apps/**/secret.yaml"]),
            (r"^(dev|prod)/db\.env$", vec!["dev/db.env", "prod/db.env"]),
            (r"a\.yaml$|^b/.+\.ini$", vec!["**/*a.yaml", "b/**/*.ini"]),
            (r"secrets.yaml$", vec!["**/*yaml"]),
            (r"(^|/)\.env$", vec!["**/*.env"]),
        ];
        for (regex, expected) in told {
            assert_eq!(ends(regex), Some(expected.iter().map(|&end| end.to_owned()).collect()), "{regex}");
        }
    }

    #[test]
    fn what_is_not_certain_is_not_told() {
        for regex in [
            "",
            "secrets/",
            r"\.yaml",
            ".*",
            "$",
            "a/$",
            r"(?i)\.yaml$",
            r"\.ya{1}ml$",
            r"\x2eyaml$",
            r"\Q.yaml\E$",
            r"\.yaml$|x",
            r"a$b$",
            r"[[:alpha:]]\.yaml$",
            r"\.yaml\z",
            "(",
            "[",
            r"\",
            "*a$",
        ] {
            assert_eq!(ends(regex), None, "{regex}");
        }
    }
}
