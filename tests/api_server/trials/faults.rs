//! What goes wrong on demand.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use libtest_mimic::Trial;
use serde_json::json;

use super::{ApiServer, Outcome, hold, refused, sealed, sealed_secrets, secret, secret_key, secrets, trial};
use crate::api_server::{Actor, Fault, Moment, Resource};

pub fn tests() -> Vec<Trial> {
    vec![
        trial("lost_replies_are_of_what_was_done", lost_replies_are_of_what_was_done),
        trial("the_dead_do_nothing", the_dead_do_nothing),
        trial("garbage_is_collected", garbage_is_collected),
        trial("reviews_are_answered", reviews_are_answered),
    ]
}

async fn lost_replies_are_of_what_was_done(server: ApiServer) -> Outcome {
    let api = secrets(&server);
    let object: DynamicObject = serde_json::from_value(secret("one", "a"))?;
    for (fault, is_done) in
        [(Fault::NoConnection, false), (Fault::Unavailable, false), (Fault::LostReply, true)]
    {
        server.faults(|faults| faults.plan(fault, 1, |ask| ask.method == "POST"));
        hold(api.create(&PostParams::default(), &object).await.is_err(), "something went wrong")?;
        hold(server.get(&secret_key("one")?).is_some() == is_done, format!("{fault:?}"))?;
    }
    server.faults(|faults| faults.plan(Fault::TooMany, 1, |_| true));
    refused(api.get("one").await, 429, "TooManyRequests", "please try again later")?;
    server.faults(|faults| faults.is_down = true);
    hold(matches!(api.get("one").await, Err(kube::Error::Service(_))), "nobody is there")
}

async fn the_dead_do_nothing(server: ApiServer) -> Outcome {
    for (moment, is_done) in [(Moment::Before, false), (Moment::After, true)] {
        let actor = Actor::new("process");
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Secret"));
        let api: Api<DynamicObject> = Api::namespaced_with(server.client(&actor), "default", &resource);
        actor.kill_at(2, moment);
        drop(api.get_opt("one").await?);
        let object = serde_json::from_value(secret("one", "a"))?;
        let parameters = PostParams::default();
        tokio::select! {
            _ = api.create(&parameters, &object) => return Err("it lives".into()),
            () = actor.died() => {}
        }
        hold(server.get(&secret_key("one")?).is_some() == is_done, format!("{moment:?}"))?;
        let late = tokio::time::timeout(Duration::from_secs(9), api.get("one")).await;
        hold(late.is_err() && actor.requests() == 3, "no answer comes")?;
    }
    Ok(())
}

async fn garbage_is_collected(server: ApiServer) -> Outcome {
    let made = server.create(&sealed("one", "a")).map_err(|refusal| refusal.body.to_string())?;
    let mut owned = secret("one", "a");
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "name": "one", "uid": made["metadata"]["uid"],
    }]);
    server.create(&owned).map_err(|refusal| refusal.body.to_string())?;
    server.collect_garbage();
    hold(server.get(&secret_key("one")?).is_some(), "its owner lives")?;
    sealed_secrets(&server).delete("one", &Default::default()).await?;
    server.collect_garbage();
    hold(server.get(&secret_key("one")?).is_none(), "its owner is gone")?;
    let writes = server.history();
    let last = writes.last().ok_or("it is in the history")?;
    hold(last.who == "garbage-collector" && last.changed() && last.before.is_some(), "it is known who did it")
}

async fn reviews_are_answered(server: ApiServer) -> Outcome {
    server.know_token("good", json!({"username": "ann", "groups": ["a"]}));
    let api: Api<TokenReview> = Api::all(server.client(&Actor::new("trial")));
    for (token, is_known) in [("good", true), ("bad", false)] {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let review = TokenReview { spec, ..Default::default() };
        let status = api.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        hold(status.authenticated.unwrap_or_default() == is_known, token)?;
    }
    server.deny("get", "secrets", true);
    refused(secrets(&server).get("one").await, 403, "Forbidden", "cannot get resource \"secrets\"")?;
    let resource = Resource::find("bitnami.com", "sealedsecrets").ok_or("there are SealedSecrets")?;
    server.serve_resource(resource, false);
    refused(sealed_secrets(&server).get("one").await, 404, "Failed to parse error data", "404 page not found")
}
