#!/usr/bin/env bats
load helper

# answer STATUS [HEADERS] - in the background, one request is answered so;
# its line is kept in asked.
answer() {
	mkdir -p q/{requests,claimed,responses}
	{
		pc-drain -q q -n 1 -w 10s >asked
		jq -c --argjson s "$1" --argjson h "${2:-{\}}" \
		    '{id, status: $s, headers: $h, body: ("B" + .path)}' asked |
		    pc-respond -q q >report
	} 3>&- &
	pids+=($!)
}

@test "pc-enqueue: one request, and its answer's body" {
	answer 200
	run --separate-stderr -0 pc-enqueue -q q -H 'Accept: a/b' -d '{"x":"é"}' POST '/a/../b%20c?d=e&f#g'
	[ "$output" = "B/b%20c" ]
	[ -z "$stderr" ]
	[ "$(jq -c '[.method, .path, .query, .headers, .body, .timeoutMs]' asked)" = '["POST","/b%20c","?d=e&f",{"accept":"a/b","content-type":"application/json"},"{\"x\":\"é\"}",30000]' ]
	jq -e '.createdAt | test("^20[0-9-]{8}T[0-9:]{8}\\.[0-9]{3}Z$")' asked
	jq -e '.id | test("^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")' asked
	wait_until test -s report
	[ -z "$(find q -type f)" ]
}

@test "pc-enqueue: exit status for each answer" {
	while read -r want method status outcome; do
		rm -f report
		answer "$status" "${outcome:+{\"X-Paperclip-Bridge-Outcome\":\"$outcome\"\}}"
		run --separate-stderr "-$want" pc-enqueue -q q "$method" /x
		[ "$output" = B/x ]
		ended "${pids[0]}"
	done <<-'END'
	0 GET 200
	0 POST 201
	0 GET 304
	0 PUT 399
	1 GET 400
	1 POST 404
	1 POST 409
	1 GET 500
	111 GET 408
	111 POST 429
	111 GET 503
	111 GET 502
	111 HEAD 504
	2 POST 502
	2 DELETE 504
	2 POST 409 indeterminate
	2 POST 504 indeterminate
	111 POST 502 not-started
	111 POST 503 not-started
	END
}

@test "pc-enqueue: given up and never claimed: 111 if drains claim, else 2" {
	mkdir q
	run -111 pc-enqueue -q q --claims -t 20ms POST /x
	[[ $output == "pc-enqueue: "*": no answer in time: withdrawn, not started" ]]
	run -2 pc-enqueue -q q -t 20ms POST /x
	run -111 pc-enqueue -q q -t 20ms GET /x
	PAPERCLIP_BRIDGE_CLAIMS=1 run -111 pc-enqueue -q q -t 20ms POST /x
	[ -z "$(find q -type f)" ]
}

@test "pc-enqueue: given up after the claim: 2, or 111 for a safe method" {
	mkdir -p q/requests q/claimed q/responses
	for want in '2 POST' '111 GET'; do
		pc-drain -q q -w 10s >out 3>&- &
		pids+=($!)
		run "-${want% *}" pc-enqueue -q q --claims -t 500ms "${want#* }" /x
		[[ $output == *": no answer in time: it may have been handled" ]]
		ended "${pids[0]}"
		[ -z "$(find q -type f)" ]
	done
}

@test "pc-enqueue: TERM withdraws" {
	mkdir q
	pc-enqueue -q q --claims POST /x 2>err 3>&- &
	pids+=($!)
	wait_until bash -c 'ls q/requests/*.json 2>/dev/null'
	kill "${pids[0]}"
	ended "${pids[0]}" 143
	[ -z "$(find q -type f)" ]
}

@test "pc-enqueue: a malformed response is removed: 2, or 111 for a safe method" {
	mkdir q
	for want in '2 POST' '111 GET'; do
		for bad in x null '{"status":199}' '{"status":"200"}' \
		    '{"status":200,"status":200}' '{"status":200,"body":"/","bodyEncoding":"base64"}'; do
			id=$(pc-enqueue -q q --no-wait GET /x)
			mv "q/requests/$id.json" q/claimed/
			rm -f report
			pc-enqueue -q q "${want#* }" /x 2>err 3>&- &
			pids+=($!)
			wait_until bash -c 'ls q/requests/*.json 2>/dev/null'
			name=$(ls q/requests | grep json)
			echo "$bad" >tmp
			mv tmp "q/responses/$name"
			ended "${pids[0]}" "${want% *}"
			[[ $(<err) == *": the response is malformed" ]]
			rm "q/claimed/$id.json"
			[ -z "$(find q -type f)" ]
		done
	done
}

@test "pc-enqueue: -i prints status and headers that are valid, then the body" {
	answer 404 '{"etag":"\"e\"","bad name":"x","x":"a\nb","y":1,"z":"\u0000"}'
	run -1 pc-enqueue -q q -i GET /x
	[ "$output" = $'HTTP/1.1 404\netag: "e"\n\nB/x' ]
}

@test "pc-enqueue: -o writes the file whole or not at all, as the umask says" {
	answer 200
	echo old >f
	chmod 600 f
	umask 027
	ln f before
	run -0 pc-enqueue -q q -o f GET /x
	[ -z "$output" ]
	[ "$(<f)" = B/x ]
	[ "$(<before)" = old ]
	[ "$(stat -c %a f)" = 640 ]
	[ "$(ls)" = $'asked\nbefore\nf\nq\nreport' ]
	answer 200
	run -2 pc-enqueue -q q -o nowhere/f POST /x
	[ "$output" = "pc-enqueue: nowhere/f: No such file or directory" ]
}

@test "pc-enqueue: a full output: it ran, and nobody saw the answer" {
	for want in '2 POST' '111 GET'; do
		answer 200
		run "-${want% *}" bash -c "pc-enqueue -q q ${want#* } /x >/dev/full"
		[ "$output" = "pc-enqueue: stdout: No space left on device" ]
		answer 200
		run "-${want% *}" pc-enqueue -q q -o /dev/full "${want#* }" /x
		[ "$output" = "pc-enqueue: /dev/full: No space left on device" ]
	done
	[ -c /dev/full ]
}

@test "pc-enqueue: -d is text, a file, or stdin; bytes travel as base64" {
	mkdir q
	printf 'a\0\xff' >f
	while IFS=$'\t' read -r data want; do
		rm -f q/requests/*
		printf '\xe2\x82\xac' | pc-enqueue -q q --no-wait -d "$data" POST /x >id
		[ "$(jq -c '[.body, .bodyEncoding, .headers["content-type"]]' q/requests/*)" = "$want" ]
	done <<-'END'
	text	["text",null,"application/json"]
	@f	["YQD/","base64","application/json"]
	@-	["€",null,"application/json"]
	@/dev/null	["",null,null]
	END
	pc-enqueue -q q --no-wait -d '' POST /x >id
	[ "$(jq -c '[.body, .headers]' "q/requests/$(<id).json")" = '["",{}]' ]
	pc-enqueue -q q --no-wait -H 'content-type: x/y' -d x POST /x >id
	[ "$(jq -r '.headers["content-type"]' "q/requests/$(<id).json")" = x/y ]
}

@test "pc-enqueue: a body at the limit, and one over it" {
	mkdir q
	head -c 262144 /dev/zero | tr '\0' '\1' >f
	id=$(pc-enqueue -q q --no-wait -d @f POST /x)
	pc-drain -q q --no-wait | jq -j .body | cmp - f
	echo x >>f
	run -100 pc-enqueue -q q --no-wait -d @f POST /x
	[ "$output" = "pc-enqueue: f: over the size limit" ]
	run -100 pc-enqueue -q q --no-wait -m 2 -d abc POST /x
	run -100 timeout 5 bash -c 'pc-enqueue -q q --no-wait -d @- POST /x </dev/zero'
	PAPERCLIP_BRIDGE_MAX_BODY_BYTES=2 run -100 pc-enqueue -q q --no-wait -d abc POST /x
	[ -z "$(ls q/requests)" ]
	# No limit at all, which would be 0 once it is a whole number.
	PAPERCLIP_BRIDGE_MAX_BODY_BYTES=0.5 pc-enqueue -q q --no-wait -d abc POST /x
}

@test "pc-enqueue: --no-wait prints the id, --collect waits for it" {
	mkdir q
	id=$(pc-enqueue -q q --no-wait POST /x)
	[ -e "q/requests/$id.json" ]
	run -111 pc-enqueue -q q -t 20ms --collect "$id"
	[ "$output" = "pc-enqueue: $id: no answer yet" ]
	[ -e "q/requests/$id.json" ]
	pc-drain -q q --no-wait >out
	run -111 pc-enqueue -q q -t 20ms --collect "$id"
	[ -e "q/claimed/$id.json" ]
	printf body | pc-respond -q q -s 404 "$id" >out
	run -1 pc-enqueue -q q --collect "$id"
	[ "$output" = body ]
	[ -z "$(find q -type f)" ]
	run -1 pc-enqueue -q q --collect "$id"
	[ "$output" = "pc-enqueue: $id: no such request" ]
}

@test "pc-enqueue: bad input is exit 100, one line, and nothing is queued" {
	mkdir q
	while IFS='|' read -r -a args; do
		run --separate-stderr -100 pc-enqueue -q q --no-wait "${args[@]}" </dev/null
		[ -z "$output" ]
		[ "${#stderr_lines[@]}" -eq 1 ]
		[[ $stderr == "pc-enqueue: "* ]]
		[ -z "$(find q -type f)" ]
	done <<-'END'
	GET
	GET|/x|/y
	GET|x
	GET|http://h/x
	GET|
	|/x
	GE T|/x
	GET:|/x
	ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG|/x
	-t|x|GET|/x
	-t|11m|GET|/x
	-d|@nowhere|POST|/x
	-H|accept|GET|/x
	-H|a b: c|GET|/x
	-H|: c|GET|/x
	-H|cookie: c|GET|/x
	-H|authorization: Bearer x|GET|/x
	-H|accept: a|-H|Accept: b|GET|/x
	-m|0|GET|/x
	--nonsense|GET|/x
	END
	run -100 pc-enqueue -q q --collect ../x
	run -100 pc-enqueue -q q --collect x GET /x
	run -100 pc-enqueue -q q --collect x -d y
	run -100 pc-enqueue -q q -H $'accept: a\nb' GET /x
	run -100 pc-enqueue -q q -H $'accept: \xff' GET /x
	run -100 pc-enqueue GET /x
}

@test "pc-enqueue: a queue that is none: 111 when it may come, else 100" {
	run -111 pc-enqueue -q nowhere GET /x
	[ "$output" = "pc-enqueue: nowhere: No such file or directory" ]
	: >file
	run -100 pc-enqueue -q file GET /x
}

@test "pc-enqueue: a full file system is exit 111, and nothing stays" {
	mkdir -p q/{requests,claimed,responses}
	for what in write:error=ENOSPC:when=1 renameat2:error=EDQUOT; do
		run -111 strace -qq -o trace -e "trace=${what%%:*}" \
		    -e "inject=$what" pc-enqueue -q q -t 1s GET /x
		[ "$(wc -l <<<"$output")" -eq 1 ]
		[ -z "$(find q -type f)" ]
	done
	run -111 strace -qq -o trace -P "$PWD/q/claimed" -e trace=openat \
	    -e inject=openat:error=EMFILE pc-enqueue -q q -t 1s GET /x
	[ "$output" = "pc-enqueue: q: Too many open files" ]
	[ -z "$(find q -type f)" ]
	# Published already, when the folder cannot be written to the disk.
	run -111 strace -qq -o trace -e trace=fsync \
	    -e inject=fsync:error=EIO:when=2 \
	    pc-enqueue -q q --sync -t 1s POST /x
	[ "$output" = "pc-enqueue: q: Input/output error" ]
	[ -z "$(find q -type f)" ]
}

@test "pc-enqueue: without renameat2's flags it links, and claims all the same" {
	mkdir -p q/{requests,claimed,responses}
	strace -qq -o trace -e trace=renameat2 -e inject=renameat2:error=ENOSYS \
	    pc-enqueue -q q --no-wait GET /x >id
	[ "$(stat -c %h "q/requests/$(<id).json")" -eq 1 ]
	strace -qq -o trace -e trace=renameat2 -e inject=renameat2:error=EINVAL \
	    pc-drain -q q --no-wait | jq -c '{id, status: 200}' |
	    strace -qq -o trace2 -e trace=renameat2 -e inject=renameat2:error=ENOSYS \
	    pc-respond -q q | jq -e .wrote
	pc-enqueue -q q --collect "$(<id)"
	[ -z "$(find q -type f)" ]
}

@test "pc-enqueue: killed anywhere, nothing stays after the sweep" {
	mkdir -p q/{requests,claimed,responses}
	for call in openat write renameat2; do
		for n in 1 2 3 4 5 6 7; do
			strace -qq -o trace -e "trace=$call" \
			    -e "inject=$call:signal=KILL:when=$n" \
			    pc-enqueue -q q --no-wait GET /x >out 2>&1 || true
		done
	done
	for file in q/requests/*.json; do jq -e .id "$file"; done
	find q -type f -exec touch -d '@1000' {} +
	pc-drain -q q --sweep
	[ -z "$(find q -type f)" ]
}

@test "pc-enqueue: submits without a scan, in few system calls" {
	mkdir -p q/{requests,claimed,responses}
	for ((n = 0; n < 100; n++)); do put_request q "r$n"; done
	strace -o trace -f pc-enqueue -q q -t 10ms GET /x 2>err || [ $? -eq 111 ]
	run ! grep -q getdents trace
	[ "$(grep -c 'O_CREAT' trace)" -eq 1 ]
	[ "$(sed -n '/inotify_init1/,$p' trace | wc -l)" -lt 40 ]
}

@test "pc-enqueue: --no-wait leaves nothing that nobody knows the id of" {
	mkdir q
	run --separate-stderr -111 bash -c 'pc-enqueue -q q --no-wait -d "{}" POST /x >/dev/full'
	[ "$stderr" = "pc-enqueue: stdout: No space left on device" ]
	[ -z "$(ls q/requests q/claimed | grep json)" ]
}
