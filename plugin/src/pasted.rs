//! Words of commands that people paste into a shell.

use std::path::Path;

/// Returns a word as a shell takes it. One with a NUL in it, which no shell takes, comes as it is.
pub fn word(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), Into::into)
}

/// Returns a path as a shell takes it, and as a command takes it for no option.
pub fn path(path: &Path) -> String {
    let path = path.to_string_lossy();
    if path.starts_with('-') { word(&format!("./{path}")) } else { word(&path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_neither_words_nor_an_option() {
        for (given, shown) in [
            ("db.yaml", "db.yaml"),
            ("a b.yaml", "'a b.yaml'"),
            ("-db.yaml", "./-db.yaml"),
            ("--a b", "'./--a b'"),
            ("it's", "\"it's\""),
            ("a/-b", "a/-b"),
        ] {
            assert_eq!(path(Path::new(given)), shown);
        }
        assert_eq!(word("-"), "-");
    }
}
