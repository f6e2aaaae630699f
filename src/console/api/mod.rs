//! `/api/v1`: what the pages show, as JSON, for programs.
//!
//! Each route stands beside what is said of it: [`ENDPOINTS`] is what requests are answered by and what the OpenAPI document is made of
//! ([`openapi`]). Times are RFC 3339 in UTC; lists are `{"items": […], "next": …}`, and `next` goes into `cursor` for what comes behind.
//! Nothing is asked but through [`super::data`]: whoever sees one agency in pages sees that one here.

mod agencies;
mod cases;
mod coverage;
mod figures;
mod log;
mod machines;
mod openapi;
mod page;
mod schema;
mod service;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use self::schema::{Field, Kind};
use super::access::Right;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::routes::{Needs, Route};
use crate::evidence::store::Watch;
use hyper::Method;

pub(super) use openapi::problem;

/// What every query may have: the language of what is said.
const LANGUAGE: &str = "language";
/// Octets of a body of JSON.
const BODY: usize = 64 << 10;
/// Items of a list, where nobody says how many, and at the most.
const USUAL: u64 = 100;
const MOST: u64 = 1000;
/// How long a scan of the log may take; then what was found comes back, with the place to go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked for, and what is said of it.
pub(super) struct Endpoint {
    /// Its method, path, right and handler.
    pub(super) route: Route,
    /// What it is called in generated clients.
    pub(super) id: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// To which part it belongs.
    pub(super) tag: &'static str,
    /// What the query may hold.
    pub(super) query: &'static [Field],
    /// What the body is.
    pub(super) body: Body,
    /// What comes back.
    pub(super) answer: Kind,
}

/// What a body is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    /// There is none.
    None,
    /// JSON of these fields.
    Json(&'static [Field]),
    /// A file as it is.
    File,
}

/// Everything there is under `/api/v1`, part by part.
pub(super) static ENDPOINTS: &[&[Endpoint]] = &[
    log::ENDPOINTS,
    machines::ENDPOINTS,
    cases::ENDPOINTS,
    agencies::ENDPOINTS,
    coverage::ENDPOINTS,
    figures::ENDPOINTS,
    service::ENDPOINTS,
];

/// What is here and has no description of its own: the description, and its page.
pub(super) static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/api/v1/openapi.json",
        needs: Needs::Session,
        most: 0,
        answer: openapi::document,
    },
    Route { method: Method::GET, path: "/api", needs: Needs::Session, most: 0, answer: page::page },
];

/// Their routes.
pub(super) fn routes() -> impl Iterator<Item = &'static Route> {
    ENDPOINTS.iter().copied().flatten().map(|endpoint| &endpoint.route)
}

const fn get(path: &'static str, right: Right, answer: fn(&Call) -> Result<Reply, Failure>) -> Route {
    Route { method: Method::GET, path, needs: Needs::Right(right), most: 0, answer }
}

const fn post(path: &'static str, right: Right, answer: fn(&Call) -> Result<Reply, Failure>) -> Route {
    Route { method: Method::POST, path, needs: Needs::Right(right), most: BODY, answer }
}

/// A time as JSON has it.
fn time(microseconds: i64) -> Value {
    Timestamp::from_microsecond(microseconds).map_or(Value::Null, |time| time.to_string().into())
}

fn some_time(microseconds: Option<i64>) -> Value {
    microseconds.map_or(Value::Null, time)
}

/// A list and the place behind it.
fn list(items: Vec<Value>, next: Option<String>) -> Reply {
    let next = next.map_or(Value::Null, Value::String);
    Reply::Json(Value::Object(
        [("items".to_owned(), Value::Array(items)), ("next".to_owned(), next)].into_iter().collect(),
    ))
}

/// A value of the query that cannot be.
fn wrong(field: &'static str, english: impl Into<String>) -> Failure {
    let english = english.into();
    Failure::Wrong { field, vietnamese: english.clone(), english }
}

/// What stands in the query for this name, read by `parse`.
fn parsed<T, E: std::fmt::Display>(
    call: &Call,
    field: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Failure> {
    let Some(text) = call.query.find(field) else { return Ok(None) };
    parse(text).map(Some).map_err(|error| wrong(field, format!("{text:?}: {error}")))
}

/// A time in the query: RFC 3339, or an age such as `90d`.
fn moment(call: &Call, field: &'static str) -> Result<Option<i64>, Failure> {
    parsed(call, field, |text| read_time(text, call.now))
}

fn read_time(text: &str, now: i64) -> Result<i64, &'static str> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_microsecond());
    }
    // `90d` is no duration by itself: days need not have 24 hours; here they do.
    let days = text.strip_suffix('d').and_then(|days| days.parse::<i64>().ok());
    let age = match days {
        Some(days) => days.checked_mul(24).map(SignedDuration::from_hours),
        None => text.parse::<SignedDuration>().ok(),
    };
    let age = age
        .filter(|age| !age.is_negative())
        .ok_or("write RFC 3339, as 2026-11-26T08:00:00Z, or an age such as 2h or 90d")?;
    Ok(now.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
}

/// How many items are wanted.
fn limit(call: &Call) -> Result<u64, Failure> {
    let limit = parsed(call, "limit", str::parse::<u64>)?.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) { Ok(limit) } else { Err(wrong("limit", format!("it is 1 to {MOST}"))) }
}

/// Whether a field of the query says yes.
fn flag(call: &Call, field: &'static str) -> Result<bool, Failure> {
    Ok(parsed(call, field, str::parse::<bool>)?.unwrap_or(false))
}

/// The body's JSON object.
fn object(call: &Call) -> Result<serde_json::Map<String, Value>, Failure> {
    match serde_json::from_slice(&call.body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(wrong("body", "it must be a JSON object")),
        Err(error) => Err(wrong("body", format!("it must be a JSON object: {error}"))),
    }
}

/// A text of the body; `None` where it is missing, `null` or empty.
fn text<'a>(
    object: &'a serde_json::Map<String, Value>,
    field: &'static str,
) -> Result<Option<&'a str>, Failure> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(_) => Err(wrong(field, "it must be a text")),
    }
}

/// A text that must be there.
fn needed<'a>(object: &'a serde_json::Map<String, Value>, field: &'static str) -> Result<&'a str, Failure> {
    text(object, field)?.ok_or_else(|| wrong(field, "it is missing"))
}

/// Refuses fields of the query that a route does not know: a misspelt one would widen what comes back, silently.
///
/// # Errors
/// [`Failure::Wrong`].
pub(super) fn check_query(call: &Call, route: &Route) -> Result<(), Failure> {
    let mut all = ENDPOINTS.iter().copied().flatten();
    let is_it =
        |endpoint: &&Endpoint| (endpoint.route.path, &endpoint.route.method) == (route.path, &route.method);
    let Some(endpoint) = all.find(is_it) else { return Ok(()) };
    let is_known = |name: &str| name == LANGUAGE || endpoint.query.iter().any(|field| field.name == name);
    match call.query.iter().find(|(name, _)| !is_known(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let known = endpoint.query.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
            let known =
                if known.is_empty() { "there are none".to_owned() } else { format!("there are {known}") };
            Err(wrong("query", format!("{name:?} is no parameter of this; {known}")))
        }
    }
}

/// Refuses fields of the body that are not known: a misspelt one would do nothing, silently.
fn only(object: &serde_json::Map<String, Value>, fields: &[Field]) -> Result<(), Failure> {
    match object.keys().find(|key| fields.iter().all(|field| field.name != **key)) {
        None => Ok(()),
        Some(key) => {
            let known = fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
            Err(wrong("body", format!("{key:?} is no field of it; there are {known}")))
        }
    }
}

/// Ends a scan when its time is over.
struct Until(Instant);

impl Until {
    fn soon() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

impl Watch for Until {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if self.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
