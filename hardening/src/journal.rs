//! Priorities of log lines for the systemd journal.
//!
//! If standard error is connected to the journal, each line begins with its priority, such as `<4>`
//! for a warning (sd-daemon(3)). The journal removes this prefix and stores the priority, so that
//! `journalctl -p warning` shows warnings and errors only.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Writes log lines with a prefix for their priority.
#[derive(Clone, Debug)]
pub struct WithPriority<M> {
    inner: M,
    enabled: bool,
}

/// Writes one log line.
#[derive(Debug)]
pub struct Line<W> {
    writer: W,
    /// The prefix, until it is written.
    prefix: &'static str,
}

impl<M> WithPriority<M> {
    /// Wraps a writer to standard error. Lines have a prefix only if standard error is connected to
    /// the journal.
    pub fn new(inner: M) -> Self {
        let stream = std::env::var("JOURNAL_STREAM").ok();
        Self { inner, enabled: stream.is_some_and(|stream| is_stderr(&stream)) }
    }
}

/// Returns whether standard error is the file with the device and the inode in `stream`, the value
/// of `JOURNAL_STREAM`. The variable alone is not sufficient, because a process inherits it even if
/// its standard error is redirected (systemd.exec(5)).
fn is_stderr(stream: &str) -> bool {
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned() else { return false };
    let Ok(metadata) = File::from(stderr).metadata() else { return false };
    stream == format!("{}:{}", metadata.dev(), metadata.ino())
}

fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for WithPriority<M> {
    type Writer = Line<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { writer: self.inner.make_writer(), prefix: "" }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        let prefix = if self.enabled { prefix(*meta.level()) } else { "" };
        Line { writer: self.inner.make_writer_for(meta), prefix }
    }
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.prefix.is_empty() {
            return self.writer.write(text);
        }
        // The line is written at once, so that lines of other processes do not separate it from its
        // prefix.
        let line = [std::mem::take(&mut self.prefix).as_bytes(), text].concat();
        self.writer.write_all(&line)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
