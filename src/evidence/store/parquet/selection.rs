//! Rows of a row group that are wanted, as ranges.

use std::ops::Range;

use super::CHUNK;

/// Rows of a row group, in ascending order and apart.
pub(super) type Selection = Vec<Range<usize>>;

pub(super) fn whole(rows: usize) -> Selection {
    std::iter::once(0..rows).collect()
}

pub(super) fn count(selection: &[Range<usize>]) -> usize {
    selection.iter().map(ExactSizeIterator::len).sum()
}

pub(super) fn push(selection: &mut Selection, rows: Range<usize>) {
    match selection.last_mut() {
        Some(last) if last.end == rows.start => last.end = rows.end,
        _ => selection.push(rows),
    }
}

pub(super) fn intersect(one: &[Range<usize>], other: &[Range<usize>]) -> Selection {
    let (mut both, mut others) = (Selection::new(), other.iter().peekable());
    for rows in one {
        while let Some(other) = others.peek() {
            let (start, end) = (rows.start.max(other.start), rows.end.min(other.end));
            if start < end {
                push(&mut both, start..end);
            }
            if other.end > rows.end {
                break;
            }
            others.next();
        }
    }
    both
}

pub(super) fn unite(one: Selection, other: Selection) -> Selection {
    let mut all = [one, other].concat();
    all.sort_by_key(|rows| rows.start);
    let mut united = Selection::new();
    for rows in all {
        match united.last_mut() {
            Some(last) if last.end >= rows.start => last.end = last.end.max(rows.end),
            _ => united.push(rows),
        }
    }
    united
}

/// A selection in parts that are read at once.
pub(super) fn chunks(selection: &[Range<usize>]) -> impl Iterator<Item = Range<usize>> {
    selection
        .iter()
        .flat_map(|rows| rows.clone().step_by(CHUNK).map(|start| start..rows.end.min(start + CHUNK)))
}
