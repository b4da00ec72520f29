//! Every combination of photometric, samples, compression and layout: shown right, or refused with a sentence.
//!
//! Files are written here, pixels are computed from what was written, and the table that comes out is
//! `docs/tiff-combinations.md`. Set `IIPHOST_WRITE_TABLE` to write that file anew, and `IIPHOST_WRITE_SEEDS` to a
//! folder for a file of each combination that is shown: what fuzzing begins with.

mod blocks;
mod case;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use iiphost_plugin_api::{ColorModel, DecodeError, ErrorKind, PageInfo, SampleFormat};

use self::case::{Case, Meaning, Sample, meaning};
use crate::ifd::ByteOrder;
use crate::photometric::Photometric;
use crate::test_file::{open, read_level};

const YCBCR: Meaning = meaning("YCbCr", 6, 3, ColorModel::Rgb);

const MEANINGS: [Meaning; 24] = [
    meaning("WhiteIsZero", 0, 1, ColorModel::Grey),
    meaning("BlackIsZero", 1, 1, ColorModel::Grey),
    meaning("BlackIsZero and opacity", 1, 2, ColorModel::Grey).with_alpha(),
    meaning("five bands", 1, 5, ColorModel::Multiband),
    meaning("RGB", 2, 3, ColorModel::Rgb),
    meaning("RGB and opacity", 2, 4, ColorModel::Rgb).with_alpha(),
    meaning("palette", 3, 1, ColorModel::Rgb),
    meaning("palette and opacity", 3, 2, ColorModel::Rgb).with_alpha(),
    meaning("CMYK", 5, 4, ColorModel::Cmyk),
    meaning("CMYK and opacity", 5, 5, ColorModel::Cmyk).with_alpha(),
    YCBCR,
    YCBCR.sharing(2, 1),
    YCBCR.sharing(4, 1),
    YCBCR.sharing(1, 2),
    YCBCR.sharing(2, 2),
    YCBCR.sharing(4, 2),
    YCBCR.sharing(1, 4),
    YCBCR.sharing(2, 4),
    YCBCR.sharing(4, 4),
    meaning("YCbCr and opacity", 6, 4, ColorModel::Rgb).with_alpha(),
    meaning("YCbCr and opacity", 6, 4, ColorModel::Rgb)
        .with_alpha()
        .sharing(2, 2),
    meaning("CIELAB", 8, 3, ColorModel::CieLab),
    meaning("ICCLAB", 9, 3, ColorModel::CieLab),
    meaning("ITULAB", 10, 3, ColorModel::CieLab),
];

/// A column of the table: compressions that do the same.
struct Coding {
    name: &'static str,
    numbers: &'static [u16],
    predictor: u16,
}

const CODINGS: [Coding; 8] = [
    Coding {
        name: "none, PackBits, LZW, deflate, LZMA, Zstandard",
        numbers: &[1, 32773, 5, 8, 32946, 34925, 50000],
        predictor: 1,
    },
    Coding {
        name: "predictor 2",
        numbers: &[5, 8, 34925, 50000],
        predictor: 2,
    },
    Coding {
        name: "predictor 3",
        numbers: &[5, 8, 34925, 50000],
        predictor: 3,
    },
    Coding {
        name: "CCITT",
        numbers: &[2, 3, 4],
        predictor: 1,
    },
    Coding {
        name: "JPEG",
        numbers: &[7],
        predictor: 1,
    },
    Coding {
        name: "JPEG 2000",
        numbers: &[34712, 33004],
        predictor: 1,
    },
    Coding {
        name: "LERC",
        numbers: &[34887],
        predictor: 1,
    },
    Coding {
        name: "WebP",
        numbers: &[50001],
        predictor: 1,
    },
];

/// Delivered samples as numbers.
fn numbers(bytes: &[u8], format: SampleFormat) -> Vec<f64> {
    match format {
        SampleFormat::U8 => bytes.iter().map(|&v| f64::from(v)).collect(),
        SampleFormat::U16 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&v| f64::from(u16::from_ne_bytes(v)))
            .collect(),
        SampleFormat::U32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&v| f64::from(u32::from_ne_bytes(v)))
            .collect(),
        SampleFormat::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|&v| f64::from(f32::from_ne_bytes(v)))
            .collect(),
    }
}

/// Opens and reads a file; what it is said to be, and its pixels.
fn shown(file: Vec<u8>) -> Result<(PageInfo, Vec<f64>), DecodeError> {
    let reader = open(file)?;
    let page = reader.info().pages[0].clone();
    let pixels = read_level(&*reader, 0, 0)?;
    let format = page.sample_format;
    Ok((page, numbers(&pixels, format)))
}

/// Checks the pixels of one combination, in files of both byte orders, or gives the sentence it is refused with.
fn outcome(case: &Case, label: &str) -> Result<(), String> {
    let mut refusals = Vec::new();
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let (file, has_pixels) = case.file(order);
        let seeds =
            std::env::var_os("IIPHOST_WRITE_SEEDS").filter(|_| has_pixels && order == ByteOrder::Little);
        if let Some(folder) = seeds {
            std::fs::write(Path::new(&folder).join(label.replace(' ', "-")), &file).unwrap();
        }
        let (page, found) = match shown(file) {
            Ok(shown) => shown,
            Err(error) => {
                let is_refused = error.kind() == ErrorKind::Unsupported || !has_pixels;
                assert!(is_refused, "{label} {order:?}: {error}");
                refusals.push(error.message().to_owned());
                continue;
            }
        };
        assert!(
            has_pixels,
            "{label} {order:?} is not refused, and nothing tests it"
        );
        let Meaning { model, alpha, .. } = case.meaning;
        assert_eq!((page.color_model, page.alpha), (model, alpha), "{label}");
        let (width, height) = case.size();
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let expected: Vec<f64> = places.flat_map(|(x, y)| case.expected(x, y)).collect();
        assert_eq!(found.len(), expected.len(), "{label}");
        let bands = found.len() / (width * height) as usize;
        for (idx, (found, expected)) in found.iter().zip(&expected).enumerate() {
            // Single precision is what is delivered of wider numbers.
            let expected = match page.sample_format {
                SampleFormat::F32 => f64::from(*expected as f32),
                _ => *expected,
            };
            let (place, band) = (idx / bands, idx % bands);
            let mut distance = (found - expected).abs();
            if model == ColorModel::CieLab {
                // The signs of a and b: the largest code is beside the smallest.
                distance = distance.min(2.0_f64.powi(case.sample.bits as i32) - distance);
            }
            assert!(
                distance <= case.tolerance(),
                "{label} {order:?}: {found} at ({}, {}) band {band}, expected {expected}",
                place % width as usize,
                place / width as usize,
            );
        }
    }
    match refusals.len() {
        0 => Ok(()),
        2 => Err(refusals.remove(0)),
        _ => panic!("{label}: refused in one byte order only: {refusals:?}"),
    }
}

/// Whether a cell of the table is shown, for each way to arrange the blocks: in one plane or several, in tiles or
/// strips.
type Cell = Vec<(bool, bool, Result<(), String>)>;

/// What becomes of one column of a row. All compressions of the column have to agree.
fn cell(meaning: Meaning, sample: Sample, coding: &Coding) -> Cell {
    let mut cell = Vec::new();
    for planar in [false, true] {
        for tiled in [true, false] {
            let mut found: Option<Result<(), String>> = None;
            for &compression in coding.numbers {
                let case = Case {
                    meaning,
                    sample,
                    compression,
                    predictor: coding.predictor,
                    tiled,
                    planar: planar && meaning.bands > 1,
                };
                let label = format!(
                    "{} {:?} {} {compression} predictor {} tiled {tiled} planar {planar}",
                    meaning.name,
                    meaning.shared,
                    sample.name(),
                    coding.predictor
                );
                let outcome = outcome(&case, &label);
                match &found {
                    None => found = Some(outcome),
                    Some(before) => assert_eq!(
                        before.is_ok(),
                        outcome.is_ok(),
                        "{label}: {before:?}, {outcome:?}"
                    ),
                }
            }
            cell.extend(found.map(|found| (planar, tiled, found)));
        }
    }
    cell
}

/// The sentences of refusals, those that differ in numbers alone counted as one.
#[derive(Default)]
struct Sentences(Vec<(String, String)>);

impl Sentences {
    fn number(&mut self, sentence: &str) -> usize {
        // Numbers and kinds of samples.
        let is_detail = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_digit())
                || matches!(word, "Unsigned" | "Signed" | "Float")
                || MEANINGS.iter().any(|meaning| {
                    Photometric::from_tag(meaning.photometric.into())
                        .is_ok_and(|photometric| format!("{photometric:?}") == word)
                })
        };
        let words = sentence
            .split(' ')
            .map(|word| if is_detail(word) { "#" } else { word });
        let key = words.collect::<Vec<_>>().join(" ");
        let place = self.0.iter().position(|(known, _)| *known == key);
        let place = place.unwrap_or_else(|| {
            self.0.push((key, sentence.to_owned()));
            self.0.len() - 1
        });
        place + 1
    }

    /// The text of a cell: `yes`, or the number of the sentence, by plane where that makes a difference.
    fn text(&mut self, cell: &Cell) -> String {
        let mut parts: Vec<(Vec<(bool, bool)>, String)> = Vec::new();
        for (planar, tiled, outcome) in cell {
            let text = match outcome {
                Ok(()) => "yes".to_owned(),
                Err(sentence) => self.number(sentence).to_string(),
            };
            match parts.iter_mut().find(|(_, known)| *known == text) {
                Some((places, _)) => places.push((*planar, *tiled)),
                None => parts.push((vec![(*planar, *tiled)], text)),
            }
        }
        let name = |places: &[(bool, bool)]| match places {
            [(false, true), (false, false)] => "one plane",
            [(true, true), (true, false)] => "planes",
            _ => panic!("tiles and strips differ: {parts:?}"),
        };
        match &parts[..] {
            [(_, text)] => text.clone(),
            parts => {
                let parts: Vec<String> = parts
                    .iter()
                    .map(|(places, text)| format!("{}: {text}", name(places)))
                    .collect();
                parts.join("; ")
            }
        }
    }
}

/// The names of samples in the order of [`Sample::all`], neighbors that are alike as a range.
fn ranges(samples: &[Sample]) -> String {
    let all = Sample::all();
    let place = |sample: &Sample| all.iter().position(|other| other == sample).unwrap();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for at in samples.iter().map(place) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == at && all[at].format == all[*last].format => *last = at,
            _ => runs.push((at, at)),
        }
    }
    let names: Vec<String> = runs
        .iter()
        .map(|&(first, last)| match first == last {
            true => all[first].name(),
            false => format!("{}–{}", all[first].name(), all[last].name()),
        })
        .collect();
    names.join(", ")
}

/// The rows of one meaning, without its name: samples that fare alike in one row.
fn rows(cells: &[Vec<Cell>], sentences: &mut Sentences) -> Vec<String> {
    let mut rows: Vec<(Vec<Sample>, String)> = Vec::new();
    for (sample, cells) in Sample::all().into_iter().zip(cells) {
        let texts: Vec<String> = cells.iter().map(|cell| sentences.text(cell)).collect();
        let row = texts.join(" | ");
        match rows.iter_mut().find(|(_, known)| *known == row) {
            Some((samples, _)) => samples.push(sample),
            None => rows.push((vec![sample], row)),
        }
    }
    rows.iter()
        .map(|(samples, row)| format!("{} | {row}", ranges(samples)))
        .collect()
}

const HEAD: &str = "# TIFF: every combination

Written by the test `every_combination_is_shown_right_or_refused_with_a_sentence`, which makes a file of each,
computes its pixels from what it put there, and reads it: in tiles and in strips (they never differ), with the samples
of a pixel in one plane or in planes of their own (`planes`), in both byte orders, classic and BigTIFF. `yes` means
that the pixels are right; a number is that of the sentence below with which the file is refused.

Samples are `u` for unsigned integers, `i` for signed ones, `f` for floating point, with their bits; a range goes
through 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 24, 32, 64 for integers and 16, 24, 32, 64 for floating point. LogL and LogLuv
have compressions of their own, see [tiff.md](tiff.md).

";

#[test]
fn every_combination_is_shown_right_or_refused_with_a_sentence() {
    let work: Vec<(usize, usize)> = (0..MEANINGS.len())
        .flat_map(|m| (0..Sample::all().len()).map(move |s| (m, s)))
        .collect();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(vec![vec![Vec::new(); Sample::all().len()]; MEANINGS.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(&(m, s)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cells: Vec<Cell> = CODINGS
                        .iter()
                        .map(|coding| cell(MEANINGS[m], Sample::all()[s], coding))
                        .collect();
                    found.lock().unwrap()[m][s] = cells;
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    let mut sentences = Sentences::default();
    let names: Vec<&str> = CODINGS.iter().map(|coding| coding.name).collect();
    let mut table = format!("{HEAD}| Photometric | Samples | {} |\n", names.join(" | "));
    table.push_str(&"| --- ".repeat(2 + CODINGS.len()));
    table.push_str("|\n");
    // Meanings that fare alike in every row share them.
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (meaning, cells) in MEANINGS.into_iter().zip(&found) {
        let rows = rows(cells, &mut sentences);
        let (across, down) = meaning.shared;
        let name = match meaning.is_ycbcr() {
            true => format!("{}, chroma {across} x {down}", meaning.name),
            false => meaning.name.to_owned(),
        };
        match groups.iter_mut().find(|(_, known)| *known == rows) {
            Some((names, _)) => *names = format!("{names}; {}", name.replace("YCbCr, chroma ", "")),
            None => groups.push((name, rows)),
        }
    }
    for (name, rows) in &groups {
        for row in rows {
            let _ = writeln!(table, "| {name} | {row} |");
        }
    }
    table.push_str("\nThe sentences; numbers and kinds in them are those of one case:\n\n");
    for (number, (_, sentence)) in (1..).zip(&sentences.0) {
        let _ = writeln!(table, "{number}. {sentence}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/tiff-combinations.md");
    if std::env::var_os("IIPHOST_WRITE_TABLE").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (found, written)) in table.lines().zip(written.lines()).enumerate() {
        assert_eq!(found, written, "docs/tiff-combinations.md, line {}", line + 1);
    }
    assert_eq!(
        table.lines().count(),
        written.lines().count(),
        "docs/tiff-combinations.md"
    );
}
