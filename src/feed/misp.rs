//! MISP events (the MISP core format, draft-dulaunoy-misp-core-format).
//!
//! ```text
//! {"Event": {"info": …, "threat_level_id": "1", "Tag": […], "Galaxy": […],
//!            "Attribute": [{"type": "domain", "value": "evil.example", "to_ids": true, "Tag": […]}],
//!            "Object": [{"name": "domain-ip", "Attribute": […]}]}}
//! {"response": [{"Event": …}]}     {"Event": …} without its key     {"response": {"Attribute": […]}}
//! ```
//!
//! An attribute lists something when it is meant for detection (`to_ids`) and not deleted. The family comes from
//! galaxy clusters and their tags: the attribute's, its object's, the event's; malware before its users. The
//! severity is the event's threat level. Related events and proposals are passed over.

use std::sync::Arc;

use super::held::{Held, Item};
use super::output::{Output, Traits};
use super::walk::Steps;
use super::{Fault, Value, is_family, token};
use crate::policy::rule::Severity;

/// Galaxies whose clusters are malware.
const MALWARE: [&str; 12] = [
    "malpedia",
    "mitre-malware",
    "mitre-enterprise-attack-malware",
    "mitre-mobile-attack-malware",
    "tool",
    "ransomware",
    "banker",
    "botnet",
    "rat",
    "stealer",
    "backdoor",
    "android",
];
/// Galaxies of whom malware is used by.
const ACTORS: [&str; 6] = [
    "threat-actor",
    "mitre-intrusion-set",
    "mitre-enterprise-attack-intrusion-set",
    "microsoft-activity-group",
    "360net-threat-actor",
    "mitre-mobile-attack-intrusion-set",
];
/// What is said of an event and is no part of it.
const SKIPPED: [&str; 7] =
    ["RelatedEvent", "RelatedAttribute", "ShadowAttribute", "EventReport", "Orgc", "Org", "CryptographicKey"];

/// Reads the events of one document.
pub(super) struct Reader<'a, 'b> {
    out: &'a mut Output<'b>,
    frames: Vec<Frame>,
    held: Held<()>,
}

/// An object that is being read.
#[derive(Default)]
struct Frame {
    kind: Kind,
    line: u64,
    /// How many indicators waited when it began.
    start: usize,
    name: String,
    relation: String,
    of_type: String,
    value: String,
    is_excluded: bool,
    is_deleted: bool,
    severity: Option<Severity>,
    malware: Option<Arc<str>>,
    actor: Option<Arc<str>>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Other,
    Event,
    Attribute,
    Object,
    Tag,
    Galaxy,
    Cluster,
}

impl<'a, 'b> Reader<'a, 'b> {
    pub(super) fn new(out: &'a mut Output<'b>) -> Self {
        Self { out, frames: Vec::new(), held: Held::default() }
    }
}

impl Steps for Reader<'_, '_> {
    fn begin(&mut self, key: Option<&str>, line: u64) {
        let kind = match key {
            // An event may stand without its key, and so may the list of them.
            None | Some("Event") => Kind::Event,
            Some("Attribute") => Kind::Attribute,
            Some("Object") => Kind::Object,
            Some("Tag") => Kind::Tag,
            Some("Galaxy") => Kind::Galaxy,
            Some("GalaxyCluster") => Kind::Cluster,
            Some(_) => Kind::Other,
        };
        self.frames.push(Frame { kind, line, start: self.held.len(), ..Frame::default() });
    }

    fn scalar(&mut self, key: Option<&str>, text: &str, line: u64) {
        let Some(frame) = self.frames.last_mut() else { return };
        let is_true = matches!(text, "true" | "1");
        match (key, frame.kind) {
            (Some("type"), _) => frame.of_type = text.to_owned(),
            (Some("value"), Kind::Attribute) => {
                frame.line = line;
                frame.value = text.to_owned();
            }
            (Some("value"), _) => frame.value = text.to_owned(),
            (Some("name"), _) => frame.name = text.to_owned(),
            (Some("object_relation"), _) => frame.relation = text.to_owned(),
            (Some("to_ids"), _) => frame.is_excluded = !is_true,
            (Some("deleted"), _) => frame.is_deleted = is_true,
            (Some("threat_level_id"), Kind::Event) => {
                frame.severity = match text {
                    "1" => Some(Severity::High),
                    "2" => Some(Severity::Medium),
                    "3" => Some(Severity::Low),
                    _ => None,
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, _: u64) {
        let Some(frame) = self.frames.pop() else { return };
        match frame.kind {
            Kind::Other | Kind::Galaxy => {}
            Kind::Tag => self.tag(&frame),
            Kind::Cluster => self.cluster(&frame.of_type, &frame.value),
            Kind::Attribute => self.attribute(&frame),
            Kind::Object => {
                // Where `deleted` stands behind the attributes, they were held for listed.
                if frame.is_deleted {
                    self.held.refuse_since(frame.start, &Fault::Deleted);
                }
                for item in self.held.since(frame.start) {
                    complete(&mut item.traits, &frame);
                }
            }
            Kind::Event => self.held.release(self.out, |item| complete(&mut item.traits, &frame)),
        }
        if self.held.is_full() {
            // All that waits is of the events that are open, but not of the object that is.
            let events = self.frames.iter().rev().filter(|frame| frame.kind == Kind::Event);
            let complete_all =
                |item: &mut Item<()>| events.clone().for_each(|event| complete(&mut item.traits, event));
            self.held.release(self.out, complete_all);
            // Nothing waits in front of those that still come.
            self.frames.iter_mut().for_each(|frame| frame.start = 0);
        }
    }

    fn is_skipped(&self, key: &str) -> bool {
        SKIPPED.contains(&key)
    }
}

impl Reader<'_, '_> {
    /// `misp-galaxy:malpedia="Emotet"` says what a cluster says.
    fn tag(&mut self, tag: &Frame) {
        if let Some((galaxy, cluster)) =
            tag.name.strip_prefix("misp-galaxy:").and_then(|tag| tag.split_once('='))
        {
            self.cluster(galaxy, cluster.trim_matches('"'));
        }
    }

    /// Notes a cluster for the attribute, object or event around it.
    fn cluster(&mut self, galaxy: &str, value: &str) {
        let is_about =
            |frame: &&mut Frame| matches!(frame.kind, Kind::Attribute | Kind::Object | Kind::Event);
        let Some(frame) = self.frames.iter_mut().rev().find(is_about) else { return };
        let place = match galaxy {
            galaxy if MALWARE.contains(&galaxy) => &mut frame.malware,
            galaxy if ACTORS.contains(&galaxy) => &mut frame.actor,
            _ => return,
        };
        if place.is_none() && is_family(value) {
            *place = Some(self.out.family(value));
        }
    }

    fn attribute(&mut self, attribute: &Frame) {
        let of_object = self.frames.iter_mut().rev().find(|frame| frame.kind == Kind::Object);
        let is_deleted = attribute.is_deleted || of_object.as_ref().is_some_and(|object| object.is_deleted);
        if let Some(object) = of_object
            && object.malware.is_none()
            && names_malware(&object.name, &attribute.relation)
            && is_family(&attribute.value)
        {
            object.malware = Some(self.out.family(&attribute.value));
        }
        let mut traits = Traits::default();
        complete(&mut traits, attribute);
        let values = match values(&attribute.of_type, &attribute.value) {
            Err(fault) => vec![Err(fault)],
            Ok(_) if is_deleted => vec![Err(Fault::Deleted)],
            Ok(_) if attribute.is_excluded => vec![Err(Fault::NotForDetection)],
            Ok(values) => values,
        };
        for value in values {
            self.held.push(attribute.line, (), value, traits.clone(), &attribute.value);
        }
    }
}

/// Whether an attribute of such an object is the name of what the others belong to.
fn names_malware(object: &str, relation: &str) -> bool {
    matches!((object, relation), ("android-app", "name") | (_, "malware-family" | "malware_family"))
}

/// Adds what is said further out to what is not known yet.
fn complete(traits: &mut Traits, frame: &Frame) {
    if traits.family.is_none() {
        traits.family = frame.malware.clone().or_else(|| frame.actor.clone());
    }
    traits.severity = traits.severity.or(frame.severity);
}

/// What an attribute of this type lists; a fault for a type that DNS does not show.
fn values(of_type: &str, value: &str) -> Result<Vec<Result<Value, Fault>>, Fault> {
    let value = value.trim();
    Ok(match of_type {
        "domain" | "hostname" | "ip-dst" | "ip-src" => vec![token::read(value)],
        "url" | "uri" => vec![token::url_of(value)],
        "domain|ip" => value.split('|').map(token::read).collect(),
        "ip-dst|port" | "ip-src|port" => vec![token::read(value.split('|').next().unwrap_or(value))],
        // A name may have other uses than the one on this port.
        "hostname|port" => vec![token::read(&value.replacen('|', ":", 1))],
        other => return Err(Fault::Kind(super::output::excerpt(other))),
    })
}

#[cfg(test)]
mod tests {
    use crate::feed::Format;
    use crate::feed::tests::check;

    fn attribute(of_type: &str, value: &str) -> String {
        format!(r#"{{"type": "{of_type}", "value": "{value}", "to_ids": true}}"#)
    }

    #[test]
    fn attributes_list_what_dns_shows() {
        let check = |of_type: &str, value: &str, expected: &[&str]| {
            check(
                Format::Misp,
                &format!(r#"{{"Event": {{"Attribute": [{}]}}}}"#, attribute(of_type, value)),
                expected,
            );
        };
        check("domain", "Evil.example", &["1 name evil.example subtree"]);
        check("hostname", "www[.]evil.example", &["1 name www.evil.example subtree"]);
        check("ip-dst", "192.0.2.1", &["1 ip 192.0.2.1"]);
        check("ip-src", "192.0.2.0/24", &["1 net 192.0.2.0/24"]);
        check("domain|ip", "evil.example|192.0.2.1", &["1 name evil.example subtree", "1 ip 192.0.2.1"]);
        check("ip-dst|port", "192.0.2.1|443", &["1 ip 192.0.2.1"]);
        check("hostname|port", "evil.example|443", &["1 url evil.example:443"]);
        check("url", "http://evil.example/a", &["1 url http://evil.example/a"]);
        check("url", "evil[.]example", &["1 url evil.example"]);
        check("uri", "/a", &["1! Url"]);
        check("sha256", "ab", &["1! Kind(\"sha256\")"]);
        check("filename|sha1", "a.exe|ab", &["1! Kind(\"filename|sha1\")"]);
        check("domain", "com", &["1! SingleLabel"]);
    }

    #[test]
    fn three_shapes_and_more() {
        let list = format!(r#""Attribute": [{}]"#, attribute("domain", "evil.example"));
        for shape in [
            format!(r#"{{"Event": {{{list}}}}}"#),
            format!(r#"{{"response": [{{"Event": {{{list}}}}}]}}"#),
            format!(r#"{{"response": {{{list}}}}}"#),
            format!("{{{list}}}"),
            format!("[{{{list}}}]"),
            format!(r#"{{"Object": [{{"name": "domain-ip", {list}}}]}}"#),
            format!(
                r#"{{{list}, "RelatedEvent": [{{"Event": {{{list}}}}}], "ShadowAttribute": [{{"type": "domain"}}]}}"#
            ),
        ] {
            check(Format::Misp, &shape, &["1 name evil.example subtree"]);
        }
    }

    #[test]
    fn what_is_not_for_detection_or_deleted_is_told() {
        check(
            Format::Misp,
            r#"{"Attribute": [
                {"type": "domain", "value": "a.example", "to_ids": false},
                {"type": "domain", "value": "b.example", "to_ids": "1", "deleted": true},
                {"type": "domain", "value": "c.example"},
                {"type": "text", "value": "d.example", "to_ids": false}],
              "Object": [{"deleted": "1", "Attribute": [{"type": "ip-dst", "value": "192.0.2.1"}]},
                {"Attribute": [{"type": "domain", "value": "e.example"}], "deleted": false},
                {"Attribute": [{"type": "domain", "value": "f.example"}], "deleted": true}]}"#,
            &[
                "2! NotForDetection",
                "3! Deleted",
                "4 name c.example subtree",
                "5! Kind(\"text\")",
                "6! Deleted",
                "7 name e.example subtree",
                "8! Deleted",
            ],
        );
    }

    #[test]
    fn families_come_from_the_nearest_galaxy() {
        check(
            Format::Misp,
            r#"{"Event": {"threat_level_id": "1",
                "Attribute": [
                    {"type": "domain", "value": "a.example", "Tag": [{"name": "misp-galaxy:malpedia=\"Emotet\""}]},
                    {"type": "domain", "value": "b.example", "Tag": [{"name": "tlp:clear"}]}],
                "Object": [{"name": "android-app", "Attribute": [
                    {"type": "domain", "value": "c.example"},
                    {"type": "text", "object_relation": "name", "value": "Spy"}]}],
                "Galaxy": [{"type": "threat-actor", "name": "x", "GalaxyCluster": [{"type": "threat-actor", "value": "APT32"}]}]}}"#,
            &[
                "3 name a.example subtree family=Emotet severity=high",
                "4 name b.example subtree family=APT32 severity=high",
                "6 name c.example subtree family=Spy severity=high",
                "7! Kind(\"text\")",
            ],
        );
    }
}
