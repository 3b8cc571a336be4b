//! Extracts the commands of a documentation page and their expected output.
//!
//! The word after the language of a fenced block determines its use:
//!
//! - `test`: sh runs the block, in the order of the page and in one shell.
//! - `output`: the previous block prints this text, where `…` matches any text within a line.
//! - `file=NAME`: the block is written to this file before the first command.
//! - `untested=REASON`: the block is not run.
//!
//! A comment that begins with the line `<!-- test` is run, too, but is not visible. Shell,
//! JavaScript and Python blocks without such a word are errors.

/// A file to write before the first command.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// A command to run, and its line in the page.
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) script: String,
    pub(super) output: Option<String>,
}

/// The files and the steps of a page.
#[derive(Default)]
pub(super) struct Page {
    pub(super) files: Vec<File>,
    pub(super) steps: Vec<Step>,
}

impl Page {
    /// Parses a page. Panics if a block is neither run nor marked as untested.
    pub(super) fn read(name: &str, markdown: &str) -> Self {
        let mut page = Self::default();
        let mut lines = markdown.lines().enumerate();
        while let Some((index, opening)) = lines.next() {
            let (info, end) = match opening.strip_prefix("```") {
                Some(info) => (info, "```"),
                None if opening == "<!-- test" => ("sh test", "-->"),
                None => continue,
            };
            let inside: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != end).collect();
            let text = inside.iter().fold(String::new(), |text, line| text + line + "\n");
            page.add(info, index + 1, text)
                .unwrap_or_else(|wrong| panic!("{name}:{}: {wrong}", index + 1));
        }
        page
    }

    fn add(&mut self, info: &str, line: usize, text: String) -> Result<(), String> {
        let (language, word) = info.split_once(' ').unwrap_or((info, ""));
        let (word, value) = word.split_once('=').unwrap_or((word, ""));
        match (language, word, value) {
            ("sh", "test", "") => self.steps.push(Step { line, script: text, output: None }),
            (_, "output", "") => {
                let step = self.steps.last_mut().filter(|step| step.output.is_none());
                step.ok_or("there is no command before this output")?.output = Some(text);
            }
            (_, "file", name) if !name.is_empty() => {
                self.files.push(File { name: name.to_owned(), text });
            }
            (_, "untested", reason) if !reason.is_empty() => {}
            ("sh" | "js" | "python", "", "") => {
                return Err(format!("{language} block that is not run"));
            }
            (_, "", "") => {}
            _ => return Err(format!("unknown info string {info:?}")),
        }
        Ok(())
    }
}

/// Returns whether `printed` matches `expected`, where `…` matches any text within a line.
pub(super) fn fits(expected: &str, printed: &str) -> bool {
    let (expected, printed) = (expected.lines(), printed.lines());
    expected.clone().count() == printed.clone().count()
        && expected.zip(printed).all(|(one, other)| line_fits(one, other))
}

fn line_fits(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}
