//! The files that `[sinkhole]` names for the landing page: its logo and its texts.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::faults::{Fault, Faults, Problem};
use super::file::file_path;
use super::reader::{Reader, Table, Value, text};
use super::{Config, readable_kind};
use crate::sinkhole::logo::Logo;
use crate::sinkhole::page::{Design, MOST_OCTETS};
use crate::sinkhole::texts::Texts;

/// What the landing page looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Landing {
    /// An SVG or PNG picture.
    pub logo: Option<PathBuf>,
    /// Texts in place of the built-in ones.
    pub texts: Option<PathBuf>,
}

/// `table`: `[sinkhole]`.
pub(super) fn read<'a>(reader: &mut Reader<'a>, table: &mut Table<'a>) -> Landing {
    let file = |value: Value<'a>| match text(value)? {
        "" => Ok(None),
        _ => file_path(value).map(Some),
    };
    Landing { logo: reader.take(table, "logo", None, file), texts: reader.take(table, "texts", None, file) }
}

/// A file of texts that is longer than this is another file.
const MOST_OF_TEXTS: u64 = 128 * 1024;

impl Config {
    /// How the landing page looks. Reads its logo and its texts.
    ///
    /// # Errors
    /// [`Faults`]: all that is wrong with those files, with their lines.
    pub fn design(&self) -> Result<Design, Faults> {
        let mut faults = Vec::new();
        let place = |setting: &str| (self.lines.get(setting).copied(), setting.to_owned());
        let file_fault = |setting: &str, path: &Path, why: String| {
            let ((line, setting), problem) = (place(setting), Problem::File { path: path.to_owned(), why });
            Fault { path: self.path.clone(), line, setting, problem }
        };
        let logo = self.landing.logo.as_deref().and_then(|path| {
            // One octet more tells that it is too large.
            let octets = octets(path, Logo::MOST_OCTETS as u64 + 1).map_err(|error| error.to_string());
            let logo = octets.and_then(|octets| Logo::read(&octets).map_err(|error| error.to_string()));
            logo.map_err(|why| faults.push(file_fault("sinkhole.logo", path, why))).ok()
        });
        let texts = self.landing.texts.as_deref().and_then(|path| {
            let read = octets(path, MOST_OF_TEXTS).and_then(|octets| {
                String::from_utf8(octets).map_err(|_| io::Error::other("it is not UTF-8 text"))
            });
            let read =
                read.map_err(|error| faults.push(file_fault("sinkhole.texts", path, error.to_string())));
            let texts = Texts::read(&read.ok()?);
            let told = texts.map_err(|told| {
                faults.extend(told.into_iter().map(|fault| Fault {
                    path: path.to_owned(),
                    line: Some(fault.line),
                    setting: fault.key,
                    problem: Problem::Text(fault.problem),
                }));
            });
            told.ok()
        });
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        let design = Design::new(texts.unwrap_or_default(), logo);
        let heaviest = design.heaviest();
        if heaviest > MOST_OCTETS {
            let setting = if self.landing.logo.is_some() { "sinkhole.logo" } else { "sinkhole.texts" };
            let (line, setting) = place(setting);
            let problem = Problem::Heavy { octets: heaviest, most: MOST_OCTETS };
            return Err(Faults(vec![Fault { path: self.path.clone(), line, setting, problem }]));
        }
        Ok(design)
    }
}

fn octets(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !readable_kind(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut octets = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut octets)?;
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SVG: &str =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\"><path d=\"M0 0h9v9z\"/></svg>";

    #[test]
    fn what_is_wrong_with_the_files_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name).display().to_string()
        };
        let check = |logo: &str, texts: &str, expected: &[&str]| {
            let text = format!("[sinkhole]\nlogo = {logo:?}\ntexts = {texts:?}\n");
            let design = Config::parse(Path::new("sachdns.toml"), &text).unwrap().design();
            let faults = design.err().map(|faults| faults.0).unwrap_or_default();
            let got: Vec<_> = faults.iter().map(ToString::to_string).collect();
            assert_eq!(got.len(), expected.len(), "{got:#?}");
            for (got, expected) in got.iter().zip(expected) {
                assert!(got.contains(expected), "{got}\n  should be …{expected}…");
            }
        };
        let (svg, texts) = (file("logo.svg", SVG), file("texts.toml", "[vi]\nsender = \"Tỉnh\"\n"));
        check("", "", &[]);
        check(&svg, &texts, &[]);
        let (gif, typing) = (file("logo.gif", "GIF89a"), file("b.toml", "[vi]\n\nsendr = \"Tỉnh\"\n"));
        check(
            &gif,
            &typing,
            &["sachdns.toml:2: sinkhole.logo: ", "b.toml:3: vi.sendr: no such text; did you mean `sender`?"],
        );
        check(&gif, "", &["is neither an SVG nor a PNG picture; save it as one of them"]);
        check(
            "/nonexistent/a.svg",
            "src",
            &["sinkhole.logo: /nonexistent/a.svg: No such file", "sinkhole.texts: src: not a file"],
        );
        let long =
            format!("[vi]\nc2_lead = \"{0}\"\nc2_sure = \"{0}\"\nc2_repeated = \"{0}\"\n", "ế".repeat(700));
        let steps = format!("c2_steps = [{}]\n", format!("\"{}\",", "ế".repeat(700)).repeat(10));
        check("", &file("long.toml", &(long + &steps)), &["sinkhole.texts: the page would have up to"]);
    }
}
