//! The landing page's side of the daemon: why a host is listed and whose machine asks, how the page looks, its key.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::DaemonError;
use super::cases::Cases;
use super::error::folder_error;
use crate::cases;
use crate::config::Config;
use crate::serve::pipeline::{Listed, Pipeline};
use crate::sinkhole::desk::Class;
use crate::sinkhole::http::{Finding, Site};
use crate::sinkhole::page::{Agency, Design, Listing};
use crate::sinkhole::reception::Reception;
use crate::sinkhole::token::Key;

/// Receives who comes to the sinkhole.
pub(super) fn reception(
    config: &Config,
    design: Design,
    pipeline: &Arc<Pipeline>,
    cases: &Cases,
) -> Result<Arc<Reception>, DaemonError> {
    let path = config.data_dir.join("landing.key");
    let key = key(&path).map_err(folder_error(&path))?;
    let site = Landing { pipeline: Arc::clone(pipeline), classify: Box::new(cases.classify()) };
    let zone = config.http.time_zone.clone();
    Ok(Arc::new(Reception::new(site, Some(cases.counter()), design, key, zone)))
}

/// Of a family, a feed, and whether an address is listed.
type Classify = dyn Fn(Option<&str>, &str, bool) -> cases::Class + Send + Sync;

struct Landing {
    pipeline: Arc<Pipeline>,
    classify: Box<Classify>,
}

impl Site for Landing {
    fn look_up(&self, host: Option<&str>, client: IpAddr) -> Finding {
        let state = self.pipeline.state();
        let listing =
            host.and_then(|host| self.pipeline.listed(host, client, Instant::now())).map(|listed| {
                let Listed { feed, family, is_address } = listed;
                let class = class((self.classify)(family.as_deref(), &feed, is_address));
                Listing { feed: feed.to_string(), family, class }
            });
        let agency = state.agencies.of(client).map(|agency| Agency {
            name: agency.name.to_string(),
            contact: agency.contact.as_ref().map(ToString::to_string),
        });
        Finding { listing, agency }
    }
}

/// The case desk's word in the page's.
pub(super) fn class(class: cases::Class) -> Class {
    match class {
        cases::Class::C2 => Class::C2,
        cases::Class::Phishing => Class::Phishing,
        cases::Class::Address => Class::Address,
        cases::Class::Scan => Class::Scan,
        cases::Class::Unknown => Class::Unknown,
    }
}

/// The key of the page's forms, which are good across restarts: kept in a file that nobody else may read, made where there
/// is none or a damaged one.
fn key(path: &Path) -> io::Result<Key> {
    match fs::read(path) {
        Ok(octets) => match <&[u8; Key::OCTETS]>::try_from(&*octets) {
            Ok(secret) => return Ok(Key::new(secret)),
            Err(_) => tracing::warn!(
                "{}: not a key; a new one is made, pages that stand open must be loaded anew",
                path.display()
            ),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret: [u8; Key::OCTETS] = rand::random();
    let new = path.with_extension("new");
    // Somebody may have died here before.
    let _ = fs::remove_file(&new);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&secret)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    Ok(Key::new(&secret))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_stays_and_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("landing.key");
        key(&path).unwrap();
        let first = fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        key(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        fs::write(&path, "short").unwrap();
        key(&path).unwrap();
        let second = fs::read(&path).unwrap();
        assert!(second.len() == Key::OCTETS && second != first);
        assert!(!path.with_extension("new").exists());
    }
}
