//! The tables `[pace]` and `[throttle]` of a `reaper.toml`. Each key has the same meaning as an
//! environment variable, which takes precedence over the key.

use toml::de::DeValue;

use super::location::{KeyValue, Source};
use super::values::{ConfigErrors, given};
use crate::cli::RunOptions;

/// A setting that is in the file and also in an environment variable or a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    /// The environment variable.
    pub name: &'static str,
    /// The location of the setting in the file.
    pub location: String,
}

/// A key of `[pace]` or `[throttle]`, its environment variable, and its option.
type Setting = (&'static str, &'static str, fn(&mut RunOptions) -> &mut Option<String>);

const PACE: [Setting; 3] = [
    ("chunk_time", "CHUNK_TIME", |options| &mut options.chunk_time),
    ("max_chunk", "MAX_CHUNK", |options| &mut options.max_chunk),
    ("duty_cycle", "DUTY_CYCLE", |options| &mut options.duty_cycle),
];

const THROTTLE: [Setting; 7] = [
    ("max_replica_lag", "MAX_REPLICA_LAG", |options| &mut options.max_replica_lag),
    ("replicas", "REPLICAS", |options| &mut options.replicas),
    ("replica_lag_query", "REPLICA_LAG_QUERY", |options| &mut options.replica_lag_query),
    ("max_active_backends", "MAX_ACTIVE_BACKENDS", |options| &mut options.max_active_backends),
    ("wait_for_vacuum", "WAIT_FOR_VACUUM", |options| &mut options.wait_for_vacuum),
    ("query", "THROTTLE_QUERY", |options| &mut options.throttle_query),
    ("max_throttle", "MAX_THROTTLE", |options| &mut options.max_throttle),
];

/// Adds the settings in the file `name`, whose contents are `text`, to the options. Returns the
/// options, and the settings in the file that the options override. A syntax error is not recorded,
/// because [`super::targets`] records it.
pub(super) fn complete(
    options: &RunOptions,
    (name, text): (&str, &str),
    config_errors: &mut ConfigErrors,
) -> (RunOptions, Vec<Overridden>) {
    let (mut completed, mut overridden) = (options.clone(), Vec::new());
    let mut syntax_errors = ConfigErrors::default();
    let Some(table) = Source { name, text, config_errors: &mut syntax_errors }.parse() else {
        return (completed, overridden);
    };
    let mut source = Source { name, text, config_errors };
    for (key, settings) in [("pace", &PACE[..]), ("throttle", &THROTTLE[..])] {
        let Some(value) = table.get(key) else { continue };
        let Some(keys) = value.get_ref().as_table() else {
            source.wrong(value.span().start, format!("{key}: expected a table [{key}]"));
            continue;
        };
        let known: Vec<&'static str> = settings.iter().map(|(key, ..)| *key).collect();
        source.check_keys(keys, &known);
        for (key, variable, option) in settings {
            let Some(value) = keys.get(*key) else { continue };
            let Some(text) = text_of(value.get_ref()) else {
                source.wrong_value(
                    &KeyValue { key, value },
                    "expected a string, a number, true, false, or an array of strings",
                );
                continue;
            };
            let (location, option) = (source.location(value.span().start), option(&mut completed));
            if given(option.as_ref()).is_some() {
                overridden.push(Overridden { name: variable, location });
            } else {
                source.config_errors.comes_from(variable, format!("{location}: {key}"));
                *option = Some(text);
            }
        }
    }
    (completed, overridden)
}

/// Returns a TOML value as the text that an environment variable would contain.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(if *truth { "on" } else { "off" }.to_owned()),
        DeValue::Array(array) => {
            let texts: Option<Vec<&str>> =
                array.iter().map(|value| value.get_ref().as_str()).collect();
            Some(texts?.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(
        text: &str,
        options: &RunOptions,
    ) -> Result<(RunOptions, Vec<Overridden>), String> {
        let mut config_errors = ConfigErrors::default();
        let completed = complete(options, ("r.toml", text), &mut config_errors);
        if config_errors.is_empty() { Ok(completed) } else { Err(config_errors.to_string()) }
    }

    #[test]
    fn file_completes_the_options_and_does_not_override_them() {
        let text = "[pace]\nchunk_time = '7ms'\nduty_cycle = 0.5\n[throttle]\nreplicas = ['a', 'b']\nwait_for_vacuum = true";
        let options = RunOptions { chunk_time: Some("3ms".to_owned()), ..RunOptions::default() };
        let (completed, overridden) = completed(text, &options).unwrap();
        assert_eq!(completed.chunk_time.as_deref(), Some("3ms"));
        assert_eq!(completed.duty_cycle.as_deref(), Some("0.5"));
        assert_eq!(completed.replicas.as_deref(), Some("a,b"));
        assert_eq!(completed.wait_for_vacuum.as_deref(), Some("on"));
        assert_eq!(
            overridden,
            [Overridden { name: "CHUNK_TIME", location: "r.toml:2:14".to_owned() }]
        );
    }

    #[test]
    fn unknown_key_and_wrong_type_are_reported_with_their_location() {
        let options = RunOptions::default();
        let error = completed("[pace]\nchunktime = '7ms'", &options).unwrap_err();
        assert!(error.contains("r.toml:2:1") && error.contains("chunk_time"), "{error}");
        let error = completed("[throttle]\nreplicas = [1]", &options).unwrap_err();
        assert!(error.contains("r.toml:2:12"), "{error}");
        assert!(completed("pace = 3", &options).unwrap_err().contains("r.toml:1:8"));
    }
}
