//! The configuration in force: every setting, its default, and which differ. Secrets are never shown.
//!
//! Settings are changed in the file, by whoever runs the server: that is said here, and where.

use std::collections::BTreeMap;

use maud::html;
use toml::de::{DeTable, DeValue};

use super::super::access::Right;
use super::super::answer::{Failure, Reply};
use super::super::call::Call;
use super::super::parts::{self, Head, Tone};
use super::super::routes::{Needs, Route, get};
use super::super::shell;

pub(in crate::console) static ROUTES: &[Route] = &[get("/settings", Needs::Right(Right::Manage), page)];

/// Every setting with its default, as operators get it.
const SAMPLE: &str = include_str!("../../../config/sachdns.toml");
/// What settings of secrets end in.
const SECRETS: [&str; 4] = ["secret", "password", "token", "key"];

/// A setting: its full name, what it is, and its default.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    name: String,
    value: String,
    /// `None`: what it is by default is not known, as of the tables of lists.
    default: Option<String>,
}

impl Setting {
    fn is_changed(&self) -> bool {
        self.default.as_ref() != Some(&self.value)
    }
}

fn page(call: &Call) -> Result<Reply, Failure> {
    let tongue = call.tongue;
    let (path, text) =
        call.house.configuration().map_err(|source| Failure::Files { what: "the configuration", source })?;
    let settings = settings(&text);
    let is_all = call.query.find("all").is_some();
    let (name, value, default) =
        (tongue.say("Cài đặt", "Setting"), tongue.say("Giá trị", "Value"), tongue.say("Mặc định", "Default"));
    let heads = [Head::Text(name), Head::Text(value), Head::Text(default)];
    let shown = settings.iter().filter(|setting| is_all || setting.is_changed());
    // Agencies and feeds have pages of their own, and are many.
    let (lists, single): (Vec<&Setting>, Vec<&Setting>) =
        shown.partition(|setting| setting.name.contains('['));
    let rows = |settings: &[&Setting]| {
        html! {
            @for setting in settings {
                tr {
                    td.name data-label=(name) { code { (setting.name) } }
                    td.name data-label=(value) {
                        code { (setting.value) }
                        @if is_all && setting.is_changed() { " " (parts::badge(Tone::Info, tongue.say("đã đặt", "set"))) }
                    }
                    td.name data-label=(default) { @if let Some(default) = &setting.default { code { (default) } } }
                }
            }
        }
    };
    let body = html! {
        p { (tongue.say("Cài đặt được sửa trong tệp ", "Settings are changed in the file ")) code { (path.display()) }
            (tongue.say(" trên máy chủ; ", " on the server; ")) code { "sachdns check" }
            (tongue.say(" kiểm tra, ", " checks it, ")) code { "sachdns reload" }
            (tongue.say(" áp dụng. Bí mật không bao giờ hiện ở đây. Trang này đọc tệp như đang có; những gì sửa mà chưa nạp lại thì chưa có hiệu lực.",
                " puts it in force. Secrets are never shown here. This page reads the file as it is now; what was not reloaded is not in force yet.")) }
        ul {
            li { a href="/policy" { (tongue.say("Chặn và ngoại lệ của riêng mình", "Own blocks and exceptions")) } }
            li { a href="/feeds" { (tongue.say("Nguồn danh sách và các phiên bản chờ duyệt", "Feeds and versions that wait for approval")) } }
            li { a href="/users" { (tongue.say("Người dùng và vai trò", "Users and roles")) } }
        }
        p { @if is_all { a href="/settings" { (tongue.say("Chỉ những gì đã đặt", "Only what was set")) } }
            @else { a href="/settings?all=1" { (tongue.say("Tất cả cài đặt", "All settings")) } } }
        (parts::cards(tongue.say("Cài đặt", "Settings"), &heads, &rows(&single)))
        @if !lists.is_empty() {
            details {
                summary { (tongue.say("Cơ quan, nguồn danh sách và các mục lặp lại khác", "Agencies, feeds and whatever else there is several times")) }
                (parts::cards(tongue.say("Các mục lặp lại", "What there is several times"), &heads, &rows(&lists)))
            }
        }
    };
    Ok(shell::page(call, tongue.say("Cài đặt", "Settings"), &body))
}

/// All settings of this configuration, by name; those that it does not set with their defaults.
fn settings(text: &str) -> Vec<Setting> {
    let flat = |text: &str| {
        let mut all = BTreeMap::new();
        if let Ok(table) = DeTable::parse(text) {
            flatten("", &DeValue::Table(table.into_inner()), &mut all);
        }
        all
    };
    let mut set = flat(text);
    let mut defaults = flat(SAMPLE);
    // The sample's own feeds, zones and agencies are examples, not defaults.
    defaults.retain(|name, _| !name.contains('['));
    let mut all: Vec<Setting> = defaults
        .into_iter()
        .map(|(name, default)| {
            let value = set.remove(&name).unwrap_or_else(|| default.clone());
            Setting { name, value, default: Some(default) }
        })
        .collect();
    all.extend(set.into_iter().map(|(name, value)| Setting { name, value, default: None }));
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn flatten(name: &str, value: &DeValue<'_>, all: &mut BTreeMap<String, String>) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                let key = key.get_ref();
                let within = if name.is_empty() { key.to_string() } else { format!("{name}.{key}") };
                flatten(&within, value.get_ref(), all);
            }
        }
        DeValue::Array(array) if array.iter().any(|value| value.get_ref().is_table()) => {
            for (number, value) in array.iter().enumerate() {
                flatten(&format!("{name}[{}]", number + 1), value.get_ref(), all);
            }
        }
        _ => {
            let key = name.rsplit('.').next().unwrap_or(name);
            let is_secret = SECRETS.iter().any(|word| key.ends_with(word)) && !is_path(value);
            let shown = if is_secret { "•••".to_owned() } else { redacted(value) };
            all.insert(name.to_owned(), shown);
        }
    }
}

/// Whether this names a file: that a secret is in it is none.
fn is_path(value: &DeValue<'_>) -> bool {
    value.as_str().is_some_and(|text| {
        text.is_empty()
            || text.starts_with('/')
            || [".pem", ".key", ".txt", ".toml"].iter().any(|end| text.ends_with(end))
    })
}

/// The value as the file writes it; what a URL has in front of its host is left out.
fn redacted(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let shown = match text.split_once("://") {
                Some((scheme, rest)) => match rest.split_once('@') {
                    Some((_, rest)) => format!("{scheme}://•••@{rest}"),
                    None => text.to_string(),
                },
                None => text.to_string(),
            };
            format!("\"{shown}\"")
        }
        DeValue::Array(array) => {
            let items: Vec<String> = array.iter().map(|value| redacted(value.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Table(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_shown_with_their_defaults_and_without_secrets() {
        let all = settings(
            "[[tsig]]\nname = \"a\"\nsecret = \"c2VjcmV0\"\n[console]\nlisten = \"127.0.0.1:8053\"\nkey = \"/etc/key.pem\"\n\
             [[feed]]\nname = \"x\"\nsource = \"https://user:word@feeds.example/x\"\n",
        );
        let check = |name: &str, value: &str, is_changed| {
            let setting = all.iter().find(|setting| setting.name == name).unwrap();
            assert_eq!((&*setting.value, setting.is_changed()), (value, is_changed), "{name}");
        };
        check("tsig[1].secret", "•••", true);
        check("console.listen", "\"127.0.0.1:8053\"", true);
        check("console.key", "\"/etc/key.pem\"", true);
        check("sinkhole.ttl", "30", false);
        check("feed[1].source", "\"https://•••@feeds.example/x\"", true);
        assert!(!all.iter().any(|it| it.value.contains("word@") || it.value.contains("c2VjcmV0")), "{all:?}");
    }
}
