//! The control socket: how commands reach the running server.
//!
//! A Unix socket in the data folder. The client sends one line, `reload` (the configuration and all feeds),
//! `refresh` (versions of feeds that the store has) or `rules` (analysts' rules); the server answers `ok` or `error`,
//! a space and a text, and closes.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::{DaemonError, Reloader, folder_error};

const NAME: &str = "control.sock";
/// Read the configuration and all feeds again.
const RELOAD: &str = "reload\n";
/// Put in force what the store of versions has.
const REFRESH: &str = "refresh\n";
/// Read analysts' rules again, and nothing else.
const RULES: &str = "rules\n";
/// No request is longer.
const LONGEST: u64 = 64;
/// Clients that are talked to at once.
const MOST: usize = 16;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket's path by way of its open folder: a Unix socket's path has at most 107 octets, and a
/// data folder's may be longer.
fn short_path(folder: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()))
}

pub(super) fn bind(data_dir: &Path) -> Result<UnixListener, DaemonError> {
    let path = data_dir.join(NAME);
    // The data folder is locked: an old socket belongs to a process that is gone.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(folder_error(&path)(error)),
        _ => {}
    }
    let folder = File::open(data_dir).map_err(folder_error(data_dir))?;
    let listener = UnixListener::bind(short_path(&folder)).map_err(folder_error(&path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(folder_error(&path))?;
    Ok(listener)
}

pub(super) async fn run(listener: UnixListener, reloader: Reloader) {
    let mut clients = JoinSet::new();
    loop {
        match listener.accept().await {
            // Reloads wait for each other. Rules wait for none: an analyst's block is live at once.
            Ok((stream, _)) => {
                while clients.len() >= MOST {
                    clients.join_next().await;
                }
                let reloader = reloader.clone();
                clients.spawn(async move {
                    if let Err(error) = serve(stream, &reloader).await {
                        tracing::debug!(%error, "the control socket");
                    }
                });
                while clients.try_join_next().is_some() {}
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, reloader: &Reloader) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut request = String::new();
    let mut reader = BufReader::new(reading.take(LONGEST));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut request)).await??;
    let done = match &*request {
        RELOAD => reloader.reload().await,
        REFRESH => reloader.refresh().await.map(|line| line.unwrap_or("nothing is new".to_owned())),
        RULES => reloader.rules.renew().await.map_err(|error| error.to_string()),
        _ => Err("unknown request".to_owned()),
    };
    let answer = match done {
        Ok(line) => format!("ok {line}"),
        Err(why) => format!("error {why}"),
    };
    tokio::time::timeout(PATIENCE, writing.write_all(answer.as_bytes())).await?
}

/// Asks the server that uses `data_dir` to put analysts' rules in force as they are now, and waits until it
/// has; returns what it says.
///
/// # Errors
/// As [`ask_to_reload`].
pub fn ask_for_rules(data_dir: &Path) -> Result<String, DaemonError> {
    ask(data_dir, RULES)
}

/// Asks the server that uses `data_dir` to reload, and waits until it has; returns what it says.
///
/// # Errors
/// [`DaemonError::NotRunning`] and [`DaemonError::Refused`].
pub fn ask_to_reload(data_dir: &Path) -> Result<String, DaemonError> {
    ask(data_dir, RELOAD)
}

/// Asks the server that uses `data_dir` to put in force what the store of versions has, and waits until it has;
/// returns what it says.
///
/// # Errors
/// [`DaemonError::NotRunning`] and [`DaemonError::Refused`].
pub fn ask_to_refresh(data_dir: &Path) -> Result<String, DaemonError> {
    ask(data_dir, REFRESH)
}

fn ask(data_dir: &Path, request: &str) -> Result<String, DaemonError> {
    let not_running = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => DaemonError::NotAllowed { path: data_dir.join(NAME), source },
        _ => DaemonError::NotRunning { path: data_dir.join(NAME), source },
    };
    let folder = File::open(data_dir).map_err(not_running)?;
    let mut stream = BlockingStream::connect(short_path(&folder)).map_err(not_running)?;
    let mut answer = String::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(not_running)?;
    match answer.split_once(' ') {
        Some(("ok", line)) => Ok(line.to_owned()),
        Some(("error", why)) => Err(DaemonError::Refused(why.to_owned())),
        _ => Err(DaemonError::Refused("the server stopped before it had done that".to_owned())),
    }
}
