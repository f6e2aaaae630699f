//! How many queries and connections the system's limit of open files allows.
//!
//! Lowers what is configured to that, and says so; nothing is opened here.

use super::DaemonError;
use crate::config::Config;
use crate::resolve::pool;

/// Fewer queries or connections than this at once are no service.
const LEAST_OF_EACH: usize = 16;
/// Descriptors for listeners, journals, the image and what the runtime needs.
const OTHER_FILES: usize = 256;
/// Open databases: the cases' three (who writes, who reads, who tells), the machines' three (who follows leases, cases, the landing page),
/// and of contacts and the log's catalogue one each for who writes and who reads …
const DATABASES: usize = 10;
/// … each with its file, its write-ahead log and what those who have it open share.
const FILES_OF_A_DATABASE: usize = 3;

/// What the system's limit of open files, raised as far as it goes, allows of what is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Affordable {
    /// Queries that wait at once.
    pub(super) pending: usize,
    pub(super) tcp_connections: usize,
    pub(super) http_connections: usize,
    pub(super) sinkhole_connections: usize,
}

impl Affordable {
    /// The scarcest of what is no service without.
    fn least(&self) -> usize {
        self.pending.min(self.tcp_connections).min(self.http_connections).min(self.sinkhole_connections)
    }
}

/// What `files` open files allow of the wanted; `None` when that is too little to serve with. What the log,
/// the image and the workers need comes first, then half of the rest is for queries.
fn afford(wanted: Affordable, files: usize, workers: usize, a_query: usize) -> Option<Affordable> {
    let rest =
        files.checked_sub(OTHER_FILES + DATABASES * FILES_OF_A_DATABASE + workers * pool::MOST_PORTS)?;
    let connections = wanted.tcp_connections + wanted.http_connections + wanted.sinkhole_connections;
    // Connections give way down to half of the rest before queries do.
    let for_connections = rest.saturating_sub(wanted.pending * a_query).max(rest / 2).min(connections);
    let share = |wanted: usize| wanted * for_connections / connections.max(1);
    let affordable = Affordable {
        pending: ((rest - for_connections) / a_query).min(wanted.pending),
        tcp_connections: share(wanted.tcp_connections),
        http_connections: share(wanted.http_connections),
        sinkhole_connections: share(wanted.sinkhole_connections),
    };
    let least = affordable.least();
    let least_wanted = wanted.least();
    (least >= LEAST_OF_EACH.min(least_wanted)).then_some(affordable)
}

pub(super) fn affordable(config: &Config, a_query: usize) -> Result<Affordable, DaemonError> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let wanted = Affordable {
        pending: config.limits.waiting.pending,
        tcp_connections: config.limits.tcp_connections,
        http_connections: config.http.connections,
        sinkhole_connections: config.watch.ports.connections,
    };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let Some(files) = getrlimit(Resource::Nofile).current else { return Ok(wanted) };
    let transports = &config.server.transports;
    let listeners = transports.tls.len() + transports.https.len() + transports.quic.len();
    let ports = &config.watch.ports;
    let listeners = listeners + ports.https.len() + ports.tcp.len() + ports.udp.len();
    let files = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(listeners);
    let workers = config.server.listen.len() * config.server.workers;
    let affordable = afford(wanted, files, workers, a_query).ok_or(DaemonError::Files { files })?;
    if affordable != wanted {
        tracing::warn!(
            files,
            pending = affordable.pending,
            tcp_connections = affordable.tcp_connections,
            http_connections = affordable.http_connections,
            sinkhole_connections = affordable.sinkhole_connections,
            "[limits] are lowered to what the limit of open files allows; raise it (ulimit -n, LimitNOFILE=)"
        );
    }
    Ok(affordable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_shared_out_and_too_few_are_an_error() {
        fn check(files: usize, expected: Option<[usize; 4]>) {
            let wanted = Affordable {
                pending: 10_000,
                tcp_connections: 1024,
                http_connections: 512,
                sinkhole_connections: 512,
            };
            let got = afford(wanted, files, 2, 2);
            let got = got.map(|got| {
                [got.pending, got.tcp_connections, got.http_connections, got.sinkhole_connections]
            });
            assert_eq!(got, expected, "{files} files");
        }
        check(1_000_000, Some([10_000, 1024, 512, 512]));
        check(20_000, Some([8769, 1024, 512, 512]));
        check(4096, Some([920, 920, 460, 460]));
        check(1024, Some([152, 152, 76, 76]));
        check(300, None);
        check(0, None);
    }
}
