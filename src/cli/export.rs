//! `sachdns policy export`

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::{CliError, ConfigArg, absolute};
use crate::clock;
use crate::config::Config;
use crate::daemon::{DaemonError, RulesError};
use crate::image::{self, Image, ImageError};
use crate::policy::layers::Own;
use crate::publish::content::Content;
use crate::publish::list::{self, Format, Kind, Request, Summary};
use crate::publish::rpz::Sinkholed;
use crate::publish::select::Feeds;
use crate::rules::history::History;
use crate::serve::rulebook::withheld;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// plain, nftables, mikrotik, rpz, edl (Palo Alto, Fortinet and others) or suricata.
    #[arg(long)]
    format: Format,
    /// addresses, names or all; without it what the format is for.
    #[arg(long)]
    kind: Option<Kind>,
    /// Only what this feed lists; may be repeated.
    #[arg(long, value_name = "NAME")]
    feed: Vec<String>,
    /// What applies to this agency; without it, only what applies to everybody.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// What a zone says of sinkholed names: addresses (the sinkhole's), nxdomain, nodata or cname:NAME.
    #[arg(long, value_name = "WHAT", value_parser = sinkholed)]
    sinkhole: Option<Told>,
    /// Leave out what is beyond this many entries: 131072 is what Fortinet reads of a list.
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Write to this file, whole or not at all; without it to standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone)]
enum Told {
    Addresses,
    Other(Sinkholed),
}

fn sinkholed(text: &str) -> Result<Told, String> {
    match text {
        "addresses" => Ok(Told::Addresses),
        text => text
            .parse()
            .map(Told::Other)
            .map_err(|error: crate::publish::rpz::SinkholedError| error.to_string()),
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let format = arguments.format;
    let kind = arguments.kind.unwrap_or(format.usual_kind());
    if !format.takes(kind) {
        return Err(CliError::Kind { format, kind: kind.as_str() });
    }
    let agency = match &arguments.agency {
        None => None,
        Some(id) => match config.agencies.iter().find(|agency| *agency.id == **id) {
            Some(agency) => Some(Arc::clone(&agency.id)),
            None => return Err(CliError::NoAgency { id: id.clone() }),
        },
    };
    let image = Arc::new(open(&config)?);
    let own = own_rules(&config).map_err(DaemonError::from)?.map(Arc::new);
    let withheld = withheld(&config.reaches, agency.as_deref());
    let content = Content::new(Arc::clone(&image), own, agency, withheld);
    if let Some(unknown) = arguments.feed.iter().find(|name| !content.knows(name)) {
        let known =
            image.index.provenance().feeds.iter().map(|feed| &*feed.name).collect::<Vec<_>>().join(", ");
        return Err(CliError::NoFeed { name: unknown.clone(), known });
    }
    let sinkholed = match &arguments.sinkhole {
        None | Some(Told::Addresses) => config.sinkholed(),
        Some(Told::Other(other)) => other.clone(),
    };
    let never = config.never_blocked();
    let request = Request {
        format,
        kind,
        feeds: match (&*arguments.feed, format) {
            ([], Format::Rpz) => Feeds::All,
            ([], _) => Feeds::Threats,
            (named, _) => Feeds::Named(named),
        },
        never: &never,
        sinkholed: &sinkholed,
        ttl: config.sinkhole.ttl,
        limit: arguments.limit,
    };
    let mut progress = Progress { is_shown: io::stderr().is_terminal(), tenth: 0 };
    let summary = match &arguments.output {
        None => {
            let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
            let summary =
                list::write(&content, &request, &mut out, |done, total| progress.tell(done, total))?;
            out.flush()?;
            summary
        }
        Some(path) => write_file(path, |out| {
            list::write(&content, &request, out, |done, total| progress.tell(done, total))
        })?,
    };
    tell(&summary);
    Ok(())
}

/// Analysts' rules that are in force.
fn own_rules(config: &Config) -> Result<Option<Own>, RulesError> {
    Ok(History::new(&config.data_dir).read()?.book.own(clock::now())?)
}

const BUFFER: usize = 64 << 10;

/// What is in the list is told beside it: not every format has room for that.
fn tell(summary: &Summary) {
    let Summary { networks, names, unsaid, cut, few } = summary;
    eprintln!("{networks} addresses and networks, {names} names");
    if *unsaid > 0 {
        eprintln!(
            "left out: {unsaid} rules that this format cannot say (exceptions, only what is below a name)"
        );
    }
    if !few.is_empty() {
        eprintln!("left out, as it is not for everybody here: {few}; --agency ID takes what applies to one");
    }
    if *cut > 0 {
        eprintln!("LEFT OUT: {cut} entries beyond --limit; name fewer feeds with --feed");
    }
}

fn open(config: &Config) -> Result<Image, CliError> {
    let path = config.image_path();
    image::open(&path).map_err(|error| match error {
        ImageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            CliError::NoImage { path: absolute(&path) }
        }
        error => error.into(),
    })
}

/// Writes beside the file and puts it in its place: whoever reads it meanwhile has the old one.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<Summary>,
) -> Result<Summary, CliError> {
    let failed = |source| CliError::Open { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let beside = path.with_file_name(name);
    let written = File::create(&beside).and_then(|file| {
        let mut out = BufWriter::with_capacity(BUFFER, file);
        let summary = write(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&beside, path)?;
        Ok(summary)
    });
    if written.is_err() {
        // It may not be there; what went wrong first is what matters.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(failed)
}

/// Tells each tenth to whoever watches.
struct Progress {
    is_shown: bool,
    tenth: u64,
}

impl Progress {
    fn tell(&mut self, done: u64, total: u64) {
        let tenth = done * 10 / total.max(1);
        if self.is_shown && tenth > self.tenth && total > 100_000 {
            self.tenth = tenth;
            eprintln!("{done} of {total}");
        }
    }
}
