//! Shamir's secret sharing as SOPS uses it.
