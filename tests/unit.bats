#!/usr/bin/env bats
# The programs in tests/unit, built beside the tools that are tested.
load helper

unit_dir() {
	local bin
	bin=$(dirname "$(command -v pc-serve)")
	case $bin in
	*/san) echo "$bin/unit" ;;
	*) echo "$BATS_TEST_DIRNAME/../build/unit" ;;
	esac
}

@test "unit: every HTTP message of the table, at every split point" {
	run "$(unit_dir)/http" "$BATS_TEST_DIRNAME/http.tsv"
	echo "$output" | grep -v '^ok' || true
	[ "$status" -eq 0 ]
	[ "$(grep -c '^ok' <<<"$output")" -ge 250 ]
}

@test "unit: every request target of the table" {
	run "$(unit_dir)/target" "$BATS_TEST_DIRNAME/target.tsv"
	echo "$output" | grep -v '^ok' || true
	[ "$status" -eq 0 ]
	[ "$(grep -c '^ok' <<<"$output")" -ge 200 ]
}

@test "unit: targets are canonicalised as WHATWG URL does" {
	run node "$BATS_TEST_DIRNAME/unit/target-whatwg.mjs" \
	    "$(unit_dir)/target" "$BATS_TEST_DIRNAME/target.tsv"
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "unit: the locks as other tools take them" {
	run "$(unit_dir)/lock" file folder
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(grep -c '^ok' <<<"$output")" -eq 9 ]
	[ "$(ls)" = $'file\nfolder.pc.lock' ]
}

@test "unit: names below a root, and removing hostile trees" {
	run "$(unit_dir)/beneath"
	echo "$output" | grep -v '^ok' || true
	[ "$status" -eq 0 ]
	[ "$(grep -c '^ok' <<<"$output")" -eq 21 ]
}
