//! The lists that watches begin with, and begin again with.

use std::collections::HashSet;

use kube::runtime::watcher::{self, Event};

use crate::controller::cluster::CallError;
use crate::controller::queue::Key;

/// The lists that watches begin with.
pub struct Lists {
    /// For every watch the objects that it has told of since it last began, if it is not yet through.
    listed: Vec<Option<HashSet<Key>>>,
    /// Which watches were through once, or are refused, so that waiting for them would be in vain.
    done: Vec<bool>,
}

/// What an event of a watch comes to.
pub enum Listed<T> {
    /// There is an object, or it is another one.
    Changed(Key, T),
    /// The server has ended the watch, as it does when what it told from is too old or is being set up anew.
    Ended(String),
    /// The watch failed.
    Failed(String),
    /// There is no such object any more.
    Gone(Key),
    /// Nothing.
    Nothing,
    /// These are all that there are.
    Through(HashSet<Key>),
}

impl Lists {
    /// Returns the lists of so many watches.
    pub fn new(count: usize) -> Self {
        Self { listed: vec![None; count], done: vec![false; count] }
    }

    /// Returns whether all that there are were told of.
    pub fn is_through(&self) -> bool {
        self.done.iter().all(|done| *done)
    }

    /// Takes what a watch tells.
    pub fn next<T>(
        &mut self,
        number: usize,
        event: Result<Event<T>, watcher::Error>,
        key: impl Fn(&T) -> Key,
    ) -> Listed<T> {
        match event {
            Ok(Event::Apply(object)) => Listed::Changed(key(&object), object),
            Ok(Event::Delete(object)) => Listed::Gone(key(&object)),
            Ok(Event::Init) => {
                self.listed[number] = Some(HashSet::new());
                Listed::Nothing
            }
            Ok(Event::InitApply(object)) => {
                let key = key(&object);
                self.listed[number].get_or_insert_default().insert(key.clone());
                Listed::Changed(key, object)
            }
            Ok(Event::InitDone) => {
                self.done[number] = true;
                Listed::Through(self.listed[number].take().unwrap_or_default())
            }
            Err(error) if has_to_wait(&error) => Listed::Ended(describe(&error)),
            Err(error) => {
                // Any other failure will pass.
                self.done[number] |=
                    matches!(cause(&error), Some(CallError::Forbidden(_) | CallError::NotFound(_)));
                Listed::Failed(describe(&error))
            }
        }
    }
}

/// Returns whether the server asks to begin again, later: nothing is amiss.
fn has_to_wait(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchError(status) => status,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    matches!(status.code, 410 | 429)
}

/// Says what is wrong with a watch, without what was received.
fn describe(error: &watcher::Error) -> String {
    match error {
        watcher::Error::WatchError(status) => status.message.clone(),
        _ => cause(error).map_or_else(|| "the watch ended".to_owned(), |error| error.to_string()),
    }
}

fn cause(error: &watcher::Error) -> Option<CallError> {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Some(CallError::from_kube(error)),
        _ => None,
    }
}
