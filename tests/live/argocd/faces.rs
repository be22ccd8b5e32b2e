//! Our plugin in Argo CD: as a server on the socket of a plugin, and as a command of the plugin server that Argo CD brings.
//!
//! What it decrypts, or does not, gets to the cluster and goes back as the repository says, and is looked for in Redis, in
//! the logs of everything that runs, and in what the API tells.

mod builders;
mod many;
mod modes;
mod refusals;
mod shop;

use libtest_mimic::Trial;

pub fn tests() -> Vec<Trial> {
    [modes::tests(), builders::tests(), refusals::tests(), many::tests()].into_iter().flatten().collect()
}
