//! People at the console: they sign in, look at pages, and fill in forms as a browser without scripts does.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;

use super::house::CONFIG;
use super::http::{Response, exchange};
use super::server::Server;
use super::{PATIENCE, wait_for_end};

/// The password of everybody.
pub(crate) const PASSWORD: &str = "mật khẩu dài lắm";

/// Somebody who is signed in.
pub(crate) struct Staff {
    console: SocketAddr,
    cookie: String,
}

/// Where the console of a server is.
#[track_caller]
pub(crate) fn console(server: &Server) -> SocketAddr {
    let line = server.stderr().wait(PATIENCE, |line| line.starts_with("listening console "));
    let line = line.unwrap_or_else(|| panic!("no console: {}", server.stderr().text()));
    line["listening console ".len()..].parse().unwrap()
}

/// Makes an account with [`PASSWORD`].
#[track_caller]
pub(crate) fn account(server: &Server, name: &str, role: &str, agency: Option<&str>) {
    let mut arguments = vec!["account", "add", "--config", CONFIG, name, "--role", role];
    arguments.extend(agency.into_iter().flat_map(|id| ["--agency", id]));
    let mut command = server.house().command(&arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    assert!(wait_for_end(&mut child, PATIENCE).unwrap().success(), "no account {name}");
}

/// A form's fields as they are sent.
fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Staff {
    /// Signs in with the password of everybody.
    #[track_caller]
    pub(crate) fn sign_in(server: &Server, name: &str) -> Self {
        Self::sign_in_with(server, name, PASSWORD)
    }

    /// Signs in.
    #[track_caller]
    pub(crate) fn sign_in_with(server: &Server, name: &str, password: &str) -> Self {
        let staff = Self { console: console(server), cookie: String::new() };
        let reply = staff.send("POST", "/sign-in", &form(&[("name", name), ("password", password)]));
        assert_eq!(reply.status, 303, "{reply:?}");
        let cookie = reply.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { cookie, ..staff }
    }

    #[track_caller]
    fn send(&self, method: &str, target: &str, body: &str) -> Response {
        let Self { console, cookie } = self;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {console}\r\nOrigin: http://{console}\r\nCookie: {cookie}; language=vi\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        exchange(*console, request.as_bytes())
    }

    /// What is there, whatever the status.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.send("GET", target, "")
    }

    /// A page that is there.
    #[track_caller]
    pub(crate) fn page(&self, target: &str) -> String {
        let reply = self.get(target);
        assert_eq!(reply.status, 200, "{target}: {reply:?}");
        reply.body
    }

    /// Sends a form with the secret of a page that this one may see.
    #[track_caller]
    pub(crate) fn post(&self, target: &str, fields: &[(&str, &str)]) -> Response {
        let page = self.page("/");
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        let csrf = rest.split('"').next().unwrap();
        self.send("POST", target, &form(&[fields, &[("csrf", csrf)]].concat()))
    }

    /// Sends a form with a file, as browsers do.
    #[track_caller]
    pub(crate) fn upload(
        &self,
        target: &str,
        fields: &[(&str, &str)],
        name: &str,
        content: &str,
    ) -> Response {
        let page = self.page("/");
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        let csrf = rest.split('"').next().unwrap();
        let part = |head: &str, content: &str| {
            format!("--sachdns\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let all = [fields, &[("csrf", csrf)]].concat();
        let mut body: String =
            all.iter().map(|(name, value)| part(&format!("name=\"{name}\""), value)).collect();
        body += &part(&format!("name=\"file\"; filename=\"{name}\""), content);
        body += "--sachdns--\r\n";
        let Self { console, cookie } = self;
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: {console}\r\nOrigin: http://{console}\r\nCookie: {cookie}; language=vi\r\n\
             Content-Type: multipart/form-data; boundary=sachdns\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        exchange(*console, request.as_bytes())
    }

    /// Does something, and shows the page that says so.
    #[track_caller]
    pub(crate) fn act(&self, target: &str, fields: &[(&str, &str)]) -> String {
        let reply = self.post(target, fields);
        assert_eq!(reply.status, 303, "{target}: {reply:?}");
        self.page(reply.field("location").unwrap())
    }

    /// The cookie by which it is signed in: name and value.
    pub(crate) fn cookie(&self) -> (&str, &str) {
        self.cookie.split_once('=').unwrap()
    }
}
