//! A house over a scratch folder, for tests of handlers: two agencies, each with queries, hits, a machine, a case and contacts of
//! its own, and every text of theirs with the agency's marker, so that what an officer must not see can be looked for.

mod hostile;
mod matrix;
mod officers;
mod web;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hyper::Method;
use jiff::tz::TimeZone;
use tempfile::TempDir;

use super::access::{Role, Scope, Viewer};
use super::account::Accounts;
use super::answer::{Failure, Reply, Stream};
use super::call::{Call, Fields};
use super::house::{Agency, House, Wanted};
use super::hunts::Hunts;
use super::routes::{self, Found};
use super::server;
use super::tongue::Tongue;
use crate::cases::{self, CaseFilter, Class, Desk, DeskError, Evidence, Sighting, Subject};
use crate::coverage::read::{self, Reading};
use crate::coverage::{Offer, Seen};
use crate::evidence::contacts::{self, Contact, Contacts, ContactsError, Reader, Via};
use crate::evidence::journal::{Journal, Options as Log};
use crate::evidence::ledger::Ledger;
use crate::evidence::record::{Outcome, Record, Severity, Transport, Trigger};
use crate::evidence::store::embedded::Embedded;
use crate::evidence::store::{Store, Watch};
use crate::feed::store::Store as Versions;
use crate::identity::claim::{About, Batch, Claim};
use crate::identity::read::times::Order;
use crate::identity::{Book, Source, Trial, claim};
use crate::metrics::{Condition, Health};
use crate::name::Name;
use crate::report::{self, ReportError, Sources};
use crate::rules::history::History;

/// Now, for whatever is in a scratch house: 26 November 2026, 14:00 in Vietnam.
pub(super) const NOW: i64 = 1_795_676_400_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;

/// The ids of the agencies.
pub(super) const AGENCIES: [&str; 2] = ["so-tttt", "so-yte"];
/// What every text of an agency has in it, in the order of [`AGENCIES`]; as part of names and of sentences.
pub(super) const MARKERS: [&str; 2] = ["dautichxanh", "dautichdo"];

/// A house whose folder goes with it.
pub(super) struct Scratch {
    folder: TempDir,
    agencies: Arc<[Agency]>,
    book: Arc<Book>,
    hunts: Arc<Hunts>,
    health: Mutex<Health>,
    pub(super) accounts: Arc<Accounts>,
}

impl Scratch {
    /// One with something of everything.
    pub(super) fn new() -> Arc<Self> {
        let scratch = Self::empty();
        for number in 0..AGENCIES.len() {
            scratch.fill(number);
        }
        scratch
    }

    /// One with agencies and nothing else.
    pub(super) fn empty() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let agency = |number: usize| Agency {
            id: AGENCIES[number].into(),
            name: format!("Sở {}", MARKERS[number]).into(),
            contact: Some(format!("Phòng {}", MARKERS[number]).into()),
            networks: vec![format!("10.{}.0.0/16", number + 1).parse().unwrap()],
            officer: Some(format!("Cán bộ {}", MARKERS[number])),
            email: Some(format!("{}@example.vn", MARKERS[number])),
            forwarders: vec![format!("10.{}.0.53/32", number + 1).parse().unwrap()],
        };
        let book = Book::open(&folder.path().join("identity")).unwrap();
        let accounts = Accounts::open(folder.path()).unwrap();
        Arc::new(Self {
            agencies: (0..AGENCIES.len()).map(agency).collect(),
            book: Arc::new(book),
            hunts: Arc::new(Hunts::new(folder.path())),
            accounts: Arc::new(accounts),
            health: Mutex::default(),
            folder,
        })
    }

    /// Makes a part of the server be like this; queries depend on it.
    pub(super) fn is(&self, part: &'static str, condition: Condition) {
        let mut health = self.health.lock().unwrap();
        health.parts.retain(|it| it.name != part);
        health.add(part, true, condition, "told");
    }

    /// The address of an agency's machine.
    pub(super) fn client(number: usize) -> IpAddr {
        format!("10.{}.2.3", number + 1).parse().unwrap()
    }

    fn fill(&self, number: usize) {
        let (agency, marker, client) = (AGENCIES[number], MARKERS[number], Self::client(number));
        let mut batch = Batch::new(claim::Scope::Inventory);
        batch.claim(Claim {
            address: Some(client),
            host: Some(format!("pc-{marker}")),
            about: About {
                owner: Some(format!("Nguyễn {marker}")),
                unit: Some(format!("Phòng {marker}")),
                notes: Some(format!("ghi chú {marker}")),
                ..About::default()
            },
            ..Claim::default()
        });
        let source =
            Source { name: &format!("kiểm kê {marker}"), agency: Some(agency), as_of: NOW - 24 * HOUR };
        self.book.take(&source, &mut batch, Trial::No).unwrap();
        let crate::identity::Who::Machine(machine) =
            self.book.who(client, NOW, &crate::identity::Hints::default()).unwrap()
        else {
            unreachable!("an inventory says whose it is")
        };

        let mut records = Vec::new();
        for hour in (0..10).rev() {
            let is_hit = hour % 2 == 0;
            let qname = if is_hit { format!("c2.{marker}.example") } else { format!("www.{marker}.example") };
            records.push(Record {
                time: NOW - hour * HOUR - SECOND,
                client,
                transport: Transport::Udp,
                agency: Some(agency.into()),
                mac: None,
                subnet: None,
                qname: Name::from_host(&qname).unwrap().as_wire().to_vec().into(),
                qtype: 1,
                qclass: 1,
                rcode: Some(0),
                outcome: if is_hit { Outcome::Sinkhole } else { Outcome::Forward },
                is_hit,
                is_cached: false,
                feed: is_hit.then(|| format!("nguon-{marker}").into()),
                family: is_hit.then(|| format!("Họ {marker}").into()),
                severity: is_hit.then_some(Severity::High),
                trigger: is_hit.then_some(Trigger::Qname),
                matched: None,
                answers: vec!["10.10.10.10".parse().unwrap()].into(),
                latency: 700,
            });
        }
        self.write(&records);

        let sighting = Sighting {
            time: NOW - SECOND,
            client,
            machine: Subject::Machine(machine.id),
            host: machine.host,
            agency: Some(agency.to_owned()),
            family: format!("Họ {marker}"),
            class: Class::C2,
            name: format!("c2.{marker}.example"),
            evidence: Evidence::Query,
            count: 5,
            officer: Some(format!("Cán bộ {marker}")),
        };
        self.desk().unwrap().sighting(&sighting, NOW).unwrap();

        // What protects its machine, by an export of its own.
        let ledger = self.coverage().unwrap();
        let seen = Seen {
            subject: Subject::Machine(machine.id),
            agency: Some(agency.to_owned()),
            client,
            time: NOW - SECOND,
        };
        ledger.saw(&[seen], Some(NOW)).unwrap();
        let reading =
            Reading { product: Some(format!("Bkav {marker}")), zone: TimeZone::UTC, dates: Order::Auto };
        let sheet = format!("Tên máy,Trạng thái\npc-{marker},Đang bật\n");
        let batch = read::read(sheet.as_bytes(), &reading).unwrap();
        let offer =
            Offer { name: &format!("bkav {marker}"), agency: Some(agency), as_of: NOW - HOUR, by: "an" };
        ledger.take(&offer, &batch, NOW).unwrap();
        self.settle_coverage(&ledger, NOW).unwrap();

        let contacts = Contacts::open(&contacts::folder(self.data_dir()), &contacts::Options::default());
        contacts.unwrap().add(Contact {
            id: 0,
            time: NOW - SECOND,
            client,
            source_port: 50_000,
            local: "10.10.10.10:80".parse().unwrap(),
            via: Via::Http,
            name: Some(format!("c2.{marker}.example")),
            path: Some(format!("/{marker}")),
            agent: Some(format!("agent {marker}")),
            ja4: None,
            first: format!("GET /{marker}").into_bytes(),
            count: 1,
        });
    }

    /// Adds these, of ascending times, to the query log.
    pub(super) fn write(&self, records: &[Record<'_>]) {
        let options =
            Log { folder: self.log_folder(), sync: std::time::Duration::ZERO, max_size: Log::LEAST_SIZE };
        let ledger = Ledger::open(&options).unwrap();
        let mut journal = Journal::open(0, &ledger);
        for record in records {
            journal.add(record);
        }
        journal.commit(NOW);
    }

    fn log_folder(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The ticket of an agency's case.
    pub(super) fn ticket(&self, number: usize) -> String {
        let filter = CaseFilter { agency: Some(AGENCIES[number].to_owned()), ..CaseFilter::default() };
        self.desk().unwrap().list(&filter).unwrap()[0].ticket.to_string()
    }

    /// A request for `target` by this viewer; a form's fields in the third place.
    pub(super) fn call(
        self: &Arc<Self>,
        viewer: Option<Viewer>,
        target: &str,
        form: &[(&str, &str)],
    ) -> Call {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        fields.extend_pairs(form).append_pair("csrf", "csrf of tests");
        Call {
            house: Arc::<Self>::clone(self),
            accounts: Arc::clone(&self.accounts),
            viewer,
            rights: None,
            session: None,
            session_number: None,
            outside: None,
            binding: None,
            must_enrol: false,
            csrf: "csrf of tests".to_owned(),
            client: "10.9.0.7".parse().unwrap(),
            agent: "tests".to_owned(),
            origin: "https://console.example.vn".to_owned(),
            now: NOW,
            tongue: Tongue::English,
            theme: Default::default(),
            path: path.to_owned(),
            places: Vec::new(),
            query: Fields::read(query.as_bytes()),
            form: Fields::read(fields.finish().as_bytes()),
            body: Vec::new(),
            is_encrypted: false,
        }
    }

    /// What GET says to this viewer, through the table of routes and its rights.
    pub(super) fn get(self: &Arc<Self>, viewer: &Viewer, target: &str) -> Result<Reply, Failure> {
        self.send(&Method::GET, viewer, target, &[])
    }

    /// … and POST, with these fields and the one against forgery.
    pub(super) fn post(
        self: &Arc<Self>,
        viewer: &Viewer,
        target: &str,
        form: &[(&str, &str)],
    ) -> Result<Reply, Failure> {
        self.send(&Method::POST, viewer, target, form)
    }

    fn send(
        self: &Arc<Self>,
        method: &Method,
        viewer: &Viewer,
        target: &str,
        form: &[(&str, &str)],
    ) -> Result<Reply, Failure> {
        let mut call = self.call(Some(viewer.clone()), target, form);
        let route = match routes::find(method, &call.path) {
            Found::Route(route, places) => {
                call.places = places;
                Some(route)
            }
            Found::OtherMethods(_) | Found::Nothing => None,
        };
        server::answer(&call, route, true)
    }
}

/// Somebody of this role; an officer of the first agency.
pub(super) fn viewer(role: Role) -> Viewer {
    match role {
        Role::Officer => officer(0),
        _ => Viewer { name: role.as_str().to_owned(), role, scope: Scope::Province },
    }
}

/// The officer of an agency.
pub(super) fn officer(number: usize) -> Viewer {
    Viewer {
        name: format!("officer-{number}"),
        role: Role::Officer,
        scope: Scope::Agency(AGENCIES[number].into()),
    }
}

/// All that a reply has in its body, or where it leads.
pub(super) fn text(reply: Reply) -> String {
    match reply {
        Reply::Page(page) | Reply::Again(page) | Reply::Told(_, page) | Reply::Onward { page, .. } => {
            page.into_string()
        }
        Reply::Json(value) | Reply::Unwell(value) => value.to_string(),
        Reply::Text(_, text) => text,
        Reply::Redirect(to) | Reply::RedirectWith { to, .. } => to,
        Reply::File(file) => String::from_utf8_lossy(&file.octets).into_owned(),
        Reply::Stream(Stream { write, .. }) | Reply::Gradual(write) => {
            let mut octets = Vec::new();
            write(&mut octets).unwrap();
            String::from_utf8_lossy(&octets).into_owned()
        }
    }
}

impl House for Scratch {
    fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    fn may_measure(&self, _: IpAddr) -> bool {
        false
    }

    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }

    fn configuration(&self) -> std::io::Result<(PathBuf, String)> {
        Ok((PathBuf::from("/etc/sachdns.toml"), "[sinkhole]\nttl = 60\n".to_owned()))
    }

    fn agencies(&self) -> Arc<[Agency]> {
        Arc::clone(&self.agencies)
    }

    fn agency_of(&self, address: IpAddr) -> Option<Arc<str>> {
        let agency = self.agencies.iter().find(|it| it.networks.iter().any(|net| net.contains(&address)));
        agency.map(|agency| Arc::clone(&agency.id))
    }

    fn log(&self) -> Box<dyn Store> {
        Box::new(Embedded::new(&self.log_folder()))
    }

    fn desk(&self) -> Result<Desk, DeskError> {
        Desk::open(&self.data_dir().join("cases"), cases::Options::default())
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book)
    }

    fn contacts(&self) -> Result<Reader, ContactsError> {
        Reader::open(&contacts::folder(self.data_dir()))
    }

    fn report(&self, wanted: &Wanted, watch: &mut dyn Watch) -> Result<Vec<u8>, ReportError> {
        let agency = |it: &Agency| crate::client::Agency {
            id: Arc::clone(&it.id),
            name: Arc::clone(&it.name),
            contact: it.contact.clone(),
            networks: it.networks.clone(),
        };
        let sources = Sources {
            store: &*self.log(),
            desk: Some(&self.desk()?),
            book: Some(&self.book),
            agencies: &self.agencies.iter().map(agency).collect::<Vec<_>>(),
            classes: &cases::Classes::default(),
            coverage: None,
            anonymised_before: None,
            now: NOW,
        };
        let figures = report::gather(&sources, wanted.period, &wanted.scope, watch)?;
        report::render(&figures, wanted.format, &report::Options::default())
    }

    fn hunts(&self) -> &Arc<Hunts> {
        &self.hunts
    }

    fn rules(&self) -> History {
        History::new(self.data_dir())
    }

    fn renew_rules(&self) -> Result<String, String> {
        Ok("in force".to_owned())
    }

    fn versions(&self) -> Versions {
        Versions::new(&self.data_dir().join("feeds"))
    }

    fn refresh_feeds(&self) -> Result<String, String> {
        Ok("nothing is new".to_owned())
    }
}

#[test]
fn pages_are_answered_from_a_scratch_house_and_looks_are_recorded() {
    use crate::evidence::audit::read::{self, Of};
    use crate::evidence::store::{Filter, Page, Unwatched};
    use std::ops::ControlFlow;

    let scratch = Scratch::new();
    assert!(text(scratch.get(&viewer(Role::Reader), "/").unwrap()).contains("Overview"));
    let (first, second) = (officer(0), officer(1));
    for (number, viewer) in [&first, &second].into_iter().enumerate() {
        let call = scratch.call(Some(viewer.clone()), "/", &[]);
        let mut seen = 0;
        let data = call.data().unwrap();
        let every = &Filter::default();
        data.queries(every, Page::default(), &mut Unwatched, &mut |record| {
            assert_eq!(record.agency.as_deref(), Some(AGENCIES[number]));
            seen += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(seen, 10);
        let own = scratch.ticket(number).parse().unwrap();
        let other = scratch.ticket(1 - number).parse().unwrap();
        assert_eq!(data.case(own).unwrap().case.agency.as_deref(), Some(AGENCIES[number]));
        assert!(matches!(data.case(other), Err(Failure::Absent)));
        let client = Scratch::client(number);
        let one = Filter { client: Some(client), ..Filter::default() };
        data.queries(&one, Page::default(), &mut Unwatched, &mut |_| ControlFlow::Break(())).unwrap();
        let mut looks = Vec::new();
        read::newest_first(scratch.data_dir(), &read::Filter::default(), None, &mut |entry| {
            looks.push(entry);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((looks.len(), looks[0].who()), (number + 1, &*viewer.name));
        assert_eq!(looks[0].of, Of::Look { client, since: None, until: None });
    }
}

#[test]
fn excel_is_told_that_exports_are_utf_8() {
    let scratch = Scratch::new();
    let exports = routes::ROUTES.iter().copied().flatten().map(|route| route.path);
    let exports: Vec<&str> =
        exports.filter(|path| path.ends_with("/export") && !path.contains('{')).collect();
    assert!(exports.len() >= 8, "{exports:?}");
    for path in exports {
        let get = |format: &str| {
            text(scratch.get(&viewer(Role::Admin), &format!("{path}?format={format}")).unwrap())
        };
        let marks = |text: &str| text.match_indices('\u{feff}').map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(marks(&get("csv")), [0], "{path}");
        assert_eq!(marks(&get("jsonl")), Vec::<usize>::new(), "{path}");
    }
}
