#!/bin/sh
# packages.sh PACKAGE... - see that these Debian packages are installed: with
# apt-get when it may be used, else say what is missing.  "a|b" is either;
# "command=package" is there when the command is, wherever it came from.
set -u

is_installed() {
	case $1 in *=*) command -v "${1%%=*}" >/dev/null && return 0 ;; esac
	for p in $(printf '%s' "${1#*=}" | tr '|' ' '); do
		dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null |
		    grep -q ' installed$' && return 0
	done
	return 1
}

missing=
for want in "$@"; do
	is_installed "$want" && continue
	want=${want#*=}
	missing="$missing ${want%%|*}"
done
[ -z "$missing" ] && exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	sudo -n true 2>/dev/null || {
		echo "please install:$missing" >&2
		echo "  sudo apt-get install$missing" >&2
		exit 100
	}
	as_root=sudo
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
$as_root apt-get update -qq &&
    $as_root apt-get install -y -qq --no-install-recommends $missing \
	>/dev/null
