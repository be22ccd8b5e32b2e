//! Starts the in-cluster decryptor.

use std::process::ExitCode;

/// Wipes every block of memory that is freed, plaintext in buffers of other crates included.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    selkie_decryptor::main()
}
