//! Kustomizations, values and files of variables that only say where secrets are.

use crate::checks::case::Case;
use crate::checks::maker::{Maker, secret};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, path, text) in SIMPLE {
        cases.push(make.clean(name).file(path, *text));
    }
    let value = make.password();
    let encrypted = make.sops(&format!("DB_PASSWORD={value}\n"), selkie::format::Format::Dotenv, ("", ""));
    let text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nsecretGenerator:\n  - name: db\n    envs: [db.env]\n";
    cases.push(
        make.clean("an encrypted file of variables for a secretGenerator")
            .file("a/db.env", encrypted)
            .file("a/kustomization.yaml", text),
    );

    let value = make.password();
    let encrypted =
        make.sops_secret(&secret(&format!("stringData:\n  values.yaml: \"password: {value}\"\n")));
    let text = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: db}\nspec:\n  valuesFrom:\n    - kind: Secret\n      name: db-values\n  values:\n    auth:\n      existingSecret: db-credentials\n      secretKeys: {adminPasswordKey: password}\n";
    cases.push(
        make.clean("a HelmRelease and its values").file("a/values.yaml", encrypted).file("a/db.yaml", text),
    );

    let (revision, sum) = (make.hex(40), make.noise(64));
    let text = format!(
        "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {{name: secrets}}\nspec:\n  url: ssh://git@git.example/shop/secrets.git\n  ref: {{commit: {revision}}}\n  secretRef: {{name: deploy-key}}\n"
    );
    cases.push(make.clean("a commit of a repository").file("source.yaml", text));

    let text = format!(
        "{{\n  \"lockfileVersion\": 3,\n  \"packages\": {{\n    \"node_modules/secret-token\": {{\n      \"resolved\": \"https://registry.example/secret-token/-/secret-token-1.0.0.tgz\",\n      \"integrity\": \"sha512-{sum}\"\n    }}\n  }}\n}}\n"
    );
    cases.push(make.clean("a lock file").file("package-lock.json", text));

    let sum = make.hex(64);
    let text = format!("[[package]]\nname = \"secrecy\"\nversion = \"0.10.3\"\nchecksum = \"{sum}\"\n");
    cases.push(make.clean("a lock file of Rust").file("Cargo.lock", text));

    let sum = make.noise(32);
    let text =
        format!("github.com/zalando/go-keyring v0.2.3 h1:{sum}\nexample.org/token v1.0.0/go.mod h1:{sum}\n");
    cases.push(make.clean("sums of Go").file("go.sum", text));
    cases
}

const SIMPLE: &[(&str, &str, &str)] = &[
    (
        "resources and images of a kustomization",
        "kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [secret.enc.yaml, app.yaml]\nimages:\n  - name: example/app\n    newTag: v1\ngenerators: [secret-generator.yaml]\nconfigMapGenerator:\n  - name: app\n    literals: [MODE=fast, TOKEN_URL=https://id.example/token]\n",
    ),
    (
        "a deletion in a component",
        "components/a/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n  - patch: |\n      $patch: delete\n      apiVersion: v1\n      kind: Secret\n      metadata: {name: db}\n",
    ),
    (
        "a JSON patch of a name",
        "kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\npatches:\n  - target: {kind: Secret, name: db}\n    patch: |-\n      - op: replace\n        path: /metadata/name\n        value: database\n      - op: remove\n        path: /data/password\n",
    ),
    (
        "placeholders of a secretGenerator",
        "kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nsecretGenerator:\n  - name: db\n    literals: [\"password=${DB_PASSWORD}\"]\n",
    ),
    (
        "a generator of KSOPS",
        "secret-generator.yaml",
        "apiVersion: viaduct.ai/v1\nkind: ksops\nmetadata: {name: secrets}\nfiles: [secret.enc.yaml]\n",
    ),
    (
        "values that name Secrets",
        "chart/values.yaml",
        "auth:\n  existingSecret: db-credentials\n  existingSecretPasswordKey: password\n  passwordSecretName: db\n  usePasswordFile: true\n  password: \"\"\n  passwordFile: /run/secrets/db\ntokenTTL: 3600\nsecretName: web-tls\nenableTokenAuth: true\n",
    ),
    (
        "values of an Application",
        "apps/db.yaml",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: db}\nspec:\n  source:\n    chart: db\n    helm:\n      parameters:\n        - name: auth.existingSecret\n          value: db-credentials\n        - name: auth.secretKeys.adminPasswordKey\n          value: password\n",
    ),
    (
        "an example of a file of variables",
        ".env.example",
        "DB_HOST=localhost\nDB_PASSWORD=\nAPI_TOKEN=your-token-here\n",
    ),
    (
        "a file of variables that names other variables",
        ".env",
        "DB_HOST=db\nDB_PASSWORD=${SECRET_DB_PASSWORD}\nDB_PASSWORD_FILE=/run/secrets/db\nLOG_LEVEL=info\n",
    ),
    (
        "a schema of values",
        "chart/values.schema.json",
        "{\n  \"properties\": {\n    \"password\": {\"type\": \"string\", \"description\": \"The password\", \"default\": \"\"},\n    \"existingSecret\": {\"type\": \"string\"}\n  }\n}\n",
    ),
    (
        "a workflow with secrets",
        ".github/workflows/ci.yaml",
        "on: push\npermissions: {id-token: write}\njobs:\n  build:\n    runs-on: ubuntu-latest\n    env:\n      TOKEN: ${{ secrets.DEPLOY_TOKEN }}\n    steps:\n      - uses: docker/login-action@v3\n        with:\n          username: robot\n          password: ${{ secrets.REGISTRY_PASSWORD }}\n",
    ),
    (
        "a file of Compose",
        "compose.yaml",
        "services:\n  db:\n    image: postgres:17\n    environment:\n      POSTGRES_PASSWORD_FILE: /run/secrets/db\n    secrets: [db]\nsecrets:\n  db:\n    file: ./db.txt\n",
    ),
    (
        "variables of Terraform without values",
        "variables.tf",
        "variable \"db_password\" {\n  type      = string\n  sensitive = true\n}\n\nresource \"a\" \"b\" {\n  password = var.db_password\n}\n",
    ),
    (
        "policies of the cluster",
        "policy.yaml",
        "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: sync-secrets}\nspec:\n  rules:\n    - name: sync\n      match: {any: [{resources: {kinds: [Namespace]}}]}\n      generate:\n        apiVersion: v1\n        kind: Secret\n        name: regcred\n        namespace: \"{{request.object.metadata.name}}\"\n        clone: {namespace: default, name: regcred}\n",
    ),
];
