use crate::check::test_kit::{Repository, found};

fn literals(path: &str, text: &str) -> Vec<String> {
    found("K8S006", path, text)
}

#[test]
fn literals_in_workloads_are_found() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: n}\nspec:\n  template:\n    spec:\n      \
                containers:\n      - name: web\n        args:\n        - --listen=:80\n        - --db-password=hunter2\n        \
                - --api-token\n        - abcdef\n        env:\n        - name: DB_PASSWORD\n          value: hunter2\n        \
                - {name: LOG, value: debug}\n";
    let wanted = [
        "11 /spec/template/spec/containers/0/args/1",
        "13 /spec/template/spec/containers/0/args/3",
        "16 /spec/template/spec/containers/0/env/0/value",
    ];
    assert_eq!(literals("a.yaml", text), wanted);
    let found = Repository::default().with("a.yaml", text).check();
    let finding = found.iter().find(|finding| finding.rule.id == "K8S006").expect("a finding");
    assert_eq!(finding.object, "Deployment/n/web");
    assert!(!found.iter().any(|finding| finding.message.contains("hunter2")));
}

#[test]
fn literals_in_config_maps_are_found() {
    let text = "kind: ConfigMap\nmetadata: {name: c}\ndata:\n  DB_PASSWORD: hunter2\n  app.properties: |\n    # x\n    \
                db.user=a\n    db.password=hunter2\n\n    api.token = abc # y\n  config.yaml: |\n    db:\n      \
                password: \"hunter2\"\n  app.json: |-\n    {\n      \"token\": \"abc\",\n      \"x\": 1\n    }\n";
    let wanted = [
        "4 /data/DB_PASSWORD",
        "8 /data/app.properties",
        "10 /data/app.properties",
        "13 /data/config.yaml",
        "16 /data/app.json",
    ];
    assert_eq!(literals("c.yaml", text), wanted);
    let text = "configMapGenerator:\n- name: c\n  literals:\n  - LOG=debug\n  - DB_PASSWORD=hunter2\n";
    assert_eq!(literals("a/kustomization.yaml", text), ["5 /configMapGenerator/0/literals/1"]);
}

#[test]
fn literals_in_values_of_charts_are_found() {
    let text = "image: x\nauth:\n  username: admin\n  password: hunter2\nextraEnv:\n- name: API_TOKEN\n  value: abc\n";
    let wanted = ["4 /auth/password", "7 /extraEnv/0/value"];
    for path in ["values.yaml", "values-prod.yaml", "prod-values.yml", "x/prod.values.yaml"] {
        assert_eq!(literals(path, text), wanted, "{path}");
    }
    assert!(literals("other.yaml", text).is_empty());
    let below =
        Repository::default().with("chart/Chart.yaml", "name: c\n").with("chart/ci/prod.yaml", text).found();
    assert_eq!(
        below,
        ["K8S006 chart/ci/prod.yaml:4 /auth/password", "K8S006 chart/ci/prod.yaml:7 /extraEnv/0/value"]
    );
    let text = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: r}\nspec:\n  values:\n    auth:\n      rootPassword: hunter2\n";
    assert_eq!(literals("r.yaml", text), ["7 /spec/values/auth/rootPassword"]);
    let text = "kind: Kustomization\napiVersion: kustomize.toolkit.fluxcd.io/v1\nspec:\n  postBuild:\n    substitute:\n      db_password: hunter2\n";
    assert_eq!(literals("k.yaml", text), ["6 /spec/postBuild/substitute/db_password"]);
}

#[test]
fn literals_in_applications_are_found() {
    let text = "kind: Application\nmetadata: {name: a}\nspec:\n  sources:\n  - helm:\n      parameters:\n      - name: auth.password\n        \
                value: hunter2\n      values: |\n        a: b\n        auth:\n          password: hunter2\n      valuesObject:\n        \
                token: abc\n    plugin:\n      env:\n      - {name: SECRET_KEY, value: abc}\n";
    let wanted = [
        "8 /spec/sources/0/helm/parameters/0/value",
        "12 /spec/sources/0/helm/values",
        "14 /spec/sources/0/helm/valuesObject/token",
        "17 /spec/sources/0/plugin/env/0/value",
    ];
    assert_eq!(literals("app.yaml", text), wanted);
}

#[test]
fn references_are_left_alone() {
    let text = "kind: Deployment\nspec:\n  containers:\n  - args: [--password=$(PASSWORD), --token-file=/run/token, --secret-name=x, --password, -v]\n    \
                env:\n    - name: DB_PASSWORD\n      valueFrom: {secretKeyRef: {name: db, key: password}}\n    \
                - {name: SECRET_NAME, value: db}\n    - {name: PASSWORD_FILE, value: /run/p}\n    - {name: TOKEN, value: ''}\n    \
                - {name: API_TOKEN, value: ${API_TOKEN}}\n    - {name: USE_TOKEN, value: \"true\"}\n    - {name: TOKEN_TTL, value: 1h}\n    \
                - {name: AUTH_TOKEN, value: 'https://example.org/token'}\n    - {name: ACCESS_TOKEN, value: <token>}\n";
    assert!(literals("a.yaml", text).is_empty());
    let text = "auth:\n  existingSecret: my-secret\n  secretKeys: {adminPasswordKey: admin-password, password: x}\n  password: \"\"\n  \
                token: changeme\n  passwordFile: x\n  imagePullSecrets: [{name: regcred}]\n  tlsSecret: my-tls\n  \
                secretName: s\n  enablePassword: false\n  tokenTTL: 3600\n  authSecret: my-auth-secret\n  password_key: password\n";
    assert!(literals("values.yaml", text).is_empty());
    let text = "env:\n- name: DB_PASSWORD\n  value: {{ .Values.password }}\n";
    assert!(literals("chart/templates/values.yaml", text).is_empty());
}

#[test]
fn schemas_programs_and_texts_are_left_alone() {
    let text = "kind: CustomResourceDefinition\nspec:\n  versions:\n  - schema:\n      openAPIV3Schema:\n        properties:\n          \
                password: {type: string, description: value of the password}\n";
    assert!(literals("crd.yaml", text).is_empty());
    assert!(
        literals("values.schema.json", "{\"properties\": {\"password\": {\"type\": \"string\"}}}").is_empty()
    );
    assert!(literals("en.json", "{\"login\": {\"password\": \"Password\", \"value\": \"x\"}}").is_empty());
    let text = "kind: ConfigMap\ndata:\n  run.sh: |\n    PASSWORD=hunter2\n    x\n  start: |\n    #!/bin/sh\n    TOKEN=abc\n  \
                app.conf: |\n    password = os.getenv(\"X\")\n    token=${TOKEN}\n    password: Enter your password\n  \
                password-label: Password\n  d.json: |\n    {\"panels\": [],\n    \"token\": \"abc\"}\n";
    assert!(literals("c.yaml", text).is_empty());
    let text =
        "kind: ExternalSecret\nspec:\n  data:\n  - secretKey: DB\n    remoteRef: {key: x, property: value}\n";
    assert!(literals("e.yaml", text).is_empty());
}

#[test]
fn settings_that_look_like_secrets_are_left_alone() {
    let cases = [
        (
            "values.yaml",
            "grafana:\n  adminPassword: ''\n  admin: {existingSecret: g, passwordKey: admin-password}\n  \
                         rbac: {token: null}\nserviceAccount: {automountServiceAccountToken: true}\n",
        ),
        (
            "values.yaml",
            "auth:\n  secret: app-credentials\n  tokenUrl: https://example.org/token\n  password: \
                         vault:kv/app#password\n  apiKey: <path:kv/app#key>\n  clientSecret: ref+vault://kv/a#/b\n",
        ),
        (
            "values.yaml",
            "oidc:\n  clientSecret: ${CLIENT_SECRET}\n  clientSecretPlaceholder: x\n  passwordPolicy: \
                         strict-rules\n  credentials: include\n  passwordLength: 24\n  maxTokens: 10000\n",
        ),
        (
            "a.yaml",
            "kind: HelmRelease\nspec:\n  values:\n    auth:\n      existingSecret: db\n      password: ${DB_PASSWORD}\n  \
                    valuesFrom:\n  - {kind: Secret, name: s, valuesKey: password, targetPath: auth.password}\n",
        ),
        (
            "a.yaml",
            "kind: ConfigMap\ndata:\n  a.yaml: |\n    password: *anchor\n    token: !secret x\n    auth:\n      \
                    password_file: /run/x\n    if: token == other\n  b.conf: |\n    token := x\n    secret = config.secret\n  \
                    c.json: '{\"tokenTtl\": \"1h\", \"password\": \"\"}'\n",
        ),
        (
            "a.yaml",
            "kind: Deployment\nspec:\n  containers:\n  - command: [sh, -c, 'echo value']\n    args: [--secret, \
                    ns/app-secret, --token-ttl, 24h, --password-file, /run/p, --enable-password=true]\n",
        ),
        (
            "a.yaml",
            "kind: Application\nspec:\n  source:\n    helm:\n      values: |\n        auth: {password: \
                    '{{ .token }}', existingSecret: x}\n      parameters: [{name: auth.existingSecret, value: x}]\n",
        ),
        ("chart/dashboards/x.yaml", "token: abc\n"),
    ];
    for (path, text) in cases {
        let repository = Repository::default().with("chart/Chart.yaml", "name: c\n").with(path, text);
        let found: Vec<_> =
            repository.check().into_iter().filter(|finding| finding.rule.id == "K8S006").collect();
        assert!(found.is_empty(), "{found:?}\n{text}");
    }
    let text = "kind: ConfigMap\ndata:\n  c.json: '{\"db\": {\"password\": \"hunter2\"}}'\n  d: \"DB_PASSWORD=hunter2\\n\"\n";
    assert_eq!(literals("c.yaml", text), ["3 /data/c.json", "4 /data/d"]);
}

#[test]
fn hostile_files_end() {
    let mut text = "kind: Application\nspec:\n".to_owned();
    for level in 0..150 {
        text += &format!("{}valuesObject:\n", " ".repeat(level + 1));
    }
    text += &format!("{}password: hunter2\n", " ".repeat(160));
    assert!(!literals("a.yaml", &text).is_empty());
}

#[test]
fn lines_beside_templates_are_looked_at_on_their_own() {
    let text =
        "kind: ConfigMap\ndata:\n  a.yaml: |\n    a: {{ .b }}\n    password: hunter2\n    token: {{ .t }}\n";
    assert_eq!(found("K8S006", "templates/a.yaml", text), ["5 /data/a.yaml"]);
}

#[test]
fn values_of_charts_of_kustomizations_are_looked_at() {
    let text = "helmCharts:\n- name: a\n  valuesInline:\n    auth:\n      password: hunter2\n";
    assert_eq!(found("K8S006", "kustomization.yaml", text), ["5 /helmCharts/0/valuesInline/auth/password"]);
}

#[test]
fn names_of_secrets_are_no_secrets() {
    let text = |pair: &str| format!("kind: Deployment\nspec:\n  env:\n  - {pair}\n");
    for pair in ["{name: APP_TOKEN_SECRET, value: app-token}", "{name: OAUTH_SECRET, value: apps/oauth}"] {
        assert_eq!(found("K8S006", "a.yaml", &text(pair)), [""; 0], "{pair}");
    }
    let text = text("{name: CLIENT_SECRET, value: abcdef-123456}");
    assert_eq!(found("K8S006", "a.yaml", &text), ["4 /spec/env/0/value"]);
}
