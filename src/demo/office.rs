//! The department's staff: their accounts and tokens, rules with reasons, hunts, and what they look at.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::DemoError;
use super::calendar::{Calendar, DAY, HOUR, is_weekend, office_hour};
use super::dice::Dice;
use super::infections::Infection;
use super::province::{ANALYSTS, Province};
use super::threats::Threats;
use super::trace::Trace;
use crate::console::access::{Right, Role};
use crate::console::account::Accounts;
use crate::console::hunts::{Hunts, Wish};
use crate::console::token::{self, Tokens};
use crate::evidence::store::embedded::Embedded;
use crate::name::Name;
use crate::policy::action::Action;
use crate::policy::rule::Severity;
use crate::policy::trigger::Scope;
use crate::rules::history::History;
use crate::rules::{self, Deed, Effect, Event, Rule, Subject};

/// Who keeps accounts, agencies and what is imported.
pub(super) const ADMIN: &str = "admin";
/// Who may sign in to the console: the officer of the first agency alone.
pub(super) const ACCOUNTS: [(&str, Role); 7] = [
    (ADMIN, Role::Admin),
    ("analyst", Role::Analyst),
    ("officer", Role::Officer),
    ("reader", Role::Reader),
    (ANALYSTS[0], Role::Analyst),
    (ANALYSTS[1], Role::Analyst),
    (ANALYSTS[2], Role::Analyst),
];

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
pub(super) fn rules(
    data_dir: &Path,
    province: &Province,
    calendar: &Calendar,
    trace: &mut Trace,
) -> Result<(), DemoError> {
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
        let did = if is_exception { "rule.allow" } else { "rule.block" };
        let details = format!("rule {}: {reason}", number + 1);
        trace.changed(time, ANALYSTS[number % ANALYSTS.len()], did, what, &details);
    }
    let (taken_back, reason) =
        ((calendar.until - DAY / 2).max(calendar.start), "Trang đã bị nhà cung cấp gỡ bỏ");
    change(&history, taken_back, 1, reason, rules::Change::Remove(4))?;
    trace.changed(taken_back, ANALYSTS[1], "rule.end", "4", reason);
    Ok(())
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

/// Accounts of each role, all with this password, which is returned; and a token of a program.
pub(super) fn accounts(
    data_dir: &Path,
    province: &Province,
    calendar: &Calendar,
    trace: &mut Trace,
) -> Result<String, DemoError> {
    let password = format!("tinh-mau-{:06}", Dice::of(province.seed(), 63, 0).below(1_000_000));
    let accounts = Accounts::open(data_dir)?;
    for (name, role) in ACCOUNTS {
        let agency = (role == Role::Officer).then(|| province.agencies[0].id.as_str());
        accounts.add(name, role, agency, &password, calendar.start)?;
        let details = agency.map_or_else(|| role.as_str().to_owned(), |id| format!("{} {id}", role.as_str()));
        trace.changed(calendar.start, ADMIN, "account.add", name, &details);
    }
    let tokens = Tokens::open(data_dir)?;
    let analyst = accounts.find(ACCOUNTS[1].0)?;
    let yearly = calendar.until + 365 * DAY;
    for (label, rights, until) in [
        ("Bảng theo dõi của trung tâm giám sát (SOC)", &[Right::See, Right::SeeProvince][..], None),
        ("Đưa ca mới sang phần mềm quản lý sự cố", &[Right::See, Right::Work], Some(yearly)),
    ] {
        let wish = token::Wish { label, rights, agency: None, until };
        let (_, id) = tokens.make(&analyst, &wish, calendar.start + DAY)?;
        trace.changed(calendar.start + DAY, ACCOUNTS[1].0, "token.make", &id.to_string(), label);
    }
    Ok(password)
}

/// Who signed in on working days, and looked at which machines' queries.
pub(super) fn looks(province: &Province, infections: &[Infection], calendar: &Calendar, trace: &mut Trace) {
    let mut dice = Dice::of(province.seed(), 62, 0);
    for day in (0..calendar.days).rev().take(10).filter(|day| !is_weekend(calendar.day(*day))) {
        for account in ANALYSTS {
            let time = dice.within(calendar.day(day) + 7 * HOUR + HOUR / 4, calendar.day(day) + 8 * HOUR);
            if time < calendar.until && dice.percent(80) {
                trace.changed(time, account, "account.sign-in", account, "password");
            }
        }
    }
    for infection in infections.iter().filter(|it| it.machine % 5 == 1).take(40) {
        let begun = infection.spans.first().map_or(calendar.start, |(from, _)| *from);
        let time = office_hour(begun + DAY / 4, &mut dice);
        let client = province.machines[infection.machine as usize].address_at(time);
        if time < calendar.until {
            trace.looked(time, dice.pick(&ANALYSTS), IpAddr::V4(client), begun);
        }
    }
}

/// Hunts: after what a letter named, after what a machine was found to call, and after what nobody asked for.
pub(super) fn hunts(
    data_dir: &Path,
    log: &Path,
    threats: &Threats,
    calendar: &Calendar,
    trace: &mut Trace,
) -> Result<(), DemoError> {
    let hunts = Arc::new(Hunts::new(data_dir));
    let log = Embedded::new(log);
    let mut dice = Dice::of(2, 64, 0);
    let of = |family: usize| {
        let names = threats.met.get(family).into_iter().flatten();
        names.map(|indicator| format!("{}\n", indicator.name)).collect::<String>()
    };
    for (ago, by, title, text) in [
        (6, 0, "Công văn cảnh báo chiến dịch PlugX nhắm vào cơ quan nhà nước", of(11)),
        (3, 1, "Tên miền tìm thấy khi phân tích máy nhiễm Cobalt Strike", of(10)),
        (1, 2, "Máy dùng phần mềm điều khiển từ xa", "teamviewer.com\nanydesk.com\n".to_owned()),
        (0, 0, "Tên miền trong thư lừa đảo gửi một cửa", "ho-so-mot-cua.test\n192.0.2.77\n".to_owned()),
    ] {
        let time = office_hour(calendar.until - (ago * 24 + 20) * HOUR, &mut dice).min(calendar.until - HOUR);
        let since = calendar.start.max(time - 90 * DAY);
        hunts.make(&log, &Wish { title, text: &text, since, by: ANALYSTS[by] }, time)?;
        trace.changed(time, ANALYSTS[by], "hunt.start", &time.to_string(), title);
    }
    Ok(())
}
