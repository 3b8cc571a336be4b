//! Generates the tables of docs/configuration.md from the command-line definitions of the programs,
//! and compares their defaults with the settings in effect.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};

/// Asserts that the block `name` of this file (`<!-- name -->` to `<!-- end of name -->`) contains
/// the table of all environment variables that these subcommands read. If `WRITE_DOCS` is set,
/// writes the block instead.
#[track_caller]
pub fn is_documented(program: &Command, subcommands: &[&str], file: &Path, name: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) =
        text.split_once(&begin).unwrap_or_else(|| panic!("no {begin} in {}", file.display()));
    let (old, after) =
        rest.split_once(&end).unwrap_or_else(|| panic!("no {end} in {}", file.display()));
    let new = table(program, subcommands);
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(file, format!("{before}{begin}{new}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(old, new, "{} is out of date: run `make reference`", file.display());
}

/// Asserts that each line of `effective`, the output of the subcommand `config`, shows the default
/// that the block `name` of this file documents. The settings in `required` have no default. The
/// file describes the defaults of the settings in `derived` in words. `empty` contains the words
/// that stand for an empty value. Returns the number of compared settings.
#[track_caller]
#[must_use]
pub fn compare_defaults(
    effective: &str,
    (file, name): (&Path, &str),
    required: &[&str],
    derived: &[&str],
    empty: &[&str],
) -> usize {
    let text = std::fs::read_to_string(file).unwrap();
    let block = text.split(&format!("<!-- {name} -->\n")).nth(1).unwrap();
    let documented = |setting: &str| {
        let row = block.lines().find(|line| line.starts_with(&format!("| `{setting}`")))?;
        row.split('|').nth(2).map(|default| default.trim().to_owned())
    };
    // Durations can be written in several units.
    let span = |text: &str| humantime::parse_duration(text).ok();
    let same = |documented: &str, effective: &str| {
        documented == effective
            || (effective.is_empty() && empty.contains(&documented))
            || (span(documented).is_some() && span(documented) == span(effective))
    };
    let mut compared = 0;
    for line in effective.lines() {
        let (setting, value) = line.split_once('=').unwrap();
        let default = documented(setting).unwrap_or_else(|| panic!("{setting} is not documented"));
        if required.contains(&setting) {
            assert_eq!(default, "required", "{setting}");
        } else if !derived.contains(&setting) {
            assert!(same(&default, value), "{setting}: {default}, but {value} is in effect");
            compared += 1;
        }
    }
    compared
}

/// Returns a table with a row for each variable, in the order of the first subcommand that has it.
/// If only some subcommands have a variable, its row lists them.
fn table(program: &Command, subcommands: &[&str]) -> String {
    let find = |name: &&str| {
        program.find_subcommand(name).unwrap_or_else(|| panic!("no subcommand {name}"))
    };
    let commands: Vec<&Command> = subcommands.iter().map(find).collect();
    let mut seen = Vec::new();
    let mut table = "| variable | default | |\n|---|---|---|\n".to_owned();
    for arg in commands.iter().flat_map(|command| command.get_arguments()) {
        let Some(variable) = variable(arg) else { continue };
        let of_a_file = variable
            .strip_suffix("_FILE")
            .is_some_and(|secret| find_by(&commands, secret).next().is_some());
        if of_a_file || seen.contains(&variable) {
            continue;
        }
        let owners: Vec<&str> = find_by(&commands, &variable).map(Command::get_name).collect();
        let of = if owners.len() == commands.len() || owners.first() == subcommands.first() {
            String::new()
        } else {
            let owners: Vec<String> = owners.iter().map(|owner| format!("`{owner}`")).collect();
            format!("of {}: ", owners.join(", "))
        };
        let file =
            find_by(&commands, &format!("{variable}_FILE")).next().map_or("", |_| " (`_FILE`)");
        let flag = arg.get_long().filter(|flag| flag.replace('-', "_").to_uppercase() != variable);
        let flag = flag.map(|flag| format!(" (`--{flag}`)")).unwrap_or_default();
        let (help, default) = help_and_default(arg);
        writeln!(table, "| `{variable}`{file}{flag} | {default} | {of}{help} |").unwrap();
        seen.push(variable);
    }
    table
}

fn find_by<'c>(commands: &'c [&'c Command], name: &str) -> impl Iterator<Item = &'c Command> {
    let has = move |command: &&&Command| {
        command.get_arguments().any(|arg| variable(arg).as_deref() == Some(name))
    };
    commands.iter().filter(has).copied()
}

fn variable(arg: &Arg) -> Option<String> {
    arg.get_env().map(|name| name.to_str().unwrap().to_owned())
}

/// Returns the help text of an option and, separately, its default value.
fn help_and_default(arg: &Arg) -> (String, String) {
    let help = arg.get_help().unwrap_or_else(|| panic!("{} has no help", arg.get_id())).to_string();
    let help = help.replace('\n', " ").replace('|', "\\|");
    if let Some((help, end)) = help.strip_suffix(']').and_then(|help| help.rsplit_once(" [")) {
        return (help.to_owned(), end.strip_prefix("default: ").unwrap_or(end).to_owned());
    }
    let default = arg.get_default_values().first().map(|value| value.to_str().unwrap().to_owned());
    (help, default.unwrap_or_else(|| "none".to_owned()))
}
