//! `[console]`: where staff sign in.

use super::file::{network, networks_of};
use super::reader::{Reader, Table, address, list};
use crate::console::Options;

/// Who may read figures without a token.
const METRICS_ALLOW: &[&str] = &["127.0.0.0/8", "::1/128"];

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Options {
    let mut table = reader.sub_table(top, "console");
    // One address may stand without brackets.
    let listen = |value| address(value).map(|one| vec![one]).or_else(|_| list(address)(value));
    let listen = reader.take(&mut table, "listen", Vec::new(), listen);
    let metrics_allow = reader.take(&mut table, "metrics_allow", networks_of(METRICS_ALLOW), list(network));
    reader.finish(table, &[]);
    Options { listen, metrics_allow }
}
