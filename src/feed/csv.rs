//! CSV: records of fields, into the rows of a table (RFC 4180, and what is written for it).
//!
//! ```text
//! # comment                              also above the header, which may itself stand in one
//! "host","path","message"
//! "evil.example", "a, b", "c ""d"""      blanks behind a comma are no part of the field
//! ```
//!
//! Fields are divided by commas, semicolons, TABs or `|`, whichever suits the first lines best. A quoted
//! field may go on over a few lines.

use super::output::Output;
use super::table::Table;
use super::{Columns, Fault, Grammar};
use crate::tabular::delimited::{DIVIDERS, OpenQuote, fields};

/// Lines that are looked at to find what divides fields.
const HEAD: usize = 50;
/// Lines that one record may take.
const MAX_LINES: usize = 20;
/// Octets of them.
const MAX_OCTETS: usize = 256 * 1024;
/// Reads CSV.
pub(super) struct Reader<'a> {
    columns: &'a Columns,
    table: Table<'a>,
    divider: Option<char>,
    /// The first lines, until it is clear what divides their fields.
    head: Vec<(u64, String)>,
    /// The lines of a record whose quotes are still open.
    open: Vec<(u64, String)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(columns: &'a Columns) -> Self {
        Self { columns, table: Table::new(columns), divider: None, head: Vec::new(), open: Vec::new() }
    }
}

impl Grammar for Reader<'_> {
    fn line(&mut self, line: &str, out: &mut Output<'_>) {
        let Some(divider) = self.divider else {
            self.head.push((out.line, line.to_owned()));
            if self.head.len() >= HEAD {
                self.begin(out);
            }
            return;
        };
        self.next(divider, line, out);
    }

    fn end(&mut self, out: &mut Output<'_>) {
        if self.divider.is_none() {
            self.begin(out);
        }
        while !self.open.is_empty() {
            self.give_up(out);
        }
        self.table.end(out);
    }
}

impl Reader<'_> {
    /// Knows the divider, and takes the lines that waited for it.
    fn begin(&mut self, out: &mut Output<'_>) {
        let head = std::mem::take(&mut self.head);
        let divider = divider(self.columns, &head);
        self.divider = Some(divider);
        let now = out.line;
        for (number, line) in &head {
            out.line = *number;
            self.next(divider, line, out);
        }
        out.line = now;
    }

    fn next(&mut self, divider: char, line: &str, out: &mut Output<'_>) {
        if self.open.is_empty() {
            if let Some(comment) = line.trim_start().strip_prefix('#') {
                return self.comment(divider, comment, out);
            }
            match fields(line, divider) {
                Ok(fields) => self.table.row(fields, out),
                Err(OpenQuote) => self.open.push((out.line, line.to_owned())),
            }
            return;
        }
        self.open.push((out.line, line.to_owned()));
        let record = self.open.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n");
        if let Ok(fields) = fields(&record, divider) {
            let now = std::mem::replace(&mut out.line, self.open[0].0);
            self.open.clear();
            self.table.row(fields, out);
            out.line = now;
        } else if self.open.len() >= MAX_LINES || record.len() > MAX_OCTETS {
            self.give_up(out);
        }
    }

    /// A comment may be the header.
    fn comment(&mut self, divider: char, comment: &str, out: &mut Output<'_>) {
        if self.table.is_seeking()
            && let Ok(fields) = fields(comment, divider)
            && fields.len() > 1
            && Table::is_header(self.columns, &fields)
        {
            self.table.row(fields, out);
        }
    }

    /// The quote was no quote: its line is the fault, and the lines behind it are read again.
    fn give_up(&mut self, out: &mut Output<'_>) {
        let Some(divider) = self.divider else { return };
        let mut lines = std::mem::take(&mut self.open).into_iter();
        let now = out.line;
        if let Some((number, line)) = lines.next() {
            out.line = number;
            out.fault(Fault::Quote, &line);
        }
        for (number, line) in lines {
            out.line = number;
            self.next(divider, &line, out);
        }
        out.line = now;
    }
}

/// What divides the fields of these lines: what makes a header of one of them, else what most lines
/// have as often as each other.
fn divider(columns: &Columns, lines: &[(u64, String)]) -> char {
    let mut best = (0, DIVIDERS[0]);
    for divider in DIVIDERS {
        let mut widths = std::collections::BTreeMap::<usize, usize>::new();
        let mut score = 0;
        for (_, line) in lines {
            let comment = line.trim_start().strip_prefix('#');
            let Ok(fields) = fields(comment.unwrap_or(line), divider) else { continue };
            if fields.len() > 1 && Table::is_header(columns, &fields) {
                score = 2 * HEAD;
            }
            if fields.len() > 1 && comment.is_none() {
                *widths.entry(fields.len()).or_default() += 1;
            }
        }
        score += widths.into_values().max().unwrap_or(0);
        if score > best.0 {
            best = (score, divider);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use crate::feed::tests::{as_is, check, check_read};
    use crate::feed::{Format, Reading};

    #[test]
    fn headings_tell_what_columns_hold() {
        let check = |text: &str, expected: &[&str]| check(Format::Csv, text, expected);
        check("domain,family\nevil.example,emotet\n", &["2 name evil.example subtree family=emotet"]);
        check(
            "Danh sách, tháng 8\nSTT;Tên miền;Địa chỉ IP;Mã độc;Mức độ\n1;evil[.]vn;192.0.2.1;emotet;Cao\n2;;-;x;\n",
            &[
                "3 name evil.vn subtree family=emotet severity=high",
                "3 ip 192.0.2.1 family=emotet severity=high",
                "4! NoValue",
            ],
        );
        check(
            "# a comment\n# \"id\",\"ioc_value\",\"ioc_type\",\"malware_printable\"\n\"1\", \"192.0.2.1:81\", \"ip:port\", \"A, B\"\r\n\
             \"2\", \"abcdef\", \"md5_hash\", \"\"\n\"3\", \"evil.example\", \"url\", \"\"",
            &["3 ip 192.0.2.1 family=A, B", "4! Kind(\"md5_hash\")", "5 url evil.example"],
        );
        check(
            "host,path,message\nevil.example,,x\nevil.example,/a,x\nhost,path,message\n",
            &["2 name evil.example subtree", "3 url evil.example/a"],
        );
        check(
            "date,value\r2022-01-01,a.example\r2022-01-01,b.example\r",
            &["2 name a.example subtree", "3 name b.example subtree"],
        );
        check("domain\tip\na.example\t192.0.2.1\n", &["2 name a.example subtree", "2 ip 192.0.2.1"]);
        check(
            "domain,note\n\"a.example, b.example\",x\n\"a.example and more\",y",
            &["2 name a.example subtree", "2 name b.example subtree", "3! Name(Character(' '))"],
        );
    }

    #[test]
    fn without_a_header_the_cells_tell() {
        let check = |text: &str, expected: &[&str]| check(Format::Csv, text, expected);
        check(
            "2026-07-23 01:31:00,who,domain,evil.example,#phishing,https://x.example/1\n\
             2026-07-23 01:31:00,who,url,https://evil.example,#phishing,https://x.example/1\n\
             2026-07-23 01:31:00,who,sha256,abcd,,https://x.example/2\n",
            &["1 name evil.example subtree", "2 url https://evil.example", "3! Kind(\"sha256\")"],
        );
        check("1,http://x.example/,evil.example\n", &["1 name evil.example subtree"]);
        check(
            "a.example,192.0.2.1,Emotet\nb.example,,Emotet\n,192.0.2.3,x\n",
            &["1 name a.example subtree", "1 ip 192.0.2.1", "2 name b.example subtree", "3 ip 192.0.2.3"],
        );
        check(
            "a.example, b.example\nc.example\n",
            &["1 name a.example subtree", "1 name b.example subtree", "2 name c.example subtree"],
        );
        let long = format!("{}d.example, e.example, f.example\n", "a.example, b.example\n".repeat(60));
        let mut parsed = crate::feed::Parsed::default();
        crate::feed::parse(long.as_bytes(), &as_is(Format::Csv), &mut parsed).unwrap();
        assert_eq!(parsed.indicators.len(), 123);
        check("1,two,three\n", &["1! NoValueColumn"]);
        check("\n\n", &[]);
    }

    #[test]
    fn headings_nobody_understands_leave_no_choice() {
        let check = |text: &str, expected: &[&str]| check(Format::Csv, text, expected);
        check("STT,Cái này,Cái kia\n1,pc1.agency.example,evil.example\n", &["1! NoValueColumn"]);
        check("STT,Cái này,Cái kia\n1,pc1.agency.example,\"a.example; b.example\"\n", &["1! NoValueColumn"]);
        check("STT,Cái này,Cái kia\n1,pc1.agency.example,http://evil.example/\n", &["1! NoValueColumn"]);
        check("Loại gì,Cái này,Cái kia\nip,192.0.2.9,192.0.2.1\n", &["1! NoValueColumn"]);
        check("STT,Danh sách tên miền\n1,evil.example\n", &["2 name evil.example subtree"]);
        check(
            "Danh sách tên miền,tháng 8\nSTT,Tên miền,Mã độc\n1,evil.example,Emotet\n",
            &["3 name evil.example subtree family=Emotet"],
        );
        // One column alone leaves no doubt, and what stands beside it is known by its heading.
        check(
            "STT,Cái kia,Mã độc,Mức độ,Hết hạn\n1,evil.example,Emotet,Cao,2026-12-01\n",
            &["2 name evil.example subtree family=Emotet severity=high expires=1796169600"],
        );
        check(
            "No,Infected machine,Whatever,Malware\n1,pc1.agency.example,evil.example,Emotet\n",
            &["2 name evil.example subtree family=Emotet"],
        );
        check(
            "Loại gì,Cái kia,Máy bị nhiễm,Mã độc\ndomain,evil.example,pc1.agency.example,Emotet\nip,-,192.0.2.9,x\nmd5,ab,-,x\n",
            &["2 name evil.example subtree family=Emotet", "3! NoValue", "4! Kind(\"md5\")"],
        );
    }

    #[test]
    fn columns_may_be_told() {
        let check = |columns: &str, text: &str, expected: &[&str]| {
            let columns = columns.parse().unwrap();
            check_read(&Reading { columns, now: 0, ..as_is(Format::Csv) }, text.as_bytes(), expected);
        };
        check(
            "value=Bad Host,family=message,expires=until,severity=4",
            "x,bad_host,message,grade,until\n1,evil.example,emotet,low,1970-01-02\n2,old.example,,,1969-01-01",
            &["2 name evil.example subtree family=emotet severity=low expires=172800", "3! Expired"],
        );
        check("value=2", "x,host\n1,evil.example\n", &["2 name evil.example subtree"]);
        check("value=9", "1,evil.example\n", &["1! NoValue"]);
        check("value=nothing", "x,host\n1,evil.example\n", &["1! NoColumn(\"nothing\")"]);
    }

    #[test]
    fn ends_that_cannot_be_read_are_told() {
        let text = "Tên miền,Ngày hết hạn,Thu hồi\na.example,05/01/2001 10:00,\nb.example,05-01-2001,\n\
                    c.example,2001-1-5,\nd.example,12/31/2001,\ne.example,Vĩnh viễn,không\nf.example,,có\n";
        let reading = Reading { now: 1_000_000_000_000_000, ..as_is(Format::Csv) };
        check_read(
            &reading,
            text.as_bytes(),
            &[
                "2! Expired",
                "3! Expired",
                "4! Expired",
                "5 name d.example subtree",
                "5! Expiry(\"12/31/2001\")",
                "6 name e.example subtree",
                "7! Revoked",
            ],
        );
    }

    #[test]
    fn quotes_that_never_close_cost_their_line() {
        let check = |text: &str, expected: &[&str]| check(Format::Csv, text, expected);
        check(
            "domain,note\na.example,\"two\nlines\"\nb.example,x\n",
            &["2 name a.example subtree", "4 name b.example subtree"],
        );
        check(
            "domain,note\na.example,\"open\nb.example,x\nc.example,y",
            &["2! Quote", "3 name b.example subtree", "4 name c.example subtree"],
        );
    }
}
