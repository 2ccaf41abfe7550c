#!/usr/bin/env bats
# The one file for the sandbox: what it needs of the machine, and of a kernel.
load helper

setup_file() {
	cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -o "$BATS_FILE_TMPDIR/refuse" \
	    "$BATS_TEST_DIRNAME/refuse.c"
}

# What gVisor, or a kernel of years ago, does not have.
OLD=openat2=ENOSYS,renameat2=EINVAL,inotify_init1=ENOSYS,tmpfile=EOPNOTSUPP
OLD+=,copy_file_range=ENOSYS,statx=ENOSYS,pidfd_open=ENOSYS
OLD+=,faccessat2=ENOSYS,fchmodat2=ENOSYS,memfd_create=ENOSYS
OLD+=,pidfd_send_signal=ENOSYS

file=$BATS_TEST_DIRNAME/../bin/static/pc-tools
SANDBOX=$(ls "${file%/*}/links")	# what the Makefile has to be in it

# in_empty TOOL... - where there is nothing else, not even /proc.
in_empty() {
	chroot root /pc-tools "$@"
}

# old TOOL... - on a kernel without all that.
old() {
	"$BATS_FILE_TMPDIR/refuse" "$OLD" "$file" "$@"
}

make_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs root for chroot"
	mkdir root
	cp "${1:-$file}" root/pc-tools
}

make_queue() {
	mkdir -p "$1"/{requests,claimed,responses}
}

make_tree() {
	mkdir -p "$1/d/e" "$1/empty"
	echo one >"$1/a"
	echo two >"$1/d/e/b"
	ln -s d/e/b "$1/l"
	chmod 755 "$1/a"
}

# What must come back: names, types, modes, contents.
tree() {
	(cd "$1" && find . -path ./.paperclip-runtime -prune -o \
	    -printf '%p %y %m %l\n' | sort && cat a d/e/b)
}

@test "static: small, no interpreter, nothing dynamic" {
	[ "$(stat -c %s "$file")" -le 440000 ]
	run -0 readelf -lW "$file"
	[[ $output != *INTERP* ]]
	[[ $output != *DYNAMIC* ]]
	[[ $output =~ GNU_STACK[^$'\n']*RW\ + ]]
}

@test "static: it holds each of the sandbox's tools" {
	for t in $SANDBOX; do
		run -0 "$file" "$t" --help
		[[ $output == "usage: $t "* ]]
		[ -x "${file%/*}/links/$t" ]
		run -0 "${file%/*}/links/$t" -V
		[[ $output == "$t "* ]]
	done
	"$file" --help >help
	[ "$(grep -c '^  pc-' help)" -eq "$(wc -w <<<"$SANDBOX")" ]
}

# round_trip COMMAND... - a request through the queue q, as COMMAND runs tools.
round_trip() {
	local id
	id=$("$@" pc-enqueue -q /q --no-wait GET /api/x)
	"$@" pc-drain -q /q --no-wait >requests
	grep -q "\"id\":\"$id\"" requests
	printf hello | "$@" pc-respond -q /q -s 200 "$id"
	run -0 "$@" pc-enqueue -q /q --collect "$id"
	[ "$output" = hello ]
}

@test "static: in an empty file system each tool works" {
	make_root
	for t in $SANDBOX; do in_empty "$t" --help >/dev/null; done
	make_queue root/q
	round_trip in_empty

	make_tree w
	pc-tarsync pack -C w | in_empty pc-tarsync unpack -C /new
	[ "$(tree w)" = "$(tree root/new)" ]
	in_empty pc-tarsync snapshot -C /new >manifest
	grep -q 'd/e/b' manifest

	sum=$(printf data | sha256sum | cut -d' ' -f1)
	printf data | in_empty pc-file put -p --sha256 "$sum" /f/g >/dev/null
	[ "$(in_empty pc-file sha256 /f/g)" = "{\"sha256\":\"$sum\"}" ]
	[ "$(in_empty pc-lock /lock /pc-tools pc-file get /f/g)" = data ]
	[ "$(ls root/f)" = g ]
}

@test "static: in an empty file system pc-serve answers" {
	make_root
	in_empty pc-serve -q /q -l unix:/s --token-file /t --new-token \
	    --daemon 3>&- >ready
	pids+=("$(jq .pid ready)")
	in_empty pc-serve -q /q --status | grep -q '"pid"'
	curl -sS -m 10 -H "authorization: Bearer $(<root/t)" \
	    --unix-socket root/s http://x/api/y >answer 3>&- &
	pids+=($!)
	wait_until eval 'ls root/q/requests | grep -q "json$"'
	in_empty pc-drain -q /q --no-wait >requests
	id=$(jq -r .id requests)
	printf hi | in_empty pc-respond -q /q -s 200 "$id"
	wait_until test -s answer
	[ "$(<answer)" = hi ]
}

@test "static: on an old kernel a request is carried" {
	make_queue q
	old pc-enqueue -q "$PWD/q" --no-wait GET /api/y >id
	old pc-drain -q "$PWD/q" --no-wait | grep -q "$(<id)"
	printf hello | old pc-respond -q "$PWD/q" -s 200 "$(<id)"
	[ "$(old pc-enqueue -q "$PWD/q" --collect "$(<id)")" = hello ]

	# One that waits is told without the kernel's help, too.
	old pc-enqueue -q "$PWD/q" -t 20s GET /api/z >answer 3>&- &
	waiter=$!
	pids+=($!)
	old pc-drain -q "$PWD/q" -w 20s -n 1 >requests
	printf late | old pc-respond -q "$PWD/q" -s 200 \
	    "$(jq -r .id requests)"
	ended "$waiter"
	[ "$(<answer)" = late ]
	[ -z "$(find q -type f)" ]
}

@test "static: on an old kernel pc-serve runs, is asked and stopped" {
	old pc-serve -q "$PWD/q" --token-file "$PWD/t" --new-token --daemon \
	    3>&- >ready
	old pc-serve -q "$PWD/q" --status | grep -q '"pid"'
	old pc-serve -q "$PWD/q" --stop
	[ ! -e "/proc/$(jq .pid ready)/exe" ]
}

@test "static: on an old kernel pack, unpack, snapshot and merge are the same" {
	make_tree w
	old pc-tarsync pack -C w --manifest m | old pc-tarsync unpack -C r
	[ "$(tree w)" = "$(tree r)" ]
	old pc-tarsync snapshot -C r >/dev/null
	# Each side changes, removes and adds; both change one.
	echo theirs >r/a
	echo theirs >r/d/new
	rm r/l
	rmdir r/empty
	echo ours >w/d/e/b
	echo ours >w/a
	old pc-tarsync pack -C r --since r/.paperclip-runtime/manifest |
	    old pc-tarsync merge --baseline m -C w || [ $? -eq 1 ]
	[ "$(<w/a)" = theirs ]
	[ "$(<w/d/new)" = theirs ]
	[ "$(<w/d/e/b)" = ours ]
	[ ! -e w/empty ]
	[ ! -L w/l ]
	grep -rqx ours w/.paperclip-runtime/conflicts
}

@test "static: on an old kernel files are put, renamed and locked" {
	echo data | old pc-file put f >/dev/null
	[ "$(old pc-file get f)" = data ]
	: >taken
	run -1 old pc-file rename -n f taken
	old pc-file rename -n f g
	[ "$(<g)" = data ]
	old pc-lock L true
	for kind in L "--dir D"; do
		mkfifo go
		# shellcheck disable=SC2086
		old pc-lock $kind sh -c 'echo in; read -r x <go' 3>&- >held &
		holder=$!
		pids+=($!)
		wait_until test -s held
		# shellcheck disable=SC2086
		run -1 old pc-lock -n $kind true
		echo >go
		ended "$holder"
		rm -f go held
		# shellcheck disable=SC2086
		old pc-lock -n $kind true
	done
}

@test "static: the file for aarch64 works" {
	arm=$BATS_TEST_DIRNAME/../bin/static/pc-tools-aarch64
	[ -e "$arm" ] || skip "no bin/static/pc-tools-aarch64: make static-aarch64"
	qemu=$(command -v qemu-aarch64-static) || skip "no qemu-user-static"
	[ "$(stat -c %s "$arm")" -le 1500000 ]
	run -0 readelf -hlW "$arm"
	[[ $output == *AArch64* ]]
	[[ $output != *INTERP* ]]
	emulated() { "$qemu" "$arm" "$@"; }
	for t in $SANDBOX; do emulated "$t" --help >/dev/null; done
	make_tree w
	emulated pc-tarsync pack -C w | emulated pc-tarsync unpack -C r
	[ "$(tree w)" = "$(tree r)" ]
	printf data | emulated pc-file put f >/dev/null
	[ "$(emulated pc-file sha256 f)" = \
	    "{\"sha256\":\"$(sha256sum <f | cut -d' ' -f1)\"}" ]
	make_queue q
	id=$(emulated pc-enqueue -q q --no-wait GET /api/x)
	emulated pc-drain -q q --no-wait | grep -q "$id"
	printf hello | emulated pc-respond -q q -s 200 "$id"
	[ "$(emulated pc-enqueue -q q --collect "$id")" = hello ]
	emulated pc-lock L true
}

@test "static: it is chosen by name or by first argument, else exit 100" {
	s=$BATS_TEST_DIRNAME/../bin/static/pc-tools
	ln -s "$s" pc-drain
	run -0 ./pc-drain -V
	[[ $output == "pc-drain "* ]]
	run -0 "$s" pc-respond -V
	[[ $output == "pc-respond "* ]]
	run --separate-stderr -100 "$s" pc-other
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
}
