//! One summary of many: those of parts of a day become the day's; one whose clients become unknown is written anew.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::read::Walk;
use super::write::Writer;
use super::{Asker, Client, Facts, Summary, SummaryError, settle};

/// How hard the last form is packed: more gains little.
const LEVEL: i32 = 3;

/// Writes one summary of all `parts`, brings it to the disk and returns its length.
pub(in crate::evidence) fn merge(parts: &[PathBuf], facts: &Facts, path: &Path) -> Result<u64, SummaryError> {
    let parts = parts.iter().map(|path| Summary::open(path)).collect::<Result<Vec<_>, _>>()?;
    let tables = parts.iter().map(Summary::clients).collect::<Result<Vec<_>, _>>()?;
    write(&parts, &tables, facts, path)
}

/// Writes a summary anew at `path`, with other addresses for clients that were never hits; returns its length.
pub(in crate::evidence) fn rewrite(
    summary: &Summary,
    change: impl Fn(IpAddr) -> IpAddr,
    path: &Path,
) -> Result<u64, SummaryError> {
    let known = summary.clients()?;
    let changed = known.iter().map(|it| Client { address: change(it.address), agency: it.agency.clone() });
    // Those who were stay as they are. Nobody else may be left in the table.
    let mut had_hits = vec![false; known.len()];
    let mut walk = summary.walk()?;
    while walk.advance()? {
        for asker in walk.askers()?.iter().filter(|asker| asker.was_hit) {
            *had_hits.get_mut(asker.client as usize).ok_or(SummaryError::Damaged)? = true;
        }
    }
    let with_hits = known.iter().zip(&had_hits).filter(|(_, had_hits)| **had_hits);
    let tables = [changed.collect(), with_hits.map(|(client, _)| client.clone()).collect()];
    let (clients, numbers) = united(&tables);
    let mut whole = numbers[1].iter().copied();
    let whole: Vec<u32> =
        had_hits.iter().map(|had_hits| if *had_hits { whole.next() } else { None }.unwrap_or(0)).collect();
    let facts = summary.facts().clone();
    let mut writer = Writer::create(path, facts.earliest, LEVEL)?;
    let (mut walk, mut askers) = (summary.walk()?, Vec::new());
    while walk.advance()? {
        askers.clear();
        for asker in walk.askers()? {
            let numbers = if asker.was_hit { &whole } else { &numbers[0] };
            askers.push(Asker { client: renumbered(numbers, asker.client)?, ..*asker });
        }
        settle(&mut askers);
        writer.add(walk.key(), &askers)?;
    }
    finish(writer, &clients, &facts)
}

fn finish(writer: Writer, clients: &[Client], facts: &Facts) -> Result<u64, SummaryError> {
    let (file, len): (File, u64) = writer.finish(clients, facts)?;
    file.sync_all()?;
    Ok(len)
}

/// All clients in their order, and for each table which number its own have there.
fn united(tables: &[Vec<Client>]) -> (Vec<Client>, Vec<Vec<u32>>) {
    let mut clients: Vec<Client> = tables.iter().flatten().cloned().collect();
    clients.sort_unstable();
    clients.dedup();
    let number = |client: &Client| {
        // Each is there, and they are far fewer than 2^32.
        clients.binary_search(client).unwrap_or_default() as u32
    };
    let numbers = tables.iter().map(|table| table.iter().map(number).collect()).collect();
    (clients, numbers)
}

fn renumbered(numbers: &[u32], client: u32) -> Result<u32, SummaryError> {
    numbers.get(client as usize).copied().ok_or(SummaryError::Damaged)
}

fn write(parts: &[Summary], tables: &[Vec<Client>], facts: &Facts, path: &Path) -> Result<u64, SummaryError> {
    let (clients, numbers) = united(tables);
    let mut writer = Writer::create(path, facts.earliest, LEVEL)?;
    let mut walks: Vec<Walk<'_>> = parts.iter().map(Summary::walk).collect::<Result<_, _>>()?;
    let mut next: BinaryHeap<Reverse<(Vec<u8>, usize)>> = BinaryHeap::new();
    for (number, walk) in walks.iter_mut().enumerate() {
        if walk.advance()? {
            next.push(Reverse((walk.key().to_vec(), number)));
        }
    }
    let (mut key, mut askers) = (Vec::new(), Vec::new());
    while let Some(mut first) = next.peek_mut() {
        let Reverse((found, number)) = &mut *first;
        if *found != key || askers.is_empty() {
            if !askers.is_empty() {
                settle(&mut askers);
                writer.add(&key, &askers)?;
                askers.clear();
            }
            key.clone_from(found);
        }
        let walk = &mut walks[*number];
        for asker in walk.askers()? {
            askers.push(Asker { client: renumbered(&numbers[*number], asker.client)?, ..*asker });
        }
        if walk.advance()? {
            found.clear();
            found.extend(walk.key());
        } else {
            std::collections::binary_heap::PeekMut::pop(first);
        }
    }
    if !askers.is_empty() {
        settle(&mut askers);
        writer.add(&key, &askers)?;
    }
    finish(writer, &clients, facts)
}
