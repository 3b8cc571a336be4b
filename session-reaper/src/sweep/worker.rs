//! What the passes of a run share, and the waiting between their chunks.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::budget::Budget;
use super::connection::LockConnection;
use super::history::History;
use super::progress::{Progress, Waiting};
use super::stop_reason::StopReason;
use super::throttle::{Throttle, ThrottleCause, ThrottleReason};
use super::watermarks::Watermarks;
use crate::clock;
use crate::metrics;
use crate::stop::Stop;

/// How long to wait before the first look again at what may be over in a moment, and the longest
/// time between two looks: somebody who lifts a pause sees the work go on while they look.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LAST_LOOK: Duration = Duration::from_secs(1);

pub(super) struct Worker<'a> {
    pub(super) connection: LockConnection,
    pub(super) budget: Budget,
    pub(super) throttle: Throttle,
    /// `None` when none is kept.
    pub(super) history: Option<&'a History>,
    pub(super) stop: &'a Stop,
    pub(super) progress: &'a watch::Sender<Progress>,
    pub(super) watermarks: &'a Watermarks,
    /// The tables that are being worked on.
    pub(super) tables: Vec<u32>,
    /// What the database is owed after the last chunk; taken before the next one.
    pub(super) rest: Duration,
    /// When the last chunk went nobody else was writing.
    pub(super) alone: bool,
    /// Server processes whose connections were lost, and which may still hold locks.
    pub(super) gone: Vec<i32>,
    /// Connections in a row that were lost before a row went on them.
    pub(super) consecutive_losses: u32,
}

/// What to look at.
#[derive(Clone, Copy)]
enum Check {
    ForPause,
    Around,
}

/// What stands in the way, and whether the log has it.
struct ThrottleState {
    cause: ThrottleCause,
    said: bool,
}

impl<'a> Worker<'a> {
    /// A worker that has not begun.
    pub(super) fn new(
        connection: LockConnection,
        (budget, throttle): (Budget, Throttle),
        history: Option<&'a History>,
        (stop, progress): (&'a Stop, &'a watch::Sender<Progress>),
        watermarks: &'a Watermarks,
    ) -> Self {
        Self {
            connection,
            budget,
            throttle,
            history,
            stop,
            progress,
            watermarks,
            tables: Vec::new(),
            rest: Duration::ZERO,
            alone: false,
            gone: Vec::new(),
            consecutive_losses: 0,
        }
    }
}

impl Worker<'_> {
    /// Takes the rest that the last chunk earned and waits for what stands in the way, unless the
    /// run is over.
    pub(super) async fn may_go_on(&mut self) -> Result<(), StopReason> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_zero() {
            metrics::throttled(ThrottleCause::DutyCycle, true);
            let rested = self.sleep(rest).await;
            metrics::throttled(ThrottleCause::DutyCycle, false);
            metrics::has_waited(ThrottleCause::DutyCycle, rested);
        }
        self.is_over()?;
        if !self.throttle.is_due() {
            return Ok(());
        }
        self.wait(Check::Around).await
    }

    /// Waits as long as somebody says to pause, before the work begins.
    pub(super) async fn wait_for_leave(&mut self) -> Result<(), StopReason> {
        self.wait(Check::ForPause).await
    }

    /// Looks until nothing stands in the way, or it has for as long as may be.
    async fn wait(&mut self, check: Check) -> Result<(), StopReason> {
        let began = Instant::now();
        let (mut state, mut pause) = (None, FIRST_LOOK);
        let ended = loop {
            let looked = match check {
                Check::ForPause => self.throttle.pause().await,
                Check::Around => self.throttle.look(&self.tables).await,
            };
            let throttle_reason = match looked {
                Ok(Some(throttle_reason)) => throttle_reason,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            };
            self.stands_in_the_way(&mut state, &throttle_reason, began.elapsed());
            // What may be over in a moment, a replica that has yet to replay the row of this very
            // run, gets that moment.
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
            metrics::has_waited(throttle_reason.cause, slept);
            pause = if throttle_reason.soon { (pause * 2).min(LAST_LOOK) } else { LAST_LOOK };
            match self.is_over() {
                Ok(()) => {}
                // What it waited for is why nothing more was done.
                Err(StopReason::Budget(spent)) => {
                    break Err(StopReason::Throttled(throttle_reason, spent.to_string()));
                }
                Err(over) => break Err(over),
            }
            // The connection that holds the lock would be ended as an idle one; and should it be
            // gone, that is known now.
            if let Err(error) = self.connection.is_there().await {
                break Err(error.into());
            }
        };
        if let Some(ThrottleState { cause, said }) = state {
            metrics::throttled(cause, false);
            self.progress.send_modify(|progress| progress.waiting = None);
            let waited_ms = super::report::milliseconds(began.elapsed());
            if ended.is_ok() && said {
                // As loud as what it waited for.
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

    /// Tells everybody what it waits for: the log once, the rest each time.
    fn stands_in_the_way(
        &self,
        state: &mut Option<ThrottleState>,
        throttle_reason: &ThrottleReason,
        waited: Duration,
    ) {
        let ThrottleReason { cause, why, soon } = throttle_reason;
        let mut said = false;
        if let Some(before) = state {
            if before.cause == *cause {
                said = before.said;
            } else {
                metrics::throttled(before.cause, false);
            }
        }
        metrics::throttled(*cause, true);
        if !said && (!soon || waited >= LAST_LOOK) {
            let longest_s = self.throttle.longest_wait().as_secs_f64();
            tracing::warn!(
                event = "throttled",
                cause = cause.as_str(),
                why,
                longest_s,
                "throttled"
            );
            said = true;
        }
        *state = Some(ThrottleState { cause: *cause, said });
        self.progress.send_modify(|progress| {
            let since = progress
                .waiting
                .as_ref()
                .filter(|waiting| waiting.cause == *cause)
                .map(|waiting| waiting.since);
            let since = since.unwrap_or_else(clock::now);
            progress.waiting = Some(Waiting { cause: *cause, why: why.clone(), since });
        });
    }

    /// Sleeps, but not when the run is over; says for how long it did.
    pub(super) async fn sleep(&self, time: Duration) -> Duration {
        let began = Instant::now();
        tokio::select! {
            _ = self.stop.wait() => {}
            () = tokio::time::sleep(time.min(self.budget.time_left())) => {}
        }
        began.elapsed()
    }

    /// The run is over when somebody says so, and when its budget is used up.
    pub(super) fn is_over(&self) -> Result<(), StopReason> {
        if let Some(signal) = self.stop.requested() {
            return Err(StopReason::Signal(signal));
        }
        self.budget.spent().map_or(Ok(()), |limit| Err(StopReason::Budget(limit)))
    }
}
