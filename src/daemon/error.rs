//! Why the daemon does not start, or a reload changes nothing.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::rules::RulesError;
use super::zones::ZoneErrors;
use crate::config::Faults;
use crate::console::account::AccountsError;
use crate::evidence::contacts::ContactsError;
use crate::identity::BookError;
use crate::update::UpdateError;

/// Why the daemon does not start, or a reload changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Faults),
    /// There is no policy to serve.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// A local zone cannot be read.
    #[error(transparent)]
    Zones(#[from] ZoneErrors),
    /// Analysts' rules cannot be read.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// What the sinkhole saw cannot be kept.
    #[error(transparent)]
    Contacts(#[from] ContactsError),
    /// Machines and their addresses cannot be kept.
    #[error("{0}; move it away if it is damaged: the files of [[identity]] are read again")]
    Book(#[from] BookError),
    /// Accounts of the console cannot be kept.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// An address cannot be used.
    #[error("{place}: {address}: {source}{mend}")]
    Bind {
        /// Which setting, in which line of which file.
        place: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
        /// What to do.
        mend: &'static str,
    },
    /// Another process uses the same data folder.
    #[error(
        "{path}: another sachdns (process {pid}) uses this data folder; stop it, or set another data_dir"
    )]
    Taken {
        /// The folder.
        path: PathBuf,
        /// The other process's id, as far as it said.
        pid: String,
    },
    /// A file or folder of the server's own cannot be used.
    #[error("{path}: {source}; data_dir must be a folder that the server may write")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// So few files may be open that next to nothing could be served.
    #[error(
        "at most {files} files may be open, too few to serve with; raise the limit (ulimit -n, LimitNOFILE=) to 4096 or \
         more, or lower limits.pending, tcp_connections, http_connections and sinkhole_connections"
    )]
    Files {
        /// The limit.
        files: usize,
    },
    /// The system has no threads, signals or sockets left.
    #[error("starting: {0}")]
    System(#[from] io::Error),
    /// No server answers on the control socket.
    #[error("{path}: no server is running with this data_dir ({source}); start it with `sachdns serve`")]
    NotRunning {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The control socket belongs to another user.
    #[error("{path}: {source}; run this as the user that the server runs as, or as root")]
    NotAllowed {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A listener's task ended by itself, which is a bug.
    #[error("a part of the server ended unexpectedly; start it again, and please report it")]
    PartEnded,
    /// The running server refused to reload.
    #[error("{0}")]
    Refused(String),
}

pub(super) fn folder_error(path: &Path) -> impl FnOnce(io::Error) -> DaemonError + '_ {
    move |source| DaemonError::Folder { path: path.to_owned(), source }
}
