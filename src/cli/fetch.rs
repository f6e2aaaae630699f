//! `sachdns feed fetch`, `key`, `bundle` and `import`

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::{CliError, ConfigArg};
use crate::config::Config;
use crate::daemon::{self, DaemonError};
use crate::feed::source::Origin;
use crate::feed::store::{Arrival, Staged};
use crate::fetch::bundle::{self, Bundle, BundleError, SecretKey, Taken};
use crate::fetch::run::{News, run as fetch_one};
use crate::fetch::transfer::Kind;
use crate::{clock, fetch};

#[derive(Debug, Args)]
pub(super) struct Fetch {
    #[command(flatten)]
    config: ConfigArg,
    /// Only these feeds; all that are fetched otherwise.
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Key {
    /// Where the secret key goes; the public one goes beside it, as FILE.pub. Nothing is overwritten.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct MakeBundle {
    #[command(flatten)]
    config: ConfigArg,
    /// The secret key, as `sachdns feed key` made it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the bundle goes.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Only these feeds; all that have an accepted version otherwise.
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    config: ConfigArg,
    /// Take it though a newer one, or this one, was taken before.
    #[arg(long)]
    older: bool,
    /// The bundle.
    file: PathBuf,
}

/// Fetches feeds now, whether a server runs or not.
pub(super) fn fetch(arguments: &Fetch) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let known: Vec<&str> = config.remotes.iter().map(|remote| &*remote.name).collect();
    check_names(&arguments.names, &known, "is fetched")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut is_news, mut failed) = (false, Vec::new());
    for remote in config.remotes.iter().filter(|it| is_wanted(&arguments.names, &it.name)) {
        let report = runtime.block_on(fetch_one(remote, &config.versions));
        let line = match report.result {
            Ok(fetch::run::Fetched { news, missing }) => {
                if let Some((count, why)) = missing {
                    eprintln!("{}: {count} events could not be had: {why}", remote.name);
                    failed.push(remote.name.to_string());
                }
                is_news |= matches!(news, News::Version(Staged::Candidate(_), _));
                said(news)
            }
            Err(error) => {
                eprintln!("{}: {error}", remote.name);
                failed.push(remote.name.to_string());
                continue;
            }
        };
        writeln!(io::stdout(), "{}: {line}", remote.name)?;
    }
    // What is waited for may be long: a server's threads are not ours to end.
    runtime.shutdown_background();
    if is_news {
        reload(&config)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(CliError::NotFetched { feeds: failed.join(", ") }) }
}

fn said(news: News) -> String {
    match news {
        News::None => "nothing new".to_owned(),
        News::Version(staged, by) => {
            let by = match by {
                Some(Kind::Differences) => " (IXFR)",
                Some(Kind::Whole) => " (AXFR)",
                None => "",
            };
            match staged {
                Staged::Candidate(digest) => format!("a new version, {}{by}", digest.short()),
                Staged::Unchanged(digest) => format!("the version in force, {}{by}", digest.short()),
                Staged::Known(digest) => format!("a version that was refused before, {}{by}", digest.short()),
            }
        }
    }
}

fn is_wanted(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|wanted| wanted == name)
}

fn check_names(names: &[String], known: &[&str], what: &'static str) -> Result<(), CliError> {
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(CliError::NoSuchFeed { name: name.clone(), what, known: known.join(", ") }),
        None => Ok(()),
    }
}

/// Has the running server take what is in the store; without one, the next start does.
fn reload(config: &Config) -> Result<(), CliError> {
    match daemon::ask_to_reload(&config.data_dir) {
        Ok(line) => writeln!(io::stdout(), "{line}")?,
        Err(DaemonError::NotRunning { .. }) => {
            writeln!(io::stdout(), "no server runs with this data_dir: its next start takes what is new")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Makes a pair of keys.
pub(super) fn key(arguments: &Key) -> Result<(), CliError> {
    let (pem, public) = SecretKey::generate()?;
    let path = &arguments.output;
    let mut public_path = path.clone().into_os_string();
    public_path.push(".pub");
    write_new(path, 0o600, pem.as_bytes())?;
    write_new(Path::new(&public_path), 0o644, format!("{public}\n").as_bytes())?;
    writeln!(
        io::stdout(),
        "For the configuration of servers that import:\n[fetch]\nbundle_keys = [\"{public}\"]"
    )?;
    Ok(())
}

fn write_new(path: &Path, mode: u32, content: &[u8]) -> Result<(), CliError> {
    let written = File::options().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|source| CliError::Open { path: path.to_owned(), source })
}

/// Puts the accepted versions of feeds into a bundle.
pub(super) fn bundle(arguments: &MakeBundle) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let known: Vec<&str> = config.feeds.iter().map(|feed| &*feed.name).collect();
    check_names(&arguments.names, &known, "is configured")?;
    let pem =
        fs::read(&arguments.key).map_err(|source| CliError::Open { path: arguments.key.clone(), source })?;
    let of_key = |source| CliError::Bundle { path: arguments.key.clone(), source };
    let key = SecretKey::from_pem(&pem).map_err(of_key)?;
    let mut versions = Vec::new();
    for feed in config.feeds.iter().filter(|feed| is_wanted(&arguments.names, &feed.name)) {
        let folder = config.versions.feed(&feed.name);
        match folder.state()?.accepted {
            Some(accepted) => {
                let file = folder.open(accepted.version.digest)?;
                versions.push((feed.name.to_string(), accepted.version, file));
            }
            None => eprintln!("warning: {}: no version of it was accepted yet; it is left out", feed.name),
        }
    }
    let count = versions.len();
    let path = &arguments.output;
    let failed = |source: BundleError| CliError::Bundle { path: path.clone(), source };
    let new = path.with_extension("new");
    let written = File::create(&new).map_err(BundleError::from).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 18, file);
        bundle::write(&mut out, &key, clock::now(), versions)?;
        out.flush()?;
        out.get_ref().sync_all()?;
        fs::rename(&new, path)?;
        Ok(())
    });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.map_err(failed)?;
    writeln!(io::stdout(), "{}: {count} feeds, signed by {}", path.display(), key.public())?;
    Ok(())
}

/// Puts the versions of a bundle into the store, where the gate judges them as any other.
pub(super) fn import(arguments: &Import) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let path = &arguments.file;
    let failed = |source| CliError::Bundle { path: path.clone(), source };
    let mut bundle = Bundle::open(path, &config.bundle_keys).map_err(failed)?;
    let place = Taken::path(&config.data_dir);
    let of_taken = |source| CliError::Open { path: place.clone(), source };
    fs::create_dir_all(&config.data_dir).map_err(of_taken)?;
    let waits = || eprintln!("another import is under way; this one goes on when it has ended");
    let _turn = Taken::turn(&config.data_dir, waits).map_err(of_taken)?;
    let mut taken = Taken::load(&config.data_dir).map_err(of_taken)?;
    if let Some(last) = taken.last(bundle.maker).filter(|last| *last >= bundle.made_at && !arguments.older) {
        let (made_at, last) = (time(bundle.made_at), time(last));
        return Err(CliError::OldBundle { path: path.clone(), made_at, last });
    }
    let mut is_news = false;
    while let Some((entry, mut content)) = bundle.next_feed() {
        let line = match config.feeds.iter().find(|feed| *feed.name == *entry.name) {
            // Read all the same: the next feed stands behind it.
            None => {
                io::copy(&mut content, &mut io::sink()).map_err(|error| failed(error.into()))?;
                "not configured here, left out".to_owned()
            }
            Some(feed) if matches!(feed.origin, Origin::File(_)) => {
                io::copy(&mut content, &mut io::sink()).map_err(|error| failed(error.into()))?;
                "read from a file here, left out; set its source to \"bundle://\" to take it from bundles"
                    .to_owned()
            }
            Some(feed) => {
                let folder = config.versions.feed(&feed.name);
                let origin = format!("{} by way of {}", entry.origin, path.display());
                let arrival = Arrival { origin, now: clock::now(), ..Arrival::default() };
                let staged = folder.stage(content, arrival)?;
                is_news |= matches!(staged, Staged::Candidate(_));
                said(News::Version(staged, None))
            }
        };
        writeln!(io::stdout(), "{}: {line}", entry.name)?;
    }
    let made_at = bundle.made_at.max(taken.last(bundle.maker).unwrap_or(i64::MIN));
    taken.put(&config.data_dir, bundle.maker, made_at).map_err(of_taken)?;
    if is_news { reload(&config) } else { Ok(()) }
}

fn time(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| micros.to_string(), |time| format!("{time:.0}"))
}
