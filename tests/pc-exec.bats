#!/usr/bin/env bats
load helper

TOP=$BATS_TEST_DIRNAME/..

# request MEMBERS - runs it; what follows stdin's end means nothing
request() {
	printf '{"lifeline":false,%s}\n' "$1" | pc-exec -C ids
}

# report - the last line of $output, without its braces
report() {
	tail -n 1 <<<"$output"
}

@test "pc-exec: output is exact, the last line is the report, the status the program's" {
	for size in 0 1 70000; do
		head -c "$size" /dev/urandom >data
		request '"argv":["cat","data"]' >out
		head -c "$size" out | cmp - data
		[ "$(tail -c +$((size + 1)) out)" = "
{\"exit\":0,\"signal\":null,\"timedOut\":false,\"ended\":null,\"error\":null}" ]
	done
	run --separate-stderr -3 request '"argv":["sh","-c","echo o; echo e >&2; exit 3"]'
	[ "${lines[0]}" = o ]
	[ "$stderr" = e ]
	[ "$(report | jq .exit)" = 3 ]
	run -143 request '"argv":["sh","-c","kill $$"]'
	[ "$(report | jq -c '[.exit,.signal]')" = '[143,15]' ]
}

@test "pc-exec: cannot be run: 126, 127, and why" {
	touch plain
	while IFS=$'\t' read -r members status error; do
		run --separate-stderr -"$status" request "$members"
		echo "$members: $output"
		[ "$(report | jq -r .error)" = "$error" ]
		[ "$(report | jq .exit)" -eq "$status" ]
	done <<-ROWS
	"argv":["none"]	127	none: not found
	"argv":["./none"]	127	./none: not found
	"argv":["./plain"]	126	./plain: not executable
	"argv":["$PWD"]	126	$PWD: not executable
	"argv":["true"],"cwd":"/no/where"	126	cwd: No such file or directory
	"argv":["true"],"env":{"PATH":"/no/where"}	127	true: not found
	ROWS
}

@test "pc-exec: in an empty root a line for a shell is an error that says so" {
	mkdir root
	cp "$TOP/bin/static/pc-tools" root/
	run -127 bwrap --bind root / /pc-tools pc-exec <<<'{"argv":"echo hi","lifeline":false}'
	[ "$(report | jq -r .error)" = "argv: a line for a shell, and there is no shell here" ]
	run -0 bwrap --bind root / /pc-tools pc-exec <<<'{"argv":["/pc-tools","-V"],"lifeline":false,"id":"a"}'
	[[ ${lines[0]} == pc-tools* ]]
}

@test "pc-exec: a string is a login bash's, else sh's" {
	run -0 request '"argv":"echo $SHELL $0; shopt -q login_shell && echo login"'
	[[ ${lines[0]} == "/bin/bash bash" ]]
	[ "${lines[1]}" = login ]
	run -0 bwrap --dev-bind / / --bind /dev/null /bin/bash --bind /dev/null /usr/bin/bash \
	    pc-exec <<<'{"argv":"echo $0","lifeline":false}'
	[ "${lines[0]}" = sh ]
}

@test "pc-exec: environment, folder and input come with the request, and by nothing else" {
	request '"argv":["sh","-c","pwd; echo \"$A\"; cat; tr \"\\0\" \" \" </proc/$PPID/cmdline; echo; tr \"\\0\" \"\\n\" </proc/$PPID/environ | grep -c secret"],"cwd":"/usr","env":{"A":"a secret\n=\""},"stdin":"größe\u0000\n"' >out || :
	head -n 3 out | cmp - <(printf '/usr\na secret\n="\n')
	grep -aq 'größe' out
	grep -aq '^pc-exec -C ids' out
	grep -aqx 0 out
}

@test "pc-exec: unless: nothing is run when it is on PATH" {
	run -0 request '"argv":["touch","ran"],"unless":"sh"'
	[ "$(report | jq .skipped)" = true ]
	[ ! -e ran ]
	run -0 request '"argv":["touch","ran"],"unless":"no-such"'
	[ -e ran ]
}

# line ID NAME - of what a detached one has said, the member of that name
line() {
	pc-exec -C ids --output "$1" | jq -r "select(.$2).$2"
}

# holder ID - the pc-exec of a detached one
holder() {
	wait_until sh -c "pc-exec -C ids --output $1 | grep -q pid"
	ps -o ppid= -p "$(line "$1" pid)" | tr -d ' '
}

# idle PID - it has not been awake while we looked; not all of it may have
# begun at our first looks
idle() {
	local before after i
	for i in 1 2 3 4; do
		before=$(cat "/proc/$1/schedstat")
		sleep 0.7
		after=$(cat "/proc/$1/schedstat")
		echo "$1: $before, $after"
		[ "$before" != "$after" ] || return 0
	done
	return 1
}

# tree DEAF - starts a program with descendants everywhere, pids in file "pids"
tree() {
	cat <<-SH
	[ "$1" = no ] || trap '' TERM
	setsid sh -c 'echo \$\$ >>pids; while :; do sleep 1; done' &
	(setsid sh -c '(echo \$\$ >>pids; while :; do sleep 1; done) & exit' &)
	sh -c 'echo \$\$ >>pids; while :; do sleep 1; done' &
	while :; do sleep 1; done
	SH
}

# They have ended; who has not been reaped by a process 1 yet has, too.
gone() {
	local p
	for p in $(cat pids); do
		! grep -q '^State:.[^Z]' "/proc/$p/status" 2>/dev/null || return 1
	done
}

@test "pc-exec: when stdin closes all ends, what left its session and what is deaf to TERM, too" {
	for deaf in no yes; do
		: >pids
		tree $deaf >tree.sh
		mkfifo -m 600 line
		pc-exec <line >out 3>&- &
		pid=$!
		pids+=("$pid")
		exec 9>line
		echo '{"argv":["sh","tree.sh"],"graceMs":300}' >&9
		wait_until sh -c '[ $(wc -l <pids) -eq 3 ]'
		exec 9>&-
		status=0
		wait "$pid" || status=$?
		gone
		[ "$(tail -n 1 out | jq -r .ended)" = closed ]
		[ "$status" -eq $([ $deaf = no ] && echo 143 || echo 137) ]
		rm line
	done
}

@test "pc-exec: a deadline ends all; the end of a file ends nothing" {
	: >pids
	tree yes >tree.sh
	run -137 pc-exec <<<'{"argv":["sh","tree.sh"],"timeoutMs":300,"graceMs":100,"lifeline":false}'
	[ "$(report | jq -c '[.timedOut,.ended]')" = '[true,"deadline"]' ]
	gone
	echo '{"argv":["sleep","0.3"]}' >file
	run -0 pc-exec <file
	run -143 pc-exec < <(cat file)
}

@test "pc-exec: what a program leaves behind ends with it, or goes on when asked" {
	: >pids
	run -5 request '"argv":["sh","-c","setsid sh -c \"echo \\$\\$ >>pids; while :; do sleep 1; done\" & while [ ! -s pids ]; do :; done; exit 5"],"graceMs":200'
	gone
	: >pids
	run -5 request '"background":true,"argv":["sh","-c","setsid sh -c \"echo \\$\\$ >>pids; while :; do sleep 1; done\" & while [ ! -s pids ]; do :; done; exit 5"]'
	pids+=("$(cat pids)")
	kill -0 "$(cat pids)"
}

@test "pc-exec: the program starts with a session of its own and plain signals" {
	run -0 request '"argv":["sh","-c","grep -E ^Sig.[gb]lk:\\|^SigIgn:\\|^SigBlk: /proc/self/status; ls -l /proc/self/fd | wc -l; ps -o sid= -p $$; echo $$"]'
	grep -q 'SigBlk:.*0000000000000000' <<<"$output"
	# 32 and 33 are libc's own; what make starts has them ignored.
	grep -qE 'SigIgn:.*(0{16}|0{7}180000000)$' <<<"$output"
	[ "$(sed -n 4p <<<"$output" | tr -d ' ')" = "$(sed -n 5p <<<"$output")" ]
	# Nothing of ours is open in it: what we were started with is.
	[ "$(sed -n 3p <<<"$output")" -eq "$(sh -c 'ls -l /proc/self/fd | wc -l')" ]
}

@test "pc-exec: lines: text, bytes, split characters, and an answer to a line" {
	request '"lines":true,"argv":["sh","-c","printf \"gr\\303\"; sleep 0.1; printf \"\\266\\377\"; printf e >&2"]' >out
	[ "$(head -n 1 out | jq '.pid > 0 and (.startedAt | length == 24)')" = true ]
	jq -r 'select(.stdout or .stdoutBase64) | if .stdout then (.stdout | @base64) else .stdoutBase64 end' out |
	    while read -r l; do base64 -d <<<"$l"; done | cmp - <(printf 'gr\303\266\377')
	[ "$(jq -r 'select(.stderr).stderr' out)" = e ]
	mkfifo line
	pc-exec <line >out 3>&- &
	pid=$!
	pids+=("$pid")
	exec 9>line
	echo '{"argv":["sleep","60"],"lines":true}' >&9
	wait_until grep -q pid out
	echo >&9
	wait_until grep -qx '' out
	exec 9>&-
	ended "$pid" 143
}

@test "pc-exec: 50 MB with a reader that stops: bounded memory, all of it" {
	echo '{"argv":["head","-c","50000000","/dev/zero"],"lifeline":false}' >r
	sh -c 'echo $$ >pid; exec pc-exec <r' 3>&- | {
		dd bs=1 count=1 of=/dev/null status=none
		pid=$(cat pid)
		wait_until sh -c "a=\$(cat /proc/$pid/io); sleep 0.1; [ \"\$a\" = \"\$(cat /proc/$pid/io)\" ]"
		awk '/VmHWM/ { print $2 }' "/proc/$pid/status" >memory
		wc -c >count
	}
	[ "$(cat count)" -gt 49999999 ]
	[ "$(cat memory)" -lt "$([ -n "${ASAN_OPTIONS-}" ] && echo 60000 || echo 6000)" ]
}

@test "pc-exec: nobody reads any more: all ends" {
	echo '{"argv":["sh","-c","echo $$ >pids; while :; do echo x; sleep 0.05; done"],"lifeline":false}' >r
	pc-exec <r 3>&- | head -n 1
	wait_until gone
}

@test "pc-exec: detached: output by offsets, waited for, cut at lines, and its end" {
	mkfifo go
	echo '{"argv":["sh","-c","echo one; read x <go; echo two; exit 4"],"id":"j"}' >r
	run -0 pc-exec -C ids --detach <r
	[ "$output" = '{"id":"j"}' ]
	run -1 pc-exec -C ids --detach <r
	[ "$output" = "pc-exec: j: is running" ]
	wait_until sh -c 'pc-exec -C ids --output j | grep -q one'
	at=$(pc-exec -C ids --output j | tail -n 1 | jq .next)
	[ "$(pc-exec -C ids --output j --offset "$at")" = "{\"next\":$at,\"running\":true}" ]
	pc-exec -C ids --output j --offset "$at" -w 20s >later 3>&- &
	pid=$!
	echo >go
	ended "$pid"
	grep -q two later
	wait_until sh -c 'pc-exec -C ids --output j | tail -n 1 | grep -q false'
	pc-exec -C ids --output j >all
	[ "$(jq -r 'select(.stdout).stdout' all)" = $'one\n\ntwo' ] ||
	    [ "$(jq -rj 'select(.stdout).stdout' all)" = $'one\ntwo' ]
	[ "$(jq 'select(.exit != null).exit' all)" -eq 4 ]
	run -0 pc-exec -C ids --kill j
	[ -z "$(ls ids)" ]
	run -1 pc-exec -C ids --kill j
	run -1 pc-exec -C ids --output j
}

@test "pc-exec: -w 0 and -t 0 are for ever, and who waits keeps it from being idle" {
	mkfifo go end
	echo '{"argv":["sh","-c","trap \"\" TERM; read x <go; echo two; read x <end"],
	    "id":"j","idleMs":300,"graceMs":60000}' |
	    tr -d '\n' | pc-exec -C ids --detach
	at=$(pc-exec -C ids --output j -w 5s | tail -n 1 | jq .next)
	pc-exec -C ids --output j --offset "$at" -w 0 >later 3>&- &
	pid=$!
	sleep 1
	kill -0 "$pid"		# it waits
	echo >go
	ended "$pid"
	grep -q two later && grep -q '"running":true' later
	pc-exec -C ids --kill j -t 0 3>&- &
	pid=$!
	sleep 1
	kill -0 "$pid"		# nothing is killed yet
	echo >end
	ended "$pid"
	[ -z "$(ls ids)" ]
}

@test "pc-exec: --output with a command: whichever comes first ends the wait" {
	echo '{"argv":["sleep","60"],"id":"quiet"}' | pc-exec -C ids --detach
	at=$(pc-exec -C ids --output quiet -w 5s | tail -n 1 | jq .next)
	run -0 pc-exec -C ids --output quiet --offset "$at" -w 20s echo from the command
	[ "${lines[0]}" = "from the command" ]
	[ "${lines[1]}" = "{\"next\":$at,\"running\":true}" ]
	pc-exec -C ids --kill quiet
	echo '{"argv":["echo","there"],"id":"loud"}' | pc-exec -C ids --detach
	run -0 pc-exec -C ids --output loud -w 20s sleep 60
	[[ ${lines[0]} == *pid* ]]
	wait_until sh -c 'pc-exec -C ids --output loud | grep -q there'
	# Output that is there ends a command that has hardly begun: not one of
	# these takes the 2 s that it has before KILL.
	SECONDS=0
	for _ in {1..20}; do
		pc-exec -C ids --output loud -w 20s sleep 60 >/dev/null
	done
	[ "$SECONDS" -lt 10 ]
}

@test "pc-exec: --kill ends a stopped one, and what a killed pc-exec has left" {
	: >pids
	tree yes >tree.sh
	echo '{"argv":["sh","tree.sh"],"id":"a","graceMs":200}' | pc-exec -C ids --detach
	wait_until sh -c '[ $(wc -l <pids) -eq 3 ]'
	kill -STOP $(cat pids)
	run -0 pc-exec -C ids --kill a
	gone
	: >pids
	echo '{"argv":["sh","tree.sh"],"id":"a"}' | pc-exec -C ids --detach
	wait_until sh -c '[ $(wc -l <pids) -eq 3 ]'
	# Another folder's has the same name, and is left alone.
	echo '{"argv":["sleep","60"],"id":"a"}' | pc-exec -C other --detach
	kill -KILL "$(holder a)"
	run -0 pc-exec -C ids --kill a
	gone
	[[ $(pc-exec -C other --output a | tail -n 1) == *true* ]]
	pc-exec -C other --kill a
}

@test "pc-exec: detached, and nobody asks: it ends" {
	echo '{"argv":["sleep","60"],"id":"i","idleMs":200}' | pc-exec -C ids --detach
	sleep 1 &
	wait "$!"
	[ "$(pc-exec -C ids --output i | jq -r 'select(.ended).ended')" = idle ]
}

@test "pc-exec: a folder or files that are not ours alone are refused" {
	mkdir -m 777 open
	run -100 pc-exec -C open --detach <<<'{"argv":["true"]}'
	[ "$output" = "pc-exec: open: not ours alone" ]
	mkdir -m 700 ids
	ln -s ids link
	run -100 pc-exec -C link --detach <<<'{"argv":["true"]}'
	echo keep >victim
	for suffix in lock out; do
		rm -rf ids/*
		ln -s ../victim "ids/a.$suffix"
		run -100 pc-exec -C ids --detach <<<'{"argv":["echo","x"],"id":"a"}'
		rm "ids/a.$suffix"
		mkfifo "ids/a.$suffix"
		run timeout 5 pc-exec -C ids --detach <<<'{"argv":["echo","x"],"id":"a"}'
		[ "$status" -eq 100 ] || [ "$status" -eq 111 ]
	done
	[ "$(cat victim)" = keep ]
}

# read_to_end ID - as a caller goes on from offset to offset; false while it runs
read_to_end() {
	local at=0 last=''
	until [ "$last" = "{\"next\":$at,\"running\":true}" ]; do
		last=$(pc-exec -C ids --output "$1" --offset "$at" | tail -n 1)
		[[ $last == *true* ]] || return 0
		[ "$at" -ne "$(jq .next <<<"$last")" ] || return 1
		at=$(jq .next <<<"$last")
		last=''
	done
}

@test "pc-exec: a full disk loses output, not the program, and says so" {
	mkdir ids
	mount_tmpfs -o size=128k,mode=700 ids
	echo '{"argv":["sh","-c","head -c 500000 /dev/zero; echo >&2; : >done"],"id":"f"}' | pc-exec -C ids --detach
	wait_until test -e done
	# Before anything is read, which makes room.
	wait_until sh -c 'tail -n 1 ids/f.out | grep -q exit'
	[ "$(tail -n 1 ids/f.out | jq '.exit == 0 and .lostBytes > 100000')" = true ]
	wait_until read_to_end f
	pc-exec -C ids --kill f
}

@test "pc-exec: --init is a process 1 that reaps, and ends all on TERM" {
	[ "$(id -u)" -eq 0 ] || skip "a pid namespace needs root"
	run -6 unshare -pf --mount-proc pc-exec --init sh -c '
		i=0; while [ $i -lt 50 ]; do (sleep 0.01 &) ; i=$((i+1)); done
		sleep 0.3; ps -eo stat= | grep -c Z; exit 6'
	[ "${lines[0]}" -eq 0 ]
	unshare -pf --mount-proc --kill-child pc-exec --init 3>&- &
	pid=$!
	pids+=("$pid")
	wait_until pgrep -P "$pid" pc-exec
	kill "$(pgrep -P "$pid" pc-exec)"
	ended "$pid"
}

@test "pc-exec: --probe says what there is" {
	run -0 pc-exec --probe
	[ "$(jq -r .sha256 <<<"$output")" = "$(sha256sum "$(realpath "$(command -v pc-exec)")" | cut -d' ' -f1)" ]
	[ "$(jq -r .cwd <<<"$output")" = "$PWD" ]
	if [ "$(jq -r .tmpfs <<<"$output")" != null ]; then
		run -0 pc-exec --probe --scratch "t-$$"
		d=$(jq -r .scratch <<<"$output")
		[ "$(stat -c %a "$d")" = 700 ]
		rmdir "$d"
	fi
	run -100 pc-exec --probe --scratch ../x
}

@test "pc-exec: --become has the rest of stdin, from the byte after the newline" {
	head -c 300000 /dev/urandom >data
	{ echo '{"argv":["cat"]}'; cat data; } | pc-exec --become | cmp - data
	{ printf '{\n "argv" : ["sh","-c","pwd; echo $X; cat"], "cwd":"/", "env":{"X":"}\\""} }\n'; echo rest; } |
	    pc-exec --become | cmp - <(printf '/\n}"\nrest\n')
	run -127 pc-exec --become <<<'{"argv":["none"]}'
	run -126 pc-exec --become <<<'{"argv":["true"],"cwd":"/none"}'
	run -100 pc-exec --become < <(printf '{"argv":["true"]}x')
}

@test "pc-exec: a bad request is 100, one line, and runs nothing" {
	while IFS=$'\t' read -r text message; do
		run --separate-stderr -100 pc-exec <<<"$text"
		echo "$text: $stderr"
		[ "$stderr" = "pc-exec: $message" ]
		[ -z "$output" ]
	done <<-'ROWS'
	{"argv":["touch","x"],"bad":1}	bad: unknown key
	{"argv":["touch","x"],"argv":["y"]}	argv: given twice
	{"argv":[]}	argv: empty
	{"argv":""}	argv: empty
	{"argv":[1]}	argv: not a string
	{"argv":{"a":1}}	argv: neither a string nor an array of strings
	{}	argv: missing
	{"argv":["touch","x\u0000y"]}	argv: a NUL in it
	{"argv":["touch","x"],"env":{"":"y"}}	env: a name that is empty, or has = or NUL in it
	{"argv":["touch","x"],"env":["y"]}	env: not an object of strings
	{"argv":["touch","x"],"timeoutMs":-1}	timeoutMs: not a number in range
	{"argv":["touch","x"],"timeoutMs":"1s"}	timeoutMs: not a number in range
	{"argv":["touch","x"],"id":"a/b"}	id: not 1 to 128 of A-Z a-z 0-9 _ -
	{"argv":["touch","x"],"lines":"yes"}	lines: neither true nor false
	{"argv":["touch","x",]}	stdin: not JSON
	["touch","x"]	stdin: not an object
	touch x	stdin: not JSON
	{"argv":["touch","x"	stdin: the request is cut short
	ROWS
	run -100 pc-exec </dev/null
	[ "$output" = "pc-exec: stdin: no request" ]
	head -c 5000000 /dev/zero | tr '\0' ' ' >big
	run -100 pc-exec <big
	[ "$output" = "pc-exec: stdin: a request over 4M" ]
	[ ! -e x ]
	run -100 pc-exec --detach --probe
	run -100 pc-exec --offset 3 <<<'{"argv":["true"]}'
	run -100 pc-exec --detach -w 1s <<<'{"argv":["true"],"id":"w"}'
	run -100 pc-exec --output x -t 5s
	run -100 pc-exec --scratch a <<<'{"argv":["true"]}'
	run -100 pc-exec operand
}

@test "pc-exec: a closed stdout, a full one" {
	run -111 sh -c "echo '{\"argv\":[\"true\"],\"lifeline\":false}' | pc-exec >/dev/full"
	run sh -c "echo '{\"argv\":[\"echo\",\"x\"],\"lifeline\":false}' | pc-exec >&-"
	[ "$status" -ne 0 ]
}

@test "pc-exec: a hundred at once, and a tree of 300 processes" {
	for i in $(seq 100); do
		request "\"argv\":[\"sh\",\"-c\",\"exit $((i % 7))\"]" >/dev/null 3>&- || [ "$?" -eq $((i % 7)) ] &
	done
	wait
	: >pids
	run -143 pc-exec <<<'{"argv":["sh","-c","for i in $(seq 300); do (setsid sleep 60 & echo $! >>pids) & done; wait; kill $$"],"timeoutMs":20000,"graceMs":500,"lifeline":false}'
	[ "$(wc -l <pids)" -eq 300 ]
	gone
}

@test "pc-exec: a reader that leaves when all has ended, or none at all, ends it" {
	echo '{"argv":["head","-c","150000","/dev/zero"],"lifeline":false}' >r
	mkfifo out
	timeout -s KILL 10 pc-exec <r >out 3>&- &
	pid=$!
	pids+=("$pid")
	exec 8<out
	# The program ends when what it wrote is in pc-exec and in the two pipes.
	wait_until sh -c "p=\$(pgrep -P $pid) && ! pgrep -P \$p"
	idle "$(pgrep -P "$pid")"
	exec 8<&-
	ended "$pid" 111
	for program in true 'head -c 150000 /dev/zero'; do
		echo "{\"argv\":\"$program\",\"lifeline\":false}" >r
		run timeout -s KILL 10 sh -c 'pc-exec <r >&-'
		[ "$status" -eq 111 ] || [ "$status" -eq 141 ] || [ "$status" -eq 143 ]
	done
}

@test "pc-exec: TERM while a reader is slow, or stopped, is not waited out" {
	echo '{"argv":["head","-c","150000","/dev/zero"],"lifeline":false}' >r
	mkfifo out
	pc-exec <r >out 3>&- &
	pid=$!
	pids+=("$pid")
	exec 8<out
	wait_until sh -c "! pgrep -P $pid"
	kill "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 111 ] || [ "$status" -eq 143 ]
	exec 8<&-
}

@test "pc-exec: a slow reader gets all, and the report, whoever else has the pipe" {
	echo '{"argv":["head","-c","600000","/dev/zero"],"lifeline":false}' >r
	pc-exec <r 3>&- | { sleep 1.5; cat; } >out
	[ "$(head -c 600000 out | tr -d '\0' | wc -c)" -eq 0 ]
	[ "$(tail -n 1 out | jq .exit)" -eq 0 ]
	[ "$(($(wc -c <out) - $(tail -n 1 out | wc -c)))" -eq 600001 ]
	echo '{"background":true,"argv":["sh","-c","yes & echo $! >pids; exit 5"],"lifeline":false}' >r
	pc-exec <r 3>&- | { sleep 0.5; timeout 10 tail -n 1; } >out
	[ "$(jq .exit out)" -eq 5 ]
	wait_until gone
}

@test "pc-exec: names are looked for in cwd, and on the command's PATH" {
	mkdir -p w/bin
	printf '#!/bin/sh\necho "$0"\n' >w/bin/prog
	chmod +x w/bin/prog
	run -0 request '"argv":["./bin/prog"],"cwd":"w"'
	[ "${lines[0]}" = ./bin/prog ]
	run -0 request '"argv":["prog"],"cwd":"w","env":{"PATH":"bin:/bin"}'
	[ "${lines[0]}" = bin/prog ]
	run -0 pc-exec --become <<<'{"argv":["./bin/prog"],"cwd":"w"}'
	[ "$output" = ./bin/prog ]
	run -127 request '"argv":["w/bin/prog"],"cwd":"w"'
	run -0 request "\"argv\":[\"touch\",\"ran\"],\"unless\":\"prog\",\"env\":{\"PATH\":\"$PWD/w/bin:$PATH\"}"
	[ "$(report | jq .skipped)" = true ]
	run -0 request '"argv":["/bin/touch","ran"],"unless":"sh","env":{"PATH":"/no/where"}'
	[ -e ran ]
}

@test "pc-exec: each is told once, also in a session of its own, and in time" {
	cat >deaf.sh <<-'SH'
	trap 'echo $1 >>told' TERM
	echo $1 >>ready
	while :; do sleep 60 & wait; done
	SH
	echo '{"argv":["sh","-c","sh deaf.sh same & setsid sh deaf.sh other & exec sh deaf.sh main"],"graceMs":1500}' >r
	mkfifo line
	pc-exec <line >out 3>&- &
	pid=$!
	pids+=("$pid")
	exec 9>line
	cat r >&9
	wait_until sh -c '[ "$(cat ready 2>/dev/null | wc -l)" -eq 3 ]'
	exec 9>&-
	wait_until sh -c '[ "$(cat told 2>/dev/null | wc -l)" -ge 3 ]'
	ended "$pid" 137
	cat told
	[ "$(sort told | tr '\n' ' ')" = 'main other same ' ]
	# Who ends when told has no KILL: no part of the grace is waited for.
	echo '{"argv":["sh","-c","setsid sleep 60 & echo $! >pids; exit 4"],"graceMs":60000,"lifeline":false}' >r
	run -4 timeout -s KILL 10 pc-exec <r
	# Nor for who leaves the group, or comes, while it is looked for.
	for _ in {1..50}; do
		run -4 timeout -s KILL 10 pc-exec <r
	done
}

@test "pc-exec: idle, it is not awake: running, in the grace, and who waits for output" {
	mkfifo line
	timeout=5000
	for state in running grace; do
		rm -f told ready
		pc-exec <line >out 3>&- &
		pid=$!
		pids+=("$pid")
		exec 9>line
		[ $state = running ] || timeout=100
		echo "{\"argv\":[\"sh\",\"-c\",\"trap 'echo >told' TERM; echo >ready; while :; do sleep 60 & wait; done\"],\"graceMs\":3000,\"timeoutMs\":$timeout}" >&9
		wait_until test -e ready
		if [ $state = running ]; then
			sleep 0.1
			idle "$pid"
			exec 9>&-
		fi
		wait_until test -e told
		sleep 0.5	# it has looked again for who came meanwhile
		idle "$pid"
		exec 9>&-
		kill "$pid"
		ended "$pid" 137
	done
	echo '{"argv":["sleep","60"],"id":"q"}' | pc-exec -C ids --detach
	wait_until sh -c 'pc-exec -C ids --output q | grep -q pid'
	at=$(pc-exec -C ids --output q | tail -n 1 | jq .next)
	idle "$(holder q)"
	for command in '' 'sleep 30'; do
		# shellcheck disable=SC2086
		pc-exec -C ids --output q --offset "$at" -w 30s $command >later 3>&- &
		pid=$!
		pids+=("$pid")
		sleep 0.1
		idle "$pid"
		# Its end wakes both, also when it can say nothing.
		[ -n "$command" ] && kill -KILL "$(holder q)" || kill "$pid"
		ended "$pid"
	done
	grep -q '"running":false' later
	pc-exec -C ids --kill q
}

@test "pc-exec: started with CHLD ignored the status is known all the same" {
	echo '{"argv":["sh","-c","exit 3"],"lifeline":false}' >r
	ignored() {
		timeout -s KILL 10 python3 -c 'import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])' "$@" <r
	}
	run -3 ignored pc-exec
	run -0 ignored pc-exec -C ids --detach
}

@test "pc-exec: of those with one id there is one at a time, whatever ends when" {
	once() {
		local i status
		for i in $(seq 40); do
			status=0
			pc-exec -C ids 2>/dev/null <<<'{"id":"one","lifeline":false,"argv":["sh","-c","mkdir busy || echo >>both; rmdir busy || echo >>both"]}' >/dev/null 3>&- || status=$?
			[ "$status" -le 1 ] || echo "$status" >>other
		done
	}
	once & once & once & once &
	wait
	[ ! -e both ]
	[ ! -e other ]
	[ -z "$(ls ids)" ]
	for i in $(seq 20); do
		echo '{"argv":["sleep","60"],"id":"one"}' | pc-exec -C ids --detach
		pc-exec -C ids --kill one &
		run pc-exec -C ids --detach <<<'{"argv":["sleep","60"],"id":"one"}'
		wait "$!"
		# It was refused, was ended, too, or is there to be ended.
		[ ! -e ids/one.lock ] || pc-exec -C ids --kill one
		[ -z "$(ls ids)" ]
	done
}

@test "pc-exec: an id whose file goes while it is claimed has one holder" {
	mkfifo go1 go2
	pc-exec -C ids <<<'{"id":"n","lifeline":false,"argv":["sh","-c",": >up1; read x <go1"]}' 3>&- &
	first=$!
	pids+=("$first")
	wait_until test -e up1
	# The second has opened the file, and takes its lock when the first has
	# removed it.
	strace -qq -o trace -e trace=openat,fcntl -e inject=fcntl:delay_enter=3000000:when=1..2 \
	    pc-exec -C ids <<<'{"id":"n","lifeline":false,"argv":["sh","-c",": >up2; read x <go2"]}' 3>&- &
	second=$!
	pids+=("$second")
	wait_until grep -q n.lock trace
	echo >go1
	ended "$first"
	[ -z "$(ls ids)" ]
	wait_until test -e up2
	run -1 pc-exec -C ids <<<'{"id":"n","lifeline":false,"argv":["true"]}'
	echo >go2
	ended "$second"
	[ -z "$(ls ids)" ]
}

@test "pc-exec: files in a folder that are not what they should be are refused" {
	mkdir -m 700 ids
	echo keep >victim
	for suffix in lock out; do
		ln victim "ids/a.$suffix"
		run -100 pc-exec -C ids --detach <<<'{"argv":["echo","x"],"id":"a"}'
		rm -f ids/*
		mkdir "ids/a.$suffix"
		run pc-exec -C ids --detach <<<'{"argv":["echo","x"],"id":"a"}'
		[ "$status" -ge 100 ]
		rm -rf ids/*
	done
	[ "$(cat victim)" = keep ]
	[ "$(id -u)" -eq 0 ] || return 0
	: >ids/a.lock
	chown 65534 ids/a.lock
	run -100 pc-exec -C ids --detach <<<'{"argv":["echo","x"],"id":"a"}'
	chown 65534 ids
	run -100 pc-exec -C ids --detach <<<'{"argv":["echo","x"],"id":"b"}'
	[ "$output" = "pc-exec: ids: not ours alone" ]
}

@test "pc-exec: half a line in its output is no output; no line at all is passed over" {
	echo '{"argv":["sleep","60"],"id":"h"}' | pc-exec -C ids --detach
	wait_until sh -c 'pc-exec -C ids --output h | grep -q pid'
	at=$(pc-exec -C ids --output h | tail -n 1 | jq .next)
	printf half >>ids/h.out
	run -0 pc-exec -C ids --output h --offset "$at" -w 20s echo waited
	[ "${lines[0]}" = waited ]
	[ "${lines[1]}" = "{\"next\":$at,\"running\":true}" ]
	head -c 70000 /dev/zero >>ids/h.out
	run -0 pc-exec -C ids --output h --offset "$at" --max-bytes 64K -w 20s
	[ "$output" = "{\"next\":$((at + 65536)),\"running\":true}" ]
	pc-exec -C ids --kill h
}

@test "pc-exec: detached, it holds nothing of the caller's" {
	echo '{"argv":["sleep","60"],"id":"d"}' >r
	pc-exec -C ids --detach <r 7>kept
	run ls -l "/proc/$(holder d)/fd"
	[[ $output == */dev/null* ]]
	[[ $output != *kept* ]]
	run ls -l "/proc/$(line d pid)/fd"
	[[ $output == *pipe:* ]]
	[[ $output != *kept* ]]
	pc-exec -C ids --kill d
}

@test "pc-exec: --kill ends a pc-exec that is stopped, and what it had begun" {
	: >pids
	tree yes >tree.sh
	echo '{"argv":["sh","tree.sh"],"id":"a","graceMs":100}' | pc-exec -C ids --detach
	wait_until sh -c '[ $(wc -l <pids) -eq 3 ]'
	kill -STOP "$(holder a)"
	run -0 pc-exec -C ids --kill a -t 100ms
	wait_until gone
	[ -z "$(ls ids)" ]
}

@test "pc-exec: what it may not kill is left, and said, not waited for" {
	[ "$(id -u)" -eq 0 ] || skip "needs root to make such a program"
	d=$(mktemp -d /tmp/pc-exec-test.XXXXXX)
	cp "$(realpath "$(command -v pc-exec)")" "$d/pc-exec"
	cp "$(command -v setpriv)" "$d/be-root"
	chmod 4755 "$d/be-root"
	chmod 755 "$d"
	mkfifo -m 666 "$d/pid"
	cat "$d/pid" >pids 3>&- &
	run -7 timeout -s KILL 20 setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "cd $d && exec ./pc-exec" <<-R
	{"argv":["sh","-c","./be-root --reuid 0 --regid 0 --clear-groups sh -c 'exec 1>&- 2>&-; echo \$\$ >$d/pid; exec sleep 60' & wait_for() { cat /proc/\$!/status | grep -q 'Uid:.0'; }; until wait_for; do :; done; exit 7"],"graceMs":100,"lifeline":false}
	R
	pids+=("$(cat pids)")
	rm -rf "$d"
	[ "$(report | jq .left)" = true ]
	kill -0 "$(cat pids)"
}

@test "pc-exec: without /proc what left its group is left, and said" {
	mkdir root
	cp "$TOP/bin/static/pc-tools" root/
	cp "$(command -v busybox)" root/
	run -3 timeout -s KILL 20 bwrap --bind root / --dev /dev --unshare-pid --die-with-parent /pc-tools pc-exec \
	    <<<'{"argv":["/busybox","sh","-c","/busybox sleep 60 & /busybox setsid /busybox sh -c \": >ready; exec /busybox sleep 61\" & until [ -e ready ]; do :; done; exit 3"],"graceMs":100,"lifeline":false}'
	[ "$(report | jq .left)" = true ]
	run -3 timeout -s KILL 20 bwrap --bind root / --dev /dev --unshare-pid --die-with-parent /pc-tools pc-exec \
	    <<<'{"argv":["/busybox","sh","-c","/busybox sleep 60 & exit 3"],"graceMs":100,"lifeline":false}'
	[ "$(report | jq .left)" = null ]
}

@test "pc-exec: killed at any call, --kill leaves no file and no process" {
	echo '{"argv":["sh","-c","setsid sleep 61 & exec sleep 62"],"id":"k"}' >r
	n=0
	for call in $(tr ' ' '\n' <<<'openat fcntl utimensat pipe2 clone close read write setsid prctl getppid rt_sigprocmask signalfd4 dup2 execve ftruncate newfstatat wait4 poll'); do
		for when in 1 2 3 4; do
			timeout -s KILL 1 strace -qq -f -o /dev/null -e "inject=$call:signal=KILL:when=$when" \
			    pc-exec -C ids --detach <r >/dev/null 2>&1 3>&- &
			tracer=$!
			# Whether it was hit, or began: it is ended, and all of it.
			wait_until sh -c "[ -e ids/k.out ] || ! kill -0 $tracer 2>/dev/null"
			status=0
			pc-exec -C ids --kill k 2>/dev/null || status=$?
			echo "$call $when: $status"
			[ "$status" -le 1 ]
			wait "$tracer" || :
			pc-exec -C ids --kill k 2>/dev/null || :
			[ -z "$(ls ids 2>/dev/null)" ]
			n=$((n + 1))
		done
	done
	[ "$n" -ge 70 ]
	mark=$(printf 'PC_EXEC_ID=%x-%x-k' "$(stat -c %d ids)" "$(stat -c %i ids)")
	! grep -lsz "^$mark\$" /proc/[0-9]*/environ
}

@test "pc-exec: a request over many lines, with more behind it, and one of 4 MiB" {
	printf '{\n\t"argv" : [ "cat" ] ,\r\n "lifeline":false,\n "stdin": "a}\\"{"\n}\n\nmore {"argv":1}\n' >r
	run -0 pc-exec <r
	[ "${lines[0]}" = 'a}"{' ]
	head -c 4000000 /dev/zero | tr '\0' x >text
	{ printf '{"argv":["cat"],"lifeline":false,"stdin":"'; cat text; printf '"}'; } >r
	pc-exec <r | head -c 4000000 | cmp - text
	# Who does not read its input misses nothing else.
	sed 's/"cat"/"true"/' r | pc-exec >/dev/null
}

@test "pc-exec: 50 MB as lines, to a reader that stops: bounded memory, all of it" {
	echo '{"argv":["head","-c","50000000","/dev/zero"],"lines":true,"lifeline":false}' >r
	sh -c 'echo $$ >pid; exec pc-exec <r' 3>&- | {
		dd bs=1 count=1 of=/dev/null status=none
		pid=$(cat pid)
		wait_until sh -c "a=\$(cat /proc/$pid/io); sleep 0.1; [ \"\$a\" = \"\$(cat /proc/$pid/io)\" ]"
		awk '/VmHWM/ { print $2 }' "/proc/$pid/status" >memory
		{ printf '{'; cat; } | jq -r 'select(.stdout).stdout' | tr -dc '\0' | wc -c >count
	}
	[ "$(cat count)" -eq 50000000 ]
	[ "$(cat memory)" -lt "$([ -n "${ASAN_OPTIONS-}" ] && echo 60000 || echo 6000)" ]
}

@test "pc-exec: a reader that has gone, or never reads, does not keep it: it ends, and quietly" {
	# Gone while there is more to write than a pipe has room for.
	echo '{"argv":["head","-c","3000000","/dev/zero"],"lifeline":false}' >r
	sh -c 'echo $$ >pids; exec pc-exec <r' 3>&- | head -c 1 >/dev/null
	wait_until gone
	# Never reads; the channel's end, or a signal, is enough.
	for way in TERM close; do
		mkfifo "out$way" "line$way"
		sh -c 'echo $$ >pids; exec pc-exec' <"line$way" >"out$way" 3>&- &
		exec 8<>"out$way" 9<>"line$way"
		echo '{"argv":["head","-c","3000000","/dev/zero"]}' >&9
		wait_until test -s pids
		wait_until sh -c "grep -q '^State:.S' /proc/\$(cat pids)/status"
		if [ $way = TERM ]; then
			kill "$(cat pids)"
		else
			exec 9>&-
		fi
		wait_until gone
		exec 8<&- 9>&-
		: >pids
	done
}

@test "pc-exec: output that comes in small reads is all of it" {
	echo '{"argv":["sh","-c","echo one; echo two"],"id":"job"}' | pc-exec -C ids --detach
	wait_until sh -c 'pc-exec -C ids --output job | grep -q "\"running\":false"'
	pc-exec -C ids --output job >whole
	for n in 1 2; do
		"$BATS_TEST_DIRNAME/../build/faults/at" log "0/pread64/$n" short \
		    pc-exec -C ids --output job | cmp - whole
		grep -qx hit log
	done
}
