//! `sachdns explain`

mod print;

use std::io::{self, Write};
use std::net::IpAddr;

use clap::{Args, ValueEnum};

use super::{CliError, ConfigArg};
use crate::config::Config;
use crate::daemon::explain::{Places, Sources};
use crate::daemon::{self, DaemonError, RulesError};
use crate::explain::{Question, Story};
use crate::image::{self, ImageError};
use crate::name::{Name, NameError};
use crate::policy::index::Index;
use crate::rules::history::History;
use crate::{clock, update, wire};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// The name, in any case, with letters of any language, or with \DDD escapes.
    #[arg(value_parser = name)]
    name: Name,
    /// The record type.
    #[arg(long = "type", value_name = "TYPE", default_value = "A", value_parser = qtype)]
    qtype: u16,
    /// Also tell whether this client is answered, whose it is, and which rules are its own.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// A name that the answer's aliases lead to, in their order; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = name)]
    cname: Vec<Name>,
    /// An address in the answer; may be repeated.
    #[arg(long, value_name = "IP")]
    answer_ip: Vec<IpAddr>,
    /// A name server of the name's zones; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = name)]
    ns: Vec<Name>,
    /// An address of such a name server; may be repeated.
    #[arg(long, value_name = "IP")]
    ns_ip: Vec<IpAddr>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    Text,
    /// One JSON object a line: the question, each rule, the answer.
    Jsonl,
}

impl Arguments {
    fn question(&self) -> Question {
        Question {
            name: self.name.clone(),
            qtype: self.qtype,
            client: self.client,
            cname: self.cname.clone(),
            answer_ip: self.answer_ip.clone(),
            ns: self.ns.clone(),
            ns_ip: self.ns_ip.clone(),
        }
    }
}

pub(super) fn name(text: &str) -> Result<Name, NameError> {
    // Underscores, escapes and other octets are fine in a query's name.
    if text.is_ascii() { Name::from_presentation(text) } else { Name::from_host(text) }
}

fn qtype(text: &str) -> Result<u16, &'static str> {
    wire::type_number(text).ok_or("no such record type; write A, HTTPS, TYPE65 …")
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let mut out = io::stdout().lock();
    let plan = daemon::plan(&config);
    let path = config.image_path();
    match image::open(&path) {
        Ok(image) => {
            let image::Facts { built_at, name_count, fingerprint, .. } = image.facts;
            let basis =
                Basis::Image { built_at, name_count, is_current: update::is_current(plan, &fingerprint) };
            tell(&mut out, &config, arguments, &image.index, &basis)
        }
        Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let (compiled, _) = update::compile(plan, clock::now())?;
            let index = compiled.into_index().map_err(|source| ImageError::Index { path, source })?;
            tell(&mut out, &config, arguments, &index, &Basis::Feeds)
        }
        Err(error) => Err(error.into()),
    }
}

/// What is explained from.
enum Basis {
    /// The image on disk.
    Image { built_at: i64, name_count: u64, is_current: bool },
    /// The feeds as they are now: there is no image yet.
    Feeds,
}

fn tell<D: AsRef<[u8]>>(
    out: &mut impl Write,
    config: &Config,
    arguments: &Arguments,
    index: &Index<D>,
    basis: &Basis,
) -> Result<(), CliError> {
    let now = clock::now();
    let reading =
        History::new(&config.data_dir).read().map_err(RulesError::from).map_err(DaemonError::from)?;
    let own = reading.book.own(now).map_err(RulesError::from).map_err(DaemonError::from)?;
    let guard = daemon::guard(config)?;
    let sources = Sources { config, index, guard: &guard, own: own.as_ref(), book: &reading.book };
    let question = arguments.question();
    let story = daemon::explain::tell(&sources, &question, Places::Find, now);
    let printed = Printed { question: &question, basis, story: &story };
    match arguments.format {
        Form::Text => printed.write(out)?,
        Form::Jsonl => printed.write_lines(out)?,
    }
    Ok(())
}

/// A story, and what it is told of.
struct Printed<'a> {
    question: &'a Question,
    basis: &'a Basis,
    story: &'a Story,
}
