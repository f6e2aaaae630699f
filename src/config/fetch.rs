//! `[fetch]`, and what `[[feed]]` says of fetching: who publishes a feed, and how it is asked for.
//!
//! Opens only the files of secrets and authorities, to say at once where one cannot be read. No secret is kept.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::faults::Problem;
use super::file::some_text;
use super::reader::{Reader, Table, Value, duration, list, parsed, size, text};
use crate::feed::source::Origin;
use crate::fetch::bundle::PublicKey;
use crate::fetch::http::{self, Credentials, Proxy, read_secret};
use crate::fetch::shown::shown;
use crate::fetch::transfer::Primary;
use crate::fetch::{Publisher, Remote};
use crate::name::Name;
use crate::tsig::Key;

/// How long one request, or one transfer, may take.
const TIMEOUT: Duration = Duration::from_secs(600);
/// What sources there are, for faults.
const SOURCES: &str = "the path of a file, \"https://HOST/PATH\", \"taxii2+https://HOST/…/collections/ID\", \
                       \"misp+https://HOST/FOLDER/\", \"rpz://ADDRESS/ZONE\", or \"bundle://\"";

/// What holds for all feeds.
pub(super) struct Common {
    pub(super) proxy: Option<Proxy>,
    pub(super) bundle_keys: Vec<PublicKey>,
}

/// Takes the table `[fetch]`.
pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Common {
    let mut table = reader.sub_table(top, "fetch");
    let url = reader.take(&mut table, "proxy", None, proxy_url);
    let line = table.line_of("proxy_user");
    let user = reader.take(&mut table, "proxy_user", String::new(), words);
    let file = reader.take(&mut table, "proxy_password_file", PathBuf::new(), any_path);
    let bundle_keys = reader.take(
        &mut table,
        "bundle_keys",
        Vec::new(),
        list(parsed("a public key as `sachdns feed key` prints it", str::parse)),
    );
    reader.finish(table, &[]);
    let credentials = credentials(reader, "fetch.proxy_", line, user, file, PathBuf::new());
    Common { proxy: url.map(|url| Proxy { url, credentials }), bundle_keys }
}

/// What one feed's table says.
pub(super) struct Wish {
    source: Option<String>,
    line: usize,
    refresh: Option<Duration>,
    /// `None`: that of `[fetch]`.
    proxy: Option<Option<Url>>,
    ca: PathBuf,
    credentials: Option<Credentials>,
    max_size: u64,
    timeout: Duration,
    tsig: Option<Name>,
    /// A setting that is of use only by HTTP, and its line.
    of_http: Option<(&'static str, usize)>,
    line_of_tsig: usize,
}

/// Takes what a feed's table says of fetching.
pub(super) fn wish<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Wish {
    let line = table.line_of("source");
    let of_http = ["proxy", "ca", "user", "password_file", "token_file"];
    let lines = of_http.map(|key| table.line_of(key));
    let source = reader.required(table, "source", "source = \"zones/authority.txt\"", some_text);
    let refresh = reader.optional(table, "refresh", duration);
    let proxy = reader.take(table, "proxy", None, |value| match text(value)? {
        "common" => Ok(None),
        _ => proxy_url(value).map(Some),
    });
    let ca = reader.take(table, "ca", PathBuf::new(), any_path);
    let user = reader.take(table, "user", String::new(), words);
    let password = reader.take(table, "password_file", PathBuf::new(), any_path);
    let token = reader.take(table, "token_file", PathBuf::new(), any_path);
    let max_size = reader.take(table, "max_size", crate::feed::MAX_SIZE, size);
    let timeout = reader.take(table, "timeout", TIMEOUT, duration);
    let line_of_tsig = table.line_of("tsig");
    let tsig = reader.take(table, "tsig", None, |value| match text(value)? {
        "" => Ok(None),
        _ => parsed("the name of a [[tsig_key]]", Name::from_host)(value).map(Some),
    });
    let is_set = [
        proxy.is_some(),
        ca != PathBuf::new(),
        !user.is_empty(),
        password != PathBuf::new(),
        token != PathBuf::new(),
    ];
    let of_http = is_set.iter().position(|&is_set| is_set).map(|at| (of_http[at], lines[at]));
    let credentials = credentials(reader, "feed.", lines[2].max(lines[4]), user, password, token);
    Wish { source, line, refresh, proxy, ca, credentials, max_size, timeout, tsig, of_http, line_of_tsig }
}

impl Wish {
    /// Where the feed comes from, and who is asked for it; `None` where that is a fault.
    pub(super) fn fulfil(
        self,
        reader: &mut Reader<'_>,
        name: &str,
        keys: &[Key],
        common: &Common,
    ) -> Option<(Origin, Option<Remote>)> {
        let source = self.source.clone()?;
        let Some((scheme, rest)) = source.split_once("://") else {
            self.refuse_http(reader, "a file is not asked for by HTTP");
            return Some((Origin::File(PathBuf::from(source)), None));
        };
        let publisher = match scheme {
            "bundle" if rest.is_empty() => {
                self.refuse_http(reader, "bundles are not asked for by HTTP");
                return Some((Origin::Fetched(source), None));
            }
            "rpz" => {
                self.refuse_http(reader, "a zone is not asked for by HTTP");
                self.primary(rest, keys).map(Publisher::Zone)
            }
            "http" | "https" => self.url(&source).map(|url| Publisher::Http(url, self.options(common))),
            "taxii2+http" | "taxii2+https" => self
                .url(source.trim_start_matches("taxii2+"))
                .map(|url| Publisher::Taxii(url, self.options(common))),
            "misp+http" | "misp+https" => self
                .url(source.trim_start_matches("misp+"))
                .map(|url| Publisher::Misp(url, self.options(common))),
            other => Err(format!("{other:?} is no way to fetch a feed")),
        };
        if self.tsig.is_some() && scheme != "rpz" {
            let why = "only transfers of zones are signed".to_owned();
            let expected = "it for a source \"rpz://…\", or take it out";
            reader.fault(
                self.line_of_tsig,
                "feed.tsig",
                Problem::Value { got: "tsig".to_owned(), why, expected },
            );
        }
        match publisher {
            Ok(publisher) => {
                self.check_files(reader);
                let origin = Origin::Fetched(publisher.to_string());
                Some((origin, Some(Remote { name: name.into(), publisher, refresh: self.refresh })))
            }
            Err(why) => {
                let got = shown(&source);
                reader.fault(self.line, "feed.source", Problem::Value { got, why, expected: SOURCES });
                None
            }
        }
    }

    fn refuse_http(&self, reader: &mut Reader<'_>, why: &str) {
        if let Some((key, line)) = self.of_http {
            let (got, why, expected) = (key.to_owned(), why.to_owned(), "it for a URL only, or take it out");
            reader.fault(line, &format!("feed.{key}"), Problem::Value { got, why, expected });
        }
    }

    fn url(&self, text: &str) -> Result<Url, String> {
        let url: Url = text.parse().map_err(|error: url::ParseError| error.to_string())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("secrets stand in files: take it out, and set user and password_file, or token_file"
                .to_owned());
        }
        Ok(url)
    }

    fn options(&self, common: &Common) -> http::Options {
        let proxy = match &self.proxy {
            None => common.proxy.clone(),
            Some(url) => url.clone().map(|url| Proxy { url, credentials: None }),
        };
        http::Options {
            proxy,
            ca: (self.ca != PathBuf::new()).then(|| self.ca.clone()),
            credentials: self.credentials.clone(),
            max_size: self.max_size,
            timeout: self.timeout,
        }
    }

    fn primary(&self, rest: &str, keys: &[Key]) -> Result<Primary, String> {
        let (address, zone) = rest.split_once('/').ok_or("it has no zone behind the address")?;
        let address = match address.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, 53),
            Err(_) => {
                address.parse().map_err(|_| "names of primaries are not looked up: write an address")?
            }
        };
        let zone = Name::from_presentation(zone.trim_end_matches('/')).map_err(|error| error.to_string())?;
        let key = match &self.tsig {
            None => None,
            Some(name) => match keys.iter().find(|key| key.name() == name) {
                Some(key) => Some(key.clone()),
                None => {
                    return Err(format!(
                        "no [[tsig_key]] has the name {name} that its tsig says, or it has a fault"
                    ));
                }
            },
        };
        let (max_size, timeout) = (self.max_size, self.timeout);
        Ok(Primary { address, zone, key, max_size, timeout })
    }

    fn check_files(&self, reader: &mut Reader<'_>) {
        if self.ca != PathBuf::new()
            && let Err(error) = std::fs::File::open(&self.ca)
        {
            let problem = Problem::File { path: self.ca.clone(), why: error.to_string() };
            reader.fault(self.line, "feed.ca", problem);
        }
    }
}

/// Who we are; a file of a secret must be readable.
fn credentials(
    reader: &mut Reader<'_>,
    prefix: &str,
    line: usize,
    user: String,
    password: PathBuf,
    token: PathBuf,
) -> Option<Credentials> {
    let nothing = PathBuf::new();
    let credentials = match (user.is_empty(), password == nothing, token == nothing) {
        (true, true, true) => return None,
        (false, false, true) => Credentials::Password { user, file: password },
        (true, true, false) => Credentials::Token { file: token },
        _ => {
            let example = if prefix == "feed." {
                "user = \"NAME\" and password_file = \"FILE\", or token_file = \"FILE\" alone"
            } else {
                "proxy_user = \"NAME\" and proxy_password_file = \"FILE\""
            };
            reader.fault(line, &format!("{prefix}user"), Problem::Missing(example));
            return None;
        }
    };
    if let Err(error) = read_secret(credentials.file()) {
        let key =
            if matches!(credentials, Credentials::Token { .. }) { "token_file" } else { "password_file" };
        let problem = Problem::File { path: credentials.file().to_owned(), why: error.to_string() };
        reader.fault(line, &format!("{prefix}{key}"), problem);
    }
    Some(credentials)
}

/// A proxy's URL, or nothing.
pub(super) fn proxy_url(value: Value<'_>) -> Result<Option<Url>, Problem> {
    let expected = "\"http://HOST:PORT\", or \"\" for none";
    let got = text(value)?;
    if got.is_empty() {
        return Ok(None);
    }
    let wrong = |why: &str| Problem::Value { got: "…".to_owned(), why: why.to_owned(), expected };
    let url: Url = got.parse().map_err(|_| wrong("no URL"))?;
    if url.scheme() != "http" || !url.has_host() {
        return Err(wrong("proxies are spoken to by http"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("secrets stand in files: set fetch.proxy_user and proxy_password_file"));
    }
    Ok(Some(url))
}

fn words(value: Value<'_>) -> Result<String, Problem> {
    text(value).map(str::to_owned)
}

/// A path, or `""` for none.
fn any_path(value: Value<'_>) -> Result<PathBuf, Problem> {
    text(value).map(PathBuf::from)
}

/// The host of a source, where it is a name.
pub(super) fn host(source: &str) -> Option<Name> {
    let (scheme, _) = source.split_once("://")?;
    if !scheme.ends_with("http") && !scheme.ends_with("https") {
        return None;
    }
    let url: Url = source.trim_start_matches("taxii2+").trim_start_matches("misp+").parse().ok()?;
    url.domain().and_then(|domain| Name::from_host(domain).ok())
}
