//! Beginnings of files of many formats.

/// The beginning of a file.
pub(super) struct Foreign {
    pub(super) name: &'static str,
    /// Extensions of its format; a module that lists one of them may claim it.
    pub(super) extensions: &'static [&'static str],
    pub(super) bytes: &'static [u8],
}

const fn head(name: &'static str, extensions: &'static [&'static str], bytes: &'static [u8]) -> Foreign {
    Foreign {
        name,
        extensions,
        bytes,
    }
}

/// One or more for each format that a module might take for its own.
pub(super) const FOREIGN: &[Foreign] = &[
    head("empty file", &[], b""),
    head("one zero byte", &[], b"\0"),
    head("zeros", &[], &[0; 4096]),
    head("ones", &[], &[0xff; 4096]),
    head("text", &["txt"], b"A line of text that is no picture at all.\n"),
    head("HTML", &["html"], b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"),
    head("XML", &["xml"], b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<OME></OME>\n"),
    head("SVG", &["svg"], b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>\n"),
    head("JSON", &["json"], b"{\"@context\": \"http://iiif.io/api/image/3/context.json\"}\n"),
    head("script", &["sh"], b"#!/bin/sh\nexit 0\n"),
    head("ELF", &["so"], b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0"),
    head("ZIP", &["zip", "czi"], b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    head("gzip", &["gz"], b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    head("PDF", &["pdf"], b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n"),
    head("PostScript", &["ps", "eps"], b"%!PS-Adobe-3.0 EPSF-3.0\n"),
    head(
        "TIFF, little-endian",
        &["tif", "tiff"],
        b"II\x2a\0\x08\0\0\0\x01\0\0\x01\x03\0\x01\0\0\0\x10\0\0\0\0\0\0\0",
    ),
    head(
        "TIFF, big-endian",
        &["tif", "tiff"],
        b"MM\0\x2a\0\0\0\x08\0\x01\x01\0\0\x03\0\0\0\x01\0\x10\0\0\0\0\0\0",
    ),
    head(
        "BigTIFF",
        &["tif", "tiff"],
        b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0",
    ),
    head(
        "JP2",
        &["jp2", "jpx", "jpf"],
        b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 ",
    ),
    head(
        "JPEG 2000 codestream",
        &["j2k", "j2c", "jpc"],
        b"\xff\x4f\xff\x51\0\x29\0\0\0\0\0\x10\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\x10\0\0\0\0\0\0\0\0\0\x01\x07\x01\x01",
    ),
    head(
        "JPEG",
        &["jpg", "jpeg"],
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xdb\0\x43\0",
    ),
    head(
        "PNG",
        &["png"],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0\0\x90\x91\x68\x36",
    ),
    head("GIF", &["gif"], b"GIF89a\x10\0\x10\0\x80\0\0\0\0\0\xff\xff\xff,"),
    head(
        "BMP",
        &["bmp", "dib"],
        b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x02\0\0\0\x02\0\0\0\x01\0\x18\0",
    ),
    head("WebP", &["webp"], b"RIFF\x24\0\0\0WEBPVP8 \x18\0\0\0\x30\x01\0\x9d\x01\x2a\x10\0\x10\0"),
    head("WAV", &["wav"], b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0"),
    head("AVIF", &["avif"], b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1A"),
    head("HEIF", &["heic", "heif"], b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    head("MP4", &["mp4"], b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"),
    head("JPEG XL", &["jxl"], b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl \0\0\0\0jxl "),
    head("PGM", &["pgm", "pnm"], b"P5\n16 16\n255\n\0\0\0\0\0\0\0\0"),
    head("PPM", &["ppm", "pnm"], b"P6\n# comment\n16 16\n255\n\0\0\0\0\0\0\0\0"),
    head("PBM, plain", &["pbm", "pnm"], b"P1\n2 2\n1 0\n0 1\n"),
    head("QOI", &["qoi"], b"qoif\0\0\0\x10\0\0\0\x10\x03\0\xfe\0\0\0"),
    head("OpenEXR", &["exr"], b"\x76\x2f\x31\x01\x02\0\0\0channels\0chlist\0"),
    head("Radiance", &["hdr"], b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 16 +X 16\n"),
    head("PSD", &["psd"], b"8BPS\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x10\0\0\0\x10\0\x08\0\x03"),
    head("DDS", &["dds"], b"DDS \x7c\0\0\0\x07\x10\0\0\x10\0\0\0\x10\0\0\0"),
    head("FITS", &["fits", "fit"], b"SIMPLE  =                    T / conforms to FITS standard"),
    head("HDF5", &["h5", "hdf"], b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0"),
    head("DjVu", &["djvu"], b"AT&TFORM\0\0\0\x20DJVUINFO"),
    head("SQLite", &["db", "sqlite"], b"SQLite format 3\0\x10\0\x01\x01\0\x40\x20\x20"),
    head("half a UTF-16 text", &[], b"\xff\xfeh\0e\0l\0l\0o\0"),
];
