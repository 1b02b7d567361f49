//! Files that may be anything: lines of a bounded length, with their numbers, and errors that say where.

use std::fmt::Display;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// What to do about a file that is not as it was.
pub const UNCHANGED: &str = "only what tidemark-loadgen has written, unchanged, can be read";

/// Why results cannot be read: the place, what is wrong there, and what to do.
#[derive(Debug, Error)]
#[error("{place}: {why}")]
pub struct ReadError {
    place: String,
    why: String,
}

impl ReadError {
    /// About a whole file or directory.
    pub fn new(path: &Path, why: impl Display) -> Self {
        Self { place: path.display().to_string(), why: why.to_string() }
    }

    /// About one line of a file, counted from 1.
    pub fn at_line(path: &Path, line: usize, why: impl Display) -> Self {
        Self { place: format!("{}:{line}", path.display()), why: why.to_string() }
    }
}

/// A line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// With its line break.
    Whole(&'a [u8]),
    /// The last one, without: whoever wrote it was stopped in the middle.
    Cut,
}

/// The lines of a file, one after the other, so that a long file takes no more memory than a short one.
#[derive(Debug)]
pub struct Lines<R> {
    path: PathBuf,
    input: R,
    line: Vec<u8>,
    line_bytes_max: u64,
    number: usize,
}

impl Lines<BufReader<File>> {
    /// Opens a file whose lines are no longer than `line_bytes_max`.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path, line_bytes_max: u64) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|error| ReadError::new(path, format!("{error}; {UNCHANGED}")))?;
        Ok(Self::new(path, BufReader::new(file), line_bytes_max))
    }
}

impl<R: BufRead> Lines<R> {
    /// The lines of `input`, which errors call `path`.
    pub fn new(path: &Path, input: R, line_bytes_max: u64) -> Self {
        Self { path: path.to_owned(), input, line: Vec::new(), line_bytes_max, number: 0 }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When it is too long, or the file cannot be read.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        self.line.clear();
        self.number += 1;
        let read = self.input.by_ref().take(self.line_bytes_max).read_until(b'\n', &mut self.line);
        match read {
            Err(error) => Err(self.error(format!("{error}; {UNCHANGED}"))),
            Ok(0) => Ok(None),
            Ok(_) if self.line.ends_with(b"\n") => Ok(Some(Line::Whole(&self.line))),
            Ok(read) if read as u64 == self.line_bytes_max => {
                let why = format!("the line is longer than {} bytes; {UNCHANGED}", self.line_bytes_max);
                Err(self.error(why))
            }
            Ok(_) => Ok(Some(Line::Cut)),
        }
    }

    /// An error about the line that was read last.
    pub fn error(&self, why: impl Display) -> ReadError {
        ReadError::at_line(&self.path, self.number, why)
    }
}

/// JSON that has to be of one shape.
///
/// # Errors
/// When it is not: then with the line, counted on from `first_line`.
pub fn json<T: DeserializeOwned>(path: &Path, first_line: usize, text: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(text).map_err(|error| {
        // Without the place, which is told in front and in other words.
        let told = error.to_string();
        let why = told.split(" at line ").next().unwrap_or_default();
        let why = format!("{why}; {UNCHANGED}");
        ReadError::at_line(path, first_line + error.line().saturating_sub(1), why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_the_last_may_be_cut() {
        let mut lines = Lines::new(Path::new("file"), b"one\n\nthr".as_slice(), 10);
        assert_eq!(lines.next_line().unwrap(), Some(Line::Whole(b"one\n")));
        assert_eq!(lines.next_line().unwrap(), Some(Line::Whole(b"\n")));
        assert_eq!(lines.next_line().unwrap(), Some(Line::Cut));
        assert_eq!(lines.error("bad").to_string(), "file:3: bad");
        assert_eq!(lines.next_line().unwrap(), None);
    }

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let mut lines = Lines::new(Path::new("file"), BufReader::new(std::io::repeat(b'x')), 1000);
        assert!(
            lines
                .next_line()
                .unwrap_err()
                .to_string()
                .starts_with("file:1: the line is longer than 1000 bytes")
        );
    }
}
