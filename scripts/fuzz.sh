#!/bin/sh
# Runs every fuzz target of the modules for a while, with AddressSanitizer: fuzz.sh SECONDS FOLDER
# FOLDER keeps what was found to be interesting, so that the next run goes on from there. A crash ends the run, and
# its input is named.
set -eu

seconds=$1 folder=$2
root=$(cd "$(dirname "$0")/.." && pwd)

say() { printf 'fuzz: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

cargo +nightly --version >/dev/null 2>&1 || fail "a nightly toolchain is missing: rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 || fail "cargo-fuzz is missing: cargo install cargo-fuzz"
command -v vips >/dev/null 2>&1 || fail "vips, which makes pictures to begin with, is missing: make setup"

triple=$(rustc -vV | sed -n 's/^host: //p' | tr - _)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

# A TIFF of every tenth combination that is decoded.
seed_tiff() {
    [ -z "$(ls -A "$1")" ] || return 0
    mkdir -p "$folder/combinations"
    IIPHOST_WRITE_SEEDS=$folder/combinations cargo test --locked -p iiphost-tiff --lib every_combination >&2
    find "$folder/combinations" -type f -size -20k | sort | awk 'NR % 10 == 0' | while read -r file; do
        mv "$file" "$1"
    done
    rm -r "$folder/combinations"
}

# Noise in color and grey, in the forms that vips writes.
seed_pictures() {
    [ -z "$(ls -A "$1")" ] || return 0
    vips gaussnoise "$folder/grey.v" 80 56 --mean 128 --sigma 40
    vips cast "$folder/grey.v" "$folder/grey.png" uchar
    vips bandjoin "$folder/grey.png $folder/grey.png $folder/grey.png" "$folder/color.png"
    for picture in grey color; do
        case $2 in
        jpeg)
            vips jpegsave "$folder/$picture.png" "$1/$picture.jpg"
            vips jpegsave "$folder/$picture.png" "$1/$picture-progressive.jpg" --interlace
            ;;
        jpeg2000)
            vips jp2ksave "$folder/$picture.png" "$1/$picture.jp2"
            vips jp2ksave "$folder/$picture.png" "$1/$picture-tiled.jp2" --lossless --tile-width 32 --tile-height 32
            cp "$root"/plugins/codestream/fixtures/*.j2c "$1"
            ;;
        esac
    done
}

cd "$root"
for target in plugins/*/fuzz/fuzz_targets/*.rs; do
    module=${target#plugins/}
    module=${module%%/*}
    name=$(basename "$target" .rs)
    corpus=$folder/$module-$name
    mkdir -p "$corpus"
    case $module in
    tiff) seed_tiff "$corpus" ;;
    *) seed_pictures "$corpus" "$module" ;;
    esac
    say "$module, $name: $seconds s from $(find "$corpus" -type f | wc -l) files"
    # The C code of the codecs is watched as well.
    (cd "plugins/$module" && env "CFLAGS_$triple=-fsanitize=address" cargo +nightly fuzz run --target-dir "$folder/build" "$name" "$corpus" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=3000 -artifact_prefix="$folder/crash-$module-")
done
say "nothing was found"
