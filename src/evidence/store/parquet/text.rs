//! Reading a column of text: rows as the numbers of their values, so that each value is looked at once, however many rows have it.
//!
//! The library gives pages, and values one by one; what a page says of them is read here, as Parquet packs it: levels, which tell
//! null from a value, and numbers of the dictionary's values, both in its hybrid of runs and packed groups. Where a dictionary grew past
//! its bound, the pages from there on have the values themselves.

use std::ops::Range;
use std::rc::Rc;

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader};
use parquet::data_type::ByteArray;

use super::FileError;
use crate::evidence::record::number;
use crate::evidence::store::rows::Text;

/// The number of null.
const NULL: u32 = u32::MAX;

/// The values that rows have by number.
#[derive(Default)]
pub(super) struct Dictionary {
    octets: ByteArray,
    /// Where each one lies.
    places: Vec<(u32, u32)>,
}

impl Dictionary {
    /// Reads values one after the other, each with its length.
    fn read(octets: ByteArray, count: usize) -> Option<Self> {
        let mut rest = octets.data();
        let all = rest.len();
        // What each value takes at the least: a count that says more is damage.
        let mut places = Vec::with_capacity(count.min(all / 4));
        for _ in 0..count {
            let (len, tail) = rest.split_first_chunk::<4>()?;
            let start = u32::try_from(all - tail.len()).ok()?;
            let len = u32::from_le_bytes(*len);
            rest = tail.get(len as usize..)?;
            places.push((start, start + len));
        }
        Some(Self { octets, places })
    }

    fn value(&self, number: usize) -> Option<&[u8]> {
        let (start, end) = *self.places.get(number)?;
        self.octets.data().get(start as usize..end as usize)
    }
}

/// Reads a column, forwards; one that the file lacks is null in every row.
pub(super) struct Texts {
    pages: Option<Box<dyn PageReader>>,
    column: Text,
    dictionary: Rc<Dictionary>,
    page: Loaded,
    /// What was read last.
    numbers: Vec<u32>,
    /// Values of what was read last that the dictionary does not have; their numbers come behind it.
    others: Vec<ByteArray>,
}

/// A page that was read.
#[derive(Default)]
struct Loaded {
    rows: Range<usize>,
    numbers: Vec<u32>,
    /// Its own values, where it has no numbers of the dictionary.
    own: Option<Dictionary>,
}

/// What was found out about a dictionary's values, by number.
pub(super) struct Memo<T>(Vec<Option<T>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy> Memo<T> {
    /// What was found out about a row's value, or is now.
    pub(super) fn get<E>(
        &mut self,
        texts: &Texts,
        row: usize,
        find: impl FnOnce(Option<&[u8]>) -> Result<T, E>,
    ) -> Result<T, E> {
        let number = texts.numbers[row];
        let values = texts.dictionary.places.len();
        // Null has the last place.
        let place = if number == NULL { values } else { number as usize };
        if place > values || place == values && number != NULL {
            return find(texts.value(row));
        }
        if self.0.len() <= values {
            self.0.resize(values + 1, None);
        }
        if let Some(found) = self.0[place] {
            return Ok(found);
        }
        let found = find(texts.value(row))?;
        self.0[place] = Some(found);
        Ok(found)
    }
}

impl Texts {
    /// With a dictionary that was read before.
    pub(super) fn new(
        mut pages: Option<Box<dyn PageReader>>,
        column: Text,
        known: Option<&Rc<Dictionary>>,
    ) -> Result<Self, FileError> {
        let mut dictionary = known.cloned().unwrap_or_default();
        if let Some(pages) = &mut pages
            && pages.peek_next_page()?.is_some_and(|page| page.is_dict)
        {
            match known {
                Some(_) => pages.skip_next_page()?,
                None => {
                    let Some(Page::DictionaryPage { buf, num_values, .. }) = pages.get_next_page()? else {
                        return Err(FileError::Page(column));
                    };
                    let values = Dictionary::read(buf.into(), num_values as usize);
                    dictionary = Rc::new(values.ok_or(FileError::Page(column))?);
                }
            }
        }
        let page = Loaded::default();
        Ok(Self { pages, column, dictionary, page, numbers: Vec::new(), others: Vec::new() })
    }

    pub(super) fn dictionary(&self) -> &Rc<Dictionary> {
        &self.dictionary
    }

    /// Reads these rows, which lie behind those that were read before.
    pub(super) fn read(&mut self, mut rows: Range<usize>) -> Result<(), FileError> {
        self.numbers.clear();
        self.others.clear();
        if self.pages.is_none() {
            self.numbers.resize(rows.len(), NULL);
            return Ok(());
        }
        while !rows.is_empty() {
            self.turn_to(rows.start)?;
            let Loaded { rows: of_page, numbers, own } = &self.page;
            let part = rows.start..rows.end.min(of_page.end);
            let numbers = &numbers[part.start - of_page.start..part.end - of_page.start];
            match own {
                None => self.numbers.extend_from_slice(numbers),
                Some(own) => {
                    for &number in numbers {
                        let (start, end) = match own.places.get(number as usize) {
                            Some(place) => *place,
                            None => {
                                self.numbers.push(NULL);
                                continue;
                            }
                        };
                        // A chunk of rows, behind the values of 64 MiB.
                        self.numbers.push((self.dictionary.places.len() + self.others.len()) as u32);
                        self.others.push(own.octets.slice(start as usize, (end - start) as usize));
                    }
                }
            }
            rows.start = part.end;
        }
        Ok(())
    }

    /// Loads the page that has a row, unless it is there.
    fn turn_to(&mut self, row: usize) -> Result<(), FileError> {
        let Some(pages) = &mut self.pages else { return Ok(()) };
        while row >= self.page.rows.end {
            let next = pages.peek_next_page()?.ok_or(FileError::Rows)?;
            let start = self.page.rows.end;
            // Each value is a row of its own.
            if let Some(len) = next.num_rows.or(next.num_levels)
                && start.saturating_add(len) <= row
            {
                pages.skip_next_page()?;
                self.page.rows = start..start + len;
                continue;
            }
            let page = pages.get_next_page()?.ok_or(FileError::Rows)?;
            self.page = load(&page, &self.dictionary).ok_or(FileError::Page(self.column))?;
            self.page.rows = start..start + self.page.numbers.len();
        }
        Ok(())
    }

    /// How many rows were read last.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The value of a row of those that were read last; `None` for null.
    pub(super) fn value(&self, row: usize) -> Option<&[u8]> {
        let number = *self.numbers.get(row).filter(|number| **number != NULL)? as usize;
        match number.checked_sub(self.dictionary.places.len()) {
            None => self.dictionary.value(number),
            Some(other) => self.others.get(other).map(ByteArray::data),
        }
    }
}

/// Reads a page of data; `None` where it is damaged, or is packed as no release of ours does.
fn load(page: &Page, dictionary: &Dictionary) -> Option<Loaded> {
    let Page::DataPage { buf, num_values, encoding, def_level_encoding: Encoding::RLE, .. } = page else {
        return None;
    };
    let count = *num_values as usize;
    let (len, rest) = buf.split_first_chunk::<4>()?;
    let (levels, mut rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let mut numbers = Vec::with_capacity(count.min(1 << 20));
    unpack(levels, 1, count, &mut numbers)?;
    let present = numbers.iter().filter(|level| **level == 1).count();
    let own = match encoding {
        Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => None,
        Encoding::PLAIN => {
            let start = buf.len() - rest.len();
            let values: ByteArray = buf.slice(start..).into();
            Some(Dictionary::read(values, present)?)
        }
        _ => return None,
    };
    let mut values = Vec::new();
    match &own {
        Some(own) => values.extend(0..own.places.len() as u32),
        None if present == 0 => {}
        None => {
            let width = *rest.split_off_first()?;
            unpack(rest, width.into(), present, &mut values)?;
            if values.iter().any(|number| *number as usize >= dictionary.places.len()) {
                return None;
            }
        }
    }
    let mut values = values.into_iter();
    for number in &mut numbers {
        *number = if *number == 0 { NULL } else { values.next()? };
    }
    Some(Loaded { rows: 0..0, numbers, own })
}

/// Adds so many numbers of so many bits each, out of runs and packed groups of eight; `None` where there are fewer.
///
/// Each begins with a LEB128 number: twice the length of a run of the number that follows in whole octets, or twice the number of groups
/// and one. (Parquet's encodings, "RLE = 3".)
fn unpack(mut octets: &[u8], width: usize, count: usize, out: &mut Vec<u32>) -> Option<()> {
    if width > 32 {
        return None;
    }
    let end = out.len() + count;
    while out.len() < end {
        let head = number(&mut octets)?;
        let len = usize::try_from(head >> 1).ok().filter(|len| *len > 0)?;
        let left = end - out.len();
        if head & 1 == 0 {
            let mut value = [0; 4];
            let own = octets.split_off(..width.div_ceil(8))?;
            value[..own.len()].copy_from_slice(own);
            out.resize(out.len() + len.min(left), u32::from_le_bytes(value));
            continue;
        }
        let packed = octets.split_off(..len.checked_mul(width)?)?;
        let mask = (1u64 << width) - 1;
        for at in (0..len.saturating_mul(8).min(left)).map(|value| value * width) {
            let from = &packed[at / 8..];
            // Seven bits before it, and 32 of its own, at the most.
            let window = from.first_chunk::<8>().copied().unwrap_or_else(|| {
                let mut window = [0; 8];
                window[..from.len()].copy_from_slice(from);
                window
            });
            out.push((u64::from_le_bytes(window) >> (at % 8) & mask) as u32);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_groups_become_numbers() {
        let check = |octets: &[u8], width, count, expected: Option<&[u32]>| {
            let mut numbers = Vec::new();
            let found = unpack(octets, width, count, &mut numbers).map(|()| &*numbers);
            assert_eq!(found, expected, "{octets:?}");
        };
        // The example of Parquet's specification: 0 to 7, three bits each.
        let eight = [0b0000_0011, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        check(&eight, 3, 8, Some(&[0, 1, 2, 3, 4, 5, 6, 7]));
        check(&eight, 3, 5, Some(&[0, 1, 2, 3, 4]));
        check(&eight, 3, 9, None);
        check(&eight[..3], 3, 5, None);
        check(&[6, 1], 1, 3, Some(&[1, 1, 1]));
        check(&[6, 1, 4, 0], 1, 5, Some(&[1, 1, 1, 0, 0]));
        check(&[4, 0x34, 0x12], 13, 2, Some(&[0x1234, 0x1234]));
        check(&[4, 0x34], 13, 2, None);
        check(&[8], 0, 4, Some(&[0; 4]));
        check(&[3], 0, 4, Some(&[0; 4]));
        check(&[3, 1, 2, 3, 4, 5, 6, 7, 8], 8, 8, Some(&[1, 2, 3, 4, 5, 6, 7, 8]));
        check(&[&[3][..], &[0xff; 32]].concat(), 32, 8, Some(&[u32::MAX; 8]));
        // A run of nothing is no way on, and nothing has more bits.
        check(&[0, 1], 1, 1, None);
        check(&[1], 1, 1, None);
        check(&[2, 0, 0, 0, 0, 0], 33, 1, None);
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], 8, 1, None);
        check(&[], 1, 0, Some(&[]));
    }
}
