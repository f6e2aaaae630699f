//! How far a long scan is, on a terminal, and its end by Ctrl-C.

use std::io::{self, IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::evidence::store::Watch;

/// Before this nobody has begun to wonder.
const PATIENCE: Duration = Duration::from_millis(700);
const EVERY: Duration = Duration::from_millis(200);
const WIDTH: u64 = 30;

/// Shows the progress of a scan until the first record is printed.
pub(in crate::cli) struct Bar {
    is_terminal: bool,
    next: Instant,
    is_shown: bool,
    stop: Stop,
}

/// Whether somebody pressed Ctrl-C.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on Ctrl-C is told here, and the process goes on; pressed again it ends it.
    pub(in crate::cli) fn listen() -> io::Result<Self> {
        let stop = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (flag, (ready, listening)) = (Arc::clone(&stop.0), std::sync::mpsc::channel());
        std::thread::Builder::new().name("ctrl-c".to_owned()).spawn(move || {
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let Ok(mut interrupt) = signal(SignalKind::interrupt()) else { return };
                let _ = ready.send(());
                while interrupt.recv().await.is_some() {
                    if flag.swap(true, Ordering::AcqRel) {
                        // As the shell tells of a process that SIGINT ended.
                        std::process::exit(130);
                    }
                }
            });
        })?;
        // Without a handler the process ends, as it would have without this.
        let _ = listening.recv();
        Ok(stop)
    }

    /// What Ctrl-C sets.
    pub(in crate::cli) fn flag(&self) -> &Arc<AtomicBool> {
        &self.0
    }

    pub(in crate::cli) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Bar {
    pub(in crate::cli) fn new(stop: &Stop) -> Self {
        let is_terminal = io::stderr().is_terminal();
        Self { is_terminal, next: Instant::now() + PATIENCE, is_shown: false, stop: stop.clone() }
    }

    /// Takes the bar away, for something else is printed.
    fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Watch for Bar {
    fn progress(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        if self.stop.is_asked() {
            self.clear();
            return ControlFlow::Break(());
        }
        let now = Instant::now();
        if self.is_terminal && now >= self.next && done < total {
            self.next = now + EVERY;
            self.is_shown = true;
            let full = (WIDTH * done / total.max(1)) as usize;
            let bar = format!("{}{}", "█".repeat(full), "░".repeat(WIDTH as usize - full));
            let percent = 100 * done / total.max(1);
            // Standard error may be closed; the records matter more.
            let _ = write!(io::stderr(), "\r\x1b[Ksearching {bar} {percent:>3} % (Ctrl-C ends it)");
            let _ = io::stderr().flush();
        } else if done >= total {
            self.clear();
        }
        ControlFlow::Continue(())
    }
}
