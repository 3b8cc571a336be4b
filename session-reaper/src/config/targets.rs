//! Combines files and presets (built-in lists of targets) into targets. The targets of presets come
//! first; entries of the file override them key by key.

use super::file::{self, Entry};
use super::location::Source;
use super::presets::PRESETS;
use super::values::ConfigErrors;
use reaper::{Absent, Ident, Reason, SetColumn, TableName, Target};

/// A target of a preset, enabled or not.
#[derive(Clone, Debug)]
pub struct PresetTarget {
    /// The name of the table, as defined by the project for which the preset is made.
    pub table: TableName,
    /// The reasons for which rows are due.
    pub reasons: Vec<Reason>,
    /// The condition on the row `t`.
    pub filter: Option<String>,
    /// The column in `group`: rows with the same value in this column are deleted only when all of
    /// them are due.
    pub group: Option<Ident>,
    /// Whether the target is enabled by default.
    pub enabled: bool,
    /// The TOML text of the target, starting with `[[target]]`.
    pub text: &'static str,
}

/// A preset.
#[derive(Clone, Debug)]
pub struct Preset {
    /// The name of the preset, as in `preset = "…"`.
    pub name: &'static str,
    /// The targets of the preset. Two targets may have the same table.
    pub targets: Vec<PresetTarget>,
}

/// Returns all presets. A unit test verifies that each of them is valid.
#[must_use]
pub fn presets() -> Vec<Preset> {
    PRESETS
        .iter()
        .map(|(name, text)| Preset { name, targets: preset_targets(name, text) })
        .collect()
}

fn preset_targets(name: &str, text: &'static str) -> Vec<PresetTarget> {
    let mut config_errors = ConfigErrors::default();
    let entries = file::read(&mut Source { name, text, config_errors: &mut config_errors }).entries;
    let ends = entries.iter().skip(1).map(|entry| entry.at).chain([text.len()]).collect::<Vec<_>>();
    let of = |(entry, end): (Entry, usize)| {
        let text = text.get(entry.at..end).unwrap_or_default();
        PresetTarget {
            table: entry.table,
            reasons: entry.due.unwrap_or_default(),
            filter: entry.filter,
            group: entry.group.as_deref().and_then(Ident::parse),
            enabled: entry.enabled != Some(false),
            // A comment between two targets belongs to the second target.
            text: text.rsplit_once("\n\n").map_or(text, |(own, _)| own).trim_end(),
        }
    };
    entries.into_iter().zip(ends).map(of).collect()
}

/// Returns the targets of a `reaper.toml`, or all errors in it. `name` is the file name in error
/// messages.
pub fn targets_of(name: &str, text: &str) -> Result<Vec<Target>, ConfigErrors> {
    let mut config_errors = ConfigErrors::default();
    let targets = read(name, text, &mut config_errors);
    if config_errors.is_empty() { Ok(targets) } else { Err(config_errors) }
}

/// Returns the targets of a preset after applying `adjust` to its entries.
pub(super) fn of_preset(
    (name, text): (&'static str, &'static str),
    config_errors: &mut ConfigErrors,
    mut adjust: impl FnMut(&mut Entry, &mut ConfigErrors),
) -> Vec<Target> {
    let mut targets = Vec::new();
    for mut entry in
        file::read(&mut Source { name, text, config_errors: &mut *config_errors }).entries
    {
        adjust(&mut entry, config_errors);
        if entry.enabled != Some(false) {
            targets.push(target(entry, Some(name), &targets));
        }
    }
    targets
}

/// Returns the targets of a file.
pub(super) fn read(name: &str, text: &str, config_errors: &mut ConfigErrors) -> Vec<Target> {
    let mut source = Source { name, text, config_errors };
    let file = file::read(&mut source);
    let mut entries: Vec<(Entry, Option<&'static str>)> = Vec::new();
    for (preset, text) in file.presets {
        let mut source = Source { name: preset, text, config_errors: &mut *source.config_errors };
        entries
            .extend(file::read(&mut source).entries.into_iter().map(|entry| (entry, Some(preset))));
    }
    // A preset may contain two targets for one table. The first entry for this table in the file
    // overrides the first target, and the second entry overrides the second target.
    let mut changed = vec![false; entries.len()];
    for entry in file.entries {
        let wanted = entry.replaces.as_ref().unwrap_or(&entry.table);
        let location =
            (0..changed.len()).find(|&index| !changed[index] && entries[index].0.table == *wanted);
        match location {
            Some(index) => {
                changed[index] = true;
                // If the entry has no `due`, it inherits `keep` from the preset's target, whose
                // table may have another name.
                let inherited = entry.due.is_none();
                let entry = change(&mut entries[index].0, entry);
                if let (true, Some(due)) = (inherited, &entry.due) {
                    file::least_retentions(&mut source, entry.at, &entry.table, due);
                }
            }
            None if entry.replaces.is_some() => {
                source.wrong(
                    entry.at,
                    format!(
                        "replaces = {:?}: no preset of this file has this table",
                        wanted.quoted()
                    ),
                );
            }
            None => entries.push((entry, None)),
        }
    }
    let mut targets: Vec<Target> = Vec::new();
    for (index, (entry, preset)) in entries.into_iter().enumerate() {
        if entry.due.is_none() {
            source.wrong(entry.at, format!(
                    "[[target]] {} without `due`, and no preset has this table; for a preset's table with another \
                     schema or name, set `replaces`",
                    entry.table.quoted()
                ));
        }
        if let Some(why) = wrong_set(&entry) {
            source.wrong(entry.at, format!("[[target]] {}: {why}", entry.table.quoted()));
        }
        if entry.enabled != Some(false) {
            let ours = preset.is_none() || changed.get(index) == Some(&true);
            let location = ours.then(|| source.location(entry.at));
            let target = Target { location, ..target(entry, preset, &targets) };
            targets.push(target);
        }
    }
    if targets.is_empty() && source.config_errors.is_empty() {
        source.wrong(0, "nothing to do: no preset is given, and no [[target]] is enabled");
    }
    targets
}

/// Returns why the entry cannot set columns.
fn wrong_set(entry: &Entry) -> Option<String> {
    let set = entry.set.as_deref().filter(|set| !set.is_empty())?;
    if entry.children.as_ref().is_some_and(|children| !children.is_empty()) {
        return Some("`set` keeps the rows, so remove `children`".to_owned());
    }
    if entry.group.as_ref().is_some_and(|group| !group.is_empty()) {
        return Some("`set` keeps the rows, so remove `group`".to_owned());
    }
    let due = entry
        .due
        .iter()
        .flatten()
        .find(|reason| set.iter().any(|SetColumn { column, .. }| *column == reason.column))?;
    Some(format!("`set` must not change {}, a column in `due`", due.column.quoted()))
}

fn change(entry: &mut Entry, by: Entry) -> &Entry {
    entry.at = by.at;
    entry.table = by.table;
    entry.due = by.due.or(entry.due.take());
    entry.filter = by.filter.or(entry.filter.take());
    entry.group = by.group.or(entry.group.take());
    entry.children = by.children.or(entry.children.take());
    entry.set = by.set.or(entry.set.take());
    entry.ancient = by.ancient.or(entry.ancient);
    entry.order = by.order.or(entry.order);
    entry.enabled = by.enabled.or(entry.enabled);
    entry.chunk = by.chunk.or(entry.chunk);
    entry.confirmed = by.confirmed.or(entry.confirmed);
    entry
}

fn target(entry: Entry, preset: Option<&str>, before: &[Target]) -> Target {
    let quoted = entry.table.quoted();
    let same = before.iter().filter(|target| target.table == entry.table).count();
    Target {
        // Two targets may have the same table; a suffix makes their names unique.
        name: if same == 0 { quoted } else { format!("{quoted}#{}", same + 1) },
        table: entry.table,
        reasons: entry.due.unwrap_or_default(),
        filter: entry.filter.filter(|filter| !filter.is_empty()),
        group: entry.group.as_deref().and_then(Ident::parse),
        children: entry.children.unwrap_or_default(),
        set: entry.set.unwrap_or_default(),
        ancient: entry.ancient.unwrap_or_default(),
        order: entry.order,
        chunk: entry.chunk,
        confirmed: entry.confirmed.unwrap_or(false),
        location: None,
        is_own_history: false,
        absent: match preset {
            Some(preset) => Absent::LeftOutOf(preset.to_owned()),
            None => Absent::Fails("the configuration names it".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str) -> Result<Vec<Target>, String> {
        targets_of("reaper.toml", text).map_err(|config_errors| config_errors.to_string())
    }

    #[test]
    fn every_preset_can_be_loaded() {
        for (name, _) in PRESETS {
            let found = targets(&format!("preset = {name:?}"))
                .unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(!found.is_empty(), "{name}");
        }
    }

    #[test]
    fn target_texts_of_a_preset_are_complete() {
        for preset in presets() {
            let whole =
                preset.targets.iter().map(|target| target.text).collect::<Vec<_>>().join("\n");
            let whole =
                targets(&whole).unwrap_or_else(|why| panic!("{}: {why}\n{whole}", preset.name));
            let loaded = targets(&format!("preset = {:?}", preset.name)).unwrap();
            let described = |targets: &[Target]| {
                targets
                    .iter()
                    .map(|t| format!("{:?}", (&t.name, &t.reasons, &t.filter, &t.group)))
                    .collect::<Vec<_>>()
            };
            assert_eq!(described(&whole), described(&loaded), "{}", preset.name);
        }
    }

    #[test]
    fn file_overrides_preset_key_by_key() {
        let changed = targets(
            "preset = ['tower-sessions', 'doorkeeper']
             [[target]]
             table = 'mine.session'
             replaces = 'tower_sessions.session'
             [[target]]
             table = 'oauth_access_tokens'
             [[target]]
             table = 'oauth_access_tokens'
             enabled = false
             [[target]]
             table = 'codes'
             replaces = 'oauth_access_grants'
             where = ''
             chunk = 7",
        )
        .unwrap();
        let names: Vec<(&str, &str)> = changed
            .iter()
            .map(|target| (target.name.as_str(), target.reasons[0].name.as_str()))
            .collect();
        assert_eq!(
            names,
            [("mine.session", "expired"), ("oauth_access_tokens", "revoked"), ("codes", "expired")]
        );
        assert_eq!((changed[2].filter.as_deref(), changed[2].chunk), (None, Some(7)));
    }

    #[test]
    fn same_table_name_in_other_schema_is_a_new_target() {
        let both = targets(
            "preset = 'supabase-auth'
             [[target]]
             table = 'app.sessions'
             due = [{ reason = 'expired', column = 'ends', keep = '1d' }]",
        )
        .unwrap();
        let named = |name| both.iter().filter(|target| target.name == name).count();
        assert_eq!((named("auth.sessions"), named("app.sessions")), (1, 1));
    }

    #[test]
    fn minimum_retention_applies_to_renamed_tables() {
        let due = "due = [{ reason = 'revoked', column = 'revoked_at', keep = '1m' }]";
        for table in ["table = 'auth.sessions'", "table = 'logins'\nreplaces = 'sessions'"] {
            let why =
                targets(&format!("preset = 'auth-api'\n[[target]]\n{table}\n{due}")).unwrap_err();
            assert!(why.contains("at least 1h for sessions"), "{why}");
        }
        let inherited =
            "preset = 'auth-api'\n[[target]]\ntable = 'sessions'\nreplaces = 'consumed_challenges'";
        let why = targets(inherited).unwrap_err();
        assert!(
            why.contains("reaper.toml:2:1: keep = \"10m\" of expires_at: at least 1h for sessions"),
            "{why}"
        );
    }

    #[test]
    fn targets_of_the_same_table_have_unique_names() {
        let names: Vec<String> = targets("preset = 'doorkeeper'")
            .unwrap()
            .into_iter()
            .map(|target| target.name)
            .collect();
        assert_eq!(names, ["oauth_access_tokens", "oauth_access_tokens#2", "oauth_access_grants"]);
    }

    #[test]
    fn every_error_is_reported_with_its_location() {
        let why = targets(
            r#"
presett = "django"
preset = "djngo"
[[target]]
table = "two words"
[[target]]
table = "t"
due = [{ reason = "expired", colum = "c", column = "c", keep = "soon", unit = "min", zone = "Mars" }]
chunk = 0
ancient = "old"
enabled = "yes"
children = [{ table = "u", colum = "t_id" }]
order = "best"
[[target]]
table = "u"
[[target]]
table = "sessions"
due = [{ reason = "revoked", column = "revoked_at", keep = "59m" }]
"#,
        )
        .unwrap_err();
        for expected in [
            "reaper.toml:2:1: unknown key `presett`; did you mean `preset`?",
            "reaper.toml:3:10: preset = \"djngo\": there is none; did you mean \"django\"?",
            "reaper.toml:5:9: table = \"two words\":",
            "reaper.toml:8:30: unknown key `colum`; did you mean `column`?",
            "reaper.toml:8:64: keep = \"soon\":",
            "unit = \"min\":",
            "zone = \"Mars\":",
            "reaper.toml:9:9: chunk = 0:",
            "reaper.toml:10:11: ancient = \"old\":",
            "reaper.toml:11:11: enabled = \"yes\":",
            "reaper.toml:12:28: unknown key `colum`; did you mean `column`?",
            "reaper.toml:12:13: children: an entry without `column`",
            "reaper.toml:13:9: order = \"best\":",
            "reaper.toml:14:1: [[target]] u without `due`",
            "reaper.toml:18:7: keep = \"59m\" of revoked_at: at least 1h for sessions",
        ] {
            assert!(why.contains(expected), "{expected}\n{why}");
        }
        let broken = targets("preset = \n[[target]\n").unwrap_err();
        assert!(broken.contains("reaper.toml:1:"), "{broken}");
    }
}
