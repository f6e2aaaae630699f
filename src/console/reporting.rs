//! Reports that are made while somebody waits: one at a time, since each reads much, and recorded in the audit.

use std::ops::ControlFlow;
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant};

use super::answer::Failure;
use super::audit;
use super::call::Call;
use crate::evidence::store::Watch;
use crate::report::{Format, Period};

/// How long somebody waits for a report. A longer one is for `sachdns report`.
const PATIENCE: Duration = Duration::from_secs(120);

static MAKING: Mutex<()> = Mutex::new(());

/// Makes a report of an agency, or of all that the viewer sees; `field` is the one of the request that says when it begins.
///
/// # Errors
/// [`Failure`]: the period is yet to come, another one is being made, or it takes too long.
pub(super) fn make(
    call: &Call,
    period: Period,
    field: &'static str,
    agency: Option<&str>,
    format: Format,
) -> Result<Vec<u8>, Failure> {
    if period.since() > call.now {
        return Err(Failure::Wrong {
            field,
            vietnamese: "kỳ báo cáo chưa bắt đầu: hãy chọn ngày không sau hôm nay".to_owned(),
            english: "the period has not begun: choose days up to today".to_owned(),
        });
    }
    let _only = match MAKING.try_lock() {
        Err(TryLockError::WouldBlock) => return Err(Failure::Busy(PATIENCE.as_secs() / 4)),
        // A panic left nothing half done.
        Err(TryLockError::Poisoned(lock)) => lock.into_inner(),
        Ok(lock) => lock,
    };
    let mut watch = Until { end: Instant::now() + PATIENCE, is_over: false };
    let octets = call.data()?.report(period, agency, format, &mut watch);
    if watch.is_over {
        return Err(Failure::Refused(
            call.tongue
                .say(
                    "Báo cáo này lâu hơn hai phút: hãy chọn ít ngày hơn, hoặc chạy `sachdns report` trên máy chủ.",
                    "This report takes longer than two minutes: choose fewer days, or run `sachdns report` on the server.",
                )
                .to_owned(),
        ));
    }
    let octets = octets?;
    let about = call.viewer()?.agency().or(agency);
    let days = format!("{}_{} {}", period.first(), period.last(), format.as_str());
    audit::changed(call, "report.make", about.unwrap_or("province"), &days)?;
    Ok(octets)
}

/// Ends a scan when its time is over.
struct Until {
    end: Instant,
    is_over: bool,
}

impl Watch for Until {
    fn progress(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        self.is_over = Instant::now() >= self.end;
        if self.is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
