#!/bin/bash
# run.sh SECONDS JOBS TARGET... - each target so long, so many at a time, from
# its seeds and what it has found before (build/corpus); says how many inputs
# each has tried.  What is found is kept there too: TARGET FILE shows it again.
# SEED in the environment: where its random numbers begin, else anew each time.
set -u
seconds=$1 jobs=$2
shift 2

fuzz() {
	local name=${2##*/} corpus log
	corpus=build/corpus/$name log=build/corpus/$name.log
	mkdir -p "$corpus"
	if "$2" -max_total_time="$1" -max_len=8192 -verbosity=0 \
	    ${SEED:+"-seed=$SEED"} -print_final_stats=1 -artifact_prefix="$corpus-" \
	    "$corpus" "tests/fuzz/seeds/$name" >"$log" 2>&1; then
		awk -v n="$name" '/number_of_executed_units/ { tried = $2 }
		    END { print n ": " tried }' "$log"
	else
		cat "$log"
		return 1
	fi
}
export -f fuzz
# shellcheck disable=SC2016
printf '%s\n' "$@" | xargs -P "$jobs" -I{} bash -c 'fuzz "$1" "$2"' - \
    "$seconds" {}
