#!/usr/bin/env bats
# The published peer, @paperclipai/adapter-utils, as bench's package.json pins
# it: its gateway with our pipeline, our gateway with its worker.
load ../helper

here=$BATS_TEST_DIRNAME
build=$here/../../build/bench
peer=$build/peer
bridge=$here/interop.mjs
json='content-type: application/json'

setup_file() {
	local lock=$here/../bench/package-lock.json
	cmp -s "$lock" "$peer/installed.json" && return
	mkdir -p "$peer"
	cp "$here/../bench/package.json" "$lock" "$peer"
	(cd "$peer" && npm ci --ignore-scripts --no-audit --no-fund)
	cp "$lock" "$peer/installed.json"
}

# call METHOD PATH [CURL-OPTION]... - prints the status; the body in a file
call() {
	local method=$1 path=$2
	shift 2
	curl -s -m 20 -o body -w '%{http_code}\n' -X "$method" \
	    -H "authorization: Bearer ${bearer:-$token}" "$@" "$url$path"
}

@test "interop: the peer's gateway, with our drain, allow, forward, respond" {
	mkfifo ready
	node "$bridge" "$peer" gateway "$PWD/q" >ready 3>&- &
	pids+=("$!")
	gateway=$!
	read -r line <ready
	url=$(jq -r .baseUrl <<<"$line")
	token=$(jq -r .token <<<"$line")
	mkfifo port
	"$build/api" --log api.log >port 3>&- &
	pids+=("$!")
	read -r api <port
	export PC_API_TOKEN=host
	pc-drain -f -q q 3>&- | pc-allow 3>&- |
	    pc-forward -u "http://127.0.0.1:$api" 3>&- |
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
	"$build/load" -c 16 -n 300 --unique --verify \
	    -H "authorization: Bearer $token" -H "$json" \
	    -b '{"n":"%N"}' "$url/api/issues/i/comments?n=%N"
	[ "$(wc -l <api.log)" -eq 303 ]

	kill -TERM "$drain"
	wait "$pipeline"
	kill -TERM "$gateway"
	ended "$gateway"
	[ -z "$(find q/requests q/claimed q/responses -type f)" ]
}

worker_with() {
	node "$bridge" "$peer" worker "$PWD/q" "$(command -v pc-serve)" "$1" 3>&-
}

@test "interop: pc-serve started, used and stopped by the peer, by its files" {
	worker_with fs
}

@test "interop: pc-serve started, used and stopped by the peer, by commands" {
	worker_with command
}
