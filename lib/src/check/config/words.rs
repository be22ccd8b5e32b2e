//! Words of a configuration in messages about it.

/// Returns what may be meant by a word that is not known.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    if word.len() > 40 {
        return String::new();
    }
    let word = word.to_lowercase();
    let nearest = known.iter().map(|known| (distance(&word, &known.to_lowercase()), known)).min();
    nearest
        .filter(|(distance, _)| *distance <= 2)
        .map_or_else(String::new, |(_, known)| format!("; did you mean `{known}`?"))
}

/// Returns how many letters have to be put in, taken out or changed to make one word of another.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

/// Returns a word of the configuration as a message can hold it.
pub(super) fn shown(word: &str) -> String {
    let mut shown: String = word.chars().take(40).flat_map(char::escape_debug).collect();
    if word.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}
