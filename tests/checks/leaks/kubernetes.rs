//! Secrets of Kubernetes in every spelling, and what else holds credentials in a cluster.

use crate::checks::case::{Case, Encoding};
use crate::checks::maker::{Maker, base64, indented, secret};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = plain(make);
    cases.extend(shapes(make));
    cases.extend(encodings(make));
    cases.extend(of_other_kinds(make));
    cases.extend(templates(make));
    cases
}

fn plain(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = base64(&make.password());
    let text = secret(&format!("data:\n  username: YWRtaW4=\n  password: {value}\n"));
    cases.push(make.leak("data in base64").file("apps/db.yaml", text).wants(SECRET, &value));

    let value = base64(&make.token(48));
    let text = secret(&format!("data:\n  blob: {value}\n"));
    cases
        .push(make.leak("a long value below a neutral name").file("apps/db.yml", text).wants(SECRET, &value));

    let value = make.password();
    let text = secret(&format!("stringData:\n  password: {value}\n"));
    cases.push(
        make.leak("a password of people in stringData").file("apps/db.yaml", text).wants(SECRET, &value),
    );

    let value = make.token(6);
    let text = secret(&format!("stringData:\n  pin: \"{value}\"\n"));
    cases.push(make.leak("a very short value").file("apps/db.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = format!("apiVersion: v1\nstringData:\n  k: {value}\nkind: Secret\nmetadata:\n  name: db\n");
    cases.push(make.leak("the kind behind the data").file("db.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text =
        secret(&format!("stringData:\n  password: {value}\n")).replace("kind: Secret", "kind: \"Secret\"");
    cases.push(make.leak("a kind in quotes").file("db.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = secret(&format!("stringData:\n  password: {value}\n"))
        .replace("kind: Secret", "\"kind\":   'Secret'   # the database")
        .replace("stringData:", "'stringData':");
    cases.push(make.leak("keys in quotes and comments").file("db.yaml", text).wants(SECRET, &value));

    let (one, two) = (make.password(), make.password());
    let text = secret(&format!("data:\n  one: {}\nstringData:\n  two: {two}\n", base64(&one)));
    let case = make.leak("two values, in both places").file("db.yaml", text);
    cases.push(case.wants(SECRET, &base64(&one)).wants(SECRET, &two));

    let (one, two) = (make.password(), make.password());
    let before = secret(&format!("stringData:\n  user: admin\n  password: {one}\n"));
    let text = before.replace(&one, &two);
    let case = make.leak("a value of a Secret that was in clear before is rotated");
    cases.push(case.old("db.yaml", before).file("db.yaml", text).wants(SECRET, &two));

    let (one, two) = (make.password(), make.password());
    let before = secret(&format!("stringData:\n  password: {one}\n"));
    let text = format!("{before}  second: {two}\n");
    let case = make.leak("a value is added to a Secret that was in clear before");
    cases.push(case.old("db.yaml", before).file("db.yaml", text).wants(SECRET, &two));

    let value = base64(&make.password());
    let text = secret(&format!("data:\n  password: {value}\nimmutable: true\n"))
        .replace("name: db", "generateName: db-");
    cases.push(make.leak("a name that is generated").file("db.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = secret(&format!("stringData:\n  username: admin\n  password: {value}\n"))
        .replace("Opaque", "kubernetes.io/basic-auth");
    cases.push(make.leak("basic authentication").file("db.yaml", text).wants(SECRET, &value));
    cases
}

fn shapes(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = base64(&make.password());
    let item = secret(&format!("data:\n  password: {value}\n"));
    let text = format!("apiVersion: v1\nkind: List\nitems:\n  -\n{}", indented(&item, 4));
    cases.push(make.leak("an item of a list").file("all.yaml", text).wants(SECRET, &value));

    let value = base64(&make.password());
    let text = format!(
        "apiVersion: v1\nkind: SecretList\nitems:\n  - apiVersion: v1\n    kind: Secret\n    metadata: {{name: a}}\n    data:\n      p: {value}\n"
    );
    cases.push(make.leak("an item of a SecretList").file("all.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: db}}, stringData: {{password: {value}}}}}\n"
    );
    cases.push(make.leak("flow style").file("db.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = secret(&format!("stringData: {{\n  user: admin,\n  password: '{value}' }}\n"));
    cases.push(make.leak("data in flow style over lines").file("db.yaml", text).wants(SECRET, &value));

    let value = base64(&make.password());
    let text = format!(
        "{{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Secret\",\n  \"metadata\": {{\"name\": \"db\"}},\n  \"data\": {{\n    \"password\": \"{value}\"\n  }}\n}}\n"
    );
    cases.push(make.leak("JSON").file("db.json", text).wants(SECRET, &value));

    let value = make.password();
    let text = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"name\":\"db\"}},\"stringData\":{{\"password\":\"{value}\"}}}}"
    );
    cases.push(make.leak("JSON on one line, without its end").file("db.json", text).wants(SECRET, &value));

    let value = make.password();
    let text = format!(
        "{{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"items\": [\n\t\t{{\n\t\t\t\"apiVersion\": \"v1\",\n\t\t\t\"kind\": \"Secret\",\n\t\t\t\"metadata\": {{ \"name\": \"db\" }},\n\t\t\t\"stringData\": {{\n\t\t\t\t\"note\": \"\\ud83e\\uddad\",\n\t\t\t\t\"password\": \"{value}\"\n\t\t\t}}\n\t\t}}\n\t]\n}}\n"
    );
    cases.push(
        make.leak("a list in JSON with tabs and surrogates").file("all.json", text).wants(SECRET, &value),
    );

    let value = make.password();
    let text = format!(
        "kind: ConfigMap\napiVersion: v1\nmetadata: {{name: a}}\ndata: {{a: b}}\n---\n# the other\n{}---\n",
        secret(&format!("stringData:\n  password: {value}\n"))
    );
    cases.push(make.leak("the second document").file("all.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = secret(&format!("stringData:\n  one: &shared {value}\n  two: *shared\n"));
    cases.push(make.leak("an anchor").file("db.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = format!("x-shared: &shared\n  password: {value}\n{}", secret("stringData:\n  <<: *shared\n"));
    cases.push(make.leak("a merge key").file("db.yaml", text).wants_any(&[SECRET], &[&value, "<<:"]));

    let value = base64(&make.password());
    let text = secret(&format!("data:\n  password: !!binary {value}\n"));
    cases.push(make.leak("a tag").file("db.yaml", text).wants(SECRET, &value));

    let value = make.password();
    let text = secret(&format!("stringData:\n  config.ini: |\n    [db]\n    password={value}\n"));
    cases.push(
        make.leak("a block of lines")
            .file("db.yaml", text)
            .wants_any(&[SECRET], &["config.ini", "[db]", &value]),
    );

    let value = make.password();
    let text = secret(&format!("stringData:\n  password: >-\n    {value}\n"));
    cases.push(
        make.leak("a folded block").file("db.yaml", text).wants_any(&[SECRET], &["  password", &value]),
    );

    let value = make.password();
    let text = format!(
        "- op: none\n---\n{}...\n---\nkind: Namespace\napiVersion: v1\nmetadata: {{name: a}}\n",
        secret(&format!("stringData:\n  password: \"{value}\" # why\n"))
    );
    cases.push(
        make.leak("documents with ends and other things").file("a/b/c/all.yml", text).wants(SECRET, &value),
    );

    let value = make.password();
    let text = format!("%YAML 1.2\n---\n{}", secret(&format!("stringData:\n  ? password\n  : {value}\n")));
    cases.push(make.leak("a directive and an explicit key").file("db.yaml", text).wants(SECRET, &value));
    cases
}

fn encodings(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, encoding) in [
        ("UTF-8 with a mark", Encoding::Utf8Mark),
        ("UTF-16", Encoding::Utf16),
        ("UTF-16, big end first, without a mark", Encoding::Utf16Big),
        ("UTF-32", Encoding::Utf32),
    ] {
        let value = make.password();
        let text = secret(&format!("stringData:\n  note: Übung\n  password: {value}\n"));
        cases.push(make.leak(name).encoded("db.yaml", text, encoding).wants(SECRET, &value));
    }
    let value = base64(&make.password());
    let text = secret(&format!("data:\n  password: {value}\n")).replace('\n', "\r\n");
    cases.push(make.leak("lines of Windows").file("db.yaml", text).wants(SECRET, &value));
    cases
}

fn of_other_kinds(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let payload = format!(
        "{{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":\\\"Secret\\\",\\\"metadata\\\":{{\\\"name\\\":\\\"db\\\"}},\\\"stringData\\\":{{\\\"password\\\":\\\"{value}\\\"}}}}"
    );
    let text = format!(
        "apiVersion: example.org/v1\nkind: Backup\nmetadata:\n  name: db\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: \"{payload}\"\n"
    );
    cases.push(make.leak("what was applied last").file("db.yaml", text).wants("K8S002", &value));

    let value = base64(&make.pem("RSA PRIVATE KEY"));
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n  cluster: {{server: https://a.example}}\nusers:\n- name: admin\n  user:\n    client-key-data: {value}\ncurrent-context: a\n"
    );
    cases.push(
        make.leak("a kubeconfig with a key")
            .file("kubeconfig", text)
            .wants_any(&["K8S004", "KEY001"], &[&value]),
    );

    let value = make.token(40);
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\ncurrent-context: a\nusers:\n- name: admin\n  user:\n    token: {value}\n"
    );
    cases.push(
        make.leak("a kubeconfig with a token").file("clusters/a/kube.yaml", text).wants("K8S004", &value),
    );

    let value = make.password();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nusers:\n- name: admin\n  user:\n    username: admin\n    password: {value}\n"
    );
    cases.push(
        make.leak("a kubeconfig with a password").file("config/kube.yml", text).wants("K8S004", &value),
    );

    let value = base64(&format!("robot:{}", make.password()));
    let text = format!(
        "{{\n  \"auths\": {{\n    \"registry.example\": {{\n      \"auth\": \"{value}\"\n    }}\n  }}\n}}\n"
    );
    cases.push(make.leak("a configuration of Docker").file("config.json", text).wants("K8S004", &value));

    let value = make.token(60);
    let text = format!(
        "{{\n  \"auths\": {{\n    \"registry.example\": {{\n      \"identitytoken\": \"{value}\"\n    }}\n  }}\n}}\n"
    );
    cases.push(
        make.leak("a configuration of Docker with a token")
            .file("docker/config.json", text)
            .wants("K8S004", &value),
    );

    let login = base64(&format!("robot:{}", make.password()));
    let value = base64(&format!("{{\"auths\":{{\"registry.example\":{{\"auth\":\"{login}\"}}}}}}"));
    make.keep(login);
    let text = secret(&format!("data:\n  .dockerconfigjson: {value}\n"))
        .replace("Opaque", "kubernetes.io/dockerconfigjson");
    cases.push(
        make.leak("a Secret for pulling images")
            .file("pull.yaml", text)
            .wants_any(&[SECRET, "K8S004"], &[&value]),
    );

    let value = make.password();
    let text = format!(
        "apiVersion: isindir.github.com/v1alpha3\nkind: SopsSecret\nmetadata:\n  name: db\nspec:\n  secretTemplates:\n    - name: db\n      stringData:\n        password: {value}\n"
    );
    cases.push(make.leak("a SopsSecret in clear").file("db.yaml", text).wants("K8S005", &value));

    let value = make.password();
    let text = format!(
        "apiVersion: example.org/v1\nkind: Vaulted\nmetadata: {{name: a}}\nspec:\n  values:\n    one: {value}\n"
    );
    let case = make.leak("a kind that the repository says is secret");
    let config = "version: 1\nextra-kinds: [{group: example.org, kind: Vaulted, encrypted: spec.values}]\n";
    cases.push(case.file(".seal-check.yaml", config).file("a.yaml", text).wants("K8S005", &value));
    cases
}

fn templates(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{{{ include \"app.name\" . }}}}\nstringData:\n  user: {{{{ .Values.user }}}}\n  password: {value}\n"
    );
    cases.push(
        make.leak("a literal in a template of Helm")
            .file("chart/templates/secret.yaml", text)
            .wants(SECRET, &value),
    );

    let value = make.password();
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {{{{ .Release.Name }}}}\ntype: Opaque\ndata:\n  password: {{{{ .Values.password | default \"{value}\" | b64enc | quote }}}}\n"
    );
    cases.push(
        make.leak("a default in a template of Helm")
            .file("chart/templates/secret.yaml", text)
            .wants(SECRET, &value),
    );

    let value = base64(&make.password());
    let text = format!(
        "{{{{- if .Values.create }}}}\napiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n  {{{{- if .Values.password }}}}\n  password: {{{{ .Values.password | b64enc }}}}\n  {{{{- else }}}}\n  password: {value}\n  {{{{- end }}}}\n{{{{- end }}}}\n"
    );
    cases.push(
        make.leak("a literal behind an else of Helm")
            .file("chart/templates/secret.yaml", text)
            .wants(SECRET, &value),
    );
    cases
}

const SECRET: &str = "K8S001";
