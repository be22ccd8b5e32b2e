use super::{RULE, TEMPLATE_REMEDY};
use crate::check::test_kit::{METADATA, Repository, found};
use crate::check::{Fix, Outline, Severity};

fn found_in(text: &str) -> Vec<String> {
    found("K8S001", "a.yaml", text)
}

#[track_caller]
fn assert_clean(text: &str) {
    assert_eq!(found_in(text), [""; 0], "{text}");
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\\nMIIB\\n-----END CERTIFICATE-----\\n";

#[test]
fn values_are_found_in_every_style() {
    let cases = [
        ("apiVersion: v1\nkind: Secret\ndata:\n  p: aHVudGVyMg==\n", "4 /data/p"),
        ("kind: Secret\nstringData:\n  p: hunter2\n", "3 /stringData/p"),
        ("kind: \"Secret\"\nstringData:\n  'p': 'x'\n", "3 /stringData/p"),
        ("kind : Secret\nstringData : {p : x}\n", "2 /stringData/p"),
        ("kind:\tSecret\nstringData:\t{p:\tx}\n", "2 /stringData/p"),
        ("{\"kind\":\"Secret\",\n\t\"stringData\": {\n\t\t\"p\": \"\\ud83d\\ude00\"}}", "3 /stringData/p"),
        ("{kind: Secret, data: {p: aHVudGVyMg==}}", "1 /data/p"),
        ("stringData:\n  p: |\n    a\n    b\nkind: Secret\n", "3 /stringData/p"),
        ("kind: Secret\r\nstringData:\r\n  p: x\r\n", "3 /stringData/p"),
        ("--- # c\nkind: Secret\nstringData: {p: x}\n", "3 /stringData/p"),
        ("%YAML 1.2\n---\nkind: Secret\nstringData: {p: x}\n", "4 /stringData/p"),
        ("---\nkind: A\n---\n\nkind: Secret\nstringData: {p: x}\n", "6 /stringData/p"),
        ("kind: List\nitems:\n- kind: Secret\n  stringData: {p: x}\n", "4 /stringData/p"),
        ("kind: SecretList\nitems:\n- metadata: {name: n}\n  data: {p: aHVudGVyMg==}\n", "4 /data/p"),
        ("kind: Secret\ndata:\n  p: !!binary aHVudGVyMg==\n", "3 /data/p"),
        ("kind: Secret\nstringData:\n  p: 1234\n", "3 /stringData/p"),
        ("kind: Secret\nstringData:\n  p: true\n", "3 /stringData/p"),
        ("kind: Secret\ndata:\n  p: hunter2!\n", "3 /data/p"),
        ("x: &x\n  p: x\nkind: Secret\nstringData: *x\n", "2 /stringData/p"),
        ("x: &x {kind: Secret}\ny:\n  <<: *x\n  stringData: {p: x}\n", "4 /stringData/p"),
        ("kind: Secret\nstringData: {p: x}\nstringData: {}\n", "2 /stringData/p"),
        ("extraObjects:\n- apiVersion: v1\n  kind: Secret\n  stringData: {a/b: x}\n", "4 /stringData/a~1b"),
        (
            "generate:\n  kind: Secret\n  data:\n    metadata: {labels: {a: b}}\n    stringData:\n      p: x\n",
            "6 /data/stringData/p",
        ),
        ("kind: Secret\nstringData:\n  p: [a]\n", "3 /stringData/p"),
    ];
    for (text, wanted) in cases {
        assert_eq!(found_in(text), [wanted], "{text}");
    }
}

#[test]
fn values_are_found_in_every_encoding_and_under_every_name() {
    let text = "kind: Secret\nstringData:\n  p: x\n";
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat();
    for bytes in [wide, marked] {
        assert_eq!(Repository::default().with("a.yaml", bytes).found(), ["K8S001 a.yaml:3 /stringData/p"]);
    }
    for path in ["a.YML", "secret.yaml.bak", "secret.yaml.j2", "secret", "a.json"] {
        assert_eq!(found("K8S001", path, text), ["3 /stringData/p"], "{path}");
    }
    for path in ["README.md", "docs/a.rst"] {
        assert_eq!(found("K8S001", path, text), [""; 0], "{path}");
    }
    assert_eq!(found("K8S001", "main.go", "package main\n// kind: Secret\n"), [""; 0]);
}

#[test]
fn secrets_without_values_are_left_alone() {
    for text in [
        "kind: Secret\ndata: {}\n",
        "kind: Secret\nstringData:\n  p: ''\n  q: \"\"\n  r:\n  s: null\n  t: ~\n",
        "kind: Secret\ntype: kubernetes.io/service-account-token\n",
        "kind: Secret\n$patch: delete\nstringData: {p: x}\n",
        "kind: Secret\ndata: null\n",
        "kind: Secret\nmetadata: {name: data}\n",
        "secretRef: {kind: Secret, name: n}\n",
        "kind: ConfigMap\ndata: {kind: Secret, p: x}\n",
        "kind: SealedSecret\nspec: {template: {data: {p: x}}}\n",
        "apiVersion: example.org/v1\nkind: Secret\ndata: {p: x}\n",
        "kind: ExternalSecret\nspec: {target: {template: {data: {p: '{{ .p }}'}}}}\n",
        "kind: CustomResourceDefinition\nspec: {properties: {kind: {type: string}, data: {type: object}}}\n",
        "kind: Secret\n",
        "- Secret\n",
        "Secret\n",
    ] {
        assert_clean(text);
    }
}

#[test]
fn placeholders_certificates_and_public_keys_are_left_alone() {
    let certificate = crate::sealed::encode_base64(PEM.replace("\\n", "\n").as_bytes());
    for value in [
        "p: ${PASSWORD}",
        "p: '<path:secret/data/app#password>'",
        "p: REPLACE_ME",
        "p: changeme",
        "ca.crt: x",
    ] {
        assert_clean(&format!("kind: Secret\nstringData:\n  {value}\n"));
    }
    let placeholder = crate::sealed::encode_base64(b"${PASSWORD}");
    for value in [
        format!("p: {placeholder}"),
        format!("other: {certificate}"),
        format!("tls.crt: {certificate}"),
        format!("p: {}", crate::sealed::encode_base64(b"\n")),
    ] {
        assert_clean(&format!("kind: Secret\ndata:\n  {value}\n"));
    }
    assert_clean(&format!("kind: Secret\nstringData:\n  chain: \"{PEM}{PEM}\"\n"));
    assert_clean(
        "kind: Secret\nstringData: {identity.pub: ssh-ed25519 AAAA, known_hosts: 'h ssh-rsa AAAA'}\n",
    );
    let key = ["-----BEGIN ", "PRIVATE KEY-----\\nMIIB\\n"].concat();
    let text = format!("kind: Secret\nstringData:\n  tls.crt: \"{PEM}{key}\"\n");
    assert_eq!(found_in(&text), ["3 /stringData/tls.crt"]);
}

#[test]
fn texts_that_variables_are_put_in_are_judged_by_their_lines() {
    assert_clean("kind: Secret\nstringData:\n  url: postgres://u:${PASSWORD}@db/x\n");
    assert_clean("kind: Secret\nstringData:\n  c: |\n    host: db\n    password: ${PASSWORD}\n");
    assert_eq!(found_in("kind: Secret\nstringData:\n  p: ${P:-hunter2}\n"), ["3 /stringData/p"]);
    assert_eq!(found_in("kind: Secret\nstringData:\n  p: hunter$\n"), ["3 /stringData/p"]);
    let text = "kind: Secret\nstringData:\n  c: |\n    host: ${HOST}\n    password: hunter2\n";
    assert_eq!(found_in(text), ["5 /stringData/c"]);
}

#[test]
fn what_sops_encrypted_is_judged_by_its_rules() {
    assert_clean(&format!("kind: Secret\nstringData:\n  p: x\n{METADATA}"));
    let text =
        format!("kind: Secret\nstringData: {{p: x}}\n---\nkind: Secret\n{METADATA}stringData: {{p: x}}\n");
    assert_eq!(found_in(&text), ["2 /stringData/p"]);
    let broken = "kind: Secret\nstringData: {p: x}\nsops: {mac: a, lastmodified: b}\n";
    assert_eq!(found_in(broken), ["2 /stringData/p"]);
    assert_eq!(found_in("kind: Secret\nstringData: {p: x}\nsops: {}\n"), ["2 /stringData/p"]);
    let inner = "p: ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]\nsops: {mac: x, version: y}\n";
    let inner = crate::sealed::encode_base64(inner.as_bytes());
    assert_clean(&format!("kind: Secret\ndata:\n  p: {inner}\n"));
}

#[test]
fn repositories_of_argo_cd_may_be_in_clear_without_a_password() {
    let text = |rest: &str| {
        format!(
            "kind: Secret\nmetadata: {{labels: {{argocd.argoproj.io/secret-type: repository}}}}\nstringData:\n  \
             type: git\n  {rest}\n"
        )
    };
    assert_clean(&text("url: https://example.org/x"));
    assert_clean(&text("url: git@example.org:x"));
    assert_eq!(found_in(&text("password: hunter2")), ["5 /stringData/password"]);
    assert_eq!(found_in(&text("url: https://u:hunter2@example.org/x")), ["5 /stringData/url"]);
}

#[test]
fn secrets_in_texts_of_other_objects_are_found_on_their_lines() {
    let text = "kind: ConfigMap\nmetadata: {name: n}\ndata:\n  a.yaml: |\n    # c\n    kind: Secret\n    stringData:\n      \
                p: x\n";
    let findings = Repository::default().with("a.yaml", text).check();
    let finding = findings.first().expect("a finding");
    assert_eq!((finding.start.line, finding.object.as_str()), (8, "ConfigMap/n"));
    assert_eq!(finding.pointer, "/data/a.yaml");
    assert_eq!(&text[finding.span.clone()], "x");
    let text = "a: |\n  kind: Secret\n  stringData: {p: x}\n  sops: {mac: x, version: y}\n";
    assert_eq!(found_in(text), ["3 /a"]);
    let text = "manifest: \"kind: Secret\\nstringData: {p: x}\\n\"\n";
    assert_eq!(found_in(text), ["1 /manifest"]);
    let text = "a:\n  b: |\n    c: |\n      kind: Secret\n      stringData:\n        p: x\n";
    assert_eq!(found_in(text), ["6 /a/b"]);
    assert_clean("patches:\n- patch: |\n    kind: Secret\n    stringData: {p: x}\n");
    assert_clean("description: |\n  A kind of Secret: not one\n");
    assert_clean(&format!("data:\n  a: |\n    kind: Secret\n    stringData: {{p: x}}\n{METADATA}"));
}

#[test]
fn literals_in_templates_are_found() {
    let text = "apiVersion: v1\nkind: Secret\ndata:\n  {{- if .Values.p }}\n  p: {{ .Values.p | b64enc }}\n  {{- else }}\n  \
                p: aHVudGVyMg==\n  {{- end }}\n";
    assert_eq!(found("K8S001", "templates/s.yaml", text), ["7 /data/p"]);
    let text = "kind: Secret\ndata:\n  password: {{ .Values.p | default \"hunter2\" | b64enc | quote }}\n";
    assert_eq!(found("K8S001", "templates/s.yaml", text), ["3 /data/password"]);
    let findings = Repository::default().with("templates/s.yaml", text).check();
    let finding = findings.first().expect("a finding");
    assert_eq!((&text[finding.span.clone()], finding.severity), ("hunter2", Severity::Error));
    assert_eq!((finding.fix, finding.remedy.as_str()), (None, TEMPLATE_REMEDY));
    let user = text.replace("password", "user");
    let findings = Repository::default().with("templates/s.yaml", user).check();
    assert_eq!(findings.first().expect("a finding").severity, Severity::Warning);
}

#[test]
fn templates_that_are_no_yaml_are_read_by_their_lines() {
    let text = "{{- range .Values.a }}\nkind: Secret\nmetadata:\n  name: {{ .n }}\n  labels: {{ .x }}{{- nindent 4 }}\n   a: b\n\
                stringData:\n  p: \"x\" # c\n  q: {{ .q }}\n  r: ''\n  s: ${S}\n  password: {{ default \"y\" .t }}\n  u: |\n    z\n{{ end }}\n";
    assert!(Outline::read(text).documents().iter().any(|document| document.error.is_some()));
    let wanted = ["8 /stringData/p", "12 /stringData/password", "13 /stringData/u"];
    assert_eq!(found("K8S001", "templates/s.yaml", text), wanted);
    assert_eq!(found("META001", "templates/s.yaml", text), [""; 0]);
}

#[test]
fn templates_that_fill_everything_in_are_left_alone() {
    let text = "{{- if not .Values.existingSecret }}\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ include \"x.name\" . }}\n  \
                labels: {{- include \"x.labels\" . | nindent 4 }}\ntype: Opaque\ndata:\n  {{- range $k, $v := .Values.data }}\n  \
                {{ $k }}: {{ $v | b64enc | quote }}\n  {{- end }}\n  p: {{ randAlphaNum 16 | b64enc }}\n  \
                q: {{ .Values.q | default \"\" | b64enc }}\n  r: {{ .Files.Get \"r.crt\" | b64enc }}\n  \
                s: \"{{ .Values.s }}\"\n  {{- with .Values.t }}\n  {{- toYaml . | nindent 2 }}\n  {{- end }}\n\
                stringData:\n  c.yaml: |\n    level: {{ .Values.level | default \"info\" }}\n{{- end }}\n";
    assert_eq!(found("K8S001", "templates/s.yaml", text), [""; 0]);
    assert_eq!(found("META001", "templates/s.yaml", text), [""; 0]);
}

#[test]
fn manifests_in_scripts_are_warned_of() {
    let text = "#!/bin/sh\nkubectl apply -f - <<EOF\nkind: Secret\nstringData:\n  p: hunter2\n  q: $Q\n  r: \"$(get r)\"\nEOF\n";
    let findings = Repository::default().with("a.sh", text).check();
    let findings: Vec<_> = findings.iter().filter(|finding| finding.rule == &RULE).collect();
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].start.line, findings[0].severity), (5, Severity::Warning));
}

#[test]
fn the_remedy_is_what_the_repository_uses() {
    let text = "kind: Secret\nstringData: {p: x}\n";
    let finding = |policy: &str| {
        let repository = Repository::default().with("s/a b.yaml", text).with(".sops.yaml", policy);
        repository.check().into_iter().find(|finding| finding.rule == &RULE).expect("a finding")
    };
    let key = "age: age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw";
    let encrypted = finding(&format!("creation_rules:\n- path_regex: ^s/\n  {key}\n"));
    assert_eq!(encrypted.fix, Some(Fix::Encrypt));
    assert_eq!(encrypted.remedy, "kubectl seal encrypt -i 's/a b.yaml'");
    let other = finding(&format!("creation_rules:\n- path_regex: ^t/\n  {key}\n"));
    assert_eq!(other.fix, None);
    assert_eq!(other.remedy, "kubectl seal 's/a b.yaml' > 's/sealed-a b.yaml'");
}

#[test]
fn nothing_of_a_value_is_told() {
    let text = "kind: Secret\nmetadata: {name: n, namespace: m}\nstringData:\n  p: hunter2\n";
    let findings = Repository::default().with("a.yaml", text).check();
    let finding = findings.first().expect("a finding");
    assert_eq!(finding.message, "\"p\" of stringData is in clear");
    assert_eq!(finding.object, "Secret/m/n");
    assert_eq!(finding.value.as_ref().map(|value| value.expose_secret()), Some(b"hunter2".as_slice()));
    for shown in [&finding.message, &finding.pointer, &finding.remedy, &finding.object] {
        assert!(!shown.contains("hunter2"));
    }
}

#[test]
fn many_values_and_documents_are_told_in_bounds() {
    let mut text = "kind: Secret\nstringData:\n".to_owned();
    for number in 0..100 {
        text += &format!("  k{number}: x\n");
    }
    let findings = Repository::default().with("a.yaml", &text).check();
    assert_eq!(findings.len(), 100);
    let text = "---\nkind: Secret\nstringData: {p: x}\n".repeat(10_000);
    assert_eq!(Repository::default().with("a.yaml", &text).check().len(), 10_000);
    let text = format!("kind: Secret\nstringData: {{p: {}}}\n", "x".repeat(1_000_000));
    assert_eq!(found_in(&text), ["2 /stringData/p"]);
    let text = format!("kind: Secret\nstringData: {}", "{a: ".repeat(100_000));
    assert_eq!(found("META001", "a.yaml", &text).len(), 1);
    let items = "{\"kind\": \"Secret\", \"items\": [".repeat(4000);
    let text = format!("{items}{}", "]}".repeat(4000));
    assert_clean(&text);
}

#[test]
fn templates_hide_nothing_beside_them() {
    let text = "kind: Secret\nstringData:\n  alertmanager.yaml: |\n    global:\n      smtp_auth_password: hunter2\n    \
                x: '{{ template \"a\" . }}'\n";
    assert_eq!(found_in(text), ["5 /stringData/alertmanager.yaml"]);
    assert_clean(&text.replace("hunter2", "{{ .p }}"));
    assert_clean(&text.replace("smtp_auth_password", "smtp_auth_password_file"));
    for value in ["hunter2 {{/* note */}}", "{{- /* note */ -}} hunter2", "{{ or .p \"hunter2\" }}"] {
        assert_eq!(
            found_in(&format!("kind: Secret\nstringData:\n  p: {value}\n")),
            ["3 /stringData/p"],
            "{value}"
        );
    }
    for line in [
        "{\"a\": {\"password\": \"hunter2\"}, \"b\": \"${B}\"}",
        "a: {user: ${U}, password: hunter2}",
        "host=${H} user=x password=hunter2 port=1",
    ] {
        let text = format!("kind: Secret\nstringData:\n  c: |\n    {line}\n");
        assert_eq!(found_in(&text), ["4 /stringData/c"], "{line}");
        assert_clean(&text.replace("hunter2", "${P}"));
    }
    let inner = crate::sealed::encode_base64(b"host: ${HOST}\nx: hunter2\n");
    assert_eq!(found_in(&format!("kind: Secret\ndata:\n  p: {inner}\n")), ["3 /data/p"]);
    assert_eq!(found_in("apiVersion: {{ .v }}\nkind: Secret\nstringData: {p: x}\n"), ["3 /stringData/p"]);
    assert_eq!(found_in("kind: Secret\nstringData: {p: {a: {b: {c: x}}}}\n"), ["2 /stringData/p"]);
}

#[test]
fn documents_in_texts_are_templates_where_the_text_is() {
    let text = "extraDeploy:\n- |\n  kind: Secret\n  stringData:\n    password: '{{ .Values.p }}'\n    q: {{ .q }}\n";
    assert_clean(text);
    assert_eq!(found_in(&text.replace("{{ .q }}", "hunter2")), ["6 /extraDeploy/0"]);
    let text = "a: \"kind: Secret\\nstringData: {p: '{{ .Values.p }}'}\\n\"\n";
    assert_clean(text);
    assert_eq!(found_in(&text.replace("{{ .Values.p }}", "hunter2")), ["1 /a"]);
}

#[test]
fn clusters_of_argo_cd_may_be_in_clear_without_credentials() {
    let text = |config: &str| {
        format!(
            "kind: Secret\nmetadata: {{labels: {{argocd.argoproj.io/secret-type: cluster}}}}\nstringData:\n  \
             name: a\n  server: https://a:6443\n  config: '{config}'\n"
        )
    };
    assert_clean(&text(
        "{\"awsAuthConfig\": {\"clusterName\": \"a\"}, \"tlsClientConfig\": {\"caData\": \"QQ==\"}}",
    ));
    assert_eq!(found_in(&text("{\"bearerToken\": \"hunter2\"}")), ["6 /stringData/config"]);
    assert_eq!(found_in(&text("{\"tlsClientConfig\": {\"keyData\": \"QQ==\"}}")), ["6 /stringData/config"]);
    assert_eq!(found_in(&text("[")), ["6 /stringData/config"]);
}

#[test]
fn certificates_may_have_words_around_them() {
    for words in ["# Root\\n", "subject=CN = a\\nissuer=CN = b\\n", "Bag Attributes\\n    friendlyName: a\\n"]
    {
        assert_clean(&format!("kind: Secret\nstringData:\n  chain: \"{words}{PEM}{words}{PEM}\"\n"));
    }
    let text = format!("kind: Secret\nstringData:\n  chain: \"password=hunter2\\n{PEM}\"\n");
    assert_eq!(found_in(&text), ["3 /stringData/chain"]);
}

#[test]
fn policies_that_generate_secrets_without_values_are_left_alone() {
    assert_clean("generate:\n  kind: Secret\n  data:\n    metadata: {labels: {a: b}}\n    type: Opaque\n");
}

#[test]
fn secrets_in_many_texts_take_linear_time() {
    let mut text = "kind: ConfigMap\ndata:\n".to_owned();
    for number in 0..5_000 {
        text += &format!("  k{number}: |\n    kind: Secret\n    stringData: {{p: x}}\n");
    }
    assert_eq!(found_in(&text).len(), 5_000);
}

#[test]
fn hostile_lines_take_linear_time() {
    let blanks = " ".repeat(200_000);
    for part in
        ["password:", "password=${A}", "password=\"", "password:'a\" ", "password: ${A},", "=", "{{ if a }}x"]
    {
        let text = format!(
            "kind: Secret\nstringData:\n  p: |\n    ${{A}} {{{{ .b }}}} {}{blanks}\n",
            part.repeat(50_000)
        );
        let _ = found_in(&text);
    }
}
