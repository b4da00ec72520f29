//! Directories to pages and levels: which images of a file are sizes of one picture, which are pictures
//! of their own.

use std::collections::HashSet;
use std::sync::Arc;

use iiphost_plugin_api::{DecodeError, ErrorKind, OpenContext};

use crate::ifd::{Directory, Structure, tag};
use crate::layout::Layout;
use crate::picture::Picture;

/// Directories read in a file, sub-directories included.
const MAX_DIRECTORIES: usize = 16_384;

/// Bytes kept of all directories. Those of a large pyramid take some ten kilobytes.
const MAX_KEPT_BYTES: usize = 32 << 20;

/// Sub-directories of one directory. Pyramids have a dozen.
const MAX_SUB_DIRECTORIES: u64 = 64;

/// Levels of one picture. Halving any picture down to one pixel takes 32.
const MAX_LEVELS: usize = 48;

/// Warnings told; a broken file may have thousands.
const MAX_WARNINGS: usize = 16;

/// A level in strips that is smaller than this reads fast enough to stand in a tiled pyramid.
const SMALL_LEVEL_PIXELS: u64 = 1 << 20;

/// How far a level may be from the exact proportion, in pixels of the smaller one.
const PROPORTION_SLACK: i128 = 2;

/// One image of the chain of directories.
pub(crate) struct Page {
    /// Its directory.
    pub(crate) directory: Directory,
    /// Its sizes, largest first; or why it cannot be shown.
    pub(crate) levels: Result<Vec<Arc<Picture>>, DecodeError>,
    /// It has the size of the first page: a view of the stack.
    pub(crate) listed: bool,
}

/// All images of a file.
pub(crate) struct Pyramid {
    /// One page per directory of the chain, in its order; the first one can be shown.
    pub(crate) pages: Vec<Page>,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

impl Pyramid {
    /// Reads all directories of a file and sorts them.
    ///
    /// # Errors
    /// The error of the first directory; later ones that are broken are left out with a warning.
    pub(crate) fn read(structure: &mut Structure<'_>, ctx: &OpenContext<'_>) -> Result<Self, DecodeError> {
        let mut directories = Directories {
            structure,
            ctx,
            warnings: Vec::new(),
            main_format: None,
            count: 0,
            kept_bytes: 0,
        };
        let chain = directories.chain()?;
        let mut pages = Vec::with_capacity(chain.len());
        let first = match &chain[0].1 {
            Ok(picture) => Arc::clone(picture),
            Err(error) => return Err(error.clone()),
        };
        let sub_levels = directories.sub_levels(&chain[0].0, &first)?;
        let main = if sub_levels.len() > 1 {
            sub_levels
        } else {
            sort_levels(
                &first,
                chain
                    .iter()
                    .skip(1)
                    .filter_map(|(_, picture)| picture.as_ref().ok()),
            )
        };
        let full = Arc::clone(&main[0]);
        // Images of the same size are a stack. It begins with the first image, or there is none: then the
        // first one is a small size of the pyramid.
        let is_view: Vec<bool> = chain
            .iter()
            .map(|(_, picture)| {
                same_size(&first, &full)
                    && picture
                        .as_ref()
                        .is_ok_and(|p| same_size(p, &full) && !is_mask(&p.layout))
            })
            .collect();
        let is_stack = is_view.iter().filter(|&&view| view).count() > 1;
        let mut run_levels = match is_stack && main.len() > 1 {
            true => stack_levels(&chain, &is_view),
            false => None,
        };
        for (idx, (directory, picture)) in chain.iter().enumerate() {
            ctx.checkpoint()?;
            let levels = match picture {
                _ if idx == 0 && !is_stack => Ok(main.clone()),
                Ok(picture) if is_stack && is_view[idx] => {
                    let own = directories.sub_levels(directory, picture)?;
                    match &mut run_levels {
                        _ if own.len() > 1 => Ok(own),
                        Some(runs) => Ok(std::mem::take(&mut runs[idx])),
                        None => Ok(vec![Arc::clone(picture)]),
                    }
                }
                Ok(picture) => Ok(vec![Arc::clone(picture)]),
                Err(error) => Err(error.clone()),
            };
            pages.push(Page {
                directory: directory.clone(),
                levels,
                listed: idx == 0 || is_stack && is_view[idx],
            });
        }
        let mut warnings = directories.warnings;
        warnings.truncate(MAX_WARNINGS);
        Ok(Self { pages, warnings })
    }
}

type Link = (Directory, Result<Arc<Picture>, DecodeError>);

type Chain = Vec<Link>;

/// Reads directories as long as there are not too many of them.
struct Directories<'s, 'f, 'c> {
    structure: &'s mut Structure<'f>,
    ctx: &'s OpenContext<'c>,
    warnings: Vec<String>,
    /// SampleFormat of the first picture, once it is read.
    main_format: Option<u16>,
    count: usize,
    kept_bytes: usize,
}

impl Directories<'_, '_, '_> {
    /// The chain of directories; it is not empty.
    fn chain(&mut self) -> Result<Chain, DecodeError> {
        let mut chain = Chain::new();
        let mut seen = HashSet::new();
        let mut offset = self.structure.header().first_directory;
        if offset == 0 {
            return Err(DecodeError::format("the file has no directory"));
        }
        while offset != 0 {
            if !seen.insert(offset) {
                self.warnings.push(format!(
                    "the chain of directories returns to offset {offset}; it is cut there"
                ));
                break;
            }
            match self.read(offset) {
                Ok(Some((directory, picture))) => {
                    offset = directory.next();
                    chain.push((directory, picture));
                }
                Ok(None) => break,
                Err(error) if chain.is_empty() || !is_of_file(&error) => return Err(error),
                Err(error) => {
                    self.warnings
                        .push(format!("the chain of directories is broken and cut: {error}"));
                    break;
                }
            }
        }
        Ok(chain)
    }

    /// The picture with its sizes from sub-directories (tag SubIFDs).
    fn sub_levels(
        &mut self,
        directory: &Directory,
        picture: &Arc<Picture>,
    ) -> Result<Vec<Arc<Picture>>, DecodeError> {
        let offsets = match directory.find(tag::SUB_IFDS) {
            Some(entry) if entry.count <= MAX_SUB_DIRECTORIES => {
                match self.structure.integers(entry, MAX_SUB_DIRECTORIES) {
                    Ok(offsets) => offsets,
                    Err(error) if is_of_file(&error) => {
                        self.warnings
                            .push(format!("sub-directories are left out: {error}"));
                        Vec::new()
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => Vec::new(),
        };
        let mut found = Vec::new();
        for offset in offsets {
            match self.read(offset) {
                // What cannot be shown is not a level.
                Ok(Some((_, sub))) => found.extend(sub),
                Ok(None) => break,
                Err(error) if is_of_file(&error) => {
                    self.warnings
                        .push(format!("a sub-directory is left out: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sort_levels(picture, found.iter()))
    }

    /// A directory with its picture or why there is none; `None` once there were too many.
    fn read(&mut self, offset: u64) -> Result<Option<Link>, DecodeError> {
        self.ctx.checkpoint()?;
        if self.count == MAX_DIRECTORIES || self.kept_bytes > MAX_KEPT_BYTES {
            let warning = "too many directories; the rest is left out";
            if self.warnings.last().is_none_or(|last| last != warning) {
                self.warnings.push(warning.into());
            }
            return Ok(None);
        }
        let directory = self.structure.directory(offset)?;
        let layout = Layout::read(self.structure, &directory, self.main_format);
        if let (None, Ok(layout)) = (self.main_format, &layout) {
            self.main_format = Some(layout.sample_format);
        }
        let picture = match layout.and_then(Picture::new) {
            Err(error) if !is_of_file(&error) => return Err(error),
            picture => picture.map(Arc::new),
        };
        self.count += 1;
        self.kept_bytes += size_of_val(directory.entries());
        if let Ok(picture) = &picture {
            self.kept_bytes += picture.kept_bytes();
        }
        Ok(Some((directory, picture)))
    }
}

/// The fault of the file itself, which the rest of it may be read without.
fn is_of_file(error: &DecodeError) -> bool {
    matches!(error.kind(), ErrorKind::Format | ErrorKind::Unsupported)
}

/// For a stack of pyramids in one chain: each view followed by its smaller sizes. `None` unless all views
/// have the same number of sizes, since otherwise nobody can tell whose they are.
fn stack_levels(chain: &[Link], is_view: &[bool]) -> Option<Vec<Vec<Arc<Picture>>>> {
    let mut runs = vec![Vec::new(); chain.len()];
    let mut counts = HashSet::new();
    for (idx, _) in is_view.iter().enumerate().filter(|(_, view)| **view) {
        let picture = chain[idx].1.as_ref().ok()?;
        let following = chain[idx + 1..]
            .iter()
            .zip(&is_view[idx + 1..])
            .take_while(|(_, view)| !**view)
            .filter_map(|((_, picture), _)| picture.as_ref().ok());
        runs[idx] = sort_levels(picture, following);
        counts.insert(runs[idx].len());
    }
    (counts.len() == 1).then_some(runs)
}

/// `first` with those candidates that are other sizes of it, largest first, each size once.
fn sort_levels<'p>(
    first: &Arc<Picture>,
    candidates: impl Iterator<Item = &'p Arc<Picture>>,
) -> Vec<Arc<Picture>> {
    let mut levels = vec![Arc::clone(first)];
    levels.extend(candidates.filter(|candidate| is_level(first, candidate)).cloned());
    // Stable: of equal sizes the first one in the file stays.
    levels.sort_by_key(|picture| std::cmp::Reverse(area(picture)));
    let full = Arc::clone(&levels[0]);
    levels.dedup_by(|smaller, larger| {
        same_size(smaller, larger)
            || !is_proportional(&full, smaller)
            || smaller.layout.width > larger.layout.width
            || smaller.layout.height > larger.layout.height
    });
    levels.truncate(MAX_LEVELS);
    levels
}

/// Whether `candidate` is the picture `first` in another size.
fn is_level(first: &Picture, candidate: &Picture) -> bool {
    let is_reduced = candidate.layout.subfile_type & 1 != 0;
    let is_page = candidate.layout.subfile_type & 2 != 0;
    // An image in strips beside a tiled one is mostly a thumbnail with a border or a label, so it has to
    // say that it is a reduced size.
    let is_readable = candidate.layout.tiled
        || is_reduced && (!first.layout.tiled || area(candidate) <= SMALL_LEVEL_PIXELS);
    !is_mask(&candidate.layout)
        && (is_reduced || !is_page)
        && is_readable
        && candidate.shape == first.shape
        && !same_size(first, candidate)
        && is_proportional(first, candidate)
}

fn is_mask(layout: &Layout) -> bool {
    layout.subfile_type & 4 != 0
}

fn same_size(a: &Picture, b: &Picture) -> bool {
    (a.layout.width, a.layout.height) == (b.layout.width, b.layout.height)
}

fn area(picture: &Picture) -> u64 {
    u64::from(picture.layout.width) * u64::from(picture.layout.height)
}

/// Whether the smaller picture has the proportions of the larger one within two of its own pixels, and is
/// smaller in both directions.
fn is_proportional(a: &Picture, b: &Picture) -> bool {
    let (large, small) = if area(a) >= area(b) { (a, b) } else { (b, a) };
    let side = |value: u32| i128::from(value);
    let (large_width, large_height) = (side(large.layout.width), side(large.layout.height));
    let (width, height) = (side(small.layout.width), side(small.layout.height));
    let difference = (height * large_width - width * large_height).abs();
    width <= large_width
        && height <= large_height
        && difference <= PROPORTION_SLACK * large_width.max(large_height)
}

#[cfg(test)]
mod tests {
    use crate::ifd::ByteOrder;
    use crate::test_file::{Image, Values, container, open, read_level, write};

    #[test]
    fn a_reduced_size_without_a_sample_format_has_that_of_the_picture() {
        let float = |width, height, format| {
            let mut image = Image::new(width, height, 1, 32);
            image.sample_format = format;
            image
        };
        let full = float(64, 48, 3);
        assert_eq!(
            listed(&[full.clone(), float(32, 24, 0).subfile(1)]),
            [vec![(64, 48), (32, 24)]]
        );
        // Only a size of the picture inherits: what may be another picture has the default.
        assert_eq!(listed(&[full, float(32, 24, 0)]), [vec![(64, 48)]]);
    }

    /// Sizes of the levels of each listed page.
    fn listed(images: &[Image]) -> Vec<Vec<(u32, u32)>> {
        let reader = open(write(images, ByteOrder::Little, false)).unwrap();
        let pages = reader.info().pages.iter().filter(|page| page.listed);
        pages
            .map(|page| page.levels.iter().map(|l| (l.width, l.height)).collect())
            .collect()
    }

    fn rgb(width: u32, height: u32) -> Image {
        Image::new(width, height, 3, 8)
    }

    #[test]
    fn levels_are_sorted_whatever_their_order_and_foreign_images_are_skipped() {
        let images = [
            rgb(64, 48),
            rgb(50, 48).in_strips(48),
            rgb(16, 12).subfile(1),
            Image::new(32, 24, 1, 8).subfile(4).photometric(4),
            rgb(32, 24).subfile(1),
            rgb(40, 12).subfile(1),
            Image::new(32, 24, 3, 16),
        ];
        assert_eq!(listed(&images), [vec![(64, 48), (32, 24), (16, 12)]]);
        let reversed = [rgb(16, 12), rgb(32, 24), rgb(64, 48)];
        assert_eq!(listed(&reversed), [vec![(64, 48), (32, 24), (16, 12)]]);
    }

    #[test]
    fn odd_sizes_fit_within_two_pixels_whichever_way_they_were_rounded() {
        let images = [
            rgb(101, 77),
            rgb(51, 39),
            rgb(50, 38),
            rgb(25, 19),
            rgb(13, 10),
            rgb(30, 19),
        ];
        assert_eq!(
            listed(&images),
            [vec![(101, 77), (51, 39), (50, 38), (25, 19), (13, 10)]]
        );
    }

    #[test]
    fn sizes_never_grow_in_either_direction() {
        // 50x40 and 51x38 both fit 101x77, but not both at once.
        let images = [rgb(101, 77), rgb(50, 40), rgb(51, 38), rgb(13, 10)];
        assert_eq!(listed(&images), [vec![(101, 77), (50, 40), (13, 10)]]);
        let many: Vec<Image> = (0..60).map(|i| Image::new(600 - 2 * i, 300 - i, 1, 1)).collect();
        assert_eq!(listed(&many)[0].len(), 48);
    }

    #[test]
    fn sub_directories_win_over_the_chain_and_keep_their_own_pixels() {
        let small = rgb(16, 12).subfile(1);
        let mut full = rgb(64, 48);
        full.sub_images = vec![rgb(64, 48), small.clone(), rgb(32, 24).subfile(1)];
        let images = [full, rgb(20, 15)];
        assert_eq!(listed(&images), [vec![(64, 48), (32, 24), (16, 12)]]);
        let reader = open(write(&images, ByteOrder::Big, true)).unwrap();
        let expected: Vec<u8> = small.values.iter().map(|&v| v as u8).collect();
        assert_eq!(read_level(&*reader, 0, 2).unwrap(), expected);
        // Other sizes are reachable by their number.
        assert_eq!(read_level(&*reader, 1, 0).unwrap().len(), 20 * 15 * 3);
    }

    #[test]
    fn images_of_one_size_are_a_stack_with_names() {
        let page = |name| {
            Image::new(40, 30, 1, 16)
                .tag(269, Values::Ascii(name))
                .in_strips(10)
        };
        let images = [
            page("red"),
            page("green"),
            Image::new(9, 9, 3, 8),
            page("blue").subfile(2),
        ];
        let reader = open(write(&images, ByteOrder::Little, false)).unwrap();
        let pages = &reader.info().pages;
        let names: Vec<_> = pages
            .iter()
            .filter(|p| p.listed)
            .map(|p| p.name.as_str())
            .collect();
        assert_eq!(names, ["red", "green", "blue"]);
        assert_eq!(pages.len(), 4);
        assert_eq!(pages[2].band_count, 3);
        for (number, image) in images.iter().enumerate() {
            let found = read_level(&*reader, number as u32, 0).unwrap();
            let format = pages[number].sample_format;
            assert!(
                found == container(image.values.iter().copied(), format),
                "page {number}"
            );
        }
    }

    #[test]
    fn pyramids_one_after_the_other_are_told_apart() {
        let images = [rgb(64, 48), rgb(32, 24), rgb(64, 48), rgb(32, 24)];
        assert_eq!(
            listed(&images),
            [vec![(64, 48), (32, 24)], vec![(64, 48), (32, 24)]]
        );
        // Whose is the last one?
        assert_eq!(listed(&images[1..]), [vec![(64, 48), (32, 24)]]);
        let unclear = [rgb(64, 48), rgb(64, 48), rgb(32, 24)];
        assert_eq!(listed(&unclear), [vec![(64, 48)], vec![(64, 48)]]);
    }

    #[test]
    fn a_loop_of_directories_is_cut_with_a_warning() {
        let mut file = write(&[rgb(64, 48), rgb(32, 24)], ByteOrder::Little, false);
        let first = file[4..8].to_vec();
        let end = file.len() - 4;
        file[end..].copy_from_slice(&first);
        let reader = open(file).unwrap();
        assert_eq!(reader.info().pages[0].levels.len(), 2);
        assert!(
            reader
                .info()
                .warnings
                .iter()
                .any(|w| w.contains("returns to offset"))
        );
    }

    #[test]
    fn a_stack_has_as_many_pages_as_there_may_be_directories() {
        let pages = vec![Image::new(1, 1, 1, 8); super::MAX_DIRECTORIES];
        let reader = open(write(&pages, ByteOrder::Little, false)).unwrap();
        assert_eq!(reader.info().pages.len(), super::MAX_DIRECTORIES);
        assert!(reader.info().warnings.is_empty(), "{:?}", reader.info().warnings);
    }

    #[test]
    fn many_directories_that_share_large_tags_do_not_fill_memory() {
        let map = Values::Short((0..3 << 16).map(|i| i as u16).collect());
        let image = Image::new(4, 4, 1, 16).photometric(3).tag(320, map);
        let mut file = write(&[image], ByteOrder::Little, false);
        let end = file.len();
        // One directory with a palette of 384 KB, 1000 times: 200 KB would be kept of each.
        let directory = u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize;
        let mut again = file[directory..end - 4].to_vec();
        again.extend([0; 4]);
        let mut pointer = end - 4;
        for _ in 0..1000 {
            let at = file.len() as u32;
            file[pointer..pointer + 4].copy_from_slice(&at.to_le_bytes());
            file.extend(&again);
            pointer = file.len() - 4;
        }
        let reader = open(file).unwrap();
        assert!(reader.info().pages.len() < 300);
        assert_eq!(
            reader.info().warnings,
            ["too many directories; the rest is left out"]
        );
    }

    #[test]
    fn a_page_that_cannot_be_shown_keeps_its_number_and_says_why() {
        let images = [rgb(64, 48), rgb(64, 48).tag(259, Values::Short(vec![34661]))];
        let reader = open(write(&images, ByteOrder::Little, false)).unwrap();
        assert_eq!(reader.info().pages.len(), 2);
        assert!(!reader.info().pages[1].listed);
        let error = read_level(&*reader, 1, 0).unwrap_err();
        assert_eq!(error.message(), "compression 34661 (JBIG) is not supported");
    }
}
