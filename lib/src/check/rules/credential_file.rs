//! K8S004: a kubeconfig or a configuration of Docker holds credentials.
//!
//! They are known by their shape, whatever the file is called, also where they are a text in another object. What is
//! in a Secret is told as a value of the Secret.

use std::collections::HashMap;

use crate::check::config::Config;
use crate::check::placeholder::is_encoded_placeholder;
use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Fix, Needles, Rule, Severity, is_placeholder,
    is_secret_name,
};
use crate::sealed::decode_base64;

use super::plain_secret::is_manifest;
use super::plain_secret::layer::{Layer, each_layer};
use super::plain_secret::remedy::encryption;

pub(super) static RULE: Rule = Rule {
    id: "K8S004",
    severity: Severity::Error,
    title: "a kubeconfig or a configuration of Docker holds credentials",
    explanation: "The users of a kubeconfig have private keys, tokens and passwords in it, and the `auths` of a \
                  configuration of Docker have passwords in base64. Whoever has the file can do what its user can \
                  do.\n\n\
                  Accepted are certificates, names of files, programs that fetch credentials, placeholders, and \
                  registries without credentials.\n\n\
                  Keep such a file out of the repository, or encrypt it with `kubectl seal encrypt -i FILE`. If it \
                  was ever pushed, revoke the credentials.",
    needles: Needles::ANY_FILE,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    let is_old_style = matches!(file.name(), ".dockercfg" | "dockercfg");
    let is_manifest =
        || is_manifest(file) || file.name() == "kubeconfig" || file.name().ends_with(".kubeconfig");
    // A kubeconfig with a token need have nothing else in it that is known by name.
    let needles = Needles::CREDENTIAL_FILE.or(Needles::SECRET_NAME);
    let is_likely = file.needles().has(needles) && may_hold(file.text()) && is_manifest();
    if !is_old_style && !is_likely {
        return;
    }
    each_layer(file, &may_hold, &mut |layer| {
        let mut rule = Checking { file, context, layer, found, mend: None };
        let mut known = HashMap::new();
        if is_old_style && layer.is_file() {
            layer.outline.roots().for_each(|root| rule.registries(root));
        }
        let keys = layer.outline.nodes().filter(|entry| !layer.is_encrypted(*entry));
        for entry in keys {
            match entry.key() {
                Some("users") => {
                    let Some(parent) = entry.parent() else { continue };
                    let is_known = known.entry(parent.span().start);
                    if *is_known.or_insert_with(|| is_kubeconfig(parent)) {
                        rule.users(entry);
                    }
                }
                Some("auths") => rule.registries(entry),
                _ => {}
            }
        }
    });
}

/// Returns whether a text may be, or hold, such a file.
fn may_hold(text: &str) -> bool {
    let holds = |word: &str| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    let marks = ["clusters", "contexts", "current-context", "Config"];
    (holds("users") && marks.into_iter().any(holds)) || holds("auths")
}

fn is_kubeconfig(map: Entry<'_>) -> bool {
    let is_config = map.text_at(&["kind"]) == Some("Config") && map.text_at(&["apiVersion"]) == Some("v1");
    is_config || ["clusters", "contexts", "current-context"].iter().any(|key| map.get(key).is_some())
}

struct Checking<'c, 'f, 'l> {
    file: &'c File<'f>,
    context: &'c Context<'c>,
    layer: &'c Layer<'l>,
    found: &'c mut Findings,
    /// How the file is mended, once it was asked.
    mend: Option<(Option<Fix>, String)>,
}

impl Checking<'_, '_, '_> {
    fn users(&mut self, users: Entry<'_>) {
        for user in users.entries().filter_map(|item| item.get("user")) {
            let provider = user.at(&["auth-provider", "config"]).into_iter().flat_map(Entry::entries);
            for entry in user.entries().filter(|entry| USER.contains(&entry.key().unwrap_or_default())) {
                self.judge(entry, "a kubeconfig", entry.key().unwrap_or_default(), &is_clear);
            }
            for entry in provider.filter(|entry| PROVIDER.contains(&entry.key().unwrap_or_default())) {
                self.judge(entry, "a kubeconfig", entry.key().unwrap_or_default(), &is_clear);
            }
            let variables = user.at(&["exec", "env"]).into_iter().flat_map(Entry::entries);
            for variable in variables {
                let name = variable.text_at(&["name"]).filter(|name| is_secret_name(name));
                if let (Some(name), Some(value)) = (name, variable.get("value")) {
                    self.judge(value, "a kubeconfig", name, &is_clear);
                }
            }
        }
    }

    fn registries(&mut self, registries: Entry<'_>) {
        for registry in registries.entries().filter(|entry| entry.is_map()) {
            for entry in
                registry.entries().filter(|entry| REGISTRY.contains(&entry.key().unwrap_or_default()))
            {
                let key = entry.key().unwrap_or_default();
                let is_clear = if key == "auth" { is_clear_pair } else { is_clear };
                self.judge(entry, "a configuration of Docker", key, &is_clear);
            }
        }
    }

    fn judge(&mut self, entry: Entry<'_>, what: &str, key: &str, is_clear: &dyn Fn(&str, &Config) -> bool) {
        let Some(text) = entry.text().filter(|_| !entry.is_null() && !entry.has_action()) else { return };
        if !is_clear(text, self.context.config) {
            return;
        }
        let mut top = entry;
        while let Some(parent) = top.parent() {
            top = parent;
        }
        let mend = self.mend.get_or_insert_with(|| encryption(self.file.path(), self.context));
        let (fix, remedy) = mend.clone();
        let (label, pointer) = self.layer.label(top, entry.pointer(Some(top)));
        let message = format!("{key:?} of {what} is in clear");
        let finding = Finding::new(&RULE, self.file, self.layer.place(entry.span()), message)
            .at(label, pointer)
            .value(text.as_bytes());
        self.found.add(match fix.filter(|_| self.layer.is_file() && self.file.is_structured()) {
            Some(fix) => finding.remedy(remedy).fix(fix),
            None => finding.remedy(format!("keep the file out of the repository, or encrypt it: {remedy}")),
        });
    }
}

fn is_clear(text: &str, config: &Config) -> bool {
    !is_placeholder(text, config) && !is_encoded_placeholder(text, config)
}

/// Returns whether base64 of a name and a password has a password.
fn is_clear_pair(text: &str, config: &Config) -> bool {
    let decoded = decode_base64(text.as_bytes()).ok();
    let pair = decoded.as_ref().and_then(|bytes| str::from_utf8(bytes.expose_secret()).ok());
    let password = pair.and_then(|pair| pair.split_once(':')).map(|(_, password)| password);
    !is_placeholder(text, config)
        && !pair.is_some_and(|pair| is_placeholder(pair, config))
        && !password.is_some_and(|password| is_placeholder(password, config))
}

/// What of a user of a kubeconfig is secret.
const USER: &[&str] = &["client-key-data", "password", "token"];

/// What of the configuration of a provider of identities is secret.
const PROVIDER: &[&str] = &["access-token", "client-secret", "id-token", "refresh-token"];

/// What of a registry is secret.
const REGISTRY: &[&str] = &["auth", "identitytoken", "password", "registrytoken"];

#[cfg(test)]
mod tests {
    use crate::check::test_kit::{METADATA, found};

    const CONFIG: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {server: 'https://c:6443'}\n\
                          contexts: []\ncurrent-context: c\nusers:\n- name: u\n  user:\n";

    fn user(path: &str, user: &str) -> Vec<String> {
        found("K8S004", path, &format!("{CONFIG}    {user}\n"))
    }

    #[test]
    fn credentials_of_kubeconfigs_are_found_whatever_the_file_is_called() {
        assert_eq!(user("prod.yaml", "client-key-data: aHVudGVyMg=="), ["11 /users/0/user/client-key-data"]);
        assert_eq!(user("kubeconfig", "token: abc.def"), ["11 /users/0/user/token"]);
        assert_eq!(user("admin.conf", "password: hunter2"), ["11 /users/0/user/password"]);
        let provider = "auth-provider: {name: oidc, config: {id-token: a.b.c, client-id: x}}";
        assert_eq!(user("config", provider), ["11 /users/0/user/auth-provider/config/id-token"]);
        let exec = "exec: {command: c, env: [{name: API_TOKEN, value: hunter2}, {name: REGION, value: eu}]}";
        let small = "apiVersion: v1\nkind: Config\nusers:\n- user: {token: abc}\n";
        assert_eq!(found("K8S004", "a.yaml", small), ["4 /users/0/user/token"]);
        assert_eq!(user("config", exec), ["11 /users/0/user/exec/env/0/value"]);
    }

    #[test]
    fn credentials_of_registries_are_found() {
        let pair = "{\"auths\": {\"r.example.org\": {\n\"auth\": \"dXNlcjpodW50ZXIy\"}}}";
        assert_eq!(found("K8S004", "config.json", pair), ["2 /auths/r.example.org/auth"]);
        assert_eq!(found("K8S004", ".docker/config", pair), ["2 /auths/r.example.org/auth"]);
        let old = "{\"r.example.org\": {\"auth\": \"dXNlcjpodW50ZXIy\", \"email\": \"a@b.c\"}}";
        assert_eq!(found("K8S004", ".dockercfg", old), ["1 /r.example.org/auth"]);
        let token = "auths:\n  r.example.org:\n    identitytoken: abc\n";
        assert_eq!(found("K8S004", "a.yml", token), ["3 /auths/r.example.org/identitytoken"]);
    }

    #[test]
    fn what_is_a_text_in_another_object_is_found() {
        let text = "kind: ConfigMap\nmetadata: {name: n}\ndata:\n  config.json: |\n    {\"auths\": {\n    \
                    \"r\": {\"password\": \"hunter2\"}}}\n";
        assert_eq!(found("K8S004", "a.yaml", text), ["6 /data/config.json"]);
    }

    #[test]
    fn files_without_credentials_are_left_alone() {
        for kept in [
            "client-certificate-data: LS0tLS1CRUdJTg==",
            "client-key: /var/lib/key.pem",
            "tokenFile: /var/run/token",
            "token: ${TOKEN}",
            "token: ''",
            "password: REPLACE_ME",
            "exec: {command: aws, args: [eks, get-token]}",
            "auth-provider: {name: oidc, config: {client-id: x, idp-issuer-url: 'https://i'}}",
        ] {
            assert_eq!(user("kubeconfig.yaml", kept), [""; 0], "{kept}");
        }
        for text in [
            "{\"auths\": {\"r.example.org\": {}}, \"credsStore\": \"pass\"}",
            "{\"auths\": {\"r\": {\"auth\": \"\"}}}",
            "{\"auths\": {\"r\": {\"auth\": \"dXNlcjoke1BBU1N9\"}}}",
            "users:\n- {name: a, user: {token: x}}\nauths: []\n",
            "paths:\n  /users:\n    get: {token: x}\nclusters: [\"auths\"]\n",
        ] {
            assert_eq!(found("K8S004", "a.yaml", text), [""; 0], "{text}");
        }
        assert_eq!(
            found("K8S004", "README.md", "{\"auths\": {\"r\": {\"password\": \"hunter2\"}}}"),
            [""; 0]
        );
    }

    #[test]
    fn what_is_in_a_secret_or_encrypted_is_told_there() {
        let inner = "{\"auths\": {\"r\": {\"password\": \"hunter2\"}}}";
        let text = format!("kind: Secret\nstringData:\n  .dockerconfigjson: '{inner}'\n");
        assert_eq!(found("K8S004", "a.yaml", &text), [""; 0]);
        assert_eq!(found("K8S001", "a.yaml", &text), ["3 /stringData/.dockerconfigjson"]);
        let text = format!("auths: {{r: {{password: hunter2}}}}\n{METADATA}");
        assert_eq!(found("K8S004", "a.yaml", &text), [""; 0]);
    }

    #[test]
    fn texts_that_templates_make_are_left_alone() {
        let text = "kind: ExternalSecret\nspec:\n  target:\n    template:\n      data:\n        .dockerconfigjson: |\n          \
                    {\"auths\":{\"ghcr.io\":{\"password\":\"{{ .pass }}\",\"auth\":\"{{ printf \"%s\" .a | b64enc }}\"}}}\n";
        assert_eq!(found("K8S004", "a.yaml", text), [""; 0]);
        let text = text.replace("{{ .pass }}", "hunter2");
        assert_eq!(found("K8S004", "a.yaml", &text), ["7 /spec/target/template/data/.dockerconfigjson"]);
        let text = "data:\n  x: \"{\\\"auths\\\":{\\\"g\\\":{\\\"password\\\":\\\"{{ .pass }}\\\"}}}\"\n";
        assert_eq!(found("K8S004", "a.yaml", text), [""; 0]);
        assert_eq!(found("K8S004", "a.yaml", &text.replace("{{ .pass }}", "hunter2")), ["2 /data/x"]);
        let text = "data:\n  config: |\n    clusters: []\n    users:\n    {{- if .x }}\n    - name: a\n      user:\n        token: {{ .t }}\n    {{- end }}\n";
        assert_eq!(found("K8S004", "a.yaml", text), [""; 0]);
    }

    #[test]
    fn secrets_in_keys_are_not_told() {
        let text = "{\"auths\": {\"https://bot:hunter2@r.example.org\": {\"auth\": \"dXNlcjpodW50ZXIy\"}}}";
        assert_eq!(found("K8S004", "config.json", text), ["1 /auths/https:~1~1…1@r.example.org/auth"]);
    }
}
