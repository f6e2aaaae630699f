//! Somebody at a browser without scripts: keeps cookies, fills in forms with what the page has against forgery, follows nothing by itself.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::PATIENCE;
use super::http::{self, Response};

/// A browser of one person.
#[derive(Clone)]
pub(crate) struct Visitor {
    console: SocketAddr,
    cookies: BTreeMap<String, String>,
    /// Sent with every request.
    fields: Vec<(String, String)>,
    tls: Option<(Arc<ClientConfig>, String)>,
}

impl Visitor {
    /// One who has never been there.
    pub(crate) fn new(console: SocketAddr) -> Self {
        Self { console, cookies: BTreeMap::new(), fields: Vec::new(), tls: None }
    }

    /// One who comes over TLS, to this name.
    pub(crate) fn over_tls(console: SocketAddr, config: Arc<ClientConfig>, name: &str) -> Self {
        Self { tls: Some((config, name.to_owned())), ..Self::new(console) }
    }

    /// One who is signed in with a password.
    #[track_caller]
    pub(crate) fn signed_in(console: SocketAddr, name: &str, password: &str) -> Self {
        let mut visitor = Self::new(console);
        let answer = visitor.send("/sign-in", &[("name", name), ("password", password)]);
        assert_eq!(answer.status, 303, "{}", answer.body);
        visitor
    }

    /// The same, with this field in every request.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The cookies it has.
    pub(crate) fn cookies(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.cookies
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.ask("GET", path, None)
    }

    /// The page at this path, which is there.
    #[track_caller]
    pub(crate) fn page(&mut self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.head, answer.body);
        answer.body
    }

    /// Posts a form as a page of the console has it.
    #[track_caller]
    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let csrf = self.csrf();
        let mut all = fields.to_vec();
        all.push(("csrf", &csrf));
        self.send(path, &all)
    }

    /// Posts exactly these fields.
    #[track_caller]
    pub(crate) fn send(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.ask("POST", path, Some(("application/x-www-form-urlencoded", form.finish().into_bytes())))
    }

    /// What forms of this session bring back; empty without one.
    #[track_caller]
    pub(crate) fn csrf(&mut self) -> String {
        let page = self.get("/account");
        let found = page.body.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        found.unwrap_or_default().to_owned()
    }

    /// Sends one request on a connection of its own, and keeps the cookies of the answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !self.fields.iter().any(|(name, _)| name == "Host") {
            request += &format!("Host: {}\r\n", self.console);
        }
        for (name, value) in &self.fields {
            request += &format!("{name}: {value}\r\n");
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request += &format!("Cookie: {}\r\n", cookies.join("; "));
        }
        if let Some((kind, octets)) = &body {
            request += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", octets.len());
        }
        let mut request = (request + "\r\n").into_bytes();
        request.extend(body.into_iter().flat_map(|(_, octets)| octets));
        let response = match &self.tls {
            None => http::exchange(self.console, &request),
            Some((config, name)) => {
                let name = ServerName::try_from(name.clone()).unwrap();
                let client = ClientConnection::new(Arc::clone(config), name).unwrap();
                let stream = TcpStream::connect(self.console).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut stream = StreamOwned::new(client, stream);
                stream.write_all(&request).unwrap();
                let mut octets = Vec::new();
                let _ = stream.read_to_end(&mut octets);
                Response::read(&octets)
            }
        };
        for line in response.head.lines() {
            let Some(cookie) = line.strip_prefix("set-cookie: ") else { continue };
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }
}

/// A second factor's code of now, as a telephone reckons it from the secret on the page (RFC 6238), by oathtool.
#[track_caller]
pub(crate) fn oathtool(secret: &str) -> String {
    let secret: String = secret.chars().filter(|it| !it.is_whitespace()).collect();
    let shown = super::run(std::process::Command::new("oathtool").args(["--totp", "--base32", &secret]));
    shown.well().stdout.trim().to_owned()
}
