//! What the fuzz targets run: the same bodies as `tests/hostile.rs` and `tests/checks.rs`.

#[path = "../../tests/checks/target.rs"]
pub mod check;
#[path = "../../tests/envelope.rs"]
pub mod envelope;
#[path = "../../tests/hostile/targets.rs"]
pub mod targets;
