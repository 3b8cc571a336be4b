# shellcheck shell=bash
# Sets the directories that scripts share: `root` (the repository), `target` (the build) and
# `debian` (the packages that deploy/local/packages has unpacked). Source this file with `here` set
# to deploy/local.
: "${here:?}"

root=$(cd -- "$here/../.." && pwd -P)
target=${CARGO_TARGET_DIR:-target}
[[ $target == /* ]] || target=$root/$target

debian=$target
((EUID != 0)) || debian=/var/cache/session-reaper
# shellcheck source=/dev/null
debian=$debian/debian-$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-${VERSION_CODENAME:-unknown}}")
debian=$(readlink -m -- "${STACK_DEBIAN:-$debian}")
