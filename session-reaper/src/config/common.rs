//! Options that several commands share: the database, logging and the output format.

use pg::connect::ConnectOptions;
use tracing_subscriber::EnvFilter;

use super::values::{ConfigErrors, given};
use crate::cli::{Common, Printing};
use crate::telemetry::{LogConfig, LogFormat};

/// Format of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A table.
    Text,
    /// One JSON object.
    Json,
}

pub(super) fn output(printing: &Printing, config_errors: &mut ConfigErrors) -> Output {
    config_errors.choice(
        "OUTPUT",
        printing.output.as_ref(),
        Output::Text,
        &[("text", Output::Text), ("json", Output::Json)],
    )
}

pub(super) fn log(
    common: &Common,
    default_filter: &str,
    config_errors: &mut ConfigErrors,
) -> LogConfig {
    let format = config_errors.choice(
        "LOG_FORMAT",
        common.log_format.as_ref(),
        LogFormat::Text,
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    );
    let text = given(common.log_filter.as_ref()).unwrap_or(default_filter);
    let filter = EnvFilter::builder().parse(with_engine(text)).unwrap_or_else(|error| {
        config_errors.add(
            "RUST_LOG",
            text,
            format!("must be a level or directives, such as info,session_reaper=debug ({error})"),
        );
        EnvFilter::default()
    });
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    LogConfig { format, filter, colour }
}

/// Extends a log filter: directives for `session_reaper` also apply to the crate `reaper`, because
/// operators see both crates as one program.
fn with_engine(filter: &str) -> String {
    let of_engine = filter.split(',').filter_map(|directive| {
        let level = directive.trim().strip_prefix("session_reaper=")?;
        Some(format!("reaper={level}"))
    });
    // More specific and later directives take precedence, so the user's directives come last.
    of_engine.chain([filter.to_owned()]).collect::<Vec<_>>().join(",")
}

pub(super) fn database(
    common: &Common,
    config_errors: &mut ConfigErrors,
) -> Option<ConnectOptions> {
    const NAME: &str = "DATABASE_URL";
    let url = match (given(common.database_url.as_ref()), given(common.database_url_file.as_ref()))
    {
        (Some(_), Some(_)) => {
            config_errors
                .add_unquoted(NAME, "set together with DATABASE_URL_FILE: leave one of them out");
            return None;
        }
        (None, None) => {
            config_errors.add_unquoted(
                NAME,
                "not given: set it to postgres://user@host/database, or set DATABASE_URL_FILE to a file that contains it",
            );
            return None;
        }
        (Some(url), None) => url.to_owned(),
        (None, Some(file)) => match std::fs::read_to_string(file) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => {
                config_errors.add(
                    "DATABASE_URL_FILE",
                    file,
                    format!("a file that can be read ({error})"),
                );
                return None;
            }
        },
    };
    ConnectOptions::new(&url, env!("CARGO_PKG_NAME"))
        .map_err(|error| {
            config_errors
                .add_unquoted(NAME, format!("{error}; example: postgres://user@host/database"));
        })
        .ok()
}
