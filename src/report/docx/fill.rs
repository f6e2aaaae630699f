//! Puts values into the place holders of one part of a Word document.
//!
//! A place holder is `{{name}}` within a paragraph. Word splits what people type over any number of runs (a spelling mark, a saved
//! revision), so names are looked for in a paragraph's text as a whole: the value takes the place of the first piece, the others go.
//! Everything else stays octet by octet.
//!
//! A row of a table with a place holder of a list (`{{co_quan.ten}}`) comes once for each of its items; a paragraph with one of lines
//! (`{{noi_nhan}}`) once for each line. Where there is none, such a paragraph goes, unless its cell would be left empty, which Word takes
//! for damage.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::TemplateError;
use super::fields::{Field, Values};

/// Elements that may be open at once where something of ours is.
const MOST_DEPTH: usize = 200;
/// Characters of a name.
const LONGEST_NAME: usize = 64;

/// A text of a run: the octets between `<w:t>` and `</w:t>`, and where an attribute can be added to the former.
#[derive(Debug, Clone)]
struct Text {
    content: Range<usize>,
    attribute: Option<usize>,
}

/// A paragraph, and where it is.
#[derive(Debug)]
struct Paragraph {
    range: Range<usize>,
    texts: Vec<Text>,
    row: Option<usize>,
    cell: Option<usize>,
    has_section: bool,
}

/// Where things are in a part.
#[derive(Debug, Default)]
struct Outline {
    paragraphs: Vec<Paragraph>,
    rows: Vec<Range<usize>>,
    /// How many paragraphs each cell has.
    cells: Vec<usize>,
}

/// What is done to a part of the text.
#[derive(Debug)]
enum Mark {
    /// It is replaced by a value.
    Value(Range<usize>, What),
    /// It comes as often as a list has items.
    Repeat(Range<usize>, List),
}

#[derive(Debug, Clone)]
enum What {
    Text(String),
    Line(String),
    Cell(&'static str, &'static str),
}

#[derive(Debug, Clone)]
enum List {
    Rows(&'static str),
    /// By the name, and what is left where there are none.
    Lines(String, Emptied),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emptied {
    Gone,
    Blank,
}

impl Mark {
    fn range(&self) -> &Range<usize> {
        match self {
            Self::Value(range, _) | Self::Repeat(range, _) => range,
        }
    }
}

/// Fills a part.
///
/// # Errors
/// [`TemplateError`]: it is no XML, has an unknown place holder, or becomes larger than `most`.
pub(super) fn fill(part: &str, xml: &str, values: &Values, most: usize) -> Result<String, TemplateError> {
    let outline = outline(part, xml)?;
    let mut marks = Vec::new();
    let mut of_rows: Vec<Option<(&'static str, String)>> = vec![None; outline.rows.len()];
    for paragraph in &outline.paragraphs {
        let mut line: Option<String> = None;
        let mut changed = vec![false; paragraph.texts.len()];
        for holder in holders(xml, &paragraph.texts)? {
            let field = values.find(&holder.name).ok_or_else(|| unknown(&holder.name, values))?;
            let what = match field {
                Field::Single(value) => What::Text(value.to_owned()),
                Field::Lines(_) => {
                    if let Some(other) = line.as_ref().filter(|other| **other != holder.name) {
                        return Err(TemplateError::TwoLists(other.clone(), holder.name));
                    }
                    line = Some(holder.name.clone());
                    What::Line(holder.name.clone())
                }
                Field::Row { list, column } => {
                    let row = paragraph.row.ok_or_else(|| TemplateError::NoRow(holder.name.clone()))?;
                    match &of_rows[row] {
                        Some((known, other)) if *known != list => {
                            return Err(TemplateError::TwoLists(other.clone(), holder.name));
                        }
                        _ => of_rows[row] = Some((list, holder.name.clone())),
                    }
                    What::Cell(list, column)
                }
            };
            let mut what = Some(what);
            for (text, range) in holder.pieces {
                changed[text] = true;
                // The first piece takes it all.
                let what = what.take().unwrap_or(What::Text(String::new()));
                marks.push(Mark::Value(range, what));
            }
        }
        // Blanks at the ends of a value count.
        for (text, changed) in paragraph.texts.iter().zip(changed) {
            if let Some(at) = text.attribute.filter(|_| changed) {
                marks.push(Mark::Value(at..at, What::Text(" xml:space=\"preserve\"".to_owned())));
            }
        }
        if let Some(name) = line {
            let is_needed =
                paragraph.has_section || paragraph.cell.is_some_and(|cell| outline.cells[cell] == 1);
            let emptied = if is_needed { Emptied::Blank } else { Emptied::Gone };
            marks.push(Mark::Repeat(paragraph.range.clone(), List::Lines(name, emptied)));
        }
    }
    for (range, of) in outline.rows.iter().zip(of_rows) {
        if let Some((list, _)) = of {
            marks.push(Mark::Repeat(range.clone(), List::Rows(list)));
        }
    }
    // What holds others comes before them.
    marks.sort_by_key(|mark| (mark.range().start, std::cmp::Reverse(mark.range().end)));
    let mut writing = Writing { xml, values, marks: &marks, out: String::with_capacity(xml.len() * 2), most };
    writing.write(0..xml.len(), 0..marks.len(), Item::default())?;
    Ok(writing.out)
}

/// The nearest known name may be what was meant.
fn unknown(name: &str, values: &Values) -> TemplateError {
    let likeness = |known: &String| strsim::normalized_damerau_levenshtein(known, name);
    let names = values.names().into_iter();
    let nearest = names
        .map(|known| (likeness(&known), known))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    TemplateError::Unknown { name: name.to_owned(), nearest: nearest.map(|(_, known)| known) }
}

/// Which item of a list, and which line, is being written.
#[derive(Debug, Clone, Copy, Default)]
struct Item {
    row: usize,
    line: Option<usize>,
}

struct Writing<'a> {
    xml: &'a str,
    values: &'a Values,
    marks: &'a [Mark],
    out: String,
    most: usize,
}

impl Writing<'_> {
    /// Writes a range, which these marks are within.
    fn write(&mut self, range: Range<usize>, marks: Range<usize>, item: Item) -> Result<(), TemplateError> {
        let (mut at, mut next) = (range.start, marks.start);
        while next < marks.end {
            let mark = &self.marks[next];
            let of_mark = mark.range().clone();
            self.put(&self.xml[at..of_mark.start])?;
            at = of_mark.end;
            next += 1;
            match mark {
                Mark::Value(_, What::Text(text)) if of_mark.is_empty() => self.put(text)?,
                Mark::Value(_, what) => {
                    let text = self.text(what, item).to_owned();
                    self.put(&quick_xml::escape::escape(text.as_str()))?;
                }
                Mark::Repeat(_, list) => {
                    // Those within are written with it.
                    let end = next
                        + self.marks[next..marks.end]
                            .iter()
                            .take_while(|within| within.range().end <= of_mark.end)
                            .count();
                    for item in self.items(list, item) {
                        self.write(of_mark.clone(), next..end, item)?;
                    }
                    next = end;
                }
            }
        }
        self.put(&self.xml[at..range.end])
    }

    fn items(&self, list: &List, item: Item) -> Vec<Item> {
        match list {
            List::Rows(name) => (0..self.values.len(name)).map(|row| Item { row, line: None }).collect(),
            List::Lines(name, emptied) => match self.values.find(name) {
                Some(Field::Lines(lines)) if !lines.is_empty() => {
                    (0..lines.len()).map(|line| Item { line: Some(line), ..item }).collect()
                }
                _ if *emptied == Emptied::Blank => vec![Item { line: None, ..item }],
                _ => Vec::new(),
            },
        }
    }

    fn text<'t>(&'t self, what: &'t What, item: Item) -> &'t str {
        match what {
            What::Text(text) => text,
            What::Cell(list, column) => self.values.cell(list, item.row, column),
            What::Line(name) => match (self.values.find(name), item.line) {
                (Some(Field::Lines(lines)), Some(line)) => lines.get(line).map_or("", String::as_str),
                _ => "",
            },
        }
    }

    fn put(&mut self, text: &str) -> Result<(), TemplateError> {
        if self.out.len() + text.len() > self.most {
            return Err(TemplateError::TooMuch("64 MiB of text when it is filled"));
        }
        self.out.push_str(text);
        Ok(())
    }
}

/// A place holder, and the octets that it takes: of which text, and where.
struct Holder {
    name: String,
    pieces: Vec<(usize, Range<usize>)>,
}

/// The place holders of a paragraph.
fn holders(xml: &str, texts: &[Text]) -> Result<Vec<Holder>, TemplateError> {
    // Each character with its text and octets: `&amp;` is one character and five octets.
    let mut letters: Vec<(char, usize, Range<usize>)> = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let mut at = text.content.start;
        while at < text.content.end {
            let rest = &xml[at..text.content.end];
            let reference = rest.strip_prefix('&').and_then(|rest| rest.find(';').map(|end| &rest[..end]));
            let (letter, len) = match (reference.and_then(resolved), rest.chars().next()) {
                (Some((letter, len)), _) => (letter, len),
                (None, Some(letter)) => (letter, letter.len_utf8()),
                (None, None) => break,
            };
            letters.push((letter, number, at..at + len));
            at += len;
        }
    }
    let mut found = Vec::new();
    let mut at = 0;
    let is_pair = |at: usize, brace: char| {
        letters.get(at).is_some_and(|it| it.0 == brace) && letters.get(at + 1).is_some_and(|it| it.0 == brace)
    };
    while at < letters.len() {
        if !is_pair(at, '{') {
            at += 1;
            continue;
        }
        let end = (at + 2..letters.len().min(at + 2 + LONGEST_NAME + 1)).find(|end| is_pair(*end, '}'));
        let Some(end) = end else {
            let text = letters[at..].iter().take(40).map(|it| it.0).collect();
            return Err(TemplateError::Open(text));
        };
        let name: String = letters[at + 2..end].iter().map(|it| it.0).collect();
        let mut pieces: Vec<(usize, Range<usize>)> = Vec::new();
        for (_, text, octets) in &letters[at..end + 2] {
            match pieces.last_mut() {
                Some((of, piece)) if of == text => piece.end = octets.end,
                _ => pieces.push((*text, octets.clone())),
            }
        }
        found.push(Holder { name: name.trim().to_owned(), pieces });
        at = end + 2;
    }
    Ok(found)
}

/// The character that a reference without its marks stands for, and how many octets it takes with them.
fn resolved(name: &str) -> Option<(char, usize)> {
    let text = match name.strip_prefix('#') {
        Some(number) => {
            let number = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            return char::from_u32(number).map(|letter| (letter, name.len() + 2));
        }
        None => quick_xml::escape::resolve_predefined_entity(name)?,
    };
    text.chars().next().map(|letter| (letter, name.len() + 2))
}

/// Finds paragraphs, their texts, rows and cells.
fn outline(part: &str, xml: &str) -> Result<Outline, TemplateError> {
    let wrong = |why: String| TemplateError::Xml { part: part.to_owned(), why };
    let mut reader = Reader::from_str(xml);
    let mut outline = Outline::default();
    // Paragraphs may stand within others, by way of text boxes.
    let (mut paragraphs, mut rows, mut cells): (Vec<usize>, Vec<usize>, Vec<usize>) =
        (Vec::new(), Vec::new(), Vec::new());
    let mut text: Option<(usize, Option<usize>)> = None;
    let mut start = position(&reader);
    loop {
        let event = reader.read_event().map_err(|error| wrong(error.to_string()))?;
        let end = position(&reader);
        match &event {
            Event::Eof => break,
            Event::DocType(_) => return Err(wrong("it has a document type".to_owned())),
            Event::Start(element) => match element.name().into_inner() {
                "w:p" => {
                    if let Some(cell) = cells.last() {
                        outline.cells[*cell] += 1;
                    }
                    paragraphs.push(outline.paragraphs.len());
                    outline.paragraphs.push(Paragraph {
                        range: start..start,
                        texts: Vec::new(),
                        row: rows.last().copied(),
                        cell: cells.last().copied(),
                        has_section: false,
                    });
                }
                "w:tr" => {
                    rows.push(outline.rows.len());
                    outline.rows.push(start..start);
                }
                "w:tc" => {
                    cells.push(outline.cells.len());
                    outline.cells.push(0);
                }
                "w:t" => {
                    let has_space = element
                        .attributes()
                        .with_checks(false)
                        .flatten()
                        .any(|attribute| attribute.key.into_inner() == "xml:space");
                    // Before the mark that ends it.
                    text = Some((end, Some(end - 1).filter(|_| !has_space)));
                }
                "w:sectPr" => {
                    if let Some(paragraph) = paragraphs.last() {
                        outline.paragraphs[*paragraph].has_section = true;
                    }
                }
                _ => {}
            },
            Event::Empty(element) => match element.name().into_inner() {
                "w:p" => {
                    if let Some(cell) = cells.last() {
                        outline.cells[*cell] += 1;
                    }
                }
                "w:sectPr" => {
                    if let Some(paragraph) = paragraphs.last() {
                        outline.paragraphs[*paragraph].has_section = true;
                    }
                }
                _ => {}
            },
            Event::End(element) => match element.name().into_inner() {
                "w:p" => {
                    if let Some(paragraph) = paragraphs.pop() {
                        outline.paragraphs[paragraph].range.end = end;
                    }
                }
                "w:tr" => {
                    if let Some(row) = rows.pop() {
                        outline.rows[row].end = end;
                    }
                }
                "w:tc" => {
                    cells.pop();
                }
                "w:t" => {
                    if let (Some((from, attribute)), Some(paragraph)) = (text.take(), paragraphs.last()) {
                        let content = from..start;
                        outline.paragraphs[*paragraph].texts.push(Text { content, attribute });
                    }
                }
                _ => {}
            },
            _ => {}
        }
        if paragraphs.len() + rows.len() + cells.len() > MOST_DEPTH {
            return Err(TemplateError::TooMuch("200 paragraphs, rows and cells within each other"));
        }
        start = end;
    }
    if !paragraphs.is_empty() || !rows.is_empty() {
        return Err(wrong("a paragraph or a row does not end".to_owned()));
    }
    Ok(outline)
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}
