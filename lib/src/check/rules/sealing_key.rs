//! SEAL006: a private key of the Sealed Secrets controller.

use memchr::memmem;

use crate::check::{
    Check, Context, Entry, File, Finding, Findings, Needles, Object, Rule, Severity, is_placeholder, objects,
};
use crate::sealed::KEY_LABEL;

pub(super) static RULE: Rule = Rule {
    id: "SEAL006",
    severity: Severity::Error,
    title: "a private key of the Sealed Secrets controller",
    explanation: "With the private key of the controller, everybody can open every SealedSecret of the cluster: those that \
                  are in the repository, and all that were ever in it.\n\n\
                  Found are Secrets with the label of sealing keys, or with the name that the controller gives to them, \
                  as the documented backup of the keys writes them into a file. Accepted are the certificate, and keys \
                  that SOPS encrypted.\n\n\
                  Take the file out of the commit (`git rm --cached PATH`) and keep it elsewhere, or encrypted: `kubectl \
                  seal encrypt -i PATH`. If the key was ever pushed, have the controller make a new one, change all \
                  secrets, and seal them again.",
    needles: Needles::SECRET,
    check: Check::File(check),
};

fn check(file: &File<'_>, context: &Context<'_>, found: &mut Findings) {
    // The documented backup has a name that says nothing of YAML.
    let text = file.text().as_bytes();
    if memmem::find(text, NAME.as_bytes()).is_none() || memmem::find(text, b"tls.key").is_none() {
        return;
    }
    let looks_structured =
        memmem::find(text, b"kind:").is_some() || memmem::find(text, b"\"kind\"").is_some();
    if !file.is_structured() && !looks_structured {
        return;
    }
    for object in objects(file.outline()).filter(|object| is_key(*object)) {
        for field in ["data", "stringData"] {
            let key = object.entry.at(&[field, "tls.key"]).filter(|key| is_clear(*key, context));
            let Some(key) = key else { continue };
            let message =
                "a private key of the Sealed Secrets controller: it opens every SealedSecret of its cluster";
            let finding = Finding::new(&RULE, file, key.span(), message)
                .at(object.label(), key.pointer(Some(object.entry)))
                .value(key.text().unwrap_or_default().as_bytes())
                .remedy(format!("git rm --cached {}", file.path()));
            found.add(finding);
        }
    }
}

/// Returns whether a Secret is one that the controller keeps its keys in.
fn is_key(object: Object<'_>) -> bool {
    let has_label = object.entry.at(&["metadata", "labels", KEY_LABEL]).is_some();
    let generated = object.entry.text_at(&["metadata", "generateName"]).unwrap_or_default();
    object.is_secret() && (has_label || object.name().starts_with(NAME) || generated.starts_with(NAME))
}

fn is_clear(key: Entry<'_>, context: &Context<'_>) -> bool {
    let is_later = |text: &str| is_placeholder(text, context.config);
    key.text().is_some_and(|text| !key.is_null() && !key.has_action() && !is_later(text))
}

/// How the controller calls the Secrets of its keys; their label ends so, too.
const NAME: &str = "sealed-secrets-key";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::test_kit::found;

    fn backup(key: &str) -> String {
        format!(
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  data:\n    tls.crt: eA==\n    tls.key: {key}\n  kind: Secret\n  \
             metadata:\n    name: sealed-secrets-keyx7z2k\n    namespace: kube-system\n    labels:\n      {KEY_LABEL}: \
             active\n  type: kubernetes.io/tls\nkind: List\n"
        )
    }

    #[test]
    fn keys_of_the_controller_are_found() {
        for path in ["main.key", "a.yaml"] {
            assert_eq!(found("SEAL006", path, &backup("eA==")), ["6 /data/tls.key"], "{path}");
        }
        let unlabelled = backup("eA==").replace(KEY_LABEL, "a");
        assert_eq!(found("SEAL006", "a.yaml", &unlabelled), ["6 /data/tls.key"]);
        let renamed = backup("eA==").replace("sealed-secrets-keyx7z2k", "mine");
        assert_eq!(found("SEAL006", "a.yaml", &renamed), ["6 /data/tls.key"]);
        let json = format!(
            r#"{{"kind": "Secret", "metadata": {{"name": "k", "labels": {{"{KEY_LABEL}": "active"}}}},
            "stringData": {{"tls.key": "x"}}}}"#
        );
        assert_eq!(found("SEAL006", "a.json", &json), ["2 /stringData/tls.key"]);
    }

    #[test]
    fn other_objects_are_clean() {
        for key in ["ENC[AES256_GCM,data:x,type:str]", "${KEY}", "", "'{{ .Values.key }}'"] {
            assert_eq!(found("SEAL006", "a.yaml", &backup(key)), [""; 0], "{key}");
        }
        let clean = [
            backup("eA==").replace("tls.key", "other"),
            backup("eA==").replace("kind: Secret", "kind: ConfigMap"),
            "kind: Secret\nmetadata: {name: tls}\ndata: {tls.key: eA==}\n# not sealed-secrets-key\n"
                .to_owned(),
            "kubectl get secret -l sealedsecrets.bitnami.com/sealed-secrets-key -o yaml # has tls.key\n"
                .to_owned(),
        ];
        for text in clean {
            assert_eq!(found("SEAL006", "a.yaml", &text), [""; 0], "{text}");
        }
    }
}
