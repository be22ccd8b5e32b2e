//! What runs the tasks of faces that serve.

use std::io;
use std::num::NonZero;
use std::thread;

use tokio::runtime::{Builder, Runtime};

/// Returns a runtime for this machine: a thread for each core that waits for nothing, and threads for work that
/// takes all of a core, or waits for files and names.
///
/// # Errors
/// If there cannot be threads.
pub fn new() -> io::Result<Runtime> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(cores)
        // More would not decrypt faster; the rest is for those that wait for files and names in the meantime.
        .max_blocking_threads(2 * cores + WAITING)
        .thread_name("selkie")
        .enable_all()
        .build()
}

/// How many threads may wait for files and names.
const WAITING: usize = 8;
