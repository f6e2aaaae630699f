//! `agencies.json`: the roster as it is kept.
//!
//! ```json
//! {"version":1,"agencies":[{"id":"so-y-te","name":"Sở Y tế","networks":["10.2.0.0/16"],"contact":"…","officer":"…","email":"…",
//!  "forwarders":["10.2.0.53/32"]}]}
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Entry, Fault, MOST, networks};

/// Octets of the file.
const MOST_OCTETS: u64 = 32 << 20;
/// The form of the file.
const VERSION: u32 = 1;

/// Why the roster cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// What the system said.
    #[error("{path}: {source}")]
    System {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no roster.
    #[error(
        "{path}: it cannot be read as a list of agencies: {why}; import the sheet again, or mend the file"
    )]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Somebody changed it meanwhile.
    #[error("{path}: somebody else changed the agencies meanwhile; look at the differences again")]
    Changed {
        /// Which file.
        path: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    agencies: Vec<EntryForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryForm {
    id: String,
    name: String,
    networks: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    officer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forwarders: Vec<String>,
}

/// The roster as it was read, with what tells its version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The agencies.
    pub entries: Vec<Entry>,
    /// The digest of its file; of none, that of nothing.
    pub digest: String,
}

/// Where the roster of a data folder is.
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("agencies.json")
}

/// Tells one version of a file from another.
pub fn digest(octets: &[u8]) -> String {
    Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Reads the roster; an empty one where there is none.
///
/// # Errors
/// [`RosterError`].
pub fn read(data_dir: &Path) -> Result<Kept, RosterError> {
    let path = path(data_dir);
    let octets = octets(&path)?;
    let text = std::str::from_utf8(&octets)
        .map_err(|error| RosterError::Content { path: path.clone(), why: error.to_string() })?;
    let entries = if text.is_empty() {
        Vec::new()
    } else {
        parse(text).map_err(|why| RosterError::Content { path, why })?
    };
    Ok(Kept { entries, digest: digest(&octets) })
}

fn octets(path: &Path) -> Result<Vec<u8>, RosterError> {
    let failed = |source| RosterError::System { path: path.to_owned(), source };
    let file = match File::open(path) {
        // Where data_dir is no folder, who opens it says so.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        file => file.map_err(failed)?,
    };
    let mut octets = Vec::new();
    file.take(MOST_OCTETS + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() as u64 > MOST_OCTETS {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(octets)
}

/// Reads the text of a roster; says in words what is wrong with it.
///
/// # Errors
/// The first thing that is wrong, with its agency.
pub fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let form: Form = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if form.version != VERSION {
        return Err(format!("it is of version {}, and this release knows {VERSION}", form.version));
    }
    if form.agencies.len() > MOST {
        return Err(Fault::TooMany.to_string());
    }
    let mut entries: Vec<Entry> = Vec::new();
    for it in form.agencies {
        let EntryForm { id, name, networks, contact, officer, email, forwarders } = it;
        let (networks, forwarders) = (read_all(&id, &networks)?, read_all(&id, &forwarders)?);
        let entry = Entry { id, name, networks, contact, officer, email, forwarders };
        if let Some(fault) = entry.fault() {
            return Err(format!("agency {:?}: {fault}", entry.id));
        }
        if entries.iter().any(|other| other.id == entry.id) {
            return Err(format!("agency {:?} is there twice", entry.id));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn read_all(id: &str, texts: &[String]) -> Result<Vec<IpNet>, String> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(networks(text).map_err(|fault| format!("agency {id:?}: {fault}"))?);
    }
    Ok(all)
}

/// Writes the roster in the place of the version with this digest; returns the new one's. What is on the disk is the old one or the
/// new one, whole.
///
/// # Errors
/// [`RosterError::Changed`], where that version is no longer there; [`RosterError::System`].
pub fn write(data_dir: &Path, entries: &[Entry], before: &str) -> Result<String, RosterError> {
    let path = path(data_dir);
    let failed = |source| RosterError::System { path: path.clone(), source };
    fs::create_dir_all(data_dir).map_err(failed)?;
    // Two who write at once: the second finds another version.
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(data_dir.join("agencies.lock"))
        .map_err(failed)?;
    lock.lock().map_err(failed)?;
    if digest(&octets(&path)?) != before {
        return Err(RosterError::Changed { path });
    }
    let form = |entry: &Entry| {
        let Entry { id, name, networks, contact, officer, email, forwarders } = entry.clone();
        let texts = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect();
        let (networks, forwarders) = (texts(&networks), texts(&forwarders));
        EntryForm { id, name, networks, contact, officer, email, forwarders }
    };
    let form = Form { version: VERSION, agencies: entries.iter().map(form).collect() };
    let mut octets = serde_json::to_vec_pretty(&form).map_err(|error| failed(error.into()))?;
    octets.push(b'\n');
    let beside = data_dir.join("agencies.json.new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(&octets)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(data_dir)?.sync_all()
    };
    write().map_err(failed)?;
    Ok(digest(&octets))
}
