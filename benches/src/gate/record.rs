//! `blocks.jsonl`: every slot as soon as it is measured, a line each, so that a run that was killed leaves what it has, and a
//! decision can be made again by anybody.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tidemark_host::facts::Facts;

use super::measure::{Measured, Trust, Work};
use super::metric::Metric;
use super::slot::{Block, Slot};
use crate::error::MeasureError;

/// The version of the shape of these files.
pub const SCHEMA_VERSION: u32 = 1;

/// A line is a few hundred bytes. More than this, unpacked, is no record of ours.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// How it was measured: the first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// Seed of the order of slots.
    pub seed: u64,
    /// What was measured.
    pub metrics: Vec<Metric>,
    /// How much was done in a slot.
    pub work: Work,
    /// What base is called.
    pub base: String,
    /// What head is called.
    pub head: String,
    /// The machine.
    pub host: Facts,
}

/// One slot and where it belongs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlotLine {
    /// Which block, from 0.
    pub block: usize,
    /// Which slot of it, from 0.
    pub position: usize,
    /// Its figures.
    #[serde(flatten)]
    pub slot: Slot,
    /// What the load generator said of its run.
    #[serde(default)]
    pub trust: Option<Trust>,
    /// How long it took.
    #[serde(default)]
    pub took_ms: u64,
}

impl SlotLine {
    /// A slot that was just measured.
    pub fn new(block: usize, position: usize, measured: Measured) -> Self {
        Self {
            block,
            position,
            slot: measured.slot,
            trust: measured.trust,
            took_ms: u64::try_from(measured.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What is written, a line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Run(Box<Header>),
    Slot(SlotLine),
}

/// Writes the file.
#[derive(Debug)]
pub struct Writer {
    file: File,
}

impl Writer {
    /// Begins a file, in place of one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path, header: &Header) -> Result<Self, MeasureError> {
        let file = File::create(path).map_err(MeasureError::io(format!("write {}", path.display())))?;
        let mut writer = Self { file };
        writer.line(&Line::Run(Box::new(header.clone())))?;
        Ok(writer)
    }

    /// Adds a slot. When this returns it is in the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn slot(&mut self, slot: &SlotLine) -> Result<(), MeasureError> {
        self.line(&Line::Slot(slot.clone()))
    }

    fn line(&mut self, line: &Line) -> Result<(), MeasureError> {
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        self.file.write_all(&json).map_err(MeasureError::io("write the record of slots"))
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// How it was measured.
    pub header: Header,
    /// Every slot, in the order they were measured.
    pub slots: Vec<SlotLine>,
}

impl Record {
    /// Reads a file, packed with gzip or not.
    ///
    /// # Errors
    /// When it cannot be read, or is no record, with the line.
    pub fn read(path: &Path) -> Result<Self, MeasureError> {
        let name = path.display();
        let file =
            File::open(path).map_err(|error| MeasureError::Usage(format!("cannot read {name}: {error}")))?;
        let text: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        let limited = BufReader::new(text.take(FILE_BYTES_MAX));
        Self::parse(limited).map_err(|why| MeasureError::Usage(format!("{name}: {why}")))
    }

    fn parse(text: impl BufRead) -> Result<Self, String> {
        let mut header = None;
        let mut slots: Vec<SlotLine> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let at = |why: String| format!("line {}: {why}", index + 1);
            let line = line.map_err(|error: io::Error| at(error.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str(&line).map_err(|error| at(error.to_string()))? {
                Line::Run(read) if header.is_none() => header = Some(supported(*read).map_err(at)?),
                Line::Run(_) => return Err(at("a second run begins here; give one run a file".to_owned())),
                Line::Slot(slot) => slots.push(check(slot, slots.len()).map_err(at)?),
            }
        }
        let header =
            header.ok_or("it has no line of kind \"run\"; is it a blocks.jsonl of tidemark-gate?")?;
        Ok(Self { header, slots })
    }

    /// The blocks that are whole. A last one that is not is left out.
    pub fn blocks(&self) -> Vec<Block> {
        blocks(&self.slots)
    }
}

/// The blocks of which all four slots are there.
pub fn blocks(slots: &[SlotLine]) -> Vec<Block> {
    let (whole, _) = slots.as_chunks::<4>();
    whole.iter().map(|slots| Block { slots: slots.each_ref().map(|line| line.slot.clone()) }).collect()
}

fn supported(header: Header) -> Result<Header, String> {
    if header.schema_version == SCHEMA_VERSION {
        Ok(header)
    } else {
        Err(format!("schema_version {} is not known, only {SCHEMA_VERSION} is", header.schema_version))
    }
}

/// A slot that follows `before` others, with figures that a logarithm can be taken of.
fn check(slot: SlotLine, before: usize) -> Result<SlotLine, String> {
    let place = (before / 4, before % 4);
    if (slot.block, slot.position) != place {
        let (block, position) = place;
        return Err(format!(
            "slot {} of block {} stands where slot {position} of block {block} should",
            slot.position, slot.block
        ));
    }
    match slot.slot.figures.iter().find(|&(_, &figure)| !(figure.is_finite() && figure > 0.0)) {
        Some((metric, figure)) => Err(format!("{} is {figure}, and must be above 0", metric.name())),
        None => Ok(slot),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::statistics::Side;

    fn header() -> Header {
        Header {
            schema_version: SCHEMA_VERSION,
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            seed: 7,
            metrics: Metric::ALL.to_vec(),
            work: Work::default(),
            base: "a".to_owned(),
            head: "b".to_owned(),
            host: tidemark_host::facts::facts(),
        }
    }

    fn slot(index: usize, side: Side) -> SlotLine {
        SlotLine {
            block: index / 4,
            position: index % 4,
            slot: Slot {
                side,
                figures: BTreeMap::from([(Metric::CpuPerEcho, 11_000.25 + index as f64)]),
                steal_fraction: 0.001,
                wait_fraction: 0.0,
            },
            trust: Some(Trust { valid: true, trusted_to: Some(99.9), reasons: Vec::new() }),
            took_ms: 2600,
        }
    }

    fn slots() -> Vec<SlotLine> {
        let sides = [Side::Head, Side::Base, Side::Base, Side::Head, Side::Base];
        sides.into_iter().enumerate().map(|(index, side)| slot(index, side)).collect()
    }

    #[test]
    fn what_was_written_is_read_and_an_unfinished_block_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocks.jsonl");
        let mut writer = Writer::create(&path, &header()).unwrap();
        for slot in &slots() {
            writer.slot(slot).unwrap();
        }
        let record = Record::read(&path).unwrap();
        assert_eq!(record, Record { header: header(), slots: slots() });
        assert_eq!(record.blocks().len(), 1);
        let packed = directory.path().join("blocks.jsonl.gz");
        let mut gzip =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        gzip.write_all(&std::fs::read(&path).unwrap()).unwrap();
        gzip.finish().unwrap();
        assert_eq!(Record::read(&packed).unwrap(), record);
    }

    #[test]
    fn what_is_no_record_is_told_with_the_line() {
        let run = serde_json::to_string(&Line::Run(Box::new(header()))).unwrap();
        let line = |slot: SlotLine| serde_json::to_string(&Line::Slot(slot)).unwrap();
        let first = line(slot(0, Side::Head));
        let mut zero = slot(0, Side::Head);
        zero.slot.figures.insert(Metric::ResponseP99, 0.0);
        for (text, why) in [
            (String::new(), "no line of kind"),
            (first.clone(), "no line of kind"),
            (format!("{run}\n{run}"), "line 2: a second run"),
            (
                format!("{run}\n{first}\n{first}"),
                "line 3: slot 0 of block 0 stands where slot 1 of block 0 should",
            ),
            (format!("{run}\n\n{}", &first[..20]), "line 3: EOF"),
            (format!("{run}\n{}", line(zero)), "line 2: response_p99 is 0"),
            (
                run.replace("\"schema_version\":1", "\"schema_version\":9"),
                "line 1: schema_version 9 is not known",
            ),
            (r#"{"kind":"slot"}"#.to_owned(), "line 1: missing field"),
            ("[]".to_owned(), "line 1"),
        ] {
            let error = Record::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error:?} does not say {why:?}");
        }
        let error = Record::read(Path::new("/nowhere")).unwrap_err().to_string();
        assert_eq!(error, "cannot read /nowhere: No such file or directory (os error 2)");
    }
}
