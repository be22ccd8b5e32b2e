//! Every flag of kubeseal: its own, those that choose a cluster as for kubectl, and those of its logger, which
//! change nothing here, as nothing is logged.

use super::grammar::Flag;
use super::values::Kind;

/// Every flag, in the order in which the help lists them.
#[rustfmt::skip]
pub(super) static FLAGS: &[Flag] = &[
    flag("add_dir_header", Kind::TerseSwitch, "If true, adds the file directory to the header of the log messages").of_logger(),
    flag("allow-empty-data", Kind::Switch, "Allow empty data in the secret object"),
    flag("alsologtostderr", Kind::TerseSwitch, "log to standard error as well as files (no effect when -logtostderr=true)").of_logger(),
    flag("alsologtostderrthreshold", Kind::Severity, "logs at or above this threshold go to stderr when -alsologtostderr=true (no effect when -logtostderr=true)").of_logger(),
    flag("as", Kind::Text, "Username to impersonate for the operation"),
    flag("as-group", Kind::Texts, "Group to impersonate for the operation, this flag can be repeated to specify multiple groups."),
    flag("as-uid", Kind::Text, "UID to impersonate for the operation"),
    flag("cert", Kind::Text, "Certificate / public key file/URL to use for encryption. Overrides --controller-*"),
    flag("certificate-authority", Kind::Text, "Path to a cert file for the certificate authority"),
    flag("client-certificate", Kind::Text, "Path to a client certificate file for TLS"),
    flag("client-key", Kind::Text, "Path to a client key file for TLS"),
    flag("cluster", Kind::Text, "The name of the kubeconfig cluster to use"),
    flag("context", Kind::Text, "The name of the kubeconfig context to use"),
    flag("controller-name", Kind::Text, "Name of sealed-secrets controller.").or("sealed-secrets-controller"),
    flag("controller-namespace", Kind::Text, "Namespace of sealed-secrets controller.").or("kube-system"),
    flag("disable-compression", Kind::Switch, "If true, opt-out of response compression for all requests to the server"),
    flag("fetch-cert", Kind::Switch, "Write certificate to stdout. Useful for later use with --cert"),
    flag("format", Kind::Text, "Output format for sealed secret. Either json or yaml").short('o').or("json"),
    flag("from-file", Kind::Words, "(only with --raw) Secret items can be sourced from files. Pro-tip: you can use /dev/stdin to read pipe input. This flag tries to follow the same syntax as in kubectl"),
    flag("help", Kind::Switch, "Print this help message"),
    flag("insecure-skip-tls-verify", Kind::Switch, "If true, the server's certificate will not be checked for validity. This will make your HTTPS connections insecure"),
    flag("kubeconfig", Kind::Text, "Path to a kube config. Only required if out-of-cluster"),
    flag("legacy_stderr_threshold_behavior", Kind::TerseSwitch, "If true, stderrthreshold is ignored when logtostderr=true (legacy behavior). If false, stderrthreshold is honored even when logtostderr=true").or("true").of_logger(),
    flag("log_backtrace_at", Kind::Location, "when logging hits line file:N, emit a stack trace").or(":0").of_logger(),
    flag("log_dir", Kind::Text, "If non-empty, write log files in this directory (no effect when -logtostderr=true)").of_logger(),
    flag("log_file", Kind::Text, "If non-empty, use this log file (no effect when -logtostderr=true)").of_logger(),
    flag("log_file_max_size", Kind::Size, "Defines the maximum size a log file can grow to (no effect when -logtostderr=true). Unit is megabytes. If the value is 0, the maximum file size is unlimited.").or("1800").of_logger(),
    flag("logtostderr", Kind::TerseSwitch, "log to standard error instead of files").or("true").of_logger(),
    flag("merge-into", Kind::Text, "Merge items from secret into an existing sealed secret file, updating the file in-place instead of writing to stdout."),
    flag("name", Kind::Text, "Name of the sealed secret (required with --raw and default (strict) scope)"),
    flag("namespace", Kind::Text, "If present, the namespace scope for this CLI request").short('n'),
    flag("one_output", Kind::TerseSwitch, "If true, only write logs to their native severity level (vs also writing to each lower severity level; no effect when -logtostderr=true)").of_logger(),
    flag("password", Kind::Text, "Password for basic authentication to the API server"),
    flag("proxy-url", Kind::Text, "If provided, this URL will be used to connect via proxy"),
    flag("raw", Kind::Switch, "Encrypt a raw value passed via the --from-* flags instead of the whole secret object"),
    flag("re-encrypt", Kind::Switch, "Re-encrypt the given sealed secret to use the latest cluster key."),
    flag("recovery-private-key", Kind::Words, "Private key filename used by the --recovery-unseal command. Multiple files accepted either via comma separated list or by repetition of the flag. Either PEM encoded private keys or a backup of a json/yaml encoded k8s sealed-secret controller secret (and v1.List) are accepted. "),
    flag("recovery-unseal", Kind::Switch, "Decrypt a sealed secrets file obtained from stdin, using the private key passed with --recovery-private-key. Intended to be used in disaster recovery mode."),
    flag("request-timeout", Kind::Text, "The length of time to wait before giving up on a single server request. Non-zero values should contain a corresponding time unit (e.g. 1s, 2m, 3h). A value of zero means don't timeout requests.").or("0"),
    flag("rotate", Kind::Switch, "").deprecated("please use --re-encrypt instead"),
    flag("scope", Kind::Scope, "Set the scope of the sealed secret: strict, namespace-wide, cluster-wide (defaults to strict). Mandatory for --raw, otherwise the 'sealedsecrets.bitnami.com/cluster-wide' and 'sealedsecrets.bitnami.com/namespace-wide' annotations on the input secret can be used to select the scope.").or("strict"),
    flag("sealed-secret-file", Kind::Text, "Sealed-secret (output) file").short('w'),
    flag("secret-file", Kind::Text, "Secret (input) file").short('f'),
    flag("server", Kind::Text, "The address and port of the Kubernetes API server"),
    flag("skip_headers", Kind::TerseSwitch, "If true, avoid header prefixes in the log messages").of_logger(),
    flag("skip_log_headers", Kind::TerseSwitch, "If true, avoid headers when opening log files (no effect when -logtostderr=true)").of_logger(),
    flag("stderrthreshold", Kind::Severity, "logs at or above this threshold go to stderr when writing to files and stderr (no effect when -logtostderr=true or -alsologtostderr=true unless -legacy_stderr_threshold_behavior=false)").or("2").of_logger(),
    flag("tls-server-name", Kind::Text, "If provided, this name will be used to validate server certificate. If this is not provided, hostname used to contact the server is used."),
    flag("token", Kind::Text, "Bearer token for authentication to the API server"),
    flag("user", Kind::Text, "The name of the kubeconfig user to use"),
    flag("username", Kind::Text, "Username for basic authentication to the API server"),
    flag("v", Kind::Level, "number for the log level verbosity").short('v').of_logger(),
    flag("validate", Kind::Switch, "Validate that the sealed secret can be decrypted"),
    flag("version", Kind::Switch, "Print version information and exit"),
    flag("vmodule", Kind::Module, "comma-separated list of pattern=N settings for file-filtered logging").of_logger(),
];

const fn flag(name: &'static str, kind: Kind, about: &'static str) -> Flag {
    Flag { name, short: None, kind, default: "", about, deprecated: None, has_variable: true }
}

impl Flag {
    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn deprecated(self, instead: &'static str) -> Self {
        Self { deprecated: Some(instead), ..self }
    }

    const fn of_logger(self) -> Self {
        Self { has_variable: false, ..self }
    }
}
