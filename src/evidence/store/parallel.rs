//! Threads that help with a question: as many as there are cores, a few at the most, at a low priority. Knows nothing of what they do.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How little a question matters beside DNS.
const NICE: i32 = 10;
/// Most threads; and results that wait, besides those in work.
const MOST: usize = 4;

fn threads(tasks: usize) -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MOST).min(tasks)
}

/// Runs `work` in a thread of the scope, where the system gives one.
fn spawn<'s>(scope: &'s thread::Scope<'s, '_>, work: impl FnOnce() + Send + 's) {
    let thread = thread::Builder::new().name("question".to_owned());
    let _ = thread.spawn_scoped(scope, || {
        // Only of this thread; it may have less already.
        let _ = rustix::process::setpriority_process(None, NICE);
        work();
    });
}

/// What `judge` says of each; `unsaid` of one that it panics at. `told` hears how many are begun, and may end it: then there is nothing.
pub(super) fn in_parallel<T: Sync, R: Send>(
    all: &[T],
    unsaid: impl Fn() -> R,
    judge: impl Fn(&T) -> R + Sync,
    told: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Option<Vec<R>> {
    let (next, verdicts) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let take = || {
        let at = next.fetch_add(1, Ordering::Relaxed);
        all.get(at).map(|one| (at, one))
    };
    let work = |(at, one)| {
        if let Ok(verdict) = catch_unwind(AssertUnwindSafe(|| judge(one))) {
            verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((at, verdict));
        }
    };
    let is_ended = thread::scope(|scope| {
        for _ in 1..threads(all.len()) {
            spawn(scope, || {
                while let Some(task) = take() {
                    work(task);
                }
            });
        }
        while let Some(task) = take() {
            if told(task.0).is_break() {
                next.store(all.len(), Ordering::Relaxed);
                return true;
            }
            work(task);
        }
        false
    });
    if is_ended {
        return None;
    }
    let mut said: Vec<R> = all.iter().map(|_| unsaid()).collect();
    for (at, verdict) in verdicts.into_inner().unwrap_or_else(PoisonError::into_inner) {
        said[at] = verdict;
    }
    Some(said)
}

/// Tasks that threads do ahead of when they are asked for, in their order; only a few are done ahead.
pub(super) struct Ahead<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Most that are begun and not taken yet.
    most: usize,
}

struct State<T> {
    tasks: Vec<Task<T>>,
    /// None before it waits.
    next: usize,
    /// How many are begun and not taken yet.
    begun: usize,
    is_over: bool,
}

enum Task<T> {
    Waiting,
    Begun,
    Done(T),
    /// Somebody has it, or nobody wants it, or it failed.
    Gone,
}

/// Calls `run`, and meanwhile makes what it will ask for: `make` is given the number of each task.
pub(super) fn with_ahead<T: Send, R>(
    tasks: usize,
    make: impl Fn(usize) -> T + Sync,
    run: impl FnOnce(&Ahead<T>) -> R,
) -> R {
    let threads = threads(tasks);
    let waiting = (0..tasks).map(|_| Task::Waiting).collect();
    let state = State { tasks: waiting, next: 0, begun: 0, is_over: false };
    let ahead = Ahead { state: Mutex::new(state), changed: Condvar::new(), most: threads + MOST };
    thread::scope(|scope| {
        let _end = End(&ahead);
        // One task is no work for two.
        for _ in 0..Some(threads).filter(|_| tasks > 1).unwrap_or(0) {
            spawn(scope, || ahead.help(&make));
        }
        run(&ahead)
    })
}

/// Ends the helpers, however the question ends.
struct End<'a, T>(&'a Ahead<T>);

impl<T> Drop for End<'_, T> {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.changed.notify_all();
    }
}

impl<T> Ahead<T> {
    /// The state is whole between any two of its changes.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn help(&self, make: &impl Fn(usize) -> T) {
        while let Some(at) = self.begin() {
            let made = catch_unwind(AssertUnwindSafe(|| make(at)));
            let mut state = self.state();
            state.tasks[at] = match made {
                Ok(made) => Task::Done(made),
                Err(_) => {
                    state.begun -= 1;
                    Task::Gone
                }
            };
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The next task; `None` once there is none any more.
    fn begin(&self) -> Option<usize> {
        let mut state = self.state();
        loop {
            while state.tasks.get(state.next).is_some_and(|task| !matches!(task, Task::Waiting)) {
                state.next += 1;
            }
            let next = state.next;
            if state.is_over || next >= state.tasks.len() {
                return None;
            }
            if state.begun < self.most {
                state.tasks[next] = Task::Begun;
                state.begun += 1;
                return Some(next);
            }
            state = self.wait(state);
        }
    }

    /// What a task made; `None` where it is up to whoever asks, now: nobody had begun with it, or it failed.
    pub(super) fn take(&self, at: usize) -> Option<T> {
        let mut state = self.state();
        loop {
            match std::mem::replace(state.tasks.get_mut(at)?, Task::Gone) {
                Task::Waiting | Task::Gone => return None,
                Task::Done(made) => {
                    state.begun -= 1;
                    drop(state);
                    self.changed.notify_all();
                    return Some(made);
                }
                Task::Begun => {
                    state.tasks[at] = Task::Begun;
                    state = self.wait(state);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_judged_once_and_in_its_place() {
        let (all, mut heard) = ((0..1000).collect::<Vec<usize>>(), Vec::new());
        let judged = in_parallel(&all, || 0, |one| one * 2, &mut |begun| {
            heard.push(begun);
            ControlFlow::Continue(())
        });
        assert_eq!(judged.unwrap(), (0..2000).step_by(2).collect::<Vec<_>>());
        assert!(heard.is_sorted() && heard.iter().all(|begun| *begun < 1000), "{heard:?}");
        assert!(in_parallel(&[0; 0], || 0, |one| *one, &mut go_on).unwrap().is_empty());
    }

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn whoever_waits_may_end_it() {
        let judged = AtomicUsize::new(0);
        let judge = |_: &usize| judged.fetch_add(1, Ordering::SeqCst);
        assert!(in_parallel(&[0; 1000], || 0, judge, &mut |_| ControlFlow::Break(())).is_none());
        assert!(judged.into_inner() < 1000);
    }

    #[test]
    fn what_a_thread_panics_at_is_left_to_the_other() {
        let judged =
            in_parallel(&[1, 2, 3], || 0, |one| if *one == 2 { panicking() } else { *one }, &mut go_on);
        assert_eq!(judged.unwrap(), [1, 0, 3]);
        with_ahead(
            3,
            |at| if at == 1 { panicking() } else { at },
            |ahead| {
                let taken: Vec<usize> = (0..3).map(|at| ahead.take(at).unwrap_or(at)).collect();
                assert_eq!(taken, [0, 1, 2]);
            },
        );
    }

    fn panicking() -> usize {
        std::panic::resume_unwind(Box::new(()))
    }

    #[test]
    fn tasks_are_taken_in_any_order_and_few_are_done_ahead() {
        let made = AtomicUsize::new(0);
        let make = |at: usize| {
            made.fetch_add(1, Ordering::SeqCst);
            at
        };
        with_ahead(100, make, |ahead| {
            for at in (0..100).rev() {
                let taken = 99 - at;
                assert!(made.load(Ordering::SeqCst) <= taken + 2 * MOST);
                assert!(ahead.take(at).is_none_or(|made| made == at));
                assert!(ahead.take(at).is_none());
            }
            assert!(ahead.take(100).is_none());
        });
    }

    #[test]
    fn a_question_that_ends_early_ends_its_helpers() {
        assert_eq!(with_ahead(1_000_000, |at| at, |ahead| ahead.take(0).unwrap_or(0)), 0);
        with_ahead(0, |at| at, |ahead| assert!(ahead.take(0).is_none()));
    }
}
