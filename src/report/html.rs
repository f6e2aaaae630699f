//! One page to be read and printed: no script, nothing from elsewhere, the chart drawn into it. A4 across on paper.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::figures::{Counts, Figures, Row};
use super::words::{self, CASE_COLUMNS, COLUMNS, GAP_COLUMNS, PROTECTION, Value};
use super::{Letter, Scope};

const STYLE: &str = include_str!("html.css");
/// Families, names, cases and gaps that a page shows: more is what workbooks are for.
const MOST_FAMILIES: usize = 15;
const MOST_NAMES: usize = 15;
const MOST_CASES: usize = 500;
const MOST_GAPS: usize = 50;
/// Days that the chart shows one by one; beyond, months.
const MOST_BARS: usize = 62;
/// The chart's size, and where its axes are.
const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 190.0;
const TOP: f64 = 14.0;

pub(super) fn render(figures: &Figures, letter: &Letter) -> Vec<u8> {
    let about = words::about(figures);
    let is_province = figures.scope == Scope::All;
    let title = format!("{} {}", words::TITLE, words::period(figures.period));
    let page = html! {
        (DOCTYPE)
        html lang="vi" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    @if !letter.department.is_empty() { p { (words::clean(&letter.department)) } }
                    h1 { (title) " – " (about) }
                    p { "Kỳ báo cáo: " (words::days(figures.period)) ". Lập lúc " (words::time(figures.made)) ", giờ Việt Nam." }
                }
                main {
                    (key_figures(&figures.province.counts))
                    (lacks(figures))
                    section {
                        h2 { "Lượt truy vấn độc hại theo thời gian" }
                        (chart(figures))
                    }
                    @if is_province {
                        section {
                            h2 { "Số liệu theo cơ quan, đơn vị" }
                            (agencies(figures))
                        }
                    } @else {
                        section { h2 { "Số liệu" } (one(&figures.province)) }
                    }
                    div.two {
                        section { h2 { (words::FAMILIES) } (families(&figures.province)) }
                        section { h2 { "Tên miền độc hại bị truy vấn nhiều nhất" } (names(&figures.province)) }
                    }
                    // A list of all machines of a province is no page.
                    @if !is_province { section { h2 { (words::CASES) } (cases(figures)) } }
                    section { h2 { "Cách tính" } (meanings(figures)) }
                }
            }
        }
    };
    page.into_string().into_bytes()
}

fn key_figures(counts: &Counts) -> Markup {
    let time = |times: Option<super::figures::Times>| {
        times.map_or_else(|| "–".to_owned(), |times| words::duration(times.median))
    };
    let all = [
        ("Máy có truy vấn", words::number(counts.machines), ""),
        ("Lượt truy vấn độc hại", words::number(counts.hits), ""),
        ("Máy nhiễm trong kỳ", words::number(counts.infected), "bad"),
        ("Máy tồn từ kỳ trước", words::number(counts.carried), ""),
        ("Máy đã xử lý xong", words::number(counts.cleaned), "good"),
        ("Máy chưa xử lý xong", words::number(counts.remaining), "bad"),
        ("Máy đã thông báo", words::number(counts.notified), ""),
        ("Máy đã báo sạch", words::number(counts.said_clean), ""),
        ("Máy tái nhiễm", words::number(counts.repeat), ""),
        ("Máy truy cập trang lừa đảo", words::number(counts.phishing), ""),
        ("Thời gian thông báo (trung vị)", time(counts.to_notify), ""),
        ("Thời gian làm sạch (trung vị)", time(counts.to_clean), ""),
    ];
    html! {
        dl.key {
            @for (heading, value, class) in all {
                div { dt { (heading) } dd class=(class) { (value) } }
            }
        }
    }
}

fn lacks(figures: &Figures) -> Markup {
    let lacks = words::lacks(figures);
    html! {
        @if !lacks.is_empty() || !figures.gaps.is_empty() {
            section.lacks {
                h2 { "Số liệu chưa đầy đủ" }
                ul { @for lack in &lacks { li { (lack) } } }
                @if !figures.gaps.is_empty() {
                    table {
                        thead { tr { @for heading in GAP_COLUMNS { th scope="col" { (heading) } } } }
                        tbody {
                            @for gap in figures.gaps.iter().take(MOST_GAPS) {
                                tr {
                                    td { (words::time(gap.earliest)) }
                                    td { (words::time(gap.latest)) }
                                    td.n { (words::number(gap.count)) }
                                    td { (words::why(gap.why)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn value(value: Value) -> String {
    match value {
        Value::Count(count) => words::number(count),
        Value::Time(seconds) => seconds.map_or_else(|| "–".to_owned(), words::hours),
    }
}

fn agencies(figures: &Figures) -> Markup {
    let has_protection = figures.province.counts.coverage.is_some();
    let cells = |row: &Row| {
        html! {
            @for column in &COLUMNS { td.n { (value((column.value)(&row.counts))) } }
            @if has_protection {
                @match row.counts.coverage {
                    Some(it) => {
                        td.n { (words::number(it.machines)) }
                        td.n { (words::number(it.protected)) }
                        td.n { (words::share(it.protected, it.machines)) }
                    }
                    None => { td.n { "–" } td.n { "–" } td.n { "–" } }
                }
            }
        }
    };
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th scope="col" { "STT" }
                        th scope="col" { (words::AGENCY) }
                        @for column in &COLUMNS { th scope="col" { (column.heading) } }
                        @if has_protection { @for (heading, _) in PROTECTION { th scope="col" { (heading) } } }
                    }
                }
                tbody {
                    @for (number, row) in (1u32..).zip(&figures.agencies) {
                        tr { td.n { (number) } th scope="row" { (words::row_name(row)) } (cells(row)) }
                    }
                }
                tfoot { tr { td {} th scope="row" { (words::PROVINCE_ROW) } (cells(&figures.province)) } }
            }
        }
    }
}

fn one(row: &Row) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "Chỉ tiêu" } th scope="col" { "Số liệu" } } }
            tbody {
                @for column in &COLUMNS {
                    tr { th scope="row" { (column.heading) } td.n { (value((column.value)(&row.counts))) } }
                }
                @if let Some(it) = row.counts.coverage {
                    tr { th scope="row" { (PROTECTION[0].0) } td.n { (words::number(it.machines)) } }
                    tr { th scope="row" { (PROTECTION[1].0) } td.n { (words::number(it.protected)) } }
                    tr { th scope="row" { (PROTECTION[2].0) } td.n { (words::share(it.protected, it.machines)) } }
                }
            }
        }
    }
}

const NOTHING: &str = "Không có trong kỳ.";

fn families(row: &Row) -> Markup {
    html! {
        @if row.families.is_empty() { p { (NOTHING) } } @else {
            table {
                thead {
                    tr {
                        @for heading in [words::FAMILIES, "Loại", "Số máy", "Lượt truy vấn độc hại"] { th scope="col" { (heading) } }
                    }
                }
                tbody {
                    @for family in row.families.iter().take(MOST_FAMILIES) {
                        tr {
                            th scope="row" { (words::family_name(&family.name)) }
                            td { (words::class(family.class)) }
                            td.n { (words::number(family.machines)) }
                            td.n { (words::number(family.hits)) }
                        }
                    }
                }
            }
        }
    }
}

fn names(row: &Row) -> Markup {
    html! {
        @if row.names.is_empty() { p { (NOTHING) } } @else {
            table {
                thead { tr { th scope="col" { (words::NAMES) } th scope="col" { "Lượt truy vấn độc hại" } } }
                tbody {
                    @for name in row.names.iter().take(MOST_NAMES) {
                        tr { th scope="row" { (words::host_name(&name.name)) } td.n { (words::number(name.hits)) } }
                    }
                }
            }
        }
    }
}

fn cases(figures: &Figures) -> Markup {
    let more = figures.cases.len().saturating_sub(MOST_CASES);
    html! {
        @if figures.cases.is_empty() { p { (NOTHING) } } @else {
            div.wide {
                table {
                    thead { tr { @for heading in CASE_COLUMNS { th scope="col" { (heading) } } } }
                    tbody {
                        @for line in figures.cases.iter().take(MOST_CASES) {
                            tr {
                                td { (line.ticket) }
                                td { (words::clean(&line.machine)) }
                                td { (line.client) }
                                td { (words::family_name(&line.family)) }
                                td { (words::class(line.class)) }
                                td { (words::host_name(&line.name)) }
                                td { (words::stage(line.stage)) }
                                td { (words::of_period(line)) }
                                td { (words::time(line.first_hit)) }
                                td { (words::time(line.last_hit)) }
                                td.n { (line.reopened) }
                            }
                        }
                    }
                }
            }
            @if more > 0 { p { "Còn " (words::number(more as u64)) " hồ sơ khác: xem bảng tính (XLSX)." } }
        }
    }
}

fn meanings(figures: &Figures) -> Markup {
    let protection = PROTECTION.iter().filter(|_| figures.province.counts.coverage.is_some()).copied();
    html! {
        dl.meanings {
            @for (heading, meaning) in COLUMNS.iter().map(|it| (it.heading, it.meaning)).chain(protection) {
                dt { (heading) } dd { (meaning) }
            }
            @for general in words::GENERAL { dd { (general) } }
        }
    }
}

/// Hits by the day, or by the month where there are many, as bars.
fn chart(figures: &Figures) -> Markup {
    let bars: Vec<(String, u64)> = if figures.days.len() <= MOST_BARS {
        figures
            .days
            .iter()
            .map(|day| (format!("{}/{}", day.date.day(), day.date.month()), day.hits))
            .collect()
    } else {
        let mut months: BTreeMap<(i16, i8), u64> = BTreeMap::new();
        for day in &figures.days {
            *months.entry((day.date.year(), day.date.month())).or_default() += day.hits;
        }
        months.into_iter().map(|((year, month), hits)| (format!("{month}/{year}"), hits)).collect()
    };
    let most = round(bars.iter().map(|(_, hits)| *hits).max().unwrap_or(0));
    let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
    let height = |hits: u64| (BOTTOM - TOP) * (hits as f64 / most as f64);
    // So that labels do not run into each other.
    let every = bars.len().div_ceil(if bars.len() > MOST_BARS { 12 } else { 16 }).max(1);
    let total: u64 = bars.iter().map(|(_, hits)| *hits).sum();
    let label = format!("Biểu đồ cột: tổng cộng {} lượt truy vấn độc hại", words::number(total));
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            @for part in 0..=4u64 {
                @let at = BOTTOM - (BOTTOM - TOP) * part as f64 / 4.0;
                line.axis x1=(LEFT) x2=(WIDTH) y1=(format!("{at:.1}")) y2=(format!("{at:.1}")) {}
                text x=(LEFT - 6.0) y=(format!("{:.1}", at + 4.0)) text-anchor="end" { (words::number(most * part / 4)) }
            }
            @for (number, (day, hits)) in bars.iter().enumerate() {
                @let x = LEFT + step * (number as f64 + 0.12);
                rect.bar x=(format!("{x:.1}")) y=(format!("{:.1}", BOTTOM - height(*hits))) width=(format!("{:.1}", step * 0.76)) height=(format!("{:.1}", height(*hits))) {
                    title { (day) ": " (words::number(*hits)) }
                }
                @if number % every == 0 {
                    text x=(format!("{:.1}", x + step * 0.38)) y=(BOTTOM + 18.0) text-anchor="middle" { (day) }
                }
            }
        }
    }
}

/// The next number that divides into four whole parts and looks like one: 4, 8, 20, 40, 80, 200 …
fn round(most: u64) -> u64 {
    let mut unit = 4u64;
    loop {
        for factor in [1, 2, 5] {
            match unit.checked_mul(factor) {
                Some(bound) if bound < most => {}
                Some(bound) => return bound,
                None => return u64::MAX,
            }
        }
        unit = unit.saturating_mul(10);
    }
}
