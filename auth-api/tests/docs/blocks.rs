//! What a page of the documentation says to run, and what it says will come of it.
//!
//! The word behind the language of a fenced block tells: `test` runs it by sh, in the order of the
//! page and in one shell; `output` is what the one before prints, where `…` stands for anything
//! within a line; `file=NAME` is a file that is there from the beginning; `untested=REASON` is for
//! the reader alone. A comment that begins with a line `<!-- test` is run too, and not seen. Shell,
//! JavaScript and Python without such a word are a mistake.

/// A file to write.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// Something to run, with the line of the page where it stands.
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) script: String,
    pub(super) output: Option<String>,
}

/// A page.
#[derive(Default)]
pub(super) struct Page {
    pub(super) files: Vec<File>,
    pub(super) steps: Vec<Step>,
}

impl Page {
    /// Reads it; panics at what nobody would run.
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
                step.ok_or("the output of nothing")?.output = Some(text);
            }
            (_, "file", name) if !name.is_empty() => {
                self.files.push(File { name: name.to_owned(), text });
            }
            (_, "untested", reason) if !reason.is_empty() => {}
            ("sh" | "js" | "python", "", "") => {
                return Err(format!("{language} that nothing runs"));
            }
            (_, "", "") => {}
            _ => return Err(format!("what does {info:?} mean?")),
        }
        Ok(())
    }
}

/// Whether this is what was printed, where `…` stands for anything within a line.
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
