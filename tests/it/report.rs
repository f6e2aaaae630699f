//! Reports: figures that agree to the unit with what the log and the cases answer, in files that an office opens.
//!
//! A month is made up with the library (nobody can ask a server something last month) and told by the commands. The figures are
//! then worked out a second time, naively, from what `log`, `case list` and `case show` print.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{Cursor, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::civil::Date;
use rustix::process::Signal;
use sachdns::cases::{Classes, Desk, Evidence, Sighting, Subject, Verdict};
use sachdns::config::Config;
use sachdns::evidence::archive;
use sachdns::evidence::journal::Journal;
use sachdns::evidence::ledger::Ledger;
use sachdns::evidence::record::{Outcome, Record as Written, Transport, Trigger};
use sachdns::name::Name;
use sachdns::report::Period;
use serde_json::Value;

use crate::harness::house::{CONFIG, House, Setup};
use crate::harness::{nsd, run, run_for, wait_until};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
const SUMMARIES: &str = "keep_summaries = \"400d\"\n";
const CONVERTING: Duration = Duration::from_secs(120);

const SETTINGS: &str = r#"
[[agency]]
id = "so-yt"
name = "Sở Y tế"
networks = ["10.1.0.0/24"]
officer = "Trần Thị B"
[[agency]]
id = "so-gd"
name = "Sở Giáo dục và Đào tạo"
networks = ["10.2.0.0/24"]
[[agency]]
id = "so-xd"
name = "Sở Xây dựng"
networks = ["10.3.0.0/24"]
[report]
department = "Sở Khoa học và Công nghệ"
parent = "Ủy ban nhân dân tỉnh Mẫu"
place = "Mẫu"
symbol = "SKHCN-CNTT"
addressees = ["Cục An toàn thông tin"]
signer_title = "Giám đốc"
signer = "Nguyễn Văn A"
"#;

/// The agency of an address.
fn agency(client: IpAddr) -> Option<&'static str> {
    match client {
        IpAddr::V4(client) => [None, Some("so-yt"), Some("so-gd"), Some("so-xd")]
            .get(usize::from(client.octets()[1]))
            .copied()
            .flatten(),
        IpAddr::V6(_) => None,
    }
}

/// The machine that the inventory knows: it has an address in each of two agencies.
const ROAMING: [&str; 2] = ["10.1.0.5", "10.2.0.5"];

fn machine(client: &str) -> String {
    if ROAMING.contains(&client) { "m-1".to_owned() } else { client.to_owned() }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, most: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 16) % most.unsigned_abs()) as i64
    }
}

fn query(time: i64, client: IpAddr, hit: Option<(&'static str, &str)>) -> Written<'static> {
    let host = hit.map_or("www.example.test", |(_, host)| host);
    Written {
        time,
        client,
        transport: Transport::Udp,
        agency: agency(client).map(Into::into),
        mac: None,
        subnet: None,
        qname: Name::from_host(host).unwrap().as_wire().to_vec().into(),
        qtype: 1,
        qclass: 1,
        rcode: Some(0),
        outcome: if hit.is_some() { Outcome::Sinkhole } else { Outcome::Forward },
        is_hit: hit.is_some(),
        is_cached: false,
        feed: hit.map(|_| "authority".into()),
        family: hit.map(|(family, _)| family).filter(|family| !family.is_empty()).map(Into::into),
        severity: None,
        trigger: hit.map(|_| Trigger::Qname),
        matched: None,
        answers: Vec::new().into(),
        latency: 100,
    }
}

/// What is done to a case at a time.
#[derive(Debug, Clone)]
enum Act {
    Hit(Box<Written<'static>>),
    Told,
    SaidClean,
    Close,
    FalseAlarm,
}

/// A house with a made-up month: queries and hits from the day before to the day after, some of them at the very edges, and
/// cases that were told of, cleaned, closed, opened again, and held for mistakes.
fn month(period: Period) -> House {
    let house = Setup::new(nsd::address()).more(SETTINGS).lay();
    let inventory =
        "Địa chỉ IP,MAC,Tên máy\n10.1.0.5,00:1a:2b:3c:4d:5e,XACH-TAY\n10.2.0.5,00:1a:2b:3c:4d:5e,XACH-TAY\n";
    house.write("inventory.csv", inventory);
    house.run("identity import", &["inventory.csv"]).well();
    let (since, until) = (period.since(), period.until());
    let mut dice = Dice(8);
    let families = [("emotet", "c2.evil.test"), ("", "unknown.test"), ("Phishing kit", "login.bank.test")];
    let edges = [since - 1, since, since + 1, until - 1, until, until + 1];
    let mut times: Vec<i64> = (0..1800).map(|_| since - DAY + dice.roll(until - since + 2 * DAY)).collect();
    times.extend(edges.iter().cycle().take(60));
    times.sort_unstable();
    let mut records: Vec<Written<'static>> = times
        .iter()
        .map(|time| {
            let net = dice.roll(4);
            let net = if net == 0 { 9 } else { net };
            let client = IpAddr::from([10, net as u8, 0, 1 + dice.roll(20) as u8]);
            let family = families[dice.roll(3) as usize];
            query(*time, client, (dice.roll(9) == 0 || edges.contains(time)).then_some(family))
        })
        .collect();
    // They were switched off for good before the month began.
    let off = |net| query(since - 2 * HOUR, IpAddr::from([10, net, 0, 200]), Some(families[0]));
    records.extend([1, 2, 3].map(off));
    records.sort_by_key(|record| record.time);
    let config = Config::load(&house.path().join(CONFIG)).unwrap();
    let data = house.path().join(&config.data_dir);
    let log = sachdns::evidence::journal::Options { folder: data.join("log"), ..config.log.clone() };
    // A day is archived when it is over, but for the last one, which lies in a segment.
    let ledger = Ledger::open(&log).unwrap();
    let mut days: BTreeMap<Date, Vec<&Written<'static>>> = BTreeMap::new();
    for record in &records {
        days.entry(day_of(record.time)).or_default().push(record);
    }
    let last = days.last_key_value().map(|(day, _)| *day);
    let archiving = archive::Options { after: Duration::ZERO, ..config.archive.clone() };
    for (day, records) in days {
        let mut journal = Journal::open(1, &ledger);
        let mut time = 0;
        for record in records {
            time = record.time;
            journal.add(record);
            journal.commit(time);
        }
        drop(journal);
        if Some(day) != last {
            archive::settle(&ledger, &archiving, time + HOUR).unwrap();
        }
    }
    drop(ledger);
    let mut acts: Vec<(i64, IpAddr, String, Act)> = Vec::new();
    for record in records.into_iter().filter(|record| record.is_hit) {
        let family = record.family.clone().unwrap_or_default().into_owned();
        let (time, client) = (record.time, record.client);
        let mut add = |after: i64, act: Act| acts.push((time + after, client, family.clone(), act));
        add(0, Act::Hit(Box::new(record)));
        for (after, odds, act) in [(2, 2, Act::Told), (30, 3, Act::SaidClean), (60, 3, Act::Close)] {
            if dice.roll(odds) == 0 {
                add(after * HOUR + dice.roll(HOUR), act);
            }
        }
        if dice.roll(25) == 0 {
            add(40 * DAY, Act::FalseAlarm);
        }
    }
    acts.sort_by_key(|(time, ..)| *time);
    let desk = Desk::open(&data.join("cases"), config.cases.options.clone()).unwrap();
    let by = sachdns::cases::desk::person("Lê Văn A").unwrap();
    for (time, client, family, act) in acts {
        let id = machine(&client.to_string());
        let subject: Subject = id.parse().unwrap();
        let class = Classes::default().of(Some(&family), Some("authority"), false);
        let case = desk.find(subject, &family, class).unwrap();
        let now = time + 1_000_000;
        match (act, case) {
            (Act::Hit(record), _) => {
                let sighting = Sighting {
                    time,
                    client,
                    machine: subject,
                    host: (id == "m-1").then(|| "XACH-TAY".to_owned()),
                    agency: agency(client).map(str::to_owned),
                    family,
                    class,
                    name: Name::from_wire(&record.qname).unwrap().to_string(),
                    evidence: Evidence::Query,
                    count: 1,
                    officer: None,
                };
                desk.sighting(&sighting, now).unwrap();
            }
            // Some come when they make no sense any more.
            (Act::Told, Some(case)) => drop(desk.told(case.id, "gọi điện thoại", &by, now)),
            (Act::SaidClean, Some(case)) => drop(desk.said_clean(case.id, "", &by, now)),
            (Act::Close, Some(case)) => drop(desk.close(case.id, "đã cài lại", &by, now)),
            (Act::FalseAlarm, Some(case)) => {
                drop(desk.verdict(case.id, Verdict::FalsePositive, &[], "nhầm", &by, now));
            }
            (_, None) => {}
        }
    }
    house
}

fn micros(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{text:?}: {error}")).as_microsecond()
}

/// The keys of figures that are recomputed.
type Row = BTreeMap<&'static str, u64>;

/// The figures as a person with a pencil works them out: of an agency (`""`: of none), or of all.
fn by_hand(house: &House, period: Period) -> BTreeMap<Option<String>, Row> {
    let (since, until) = (period.since(), period.until());
    let is_within = |time: i64| (since..until).contains(&time);
    let mut rows: BTreeMap<Option<String>, Row> = BTreeMap::new();
    let mut sets: HashMap<(Option<String>, &'static str), BTreeSet<String>> = HashMap::new();
    let mut hit_at: BTreeSet<(String, String)> = BTreeSet::new();
    for record in house.log(&[]) {
        if !is_within(micros(record.text("time"))) {
            continue;
        }
        let machine = machine(record.text("client"));
        for row in [None, Some(record.text("agency").to_owned())] {
            sets.entry((row.clone(), "machines")).or_default().insert(machine.clone());
            let row = rows.entry(row).or_default();
            *row.entry("queries").or_default() += 1;
            *row.entry("hits").or_default() += u64::from(record.flag("hit"));
        }
        if record.flag("hit") {
            hit_at.insert((machine, record.text("family").to_owned()));
        }
    }
    let listed = house.run("case list", &["--all", "--format", "jsonl"]).well().stdout;
    let mut times: HashMap<(Option<String>, &'static str), Vec<i64>> = HashMap::new();
    // Of each row's machine: is any of its cases open, is any not said to be clean, is any said to be, was any told of.
    let mut machines: HashMap<(Option<String>, String), [bool; 5]> = HashMap::new();
    for line in listed.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let shown = house.run("case show", &[text("ticket"), "--format", "jsonl"]).well().stdout;
        let file: Value = serde_json::from_str(&shown).unwrap();
        let steps: Vec<(String, i64)> = file["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| (step["what"].as_str().unwrap().to_owned(), micros(step["time"].as_str().unwrap())))
            .collect();
        let is_opened =
            steps.iter().any(|(what, time)| (what == "opened" || what == "reopened") && is_within(*time));
        let is_infected =
            is_opened || hit_at.contains(&(text("machine").to_owned(), text("family").to_owned()));
        let last = |whats: &[&str], before: i64| {
            steps.iter().rfind(|(what, time)| whats.contains(&what.as_str()) && *time < before).cloned()
        };
        let life = ["opened", "reopened", "closed"];
        let is_open_at = |before: i64| last(&life, before).is_some_and(|(what, _)| what != "closed");
        let is_carried = !is_infected && is_open_at(since);
        if text("verdict") == "false-positive" {
            for row in [None, Some(text("agency").to_owned())] {
                *rows.entry(row).or_default().entry("false_alarms").or_default() += u64::from(is_infected);
            }
            continue;
        }
        let begin = last(&["opened", "reopened"], until).map_or(i64::MIN, |(_, time)| time);
        let said = last(&["said-clean", "relapsed"], until)
            .is_some_and(|(what, time)| what == "said-clean" && time >= begin);
        let told = last(&["notified"], until).is_some_and(|(_, time)| time >= begin);
        for row in [None, Some(text("agency").to_owned())] {
            if text("class") == "phishing" {
                if is_infected {
                    sets.entry((row, "phishing")).or_default().insert(text("machine").to_owned());
                }
                continue;
            }
            let (mut opened, mut was_told) = (0, false);
            for (what, time) in &steps {
                match what.as_str() {
                    "opened" | "reopened" => (opened, was_told) = (*time, false),
                    "notified" if !was_told => {
                        was_told = true;
                        if is_within(*time) {
                            times.entry((row.clone(), "to_notify")).or_default().push(time - opened);
                        }
                    }
                    _ => {}
                }
            }
            if !is_infected && !is_carried {
                continue;
            }
            let set = if is_infected { "infected" } else { "carried" };
            sets.entry((row.clone(), set)).or_default().insert(text("machine").to_owned());
            if steps.iter().any(|(what, time)| what == "reopened" && is_within(*time)) {
                sets.entry((row.clone(), "repeat")).or_default().insert(text("machine").to_owned());
            }
            let is_open = last(&life, until).is_none_or(|(what, _)| what != "closed");
            let machine = machines.entry((row, text("machine").to_owned())).or_default();
            machine[0] |= is_open;
            machine[1] |= is_open && !said;
            machine[2] |= said;
            machine[3] |= told;
            machine[4] |= is_infected;
        }
    }
    for ((row, what), set) in sets {
        rows.entry(row).or_default().insert(what, set.len() as u64);
    }
    for ((row, _), [is_open, is_dirty, is_said, is_told, is_infected]) in machines {
        let row = rows.entry(row).or_default();
        *row.entry("remaining").or_default() += u64::from(is_open);
        *row.entry("cleaned").or_default() += u64::from(!is_open);
        *row.entry("said_clean").or_default() += u64::from(is_said && !is_dirty);
        *row.entry("notified").or_default() += u64::from(is_told);
        // One that is infected by one thing is not carried over by another.
        if is_infected {
            continue;
        }
        *row.entry("only_carried").or_default() += 1;
    }
    for row in rows.values_mut() {
        let carried = row.remove("only_carried").unwrap_or(0);
        row.insert("carried", carried);
    }
    for ((row, what), mut times) in times {
        times.sort_unstable();
        let (count, sum) = (times.len(), times.iter().sum::<i64>());
        let row = rows.entry(row).or_default();
        assert_eq!(what, "to_notify");
        row.insert("notices", count as u64);
        row.insert("mean", (sum / count as i64 / 1_000_000) as u64);
        row.insert("median", ((times[count / 2] + times[(count - 1) / 2]) / 2 / 1_000_000) as u64);
    }
    for row in rows.values_mut() {
        for key in KEYS {
            row.entry(key).or_default();
        }
    }
    rows
}

const KEYS: [&str; 15] = [
    "machines",
    "queries",
    "hits",
    "infected",
    "carried",
    "notified",
    "said_clean",
    "cleaned",
    "remaining",
    "repeat",
    "phishing",
    "false_alarms",
    "notices",
    "mean",
    "median",
];

/// The figures of a report, in the same form.
fn told(report: &Value) -> BTreeMap<Option<String>, Row> {
    let row = |value: &Value| -> Row {
        let number = |key: &str| match key {
            "notices" => value["to_notify"]["count"].as_u64().unwrap_or(0),
            "mean" => value["to_notify"]["mean_seconds"].as_u64().unwrap_or(0),
            "median" => value["to_notify"]["median_seconds"].as_u64().unwrap_or(0),
            key => value[key].as_u64().unwrap_or_else(|| panic!("no number {key}: {value}")),
        };
        KEYS.map(|key| (key, number(key))).into_iter().collect()
    };
    let agencies = report["agencies"].as_array().unwrap().iter();
    let agencies = agencies.map(|it| (Some(it["id"].as_str().unwrap_or_default().to_owned()), row(it)));
    std::iter::once((None, row(&report["province"]))).chain(agencies).collect()
}

fn make(house: &House, period: Period, more: &[&str], file: &str) -> PathBuf {
    let (from, to) = (period.first().to_string(), period.last().to_string());
    let arguments = [&["--from", &from, "--to", &to, "--output", file], more].concat();
    house.run("report", &arguments).well();
    house.path().join(file)
}

fn json(house: &House, period: Period, more: &[&str]) -> Value {
    serde_json::from_slice(&fs::read(make(house, period, more, "report.json")).unwrap()).unwrap()
}

fn month_before(now: i64) -> Period {
    Period::month_before(now).unwrap()
}

/// The month before the last one: all that is told of it is some weeks old, whatever day it is today, and the last
/// month's first day has some records too.
fn past_month() -> Period {
    month_before(month_before(jiff::Timestamp::now().as_microsecond()).since())
}

/// The day of a time on this machine's clock, by which the log is archived.
fn day_of(time: i64) -> Date {
    let time = jiff::Timestamp::from_microsecond(time).unwrap();
    time.to_zoned_datetime(jiff::tz::TimeZone::system()).date()
}

fn count_of(house: &House, extension: &str) -> usize {
    house.data_files().iter().filter(|path| path.extension().is_some_and(|it| it == extension)).count()
}

#[test]
fn figures_agree_to_the_unit_with_what_the_log_answers() {
    let period = past_month();
    let house = month(period);
    let expected = by_hand(&house, period);
    let found = json(&house, period, &[]);
    assert_eq!(told(&found), expected);
    // It was worth the trouble: nothing that could differ is empty, and a machine is in two agencies.
    let province = &expected[&None];
    assert!(KEYS.iter().all(|key| province[key] > 0), "{province:?}");
    let sum: u64 = expected.iter().filter(|(row, _)| row.is_some()).map(|(_, row)| row["machines"]).sum();
    assert_eq!(sum, province["machines"] + 1);
    // A part of a month, and one day.
    let days = Period::new(period.first(), period.first()).unwrap();
    assert_eq!(told(&json(&house, days, &[])), by_hand(&house, days));
    // Sums of what is told by the day, by the family and by the name.
    let sum = |list: &Value, key: &str| -> u64 {
        list.as_array().unwrap().iter().map(|it| it[key].as_u64().unwrap()).sum()
    };
    assert_eq!(sum(&found["days"], "queries"), province["queries"]);
    assert_eq!(sum(&found["days"], "hits"), province["hits"]);
    assert_eq!(sum(&found["province"]["families"], "hits"), province["hits"]);
    assert_eq!(sum(&found["province"]["names"], "hits"), province["hits"]);
    // The month by its name is the same.
    let month = period.month_name().unwrap();
    house.run("report", &["--month", &month, "--output", "month.json"]).well();
    let by_name: Value = serde_json::from_str(&house.read("month.json")).unwrap();
    assert_eq!(by_name["province"], found["province"]);

    // The server makes last month's by itself, archives the last day, and sums all days up.
    let last_month = month_before(jiff::Timestamp::now().as_microsecond()).month_name().unwrap();
    let days: BTreeSet<Date> =
        house.log(&[]).iter().map(|record| day_of(record.time().as_microsecond())).collect();
    let config = house.read(CONFIG);
    house.write(
        CONFIG,
        &format!("{config}\n[log]\narchive_after = \"1ms\"\nkeep_queries = \"400d\"\n{SUMMARIES}"),
    );
    let server = house.serve();
    let reports = server.house().path().join("data/reports");
    wait_until("the month's letter is there", || reports.join(format!("{last_month}.docx")).exists());
    wait_until("days are summed up", || count_of(server.house(), "summary") == days.len());
    assert_eq!(told(&json(server.house(), period, &[])), expected, "archived, while it runs");
    let house = server.stop(Signal::TERM).house;

    // Rows go by their age; what was counted stays, and who asked is known from summaries. What somebody wrote stays too.
    fs::write(reports.join(format!("{last_month}.docx")), "edited").unwrap();
    let config = config.replace("[report]", "[report]\nformats = [\"xlsx\", \"docx\", \"json\"]");
    let log = "[log]\narchive_after = \"1ms\"\nkeep_queries = \"1d\"\n";
    house.write(CONFIG, &format!("{config}\n{log}{SUMMARIES}"));
    let server = house.serve();
    wait_until("rows are gone", || count_of(server.house(), "parquet") == 0);
    wait_until("what is missing is made", || reports.join(format!("{last_month}.json")).exists());
    let house = server.stop(Signal::TERM).house;
    assert_eq!(fs::read_to_string(reports.join(format!("{last_month}.docx"))).unwrap(), "edited");
    let late = json(&house, period, &[]);
    assert_eq!(told(&late), expected, "rows are gone: {}", late["lacks"]);
    assert_eq!(late["province"]["families"], found["province"]["families"]);
    assert_eq!(late["lacks"]["days_without_machines"], 0);
}

/// All text in a file: of an archive, that of its parts.
fn everything(path: &Path) -> String {
    let octets = fs::read(path).unwrap();
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(&octets)) else {
        return String::from_utf8(octets).unwrap();
    };
    let mut text = String::new();
    for number in 0..archive.len() {
        archive.by_index(number).unwrap().read_to_string(&mut text).unwrap();
    }
    text
}

/// What LibreOffice makes of files, in this folder; formulas are computed anew.
fn convert(folder: &Path, to: &str, files: &[&str]) {
    let profile = folder.join("profile");
    let settings = r#"<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry"><item oor:path="/org.openoffice.Office.Calc/Formula/Load">
<prop oor:name="OOXMLRecalcMode" oor:op="fuse"><value>0</value></prop></item></oor:items>"#;
    fs::create_dir_all(profile.join("user")).unwrap();
    fs::write(profile.join("user/registrymodifications.xcu"), settings).unwrap();
    let mut command = Command::new("soffice");
    command.arg(format!("-env:UserInstallation=file://{}", profile.display()));
    command.args(["--headless", "--norestore", "--convert-to", to]).args(files).current_dir(folder);
    run_for(CONVERTING, &mut command).well();
}

fn pdf_text(path: &Path) -> String {
    run(Command::new("pdftotext").arg("-layout").arg(path).arg("-")).well().stdout
}

#[test]
fn an_office_opens_the_files_and_finds_the_same_numbers() {
    let period = past_month();
    let house = month(period);
    let report = json(&house, period, &[]);
    make(&house, period, &[], "tinh.xlsx");
    make(&house, period, &[], "thu.docx");
    // A letter of the department's own.
    let template = house.path().join("mau.docx");
    run(&mut house.command(&["report", "template", "--output", "mau.docx"])).well();
    assert!(template.exists());
    let folder = house.path();
    let sheets = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1";
    convert(folder, sheets, &["tinh.xlsx"]);
    let table = fs::read_to_string(folder.join("tinh-Toàn tỉnh.csv")).unwrap();
    let rows: Vec<Vec<String>> = table
        .lines()
        .map(|line| sachdns::tabular::delimited::fields(line, ',').unwrap_or_default())
        .collect();
    let find = |name: &str| rows.iter().find(|row| row.get(1).is_some_and(|it| it == name));
    let number = |row: &[String], column: usize| -> u64 {
        let digits: String = row[column].chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("no number in column {column}: {row:?}"))
    };
    let columns = [
        "machines",
        "queries",
        "hits",
        "infected",
        "carried",
        "notified",
        "said_clean",
        "cleaned",
        "remaining",
    ];
    let agencies = report["agencies"].as_array().unwrap();
    for agency in agencies {
        let name =
            agency["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("Không thuộc cơ quan nào");
        let row = find(name).unwrap_or_else(|| panic!("no row of {name}: {table}"));
        for (at, key) in (2..).zip(columns) {
            assert_eq!(number(row, at), agency[key].as_u64().unwrap(), "{name}: {key}");
        }
    }
    let (sum, all) =
        (find("Cộng các cơ quan, đơn vị").unwrap(), find("Toàn tỉnh (mỗi máy tính một lần)").unwrap());
    for (at, key) in (2..).zip(columns) {
        let expected: u64 = agencies.iter().map(|agency| agency[key].as_u64().unwrap()).sum();
        assert_eq!(number(sum, at), expected, "sum of {key}, computed anew");
        assert_eq!(number(all, at), report["province"][key].as_u64().unwrap(), "{key}");
    }
    convert(folder, "pdf", &["tinh.xlsx", "thu.docx"]);
    let letter = pdf_text(&folder.join("thu.pdf"));
    for part in [
        "CỘNG HÒA XÃ HỘI CHỦ NGHĨA VIỆT NAM",
        "Độc lập - Tự do - Hạnh phúc",
        "SỞ KHOA HỌC VÀ",
        "/SKHCN-CNTT",
        "Kính gửi: Cục An toàn thông tin",
        "Sở Giáo dục",
        "Nơi nhận:",
        "- Như trên;",
        "- Lưu: VT.",
        "GIÁM ĐỐC",
        "Nguyễn Văn A",
    ] {
        assert!(letter.contains(part), "no {part:?}:\n{letter}");
    }
    assert!(!letter.contains("{{") && !letter.contains("}}"), "{letter}");

    // A report about one agency has nothing of the others.
    for file in ["xd.xlsx", "xd.docx", "xd.csv", "xd.json", "xd.html"] {
        let text = everything(&make(&house, period, &["--agency", "so-xd"], file));
        assert!(text.contains("Sở Xây dựng"), "{file}");
        for foreign in ["Sở Y tế", "so-yt", "Giáo dục", "so-gd", "10.1.0.", "10.2.0.", "10.9.0.", "XACH-TAY"]
        {
            assert!(!text.contains(foreign), "{file} has {foreign}");
        }
    }
    let of_one = json(&house, period, &["--agency", "so-xd"]);
    let of_all = agencies.iter().find(|agency| agency["id"] == "so-xd").unwrap();
    assert_eq!(&of_one["agencies"][0], of_all);
    assert_eq!((of_one["agencies"].as_array().unwrap().len(), &of_one["province"]), (1, &Value::Null));
}

#[test]
fn what_cannot_be_reported_is_told() {
    let house = month(Period::month("2001-02").unwrap());
    let check = |arguments: &[&str], part: &str| {
        let finished = house.run("report", arguments);
        assert_ne!(finished.code(), 0, "{arguments:?}");
        assert!(finished.stderr.contains(part), "{arguments:?}: {}", finished.stderr);
    };
    let days = ["--from", "2001-02-01", "--to", "2001-02-28"];
    check(&[&days[..], &["--output", "a.pdf"]].concat(), ".xlsx, .docx, .csv, .json or .html");
    check(&[&days[..], &["--output", "a.csv", "--agency", "nobody"]].concat(), "\"nobody\"");
    check(&["--from", "2001-02-28", "--to", "2001-02-01", "--output", "a.csv"], "the earlier day first");
    check(&["--from", "2001-02-28", "--output", "a.csv"], "--to");
    check(&["--month", "2001-13", "--output", "a.csv"], "2001-13");
    check(&["--output", "a.csv"], "--month");
    check(&[&days[..], &["--output", "nowhere/a.csv"]].concat(), "nowhere/a.csv");
    assert!(!house.path().join("a.csv").exists());
    // A template with a name that nobody knows, which Word split.
    let template = sachdns::report::default_template();
    let mut archive = zip::ZipArchive::new(Cursor::new(template)).unwrap();
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for number in 0..archive.len() {
        let mut part = archive.by_index(number).unwrap();
        let (name, mut text) = (part.name().unwrap().into_owned(), String::new());
        part.read_to_string(&mut text).unwrap();
        let text = text.replace("{{so_may_nhiem}}", "{{so_may_</w:t></w:r><w:r><w:t>nhim}}");
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
    }
    fs::write(house.path().join("mau.docx"), writer.finish().unwrap().into_inner()).unwrap();
    let config = house.read(CONFIG).replace("[report]", "[report]\ntemplate = \"mau.docx\"");
    house.write(CONFIG, &config);
    check(&[&days[..], &["--output", "a.docx"]].concat(), "{{so_may_nhim}}, did you mean {{so_may_nhiem}}?");
    house.run("report", &[&days[..], &["--output", "a.csv"]].concat()).well();
    let table = house.read("a.csv");
    assert!(table.starts_with("\u{feff}Mã,\"Cơ quan, đơn vị\",Máy có truy vấn,"), "{table}");
    fs::remove_file(house.path().join("mau.docx")).unwrap();
    check(&[&days[..], &["--output", "a.docx"]].concat(), "report.template");
}
