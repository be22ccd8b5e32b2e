//! Secrets in templates that are no YAML even around their actions, and in scripts: by lines and their indentation.
//!
//! Each line is looked at once; blocks that are open are kept by their indentation.

use std::ops::Range;

/// A value of a Secret, by the lines that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its key.
    pub key: Range<usize>,
    /// The value, with its quotes and its lines.
    pub value: Range<usize>,
    /// Whether it is in `data`.
    pub is_base64: bool,
}

/// Returns the values of Secrets in a text; `masked` is the text with its actions out of the way.
pub(super) fn values(text: &str, masked: &str) -> Vec<Line> {
    read(Reader::default(), text, masked)
}

/// Returns the values of Secrets in a script, in which what is no entry of a map ends the maps before it.
pub(super) fn values_of_script(text: &str) -> Vec<Line> {
    read(Reader { is_script: true, ..Reader::default() }, text, text)
}

fn read(mut reader: Reader, text: &str, masked: &str) -> Vec<Line> {
    let mut at = 0;
    for line in masked.split_inclusive('\n') {
        reader.take(text, line.trim_end(), at);
        at += line.len();
    }
    reader.close(0);
    reader.found
}

#[derive(Default)]
struct Reader {
    is_script: bool,
    open: Vec<Block>,
    found: Vec<Line>,
}

/// Lines of the same indentation below another.
#[derive(Default)]
struct Block {
    indent: usize,
    is_secret: bool,
    /// Whether what is below its last key is `data` (`true`) or `stringData`.
    section: Option<bool>,
    /// Whether it is what is below such a key.
    values_of: Option<bool>,
    values: Vec<Line>,
    /// Whether the value of its last key goes on in lines below it.
    is_continued: bool,
}

impl Reader {
    fn take(&mut self, text: &str, line: &str, at: usize) {
        let content = line.trim_start();
        // Jinja has its tags and comments in lines for themselves, at any indentation.
        let is_tag = (content.starts_with("{%") && content.ends_with("%}"))
            || (content.starts_with("{#") && content.ends_with("#}"));
        if content.is_empty() || content.starts_with('#') || is_tag {
            return;
        }
        let mut indent = line.len() - content.len();
        if content.starts_with("---") && indent == 0 {
            self.close(0);
            return;
        }
        if let Some(block) = self.open.last_mut().filter(|block| block.is_continued && block.indent < indent)
        {
            if let Some(value) = block.values.last_mut() {
                value.value.end = at + line.len();
            }
            return;
        }
        let mut content = content;
        while let Some(item) = content.strip_prefix("- ") {
            self.close(indent + 1);
            let rest = item.trim_start();
            indent += content.len() - rest.len();
            content = rest;
        }
        self.close(indent + 1);
        if self.is_script && !content.contains(':') {
            self.close(indent);
            return;
        }
        if self.open.last().is_none_or(|block| block.indent < indent) {
            let values_of = self.open.last().and_then(|block| block.section);
            self.open.push(Block { indent, values_of, ..Block::default() });
        }
        self.entry(text, content, at + line.len() - content.len());
    }

    fn entry(&mut self, text: &str, content: &str, at: usize) {
        let Some(block) = self.open.last_mut() else { return };
        (block.section, block.is_continued) = (None, false);
        let Some((key, value)) = content.split_once(':') else { return };
        let (start, value) = (at + content.len() - value.trim_start().len(), value.trim());
        let end = start + value.len();
        let name = key.trim().trim_matches(['"', '\'']);
        if let Some(is_base64) = block.values_of {
            block.is_continued = value.starts_with(['|', '>']) || text[start..end].starts_with(['|', '>']);
            let key = at..at + key.trim_end().len();
            block.values.push(Line { key, value: start..end, is_base64 });
        }
        match name {
            "kind" => block.is_secret |= value.trim_matches(['"', '\'']) == "Secret",
            "data" if value.is_empty() => block.section = Some(true),
            "stringData" if value.is_empty() => block.section = Some(false),
            _ => {}
        }
    }

    /// Ends the blocks that are indented at least so much.
    fn close(&mut self, indent: usize) {
        while self.open.last().is_some_and(|block| block.indent >= indent) {
            let Some(block) = self.open.pop() else { return };
            if block.is_secret {
                self.found.extend(block.values);
            } else if block.values_of.is_some()
                && let Some(above) = self.open.last_mut()
            {
                above.values.extend(block.values);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&str, &str)> {
        let values = values(text, text).into_iter();
        values.map(|line| (&text[line.key], &text[line.value])).collect()
    }

    #[test]
    fn values_of_secrets_are_found_by_their_lines() {
        let text = "- kind: Secret\n  data:\n      a: b\n    c: \"d\"\n  type: Opaque\n---\nkind: ConfigMap\n\
                    data:\n  a: b\n---\nstringData:\n  e: |\n    f: g\n    h\n  i: j\nkind: \"Secret\"\n";
        let wanted = [("a", "b"), ("c", "\"d\""), ("e", "|\n    f: g\n    h"), ("i", "j")];
        assert_eq!(found(text), wanted);
        assert!(found("kind: Secret\nmetadata:\n  data: x\n").is_empty());
    }

    #[test]
    fn documents_in_scripts_end_where_the_script_goes_on() {
        let text = "kubectl apply -f - <<EOF\nkind: Secret\nstringData:\n  a: b\nEOF\ncat <<EOF\nkind: ConfigMap\n\
                    data:\n  c: d\nEOF\n";
        let values = values_of_script(text).into_iter();
        let values: Vec<_> = values.map(|line| (&text[line.key], &text[line.value])).collect();
        assert_eq!(values, [("a", "b")]);
    }

    #[test]
    fn blocks_without_end_take_linear_time() {
        let deep: String = (0..2000).map(|depth| format!("{}data:\n", " ".repeat(depth))).collect();
        assert!(found(&deep).is_empty());
        let wide = "kind: Secret\ndata:\n  a: b\n".repeat(10_000);
        assert!(!found(&wide).is_empty());
    }
}
