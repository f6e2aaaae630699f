//! Reading a TOML table setting by setting, with every fault kept and its line.
//!
//! Knows types and places, not which settings there are: `file` does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::faults::{Fault, Problem};

/// One read of one file: its text, and what was found wrong.
pub(super) struct Reader<'a> {
    path: &'a Path,
    /// Where each line ends: a province's file has tens of thousands of settings, and each wants to know its line.
    ends: Vec<usize>,
    pub(super) faults: Vec<Fault>,
    pub(super) unused: Vec<Fault>,
    pub(super) lines: BTreeMap<String, usize>,
    /// Every setting that was asked for: the list of all there are.
    pub(super) known: Vec<String>,
}

/// A table of the file while its settings are taken out.
pub(super) struct Table<'a> {
    /// `server`, or `feed` for each of `[[feed]]`; empty for the file's top.
    name: String,
    line: usize,
    entries: Vec<(String, usize, &'a DeValue<'a>)>,
    known: Vec<&'static str>,
}

/// A setting's value.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    value: &'a DeValue<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, octet)| *octet == b'\n').map(|(at, _)| at).collect();
        Self { path, ends, faults: Vec::new(), unused: Vec::new(), lines: BTreeMap::new(), known: Vec::new() }
    }

    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.ends.partition_point(|end| *end < at)
    }

    pub(super) fn fault(&mut self, line: usize, setting: &str, problem: Problem) {
        let path = self.path.to_owned();
        self.faults.push(Fault { path, line: Some(line), setting: setting.to_owned(), problem });
    }

    pub(super) fn table(&self, name: &str, line: usize, table: &'a DeTable<'a>) -> Table<'a> {
        let entries = table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), self.line(key.span().start), value.get_ref()))
            .collect();
        Table { name: name.to_owned(), line, entries, known: Vec::new() }
    }

    /// Takes a setting; `default` when it is not there, or when it is wrong, which is a fault.
    pub(super) fn take<T>(
        &mut self,
        table: &mut Table<'a>,
        key: &'static str,
        default: T,
        read: impl FnOnce(Value<'a>) -> Result<T, Problem>,
    ) -> T {
        self.optional(table, key, read).unwrap_or(default)
    }

    /// Takes a setting that may be left out.
    pub(super) fn optional<T>(
        &mut self,
        table: &mut Table<'a>,
        key: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Problem>,
    ) -> Option<T> {
        let setting = table.setting(key);
        table.known.push(key);
        self.known.push(setting.clone());
        let at = table.entries.iter().position(|(name, ..)| name == key)?;
        let (_, line, value) = table.entries.swap_remove(at);
        self.lines.entry(setting.clone()).or_insert(line);
        match read(Value { value }) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.fault(line, &setting, problem);
                None
            }
        }
    }

    /// Takes a setting that must be there.
    pub(super) fn required<T>(
        &mut self,
        table: &mut Table<'a>,
        key: &'static str,
        example: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Problem>,
    ) -> Option<T> {
        if !table.entries.iter().any(|(name, ..)| name == key) {
            let (line, setting) = (table.line, table.setting(key));
            self.fault(line, &setting, Problem::Missing(example));
        }
        self.optional(table, key, read)
    }

    /// Takes a table by its name.
    pub(super) fn sub_table(&mut self, top: &mut Table<'a>, key: &'static str) -> Table<'a> {
        let name = top.setting(key);
        let empty = Table { name: name.clone(), line: 1, entries: Vec::new(), known: Vec::new() };
        top.known.push(key);
        let Some(at) = top.entries.iter().position(|(name, ..)| name == key) else { return empty };
        let (_, line, value) = top.entries.swap_remove(at);
        match value.as_table() {
            Some(table) => self.table(&name, line, table),
            None => {
                self.fault(line, &name, Problem::Type { expected: "a table", got: type_word(value) });
                empty
            }
        }
    }

    /// Takes all of `[[key]]`.
    pub(super) fn tables(&mut self, top: &mut Table<'a>, key: &'static str) -> Vec<Table<'a>> {
        let name = top.setting(key);
        top.known.push(key);
        let Some(at) = top.entries.iter().position(|(name, ..)| name == key) else { return Vec::new() };
        let (_, line, value) = top.entries.swap_remove(at);
        let Some(array) = value.as_array() else {
            self.fault(
                line,
                &name,
                Problem::Type { expected: "a list of tables: [[…]]", got: type_word(value) },
            );
            return Vec::new();
        };
        let mut tables = Vec::new();
        for element in array {
            let line = self.line(element.span().start);
            match element.get_ref().as_table() {
                Some(table) => tables.push(self.table(&name, line, table)),
                None => self.fault(
                    line,
                    &name,
                    Problem::Type { expected: "a table: [[…]]", got: type_word(element.get_ref()) },
                ),
            }
        }
        tables
    }

    /// What is left in a table is unknown, or known to be of a later release.
    pub(super) fn finish(&mut self, table: Table<'a>, later: &[&'static str]) {
        let Table { name, entries, known, .. } = table;
        for (key, line, _) in entries {
            let setting = full_name(&name, &key);
            if later.contains(&key.as_str()) {
                let path = self.path.to_owned();
                self.unused.push(Fault { path, line: Some(line), setting, problem: Problem::Unused });
                continue;
            }
            let nearest = known
                .iter()
                .map(|known| (strsim::normalized_damerau_levenshtein(known, &key), *known))
                .filter(|(likeness, _)| *likeness >= 0.5)
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .map(|(_, known)| known.to_owned());
            self.fault(line, &setting, Problem::Unknown { nearest });
        }
    }
}

impl Table<'_> {
    fn setting(&self, key: &str) -> String {
        full_name(&self.name, key)
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The line of a setting that is not taken yet, or of the table where it is not there.
    pub(super) fn line_of(&self, key: &str) -> usize {
        self.entries.iter().find(|(name, ..)| name == key).map_or(self.line, |(_, line, _)| *line)
    }
}

/// The type of a value, as people say it.
fn type_word(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn full_name(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// The keys and values of a table in a list; `None` for anything else.
pub(super) fn fields<'a>(value: Value<'a>) -> Option<impl Iterator<Item = (&'a str, Value<'a>)>> {
    let fields = value.value.as_table()?.iter();
    Some(fields.map(|(key, value)| (&**key.get_ref(), Value { value: value.get_ref() })))
}

pub(super) fn boolean(value: Value<'_>) -> Result<bool, Problem> {
    value.value.as_bool().ok_or(Problem::Type { expected: "true or false", got: type_word(value.value) })
}

pub(super) fn text<'a>(value: Value<'a>) -> Result<&'a str, Problem> {
    value.value.as_str().ok_or(Problem::Type { expected: "a text in quotes", got: type_word(value.value) })
}

/// A text that `parse` turns into something; its error says why not.
pub(super) fn parsed<T, E: std::fmt::Display>(
    expected: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl Fn(Value<'_>) -> Result<T, Problem> {
    move |value| {
        let text = text(value)?;
        parse(text).map_err(|why| Problem::Value { got: text.to_owned(), why: why.to_string(), expected })
    }
}

/// A list whose elements `read` understands; the first that it does not is the problem.
pub(super) fn list<T>(
    read: impl Fn(Value<'_>) -> Result<T, Problem>,
) -> impl Fn(Value<'_>) -> Result<Vec<T>, Problem> {
    move |value| {
        let array: &DeArray<'_> = value
            .value
            .as_array()
            .ok_or(Problem::Type { expected: "a list: [\"…\"]", got: type_word(value.value) })?;
        array.iter().map(Spanned::get_ref).map(|element| read(Value { value: element })).collect()
    }
}

/// As [`list`], with at least one element.
pub(super) fn some<T>(
    expected: &'static str,
    read: impl Fn(Value<'_>) -> Result<T, Problem>,
) -> impl Fn(Value<'_>) -> Result<Vec<T>, Problem> {
    let read = list(read);
    move |value| {
        let list = read(value)?;
        if list.is_empty() {
            return Err(Problem::Value { got: "[]".to_owned(), why: "nothing in it".to_owned(), expected });
        }
        Ok(list)
    }
}

/// A whole number in a range.
pub(super) fn integer(
    expected: &'static str,
    range: std::ops::RangeInclusive<u64>,
) -> impl Fn(Value<'_>) -> Result<u64, Problem> {
    move |value| {
        let number = value
            .value
            .as_integer()
            .ok_or(Problem::Type { expected: "a whole number", got: type_word(value.value) })?;
        let (digits, radix) = (number.as_str(), number.radix());
        let wrong = |why: &str| Problem::Value { got: digits.to_owned(), why: why.to_owned(), expected };
        let number = u64::from_str_radix(digits, radix).map_err(|_| wrong("out of range"))?;
        if range.contains(&number) { Ok(number) } else { Err(wrong("out of range")) }
    }
}

/// A number in a range, whole or not.
pub(super) fn factor(
    expected: &'static str,
    range: std::ops::RangeInclusive<f64>,
) -> impl Fn(Value<'_>) -> Result<f64, Problem> {
    move |value| {
        let text = match value.value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            other => return Err(Problem::Type { expected: "a number", got: type_word(other) }),
        };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| Problem::Value {
            got: text.to_owned(),
            why: "out of range".to_owned(),
            expected,
        })
    }
}

/// As [`integer`], as a count of things in memory.
pub(super) fn count(expected: &'static str) -> impl Fn(Value<'_>) -> Result<usize, Problem> {
    // More than a million of anything that is counted here would not fit the machine.
    let read = integer(expected, 1..=1_000_000);
    move |value| read(value).map(|number| number as usize)
}

pub(super) fn address(value: Value<'_>) -> Result<SocketAddr, Problem> {
    parsed("an address and a port, such as \"127.0.0.1:5353\" or \"[::1]:5353\"", str::parse)(value)
}

/// A time such as `800ms`, `30s`, `1h`; never zero and no more than a day.
pub(super) fn duration(value: Value<'_>) -> Result<Duration, Problem> {
    parsed("a time such as \"800ms\", \"30s\" or \"1h\"", |text| {
        let duration = text.parse::<SignedDuration>().map_err(|_| "no time".to_owned())?;
        Duration::try_from(duration)
            .ok()
            .filter(|duration| !duration.is_zero() && *duration <= LONGEST)
            .ok_or("it must be more than nothing and at most a day".to_owned())
    })(value)
}

/// No wait in this program makes sense for longer.
const LONGEST: Duration = Duration::from_secs(86_400);

/// A number of octets such as `50GiB`.
pub(super) fn size(value: Value<'_>) -> Result<u64, Problem> {
    parsed("a size such as \"512MiB\" or \"50GiB\"", |text| {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim() {
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return Err("no unit of KiB, MiB, GiB or TiB"),
        };
        let number: u64 = number.parse().map_err(|_| "no whole number in front")?;
        number.checked_mul(1 << shift).ok_or("too large")
    })(value)
}
