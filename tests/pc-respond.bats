#!/usr/bin/env bats
load helper

# Requests named by the arguments, claimed.
claimed() {
	local id
	mkdir -p q/{requests,claimed,responses}
	for id; do put_request q "$id" POST; done
	pc-drain -q q --no-wait >/dev/null
}

# line ID [STATUS] [MORE] - a response line.
line() {
	printf '{"id":"%s","status":%s,"headers":{},"body":"x"%s}\n' \
	    "$1" "${2:-200}" "${3:-}"
}

reports() {
	jq -r '"\(.id) \(.wrote) \(.reason)"'
}

@test "pc-respond: publishes, removes the claim, reports" {
	claimed a b
	{ line b 201; line a; } | pc-respond -q q >out
	[ "$(reports <out)" = $'b true delivered\na true delivered' ]
	[ "$(jq .status q/responses/b.json)" = 201 ]
	[ "$(wc -l <q/responses/a.json)" -eq 1 ]
	[ -z "$(ls q/claimed)$(ls q/requests)" ]
	[ "$(ls q/responses)" = $'a.json\nb.json' ]
}

@test "pc-respond: answering an unclaimed request claims it first" {
	mkdir -p q/requests
	put_request q a
	[ "$(line a | pc-respond -q q | reports)" = "a true delivered" ]
	[ -z "$(ls q/requests)$(ls q/claimed)" ]
}

@test "pc-respond: the first answer wins, for ever" {
	claimed a
	line a 200 | pc-respond -q q >out
	[ "$({ line a 500; line a 500; } | pc-respond -q q | reports)" = $'a false already answered\na false already answered' ]
	[ "$(jq .status q/responses/a.json)" = 200 ]
	put_request q a		# even if the name comes again
	[ "$(line a 500 | pc-respond -q q | reports)" = "a false already answered" ]
	[ "$(jq .status q/responses/a.json)" = 200 ]
}

@test "pc-respond: for a requester that has gone nothing is written" {
	claimed a
	rm q/claimed/a.json
	[ "$({ line a; line never; } | pc-respond -q q | reports)" = $'a false no such request\nnever false no such request' ]
	[ -z "$(find q -type f)" ]
}

@test "pc-respond: a requester that leaves meanwhile: the response is taken back" {
	claimed a
	line a >in
	# Between the publishing and the second look.
	strace -qq -o trace -e trace=renameat2 -e inject=renameat2:signal=STOP \
	    pc-respond -q q <in >out 3>&- &
	pids+=($!)
	wait_until test -e q/responses/a.json
	rm q/claimed/a.json
	responder=$(pgrep -P "${pids[0]}")
	wait_until grep -q '^State:.*[Tt]' "/proc/$responder/status"
	kill -CONT "$responder"
	ended "${pids[0]}"
	[ "$(reports <out)" = "a false the requester has left" ]
	[ -z "$(find q -type f)" ]
}

@test "pc-respond: other kinds of lines pass, empty ones are nothing" {
	claimed a
	printf '%s\n' '' '{"id":"x","method":"GET","unknown":1,"path":"/","query":"","headers":{},"body":"","createdAt":""}' \
	    '{"id":"y","wrote":true,"reason":"z"}' '' >in
	pc-respond -q q <in >out
	grep . in | diff - out
}

@test "pc-respond: a line that is none is told on stderr, exit 100; the rest goes on" {
	while IFS=$'\t' read -r bad reason; do
		rm -rf q
		claimed a
		printf '%b\n' "$bad" >in
		line a >>in
		run --separate-stderr -100 pc-respond -q q <in
		[ "$(reports <<<"$output")" = "a true delivered" ]
		[ "$stderr" = "pc-respond: stdin: $reason" ]
		[ "$(ls q/responses)" = a.json ]
	done <<-'END'
	x	not JSON
	null	not JSON
	[]	not a record
	{}	not exactly one of "method", "status", "wrote"
	{"id":"a","status":200,"method":"GET","headers":{},"body":""}	not exactly one of "method", "status", "wrote"
	{"id":"a","status":200,"wrote":true,"headers":{},"body":""}	not exactly one of "method", "status", "wrote"
	{"status":200,"headers":{},"body":""}	bad id
	{"id":"../a","status":200,"headers":{},"body":""}	bad id
	{"id":"a","status":199,"headers":{},"body":""}	bad status
	{"id":"a","status":600,"headers":{},"body":""}	bad status
	{"id":"a","status":"200","headers":{},"body":""}	bad status
	{"id":"a","status":200,"status":201,"headers":{},"body":""}	duplicate key
	{"id":"a","status":200,"headers":[],"body":""}	bad headers
	{"id":"a","status":200,"headers":{},"body":"a","bodyEncoding":"base64"}	bad body
	{"id":"a","status":200,"headers":{},"body":"\\ud800"}	not JSON
	{"id":"a","status":200,"headers":{},"body":"\\0000"}	not JSON
	END
}

@test "pc-respond: a line over the limit is dropped, the next is read" {
	claimed a
	{ printf '{"id":"a","status":200,"headers":{},"body":"'
	head -c 80000 /dev/zero | tr '\0' x; printf '"}\n'; line a 201; } >in
	run --separate-stderr -100 pc-respond -q q -m 1000 <in
	[ "$stderr" = "pc-respond: stdin: a line over the limit, dropped" ]
	[ "$(jq .status q/responses/a.json)" = 201 ]
}

@test "pc-respond: a body over the limit: that it ran is certain, the answer is lost" {
	claimed a
	printf '{"id":"a","status":200,"headers":{},"body":"%01001d"}\n' 0 |
	    pc-respond -q q -m 1000 >out
	[ "$(reports <out)" = "a true delivered" ]
	jq -e '.status == 504 and .headers["x-paperclip-bridge-outcome"] == "indeterminate"' q/responses/a.json
	[ "$(jq -r '.body | fromjson.error' q/responses/a.json)" = "Bridge response body exceeded the configured size limit of 1000 bytes." ]
}

@test "pc-respond: a last line without a newline counts, half a line does not" {
	claimed a
	[ "$(line a | tr -d '\n' | pc-respond -q q | reports)" = "a true delivered" ]
	claimed b
	run -100 bash -c 'printf "{\"id\":\"b\",\"status\":2" | pc-respond -q q 2>/dev/null'
	[ -e q/claimed/b.json ]
}

@test "pc-respond: -s takes the body from stdin, as text or base64" {
	claimed a b
	printf 'h\xc3\xa9"' | pc-respond -q q -s 201 -H 'ETag:  "x" ' a >out
	jq -e '.status == 201 and .headers == {"etag": "\"x\""} and .body == "hé\"" and (has("bodyEncoding") | not)' q/responses/a.json
	printf '\xff\0' | pc-respond -q q -s 200 b >out
	jq -e '.body == "/wA=" and .bodyEncoding == "base64"' q/responses/b.json
	run -0 pc-respond -q q -s 200 nobody </dev/null
	[ "$(reports <<<"$output")" = "nobody false no such request" ]
}

@test "pc-respond: wrong usage is exit 100, one line, nothing on stdout" {
	mkdir q
	while IFS=$'\t' read -r -a args; do
		run --separate-stderr -100 pc-respond -q q "${args[@]}" </dev/null
		[ -z "$output" ]
		[ "${#stderr_lines[@]}" -eq 1 ]
	done <<-'END'
	operand
	-s	200
	-s	200	a	b
	-s	199	a
	-s	600	a
	-s	2x	a
	-s	200	../a
	-s	200	-H	none	a
	-s	200	-H	a b: c	a
	-H	a: b
	-m	0
	--nonsense
	END
	run -100 pc-respond
	run -100 bash -c 'echo 12 | pc-respond -q q -m 1 -s 200 a'
	run -111 pc-respond -q nowhere
}

@test "pc-respond: a closed or full stdout is exit 111; what was published stays" {
	claimed a
	line a >in
	run -111 bash -c 'pc-respond -q q <in >/dev/full'
	[ "$output" = "pc-respond: stdout: No space left on device" ]
	[ "$(line a | pc-respond -q q | reports)" = "a false already answered" ]
}

@test "pc-respond: killed anywhere, a response is whole or absent, and nothing stays" {
	for call in openat write renameat2 unlinkat; do
		rm -rf q
		claimed a
		line a >in
		for ((n = 1; n < 9; n++)); do
			strace -qq -o trace -e "trace=$call" \
			    -e "inject=$call:signal=KILL:when=$n" \
			    pc-respond -q q <in >/dev/null 2>&1 || true
			[ ! -e q/responses/a.json ] || jq -e .status q/responses/a.json >/dev/null
		done
		line a | pc-respond -q q >out
		pc-enqueue -q q --collect a >out
		find q -type f -exec touch -d '@1000' {} +
		pc-drain -q q --sweep
		[ -z "$(find q -type f -path '*/*/*')" ]
	done
}

@test "pc-respond: keeps an answer for a requester that comes back" {
	claimed a b
	put_request q c POST ',"timeoutMs":60000'
	put_request q d POST ',"timeoutMs":60000'
	age q/requests/c.json 10
	{ line a 200 ',"expiresAt":12345'; line b; line c
	printf '{"id":"d","status":200,"headers":{},"body":"%0300000d"}\n' 0; } |
	    pc-respond -q q >out
	[ "$(jq .expiresAt q/responses/a.json)" = 12345 ]
	now=$(date +%s)
	[ "$(jq ".expiresAt / 1000 - $now | . > 30 and . < 36" q/responses/b.json)" = true ]
	[ "$(jq ".expiresAt / 1000 - $now | . > 45 and . < 51" q/responses/c.json)" = true ]
	# also an answer that was too large to keep
	[ "$(jq .status q/responses/d.json)" = 504 ]
	[ "$(jq ".expiresAt / 1000 - $now | . > 55 and . < 61" q/responses/d.json)" = true ]
}

@test "pc-respond: while one answers, another writes nothing" {
	claimed a
	line a >in
	# Past its look, before it publishes.
	strace -qq -o trace -e trace=write -e inject=write:signal=STOP:when=1 \
	    pc-respond -q q <in >out 3>&- &
	pids+=($!)
	wait_until sh -c 'ls q/claimed | grep -q tmp'
	responder=$(pgrep -P "${pids[0]}")
	wait_until grep -q '^State:.*[Tt]' "/proc/$responder/status"
	[ "$(line a 500 | pc-respond -q q | reports)" = "a false Resource temporarily unavailable" ]
	kill -CONT "$responder"
	ended "${pids[0]}"
	[ "$(reports <out)" = "a true delivered" ]
	[ "$(jq .status q/responses/a.json)" = 200 ]
	[ "$(find q -type f)" = q/responses/a.json ]
}
