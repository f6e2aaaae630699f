//! What is fetched in parts, as one JSON file: an array with one element a line, so that the next fetch takes
//! over from it what has not changed, line by line.
//!
//! ```text
//! {"type":"bundle", … "objects":[
//! {"type":"indicator", …},
//! {"type":"malware", …}
//! ]}
//! ```
//!
//! Knows lines and no formats. Elements are kept as they came, but for line ends between their tokens.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use super::draft::nameless;

/// Writes such a file.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    end: &'static str,
    is_first: bool,
}

impl<'a> Writer<'a> {
    /// Begins it; `head` ends with `[`, `end` begins with `]`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(out: &'a mut dyn Write, head: &str, end: &'static str) -> io::Result<Self> {
        out.write_all(head.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(Self { out, end, is_first: true })
    }

    /// Adds an element.
    ///
    /// # Errors
    /// What the writer says.
    pub fn push(&mut self, element: &[u8]) -> io::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.out.write_all(b",\n")?;
        }
        self.out.write_all(element)
    }

    /// Ends it.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(self) -> io::Result<()> {
        if !self.is_first {
            self.out.write_all(b"\n")?;
        }
        writeln!(self.out, "{}", self.end)
    }
}

/// An element as one line: JSON has no line ends but between tokens, where any white space is as good.
pub fn one_line(element: &str) -> Vec<u8> {
    let blank = |octet| if matches!(octet, b'\n' | b'\r') { b' ' } else { octet };
    element.bytes().map(blank).collect()
}

/// Calls `element` with each line of such a file that is an element, and where it stands; lines are at most
/// `longest` octets.
///
/// # Errors
/// What the reader says; also for a line that is longer, or not text.
pub fn for_each_element(
    file: &mut File,
    longest: u64,
    mut element: impl FnMut(Place, &str) -> io::Result<()>,
) -> io::Result<()> {
    file.rewind()?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut at) = (String::new(), 0);
    loop {
        line.clear();
        let len = reader.by_ref().take(longest).read_line(&mut line)? as u64;
        if len == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') {
            return Err(io::Error::other("a line without its end"));
        }
        let text = line.trim_end_matches(['\n', ',']);
        // The head does not end with it, the end does not begin so.
        if text.starts_with('{') && text.ends_with('}') {
            element(Place { at, len: text.len() }, text)?;
        }
        at += len;
    }
}

/// Where an element stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    at: u64,
    len: usize,
}

impl Place {
    /// Its first octet.
    pub fn start(&self) -> u64 {
        self.at
    }
}

/// Elements that wait on the disk for their place in the file to come.
#[derive(Debug)]
pub struct Spool {
    file: BufWriter<File>,
    size: u64,
}

impl Spool {
    /// An empty one in `folder`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 16, nameless(folder)?), size: 0 })
    }

    /// Octets in it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Puts an element in.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn push(&mut self, element: &[u8]) -> io::Result<Place> {
        let place = Place { at: self.size, len: element.len() };
        self.file.write_all(element)?;
        self.size += element.len() as u64;
        Ok(place)
    }

    /// All of it, to be [`read`].
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> io::Result<File> {
        self.file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Reads an element.
///
/// # Errors
/// What the file says.
pub fn read(file: &mut File, place: Place, element: &mut Vec<u8>) -> io::Result<()> {
    element.resize(place.len, 0);
    file.seek(SeekFrom::Start(place.at))?;
    file.read_exact(element)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back_as_they_were() {
        fn check(elements: &[&str]) {
            let folder = tempfile::tempdir().unwrap();
            let mut file = nameless(folder.path()).unwrap();
            let mut writer = Writer::new(&mut file, "{\"a\":{\"b\":1},\"objects\":[", "]}").unwrap();
            for element in elements {
                writer.push(&one_line(element)).unwrap();
            }
            writer.finish().unwrap();
            let (mut places, mut texts) = (Vec::new(), Vec::new());
            for_each_element(&mut file, 100, |place, text| {
                places.push(place);
                texts.push(text.to_owned());
                Ok(())
            })
            .unwrap();
            let expected: Vec<String> = elements.iter().map(|text| text.replace(['\n', '\r'], " ")).collect();
            assert_eq!(texts, expected);
            for (place, text) in places.iter().zip(&texts) {
                let mut element = Vec::new();
                read(&mut file, *place, &mut element).unwrap();
                assert_eq!(element, text.as_bytes());
            }
            let mut whole = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut whole).unwrap();
            let value: serde_json::Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(value["objects"].as_array().unwrap().len(), elements.len());
        }
        check(&[]);
        check(&["{}"]);
        check(&["{\n \"a\":\r\n \"b,]}\" }", "{\"c\":[{},\n{}]}", "{\"ạ\":1}"]);
        let folder = tempfile::tempdir().unwrap();
        let mut file = nameless(folder.path()).unwrap();
        file.write_all(&b"{".repeat(101)).unwrap();
        assert!(for_each_element(&mut file, 100, |_, _| Ok(())).is_err());
    }
}
