#!/bin/sh
# Downloads the public viewers that the tests open in a browser from npm: viewers.sh FOLDER
# Each is used as its package has it, nothing is built. Silent if that is done already.
set -eu

folder=$1
packages='leaflet@1.9.4 leaflet-iiif@3.0.0 mirador@3.4.3'

fail() { printf 'viewers: %s\n' "$*" >&2; exit 1; }

[ "$(cat "$folder/installed" 2>/dev/null)" != "$packages" ] || exit 0
command -v npm >/dev/null 2>&1 || fail "npm is missing: apt-get install --no-install-recommends npm"
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
for package in $packages; do
    # The name without its version.
    name=${package%@*}
    file=$(npm pack --silent "$package") || fail "npm could not download $package, see above"
    mkdir "$name"
    tar -xzf "$file" -C "$name" --strip-components=1
    rm "$file"
done
printf '%s' "$packages" >installed
