//! The resources that the API server knows, and what a path means.

use std::collections::BTreeMap;

/// A kind of objects and the rules that hold for it.
#[derive(Debug)]
pub struct Resource {
    /// The group; empty for the core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The name in paths.
    pub plural: &'static str,
    /// The name in objects.
    pub kind: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether it is defined by a CustomResourceDefinition, with a subresource `status`.
    pub custom: bool,
    /// Whether an update may come without `resourceVersion`.
    pub unconditional: bool,
    /// Whether an update makes what is not there.
    pub create_on_update: bool,
}

impl Resource {
    /// Returns the `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Returns what errors call it.
    pub fn qualified(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Returns what errors of validation call its kind.
    pub fn qualified_kind(&self) -> String {
        match self.group {
            "" => self.kind.to_owned(),
            group => format!("{}.{group}", self.kind),
        }
    }

    /// Returns the one of a kind.
    pub fn of_kind(api_version: &str, kind: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.api_version() == api_version && resource.kind == kind)
    }

    /// Returns the one of a group and plural.
    pub fn find(group: &str, plural: &str) -> Option<&'static Self> {
        RESOURCES.iter().find(|resource| resource.group == group && resource.plural == plural)
    }
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The group.
    pub group: &'static str,
    /// The plural of the resource.
    pub plural: &'static str,
    /// The namespace; empty without one.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Returns the place of an object.
    pub fn new(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        let (group, plural) = (resource.group, resource.plural);
        Self { group, plural, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Returns whether an object there is one of the resource.
    pub fn is_of(&self, resource: &Resource) -> bool {
        self.group == resource.group && self.plural == resource.plural
    }
}

/// What the path of a request means.
#[derive(Debug)]
pub struct Target {
    /// The resource.
    pub resource: &'static Resource,
    /// The namespace; `None` for all of them.
    pub namespace: Option<String>,
    /// The name of the object; `None` for the collection.
    pub name: Option<String>,
    /// Whether the subresource `status` is meant.
    pub status: bool,
}

impl Target {
    /// Reads a path; `None` if there is nothing there.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        let (group, version) = match parts.next()? {
            "api" => ("", parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let mut rest: Vec<&str> = parts.collect();
        let mut namespace = None;
        if rest.len() >= 3 && rest[0] == "namespaces" && rest[2] != "status" {
            namespace = Some(rest[1].to_owned());
            rest.drain(..2);
        }
        let resource = Resource::find(group, rest.first()?).filter(|found| found.version == version)?;
        let status = match rest.get(2) {
            None => false,
            Some(&"status") if resource.custom || resource.plural == "namespaces" => true,
            Some(_) => return None,
        };
        Some(Self { resource, namespace, name: rest.get(1).map(|&name| name.to_owned()), status })
    }

    /// Returns the place of the object, if one is named.
    pub fn key(&self) -> Option<Key> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        self.name.as_deref().map(|name| Key::new(self.resource, namespace, name))
    }
}

/// Reads the query of a request.
pub fn query(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// Undoes the encoding of a form.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let pair = (byte == b'%').then(|| (rest.next(), rest.next()));
        match (byte, pair) {
            (_, Some((Some(high), Some(low)))) => {
                let digits = [high, low];
                let digits = std::str::from_utf8(&digits).ok();
                bytes.extend(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()));
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A resource of the API server's own.
const fn built_in(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
) -> Resource {
    Resource {
        group,
        version,
        plural,
        kind,
        namespaced: true,
        custom: false,
        unconditional: true,
        create_on_update: false,
    }
}

/// A resource of a CustomResourceDefinition.
const fn custom(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
) -> Resource {
    Resource { custom: true, unconditional: false, ..built_in(group, version, plural, kind) }
}

/// All of them.
static RESOURCES: [Resource; 10] = [
    Resource { namespaced: false, ..built_in("", "v1", "namespaces", "Namespace") },
    built_in("", "v1", "secrets", "Secret"),
    Resource { create_on_update: true, ..built_in("", "v1", "events", "Event") },
    Resource { create_on_update: true, ..built_in("events.k8s.io", "v1", "events", "Event") },
    Resource {
        create_on_update: true,
        unconditional: false,
        ..built_in("coordination.k8s.io", "v1", "leases", "Lease")
    },
    Resource { namespaced: false, ..built_in("authentication.k8s.io", "v1", "tokenreviews", "TokenReview") },
    Resource {
        namespaced: false,
        ..built_in("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
    },
    custom("bitnami.com", "v1alpha1", "sealedsecrets", "SealedSecret"),
    custom("selkie.dev", "v1alpha1", "sopssecrets", "SopsSecret"),
    custom("isindir.github.com", "v1alpha3", "sopssecrets", "SopsSecret"),
];
