#!/usr/bin/env bats
# The protocol itself: races, hostile folders and entries, modes, what it costs.
load helper

make_queue() {
	mkdir -p "${1:-q}"/{requests,claimed,responses}
}

bin_dir() {
	dirname "$(command -v pc-drain)"
}

race() {
	local dir
	case $(bin_dir) in
	*/san) dir=$(bin_dir)/unit ;;
	*) dir=$BATS_TEST_DIRNAME/../build/unit ;;
	esac
	[ -x "$dir/race" ] || dir=$BATS_TEST_DIRNAME/../build/unit
	[ -x "$dir/race" ] || skip "race has not been built"
	run "$dir/race" "$1" "$2"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(grep -c '^ok' <<<"$output")" -eq 5 ]
}

# On tmpfs, when there is one; the test's own directory is on a disk.
shm() {
	shm=$(mktemp -d /dev/shm/pc-test.XXXXXX) || skip "no /dev/shm"
}

teardown() {
	[ "${#pids[@]}" -eq 0 ] || kill "${pids[@]}" 2>/dev/null || :
	[ -z "${shm:-}" ] || rm -rf "$shm"
}

@test "queue: 10,000 races, exactly one winner each (tmpfs)" {
	shm
	race "$shm" 10000
}

@test "queue: 300 races on a disk" {
	race q 300
}

# ten QUEUE - ten drains and ten responders; 400 requests, each exactly once.
ten() {
	local q=$1 i
	make_queue "$q"
	for ((i = 0; i < 400; i++)); do
		printf '{"id":"r%d","method":"POST","path":"/%d","query":"","headers":{},"body":"","createdAt":"t"}\n' \
		    "$i" "$i" >"$q/requests/r$i.json"
	done
	for ((i = 0; i < 10; i++)); do
		{ while pc-drain -q "$q" -n 8 --no-wait; do :; done |
		    tee "drained.$i" |
		    sed -u 's/.*"id":"\([^"]*\)".*/{"id":"\1","status":200}/' |
		    pc-respond -q "$q" >"reports.$i"; } 3>&- &
		pids+=($!)
	done
	while [ "${#pids[@]}" -gt 0 ]; do ended "${pids[0]}"; done
	[ "$(cat drained.* | jq -r .id | sort | uniq | wc -l)" -eq 400 ]
	[ "$(cat drained.* | wc -l)" -eq 400 ]
	[ "$(cat reports.* | jq -r 'select(.wrote).id' | sort -u | wc -l)" -eq 400 ]
	[ "$(ls "$q/responses" | wc -l)" -eq 400 ]
	[ -z "$(ls "$q/requests")$(ls "$q/claimed")" ]
}

@test "queue: ten drains, ten responders, each request exactly once (tmpfs)" {
	shm
	ten "$shm/q"
}

@test "queue: the same on a disk" {
	ten q
}

@test "queue: ten responders with the same answers, one is delivered each" {
	make_queue
	for ((i = 0; i < 50; i++)); do put_request q "r$i"; done
	pc-drain -q q -n 50 --no-wait | jq -c '{id, status: 200}' >answers
	for ((i = 0; i < 10; i++)); do
		pc-respond -q q <answers >"reports.$i" 3>&- &
		pids+=($!)
	done
	while [ "${#pids[@]}" -gt 0 ]; do ended "${pids[0]}"; done
	[ "$(cat reports.* | grep -c true)" -eq 50 ]
	[ "$(cat reports.* | wc -l)" -eq 500 ]
	[ -z "$(ls q/claimed)" ]
}

@test "queue: modes are exact, whatever the umask" {
	for mask in 077 000 022; do
		for group in '' --group; do
			rm -rf q
			mkdir q
			modes=$'600\n700'
			[ -z "$group" ] || modes=$'660\n770'
			(umask "$mask"
			id=$(pc-enqueue -q q $group --no-wait GET /x)
			stat -c %a "q/requests/$id.json" >got
			pc-drain -q q $group --no-wait >out
			stat -c %a "q/claimed/$id.json" q/requests q/claimed q/responses >>got
			pc-respond -q q $group -s 200 "$id" <<<x >out
			stat -c %a "q/responses/$id.json" >>got)
			[ "$(sort -u got)" = "$modes" ]
		done
	done
	(umask 0; pc-drain -q new -f --group </dev/null >out 3>&- & echo $! >pid)
	pids+=("$(<pid)")
	wait_until test -d new/responses
	[ "$(stat -c %a new new/requests)" = $'770\n770' ]
}

@test "queue: a folder that is a link, a file or a FIFO is refused by every tool" {
	mkdir elsewhere
	echo '{"status":200}' >elsewhere/a.json
	for folder in requests claimed responses; do
		for kind in link file fifo; do
			rm -rf q
			make_queue
			rmdir "q/$folder"
			case $kind in
			link) ln -s ../elsewhere "q/$folder" ;;
			file) : >"q/$folder" ;;
			fifo) mkfifo "q/$folder" ;;
			esac
			run -100 pc-drain -q q --no-wait
			[[ $output == "pc-drain: q: "* ]]
			run -100 pc-drain -q q --sweep
			run -100 pc-drain -q q --status
			run -100 pc-drain -q q --peek
			run -100 pc-enqueue -q q GET /x
			run -100 pc-respond -q q
		done
	done
	[ "$(ls elsewhere)" = a.json ]
}

# Everything that is no request, in one folder.
hostile() {
	mkfifo "$1/fifo.json"
	ln -s "$PWD/secret" "$1/link.json"
	ln -s /dev/zero "$1/zero.json"
	ln -s link.json "$1/loop.json"
	mkdir "$1/folder.json"
	echo x >"$1/"$'new\nline.json'
	echo x >"$1/a b.json"
	echo x >"$1/..json"
	echo x >"$1/.json"
	echo x >"$1/id"
	echo x >"$1/x.json.tmp"
	echo x >"$1/$(printf '%0129d' 1).json"
	[ "$(id -u)" -ne 0 ] || mknod "$1/device.json" c 1 5 2>/dev/null || :
}

@test "queue: hostile entries are answered or ignored, the rest goes on" {
	make_queue
	echo '{"id":"link","method":"GET","path":"/secret","query":"","headers":{},"body":"","createdAt":""}' >secret
	hostile q/requests
	put_request q good
	truncate -s 1G q/requests/giant.json
	echo null >q/requests/null.json
	ls -A q/requests | sort >before
	timeout 10 strace -f -y -e trace=openat,read,pread64 -o trace \
	    pc-drain -q q -n 100 --no-wait >out
	[ "$(jq -r '"\(.id) \(.status // .method)"' out)" = $'giant 413\ngood GET\nnull 400' ]
	run ! grep -q "/secret" trace
	ls -A q/requests | sort | diff before - | sed -n 's/^< //p' >taken
	[ "$(<taken)" = $'giant.json\ngood.json\nnull.json' ]
	jq -c '{id, status: (.status // 200)}' out | timeout 10 pc-respond -q q | jq -e .wrote
	timeout 10 pc-drain -q q --status --json | jq -e '.pending == 0'
	run -1 timeout 10 pc-drain -q q --peek
	timeout 10 pc-drain -q q --sweep
}

@test "queue: the same while following" {
	make_queue
	echo secret >secret
	pc-drain -q q -f >out 3>&- &
	pids+=($!)
	hostile q/requests
	put_request q good
	wait_until test -s out
	hostile q/claimed
	put_request q more
	wait_until bash -c '[ $(wc -l <out) -eq 2 ]'
	[ "$(jq -r .id out)" = $'good\nmore' ]
	kill -0 "${pids[0]}"
}

@test "queue: hostile claims and responses" {
	make_queue
	echo '{"status":200,"body":"secret"}' >secret
	hostile q/claimed
	put_request q good
	echo x >q/claimed/null.json
	[ "$(timeout 10 pc-drain -q q --recover | jq -r '"\(.id) \(.status)"')" = "null 400" ]
	for id in fifo link folder zero; do
		[ "$(timeout 10 pc-respond -q q -s 200 "$id" </dev/null | jq -r .reason)" = "no such request" ]
	done
	rm -r q/claimed/*
	id=$(pc-enqueue -q q --no-wait GET /x)
	for kind in fifo link folder; do
		case $kind in
		fifo) mkfifo "q/responses/$id.json" ;;
		link) ln -s "$PWD/secret" "q/responses/$id.json" ;;
		folder) mkdir "q/responses/$id.json" ;;
		esac
		run -111 timeout 10 pc-enqueue -q q -t 20ms -i --collect "$id"
		[ "$output" = "pc-enqueue: $id: no answer yet" ]
		rm -r "q/responses/$id.json"
	done
	truncate -s 1G "q/responses/$id.json"
	run -2 timeout 10 pc-enqueue -q q --collect "$id"
	[[ $output == *"the response is malformed" ]]
	[ ! -e "q/responses/$id.json" ]
	hostile q/responses
	timeout 10 pc-drain -q q --sweep
	[ -e q/responses/fifo.json ]
}

@test "queue: a claim's name that is taken does not hold up others" {
	make_queue
	put_request q a; put_request q b
	mkdir q/claimed/a.json
	[ "$(timeout 10 pc-drain -q q --no-wait | jq -r .id)" = b ]
	[ -e q/requests/a.json ]
}

@test "queue: an epoch or lock that is a FIFO or a link is refused, not opened" {
	for name in epoch drain.lock; do
		for kind in link fifo folder; do
			rm -rf q victim
			make_queue
			echo keep >victim
			case $kind in
			link) ln -s ../victim "q/$name" ;;
			fifo) mkfifo "q/$name" ;;
			folder) mkdir "q/$name" ;;
			esac
			run timeout 5 pc-drain -q q --epoch 3 --recover
			[[ $status == 100 || $status == 111 ]]
			[ "$(<victim)" = keep ]
		done
	done
}

# As a user of its own: root can read everything.
unprivileged() {
	[ "$(id -u)" -eq 0 ] || { "$@"; return; }
	setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}

@test "queue: a request that cannot be read is answered 400" {
	for dir in "$PWD" "$(bin_dir)"; do
		unprivileged test -x "$dir" || skip "no way there for another user"
	done
	make_queue
	put_request q a; put_request q b
	chmod 000 q/requests/a.json
	chown -R 65534 q 2>/dev/null || :
	unprivileged pc-drain -q q --no-wait >out
	[ "$(jq -r '"\(.id) \(.status // .method)"' out)" = $'a 400\nb GET' ]
}

@test "queue: out of descriptors nothing is refused, it stays pending" {
	make_queue
	put_request q a
	strace -qq -o trace -e trace=openat pc-drain -q q --peek
	n=$(grep -n 'a\.json' trace | cut -d: -f1)
	run -111 strace -qq -o trace -e trace=openat \
	    -e "inject=openat:error=EMFILE:when=$n+" pc-drain -q q --no-wait
	grep 'a\.json' trace
	[ "$output" = "pc-drain: q: Too many open files" ]
	[ -e q/requests/a.json ]
}

@test "queue: what was claimed before claiming failed is printed" {
	make_queue
	put_request q a; put_request q b
	strace -qq -o trace -e trace=renameat2 \
	    -e inject=renameat2:error=EACCES:when=2 pc-drain -q q --no-wait >out || true
	[ "$(jq -r .id out)" = a ]
	[ "$(ls q/claimed)" = a.json ]
}

@test "queue: a drain that is killed anywhere loses nothing" {
	for call in openat renameat2 write; do
		for n in 1 2; do
			rm -rf q
			make_queue
			put_request q a POST; put_request q b
			strace -qq -o trace -e "trace=$call" \
			    -e "inject=$call:signal=KILL:when=$n" \
			    pc-drain -q q --no-wait >out 2>err || true
			{ pc-drain -q q --recover || true; pc-drain -q q --no-wait || true; } >again
			[ "$(jq -r .id again | sort)" = $'a\nb' ]
			# Printed at most once as a request, when unsafe.
			[ "$(cat out again | grep -c '"id":"a","method"')" -le 1 ]
		done
	done
}

@test "queue: claims do not scan per request" {
	make_queue
	for ((n = 0; n < 300; n++)); do put_request q "r$n"; done
	strace -f -o trace pc-drain -q q -n 300 --no-wait >out
	[ "$(wc -l <out)" -eq 300 ]
	# musl reads 2 KiB of a folder at a time, glibc 32.
	[ "$(grep -c getdents trace)" -le 12 ]
	[ "$(grep -c renameat2 trace)" -eq 300 ]
	[ "$(wc -l <trace)" -lt 2100 ]
	jq -c '{id, status: 200}' out >answers
	strace -f -o trace pc-respond -q q <answers >reports
	[ "$(grep -c true reports)" -eq 300 ]
	[ "$(grep -c getdents trace)" -eq 0 ]
}

@test "queue: a following drain does not scan per request" {
	make_queue
	strace -f -o trace pc-drain -q q -f -n 1000 >out 3>&- &
	pids+=($!)
	wait_until grep -q 'poll' trace
	for ((n = 0; n < 100; n++)); do put_request q "r$n"; done
	wait_until bash -c '[ $(wc -l <out) -eq 100 ]'
	pkill -TERM -P "${pids[0]}"
	ended "${pids[0]}"
	[ "$(grep -c getdents trace)" -lt 40 ]
}
