//! Starts the in-cluster decryptor.

fn main() {}
