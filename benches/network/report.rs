//! What the run found, as Markdown and as a chart. It measures nothing.

use std::fmt::Write as _;

use crate::measure::{Sample, Samples, Spread};

/// A table with a line for each load and server.
pub(crate) fn markdown(samples: &Samples) -> String {
    let mut out =
        "| load | server | CPU µs a query | in E | queries a second | trouble |\n|---|---|--:|--:|--:|---|\n"
            .to_owned();
    for ((kind, name), samples) in samples {
        let cpu = Spread::of(samples.iter().map(|sample| sample.cpu.as_secs_f64() * 1e6));
        let echoes = Spread::of(samples.iter().map(|sample| sample.echoes));
        let rate = Spread::of(samples.iter().map(|sample| sample.rate));
        let (Some(cpu), Some(echoes), Some(rate)) = (cpu, echoes, rate) else { continue };
        let troubles: Vec<String> = samples.iter().map(Sample::troubles).collect();
        let _ = writeln!(
            out,
            "| {kind:?} | {name} | {:.2} ({:.2}–{:.2}) | {:.2} ({:.2}–{:.2}) | {:.0} | {} |",
            cpu.median,
            cpu.least,
            cpu.most,
            echoes.median,
            echoes.least,
            echoes.most,
            rate.median,
            troubles.concat().trim_start_matches(", ")
        );
    }
    out
}
