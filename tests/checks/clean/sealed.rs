//! SealedSecrets as they should be.

use selkie::sealed::SealingScope;

use crate::checks::case::Case;
use crate::checks::maker::Maker;

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, scope) in [
        ("a strict SealedSecret", SealingScope::Strict),
        ("a SealedSecret of a namespace", SealingScope::NamespaceWide),
        ("a SealedSecret of a cluster", SealingScope::ClusterWide),
    ] {
        let text = make.sealed_secret(scope, "");
        cases.push(make.clean(name).file("db.yaml", text));
    }
    let more = "  template:\n    metadata:\n      name: db\n      namespace: shop\n      labels:\n        app: db\n    type: Opaque\n";
    let text = make.sealed_secret(SealingScope::Strict, more);
    cases.push(make.clean("a template without data").file("db.yaml", text));

    let more = "  template:\n    data:\n      url: \"postgres://app:{{ index . \\\"password\\\" }}@db.shop:5432/app\"\n      config.ini: |\n        [db]\n        password = {{ .password }}\n";
    let text = make.sealed_secret(SealingScope::Strict, more);
    cases.push(make.clean("a template that uses what is sealed").file("db.yaml", text));

    let text = make.sealed_secret(
        SealingScope::Strict,
        "  template:\n    immutable: true\n    type: kubernetes.io/basic-auth\n",
    );
    let value = make.password();
    let sealed = make.seal(&value, SealingScope::Strict);
    let json = format!(
        "{{\"apiVersion\":\"bitnami.com/v1alpha1\",\"kind\":\"SealedSecret\",\"metadata\":{{\"name\":\"db\",\"namespace\":\"shop\"}},\"spec\":{{\"encryptedData\":{{\"password\":\"{sealed}\"}}}}}}\n"
    );
    cases.push(make.clean("types and flags of a template").file("db.yaml", text));
    cases.push(make.clean("a SealedSecret in JSON").file("db.json", json));

    let (one, two) =
        (make.sealed_secret(SealingScope::Strict, ""), make.sealed_secret(SealingScope::Strict, ""));
    let text = format!("{one}---\n{}", two.replace("name: db", "name: other"));
    cases.push(make.clean("two SealedSecrets in one file").file("all.yaml", text));

    let before = make.sealed_secret(SealingScope::Strict, "");
    let after = make.sealed_secret(SealingScope::Strict, "");
    cases.push(make.clean("a SealedSecret is sealed anew").old("db.yaml", before).file("db.yaml", after));

    let before = make.sealed_secret(SealingScope::ClusterWide, "");
    let after = before.replace("name: db", "name: other").replace("namespace: shop", "namespace: elsewhere");
    cases.push(
        make.clean("a SealedSecret of a cluster is renamed").old("db.yaml", before).file("db.yaml", after),
    );

    let text =
        "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: db\n$patch: delete\n";
    cases.push(make.clean("a SealedSecret is deleted by a patch").file("patch.yaml", text));

    let cert = make.certificate();
    cases.push(make.clean("the certificate to seal for").file("sealed-secrets/pub-cert.pem", cert));
    cases
}
