//! The thread that tells of cases: one round a second, on a runtime of its own.

use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use super::Means;
use crate::cases::notify::{NotifyError, Postman};
use crate::clock;

/// How often is looked for something to tell.
const ROUND: Duration = Duration::from_secs(1);
/// How often is looked whether the thread is to end while a receiver is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// The least time between two reports of one trouble.
const REPORT: Duration = Duration::from_secs(60);
const NICE: i32 = 10;

/// Works until it is told to stop.
pub(super) fn run(means: &Means) {
    let _ = setpriority_process(None, NICE);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("nobody is told of cases: the system gives no runtime: {error}");
            return;
        }
    };
    let mut postman: Option<Postman> = None;
    let mut told: Option<Instant> = None;
    while !means.is_stopping() {
        let done = runtime.block_on(async {
            let stopped = async {
                while !means.is_stopping() {
                    tokio::time::sleep(LOOK).await;
                }
            };
            tokio::select! {
                done = round(means, &mut postman) => done,
                // What was being handed over is found at the next start.
                () = stopped => Ok(()),
            }
        });
        if let Err(error) = done {
            postman = None;
            if told.is_none_or(|told| told.elapsed() >= REPORT) {
                told = Some(Instant::now());
                tracing::error!(
                    "notices of cases are not kept up: {error}; it is tried again, and nothing is lost"
                );
            }
        }
        if !means.is_stopping() {
            std::thread::park_timeout(ROUND);
        }
    }
}

async fn round(means: &Means, postman: &mut Option<Postman>) -> Result<(), NotifyError> {
    let postman = match postman {
        Some(postman) => postman,
        None => postman.insert(Postman::new(&means.desk()?)?),
    };
    postman.round(&means.facts().notices, clock::now()).await
}
