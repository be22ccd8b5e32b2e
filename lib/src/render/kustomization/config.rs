//! One file of configuration, whose fields know where they are written.

use serde_json::Value as Json;

use super::KustomizationError;
use crate::format::Format;
use crate::secret::SecretBytes;
use crate::tree::{NodeId, Tree, Value};

/// A file of configuration.
pub(super) struct Config {
    path: String,
    tree: Tree,
}

/// A field of one.
#[derive(Clone, Copy)]
pub(super) struct Field<'c> {
    config: &'c Config,
    id: NodeId,
}

impl Config {
    pub(super) fn new(path: &str, text: SecretBytes) -> Result<Self, KustomizationError> {
        let tree = Format::Yaml.read(text);
        let tree = tree.map_err(|source| KustomizationError::Parse { path: path.to_owned(), source })?;
        let config = Self { path: path.to_owned(), tree };
        let merge = config.tree.nodes().map(|(id, _)| id).find(|&id| config.tree.key(id) == Some(b"<<"));
        if let Some(id) = merge {
            let what = "is a merge key; write out what it stands for";
            return Err(KustomizationError::Unsupported {
                place: Field { config: &config, id }.place(),
                what,
            });
        }
        Ok(config)
    }

    /// Returns the file it is in.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn source(&self) -> &[u8] {
        self.tree.source()
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = Field<'_>> {
        self.tree.documents().iter().map(|&id| Field { config: self, id })
    }
}

impl<'c> Field<'c> {
    /// Returns the field of a map; of equal ones the last, as Kustomize has it.
    pub(super) fn get(self, name: &str) -> Option<Self> {
        let tree = &self.config.tree;
        let named = tree.items(self.id).filter(|&id| tree.key(id) == Some(name.as_bytes()));
        named.last().map(|id| Self { config: self.config, id })
    }

    /// Returns the fields of a map.
    pub(super) fn fields(self) -> impl Iterator<Item = (&'c str, Self)> {
        let Self { config, id } = self;
        let is_map = config.tree.node(id).value == Value::Map;
        let items = is_map.then(|| config.tree.items(id)).into_iter().flatten();
        items.map(move |id| {
            let key = config.tree.key(id).and_then(|key| str::from_utf8(key).ok());
            (key.unwrap_or_default(), Self { config, id })
        })
    }

    /// Returns the items of a list in a map; none if it is something else.
    pub(super) fn list(self, name: &str) -> impl Iterator<Item = Self> + use<'c> {
        let list = self.get(name).filter(|field| field.config.tree.node(field.id).value == Value::List);
        list.into_iter().flat_map(move |list| {
            let items = list.config.tree.items(list.id);
            items.map(move |id| Field { config: list.config, id })
        })
    }

    /// Returns a text.
    pub(super) fn text(self) -> Option<&'c str> {
        match self.config.tree.node(self.id).value {
            Value::Str(text) => str::from_utf8(self.config.tree.bytes(text)).ok(),
            _ => None,
        }
    }

    /// Returns whether the text is a document itself, and not the name of a file.
    pub(super) fn is_inline(self) -> bool {
        // On one line nothing but a map in braces is an object.
        let text = self.text().unwrap_or_default().trim();
        text.contains('\n') || text.starts_with('{')
    }

    /// Returns the file it is in.
    pub(super) fn path(self) -> &'c str {
        &self.config.path
    }

    /// Returns where it is in a list of the documents of its file, as a JSON pointer.
    pub(super) fn pointer(self) -> String {
        let tree = &self.config.tree;
        let is_in = |&id: &NodeId| id <= self.id && self.id.index() < tree.node(id).end as usize;
        let documents = tree.documents();
        let at = documents.iter().position(is_in).unwrap_or_default();
        let (mut pointer, mut id) = (format!("/{at}"), documents[at]);
        while id != self.id {
            let Some((at, child)) = tree.items(id).enumerate().find(|(_, child)| is_in(child)) else { break };
            let key = tree.key(child).map(|key| String::from_utf8_lossy(key).into_owned());
            let step = key.map_or_else(|| at.to_string(), |key| key.replace('~', "~0").replace('/', "~1"));
            pointer.push('/');
            pointer.push_str(&step);
            id = child;
        }
        pointer
    }

    /// Returns where it is written.
    pub(super) fn place(self) -> String {
        let node = self.config.tree.node(self.id);
        format!("{}:{}", self.config.path, self.config.tree.line(node.span.start))
    }

    /// Returns it as JSON.
    pub(super) fn to_json(self) -> Json {
        self.config.tree.to_json(self.id)
    }
}
