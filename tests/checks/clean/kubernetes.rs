//! Objects that name secrets, or hold what is public.

use crate::checks::case::Case;
use crate::checks::maker::{Maker, base64, secret};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = empty_secrets(make);
    cases.extend(references(make));
    cases.extend(public(make));
    cases
}

fn empty_secrets(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body) in [
        ("a Secret without data", ""),
        ("empty data", "data: {}\n"),
        ("nothing for data", "data:\nstringData: null\n"),
        ("empty values of a Secret", "data:\n  password: \"\"\nstringData:\n  other: ''\n"),
        ("a variable of Flux", "stringData:\n  password: ${DB_PASSWORD}\n"),
        ("a variable of Flux with a name in it", "stringData:\n  password: \"${DB_PASSWORD:=}\"\n"),
        ("a path of the Vault plugin", "stringData:\n  password: <path:kv/data/db#password>\n"),
        ("a word to replace", "stringData:\n  password: REPLACE_ME\n  other: changeme\n"),
        ("what to put there", "stringData:\n  password: <your password>\n"),
    ] {
        cases.push(make.clean(name).file("db.yaml", secret(body)));
    }
    let text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: robot-token\n  annotations:\n    kubernetes.io/service-account.name: robot\ntype: kubernetes.io/service-account-token\n";
    cases.push(make.clean("a token that the cluster makes").file("token.yaml", text));
    let text = "$patch: delete\napiVersion: v1\nkind: Secret\nmetadata:\n  name: db\n";
    cases.push(make.clean("a Secret is deleted by a patch").file("patch.yaml", text));
    let text = "{{- if .Values.create }}\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {{ include \"app.name\" . }}\ndata:\n  {{- range $key, $value := .Values.secrets }}\n  {{ $key }}: {{ $value | b64enc | quote }}\n  {{- end }}\n  password: {{ required \"a password\" .Values.password | b64enc }}\n{{- end }}\n";
    cases.push(make.clean("a template of Helm").file("chart/templates/secret.yaml", text));
    let text = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\ndata:\n  {{- if .Values.password }}\n  password: {{ .Values.password | b64enc }}\n  {{- else }}\n  password: {{ randAlphaNum 32 | b64enc }}\n  {{- end }}\n";
    cases.push(
        make.clean("a template of Helm that draws a password").file("chart/templates/secret.yaml", text),
    );
    let cert = make.certificate();
    let text = secret(&format!("data:\n  ca.crt: {}\n", base64(&cert)));
    cases.push(make.clean("a Secret of certificates").file("ca.yaml", text));
    let config = "version: 1\nplaceholders: [\"FILL_IN_*\"]\n";
    let text = secret("stringData:\n  password: FILL_IN_LATER\n");
    cases.push(
        make.clean("a placeholder of the repository").file(".seal-check.yaml", config).file("db.yaml", text),
    );
    let value = make.password();
    let text = secret(&format!(
        "stringData:\n  # seal:allow K8S001 reason=\"a demo, used nowhere\"\n  password: {value}\n"
    ));
    cases.push(make.clean("what the repository allows").file("demo.yaml", text));
    cases
}

fn references(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\nspec:\n  template:\n    spec:\n      imagePullSecrets: [{name: registry-credentials}]\n      containers:\n        - name: app\n          image: example/app:1\n          env:\n            - name: DB_PASSWORD\n              valueFrom:\n                secretKeyRef:\n                  name: db-credentials\n                  key: password\n            - name: DB_PASSWORD_FILE\n              value: /run/secrets/db/password\n            - name: TOKEN_TTL_SECONDS\n              value: \"3600\"\n          envFrom:\n            - secretRef:\n                name: app-secrets\n      volumes:\n        - name: secrets\n          secret:\n            secretName: app-secrets-v2\n";
    cases.push(make.clean("references of a Deployment").file("app.yaml", text));
    let text = "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata:\n  name: db\nspec:\n  refreshInterval: 1h\n  secretStoreRef:\n    name: vault\n    kind: ClusterSecretStore\n  target:\n    name: db-secret\n  data:\n    - secretKey: password\n      remoteRef:\n        key: kv/shop/db\n        property: password\n";
    cases.push(make.clean("an ExternalSecret").file("db.yaml", text));
    let text = "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata:\n  name: db\nspec:\n  provider: vault\n  parameters:\n    roleName: db\n    objects: |\n      - objectName: password\n        secretPath: kv/data/db\n        secretKey: password\n";
    cases.push(make.clean("a SecretProviderClass").file("db.yaml", text));
    let text = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader}\nrules:\n- apiGroups: [\"\"]\n  resources: [secrets, serviceaccounts/token]\n  verbs: [get, list]\n";
    cases.push(make.clean("a Role for Secrets").file("role.yaml", text));
    let text = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: web}\nspec:\n  secretName: web-tls\n  privateKey: {algorithm: ECDSA, size: 256}\n  issuerRef: {name: letsencrypt, kind: ClusterIssuer}\n";
    cases.push(make.clean("a Certificate").file("web.yaml", text));
    let text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: web\n  annotations:\n    nginx.ingress.kubernetes.io/auth-secret: shop/basic-auth\nspec:\n  tls:\n    - hosts: [a.example]\n      secretName: web-tls\n";
    cases.push(make.clean("an Ingress").file("web.yaml", text));
    cases
}

fn public(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let (sum, other) = (make.hex(64), make.hex(64));
    let text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app\nspec:\n  template:\n    metadata:\n      annotations:\n        checksum/secret: {sum}\n    spec:\n      containers:\n        - name: app\n          image: example/app@sha256:{other}\n"
    );
    cases.push(make.clean("checksums and digests").file("app.yaml", text));
    let bundle = base64(&make.certificate());
    let text = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {{name: a}}\nwebhooks:\n- name: secrets.a.example\n  clientConfig:\n    caBundle: {bundle}\n"
    );
    cases.push(make.clean("a bundle of certificates").file("hook.yaml", text));
    let noise = make.noise(256).replace('+', "-").replace('/', "_").replace('=', "");
    let text = format!(
        "{{\n  \"keys\": [\n    {{\"kty\": \"RSA\", \"use\": \"sig\", \"kid\": \"token-signing\", \"e\": \"AQAB\", \"n\": \"{noise}\"}}\n  ]\n}}\n"
    );
    cases.push(make.clean("public keys of tokens").file("jwks.json", text));
    let noise = make.noise(120);
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: logo}}\nbinaryData:\n  logo.png: {noise}\ndata:\n  passwordPolicy: \"12\"\n  tokenUrl: https://id.example/oauth/token\n"
    );
    cases.push(make.clean("a ConfigMap with a picture").file("logo.yaml", text));
    let text = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: dbs.example.org\nspec:\n  group: example.org\n  names: {kind: Db, plural: dbs}\n  versions:\n    - name: v1\n      schema:\n        openAPIV3Schema:\n          type: object\n          properties:\n            passwordSecretRef:\n              description: The Secret that holds the password.\n              type: object\n              properties:\n                name: {type: string, default: db-credentials}\n                key: {type: string, default: password}\n            token:\n              type: string\n              description: A token.\n";
    cases.push(make.clean("the schema of a resource").file("crd.yaml", text));
    let text = "apiVersion: v1\nkind: Config\nclusters:\n- name: a\n  cluster: {server: https://a.example}\ncontexts: []\ncurrent-context: a\nusers:\n- name: admin\n  user:\n    exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: aws\n      args: [eks, get-token]\n";
    cases.push(make.clean("a kubeconfig that asks a program").file("kubeconfig", text));
    let text = "{\"auths\": {\"registry.example\": {}}, \"credsStore\": \"desktop\"}\n";
    cases.push(make.clean("a configuration of Docker without credentials").file("config.json", text));
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      {\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"},\"data\":{\"a\":\"b\"}}\ndata: {a: b}\n";
    cases.push(make.clean("what was applied last, and is no Secret").file("a.yaml", text));
    cases
}
