//! Tag numbers (TIFF 6.0 appendix A; private tags where noted).

pub(crate) const NEW_SUBFILE_TYPE: u16 = 254;
pub(crate) const SUBFILE_TYPE: u16 = 255;
pub(crate) const IMAGE_WIDTH: u16 = 256;
pub(crate) const IMAGE_LENGTH: u16 = 257;
pub(crate) const BITS_PER_SAMPLE: u16 = 258;
pub(crate) const COMPRESSION: u16 = 259;
pub(crate) const PHOTOMETRIC: u16 = 262;
pub(crate) const FILL_ORDER: u16 = 266;
pub(crate) const DOCUMENT_NAME: u16 = 269;
pub(crate) const IMAGE_DESCRIPTION: u16 = 270;
pub(crate) const MAKE: u16 = 271;
pub(crate) const MODEL: u16 = 272;
pub(crate) const STRIP_OFFSETS: u16 = 273;
pub(crate) const ORIENTATION: u16 = 274;
pub(crate) const SAMPLES_PER_PIXEL: u16 = 277;
pub(crate) const ROWS_PER_STRIP: u16 = 278;
pub(crate) const STRIP_BYTE_COUNTS: u16 = 279;
pub(crate) const X_RESOLUTION: u16 = 282;
pub(crate) const Y_RESOLUTION: u16 = 283;
pub(crate) const PLANAR_CONFIGURATION: u16 = 284;
pub(crate) const PAGE_NAME: u16 = 285;
pub(crate) const T4_OPTIONS: u16 = 292;
pub(crate) const T6_OPTIONS: u16 = 293;
pub(crate) const RESOLUTION_UNIT: u16 = 296;
pub(crate) const SOFTWARE: u16 = 305;
pub(crate) const DATE_TIME: u16 = 306;
pub(crate) const ARTIST: u16 = 315;
pub(crate) const PREDICTOR: u16 = 317;
pub(crate) const COLOR_MAP: u16 = 320;
pub(crate) const TILE_WIDTH: u16 = 322;
pub(crate) const TILE_LENGTH: u16 = 323;
pub(crate) const TILE_OFFSETS: u16 = 324;
pub(crate) const TILE_BYTE_COUNTS: u16 = 325;
pub(crate) const SUB_IFDS: u16 = 330;
pub(crate) const INK_SET: u16 = 332;
pub(crate) const EXTRA_SAMPLES: u16 = 338;
pub(crate) const SAMPLE_FORMAT: u16 = 339;
pub(crate) const S_MIN_SAMPLE_VALUE: u16 = 340;
pub(crate) const S_MAX_SAMPLE_VALUE: u16 = 341;
/// Adobe Technical Note 2.
pub(crate) const JPEG_TABLES: u16 = 347;
pub(crate) const YCBCR_COEFFICIENTS: u16 = 529;
pub(crate) const YCBCR_SUBSAMPLING: u16 = 530;
pub(crate) const REFERENCE_BLACK_WHITE: u16 = 532;
/// XMP specification part 3.
pub(crate) const XMP: u16 = 700;
pub(crate) const COPYRIGHT: u16 = 33432;
/// IPTC-NAA record.
pub(crate) const IPTC: u16 = 33723;
/// EXIF 2.3 section 4.6.3.
pub(crate) const EXIF_IFD: u16 = 34665;
/// ICC.1 annex B.
pub(crate) const ICC_PROFILE: u16 = 34675;
/// SGI, factor from stored to physical values.
pub(crate) const STO_NITS: u16 = 37439;
/// libtiff, LERC: version, additional compression.
pub(crate) const LERC_PARAMETERS: u16 = 50674;
