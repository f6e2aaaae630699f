//! Webhooks: a POST of JSON for each step of a case, signed.
//!
//! ```text
//! X-SachDNS-Timestamp: 1795646497
//! X-SachDNS-Signature: sha256=HEX     HMAC-SHA256 of the timestamp, a full stop and the body, with the secret as key
//! Idempotency-Key: TEXT               the same at each try of one message
//! ```

use std::path::PathBuf;

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use ring::hmac;
use serde::Serialize;
use url::Url;

use super::Outcome;
use crate::cases::export::time_text;
use crate::cases::{Case, Step};
use crate::fetch::http::{self, HttpError, Post, read_secret};

/// A program that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What reports call it.
    pub name: String,
    /// Where it is.
    pub url: Url,
    /// How it is asked.
    pub http: http::Options,
    /// The file of the secret that messages are signed with.
    pub secret: Option<PathBuf>,
    /// Whether the agency is told by it: a case of which it took the news is notified.
    pub notifies: bool,
}

/// Posts to one program.
pub(super) struct Client<'a> {
    webhook: &'a Webhook,
    client: http::Client<'a>,
    key: Option<hmac::Key>,
}

impl<'a> Client<'a> {
    /// Reads the secrets.
    pub(super) fn new(webhook: &'a Webhook) -> Result<Self, HttpError> {
        let key = match &webhook.secret {
            None => None,
            Some(path) => {
                let failed =
                    |error: std::io::Error| HttpError::Secret { path: path.clone(), why: error.to_string() };
                let secret = read_secret(path).map_err(failed)?;
                Some(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()))
            }
        };
        Ok(Self { webhook, client: http::Client::new(&webhook.http)?, key })
    }

    pub(super) async fn post(&mut self, key: &str, body: Vec<u8>, now: i64) -> Outcome {
        let timestamp = (now / 1_000_000).to_string();
        let mut fields = vec![(HeaderName::from_static("x-sachdns-timestamp"), value(&timestamp))];
        fields.push((HeaderName::from_static("idempotency-key"), value(key)));
        if let Some(secret) = &self.key {
            let signature = sign(secret, &timestamp, &body);
            fields.push((HeaderName::from_static("x-sachdns-signature"), value(&signature)));
        }
        let body = Bytes::from(body);
        let post = Post { url: &self.webhook.url, content_type: "application/json", fields: &fields, body };
        match self.client.post(post).await {
            Ok(()) => Outcome::Taken,
            Err(HttpError::Status { status, .. }) => Outcome::Refused(format!("it answers {status}")),
            Err(error) => Outcome::Refused(error.to_string()),
        }
    }
}

fn value(text: &str) -> HeaderValue {
    // Names of webhooks and numbers are visible ASCII.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("-"))
}

fn sign(key: &hmac::Key, timestamp: &str, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in [timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    let hex: String = context.sign().as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
    format!("sha256={hex}")
}

#[derive(Serialize)]
struct Body<'a> {
    node: &'a str,
    event: &'static str,
    time: String,
    by: String,
    note: &'a str,
    ticket: String,
    state: &'static str,
    class: &'static str,
    family: &'a str,
    machine: String,
    host: Option<&'a str>,
    client: String,
    agency: Option<&'a str>,
    officer: Option<&'a str>,
    name: &'a str,
    queries: u64,
    contacts: u64,
    first_hit: String,
    last_hit: String,
}

/// What is said of a step.
pub(super) fn body(node: &str, case: &Case, step: &Step) -> Vec<u8> {
    let body = Body {
        node,
        event: step.what.as_str(),
        time: time_text(step.time),
        by: step.by.to_string(),
        note: &step.note,
        ticket: case.ticket.to_string(),
        state: case.course.state.as_str(),
        class: case.class.as_str(),
        family: &case.family,
        machine: case.subject.to_string(),
        host: case.host.as_deref(),
        client: case.client.to_string(),
        agency: case.agency.as_deref(),
        officer: case.officer.as_deref(),
        name: &case.name,
        queries: case.queries,
        contacts: case.contacts,
        first_hit: time_text(case.course.first_hit),
        last_hit: time_text(case.course.last_hit),
    };
    // Texts and numbers always have a form.
    serde_json::to_vec(&body).unwrap_or_default()
}
