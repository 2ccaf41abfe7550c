#!/usr/bin/env bats
# The whole way of a request: client, pc-serve, pc-drain, pc-allow, pc-forward,
# an API, pc-respond, and back.
load helper

here=$BATS_TEST_DIRNAME
bench=$here/../build/bench
comments=/api/issues/i/comments
json='content-type: application/json'

# start COMMAND... - a server that prints its port; sets $api
start() {
	local port
	rm -f port
	mkfifo port
	"$@" >port 3>&- &
	pids+=("$!")
	read -r port <port
	api=http://127.0.0.1:$port
}

start_api() {
	start "$bench/api" --log api.log
}

# An API that answers with the body it was sent, byte for byte.
start_echo() {
	start python3 -c '
import http.server as h
class Echo(h.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        data = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    do_PUT = do_PATCH = do_POST
    def log_message(self, *args): pass
server = h.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
print(server.server_address[1], flush=True)
server.serve_forever()'
}

# start_gateway [OPTION]... - on the queue q; sets $url
start_gateway() {
	local ready
	printf 'secret\n' >token
	chmod 600 token
	rm -f ready
	mkfifo ready
	pc-serve -q q --token-file token --daemon "$@" 3>&- >ready &
	ready=$(cat ready)
	wait "$!"
	pids+=("$(jq .pid <<<"$ready")")
	url=$(jq -r .baseUrl <<<"$ready")
}

# start_pipeline [DRAIN-OPTION]... - real pipes; sets $drain and $pipeline
start_pipeline() {
	export PC_API_TOKEN="host-token"
	pc-drain -f -q q "$@" 2>err.drain 3>&- | pc-allow 2>err.allow 3>&- |
	    pc-forward -u "$api" 2>err.forward 3>&- |
	    pc-respond -q q >reports 2>err.respond 3>&- &
	pipeline=$!
	drain=$(jobs -p %%)
	pids+=("$drain")
}

# Its drain is ended, and by that all of it.
end_pipeline() {
	kill -TERM "$drain"
	wait "$pipeline"
	pids=("${pids[@]/#$drain/}")
}

start_all() {
	start_api
	start_gateway --claims --max-depth 256
	start_pipeline
}

# call METHOD PATH [CURL-OPTION]... - prints the status; head and body in files
call() {
	local method=$1 path=$2
	shift 2
	curl -s -m 20 -o body -D head -w '%{http_code}\n' -X "$method" \
	    -H 'authorization: Bearer secret' "$@" "$url$path"
}

outcome() {
	sed -n 's/^x-paperclip-bridge-outcome: *\([a-z-]*\).*/\1/Ip' head
}

queue_is_empty() {
	[ -z "$(find q/requests q/claimed q/responses -mindepth 1)" ]
}

times_seen() {
	grep -c -- "$1" api.log || :
}

seen() {
	[ "$(times_seen "$1")" -ge 1 ]
}

# put ID JSON - a file that someone in the sandbox wrote
put() {
	printf '%s\n' "$2" >"q/requests/$1.tmp"
	mv "q/requests/$1.tmp" "q/requests/$1.json"
}

# answered ID - waits for the answer to a file; prints it
answered() {
	wait_until test -e "q/responses/$1.json"
	cat "q/responses/$1.json"
}

# --- what it carries ---------------------------------------------------------

@test "pipeline: every method, with query and body" {
	start_all
	[ "$(call GET '/api/agents/me?a=b%20c')" = 200 ]
	jq -e '.path == "/api/agents/me" and .query == "?a=b%20c"' body
	jq -e '.method == "GET" and .authorization == "Bearer host-token"' body
	[ "$(call POST $comments -H "$json" -d '{"a":"ö"}')" = 200 ]
	jq -e '.method == "POST" and .body == "{\"a\":\"ö\"}"' body
	[ "$(call PUT /api/issues/i/documents/d -H "$json" -d '{}')" = 200 ]
	jq -e '.method == "PUT"' body
	[ "$(call PATCH /api/issues/i -H "$json" -d '[1]')" = 200 ]
	jq -e '.method == "PATCH" and .body == "[1]"' body
	[ "$(call DELETE /api/routine-triggers/t)" = 200 ]
	jq -e '.method == "DELETE" and .body == ""' body
	end_pipeline
	queue_is_empty
}

@test "pipeline: methods that the rules do not name need rules of their own" {
	start_api
	start_gateway --claims
	export PC_API_TOKEN=t
	printf '%s /api/any\n' HEAD OPTIONS PURGE >rules
	pc-drain -f -q q 3>&- | pc-allow -r rules 3>&- |
	    pc-forward -u "$api" 3>&- | pc-respond -q q >reports 3>&- &
	pipeline=$! drain=$(jobs -p %%)
	pids+=("$drain")
	[ "$(call HEAD /api/any --head)" = 200 ]
	[ "$(call OPTIONS /api/any)" = 200 ]
	[ "$(call PURGE /api/any)" = 200 ]
	[ "$(call GET /api/any)" = 403 ]
	end_pipeline
}

@test "pipeline: all 256 byte values, there and back" {
	start_echo
	start_gateway --claims --accept application/octet-stream
	start_pipeline
	perl -e 'print map { chr } 0..255' >bytes
	[ "$(call POST $comments -H 'content-type: application/octet-stream' \
	    --data-binary @bytes)" = 200 ]
	cmp bytes body
	# valid UTF-8 that JSON has to escape
	perl -e 'print map { chr } 0..127; print "\xc3\xb6\xe2\x80\xa8\xf0\x9f\x98\x80"' >bytes
	[ "$(call PUT /api/issues/i/documents/d -H "$json" \
	    --data-binary @bytes)" = 200 ]
	cmp bytes body
	perl -e 'print "\\\"\x01" x 87381, "x"' >bytes	# 256 KiB
	[ "$(call PATCH /api/issues/i -H "$json" --data-binary @bytes)" = 200 ]
	cmp bytes body
	end_pipeline
}

@test "pipeline: the API's statuses and headers pass through" {
	start_all
	for status in 201 204 304 400 401 404 409 422 429 500 503; do
		[ "$(call GET "/api/agents/me?do=status&code=$status")" = $status ]
	done
	[ "$(call GET '/api/agents/me?do=redirect')" = 302 ]
	[ "$(call GET '/api/agents/me?do=cookie')" = 200 ]
	run ! grep -i cookie head
	[ "$(call GET '/api/agents/me?do=chunked')" = 200 ]
	end_pipeline
}

@test "pipeline: 20,000 calls of 64 clients, none lost, doubled or mixed up" {
	start_all
	"$bench/load" -c 64 -n 20000 --unique --verify --log load.log \
	    -H 'authorization: Bearer secret' -H "$json" \
	    -H 'idempotency-key: call-%N' -b '{"n":"call-%N"}' \
	    "$url$comments?call=call-%N"
	[ "$(awk '{ print $2 }' load.log | sort | uniq -c | xargs)" = '20000 200' ]
	[ "$(wc -l <api.log)" -eq 20000 ]
	[ "$(awk '{ print $NF }' api.log | sort -u | wc -l)" -eq 20000 ]
	# target and header came from one call
	[ "$(perl -ne '/call=(\S+) (\S+)$/ and $1 eq $2 and $n++;
	    END { print $n }' api.log)" -eq 20000 ]
	end_pipeline
	queue_is_empty
	[ "$(jq -r .id reports | sort -u | wc -l)" -eq 20000 ]
}

# --- one channel both ways ---------------------------------------------------

@test "pipeline: one pc-drain --respond between two fifos is the whole channel" {
	start_api
	start_gateway --claims --max-depth 256
	mkfifo up down
	PC_API_TOKEN="host-token"
	export PC_API_TOKEN
	pc-allow <up 2>err.allow 3>&- |
	    pc-forward --keep-alive 200ms -u "$api" >down 2>err.forward 3>&- &
	host=$!
	pc-drain -f -q q --respond --keep-alive 2s <down >up 2>err.drain 3>&- &
	drain=$!
	pids+=("$drain")
	[ "$(call POST $comments -H "$json" -d '{}')" = 200 ]
	[ "$(call GET /api/companies/c/secrets)" = 403 ]
	# longer than its patience: the empty lines keep the channel
	[ "$(call GET '/api/agents/me?do=delay&ms=2500')" = 200 ]
	"$bench/load" -c 16 -n 2000 --unique --verify \
	    -H 'authorization: Bearer secret' -H "$json" \
	    -b '{"n":"%N"}' "$url$comments?n=%N"
	[ "$(wc -l <api.log)" -eq 2002 ]
	kill -TERM "$drain"
	ended "$drain"
	# its last answers or keep-alives may find nobody there
	wait "$host" || [ "$?" -eq 111 ]
	queue_is_empty
}

# --- what it refuses ---------------------------------------------------------

@test "pipeline: forbidden routes never reach the API" {
	start_all
	[ "$(call GET /api/companies/c/secrets)" = 403 ]
	jq -e '.error == "Route not allowed: GET /api/companies/c/secrets"' body
	[ "$(call DELETE /api/issues/i)" = 403 ]
	[ "$(call POST /api/agents/me -H "$json" -d '{}')" = 403 ]
	[ "$(call GET /api/agents/me/)" = 403 ]
	[ "$(call GET /api/agents/../companies/c/secrets --path-as-is)" = 403 ]
	[ "$(call GET /api/agents/%2e%2e/companies/c/secrets --path-as-is)" = 403 ]
	[ "$(call GET /api/agents/..%2fcompanies --path-as-is)" = 400 ]
	[ "$(call GET /api//agents/me --path-as-is)" = 400 ]
	[ ! -s api.log ]
	end_pipeline
	queue_is_empty
}

record() {
	printf '{"id":"%s","method":"GET","path":"%s","query":"","headers":{},' \
	    "$1" "$2"
	printf '"body":"","createdAt":"2026-01-01T00:00:00.000Z"%s}' "${3-}"
}

@test "pipeline: paths that no gateway would write are refused" {
	start_all
	n=0
	for path in /api/../x /api/agents/%2e%2e /api/agents//me api/agents/me \
	    '/api/agents/me?x' '/api/agents/me#x' '/api/agents/a b' //host/api \
	    http://other/api/agents/me '/api/agents/%zz' '/api\\agents'; do
		n=$((n + 1))
		echo "path: $path"
		put "h$n" "$(record "h$n" "$path")"
		[ "$(answered "h$n" | jq .status)" = 400 ]
	done
	[ ! -s api.log ]
	end_pipeline
}

@test "pipeline: only the checked record reaches the API" {
	start_all
	# a request, a response and a report at once
	put all "$(record all '/api/agents/all' ',"status":200,"wrote":true')"
	[ "$(answered all | jq .status)" = 400 ]
	[ ! -s api.log ]
	# unknown keys
	put keys "$(record keys '/api/agents/keys' \
	    ',"url":"http://other/","token":"t","Method":"PUT","remainingMs":600000')"
	answered keys | jq -e '.status == 200 and
	    (.body | fromjson | .path == "/api/agents/keys" and
	    .method == "GET" and .authorization == "Bearer host-token")'
	# headers that are not for the API
	put heads "$(record heads '/api/agents/me' | sed \
	    's/"headers":{}/"headers":{"authorization":"Bearer x","host":"other","cookie":"c","x-paperclip-run-id":"r","accept":"text\/x"}/;
	    s/"query":""/"query":"?do=headers"/')"
	answered heads
	answered heads | jq -e '.status == 200 and (.body | fromjson |
	    .authorization == "Bearer host-token" and .accept == "text/x" and
	    .cookie == null and ."x-paperclip-run-id" == null and
	    .host != "other")'
	# one name twice: which of them would be checked?
	put twice "$(record twice '/api/agents/me' ',"path":"/api/secrets"')"
	[ "$(answered twice | jq .status)" = 400 ]
	put escaped "$(record escaped '/api/agents/me' ',"p\u0061th":"/api/secrets"')"
	[ "$(answered escaped | jq .status)" = 400 ]
	# another's id
	put mine "$(record other '/api/agents/me')"
	[ "$(answered mine | jq .status)" = 400 ]
	[ ! -e q/responses/other.json ]
	# a line break within a text is no second record
	put lines "$(record lines '/api/agents/me\n{\"id\":\"b\",\"status\":200}')"
	[ "$(answered lines | jq .status)" = 400 ]
	# a header's value that would be another header
	put crlf "$(record crlf '/api/agents/me' | sed \
	    's/"headers":{}/"headers":{"accept":"a\\r\\nx-b: c"}/')"
	[ "$(answered crlf | jq .status)" = 400 ]
	[ "$(wc -l <api.log)" -eq 2 ]
	run ! grep secrets api.log
	end_pipeline
	rm q/responses/*.json
	queue_is_empty
}

@test "pipeline: a line of two kinds is dropped by every stage, and said" {
	start_api
	mkdir -p q/requests q/claimed q/responses
	record a /api/agents/me ',"status":200' >line
	for tool in 'pc-allow' "pc-forward -u $api" 'pc-respond -q q'; do
		echo "tool: $tool"
		PC_API_TOKEN=t $tool <line >out 2>err || :
		[ ! -s out ]
		grep "^${tool%% *}: " err
	done
	[ ! -s api.log ]
	queue_is_empty
}

# --- a worker that does not claim --------------------------------------------

# worker SECONDS - reads requests/ID, takes its time, answers, removes
start_worker() {
	python3 - "$1" 3>&- <<-'EOF' &
	import json, os, sys, time
	while True:
	    for name in os.listdir("q/requests"):
	        if not name.endswith(".json"):
	            continue
	        path = "q/requests/" + name
	        try:
	            request = json.load(open(path))
	        except FileNotFoundError:
	            continue
	        print(request["method"], file=open("handled", "a"))
	        time.sleep(float(sys.argv[1]))
	        if not os.path.exists(path):
	            continue
	        with open("q/responses/" + name + ".tmp", "w") as f:
	            json.dump({"id": request["id"], "status": 200, "body": "done",
	                       "headers": {}, "completedAt": "t"}, f)
	        os.rename(f.name, "q/responses/" + name)
	        try:
	            os.unlink(path)
	        except FileNotFoundError:
	            pass
	    time.sleep(.005)
	EOF
	pids+=("$!")
}

@test "pipeline: with a worker that does not claim nothing is not-started" {
	start_gateway -t 300ms
	[ "$(call POST $comments -H "$json" -d '{}')" = 409 ]	# no worker yet
	[ "$(outcome)" = indeterminate ]
	start_worker 0.6
	[ "$(call POST $comments -H "$json" -d '{}')" = 409 ]
	[ "$(outcome)" = indeterminate ]
	jq -e '.outcome == "indeterminate" and .retryable == false' body
	[ "$(cat handled)" = POST ]
	[ "$(call GET /api/agents/me)" = 502 ]
	[ "$(outcome)" != not-started ]
	wait_until queue_is_empty
}

@test "pipeline: a worker that does not claim, in time" {
	start_gateway -t 10s
	start_worker 0.05
	[ "$(call POST $comments -H "$json" -d '{}')" = 200 ]
	[ "$(cat body)" = "done" ]
	[ "$(call GET /api/agents/me)" = 200 ]
	wait_until queue_is_empty
}

@test "pipeline: where every drain claims, an unclaimed call is not-started" {
	start_gateway -t 200ms --claims
	[ "$(call POST $comments -H "$json" -d '{}')" = 502 ]
	[ "$(outcome)" = not-started ]
	queue_is_empty
}

# --- ends --------------------------------------------------------------------

@test "pipeline: pc-forward dies; pc-drain --recover tells what is known" {
	start_api
	start_gateway --claims -t 20s
	export PC_API_TOKEN=t
	mkfifo requests allowed answers
	pc-drain -f -q q >requests 3>&- &
	drain=$!
	pc-allow <requests >allowed 3>&- &
	allow=$!
	pc-forward -u "$api" <allowed >answers 3>&- &
	forward=$!
	pc-respond -q q <answers >reports 3>&- &
	respond=$!
	pids+=("$drain" "$allow" "$forward" "$respond")
	call POST "$comments?do=delay&ms=60000" -H "$json" -d '{}' >post.status 3>&- &
	post=$!
	wait_until seen POST
	curl -s -m 20 -o get.body -w '%{http_code}\n' 3>&- >get.status \
	    -H 'authorization: Bearer secret' \
	    "$url/api/agents/me?do=delay&ms=1000" &
	get=$!
	wait_until seen GET
	kill -KILL "$forward"
	kill -TERM "$drain"
	ended "$drain"
	ended "$allow"
	ended "$respond"
	ended "$forward" 137
	start_pipeline --recover
	wait "$post" "$get"
	[ "$(cat post.status)" = 409 ]
	[ "$(outcome)" = indeterminate ]
	[ "$(cat get.status)" = 200 ]
	[ "$(times_seen POST)" -eq 1 ]
	[ "$(times_seen GET)" -eq 2 ]
	[ "$(call GET /api/agents/me)" = 200 ]
	end_pipeline
	queue_is_empty
}

@test "pipeline: TERM to the drain ends all of it, after what is under way" {
	start_all
	call GET '/api/agents/me?do=delay&ms=500' >status 3>&- &
	client=$!
	wait_until seen GET
	kill -TERM "$drain"
	wait "$pipeline"
	wait "$client"
	[ "$(cat status)" = 200 ]
	queue_is_empty
	for f in err.*; do [ ! -s "$f" ]; done
}

@test "pipeline: nobody drains, the worker stops: pc-drain --fail" {
	start_gateway --claims -t 20s
	call POST $comments -H "$json" -d '{}' >status 3>&- &
	client=$!
	wait_until eval '[ -n "$(ls q/requests)" ]'
	pc-drain -q q --fail 'The worker stops.' | pc-respond -q q
	wait "$client"
	[ "$(cat status)" = 503 ]
	jq -e '.error == "The worker stops."' body
	queue_is_empty
}
