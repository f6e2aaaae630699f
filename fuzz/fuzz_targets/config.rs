//! Any text as a configuration: it is taken, or every fault says where in the file it is.
//!
//! Feeds that the text names are opened, so this runs best where there is little to open.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use sachdns::config::{Config, Fault};

fuzz_target!(|text: &str| {
    let lines = text.split('\n').count();
    let check = |fault: &Fault| {
        assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault} of {lines} lines");
        assert!(fault.to_string().starts_with("sachdns.toml:"));
    };
    match Config::parse(Path::new("sachdns.toml"), text) {
        Ok(config) => {
            assert!(config.server.workers > 0 && !config.server.listen.is_empty());
            assert!(!config.forward.upstreams.upstreams.is_empty());
            config.unused.iter().for_each(check);
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            faults.0.iter().for_each(check);
        }
    }
});
