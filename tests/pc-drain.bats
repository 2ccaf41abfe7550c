#!/usr/bin/env bats
load helper

make_queue() {
	mkdir -p "${1:-q}"/{requests,claimed,responses}
}

# start_drain ARG... - follows q: from the fifo in (descriptor 5) to out.
start_drain() {
	rm -f in
	mkfifo in
	pc-drain -q q -f "$@" <in >out 2>err 3>&- &
	pid=$!
	pids+=("$pid")
	exec 5>in
}

ids() {
	jq -r .id "$@" | tr '\n' ' '
}

outcome() {
	jq -r '"\(.id) \(.status // .method) \(.headers["x-paperclip-bridge-outcome"] // "-")"'
}

has_lines() {
	[ "$(wc -l <"$1")" -ge "$2" ]
}

# --- records ----------------------------------------------------------------

expand() {
	case $1 in
	*'<'*'*'*'>'*)
		perl -pe 's{<(\d+)\*([^>]*)>}{
		    my ($n, $t) = ($1, $2);
		    join "", map { (my $x = $t) =~ s/%/$_/; $x } 1..$n }ge' <<<"$1" ;;
	*) echo "$1" ;;
	esac
}

hex_id() {
	local i
	for ((i = 0; i < ${#1}; i++)); do printf '\\\\u%04x' "'${1:i:1}"; done
}

put_vector() {
	local id text
	count=$((count + 1))
	printf -v id r%03d "$count"
	text=$(expand "$1")
	text=${text//%HEX/$(hex_id "$id")}
	printf '%b\n' "${text//@/$id}" >"q/requests/$id.json"
	case $2 in
	same) echo "$(head -n1 "q/requests/$id.json")" ;;
	4*) echo "$id $2" ;;
	*) text=$(expand "$2"); printf '%b\n' "${text//@/$id}" ;;
	esac >>want
}

@test "pc-drain: every record of the table, printed anew or refused" {
	make_queue
	count=0
	each_vector "$BATS_TEST_DIRNAME/drain-records.tsv" put_vector
	[ "$count" -ge 150 ]
	pc-drain -q q -m 1000 -n 1000 --no-wait >out
	[ "$(wc -l <out)" -eq "$count" ]
	sed -E 's/,"remainingMs":[0-9]+\}$/}/;
	    s/^\{"id":"(r[0-9]*)","status":(4[0-9]*).*/\1 \2/' out | diff want -
	grep -c '"error\\":\\"Invalid bridge request payload\.\\"' out
	grep -c '"error\\":\\"Bridge request envelope exceeded the configured size limit\.\\"' out
	grep '"status":4' out | pc-respond -q q | jq -e .wrote >/dev/null
}

@test "pc-drain: more tokens than the limit are refused" {
	make_queue
	{ printf '{"id":"a","x":['; yes 1, | head -n 70000 | tr -d '\n'
	printf '1],"method":"GET","path":"/a","query":"","headers":{},"body":"","createdAt":"t"}\n'; } >q/requests/a.json
	[ "$(pc-drain -q q --no-wait | outcome)" = "a 400 -" ]
}

@test "pc-drain: what it printed, it prints again the same" {
	make_queue
	put_request q a POST ',"timeoutMs":600000'
	pc-drain -q q --no-wait >first
	mv q/claimed/a.json q/requests/
	sed 's/,"remainingMs":[0-9]*//' first >q/requests/a.json
	pc-drain -q q --no-wait >again
	sed 's/,"remainingMs":[0-9]*//' again | diff q/claimed/a.json -
}

# --- batches ----------------------------------------------------------------

@test "pc-drain: nothing there is exit 1, at once or after -w" {
	make_queue
	run -1 pc-drain -q q --no-wait
	[ -z "$output" ]
	run -1 pc-drain -q q -w 20ms
	[ -z "$output" ]
}

@test "pc-drain: no queue is exit 111, no directory 100, one line each" {
	run --separate-stderr -111 pc-drain -q nowhere --no-wait
	[ "$stderr" = "pc-drain: nowhere: No such file or directory" ]
	: >file
	run --separate-stderr -100 pc-drain -q file --no-wait
	[ "$stderr" = "pc-drain: file: Not a directory" ]
	run -100 pc-drain --no-wait
}

@test "pc-drain: wrong usage is exit 100, one line, nothing on stdout" {
	make_queue
	while read -r -a args; do
		run --separate-stderr -100 pc-drain -q q "${args[@]}"
		[ -z "$output" ]
		[ "${#stderr_lines[@]}" -eq 1 ]
	done <<-'END'
	operand
	--nonsense
	-n 0
	-n x
	-n -1
	-w soon
	-m 0
	-m 1G
	--max-bytes x
	--peek --sweep
	--fail x --status
	--status -f
	--sweep --recover
	--respond
	--respond --peek
	--except file
	--recover --except .
	--epoch -1
	--epoch 99999999999999999999
	--keep-alive x
	--json
	-q
	-fX
	--follow=1
	END
	run -100 pc-drain -fXq
	[ "$output" = "pc-drain: -X: unknown option" ]
	run -100 pc-drain -fq
	[ "$output" = "pc-drain: -fq: needs a value" ]
	run -100 pc-drain --follow=1
	[ "$output" = "pc-drain: --follow=1: takes no value" ]
	run -100 pc-drain -q q --fail $'\xff'
}

@test "pc-drain: the oldest first, at most -n" {
	make_queue
	for id in c a e b d; do put_request q "$id"; done
	[ "$(pc-drain -q q -n 2 --no-wait | ids)" = "a b " ]
	[ "$(ls q/claimed | tr '\n' ' ')" = "a.json b.json " ]
	[ "$(pc-drain -q q --no-wait | ids)" = "c d e " ]
	[ -z "$(ls q/requests)" ]
}

@test "pc-drain: -w wakes up for a request" {
	make_queue
	pc-drain -q q -w 10s >out 3>&- &
	pids+=($!)
	put_request q a
	ended "${pids[0]}"
	[ "$(ids out)" = "a " ]
}

@test "pc-drain: TERM while waiting is exit 143" {
	make_queue
	pc-drain -q q -w 10s >out 3>&- &
	pid=$!
	pids+=("$pid")
	wait_until grep -Eq 'SigCgt:.*[4-7c-f]..[2367abef]$' "/proc/$pid/status"
	kill "$pid"
	ended "$pid" 143
}

@test "pc-drain: --max-bytes of a batch; one line alone too long is 413" {
	make_queue
	for id in a b c; do put_request q "$id"; done
	size=$(pc-drain -q q -n 1 --peek | wc -c)
	pc-drain -q q --no-wait --max-bytes $((size * 2 + 10)) >out
	[ "$(ids out)" = "a b " ]
	[ "$(wc -c <out)" -le $((size * 2 + 10)) ]
	[ "$(pc-drain -q q --no-wait --max-bytes 10 | outcome)" = "c 413 -" ]
}

@test "pc-drain: --peek prints, and claims nothing" {
	make_queue
	put_request q b; put_request q a; echo x >q/requests/c.json
	find q >before
	[ "$(pc-drain -q q --peek | outcome)" = $'a GET -\nb GET -\nc 400 -' ]
	[ "$(pc-drain -q q --peek -n 1 | ids)" = "a " ]
	find q | diff before -
	rm -r q/requests/*
	run -1 pc-drain -q q --peek
}

@test "pc-drain: --peek and --status make nothing in the queue" {
	mkdir q
	run -1 pc-drain -q q --peek
	pc-drain -q q --status
	[ -z "$(ls -A q)" ]
}

@test "pc-drain: --status for a person and for a program" {
	make_queue
	[ "$(pc-drain -q q --status --json)" = '{"pending":0,"claimed":0,"answered":0,"oldestMs":null,"gateway":false}' ]
	for id in a b c; do put_request q "$id"; done
	age q/requests/b.json 20
	pc-drain -q q -n 1 --no-wait >out
	echo '{}' >q/responses/x.json
	[ "$(pc-drain -q q --status --json | jq -c '[.pending, .claimed, .answered, .oldestMs >= 20000, .gateway]')" = '[2,1,1,true,false]' ]
	run pc-drain -q q --status
	[ "${lines[0]}" = "pending   2" ]
	[ "${lines[1]}" = "claimed   1" ]
	[ "${lines[2]}" = "answered  1" ]
	[[ ${lines[3]} == "oldest    2"?.?" s" ]]
	[ "${lines[4]}" = "gateway   down" ]
}

@test "pc-drain: a request past its deadline is never claimed" {
	make_queue
	put_request q a; age q/requests/a.json 36
	put_request q b GET ',"timeoutMs":1000'; age q/requests/b.json 2
	put_request q c GET ',"timeoutMs":60000'; age q/requests/c.json 36
	pc-drain -q q --no-wait >out
	[ "$(ids out)" = "c " ]
	[ "$(jq .remainingMs out)" -le 24000 ]
	[ "$(jq .remainingMs out)" -gt 20000 ]
	[ -e q/requests/a.json ]
	[ -e q/requests/b.json ]
}

@test "pc-drain: a full stdout answers what was claimed: it never ran" {
	make_queue
	put_request q a POST; put_request q b
	run -111 bash -c 'pc-drain -q q --no-wait >/dev/full'
	[ "$output" = "pc-drain: stdout: No space left on device" ]
	[ "$(cat q/responses/* | outcome)" = $'a 503 not-started\nb 503 not-started' ]
	[ -z "$(ls q/claimed)$(ls q/requests)" ]
}

@test "pc-drain: a closed stdout answers what was claimed: it never ran" {
	make_queue
	put_request q a POST; put_request q b
	mkfifo pipe
	exec 6<>pipe 7>pipe 6>&-
	run -111 bash -c 'pc-drain -q q --no-wait 2>/dev/null >&7'
	exec 7>&-
	[ "$(cat q/responses/* | outcome)" = $'a 503 not-started\nb 503 not-started' ]
	[ -z "$(ls q/claimed)" ]
}

@test "pc-drain: a line that lacks only its end may be read: no not-started" {
	make_queue
	put_request q a POST
	# The pipe takes 64K, and then the newline is missing.
	n=$((65536 - $(pc-drain -q q --peek | wc -c) + 1))
	jq -c --arg x "$(printf "%${n}s" | tr ' ' x)" '.body += $x' \
	    q/requests/a.json >b && mv b q/requests/a.json
	mkfifo pipe
	exec 6<>pipe
	pc-drain -q q -f >pipe 3>&- 6>&- &
	pids+=($!)
	wait_until test -e q/claimed/a.json
	kill "${pids[0]}"
	ended "${pids[0]}"
	exec 7<pipe 6>&-
	[ "$(wc -c <&7)" = 65536 ]
	[ -e q/claimed/a.json ]
	[ -z "$(ls q/responses)" ]
}

# --- fail, recover ----------------------------------------------------------

@test "pc-drain: --fail answers 503 what is pending, 504 what was claimed" {
	make_queue
	put_request q a POST; put_request q b; put_request q c; echo x >q/requests/d.json
	pc-drain -q q --no-wait -n 2 >out
	mv q/requests/d.json q/claimed/
	put_request q e POST
	pc-drain -q q --fail 'going "down"' >out
	[ "$(outcome <out | sort)" = $'a 504 indeterminate\nb 503 -\nc 503 not-started\nd 400 -\ne 503 not-started' ]
	[ "$(jq -r 'select(.id == "c").body | fromjson.error' out)" = 'going "down"' ]
	[ "$(ls q/claimed | wc -l)" -eq 5 ]
	[ -z "$(ls q/responses)" ]
	pc-respond -q q <out | jq -e .wrote
	[ "$(ls q/responses | wc -l)" -eq 5 ]
	run -1 pc-drain -q q --fail again
}

@test "pc-drain: --fail --respond publishes, and prints reports" {
	make_queue
	put_request q a POST; put_request q b
	[ "$(pc-drain -q q --fail gone --respond | jq -c '[.id, .wrote]' | sort)" = $'["a",true]\n["b",true]' ]
	[ "$(cat q/responses/* | outcome)" = $'a 503 not-started\nb 503 not-started' ]
	[ -z "$(ls q/claimed)$(ls q/requests)" ]
}

@test "pc-drain: --recover: safe again, unsafe 504, not what is excepted" {
	make_queue
	for id in a b c d e f; do put_request q "$id"; done
	put_request q b POST; put_request q d POST; echo x >q/requests/e.json
	pc-drain -q q --no-wait >out
	echo '{}' >q/responses/f.json
	printf 'c\nd\n' >held
	pc-drain -q q --recover --except held >out
	[ "$(outcome <out | sort)" = $'a GET -\nb 504 indeterminate\ne 400 -' ]
	[ "$(jq 'select(.id == "a").remainingMs > 30000' out)" = true ]
	[ "$(jq -c 'select(.id == "b").body | fromjson | [.outcome, .retryable]' out)" = '["indeterminate",false]' ]
	ls q/claimed >claimed
	[ "$(wc -l <claimed)" -eq 6 ]
	printf 'bad/id\n' >held
	run -100 pc-drain -q q --recover --except held
	run -111 pc-drain -q q --recover --except nowhere
	rm q/claimed/*
	run -1 pc-drain -q q --recover
}

@test "pc-drain: a file over the limit is no request, whatever came before it" {
	make_queue
	put_request q a POST
	truncate -s 1G q/requests/b.json
	pc-drain -q q --no-wait >out
	[ "$(outcome <out)" = $'a POST -\nb 413 -' ]
	pc-drain -q q --recover >out
	[ "$(outcome <out | sort)" = $'a 504 indeterminate\nb 413 -' ]
	pc-drain -q q --fail x >out
	[ "$(outcome <out | sort)" = $'a 504 indeterminate\nb 413 -' ]
}

@test "pc-drain: --recover that cannot print never says not-started" {
	make_queue
	put_request q a POST; put_request q b
	pc-drain -q q --no-wait >out
	run -111 bash -c 'pc-drain -q q --recover 2>/dev/null >/dev/full'
	[ "$(cat q/responses/* | outcome)" = $'a 504 indeterminate\nb 503 -' ]
}

@test "pc-drain: --recover is exit 1 while a drain follows" {
	make_queue
	start_drain --respond
	wait_until test -e q/drain.lock
	put_request q a POST
	wait_until has_lines out 1
	run --separate-stderr -1 pc-drain -q q --recover
	[ "$stderr" = "pc-drain: q: another drain is following" ]
	[ -z "$output" ]
	kill -9 "$pid"
	ended "$pid" 137
	[ "$(pc-drain -q q --recover | outcome)" = "a 504 indeterminate" ]
}

@test "pc-drain: -f --recover takes over, then follows" {
	make_queue
	put_request q a; put_request q b POST
	pc-drain -q q --no-wait >/dev/null
	start_drain --respond --recover
	put_request q c
	wait_until has_lines out 3
	[ "$(outcome <out | sort)" = $'a GET -\nb 504 indeterminate\nc GET -' ]
	run -1 pc-drain -q q --recover
}

# --- following --------------------------------------------------------------

@test "pc-drain: -f prints what comes, until TERM" {
	make_queue
	put_request q a
	start_drain
	wait_until has_lines out 1
	put_request q b
	wait_until has_lines out 2
	kill "$pid"
	ended "$pid"
	[ "$(ids out)" = "a b " ]
	[ ! -s err ]
}

@test "pc-drain: -f makes the queue" {
	start_drain
	wait_until test -d q/responses
	[ "$(stat -c %a q q/requests q/claimed q/responses | sort -u)" = 700 ]
}

@test "pc-drain: -f ends when its reader has gone" {
	make_queue
	mkfifo pipe
	pc-drain -q q -f >pipe 2>err 3>&- &
	pids+=($!)
	exec 6<pipe
	put_request q a
	read -r -u 6 line
	[ "$(ids <<<"$line")" = "a " ]
	exec 6<&-
	ended "${pids[0]}"
	[ ! -s err ]
}

@test "pc-drain: -f on a full disk is exit 111, and answers" {
	make_queue
	put_request q a POST
	pc-drain -q q -f >/dev/full 2>err 3>&- &
	pids+=($!)
	ended "${pids[0]}" 111
	[ "$(<err)" = "pc-drain: stdout: No space left on device" ]
	[ "$(cat q/responses/a.json | outcome)" = "a 503 not-started" ]
}

@test "pc-drain: -f has at most -n claims open" {
	make_queue
	for id in a b c d e; do put_request q "$id"; done
	start_drain -n 2
	wait_until has_lines out 2
	[ "$(ls q/claimed | tr '\n' ' ')" = "a.json b.json " ]
	pc-respond -q q -s 200 a <<<x
	wait_until has_lines out 3
	rm q/claimed/b.json		# a requester that left
	wait_until has_lines out 4
	[ "$(ids out)" = "a b c d " ]
	[ "$(ls q/requests)" = e.json ]
}

@test "pc-drain: --respond is the whole channel" {
	make_queue
	put_request q a; put_request q b POST
	start_drain --respond
	wait_until has_lines out 2
	printf '\n{"id":"b","status":201,"headers":{},"body":"B"}\n{"id":"a","status":200,"headers":{},"body":"A"}\n' >&5
	wait_until has_lines out 4
	[ "$(tail -n 2 out | jq -c '[.id, .wrote, .reason]')" = $'["b",true,"delivered"]\n["a",true,"delivered"]' ]
	[ "$(jq -r .body q/responses/b.json)" = B ]
	echo 'not a line' >&5
	wait_until has_lines err 1
	[ "$(<err)" = "pc-drain: stdin: not JSON" ]
	put_request q c
	wait_until has_lines out 5
	exec 5>&-
	ended "$pid"
}

@test "pc-drain: --respond without a line for too long leaves, exit 111" {
	make_queue
	put_request q a
	start_drain --respond --keep-alive 1s
	for i in 1 2 3 4 5; do sleep 0.3; echo >&5; done
	kill -0 "$pid"
	ended "$pid" 111
	[ "$(<err)" = "pc-drain: stdin: silent for too long: the channel is dead" ]
	[ -e q/claimed/a.json ]
}

@test "pc-drain: --respond: answers that had come are published at the end" {
	make_queue
	put_request q a
	start_drain --respond
	wait_until has_lines out 1
	kill -STOP "$pid"
	echo '{"id":"a","status":200,"headers":{},"body":""}' >&5
	kill -TERM "$pid"
	kill -CONT "$pid"
	ended "$pid"
	[ "$(jq .status q/responses/a.json)" = 200 ]
}

@test "pc-drain: --epoch: an older drain leaves before its next claim" {
	make_queue
	start_drain --epoch 1
	put_request q a
	wait_until has_lines out 1
	[ "$(<q/epoch)" = 00000000000000000001 ]
	run -1 pc-drain -q q --epoch 2 --no-wait
	put_request q b
	ended "$pid" 1
	[ "$(<err)" = "pc-drain: q: a drain with a greater epoch has come" ]
	[ -e q/requests/b.json ]
	run --separate-stderr -1 pc-drain -q q --epoch 1 --no-wait
	[ "$stderr" = "pc-drain: q: a drain with a greater epoch has come" ]
	[ "$(pc-drain -q q --epoch 2 --no-wait | ids)" = "b " ]
}

@test "pc-drain: a queue removed and made again is followed" {
	make_queue
	start_drain --epoch 1
	put_request q a
	wait_until has_lines out 1
	mv q old
	wait_until test -d q/requests
	wait_until test -e q/epoch
	put_request q b
	wait_until has_lines out 2
	[ "$(ids out)" = "a b " ]
	run -1 pc-drain -q q --recover
	run -1 pc-drain -q q --epoch 2 --no-wait
	put_request q c
	ended "$pid" 1
	[ -e q/requests/c.json ]
}

# --- sweep ------------------------------------------------------------------

@test "pc-drain: --sweep removes what is 2 s past its deadline, not before" {
	make_queue
	now=$(date +%s)
	for folder in requests claimed; do
		put_request q a
		put_request q b GET ',"timeoutMs":10000'
		put_request q c GET ',"timeoutMs":60000'
		put_request q d; put_request q e GET ',"timeoutMs":10000'
		echo rubbish >q/requests/f.json; echo rubbish >q/requests/g.json
		age q/requests/a.json 38; age q/requests/d.json 34
		age q/requests/b.json 13; age q/requests/e.json 9
		age q/requests/c.json 58
		age q/requests/f.json 38; age q/requests/g.json 34
		[ "$folder" = requests ] || mv q/requests/* q/claimed/
	done
	for id in a b c d e f g; do cp -p "q/claimed/$id.json" q/requests/; done
	echo '{"status":200}' >q/responses/old.json; age q/responses/old.json 38
	echo '{"status":200}' >q/responses/new.json; age q/responses/new.json 34
	echo "{\"status\":200,\"expiresAt\":$((now - 3))000}" >q/responses/past.json
	age q/responses/past.json 38
	echo "{\"status\":200,\"expiresAt\":$((now + 99))000}" >q/responses/kept.json
	age q/responses/kept.json 38
	echo "{\"status\":200,\"expiresAt\":$((now + 9999))000}" >q/responses/greedy.json
	age q/responses/greedy.json 38
	for folder in requests claimed responses; do
		echo x >"q/$folder/old.tmp"; age "q/$folder/old.tmp" 38
		echo x >"q/$folder/new.tmp"; age "q/$folder/new.tmp" 30
		echo x >"q/$folder/other"; age "q/$folder/other" 9999
	done
	run pc-drain -q q --sweep
	[ "$status" -eq 0 ]
	[ -z "$output" ]
	for folder in requests claimed; do
		[ "$(ls "q/$folder" | tr '\n' ' ')" = "c.json d.json e.json g.json new.tmp other " ]
	done
	[ "$(ls q/responses | tr '\n' ' ')" = "kept.json new.json new.tmp other " ]
}

@test "pc-drain: --sweep twice is --sweep once; it never follows or opens" {
	make_queue
	echo secret >secret
	age secret 99999
	ln -s ../../secret q/requests/a.json
	ln -s ../../secret q/requests/a.tmp
	mkfifo q/requests/b.json q/claimed/b.tmp
	mkdir q/requests/c.json q/responses/c.tmp
	find q | sort >before
	pc-drain -q q --sweep
	find q | sort | diff before -
	[ "$(<secret)" = secret ]
}

@test "pc-drain: --except - takes ids from stdin up to an empty line, and no more" {
	mkdir -p q/requests q/claimed q/responses
	chmod 700 q q/*
	for id in kept safe; do
		put_request q "$id"
		mv "q/requests/$id.json" q/claimed/
	done
	printf 'kept\n\n{"id":"safe","status":200,"headers":{},"body":"b"}\n' |
	    pc-drain -q q -f --respond --recover --except - >out
	grep -q '"id":"safe","method"' out
	grep -q '"id":"safe","wrote":true' out
	run ! grep kept out
	[ -e q/claimed/kept.json ]
	run -100 pc-drain -q q --recover --except - <<<'not/an/id'
}

@test "pc-drain: --echo answers an empty line; --existing makes no queue" {
	run -0 pc-drain -q q -f --respond --echo <<<$'\n\n'
	[ "$(printf '\n\n\n' | pc-drain -q q -f --respond --echo | wc -l)" -eq 3 ]
	[ "$(printf '\n\n\n' | pc-drain -q q -f --respond | wc -l)" -eq 0 ]
	run --separate-stderr -1 pc-drain -q none -f --existing
	[ "$stderr" = "pc-drain: none: No such file or directory" ]
	[ ! -e none ]
	run -100 pc-drain -q q --echo
}

@test "pc-drain: a folder that cannot be read is not an empty one" {
	mkdir q
	id=$(pc-enqueue -q q --no-wait GET /x)
	# The queue's folders take four; a watch is done without.
	run --separate-stderr -111 with_descriptors 7 pc-drain -q q --no-wait
	[ "$stderr" = "pc-drain: q: Too many open files" ]
	run -111 with_descriptors 7 pc-drain -q q --sweep
	[[ $output == "pc-drain: q: Too many open files" ]]
	[ -e "q/requests/$id.json" ]
}

@test "pc-drain: an epoch that cannot be read does not go back" {
	mkdir q
	run -1 pc-drain -q q --no-wait --epoch 9
	pc-enqueue -q q --no-wait GET /x
	run -111 "$BATS_TEST_DIRNAME/../build/faults/at" log 0/pread64/1 EIO \
	    pc-drain -q q --no-wait --epoch 7
	[ "$output" = "pc-drain: q: Input/output error" ]
	[ "$(cat q/epoch)" = 00000000000000000009 ]
}
