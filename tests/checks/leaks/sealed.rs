//! SealedSecrets that are none, or carry what they hide, or will never unseal.

use selkie::sealed::SealingScope;

use crate::checks::case::Case;
use crate::checks::maker::{Maker, base64, secret};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = base64(&make.password());
    let text = make.sealed_secret(Strict, &format!("    second: {value}\n"));
    cases.push(make.leak("base64 in place of a sealed value").file(PATH, text).wants("SEAL001", &value));

    let value = make.password();
    let text = make.sealed_secret(Strict, &format!("    second: {value}\n"));
    cases.push(make.leak("a password in place of a sealed value").file(PATH, text).wants("SEAL001", &value));

    let value = make.password();
    let more = format!(
        "  template:\n    metadata:\n      name: db\n    stringData:\n      user-password: {value}\n"
    );
    let text = make.sealed_secret(Strict, &more);
    cases.push(make.leak("stringData of a template").file(PATH, text).wants("SEAL002", &value));

    let value = make.password();
    let more = format!("  template:\n    data:\n      password: {value}\n");
    let text = make.sealed_secret(Strict, &more);
    cases.push(make.leak("a literal in the data of a template").file(PATH, text).wants("SEAL002", &value));

    let value = base64(&make.password());
    let text = make.sealed_secret(ClusterWide, "").replace(
        "  annotations:\n",
        &format!("  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: '{{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"db\"}},\"data\":{{\"password\":\"{value}\"}}}}'\n"),
    );
    cases.push(
        make.leak("what was applied last, beside sealed values").file(PATH, text).wants("SEAL003", &value),
    );

    let value = make.password();
    let more = format!(
        "  template:\n    metadata:\n      annotations:\n        kubectl.kubernetes.io/last-applied-configuration: |\n          {{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"name\":\"db\"}},\"stringData\":{{\"password\":\"{value}\"}}}}\n"
    );
    let text = make.sealed_secret(Strict, &more);
    cases.push(
        make.leak("what was applied last, in a template")
            .file(PATH, text)
            .wants_any(&["SEAL003"], &["last-applied", &value]),
    );

    let before = make.sealed_secret(Strict, "");
    let text = before.replace("name: db", "name: database");
    cases.push(
        make.leak("a strict one is renamed")
            .old(PATH, &*before)
            .file(PATH, text)
            .wants_any(&["SEAL004"], ALL_LINES),
    );

    let before = make.sealed_secret(NamespaceWide, "");
    let text = before.replace("namespace: shop", "namespace: other");
    cases.push(
        make.leak("one of a namespace is moved")
            .old(PATH, &*before)
            .file(PATH, text)
            .wants_any(&["SEAL004"], ALL_LINES),
    );

    let text = make.sealed_secret(Strict, "");
    let value = make.password();
    let plain = secret(&format!("stringData:\n  password: {value}\n"));
    let case = make
        .leak("a Secret beside its SealedSecret")
        .file("db/sealed.yaml", text)
        .file("db/secret.yaml", plain);
    cases.push(case.wants_any(&["SEAL005"], ALL_LINES));

    let (cert, key) = (base64(&make.certificate()), base64(&make.pem("RSA PRIVATE KEY")));
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: sealed-secrets-keyabcde\n  namespace: kube-system\n  labels:\n    sealedsecrets.bitnami.com/sealed-secrets-key: active\ntype: kubernetes.io/tls\ndata:\n  tls.crt: {cert}\n  tls.key: {key}\n"
    );
    let lines = ["apiVersion", "kind", "sealed-secrets-key:", "data:", &key];
    cases
        .push(make.leak("a key of the controller").file("backup.yaml", text).wants_any(&["SEAL006"], &lines));
    cases
}

use SealingScope::{ClusterWide, NamespaceWide, Strict};

const PATH: &str = "apps/db.yaml";

/// It is about the object: any line of its head tells where that is.
const ALL_LINES: &[&str] =
    &["apiVersion", "kind", "metadata", "name: d", "namespace", "stringData", "password"];
