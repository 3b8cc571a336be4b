//! The state that the passes of a run share, and the waits between their chunks (transactions).

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::watch;

use crate::connection::LockConnection;
use crate::interrupt::Interrupt;
use crate::limits::Limits;
use crate::observe::Observer;
use crate::pass::budget::Budget;
use crate::pass::pace::PaceLimits;
use crate::pass::paces::Paces;
use crate::pass::watermarks::Watermarks;
use crate::report::progress::{Progress, Waiting};
use crate::run::remembered::Remembered;
use crate::run::run_record::History;
use crate::stop_reason::StopReason;
use crate::throttle::{Throttle, ThrottleCause, ThrottleReason};
use crate::time::milliseconds;

/// The interval between the first two checks of the throttles while the run waits. If the throttle
/// may clear within moments, the interval is doubled after each check, up to `LAST_LOOK`.
/// Otherwise, the next interval is `LAST_LOOK`, which is short enough that work resumes promptly
/// when a pause ends.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Worker<'a> {
    pub(crate) connection: LockConnection,
    pub(crate) budget: Budget,
    pub(crate) throttle: Throttle,
    /// The run history; `None` if no history is kept.
    pub(crate) history: Option<&'a History>,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) progress: &'a watch::Sender<Progress>,
    pub(crate) watermarks: &'a Watermarks,
    pub(crate) paces: &'a Paces,
    /// The limits for the size of chunks and the idle time between them.
    pub(crate) pace: PaceLimits,
    /// New values of the limits of the pace and of the throttles, from a reload of the
    /// configuration.
    pub(crate) reloads: Option<watch::Receiver<Limits>>,
    /// The oids of the tables whose indexes may have many dead entries.
    pub(crate) many_dead: HashSet<u32>,
    /// The oids of the tables that are being processed.
    pub(crate) tables: Vec<u32>,
    /// The idle time that is due after the last chunk. The run sleeps for this time before the next
    /// chunk.
    pub(crate) rest: Duration,
    /// `true` if no other transaction was writing during the last chunk.
    pub(crate) alone: bool,
    /// The IDs of the server processes of lost connections. These processes may still hold locks.
    pub(crate) gone: Vec<i32>,
    /// The number of consecutive connections that were lost without a deleted row in between.
    pub(crate) consecutive_losses: u32,
}

/// The throttles to check.
#[derive(Clone, Copy)]
enum Check {
    ForPause,
    Around,
}

/// The active throttle, and whether it has been logged.
struct ThrottleState {
    cause: ThrottleCause,
    logged: bool,
}

impl<'a> Worker<'a> {
    /// Creates a worker for a new run.
    pub(crate) fn new(
        connection: LockConnection,
        (budget, throttle): (Budget, Throttle),
        history: Option<&'a History>,
        observer: &'a dyn Observer,
        (interrupt, progress): (&'a Interrupt, &'a watch::Sender<Progress>),
        remembered: &'a Remembered,
    ) -> Self {
        Self {
            connection,
            budget,
            throttle,
            history,
            observer,
            interrupt,
            progress,
            watermarks: &remembered.watermarks,
            paces: &remembered.paces,
            pace: PaceLimits::default(),
            reloads: None,
            many_dead: HashSet::new(),
            tables: Vec::new(),
            rest: Duration::ZERO,
            alone: false,
            gone: Vec::new(),
            consecutive_losses: 0,
        }
    }
}

impl Worker<'_> {
    /// Sleeps for the idle time after the last chunk, then waits until no throttle is active. Fails
    /// if the run must end.
    pub(crate) async fn may_go_on(&mut self) -> Result<(), StopReason> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_zero() {
            self.observer.throttled(ThrottleCause::DutyCycle, true);
            let rested = self.sleep(rest).await;
            self.observer.throttled(ThrottleCause::DutyCycle, false);
            self.observer.waited(ThrottleCause::DutyCycle, rested);
        }
        self.is_over()?;
        self.adopt_limits();
        if !self.throttle.is_due() {
            return Ok(());
        }
        self.wait(Check::Around).await
    }

    /// Sets the limits at the start of the run. These are the latest limits, which may be newer
    /// than the configuration of the run.
    pub(crate) fn begin_with(
        &mut self,
        pace: PaceLimits,
        reloads: Option<watch::Receiver<Limits>>,
    ) {
        (self.pace, self.reloads) = (pace, reloads);
        self.read_limits();
    }

    fn read_limits(&mut self) {
        let Some(reloads) = &mut self.reloads else { return };
        let Limits { pace, throttle } = reloads.borrow_and_update().clone();
        self.pace = pace;
        self.throttle.set_limits(throttle);
    }

    /// Applies limits that have changed since the last chunk.
    fn adopt_limits(&mut self) {
        let changed = self.reloads.as_ref().is_some_and(|it| it.has_changed().unwrap_or(false));
        if changed {
            self.read_limits();
            tracing::info!(event = "limits_changed", "new pace and throttles in effect");
        }
    }

    /// Waits until no pause is set, before the run begins its work.
    pub(crate) async fn wait_for_pause_end(&mut self) -> Result<(), StopReason> {
        self.wait(Check::ForPause).await
    }

    /// Checks the throttles until none is active, or until the maximum wait is reached.
    async fn wait(&mut self, check: Check) -> Result<(), StopReason> {
        let began = Instant::now();
        let (mut state, mut pause) = (None, FIRST_LOOK);
        let mut last: Option<ThrottleReason> = None;
        let ended = loop {
            let checked = match check {
                Check::ForPause => self.throttle.pause().await,
                Check::Around => self.throttle.check(&self.tables).await,
            };
            // If the run must end, the check may have been canceled, so its result does not count.
            if let Err(over) = self.is_over_while_throttled(last.as_ref()) {
                break Err(over);
            }
            let throttle_reason = match checked {
                Ok(Some(throttle_reason)) => throttle_reason,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            };
            self.report_throttle(&mut state, &throttle_reason, began.elapsed());
            // The run waits at least `LAST_LOOK` for a throttle that may clear within moments, such
            // as a replica that has yet to replay the history row of this run.
            let longest = self.throttle.longest_wait().max(if throttle_reason.soon {
                LAST_LOOK
            } else {
                Duration::ZERO
            });
            let left = longest.saturating_sub(began.elapsed());
            if left.is_zero() {
                let longest = humantime::format_duration(self.throttle.longest_wait());
                break Err(StopReason::Throttled(
                    throttle_reason,
                    format!("MAX_THROTTLE ({longest})"),
                ));
            }
            let slept = self.sleep(pause.min(left)).await;
            self.observer.waited(throttle_reason.cause, slept);
            pause = if throttle_reason.soon { (pause * 2).min(LAST_LOOK) } else { LAST_LOOK };
            last = Some(throttle_reason);
            if let Err(over) = self.is_over_while_throttled(last.as_ref()) {
                break Err(over);
            }
            // This query prevents the server from closing the lock connection because it is idle,
            // and detects a lost connection immediately.
            if let Err(error) = self.connection.is_there().await {
                break Err(error.into());
            }
        };
        if let Some(ThrottleState { cause, logged }) = state {
            self.observer.throttled(cause, false);
            self.progress.send_modify(|progress| progress.waiting = None);
            let waited_ms = milliseconds(began.elapsed());
            if ended.is_ok() && logged {
                // The level is the same as for the event `throttled`.
                tracing::warn!(
                    event = "throttle_cleared",
                    cause = cause.as_str(),
                    waited_ms,
                    "throttle cleared; resuming"
                );
            }
        }
        ended
    }

    /// Does the same as [`Self::is_over`]. If a limit of the run was reached during a wait, the
    /// error contains the reason for the wait.
    fn is_over_while_throttled(&self, active: Option<&ThrottleReason>) -> Result<(), StopReason> {
        match (self.is_over(), active) {
            (Err(StopReason::Budget(spent)), Some(active)) => {
                Err(StopReason::Throttled(active.clone(), spent.to_string()))
            }
            (over, _) => over,
        }
    }

    /// Reports the active throttle: to the log only once, and to the metrics and the progress at
    /// each check.
    fn report_throttle(
        &self,
        state: &mut Option<ThrottleState>,
        throttle_reason: &ThrottleReason,
        waited: Duration,
    ) {
        let ThrottleReason { cause, why, soon } = throttle_reason;
        let mut logged = false;
        if let Some(before) = state {
            if before.cause == *cause {
                logged = before.logged;
            } else {
                self.observer.throttled(before.cause, false);
            }
        }
        self.observer.throttled(*cause, true);
        if !logged && (!soon || waited >= LAST_LOOK) {
            let longest_s = self.throttle.longest_wait().as_secs_f64();
            tracing::warn!(
                event = "throttled",
                cause = cause.as_str(),
                why,
                longest_s,
                "throttled"
            );
            logged = true;
        }
        *state = Some(ThrottleState { cause: *cause, logged });
        self.progress.send_modify(|progress| {
            let since = progress
                .waiting
                .as_ref()
                .filter(|waiting| waiting.cause == *cause)
                .map(|waiting| waiting.since);
            let since = since.unwrap_or_else(Utc::now);
            progress.waiting = Some(Waiting { cause: *cause, why: why.clone(), since });
        });
    }

    /// Sleeps for `time`, or less if the run must end. Returns the time that has passed.
    pub(crate) async fn sleep(&self, time: Duration) -> Duration {
        let began = Instant::now();
        tokio::select! {
            _ = self.interrupt.wait() => {}
            () = tokio::time::sleep(time) => {}
        }
        began.elapsed()
    }

    /// Fails if a signal was received or if a limit of the run was reached.
    pub(crate) fn is_over(&self) -> Result<(), StopReason> {
        if let Some(interrupted) = self.interrupt.reason() {
            return Err(interrupted.into());
        }
        self.budget.spent().map_or(Ok(()), |limit| Err(StopReason::Budget(limit)))
    }
}
