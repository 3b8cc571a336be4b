//! Logs, on standard error.

use std::io::{self, IsTerminal as _, Write};

use indicatif::ProgressBar;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging. Lines are written around `bar`, so that neither garbles the other.
pub fn init(log: LogConfig, bar: ProgressBar) {
    let builder = tracing_subscriber::fmt().with_env_filter(log.filter).with_writer(AroundBar(bar));
    match log.format {
        LogFormat::Text => builder.with_ansi(log.colour && io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Standard error, with the progress bar out of the way while a line is written.
#[derive(Clone)]
struct AroundBar(ProgressBar);

impl Write for AroundBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AroundBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
