//! What answers of Vault mean that are no success.

use super::address::cleaned;
use super::settings::LOG_IN;
use crate::keys::http::Answer;
use crate::keys::service::{Cause, ServiceError};
use crate::keys::shell::word;

/// What a request was for.
#[derive(Clone, Copy)]
pub(super) struct Purpose<'a> {
    /// The server's name.
    pub server: &'a str,
    /// The path below the root of the interface.
    pub path: &'a str,
    /// What a policy must permit, as it says it.
    pub capability: &'static str,
}

/// What is known of the token that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The server knows it.
    Known,
    /// There is none.
    Missing,
    /// The server does not know it, or no longer.
    Refused,
    /// It may be one or the other.
    Unclear,
}

/// Returns what Vault says went wrong, in short.
pub(super) fn said(answer: &Answer) -> String {
    let errors = answer.json().ok().and_then(|json| {
        let errors = json.get("errors")?.as_array()?.iter().filter_map(|error| error.as_str());
        Some(errors.collect::<Vec<_>>().join("; "))
    });
    let text = errors.unwrap_or_default();
    // Several errors come as a list, with how many there are.
    let text = match text.split_once("occurred:") {
        Some((count, list)) if count.ends_with("error ") || count.ends_with("errors ") => {
            list.replace('*', "")
        }
        _ => text,
    };
    cleaned(&text)
}

/// Returns whether an answer may be another one if the request is sent again.
pub(super) fn may_pass(answer: &Answer) -> bool {
    match answer.status {
        412 | 429 | 502..=504 => true,
        // Some servers answer so to a ciphertext that is none.
        500 => !is_of_ciphertext(&said(answer)),
        _ => false,
    }
}

/// Returns what an answer means that is no success.
pub(super) fn of_answer(answer: &Answer, purpose: Purpose<'_>, token: Token) -> ServiceError {
    let text = said(answer);
    let told = if text.is_empty() { String::new() } else { format!(": {text}") };
    let Purpose { server, path, capability } = purpose;
    let error = |cause, what: &str| ServiceError::new(cause, format!("{server} {what}{told}"));
    let path = cleaned(path);
    match answer.status {
        400 | 500 if text.contains("key not found") => error(Cause::Key, "has no such key").with_remedy(
            format!("compare the key's name with `vault list {}/keys`", word(engine(&path), "ENGINE")),
        ),
        400 | 500 if is_of_ciphertext(&text) => error(
            Cause::Ciphertext,
            "cannot decrypt what the file holds",
        )
        .with_remedy(
            "the file was changed, or the key is another one than it was encrypted with: look for an earlier \
                 version of either",
        ),
        400 | 500 if text.contains("not supported for key type") => error(Cause::Key, "cannot do this")
            .with_remedy("use a key of a type that encrypts, such as `vault write -f transit/keys/NAME`"),
        400 | 403 if token == Token::Missing || text.contains("missing client token") => {
            error(Cause::Credentials, "wants a token, and there is none").with_remedy(LOG_IN)
        }
        401 | 403 if token == Token::Refused => {
            error(Cause::Credentials, "does not take the token: it is not valid, or has expired")
                .with_remedy(format!("see `vault token lookup`; {LOG_IN}"))
        }
        401 | 403 => {
            let doubt = if token == Token::Known {
                ""
            } else {
                "see `vault token lookup` whether the token is valid; "
            };
            error(Cause::Denied, &format!("does not permit this token {path}")).with_remedy(format!(
                "{doubt}a policy of the token must say `path \"{}\" {{ capabilities = [{capability}] }}`",
                word(&path, "PATH")
            ))
        }
        404 => error(Cause::Key, &format!("has nothing at {path}")).with_remedy(
            "compare the path with `vault secrets list`, and the namespace with VAULT_NAMESPACE",
        ),
        429 | 472 | 473 | 502..=504 => {
            error(Cause::Unreachable, &format!("is not ready (status {})", answer.status))
                .with_remedy("see `vault status`, or try again")
        }
        status @ (300..=399) => {
            error(Cause::Answer, &format!("redirects the request too often (status {status})"))
        }
        status => error(Cause::Other, &format!("answered with status {status}")),
    }
}

/// Returns the failure to get an answer, with the server's name.
pub(super) fn of_request(error: ServiceError, server: &str) -> ServiceError {
    let detail = format!("{server}: {}", cleaned(&error.detail));
    let named = ServiceError { detail, ..error };
    if named.remedy.is_some() {
        return named;
    }
    if named.detail.contains("certificate") {
        return named.with_remedy(
            "name the authority of the server's certificate with VAULT_CACERT, and the host in it with \
             VAULT_TLS_SERVER_NAME",
        );
    }
    match named.cause {
        Cause::Unreachable => named.with_remedy("see `vault status` whether the server can be reached"),
        _ => named,
    }
}

/// Returns the failure to make sense of a success.
pub(super) fn of_content(server: &str, what: &str) -> ServiceError {
    ServiceError::new(Cause::Answer, format!("the answer of {server} {what}"))
        .with_remedy("see whether a Vault or OpenBao server, and nothing else, is at the address")
}

fn is_of_ciphertext(text: &str) -> bool {
    ["ciphertext", "message authentication failed", "nonce"].iter().any(|part| text.contains(part))
}

fn engine(path: &str) -> &str {
    path.rsplitn(3, '/').nth(2).unwrap_or("transit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: reqwest::header::HeaderMap::new(), body: body.as_bytes().into() }
    }

    fn error(status: u16, text: &str, token: Token) -> ServiceError {
        let purpose = Purpose { server: "https://v", path: "a/b/decrypt/k", capability: r#""update""# };
        of_answer(&answer(status, &serde_json::json!({ "errors": [text] }).to_string()), purpose, token)
    }

    #[test]
    fn each_refusal_has_its_cause() {
        for (status, text, token, cause) in [
            (400, "encryption key not found", Token::Known, Cause::Key),
            (400, "invalid ciphertext: no prefix", Token::Known, Cause::Ciphertext),
            (400, "cipher: message authentication failed", Token::Known, Cause::Ciphertext),
            (500, "invalid ciphertext: unable to decrypt", Token::Known, Cause::Ciphertext),
            (400, "message encryption not supported for key type ed25519", Token::Known, Cause::Key),
            (400, "missing client token", Token::Known, Cause::Credentials),
            (403, "permission denied", Token::Missing, Cause::Credentials),
            (403, "permission denied", Token::Refused, Cause::Credentials),
            (403, "1 error occurred:\n\t* permission denied\n\n", Token::Known, Cause::Denied),
            (403, "permission denied", Token::Unclear, Cause::Denied),
            (404, "no handler for route \"x\"", Token::Known, Cause::Key),
            (503, "Vault is sealed", Token::Known, Cause::Unreachable),
            (473, "", Token::Known, Cause::Unreachable),
            (307, "", Token::Known, Cause::Answer),
            (418, "", Token::Known, Cause::Other),
        ] {
            let error = error(status, text, token);
            assert_eq!(error.cause, cause, "{status} {text}: {error}");
            assert!(error.detail.starts_with("https://v "), "{error}");
        }
    }

    #[test]
    fn a_refusal_says_what_policy_is_needed() {
        let error = error(403, "1 error occurred:\n\t* permission denied\n\n", Token::Known);
        assert_eq!(error.detail, "https://v does not permit this token a/b/decrypt/k: permission denied");
        assert_eq!(
            error.remedy.as_deref(),
            Some(r#"a policy of the token must say `path "a/b/decrypt/k" { capabilities = ["update"] }`"#)
        );
    }

    #[test]
    fn what_the_file_says_is_no_part_of_a_command() {
        for (status, text) in [(400, "encryption key not found"), (403, "permission denied")] {
            let hostile = "a`rm -r ~`/\"x/decrypt/k";
            let purpose = Purpose { server: "https://v", path: hostile, capability: r#""update""# };
            let body = serde_json::json!({ "errors": [text] }).to_string();
            let remedy = of_answer(&answer(status, &body), purpose, Token::Known).remedy.expect("a remedy");
            assert!(!remedy.contains("rm -r") && !remedy.contains("x/"), "{remedy}");
        }
    }

    #[test]
    fn what_a_server_says_is_short_and_plain() {
        let text =
            said(&answer(400, &serde_json::json!({"errors": ["\u{1b}]0;x\u{7}y".repeat(999)]}).to_string()));
        assert!(text.chars().count() <= 301 && !text.contains('\u{1b}'), "{text}");
        assert_eq!(said(&answer(500, "<html>")), "");
        assert_eq!(said(&answer(500, r#"{"errors": "x"}"#)), "");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (status, text, expected) in [
            (429, "", true),
            (503, "Vault is sealed", true),
            (500, "internal error", true),
            (500, "invalid ciphertext", false),
            (501, "", false),
            (400, "", false),
            (403, "", false),
        ] {
            let body = serde_json::json!({ "errors": [text] }).to_string();
            assert_eq!(may_pass(&answer(status, &body)), expected, "{status} {text}");
        }
    }
}
