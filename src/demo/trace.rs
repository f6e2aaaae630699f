//! What the audit log has of those who work at the console, gathered while it happens and written once, in the order of times.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::office::ACCOUNTS;
use super::{DemoError, failed};
use crate::evidence::audit::{self, Change, Look, Person};

/// Lines that are written, the last: each is brought to the disk by itself.
const MOST: usize = 600;

/// Lines of the audit log.
#[derive(Debug, Default)]
pub(super) struct Trace(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    time: i64,
    account: &'static str,
    what: What,
}

#[derive(Debug)]
enum What {
    Look { client: IpAddr, since: i64 },
    Change { what: &'static str, on: String, details: String },
}

impl Trace {
    /// An account changed something.
    pub(super) fn changed(
        &mut self,
        time: i64,
        account: &'static str,
        what: &'static str,
        on: &str,
        details: &str,
    ) {
        let what = What::Change { what, on: on.to_owned(), details: details.to_owned() };
        self.0.push(Entry { time, account, what });
    }

    /// An account looked at a machine's queries since a time.
    pub(super) fn looked(&mut self, time: i64, account: &'static str, client: IpAddr, since: i64) {
        self.0.push(Entry { time, account, what: What::Look { client, since } });
    }

    /// Writes what there is.
    pub(super) fn write(mut self, data_dir: &Path) -> Result<(), DemoError> {
        self.0.sort_by_key(|entry| entry.time);
        for Entry { time, account, what } in self.0.split_off(self.0.len().saturating_sub(MOST)) {
            let number = ACCOUNTS.iter().position(|(name, _)| *name == account).unwrap_or(0);
            let role = ACCOUNTS[number].1.as_str();
            let address = Some(IpAddr::V4(Ipv4Addr::new(10, 16, 0, 21 + number as u8)));
            let by = Person { account, role, address };
            let done = match &what {
                What::Change { what, on, details } => {
                    audit::changed(data_dir, time, Some(&by), &Change { what, on, details })
                }
                What::Look { client, since } => {
                    let look =
                        Look { command: "console", client: *client, since: Some(*since), until: Some(time) };
                    audit::looked(data_dir, time, &by, &look)
                }
            };
            done.map_err(failed(&audit::path(data_dir)))?;
        }
        Ok(())
    }
}
