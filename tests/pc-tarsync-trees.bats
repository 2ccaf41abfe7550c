#!/usr/bin/env bats
# pc-tarsync: what makes one tree another, and what is in its way.

load helper

tree() {
	python3 "$BATS_TEST_DIRNAME/tree.py" "$@"
}

same() {
	run -0 tree compare "$@"
}

# All that is below a folder, to compare it with what it was.
all_of() {
	find "$1" -printf '%P %y %m %s %l\n' | sort
}

# A script of nobody's, in a folder of theirs that others can reach.
nobodys() {
	[ "$(id -u)" = 0 ] || skip "needs root to become another"
	there=$(mktemp -d /tmp/pc-tarsync.XXXXXX)
	chmod 755 "$there"
	cp "$(command -v pc-tarsync)" "$BATS_TEST_DIRNAME/tree.py" "$there"
	mkdir "$there/home" && chown 65534:65534 "$there/home"
	run setpriv --reuid=65534 --regid=65534 --clear-groups \
	    env -C "$there/home" PATH="$there:/usr/bin:/bin" sh -uc "$1"
	rm -rf "$there"
	echo "$output"
}

# --- mirror -------------------------------------------------------------------

@test "pc-tarsync: mirror into or out of itself is refused, and changes nothing" {
	mkdir T && cd T && mkdir -p A/s/t B && printf x >A/s/t/f && printf y >A/g
	ln -s A/s L && ln -s ../../.. A/s/t/up
	before=$(all_of .)
	while read -r from to; do
		run -100 --separate-stderr pc-tarsync mirror "$from" "$to"
		[ "$stderr" = "pc-tarsync: $from and $to: the same folder, or one is in the other" ]
		diff <(echo "$before") <(all_of .)
	done <<-'EOF'
		A A
		A A/
		A/s A
		A/s/t A
		A A/s
		A A/new
		A A/new/../er
		A A/s/t/new//er/
		L A
		A L
		A L/new
		A/s L
		L/t L
		B/../A/s A
		A B/../A/s/new
		A A/s/t/up/A/s
		. A
		A .
	EOF
	# Beside it, and where a name only begins alike, they are apart.
	pc-tarsync mirror A/s As && pc-tarsync mirror A B/new/A
	same A B/new/A
	cd A/s
	pc-tarsync mirror t ../../A2
	run -100 pc-tarsync mirror . ..
	run -100 pc-tarsync mirror .. t
}

@test "pc-tarsync: mirror as another user, where folders may not be written" {
	nobodys '
		mkdir -p W/k/l D/k/l D/d/e
		echo new >W/k/f; echo old >D/k/f; touch -d @1 D/k/f
		echo gone >D/k/l/g; echo gone >D/d/e/f
		chmod 555 W/k/l W/k D/k/l D/k D/d/e D/d
		pc-tarsync mirror W D || exit
		python3 ../tree.py compare W D
		find D ! -path "*/.paperclip-runtime*" | sort | tr "\n" " "'
	[ "$status" -eq 0 ]
	[ "$output" = "D D/k D/k/f D/k/l " ]
}

@test "pc-tarsync: mirror removes locked folders, and what stays keeps its mode" {
	nobodys '
		for mode in 555 500 311 0; do
			rm -rf W D
			mkdir -p W/both/in D/gone/deep/er D/both/in/x D/stays/a D/stays/b
			echo x >D/gone/deep/er/f; echo x >D/gone/g; echo x >D/both/in/x/f
			echo x >D/stays/a/f.log; echo x >D/stays/a/f; echo x >D/stays/b/f
			chmod $mode D/gone/deep/er D/gone/deep D/gone D/both/in/x \
			    D/both/in D/both D/stays/a D/stays/b D/stays
			chmod 711 W/both/in; chmod 550 W/both
			pc-tarsync mirror -x "*/*.log" W D || exit
			stat -c "%a %n" D/both D/both/in D/stays
			chmod 700 D/stays
			stat -c "%a %n" D/stays/a
			chmod -R u+rwx D/stays D/both W/both
			find D ! -path "*/.paperclip-runtime*" | sort | tr "\n" " "
			echo
		done'
	[ "$status" -eq 0 ]
	want=
	for mode in 555 500 311 0; do
		want+="550 D/both"$'\n'"711 D/both/in"$'\n'"$mode D/stays"$'\n'
		want+="$mode D/stays/a"$'\n'
		want+="D D/both D/both/in D/stays D/stays/a D/stays/a/f.log "$'\n'
	done
	[ "$output"$'\n' = "$want" ]
}

@test "pc-tarsync: mirror removes what the source has no file, folder or link for" {
	mkdir W D && mkfifo W/file W/folder W/link W/fifo
	printf x >D/file && mkdir -p D/folder/in && printf x >D/folder/in/f
	ln -s file D/link && mkfifo D/fifo D/other
	# But not what is outside the tree.
	mkfifo W/kept && printf x >D/kept
	run -0 --separate-stderr pc-tarsync mirror -v -p kept W D
	[ "$(ls -A D)" = $'.paperclip-runtime\nkept' ]
	[[ $stderr == *"pc-tarsync: file: not a file, folder or link, left out"* ]]
	[[ $stderr == *"file: deleted"* ]]
	printf y >W/other
	pc-tarsync mirror -p kept W D
	[ "$(cat D/other)" = y ]
}

# --- a transfer that was cut, and a source that changed meanwhile -------------

@test "pc-tarsync: half a file that came is never part of the tree" {
	mkdir -p W/d && printf 1 >W/a && head -c 3000 /dev/zero >W/b
	head -c 3000 /dev/zero >W/d/f
	pc-tarsync pack -C W >whole.tar
	# Cut inside of b, then inside of d/f.
	for at in $(grep -abo ustar whole.tar | cut -d: -f1); do
		rm -rf R V
		run -111 pc-tarsync unpack -C R < <(head -c $((at + 1500)) whole.tar)
		pc-tarsync snapshot --partial -C R >p || continue
		mkdir V && cp -p W/a V/
		pc-tarsync pack -C V --since p --manifest n | pc-tarsync unpack -C R
		same V R
		run -0 pc-tarsync diff n R
	done
	[ -d V ]
}

@test "pc-tarsync: a delta that was cut half is never part of the tree" {
	mkdir W && printf 1 >W/a
	pc-tarsync pack -C W --manifest m | pc-tarsync unpack -C R
	head -c 3000 /dev/zero >W/b
	pc-tarsync pack -C W --since m >d.tar
	run -111 pc-tarsync unpack -C R < <(head -c 3500 d.tar)
	pc-tarsync snapshot --partial -C R >p
	rm W/b
	pc-tarsync pack -C W --since p | pc-tarsync unpack -C R
	[ ! -e R/b ]
	same W R
}

@test "pc-tarsync: nor what came before a kill, and was not noted" {
	mkdir -p W/b && printf 1 >W/a && printf 1 >W/b/x
	head -c 5000 /dev/zero >W/z
	pc-tarsync pack -C W >whole.tar
	mkfifo in
	pc-tarsync unpack -C R <in &
	pids+=($!)
	exec 7>in
	head -c -5000 whole.tar >&7
	wait_until test -e R/.paperclip-runtime/staging/new/z
	kill -9 "${pids[0]}"
	exec 7>&-
	ended "${pids[0]}" 137
	pc-tarsync snapshot --partial -C R >p
	rm -r W/b
	pc-tarsync pack -C W --since p | pc-tarsync unpack -C R
	same W R
}

@test "pc-tarsync: half a file over one that had come whole is found out" {
	mkdir W && head -c 3000 /dev/zero >W/b && head -c 5000 /dev/zero >W/z
	cp -p W/b b
	run -111 pc-tarsync unpack -C R < <(pc-tarsync pack -C W | head -c -5000)
	pc-tarsync snapshot --partial -C R >p
	head -c 4000 /dev/urandom >W/b
	pc-tarsync pack -C W --since p >d.tar
	at=$(grep -abo ustar d.tar | sed -n 2p | cut -d: -f1)
	run -111 pc-tarsync unpack -C R < <(head -c $((at + 1500)) d.tar)
	pc-tarsync snapshot --partial -C R >p
	# As it was at first: the delta need not have it.
	cp -p b W/b
	pc-tarsync pack -C W --since p >d.tar
	run -111 --separate-stderr pc-tarsync unpack -C R <d.tar
	[ "$stderr" = "pc-tarsync: b: came only in part before; send the whole tree" ]
	run -100 pc-tarsync snapshot --partial -C R
	pc-tarsync pack -C W | pc-tarsync unpack -C R
	same W R
}

@test "pc-tarsync: what the target has already is not taken from half a file" {
	mkdir W && printf 1 >W/a && head -c 3000 /dev/zero >W/b
	pc-tarsync pack -C W --manifest m | pc-tarsync unpack -C R
	cp -p W/b b
	head -c 4000 /dev/urandom >W/b
	pc-tarsync pack -C W --since m >d.tar
	run -111 pc-tarsync unpack -C R < <(head -c 3500 d.tar)
	[ -e R/.paperclip-runtime/staging/new/b ]
	pc-tarsync snapshot --partial -C R >p
	cmp m p
	cp -p b W/b
	pc-tarsync pack -C W --since p | pc-tarsync unpack -C R
	same W R
}

@test "pc-tarsync: nor from what looks the same, and was not noted before a kill" {
	mkdir -p W/d && printf one >W/b && touch -d @1000 W/b && printf 1 >W/d/f
	pc-tarsync pack -C W --manifest m | pc-tarsync unpack -C R
	printf two >W/b && touch -d @1000 W/b && chmod 700 W/d
	head -c 5000 /dev/zero >W/z
	pc-tarsync pack -C W --since m >d.tar
	mkfifo in
	pc-tarsync unpack -C R <in &
	pids+=($!)
	exec 7>in
	head -c -5000 d.tar >&7
	wait_until test -e R/.paperclip-runtime/staging/new/z
	kill -9 "${pids[0]}"
	exec 7>&-
	ended "${pids[0]}" 137
	[ "$(cat R/.paperclip-runtime/staging/new/b)" = two ]
	pc-tarsync snapshot --partial -C R >p
	cmp m p
	printf one >W/b && touch -d @1000 W/b && chmod 755 W/d && rm W/z
	pc-tarsync pack -C W --since p --manifest n | pc-tarsync unpack -C R
	same W R
	run -0 pc-tarsync diff n R
}

@test "pc-tarsync: a folder's mode that came before a cut does not outlive the folder" {
	for change in 'rm -r W/d && printf file >W/d' 'chmod 755 W/d' \
	    'chmod 500 W/d' 'chmod 311 W/d' 'rm -r W/d && mkdir W/d' :; do
		rm -rf W R
		mkdir -p W/d && printf 1 >W/d/x && chmod 555 W/d
		head -c 5000 /dev/zero >W/z
		run -111 pc-tarsync unpack -C R < <(pc-tarsync pack -C W |
		    head -c -5000)
		pc-tarsync snapshot --partial -C R >p
		chmod 755 W/d
		[ "$change" != : ] || chmod 555 W/d
		eval "$change"
		pc-tarsync pack -C W --since p | pc-tarsync unpack -C R
		same W R
	done
}

@test "pc-tarsync: a cut at any member of any delta can be gone on from" {
	# A folder becomes a file, a file a folder, and one of each goes.
	small() {
		rm -rf W && mkdir -p W/d/e W/gone/in W/k
		printf 1 >W/d/e/x && printf 1 >W/f && printf 1 >W/gone/in/x
		printf 1 >W/k/stays && head -c 5000 /dev/zero >W/z
		find W -exec touch -d @1 {} +
	}
	changed() {
		rm -r W/d W/f W/gone && printf file >W/d
		mkdir -p W/f/now && printf 2 >W/f/now/x && printf 1 >W/new
	}
	small
	pc-tarsync pack -C W >whole.tar
	head -c -5000 whole.tar >cut.tar
	for old in none some; do
		cuts=0
		for ((at = 1024; at < 20000; at += 512)); do
			small
			rm -rf R
			if [ $old = some ]; then
				mkdir -p R/d/e R/gone && printf 0 >R/d/e/y
				printf 0 >R/gone/y
				pc-tarsync pack -C R --manifest m |
				    pc-tarsync unpack -C R
				pc-tarsync pack -C W --since m >whole.tar
				head -c -5000 whole.tar >cut.tar
			fi
			run -111 pc-tarsync unpack -C R <cut.tar
			pc-tarsync snapshot --partial -C R >p
			changed
			pc-tarsync pack -C W --since p >rest.tar
			[ "$at" -lt "$(wc -c <rest.tar)" ] || break
			run pc-tarsync unpack -C R < <(head -c $at rest.tar)
			[ "$status" -eq 111 ]
			pc-tarsync snapshot --partial -C R >p
			pc-tarsync pack -C W --since p | pc-tarsync unpack -C R
			same W R
			pc-tarsync snapshot -C W |
			    cmp - R/.paperclip-runtime/manifest
			cuts=$((cuts + 1))
		done
		[ $cuts -gt 8 ]
	done
}

# --- what is in the way -------------------------------------------------------

@test "pc-tarsync: what cannot be read is an error that names it, as another user" {
	nobodys '
		says() {
			chmod "$1" "W/$2"
			for c in "pack -C W" "snapshot -C W" "mirror W D" "diff m W"; do
				pc-tarsync $c 2>&1 >/dev/null; echo "$?"
			done
			chmod 755 "W/$2"
		}
		mkdir -p W/d; echo x >W/a; echo x >W/d/f
		pc-tarsync snapshot -C W >m
		says 0 a; says 0 d; says 300 d; says 444 d'
	want=
	for name in a d d d/f; do
		for _ in 1 2 3 4; do
			want+="pc-tarsync: $name: Permission denied"$'\n100\n'
		done
	done
	[ "$output"$'\n' = "$want" ]
}

@test "pc-tarsync: a folder in the manifest's place is found before anything changes" {
	mkdir W && printf f >W/f
	pc-tarsync pack -C W >a.tar
	for name in manifest manifest.next manifest.cache manifest.next.cache; do
		for more in --clean --no-manifest; do
			rm -rf R
			mkdir -p "R/.paperclip-runtime/$name/x" && printf 1 >R/old
			all_of R >before
			run -100 --separate-stderr pc-tarsync unpack -C R $more <a.tar
			[ "$stderr" = "pc-tarsync: .paperclip-runtime/$name: a folder is in its place" ]
			rm -f R/.paperclip-runtime/staging.lock
			all_of R | cmp before -
			run -0 pc-tarsync recover -C R
			rm -r "R/.paperclip-runtime/$name"
			pc-tarsync unpack -C R --clean <a.tar
			same W R
		done
	done
}

@test "pc-tarsync: nor does a folder that comes later stop what was begun half-way" {
	mkdir -p W/a R && printf f >W/a/f && printf 1 >R/a
	pc-tarsync pack -C W >a.tar
	# Killed at its first step, when the journal is there.
	strace -o log -e trace=renameat -e inject=renameat:signal=KILL:when=3 \
	    pc-tarsync unpack -C R <a.tar || true
	[ -e R/.paperclip-runtime/staging/journal ]
	mkdir R/.paperclip-runtime/manifest
	run -100 pc-tarsync recover -C R
	run -100 pc-tarsync snapshot -C R
	[ "$(cat R/a)" = 1 ]
	rmdir R/.paperclip-runtime/manifest
	pc-tarsync recover -C R
	same W R
}

@test "pc-tarsync: what is in the place of the conflicts is found before anything changes" {
	export XDG_STATE_HOME=$PWD/state
	mkdir W && printf 1 >W/f && printf 1 >W/g
	pc-tarsync pack -C W --manifest m | pc-tarsync unpack -C R
	printf 2 >R/f && printf 2 >R/g && printf 3 >W/g
	pc-tarsync pack -C R --since m >d.tar
	mkdir W/.paperclip-runtime && : >W/.paperclip-runtime/conflicts
	run -100 --separate-stderr pc-tarsync merge --baseline m -C W <d.tar
	[ "$stderr" = "pc-tarsync: .paperclip-runtime/conflicts: is in the place of a folder" ]
	[ "$(cat W/f W/g)" = 13 ]
	rm W/.paperclip-runtime/conflicts
	pc-tarsync merge --baseline m -C W <d.tar
	[ "$(cat W/f W/g W/.paperclip-runtime/conflicts/*/g)" = 223 ]
}

# --- memory -------------------------------------------------------------------

# COMMAND... - takes 16 MiB at most, where no sanitizer adds to that.
most() {
	[[ $(command -v pc-tarsync) != */san/* ]] || { "$@"; return; }
	python3 -c 'import os, subprocess, sys
p = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(p.pid, 0)
print(usage.ru_maxrss, "KiB", *sys.argv[1:], file=sys.stderr)
sys.exit(1 if status or usage.ru_maxrss > 16 << 10 else 0)' "$@"
}

@test "pc-tarsync: 20,000 folders with long names: little memory" {
	python3 - <<-'EOF'
		import os
		top = "N/" + "/".join(["l" * 240] * 4)
		os.makedirs(top)
		for i in range(20000):
		    os.mkdir(f"{top}/{i}")
	EOF
	most pc-tarsync pack -C N -o n.tar
	most pc-tarsync unpack -C R <n.tar
	most pc-tarsync mirror N M
	most pc-tarsync mirror N M
	rm -r N/l*/l*/l*/l*/*1
	most pc-tarsync mirror N M
	same N M
}

@test "pc-tarsync: more long names in one folder than memory is for, in order" {
	python3 - <<-'EOF'
		import os
		os.mkdir("L")
		for i in range(60000):
		    open(f"L/{'n' * 230}{i * 7919 % 100003:06d}", "w").close()
	EOF
	touch L/a L/z
	most pc-tarsync snapshot -C L -o m
	tail -n +2 m | cut -d'"' -f4 >names
	LC_ALL=C sort -cu names
	[ "$(wc -l <names)" -eq 60002 ]
	most pc-tarsync mirror L M
	find L -name '*[13]' -delete
	most pc-tarsync mirror L M
	diff <(ls L) <(ls M)
	pc-tarsync snapshot -C M -o m2
	pc-tarsync diff m2 L
}
