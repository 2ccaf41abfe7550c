#!/usr/bin/env bats
load helper

T=$BATS_TEST_DIRNAME

# serve OPTION... - a gateway of queue q that ends with the test; its base URL
# in $url, its HOST:PORT in $at, its pid in $pid.
serve() {
	[ "${no_token-}" ] || export PAPERCLIP_BRIDGE_TOKEN=secret-token
	pc-serve -q "${q:-q}" --daemon "$@" >ready 3>&-
	url=$(sed 's/.*"baseUrl":"\([^"]*\)".*/\1/' ready)
	at=${url#http://}
	pid=$(sed 's/.*"pid":\([0-9]*\).*/\1/' ready)
	pids+=("$pid")
}

# One that answers with what it was asked.
answer() {
	[ -p lines ] || mkfifo lines
	{ "$T/http_probe.py" echo <lines | pc-respond -q "${q:-q}" >reports; } 3>&- &
	pc-drain -f -n 1000 -q "${q:-q}" >lines 3>&- &
	pids+=("$!")
}

call() {
	${replace-} curl -sS --noproxy '*' -m 20 \
	    -H "Authorization: Bearer ${token-secret-token}" \
	    -H "Content-Type: ${type-application/json}" "$@"
}

# until_true COMMAND... - tries again, for at most 10 s.
until_true() {
	local i
	for i in {1..2000}; do
		"$@" && return
		read -r -t 0.005 <> <(:) || :
	done
	return 1
}

has_files() { [ "$(find "$1" -type f | wc -l)" -eq "$2" ]; }
child() { local c _; read -r c _ <"/proc/$pid/task/$pid/children"; echo "$c"; }
child_is_new() { local c; c=$(child); [ -n "$c" ] && [ "$c" != "$1" ]; }
gone() { ! readlink "/proc/$1/exe" >/dev/null; }	# or a zombie
file_id() { local f=("$1"/*.json); f=${f[0]##*/}; echo "${f%.json}"; }

# post [CURL-OPTION...] - a call in the background, its answer in out/head.
post() {
	replace=exec call -o out -D head "$@" "$url/x" 3>&- &
	caller=$!
	until_true has_files q/requests 1
}
status() { head -n 1 head | cut -d' ' -f2; }

# response ID STATUS HEADERS [MORE] - publishes a response as a peer would.
response() {
	printf '{"id":"%s","status":%s,"headers":%s,"body":"b"%s,"completedAt":"2026-01-01T00:00:00.000Z"}\n' \
	    "$1" "$2" "$3" "$4" >q/responses/t.tmp
	mv q/responses/t.tmp "q/responses/$1.json"
}

tap() { run "$@"; grep -v '^ok' <<<"$output"; [ "$status" -eq 0 ]; }

@test "pc-serve: every message of the table, at every split" {
	serve --max-depth 100000
	answer
	tap "$T/http_probe.py" split "$at" secret-token "$T/pc-serve-http.tsv"
}

@test "pc-serve: every message of the parser's table, at every split" {
	serve --max-depth 100000
	answer
	tap "$T/http_probe.py" parsed "$at" secret-token "$T/http.tsv"
}

@test "pc-serve: continue, early answers, limits, pipelines, half-closed" {
	serve
	answer
	for c in continue large limit pipeline half; do
		"$T/http_probe.py" "$c" "$at" secret-token
	done
	until_true has_files q/requests 0
	until_true has_files q/claimed 0
	[ ! -s q/logs/bridge.log ]
}

@test "pc-serve: clients that stall are dropped and hold nobody up" {
	serve
	"$T/http_probe.py" slow "$at" secret-token
}

@test "pc-serve: the request's file is what the protocol says" {
	serve -t 5m
	post -d '{"a":"\u00e9"}' -H 'If-Match: "1"' -H 'X-Secret: 1'
	id=$(file_id q/requests)
	[[ $id == ????????-????-7???-????-???????????? ]]
	[ "$(stat -c %a q q/requests q/requests/*.json q/server.pid q/ready.json \
	    | xargs)" = "700 700 600 600 600" ]
	[[ $(cat q/requests/*.json) == '{"id":"'$id'","method":"POST","path":"/x","query":"","headers":{"accept":"*/*","content-type":"application/json","if-match":"\"1\""},"body":"{\"a\":\"\\u00e9\"}","createdAt":"'*'Z","timeoutMs":300000}' ]]
	response "$id" 201 '{"x-a":"1","X-B":"2","content-length":"99","Connection":"x-a","keep-alive":"1","te":"x","trailer":"x","transfer-encoding":"chunked","upgrade":"x","bad name":"1","bad":"a\r\nx-injected: 1","":"1","x-nul":"\u0000"}' ',"bodyEncoding":"utf8"'
	wait "$caller"
	[ "$(tr -d '\r' <head | grep -v '^date: ')" = 'HTTP/1.1 201 Created
x-a: 1
X-B: 2
content-length: 1' ]
	[ "$(cat out)" = b ]
	has_files q/requests 0
	has_files q/responses 0
}

@test "pc-serve: a malformed response is 502, or 409 for an unsafe method" {
	serve
	for bad in 199 600 '"x"' 200.5 -200 null '200,"status":200' \
	    '200,"body":1' '200,"bodyEncoding":"base64"'; do
		for method in GET POST; do
			post -X "$method"
			response "$(file_id q/requests)" "$bad" '{}'
			wait "$caller"
			[[ $(cat out) == *malformed* ]]
			[ "$(status)" = "$([ $method = GET ] && echo 502 || echo 409)" ]
			has_files q/responses 0
		done
	done
	[[ $(cat out) == *'"outcome":"indeterminate","retryable":false}' ]]
	grep -q '^x-paperclip-bridge-outcome: indeterminate' head
	post
	echo '{' >q/responses/t.tmp
	mv q/responses/t.tmp "q/responses/$(file_id q/requests).json"
	wait "$caller"
	[ "$(status)" = 502 ]
}

@test "pc-serve: an indeterminate response is passed on as 409" {
	serve
	post -d '{}'
	response "$(file_id q/requests)" 504 '{"x-paperclip-bridge-outcome":"indeterminate"}'
	wait "$caller"
	[ "$(status)" = 409 ]
	grep -q '^x-paperclip-bridge-outcome: indeterminate' head
}

@test "pc-serve: binary bodies pass both ways" {
	serve
	answer
	head -c 200000 /dev/urandom >body
	call --data-binary @body -o out "$url/same"
	cmp body out
	call -H 'Transfer-Encoding: chunked' --data-binary @body -o out "$url/same"
	cmp body out
}

timeout_row() {	# METHOD CLAIMED CLAIMS STATUS OUTCOME
	local claims=()
	[ "$3" = no ] || claims=(--claims)
	serve -t 300ms "${claims[@]}"
	if [ "$2" = yes ]; then
		call -o out -D head -X "$1" "$url/x" 3>&- &
		pc-drain -w 5s -q q >claimed-line
		wait $!
	else
		call -o out -D head -X "$1" "$url/x"
	fi
	[ "$(status)" = "$4" ]
	[ "$(tr -d '\r' <head | sed -n 's/^x-paperclip-bridge-outcome: //p')" = "${5#-}" ]
	[[ $(cat out) == '{"error":"Timed out waiting for host bridge response."'* ]]
	has_files q/requests 0
	has_files q/claimed 0
	pc-serve -q q --stop
}
@test "pc-serve: what a time-out says" {
	timeout_row GET no no 502 -
	timeout_row POST no no 409 indeterminate
	timeout_row POST no yes 502 not-started
	timeout_row GET no yes 502 not-started
	timeout_row POST yes yes 409 indeterminate
	timeout_row DELETE yes no 409 indeterminate
	[ "$(cat out)" = '{"error":"Timed out waiting for host bridge response.","outcome":"indeterminate","retryable":false}' ]
	timeout_row GET yes yes 502 -
	timeout_row OPTIONS yes yes 502 -
}

@test "pc-serve: a client that goes away has its request withdrawn" {
	serve
	"$T/http_probe.py" half "$at" secret-token
	has_files q/requests 0
	mkfifo go
	"$T/http_probe.py" hold "$at" secret-token 5 <go >sent 3>&- &
	exec 5>go
	until_true has_files q/requests 5
	pc-drain -n 2 -q q >lines
	has_files q/claimed 2
	exec 5>&-
	until_true has_files q/requests 0
	until_true has_files q/claimed 0
	post
	kill "$caller"
	until_true has_files q/requests 0
}

@test "pc-serve: full counts others' files and claims, and frees again" {
	serve --max-depth 3
	for i in 1 2 3; do ids+=("$(pc-enqueue -q q -t 1m --no-wait GET /"$i")"); done
	until_true eval '[ "$(call -o out -w "%{http_code}" -d {} "$url")" = 503 ]'
	[ "$(cat out)" = '{"error":"Bridge request queue is full."}' ]
	# Before 415 and 413, after 401.
	[ "$(type=x call -o out -w '%{http_code}' -d {} "$url")" = 503 ]
	[ "$(token=x call -o out -w '%{http_code}' -d {} "$url")" = 401 ]
	pc-drain -q q >lines
	[ "$(wc -l <lines)" -eq 3 ]
	[ "$(call -o out -w '%{http_code}' "$url")" = 503 ]
	echo x | pc-respond -q q -s 200 "${ids[0]}" >/dev/null
	post
	[ "$(call -o out2 -w '%{http_code}' "$url")" = 503 ]
	response "$(file_id q/requests)" 200 '{}'
	wait "$caller"
	[ "$(status)" = 200 ]
}

@test "pc-serve: what has expired is swept before the queue is called full" {
	mkdir -p q/requests
	for i in 1 2; do
		pc-enqueue -q q -t 100ms --no-wait GET /"$i"
		touch -d '1 minute ago' q/requests/*.json
	done
	serve --max-depth 1
	for i in 1 2; do
		pc-enqueue -q q -t 100ms --no-wait GET /"$i"
		touch -d '1 minute ago' q/requests/*.json
	done
	until_true eval '{ call -m 0.1 -o out -w "%{http_code}" "$url" || :; } 2>&1 | grep 000'
}

@test "pc-serve: it works again when the queue has been removed" {
	serve
	rm -rf q
	post -d '{}'
	answer
	wait "$caller"
	[ "$(status)" = 200 ]
	began=${EPOCHREALTIME/./}
	for i in 1 2 3 4 5; do
		[ "$(call -o out -w '%{http_code}' -d '{}' "$url")" = 200 ]
	done
	[ $((${EPOCHREALTIME/./} - began)) -lt 400000 ]	# told, not polled
	! grep . q/logs/bridge.log || false
}

@test "pc-serve: full disk: 503, then it works again; read-only: no start" {
	cat >inside <<-'EOF'
		set -e
		mkdir m
		mount -t tmpfs -o size=64k,nr_inodes=100 none m
		q=m/q; serve
		head -c 100000 /dev/zero >m/fill 2>/dev/null || :
		[ "$(call -o out -D head -w '%{http_code}' -d {} "$url")" = 503 ]
		grep -q 'No space left' out
		grep -q '^x-paperclip-bridge-outcome: not-started' head
		has_files m/q/requests 0
		rm m/fill
		answer
		[ "$(call -o out -w '%{http_code}' -d {} "$url")" = 200 ]
		kill "${pids[@]}"
		wait
		until_true gone "$pid"
		mount -o remount,ro m
		! pc-serve -q m/q --daemon 2>err || exit 1
		grep -q 'Read-only file system' err
		pc-serve -q m/q --stop || :
	EOF
	export -f serve call answer has_files until_true gone
	export T
	unshare -rm bash inside
}

@test "pc-serve: a queue it may not write to: 503, then it works again" {
	export PAPERCLIP_BRIDGE_TOKEN=secret-token
	setpriv --bounding-set=-all --inh-caps=-all \
	    pc-serve -q q --daemon >ready 3>&-
	pids+=("$(cat q/server.pid)")
	url=$(sed 's/.*"baseUrl":"\([^"]*\)".*/\1/' ready)
	answer
	chmod 500 q/requests
	[ "$(call -o out -D head -w '%{http_code}' -d {} "$url")" = 503 ]
	[ "$(cat out)" = '{"error":"Permission denied"}' ]
	grep -q '^x-paperclip-bridge-outcome: not-started' head
	chmod 700 q/requests
	[ "$(call -o out -w '%{http_code}' -d {} "$url")" = 200 ]
}

@test "pc-serve: out of descriptors: clients wait, and nothing breaks" {
	(ulimit -n 80; serve --max-depth 1000; cp ready ready2)
	url=$(sed 's/.*"baseUrl":"\([^"]*\)".*/\1/' ready2) at=${url#http://}
	pids+=("$(cat q/server.pid)")
	mkfifo go
	"$T/http_probe.py" hold "$at" secret-token 200 <go >sent 3>&- &
	exec 5>go
	until_true [ -s sent ]
	until_true has_files q/requests 40
	exec 5>&-
	until_true has_files q/requests 0
	answer
	[ "$(call -o out -w '%{http_code}' -d {} "$url")" = 200 ]
	[ ! -s q/logs/bridge.log ]
}

@test "pc-serve: a killed server is started again on the same port" {
	serve --claims
	post -d '{}'
	first=$(child)
	kill -KILL "$first"
	run wait "$caller"
	until_true child_is_new "$first"
	until_true has_files q/requests 0
	answer
	[ "$(call -o out -w '%{http_code}' -d {} "$url")" = 200 ]
	[ "$(cat q/logs/bridge.log)" = "pc-serve: gateway: the server crashed; restarting" ]
	[ "$(cat q/server.pid)" = "$pid" ]
}

@test "pc-serve: a server that keeps crashing is given up" {
	serve
	for i in 1 2 3 4 5 6; do
		c=$(child)
		kill -KILL "$c"
		until_true eval 'child_is_new "$c" || gone "$pid"'
	done
	until_true gone "$pid"
	[ ! -e q/server.pid ]
	[ ! -e q/ready.json ]
	[[ $(tail -n 1 q/logs/bridge.log) == *"keeps crashing" ]]
}

@test "pc-serve: its supervisor killed, the server ends and is replaced" {
	serve
	c=$(child) old=$at
	kill -KILL "$pid"
	serve -l "$at"
	[ "$at" = "$old" ]
	until_true gone "$c"
	answer
	[ "$(call -o out -w '%{http_code}' -d {} "$url")" = 200 ]
}

@test "pc-serve: --daemon prints ready.json, --status too, --stop ends it" {
	serve
	[[ $(cat ready) =~ ^\{\"pid\":$pid,\"host\":\"127.0.0.1\",\"port\":[0-9]+,\"baseUrl\":\"http://127.0.0.1:[0-9]+\",\"startedAt\":\"20[^\"]*Z\"\}$ ]]
	cmp ready q/ready.json
	[ "$(cat q/server.pid)" = "$pid" ]
	pc-serve -q q --status | cmp - ready
	run -1 pc-serve -q q -l 127.0.0.1:0
	run -1 pc-serve -q q --daemon
	[[ $output == *"another gateway serves this queue" ]]
	cmp ready q/ready.json
	c=$(child)
	pc-serve -q q --stop
	until_true gone "$pid"
	until_true gone "$c"
	[ ! -e q/server.pid ]
	[ ! -e q/ready.json ]
	run -1 pc-serve -q q --status
	pc-serve -q q --stop
}

@test "pc-serve: --stop answers those who wait" {
	serve --claims
	post -d '{}'
	pc-serve -q q --stop
	wait "$caller"
	[ "$(status)" = 503 ]
	grep -q '^x-paperclip-bridge-outcome: not-started' head
	has_files q/requests 0
}

@test "pc-serve: --stop kills a gateway that is stuck, and its server" {
	serve
	c=$(child)
	kill -STOP "$pid" "$c"
	pc-serve -q q --stop
	until_true gone "$pid"
	kill -CONT "$c"
	until_true gone "$c"
	[ ! -e q/server.pid ]
}

@test "pc-serve: --stop never ends a process that is no gateway" {
	serve
	pc-serve -q q --stop
	sleep 100 3>&- &
	other=$!
	pids+=("$other")
	echo "$other" >q/server.pid
	run -1 pc-serve -q q --stop
	kill -0 "$other"
	kill "$other"
	wait "$other" || :
	pc-serve -q q --stop
	[ ! -e q/server.pid ]
}

@test "pc-serve: a daemon that cannot start says why, at once, 111" {
	serve
	began=${EPOCHREALTIME/./}
	run -111 --separate-stderr pc-serve -q q2 --daemon -l "$at"
	[ $((${EPOCHREALTIME/./} - began)) -lt 1500000 ]
	[ -z "$output" ]
	[[ $stderr == *"Address already in use"* ]]
	grep -q "Address already in use" q2/logs/bridge.log
	[ ! -e q2/ready.json ]
}

@test "pc-serve: starts as peers start theirs" {
	export PAPERCLIP_API_BRIDGE_MODE=queue_v1 PAPERCLIP_BRIDGE_QUEUE_DIR=$PWD/q
	PAPERCLIP_BRIDGE_TOKEN=secret-token PAPERCLIP_BRIDGE_PORT=NaN \
	    PAPERCLIP_BRIDGE_MAX_BODY_BYTES=3000 nohup pc-serve /some/script.mjs >>log 2>&1 </dev/null 3>&- &
	peer=$!
	pids+=("$peer")
	until_true [ -e q/ready.json ]
	[ "$(cat q/server.pid)" = "$peer" ]
	url=$(sed 's/.*"baseUrl":"\([^"]*\)".*/\1/' q/ready.json)
	[ "$(call -o out -w '%{http_code}' -d "$(printf %3001d 0)" "$url")" = 413 ]
	answer
	[ "$(call -o out -w '%{http_code}' -d "$(printf %1000d 0)" "$url")" = 200 ]
	kill "$peer"
	wait "$peer"
	[ ! -e q/server.pid ]
}

@test "pc-serve: bad settings are refused, 100" {
	export PAPERCLIP_BRIDGE_TOKEN=secret-token
	PAPERCLIP_API_BRIDGE_MODE=queue_v2 run -100 pc-serve -q q
	run -100 pc-serve -q q /some/script.mjs
	run -100 pc-serve
	run -100 pc-serve -q q -l 0.0.0.0:0
	run -100 pc-serve -q q -l '[::]:0'
	run -100 pc-serve -q q -l 128.0.0.1:0
	PAPERCLIP_BRIDGE_HOST=0.0.0.0 run -100 pc-serve -q q
	run -100 pc-serve -q q -l example.org:80
	run -100 pc-serve -q q -l 127.0.0.1:65536
	run -100 pc-serve -q q -t 11m
	# Nobody could be served.
	run -100 timeout 5 pc-serve -q q --max-connections 0
	run -100 timeout 5 pc-serve -q q --max-depth 0
	PAPERCLIP_BRIDGE_TOKEN= run -100 pc-serve -q q
	PAPERCLIP_BRIDGE_TOKEN='a b' run -100 pc-serve -q q
	run -100 pc-serve -q q --new-token
	run -100 pc-serve -q q --token-file missing
	# Another time it may be read.
	run -111 pc-serve -q q --token-file /proc/self/mem
	[ ! -e q/ready.json ]
	serve -l 0.0.0.0:0 --any-address
}

@test "pc-serve: --new-token writes a token nobody else can read" {
	no_token=1
	umask 000
	serve --new-token --token-file t
	[ "$(stat -c %a t)" = 600 ]
	[[ $(cat t) =~ ^[A-Za-z0-9_-]{32}$ ]]
	first=$(cat t)
	answer
	[ "$(token=$first call -o out -w '%{http_code}' "$url")" = 200 ]
	[ "$(call -o out -w '%{http_code}' "$url")" = 401 ]
	! grep -rF "$first" q /proc/"$pid"/cmdline /proc/"$(child)"/cmdline || false
	pc-serve -q q --stop
	serve --new-token --token-file t
	[ "$(cat t)" != "$first" ]
}

@test "pc-serve: --expect-host answers 421 to any other" {
	serve --expect-host localhost --expect-host 127.0.0.1
	answer
	for h in 127.0.0.1 LOCALHOST:99 localhost; do
		[ "$(call -o out -w '%{http_code}' -H "Host: $h" "$url")" = 200 ]
	done
	for h in evil.example localhost.evil.example 127.0.0.10 xlocalhost; do
		[ "$(call -o out -w '%{http_code}' -H "Host: $h" "$url")" = 421 ]
		# before the token
		[ "$(curl -s -o out -w '%{http_code}' -H "Host: $h" "$url")" = 421 ]
	done
}

@test "pc-serve: --accept lets further types in" {
	serve --accept multipart/form-data
	answer
	type='Multipart/Form-Data; boundary=x' call -d hello -o out "$url/same"
	[ "$(cat out)" = hello ]
	[ "$(type=multipart/form-datax call -d hello -o out -w '%{http_code}' "$url")" = 415 ]
	[ "$(type=text/plain call -d hello -o out -w '%{http_code}' "$url")" = 415 ]
}

@test "pc-serve: a Unix socket is private; a dead one is replaced, a live not" {
	serve -l unix:s
	[ "$(stat -c %a s)" = 600 ]
	answer
	call --unix-socket s -d hello -o out http://h/same
	[ "$(cat out)" = hello ]
	run -111 pc-serve -q q2 -l unix:s
	[ -S s ]
	kill -KILL "$pid" "$(child)"
	until_true gone "$pid"
	[ -S s ]
	serve -l unix:s
	call --unix-socket s -d hello -o out http://h/same
	pc-serve -q q --stop
	[ ! -e s ]
	echo precious >s
	run -111 pc-serve -q q -l unix:s
	[ "$(cat s)" = precious ]
}

@test "pc-serve: a live Unix socket that accepts nothing is not waited for" {
	mkfifo go
	python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.bind("s")
s.listen(0)
full = []
while True:
    c = socket.socket(socket.AF_UNIX)
    c.setblocking(False)
    full.append(c)
    try:
        c.connect("s")
    except BlockingIOError:
        break
open("full", "w").close()
open("go").read()' 3>&- &
	pids+=("$!")
	wait_until test -e full
	export PAPERCLIP_BRIDGE_TOKEN=secret-token
	run -111 timeout -s KILL 5 pc-serve -q q -l unix:s
	[ "$output" = "pc-serve: cannot listen: Address already in use" ]
	[ -S s ]
}

@test "pc-serve: listens on ::1" {
	serve -l '[::1]:0'
	[[ $url == "http://[::1]:"* ]]
	answer
	[ "$(call -g -o out -w '%{http_code}' "$url")" = 200 ]
}

wakeups() { sed -n 's/^vol.*:\t//p' "/proc/$pid/status" "/proc/$(child)/status"; }
ticks() { cut -d' ' -f14,15 "/proc/$(child)/stat"; }
@test "pc-serve: idle, it is not woken, and is small" {
	serve
	answer
	call -d '{}' -o out "$url"
	c=$(child)
	before=$(wakeups)
	read -r -t 1.2 <> <(:) || :
	[ "$(wakeups)" = "$before" ]
	[[ $(command -v pc-serve) == */san/* ]] ||
	    [ "$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$c/status")" -lt 2048 ]
}

@test "pc-serve: half-closed, refused and waiting clients cost no time" {
	serve
	mkfifo go
	"$T/http_probe.py" idle "$at" secret-token <go >ready3 3>&- &
	exec 5>go
	until_true grep -q ready ready3
	before=$(ticks)
	read -r -t 0.7 <> <(:) || :
	[ "$(ticks)" = "$before" ]
	exec 5>&-
	until_true has_files q/requests 0
}

@test "pc-serve: a thousand waiting clients in 16 MB" {
	serve --max-depth 2000
	mkfifo go
	"$T/http_probe.py" hold "$at" secret-token 1000 <go >sent 3>&- &
	exec 5>go
	until_true has_files q/requests 1000
	rss=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(child)/status")
	[[ $(command -v pc-serve) == */san/* ]] || [ "$rss" -lt 16384 ]
	exec 5>&-
	until_true has_files q/requests 0
}

@test "pc-serve: one call scans no folder" {
	PAPERCLIP_BRIDGE_POLL_INTERVAL_MS=5000 serve
	answer
	call -d '{}' -o out "$url"
	strace -f -qq -e trace=getdents64 -o trace -p "$(child)" 3>&- &
	tracer=$!
	until_true grep -q 'TracerPid:.[1-9]' "/proc/$(child)/status"
	call -d '{}' -o out "$url"
	kill "$tracer"
	wait "$tracer" || :
	! grep getdents trace || false
}

@test "pc-serve: a command has the gateway for as long as it runs, and its status" {
	run --separate-stderr -7 pc-serve -q q --claims -- sh -c '
		umask
		[ "$PAPERCLIP_API_BRIDGE_MODE" = queue_v1 ] || exit 1
		[ "${#PAPERCLIP_API_KEY}" -eq 32 ] || exit 2
		[ -e "$PAPERCLIP_BRIDGE_QUEUE_DIR/ready.json" ] || exit 3
		[ -z "${PAPERCLIP_BRIDGE_TOKEN+set}" ] || exit 4
		curl -s -m 5 "$PAPERCLIP_API_URL/x"
		cat
		echo error >&2
		exit 7' <<<"its input"
	[ "${lines[0]}" = 0022 ]
	[[ $output == *'{"error":"Invalid bridge token."}its input' ]]
	[ "$stderr" = error ]
	[ ! -e q/ready.json ]
	run -1 pc-serve -q q --status
	# Its own token is nobody's, and not the same twice.
	run -0 pc-serve -q q -- sh -c 'echo "$PAPERCLIP_API_KEY"'
	first=$output
	run -0 pc-serve -q q -- sh -c 'echo "$PAPERCLIP_API_KEY"'
	[ "$first" != "$output" ]
	[ -z "$(grep -rF "$output" q)" ]
	PAPERCLIP_BRIDGE_TOKEN=given run -0 pc-serve -q q -- sh -c 'echo "$PAPERCLIP_API_KEY"'
	[ "$output" = given ]
}

@test "pc-serve: a command that cannot be run, or is killed; a queue that is not there" {
	run --separate-stderr -127 pc-serve -q q -- ./none
	[ "$stderr" = "pc-serve: ./none: No such file or directory" ]
	run -127 bash -c 'pc-serve -q q -- ./none 2>&-'
	run --separate-stderr -126 pc-serve -q q -- "$PWD"
	run -137 pc-serve -q q -- sh -c 'kill -KILL $$'
	run --separate-stderr -1 pc-serve -q none --existing -- true
	[ "$stderr" = "pc-serve: none: No such file or directory" ]
	[ ! -e none ]
	run -100 pc-serve -q q --daemon -- true
	# One that serves already: said to the caller, not to the log.
	serve
	run --separate-stderr -1 pc-serve -q q -- true
	[ "$stderr" = "pc-serve: q: another gateway serves this queue" ]
}

@test "pc-serve: TERM goes to the command, and the gateway serves until it has ended" {
	pc-serve -q q --claims -- sh -c '
		trap "curl -s -m 5 -H \"Authorization: Bearer \$PAPERCLIP_API_KEY\" \$PAPERCLIP_API_URL/last >last; exit 9" TERM
		: >there
		while :; do sleep 0.05; done' 3>&- &
	pids+=("$!")
	pid=$!
	wait_until test -e there
	no_token=1 answer
	kill "$pid"
	ended "$pid" 9
	grep -q '/last' last
}

@test "pc-serve: the server behind a command is started again on its port; with its parent the command ends" {
	pc-serve -q q -- sh -c 'echo "$PAPERCLIP_API_URL" >url; while :; do sleep 0.05; done' 3>&- &
	pid=$!
	pids+=("$pid")
	wait_until test -s url
	server=$(pgrep -P "$pid" pc-serve || pgrep -P "$pid" -f 'pc-serve -q q')
	server=${server%%$'\n'*}
	command=$(pgrep -P "$pid" -x sh)
	kill -KILL "$server"
	wait_until curl -s -m 5 -o /dev/null "$(cat url)/x"
	kill -KILL "$pid"
	ended "$pid" 137
	wait_until sh -c "! kill -0 $command"
}

@test "pc-serve: a lock that cannot be looked at is nobody's: no --status, no --stop" {
	serve
	run -111 with_descriptors 7 pc-serve -q q --status
	[ "$output" = "pc-serve: q: Too many open files" ]
	run -111 with_descriptors 7 pc-serve -q q --stop
	[ "$output" = "pc-serve: q: Too many open files" ]
	kill -0 "$pid"
	[ -e q/ready.json ]
	run -0 pc-serve -q q --stop
}
