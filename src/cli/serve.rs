//! `sachdns serve`

use super::{CliError, ConfigArg};
use crate::daemon;

pub(super) fn run(arguments: &ConfigArg) -> Result<(), CliError> {
    let config = arguments.load()?;
    super::diagnose(config.diagnostics);
    daemon::run(config, |listening| {
        let kinds = [
            ("dns", &listening.dns),
            ("tls", &listening.tls),
            ("https", &listening.https),
            ("quic", &listening.quic),
            ("http", &listening.http),
            ("export", &listening.lists),
        ];
        for (kind, addresses) in kinds {
            for address in addresses {
                eprintln!("listening {kind} {address}");
            }
        }
        eprintln!("ready");
    })?;
    Ok(())
}
