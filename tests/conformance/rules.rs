//! Regions and sizes as the IIIF Image API 2.1.1 and 3.0 (sections 4.1 and 4.2) define them, in whole
//! numbers and fractions of whole numbers: no rounding but where the text rounds.

use crate::masters::MAX_SIDE;

/// A rectangle in pixels of the full size.
pub(crate) type Rect = (u32, u32, u32, u32);

/// A region parameter. Percentages are in hundredths of a percent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Region {
    Full,
    Square,
    Pixels(u32, u32, u32, u32),
    Percent(u32, u32, u32, u32),
}

/// The form of a size parameter. Percentages are in hundredths of a percent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Max,
    Width(u32),
    Height(u32),
    Percent(u32),
    Exact(u32, u32),
    Within(u32, u32),
}

/// A size parameter; `enlarge` is the `^` of version 3.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) form: Form,
    pub(crate) enlarge: bool,
}

/// `a * b / c`, rounded half up.
fn scaled(a: u32, b: u32, c: u32) -> u32 {
    let (a, b, c) = (u64::from(a), u64::from(b), u64::from(c));
    u32::try_from((2 * a * b + c) / (2 * c)).expect("a side of a picture")
}

/// The part of an image a region names, `None` if there is none.
pub(crate) fn extract(region: Region, (width, height): (u32, u32)) -> Option<Rect> {
    match region {
        Region::Full => Some((0, 0, width, height)),
        Region::Square => {
            let side = width.min(height);
            Some(((width - side) / 2, (height - side) / 2, side, side))
        }
        Region::Pixels(x, y, w, h) => {
            let inside = x < width && y < height && w > 0 && h > 0;
            inside.then(|| (x, y, w.min(width - x), h.min(height - y)))
        }
        Region::Percent(x, y, w, h) => {
            let edge = |side, percent| scaled(side, percent, 10_000).min(side);
            let (left, right) = (edge(width, x), edge(width, x + w));
            let (top, bottom) = (edge(height, y), edge(height, y + h));
            (left < right && top < bottom).then(|| (left, top, right - left, bottom - top))
        }
    }
}

/// The size of the reply to a size parameter, `None` if it is an error.
pub(crate) fn reply_size(size: Size, (_, _, w, h): Rect, version: u8) -> Option<(u32, u32)> {
    let by_width = |width| (width, scaled(width, h, w).max(1));
    let by_height = |height| (scaled(height, w, h).max(1), height);
    // The largest picture of the region's shape in a box.
    let fit = |width: u32, height: u32| {
        if u64::from(width) * u64::from(h) <= u64::from(height) * u64::from(w) {
            by_width(width)
        } else {
            by_height(height)
        }
    };
    let (width, height) = match size.form {
        Form::Max if size.enlarge => return Some(fit(MAX_SIDE, MAX_SIDE)),
        Form::Max => (w, h),
        Form::Width(width) => by_width(width),
        Form::Height(height) => by_height(height),
        Form::Percent(percent) => (scaled(w, percent, 10_000), scaled(h, percent, 10_000)),
        Form::Exact(width, height) => (width, height),
        Form::Within(width, height) => {
            let enlarges = width >= w && height >= h;
            if version == 3 && !size.enlarge && enlarges {
                (w, h)
            } else {
                fit(width, height)
            }
        }
    };
    if width == 0 || height == 0 {
        return None;
    }
    let named = match size.form {
        Form::Width(_) => width > w,
        Form::Height(_) => height > h,
        Form::Percent(percent) => percent > 10_000,
        Form::Exact(..) => width > w || height > h,
        Form::Max | Form::Within(..) => false,
    };
    if version == 3 && !size.enlarge && named {
        return None;
    }
    if width <= MAX_SIDE && height <= MAX_SIDE {
        return Some((width, height));
    }
    // Over the limit of the server: version 3 has errors where the size is named, version 2 sends what it
    // can without distortion.
    let shrinks = match size.form {
        Form::Max | Form::Within(..) => true,
        Form::Width(_) | Form::Height(_) | Form::Percent(_) => version == 2,
        Form::Exact(..) => false,
    };
    shrinks.then(|| fit(MAX_SIDE, MAX_SIDE))
}

fn percent(hundredths: u32) -> String {
    match hundredths % 100 {
        0 => format!("{}", hundredths / 100),
        rest if rest % 10 == 0 => format!("{}.{}", hundredths / 100, rest / 10),
        rest => format!("{}.{rest:02}", hundredths / 100),
    }
}

impl std::fmt::Display for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Full => write!(f, "full"),
            Self::Square => write!(f, "square"),
            Self::Pixels(x, y, w, h) => write!(f, "{x},{y},{w},{h}"),
            Self::Percent(x, y, w, h) => {
                write!(
                    f,
                    "pct:{},{},{},{}",
                    percent(x),
                    percent(y),
                    percent(w),
                    percent(h)
                )
            }
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.enlarge {
            write!(f, "^")?;
        }
        match self.form {
            Form::Max => write!(f, "max"),
            Form::Width(w) => write!(f, "{w},"),
            Form::Height(h) => write!(f, ",{h}"),
            Form::Percent(p) => write!(f, "pct:{}", percent(p)),
            Form::Exact(w, h) => write!(f, "{w},{h}"),
            Form::Within(w, h) => write!(f, "!{w},{h}"),
        }
    }
}

#[test]
fn the_examples_of_the_published_text_hold() {
    let image = (300, 200);
    assert_eq!(extract(Region::Square, image), Some((50, 0, 200, 200)));
    assert_eq!(
        extract(Region::Pixels(125, 15, 200, 200), image),
        Some((125, 15, 175, 185))
    );
    assert_eq!(
        extract(Region::Percent(4160, 750, 4000, 7000), image),
        Some((125, 15, 120, 140))
    );
    let full = (0, 0, 300, 200);
    let of = |form| reply_size(Size { form, enlarge: false }, full, 3);
    assert_eq!(of(Form::Max), Some((300, 200)));
    assert_eq!(of(Form::Width(150)), Some((150, 100)));
    assert_eq!(of(Form::Height(150)), Some((225, 150)));
    assert_eq!(of(Form::Percent(5000)), Some((150, 100)));
    assert_eq!(of(Form::Exact(225, 100)), Some((225, 100)));
    assert_eq!(of(Form::Within(225, 100)), Some((150, 100)));
    assert_eq!(of(Form::Exact(301, 100)), None);
    let larger = |form| reply_size(Size { form, enlarge: true }, full, 3);
    assert_eq!(larger(Form::Width(360)), Some((360, 240)));
    assert_eq!(larger(Form::Percent(12_000)), Some((360, 240)));
    assert_eq!(larger(Form::Within(360, 360)), Some((360, 240)));
    assert_eq!(larger(Form::Max), Some((MAX_SIDE, 1000)));
}
