//! Tables: rows of cells into indicators. For CSV, spreadsheets and JSON records alike.
//!
//! ```text
//!                DANH SÁCH TÊN MIỀN ĐỘC HẠI                  titles, skipped
//! STT │ Tên miền      │ Địa chỉ IP │ Mã độc │ Hết hạn       the header tells what the columns hold
//!  1  │ evil[.]vn     │ 192.0.2.1  │ emotet │ 01/12/2026    each value of a row is an indicator
//! ```
//!
//! Columns are those of the configuration, else those that a known heading names, else those whose cells look
//! like names and addresses: all of them where no row of headings stands above, but only one where headings do
//! that nobody understands, since another may be the victims'. Cells are read as tokens, with the kind that the
//! row says; where the cells lie in a file is not known here.

use super::output::{Output, Traits, excerpt};
use super::words::{self, Heading, Kind};
use super::{Column, Columns, Fault, Role, Value, is_family, token};

/// Rows that may stand above the header, and rows that are looked at where there is none.
const HEAD: usize = 50;

/// Reads the rows of one table.
pub(super) struct Table<'a> {
    columns: &'a Columns,
    state: State,
}

enum State {
    /// The rows so far, with their lines, none of which is the header.
    Seeking(Vec<(u64, Vec<String>)>),
    Known(Layout),
    /// A column that the configuration names is not there.
    Unknown,
}

/// Which columns hold what, counted from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Layout {
    /// The header, to know it again.
    header: Vec<String>,
    values: Vec<usize>,
    /// Whether the cells behind those are values too: rows of nothing else, each as long as it likes.
    is_list: bool,
    kind: Option<usize>,
    family: Option<usize>,
    severity: Option<usize>,
    expires: Option<usize>,
    path: Option<usize>,
    revoked: Option<usize>,
    deleted: Option<usize>,
}

impl<'a> Table<'a> {
    pub(super) fn new(columns: &'a Columns) -> Self {
        Self { columns, state: State::Seeking(Vec::new()) }
    }

    /// Whether a row names its columns, by what the configuration or the usual headings say.
    pub(super) fn is_header(columns: &Columns, cells: &[String]) -> bool {
        Layout::of_header(columns, cells).is_some()
    }

    /// Whether nobody knows yet what the columns hold.
    pub(super) fn is_seeking(&self) -> bool {
        matches!(self.state, State::Seeking(_))
    }

    /// Takes the next row, which stands on the current line.
    pub(super) fn row(&mut self, cells: Vec<String>, out: &mut Output<'_>) {
        match &mut self.state {
            State::Known(layout) => layout.read(&cells, out),
            State::Unknown => {}
            State::Seeking(rows) => {
                if let Some(layout) = Layout::of_header(self.columns, &cells) {
                    self.state = State::Known(layout);
                    return;
                }
                rows.push((out.line, cells));
                if rows.len() >= HEAD {
                    self.settle(out);
                }
            }
        }
    }

    /// There are no more rows.
    pub(super) fn end(&mut self, out: &mut Output<'_>) {
        if self.is_seeking() {
            self.settle(out);
        }
    }

    /// Does without a header.
    fn settle(&mut self, out: &mut Output<'_>) {
        let State::Seeking(rows) = std::mem::replace(&mut self.state, State::Unknown) else { return };
        let is_blank = |cells: &[String]| cells.iter().all(|cell| cell.trim().is_empty());
        if rows.iter().all(|(_, cells)| is_blank(cells)) {
            return;
        }
        let now = out.line;
        match Layout::of_rows(self.columns, &rows) {
            Ok(layout) => {
                for (line, cells) in rows.iter().filter(|(_, cells)| !layout.is_heading(cells)) {
                    out.line = *line;
                    layout.read(cells, out);
                }
                self.state = State::Known(layout);
            }
            Err(fault) => {
                let first = rows.iter().find(|(_, cells)| !is_blank(cells));
                out.line = first.map_or(1, |(line, _)| *line);
                out.fault(fault, &first.map(|(_, cells)| cells.join(",")).unwrap_or_default());
            }
        }
        out.line = now;
    }
}

/// Reads one record whose cells have their headings with them; `false` where none of them is a value.
pub(super) fn record(columns: &Columns, fields: Vec<(String, String)>, out: &mut Output<'_>) -> bool {
    let (headings, cells): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    match Layout::of_header(columns, &headings) {
        Some(layout) => {
            layout.read(&cells, out);
            true
        }
        None => false,
    }
}

impl Layout {
    /// What the header's words say; `None` when this is no header.
    fn of_header(columns: &Columns, cells: &[String]) -> Option<Self> {
        let mut layout = Self { header: cells.to_vec(), ..Self::default() };
        if !columns.is_empty() {
            return layout.of_configured(columns, cells);
        }
        // A row that lists something may hold the word `domain` too, as the kind of it.
        if cells.iter().any(|cell| is_data(cell.trim())) {
            return None;
        }
        // A title above the table speaks of names too.
        let mut filled = filled(cells);
        let is_title = match (filled.next(), filled.next(), filled.next()) {
            (Some(only), None, _) => !words::is_whole_heading(only),
            (Some(first), Some(second), None) => words::is_title(first) || words::is_title(second),
            _ => false,
        };
        if is_title {
            return None;
        }
        layout.take_headings();
        (!layout.values.is_empty()).then_some(layout)
    }

    /// Takes what the words of the header say.
    fn take_headings(&mut self) {
        let mut lesser = None;
        for at in 0..self.header.len() {
            match words::heading(&self.header[at]) {
                None | Some(Heading::Other) => {}
                Some(Heading::Role(Role::Value)) => self.values.push(at),
                Some(Heading::Role(role)) => {
                    self.place(role).get_or_insert(at);
                }
                Some(Heading::LesserFamily) => lesser = lesser.or(Some(at)),
                Some(Heading::Path) => self.path = self.path.or(Some(at)),
                Some(Heading::Revoked) => self.revoked = Some(at),
                Some(Heading::Deleted) => self.deleted = Some(at),
            }
        }
        self.family = self.family.or(lesser);
    }

    /// The columns that the configuration names; `None` where one of its headings is not in this row.
    fn of_configured(mut self, columns: &Columns, cells: &[String]) -> Option<Self> {
        let mut has_heading = false;
        for (role, column) in columns.iter() {
            let at = match column {
                Column::Number(number) => usize::from(*number) - 1,
                Column::Heading(heading) => {
                    has_heading = true;
                    let heading = words::bare(heading);
                    cells.iter().position(|cell| words::bare(cell) == heading)?
                }
            };
            self.set(role, at);
        }
        // What is told is what the columns hold, not that what was taken back counts.
        let find = |heading| cells.iter().position(|cell| words::heading(cell) == Some(heading));
        (self.revoked, self.deleted) = (find(Heading::Revoked), find(Heading::Deleted));
        has_heading.then_some(self)
    }

    /// What the cells look like.
    fn of_rows(columns: &Columns, rows: &[(u64, Vec<String>)]) -> Result<Self, Fault> {
        let mut layout = Self::default();
        if !columns.is_empty() {
            for (role, column) in columns.iter() {
                match column {
                    Column::Number(number) => layout.set(role, usize::from(*number) - 1),
                    Column::Heading(heading) => return Err(Fault::NoColumn(excerpt(heading))),
                }
            }
            return Ok(layout);
        }
        let (above, below) = rows.split_at(first_listing(rows).ok_or(Fault::NoValueColumn)?);
        let width = below.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        layout.header = headings(above);
        let count = |is_one: &dyn Fn(&[String], &str) -> bool, at: usize| {
            let cells = below.iter().filter_map(|(_, cells)| Some((cells, cells.get(at)?)));
            cells.filter(|(cells, cell)| is_one(cells, cell.trim())).count()
        };
        let kinds = |at| count(&|_, cell| words::kind(cell).is_some(), at);
        let kind = best(width, kinds).filter(|at| 2 * kinds(*at) >= below.len());
        if kind.is_some_and(|kind| layout.heading(kind).is_some_and(|it| words::kind(it).is_some())) {
            // Another row, of things that no query shows.
            layout.header.clear();
        }
        layout.take_headings();
        let told = std::mem::take(&mut layout.values);
        // What a heading says to hold something else lists nothing.
        let is_open = |at: usize| match told.is_empty() {
            true => !layout.heading(at).is_some_and(words::lists_nothing),
            false => told.contains(&at),
        };
        let fits = |cells: &[String], cell: &str| match kind.and_then(|at| words::kind(cells.get(at)?)) {
            Some(Kind::Host) => is_host(cell),
            Some(Kind::Url) => is_url(cell),
            Some(Kind::Unseen) => false,
            None => kind.is_none() && (is_host(cell) || is_url(cell)),
        };
        let filled = |at| count(&|_, cell| !words::is_nothing(cell), at);
        let of_most = |is_one: &dyn Fn(&[String], &str) -> bool| -> Vec<usize> {
            let is_most = |at: &usize| 2 * count(is_one, *at) > filled(*at);
            (0..width).filter(|at| is_open(*at)).filter(is_most).collect()
        };
        let rivals = of_most(&fits);
        if told.is_empty() && rivals.len() > 1 && rivals.iter().any(|at| layout.heading(*at).is_some()) {
            return Err(Fault::NoValueColumn);
        }
        let hosts = if kind.is_none() { of_most(&|_, cell| is_host(cell)) } else { Vec::new() };
        let is_list = hosts.len() > 1 && (0..width).all(|at| filled(at) == 0 || hosts.contains(&at));
        let mut values = hosts;
        if values.is_empty() {
            let best = |is_one: &dyn Fn(&[String], &str) -> bool| {
                best(width, |at| if is_open(at) { count(is_one, at) } else { 0 })
            };
            let value = if kind.is_some() { None } else { best(&|_, cell| is_host(cell)) };
            values.push(value.or_else(|| best(&fits)).ok_or(Fault::NoValueColumn)?);
        }
        layout.values = values;
        layout.kind = kind.or(layout.kind);
        layout.is_list = is_list && layout.header.is_empty();
        Ok(layout)
    }

    /// What stands above this column.
    fn heading(&self, at: usize) -> Option<&str> {
        self.header.get(at).map(String::as_str).filter(|heading| !heading.is_empty())
    }

    /// Whether the columns that are known by their numbers have headings in this row.
    fn is_heading(&self, cells: &[String]) -> bool {
        let heading = self.values.first().and_then(|at| words::heading(cells.get(*at)?));
        heading == Some(Heading::Role(Role::Value))
    }

    fn set(&mut self, role: Role, at: usize) {
        match role {
            Role::Value => self.values = vec![at],
            role => *self.place(role) = Some(at),
        }
    }

    fn place(&mut self, role: Role) -> &mut Option<usize> {
        match role {
            Role::Value | Role::Type => &mut self.kind,
            Role::Family => &mut self.family,
            Role::Severity => &mut self.severity,
            Role::Expires => &mut self.expires,
        }
    }

    fn read(&self, cells: &[String], out: &mut Output<'_>) {
        let cell = |at: Option<usize>| at.and_then(|at| cells.get(at)).map(|cell| cell.trim());
        let filled = |at: Option<usize>| cell(at).filter(|text| !words::is_nothing(text));
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return;
        }
        let kind = match filled(self.kind) {
            None => None,
            Some(word) => match words::kind(word) {
                Some(Kind::Unseen) => return out.fault(Fault::Kind(excerpt(word)), &cells.join(",")),
                kind => kind,
            },
        };
        for (at, fault) in [(self.revoked, Fault::Revoked), (self.deleted, Fault::Deleted)] {
            if filled(at).is_some_and(words::is_yes) {
                return out.fault(fault, &cells.join(","));
            }
        }
        let expires = filled(self.expires);
        let traits = Traits {
            family: filled(self.family).filter(|family| is_family(family)).map(|family| out.family(family)),
            severity: filled(self.severity).and_then(words::severity),
            expires: expires.and_then(words::time),
        };
        // The header again, whole or where its cells go down over two rows.
        if self
            .values
            .iter()
            .all(|&at| self.heading(at).is_some_and(|it| cells.get(at).is_some_and(|cell| cell == it)))
        {
            return;
        }
        let mut has_value = false;
        let behind = self.values.last().filter(|_| self.is_list).map_or(0..0, |last| last + 1..cells.len());
        for at in self.values.iter().copied().chain(behind) {
            let Some(text) = filled(Some(at)) else { continue };
            has_value = true;
            // A path of `/` alone is one too: it is a URL that is listed.
            match cell(self.path).filter(|path| !path.is_empty()) {
                Some(path) => {
                    let url =
                        token::read(&format!("{text}{}{path}", if path.starts_with('/') { "" } else { "/" }));
                    self.hand_on(url, text, &traits, out);
                }
                None => self.values_of(text, kind, &traits, out),
            }
        }
        if !has_value {
            out.fault(Fault::NoValue, &cells.join(","));
        } else if traits.expires.is_none()
            && let Some(text) = expires.filter(|text| !words::is_endless(text))
        {
            out.fault(Fault::Expiry(excerpt(text)), &cells.join(","));
        }
    }

    /// Reads a cell: one value, or several if each of them is one.
    fn values_of(&self, text: &str, kind: Option<Kind>, traits: &Traits, out: &mut Output<'_>) {
        let read = if kind == Some(Kind::Url) { token::url_of } else { token::read };
        if kind != Some(Kind::Url) && parts(text).next() != Some(text) {
            let values: Vec<_> = parts(text).map(|part| (part, read(part))).collect();
            if values.iter().all(|(_, value)| value.is_ok()) {
                for (part, value) in values {
                    self.hand_on(value, part, traits, out);
                }
                return;
            }
        }
        self.hand_on(read(text), text, traits, out);
    }

    fn hand_on(&self, value: Result<Value, Fault>, text: &str, traits: &Traits, out: &mut Output<'_>) {
        match value {
            Ok(value) => out.indicator(value, traits.clone(), None),
            Err(fault) => out.fault(fault, text),
        }
    }
}

/// What divides the values of one cell.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| char.is_whitespace() || matches!(char, ',' | ';')).filter(|part| !part.is_empty())
}

/// Whether this is the heading of the rows' numbers: it could be a name.
fn is_numbering(cell: &str) -> bool {
    ["S.No", "Sr.No", "Sl.No"].iter().any(|heading| cell.eq_ignore_ascii_case(heading))
}

fn is_data(cell: &str) -> bool {
    !is_numbering(cell) && (token::read(cell).is_ok() || words::time(cell).is_some())
}

/// Whether a cell is a name, an address or a network, or several of them.
fn is_host(cell: &str) -> bool {
    let is_one = |part| matches!(token::read(part), Ok(Value::Name(..) | Value::Ip(_) | Value::Net(_)));
    parts(cell).next().is_some() && parts(cell).all(is_one)
}

fn is_url(cell: &str) -> bool {
    matches!(token::read(cell), Ok(Value::Url(_)))
}

/// The cells of a row that hold something.
fn filled(cells: &[String]) -> impl Iterator<Item = &str> {
    cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty())
}

/// The first row that lists something and is as wide as a row; a title may name somebody's web site.
fn first_listing(rows: &[(u64, Vec<String>)]) -> Option<usize> {
    let width = rows.iter().map(|(_, cells)| filled(cells).count()).max().unwrap_or(0);
    let is_listing = |cells: &[String]| {
        filled(cells).count() >= width.min(2)
            && filled(cells).any(|cell| !is_numbering(cell) && (is_host(cell) || is_url(cell)))
    };
    rows.iter().position(|(_, cells)| is_listing(cells))
}

/// The headings right above the rows that list something, the lower ones of a header of several rows.
fn headings(above: &[(u64, Vec<String>)]) -> Vec<String> {
    let is_heading = |cell: &str| cell.contains(char::is_alphabetic) && !is_data(cell);
    let is_header = |cells: &[String]| filled(cells).count() >= 2 && filled(cells).all(is_heading);
    let rows = above.iter().rev().map(|(_, cells)| cells).skip_while(|cells| filled(cells).next().is_none());
    let mut headings = Vec::<String>::new();
    for cells in rows.take_while(|cells| is_header(cells)) {
        headings.resize(headings.len().max(cells.len()), String::new());
        for (heading, cell) in headings.iter_mut().zip(cells).filter(|(heading, _)| heading.is_empty()) {
            cell.clone_into(heading);
        }
    }
    headings
}

/// The column of which there is most, the first of several; `None` where none has any.
fn best(width: usize, count: impl Fn(usize) -> usize) -> Option<usize> {
    let mut best = (0, None);
    for at in 0..width {
        let count = count(at);
        if count > best.0 {
            best = (count, Some(at));
        }
    }
    best.1
}
