//! Which machines are infected with what, from when until when, and what people do about it.

use std::collections::HashSet;

use super::calendar::{Calendar, DAY, HOUR, MINUTE, SECOND, office_hour};
use super::dice::Dice;
use super::province::{ANALYSTS, Link, Province};
use super::threats::{FAMILIES, Indicator, Kind, Threats};

/// A machine and a family.
#[derive(Debug)]
pub(super) struct Infection {
    /// The machine's number.
    pub(super) machine: u32,
    /// The family's.
    pub(super) family: usize,
    /// The names that it asks for.
    pub(super) names: Vec<Indicator>,
    /// When it does.
    pub(super) spans: Vec<(i64, i64)>,
    /// How often on a day on which the machine is on.
    pub(super) rate: f64,
    /// What people do, in the order of times.
    pub(super) acts: Vec<(i64, Act)>,
}

/// Something that somebody does about a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Somebody is told.
    Tell(&'static str),
    /// Somebody at the machine says that it is clean.
    SayClean(&'static str),
    /// … the officer does.
    OfficerSaysClean(&'static str),
    /// Somebody at the machine says that the name is listed by mistake.
    SayWrong(&'static str),
    /// An analyst notes something.
    Note(usize, &'static str),
    /// An analyst gives it to another person.
    Assign(usize),
    /// An analyst holds the name for harmless.
    Harmless(&'static str),
    /// An analyst is sure.
    Confirm(&'static str),
    /// An analyst closes it.
    Close(&'static str),
}

const TOLD: [&str; 4] = [
    "thư điện tử tới cán bộ phụ trách",
    "điện thoại cho cán bộ phụ trách",
    "công văn kèm danh sách máy",
    "trang cảnh báo trên máy",
];
const CLEANED: [&str; 5] = [
    "Đã quét bằng Bkav, xóa 3 tệp",
    "Đã cài lại Windows",
    "Đã gỡ phần mềm bẻ khóa và quét toàn bộ ổ đĩa",
    "Đã quét bằng công cụ của chiến dịch, không còn cảnh báo",
    "Đã thay ổ cứng, cài lại máy",
];
const NOTED: [&str; 6] = [
    "Máy dùng chung của bộ phận một cửa, xử lý ngoài giờ",
    "Người dùng cài phần mềm bẻ khóa; đã nhắc nhở",
    "Chưa liên hệ được cán bộ phụ trách, gọi lại chiều nay",
    "Máy không có phần mềm diệt virus",
    "Đề nghị đơn vị gửi mẫu tệp để phân tích",
    "USB của kế toán mang mã độc sang máy này",
];

/// What becomes of an infection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    Fresh,
    Lingering,
    Cleaned,
    Relapsed,
    Reopened,
    Off,
    Mistaken,
    Doubted,
    /// It was said to be clean just now.
    JustCleaned,
    Closed,
    Ignored,
}

/// What becomes of some in any case, and lately, so that there is something of everything: the infection's number, and how many days
/// before the end it begins.
const CERTAIN: [(usize, Story, i64); 8] = [
    (1, Story::Reopened, 9),
    (2, Story::Mistaken, 6),
    (3, Story::Doubted, 4),
    (4, Story::Reopened, 10),
    (5, Story::Doubted, 2),
    (6, Story::Mistaken, 5),
    (7, Story::JustCleaned, 3),
    (8, Story::JustCleaned, 6),
];

impl Infection {
    /// Whether it begins within a time: then it asks at once.
    pub(super) fn begins(&self, from: i64, until: i64) -> bool {
        self.spans.iter().any(|(begun, _)| (from..until).contains(begun))
    }

    /// Whether it asks at a time.
    pub(super) fn is_active(&self, time: i64) -> bool {
        self.spans.iter().any(|(from, until)| (*from..*until).contains(&time))
    }
}

/// So many infections of a province: a few agencies have most of them.
pub(super) fn plan(
    seed: u64,
    count: u32,
    rate: f64,
    province: &mut Province,
    threats: &Threats,
    calendar: &Calendar,
) -> Vec<Infection> {
    let mut dice = Dice::of(seed, 41, 0);
    let hot = (province.agencies.len() / 12).clamp(2, 24).min(province.agencies.len());
    let mut hot: Vec<usize> = (0..hot).map(|_| dice.index(province.agencies.len())).collect();
    // Not the worst one, but the one whose officer can sign in.
    hot.push(0);
    let (mut taken, mut infections) = (HashSet::new(), Vec::new());
    // Where there are few machines, not every draw finds one that is free.
    for _ in 0..u64::from(count) * 3 {
        if infections.len() >= count as usize {
            break;
        }
        let agency = match dice.percent(45) {
            true => &province.agencies[hot[dice.popular(hot.len())]],
            false => province.agency_of(dice.index(province.machines.len()) as u32),
        };
        let machine = agency.first + dice.below(u64::from(agency.end - agency.first)) as u32;
        let family = Threats::draw(&mut dice);
        if taken.insert((machine, family)) {
            let link = agency.link;
            let certain = CERTAIN.iter().find(|(number, ..)| *number == infections.len());
            let begin = certain.map(|(_, story, days)| (*story, calendar.until - days * DAY));
            let one = infection(machine, family, (rate, link), begin, threats, calendar, &mut dice);
            if let Some(gone) = one.1 {
                province.machines[machine as usize].gone = Some(gone);
            }
            infections.push(one.0);
        }
    }
    infections
}

fn story(dice: &mut Dice, link: Link) -> Story {
    match dice.below(100) {
        0..12 => Story::Fresh,
        12..40 => Story::Lingering,
        40..67 => Story::Cleaned,
        67..75 => Story::Relapsed,
        75..82 => Story::Reopened,
        // Behind one address, nobody is ever off.
        82..87 if matches!(link, Link::Direct | Link::Dual) => Story::Off,
        87..89 => Story::Mistaken,
        89..90 => Story::Doubted,
        90..93 => Story::Closed,
        _ => Story::Ignored,
    }
}

/// An infection, and when its machine was gone for good.
fn infection(
    machine: u32,
    family: usize,
    (rate, link): (f64, Link),
    certain: Option<(Story, i64)>,
    threats: &Threats,
    calendar: &Calendar,
    dice: &mut Dice,
) -> (Infection, Option<i64>) {
    let Calendar { start, until, .. } = *calendar;
    let all = &threats.met[family];
    let names = (0..1 + dice.index(3)).map(|_| all[dice.index(all.len())].clone()).collect();
    let story = certain.map_or_else(|| story(dice, link), |(story, _)| story);
    let recent = (until - 3 * DAY).max(start);
    let moment = match (story, certain) {
        (_, Some((_, time))) => time.max(start),
        (Story::Fresh, _) => dice.within(recent, until),
        // A month ago less was watched: the later the more.
        _ => dice.within(start, recent.max(start + HOUR)).max(dice.within(start, recent.max(start + HOUR))),
    };
    // People are at their machines when they open what they should not.
    let begun = Some(office_hour(moment, dice)).filter(|time| *time < until).unwrap_or(moment);
    let mut acts = Vec::new();
    let told = office_hour(begun + 2 * HOUR, dice);
    let days = |dice: &mut Dice, least: i64, most: i64| dice.within(least * DAY, most * DAY);
    if dice.percent(if story == Story::Fresh { 45 } else { 92 }) && story != Story::Ignored {
        acts.push((told, Act::Tell(dice.pick(&TOLD))));
    }
    if dice.percent(16) {
        acts.push((
            office_hour(told + days(dice, 0, 3), dice),
            Act::Note(dice.index(ANALYSTS.len()), dice.pick(&NOTED)),
        ));
    }
    if dice.percent(5) {
        acts.push((office_hour(told, dice), Act::Assign(dice.index(ANALYSTS.len()))));
    }
    if dice.percent(6) && FAMILIES[family].kind == Kind::Calls {
        acts.push((
            office_hour(told + DAY, dice),
            Act::Confirm("Phân tích lưu lượng: có kết nối tới máy chủ điều khiển"),
        ));
    }
    let cleaned = office_hour(told + if certain.is_some() { DAY } else { days(dice, 1, 9) }, dice);
    let say = |dice: &mut Dice| {
        let words = dice.pick(&CLEANED);
        if dice.percent(60) { Act::SayClean(words) } else { Act::OfficerSaysClean(words) }
    };
    let (mut spans, mut gone) = (vec![(begun, until)], None);
    match story {
        Story::Fresh | Story::Lingering | Story::Ignored => {}
        Story::Cleaned => {
            spans = vec![(begun, cleaned - 20 * MINUTE)];
            acts.push((cleaned, say(dice)));
        }
        Story::Relapsed => acts.push((cleaned, say(dice))),
        Story::Reopened => {
            acts.push((cleaned, say(dice)));
            // Some are closed by somebody who believes it, others once they were quiet for long enough.
            let again = if certain.is_some() || dice.percent(50) {
                let closed = office_hour(cleaned + DAY / 4, dice);
                acts.push((closed, Act::Close("Đơn vị báo đã cài lại máy")));
                closed + if certain.is_some() { HOUR } else { days(dice, 1, 8) }
            } else {
                cleaned + days(dice, 14, 25)
            };
            spans = vec![(begun, cleaned - 20 * MINUTE), (again, until)];
        }
        Story::Off => {
            let off = begun + days(dice, 1, 6);
            spans = vec![(begun, off)];
            gone = Some(off);
        }
        Story::JustCleaned => {
            spans = vec![(begun, until - HOUR)];
            acts.push((until - SECOND, say(dice)));
        }
        Story::Mistaken => {
            acts.push((told, Act::SayWrong("Đây là trang của nhà cung cấp phần mềm kế toán")));
            let judged = office_hour(told + 4 * HOUR, dice);
            acts.push((judged, Act::Harmless("Tên miền đã đổi chủ, nội dung hiện nay vô hại")));
        }
        Story::Doubted => acts.push((told, Act::SayWrong("Tên này nằm trong phần mềm một cửa của đơn vị"))),
        Story::Closed => {
            spans = vec![(begun, cleaned - 20 * MINUTE)];
            acts.push((cleaned, Act::Close("Máy đã thanh lý, ổ cứng đã hủy")));
        }
    }
    let rate = match FAMILIES[family].kind {
        Kind::Click => {
            // A click is no beacon: once, and for some again.
            spans = spans.iter().map(|(from, _)| (*from, from + 10 * HOUR)).collect();
            1.6
        }
        Kind::Calls | Kind::Address => rate * (0.4 + 1.2 * dice.share()),
    };
    acts.retain(|(time, _)| *time < until);
    acts.sort_by_key(|(time, _)| *time);
    (Infection { machine, family, names, spans, rate, acts }, gone)
}
