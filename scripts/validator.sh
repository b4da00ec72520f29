#!/bin/sh
# Installs the public validator of the IIIF Image API from PyPI: validator.sh FOLDER
# Afterwards FOLDER/bin/python runs it. Silent if that is done already.
set -eu

folder=$1
package=iiif-validator==1.0.5

fail() { printf 'validator: %s\n' "$*" >&2; exit 1; }

[ "$(cat "$folder/installed" 2>/dev/null)" != "$package" ] || exit 0
command -v python3 >/dev/null 2>&1 ||
    fail "python3 is missing: apt-get install --no-install-recommends python3-venv"
python3 -c 'import ensurepip, venv' 2>/dev/null ||
    fail "python3 comes without venv and pip: apt-get install --no-install-recommends python3-venv"
rm -rf "$folder"
python3 -m venv "$folder" || fail "python3 -m venv $folder failed, see above"
"$folder/bin/pip" install --quiet --disable-pip-version-check "$package" >&2 ||
    fail "pip could not install $package from PyPI, see above"
printf '%s' "$package" >"$folder/installed"
