#!/usr/bin/env bats
# pc-tarsync merge: three trees, and a repository as one thing.

load helper

setup() {
	cd "$BATS_TEST_TMPDIR" || return
	export LC_ALL=C TZ=UTC XDG_STATE_HOME=$PWD/state HOME=$PWD
	export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@x
	export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@x
	umask 022
	pids=()
}

# in - the host's folder W into the sandbox's R, as a first time.
in_() {
	pc-tarsync pack -C W --manifest m | pc-tarsync unpack --clean -C R
}

# back [OPTION]... - what the sandbox changed, into W.
back() {
	pc-tarsync pack -C R --since R/.paperclip-runtime/manifest >back.tar
	pc-tarsync merge --baseline m -C W "$@" <back.tar
}

conflict_dir() {
	echo W/.paperclip-runtime/conflicts/*
}

# --- the table ----------------------------------------------------------------

@test "merge: every pair of changes, for every type, is what the model says" {
	mkdir cases
	run python3 "$BATS_TEST_DIRNAME/merge_cases.py" table cases
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "merge: random triples of trees, under every option" {
	mkdir cases
	run python3 "$BATS_TEST_DIRNAME/merge_cases.py" random cases \
	    "${MERGE_SEED:-$RANDOM}" 200
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "merge: the same as another user, in folders that may not be written" {
	[ "$(id -u)" = 0 ] || skip "needs root to become another"
	there=$(mktemp -d /tmp/pc-tarsync.XXXXXX)
	chmod 755 "$there"
	cp "$(command -v pc-tarsync)" "$BATS_TEST_DIRNAME"/merge_*.py "$there"
	mkdir "$there/cases" && chown 65534:65534 "$there/cases"
	run setpriv --reuid=65534 --regid=65534 --clear-groups \
	    env PATH="$there:/usr/bin:/bin" python3 "$there/merge_cases.py" \
	    random "$there/cases" "${MERGE_SEED:-$RANDOM}" 100
	rm -rf "$there"
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "merge: an unchanged folder below one that takes a file's place keeps its mode" {
	mkdir -p W/c/a.b/deep
	chmod 700 W/c/a.b && chmod 711 W/c/a.b/deep
	printf 1 >W/c/a.b/deep/x
	in_
	chmod 750 R/c
	printf 2 >R/c/a.b/deep/y
	printf 3 >R/c/a.b/deep/z
	rm -r W/c && printf host >W/c
	back
	[ "$(stat -c '%a %n' W/c W/c/a.b W/c/a.b/deep)" = \
'750 W/c
700 W/c/a.b
711 W/c/a.b/deep' ]
	# What the source did not change stays as the host has it: not there.
	[ "$(cd W/c && find . -type f | sort | xargs cat)" = 23 ]
	[ "$(cat "$(conflict_dir)/c")" = host ]
}

@test "merge: what somebody has open for writing is kept: they may write yet" {
	mkdir W
	printf 1 >W/f
	printf 1 >W/gone
	in_
	printf 2 >R/f
	rm R/gone
	exec 7>>W/f 8>>W/gone
	back
	printf ' more' >&7
	printf ' too' >&8
	exec 7>&- 8>&-
	[ "$(cat W/f)" = 2 ]
	[ "$(cat "$(conflict_dir)/f")" = "1 more" ]
	grep -rqx '1 too' W
}

# --- baselines ----------------------------------------------------------------

@test "merge: an archive without its baseline, or with another, is refused" {
	mkdir W && printf 1 >W/f
	in_
	printf 2 >R/f
	run -100 pc-tarsync merge --baseline m -C W < <(pc-tarsync pack -C R)
	[[ "$output" == *"does not say which baseline"* ]]
	# The sandbox emptied: nothing reads as "all deleted".
	rm R/.paperclip-runtime/manifest*
	run -100 pc-tarsync pack -C R --since R/.paperclip-runtime/manifest
	# It altered its baseline.
	pc-tarsync snapshot -C R >R/.paperclip-runtime/manifest
	pc-tarsync pack -C R --since R/.paperclip-runtime/manifest >stale.tar
	run -100 pc-tarsync merge --baseline m -C W <stale.tar
	[[ "$output" == *"another baseline"* ]]
	run -111 pc-tarsync merge --baseline m -C W </dev/null
	run -100 pc-tarsync merge --baseline missing -C W <stale.tar
	[ "$(cat W/f)" = 1 ]
	[ "$(ls W)" = f ]
	[ ! -e W/.paperclip-runtime/merging ]
}

@test "merge: a delta that makes no tree is refused" {
	mkdir -p W/d && printf 1 >W/d/f
	in_
	id=$(sha256sum <m | cut -c1-64)
	delta() {
		python3 - "$id" "$@" <<-'PY' >bad.tar
		import io, sys, tarfile
		out = tarfile.open(fileobj=sys.stdout.buffer, mode='w|')
		def add(name, text=b'', type=tarfile.REGTYPE):
		    info = tarfile.TarInfo(name)
		    info.type, info.size = type, len(text)
		    out.addfile(info, io.BytesIO(text))
		add('.paperclip-runtime/pc-sync',
		    b'{"archive":1,"since":"%s"}\n' % sys.argv[1].encode())
		for arg in sys.argv[2:]:
		    if arg.startswith('-'):
		        add('.paperclip-runtime/pc-deleted',
		            arg[1:].encode() + b'\0')
		    elif arg.endswith('/'):
		        add(arg, type=tarfile.DIRTYPE)
		    else:
		        add(arg, b'x')
		out.close()
		PY
		run -100 pc-tarsync merge --baseline m -C W <bad.tar
		echo "$output"
		[ "$(cat W/d/f)" = 1 ]
		[ "$(ls W)" = d ]
	}
	delta n/f
	delta d/ d/g b
	delta -d
	delta d/ d/f -d/f
	delta -../x
	delta -/etc/passwd
	delta -.paperclip-runtime
	delta -b -a
	delta d
}

@test "merge: what was held back is not applied by the next run" {
	mkdir -p W/.git/hooks W/.git/refs && printf safe >W/.git/hooks/pre && printf 1 >W/f
	in_
	printf evil >R/.git/hooks/pre
	printf evil >R/.git/hooks/post
	printf 2 >R/f
	back --source-manifest m1 >report
	grep -q '"path":".git/hooks/pre","action":"held","conflict":true,"reason":"protected"' report
	[ "$(cat W/.git/hooks/pre)" = safe ] && [ ! -e W/.git/hooks/post ]
	[ "$(cat W/f)" = 2 ]
	[ "$(cat "$(conflict_dir)"/.git/hooks/pre)" = evil ]
	# The way in: the sandbox is made equal to the host.
	pc-tarsync pack -C W --since m1 --manifest m | pc-tarsync unpack -C R
	[ "$(cat R/.git/hooks/pre)" = safe ] && [ ! -e R/.git/hooks/post ]
	printf 3 >R/f
	back >report
	[ "$(wc -l <report)" = 2 ]
	[ "$(cat W/.git/hooks/pre)" = safe ] && [ "$(cat W/f)" = 3 ]
}

@test "merge: --allow-protected applies, --dry-run does not" {
	mkdir -p W/.git/hooks && printf 1 >W/.git/config
	in_
	printf 2 >R/.git/config
	back --dry-run | grep -q '"held"'
	back --dry-run --allow-protected | grep -q '"path":".git/config","action":"applied"'
	[ "$(cat W/.git/config)" = 1 ]
	back --allow-protected
	[ "$(cat W/.git/config)" = 2 ]
}

# --- links --------------------------------------------------------------------

@test "merge: what is saved of a folder is beside the file of that name" {
	mkdir W && ln -s x W/a
	in_
	rm W/a && printf host >W/a
	rm R/a && mkdir -p R/a/b && printf new >R/a/f && ln -s /etc R/a/b/l
	run -0 back
	[ "$(cat W/a/f)" = new ]
	[ "$(cat "$(conflict_dir)/a")" = host ]
	[ "$(readlink "$(conflict_dir)/a.1/b/l")" = /etc ]
	[ ! -e W/.paperclip-runtime/merging ]
	pc-tarsync recover -C W
}

@test "merge: nothing goes through a link that the host has made of a folder" {
	mkdir -p W/a/b out && printf 1 >W/a/b/f && printf keep >out/f
	in_
	printf 2 >R/a/b/f && mkdir R/a/b/new && printf n >R/a/b/new/n
	rm -r W/a && ln -s ../out W/a
	back >report
	grep -q '"path":"a/b/f","action":"held","conflict":true,"reason":"parent"' report
	[ "$(ls out)" = f ] && [ "$(cat out/f)" = keep ] && [ -L W/a ]
	[ "$(cat "$(conflict_dir)"/a/b/f)" = 2 ]
	[ "$(cat "$(conflict_dir)"/a/b/new/n)" = n ]
}

# --- locks and state ----------------------------------------------------------

@test "merge: one at a time; the limit has its message" {
	mkdir W && printf 1 >W/f
	in_
	printf 2 >R/f
	pc-tarsync pack -C R --since R/.paperclip-runtime/manifest >back.tar
	mkfifo hold
	pc-tarsync merge --baseline m -C W <hold >first 3>&- & pids+=($!) one=$!
	exec 5>hold
	wait_until test -e W.paperclip-restore.lock
	run -111 pc-tarsync merge --baseline m -C W -t 50ms <back.tar
	[ "$output" = "pc-tarsync: Timed out waiting for workspace restore lock at $PWD/W.paperclip-restore.lock" ]
	cat back.tar >&5
	exec 5>&-
	ended "$one"
	[ "$(cat W/f)" = 2 ]
	[ ! -e W.paperclip-restore.lock ]
	[ "$(find state -type f)" = "$(echo state/pc-tools/merge/*/lock)" ]
	[ "$(stat -c %a state/pc-tools/merge)" = 700 ]
}

@test "merge: a live peer's lock is waited for, a dead one's is taken over" {
	mkdir W && printf 1 >W/f
	in_
	printf 2 >R/f
	mkdir W.paperclip-restore.lock
	printf '{"pid":%s,"createdAt":"2026-01-01T00:00:00.000Z"}' $$ >W.paperclip-restore.lock/owner.json
	run -111 back -t 50ms
	[ "$(cat W/f)" = 1 ]
	sh -c 'echo $$' >dead
	printf '{"pid":%s,"createdAt":"2026-01-01T00:00:00.000Z"}' "$(cat dead)" >W.paperclip-restore.lock/owner.json
	back
	[ "$(cat W/f)" = 2 ] && [ ! -e W.paperclip-restore.lock ]
}

@test "merge: a full disk for the report is an error, after the tree is whole" {
	mkdir W && printf 1 >W/f
	in_
	printf 2 >R/f
	pc-tarsync pack -C R --since R/.paperclip-runtime/manifest >back.tar
	run -111 bash -c 'pc-tarsync merge --baseline m -C W <back.tar >/dev/full'
	[ ! -e W/.paperclip-runtime/merging ]
	[ ! -e W.paperclip-restore.lock ]
	pc-tarsync recover -C W
	[ "$(cat W/f)" = 2 ]
}

@test "merge: an error of any kind leaves no lock for peers to find dead" {
	mkdir W && printf 1 >W/f
	in_
	printf 2 >R/f
	run -111 back --source-manifest no/such/folder
	[ ! -e W.paperclip-restore.lock ]
	run -100 back --source-manifest R
	[ ! -e W.paperclip-restore.lock ]
	[ "$(cat W/f)" = 1 ]
}

@test "merge: nor half a file where files need a name" {
	mkdir W && printf 1 >W/f
	in_
	printf 2 >R/f
	pc-tarsync pack -C R --since R/.paperclip-runtime/manifest >back.tar
	strace -qq -o log -e 'trace=?access,?faccessat,?faccessat2' \
	    -e 'inject=?access,?faccessat,?faccessat2:error=ENOENT' \
	    pc-tarsync merge --baseline m -C W --source-manifest M1 \
	    <back.tar >/dev/full 2>err || [ $? = 111 ]
	[ "$(<err)" = "pc-tarsync: stdout: No space left on device" ]
	[ -z "$(find . -maxdepth 1 -name '.pc-put.*' -o -name 'M1*')" ]
}

@test "merge: names of any bytes, and text that needs escapes, in the report" {
	mkdir W && printf 1 >W/f
	in_
	name=$(printf 'a\377"\\\nb')
	printf 2 >"R/$name"
	run -0 back
	[ "${lines[0]}" = '{"pathBase64":"Yf8iXApi","action":"applied","conflict":false}' ]
	[ "$(cat "W/$name")" = 2 ]
}

# --- git ----------------------------------------------------------------------

repository() {
	git init -q -b main W
	printf one >W/f
	git -C W add f
	git -C W commit -qm one
	in_
}

commit() {
	printf '%s' "$2" >"$1/$2"
	git -C "$1" add "$2"
	git -C "$1" commit -qm "$2"
}

@test "merge: a commit of the sandbox alone comes to the host" {
	repository
	commit R sandbox
	back >report
	git -C W fsck --full --strict
	[ "$(git -C W log --format=%s | tr '\n' ' ')" = "sandbox one " ]
	# Looking may write the index anew; then the repository has changed here.
	[ -z "$(git -C W --no-optional-locks status --porcelain --untracked-files=no)" ]
	[ ! -e W/.paperclip-runtime/conflicts ]
	run -0 back
	[ "${#lines[@]}" = 1 ]
}

@test "merge: commits on both sides leave the host's whole, and the sandbox's saved whole" {
	repository
	commit R sandbox
	commit W host
	back >report
	grep -q '"path":".git","action":"held","conflict":true,"reason":"git"' report
	git -C W fsck --full --strict
	[ "$(git -C W log --format=%s | tr '\n' ' ')" = "host one " ]
	saved=$(conflict_dir)
	git --git-dir="$saved/.git" fsck --full --strict
	[ "$(git --git-dir="$saved/.git" log --format=%s | tr '\n' ' ')" = "sandbox one " ]
	# The work tree follows the table all the same.
	[ "$(cat W/sandbox)" = sandbox ]
}

@test "merge: the same commit on both sides is nothing" {
	repository
	commit R sandbox
	cp -a R/.git/. W/.git/ && cp -p R/sandbox W/
	run -0 back
	[ "${#lines[@]}" = 1 ]
}

@test "merge: the host repacked, the sandbox committed: both are whole" {
	repository
	commit R sandbox
	git -C W gc -q --prune=now
	back >report
	git -C W fsck --full --strict
	[ "$(git -C W log --format=%s)" = one ]
	grep -q '"reason":"git"' report
	[ -e "$(conflict_dir)/.git/HEAD" ]
}

@test "merge: the sandbox repacked: the host's repository is whole" {
	repository
	commit R sandbox
	git -C R gc -q --prune=now
	back >report
	git -C W fsck --full --strict
	[ "$(git -C W log --format=%s | tr '\n' ' ')" = "sandbox one " ]
}

@test "merge: locks of git are not carried either way" {
	repository
	printf x >W/.git/index.lock
	commit R sandbox
	printf x >R/.git/HEAD.lock
	back >report
	[ ! -e W/.git/HEAD.lock ] && [ -e W/.git/index.lock ]
	run ! grep -q lock report
}

# attack NAME COMMAND - the sandbox does COMMAND in R; git on the host, used in
# the usual ways, must execute nothing of it.
attack() {
	rm -rf W R state executed
	repository
	mkdir -p R/tools && printf '#!/bin/sh\ntouch %s/executed\n' "$PWD" >R/tools/run
	chmod 755 R/tools/run
	eval "$2"
	run back
	echo "$1: $output"
	[ "$status" -eq 0 ]
	grep -q '"held"' <<<"$output"
	for command in status 'log -1' 'diff HEAD' 'branch -a' 'add -A' 'commit -qm x' \
	    'checkout -q -b b' 'fetch -q' 'stash' gc; do
		# shellcheck disable=SC2086
		git -C W $command >/dev/null 2>&1 </dev/null || :
	done
	if [ -e executed ]; then
		echo "$1: was executed"
		return 1
	fi
}

@test "merge: nothing that the sandbox put into .git is executed by the host's git" {
	run_=$PWD/R/tools/run
	run_host=$PWD/W/tools/run
	attack hook 'cp $run_ R/.git/hooks/post-commit; cp $run_ R/.git/hooks/pre-commit; cp $run_ R/.git/hooks/post-checkout'
	attack hooks-link 'rm -r R/.git/hooks; ln -s ../tools R/.git/hooks; cp $run_ R/tools/pre-commit'
	attack config 'git -C R config core.fsmonitor $run_host'
	attack hookspath 'git -C R config core.hooksPath tools; cp $run_ R/tools/pre-commit'
	attack include 'git -C R config include.path ../evil; printf "[core]\n fsmonitor = $run_host\n" >R/evil'
	attack worktree 'git -C R config extensions.worktreeConfig true; printf "[core]\n fsmonitor = $run_host\n" >R/.git/config.worktree'
	attack commondir 'mkdir R/common; cp -r R/.git/. R/common/; git config -f R/common/config core.fsmonitor $run_host; printf "../common\n" >R/.git/commondir'
	attack gitfile 'mv R/.git R/real; git config -f R/real/config core.fsmonitor $run_host; printf "gitdir: real\n" >R/.git'
	attack gitlink 'mv R/.git R/real; git config -f R/real/config core.fsmonitor $run_host; ln -s real R/.git'
	attack submodule 'mkdir -p R/.git/modules/a/b; cp -r R/.git/HEAD R/.git/refs R/.git/objects R/.git/modules/a/b/; printf "[core]\n fsmonitor = $run_host\n" >R/.git/modules/a/b/config; mkdir R/sub; printf "gitdir: ../.git/modules/a/b\n" >R/sub/.git'
	attack nested 'git init -q R/inner; git -C R/inner config core.fsmonitor $run_host'
	attack modules-link 'mkdir -p R/m/x/hooks; ln -s ../m R/.git/modules; git -C R config x.y z'
}

@test "merge: .git removed, or a file, or a link in the sandbox is held back" {
	repository
	rm -rf R/.git
	back >report
	grep -q '"path":".git","action":"held","conflict":true,"reason":"protected"' report
	git -C W fsck --full --strict
	[ "$(git -C W log --format=%s)" = one ]
}

# --- without memory -----------------------------------------------------------

# without INPUT COMMAND... - with every single allocation failing, and as it is
# at last; each time after `fresh`, and before `check STATUS`.
without() {
	local in=$1 at status last=
	shift
	for ((at = 0; at < 2000; at++)); do
		fresh
		status=0
		NOMEMORY_AT=$at LD_PRELOAD=$PWD/nomemory.so "$@" <"$in" >out 2>err || status=$?
		echo "allocation $at: $status $(<err)"
		[ "$status" -eq 0 ] || [ "$status" -eq 111 ]
		check "$status"
		# Some can be done without, but not twenty in a row.
		last=${last}$status-
		[[ $last != *0-0-0-0-0-0-0-0-0-0-0-0-0-0-0-0-0-0-0-0- ]] || break
	done
	[ "$at" -gt 25 ] && [ "$at" -lt 2000 ]
}

@test "pc-tarsync: without memory at any point: as always, or 111" {
	[[ $(command -v pc-tarsync) == */bin/pc-tarsync ]] || skip "nothing can be loaded into it"
	cc -shared -fPIC -O1 -o nomemory.so "$BATS_TEST_DIRNAME/nomemory.c"
	git init -q --template= -b main W/git
	printf one >W/a && mkdir W/d && printf one >W/d/f
	git -C W/git commit -q --allow-empty -m one
	in_
	cp -a R R0
	ln -s a "R/$(printf 'l\377')" && printf two >R/a && rm R/d/f
	git -C R/git commit -q --allow-empty -m two
	printf one >W/git/.git/description
	pc-tarsync pack -C R --since R/.paperclip-runtime/manifest >back.tar
	cp -a W W0

	fresh() { :; }
	check() { [ "$1" -ne 0 ] || cmp out back.tar; }
	without /dev/null pc-tarsync pack -C R --since R/.paperclip-runtime/manifest

	fresh() { rm -rf T && cp -a R0 T; }
	check() {
		[ "$1" -eq 0 ] || pc-tarsync unpack -C T <back.tar
		pc-tarsync diff R/.paperclip-runtime/manifest.next T
	}
	pc-tarsync snapshot -C R >R/.paperclip-runtime/manifest.next
	without back.tar pc-tarsync unpack -C T

	fresh() { rm -rf T state && cp -a W0 T; }
	merged() { pc-tarsync merge --baseline m -C T <back.tar; }
	same() { diff -r --no-dereference -x .paperclip-runtime "$@"; }
	report() { sed 's:/conflicts/[^/]*:/conflicts/RUN:' "$1"; }
	fresh && merged >report && report report >want && mv T merged
	check() {
		if [ "$1" -eq 0 ]; then
			report out | cmp - want
		else
			merged >again
		fi
		same T merged
	}
	without back.tar pc-tarsync merge --baseline m -C T
}
