//! The presets, in the format of `reaper.toml`. What each takes and why is in `docs/presets/`.

use crate::nearest::nearest;

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        /// Their names and texts.
        pub(super) const PRESETS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../presets/", $name, ".toml")))),*];
    };
}

presets!(
    "auth-api",
    "authjs",
    "better-auth",
    "connect-pg-simple",
    "django",
    "django-oauth-toolkit",
    "doorkeeper",
    "ory-hydra",
    "prisma-refresh-tokens",
    "supabase-auth",
    "tower-sessions",
);

/// The preset of this name; else says which may have been meant, and which there are.
pub(super) fn find(name: &str) -> Result<(&'static str, &'static str), String> {
    if let Some(preset) = PRESETS.iter().find(|(known, _)| *known == name) {
        return Ok(*preset);
    }
    let names = || PRESETS.iter().map(|(known, _)| *known);
    let near = nearest(name, names().map(|known| (known, known)));
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    Err(format!("there is none{near} (known: {})", names().collect::<Vec<_>>().join(", ")))
}
