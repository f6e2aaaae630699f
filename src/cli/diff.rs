//! `sachdns policy diff`

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::{CliError, ConfigArg, ListForm};
use crate::clock;
use crate::daemon::reviewing::{self, Comparison};
use crate::feed::Value;
use crate::feed::store::Changes;
use crate::policy::trigger::Trigger;
use crate::update::diff::{self, Difference, Sign, Totals};

/// Differences that a table shows unless it is told otherwise.
const TABLE_LIMIT: u64 = 50;
/// Families that a table shows.
const FAMILIES: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArg,
    /// The feed; may be left out where only one has a refused version.
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// What is compared with the version in force: refused, latest, previous (the one before), the first digits of a
    /// SHA-256, or a file.
    #[arg(long, value_name = "VERSION", default_value = "refused")]
    version: String,
    /// How to print.
    #[arg(long, value_enum, default_value_t = ListForm::Table)]
    format: ListForm,
    /// At most this many differences; a table shows 50 unless told otherwise.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), CliError> {
    let config = arguments.config.load()?;
    let source = reviewing::feed(&config, arguments.feed.as_deref())?;
    let comparison = Comparison::new(&config, source, &arguments.version)?;
    let words = comparison.words();
    let limit = arguments.limit.unwrap_or(match arguments.format {
        ListForm::Table => TABLE_LIMIT,
        ListForm::Jsonl | ListForm::Csv => u64::MAX,
    });
    let mut printer = Printer {
        out: BufWriter::new(io::stdout().lock()),
        form: arguments.format,
        left: limit,
        failed: None,
    };
    printer.heading(&words)?;
    let totals = comparison.run(clock::now(), &mut |it| printer.difference(it))?;
    if let Some(error) = printer.failed {
        return Err(error.into());
    }
    match arguments.format {
        ListForm::Table => write_totals(&mut printer.out, &totals, limit)?,
        ListForm::Jsonl | ListForm::Csv => {
            let Changes { added, removed } = totals.changes();
            eprintln!("{words}: +{added} -{removed}, {} in both", totals.kept);
        }
    }
    printer.out.flush()?;
    Ok(())
}

struct Printer<W: Write> {
    out: W,
    form: ListForm,
    left: u64,
    failed: Option<io::Error>,
}

impl<W: Write> Printer<W> {
    fn heading(&mut self, words: &str) -> io::Result<()> {
        match self.form {
            ListForm::Table => writeln!(self.out, "{words}\n"),
            ListForm::Jsonl => Ok(()),
            ListForm::Csv => writeln!(self.out, "change,kind,value,match,trigger,family,left_out"),
        }
    }

    fn difference(&mut self, difference: &Difference<'_>) -> ControlFlow<()> {
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        self.left -= 1;
        match self.write(difference) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn write(&mut self, difference: &Difference<'_>) -> io::Result<()> {
        let Difference { sign, value, trigger, family, left_out } = difference;
        let kind = diff::kind(value, *trigger);
        let scope = match value {
            Value::Name(_, scope) => Some(scope.to_string()),
            Value::Ip(_) | Value::Net(_) | Value::Url(_) => None,
        };
        let change = match sign {
            Sign::Added => "added",
            Sign::Removed => "removed",
        };
        match self.form {
            ListForm::Table => {
                let sign = if *sign == Sign::Added { '+' } else { '-' };
                write!(self.out, "{sign} {kind:8} {}", value.to_string().escape_debug())?;
                if let Some(family) = family {
                    write!(self.out, "  {}", family.escape_debug())?;
                }
                if let Some(why) = left_out {
                    write!(self.out, "  (left out: it {why})")?;
                }
                writeln!(self.out)
            }
            ListForm::Jsonl => {
                let line = json!({
                    "change": change, "kind": kind, "value": value.to_string(), "match": scope,
                    "trigger": trigger.map(Trigger::as_str), "family": family, "left_out": left_out,
                });
                writeln!(self.out, "{line}")
            }
            ListForm::Csv => {
                let value = value.to_string();
                let trigger = trigger.map_or("", Trigger::as_str);
                let (scope, left_out) = (scope.unwrap_or_default(), left_out.as_deref().unwrap_or_default());
                let fields =
                    [change, kind, &value, &scope, trigger, family.unwrap_or_default(), left_out].map(quoted);
                writeln!(self.out, "{}", fields.join(","))
            }
        }
    }
}

/// A field as RFC 4180 has it; one that a spreadsheet would take for a formula gets an apostrophe.
fn quoted(field: &str) -> String {
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t']);
    let field = if is_formula { format!("'{field}") } else { field.to_owned() };
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

fn write_totals(out: &mut impl Write, totals: &Totals, limit: u64) -> io::Result<()> {
    let Changes { added, removed } = totals.changes();
    if added + removed > limit {
        writeln!(out, "… and {} more: see --limit", added + removed - limit)?;
    }
    writeln!(out, "\n{added} added, {removed} removed, {} in both", totals.kept)?;
    for (kind, Changes { added, removed }) in &totals.kinds {
        writeln!(out, "  {kind:8}  +{added}  -{removed}")?;
    }
    let mut families: Vec<_> = totals.families.iter().filter(|(family, _)| !family.is_empty()).collect();
    families.sort_by_key(|(_, changes)| std::cmp::Reverse(changes.added + changes.removed));
    for (family, Changes { added, removed }) in families.iter().take(FAMILIES) {
        writeln!(out, "  family {}  +{added}  -{removed}", family.escape_debug())?;
    }
    if families.len() > FAMILIES {
        writeln!(out, "  and {} more families", families.len() - FAMILIES)?;
    }
    Ok(())
}
