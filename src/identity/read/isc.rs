//! `dhcpd.leases` of ISC dhcpd: statements that are appended each time that a lease changes, the last one counts.
//!
//! ```text
//! lease 10.1.2.3 { starts 4 2026/11/26 01:02:03; ends 4 2026/11/26 09:02:03; binding state active;
//!                  hardware ethernet 00:1a:2b:3c:4d:5e; uid "\001…"; client-hostname "pc-01"; }
//! ia-na "\001\000…" { cltt 4 2026/11/26 01:02:03; iaaddr 2001:db8::3 { binding state active; max-life 600; ends …; } }
//! ```
//!
//! Times are in UTC whatever zone the server is in; `db-time-format local` writes `epoch 1795654923; # …`. A lease that was
//! given up has its end in `ends`.

use std::net::IpAddr;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::super::claim::{Batch, Claim, ClientId, Fault, Manner, excerpt};
use super::{Reading, of_seconds};
use crate::mac::Mac;

/// Octets of a string that are kept.
const MAX_STRING: usize = 1024;
/// Words of a statement that are kept.
const MAX_WORDS: usize = 16;

/// Whether a line begins what such a file holds.
pub(super) fn is_start(line: &str) -> bool {
    let is_block = |word: &str| line.strip_prefix(word).is_some_and(|rest| rest.starts_with(' '));
    (["lease", "ia-na", "ia-ta"].into_iter().any(is_block) && line.ends_with('{'))
        || line.starts_with("server-duid \"")
        || line.starts_with("authoring-byte-order ")
}

/// Whether a text may be such a file: one statement of it, or nothing but remarks.
pub(super) fn may_be(text: &str) -> bool {
    const STATEMENTS: [&str; 3] = ["lease ", "ia-", "failover "];
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_statement = |line: &str| is_start(line) || STATEMENTS.iter().any(|word| line.starts_with(word));
    lines.clone().next().is_none() || lines.any(is_statement)
}

pub(super) fn read(text: &str, _reading: &Reading, batch: &mut Batch) {
    let mut tokens = Tokens { rest: text, line: 1 };
    let mut words: Vec<Token<'_>> = Vec::new();
    loop {
        let line = tokens.line;
        match tokens.next() {
            None => return,
            Some(Token::Semicolon | Token::Close) => words.clear(),
            Some(Token::Open) => {
                let of = std::mem::take(&mut words);
                let is_whole = match of.as_slice() {
                    [Token::Word("lease"), Token::Word(address)] => lease(address, line, &mut tokens, batch),
                    [Token::Word("ia-na" | "ia-ta"), Token::Text(id)] => association(id, &mut tokens, batch),
                    _ => tokens.skip_block(),
                };
                if !is_whole {
                    return batch.fault(line, Fault::Open);
                }
                if batch.is_full() {
                    return batch.fault(line, Fault::TooMany);
                }
            }
            Some(word) if words.len() < MAX_WORDS => words.push(word),
            Some(_) => {}
        }
    }
}

/// What the statements in a lease say.
#[derive(Default)]
struct Said {
    starts: Option<i64>,
    ends: Option<i64>,
    heard: Option<i64>,
    is_endless: bool,
    mac: Option<Mac>,
    uid: Option<Vec<u8>>,
    host: Option<String>,
    state: Option<String>,
}

impl Said {
    fn statement(&mut self, words: &[Token<'_>]) -> Result<(), Fault> {
        match words {
            [Token::Word("starts"), rest @ ..] => self.starts = time(rest)?,
            [Token::Word("cltt"), rest @ ..] => self.heard = time(rest)?,
            [Token::Word("ends"), Token::Word("never")] => self.is_endless = true,
            [Token::Word("ends"), rest @ ..] => self.ends = time(rest)?,
            [Token::Word("hardware"), _, Token::Word(mac)] => {
                self.mac = Some(mac.parse().map_err(|_| Fault::Mac(excerpt(mac)))?)
                    .filter(|mac: &Mac| mac.is_usable());
            }
            [Token::Word("uid"), Token::Text(uid)] => self.uid = Some(uid.clone()),
            // Octets that are no text are written so.
            [Token::Word("uid"), Token::Word(uid)] => self.uid = super::octets(uid),
            [Token::Word("client-hostname"), Token::Text(host)] => {
                self.host = Some(String::from_utf8_lossy(host).into_owned());
            }
            [Token::Word("binding"), Token::Word("state"), Token::Word(state)] => {
                self.state = Some((*state).to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    /// The claim that all this makes; `None` where nobody has the address.
    fn claim(self, line: u64, address: IpAddr) -> Option<Claim> {
        let manner = match self.state.as_deref() {
            None | Some("active") => Manner::Holds,
            Some("free" | "released" | "expired") => Manner::Released,
            Some("abandoned") => Manner::Nobody,
            // Reserved for the other server of a pair, or to be given away again.
            Some(_) => return None,
        };
        let start = self.starts.or(self.heard)?;
        let (of_client, client) = self.uid.as_deref().map_or((None, None), ClientId::read);
        let mac = self.mac.or(of_client);
        if mac.is_none() && client.is_none() && manner != Manner::Nobody {
            return None;
        }
        Some(Claim {
            line,
            address: Some(address),
            mac,
            client,
            host: self.host,
            start: Some(start),
            until: if self.is_endless { None } else { self.ends },
            manner,
            ..Claim::default()
        })
    }
}

/// Reads a lease of DHCPv4; `false` where it has no end.
fn lease(address: &str, line: u64, tokens: &mut Tokens<'_>, batch: &mut Batch) -> bool {
    let mut said = Said::default();
    let mut fault = None;
    let is_whole = tokens.block(|words, _| {
        fault = fault.take().or(said.statement(words).err());
        true
    });
    if !is_whole {
        return false;
    }
    match (fault, address.parse()) {
        (Some(fault), _) => batch.fault(line, fault),
        (None, Ok(address)) => {
            if let Some(claim) = said.claim(line, address) {
                batch.claim(claim);
            }
        }
        (None, Err(_)) => batch.fault(line, Fault::Address(excerpt(address))),
    }
    true
}

/// Reads what a client of DHCPv6 has; `false` where it has no end.
fn association(id: &[u8], tokens: &mut Tokens<'_>, batch: &mut Batch) -> bool {
    // The number of the association, then the DUID.
    let duid = id.get(4..).filter(|duid| duid.len() >= 3).map(<[u8]>::to_vec);
    let mut heard = None;
    tokens.block(|words, tokens| {
        match words {
            [Token::Word("cltt"), rest @ ..] => heard = time(rest).ok().flatten(),
            [Token::Word("iaaddr"), Token::Word(address), Token::Open] => {
                let line = tokens.line;
                let mut said = Said { heard, ..Said::default() };
                let mut fault = None;
                let is_whole = tokens.block(|words, _| {
                    fault = fault.take().or(said.statement(words).err());
                    true
                });
                if !is_whole {
                    return false;
                }
                match (fault, address.parse()) {
                    (Some(fault), _) => batch.fault(line, fault),
                    (None, Err(_)) => batch.fault(line, Fault::Address(excerpt(address))),
                    (None, Ok(address)) => {
                        // A client id that is a DUID, as DHCPv4 has it.
                        said.uid = duid.as_ref().map(|duid| [&[0xff, 0, 0, 0, 0], duid.as_slice()].concat());
                        if let Some(claim) = said.claim(line, address) {
                            batch.claim(claim);
                        }
                    }
                }
            }
            _ => {}
        }
        true
    })
}

/// Reads `4 2026/11/26 01:02:03`, or `epoch 1795654923`.
fn time(words: &[Token<'_>]) -> Result<Option<i64>, Fault> {
    let fault = || {
        let words = words.iter().map(|word| if let Token::Word(word) = word { word } else { "…" });
        Fault::Time(excerpt(&words.collect::<Vec<_>>().join(" ")))
    };
    let read = || match words {
        [Token::Word("epoch"), Token::Word(seconds)] => seconds.parse().ok().and_then(of_seconds),
        [Token::Word(_weekday), Token::Word(day), Token::Word(clock)] => {
            let numbers = |text: &str, divider| {
                let mut numbers = text.split(divider).map(|part| part.parse::<i16>().ok());
                Some((numbers.next()??, numbers.next()??, numbers.next()??))
            };
            let (year, month, day) = numbers(day, '/')?;
            let (hour, minute, second) = numbers(clock, ':')?;
            let small = |number: i16| i8::try_from(number).ok();
            let (month, day, hour) = (small(month)?, small(day)?, small(hour)?);
            let (minute, second) = (small(minute)?, small(second)?.min(59));
            let date = Date::new(year, month, day).ok()?;
            let time = Time::new(hour, minute, second, 0).ok()?;
            Some(TimeZone::UTC.to_timestamp(DateTime::from_parts(date, time)).ok()?.as_microsecond())
        }
        _ => None,
    };
    if let [Token::Word("never")] = words {
        return Ok(None);
    }
    read().map(Some).ok_or_else(fault)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Text(Vec<u8>),
    Open,
    Close,
    Semicolon,
}

struct Tokens<'a> {
    rest: &'a str,
    line: u64,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.pass(blank);
            if !self.rest.starts_with('#') {
                break;
            }
            self.pass(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
        let token = match self.rest.as_bytes().first()? {
            b'{' => Token::Open,
            b'}' => Token::Close,
            b';' => Token::Semicolon,
            b'"' => return Some(Token::Text(self.string())),
            _ => {
                let is_end = |char: char| char.is_whitespace() || matches!(char, '{' | '}' | ';' | '"');
                let len = self.rest.find(is_end).unwrap_or(self.rest.len());
                let word = &self.rest[..len];
                self.rest = &self.rest[len..];
                return Some(Token::Word(word));
            }
        };
        self.pass(1);
        Some(token)
    }

    /// Moves on, lines counted.
    fn pass(&mut self, len: usize) {
        self.line += self.rest[..len].bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.rest = &self.rest[len..];
    }

    /// A text in quotes: `\\`, `\"` and `\nnn` in octal stand for octets.
    fn string(&mut self) -> Vec<u8> {
        let bytes = self.rest.as_bytes();
        let (mut out, mut at) = (Vec::new(), 1);
        while let Some(byte) = bytes.get(at) {
            at += 1;
            let octet = match byte {
                b'"' => break,
                b'\\' => {
                    let digits =
                        bytes[at..].iter().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                    if digits == 3 {
                        let number = bytes[at..at + 3]
                            .iter()
                            .fold(0u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
                        at += 3;
                        number as u8
                    } else {
                        let octet = bytes.get(at).copied().unwrap_or_default();
                        at += 1;
                        octet
                    }
                }
                byte => *byte,
            };
            if out.len() < MAX_STRING {
                out.push(octet);
            }
        }
        let at = self.rest.floor_char_boundary(at);
        self.pass(at);
        out
    }

    /// Hands on each statement of a block; one that opens a block within has its brace as its last word. `false` where the
    /// block, or `visit`, finds no end.
    fn block(&mut self, mut visit: impl FnMut(&[Token<'a>], &mut Self) -> bool) -> bool {
        let mut words = Vec::new();
        loop {
            match self.next() {
                None => return false,
                Some(Token::Close) => return true,
                Some(Token::Semicolon) => {
                    if !visit(&words, self) {
                        return false;
                    }
                    words.clear();
                }
                Some(Token::Open) => {
                    words.push(Token::Open);
                    let is_address = matches!(words.first(), Some(Token::Word("iaaddr")));
                    let is_whole = if is_address { visit(&words, self) } else { self.skip_block() };
                    if !is_whole {
                        return false;
                    }
                    words.clear();
                }
                Some(word) if words.len() < MAX_WORDS => words.push(word),
                Some(_) => {}
            }
        }
    }

    /// Passes over the rest of a block, and blocks in it.
    fn skip_block(&mut self) -> bool {
        let mut depth = 1u32;
        while depth > 0 {
            match self.next() {
                None => return false,
                Some(Token::Open) => depth += 1,
                Some(Token::Close) => depth -= 1,
                Some(_) => {}
            }
        }
        true
    }
}
