//! Wrapping a data key for key groups. How it is got back is in `recovery.rs`.

use std::fmt;

use futures_util::stream::{self, StreamExt};
use rand_core::CryptoRngCore;

use crate::keys::{DataKey, KeyError, KeyGroup, KeyService, MasterKey};
use crate::secret::SecretBytes;
use crate::shamir::{self, ShamirError};

/// Why a data key could not be wrapped for all keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// A group holds no key.
    #[error("empty key group provided")]
    EmptyGroup,
    /// Keys failed.
    #[error("the data key could not be wrapped for {}", FailedKeys(.0))]
    Keys(Vec<KeyFailure>),
    /// There is no group at all.
    #[error("no master keys are given")]
    NoGroups,
    /// The threshold does not fit the number of groups.
    #[error(transparent)]
    Threshold(#[from] ShamirError),
}

/// Why a data key could not be recovered: what became of each key of each group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{recovered} of {required} required key groups recovered their part of the data key{}", Causes(.groups))]
pub struct RecoverError {
    /// How many groups recovered their part.
    pub recovered: usize,
    /// How many are needed.
    pub required: usize,
    /// What became of each group, in the order of the document.
    pub groups: Vec<GroupReport>,
    /// Why the parts do not make a key, if enough were there.
    pub combining: Option<ShamirError>,
}

/// What became of one key group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReport {
    /// Whether the group recovered its part.
    pub recovered: bool,
    /// The keys that were tried and failed.
    pub failures: Vec<KeyFailure>,
}

/// A key that failed, and why with each key service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFailure {
    /// The key.
    pub key: MasterKey,
    /// The name of each service that took the key for its business, and what it said.
    pub causes: Vec<(String, KeyError)>,
}

/// Wraps `data_key` for every key of every group.
pub(crate) async fn wrap(
    data_key: &DataKey,
    groups: &mut [KeyGroup],
    threshold: usize,
    services: &[&dyn KeyService],
    now: &str,
    rng: &mut dyn CryptoRngCore,
) -> Result<(), WrapError> {
    check(groups, threshold)?;
    resolve(groups, services).await?;
    let secret = SecretBytes::from(&data_key.expose_secret()[..]);
    let parts = match groups.len() {
        1 => vec![secret],
        shares => shamir::split(&secret, shares, if threshold == 0 { shares } else { threshold }, rng)?,
    };
    let keys = groups.iter().zip(&parts).flat_map(|(group, part)| group.0.iter().map(move |key| (key, part)));
    let requests = stream::iter(keys).map(|(key, part)| wrap_for(key, part, services));
    let results: Vec<_> = requests.buffered(AT_ONCE).collect().await;
    let mut failures = Vec::new();
    for (key, result) in groups.iter_mut().flat_map(|group| &mut group.0).zip(results) {
        match result {
            Ok(wrapped) => key.set_wrapped(wrapped, now),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(WrapError::Keys(failures)) }
}

/// Lets services fill in what keys leave open, such as their version: see [`KeyService::resolve`]. It is the first step
/// of wrapping; who compares keys with those of a document may want it before.
///
/// # Errors
/// If the service that knows a key fails; the groups are then unchanged.
pub async fn resolve(groups: &mut [KeyGroup], services: &[&dyn KeyService]) -> Result<(), WrapError> {
    let keys = groups.iter().flat_map(|group| &group.0);
    let results: Vec<_> =
        stream::iter(keys).map(|key| resolve_one(key, services)).buffered(AT_ONCE).collect().await;
    let (mut resolved, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(key) => resolved.push(key),
            Err(failure) => failures.push(failure),
        }
    }
    if !failures.is_empty() {
        return Err(WrapError::Keys(failures));
    }
    for (key, resolved) in groups.iter_mut().flat_map(|group| &mut group.0).zip(resolved) {
        if let Some(resolved) = resolved {
            *key = resolved;
        }
    }
    Ok(())
}

async fn resolve_one(key: &MasterKey, services: &[&dyn KeyService]) -> Result<Option<MasterKey>, KeyFailure> {
    let mut causes = Vec::new();
    for service in services {
        match service.resolve(key).await {
            None => {}
            Some(Ok(resolved)) => return Ok(Some(resolved)),
            Some(Err(error)) => causes.push((service.name(), error)),
        }
    }
    if causes.is_empty() { Ok(None) } else { Err(KeyFailure { key: key.clone(), causes }) }
}

async fn wrap_for(
    key: &MasterKey,
    part: &SecretBytes,
    services: &[&dyn KeyService],
) -> Result<String, KeyFailure> {
    let mut causes = Vec::new();
    for service in services {
        match service.wrap(key, part).await {
            None => {}
            Some(Ok(wrapped)) => return Ok(wrapped),
            Some(Err(error)) => causes.push((service.name(), error)),
        }
    }
    Err(KeyFailure { key: key.clone(), causes })
}

/// Makes sure that a data key can be wrapped for groups, as far as no key needs to be asked.
pub(crate) fn check(groups: &[KeyGroup], threshold: usize) -> Result<(), WrapError> {
    if groups.is_empty() {
        return Err(WrapError::NoGroups);
    }
    if groups.iter().any(|group| group.0.is_empty()) {
        return Err(WrapError::EmptyGroup);
    }
    match groups.len() {
        1 => Ok(()),
        shares => Ok(shamir::check(shares, if threshold == 0 { shares } else { threshold })?),
    }
}

/// Prints what became of keys that failed, behind what failed because of them.
struct Causes<'a>(&'a [GroupReport]);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = |group: &&GroupReport| !group.failures.is_empty();
        self.0
            .iter()
            .filter(failed)
            .try_for_each(|group| write!(formatter, "; {}", FailedKeys(&group.failures)))
    }
}

/// Prints the names of keys that failed and their causes.
struct FailedKeys<'a>(&'a [KeyFailure]);

impl fmt::Display for FailedKeys<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{} {}", failure.key.kind().name, failure.key)?;
            if failure.causes.is_empty() {
                formatter.write_str(": no key service handles this kind of key")?;
            }
            for (index, (_, error)) in failure.causes.iter().enumerate() {
                write!(formatter, "{}{error}", if index == 0 { ": " } else { "; " })?;
            }
        }
        Ok(())
    }
}

/// How many requests of a document are under way at once.
pub(super) const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;
    use crate::keys::{Cause, KeyFuture, ServiceError, azure_kv};

    /// Knows the newest version of every key but one that is called `gone`.
    struct Newest;

    impl KeyService for Newest {
        fn name(&self) -> String {
            "newest".to_owned()
        }

        fn resolve<'a>(&'a self, key: &'a MasterKey) -> KeyFuture<'a, MasterKey> {
            let mut resolved = key.clone();
            resolved.set_field("version", "7".into());
            let answer = match key.field("name") {
                "gone" => Some(Err(ServiceError::new(Cause::Key, "no such key").into())),
                _ if !key.field("version").is_empty() => None,
                _ => Some(Ok(resolved)),
            };
            Box::pin(std::future::ready(answer))
        }

        fn wrap<'a>(&'a self, key: &'a MasterKey, _: &'a SecretBytes) -> KeyFuture<'a, String> {
            Box::pin(std::future::ready(Some(Ok(format!("wrapped for {key}")))))
        }

        fn unwrap<'a>(&'a self, _: &'a MasterKey) -> KeyFuture<'a, SecretBytes> {
            Box::pin(std::future::ready(None))
        }
    }

    fn wrapped(keys: &str) -> Result<Vec<String>, WrapError> {
        let mut rng = rand::thread_rng();
        let key = DataKey::generate(&mut rng);
        let mut groups = [KeyGroup(MasterKey::parse_list(&azure_kv::KIND, keys).expect("keys"))];
        block_on(wrap(&key, &mut groups, 0, &[&Newest], "", &mut rng))?;
        Ok(groups[0].0.iter().map(|key| format!("{key}: {}", key.wrapped())).collect())
    }

    #[test]
    fn causes_of_several_services_stand_side_by_side() {
        let key = MasterKey::parse_list(&azure_kv::KIND, "https://v/keys/k/1").expect("a key").remove(0);
        let cause = |name: &str| (name.to_owned(), ServiceError::new(Cause::Denied, name).into());
        let failure = KeyFailure { key, causes: vec![cause("here: no"), cause("there: no")] };
        let text = WrapError::Keys(vec![failure]).to_string();
        assert!(text.ends_with("azure_kv https://v/keys/k/1: here: no; there: no"), "{text}");
    }

    #[test]
    fn what_a_key_leaves_open_is_recorded() {
        let keys = wrapped("https://v/keys/k,https://v/keys/l/1").expect("they wrap");
        assert_eq!(
            keys,
            [
                "https://v/keys/k/7: wrapped for https://v/keys/k/7",
                "https://v/keys/l/1: wrapped for https://v/keys/l/1"
            ]
        );
        let error = wrapped("https://v/keys/k,https://v/keys/gone").expect_err("one is gone");
        assert_eq!(
            error.to_string(),
            "the data key could not be wrapped for azure_kv https://v/keys/gone/: no such key"
        );
    }
}
