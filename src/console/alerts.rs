//! Alerts: what somebody should look at today, gathered from all detectors in one place, each with what to do.
//!
//! A detector is a function in [`DETECTORS`]; what it finds is bounded and cheap, since it is worked out anew each minute at the most. One that
//! fails is itself an alert, and takes no other one away. An officer's detectors see the own agency only, through [`Data`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::access::Right;
use super::answer::Failure;
use super::call::Call;
use super::data::Data;
use super::data::look::{DAY, HOUR};
use super::pages::reasons;
use super::parts::{self, Tone};
use super::tongue::Tongue;
use crate::cases::{Case, CaseFilter, Class, State, Subject};
use crate::evidence::record::Record;
use crate::evidence::store::{By, Filter, Kind, Why};
use crate::metrics::{Condition, Health, Part};

/// How long alerts are kept, microseconds.
const LIFE: i64 = 60_000_000;
/// … and what changes more slowly.
const LONG_LIFE: i64 = 600_000_000;
/// Alerts of one detector.
const MOST: usize = 20;
/// Open cases that are looked at.
const MOST_CASES: u64 = 20_000;
/// Families on one machine from which on it is told.
const FAMILIES: usize = 3;
/// A publisher that was not heard for so long is silent.
const SILENT: i64 = 3 * DAY;

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    /// Vietnamese.
    pub(super) vietnamese: String,
    /// English.
    pub(super) english: String,
}

impl Text {
    fn of(vietnamese: impl Into<String>, english: impl Into<String>) -> Self {
        Self { vietnamese: vietnamese.into(), english: english.into() }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.vietnamese.is_empty()
    }

    /// The one in this language.
    pub(super) fn say(&self, tongue: Tongue) -> &str {
        tongue.say(&self.vietnamese, &self.english)
    }
}

/// Names and other words that both have.
impl From<String> for Text {
    fn from(both: String) -> Self {
        Self { vietnamese: both.clone(), english: both }
    }
}

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alert {
    /// Which detector says so, in exports.
    pub(super) detector: &'static str,
    /// How bad it is.
    pub(super) tone: Tone,
    /// What it is.
    pub(super) what: Text,
    /// More of it: names, agencies; may be empty.
    pub(super) details: Text,
    /// What to do.
    pub(super) to_do: Text,
    /// Where that is done.
    pub(super) href: Option<String>,
    /// When it was seen last.
    pub(super) time: Option<i64>,
}

/// Finds alerts.
struct Detector {
    name: &'static str,
    /// Whose.
    right: Right,
    find: fn(&Seeing<'_>) -> Result<Vec<Alert>, Failure>,
}

const DETECTORS: &[Detector] = &[
    Detector { name: "service", right: Right::See, find: service },
    Detector { name: "found-before-listed", right: Right::See, find: finds },
    Detector { name: "overdue", right: Right::See, find: overdue },
    Detector { name: "relapse", right: Right::See, find: relapses },
    Detector { name: "many-families", right: Right::See, find: many_families },
    Detector { name: "scan", right: Right::See, find: scans },
    Detector { name: "doubts", right: Right::See, find: doubts },
    Detector { name: "silent-agency", right: Right::SeeProvince, find: silent_agencies },
    Detector { name: "blind-agency", right: Right::SeeProvince, find: blind_agencies },
    Detector { name: "feed", right: Right::SeeProvince, find: feeds },
    Detector { name: "log-gap", right: Right::SeeProvince, find: gaps },
    Detector { name: "disk", right: Right::SeeProvince, find: disk },
    Detector { name: "identity-conflict", right: Right::SeeProvince, find: conflicts },
];

/// What detectors look at.
struct Seeing<'a> {
    call: &'a Call,
    data: Data<'a>,
    cases: Arc<Vec<Case>>,
    health: Health,
}

/// All alerts that concern the viewer, the worst first.
pub(super) fn all(call: &Call) -> Result<Arc<Vec<Alert>>, Failure> {
    let viewer = call.viewer()?;
    // Roles see different ones, and that the service fails nobody learns a minute late.
    let health = call.house.health();
    let unwell: Vec<_> = health.parts.iter().map(|part| (part.name, part.condition)).collect();
    call.data()?.held(&format!("alerts {} {unwell:?}", viewer.role.as_str()), LIFE, || {
        let data = call.data()?;
        let filter = CaseFilter { states: OPEN.to_vec(), limit: Some(MOST_CASES), ..CaseFilter::default() };
        let cases = Arc::new(data.cases(&filter)?);
        let seeing = Seeing { call, data, cases, health };
        let mut alerts = Vec::new();
        for detector in DETECTORS.iter().filter(|detector| viewer.may(detector.right)) {
            match (detector.find)(&seeing) {
                Ok(mut found) => {
                    found.truncate(MOST);
                    alerts.append(&mut found);
                }
                Err(failure) => {
                    tracing::warn!(detector = detector.name, error = %failure, "an alert could not be worked out");
                    alerts.push(Alert {
                        detector: detector.name,
                        tone: Tone::Warn,
                        what: Text::of(
                            format!("Không kiểm tra được: {}", detector.name),
                            format!("Could not be checked: {}", detector.name),
                        ),
                        details: failure.to_string().into(),
                        to_do: Text::of("Xem nhật ký của máy chủ.", "See the server's own log."),
                        href: None,
                        time: None,
                    });
                }
            }
        }
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.tone as u8));
        Ok(alerts)
    })
}

const OPEN: [State; 4] = [State::New, State::Notified, State::Cleaned, State::Watched];

/// Names of agencies, a few and how many more.
fn named(call: &Call, ids: &[&str]) -> String {
    let agencies = call.house.agencies();
    let name = |id: &&str| agencies.iter().find(|it| &*it.id == *id).map_or(*id, |it| &it.name).to_owned();
    listed(&ids.iter().map(name).collect::<Vec<_>>())
}

fn listed(texts: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut text = texts.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if texts.len() > SHOWN {
        text.push_str(&format!(" … (+{})", texts.len() - SHOWN));
    }
    text
}

/// Parts of the server that are not well; for officers only that it fails them.
fn service(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let alert = |tone, what, to_do, href: Option<&str>| Alert {
        detector: "service",
        tone,
        what,
        details: String::new().into(),
        to_do,
        href: href.map(str::to_owned),
        time: None,
    };
    if !seeing.call.viewer()?.may(Right::SeeProvince) {
        let told = alert(
            Tone::Warn,
            Text::of(
                "Dịch vụ DNS đang gặp sự cố; trung tâm đã được báo.",
                "The DNS service has trouble; the centre knows of it.",
            ),
            Text::of("Cơ quan không cần làm gì.", "There is nothing that your agency should do."),
            None,
        );
        return Ok((!seeing.health.is_ready()).then_some(told).into_iter().collect());
    }
    // Of the gate each feed that waits says so itself.
    let unwell = |part: &&Part| part.condition != Condition::Well && part.name != "gate";
    let alerts = seeing.health.parts.iter().filter(unwell).map(|part| {
        let is_failed = part.condition == Condition::Failed;
        let (what, to_do) = trouble(part.name, is_failed);
        let href = (part.name == "policy").then_some("/feeds");
        let what = if what.is_empty() { format!("{}: {}", part.name, part.told).into() } else { what };
        alert(if is_failed { Tone::Bad } else { Tone::Warn }, what, to_do, href)
    });
    Ok(alerts.collect())
}

/// What it means that a part of the server is not well, and what to do; empty of parts that nobody knows here.
fn trouble(part: &str, is_failed: bool) -> (Text, Text) {
    let (vietnamese, english, to_do) = match (part, is_failed) {
        ("workers", _) => (
            "Một phần dịch vụ DNS đã dừng",
            "A part of the DNS service has ended",
            ("Khởi động lại dịch vụ trên máy chủ.", "Restart the service on the server."),
        ),
        ("upstreams", true) => (
            "Không máy chủ DNS cấp trên nào trả lời: các máy không phân giải được tên miền",
            "No upstream answers: names cannot be resolved",
            (
                "Kiểm tra đường mạng ra ngoài và các máy chủ ở resolver.upstreams.",
                "Check the way out of the network, and the servers in resolver.upstreams.",
            ),
        ),
        ("upstreams", false) => (
            "Có tên miền chuyển tiếp riêng mà không máy chủ nào trả lời",
            "No server of a route answers",
            ("Kiểm tra các máy chủ ở mục [[route]].", "Check the servers in [[route]]."),
        ),
        ("policy", _) => (
            "Chính sách chặn đang trống, hoặc có nguồn danh sách quá lâu không làm mới được",
            "The policy lists no name, or feeds could not be renewed for too long",
            ("Xem các nguồn danh sách.", "Look at the feeds."),
        ),
        ("log", true) => (
            "Không ghi được nhật ký truy vấn",
            "Queries cannot be recorded",
            ("Giải phóng dung lượng hoặc sửa ổ đĩa.", "Free room on the disk, or mend it."),
        ),
        ("log", false) => (
            "Ổ đĩa gần đầy: chỉ còn ghi lượt chặn",
            "The disk is nearly full: only hits are recorded",
            ("Giải phóng dung lượng.", "Free room on the disk."),
        ),
        ("store", _) => (
            "Nhật ký chờ lưu trữ bị dồn lại",
            "The log waits to be archived",
            ("Kiểm tra ổ đĩa và tải của máy chủ.", "Check the disk and the server's load."),
        ),
        ("clickhouse", _) => (
            "ClickHouse chưa nhận hết nhật ký",
            "ClickHouse has not taken all of the log",
            (
                "Kiểm tra ClickHouse có chạy và kết nối được không.",
                "Check that ClickHouse runs and can be reached.",
            ),
        ),
        ("outlets", _) => (
            "Có nơi nhận nhật ký không kết nối được",
            "Receivers of the log are away",
            ("Kiểm tra nơi nhận và đường mạng tới đó.", "Check the receivers, and the way to them."),
        ),
        ("sinkhole", _) => (
            "Có kết nối tới sinkhole không ghi lại được",
            "Contacts with the sinkhole could not be recorded",
            ("Kiểm tra ổ đĩa của máy chủ.", "Check the server's disk."),
        ),
        _ => ("", "", ("Xem nhật ký của máy chủ.", "See the server's own log.")),
    };
    (Text::of(vietnamese, english), Text::of(to_do.0, to_do.1))
}

/// Queries of names that were listed only later.
fn finds(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let finds = seeing.data.finds(seeing.call.now - 30 * DAY, 500)?;
    let Some(last) = finds.first() else { return Ok(Vec::new()) };
    let clients: HashSet<IpAddr> = finds.iter().map(Record::source).collect();
    let families: BTreeSet<String> =
        finds.iter().filter_map(|record| record.family.as_deref()).map(str::to_owned).collect();
    let (count, clients) = (finds.len(), clients.len());
    Ok(vec![Alert {
        detector: "found-before-listed",
        tone: Tone::Bad,
        what: Text::of(
            format!("{count} truy vấn của {clients} địa chỉ tới tên miền sau này mới bị liệt kê (30 ngày)"),
            format!("{count} queries of {clients} addresses for names that were listed only later (30 days)"),
        ),
        details: listed(&families.into_iter().collect::<Vec<_>>()).into(),
        to_do: Text::of(
            "Các máy này có thể đã nhiễm từ trước: mở ca và kiểm tra máy.",
            "These machines may have been infected before: check them.",
        ),
        href: Some(if seeing.call.viewer()?.may(Right::SeeProvince) {
            "/hunts".to_owned()
        } else {
            "/cases".to_owned()
        }),
        time: Some(last.time),
    }])
}

fn overdue(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let tally = seeing.call.house.desk()?.tally(
        &CaseFilter { agency: seeing.call.viewer()?.agency().map(str::to_owned), ..CaseFilter::default() },
        seeing.call.now,
    )?;
    if tally.overdue == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![Alert {
        detector: "overdue",
        tone: Tone::Bad,
        what: Text::of(format!("{} ca quá hạn", tally.overdue), format!("{} overdue cases", tally.overdue)),
        details: String::new().into(),
        to_do: Text::of(
            "Thông báo cho đơn vị, hoặc gọi điện hỏi kết quả làm sạch.",
            "Tell the agency, or call and ask how cleaning goes.",
        ),
        href: Some("/cases?overdue=1".to_owned()),
        time: None,
    }])
}

fn case_link(case: &Case) -> String {
    parts::link(&["cases", &case.ticket.to_string()], &[])
}

fn called(case: &Case) -> String {
    let subject = case.subject.to_string();
    case.host.as_ref().map_or(subject.clone(), |host| format!("{host} ({subject})"))
}

/// Cases of infections that were opened again, or belied, within a week.
fn relapses(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let since = seeing.call.now - 7 * DAY;
    let is_again =
        |case: &&Case| case.class.is_infection() && case.course.reopened > 0 && case.course.since >= since;
    let mut again: Vec<&Case> = seeing.cases.iter().filter(is_again).collect();
    again.sort_by_key(|case| std::cmp::Reverse(case.course.since));
    let alert = |case: &&Case| Alert {
        detector: "relapse",
        tone: Tone::Bad,
        what: Text::of(
            format!("Tái nhiễm: {} – {}", called(case), case.family),
            format!("Infected again: {} – {}", called(case), case.family),
        ),
        details: named(seeing.call, case.agency.as_deref().as_slice()).into(),
        to_do: Text::of(
            "Cài lại máy thay vì chỉ quét; tìm nguồn lây (USB, phần mềm bẻ khóa).",
            "Reinstall instead of scanning; look for where it comes from (USB, cracked software).",
        ),
        href: Some(case_link(case)),
        time: Some(case.course.since),
    };
    Ok(again.iter().take(MOST).map(alert).collect())
}

/// Machines with infections of many families.
fn many_families(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let mut of: BTreeMap<Subject, Vec<&Case>> = BTreeMap::new();
    for case in seeing.cases.iter().filter(|case| case.class.is_infection()) {
        of.entry(case.subject).or_default().push(case);
    }
    let mut many: Vec<_> = of.into_iter().filter(|(_, cases)| cases.len() >= FAMILIES).collect();
    many.sort_by_key(|(_, cases)| std::cmp::Reverse(cases.len()));
    let alert = |(subject, cases): &(Subject, Vec<&Case>)| {
        let families: Vec<String> =
            cases.iter().map(|case| case.family.clone()).filter(|it| !it.is_empty()).collect();
        Alert {
            detector: "many-families",
            tone: Tone::Bad,
            what: Text::of(
                format!("{} dính {} loại mã độc", called(cases[0]), cases.len()),
                format!("{} has {} kinds of malware", called(cases[0]), cases.len()),
            ),
            details: listed(&families).into(),
            to_do: Text::of(
                "Cách ly máy khỏi mạng rồi cài lại; nếu là máy chủ DNS của đơn vị, hãy xem máy thật phía sau.",
                "Take it off the network and reinstall; if it is the agency's DNS server, find the machines behind it.",
            ),
            href: Some(parts::link(&["machines", &subject.to_string()], &[])),
            time: cases.iter().map(|case| case.course.last_hit).max(),
        }
    };
    Ok(many.iter().take(MOST).map(alert).collect())
}

fn scans(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let scans: Vec<&Case> = seeing.cases.iter().filter(|case| case.class == Class::Scan).collect();
    let alert = |case: &&&Case| Alert {
        detector: "scan",
        tone: Tone::Warn,
        what: Text::of(format!("{} đang dò quét", called(case)), format!("{} scans", called(case))),
        details: named(seeing.call, case.agency.as_deref().as_slice()).into(),
        to_do: Text::of(
            "Hỏi đơn vị có đang kiểm tra an toàn không; nếu không, coi là máy bị chiếm quyền.",
            "Ask the agency whether it tests its network; if not, somebody else does.",
        ),
        href: Some(case_link(case)),
        time: Some(case.course.last_hit),
    };
    Ok(scans.iter().take(MOST).map(|case| alert(&case)).collect())
}

fn doubts(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let doubted = seeing.data.doubted(500)?;
    let Some(last) = doubted.first() else { return Ok(Vec::new()) };
    let mut names: Vec<String> = doubted.iter().map(|case| case.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(vec![Alert {
        detector: "doubts",
        tone: Tone::Warn,
        what: Text::of(
            format!("{} ca có người dùng báo “chặn nhầm”, chưa ai trả lời", doubted.len()),
            format!("{} cases of which people say “this is wrong”, unanswered", doubted.len()),
        ),
        details: listed(&names).into(),
        to_do: Text::of("Xem tên miền, rồi kết luận trong ca.", "Look at the name, and judge in the case."),
        href: Some(case_link(last)),
        time: Some(last.course.last_hit),
    }])
}

/// Agencies with networks and without a query in a day.
fn silent_agencies(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let hour = seeing.call.now.div_euclid(HOUR) * HOUR;
    let filter = Filter { since: Some(hour - DAY), ..Filter::default() };
    let counts = seeing.data.counted(&filter, By::Agency)?;
    // Where nobody asks at all, that is told by other means.
    if counts.is_empty() {
        return Ok(Vec::new());
    }
    let heard: HashSet<&str> = counts.iter().map(|count| &*count.value).collect();
    let agencies = seeing.call.house.agencies();
    let silent: Vec<&str> = agencies
        .iter()
        .filter(|agency| !agency.networks.is_empty() && !heard.contains(&*agency.id))
        .map(|agency| &*agency.id)
        .collect();
    if silent.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Alert {
        detector: "silent-agency",
        tone: Tone::Warn,
        what: Text::of(
            format!("{} cơ quan không gửi truy vấn nào trong 24 giờ", silent.len()),
            format!("{} agencies sent no query within 24 hours", silent.len()),
        ),
        details: named(seeing.call, &silent).into(),
        to_do: Text::of(
            "Kiểm tra DHCP/DNS của đơn vị còn trỏ về máy chủ này không.",
            "Check that the agency's DHCP or DNS still leads to this server.",
        ),
        href: Some("/agencies".to_owned()),
        time: None,
    }])
}

/// Agencies with hits whose machines never come to the sinkhole: one's own server hides who it is.
fn blind_agencies(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let hour = seeing.call.now.div_euclid(HOUR) * HOUR;
    let filter = Filter { since: Some(hour - 7 * DAY), kind: Kind::Hits, ..Filter::default() };
    let counts = seeing.data.counted(&filter, By::Agency)?;
    let contacts =
        seeing.data.held("contacts by client", LONG_LIFE, || match seeing.call.house.contacts() {
            Err(crate::evidence::contacts::ContactsError::Missing { .. }) => Ok(Vec::new()),
            reader => Ok(reader?.by_client(hour - 7 * DAY)?),
        })?;
    let came: HashSet<Arc<str>> =
        contacts.iter().filter_map(|count| seeing.call.house.agency_of(count.client)).collect();
    let agencies = seeing.call.house.agencies();
    // Where nobody comes, the sinkhole does not listen.
    if came.is_empty() {
        return Ok(Vec::new());
    }
    let blind: Vec<&str> = counts
        .iter()
        .filter(|count| count.count >= 10 && !came.contains(&*count.value))
        .map(|count| &*count.value)
        .filter(|id| agencies.iter().any(|agency| &*agency.id == *id))
        .collect();
    if blind.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Alert {
        detector: "blind-agency",
        tone: Tone::Warn,
        what: Text::of(
            format!("{} cơ quan có lượt chặn nhưng không máy nào tới sinkhole (7 ngày)", blind.len()),
            format!(
                "{} agencies have hits, and no machine of theirs comes to the sinkhole (7 days)",
                blind.len()
            ),
        ),
        details: named(seeing.call, &blind).into(),
        to_do: Text::of(
            "Mở đường từ mạng đơn vị tới địa chỉ sinkhole (cổng 80, 443) để biết máy thật phía sau DNS của họ.",
            "Open the way from the agency's network to the sinkhole (ports 80, 443), to learn which machines are behind its DNS.",
        ),
        href: Some("/agencies".to_owned()),
        time: None,
    }])
}

/// What somebody else says, in both languages.
fn both(said: &str, tell: impl Fn(Tongue, &str) -> String) -> Text {
    Text { vietnamese: tell(Tongue::Vietnamese, said), english: tell(Tongue::English, said) }
}

fn feeds(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let Some(works) = seeing.call.house.works() else { return Ok(Vec::new()) };
    let mut alerts = Vec::new();
    for feed in works.feeds()? {
        let href = Some(parts::link(&["feeds", &feed.name], &[]));
        let mut tell = |tone, what: Text, details: Text, to_do: Text, time| {
            alerts.push(Alert { detector: "feed", tone, what, details, to_do, href: href.clone(), time });
        };
        if let Some(refused) = feed.state.pending() {
            tell(
                Tone::Warn,
                Text::of(
                    format!("Nguồn {}: phiên bản mới bị giữ lại", feed.name),
                    format!("Feed {}: a new version was refused", feed.name),
                ),
                both(refused.reasons.first().map_or("", String::as_str), reasons::gate),
                Text::of(
                    "Xem khác biệt rồi duyệt hoặc từ chối.",
                    "See the differences, then approve or reject it.",
                ),
                Some(refused.version.arrived_at),
            );
        }
        if let Some(missing) = &feed.missing {
            tell(
                Tone::Bad,
                Text::of(
                    format!("Nguồn {}: không đọc được tệp", feed.name),
                    format!("Feed {}: its file cannot be read", feed.name),
                ),
                both(missing, |tongue, why| reasons::file(tongue, why).into_owned()),
                Text::of("Đặt lại tệp, hoặc sửa cấu hình.", "Put the file back, or mend the configuration."),
                None,
            );
        }
        if let Some(fetching) = &feed.fetching {
            let is_silent = fetching.heard_at > 0 && fetching.heard_at < seeing.call.now - SILENT;
            if fetching.failures >= 3 || is_silent {
                tell(
                    if is_silent { Tone::Bad } else { Tone::Warn },
                    Text::of(
                        format!("Nguồn {}: không tải được ({} lần liền)", feed.name, fetching.failures),
                        format!(
                            "Feed {}: could not be fetched ({} times in a row)",
                            feed.name, fetching.failures
                        ),
                    ),
                    both(fetching.trouble.as_ref().map_or("", |(_, why)| why), |tongue, why| {
                        reasons::fetch(tongue, why).into_owned()
                    }),
                    Text::of(
                        "Kiểm tra đường mạng tới nơi phát hành và tài khoản; danh sách cũ vẫn có hiệu lực.",
                        "Check the way to the publisher, and the account; the last list stays in force.",
                    ),
                    fetching.trouble.as_ref().map(|(at, _)| *at),
                );
            }
        }
        if feed.state.accepted.is_none() && feed.state.pending().is_none() {
            tell(
                Tone::Warn,
                Text::of(
                    format!("Nguồn {} chưa có phiên bản nào", feed.name),
                    format!("Feed {} has no version yet", feed.name),
                ),
                String::new().into(),
                Text::of("Kiểm tra nguồn này có tải được không.", "Check that it can be fetched."),
                None,
            );
        }
    }
    Ok(alerts)
}

fn gaps(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let gaps = seeing.data.gaps(seeing.call.now - 7 * DAY)?;
    let mut by: BTreeMap<&str, (u64, i64, Why)> = BTreeMap::new();
    for gap in &gaps {
        let (count, latest, _) = by.entry(gap.why.as_str()).or_insert((0, gap.latest, gap.why));
        *count += gap.count;
        *latest = (*latest).max(gap.latest);
    }
    let alert = |(count, latest, why): (u64, i64, Why)| {
        let (vietnamese, english, to_do) = match why {
            Why::Refused => {
                ("ổ đĩa không ghi được", "the disk refused them", ("Kiểm tra ổ đĩa.", "Check the disk."))
            }
            Why::NoRoom => (
                "ổ đĩa gần đầy",
                "the disk was nearly full",
                ("Giải phóng dung lượng.", "Free room on the disk."),
            ),
            Why::TooLarge => (
                "vượt log.max_size trước khi lưu trữ",
                "beyond log.max_size before they were archived",
                ("Tăng log.max_size.", "Raise log.max_size."),
            ),
            Why::Unshipped => (
                "ClickHouse vắng quá lâu",
                "ClickHouse was away for too long",
                ("Khôi phục ClickHouse.", "Bring ClickHouse back."),
            ),
            Why::Damaged => {
                ("tệp hỏng (octet)", "damaged files (octets)", ("Kiểm tra ổ đĩa.", "Check the disk."))
            }
        };
        Alert {
            detector: "log-gap",
            tone: Tone::Bad,
            what: Text::of(
                format!("Nhật ký thiếu {} mục trong 7 ngày: {vietnamese}", Tongue::Vietnamese.number(count)),
                format!("The log lacks {} within 7 days: {english}", Tongue::English.number(count)),
            ),
            details: String::new().into(),
            to_do: Text::of(to_do.0, to_do.1),
            href: None,
            time: Some(latest),
        }
    };
    Ok(by.into_values().map(alert).collect())
}

fn disk(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let Ok(facts) = rustix::fs::statvfs(seeing.call.house.data_dir()) else { return Ok(Vec::new()) };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    let percent = facts.f_bavail.saturating_mul(100) / facts.f_blocks.max(1);
    let gib = free >> 30;
    if percent >= 10 || gib >= 20 {
        return Ok(Vec::new());
    }
    Ok(vec![Alert {
        detector: "disk",
        tone: if percent < 3 { Tone::Bad } else { Tone::Warn },
        what: Text::of(
            format!("Ổ đĩa dữ liệu chỉ còn trống {percent}% ({gib} GiB)"),
            format!("Only {percent}% of the data disk are free ({gib} GiB)"),
        ),
        details: String::new().into(),
        to_do: Text::of(
            "Giải phóng dung lượng hoặc giảm log.max_size; khi gần đầy chỉ còn ghi lượt chặn.",
            "Free room, or lower log.max_size; on a nearly full disk only hits are recorded.",
        ),
        href: None,
        time: None,
    }])
}

fn conflicts(seeing: &Seeing<'_>) -> Result<Vec<Alert>, Failure> {
    let conflicts = seeing
        .data
        .held("conflicts", LONG_LIFE, || Ok(seeing.call.house.book().conflicts(seeing.call.now - DAY)?))?;
    if conflicts.is_empty() {
        return Ok(Vec::new());
    }
    let subjects: Vec<String> = conflicts.iter().map(|conflict| conflict.subject.clone()).collect();
    let count = subjects.len();
    Ok(vec![Alert {
        detector: "identity-conflict",
        tone: Tone::Info,
        what: Text::of(
            format!("{count} mâu thuẫn giữa DHCP và kiểm kê máy"),
            format!("{count} contradictions between DHCP and inventories"),
        ),
        details: listed(&subjects).into(),
        to_do: Text::of(
            "Sửa kiểm kê, hoặc gộp máy bằng `sachdns identity merge`.",
            "Mend the inventory, or merge machines by `sachdns identity merge`.",
        ),
        href: Some(parts::link(&["machines"], &[("text", subjects.first().map_or("", String::as_str))])),
        time: None,
    }])
}

#[cfg(test)]
mod tests {
    use super::super::access::Role;
    use super::super::tests::{MARKERS, Scratch, officer, viewer};
    use super::*;
    use crate::cases::Actor;

    #[test]
    fn alerts_are_of_what_a_viewer_may_see() {
        let scratch = Scratch::new();
        let desk = super::super::house::House::desk(&*scratch).unwrap();
        for case in desk.list(&CaseFilter::default()).unwrap() {
            desk.said_wrong(case.id, "", &Actor::Visitor(case.client), super::super::tests::NOW).unwrap();
        }
        let told = |viewer| {
            let call = scratch.call(Some(viewer), "/alerts", &[]);
            let alerts = all(&call).unwrap();
            alerts.iter().map(|alert| format!("{alert:?}\n")).collect::<String>()
        };
        let (own, all) = (told(officer(0)), told(viewer(Role::Analyst)));
        assert!(own.contains("doubts") && own.contains(MARKERS[0]), "{own}");
        assert!(!own.contains(MARKERS[1]) && !own.contains("agency\""), "{own}");
        assert!(all.contains(MARKERS[0]) && all.contains(MARKERS[1]), "{all}");
    }

    #[test]
    fn a_service_in_trouble_is_told_of_at_once_and_nothing_is_well_then() {
        use super::super::tests::text;

        const WELL: &str = "Service, log and feeds are well.";
        // Nothing else is to be told in a house where nobody asks.
        let scratch = Scratch::empty();
        let told = |viewer: &_, target: &str| text(scratch.get(viewer, target).unwrap());
        let (reader, officer) = (viewer(Role::Reader), officer(0));
        assert!(told(&reader, "/").contains(WELL));
        let own = told(&officer, "/");
        assert!(own.contains("No alerts.") && !own.contains(WELL), "what an officer may not see: {own}");

        scratch.is("upstreams", Condition::Degraded);
        scratch.is("outlets", Condition::Degraded);
        let page = told(&reader, "/alerts");
        assert!(page.contains("No server of a route") && page.contains("Receivers of the log"), "{page}");
        assert!(told(&officer, "/").contains("No alerts."));

        scratch.is("upstreams", Condition::Failed);
        for target in ["/", "/alerts"] {
            let page = told(&reader, target);
            assert!(page.contains("No upstream answers") && !page.contains(WELL), "{page}");
            let own = told(&officer, target);
            assert!(own.contains("The DNS service has trouble") && !own.contains("pstream"), "{own}");
        }
        let call = scratch.call(Some(reader), "/alerts", &[]);
        let tones: Vec<Tone> = all(&call).unwrap().iter().map(|alert| alert.tone).collect();
        assert_eq!(tones, [Tone::Bad, Tone::Warn]);
    }

    #[test]
    fn links_that_deceive_ask_nobody_to_reinstall() {
        use super::super::tests::{AGENCIES, NOW};
        use crate::cases::{Evidence, Sighting};

        let check = |class: Class, expected: bool| {
            let scratch = Scratch::empty();
            let desk = super::super::house::House::desk(&*scratch).unwrap();
            let sighting = |family: &str, time: i64| Sighting {
                time,
                client: Scratch::client(0),
                machine: Subject::Address(Scratch::client(0)),
                host: None,
                agency: Some(AGENCIES[0].to_owned()),
                family: family.to_owned(),
                class,
                name: "x.example".to_owned(),
                evidence: Evidence::Query,
                count: 1,
                officer: None,
            };
            for family in ["a", "b", "c"] {
                desk.sighting(&sighting(family, NOW - 3 * HOUR), NOW - 3 * HOUR).unwrap();
            }
            let case = desk.list(&CaseFilter::default()).unwrap().remove(0);
            desk.close(case.id, "clean", &Actor::Person("An".to_owned()), NOW - 2 * HOUR).unwrap();
            desk.sighting(&sighting(&case.family, NOW - HOUR), NOW - HOUR).unwrap();
            let call = scratch.call(Some(viewer(Role::Reader)), "/alerts", &[]);
            let found: Vec<&str> = all(&call).unwrap().iter().map(|alert| alert.detector).collect();
            for detector in ["relapse", "many-families"] {
                assert_eq!(found.contains(&detector), expected, "{class}: {found:?}");
            }
        };
        check(Class::C2, true);
        check(Class::Unknown, true);
        check(Class::Phishing, false);
    }
}
