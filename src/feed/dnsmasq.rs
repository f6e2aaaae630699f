//! dnsmasq configuration: `address=`, `local=` and `server=` (dnsmasq's manual, same options).
//!
//! ```text
//! address=/evil.example/0.0.0.0          listed; so with any address, with none and with `#`
//! local=/evil.example/                   listed: never asked of an upstream
//! server=/evil.example/                  the same
//! server=/good.example/#                 exception: asked of the usual upstreams
//! server=/corp.example/10.0.0.53         no indicator: asked of another server
//! ```
//!
//! dnsmasq itself means the name and all below it. Other options list nothing and are reported, so
//! that a whole configuration given by mistake shows.

use crate::policy::action::Action;
use crate::policy::trigger::Scope;

use super::output::{Output, excerpt};
use super::{Fault, Value, token};

pub(super) fn read_line(line: &str, out: &mut Output<'_>) {
    let text = without_comment(line);
    if text.is_empty() {
        return;
    }
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key.trim_end(), value.trim_start()),
        None => (text, ""),
    };
    let is_address = match key {
        "address" => true,
        "local" | "server" => false,
        other => return out.fault(Fault::Setting(excerpt(other)), line),
    };
    // `server=10.0.0.53` names an upstream.
    let Some(value) = value.strip_prefix('/') else {
        return out.fault(Fault::Setting(excerpt(key)), line);
    };
    let Some((names, target)) = value.rsplit_once('/') else { return out.fault(Fault::Syntax, line) };
    let action = match (is_address, target) {
        (_, "") | (true, "#") => None,
        (false, "#") => Some(Action::Passthru),
        (true, target) if token::address(target).is_some() => None,
        (true, _) => return out.fault(Fault::Syntax, line),
        (false, server) => return out.fault(Fault::Forwarded(excerpt(server)), line),
    };
    for name in names.split('/') {
        out.result(read_name(name), action.clone(), line);
    }
}

fn read_name(text: &str) -> Result<Value, Fault> {
    match text {
        "#" => return Err(Fault::Everything),
        // `//` stands for all names of one label.
        "" => return Err(Fault::SingleLabel),
        _ => {}
    }
    if token::address(text).is_some() {
        return Err(Fault::AddressAsName);
    }
    // A dot in front changes nothing for dnsmasq.
    token::name(text.strip_prefix('.').unwrap_or(text)).map(|name| Value::Name(name, Scope::Subtree))
}

/// The line up to a `#` at its start or behind a blank: elsewhere `#` is part of the value.
fn without_comment(line: &str) -> &str {
    let text = line.trim();
    let mut is_after_blank = true;
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'#' && is_after_blank {
            return text[..at].trim_end();
        }
        is_after_blank = byte.is_ascii_whitespace();
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    #[test]
    fn lines() {
        let check = |text: &str, expected: &[&str]| check(Format::Dnsmasq, text, expected);
        check("# address=/a.example/\n\n", &[]);
        check("address=/evil.example/0.0.0.0", &["1 name evil.example subtree"]);
        check("address=/evil.example/::", &["1 name evil.example subtree"]);
        check("address=/evil.example/10.1.1.1", &["1 name evil.example subtree"]);
        check("address=/evil.example/", &["1 name evil.example subtree"]);
        check("address=/evil.example/#", &["1 name evil.example subtree"]);
        check("address=/evil.example/# # why", &["1 name evil.example subtree"]);
        check("address = /Evil.example/ # why", &["1 name evil.example subtree"]);
        check("local=/evil.example/", &["1 name evil.example subtree"]);
        check("server=/evil.example/", &["1 name evil.example subtree"]);
        check("server=/.evil.example/", &["1 name evil.example subtree"]);
        check("server=/good.example/#", &["1 name good.example subtree action=passthru"]);
        check(
            "address=/a.example/b.example/0.0.0.0",
            &["1 name a.example subtree", "1 name b.example subtree"],
        );
    }

    #[test]
    fn faults() {
        let check = |text: &str, expected: &[&str]| check(Format::Dnsmasq, text, expected);
        check("address=/#/0.0.0.0", &["1! Everything"]);
        check("address=/#/", &["1! Everything"]);
        check("local=//", &["1! SingleLabel"]);
        check("address=/com/0.0.0.0", &["1! SingleLabel"]);
        check("address=/1.2.3.4/0.0.0.0", &["1! AddressAsName"]);
        check("address=/*.evil.example/", &["1! Wildcard"]);
        check("address=/evil.example", &["1! Syntax"]);
        check("address=/evil.example/nonsense", &["1! Syntax"]);
        check("server=/corp.example/10.0.0.53", &["1! Forwarded(\"10.0.0.53\")"]);
        check("server=10.0.0.53", &["1! Setting(\"server\")"]);
        check("conf-dir=/etc/dnsmasq.d", &["1! Setting(\"conf-dir\")"]);
        check("domain-needed", &["1! Setting(\"domain-needed\")"]);
        check("com/a.example", &["1! Setting(\"com/a.example\")"]);
        check("address=/com/a.example/", &["1! SingleLabel", "1 name a.example subtree"]);
    }
}
