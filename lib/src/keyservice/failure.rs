//! Failures as gRPC tells them: a code and a text.

use std::error::Error;
use std::io;

use tonic::{Code, Status, TimeoutExpired};

use super::Address;
use crate::keys::{Cause, KeyError, ServiceError, said};

/// Returns what a client is told of a failure.
pub(super) fn status_of(error: &KeyError) -> Status {
    let code = match error {
        KeyError::NoIdentity(_) => Code::NotFound,
        KeyError::Malformed(_) | KeyError::Parse(_) => Code::InvalidArgument,
        KeyError::Service(error) => match error.cause {
            Cause::Ciphertext => Code::InvalidArgument,
            Cause::Credentials => Code::Unauthenticated,
            Cause::Denied | Cause::Untrusted => Code::PermissionDenied,
            Cause::Key => Code::NotFound,
            Cause::Timeout => Code::DeadlineExceeded,
            Cause::Unreachable => Code::Unavailable,
            Cause::Answer | Cause::Other => Code::Unknown,
        },
        KeyError::IdentityFailed(_) => Code::Unknown,
    };
    Status::new(code, said(&error.to_string()))
}

/// Returns why a key service did not do what it was asked for.
pub(super) fn error_of(address: &Address, status: &Status) -> ServiceError {
    let causes = || std::iter::successors(status.source(), |&error: &&(dyn Error + 'static)| error.source());
    if let Some(error) = causes().find_map(|error| error.downcast_ref::<ServiceError>()) {
        return error.clone();
    }
    let timed_out = causes().any(|error| error.is::<TimeoutExpired>());
    let broke_off = causes().find_map(|error| error.downcast_ref::<io::Error>());
    let (cause, what) = if timed_out {
        (Cause::Timeout, "did not answer in time".to_owned())
    } else if let Some(error) = broke_off {
        (Cause::Unreachable, format!("broke off the connection: {}", said(&error.to_string())))
    } else if status.source().is_some() {
        (Cause::Answer, "does not speak gRPC, or not any more".to_owned())
    } else {
        told(status)
    };
    let error = ServiceError::new(cause, format!("the key service {address} {what}"));
    match remedy(cause) {
        Some(remedy) => error.with_remedy(remedy),
        None => error,
    }
}

/// Returns what a server says.
fn told(status: &Status) -> (Cause, String) {
    let (cause, what) = match status.code() {
        Code::DeadlineExceeded => (Cause::Timeout, "did not answer in time"),
        Code::DataLoss | Code::InvalidArgument => (Cause::Ciphertext, "cannot use what is wrapped"),
        Code::Internal | Code::OutOfRange | Code::ResourceExhausted => (Cause::Answer, "did not answer well"),
        Code::NotFound => (Cause::Key, "cannot use the key"),
        Code::PermissionDenied => (Cause::Denied, "refused"),
        Code::Unauthenticated => (Cause::Credentials, "has no credentials for the key"),
        Code::Unavailable => (Cause::Unreachable, "is not available"),
        Code::Unimplemented => (Cause::Key, "is none, or does not know this operation"),
        _ => (Cause::Other, "failed"),
    };
    match said(status.message()) {
        text if text.is_empty() => (cause, what.to_owned()),
        text => (cause, format!("{what}: {text}")),
    }
}

fn remedy(cause: Cause) -> Option<&'static str> {
    match cause {
        Cause::Answer => Some("see what listens at the address"),
        Cause::Credentials | Cause::Key => {
            Some("give the key service identities or credentials for the key, or name another one")
        }
        Cause::Timeout => Some("try again, or allow more time with `--key-timeout`"),
        Cause::Unreachable => Some("see whether the key service still runs, and try again"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::IdentityReport;

    fn error(code: Code, text: &str) -> ServiceError {
        error_of(&"tcp://h:1".parse().expect("an address"), &Status::new(code, text))
    }

    #[test]
    fn codes_are_causes() {
        for (code, cause) in [
            (Code::Unavailable, Cause::Unreachable),
            (Code::PermissionDenied, Cause::Denied),
            (Code::DeadlineExceeded, Cause::Timeout),
            (Code::NotFound, Cause::Key),
            (Code::Unimplemented, Cause::Key),
            (Code::OutOfRange, Cause::Answer),
            (Code::ResourceExhausted, Cause::Answer),
            (Code::Internal, Cause::Answer),
            (Code::InvalidArgument, Cause::Ciphertext),
            (Code::Unauthenticated, Cause::Credentials),
            (Code::Unknown, Cause::Other),
        ] {
            assert_eq!(error(code, "").cause, cause, "{code:?}");
        }
    }

    #[test]
    fn causes_come_back_as_they_were() {
        for cause in [
            Cause::Credentials,
            Cause::Denied,
            Cause::Key,
            Cause::Ciphertext,
            Cause::Timeout,
            Cause::Unreachable,
            Cause::Other,
        ] {
            let status = status_of(&ServiceError::new(cause, "why").into());
            assert_eq!(error_of(&"tcp://h:1".parse().expect("an address"), &status).cause, cause);
        }
        let status = status_of(&KeyError::NoIdentity(Box::<IdentityReport>::default()));
        assert_eq!(error_of(&"tcp://h:1".parse().expect("an address"), &status).cause, Cause::Key);
    }

    #[test]
    fn texts_of_others_are_short_and_tame() {
        let told = error(Code::Unknown, "a\nb\t\u{1b}[31mred").detail;
        assert_eq!(told, "the key service tcp://h:1 failed: a b [31mred");
        let long = error(Code::Unknown, &"é".repeat(5000)).detail;
        assert!(long.chars().count() < 450 && long.ends_with('…'), "{long}");
    }
}
