//! The state of a request, and what each command does to it.

use std::mem::take;

use crate::error::Error;
use crate::image_info::Page;
use crate::protocol::base::Base;
use crate::protocol::percent::{self, Leniency};
use crate::protocol::{Answer, Images, OpenedImage, Picture, PictureKind, SampleDocument, TileRange};
use crate::view::{
    Frame, Output, OutputFormat, OverLimit, Processing, RegionSpec, SizeRules, Upscaling, View,
};

use super::argument::Argument;
use super::command::{Command, Item, without_retry_mark};
use super::describe::{Subject, image_lines, server_lines};
use super::failure::{Code, ErrorLines, Stop};
use super::object::{Answers, Object};
use super::rotation::Rotation;
use super::tiles::{Range, TileNumber};
use super::{Others, Query, Settings, frame, processing, sample_document, samples};

/// Most images one request may open.
const MAX_IMAGES: usize = 16;

/// The vertical angle shown where none is asked for.
const DEFAULT_VERTICAL_VIEW: i64 = 90;

/// What the commands so far have set and collected.
pub(super) struct Session<'a, S: Images> {
    images: &'a S,
    query: Query<'a>,
    settings: Settings,

    /// The image of the last `FIF`.
    image: Option<S::Image>,
    /// Images opened so far.
    opened: usize,
    /// Image and page of the selected view, once something needed it.
    selected: Option<(S::Image, usize)>,

    views: Option<(i64, Option<i64>)>,
    processing: Processing,
    rotation: Rotation,
    output: Output,
    quality_layers: i64,
    width: u32,
    height: u32,
    region: RegionSpec,

    answers: Answers,
    errors: ErrorLines,
}

impl<'a, S: Images> Session<'a, S> {
    /// The state before the first command.
    pub(super) fn new(images: &'a S, query: Query<'a>, settings: Settings) -> Self {
        let base = Base::default();
        Self {
            images,
            query,
            settings,
            image: None,
            opened: 0,
            selected: None,
            views: base.views,
            processing: base.processing,
            rotation: Rotation::default(),
            output: base.output,
            quality_layers: base.quality_layers,
            width: 0,
            height: 0,
            region: RegionSpec::Full,
            answers: Answers::default(),
            errors: ErrorLines::default(),
        }
    }

    /// Runs one command. Some answer the request.
    pub(super) fn run(
        &mut self,
        item: Item<'_>,
        others: &mut Others<'_, S::Image>,
    ) -> Result<Option<Answer<S::Image>>, Stop> {
        let name = percent::decode(item.name);
        let Some((name, command)) = Command::from_name(&name).filter(|(_, command)| self.knows(*command))
        else {
            self.errors.push(Code::UnknownCommand, item.name);
            return Ok(None);
        };
        let raw = match command.may_carry_retry_mark() {
            true => without_retry_mark(item.value),
            false => item.value,
        };
        let value = percent::decode(raw);
        let argument = Argument {
            command: name,
            text: &value,
        };
        match command {
            Command::Open => self.open(raw)?,
            Command::SelectView => self.select_view(argument)?,

            Command::Contrast => self.processing.contrast = processing::contrast(argument)?,
            Command::Gamma => self.processing.gamma = processing::gamma(argument)?,
            Command::Range => self.set_range(argument)?,
            Command::Invert => self.processing.invert = true,
            Command::ColorMap => self.processing.color_map = processing::color_map(argument),
            Command::Shade => {
                let shade = processing::shade(argument)?;
                self.processing.shade = shade.or(self.processing.shade);
            }
            Command::Twist => processing::twist(argument, &mut self.processing.twist)?,
            Command::Kernel => {
                if let Some(kernel) = processing::kernel(argument)? {
                    self.processing.kernel = Some(kernel);
                }
            }
            Command::ColorMode => {
                if let Some(mode) = processing::color_mode(argument) {
                    self.processing.color_mode = mode;
                }
            }

            Command::Rotate => self.rotation.set(argument)?,
            Command::Width => self.width = frame::side(argument)?,
            Command::Height => self.height = frame::side(argument)?,
            Command::Region => {
                if let Some(region) = frame::region(argument)? {
                    self.region = region;
                }
            }
            Command::Quality => frame::quality(argument, &mut self.output)?,
            Command::QualityLayers => self.quality_layers = i64::from(argument.integer()?),
            Command::ColorProfile => {}

            Command::Object => self.describe(argument)?,

            Command::Export => return self.export(argument).map(Some),
            Command::Tile(format) => {
                self.output.format = format;
                let number = self.with_image(|| TileNumber::parse(argument))?;
                return self.tile(number).map(Some);
            }
            Command::ViewTile => return self.view_tile(argument),
            Command::TileRange => return self.tile_range(argument).map(Some),
            Command::Profile => return self.profile(argument).map(Some),
            Command::Spectrum => return self.spectrum(argument).map(Some),
            Command::Foreign(protocol) => return Ok(Some(others(protocol, raw, &self.base())?)),
        }
        Ok(None)
    }

    /// The answer when every command has run and none has answered.
    pub(super) fn finish(&mut self, text: &[u8]) -> Result<Answer<S::Image>, Stop> {
        if self.errors.is_empty() && self.answers.is_empty() {
            self.errors.push(Code::Malformed, text);
        }
        if !self.errors.is_empty() {
            return Ok(Answer::Reply(take(&mut self.errors).into_reply()));
        }
        let response = take(&mut self.answers).into_reply();
        Ok(match self.image {
            Some(_) => Answer::Document {
                image: self.selected_view()?.0,
                response,
            },
            None => Answer::Reply(response),
        })
    }

    /// The answer when a command needs an image and none is set.
    pub(super) fn without_image(mut self, object: &[u8]) -> Answer<S::Image> {
        self.errors.push(Code::Unavailable, object);
        Answer::Reply(self.errors.into_reply())
    }

    /// Whether the server can do what a command asks for.
    fn knows(&self, command: Command) -> bool {
        match command {
            Command::Tile(format) => self.can_make(format),
            _ => true,
        }
    }

    /// Whether the server can make pictures of a format.
    fn can_make(&self, format: OutputFormat) -> bool {
        match format {
            OutputFormat::WebP => self.settings.webp,
            OutputFormat::Avif => self.settings.avif,
            OutputFormat::Jpeg | OutputFormat::Png | OutputFormat::Tiff => true,
        }
    }

    /// `FIF`.
    fn open(&mut self, raw: &[u8]) -> Result<(), Stop> {
        if self.opened >= MAX_IMAGES {
            return Err(Error::bad_request(format!("FIF: more than {MAX_IMAGES} images")).into());
        }
        let identifiers = percent::candidates(
            raw,
            Leniency {
                plus_is_space: !self.query.from_path,
                encoded_twice: false,
            },
        );
        self.image = Some(self.images.open(&identifiers)?);
        self.opened += 1;
        self.selected = None;
        // Ranges are in the units of the image they were given for.
        self.processing.ranges.clear();
        Ok(())
    }

    /// `SDS`.
    fn select_view(&mut self, argument: Argument<'_>) -> Result<(), Stop> {
        let (horizontal, vertical) = argument.split(b',');
        let vertical = match vertical {
            Some(vertical) => Some(i64::from(vertical.split(b',').0.integer()?)),
            None => None,
        };
        self.set_views(i64::from(horizontal.integer()?), vertical);
        Ok(())
    }

    /// Selects a view of this and later images.
    fn set_views(&mut self, horizontal: i64, vertical: Option<i64>) {
        self.views = Some((horizontal, vertical));
        self.selected = None;
    }

    /// `MINMAX`.
    fn set_range(&mut self, argument: Argument<'_>) -> Result<(), Stop> {
        let bands = self.selected_page(|page| page.band_count)?;
        if let Some(range) = processing::range(argument, bands)? {
            processing::add_range(&mut self.processing.ranges, range);
        }
        Ok(())
    }

    /// `OBJ`.
    fn describe(&mut self, argument: Argument<'_>) -> Result<(), Stop> {
        let name = argument.text.to_ascii_lowercase();
        let Some(object) = Object::from_name(&name) else {
            self.errors.push(Code::UnknownObject, &name);
            return Ok(());
        };
        if !object.needs_image() {
            return Ok(self.answers.push(object, server_lines(object).as_bytes())?);
        }
        let Some(image) = self.image.clone() else {
            return Err(Stop::NoImage { object: name });
        };
        let (selected, page) = self.selected_view()?;
        let lines = image_lines(
            object,
            &Subject {
                image: &image,
                selected: &selected,
                page: page_of(&selected, page)?,
                transposed: self.rotation.transposes(),
            },
        )?;
        Ok(self.answers.push(object, &lines)?)
    }

    /// `CVT`.
    fn export(&mut self, argument: Argument<'_>) -> Result<Answer<S::Image>, Stop> {
        let format = [
            ("png", OutputFormat::Png),
            ("webp", OutputFormat::WebP),
            ("avif", OutputFormat::Avif),
            ("tiff", OutputFormat::Tiff),
        ]
        .into_iter()
        .find_map(|(name, format)| argument.is(name).then_some(format))
        .filter(|format| self.can_make(*format));
        self.output.format = format.unwrap_or(OutputFormat::Jpeg);
        let frame = Frame::Export {
            region: self.region,
            size: frame::size(self.width, self.height),
            rules: SizeRules {
                upscaling: Upscaling::IfAllowed,
                over_limit: OverLimit::Shrink,
                match_tiles: false,
            },
        };
        let kind = PictureKind::Export {
            attachment: self.query.post,
        };
        self.picture(frame, kind)
    }

    /// `JTL` and its relatives.
    fn tile(&mut self, number: TileNumber) -> Result<Answer<S::Image>, Stop> {
        let reversed = self.rotation.reverses_tiles();
        let place = self.selected_page(|page| number.locate(page, reversed))??;
        let frame = Frame::Tile {
            level: place.level,
            tile_col: place.tile_col,
            tile_row: place.tile_row,
        };
        self.picture(frame, PictureKind::Tile)
    }

    /// `JTLS`: `x,resolution,tile,y`; no effect with fewer numbers.
    fn view_tile(&mut self, argument: Argument<'_>) -> Result<Option<Answer<S::Image>>, Stop> {
        let numbers = argument.integers()?;
        let &[horizontal, resolution, tile, vertical, ..] = numbers.as_slice() else {
            return Ok(None);
        };
        self.set_views(i64::from(horizontal), Some(i64::from(vertical)));
        self.tile(TileNumber { resolution, tile }).map(Some)
    }

    /// A picture of the selected view with everything set so far.
    fn picture(&mut self, frame: Frame, kind: PictureKind) -> Result<Answer<S::Image>, Stop> {
        let (image, page) = self.selected_view()?;
        Ok(Answer::Picture(Box::new(Picture {
            image,
            view: View {
                page,
                frame,
                turn: self.rotation.turn(),
                processing: self.processing.clone(),
                output: self.output,
                quality_layers: self.quality_layers,
            },
            kind,
            link: None,
        })))
    }

    /// `TIL`.
    fn tile_range(&mut self, argument: Argument<'_>) -> Result<Answer<S::Image>, Stop> {
        let range = self.selected_page(|page| Range::parse(argument, page))??;
        let (image, page) = self.selected_view()?;
        Ok(Answer::Tiles(Box::new(TileRange {
            image,
            page,
            level: range.level,
            quality: self.output.quality,
            quality_layers: self.quality_layers,
            tiles: range.tiles,
            resolution: range.resolution,
        })))
    }

    /// `PFL`.
    fn profile(&mut self, argument: Argument<'_>) -> Result<Answer<S::Image>, Stop> {
        let views = self.all_views()?;
        let query = samples::profile(argument, views, self.quality_layers)?;
        Ok(Answer::Samples(Box::new(query)))
    }

    /// `SPECTRA`.
    fn spectrum(&mut self, argument: Argument<'_>) -> Result<Answer<S::Image>, Stop> {
        let views = self.all_views()?;
        Ok(match samples::spectrum(argument, views, self.quality_layers)? {
            Some(query) => Answer::Samples(Box::new(query)),
            None => Answer::Document {
                image: self.selected_view()?.0,
                response: sample_document::sample_reply(SampleDocument::Spectrum, &[]),
            },
        })
    }

    /// All horizontal views at the vertical angle in force.
    fn all_views(&self) -> Result<Vec<(S::Image, usize, String)>, Stop> {
        let image = self.image.as_ref().ok_or_else(Stop::no_image)?;
        let vertical = match self.views {
            None => Some(DEFAULT_VERTICAL_VIEW),
            Some((_, vertical)) => vertical,
        };
        Ok(samples::views(self.images, image, vertical)?)
    }

    /// What another protocol starts from. Ranges stay with the image they were given for.
    fn base(&self) -> Base {
        Base {
            processing: Processing {
                ranges: Vec::new(),
                ..self.processing.clone()
            },
            turn: self.rotation.turn(),
            reverse_tiles: self.rotation.reverses_tiles(),
            output: self.output,
            quality_layers: self.quality_layers,
            views: self.views,
            attachment: self.query.post,
        }
    }

    /// Image and page of the selected view.
    fn selected_view(&mut self) -> Result<(S::Image, usize), Stop> {
        if let Some(selected) = &self.selected {
            return Ok(selected.clone());
        }
        let image = self.image.as_ref().ok_or_else(Stop::no_image)?;
        let selected = self.base().select(self.images, image)?;
        self.selected = Some(selected.clone());
        Ok(selected)
    }

    /// Something about the page of the selected view.
    fn selected_page<T>(&mut self, look: impl FnOnce(&Page) -> T) -> Result<T, Stop> {
        let (image, page) = self.selected_view()?;
        Ok(look(page_of(&image, page)?))
    }

    /// Something that only matters once an image is set.
    fn with_image<T>(&self, parse: impl FnOnce() -> Result<T, Error>) -> Result<T, Stop> {
        match self.image {
            Some(_) => Ok(parse()?),
            None => Err(Stop::no_image()),
        }
    }
}

/// The page of an opened image.
fn page_of<I: OpenedImage>(image: &I, page: usize) -> Result<&Page, Error> {
    let pages = &image.info().pages;
    pages.get(page).ok_or_else(|| Error::not_found("no such view"))
}
