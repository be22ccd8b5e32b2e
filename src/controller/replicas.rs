//! Replicas: which of them works on what.
