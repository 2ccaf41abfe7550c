#!/bin/sh
# arm64-root.sh COMPILER ROOT PACKAGE... - unpacks Debian's arm64 packages
# into ROOT, for linking with them.  The machine's own packages and sources of
# packages stay as they are: apt works in a folder of its own.
set -eu

compiler=$1 root=$2
shift 2
missing() {
	echo "make static-aarch64: missing: $*" >&2
	exit 1
}
command -v "$compiler" >/dev/null ||
    missing "$compiler: apt-get install gcc-aarch64-linux-gnu"
echo 'int main(void) { return 0; }' |
    "$compiler" -static -x c -o /dev/null - 2>/dev/null ||
    missing "a libc for $compiler: apt-get install libc6-dev-arm64-cross"
for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || missing "$tool"
done

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
if ! private update || ! private download "$@"; then
	missing "arm64 packages $*: no mirror in /etc/apt has them"
fi
for deb in *.deb; do
	dpkg-deb -x "$deb" "$root"
	rm "$deb"
done
