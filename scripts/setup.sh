#!/bin/sh
# Installs the system packages this project needs: setup.sh build|test|bench ...
# Silent if nothing is missing. Whatever is missing is named with the reason before anything is installed.
set -eu

# Programs of administrators, too: nginx is one.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

packages=
# need PACKAGE REASON COMMAND...: the package is missing if the command fails.
need() {
    package=$1 reason=$2
    shift 2
    "$@" >/dev/null 2>&1 && return
    say "$package is missing: $reason"
    packages="$packages $package"
}
has() { command -v "$1"; }
includes() { printf '#include <%s>\n' "$1" | cc -E -; }

has cargo >/dev/null 2>&1 || fail "cargo is missing: install a Rust toolchain first, see https://rustup.rs"

for part in "$@"; do
    case $part in
    build)
        need gcc "compiles the image codecs written in C" has cc
        need libc6-dev "the headers of the C library, for the same codecs" includes stdio.h
        need nasm "assembles the fast paths of the JPEG codec, five times faster with them" has nasm
        ;;
    test)
        for component in fmt clippy; do
            cargo "$component" --version >/dev/null 2>&1 ||
                fail "cargo $component is missing: rustup component add rustfmt clippy"
        done
        need binutils "nm lists the symbols that module libraries export" has nm
        need nginx-light "the tests put nginx in front of the host" has nginx
        need apache2-bin "the tests put Apache in front of the host" has apache2
        need libapache2-mod-fcgid "the tests let Apache start the host" test -e /usr/lib/apache2/modules/mod_fcgid.so
        need lighttpd "the tests put lighttpd in front of the host" has lighttpd
        need systemd "the tests check the units, and let it hand over sockets" has systemd-socket-activate
        need spawn-fcgi "the tests let it hand over a listening socket" has spawn-fcgi
        need chromium "the tests look at the viewer in a browser" has chromium
        need python3-venv "the public IIIF validator runs in Python" python3 -c 'import ensurepip, venv'
        need npm "the tests open viewers published there in the browser" has npm
        need memcached "the tests let several servers share pictures through it" has memcached
        need python3-prometheus-client "the tests read the measurements with it" \
            /usr/bin/python3 -c 'import prometheus_client'
        need libtiff-tools "the tests let tiffinfo read the pyramids that the host writes" has tiffinfo
        need libvips-tools "the tests let vips read the pictures that the host writes" has vips
        need pngcheck "the tests let it check PNG pictures" has pngcheck
        need webp "the tests let dwebp read WebP pictures" has dwebp
        need libavif-bin "the tests let avifdec read AVIF pictures" has avifdec
        need libjpeg-turbo-progs "the tests let djpeg read JPEG pictures" has djpeg
        need libimage-exiftool-perl "the tests let exiftool read metadata" has exiftool
        need liblcms2-utils "the tests let transicc convert colors" has transicc
        ;;
    bench)
        need iipimage-server "the peer that the host is measured beside" test -x /usr/lib/iipimage-server/iipsrv.fcgi
        need libopenjp2-tools "opj_compress makes the JPEG 2000 files of the measurement" has opj_compress
        need libvips-tools "vips makes the TIFF files of every compression" has vips
        need libtiff-tools "tiffcp makes the one that vips does not" has tiffcp
        need libtiff-dev "what the decoder of TIFF is compared with" includes tiffio.h
        need libjpeg-turbo-progs "cjpeg makes its JPEG file, djpeg is what it is compared with" has djpeg
        ;;
    *) fail "unknown part: $part" ;;
    esac
done

[ -n "$packages" ] || exit 0
has apt-get >/dev/null 2>&1 ||
    fail "apt-get is missing too, so this cannot go on: install what is named above in the way of this system, then try again"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif has sudo >/dev/null 2>&1; then
    as_root=sudo
else
    fail "not root and no sudo: run as root: apt-get install --no-install-recommends$packages"
fi
say "installing:$packages"
# Package lists of a fresh machine may be absent or old.
$as_root apt-get update -q || fail "apt-get update failed, see above"
# shellcheck disable=SC2086 # a list of words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages ||
    fail "apt-get could not install:$packages"
