//! Chooses the targets. If there is a configuration file, the file defines them. Otherwise, the
//! preset `auth-api` (the built-in targets) defines them, and environment variables can change how
//! long rows are kept.

use std::time::Duration;

use super::defaults::CONFIG;
use super::file::floor;
use super::values::{ConfigErrors, DurationRange, given};
use super::{DEFAULT_PRESET, LONGEST_KEEP, presets, targets};
use crate::cli::RunOptions;
use reaper::defaults::KEEP_RUNS;
use reaper::{Target, history};

/// The targets and where they come from.
pub(super) struct TargetSource {
    pub(super) targets: Vec<Target>,
    /// `true` if there is no configuration file. The targets then apply only to auth-api's
    /// database.
    pub(super) built_in: bool,
}

/// An environment variable that changes the retention of a built-in target.
struct Keep<'a> {
    name: &'static str,
    value: &'a Option<String>,
    table: &'static str,
    column: &'static str,
}

/// The configuration file.
pub(super) struct ConfigFile<'o> {
    pub(super) name: &'o str,
    /// Whether an option names the file.
    named: bool,
    pub(super) text: std::io::Result<String>,
}

/// Reads the configuration file.
pub(super) fn open(options: &RunOptions) -> ConfigFile<'_> {
    let named = given(options.config.as_ref());
    let name = named.unwrap_or(CONFIG);
    ConfigFile { name, named: named.is_some(), text: std::fs::read_to_string(name) }
}

/// Returns the targets, including the target that cleans up the reaper's own run history.
pub(super) fn read(
    options: &RunOptions,
    file: ConfigFile<'_>,
    config_errors: &mut ConfigErrors,
) -> TargetSource {
    let keeps = keeps(options);
    let ConfigFile { name: file, named, text } = file;
    let mut target_source = match text {
        Ok(text) => {
            for Keep { name, .. } in
                keeps.iter().filter(|keep| given(keep.value.as_ref()).is_some())
            {
                config_errors.add_unquoted(
                    name,
                    format!(
                        "set, but {file} defines the retention: unset it, and change `keep` in the file"
                    ),
                );
            }
            TargetSource { targets: targets::read(file, &text, config_errors), built_in: false }
        }
        Err(error) if !named && error.kind() == std::io::ErrorKind::NotFound => {
            TargetSource { targets: built_in(&keeps, config_errors), built_in: true }
        }
        Err(error) => {
            config_errors.add("REAPER_CONFIG", file, format!("a file that can be read ({error})"));
            TargetSource { targets: Vec::new(), built_in: false }
        }
    };
    let any = DurationRange {
        least: Duration::ZERO,
        most: LONGEST_KEEP,
        because: "it is the retention of the reaper's run history",
    };
    let own =
        history(config_errors.duration("KEEP_RUNS", options.keep_runs.as_ref(), KEEP_RUNS, &any));
    if !target_source.targets.iter().any(|target| target.table.name == own.table.name) {
        target_source.targets.push(own);
    }
    target_source
}

/// The variables that change the retention of built-in targets: name, table and column.
pub const RETENTIONS: [(&str, &str, &str); 4] = [
    ("KEEP_EXPIRED", "sessions", "expires_at"),
    ("KEEP_REVOKED", "sessions", "revoked_at"),
    ("KEEP_CHALLENGES", "consumed_challenges", "expires_at"),
    ("KEEP_ACCOUNTS", "accounts", "last_login_at"),
];

fn keeps(options: &RunOptions) -> Vec<Keep<'_>> {
    let RunOptions { keep_expired, keep_revoked, keep_challenges, keep_accounts, .. } = options;
    let values = [keep_expired, keep_revoked, keep_challenges, keep_accounts];
    let keep = |((name, table, column), value)| Keep { name, value, table, column };
    RETENTIONS.into_iter().zip(values).map(keep).collect()
}

/// Returns the targets of the preset `auth-api`. Setting the retention of a table also enables its
/// target.
fn built_in(keeps: &[Keep<'_>], config_errors: &mut ConfigErrors) -> Vec<Target> {
    let Ok(preset) = presets::find(DEFAULT_PRESET) else { return Vec::new() };
    targets::of_preset(preset, config_errors, |entry, config_errors| {
        for keep in keeps.iter().filter(|keep| entry.table.name.as_str() == keep.table) {
            let reasons = entry.due.iter_mut().flatten();
            let Some(reason) =
                reasons.into_iter().find(|reason| reason.column.as_str() == keep.column)
            else {
                continue;
            };
            let floor = floor(&entry.table, &reason.column);
            let range = DurationRange {
                least: floor.map_or(Duration::ZERO, |floor| floor.least),
                most: LONGEST_KEEP,
                because: floor.map_or("", |floor| floor.because),
            };
            if given(keep.value.as_ref()).is_some() {
                reason.keep =
                    config_errors.duration(keep.name, keep.value.as_ref(), reason.keep, &range);
                entry.enabled = Some(true);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in_with(options: &RunOptions) -> Vec<Target> {
        let mut config_errors = ConfigErrors::default();
        let targets = built_in(&keeps(options), &mut config_errors);
        assert!(config_errors.is_empty(), "{config_errors}");
        targets
    }

    #[test]
    fn the_built_in_targets_are_the_preset() {
        let preset = targets::targets_of("reaper.toml", "preset = 'auth-api'").unwrap();
        assert_eq!(format!("{:?}", built_in_with(&RunOptions::default())), format!("{preset:?}"));
    }

    #[test]
    fn each_variable_changes_one_reason_of_the_preset() {
        let keep = |days: u64| Some(format!("{days}d"));
        let options = RunOptions {
            keep_expired: keep(101),
            keep_revoked: keep(102),
            keep_challenges: keep(103),
            keep_accounts: keep(104),
            ..RunOptions::default()
        };
        let targets = built_in_with(&options);
        let kept = targets.iter().flat_map(|target| {
            target.reasons.iter().map(|reason| (&*target.name, &*reason.name, reason.keep))
        });
        let days = |days: u64| Duration::from_hours(24 * days);
        assert_eq!(
            kept.collect::<Vec<_>>(),
            [
                ("sessions", "expired", days(101)),
                ("sessions", "revoked", days(102)),
                ("consumed_challenges", "expired", days(103)),
                ("accounts", "unused", days(104)),
            ]
        );
        let accounts = targets.iter().find(|target| target.name == "accounts").unwrap();
        assert!(
            accounts.filter.as_ref().is_some_and(|filter| filter.contains("disabled_at IS NULL"))
        );
    }

    #[test]
    fn what_is_deployed_names_its_file() {
        const NAMED: &str = "REAPER_CONFIG=/etc/session-reaper/reaper.toml";
        let daemon = include_str!("../../../deploy/systemd/session-reaper-daemon.service");
        let once = include_str!("../../../deploy/systemd/session-reaper.service");
        let image = include_str!("../../../deploy/docker/Dockerfile");
        for unit in [daemon, once, image] {
            assert!(unit.lines().any(|line| line.ends_with(NAMED)), "{unit}");
        }
        let manifest = include_str!("../../../deploy/kubernetes/session-reaper.yaml");
        let (name, value) = NAMED.split_once('=').unwrap();
        assert!(manifest.contains(&format!("{{name: {name}, value: {value}}}")), "{manifest}");
    }

    #[test]
    fn the_deployed_files_are_the_preset() {
        let preset =
            format!("{:?}", targets::targets_of("reaper.toml", "preset = 'auth-api'").unwrap());
        let of = |text: &str| targets::targets_of("reaper.toml", text).unwrap();
        let file = include_str!("../../../deploy/systemd/reaper.toml");
        assert_eq!(format!("{:?}", of(file)), preset);
        let (_, map) = include_str!("../../../deploy/kubernetes/session-reaper.yaml")
            .split_once("reaper.toml: |\n")
            .unwrap();
        let (map, _) = map.split_once("---").unwrap();
        assert_eq!(format!("{:?}", of(map)), preset);
        // Uncomment the examples. In a line of prose, exactly one space follows the #.
        let whole: Vec<&str> = file
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|example| !example.starts_with(' ') || example.starts_with("  "))
                    .unwrap_or(line)
            })
            .collect();
        assert_eq!(of(&whole.join("\n")).len(), 3);
    }
}
