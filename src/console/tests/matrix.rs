//! Every route × every role, and nobody: who is let in stands in a table here, beside the code that decides it. A route that is not
//! in the table fails the test: somebody must have decided.

use std::collections::BTreeSet;

use super::super::Options;
use super::super::access::Role;
use super::super::routes;
use super::web::{Came, Web};
use super::{AGENCIES, MARKERS, Scratch};
use crate::clock;

const EVERYBODY: &str = "-aAor";
const SIGNED_IN: &str = "aAor";
/// Who sees the province, who works at cases, and who decides.
const PROVINCE: &str = "aAr";
const WORKERS: &str = "aAo";
const CENTRE: &str = "aA";
const ADMIN: &str = "a";
/// … and who reads figures, from networks that may not without an account.
const METRICS: &str = "aA";
/// Only by a token: a browser changes nothing by the API.
const NOBODY: &str = "";

/// Method, path, and who is let in: `-` nobody in particular, `a` admin, `A` analyst, `o` officer, `r` reader.
const TABLE: &[(&str, &str, &str)] = &[
    ("GET", "/", SIGNED_IN),
    ("GET", "/account", SIGNED_IN),
    ("GET", "/account/totp", SIGNED_IN),
    ("POST", "/account/password", SIGNED_IN),
    ("POST", "/account/sessions", SIGNED_IN),
    ("POST", "/account/totp", SIGNED_IN),
    ("POST", "/appearance", EVERYBODY),
    ("GET", "/assets/{file}", EVERYBODY),
    ("GET", "/audit", ADMIN),
    ("GET", "/audit/export", ADMIN),
    ("GET", "/first", EVERYBODY),
    ("POST", "/first", EVERYBODY),
    ("GET", "/metrics", METRICS),
    ("GET", "/readyz", EVERYBODY),
    ("GET", "/settings", ADMIN),
    ("GET", "/sign-in", EVERYBODY),
    ("POST", "/sign-in", EVERYBODY),
    ("GET", "/sign-in/oidc", EVERYBODY),
    ("GET", "/sign-in/oidc/callback", EVERYBODY),
    ("POST", "/sign-out", SIGNED_IN),
    ("GET", "/agencies", SIGNED_IN),
    ("GET", "/agencies/export", SIGNED_IN),
    ("GET", "/agencies/{id}", SIGNED_IN),
    ("GET", "/cases", SIGNED_IN),
    ("GET", "/cases/export", SIGNED_IN),
    ("POST", "/cases/bulk/assign", WORKERS),
    ("POST", "/cases/bulk/close", CENTRE),
    ("POST", "/cases/bulk/note", WORKERS),
    ("POST", "/cases/bulk/told", WORKERS),
    ("GET", "/cases/{ticket}", SIGNED_IN),
    ("POST", "/cases/{ticket}/assign", WORKERS),
    ("POST", "/cases/{ticket}/clean", WORKERS),
    ("POST", "/cases/{ticket}/close", CENTRE),
    ("POST", "/cases/{ticket}/merge", CENTRE),
    ("POST", "/cases/{ticket}/note", WORKERS),
    ("POST", "/cases/{ticket}/reopen", CENTRE),
    ("POST", "/cases/{ticket}/told", WORKERS),
    ("POST", "/cases/{ticket}/verdict", CENTRE),
    ("POST", "/cases/{ticket}/wrong", WORKERS),
    ("GET", "/contacts", SIGNED_IN),
    ("GET", "/contacts/export", SIGNED_IN),
    ("GET", "/feeds", PROVINCE),
    ("GET", "/feeds/{name}", PROVINCE),
    ("POST", "/feeds/{name}/decide", CENTRE),
    ("GET", "/feeds/{name}/progress", PROVINCE),
    ("POST", "/feeds/{name}/replay", CENTRE),
    ("GET", "/policy", PROVINCE),
    ("GET", "/policy/proposals", PROVINCE),
    ("POST", "/policy/proposals/{id}/accept", CENTRE),
    ("POST", "/policy/proposals/{id}/decline", CENTRE),
    ("GET", "/policy/rules", PROVINCE),
    ("POST", "/policy/rules", CENTRE),
    ("GET", "/policy/rules/export", PROVINCE),
    ("POST", "/policy/rules/{id}/end", CENTRE),
    ("GET", "/alerts", SIGNED_IN),
    ("GET", "/alerts/export", SIGNED_IN),
    ("GET", "/healthz", EVERYBODY),
    ("GET", "/hunts", PROVINCE),
    ("POST", "/hunts", CENTRE),
    ("GET", "/hunts/{number}", PROVINCE),
    ("GET", "/hunts/{number}/export", PROVINCE),
    ("GET", "/hunts/{number}/progress", PROVINCE),
    ("POST", "/hunts/{number}/remove", CENTRE),
    ("POST", "/hunts/{number}/stop", CENTRE),
    ("GET", "/live", SIGNED_IN),
    ("GET", "/log", SIGNED_IN),
    ("GET", "/log/export", SIGNED_IN),
    ("GET", "/machines", SIGNED_IN),
    ("GET", "/machines/export", SIGNED_IN),
    ("GET", "/machines/{id}", SIGNED_IN),
    ("GET", "/account/tokens", SIGNED_IN),
    ("POST", "/account/tokens", SIGNED_IN),
    ("POST", "/account/tokens/{id}/revoke", SIGNED_IN),
    ("GET", "/agencies/import", ADMIN),
    ("POST", "/agencies/import", ADMIN),
    ("POST", "/agencies/import/apply", ADMIN),
    ("GET", "/api", SIGNED_IN),
    ("GET", "/api/v1/openapi.json", SIGNED_IN),
    ("GET", "/api/v1/agencies", SIGNED_IN),
    ("GET", "/api/v1/alerts", SIGNED_IN),
    ("GET", "/api/v1/figures", SIGNED_IN),
    ("GET", "/api/v1/hunts", PROVINCE),
    ("GET", "/api/v1/hunts/{number}", PROVINCE),
    ("GET", "/api/v1/overview", SIGNED_IN),
    ("GET", "/api/v1/standings", SIGNED_IN),
    ("POST", "/api/v1/agencies/import", NOBODY),
    ("GET", "/api/v1/audit", ADMIN),
    ("GET", "/api/v1/cases", SIGNED_IN),
    ("GET", "/api/v1/cases/{ticket}", SIGNED_IN),
    ("POST", "/api/v1/cases/{ticket}/steps", NOBODY),
    ("GET", "/api/v1/contacts", SIGNED_IN),
    ("GET", "/api/v1/counts", SIGNED_IN),
    ("GET", "/api/v1/coverage", SIGNED_IN),
    ("GET", "/api/v1/coverage/agencies", SIGNED_IN),
    ("GET", "/api/v1/coverage/exports", PROVINCE),
    ("POST", "/api/v1/coverage/exports", NOBODY),
    ("GET", "/api/v1/feeds", PROVINCE),
    ("GET", "/api/v1/feeds/{name}", PROVINCE),
    ("POST", "/api/v1/feeds/{name}/decisions", NOBODY),
    ("GET", "/api/v1/health", SIGNED_IN),
    ("POST", "/api/v1/hunts", NOBODY),
    ("GET", "/api/v1/log", SIGNED_IN),
    ("GET", "/api/v1/machines", SIGNED_IN),
    ("GET", "/api/v1/machines/{id}", SIGNED_IN),
    ("GET", "/api/v1/me", SIGNED_IN),
    ("GET", "/api/v1/policy/explain", PROVINCE),
    ("GET", "/api/v1/rules", PROVINCE),
    ("POST", "/api/v1/rules", NOBODY),
    ("POST", "/api/v1/rules/{id}/end", NOBODY),
    ("GET", "/coverage", SIGNED_IN),
    ("GET", "/coverage/export", SIGNED_IN),
    ("POST", "/coverage/import", ADMIN),
    ("GET", "/reports", SIGNED_IN),
    ("POST", "/reports", SIGNED_IN),
    ("GET", "/reports/{file}", PROVINCE),
    ("GET", "/users", ADMIN),
    ("POST", "/users", ADMIN),
    ("GET", "/users/{name}", ADMIN),
    ("POST", "/users/{name}/disable", ADMIN),
    ("POST", "/users/{name}/enable", ADMIN),
    ("POST", "/users/{name}/link", ADMIN),
    ("POST", "/users/{name}/outside", ADMIN),
    ("POST", "/users/{name}/remove", ADMIN),
    ("POST", "/users/{name}/role", ADMIN),
    ("POST", "/users/{name}/sessions", ADMIN),
    ("POST", "/users/{name}/totp", ADMIN),
];

const WHO: [(char, Option<Role>); 5] = [
    ('-', None),
    ('a', Some(Role::Admin)),
    ('A', Some(Role::Analyst)),
    ('o', Some(Role::Officer)),
    ('r', Some(Role::Reader)),
];

/// The path with something in its braces that is there, of the agency with this number.
fn filled(scratch: &Scratch, path: &str, number: usize) -> String {
    let segments =
        path.split('/').map(|segment| match segment.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            None => segment.to_owned(),
            Some("ticket") => scratch.ticket(number),
            Some("id") if path.contains("/machines/") => format!("m-{}", number + 1),
            Some("agency" | "id") => AGENCIES[number].to_owned(),
            Some("client" | "address") => Scratch::client(number).to_string(),
            Some("machine" | "subject") => format!("m-{}", number + 1),
            Some("name") => "spare".to_owned(),
            Some(_) => "x".to_owned(),
        });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether the answer is one of somebody who was let in, whatever came of it.
fn is_let_in(came: &Came, what: &str) -> bool {
    // What is not well says so.
    assert!(came.status < 500 || what.contains("z "), "{what}: {} {}", came.head, came.body);
    let is_sent_away = came.field("location").is_some_and(|to| to.starts_with("/sign-in?back="));
    !is_sent_away && !matches!(came.status, 401 | 403)
}

#[test]
fn everybody_gets_what_the_table_says_and_nothing_else() {
    let decided: BTreeSet<(&str, &str)> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    let there: BTreeSet<(&str, &str)> =
        routes::ROUTES.iter().copied().flatten().map(|route| (route.method.as_str(), route.path)).collect();
    let undecided: Vec<_> = there.difference(&decided).collect();
    assert!(undecided.is_empty(), "decide who may, in TABLE: {undecided:#?}");
    let gone: Vec<_> = decided.difference(&there).collect();
    assert!(gone.is_empty(), "no routes any more: {gone:#?}");

    let web = Web::new(&Options::default());
    let spare = || {
        let _ = web.scratch.accounts.invite("spare", Role::Reader, None, Some("spare"), clock::now());
    };
    for (method, path, expected) in TABLE {
        let target = filled(&web.scratch, path, 0);
        let mut let_in = String::new();
        for (letter, role) in WHO {
            spare();
            // Of its own each time: some of these requests end it.
            let session = role.map(|role| web.session(role));
            let came = match *method {
                "GET" => web.get(session.as_deref(), &target),
                _ => web.send(method, session.as_deref(), &target, "a=b"),
            };
            if is_let_in(&came, &format!("{method} {target} {letter}")) {
                let_in.push(letter);
            }
        }
        assert_eq!(let_in, *expected, "{method} {path}");
    }
}

#[test]
fn without_the_field_against_forgery_nothing_is_done() {
    let web = Web::new(&Options::default());
    for (method, path, _) in TABLE.iter().filter(|(method, ..)| *method != "GET") {
        let target = filled(&web.scratch, path, 0);
        let session = web.session(Role::Admin);
        let other = super::super::account::csrf(&web.session(Role::Admin));
        for (csrf, more) in [
            ("", ""),
            ("x", ""),
            (&*other, ""),
            (&*super::super::account::csrf(&session), "Sec-Fetch-Site: cross-site\r\n"),
            (&*super::super::account::csrf(&session), "Sec-Fetch-Site: same-site\r\n"),
            (&*super::super::account::csrf(&session), "Origin: http://evil.example\r\n"),
            (&*super::super::account::csrf(&session), "Origin: null\r\n"),
        ] {
            let body = format!("csrf={csrf}");
            let came = web.ask(&format!(
                "{method} {target} HTTP/1.1\r\nHost: c\r\nConnection: close\r\nCookie: session={session}\r\n{more}\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
            assert_eq!(came.status, 403, "{method} {target} {csrf} {more}");
        }
    }
}

#[test]
fn an_officer_finds_nothing_of_another_agency_whatever_is_asked() {
    let web = Web::new(&Options::default());
    let session = web.session(Role::Officer);
    let other = Scratch::client(1);
    let queries = [
        String::new(),
        format!("?agency={}", AGENCIES[1]),
        format!("?client={other}"),
        format!("?machine=m-2&address={other}&subject=m-2&q={other}&search={other}"),
        "?format=csv&state=all&all=1".to_owned(),
        format!("?format=jsonl&state=all&agency={}", AGENCIES[1]),
        format!("?around=1795676399000000.1&client={other}&agency={}", AGENCIES[1]),
    ];
    let mut own = 0;
    for route in routes::ROUTES.iter().copied().flatten().filter(|route| route.method == hyper::Method::GET) {
        for number in [0, 1] {
            for query in &queries {
                let target = filled(&web.scratch, route.path, number) + query;
                let came = web.get(Some(&session), &target);
                assert!(
                    came.status < 500 || route.path.ends_with('z'),
                    "{target}: {} {}",
                    came.head,
                    came.body
                );
                let all = came.head + &came.body;
                assert!(!all.contains(MARKERS[1]), "{target}: {all}");
                own += usize::from(all.contains(MARKERS[0]));
            }
        }
    }
    // Or the test would say nothing.
    assert!(own > 0, "the own agency is not to be seen either");
    // Whoever sees the province sees both.
    let reader = web.session(Role::Reader);
    assert!(web.get(Some(&reader), "/").status == 200);
}

#[test]
fn a_role_that_needs_a_second_factor_can_do_nothing_before() {
    use super::super::account::{Accounts, Origin, Rules, SignIn};
    let rules = Rules { totp: vec![Role::Admin], ..Rules::default() };
    let scratch = Scratch::empty();
    let accounts = Accounts::open_with(crate::console::House::data_dir(&*scratch), rules).unwrap();
    accounts.add("an", Role::Admin, None, "mật khẩu dài", clock::now()).unwrap();
    let from = Origin { address: Scratch::client(0), agent: "" };
    let SignIn::Session(token) = accounts.sign_in("an", "mật khẩu dài", from, clock::now()).unwrap()
    else {
        panic!("no session")
    };
    let signed = accounts.viewer(&token, clock::now()).unwrap().unwrap();
    for route in routes::ROUTES.iter().copied().flatten() {
        let mut call = scratch.call(Some(signed.viewer.clone()), &filled_plain(route.path), &[]);
        call.must_enrol = signed.must_enrol;
        let answered = super::super::server::answer(&call, Some(route), true);
        let is_stopped = matches!(answered, Err(super::super::answer::Failure::Enrol));
        let is_free = route.needs == routes::Needs::Nothing
            || ["/account/totp", "/appearance", "/sign-out"].contains(&route.path);
        assert_eq!(is_stopped, !is_free, "{} {}", route.method, route.path);
    }
}

fn filled_plain(path: &str) -> String {
    path.replace(['{', '}'], "")
}
