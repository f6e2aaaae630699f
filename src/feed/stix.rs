//! STIX 2.1 (and 2.0): bundles, TAXII envelopes and bare arrays of objects.
//!
//! ```text
//! {"type": "bundle", "objects": [
//!   {"type": "indicator", "id": "indicator--1", "pattern_type": "stix", "pattern": "[domain-name:value = 'evil.example']",
//!    "valid_until": "2026-12-01T00:00:00Z", "revoked": false},
//!   {"type": "malware", "id": "malware--1", "name": "Emotet"},
//!   {"type": "relationship", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "malware--1"}]}
//! ```
//!
//! An indicator's pattern is `pattern`'s to read. It ends with `valid_until` and is nothing once revoked, before
//! `valid_from`, or where all that it is called (`indicator_types`; `labels` in 2.0) is benign. The family is what the
//! indicator indicates: malware, else a tool, else those who use it. Objects stand in any order, so indicators wait for
//! the end of the document.

use std::collections::HashMap;
use std::sync::Arc;

use super::held::Held;
use super::output::{Output, Traits};
use super::pattern;
use super::walk::Steps;
use super::{Fault, is_family, words};

/// Objects and relationships that are remembered; more lose their families.
const MAX_OBJECTS: usize = 200_000;

/// Octets of an identifier; those of STIX have at most some eighty.
const MAX_ID: usize = 200;

/// How far an indicator's beginning may lie ahead, in microseconds: a day. Clocks and zones differ, and a version is
/// read once, so that what begins within hours would be missed until there is another.
const AHEAD: i64 = 86_400_000_000;

/// Reads the objects of one document.
pub(super) struct Reader<'a, 'b> {
    out: &'a mut Output<'b>,
    objects: Vec<Object>,
    held: Held<Arc<str>>,
    names: HashMap<Box<str>, (Rank, Arc<str>)>,
    /// From an indicator to what it indicates.
    targets: HashMap<Box<str>, Vec<Box<str>>>,
    relationships: usize,
}

/// How well an object's name serves as a family; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Malware,
    Tool,
    Actor,
}

/// An object that is being read.
#[derive(Default)]
struct Object {
    line: u64,
    of_type: String,
    id: String,
    name: String,
    pattern: Option<String>,
    pattern_type: String,
    valid_from: String,
    valid_until: String,
    /// Of `indicator_types`.
    types: Words,
    labels: Words,
    severity: String,
    relationship_type: String,
    source: String,
    target: String,
    is_revoked: bool,
}

/// What an object is called.
#[derive(Default)]
struct Words {
    benign: usize,
    others: usize,
}

impl Words {
    fn note(&mut self, word: &str) {
        if word == "benign" { self.benign += 1 } else { self.others += 1 }
    }

    fn is_benign(&self) -> bool {
        self.benign > 0 && self.others == 0
    }
}

impl Object {
    fn is_benign(&self) -> bool {
        let has_types = self.types.benign + self.types.others > 0;
        if has_types { self.types.is_benign() } else { self.labels.is_benign() }
    }

    /// What is wrong with an indicator, whatever it looks for.
    fn fault(&self, now: i64) -> Option<Fault> {
        if self.is_revoked {
            return Some(Fault::Revoked);
        }
        if self.is_benign() {
            return Some(Fault::Benign);
        }
        let is_ahead = words::time(&self.valid_from).is_some_and(|start| start > now.saturating_add(AHEAD));
        is_ahead.then_some(Fault::NotYet)
    }
}

impl<'a, 'b> Reader<'a, 'b> {
    pub(super) fn new(out: &'a mut Output<'b>) -> Self {
        Self {
            out,
            objects: Vec::new(),
            held: Held::default(),
            names: HashMap::new(),
            targets: HashMap::new(),
            relationships: 0,
        }
    }

    /// The document is over: what waited knows its family, or has none.
    pub(super) fn finish(mut self) {
        self.release();
    }

    fn release(&mut self) {
        let (names, targets) = (&self.names, &self.targets);
        self.held.release(self.out, |item| {
            let indicated = targets.get(&*item.owner).into_iter().flatten();
            let best = indicated.filter_map(|target| names.get(target)).min_by_key(|(rank, _)| *rank);
            item.traits.family = best.map(|(_, name)| Arc::clone(name));
        });
    }
}

impl Steps for Reader<'_, '_> {
    fn begin(&mut self, _: Option<&str>, line: u64) {
        self.objects.push(Object { line, ..Object::default() });
    }

    fn scalar(&mut self, key: Option<&str>, text: &str, _: u64) {
        let (Some(object), Some(key)) = (self.objects.last_mut(), key) else { return };
        let place = match key {
            "type" => &mut object.of_type,
            "id" => &mut object.id,
            "name" => &mut object.name,
            "pattern_type" => &mut object.pattern_type,
            "valid_from" => &mut object.valid_from,
            "valid_until" => &mut object.valid_until,
            "severity" | "x_severity" => &mut object.severity,
            "relationship_type" => &mut object.relationship_type,
            "source_ref" => &mut object.source,
            "target_ref" => &mut object.target,
            "pattern" => object.pattern.get_or_insert_default(),
            "indicator_types" => return object.types.note(text),
            "labels" => return object.labels.note(text),
            "revoked" => return object.is_revoked = text == "true",
            _ => return,
        };
        // What is longer is no identifier, and many of them are remembered.
        if text.len() <= MAX_ID || matches!(key, "name" | "pattern") {
            text.clone_into(place);
        }
    }

    fn end(&mut self, _: u64) {
        let Some(object) = self.objects.pop() else { return };
        let rank = match object.of_type.as_str() {
            "indicator" => return self.indicator(&object),
            "relationship" => return self.relationship(object),
            "malware" => Rank::Malware,
            "tool" => Rank::Tool,
            "threat-actor" | "intrusion-set" | "campaign" => Rank::Actor,
            _ => return,
        };
        if is_family(&object.name) && !object.is_revoked && self.names.len() < MAX_OBJECTS {
            let family = self.out.family(&object.name);
            self.names.insert(object.id.into(), (rank, family));
        }
    }

    fn is_skipped(&self, _: &str) -> bool {
        false
    }
}

impl Reader<'_, '_> {
    fn indicator(&mut self, object: &Object) {
        let Some(text) = &object.pattern else { return };
        let id: Arc<str> = object.id.as_str().into();
        let traits = Traits {
            family: None,
            severity: words::severity(&object.severity),
            expires: words::time(&object.valid_until),
        };
        let found = if let Some(fault) = object.fault(self.out.now()) {
            Err(fault)
        } else if matches!(object.pattern_type.as_str(), "" | "stix") {
            pattern::read(text)
        } else {
            Err(Fault::PatternType(super::output::excerpt(&object.pattern_type)))
        };
        for (value, text) in found.unwrap_or_else(|fault| vec![(Err(fault), text.clone())]) {
            self.held.push(object.line, Arc::clone(&id), value, traits.clone(), &text);
        }
        if self.held.is_full() {
            self.release();
        }
    }

    fn relationship(&mut self, object: Object) {
        let is_it = object.relationship_type == "indicates" && !object.is_revoked;
        if is_it && self.relationships < MAX_OBJECTS {
            self.relationships += 1;
            self.targets.entry(object.source.into()).or_default().push(object.target.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::feed::tests::{as_is, check, check_read};
    use crate::feed::{Format, Reading};

    fn bundle(objects: &[&str]) -> String {
        format!(r#"{{"type": "bundle", "id": "bundle--1", "objects": [{}]}}"#, objects.join(",\n"))
    }

    const EVIL: &str = r#"{"type": "indicator", "id": "indicator--1", "pattern_type": "stix",
        "pattern": "[domain-name:value = 'evil.example' OR file:name = 'x']"}"#;

    #[test]
    fn indicators_are_read_wherever_they_lie() {
        let expected = ["1 name evil.example subtree", "1! Kind(\"file:name\")"];
        check(Format::Stix, &bundle(&[EVIL]), &expected);
        check(Format::Stix, &format!("[{EVIL}]"), &expected);
        check(Format::Stix, &format!(r#"{{"more": false, "objects": [{EVIL}]}}"#), &expected);
        check(Format::Stix, &bundle(&[r#"{"type": "domain-name", "value": "seen.example"}"#]), &[]);
    }

    #[test]
    fn the_family_is_what_is_indicated() {
        let objects = [
            r#"{"type": "relationship", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "intrusion-set--1"}"#,
            EVIL,
            r#"{"type": "relationship", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "malware--1"}"#,
            r#"{"type": "malware", "id": "malware--1", "name": "Emotet"}"#,
            r#"{"type": "intrusion-set", "id": "intrusion-set--1", "name": "TA542"}"#,
        ];
        check(
            Format::Stix,
            &bundle(&objects),
            &["2 name evil.example subtree family=Emotet", "2! Kind(\"file:name\")"],
        );
        check(
            Format::Stix,
            &bundle(&[objects[0], objects[1], objects[4]]),
            &["2 name evil.example subtree family=TA542", "2! Kind(\"file:name\")"],
        );
    }

    #[test]
    fn what_is_over_not_yet_or_benign_is_told() {
        let indicator = |more: &str| {
            bundle(&[&format!(
                r#"{{"type": "indicator", "pattern": "[ipv4-addr:value='192.0.2.1']", {more}}}"#
            )])
        };
        let check = |more: &str, expected: &str| {
            let reading = Reading { now: 1_000_000_000_000_000, ..as_is(Format::Stix) };
            check_read(&reading, indicator(more).as_bytes(), &[expected]);
        };
        check(r#""revoked": false"#, "1 ip 192.0.2.1");
        check(r#""revoked": true"#, "1! Revoked");
        check(r#""valid_from": "2001-09-10T01:00:00Z""#, "1 ip 192.0.2.1");
        check(r#""valid_from": "2001-09-11T00:00:00Z""#, "1! NotYet");
        check(r#""indicator_types": ["benign"]"#, "1! Benign");
        check(r#""indicator_types": ["benign", "malicious-activity"]"#, "1 ip 192.0.2.1");
        check(r#""labels": ["benign"]"#, "1! Benign");
        check(r#""labels": ["benign"], "indicator_types": ["malicious-activity"]"#, "1 ip 192.0.2.1");
        check(r#""labels": ["tlp:clear"], "indicator_types": ["benign"]"#, "1! Benign");
        check(r#""valid_until": "2001-01-01T00:00:00Z""#, "1! Expired");
        check(r#""valid_until": "2031-01-01T00:00:00Z""#, "1 ip 192.0.2.1 expires=1924992000");
        check(r#""pattern_type": "snort""#, "1! PatternType(\"snort\")");
        check(r#""severity": "high""#, "1 ip 192.0.2.1 severity=high");
    }

    #[test]
    fn patterns_that_break_the_grammar_are_told() {
        check(
            Format::Stix,
            &bundle(&[r#"{"type": "indicator", "pattern": "evil.example"}"#]),
            &["1! PatternSyntax"],
        );
    }
}
