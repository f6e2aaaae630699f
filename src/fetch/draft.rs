//! What is being fetched, as a file without a name: counted, digested and bounded while it is written.
//!
//! It goes with whoever holds it, also when that is killed. What is in it is not looked at, but for gzip, whose
//! unpacked size is bounded too.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::write::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

/// How gzip begins (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// More came than may; an [`io::Error`] carries it through writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// As it came.
    #[error("it is larger than max_size, {0} octets")]
    Octets(u64),
    /// Once unpacked.
    #[error("unpacked it is larger than max_size, {0} octets")]
    Unpacked(u64),
}

impl TooLarge {
    /// What an error of a writer carries.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref::<Self>().copied()
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct Draft {
    file: BufWriter<File>,
    digest: Sha256,
    size: u64,
    max_size: u64,
    packed: Packed,
}

/// What was written.
#[derive(Debug)]
pub struct Finished {
    /// The file, at its beginning.
    pub file: File,
    /// The SHA-256 of its content.
    pub digest: [u8; 32],
}

/// Whether what is written is gzip.
#[derive(Debug)]
enum Packed {
    /// Too few octets are there to say so.
    Unknown(Vec<u8>),
    /// It is, and is unpacked into nothing, to be counted.
    Gzip(Box<MultiGzDecoder<Counter>>),
    /// It is not, or it is damaged, which its reader will tell.
    No,
}

/// Counts what is written, and keeps nothing.
#[derive(Debug)]
struct Counter {
    left: u64,
    max_size: u64,
}

impl Draft {
    /// Begins a file in `folder`, of at most `max_size` octets, packed and unpacked.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(folder: &Path, max_size: u64) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 16, nameless(folder)?);
        Ok(Self { file, digest: Sha256::new(), size: 0, max_size, packed: Packed::Unknown(Vec::new()) })
    }

    /// Octets written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What was written, to be read from its beginning.
    ///
    /// # Errors
    /// What the system said, or [`TooLarge`]: the last of what is packed is unpacked here.
    pub fn finish(mut self) -> io::Result<Finished> {
        if let Packed::Gzip(decoder) = &mut self.packed
            && let Err(error) = decoder.try_finish()
            && TooLarge::of(&error).is_some()
        {
            return Err(error);
        }
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Finished { file, digest: self.digest.finalize().into() })
    }

    /// Unpacks what is gzip as far as it goes, for its size.
    fn count_unpacked(&mut self, octets: &[u8]) -> io::Result<()> {
        let first;
        let octets = match &mut self.packed {
            Packed::No => return Ok(()),
            Packed::Gzip(_) => octets,
            Packed::Unknown(head) => {
                head.extend(octets);
                if head.len() < GZIP.len() {
                    return Ok(());
                }
                first = std::mem::take(head);
                let counter = Counter { left: self.max_size, max_size: self.max_size };
                self.packed = if first.starts_with(&GZIP) {
                    Packed::Gzip(Box::new(MultiGzDecoder::new(counter)))
                } else {
                    Packed::No
                };
                &first
            }
        };
        let Packed::Gzip(decoder) = &mut self.packed else { return Ok(()) };
        match decoder.write_all(octets) {
            Err(error) if TooLarge::of(&error).is_some() => Err(error),
            // Its reader says where it is damaged.
            Err(_) => {
                self.packed = Packed::No;
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Write for Draft {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.size += octets.len() as u64;
        if self.size > self.max_size {
            return Err(io::Error::other(TooLarge::Octets(self.max_size)));
        }
        self.count_unpacked(octets)?;
        self.digest.update(octets);
        self.file.write_all(octets)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for Counter {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(octets.len() as u64);
        self.left = left.ok_or_else(|| io::Error::other(TooLarge::Unpacked(self.max_size)))?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A part of it, in memory.
#[derive(Debug)]
pub struct Bounded {
    /// What came.
    pub octets: Vec<u8>,
    max_size: u64,
}

impl Bounded {
    /// An empty one.
    pub fn new(max_size: u64) -> Self {
        Self { octets: Vec::new(), max_size }
    }
}

impl Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if (self.octets.len() + octets.len()) as u64 > self.max_size {
            return Err(io::Error::other(TooLarge::Octets(self.max_size)));
        }
        self.octets.extend(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A new file in `folder` whose name is gone already, so that it goes with its last holder.
///
/// # Errors
/// The file cannot be made.
pub fn nameless(folder: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("draft-{}-{number}", std::process::id()));
    // One of that name belongs to a process that was killed before the next line but one.
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(octets: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(octets).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn sizes_are_bounded_packed_and_unpacked() {
        #[track_caller]
        fn check(octets: &[u8], max_size: u64, expected: Result<u64, TooLarge>) {
            for piece in [1, 7, octets.len().max(1)] {
                let folder = tempfile::tempdir().unwrap();
                let mut draft = Draft::create(folder.path(), max_size).unwrap();
                assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
                let written = octets.chunks(piece).try_for_each(|piece| draft.write_all(piece));
                let got = match written.and_then(|()| draft.finish()) {
                    Ok(mut finished) => {
                        let mut content = Vec::new();
                        finished.file.read_to_end(&mut content).unwrap();
                        assert_eq!(content, octets);
                        assert_eq!(finished.digest, <[u8; 32]>::from(Sha256::digest(octets)));
                        Ok(content.len() as u64)
                    }
                    Err(error) => Err(TooLarge::of(&error).expect("no other error")),
                };
                assert_eq!(got, expected);
            }
        }
        check(b"", 10, Ok(0));
        check(b"\x1f", 10, Ok(1));
        check(b"0123456789", 10, Ok(10));
        check(b"0123456789a", 10, Err(TooLarge::Octets(10)));
        let bomb = gzip(&[0; 1 << 20]);
        let len = bomb.len() as u64;
        check(&bomb, 1 << 20, Ok(len));
        check(&bomb, (1 << 20) - 1, Err(TooLarge::Unpacked((1 << 20) - 1)));
        // Several members count together.
        check(&[&*bomb, &*bomb].concat(), 1 << 20, Err(TooLarge::Unpacked(1 << 20)));
        // What only looks like gzip is not for this file to judge.
        check(b"\x1f\x8bnothing of it", 20, Ok(15));
    }
}
