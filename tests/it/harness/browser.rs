//! Chromium, driven over WebDriver (W3C) as a person would: it goes, looks, types, presses keys and buttons.
//!
//! Debian's chromedriver and our own few lines of HTTP; what the page should be like stands in a test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use super::{Lines, PATIENCE, spawn, wait_until};

/// A browser; ends when dropped.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
}

/// A window, in CSS pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_phone: bool,
}

/// What people prefer, as their system says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// As elements are called in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The Tab key (WebDriver, section 17.4.2).
const TAB: &str = "\u{e004}";

impl Browser {
    /// Starts it with its files in `home`; every name leads to 127.0.0.1.
    #[track_caller]
    pub(crate) fn start(home: &Path) -> Self {
        let (driver, port) = start_driver(home);
        let mut browser =
            Self { driver, address: SocketAddr::from(([127, 0, 0, 1], port)), session: String::new() };
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * 127.0.0.1",
        ];
        let options = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let started = browser.post("/session", &json!({ "capabilities": { "alwaysMatch": options } }));
        started["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser
    }

    /// Opens a page and waits until it is loaded.
    #[track_caller]
    pub(crate) fn go(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Sets a cookie of the page's host, as its server would.
    #[track_caller]
    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        let cookie = json!({ "name": name, "value": value, "path": "/", "httpOnly": true });
        self.command("cookie", &json!({ "cookie": cookie }));
    }

    /// What a script in the page returns.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text that a person sees of the element.
    #[track_caller]
    pub(crate) fn text(&self, css: &str) -> String {
        let script = format!("return document.querySelector({}).innerText", json!(css));
        self.run(&script).as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn type_into(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.command(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    #[track_caller]
    pub(crate) fn click(&self, css: &str) {
        let element = self.element(css);
        self.command(&format!("element/{element}/click"), &json!({}));
    }

    #[track_caller]
    pub(crate) fn press_tab(&self) {
        let keys = json!([{ "type": "keyDown", "value": TAB }, { "type": "keyUp", "value": TAB }]);
        self.command(
            "actions",
            &json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }),
        );
    }

    /// Waits until a page is loaded that shows this text.
    ///
    /// The one before may go while it is asked, and the next has no body at first: neither is a fault.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let script = "return document.readyState === 'complete' ? document.body.innerText : ''";
        let path = format!("/session/{}/execute/sync", self.session);
        wait_until(text, || {
            let (_, answer) = self.request(&path, &json!({ "script": script, "args": [] }));
            answer["value"].as_str().is_some_and(|shown| shown.contains(text))
        });
    }

    #[track_caller]
    pub(crate) fn resize(&self, window: Window) {
        let Window { width, height, is_phone } = window;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.protocol("Emulation.setDeviceMetricsOverride", &metrics);
    }

    #[track_caller]
    pub(crate) fn prefer(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.protocol("Emulation.setEmulatedMedia", &features);
    }

    /// A picture, PNG, of all of an element, beyond the window too.
    #[track_caller]
    pub(crate) fn picture(&self, css: &str) -> Vec<u8> {
        let script = format!(
            "const r = document.querySelector({}).getBoundingClientRect(); \
             return {{ x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1 }}",
            json!(css)
        );
        let options = json!({ "format": "png", "captureBeyondViewport": true, "clip": self.run(&script) });
        octets(&self.protocol("Page.captureScreenshot", &options)["data"])
    }

    /// A picture, PNG, of the page's top: of so much as shows in a window, on a telephone of twice as much.
    #[track_caller]
    pub(crate) fn shot(&self, window: Window) -> Vec<u8> {
        let height = if window.is_phone { window.height * 2 } else { window.height };
        let clip = json!({ "x": 0, "y": 0, "width": window.width, "height": height, "scale": 1 });
        let options = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        octets(&self.protocol("Page.captureScreenshot", &options)["data"])
    }

    /// The page on paper, A4, as PDF.
    #[track_caller]
    pub(crate) fn print(&self) -> Vec<u8> {
        octets(&self.command("print", &json!({ "page": { "width": 21.0, "height": 29.7 } })))
    }

    /// What the browser complained of since it was last asked.
    #[track_caller]
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({ "type": "browser" }));
        log.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn element(&self, css: &str) -> String {
        let found = self.command("element", &json!({ "using": "css selector", "value": css }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Chromium's own protocol, for what WebDriver has no word for.
    #[track_caller]
    fn protocol(&self, method: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({ "cmd": method, "params": parameters }))
    }

    #[track_caller]
    fn command(&self, command: &str, parameters: &Value) -> Value {
        self.post(&format!("/session/{}/{command}", self.session), parameters)
    }

    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, mut answer) = self.request(path, body);
        assert!(status.contains(" 200 "), "{path} {body}: {answer:#}");
        answer["value"].take()
    }

    /// The status line and what was answered.
    #[track_caller]
    fn request(&self, path: &str, body: &Value) -> (String, Value) {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let (mut status, mut length) = (String::new(), 0);
        stream.read_line(&mut status).unwrap();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap();
                }
                Some(_) => {}
                None => break,
            }
        }
        // It keeps connections, whatever one asks for.
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).unwrap();
        (status, serde_json::from_slice(&answer).unwrap())
    }
}

/// The driver, and the port that it listens on.
#[track_caller]
fn start_driver(home: &Path) -> (Child, u16) {
    let begun = Instant::now();
    loop {
        // In a process namespace of its own, which ends with it: whatever the browser has started ends too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.args(["chromedriver", "--port=0"]);
        command.env("HOME", home).env("TMPDIR", home).env_remove("DBUS_SESSION_BUS_ADDRESS");
        let mut driver = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
        let lines = Lines::follow(driver.stdout.take().unwrap());
        let line = lines.wait(PATIENCE, |line| line.contains("started successfully on port"));
        if let Some(port) = line.and_then(|line| line.trim_end_matches('.').rsplit(' ').next()?.parse().ok())
        {
            return (driver, port);
        }
        // The port that it chose of IPv6 may be another's of IPv4; then it ends.
        let (is_unlucky, text) = (lines.text().contains("port not available"), lines.text());
        assert!(is_unlucky && begun.elapsed() < PATIENCE, "chromedriver does not start: {text}");
        let _ = driver.wait();
    }
}

fn octets(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().unwrap()).unwrap()
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
