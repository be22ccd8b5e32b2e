//! Buckets of Amazon S3, and of servers that speak its language.
//!
//! Credentials, region, endpoint and proxies come from where the AWS SDK looks for them: variables, profiles, roles.

use std::error::Error;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::ByteStream;
use selkie::keys::{Cause, KeySetup, ServiceError, said};
use selkie::secret::SecretBytes;
use selkie::sops::config::Target;
use tokio::sync::OnceCell;

use super::told::host_of;
use super::{Arrival, Destination, PutFuture, Takes};

/// Returns the bucket that a target names, if it is one.
pub(super) fn connect(
    target: &Target,
    setup: &KeySetup,
) -> Option<Result<Arc<dyn Destination>, ServiceError>> {
    let Target::S3 { bucket, prefix } = target else { return None };
    let (bucket, prefix) = (bucket.clone(), prefix.clone());
    Some(Ok(Arc::new(S3 { bucket, prefix, setup: setup.clone(), client: Arc::default() })))
}

/// A bucket.
struct S3 {
    bucket: String,
    prefix: String,
    setup: KeySetup,
    client: Arc<OnceCell<Client>>,
}

impl Destination for S3 {
    fn takes(&self) -> Takes {
        Takes::Document
    }

    fn address(&self, name: &str) -> String {
        format!("s3://{}/{}{name}", self.bucket, self.prefix)
    }

    fn put<'a>(&'a self, name: &'a str, content: &'a SecretBytes) -> PutFuture<'a> {
        let (client, bucket) = (Arc::clone(&self.client), self.bucket.clone());
        let (key, body) = (format!("{}{name}", self.prefix), content.expose_secret().to_vec());
        let endpoint = endpoint(&self.setup);
        Box::pin(self.setup.remote.run(async move {
            let client = client.get_or_init(|| connected(endpoint.as_deref())).await;
            let request = client.put_object().bucket(&bucket).key(key).body(ByteStream::from(body));
            let sent = request.content_type(CONTENT_TYPE).send().await;
            match sent {
                Ok(_) => Ok(Arrival::Put),
                Err(error) => Err(failed(&error, &bucket, endpoint.as_deref()).into()),
            }
        }))
    }
}

async fn connected(endpoint: Option<&str>) -> Client {
    let settings = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let is_local = endpoint.is_some_and(is_local);
    Client::from_conf(Builder::from(&settings).force_path_style(is_local).build())
}

/// Returns the endpoint that the SDK is told to use, if a variable says so.
fn endpoint(setup: &KeySetup) -> Option<String> {
    setup.variable("AWS_ENDPOINT_URL_S3").or_else(|| setup.variable("AWS_ENDPOINT_URL"))
}

/// Returns whether an endpoint is `localhost`: no bucket has a name below that. The SDK knows as much of numbers.
fn is_local(endpoint: &str) -> bool {
    let host = endpoint.split("://").nth(1).unwrap_or_default();
    host.split([':', '/']).next() == Some("localhost")
}

fn failed(error: &SdkError<PutObjectError>, bucket: &str, endpoint: Option<&str>) -> ServiceError {
    match error {
        SdkError::TimeoutError(_) => ServiceError::new(Cause::Timeout, "there was no answer in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            ServiceError::new(Cause::Timeout, innermost(error))
        }
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            let (server, variable) = match endpoint {
                Some(endpoint) => (host_of(endpoint), "AWS_ENDPOINT_URL names"),
                None => ("S3".to_owned(), "AWS_REGION names"),
            };
            ServiceError::new(Cause::Unreachable, format!("{server}: {}", innermost(error)))
                .with_remedy(format!("see whether {variable} the right one, and whether it can be reached"))
        }
        SdkError::ResponseError(_) => ServiceError::new(Cause::Answer, innermost(error)),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            refused(status, error.code().unwrap_or_default(), error.message().unwrap_or_default(), bucket)
        }
        _ => not_sent(innermost(error)),
    }
}

/// Returns why the SDK sent nothing: it lacks credentials, or a region.
fn not_sent(why: String) -> ServiceError {
    if why.to_lowercase().contains("region") {
        return ServiceError::new(Cause::Other, why).with_remedy("set AWS_REGION to that of the bucket");
    }
    let lower = why.to_lowercase();
    if ["no credentials", "no providers"].iter().any(|words| lower.contains(words)) {
        return ServiceError::new(Cause::Credentials, "no AWS credentials were found").with_remedy(LOG_IN);
    }
    if lower.contains("credentials") {
        return ServiceError::new(Cause::Credentials, why).with_remedy(LOG_IN);
    }
    ServiceError::new(Cause::Other, why)
}

fn refused(status: u16, code: &str, message: &str, bucket: &str) -> ServiceError {
    let detail = match (code, message) {
        ("", "") => format!("S3 answered with status {status}"),
        ("", message) => said(message),
        (code, "") => said(code),
        (code, message) => said(&format!("{code}: {message}")),
    };
    match code {
        "ExpiredToken"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "SignatureDoesNotMatch"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed" => ServiceError::new(Cause::Credentials, detail).with_remedy(LOG_IN),
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => ServiceError::new(Cause::Denied, detail)
            .with_remedy(format!("ask for the permission s3:PutObject on the bucket {bucket}")),
        "NoSuchBucket" => ServiceError::new(Cause::Key, detail)
            .with_remedy("make the bucket, or correct s3_bucket in the destination rule"),
        "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException"
        | "PermanentRedirect"
        | "TemporaryRedirect" => {
            ServiceError::new(Cause::Key, detail).with_remedy("set AWS_REGION to that of the bucket")
        }
        _ if status == 403 => ServiceError::new(Cause::Denied, detail)
            .with_remedy(format!("ask for the permission s3:PutObject on the bucket {bucket}")),
        _ => ServiceError::new(Cause::Other, detail),
    }
}

/// Returns the innermost cause, which is the one that tells something.
fn innermost(error: &SdkError<PutObjectError>) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    said(&cause.to_string())
}

const LOG_IN: &str = "log in, such as with `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// As sops says.
const CONTENT_TYPE: &str = "application/octet-stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_cause_and_remedy() {
        for (status, code, cause, remedy) in [
            (403, "AccessDenied", Cause::Denied, "s3:PutObject on the bucket b"),
            (403, "SomethingElse", Cause::Denied, "s3:PutObject"),
            (400, "ExpiredToken", Cause::Credentials, "log in"),
            (403, "InvalidAccessKeyId", Cause::Credentials, "log in"),
            (404, "NoSuchBucket", Cause::Key, "make the bucket"),
            (301, "PermanentRedirect", Cause::Key, "AWS_REGION"),
            (400, "AuthorizationHeaderMalformed", Cause::Key, "AWS_REGION"),
        ] {
            let error = refused(status, code, "why", "b");
            assert_eq!((error.cause, error.detail), (cause, format!("{code}: why")));
            assert!(error.remedy.is_some_and(|said| said.contains(remedy)), "{code}");
        }
        assert_eq!(refused(500, "", "", "b").detail, "S3 answered with status 500");
    }

    #[test]
    fn only_localhost_needs_buckets_in_the_path() {
        assert!(is_local("http://localhost:9000") && is_local("https://localhost/"));
        assert!(!is_local("https://localhost.example.com") && !is_local("http://127.0.0.1:1"));
        let named = |known: &'static [(&str, &str)]| {
            let find = move |name: &str| {
                known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            endpoint(&KeySetup::new(find))
        };
        assert_eq!(named(&[("AWS_ENDPOINT_URL", "a"), ("AWS_ENDPOINT_URL_S3", "b")]).as_deref(), Some("b"));
        assert_eq!(named(&[("AWS_ENDPOINT_URL", "a"), ("AWS_ENDPOINT_URL_S3", "")]).as_deref(), Some("a"));
        assert_eq!(named(&[]), None);
    }

    #[test]
    fn what_the_sdk_lacks_is_told_apart() {
        assert_eq!(not_sent("A region must be set when sending requests to S3.".into()).cause, Cause::Other);
        assert_eq!(not_sent("no providers in chain provided credentials".into()).cause, Cause::Credentials);
    }
}
