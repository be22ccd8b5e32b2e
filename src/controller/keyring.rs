//! The sealing keys of the cluster: found, watched, made, and renewed.
