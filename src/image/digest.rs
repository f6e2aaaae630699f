//! The digest of an image: the SHA-256 of its pieces' SHA-256s, so that one pass writes it and
//! several processors verify it.
//!
//! Knows octets only; what stands in them is `image`'s.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::thread;

use sha2::{Digest as _, Sha256};

/// The SHA-256 of an image.
pub type Digest = [u8; 32];

/// Octets of a piece; the last one of an image has fewer. Fits a processor's own cache.
const PIECE: usize = 256 << 10;
/// More do not help: by then the file cannot be read any faster.
const MOST_THREADS: usize = 8;

/// Digests octets that come bit by bit.
#[derive(Default)]
pub(super) struct Digester {
    piece: Sha256,
    len: usize,
    pieces: Sha256,
}

impl Digester {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.len));
            self.piece.update(now);
            self.len += now.len();
            if self.len == PIECE {
                self.end_piece();
            }
            bytes = later;
        }
    }

    fn end_piece(&mut self) {
        self.pieces.update(self.piece.finalize_reset());
        self.len = 0;
    }

    /// Ends the octets; `header` is digested after them.
    pub(super) fn finish(mut self, header: &[u8]) -> Digest {
        if self.len > 0 {
            self.end_piece();
        }
        self.pieces.update(header);
        self.pieces.finalize().into()
    }
}

/// Digests the octets of `file` from `start` to `end` as [`Digester`] does, on as many processors as
/// there are.
///
/// Reads instead of mapping: what is only looked through once need not count as the process's memory.
pub(super) fn of_file(file: &File, start: u64, end: u64, header: &[u8]) -> io::Result<Digest> {
    let count = end.saturating_sub(start).div_ceil(PIECE as u64);
    let count = usize::try_from(count).map_err(io::Error::other)?;
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    let share = count.div_ceil(threads).max(1);
    let mut digests = vec![Digest::default(); count];
    thread::scope(|scope| {
        let mut parts = digests.chunks_mut(share);
        let first = parts.next();
        let others: Vec<_> = (1..)
            .zip(parts)
            .map(|(number, part)| {
                let start = start + (number * share * PIECE) as u64;
                scope.spawn(move || digest_pieces(file, start, end, part))
            })
            .collect();
        first.map_or(Ok(()), |part| digest_pieces(file, start, end, part))?;
        others.into_iter().try_for_each(|thread| thread.join().expect("digesting does not panic"))
    })?;
    let mut pieces = Sha256::new();
    for digest in digests {
        pieces.update(digest);
    }
    pieces.update(header);
    Ok(pieces.finalize().into())
}

/// Digests as many pieces as `digests` has room for, from `start` on.
fn digest_pieces(file: &File, mut start: u64, end: u64, digests: &mut [Digest]) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    for digest in digests {
        // At most `PIECE`, which is a usize.
        let len = (end - start).min(PIECE as u64) as usize;
        let piece = &mut buffer[..len];
        file.read_exact_at(piece, start)?;
        *digest = Sha256::digest(piece).into();
        start += len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_one_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for len in [0, 1, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE + 5, 40 * PIECE] {
            let bytes: Vec<u8> = (0..len).map(|at| (at / 7) as u8).collect();
            std::fs::write(&path, [b"head", &*bytes].concat()).unwrap();
            let mut digester = Digester::default();
            for part in bytes.chunks(100_003) {
                digester.update(part);
            }
            let file = File::open(&path).unwrap();
            let of_file = of_file(&file, 4, 4 + len as u64, b"header").unwrap();
            assert_eq!(digester.finish(b"header"), of_file, "{len}");
        }
    }
}
