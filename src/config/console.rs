//! `[console]`: where staff sign in.

use super::reader::{Reader, Table, address, list};
use crate::console::Options;

pub(super) fn read<'a>(reader: &mut Reader<'a>, top: &mut Table<'a>) -> Options {
    let mut table = reader.sub_table(top, "console");
    // One address may stand without brackets.
    let listen = |value| address(value).map(|one| vec![one]).or_else(|_| list(address)(value));
    let listen = reader.take(&mut table, "listen", Vec::new(), listen);
    reader.finish(table, &[]);
    Options { listen }
}
