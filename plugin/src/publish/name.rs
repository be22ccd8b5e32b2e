//! What documents are called at their destination.

use std::path::{Component, Path};

use super::PublishError;

/// Returns the name of a document at its destination: its path below the folder that is published, with `/` between
/// its parts, and without the extension of the file if that is to be left out.
///
/// # Errors
/// If nothing is left of the file's name.
pub fn destination_name(below: &Path, omit_extension: bool) -> Result<String, PublishError> {
    let parts = below.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_string_lossy()),
        _ => None,
    });
    let name = parts.collect::<Vec<_>>().join("/");
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = match name[base..].rfind('.') {
        Some(dot) if omit_extension => base + dot,
        _ => name.len(),
    };
    if end == base { Err(PublishError::NoName(name)) } else { Ok(name[..end].to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_of_the_file_alone_is_left_out() {
        let name = |path: &str| destination_name(Path::new(path), true).expect("a name");
        assert_eq!(name("a.yaml"), "a");
        assert_eq!(name("a.sops.yaml"), "a.sops");
        assert_eq!(name("v1.2/a"), "v1.2/a");
        assert_eq!(name("v1.2/a.json"), "v1.2/a");
        assert_eq!(name("a."), "a");
    }

    #[test]
    fn a_name_is_a_path_below_the_folder() {
        let name = |path: &str| destination_name(Path::new(path), false).expect("a name");
        assert_eq!(name("a/./b.yaml"), "a/b.yaml");
        assert_eq!(name(".env"), ".env");
    }

    #[test]
    fn something_must_be_left_of_a_name() {
        for path in [".env", "a/.env"] {
            let error = destination_name(Path::new(path), true).expect_err(path);
            assert!(matches!(&error, PublishError::NoName(name) if name == path), "{error}");
        }
    }
}
