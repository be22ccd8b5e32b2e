//! Whether what came out is what a page shows: `…` stands for any text of a line, a line `...` for any lines.

/// Returns whether a text is what a page shows. Spaces at the ends of lines do not count, nor do empty lines at the end:
/// nobody sees them. What kubectl logs when its wait is over before a watch has begun does not count either.
pub fn is_shown(shown: &str, text: &str) -> bool {
    fn lines(text: &str) -> Vec<&str> {
        text.trim_end().lines().map(str::trim_end).filter(|line| !is_of_a_stopped_watch(line)).collect()
    }
    let (patterns, lines) = (lines(shown), lines(text));
    // Which of the beginnings of the lines are what the patterns so far show.
    let mut reached = vec![false; lines.len() + 1];
    reached[0] = true;
    for pattern in patterns {
        reached = if pattern == ANY_LINES {
            let from = reached.iter().position(|is_reached| *is_reached).unwrap_or(lines.len() + 1);
            (0..=lines.len()).map(|at| at >= from).collect()
        } else {
            let matches = |at: usize| at > 0 && reached[at - 1] && is_line(pattern, lines[at - 1]);
            (0..=lines.len()).map(matches).collect()
        };
    }
    reached[lines.len()]
}

fn is_of_a_stopped_watch(line: &str) -> bool {
    line.contains("] \"Failed to watch\" err=") && line.contains(": context canceled\" reflector=")
}

fn is_line(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split(ANY_TEXT);
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// In a line of a page, what differs from run to run.
const ANY_TEXT: char = '…';

/// A line of a page for lines that are left out.
const ANY_LINES: &str = "...";
