#!/bin/bash
# demo.sh - the main job for real: an agent in a sandbox without network calls
# an HTTP API on the host with curl.  Needs the tools on PATH; leaves nothing.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
pids=
checks=0

finish() {
	# Only what was started here, by its id.
	pc-serve -q "$work/queue" --stop 2>/dev/null
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill $pids 2>/dev/null
	wait 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

die() {
	echo "demo: $*" >&2
	exit 1
}

# wait_for FILE - until it has something in it.
wait_for() {
	local tries=0
	while [ ! -s "$1" ]; do
		tries=$((tries + 1))
		[ "$tries" -lt 500 ] || die "$1 did not appear"
		read -r -t 0.01 <> <(:)
	done
}

# --- the sandbox: a network namespace with nothing but loopback in it -------

make_sandbox() {
	local hold="ip link set lo up && echo up >'$work/up' && exec sleep 600"
	if unshare -n true 2>/dev/null; then
		unshare -n sh -c "$hold" &
		enter_flags=(-n)
	elif unshare -rn true 2>/dev/null; then
		unshare -rn sh -c "$hold" &
		enter_flags=(-n -U --preserve-credentials)
	elif [ "${UNSAFE:-0}" = 1 ]; then
		echo "no network namespace is permitted here: going on without"
		enter=()
		return
	else
		echo "demo: no network namespace is permitted here, so there is" \
		    "no sandbox; UNSAFE=1 goes on without one" >&2
		exit 100
	fi
	sandbox=$!
	pids="$pids $sandbox"
	wait_for "$work/up"
	enter=(nsenter -t "$sandbox" "${enter_flags[@]}" --)
}

# The exec channel: runs a command in the sandbox.
inside() {
	"${enter[@]}" "$@"
}

# --- calls -------------------------------------------------------------------

# call STATUS METHOD PATH [CURL ARGUMENT...] - the agent's curl
call() {
	local want=$1 method=$2 path=$3 got status time
	shift 3
	got=$(inside curl -s -o "$work/body" -w '%{http_code} %{time_total}' \
	    -X "$method" -H "authorization: Bearer ${token_given:-$token}" \
	    "$@" "$PAPERCLIP_API_URL$path")
	status=${got% *}
	time=${got#* }
	printf '  %-6s %-44s %s  %5.1f ms  %s\n' "$method" "$path" "$status" \
	    "$(awk "BEGIN { print $time * 1000 }")" "$(head -c 60 "$work/body")"
	[ "$status" = "$want" ] ||
	    die "expected status $want; the API's log: $(cat "$work/api.log")"
	checks=$((checks + 1))
}

# body TEXT - the last answer holds it
body() {
	grep -qF -- "$1" "$work/body" || die "no $1 in the answer"
	checks=$((checks + 1))
}

echo "1. An API on the host that is not ours (python3), with a token"
export PC_API_TOKEN=host-secret-$$
python3 "$here/api.py" 0 >"$work/port" 2>"$work/api.log" &
pids="$pids $!"
wait_for "$work/port"
api=http://127.0.0.1:$(head -n 1 "$work/port")
echo "   $api"

echo "2. A sandbox without network"
make_sandbox
if [ "${#enter[@]}" -gt 0 ]; then
	inside curl -s -m 2 -o /dev/null "$api/api/agents/me" &&
	    die "the sandbox can reach the API directly"
	echo "   curl $api there: cannot connect"
	checks=$((checks + 1))
fi

echo "3. In the sandbox: pc-serve, in front of a queue"
queue=$work/queue
# The bridge's own variables of the caller have no say here.
unset PAPERCLIP_API_BRIDGE_MODE PAPERCLIP_BRIDGE_QUEUE_DIR \
    PAPERCLIP_BRIDGE_TOKEN PAPERCLIP_BRIDGE_HOST PAPERCLIP_BRIDGE_PORT
ready=$(inside pc-serve -q "$queue" --token-file "$work/token" --new-token \
    --claims --daemon) || die "pc-serve did not start"
PAPERCLIP_API_URL=$(printf '%s' "$ready" |
    sed 's/.*"baseUrl":"\([^"]*\)".*/\1/')
token=$(cat "$work/token")
echo "   $PAPERCLIP_API_URL"

echo "4. On the host: pc-drain -f | pc-allow | pc-forward | pc-respond,"
echo "   pc-drain and pc-respond through the exec channel"
mkfifo "$work/requests" "$work/allowed" "$work/responses"
"${enter[@]}" pc-drain -f -q "$queue" >"$work/requests" &
drain=$!
pids="$pids $drain"
pc-allow <"$work/requests" >"$work/allowed" &
pids="$pids $!"
pc-forward -u "$api" <"$work/allowed" >"$work/responses" &
pids="$pids $!"
"${enter[@]}" pc-respond -q "$queue" <"$work/responses" >"$work/reports" &
respond=$!
pids="$pids $respond"

echo "5. The agent, with curl:"
json='content-type: application/json'
call 200 GET /api/agents/me
call 200 GET /api/issues/issue-1
call 201 POST /api/issues/issue-1/comments -H "$json" -d '{"body":"done, see the document"}'
call 200 GET /api/issues/issue-1/comments
body 'done, see the document'
call 201 PUT /api/issues/issue-1/documents/plan -H "$json" -d '{"title":"Plan","text":"größer"}'
call 200 GET /api/issues/issue-1/documents/plan
body 'gr'
call 200 PATCH /api/issues/issue-1 -H "$json" -d '{"status":"done"}'
call 404 GET /api/issues/no-such-issue
call 403 GET /api/companies/acme/secrets
body 'Route not allowed'
call 403 DELETE /api/issues/issue-1
token_given=wrong call 401 GET /api/agents/me
body 'Invalid bridge token.'
grep -qF 'host-secret' "$work/token" "$queue"/logs/* "$work/reports" &&
    die "the host's token is in the sandbox"
checks=$((checks + 1))

echo "6. Stop: the drain ends, and by that the others; nothing is left"
kill "$drain"
wait "$drain" || die "pc-drain did not end well"
wait "$respond" || die "pc-respond did not end well"
pids=" $pids "
pids=${pids/ $drain / }
pids=${pids/ $respond / }
checks=$((checks + 1))
pc-drain -q "$queue" --status | sed 's/^/   /'
[ -z "$(find "$queue" -name '*.json' ! -name ready.json)" ] ||
    die "something is left in the queue"
checks=$((checks + 1))
inside pc-serve -q "$queue" --stop || die "pc-serve did not stop"
echo "$checks checks passed: calls carried, refused, and the API's errors" \
    "passed through; the sandbox had no network; the host's token never" \
    "entered it."
