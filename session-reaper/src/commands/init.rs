//! `init`: writes a starter `reaper.toml`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use super::print;
use crate::config::{InitConfig, presets};

/// The template. A test uncomments its examples and parses them.
const TEMPLATE: &str = include_str!("../../init.toml");

/// Writes the file. The error is a message for the user.
pub fn init(config: &InitConfig) -> Result<(), String> {
    let text = text(&config.presets);
    let Some(path) = &config.file else {
        print(&text);
        return Ok(());
    };
    write(path, &text).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!(
            "{0} is already there and stays as it is: choose another file, or print the text with `session-reaper init -`",
            path.display()
        ),
        _ => format!("{} cannot be written: {error}", path.display()),
    })?;
    print(&format!("wrote {}\n", path.display()));
    Ok(())
}

/// Returns the text of the file with these presets.
fn text(chosen: &[&str]) -> String {
    let known = presets();
    let names = known.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
    let table = known
        .iter()
        .find(|preset| chosen.first() == Some(&preset.name))
        .and_then(|preset| preset.targets.first())
        .map(|target| &target.table);
    let name = table.map(|table| table.name.quoted()).unwrap_or_default();
    let table = table.map(|table| format!("{:?}", table.quoted())).unwrap_or_default();
    let chosen = match chosen {
        [one] => format!("{one:?}"),
        several => format!("{several:?}"),
    };
    TEMPLATE
        .replace("{known}", &names)
        .replace("{presets}", &chosen)
        .replace("{name}", &name)
        .replace("{table}", &table)
}

/// Writes a new file, completely or not at all. Returns an error if the file already exists.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}
