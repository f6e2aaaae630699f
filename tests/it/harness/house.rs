//! A folder with a configuration and feeds, in which the commands of `sachdns` are run.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::authority::{Authority, CERTIFICATE, KEY};
use super::record::Record;
use super::server::Server;
use super::{Finished, Lines, run, spawn, within};

/// The configuration's file name, relative to the house.
pub(crate) const CONFIG: &str = "sachdns.toml";

/// A configuration to come, with the tables that tests change.
pub(crate) struct Setup {
    listen: String,
    /// Each as TOML.
    upstreams: Vec<String>,
    resolver: String,
    allow: String,
    server: String,
    sinkhole: String,
    rest: String,
    feeds: Vec<(String, String)>,
}

impl Setup {
    /// Port 0 everywhere, loopback clients, this upstream, and the sinkhole's addresses
    /// 10.10.10.10 and fd00::10.
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            upstreams: vec![format!("\"{upstream}\"")],
            resolver: String::new(),
            allow: r#"["127.0.0.0/8", "::1/128"]"#.to_owned(),
            server: String::new(),
            sinkhole:
                "ipv4 = \"10.10.10.10\"\nipv6 = \"fd00::10\"\nttl = 30\nhttp_listen = [\"127.0.0.1:0\"]\n"
                    .to_owned(),
            rest: String::new(),
            feeds: Vec::new(),
        }
    }

    /// Listens at this address in place of 127.0.0.1 and a port that the system chooses.
    pub(crate) fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// Adds an upstream behind those there are.
    pub(crate) fn upstream(mut self, upstream: SocketAddr) -> Self {
        self.upstreams.push(format!("\"{upstream}\""));
        self
    }

    /// Replaces the upstreams by these, each as TOML.
    pub(crate) fn upstreams(mut self, upstreams: &[&str]) -> Self {
        self.upstreams = upstreams.iter().map(|&upstream| upstream.to_owned()).collect();
        self
    }

    /// Adds lines to `[resolver]`.
    pub(crate) fn resolver(mut self, lines: &str) -> Self {
        self.resolver.push_str(lines);
        self
    }

    /// Adds a file beside the configuration.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.feeds.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Adds a plain feed whose names are sinkholed.
    pub(crate) fn feed(self, name: &str, text: &str) -> Self {
        self.feed_as(name, "sinkhole", text)
    }

    /// Adds a plain feed with this action.
    pub(crate) fn feed_as(self, name: &str, action: &str, text: &str) -> Self {
        self.feed_of("plain", name, action, "", text)
    }

    /// Adds a table with a heading whose names are sinkholed.
    pub(crate) fn csv(self, name: &str, text: &str) -> Self {
        self.feed_of("csv", name, "sinkhole", "", text)
    }

    /// Adds a response policy zone with this action and more lines of settings.
    pub(crate) fn rpz(self, name: &str, action: &str, settings: &str, text: &str) -> Self {
        self.feed_of("rpz", name, action, settings, text)
    }

    fn feed_of(mut self, format: &str, name: &str, action: &str, settings: &str, text: &str) -> Self {
        let file = format!("{name}.txt");
        write!(
            self.rest,
            "\n[[feed]]\nname = \"{name}\"\nsource = \"{file}\"\nformat = \"{format}\"\naction = \"{action}\"\n{settings}\n"
        )
        .unwrap();
        self.feeds.push((file, text.to_owned()));
        self
    }

    /// Serves DNS over TLS, HTTPS and QUIC too, with a certificate for dns.example.test.
    pub(crate) fn encrypted(self, authority: &Authority) -> Self {
        let (certificate, key) = authority.issue("dns.example.test");
        self.file(CERTIFICATE, &certificate).file(KEY, &key).server(&format!(
            "tls_listen = [\"127.0.0.1:0\"]\nhttps_listen = [\"127.0.0.1:0\"]\nquic_listen = [\"127.0.0.1:0\"]\n\
             tls_certificate = \"{CERTIFICATE}\"\ntls_key = \"{KEY}\"\n"
        ))
    }

    /// Adds an agency.
    pub(crate) fn agency(mut self, id: &str, name: &str, network: &str, contact: &str) -> Self {
        write!(
            self.rest,
            "\n[[agency]]\nid = \"{id}\"\nname = \"{name}\"\nnetworks = [\"{network}\"]\ncontact = \"{contact}\"\n"
        )
        .unwrap();
        self
    }

    /// Replaces `server.allow`.
    pub(crate) fn allow(mut self, networks: &str) -> Self {
        networks.clone_into(&mut self.allow);
        self
    }

    /// Adds lines to `[server]`.
    pub(crate) fn server(mut self, lines: &str) -> Self {
        self.server.push_str(lines);
        self
    }

    /// Replaces the lines of `[sinkhole]`.
    pub(crate) fn sinkhole(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.sinkhole);
        self
    }

    /// Adds lines at the end: whole tables.
    pub(crate) fn more(mut self, lines: &str) -> Self {
        self.rest.push('\n');
        self.rest.push_str(lines);
        self
    }

    /// The configuration's text.
    pub(crate) fn text(&self) -> String {
        let Self { listen, allow, server, resolver, sinkhole, rest, .. } = self;
        format!(
            "data_dir = \"data\"\n\n[server]\nlisten = [\"{listen}\"]\nallow = {allow}\n{server}\n\
             [resolver]\nupstreams = [{}]\n{resolver}\n[sinkhole]\n{sinkhole}{rest}",
            self.upstreams.join(", ")
        )
    }

    /// Writes everything to a new folder.
    pub(crate) fn lay(self) -> House {
        let house = House::with_config(&self.text());
        for (file, text) in &self.feeds {
            house.write(file, text);
        }
        house
    }

    /// Writes everything and starts the server.
    #[track_caller]
    pub(crate) fn serve(self) -> Server {
        self.lay().serve()
    }
}

/// The folder; it is the working directory of every command, and goes with the test.
pub(crate) struct House {
    folder: TempDir,
    /// What stands in front of its commands.
    inside: Vec<String>,
}

impl House {
    /// A folder with nothing but this configuration.
    pub(crate) fn with_config(text: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-it-").tempdir().unwrap();
        let house = Self { folder, inside: Vec::new() };
        house.write(CONFIG, text);
        house
    }

    /// Runs its commands inside a namespace: with these words in front of them.
    pub(crate) fn inside(self, words: Vec<String>) -> Self {
        Self { inside: words, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts a file in place at once, as a careful administrator would.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// Every regular file below the data folder.
    pub(crate) fn data_files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.path().join("data")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() => files.push(entry.path()),
                    _ => {}
                }
            }
        }
        files
    }

    /// `sachdns` with these arguments, in this folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = within(&self.inside, env!("CARGO_BIN_EXE_sachdns"));
        command.args(arguments).current_dir(self.path()).env_remove("RUST_LOG").env("NO_COLOR", "1");
        command
    }

    /// Runs a subcommand, `--config` added behind its name (one or two words), to its end.
    #[track_caller]
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> Finished {
        let mut all: Vec<_> = subcommand.split(' ').collect();
        all.extend(["--config", CONFIG]);
        all.extend(arguments);
        run(&mut self.command(&all))
    }

    /// The log's records, newest first, read by the command.
    #[track_caller]
    pub(crate) fn log(&self, filters: &[&str]) -> Vec<Record> {
        let arguments = [&["--format", "jsonl"], filters].concat();
        Record::read_all(&self.run("log", &arguments).well().stdout)
    }

    /// Starts `sachdns serve` without waiting for it.
    pub(crate) fn spawn_serve(&self) -> (Child, Lines) {
        let mut command = self.command(&["serve", "--config", CONFIG]);
        let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()));
        let lines = Lines::follow(child.stderr.take().unwrap());
        (child, lines)
    }

    /// Starts the server and waits until it is ready.
    #[track_caller]
    pub(crate) fn serve(self) -> Server {
        Server::start(self)
    }
}
