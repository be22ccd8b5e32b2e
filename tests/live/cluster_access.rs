//! What we ask of a cluster, asked of a real one, in which the real controller of Sealed Secrets runs.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use kubectl_seal::cluster::{self as access, ClusterError, NewSealingKey, Overrides, Verdict};
use kubectl_seal::session::{Environment, Input, Output, Session};
use libtest_mimic::{Failed, Trial};
use selkie::sealed::{KeySize, SealedSecret, SealingCert, Secret};
use selkie::secret::SecretBytes;
use serde_json::{Value as Json, json};
use time::OffsetDateTime;

use super::cluster::{self, Cluster};
use super::controller;
use super::sealed_secrets::Pair;
use crate::envelope::rng;
use crate::peer::{Peer, output, piped};

pub fn tests() -> Vec<Trial> {
    let with_kubeseal = [controller::NEEDED.as_slice(), &[Peer::Kubeseal]].concat();
    let with_controller = |name, run: fn(&Cluster) -> Result<(), Failed>| {
        cluster::test(name, &controller::NEEDED, move |cluster| {
            controller::start(cluster)?;
            run(cluster)
        })
    };
    vec![
        cluster::test("is_the_version_that_it_should_be", &[], is_the_version),
        cluster::test("configurations_that_lead_nowhere", &[], lead_nowhere),
        cluster::test("flags_over_files", &[], flags_over_files),
        cluster::test("what_is_forbidden_is_told", &[], forbidden),
        cluster::test("neither_way_to_a_controller", &[], neither_way),
        cluster::test("a_limit_of_requests_is_waited_for", &[], limited),
        cluster::test("secrets_are_read_and_none_is_overwritten", &[], secrets),
        cluster::test("fetch_cert_is_that_of_kubeseal", &with_kubeseal, |cluster| {
            controller::start(cluster)?;
            fetch_cert(cluster)
        }),
        cluster::test("verify_is_that_of_kubeseal", &with_kubeseal, |cluster| {
            controller::start(cluster)?;
            verify(cluster)
        }),
        cluster::test("rotate_is_that_of_kubeseal", &with_kubeseal, |cluster| {
            controller::start(cluster)?;
            rotate(cluster)
        }),
        with_controller("the_controller_unseals_ours", unseals_ours),
        with_controller("keys_of_the_controller_open_ours", keys),
    ]
}

fn is_the_version(cluster: &Cluster) -> Result<(), Failed> {
    let version = output(&mut cluster.kubectl(["version", "--output=json"])?)?;
    let version: Json = serde_json::from_slice(&version)?;
    let both = [&version["clientVersion"]["gitVersion"], &version["serverVersion"]["gitVersion"]];
    if both == ["v1.37.2", "v1.37.2"] { Ok(()) } else { Err(format!("{both:?}").into()) }
}

fn fetch_cert(cluster: &Cluster) -> Result<(), Failed> {
    // Everyone may, if known to the cluster.
    let config = cluster.account("default", "fetcher", &[])?;
    let ours = connect(&config)?.controller(controller::NAMESPACE, controller::NAME)?.fetch_cert()?;
    let theirs = output(kubeseal(&config)?.arg("--fetch-cert"))?;
    SealingCert::parse(&ours)?.check_expiry(OffsetDateTime::now_utc())?;
    if ours == theirs { Ok(()) } else { Err("kubeseal fetches another certificate".into()) }
}

fn verify(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.account("default", "verifier", &[])?;
    let connected = connect(&config)?;
    let controller = connected.controller(controller::NAMESPACE, controller::NAME)?;
    let sealed = seal(&controller.fetch_cert()?, "verify", "a")?.to_json();
    let mut elsewhere = sealed.clone();
    elsewhere["metadata"]["name"] = "b".into();
    for (sealed, expected) in [(&sealed, Verdict::Unsealable), (&elsewhere, Verdict::NotUnsealable)] {
        let text = sealed.to_string();
        let verdict = controller.verify(text.as_bytes())?;
        let theirs = piped(kubeseal(&config)?.arg("--validate"), text.as_bytes());
        if verdict != expected || theirs.is_ok() != (expected == Verdict::Unsealable) {
            return Err(format!("{verdict:?} where {expected:?} is right").into());
        }
    }
    match controller.verify(br#"{"kind":"Pod","apiVersion":"v1"}"#) {
        Err(ClusterError::Answer { status: 500, .. }) => Ok(()),
        other => Err(format!("what is no SealedSecret: {other:?}").into()),
    }
}

fn rotate(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.account("default", "rotator", &[])?;
    let connected = connect(&config)?;
    let controller = connected.controller(controller::NAMESPACE, controller::NAME)?;
    let sealed = seal(&controller.fetch_cert()?, "rotate", "a")?.to_json().to_string();
    let ours: Json = serde_json::from_slice(&controller.rotate(sealed.as_bytes())?)?;
    let theirs: Json =
        serde_json::from_slice(&piped(kubeseal(&config)?.arg("--re-encrypt"), sealed.as_bytes())?)?;
    for rotated in [&ours, &theirs] {
        if !rotated["spec"]["encryptedData"]["password"].is_string() || rotated["metadata"]["name"] != "a" {
            return Err(format!("not rotated: {rotated}").into());
        }
    }
    let mut elsewhere: Json = serde_json::from_str(&sealed)?;
    elsewhere["metadata"]["name"] = "b".into();
    match controller.rotate(elsewhere.to_string().as_bytes()) {
        Err(ClusterError::Answer { status: 500, .. }) => Ok(()),
        other => Err(format!("what cannot be decrypted: {other:?}").into()),
    }
}

/// The real controller makes the Secret of what we sealed for it.
fn unseals_ours(cluster: &Cluster) -> Result<(), Failed> {
    cluster.make_namespace("unseal")?;
    let connected = connect(&cluster.kubeconfig())?;
    let certificate = connected.controller(controller::NAMESPACE, controller::NAME)?.fetch_cert()?;
    let sealed = seal(&certificate, "unseal", "ours")?;
    cluster.apply(sealed.to_json().to_string())?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let secret = loop {
        match connected.secret("unseal", "ours") {
            Ok(secret) => break secret,
            Err(ClusterError::NotFound { .. }) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(100))
            }
            Err(error) => return Err(error.into()),
        }
    };
    expect_values(&secret.data)
}

/// With the keys out of the cluster we open what was sealed for it.
fn keys(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.account(controller::NAMESPACE, "backup", &[(&["list"], "secrets")])?;
    let keys = connect(&config)?.sealing_keys(controller::NAMESPACE)?;
    let connected = connect(&cluster.kubeconfig())?;
    let certificate = connected.controller(controller::NAMESPACE, controller::NAME)?.fetch_cert()?;
    let key = keys.iter().find(|key| key.certificate == certificate).ok_or("the key is not among them")?;
    if key.label != "active" || key.created.is_none() || !key.name.starts_with("sealed-secrets-key") {
        return Err(format!("{} {} {:?}", key.name, key.label, key.created).into());
    }
    let pair =
        Pair { certificate: String::from_utf8(certificate)?, key: key.private_key.expose_secret().into() };
    let sealed = seal(pair.certificate.as_bytes(), "keys", "a")?;
    let registry = super::sealed_secrets::registry(&[&pair])?;
    let mut opened = Vec::new();
    for (name, item) in sealed.open_items(&registry) {
        opened.push((name.to_owned(), item?.value));
    }
    expect_values(&opened)
}

fn secrets(cluster: &Cluster) -> Result<(), Failed> {
    cluster.make_namespace("secrets")?;
    let rules: &[(&[&str], &str)] = &[(&["get", "list", "create"], "secrets")];
    let config = cluster.account("secrets", "keeper", rules)?;
    let connected = connect(&config)?;
    let pair = Pair::of(KeySize::Rsa2048)?;
    let new = NewSealingKey {
        name: Some("kept"),
        label: "compromised",
        certificate: pair.certificate.as_bytes(),
        private_key: &pair.key,
    };
    let created = [
        connected.create_sealing_key("secrets", &new)?,
        connected.create_sealing_key("secrets", &NewSealingKey { name: None, label: "active", ..new })?,
    ];
    let mut keys: Vec<_> =
        connected.sealing_keys("secrets")?.into_iter().map(|key| (key.name, key.label)).collect();
    keys.sort();
    let mut expected =
        vec![("kept".to_owned(), "compromised".to_owned()), (created[1].clone(), "active".to_owned())];
    expected.sort();
    if keys != expected {
        return Err(format!("{keys:?}").into());
    }
    let again = NewSealingKey {
        name: Some("kept"),
        label: "active",
        certificate: b"",
        private_key: &SecretBytes::new(),
    };
    let refused = connected.create_sealing_key("secrets", &again);
    if !matches!(refused, Err(ClusterError::Conflict { .. })) {
        return Err(format!("once more: {refused:?}").into());
    }
    let kept = connected.secret("secrets", "kept")?;
    let same = kept
        .data
        .iter()
        .any(|(key, value)| key == "tls.key" && value.expose_secret() == pair.key.expose_secret());
    if !same || kept.kind.as_deref() != Some("kubernetes.io/tls") {
        return Err("what is kept is not what was given".into());
    }
    match connected.secret("secrets", "none").err() {
        Some(ClusterError::NotFound { .. }) => Ok(()),
        other => Err(format!("what is not there: {other:?}").into()),
    }
}

fn forbidden(cluster: &Cluster) -> Result<(), Failed> {
    let config = cluster.account("default", "nobody", &[])?;
    let connected = connect(&config)?;
    let refused = [
        connected.secret("default", "a").err(),
        connected.sealing_keys("default").err(),
        connected.controller("default", "a").err(),
    ];
    for (error, expected) in
        refused.into_iter().zip([("get", "secrets"), ("list", "secrets"), ("get", "services")])
    {
        match error {
            Some(ClusterError::Forbidden { asked, source: Some(message) })
                if (asked.verb, asked.resource) == expected && message.to_string().contains("nobody") => {}
            other => return Err(format!("{expected:?}: {other:?}").into()),
        }
    }
    // An administrator who acts as somebody may do what they may.
    let overrides = Overrides {
        impersonate: Some("system:serviceaccount:default:nobody".to_owned()),
        impersonate_groups: vec!["system:authenticated".to_owned()],
        ..of_file(&cluster.kubeconfig())
    };
    let acting = access::Cluster::connect(&overrides, &session(&[]))?;
    match acting.secret("default", "a").err() {
        Some(ClusterError::Forbidden { .. }) => Ok(()),
        other => Err(format!("acting as nobody: {other:?}").into()),
    }
}

/// No kubelet runs here, so that the other way ends at the API server.
fn neither_way(cluster: &Cluster) -> Result<(), Failed> {
    cluster.make_namespace("ways")?;
    cluster.make_service(("ways", "controller"), Some("http"), (&cluster.inside, 1))?;
    let rules: &[(&[&str], &str)] =
        &[(&["get"], "services"), (&["list"], "pods"), (&["get", "create"], "pods/portforward")];
    let config = cluster.account("ways", "walker", rules)?;
    let connected = connect(&config)?;
    match connected.controller("ways", "controller")?.fetch_cert() {
        Err(ClusterError::Controller { proxy, forward, .. }) => {
            let is_forbidden = matches!(&*proxy, ClusterError::Forbidden { asked, .. } if asked.resource == "services/proxy");
            let is_tried = matches!(&*forward, ClusterError::Answer { asked, .. } | ClusterError::NotFound { asked, .. } if asked.resource == "pods/portforward");
            if !is_forbidden || !is_tried {
                return Err(format!("{proxy:?}, {forward:?}").into());
            }
        }
        other => return Err(format!("{other:?}").into()),
    }
    // Nothing listens there, as an administrator finds out.
    let connected = connect(&cluster.kubeconfig())?;
    match connected.controller("ways", "controller")?.fetch_cert() {
        Err(ClusterError::Controller { proxy, .. })
            if matches!(*proxy, ClusterError::Answer { status: 503, .. }) =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}").into()),
    }
}

/// What stands for a controller here asks for patience, twice.
fn limited(cluster: &Cluster) -> Result<(), Failed> {
    cluster.make_namespace("limited")?;
    let listener = TcpListener::bind((cluster.outside.as_str(), 0))?;
    let port = listener.local_addr()?.port();
    cluster.make_service(("limited", "controller"), Some("http"), (&cluster.outside, port))?;
    let connected = connect(&cluster.kubeconfig())?;
    let controller = connected.controller("limited", "controller")?;
    let (verdict, requests) = thread::scope(|scope| {
        let answers = ["429 Too Many Requests\r\nRetry-After: 0", "429 Too Many Requests", "200 OK"];
        let requests = scope.spawn(move || answers.map(|answer| serve_once(&listener, answer)));
        (controller.verify(b"{}"), requests.join())
    });
    let requests = requests.map_err(|_| "whoever answers panicked")?;
    for request in requests {
        let request = request?;
        if !request.starts_with("POST /v1/verify HTTP/1.1\r\n") {
            return Err(request.into());
        }
    }
    match verdict {
        Ok(Verdict::Unsealable) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Answers one request, and returns it with its headers.
fn serve_once(listener: &TcpListener, answer: &str) -> io::Result<String> {
    let (mut stream, _) = listener.accept()?;
    let mut request = Vec::new();
    // The body has two bytes.
    while !request.ends_with(b"\r\n\r\n{}") && !request.ends_with(b"\r\n{}\r\n0\r\n\r\n") {
        let mut some = [0; 1024];
        let count = stream.read(&mut some)?;
        if count == 0 {
            break;
        }
        request.extend_from_slice(&some[..count]);
    }
    stream.write_all(
        format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn lead_nowhere(cluster: &Cluster) -> Result<(), Failed> {
    let usual = of_file(&cluster.kubeconfig());
    let get = |overrides: Overrides| {
        access::Cluster::connect(&overrides, &session(&[]))
            .and_then(|connected| connected.secret("default", "a"))
            .err()
    };
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let silent = format!("https://{}", silent.local_addr()?);
    let closed = format!("https://{}", TcpListener::bind(("127.0.0.1", 0))?.local_addr()?);
    let in_a_second = Some("1s".to_owned());
    let silent = Overrides { server: Some(silent), request_timeout: in_a_second, ..usual.clone() };
    let closed = Overrides { server: Some(closed), ..usual.clone() };
    let unknown = Overrides { token: Some("none".to_owned().into()), ..usual.clone() };
    let context = Overrides { context: Some("none".to_owned()), ..usual.clone() };
    let elsewhere = Overrides { tls_server_name: Some("elsewhere".to_owned()), ..usual.clone() };
    let nothing = Overrides::default();
    let results = [
        matches!(get(silent), Some(ClusterError::TimedOut { .. })),
        matches!(get(closed), Some(ClusterError::Unreachable { .. })),
        matches!(get(unknown), Some(ClusterError::Unauthorized { .. })),
        matches!(get(context), Some(ClusterError::NoEntry { kind: "context", known, .. }) if known == ["test"]),
        matches!(get(elsewhere), Some(ClusterError::Unreachable { why, .. }) if why.contains("certificate")),
        matches!(get(nothing), Some(ClusterError::NoConfiguration)),
    ];
    if results.iter().all(|&is_told| is_told) { Ok(()) } else { Err(format!("{results:?}").into()) }
}

fn flags_over_files(cluster: &Cluster) -> Result<(), Failed> {
    let config = fs::read_to_string(cluster.kubeconfig())?;
    let (_, token) = config.split_once("token: ").ok_or("there is a token")?;
    let token: String = token.chars().take_while(char::is_ascii_alphanumeric).collect();
    let by_flags = Overrides {
        server: Some(format!("https://{}:6443", cluster.inside)),
        certificate_authority: Some("ca.crt".into()),
        token: Some(token.into()),
        ..Overrides::default()
    };
    let insecure = Overrides {
        certificate_authority: None,
        insecure_skip_tls_verify: Some(true),
        tls_server_name: Some("elsewhere".to_owned()),
        ..by_flags.clone()
    };
    // The first file of a list wins, and one that is not there is passed over.
    let other = cluster.folder.join("other.kubeconfig");
    fs::write(
        &other,
        r#"{"current-context": "none", "contexts": [{"name": "none", "context": {"cluster": "none", "namespace": "far"}}]}"#,
    )?;
    let list = |first: &Path, second: &Path| format!("/nonexistent:{}:{}", first.display(), second.display());
    let list = list(&cluster.kubeconfig(), &other);
    let mut by_flags_in_folder = session(&[]);
    by_flags_in_folder.directory.clone_from(&cluster.folder);
    for (overrides, session) in [
        (by_flags, by_flags_in_folder),
        (insecure, session(&[])),
        (Overrides::default(), session(&[("KUBECONFIG", &list)])),
        (
            Overrides::default(),
            session(&[
                ("KUBECONFIG", &list),
                ("HTTPS_PROXY", "http://127.0.0.1:1"),
                ("NO_PROXY", "198.18.0.0/15"),
            ]),
        ),
    ] {
        match access::Cluster::connect(&overrides, &session)?.secret("default", "none").err() {
            Some(ClusterError::NotFound { .. }) => {}
            other => return Err(format!("{overrides:?}: {other:?}").into()),
        }
    }
    let by_context = Overrides { context: Some("none".to_owned()), ..Overrides::default() };
    let namespace = access::namespace(&by_context, &session(&[("KUBECONFIG", &list)]))?;
    if namespace.as_deref() == Some("far") { Ok(()) } else { Err(format!("{namespace:?}").into()) }
}

fn seal(certificate: &[u8], namespace: &str, name: &str) -> Result<SealedSecret, Failed> {
    let secret = Secret::from_json(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name},
        "stringData": {"password": "of the sea", "user": ""},
    }))?;
    Ok(SealedSecret::seal(&secret, &SealingCert::parse(certificate)?, &mut rng(3))?)
}

fn expect_values(data: &[(String, SecretBytes)]) -> Result<(), Failed> {
    let values: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), value.expose_secret())).collect();
    let expected = [("password", b"of the sea".as_slice()), ("user", b"")];
    if values == expected { Ok(()) } else { Err("the values are not those that were sealed".into()) }
}

fn kubeseal(config: &Path) -> Result<Command, Failed> {
    let mut command = Command::new(Peer::Kubeseal.path().ok_or("there is no kubeseal")?);
    command.env_clear().env("KUBECONFIG", config);
    Ok(command)
}

fn connect(config: &Path) -> Result<access::Cluster, ClusterError> {
    access::Cluster::connect(&of_file(config), &session(&[]))
}

fn of_file(config: &Path) -> Overrides {
    Overrides { kubeconfig: Some(config.to_owned()), ..Overrides::default() }
}

fn session(variables: &[(&str, &str)]) -> Session {
    Session {
        environment: variables.iter().copied().collect::<Environment>(),
        directory: "/".into(),
        stdin: Input::new(io::empty(), false),
        stdout: Output::new(io::sink(), false),
        stderr: Output::new(io::sink(), false),
        clock: OffsetDateTime::now_utc,
        audit: "/nonexistent".into(),
    }
}
