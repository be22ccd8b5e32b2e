//! Doing the same to many things at once, on all cores.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Returns what a job makes of every item, in their order. Up to `few` items are not worth threads of their own:
/// to start them takes longer than most runs.
pub fn map<T: Send, R: Send>(items: Vec<T>, few: usize, job: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if items.len() <= few {
        items.into_iter().map(job).collect()
    } else {
        items.into_par_iter().map(job).collect()
    }
}

/// How many items are few if each takes as long as to seal a value.
pub const FEW_TO_SEAL: usize = 8;
