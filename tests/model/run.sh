#!/usr/bin/env bash
# run.sh [--quick] - has spin look at every order of the steps of queue.pml: in
# several configurations, which must hold, and with mutants of the protocol,
# which must not.  --quick: smaller ones, under a minute.
#
# All roles at once are too many states for a few GiB.  So each configuration
# leaves something out: deaths, the second drain or the second responder.
set -u

model=$(dirname "$(readlink -f "$0")")/queue.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
good=0 bad=0

# What an assertion of queue.pml is about.
name_assertions() {
	sed -n 's/^pan:[0-9]*: \(.*\) (at depth.*/\1/p' | sort -u | sed \
	    -e 's/.*told!=2.*/outcome/' -e 's/.*|| !(sent)).*/at most once/' \
	    -e 's/.*responses==me.*/wrote/' -e 's/.*got==wrote.*/lost answer/' \
	    -e 's/.*now>=2.*/lost answer/' -e 's/.*tmp\[.*/orphan/' |
	    sort -u | paste -sd, | sed 's/,/, /g'
}

# explore ERRORS OPTION... - sets states, seconds and result: holds, fails with
# what did, or the trouble.  ERRORS 0: all of them, 1: the first and its trail.
explore() {
	local errors=$1
	shift
	rm -f pan* queue.pml.trail out
	cp "$model" queue.pml
	if ! spin "$@" -a queue.pml >out 2>&1 || ! gcc "$level" -w -DSAFETY \
	    -DCOLLAPSE -DMEMLIM=8000 -o pan pan.c >out 2>&1; then
		result="trouble: $(grep -m 1 -i error out)"
		return
	fi
	./pan -m1000000 "-c$errors" | awk '{ said = $0
	    sub(/^pan:[0-9]+/, "", said); sub(/[(]at depth.*/, "", said) }
	    !/^pan:[0-9]/ || !seen[said]++' >out
	if grep -q '^pan:[0-9]*: [ai]' out; then
		result="fails: $(name_assertions <out)"
	elif grep -q 'errors: 0' out &&
	    ! grep -q 'not completed\|max search depth' out; then
		result=holds
	else
		result="trouble: $(grep -m 1 'pan:' out)"
	fi
	states=$(awk '/states, stored/ { print $1 }' out)
	seconds=$(awk '/elapsed time/ { print $4 }' out)
}

# expect WANTED NAME OPTION...
expect() {
	local want=$1 name=$2
	shift 2
	states=0 seconds=0
	if [ "$want" = holds ]; then
		explore 1 "$@"
	else
		explore 0 "$@"
	fi
	printf '%-36s %10s states %6s s  %s\n' "$name" "$states" \
	    "$seconds" "$result"
	if [[ $result == "$want"* ]]; then
		good=$((good + 1))
		return
	fi
	bad=$((bad + 1))
	echo "  wanted: $want"
	# The steps that lead there.
	[ ! -e queue.pml.trail ] || spin "$@" -t -p queue.pml |
	    grep ':.*proc' | grep -v 'else\|goto' | tail -n 80
}

one="-DCLAIMS -DDRAINS=1 -DRESPONDERS=1"
answers="-DCLAIMS -DDRAINS=1 -DRESPONDERS=2"
drains="-DCLAIMS -DDRAINS=2 -DRECOVER"
old="-DWITH_OLD_WORKER -DWITH_SWEEP"

# shellcheck disable=SC2086	# options, and none has a space
configurations() {
	expect holds "a drain, a responder, deaths" $one -DDEATHS
	expect holds "an answer from elsewhere" $one -DDEATHS -DOPERATOR
	expect holds "two responders" $answers
	expect holds "two drains, recover, deaths" $drains -DDEATHS
	expect holds "an old worker, sweep, deaths" $old -DDEATHS
	expect holds "sweep" $one -DWITH_SWEEP
	expect holds "pc-drain --fail" $one -DWITH_FAIL
	expect holds "links instead of renames" $one -DNO_RENAME_FLAGS
	expect holds "35 s between any two steps" $one -DWITH_SWEEP -DPAUSE
	[ -n "$quick" ] && return
	expect holds "two responders, deaths" $answers -DDEATHS
	expect holds "two responders, elsewhere's" $answers -DOPERATOR
	expect holds "recover, a responder, deaths" $drains -DRESPONDERS=1 \
	    -DDEATHS
	expect holds "two drains, two responders" $drains -DRESPONDERS=2
	expect holds "a safe request, recover, deaths" $drains -DSAFE \
	    -DRESPONDERS=1 -DDEATHS
	expect holds "sweep, deaths" $one -DWITH_SWEEP -DDEATHS
	expect holds "sweep, two responders" $answers -DWITH_SWEEP
	expect holds "--fail, deaths" $one -DWITH_FAIL -DDEATHS
	expect holds "--fail, two responders" $answers -DWITH_FAIL
	expect holds "links, two responders" $answers -DNO_RENAME_FLAGS
	expect holds "links, sweep, deaths" $one -DNO_RENAME_FLAGS \
	    -DWITH_SWEEP -DDEATHS
	expect holds "links, 35 s between any two" $one -DNO_RENAME_FLAGS \
	    -DWITH_SWEEP -DPAUSE
}

# What each does, is where queue.pml has its name. Three are none, but what
# must not be relied on: an old worker with --claims, or with responders of
# ours, and an answer that waits for 35 s.
# shellcheck disable=SC2086
mutants() {
	expect fails "respond without the second look" $one \
	    -DMUTANT_SECOND_LOOK
	expect "fails: at most once" "recover puts unsafe ones back" $drains -DMUTANT_RECOVER
	expect fails "respond looks once for the claim" $one -DOPERATOR \
	    -DMUTANT_LAST_LOOK
	expect fails "responders not one at a time" $answers -DMUTANT_UNLOCKED
	expect fails "giving up without another look" $one -DMUTANT_GIVE_UP
	expect fails "a drain prints, then claims" $drains -DMUTANT_TAKE
	expect fails "a line without its end is unprinted" $one \
	    -DMUTANT_UNPRINTED
	expect fails "an old worker, but not-started" $old -DCLAIMS
	expect fails "published, but not submitted" $one -DWITH_SWEEP \
	    -DNO_RENAME_FLAGS -DPAUSE -DMUTANT_PUBLISH_NAME
	expect fails "35 s, and every answer read" $one -DWITH_SWEEP -DPAUSE \
	    -DMUTANT_PAUSE
	expect fails "our responder beside an old worker" $old -DRESPONDERS=1 \
	    -DOPERATOR
	[ -n "$quick" ] && return
	expect fails "an answer replaces another" $answers -DDEATHS \
	    -DMUTANT_REPLACE
	expect fails "collect removes the answer first" $answers -DDEATHS \
	    -DMUTANT_COLLECT_ORDER
}

quick='' level=-O2
case ${1-} in
--quick) quick=1 level=-O1 ;;
'') ;;
*) echo >&2 "usage: run.sh [--quick]"; exit 100 ;;
esac
configurations
mutants
echo "$good as they should be, $bad not"
[ "$bad" -eq 0 ]
