#!/usr/bin/env bats
# A run, end to end, over real channels; what must hold on every one of them
# is one function, called for each.
load helper
load channels

setup_file() {
	cd "$BATS_FILE_TMPDIR"
	start_sshd "$BATS_FILE_TMPDIR/ssh"
	echo "pc-run-$$" >box
	start_box "pc-run-$$"
}

teardown_file() {
	stop_sshd "$BATS_FILE_TMPDIR/ssh"
	stop_box "$(cat "$BATS_FILE_TMPDIR/box")"
}

# What a test starts with: an API, a workspace W with a busybox in it that
# needs nothing, and a channel.
prepare() {
	start_api
	pc-allow --print-rules >rules
	mkdir W state
	cp /bin/busybox W/busybox
	echo one >W/a
	echo two >W/b
	echo three >W/c
	use_channel "$1"
	put_config "${2:-}"
}

# The agent: the script of its arguments, by the workspace's own shell.
agent() {
	# shellcheck disable=SC2016
	run_status=0
	timeout "${limit:-100}" pc-run -c run.json --events events -- \
	    "$remote/busybox" sh -c "
		PATH=
		bb() { \"\$PC_WORKSPACE\"/busybox \"\$@\"; }
		get() { bb wget -q -O - --header \"Authorization: Bearer \$PAPERCLIP_API_KEY\" \"\$PAPERCLIP_API_URL\$1\"; }
		post() { bb wget -q -O - --header \"Authorization: Bearer \$PAPERCLIP_API_KEY\" --header 'Content-Type: application/json' --post-data \"\$2\" \"\$PAPERCLIP_API_URL\$1\"; }
		$1" >out 2>err 3>&- || run_status=$?
	cat out err
}

# event STEP WHAT - those events; there must be one
event() {
	jq -c "select(.step == \"$1\" and .event == \"$2\")" events | grep .
}

# Nothing is left in the sandbox but the workspace and its runtime folder, and
# no process.
nothing_left() {
	if [ "$1" = podman ]; then
		[ -z "$(inside /pc-tools pc-file list /dev/shm)" ]
		[ "$(inside "$remote/busybox" ps -o args | grep -c 'pc-tools pc-[ds]')" -eq 0 ]
		return
	fi
	[ -z "$(find /dev/shm -maxdepth 1 -name 'pc-run-*' -newer run.json)" ]
	[ ! -e "$remote/.paperclip-runtime/pc-run/exec" ]
	! pgrep -f -- "-C $remote/.paperclip-runtime/pc-run/exec"
	! pgrep -f -- "$remote/busybox sh"
}

# --- the whole of it, on each channel -----------------------------------------

whole_run() {
	local n
	mkdir assets
	echo skill >assets/skill.md
	ln -s skill.md assets/link
	prepare "$1" '"assets":[{"key":"skills","local":"'"$PWD"'/assets","followLinks":true}],
	"provision":{"command":["'"$PWD"'/none"]},"agent":{"env":{"COLOUR":"größer blue"}}'
	# As an array: there is no shell but the one that was brought.
	jq --arg bb "$remote/busybox" '.provision.command = [$bb, "sh", "-c", "echo provisioned >p; >&2 echo noise"]' \
	    run.json >r && mv r run.json
	n=${files:-300}
	python3 - "$n" <<-'PY'
	import os, sys
	for i in range(int(sys.argv[1])):
	    d = f"W/dir{i // 100}"
	    os.makedirs(d, exist_ok=True)
	    with open(f"{d}/file {i}\u00e9", "w") as f:
	        f.write(f"{i}\n" * 50)
	PY
	: >go
	{
		wait_until grep -q '"event":"started"' events
		echo changed by the host >W/b
		echo also >W/new-on-host
		api POST /api/issues/issue-1/comments -d '{"body":"go"}' >/dev/null
	} 3>&- &
	host=$!
	agent '
		echo "$COLOUR"
		bb cat "$PC_ASSET_SKILLS/link" p
		bb test -L "$PC_ASSET_SKILLS/link" || echo followed
		until get /api/issues/issue-1/comments | bb grep -q go; do :; done
		for p in 1 2 3 4 5 6 7 8; do
			(
				for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
					get /api/agents/me | bb grep -q Ada && echo got
					post /api/issues/issue-1/comments "{\"body\":\"$p.$i\"}" >/dev/null && echo posted
				done
			) >done.$p &
		done
		wait
		bb cat done.* | bb sort | bb uniq -c
		bb rm done.*
		bb rm a
		echo of the agent >b
		echo new >dir0/new
		bb chmod 755 c
		get /api/companies/x/secrets 2>&1 | bb head -n 1
		exit 7'
	wait "$host"
	[ "$run_status" -eq 7 ]
	grep -qx 'größer blue' out
	grep -qx skill out
	grep -qx provisioned out
	grep -qx followed out
	grep -qE '^ *96 got$' out
	grep -qE '^ *96 posted$' out
	grep -q '403' out
	# Each post was carried out once.
	[ "$(api GET /api/issues/issue-1/comments | jq '[.. | .body? // empty] | unique | length')" -eq 97 ]
	[ "$(api GET /api/issues/issue-1/comments | jq '[.. | .body? // empty] | length')" -eq 97 ]
	[ ! -e W/a ]
	[ "$(cat W/b)" = "of the agent" ]
	[ "$(cat W/new-on-host)" = also ]
	[ "$(cat W/dir0/new)" = new ]
	[ -x W/c ]
	[ "$(cat "W/dir0/file 7é" | head -n 1)" = 7 ]
	grep -q '1 conflict' err
	[ "$(cat W/.paperclip-runtime/conflicts/*/b)" = "changed by the host" ]
	event sync-back conflict
	nothing_left "$1"
	cat execs
}

@test "pc-run: a whole run over ssh" {
	whole_run ssh
	# probe, put, relay, two trees in, provision, agent, back, clean
	[ "$(wc -l <execs)" -eq 9 ]
}

@test "pc-run: a whole run into a container with nothing in it" {
	whole_run podman
	[ "$(wc -l <execs)" -eq 8 ]
}

@test "pc-run: a whole run in bwrap without network" {
	whole_run bwrap
	# its tmpfs is not shared by the execs: the relay starts again
	[ "$(wc -l <execs)" -eq 10 ]
}

@test "pc-run: a whole run over a channel that returns everything at the end" {
	whole_run batch
}

# --- how often the channel is used ---------------------------------------------

@test "pc-run: 3 execs to start, 1 for the relay, 2 to finish" {
	prepare ssh
	agent 'get /api/agents/me >/dev/null'
	[ "$run_status" -eq 0 ]
	: >execs
	rm events
	agent 'for i in 1 2 3 4 5 6 7 8 9 10; do get /api/agents/me >/dev/null; done'
	[ "$run_status" -eq 0 ]
	cat execs
	[ "$(wc -l <execs)" -eq 6 ]
	[ "$(event sync-in tree | jq .full)" = false ]
	[ "$(event run end | jq .requests)" -eq 10 ]
}
