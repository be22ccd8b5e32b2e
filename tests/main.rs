//! Flows across the crates.
