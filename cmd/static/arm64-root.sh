#!/bin/sh
# arm64-root.sh COMPILER ROOT PACKAGE... - unpacks Debian's arm64 packages
# into ROOT, for linking with them.  The machine's own packages and sources of
# packages stay as they are: apt works in a folder of its own.
set -eu

compiler=$1 root=$2
shift 2
missing=
command -v "$compiler" >/dev/null || missing="$compiler (apt-get install \
gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    missing="$missing apt-get and dpkg-deb"
if [ -n "$missing" ]; then
	echo "make static-aarch64: missing: $missing" >&2
	exit 1
fi

rm -rf "$root"
mkdir -p "$root.apt/lists/partial" "$root.apt/cache/archives/partial" "$root"
apt=$(cd "$root.apt" && pwd)
root=$(cd "$root" && pwd)
: >"$apt/status"
private() {
	apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
	    -o Dir::State="$apt" -o Dir::State::Lists="$apt/lists" \
	    -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
	    -o APT::Sandbox::User= -o Acquire::Languages=none "$@"
}
cd "$apt"
private update && private download "$@" || {
	echo "make static-aarch64: missing: arm64 packages of $*, from the" \
	    "mirror in /etc/apt" >&2
	exit 1
}
for deb in *.deb; do
	dpkg-deb -x "$deb" "$root"
	rm "$deb"
done
