//! The console's HTTP/1.1 listener: sockets, bounds, sessions, and what every answer carries.
//!
//! Here, and nowhere else, a request's session becomes a viewer, a route's right is asked for, and a form is held to have come from our
//! own page: its `csrf` field is a digest of the session, and a browser that says where it comes from must say from here.
//! Handlers run on threads of their own that may block; those, connections and streams are bounded.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;

use super::Options;
use super::account::{self, Accounts, AccountsError};
use super::answer::{Failure, Reply, Writing};
use super::call::{Call, Fields};
use super::door;
use super::fields;
use super::house::House;
use super::outside::Outside;
use super::routes::{self, Found, Needs, Route};
use super::shell::{self, Theme};
use super::token::Tokens;
use super::tongue::Tongue;
use super::{api, import, multipart};
use crate::client::admission::{Admission, Ticket};
use crate::credentials::Credentials;
use crate::{clock, listener};

/// Most connections at once, in all and of one address (a balancer's or an office's, which many share).
const CONNECTIONS: usize = 512;
const CONNECTIONS_EACH: usize = 64;
/// Most requests that are answered at once; others wait.
const AT_ONCE: usize = 6;
/// … and streams that are made at once.
const STREAMS: usize = 3;
/// … and pages that are made while they are sent; others wait for their turn.
const GRADUAL: usize = 3;
/// … and files that are received at once. A body that is longer than this is one.
const UPLOADS: usize = 2;
const LARGE: usize = 256 << 10;
/// The time in which the head of a request must have come, and its body.
const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(60);
/// … how long a reader of a stream may read nothing, and most octets of a head.
const STALL: Duration = Duration::from_secs(60);
const MOST_HEAD: usize = 64 << 10;
/// The longest life of a connection.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Octets that are sent at once, and how often that may wait for the reader.
const CHUNK: usize = 64 << 10;
const CHUNKS: usize = 4;

/// What answers.
pub struct Console {
    house: Arc<dyn House>,
    accounts: Arc<Accounts>,
    working: Semaphore,
    streaming: Arc<Semaphore>,
    searching: Arc<Semaphore>,
    uploading: Semaphore,
    acceptor: Option<TlsAcceptor>,
    proxies: Vec<IpNet>,
    url: Option<String>,
    outside: Option<Arc<Outside>>,
}

impl Console {
    /// Over what `house` has; with TLS where there are credentials.
    ///
    /// # Errors
    /// What rustls said.
    pub fn new(
        house: Arc<dyn House>,
        accounts: Arc<Accounts>,
        options: &Options,
        credentials: Option<&Arc<Credentials>>,
    ) -> Result<Arc<Self>, rustls::Error> {
        Ok(Arc::new(Self {
            house,
            accounts,
            working: Semaphore::new(AT_ONCE),
            streaming: Arc::new(Semaphore::new(STREAMS)),
            searching: Arc::new(Semaphore::new(GRADUAL)),
            uploading: Semaphore::new(UPLOADS),
            acceptor: credentials.map(door::acceptor).transpose()?,
            proxies: options.trusted_proxies.clone(),
            url: options.url.clone(),
            outside: options.outside.as_ref().map(|options| Arc::new(Outside::new(options))),
        }))
    }
}

/// Answers on `listeners`, until `shutdown` completes.
pub async fn serve(listeners: Vec<TcpListener>, console: Arc<Console>, shutdown: impl Future<Output = ()>) {
    let admission = Admission::new(CONNECTIONS, CONNECTIONS_EACH);
    listener::attend("console", listeners, &admission, shutdown, |stream, client, ticket| {
        connection(stream, client, ticket, Arc::clone(&console))
    })
    .await;
}

async fn connection(stream: TcpStream, client: IpAddr, _ticket: Ticket, console: Arc<Console>) {
    let Some(acceptor) = console.acceptor.clone() else { return attend(stream, client, console).await };
    match door::encrypt(stream, &acceptor).await {
        Ok(Some(stream)) => attend(stream, client, console).await,
        Ok(None) => {}
        Err(error) => tracing::debug!(%client, %error, "no TLS connection to the console"),
    }
}

async fn attend<S>(stream: S, client: IpAddr, console: Arc<Console>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let console = Arc::clone(&console);
        async move { Ok::<_, Infallible>(respond(request, client, console).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MOST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(LIFE, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%client, %error, "a connection to the console ended"),
        Err(_) => tracing::debug!(%client, "a connection to the console outlived its time"),
    }
}

type Answer = Response<Either<Full<Bytes>, Chunks>>;

async fn respond(request: Request<Incoming>, peer: IpAddr, console: Arc<Console>) -> Answer {
    let (parts, body) = request.into_parts();
    let (client, is_encrypted) =
        door::behind(&console.proxies, peer, console.acceptor.is_some(), &parts.headers);
    let mut answer = answered(&parts, body, (client, is_encrypted), console).await;
    guard(&mut answer, is_encrypted);
    answer
}

async fn answered(
    parts: &Parts,
    body: Incoming,
    (client, is_encrypted): (IpAddr, bool),
    console: Arc<Console>,
) -> Answer {
    let path = parts.uri.path().to_owned();
    let query = Fields::read(parts.uri.query().unwrap_or_default().as_bytes());
    let mut call = Call {
        house: Arc::clone(&console.house),
        accounts: Arc::clone(&console.accounts),
        viewer: None,
        rights: None,
        session: cookie(&parts.headers, session_name(is_encrypted)),
        session_number: None,
        outside: console.outside.clone(),
        binding: cookie(&parts.headers, outside_name(is_encrypted)),
        must_enrol: false,
        csrf: String::new(),
        client,
        agent: text(&parts.headers, "user-agent").unwrap_or_default().to_owned(),
        origin: origin(&console, &parts.headers, is_encrypted),
        now: clock::now(),
        tongue: tongue(&parts.headers, &query),
        theme: cookie(&parts.headers, "theme").map_or(Theme::System, |word| Theme::of(&word)),
        path,
        places: Vec::new(),
        query,
        form: Fields::default(),
        body: Vec::new(),
        is_encrypted,
    };
    let route = match routes::find(&parts.method, &call.path) {
        Found::Route(route, places) => {
            call.places = places;
            Some(route)
        }
        Found::OtherMethods(methods) => {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this path\n");
            let allowed = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            if let Ok(allowed) = HeaderValue::from_str(&allowed) {
                answer.headers_mut().insert(header::ALLOW, allowed);
            }
            return answer;
        }
        Found::Nothing => None,
    };
    let wants_json = call.path.starts_with("/api/") || call.path == "/metrics";
    // Tokens are for what is for programs: pages reckon with all rights of an account.
    let bearer = wants_json.then(|| bearer(&parts.headers)).flatten().map(str::to_owned);
    let mut _turn = None;
    if let Some(route) = route.filter(|route| route.most > LARGE) {
        // Octets of strangers are not held: who sends much must be somebody who may, and waits for a turn.
        let Ok(permit) = console.uploading.acquire().await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "the server stops\n");
        };
        _turn = Some(permit);
        let secret = bearer.clone();
        let known = tokio::task::spawn_blocking(move || {
            let told = who(&mut call, secret.as_deref()).and_then(|()| needs(&call, route));
            let refused = told.err().map(|failure| failed(&call, &failure, wants_json));
            (call, refused)
        });
        match known.await {
            Ok((known, None)) => call = known,
            Ok((_, Some(refused))) => return refused,
            Err(_) => return plain(StatusCode::INTERNAL_SERVER_ERROR, "this could not be done\n"),
        }
    }
    if let Some(route) = route.filter(|route| route.most > 0) {
        match tokio::time::timeout(BODY, Limited::new(body, route.most).collect()).await {
            Ok(Ok(body)) => call.body = body.to_bytes().into(),
            Ok(Err(_)) => {
                return plain(StatusCode::PAYLOAD_TOO_LARGE, "too much, or broken off; send less\n");
            }
            Err(_) => return plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"),
        }
        if is_form(&parts.headers) {
            call.form = Fields::read(&std::mem::take(&mut call.body));
        } else if let Some(boundary) = content_type(&parts.headers).and_then(multipart::boundary) {
            let Some(form) = multipart::read(&call.body, boundary) else {
                return plain(StatusCode::BAD_REQUEST, "this is no form as browsers send it\n");
            };
            import::put(&mut call, form);
        }
    }
    let is_own = is_own_site(&parts.headers);
    // Closed only when the process ends.
    let Ok(_permit) = console.working.acquire().await else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the server stops\n");
    };
    let head = parts.method == Method::HEAD;
    let streams = Arc::clone(&console);
    let answered = tokio::task::spawn_blocking(move || {
        let answered = who(&mut call, bearer.as_deref()).and_then(|()| answer(&call, route, is_own));
        match answered {
            Ok(reply) => success(reply, &streams),
            Err(failure) => failed(&call, &failure, wants_json),
        }
    });
    let mut answer = answered.await.unwrap_or_else(|_| {
        plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "this page could not be made; the server's own log says why\n",
        )
    });
    if head {
        *answer.body_mut() = Either::Left(Full::default());
    }
    answer
}

/// Whose session or token it is. A token that does not count is no session instead.
fn who(call: &mut Call, bearer: Option<&str>) -> Result<(), Failure> {
    if let Some(secret) = bearer {
        let grant = Tokens::open(call.house.data_dir())?.grant(secret, &call.accounts, call.now)?;
        let grant = grant.ok_or(Failure::SignedOut)?;
        call.viewer = Some(grant.viewer);
        call.rights = Some(grant.rights);
        return Ok(());
    }
    if let Some(session) = &call.session
        && let Some(signed) = call.accounts.viewer(session, call.now)?
    {
        call.csrf = account::csrf(session);
        call.viewer = Some(signed.viewer);
        call.session_number = Some(signed.session);
        call.must_enrol = signed.must_enrol;
    }
    Ok(())
}

/// Where those may go who must set up a second factor first.
const ENROLLING: [&str; 3] = ["/account/totp", "/appearance", "/sign-out"];

/// Whether the viewer may, and only then what it is.
pub(super) fn answer(call: &Call, route: Option<&'static Route>, is_own: bool) -> Result<Reply, Failure> {
    let Some(route) = route else {
        // What is not there is told only to those who may know what is.
        return Err(if call.viewer.is_some() { Failure::Absent } else { Failure::SignedOut });
    };
    needs(call, route)?;
    // A program shows its token in each request: nobody else's page can make it do so.
    if route.method != Method::GET && call.rights.is_none() {
        if route.path.starts_with("/api/") {
            return Err(Failure::Cookie);
        }
        // Compared as digests, whose times tell nothing.
        let brought = account::digest(call.form.find("csrf").unwrap_or_default());
        let is_ours = call.viewer.is_none() || brought == account::digest(&call.csrf);
        if !is_own || !is_ours {
            return Err(Failure::Forged);
        }
    }
    api::check_query(call, route)?;
    (route.answer)(call)
}

/// Whether the viewer has what the route needs.
fn needs(call: &Call, route: &Route) -> Result<(), Failure> {
    if call.must_enrol && route.needs != Needs::Nothing && !ENROLLING.contains(&route.path) {
        return Err(Failure::Enrol);
    }
    match route.needs {
        Needs::Nothing => Ok(()),
        Needs::Session => call.viewer().map(drop),
        Needs::Right(right) => {
            call.viewer()?;
            if call.may(right) { Ok(()) } else { Err(Failure::Forbidden) }
        }
    }
}

/// The token of a request (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
}

/// Whether a browser says that its request comes from our own page, or says nothing of it.
fn is_own_site(headers: &HeaderMap) -> bool {
    let text = |name: &str| text(headers, name);
    match text("sec-fetch-site") {
        Some(site) => matches!(site, "same-origin" | "none"),
        None => match (text("origin"), text("host")) {
            (Some(origin), Some(host)) => origin.split_once("://").is_some_and(|(_, of)| of == host),
            _ => true,
        },
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// How browsers reach us, for links: as configured, or as this one did.
fn origin(console: &Console, headers: &HeaderMap, is_encrypted: bool) -> String {
    let scheme = if is_encrypted { "https" } else { "http" };
    let asked = || door::host(headers).map(|host| format!("{scheme}://{host}"));
    console.url.clone().or_else(asked).unwrap_or_default()
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next() == Some("application/x-www-form-urlencoded"))
}

fn tongue(headers: &HeaderMap, query: &Fields) -> Tongue {
    let asked = query.find("language").and_then(Tongue::of);
    asked.or_else(|| Tongue::of(&cookie(headers, "language")?)).unwrap_or_default()
}

/// The value of a cookie.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    fields.find_map(|field| fields::cookie(field, name)).map(str::to_owned)
}

/// Over TLS a name that only this host may set, and for the whole of it (RFC 6265bis, section 4.1.3).
fn session_name(is_encrypted: bool) -> &'static str {
    if is_encrypted { "__Host-session" } else { "session" }
}

/// The cookie of a session; an empty one takes it away.
pub(super) fn session_cookie(call: &Call, token: &str) -> String {
    let secure = if call.is_encrypted { "; Secure" } else { "" };
    let end = if token.is_empty() { "; Max-Age=0" } else { "" };
    format!("{}={token}; Path=/; HttpOnly; SameSite=Lax{secure}{end}", session_name(call.is_encrypted))
}

fn outside_name(is_encrypted: bool) -> &'static str {
    if is_encrypted { "__Host-oidc" } else { "oidc" }
}

/// The cookie that binds a way to the organisation's own sign-in to this browser. The way back begins at another site, so it is lax; it
/// is of use once, and goes by itself.
pub(super) fn outside_cookie(call: &Call, binding: &str, seconds: i64) -> String {
    let secure = if call.is_encrypted { "; Secure" } else { "" };
    let name = outside_name(call.is_encrypted);
    format!("{name}={binding}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}")
}

fn success(reply: Reply, console: &Console) -> Answer {
    match reply {
        Reply::Page(page) => of(StatusCode::OK, "text/html; charset=utf-8", page.into_string()),
        Reply::Again(page) => {
            of(StatusCode::UNPROCESSABLE_ENTITY, "text/html; charset=utf-8", page.into_string())
        }
        Reply::Told(status, page) => of(status, "text/html; charset=utf-8", page.into_string()),
        Reply::Onward { page, to, cookie } => {
            let mut answer = of(StatusCode::OK, "text/html; charset=utf-8", page.into_string());
            for (name, value) in [(header::REFRESH, format!("0; url={to}")), (header::SET_COOKIE, cookie)] {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    answer.headers_mut().insert(name, value);
                }
            }
            answer
        }
        Reply::Json(value) => of(StatusCode::OK, "application/json", value.to_string()),
        Reply::Unwell(value) => of(StatusCode::SERVICE_UNAVAILABLE, "application/json", value.to_string()),
        Reply::Text(kind, text) => of(StatusCode::OK, kind, text),
        Reply::Redirect(to) => redirect(&to, None),
        Reply::RedirectWith { to, cookie } => redirect(&to, Some(&cookie)),
        Reply::File(file) => {
            let mut answer = of(StatusCode::OK, file.kind, file.octets);
            save_as(&mut answer, file.name.as_deref());
            if file.name.is_none() {
                let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
                answer.headers_mut().insert(header::CACHE_CONTROL, kept);
            }
            answer
        }
        Reply::Stream(stream) => match Arc::clone(&console.streaming).try_acquire_owned() {
            Ok(permit) => {
                let mut answer = streamed(stream.kind, stream.write, async { Some(permit) });
                save_as(&mut answer, stream.name.as_deref());
                answer
            }
            Err(_) => {
                let mut answer = plain(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "others are being sent long answers; try again in a while\n",
                );
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
                answer
            }
        },
        Reply::Gradual(write) => {
            let turn = Arc::clone(&console.searching).acquire_owned();
            streamed("text/html; charset=utf-8", write, async { turn.await.ok() })
        }
    }
}

/// What `write` makes, once it is its turn.
fn streamed(
    kind: &'static str,
    write: Writing,
    turn: impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static,
) -> Answer {
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::spawn(async move {
        // Who leaves before gives the turn to the next one.
        let permit = tokio::select! {
            permit = turn => permit,
            () = sender.closed() => return,
        };
        let handle = Handle::current();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut pipe = Pipe { sender, octets: Vec::with_capacity(CHUNK), handle };
            let written = write(&mut pipe).and_then(|()| pipe.flush());
            if let Err(error) = written {
                tracing::debug!(%error, "a stream of the console was left");
                // A body that just ended would look whole.
                let _ = pipe.send(Err(error));
            }
        });
    });
    let mut answer = Response::new(Either::Right(Chunks(receiver)));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn failed(call: &Call, failure: &Failure, wants_json: bool) -> Answer {
    let status = match failure {
        Failure::Absent => StatusCode::NOT_FOUND,
        Failure::SignedOut if wants_json => StatusCode::UNAUTHORIZED,
        Failure::SignedOut => {
            let back = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("back", &back(call))
                .finish();
            return redirect(&format!("/sign-in?{back}"), None);
        }
        Failure::Enrol if !wants_json => return redirect("/account/totp", None),
        Failure::Forbidden | Failure::Forged | Failure::Cookie | Failure::Enrol => StatusCode::FORBIDDEN,
        Failure::Busy(_) | Failure::Accounts(AccountsError::Busy(_)) => StatusCode::TOO_MANY_REQUESTS,
        Failure::Accounts(error) if error.is_of_request() => StatusCode::UNPROCESSABLE_ENTITY,
        Failure::Wrong { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Failure::Refused(_) | Failure::Cases(_) => StatusCode::CONFLICT,
        Failure::Log(_)
        | Failure::Machines(_)
        | Failure::Contacts(_)
        | Failure::Accounts(_)
        | Failure::Tokens(_)
        | Failure::Coverage(_)
        | Failure::Files { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status.is_server_error() {
        tracing::warn!(path = call.path, error = %failure, "the console");
    }
    let mut answer = if wants_json {
        let title = status.canonical_reason().unwrap_or_default();
        let told = api::problem(status.as_u16(), title, failure);
        of(status, "application/problem+json", told.to_string())
    } else {
        of(status, "text/html; charset=utf-8", shell::failure(call, failure).into_string())
    };
    if status == StatusCode::UNAUTHORIZED {
        // RFC 6750, section 3.
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Failure::Busy(seconds) | Failure::Accounts(AccountsError::Busy(seconds)) = failure {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
    }
    answer
}

/// The page that somebody wanted to see.
fn back(call: &Call) -> String {
    let query = call.query.with("", None);
    if query.is_empty() { call.path.clone() } else { format!("{}?{query}", call.path) }
}

fn redirect(to: &str, cookie: Option<&str>) -> Answer {
    let mut answer = plain(StatusCode::SEE_OTHER, "");
    match HeaderValue::from_str(to) {
        Ok(to) => answer.headers_mut().insert(header::LOCATION, to),
        Err(_) => answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/")),
    };
    if let Some(Ok(cookie)) = cookie.map(HeaderValue::from_str) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    of(status, "text/plain; charset=utf-8", text)
}

fn of(status: StatusCode, kind: &'static str, octets: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(octets.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// Names of files are our own, in ASCII.
fn save_as(answer: &mut Answer, name: Option<&str>) {
    let field = name.map(|name| HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")));
    if let Some(Ok(field)) = field {
        answer.headers_mut().insert(header::CONTENT_DISPOSITION, field);
    }
}

/// What every answer says to browsers: nothing from elsewhere, in no frame, kept by nobody.
fn guard(answer: &mut Answer, is_encrypted: bool) {
    const FIELDS: [(HeaderName, &str); 6] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = answer.headers_mut();
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_encrypted {
        // RFC 6797: whoever came once over TLS never comes without it again.
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Octets on their way from a thread to a connection.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    octets: Vec<u8>,
    handle: Handle,
}

impl Pipe {
    /// Waits for the reader, but not for one who stopped reading: there are few places.
    fn send(&self, octets: io::Result<Bytes>) -> io::Result<()> {
        let sent = self.handle.block_on(self.sender.send_timeout(octets, STALL));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.octets.extend_from_slice(octets);
        if self.octets.len() >= CHUNK {
            self.flush()?;
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.octets.is_empty() {
            return Ok(());
        }
        let octets = std::mem::replace(&mut self.octets, Vec::with_capacity(CHUNK));
        self.send(Ok(octets.into()))
    }
}

/// The other end of a [`Pipe`].
struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
