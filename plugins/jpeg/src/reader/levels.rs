//! Which sizes of a picture are offered.

use iiphost_plugin_api::LevelInfo;

/// Tile size reported: a JPEG has none of its own.
const TILE_PX: u32 = 256;

/// Width and height of level `level` of a picture: halves, rounded down, one pixel at least.
pub(super) fn size((width, height): (u32, u32), level: u32) -> (u32, u32) {
    let half = |side: u32| side.checked_shr(level).unwrap_or(0).max(1);
    (half(width), half(height))
}

/// The levels of a picture: halves, rounded down, until one tile holds it.
pub(super) fn infos((mut width, mut height): (u32, u32)) -> Vec<LevelInfo> {
    let mut levels = Vec::new();
    loop {
        levels.push(LevelInfo {
            width,
            height,
            tile_width: TILE_PX,
            tile_height: TILE_PX,
            encoded: None,
            computed: !levels.is_empty(),
        });
        if width <= TILE_PX && height <= TILE_PX {
            return levels;
        }
        (width, height) = ((width / 2).max(1), (height / 2).max(1));
    }
}
