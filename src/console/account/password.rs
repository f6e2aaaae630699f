//! Passwords: argon2id (RFC 9106), and how many are reckoned at once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use super::AccountsError;

/// A password has at least so many characters …
pub const SHORTEST: usize = 10;
/// … and at most so many octets.
pub(super) const LONGEST: usize = 1024;
/// Passwords that are reckoned at once: each takes 19 MiB, and time from those who are signed in.
const AT_ONCE: usize = 2;
/// … how many more may wait for a place, and for how long.
const WAITING: usize = 2;
const PATIENCE: Duration = Duration::from_secs(2);
/// After how many seconds whoever finds these taken may try again.
const PAUSE: u64 = 2;

/// The hash of a password that nobody has, with the costs of all.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Reckons passwords.
#[derive(Debug, Default)]
pub(super) struct Hasher {
    busy: Mutex<Busy>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Busy {
    reckoned: usize,
    waiting: usize,
}

impl Hasher {
    /// What is kept of a password.
    pub(super) fn hash(&self, password: &str) -> Result<String, AccountsError> {
        if password.chars().count() < SHORTEST || password.len() > LONGEST {
            return Err(AccountsError::Password);
        }
        let _place = self.place()?;
        let hash = hasher().hash_password(password.as_bytes()).map_err(AccountsError::Hash)?;
        Ok(hash.to_string())
    }

    /// Whether this is the password of that hash. Without one it is never, and takes as long to say so.
    pub(super) fn fits(&self, password: &str, hash: Option<&str>) -> Result<bool, AccountsError> {
        let _place = self.place()?;
        // A longer one is nobody's; that it is told sooner tells nothing of an account.
        let is_plausible = password.len() <= LONGEST;
        let fits = is_plausible
            && PasswordHash::new(hash.unwrap_or(NOBODY))
                .is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok());
        Ok(fits && hash.is_some())
    }

    fn place(&self) -> Result<Place<'_>, AccountsError> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.reckoned >= AT_ONCE {
            if busy.waiting >= WAITING {
                return Err(AccountsError::Busy(PAUSE));
            }
            busy.waiting += 1;
            let is_full = |busy: &mut Busy| busy.reckoned >= AT_ONCE;
            let waited = self.freed.wait_timeout_while(busy, PATIENCE, is_full);
            busy = waited.unwrap_or_else(PoisonError::into_inner).0;
            busy.waiting -= 1;
            if busy.reckoned >= AT_ONCE {
                return Err(AccountsError::Busy(PAUSE));
            }
        }
        busy.reckoned += 1;
        Ok(Place(self))
    }
}

/// One of the few places; free again when dropped.
struct Place<'a>(&'a Hasher);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner).reckoned -= 1;
        self.0.freed.notify_one();
    }
}

/// 19 MiB and two passes: the least that OWASP advises, since several may sign in at once beside a resolver.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_password_fits_a_hash_and_nobodys_takes_as_long() {
        let hasher = Hasher::default();
        let hash = hasher.hash("mật khẩu dài").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(hasher.fits("mật khẩu dài", Some(&hash)).unwrap());
        assert!(!hasher.fits("mật khẩu dàj", Some(&hash)).unwrap());
        assert!(!hasher.fits("mật khẩu dài", None).unwrap());
        assert!(PasswordHash::new(NOBODY).is_ok(), "or it would take no time");
        assert!(matches!(hasher.hash("ngắn"), Err(AccountsError::Password)));
        assert!(matches!(hasher.hash(&"a".repeat(LONGEST + 1)), Err(AccountsError::Password)));
    }

    #[test]
    fn few_are_reckoned_at_once_and_few_wait() {
        let hasher = Hasher::default();
        let held = [hasher.place().unwrap(), hasher.place().unwrap()];
        std::thread::scope(|scope| {
            let waiting = [scope.spawn(|| hasher.place().is_ok()), scope.spawn(|| hasher.place().is_ok())];
            while hasher.busy.lock().unwrap().waiting < WAITING {
                std::thread::yield_now();
            }
            assert!(matches!(hasher.fits("mật khẩu dài", None), Err(AccountsError::Busy(_))));
            drop(held);
            assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        });
        assert!(hasher.fits("mật khẩu dài", None).is_ok());
    }
}
