//! Numbers of JSON as Kubernetes' tools print them.

use serde_json::Number;

use crate::format::go_general;

/// Returns a number as go-yaml v2 writes it, which reads it from JSON: whole numbers become integers there.
pub(super) fn number_text(number: &Number) -> String {
    let text = json_number_text(number);
    let signed = text.parse::<i64>().map(|value| value.to_string());
    let exact = signed.or_else(|_| text.parse::<u64>().map(|value| value.to_string()));
    exact.unwrap_or_else(|_| go_general(number.as_f64().unwrap_or(f64::NAN), -4, 6))
}

/// Returns a number as Go writes it into JSON.
pub(super) fn json_number_text(number: &Number) -> String {
    let text = exact(number).unwrap_or_else(|| go_general(number.as_f64().unwrap_or(f64::NAN), -6, 21));
    // Go takes a zero out of exponents that it puts in.
    text.replace("e-0", "e-").replace("e+0", "e+")
}

fn exact(number: &Number) -> Option<String> {
    let signed = number.as_i64().map(|value| value.to_string());
    signed.or_else(|| number.as_u64().map(|value| value.to_string()))
}
