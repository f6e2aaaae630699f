//! `sachdns check`

use std::io::Write as _;

use super::{CliError, ConfigArg};
use crate::update;
use crate::{clock, daemon};

pub(super) fn run(arguments: &ConfigArg) -> Result<(), CliError> {
    let config = arguments.load()?;
    daemon::check_feeds(&config)?;
    config.validation()?;
    config.sources()?;
    config.design()?;
    for concern in config.check_credentials()? {
        eprintln!("warning: {concern}");
    }
    daemon::check_zones(&config)?;
    let (_, reports) = update::compile(daemon::plan(&config), clock::now())?;
    let mut out = std::io::stdout().lock();
    if config.feeds.is_empty() {
        eprintln!("warning: no feed is configured: nothing is sinkholed; add [[feed]]");
    }
    super::policy::write_reports(&mut out, &reports)?;
    let troubled: Vec<&str> =
        reports.iter().filter(|it| !it.troubles.is_empty()).map(|report| &*report.name).collect();
    if !troubled.is_empty() {
        return Err(CliError::Troubled { feeds: troubled.join(", ") });
    }
    writeln!(
        out,
        "{}: good; feeds: {}, names in them: {}, agencies: {}, zones: {}",
        config.path.display(),
        config.feeds.len(),
        reports.iter().map(|report| report.names).sum::<u64>(),
        config.agencies.len(),
        config.zones.len()
    )?;
    Ok(())
}
