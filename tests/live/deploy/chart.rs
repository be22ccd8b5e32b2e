//! The chart, rendered and installed by the real Helm.

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use selkie::manifest::read_objects;
use serde_json::{Value as Json, json};

use super::super::cluster::{self, Cluster};
use super::{restricted_namespace, said, try_apply, try_pod};
use crate::deploy;
use crate::peer::{Peer, output};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for (helm, version) in [(Peer::Helm3, "3"), (Peer::Helm4, "4")] {
        for &(name, values) in VALUES {
            let namespace = format!("chart-{version}-{}", name.replace('_', "-"));
            let test = move |cluster: &'static Cluster| renders(cluster, helm, &namespace, values);
            tests.push(cluster::test(&format!("deploy::helm_{version}_renders_{name}"), &[helm], test));
        }
        let test = move |cluster: &'static Cluster| installs(cluster, helm, version);
        tests.push(cluster::test(&format!("deploy::helm_{version}_installs_and_removes"), &[helm], test));
        let name = format!("deploy::helm_{version}_renders_what_may_be_refused");
        tests.push(cluster::test(&name, &[helm], move |cluster| {
            let values = "containerSecurityContext: {enabled: false}\n";
            match renders(cluster, helm, &format!("chart-{version}-refused"), values) {
                Err(failed) if failed.message().unwrap_or_default().contains("violate PodSecurity") => Ok(()),
                Err(failed) => Err(failed),
                Ok(()) => Err("what is not restricted is taken, so that the other tests tell nothing".into()),
            }
        }));
        tests.push(helm.test("deploy::chart_refuses_what_it_does_not_know", |helm| refuses(&helm)));
        tests.push(helm.test("deploy::chart_has_no_faults", |helm| {
            output(command(&helm).arg("lint").arg("--strict").arg(deploy::folder("chart/selkie"))).map(|_| ())
        }));
    }
    tests
}

/// Returns Helm, with nothing of the user who runs the test.
fn command(helm: &Path) -> Command {
    let mut command = Command::new(helm);
    command.env_clear().env("HOME", "/nonexistent");
    command
}

fn renders(cluster: &Cluster, helm: Peer, namespace: &str, values: &str) -> Result<(), Failed> {
    let helm = helm.path().ok_or("there is no Helm")?;
    restricted_namespace(cluster, namespace)?;
    for team in ["chart-team-a", "chart-team-b"] {
        cluster.make_namespace(team)?;
    }
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), values)?;
    let mut template = command(&helm);
    template.args(["template", "sealed-secrets", "--namespace", namespace, "--values"]).arg(file.path());
    let rendered = String::from_utf8(output(template.arg(deploy::folder("chart/selkie")))?)?;
    let objects = read_objects(rendered.as_bytes()).map_err(|error| error.to_string())?;
    if let Some(object) = objects.iter().find(|object| object["kind"].is_null()) {
        return Err(format!("this is no object: {object}").into());
    }
    // There is no operator of Prometheus in this cluster.
    let known: Vec<_> =
        objects.iter().filter(|object| object["apiVersion"] != "monitoring.coreos.com/v1").collect();
    try_apply(cluster, &json!({"apiVersion": "v1", "kind": "List", "items": known}).to_string())?;
    match objects.iter().find(|object| object["spec"]["template"]["spec"].is_object()) {
        Some(workload) => try_pod(cluster, namespace, workload),
        None if values.contains("createController: false") => Ok(()),
        None => Err("there is no workload".into()),
    }
}

/// A definition that is there and not of the release is left as it is, and none goes with the release.
fn installs(cluster: &Cluster, helm: Peer, version: &str) -> Result<(), Failed> {
    let helm = helm.path().ok_or("there is no Helm")?;
    cluster.apply(deploy::text("crds/sealedsecrets.bitnami.com.yaml")?)?;
    let (namespace, name) = (format!("release-{version}"), format!("of-release-{version}"));
    restricted_namespace(cluster, &namespace)?;
    let own = ["secrets-unsealer", "controller"].map(|part| format!("{part}-{name}"));
    let set = format!("rbac.clusterRoleName={},fullnameOverride={}", own[0], own[1]);
    let on_cluster = |arguments: &[&str]| {
        let mut command = command(&helm);
        command.env("KUBECONFIG", cluster.kubeconfig()).env("HOME", &cluster.folder);
        command.args(arguments).args(["--namespace", &namespace]);
        command
    };
    let chart = deploy::folder("chart/selkie");
    let chart = chart.to_str().ok_or("it is a text")?;
    let notes = output(&mut on_cluster(&["install", &name, chart, "--set", &set]))?;
    let notes = String::from_utf8(notes)?;
    if !notes.contains(&format!("--controller-name={}", own[1])) || !notes.contains("made by somebody else") {
        return Err(format!("it says {notes}").into());
    }
    // Another definition for each version of Helm, as they run at the same time.
    let (flag, definition) = match version {
        "3" => ("sops.enabled", "sopssecrets.selkie.dev"),
        _ => ("sops.isindir", "sopssecrets.isindir.github.com"),
    };
    let more = format!("{set},replicas.mode=single,replicaCount=1,{flag}=true");
    let upgrade = || said(&mut on_cluster(&["upgrade", &name, chart, "--set", &more]));
    let mut upgraded = upgrade()?;
    // Another test may have made the definition in between.
    if upgraded.errors.contains("already exists") {
        upgraded = upgrade()?;
    }
    if !upgraded.is_good {
        return Err(upgraded.errors.into());
    }
    let get = ["get", "deployment", &own[1], "--namespace", &namespace, "--output=json"];
    let deployment: Json = serde_json::from_slice(&output(&mut cluster.kubectl(get)?)?)?;
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    if !arguments.contains("--replicas=single") || !arguments.contains("--sops") {
        return Err(format!("it is started with {arguments}").into());
    }
    output(&mut on_cluster(&["uninstall", &name]))?;
    for name in ["sealedsecrets.bitnami.com", definition] {
        output(&mut cluster.kubectl(["get", "crd", name])?)?;
    }
    let roles = said(&mut cluster.kubectl(["get", "clusterrole", &own[0]])?)?;
    if roles.is_good { Err("the role is there still".into()) } else { Ok(()) }
}

fn refuses(helm: &Path) -> Result<(), Failed> {
    for (values, expected) in [
        ("unknown=1", "unknown"),
        ("metrics.serviceMonitor.enable=true", "enable"),
        ("replicas.mode=many", "mode"),
        ("replicas.mode=single", "replicaCount"),
        ("rbac.pspEnabled=true", "pspEnabled"),
        ("sops.policy.rules=", "sops.enabled"),
        ("sops.enabled=true,sops.keySecrets={a}", "sops.policy"),
        ("privateKeyLabels.a=1", "privateKeyLabels"),
        ("secretName=Key", "secretName"),
        ("logLevel=LOUD", "logLevel"),
        ("keyttl=long", "keyttl"),
        ("image.digest=sha256:1", "digest"),
    ] {
        let chart = deploy::folder("chart/selkie");
        let said = said(command(helm).args(["template", "one"]).arg(chart).args(["--set", values]))?;
        if said.is_good || !said.errors.contains(expected) {
            return Err(format!("{values}: {}{}", said.errors, said.output.lines().count()).into());
        }
    }
    Ok(())
}

/// Values, as files.
const VALUES: &[(&str, &str)] = &[
    ("defaults", ""),
    ("all_of_it", ALL_OF_IT),
    ("few_namespaces", "rbac: {namespacedRoles: true}\nadditionalNamespaces: [chart-team-a, chart-team-b]\n"),
    ("one_replica", "replicas: {mode: single}\nreplicaCount: 1\npdb: {create: false}\nskipRecreate: true\n"),
    ("nothing_but_access", "createController: false\ncrds: {create: false}\n"),
    // As people have it who come from the chart of Sealed Secrets: all of these are its own names and defaults.
    ("values_of_sealed_secrets", VALUES_OF_SEALED_SECRETS),
];

const ALL_OF_IT: &str = r#"
commonLabels: {team: secrets}
commonAnnotations: {note: "{{ .Release.Name }}"}
replicas: {mode: sharded, leaseDuration: 30s, leaseRenew: 10s}
replicaCount: 3
image: {registry: registry.example, digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullSecrets: [pull]}
sops: {enabled: true, isindir: true, isindirEnforceOwnership: true, keySecrets: [keys-a, keys-b], policy: {rules: [{namespaces: ["*"], keyFiles: ["/etc/selkie/keys/keys-a/*"]}]}}
otlp: {endpoint: "http://collector.example:4317", protocol: grpc, sampler: traceidratio, samplerArgument: 0.1, serviceName: seal, headersSecret: {name: otlp, key: headers}}
http: {maxBody: 10485760, authenticate: true, readTimeout: 30s, writeTimeout: 30s}
keyrenewperiod: "0"
keyttl: 87600h0m0s
privateKeyLabels: {a: b, c: d}
privateKeyAnnotations: {e: f}
env: [{name: A, value: b}]
extraArgs: ["--log-level=DEBUG"]
containerPorts: {http: 9080, metrics: 9081}
podLabels: {a: b}
podAnnotations: {a: b}
hostUsers: false
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{operator: Exists}]
priorityClassName: system-cluster-critical
topologySpreadConstraints: []
additionalVolumes: [{name: more, emptyDir: {}}]
additionalVolumeMounts: [{name: more, mountPath: /more}]
customReadinessProbe: {tcpSocket: {port: http}}
service: {type: NodePort, labels: {a: b}}
ingress: {enabled: true, tls: true, ingressClassName: nginx, extraHosts: [{name: other.example}]}
networkPolicy: {egress: {enabled: true, kubeapiCidr: 10.0.0.1/32, kubeapiPort: 6443, extra: [{ports: [{port: 4317, protocol: TCP}]}]}}
metrics:
  prometheusRule: {enabled: true}
  serviceMonitor: {enabled: true, interval: 30s}
  podMonitor: {enabled: true, labels: {release: prometheus}}
  dashboards: {create: true}
pdb: {minAvailable: 50%}
extraDeploy:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, namespace: "{{ .Release.Namespace }}"}}
"#;

const VALUES_OF_SEALED_SECRETS: &str = r#"
kubeVersion: ""
nameOverride: ""
fullnameOverride: ""
namespace: ""
extraDeploy: []
commonAnnotations: {}
commonLabels: {}
image: {registry: docker.example, repository: mine/sealed-secrets-controller, tag: 0.40.0, pullPolicy: IfNotPresent, pullSecrets: []}
revisionHistoryLimit: ""
createController: true
secretName: sealed-secrets-key
updateStatus: true
skipRecreate: false
keyrenewperiod: ""
keyttl: ""
keycutofftime: ""
rateLimit: ""
rateLimitBurst: ""
additionalNamespaces: []
privateKeyAnnotations: {}
privateKeyLabels: {}
logInfoStdout: false
logLevel: ""
logFormat: ""
maxRetries: ""
watchForSecrets: false
kubeClientQPS: ""
kubeClientBurst: ""
command: []
args: []
livenessProbe: {enabled: true, initialDelaySeconds: 0, periodSeconds: 10, timeoutSeconds: 1, failureThreshold: 3, successThreshold: 1}
customLivenessProbe: {}
resources: {limits: {}, requests: {}}
hostUsers: ~
priorityClassName: ""
affinity: {}
hostPorts: {http: "", metrics: ""}
dnsPolicy: ""
service: {type: ClusterIP, loadBalancerClass: "", port: 8080, nodePort: "", annotations: {}}
ingress: {enabled: false, apiVersion: "", selfSigned: false, secrets: [], extraTls: []}
networkPolicy: {enabled: false, egress: {enabled: false, kubeapiCidr: "", kubeapiPort: ""}}
serviceAccount: {annotations: {}, create: true, labels: {}, name: ""}
rbac: {create: true, clusterRole: true, clusterRoleName: secrets-unsealer, namespacedRoles: false, pspEnabled: false}
pdb: {create: false, minAvailable: 1, maxUnavailable: ""}
"#;
