//! Help texts with working examples, completions, manual pages, and colored output.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::io::Write as _;
use std::process::{Command as Process, Stdio};

use clap::{Command, CommandFactory as _, Parser as _};
use session_reaper::cli::Cli;
use testkit::{Program, binary, free_port};

/// Returns a command and all its subcommands, each with the words that invoke it.
fn commands(command: &Command, words: &str) -> Vec<(String, Command)> {
    let words = format!("{words} {}", command.get_name()).trim().to_owned();
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    let below: Vec<_> = below.flat_map(|below| commands(below, &words)).collect();
    [(words, command.clone())].into_iter().chain(below).collect()
}

async fn stdout(args: &[&str]) -> String {
    let (code, program) = Program::run(binary("session-reaper"), args, &[]).await;
    assert_eq!(code, Some(0), "{args:?}: {}", program.stderr());
    program.stdout()
}

#[tokio::test]
async fn every_help_has_an_example_that_parses() {
    for (words, _) in commands(&Cli::command(), "") {
        let args: Vec<&str> = words.split(' ').skip(1).chain(["--help"]).collect();
        let help = stdout(&args).await;
        let (_, examples) =
            help.split_once("\nExample").unwrap_or_else(|| panic!("{words}: no example"));
        let lines: Vec<&str> = examples
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("session-reaper"))
            .collect();
        assert!(!lines.is_empty(), "{words}: no example");
        for line in lines {
            assert!(line.starts_with(&words), "{words}: {line:?} is an example of another command");
            let shell = shlex::split(line)
                .unwrap_or_else(|| panic!("{words}: {line:?} has an unclosed quote"));
            let own =
                shell.into_iter().take_while(|word| !["|", ">", "&&"].contains(&word.as_str()));
            if let Err(error) = Cli::try_parse_from(own) {
                panic!("{words}: {line:?}: {error}");
            }
        }
    }
}

#[tokio::test]
async fn completions_for_each_shell_include_each_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]).await;
        for (words, command) in commands(&Cli::command(), "") {
            assert!(script.contains(command.get_name()), "{shell} completions lack {words}");
        }
        assert!(script.contains("textfile"), "{shell}");
    }
    let script = stdout(&["completions", "bash"]).await;
    let mut bash = Process::new("bash")
        .arg("-n")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let checked = bash.wait_with_output().unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

#[tokio::test]
async fn unknown_shell_for_completions_is_a_usage_error() {
    let (code, program) =
        Program::run(binary("session-reaper"), &["completions", "tcsh"], &[]).await;
    assert_eq!(code, Some(2));
    assert!(program.stderr().contains("bash"), "{}", program.stderr());
}

#[tokio::test]
async fn one_manual_page_is_written_for_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let man = directory.path().join("share/man/man1");
    assert_eq!(stdout(&["man", man.to_str().unwrap()]).await, "");
    for (words, _) in commands(&Cli::command(), "") {
        let page = man.join(format!("{}.1", words.replace(' ', "-")));
        let text = std::fs::read_to_string(&page)
            .unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(text.contains(".SH SYNOPSIS") && text.contains("Example"), "{words}: {text}");
        // If groff is installed, it checks the page.
        if let Ok(groff) =
            Process::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&page).output()
        {
            assert!(
                groff.status.success() && groff.stderr.is_empty(),
                "{words}: {}",
                String::from_utf8_lossy(&groff.stderr)
            );
        }
    }
}

#[tokio::test]
async fn unwritable_manual_page_is_reported_with_its_path() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = file.path().join("man1");
    let (code, program) =
        Program::run(binary("session-reaper"), &["man", below_a_file.to_str().unwrap()], &[]).await;
    assert_eq!(code, Some(1));
    assert!(program.stderr().contains(below_a_file.to_str().unwrap()), "{}", program.stderr());
}

/// Returns the output of a command in a terminal, which `script` of util-linux provides.
async fn in_a_terminal(command: &str, env: &[(&str, &str)]) -> String {
    let command = format!("{} {command}", binary("session-reaper").display());
    let all = [&[("TERM", "xterm-256color")], env].concat();
    let (_, program) = Program::run("script", &["-qec", &command, "/dev/null"], &all).await;
    program.stdout()
}

#[tokio::test]
async fn colors_are_used_on_terminals_unless_no_color_is_set() {
    let escape = '\u{1b}';
    let url = format!("postgres://nobody@127.0.0.1:{}/nowhere", free_port());
    // Help, a usage error, and a log line.
    for command in ["run --help", "run --fast", "run"] {
        let database = ("DATABASE_URL", url.as_str());
        let shown = in_a_terminal(command, &[database]).await;
        assert!(shown.contains(escape), "{command}: {shown}");
        let plain = in_a_terminal(command, &[database, ("NO_COLOR", "1")]).await;
        assert!(!plain.is_empty() && !plain.contains(escape), "{command}: {plain}");
        let args: Vec<&str> = command.split(' ').collect();
        let (_, piped) = Program::run(binary("session-reaper"), &args, &[database]).await;
        assert!(
            !(piped.stdout() + &piped.stderr()).contains(escape),
            "{command}: {}",
            piped.stderr()
        );
    }
}
