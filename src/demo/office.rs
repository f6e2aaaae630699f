//! The department's staff: their accounts, rules with reasons, and the trace of what they looked at and changed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use super::calendar::{Calendar, DAY, office_hour};
use super::dice::Dice;
use super::infections::Infection;
use super::province::{ANALYSTS, Province};
use super::{DemoError, failed};
use crate::console::access::Role;
use crate::console::account::Accounts;
use crate::evidence::audit::{self, Change, Look, Person};
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::rule::Severity;
use crate::policy::trigger::Scope;
use crate::rules::history::History;
use crate::rules::{self, Deed, Effect, Event, Rule, Subject};

/// Who may sign in to the console: the officer of the first agency alone.
pub(super) const ACCOUNTS: [(&str, Role); 4] = [
    ("admin", Role::Admin),
    ("analyst", Role::Analyst),
    ("officer", Role::Officer),
    ("reader", Role::Reader),
];
const ADMIN: Person<'_> =
    Person { account: "admin", role: "admin", address: Some(IpAddr::V4(Ipv4Addr::new(10, 16, 0, 21))) };

/// A rule: the share of time at which it was given, on what, whether it is an exception, why, for how many days.
type Given = (f64, &'static str, bool, &'static str, Option<i64>);

const RULES: [Given; 9] = [
    (
        0.05,
        "ke-toan.test",
        true,
        "Phần mềm kế toán của các xã, danh sách nhầm; đã trao đổi với nhà cung cấp",
        None,
    ),
    (0.10, "hoa-don-gia.example", false, "Thư lừa đảo hóa đơn điện tử gửi tới nhiều đơn vị", Some(90)),
    (0.20, "khao-sat.example", true, "Khảo sát của Sở Nội vụ, cho qua trong thời gian khảo sát", Some(5)),
    (0.35, "crack-office.test", false, "Trang phát tán phần mềm bẻ khóa chứa mã độc", None),
    (0.50, "dang-nhap-dvc.test", false, "Giả mạo Cổng dịch vụ công của tỉnh", Some(60)),
    (0.60, "may-chu-c2.example", false, "Máy chủ điều khiển tìm thấy khi phân tích máy của huyện", Some(180)),
    (
        0.70,
        "hop-truc-tuyen.example",
        true,
        "Phần mềm họp trực tuyến bị danh sách của đối tác chặn nhầm",
        Some(30),
    ),
    (0.80, "203.0.113.200", false, "Địa chỉ quét cổng vào hệ thống một cửa", Some(30)),
    (0.95, "qua-tang.test", false, "Tin nhắn lừa đảo nhận quà qua Zalo", Some(45)),
];

/// Gives rules, and takes one back.
pub(super) fn rules(data_dir: &Path, province: &Province, calendar: &Calendar) -> Result<usize, DemoError> {
    let history = History::new(data_dir);
    let span = (calendar.until - calendar.start) as f64;
    let mut dice = Dice::of(1, 61, 0);
    for (number, (share, what, is_exception, reason, days)) in RULES.into_iter().enumerate() {
        let time =
            office_hour(calendar.start + (span * share * 0.9) as i64, &mut dice).min(calendar.until - 1);
        let Some(subject) = subject(what) else { continue };
        let rule = Rule {
            subject,
            action: if is_exception { Action::Passthru } else { Action::Sinkhole },
            effect: if number == 7 { Effect::Shadow } else { Effect::Usual },
            agency: (number == 6).then(|| Arc::from(&*province.agencies[0].id)),
            expires: days.map(|days| time + days * DAY),
            family: (!is_exception)
                .then(|| if number == 5 { "Cobalt Strike C2" } else { "Lừa đảo trực tuyến" }.into()),
            severity: (!is_exception).then_some(if number == 5 {
                Severity::Critical
            } else {
                Severity::Medium
            }),
        };
        change(&history, time, number, reason, rules::Change::Add(rule))?;
    }
    let taken_back = (calendar.until - DAY / 2).max(calendar.start);
    change(&history, taken_back, 1, "Trang đã bị nhà cung cấp gỡ bỏ", rules::Change::Remove(4))?;
    Ok(RULES.len())
}

fn subject(text: &str) -> Option<Subject> {
    match text.parse() {
        Ok(address) => Some(Subject::Network(address)),
        Err(_) => match text.parse::<IpAddr>() {
            Ok(address) => Some(Subject::Network(address.into())),
            Err(_) => Name::from_host(text).ok().map(|name| Subject::Name(name, Scope::Subtree)),
        },
    }
}

fn change(
    history: &History,
    time: i64,
    by: usize,
    reason: &str,
    change: rules::Change,
) -> Result<(), DemoError> {
    history.change(time, |book| -> Result<_, DemoError> {
        let by = ANALYSTS[by % ANALYSTS.len()].into();
        let deed = Deed { id: book.next_id(), time, by, reason: reason.into() };
        Ok(vec![Event { deed, change }])
    })?;
    Ok(())
}

/// Accounts of each role, all with this password, which is returned.
pub(super) fn accounts(
    data_dir: &Path,
    province: &Province,
    calendar: &Calendar,
    seed: u64,
) -> Result<String, DemoError> {
    let password = format!("tinh-mau-{:06}", Dice::of(seed, 63, 0).below(1_000_000));
    let accounts = Accounts::open(data_dir)?;
    for (name, role) in ACCOUNTS {
        let agency = (role == Role::Officer).then(|| province.agencies[0].id.as_str());
        accounts.add(name, role, agency, &password, calendar.start)?;
        let on = agency.map_or_else(|| name.to_owned(), |agency| format!("{name} ({agency})"));
        changed(data_dir, calendar.start, "account.add", &on, role.as_str())?;
    }
    Ok(password)
}

fn changed(data_dir: &Path, time: i64, what: &str, on: &str, details: &str) -> Result<(), DemoError> {
    audit::changed(data_dir, time, Some(&ADMIN), &Change { what, on, details })
        .map_err(failed(&audit::path(data_dir)))
}

/// Traces of those who looked at machines' queries.
pub(super) fn looks(
    data_dir: &Path,
    province: &Province,
    infections: &[Infection],
    calendar: &Calendar,
    seed: u64,
) -> Result<(), DemoError> {
    let mut dice = Dice::of(seed, 62, 0);
    let analyst = Person { account: ACCOUNTS[1].0, role: ACCOUNTS[1].1.as_str(), ..ADMIN };
    let mut looks = Vec::new();
    for infection in infections.iter().filter(|it| it.machine % 5 == 1).take(40) {
        let begun = infection.spans.first().map_or(calendar.start, |(from, _)| *from);
        let time = office_hour(begun + DAY / 4, &mut dice);
        let client = province.machines[infection.machine as usize].address_at(time);
        looks.push((time, client, begun));
    }
    looks.sort_unstable();
    for (time, client, begun) in looks.into_iter().filter(|(time, ..)| *time < calendar.until) {
        let look = Look { command: "console", client: client.into(), since: Some(begun), until: Some(time) };
        audit::looked(data_dir, time, &analyst, &look).map_err(failed(&audit::path(data_dir)))?;
    }
    Ok(())
}
