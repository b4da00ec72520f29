//! `PFL` and `SPECTRA`.

use super::*;

#[test]
fn profiles_are_rows_columns_or_points_of_every_view() {
    for (query, x, y, width, height, level) in [
        ("FIF=grey.tif&PFL=2:10,20-15,20", 10, 20, 5, 1, 0),
        ("FIF=grey.tif&PFL=1:10,20-10,25", 10, 20, 1, 5, 1),
        ("FIF=grey.tif&PFL=0:10,20", 10, 20, 1, 1, 2),
        ("FIF=grey.tif&PFL=0:10,20-10,20", 10, 20, 1, 1, 2),
        ("FIF=grey.tif&PFL=0:10,20-5,5", 10, 20, 1, 1, 2),
        ("FIF=grey.tif&PFL=0:10,20-30,99", 10, 20, 20, 1, 2),
        ("FIF=grey.tif&PFL=2:0,699-1000,699", 0, 699, 1000, 1, 0),
        ("FIF=grey.tif&PFL=2:999,0-999,700", 999, 0, 1, 700, 0),
    ] {
        let samples = samples(query);
        assert_eq!(
            (samples.x, samples.y, samples.width, samples.height, samples.level),
            (x, y, width, height, level),
            "{query}"
        );
        assert_eq!(samples.document, SampleDocument::Profile);
    }
    let names = |query: &str| -> Vec<(String, usize, String)> {
        let named = |(image, page, name): (Arc<FakeImage>, usize, String)| {
            (
                String::from_utf8_lossy(image.identifier()).into_owned(),
                page,
                name,
            )
        };
        samples(query).views.into_iter().map(named).collect()
    };
    let view = |file: &str, page, name: &str| (file.to_owned(), page, name.to_owned());
    assert_eq!(
        names("FIF=seq/obj&PFL=0:0,0"),
        [
            view("seq/obj_pyr_000_090.tif", 0, "0"),
            view("seq/obj_pyr_010_090.tif", 0, "10"),
            view("seq/obj_pyr_200_090.tif", 0, "200")
        ]
    );
    assert_eq!(
        names("FIF=stack.tif&SDS=1,90&SPECTRA=0,0,0,0"),
        [
            view("stack.tif", 0, "b450"),
            view("stack.tif", 1, "b\"550"),
            view("stack.tif", 2, "2")
        ]
    );
}

#[test]
fn a_spectrum_is_taken_at_a_pixel_of_a_tile() {
    let samples = samples("FIF=rgb.tif&LYR=3&SPECTRA=2,11,231,187");
    assert_eq!(
        (samples.x, samples.y, samples.width, samples.height),
        (999, 699, 1, 1)
    );
    assert_eq!((samples.level, samples.quality_layers), (0, 3));
    assert_eq!(samples.document, SampleDocument::Spectrum);
    for query in ["FIF=rgb.tif&SPECTRA=2,11,232,0", "FIF=rgb.tif&SPECTRA=2,11,0,188"] {
        let document = document(query);
        assert_eq!(document.header("Content-Type"), Some("application/xml"));
        assert_eq!(
            document.body,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<spectra>\n</spectra>"
        );
    }
}

#[test]
fn profiles_too_long_and_views_of_different_sizes_are_refused() {
    let wide = FakeImages(vec![
        Arc::new(FakeImage::new("wide.tif", vec![page(2_000_000, 10, 1)])),
        Arc::new(FakeImage::new(
            "mixed.tif",
            vec![page(100, 10, 1), page(50, 10, 1)],
        )),
    ]);
    let error = |query: &str| answer(&get(query.as_bytes()), &wide, &ALL, &mut nobody).unwrap_err();
    assert_eq!(
        error("FIF=wide.tif&PFL=0:0,0-2000000,0").public_message(),
        "PFL: 6000000 values asked for, the limit is 4000000"
    );
    assert_eq!(error("FIF=mixed.tif&PFL=0:0,0").status(), 400);
    assert_eq!(error("FIF=mixed.tif&SPECTRA=0,0,0,0").status(), 400);
}
