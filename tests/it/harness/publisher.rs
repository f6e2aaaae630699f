//! Publishers of feeds: nginx, which does as it should, and a scripted one, which does as a test says; a proxy.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::authority::Authority;
use super::nsd::free_address;
use super::{PATIENCE, spawn};

/// A running program that ends when dropped.
struct Program {
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx with the files of a folder, over HTTP and HTTPS (as feeds.example.test and 127.0.0.1).
pub(crate) struct Nginx {
    pub(crate) http: SocketAddr,
    pub(crate) https: SocketAddr,
    folder: TempDir,
    _program: Program,
}

impl Nginx {
    #[track_caller]
    pub(crate) fn start(authority: &Authority, name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-nginx-").tempdir().unwrap();
        let (http, https) = (free_address(), free_address());
        let (certificate, key) = authority.issue(name);
        fs::write(folder.path().join("certificate.pem"), certificate).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        let place = folder.path().display();
        // In one process, so that to kill it ends it.
        let text = format!(
            r#"daemon off; master_process off; worker_processes 1; pid {place}/pid; error_log {place}/error.log;
events {{ }}
http {{
  log_format short '$status $request_uri $http_user_agent'; access_log {place}/access.log short;
  client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;
  uwsgi_temp_path {place}/d; scgi_temp_path {place}/e;
  gzip on; gzip_types text/plain; gzip_min_length 1; types {{ text/plain txt; application/gzip gz; }}
  server {{ listen {http}; listen {https} ssl; root {place}/files;
    ssl_certificate {place}/certificate.pem; ssl_certificate_key {place}/key.pem;
    location /secret/ {{ auth_basic "a"; auth_basic_user_file {place}/users; }} }}
}}
"#
        );
        let config = folder.path().join("nginx.conf");
        fs::write(&config, text).unwrap();
        fs::write(folder.path().join("users"), "staff:{PLAIN}pass word\n").unwrap();
        let child = spawn(
            Command::new("nginx")
                .arg("-c")
                .arg(&config)
                .arg("-e")
                .arg(folder.path().join("error.log"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let nginx = Self { http, https, folder, _program: Program { child } };
        wait_for_listener(http);
        nginx
    }

    /// Puts a file there at once.
    pub(crate) fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join("files").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = self.folder.path().join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Statuses and paths of the requests so far.
    pub(crate) fn requests(&self) -> String {
        fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }
}

/// tinyproxy; gives its address and what it writes.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    _program: Program,
}

impl Proxy {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("sachdns-proxy-").tempdir().unwrap();
        let address = free_address();
        let (config, log) = (folder.path().join("tinyproxy.conf"), folder.path().join("log"));
        let text = format!(
            "Port {}\nListen {}\nTimeout 60\nAllow 127.0.0.1\nLogFile \"{}\"\nLogLevel Connect\n",
            address.port(),
            address.ip(),
            log.display()
        );
        fs::write(&config, text).unwrap();
        let child = spawn(
            Command::new("tinyproxy")
                .arg("-d")
                .arg("-c")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let proxy = Self { address, folder, _program: Program { child } };
        wait_for_listener(address);
        proxy
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

#[track_caller]
fn wait_for_listener(address: SocketAddr) {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < until, "nobody listens at {address}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a scripted publisher sends for a path: pieces, each behind a pause.
pub(crate) type Script = Vec<(Duration, Vec<u8>)>;

/// A publisher that sends octets as they are and closes; 404 for paths that it does not know.
#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    scripts: Arc<Mutex<HashMap<String, Script>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scripted = Self { address, scripts: Arc::default(), requests: Arc::default() };
        let shared = scripted.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                thread::spawn(move || shared.serve(stream));
            }
        });
        scripted
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.requests.lock().unwrap().push(head);
        let missing = vec![(Duration::ZERO, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec())];
        let script = self.scripts.lock().unwrap().get(&path).cloned().unwrap_or(missing);
        for (pause, octets) in script {
            thread::sleep(pause);
            if stream.write_all(&octets).is_err() {
                return;
            }
        }
    }

    pub(crate) fn script(&self, path: &str, script: Script) {
        self.scripts.lock().unwrap().insert(path.to_owned(), script);
    }

    /// Sends these octets at once.
    pub(crate) fn raw(&self, path: &str, octets: impl Into<Vec<u8>>) {
        self.script(path, vec![(Duration::ZERO, octets.into())]);
    }

    /// Sends this body as it should be sent, with more header fields.
    pub(crate) fn body(&self, path: &str, fields: &str, body: &[u8]) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
        self.raw(path, [head.as_bytes(), body].concat());
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A file of certificates, in a folder that is there.
pub(crate) fn write_secret(folder: &Path, file: &str, secret: &str) -> String {
    fs::write(folder.join(file), format!("{secret}\n")).unwrap();
    file.to_owned()
}
