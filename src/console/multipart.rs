//! Forms with files: `multipart/form-data` (RFC 7578), of a body that is there whole.
//!
//! Only what browsers send is read: parts divided by the boundary, each with `Content-Disposition: form-data`; nested parts,
//! transfer encodings and folded fields are refused. Nothing is allocated but the fields' names and values and one copy of each file.

/// Parts of one body.
const MOST_PARTS: usize = 64;
/// Octets of a part's head.
const MOST_HEAD: usize = 4096;
/// Octets of a boundary (RFC 2046, section 5.1.1).
const MOST_BOUNDARY: usize = 70;
/// Octets of a field that is no file.
const MOST_FIELD: usize = 64 << 10;
/// Octets of a file's name that are kept.
const MOST_NAME: usize = 200;

/// A file that somebody sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    /// The form's field.
    pub field: String,
    /// What its owner calls it, without folders and control characters.
    pub name: String,
    /// What it holds.
    pub octets: Vec<u8>,
}

/// What a form holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// Fields and their values, in their order.
    pub fields: Vec<(String, String)>,
    /// Files.
    pub files: Vec<Upload>,
}

/// The boundary that a Content-Type names; `None` where it is no form with files.
pub fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&octet);
    (!value.is_empty()
        && value.len() <= MOST_BOUNDARY
        && value.bytes().all(is_plain)
        && !value.ends_with(' '))
    .then_some(value)
}

/// Reads a body; `None` where it is not as browsers write it, or holds more than a form does.
pub fn read(body: &[u8], boundary: &str) -> Option<Form> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let between = [b"\r\n", &*delimiter].concat();
    // What stands before the first delimiter is for nobody.
    let mut rest = match body.strip_prefix(&*delimiter) {
        Some(rest) => rest,
        None => &body[find(body, &between)? + between.len()..],
    };
    let mut form = Form::default();
    loop {
        if rest.starts_with(b"--") {
            return Some(form);
        }
        rest = rest.strip_prefix(b"\r\n")?;
        if form.fields.len() + form.files.len() >= MOST_PARTS {
            return None;
        }
        let head_end = find(&rest[..rest.len().min(MOST_HEAD)], b"\r\n\r\n")?;
        let head = std::str::from_utf8(&rest[..head_end]).ok()?;
        let content = &rest[head_end + 4..];
        // From the empty line on: the content may be nothing.
        let end = find(&rest[head_end + 2..], &between)?.checked_sub(2)?;
        let (content, after) = content.split_at_checked(end)?;
        rest = after.get(between.len()..)?;
        let (field, file) = disposition(head)?;
        match file {
            None if content.len() <= MOST_FIELD => {
                form.fields.push((field, String::from_utf8_lossy(content).into_owned()));
            }
            None => return None,
            // A field for files that nobody filled in.
            Some(name) if name.is_empty() && content.is_empty() => {}
            Some(name) => form.files.push(Upload { field, name, octets: content.to_vec() }),
        }
    }
}

/// The field's name, and the file's where it is one.
fn disposition(head: &str) -> Option<(String, Option<String>)> {
    let mut found = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-transfer-encoding") {
            return None;
        }
        if name.eq_ignore_ascii_case("content-disposition") {
            found = Some(value.trim());
        }
    }
    let mut rest = found?.strip_prefix("form-data")?;
    let (mut field, mut file) = (None, None);
    while let Some(parameter) = rest.trim_start().strip_prefix(';') {
        let (name, value) = parameter.split_once('=')?;
        let (value, after) = quoted(value)?;
        match name.trim() {
            "name" => field = Some(value),
            "filename" => file = Some(base(&value)),
            _ => {}
        }
        rest = after;
    }
    Some((field.filter(|field| !field.is_empty() && field.len() <= MOST_NAME)?, file))
}

/// A value in quotation marks, or a plain one; browsers write `%22` for a quotation mark within (HTML standard), some `\"`.
fn quoted(value: &str) -> Option<(String, &str)> {
    let Some(inner) = value.strip_prefix('"') else {
        let end = value.find(';').unwrap_or(value.len());
        return Some((value[..end].trim().to_owned(), &value[end..]));
    };
    let mut text = String::new();
    let mut chars = inner.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((text.replace("%22", "\""), &inner[at + 1..])),
            '\\' if inner[at + 1..].starts_with('"') => {
                chars.next();
                text.push('"');
            }
            char => text.push(char),
        }
    }
    None
}

/// A file's name without folders, which some browsers once sent.
fn base(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let name: String = name.chars().filter(|char| !char.is_control()).collect();
    name[..name.floor_char_boundary(MOST_NAME)].to_owned()
}

/// Where `needle` begins first.
fn find(octets: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, tail) = needle.split_first()?;
    let mut from = 0;
    loop {
        // Most octets are not the first one.
        let at = from + octets.get(from..)?.iter().position(|octet| octet == first)?;
        if octets[at + 1..].starts_with(tail) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_their_boundary() {
        fn check(text: &str, expected: Option<&str>) {
            assert_eq!(boundary(text), expected, "{text}");
        }
        check("multipart/form-data; boundary=----x1", Some("----x1"));
        check("Multipart/Form-Data; charset=utf-8; BOUNDARY=\"a b\"", Some("a b"));
        for text in [
            "text/plain; boundary=x",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"x",
            "multipart/form-data; boundary=a\"b",
        ] {
            check(text, None);
        }
        check(&format!("multipart/form-data; boundary={}", "x".repeat(71)), None);
    }

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nx\r\n\
                    --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"C:\\fakepath\\Máy %22trạm%22.csv\"\r\n\
                    Content-Type: text/csv\r\n\r\na,b\r\n--c\r\n1,2\r\n\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n--b--\r\n";
        let form = read(body.as_bytes(), "b").unwrap();
        assert_eq!(form.fields, [("csrf".to_owned(), "x".to_owned()), ("empty".to_owned(), String::new())]);
        let upload = Upload {
            field: "file".to_owned(),
            name: "Máy \"trạm\".csv".to_owned(),
            octets: b"a,b\r\n--c\r\n1,2\r\n".to_vec(),
        };
        assert_eq!(form.files, [upload]);
    }

    #[test]
    fn anything_else_is_refused() {
        let part = |head: &str| format!("--b\r\n{head}\r\n\r\nx\r\n--b--");
        for body in [
            "",
            "--b",
            "--b\r\n",
            "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx",
            "--b\r\n\r\nx\r\n--b--",
            &part("Content-Disposition: form-data"),
            &part("Content-Disposition: form-data; name=\"\""),
            &part("Content-Disposition: form-data; name=\"a"),
            &part("Content-Disposition: attachment; name=\"a\""),
            &part("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64"),
            &part("Content-Disposition: form-data;\r\n name=\"a\""),
            &"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n".repeat(65),
        ] {
            assert_eq!(read(body.as_bytes(), "b"), None, "{body}");
        }
        assert_eq!(read(b"--b--", "b"), Some(Form::default()));
    }
}
