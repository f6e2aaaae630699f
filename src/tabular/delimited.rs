//! Delimited text: a record's fields (RFC 4180, and what is written for it).
//!
//! Which lines make a record, and what divides them, is for the reader of lines to know.

use super::MAX_COLUMNS;

/// What divides fields, the most usual first.
pub const DIVIDERS: [char; 4] = [',', ';', '\t', '|'];

/// A quoted field has no end.
#[derive(Debug, PartialEq, Eq)]
pub struct OpenQuote;

/// The fields of a record. Blanks around them, and the quotes, are no part of them.
///
/// # Errors
/// [`OpenQuote`]: the record goes on in the next line, or the quote is none.
pub fn fields(record: &str, divider: char) -> Result<Vec<String>, OpenQuote> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        // A TAB that divides is no blank.
        rest = rest.trim_start_matches(|char: char| char != divider && matches!(char, ' ' | '\t'));
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted, divider)?,
            None => {
                let end = rest.find(divider).unwrap_or(rest.len());
                (rest[..end].trim_end().to_owned(), &rest[end..])
            }
        };
        if fields.len() < MAX_COLUMNS {
            fields.push(field);
        }
        match after.strip_prefix(divider) {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// A quoted field and what follows its closing quote.
fn unquoted(quoted: &str, divider: char) -> Result<(String, &str), OpenQuote> {
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"').ok_or(OpenQuote)?;
        field.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            rest = after;
            continue;
        }
        let next = after.trim_start_matches(|char: char| char != divider && char.is_whitespace());
        if next.is_empty() || next.starts_with(divider) {
            return Ok((field, next));
        }
        // A quote within a quoted field that nobody doubled.
        field.push('"');
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_fields() {
        fn check(record: &str, divider: char, expected: &[&str]) {
            assert_eq!(fields(record, divider).unwrap(), expected, "{record:?}");
        }
        check("a,b,c", ',', &["a", "b", "c"]);
        check("", ',', &[""]);
        check(",", ',', &["", ""]);
        check(r#""a, b", "c ""d""" ,e "f" "#, ',', &["a, b", "c \"d\"", "e \"f\""]);
        check(r#""a"b",c"#, ',', &["a\"b", "c"]);
        check("\"a\nb\",c", ',', &["a\nb", "c"]);
        check("a;b,c", ';', &["a", "b,c"]);
        check("\t\ta b\t", '\t', &["", "", "a b", ""]);
        assert_eq!(fields("a,\"b", ','), Err(OpenQuote));
    }
}
