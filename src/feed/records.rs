//! JSON that is neither MISP nor STIX: records, and arrays of names.
//!
//! ```text
//! {"1868155": [{"ioc_value": "192.0.2.1:81", "ioc_type": "ip:port", "malware_printable": "X"}]}     ThreatFox, in any nesting
//! {"version": 3, "rules": [{"domain": […], "domain_suffix": […], "ip_cidr": […]}]}                  sing-box rule sets
//! ["evil.example", "192.0.2.1"]   {"domains": ["evil.example"]}
//! ```
//!
//! An object with a value is a row of a table, its keys are the headings; so the feed's `columns` hold here too. What
//! stands in arrays counts where the array's key, or the lack of one, says that it lists something.

use super::output::{Output, Traits};
use super::table;
use super::walk::Steps;
use super::words::{self, Heading};
use super::{Columns, Fault, Role, Value, token};
use crate::policy::trigger::Scope;

/// Fields of one record that are kept.
const MAX_FIELDS: usize = 200;
/// Octets of them.
const MAX_OCTETS: usize = 256 * 1024;

/// Reads the records of one document.
pub(super) struct Reader<'a, 'b> {
    out: &'a mut Output<'b>,
    columns: &'a Columns,
    records: Vec<Record>,
}

/// An object that is being read.
#[derive(Default)]
struct Record {
    line: u64,
    fields: Vec<(String, String)>,
    octets: usize,
    has_objects: bool,
    has_listed: bool,
}

impl<'a, 'b> Reader<'a, 'b> {
    pub(super) fn new(columns: &'a Columns, out: &'a mut Output<'b>) -> Self {
        Self { out, columns, records: Vec::new() }
    }

    fn list(&mut self, text: &str, line: u64) {
        self.hand_on(token::read(text), text, line);
    }

    /// Hands on what an array lists.
    fn hand_on(&mut self, value: Result<Value, Fault>, text: &str, line: u64) {
        self.out.line = line;
        match value {
            Ok(value) => self.out.indicator(value, Traits::default(), None),
            Err(fault) => self.out.fault(fault, text),
        }
        if let Some(record) = self.records.last_mut() {
            record.has_listed = true;
        }
    }
}

impl Steps for Reader<'_, '_> {
    fn begin(&mut self, _: Option<&str>, line: u64) {
        if let Some(outer) = self.records.last_mut() {
            outer.has_objects = true;
        }
        self.records.push(Record { line, ..Record::default() });
    }

    fn scalar(&mut self, key: Option<&str>, text: &str, line: u64) {
        let (Some(record), Some(key)) = (self.records.last_mut(), key) else { return self.list(text, line) };
        record.octets += key.len() + text.len();
        if record.fields.len() < MAX_FIELDS && record.octets < MAX_OCTETS {
            record.fields.push((key.to_owned(), text.to_owned()));
        }
    }

    fn element(&mut self, key: Option<&str>, text: &str, line: u64) {
        // sing-box's keys first, and what they mean.
        let value = match key {
            Some("domain") => token::name(text).map(|name| Value::Name(name, Scope::Exact)),
            Some("domain_suffix") => {
                let below = text.strip_prefix('.');
                let scope = if below.is_some() { Scope::Below } else { Scope::Subtree };
                token::name(below.unwrap_or(text)).map(|name| Value::Name(name, scope))
            }
            Some("domain_keyword") => Err(Fault::Pattern),
            Some("domain_regex") => Err(Fault::Regex),
            None | Some("ip_cidr") => return self.list(text, line),
            Some(key) if words::heading(key) == Some(Heading::Role(Role::Value)) => {
                return self.list(text, line);
            }
            Some(_) => return,
        };
        self.hand_on(value, text, line);
    }

    fn end(&mut self, _: u64) {
        let Some(record) = self.records.pop() else { return };
        if record.fields.is_empty() {
            return;
        }
        self.out.line = record.line;
        let Record { fields, has_objects, has_listed, .. } = record;
        let text = fields.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(",");
        if !table::record(self.columns, fields, self.out) && !has_objects && !has_listed {
            self.out.fault(Fault::NoValue, &text);
        }
    }

    fn is_skipped(&self, _: &str) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::tests::{as_is, check, check_read};
    use crate::feed::{Format, Reading};

    #[test]
    fn records_are_rows() {
        let check = |text: &str, expected: &[&str]| check(Format::Json, text, expected);
        check(
            r#"{"7": [{"ioc_value": "192.0.2.1:81", "ioc_type": "ip:port", "malware": "x.y", "malware_printable": "X Y", "tags": null}],
                "8": [{"ioc_value": "ab", "ioc_type": "md5_hash"}]}"#,
            &["1 ip 192.0.2.1 family=X Y", "2! Kind(\"md5_hash\")"],
        );
        check(
            r#"{"status": "ok", "data": [{"domain": "evil.example", "tags": ["a.example"]}]}"#,
            &["1 name evil.example subtree"],
        );
        check(
            r#"[{"domain": "a.example", "revoked": true}, {"domain": "b.example", "deleted": 1},
                {"domain": "c.example", "revoked": false, "deleted": "0"}]"#,
            &["1! Revoked", "1! Deleted", "2 name c.example subtree"],
        );
        check(r#"[{"name": "evil.example"}]"#, &["1! NoValue"]);
        check("{}", &[]);
    }

    #[test]
    fn arrays_list() {
        let check = |text: &str, expected: &[&str]| check(Format::Json, text, expected);
        check("[\"evil.example\",\n\"192.0.2.1\"]", &["1 name evil.example subtree", "2 ip 192.0.2.1"]);
        check(r#"{"domains": ["evil.example"], "tags": ["a.example"]}"#, &["1 name evil.example subtree"]);
        check(
            r#"{"version": 3, "rules": [{"domain": ["a.example"], "domain_suffix": ["b.example", ".c.example"],
                "ip_cidr": ["192.0.2.0/24"], "domain_keyword": ["ads"], "domain_regex": ["^ad"]}]}"#,
            &[
                "1 name a.example exact",
                "1 name b.example subtree",
                "1 name c.example below",
                "2 net 192.0.2.0/24",
                "2! Pattern",
                "2! Regex",
            ],
        );
    }

    #[test]
    fn columns_are_keys() {
        let columns = "value=name,family=what".parse().unwrap();
        let reading = Reading { columns, ..as_is(Format::Json) };
        let text = br#"[{"what": "emotet", "name": "evil.example"}]"#;
        check_read(&reading, text, &["1 name evil.example subtree family=emotet"]);
        check_read(&reading, br#"[{"what": "x", "name": "evil.example", "revoked": true}]"#, &["1! Revoked"]);
    }
}
