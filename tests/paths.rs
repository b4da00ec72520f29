//! Images come from under the root, whatever the identifier contains.

use std::os::unix::fs::symlink;
use std::process::Command;

use support::Server;
use support::fixture::Images;
use support::image::assert_same;
use support::server::Settings;

/// A root with an image, and another image beside the root.
fn outside() -> (Images, String) {
    let (images, _) = Images::with_photo();
    let photo = std::fs::read(images.path("photo.tif")).unwrap();
    images.write("root/photo.tif", &photo);
    images.write("root/sub/photo.tif", &photo);
    images.write("secret.tif", &photo);
    images.write("root-private/secret.tif", &photo);
    let secret = images.path("secret.tif");
    let root = images.path("root");
    symlink(&secret, root.join("link.tif")).unwrap();
    symlink(images.folder(), root.join("folder")).unwrap();
    symlink("../secret.tif", root.join("relative.tif")).unwrap();
    symlink("sub/photo.tif", root.join("inside.tif")).unwrap();
    symlink("itself.tif", root.join("itself.tif")).unwrap();
    symlink("/dev/zero", root.join("device.tif")).unwrap();
    let made = Command::new("mkfifo")
        .arg(root.join("pipe.tif"))
        .status()
        .unwrap();
    assert!(made.success());
    (images, secret.display().to_string())
}

#[test]
fn nothing_outside_the_root_is_reached() {
    let (images, secret) = outside();
    let server = Server::start(&images.path("root"));
    let client = server.client();
    let absolute = secret.replace('/', "%2F");
    let names = [
        "../secret.tif",
        "..%2Fsecret.tif",
        "%2e%2e/secret.tif",
        "%2e%2e%2fsecret.tif",
        "%252e%252e%252fsecret.tif",
        "....//secret.tif",
        "..././secret.tif",
        "sub/../../secret.tif",
        "sub%2F..%2F..%2Fsecret.tif",
        "..%5Csecret.tif",
        "..",
        "../root-private/secret.tif",
        "-private/secret.tif",
        "link.tif",
        "relative.tif",
        "folder/secret.tif",
        "folder%2Fsecret.tif",
        "folder/root/../secret.tif",
        "itself.tif",
        "device.tif",
        "pipe.tif",
        "sub",
        ".",
        "%2Fetc%2Fpasswd",
        "%2Fdev%2Fzero",
        "photo.tif%2F..%2F..%2Fsecret.tif",
        &secret,
        &absolute,
    ];
    for name in names {
        for target in [
            format!("/iiif/3/{name}/info.json"),
            format!("/iiif/3/{name}/full/max/0/default.jpg"),
            format!("/deepzoom/{name}.dzi"),
            format!("/zoomify/{name}/ImageProperties.xml"),
            format!("/fcgi-bin/iipsrv.fcgi?FIF={name}&OBJ=Max-size"),
            format!("/fcgi-bin/iipsrv.fcgi?FIF={name}&JTL=0,0"),
            format!("/fcgi-bin/iipsrv.fcgi?IIIF={name}/info.json"),
        ] {
            let reply = client.get(&target);
            assert!(matches!(reply.status, 400 | 404), "{target}: {}", reply.status);
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(
                !text.contains("/tmp") && !text.contains("root"),
                "a path in {text:?}"
            );
        }
    }
    for name in ["photo.tif%00", "photo.tif%00.tif", "%00", "a%0Ab.tif"] {
        for target in [
            format!("/iiif/3/{name}/info.json"),
            format!("/fcgi-bin/iipsrv.fcgi?FIF={name}&OBJ=Max-size"),
        ] {
            let reply = client.get(&target);
            assert_eq!(reply.status, 400, "{target}: {}", reply.text());
        }
    }
    let list = client.get("/images.json").json();
    let shown: Vec<&str> = list["images"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|n| n.as_str())
        .collect();
    for name in ["photo.tif", "sub/photo.tif"] {
        assert!(shown.contains(&name), "{shown:?}");
    }
    assert!(!shown.iter().any(|name| name.contains("secret")), "{shown:?}");
}

#[test]
fn detours_inside_the_root_are_allowed() {
    let (images, _) = outside();
    let server = Server::start(&images.path("root"));
    let expected = server
        .client()
        .get("/iiif/3/photo.tif/full/100,/0/default.png")
        .picture();
    for name in [
        "inside.tif",
        "%2Fphoto.tif",
        ".%2Fphoto.tif",
        "sub%2F%2Fphoto.tif",
        "sub%2F.%2Fphoto.tif",
    ] {
        let target = format!("/iiif/3/{name}/full/100,/0/default.png");
        assert_same(name, &server.client().get(&target).picture(), &expected);
    }
}

#[test]
fn links_out_of_the_root_can_be_allowed() {
    let (images, _) = outside();
    let server = Settings::new(&images.path("root"))
        .with("FOLLOW_SYMLINKS", "1")
        .start();
    for (name, status) in [
        ("link.tif", 200),
        ("folder%2Fsecret.tif", 200),
        ("..%2Fsecret.tif", 404),
        ("device.tif", 404),
    ] {
        assert_eq!(
            server.client().get(&format!("/iiif/3/{name}/info.json")).status,
            status,
            "{name}"
        );
    }
}
