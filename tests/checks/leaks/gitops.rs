//! Values and patches of the tools that bring manifests to a cluster, files of variables, and scripts.

use crate::checks::case::Case;
use crate::checks::maker::{Maker, base64};

pub fn cases(make: &mut Maker) -> Vec<Case> {
    let mut cases = kustomizations(make);
    cases.extend(values(make));
    cases.extend(workloads(make));
    cases.extend(variables(make));
    cases
}

fn kustomizations(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let text = format!(
        "{KUSTOMIZATION}secretGenerator:\n  - name: db\n    literals:\n      - user=admin\n      - password={value}\n"
    );
    cases.push(
        make.leak("literals of a secretGenerator").file("a/kustomization.yaml", text).wants("K8S003", &value),
    );

    let value = make.password();
    let text = format!("{KUSTOMIZATION}secretGenerator:\n  - name: db\n    envs: [db.env]\n");
    let case = make
        .leak("a file of variables for a secretGenerator")
        .file("a/db.env", format!("DB_PASSWORD={value}\n"));
    cases.push(case.file("a/kustomization.yaml", text).wants("K8S003", "db.env"));

    let value = make.password();
    let text = format!(
        "{KUSTOMIZATION}secretGenerator:\n  - name: db\n    files:\n      - password=secret/db.txt\n"
    );
    let case = make.leak("a file for a secretGenerator").file("a/secret/db.txt", value);
    cases.push(case.file("a/kustomization.yaml", text).wants("K8S003", "secret/db.txt"));

    let value = make.password();
    let text = format!(
        "{KUSTOMIZATION}patches:\n  - patch: |-\n      apiVersion: v1\n      kind: Secret\n      metadata:\n        name: db\n      stringData:\n        password: {value}\n"
    );
    let lines = ["patch: |-", "apiVersion: v1\n      kind", &value];
    cases.push(
        make.leak("a patch within a kustomization")
            .file("a/kustomization.yaml", text)
            .wants_any(&["K8S003", "K8S001"], &lines),
    );

    let value = make.password();
    let text = format!(
        "{KUSTOMIZATION}patches:\n  - target:\n      kind: Secret\n      name: db\n    patch: |-\n      - op: replace\n        path: /stringData/password\n        value: {value}\n"
    );
    let lines = ["patch: |-", "- op: replace", &value];
    cases.push(
        make.leak("a JSON patch within a kustomization")
            .file("a/kustomization.yaml", text)
            .wants_any(&["K8S003"], &lines),
    );

    let value = base64(&make.password());
    let text = format!("- op: add\n  path: /data/password\n  value: {value}\n");
    let target =
        format!("{KUSTOMIZATION}patches:\n  - target: {{kind: Secret, name: db}}\n    path: patch.yaml\n");
    let case = make.leak("a JSON patch in a file of its own").file("a/kustomization.yaml", target);
    cases.push(case.file("a/patch.yaml", text).wants("K8S003", &value));

    let value = make.password();
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nsecretGenerator:\n  - name: db\n    literals: [password={value}]\n"
    );
    cases.push(
        make.leak("a component of kustomize")
            .file("components/a/kustomization.yaml", text)
            .wants("K8S003", &value),
    );
    cases
}

fn values(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let text = format!("image:\n  repository: example/app\nauth:\n  username: admin\n  password: {value}\n");
    cases.push(make.leak("values of Helm").file("chart/values-prod.yaml", text).wants(LITERAL, &value));

    let value = make.password();
    let text = format!(
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata:\n  name: db\nspec:\n  chart: {{spec: {{chart: db}}}}\n  values:\n    auth:\n      adminPassword: {value}\n"
    );
    cases.push(make.leak("values of a HelmRelease").file("apps/db.yaml", text).wants(LITERAL, &value));

    let value = make.password();
    let text = format!(
        "{APPLICATION}    helm:\n      parameters:\n        - name: auth.password\n          value: {value}\n"
    );
    cases.push(make.leak("parameters of Argo CD").file("apps/db.yaml", text).wants(LITERAL, &value));

    let value = make.password();
    let text =
        format!("{APPLICATION}    helm:\n      valuesObject:\n        auth:\n          password: {value}\n");
    cases.push(make.leak("an object of values of Argo CD").file("apps/db.yaml", text).wants(LITERAL, &value));

    let value = make.password();
    let text =
        format!("{APPLICATION}    helm:\n      values: |\n        auth:\n          password: {value}\n");
    cases.push(
        make.leak("a text of values of Argo CD")
            .file("apps/db.yaml", text)
            .wants_any(&[LITERAL], &["values: |", "auth:", &value]),
    );
    cases
}

fn workloads(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, kind, field) in [
        ("a variable of a Deployment", "apps/v1\nkind: Deployment", "containers"),
        ("a variable of a first container", "apps/v1\nkind: StatefulSet", "initContainers"),
    ] {
        let value = make.password();
        let text = format!(
            "apiVersion: {kind}\nmetadata:\n  name: app\nspec:\n  template:\n    spec:\n      {field}:\n        - name: app\n          image: example/app:1\n          env:\n            - name: MODE\n              value: fast\n            - name: DB_PASSWORD\n              value: {value}\n"
        );
        cases.push(make.leak(name).file("apps/app.yaml", text).wants(LITERAL, &value));
    }
    let value = make.token(32);
    let text = format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: app\nspec:\n  schedule: \"@daily\"\n  jobTemplate:\n    spec:\n      template:\n        spec:\n          containers:\n            - name: app\n              env: [{{name: API_TOKEN, value: {value}}}]\n"
    );
    cases.push(make.leak("a variable of a CronJob").file("apps/app.yaml", text).wants(LITERAL, &value));

    let value = make.password();
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  DB_HOST: db.shop\n  DB_PASSWORD: {value}\n"
    );
    cases.push(make.leak("a ConfigMap").file("apps/app.yaml", text).wants(LITERAL, &value));

    let value = make.password();
    let text = format!("#!/bin/sh\nkubectl create secret generic db --from-literal=password={value}\n");
    cases.push(make.leak("a command of a script").file("setup.sh", text).wants("K8S007", &value));

    let value = make.password();
    let text = format!(
        "# Setup\n\n```sh\nkubectl create secret generic db \\\n  --from-literal=user=admin \\\n  --from-literal=password='{value}'\n```\n"
    );
    cases.push(make.leak("a command of a page").file("docs/setup.md", text).wants("K8S007", &value));
    cases
}

fn variables(make: &mut Maker) -> Vec<Case> {
    let mut cases = Vec::new();
    let value = make.password();
    let text = format!("# the database\nDB_HOST=db.shop\nexport DB_PASSWORD={value}\n");
    cases.push(make.leak("a file of variables").file("app/.env", text).wants("TOK003", &value));

    let value = make.password();
    let text = format!("region      = \"eu\"\ndb_password = \"{value}\"\n");
    cases.push(make.leak("variables of Terraform").file("infra/prod.tfvars", text).wants("TOK003", &value));

    let value = make.password();
    let text = format!("DATABASE_URL=postgres://app:{value}@db.shop.example:5432/app\n");
    cases.push(
        make.leak("an address in a file of variables")
            .file(".env", text)
            .wants_any(&["TOK002", "TOK003"], &[&value]),
    );

    let value = make.password();
    let text = format!("broker:\n  address: amqp://app:{value}@mq.shop.example/\n");
    cases.push(make.leak("an address of a broker").file("app/config.yaml", text).wants("TOK002", &value));

    let value = make.token(24);
    let text = format!("[remote]\nurl = https://robot:{value}@git.example/a/b.git\n");
    cases.push(make.leak("an address of a repository").file("deploy/config", text).wants("TOK002", &value));

    let value = make.password();
    let text = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  url: redis://:{value}@cache.shop.example:6379/0\n"
    );
    cases.push(make.leak("an address in a ConfigMap").file("a.yaml", text).wants("TOK002", &value));
    cases
}

const LITERAL: &str = "K8S006";
const KUSTOMIZATION: &str = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
const APPLICATION: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: db\nspec:\n  source:\n    chart: db\n";
