//! What stays in memory of an object, and of a Secret.

use super::body::Body;
use super::id::Id;
use super::said::Said;
use super::{Seen, Version};
use crate::controller::queue::Key;
use crate::controller::reason::Reason;

/// What is known of an object.
pub(super) struct Known {
    pub(super) uid: Id,
    pub(super) essence: [u8; 32],
    pub(super) instance: Box<str>,
    pub(super) body: Option<Body>,
    /// How it went the last time; `None` if it has to be worked on, or is being worked on.
    pub(super) settled: Option<Reason>,
    pub(super) attempts: u32,
    /// Whether one of its Secrets changed, and whether one went away, since work on it began.
    pub(super) has_news: bool,
    pub(super) has_lost: bool,
    /// What its status said when that was last heard of, since work on it began.
    pub(super) said: Option<Box<Said>>,
    /// The Secrets that it stands for, as far as they are known.
    pub(super) secrets: Box<[Stand]>,
}

/// A Secret that an object stands for.
#[derive(PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) name: Box<str>,
    /// The uid and the version that it was reconciled to.
    pub(super) version: Option<(Id, Id)>,
}

/// What stays of a Secret that was seen.
pub(super) struct Facts {
    pub(super) uid: Id,
    pub(super) resource_version: Id,
    /// The uid and the name of its owner.
    pub(super) owner: Option<(Id, Box<str>)>,
    pub(super) is_open: bool,
}

impl Known {
    pub(super) fn is(&self, uid: &str, essence: &[u8; 32]) -> bool {
        self.uid == Id::of(uid) && self.essence == *essence
    }

    /// Returns whether a change of a Secret may mean that there is something to do.
    pub(super) fn minds(&self, secret: &Key, before: Option<&Facts>, after: Option<&Facts>) -> bool {
        let stand = self.secrets.iter().find(|stand| *stand.name == *secret.name);
        let is_owner = |facts: Option<&Facts>| {
            facts.and_then(|facts| facts.owner.as_ref()).is_some_and(|(owner, _)| *owner == self.uid)
        };
        match self.settled {
            None | Some(Reason::Fetch | Reason::Status | Reason::Update) => true,
            // A Secret that it owns, but does not stand for, may have to go.
            Some(Reason::Ready) => match stand {
                // What was written before that says nothing any more.
                Some(stand) => {
                    after.is_none_or(|facts| stand.version.is_none() || facts.is_newer_than(stand))
                }
                None => is_owner(after),
            },
            // Whether it may be written, or is another one, and not what is in it. One that went away made room, although
            // nothing is known of it if it was seen before the object.
            Some(Reason::Immutable | Reason::Unmanaged) => {
                after.is_none() || before.map(Facts::rights) != after.map(Facts::rights)
            }
            // What does not open does not open because of a Secret.
            Some(
                Reason::Invalid
                | Reason::MacMismatch
                | Reason::NoKey
                | Reason::NotAllowed
                | Reason::Suspended
                | Reason::Template
                | Reason::Unseal,
            ) => false,
        }
    }
}

impl Default for Known {
    fn default() -> Self {
        Self {
            uid: Id::Number(0),
            essence: [0; 32],
            instance: Box::default(),
            body: None,
            settled: None,
            attempts: 0,
            has_news: false,
            said: None,
            has_lost: false,
            secrets: Box::default(),
        }
    }
}

impl Stand {
    pub(super) fn of(version: &Version) -> Self {
        let ids = (Id::of(&version.uid), Id::of(&version.resource_version));
        Self { name: version.name.as_str().into(), version: Some(ids) }
    }
}

impl Facts {
    pub(super) fn of(seen: &Seen) -> Self {
        Self {
            uid: Id::of(&seen.uid),
            resource_version: Id::of(&seen.resource_version),
            owner: seen.owner.as_ref().map(|owner| (Id::of(&owner.uid), owner.name.as_str().into())),
            is_open: seen.is_open,
        }
    }

    /// Returns whether it is the version that an object was reconciled to.
    pub(super) fn is(&self, stand: &Stand) -> bool {
        let ids = stand.version.as_ref();
        ids.is_some_and(|(uid, version)| *uid == self.uid && *version == self.resource_version)
    }

    /// Returns whether it was made after the version that an object was reconciled to. Versions are numbers, if the API
    /// server is as all are.
    pub(super) fn is_newer_than(&self, stand: &Stand) -> bool {
        match (&self.resource_version, &stand.version) {
            (_, None) => false,
            (Id::Number(seen), Some((_, Id::Number(version)))) => seen > version,
            _ => !self.is(stand),
        }
    }

    /// Returns what tells who may write it.
    pub(super) fn rights(&self) -> (&Id, &Option<(Id, Box<str>)>, bool) {
        (&self.uid, &self.owner, self.is_open)
    }

    pub(super) fn version(&self, name: &str) -> Version {
        Version {
            name: name.to_owned(),
            uid: self.uid.text(),
            resource_version: self.resource_version.text(),
        }
    }
}
