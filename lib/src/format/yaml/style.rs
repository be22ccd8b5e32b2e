//! How a scalar is written in YAML.
