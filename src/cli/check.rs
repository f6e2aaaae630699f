//! `sachdns check`

use std::io::Write as _;

use super::{CliError, ConfigArg};
use crate::update::{self, Plan};
use crate::{clock, daemon};

pub(super) fn run(arguments: &ConfigArg) -> Result<(), CliError> {
    let config = arguments.load()?;
    config.check_feeds()?;
    config.validation()?;
    config.sources()?;
    for concern in config.check_credentials()? {
        eprintln!("warning: {concern}");
    }
    daemon::check_zones(&config)?;
    let (_, reports) =
        update::compile(Plan { canaries: &config.canaries, feeds: &config.feeds }, clock::now())?;
    let mut out = std::io::stdout().lock();
    if config.feeds.is_empty() {
        eprintln!("warning: no feed is configured: nothing is sinkholed; add [[feed]]");
    }
    super::policy::write_reports(&mut out, &reports)?;
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
