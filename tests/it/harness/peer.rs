//! Unbound beside us, for the same questions: it recurses from the same root.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use super::{Lines, PATIENCE, spawn, within};

/// A running Unbound; ends when dropped.
pub(crate) struct Unbound {
    child: Child,
    lines: Lines,
    /// Where it answers.
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Unbound {
    /// Starts it at port 53, behind these words that lead into a namespace. `server` is added to its `server:` clause.
    pub(crate) fn start(inside: &[String], hints: &Path, anchors: &Path, server: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-unbound-").tempdir().unwrap();
        let path = folder.path().join("unbound.conf");
        let address = SocketAddr::from(([127, 0, 0, 1], 53));
        let text = format!(
            "server:\n directory: \"{folder}\"\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n \
             logfile: \"\"\n verbosity: 1\n num-threads: 1\n interface: 127.0.0.1@53\n do-not-query-localhost: no\n \
             access-control: 127.0.0.0/8 allow\n root-hints: \"{hints}\"\n trust-anchor-file: \"{anchors}\"\n \
             ede: yes\n val-log-level: 2\n{server}\nremote-control:\n control-enable: no\n",
            folder = folder.path().display(),
            hints = hints.display(),
            anchors = anchors.display(),
        );
        fs::write(&path, text).unwrap();
        let mut command = within(inside, "unbound");
        command.args(["-d", "-c"]).arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = spawn(command.stderr(Stdio::piped()));
        let lines = Lines::follow(child.stderr.take().unwrap());
        // From here on, a panic kills it.
        let unbound = Self { child, lines, address, _folder: folder };
        if unbound.lines.wait(PATIENCE, |line| line.contains("start of service")).is_none() {
            panic!("Unbound does not start:\n{}", unbound.lines.text());
        }
        unbound
    }

    /// What it has said, for failures.
    pub(crate) fn text(&self) -> String {
        self.lines.text()
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
