//! Schedules that are not left to chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::model::{MANAGED, check_history, secrets, told};
use super::pool::{NAMES, NAMESPACES, OWN, POOL, sealed};
use super::replica::{Replica, Setup};
use super::{cluster, in_paused_time, settle};
use crate::api_server::{ApiServer, Cut, Fault, Key, Moment, Resource, Write};

/// A schedule.
type Case = fn() -> Result<(), Failed>;

/// Returns the trials.
pub fn tests() -> Vec<Trial> {
    let tests: [(&str, Case); 10] = [
        ("a_kill_between_any_two_calls_does_no_harm", a_kill_between_any_two_calls_does_no_harm),
        ("a_new_key_opens_at_once_what_waited_for_it", a_new_key_opens_at_once_what_waited_for_it),
        ("a_restart_writes_nothing", a_restart_writes_nothing),
        ("an_object_that_is_too_deep_harms_no_other", an_object_that_is_too_deep_harms_no_other),
        ("an_old_role_is_enough", an_old_role_is_enough),
        ("lost_replies_make_no_second_key", lost_replies_make_no_second_key),
        ("the_api_server_may_be_away", the_api_server_may_be_away),
        ("the_leader_is_replaced", the_leader_is_replaced),
        ("watches_may_expire", watches_may_expire),
        ("when_all_is_well_nothing_is_written", when_all_is_well_nothing_is_written),
    ];
    tests.into_iter().map(|(name, test)| Trial::test(format!("simulation::{name}"), test)).collect()
}

fn a_kill_between_any_two_calls_does_no_harm() -> Result<(), Failed> {
    let mut calls = 0;
    in_paused_time(async {
        calls = live_through(None).await?;
        Ok(())
    })?;
    if calls < 15 {
        return Err(Failed::from(format!("{calls} calls cannot be all")));
    }
    for call in 1..=calls {
        for moment in [Moment::After, Moment::Before] {
            let result = in_paused_time(async { live_through(Some((call, moment))).await.map(drop) });
            result.map_err(|failed| {
                let problem = failed.message().unwrap_or_default();
                Failed::from(format!("killed {moment:?} call {call} of {calls}: {problem}"))
            })?;
        }
    }
    Ok(())
}

/// Has a Secret made, one taken over and one changed; returns how many calls the first process made.
async fn live_through(kill: Option<(u64, Moment)>) -> Result<u64, String> {
    let server = cluster(1);
    create(&server, &some((0, 0), 0))?;
    create(&server, &some((0, 1), 0))?;
    let metadata = json!({"namespace": NAMESPACES[0], "name": NAMES[1], "annotations": {MANAGED: "true"}});
    create(
        &server,
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"a": "YQ=="}}),
    )?;
    let replica = Replica::start(&server, setup("replica-0", "single"), |actor| {
        if let Some((call, moment)) = kill {
            actor.kill_at(call, moment);
        }
    });
    let first = replica.actor();
    settle(&server).await?;
    let mut object = some((0, 0), 1);
    object["metadata"]["resourceVersion"] = version(&server, "bitnami.com", "sealedsecrets", (0, 0));
    server.replace(&object).map_err(|refusal| refusal.body.to_string())?;
    settle(&server).await?;
    replica.end();
    check_history(&server.history())?;
    Ok(first.requests())
}

fn a_new_key_opens_at_once_what_waited_for_it() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(2);
        create(&server, &sealed((0, 0), json!({"password": POOL.item((0, 0), 1, 0)}), json!({})))?;
        let replica = Replica::start(&server, setup("replica-0", "single"), |_| {});
        // By now the waits are long.
        sleep(Duration::from_secs(7200)).await;
        create(&server, POOL.key(1))?;
        sleep(Duration::from_secs(3)).await;
        let secret = server.get(&secret((0, 0)));
        replica.end();
        hold(secret.is_some(), "the Secret is not made")
    })
}

fn a_restart_writes_nothing() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(3);
        for place in places() {
            create(&server, &some(place, 0))?;
        }
        let replica = Replica::start(&server, setup("replica-0", "single"), |_| {});
        settle(&server).await?;
        let before = server.history().len();
        let first = replica.actor();
        first.kill();
        sleep(Duration::from_secs(60)).await;
        hold(first.name() != replica.actor().name(), "it was not started again")?;
        replica.end();
        nothing_since(&server, before)?;
        // Lists and watches, and the key of before 0.9: no Secret is asked for.
        let requests = replica.actor().requests();
        hold((1..13).contains(&requests), format!("{requests} requests"))
    })
}

fn an_object_that_is_too_deep_harms_no_other() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(10);
        let deep = |place| {
            let mut object = some(place, 0);
            // The record of who wrote what mirrors maps, and is as deep.
            object["spec"]["template"]["metadata"]["x"] =
                (0..300).fold(json!(1), |inner, _| json!({"y": inner}));
            object
        };
        let is_invalid = |place| {
            let object = server.get(&sealed_secret(place)).unwrap_or_default();
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            let reason = conditions.filter(|it| it["type"] == "Ready").map(|it| it["reason"].clone()).next();
            let is_told = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            hold(is_told && reason == Some(json!("Invalid")), format!("it is not invalid: {reason:?}"))
        };
        create(&server, &deep((0, 0)))?;
        create(&server, &some((0, 1), 0))?;
        create(&server, &some((1, 0), 0))?;
        let replica = Replica::start(&server, setup("replica-0", "single"), |_| {});
        sleep(Duration::from_secs(60)).await;
        is_invalid((0, 0))?;
        // Another one comes while it watches.
        create(&server, &deep((0, 2)))?;
        create(&server, &some((1, 1), 0))?;
        sleep(Duration::from_secs(60)).await;
        is_invalid((0, 2))?;
        for cut in [Cut::Close, Cut::Expire] {
            server.cut_watches(cut);
            server.compact();
            drop(server.delete(&secret((0, 1))));
            sleep(Duration::from_secs(120)).await;
            replica.actor().kill();
            drop(server.delete(&secret((1, 1))));
            sleep(Duration::from_secs(120)).await;
            for place in [(0, 1), (1, 0), (1, 1)] {
                hold(server.get(&secret(place)).is_some(), format!("the Secret of {place:?} is missing"))?;
            }
        }
        hold(server.get(&secret((0, 0))).is_none(), "there is a Secret of what cannot be read")?;
        let mut mended = some((0, 0), 0);
        mended["metadata"]["resourceVersion"] = version(&server, "bitnami.com", "sealedsecrets", (0, 0));
        server.replace(&mended).map_err(|refusal| refusal.body.to_string())?;
        sleep(Duration::from_secs(60)).await;
        hold(server.get(&secret((0, 0))).is_some(), "what was mended has no Secret")?;
        let before = server.history().len();
        sleep(Duration::from_secs(1200)).await;
        replica.end();
        let again = server.history().len() - before;
        hold(again < 20, format!("{again} writes for objects that stay as they are"))?;
        let history = server.history();
        let touched = history.iter().find(|write| {
            write.who.starts_with("replica") && write.key.plural == "sealedsecrets" && !write.status
        });
        hold(touched.is_none(), "more than a status was written")
    })
}

fn an_old_role_is_enough() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(4);
        for plural in ["secrets", "sealedsecrets"] {
            server.deny("patch", plural, true);
        }
        create(&server, &some((0, 0), 0))?;
        let replica = Replica::start(&server, setup("replica-0", "single"), |_| {});
        settle(&server).await?;
        let tampered = json!({"data": {"password": "Zm9yZWlnbg=="}});
        server.merge(&secret((0, 0)), &tampered).map_err(|refusal| refusal.body.to_string())?;
        settle(&server).await?;
        replica.end();
        check_history(&server.history())
    })
}

fn lost_replies_make_no_second_key() -> Result<(), Failed> {
    in_paused_time(async {
        let server = ApiServer::new(5);
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        server.faults(|faults| {
            faults.plan(Fault::LostReply, 1, move |ask| {
                let is_meant = ask.method == "POST" && ask.target.resource.plural == "secrets";
                count.fetch_add(is_meant.into(), Ordering::Relaxed);
                is_meant
            });
        });
        let mut replicas = Vec::new();
        for name in ["replica-0", "replica-1"] {
            let mut setup = setup(name, "leader");
            setup.flags.push("--key-size=2048".to_owned());
            replicas.push(Replica::start(&server, setup, |_| {}));
        }
        sleep(Duration::from_secs(3600)).await;
        replicas.iter().for_each(Replica::end);
        hold(asked.load(Ordering::Relaxed) > 0, "no key was asked for")?;
        let keys = server.all(secrets()).len();
        hold(keys == 1, format!("there are {keys} keys"))
    })
}

fn the_api_server_may_be_away() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(6);
        for place in places() {
            create(&server, &some(place, 0))?;
        }
        let replica = Replica::start(&server, setup("replica-0", "leader"), |_| {});
        settle(&server).await?;
        server.faults(|faults| faults.is_down = true);
        drop(server.delete(&secret((0, 0))));
        drop(server.merge(&secret((0, 1)), &json!({"data": {"password": "Zm9yZWlnbg=="}})));
        drop(server.delete(&sealed_secret((1, 0))));
        sleep(Duration::from_secs(1800)).await;
        server.faults(|faults| faults.is_down = false);
        settle(&server).await?;
        replica.end();
        check_history(&server.history())
    })
}

fn the_leader_is_replaced() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(7);
        create(&server, &some((0, 0), 0))?;
        let replicas =
            ["replica-0", "replica-1"].map(|name| Replica::start(&server, setup(name, "leader"), |_| {}));
        settle(&server).await?;
        let writer = last_writer(&server).ok_or("nobody wrote")?;
        let leader =
            replicas.iter().find(|replica| replica.actor().name() == writer).ok_or("the writer is gone")?;
        leader.actor().kill();
        let tampered = json!({"data": {"password": "Zm9yZWlnbg=="}});
        server.merge(&secret((0, 0)), &tampered).map_err(|refusal| refusal.body.to_string())?;
        sleep(Duration::from_secs(90)).await;
        let heals = last_writer(&server).ok_or("nobody wrote")?;
        replicas.iter().for_each(Replica::end);
        hold(heals != writer, "nobody took over")?;
        check_history(&server.history())
    })
}

fn watches_may_expire() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(8);
        for place in places() {
            create(&server, &some(place, 0))?;
        }
        let replica = Replica::start(&server, setup("replica-0", "single"), |_| {});
        settle(&server).await?;
        for cut in [Cut::Expire, Cut::Error, Cut::Close] {
            // What happens between the end of a watch and the list after it is in no event.
            server.cut_watches(cut);
            drop(server.delete(&secret((0, 0))));
            drop(server.delete(&sealed_secret((0, 1))));
            drop(server.create(&some((0, 1), 2)));
            drop(server.merge(&secret((1, 1)), &json!({"data": {"password": "Zm9yZWlnbg=="}})));
            server.compact();
            settle(&server).await?;
        }
        replica.end();
        check_history(&server.history())
    })
}

fn when_all_is_well_nothing_is_written() -> Result<(), Failed> {
    in_paused_time(async {
        let server = cluster(9);
        for place in places() {
            create(&server, &some(place, 0))?;
        }
        let replica = Replica::start(&server, setup("replica-0", "single"), |_| {});
        settle(&server).await?;
        let (before, calls) = (server.history().len(), replica.actor().requests());
        sleep(Duration::from_secs(3600)).await;
        let calls = replica.actor().requests() - calls;
        replica.end();
        nothing_since(&server, before)?;
        hold(calls < 150, format!("{calls} calls in an hour of quiet"))
    })
}

/// Returns a replica that is set up like all others.
fn setup(name: &str, replicas: &str) -> Setup {
    Setup { name: name.to_owned(), skew: 0, flags: vec![format!("--replicas={replicas}")], seed: 1 }
}

/// Returns a SealedSecret that can be opened.
fn some(place: (usize, usize), value: usize) -> Json {
    let template =
        json!({"metadata": {"labels": {"color": "blue"}}, "data": {"url": "https://{{ .password }}"}});
    sealed(place, json!({"password": POOL.item(place, 0, value)}), template)
}

fn places() -> impl Iterator<Item = (usize, usize)> {
    (0..NAMESPACES.len()).flat_map(|namespace| (0..NAMES.len()).map(move |name| (namespace, name)))
}

fn secret(place: (usize, usize)) -> Key {
    Key::new(secrets(), NAMESPACES[place.0], NAMES[place.1])
}

fn sealed_secret(place: (usize, usize)) -> Key {
    Key::new(super::model::sealed_secrets(), NAMESPACES[place.0], NAMES[place.1])
}

fn version(server: &ApiServer, group: &str, plural: &str, place: (usize, usize)) -> Json {
    let resource = Resource::find(group, plural);
    let object = resource.and_then(|it| server.get(&Key::new(it, NAMESPACES[place.0], NAMES[place.1])));
    object.map(|object| object["metadata"]["resourceVersion"].clone()).unwrap_or_default()
}

fn create(server: &ApiServer, object: &Json) -> Result<(), String> {
    server.create(object).map(drop).map_err(|refusal| refusal.body.to_string())
}

/// Returns who changed a Secret last, of the replicas.
fn last_writer(server: &ApiServer) -> Option<String> {
    let is_it = |write: &Write| {
        write.changed()
            && write.key.plural == "secrets"
            && write.key.namespace != OWN
            && write.who.starts_with("replica")
    };
    server.history().into_iter().rev().find(is_it).map(|write| write.who)
}

/// Checks that nothing was written since.
fn nothing_since(server: &ApiServer, count: usize) -> Result<(), String> {
    match server.history().get(count) {
        Some(write) => Err(format!("something was written: {}", told(write))),
        None => Ok(()),
    }
}

fn hold(holds: bool, what: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.into()) }
}
