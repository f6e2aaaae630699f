//! The chart: for each load a group of bars, as SVG that reads well on light and on dark pages.

use std::fmt::Write as _;

use crate::bench::{ECHO, Findings, SACHDNS};
use crate::measure::{Row, Spread};

const WIDTH: f64 = 760.0;
/// Where bars begin, and how far the longest of a group reaches.
const LEFT: f64 = 124.0;
const LONGEST: f64 = 480.0;
const BAR: f64 = 14.0;
const LINE: f64 = 20.0;
const TITLE: f64 = 30.0;
const HEAD: f64 = 62.0;

const GROUPS: [(Row, &str); 4] = [
    (Row::Hits, "a: names of the list"),
    (Row::Cached, "b: cached names"),
    (Row::Mixed, "c: 98 % cached, 2 % listed"),
    (Row::Misses, "d: names never asked before"),
];

const STYLE: &str = "
    .page { fill: #ffffff } text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .head { font-size: 16px; font-weight: 600 } .group { font-weight: 600 } .quiet { fill: #59636e }
    .bar { fill: #8c959f } .echo { fill: #c3cad1 } .own { fill: #0a7d5a }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 } text { fill: #e6edf3 } .quiet { fill: #9198a1 }
      .bar { fill: #6e7681 } .echo { fill: #3d444d } .own { fill: #2fbf8f }
    }";

/// Draws the loads that were measured. Each group has a scale of its own: its longest bar fills the width.
pub(crate) fn svg(findings: &Findings) -> String {
    let mut body = String::new();
    let mut y = HEAD;
    for (row, title) in GROUPS {
        let bars: Vec<(&str, Spread, Spread)> =
            findings.columns.iter().filter_map(|column| bar(findings, row, column)).collect();
        let Some(longest) = bars.iter().map(|(_, echoes, _)| echoes.median).max_by(f64::total_cmp) else {
            continue;
        };
        y += TITLE;
        let _ = writeln!(body, r#"  <text class="group" x="16" y="{:.0}">{title}</text>"#, y - 9.0);
        for (column, echoes, cpu) in bars {
            let class = match column {
                ECHO => "echo",
                SACHDNS => "own",
                _ => "bar",
            };
            let width = (LONGEST * echoes.median / longest).max(1.0);
            let text = y + BAR - 2.5;
            let _ = writeln!(
                body,
                r#"  <text x="{:.0}" y="{text:.1}" text-anchor="end">{column}</text><rect class="{class}" x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{BAR}" rx="2"/><text x="{:.1}" y="{text:.1}">{:.2} E <tspan class="quiet">· {:.1} µs</tspan></text>"#,
                LEFT - 8.0,
                LEFT + width + 6.0,
                echoes.median,
                cpu.median,
            );
            y += LINE;
        }
    }
    let height = y + 16.0;
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-label="CPU a query of sachdns and its peers">
  <style>{STYLE}
  </style>
  <rect class="page" width="100%" height="100%" rx="6"/>
  <text class="head" x="16" y="28">CPU a query, in units of a bare UDP echo (E)</text>
  <text class="quiet" x="16" y="48">Shorter is better. One core, one worker, the same lists and loads; each group has a scale of its own.</text>
{body}</svg>
"#
    )
}

fn bar<'a>(findings: &Findings, row: Row, column: &'a str) -> Option<(&'a str, Spread, Spread)> {
    let samples = findings.samples.get(&(row, column.to_owned()))?;
    let echoes = Spread::of(samples.iter().map(|sample| sample.echoes))?;
    let cpu = Spread::of(samples.iter().map(|sample| sample.cpu.as_secs_f64() * 1e6))?;
    Some((column, echoes, cpu))
}
