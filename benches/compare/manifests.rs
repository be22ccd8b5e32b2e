//! Secrets as people write them, the same in each run.

/// A Secret with some values.
pub fn manifest(seed: usize, values: usize) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {}\n  namespace: {}\ntype: Opaque\nstringData:\n",
        name(seed),
        namespace(seed)
    );
    for index in 0..values {
        text += &format!("  # key {index}\n  KEY_{index}: \"{}\"\n", value(seed * values + index));
    }
    text
}

pub fn name(seed: usize) -> String {
    format!("app-{seed}")
}

pub fn namespace(seed: usize) -> String {
    format!("team-{}", seed % 7)
}

/// A value of 32 digits.
pub fn value(seed: usize) -> String {
    let number = mixed(seed);
    format!("{number:016x}{:016x}", mixed(number as usize))
}

/// A number that looks drawn.
pub fn mixed(seed: usize) -> u64 {
    let mut number = (seed as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (number ^ (number >> 31)) | 0xA000_0000_0000_0000
}
