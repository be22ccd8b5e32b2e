//! What the fuzz targets run: the same bodies as `tests/hostile.rs`.

#[path = "../../tests/envelope.rs"]
pub mod envelope;
#[path = "../../tests/hostile/targets.rs"]
pub mod targets;
