//! The `sachdns` command.

fn main() {}
