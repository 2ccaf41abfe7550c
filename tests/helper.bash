bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export LC_ALL=C TZ=UTC
	umask 022
	pids=()
}

# What a test started is ended by its id; nothing else ever is.
teardown() {
	[ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :
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
