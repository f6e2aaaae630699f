//! Real answers over a scratch house are as they are described, an officer's hold nothing of another agency, and the document
//! has every route.

use hyper::Method;
use serde_json::Value;

use super::schema::mismatch;
use super::{Body, ENDPOINTS, Endpoint, openapi};
use crate::console::access::{RIGHTS, Right, Role, Viewer};
use crate::console::answer::{Failure, Reply};
use crate::console::call::Call;
use crate::console::routes::{self, Found};
use crate::console::server;
use crate::console::tests::{AGENCIES, MARKERS, Scratch, officer, text, viewer};
use std::sync::Arc;

/// What a request with a token of this viewer, with these rights, is answered.
fn ask(
    scratch: &Arc<Scratch>,
    viewer: &Viewer,
    rights: &[Right],
    (method, target, body): (Method, &str, &str),
) -> Result<Reply, Failure> {
    let mut call: Call = scratch.call(Some(viewer.clone()), target, &[]);
    call.rights = Some(rights.to_vec());
    call.body = body.into();
    let Found::Route(route, places) = routes::find(&method, &call.path) else { return Err(Failure::Absent) };
    call.places = places;
    server::answer(&call, Some(route), false)
}

fn json(reply: Reply) -> Value {
    serde_json::from_str(&text(reply)).unwrap()
}

fn described(path: &str, method: &Method) -> &'static Endpoint {
    let mut all = ENDPOINTS.iter().copied().flatten();
    all.find(|endpoint| endpoint.route.path == path && endpoint.route.method == *method).unwrap()
}

/// Asks, and holds the answer against its description.
#[track_caller]
fn check(scratch: &Arc<Scratch>, viewer: &Viewer, path: &str, target: &str) -> Value {
    let endpoint = described(path, &Method::GET);
    let answer = json(ask(scratch, viewer, &RIGHTS, (Method::GET, target, "")).unwrap());
    assert_eq!(mismatch(&endpoint.answer, &answer, "answer"), None, "{target}: {answer:#}");
    answer
}

#[test]
fn answers_are_as_described_and_of_the_viewers_own_agency() {
    let scratch = Scratch::new();
    let ticket = scratch.ticket(0);
    let admin = viewer(Role::Admin);
    let lists = [
        ("/api/v1/log", "/api/v1/log?since=90d&limit=5", 5),
        ("/api/v1/counts", "/api/v1/counts?by=agency&hits=true", 2),
        ("/api/v1/machines", "/api/v1/machines", 2),
        ("/api/v1/contacts", "/api/v1/contacts", 2),
        ("/api/v1/cases", "/api/v1/cases?state=open&limit=10", 2),
        ("/api/v1/agencies", "/api/v1/agencies", 2),
        ("/api/v1/coverage", "/api/v1/coverage", 2),
        ("/api/v1/coverage", "/api/v1/coverage?infected=true", 2),
        ("/api/v1/coverage/agencies", "/api/v1/coverage/agencies", 2),
        ("/api/v1/coverage/exports", "/api/v1/coverage/exports", 2),
        ("/api/v1/rules", "/api/v1/rules?all=true", 0),
        ("/api/v1/audit", "/api/v1/audit?limit=3", 0),
        ("/api/v1/standings", "/api/v1/standings?since=90d", 2),
        ("/api/v1/hunts", "/api/v1/hunts", 0),
    ];
    for (path, target, count) in lists {
        let answer = check(&scratch, &admin, path, target);
        assert_eq!(answer["items"].as_array().unwrap().len(), count, "{target}: {answer:#}");
    }
    for (path, target) in [
        ("/api/v1/machines/{id}", "/api/v1/machines/m-1"),
        ("/api/v1/cases/{ticket}", &*format!("/api/v1/cases/{ticket}")),
        ("/api/v1/health", "/api/v1/health"),
        ("/api/v1/me", "/api/v1/me"),
        ("/api/v1/overview", "/api/v1/overview"),
        ("/api/v1/alerts", "/api/v1/alerts"),
        ("/api/v1/figures", "/api/v1/figures?from=2026-11-25&to=2026-11-26"),
        (
            "/api/v1/figures",
            &*format!("/api/v1/figures?from=2026-11-25&to=2026-11-26&agency={}", AGENCIES[0]),
        ),
    ] {
        check(&scratch, &admin, path, target);
    }
    // Looks were recorded.
    assert!(
        !check(&scratch, &admin, "/api/v1/audit", "/api/v1/audit")["items"].as_array().unwrap().is_empty()
    );

    let of_first = officer(0);
    for (path, target, _) in lists {
        let endpoint = described(path, &Method::GET);
        match ask(&scratch, &of_first, &RIGHTS, (Method::GET, target, "")) {
            Ok(reply) => {
                let answer = text(reply);
                assert!(!answer.contains(MARKERS[1]) && !answer.contains(AGENCIES[1]), "{target}: {answer}");
            }
            Err(Failure::Forbidden) => {
                assert!(!matches!(endpoint.route.needs, routes::Needs::Right(Right::See)), "{target}");
            }
            Err(error) => panic!("{target}: {error}"),
        }
    }
    let others = format!("/api/v1/cases/{}", scratch.ticket(1));
    for target in ["/api/v1/machines/m-2", &*others] {
        assert!(matches!(ask(&scratch, &of_first, &RIGHTS, (Method::GET, target, "")), Err(Failure::Absent)));
    }
    for target in
        ["/api/v1/log?agency=so-yte", "/api/v1/coverage?agency=so-yte", "/api/v1/cases?agency=so-yte"]
    {
        let answer = json(ask(&scratch, &of_first, &RIGHTS, (Method::GET, target, "")).unwrap());
        assert_eq!(answer["items"].as_array().unwrap().len(), 0, "{target}");
    }
}

#[test]
fn lists_go_on_where_they_ended() {
    let scratch = Scratch::new();
    let admin = viewer(Role::Admin);
    for (path, target, key) in [
        ("/api/v1/log", "/api/v1/log?limit=3", "time"),
        ("/api/v1/machines", "/api/v1/machines?limit=1", "id"),
        ("/api/v1/cases", "/api/v1/cases?limit=1", "ticket"),
        ("/api/v1/contacts", "/api/v1/contacts?limit=1", "client"),
    ] {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = check(&scratch, &admin, path, &format!("{target}{cursor}"));
            all.extend(
                answer["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| (item[key].to_string(), item["client"].to_string())),
            );
            let Some(next) = answer["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let count = all.len();
        all.sort();
        all.dedup();
        let expected = if path == "/api/v1/log" { 20 } else { 2 };
        assert_eq!((count, all.len()), (expected, expected), "{target}");
    }
}

#[test]
fn steps_need_their_rights_and_say_what_is_wrong() {
    let scratch = Scratch::new();
    let (of_first, analyst) = (officer(0), viewer(Role::Analyst));
    let target = format!("/api/v1/cases/{}/steps", scratch.ticket(0));
    let step = |viewer: &Viewer, rights: &[Right], body: &str| {
        ask(&scratch, viewer, rights, (Method::POST, &target, body))
    };
    let own = [Right::See, Right::Work];
    let noted = json(step(&of_first, &own, r#"{"step":"note","note":"đã gọi"}"#).unwrap());
    let endpoint = described("/api/v1/cases/{ticket}/steps", &Method::POST);
    assert_eq!(mismatch(&endpoint.answer, &noted, "answer"), None);
    assert_eq!(noted["steps"].as_array().unwrap().last().unwrap()["note"], "đã gọi");
    assert!(matches!(step(&of_first, &own, r#"{"step":"close","note":"x"}"#), Err(Failure::Forbidden)));
    assert!(matches!(step(&analyst, &own, r#"{"step":"close","note":"x"}"#), Err(Failure::Forbidden)));
    assert!(matches!(
        step(&analyst, &[Right::See], r#"{"step":"note","note":"x"}"#),
        Err(Failure::Forbidden)
    ));
    assert!(matches!(step(&officer(1), &own, r#"{"step":"note","note":"x"}"#), Err(Failure::Absent)));
    for (body, field) in [
        ("", "body"),
        ("[]", "body"),
        (r#"{"step":"note","notes":"x"}"#, "body"),
        (r#"{"note":"x"}"#, "step"),
        (r#"{"step":"dance"}"#, "step"),
        (r#"{"step":"note"}"#, "note"),
        (r#"{"step":"note","note":7}"#, "note"),
        (r#"{"step":"assign"}"#, "officer"),
    ] {
        match step(&analyst, &RIGHTS, body) {
            Err(Failure::Wrong { field: told, .. }) => assert_eq!(told, field, "{body}"),
            Err(error) => panic!("{body}: {error}"),
            Ok(_) => panic!("{body} was taken"),
        }
    }
    let closed = json(step(&analyst, &RIGHTS, r#"{"step":"close","note":"máy đã cài lại"}"#).unwrap());
    assert_eq!(closed["case"]["state"], "closed");
}

#[test]
fn queries_that_cannot_be_are_refused_by_their_field() {
    let scratch = Scratch::new();
    let admin = viewer(Role::Admin);
    for (target, field) in [
        ("/api/v1/log?limit=0", "limit"),
        ("/api/v1/log?limit=1001", "limit"),
        ("/api/v1/log?since=gestern", "since"),
        ("/api/v1/log?client=x", "client"),
        ("/api/v1/log?qtype=ÿ", "qtype"),
        ("/api/v1/log?action=dance", "action"),
        ("/api/v1/log?cursor=x", "cursor"),
        ("/api/v1/log?hits=perhaps", "hits"),
        ("/api/v1/counts", "by"),
        ("/api/v1/cases?state=odd", "state"),
        ("/api/v1/coverage?standing=odd", "standing"),
        ("/api/v1/figures?from=2026-11-25", "to"),
        ("/api/v1/figures?from=2027-01-01&to=2027-01-31", "from"),
        ("/api/v1/log?agncy=so-yt", "query"),
        ("/api/v1/agencies?limit=3", "query"),
    ] {
        match ask(&scratch, &admin, &RIGHTS, (Method::GET, target, "")) {
            Err(Failure::Wrong { field: told, .. }) => assert_eq!(told, field, "{target}"),
            Err(error) => panic!("{target}: {error}"),
            Ok(_) => panic!("{target} was answered"),
        }
    }
}

#[test]
fn what_pages_tell_at_a_glance_is_told_to_programs_too() {
    let scratch = Scratch::new();
    let (admin, of_first) = (viewer(Role::Admin), officer(0));
    let get =
        |viewer: &Viewer, path: &str, query: &str| check(&scratch, viewer, path, &format!("{path}{query}"));
    let overview = get(&admin, "/api/v1/overview", "?language=vi");
    assert_eq!((&overview["infected"], &overview["new"]), (&Value::from(2), &Value::from(2)), "{overview:#}");
    assert_eq!(get(&of_first, "/api/v1/overview", "")["infected"], 1);
    let alerts = get(&of_first, "/api/v1/alerts", "").to_string();
    assert!(!alerts.contains(MARKERS[1]) && !alerts.contains(AGENCIES[1]), "{alerts}");
    let days = "?from=2026-11-25&to=2026-11-26";
    let of_all = get(&admin, "/api/v1/figures", days);
    assert_eq!(of_all["province"]["remaining"], overview["infected"], "{of_all:#}");
    let own = get(&of_first, "/api/v1/figures", days);
    assert!(own["province"].is_null() && own["agency"] == AGENCIES[0], "{own:#}");
    let other = format!("/api/v1/figures{days}&agency={}", AGENCIES[1]);
    assert!(matches!(ask(&scratch, &of_first, &RIGHTS, (Method::GET, &other, "")), Err(Failure::Absent)));
    let absent = ask(&scratch, &admin, &RIGHTS, (Method::GET, "/api/v1/hunts/7", ""));
    assert!(matches!(absent, Err(Failure::Absent)));
}

#[test]
fn the_document_has_every_route_and_no_other() {
    let document = openapi::made();
    let mut described: Vec<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    let mut there: Vec<String> = routes::ROUTES
        .iter()
        .copied()
        .flatten()
        .filter(|route| route.path.starts_with("/api/v1/") && route.path != "/api/v1/openapi.json")
        .map(|route| format!("{} {}", if route.method == Method::POST { "post" } else { "get" }, route.path))
        .collect();
    described.sort();
    there.sort();
    assert_eq!(described, there);
    let ids: std::collections::HashSet<&str> = ENDPOINTS.iter().copied().flatten().map(|it| it.id).collect();
    assert_eq!(ids.len(), there.len(), "each has a name of its own");
    for endpoint in ENDPOINTS.iter().copied().flatten() {
        assert_eq!(
            endpoint.route.method == Method::POST,
            !matches!(endpoint.body, Body::None),
            "{}",
            endpoint.id
        );
        assert_ne!(endpoint.route.needs, routes::Needs::Nothing, "{}", endpoint.id);
    }
}

#[test]
fn a_search_finds_who_asked() {
    let scratch = Scratch::new();
    let body =
        format!(r#"{{"names":["{}.example","10.10.10.10","192.0.2.0/24"],"since":"90d"}}"#, MARKERS[0]);
    let analyst = viewer(Role::Analyst);
    let found = json(ask(&scratch, &analyst, &RIGHTS, (Method::POST, "/api/v1/hunts", &body)).unwrap());
    assert_eq!(mismatch(&described("/api/v1/hunts", &Method::POST).answer, &found, "answer"), None);
    assert!(found.to_string().contains(&format!("c2.{}.example", MARKERS[0])), "{found}");
    let refused = ask(&scratch, &analyst, &RIGHTS, (Method::POST, "/api/v1/hunts", r#"{"names":["a b"]}"#));
    assert!(matches!(refused, Err(Failure::Wrong { field: "names", .. })));
    let officers = ask(&scratch, &officer(0), &RIGHTS, (Method::POST, "/api/v1/hunts", &body));
    assert!(matches!(officers, Err(Failure::Forbidden)));
}

#[test]
fn files_are_taken_by_those_who_manage() {
    let scratch = Scratch::new();
    let admin = viewer(Role::Admin);
    let sheet = "Mã;Tên;Mạng\nso-moi;Sở Mới;10.77.0.0/16\n";
    let target = "/api/v1/agencies/import";
    let shown = json(ask(&scratch, &admin, &RIGHTS, (Method::POST, target, sheet)).unwrap());
    assert_eq!(mismatch(&described(target, &Method::POST).answer, &shown, "answer"), None);
    assert_eq!(
        (&shown["applied"], &shown["differences"][0]["change"]),
        (&Value::Bool(false), &Value::from("added"))
    );
    let applied = "/api/v1/agencies/import?apply=true";
    let wrong =
        json(ask(&scratch, &admin, &RIGHTS, (Method::POST, applied, "Tên;Mạng\nX;10.1.2.3/8\n")).unwrap());
    assert_eq!((&wrong["applied"], wrong["faults"][0]["place"].as_str()), (&Value::Bool(false), Some("2")));
    let taken = json(ask(&scratch, &admin, &RIGHTS, (Method::POST, applied, sheet)).unwrap());
    assert_eq!(taken["applied"], true);
    assert!(matches!(
        ask(&scratch, &viewer(Role::Analyst), &RIGHTS, (Method::POST, applied, sheet)),
        Err(Failure::Forbidden)
    ));

    let export = format!("Tên máy;IP;Trạng thái\npc-{};{};Bật\n", MARKERS[0], Scratch::client(0));
    let target = "/api/v1/coverage/exports?product=bkav";
    let taken = json(ask(&scratch, &admin, &RIGHTS, (Method::POST, target, &export)).unwrap());
    assert_eq!(
        mismatch(&described("/api/v1/coverage/exports", &Method::POST).answer, &taken, "answer"),
        None
    );
    assert_eq!(
        (&taken["rows"], &taken["matched"], &taken["name"]),
        (&Value::from(1), &Value::from(1), &Value::from("bkav"))
    );
}
