//! Directories and files that are not what they should be: one line that says where and what to do, and never a panic.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::ZlibEncoder;
use proptest::prelude::*;
use tidemark_loadgen::report::compare::{self, Side};
use tidemark_loadgen::report::hlog::read::Reader;
use tidemark_loadgen::report::merge;
use tidemark_loadgen::report::partial;
use tidemark_loadgen::report::stored::{LOG_NAME, REPORT_NAME};
use tidemark_loadgen::report::table;

use crate::partial::cut_off;
use crate::runs::Made;

/// A change to the directory of a run, by its name.
type Case = (&'static str, fn(&Path));

fn change(path: &Path, change: impl FnOnce(String) -> String) {
    fs::write(path, change(fs::read_to_string(path).unwrap())).unwrap();
}

fn report(dir: &Path, from: &str, to: &str) {
    change(&dir.join(REPORT_NAME), |text| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
}

fn log(dir: &Path, with: impl FnOnce(Vec<&str>) -> Vec<String>) {
    change(&dir.join(LOG_NAME), |text| with(text.lines().collect()).join("\n") + "\n");
}

/// The lines with another one at the end.
fn and(lines: &[&str], last: &str) -> Vec<String> {
    lines.iter().copied().chain([last]).map(str::to_owned).collect()
}

const COMPLETE: [Case; 24] = [
    ("no such directory", |dir| fs::remove_dir_all(dir).unwrap()),
    ("a file", |dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::write(dir, "").unwrap();
    }),
    ("an empty directory", |dir| {
        fs::remove_dir_all(dir).unwrap();
        fs::create_dir(dir).unwrap();
    }),
    ("a search", |dir| fs::rename(dir.join(REPORT_NAME), dir.join("search.json")).unwrap()),
    ("several runs", |dir| {
        fs::rename(dir, dir.with_extension("run")).unwrap();
        for id in ["20260102T030405Z", "20260102T030406Z", "20260102T030407Z"] {
            fs::create_dir_all(dir.join(id)).unwrap();
        }
        fs::rename(
            dir.with_extension("run").join(REPORT_NAME),
            dir.join("20260102T030405Z").join(REPORT_NAME),
        )
        .unwrap();
        // The second was killed, and the third ended before it had begun anything.
        fs::write(dir.join("20260102T030406Z").join(partial::FILE_NAME), "").unwrap();
        std::os::unix::fs::symlink("20260102T030405Z", dir.join("latest")).unwrap();
    }),
    ("report.json is a directory", |dir| {
        fs::remove_file(dir.join(REPORT_NAME)).unwrap();
        fs::create_dir(dir.join(REPORT_NAME)).unwrap();
    }),
    ("report.json is empty", |dir| fs::write(dir.join(REPORT_NAME), "").unwrap()),
    ("report.json is something else", |dir| fs::write(dir.join(REPORT_NAME), "[1, 2]").unwrap()),
    ("report.json is no text", |dir| fs::write(dir.join(REPORT_NAME), [0xff, 0, 0x80]).unwrap()),
    ("report.json is deep", |dir| fs::write(dir.join(REPORT_NAME), "[".repeat(100_000)).unwrap()),
    ("report.json ends early", |dir| {
        change(&dir.join(REPORT_NAME), |text| text[..text.len() / 2].to_owned());
    }),
    ("another version", |dir| report(dir, "\"schema_version\": 1", "\"schema_version\": 2")),
    ("a figure is negative", |dir| report(dir, "\"completed\": 4", "\"completed\": -4")),
    ("intervals of no length", |dir| report(dir, "\"interval_s\": 1.0", "\"interval_s\": 0.0")),
    ("intervals of a negative length", |dir| report(dir, "\"interval_s\": 1.0", "\"interval_s\": -1e300")),
    ("no time", |dir| report(dir, "\"started_at\": \"2026", "\"started_at\": \"soon")),
    ("a name that leads elsewhere", |dir| report(dir, "\"name\": \"main\"", "\"name\": \"../main\"")),
    ("no log", |dir| fs::remove_file(dir.join(LOG_NAME)).unwrap()),
    ("a log of another version", |dir| {
        change(&dir.join(LOG_NAME), |text| text.replace("version 1.3", "version 1.2"));
    }),
    ("a log that ends in a line", |dir| {
        change(&dir.join(LOG_NAME), |text| text[..text.len() - 9].to_owned());
    }),
    ("a log that ends early", |dir| {
        log(dir, |lines| lines[..lines.len() - 1].iter().map(|&line| line.to_owned()).collect());
    }),
    ("a line of something else", |dir| log(dir, |lines| and(&lines, "GET / HTTP/1.1"))),
    ("a tag of another run", |dir| {
        log(dir, |lines| and(&lines, &lines.last().unwrap().replace("Tag=main.", "Tag=idle.")));
    }),
    ("a line without end", |dir| {
        let mut file = fs::OpenOptions::new().append(true).open(dir.join(LOG_NAME)).unwrap();
        file.write_all(&[b'x'; 1 << 20]).unwrap();
    }),
];

const HISTOGRAMS: [(&str, &str); 7] = [
    ("no base64", "!"),
    ("nothing", ""),
    ("another cookie", "HISTEwAAAAA="),
    ("a stream that cannot be inflated", "HISTFAAAAAR4nGNg"),
    // Made below.
    ("a length beyond the end", "length"),
    ("other bounds", "bounds"),
    ("a count that has no negative", "lowest"),
];

/// A histogram in base64, of a header that says so much and of these counts.
fn encoded(length: u32, highest: u64, counts: &[u8]) -> String {
    let mut bytes = 0x1c84_9313_u32.to_be_bytes().to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 3].into_iter().flat_map(u32::to_be_bytes));
    bytes.extend([1, highest].into_iter().flat_map(u64::to_be_bytes));
    bytes.extend(1.0_f64.to_be_bytes());
    bytes.extend(counts);
    let mut deflated = Vec::new();
    ZlibEncoder::new(bytes.as_slice(), Compression::fast()).read_to_end(&mut deflated).unwrap();
    let mut packed = 0x1c84_9314_u32.to_be_bytes().to_vec();
    packed.extend(u32::try_from(deflated.len()).unwrap().to_be_bytes());
    packed.extend(deflated);
    to_base64(&packed)
}

fn to_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).map(|group| {
        let mut three = [0; 4];
        three[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(three);
        let digit = |place: usize| {
            if place > group.len() { '=' } else { ALPHABET[(bits >> (18 - 6 * place) & 63) as usize].into() }
        };
        (0..4).map(digit).collect::<String>()
    });
    groups.collect()
}

/// What opening it is answered with, the directory left out.
fn told(dir: &Path) -> String {
    let Err(error) = Side::open(dir) else { panic!("{} can be read", dir.display()) };
    let error = error.to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error.replace(&*dir.to_string_lossy(), "DIR")
}

#[test]
fn everything_is_told_in_one_line_with_the_place() {
    let root = tempfile::tempdir().unwrap();
    let write = || Made::of([1000; 40]).write(root.path());
    let mut lines = Vec::new();
    for (name, spoil) in COMPLETE {
        let dir = write();
        spoil(&dir);
        lines.push(format!("{name}\n    {}", told(&dir)));
    }
    for (name, histogram) in HISTOGRAMS {
        let dir = write();
        let histogram = match histogram {
            "length" => encoded(100, 60_000_000_000, &[2]),
            "bounds" => encoded(1, 1000, &[2]),
            "lowest" => encoded(9, 60_000_000_000, &[0xff; 9]),
            text => text.to_owned(),
        };
        log(&dir, |lines| and(&lines, &format!("Tag=main.response,2.000,1.000,1.000,{histogram}")));
        lines.push(format!("a histogram: {name}\n    {}", told(&dir)));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

/// A change to the text of a file.
type Spoiler = fn(&str) -> String;

#[test]
fn so_is_what_a_run_left_that_was_cut_off() {
    let root = tempfile::tempdir().unwrap();
    let cases: [(&str, Spoiler); 5] = [
        ("nothing", |_| String::new()),
        ("garbage at the end", |text| format!("{text}garbage\n")),
        ("garbage at the beginning", |text| format!("garbage\n{text}")),
        ("other populations", |text| text.replacen("[{\"name\":\"main\"", "[{\"name\":\"idle\"", 1)),
        ("other counts", |text| text.replace("\"count\":40", "\"count\":41")),
    ];
    let told = cases.map(|(name, spoil)| {
        let dir = cut_off(&Made::of([1000; 40]), root.path(), 2);
        change(&dir.join(partial::FILE_NAME), |text| spoil(&text));
        format!("{name}\n    {}", told(&dir))
    });
    insta::assert_snapshot!(told.join("\n"));
}

/// Does everything with a directory that there is to do, and minds nothing but a panic.
fn read_all(dir: &Path, output: &Path) {
    drop(merge::merge(&[dir.to_owned()], output, Vec::new()));
    if let (Ok(one), Ok(other)) = (Side::open(dir), Side::open(dir)) {
        let _ = table::render(&one.report);
        let _ = compare::render(&[one, other]);
    }
}

/// One place where bytes are put in, out, or are other bytes.
#[derive(Clone, Debug)]
struct Spoil {
    at: prop::sample::Index,
    length: usize,
    bytes: Vec<u8>,
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let digits = "[0-9]{1,20}|e308|-1|null|\"\"|\n|,".prop_map(String::into_bytes);
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..8), digits];
    (any::<prop::sample::Index>(), 0usize..8, bytes).prop_map(|(at, length, bytes)| Spoil {
        at,
        length,
        bytes,
    })
}

fn spoiled(path: &PathBuf, spoils: &[Spoil]) {
    let mut content = fs::read(path).unwrap();
    for Spoil { at, length, bytes } in spoils {
        let at = at.index(content.len().max(1)).min(content.len());
        let end = (at + length).min(content.len());
        content.splice(at..end, bytes.iter().copied());
    }
    fs::write(path, content).unwrap();
}

fn lines_of(text: &[u8]) {
    if let Ok(mut reader) = Reader::new(Path::new("latency.hlog"), text) {
        while let Ok(Some(_)) = reader.next_logged() {}
    }
}

proptest! {
    #[test]
    fn no_bytes_are_too_much_for_the_log(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        lines_of(&bytes);
        let mut text = b"#[Histogram log format version 1.3]\n#[StartTime: 1.0 (s), t]\n".to_vec();
        text.extend(bytes);
        text.push(b'\n');
        lines_of(&text);
    }

    #[test]
    fn no_counts_are_too_many(counts in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff)], 0..60), length in prop_oneof![0u32..60, any::<u32>()]) {
        let line = format!("Tag=main.lag,0.0,1.0,1.0,{}\n", encoded(length, 60_000_000_000, &counts));
        lines_of(format!("#[Histogram log format version 1.3]\n#[StartTime: 1.0 (s), t]\n{line}").as_bytes());
    }

    #[test]
    fn a_directory_may_have_anything_in_it(file in 0usize..4, spoils in prop::collection::vec(spoil(), 1..4)) {
        let root = tempfile::tempdir().unwrap();
        let made = Made::of([1000; 40]);
        let (dir, name) = match file {
            0 => (made.write(root.path()), REPORT_NAME),
            1 => (made.write(root.path()), LOG_NAME),
            2 => (cut_off(&made, root.path(), 2), partial::FILE_NAME),
            _ => (cut_off(&made, root.path(), 2), LOG_NAME),
        };
        spoiled(&dir.join(name), &spoils);
        read_all(&dir, &root.path().join("merged"));
    }
}
