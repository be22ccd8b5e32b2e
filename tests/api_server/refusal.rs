//! What the API server says when it does not do what it was asked.

use serde_json::{Value as Json, json};

use super::resource::Resource;

/// A `Status` that tells of a failure, with its code.
#[derive(Debug)]
pub struct Refusal {
    /// The code of HTTP.
    pub code: u16,
    /// The `Status`.
    pub body: Json,
    /// After how many seconds to ask again.
    pub retry_after: Option<u32>,
}

/// A reason why an object is not valid.
#[derive(Debug)]
pub struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

impl Cause {
    /// A field that must not be changed or set.
    pub fn forbidden(field: &str, detail: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {detail}"))
    }

    /// A field whose value is wrong.
    pub fn invalid(field: &str, value: &Json, detail: &str) -> Self {
        Self::new("FieldValueInvalid", field, format!("Invalid value: {value}: {detail}"))
    }

    /// A field that has to be there.
    pub fn required(field: &str, detail: &str) -> Self {
        let colon = if detail.is_empty() { "" } else { ": " };
        Self::new("FieldValueRequired", field, format!("Required value{colon}{detail}"))
    }

    fn new(reason: &'static str, field: &str, message: String) -> Self {
        Self { reason, field: field.to_owned(), message }
    }
}

impl Refusal {
    /// There is one of that name already.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.qualified());
        Self::of(409, "AlreadyExists", message, details(resource.plural, resource.group, name))
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::of(400, "BadRequest", message.into(), Json::Null)
    }

    /// The object is not as the request takes it to be.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified());
        Self::of(409, "Conflict", message, details(resource.plural, resource.group, name))
    }

    /// The object is not the one that is to be deleted.
    pub fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let kind = resource.qualified_kind();
        let message = format!("Operation cannot be fulfilled on {kind} {name:?}: {why}");
        Self::of(409, "Conflict", message, details(resource.kind, resource.group, name))
    }

    /// The version of an update is not the newest one.
    pub fn outdated(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// Other managers own fields that were applied: pairs of the manager's description and a field.
    pub fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let count = conflicts.len();
        let mut text = format!("Apply failed with {count} conflict{}: ", if count == 1 { "" } else { "s" });
        let mut managers: Vec<&str> = Vec::new();
        for (manager, _) in conflicts {
            if !managers.contains(&manager.as_str()) {
                managers.push(manager);
            }
        }
        let of = |manager: &str| {
            let mut fields =
                conflicts.iter().filter(|(other, _)| other == manager).map(|(_, field)| field.as_str());
            match (fields.clone().count(), fields.next()) {
                (1, Some(field)) => format!("conflict with {manager}: {field}"),
                (_, first) => {
                    let list: String =
                        first.into_iter().chain(fields).map(|field| format!("\n- {field}")).collect();
                    format!("conflicts with {manager}:{list}")
                }
            }
        };
        text += &managers.iter().map(|manager| of(manager)).collect::<Vec<_>>().join("\n");
        let cause = |(manager, field): &(String, String)| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": field});
        let causes: Vec<Json> = conflicts.iter().map(cause).collect();
        Self::of(409, "Conflict", text, json!({"causes": causes}))
    }

    /// What was asked for is too long ago.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::of(410, "Expired", message.into(), Json::Null)
    }

    /// The caller may not do that.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.qualified());
        Self::of(403, "Forbidden", message, details(resource.plural, resource.group, name))
    }

    /// Something is wrong with the server.
    pub fn internal() -> Self {
        let message = "Internal error occurred: etcdserver: request timed out".to_owned();
        Self::of(
            500,
            "InternalError",
            message,
            json!({"causes": [{"message": "etcdserver: request timed out"}]}),
        )
    }

    /// The object breaks rules.
    pub fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<_> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let text = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{} {name:?} is invalid: {text}", resource.qualified_kind());
        let cause =
            |cause: &Cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field});
        let mut details = details(resource.kind, resource.group, name);
        details["causes"] = causes.iter().map(cause).collect();
        Self::of(422, "Invalid", message, details)
    }

    /// There is no such method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        Self::of(405, "MethodNotAllowed", message, json!({}))
    }

    /// There is no such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::of(404, "NotFound", message, details(resource.plural, resource.group, name))
    }

    /// There are too many requests.
    pub fn too_many_requests() -> Self {
        let message = "Too many requests, please try again later.".to_owned();
        let details = json!({"retryAfterSeconds": 1});
        Self { retry_after: Some(1), ..Self::of(429, "TooManyRequests", message, details) }
    }

    /// The server cannot work now.
    pub fn unavailable() -> Self {
        let message = "the server is currently unable to handle the request".to_owned();
        Self::of(503, "ServiceUnavailable", message, json!({}))
    }

    /// The patch cannot be applied.
    pub fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request".to_owned();
        Self::of(422, "Invalid", message, json!({}))
    }

    /// The server does not know the format of the body.
    pub fn unsupported(message: &str) -> Self {
        Self::of(415, "UnsupportedMediaType", message.to_owned(), json!({}))
    }

    fn of(code: u16, reason: &str, message: String, details: Json) -> Self {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code,
        });
        if !details.is_null() {
            body["details"] = details;
        }
        Self { code, body, retry_after: None }
    }
}

/// What a failure was about.
fn details(kind: &str, group: &str, name: &str) -> Json {
    match group {
        "" => json!({"name": name, "kind": kind}),
        group => json!({"name": name, "group": group, "kind": kind}),
    }
}
