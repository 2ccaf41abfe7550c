#!/usr/bin/env bats
# The benchmark's own programs: load counts rightly, api does what it is told.
bats_require_minimum_version 1.5.0

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export LC_ALL=C
	PATH="${BENCH_BIN:-$BATS_TEST_DIRNAME/../../build/bench}:$PATH"
	pids=()
}

teardown() {
	[ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :
}

# start_api [OPTION]... - an api; its base URL is in $url
start_api() {
	local port
	mkfifo ready
	api "$@" >ready 3>&- &
	pids+=("$!")
	read -r port <ready
	rm ready
	url="http://127.0.0.1:$port"
}

# start_canned TEXT - a server that sends TEXT (printf) to every connection,
# after it has read something, and closes it; its base URL is in $url
start_canned() {
	local port
	mkfifo ready
	python3 -c '
import socket, sys
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    c.recv(65536)
    c.sendall(sys.argv[1].encode().decode("unicode_escape").encode("latin1"))
    c.close()
' "$1" >ready 3>&- &
	pids+=("$!")
	read -r port <ready
	rm ready
	url="http://127.0.0.1:$port"
}

# http_load ... - load; bats has a function of that name
http_load() {
	command load "$@"
}

# field NAME - of the last --json report
field() {
	python3 -c 'import json, sys
print(json.loads(sys.argv[1])[sys.argv[2]])' "$output" "$1"
}

@test "load: every call is counted once, and its number comes back" {
	start_api --log log
	run http_load -c 64 -n 20000 --unique --verify --json --log calls \
	    -H 'idempotency-key: %N' -b '{"n":"%N"}' "$url/x/%N?q=%N"
	[ "$status" -eq 0 ]
	[ "$(field calls)" = 20000 ]
	[ "$(field statuses)" = "{'200': 20000}" ]
	[ "$(field mixups)" = 0 ]
	[ "$(cut -d' ' -f3 log | sort -u | wc -l)" -eq 20000 ]
	[ "$(wc -l <log)" -eq 20000 ]
	[ "$(cut -d' ' -f1 calls | sort)" = "$(cut -d' ' -f3 log | sort)" ]
}

@test "load: an answer with another number is a mix-up, exit 1" {
	start_api
	run -1 http_load -n 10 --unique --verify --json "$url/size/%N?do=size&n=9"
	[ "$(field mixups)" = 10 ]
	[ "$(field errors)" = 0 ]
}

@test "load: a number inside a longer one is a mix-up" {
	start_api
	run -1 http_load -n 1 --unique --verify --json "$url/1%N"
	[ "$(field mixups)" = 1 ]
	run -1 http_load -n 1 --unique --verify --json "$url/%N1"
	[ "$(field mixups)" = 1 ]
	run -0 http_load -n 1 --unique --verify --json "$url/%N1/%N"
}

@test "load: all forms of an answer are read" {
	start_api
	local what
	for what in chunked until-close cookie redirect binary headers \
	    'status&code=204' 'status&code=304' 'delay&ms=5' 'size&n=0' \
	    'size&n=1000000' close-keepalive; do
		echo "do=$what"
		run -0 http_load -n 1 "$url/?do=$what"
	done
	run -0 http_load -c 4 -n 100 "$url/?do=until-close"
	run -0 http_load -c 4 -n 400 --unique --verify "$url/%N?do=chunked"
	run -0 http_load -n 100 -X HEAD "$url/?do=chunked"
	run -0 http_load -n 100 -X HEAD "$url/?do=size&n=5000"
	run -0 http_load -n 100 -H 'connection: close' "$url/"
}

@test "load: what is no good answer is an error, once for each call" {
	start_api
	local what
	for what in partial close reset 'status&code=400' 'status&code=599'; do
		echo "do=$what"
		run -1 http_load -c 3 -n 30 --json "$url/?do=$what"
		[ "$(field errors)" = 30 ]
		[ "$(field calls)" = 30 ]
	done
	run -1 http_load -n 10 --json "$url/?do=close-keepalive"
	[ "$(field errors)" = 5 ]
	run -1 http_load -c 2 -n 4 -t 0.2 --json "$url/?do=hang"
	[ "$(field errors)" = 4 ]
	[ "$(field firstError)" = "no answer in time" ]
}

@test "load: nobody listens" {
	run -1 http_load -n 3 --json unix:none:/x
	[ "$(field errors)" = 3 ]
	[ "$(field firstError)" = "No such file or directory" ]
}

@test "load: malformed answers are errors" {
	local answer
	for answer in 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n123' \
	    'HTTP/1.1 200 OK\r\ncontent-length: 1x\r\n\r\n1' \
	    'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n1' \
	    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n12\r\n0\r\n\r\n' \
	    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n1\r\n' \
	    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n' \
	    'HTTP/1.1 20 OK\r\n\r\n' 'HTTP/2.0 200 OK\r\n\r\n' \
	    'HTTP/1.1 200 OK\r\nnocolon\r\n\r\n' \
	    'HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n' \
	    'HTTP/1.1 200 OK\r\n' ''; do
		echo "$answer"
		start_canned "$answer"
		run -1 http_load -n 2 --json "$url/"
		[ "$(field errors)" = 2 ]
	done
}

@test "load: interim answers are skipped, trailers and extensions read" {
	start_canned 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1'
	run -0 http_load -n 1 "$url/"
	start_canned 'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\n'
	run -0 http_load -n 1 "$url/"
}

@test "load: bad usage is exit 100" {
	run -100 http_load
	run -100 http_load -n 0 http://127.0.0.1:1/
	run -100 http_load -n 1 -d 1 http://127.0.0.1:1/
	run -100 http_load ftp://127.0.0.1/
	run -100 http_load --verify http://127.0.0.1:1/%N
	run -100 http_load --unique http://127.0.0.1:1/
}

@test "load: over a Unix socket, for a time, with a body from a file" {
	local size
	start_api --unix s --port 0
	run -0 http_load -c 8 -d 0.2 --unique --verify unix:s:/a/%N
	head -c 1000000 /dev/urandom >body
	run -0 http_load -n 3 -b @body -t 5 unix:s:/a
	size=$(curl -s --data-binary @body "$url/b" |
	    sed 's/.*"bodyBytes":\([0-9]*\).*/\1/')
	[ "$size" -eq 1000000 ]
}

@test "api: tells what arrived" {
	start_api
	run curl -s -X PUT -H 'authorization: Bearer t' \
	    -H 'x-paperclip-run-id: r1' -d $'{"a":"\xc3\xa9"}' "$url/p/q?x=1&y"
	[ "$output" = '{"method":"PUT","path":"/p/q","query":"?x=1&y","body":"{\"a\":\"é\"}","authorization":"Bearer t","runId":"r1","n":1}' ]
	run curl -s -d $'\xff' "$url/?"
	[ "$output" = '{"method":"POST","path":"/","query":"?","bodyBytes":1,"authorization":null,"runId":null,"n":2}' ]
	run curl -s -H 'transfer-encoding: chunked' -d 'abc' "$url/c"
	[[ $output == *'"body":"abc"'* ]]
	run curl -s -H 'expect: 100-continue' -d 'abc' "$url/c"
	[[ $output == *'"body":"abc"'* ]]
}

@test "api: does what the query or the path says" {
	start_api
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$url/a?b&do=status&code=418")" = 418 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$url/status/404")" = 404 ]
	[ "$(curl -s "$url/size/12")" = xxxxxxxxxxxx ]
	[ "$(curl -s "$url/binary" | od -An -v -tu1 | tr -s ' \n' ' ')" = \
	    " $(seq -s' ' 0 255) " ]
	[ "$(curl -s -o /dev/null -w '%{redirect_url}' "$url/redirect")" = \
	    "$url/elsewhere" ]
	curl -si "$url/cookie" | grep -q '^set-cookie: a=b'
	curl -s -H 'A-b: c' "$url/headers" | grep -q '"A-b":"c"'
	run -52 curl -s "$url/close"
	run -56 curl -s "$url/reset"
	run -18 curl -s "$url/partial"
	run -28 curl -s -m 0.2 "$url/hang"
}

@test "api: a late answer holds up no other" {
	start_api
	curl -s "$url/delay/60000" 3>&- &
	pids+=("$!")
	run -0 http_load -n 100 -t 1 "$url/"
	run -0 http_load -c 50 -n 100 --json "$url/?do=delay&ms=20"
	python3 -c 'import json, sys
r = json.loads(sys.argv[1])
assert 19000 < r["us"]["min"] and r["seconds"] < 2, r' "$output"
}

@test "api: pipelined requests, cut anywhere, are answered in order" {
	start_api
	python3 - "${url##*:}" <<'EOF'
import socket, sys
text = (b"GET /1?do=delay&ms=1 HTTP/1.1\r\nhost: a\r\n\r\n"
    b"POST /2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n"
    b"POST /3 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nde"
    b"GET /4 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
for cut in range(len(text)):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(text[:cut])
    s.sendall(text[cut:])
    s.settimeout(5)
    got = b"".join(iter(lambda: s.recv(65536), b""))
    at = [got.find(b'"path":"/%d"' % i) for i in range(1, 5)]
    assert -1 not in at and at == sorted(at), (cut, got)
    assert got.count(b"HTTP/1.1 200") == 4, (cut, got)
EOF
}

@test "api: --log has a line for each request that was read" {
	start_api --log log --close-after-read 2
	curl -s -o /dev/null -d 'a b' "$url/x?y=1"
	run -52 curl -s -H 'idempotency-key: k' -d z "$url/x"
	curl -s -o /dev/null "$url/g"
	[ "$(cat log)" = "POST /x?y=1 a b
POST /x k
GET /g " ]
}

@test "api: what is no request is answered 400" {
	start_api
	run -0 curl -s -o /dev/null -w '%{http_code}' -X POST \
	    -H 'content-length: 1' -H 'transfer-encoding: chunked' \
	    -d a "$url/"
	[ "$output" = 400 ]
}

@test "limits: a line for each limit, nothing left in the folder" {
	run limits -n 20 .
	[ "$status" -eq 0 ]
	[ "${#lines[@]}" -eq 3 ]
	[ -z "$(ls -A)" ]
}
