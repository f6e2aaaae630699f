//! Free text: reports, letters and mails in which what is malicious is defanged.
//!
//! ```text
//! Mã độc kết nối tới hxxp://evil[.]vn/a và 192.0.2[.]1:8080 (xem setup.exe, phiên bản 1.2.3.4).
//! | `evil[.]example` | 2026-01-01 | C&C server |
//! ```
//!
//! Only what was defanged is listed. Its author took the trouble where it is malicious and left the rest of the
//! text alone: file names, versions, references, the name of the author's own site. A line that holds
//! nothing but a name, an address or a URL that was not defanged is reported, for it may be meant.

use super::output::{Output, Traits};
use super::{Fault, Value, defang, token};

/// Endings of files that are no top-level domains. (`.zip`, `.py` and `.sh` are.)
const FILES: [&str; 43] = [
    "7z", "apk", "bat", "bin", "cfg", "cmd", "csv", "dat", "dll", "doc", "docx", "elf", "exe", "gif", "gz",
    "hta", "htm", "html", "ini", "iso", "jar", "jpg", "js", "json", "lnk", "log", "msi", "ocx", "pdf", "php",
    "png", "ppt", "pptx", "ps1", "rar", "rtf", "scr", "sys", "tmp", "txt", "vbs", "xls", "xlsx",
];

pub(super) fn read_line(line: &str, out: &mut Output<'_>) {
    let mut is_defanged = false;
    let mut lone = None;
    let mut count = 0;
    for word in line.split(is_between).flat_map(members).map(trimmed).filter(|word| !word.is_empty()) {
        count += 1;
        lone = Some(word);
        // `1 [.] 2` is prose; a mark alone is no word.
        let Some(whole) = defang::refang(word) else { continue };
        is_defanged = true;
        match read(trimmed(&whole)) {
            Ok(value) => out.indicator(value, Traits::default(), None),
            Err(fault) => out.fault(fault, word),
        }
    }
    if let (1, false, Some(word)) = (count, is_defanged, lone)
        && read(word).is_ok()
    {
        out.fault(Fault::NotDefanged, line);
    }
}

fn read(text: &str) -> Result<Value, Fault> {
    if !text.contains('/') && text.contains('@') {
        return Err(Fault::Mail);
    }
    let value = token::read(text)?;
    let ending = text.rsplit('.').next().unwrap_or(text);
    if matches!(value, Value::Name(..)) && FILES.iter().any(|file| ending.eq_ignore_ascii_case(file)) {
        return Err(Fault::File);
    }
    Ok(value)
}

/// What stands between words: blanks, the borders of tables, quotes and code marks.
fn is_between(char: char) -> bool {
    char.is_whitespace()
        || matches!(char, '|' | '`' | '"' | '\'' | '<' | '>' | '“' | '”' | '‘' | '’' | '«' | '»' | '\u{200b}')
}

/// `a,b;c` is three words, and a URL is one.
fn members(word: &str) -> impl Iterator<Item = &str> {
    let is_url = word.contains('/');
    word.split(move |char| !is_url && matches!(char, ',' | ';'))
}

/// The word without the marks of sentences, lists and emphasis around it.
fn trimmed(word: &str) -> &str {
    let is_mark =
        |char: char| matches!(char, '.' | ',' | ';' | ':' | '!' | '?' | '+' | '*' | '~' | '=' | '…' | '•');
    let word =
        word.trim_start_matches(|char: char| is_mark(char) || matches!(char, '(' | '[' | '{' | '-' | '–'));
    let mut word = word.trim_end_matches(is_mark);
    for (open, close) in [('(', ')'), ('[', ']'), ('{', '}')] {
        // Counted once: a word may be a whole line of brackets.
        let mut excess = word.matches(close).count().saturating_sub(word.matches(open).count());
        while excess > 0
            && let Some(rest) = word.strip_suffix(close)
        {
            word = rest.trim_end_matches(is_mark);
            excess -= 1;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    #[test]
    fn what_is_defanged_is_listed() {
        let check = |text: &str, expected: &[&str]| check(Format::Text, text, expected);
        check("evil[.]vn", &["1 name evil.vn subtree"]);
        check("Truy cập (evil[.]com[.]vn), xem.", &["1 name evil.com.vn subtree"]);
        check("sạch[.]vn", &["1 name xn--sch-sgz.vn subtree"]);
        check("C2: hxxps://Evil[.]vn/a.php?b=c.", &["1 url https://Evil.vn/a.php?b=c"]);
        check("hxxp[:]//evil{.}vn/a(1)", &["1 url http://evil.vn/a(1)"]);
        check("* `192.0.2[.]1:8080`", &["1 ip 192.0.2.1"]);
        check("192.0.2[.]0/24", &["1 net 192.0.2.0/24"]);
        check("- evil.example[.]net:7880", &["1 url evil.example.net:7880"]);
        check(
            "a(dot)vn,b[dot]vn;c[.]vn",
            &["1 name a.vn subtree", "1 name b.vn subtree", "1 name c.vn subtree"],
        );
        check(
            "|Unknown|a[.]com|142.93.116.157|b[.]com|178.128.90.66",
            &["1 name a.com subtree", "1 name b.com subtree"],
        );
        check("|`++https://docs.a[.]com/d/1/edit++`|", &["1 url https://docs.a.com/d/1/edit"]);
        check("“evil[.]vn”…", &["1 name evil.vn subtree"]);
    }

    #[test]
    fn prose_is_not() {
        let check = |text: &str, expected: &[&str]| check(Format::Text, text, expected);
        check("See welivesecurity.com, 1.2.3.4 and setup.exe (version 8.3.1.2).", &[]);
        check("https://www.a.example/x/[the article]", &[]);
        check("|`d35695f2`|CV.doc.exe|Win32/Agent.RUI", &[]);
        check("options [NUMBER] (a) {b} [.] x", &[]);
        check("who[@]evil[.]vn", &["1! Mail"]);
        check("who@evil[.]vn", &["1! Mail"]);
        check("setup[.]exe", &["1! File"]);
        check("v1[.]2", &["1! Address"]);
        check("* `46.183.220.81`", &["1! NotDefanged"]);
        check("evil.vn", &["1! NotDefanged"]);
        check("rastls.dll", &[]);
        check("== Network", &[]);
    }
}
