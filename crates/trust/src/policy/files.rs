//! Files that a policy names, and the text of a policy with what it includes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::line::Line;
use super::{POLICY_BYTES_MAX, PolicyError};

/// How deep files may include files.
const DEPTH_MAX: usize = 8;
/// How many files a policy may include, each time counted.
const INCLUDED_MAX: usize = 256;

/// Where the files that a policy names come from. The core reads none itself.
pub trait PolicyFiles {
    /// The bytes of a file, by the name that the policy gives it.
    ///
    /// # Errors
    /// Why there are none, for people.
    fn read(&self, name: &str) -> Result<Vec<u8>, String>;
}

/// No file at all: a policy that names one is refused.
pub struct NoFiles;

impl PolicyFiles for NoFiles {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("this policy may not name files here".into())
    }
}

impl PolicyFiles for BTreeMap<String, Vec<u8>> {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        self.get(name)
            .cloned()
            .ok_or_else(|| "it is not there".into())
    }
}

/// A policy's text with everything that it includes, and where each line stands.
pub(super) struct Expanded {
    pub(super) text: String,
    /// File (empty for the policy itself) and line of each line of the text.
    places: Vec<(Arc<str>, usize)>,
    /// Files that were included so far.
    included: usize,
}

impl Expanded {
    /// Puts the text of each included file in place of its `include` line.
    pub(super) fn of(text: &str, files: &dyn PolicyFiles) -> Result<Self, PolicyError> {
        let mut expanded = Self {
            text: String::new(),
            places: Vec::new(),
            included: 0,
        };
        if text.len() > POLICY_BYTES_MAX {
            return Err(too_large(String::new(), text.lines().count()));
        }
        expanded.add(&Arc::from(""), text, files, &mut Vec::new())?;
        // Without an include it is the text as it was, byte for byte.
        let added = expanded.text.len().saturating_sub(1);
        expanded.text.truncate(added);
        Ok(expanded)
    }

    /// Says where an error of the whole text stands.
    pub(super) fn located(&self, mut error: PolicyError) -> PolicyError {
        let place = self.places.get(error.line.saturating_sub(1));
        if let (true, Some((file, line))) = (error.file.is_empty(), place) {
            error.file = file.as_ref().to_owned();
            error.line = *line;
        }
        error
    }

    fn add(
        &mut self,
        file: &Arc<str>,
        text: &str,
        files: &dyn PolicyFiles,
        within: &mut Vec<String>,
    ) -> Result<(), PolicyError> {
        within.push(file.as_ref().to_owned());
        for (number, line) in (1..).zip(text.split('\n')) {
            if self.text.len().saturating_add(line.len()) > POLICY_BYTES_MAX {
                return Err(too_large(file.as_ref().into(), number));
            }
            let Some(include) = include(number, line).map_err(|error| of(file, error))? else {
                self.push(file, number, line);
                continue;
            };
            let (name, included) =
                read(&include, files, within).map_err(|error| of(file, error))?;
            self.included = self.included.saturating_add(1);
            if self.included > INCLUDED_MAX {
                let message = format!("a policy includes at most {INCLUDED_MAX} files");
                let hint = "put what belongs together into one file";
                let error = include.error(include.keyword, message, hint);
                return Err(of(file, error));
            }
            self.push(file, number, &format!("# {}", line.trim()));
            self.add(
                &Arc::from(name),
                included.trim_end_matches('\n'),
                files,
                within,
            )?;
        }
        within.pop();
        Ok(())
    }

    fn push(&mut self, file: &Arc<str>, number: usize, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.places.push((Arc::clone(file), number));
    }
}

/// The line, if it is an `include`. Lines that are wrong are told of when they are read.
fn include(number: usize, text: &str) -> Result<Option<Line<'_>>, PolicyError> {
    if !text.trim_start().starts_with("include") {
        return Ok(None);
    }
    Ok(Line::split(number, text)?.filter(|line| line.keyword.text == "include"))
}

fn read(
    line: &Line<'_>,
    files: &dyn PolicyFiles,
    within: &[String],
) -> Result<(String, String), PolicyError> {
    const FORM: &str = "include FILE";
    let item = line.item(0, "the name of a file", FORM)?;
    super::parse::no_more(line, 1, FORM)?;
    let wrong = |message: String, hint: &str| line.error(item, message, hint);
    if within.iter().any(|name| name == item.text) {
        let message = format!("`{}` includes itself", item.text);
        return Err(wrong(message, "remove one of the include lines"));
    }
    if within.len() >= DEPTH_MAX {
        let message = format!("files include files more than {DEPTH_MAX} deep");
        return Err(wrong(message, "include them from one file"));
    }
    let cannot = |reason: String| {
        let message = format!("`{}` cannot be included: {reason}", item.text);
        wrong(
            message,
            "name a file that can be read, relative to the policy",
        )
    };
    let bytes = files.read(item.text).map_err(cannot)?;
    let text = String::from_utf8(bytes).map_err(|_| cannot("it is not UTF-8".into()))?;
    Ok((item.text.to_owned(), text))
}

fn of(file: &str, mut error: PolicyError) -> PolicyError {
    if error.file.is_empty() {
        error.file = file.to_owned();
    }
    error
}

fn too_large(file: String, line: usize) -> PolicyError {
    PolicyError {
        file,
        line: line.max(1),
        column: 1,
        message: "the policy is larger than 1 MiB".into(),
        hint: "shorten it".into(),
        text: String::new(),
    }
}
