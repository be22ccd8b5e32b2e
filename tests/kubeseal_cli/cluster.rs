//! What kubeseal asks of a cluster, in this process and with the real program.

use std::fs;
use std::path::Path;

use libtest_mimic::{Failed, Trial};

use super::api::Api;
use super::{Case, Outcome, compare, prepare, run_ours, run_theirs, source};
use crate::peer::Peer;

/// A run with a cluster.
struct Request {
    name: &'static str,
    arguments: &'static str,
    stdin: &'static str,
    /// A file that is there, and what it holds afterwards.
    file: Option<(&'static str, &'static str)>,
    exit: i32,
    stdout: &'static str,
    stderr: &'static str,
    /// Whether the real program does the same.
    is_same: bool,
}

pub fn tests() -> Vec<Trial> {
    let test = |request: &'static Request| {
        Trial::test(format!("kubeseal_cli::cluster::{}", request.name), || {
            check(request, |case, folder| Ok(run_ours(case, folder)))
        })
    };
    REQUESTS.iter().map(test).collect()
}

pub fn live_tests() -> Vec<Trial> {
    let test = |request: &'static Request| {
        Peer::Kubeseal.test(format!("cluster::{}", request.name), |program| {
            check(request, |case, folder| run_theirs(case, &program, folder))
        })
    };
    REQUESTS.iter().filter(|request| request.is_same).map(test).collect()
}

fn check(request: &Request, run: impl FnOnce(&Case, &Path) -> Result<Outcome, Failed>) -> Result<(), Failed> {
    let folder = prepare()?;
    let cert = fs::read_to_string(source().with_file_name("cert.pem"))?;
    let stdout = request.stdout.replace("[CERT]", &cert);
    let api = Api::start(cert)?;
    fs::write(folder.path().join("api.yaml"), api.kubeconfig())?;
    if let Some((before, _)) = request.file {
        fs::write(folder.path().join("f.yaml"), before)?;
    }
    let arguments = ["--kubeconfig", "api.yaml"].into_iter().chain(request.arguments.split_whitespace());
    let files = request.file.map(|(_, after)| ("f.yaml".to_owned(), (0o644, after.to_owned())));
    let case = Case {
        name: request.name.to_owned(),
        arguments: arguments.map(str::to_owned).collect(),
        variables: Vec::new(),
        stdin: request.stdin.to_owned(),
        outcome: Outcome {
            exit: request.exit,
            stdout,
            stderr: request.stderr.to_owned(),
            files: files.into_iter().collect(),
        },
    };
    compare(&run(&case, folder.path())?, &case.outcome)
}

static REQUESTS: &[Request] = &[
    Request {
        name: "certificate_is_given_out_as_it_is",
        arguments: "--fetch-cert",
        stdin: "",
        file: None,
        exit: 0,
        stdout: "[CERT]",
        stderr: "",
        is_same: true,
    },
    Request {
        name: "certificate_of_the_cluster_is_used",
        arguments: "-o yaml",
        stdin: "kind: Secret\nmetadata: {name: a}\nstringData: {b: c}\n",
        file: None,
        exit: 0,
        stdout: "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: a\n  namespace: default\n\
                 spec:\n  encryptedData:\n    b: <SEALED>\n  template:\n    metadata:\n      name: a\n      namespace: \
                 default\n",
        stderr: "",
        is_same: true,
    },
    Request {
        name: "missing_controller_is_told",
        arguments: "--fetch-cert --controller-name x",
        stdin: "",
        file: None,
        exit: 1,
        stdout: "",
        stderr: "error: cannot get sealed secret service: cannot get services x in the namespace kube-system: it is not \
                 there: services \"x\" not found.\nPlease, use the flag --controller-name and --controller-namespace to set \
                 up the name and namespace of the sealed secrets controller\n",
        is_same: false,
    },
    Request {
        name: "validation_is_silent",
        arguments: "--validate",
        stdin: GOOD,
        file: None,
        exit: 0,
        stdout: "",
        stderr: "",
        is_same: true,
    },
    Request {
        name: "what_cannot_be_opened_is_named",
        arguments: "--validate",
        stdin: "kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: bad}\nspec: {encryptedData: {a: b}}\n",
        file: None,
        exit: 1,
        stdout: "",
        stderr: "error: unable to decrypt sealed secret: bad\n",
        is_same: true,
    },
    Request {
        name: "nothing_is_not_valid",
        arguments: "--validate",
        stdin: "# nothing\n",
        file: None,
        exit: 1,
        stdout: "",
        stderr: "error: no secrets found. Ensure the input is valid and UTF-8 encoded\n",
        is_same: false,
    },
    Request {
        name: "secrets_in_clear_are_not_sent",
        arguments: "--validate",
        stdin: "kind: Secret\napiVersion: v1\nmetadata: {name: a}\n",
        file: None,
        exit: 1,
        stdout: "",
        stderr: "error: the object is a Secret, not a SealedSecret\n",
        is_same: false,
    },
    Request {
        name: "values_are_encrypted_again",
        arguments: "--re-encrypt -o yaml",
        stdin: GOOD,
        file: None,
        exit: 0,
        stdout: "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: a\n  namespace: b\nspec:\n  \
                 encryptedData:\n    c: AAFST1RBVEVEUk9UQVRFRFJPVEFU\n  template:\n    metadata:\n      name: a\n      namespace: b\n",
        stderr: "",
        is_same: true,
    },
    Request {
        name: "templates_and_labels_stay",
        arguments: "--re-encrypt -o yaml",
        stdin: "kind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: a, namespace: b, labels: {d: e}, uid: f}\n\
                spec:\n  encryptedData: {c: Ag}\n  template:\n    data: {g: '{{ .c }}', h: ~}\n    type: i\n",
        file: None,
        exit: 0,
        stdout: "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  labels:\n    d: e\n  name: a\n  \
                 namespace: b\nspec:\n  encryptedData:\n    c: AAFST1RBVEVEUk9UQVRFRFJPVEFU\n  template:\n    data:\n      g: '{{ .c }}'\n      \
                 h: null\n    metadata: {}\n    type: i\n",
        stderr: "",
        is_same: false,
    },
    Request {
        name: "files_that_kubeseal_wrote_are_written_anew",
        arguments: "--re-encrypt -f f.yaml",
        stdin: "",
        file: Some((PRINTED, PRINTED_AGAIN)),
        exit: 0,
        stdout: "",
        stderr: "",
        is_same: false,
    },
    Request {
        name: "comments_and_order_stay",
        arguments: "--re-encrypt -f f.yaml",
        stdin: "",
        file: Some((COMMENTED, COMMENTED_AGAIN)),
        exit: 0,
        stdout: "",
        stderr: "",
        is_same: false,
    },
];

const GOOD: &str = "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: a\n  namespace: b\nspec:\n  \
                    encryptedData:\n    c: Ag\n  template:\n    metadata:\n      name: a\n      namespace: b\n";

const PRINTED: &str = GOOD;

const PRINTED_AGAIN: &str = "---\napiVersion: bitnami.com/v1alpha1\nkind: SealedSecret\nmetadata:\n  name: a\n  namespace: \
                             b\nspec:\n  encryptedData:\n    c: AAFST1RBVEVEUk9UQVRFRFJPVEFU\n  template:\n    metadata:\n      name: a\n      \
                             namespace: b\n";

const COMMENTED: &str = "# head\nkind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: a, namespace: b} # name\n\
                         spec:\n  encryptedData:\n    d: Ag # why\n    c: \"Ag\"\n---\n# nothing\n---\nkind: SealedSecret\n\
                         apiVersion: bitnami.com/v1alpha1\nmetadata: {name: e, namespace: b}\nspec: {encryptedData: {f: Ag}}\n";

const COMMENTED_AGAIN: &str = "# head\nkind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: a, namespace: b} \
                               # name\nspec:\n  encryptedData:\n    d: AAFST1RBVEVEUk9UQVRFRFJPVEFU # why\n    c: \"AAFST1RBVEVEUk9UQVRFRFJPVEFU\"\n---\n# nothing\n\
                               ---\nkind: SealedSecret\napiVersion: bitnami.com/v1alpha1\nmetadata: {name: e, namespace: b}\n\
                               spec: {encryptedData: {f: AAFST1RBVEVEUk9UQVRFRFJPVEFU}}\n";
