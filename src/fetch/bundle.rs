//! Bundles: versions of feeds as one signed file, for servers on a network without internet.
//!
//! ```text
//! sachdns-bundle 1
//! {"made_at":1764070000000000,"feeds":[{"name":"authority","digest":"…","size":7,"arrived_at":…,"origin":"…"}]}
//! (Ed25519 signature of the two lines above with their ends, Base64)
//! (the feeds' octets, one behind the other, in that order)
//! ```
//!
//! Nothing of a bundle is looked at before its signature holds, and no version is kept whose digest is another than
//! was signed. What the versions say is not known here: the gate judges them as any other.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::feed::store::{Digest, MAX_VERSION, Version};

/// The first line.
const HEAD: &str = "sachdns-bundle 1\n";
/// The most octets of the second.
const MAX_MANIFEST: u64 = 16 << 20;
/// … and of the third.
const MAX_SIGNATURE: u64 = 200;

/// Who may make bundles: an Ed25519 public key (RFC 8032) as Base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

/// A text is no public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not 32 octets in Base64, 44 characters")]
pub struct PublicKeyError;

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let octets = BASE64_STANDARD.decode(text).ok().and_then(|octets| octets.try_into().ok());
        octets.map(Self).ok_or(PublicKeyError)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// What makes bundles.
pub struct SecretKey(Ed25519KeyPair);

impl SecretKey {
    /// A new one: its text in PEM form (PKCS#8), and its public key.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> io::Result<(String, PublicKey)> {
        let failed = |_| io::Error::other("the system gives no random numbers");
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).map(Self);
        let key = key.map_err(|_| io::Error::other("a new key is none"))?;
        let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
        let text = BASE64_STANDARD.encode(document.as_ref());
        for line in text.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|&letter| char::from(letter)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        Ok((pem, key.public()))
    }

    /// Reads what [`Self::generate`] gave.
    ///
    /// # Errors
    /// It is none.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| BundleError::SecretKey)?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        key.map(Self).map_err(|_| BundleError::SecretKey)
    }

    /// The public key that goes with it.
    pub fn public(&self) -> PublicKey {
        let mut octets = [0; 32];
        octets.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(octets)
    }
}

/// What is wrong with a bundle or a key.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// No bundle.
    #[error("it is no bundle of this release: {0}")]
    NoBundle(&'static str),
    /// Signed by nobody that is known, or changed since.
    #[error("its signature is by none of fetch.bundle_keys, or it was changed on its way")]
    Signature,
    /// Not a secret key.
    #[error("it is no Ed25519 key in PEM form; make one with `sachdns feed key`")]
    SecretKey,
}

/// What a bundle holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    /// When it was made, microseconds since 1970: the later of two is the newer.
    made_at: i64,
    feeds: Vec<Entry>,
}

/// A version in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its feed.
    pub name: String,
    /// What it must be.
    pub digest: Digest,
    /// Its octets.
    pub size: u64,
    /// When it came to the bundle's maker.
    pub arrived_at: i64,
    /// … and from where.
    pub origin: String,
}

/// Writes a bundle of these versions, each the name of its feed and its file.
///
/// # Errors
/// [`BundleError::Io`], also when a file is not what its version says.
pub fn write(
    out: &mut dyn Write,
    key: &SecretKey,
    made_at: i64,
    versions: Vec<(String, Version, File)>,
) -> Result<(), BundleError> {
    let (feeds, files): (Vec<_>, Vec<_>) = versions
        .into_iter()
        .map(|(name, version, file)| {
            let Version { digest, size, arrived_at, origin } = version;
            (Entry { name, digest, size, arrived_at, origin }, file)
        })
        .unzip();
    let manifest =
        serde_json::to_string(&Manifest { made_at, feeds: feeds.clone() }).map_err(io::Error::from)?;
    let signed = format!("{HEAD}{manifest}\n");
    let signature = BASE64_STANDARD.encode(key.0.sign(signed.as_bytes()));
    out.write_all(signed.as_bytes())?;
    writeln!(out, "{signature}")?;
    for (entry, file) in feeds.iter().zip(files) {
        io::copy(&mut Checked::new(file, entry), out)?;
    }
    Ok(())
}

/// An open bundle whose signature holds.
pub struct Bundle<R> {
    reader: R,
    /// Who made it.
    pub maker: PublicKey,
    /// When, microseconds since 1970.
    pub made_at: i64,
    entries: std::vec::IntoIter<Entry>,
}

impl Bundle<BufReader<File>> {
    /// Opens a bundle by one of these keys.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn open(path: &Path, keys: &[PublicKey]) -> Result<Self, BundleError> {
        Self::new(BufReader::with_capacity(1 << 18, File::open(path)?), keys)
    }
}

impl<R: BufRead> Bundle<R> {
    /// As [`Bundle::open`], from any reader.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn new(mut reader: R, keys: &[PublicKey]) -> Result<Self, BundleError> {
        let mut signed = Vec::new();
        read_line(&mut reader, HEAD.len() as u64, &mut signed)?;
        if signed != HEAD.as_bytes() {
            return Err(BundleError::NoBundle("it begins otherwise"));
        }
        read_line(&mut reader, MAX_MANIFEST, &mut signed)?;
        let mut signature = Vec::new();
        read_line(&mut reader, MAX_SIGNATURE, &mut signature)?;
        let signature =
            BASE64_STANDARD.decode(signature.trim_ascii_end()).map_err(|_| BundleError::Signature)?;
        let is_by =
            |key: &&PublicKey| UnparsedPublicKey::new(&ED25519, key.0).verify(&signed, &signature).is_ok();
        let maker = *keys.iter().find(is_by).ok_or(BundleError::Signature)?;
        let manifest: Manifest = serde_json::from_slice(&signed[HEAD.len()..])
            .map_err(|_| BundleError::NoBundle("its list of feeds is none"))?;
        let Manifest { made_at, feeds } = manifest;
        if feeds.iter().any(|entry| entry.size > MAX_VERSION) {
            return Err(BundleError::NoBundle("a feed in it is larger than any may be"));
        }
        Ok(Self { reader, maker, made_at, entries: feeds.into_iter() })
    }

    /// The next feed, and its content; read that to its end, which fails where it is another than was signed.
    pub fn next_feed(&mut self) -> Option<(Entry, impl Read + use<'_, R>)> {
        let entry = self.entries.next()?;
        let content = Checked::new(&mut self.reader, &entry);
        Some((entry, content))
    }
}

/// Reads a line with its end; one that is longer, or has none, is no bundle's.
fn read_line(reader: &mut impl BufRead, longest: u64, out: &mut Vec<u8>) -> Result<(), BundleError> {
    reader.take(longest).read_until(b'\n', out)?;
    if out.ends_with(b"\n") { Ok(()) } else { Err(BundleError::NoBundle("a line has no end")) }
}

/// Content that ends with an error where it is not what it should be.
struct Checked<R> {
    reader: R,
    hasher: Sha256,
    left: u64,
    digest: Digest,
}

impl<R: Read> Checked<R> {
    fn new(reader: R, entry: &Entry) -> Self {
        Self { reader, hasher: Sha256::new(), left: entry.size, digest: entry.digest }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 && !buffer.is_empty() {
            let digest = self.hasher.clone().finalize();
            if self.left == 0 && digest[..] != self.digest.0 {
                return Err(io::Error::other("it is not what was signed"));
            }
            return Ok(0);
        }
        let len = self.reader.read(&mut buffer[..most])?;
        if len == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it was cut"));
        }
        self.hasher.update(&buffer[..len]);
        self.left -= len as u64;
        Ok(len)
    }
}

/// Which bundles were taken, so that an old one does not come back as new.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken(std::collections::BTreeMap<String, i64>);

impl Taken {
    /// Where it is kept.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("bundles.json")
    }

    /// One after the other: whoever looks which bundles were taken holds this until the own one is put down.
    ///
    /// # Errors
    /// It cannot be made or locked.
    pub fn turn(data_dir: &Path, waits: impl FnOnce()) -> io::Result<File> {
        let file =
            File::options().write(true).create(true).truncate(false).open(data_dir.join("bundles.lock"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waits();
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(file)
    }

    /// Reads it; none were taken where there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub fn load(data_dir: &Path) -> io::Result<Self> {
        match std::fs::read(Self::path(data_dir)) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// When the last bundle was made that was taken from this maker.
    pub fn last(&self, maker: PublicKey) -> Option<i64> {
        self.0.get(&maker.to_string()).copied()
    }

    /// Puts down that a bundle was taken.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&mut self, data_dir: &Path, maker: PublicKey, made_at: i64) -> io::Result<()> {
        self.0.insert(maker.to_string(), made_at);
        let path = Self::path(data_dir);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(data_dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_pem(SecretKey::generate().unwrap().0.as_bytes()).unwrap()
    }

    fn bundle(key: &SecretKey, contents: &[&str]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let versions = contents.iter().enumerate().map(|(number, content)| {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, content).unwrap();
            let digest = Digest(Sha256::digest(content.as_bytes()).into());
            let version =
                Version { digest, size: content.len() as u64, arrived_at: 1, origin: "x".to_owned() };
            (format!("feed{number}"), version, File::open(path).unwrap())
        });
        let mut out = Vec::new();
        write(&mut out, key, 7, versions.collect()).unwrap();
        out
    }

    /// The feeds' contents.
    fn read(octets: &[u8], keys: &[PublicKey]) -> Result<Vec<String>, BundleError> {
        let mut bundle = Bundle::new(octets, keys)?;
        assert_eq!(bundle.made_at, 7);
        let mut contents = Vec::new();
        while let Some((entry, mut content)) = bundle.next_feed() {
            assert_eq!(entry.name, format!("feed{}", contents.len()));
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            contents.push(text);
        }
        Ok(contents)
    }

    #[test]
    fn what_was_signed_comes_back() {
        let (key, other) = (key(), key());
        let contents = ["evil.example\n", "", "other.example\n"];
        let octets = bundle(&key, &contents);
        assert_eq!(read(&octets, &[other.public(), key.public()]).unwrap(), contents);
        assert_eq!(read(&bundle(&key, &[]), &[key.public()]).unwrap(), [""; 0]);
        assert!(matches!(read(&octets, &[other.public()]), Err(BundleError::Signature)));
        assert!(matches!(read(&octets, &[]), Err(BundleError::Signature)));
        let text = key.public().to_string();
        assert_eq!(text.parse(), Ok(key.public()));
        assert_eq!("c2hvcnQ=".parse::<PublicKey>(), Err(PublicKeyError));
        assert!(matches!(SecretKey::from_pem(b"none"), Err(BundleError::SecretKey)));
    }

    #[test]
    fn no_octet_may_be_another_and_none_may_lack() {
        let key = key();
        let octets = bundle(&key, &["evil.example\n", "other.example\n"]);
        for at in 0..octets.len() {
            let mut changed = octets.clone();
            changed[at] ^= 1;
            assert!(read(&changed, &[key.public()]).is_err(), "octet {at}");
            assert!(read(&octets[..at], &[key.public()]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn what_was_taken_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (key().public(), key().public());
        let mut taken = Taken::load(folder.path()).unwrap();
        assert_eq!(taken.last(one), None);
        taken.put(folder.path(), one, 7).unwrap();
        let taken = Taken::load(folder.path()).unwrap();
        assert_eq!((taken.last(one), taken.last(other)), (Some(7), None));
    }
}
