//! The presets (built-in lists of targets for known applications), in the format of `reaper.toml`.
//! `docs/presets/` documents each preset.

use reaper::nearest;

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        /// Names and texts of all presets.
        pub(super) const PRESETS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../presets/", $name, ".toml")))),*];
    };
}

presets!(
    "auth-api",
    "authentik",
    "authjs",
    "better-auth",
    "connect-pg-simple",
    "django",
    "django-oauth-toolkit",
    "doorkeeper",
    "duende-identityserver",
    "grafana",
    "keycloak",
    "laravel",
    "laravel-passport",
    "laravel-sanctum",
    "matrix-authentication-service",
    "nextcloud",
    "openiddict",
    "ory-hydra",
    "prisma-refresh-tokens",
    "rodauth",
    "simplejwt",
    "spring-session",
    "supabase-auth",
    "tower-sessions",
);

/// Returns the preset with this name. If there is none, the error suggests a similar name and lists
/// all presets.
pub(super) fn find(name: &str) -> Result<(&'static str, &'static str), String> {
    if let Some(preset) = PRESETS.iter().find(|(known, _)| *known == name) {
        return Ok(*preset);
    }
    let names = || PRESETS.iter().map(|(known, _)| *known);
    let near = nearest(name, names().map(|known| (known, known)));
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    Err(format!("there is none{near} (known: {})", names().collect::<Vec<_>>().join(", ")))
}
