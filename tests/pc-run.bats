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
	local queue
	queue=$(jq -r 'select(.event == "queue").queue' events | head -n 1)
	[ -n "$queue" ]
	if [ "$1" = podman ]; then
		[ -z "$(inside /pc-tools pc-file list /dev/shm)" ]
		[ "$(inside "$remote/busybox" ps -o args | grep -c 'pc-tools pc-[ds]')" -eq 0 ]
		return
	fi
	[ ! -e "$queue" ]
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

# --- on a channel that is no sandbox, for all that does not hang on it ---------

# here [MEMBERS] - a configuration whose channel is this machine
here() {
	mkdir -p state
	cat >run.json <<-JSON
	{"channel":{"argv":["env"]},"state":"$PWD/state",
	"tools":{"local":"$STATIC"},
	"workspace":{"remote":"$PWD/there"}${1:+,$1}}
	JSON
}

run_here() {
	run --separate-stderr timeout 60 pc-run -c run.json --events events -- "$@"
	echo "$output" "$stderr"
}

@test "pc-run: the agent's output and exit status are its own" {
	here
	run_here sh -c 'echo out; echo err >&2; exit 42'
	[ "$status" -eq 42 ]
	[ "$output" = out ]
	[ "$stderr" = err ]
	run_here sh -c 'kill -KILL $$'
	[ "$status" -eq 137 ]
	[ "$stderr" = "pc-run: agent: ended by signal 9" ]
	run --separate-stderr -127 pc-run -c run.json -- no-such-program
	[[ $stderr == "pc-run: agent: no-such-program: not found" ]]
	run_here sh -c 'printf "\377\0\n"; head -c 300000 /dev/zero'
	[ "$status" -eq 0 ]
	timeout 20 pc-run -c run.json -- sh -c 'printf "\377\0g\303"; sleep 0.05; printf "\266"' |
	    cmp - <(printf '\377\0g\303\266')
}

@test "pc-run: configuration, wrong in each way, names the key" {
	while IFS=$'\t' read -r text message; do
		echo "$text" >bad.json
		run --separate-stderr -100 pc-run -c bad.json --channel env -- true
		echo "$text: $stderr"
		[ "$stderr" = "pc-run: bad.json: $message" ]
		[ -z "$output" ]
	done <<-'ROWS'
	{"chanel":{}}	chanel: unknown key
	{"channel":{"argv":"ssh"}}	channel.argv: not an array of strings
	{"channel":{"argv":[1]}}	channel.argv: not a string
	{"channel":{"stream":1}}	channel.stream: neither true nor false
	{"channel":{"stream":true,"stream":true}}	channel.stream: given twice
	{"workspace":{"remote":"x"}}	workspace.remote: not an absolute path
	{"workspace":{"remote":"/x/../y"}}	workspace.remote: not an absolute path
	{"workspace":{"conflict":"both"}}	workspace.conflict: not source, target or fail
	{"workspace":[]}	workspace: not an object
	{"assets":[{"key":"a/b","local":"x"}]}	a/b: not a name for an asset
	{"assets":[{"key":"..","local":"x"}]}	..: not a name for an asset
	{"assets":[{"key":"","local":"x"}]}	not a name for an asset
	{"assets":[{"key":"a\\b","local":"x"}]}	a\x5cb: not a name for an asset
	{"assets":[{"key":"exec","local":"x"}]}	exec: an asset's key that is the runtime's
	{"assets":[{"key":"a","local":"x"},{"key":"a","local":"y"}]}	a: two assets of this key
	{"agent":{"env":{"A":1}}}	agent.env: a value that is not a string
	{"agent":{"env":{"A=B":"1"}}}	agent.env: a name that is empty, or has = or NUL in it
	{"agent":{"timeout":"ten"}}	agent.timeout: not a duration like "10s"
	{"agent":{"timeout":5}}	agent.timeout: not a duration like "10s"
	{"limits":{"body":"1X"}}	limits.body: not a size like "64K"
	{"limits":{"inFlight":0}}	limits: out of range
	{"tools":{"remote":"/a b"}}	tools.remote: not an absolute path of letters, digits and _./:@%+,-
	{"install":{"command":[]}}	install.command: empty
	{"channel":{"outputMax":"4K"}}	channel.outputMax: less than 256K
	{"agent":{"cwd":"a\u0000b"}}	agent.cwd: a NUL in it
	{"x"	not JSON
	[]	not an object
	ROWS
	run --separate-stderr -100 pc-run -- true
	[ "$stderr" = "pc-run: channel.argv: missing" ]
	run --separate-stderr -100 pc-run --channel -- true
	[ "$stderr" = "pc-run: usage: --channel needs a command" ]
	run --separate-stderr -100 pc-run --channel env
	[[ $stderr == "pc-run: usage: no command"* ]]
	run --separate-stderr -100 pc-run -c none.json -- true
	[ "$stderr" = "pc-run: none.json: No such file or directory" ]
}

@test "pc-run: what the relay's programs cannot do with is said, exit 100" {
	here
	while IFS=$'\t' read -r token options message; do
		read -r -a words <<<"$options"
		run --separate-stderr -100 env "$token" pc-run -c run.json \
		    "${words[@]}" -- sleep 60
		echo "$options: $stderr"
		[ "$stderr" = "pc-run: relay: $message" ]
		[ -z "$output" ]
	done <<-'ROWS'
	PC_API_TOKEN=x	-u http:/x	pc-forward: -u: not http://, https:// or unix:
	PC_API_TOKEN=x	-u http://127.0.0.1:1 --rules none	pc-allow: none: No such file or directory
	PC_API_TOKEN=	-u http://127.0.0.1:1	pc-forward: PC_API_TOKEN: no token: set it, or give --token-file FILE
	PC_API_TOKEN=x	-u http://127.0.0.1:1 --token-file none	pc-forward: none: No such file or directory
	ROWS
}

@test "pc-run: a channel may end with -- itself" {
	run -0 pc-run --identity --channel kubectl exec -i pod -- -- true
	[ "$(jq -r .sandboxId <<<"$output")" = "kubectl exec -i pod --" ]
	run -0 pc-run --identity --channel ssh box -- true -- --
	[ "$(jq -r .sandboxId <<<"$output")" = "ssh box" ]
}

@test "pc-run: an identity names what differs" {
	here
	export XDG_STATE_HOME=$PWD
	for change in '.channel.transport="x" transport' \
	    '.channel.provider="x" provider' '.channel.sandboxId="x" sandboxId' \
	    '.workspace.remote="/x" remoteCwd' '.api.url="http://x" apiUrl'; do
		pc-run --identity -c run.json >session
		run -0 pc-run --resume session -c run.json
		jq "${change% *}" run.json >other.json
		run --separate-stderr -1 pc-run --resume session -c other.json
		[ "$stderr" = "pc-run: ${change##* }: differs from the saved session's" ]
	done
	echo '{"transport":1}' >session
	run --separate-stderr -100 pc-run --resume session -c run.json
}

@test "pc-run: provision: what failed, in the words of the contract" {
	while IFS=$'\t' read -r command message; do
		here "\"provision\":{\"command\":$command,\"timeout\":\"300ms\"}"
		run_here true
		echo "$command: $stderr"
		[ "$status" -ne 0 ]
		[ "$stderr" = "pc-run: $message" ]
	done <<-'ROWS'
	"exit 3"	provision: exit code 3
	"echo a >&2; echo b >&2; exit 4"	provision: exit code 4: a
	"echo; echo from stdout; exit 5"	provision: exit code 5: from stdout
	["sh","-c","kill -9 $$"]	provision: exit code 137 (signal 9)
	"sleep 60"	provision command timed out
	["none"]	provision: exit code 127: none: not found
	ROWS
	here '"provision":{"command":"echo good >p"}'
	run_here cat p
	[ "$output" = good ]
}

@test "pc-run: a line with two texts, from a sandbox that lies, is two texts" {
	long=$(head -c 4000 /dev/zero | tr '\0' b)
	cat >liar <<-SH
	#!/bin/bash
	set -o pipefail
	"\$@" | sed -u '/^{"stderr"/s/.*/{"stdout":"","stderr":"said","error":"$long"}/'
	SH
	chmod +x liar
	here '"provision":{"command":"echo a >&2; exit 4"}'
	jq --arg liar "$PWD/liar" '.channel.argv = [$liar]' run.json >r && mv r run.json
	run_here true
	[ "$stderr" = "pc-run: provision: exit code 4: said" ]
}

@test "pc-run: install: needless when it is there; a failure is a warning" {
	here '"install":{"command":"echo ran >installed","detect":"sh"}'
	run_here true
	[ "$status" -eq 0 ]
	[ ! -e installed ]
	[ "$(event install ended | jq .skipped)" = true ]
	here '"install":{"command":"for i in 1 2 3 4 5; do echo line $i; done; exit 9","detect":"no-such"}'
	run_here echo on
	[ "$status" -eq 0 ]
	[ "$output" = on ]
	[ "$stderr" = "pc-run: install: exit code 9: line 3 / line 4 / line 5" ]
	here '"install":{"command":"head -c 2000 /dev/zero | tr \\\\0 x; exit 1"}'
	run_here true
	[ "${#stderr}" -lt 540 ]
}

@test "pc-run: what a provision starts in the background goes on" {
	here '"provision":{"command":"sleep 300 & echo $! >pid"}'
	run_here sh -c 'kill -0 $(cat pid) && echo there'
	[ "$output" = there ]
	kill "$(cat pid)"
}

@test "pc-run: TERM ends the agent and all it has started, and says so by 143" {
	here
	for deaf in : "trap '' TERM"; do
		rm -f events pids
		pc-run -c run.json --events events -- sh -c "$deaf
			setsid sh -c '$deaf; echo \$\$ >>pids; while :; do sleep 1; done' &
			echo \$\$ >>pids
			while :; do sleep 1; done" 3>&- &
		pid=$!
		wait_until grep -q started events
		wait_until test -e pids
		wait_until sh -c '[ $(wc -l <pids) -eq 2 ]'
		kill "$pid"
		ended "$pid" 143
		for p in $(cat pids); do
			[ ! -e "/proc/$p" ]
		done
	done
}

@test "pc-run: killed; its agent ends, and the next run finishes what it left" {
	mkdir W
	echo one >W/a
	here
	jq '.workspace.local = "W"' run.json >r && mv r run.json
	pc-run -c run.json --events events -- sh -c 'echo of the agent >b; echo $$ >../pid; exec sleep 300' 3>&- &
	pid=$!
	wait_until test -s pid
	run -1 pc-run -c run.json -- true
	[[ $output == *"another pc-run has this sandbox and workspace" ]]
	kill -KILL "$pid"
	ended "$pid" 137
	wait_until sh -c "! [ -e /proc/$(cat pid) ]"
	[ ! -e W/b ]
	run_here true
	[ "$status" -eq 0 ]
	[ "$(cat W/b)" = "of the agent" ]
	[ -z "$(find state -name due -o -name running)" ]
}

@test "pc-run: a sandbox that is another one now: the run goes on, and says so" {
	mkdir W
	echo one >W/a
	here
	jq '.workspace.local = "W"' run.json >r && mv r run.json
	run_here sh -c 'echo two >a'
	[ "$(cat W/a)" = two ]
	rm -rf there
	run_here cat a
	[ "$status" -eq 0 ]
	[ "$output" = two ]
	# Its changes were due, and are gone with it.
	touch "$(dirname "$(find state -name workspace.base)")/workspace.due"
	rm -rf there
	run_here cat a
	[ "$status" -eq 0 ]
	[[ $stderr == "pc-run: an earlier run's changes cannot be brought back: "* ]]
}

@test "pc-run: a sandbox that asks and never reports does not fill the host's memory" {
	mkfifo port
	python3 - 3>&- <<-'END' >port &
		import http.server

		class Handler(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        self.send_response(200)
		        self.send_header("Content-Type", "application/json")
		        self.end_headers()
		        self.wfile.write(b'"' + b"x" * 250000 + b'"')

		    def log_message(self, *words):
		        pass

		server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
		print(server.server_address[1], flush=True)
		server.serve_forever()
	END
	pids+=("$!")
	API=http://127.0.0.1:$(head -n 1 port)
	export PC_API_TOKEN=t
	echo 'GET /api/:x' >rules
	# As a channel: it is the relay, and asks more and more.
	cat >channel <<-'SH'
	#!/bin/bash
	read -r line
	if [[ $line != *'"--respond"'* ]]; then
		{ printf '%s\n' "$line"; exec cat; } | "$@"
		exit
	fi
	for ((i = 0; i < 1500; i++)); do
		printf '{"id":"id-%d","method":"GET","path":"/api/x","query":"","headers":{},"body":"","createdAt":"2026-01-01T00:00:00.000Z"}\n' "$i"
	done
	while sleep 1; do echo; done &
	cat >/dev/null
	kill $!
	SH
	chmod +x channel
	here "\"api\":{\"url\":\"$API\",\"rules\":\"$PWD/rules\"}"
	jq --arg c "$PWD/channel" '.channel.argv = [$c]' run.json >r && mv r run.json
	pc-run -c run.json --events events -- sleep 60 3>&- &
	pid=$!
	pids+=("$pid")
	wait_until grep -q 'too many answers' events
	[[ $(command -v pc-run) == */san/* ]] ||
	    [ "$(awk '/VmHWM/ { print $2 }' "/proc/$pid/status")" -lt 250000 ]
	# What is under way then is answered by us, and not kept either.
	kill -KILL "$(pgrep -x -P "$pid" pc-forward)"
	wait_until grep -q '"restart"' events
	kill "$pid"
	ended "$pid" 143
}

@test "pc-run: no token in any argument, environment, event or file" {
	start_api
	token=$PC_API_TOKEN
	mkdir W
	here "\"api\":{\"url\":\"$API\"}"
	jq '.workspace.local = "W"' run.json >r && mv r run.json
	pc-run -c run.json --events events -- sh -c 'echo "$PAPERCLIP_API_KEY" >../key; echo; exec sleep 300' >out 3>&- &
	pid=$!
	wait_until test -s key
	key=$(cat key)
	[ "${#key}" -eq 32 ]
	bad=
	for p in /proc/[0-9]*; do
		line=$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null) || continue
		case $line in *"$token"* | *"$key"*) bad+="$line;" ;; esac
		case $line in
		*bats*) continue ;;
		*pc-forward* | *pc-run\ -c* | *api.py*) other=$key ;;
		*sleep\ 300*) other=$token ;;
		*) other="$token $key" ;;
		esac
		for secret in $other; do
			! { tr '\0' '\n' <"$p/environ"; } 2>/dev/null | grep -qF "$secret" ||
			    bad+="environ of $line;"
		done
	done
	kill "$pid"
	ended "$pid" 143
	echo "$bad"
	[ -z "$bad" ]
	! grep -rF -e "$token" events out state there W
	run ! grep -rlF -e "$key" events out state there W
}

@test "pc-run: --dry-run executes nothing, and prints lines that a shell takes" {
	mkdir W
	here '"api":{"url":"http://127.0.0.1:1"},"provision":{"command":"echo it'"'"'s"}'
	jq '.workspace.local = "W"' run.json >r && mv r run.json
	run -0 pc-run -c run.json --dry-run -- agent 'a b'
	[ ! -e there ]
	[ -z "$(ls state)" ]
	[ "${#lines[@]}" -ge 8 ]
	while IFS= read -r line; do
		bash -n <<<"$line"
	done <<<"$output"
	[[ $output == *"pc-tarsync\",\"unpack\""* ]]
	# Whatever is in a word: it is one line, and that word to a shell.
	words=("it's" '-u;touch there' $'a\nb\t\\\'' -n '$x')
	pc-run --dry-run --channel printf '<%s>' "${words[@]}" -- agent >lines
	grep -cv '^printf ' lines && return 1
	sed 's, [^ ]*/pc-tools .*,,' lines | tail -n 1 >first
	[ "$(bash first)" = "$(printf '<%s>' "${words[@]}")" ]
	[ ! -e there ]
}

@test "pc-run: a terminal shows its state, a pipe does not" {
	here
	script -qec "pc-run -c run.json -- sleep 0.5" /dev/null </dev/null >shown
	grep -q 'agent  0 requests' shown
	run_here sleep 0.5
	[ -z "$output$stderr" ]
}

@test "pc-run: an exec that hangs is said to have timed out" {
	here '"deadlines":{"exec":"1s"}'
	jq '.channel.argv = ["sh", "-c", "sleep 300", "x"]' run.json >r && mv r run.json
	run_here true
	[ "$status" -eq 111 ]
	[ "$stderr" = "pc-run: probe timed out" ]
	jq '.channel.argv = ["sh", "-c", "echo broken >&2; exit 55", "x"]' run.json >r && mv r run.json
	run_here true
	[ "$status" -eq 111 ]
	[[ $stderr == *"exit code 55: broken"* ]]
	jq '.channel.argv = ["/no/such/channel"]' run.json >r && mv r run.json
	run_here true
	[ "$status" -eq 100 ]
}

# Its output has come to a halt: what it has written does not change.
stopped_writing() {
	local pid one two
	pid=$(pgrep -f -- '-c run.json -- sh -c head' | head -n 1)
	one=$(grep wchar "/proc/$pid/io")
	read -r -t 0.3 <> <(:) || :
	two=$(grep wchar "/proc/$pid/io")
	[ "$one" = "$two" ]
}

@test "pc-run: 50 MB of output through a slow reader, in bounded memory" {
	here
	pc-run -c run.json -- sh -c 'head -c 50000000 /dev/zero; echo $PPID >ppid' 3>&- | {
		dd bs=1 count=1 of=/dev/null status=none
		# The reader stops: all that can wait does.
		wait_until stopped_writing
		ps -o rss=,args= -C pc-run | grep -- "-c run.json" >rss
		wc -c >count
	}
	[ "$(cat count)" -ge 49000000 ]
	cat rss
	awk '{ if ($1 > 16000) exit 1 }' rss
}

@test "pc-run: an asset is found by its key, whatever letters that has" {
	mkdir skills
	echo skill >skills/file
	here '"assets":[{"key":"a-b=c","local":"'"$PWD"'/skills"}]'
	run_here sh -c 'cat "$PC_ASSET_A_B_C/file"'
	[ "$output" = skill ]
}

@test "pc-run: changes come back in pieces of what is kept of an exec, however much a channel returns" {
	mkdir W
	here '"workspace":{"local":"W","remote":"'"$PWD/there"'"}'
	jq --arg channel "$BATS_TEST_DIRNAME/batch-channel.py" '
	    .channel = {"argv": [$channel, "--delay", "0", "--cap", "33554432"],
	    "stream": false, "text": true, "outputMax": "32M"}' run.json >r &&
	    mv r run.json
	run_here sh -c 'head -c 9000000 /dev/urandom >new'
	[ "$status" -eq 0 ]
	cmp W/new there/new
}

@test "pc-run: a reader that goes away ends the agent, whose end is still told" {
	here
	{
		pc-run -c run.json --events events -- \
		    sh -c 'trap "" TERM; head -c 3000000 /dev/zero; sleep 60' 2>err 3>&- ||
		    echo $? >code
	} | dd bs=1 count=1 of=/dev/null status=none
	[ "$(cat code)" -eq 111 ]
	[ "$(cat err)" = "pc-run: stdout: its reader has gone" ]
	[ "$(event agent ended | jq .signal)" -eq 9 ]
}

@test "pc-run: into a chroot with nothing in it; our file is put there by a command" {
	[ "$(id -u)" -eq 0 ] || skip "chroot needs root"
	start_api
	mkdir box W
	echo one >W/a
	cat >run.json <<-JSON
	{"channel":{"argv":["chroot","$PWD/box"]},"state":"$PWD/state",
	"workspace":{"local":"W","remote":"/work"},
	"api":{"url":"$API"},
	"tools":{"local":"$STATIC","remote":"/pc-tools",
	"copy":["sh","-c","cp '{local}' '$PWD/box{remote}'"]}}
	JSON
	run_here /pc-tools pc-enqueue GET /api/agents/me
	[ "$status" -eq 0 ]
	[[ $output == *Ada* ]]
	run_here /pc-tools pc-file rename a b
	[ "$status" -eq 0 ]
	[ "$(ls W)" = b ]
	[ "$(ls -A box)" = $'pc-tools\nwork' ]
	# A command that puts something else there is found out.
	jq '.tools.copy = ["sh","-c","echo \"#!/bin/false\" >'"$PWD"'/box/pc-tools"]' run.json >r && mv r run.json
	echo other >box/pc-tools
	run_here /pc-tools pc-file list .
	[ "$status" -eq 100 ]
	[[ $stderr == "pc-run: /pc-tools: not our file, after tools.copy has put it there" ]]
}
