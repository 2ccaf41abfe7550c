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
	grep -q 'SigIgn:.*0000000000000000' <<<"$output"
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

@test "pc-exec: --output with a command: whichever comes first ends the wait" {
	echo '{"argv":["sleep","60"],"id":"quiet"}' | pc-exec -C ids --detach
	at=$(pc-exec -C ids --output quiet -w 5s | tail -n 1 | jq .next)
	run -0 pc-exec -C ids --output quiet --offset "$at" -w 20s echo from the command
	[ "${lines[0]}" = "from the command" ]
	[ "${lines[1]}" = "{\"next\":$at,\"running\":true}" ]
	pc-exec -C ids --kill quiet
	echo '{"argv":["echo","there"],"id":"loud"}' | pc-exec -C ids --detach
	run -0 pc-exec -C ids --output loud -w 20s sleep 60
	[[ $output == *there* ]]
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
	# Of those, the one that is here: other tests may run, too.
	for holder in $(pgrep -f -- '-C ids --detach'); do
		[ "$(readlink "/proc/$holder/cwd")" != "$PWD" ] || kill -KILL "$holder"
	done
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
	[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
	mkdir ids
	mount -t tmpfs -o size=128k,mode=700 tmpfs ids
	echo '{"argv":["sh","-c","head -c 500000 /dev/zero; echo >&2; : >done"],"id":"f"}' | pc-exec -C ids --detach
	wait_until test -e done
	wait_until read_to_end f
	umount ids
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
	{"argv":["touch","x",]}	not JSON
	["touch","x"]	not an object
	touch x	not JSON
	{"argv":["touch","x"	stdin: the request is cut short
	ROWS
	run -100 pc-exec </dev/null
	[ "$output" = "pc-exec: stdin: no request" ]
	head -c 5000000 /dev/zero | tr '\0' ' ' >big
	run -100 pc-exec <big
	[ "$output" = "pc-exec: stdin: a request over 4M" ]
	[ ! -e x ]
	run -100 pc-exec --detach --probe
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
