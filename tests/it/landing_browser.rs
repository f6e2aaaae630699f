//! The landing page in a browser: how it looks at a desk, on a phone and on paper, that everybody can read and use it,
//! and what its buttons do.
//!
//! The listener runs in the test, over a site and a desk of its own, so that every kind of case is at hand.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use sachdns::listener;
use sachdns::sinkhole::desk::{Case, Class, Desk, DeskError, Filed, Said, Statement, Visit};
use sachdns::sinkhole::http::{self, Finding, Options, Site};
use sachdns::sinkhole::page::{Agency, Design, Listing, vietnam};
use sachdns::sinkhole::reception::Reception;
use sachdns::sinkhole::token::Key;
use sachdns::sinkhole::visits::Visits;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::browser::{Browser, Scheme, Window};
use crate::harness::judges::{DESK, PHONE};
use crate::harness::namespace::inside;
use crate::harness::publisher::Scripted;
use crate::harness::run;

/// A desk at 200 %, and what WCAG's reflow asks for, 1280 pixels at 400 %.
const ZOOMED: [Window; 2] = [
    Window { width: 683, height: 384, is_phone: false },
    Window { width: 320, height: 256, is_phone: false },
];

/// The first label of a name says what it is listed for.
fn class_of(host: &str) -> Option<Class> {
    match host.split('.').next()? {
        "c2" => Some(Class::C2),
        "phishing" => Some(Class::Phishing),
        "address" => Some(Class::Address),
        "listed" => Some(Class::Unknown),
        _ => None,
    }
}

const KINDS: [&str; 5] = ["c2", "phishing", "address", "listed", "unlisted"];

struct Names;

impl Site for Names {
    fn look_up(&self, host: Option<&str>, _: IpAddr) -> Finding {
        let listing = host.and_then(class_of).map(|class| Listing {
            family: (class == Class::C2).then(|| "Emotet".to_owned()),
            feed: "Danh sách của Cục An toàn thông tin".to_owned(),
            class,
        });
        let agency = Agency {
            name: "Sở Thông tin và Truyền thông".to_owned(),
            contact: Some("Phòng CNTT, điện thoại 0299 000 000".to_owned()),
        };
        Finding { listing, agency: Some(agency) }
    }
}

/// What was said: which button, under which name, and the note.
type Heard = (Said, String, Option<String>);

/// Follows one case for each name.
#[derive(Default)]
struct Notebook {
    heard: Mutex<Vec<Heard>>,
    said: Mutex<HashMap<String, Said>>,
}

impl Notebook {
    fn hear(&self, said: Said, statement: &Statement<'_>) -> Filed {
        let host = statement.host.unwrap().to_owned();
        if self.said.lock().unwrap().insert(host.clone(), said) == Some(said) {
            return Filed::Already;
        }
        self.heard.lock().unwrap().push((said, host, statement.note.map(str::to_owned)));
        Filed::Taken
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

impl Desk for Notebook {
    fn case_of(&self, visit: &Visit<'_>) -> Option<Case> {
        let class = class_of(visit.host?)?;
        Some(Case {
            ticket: "7KQ-M2X-9".to_owned(),
            class,
            name: visit.host.map(str::to_owned),
            family: None,
            machine: Some("PC-KETOAN-03".to_owned()),
            since: visit.time - 26 * 3_600_000_000,
            sightings: if class == Class::C2 { 17 } else { 1 },
            said: self.said.lock().unwrap().get(visit.host?).copied(),
        })
    }

    fn said_clean(&self, statement: &Statement<'_>) -> Result<Filed, DeskError> {
        Ok(self.hear(Said::Clean, statement))
    }

    fn said_wrong(&self, statement: &Statement<'_>) -> Result<Filed, DeskError> {
        Ok(self.hear(Said::Wrong, statement))
    }
}

/// A browser at a machine whose every name leads to the sinkhole.
struct Scene {
    browser: Browser,
    desk: Arc<Notebook>,
    folder: TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let desk = Arc::new(Notebook::default());
        let followed: Arc<dyn Desk> = desk.clone();
        let reception =
            Reception::new(Names, Some(followed), Design::default(), Key::new(&[7; 32]), vietnam());
        let listening = {
            let _entered = runtime.enter();
            listener::bind("127.0.0.1:80".parse().unwrap()).unwrap()
        };
        runtime.spawn(http::serve(
            vec![listening],
            Arc::new(reception),
            Options { per_client: 100, ..Options::default() },
            Visits::default(),
            std::future::pending(),
        ));
        let folder = tempfile::tempdir().unwrap();
        let browser = Browser::start(folder.path());
        Self { browser, desk, folder, _runtime: runtime }
    }

    fn go(&self, kind: &str) {
        self.browser.go(&format!("http://{kind}.example.test/"));
    }
}

/// Fails the test where a script in the page finds fault with it.
#[track_caller]
fn assert_no_fault(browser: &Browser, what: &str, script: &str) {
    let faults = browser.run(script);
    assert_eq!(faults.as_array().map(Vec::len), Some(0), "{what}: {faults:#}");
}

/// Text against what is behind it, as WCAG 2.2 computes it (1.4.3, 1.4.11): 4.5 to 1, large text and what edges show 3 to 1.
const CONTRAST: &str = r"
const rgb = text => text.match(/[\d.]+/g).map(Number);
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const clear = color => color.length > 3 && color[3] === 0;
const behind = element => {
    for (let at = element; at; at = at.parentElement) {
        const color = rgb(getComputedStyle(at).backgroundColor);
        if (!clear(color)) return color;
    }
    return [255, 255, 255];
};
const faults = [];
let seen = 0;
const judge = (style, back, text) => {
    const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    const needed = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    const got = ratio(rgb(style.color), back);
    seen += 1;
    if (got < needed) faults.push(`${got.toFixed(2)} < ${needed}: ${text}`);
};
const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (text && element.getClientRects().length) judge(getComputedStyle(element), behind(element), text);
}
for (const li of document.querySelectorAll('ol > li')) {
    const style = getComputedStyle(li, '::before');
    judge(style, rgb(style.backgroundColor), 'the number of a step');
}
for (const field of document.querySelectorAll('textarea, button')) {
    const edge = ratio(rgb(getComputedStyle(field).borderTopColor), behind(field.parentElement));
    if (edge < 3) faults.push(`${edge.toFixed(2)} < 3: the edge of ${field.outerHTML}`);
}
if (seen < 20) faults.push(`only ${seen} texts`);
return faults;
";

/// What assistive technology goes by: languages, headings in order, labels, names of buttons and links, room for fingers.
const STRUCTURE: &str = r"
const faults = [];
const fault = (is, text) => { if (is) faults.push(text); };
fault(document.documentElement.lang !== 'vi', 'the page is not Vietnamese');
fault(!document.title, 'no title');
fault(document.querySelectorAll('main').length !== 1, 'not one main');
for (const [id, language] of [['vi', 'vi'], ['en', 'en']]) {
    const section = document.getElementById(id);
    fault(section.lang !== language, `section ${id} is not marked ${language}`);
    const levels = [...section.querySelectorAll('h1, h2, h3, h4')].map(heading => Number(heading.tagName[1]));
    fault(levels[0] !== 1 || levels.filter(level => level === 1).length !== 1, `headings of ${id}: ${levels}`);
    levels.forEach((level, at) => fault(at && level > levels[at - 1] + 1, `a heading is left out: ${levels}`));
}
for (const field of document.querySelectorAll('textarea')) {
    fault(field.labels.length !== 1 || !field.labels[0].innerText.trim(), `no label: ${field.outerHTML}`);
}
const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
fault(new Set(ids).size !== ids.length, `ids are there twice: ${ids}`);
for (const control of document.querySelectorAll('button, a')) {
    fault(!control.innerText.trim(), `no name: ${control.outerHTML}`);
    const { width, height } = control.getBoundingClientRect();
    fault(width < 24 || height < 24, `${width} by ${height}: ${control.outerHTML}`);
}
for (const cell of document.querySelectorAll('th')) fault(cell.scope !== 'row', `no scope: ${cell.outerHTML}`);
for (const table of document.querySelectorAll('table')) fault(!table.caption, 'a table without caption');
for (const svg of document.querySelectorAll('svg')) fault(svg.getAttribute('aria-hidden') !== 'true', 'a picture without words');
return faults;
";

/// Nothing sticks out sideways, and nothing is cut.
const FITS: &str = r"
const faults = [], width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) faults.push(`${document.documentElement.scrollWidth} wide in ${width}`);
for (const element of document.querySelectorAll('main *')) {
    const { left, right } = element.getBoundingClientRect();
    if (right > left && (left < -1 || right > width + 1)) faults.push(`${left} to ${right}: ${element.outerHTML.slice(0, 90)}`);
    if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display === 'block') {
        faults.push(`cut: ${element.outerHTML.slice(0, 90)}`);
    }
}
return faults;
";

#[test]
fn everybody_can_read_it_at_a_desk_and_on_a_phone() {
    inside(|| {
        let scene = Scene::new();
        let browser = &scene.browser;
        for kind in KINDS {
            scene.go(kind);
            for window in [PHONE, DESK] {
                browser.resize(window);
                assert_no_fault(browser, kind, STRUCTURE);
                for scheme in [Scheme::Light, Scheme::Dark] {
                    browser.prefer(scheme);
                    assert_no_fault(browser, &format!("{kind} {window:?} {scheme:?}"), CONTRAST);
                }
            }
            for window in [PHONE, DESK, ZOOMED[0], ZOOMED[1]] {
                browser.resize(window);
                assert_no_fault(browser, &format!("{kind} {window:?}"), FITS);
            }
        }
        // A blocked style or picture, and what is not found, would be here.
        assert_eq!(browser.complaints(), [""; 0]);
        if let Some(folder) = std::env::var_os("SACHDNS_SCREENSHOTS") {
            browser.prefer(Scheme::Light);
            take_pictures(&scene, Path::new(&folder));
        }
    });
}

#[test]
fn the_keyboard_reaches_everything_in_order() {
    inside(|| {
        let scene = Scene::new();
        let browser = &scene.browser;
        browser.resize(DESK);
        scene.go("c2");
        let order = [
            "a English",
            "textarea clean-vi",
            "button Tôi đã làm sạch máy",
            "textarea wrong-vi",
            "button Trang này bị chặn nhầm",
            "a Tiếng Việt",
            "textarea clean-en",
            "button I have cleaned this computer",
            "textarea wrong-en",
            "button This page is blocked by mistake",
        ];
        for expected in order {
            browser.press_tab();
            let focus = browser.run(
                "const at = document.activeElement, style = getComputedStyle(at); \
                 return [at.tagName.toLowerCase() + ' ' + (at.id || at.innerText), style.outlineStyle, \
                 parseFloat(style.outlineWidth), scrollY + at.getBoundingClientRect().top]",
            );
            assert_eq!(focus[0], expected, "{focus}");
            assert!(focus[1] == "solid" && focus[2].as_f64() >= Some(2.0), "focus does not show: {focus}");
        }
    });
}

#[test]
fn the_buttons_say_it_once_and_thank() {
    inside(|| {
        let scene = Scene::new();
        let browser = &scene.browser;
        browser.resize(PHONE);
        scene.go("c2");
        browser.type_into("#clean-vi", "Đã quét bằng Bkav,\nxóa 2 tệp");
        browser.click("#vi button[value=clean]");
        browser.wait_for("Cảm ơn Anh/Chị");
        let page = browser.text("#vi");
        for text in ["Các bước tiếp theo", "7KQ-M2X-9", "tiếp tục theo dõi", "0299 000 000"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        browser.click("#vi .text a");
        browser.wait_for("Đã ghi nhận: máy này được báo là đã làm sạch");
        browser.click("#vi button[value=clean]");
        browser.wait_for("Cảm ơn Anh/Chị");

        browser.resize(DESK);
        scene.go("phishing");
        browser.type_into("#wrong-en", "our payroll");
        browser.click("#en button[value=wrong]");
        browser.wait_for("Thank you for telling us");
        assert_eq!(browser.run("return document.documentElement.lang"), "en");
        assert_eq!(browser.run("return document.querySelector('section').id"), "en");

        let heard = [
            (Said::Clean, "c2.example.test", Some("Đã quét bằng Bkav, xóa 2 tệp")),
            (Said::Wrong, "phishing.example.test", Some("our payroll")),
        ];
        let heard = heard.map(|(said, host, note)| (said, host.to_owned(), note.map(str::to_owned)));
        assert_eq!(scene.desk.heard(), heard);
        assert_eq!(browser.complaints(), [""; 0]);
    });
}

#[test]
fn what_comes_too_late_or_from_elsewhere_is_asked_for_again() {
    inside(|| {
        let scene = Scene::new();
        let browser = &scene.browser;
        scene.go("c2");
        // A token of another server, or an old one.
        browser.run("document.querySelector('#vi [name=token]').value = 'AAAA'");
        browser.type_into("#clean-vi", "Đã quét");
        browser.click("#vi button[value=clean]");
        browser.wait_for("Chưa ghi nhận được: trang đã mở quá lâu");
        assert_eq!(scene.desk.heard(), []);
        assert_eq!(browser.run("return document.querySelector('#clean-vi').value"), "Đã quét");
        browser.click("#vi button[value=clean]");
        browser.wait_for("Cảm ơn Anh/Chị");
        let said = (Said::Clean, "c2.example.test".to_owned(), Some("Đã quét".to_owned()));
        assert_eq!(scene.desk.heard(), std::slice::from_ref(&said));

        // Another site's page, with a token that was good.
        scene.go("listed");
        let token = browser.run("return document.querySelector('[name=token]').value");
        let form = format!(
            "data:text/html,<form method=post action='http://listed.example.test/~sachdns/said'>\
             <input name=token value={}><input name=ticket value=7KQ-M2X-9><input name=note value=spam>\
             <button name=said value=wrong>Win a prize</button></form>",
            token.as_str().unwrap()
        );
        browser.go(&form);
        browser.click("button");
        browser.wait_for("Chưa ghi nhận được: trang đã mở quá lâu");
        assert!(!browser.run("return document.documentElement.outerHTML").as_str().unwrap().contains("spam"));
        assert_eq!(scene.desk.heard(), [said]);
    });
}

#[test]
fn other_sites_pages_stay_quiet() {
    inside(|| {
        let scene = Scene::new();
        let browser = &scene.browser;
        let address = "http://c2.example.test";
        let newspaper = Scripted::start();
        let page = format!(
            "<link rel=stylesheet href='{address}/a.css'><p>A newspaper</p><img src='{address}/ad'>\
             <iframe src='{address}/frame.html'></iframe><script src='{address}/a.js'></script>"
        );
        newspaper.body("/", "Content-Type: text/html\r\n", page.as_bytes());
        browser.go(&newspaper.url("/").replace("127.0.0.1", "news.example.test"));
        let picture =
            browser.run("const it = document.querySelector('img'); return [it.complete, it.naturalWidth]");
        assert_eq!(picture, serde_json::json!([true, 1]));
        assert_eq!(browser.text("body").trim(), "A newspaper");
        let wrong: Vec<_> =
            browser.complaints().into_iter().filter(|line| line.contains("SyntaxError")).collect();
        assert_eq!(wrong, [""; 0], "the page as a script");
    });
}

#[test]
fn on_paper_it_is_a_sheet_for_each_language() {
    inside(|| {
        let scene = Scene::new();
        for kind in KINDS {
            scene.go(kind);
            let pages = sheets(&scene, kind);
            assert_eq!(pages.len(), 2, "{kind}: {pages:#?}");
            let is_case = kind != "unlisted";
            for (page, contact, line) in
                [(&pages[0], "0299 000 000", "Cán bộ xử lý"), (&pages[1], "0299 000 000", "Treated by")]
            {
                assert!(page.contains(contact), "{kind}: {page}");
                assert_eq!(page.contains(line), is_case, "{kind}: {page}");
                assert_eq!(page.contains("7KQ-M2X-9"), is_case, "{kind}: {page}");
                for button in ["Tôi đã làm sạch máy", "blocked by mistake"] {
                    assert!(!page.contains(button), "{kind}: {page}");
                }
            }
        }
    });
}

/// The text of each printed page.
fn sheets(scene: &Scene, kind: &str) -> Vec<String> {
    let path = scene.folder.path().join(format!("{kind}.pdf"));
    fs::write(&path, scene.browser.print()).unwrap();
    let text = run(Command::new("pdftotext").arg("-layout").arg(&path).arg("-")).well().stdout;
    text.split_terminator('\x0c').map(str::to_owned).collect()
}

/// Pictures for docs/landing: `make screenshots`.
fn take_pictures(scene: &Scene, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let browser = &scene.browser;
    let keep = |name: &str, png: Vec<u8>| fs::write(folder.join(format!("{name}.png")), png).unwrap();
    for (size, window) in [("phone", PHONE), ("desktop", DESK)] {
        browser.resize(window);
        for kind in KINDS {
            scene.go(kind);
            for language in ["vi", "en"] {
                keep(&format!("{kind}-{language}-{size}"), browser.picture(&format!("#{language}")));
            }
        }
        for (said, kind) in [("clean", "c2"), ("wrong", "listed")] {
            scene.go(kind);
            browser.click(&format!("#vi button[value={said}]"));
            browser.wait_for("Cảm ơn Anh/Chị");
            for language in ["vi", "en"] {
                keep(&format!("{said}-{language}-{size}"), browser.picture(&format!("#{language}")));
            }
        }
        scene.desk.said.lock().unwrap().clear();
    }
    browser.resize(PHONE);
    browser.prefer(Scheme::Dark);
    scene.go("c2");
    keep("c2-vi-phone-dark", browser.picture("#vi"));
    browser.prefer(Scheme::Light);
    let sheets = scene.folder.path().join("print.pdf");
    fs::write(&sheets, browser.print()).unwrap();
    let pictures = folder.join("print");
    run(Command::new("pdftoppm").args(["-r", "70", "-png"]).arg(&sheets).arg(pictures)).well();
}

/// `run` gives what a script returns: that the judges judge at all.
#[test]
fn the_judges_find_fault_with_a_bad_page() {
    inside(|| {
        let scene = Scene::new();
        let browser = &scene.browser;
        scene.go("c2");
        let count = |script: &str| browser.run(script).as_array().map_or(0, Vec::len);
        assert_eq!([count(CONTRAST), count(STRUCTURE), count(FITS)], [0; 3]);
        let spoilt: Value = browser.run(
            "document.querySelector('#vi .text p').style.color = 'silver'; \
             document.querySelector('label').remove(); document.querySelector('#en').lang = 'vi'; \
             document.querySelector('h1').style.width = '9999px'; return null",
        );
        assert_eq!(spoilt, Value::Null);
        assert!([CONTRAST, STRUCTURE, FITS].map(count).iter().all(|&faults| faults > 0));
    });
}
