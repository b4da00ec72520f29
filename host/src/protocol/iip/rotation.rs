//! `ROT`: mirrors and turns.

use crate::error::Error;
use crate::view::Turn;

use super::argument::Argument;

/// The state of `ROT`. A mirror stays set, an angle does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Mirrored before the turn.
    mirror: Option<Mirror>,
    /// 0, 90, 180 or 270 degrees clockwise.
    degrees: i32,
}

/// Direction of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mirror {
    /// Left to right.
    Horizontal,
    /// Top to bottom.
    Vertical,
}

impl Rotation {
    /// `ROT`: whole quarter turns; other angles turn nothing. `!180` is a mirror top to bottom and no turn.
    pub(super) fn set(&mut self, argument: Argument<'_>) -> Result<(), Error> {
        let (mirrored, angle) = match argument.text.strip_prefix(b"!") {
            Some(angle) => (true, argument.part(angle)),
            None => (false, argument),
        };
        let degrees = angle.integer()?.rem_euclid(360);
        let degrees = if degrees % 90 == 0 { degrees } else { 0 };
        *self = match (mirrored, degrees) {
            (true, 180) => Self {
                mirror: Some(Mirror::Vertical),
                degrees: 0,
            },
            (true, degrees) => Self {
                mirror: Some(Mirror::Horizontal),
                degrees,
            },
            (false, degrees) => Self { degrees, ..*self },
        };
        Ok(())
    }

    /// The same as a mirror left to right and a turn.
    pub(super) fn turn(self) -> Turn {
        let degrees = match self.mirror {
            Some(Mirror::Vertical) => (self.degrees + 180) % 360,
            _ => self.degrees,
        };
        Turn {
            mirror: self.mirror.is_some(),
            degrees: f64::from(degrees),
        }
    }

    /// Whether tile numbers count from the last tile of a level.
    pub(super) fn reverses_tiles(self) -> bool {
        self.degrees == 180
    }

    /// Whether width and height change places.
    pub(super) fn transposes(self) -> bool {
        self.degrees % 180 == 90
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(text: &str) -> Argument<'_> {
        Argument {
            command: "X",
            text: text.as_bytes(),
        }
    }

    #[test]
    fn rotations_are_quarter_turns_modulo_360() {
        for (commands, mirror, degrees, reverses) in [
            (&["90"][..], false, 90.0, false),
            (&["-90"], false, 270.0, false),
            (&["450"], false, 90.0, false),
            (&["180"], false, 180.0, true),
            (&["90.9"], false, 90.0, false),
            (&["45"], false, 0.0, false),
            (&["180", "45"], false, 0.0, false),
            (&["!0"], true, 0.0, false),
            (&["!90"], true, 90.0, false),
            (&["!180"], true, 180.0, false),
            (&["!-180"], true, 180.0, false),
            (&["!90", "180"], true, 180.0, true),
            (&["!180", "90"], true, 270.0, false),
            (&["!180", "!0"], true, 0.0, false),
        ] {
            let mut rotation = Rotation::default();
            for command in commands {
                rotation.set(argument(command)).unwrap();
            }
            assert_eq!(rotation.turn(), Turn { mirror, degrees }, "{commands:?}");
            assert_eq!(rotation.reverses_tiles(), reverses, "{commands:?}");
        }
        for bad in ["!", "x", "!!90", "3e9"] {
            assert!(Rotation::default().set(argument(bad)).is_err(), "{bad}");
        }
    }
}
