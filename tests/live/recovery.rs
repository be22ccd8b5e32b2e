//! A cluster is lost, and comes back from Git and one key.
//!
//! The commands are those of `docs/disaster-recovery.md`, run over much more than the page has: Secrets of every scope and
//! type, sealed for several generations of keys, and documents of SOPS; with our controller, and with that of Sealed Secrets.

use std::path::Path;

use libtest_mimic::{Failed, Trial};

use super::cluster;
use crate::documentation::labs::cluster::KIND;
use crate::documentation::page::{Commands, Page, Step, What};
use crate::documentation::story;
use crate::peer::Peer;

/// Returns the tests.
pub fn tests() -> Vec<Trial> {
    let test = |name: &str, also: &[Peer], run: fn() -> Result<(), Failed>| {
        let is_possible = (KIND.is_possible)() && cluster::is_possible(also);
        Trial::test(format!("live::recovery::{name}"), run).with_ignored_flag(!is_possible)
    };
    let theirs = [Peer::SealedSecretsController, Peer::SealedSecretsCrd];
    vec![
        test("with_our_controller", &[], || recovers(&format!("{OURS}{MANY}{DOCUMENTS}{COMMIT}"), true)),
        test("with_the_controller_of_sealed_secrets", &theirs, || {
            let crd = Peer::SealedSecretsCrd.path().ok_or("there is no CRD")?;
            recovers(&format!("crd={}\n{THEIRS}{MANY}{COMMIT}", crd.display()), false)
        }),
        test("an_old_backup_is_found_out_before", &[], || {
            let is_asked = |_: &str| true;
            fails_with_old_backup(is_asked, "fleet/apps/newest.yaml:8: newest: token: ")
        }),
        test("what_an_old_backup_does_not_open_is_told_afterwards", &[], || {
            let is_asked = |commands: &str| !commands.contains("seal validate");
            fails_with_old_backup(is_asked, "timed out waiting for the condition on sealedsecrets/newest")
        }),
    ]
}

/// Runs the page over what a script makes, in place of its own small example.
fn recovers(script: &str, has_documents: bool) -> Result<(), Failed> {
    let mut page = read()?;
    let first = page.steps.first_mut().ok_or("the page has commands")?;
    let What::Setup(text) = &mut first.what else {
        return Err(format!("{}:{}: the page begins with what it is about", page.name, first.line).into());
    };
    script.clone_into(text);
    // What a page shows is of its own example, but for what fails: that is to be found among all the others.
    for step in &mut page.steps {
        match &mut step.what {
            What::Commands(Commands { output, exit: 0, .. }) => *output = None,
            // Of several keys it is said in other words.
            What::Commands(Commands { output: Some((_, shown)), .. }) => {
                *shown = shown.replace("… does not open it", "… opens it");
            }
            _ => {}
        }
    }
    if !has_documents {
        page.steps.retain(|step| match &step.what {
            What::Commands(commands) => !commands.text.contains("sopssecrets"),
            _ => true,
        });
    }
    story::run(&page, &KIND)
}

/// Loses the cluster of the page, and has no more than the backup of a month before. Of what is done then, some is left out.
/// It has to fail in a line behind the loss, and say so: before, nothing is missing.
fn fails_with_old_backup(is_done: fn(&str) -> bool, told: &str) -> Result<(), Failed> {
    let mut page = read()?;
    let is_loss = |step: &Step| matches!(&step.what, What::Does(words) if words == "loses the cluster");
    let loss = page.steps.iter().position(is_loss).ok_or("the cluster is lost")?;
    let mut after = page.steps.split_off(loss);
    after.retain(|step| !matches!(&step.what, What::Commands(commands) if !is_done(&commands.text)));
    for step in &mut after {
        if let What::Commands(commands) = &mut step.what {
            commands.text = commands.text.replace("--timeout=120s", "--timeout=30s");
        }
    }
    let line = page.steps.last().map_or(0, |step| step.line);
    let name = page.name.clone();
    let is_behind = |message: &str| {
        let at = message.strip_prefix(&name).and_then(|rest| rest.strip_prefix(':')?.split(':').next());
        at.and_then(|at| at.parse().ok()).is_some_and(|at: usize| at > line)
    };
    page.steps.push(Step { line, what: What::Setup("mv keys-of-last-month.yaml keys.yaml".to_owned()) });
    page.steps.extend(after);
    match story::run(&page, &KIND) {
        Ok(()) => Err("all is there again, without the key that it takes".into()),
        Err(failed)
            if failed.message().is_some_and(|message| message.contains(told) && is_behind(message)) =>
        {
            Ok(())
        }
        Err(failed) => Err(failed),
    }
}

fn read() -> Result<Page, Failed> {
    Page::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/disaster-recovery.md"))
}

/// Our controller, in a repository.
const OURS: &str = r#"
git init --quiet fleet
cp -r "$SELKIE/deploy" fleet/deploy
mkdir fleet/controller fleet/apps
cat > fleet/controller/kustomization.yaml <<END
resources: [../deploy]
components: [../deploy/sops]
END
"#;

/// That of Sealed Secrets.
const THEIRS: &str = r#"
git init --quiet fleet
mkdir fleet/controller fleet/apps
cp "$crd" fleet/controller/crd.yaml
cp "$SELKIE/tests/peers/sealed-secrets/rbac.yaml" fleet/controller/rbac.yaml
cat > fleet/controller/controller.yaml <<END
apiVersion: v1
kind: Service
metadata: {name: sealed-secrets-controller, namespace: kube-system}
spec:
  selector: {name: sealed-secrets-controller}
  ports: [{port: 8080, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sealed-secrets-controller, namespace: kube-system}
spec:
  replicas: 1
  selector: {matchLabels: {name: sealed-secrets-controller}}
  template:
    metadata: {labels: {name: sealed-secrets-controller}}
    spec:
      serviceAccountName: sealed-secrets-controller
      containers:
      - name: controller
        image: docker.io/bitnami/sealed-secrets-controller:0.40.0
        command: [controller]
        args: [--kubeclient-qps=-1, --rate-limit=1000]
        ports: [{containerPort: 8080, name: http}]
END
cat > fleet/controller/kustomization.yaml <<END
resources: [crd.yaml, rbac.yaml, controller.yaml]
END
"#;

/// Secrets of each scope and of many types in several namespaces, sealed for three keys one after the other.
const MANY: &str = r#"
controller=deployment/sealed-secrets-controller
kubectl apply --server-side --force-conflicts -k fleet/controller
kubectl wait --for=condition=Established crd/sealedsecrets.bitnami.com --timeout=60s
kubectl rollout status $controller --namespace kube-system --timeout=120s
secrets() {
  for number in 1 2 3; do
    cat <<END
---
apiVersion: v1
kind: Secret
metadata:
  name: $1-plain-$number
  namespace: team-$number
  labels: {app: shop, tier: "$number"}
  annotations: {example.com/owner: "team $number"}
stringData:
  password: "of the sea $1 $number"
  empty: ""
data:
  bytes: $(head -c 300 /dev/urandom | base64 -w0)
---
apiVersion: v1
kind: Secret
metadata: {name: $1-basic-$number, namespace: team-$number}
type: kubernetes.io/basic-auth
stringData: {username: selkie, password: "$1 ü $number"}
---
apiVersion: v1
kind: Secret
metadata: {name: $1-docker-$number, namespace: team-$number}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: '{"auths":{"registry.example.com":{"auth":"$(head -c 12 /dev/urandom | base64)"}}}'}
END
  done
}
for namespace in shop team-1 team-2 team-3; do
  printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n---\n' $namespace
done > fleet/namespaces.yaml
kubectl apply -f fleet/namespaces.yaml
for generation in a b c; do
  if [ $generation != a ]; then
    kubectl seal keys generate --bits 2048 --manifest $generation.yaml
    kubectl seal keys restore $generation.yaml
    kubectl rollout restart $controller --namespace kube-system
    kubectl rollout status $controller --namespace kube-system --timeout=120s
  fi
  kubectl seal cert --refresh > $generation.pem
  for scope in strict namespace-wide cluster-wide; do
    secrets $generation-$scope | kubectl seal --cert $generation.pem --scope $scope > fleet/apps/$generation-$scope.yaml
  done
done
"#;

/// Documents of SOPS, with a key for each namespace that is sealed itself.
const DOCUMENTS: &str = r#"
for team in 1 2 3; do
  age-keygen -o team.agekey
  kubectl create secret generic sops-keys --namespace team-$team --from-file=team.agekey --dry-run=client -o yaml |
    kubectl seal > fleet/apps/sops-keys-$team.yaml
  mkdir documents
  cat > documents/mail.yaml <<END
apiVersion: v1
kind: Secret
metadata: {name: mail, namespace: team-$team, labels: {app: mail}}
type: kubernetes.io/basic-auth
stringData: {username: selkie, password: "of the sea $team"}
END
  kubectl seal encrypt -i --age "$(age-keygen -y team.agekey)" --encrypted-regex '^(data|stringData)$' documents/mail.yaml
  selkie-decryptor render --mode defer --key-secret sops-keys documents > fleet/apps/mail-$team.yaml
  rm -r documents team.agekey
done
"#;

const COMMIT: &str = r#"
kubectl apply --recursive -f fleet/apps
kubectl wait --for=condition=Synced sealedsecrets --all --all-namespaces --timeout=120s
if ls fleet/apps/mail-* >/dev/null 2>&1; then
  kubectl wait --for=condition=Ready sopssecrets.selkie.dev --all --all-namespaces --timeout=120s
fi
git -C fleet add . && git -C fleet commit --quiet --message 'All of it'
"#;
