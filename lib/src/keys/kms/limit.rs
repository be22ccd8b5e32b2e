//! How long an answer may be.

use aws_sdk_kms::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::BoxError;

/// Refuses an answer that says that it is longer than any answer of KMS.
#[derive(Debug)]
pub struct AnswerLimit;

/// The reason that an answer is refused for.
#[derive(Debug, thiserror::Error)]
#[error("the answer has more than {} KiB", MAX_ANSWER >> 10)]
pub struct TooLong;

impl Intercept for AnswerLimit {
    fn name(&self) -> &'static str {
        "AnswerLimit"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let length = context.response().headers().get("content-length");
        let length = length.and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > MAX_ANSWER) { Err(TooLong.into()) } else { Ok(()) }
    }
}

/// As of other servers: far more than any wrapped key takes.
const MAX_ANSWER: u64 = 1 << 20;
