//! sachdns as it is measured: the binary, and a configuration that sets what a bench must and leaves all
//! else at its default.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::measure::Reload;
use crate::process::{Process, Trouble};

const BINARY: &str = env!("CARGO_BIN_EXE_sachdns");

/// What tells one sachdns of the run from another.
pub(crate) struct Setup {
    pub(crate) folder: PathBuf,
    pub(crate) list: PathBuf,
    /// The value of `log.queries`.
    pub(crate) log: &'static str,
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: SocketAddr,
}

impl Setup {
    /// Writes the configuration.
    pub(crate) fn write(&self) {
        let data = self.folder.join("data");
        fs::create_dir_all(&data).expect("the temporary folder can be written");
        let Self { list, log, listen, upstream, .. } = self;
        let config = format!(
            r#"data_dir = "{data}"
diagnostics = "warn"
[server]
listen = ["{listen}"]
workers = 1
[resolver]
mode = "forward"
upstreams = ["{upstream}"]
[sinkhole]
ipv4 = "10.10.10.10"
ipv6 = ""
http_listen = ["127.0.0.1:0"]
[log]
queries = "{log}"
[[feed]]
name = "bench"
source = "{list}"
format = "plain"
action = "sinkhole"
"#,
            data = data.display(),
            list = list.display(),
        );
        fs::write(self.config(), config).expect("the temporary folder can be written");
    }

    pub(crate) fn start(&self, core: usize) -> Result<Process, Trouble> {
        let args = ["serve", "--config", &self.config().to_string_lossy()].map(str::to_owned);
        Process::start(core, Path::new(BINARY), &args, self.folder.join("said"))
    }

    /// How it is told that its list changed.
    pub(crate) fn reload(&self) -> Reload {
        Reload::Command(
            [BINARY, "reload", "--config", &self.config().to_string_lossy()].map(str::to_owned).to_vec(),
        )
    }

    fn config(&self) -> PathBuf {
        self.folder.join("sachdns.toml")
    }
}
