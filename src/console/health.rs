//! What machines ask of the server: figures for Prometheus, whether it is well, whether queries should be sent here.
//!
//! Whoever reaches the console may ask whether it is well, so nothing is told there that names anybody.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::access::Right;
use super::answer::{Failure, Reply};
use super::call::Call;
use super::routes::{Needs, Route, get};
use crate::metrics::{CONTENT_TYPE, Condition, Health};

pub(super) static ROUTES: &[Route] = &[
    get("/metrics", Needs::Nothing, metrics),
    get("/healthz", Needs::Nothing, healthz),
    get("/readyz", Needs::Nothing, readyz),
];

/// Figures, for networks that may, and for tokens that may.
fn metrics(call: &Call) -> Result<Reply, Failure> {
    if !call.house.may_measure(call.client) && !call.may(Right::Measure) {
        return Err(if call.viewer.is_some() { Failure::Forbidden } else { Failure::SignedOut });
    }
    Ok(Reply::Text(CONTENT_TYPE, call.house.metrics()))
}

/// Whether every part does its work: 503 where one failed.
fn healthz(call: &Call) -> Result<Reply, Failure> {
    let health = call.house.health();
    let is_well = health.condition() != Condition::Failed;
    Ok(told(&health, is_well))
}

/// Whether queries are answered as they should be: 503 where not.
fn readyz(call: &Call) -> Result<Reply, Failure> {
    let health = call.house.health();
    let is_ready = health.is_ready();
    Ok(told(&health, is_ready))
}

fn told(health: &Health, is_good: bool) -> Reply {
    let value = as_json(health);
    if is_good { Reply::Json(value) } else { Reply::Unwell(value) }
}

/// How a server is, for programs.
pub(super) fn as_json(health: &Health) -> Value {
    let parts: BTreeMap<&str, Value> = health
        .parts
        .iter()
        .map(|part| (part.name, json!({ "state": part.condition.as_str(), "told": part.told })))
        .collect();
    json!({ "status": health.condition().as_str(), "ready": health.is_ready(), "parts": parts })
}
