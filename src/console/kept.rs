//! What costs more than a page may take, kept for some seconds: sums over all cases, all agencies, all hits of a month.
//!
//! Bounded in number; the key says whose it is, so that nobody is shown another one's.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Things that are kept.
const MOST: usize = 256;

/// What was worked out a moment ago.
#[derive(Debug, Default)]
pub struct Kept(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    until: i64,
    value: Arc<dyn Any + Send + Sync>,
}

impl Kept {
    /// What has this key, if it is no older than `life` (microseconds); otherwise what `make` makes, which is kept.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get<T: Any + Send + Sync, E>(
        &self,
        key: &str,
        life: i64,
        now: i64,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let fresh = {
            let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = entries.get(key).filter(|entry| entry.until > now && entry.until - life <= now);
            entry.and_then(|entry| Arc::clone(&entry.value).downcast::<T>().ok())
        };
        if let Some(value) = fresh {
            return Ok(value);
        }
        // Not under the lock: two may make the same, and others do not wait.
        let value = Arc::new(make()?);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MOST {
            entries.retain(|_, entry| entry.until > now);
            if entries.len() >= MOST {
                entries.clear();
            }
        }
        let kept: Arc<dyn Any + Send + Sync> = value.clone();
        entries.insert(key.to_owned(), Entry { until: now.saturating_add(life), value: kept });
        Ok(value)
    }

    /// Forgets all: something was changed that somebody wants to see.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_kept_for_a_while_and_few_of_them() {
        let kept = Kept::default();
        let get = |key: &str, now, value: u64| *kept.get::<_, ()>(key, 10, now, || Ok(value)).unwrap();
        assert_eq!([get("a", 0, 1), get("a", 9, 2), get("a", 10, 3), get("b", 10, 4)], [1, 1, 3, 4]);
        assert_eq!(get("a", -100, 5), 5, "the clock was set back");
        assert_eq!(*kept.get::<_, ()>("a", 10, -100, || Ok("other")).unwrap(), "other");
        kept.forget();
        assert_eq!(get("b", 10, 6), 6);
        for number in 0..2 * MOST as u64 {
            get(&number.to_string(), 10, number);
        }
        assert!(kept.0.lock().unwrap().len() <= MOST);
    }
}
