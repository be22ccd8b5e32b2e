//! What tells which object a manifest is: such values are revealed at once, as whatever builds manifests acts on them.

use crate::tree::{Step, TreePath};

/// Returns whether a value at a place of a manifest tells which object it is.
pub(super) fn is_identity(path: &TreePath) -> bool {
    let mut steps = path.steps();
    // The items of a list are manifests, too.
    while let [Step::Key(items), Step::Index(_), rest @ ..] = steps
        && items == "items"
    {
        steps = rest;
    }
    match steps {
        [Step::Key(key)] => matches!(key.as_str(), "apiVersion" | "immutable" | "kind" | "type"),
        [Step::Key(key), ..] => key == "metadata",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_kinds_are_revealed_and_nothing_else() {
        for (path, expected) in [
            (r#"["kind"]"#, true),
            (r#"["metadata"]["annotations"]["a"]"#, true),
            (r#"["items"][3]["metadata"]["name"]"#, true),
            (r#"["data"]["kind"]"#, false),
            (r#"["spec"]["metadata"]["name"]"#, false),
            (r#"["type"]"#, true),
            (r#"["type"]["x"]"#, false),
        ] {
            assert_eq!(is_identity(&TreePath::parse(path).expect("a path")), expected, "{path}");
        }
    }
}
