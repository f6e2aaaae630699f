//! `sachdns hunt`

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use url::{Host, Url};

mod summary;

use super::log::filters::Filters;
use super::log::print;
use super::log::printer::Form;
use super::{CliError, ConfigArg};
use crate::clock;
use crate::evidence::store::names::{Gathering, Label, Reach};
use crate::evidence::store::{Filter, Page};
use crate::feed::{self, Diagnostic, Format, Indicator, Reading, Sink, Value};
use crate::name::{self, Name};
use crate::policy::trigger::Scope;

/// How far back is searched unless something else is asked for.
const SINCE: i64 = 90 * 86_400 * 1_000_000;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// What to look for: a file of names (each with all below it), addresses and networks, one a line, or in any format of feeds; of
    /// URLs their host alone. `-` is standard input.
    #[arg(long, value_name = "FILE", required = true)]
    names: Vec<PathBuf>,
    /// The files' format.
    #[arg(long = "names-format", value_name = "FORMAT", default_value = "auto")]
    names_format: Format,
    #[command(flatten)]
    filters: Filters,
    /// Who asked for what, instead of each query: from when to when and how often, also where the queries are gone.
    #[arg(long, conflicts_with = "limit")]
    summary: bool,
    /// At most this many, the newest.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Form::Table)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let mut gathered =
        Gathered { gathering: Gathering::default(), path: String::new(), urls: 0, hostless: 0 };
    for path in &arguments.names {
        let file: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(path);
            Box::new(opened.map_err(|source| CliError::Open { path: path.clone(), source })?)
        };
        gathered.path = path.display().to_string();
        let reading = Reading { format: arguments.names_format, now: clock::now(), ..Reading::default() };
        feed::parse(file, &reading, &mut gathered)
            .map_err(|source| CliError::Feed { path: path.clone(), source })?;
    }
    if gathered.urls > 0 {
        let urls = gathered.urls;
        eprintln!(
            "note: of {urls} URLs the host alone is looked for: the log knows names and addresses only"
        );
    }
    if gathered.hostless > 0 {
        eprintln!("note: {} URLs have no host that the log could know", gathered.hostless);
    }
    let needles = gathered.gathering.finish();
    if needles.is_empty() {
        return Err(CliError::NoNames);
    }
    let mut filter = arguments.filters.filter(&config, "hunt")?;
    filter.since = filter.since.or_else(|| Some(clock::now().saturating_sub(SINCE)));
    let indicators = needles.len();
    let needles = Arc::new(needles);
    let filter = Filter { sought: Some(Arc::clone(&needles)), ..filter };
    if arguments.summary {
        return summary::print(&*arguments.filters.store(&config), &filter, &needles, arguments.format);
    }
    let page = Page { limit: arguments.limit, after: None };
    let found = print(&*arguments.filters.store(&config), &config, &filter, page, arguments.format)?;
    eprintln!("{found} queries met one of {indicators} names, addresses or networks");
    Ok(())
}

/// What feeds list, as what is looked for.
struct Gathered {
    gathering: Gathering,
    path: String,
    /// URLs of which the host is looked for …
    urls: u64,
    /// … and those that have none.
    hostless: u64,
}

impl Gathered {
    fn url(&mut self, text: &str, label: &Label) {
        match host(text) {
            Some(Host::Ipv4(address)) => self.gathering.add_net(IpAddr::from(address).into(), label),
            Some(Host::Ipv6(address)) => self.gathering.add_net(IpAddr::from(address).into(), label),
            Some(Host::Domain(text)) if let Ok(name) = Name::from_host(&text) => {
                self.gathering.add_name(name::Key::from(&name).as_bytes(), Reach::Exact, label);
            }
            _ => {
                self.hostless += 1;
                return;
            }
        }
        self.urls += 1;
    }
}

/// The host of a URL, which need not have a scheme.
fn host(text: &str) -> Option<Host> {
    let host = |text: &str| Some(Url::parse(text).ok()?.host()?.to_owned());
    if text.contains("://") { host(text) } else { host(&format!("http://{text}")) }
}

impl Sink for Gathered {
    fn indicator(&mut self, indicator: Indicator) {
        let label = Label { family: indicator.family, ..Label::default() };
        match indicator.value {
            Value::Name(name, scope) => {
                let reach = match scope {
                    Scope::Exact => Reach::Exact,
                    Scope::Subtree => Reach::Subtree,
                    Scope::Below => Reach::Below,
                };
                self.gathering.add_name(name::Key::from(&name).as_bytes(), reach, &label);
            }
            Value::Ip(address) => self.gathering.add_net(address.into(), &label),
            Value::Net(net) => self.gathering.add_net(net, &label),
            Value::Url(text) => self.url(&text, &label),
        }
    }

    fn diagnostic(&mut self, diagnostic: Diagnostic) {
        // Standard error may be closed; what is found matters more.
        let _ = writeln!(io::stderr(), "{}:{diagnostic}", self.path);
    }
}
