//! Which cluster is asked, and as whom: flags over the files of kubectl over what a Pod finds in itself.
//!
//! Files are read here and not by the client, as that would look at the environment of the process.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Config;
use kube::config::{AuthInfo, Cluster as Server, Context, ExecAuthCluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::tell;
use super::{ClusterError, Overrides, proxy};
use crate::base64;
use crate::session::Session;

/// Returns the namespace to work in: that of the flag, of the context, of the Pod, or `default`. Without any
/// configuration there is none. No cluster is asked.
///
/// # Errors
/// If a file cannot be read, or has no such context.
pub fn namespace(overrides: &Overrides, session: &Session) -> Result<Option<String>, ClusterError> {
    if let Some(namespace) = given(overrides.namespace.as_deref()) {
        return Ok(Some(namespace));
    }
    let files = read_files(overrides, session)?;
    let context = context(&files, overrides)?;
    let of_context = context.and_then(|context| given(context.namespace.as_deref()));
    if of_context.is_some() {
        return Ok(of_context);
    }
    if let Some(pod) = Pod::find(session, Path::new(ACCOUNT)) {
        return Ok(Some(pod.namespace(session)));
    }
    let is_empty = files.contexts.is_empty() && files.clusters.is_empty() && overrides.server.is_none();
    Ok((!is_empty).then(|| DEFAULT.to_owned()))
}

/// Returns how to reach the cluster.
pub(super) fn config(overrides: &Overrides, session: &Session) -> Result<Config, ClusterError> {
    let files = read_files(overrides, session)?;
    let context = context(&files, overrides)?;
    let server = server(&files, context, overrides, session)?;
    let user = user(&files, context, overrides)?;
    let config = match server {
        Some(server) => assemble(&server, user, overrides, session)?,
        None => match Pod::find(session, Path::new(ACCOUNT)) {
            Some(pod) => pod.config(overrides, session)?,
            None => return Err(ClusterError::NoConfiguration),
        },
    };
    Ok(config)
}

/// Reads the file that is named, or those of the variable, or that of the user. Of several the first one that
/// sets something wins, and those that are not there are passed over.
fn read_files(overrides: &Overrides, session: &Session) -> Result<Kubeconfig, ClusterError> {
    if let Some(path) = overrides.kubeconfig.as_deref().filter(|path| !path.as_os_str().is_empty()) {
        return read(&session.absolute(path));
    }
    let listed: Vec<_> = match session.environment.get("KUBECONFIG") {
        Some(list) => env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => home(session).map(|home| home.join(".kube/config")).into_iter().collect(),
    };
    let mut all = Kubeconfig::default();
    for path in listed.iter().map(|path| session.absolute(path)).filter(|path| path.exists()) {
        let file = read(&path)?;
        all = all.merge(file).map_err(|error| ClusterError::File { path, why: error.to_string() })?;
    }
    Ok(all)
}

fn read(path: &Path) -> Result<Kubeconfig, ClusterError> {
    Kubeconfig::read_from(path).map_err(|error| {
        let why = match error {
            KubeconfigError::ReadConfig(error, _) => error.to_string(),
            // What it says may show the line, and there a password.
            KubeconfigError::Parse(_) => "it is no such YAML".to_owned(),
            error => error.to_string(),
        };
        ClusterError::File { path: path.to_owned(), why }
    })
}

fn home(session: &Session) -> Option<PathBuf> {
    ["HOME", "USERPROFILE"].into_iter().find_map(|name| session.environment.get(name)).map(PathBuf::from)
}

fn context<'a>(files: &'a Kubeconfig, overrides: &Overrides) -> Result<Option<&'a Context>, ClusterError> {
    let Some(name) = given(overrides.context.as_deref()).or_else(|| given(files.current_context.as_deref()))
    else {
        return Ok(None);
    };
    let entries = files.contexts.iter().map(|entry| (&entry.name, entry.context.as_ref()));
    find("context", &name, entries).map(Some)
}

/// Returns where the cluster is, as files and flags say: nothing if neither does.
fn server(
    files: &Kubeconfig,
    context: Option<&Context>,
    overrides: &Overrides,
    session: &Session,
) -> Result<Option<Server>, ClusterError> {
    let entries = files.clusters.iter().map(|entry| (&entry.name, entry.cluster.as_ref()));
    let name = given(overrides.cluster.as_deref())
        .or_else(|| context.and_then(|context| given(Some(&context.cluster))));
    let mut server = match name {
        Some(name) => find("cluster", &name, entries)?.clone(),
        None => Server {
            server: session.environment.get("KUBERNETES_MASTER").map(str::to_owned),
            ..Server::default()
        },
    };
    if let Some(url) = given(overrides.server.as_deref()) {
        // Its certificate need not be one for the name that the other one had.
        (server.server, server.tls_server_name) = (Some(url), None);
    }
    if let Some(name) = given(overrides.tls_server_name.as_deref()) {
        server.tls_server_name = Some(name);
    }
    if let Some(path) = &overrides.certificate_authority {
        server.certificate_authority = Some(text(session, path));
        (server.certificate_authority_data, server.insecure_skip_tls_verify) = (None, None);
    }
    if let Some(is_insecure) = overrides.insecure_skip_tls_verify {
        if is_insecure && overrides.certificate_authority.is_some() {
            let why = "it says to trust everything, and --certificate-authority not to".to_owned();
            return Err(ClusterError::Flag { flag: "--insecure-skip-tls-verify", why });
        }
        if is_insecure {
            (server.certificate_authority, server.certificate_authority_data) = (None, None);
        }
        server.insecure_skip_tls_verify = Some(is_insecure);
    }
    if let Some(url) = &overrides.proxy_url {
        server.proxy_url = Some(url.expose().to_owned());
    }
    server.disable_compression = overrides.disable_compression.or(server.disable_compression);
    Ok(given(server.server.as_deref()).is_some().then_some(server))
}

/// Returns as whom to ask, as files say. One that only a context names need not be there.
fn user(
    files: &Kubeconfig,
    context: Option<&Context>,
    overrides: &Overrides,
) -> Result<AuthInfo, ClusterError> {
    let entries = files.auth_infos.iter().map(|entry| (&entry.name, entry.auth_info.as_ref()));
    if let Some(name) = given(overrides.user.as_deref()) {
        return find("user", &name, entries).cloned();
    }
    let name = context.and_then(|context| context.user.as_deref()).unwrap_or_default();
    let user = files.auth_infos.iter().find(|entry| entry.name == name);
    Ok(user.and_then(|entry| entry.auth_info.clone()).unwrap_or_default())
}

/// Changes as whom to ask to what flags say.
fn apply(mut user: AuthInfo, overrides: &Overrides, session: &Session) -> Result<AuthInfo, ClusterError> {
    let flag = |flag, why: &str| Err(ClusterError::Flag { flag, why: why.to_owned() });
    if overrides.token.is_some() && overrides.username.is_some() {
        return flag("--token", "one asks with a token or with --username, not with both");
    }
    if let Some(token) = &overrides.token {
        user = AuthInfo { token: Some(token.expose().to_owned().into()), ..without_credentials(user) };
    }
    if overrides.username.is_some() || overrides.password.is_some() {
        let (username, password) = (user.username.clone(), user.password.clone());
        user = without_credentials(user);
        user.username = overrides.username.clone().or(username);
        user.password = overrides.password.as_ref().map(|text| text.expose().to_owned().into()).or(password);
    }
    if let Some(path) = &overrides.client_certificate {
        (user.client_certificate, user.client_certificate_data) = (Some(text(session, path)), None);
    }
    if let Some(path) = &overrides.client_key {
        (user.client_key, user.client_key_data) = (Some(text(session, path)), None);
    }
    if let Some(name) = given(overrides.impersonate.as_deref()) {
        user.impersonate = Some(name);
    }
    if let Some(uid) = given(overrides.impersonate_uid.as_deref()) {
        user.impersonate_uid = Some(uid);
    }
    if !overrides.impersonate_groups.is_empty() {
        user.impersonate_groups = Some(overrides.impersonate_groups.clone());
    }
    if user.impersonate.is_none() && (user.impersonate_uid.is_some() || user.impersonate_groups.is_some()) {
        return flag("--as", "a group or a UID to act as needs a user to act as");
    }
    if user.auth_provider.is_some() {
        let why = "its auth-provider is not known to kubectl any more, nor here: use exec".to_owned();
        return Err(ClusterError::Unusable { what: "the user of the configuration", why });
    }
    Ok(user)
}

/// Returns a user without what would be tried in place of what a flag says.
fn without_credentials(user: AuthInfo) -> AuthInfo {
    AuthInfo {
        auth_provider: None,
        exec: None,
        password: None,
        token: None,
        token_file: None,
        username: None,
        ..user
    }
}

fn assemble(
    server: &Server,
    user: AuthInfo,
    overrides: &Overrides,
    session: &Session,
) -> Result<Config, ClusterError> {
    let mut config = Config::new(address(server)?);
    config.root_cert = authorities(server)?;
    config.accept_invalid_certs = server.insecure_skip_tls_verify.unwrap_or(false);
    if config.accept_invalid_certs && config.root_cert.is_some() {
        let why = "it names authorities to trust, and says to trust everything".to_owned();
        return Err(ClusterError::Unusable { what: "the cluster of the configuration", why });
    }
    config.tls_server_name = given(server.tls_server_name.as_deref());
    config.disable_compression = server.disable_compression.unwrap_or(false);
    config.proxy_url = proxy::of(server.proxy_url.as_deref(), &config.cluster_url, &session.environment)?;
    let mut user = apply(user, overrides, session)?;
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        let cluster = ExecAuthCluster::try_from(server).map_err(|error| ClusterError::Unusable {
            what: "the cluster of the configuration",
            why: tell(&error),
        })?;
        exec.cluster = Some(cluster);
    }
    finish(config, user)
}

/// Sets what all configurations have in common.
fn finish(mut config: Config, user: AuthInfo) -> Result<Config, ClusterError> {
    config.auth_info = user;
    config.connect_timeout = Some(CONNECT);
    // What is asked for once more, and when, is decided where it is asked for.
    config.default_retry = false;
    Ok(config)
}

/// Returns the address of the API server. Without a scheme it is that of kubectl.
fn address(server: &Server) -> Result<http::Uri, ClusterError> {
    let text = server.server.as_deref().unwrap_or_default();
    let has_tls = server.certificate_authority.is_some()
        || server.certificate_authority_data.is_some()
        || server.insecure_skip_tls_verify.is_some();
    let text = match text.contains("://") {
        true => text.to_owned(),
        false => format!("{}://{text}", if has_tls { "https" } else { "http" }),
    };
    text.parse().map_err(|_| ClusterError::Unusable {
        what: "the address of the cluster",
        why: format!("{text:?} is no URL"),
    })
}

/// Returns the certificates of those who may say who the API server is; none stands for those of the system.
fn authorities(server: &Server) -> Result<Option<Vec<Vec<u8>>>, ClusterError> {
    let unusable = |why: String| ClusterError::Unusable { what: "the authority of the cluster", why };
    let pem = match (
        given(server.certificate_authority_data.as_deref()),
        given(server.certificate_authority.as_deref()),
    ) {
        (Some(data), _) => {
            base64::decode(data.as_bytes()).ok_or_else(|| unusable("it is no base64".to_owned()))?
        }
        (None, Some(path)) => fs::read(&path).map_err(|error| unusable(format!("{path}: {error}")))?.into(),
        (None, None) => return Ok(None),
    };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.expose_secret()).map(|der| der.map(|der| der.to_vec())).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(Some(certificates)),
        Ok(_) => Err(unusable("there is no certificate in it".to_owned())),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// What a program in a Pod has from the cluster that it runs in.
struct Pod {
    address: String,
    account: PathBuf,
}

impl Pod {
    /// Returns what is there, if this is a Pod.
    fn find(session: &Session, account: &Path) -> Option<Self> {
        let host = session.environment.get("KUBERNETES_SERVICE_HOST")?;
        let port = session.environment.get("KUBERNETES_SERVICE_PORT")?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let address = format!("https://{host}:{port}");
        account.join("token").is_file().then(|| Self { address, account: account.to_owned() })
    }

    fn namespace(&self, session: &Session) -> String {
        let of_file = || match fs::read_to_string(self.account.join("namespace")) {
            Ok(text) => given(Some(text.trim())),
            // As for the client of Go, which then takes the usual one.
            Err(_) => None,
        };
        let of_variable = session.environment.get("POD_NAMESPACE").map(str::to_owned);
        of_variable.or_else(of_file).unwrap_or_else(|| DEFAULT.to_owned())
    }

    fn config(&self, overrides: &Overrides, session: &Session) -> Result<Config, ClusterError> {
        let server = Server {
            server: Some(self.address.clone()),
            certificate_authority: Some(self.account.join("ca.crt").display().to_string()),
            ..Server::default()
        };
        let token = self.account.join("token").display().to_string();
        let user = AuthInfo { token_file: Some(token), ..AuthInfo::default() };
        assemble(&server, user, overrides, session)
    }
}

fn find<'a, T>(
    kind: &'static str,
    name: &str,
    entries: impl Iterator<Item = (&'a String, Option<&'a T>)> + Clone,
) -> Result<&'a T, ClusterError> {
    let found = entries.clone().find(|(known, _)| *known == name).and_then(|(_, entry)| entry);
    found.ok_or_else(|| {
        let known = entries.map(|(name, _)| name.clone()).collect();
        ClusterError::NoEntry { kind, name: name.to_owned(), known }
    })
}

/// Returns what is given, unless it is empty: to kubectl that is as if it were not.
fn given(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn text(session: &Session, path: &Path) -> String {
    session.absolute(path).display().to_string()
}

/// Where a Pod finds the account that it runs as.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The namespace that is worked in if nobody says otherwise.
const DEFAULT: &str = "default";

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Environment, Input, Output};

    fn session(folder: &Path, variables: &[(&str, &str)]) -> Session {
        Session {
            environment: variables.iter().copied().collect::<Environment>(),
            directory: folder.to_owned(),
            stdin: Input::new(std::io::empty(), false),
            stdout: Output::new(std::io::sink(), false),
            stderr: Output::new(std::io::sink(), false),
            clock: time::OffsetDateTime::now_utc,
            audit: "/nonexistent".into(),
        }
    }

    const FILE: &str = "
current-context: a
clusters: [{name: c, cluster: {server: 'https://c', tls-server-name: old, proxy-url: 'http://p'}}]
users: [{name: u, user: {token: hush, username: null}}]
contexts:
- {name: a, context: {cluster: c, user: u, namespace: of-a}}
- {name: b, context: {cluster: c, user: missing}}
- {name: c, context: {cluster: missing}}
";

    /// Returns a folder with a configuration, and flags that name it.
    fn file(text: &str) -> (tempfile::TempDir, Overrides) {
        let folder = tempfile::tempdir().expect("there is a folder");
        fs::write(folder.path().join("config"), text).expect("it is written");
        (folder, Overrides { kubeconfig: Some("config".into()), ..Overrides::default() })
    }

    #[test]
    fn the_namespace_is_that_of_kubectl() {
        let (folder, usual) = file(FILE);
        let session = session(folder.path(), &[]);
        let of = |overrides: Overrides| namespace(&overrides, &session).expect("it can be told");
        assert_eq!(of(usual.clone()).as_deref(), Some("of-a"));
        assert_eq!(of(Overrides { context: Some("b".into()), ..usual.clone() }).as_deref(), Some("default"));
        assert_eq!(of(Overrides { namespace: Some("n".into()), ..usual.clone() }).as_deref(), Some("n"));
        assert_eq!(
            of(Overrides { namespace: Some(String::new()), ..usual.clone() }).as_deref(),
            Some("of-a")
        );
        assert_eq!(of(Overrides::default()), None);
        let wrong = namespace(&Overrides { context: Some("none".into()), ..usual }, &session);
        let Err(ClusterError::NoEntry { kind: "context", known, .. }) = wrong else { panic!("{wrong:?}") };
        assert_eq!(known, ["a", "b", "c"]);
    }

    #[test]
    fn files_are_found_as_for_kubectl() {
        let (folder, _) = file(FILE);
        let home = folder.path().join("home");
        fs::create_dir_all(home.join(".kube")).expect("it is made");
        let of_home = "current-context: h\ncontexts: [{name: h, context: {cluster: h, namespace: of-home}}]";
        fs::write(home.join(".kube/config"), of_home).expect("it is written");
        let home = home.display().to_string();
        let of = |variables: &[(&str, &str)]| {
            namespace(&Overrides::default(), &session(folder.path(), variables)).expect("it can be told")
        };
        assert_eq!(of(&[("HOME", &home)]).as_deref(), Some("of-home"));
        assert_eq!(of(&[("HOME", &home), ("KUBECONFIG", "config")]).as_deref(), Some("of-a"));
        assert_eq!(of(&[("HOME", &home), ("KUBECONFIG", "none")]), None);
        assert!(matches!(
            namespace(
                &Overrides { kubeconfig: Some("none".into()), ..Overrides::default() },
                &session(folder.path(), &[])
            ),
            Err(ClusterError::File { .. })
        ));
    }

    #[test]
    fn a_pod_knows_its_cluster() {
        let folder = tempfile::tempdir().expect("there is a folder");
        let variables = [("KUBERNETES_SERVICE_HOST", "fd00::1"), ("KUBERNETES_SERVICE_PORT", "443")];
        let session_of = |more: &[(&str, &str)]| session(folder.path(), &[&variables, more].concat());
        assert!(Pod::find(&session_of(&[]), folder.path()).is_none());
        fs::write(folder.path().join("token"), "t").expect("it is written");
        let pod = Pod::find(&session_of(&[]), folder.path()).expect("it is one");
        assert_eq!(pod.address, "https://[fd00::1]:443");
        assert_eq!(pod.namespace(&session_of(&[])), "default");
        fs::write(folder.path().join("namespace"), "of-file\n").expect("it is written");
        assert_eq!(pod.namespace(&session_of(&[])), "of-file");
        assert_eq!(pod.namespace(&session_of(&[("POD_NAMESPACE", "of-variable")])), "of-variable");
    }

    #[test]
    fn flags_win_over_files() {
        let (folder, usual) = file(FILE);
        let session = session(folder.path(), &[]);
        let of = |overrides: Overrides| config(&overrides, &session);
        let plain = of(usual.clone()).expect("it is configured");
        assert_eq!(plain.cluster_url.to_string(), "https://c/");
        assert_eq!(plain.tls_server_name.as_deref(), Some("old"));
        assert_eq!(plain.proxy_url.map(|url| url.to_string()).as_deref(), Some("http://p/"));
        let elsewhere = of(Overrides {
            server: Some("d:1".into()),
            insecure_skip_tls_verify: Some(true),
            username: Some("v".into()),
            password: Some("w".to_owned().into()),
            ..usual.clone()
        });
        let elsewhere = elsewhere.expect("it is configured");
        assert_eq!(elsewhere.cluster_url.to_string(), "https://d:1/");
        assert_eq!(elsewhere.tls_server_name, None);
        assert!(elsewhere.accept_invalid_certs && elsewhere.auth_info.token.is_none());
        let nobody = of(Overrides { context: Some("b".into()), ..usual.clone() }).expect("it is configured");
        assert!(nobody.auth_info.token.is_none());
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        let (folder, usual) = file(FILE);
        let session = session(folder.path(), &[]);
        let why = |overrides: Overrides| config(&overrides, &session).expect_err("it is refused").to_string();
        let token = || Some("t".to_owned().into());
        let both = Overrides { token: token(), username: Some("v".into()), ..usual.clone() };
        assert!(why(both).starts_with("--token: "));
        let group = Overrides { impersonate_groups: vec!["g".into()], ..usual.clone() };
        assert!(why(group).starts_with("--as: "));
        let trust = Overrides {
            insecure_skip_tls_verify: Some(true),
            certificate_authority: Some("ca.crt".into()),
            ..usual.clone()
        };
        assert!(why(trust).starts_with("--insecure-skip-tls-verify: "));
        let cluster = Overrides { context: Some("c".into()), ..usual.clone() };
        assert_eq!(why(cluster), r#"the configuration has no cluster "missing""#);
        let user = Overrides { user: Some("missing".into()), ..usual };
        assert_eq!(why(user), r#"the configuration has no user "missing""#);
        assert!(matches!(config(&Overrides::default(), &session), Err(ClusterError::NoConfiguration)));
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_has_no_credentials_tells_why() {
        let scripts = [("echo hush; exit 3", "ended with exit status: 3"), ("echo hush", "prints none")];
        for (script, expected) in scripts {
            let file = format!(
                "current-context: a
clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:1'}}}}]
contexts: [{{name: a, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, '{script}']}}}}}}]"
            );
            let (folder, usual) = self::file(&file);
            let error = super::super::Cluster::connect(&usual, &session(folder.path(), &[]));
            let error =
                error.and_then(|cluster| cluster.secret("a", "b").map(|_| ())).expect_err("there are none");
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }

    #[test]
    fn no_secret_is_in_an_error() {
        let (folder, usual) = file("users: [{name: u, user: {token: hush, token: [hush]}}]\nclusters: hush");
        let error = config(&usual, &session(folder.path(), &[])).expect_err("it is none");
        assert!(!format!("{error} {error:?} {:?}", error.causes()).contains("hush"), "{error:?}");
    }
}
