//! Requests to the API, without sockets.

use http_body_util::BodyExt as _;
use selkie::sealed::{Key, KeyRegistry, SealedSecret, SealingCert, Secret, Unseal};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;
use tower::ServiceExt as _;

use super::*;
use crate::controller::http::test_kit::{cert, context, key, keys, settings};
use crate::controller::key_set::KeySet;
use crate::controller::settings::HttpSettings;

fn server() -> Router {
    api(context(keys(), settings()))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.expect("routers do not fail");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Answer { status: head.status, headers: head.headers, body: String::from_utf8_lossy(&body).into_owned() }
}

async fn ask(router: &Router, path: &str, body: impl Into<Body>) -> Answer {
    send(router, Request::post(path).body(body.into()).expect("a request")).await
}

async fn status(router: &Router, path: &str, body: impl Into<Body>) -> u16 {
    ask(router, path, body).await.status.as_u16()
}

/// Seals a Secret for the old key.
fn sealed(secret: Json) -> Json {
    let secret = Secret::from_any_json(&secret).expect("a Secret");
    SealedSecret::seal(&secret, &cert(0), &mut OsRng).expect("it is sealed").to_json()
}

fn example() -> Json {
    sealed(json!({
        "metadata": {
            "name": "db", "namespace": "shop",
            "labels": {"app": "db"}, "annotations": {"note": "x"}, "finalizers": ["a/b"],
        },
        "type": "example.com/type",
        "stringData": {"password": "of the sea", "user": "selkie"},
    }))
}

fn edited(mut object: Json, pointer: &str, value: Json) -> Json {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    object.pointer_mut(parent).expect("it is there")[field.replace("~1", "/")] = value;
    object
}

/// What the key of `index` alone makes of an answer.
fn opened(answer: &str, index: usize) -> Option<Secret> {
    let object: Json = serde_json::from_str(answer).expect("JSON");
    let sealed = SealedSecret::from_json(&object).expect("a SealedSecret with its kind and version");
    let mut registry = KeyRegistry::new();
    registry.add(Key::new(key(index), "the only one"));
    let how = Unseal { without_templates: true, ..Unseal::default() };
    let mut surroundings =
        selkie::template::Surroundings { now: OffsetDateTime::UNIX_EPOCH, rng: &mut OsRng };
    sealed.unseal(&registry, how, &mut surroundings).ok()
}

/// A whole Secret as one item, as it was sealed before 0.7.
fn deprecated(content: &str, namespace: &str, name: &str) -> Json {
    let label = format!("{namespace}/{name}");
    let data = cert(0).seal_labelled(&content.into(), &label, &mut OsRng).expect("it is sealed");
    json!({
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"data": data},
    })
}

#[tokio::test]
async fn certificates_and_probes_are_served_by_any_method() {
    let context = context(keys(), settings());
    let router = api(context.clone());
    for method in ["GET", "POST", "PUT", "BREW"] {
        let request =
            |path: &str| Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
        let answer = send(&router, request("/v1/cert.pem")).await;
        assert_eq!(
            (answer.status, &answer.headers[header::CONTENT_TYPE]),
            (StatusCode::OK, &HeaderValue::from_static("application/x-pem-file"))
        );
        assert_eq!(
            SealingCert::parse(answer.body.as_bytes()).expect("a certificate").fingerprint(),
            cert(1).fingerprint()
        );
        let answer = send(&router, request("/healthz")).await;
        assert_eq!(
            (answer.status, answer.body.as_str(), &answer.headers[header::CONTENT_TYPE]),
            (StatusCode::OK, "ok\n", &HeaderValue::from_static("text/plain; charset=utf-8"))
        );
        let answer = send(&router, request("/v1/nothing")).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::NOT_FOUND, "404 page not found\n"));
    }
    let answer = ask(&router, "/readyz", "").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (503, "not ready: keys\n"));
    context.readiness.set("keys", true);
    assert_eq!(status(&router, "/readyz", "").await, 200);
    let metrics = super::metrics(context);
    assert_eq!(status(&metrics, "/readyz", "").await, 200);
    assert_eq!(status(&metrics, "/v1/cert.pem", "").await, 404);
    assert_eq!(status(&router, "/metrics", "").await, 404);
}

#[tokio::test]
async fn without_a_key_there_is_no_certificate() {
    let router = api(context(KeySet::default(), settings()));
    let answer = ask(&router, "/v1/cert.pem", "").await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, ""));
    assert_eq!(status(&router, "/v1/verify", example().to_string()).await, 409);
    assert_eq!(status(&router, "/v1/rotate", example().to_string()).await, 500);
}

#[tokio::test]
async fn verify_says_whether_all_of_it_opens_and_nothing_else() {
    let (router, example) = (server(), example());
    let answer = ask(&router, "/v1/verify", example.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
    let yaml = selkie::manifest::print_yaml(&example);
    assert_eq!(status(&router, "/v1/verify", yaml.expose_secret().to_vec()).await, 200);
    let items = &example["spec"]["encryptedData"];
    let item = items["password"].as_str().expect("an item");
    let end = item.len() - 4;
    let changed = format!("{}{}", &item[..end], if &item[end..] == "AAAA" { "BBBB" } else { "AAAA" });
    let closed = [
        edited(example.clone(), "/metadata/name", "other".into()),
        edited(
            example.clone(),
            "/metadata/annotations",
            json!({"sealedsecrets.bitnami.com/cluster-wide": "true"}),
        ),
        edited(example.clone(), "/spec/encryptedData/password", changed.into()),
        edited(example.clone(), "/spec/encryptedData/password", "AgA".into()),
        edited(example.clone(), "/spec/encryptedData/password", "!".into()),
        edited(example.clone(), "/spec/encryptedData/password", Json::Null),
    ];
    for object in closed {
        let answer = ask(&router, "/v1/verify", object.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (409, ""), "{object}");
    }
}

#[tokio::test]
async fn what_is_not_one_sealed_secret_is_an_error() {
    let (router, example) = (server(), example());
    let yaml = String::from_utf8_lossy(selkie::manifest::print_yaml(&example).expose_secret()).into_owned();
    let bodies = [
        String::new(),
        "---\n".to_owned(),
        "{".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        format!("---\n{yaml}---\n{yaml}"),
        format!("{example}{example}"),
        edited(example.clone(), "/kind", "Secret".into()).to_string(),
        edited(example.clone(), "/apiVersion", "bitnami.com/v2".into()).to_string(),
        edited(example.clone(), "/spec", json!([])).to_string(),
        edited(example.clone(), "/spec/template", json!({"data": {"a": 1}})).to_string(),
    ];
    for body in bodies {
        for path in ["/v1/verify", "/v1/rotate"] {
            let answer = ask(&router, path, body.clone()).await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, ""), "{path} {body}");
        }
    }
}

#[tokio::test]
async fn bodies_that_mean_harm_do_none() {
    let router = server();
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let alias = format!("*a{}", level - 1);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 8].join(",")));
    }
    let deep = 50_000;
    let bodies = [
        bomb.into_bytes(),
        "[".repeat(deep).into_bytes(),
        "{\"a\":".repeat(deep).into_bytes(),
        "- ".repeat(deep).into_bytes(),
        "---\n".repeat(deep).into_bytes(),
        vec![0xff; 64],
        vec![0; 64],
    ];
    for body in bodies {
        assert_eq!(status(&router, "/v1/verify", body.clone()).await, 500);
        assert_eq!(status(&router, "/v1/rotate", body).await, 500);
    }
}

#[tokio::test]
async fn templates_are_not_rendered() {
    let router = server();
    let failing = json!({"data": {"x": "{{ if hasPrefix \"o\" .password }}{{ fail \"found\" }}{{ end }}"}});
    let object = edited(example(), "/spec/template", failing.clone());
    assert_eq!(status(&router, "/v1/verify", object.to_string()).await, 200);
    let answer = ask(&router, "/v1/rotate", object.to_string()).await;
    assert_eq!(answer.status.as_u16(), 200);
    let rotated: Json = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(rotated["spec"]["template"]["data"], failing["data"]);
    assert_eq!(rotated["spec"]["encryptedData"].as_object().map(serde_json::Map::len), Some(2));
}

#[tokio::test]
async fn rotate_seals_for_the_newest_key_and_keeps_the_rest() {
    let router = server();
    let mut object = edited(example(), "/metadata/labels", json!({"argo": "wave"}));
    object["metadata"]["uid"] = "u".into();
    object["metadata"]["resourceVersion"] = "7".into();
    object["metadata"]["managedFields"] = json!([]);
    object["status"] = json!({"observedGeneration": 1});
    object["spec"]["template"]["immutable"] = true.into();
    object["spec"]["template"]["data"] = json!({"url": "{{ .user }}", "gone": null});
    let answer = ask(&router, "/v1/rotate", object.to_string()).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let rotated: Json = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(rotated["metadata"], json!({"name": "db", "namespace": "shop", "labels": {"argo": "wave"}}));
    assert_eq!(rotated["spec"]["template"], object["spec"]["template"]);
    assert!(rotated.get("status").is_none());
    assert!(opened(&answer.body, 0).is_none(), "it is for the new key");
    let secret = opened(&answer.body, 1).expect("the new key opens it");
    assert_eq!(secret.data["password"].expose_secret(), b"of the sea");
    assert_eq!(secret.data["user"].expose_secret(), b"selkie");
    assert_eq!(status(&router, "/v1/verify", answer.body).await, 200);
}

#[tokio::test]
async fn the_answer_to_our_own_client_is_one_that_it_takes() {
    let (router, object) = (server(), example());
    let sealed = SealedSecret::from_json(&object).expect("a SealedSecret");
    let answer = ask(&router, "/v1/rotate", selkie::sealed::rotation_request(&sealed).to_string()).await;
    let answer = serde_json::from_str(&answer.body).expect("JSON");
    let rotated = selkie::sealed::rotated(&sealed, &answer).expect("it is for the object that was sent");
    assert_eq!(rotated.template, sealed.template);
    assert_ne!(rotated.encrypted_data, sealed.encrypted_data);
}

#[tokio::test]
async fn the_scope_is_that_of_the_object_and_not_of_its_template() {
    let router = server();
    let wide = json!({"sealedsecrets.bitnami.com/cluster-wide": "true", "note": "x"});
    let object = edited(example(), "/spec/template/metadata/annotations", wide.clone());
    let answer = ask(&router, "/v1/rotate", object.to_string()).await;
    let rotated: Json = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(rotated["metadata"], json!({"name": "db", "namespace": "shop"}));
    assert_eq!(rotated["spec"]["template"]["metadata"]["annotations"], json!({"note": "x"}));
    let elsewhere = edited(rotated, "/metadata/name", "other".into());
    assert_eq!(status(&router, "/v1/verify", elsewhere.to_string()).await, 409);

    let object = sealed(json!({
        "metadata": {"name": "db", "namespace": "shop", "annotations": wide}, "stringData": {"a": "b"},
    }));
    let object = edited(object, "/spec/template/metadata", json!({"name": "x", "namespace": "y"}));
    let answer = ask(&router, "/v1/rotate", object.to_string()).await;
    let rotated: Json = serde_json::from_str(&answer.body).expect("JSON");
    let scope = json!({"sealedsecrets.bitnami.com/cluster-wide": "true"});
    assert_eq!(rotated["metadata"]["annotations"], scope);
    let template = json!({"name": "db", "namespace": "shop", "annotations": scope});
    assert_eq!(rotated["spec"]["template"]["metadata"], template);
}

#[tokio::test]
async fn one_item_that_does_not_open_stops_all_of_it() {
    let object = edited(example(), "/spec/encryptedData/user", "AgA".into());
    let answer = ask(&server(), "/v1/rotate", object.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, ""));
}

#[tokio::test]
async fn a_secret_that_was_sealed_as_a_whole_becomes_items() {
    let router = server();
    let content = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "example.com/type",
        "metadata": {
            "name": "db", "namespace": "shop", "labels": {"app": "db"},
            "annotations": {"sealedsecrets.bitnami.com/cluster-wide": "true"},
        },
        "data": {"password": "eA=="},
    });
    let object = deprecated(&content.to_string(), "shop", "db");
    assert_eq!(status(&router, "/v1/verify", object.to_string()).await, 200);
    let answer = ask(&router, "/v1/rotate", object.to_string()).await;
    let rotated: Json = serde_json::from_str(&answer.body).expect("JSON");
    assert!(rotated["spec"].get("data").is_none());
    assert_eq!(rotated["spec"]["template"]["type"], "example.com/type");
    assert_eq!(rotated["spec"]["template"]["metadata"]["labels"], json!({"app": "db"}));
    assert!(rotated["spec"]["template"]["metadata"].get("annotations").is_none(), "no scope is widened");
    assert!(rotated["metadata"].get("annotations").is_none(), "no scope is widened");
    assert_eq!(opened(&answer.body, 1).expect("it opens").data["password"].expose_secret(), b"x");

    let both = edited(object.clone(), "/spec/encryptedData", json!({"a": "AgA"}));
    let mut strict = context(keys(), settings());
    strict.unseal.deprecated_data = false;
    for (router, object) in [(router, both), (api(strict), object)] {
        assert_eq!(status(&router, "/v1/verify", object.to_string()).await, 409);
        assert_eq!(status(&router, "/v1/rotate", object.to_string()).await, 500);
    }
}

#[tokio::test]
async fn a_value_that_is_put_in_place_of_a_whole_secret_tells_nothing() {
    let router = server();
    for content in
        ["x", "{}", r#"{"type": "service_account", "data": {"a": "eA=="}}"#, r#"{"kind": "Secret"}"#]
    {
        let object = deprecated(content, "shop", "db").to_string();
        assert_eq!(status(&router, "/v1/verify", object.clone()).await, 200, "it opens, whatever it is");
        let answer = ask(&router, "/v1/rotate", object).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (500, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn callers_who_come_too_often_are_told_when_to_come_again() {
    let router = api(context(keys(), HttpSettings { rate: 2, burst: 2, ..settings() }));
    for path in ["/v1/verify", "/v1/rotate"] {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(ask(&router, path, "x").await);
        }
        let header = |answer: &Answer, name: &str| {
            answer.headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned())
        };
        let remaining: Vec<_> =
            answers.iter().filter_map(|answer| header(answer, "x-ratelimit-remaining")).collect();
        assert_eq!(remaining, ["2", "1", "0", "0"]);
        let last = &answers[3];
        assert_eq!((last.status.as_u16(), last.body.as_str()), (429, "limit exceeded\n"));
        assert_eq!(header(last, "x-ratelimit-limit").as_deref(), Some("3"));
        assert_eq!(header(last, "x-ratelimit-reset").as_deref(), Some("2"));
        assert_eq!(header(last, "retry-after").as_deref(), Some("1"));
        assert_eq!(header(&answers[0], "retry-after"), None);
        let other = Request::post(path).header("X-Forwarded-For", "10.0.0.9").body(Body::empty());
        assert_eq!(send(&router, other.expect("a request")).await.status.as_u16(), 500);
    }
    assert_eq!(status(&router, "/v1/cert.pem", "").await, 200, "certificates are not limited");
}

#[tokio::test]
async fn bodies_that_are_too_large_are_not_kept() {
    let router = api(context(keys(), HttpSettings { max_body: 100, ..settings() }));
    for length in [101, 399, 401, 100_000] {
        assert_eq!(status(&router, "/v1/verify", vec![b' '; length]).await, 413);
    }
    assert_eq!(status(&router, "/v1/verify", vec![b' '; 100]).await, 500);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_in_time_is_not_waited_for() {
    let router = server();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let answer = ask(&router, "/v1/verify", never).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers[header::CONNECTION]),
        (408, &HeaderValue::from_static("close"))
    );
}

#[tokio::test]
async fn callers_have_to_show_a_token_if_that_is_wanted() {
    let router = api(context(keys(), HttpSettings { authenticate: true, ..settings() }));
    for path in ["/v1/verify", "/v1/rotate"] {
        let answer = ask(&router, path, example().to_string()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[header::WWW_AUTHENTICATE]),
            (401, &HeaderValue::from_static("Bearer"))
        );
        let request =
            Request::post(path).header("Authorization", "Bearer x").body(Body::from(example().to_string()));
        let answer = send(&router, request.expect("a request")).await;
        assert_eq!(answer.status.as_u16(), 503, "there is nobody to ask");
    }
    assert_eq!(status(&router, "/v1/cert.pem", "").await, 200, "certificates are for everybody");
}

#[tokio::test]
async fn requests_are_counted_and_shown() {
    let context = context(keys(), settings());
    let (router, metrics) = (api(context.clone()), super::metrics(context));
    ask(&router, "/v1/verify", example().to_string()).await;
    ask(&router, "/v1/verify", "x").await;
    ask(&router, "/v1/none", "x").await;
    let answer = ask(&metrics, "/metrics", "").await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    let count = |code: u16| {
        format!(
            "sealed_secrets_controller_http_requests_total{{path=\"/v1/verify\",code=\"{code}\",method=\"post\"}} 1\n"
        )
    };
    assert!(answer.body.contains(&count(200)) && answer.body.contains(&count(500)), "{}", answer.body);
    assert!(!answer.body.contains("path=\"other\""), "{}", answer.body);
    let request = Request::get("/metrics").header("Accept", "application/openmetrics-text;version=1.0.0");
    let answer = send(&metrics, request.body(Body::empty()).expect("a request")).await;
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(
        answer.headers[header::CONTENT_TYPE]
            .to_str()
            .expect("ASCII")
            .starts_with("application/openmetrics-text")
    );
}
