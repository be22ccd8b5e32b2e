//! The flags of the controller: those of the controller of Sealed Secrets 0.40, and ours.
//!
//! Invariants: every flag has a variable, and the flag counts more; what cannot be understood stops the start, so that
//! no misspelt setting goes unnoticed; nothing is read from the process but by [`Surroundings::of_process`].

mod duration;
mod environment;
mod surroundings;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selkie::sealed::{Collision, KeySize, Unseal};
use time::OffsetDateTime;

use super::settings::{
    ClientSettings, HttpSettings, KeyOrder, KeySettings, Namespaces, ReplicaSettings, Replicas, Settings,
};
use super::sops::SopsSettings;
use super::telemetry::{LogFormat, LogSettings};

pub use environment::{EnvironmentError, with_environment};
pub use surroundings::Surroundings;

/// Why flags cannot be followed, although each of them can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// Replicas cannot tell each other apart.
    #[error(
        "--replicas: this replica has no name: set --identity, or POD_NAME, to lower case letters, digits, `-` \
         and `.`"
    )]
    Identity,
    /// A Lease would end before it is renewed.
    #[error("--lease-renew: must be less than half of --lease-duration")]
    Lease,
    /// There is nothing that would take Secrets over.
    #[error("--sops-isindir-enforce-ownership: needs --sops-isindir")]
    Ownership,
    /// There is nothing that a policy would be for.
    #[error("--sops-policy: needs --sops or --sops-isindir")]
    Policy,
}

/// Reconcile SealedSecrets and SopsSecrets of a cluster
#[derive(clap::Args)]
#[command(
    args_override_self = true,
    max_term_width = 100,
    after_help = "Each flag has a variable: that of --key-ttl is SEALED_SECRETS_KEY_TTL. The flag counts more.\n\
                  Durations are those of Go, such as 720h0m0s. A BOOL is true, false, 1, 0, t or f."
)]
pub struct Args {
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    sops: SopsArgs,
    #[command(flatten)]
    replicas: ReplicaArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    telemetry: TelemetryArgs,
    /// Print the version and end
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, hide_default_value = true)]
    version: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Sealing keys")]
struct KeyArgs {
    /// Begin the names of key Secrets with this
    #[arg(long, value_name = "PREFIX", default_value = "sealed-secrets-key", value_parser = value::key_prefix)]
    key_prefix: String,
    /// Make keys of so many bits
    #[arg(long, value_name = "BITS", default_value = "4096", value_parser = value::key_size)]
    key_size: KeySize,
    /// Make certificates that are valid for this long
    #[arg(long, value_name = "DURATION", default_value = "87600h0m0s", value_parser = duration::positive)]
    key_ttl: Duration,
    /// Give certificates this common name
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    my_cn: String,
    /// Make a new key this long after the last one; 0 is never [also: --rotate-period, deprecated]
    #[arg(long, value_name = "DURATION", default_value = "720h0m0s", value_parser = duration::parse,
        alias = "rotate-period")]
    key_renew_period: Duration,
    /// Tell the newest key by this
    #[arg(long, value_name = "TIME", default_value = "CertNotBefore", value_parser = value::key_order())]
    key_order_priority: KeyOrder,
    /// Renew keys from before this time, such as Mon, 02 Jan 2006 15:04:05 -0700
    #[arg(long, value_name = "TIME", default_value = "", value_parser = value::cutoff, hide_default_value = true)]
    key_cutoff_time: value::Given<OffsetDateTime>,
    /// Annotate new key Secrets
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "", value_parser = value::annotations,
        hide_default_value = true)]
    privatekey_annotations: BTreeMap<String, String>,
    /// Label new key Secrets
    #[arg(long, value_name = "KEY=VALUE,…", default_value = "", value_parser = value::labels,
        hide_default_value = true)]
    privatekey_labels: BTreeMap<String, String>,
    /// Take up key Secrets that others make; always so here, and accepted for compatibility
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    watch_for_secrets: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Objects")]
struct WorkArgs {
    /// Work on the objects of all namespaces, not only on those of its own
    #[arg(long, value_name = "BOOL", default_value = "true", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    all_namespaces: bool,
    /// Work on the objects of its own namespace and of these
    #[arg(long, value_name = "NAMESPACE,…", default_value = "", value_parser = value::namespaces,
        hide_default_value = true)]
    additional_namespaces: BTreeSet<String>,
    /// Work only on objects with these labels
    #[arg(long, value_name = "SELECTOR", default_value = "", value_parser = value::label_selector,
        hide_default_value = true)]
    label_selector: String,
    /// Accept values in the field data, as kubeseal wrote them before 0.7
    #[arg(long, value_name = "BOOL", default_value = "true", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    accept_deprecated_v1_data: bool,
    /// Let this count where an item and a template have the same name; template is as before 0.37
    #[arg(long, value_name = "WHICH", default_value = "item", value_parser = value::collision())]
    template_collision: Collision,
    /// Delete the Secret of a SealedSecret that is gone, in place of the cluster; not with --skip-recreate
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    old_gc_behavior: bool,
    /// Write the state of objects to their status
    #[arg(long, value_name = "BOOL", default_value = "true", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    update_status: bool,
    /// Leave Secrets alone that somebody deletes or changes, and those that no object stands for any more
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    skip_recreate: bool,
    /// Wait long between attempts at an object after so many quick ones; negative is never
    #[arg(long, value_name = "NUMBER", default_value = "5", allow_negative_numbers = true)]
    max_unseal_retries: i32,
    /// Work on so many objects at once [default: 4 for each core]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "SOPS")]
struct SopsArgs {
    /// Reconcile SopsSecrets of selkie.dev
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sops: bool,
    /// Reconcile SopsSecrets of isindir.github.com
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sops_isindir: bool,
    /// Take over Secrets of others for SopsSecrets of isindir.github.com that do not say enforceOwnership
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    sops_isindir_enforce_ownership: bool,
    /// Read keys for SOPS from this file or folder; may be repeated
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    sops_key_path: Vec<PathBuf>,
    /// Read from this file which namespace may use which keys and key servers
    #[arg(long, value_name = "FILE")]
    sops_policy: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Replicas")]
struct ReplicaArgs {
    /// Be the only replica, one of which the leader works, or one of which each works on some namespaces
    #[arg(long, value_name = "MODE", default_value = "single", value_parser = ["single", "leader", "sharded"])]
    replicas: String,
    /// Name the Lease of the leader this, and begin the names of the other Leases with it
    #[arg(long, value_name = "NAME", default_value = "sealed-secrets-controller", value_parser = value::object_name)]
    lease_name: String,
    /// Call this replica by this name [default: POD_NAME, or the name of the host]
    #[arg(long, value_name = "NAME", default_value = "", value_parser = value::identity, hide_default_value = true)]
    identity: String,
    /// Let others take over when a Lease was not renewed for this long
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration::at_least_a_second)]
    lease_duration: Duration,
    /// Renew Leases this often
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::positive)]
    lease_renew: Duration,
}

#[derive(clap::Args)]
#[command(next_help_heading = "API server")]
struct ClientArgs {
    /// Ask the API server so many times a second at most; negative is without a limit
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = value::qps, allow_negative_numbers = true)]
    kubeclient_qps: value::Given<f64>,
    /// Ask the API server so many times at once before that counts
    #[arg(long, value_name = "NUMBER", default_value = "10")]
    kubeclient_burst: u32,
    /// Reach the cluster as this file says, from outside of it
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(next_help_heading = "HTTP")]
struct HttpArgs {
    /// Serve the API here
    #[arg(long, value_name = "ADDRESS", default_value = ":8080", value_parser = value::address)]
    listen_addr: SocketAddr,
    /// Serve metrics here
    #[arg(long, value_name = "ADDRESS", default_value = ":8081", value_parser = value::address)]
    listen_metrics_addr: SocketAddr,
    /// Let a request take this long to arrive
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration::positive)]
    read_timeout: Duration,
    /// Let an answer take this long
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration::positive)]
    write_timeout: Duration,
    /// Verify and rotate so many times a second for one caller
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    rate_limit: u32,
    /// Verify and rotate so many times more at once before that counts
    #[arg(long, value_name = "NUMBER", default_value = "2")]
    rate_limit_burst: u32,
    /// Take requests of so many bytes at most
    #[arg(long, value_name = "BYTES", default_value = "3145728", value_parser = value::body_size)]
    http_max_body: usize,
    /// Verify and rotate only for callers with a token that the API server knows
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    http_authenticate: bool,
    /// Leave single objects out of metrics
    #[arg(long, value_name = "BOOL", default_value = "false", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    metrics_omit_secret_labels: bool,
}

#[derive(clap::Args)]
#[command(next_help_heading = "Logs and traces")]
struct TelemetryArgs {
    /// Log to stdout what is no warning; else all goes to stderr
    #[arg(long, value_name = "BOOL", default_value = "true", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    log_info_stdout: bool,
    /// Log what is of this level or above
    #[arg(long, value_name = "LEVEL", default_value = "INFO", value_parser = value::level(), ignore_case = true)]
    log_level: tracing::Level,
    /// Log in this format
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = value::log_format())]
    log_format: LogFormat,
    /// Send traces where the variables OTEL_EXPORTER_OTLP_* say, if they do
    #[arg(long, value_name = "BOOL", default_value = "true", value_parser = value::boolean, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    otlp: bool,
}

impl Args {
    /// Returns what to print in place of doing anything, if that is asked for.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let own = env!("CARGO_PKG_VERSION");
        self.version.then(|| format!("controller version: {COMPATIBLE} (selkie-decryptor {own})"))
    }

    /// Returns the file that says how to reach the cluster, if this is no Pod of it.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<&Path> {
        self.client.kubeconfig.as_deref()
    }

    /// Returns what is logged, and where.
    #[must_use]
    pub fn log(&self) -> LogSettings {
        let TelemetryArgs { log_info_stdout, log_level, log_format, .. } = self.telemetry;
        LogSettings { info_to_stdout: log_info_stdout, level: log_level, format: log_format }
    }

    /// Returns whether traces are sent if the environment says where to.
    #[must_use]
    pub fn has_traces(&self) -> bool {
        self.telemetry.otlp
    }

    /// Returns what the controller was told, in its surroundings.
    ///
    /// # Errors
    /// If flags do not fit each other.
    pub fn settings(&self, surroundings: &Surroundings) -> Result<Settings, ArgsError> {
        let namespace = surroundings.namespace();
        Ok(Settings {
            namespaces: self.work.namespaces(&namespace),
            namespace,
            label_selector: self.work.label_selector.clone(),
            keys: self.keys.settings(),
            unseal: Unseal {
                collision: self.work.template_collision,
                deprecated_data: self.work.accept_deprecated_v1_data,
                without_templates: false,
            },
            update_status: self.work.update_status,
            skip_recreate: self.work.skip_recreate,
            old_gc: self.work.old_gc_behavior,
            quick_retries: u32::try_from(self.work.max_unseal_retries).unwrap_or(u32::MAX),
            workers: self.work.workers.map_or(4 * surroundings.cores, usize::from),
            client: self.client.settings(),
            http: self.http.settings(),
            replicas: self.replicas.settings(surroundings)?,
            sops: self.sops.settings()?,
        })
    }
}

impl KeyArgs {
    fn settings(&self) -> KeySettings {
        KeySettings {
            prefix: self.key_prefix.clone(),
            size: self.key_size,
            lifetime: self.key_ttl,
            common_name: self.my_cn.clone(),
            renew_period: Some(self.key_renew_period).filter(|period| !period.is_zero()),
            order: self.key_order_priority,
            cutoff: self.key_cutoff_time.0,
            annotations: self.privatekey_annotations.clone(),
            labels: self.privatekey_labels.clone(),
        }
    }
}

impl WorkArgs {
    /// Returns the namespaces to work on. As for the controller of Sealed Secrets, a list of some means not all.
    fn namespaces(&self, own: &str) -> Namespaces {
        if self.all_namespaces && self.additional_namespaces.is_empty() {
            return Namespaces::All;
        }
        let mut names = self.additional_namespaces.clone();
        names.insert(own.to_owned());
        Namespaces::These(names)
    }
}

impl SopsArgs {
    fn settings(&self) -> Result<SopsSettings, ArgsError> {
        let policy = self.sops_policy.clone();
        if policy.is_some() && !self.sops && !self.sops_isindir {
            return Err(ArgsError::Policy);
        }
        if self.sops_isindir_enforce_ownership && !self.sops_isindir {
            return Err(ArgsError::Ownership);
        }
        Ok(SopsSettings {
            own: self.sops,
            isindir: self.sops_isindir,
            isindir_enforce_ownership: self.sops_isindir_enforce_ownership,
            key_paths: self.sops_key_path.clone(),
            policy,
        })
    }
}

impl ReplicaArgs {
    fn settings(&self, surroundings: &Surroundings) -> Result<Replicas, ArgsError> {
        if self.replicas == "single" {
            return Ok(Replicas::Single);
        }
        if self.lease_renew >= self.lease_duration / 2 {
            return Err(ArgsError::Lease);
        }
        let identity = Some(self.identity.clone()).filter(|name| !name.is_empty());
        let identity = identity.or_else(|| surroundings.identity()).ok_or(ArgsError::Identity)?;
        let settings = ReplicaSettings {
            lease: self.lease_name.clone(),
            identity: value::identity(&identity).map_err(|_| ArgsError::Identity)?,
            duration: self.lease_duration,
            renew: self.lease_renew,
        };
        Ok(if self.replicas == "leader" { Replicas::Leader(settings) } else { Replicas::Sharded(settings) })
    }
}

impl ClientArgs {
    /// Returns the limits. As for the client of Go, 0 stands for the usual.
    fn settings(&self) -> ClientSettings {
        let burst = if self.kubeclient_burst == 0 { 10 } else { self.kubeclient_burst };
        ClientSettings { qps: self.kubeclient_qps.0, burst }
    }
}

impl HttpArgs {
    fn settings(&self) -> HttpSettings {
        HttpSettings {
            listen: self.listen_addr,
            listen_metrics: self.listen_metrics_addr,
            read_timeout: self.read_timeout,
            write_timeout: self.write_timeout,
            rate: self.rate_limit,
            burst: self.rate_limit_burst,
            max_body: self.http_max_body,
            authenticate: self.http_authenticate,
            object_metrics: !self.metrics_omit_secret_labels,
        }
    }
}

/// The version of the controller of Sealed Secrets whose place this one takes.
const COMPATIBLE: &str = "v0.40.0";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(no_binary_name = true)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn parse(arguments: &[&str]) -> Result<Args, String> {
        Program::try_parse_from(arguments).map(|program| program.args).map_err(|error| error.to_string())
    }

    fn surroundings() -> Surroundings {
        Surroundings {
            account_namespace: Some("kube-system".to_owned()),
            host: Some("host-1".to_owned()),
            cores: 2,
            ..Surroundings::default()
        }
    }

    fn settings(arguments: &[&str]) -> Settings {
        parse(arguments).expect("they are flags").settings(&surroundings()).expect("they fit")
    }

    #[test]
    fn defaults_are_those_of_the_controller_of_sealed_secrets() {
        let settings = settings(&[]);
        assert_eq!(settings.namespace, "kube-system");
        assert_eq!(settings.namespaces, Namespaces::All);
        assert_eq!(settings.keys.prefix, "sealed-secrets-key");
        assert_eq!(settings.keys.size, KeySize::Rsa4096);
        assert_eq!(settings.keys.lifetime, Duration::from_secs(87_600 * 3_600));
        assert_eq!(settings.keys.renew_period, Some(Duration::from_secs(720 * 3_600)));
        assert_eq!(settings.keys.order, KeyOrder::CertNotBefore);
        assert_eq!((settings.keys.cutoff, settings.keys.common_name.as_str()), (None, ""));
        assert!(settings.keys.annotations.is_empty() && settings.keys.labels.is_empty());
        assert_eq!(settings.unseal.collision, Collision::Item);
        assert!(settings.unseal.deprecated_data && settings.update_status);
        assert!(!settings.skip_recreate && !settings.old_gc);
        assert_eq!((settings.quick_retries, settings.workers), (5, 8));
        assert_eq!((settings.client.qps, settings.client.burst), (Some(5.0), 10));
        assert_eq!(settings.http.listen.to_string(), "[::]:8080");
        assert_eq!(settings.http.listen_metrics.to_string(), "[::]:8081");
        assert_eq!(settings.http.read_timeout, Duration::from_secs(120));
        assert_eq!(settings.http.write_timeout, Duration::from_secs(120));
        assert_eq!((settings.http.rate, settings.http.burst), (2, 2));
        assert!(settings.http.object_metrics && !settings.http.authenticate);
        assert_eq!(settings.replicas, Replicas::Single);
        assert!(!settings.sops.own && !settings.sops.isindir && !settings.sops.isindir_enforce_ownership);
        let log = parse(&[]).expect("there are none").log();
        assert_eq!(
            log,
            LogSettings { info_to_stdout: true, level: tracing::Level::INFO, format: LogFormat::Text }
        );
    }

    #[test]
    fn truth_values_may_go_without_a_value_but_never_have_it_behind_a_space() {
        assert!(settings(&["--skip-recreate"]).skip_recreate);
        assert!(!settings(&["--update-status=f"]).update_status);
        assert!(settings(&["--http-authenticate=T"]).http.authenticate);
        assert!(parse(&["--update-status", "false"]).is_err_and(|error| error.contains("'false'")));
        assert!(parse(&["--update-status=no"]).is_err_and(|error| error.contains("--update-status")));
    }

    #[test]
    fn of_two_the_last_counts_but_paths_add_up() {
        assert_eq!(settings(&["--workers=1", "--workers", "3"]).workers, 3);
        // Of two kinds, each has half of a sixth of what may be asked for while a Lease of 15 s counts.
        let places = |flags: &[&str]| settings(flags).places(2);
        assert_eq!(places(&["--replicas=leader"]), 6);
        assert_eq!(places(&["--replicas=leader", "--kubeclient-qps=-1"]), 8);
        assert_eq!(places(&["--replicas=leader", "--kubeclient-qps=0.1"]), 1);
        assert_eq!(places(&["--kubeclient-qps=0.1"]), 8);
        let flags = ["--sops", "--sops=false", "--sops-key-path=/a,/b", "--sops-key-path", "/c"];
        let sops = settings(&flags).sops;
        assert!(!sops.own);
        assert_eq!(sops.key_paths, ["/a", "/b", "/c"].map(PathBuf::from));
    }

    #[test]
    fn some_numbers_stand_for_no_limit() {
        let settings =
            settings(&["--kubeclient-qps", "-1", "--max-unseal-retries=-1", "--key-renew-period=0"]);
        assert_eq!(settings.client.qps, None);
        assert_eq!(settings.quick_retries, u32::MAX);
        assert_eq!(settings.keys.renew_period, None);
        let usual = parse(&["--kubeclient-qps=0", "--kubeclient-burst=0"]).expect("yes").client.settings();
        assert_eq!((usual.qps, usual.burst), (Some(5.0), 10));
    }

    #[test]
    fn namespaces_that_are_listed_stand_beside_the_own_one() {
        let of = |flags: &[&str]| match settings(flags).namespaces {
            Namespaces::All => Vec::new(),
            Namespaces::These(names) => names.into_iter().collect(),
        };
        assert_eq!(of(&["--all-namespaces=false"]), ["kube-system"]);
        assert_eq!(of(&["--additional-namespaces=b,a"]), ["a", "b", "kube-system"]);
    }

    #[test]
    fn the_own_namespace_is_that_of_the_variable_or_of_the_account() {
        let variable = Surroundings { pod_namespace: Some("a".to_owned()), ..surroundings() };
        assert_eq!(variable.namespace(), "a");
        assert_eq!(surroundings().namespace(), "kube-system");
        assert_eq!(Surroundings::default().namespace(), "default");
    }

    #[test]
    fn replicas_have_names_and_leases() {
        let Replicas::Leader(replica) = settings(&["--replicas=leader"]).replicas else {
            panic!("there is a leader")
        };
        assert_eq!(
            (replica.lease.as_str(), replica.identity.as_str()),
            ("sealed-secrets-controller", "host-1")
        );
        assert_eq!((replica.duration, replica.renew), (Duration::from_secs(15), Duration::from_secs(5)));
        let refused = |flags: &[&str], surroundings: &Surroundings| {
            parse(flags).expect("they are flags").settings(surroundings).expect_err("they do not fit")
        };
        let nowhere = Surroundings::default();
        assert_eq!(refused(&["--replicas=sharded"], &nowhere), ArgsError::Identity);
        let named = Surroundings { pod_name: Some("Not_a_name".to_owned()), ..surroundings() };
        assert_eq!(refused(&["--replicas=sharded"], &named), ArgsError::Identity);
        let flags = ["--replicas=leader", "--lease-duration=10s", "--lease-renew=5s"];
        assert_eq!(refused(&flags, &surroundings()), ArgsError::Lease);
        assert_eq!(refused(&["--sops-policy=/p"], &surroundings()), ArgsError::Policy);
        assert_eq!(
            refused(&["--sops", "--sops-isindir-enforce-ownership"], &surroundings()),
            ArgsError::Ownership
        );
        let both = settings(&["--sops-isindir", "--sops-isindir-enforce-ownership"]).sops;
        assert!(both.isindir && both.isindir_enforce_ownership);
    }

    #[test]
    fn errors_name_the_flag() {
        for flag in [
            "--privatekey-labels=a",
            "--privatekey-annotations=a=b,c",
            "--key-size=1024",
            "--key-prefix=A",
            "--key-cutoff-time=now",
            "--key-order-priority=Age",
            "--label-selector=a b",
            "--workers=0",
            "--read-timeout=0",
            "--listen-addr=8080",
            "--log-level=LOUD",
        ] {
            let name = flag.split('=').next().unwrap_or_default();
            assert!(parse(&[flag]).is_err_and(|error| error.contains(name)), "{flag}");
        }
        assert!(parse(&["--no-such-flag"]).is_err() && parse(&["word"]).is_err());
    }

    #[test]
    fn levels_are_read_in_any_case() {
        let log = parse(&["--log-level=debug", "--log-format=json"]).expect("they are flags").log();
        assert_eq!((log.level, log.format), (tracing::Level::DEBUG, LogFormat::Json));
    }

    #[test]
    fn the_version_is_that_of_the_controller_whose_place_this_one_takes() {
        let version = parse(&["--version"]).expect("it is a flag").version().expect("it is asked for");
        assert!(version.starts_with("controller version: v0.40.0"), "{version}");
        assert_eq!(parse(&[]).expect("there are none").version(), None);
    }
}
