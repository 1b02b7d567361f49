//! Where a run's files go: `DIR/<run id>/`, and a link `DIR/latest` to the newest.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::stored::REPORT_NAME;
use super::{Report, csv, hgrm, partial};
use crate::record::{Kind, Recording};

/// Runs that may start in the same second before their directories run out of names.
const SUFFIXES_MAX: u32 = 100;

/// The directory of one run.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    /// The run's id: its start in UTC, and a suffix where two runs started in the same second.
    pub id: String,
    /// The directory itself.
    pub path: PathBuf,
}

impl RunDir {
    /// Makes a directory of its own for a run that starts now. Never reuses one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(root: &Path, now: SystemTime) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let stamp = humantime::format_rfc3339_seconds(now).to_string().replace([':', '-'], "");
        for suffix in 1..=SUFFIXES_MAX {
            let id = if suffix == 1 { stamp.clone() } else { format!("{stamp}-{suffix}") };
            let path = root.join(&id);
            match fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(Self { root: root.to_owned(), id, path });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Takes the directory away again, when nothing was written to it.
    pub fn discard_if_empty(&self) {
        // It is not empty, or not ours to remove: then it stays.
        drop(fs::remove_dir(&self.path));
    }

    /// Writes what is made of a whole run, and points `latest` here. The totals are in the order of the populations.
    ///
    /// # Errors
    /// When a file cannot be written: then which, and why.
    pub fn finish(&self, report: &Report, totals: &[&Recording]) -> Result<(), (PathBuf, io::Error)> {
        for (population, total) in report.populations.iter().zip(totals) {
            for kind in Kind::ALL.into_iter().filter(|&kind| !total.histogram(kind).is_empty()) {
                let name = format!("{}.{}.hgrm", population.name, kind.name());
                self.write_text(&name, &hgrm::render(&total.histogram(kind)))?;
            }
        }
        self.write_text("series.csv", &csv::render(&report.series))?;
        // Last of all: where it is, the run came to its end, and everything else is there too.
        self.write(REPORT_NAME, report)?;
        let partial = self.path.join(partial::FILE_NAME);
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err((partial, error)),
            _ => self.point_latest(),
        }
    }

    /// Writes a file of the directory anew, as JSON.
    ///
    /// # Errors
    /// When it cannot be written: then where, and why.
    pub fn write(&self, name: &str, content: &impl Serialize) -> Result<(), (PathBuf, io::Error)> {
        let json =
            serde_json::to_string_pretty(content).map_err(|error| (self.path.join(name), error.into()))?;
        self.write_text(name, &(json + "\n"))
    }

    fn write_text(&self, name: &str, text: &str) -> Result<(), (PathBuf, io::Error)> {
        let path = self.path.join(name);
        // Under another name first, so that nobody ever reads half a file.
        let partial = self.path.join(format!("{name}.partial"));
        fs::write(&partial, text).and_then(|()| fs::rename(&partial, &path)).map_err(|error| (path, error))
    }

    /// Points `latest` here.
    ///
    /// # Errors
    /// When the link cannot be made: then where, and why.
    pub fn point_latest(&self) -> Result<(), (PathBuf, io::Error)> {
        let latest = self.root.join("latest");
        self.link_latest(&latest).map_err(|error| (latest, error))
    }

    fn link_latest(&self, latest: &Path) -> io::Result<()> {
        let link = self.root.join(format!(".latest-{}", self.id));
        symlink(&self.id, &link)?;
        // A rename replaces the old link at once; it never replaces a directory that somebody named so.
        fs::rename(&link, latest).inspect_err(|_| drop(fs::remove_file(&link)))
    }
}
