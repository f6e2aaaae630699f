//! DNS cookies: how a client shows that it takes what is sent to its address (RFC 7873, RFC 9018).
//!
//! Knows what a COOKIE option says and what to put into the answer's; which answers carry one, and what
//! clients without proof are told, is `serve`'s business.
//!
//! ```text
//! size  field                                        (numbers are big-endian)
//!    8  client cookie, as the client chose it
//!    1  version, 1
//!    3  reserved, 0
//!    4  timestamp, seconds since 1970, modulo 2³²
//!    8  SipHash-2-4 of everything before and the client's address, under a secret
//! ```

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use siphasher::sip::SipHasher24;

use super::limits::Proof;

/// Octets of an option with a client cookie and our server cookie.
pub const LEN: usize = 24;
/// Octets in front of the hash.
const SIGNED: usize = 16;
const CLIENT: usize = 8;
const VERSION: u8 = 1;

/// Seconds (RFC 9018, section 4.3) after which a cookie proves nothing any more …
const OLDEST: i32 = 3600;
/// … after which it is replaced by a new one …
const OLD: i32 = 1800;
/// … and how far the clocks of servers that share a secret may be apart.
const FUTURE: i32 = 300;

/// What cookies are signed with. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 16]);

/// Why a text is no secret; does not quote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Not 128 bits.
    #[error("it has {0} characters and not 32")]
    Length(usize),
    /// Not a hexadecimal number.
    #[error("it has characters that are no hexadecimal digits")]
    Digit,
}

impl Secret {
    /// Takes 128 bits that nobody can guess.
    pub fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    fn hash(&self, signed: &[u8; SIGNED], client: IpAddr) -> [u8; 8] {
        let mut input = [0; SIGNED + 16];
        input[..SIGNED].copy_from_slice(signed);
        let len = match client.to_canonical() {
            IpAddr::V4(client) => {
                input[SIGNED..SIGNED + 4].copy_from_slice(&client.octets());
                SIGNED + 4
            }
            IpAddr::V6(client) => {
                input[SIGNED..].copy_from_slice(&client.octets());
                SIGNED + 16
            }
        };
        SipHasher24::new_with_key(&self.0).hash(&input[..len]).to_le_bytes()
    }
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        if text.len() != 32 {
            return Err(SecretError::Length(text.chars().count()));
        }
        // A sign is no digit, though Rust takes one in front of a number.
        let is_number = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_number);
        number.map(|number| Self(number.to_be_bytes())).ok_or(SecretError::Digit)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets of this server and those that share its address.
#[derive(Debug, Clone)]
pub struct Cookies {
    signing: Secret,
    retiring: Vec<Secret>,
}

/// What a query's option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// The option of every answer to that query.
    pub answer: [u8; LEN],
    /// Whether the client sent back what it was sent before.
    pub proof: Proof,
}

/// No COOKIE option has this length: FORMERR (RFC 7873, section 5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Cookies {
    /// Signs with one secret and takes cookies signed with the `others` too (RFC 9018, section 5).
    pub fn new(signing: Secret, others: Vec<Secret>) -> Self {
        Self { signing, retiring: others }
    }

    /// Reads the data of a COOKIE option that `client` sent; `now` is in seconds since 1970. Allocates nothing.
    ///
    /// # Errors
    /// [`Malformed`], when it holds neither a client cookie alone nor one of each.
    pub fn read(&self, option: &[u8], client: IpAddr, now: u32) -> Result<Cookie, Malformed> {
        // A server cookie has 8 to 32 octets; ours is one kind of many.
        let Some((own, _)) = option
            .split_first_chunk::<CLIENT>()
            .filter(|(_, server)| server.is_empty() || (8..=32).contains(&server.len()))
        else {
            return Err(Malformed);
        };
        let Some(age) = self.age(option, client, now) else {
            return Ok(Cookie { answer: self.sign(own, client, now), proof: Proof::Claimed });
        };
        let answer = match <[u8; LEN]>::try_from(option) {
            Ok(sent) if age.is_current => sent,
            _ => self.sign(own, client, now),
        };
        Ok(Cookie { answer, proof: Proof::Proven })
    }

    /// `None` for what is not a cookie of ours for this client and time.
    fn age(&self, option: &[u8], client: IpAddr, now: u32) -> Option<Age> {
        let (signed, hash) = option.split_first_chunk::<SIGNED>()?;
        if signed[CLIENT] != VERSION {
            return None;
        }
        // Serial number arithmetic (RFC 1982): the clock's 32 bits end in 2106.
        let made = u32::from_be_bytes([signed[12], signed[13], signed[14], signed[15]]);
        let seconds = now.wrapping_sub(made).cast_signed();
        let is_ours = |secret: &Secret| is_same(&secret.hash(signed, client), hash);
        if !(-FUTURE..=OLDEST).contains(&seconds) {
            return None;
        }
        if is_ours(&self.signing) {
            // Others may have set the reserved octets, which are signed; ours are 0.
            return Some(Age { is_current: seconds <= OLD && signed[CLIENT + 1..12] == [0; 3] });
        }
        self.retiring.iter().any(is_ours).then_some(Age { is_current: false })
    }

    fn sign(&self, own: &[u8; CLIENT], client: IpAddr, now: u32) -> [u8; LEN] {
        let mut signed = [0; SIGNED];
        signed[..CLIENT].copy_from_slice(own);
        signed[CLIENT] = VERSION;
        signed[12..].copy_from_slice(&now.to_be_bytes());
        let mut cookie = [0; LEN];
        cookie[..SIGNED].copy_from_slice(&signed);
        cookie[SIGNED..].copy_from_slice(&self.signing.hash(&signed, client));
        cookie
    }
}

/// Whether a valid cookie is still the one to use.
struct Age {
    is_current: bool,
}

/// Compares in the same time wherever the first difference is.
fn is_same(own: &[u8; 8], theirs: &[u8]) -> bool {
    <[u8; 8]>::try_from(theirs).is_ok_and(|theirs| u64::from_ne_bytes(*own) == u64::from_ne_bytes(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "e5e973e5a6b2a43f48e7dc849e37bfcf";
    const CLIENT_1: &str = "198.51.100.100";

    fn cookies(secrets: &[&str]) -> Cookies {
        let mut secrets = secrets.iter().map(|secret| secret.parse().unwrap());
        Cookies::new(secrets.next().unwrap(), secrets.collect())
    }

    fn octets(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Under these secrets, a client that sends `sent` at `now` is answered with `answer`.
    fn check(secrets: &[&str], client: &str, now: u32, sent: &str, proof: Proof, answer: &str) {
        let cookie = cookies(secrets).read(&octets(sent), client.parse().unwrap(), now).unwrap();
        assert_eq!((cookie.proof, &cookie.answer[..]), (proof, &octets(answer)[..]), "{sent} at {now}");
    }

    #[test]
    fn the_examples_of_rfc_9018() {
        // Appendix A.1: a client learns its first cookie …
        let first = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        check(&[SECRET], CLIENT_1, 1_559_731_985, "2464c4abcf10c957", Proof::Claimed, first);
        // … A.2: and its second, 40 minutes later.
        let second = "2464c4abcf10c957010000005cf7a871d4a564a1442aca77";
        check(&[SECRET], CLIENT_1, 1_559_734_385, first, Proof::Proven, second);
        // A.3: reserved octets are signed as they are. The example is two hours old, and so too old here.
        let (client, reserved) = ("203.0.113.203", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5");
        let fresh = "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e";
        check(&[SECRET], client, 1_559_734_700, reserved, Proof::Claimed, fresh);
        let young = cookies(&[SECRET]).read(&octets(reserved), client.parse().unwrap(), 1_559_727_985);
        assert_eq!(young.unwrap().proof, Proof::Proven);
        // A.4: IPv6, and a secret that is being replaced.
        let (client, old) =
            ("2001:db8:220:1:59de:d0f4:8769:82b8", "22681ab97d52c298010000005cf7c57926556bd0934c72f8");
        let new = "22681ab97d52c298010000005cf7c609a6bb79d16625507a";
        let secrets = ["445536bcd2513298075a5d379663c962", "dd3bdf9344b678b185a6f5cb60fca715"];
        check(&secrets, client, 1_559_741_961, old, Proof::Proven, new);
        check(&secrets[..1], client, 1_559_741_961, old, Proof::Claimed, new);
    }

    #[test]
    fn a_cookie_has_its_time() {
        let now = 1_559_731_985;
        let first = "2464c4abcf10c957010000005cf79f111f8130c3eee29480";
        let proof = |at: u32| {
            let read = cookies(&[SECRET]).read(&octets(first), CLIENT_1.parse().unwrap(), at).unwrap();
            (read.proof, read.answer[..] == octets(first)[..])
        };
        assert_eq!(proof(now - 301), (Proof::Claimed, false));
        assert_eq!(proof(now - 300), (Proof::Proven, true));
        assert_eq!(proof(now + 1800), (Proof::Proven, true));
        assert_eq!(proof(now + 1801), (Proof::Proven, false));
        assert_eq!(proof(now + 3600), (Proof::Proven, false));
        assert_eq!(proof(now + 3601), (Proof::Claimed, false));
        assert_eq!(proof(now + 0x8000_0000), (Proof::Claimed, false));
    }

    #[test]
    fn the_clock_may_wrap() {
        let (cookies, client) = (cookies(&[SECRET]), CLIENT_1.parse().unwrap());
        let made = cookies.read(&[7; 8], client, u32::MAX - 9).unwrap().answer;
        assert_eq!(cookies.read(&made, client, 10), Ok(Cookie { answer: made, proof: Proof::Proven }));
    }

    #[test]
    fn a_cookie_is_one_clients() {
        let cookies = cookies(&[SECRET]);
        let made = cookies.read(&[7; 8], CLIENT_1.parse().unwrap(), 1000).unwrap().answer;
        let proof =
            |option: &[u8], client: &str| cookies.read(option, client.parse().unwrap(), 1000).unwrap().proof;
        assert_eq!(proof(&made, CLIENT_1), Proof::Proven);
        assert_eq!(proof(&made, &format!("::ffff:{CLIENT_1}")), Proof::Proven);
        assert_eq!(proof(&made, "198.51.100.101"), Proof::Claimed);
        for at in 0..LEN {
            let mut changed = made;
            changed[at] ^= 1;
            assert_eq!(proof(&changed, CLIENT_1), Proof::Claimed, "octet {at}");
        }
        assert_eq!(proof(&[&made[..], &[0]].concat(), CLIENT_1), Proof::Claimed);
    }

    #[test]
    fn only_some_lengths_are_cookies() {
        for len in 0..64 {
            let read = cookies(&[SECRET]).read(&vec![1; len], CLIENT_1.parse().unwrap(), 1000);
            assert_eq!(read.is_ok(), matches!(len, 8 | 16..=40), "{len}");
        }
    }

    #[test]
    fn a_secret_is_read_and_not_shown() {
        assert_eq!(
            SECRET.parse(),
            Ok(Secret::new(*b"\xe5\xe9\x73\xe5\xa6\xb2\xa4\x3f\x48\xe7\xdc\x84\x9e\x37\xbf\xcf"))
        );
        assert_eq!(SECRET[1..].parse::<Secret>(), Err(SecretError::Length(31)));
        assert_eq!(format!("+{}", &SECRET[1..]).parse::<Secret>(), Err(SecretError::Digit));
        assert_eq!("é".repeat(16).parse::<Secret>(), Err(SecretError::Digit));
        assert!(!format!("{:?}", cookies(&[SECRET])).contains("e5"));
    }
}
