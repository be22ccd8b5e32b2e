//! Made-up documents of every format and shape.

mod flat;
mod json;
mod template;
mod tree;
mod yaml;

pub use flat::{binary, dotenv, ini, sections};
pub use json::json;
pub use template::templates;
pub use tree::documents;
pub use yaml::yaml;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::Union;
use serde_json::{Map, Value as Json};

/// A rule that chooses what is encrypted, as the metadata has it.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The name and the text of the rule, if there is one.
    pub rule: Option<(&'static str, &'static str)>,
    /// Whether the MAC covers encrypted values only.
    pub mac_only_encrypted: bool,
}

impl Rules {
    /// Returns the rules as fields of the metadata.
    pub fn to_json(&self) -> Map<String, Json> {
        let mut fields = Map::new();
        if let Some((name, text)) = self.rule {
            fields.insert(name.to_owned(), text.into());
        }
        if self.mac_only_encrypted {
            fields.insert("mac_only_encrypted".to_owned(), true.into());
        }
        fields
    }
}

/// Returns rules that divide the keys and comments of generated documents.
pub fn rules() -> impl Strategy<Value = Rules> {
    let rule = prop_oneof![
        3 => Just(None),
        1 => Just(Some(("unencrypted_suffix", "_clear"))),
        1 => Just(Some(("encrypted_suffix", "_secret"))),
        1 => Just(Some(("unencrypted_regex", "^(data|b)$|ключ"))),
        1 => Just(Some(("encrypted_regex", "^(data|stringData|a)$|^p.*d$"))),
        1 => Just(Some(("unencrypted_comment_regex", "in clear|^!"))),
        1 => Just(Some(("encrypted_comment_regex", "secret|^!"))),
    ];
    (rule, any::<bool>()).prop_map(|(rule, mac_only_encrypted)| Rules { rule, mac_only_encrypted })
}

/// Returns one of some texts.
pub fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    Union::new(texts.iter().map(|&text| Just(text.to_owned())))
}
