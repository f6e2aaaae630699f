//! `sachdns serve`

use std::io::{self, Write as _};

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
            ("http", &listening.sinkhole.http),
            ("sinkhole-https", &listening.sinkhole.https),
            ("sinkhole-tcp", &listening.sinkhole.tcp),
            ("sinkhole-udp", &listening.sinkhole.udp),
            ("export", &listening.lists),
            ("console", &listening.console),
        ];
        for (kind, addresses) in kinds {
            for address in addresses {
                say(format_args!("listening {kind} {address}"));
            }
        }
        say(format_args!("ready"));
    })?;
    Ok(())
}

/// Tells who started the server, if he still listens: that nobody does is no reason to stop.
fn say(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{words}");
}
