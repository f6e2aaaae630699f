//! What the policy says of a name, told: who wins, every rule that touched it, and why it won or lost.
//!
//! Only telling; the story comes from the policy itself.

use maud::{Markup, html};

use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::tongue::Tongue;
use super::feeds::action_text;
use crate::cases::Actor;
use crate::explain::{Account, Answerer, Fate, Place, Story, Thing, Waits};
use crate::policy::decide::Reason;
use crate::policy::guard::Guarded;
use crate::policy::layers::Layer;
use crate::policy::trigger::{Scope, Trigger};

/// What comes of a query for a name; for an address, of an answer that leads there.
pub(super) fn outcome(call: &Call, shown: &str, story: &Story, is_address: bool) -> Markup {
    let tongue = call.tongue;
    let winner = story.accounts.iter().find(|account| matches!(account.fate, Fate::Decides));
    let shadow = story
        .accounts
        .iter()
        .any(|account| matches!(account.fate, Fate::ShadowOwn | Fate::ShadowFeed(_) | Fate::Guarded(..)));
    let (tone, word) = match winner {
        Some(account) if account.action == "passthru" => {
            (Tone::Good, tongue.say("được cho qua", "is let pass"))
        }
        Some(_) => (Tone::Bad, tongue.say("bị chặn", "is blocked")),
        None if shadow => (
            Tone::Info,
            tongue.say("không bị chặn, chỉ ghi nhật ký", "is not blocked, it only shows in the log"),
        ),
        None => (Tone::Good, tongue.say("không bị chặn", "is not blocked")),
    };
    parts::notice(
        tone,
        &html! {
            p { strong.name { (shown) } " " (word)
                @if let Some(account) = winner { " — " (by(tongue, account)) } "." }
            @if !is_address {
                p { (tongue.say("Câu trả lời: ", "The answer: ")) (answer(tongue, story)) "." }
            } @else {
                p { (tongue.say(
                    "Áp dụng cho câu trả lời dẫn tới địa chỉ này.",
                    "That holds for answers that lead to this address.",
                )) }
            }
            @if let Some(waits) = story.waits {
                p.small { (match waits {
                    Waits::Feed => tongue.say("Quyết định sau khi phân giải tên, theo cấu hình của nguồn.", "It is decided after the name is resolved, as its feed says."),
                    Waits::Earlier => tongue.say("Quyết định sau khi phân giải tên, vì một nguồn đứng trước có quy tắc trên câu trả lời.", "It is decided after the name is resolved: an earlier feed has rules on answers."),
                }) }
            }
        },
    )
}

fn by(tongue: Tongue, account: &Account) -> String {
    let action = action_text(tongue, &account.action);
    match (account.layer, &account.given) {
        (Layer::Own, Some(entry)) => tongue.say(
            format!("{action}, theo quy tắc riêng số {} của {}", entry.deed.id, entry.deed.by),
            format!("{action}, by own rule {} of {}", entry.deed.id, entry.deed.by),
        ),
        (Layer::Own, None) => {
            tongue.say(format!("{action}, theo quy tắc riêng"), format!("{action}, by an own rule"))
        }
        (Layer::Feeds, _) => tongue.say(
            format!("{action}, theo nguồn {}", account.feed),
            format!("{action}, by feed {}", account.feed),
        ),
    }
}

fn answer(tongue: Tongue, story: &Story) -> String {
    let text = &story.answer.text;
    match &story.answer.source {
        _ if tongue == Tongue::English => text.clone(),
        Answerer::Refusal => format!("từ chối ({text})"),
        Answerer::Rule => text.replace(", no data", ", không có dữ liệu"),
        Answerer::Alias(target) => format!("bí danh {target}, rồi những gì máy chủ cấp trên trả lời"),
        Answerer::Silence => "không trả lời".to_owned(),
        Answerer::Tcp => "rỗng qua UDP; hỏi lại qua TCP thì được trả lời".to_owned(),
        Answerer::Zone(zone) => format!("theo vùng nội bộ {zone}"),
        Answerer::Special => "trả lời tại chỗ: đây là tên dành riêng".to_owned(),
        Answerer::Upstreams => "theo máy chủ DNS cấp trên".to_owned(),
    }
}

/// Every rule that touched the name.
pub(super) fn accounts(call: &Call, story: &Story) -> Markup {
    let tongue = call.tongue;
    if story.accounts.is_empty() {
        return html! { section.card { (parts::empty(
            tongue.say("Không quy tắc nào chạm tới", "No rule touches it"),
            &html! { (tongue.say(
                "Không nguồn nào và không cán bộ nào liệt kê tên này hay một tên ở trên nó.",
                "No feed and no analyst lists this name or one above it.",
            )) },
        )) } };
    }
    let heads = [
        Head::Text(tongue.say("Kết quả", "Outcome")),
        Head::Text(tongue.say("Quy tắc liệt kê", "The rule lists")),
        Head::Text(tongue.say("Của", "Of")),
        Head::Text(tongue.say("Tác động", "Action")),
        Head::Text(tongue.say("Vì sao", "Why")),
    ];
    // The one that decides comes first.
    let (first, rest): (Vec<&Account>, Vec<&Account>) =
        story.accounts.iter().partition(|account| matches!(account.fate, Fate::Decides));
    let rows = html! {
        @for account in first.into_iter().chain(rest) {
            tr {
                td data-label=(tongue.say("Kết quả", "Outcome")) { (badge(tongue, &account.fate)) }
                th.name scope="row" { (thing(tongue, &account.thing)) }
                td.name data-label=(tongue.say("Của", "Of")) {
                    @match (account.layer, &account.given) {
                        (Layer::Own, Some(entry)) => {
                            (tongue.say("quy tắc riêng số ", "own rule ")) (entry.deed.id)
                            div.small.soft { (entry.deed.by) " · " (parts::time(call, entry.deed.time)) }
                            div.small { (entry.deed.reason) }
                        },
                        (Layer::Own, None) => (tongue.say("quy tắc riêng", "own rule")),
                        (Layer::Feeds, _) => { a href=(parts::link(&["feeds", &account.feed], &[])) { (account.feed) } },
                    }
                    @if let Some(place) = &account.place { div.small.soft { (place_text(tongue, place)) } }
                }
                td data-label=(tongue.say("Tác động", "Action")) {
                    (action_text(tongue, &account.action))
                    @if let Some(family) = &account.family { div.small.soft { (family) } }
                }
                td.name data-label=(tongue.say("Vì sao", "Why")) { (fate_text(tongue, &account.fate)) }
            }
        }
    };
    html! {
        (parts::cards(tongue.say("Mọi quy tắc đã được xét", "Every rule that was considered"), &heads, &rows))
        @if !story.unknown.is_empty() {
            p.hint {
                (tongue.say("Chưa xét được, vì câu hỏi không nói: ", "Not considered, since the question does not tell: "))
                @for (at, trigger) in story.unknown.iter().enumerate() { @if at > 0 { ", " } (trigger_text(tongue, *trigger)) }
                "."
            }
        }
    }
}

fn badge(tongue: Tongue, fate: &Fate) -> Markup {
    match fate {
        Fate::Decides => parts::badge(Tone::Good, tongue.say("quyết định", "decides")),
        Fate::ShadowException | Fate::ShadowOwn | Fate::ShadowFeed(_) => {
            parts::badge(Tone::Info, tongue.say("chỉ ghi", "log only"))
        }
        Fate::Guarded(..) => parts::badge(Tone::Info, tongue.say("được bảo vệ", "guarded")),
        Fate::OutOfScope(_) => parts::badge(Tone::Plain, tongue.say("ngoài phạm vi", "out of scope")),
        Fate::OnlyAgency(_) | Fate::NotFor(..) | Fate::OnlyFor(..) | Fate::OtherClient => {
            parts::badge(Tone::Plain, tongue.say("cho máy khác", "for others"))
        }
        Fate::Behind { .. } => parts::badge(Tone::Plain, tongue.say("đứng sau", "comes behind")),
    }
}

fn scope_text(tongue: Tongue, scope: Scope) -> &'static str {
    match scope {
        Scope::Exact => tongue.say("riêng tên này", "alone"),
        Scope::Below => tongue.say("chỉ các tên con", "only what is below"),
        Scope::Subtree => tongue.say("cả các tên con", "and what is below"),
    }
}

fn trigger_text(tongue: Tongue, trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::ClientIp => tongue.say("máy hỏi", "the client"),
        Trigger::Qname => tongue.say("tên miền", "the name"),
        Trigger::Ip => tongue.say("địa chỉ trong câu trả lời", "the answer's address"),
        Trigger::Nsdname => tongue.say("tên máy chủ DNS của vùng", "a name server's name"),
        Trigger::Nsip => tongue.say("địa chỉ máy chủ DNS của vùng", "a name server's address"),
        Trigger::Address => tongue.say("riêng địa chỉ", "an address alone"),
    }
}

fn thing(tongue: Tongue, thing: &Thing) -> String {
    match thing {
        Thing::Name(name, scope, Trigger::Qname) => format!("{name} ({})", scope_text(tongue, *scope)),
        Thing::Name(name, scope, trigger) => {
            format!("{name} ({}, {})", trigger_text(tongue, *trigger), scope_text(tongue, *scope))
        }
        Thing::Network(net, trigger) => format!("{net} ({})", trigger_text(tongue, *trigger)),
    }
}

fn place_text(tongue: Tongue, place: &Place) -> String {
    match place {
        _ if tongue == Tongue::English => place.to_string(),
        Place::Line(origin, line) => format!("{origin}, dòng {line}"),
        Place::Gone(origin) => format!("không còn trong {origin}"),
        Place::Unreadable(origin) => format!("hiện không đọc được {origin}"),
    }
}

fn fate_text(tongue: Tongue, fate: &Fate) -> String {
    if tongue == Tongue::English {
        return fate.to_string();
    }
    let guarded = |why: Guarded| match why {
        Guarded::Protected => "được bảo vệ",
        Guarded::Popular => "rất phổ biến",
    };
    match fate {
        Fate::Decides => "quyết định câu trả lời".to_owned(),
        Fate::ShadowException => "ở chế độ chỉ ghi, nên một ngoại lệ không thay đổi gì".to_owned(),
        Fate::ShadowOwn => "lẽ ra quyết định, nhưng được đặt ở chế độ chỉ ghi nhật ký".to_owned(),
        Fate::ShadowFeed(feed) => {
            format!("lẽ ra quyết định, nhưng nguồn {feed} ở chế độ chỉ ghi nhật ký")
        }
        Fate::Guarded(name, why) => format!(
            "lẽ ra quyết định, nhưng {name} {}: riêng một địa chỉ không chặn được tên như vậy, chỉ ghi nhật ký",
            guarded(*why)
        ),
        Fate::OutOfScope(Scope::Exact) => "không gồm tên này: chỉ dành cho riêng tên được liệt kê".to_owned(),
        Fate::OutOfScope(_) => "không gồm tên này: chỉ dành cho các tên con".to_owned(),
        Fate::OnlyAgency(agency) => {
            format!("không áp dụng: chỉ cho cơ quan {}", agency.as_deref().unwrap_or("?"))
        }
        Fate::NotFor(feed, agency) => format!("không áp dụng: nguồn {feed} không dành cho cơ quan {agency}"),
        Fate::OnlyFor(feed, only) => format!("không áp dụng: nguồn {feed} chỉ dành cho {}", only.join(", ")),
        Fate::OtherClient => "không áp dụng cho máy này".to_owned(),
        Fate::Behind { first, layer, feed, reason, triggers: [winner, other] } => {
            let source = match layer {
                Layer::Own => "quy tắc riêng".to_owned(),
                Layer::Feeds => format!("nguồn {feed}"),
            };
            let first = thing(tongue, first);
            let why = match reason {
                Reason::Stage => "gặp sớm hơn trong chuỗi bí danh".to_owned(),
                Reason::Own => "quy tắc riêng đứng trước quy tắc của các nguồn".to_owned(),
                Reason::Feed => "nguồn của nó đứng trước trong cấu hình".to_owned(),
                Reason::Trigger => format!(
                    "trong một nguồn, {} đứng trước {}",
                    trigger_text(tongue, *winner),
                    trigger_text(tongue, *other)
                ),
                Reason::Length => "tên hoặc mạng nó liệt kê dài hơn".to_owned(),
                Reason::Address => "địa chỉ của nó nhỏ hơn".to_owned(),
                Reason::Name => "nó dựa vào tên, mà riêng một địa chỉ phải nhường".to_owned(),
                Reason::Exception => "nó là ngoại lệ cho cùng tên".to_owned(),
                Reason::First => "nó đứng trước".to_owned(),
            };
            format!("đứng sau {first} của {source}: {why}")
        }
    }
}

/// Why the gate leaves a name out, in the viewer's language; what is not known is shown as it was written. The words are
/// [`crate::feed::gate::Gate::objection`]'s.
pub(super) fn objection_text(tongue: Tongue, why: &str) -> String {
    let translated = || {
        let what = |word: &str| match word {
            "protected" => Some("được bảo vệ"),
            "popular" => Some("rất phổ biến"),
            _ => None,
        };
        if why.starts_with("is a public suffix") {
            return Some("là hậu tố công cộng, bên dưới có tên của nhiều chủ".to_owned());
        }
        if let Some(rest) = why.strip_prefix("takes ") {
            let (other, word) = rest.split_once(", which is ")?;
            return Some(format!("lấy cả {other}, là tên {}", what(word)?));
        }
        let rest = why.strip_prefix("is ")?;
        match rest.split_once(", as all of ") {
            Some((word, above)) => Some(format!("{}, như mọi tên dưới {above}", what(word)?)),
            None => what(rest).map(str::to_owned),
        }
    };
    match tongue {
        Tongue::English => why.to_owned(),
        Tongue::Vietnamese => translated().unwrap_or_else(|| why.to_owned()),
    }
}

/// Who did something, as people write it.
pub(super) fn by_text(by: &Actor) -> String {
    match by {
        Actor::Server => "SachDNS".to_owned(),
        Actor::Visitor(address) => address.to_string(),
        Actor::Person(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objections_are_told_in_vietnamese() {
        for (why, expected) in [
            ("is protected", "được bảo vệ"),
            ("is popular, as all of zalo.me", "rất phổ biến, như mọi tên dưới zalo.me"),
            ("takes mail.gov.vn, which is protected", "lấy cả mail.gov.vn, là tên được bảo vệ"),
            ("is something new", "is something new"),
        ] {
            assert_eq!(objection_text(Tongue::Vietnamese, why), expected);
            assert_eq!(objection_text(Tongue::English, why), why);
        }
    }
}
