//! The workbook: a sheet for the province, sheets for agencies, families, machines and days, and one that says what all of it means.
//!
//! Numbers are numbers, times are times, and sums are formulas whose results stand beside them. Texts are written as texts,
//! never as what a spreadsheet makes of them. Up to [`MOST_SHEETS`] agencies have a sheet each; more would only be tabs that nobody finds,
//! so then all names and machines are in one sheet each, with a filter.

use std::collections::HashSet;

use rust_xlsxwriter::{
    Chart, ChartType, Color, DocProperties, ExcelDateTime, Format, FormatAlign, FormatBorder, Formula,
    Workbook, Worksheet, XlsxError,
};

use super::figures::{CaseLine, Counts, Figures, Row};
use super::period::civil;
use super::words::{self, CASE_COLUMNS, COLUMNS, GAP_COLUMNS, PROTECTION, Value};
use super::{Letter, Scope};

/// Agencies that have a sheet each.
const MOST_SHEETS: usize = 40;
/// Characters of a sheet's name, in Excel's way of counting.
const LONGEST_NAME: usize = 31;
/// A sheet has 1,048,576 rows.
const MOST_ROWS: usize = 1_000_000;
/// A4.
const PAPER: u8 = 9;
/// The row of a sheet's headings: above are its titles.
const HEAD: u32 = 4;

/// The widths of columns of cases.
const CASE_WIDTHS: [u16; CASE_COLUMNS.len()] = [12, 20, 15, 22, 17, 28, 15, 8, 16, 16, 9];

const INK: Color = Color::RGB(0x1F_2937);
const SHADE: Color = Color::RGB(0xE5_EDF5);
const LINE: Color = Color::RGB(0xB8_C4D0);

type Done = Result<(), XlsxError>;

pub(super) fn render(figures: &Figures, letter: &Letter) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = Workbook::new();
    let properties = DocProperties::new()
        .set_title(words::TITLE)
        .set_subject(words::days(figures.period))
        .set_author(words::clean(&letter.department))
        .set_creation_datetime(&moment(figures.made)?);
    workbook.set_properties(&properties);
    let book = Book { figures, letter, looks: Looks::new() };
    let is_few = figures.agencies.len() <= MOST_SHEETS;
    if figures.scope == Scope::All {
        book.province(sheet(&mut workbook, words::PROVINCE)?)?;
        book.families(sheet(&mut workbook, words::FAMILIES)?)?;
        if !is_few {
            book.names(sheet(&mut workbook, words::NAMES)?)?;
            book.cases(sheet(&mut workbook, words::CASES)?)?;
        }
    }
    if is_few {
        let mut names = Names::new();
        for row in &figures.agencies {
            book.agency(sheet(&mut workbook, &names.find(&words::row_name(row)))?, row)?;
        }
    }
    book.days(sheet(&mut workbook, words::DAYS)?)?;
    book.notes(sheet(&mut workbook, words::NOTES)?)?;
    workbook.save_to_buffer()
}

/// Adds a sheet that prints on A4 across, as wide as the page, with its number below.
fn sheet<'w>(workbook: &'w mut Workbook, name: &str) -> Result<&'w mut Worksheet, XlsxError> {
    let sheet = workbook.add_worksheet();
    sheet.set_name(name)?;
    sheet.set_paper_size(PAPER).set_landscape().set_print_fit_to_pages(1, 0);
    // Inches: left, right, top, bottom, header, footer.
    sheet.set_margins(0.5, 0.4, 0.6, 0.6, 0.3, 0.3);
    sheet.set_footer("&L&A&RTrang &P/&N");
    Ok(sheet)
}

/// Names of sheets: short, without what Excel forbids, no two alike.
struct Names(HashSet<String>);

impl Names {
    fn new() -> Self {
        let taken = [
            words::PROVINCE,
            words::FAMILIES,
            words::NAMES,
            words::CASES,
            words::DAYS,
            words::NOTES,
            // Excel keeps this one for itself.
            "History",
        ];
        Self(taken.iter().map(|name| folded(name)).collect())
    }

    fn find(&mut self, name: &str) -> String {
        let plain: String =
            name.chars().map(|letter| if "[]:*?/\\".contains(letter) { ' ' } else { letter }).collect();
        let plain = plain.trim_matches(|letter: char| letter.is_whitespace() || letter == '\'');
        let plain = if plain.is_empty() { "Cơ quan" } else { plain };
        for number in 1.. {
            let tail = if number == 1 { String::new() } else { format!(" ({number})") };
            let head = cut(plain, LONGEST_NAME - tail.len());
            let name =
                format!("{}{tail}", head.trim_end_matches(|it: char| it.is_whitespace() || it == '\''));
            if self.0.insert(folded(&name)) {
                return name;
            }
        }
        unreachable!("numbers do not end")
    }
}

/// Excel takes names for one that differ in their case only.
fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

/// The beginning of a text, so long as Excel counts: in units of UTF-16.
fn cut(text: &str, most: usize) -> &str {
    let mut len = 0;
    let end = text.char_indices().find(|(_, letter)| {
        len += letter.len_utf16();
        len > most
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// A time on Vietnam's clocks, as spreadsheets have them.
fn moment(microseconds: i64) -> Result<ExcelDateTime, XlsxError> {
    let time = civil(microseconds);
    // Spreadsheets begin in 1900.
    let year = u16::try_from(time.year().clamp(1900, 9999)).unwrap_or(1900);
    let small = |number: i8| number.unsigned_abs();
    ExcelDateTime::from_ymd(year, small(time.month()), small(time.day()))?.and_hms(
        small(time.hour()).into(),
        small(time.minute()),
        f64::from(small(time.second())),
    )
}

/// Numbers in workbooks are floating: whole ones are exact up to 2^53.
fn float(number: u64) -> f64 {
    number as f64
}

/// How cells look.
struct Looks {
    title: Format,
    subtitle: Format,
    head: Format,
    text: Format,
    wrapped: Format,
    number: Format,
    rank: Format,
    hours: Format,
    share: Format,
    time: Format,
    date: Format,
    sum_text: Format,
    sum: Format,
    sum_hours: Format,
    sum_share: Format,
}

impl Looks {
    fn new() -> Self {
        let plain = || Format::new().set_font_name("Times New Roman").set_font_size(11).set_font_color(INK);
        let cell = || {
            plain()
                .set_border(FormatBorder::Thin)
                .set_border_color(LINE)
                .set_align(FormatAlign::VerticalCenter)
        };
        let sum = || cell().set_bold().set_background_color(SHADE);
        let (count, hours, share) = ("#,##0", "#,##0.0", "0.0%");
        Self {
            title: plain().set_bold().set_font_size(14),
            subtitle: plain().set_italic(),
            head: sum().set_font_size(10).set_text_wrap().set_align(FormatAlign::Center),
            text: cell(),
            wrapped: cell().set_text_wrap(),
            number: cell().set_num_format(count),
            rank: cell().set_align(FormatAlign::Center),
            hours: cell().set_num_format(hours),
            share: cell().set_num_format(share),
            time: cell().set_num_format("dd/mm/yyyy hh:mm").set_align(FormatAlign::Center),
            date: cell().set_num_format("dd/mm/yyyy").set_align(FormatAlign::Center),
            sum_text: sum(),
            sum: sum().set_num_format(count),
            sum_hours: sum().set_num_format(hours),
            sum_share: sum().set_num_format(share),
        }
    }
}

/// What sheets are filled from.
struct Book<'f> {
    figures: &'f Figures,
    letter: &'f Letter,
    looks: Looks,
}

impl Book<'_> {
    fn has_protection(&self) -> bool {
        self.figures.province.counts.coverage.is_some()
    }

    /// Who reports, what, and about when.
    fn titles(&self, sheet: &mut Worksheet, what: &str) -> Done {
        let Self { figures, letter, looks } = self;
        sheet.write_string_with_format(0, 0, words::clean(&letter.department), &looks.subtitle)?;
        sheet.write_string_with_format(1, 0, what, &looks.title)?;
        let days = words::days(figures.period);
        let made = words::time(figures.made);
        let line = format!("Kỳ báo cáo: {days}. Lập lúc {made}, giờ Việt Nam.");
        sheet.write_string_with_format(2, 0, line, &looks.subtitle)?;
        Ok(())
    }

    fn heads(&self, sheet: &mut Worksheet, row: u32, heads: &[&str]) -> Done {
        for (column, head) in (0..).zip(heads) {
            sheet.write_string_with_format(row, column, *head, &self.looks.head)?;
        }
        Ok(())
    }

    /// The headings stay in sight, and on every page.
    fn hold(sheet: &mut Worksheet, row: u32, columns: u16) -> Done {
        sheet.set_freeze_panes(row + 1, columns)?;
        sheet.set_repeat_rows(row, row)?;
        Ok(())
    }

    fn text(&self, sheet: &mut Worksheet, row: u32, column: u16, text: &str) -> Done {
        sheet.write_string_with_format(row, column, text, &self.looks.text)?;
        Ok(())
    }

    fn number(&self, sheet: &mut Worksheet, row: u32, column: u16, number: u64) -> Done {
        sheet.write_number_with_format(row, column, float(number), &self.looks.number)?;
        Ok(())
    }

    fn time(&self, sheet: &mut Worksheet, row: u32, column: u16, time: i64) -> Done {
        sheet.write_datetime_with_format(row, column, moment(time)?, &self.looks.time)?;
        Ok(())
    }

    fn province(&self, sheet: &mut Worksheet) -> Done {
        let Self { figures, looks, .. } = self;
        self.titles(sheet, &format!("{} – {}", words::TITLE, words::PROVINCE))?;
        let mut heads = vec!["STT", words::AGENCY];
        heads.extend(COLUMNS.iter().map(|column| column.heading));
        if self.has_protection() {
            heads.extend(PROTECTION.iter().map(|(heading, _)| *heading));
        }
        self.heads(sheet, HEAD, &heads)?;
        sheet.set_row_height(HEAD, 96)?;
        sheet.set_column_width(0, 4.5)?;
        sheet.set_column_width(1, 31)?;
        for column in 2..heads.len() {
            // Millions of queries need more room than machines; there are some twenty columns.
            sheet.set_column_width(column as u16, if matches!(column, 3 | 4) { 11.0 } else { 8.0 })?;
        }
        Self::hold(sheet, HEAD, 2)?;
        let first = HEAD + 1;
        let mut at = first;
        for (number, row) in (1u32..).zip(&figures.agencies) {
            sheet.write_number_with_format(at, 0, number, &looks.rank)?;
            let name = words::row_name(row);
            // Not every program makes rows higher by itself.
            sheet.set_row_height(at, height(&name, 33))?;
            sheet.write_string_with_format(at, 1, name, &looks.wrapped)?;
            self.counts(sheet, at, &row.counts, (&looks.number, &looks.hours, &looks.share))?;
            at += 1;
        }
        let last = at.saturating_sub(1);
        self.sums(sheet, at, (first, last))?;
        at += 1;
        sheet.write_blank(at, 0, &looks.sum_text)?;
        sheet.write_string_with_format(at, 1, words::PROVINCE_ROW, &looks.sum_text)?;
        self.counts(sheet, at, &figures.province.counts, (&looks.sum, &looks.sum_hours, &looks.sum_share))
    }

    /// The figures of one row, from the third column on.
    fn counts(
        &self,
        sheet: &mut Worksheet,
        row: u32,
        counts: &Counts,
        (number, hours, share): (&Format, &Format, &Format),
    ) -> Done {
        let mut column = 2;
        for value in COLUMNS.iter().map(|column| (column.value)(counts)) {
            match value {
                Value::Count(count) => {
                    sheet.write_number_with_format(row, column, float(count), number)?;
                }
                Value::Time(Some(seconds)) => {
                    sheet.write_number_with_format(row, column, float(seconds) / 3600.0, hours)?;
                }
                Value::Time(None) => {
                    sheet.write_blank(row, column, hours)?;
                }
            }
            column += 1;
        }
        if self.has_protection() {
            match counts.coverage {
                Some(coverage) => {
                    let (machines, protected) = (coverage.machines, coverage.protected);
                    sheet.write_number_with_format(row, column, float(machines), number)?;
                    sheet.write_number_with_format(row, column + 1, float(protected), number)?;
                    self.share(sheet, row, column + 2, (machines, protected), share)?;
                }
                None => {
                    for column in column..column + 3 {
                        sheet.write_blank(row, column, number)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Which part of the cell two before is the one before.
    fn share(
        &self,
        sheet: &mut Worksheet,
        row: u32,
        column: u16,
        (whole, part): (u64, u64),
        format: &Format,
    ) -> Done {
        let (whole_at, part_at) = (place(row, column - 2), place(row, column - 1));
        let result = if whole == 0 { String::new() } else { (float(part) / float(whole)).to_string() };
        let formula = Formula::new(format!("=IF({whole_at}=0,\"\",{part_at}/{whole_at})")).set_result(result);
        sheet.write_formula_with_format(row, column, formula, format)?;
        Ok(())
    }

    /// Adds up what stands above; of times there is no sum.
    fn sums(&self, sheet: &mut Worksheet, row: u32, (first, last): (u32, u32)) -> Done {
        let Self { figures, looks, .. } = self;
        sheet.write_blank(row, 0, &looks.sum_text)?;
        sheet.write_string_with_format(row, 1, words::SUM_ROW, &looks.sum_text)?;
        let sum =
            |of: &dyn Fn(&Counts) -> u64| figures.agencies.iter().map(|row| of(&row.counts)).sum::<u64>();
        let formula = |column: u16, result: u64| {
            // Without any agency there is nothing above.
            let formula = match first <= last && !figures.agencies.is_empty() {
                true => format!("=SUM({}:{})", place(first, column), place(last, column)),
                false => "=0".to_owned(),
            };
            Formula::new(formula).set_result(result.to_string())
        };
        let mut at = 2;
        for column in &COLUMNS {
            match (column.value)(&Counts::default()) {
                Value::Count(_) => {
                    let result = sum(&|counts| match (column.value)(counts) {
                        Value::Count(count) => count,
                        Value::Time(_) => 0,
                    });
                    sheet.write_formula_with_format(row, at, formula(at, result), &looks.sum)?;
                }
                Value::Time(_) => {
                    sheet.write_blank(row, at, &looks.sum_text)?;
                }
            }
            at += 1;
        }
        if self.has_protection() {
            let whole = sum(&|counts| counts.coverage.map_or(0, |it| it.machines));
            let part = sum(&|counts| counts.coverage.map_or(0, |it| it.protected));
            sheet.write_formula_with_format(row, at, formula(at, whole), &looks.sum)?;
            sheet.write_formula_with_format(row, at + 1, formula(at + 1, part), &looks.sum)?;
            self.share(sheet, row, at + 2, (whole, part), &looks.sum_share)?;
        }
        Ok(())
    }

    /// Every family of every agency.
    fn families(&self, sheet: &mut Worksheet) -> Done {
        self.titles(sheet, &format!("{} – {}", words::FAMILIES, words::PROVINCE))?;
        self.heads(
            sheet,
            HEAD,
            &[words::AGENCY, words::FAMILIES, "Loại", "Số máy", "Lượt truy vấn độc hại"],
        )?;
        for (column, width) in [(0, 45), (1, 40), (2, 22), (3, 12), (4, 16)] {
            sheet.set_column_width(column, width)?;
        }
        sheet.set_row_height(HEAD, 34)?;
        Self::hold(sheet, HEAD, 0)?;
        let province = (words::PROVINCE_ROW.to_owned(), &self.figures.province);
        let agencies = self.figures.agencies.iter().map(|row| (words::row_name(row), row));
        let rows = std::iter::once(province).chain(agencies);
        let rows = rows.flat_map(|(name, row)| row.families.iter().map(move |family| (name.clone(), family)));
        let mut at = HEAD;
        for (agency, family) in rows.take(MOST_ROWS) {
            at += 1;
            self.text(sheet, at, 0, &agency)?;
            self.text(sheet, at, 1, &words::family_name(&family.name))?;
            self.text(sheet, at, 2, words::class(family.class))?;
            self.number(sheet, at, 3, family.machines)?;
            self.number(sheet, at, 4, family.hits)?;
        }
        sheet.autofilter(HEAD, 0, at, 4)?;
        Ok(())
    }

    /// The names of every agency that were hit most.
    fn names(&self, sheet: &mut Worksheet) -> Done {
        self.titles(sheet, "Tên miền độc hại bị truy vấn nhiều nhất")?;
        self.heads(sheet, HEAD, &[words::AGENCY, words::NAMES, "Lượt truy vấn độc hại"])?;
        for (column, width) in [(0, 45), (1, 60), (2, 16)] {
            sheet.set_column_width(column, width)?;
        }
        sheet.set_row_height(HEAD, 34)?;
        Self::hold(sheet, HEAD, 0)?;
        let province = (words::PROVINCE_ROW.to_owned(), &self.figures.province);
        let agencies = self.figures.agencies.iter().map(|row| (words::row_name(row), row));
        let rows = std::iter::once(province).chain(agencies);
        let mut at = HEAD;
        for (agency, name) in
            rows.flat_map(|(agency, row)| row.names.iter().map(move |it| (agency.clone(), it)))
        {
            at += 1;
            self.text(sheet, at, 0, &agency)?;
            self.text(sheet, at, 1, &words::host_name(&name.name))?;
            self.number(sheet, at, 2, name.hits)?;
        }
        sheet.autofilter(HEAD, 0, at, 2)?;
        Ok(())
    }

    /// Every case.
    fn cases(&self, sheet: &mut Worksheet) -> Done {
        self.titles(sheet, &format!("{} – {}", words::CASES, words::PROVINCE))?;
        for (column, width) in (1..).zip(CASE_WIDTHS) {
            sheet.set_column_width(column, width)?;
        }
        sheet.set_column_width(0, 34)?;
        self.heads(sheet, HEAD, &[words::AGENCY])?;
        self.case_heads(sheet, HEAD, 1)?;
        sheet.set_row_height(HEAD, 34)?;
        Self::hold(sheet, HEAD, 1)?;
        let mut at = HEAD;
        for line in self.figures.cases.iter().take(MOST_ROWS) {
            at += 1;
            self.text(sheet, at, 0, &words::agency_name(&line.agency))?;
            self.case(sheet, at, 1, line)?;
        }
        sheet.autofilter(HEAD, 0, at, CASE_COLUMNS.len() as u16)?;
        Ok(())
    }

    /// The headings of cases, from a column on.
    fn case_heads(&self, sheet: &mut Worksheet, row: u32, from: u16) -> Done {
        for (column, head) in (from..).zip(CASE_COLUMNS) {
            sheet.write_string_with_format(row, column, head, &self.looks.head)?;
        }
        Ok(())
    }

    /// A case, from a column on.
    fn case(&self, sheet: &mut Worksheet, at: u32, from: u16, line: &CaseLine) -> Done {
        let texts = [
            line.ticket.to_string(),
            words::clean(&line.machine),
            line.client.clone(),
            words::family_name(&line.family),
            words::class(line.class).to_owned(),
            words::host_name(&line.name),
            words::stage(line.stage).to_owned(),
            words::of_period(line).to_owned(),
        ];
        for (column, text) in (from..).zip(&texts) {
            self.text(sheet, at, column, text)?;
        }
        let from = from + texts.len() as u16;
        self.time(sheet, at, from, line.first_hit)?;
        self.time(sheet, at, from + 1, line.last_hit)?;
        self.number(sheet, at, from + 2, line.reopened.into())
    }

    /// All of one agency.
    fn agency(&self, sheet: &mut Worksheet, row: &Row) -> Done {
        let Self { figures, looks, .. } = self;
        self.titles(sheet, &format!("{} – {}", words::TITLE, words::row_name(row)))?;
        for (column, width) in (0..).zip(CASE_WIDTHS) {
            sheet.set_column_width(column, width)?;
        }
        let mut at = HEAD;
        // Broad enough for a heading of a figure.
        let figure = |sheet: &mut Worksheet, at: u32, heading: &str| -> Done {
            sheet.merge_range(at, 0, at, 2, heading, &looks.text)?;
            Ok(())
        };
        sheet.merge_range(at, 0, at, 2, "Chỉ tiêu", &looks.head)?;
        sheet.write_string_with_format(at, 3, "Số liệu", &looks.head)?;
        for column in &COLUMNS {
            at += 1;
            figure(sheet, at, column.heading)?;
            match (column.value)(&row.counts) {
                Value::Count(count) => self.number(sheet, at, 3, count)?,
                Value::Time(Some(seconds)) => {
                    sheet.write_number_with_format(at, 3, float(seconds) / 3600.0, &looks.hours)?;
                }
                Value::Time(None) => {
                    sheet.write_blank(at, 3, &looks.hours)?;
                }
            }
        }
        if let Some(coverage) = row.counts.coverage {
            for ((heading, _), number) in PROTECTION.iter().zip([coverage.machines, coverage.protected]) {
                at += 1;
                figure(sheet, at, heading)?;
                self.number(sheet, at, 3, number)?;
            }
            at += 1;
            figure(sheet, at, PROTECTION[2].0)?;
            let (whole, part) = (place(at - 2, 3), place(at - 1, 3));
            let result = match coverage.machines {
                0 => String::new(),
                machines => (float(coverage.protected) / float(machines)).to_string(),
            };
            let formula = Formula::new(format!("=IF({whole}=0,\"\",{part}/{whole})")).set_result(result);
            sheet.write_formula_with_format(at, 3, formula, &looks.share)?;
        }
        at += 2;
        sheet.merge_range(at, 0, at, 2, words::FAMILIES, &looks.head)?;
        for (column, heading) in [(3, "Loại"), (4, "Số máy"), (5, "Lượt độc hại")] {
            sheet.write_string_with_format(at, column, heading, &looks.head)?;
        }
        for family in &row.families {
            at += 1;
            figure(sheet, at, &words::family_name(&family.name))?;
            self.text(sheet, at, 3, words::class(family.class))?;
            self.number(sheet, at, 4, family.machines)?;
            self.number(sheet, at, 5, family.hits)?;
        }
        at += 2;
        sheet.merge_range(at, 0, at, 2, "Tên miền độc hại bị truy vấn nhiều nhất", &looks.head)?;
        sheet.write_string_with_format(at, 3, "Lượt độc hại", &looks.head)?;
        for name in &row.names {
            at += 1;
            figure(sheet, at, &words::host_name(&name.name))?;
            self.number(sheet, at, 3, name.hits)?;
        }
        at += 2;
        self.case_heads(sheet, at, 0)?;
        sheet.set_row_height(at, 34)?;
        let name = if row.id.is_none() { "" } else { row.name.as_str() };
        for line in figures.cases.iter().filter(|line| line.agency == name).take(MOST_ROWS / 2) {
            at += 1;
            self.case(sheet, at, 0, line)?;
        }
        // Its titles stay in sight.
        sheet.set_freeze_panes(HEAD, 0)?;
        sheet.set_repeat_rows(0, HEAD - 1)?;
        Ok(())
    }

    /// Day by day, with a picture.
    fn days(&self, sheet: &mut Worksheet) -> Done {
        let Self { figures, looks, .. } = self;
        self.titles(sheet, &format!("Số lượt truy vấn theo ngày – {}", words::about(figures)))?;
        self.heads(sheet, HEAD, &["Ngày", "Lượt truy vấn", "Lượt truy vấn độc hại"])?;
        for (column, width) in [(0, 14), (1, 16), (2, 16)] {
            sheet.set_column_width(column, width)?;
        }
        sheet.set_row_height(HEAD, 34)?;
        Self::hold(sheet, HEAD, 0)?;
        let mut at = HEAD;
        for day in &figures.days {
            at += 1;
            let small = |number: i8| number.unsigned_abs();
            let year = u16::try_from(day.date.year()).unwrap_or(1900);
            let date = ExcelDateTime::from_ymd(year, small(day.date.month()), small(day.date.day()))?;
            sheet.write_datetime_with_format(at, 0, date, &looks.date)?;
            self.number(sheet, at, 1, day.queries)?;
            self.number(sheet, at, 2, day.hits)?;
        }
        if at > HEAD {
            let mut chart = Chart::new(ChartType::Column);
            let series = chart.add_series();
            series.set_name((words::DAYS, HEAD, 2));
            series.set_categories((words::DAYS, HEAD + 1, 0, at, 0));
            series.set_values((words::DAYS, HEAD + 1, 2, at, 2));
            chart.title().set_name("Lượt truy vấn độc hại theo ngày");
            chart.legend().set_hidden();
            chart.set_width(760).set_height(320);
            sheet.insert_chart(HEAD, 4, &chart)?;
        }
        Ok(())
    }

    /// What the figures mean, and what they do not have.
    fn notes(&self, sheet: &mut Worksheet) -> Done {
        let Self { figures, looks, .. } = self;
        self.titles(sheet, "Ghi chú về số liệu")?;
        for (column, width) in [(0, 42), (1, 60), (2, 16), (3, 46)] {
            sheet.set_column_width(column, width)?;
        }
        let mut at = HEAD;
        let line = |sheet: &mut Worksheet, at: u32, text: &str| -> Done {
            sheet.merge_range(at, 0, at, 3, text, &looks.wrapped)?;
            // Merged cells do not grow by themselves.
            sheet.set_row_height(at, height(text, 180))?;
            Ok(())
        };
        let lacks = words::lacks(figures);
        if !lacks.is_empty() {
            sheet.merge_range(at, 0, at, 3, "Số liệu chưa đầy đủ", &looks.head)?;
            for lack in &lacks {
                at += 1;
                line(sheet, at, lack)?;
            }
            at += 2;
        }
        sheet.write_string_with_format(at, 0, "Chỉ tiêu", &looks.head)?;
        sheet.merge_range(at, 1, at, 3, "Cách tính", &looks.head)?;
        let protection = PROTECTION.iter().filter(|_| self.has_protection()).copied();
        let meanings = COLUMNS.iter().map(|column| (column.heading, column.meaning)).chain(protection);
        for (heading, meaning) in meanings {
            at += 1;
            sheet.write_string_with_format(at, 0, heading, &looks.wrapped)?;
            sheet.merge_range(at, 1, at, 3, meaning, &looks.wrapped)?;
            sheet.set_row_height(at, height(meaning, 130))?;
        }
        at += 1;
        for general in words::GENERAL {
            at += 1;
            line(sheet, at, general)?;
        }
        if !figures.gaps.is_empty() {
            at += 2;
            self.heads(sheet, at, &GAP_COLUMNS)?;
            for gap in figures.gaps.iter().take(MOST_ROWS / 2) {
                at += 1;
                self.time(sheet, at, 0, gap.earliest)?;
                self.time(sheet, at, 1, gap.latest)?;
                self.number(sheet, at, 2, gap.count)?;
                self.text(sheet, at, 3, words::why(gap.why))?;
            }
        }
        Ok(())
    }
}

/// How high a row must be for a text in a cell so many characters wide.
fn height(text: &str, width: usize) -> f64 {
    let lines = text.chars().count().div_ceil(width).max(1);
    15.0 * f64::from(u32::try_from(lines).unwrap_or(1)) + 1.0
}

/// `B3` for row 2 and column 1, counted from 0.
fn place(row: u32, column: u16) -> String {
    let mut letters = String::new();
    let mut rest = column + 1;
    while rest > 0 {
        // Below 26.
        letters.insert(0, char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    format!("{letters}{}", row + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheets_have_names_that_excel_takes() {
        let mut names = Names::new();
        let mut check = |name: &str, expected: &str| {
            let found = names.find(name);
            assert_eq!(found, expected);
            assert!(found.encode_utf16().count() <= LONGEST_NAME);
        };
        check("Sở Y tế", "Sở Y tế");
        check("SỞ Y TẾ", "SỞ Y TẾ (2)");
        check("Ban Quản lý các khu chế xuất và công nghiệp", "Ban Quản lý các khu chế xuất và");
        check("Ban Quản lý các khu chế xuất và đô thị", "Ban Quản lý các khu chế xuấ (2)");
        check("[a]:b*c?d/e\\f", "a  b c d e f");
        check("'Sở'", "Sở");
        check("history", "history (2)");
        check("Ghi chú", "Ghi chú (2)");
        check("''", "Cơ quan");
        check("/", "Cơ quan (2)");
        check(&"😀".repeat(20), &"😀".repeat(15));
    }

    #[test]
    fn cells_by_their_letters() {
        assert_eq!(place(0, 0), "A1");
        assert_eq!(place(9, 25), "Z10");
        assert_eq!(place(0, 26), "AA1");
        assert_eq!(place(1, 701), "ZZ2");
        assert_eq!(place(1, 702), "AAA2");
    }
}
