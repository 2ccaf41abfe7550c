#!/usr/bin/env bats
# pc-lease, on both kinds of store.
load helper
load lease

setup_file() {
	make_server
}

teardown_file() {
	remove_server
}

# field NAME - of the JSON object that was printed last
field() {
	jq -r ".$1" <<<"$output"
}

# code - of the error, and that nothing else was printed
code() {
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	jq -r .code <<<"$stderr"
}

lapse() {
	sql "UPDATE pc_leases SET expires = 1 WHERE status = 'active'"
}

# --- the state machine ------------------------------------------------------

declare -gA POLICIES=([e]=ephemeral [r]=reuse_by_environment
    [w]=reuse_by_execution_workspace [f]=retain_on_failure)

# config POLICY CLEAN-UP [REMOTE]
config() {
	local cleanup=
	case $2 in
	ok) cleanup=',"cleanup":["true"]' ;;
	bad) cleanup=',"cleanup":["sh","-c","echo no >&2; exit 3"]' ;;
	esac
	printf '{"policy":"%s","remoteCwd":"%s"%s}' "${POLICIES[$1]}" \
	    "${3:-/a}" "$cleanup"
}

# bring STATE POLICY - a lease into that state; its id and epoch
bring() {
	local flags=(--run R --json)
	[ "$1" != none ] || return 0
	[ "$2" != w ] || flags+=(--workspace W)
	run -0 --separate-stderr pc-lease acquire "$env" "${flags[@]}"
	id=$(field id)
	epoch=$(field epoch)
	case $1 in
	lapsed) lapse ;;
	lost)
		lapse
		pc-lease acquire "$env" "${flags[@]}" >/dev/null
		;;
	released|expired|failed)
		pc-lease release "$id" --status "$1" >/dev/null
		;;
	stale)
		pc-lease release "$id" >/dev/null
		pc-lease env set "$env" -c "$(config "$2" "$clean" /b)" \
		    >/dev/null
		;;
	retained) pc-lease release "$id" --status failed >/dev/null ;;
	pending_cleanup|cleaning)
		pc-lease env set "$env" -c "$(config "$2" bad)" >/dev/null
		[ "$2" = e ] || flags=(--status failed)
		[ "$2" != e ] || flags=()
		run -111 pc-lease release "$id" "${flags[@]}"
		pc-lease env set "$env" -c "$(config "$2" "$clean")" \
		    >/dev/null
		[ "$1" = pending_cleanup ] || sql "UPDATE pc_leases SET
		    expires = 9999999999999 WHERE id = '$id'"
		;;
	archived)
		pc-lease release "$id" >/dev/null
		pc-lease env archive "$env" >/dev/null
		;;
	esac
}

# transition POLICY CLEAN-UP BEFORE ACTION EXIT AFTER
transition() {
	local action after count had
	made=$((${made:-0} + 1))
	env=env$made clean=$2 id='' epoch=''
	pc-lease env add "$env" -c "$(config "$1" "$2")" >/dev/null
	bring "$3" "$1"
	read -r -a action <<<"$4"
	action=("${action[@]/#@/$id}")
	action=("${action[@]/#\#/$epoch}")
	action=("${action[@]/#ENV/$env}")
	[ "${action[0]}" != acquire ] ||
	    action=(acquire "$env" "${action[@]:1}")
	had=$(pc-lease log --json | wc -l)
	run "-$5" --separate-stderr pc-lease --json "${action[@]}"
	[ "$5" -eq 0 ] || [ -n "$stderr" ] || [ "${action[0]}" = sweep ]
	read -r after count <<<"$6"
	if [ "$3" = none ]; then
		pc-lease list --json --env "$env" | jq -r .status >states
		[ "$(<states)" = "${after#none}" ]
	else
		[ "$(pc-lease show "$id" --json | jq -r .status)" = "$after" ]
	fi
	[ -z "$count" ] || [ "=$(pc-lease list --json --env "$env" |
	    wc -l)" = "$count" ]
	# What is refused leaves no trace.
	case $5 in 1|100) [ "$(pc-lease log --json | wc -l)" -eq "$had" ] ;; esac
	# Nothing of it is due for the next row.
	sql "UPDATE pc_leases SET status = 'failed', cleanup = 'success'"
}

@test "pc-lease: every transition of the table, allowed and refused" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		each_vector "$BATS_TEST_DIRNAME/pc-lease-transitions.tsv" \
		    transition
	done
}
