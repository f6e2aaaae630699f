//! Transaction signatures (RFC 8945): queries that are signed with a shared key are checked and their answers signed;
//! requests of our own are signed and their answers checked ([`Verifier`]).
//!
//! Whole MACs only. What a key entitles to is asked elsewhere; no secret is ever shown.

use std::fmt;
use std::str::FromStr;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

use crate::name::{self, Name};
use crate::wire::{CLASS_ANY, HEADER, MAX_MESSAGE, Part, Query, Record, rtype, u16_at};

/// Errors of the signature, beside the rcode NOTAUTH (RFC 8945, section 3).
const BADSIG: u16 = 16;
const BADKEY: u16 = 17;
const BADTIME: u16 = 18;
const BADTRUNC: u16 = 22;
/// Seconds that two clocks may differ (RFC 8945, section 10).
const FUDGE: u16 = 300;

/// How messages are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Must be known (RFC 8945, section 6); not for new keys.
    Sha1,
    /// The usual one.
    Sha256,
    /// A longer one.
    Sha384,
    /// The longest one.
    Sha512,
}

/// Every algorithm with its name.
const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("hmac-sha256", Algorithm::Sha256),
    ("hmac-sha384", Algorithm::Sha384),
    ("hmac-sha512", Algorithm::Sha512),
    ("hmac-sha1", Algorithm::Sha1),
];

impl Algorithm {
    /// Its name in TSIG records and configurations.
    pub fn as_str(self) -> &'static str {
        ALGORITHMS.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    fn of_wire(name: &Name) -> Option<Self> {
        let text = name.to_string();
        ALGORITHMS.iter().find(|(known, _)| *known == text).map(|(_, algorithm)| *algorithm)
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl FromStr for Algorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = ALGORITHMS.iter().find(|(name, _)| *name == text);
        known.map(|(_, algorithm)| *algorithm).ok_or("no such algorithm")
    }
}

/// A key that is shared with somebody.
#[derive(Clone)]
pub struct Key {
    name: Name,
    algorithm: Algorithm,
    secret: hmac::Key,
}

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not base64.
    #[error("it is not base64")]
    Base64,
    /// So short that it could be guessed.
    #[error("it has {0} octets; fewer than 16 can be guessed")]
    Short(usize),
}

impl Key {
    /// A key with its secret in base64.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn new(name: Name, algorithm: Algorithm, secret: &str) -> Result<Self, SecretError> {
        let octets = base64(secret).ok_or(SecretError::Base64)?;
        if octets.len() < 16 {
            return Err(SecretError::Short(octets.len()));
        }
        Ok(Self { name, algorithm, secret: hmac::Key::new(algorithm.hmac(), &octets) })
    }

    /// Its name, which both sides must use.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

/// Without the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, {})", self.name, self.algorithm.as_str())
    }
}

/// Decodes base64 (RFC 4648, section 4), white space aside; padding may be left out.
fn base64(text: &str) -> Option<Vec<u8>> {
    let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let letters: Vec<u8> = text.bytes().filter(|letter| !letter.is_ascii_whitespace()).collect();
    GeneralPurpose::new(&alphabet::STANDARD, padding).decode(letters).ok()
}

/// All keys.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Puts keys together; the configuration has no two of one name.
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// The key of this name.
    pub fn find(&self, name: &Name) -> Option<&Key> {
        self.0.iter().find(|key| key.name == *name)
    }

    /// Checks the signature of a query that has one, at `now` in seconds since 1970.
    pub fn check(&self, query: &Query<'_>, now: i64) -> Signature {
        let Some(record) = query.tsig() else { return Signature::None };
        let Some(tsig) = Tsig::read(query.packet(), record) else { return Signature::Malformed };
        let refused = |error, mac_key: Option<&Key>| {
            let (time, signer) = match mac_key {
                // The client's own time, and ours beside it (RFC 8945, section 5.2.3).
                Some(key) => (tsig.time, Some((key.clone(), tsig.mac.to_vec()))),
                None => (now.max(0) as u64, None),
            };
            let (name, algorithm) = (tsig.name.clone(), tsig.algorithm.clone());
            Signature::Refused(Box::new(Refusal { name, algorithm, time, error, now, signer }))
        };
        let key = self.find(&tsig.name);
        let Some(key) = key.filter(|key| Algorithm::of_wire(&tsig.algorithm) == Some(key.algorithm)) else {
            return refused(BADKEY, None);
        };
        let whole = key.algorithm.hmac().digest_algorithm().output_len();
        // RFC 8945, section 5.2.2.1.
        if tsig.mac.len() > whole || tsig.mac.len() < (whole / 2).max(10) {
            return Signature::Malformed;
        }
        if tsig.mac.len() < whole {
            return refused(BADTRUNC, None);
        }
        let signed = [&signed_part(query.packet(), record, tsig.original_id), &*tsig.variables()].concat();
        if hmac::verify(&key.secret, &signed, tsig.mac).is_err() {
            return refused(BADSIG, None);
        }
        if tsig.time.abs_diff(now.max(0) as u64) > u64::from(tsig.fudge) {
            return refused(BADTIME, Some(key));
        }
        Signature::Good(Box::new(Signer { key: key.clone(), before: with_len(tsig.mac), is_first: true }))
    }
}

/// What a query's signature is worth.
#[derive(Debug)]
pub enum Signature {
    /// There is none.
    None,
    /// The key's owner signed it; the answer must be signed by this.
    Good(Box<Signer>),
    /// It does not hold: NOTAUTH, with a TSIG record that says why.
    Refused(Box<Refusal>),
    /// It is none: FORMERR.
    Malformed,
}

/// What is said to a query whose signature does not hold.
#[derive(Debug)]
pub struct Refusal {
    name: Name,
    algorithm: Name,
    time: u64,
    error: u16,
    now: i64,
    /// Only an error of time is signed: the key was right.
    signer: Option<(Key, Vec<u8>)>,
}

impl Refusal {
    /// Appends the TSIG record that says why.
    pub fn append(&self, out: &mut Vec<u8>) {
        let now = (self.now.max(0) as u64).to_be_bytes();
        let other = if self.error == BADTIME { &now[2..] } else { &[] };
        let variables = Variables {
            name: &self.name,
            algorithm: &self.algorithm,
            time: self.time,
            error: self.error,
            other,
        };
        let mac = match &self.signer {
            Some((key, request)) => {
                let mut context = hmac::Context::with_key(&key.secret);
                context.update(&with_len(request));
                context.update(out);
                context.update(&variables.octets());
                context.sign().as_ref().to_vec()
            }
            None => Vec::new(),
        };
        append(&variables, &mac, out);
    }
}

/// Signs what is sent in answer to one query: one message, or several in order (RFC 8945, section 5.3.1).
#[derive(Debug, Clone)]
pub struct Signer {
    key: Key,
    /// What goes before the next message into its digest: the MAC before, with its length.
    before: Vec<u8>,
    is_first: bool,
}

impl Signer {
    /// Signs one request of our own.
    pub fn of_request(key: &Key) -> Self {
        // There is no MAC before it.
        Self { key: key.clone(), before: Vec::new(), is_first: true }
    }

    /// The name of the key.
    pub fn key(&self) -> &Name {
        &self.key.name
    }

    /// Octets of the record that [`Self::sign`] appends.
    pub fn record_len(&self) -> usize {
        let mac = self.key.algorithm.hmac().digest_algorithm().output_len();
        // Type, class, TTL, length; time, fudge, MAC's length, id, error, other's length.
        self.key.name.as_wire().len() + 10 + self.key.algorithm.as_str().len() + 2 + 16 + mac
    }

    /// Appends the TSIG record to a message, at `now` in seconds since 1970. A message that it would make too
    /// long goes without, and is not taken.
    pub fn sign(&mut self, now: i64, out: &mut Vec<u8>) {
        if out.len() < HEADER || out.len() + self.record_len() > MAX_MESSAGE {
            return;
        }
        let Ok(algorithm) = Name::from_host(self.key.algorithm.as_str()) else { return };
        let name = self.key.name.clone();
        let time = now.max(0) as u64;
        let variables = Variables { name: &name, algorithm: &algorithm, time, error: 0, other: &[] };
        let mut context = hmac::Context::with_key(&self.key.secret);
        context.update(&self.before);
        context.update(out);
        if self.is_first {
            context.update(&variables.octets());
        } else {
            context.update(&time.to_be_bytes()[2..]);
            context.update(&FUDGE.to_be_bytes());
        }
        let mac = context.sign();
        append(&variables, mac.as_ref(), out);
        self.before = with_len(mac.as_ref());
        self.is_first = false;
    }
}

/// Messages without a signature that may stand between two that have one (RFC 8945, section 5.3.1).
const MOST_UNSIGNED: usize = 99;

/// Checks what comes in answer to one signed request: one message, or several in order.
#[derive(Debug)]
pub struct Verifier {
    key: Key,
    /// What goes before the next signed message into its digest: the MAC before, and messages without one.
    before: Vec<u8>,
    unsigned: usize,
    is_first: bool,
}

/// Why an answer is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// It must be signed, and is not.
    #[error("an answer is not signed")]
    Unsigned,
    /// The record is none, or by another key.
    #[error("an answer is signed by another key, or not as RFC 8945 says")]
    Foreign,
    /// The signature does not hold.
    #[error("an answer's signature does not hold: the secrets differ, or somebody changed it on its way")]
    Wrong,
    /// The signature holds, and was made too long ago, or ahead of time.
    #[error("an answer was signed at another time: the clocks differ by more than five minutes")]
    Time,
    /// The other side does not believe us.
    #[error("{}", refusal_text(*.0))]
    Refused(u16),
}

fn refusal_text(error: u16) -> &'static str {
    match error {
        BADSIG => "it says that our signature does not hold (BADSIG): the secrets differ",
        BADKEY => "it does not know the key (BADKEY): its name and algorithm must be the same there",
        BADTIME => "it says that our time is wrong (BADTIME): the clocks differ by more than five minutes",
        BADTRUNC => "it wants another length of signature (BADTRUNC)",
        _ => "it does not take our signature",
    }
}

impl Verifier {
    /// For the answers to the request that `signer` signed.
    pub fn new(signer: Signer) -> Self {
        Self { key: signer.key, before: signer.before, unsigned: 0, is_first: true }
    }

    /// Checks the next message at `now` in seconds since 1970. Of messages without a signature, those before the
    /// next one that has one stand on its: call [`Self::end`] behind the last.
    ///
    /// # Errors
    /// [`AnswerFault`]; nothing of the answer may be believed then.
    pub fn check(&mut self, part: &Part<'_>, now: i64) -> Result<(), AnswerFault> {
        let Some(record) = part.tsig() else {
            self.unsigned += 1;
            // The first must be signed.
            if self.is_first || self.unsigned > MOST_UNSIGNED {
                return Err(AnswerFault::Unsigned);
            }
            self.before.extend(part.packet());
            return Ok(());
        };
        let tsig = Tsig::read(part.packet(), record).ok_or(AnswerFault::Foreign)?;
        // Not signed where it says that it does not know the key or the signature (RFC 8945, section 5.3.2).
        if tsig.mac.is_empty() && tsig.error != 0 {
            return Err(AnswerFault::Refused(tsig.error));
        }
        let is_ours =
            tsig.name == self.key.name && Algorithm::of_wire(&tsig.algorithm) == Some(self.key.algorithm);
        if !is_ours || tsig.mac.len() != self.key.algorithm.hmac().digest_algorithm().output_len() {
            return Err(AnswerFault::Foreign);
        }
        let mut signed = std::mem::take(&mut self.before);
        signed.extend(signed_part(part.packet(), record, tsig.original_id));
        if self.is_first {
            signed.extend(tsig.variables());
        } else {
            signed.extend(&tsig.time.to_be_bytes()[2..]);
            signed.extend(tsig.fudge.to_be_bytes());
        }
        hmac::verify(&self.key.secret, &signed, tsig.mac).map_err(|_| AnswerFault::Wrong)?;
        if tsig.error != 0 {
            return Err(AnswerFault::Refused(tsig.error));
        }
        if tsig.time.abs_diff(now.max(0) as u64) > u64::from(tsig.fudge) {
            return Err(AnswerFault::Time);
        }
        (self.before, self.unsigned, self.is_first) = (with_len(tsig.mac), 0, false);
        Ok(())
    }

    /// Checks that the last message was signed.
    ///
    /// # Errors
    /// [`AnswerFault::Unsigned`].
    pub fn end(&self) -> Result<(), AnswerFault> {
        if self.is_first || self.unsigned > 0 { Err(AnswerFault::Unsigned) } else { Ok(()) }
    }
}

/// The variables that are signed beside a message (RFC 8945, section 4.3.3).
struct Variables<'a> {
    name: &'a Name,
    algorithm: &'a Name,
    time: u64,
    error: u16,
    other: &'a [u8],
}

impl Variables<'_> {
    fn octets(&self) -> Vec<u8> {
        variables(self.name, self.algorithm, self.time, FUDGE, self.error, self.other)
    }
}

fn variables(name: &Name, algorithm: &Name, time: u64, fudge: u16, error: u16, other: &[u8]) -> Vec<u8> {
    let mut octets = name.as_wire().to_vec();
    octets.extend(CLASS_ANY.to_be_bytes());
    octets.extend([0; 4]);
    octets.extend(algorithm.as_wire());
    octets.extend(&time.to_be_bytes()[2..]);
    octets.extend(fudge.to_be_bytes());
    octets.extend(error.to_be_bytes());
    octets.extend((other.len() as u16).to_be_bytes());
    octets.extend(other);
    octets
}

fn append(variables: &Variables<'_>, mac: &[u8], out: &mut Vec<u8>) {
    let Some(&[a, b]) = out.first_chunk::<2>() else { return };
    let Some(count) = u16_at(out, 10) else { return };
    out[10..12].copy_from_slice(&count.saturating_add(1).to_be_bytes());
    out.extend(variables.name.as_wire());
    out.extend(rtype::TSIG.to_be_bytes());
    out.extend(CLASS_ANY.to_be_bytes());
    out.extend([0; 4]);
    let len = variables.algorithm.as_wire().len() + 16 + mac.len() + variables.other.len();
    out.extend((len as u16).to_be_bytes());
    out.extend(variables.algorithm.as_wire());
    out.extend(&variables.time.to_be_bytes()[2..]);
    out.extend(FUDGE.to_be_bytes());
    out.extend((mac.len() as u16).to_be_bytes());
    out.extend(mac);
    out.extend([a, b]);
    out.extend(variables.error.to_be_bytes());
    out.extend((variables.other.len() as u16).to_be_bytes());
    out.extend(variables.other);
}

/// The message as it was signed: without its TSIG record, with its first id (RFC 8945, section 4.3.2).
fn signed_part(packet: &[u8], record: &Record, original_id: [u8; 2]) -> Vec<u8> {
    let mut signed = packet[..record.start].to_vec();
    signed[..2].copy_from_slice(&original_id);
    let count = u16_at(&signed, 10).unwrap_or(1).saturating_sub(1);
    signed[10..12].copy_from_slice(&count.to_be_bytes());
    signed
}

fn with_len(mac: &[u8]) -> Vec<u8> {
    [&(mac.len() as u16).to_be_bytes(), mac].concat()
}

/// A TSIG record's fields.
struct Tsig<'a> {
    name: Name,
    algorithm: Name,
    time: u64,
    fudge: u16,
    mac: &'a [u8],
    original_id: [u8; 2],
    error: u16,
    other: &'a [u8],
}

impl<'a> Tsig<'a> {
    /// `None` where it is malformed. Its names are not compressed (RFC 8945, section 4.2).
    fn read(packet: &'a [u8], record: &Record) -> Option<Self> {
        let owner = packet.get(record.start..)?;
        let name = Name::from_wire(owner.get(..name::wire_len(owner)?)?)?;
        if record.class != CLASS_ANY || record.ttl != 0 {
            return None;
        }
        let rdata = packet.get(record.rdata.clone())?;
        let algorithm_len = name::wire_len(rdata)?;
        let algorithm = Name::from_wire(&rdata[..algorithm_len])?;
        let fixed: &[u8; 10] = rdata.get(algorithm_len..)?.first_chunk()?;
        let time = fixed[..6].iter().fold(0, |time, octet| time << 8 | u64::from(*octet));
        let fudge = u16::from_be_bytes([fixed[6], fixed[7]]);
        let mac_len = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let rest = &rdata[algorithm_len + 10..];
        let (mac, rest) = rest.split_at_checked(mac_len)?;
        let (tail, other) = rest.split_first_chunk::<6>()?;
        if other.len() != usize::from(u16::from_be_bytes([tail[4], tail[5]])) {
            return None;
        }
        let original_id = [tail[0], tail[1]];
        let error = u16::from_be_bytes([tail[2], tail[3]]);
        Some(Self { name, algorithm, time, fudge, mac, original_id, error, other })
    }

    fn variables(&self) -> Vec<u8> {
        variables(&self.name, &self.algorithm, self.time, self.fudge, self.error, self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_people_write_it() {
        fn check(text: &str, expected: Option<&[u8]>) {
            assert_eq!(base64(text).as_deref(), expected, "{text:?}");
        }
        check("", Some(b""));
        check("Zg==", Some(b"f"));
        check("Zm9v\n", Some(b"foo"));
        check("Zm9vYg", Some(b"foob"));
        check("Zm 9v YmE=", Some(b"fooba"));
        check("/+8=", Some(b"\xff\xef"));
        check("Zm9v!", None);
        check("Z", None);
        check("Zh==", None);
        check("Zg==Zg==", None);
    }

    fn keys() -> Keys {
        let key = Key::new(Name::from_host("transfer").unwrap(), Algorithm::Sha256, &"c2Fj".repeat(11));
        Keys::new(vec![key.unwrap()])
    }

    fn query() -> Vec<u8> {
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x00\x00\x06\x00\x01".to_vec()
    }

    /// The query, signed as a client does: there is no MAC before it.
    fn signed(now: i64) -> Vec<u8> {
        let mut packet = query();
        let mut signer = Signer::of_request(&keys().0[0]);
        let len = packet.len() + signer.record_len();
        signer.sign(now, &mut packet);
        assert_eq!(packet.len(), len);
        packet
    }

    #[test]
    fn signatures_hold_or_are_refused() {
        #[track_caller]
        fn check(packet: &[u8], now: i64, expected: &str) {
            let signature = keys().check(&Query::parse(packet).unwrap(), now);
            let got = match &signature {
                Signature::None => "none".to_owned(),
                Signature::Good(signer) => format!("good {}", signer.key()),
                Signature::Refused(refusal) => format!("refused {}", refusal.error),
                Signature::Malformed => "malformed".to_owned(),
            };
            assert_eq!(got, expected);
        }
        let now = 1_700_000_000;
        check(&query(), now, "none");
        let good = signed(now);
        check(&good, now, "good transfer");
        check(&good, now + 300, "good transfer");
        check(&good, now + 301, "refused 18");
        check(&good, now - 301, "refused 18");
        // A forwarder may change the id.
        let mut changed = good.clone();
        changed[0] ^= 0xff;
        check(&changed, now, "good transfer");
        changed[2] ^= 0x01;
        check(&changed, now, "refused 16");
        let mut other_key = good.clone();
        let name = query().len() + 1;
        other_key[name] = b'x';
        check(&other_key, now, "refused 17");
        let mut other_algorithm = good.clone();
        let digits = other_algorithm.windows(6).position(|octets| octets == b"sha256").unwrap();
        other_algorithm[digits + 3..digits + 6].copy_from_slice(b"512");
        check(&other_algorithm, now, "refused 17");
        // Nothing in it panics, whatever octet is another.
        for at in query().len()..good.len() {
            for octet in [0, 1, 0x3f, 0xc0, 0xff] {
                let mut packet = good.clone();
                packet[at] = octet;
                if let Ok(query) = Query::parse(&packet) {
                    let _ = keys().check(&query, now);
                }
            }
        }
    }

    /// Answers to a request of ours: `signed` says which of them are signed, `change` spoils one.
    fn verify(signed: &[bool], now: i64, change: impl Fn(usize, &mut Vec<u8>)) -> Result<(), AnswerFault> {
        let keys = keys();
        let mut request = query();
        let mut own = Signer::of_request(&keys.0[0]);
        own.sign(1_700_000_000, &mut request);
        let parsed = Query::parse(&request).unwrap();
        let Signature::Good(mut theirs) = keys.check(&parsed, 1_700_000_000) else { panic!("not good") };
        let mut verifier = Verifier::new(own);
        for (number, is_signed) in signed.iter().enumerate() {
            let mut answer = query();
            answer[2] |= 0x80;
            if *is_signed {
                theirs.sign(1_700_000_000, &mut answer);
            } else {
                theirs.before.extend(&answer);
            }
            change(number, &mut answer);
            verifier.check(&Part::parse(&answer).unwrap(), now)?;
        }
        verifier.end()
    }

    #[test]
    fn answers_are_believed_when_they_are_signed() {
        #[track_caller]
        fn check(signed: &[bool], expected: Result<(), AnswerFault>) {
            assert_eq!(verify(signed, 1_700_000_001, |_, _| {}), expected);
        }
        check(&[true], Ok(()));
        check(&[true, true, true], Ok(()));
        check(&[true, false, false, true], Ok(()));
        let many: Vec<bool> = (0..250).map(|number| number % 100 == 0 || number == 249).collect();
        check(&many, Ok(()));
        let too_many: Vec<bool> = (0..102).map(|number| number % 101 == 0).collect();
        check(&too_many, Err(AnswerFault::Unsigned));
        check(&[false], Err(AnswerFault::Unsigned));
        check(&[false, true], Err(AnswerFault::Unsigned));
        check(&[true, false], Err(AnswerFault::Unsigned));
        check(&[], Err(AnswerFault::Unsigned));
        let late = verify(&[true], 1_700_000_301, |_, _| {});
        assert_eq!(late, Err(AnswerFault::Time));
        // A bit of any message, signed or not, shows.
        for at in 0..4 {
            let changed = verify(&[true, false, true, true], 1_700_000_000, |number, answer| {
                if number == at {
                    answer[13] ^= 1;
                }
            });
            assert_eq!(changed, Err(AnswerFault::Wrong), "{at}");
        }
        // Messages in another order, or one twice, show too: each stands on the one before.
        let foreign = verify(&[true, true], 1_700_000_000, |number, answer| {
            if number == 1 {
                let mut again = query();
                again[2] |= 0x80;
                Signer::of_request(&keys().0[0]).sign(1_700_000_000, &mut again);
                *answer = again;
            }
        });
        assert_eq!(foreign, Err(AnswerFault::Wrong));
    }

    #[test]
    fn refusals_are_told_from_forgeries() {
        let mut request = query();
        let other =
            Key::new(Name::from_host("transfer").unwrap(), Algorithm::Sha256, &"b3Ro".repeat(11)).unwrap();
        let mut own = Signer::of_request(&other);
        own.sign(1_700_000_000, &mut request);
        let parsed = Query::parse(&request).unwrap();
        let Signature::Refused(refusal) = keys().check(&parsed, 1_700_000_000) else { panic!("not refused") };
        let mut answer = query();
        answer[2] |= 0x80;
        refusal.append(&mut answer);
        let part = Part::parse(&answer).unwrap();
        assert_eq!(Verifier::new(own).check(&part, 1_700_000_000), Err(AnswerFault::Refused(BADSIG)));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = "c2Fj".repeat(11);
        let shown = format!("{:?}", keys());
        assert!(shown.contains("transfer") && !shown.contains(&secret), "{shown}");
        let name = || Name::from_host("transfer").unwrap();
        assert_eq!(Key::new(name(), Algorithm::Sha1, "Zm9v").unwrap_err(), SecretError::Short(3));
        assert_eq!(Key::new(name(), Algorithm::Sha1, "?").unwrap_err(), SecretError::Base64);
    }
}
