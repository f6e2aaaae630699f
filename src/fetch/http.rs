//! One resource by HTTP/1.1: conditional, bounded in size, time and slowness, redirects followed with care; or one message posted.
//!
//! Written to whatever is given, as it comes; what is in it is not looked at. hyper's connections are used as they are, so that every bound is ours; one is kept
//! for the next request to the same server.

mod connect;
#[cfg(test)]
pub(in crate::fetch) mod tests;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::write::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HOST, HeaderMap,
    HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, PROXY_AUTHORIZATION,
    RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::draft::TooLarge;
use super::shown::{Shown, shown};
use connect::{Line, Via, is_asked_for_us, peer};

/// Redirects that are followed.
const REDIRECTS: usize = 5;
/// How long a server may think before it answers.
const THINKING: Duration = Duration::from_secs(60);
/// Within each such time at least so many octets must come: 1 KiB a second.
const WINDOW: Duration = Duration::from_secs(20);
const LEAST: u64 = 20 << 10;
/// No server is taken at its word that it wants to be left alone for longer.
const LONGEST_RETRY: Duration = Duration::from_secs(86_400);
const AGENT: &str = concat!("sachdns/", env!("CARGO_PKG_VERSION"));
/// Secrets are words, not books.
const MAX_SECRET: u64 = 16 << 10;

/// How a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The proxy, `http://HOST:PORT`.
    pub proxy: Option<Proxy>,
    /// A file with the authorities' certificates in place of the system's.
    pub ca: Option<PathBuf>,
    /// Who we are.
    pub credentials: Option<Credentials>,
    /// The most octets of a resource, packed and unpacked.
    pub max_size: u64,
    /// How long one request may take, its body included.
    pub timeout: Duration,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub url: Url,
    /// Who we are there.
    pub credentials: Option<Credentials>,
}

/// Who we are. Secrets stay in their files and are read when they are needed: what is replaced there is used the
/// next time, and no log can have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and the file of its password (RFC 7617).
    Password {
        /// The name.
        user: String,
        /// The file.
        file: PathBuf,
    },
    /// The file of a bearer token (RFC 6750).
    Token {
        /// The file.
        file: PathBuf,
    },
}

impl Credentials {
    /// The file with the secret.
    pub fn file(&self) -> &Path {
        match self {
            Self::Password { file, .. } | Self::Token { file } => file,
        }
    }

    /// The value of an Authorization field.
    fn header(&self) -> Result<HeaderValue, HttpError> {
        let failed = |why: String| HttpError::Secret { path: self.file().to_owned(), why };
        let secret = read_secret(self.file()).map_err(|error| failed(error.to_string()))?;
        let value = match self {
            Self::Password { user, .. } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}")))
            }
            Self::Token { .. } => format!("Bearer {secret}"),
        };
        let mut value = HeaderValue::from_str(&value)
            .map_err(|_| failed("it has characters that no header field can have".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The first line of a file, which must have one.
///
/// # Errors
/// It cannot be read, or there is nothing in it.
pub fn read_secret(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_SECRET).read_to_string(&mut text)?;
    match text.lines().next().map(str::trim) {
        Some(secret) if !secret.is_empty() => Ok(secret.to_owned()),
        _ => Err(io::Error::other("its first line is empty")),
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Where it is.
    pub url: &'a Url,
    /// Which media types are understood.
    pub accept: &'a str,
    /// The entity tag of what is there already.
    pub etag: Option<&'a str>,
    /// … and the time of its last change, as the server wrote both.
    pub last_modified: Option<&'a str>,
}

/// What is posted.
#[derive(Debug, Clone)]
pub struct Post<'a> {
    /// To whom.
    pub url: &'a Url,
    /// The body's media type.
    pub content_type: &'a str,
    /// Other header fields.
    pub fields: &'a [(HeaderName, HeaderValue)],
    /// The body.
    pub body: Bytes,
}

/// What came.
#[derive(Debug)]
pub enum Reply {
    /// 304: what is there already is what there is.
    Unchanged,
    /// 200, its body written.
    Content(Head),
}

/// What a server says of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Where it was found in the end.
    pub url: Url,
    /// The header fields.
    pub fields: HeaderMap,
}

impl Head {
    /// A header field's text; none where it has other than visible ASCII.
    pub fn field(&self, name: impl hyper::header::AsHeaderName) -> Option<String> {
        self.fields.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    /// The entity tag.
    pub fn etag(&self) -> Option<String> {
        self.field(ETAG)
    }

    /// The time of the last change.
    pub fn last_modified(&self) -> Option<String> {
        self.field(LAST_MODIFIED)
    }

    /// The media type.
    pub fn content_type(&self) -> Option<String> {
        self.field(CONTENT_TYPE)
    }
}

/// Why nothing came, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A name has no address.
    #[error("{name}: its address cannot be looked up ({source}); check the name and this machine's resolver")]
    Lookup {
        /// The name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("{peer}: no connection: {source}")]
    Connect {
        /// Who should.
        peer: String,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate that does not count.
    #[error("{host}: its certificate is refused ({why}): {mend}")]
    Certificate {
        /// Whose.
        host: String,
        /// What is wrong.
        why: String,
        /// What to do.
        mend: &'static str,
    },
    /// TLS, otherwise.
    #[error("{host}: no TLS connection: {why}")]
    Tls {
        /// To whom.
        host: String,
        /// Why.
        why: String,
    },
    /// The file of authorities.
    #[error("{path}: {why}; ca must be a file of certificates in PEM form")]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file with a password or token.
    #[error("{path}: {why}; it must have the password or token in its first line")]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The proxy opens no tunnel.
    #[error("the proxy {proxy} answers {status}; check proxy, proxy_user and what the proxy allows")]
    Proxy {
        /// The proxy.
        proxy: String,
        /// Its status.
        status: u16,
    },
    /// Something takes too long.
    #[error("{peer}: waited {} s for {what}", .after.as_secs())]
    Late {
        /// For what.
        what: &'static str,
        /// From whom.
        peer: String,
        /// How long.
        after: Duration,
    },
    /// The body drips.
    #[error("it came too slowly: {octets} octets in {} s", WINDOW.as_secs())]
    Slow {
        /// How much came.
        octets: u64,
    },
    /// The request as a whole took too long.
    #[error("not all of it came within {} s; raise timeout if the list is that long", .0.as_secs_f32())]
    Timeout(Duration),
    /// Another status than 200 and 304.
    #[error("the server answers {}", status_text(*.status))]
    Status {
        /// The status.
        status: u16,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// One redirect after the other.
    #[error("more than {REDIRECTS} redirects, the last to {0}")]
    Redirects(String),
    /// A redirect that gives up encryption.
    #[error("it is redirected from https to {0}, which is not followed")]
    Downgrade(String),
    /// A redirect to nowhere.
    #[error("it is redirected to {0:?}, which is no http or https URL")]
    Url(String),
    /// An encoding that was not asked for.
    #[error("the server sends it encoded as {0:?}, which nobody asked for")]
    Encoding(String),
    /// The body ended too soon.
    #[error("it was cut: {0}")]
    Cut(String),
    /// Too much.
    #[error("{0}; raise max_size if that is right")]
    TooLarge(TooLarge),
    /// No HTTP.
    #[error("what the server sends is not HTTP: {0}")]
    Protocol(String),
    /// What came cannot be written.
    #[error("it cannot be written: {0}")]
    Write(io::Error),
}

impl HttpError {
    fn of(error: &hyper::Error) -> Self {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            text = format!("{text} ({source})");
        }
        let is_cut = error.is_incomplete_message() || error.is_body_write_aborted() || error.is_closed();
        if is_cut || !error.is_parse() { Self::Cut(text) } else { Self::Protocol(text) }
    }

    fn of_write(error: io::Error) -> Self {
        match TooLarge::of(&error) {
            Some(too_large) => Self::TooLarge(too_large),
            None => Self::Write(error),
        }
    }

    /// When the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn status_text(status: u16) -> String {
    let mend = match status {
        401 | 403 => ": check user and password_file, or token_file",
        404 | 410 => ": the list is not there any more, ask its publisher where it is",
        407 => " through the proxy: check proxy_user and proxy_password_file",
        429 => ": it is asked too often, raise refresh",
        _ => "",
    };
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    format!("{status} {}{mend}", reason.unwrap_or_default())
}

/// Asks servers; keeps the last connection for the next request.
pub struct Client<'a> {
    options: &'a Options,
    authorization: Option<HeaderValue>,
    proxy_authorization: Option<HeaderValue>,
    /// The connection that is there, and to whom.
    line: Option<(String, Line)>,
}

impl<'a> Client<'a> {
    /// Reads the secrets.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn new(options: &'a Options) -> Result<Self, HttpError> {
        let header = |credentials: Option<&Credentials>| credentials.map(Credentials::header).transpose();
        Ok(Self {
            options,
            authorization: header(options.credentials.as_ref())?,
            proxy_authorization: header(options.proxy.as_ref().and_then(|it| it.credentials.as_ref()))?,
            line: None,
        })
    }

    /// Asks for a resource and writes its body to `out`, packed bodies (Content-Encoding) unpacked.
    ///
    /// # Errors
    /// [`HttpError`]; what was written until then is of no use.
    pub async fn get(&mut self, ask: Ask<'_>, out: &mut (dyn Write + Send)) -> Result<Reply, HttpError> {
        let limit = self.options.timeout;
        timeout(limit, self.follow(ask, out)).await.map_err(|_| HttpError::Timeout(limit))?
    }

    /// Posts a message. What is answered is not read; redirects are not followed, since they would turn it into a question.
    ///
    /// # Errors
    /// [`HttpError`]: anything but a status of 2xx. Whether the message arrived is not known then.
    pub async fn post(&mut self, post: Post<'_>) -> Result<(), HttpError> {
        let limit = self.options.timeout;
        timeout(limit, self.send_post(post)).await.map_err(|_| HttpError::Timeout(limit))?
    }

    async fn send_post(&mut self, post: Post<'_>) -> Result<(), HttpError> {
        let (_line, response) = self.converse(Method::POST, "*/*", post).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let retry_after = retry_after(response.headers(), Timestamp::now());
        Err(HttpError::Status { status: status.as_u16(), retry_after })
    }

    /// Sends one message and writes what is answered, which is JSON if all is well, whatever the status, which comes back. Redirects
    /// are not followed.
    ///
    /// # Errors
    /// [`HttpError`]: there is no answer, or not all of it.
    pub async fn exchange(
        &mut self,
        method: Method,
        post: Post<'_>,
        out: &mut (dyn Write + Send),
    ) -> Result<u16, HttpError> {
        let limit = self.options.timeout;
        let exchanged = async {
            let (_line, response) = self.converse(method, "application/json", post).await?;
            let status = response.status().as_u16();
            receive(response, out).await.map(|()| status)
        };
        timeout(limit, exchanged).await.map_err(|_| HttpError::Timeout(limit))?
    }

    /// An answer, and the connection on which its body still has to come.
    async fn converse(
        &mut self,
        method: Method,
        accept: &str,
        Post { url, content_type, fields, body }: Post<'_>,
    ) -> Result<(Line, Response<Incoming>), HttpError> {
        let ask = Ask { url, accept, etag: None, last_modified: None };
        let via = self.via();
        let mut request = self.request(url, ask, is_asked_for_us(url, via.as_ref()))?;
        let headers = request.headers_mut();
        let wrong = |_| HttpError::Url(Shown(url).to_string());
        if method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(content_type).map_err(wrong)?);
        }
        headers.extend(fields.iter().cloned());
        *request.method_mut() = method;
        *request.body_mut() = Full::new(body);
        let mut line = connect::open(url, via.as_ref(), self.options.ca.as_deref()).await?;
        let response = line.sender.send_request(request).await.map_err(|error| HttpError::of(&error))?;
        Ok((line, response))
    }

    fn via(&self) -> Option<Via<'_>> {
        let proxy = self.options.proxy.as_ref()?;
        Some(Via { url: &proxy.url, authorization: self.proxy_authorization.as_ref() })
    }

    async fn follow(&mut self, ask: Ask<'_>, out: &mut (dyn Write + Send)) -> Result<Reply, HttpError> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let response = self.send(&url, ask).await?;
            let status = response.status();
            match status {
                StatusCode::OK => {
                    let fields = response.headers().clone();
                    receive(response, out).await?;
                    return Ok(Reply::Content(Head { url, fields }));
                }
                StatusCode::NOT_MODIFIED => return Ok(Reply::Unchanged),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    // The body of a redirect may be anything: the connection is not used again.
                    self.line = None;
                    url = target(&url, &response)?;
                }
                _ => {
                    self.line = None;
                    let retry_after = retry_after(response.headers(), Timestamp::now());
                    return Err(HttpError::Status { status: status.as_u16(), retry_after });
                }
            }
        }
        Err(HttpError::Redirects(Shown(&url).to_string()))
    }

    async fn send(&mut self, url: &Url, ask: Ask<'_>) -> Result<Response<Incoming>, HttpError> {
        let via = self
            .options
            .proxy
            .as_ref()
            .map(|proxy| Via { url: &proxy.url, authorization: self.proxy_authorization.as_ref() });
        let is_whole = is_asked_for_us(url, via.as_ref());
        let whom = format!("{}://{}", url.scheme(), peer(url));
        // A server may have closed what was kept, and that shows only now.
        let request = self.request(url, ask, is_whole)?;
        if let Some((of, mut line)) = self.line.take()
            && of == whom
            && line.sender.ready().await.is_ok()
            && let Ok(Ok(response)) = timeout(THINKING, line.sender.send_request(request)).await
        {
            self.line = Some((whom, line));
            return Ok(response);
        }
        let request = self.request(url, ask, is_whole)?;
        let mut line = connect::open(url, via.as_ref(), self.options.ca.as_deref()).await?;
        let late = |_| HttpError::Late { what: "an answer", peer: peer(url), after: THINKING };
        let response = timeout(THINKING, line.sender.send_request(request)).await.map_err(late)?;
        let response = response.map_err(|error| HttpError::of(&error))?;
        self.line = Some((whom, line));
        Ok(response)
    }

    fn request(&self, url: &Url, ask: Ask<'_>, is_whole: bool) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut target = url.clone();
        target.set_fragment(None);
        let path = &target[url::Position::BeforePath..url::Position::AfterQuery];
        let uri = if is_whole { target.as_str() } else { path };
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::builder()
            .uri(uri)
            .header(HOST, host)
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, ask.accept)
            .header(ACCEPT_ENCODING, "gzip");
        let mut field = |name: HeaderName, value: Option<&HeaderValue>| {
            if let (Some(fields), Some(value)) = (request.headers_mut(), value) {
                fields.insert(name, value.clone());
            }
        };
        // What was remembered of another server's is no secret, but of no use to this one either.
        let is_same = is_same_server(url, ask.url);
        let validator =
            |text: Option<&str>| text.filter(|_| is_same).and_then(|text| HeaderValue::from_str(text).ok());
        field(AUTHORIZATION, self.authorization.as_ref().filter(|_| is_same));
        field(IF_NONE_MATCH, validator(ask.etag).as_ref());
        field(IF_MODIFIED_SINCE, validator(ask.last_modified).as_ref());
        field(PROXY_AUTHORIZATION, self.proxy_authorization.as_ref().filter(|_| is_whole));
        request.body(Full::default()).map_err(|_| HttpError::Url(Shown(url).to_string()))
    }
}

fn is_same_server(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Where a redirect leads.
fn target<B>(url: &Url, response: &Response<B>) -> Result<Url, HttpError> {
    let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let location = String::from_utf8_lossy(location);
    let wrong = || HttpError::Url(shown(&location).chars().take(200).collect());
    let target = if location.is_empty() { Err(wrong()) } else { url.join(&location).map_err(|_| wrong()) }?;
    match (url.scheme(), target.scheme()) {
        ("https", "http") => Err(HttpError::Downgrade(Shown(&target).to_string())),
        (_, "http" | "https") if target.has_host() => Ok(target),
        _ => Err(wrong()),
    }
}

/// How long a server wants to be left alone (RFC 9110, section 10.2.3).
fn retry_after(fields: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(until.duration_since(now)).ok()?
        }
    };
    Some(wait.min(LONGEST_RETRY))
}

/// Writes the body as it comes.
async fn receive(response: Response<Incoming>, out: &mut (dyn Write + Send)) -> Result<(), HttpError> {
    let encoding = response.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let encoding = encoding.unwrap_or_default().trim_ascii();
    let is = |name: &[u8]| encoding.eq_ignore_ascii_case(name);
    if encoding.is_empty() || is(b"identity") {
        return pour(response.into_body(), out).await;
    }
    if !is(b"gzip") && !is(b"x-gzip") {
        return Err(HttpError::Encoding(String::from_utf8_lossy(encoding).into_owned()));
    }
    let mut decoder = GzDecoder::new(out);
    pour(response.into_body(), &mut decoder).await?;
    decoder.try_finish().map_err(HttpError::of_unpacking)
}

impl HttpError {
    fn of_unpacking(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Cut(format!("its gzip is damaged ({error})"))
            }
            _ => Self::of_write(error),
        }
    }
}

async fn pour(mut body: Incoming, out: &mut (dyn Write + Send)) -> Result<(), HttpError> {
    let mut came = 0;
    let mut end = Instant::now() + WINDOW;
    loop {
        match timeout_at(end, body.frame()).await {
            Err(_) if came < LEAST => return Err(HttpError::Slow { octets: came }),
            Err(_) => {
                came = 0;
                end = Instant::now() + WINDOW;
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(HttpError::of(&error)),
            Ok(Some(Ok(frame))) => {
                let Ok(octets) = frame.into_data() else { continue };
                came += octets.len() as u64;
                out.write_all(&octets).map_err(HttpError::of_unpacking)?;
            }
        }
    }
}
