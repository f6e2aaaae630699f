//! From files to an image and back: what is built when, and from which version.

use std::path::PathBuf;

use super::*;
use crate::feed::gate::{Own, OwnName};
use crate::feed::store::Word;
use crate::name::Key;
use crate::policy::action::Action;
use crate::policy::decide::{Unobserved, decide};
use crate::policy::rule::{Mode, Rule};
use crate::policy::trigger::{Scope, Trigger};

/// A folder with feeds, a store and an image.
struct House {
    folder: tempfile::TempDir,
    feeds: Vec<Source>,
    canaries: Vec<Name>,
    gate: gate::Options,
    versions: Store,
}

impl House {
    fn new(feeds: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let versions = Store::new(&folder.path().join("data/feeds"));
        let canaries = vec![name("canary.example")];
        let mut house =
            Self { folder, feeds: Vec::new(), canaries, gate: gate::Options::default(), versions };
        for (name, text) in feeds {
            house.write(name, text);
            house.feeds.push(Source::new(name, house.list(name)));
        }
        house
    }

    fn list(&self, feed: &str) -> PathBuf {
        self.folder.path().join(format!("{feed}.txt"))
    }

    fn write(&self, feed: &str, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, self.list(feed)).unwrap();
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("data/policy.img")
    }

    fn plan(&self) -> Plan<'_> {
        let Self { feeds, canaries, gate, versions, .. } = self;
        Plan { canaries, feeds, gate, versions }
    }

    fn build(&self) -> Result<Built, UpdateError> {
        build(self.plan(), &self.image(), now())
    }

    #[track_caller]
    fn built(&self) -> Vec<FeedReport> {
        self.build().unwrap().1
    }

    fn make(&self) -> Result<Update, UpdateError> {
        let (_, reports) = make(self.plan(), &self.image(), now(), Need::IfNew)?;
        Ok((image::open(&self.image())?, reports))
    }

    /// Whether something was built.
    fn renews(&self) -> bool {
        renew(self.plan(), &self.image(), now(), || self.make()).unwrap().1.is_some()
    }

    fn ensures(&self) -> bool {
        ensure(self.plan(), &self.image(), || self.make()).unwrap().1.is_some()
    }

    fn is_listed(&self, text: &str) -> bool {
        let image = image::open(&self.image()).unwrap();
        decide(&image.index, &Key::from(&name(text)), &mut Unobserved).ruling.is_some_and(|it| it.is_hit())
    }
}

/// A time at which every file here is of the past, as the store sees it.
fn now() -> i64 {
    crate::clock::now() + 3_600_000_000
}

fn name(text: &str) -> Name {
    Name::from_host(text).unwrap()
}

fn names(range: std::ops::Range<u64>) -> String {
    range.map(|number| format!("evil{number}.example\n")).collect()
}

#[test]
fn an_image_is_built_once_and_again_when_something_changes() {
    let mut house = House::new(&[("authority", "evil.example\nnot a name at all\n192.0.2.1\n")]);
    let reports = house.built();
    assert_eq!((reports[0].names, reports[0].addresses, reports[0].fault_count()), (1, 1, 1));
    assert!(reports[0].is_new);
    assert!(!house.renews() && !house.ensures(), "nothing changed");

    house.write("authority", "worse.example\n");
    assert!(!house.ensures(), "a start waits for no feed");
    assert!(house.renews());
    assert!(house.is_listed("worse.example") && !house.is_listed("evil.example"));
    // The same content in another file is nothing new, once that is known.
    house.write("authority", "worse.example\n");
    assert!(!house.renews());

    house.canaries = vec![name("other.example")];
    assert!(house.ensures(), "the settings changed");
    house.feeds[0].gate = crate::feed::source::Gating::AsItComes;
    assert!(house.renews());
    house.gate.max_growth = 5.0;
    assert!(house.renews());
    fs::write(house.image(), "damaged").unwrap();
    assert!(house.ensures(), "a damaged image is mended");

    let (scope, action, mode) = (Scope::Subtree, Action::Sinkhole, Mode::Enforced);
    let rule = Rule { feed: 1, trigger: Trigger::Qname, scope, action, mode, family: None, severity: None };
    let listed = name("worse.example");
    let line = |rule: &Rule| line_of(&house.versions, &house.feeds[0], Listed::Name(&listed), rule).unwrap();
    // Of what is in force, not of what lies there now.
    house.write("authority", "# another line\nworse.example\n");
    assert_eq!(line(&rule), Some(1));
    assert_eq!(line(&Rule { action: Action::Passthru, ..rule }), None);
}

#[test]
fn a_refused_version_holds_back_nothing_but_itself() {
    let house = House::new(&[("one", &names(0..200)), ("two", "first.example\n"), ("three", "x.example\n")]);
    house.built();
    house.write("one", "<!DOCTYPE html><html>sign in</html>");
    house.write("two", "second.example\n");
    fs::remove_file(house.list("three")).unwrap();
    let reports = house.built();
    assert!(reports[0].troubles[0].contains("web page"), "{reports:#?}");
    assert_eq!(reports.iter().map(|it| it.names).collect::<Vec<_>>(), [200, 1, 1]);
    assert!(reports[1].troubles.is_empty() && reports[1].is_new, "{reports:#?}");
    assert!(reports[2].troubles[0].contains("three.txt"), "{reports:#?}");
    for (text, expected) in
        [("evil7.example", true), ("first.example", false), ("second.example", true), ("x.example", true)]
    {
        assert_eq!(house.is_listed(text), expected, "{text}");
    }
    assert!(!house.renews(), "the same is not tried again and again");
    let standings = standing::of(house.plan()).unwrap();
    assert!(standings[0].troubles[0].contains("was refused"), "{standings:#?}");
    assert!(standings[2].troubles[0].contains("three.txt"), "{standings:#?}");

    house.write("one", &names(0..150));
    assert!(house.renews());
    assert!(standing::of(house.plan()).unwrap()[0].troubles.is_empty());
    assert!(house.is_listed("evil149.example") && !house.is_listed("evil150.example"));
}

#[test]
fn a_refusal_alone_leaves_the_image_as_it_is() {
    let house = House::new(&[("one", &names(0..200)), ("two", "first.example\n")]);
    house.built();
    let before = fs::read(house.image()).unwrap();
    house.write("one", &names(0..20));
    let (_, reports) = house.make().unwrap();
    let reports = reports.unwrap();
    assert!(reports[0].troubles[0].contains("20 indicators after 200"), "{reports:#?}");
    assert_eq!((reports[0].names, reports[1].names, reports[0].is_new), (200, 1, false));
    assert!(fs::read(house.image()).unwrap() == before, "it was written again");
    let state = house.versions.feed("one").state().unwrap();
    assert_eq!(state.pending().unwrap().changes.map(|it| it.removed), Some(180));
    // Beside news it is built.
    house.write("one", &names(0..10));
    house.write("two", "second.example\n");
    assert!(house.renews() && house.is_listed("second.example") && house.is_listed("evil199.example"));
}

#[test]
fn bounds_are_those_of_the_version_in_force() {
    let mut house = House::new(&[("one", &names(0..200))]);
    house.built();
    house.write("one", &names(0..99));
    let reports = house.built();
    assert!(reports[0].troubles[0].contains("99 indicators after 200"), "{reports:#?}");
    assert!(house.is_listed("evil199.example"));
    house.gate.max_shrink = 0.9;
    assert!(house.renews(), "other rules may judge otherwise");
    assert!(!house.is_listed("evil199.example"));
}

#[test]
fn what_somebody_approved_is_taken_and_protected_names_stay_out_of_it() {
    let mut house = House::new(&[("one", &names(0..200))]);
    house.gate.own = vec![OwnName { name: name("dns.example.vn"), what: Own::Upstream }];
    house.built();
    house.write("one", "evil.example\ndns.example.vn\nco.uk\n");
    let reports = house.built();
    assert!(reports[0].troubles[0].contains("this server's own"), "{reports:#?}");
    let folder = house.versions.feed("one");
    let digest = folder.state().unwrap().pending().unwrap().version.digest;
    let word = Word { digest, by: "an".into(), reason: None, at: 1 };
    folder.update(|state| state.approve(word)).unwrap();
    let reports = house.built();
    assert!(reports[0].troubles.is_empty() && reports[0].is_new, "{reports:#?}");
    assert_eq!(reports[0].set_aside.count, 2);
    assert!(house.is_listed("evil.example"));
    assert!(
        !house.is_listed("dns.example.vn")
            && !house.is_listed("x.co.uk")
            && !house.is_listed("evil9.example")
    );
    let accepted = folder.state().unwrap().accepted.unwrap();
    assert_eq!(
        (accepted.counts.names, accepted.set_aside, accepted.approval.unwrap().by.as_str()),
        (3, 2, "an")
    );
    assert!(!house.renews());
}

#[test]
fn a_rejected_version_is_not_asked_about_again() {
    let mut house = House::new(&[("one", &names(0..200))]);
    house.built();
    house.write("one", "evil.example\n");
    house.built();
    let folder = house.versions.feed("one");
    let digest = folder.state().unwrap().pending().unwrap().version.digest;
    folder.update(|state| state.reject(Word { digest, by: "an".into(), reason: None, at: 1 })).unwrap();
    assert!(standing::of(house.plan()).unwrap()[0].troubles.is_empty());
    house.gate.max_shrink = 1.0;
    house.built();
    assert!(!house.is_listed("evil.example"));
}

#[test]
fn what_is_rejected_while_it_is_built_does_not_stay() {
    let house = House::new(&[("one", &names(0..200))]);
    house.built();
    house.write("one", &names(0..190));
    take_in(house.plan(), now());
    let gate = Gate::load(&house.gate).unwrap();
    let mut rounds = Rounds::prepare(house.plan(), &gate, now()).unwrap();
    let read = match rounds.run_unless(now(), |feeds| Ok(Compiler::new(feeds)), |_| false).unwrap() {
        Outcome::New(read) => read,
        Outcome::AsItWas(reports) => panic!("{reports:?}"),
    };
    let folder = house.versions.feed("one");
    let before = folder.state().unwrap().accepted_digest();
    let digest = folder.state().unwrap().latest.unwrap().digest;
    assert_ne!(Some(digest), before);
    folder.update(|state| state.reject(Word { digest, by: "an".into(), reason: None, at: 1 })).unwrap();
    assert!(!rounds.settle(&read).unwrap());
    assert_eq!(folder.state().unwrap().accepted_digest(), before);
    assert!(!house.renews(), "and the one before is in force");
    assert!(house.is_listed("evil199.example"));
}

#[test]
fn a_feed_without_gate_is_taken_as_it_comes() {
    let mut house = House::new(&[("one", &names(0..200))]);
    house.feeds[0].gate = crate::feed::source::Gating::AsItComes;
    house.built();
    house.write("one", "co.uk\ncanary.example\n");
    let reports = house.built();
    assert_eq!((reports[0].set_aside.count, reports[0].troubles.len()), (0, 0));
    assert!(house.is_listed("x.co.uk"));
}

#[test]
fn a_first_start_needs_one_feed_at_least() {
    let house = House::new(&[("one", "<!DOCTYPE html><html>sign in</html>")]);
    let error = house.build().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("web page"), "{error}");
    let house = House::new(&[("one", "<html>"), ("two", "evil.example\n"), ("three", "# nothing yet\n")]);
    house.built();
    assert!(house.is_listed("evil.example"));
    assert_eq!(House::new(&[]).built(), []);
}

#[test]
fn what_has_ended_leaves_the_policy() {
    const DAY: i64 = 86_400_000_000;
    let mut house = House::new(&[("one", "")]);
    let time = |days: i64| {
        jiff::Timestamp::from_microsecond(now() + days * DAY).unwrap().strftime("%Y-%m-%d").to_string()
    };
    let text = format!("host,expires\nstays.example,{}\nends.example,{}\n", time(30), time(2));
    house.write("one", &text);
    house.feeds[0].format = crate::feed::Format::Csv;
    house.built();
    assert!(house.is_listed("ends.example") && !house.renews());
    let later = now() + 4 * DAY;
    assert!(is_due(house.plan(), later));
    let make = || {
        let (_, reports) = make(house.plan(), &house.image(), later, Need::IfNew)?;
        Ok((image::open(&house.image())?, reports))
    };
    assert!(renew(house.plan(), &house.image(), later, make).unwrap().1.is_some());
    assert!(house.is_listed("stays.example") && !house.is_listed("ends.example"));
    assert!(!is_due(house.plan(), later));
}

#[test]
fn a_damaged_version_is_left_out_and_mended_by_its_origin() {
    let house = House::new(&[("one", "one.example\n"), ("two", "two.example\n")]);
    house.built();
    let folder = house.versions.folder().join("one");
    let version = house.versions.feed("one").state().unwrap().accepted_digest().unwrap().to_string();
    fs::remove_file(folder.join(&version)).unwrap();
    let reports = house.built();
    assert!(reports[0].troubles[0].contains("damaged"), "{reports:#?}");
    assert!(house.is_listed("two.example") && !house.is_listed("one.example"));
    house.write("one", "one.example\n");
    assert!(house.renews());
    assert!(house.is_listed("one.example"));
}

#[test]
fn a_rehearsal_changes_nothing() {
    let house = House::new(&[("one", "one.example\n")]);
    let (compiled, reports) = compile(house.plan(), now()).unwrap();
    assert_eq!((compiled.into_index().unwrap().name_count(), reports[0].names), (2, 1));
    assert!(!house.versions.folder().exists());
    house.built();
    house.write("one", "<html>");
    let (_, reports) = compile(house.plan(), now()).unwrap();
    assert!(reports[0].troubles[0].contains("would be refused"), "{reports:#?}");
    assert_eq!(reports[0].names, 1);
    fs::remove_file(house.list("one")).unwrap();
    let (_, reports) = compile(house.plan(), now()).unwrap();
    assert_eq!((reports[0].names, reports[0].troubles.len()), (1, 1));
}

#[test]
fn whoever_is_killed_between_image_and_state_builds_the_same_again() {
    let house = House::new(&[("one", "one.example\n")]);
    house.built();
    let state = house.versions.folder().join("one/state.json");
    house.write("one", "two.example\n");
    // As if the process ended right after the image was renamed.
    house.versions.feed("one").stage_file(&house.list("one"), now()).unwrap();
    let before = fs::read(&state).unwrap();
    house.built();
    fs::write(&state, before).unwrap();
    assert!(!house.ensures(), "the image answers at once");
    assert!(house.is_listed("two.example"));
    assert!(house.renews());
    assert!(house.is_listed("two.example") && !house.renews());
}
