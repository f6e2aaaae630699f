//! A real console over a scratch house: sockets, HTTP, sessions and all.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::super::Options;
use super::super::access::Role;
use super::super::account::{self, Origin};
use super::super::server::{self, Console};
use super::{AGENCIES, Scratch};
use crate::{clock, listener};

/// The console, until it is dropped.
pub(super) struct Web {
    pub(super) scratch: Arc<Scratch>,
    address: SocketAddr,
    _runtime: Runtime,
}

/// What came.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Came {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.split_once(": ").filter(|(it, _)| *it == name)).map(|it| it.1)
    }
}

impl Web {
    pub(super) fn new(options: &Options) -> Self {
        let scratch = Scratch::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        drop(entered);
        let house = Arc::<Scratch>::clone(&scratch);
        let console = Console::new(house, Arc::clone(&scratch.accounts), options, None).unwrap();
        runtime.spawn(server::serve(vec![listener], console, std::future::pending()));
        Self { scratch, address, _runtime: runtime }
    }

    /// Makes an account of this role where it is not there, an officer of the first agency, and begins a session; its cookie's value.
    pub(super) fn session(&self, role: Role) -> String {
        let name = format!("a-{}", role.as_str());
        let agency = (role == Role::Officer).then_some(AGENCIES[0]);
        // By its subject there is no password to reckon.
        let _ = self.scratch.accounts.invite(&name, role, agency, Some(&name), clock::now());
        let from = Origin { address: SocketAddr::from(([127, 0, 0, 1], 0)).ip(), agent: "" };
        self.scratch.accounts.begin_outside(&name, from, clock::now()).unwrap()
    }

    pub(super) fn ask(&self, request: &str) -> Came {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut octets = Vec::new();
        let _ = stream.read_to_end(&mut octets);
        let text = String::from_utf8_lossy(&octets);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Came { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(super) fn get(&self, session: Option<&str>, target: &str) -> Came {
        let cookie = session.map(|session| format!("Cookie: session={session}\r\n")).unwrap_or_default();
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: c\r\nConnection: close\r\n{cookie}\r\n"))
    }

    /// Sends a form, with what is against forgery.
    pub(super) fn send(&self, method: &str, session: Option<&str>, target: &str, form: &str) -> Came {
        let cookie = session.map(|session| format!("Cookie: session={session}\r\n")).unwrap_or_default();
        let csrf = session.map(account::csrf).unwrap_or_default();
        let body = format!("{form}&csrf={csrf}");
        self.ask(&format!(
            "{method} {target} HTTP/1.1\r\nHost: c\r\nConnection: close\r\nOrigin: http://c\r\n{cookie}\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }
}
