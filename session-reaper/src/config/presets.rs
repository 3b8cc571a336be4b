//! The presets, in the format of `reaper.toml`. What each takes and why is in `docs/presets/`.

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
