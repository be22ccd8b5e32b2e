//! What a controller is asked about SealedSecrets, and what is taken of its answers.
//!
//! Invariants: no template of values is sent, as a controller fills it in and thereby tells of values; and of an
//! answer nothing but items is taken, if it is for the very object that was sent.

use serde_json::Value as Json;

use super::item::key_bits;
use super::sealed_secret::SealedSecret;
use super::secret::SecretError;
use super::{API_VERSION, KIND};

/// Why nothing is taken of the answer of a controller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// A field is not of its type.
    #[error("the answer is no SealedSecret: {0}")]
    Field(#[from] SecretError),
    /// An item of the answer is none.
    #[error("the answer has something else in place of the value {0:?}")]
    Item(
        /// The key of the item.
        String,
    ),
    /// The answer has other keys.
    #[error("the answer has values of other keys")]
    Keys,
    /// The answer is of another kind.
    #[error("the answer is not a SealedSecret")]
    Kind,
    /// The answer is for another object.
    #[error("the answer is for another name, namespace or scope")]
    Label,
}

/// Returns what to ask a controller with, whether it can open an object.
#[must_use]
pub fn verification_request(sealed: &SealedSecret) -> Json {
    let mut request = sealed.clone();
    request.template.data.clear();
    request.to_json()
}

/// Returns what to send to a controller for it to seal the items of an object again.
#[must_use]
pub fn rotation_request(sealed: &SealedSecret) -> Json {
    let mut request = sealed.clone();
    request.template.data.clear();
    // The answer is sealed for the scope that the metadata of the Secret asks for.
    request.metadata.strip();
    request.template.metadata = request.metadata.clone();
    request.to_json()
}

/// Returns an object with the items of the answer to its [`rotation_request`]. Of an object with the deprecated
/// field `data`, whose template is in what was encrypted, the answer takes its place.
///
/// # Errors
/// If the answer is not for that object, or has not its items.
pub fn rotated(sealed: &SealedSecret, answer: &Json) -> Result<SealedSecret, RotationError> {
    // Controllers do not say what kind their answer is of.
    let is_or_absent = |field: &str, wanted: &str| answer[field].is_null() || answer[field] == wanted;
    if !answer.is_object() || !is_or_absent("kind", KIND) || !is_or_absent("apiVersion", API_VERSION) {
        return Err(RotationError::Kind);
    }
    let answer = SealedSecret::from_any_json(answer)?;
    let place = |sealed: &SealedSecret| {
        let metadata = &sealed.metadata;
        (metadata.namespace().to_owned(), metadata.name().to_owned(), sealed.scope())
    };
    if place(&answer) != place(sealed) {
        return Err(RotationError::Label);
    }
    let has_other_keys = if sealed.deprecated_data.is_some() {
        answer.encrypted_data.is_empty() || answer.deprecated_data.is_some()
    } else {
        !answer.encrypted_data.keys().eq(sealed.encrypted_data.keys())
    };
    if has_other_keys {
        return Err(RotationError::Keys);
    }
    if let Some((key, _)) = answer.encrypted_data.iter().find(|(_, item)| key_bits(item).is_err()) {
        return Err(RotationError::Item(key.clone()));
    }
    if sealed.deprecated_data.is_some() {
        return Ok(answer);
    }
    Ok(SealedSecret { encrypted_data: answer.encrypted_data, ..sealed.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ITEM: &str = "AAFST1RBVEVEUk9UQVRFRFJPVEFU";

    fn sealed() -> SealedSecret {
        let object = json!({
            "apiVersion": API_VERSION, "kind": KIND,
            "metadata": {
                "name": "db", "namespace": "shop", "uid": "x",
                "annotations": {"sealedsecrets.bitnami.com/namespace-wide": "true"},
            },
            "spec": {
                "encryptedData": {"a": "AgA"},
                "template": {"metadata": {"labels": {"l": "m"}}, "data": {"a": "{{ .a }}", "t": "{{ .a }}"}},
            },
        });
        SealedSecret::from_json(&object).expect("a SealedSecret")
    }

    #[test]
    fn no_template_of_values_is_sent() {
        assert!(verification_request(&sealed())["spec"]["template"].get("data").is_none());
        let request = rotation_request(&sealed());
        assert!(request["spec"]["template"].get("data").is_none());
        assert_eq!(request["spec"]["template"]["metadata"], request["metadata"]);
        assert_eq!(request["metadata"]["annotations"]["sealedsecrets.bitnami.com/namespace-wide"], "true");
        assert!(request["metadata"].get("uid").is_none());
    }

    #[test]
    fn of_an_answer_the_items_alone_are_taken() {
        let mut answer = rotation_request(&sealed());
        answer["spec"]["encryptedData"]["a"] = ITEM.into();
        let mut expected = sealed();
        expected.encrypted_data.insert("a".to_owned(), ITEM.to_owned());
        assert_eq!(rotated(&sealed(), &answer), Ok(expected.clone()));
        answer.as_object_mut().expect("a map").remove("kind");
        assert_eq!(rotated(&sealed(), &answer), Ok(expected));
    }

    #[test]
    fn an_answer_for_something_else_is_refused() {
        let refused = |pointer: &str, value: Json| {
            let mut answer = rotation_request(&sealed());
            answer["spec"]["encryptedData"]["a"] = ITEM.into();
            *answer.pointer_mut(pointer).expect("it is there") = value;
            rotated(&sealed(), &answer).err()
        };
        assert_eq!(refused("/kind", "Secret".into()), Some(RotationError::Kind));
        assert_eq!(refused("/apiVersion", "v1".into()), Some(RotationError::Kind));
        // A scope that is not strict does not bind to a name, and yet the answer has to be for the same one.
        assert_eq!(refused("/metadata/name", "other".into()), Some(RotationError::Label));
        assert_eq!(refused("/metadata/namespace", "other".into()), Some(RotationError::Label));
        assert_eq!(refused("/metadata/annotations", json!({})), Some(RotationError::Label));
        assert_eq!(refused("/spec/encryptedData", json!({})), Some(RotationError::Keys));
        assert_eq!(refused("/spec/encryptedData", json!({"a": ITEM, "t": ITEM})), Some(RotationError::Keys));
        for item in ["", "Ag", "!", "AgROTATED"] {
            let error = refused("/spec/encryptedData/a", item.into());
            assert_eq!(error, Some(RotationError::Item("a".to_owned())), "{item}");
        }
        assert_eq!(rotated(&sealed(), &json!([])), Err(RotationError::Kind));
    }
}
