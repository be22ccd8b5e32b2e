//! Starts `kubectl seal`.

#[cfg(target_env = "musl")]
use mimalloc::MiMalloc as Heap;
#[cfg(not(target_env = "musl"))]
use std::alloc::System as Heap;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes all memory that is given back, plaintext in buffers of other crates included. What musl has for memory lets one
/// thread in at a time.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Heap> = ZeroAlloc(Heap);

fn main() -> ExitCode {
    kubectl_seal::main()
}
