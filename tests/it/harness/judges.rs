//! What every page of the console is held to in a real browser, and the two windows in which people look at it.
//!
//! What a page says is its own tests' business.

use super::browser::{Browser, Window};

/// A telephone's.
pub(crate) const PHONE: Window = Window { width: 390, height: 844, is_phone: true };
/// An office's.
pub(crate) const DESK: Window = Window { width: 1366, height: 768, is_phone: false };

/// The page that the browser is at fits both windows, and assistive technology finds its way; `name` is told where not.
#[track_caller]
pub(crate) fn assert_fine(browser: &Browser, name: &str) {
    for window in [PHONE, DESK] {
        browser.resize(window);
        for judge in [FITS, STRUCTURE] {
            let faults = browser.run(judge);
            assert_eq!(faults.as_array().map(Vec::len), Some(0), "{name} {window:?}: {faults:#}");
        }
    }
}

/// Nothing of the page sticks out sideways; what scrolls does so within itself.
pub(crate) const FITS: &str = r"
const width = document.documentElement.clientWidth;
return document.documentElement.scrollWidth > width ? [document.documentElement.scrollWidth + ' in ' + width] : [];
";

/// What assistive technology goes by.
const STRUCTURE: &str = r"
const faults = [];
const fault = (is, text) => { if (is) faults.push(text); };
fault(document.querySelectorAll('main').length !== 1, 'not one main');
fault(document.querySelectorAll('h1').length !== 1, 'not one h1');
let last = 1;
for (const heading of document.querySelectorAll('main h1, main h2, main h3')) {
    const level = Number(heading.tagName[1]);
    fault(level > last + 1, `a heading is left out: ${heading.outerHTML}`);
    last = level;
}
for (const field of document.querySelectorAll('main input:not([type=hidden]), main select, main textarea')) {
    fault(!field.labels.length && !field.ariaLabel, `no label: ${field.outerHTML}`);
}
for (const control of document.querySelectorAll('main button, main a')) {
    fault(!control.textContent.trim() && !control.getAttribute('aria-label'), `no name: ${control.outerHTML}`);
}
for (const table of document.querySelectorAll('main table')) fault(!table.caption, 'a table without caption');
for (const head of document.querySelectorAll('main th')) fault(!head.scope, `no scope: ${head.outerHTML}`);
const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
fault(new Set(ids).size !== ids.length, `ids are there twice: ${ids}`);
return faults;
";
