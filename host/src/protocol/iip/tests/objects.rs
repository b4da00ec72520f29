//! What `OBJ` answers.

use super::*;

#[test]
fn objects_answer_in_the_order_asked() {
    for (query, body) in [
        (
            "FIF=rgb.tif&OBJ=IIP,1.0&OBJ=Max-size&OBJ=Tile-size&OBJ=Resolution-number",
            "IIP:1.3\r\nMax-size:1000 700\r\nTile-size:256 256\r\nResolution-number:3\r\n",
        ),
        (
            "FIF=rgb.tif&OBJ=Basic-Info",
            "IIP-server:3.65\r\nMax-size:1000 700\r\nResolution-number:3\r\nColorspace,0-2,0:0 0 3 3 0 1 2\r\n",
        ),
        ("FIF=grey.tif&OBJ=colorspace,*", "Colorspace,0-2,0:0 0 1 1 0\r\n"),
        (
            "FIF=lab.tif&OBJ=Colorspace,*,*",
            "Colorspace,0-1,0:1 0 4 3 0 1 2\r\n",
        ),
        (
            "FIF=rgba.tif&OBJ=colorspace",
            "Colorspace,0-1,0:0 0 3 3 0 1 2\r\n",
        ),
        (
            "FIF=rgb.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: 0  255  0  255  0  255\r\n",
        ),
        (
            "FIF=twelve.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: 0  4095\r\n",
        ),
        (
            "FIF=stated.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: 10  3000\r\n",
        ),
        (
            "FIF=float.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: -1.9  0.1\r\n",
        ),
        (
            "FIF=signed.tif&OBJ=Min-Max-sample-values",
            "Min-Max-sample-values: -32768  32767\r\n",
        ),
        (
            "FIF=s1025x769.tif&OBJ=Resolutions",
            "Resolutions:256 192,512 384,1025 769\r\n",
        ),
        ("FIF=meta.tif&OBJ=dpi", "DPI:11811.023438 11811.023438\r\n"),
        ("FIF=odd-meta.tif&OBJ=DPI", "DPI:1000.000000 1000.000000\r\n"),
        (
            "FIF=rgb.tif&OBJ=Max-size&FIF=grey.tif&OBJ=Colorspace",
            "Max-size:1000 700\r\nColorspace,0-2,0:0 0 1 1 0\r\n",
        ),
        ("FIF=twelve.tif&OBJ=Bits-per-channel", "Bits-per-channel:12\r\n"),
        (
            "FIF=seq/obj&OBJ=Horizontal-views",
            "Horizontal-views:0 10 200\r\n",
        ),
        ("FIF=seq/obj&OBJ=Vertical-views", "Vertical-views:45 90\r\n"),
        (
            "FIF=rgb.tif&OBJ=Horizontal-views&OBJ=Vertical-views",
            "Horizontal-views:0\r\nVertical-views:90\r\n",
        ),
        ("FIF=stack.tif&OBJ=Horizontal-views", "Horizontal-views:0 1 2\r\n"),
        (
            "FIF=rgb.tif&ROT=90&OBJ=Max-size&OBJ=Resolutions",
            "Max-size:700 1000\r\nResolutions:250 175,500 350,1000 700\r\n",
        ),
        (
            "FIF=rgb.tif&ROT=-90&OBJ=Basic-info",
            "IIP-server:3.65\r\nMax-size:700 1000\r\nResolution-number:3\r\nColorspace,0-2,0:0 0 3 3 0 1 2\r\n",
        ),
        ("FIF=rgb.tif&ROT=180&OBJ=Max-size", "Max-size:1000 700\r\n"),
        ("FIF=rgb.tif&OBJ=Max-size&ROT=90", "Max-size:1000 700\r\n"),
        ("FIF=rgb.tif&OBJ=Max%2Dsize", "Max-size:1000 700\r\n"),
        ("fif=rgb.tif&obj=max-SIZE", "Max-size:1000 700\r\n"),
        ("FIF=meta.tif&OBJ=title", "The Title\r\n"),
        (
            "FIF=meta.tif&OBJ=Summary-info",
            "An Artist\r\n2020:01:02 03:04:05\r\n",
        ),
        (
            "FIF=rgb.tif&OBJ=Max-size&obj=subject&OBJ=app-name&OBJ=dpi&OBJ=stack",
            "Max-size:1000 700\r\n",
        ),
        ("FIF=xmp.tif&OBJ=xmp", "<x:xmpmeta/>\r\n"),
        (
            "FIF=meta.tif&OBJ=metadata",
            "{ \n\t\"creator\": \"An Artist\",\n\t\"date\": \"2020:01:02 03:04:05\",\n\t\"title\": \"The Title\"\n}\r\n",
        ),
        (
            "FIF=odd-meta.tif&OBJ=metadata",
            "{ \n\t\"description\": \"a\\\\b\",\n\t\"rights\": \"\\\"\u{a9}\\\"\\n\\u0001\"\n}\r\n",
        ),
        ("FIF=rgb.tif&OBJ=metadata", "{\n}\r\n"),
        (
            "FIF=stack.tif&OBJ=stack",
            "[ \n\t{\n\t\t\"id\": 0,\n\t\t\"name\": \"b450\",\n\t\t\"scale\": 0.5\n\t},\
             \n\t{\n\t\t\"id\": 1,\n\t\t\"name\": \"b\\\"550\",\n\t\t\"scale\": 1\n\t},\
             \n\t{\n\t\t\"id\": 2,\n\t\t\"name\": \"\",\n\t\t\"scale\": 0.333333333\n\t}\n]\r\n",
        ),
    ] {
        let document = document(query);
        assert_eq!(document.status, 200, "{query}");
        assert_eq!(String::from_utf8_lossy(&document.body), body, "{query}");
    }
}

#[test]
fn objects_about_the_server_need_no_image() {
    for (query, body) in [
        ("OBJ=IIP,1.0", "IIP:1.3\r\n"),
        ("OBJ=IIP-server", "IIP-server:3.65\r\n"),
        (
            "OBJ=IIP-opt-comm",
            "IIP-opt-comm:CVT CNT QLT JTL JTLS WID HEI RGN MINMAX SHD CMP INV CTW\r\n",
        ),
        (
            "obj=iip-opt-obj",
            "IIP-opt-obj:Horizontal-views Vertical-views Tile-size Bits-per-channel Min-Max-sample-values Resolutions\r\n",
        ),
    ] {
        let reply = reply(query);
        assert_eq!((reply.status, &reply.body[..]), (200, body.as_bytes()), "{query}");
        assert_eq!(reply.header("Content-Type"), Some("application/vnd.netfpx"));
        assert_eq!(reply.header("IIP").is_some(), query == "OBJ=IIP,1.0");
    }
}
