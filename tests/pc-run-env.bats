#!/usr/bin/env bats
# pc-run --env: a run that holds a lease of its environment, from resolving
# to releasing, whatever happens between.
load helper
load channels

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export LC_ALL=C TZ=UTC XDG_STATE_HOME=$PWD/state PC_STORE=$PWD/lease.db
	umask 022
	unset "${!PAPERCLIP_@}" "${!PC_LEASE_@}" PC_API_TOKEN
	pids=()
	mkdir W
	echo one >W/a
}

# environment NAME [JQ] - box, in bwrap without network, changed by JQ
environment() {
	use_channel bwrap
	jq -n --argjson argv "$(json_words "${channel[@]}")" \
	    --arg remote "$remote/w" --arg here "$PWD" '{
		channel: {argv: $argv}, remoteCwd: $remote,
		policy: "reuse_by_environment", expiry: "2s",
		cleanup: ["sh", "-c", "cat >>\($here)/cleaned"]
	} | '"${2:-.}" >env.json
	pc-lease env add "$1" --driver sandbox -c env.json >/dev/null
	echo "{\"tools\":{$tools}}" >run.json
}

leases() {
	pc-lease list --json | jq -c "$1"
}

actions() {
	pc-lease log --json | jq -r .action | tr '\n' ' '
}

@test "pc-run --env: a whole run, and what its lease says of it" {
	environment box
	run -0 pc-run -c run.json --env box -C W --run-id r1 --events events -- \
	    sh -c 'cat a; echo two >b; pwd'
	[ "$output" = "one
$remote/w" ]
	[ "$(cat W/b)" = two ]
	[ "$(actions)" = "environment.created environment.lease_acquired environment.lease_released " ]
	[ "$(leases '[.environment,.runId,.status,.failureReason]')" = '["box","r1","released",null]' ]
	[ "$(leases .metadata)" = "{\"remoteCwd\":\"$remote/w\",\"runtimeRoot\":\"$remote/w/.paperclip-runtime/pc-run\",\"assets\":{}}" ]
	[ "$(jq -r 'select(.event == "realized").remoteCwd' events)" = "$remote/w" ]
	# It was given back, to be used again; nothing was cleaned up.
	[ ! -e cleaned ]
	run -0 pc-run -c run.json --env box -C W -- cat b
	[ "$output" = two ]
	[ "$(leases .id | wc -l)" -eq 1 ]
}

@test "pc-run --env: the default is this host, in the folder itself" {
	run -0 pc-run -c <(echo "{\"tools\":{\"local\":\"$STATIC\"},\"provision\":{\"command\":[\"false\"]}}") \
	    --env '' -C W -- sh -c 'pwd; cat a; echo two >b'
	[ "$output" = "$PWD/W
one" ]
	[ "$(cat W/b)" = two ]
	[ "$(pc-lease env list --json | jq -c '[.name,.driver,.default]')" = '["local","local",true]' ]
	[ "$(leases .status)" = '"released"' ]
}

@test "pc-run --env: its drains have the lease's epoch, its channel no token of it" {
	environment box
	start_api
	export PC_API_TOKEN
	run -0 pc-run -c run.json --env box -u "$API" --events events -- \
	    sh -c 'cat "$PAPERCLIP_BRIDGE_QUEUE_DIR"/.epoch* "$PAPERCLIP_BRIDGE_QUEUE_DIR"/epoch* 2>/dev/null; env'
	[[ "$output" != *PC_LEASE_FD* ]]
	[[ "$output" != *host-secret* ]]
	[[ "$output" == *"$(leases .epoch)"* ]]
}

@test "pc-run --env: what failed is said in the words of the contract, and kept" {
	environment box '.policy = "retain_on_failure"'
	jq '.provision = {command: ["sh", "-c", "echo no room >&2; exit 7"]}' run.json >p.json
	run -100 pc-run -c p.json --env box -C W -- true
	[ "$output" = 'pc-run: Failed to provision workspace for environment "box" (sandbox): exit code 7: no room' ]
	[ "$(leases '[.status,.failureReason]')" = "$(jq -nc --arg o "${output#pc-run: }" '["retained",$o]')" ]
	run -0 pc-lease sweep --retained 0ms
	[ -e cleaned ]
	[ "$(leases .status)" = '"failed"' ]

	environment empty 'del(.channel)'
	run -100 pc-run -c run.json --env empty -C W -- true
	[ "$output" = 'pc-run: Failed to resolve execution transport for "empty": it has no channel' ]
	environment broken '.channel.argv = ["false"]'
	run -111 pc-run -c run.json --env broken -C W -- true
	[[ "$output" == 'pc-run: Failed to resolve execution target for "broken": '* ]]
	environment full ".channel.argv = [\"bwrap\",\"--ro-bind\",\"/\",\"/\",\"--tmpfs\",\"/tmp\",\"--proc\",\"/proc\"] | .remoteCwd = \"/proc/w\""
	run pc-run -c run.json --env full -C W -- true
	[ "$status" -eq 111 ] || [ "$status" -eq 100 ]
	[[ "$output" == 'pc-run: Failed to resolve execution target for "full": '* ]]
	[ "$(leases 'select(.status == "active")')" = '' ]
}

@test "pc-run --env: the agent's status is the run's, and its failure the lease's" {
	environment box
	run -3 pc-run -c run.json --env box -C W -- sh -c 'echo two >b; exit 3'
	[ "$(cat W/b)" = two ]
	[ "$(leases '[.status,.failureReason]')" = '["failed","exit code 3"]' ]
	[ -e cleaned ]
}

@test "pc-run --env: not found, archived, held by another" {
	environment box
	run -100 pc-run -c run.json --env nowhere -- true
	[ "$output" = 'pc-lease: Environment "nowhere" not found.' ]
	run -100 env PC_COMPANY=other pc-run -c run.json --env box -- true
	[ "$output" = 'pc-lease: Environment "box" not found.' ]
	lease=$(pc-lease acquire box --json --run r0)
	run -1 pc-run -c run.json --env box -- true
	[[ "$output" == pc-lease:* ]]
	jq '.lease = {environment: "box", wait: "20s"}' run.json >wait.json
	pc-run -c wait.json -- echo there >out 3>&- &
	pid=$!
	pids+=("$pid")
	pc-lease release --run r0 >/dev/null
	ended "$pid" 0
	[ "$(cat out)" = there ]
	pc-lease env archive box >/dev/null
	run -100 pc-run -c run.json --env box -- true
	[ "$output" = 'pc-lease: Environment "box" is not active (status: archived).' ]
}

@test "pc-run --env: who loses the lease stops" {
	environment box
	pc-run -c run.json --env box -C W --run-id r1 -- sh -c 'echo there; sleep 60' >out 2>err 3>&- &
	pid=$!
	pids+=("$pid")
	wait_until grep -q there out
	pc-lease release "$(leases .id | tr -d '"')" >/dev/null
	ended "$pid" 111
	grep -q 'lease lost' err
	! pgrep -f -- "-C $remote/w/.paperclip-runtime/pc-run/exec"
}

@test "pc-run --env: host killed; the lease expires, and the next run finishes what it left" {
	environment box
	pc-run -c run.json --env box -C W --run-id r1 -- \
	    sh -c 'echo two >b; echo there; sleep 60' >out 2>&1 3>&- &
	pid=$!
	wait_until grep -q there out
	kill -KILL "$pid"
	wait "$pid" || :
	jq '.lease = {environment: "box", wait: "30s"}' run.json >wait.json
	run -0 pc-run -c wait.json -C W --run-id r2 -- cat b
	[ "$output" = two ]
	[ "$(cat W/b)" = two ]
	[[ "$(actions)" == *environment.lease_expired*environment.lease_acquired*environment.lease_released* ]]
	[ "$(leases 'select(.status == "active")')" = '' ]
}

@test "pc-run --env: sweep finishes what a killed host left, by its clean-up" {
	environment box '.policy = "ephemeral"'
	pc-run -c run.json --env box --run-id r1 -- sh -c 'echo there; sleep 60' >out 2>&1 3>&- &
	pid=$!
	wait_until grep -q there out
	kill -KILL "$pid"
	wait "$pid" || :
	[ "$(leases .status)" = '"active"' ]
	wait_until sh -c 'pc-lease sweep >swept; ! pc-lease list --json | grep -q "\"status\":\"active\""'
	[ "$(leases '[.status,.cleanupStatus]')" = '["expired","success"]' ]
	grep -q remoteCwd cleaned
}

@test "pc-run --env: the API's URL is the lease's first" {
	environment box
	start_api
	export PC_API_TOKEN
	jq '.lease = {environment: "box"}' run.json >first.json
	id=$(pc-lease acquire box --json --run r0 --metadata "{\"apiUrl\":\"$API\"}" | jq -r .id)
	pc-lease release "$id" >/dev/null
	run -0 pc-run -c first.json -u http://127.0.0.1:1 -- sh -c 'exec curl -s -o /dev/null -w "%{http_code}" -H "Authorization: Bearer $PAPERCLIP_API_KEY" "$PAPERCLIP_API_URL/api/agents/me"'
	[ "$output" = 200 ]
}

@test "pc-run --env: an identity and a dry run take no lease" {
	environment box
	[ "$(pc-run --env box --identity | jq -r .remoteCwd)" = "$remote/w" ]
	run -0 pc-run -c run.json --env box --dry-run -- true
	[[ "$output" == *bwrap* ]]
	[ "$(leases .)" = '' ]
	run -100 pc-run --leased 9 -- true
	[ "$output" = "pc-run: usage: --leased is for pc-lease run --report" ]
}
