//! The destinations to which metrics and spans are pushed or written. Metrics that Prometheus
//! scrapes have no destination.

use std::path::PathBuf;

use reqwest::Url;

use super::run_options::host;
use super::values::{ConfigErrors, given};
use crate::cli::{Exporting, Tracing};
use crate::export::{Exports, Pushgateway};
use crate::telemetry::SpanReceiver;

pub(super) fn exports(options: &Exporting, config_errors: &mut ConfigErrors) -> Exports {
    let textfile = given(options.textfile.as_ref()).map(PathBuf::from);
    if let Some(path) = &textfile
        && (path.is_dir() || path.file_name().is_none())
    {
        config_errors.add(
            "TEXTFILE",
            &path.to_string_lossy(),
            "must be a file, such as /var/lib/node_exporter/session_reaper.prom",
        );
    }
    let pushgateway =
        given(options.pushgateway.as_ref()).and_then(|url| match Pushgateway::new(url, &host()) {
            Ok(pushgateway) => Some(pushgateway),
            Err(why) => {
                config_errors.add_unquoted(
                    "PUSHGATEWAY",
                    format!("{why}; example: http://pushgateway:9091"),
                );
                None
            }
        });
    Exports { textfile, pushgateway }
}

pub(super) fn spans(options: &Tracing, config_errors: &mut ConfigErrors) -> Option<SpanReceiver> {
    let text = given(options.otlp_endpoint.as_ref())?;
    match text.parse::<Url>() {
        // The error messages of the HTTP client contain the URL, so the URL must not contain a
        // password.
        Ok(endpoint) if !endpoint.username().is_empty() || endpoint.password().is_some() => {
            let right = "must not contain a user or a password: set OTEL_EXPORTER_OTLP_HEADERS=authorization=… instead";
            config_errors.add_unquoted("OTEL_EXPORTER_OTLP_ENDPOINT", right);
            None
        }
        Ok(endpoint) if ["http", "https"].contains(&endpoint.scheme()) => {
            Some(SpanReceiver { endpoint })
        }
        _ => {
            let right = "must be a URL such as http://collector:4318 (OTLP over HTTP; gRPC is not supported)";
            config_errors.add_unquoted("OTEL_EXPORTER_OTLP_ENDPOINT", right);
            None
        }
    }
}
