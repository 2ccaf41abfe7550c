bats_require_minimum_version 1.5.0
# A login shell, git or curl reads nothing of the user's.
export HOME="$BATS_RUN_TMPDIR"

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export LC_ALL=C TZ=UTC
	umask 022
	unset "${!PAPERCLIP_@}" PC_API_TOKEN PC_ACTOR PC_COMPANY PC_STORE "${!PC_LEASE_@}" "${!PG@}"
	pids=() mounts=()
}

# What a test started is ended by its id; nothing else ever is.
teardown() {
	[ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :
	[ "${#mounts[@]}" -eq 0 ] || umount -l "${mounts[@]}"
}

# mount_tmpfs [OPTIONS] FOLDER - until the test ends
mount_tmpfs() {
	local folder=${!#}
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	mount -t tmpfs "${@:1:$#-1}" none "$folder" || skip "cannot mount"
	mounts+=("$PWD/$folder")
}

# each_vector FILE FUNCTION - call FUNCTION with the columns of every
# tab-separated row of FILE; the last name printed is the row that failed.
each_vector() {
	local row cols n=0
	while IFS= read -r -u 9 row || [ -n "$row" ]; do
		case $row in ''|'#'*) continue ;; esac
		IFS=$'\t' read -r -a cols <<<"$row"
		n=$((n + 1))
		echo "vector: ${cols[0]}"
		"$2" "${cols[@]:1}"	# no || here: it would switch errexit off inside
	done 9<"$1"
	[ "$n" -gt 0 ]
}

# wait_until COMMAND... - until it succeeds; 10 s at most.
wait_until() {
	local i
	for ((i = 0; i < 2000; i++)); do
		"$@" && return
		sleep 0.005
	done
	echo "never: $*"
	return 1
}

# ended PID [STATUS] - waits for a child that the test started.
ended() {
	local id left=() status=0
	wait "$1" || status=$?
	for id in "${pids[@]}"; do
		[ "$id" = "$1" ] || left+=("$id")
	done
	pids=("${left[@]}")
	echo "process $1: exit $status"
	[ "$status" -eq "${2:-0}" ]
}

# put_request QUEUE ID [METHOD] [MEMBERS] - as any peer writes it.
put_request() {
	printf '{"id":"%s","method":"%s","path":"/a","query":"","headers":{},"body":"","createdAt":"t"%s}\n' \
	    "$2" "${3:-GET}" "${4:-}" >"$1/requests/$2.tmp"
	mv "$1/requests/$2.tmp" "$1/requests/$2.json"
}

# age FILE SECONDS - as if it had been written that long ago.
age() {
	touch -d "@$(($(date +%s) - $2))" "$1"
}

# with_descriptors N COMMAND... - that can have N of them, and has three.
with_descriptors() {
	# shellcheck disable=SC2016
	bash -c 'for fd in 3 4 5 6 7 8 9; do eval "exec $fd>&-"; done
	    ulimit -n "$0" && exec "$@"' "$@"
}

# not_sanitized TOOL - what takes long, or all memory, is for the others
not_sanitized() {
	case $(command -v "$1") in */san/*) skip "not with sanitizers" ;; esac
}

# make_long TOOL - a request of 100 MB in the file long, for short_of_memory.
make_long() {
	not_sanitized "$1"
	{
		printf '{"id":"r1","method":"POST","path":"/api/companies/c/issues","query":"","headers":{},"body":"'
		head -c 100000000 /dev/zero | tr '\0' x
		printf '","createdAt":"t"}\n'
	} >long
}

# short_of_memory COMMAND... - with room for that line, and not for what
# becomes of it.
short_of_memory() {
	# shellcheck disable=SC2016
	bash -c 'ulimit -v 250000; exec "$@" <long' sh "$@"
}
