#!/bin/sh
# old-lock.sh LOCK COMMAND [ARG...] - the lock that pc-lock replaces, written
# from its description, to be waited for and to be measured against.
dir=$1 tries=0
shift
until mkdir "$dir" 2>/dev/null; do
	holder=
	[ -s "$dir/pid" ] && holder=$(cat "$dir/pid" 2>/dev/null)
	if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
		rm -rf "$dir"
		continue
	fi
	tries=$((tries + 1))
	[ "$tries" -lt 600 ] || exit 111
	sleep 0.05
done
echo $$ >"$dir/pid"
trap 'rm -rf "$dir"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
"$@"
