//! Zoomify.

use support::Server;
use support::fixture::Images;
use support::image::assert_close;

#[test]
fn the_document_is_the_one_clients_split() {
    let (images, _) = Images::with_photo();
    let server = Server::start(images.folder());
    let reply = server
        .client()
        .get("/zoomify/photo.tif/ImageProperties.xml")
        .expect(200);
    assert_eq!(reply.field("Content-Type"), "application/xml");
    assert_eq!(
        reply.text().trim_end(),
        r#"<IMAGE_PROPERTIES WIDTH="1000" HEIGHT="700" NUMTILES="17" NUMIMAGES="1" VERSION="1.8" TILESIZE="256"/>"#
    );
}

#[test]
fn every_tier_has_its_tiles() {
    let (images, photo) = Images::with_photo();
    let server = Server::start(images.folder());
    let mut connection = server.client().connect();
    let mut number = 0;
    for (tier, level) in photo.pyramid(3).iter().rev().enumerate() {
        for row in 0..level.height.div_ceil(256) {
            for col in 0..level.width.div_ceil(256) {
                let target = format!(
                    "/zoomify/photo.tif/TileGroup{}/{tier}-{col}-{row}.jpg",
                    number / 256
                );
                let (x, y) = (col * 256, row * 256);
                let expected = level.crop(x, y, 256.min(level.width - x), 256.min(level.height - y));
                assert_close(&target, &connection.get(&target).picture(), &expected, 33.0);
                number += 1;
            }
        }
    }
    assert_eq!(number, 17);
    for tile in ["3-0-0", "2-4-0", "2-0-3"] {
        let reply = connection.get(&format!("/zoomify/photo.tif/TileGroup0/{tile}.jpg"));
        assert_eq!(reply.status, 404, "{tile}");
    }
}
