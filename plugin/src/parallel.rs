//! Doing the same to many things at once: as much work as there are cores, and beside it as much waiting as there is.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

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

/// Returns what a job makes of every item, in their order. While jobs wait for others (see [`Waiting`]), further ones
/// are begun: no more work at a time than there are cores, and no more than [`THREADS_AT_MOST`] under way.
pub fn map_waiting<T: Send, R: Send>(items: Vec<T>, job: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if items.len() <= 1 {
        return items.into_iter().map(job).collect();
    }
    let results: Mutex<Vec<Option<R>>> = Mutex::new(items.iter().map(|_| None).collect());
    let desk = Arc::new(Desk::new(items.len()));
    let items = Mutex::new(items.into_iter().enumerate());
    let work = || {
        let _seat = Seat::take(&desk);
        loop {
            if !desk.begin() {
                break;
            }
            let Some((index, item)) = lock(&items).next() else { break };
            let result = job(item);
            lock(&results)[index] = Some(result);
        }
    };
    thread::scope(|scope| {
        while desk.needs_another() {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().flatten().collect()
}

/// How many jobs are under way at most: enough to hide how long a server takes, and no strain for one.
pub const THREADS_AT_MOST: usize = 64;

/// Says that this thread waits for others, until it is dropped: another one may work meanwhile.
pub struct Waiting(());

impl Waiting {
    /// Begins to wait. A thread that waits for several things waits once.
    #[must_use]
    pub fn new() -> Self {
        if PENDING.replace(PENDING.get() + 1) == 0 {
            with_desk(Desk::pause);
        }
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if PENDING.replace(PENDING.get() - 1) == 1 {
            with_desk(Desk::resume);
        }
    }
}

thread_local! {
    static DESK: RefCell<Option<Arc<Desk>>> = const { RefCell::new(None) };
    static PENDING: Cell<usize> = const { Cell::new(0) };
}

fn with_desk(act: fn(&Desk)) {
    let desk = DESK.with_borrow(Clone::clone);
    if let Some(desk) = desk {
        act(&desk);
    }
}

/// Who of the threads of a run works and who waits.
struct Desk {
    cores: usize,
    state: Mutex<DeskState>,
    changed: Condvar,
}

struct DeskState {
    /// Items that nobody has begun with.
    left: usize,
    threads: usize,
    working: usize,
    /// Threads that have what they waited for, and no core yet.
    returning: usize,
}

impl Desk {
    fn new(left: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let state = DeskState { left, threads: 0, working: 0, returning: 0 };
        Self { cores, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Waits until there is a core without work. Returns `false` once nothing is left to begin.
    fn needs_another(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.left == 0 {
                return false;
            }
            if state.working < self.cores && state.returning == 0 && state.threads < THREADS_AT_MOST {
                state.working += 1;
                state.threads += 1;
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes note that a thread begins with an item. Returns `false` if nothing is left to begin.
    fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        let is_left = state.left > 0;
        state.left = state.left.saturating_sub(1);
        is_left
    }

    fn pause(&self) {
        lock(&self.state).working -= 1;
        self.changed.notify_all();
    }

    fn resume(&self) {
        let mut state = lock(&self.state);
        state.returning += 1;
        while state.working >= self.cores {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.returning -= 1;
        state.working += 1;
    }
}

/// The place of a thread at the desk.
struct Seat<'a>(&'a Desk);

impl<'a> Seat<'a> {
    fn take(desk: &'a Arc<Desk>) -> Self {
        DESK.set(Some(Arc::clone(desk)));
        Self(desk)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.working -= 1;
        state.threads -= 1;
        if thread::panicking() {
            // Nobody begins anything more: the panic goes on where the results are waited for.
            state.left = 0;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(map_waiting(items.clone(), |item| item), items);
        assert_eq!(map_waiting(vec![1], |item| item + 1), [2]);
    }

    #[test]
    fn many_wait_together() {
        // Passes only if all are under way at once.
        let barrier = Barrier::new(THREADS_AT_MOST);
        let waited = map_waiting((0..THREADS_AT_MOST).collect(), |_| {
            let _waiting = Waiting::new();
            barrier.wait();
        });
        assert_eq!(waited.len(), THREADS_AT_MOST);
    }

    #[test]
    fn no_more_work_than_there_are_cores() {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let cores = cores.min(THREADS_AT_MOST);
        // So many have what they waited for at the same moment, more than once.
        let many = cores * (THREADS_AT_MOST / cores).min(4);
        let (answered, at_work) = (Barrier::new(many), Barrier::new(cores));
        let (working, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        map_waiting((0..many * 8).collect(), |_: usize| {
            {
                let _waiting = Waiting::new();
                let _twice = Waiting::new();
                answered.wait();
            }
            most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // No fewer, either: all cores meet here.
            at_work.wait();
            working.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(most.into_inner(), cores);
    }

    #[test]
    fn after_a_panic_nothing_more_is_begun() {
        let desk = Arc::new(Desk::new(3));
        assert!(desk.needs_another());
        let of_thread = Arc::clone(&desk);
        let thread = thread::spawn(move || {
            let _seat = Seat::take(&of_thread);
            assert!(!of_thread.begin(), "the item fails");
        });
        assert!(thread.join().is_err());
        assert!(!desk.begin() && !desk.begin() && !desk.needs_another());
    }

    #[test]
    fn who_works_alone_may_wait() {
        drop(Waiting::new());
    }
}
