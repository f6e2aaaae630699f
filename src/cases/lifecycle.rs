//! What may become of a case: new, notified, said to be clean, watched, closed, and open again. Pure: no clock, no database.
//!
//! ```text
//!            told             said clean            seen asking        quiet for long enough
//!   New ───────────► Notified ──────────► Cleaned ─────────────► Watched ───────────────────► Closed
//!    │                  ▲  │                 │                      │                           │
//!    │                  │  └── quiet for long enough ───────────────┼──────────────────────────►│
//!    │                  └──────────────── a hit ◄───────────────────┘                           │
//!    └─ quiet for long enough ─────────────────────────────────────────────────────────────────►│
//!            New, or Notified if somebody was told within this episode ◄──── a later hit ───────┘
//! ```
//!
//! **Off is not clean.** A day counts as quiet when the machine was seen asking on it and did not hit. Days on which it was not seen
//! count for nothing, so a machine in a drawer never closes a case. A day counts when it is over. A hit begins anew.
//!
//! **Times decide, not the order in which things become known.** Records come in late and twice: a hit from before the statement that the
//! machine is clean does not belie it, and one from before the closing does not open the case again. Nor does one within ten minutes after
//! the statement: whoever makes it on the landing page is there by a malicious name, and a look at that page is a hit like any
//! other. Malware comes again.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Microseconds of a day of usual length.
pub const DAY: i64 = 86_400_000_000;
/// What is seen so long after the statement that a machine is clean does not belie it.
const GRACE: i64 = 600_000_000;

/// How far a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Nobody was told.
    New,
    /// Somebody was told.
    Notified,
    /// Somebody says that the machine is clean; it was not seen since.
    Cleaned,
    /// … and it was seen asking since, without a hit.
    Watched,
    /// It is over.
    Closed,
}

const STATES: [(&str, State); 5] = [
    ("new", State::New),
    ("notified", State::Notified),
    ("cleaned", State::Cleaned),
    ("watched", State::Watched),
    ("closed", State::Closed),
];

impl State {
    /// Its word in commands and exports.
    pub fn as_str(self) -> &'static str {
        STATES[self as usize].0
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = STATES.iter().find(|(word, _)| *word == text);
        found.map(|(_, state)| *state).ok_or("it is none of new, notified, cleaned, watched and closed")
    }
}

/// A day's number in the province's time zone; days that follow each other have numbers that do.
pub fn day(time: i64, zone: &TimeZone) -> i32 {
    let offset = Timestamp::from_microsecond(time).map_or(0, |it| i64::from(zone.to_offset(it).seconds()));
    // Of times that fit 64 bits, days fit 32.
    time.saturating_add(offset * 1_000_000).div_euclid(DAY) as i32
}

/// A case's way so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// How far it is.
    pub state: State,
    /// When it was opened first.
    pub opened: i64,
    /// When this episode began: when it was opened, or opened again.
    pub since: i64,
    /// The first hit of all.
    pub first_hit: i64,
    /// … and the last.
    pub last_hit: i64,
    /// When the machine was last seen asking for anything.
    pub last_asked: Option<i64>,
    /// When somebody was told, in this episode.
    pub notified: Option<i64>,
    /// When somebody said that the machine is clean and it was not belied since.
    pub cleaned: Option<i64>,
    /// When it was closed.
    pub closed: Option<i64>,
    /// How often it was opened again.
    pub reopened: u32,
    /// Quiet days that are over.
    pub quiet_days: u32,
    /// The day of the last hit, or the last quiet day that counted.
    pub counted_day: i32,
    /// A day on which it asked, and that is not over or not counted.
    pub asked_day: Option<i32>,
}

/// What a course did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It was told of.
    Notified,
    /// It is said to be clean.
    Cleaned,
    /// It is watched.
    Watched,
    /// It was belied.
    Relapsed,
    /// It was closed: quiet for long enough, or by somebody.
    Closed,
    /// It was opened again.
    Reopened,
}

impl Course {
    /// That of a case whose first hit was at `time`, on `day`; opened `now`.
    pub fn open(time: i64, day: i32, now: i64) -> Self {
        Self {
            state: State::New,
            opened: now,
            since: now,
            first_hit: time,
            last_hit: time,
            last_asked: Some(time),
            notified: None,
            cleaned: None,
            closed: None,
            reopened: 0,
            quiet_days: 0,
            counted_day: day,
            asked_day: None,
        }
    }

    /// Whether it is not closed.
    pub fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// It was seen at `time`, on `day`, which became known `now`.
    pub fn hit(&mut self, time: i64, day: i32, now: i64) -> Option<Turn> {
        self.first_hit = self.first_hit.min(time);
        self.last_hit = self.last_hit.max(time);
        self.last_asked = self.last_asked.max(Some(time));
        let turn = match self.state {
            State::New | State::Notified => None,
            State::Cleaned | State::Watched => {
                if self.cleaned.is_some_and(|said| time <= said.saturating_add(GRACE)) {
                    return None;
                }
                self.state = if self.notified.is_some() { State::Notified } else { State::New };
                self.cleaned = None;
                Some(Turn::Relapsed)
            }
            State::Closed => {
                if self.closed.is_some_and(|closed| time <= closed) {
                    return None;
                }
                self.begin_again(now);
                Some(Turn::Reopened)
            }
        };
        if day >= self.counted_day {
            (self.counted_day, self.quiet_days) = (day, 0);
            self.asked_day = self.asked_day.filter(|asked| *asked > day);
        }
        turn
    }

    /// The machine was seen asking at `time`, on `day`.
    pub fn asked(&mut self, time: i64, day: i32, quiet_days: u32) -> Vec<Turn> {
        let mut turns = Vec::new();
        if !self.is_open() {
            return turns;
        }
        self.last_asked = self.last_asked.max(Some(time));
        if self.state == State::Cleaned && self.cleaned.is_some_and(|said| time > said) {
            self.state = State::Watched;
            turns.push(Turn::Watched);
        }
        if day > self.counted_day && self.asked_day.is_none_or(|asked| asked != day) {
            self.count(day);
            self.asked_day = self.asked_day.max(Some(day));
            turns.extend(self.close_if_quiet(time, quiet_days));
        }
        turns
    }

    /// It is `today`, at `now`.
    pub fn tick(&mut self, now: i64, today: i32, quiet_days: u32) -> Option<Turn> {
        if !self.is_open() {
            return None;
        }
        self.count(today);
        self.close_if_quiet(now, quiet_days)
    }

    /// Counts the day on which it asked, once that is over.
    fn count(&mut self, today: i32) {
        if let Some(asked) = self.asked_day.filter(|asked| *asked < today) {
            self.asked_day = None;
            if asked > self.counted_day {
                self.counted_day = asked;
                self.quiet_days = self.quiet_days.saturating_add(1);
            }
        }
    }

    fn close_if_quiet(&mut self, now: i64, quiet_days: u32) -> Option<Turn> {
        if self.quiet_days < quiet_days {
            return None;
        }
        self.close(now)
    }

    /// Somebody was told at `time`.
    pub fn told(&mut self, time: i64) -> Option<Turn> {
        if !self.is_open() || self.notified.is_some() {
            return None;
        }
        self.notified = Some(time);
        if self.state == State::New {
            self.state = State::Notified;
        }
        Some(Turn::Notified)
    }

    /// Somebody said at `time` that the machine is clean.
    pub fn said_clean(&mut self, time: i64) -> Option<Turn> {
        match self.state {
            State::New | State::Notified if time >= self.last_hit => {
                self.state = State::Cleaned;
                self.cleaned = Some(time);
                Some(Turn::Cleaned)
            }
            _ => None,
        }
    }

    /// Closes it.
    pub fn close(&mut self, time: i64) -> Option<Turn> {
        if !self.is_open() {
            return None;
        }
        self.state = State::Closed;
        self.closed = Some(time);
        Some(Turn::Closed)
    }

    /// Opens it again.
    pub fn reopen(&mut self, now: i64) -> Option<Turn> {
        if self.is_open() {
            return None;
        }
        self.begin_again(now);
        Some(Turn::Reopened)
    }

    fn begin_again(&mut self, now: i64) {
        self.state = State::New;
        self.since = now;
        self.reopened = self.reopened.saturating_add(1);
        (self.notified, self.cleaned, self.closed) = (None, None, None);
        (self.quiet_days, self.asked_day) = (0, None);
    }

    /// How long it took until somebody was told, in this episode.
    pub fn time_to_notify(&self) -> Option<i64> {
        self.notified.map(|told| (told - self.since).max(0))
    }

    /// How long the machine was infected in this episode, as far as one can tell: until somebody said it is clean and was not
    /// belied, or else until its last hit. `None` while that may still be wrong.
    pub fn time_to_clean(&self) -> Option<i64> {
        self.closed.map(|_| (self.cleaned.unwrap_or(self.last_hit) - self.since).max(0))
    }

    /// Takes in what another case of the same machine and family went through. The one that is less far says how far both are.
    pub fn join(&mut self, other: &Self) {
        let (state, is_others) = match (self.is_open(), other.is_open()) {
            (true, false) => (self.state, false),
            (false, true) => (other.state, true),
            _ if other.state < self.state => (other.state, true),
            _ => (self.state, false),
        };
        if is_others {
            (self.since, self.notified, self.cleaned, self.closed) =
                (other.since, other.notified, other.cleaned, other.closed);
        }
        self.state = state;
        if other.state == state {
            self.since = self.since.min(other.since);
            self.notified = [self.notified, other.notified].into_iter().flatten().min();
            self.cleaned = self.cleaned.max(other.cleaned);
            self.closed = self.closed.max(other.closed);
        }
        // A day that was quiet at one address may not have been at the other.
        self.quiet_days = self.quiet_days.min(other.quiet_days);
        self.counted_day = self.counted_day.max(other.counted_day);
        self.asked_day = self.asked_day.max(other.asked_day).filter(|asked| *asked > self.counted_day);
        self.opened = self.opened.min(other.opened);
        self.first_hit = self.first_hit.min(other.first_hit);
        self.last_hit = self.last_hit.max(other.last_hit);
        self.last_asked = self.last_asked.max(other.last_asked);
        self.reopened = self.reopened.max(other.reopened);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: u32 = 3;
    const ZONE: i64 = 7 * 3_600_000_000;

    /// Noon of a day, in the zone.
    fn noon(day: i32) -> i64 {
        i64::from(day) * DAY + DAY / 2 - ZONE
    }

    /// Runs a story, a word a day from day 0 on, on which the case is opened: `h` a hit, `a` asking, `.` off, `c` said clean, `t` told,
    /// `x` closed by hand, `r` reopened by hand; several on one day in brackets. Returns the state and the number of quiet days.
    fn run(story: &str) -> Course {
        let mut course = Course::open(noon(0), 0, noon(0));
        let mut is_within = false;
        let (mut today, mut at) = (0, noon(0));
        for letter in story.chars() {
            match letter {
                '[' => is_within = true,
                ']' => is_within = false,
                _ => {}
            }
            at += 2 * GRACE;
            match letter {
                'h' => drop(course.hit(at, today, at)),
                'a' => drop(course.asked(at, today, QUIET)),
                'c' => drop(course.said_clean(at)),
                't' => drop(course.told(at)),
                'x' => drop(course.close(at)),
                'r' => drop(course.reopen(at)),
                _ => {}
            }
            if !is_within && letter != '[' {
                today += 1;
                at = noon(today);
                course.tick(at, today, QUIET);
            }
        }
        course
    }

    #[test]
    fn stories() {
        fn check(story: &str, state: State, quiet: u32) {
            let course = run(story);
            assert_eq!((course.state, course.quiet_days), (state, quiet), "{story}: {course:?}");
        }
        check("", State::New, 0);
        check("t", State::Notified, 0);
        check("[tc]", State::Cleaned, 0);
        check("c", State::Cleaned, 0);
        check("[tca]", State::Watched, 0);
        // The day of the hit itself is not quiet.
        check("[tca]a", State::Watched, 1);
        check("[tca]aa", State::Watched, 2);
        check("[tca]aaa", State::Closed, 3);
        // Off is not clean.
        check("[tc].......", State::Cleaned, 0);
        check("[tc]a..a....", State::Watched, 2);
        check("[tc]a..a....a", State::Closed, 3);
        // Nobody said anything, and it went quiet.
        check("aaa", State::New, 2);
        check("taaa", State::Closed, 3);
        check(".aaa", State::Closed, 3);
        // A hit begins anew, also on a day on which it was quiet before.
        check("[tc]aa[ah]", State::Notified, 0);
        check("[tc]aahaa", State::Notified, 2);
        check("[tc]aahaaa", State::Closed, 3);
        check("[tc]aa[ha]", State::Notified, 0);
        // Belied, and again.
        check("[tch]", State::Notified, 0);
        check("[ch]", State::New, 0);
        check("[tchc]a", State::Watched, 1);
        // Closed is over, until a hit.
        check("[tca]aaaa", State::Closed, 3);
        check("[tca]aaah", State::New, 0);
        check("[tca]aaa[ht]", State::Notified, 0);
        check("x", State::Closed, 0);
        check("xh", State::New, 0);
        check("[xr]", State::New, 0);
        check("[xra]", State::New, 0);
        check("xc", State::Closed, 0);
        check("xt", State::Closed, 0);
    }

    #[test]
    fn what_is_known_late_changes_nothing_that_came_after_it() {
        let mut course = Course::open(noon(0), 0, noon(0));
        assert_eq!(course.said_clean(noon(1)), Some(Turn::Cleaned));
        assert_eq!(course.hit(noon(0) + 5, 0, noon(1) + 1), None);
        assert_eq!(course.hit(noon(1) + GRACE, 1, noon(1) + 1), None, "the landing page");
        assert_eq!(course.asked(noon(0) + 6, 0, QUIET), [], "before it was said");
        assert_eq!((course.state, course.last_hit), (State::Cleaned, noon(1) + GRACE));
        assert_eq!(course.asked(noon(1) + 6, 1, QUIET), [Turn::Watched]);
        assert_eq!(course.close(noon(2)), Some(Turn::Closed));
        assert_eq!(course.hit(noon(2), 2, noon(3)), None);
        assert_eq!(course.hit(noon(2) + 1, 2, noon(3)), Some(Turn::Reopened));
        assert_eq!((course.state, course.since, course.reopened), (State::New, noon(3), 1));
        // Nor does what was said before it was seen last.
        assert_eq!(course.said_clean(noon(2)), None);
    }

    #[test]
    fn times_are_taken() {
        let mut course = Course::open(noon(0), 0, noon(0) + 7);
        assert_eq!((course.time_to_notify(), course.time_to_clean()), (None, None));
        course.told(noon(0) + 60_000_007);
        course.told(noon(3));
        assert_eq!(course.time_to_notify(), Some(60_000_000));
        course.said_clean(noon(1) + 7);
        assert_eq!(course.time_to_clean(), None);
        course.close(noon(9));
        assert_eq!(course.time_to_clean(), Some(DAY));
        let mut quiet = Course::open(noon(0), 0, noon(0));
        quiet.hit(noon(2), 2, noon(2));
        quiet.close(noon(9));
        assert_eq!(quiet.time_to_clean(), Some(2 * DAY));
    }

    #[test]
    fn of_two_cases_the_one_that_is_less_far_counts() {
        fn check(one: &str, other: &str, state: State, quiet: u32) {
            for (one, other) in [(one, other), (other, one)] {
                let mut course = run(one);
                course.join(&run(other));
                assert_eq!((course.state, course.quiet_days), (state, quiet), "{one:?} and {other:?}");
                assert_eq!(course.is_open(), course.closed.is_none());
                if course.is_open() {
                    assert_eq!(course.state >= State::Cleaned, course.cleaned.is_some());
                }
            }
        }
        check("t", "", State::New, 0);
        check("[tc]", "t", State::Notified, 0);
        check("x", "t", State::Notified, 0);
        check("[tca]aa", "[tca]a", State::Watched, 1);
        check("x", "[tca]aaa", State::Closed, 0);
    }

    #[test]
    fn days_begin_where_the_province_is() {
        let zone = TimeZone::fixed(jiff::tz::Offset::constant(7));
        fn check(zone: &TimeZone, time: &str, expected: i32) {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(day(time.as_microsecond(), zone), expected, "{time}");
        }
        check(&zone, "1970-01-01T00:00:00Z", 0);
        check(&zone, "1970-01-01T16:59:59Z", 0);
        check(&zone, "1970-01-01T17:00:00Z", 1);
        check(&zone, "2026-11-26T01:00:00Z", 20_783);
        assert!(day(i64::MAX, &zone) > 0 && day(i64::MIN, &zone) < 0);
    }
}
