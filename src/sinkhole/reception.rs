//! Who receives a request at the sinkhole, over whatever it came: the page, facts, a quiet answer, or thanks.
//!
//! Ties together what the others know: [`Site`] says why a host is listed, [`Desk`] which case that is, `route` what a
//! request is for, `page` and `json` draw. No sockets here; nothing of a request but a posted form is read beyond its head.
//!
//! **The status is 200**, whatever the method, host and path, for three reasons. The page must reach
//! a person: agencies' proxies and old browsers put pages of their own in place of an error's. A bot
//! that is told of an error turns to its next server, which no feed may list yet; one that is content
//! stays where it is seen. And nothing takes the page for the thing it wanted: a sub-resource gets one pixel or nothing
//! (204) and is refused by its type (`nosniff`), a preflight for want of CORS headers, and no cache keeps it.
//! The exceptions are `CONNECT`, where 200 would not mean a page but an open tunnel (403), and what was posted with the page's
//! own form and is not kept.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body, Bytes};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use super::desk::{Case, Desk, DeskError, Filed, Said, Statement, Visit};
use super::form::{self, Form};
use super::http::{Finding, Site};
use super::json;
use super::pace::Pace;
use super::page::{Again, Design, Notice, Outcome};
use super::route::{self, Reader, Wanted};
use super::token::{Bound, Key};

/// Receives everybody who comes to the sinkhole.
pub struct Reception {
    site: Box<dyn Site>,
    desk: Option<Arc<dyn Desk>>,
    design: ArcSwap<Design>,
    key: Key,
    time_zone: TimeZone,
    pace: Pace,
    calls: Arc<Semaphore>,
}

/// What may be wrong with a body.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Calls to the desk at once; more wait.
const CALLS: usize = 4;
/// How long a page waits for the desk.
const PATIENCE: Duration = Duration::from_secs(2);
/// … and somebody who pressed a button, as the answer says whether it was kept.
const PATIENCE_OF_STATEMENT: Duration = Duration::from_secs(10);
/// In which the form must have come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A GIF of one pixel that does not show.
const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

impl Reception {
    /// Receives as `design` says; `desk` where somebody follows cases. `key` is the server's own, `time_zone` the one in which the
    /// page tells the time.
    pub fn new(
        site: impl Site,
        desk: Option<Arc<dyn Desk>>,
        design: Design,
        key: Key,
        time_zone: TimeZone,
    ) -> Self {
        Self {
            site: Box::new(site),
            desk,
            design: ArcSwap::from_pointee(design),
            key,
            time_zone,
            pace: Pace::default(),
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }

    /// Changes how its pages look, from the next one on.
    pub fn redesign(&self, design: Design) {
        self.design.store(Arc::new(design));
    }

    /// Answers a request that came from `client` at `time`.
    pub async fn receive<B: Body<Error: Into<Fault>>>(
        &self,
        request: Request<B>,
        client: IpAddr,
        time: Timestamp,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let authority = authority(&head);
        let host = authority.as_deref().map(without_port).filter(|host| !host.is_empty());
        // `?` quotes and escapes what the client sent.
        tracing::debug!(%client, ?host, method = ?head.method.as_str(), path = ?head.uri.path(), "visit");
        let wanted = route::wanted(&head.method, &head.uri, &head.headers);
        let visitor = Visitor {
            client: client.to_canonical(),
            host: host.map(str::to_owned),
            finding: match wanted {
                Wanted::Picture | Wanted::Nothing => Finding::default(),
                _ => self.site.look_up(host, client),
            },
            time,
        };
        match wanted {
            Wanted::Picture => quiet(StatusCode::OK, Some("image/gif"), PIXEL),
            Wanted::Nothing => quiet(StatusCode::NO_CONTENT, None, b""),
            Wanted::Json(reader) => {
                let case = match reader {
                    Reader::Program => self.case_of(&visitor).await,
                    Reader::Script => None,
                };
                let case = case.as_ref().map(|case| (case, ""));
                let text = json::facts(&self.notice(&visitor, case, None), reader);
                let mut response = Response::new(Full::new(Bytes::from(text)));
                response.headers_mut().extend(common("application/json"));
                response
            }
            Wanted::Statement => {
                let is_own = route::is_own(&head.headers, authority.as_deref());
                self.statement(visitor, is_own, body).await
            }
            Wanted::Page => {
                let status = match head.method {
                    Method::CONNECT => StatusCode::FORBIDDEN,
                    _ => StatusCode::OK,
                };
                self.landing(&visitor, status, None).await
            }
        }
    }

    async fn landing(
        &self,
        visitor: &Visitor,
        status: StatusCode,
        again: Option<Again<'_>>,
    ) -> Response<Full<Bytes>> {
        let case = self.case_of(visitor).await;
        let token = case.as_ref().map(|case| self.key.token(visitor.bound(&case.ticket), visitor.micros()));
        let case = case.as_ref().zip(token.as_deref());
        // Nothing can be said of a case that is not there any more.
        let again = again.filter(|_| case.is_some());
        let design = self.design.load();
        page(&design, status, design.landing(&self.notice(visitor, case, again)))
    }

    async fn statement<B: Body<Error: Into<Fault>>>(
        &self,
        visitor: Visitor,
        is_own: bool,
        body: B,
    ) -> Response<Full<Bytes>> {
        let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, form::MOST_OCTETS).collect()).await;
        let form = match body {
            Ok(Ok(body)) => Form::read(&body.to_bytes()),
            // Longer than any form, or cut.
            Ok(Err(_)) | Err(_) => None,
        };
        // Whatever was posted here and is no form of ours: to a bot it is a path like any other.
        let Some(form) = form else { return self.landing(&visitor, StatusCode::OK, None).await };
        if !is_own {
            // Nothing that another site wrote may stand in the form.
            let again = Again { said: form.said, note: None };
            return self.landing(&visitor, StatusCode::FORBIDDEN, Some(again)).await;
        }
        let again = Again { said: form.said, note: form.note.as_deref() };
        if !self.key.is_good(&form.token, visitor.bound(&form.ticket), visitor.micros()) {
            return self.landing(&visitor, StatusCode::FORBIDDEN, Some(again)).await;
        }
        if !self.pace.admit(visitor.client, &form.ticket, visitor.micros()) {
            return self.thank(&visitor, &form, StatusCode::TOO_MANY_REQUESTS, Outcome::TooOften).await;
        }
        match self.file(&visitor, &form).await {
            Ok(Filed::Taken | Filed::Already) => {
                self.thank(&visitor, &form, StatusCode::OK, Outcome::Kept(form.said)).await
            }
            Ok(Filed::NoCase) => self.landing(&visitor, StatusCode::FORBIDDEN, Some(again)).await,
            Err(Unfiled::Desk(error)) => {
                tracing::error!("{error}");
                self.thank(&visitor, &form, StatusCode::SERVICE_UNAVAILABLE, Outcome::Failed).await
            }
            Err(Unfiled::Slow) => {
                tracing::warn!("the case desk is too slow for the landing page's visitors");
                self.thank(&visitor, &form, StatusCode::SERVICE_UNAVAILABLE, Outcome::Failed).await
            }
        }
    }

    async fn thank(
        &self,
        visitor: &Visitor,
        form: &Form,
        status: StatusCode,
        outcome: Outcome,
    ) -> Response<Full<Bytes>> {
        let case = self.case_of(visitor).await;
        let case = case.as_ref().filter(|case| case.ticket == form.ticket).map(|case| (case, ""));
        let design = self.design.load();
        page(&design, status, design.outcome(outcome, &self.notice(visitor, case, None), form.language))
    }

    /// The visitor's case; `None` too where the desk does not say in time.
    async fn case_of(&self, visitor: &Visitor) -> Option<Case> {
        let visitor = visitor.clone();
        self.ask(PATIENCE, move |desk| desk.case_of(&visitor.visit())).await.ok().flatten()
    }

    async fn file(&self, visitor: &Visitor, form: &Form) -> Result<Filed, Unfiled> {
        let (visitor, form) = (visitor.clone(), form.clone());
        let file = move |desk: &dyn Desk| {
            let statement = Statement {
                ticket: &form.ticket,
                time: visitor.micros(),
                client: visitor.client,
                host: visitor.host.as_deref(),
                note: form.note.as_deref(),
            };
            match form.said {
                Said::Clean => desk.said_clean(&statement),
                Said::Wrong => desk.said_wrong(&statement),
            }
        };
        match self.ask(PATIENCE_OF_STATEMENT, file).await {
            Ok(filed) => filed.map_err(Unfiled::Desk),
            Err(Unanswered::NoDesk) => Ok(Filed::NoCase),
            Err(Unanswered::Slow) => Err(Unfiled::Slow),
        }
    }

    /// Has the desk answer where blocking is allowed.
    async fn ask<T: Send + 'static>(
        &self,
        patience: Duration,
        question: impl FnOnce(&dyn Desk) -> T + Send + 'static,
    ) -> Result<T, Unanswered> {
        let desk = Arc::clone(self.desk.as_ref().ok_or(Unanswered::NoDesk)?);
        let calls = Arc::clone(&self.calls);
        let asked = async move {
            // The place is free again when the desk has answered, not when somebody stopped waiting.
            let place = calls.acquire_owned().await.ok()?;
            let call = move || {
                let _place = place;
                question(desk.as_ref())
            };
            tokio::task::spawn_blocking(call).await.ok()
        };
        tokio::time::timeout(patience, asked).await.ok().flatten().ok_or(Unanswered::Slow)
    }

    fn notice<'a>(
        &'a self,
        visitor: &'a Visitor,
        case: Option<(&'a Case, &'a str)>,
        again: Option<Again<'a>>,
    ) -> Notice<'a> {
        Notice {
            host: visitor.host.as_deref(),
            listing: visitor.finding.listing.as_ref(),
            client: visitor.client,
            agency: visitor.finding.agency.as_ref(),
            time: visitor.time,
            time_zone: &self.time_zone,
            case,
            again,
        }
    }
}

/// Why the desk gave no answer.
enum Unanswered {
    NoDesk,
    /// Or it panicked.
    Slow,
}

/// Why a statement was not kept.
enum Unfiled {
    Desk(DeskError),
    Slow,
}

/// Somebody who came, and what is known of them.
#[derive(Clone)]
struct Visitor {
    client: IpAddr,
    host: Option<String>,
    finding: Finding,
    time: Timestamp,
}

impl Visitor {
    fn micros(&self) -> i64 {
        self.time.as_microsecond()
    }

    fn bound<'a>(&'a self, ticket: &'a str) -> Bound<'a> {
        Bound { client: self.client, ticket, host: self.host.as_deref() }
    }

    fn visit(&self) -> Visit<'_> {
        let (host, listing) = (self.host.as_deref(), self.finding.listing.as_ref());
        Visit { time: self.micros(), client: self.client, host, listing }
    }
}

fn page(design: &Design, status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(common("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("vi, en"));
    // For browsers that know no `frame-ancestors`.
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if let Ok(policy) = HeaderValue::from_str(design.security_policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn quiet(status: StatusCode, kind: Option<&'static str>, body: &'static [u8]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(common(kind.unwrap_or("text/plain")));
    if kind.is_none() {
        headers.remove(header::CONTENT_TYPE);
    }
    response
}

fn common(kind: &'static str) -> [(HeaderName, HeaderValue); 5] {
    [
        (header::CONTENT_TYPE, kind),
        // The name may be taken off the list, and then the real site must not hide behind this page.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Nothing to others; to ourselves, so that the form comes with its `Origin`.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// The host and port that a request names: an absolute target goes before the `Host`
/// field (RFC 9112, section 3.2.2). `None` where neither names one.
fn authority(head: &Parts) -> Option<String> {
    let authority = match head.uri.authority() {
        // Without who logs in there.
        Some(authority) => authority.as_str().rsplit('@').next().unwrap_or_default().to_owned(),
        None => String::from_utf8_lossy(head.headers.get(header::HOST)?.as_bytes()).into_owned(),
    };
    (!authority.is_empty()).then_some(authority)
}

/// Takes the port off, and leaves an IPv6 address whole: only one in brackets has a port.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests;
