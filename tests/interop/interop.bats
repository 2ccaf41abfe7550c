#!/usr/bin/env bats
# The published peers, as package.json pins them: their gateways with our
# pipeline, our gateway with their workers, their locks, their snapshot and
# merge, their routes beside ours; and an adapter over their runner interface.
load ../helper

here=$BATS_TEST_DIRNAME
build=$here/../../build
export PEERS=$build/interop
json='content-type: application/json'

# Installed once for a lock file; what comes is checked against its sums.
# (npm ci will not: the newest peer bundles what it leaves out of the lock.)
setup_file() {
	mkdir -p "$PEERS"
	: >"$PEERS/counts"
	cmp -s "$here/package-lock.json" "$PEERS/installed.json" && return
	cp "$here/package.json" "$here/package-lock.json" "$PEERS"
	(cd "$PEERS" && npm install --no-save --ignore-scripts --no-audit \
	    --no-fund --loglevel=error)
	cp "$here/package-lock.json" "$PEERS/installed.json"
}

# What a failed test leaves.
end_gateways() {
	for q in q box/queue; do
		[ ! -d "$q" ] || pc-serve -q "$q" --stop || :
	done
	teardown_processes
}
eval "teardown_processes() $(declare -f teardown | tail -n +2)"
teardown() { end_gateways; }

# start_gateway VERSION - the peer's, on q: sets url and token
start_gateway() {
	mkfifo ready
	node "$here/gateway.mjs" "$1" "$PWD/q" >ready 3>&- &
	gateway=$!
	pids+=("$gateway")
	read -r line <ready
	url=$(jq -r .baseUrl <<<"$line")
	token=$(jq -r .token <<<"$line")
}

# start_api COMMAND... - what prints its port: sets api
start_api() {
	mkfifo port
	"$@" >port 3>&- &
	pids+=("$!")
	read -r api <port
	api=http://127.0.0.1:$api
	export PC_API_TOKEN=host
}

# call METHOD PATH [CURL-OPTION]... - prints the status; the body in a file
call() {
	local method=$1 path=$2
	shift 2
	curl -s -m 20 -o body -w '%{http_code}\n' -X "$method" \
	    -H "authorization: Bearer ${bearer:-$token}" "$@" "$url$path"
}

queue_is_empty() {
	[ -z "$(find q/requests q/claimed q/responses -type f)" ]
}

# recipe N - of those for the newest peer in pc-allow(1)
recipe() {
	awk -v n="$1" '/^Beside the newest peer/ { there = 1 }
	    /^\.Ed/ { on = 0 } on
	    there && /^\.Bd -literal/ && ++seen == n { on = 1 }' \
	    "$here/../../man/pc-allow.1"
}

@test "interop: the peer's gateway, with our drain, allow, forward, respond" {
	start_gateway 2026.707
	start_api "$build/bench/api" --log api.log
	pc-drain -f -q q 3>&- | pc-allow 3>&- | pc-forward -u "$api" 3>&- |
	    pc-respond -q q >reports 3>&- &
	pipeline=$!
	drain=$(jobs -p %%)
	pids+=("$drain")

	[ "$(call GET '/api/agents/me?a=b')" = 200 ]
	jq -e '.query == "?a=b" and .authorization == "Bearer host"' body
	[ "$(call POST /api/issues/i/comments -H "$json" -d '{"a":"ö"}')" = 200 ]
	jq -e '.method == "POST" and .body == "{\"a\":\"ö\"}"' body
	[ "$(call GET '/api/agents/me?do=status&code=404')" = 404 ]
	[ "$(call GET /api/companies/c/secrets)" = 403 ]
	[ "$(call GET /api/agents/a%2fb)" = 400 ]
	[ "$(bearer=wrong call GET /api/agents/me)" = 401 ]
	"$build/bench/load" -c 16 -n 300 --unique --verify \
	    -H "authorization: Bearer $token" -H "$json" \
	    -b '{"n":"%N"}' "$url/api/issues/i/comments?n=%N"
	[ "$(wc -l <api.log)" -eq 303 ]
	# This one knows no base64, and passes on what it finds.
	[ "$(call GET '/api/agents/me?do=binary')" = 200 ]
	base64 -d body | od -An -v -tu1 | xargs -n 1 | cmp - <(seq 0 255)
	# The lost connection of an unsafe call, and how this gateway tells it.
	[ "$(call POST '/api/issues/i/comments?do=reset' -H "$json" -d '{}')" = 504 ]
	jq -e '.outcome == "indeterminate"' body

	# Nobody drains any more: who stops says so, within the peer's time.
	kill -TERM "$drain"
	wait "$pipeline"
	call GET /api/agents/me >status &
	waiting=$!
	wait_until sh -c 'ls q/requests | grep -q json$'
	pc-drain -q q --fail "Bridge worker stopped before request could be handled." \
	    --respond
	wait "$waiting"
	[ "$(cat status)" = 503 ]
	grep -q "Bridge worker stopped" body

	kill -TERM "$gateway"
	ended "$gateway"
	queue_is_empty
}

@test "interop: the peer's gateway gives up, and what it leaves is swept" {
	TIMEOUT_MS=300 start_gateway 2026.707
	[ "$(call POST /api/issues/i/comments -H "$json" -d '{}')" = 502 ]
	# It leaves its request behind; too late, nobody may handle it.
	[ "$(find q/requests -type f | wc -l)" -eq 1 ]
	age "$(find q/requests -type f)" 40
	run -1 pc-drain -q q --no-wait
	[ -z "$output" ]
	pc-drain -q q --sweep
	[ -z "$(find q/requests -type f)" ]
}

# What is counted is said in the end, by make.
worker() {
	node "$here/worker.mjs" "$1" "$2" "$3" "$PWD/q" 3>&- >>"$PEERS/counts"
}

@test "interop: pc-serve started, used and stopped by the peer, by its files" {
	worker 2026.707 "$(command -v pc-serve)" fs
}

@test "interop: pc-serve started, used and stopped by the peer, by commands" {
	worker 2026.707 "$(command -v pc-serve)" command
}

@test "interop: the newest peer's gateway, as pc-allow(1) tells how" {
	start_gateway 2026.916
	start_api node "$here/attachments.mjs"
	recipe 1 >recipe
	(queue=q url=$api && . ./recipe) >reports 3>&- &
	pipeline=$!

	head -c 10M /dev/urandom >file
	[ "$(call POST /api/companies/c/issues/i/attachments -F file=@file)" = 200 ]
	[ "$(call GET "/api/attachments/$(jq .id body)/content")" = 200 ]
	cp body stored
	# The file is within what was stored, all of it.
	start=$(grep -abo -m 1 -P '^\r$' stored | cut -d: -f1)
	tail -c "+$((start + 3))" stored | head -c 10M | cmp - file
	# And the longest text.
	jq -n '"a" * (10 * 1024 * 1024)' >long
	[ "$(call PATCH /api/issues/i -H "$json" --data-binary @long)" = 200 ]
	[ "$(call POST /runtime-tools/github/credentials -H "$json" -d '{}' \
	    -H 'x-paperclip-github-capability: c')" = 200 ]
	jq -e '.capability == "c"' body
	[ "$(call PATCH /api/issues/i -H "$json" -d '{}' \
	    -H 'x-paperclip-github-capability: c')" = 200 ]
	jq -e '.capability == null' body
	[ "$(call GET /api/companies/c/secrets)" = 403 ]
	[ "$(call PATCH '/api/issues/i?lose' -H "$json" -d '{}')" = 409 ]
	jq -e '.outcome == "indeterminate"' body

	kill -TERM "$(pgrep -P "$pipeline" -x pc-drain)"
	wait "$pipeline"
	queue_is_empty
}

newest_worker() {
	recipe 2 >serve
	chmod +x serve
	worker 2026.916 "$PWD/serve" "$1"
}

@test "interop: the newest peer's worker, as pc-allow(1) tells how, by files" {
	newest_worker fs
}

@test "interop: the newest peer's worker, as pc-allow(1) tells how, by commands" {
	newest_worker command
}

@test "interop: built-in rules are the peers' routes and headers, both ways" {
	node "$here/routes.mjs" 3>&- >>"$PEERS/counts"
}

@test "interop: the peer's lock folders, and pc-lock --dir" {
	node "$here/locks.mjs" "$PWD" 3>&- >>"$PEERS/counts"
}

@test "interop: the peer's snapshot and merge, and pc-tarsync's" {
	node "$here/sync.mjs" "$PWD" 3>&- >>"$PEERS/counts"
}

@test "interop: an adapter over the peer's runner interface runs an agent" {
	start_api "$build/bench/api"
	export XDG_STATE_HOME=$PWD/state
	node "$here/adapter_run.mjs" "$PWD" \
	    "$here/../../bin/static/pc-tools" "$api" 3>&- >>"$PEERS/counts"
}
