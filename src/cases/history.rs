//! What a case went through, for whoever counts: its steps, what held at a time, and how long things took. Pure.
//!
//! A case keeps how its present episode goes on ([`super::Course`]); what earlier ones were, its steps say. Where two cases became
//! one their steps are mixed, so what is open is counted: each opening is one more, each closing one less.

use super::{Case, Step, What};

/// A case, and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The case as it is now.
    pub case: Case,
    /// What happened to it, oldest first.
    pub steps: Vec<Step>,
    /// Whether its machine was seen in the time that was asked for.
    pub seen: Seen,
    /// When it was closed in that time.
    pub closings: Vec<Closing>,
}

/// Whether a machine was seen in a time, by a query, a contact or a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// It was before and after, and what was in between is not kept.
    Unknown,
}

/// A closing, and when the machine was seen last before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closing {
    /// When.
    pub time: i64,
    /// `None` where that is not kept.
    pub last_hit: Option<i64>,
}

/// How far a case was at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it was not closed.
    pub is_open: bool,
    /// Whether somebody had been told, in the episode of that time.
    pub is_notified: bool,
    /// Whether somebody had said that the machine is clean, and was not belied.
    pub is_said_clean: bool,
}

impl History {
    /// How far the case was before a time; as a new one, where its first step is later.
    pub fn standing(&self, before: i64) -> Standing {
        let course = &self.case.course;
        if self.steps.iter().all(|step| step.time < before) {
            return Standing {
                is_open: course.is_open(),
                is_notified: course.notified.is_some(),
                is_said_clean: course.cleaned.is_some(),
            };
        }
        let mut open = 0u32;
        let mut at = Standing { is_open: true, is_notified: false, is_said_clean: false };
        for step in self.steps.iter().take_while(|step| step.time < before) {
            match step.what {
                What::Opened | What::Reopened => {
                    if open == 0 {
                        (at.is_notified, at.is_said_clean) = (false, false);
                    }
                    open += 1;
                }
                What::Notified => at.is_notified = true,
                What::SaidClean => at.is_said_clean = true,
                What::Relapsed => at.is_said_clean = false,
                What::Closed => open = open.saturating_sub(1),
                What::Merged => open = open.min(1),
                What::Watched
                | What::Assigned
                | What::Noted
                | What::SaidWrong
                | What::Judged
                | What::Identified => continue,
            }
            at.is_open = open > 0;
        }
        at
    }

    /// Whether it was opened, or opened again, from `since` on and before `until`.
    pub fn is_opened(&self, since: i64, until: i64) -> bool {
        self.has(&[What::Opened, What::Reopened], since, until)
            || (since..until).contains(&self.case.course.opened)
    }

    /// Whether it was opened again in that time.
    pub fn is_reopened(&self, since: i64, until: i64) -> bool {
        self.has(&[What::Reopened], since, until)
    }

    fn has(&self, whats: &[What], since: i64, until: i64) -> bool {
        self.steps.iter().any(|step| whats.contains(&step.what) && (since..until).contains(&step.time))
    }

    /// How long it took until somebody was told, for each episode in which that was in this time; microseconds.
    pub fn times_to_notify(&self, since: i64, until: i64) -> Vec<i64> {
        let (mut begin, mut times) = (None, Vec::new());
        for step in &self.steps {
            match step.what {
                What::Opened | What::Reopened => begin = Some(step.time),
                What::Notified => {
                    let time = begin.take().map(|begin| (step.time - begin).max(0));
                    times.extend(time.filter(|_| (since..until).contains(&step.time)));
                }
                _ => {}
            }
        }
        times
    }

    /// How long machines were infected, as far as one can tell, for each episode that was closed in this time: until somebody
    /// said that it is clean and was not belied, or else until the last hit; microseconds. Mistakes of a list do not count.
    pub fn times_to_clean(&self, since: i64, until: i64) -> Vec<i64> {
        let course = &self.case.course;
        let (mut begin, mut said, mut times) = (None, None, Vec::new());
        for step in &self.steps {
            match step.what {
                What::Opened | What::Reopened => (begin, said) = (Some(step.time), None),
                What::SaidClean => said = said.or(Some(step.time)),
                What::Relapsed => said = None,
                What::Closed if (since..until).contains(&step.time) => {
                    if step.note == super::Verdict::FalsePositive.as_str() {
                        continue;
                    }
                    let closing = self.closings.iter().find(|closing| closing.time == step.time);
                    let last_hit = closing.and_then(|closing| closing.last_hit).unwrap_or(step.time);
                    let of_episode = begin.map(|begin| (said.unwrap_or(last_hit) - begin).max(0));
                    let of_course = course.time_to_clean().filter(|_| course.closed == Some(step.time));
                    times.extend(of_course.or(of_episode));
                }
                _ => {}
            }
        }
        times
    }
}
