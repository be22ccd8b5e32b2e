//! Who somebody is and what they may do: TokenReviews, SelfSubjectAccessReviews, and requests that are forbidden.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::resource::Resource;

/// What the API server knows of users.
#[derive(Clone, Debug, Default)]
pub struct Reviews {
    /// The users of tokens, as `status.user` has them.
    pub tokens: BTreeMap<String, Json>,
    /// What may not be done: a verb and a plural.
    pub denied: Vec<(String, String)>,
}

impl Reviews {
    /// Returns whether objects of a resource are questions.
    pub fn knows(&self, resource: &Resource) -> bool {
        resource.kind.ends_with("Review")
    }

    /// Returns whether something may be done.
    pub fn allows(&self, verb: &str, plural: &str) -> bool {
        !self.denied.iter().any(|(denied, resource)| denied == verb && resource == plural)
    }

    /// Answers a question.
    pub fn answer(&self, resource: &Resource, mut review: Json) -> Json {
        review["status"] = if resource.kind == "TokenReview" {
            let user = review["spec"]["token"].as_str().and_then(|token| self.tokens.get(token));
            match user {
                Some(user) => {
                    json!({"authenticated": true, "user": user, "audiences": review["spec"]["audiences"]})
                }
                None => json!({"user": {}, "error": "[invalid bearer token]"}),
            }
        } else {
            let attributes = &review["spec"]["resourceAttributes"];
            let text = |field: &str| attributes[field].as_str().unwrap_or_default();
            json!({"allowed": self.allows(text("verb"), text("resource"))})
        };
        review
    }
}
