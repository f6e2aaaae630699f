//! What somebody should look at today, each with what to do.

use maud::html;

use super::super::access::Right;
use super::super::alerts::{self, Alert};
use super::super::answer::{Failure, Reply, Stream};
use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;
use super::log::exact;
use crate::evidence::export::csv;

pub(in crate::console) static ROUTES: &[Route] = &[
    get("/alerts", Needs::Right(Right::See), page),
    get("/alerts/export", Needs::Right(Right::See), export),
];

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let alerts = alerts::all(call)?;
    let heads = [
        Head::Text(tongue.say("Mức", "Severity")),
        Head::Text(tongue.say("Việc", "What")),
        Head::Text(tongue.say("Cần làm", "What to do")),
        Head::Text(tongue.say("Lúc", "When")),
    ];
    let severity = |alert: &Alert| match alert.tone {
        Tone::Bad => tongue.say("Nghiêm trọng", "Serious"),
        Tone::Warn => tongue.say("Cần xem", "Look at it"),
        _ => tongue.say("Để biết", "To know"),
    };
    let rows = html! {
        @for alert in alerts.iter() {
            tr {
                td { (parts::badge(alert.tone, severity(alert))) }
                th scope="row" {
                    @match &alert.href { Some(href) => a href=(href) { (alert.what.say(tongue)) }, None => (alert.what.say(tongue)) }
                    @if !alert.details.is_empty() { div.soft.small.name { (alert.details.say(tongue)) } }
                }
                td { (alert.to_do.say(tongue)) }
                td data-label=(tongue.say("Lúc", "When")) { @match alert.time { Some(time) => (parts::ago(call, time)), None => span.soft { "—" } } }
            }
        }
    };
    let body = html! {
        p.soft { (tongue.say("Cảnh báo được tính lại mỗi phút và tự hết khi việc đã được xử lý.", "Alerts are worked out anew each minute, and go by themselves once what they tell of is done.")) }
        @if alerts.is_empty() {
            (parts::notice(Tone::Good, &html! { (tongue.say("Hiện không có cảnh báo nào.", "There are no alerts just now.")) }))
        } @else {
            (parts::cards(tongue.say("Cảnh báo, nặng nhất trước", "Alerts, the worst first"), &heads, &rows))
            div.pager { (parts::export(call, "/alerts/export")) }
        }
    };
    Ok(shell::page(call, tongue.say("Cảnh báo", "Alerts"), &body))
}

fn export(call: &Call) -> Result<Reply, Failure> {
    let alerts = alerts::all(call)?;
    let tongue = call.tongue;
    let is_json = call.query.find("format") == Some("jsonl");
    let write = Box::new(move |out: &mut dyn std::io::Write| {
        if !is_json {
            write!(out, "detector,severity,what,details,to_do,time\r\n")?;
        }
        for alert in alerts.iter() {
            let time = alert.time.map(exact).unwrap_or_default();
            let (what, to_do) = (alert.what.say(tongue), alert.to_do.say(tongue));
            let details = alert.details.say(tongue);
            if is_json {
                let line = serde_json::json!({
                    "detector": alert.detector, "severity": alert.tone.class(), "what": what, "details": details,
                    "to_do": to_do, "time": Some(&time).filter(|time| !time.is_empty()),
                });
                writeln!(out, "{line}")?;
            } else {
                let fields = [alert.detector, alert.tone.class(), what, details, to_do, &time];
                let fields: Vec<String> = fields.into_iter().map(csv::quoted).collect();
                write!(out, "{}\r\n", fields.join(","))?;
            }
        }
        Ok(())
    });
    Ok(Reply::Stream(Stream::export(!is_json, "alerts", write)))
}
