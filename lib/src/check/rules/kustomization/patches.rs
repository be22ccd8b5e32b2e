//! Patches that put values into Secrets: those within kustomizations and what is like them, and files of operations.

use super::super::literal::embedded::Embedded;
use super::super::literal::places::KUSTOMIZATIONS;
use super::{Clear, folder_of, is_clear, resolve};
use crate::check::{
    Context, Entry, File, Findings, Mode, Object, Outline, Severity, decode, is_secret_name, objects,
};

/// Tells what patches put into Secrets in clear.
pub(super) fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let mut look = Look { file, context, found };
    if file.text().contains("patch") {
        for object in objects(file.outline()) {
            look.inline(object.entry, Some(object));
        }
        for root in file.outline().roots().filter(|root| root.is_map() && root.get("kind").is_none()) {
            look.inline(root, None);
        }
    }
    for root in file.outline().roots().filter(|root| root.is_list()) {
        look.operations_of_file(root);
    }
}

struct Look<'f, 'a, 'c> {
    file: &'f File<'a>,
    context: &'c Context<'c>,
    found: &'c mut Findings,
}

impl Look<'_, '_, '_> {
    /// Patches that are texts within a document: `patches`, `patchesStrategicMerge`, `patchesJson6902`, of kustomizations,
    /// of Flux, of Argo CD.
    fn inline(&mut self, entry: Entry<'_>, object: Option<Object<'_>>) {
        for list in entry.walk().into_iter().filter(|entry| entry.is_list()) {
            match list.key() {
                Some("patches" | "patchesJson6902" | "patchesJSON6902") => {
                    for item in list.entries() {
                        let is_secret = item.get("target").map_or(Some(false), targets_secret);
                        if let Some(patch) = item.get("patch").filter(|patch| patch.text().is_some()) {
                            self.embedded(patch, object, is_secret);
                        } else if let Some(patch) = item.get("patch").filter(|patch| patch.is_list()) {
                            self.operations(patch, object, is_secret, None);
                        }
                    }
                }
                Some("patchesStrategicMerge") => {
                    for item in
                        list.entries().filter(|item| item.text().is_some_and(|text| text.contains('\n')))
                    {
                        self.embedded(item, object, Some(false));
                    }
                }
                _ => {}
            }
        }
    }

    /// A patch that is a text.
    fn embedded(&mut self, entry: Entry<'_>, object: Option<Object<'_>>, is_secret: Option<bool>) {
        let Some(embedded) = Embedded::new(entry) else { return };
        let outline = Outline::read(embedded.text);
        for root in outline.roots() {
            if root.is_list() {
                self.operations(root, object, is_secret, Some((&embedded, entry)));
                continue;
            }
            let is_marked = root.text_at(&["kind"]).map_or(is_secret == Some(true), |kind| kind == "Secret");
            let is_deleted = root.text_at(&["$patch"]) == Some("delete");
            for (key, is_encoded) in [("data", true), ("stringData", false)] {
                let values =
                    root.get(key).filter(|_| is_marked && !is_deleted).into_iter().flat_map(Entry::entries);
                for value in values {
                    self.value(value, value.key(), is_encoded, object, Some((&embedded, entry)));
                }
            }
        }
    }

    /// A file of operations: the Secret is named by a kustomization in its folder or above, or it could be nothing else.
    fn operations_of_file(&mut self, root: Entry<'_>) {
        let paths = || root.entries().filter_map(|operation| operation.text_at(&["path"]));
        let may_be_map = paths().any(|path| path == "/data" || path.starts_with("/data/"));
        let is_secret = may_be_map && self.is_patch_of_secret();
        self.operations(root, None, Some(is_secret), None);
    }

    fn operations(
        &mut self,
        list: Entry<'_>,
        object: Option<Object<'_>>,
        is_secret: Option<bool>,
        within: Option<(&Embedded<'_>, Entry<'_>)>,
    ) {
        for operation in list.entries() {
            let (Some(path), Some(value)) = (operation.text_at(&["path"]), operation.get("value")) else {
                continue;
            };
            if operation.get("op").is_none() {
                continue;
            }
            // Only Secrets have `stringData`. Where it is not said what is patched, the name tells.
            let is_secret = is_secret.unwrap_or_else(|| path.rsplit('/').next().is_some_and(is_secret_name));
            let place = [("/data", true, is_secret), ("/stringData", false, true)].into_iter().find_map(
                |(place, is_encoded, counts)| {
                    let rest = path
                        .strip_prefix(place)
                        .filter(|rest| counts && (rest.is_empty() || rest.starts_with('/')));
                    rest.map(|rest| (rest.trim_start_matches('/'), is_encoded))
                },
            );
            match place {
                Some(("", is_encoded)) => {
                    for value in value.entries().filter(|_| value.is_map()) {
                        self.value(value, value.key(), is_encoded, object, within);
                    }
                }
                Some((name, is_encoded)) => self.value(value, Some(name), is_encoded, object, within),
                None => {}
            }
        }
    }

    /// A value that a patch puts into a Secret.
    fn value(
        &mut self,
        value: Entry<'_>,
        name: Option<&str>,
        is_encoded: bool,
        object: Option<Object<'_>>,
        within: Option<(&Embedded<'_>, Entry<'_>)>,
    ) {
        let is_made =
            value.has_action() || within.is_some_and(|(embedded, _)| embedded.has_action(&value.span()));
        let Some(text) = value.text().filter(|_| !is_made && !value.is_null()) else { return };
        if !is_clear(text, is_encoded, self.context.config) {
            return;
        }
        let top = object.map(|object| object.entry);
        let (span, pointer) = match within {
            Some((embedded, entry)) => (embedded.range(&value.span()), entry.pointer(top)),
            None => (value.span(), value.pointer(top)),
        };
        let name = name.unwrap_or_default();
        let clear = Clear {
            object,
            span,
            pointer,
            message: format!("a patch puts `{name}` into a Secret, in clear"),
            remedy: "put the value into the Secret itself, and commit it encrypted or sealed".to_owned(),
            value: text.as_bytes(),
            severity: Severity::Error,
        };
        clear.tell(self.file, self.found);
    }

    /// Returns whether a kustomization in the folder of the file, or above it, applies the file to a Secret.
    fn is_patch_of_secret(&self) -> bool {
        let mut folder = Some(folder_of(self.file.path()));
        for _ in 0..MAX_FOLDERS {
            let Some(at) = folder else { return false };
            let applies = KUSTOMIZATIONS.iter().any(|name| {
                let path = if at.is_empty() { (*name).to_owned() } else { format!("{at}/{name}") };
                self.context.after.contains(&path) && self.applies(at, &path)
            });
            if applies {
                return true;
            }
            folder = at.rsplit_once('/').map(|(parent, _)| parent).or((!at.is_empty()).then_some(""));
        }
        false
    }

    fn applies(&self, folder: &str, path: &str) -> bool {
        // One that cannot be read is told as it is checked itself.
        let Ok(Some(bytes)) = self.context.after.read(path) else { return false };
        let content = decode(&bytes);
        let file = File::new(path, &bytes, &content, Mode::File);
        if !file.text().contains(self.file.name()) {
            return false;
        }
        let lists = file.outline().nodes().filter(|entry| {
            matches!(entry.key(), Some("patches" | "patchesJson6902" | "patchesJSON6902")) && entry.is_list()
        });
        let mut items = lists.flat_map(Entry::entries);
        items.any(|item| {
            let is_file = item.text_at(&["path"]).and_then(|path| resolve(folder, path));
            is_file.as_deref() == Some(self.file.path())
                && item.get("target").is_some_and(|target| targets_secret(target) == Some(true))
        })
    }
}

/// Returns whether a target is Secrets, if it says so: kustomize takes its kind for a regular expression.
fn targets_secret(target: Entry<'_>) -> Option<bool> {
    target
        .text_at(&["kind"])
        .map(|kind| kind.split(['|', '(', ')', '^', '$']).any(|kind| kind.trim_end_matches(".*") == "Secret"))
}

/// How many folders, from that of the file up, a kustomization is looked for in.
const MAX_FOLDERS: usize = 4;
