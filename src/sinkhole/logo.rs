//! The logo of the landing page: an SVG or PNG picture that the page holds within itself.
//!
//! It is an administrator's file, shown with `<img src="data:…">`, where no browser runs or fetches anything of an SVG.
//! It is checked all the same, so that it says at the start what is wrong with it. Nothing is opened here.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// A picture that was found fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    /// A `data:` URI.
    pub(super) uri: String,
}

/// Why a file is no logo for the page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogoError {
    /// More than the page has room for.
    #[error("has {0} octets, more than {max}; simplify the picture, or make a PNG of 160 by 80 pixels with few colours", max = Logo::MOST_OCTETS)]
    Large(usize),
    /// Neither kind.
    #[error("is neither an SVG nor a PNG picture; save it as one of them")]
    Kind,
    /// A PNG that is cut or damaged.
    #[error("is a damaged PNG picture; save it anew")]
    Damaged,
    /// A PNG that takes too much memory.
    #[error("has {0} by {1} pixels, and must have from 1 to {max} each way; scale it down", max = Logo::MOST_PIXELS)]
    Pixels(u32, u32),
    /// Not well-formed.
    #[error("is no well-formed SVG: {0}; save it anew as plain SVG")]
    Xml(String),
    /// Without a size, some browsers show nothing.
    #[error("has neither a viewBox nor a width and a height; add viewBox=\"0 0 WIDTH HEIGHT\" to <svg>")]
    Sizeless,
    /// Something that could act or fetch, or that needs something from outside.
    #[error("holds {0}, which the page does not take; save it as plain SVG, texts as paths")]
    Active(String),
}

impl Logo {
    /// The most octets of the file.
    pub const MOST_OCTETS: usize = 8 * 1024;
    /// The most pixels of a PNG, each way.
    pub const MOST_PIXELS: u32 = 1024;

    /// Checks the content of a file.
    ///
    /// # Errors
    /// [`LogoError`], with the mend.
    pub fn read(octets: &[u8]) -> Result<Self, LogoError> {
        if octets.len() > Self::MOST_OCTETS {
            return Err(LogoError::Large(octets.len()));
        }
        let kind = if octets.starts_with(PNG) {
            check_png(&octets[PNG.len()..])?;
            "image/png"
        } else {
            let text = std::str::from_utf8(octets).map_err(|_| LogoError::Kind)?;
            check_svg(text.trim_start_matches('\u{feff}'))?;
            "image/svg+xml"
        };
        Ok(Self { uri: format!("data:{kind};base64,{}", BASE64_STANDARD.encode(octets)) })
    }
}

/// How a PNG begins (W3C PNG, section 5.2).
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Walks the chunks: IHDR first, IEND last, each with the checksum that fits.
fn check_png(mut rest: &[u8]) -> Result<(), LogoError> {
    let mut is_first = true;
    loop {
        let (length, tail) = rest.split_first_chunk::<4>().ok_or(LogoError::Damaged)?;
        let length = u32::from_be_bytes(*length) as usize;
        let kind_and_data =
            length.checked_add(4).and_then(|end| tail.get(..end)).ok_or(LogoError::Damaged)?;
        let checksum = tail[kind_and_data.len()..].first_chunk::<4>().ok_or(LogoError::Damaged)?;
        if crc32fast::hash(kind_and_data) != u32::from_be_bytes(*checksum) {
            return Err(LogoError::Damaged);
        }
        rest = &tail[kind_and_data.len() + checksum.len()..];
        let (kind, data) = kind_and_data.split_at(4);
        match kind {
            b"IHDR" if is_first && data.len() == 13 => {
                let side =
                    |at: usize| u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
                let (width, height) = (side(0), side(4));
                let is_fit = |side| (1..=Logo::MOST_PIXELS).contains(&side);
                if !is_fit(width) || !is_fit(height) {
                    return Err(LogoError::Pixels(width, height));
                }
            }
            _ if is_first => return Err(LogoError::Damaged),
            b"IEND" => return if rest.is_empty() { Ok(()) } else { Err(LogoError::Damaged) },
            _ => {}
        }
        is_first = false;
    }
}

fn check_svg(text: &str) -> Result<(), LogoError> {
    let mut reader = Reader::from_str(text);
    let mut depth = 0_usize;
    let mut is_over = false;
    loop {
        let event = reader.read_event().map_err(|error| LogoError::Xml(error.to_string()))?;
        match &event {
            Event::Start(element) | Event::Empty(element) => {
                if depth == 0 {
                    if is_over || element.local_name().as_ref() != "svg" {
                        return Err(LogoError::Kind);
                    }
                    check_root(element)?;
                }
                check_element(element)?;
                match event {
                    Event::Start(_) => depth += 1,
                    _ => is_over |= depth == 0,
                }
            }
            Event::End(_) => {
                // The reader refuses ends that do not fit.
                depth = depth.saturating_sub(1);
                is_over |= depth == 0;
            }
            Event::Text(text) => check_style(&text.xml10_content())?,
            Event::CData(text) => check_style(&text.xml10_content())?,
            Event::DocType(_) => return Err(LogoError::Active("a document type".to_owned())),
            Event::PI(_) => return Err(LogoError::Active("a processing instruction".to_owned())),
            Event::Eof if is_over => return Ok(()),
            Event::Eof if depth > 0 => return Err(LogoError::Xml("it ends too early".to_owned())),
            Event::Eof => return Err(LogoError::Kind),
            Event::Comment(_) | Event::Decl(_) | Event::GeneralRef(_) => {}
        }
    }
}

fn check_root(root: &BytesStart<'_>) -> Result<(), LogoError> {
    let has = |key: &str| root.attributes().flatten().any(|attribute| attribute.key.as_ref() == key);
    if !has("xmlns") && !root.attributes().flatten().any(|it| it.key.as_ref().starts_with("xmlns:")) {
        return Err(LogoError::Xml("<svg> lacks xmlns=\"http://www.w3.org/2000/svg\"".to_owned()));
    }
    if has("viewBox") || (has("width") && has("height")) { Ok(()) } else { Err(LogoError::Sizeless) }
}

/// Elements that run or bring in something.
const ACTIVE: [&str; 8] =
    ["script", "foreignObject", "iframe", "image", "feImage", "audio", "video", "handler"];

fn check_element(element: &BytesStart<'_>) -> Result<(), LogoError> {
    let name = element.local_name();
    if let Some(active) = ACTIVE.iter().find(|active| active.eq_ignore_ascii_case(name.as_ref())) {
        return Err(LogoError::Active(format!("<{active}>")));
    }
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| LogoError::Xml(error.to_string()))?;
        let key = attribute.key.local_name();
        let key = key.as_ref();
        if key.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("on")) {
            return Err(LogoError::Active(format!("the attribute {key}")));
        }
        let value = quick_xml::escape::unescape(&attribute.value)
            .map_err(|error| LogoError::Xml(error.to_string()))?;
        if key == "href" && !value.trim_start().starts_with('#') {
            return Err(LogoError::Active("a link to something outside".to_owned()));
        }
        check_style(&value)?;
    }
    Ok(())
}

/// Refuses what CSS could fetch: `url(…)` but for `url(#…)`, and `@import`.
fn check_style(text: &str) -> Result<(), LogoError> {
    let octets = text.as_bytes();
    let starts = |at: usize, what: &[u8]| {
        octets.get(at..at + what.len()).is_some_and(|found| found.eq_ignore_ascii_case(what))
    };
    for at in 0..octets.len() {
        let is_url = starts(at, b"url(") && {
            let target = octets[at + 4..].iter().find(|octet| !octet.is_ascii_whitespace());
            let quoted = |octet: &u8| matches!(octet, b'"' | b'\'');
            match target {
                Some(b'#') => false,
                Some(octet) if quoted(octet) => {
                    octets[at + 4..].iter().find(|octet| !octet.is_ascii_whitespace() && !quoted(octet))
                        != Some(&b'#')
                }
                _ => true,
            }
        };
        if is_url || starts(at, b"@import") {
            return Err(LogoError::Active("a style that fetches something".to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        let body = [kind, data].concat();
        let length = u32::try_from(data.len()).unwrap();
        [&length.to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
    }

    fn png(width: u32, height: u32, tail: &[u8]) -> Vec<u8> {
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
        [PNG, &chunk(b"IHDR", &header), &chunk(b"IDAT", b"x"), &chunk(b"IEND", b""), tail].concat()
    }

    #[test]
    fn png_pictures_are_whole_and_small() {
        let check = |octets: &[u8], expected: Result<(), LogoError>| {
            assert_eq!(Logo::read(octets).map(|_| ()), expected);
        };
        check(&png(160, 80, b""), Ok(()));
        check(&png(0, 80, b""), Err(LogoError::Pixels(0, 80)));
        check(&png(160, 4000, b""), Err(LogoError::Pixels(160, 4000)));
        check(&png(160, 80, b"tail"), Err(LogoError::Damaged));
        let whole = png(160, 80, b"");
        for cut in PNG.len()..whole.len() {
            check(&whole[..cut], Err(LogoError::Damaged));
        }
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        check(&flipped, Err(LogoError::Damaged));
        check(&vec![b'x'; 8193], Err(LogoError::Large(8193)));
        assert!(Logo::read(&whole).unwrap().uri.starts_with("data:image/png;base64,iVBORw0KGgo"));
    }

    #[test]
    fn svg_pictures_do_nothing_but_show() {
        let svg = |inner: &str| {
            format!(
                "<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\">{inner}</svg>"
            )
        };
        let good = |inner: &str| {
            let logo = Logo::read(svg(inner).as_bytes()).unwrap_or_else(|error| panic!("{inner}: {error}"));
            assert!(logo.uri.starts_with("data:image/svg+xml;base64,"));
        };
        good("<path d=\"M0 0h9v9z\" fill=\"url(#a)\"/>");
        good("<defs><g id=\"a\"/></defs><use href=\"#a\"/><!-- a comment -->");
        good("<style>path{fill:url('#a')}</style>");
        let bad = |text: &str, expected: &str| {
            let error = Logo::read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        for (inner, expected) in [
            ("<script>alert(1)</script>", "<script>"),
            ("<foreignObject/>", "<foreignObject>"),
            ("<image href=\"#a\"/>", "<image>"),
            ("<path onload=\"alert(1)\"/>", "the attribute onload"),
            ("<use xlink:href=\"http://a.example/b.svg\"/>", "a link to something outside"),
            ("<path fill=\"url( http://a.example )\"/>", "a style that fetches"),
            ("<path style=\"fill:URL(&quot;//a.example&quot;)\"/>", "a style that fetches"),
            ("<style>@import 'a.css';</style>", "a style that fetches"),
            ("<?php ?>", "a processing instruction"),
            ("<g>", "no well-formed SVG"),
        ] {
            bad(&svg(inner), expected);
        }
        bad("<!DOCTYPE svg [<!ENTITY a \"b\">]><svg xmlns=\"x\" viewBox=\"0 0 9 9\"/>", "a document type");
        bad("<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "neither a viewBox");
        bad("<svg viewBox=\"0 0 1 1\"/>", "lacks xmlns");
        bad("<html><body/></html>", "neither an SVG nor a PNG");
        bad("GIF89a", "neither an SVG nor a PNG");
        bad("", "neither an SVG nor a PNG");
        bad("<svg xmlns=\"a\" width=\"1\" height=\"1\"/><svg/>", "neither an SVG nor a PNG");
    }
}
