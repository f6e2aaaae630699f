//! ClickHouse for the log, two of them: Debian's server (18.16), and the engine of today in a process of Python's behind an
//! HTTP listener of ours (`engine.py`); and a proxy before either that loses what the test tells it to lose.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::receiver::free_address;
use super::{PATIENCE, run, spawn};

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// 18.16: a server, without types for addresses and without tokens.
    Old,
    /// That of today.
    Current,
}

impl Engine {
    /// Those that are installed: `tests/install-deps.sh` has both, unless it is told to spare the large one.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Old];
        if python().exists() {
            all.push(Self::Current);
        } else {
            eprintln!("the engine of today is not installed (SACHDNS_CHDB=no): only 18.16 is tried");
        }
        all
    }
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("chdb/bin/python")
}

/// A running one; killed by its own id when dropped.
pub(crate) struct ClickHouse {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    folder: TempDir,
    child: Option<Child>,
}

impl ClickHouse {
    #[track_caller]
    pub(crate) fn start(engine: Engine) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-clickhouse-").tempdir().unwrap();
        let address = free_address();
        if engine == Engine::Old {
            let at = folder.path().display();
            let port = address.port();
            let config = format!(
                "<yandex><logger><level>warning</level><console>true</console></logger><http_port>{port}</http_port>\
                 <listen_host>127.0.0.1</listen_host><path>{at}/data/</path><tmp_path>{at}/tmp/</tmp_path>\
                 <mark_cache_size>67108864</mark_cache_size><users_config>users.xml</users_config>\
                 <default_profile>default</default_profile><default_database>default</default_database>\
                 <remote_servers><pair><shard><replica><host>127.0.0.1</host><port>9</port></replica></shard></pair></remote_servers></yandex>"
            );
            let users = "<yandex><profiles><default/></profiles><users><default><password>open sesame</password>\
                 <networks><ip>127.0.0.0/8</ip></networks><profile>default</profile><quota>default</quota></default>\
                 </users><quotas><default/></quotas></yandex>";
            fs::write(folder.path().join("config.xml"), config).unwrap();
            fs::write(folder.path().join("users.xml"), users).unwrap();
        }
        let mut clickhouse = Self { engine, address, folder, child: None };
        clickhouse.launch();
        clickhouse
    }

    /// Starts it (again) on its port and with its data.
    #[track_caller]
    pub(crate) fn launch(&mut self) {
        let mut command = match self.engine {
            Engine::Old => {
                let mut command = Command::new("clickhouse-server");
                command.arg("--config-file=config.xml");
                command
            }
            Engine::Current => {
                let mut command = Command::new(python());
                let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/engine.py");
                command.args([script, &self.address.port().to_string(), "data"]);
                command
            }
        };
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(spawn(&mut command));
        let begun = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "no ClickHouse ({ended:?}):\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// What it answers, or what is wrong.
    #[track_caller]
    pub(crate) fn ask(&self, sql: &str) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "-H", "X-ClickHouse-User: default", "-H", "X-ClickHouse-Key: open sesame"]);
        command.args(["--data-binary", sql, &format!("http://{}/", self.address)]);
        run(&mut command).stdout.trim_end().to_owned()
    }

    /// How many rows of records it has, and how many of them have a name of their own.
    #[track_caller]
    pub(crate) fn rows(&self) -> String {
        self.ask("SELECT count(), uniqExact(qname) FROM sachdns.records")
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- ClickHouse ---\n{}\n---", self.log());
        }
        self.kill();
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is done; that it is, nobody hears.
    Swallow,
    /// Half of it arrives, and the connection breaks.
    Cut,
    /// Half of it arrives, and nothing more happens.
    Hang,
    /// The connection breaks, and all of it arrives when [`Proxy::release`] is called.
    Late,
}

/// Stands before a ClickHouse.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    to: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Plan>,
    changed: Condvar,
}

#[derive(Default)]
struct Plan {
    /// For the next statement that begins so.
    faults: VecDeque<(&'static str, Fault)>,
    late: Vec<Vec<u8>>,
    hanging: usize,
    /// Nobody gets through.
    is_shut: bool,
}

impl Proxy {
    pub(crate) fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                thread::spawn(move || {
                    let _ = pass(stream, to, &shared);
                });
            }
        });
        Self { address, to, shared }
    }

    /// Lets nobody through, or again.
    pub(crate) fn shut(&self, is_shut: bool) {
        self.shared.plan.lock().unwrap().is_shut = is_shut;
    }

    /// From now on these befall the next statements that begin so.
    pub(crate) fn plan(&self, faults: &[(&'static str, Fault)]) {
        self.shared.plan.lock().unwrap().faults.extend(faults);
    }

    /// Waits until all that was planned has happened.
    #[track_caller]
    pub(crate) fn await_all(&self) {
        let plan = self.shared.plan.lock().unwrap();
        let (plan, _) =
            self.shared.changed.wait_timeout_while(plan, PATIENCE, |plan| !plan.faults.is_empty()).unwrap();
        assert!(plan.faults.is_empty(), "never asked: {:?}", plan.faults);
    }

    /// Waits until a request hangs.
    #[track_caller]
    pub(crate) fn await_hanging(&self) {
        let plan = self.shared.plan.lock().unwrap();
        let (mut plan, _) =
            self.shared.changed.wait_timeout_while(plan, PATIENCE, |plan| plan.hanging == 0).unwrap();
        assert!(plan.hanging > 0, "nothing hangs");
        plan.hanging = 0;
    }

    /// Lets arrive what is late; returns what was answered.
    pub(crate) fn release(&self) -> Vec<String> {
        let late = std::mem::take(&mut self.shared.plan.lock().unwrap().late);
        let arrive = |request: Vec<u8>| {
            let mut server = TcpStream::connect(self.to).unwrap();
            server.write_all(&request).unwrap();
            String::from_utf8_lossy(&read_message(&mut server).unwrap()).into_owned()
        };
        late.into_iter().map(arrive).collect()
    }
}

/// One request, and its answer.
fn pass(mut client: TcpStream, to: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let request = read_message(&mut client)?;
    // Who went away before it asked.
    let Some(head) = request.windows(4).position(|it| it == b"\r\n\r\n") else { return Ok(()) };
    let head = head + 4;
    let line = String::from_utf8_lossy(&request[..head]);
    let is_one = |statement: &str| match line.contains("&query=") {
        true => line.contains(&format!("&query={statement}")),
        false => request[head..].starts_with(statement.as_bytes()),
    };
    let fault = {
        let mut plan = shared.plan.lock().unwrap();
        if plan.is_shut {
            return Ok(());
        }
        let at = plan.faults.iter().position(|(statement, _)| is_one(statement));
        let fault = at.and_then(|at| plan.faults.remove(at)).map(|(_, fault)| fault);
        match fault {
            Some(Fault::Late) => plan.late.push(request.clone()),
            Some(Fault::Hang) => plan.hanging += 1,
            _ => {}
        }
        fault
    };
    let half = head + (request.len() - head) / 2;
    let done = match fault {
        Some(Fault::Late) => Ok(()),
        Some(Fault::Cut) => TcpStream::connect(to)?.write_all(&request[..half]),
        Some(Fault::Hang) => {
            let mut server = TcpStream::connect(to)?;
            server.write_all(&request[..half])?;
            shared.changed.notify_all();
            // Until one of both goes.
            client.read(&mut [0; 64]).map(drop)
        }
        None | Some(Fault::Swallow) => {
            let mut server = TcpStream::connect(to)?;
            server.write_all(&request)?;
            let answer = read_message(&mut server)?;
            if fault.is_none() { client.write_all(&answer) } else { Ok(()) }
        }
    };
    shared.changed.notify_all();
    let _ = client.shutdown(Shutdown::Both);
    done
}

/// A request or an answer, whole.
fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut octets, mut part) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        if let Some(end) = octets.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&octets[..end]).into_owned();
            let field = |name: &str| {
                head.lines().find_map(|line| {
                    let (field, value) = line.split_once(':')?;
                    field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let len = field("content-length").and_then(|len| len.parse::<usize>().ok());
            let is_whole = match len {
                Some(len) => octets.len() >= end + 4 + len,
                None if field("transfer-encoding").is_none() => true,
                None => {
                    let body = &octets[end + 4..];
                    body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n")
                }
            };
            if is_whole {
                return Ok(octets);
            }
        }
        match stream.read(&mut part)? {
            0 => return Ok(octets),
            read => octets.extend(&part[..read]),
        }
    }
}
