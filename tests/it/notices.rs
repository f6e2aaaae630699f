//! Mail of cases, taken by a real mail server: encrypted, with a password, once; and nothing in the clear where encryption was asked for.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::authority::Authority;
use crate::harness::house::Setup;
use crate::harness::scripted::Scripted;
use crate::harness::{Lines, PATIENCE, spawn, wait_until};

/// aiosmtpd: takes mail of one user, over TLS only or not at all, and writes it to a file.
const MAIL_SERVER: &str = r#"
import asyncio, ssl, sys
from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import AuthResult
output, certificate, key = sys.argv[1:]
class Handler:
    async def handle_DATA(self, server, session, envelope):
        how = "tls" if session.ssl else "clear"
        who = session.auth_data.login.decode() if session.auth_data else "-"
        with open(output, "ab") as out:
            out.write(f"MAIL {how} {who} {' '.join(envelope.rcpt_tos)}\n".encode())
            out.write(envelope.content + b"\n")
        return "250 taken"
def known(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"sachdns", "mật khẩu".encode()), auth_data=data)
secure = {}
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    secure = dict(tls_context=context, require_starttls=True, authenticator=known, auth_required=True)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
controller = UnthreadedController(Handler(), hostname="127.0.0.1", port=0, loop=loop, **secure)
controller.begin()
print(controller.server.sockets[0].getsockname()[1], flush=True)
loop.run_forever()
"#;

struct MailServer {
    child: Child,
    port: u16,
}

impl MailServer {
    #[track_caller]
    fn start(output: &Path, certificate: &str, key: &str) -> Self {
        // Debian's own Python, for which its package is.
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", MAIL_SERVER]).arg(output).args([certificate, key]);
        let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()));
        let said = Lines::follow(child.stdout.take().unwrap());
        let port = said.wait(PATIENCE, |line| line.parse::<u16>().is_ok());
        let port = port.expect("aiosmtpd: it is in Debian's package python3-aiosmtpd: run `make test-deps`");
        Self { child, port: port.parse().unwrap() }
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn mail_is_brought_over_starttls_with_a_password_and_never_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue("localhost");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, text) in [("certificate", &certificate), ("key", &key)] {
        fs::write(path(name), text).unwrap();
    }
    let output = folder.path().join("mail");
    let secure = MailServer::start(&output, &path("certificate"), &path("key"));
    let clear = MailServer::start(&output, "", "");
    let upstream = Scripted::answering(|query| query.answer_a([192, 0, 2, 1]));
    // The port of the careless one first.
    let config = |port: u16| {
        format!(
            "[[agency]]\nid = \"so-yt\"\nname = \"Sở Y tế\"\nnetworks = [\"127.0.0.0/8\"]\nofficer = \"Trần Thị B\"\n\
             email = \"cntt@yt.example.vn\"\n[mail]\nserver = \"starttls://localhost:{port}\"\nca = \"ca.pem\"\n\
             user = \"sachdns\"\npassword_file = \"password\"\nfrom = \"SachDNS <dns@example.vn>\"\nto = [\"attt@example.vn\"]\n"
        )
    };
    let setup = |port| {
        Setup::new(upstream.address)
            .file("ca.pem", &authority.certificate())
            .file("password", "mật khẩu\n")
            .csv("authority", "domain,family\nevil.example,emotet\n")
            .more(&config(port))
    };
    let text = setup(secure.port).text();
    let server = setup(clear.port).serve();
    server.dig().ask("c2.evil.example", "A");
    let waits = |line: &str| line.contains("notices of cases wait") && line.contains("STARTTLS");
    assert!(server.stderr().wait(PATIENCE, waits).is_some(), "{}", server.stderr().text());
    assert!(!output.exists(), "nothing in the clear");
    // A start asks the new one at once, whatever the old one said.
    let house = server.stop(rustix::process::Signal::TERM).house;
    house.write(crate::harness::house::CONFIG, &text);
    let server = house.serve();
    let mails = || fs::read_to_string(&output).unwrap_or_default();
    wait_until("both mails are there", || mails().matches("MAIL tls sachdns ").count() == 2);
    let text = mails();
    for part in ["MAIL tls sachdns attt@example.vn\n", "MAIL tls sachdns cntt@yt.example.vn\n", "=?utf-8?"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("MAIL clear"));
    let listed = || server.house().run("case list", &["--format", "jsonl"]).well().stdout;
    wait_until("the case is notified", || listed().contains("\"state\":\"notified\""));
    let case: Value = serde_json::from_str(&listed()).unwrap();
    assert_eq!((&case["agency"], &case["family"]), (&Value::from("so-yt"), &Value::from("emotet")));
    // Nothing new, nothing more.
    server.dig().ask("c2.evil.example", "A");
    wait_until("it is counted", || listed().contains("\"queries\":2"));
    assert_eq!(mails().matches("MAIL ").count(), 2);
}
