//! The signature that Huawei Cloud demands of requests: SDK-HMAC-SHA256 of its API gateway.
//!
//! There is no crate of the vendor. What is signed is a text of the method, path, query, some headers and the hash of
//! the body; the key is the secret access key.

use hmac::{Hmac, Mac};
use reqwest::Url;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::credentials::Credentials;

/// Returns the headers of a request that sign it: `extra` ones are signed as well.
pub(super) fn headers(
    method: &str,
    url: &Url,
    extra: &[(&'static str, &str)],
    body: &[u8],
    credentials: &Credentials,
    now: OffsetDateTime,
) -> Vec<(&'static str, Zeroizing<String>)> {
    let date = date(now);
    let mut headers: Vec<_> =
        extra.iter().map(|&(name, value)| (name, Zeroizing::new(value.to_owned()))).collect();
    headers.push(("x-sdk-date", Zeroizing::new(date.clone())));
    if let Some(token) = &credentials.security_token {
        headers.push(("x-security-token", token.clone()));
    }
    let signature = {
        let mut signed = headers.clone();
        signed.push(("host", Zeroizing::new(authority(url))));
        signed.sort_unstable_by_key(|(name, _)| *name);
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let request = canonical_request(method, url, &signed, &names, body);
        let text = format!("{ALGORITHM}\n{date}\n{}", hex(&Sha256::digest(request.as_bytes())));
        let mac = Hmac::<Sha256>::new_from_slice(credentials.secret_key.as_bytes());
        let mac = mac.expect("HMAC takes keys of every length").chain_update(text).finalize().into_bytes();
        format!(
            "{ALGORITHM} Access={}, SignedHeaders={names}, Signature={}",
            credentials.access_key,
            hex(&mac)
        )
    };
    headers.push(("authorization", Zeroizing::new(signature)));
    headers
}

fn canonical_request(
    method: &str,
    url: &Url,
    headers: &[(&str, Zeroizing<String>)],
    names: &str,
    body: &[u8],
) -> Zeroizing<String> {
    let path = url.path().split('/').map(escape).collect::<Vec<_>>().join("/");
    let slash = if path.ends_with('/') { "" } else { "/" };
    let mut query: Vec<_> =
        url.query_pairs().map(|(name, value)| format!("{}={}", escape(&name), escape(&value))).collect();
    query.sort_unstable();
    let query = query.join("&");
    let body = hex(&Sha256::digest(body));
    let length = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    let others =
        [method, &path, slash, &query, names, &body].iter().map(|part| part.len() + 1).sum::<usize>();
    // As long as it gets, so that the token is not left behind where the text was before it grew.
    let mut request = Zeroizing::new(String::with_capacity(length + others));
    let parts = [method, "\n", &path, slash, "\n", &query, "\n"];
    parts.iter().for_each(|part| request.push_str(part));
    for (name, value) in headers {
        [name, ":", value.trim(), "\n"].iter().for_each(|part| request.push_str(part));
    }
    ["\n", names, "\n", &body].iter().for_each(|part| request.push_str(part));
    request
}

/// Returns the host as the `Host` header has it.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn date(now: OffsetDateTime) -> String {
    let now = now.to_offset(time::UtcOffset::UTC);
    let (hour, minute, second) = now.to_hms();
    format!("{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z", now.year(), u8::from(now.month()), now.day())
}

fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    escaped.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The headers that are not shown where requests are.
pub(super) const SENSITIVE: [&str; 2] = ["authorization", "x-security-token"];

const ALGORITHM: &str = "SDK-HMAC-SHA256";

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(
        method: &str,
        url: &str,
        extra: &[(&'static str, &str)],
        body: &[u8],
        token: Option<&str>,
    ) -> String {
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret_key: Zeroizing::new("secret/key".to_owned()),
            security_token: token.map(|token| Zeroizing::new(token.to_owned())),
            project: None,
            iam_endpoint: None,
        };
        let now = OffsetDateTime::from_unix_timestamp(1_767_323_045).expect("a time");
        let url = Url::parse(url).expect("a URL");
        let headers = headers(method, &url, extra, body, &credentials, now);
        assert!(
            headers.contains(&("x-sdk-date", Zeroizing::new("20260102T030405Z".to_owned()))),
            "{headers:?}"
        );
        headers.into_iter().last().expect("a signature").1.to_string()
    }

    // Both were made by version 0.1.207 of the vendor's SDK for Go.
    #[test]
    fn signatures_are_those_of_the_vendor() {
        let of_request = signature(
            "POST",
            "https://kms.tr-west-1.myhuaweicloud.com/v1.0/0a1b2c/kms/encrypt-data",
            &[("x-project-id", "0a1b2c")],
            b"{\"key_id\":\"abc\"}\n",
            Some("token+/="),
        );
        assert_eq!(
            of_request,
            "SDK-HMAC-SHA256 Access=AKIDEXAMPLE, SignedHeaders=host;x-project-id;x-sdk-date;x-security-token, \
             Signature=1e6b2df076c1dda1f1f629450a8ec24eb72a17cda11de26861bcc09ef7204393"
        );
        let of_query =
            signature("GET", "http://127.0.0.1:8080/v3/projects?name=tr%20west%2F1", &[], b"", None);
        assert_eq!(
            of_query,
            "SDK-HMAC-SHA256 Access=AKIDEXAMPLE, SignedHeaders=host;x-sdk-date, \
             Signature=ae70d253edf849e58e7f7bf7597ca0b76464bda723aba3d215fae9a88966cac6"
        );
    }
}
