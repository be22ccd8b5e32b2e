//! Which part of the work is that of this replica.

use std::collections::BTreeSet;
use std::hash::Hasher as _;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

/// The work of this replica, as of some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// Whether it sees to what only one replica should do, such as making sealing keys.
    pub is_leader: bool,
    /// What of the namespaces is its work.
    pub share: Share,
    /// Until when that holds unless it is renewed. Behind it, nothing may be written; a write that was begun before has
    /// a third of the duration of a Lease to arrive.
    pub until: Option<Instant>,
}

/// What of the namespaces is the work of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of them.
    All,
    /// Those for which it is the first of the replicas that live.
    Of {
        /// This replica.
        identity: String,
        /// All replicas that live, this one too.
        members: Arc<BTreeSet<String>>,
    },
    /// None.
    Nothing,
}

/// Where to find the duty of the moment, and to hear of another one. That it holds for longer is no other one: look
/// here before each write, rather than at a copy.
pub type Duties = watch::Receiver<Duty>;

impl Duty {
    /// Returns the duty of a replica that is alone.
    #[must_use]
    pub const fn alone() -> Self {
        Self { is_leader: true, share: Share::All, until: None }
    }

    /// Returns the duty of a replica that does not know yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { is_leader: false, share: Share::Nothing, until: None }
    }

    /// Returns whether the objects of a namespace are its work, now.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        self.is_current() && self.share.has(namespace)
    }

    /// Returns whether this replica sees to what only one should do, now.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.is_leader && self.is_current()
    }

    /// Returns whether it still holds.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl Share {
    /// Returns whether a namespace is a part of it. If a replica goes or comes, only its own namespaces change hands.
    #[must_use]
    pub fn has(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Of { identity, members } => {
                members.iter().max_by_key(|member| (weight(member, namespace), *member)) == Some(identity)
            }
        }
    }
}

/// The weight of a replica for a namespace, the same in all replicas (rendezvous hashing, with FNV-1a).
fn weight(member: &str, namespace: &str) -> u64 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    hasher.write(member.as_bytes());
    hasher.write(&[0]);
    hasher.write(namespace.as_bytes());
    hasher.finish()
}

/// FNV-1a of 64 bits, with a final mix: names that differ in their last letter shall not be neighbours.
struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(identity: &str, members: &[&str]) -> Share {
        let members = members.iter().map(|&member| member.to_owned()).collect();
        Share::Of { identity: identity.to_owned(), members: Arc::new(members) }
    }

    #[test]
    fn every_namespace_belongs_to_one_replica_and_the_shares_are_alike() {
        let members = ["a-0", "a-1", "a-2"];
        let mut counts = [0; 3];
        for number in 0..3000 {
            let name = format!("team-{number}");
            let owners: Vec<_> = (0..3).filter(|&index| share(members[index], &members).has(&name)).collect();
            assert_eq!(owners.len(), 1, "{name}");
            counts[owners[0]] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_replica_that_goes_leaves_its_namespaces_alone_to_the_others() {
        for number in 0..1000 {
            let name = format!("team-{number}");
            if !share("a-2", &["a-0", "a-1", "a-2"]).has(&name) {
                let before = share("a-0", &["a-0", "a-1", "a-2"]).has(&name);
                assert_eq!(share("a-0", &["a-0", "a-1"]).has(&name), before, "{name}");
            }
        }
    }
}
