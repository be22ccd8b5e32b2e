//! Starts `kubectl seal`.

fn main() {}
