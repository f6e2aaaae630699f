//! All of it for programs: one object, whose keys `docs/report.md` explains and no release renames.

use jiff::Timestamp;
use serde::Serialize;

use super::Scope;
use super::figures::{CaseLine, Counts, Figures, Row, Stage, Times};

/// Raised where a key changes its meaning.
const VERSION: u32 = 1;

pub(super) fn render(figures: &Figures) -> Vec<u8> {
    let mut octets = serde_json::to_vec_pretty(&Report::of(figures)).unwrap_or_default();
    octets.push(b'\n');
    octets
}

fn time(microseconds: i64) -> String {
    Timestamp::from_microsecond(microseconds).map_or_else(|_| String::new(), |it| it.to_string())
}

#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    from: String,
    to: String,
    since: String,
    until: String,
    made: String,
    agency: Option<&'a str>,
    province: Option<OneRow<'a>>,
    agencies: Vec<OneRow<'a>>,
    days: Vec<OneDay>,
    cases: Vec<OneCase<'a>>,
    gaps: Vec<OneGap>,
    lacks: Lacks,
}

#[derive(Serialize)]
struct OneRow<'a> {
    id: Option<&'a str>,
    name: &'a str,
    #[serde(flatten)]
    counts: Figured,
    families: Vec<OneFamily<'a>>,
    names: Vec<OneName<'a>>,
}

#[derive(Serialize)]
struct Figured {
    machines: u64,
    queries: u64,
    hits: u64,
    infected: u64,
    carried: u64,
    followed: u64,
    notified: u64,
    said_clean: u64,
    cleaned: u64,
    remaining: u64,
    repeat: u64,
    phishing: u64,
    scanning: u64,
    false_alarms: u64,
    to_notify: Option<Took>,
    to_clean: Option<Took>,
    protection: Option<Protection>,
}

#[derive(Serialize)]
struct Took {
    count: u64,
    median_seconds: u64,
    mean_seconds: u64,
}

#[derive(Serialize)]
struct Protection {
    machines: u64,
    protected: u64,
}

#[derive(Serialize)]
struct OneFamily<'a> {
    family: &'a str,
    class: &'static str,
    machines: u64,
    hits: u64,
}

#[derive(Serialize)]
struct OneName<'a> {
    name: &'a str,
    hits: u64,
}

#[derive(Serialize)]
struct OneDay {
    date: String,
    queries: u64,
    hits: u64,
}

#[derive(Serialize)]
struct OneCase<'a> {
    ticket: String,
    agency: &'a str,
    machine: &'a str,
    client: &'a str,
    family: &'a str,
    class: &'static str,
    name: &'a str,
    officer: Option<&'a str>,
    stage: &'static str,
    of_period: bool,
    first_hit: String,
    last_hit: String,
    reopened: u32,
}

#[derive(Serialize)]
struct OneGap {
    from: String,
    to: String,
    count: u64,
    why: &'static str,
}

#[derive(Serialize)]
struct Lacks {
    unfinished: bool,
    not_recorded: u64,
    unreadable_files: u64,
    days_without_machines: u32,
    hits_without_detail: u64,
    uncounted_parts: u32,
    anonymised: bool,
    cut: bool,
}

impl<'a> Report<'a> {
    fn of(figures: &'a Figures) -> Self {
        let Figures { period, scope, made, province, agencies, days, cases, gaps, lacks } = figures;
        let agency = match scope {
            Scope::All => None,
            Scope::Agency(id) => Some(id.as_str()),
        };
        Self {
            version: VERSION,
            from: period.first().to_string(),
            to: period.last().to_string(),
            since: time(period.since()),
            until: time(period.until()),
            made: time(*made),
            agency,
            province: agency.is_none().then(|| OneRow::of(province)),
            agencies: agencies.iter().map(OneRow::of).collect(),
            days: days
                .iter()
                .map(|day| OneDay { date: day.date.to_string(), queries: day.queries, hits: day.hits })
                .collect(),
            cases: cases.iter().map(OneCase::of).collect(),
            gaps: gaps
                .iter()
                .map(|gap| OneGap {
                    from: time(gap.earliest),
                    to: time(gap.latest),
                    count: gap.count,
                    why: gap.why.as_str(),
                })
                .collect(),
            lacks: Lacks {
                unfinished: lacks.is_unfinished,
                not_recorded: lacks.not_recorded,
                unreadable_files: lacks.unreadable,
                days_without_machines: lacks.days_without_machines,
                hits_without_detail: lacks.hits_without_detail,
                uncounted_parts: lacks.uncounted,
                anonymised: lacks.is_anonymised,
                cut: lacks.is_cut,
            },
        }
    }
}

impl<'a> OneRow<'a> {
    fn of(row: &'a Row) -> Self {
        let families = row.families.iter().map(|it| OneFamily {
            family: &it.name,
            class: it.class.as_str(),
            machines: it.machines,
            hits: it.hits,
        });
        Self {
            id: row.id.as_deref(),
            name: &row.name,
            counts: Figured::of(&row.counts),
            families: families.collect(),
            names: row.names.iter().map(|it| OneName { name: &it.name, hits: it.hits }).collect(),
        }
    }
}

impl Figured {
    fn of(counts: &Counts) -> Self {
        let took = |times: Option<Times>| {
            times.map(|it| Took { count: it.count, median_seconds: it.median, mean_seconds: it.mean })
        };
        Self {
            machines: counts.machines,
            queries: counts.queries,
            hits: counts.hits,
            infected: counts.infected,
            carried: counts.carried,
            followed: counts.followed(),
            notified: counts.notified,
            said_clean: counts.said_clean,
            cleaned: counts.cleaned,
            remaining: counts.remaining,
            repeat: counts.repeat,
            phishing: counts.phishing,
            scanning: counts.scanning,
            false_alarms: counts.false_alarms,
            to_notify: took(counts.to_notify),
            to_clean: took(counts.to_clean),
            protection: counts
                .coverage
                .map(|it| Protection { machines: it.machines, protected: it.protected }),
        }
    }
}

impl<'a> OneCase<'a> {
    fn of(line: &'a CaseLine) -> Self {
        Self {
            ticket: line.ticket.to_string(),
            agency: &line.agency,
            machine: &line.machine,
            client: &line.client,
            family: &line.family,
            class: line.class.as_str(),
            name: &line.name,
            officer: line.officer.as_deref(),
            stage: match line.stage {
                Stage::New => "new",
                Stage::Notified => "notified",
                Stage::SaidClean => "cleaned",
                Stage::Closed => "closed",
                Stage::FalseAlarm => "false-positive",
            },
            of_period: line.is_of_period,
            first_hit: time(line.first_hit),
            last_hit: time(line.last_hit),
            reopened: line.reopened,
        }
    }
}
