#!/bin/sh
# A module library may export its header and its root module and nothing else: a codec symbol that leaks
# out of one library would be bound by the next. check-symbols.sh FOLDER
set -eu
folder=$1
found=
for library in "$folder"/libiiphost_*.so; do
    [ -e "$library" ] || break
    found=yes
    names=$(nm -D --defined-only "$library" | awk '{ print $NF }' | sort -u)
    others=$(printf '%s\n' "$names" | grep -v -x -E 'iiphost_module_header|_1as_0lib_1header_0root_bmodule_bloader' || true)
    if [ -n "$others" ]; then
        printf '%s exports more than a module:\n%s\n' "$library" "$others" >&2
        exit 1
    fi
    case $names in
    *iiphost_module_header*) echo "$library exports a module and nothing else" ;;
    *) echo "$library exports no module header" >&2; exit 1 ;;
    esac
done
[ -n "$found" ] || { echo "no module library in $folder: cargo build --workspace" >&2; exit 1; }
