#!/usr/bin/env bats
# Two APIs: build/bench/api, and forward-api.py for what that would never do.
load helper

here=$BATS_TEST_DIRNAME

eval "helper_$(declare -f setup)"
setup() {
	helper_setup
	export PC_API_TOKEN=token-of-the-tests
}

# start COMMAND... - a server; $url is its address, from the port it prints
start() {
	local port
	rm -f ready
	mkfifo ready
	"$@" >ready 3>&- 8>&- 9<&- &	# or it would hold our ends of pipes
	pids+=("$!")
	read -r port <ready
	url=http://127.0.0.1:$port
}

start_api() {
	start "$here/../build/bench/api" "$@"
}

start_odd() {
	start python3 "$here/forward-api.py" "$@"
}

# request ID METHOD PATH [QUERY [MORE]] - a line; MORE: ,"key":value
request() {
	printf '{"id":"%s","method":"%s","path":"%s","query":"%s",' \
	    "$1" "$2" "$3" "${4-}"
	printf '"headers":{},"body":"","createdAt":"2026-01-01T00:00:00.000Z"'
	printf '%s}\n' "${5-}"
}

soon=',"remainingMs":2300'	# 300 ms, and the margin of 2 s

forward() {
	pc-forward -u "$url" "$@"
}

shapes() {
	python3 "$here/forward-lines.py" shapes
}

body_of() {
	python3 "$here/forward-lines.py" body "$1"
}

# open_forward [OPTION]... - one that is fed through descriptor 8 and read
# from 9; its process is $filter
open_forward() {
	mkfifo in out
	pc-forward -u "$url" "$@" <in >out 2>err 3>&- &
	filter=$!
	pids+=("$filter")
	exec 8>in 9<out
}

# close_forward STATUS - its input ends, and it does so with STATUS
close_forward() {
	exec 8>&-
	ended "$filter" "$1"
}

@test "pc-forward: -h and -V" {
	run -0 pc-forward -h
	[[ $output == "usage: pc-forward "* ]]
	run -0 pc-forward -V
	[[ $output == "pc-forward "* ]]
}

bad_usage() {
	run --separate-stderr -100 pc-forward "$@" </dev/null
	[ -z "$output" ]
	[ "${#stderr_lines[@]}" -eq 1 ]
	[[ $stderr == "pc-forward: "* ]]
}

@test "pc-forward: a wrong command line is exit 100 and one line" {
	local u=http://127.0.0.1:1
	bad_usage
	bad_usage -u $u operand
	bad_usage -u $u -j 0
	bad_usage -u $u -j 1025
	bad_usage -u $u -t 2s
	bad_usage -u $u -t 5
	bad_usage -u $u -m x
	bad_usage -u $u --ca-file none
	bad_usage -u $u --run-id ''
	bad_usage -u $u --run-id $'a\nb'
	bad_usage -u $u --keep-alive soon
	bad_usage -u $u --nothing
	local name
	for name in connection Keep-Alive te trailer transfer-encoding upgrade \
	    content-length Set-Cookie content-encoding 'a b' ''; do
		bad_usage -u $u --header-keep "$name"
	done
}

@test "pc-forward: a base URL that is none, or is more than that" {
	local u
	for u in '' / host http:// http:/host http:host https:///x \
	    ftp://host/ HTTPS//x http://u@host http://u:p@host/ \
	    'http://host?x' 'http://host/?x' 'http://host/#x' 'http://host#x' \
	    http://host/a/../b http://host/%2e/ http://host//x \
	    'http://host/a b' http://host:x http://host:70000 'http://ho st' \
	    http://host:1:2 'http://[::1' $'http://host/\n' \
	    unix: unix:/x:/a/../b 'unix:/x:/?y' "unix:$(printf %0108d 0)"; do
		echo "$u"
		bad_usage -u "$u"
	done
	for u in http://127.0.0.1:1 http://127.0.0.1:1/ https://127.0.0.1:1/a/b/ \
	    'http://[::1]:1/' http://localhost:1 unix:none unix:none:/ \
	    unix:none:/a unix:/none/x:/a/b; do
		echo "$u"
		run -0 pc-forward -u "$u" </dev/null
		[ -z "$output" ]
	done
}

@test "pc-forward: a token is needed, from the file or the environment" {
	local u=http://127.0.0.1:1
	unset PC_API_TOKEN
	bad_usage -u $u
	PC_API_TOKEN='' bad_usage -u $u
	PC_API_TOKEN=$'a\nb' bad_usage -u $u
	bad_usage -u $u --token-file none
	bad_usage -u $u --token-file .
	: >empty
	bad_usage -u $u --token-file empty
	echo >newline
	bad_usage -u $u --token-file newline
	printf 'a\0b\n' >nul
	bad_usage -u $u --token-file nul
	printf 'a\r\n' >cr
	bad_usage -u $u --token-file cr
	printf 'a\n\n' >two
	bad_usage -u $u --token-file two
	head -c 9000 /dev/zero | tr '\0' a >long
	bad_usage -u $u --token-file long
	# Another time it may be read.
	run -111 pc-forward -u $u --token-file /proc/self/mem </dev/null
}

@test "pc-forward: the token's last newline is cut, and the file wins" {
	start_api
	request a GET /x >line
	printf 'of-the-file\n' >token
	forward --token-file token <line >out
	[[ $(<out) == *'Bearer of-the-file\"'* ]]
	PC_API_TOKEN='' forward --token-file <(printf x) <line >out
	[[ $(<out) == *'Bearer x\"'* ]]
	forward <line >out
	[[ $(<out) == *"Bearer $PC_API_TOKEN\\\""* ]]
}

@test "pc-forward: the token is in no argument, environment, line or message" {
	start_api
	local line
	open_forward
	request a GET /x '?do=size&n=3' >&8
	read -r line <&9
	run ! grep -aq "$PC_API_TOKEN" "/proc/$filter/cmdline"
	run ! grep -aq "$PC_API_TOKEN" "/proc/$filter/environ"
	request b POST /x '?do=close' >&8
	read -r line <&9
	[[ $line != *"$PC_API_TOKEN"* ]]
	request c GET /x/../y >&8
	read -r line <&9
	[[ $line == *'"status":400'*'Invalid request path: '* ]]
	[[ $line != *"$PC_API_TOKEN"* ]]
	close_forward 0
	run ! grep -q "$PC_API_TOKEN" err
}

@test "pc-forward: method, path, query, headers and body arrive as they are" {
	start_api
	request a GET '/x/%C3%A9;v=1/' '?q=%20&&a=/../' >lines
	cat >>lines <<'END'
{"id":"b","method":"PATCH","path":"/p","query":"","headers":{"content-type":"application/json"},"body":"{\"\u00e9\":\"\n\"}","createdAt":"x"}
{"id":"c","method":"PURGE","path":"/p","query":"","headers":{},"body":"Yf8=","bodyEncoding":"base64","createdAt":"x"}
{"id":"d","method":"GET","path":"/p","query":"","headers":{},"body":"not sent","createdAt":"x"}
END
	forward --run-id run-1 <lines >out
	body_of a <out >a
	[ "$(<a)" = '{"method":"GET","path":"/x/%C3%A9;v=1/","query":"?q=%20&&a=/../","body":"","authorization":"Bearer token-of-the-tests","runId":"run-1","n":1}' ]
	body_of b <out >b
	[[ $(<b) == '{"method":"PATCH","path":"/p","query":"","body":"{\"é\":\"\n\"}",'* ]]
	body_of c <out >c
	[[ $(<c) == '{"method":"PURGE","path":"/p","query":"","bodyBytes":2,'* ]]
	body_of d <out >d
	[[ $(<d) == '{"method":"GET","path":"/p","query":"","body":"",'* ]]
}

@test "pc-forward: one method after another, on the same connection or not" {
	start_api
	local m n=0
	for m in HEAD POST GET DELETE HEAD PUT GET HEAD OPTIONS PATCH get GET; do
		n=$((n + 1))
		request "$n$m" "$m" /x
	done >lines
	forward -j 1 <lines >out
	[ "$(grep -c '"status":200' out)" -eq 12 ]
	shapes <out >shape
	[ "$(grep -c 'HEAD 200 - $' shape)" -eq 3 ]
	[ "$(grep -cE '^[0-9]+([A-Za-z]+) 200 - \{"method":"\1"' shape)" -eq 9 ]
}

@test "pc-forward: the headers of a request are the record's and ours" {
	start_api
	cat >lines <<'END'
{"id":"a","method":"POST","path":"/","query":"?do=headers","headers":{"accept":"a/b","content-type":"c/d","if-match":"","idempotency-key":"  k","Authorization":"Bearer other","x-paperclip-run-id":"other","host":"other","content-length":"99","Transfer-Encoding":"chunked","connection":"x-other","te":"trailers","expect":"100-continue","accept-encoding":"gzip","cookie":"a=b","proxy-authorization":"x","bad name":"x","bad-value":"a\r\nx: y","x-other":"1"},"body":"{}","createdAt":"x"}
{"id":"b","method":"DELETE","path":"/","query":"?do=headers","headers":{"x-paperclip-run-id":"other"},"body":"","createdAt":"x"}
{"id":"c","method":"PUT","path":"/","query":"?do=headers","headers":{},"body":"","createdAt":"x"}
END
	forward --run-id run-1 <lines >out
	forward <lines >out2
	python3 - "${url#http://}" <<'END'
import json
import sys
def headers(file, ident):
    for record in map(json.loads, open(file, encoding="utf-8")):
        if record["id"] == ident:
            return {name.lower(): value for name, value in
                    json.loads(record["body"]).items()}
version = headers("out", "a")["user-agent"]
assert version.startswith("pc-forward/"), version
ours = {"host": sys.argv[1], "user-agent": version,
        "authorization": "Bearer token-of-the-tests",
        "accept-encoding": "identity"}
run = {"x-paperclip-run-id": "run-1"}
a = {**ours, **run, "accept": "a/b", "content-type": "c/d", "if-match": "",
     "idempotency-key": "k", "x-other": "1", "content-length": "2"}
b = {**ours, **run, "accept": "*/*"}
c = {**ours, **run, "accept": "*/*", "content-length": "0"}
for ident, told in (("a", a), ("b", b), ("c", c)):
    assert headers("out", ident) == told, headers("out", ident)
del b["x-paperclip-run-id"]
assert headers("out2", "b") == b, headers("out2", "b")
END
}

@test "pc-forward: a body of any size is sent at once and whole" {
	start_api
	python3 - >lines <<'END'
import json
for n in (1, 65535, 65536, 100000, 262144):
    print(json.dumps({"id": str(n), "method": "POST", "path": "/", "query": "",
        "headers": {}, "body": "x" * n, "createdAt": "x"}))
END
	forward -m 1M <lines >out
	python3 - <<'END'
import json
got = {r["id"]: len(json.loads(r["body"])["body"])
       for r in map(json.loads, open("out", encoding="utf-8"))}
assert got == {str(n): n for n in (1, 65535, 65536, 100000, 262144)}, got
END
}

@test "pc-forward: the base's path goes before every other" {
	start_api
	request a GET /x '?y' >line
	url=$url/base/v1/
	forward <line | body_of a >out
	[[ $(<out) == *'"path":"/base/v1/x","query":"?y"'* ]]
}

@test "pc-forward: a Unix socket, with a path or without" {
	start_api --unix s
	{ request a GET /x; request b POST /y; } >lines
	url=unix:s
	forward <lines >out
	body_of a <out >a
	[[ $(<a) == *'"path":"/x"'*"Bearer $PC_API_TOKEN"* ]]
	url=unix:$PWD/s:/base
	forward <lines >out
	body_of b <out >b
	[[ $(<b) == *'"path":"/base/y"'* ]]
}

@test "pc-forward: all other lines pass on unchanged" {
	url=http://127.0.0.1:1
	cat >lines <<'END'
{"id":"a","status":200,"headers":{"x":"y"},"body":"\u00e9","other":[1, 2],"completedAt":"now"}

{"wrote" : false,"id":"b","reason":"c"}

END
	forward <lines >out
	cmp lines out
	printf '{"id":"a","wrote":true}' | forward >out
	[ "$(<out)" = '{"id":"a","wrote":true}' ]
}

@test "pc-forward: an invalid line is dropped, and its number told" {
	start_api --log log
	{
		request a GET /ok
		echo '{"id":"b","method":"GET"}'
		echo junk
		request c GET /x '' ',"status":200'
		request d GET /x '' ',"wrote":true'
		request e GET /x '' ',"method":"POST"'
		request f/g GET /x
		head -c 2000000 /dev/zero | tr '\0' x
		echo
		request h GET /ok2
	} >lines
	forward <lines >out 2>err
	shapes <out >shape
	[ "$(cut -d' ' -f1,2 shape)" = $'a 200\nh 200' ]
	[ "$(wc -l <log)" -eq 2 ]
	[ "$(grep -o 'line [0-9]*:' err | tr -d '\n')" = \
	    'line 2:line 3:line 4:line 5:line 6:line 7:line 8:' ]
}

@test "pc-forward: no key but the record's reaches the API" {
	start_api
	request a GET /x '' \
	    ',"url":"http://127.0.0.1:1/","host":"other","token":"t","Path":"/y"' |
	    forward | body_of a >out
	[[ $(<out) == *'"path":"/x"'*"Bearer $PC_API_TOKEN"* ]]
}

@test "pc-forward: a path or a query that is not canonical is 400, not sent" {
	start_api --log log
	local n=0 path query
	for path in '' x '*' //evil.example/x /a//b /a/../b /a/. /%2e%2e/x \
	    /a%2fb /a%5cb '/a\\b' /a%00b '/a?b' '/a#b' '/a b' '/a\u00e9' \
	    '/a\nb' /a%zz http://evil.example/x @evil.example; do
		n=$((n + 1))
		request "p$n" GET "$path"
	done >lines
	for query in x '?a#b' '?a b' '?a\nb' '#'; do
		n=$((n + 1))
		request "q$n" POST /x "$query"
	done >>lines
	forward <lines | shapes >out
	[ "$(wc -l <out)" -eq "$n" ]
	run ! grep -v ' 400 - Invalid request path: ' out
	[ ! -s log ]
}

@test "pc-forward: what the API may answer, and what that becomes" {
	start_odd --log log
	python3 "$here/forward-lines.py" requests "$here/pc-forward-answers.tsv" \
	    >lines
	forward <lines >out
	python3 "$here/forward-lines.py" compare "$here/pc-forward-answers.tsv" \
	    <out
	# Nothing unsafe came twice, and nothing was followed elsewhere.
	[ "$(grep -cv '^\(GET\|HEAD\|OPTIONS\) ' log)" -eq \
	    "$(grep -cv '"method": "\(GET\|HEAD\|OPTIONS\)"' lines)" ]
	run ! grep -q elsewhere log
}

@test "pc-forward: more headers are kept if asked for" {
	start_api
	{ request a GET /x '?do=redirect'; request b GET /x '?do=cookie'; } |
	    forward --header-keep Location --header-keep location \
	    --header-keep content-type --header-keep none >out
	[[ $(<out) == *'"status":302,"headers":{"content-type":"application/json","location":"/elsewhere"}'* ]]
	run ! grep -q set-cookie out
}

@test "pc-forward: an answer with a head over the limit is none" {
	start_odd
	python3 - >lines <<'END'
import base64
import json
for ident, n in (("a", 10000), ("b", 40000)):
    raw = b"HTTP/1.1 200 X\r\nx: %s\r\ncontent-length: 0\r\n\r\n" % (b"y" * n)
    print(json.dumps({"id": ident, "method": "POST", "query": "",
        "path": "/raw/" + base64.urlsafe_b64encode(raw).decode(),
        "headers": {}, "body": "", "createdAt": "x"}))
END
	forward <lines | shapes >out
	[[ $(<out) == 'a 200 - '*$'\nb 504 indeterminate The API gave no'* ]]
}

@test "pc-forward: proxies, netrc, cookies and redirects are not heeded" {
	start_api --log log
	printf 'default login user password secret\n' >.netrc
	{
		request a GET /x '?do=cookie'
		request b GET /x '?do=redirect'
		request c GET /x '?do=headers'
	} >lines
	HOME=$PWD http_proxy=http://127.0.0.1:1 HTTP_PROXY=http://127.0.0.1:1 \
	    all_proxy=http://127.0.0.1:1 ALL_PROXY=http://127.0.0.1:1 \
	    forward -j 1 <lines >out
	shapes <out >shape
	[ "$(cut -d' ' -f1,2 shape)" = $'a 200\nb 302\nc 200' ]
	body_of c <out >c
	run ! grep -qi cookie c
	grep -q "\"Bearer $PC_API_TOKEN\"" c
	[ "$(cut -d' ' -f2 log)" = $'/x?do=cookie\n/x?do=redirect\n/x?do=headers' ]
}

@test "pc-forward: a body over -m is no answer, and is told so" {
	start_api --log log
	local m
	for m in GET POST; do
		request "$m-at" $m /x '?do=size&n=1000'
		request "$m-over" $m /x '?do=size&n=1001'
		request "$m-far" $m /x '?do=size&n=60000000'
	done >lines
	request chunks GET /x '?do=chunked&aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' >>lines
	request head HEAD /x '?do=size&n=5000' >>lines
	forward -m 1000 <lines | shapes >out
	x=$(head -c 1000 /dev/zero | tr '\0' x)
	too='Bridge response body exceeded the configured size limit of 1000 bytes.'
	[ "$(grep -v chunks out)" = "GET-at 200 - $x
GET-far 502 - $too
GET-over 502 - $too
POST-at 200 - $x
POST-far 504 indeterminate $too
POST-over 504 indeterminate $too
head 200 - " ]
	request chunks GET /x '?do=chunked' | forward -m 10 | shapes >out
	[[ $(<out) == 'chunks 502 - Bridge response body exceeded '*' 10 bytes.' ]]
	[ "$(grep -c ^POST log)" -eq 3 ]
}

@test "pc-forward: a request's body over the limit is 413, not sent" {
	start_api --log log
	head -c 262145 /dev/zero | tr '\0' x >body
	printf '{"id":"a","method":"POST","path":"/","query":"","headers":{},"body":"%s","createdAt":"x"}\n' "$(<body)" >line
	forward <line | shapes >out
	[[ $(<out) == 'a 413 - Bridge request body exceeded '* ]]
	[ ! -s log ]
	forward -m 300K <line | grep -q '"status":200'
}

@test "pc-forward: without time left nothing is sent: 503, not started" {
	start_api --log log
	{
		request a GET /x '' ',"remainingMs":2000'
		request b POST /x '' ',"remainingMs":0'
	} | forward | shapes >out
	[ "$(<out)" = "a 503 not-started No time is left for the request.
b 503 not-started No time is left for the request." ]
	[ ! -s log ]
}

@test "pc-forward: a deadline passes: 502, or 504 indeterminate" {
	start_api --log log
	local late='Timed out waiting for the API.'
	{
		request a GET /x '?do=hang' "$soon"
		request b POST /x '?do=hang' "$soon"
	} | forward | shapes >out
	[ "$(<out)" = "a 502 - $late
b 504 indeterminate $late" ]
	{ request a GET /x '?do=hang'; request b POST /x '?do=hang'; } |
	    forward -t 2200ms | shapes >out
	[ "$(<out)" = "a 502 - $late
b 504 indeterminate $late" ]
	[ "$(wc -l <log)" -eq 4 ]	# a deadline leaves no time to send again
}

@test "pc-forward: a deadline passes while a request waits for its turn" {
	start_api --log log
	{
		request a POST /x '?do=hang' ',"remainingMs":2600'
		request b POST /y '' "$soon"
		request c POST /z '' ',"remainingMs":20000'
	} | forward -j 1 >out
	python3 - <<'END'
import json
got = [(r["id"], r["status"], r["headers"].get("x-paperclip-bridge-outcome"))
       for r in map(json.loads, open("out", encoding="utf-8"))]
assert got == [("b", 503, "not-started"), ("a", 504, "indeterminate"),
               ("c", 200, None)], got
END
	[ "$(cut -d' ' -f2 log)" = $'/x?do=hang\n/z' ]
}

@test "pc-forward: the API cannot be reached: 502, not started" {
	{ request a GET /x; request b POST /x; } >lines
	url=unix:none
	forward <lines 2>err | shapes >out
	[[ $(<out) == 'a 502 not-started The API cannot be reached: '*$'\nb 502 not-started The API cannot be reached: '* ]]
	[ "$(wc -l <err)" -eq 1 ]	# said once
	start python3 -c 'import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])'
	wait "${pids[0]}"
	forward <lines | shapes >out
	[[ $(<out) == 'a 502 not-started The API cannot be reached: '*$'\nb 502 not-started The API cannot be reached: '* ]]
	run ! grep -q "${url##*:}" out	# nor does it tell where the API is
}

@test "pc-forward: a connection that is not made in time: 502, not started" {
	start_odd --deaf
	request a POST /x '' "$soon" | forward | shapes >out
	[ "$(<out)" = "a 502 not-started Timed out waiting for the API." ]
}

@test "pc-forward: a POST that the API reads, and closes, is seen once" {
	start_api --log log
	local line
	open_forward
	request a GET /a '?do=close-keepalive' >&8
	read -r line <&9
	[[ $line == *'"status":200'* ]]
	request b POST /b '?do=close-keepalive' >&8	# on a connection of its own
	read -r line <&9
	[[ $line == *'"id":"b","status":200'* ]]
	request c POST /c '?do=close-keepalive' >&8
	read -r line <&9
	[[ $line == *'"id":"c","status":200'* ]]
	request d POST /d '?do=close' >&8
	read -r line <&9
	[[ $line == *'"id":"d","status":504,'*'indeterminate'* ]]
	close_forward 0
	[ "$(cut -d' ' -f2 log)" = '/a?do=close-keepalive
/b?do=close-keepalive
/c?do=close-keepalive
/d?do=close' ]
}

@test "pc-forward: a safe request is sent once more, and not again" {
	start_api --log log
	local line m
	open_forward
	request a GET /a >&8
	read -r line <&9
	request b GET /b '?do=close-keepalive' >&8	# dies, then is fresh
	read -r line <&9
	[[ $line == *'"id":"b","status":200'* ]]
	for m in GET HEAD OPTIONS TRACE; do
		request "$m" $m "/$m" '?do=close' >&8
		read -r line <&9
		[[ $line == *"\"id\":\"$m\",\"status\":502,"* ]]
		run ! grep -q bridge-outcome <<<"$line"
	done
	request p GET /p '?do=partial' >&8
	read -r line <&9
	[[ $line == *'"id":"p","status":502,'* ]]
	request r GET /r '?do=reset' >&8
	read -r line <&9
	close_forward 0
	[ "$(cut -d' ' -f2 log | cut -d'?' -f1 | uniq -c | tr -s ' \n' ' ')" = \
	    ' 1 /a 2 /b 2 /GET 2 /HEAD 2 /OPTIONS 2 /TRACE 2 /p 2 /r ' ]
}

@test "pc-forward: no unsafe request is sent twice, whatever its connection does" {
	start_api --log log
	local m what
	for m in POST PUT PATCH DELETE get X-OTHER; do
		for what in close reset partial close-keepalive until-close; do
			request "$m-$what" $m "/$m-$what" "?do=$what"
		done
	done >lines
	{ request g GET /g; cat lines; request h GET /h; cat lines; } |
	    forward -j 3 >out
	[ "$(cut -d' ' -f2 log | sort | uniq -d)" = '' ]
	[ "$(wc -l <log)" -eq 32 ]
	shapes <out >shape
	[ "$(grep -c '\(close\|reset\|partial\) 504 indeterminate ' shape)" -ge 18 ]
	run ! grep '\(keepalive\|until-close\) [^2]' shape
}

@test "pc-forward: an API that is gone and comes back" {
	start_api --unix s
	local line
	url=unix:s
	open_forward
	request a GET /a >&8
	read -r line <&9
	[[ $line == *'"status":200'* ]]
	kill "${pids[0]}"
	wait "${pids[0]}" || :
	request b POST /b >&8
	read -r line <&9
	[[ $line == *'"status":502,'*'not-started'* ]]
	request c GET /c >&8
	read -r line <&9
	[[ $line == *'"status":502,'*'not-started'* ]]
	start_api --unix s
	url=unix:s
	request d GET /d >&8
	read -r line <&9
	[[ $line == *'"status":200'* ]]
	request e GET /e >&8
	read -r line <&9
	[[ $line == *'"status":200'* ]]
	close_forward 0
}

@test "pc-forward: an id that comes again gets the same answer, from memory" {
	start_api --log log
	local one two m
	open_forward
	for m in GET POST; do
		request "$m" $m "/$m" >&8
		read -r one <&9
		request "$m" $m "/$m" >&8
		read -r two <&9
		[ "$one" = "$two" ]
		request "$m" $m /elsewhere >&8
		read -r two <&9
		[ "$one" = "$two" ]
	done
	request n POST /n '' ',"remainingMs":1' >&8
	read -r one <&9
	[[ $one == *'"status":503,'* ]]
	request n POST /n >&8
	read -r two <&9
	[ "$one" = "$two" ]
	request l POST /l '?do=close' >&8
	read -r one <&9
	[[ $one == *'"status":504,'* ]]
	request l POST /l >&8
	read -r two <&9
	[ "$one" = "$two" ]
	close_forward 0
	[ "$(cut -d' ' -f2 log)" = $'/GET\n/POST\n/l?do=close' ]
}

@test "pc-forward: an id that is still in flight is neither sent nor answered again" {
	start_odd --log log
	{
		request a POST /hold
		request a POST /hold
		request b GET /x
		request a POST /hold
		request c GET /release
	} | forward | shapes >out
	[ "$(cut -d' ' -f1,2 out)" = $'a 200\nb 200\nc 200' ]
	[ "$(grep -c hold log)" -eq 1 ]
}

@test "pc-forward: an id that waits for its turn is not taken twice, either" {
	start_api --log log
	{
		request a POST /a '?do=delay&ms=50'
		request b POST /b
		request b POST /b
		request b POST /b
	} | forward -j 1 >out
	[ "$(wc -l <out)" -eq 2 ]
	[ "$(wc -l <log)" -eq 2 ]
}

has_lines() {
	[ "$(wc -l <"$1")" -eq "$2" ]
}

# many METHOD - 90 requests with answers of 200 kB, which are more than is kept
many() {
	local i
	for ((i = 0; i < 90; i++)); do
		request "$1-$i" "$1" "/$1-$i" '?do=size&n=200000'
	done
}

@test "pc-forward: memory of answers is bounded, and says so rather than call again" {
	start_api --log log
	open_forward -j 1	# so that they are answered in order
	cat <&9 >answers 3>&- 8>&- &
	many POST >&8
	wait_until has_lines answers 90
	request POST-0 POST /again >&8
	request POST-89 POST /again >&8
	wait_until has_lines answers 92
	[[ $(sed -n 91p answers) == *'"id":"POST-0","status":504,'*'"indeterminate"'* ]]
	[ "$(sed -n 92p answers)" = "$(sed -n 90p answers)" ]
	many GET >&8
	wait_until has_lines answers 182
	request GET-0 GET /again >&8	# safe: it may be asked once more
	request POST-89 POST /again >&8	# and has not driven out the others
	close_forward 0
	wait_until has_lines answers 184
	[ "$(tail -n 2 answers | grep -c '"id":"POST-89".*xxx')" -eq 1 ]
	[ "$(tail -n 2 answers | grep -c '"id":"GET-0","status":200')" -eq 1 ]
	[ "$(grep again log)" = "GET /again " ]
}

@test "pc-forward: the ids of 65,536 answered requests are known" {
	start_api --log log
	local line='{"id":"%d","method":"POST","path":"/","query":"","headers":{},"body":"","createdAt":"x","remainingMs":%d}\n'
	open_forward
	cat <&9 >answers 3>&- 8>&- &
	# shellcheck disable=SC2059
	printf "$line" $(seq -f '%.0f 2000' 65537) >&8
	wait_until has_lines answers 65537
	# shellcheck disable=SC2059
	printf "$line" 1 9000 4 9000 65537 9000 >&8
	close_forward 0
	wait_until has_lines answers 65540
	[ "$(tail -n 3 answers | grep -c ':200,')" -eq 1 ]
	[ "$(wc -l <log)" -eq 1 ]
	[ "$(grep -c '"id":"65537".*not-started' answers)" -eq 2 ]
}

@test "pc-forward: -j calls are in flight at once, and no more" {
	start_odd
	local i
	for i in 1 2 3 4; do
		request "m$i" GET /meet/4
	done >lines
	forward -j 4 <lines | shapes >out
	[ "$(grep -c ' 200 ' out)" -eq 4 ]
	for i in 1 2 3 4; do
		request "n$i" POST /meet/4 '' "$soon"
	done >lines
	start_odd
	forward -j 3 <lines | shapes >out
	[ "$(grep -c ' 504 ' out)" -eq 3 ]
	[ "$(grep -c ' 503 not-started ' out)" -eq 1 ]
}

@test "pc-forward: a slow answer holds up no other" {
	start_odd
	local line
	open_forward -j 2
	request slow GET /hold >&8
	request fast GET /x >&8
	read -r line <&9
	[[ $line == '{"id":"fast",'* ]]
	echo >&8
	read -r line <&9
	[ -z "$line" ]
	request last GET /release >&8
	read -r line <&9
	[[ $line == '{"id":"last",'* ]] || [[ $line == '{"id":"slow",'* ]]
	close_forward 0
}

@test "pc-forward: many calls, all answered, none mixed up" {
	start_api --log log
	python3 - >lines <<'END'
for i in range(3000):
    method = "POST" if i % 3 == 0 else "GET"
    query = ("", "?do=chunked", "?do=close-keepalive")[i % 3] \
        if method == "GET" else "?do=until-close" if i % 2 else ""
    print(f'{{"id":"id-{i}","method":"{method}","path":"/n/{i}/",'
          f'"query":"{query}","headers":{{}},"body":"{i}","createdAt":"x"}}')
END
	forward -j 20 <lines >out
	python3 - <<'END'
import json
got = [(r["id"], r["status"], json.loads(r["body"])["path"])
       for r in map(json.loads, open("out", encoding="utf-8"))]
assert sorted(got) == sorted((f"id-{i}", 200, f"/n/{i}/")
                             for i in range(3000)), got
END
	[ "$(grep -c ^POST log)" -eq 1000 ]
	[ "$(grep ^POST log | sort -u | wc -l)" -eq 1000 ]
}

# stall LINE COUNT - COUNT such lines, with an id for %d; their answers are
# read only when nothing has been taken for a second, which must come about
stall() {
	python3 - "$url" "$@" <<'END'
import os
import select
import subprocess
import sys
url, line, total = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
lines = b"".join(line % i + b"\n" for i in range(total))
filter = subprocess.Popen(["pc-forward", "-u", url],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE)
into, out = filter.stdin.fileno(), filter.stdout.fileno()
os.set_blocking(into, False)
sent = count = 0
stalled = False
while count < total:
    readable, writable, _ = select.select(
        [out] if stalled else [], [into] if sent < len(lines) else [], [], 1)
    if not stalled and not writable:
        stalled = True
        assert sent < len(lines)
        calls = sum(1 for _ in open("log", encoding="utf-8"))
        print(sent, calls)
        with open(f"/proc/{filter.pid}/status", encoding="ascii") as status:
            size = [int(line.split()[1]) for line in status
                    if line.startswith("VmRSS")][0]
        assert size < 400000, size  # kB; with sanitizers, too
    if writable:
        sent += os.write(into, lines[sent:sent + 65536])
        if sent == len(lines):
            filter.stdin.close()
    if readable:
        count += os.read(out, 1 << 20).count(b"\n")
assert filter.wait() == 0
END
}

@test "pc-forward: a reader that does not read stops the input, not the calls" {
	start_api --log log
	local x
	x=$(head -c 1000 /dev/zero | tr '\0' x)
	stall "$(request '%d' POST / '?do=size&n=100000' ",\"more\":\"$x\"")" 2000
	[ "$(wc -l <log)" -eq 2000 ]
	stall "{\"id\":\"%d\",\"wrote\":true,\"reason\":\"$x\"}" 5000
}

@test "pc-forward: --keep-alive writes an empty line into silence" {
	start_odd
	local line
	open_forward --keep-alive 20ms
	read -r line <&9
	[ -z "$line" ]
	request a GET /hold >&8
	read -r line <&9
	read -r line <&9
	[ -z "$line" ]
	request b GET /release >&8
	exec 8>&-
	cat <&9 >rest
	ended "$filter" 0
	[ "$(grep -c . rest)" -eq 2 ]
}

@test "pc-forward: the reader has gone: exit 111 at once" {
	start_api
	local line
	open_forward
	request a GET /x >&8
	read -r line <&9
	exec 9<&-
	ended "$filter" 111
	[[ $(<err) == "pc-forward: stdout: Broken pipe" ]]
	rm in out
	open_forward
	request a POST /x '?do=hang' >&8
	exec 9<&-
	ended "$filter" 111
}

@test "pc-forward: a full device is exit 111" {
	start_api
	run -111 bash -c 'pc-forward -u "$1" >/dev/full' - "$url" \
	    < <(request a GET /x)
	[ "$output" = "pc-forward: stdout: No space left on device" ]
}

@test "pc-forward: an input that cannot be read is exit 111, with all answered" {
	start_api
	run -111 forward <.
	[ "$output" = "pc-forward: stdin: Is a directory" ]
}

@test "pc-forward: an input without its last newline, from a file, to a file" {
	start_api
	printf %s "$(request a GET /x)" >line
	forward <line >out
	[ "$(wc -l <out)" -eq 1 ]
	printf %s '{"id":"a","meth' >line
	forward <line >out 2>err
	[ ! -s out ]
	[ "$(<err)" = "pc-forward: stdin, line 1: not JSON" ]
	forward </dev/null >out
	[ ! -s out ]
}

stop_vector() {
	local line
	rm -f in out log
	mkfifo log
	exec 7<>log
	start_api --log log
	open_forward -j 3
	request get GET /get '?do=hang' >&8
	read -r line <&7
	request post POST /post '?do=hang' >&8
	read -r line <&7
	request soon POST /soon '?do=delay&ms=300' >&8
	read -r line <&7
	request queued POST /queued >&8
	echo '{"id":"r","wrote":true}' >&8
	read -r line <&9		# so it has read all this
	[ "$line" = '{"id":"r","wrote":true}' ]
	kill "-$1" "$filter"
	cat <&9 >rest
	ended "$filter" "$2"
	exec 7<&-
	shapes <rest >shape
	python3 - shape <<'END'
import re
import sys
told = r"""get 502 - Bridge worker stopped before the API answered\.
post 504 indeterminate Bridge worker stopped before the API answered\.
queued 503 not-started Bridge worker stopped before request could be handled\.
soon 200 - {.*}
"""
with open(sys.argv[1], encoding="utf-8") as shape:
    assert re.fullmatch(told, shape.read())
END
}

@test "pc-forward: TERM or INT: what is in flight has 2 s, the rest is told" {
	stop_vector TERM 143
	stop_vector INT 130
}

@test "pc-forward: TERM while connecting: 503, not started" {
	start_odd --deaf
	local line
	open_forward
	request a POST /x >&8
	echo >&8
	read -r line <&9
	kill -TERM "$filter"
	shapes <&9 >shape
	ended "$filter" 143
	[ "$(<shape)" = "a 503 not-started Bridge worker stopped before request could be handled." ]
}

@test "pc-forward: TERM with a reader that does not read: it ends all the same" {
	mkfifo log
	exec 7<>log
	start_api --log log
	local line i
	open_forward
	for i in 1 2 3 4 5 6 7 8; do
		request "$i" GET /x '?do=size&n=100000' >&8
		read -r line <&7
	done
	kill -TERM "$filter"
	ended "$filter" 143
	exec 7<&-
}

make_cert() {
	openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -days 2 \
	    -subj /CN=test -addext "subjectAltName=$1" 2>/dev/null
}

@test "pc-forward: https is verified, against --ca-file if given" {
	make_cert IP:127.0.0.1
	start_odd --tls cert key --log log
	{ request a GET /x; request b POST /y; } >lines
	url=https${url#http}
	forward --ca-file cert <lines | shapes >out
	[ "$(cut -d' ' -f1,2 out)" = $'a 200\nb 200' ]
	[ "$(wc -l <log)" -eq 2 ]
	forward <lines 2>err | shapes >out
	[[ $(<out) == 'a 502 not-started The API cannot be reached: '*$'\nb 502 not-started The API cannot be reached: '* ]]
	grep -q certificate err
	make_cert DNS:other.example
	forward --ca-file cert <lines | shapes >out
	[ "$(grep -c ' 502 not-started ' out)" -eq 2 ]
	start_odd --tls cert key --log log
	url=https${url#http}
	forward --ca-file cert <lines | shapes >out
	[ "$(grep -c ' 502 not-started ' out)" -eq 2 ]
	[ "$(wc -l <log)" -eq 2 ]
}

@test "pc-forward: http to a TLS port, and https to one that is not" {
	make_cert IP:127.0.0.1
	start_odd --tls cert key
	request a POST /x | forward | shapes >out
	[[ $(<out) == 'a 504 indeterminate '* ]]
	start_odd
	url=https${url#http}
	request a POST /x '' "$soon" | forward --ca-file cert | shapes >out
	[[ $(<out) == 'a 502 not-started '* ]]
}

@test "pc-forward: a request that there is no memory for is not dropped, but 111" {
	export PC_API_TOKEN=t
	make_long pc-forward
	run --separate-stderr -111 short_of_memory pc-forward -u unix:none -m 128M
	[ "$stderr" = "pc-forward: stdout: Cannot allocate memory" ]
	[ -z "$output" ]
}
