# bridge.bash - an API, a gateway and the pipeline between them, for tests.

bench_dir=$BATS_TEST_DIRNAME/../build/bench

# start_api [ARGUMENT...] - sets api (its URL); it logs to api.log
start_api() {
	: >api.log
	"$bench_dir/api" --log api.log "$@" >api.port &
	pids+=($!)
	wait_until test -s api.port
	api=http://127.0.0.1:$(cat api.port)
}

# start_gateway [ARGUMENT...] - sets url and auth
start_gateway() {
	queue=$PWD/queue
	url=$(PAPERCLIP_BRIDGE_TOKEN=tok pc-serve -q "$queue" --daemon "$@" |
	    jq -r .baseUrl)
	auth='authorization: Bearer tok'
	gateway_up=1
}

# start_pipeline [ARGUMENT OF PC-DRAIN...]
start_pipeline() {
	mkfifo d a f
	pc-drain -f -q "$queue" "$@" >d &
	drain=$!
	pids+=("$drain")
	pc-allow <d >a &
	pids+=($!)
	PC_API_TOKEN=host pc-forward -u "$api" --run-id run-1 <a >f &
	pids+=($!)
	pc-respond -q "$queue" <f >reports &
	pids+=($!)
}

# wait_until COMMAND... - until it says yes, at most some 10 s
wait_until() {
	local n=0
	until "$@"; do
		n=$((n + 1))
		[ "$n" -lt 1000 ]
		read -r -t 0.01 <> <(:) || :
	done
}

stop_gateway() {
	[ -z "${gateway_up:-}" ] || pc-serve -q "$queue" --stop || :
}

# queue_is_empty - nothing in any of its folders
queue_is_empty() {
	[ -z "$(ls -A "$queue/requests" "$queue/claimed" "$queue/responses" |
	    grep -v ':$')" ]
}
