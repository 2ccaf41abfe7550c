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

# lock_file - somebody else has it, until the test ends
lock_file() {
	rm -f locked
	python3 - "$DATABASE" 3>&- <<-'END' &
		import sqlite3
		import sys
		import time

		db = sqlite3.connect(sys.argv[1], isolation_level=None)
		db.execute("BEGIN IMMEDIATE")
		open("locked", "w").close()
		time.sleep(60)
	END
	pids+=($!)
	wait_until test -e locked
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
	case $5 in 1|100) had=$(pc-lease log --json | wc -l) ;; esac
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

# --- steps ------------------------------------------------------------------

@test "pc-lease: resolve: default, by name, by id, by level; the specified errors" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		run -0 --separate-stderr pc-lease --json env show
		[ "$(field name) $(field driver) $(field default)" = \
		    "local local true" ]
		pc-lease env add box --driver ssh -- ssh box >/dev/null
		run -0 --separate-stderr pc-lease --json env show box
		[ "$(field config.channel.argv[1])" = box ]
		pc-lease acquire "$(field id)" >/dev/null
		run -0 --separate-stderr pc-lease acquire --json \
		    --for company=local --for issue=box --for project=nix
		[ "$(field environment)" = box ]
		run -100 --separate-stderr pc-lease --json acquire nix
		[ "$(code)" = environment_not_found ]
		[ "$(jq -r .message <<<"$stderr")" = \
		    'Environment "nix" not found.' ]
		pc-lease env archive box >/dev/null
		run -100 --separate-stderr pc-lease --json acquire box
		[ "$(code)" = environment_inactive ]
		[ "$(jq -r .message <<<"$stderr")" = \
		    'Environment "box" is not active (status: archived).' ]
		pc-lease env set box --status active --default >/dev/null
		run -0 --separate-stderr pc-lease acquire --json
		[ "$(field environment)" = box ]
		run -1 --separate-stderr pc-lease --json env add box
		[ "$(code)" = environment_exists ]
		run -1 --separate-stderr pc-lease --json env set box --name local
		run -100 --separate-stderr pc-lease --json env add x --driver tape
		[ "$(code)" = unsupported_environment ]
		run -100 pc-lease env add x -c '{"channel":{"argw":[]}}'
		[[ $output == *"channel.argw: unknown key"* ]]
		run -100 pc-lease env add 01a1fd40-a5a1-7135-9d68-02d76575d6a4
	done
}

@test "pc-lease: who waits gets it when it is given back, or when it lapses" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box -c "$(config r -)" >/dev/null
		pc-lease acquire box --run A >/dev/null
		run -1 pc-lease acquire box -t 100ms
		pc-lease acquire box --run B -t 10s --json >got 3>&- &
		pids+=($!)
		pc-lease release --run A >/dev/null
		ended "${pids[-1]}"
		[ "$(jq -r .reused got)" = true ]
		# A holder that is gone, and nobody sweeps.
		pc-lease release --run B >/dev/null
		pc-lease acquire box --run C --expiry 1s >/dev/null
		run -0 --separate-stderr pc-lease acquire box --json -t 10s
		[ "$(field runId)" = null ]
		[ "$(pc-lease log --json | jq -r .action | uniq | tail -n 2 |
		    tr '\n' ' ')" = \
		    "environment.lease_expired environment.lease_acquired " ]
	done
}

@test "pc-lease: epochs only grow, and not below the time in microseconds" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box >/dev/null
		for i in 1 2 3 4 5 6; do
			echo "acquire box"
		done | pc-lease batch | jq '.results[0].epoch' >epochs
		sort -nu epochs | diff - epochs
		[ "$(wc -l <epochs)" -eq 6 ]
		[ "$(head -n 1 epochs)" -ge "$(date -d '-1 minute' +%s000000)" ]
		# A clock that was ahead: on from there, one at a time.
		sql "UPDATE pc_environments SET token = 9000000000000000"
		run -0 --separate-stderr pc-lease --json acquire box
		[ "$(field epoch)" = 9000000000000001 ]
	done
}

@test "pc-lease: metadata is merged by renewing, and kept when used again" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box -c "$(config r -)" >/dev/null
		run -0 --separate-stderr pc-lease acquire box --json \
		    --metadata '{ "a": 1, "b": {"c": "x y"} }' \
		    --provider-lease P --run R
		id=$(field id)
		run -0 --separate-stderr pc-lease renew "$id" --json --epoch \
		    "$(field epoch)" --metadata '{"a":2,"d":[ ]}'
		[ "$(field metadata | jq -c .)" = \
		    '{"b":{"c":"x y"},"a":2,"d":[]}' ]
		pc-lease renew "$id" --epoch "$(field epoch)" --expiry 1h \
		    >/dev/null
		run -0 --separate-stderr pc-lease renew "$id" --json \
		    --epoch "$(field epoch)"
		at() { date -d "$(field "$1")" +%s; }
		[ $(($(at expiresAt) - $(at lastUsedAt))) -ge 3600 ]
		pc-lease release "$id" >/dev/null
		run -0 --separate-stderr pc-lease acquire box --json
		[ "$(field id)" = "$id" ]
		[ "$(field metadata.a) $(field providerLeaseId)" = "2 P" ]
		for bad in '' '[]' '{' '{"a":}' 'x'; do
			run -100 pc-lease acquire box --metadata "$bad"
		done
	done
}

@test "pc-lease: five leases of a run, the second's clean-up fails: four released" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		rm -rf marks
		mkdir marks
		cat >end-sandbox <<-'END'
			cat >"marks/$PC_LEASE_PROVIDER_ID"
			test "$PC_LEASE_PROVIDER_ID" != 2 && exit
			printf 'gone\377\n' >&2
			exit 4
		END
		pc-lease env add box -c '{"cleanup":["sh","end-sandbox"]}' \
		    >/dev/null
		for n in 2 3 4 5; do
			echo "pc-lease acquire box --run R --provider-lease $n" \
			    "--metadata '{\"n\":$n}' >/dev/null"
		done >more
		run -7 --separate-stderr pc-lease run box --run R \
		    --provider-lease 1 -- sh -c '. ./more; exit 7'
		[[ $stderr == *'Failed to clean up lease'*'exit code 4: gone\xff'* ]]
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
		[ "$(ls marks | tr '\n' ' ')" = "1 2 3 4 5 " ]
		[ "$(<marks/3)" = '{"n":3}' ]
		pc-lease list --json |
		    jq -r '[.providerLeaseId,.status,.cleanupStatus,
		    .failureReason]|join(" ")' >states
		diff - states <<-END
			1 failed success exit code 7
			2 pending_cleanup failed exit code 7
			3 failed success exit code 7
			4 failed success exit code 7
			5 failed success exit code 7
		END
		pc-lease log --json | jq -r .action | sort | uniq -c |
		    sed 's/^ *//' >actions
		diff - actions <<-END
			1 environment.created
			5 environment.lease_acquired
			4 environment.lease_cleaned
			1 environment.lease_cleanup_failed
			5 environment.lease_released
		END
		run -111 --separate-stderr pc-lease --json sweep
		[ "$(field 'errors|length')" = 1 ]
		[[ $(field 'errors[0].error') == *'exit code 4: gone\xff' ]]
		pc-lease env set box -c '{"cleanup":["true"]}' >/dev/null
		pc-lease sweep >/dev/null
		[ "$(pc-lease list --status failed --json | wc -l)" -eq 5 ]
		# The same by hand: four released, and what is wrong with one.
		use "$kind"
		pc-lease env add box -c '{"cleanup":["sh","end-sandbox"]}' \
		    >/dev/null
		for n in 1 2 3 4 5; do
			pc-lease acquire box --run R --provider-lease $n \
			    >/dev/null
		done
		run -111 --separate-stderr pc-lease --json release --run R
		[ "$(field 'released|length') $(field 'errors|length')" = "4 1" ]
		[ "$(field 'errors[0].leaseId')" = "$(pc-lease list --json \
		    --status pending_cleanup | jq -r .id)" ]
	done
}

@test "pc-lease: a clean-up that hangs is killed in time; one of a dead host begins again" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box -c '{"cleanup":["sleep","100"],
		    "cleanupTimeout":"100ms"}' >/dev/null
		pc-lease acquire box --run R >/dev/null
		run -111 pc-lease release --run R
		[[ $output == *"clean-up command timed out"* ]]
		sql "UPDATE pc_leases SET cleanup = 'pending', expires = 1"
		pc-lease env set box -c '{"cleanup":"test $PC_LEASE_RUN = R"}' \
		    >/dev/null
		run -0 --separate-stderr pc-lease --json sweep
		[ "$(field 'ended|length')" = 1 ]
		[ "$(pc-lease list --json | jq -r .cleanupStatus)" = success ]
	done
}

@test "pc-lease: what cannot be logged does not keep a lease from being released" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		run -0 --separate-stderr pc-lease --json acquire --run R
		id=$(field id)
		if [ "$kind" = sqlite ]; then
			sql "CREATE TRIGGER no BEFORE INSERT ON pc_activities
			    BEGIN SELECT RAISE(FAIL, 'no room'); END"
		else
			sql "CREATE FUNCTION no() RETURNS trigger LANGUAGE
			    plpgsql AS \$\$BEGIN RAISE 'no room'; END\$\$;
			    CREATE TRIGGER no BEFORE INSERT ON pc_activities
			    FOR EACH ROW EXECUTE FUNCTION no()"
		fi
		run -111 pc-lease acquire
		[ "$(pc-lease list --json | wc -l)" -eq 1 ]
		run -0 --separate-stderr pc-lease --json release --run R
		[[ $stderr == *"not logged: "*"no room"* ]]
		[ "$(field 'released[0]')" = "$id" ]
		[ "$(pc-lease show "$id" --json | jq -r .status)" = released ]
	done
}

# --- pc-lease run -----------------------------------------------------------

@test "pc-lease run: COMMAND's status, its environment, and how the lease ends" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		run -0 pc-lease run -- sh -c 'pc-lease show --json $PC_LEASE_ID'
		[ "$(field status)" = active ]
		run -7 pc-lease run -- sh -c 'exit 7'
		run -143 pc-lease run -- sh -c 'kill $$'
		run -127 pc-lease run -- ./none
		run -100 pc-lease run
		pc-lease list --json | jq -r '.status+" "+(.failureReason//"")' \
		    >states
		diff - states <<-END
			released 
			failed exit code 7
			failed signal 15
			failed exit code 127
		END
		pc-lease env add box -c "$(config r -)" >/dev/null
		run -75 pc-lease run box -- pc-lease run box --busy-status 75 \
		    -- true
		run -1 pc-lease run box -- pc-lease run box -- true
		run -75 --separate-stderr pc-lease run box -- \
		    pc-lease --json run box --busy-status 75 -- true
		[ "$(jq -r .code <<<"$stderr")" = environment_busy ]
		pc-lease env add keep -c "$(config f ok)" >/dev/null
		run -3 pc-lease run keep -- sh -c 'exit 3'
		[ "$(pc-lease list --env keep --json | jq -r .status)" = \
		    retained ]
	done
}

@test "pc-lease run: it is renewed; TERM goes to COMMAND; who is killed takes it along" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box -c "$(config r -)" >/dev/null
		run -0 pc-lease run box --expiry 1s -- sh -c 'sleep 1.5
		    pc-lease renew $PC_LEASE_ID --epoch $PC_LEASE_EPOCH'
		rm -f begun ended
		pc-lease run box -- sh -c 'trap "echo >ended; exit 5" TERM
		    echo >begun; while :; do sleep 0.05; done' 3>&- &
		pids+=($!)
		wait_until test -e begun
		kill "${pids[-1]}"
		ended "${pids[-1]}" 5
		[ -e ended ]
		rm -f begun
		pc-lease run box --expiry 1s -- sh -c 'echo $$ >begun.new
		    mv begun.new begun; exec sleep 100' 3>&- &
		pids+=($!)
		wait_until test -e begun
		kill -KILL "${pids[-1]}"
		ended "${pids[-1]}" 137
		wait_until run ! kill -0 "$(<begun)"
		pc-lease acquire box -t 10s >/dev/null
	done
}

@test "pc-lease run: COMMAND and its children are ended when the lease is lost" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box -c "$(config r -)" >/dev/null
		rm -f begun
		pc-lease run box --heartbeat 50ms --grace 200ms -- sh -c '
		    trap "" TERM; sleep 100 & echo $$ $! >begun.new
		    mv begun.new begun; wait; wait' 3>&- 2>said &
		pids+=($!)
		wait_until test -e begun
		sql "UPDATE pc_leases SET run = 'other', token = token + 1"
		ended "${pids[-1]}" 111
		grep -q 'lease lost: .*another has had it since' said
		for pid in $(<begun); do
			wait_until run ! kill -0 "$pid"
		done
		[ "$(pc-lease list --json | jq -r .runId)" = other ]
		[ "$(pc-lease list --json | jq -r .status)" = active ]
	done
}

@test "pc-lease run: a store that is away until the deadline has lost it" {
	use sqlite
	pc-lease env add box -c "$(config r -)" >/dev/null
	rm -f begun
	pc-lease run box --expiry 2s -- sh -c 'echo >begun; exec sleep 100' \
	    3>&- 2>said &
	pids+=($!)
	wait_until test -e begun
	runner=${pids[-1]}
	begun=$(date +%s%N)
	lock_file
	wait_until grep -q 'lease lost: it could not be renewed in time' said
	[ $(($(date +%s%N) - begun)) -lt 2000000000 ]
	# It can be given back when the file is free again.
	kill "${pids[-1]}"
	ended "$runner" 111
	[ "$(pc-lease list --json | jq -r .failureReason)" = "lease lost" ]
}

# --- hostile words, and companies -------------------------------------------

@test "pc-lease: injection in every field is text, or refused" {
	evil=$'\'; DROP TABLE pc_leases; -- " $1 \\ %s %n \u00e9'
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add "$evil" -c "$(jq -nc --arg e "$evil" \
		    '{remoteCwd:$e,provider:$e}')" -- "$evil" >/dev/null &&
		    return 1
		pc-lease env add "$evil" -c "$(jq -nc --arg e "$evil" \
		    '{remoteCwd:$e,provider:$e,channel:{argv:[$e]}}')" \
		    >/dev/null
		run -0 --separate-stderr pc-lease --json --company default \
		    --actor "$evil" acquire "$evil" --workspace "$evil" \
		    --issue "$evil" --run "$evil" --provider "$evil" \
		    --provider-lease "$evil" \
		    --metadata "$(jq -nc --arg e "$evil" '{($e):$e}')"
		for f in environment executionWorkspaceId issueId runId \
		    provider providerLeaseId 'metadata|keys[0]' \
		    'metadata|.[]'; do
			[ "$(field "$f")" = "$evil" ]
		done
		[ "$(pc-lease --json list --env "$evil" --run "$evil" |
		    wc -l)" -eq 1 ]
		pc-lease release --run "$evil" --status failed \
		    --reason "$evil" >/dev/null
		[ "$(pc-lease --json list | jq -r .failureReason)" = "$evil" ]
		pc-lease --json log | jq -rs '.[-1].runId' >got
		[ "$(<got)" = "$evil" ]
		# In the tables nothing gets to the terminal.
		pc-lease list | LC_ALL=C grep -q '[^ -~]' && return 1
		for f in "' OR 1=1 --" "$evil" '%' '*' ''; do
			run -100 --separate-stderr pc-lease --json show "$f"
			run -0 pc-lease --json release --run "x$f"
			[ "$(field 'released|length')" = 0 ]
			run -100 pc-lease --json --company "x$f" show "$f"
			[ -z "$(pc-lease --json --company "x$f" list)" ]
		done
		for f in $'a\nb' $'a\x1b[2J' $'\xff' $'\xc0\xaf' \
		    "$(printf '%600s' x)"; do
			run -100 pc-lease env add "$f"
			run -100 pc-lease acquire "$evil" --run "$f"
			run -100 pc-lease acquire "$evil" --workspace "$f"
			run -100 pc-lease acquire "$evil" --issue "$f"
			run -100 pc-lease acquire "$evil" --provider-lease "$f"
			run -100 pc-lease --actor "$f" acquire "$evil"
			run -100 pc-lease --company "$f" acquire
			run -100 pc-lease show "$f"
		done
		[ "$(pc-lease --json list | wc -l)" -eq 1 ]
		[ "$(pc-lease --json env list | wc -l)" -eq 1 ]
	done
}

@test "pc-lease: a company never sees, or changes, what is another's" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease --company a env add box >/dev/null
		pc-lease --company b env add box -c "$(config r -)" >/dev/null
		run -0 --separate-stderr pc-lease --json --company a acquire \
		    box --run R
		id=$(field id) epoch=$(field epoch) env=$(field environmentId)
		# What is there and what is not: the same words.
		run -100 --separate-stderr pc-lease --json --company b \
		    acquire "$env"
		there=${stderr//$env/ID}
		run -100 --separate-stderr pc-lease --json --company b \
		    acquire 01a1fd40-a5a1-7135-9d68-02d76575d6a4
		[ "$there" = \
		    "${stderr//01a1fd40-a5a1-7135-9d68-02d76575d6a4/ID}" ]
		for what in "show $id" "renew $id --epoch $epoch" \
		    "release $id" "env show $env" "env set $env --name c" \
		    "env archive $env"; do
			# shellcheck disable=SC2086
			run -100 pc-lease --company b $what
			[[ $output == *"not found"* ]]
		done
		run -0 pc-lease --json --company b release --run R
		[ "$(field 'released|length')" = 0 ]
		for what in list log "env list"; do
			# shellcheck disable=SC2086
			run -0 pc-lease --json --company b $what
			[[ $output != *'"company":"a"'* ]]
			[[ $output != *"$id"* ]]
		done
		[ -z "$(pc-lease --json --company b list --env "$env")" ]
		lapse
		run -0 --separate-stderr pc-lease --json --company b sweep
		[ "$(field 'ended|length')" = 0 ]
		run -0 --separate-stderr pc-lease --json --company b sweep \
		    --all-companies
		[ "$(field 'ended|length')" = 1 ]
	done
}

# --- stores that fail -------------------------------------------------------

# fails_later COMMAND... - with 111, one line, and no password
fails_later() {
	local before=${1:-}
	run -111 --separate-stderr timeout 20 pc-lease --json "$@"
	echo "$before: $stderr"
	[ -z "$output" ]
	[ "$(code)" = store_unavailable ]
	[[ $stderr != *secret* ]]
}

@test "pc-lease: a file that is locked: 111, and nothing done" {
	use sqlite
	pc-lease env add box >/dev/null
	lock_file
	fails_later --store-wait 100ms acquire box
	[[ $stderr == *"locked by another program"* ]]
	# Who only reads is not in the way.
	[ "$(pc-lease env list --json | wc -l)" -eq 1 ]
	kill "${pids[-1]}"
	wait "${pids[-1]}" || :
	pc-lease acquire box >/dev/null
	[ "$(pc-lease list --json | wc -l)" -eq 1 ]
}

@test "pc-lease: a disk that is full, or read-only: 111, nothing half done" {
	mkdir small
	mount_tmpfs -o size=512k small
	DATABASE=$PWD/small/s.db KIND=sqlite
	export PC_STORE=$DATABASE
	pc-lease env add box >/dev/null
	pc-lease acquire box --run R >/dev/null
	cat /dev/zero >small/fill 2>/dev/null || :
	big=$(printf '{"a":"%60000s"}' x)
	fails_later acquire box --metadata "$big"
	[[ $stderr == *"No space left"* ]]
	rm small/fill
	pc-lease list --json >leases
	pc-lease log --json >log
	pc-lease release --run R >/dev/null
	mount -o remount,ro small
	fails_later acquire box
	[ "$(wc -l <leases)" -eq 1 ]
	[ "$(wc -l <log)" -eq 2 ]
}

@test "pc-lease: what is no store, or a newer one, is refused; an older brought forward" {
	echo "not a database, but long enough to be looked at" >text
	run -100 pc-lease --store text list
	[ "$(<text)" = "not a database, but long enough to be looked at" ]
	run -100 pc-lease --store . list
	run -100 pc-lease --store mysql://db/x list
	run -111 pc-lease --store none/s.db list
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease acquire --run R >/dev/null
		for index in place run left; do
			sql "DROP INDEX pc_leases_$index"
		done
		sql "DROP INDEX pc_activities_company"
		sql "UPDATE pc_schema SET version = 1"
		[ "$(pc-lease list --json | wc -l)" -eq 1 ]
		[ "$(sql "SELECT version FROM pc_schema")" = 2 ]
		sql "DROP INDEX pc_leases_run"
		sql "UPDATE pc_schema SET version = 3"
		run -100 --separate-stderr pc-lease --json list
		[ "$(code)" = store_too_new ]
	done
	[ "$(stat -c %a "${PC_STORE_FILE:-$PWD/store1.db}")" = 600 ]
}

@test "pc-lease: made on first use by many at once" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		started=()
		for i in 1 2 3 4 5 6 7 8; do
			pc-lease acquire --json 3>&- >"got$i" &
			started+=($!)
		done
		for i in "${started[@]}"; do
			wait "$i"
		done
		[ "$(jq -r .environmentId got? | sort -u | wc -l)" -eq 1 ]
		[ "$(jq -r .epoch got? | sort -u | wc -l)" -eq 8 ]
	done
}

@test "pc-lease: the default store; a password is never printed" {
	unset PC_STORE
	export XDG_STATE_HOME=$PWD/state
	pc-lease acquire >/dev/null
	[ -f state/pc-tools/lease.db ]
	for url in postgresql://u:secret@127.0.0.1:1/d \
	    'postgresql://u@127.0.0.1:1/d?password=secret' \
	    'postgresql://u@127.0.0.1:1/d?%70assword=secret' \
	    'postgresql://u:sec@ret/secret@127.0.0.1:1/d' \
	    'postgresql://u:sec?secret@127.0.0.1:1/d' \
	    'postgresql://u:secret@127.0.0.1:port/d'; do
		run --separate-stderr pc-lease --store "$url" list
		echo "$stderr"
		[ "$status" -eq 111 ] || [ "$status" -eq 100 ]
		[[ $stderr != *ret* ]]
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
	done
}

# --- a server that fails ----------------------------------------------------

# cut - every connection of pc-lease's to this database
cut_off() {
	query postgres "SELECT count(pg_terminate_backend(pid)) FROM
	    pg_stat_activity WHERE datname = '$DATABASE' AND
	    application_name = 'pc-lease'"
}

waits_in() {
	[ "$(query postgres "SELECT count(*) FROM pg_stat_activity WHERE
	    datname = '$DATABASE' AND application_name = 'pc-lease' AND
	    wait_event_type = '$1'")" -eq 1 ]
}

@test "pc-lease: a connection cut in mid-transaction: 111, and nothing done" {
	use postgresql
	pc-lease env add box >/dev/null
	mkfifo hold
	"$SERVER_BIN/psql" -h "$SERVER_HOME" -U lease -d "$DATABASE" -Xq \
	    <hold >/dev/null 3>&- &
	pids+=($!)
	exec 7>hold
	echo 'BEGIN; UPDATE pc_environments SET token = token;' >&7
	is_held() {
		[ "$(query postgres "SELECT count(*) FROM pg_stat_activity
		    WHERE datname = '$DATABASE' AND
		    state = 'idle in transaction'")" -eq 1 ]
	}
	wait_until is_held
	pc-lease acquire box 2>said 3>&- 7>&- &
	pids+=($!)
	wait_until waits_in Lock
	cut_off
	ended "${pids[-1]}" 111
	[ "$(wc -l <said)" -eq 1 ]
	# One that does not answer is not waited for.
	fails_later --store-wait 300ms acquire box
	[[ $stderr == *"no answer in time"* ]]
	exec 7>&-
	ended "${pids[0]}"
	[ -z "$(pc-lease list --json)" ]
	[ "$(pc-lease log --json | wc -l)" -eq 1 ]
}

@test "pc-lease: a connection cut while it commits: 2, for it may be done" {
	use postgresql
	pc-lease env add box >/dev/null
	sql "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
	    \$\$BEGIN PERFORM pg_sleep(60); RETURN NULL; END\$\$;
	    CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON pc_leases
	    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	    EXECUTE FUNCTION slow()"
	pc-lease --json acquire box 2>said 3>&- &
	pids+=($!)
	wait_until waits_in Timeout
	cut_off
	ended "${pids[-1]}" 2
	[ "$(jq -r .code said)" = store_outcome_unknown ]
}

@test "pc-lease: a connection lost between two steps is made anew, once" {
	use postgresql
	pc-lease env add box >/dev/null
	mkfifo in out
	pc-lease batch <in >out 3>&- &
	pids+=($!)
	exec 7>in 8<out
	for i in 1 2 3; do
		echo "acquire box --run R$i" >&7
		read -r answer <&8
		[ "$(jq .status <<<"$answer")" -eq 0 ]
		cut_off
	done
	(cd "$SERVER_HOME" && stop_server)
	echo "acquire box" >&7
	read -r answer <&8
	[ "$(jq -r '"\(.status) \(.code)"' <<<"$answer")" = \
	    "111 store_unavailable" ]
	fails_later list
	(cd "$SERVER_HOME" && start_server)
	echo "acquire box --run R4" >&7
	read -r answer <&8
	[ "$(jq .status <<<"$answer")" -eq 0 ]
	exec 7>&- 8<&-
	ended "${pids[-1]}"
	[ "$(pc-lease list --json | wc -l)" -eq 4 ]
}

@test "pc-lease run: a server that is started again in time is not noticed" {
	use postgresql
	rm -f begun go
	mkfifo go
	pc-lease run --heartbeat 100ms -- sh -c 'echo >begun; read -r x <go' \
	    2>said 3>&- &
	pids+=($!)
	wait_until test -e begun
	(cd "$SERVER_HOME" && stop_server)
	wait_until grep -q 'cannot renew, trying again' said
	(cd "$SERVER_HOME" && start_server)
	echo >go
	ended "${pids[-1]}"
	[ "$(pc-lease list --json | jq -r .status)" = released ]
}

@test "pc-lease run: a server that hangs: COMMAND is ended before the deadline" {
	use postgresql
	rm -f begun
	pc-lease run --expiry 4s -- sh -c 'echo >begun; exec sleep 100' \
	    2>said 3>&- &
	pids+=($!)
	wait_until test -e begun
	backend=$(query postgres "SELECT pid FROM pg_stat_activity WHERE
	    datname = '$DATABASE'")
	begun=$(date +%s%N)
	# The one that answers, and the one that would start another.
	kill -STOP "$backend" "$(<"$SERVER_HOME/pid")"
	wait_until grep -q 'lease lost: it could not be renewed' said || :
	took=$((($(date +%s%N) - begun) / 1000000))
	kill -CONT "$backend" "$(<"$SERVER_HOME/pid")"
	cat said
	ended "${pids[-1]}" 111
	echo "$took ms"
	[ "$took" -lt 4000 ]
}

# --- many -------------------------------------------------------------------

@test "pc-lease: 32 processes on one environment, killed at random: never two" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		run timeout 600 python3 "$BATS_TEST_DIRNAME/lease_holders.py" \
		    --acquisitions "${LEASE_ACQUISITIONS:-300}"
		echo "$output"
		[ "$status" -eq 0 ]
	done
}

@test "pc-lease: the log is followed without a gap, while many write" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box >/dev/null
		pc-lease log -f --json >followed 3>&- &
		pids+=($!)
		started=()
		for i in 1 2 3 4; do
			for n in $(seq 50); do
				echo "acquire box --run $i.$n"
				echo "release --run $i.$n"
			done | pc-lease batch >/dev/null 3>&- &
			started+=($!)
		done
		for i in "${started[@]}"; do
			wait "$i"
		done
		all() { [ "$(wc -l <followed)" -eq 401 ]; }
		wait_until all
		pc-lease log --json | diff - followed
		jq .number followed | sort -nu | diff - <(jq .number followed)
		[ "$(pc-lease log --json -n 3 | wc -l)" -eq 3 ]
		sql "UPDATE pc_activities SET at = 1 WHERE number <=
		    (SELECT MAX(number) FROM pc_activities) - 2"
		[ "$(pc-lease log --json --since 1h | wc -l)" -eq 2 ]
	done
}

@test "pc-lease sweep: what is kept for long is not in the way of what is due" {
	for kind in "${STORES[@]}"; do
		use "$kind"
		pc-lease env add box -c '{"policy":"retain_on_failure"}' >/dev/null
		pc-lease acquire box --run R >/dev/null
		pc-lease release --run R --status failed >/dev/null
		rest="company, environment, workspace, issue, run, status,
		    outcome, policy, provider, provider_lease, fingerprint,
		    token, acquired, used, expires, released, failure, cleanup,
		    metadata"
		# More than are looked at together, and all of them before it.
		sql "INSERT INTO pc_leases (id, $rest)
		    WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL
		    SELECT n + 1 FROM count WHERE n < 4100)
		    SELECT '00' || n, $rest FROM pc_leases, count"
		pc-lease acquire box --run S >/dev/null
		lapse
		pc-lease sweep >/dev/null
		[ "$(sql "SELECT status, COUNT(*) FROM pc_leases
		    GROUP BY status ORDER BY status")" = \
		    $'expired|1\nretained|4101' ]
	done
}

@test "pc-lease batch: a line each, answered each, whatever is in it" {
	use sqlite
	run -0 --separate-stderr pc-lease batch <<-'END'
		env add box
		["acquire", "box", "--run", "a b"]
		["acquire", "\u0000"]
		["acquire", 1]
		[
		nonsense
		run box -- true
		batch
		log -f
		acquire box --no-such
		acquire box --timeout
		acquire a b c
		acquire box --expiry 0
		acquire box --expiry 999ms
		log -n 0
		env add never -c {"cleanupTimeout":0}

		renew nil --epoch 1
		["release", "--run", "a b"]
		--json list
	END
	[ -z "$stderr" ]
	jq -r '"\(.status) \(.code // "-")"' <<<"$output" >got
	diff - got <<-END
		0 -
		0 -
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 usage
		100 invalid_input
		100 usage
		100 lease_not_found
		0 -
		100 usage
	END
	printf 'env list' | pc-lease batch | jq -e '.results[0].name == "box"'
	yes x | head -c 300000 | tr '\n' x | pc-lease batch | jq -e \
	    '.status == 100'
	printf 'log -Xf' | pc-lease batch | jq -e \
	    '.message == "-X: unknown option"'
}
