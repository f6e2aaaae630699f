//! `sachdns policy block`, `allow`, `unblock`, `remove` and `rules`: analysts' own rules.

use std::io::{self, Write};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};
use serde::Serialize;

use super::{CliError, ConfigArg, ListForm};
use crate::clock;
use crate::config::Config;
use crate::daemon::giving::{self, RuleError, Word};
use crate::daemon::{self, DaemonError};
use crate::feed::gate::Gate;
use crate::feed::is_family;
use crate::feed::source::FeedAction;
use crate::policy::action::Action;
use crate::policy::rule::Severity;
use crate::policy::trigger::Scope;
use crate::rules::history::{History, Reading};
use crate::rules::{Book, Change, Effect, Entry, Event, Rule, Standing, Subject, SubjectError};
use crate::update::UpdateError;

/// Octets of a reason or a person's name.
const LONGEST: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Block a name, address or network at once, before all feeds.
    Block(BlockArgs),
    /// Let a name, address or network pass, whatever feeds say.
    Allow(AllowArgs),
    /// Take a block back that was given with `block`.
    Unblock(RemoveArgs),
    /// Take a rule back that was given with `block` or `allow`.
    Remove(RemoveArgs),
    /// Print the rules that were given with `block` and `allow`.
    Rules(RulesArgs),
}

pub(super) fn run(command: &Command) -> Result<(), CliError> {
    match command {
        Command::Block(arguments) => block(arguments),
        Command::Allow(arguments) => allow(arguments),
        Command::Unblock(arguments) => take_back(arguments, |rule| rule.action != Action::Passthru),
        Command::Remove(arguments) => take_back(arguments, |_| true),
        Command::Rules(arguments) => list(arguments),
    }
}

#[derive(Debug, Args)]
pub(super) struct BlockArgs {
    #[command(flatten)]
    given: Given,
    /// What happens to who asks for it: sinkhole, nxdomain, nodata, drop, tcp-only, cname:NAME, or shadow to
    /// see it in the log only.
    #[arg(long, default_value = "sinkhole")]
    action: FeedAction,
    /// The malware family.
    #[arg(long, value_parser = family)]
    family: Option<String>,
    /// How bad it is: low, medium, high or critical.
    #[arg(long)]
    severity: Option<Severity>,
    /// Block also what is protected or popular, or takes such names with it; a blocked address then counts
    /// for such names too.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct AllowArgs {
    #[command(flatten)]
    given: Given,
    /// Let pass also a whole top-level domain or public suffix (com, com.vn), or a very large network (/8 and wider, of IPv6 /16).
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Given {
    #[command(flatten)]
    config: ConfigArg,
    /// A name, with all that is below it (`*.NAME`: only that); an address or a network that answers lead to.
    #[arg(required = true, value_name = "NAME|ADDRESS|NETWORK", value_parser = subject)]
    subjects: Vec<Subject>,
    /// The name alone, and nothing below it.
    #[arg(long)]
    exact: bool,
    /// Why; everybody who looks it up will read this.
    #[arg(long, value_parser = sentence)]
    reason: String,
    /// Who answers for it.
    #[arg(long, value_name = "WHO", value_parser = sentence)]
    by: String,
    /// When it ends by itself: after a while (12h, 30d), on a day's end (2026-12-31), or at a time
    /// (2026-12-31T17:00:00+07:00).
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<i64>,
    /// Only for this agency; may be repeated.
    #[arg(long, value_name = "ID")]
    agency: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The rules' numbers, or what they are on.
    #[arg(required = true, value_name = "NUMBER|NAME|ADDRESS|NETWORK")]
    subjects: Vec<String>,
    /// Only the rule of this agency.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Why.
    #[arg(long, default_value = "", value_parser = text)]
    reason: String,
    /// Who answers for it.
    #[arg(long, value_name = "WHO", value_parser = sentence)]
    by: String,
}

#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Also those that ended: expired, replaced, removed.
    #[arg(long)]
    all: bool,
    /// Only those that are so.
    #[arg(long, value_enum, conflicts_with = "all")]
    state: Option<State>,
    /// Only those for this agency.
    #[arg(long, value_name = "ID")]
    agency: Option<String>,
    /// Only those that this person gave.
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Only those on this name and what is below it, or on networks that touch this one.
    #[arg(long = "on", value_name = "NAME|ADDRESS|NETWORK", value_parser = subject)]
    on: Option<Subject>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Active,
    Expired,
    Replaced,
    Removed,
}

fn block(arguments: &BlockArgs) -> Result<(), CliError> {
    let BlockArgs { given, action, family, severity, force } = arguments;
    let config = given.config.load()?;
    let (action, effect) = match action {
        FeedAction::Given => return Err(RuleError::Given.into()),
        FeedAction::Always(Action::Passthru) => return Err(RuleError::Passthru.into()),
        FeedAction::Shadow => (Action::Sinkhole, Effect::Shadow),
        FeedAction::Always(action) => (action.clone(), if *force { Effect::Forced } else { Effect::Usual }),
    };
    let gate = Gate::load(&config.gate).map_err(UpdateError::from)?;
    for subject in &given.subjects {
        giving::check(&config, &gate, subject, *force || effect == Effect::Shadow)?;
    }
    let family = family.as_deref().map(Arc::from);
    given.give(&config, |subject, agency| Rule {
        subject,
        action: action.clone(),
        effect,
        agency,
        expires: given.expires,
        family: family.clone(),
        severity: *severity,
    })
}

fn allow(arguments: &AllowArgs) -> Result<(), CliError> {
    let AllowArgs { given, force } = arguments;
    let config = given.config.load()?;
    for subject in &given.scoped()? {
        giving::check_exception(subject, *force)?;
    }
    given.give(&config, |subject, agency| Rule {
        subject,
        action: Action::Passthru,
        effect: if *force { Effect::Forced } else { Effect::Usual },
        agency,
        expires: given.expires,
        family: None,
        severity: None,
    })
}

impl Given {
    /// What is given, the names alone where that is asked for.
    fn scoped(&self) -> Result<Vec<Subject>, RuleError> {
        let scoped = |subject: &Subject| match (subject, self.exact) {
            (Subject::Name(name, _), true) => Ok(Subject::Name(name.clone(), Scope::Exact)),
            (other, true) => Err(RuleError::Exact(other.clone())),
            (other, false) => Ok(other.clone()),
        };
        self.subjects.iter().map(scoped).collect()
    }

    fn give(
        &self,
        config: &Config,
        rule: impl Fn(Subject, Option<Arc<str>>) -> Rule,
    ) -> Result<(), CliError> {
        let subjects = self.scoped()?;
        let word = Word { by: &self.by, reason: &self.reason };
        let (reading, events) = giving::give(config, &subjects, &self.agency, word, rule)?;
        warn(config, &reading);
        let mut out = io::stdout().lock();
        for Event { deed, change } in &events {
            if let Change::Add(rule) = change {
                writeln!(out, "rule {}: {}", deed.id, sentence_of(config, rule))?;
            }
        }
        make_live(config, &mut out)
    }
}

fn take_back(arguments: &RemoveArgs, is_meant: impl Fn(&Rule) -> bool) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let RemoveArgs { subjects, agency, reason, by, .. } = arguments;
    let word = Word { by, reason };
    let (reading, events) = giving::take_back(&config, subjects, agency.as_deref(), word, is_meant)?;
    warn(&config, &reading);
    let mut out = io::stdout().lock();
    for event in &events {
        if let Change::Remove(id) = event.change
            && let Some(entry) = reading.book.entries().iter().find(|entry| entry.deed.id == id)
        {
            writeln!(out, "rule {id} taken back: {}", sentence_of(&config, &entry.rule))?;
        }
    }
    make_live(&config, &mut out)
}

/// Tells of lines of the history that cannot be read.
fn warn(config: &Config, reading: &Reading) {
    let history = History::new(&config.data_dir);
    for (line, why) in &reading.faults {
        eprintln!("warning: {}:{line}: no rule: {why}; mend or delete the line", history.path().display());
    }
}

/// Has the running server take the rules, and says whether it did.
fn make_live(config: &Config, out: &mut impl Write) -> Result<(), CliError> {
    match daemon::ask_for_rules(&config.data_dir) {
        Ok(line) => writeln!(out, "live: {line}")?,
        Err(DaemonError::NotRunning { .. }) => {
            writeln!(out, "no server is running with this data_dir: it holds from the next start on")?;
        }
        Err(DaemonError::NotAllowed { .. }) => {
            writeln!(out, "a running server takes it within a second")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// What a rule does, for people.
fn sentence_of(config: &Config, rule: &Rule) -> String {
    let what = match &rule.subject {
        Subject::Name(name, Scope::Subtree) => format!("{name} and all below it"),
        Subject::Network(net) => format!("what leads to {}", Subject::Network(*net)),
        other => other.to_string(),
    };
    let does = match (&rule.action, rule.effect) {
        (Action::Passthru, _) => "is allowed, whatever feeds say".to_owned(),
        (_, Effect::Shadow) => "only shows in the log".to_owned(),
        (action, _) => format!("is blocked ({action})"),
    };
    let whom = match &rule.agency {
        None => "everybody".to_owned(),
        Some(id) => match config.agencies.iter().find(|agency| agency.id == *id) {
            Some(agency) => format!("{id} ({}) only", agency.name),
            None => format!("{id} only"),
        },
    };
    let until = rule.expires.map_or_else(String::new, |end| format!(", until {}", time_text(end)));
    format!("{what} {does}, for {whom}{until}")
}

fn time_text(time: i64) -> String {
    clock::local_time(time)
}

fn list(arguments: &RulesArgs) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let reading = History::new(&config.data_dir).read().map_err(RuleError::from)?;
    warn(&config, &reading);
    let now = clock::now();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let chosen = chosen(&reading.book, arguments, now);
    match arguments.format {
        ListForm::Table => write_table(&mut out, &chosen, now)?,
        ListForm::Jsonl => {
            for entry in chosen {
                serde_json::to_writer(&mut out, &Row::of(entry, now)).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
        }
        ListForm::Csv => write_csv(&mut out, &chosen, now)?,
    }
    out.flush()?;
    Ok(())
}

fn chosen<'b>(book: &'b Book, arguments: &RulesArgs, now: i64) -> Vec<&'b Entry> {
    let is_state = |standing: Standing| match arguments.state {
        Some(State::Active) => standing == Standing::Active,
        Some(State::Expired) => standing == Standing::Expired,
        Some(State::Replaced) => standing == Standing::Replaced,
        Some(State::Removed) => standing == Standing::Removed,
        None => arguments.all || standing == Standing::Active,
    };
    let is_agency =
        |entry: &Entry| arguments.agency.as_deref().is_none_or(|id| entry.rule.agency.as_deref() == Some(id));
    let is_by = |entry: &Entry| arguments.by.as_deref().is_none_or(|by| *entry.deed.by == *by);
    let is_on = |entry: &Entry| match (&arguments.on, &entry.rule.subject) {
        (None, _) => true,
        (Some(Subject::Name(name, _)), Subject::Name(listed, _)) => listed.is_within(name),
        (Some(Subject::Network(net)), Subject::Network(listed)) => {
            listed.contains(net) || net.contains(listed)
        }
        _ => false,
    };
    let is_chosen =
        |entry: &&Entry| is_state(entry.standing(now)) && is_agency(entry) && is_by(entry) && is_on(entry);
    book.entries().iter().filter(is_chosen).collect()
}

/// Two lines a rule, 80 columns wide as long as names are short.
fn write_table(out: &mut impl Write, entries: &[&Entry], now: i64) -> io::Result<()> {
    writeln!(out, "{:>6}  {:<8}  {:<10}  {:<10}  ON", "RULE", "STATE", "ACTION", "AGENCY")?;
    for entry in entries {
        let row = Row::of(entry, now);
        let action = if row.effect == "shadow" { "shadow" } else { &row.action };
        let agency = row.agency.unwrap_or("all");
        write!(out, "{:>6}  {:<8}  {action:<10}  {agency:<10}  {}", row.id, row.state, entry.rule.subject)?;
        if row.effect == "forced" {
            write!(out, " (forced)")?;
        }
        for word in row.family.iter().chain(&row.severity) {
            write!(out, ", {}", word.escape_debug())?;
        }
        writeln!(out)?;
        let (by, reason) = (entry.deed.by.escape_debug(), entry.deed.reason.escape_debug());
        write!(out, "        {} by {by}: {reason}", time_text(entry.deed.time))?;
        match (&entry.end, entry.rule.expires) {
            (Some(crate::rules::End::Removed(deed)), _) if row.state == "removed" => {
                let by = deed.by.escape_debug();
                write!(out, "; removed {} by {by}: {}", time_text(deed.time), deed.reason.escape_debug())?;
            }
            (Some(crate::rules::End::Replaced(deed)), _) if row.state == "replaced" => {
                write!(out, "; replaced by rule {}", deed.id)?;
            }
            (_, Some(end)) => {
                let verb = if row.state == "expired" { "expired" } else { "expires" };
                write!(out, "; {verb} {}", time_text(end))?;
            }
            _ => {}
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_csv(out: &mut impl Write, entries: &[&Entry], now: i64) -> io::Result<()> {
    write!(
        out,
        "id,state,kind,value,match,action,effect,agency,time,by,reason,expires,family,severity,ended,ended_by,end_reason\r\n"
    )?;
    for entry in entries {
        let Row {
            id,
            state,
            kind,
            value,
            r#match,
            action,
            effect,
            agency,
            time,
            by,
            reason,
            expires,
            family,
            severity,
            ended,
            ended_by,
            end_reason,
        } = Row::of(entry, now);
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let fields = [
            id.to_string(),
            state.into(),
            kind.into(),
            value,
            text(r#match),
            action,
            effect.into(),
            text(agency),
            time,
            by.into(),
            reason.into(),
            expires.unwrap_or_default(),
            text(family),
            text(severity),
            ended.unwrap_or_default(),
            text(ended_by),
            text(end_reason),
        ];
        let line: Vec<String> =
            fields.iter().map(|field| crate::evidence::export::csv::quoted(field)).collect();
        write!(out, "{}\r\n", line.join(","))?;
    }
    Ok(())
}

/// A rule as programs read it.
#[derive(Serialize)]
struct Row<'a> {
    id: u64,
    state: &'static str,
    kind: &'static str,
    value: String,
    r#match: Option<&'static str>,
    action: String,
    effect: &'static str,
    agency: Option<&'a str>,
    time: String,
    by: &'a str,
    reason: &'a str,
    expires: Option<String>,
    family: Option<&'a str>,
    severity: Option<&'static str>,
    ended: Option<String>,
    ended_by: Option<&'a str>,
    end_reason: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(entry: &'a Entry, now: i64) -> Self {
        let Entry { deed, rule, end } = entry;
        let standing = entry.standing(now);
        let time =
            |time: i64| Timestamp::from_microsecond(time).map_or_else(|_| String::new(), |it| it.to_string());
        let (kind, value, scope) = match &rule.subject {
            Subject::Name(name, scope) => (
                "name",
                name.to_string(),
                Some(match scope {
                    Scope::Exact => "exact",
                    Scope::Subtree => "subtree",
                    Scope::Below => "below",
                }),
            ),
            Subject::Network(net) if net.prefix_len() == net.max_prefix_len() => {
                ("ip", net.addr().to_string(), None)
            }
            Subject::Network(net) => ("net", net.to_string(), None),
        };
        let by = match end {
            Some(crate::rules::End::Replaced(deed) | crate::rules::End::Removed(deed))
                if matches!(standing, Standing::Replaced | Standing::Removed) =>
            {
                Some(deed)
            }
            _ => None,
        };
        let expired = rule.expires.filter(|_| standing == Standing::Expired);
        Self {
            id: deed.id,
            state: standing.as_str(),
            kind,
            value,
            r#match: scope,
            action: rule.action.to_string(),
            effect: match rule.effect {
                Effect::Usual => "usual",
                Effect::Forced => "forced",
                Effect::Shadow => "shadow",
            },
            agency: rule.agency.as_deref(),
            time: time(deed.time),
            by: &deed.by,
            reason: &deed.reason,
            expires: rule.expires.map(time),
            family: rule.family.as_deref(),
            severity: rule.severity.map(Severity::as_str),
            ended: by.map(|deed| deed.time).or(expired).map(time),
            ended_by: by.map(|deed| &*deed.by),
            end_reason: by.map(|deed| &*deed.reason),
        }
    }
}

/// A name, `*.` in front for what is below it alone; an address; a network.
fn subject(text: &str) -> Result<Subject, SubjectError> {
    text.parse()
}

/// Some text in one line.
fn sentence(text: &str) -> Result<String, String> {
    match self::text(text)? {
        text if text.is_empty() => Err("there is nothing in it".to_owned()),
        text => Ok(text),
    }
}

fn text(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.len() > LONGEST {
        return Err(format!("longer than {LONGEST} octets"));
    }
    if text.contains(char::is_control) {
        return Err("it has control characters in it".to_owned());
    }
    Ok(text.to_owned())
}

fn family(text: &str) -> Result<String, &'static str> {
    is_family(text.trim()).then(|| text.trim().to_owned()).ok_or("not the name of a malware family")
}

/// Microseconds since 1970, in the future.
fn expiry(text: &str) -> Result<i64, String> {
    let wrong = || {
        format!("{text:?} is none of a time such as 2026-12-31T17:00:00+07:00, a day and a while such as 30d")
    };
    let zone = TimeZone::system();
    let local = |time: DateTime| zone.to_timestamp(time).ok();
    let end = text
        .parse::<Timestamp>()
        .ok()
        // A day lasts until its end.
        .or_else(|| {
            text.parse::<Date>().ok().and_then(|day| day.tomorrow().ok()).and_then(|day| local(day.into()))
        })
        .or_else(|| text.parse::<DateTime>().ok().and_then(local))
        .or_else(|| {
            let span: Span = text.parse().ok()?;
            ZonedDateTime::now().checked_add(span).ok().map(|time| time.timestamp())
        })
        .ok_or_else(wrong)?;
    if end <= Timestamp::now() {
        return Err(format!("{text:?} is over already"));
    }
    Ok(end.as_microsecond())
}
