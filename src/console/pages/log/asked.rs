//! What the query log is asked for, as it stands in the query: the filters of `sachdns log`.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::{Span, SpanRelativeTo, Timestamp};

use super::super::super::answer::Failure;
use super::super::super::call::Call;
use super::super::super::data::look::{DAY, HOUR, MINUTE};
use super::super::super::tongue::{Tongue, read_day, vietnam};
use crate::cases::Subject;
use crate::evidence::record::Outcome;
use crate::evidence::store::{Filter, Kind, Place};
use crate::identity::MachineId;
use crate::name::Name;
use crate::wire;

/// What is asked for.
pub(super) struct Asked {
    /// Which records.
    pub(super) filter: Filter,
    /// Behind which place.
    pub(super) after: Option<Place>,
    /// What the machine is called, where one is asked for.
    pub(super) machine: Option<String>,
}

impl Asked {
    /// Whether only what roll-ups know narrows it.
    pub(super) fn is_rolled_up(&self) -> bool {
        let Filter { client, name, qtype, rcode, feed, machine, .. } = &self.filter;
        client.is_none()
            && name.is_none()
            && qtype.is_none()
            && rcode.is_none()
            && feed.is_none()
            && machine.is_none()
    }
}

/// Reads it.
pub(super) fn read(call: &Call) -> Result<Asked, Failure> {
    let query = &call.query;
    let text = |name: &str| query.find(name).map(str::to_owned);
    let mut filter = Filter {
        agency: text("agency"),
        feed: text("feed"),
        family: text("family"),
        kind: if query.find("hits") == Some("1") { Kind::Hits } else { Kind::All },
        ..Filter::default()
    };
    if let Some(name) = query.find("name") {
        filter.name = Some(self::name(name)?);
    }
    if let Some(word) = query.find("type") {
        let number = wire::type_number(word);
        filter.qtype = Some(number.ok_or_else(|| {
            wrong(
                "type",
                "không có loại bản ghi này; ví dụ A, AAAA, HTTPS",
                "no such record type; such as A, AAAA, HTTPS",
            )
        })?);
    }
    if let Some(word) = query.find("rcode") {
        let number = wire::rcode_number(word);
        filter.rcode = Some(number.ok_or_else(|| {
            wrong(
                "rcode",
                "không có mã trả lời này; ví dụ NOERROR, NXDOMAIN",
                "no such response code; such as NOERROR, NXDOMAIN",
            )
        })?);
    }
    if let Some(word) = query.find("action") {
        let outcome = Outcome::from_word(word);
        filter.outcome =
            Some(outcome.ok_or_else(|| wrong("action", "không có hành động này", "no such action"))?);
    }
    for (field, place) in [("since", &mut filter.since), ("until", &mut filter.until)] {
        if let Some(text) = query.find(field) {
            *place = Some(time(text, call.now).ok_or_else(|| {
                wrong(
                    field,
                    "không đọc được thời gian; ví dụ 2026-11-26T14:05 hoặc 2h, 7d",
                    "no such time; such as 2026-11-26T14:05, or 2h, 7d",
                )
            })?);
        }
    }
    if let Some(text) = query.find("around") {
        let at = time(text, call.now)
            .ok_or_else(|| wrong("around", "không đọc được thời gian", "no such time"))?;
        let within = within(query.find("within"));
        (filter.since, filter.until) = (Some(at.saturating_sub(within)), Some(at.saturating_add(within + 1)));
    }
    let after = query.find("after").map(str::parse).transpose();
    let after = after.map_err(|_| wrong("after", "trang này không có", "there is no such page"))?;
    let mut asked = Asked { filter, after, machine: None };
    if let Some(who) = query.find("client") {
        if let Ok(client) = who.parse::<IpAddr>() {
            asked.filter.client = Some(client.to_canonical());
        } else {
            machine(call, who, &mut asked)?;
        }
    }
    Ok(asked)
}

/// Narrows to a machine, by its number, MAC or host name.
fn machine(call: &Call, who: &str, asked: &mut Asked) -> Result<(), Failure> {
    let data = call.data()?;
    let none = || {
        wrong(
            "client",
            "không có địa chỉ, máy, MAC hay tên máy như vậy",
            "there is no such address, machine, MAC or host",
        )
    };
    let found = data.machines(None, Some(who), None, 20)?;
    let is_exact = |host: &Option<String>| host.as_deref().is_some_and(|host| host.eq_ignore_ascii_case(who));
    let is_number = who.parse::<MachineId>().is_ok();
    let chosen = found.iter().find(|it| is_number || is_exact(&it.machine.host));
    let machine = match (chosen, &found[..]) {
        (Some(found), _) => &found.machine,
        (None, [only]) => &only.machine,
        (None, []) => return Err(none()),
        (None, _) => {
            return Err(wrong(
                "client",
                "nhiều máy có tên này; hãy tìm trong trang Máy rồi chọn một máy",
                "several machines are called so; choose one on the page Machines",
            ));
        }
    };
    // Looks are recorded when the log is asked.
    let seen = data.seen_quietly(Subject::Machine(machine.id))?;
    asked.filter.machine = Some(Arc::new(data.whereabouts(&seen)));
    asked.machine = Some(machine.host.clone().unwrap_or_else(|| machine.id.to_string()));
    Ok(())
}

/// A name as people type it, with or without `*.` in front.
fn name(text: &str) -> Result<Name, Failure> {
    let bare = text.trim_start_matches("*.").trim_start_matches('.').replace("[.]", ".");
    let read = Name::from_host(&bare).or_else(|_| Name::from_presentation(&bare));
    read.map_err(|_| wrong("name", "không phải là tên miền", "this is no domain name"))
}

/// How far around, microseconds: ten minutes unless something else is asked for.
fn within(text: Option<&str>) -> i64 {
    text.and_then(|minutes| minutes.parse::<i64>().ok()).map_or(10 * MINUTE, |it| it.clamp(1, 1440) * MINUTE)
}

/// A time as forms, links and people write it: on a clock in Vietnam (26/11/2026, 26/11/2026 14:05, 2026-11-26T14:05), RFC 3339, or an age.
pub(in crate::console) fn time(text: &str, now: i64) -> Option<i64> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_microsecond());
    }
    let typed = text.parse::<DateTime>().or_else(|_| DateTime::strptime("%d/%m/%Y %H:%M", text));
    if let Some(time) = typed.ok().or_else(|| Some(read_day(text)?.at(0, 0, 0, 0))) {
        return Some(vietnam().to_timestamp(time).ok()?.as_microsecond());
    }
    let span = text.parse::<Span>().ok()?;
    let age = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    now.checked_sub(i64::try_from(age.abs().as_micros()).ok()?)
}

/// A time as links write it.
pub(in crate::console) fn exact(time: i64) -> String {
    Timestamp::from_microsecond(time).map(|time| time.to_string()).unwrap_or_default()
}

/// A time as `<input type=datetime-local>` wants it.
pub(super) fn local(time: i64) -> String {
    let time = Timestamp::from_microsecond(time).map(|time| time.to_zoned_datetime(vietnam()));
    time.map(|time| time.strftime("%Y-%m-%dT%H:%M").to_string()).unwrap_or_default()
}

/// What was done with a query, in words.
pub(in crate::console) fn action(tongue: Tongue, outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forward => tongue.say("Phân giải", "Resolved"),
        Outcome::Local => tongue.say("Vùng nội bộ", "Local zone"),
        Outcome::Sinkhole => tongue.say("Chặn (sinkhole)", "Sinkholed"),
        Outcome::Nxdomain => tongue.say("Chặn (NXDOMAIN)", "NXDOMAIN"),
        Outcome::Nodata => tongue.say("Chặn (NODATA)", "NODATA"),
        Outcome::Cname => tongue.say("Chuyển hướng", "Redirected"),
        Outcome::LocalData => tongue.say("Dữ liệu riêng", "Local data"),
        Outcome::Passthru => tongue.say("Cho qua", "Let pass"),
        Outcome::Shadow => tongue.say("Chạy thử", "Shadow"),
        Outcome::TcpOnly => tongue.say("Chỉ TCP", "TCP only"),
        Outcome::Drop => tongue.say("Bỏ", "Dropped"),
        Outcome::Refused => tongue.say("Từ chối", "Refused"),
        Outcome::Limited => tongue.say("Giới hạn", "Limited"),
        Outcome::Malformed => tongue.say("Sai định dạng", "Malformed"),
    }
}

/// By what the course of a time is best shown: so long, by so much.
pub(super) fn step(since: i64, until: i64, now: i64) -> (crate::evidence::store::By, i64) {
    use crate::evidence::store::By;
    let span = until.saturating_sub(since);
    if span <= 3 * HOUR && since > now - 23 * HOUR {
        (By::Minute, MINUTE)
    } else if span <= 4 * DAY {
        (By::Hour, HOUR)
    } else {
        (By::Day, DAY)
    }
}

fn wrong(field: &'static str, vietnamese: &str, english: &str) -> Failure {
    Failure::Wrong { field, vietnamese: vietnamese.to_owned(), english: english.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_and_links_write_them() {
        const NOW: i64 = 1_795_676_709_000_000;
        let check = |text: &str, expected: Option<i64>| assert_eq!(time(text, NOW), expected, "{text}");
        check("2026-11-26T14:05:09", Some(NOW));
        check("2026-11-26T14:05", Some(NOW - 9_000_000));
        check("2026-11-26", Some(NOW - (14 * 3600 + 5 * 60 + 9) * 1_000_000));
        check(&exact(NOW + 7), Some(NOW + 7));
        check("26/11/2026", Some(NOW - (14 * 3600 + 5 * 60 + 9) * 1_000_000));
        check("26/11/2026 14:05", Some(NOW - 9_000_000));
        check("2h", Some(NOW - 2 * HOUR));
        check("7d", Some(NOW - 7 * DAY));
        check("'; DROP TABLE hits", None);
        assert_eq!(local(NOW), "2026-11-26T14:05");
    }
}
