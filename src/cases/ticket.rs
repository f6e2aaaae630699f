//! Ticket codes: what names a case on the telephone.
//!
//! ```text
//! K7M4-QW9Y     seven characters at random, and one that checks them
//! ```
//!
//! 31 characters: digits and capital letters without 0 and O, 1 and I, and without X, which in Vietnamese sounds like S. Their number is
//! prime, so the check finds each wrong character and each two that changed places. 27 thousand million codes: too many to guess
//! one through a landing page that limits how often it is asked.

use std::fmt;
use std::str::FromStr;

/// The characters by their value.
const ALPHABET: &[u8; 31] = b"23456789ABCDEFGHJKLMNPQRSTUVWYZ";
const LEN: usize = 8;

/// A case's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket([u8; LEN]);

/// Why a text is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It is too short or too long.
    #[error("a ticket has eight letters and digits, such as K7M4-QW9Y")]
    Length,
    /// It has a character that no ticket has.
    #[error("no ticket has the character {0:?} (there is no 0, O, 1, I or X)")]
    Character(char),
    /// The check fails.
    #[error("a character is wrong, or two are the wrong way round; ask for it once more")]
    Check,
}

impl Ticket {
    /// The ticket that this number gives; of equal numbers the same.
    pub fn new(mut dice: u64) -> Self {
        let mut values = [0u8; LEN];
        for value in &mut values[..LEN - 1] {
            // Below 31.
            *value = (dice % ALPHABET.len() as u64) as u8;
            dice /= ALPHABET.len() as u64;
        }
        // The weight of the last place is 8, whose inverse modulo 31 is 4.
        let sum = sum(&values);
        values[LEN - 1] = ((31 - sum) * 4 % 31) as u8;
        Self(values)
    }
}

fn sum(values: &[u8; LEN]) -> u32 {
    (1..).zip(values).map(|(weight, value)| weight * u32::from(*value)).sum::<u32>() % 31
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            if at == LEN / 2 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(*value)]))?;
        }
        Ok(())
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    /// Takes what people type: small letters, spaces and hyphens anywhere.
    fn from_str(text: &str) -> Result<Self, TicketError> {
        let mut values = [0; LEN];
        let mut len = 0;
        for letter in text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-') {
            let is_it = |known: &u8| char::from(*known) == letter.to_ascii_uppercase();
            let value = ALPHABET.iter().position(is_it).ok_or(TicketError::Character(letter))?;
            *values.get_mut(len).ok_or(TicketError::Length)? = value as u8;
            len += 1;
        }
        match len {
            LEN if sum(&values) == 0 => Ok(Self(values)),
            LEN => Err(TicketError::Check),
            _ => Err(TicketError::Length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_out_is_understood_or_refused() {
        for dice in [0, 1, 31, 4_711, 0x1234_5678_9abc_def0, u64::MAX] {
            let ticket = Ticket::new(dice);
            let text = ticket.to_string();
            assert_eq!(text.len(), LEN + 1);
            assert_eq!(text.parse(), Ok(ticket), "{text}");
            assert_eq!(text.replace('-', " ").parse(), Ok(ticket));
            // Each wrong character, and each two that changed places, is found.
            let plain: Vec<u8> = text.bytes().filter(|octet| *octet != b'-').collect();
            for at in 0..LEN {
                for other in ALPHABET {
                    let mut wrong = plain.clone();
                    wrong[at] = *other;
                    let read = String::from_utf8(wrong.clone()).unwrap().parse::<Ticket>();
                    assert_eq!(read.is_ok(), wrong == plain, "{wrong:?}");
                }
                for other in at + 1..LEN {
                    let mut wrong = plain.clone();
                    wrong.swap(at, other);
                    let read = String::from_utf8(wrong.clone()).unwrap().parse::<Ticket>();
                    assert_eq!(read.is_ok(), wrong == plain, "{wrong:?}");
                }
            }
        }
    }

    #[test]
    fn small_letters_and_spaces_do_not_matter() {
        let ticket: Ticket = "K7M4-QW9Y".parse().unwrap();
        for typed in ["k7m4-qw9y", " k7 m4 qw 9y ", "K7M4QW9Y", "k7m4 - qw9Y"] {
            assert_eq!(typed.parse(), Ok(ticket), "{typed:?}");
        }
    }

    #[test]
    fn what_is_no_ticket_says_why() {
        fn check(text: &str, expected: TicketError) {
            assert_eq!(text.parse::<Ticket>(), Err(expected), "{text}");
        }
        check("", TicketError::Length);
        check("K7M4-QW9", TicketError::Length);
        check("2222-22222", TicketError::Length);
        check("K7M4-QW9O", TicketError::Character('O'));
        check("K7M4-QWĐ9", TicketError::Character('Đ'));
        check("2222-2223", TicketError::Check);
        assert!("2222 2222".parse::<Ticket>().is_ok());
    }
}
