//! Who could read a document, from one version of it to the next, told from what is written in clear in them.
//!
//! Whoever was a recipient of a version knows the data key of that version. Two versions have the same data key if
//! they have anything in common that was encrypted under it, or for a key: each encryption draws a nonce of its own,
//! so that a new data key leaves nothing as it was. The converse does not hold: a change of every value leaves nothing
//! either, under the same data key. So that somebody knows a data key can be shown, and that somebody does not cannot.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};

use super::metadata::Metadata;

/// What a document is in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// It is not there.
    Absent,
    /// It is in clear: whoever has the version can read it.
    Clear,
    /// It is encrypted.
    Encrypted(Encryption),
}

/// For whom a version is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encryption {
    recipients: BTreeSet<Recipient>,
    share: Option<Share>,
    /// Of what was encrypted, sorted.
    traces: Vec<u64>,
}

/// A master key, as people tell it from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient {
    /// The name of its kind.
    pub kind: String,
    /// The key.
    pub key: String,
}

/// What one key group of several is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many groups are needed.
    pub needed: usize,
    /// How many there are.
    pub groups: usize,
}

/// From when to when something was so: from one version up to another, in which it is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first version.
    pub since: usize,
    /// The first version in which it is over; none if it is so in the last one.
    pub until: Option<usize>,
}

/// Whether somebody knows the data key of the last version, as far as that can be told without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// It is no business of theirs: there is no data key, or they never were a recipient of one.
    No,
    /// They knew one that may be the same, though nothing shows it.
    Perhaps,
    /// They are a recipient of it, or were one of a version that has the same.
    Yes,
}

/// What one recipient could read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Who.
    pub recipient: Recipient,
    /// When.
    pub periods: Vec<Period>,
    /// Whether it knows the data key of the last version.
    pub data_key: Knowledge,
    /// What it had of the last version that it was a recipient of, if it had not all of it.
    pub share: Option<Share>,
}

/// Who could read a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The recipients of all versions, those of the last one first.
    pub readers: Vec<Reader>,
    /// When the document was in clear.
    pub clear: Vec<Period>,
}

impl Encryption {
    /// Returns what a version says, of which this is the text and the metadata.
    #[must_use]
    pub fn of(text: &[u8], metadata: &Metadata) -> Self {
        let keys = || metadata.groups.iter().flat_map(|group| &group.0);
        let recipients = keys().map(|key| Recipient::new(key.kind().name, &key.to_string())).collect();
        let (groups, needed) = (metadata.groups.len(), metadata.required_groups());
        let wrapped = keys().map(|key| key.wrapped().trim_end()).filter(|wrapped| !wrapped.is_empty());
        let mut traces: Vec<_> = wrapped.map(trace).collect();
        traces.extend(encrypted_texts(&String::from_utf8_lossy(text)).map(trace));
        traces.sort_unstable();
        traces.dedup();
        Self { recipients, share: (groups > 1).then_some(Share { needed, groups }), traces }
    }

    /// Returns what is sealed for a recipient that is not written down, and has no data key.
    #[must_use]
    pub fn sealed_for(recipient: Recipient) -> Self {
        Self { recipients: [recipient].into(), ..Self::default() }
    }

    /// Returns what tells the data key from others.
    pub(super) fn traces(&self) -> &[u64] {
        &self.traces
    }
}

impl Recipient {
    /// Returns a recipient.
    #[must_use]
    pub fn new(kind: &str, key: &str) -> Self {
        Self { kind: kind.to_owned(), key: key.to_owned() }
    }
}

impl Access {
    /// Returns who could read a document, given its versions, the oldest first.
    #[must_use]
    pub fn over(versions: &[Version]) -> Self {
        let mut periods: BTreeMap<&Recipient, Vec<Period>> = BTreeMap::new();
        let mut shares: BTreeMap<&Recipient, Option<Share>> = BTreeMap::new();
        let mut clear = Vec::new();
        for (at, version) in versions.iter().enumerate() {
            if *version == Version::Clear {
                extend(&mut clear, at);
            }
            for recipient in version.recipients() {
                extend(periods.entry(recipient).or_default(), at);
                shares.insert(recipient, version.share());
            }
        }
        // So far each period ends with the version after the last one that is part of it.
        let close = |mut periods: Vec<Period>| {
            if let Some(last) = periods.last_mut().filter(|last| last.until == Some(versions.len())) {
                last.until = None;
            }
            periods
        };
        let (knowing, last) = (knowing(versions), versions.last());
        let has_data_key = last.is_some_and(Version::has_data_key);
        let keyed = versions.iter().filter(|version| version.has_data_key());
        let keyed: BTreeSet<_> = keyed.flat_map(Version::recipients).collect();
        let data_key = |recipient| match (has_data_key, knowing.contains(recipient)) {
            (true, true) => Knowledge::Yes,
            (true, false) if keyed.contains(recipient) => Knowledge::Perhaps,
            _ => Knowledge::No,
        };
        let mut readers: Vec<_> = periods
            .into_iter()
            .map(|(recipient, periods)| Reader {
                recipient: recipient.clone(),
                periods: close(periods),
                data_key: data_key(recipient),
                share: shares.get(recipient).copied().flatten(),
            })
            .collect();
        readers.sort_by_key(|reader| !reader.reads_now());
        Self { readers, clear: close(clear) }
    }
}

impl Reader {
    /// Returns whether it is a recipient of the last version.
    #[must_use]
    pub fn reads_now(&self) -> bool {
        self.periods.last().is_some_and(|period| period.until.is_none())
    }
}

impl Version {
    fn recipients(&self) -> impl Iterator<Item = &Recipient> {
        self.encryption().into_iter().flat_map(|encryption| &encryption.recipients)
    }

    fn share(&self) -> Option<Share> {
        self.encryption().and_then(|encryption| encryption.share)
    }

    fn traces(&self) -> &[u64] {
        self.encryption().map_or(&[], |encryption| &encryption.traces)
    }

    /// Returns whether there is a data key, which everything of SOPS that is encrypted leaves a trace of.
    fn has_data_key(&self) -> bool {
        !self.traces().is_empty()
    }

    const fn encryption(&self) -> Option<&Encryption> {
        match self {
            Self::Encrypted(encryption) => Some(encryption),
            Self::Absent | Self::Clear => None,
        }
    }
}

/// Makes a version part of the last period, or begins another one.
fn extend(periods: &mut Vec<Period>, at: usize) {
    match periods.last_mut() {
        Some(period) if period.until == Some(at) => period.until = Some(at + 1),
        _ => periods.push(Period { since: at, until: Some(at + 1) }),
    }
}

/// Returns who certainly knows the data key of the last version.
fn knowing(versions: &[Version]) -> BTreeSet<&Recipient> {
    let Some(last) = versions.last() else { return BTreeSet::new() };
    let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, version) in versions.iter().enumerate() {
        version.traces().iter().for_each(|trace| holders.entry(*trace).or_default().push(at));
    }
    // All versions that have something in common with one of the same data key.
    let (mut same, mut waiting) = (BTreeSet::from([versions.len() - 1]), vec![last]);
    while let Some(version) = waiting.pop() {
        for at in version.traces().iter().filter_map(|trace| holders.remove(trace)).flatten() {
            if same.insert(at) {
                waiting.push(&versions[at]);
            }
        }
    }
    same.iter().flat_map(|&at| versions[at].recipients()).collect()
}

/// Returns whatever is encrypted under a data key in a text.
fn encrypted_texts(text: &str) -> impl Iterator<Item = &str> {
    let start = "ENC[AES256_GCM,";
    text.match_indices(start).filter_map(|(at, _)| text[at..].split_once(']').map(|(found, _)| found))
}

fn trace(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version for recipients that are named by one letter each, with these traces.
    fn version(recipients: &str, traces: &[u64]) -> Version {
        let recipients = recipients.chars().map(|name| Recipient::new("age", &name.to_string())).collect();
        Version::Encrypted(Encryption { recipients, share: None, traces: traces.to_vec() })
    }

    /// What is found out of a reader: its name, its periods, and whether it knows the data key.
    type Told = (String, Vec<(usize, Option<usize>)>, Knowledge);

    fn told(versions: &[Version]) -> Vec<Told> {
        let periods = |periods: &[Period]| periods.iter().map(|it| (it.since, it.until)).collect();
        let told = |reader: Reader| (reader.recipient.key, periods(&reader.periods), reader.data_key);
        Access::over(versions).readers.into_iter().map(told).collect()
    }

    fn reader(name: &str, periods: &[(usize, Option<usize>)], knows: Knowledge) -> Told {
        (name.to_owned(), periods.to_vec(), knows)
    }

    use Knowledge::{No, Perhaps, Yes};

    #[test]
    fn who_is_removed_without_a_new_data_key_still_knows_it() {
        let versions = [version("ab", &[1, 2]), version("a", &[1, 2, 3])];
        assert_eq!(told(&versions), [reader("a", &[(0, None)], Yes), reader("b", &[(0, Some(1))], Yes)]);
    }

    #[test]
    fn a_version_that_has_nothing_in_common_clears_nobody() {
        // One commit that changes every value and wraps anew, be it under a new data key or not.
        let versions = [version("ab", &[1, 2]), version("a", &[3, 4]), version("a", &[4, 5])];
        assert_eq!(told(&versions), [reader("a", &[(0, None)], Yes), reader("b", &[(0, Some(1))], Perhaps)]);
    }

    #[test]
    fn the_data_key_is_followed_through_versions_that_share_nothing_directly() {
        let versions =
            [version("ab", &[1, 2]), version("c", &[9]), version("a", &[2, 3]), version("a", &[3, 4])];
        assert_eq!(
            told(&versions),
            [
                reader("a", &[(0, Some(1)), (2, None)], Yes),
                reader("b", &[(0, Some(1))], Yes),
                reader("c", &[(1, Some(2))], Perhaps),
            ]
        );
    }

    #[test]
    fn what_is_deleted_is_read_by_nobody_any_more() {
        let versions = [Version::Clear, version("a", &[1]), Version::Absent, Version::Clear];
        let access = Access::over(&versions);
        assert_eq!(told(&versions), [reader("a", &[(1, Some(2))], No)]);
        let clear = [Period { since: 0, until: Some(1) }, Period { since: 3, until: None }];
        assert_eq!(access.clear, clear);
        assert_eq!(Access::over(&[]), Access::default());
    }

    #[test]
    fn who_never_had_a_data_key_has_none_to_know() {
        let versions = [version("c", &[]), version("a", &[1]), version("b", &[2])];
        assert_eq!(
            told(&versions),
            [
                reader("b", &[(2, None)], Yes),
                reader("a", &[(1, Some(2))], Perhaps),
                reader("c", &[(0, Some(1))], No),
            ]
        );
        assert_eq!(told(&[version("a", &[1]), version("c", &[])])[1], reader("a", &[(0, Some(1))], No));
    }

    #[test]
    fn whatever_is_encrypted_leaves_a_trace() {
        let text = "a: ENC[AES256_GCM,data:x,iv:y,tag:z,type:str]\nb: ENC[AES256_GCM,data:1]\nc: ENC[";
        let found: Vec<_> = encrypted_texts(text).collect();
        assert_eq!(found, ["ENC[AES256_GCM,data:x,iv:y,tag:z,type:str", "ENC[AES256_GCM,data:1"]);
    }
}
