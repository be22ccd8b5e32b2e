//! Our controller beside sync engines, as `deploy/` with its component `sops` has it.
//!
//! It opens SealedSecrets, and SopsSecrets with the key Secrets of their own namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Failed;

use super::{Ground, Program, once, wait};
use crate::deploy;
use crate::peer::output;

/// Our controller, for all trials of a run.
pub struct Controller {
    /// A file with the certificate that Secrets are sealed for.
    pub certificate: PathBuf,
    _program: Program,
}

impl Controller {
    /// Returns the one of this run. Its log is `controller.log`.
    pub fn get() -> Result<&'static Self, Failed> {
        static CONTROLLER: OnceLock<Result<Controller, String>> = OnceLock::new();
        once(&CONTROLLER, "controller", || Self::start(Ground::get()?))
    }

    fn start(ground: &Ground) -> Result<Self, Failed> {
        let folder = ground.folder("controller")?;
        // A folder of another one is named by how it is reached.
        let up = "../".repeat(folder.components().count().saturating_sub(1));
        let deployed = format!("{up}{}", deploy::folder("").display().to_string().trim_matches('/'));
        let text = format!("resources: [{deployed}]\ncomponents: [{deployed}/sops]\n");
        fs::write(folder.join("kustomization.yaml"), text)?;
        output(ground.cluster.kubectl(APPLY)?.arg("--kustomize").arg(&folder))?;
        for resource in ["bitnami.com/v1alpha1/sealedsecrets", "selkie.dev/v1alpha1/sopssecrets"] {
            wait(resource, || Ok(ground.find(&format!("/apis/{resource}"))?.ok_or("none".to_owned())))?;
        }
        let token = ground.cluster.token(NAMESPACE, NAME)?;
        let server = format!("https://{}:6443", ground.cluster.inside);
        let kubeconfig = ground.cluster.write_kubeconfig("controller", &server, &token)?;
        let kubeconfig = kubeconfig.display().to_string();
        let inside = &ground.cluster.inside;
        let (listen, metrics) = (format!("{inside}:{PORT}"), format!("{inside}:{}", PORT + 1));
        let program = Path::new(env!("CARGO_BIN_EXE_selkie-decryptor"));
        let arguments = ["controller", "--kubeconfig", &kubeconfig, "--listen-addr", &listen];
        let arguments = arguments.into_iter().chain(["--listen-metrics-addr", &metrics]).chain(FLAGS);
        let variables = [("POD_NAMESPACE", NAMESPACE), ("POD_NAME", "one")];
        let program = ground.run("controller", program, arguments, &variables)?;
        ground.wait_for_port(&program, PORT)?;
        let keys = format!("/api/v1/namespaces/{NAMESPACE}/secrets?labelSelector={LABEL}");
        let key = wait("there is a key", || {
            let keys = ground.object(&keys)?;
            Ok(keys.pointer("/items/0").cloned().ok_or_else(|| "none".to_owned()))
        })?;
        let value = key["data"]["tls.crt"].as_str().ok_or("a key has a certificate")?;
        let certificate = folder.join("tls.crt");
        fs::write(&certificate, STANDARD.decode(value)?)?;
        Ok(Self { certificate, _program: program })
    }
}

const APPLY: [&str; 3] = ["apply", "--server-side", "--force-conflicts"];
const FLAGS: [&str; 8] = [
    "--kubeclient-qps=-1",
    "--rate-limit=1000",
    "--rate-limit-burst=1000",
    "--replicas=leader",
    "--lease-name=sealed-secrets-controller",
    "--key-size=2048",
    "--log-level=DEBUG",
    "--sops",
];
const LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";
const NAME: &str = "sealed-secrets-controller";
const NAMESPACE: &str = "kube-system";
const PORT: u16 = 8100;
