//! What the gate lets pass, judged by version.

use std::fs;

use super::*;
use crate::feed::{self, Parsed, Reading};
use crate::policy::trigger::Trigger;

fn name(text: &str) -> Name {
    Name::from_host(text).unwrap()
}

fn own(text: &str, what: Own) -> OwnName {
    OwnName { name: name(text), what }
}

/// A gate with a list of each kind.
fn gate(change: impl FnOnce(&mut Options)) -> Gate {
    let folder = tempfile::tempdir().unwrap();
    let (protected, popular) = (folder.path().join("protected.txt"), folder.path().join("popular.txt"));
    fs::write(&protected, "# what must work\r\ngov.vn # all of it\n\nwindowsupdate.com\n").unwrap();
    fs::write(&popular, "1,github.com\n2,sites.example.com\nzing.vn\n").unwrap();
    let mut options = Options {
        protected: vec![protected],
        popular: vec![popular],
        own: vec![
            own("internal.example.vn", Own::Zone),
            own("dns.upstream.example", Own::Upstream),
            own("mask.icloud.com", Own::Canary),
            own("agency.example.vn", Own::Route),
        ],
        ..Options::default()
    };
    change(&mut options);
    Gate::load(&options).unwrap()
}

#[test]
fn names_are_protected_from_above_and_from_below() {
    let gate = gate(|_| {});
    let check = |text: &str, scope: Scope, expected: Option<Conflict>| {
        assert_eq!(gate.conflict(&name(text), scope), expected, "{text} {scope}");
    };
    use Conflict::{Own, Popular, Protected, Suffix};
    use Scope::{Below, Exact, Subtree};
    check("evil.example", Subtree, None);
    for scope in [Exact, Subtree, Below] {
        check("gov.vn", scope, Some(Protected));
        check("www.angiang.gov.vn", scope, Some(Protected));
        check("notgov.vn", scope, None);
        check("pc1.internal.example.vn", scope, Some(Own));
        check("x.agency.example.vn", scope, Some(Protected));
        check("malware.github.com", scope, None);
        check("below.dns.upstream.example", scope, None);
        check("co.uk", scope, Some(Suffix));
        check("duckdns.org", scope, Some(Suffix));
        check("evil.duckdns.org", scope, None);
        check("evil.co.uk", scope, None);
        // By a wildcard: a registry's stands, a customer's own name at a provider does not.
        check("anything.ck", scope, Some(Suffix));
        check("b1upxpt.localto.net", scope, None);
    }
    // What covers a name takes it.
    check("example.vn", Subtree, Some(Own));
    check("example.vn", Exact, None);
    check("upstream.example", Below, Some(Own));
    check("upstream.example", Exact, None);
    check("icloud.com", Subtree, Some(Own));
    check("example.com", Subtree, Some(Popular));
    check("example.com", Below, Some(Popular));
    check("example.com", Exact, None);
    // A popular name protects itself, and so not from what is only below it.
    check("github.com", Subtree, Some(Popular));
    check("github.com", Exact, Some(Popular));
    check("github.com", Below, None);
    // As browsers ask for it; other names below it are anybody's.
    check("www.github.com", Subtree, Some(Popular));
    check("www.github.com", Exact, Some(Popular));
    check("www.github.com", Below, None);
    check("www.malware.github.com", Exact, None);
    assert_eq!(gate.objection(&name("www.zing.vn"), Exact).unwrap(), "is popular, as zing.vn is");
    check("dns.upstream.example", Below, None);
    // IDN suffixes too, in their A-label form.
    check("xn--p1ai", Exact, Some(Suffix));
    check("xn--55qx5d.cn", Subtree, Some(Suffix));
    // A suffix that nobody knows is none, or made-up names would all be.
    check("nosuchsuffix", Subtree, None);

    let [mut protected, mut popular] = [gate.protected().collect::<Vec<_>>(), gate.popular().collect()]
        .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    protected.sort();
    popular.sort();
    assert_eq!(protected, ["agency.example.vn", "gov.vn", "internal.example.vn", "windowsupdate.com"]);
    assert_eq!(
        popular,
        ["dns.upstream.example", "github.com", "mask.icloud.com", "sites.example.com", "zing.vn"]
    );
}

fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    feed::parse(text.as_bytes(), &Reading::default(), &mut parsed).unwrap();
    parsed
}

fn counts(names: u64) -> Option<Counts> {
    Some(Counts { names, ..Counts::default() })
}

/// Which of the names pass, and why the version does not.
fn judge(gate: &Gate, standing: Standing, text: &str) -> (Vec<String>, Vec<String>) {
    let mut trial = gate.trial(standing);
    let mut passed = Vec::new();
    let Parsed { indicators, diagnostics } = parse(text);
    for indicator in &indicators {
        let action = indicator.action.clone().unwrap_or(Action::Sinkhole);
        if let (Value::Name(name, _), true) = (&indicator.value, trial.admits(indicator, &action)) {
            passed.push(name.to_string());
        }
    }
    diagnostics.iter().for_each(|diagnostic| trial.note(diagnostic));
    (passed, trial.verdict().iter().map(Reason::to_string).collect())
}

fn names(count: u64) -> String {
    (0..count).map(|number| format!("evil{number}.example\n")).collect()
}

#[track_caller]
fn check(gate: &Gate, standing: Standing, text: &str, expected: &[&str]) {
    let (_, reasons) = judge(gate, standing, text);
    assert_eq!(reasons.len(), expected.len(), "{reasons:#?}");
    for (reason, words) in reasons.iter().zip(expected) {
        assert!(reason.contains(words), "no {words:?} in {reason:?}");
    }
}

#[test]
fn versions_stay_within_bounds() {
    let gate = gate(|_| {});
    let check = |before: u64, now: u64, expected: &[&str]| {
        check(&gate, Standing::Candidate(counts(before)), &names(now), expected);
    };
    check(100, 50, &[]);
    check(100, 49, &["49 indicators after 100"]);
    check(100, 400, &[]);
    check(100, 401, &["401 indicators after 100: it grew past gate.max_growth = 4"]);
    check(100, 0, &["lists nothing, after 100"]);
    // Short lists change by leaps, but do not vanish.
    check(99, 1, &[]);
    check(99, 1000, &[]);
    check(1, 0, &["lists nothing, after 1 "]);
    check(0, 0, &[]);
}

#[test]
fn a_first_version_has_no_bounds_and_all_else() {
    let gate = gate(|_| {});
    let check = |text: &str, expected: &[&str]| check(&gate, Standing::Candidate(None), text, expected);
    check(&names(1000), &[]);
    check("# nothing yet\n", &[]);
    check("", &[]);
    check("<!DOCTYPE html><html>Sign in</html>", &["web page"]);
    check("\x7fELF\x00\x00", &["binary"]);
    check("only prose here, and no names\n", &["nothing in it could be read (line 1:"]);
    check("evil.example\nmask.icloud.com\n", &["line 2: mask.icloud.com is a canary"]);
    check(
        "evil.example\nvn.example\nexample.vn\n",
        &["example.vn takes internal.example.vn, which is in a local zone"],
    );
}

#[test]
fn single_names_are_left_out_and_many_refuse_the_version() {
    let gate = gate(|options| options.max_set_aside = 2);
    let text = "evil.example\ngithub.com\nwww.x.gov.vn\nmalware.github.com\n";
    let (passed, reasons) = judge(&gate, Standing::Candidate(None), text);
    assert_eq!((passed, reasons), (vec!["evil.example".to_owned(), "malware.github.com".to_owned()], vec![]));
    let more = format!("{text}com.vn\n");
    check(
        &gate,
        Standing::Candidate(None),
        &more,
        &["3 of its names are protected, more than gate.max_set_aside = 2"],
    );
    // What is in force stays, without them.
    let (passed, reasons) = judge(&gate, Standing::Accepted, &more);
    assert_eq!((passed.len(), reasons), (2, vec![]));
    let (passed, reasons) = judge(&gate, Standing::Ungated, &more);
    assert_eq!((passed.len(), reasons), (5, vec![]));
}

#[test]
fn an_exception_takes_nothing() {
    let gate = gate(|_| {});
    let zone =
        "$ORIGIN rpz.example.\n@ SOA a. b. 1 1 1 1 1\ngov.vn CNAME rpz-passthru.\nevil.example CNAME .\n";
    let (passed, reasons) = judge(&gate, Standing::Candidate(None), zone);
    assert_eq!((passed, reasons), (vec!["gov.vn".to_owned(), "evil.example".to_owned()], vec![]));
}

#[test]
fn every_kind_of_indicator_counts() {
    let gate = gate(|_| {});
    let mut trial = gate.trial(Standing::Candidate(None));
    let parsed = parse("evil.example\n192.0.2.1\n198.51.100.0/24\nhttp://evil.example/x\nnot a name\n");
    for indicator in &parsed.indicators {
        trial.admits(indicator, &Action::Sinkhole);
    }
    let mut network = parsed.indicators[1].clone();
    network.trigger = Some(Trigger::Ip);
    trial.admits(&network, &Action::Sinkhole);
    parsed.diagnostics.iter().for_each(|diagnostic| trial.note(diagnostic));
    let expected = Counts { names: 1, networks: 1, addresses: 2, urls: 1, faults: 1 };
    assert_eq!((trial.counts(), trial.counts().indicators()), (expected, 5));
}

#[test]
fn each_kind_has_its_bounds() {
    let gate = gate(|_| {});
    let check = |names: u64, addresses: u64, now: [u64; 2], expected: &[&str]| {
        let before = Counts { names, addresses, ..Counts::default() };
        let addresses = (0..now[1]).map(|number| format!("203.0.{}.{}\n", number / 256, number % 256));
        let text = self::names(now[0]) + &addresses.collect::<String>();
        check(&gate, Standing::Candidate(Some(before)), &text, expected);
    };
    check(200, 200, [200, 200], &[]);
    // The names have gone, addresses came: as many in all.
    check(200, 200, [10, 390], &["10 names after 200: it lost"]);
    check(200, 200, [390, 10], &["10 addresses after 200: it lost"]);
    check(400, 100, [100, 401], &["100 names after 400: it lost", "401 addresses after 100: it grew"]);
    // Few of a kind come and go; what is told of the whole is not told again.
    check(400, 99, [400, 0], &[]);
    check(400, 0, [400, 90], &[]);
    check(400, 400, [100, 100], &["200 indicators after 800: it lost"]);
}

#[test]
fn what_judgements_depend_on_shows_in_the_digest() {
    let digest = gate(|_| {}).digest();
    assert_eq!(digest, gate(|options| options.own.reverse()).digest());
    assert_ne!(digest, gate(|options| options.max_growth = 5.0).digest());
    assert_ne!(digest, gate(|options| options.own[0].name = name("other.vn")).digest());
}

#[test]
fn what_this_server_needs_is_left_out_and_condemns_no_version() {
    // Where somebody's webhook is, others' malware may be.
    let gate = gate(|options| options.own.push(own("hooks.chat.example", Own::Service)));
    assert_eq!(gate.conflict(&name("chat.example"), Scope::Subtree), Some(Conflict::Popular));
    assert_eq!(gate.conflict(&name("evil.hooks.chat.example"), Scope::Exact), None);
    let objection = gate.objection(&name("hooks.chat.example"), Scope::Exact).unwrap();
    assert_eq!(objection, "is the name of a service that this server needs");
    check(&gate, Standing::Candidate(None), "hooks.chat.example\nevil.example\n", &[]);
}

#[test]
fn the_lists_that_come_with_the_program_need_no_files() {
    // Tests run where the files are, so these are asked for from elsewhere.
    for path in [PROTECTED, POPULAR] {
        let edited = fs::read(path).unwrap();
        assert_eq!(
            names::list_or_ours(Path::new(path), Err(io::ErrorKind::NotFound.into())).unwrap(),
            edited
        );
        assert!(names::list_or_ours(Path::new(path), Err(io::ErrorKind::PermissionDenied.into())).is_err());
    }
    let gate = Gate::load(&Options::default()).unwrap();
    assert_eq!(gate.conflict(&name("www.google.com"), Scope::Exact), Some(Conflict::Popular));
    assert_eq!(gate.conflict(&name("portal.danang.gov.vn"), Scope::Exact), Some(Conflict::Protected));
}

#[test]
fn a_list_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("protected.txt");
    let error = |text: Option<&str>| {
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let options = Options { protected: vec![path.clone()], ..Options::default() };
        Gate::load(&options).unwrap_err().to_string()
    };
    assert!(error(None).contains("protected.txt: "));
    let told = error(Some("gov.vn\n<html>\n"));
    assert!(told.contains("protected.txt:2: \"<html>\" is not a name"), "{told}");
}
