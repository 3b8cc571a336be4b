//! The reason to wait while a pause is set.

use crate::store::pause::PauseLookup;
use pg::error_text::escaped;

use super::{ThrottleCause, ThrottleReason};

pub(super) fn throttle_reason(found: PauseLookup) -> Option<ThrottleReason> {
    let why = match found {
        PauseLookup::None => return None,
        PauseLookup::Pause(pause) => {
            let until = crate::time::text(pause.until);
            match (pause.why, pause.by) {
                (Some(why), Some(by)) => format!("paused until {until} (set by {by}): {why}"),
                (Some(why), None) => format!("paused until {until}: {why}"),
                (None, Some(by)) => format!("paused until {until} (set by {by})"),
                (None, None) => format!("paused until {until}"),
            }
        }
        PauseLookup::Unreadable(error) => {
            format!(
                "the pause in reaper_state cannot be read ({error}); `session-reaper resume` removes it"
            )
        }
    };
    // Any role that may write to the table could have written the text, so control characters are
    // escaped.
    Some(ThrottleReason::new(ThrottleCause::Pause, escaped(&why)))
}
