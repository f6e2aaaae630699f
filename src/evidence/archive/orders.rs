//! What is to be sought, on disk until it was: any number of names and networks, in little memory.
//!
//! ```text
//! name     NUMBER.hunt                in the order in which they are sought
//!          8  magic "SACHHUN\x01"
//!          8  since when, little-endian, microseconds since 1970
//! then, for each
//!          1  0: a label follows, to be known by how many came before it
//!             1, 2, 3: a name with its subtree, the name alone, all below it
//!             4: a network
//!             5: the end
//!        1+n  of a label, feed and family: length and text, 0 = none
//!          1  … and the severity (as in a record), 255 = none
//!          n  of a name, the number of its label, the length of its key (LEB128), and that
//!          n  of a network, the number of its label (LEB128), its bits (1), the length of its address (1), and that
//! ```
//!
//! Written beside its place, and renamed: what is there is whole.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Thread;

use ipnet::IpNet;

use crate::evidence::record::{Severity, put_address, put_number, put_text};
use crate::evidence::store::embedded::store_folder;
use crate::evidence::store::names::{Gathering, Label, Needles, Reach};
use crate::evidence::store::sync_folder;

const MAGIC: &[u8; 8] = b"SACHHUN\x01";
/// Orders that wait.
const MOST_ORDERS: usize = 16;
/// The longest key of a name.
const MOST_KEY: u64 = 1024;

const LABEL: u8 = 0;
const SUBTREE: u8 = 1;
const EXACT: u8 = 2;
const BELOW: u8 = 3;
const NET: u8 = 4;
const END: u8 = 5;

/// Where the orders of the log in `folder` are.
pub(super) fn orders_folder(log: &Path) -> PathBuf {
    store_folder(log).join("hunts")
}

/// The orders that wait, the oldest first.
pub(super) fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut orders = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "hunt") {
            orders.push(path);
        }
    }
    orders.sort();
    Ok(orders)
}

/// Removes what a killed process had not finished.
pub(super) fn tidy(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Asks the archiver to search for new indicators.
#[derive(Debug, Clone)]
pub struct Hunter {
    pub(super) folder: PathBuf,
    pub(super) thread: Option<Thread>,
}

/// Why nothing is ordered.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Too many wait.
    #[error("{} earlier searches still wait", MOST_ORDERS)]
    Many,
    /// The order cannot be written.
    #[error("{path}: {source}")]
    System {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Names and networks to be sought, that are being written down.
#[derive(Debug)]
pub struct Order {
    path: PathBuf,
    file: BufWriter<File>,
    labels: HashMap<Label, u64>,
    octets: Vec<u8>,
    count: u64,
    thread: Option<Thread>,
}

impl Hunter {
    /// Orders for whoever archives the log in this folder.
    pub fn new(log: &Path) -> Self {
        Self { folder: orders_folder(log), thread: None }
    }

    /// Begins a list of what is sought in the records since then; they are searched by and by once it is
    /// [ended](Order::finish), and what is found is entered as hits before they were listed.
    ///
    /// # Errors
    /// [`OrderError`]: then nothing is sought.
    pub fn order(&self, since: i64) -> Result<Order, OrderError> {
        let failed = |source| OrderError::System { path: self.folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed)?;
        let waiting = list(&self.folder).map_err(failed)?;
        if waiting.len() >= MOST_ORDERS {
            return Err(OrderError::Many);
        }
        let last = waiting.last().and_then(|path| path.file_stem()?.to_str()?.parse::<u64>().ok());
        let path = self.folder.join(format!("{:010}.hunt", last.map_or(1, |last| last + 1)));
        let begin = || {
            let new = super::beside(&path);
            let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(new)?;
            let mut file = BufWriter::new(file);
            file.write_all(MAGIC)?;
            file.write_all(&since.to_le_bytes())?;
            Ok(file)
        };
        let file = begin().map_err(failed)?;
        let (labels, octets) = (HashMap::new(), Vec::new());
        Ok(Order { path, file, labels, octets, count: 0, thread: self.thread.clone() })
    }
}

impl Order {
    /// Adds a name by its [key](crate::name::Key).
    ///
    /// # Errors
    /// What the system said.
    pub fn add_name(&mut self, key: &[u8], reach: Reach, label: &Label) -> io::Result<()> {
        let kind = match reach {
            Reach::Subtree => SUBTREE,
            Reach::Exact => EXACT,
            Reach::Below => BELOW,
        };
        self.begin(kind, label)?;
        put_number(key.len() as u64, &mut self.octets);
        self.octets.extend(key);
        self.file.write_all(&self.octets)
    }

    /// Adds a network, or an address as one of all its bits.
    ///
    /// # Errors
    /// What the system said.
    pub fn add_net(&mut self, net: IpNet, label: &Label) -> io::Result<()> {
        self.begin(NET, label)?;
        self.octets.push(net.prefix_len());
        put_address(net.network(), &mut self.octets);
        self.file.write_all(&self.octets)
    }

    fn begin(&mut self, kind: u8, label: &Label) -> io::Result<()> {
        self.count += 1;
        self.octets.clear();
        let number = match self.labels.get(label) {
            Some(number) => *number,
            None => {
                self.octets.push(LABEL);
                put_text(label.feed.as_deref(), &mut self.octets);
                put_text(label.family.as_deref(), &mut self.octets);
                self.octets.push(label.severity.map_or(u8::MAX, |severity| severity as u8));
                self.file.write_all(&self.octets)?;
                self.octets.clear();
                let number = self.labels.len() as u64;
                self.labels.insert(label.clone(), number);
                number
            }
        };
        self.octets.push(kind);
        put_number(number, &mut self.octets);
        Ok(())
    }

    /// Takes the list back, since it cannot be written.
    pub fn give_up(self, source: io::Error) -> OrderError {
        let _ = fs::remove_file(super::beside(&self.path));
        OrderError::System { path: self.path, source }
    }

    /// Ends the list and gives it to the archiver; returns how many are sought.
    ///
    /// # Errors
    /// [`OrderError`]: then nothing is sought.
    pub fn finish(mut self) -> Result<u64, OrderError> {
        let new = super::beside(&self.path);
        let mut end = || {
            if self.count == 0 {
                return fs::remove_file(&new);
            }
            self.file.write_all(&[END])?;
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            fs::rename(&new, &self.path)?;
            self.path.parent().map_or(Ok(()), sync_folder)
        };
        let ended = end();
        if ended.is_err() {
            let _ = fs::remove_file(&new);
        }
        ended.map_err(|source| OrderError::System { path: self.path.clone(), source })?;
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
        Ok(self.count)
    }
}

/// An order that is read, a part at a time.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) path: PathBuf,
    pub(super) since: i64,
    file: BufReader<File>,
    labels: Vec<Label>,
    is_over: bool,
}

impl Parts {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        if octets::<8>(&mut file)? != *MAGIC {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let since = i64::from_le_bytes(octets(&mut file)?);
        Ok(Self { path: path.to_owned(), since, file, labels: Vec::new(), is_over: false })
    }

    /// The next so many; `None` at the end.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Option<Needles>> {
        let (mut gathering, mut count) = (Gathering::default(), 0);
        while count < most && !self.is_over {
            let [kind] = octets(&mut self.file)?;
            match kind {
                LABEL => {
                    let (feed, family) = (text(&mut self.file)?, text(&mut self.file)?);
                    let severity = match octets(&mut self.file)? {
                        [u8::MAX] => None,
                        [number] => Some(Severity::from_number(number).ok_or(io::ErrorKind::InvalidData)?),
                    };
                    self.labels.push(Label { feed, family, severity });
                    continue;
                }
                END => {
                    self.is_over = true;
                    continue;
                }
                _ => {}
            }
            let label = usize::try_from(number(&mut self.file)?).ok().and_then(|at| self.labels.get(at));
            let label = label.ok_or(io::ErrorKind::InvalidData)?;
            let reach = match kind {
                SUBTREE => Reach::Subtree,
                EXACT => Reach::Exact,
                BELOW => Reach::Below,
                NET => {
                    gathering.add_net(net(&mut self.file)?, label);
                    count += 1;
                    continue;
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            let len = number(&mut self.file)?;
            if len > MOST_KEY {
                return Err(io::ErrorKind::InvalidData.into());
            }
            // Not more than a kilobyte.
            let mut key = vec![0; len as usize];
            self.file.read_exact(&mut key)?;
            gathering.add_name(&key, reach, label);
            count += 1;
        }
        Ok((count > 0).then(|| gathering.finish()))
    }
}

fn octets<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut octets = [0; N];
    file.read_exact(&mut octets)?;
    Ok(octets)
}

fn number(file: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let [octet] = octets(file)?;
        number |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn text(file: &mut impl Read) -> io::Result<Option<Arc<str>>> {
    let [len] = octets(file)?;
    let mut text = vec![0; len.into()];
    file.read_exact(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Some(text).filter(|text| !text.is_empty()).map(Into::into))
}

fn net(file: &mut impl Read) -> io::Result<IpNet> {
    let [bits, len] = octets(file)?;
    let address: IpAddr = match len {
        4 => octets::<4>(file)?.into(),
        16 => octets::<16>(file)?.into(),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(IpNet::new(address, bits).map_err(|_| io::ErrorKind::InvalidData)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(feed: &str) -> Label {
        Label { feed: Some(feed.into()), family: None, severity: Some(Severity::Critical) }
    }

    #[test]
    fn what_is_ordered_is_sought_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let hunter = Hunter { folder: folder.path().join("hunts"), thread: None };
        assert_eq!(hunter.order(0).unwrap().finish().unwrap(), 0);
        assert!(list(&hunter.folder).unwrap().is_empty(), "nothing is no order");
        for since in [-7, 8] {
            let mut order = hunter.order(since).unwrap();
            for n in 0..250u32 {
                let feed = label(if n % 2 == 0 { "one" } else { "other" });
                order.add_name(&n.to_be_bytes(), Reach::Below, &feed).unwrap();
            }
            order.add_net("192.0.2.0/24".parse().unwrap(), &label("one")).unwrap();
            order.add_net("2001:db8::/32".parse().unwrap(), &label("one")).unwrap();
            assert_eq!(order.finish().unwrap(), 252);
        }
        let orders = list(&hunter.folder).unwrap();
        assert_eq!(orders.len(), 2);
        let mut parts = Parts::open(&orders[0]).unwrap();
        assert_eq!(parts.since, -7);
        let mut lens = Vec::new();
        while let Some(needles) = parts.next(100).unwrap() {
            lens.push(needles.len());
        }
        assert_eq!(lens, [100, 100, 52]);
        assert_eq!(Parts::open(&orders[1]).unwrap().since, 8);
        // Cut anywhere, it is told.
        let whole = fs::read(&orders[0]).unwrap();
        for len in 0..whole.len() {
            fs::write(&orders[0], &whole[..len]).unwrap();
            let read = || -> io::Result<()> {
                let mut parts = Parts::open(&orders[0])?;
                while parts.next(100)?.is_some() {}
                Ok(())
            };
            assert!(read().is_err(), "cut to {len}");
        }
    }

    #[test]
    fn orders_are_bounded_and_what_is_half_written_goes() {
        let folder = tempfile::tempdir().unwrap();
        let hunter = Hunter { folder: folder.path().to_owned(), thread: None };
        for _ in 0..MOST_ORDERS {
            let mut order = hunter.order(0).unwrap();
            order.add_name(b"a", Reach::Exact, &label("one")).unwrap();
            order.finish().unwrap();
        }
        assert!(matches!(hunter.order(0), Err(OrderError::Many)));
        fs::remove_file(&list(&hunter.folder).unwrap()[0]).unwrap();
        drop(hunter.order(0).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MOST_ORDERS);
        tidy(&hunter.folder).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), MOST_ORDERS - 1);
    }
}
