//! Adblock-style lists, as far as they speak of whole hosts.
//!
//! ```text
//! ! comment     # comment     [Adblock Plus 2.0]
//! ||evil.example^                 listed
//! ||*.evil.example^               listed, without evil.example itself
//! ||evil.example^$all             listed; so with important, document, doc and popup
//! @@||good.example^               exception
//! ||evil.example/path^$all        a URL: says nothing about the host
//! ||1.2.3.4^                      an address
//! evil.example                    a bare host, as lists for several tools mix in
//! 0.0.0.0 evil.example            a hosts line, likewise
//! ||ads.example^$third-party      no indicator: the rule holds only in other sites' pages
//! ```
//!
//! A browser applies a rule to one request of one page; a resolver can only take a name away as a
//! whole. So every rule that is narrower than its host is a diagnostic, each kind its own, and
//! never a listed name. A bare word is read as a host, though for a browser it is a piece of a URL:
//! that is what the lists that have them mean.

use crate::policy::action::Action;
use crate::policy::trigger::Scope;

use super::output::{Output, excerpt};
use super::{Fault, Value, hosts, token};

/// Modifiers with which a rule still covers everything of its host.
const WHOLE_HOST: [&str; 5] = ["all", "important", "document", "doc", "popup"];
/// What separates the sites of a cosmetic rule from what it hides.
const COSMETIC: [&str; 8] = ["##", "#@#", "#?#", "#@?#", "#$#", "#@$#", "#%#", "$$"];

pub(super) fn read_line(line: &str, out: &mut Output<'_>) {
    let text = line.trim();
    if is_comment(text) {
        return;
    }
    let (rule, action) = match text.strip_prefix("@@") {
        Some(rule) => (rule, Some(Action::Passthru)),
        None => (text, None),
    };
    if rule.starts_with('|') {
        return out.result(read_anchored(rule), action, line);
    }
    if COSMETIC.iter().any(|mark| rule.contains(mark)) {
        return out.fault(Fault::Cosmetic, line);
    }
    let first = rule.split_ascii_whitespace().next().unwrap_or(rule);
    if first.len() < rule.len() && hosts::sink_address(first).is_some() {
        return hosts::read_line(line, out);
    }
    out.result(read_bare(rule), action, line);
}

fn is_comment(text: &str) -> bool {
    match text.as_bytes() {
        [] | [b'!', ..] | [b'[', .., b']'] | [b'#'] | [b'#', b' ' | b'\t', ..] => true,
        // `#hidden` is a comment, `##hidden` a rule for all pages, and `#####` a line across.
        [b'#', rest @ ..] => {
            rest.iter().all(|&byte| byte == b'#') || !COSMETIC.iter().any(|mark| text.starts_with(mark))
        }
        _ => false,
    }
}

/// Reads a rule that is tied to a host (`||`) or to a URL's start (`|`).
fn read_anchored(rule: &str) -> Result<Value, Fault> {
    let Some(rule) = rule.strip_prefix("||") else {
        let (pattern, options) = split_options(rule);
        check_options(options)?;
        return match token::read(pattern.trim_matches('|').trim_end_matches('^'))? {
            url @ Value::Url(_) => Ok(url),
            _ => Err(Fault::Pattern),
        };
    };
    let (pattern, options) = split_options(rule);
    let host_len = pattern.find(['^', '/', '|', '?', ':', '$']).unwrap_or(pattern.len());
    let (host, rest) = pattern.split_at(host_len);
    check_options(options)?;
    // Any port and any path: the whole host after all.
    if matches!(rest, "" | "^" | "|" | "^|" | "^*") {
        return read_host(host);
    }
    if host.contains('*') {
        return Err(Fault::Wildcard);
    }
    if rest.starts_with(['^', '?', '|', '$']) {
        return Err(Fault::Pattern);
    }
    token::read(pattern.trim_end_matches('|').trim_end_matches('^'))
}

/// Reads what is tied to nothing: a host or an address, if it looks like one.
fn read_bare(rule: &str) -> Result<Value, Fault> {
    let is_regex = rule.len() > 1 && rule.starts_with('/') && (rule.ends_with('/') || rule.contains("/$"));
    if is_regex {
        return Err(Fault::Regex);
    }
    let (pattern, options) = split_options(rule);
    check_options(options)?;
    let pattern = pattern.split(" #").next().unwrap_or(pattern).trim_end();
    if pattern.starts_with(['/', '.', '-', '_', '&', '?', '=', ':', '^']) {
        return Err(Fault::Pattern);
    }
    let host = pattern.strip_suffix('^').unwrap_or(pattern);
    if host.contains(['/', ':']) { token::read(host) } else { read_host(host) }
}

fn read_host(text: &str) -> Result<Value, Fault> {
    match text.strip_prefix("*.") {
        // The dot is part of the pattern: names below match, the name itself does not.
        Some(rest) if token::address(rest).is_none() => {
            token::name(rest).map(|name| Value::Name(name, Scope::Below))
        }
        _ if text.starts_with('.') => Err(Fault::Pattern),
        _ => token::read(text),
    }
}

/// Splits the modifiers off: behind the last `$` that a modifier's name follows directly.
fn split_options(rule: &str) -> (&str, &str) {
    // A host holds no `$`, and a modifier's value may: so right behind the host the first one counts.
    let at = match rule.find(['^', '$']) {
        Some(at) if rule[at..].starts_with('$') && !rule[..at].contains('/') => Some(at),
        Some(at) if rule[at..].starts_with("^$") => Some(at + 1),
        _ => rule.rfind('$'),
    };
    match at {
        Some(at) if rule[at + 1..].starts_with(|char: char| char.is_ascii_alphabetic() || char == '~') => {
            (&rule[..at], &rule[at + 1..])
        }
        _ => (rule, ""),
    }
}

fn check_options(options: &str) -> Result<(), Fault> {
    if options.is_empty() {
        return Ok(());
    }
    match options.split(',').map(str::trim).find(|option| !WHOLE_HOST.contains(option)) {
        Some(option) => Err(Fault::Modifier(excerpt(option.split('=').next().unwrap_or(option)))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    #[test]
    fn whole_hosts_are_listed() {
        let check = |text: &str, expected: &[&str]| check(Format::Adblock, text, expected);
        check("||Evil.example^", &["1 name evil.example subtree"]);
        check("||evil.example", &["1 name evil.example subtree"]);
        check("||evil.example^|\r\n", &["1 name evil.example subtree"]);
        check("||sạch.vn^", &["1 name xn--sch-sgz.vn subtree"]);
        for option in ["all", "important", "document", "doc", "popup", "popup,important"] {
            check(&format!("||evil.example^${option}"), &["1 name evil.example subtree"]);
        }
        check("||*.evil.example^", &["1 name evil.example below"]);
        check("@@||good.example^", &["1 name good.example subtree action=passthru"]);
        check("@@||good.example^$important", &["1 name good.example subtree action=passthru"]);
        check("||1.2.3.4^", &["1 ip 1.2.3.4"]);
        check("||1.2.3.4:8080^", &["1 ip 1.2.3.4"]);
        check("||[2001:db8::1]^", &["1 ip 2001:db8::1"]);
        check("evil.example", &["1 name evil.example subtree"]);
        check("evil.example # why", &["1 name evil.example subtree"]);
        check("1.2.3.4", &["1 ip 1.2.3.4"]);
        check("0.0.0.0 a.example b.example", &["1 name a.example subtree", "1 name b.example subtree"]);
    }

    #[test]
    fn urls_say_nothing_about_their_host() {
        let check = |text: &str, expected: &[&str]| check(Format::Adblock, text, expected);
        check("||evil.example/path^$all", &["1 url evil.example/path"]);
        check("||evil.example//?u=$x^$all", &["1 url evil.example//?u=$x"]);
        check("||evil.example/a$b", &["1! Modifier(\"b\")"]);
        check("||evil.example/", &["1 url evil.example/"]);
        check("||evil.example:8080^", &["1 url evil.example:8080"]);
        check("||1.2.3.4/bin.sh^$all", &["1 url 1.2.3.4/bin.sh"]);
        check("|http://evil.example/x|", &["1 url http://evil.example/x"]);
        check("http://evil.example/x", &["1 url http://evil.example/x"]);
        check("evil.example/x", &["1 url evil.example/x"]);
    }

    #[test]
    fn narrower_rules_are_not_listed() {
        let check = |text: &str, expected: &[&str]| check(Format::Adblock, text, expected);
        for option in ["third-party", "~third-party", "script", "badfilter"] {
            check(&format!("||ads.example^${option}"), &[&format!("1! Modifier({option:?})")]);
        }
        check("||ads.example^$important,domain=a.example|b.example", &["1! Modifier(\"domain\")"]);
        check("||ads.example^$denyallow=x.example", &["1! Modifier(\"denyallow\")"]);
        check("||ads.example^$removeparam=/^\\$x/", &["1! Modifier(\"removeparam\")"]);
        check("||ads.example$script", &["1! Modifier(\"script\")"]);
        check("ads.example^$third-party", &["1! Modifier(\"third-party\")"]);
        check("@@||ads.example^$script", &["1! Modifier(\"script\")"]);
        check("||ads*.example.com^", &["1! Wildcard"]);
        check("||ads.*.example.com^", &["1! Wildcard"]);
        check("||ads.*^", &["1! Wildcard"]);
        check("||ads.*/path", &["1! Wildcard"]);
        check("/^ads[0-9]/", &["1! Regex"]);
        check("@@/ads/$script", &["1! Regex"]);
        check("/banner.gif", &["1! Pattern"]);
        check("-banner-", &["1! Pattern"]);
        check(".com/ads", &["1! Pattern"]);
        check("|ads.example", &["1! Pattern"]);
        check("||ads.example^path", &["1! Pattern"]);
        check("||ads.example?x", &["1! Pattern"]);
        check("||.ads.example^", &["1! Pattern"]);
        check("||com^", &["1! SingleLabel"]);
        check("a.example##.ad", &["1! Cosmetic"]);
        check("##.ad", &["1! Cosmetic"]);
        check("a.example#@#.ad", &["1! Cosmetic"]);
        check("a.example#?#.ad", &["1! Cosmetic"]);
    }

    #[test]
    fn comments() {
        let check = |text: &str, expected: &[&str]| check(Format::Adblock, text, expected);
        check("[Adblock Plus 2.0]\n! ||a.example^\n# ||b.example^\n#\n#####\n#word\n\n  ", &[]);
    }
}
