//! Error lines, statuses and limits.

use super::*;

#[test]
fn errors_of_iip_are_lines_of_their_own_reply() {
    for (query, body) in [
        (
            "FIF=rgb.tif&OBJ=Max-size&OBJ=foo&OBJ=bar&baz=1",
            "Error/7:3 2 foo\r\nError/7:3 2 bar\r\nError/7:2 2 baz\r\n",
        ),
        ("OBJ=Max-size", "Error/12:1 3 max-size\r\n"),
        ("OBJ=metadata", "Error/12:1 3 metadata\r\n"),
        (
            "foo=1&OBJ=Max-size&bar=1",
            "Error/7:2 2 foo\r\nError/12:1 3 max-size\r\n",
        ),
        ("JTL=0,0", "Error/4:1 3 \r\n"),
        ("JTL=x", "Error/4:1 3 \r\n"),
        ("PTL=0,0", "Error/4:1 3 \r\n"),
        ("JTLS=0,0,0,90", "Error/4:1 3 \r\n"),
        ("CVT=jpeg", "Error/4:1 3 \r\n"),
        ("TIL=0,0", "Error/4:1 3 \r\n"),
        ("PFL=0:0,0", "Error/4:1 3 \r\n"),
        ("SPECTRA=0,0,0,0", "Error/4:1 3 \r\n"),
        ("MINMAX=0:0,100", "Error/4:1 3 \r\n"),
        ("foo=1", "Error/7:2 2 foo\r\n"),
        ("Foo%20=1", "Error/10:2 2 Foo%20\r\n"),
        ("& OBJ=IIP,1", "Error/8:2 2  OBJ\r\n"),
        ("FIF=rgb.tif", "Error/15:2 1 FIF=rgb.tif\r\n"),
        ("FIF=rgb.tif&OBJ=title", "Error/25:2 1 FIF=rgb.tif&OBJ=title\r\n"),
        (
            "FIF=rgb.tif&OBJ=subject",
            "Error/27:2 1 FIF=rgb.tif&OBJ=subject\r\n",
        ),
        (
            "FIF=rgb.tif&INV&WID=20",
            "Error/26:2 1 FIF=rgb.tif&INV&WID=20\r\n",
        ),
        (
            "FIF=rgb.tif&JTLS=0,0,0",
            "Error/26:2 1 FIF=rgb.tif&JTLS=0,0,0\r\n",
        ),
        ("OBJ", "Error/7:3 2 obj\r\n"),
        ("FIF=rgb.tif&OBJ", "Error/7:3 2 obj\r\n"),
        ("OBJ=IIP", "Error/7:3 2 iip\r\n"),
        ("OBJ=%0D%0AFoo", "Error/7:3 2 foo\r\n"),
        ("&&&", "Error/7:2 1 &&&\r\n"),
        ("INV=", "Error/8:2 1 INV=\r\n"),
        (
            "FIF=rgb.tif&FTR=0&RAR=1",
            "Error/7:2 2 FTR\r\nError/7:2 2 RAR\r\n",
        ),
    ] {
        let reply = reply(query);
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(String::from_utf8_lossy(&reply.body), body, "{query}");
        assert_eq!(
            reply.header("Content-Type"),
            Some("application/vnd.netfpx"),
            "{query}"
        );
        assert_eq!(reply.header("Cache-Control"), Some("no-cache"), "{query}");
        assert_eq!(reply.header("X-Content-Type-Options"), Some("nosniff"), "{query}");
        assert_eq!(reply.header("Content-Disposition"), None, "{query}");
    }
}

#[test]
fn failures_without_a_code_of_iip_have_a_status() {
    for (query, expected) in [
        ("FIF=missing.tif&OBJ=Max-size", 404),
        ("FIF=a%00b.tif&OBJ=Max-size", 400),
        ("foo=1&FIF=missing.tif", 404),
        ("FIF=rgb.tif&JTL=2,12", 404),
        ("FIF=rgb.tif&JTL=3,0", 404),
        ("FIF=rgb.tif&JTL=-1,0", 404),
        ("FIF=rgb.tif&JTL=0,-1", 404),
        ("FIF=rgb.tif&JTL", 400),
        ("FIF=rgb.tif&JTL=a,b", 400),
        ("FIF=rgb.tif&JTL=?1", 400),
        ("FIF=rgb.tif&TIL=3,0", 404),
        ("FIF=rgb.tif&TIL=2,12", 404),
        ("FIF=rgb.tif&TIL=2,0-12", 404),
        ("FIF=rgb.tif&SPECTRA=3,0,0,0", 404),
        ("FIF=rgb.tif&SPECTRA=0,1,0,0", 404),
        ("FIF=rgb.tif&SPECTRA=0,0,256,0", 400),
        ("FIF=rgb.tif&SPECTRA=0,0,0,-1", 400),
        ("FIF=rgb.tif&SPECTRA=0,0,0", 400),
        ("FIF=rgb.tif&PFL=3:0,0", 400),
        ("FIF=rgb.tif&PFL=-1:0,0", 400),
        ("FIF=rgb.tif&PFL=0:250,0", 400),
        ("FIF=rgb.tif&PFL=0:0,175", 400),
        ("FIF=rgb.tif&PFL=0:0,0-251,0", 400),
        ("FIF=rgb.tif&PFL=0:0,0-0,176", 400),
        ("FIF=rgb.tif&PFL=0:-1,0", 400),
        ("FIF=rgb.tif&PFL=0,0", 400),
        ("FIF=rgb.tif&PFL=0:0", 400),
        ("FIF=rgb.tif&PFL", 400),
        ("FIF=stack.tif&SDS=3,0&JTL=0,0", 404),
        ("FIF=stack.tif&SDS=-1&OBJ=Max-size", 404),
        ("FIF=seq/obj&SDS=20,90&CVT=jpeg", 404),
        ("FIF=seq/obj&SDS=200,45&JTL=0,0", 404),
        ("FIF=seq/obj&JTLS=5,0,0,90", 404),
        ("FIF=seq/obj&SDS=0,45&PFL=0:0,0", 404),
        ("FIF=rgb.tif&SDS=a&JTL=0,0", 400),
        ("FIF=rgb.tif&WID=-1&CVT=jpeg", 400),
        ("FIF=rgb.tif&HEI=abc&CVT=jpeg", 400),
        ("FIF=rgb.tif&CNT=abc&JTL=0,0", 400),
        ("FIF=rgb.tif&CNT=nan&JTL=0,0", 400),
        ("FIF=rgb.tif&GAM=inf&JTL=0,0", 400),
        ("FIF=rgb.tif&GAM=0x2&JTL=0,0", 400),
        ("FIF=rgb.tif&RGN=1,0,0.5,0.5&CVT=jpeg", 400),
        ("FIF=rgb.tif&RGN=nan,0,1,1&CVT=jpeg", 400),
        ("FIF=rgb.tif&ROT=left&JTL=0,0", 400),
        ("FIF=rgb.tif&QLT=high&JTL=0,0", 400),
        ("FIF=rgb.tif&LYR=x&JTL=0,0", 400),
        ("FIF=rgb.tif&LYR=3000000000&JTL=0,0", 400),
        ("FIF=rgb.tif&SHD=a,b&JTL=0,0", 400),
        ("FIF=rgb.tif&CTW=[1,x]&JTL=0,0", 400),
        ("FIF=rgb.tif&MINMAX=0:a,b&JTL=0,0", 400),
    ] {
        let error = ask(query).expect_err(query);
        assert_eq!(error.status(), expected, "{query}: {error}");
    }
}

#[test]
fn limits_of_a_request_are_named() {
    for (query, message) in [
        ("INV&".repeat(513), "more than 512 commands"),
        ("FIF=rgb.tif&".repeat(17), "FIF: more than 16 images"),
        (format!("CTW={}", "1;".repeat(65)), "CTW: more than 64 rows"),
        (
            format!("CTW={}", format!("{};", "1,".repeat(100)).repeat(50)),
            "CTW: more than 4096 coefficients",
        ),
    ] {
        let error = ask(&query).unwrap_err();
        assert_eq!((error.status(), error.public_message().as_str()), (400, message));
    }
    assert_eq!(
        status(&format!(
            "{}FIF=rgb.tif&JTL=0,0&{}",
            "INV&".repeat(510),
            "INV&".repeat(9999)
        )),
        200
    );
    assert_eq!(
        status(&format!("{}FIF=rgb.tif&JTL=0,0", "&=&INV=&".repeat(9999))),
        200
    );
}

#[test]
fn hostile_queries_get_an_answer() {
    let long = 64 << 10;
    for query in [
        "&".repeat(long),
        "=".repeat(long),
        "%".repeat(long),
        "x&".repeat(30_000),
        format!("FIF={}&JTL=0,0", "a".repeat(long)),
        format!("FIF=rgb.tif&WID={}&CVT=jpeg", "9".repeat(long)),
        format!("FIF=rgb.tif&CNV={}&JTL=0,0", "1,".repeat(long / 2)),
        format!("FIF=rgb.tif&RGN={}&CVT=jpeg", ",".repeat(long)),
        format!("FIF=rgb.tif&JTL={}", ",".repeat(long)),
        format!("FIF=rgb.tif&CTW=[{}]&JTL=0,0", ";".repeat(long)),
        format!("FIF=rgb.tif&CTW=[{}&JTL=0,0", "[".repeat(long)),
        format!("FIF=rgb.tif&OBJ={}", "colorspac".repeat(long / 9)),
        "FIF=rgb.tif&CTW=[]&JTL=0,0".to_owned(),
        "FIF=rgb.tif&JTL=2147483647,2147483647".to_owned(),
        "FIF=rgb.tif&TIL=0,2147483647-2147483647".to_owned(),
        "FIF=rgb.tif&MINMAX=2147483647:1e308,-1e308&JTL=0,0".to_owned(),
        "FIF=rgb.tif&SPECTRA=0,0,2147483647,2147483647".to_owned(),
        "FIF=rgb.tif&ROT=-2147483647&JTL=0,0".to_owned(),
        "FIF=rgb.tif&SDS=-2147483647,2147483647&JTL=0,0".to_owned(),
    ] {
        assert!([200, 400, 404].contains(&status(&query)), "{}", &query[..60]);
    }
}
