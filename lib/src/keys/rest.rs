//! What the key services of clouds have in common: addresses, JSON that holds secrets, and failures with the name of
//! the server.

use std::time::Duration;

use serde_json::Value as Json;
use zeroize::Zeroizing;

use super::http::Answer;
use super::said;
use super::service::{Cause, ServiceError};

/// Returns an object of texts as JSON.
pub fn object(fields: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    let length = fields.iter().map(|(name, text)| name.len() + text.len() + 8).sum::<usize>();
    let mut json = Zeroizing::new(Vec::with_capacity(2 * length + 2));
    for (index, (name, text)) in fields.iter().enumerate() {
        json.push(if index == 0 { b'{' } else { b',' });
        push_text(&mut json, name);
        json.push(b':');
        push_text(&mut json, text);
    }
    json.push(b'}');
    json
}

fn push_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a vector takes what is written");
}

/// Takes a text out of an answer; empty if there is none.
pub fn take_text(answer: &mut Json, name: &str) -> Zeroizing<String> {
    match answer.get_mut(name).map(Json::take) {
        Some(Json::String(text)) => Zeroizing::new(text),
        _ => Zeroizing::default(),
    }
}

/// Returns the text at a pointer (RFC 6901) in an answer, as people may see it; empty if there is none.
pub fn said_at(answer: &Json, pointer: &str) -> String {
    answer.pointer(pointer).and_then(Json::as_str).map(said).unwrap_or_default()
}

/// Returns why there is no answer, with the name of the server.
pub fn no_answer(server: &str, error: ServiceError) -> ServiceError {
    let named = ServiceError { detail: format!("{server}: {}", error.detail), ..error };
    match named.cause {
        Cause::Unreachable => named.with_remedy(format!(
            "see whether {server} can be reached from here, through HTTPS_PROXY if there must be a proxy"
        )),
        Cause::Timeout => named.with_remedy("try again, or allow more time with `--key-timeout`"),
        _ => named,
    }
}

/// Returns the error for an answer that is not what the protocol of a server says.
pub fn strange_answer(server: &str, what: &str) -> ServiceError {
    ServiceError::new(Cause::Answer, format!("{server}: {what}"))
        .with_remedy(format!("see whether something else answers in place of {server}: a proxy, say"))
}

/// Returns the error for a server that has too much to do, or is broken, if that is what it says.
pub fn overloaded(server: &str, answer: &Answer, what: &str) -> Option<ServiceError> {
    let wait = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = wait.map(Duration::from_secs).map_or("a little".to_owned(), |wait| format!("{wait:?}"));
    match answer.status {
        429 => Some(
            ServiceError::new(Cause::Other, format!("{server}: too many requests: {what}"))
                .with_remedy(format!("wait {wait}, and run this again")),
        ),
        500.. => Some(
            ServiceError::new(Cause::Other, format!("{server}: it failed with {}: {what}", answer.status))
                .with_remedy(format!("wait {wait}, and run this again")),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_escaped() {
        let body = object(&[("a", "\"\n"), ("b", "ä")]);
        assert_eq!(serde_json::from_slice::<Json>(&body).expect("JSON"), json!({"a": "\"\n", "b": "ä"}));
    }

    #[test]
    fn texts_are_taken_out() {
        let mut answer = json!({"a": "secret", "b": 1});
        assert_eq!(take_text(&mut answer, "a").as_str(), "secret");
        assert_eq!(answer, json!({"a": null, "b": 1}));
        assert_eq!(take_text(&mut answer, "b").as_str(), "");
        assert_eq!(take_text(&mut answer, "c").as_str(), "");
    }
}
