//! The revision of the source that the programs were built from.

/// The value of `GIT_REVISION` during the build, or `unknown` if the variable was not set or empty.
pub const REVISION: &str = match option_env!("GIT_REVISION") {
    Some(revision) if !revision.is_empty() => revision,
    _ => "unknown",
};

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// Compiles this file with `GIT_REVISION`, and returns the constant.
    fn built_with(revision: Option<&str>) -> String {
        const PROGRAM: &str = r#"fn main() { print!("{}", revision::REVISION) }"#;
        let directory = tempfile::tempdir().unwrap();
        let (source, program) = (directory.path().join("main.rs"), directory.path().join("main"));
        let this = concat!(env!("CARGO_MANIFEST_DIR"), "/src/revision.rs");
        std::fs::write(&source, format!("#[path = {this:?}] mod revision; {PROGRAM}")).unwrap();
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition", "2024", "-o"]).arg(&program).arg(&source);
        rustc.env_remove("GIT_REVISION").envs(revision.map(|revision| ("GIT_REVISION", revision)));
        assert!(rustc.status().unwrap().success());
        String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap()
    }

    #[test]
    fn revision_is_the_variable_of_the_build() {
        assert_eq!(built_with(Some("2f5c3e1")), "2f5c3e1");
        assert_eq!(built_with(Some("")), "unknown");
        assert_eq!(built_with(None), "unknown");
    }
}
