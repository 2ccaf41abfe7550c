#!/usr/bin/env bats
load helper

old=$BATS_TEST_DIRNAME/old-lock.sh

# hold FLAGS... LOCK - in the background: until the fifo "go" is opened for
# writing.  It has the lock when this returns; its pid is in the file "who".
hold() {
	rm -f who go
	mkfifo go
	pc-lock "$@" sh -c 'echo $$ >who.new; mv who.new who; read -r line <go; exit 0' \
	    3>&- &
	pids+=($!)
	wait_until test -e who
}

# open_go - what reads the fifo goes on
open_go() {
	timeout 10 sh -c ': >go'
	rm go
}

let_go() {
	open_go
	ended "${pids[0]}"
}

# waits_for PID - until that pc-lock sleeps: it has nothing to do but wait
sleeps() {
	grep -qx 'Name:.pc-lock' "/proc/$1/status" &&
	    grep -q '^State:.S' "/proc/$1/status"
}
waits_for() {
	wait_until sleeps "$1"
}

@test "pc-lock: COMMAND's status is its own, with its arguments and streams" {
	run -0 pc-lock L printf '%s|' a 'b c' -n --
	[ "$output" = 'a|b c|-n|--|' ]
	run -7 pc-lock L sh -c 'exit 7'
	run -143 pc-lock L sh -c 'kill -TERM $$'
	run -0 pc-lock L cat <<<through
	[ "$output" = through ]
	for flag in --no-inherit --dir; do
		run -7 pc-lock $flag "D$flag" sh -c 'exit 7'
		run -143 pc-lock $flag "D$flag" sh -c 'kill -TERM $$'
		run -0 pc-lock $flag "D$flag" cat <<<through
		[ "$output" = through ]
	done
}

@test "pc-lock: it becomes COMMAND, which gets nothing but the lock" {
	python3 -c 'import os; print(*sorted(os.listdir("/proc/self/fd")))' >before
	pc-lock L python3 -c '
import os
print(os.getpid(), file=open("pid", "w"))
fds = sorted(os.listdir("/proc/self/fd"))
fds.remove(next(f for f in fds if os.path.exists(f"/proc/self/fd/{f}") and
    os.path.samefile(f"/proc/self/fd/{f}", "L")))
print(*[str(n) for n in range(len(fds))])' >after &
	child=$!
	ended "$child"
	[ "$(<pid)" -eq "$child" ]
	[ "$(wc -w <before)" -eq "$(wc -w <after)" ]
}

@test "pc-lock: COMMAND's signals are as they were" {
	for flag in '' --no-inherit --dir; do
		grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status >before
		# shellcheck disable=SC2086
		pc-lock $flag "D$flag" grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status >after
		diff before after
		(trap '' PIPE CHLD; grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status >before
		# shellcheck disable=SC2086
		pc-lock $flag "D$flag" grep -E '^Sig(Ign|Blk|Cgt)' /proc/self/status >after)
		diff before after
	done
}

@test "pc-lock: COMMAND that is not found is 127, that cannot run is 126" {
	: >plain
	for flag in '' --no-inherit --dir; do
		# shellcheck disable=SC2086
		run -127 pc-lock $flag "D$flag" ./nowhere
		[ "$output" = "pc-lock: ./nowhere: No such file or directory" ]
		# shellcheck disable=SC2086
		run -126 pc-lock $flag "D$flag" ./plain
		[ "$output" = "pc-lock: ./plain: Permission denied" ]
	done
	[ ! -e D--dir ]
}

@test "pc-lock: busy: -n is exit 1 or --busy-status, -t says who has it" {
	for flag in '' --no-inherit --dir; do
		# shellcheck disable=SC2086
		hold $flag "D$flag"
		# shellcheck disable=SC2086
		run --separate-stderr -1 pc-lock $flag -n "D$flag" touch entered
		[ -z "$output$stderr" ]
		# shellcheck disable=SC2086
		run -42 pc-lock $flag -n --busy-status 42 "D$flag" touch entered
		# shellcheck disable=SC2086
		run -111 pc-lock $flag -t 20ms "D$flag" touch entered
		[[ $output =~ ^"pc-lock: Timed out acquiring lock: D$flag"' (held by pid '[0-9]+' since 20'[0-9T:.-]+'Z)'$ ]]
		[ "$flag" = --no-inherit ] || [[ $output == *"pid $(<who) "* ]]
		let_go
		# shellcheck disable=SC2086
		pc-lock $flag -n "D$flag" touch entered
		rm entered
	done
}

@test "pc-lock: a script that uses descriptors of its own keeps the lock" {
	run -1 pc-lock L sh -c 'exec 3>&- 4>x 5>&- 6>&- 7>&- 8>&- 9>&-; pc-lock -n L true'
	# Where so high a number is not allowed, a low one does.
	(ulimit -n 50; run -1 pc-lock L sh -c 'pc-lock -n L true')
}

@test "pc-lock: flock(1) and ours exclude one another" {
	run -1 flock L pc-lock -n L true
	run -1 pc-lock L flock -n L true
	flock -s L pc-lock -s -n L true
}

@test "pc-lock: -s shares, and excludes those who do not" {
	hold -s L
	pc-lock -s -n L true
	run -1 pc-lock -n L true
	run -1 pc-lock --status L
	[[ $output == "shared by pid "* ]]
	let_go
	hold L
	run -1 pc-lock -s -n L true
	let_go
}

@test "pc-lock: a waiter gets the lock when it is free, and used no CPU" {
	hold L
	pc-lock -t 0 L sh -c 'echo got >got' 3>&- &
	waiter=$!
	waits_for "$waiter"
	cut -d' ' -f14,15 "/proc/$waiter/stat" >before
	grep ctxt "/proc/$waiter/status" >>before
	sleep 0.3
	cut -d' ' -f14,15 "/proc/$waiter/stat" >after
	grep ctxt "/proc/$waiter/status" >>after
	diff before after
	[ ! -e got ]
	let_go
	ended "$waiter"
	[ "$(<got)" = got ]
}

@test "pc-lock: a time limit interrupts once, and COMMAND has no timer left" {
	hold L
	run -111 strace -qq -o trace -e trace=flock,setitimer pc-lock -t 300ms L true
	[ "$(grep -c 'flock(.*LOCK_EX)' trace)" -eq 1 ]
	# Also with ALRM blocked and ignored by whoever started it.
	run -111 python3 -c '
import os, signal, sys
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
os.execvp(sys.argv[1], sys.argv[1:])' pc-lock -t 20ms L true
	pc-lock -t 10s L python3 -c '
import signal
assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL' 3>&- &
	waiter=$!
	waits_for "$waiter"
	let_go
	ended "$waiter"
}

@test "pc-lock: a killed holder frees it, a stopped one keeps it" {
	hold L
	kill -STOP "$(<who)"
	run -1 pc-lock -n L true
	kill -KILL "$(<who)"
	ended "${pids[0]}" 137
	pc-lock -t 10s L true
}

@test "pc-lock: a child that outlives COMMAND keeps it; not with --no-inherit" {
	mkfifo go
	pc-lock L sh -c 'read -r line <go & echo $! >left' 3>&-
	pids+=("$(<left)")
	run -1 pc-lock -n L true
	run -1 pc-lock --status L
	open_go
	mkfifo go
	pc-lock -t 10s L true
	pc-lock --no-inherit L sh -c 'read -r line <go & echo $! >left' 3>&-
	pids+=("$(<left)")
	pc-lock -n L true
	pc-lock --dir D sh -c 'read -r line <go & echo $! >left' 3>&-
	pids+=("$(<left)")
	pc-lock --dir -n D true
	kill -0 "${pids[2]}"
}

@test "pc-lock: killed itself, COMMAND still has the lock until it ends" {
	for flag in --no-inherit --dir '--dir --no-inherit'; do
		# shellcheck disable=SC2086
		hold $flag "D$flag"
		kill -KILL "${pids[0]}"
		ended "${pids[0]}" 137
		pids=("$(<who)")
		# shellcheck disable=SC2086
		run -1 pc-lock $flag -n "D$flag" true
		open_go
		# shellcheck disable=SC2086
		pc-lock $flag -t 10s "D$flag" true
		pids=()
	done
	[ -z "$(find . -name 'D*' -type d)" ]
}

@test "pc-lock: TERM, INT and HUP are passed on, and the folder goes" {
	for flag in --no-inherit --dir; do
		for signal in TERM:143 INT:130 HUP:129; do
			rm -f up
			env --default-signal=HUP,INT pc-lock $flag "D$flag" python3 -c '
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
open("up", "w").close()
signal.pause()' 3>&- &
			pids+=($!)
			wait_until test -e up
			kill "-${signal%:*}" "${pids[0]}"
			ended "${pids[0]}" "${signal#*:}"
			[ ! -d D--dir ]
			pc-lock $flag -n "D$flag" true
		done
	done
}

@test "pc-lock: in another pid namespace it excludes all the same" {
	unshare -pf true 2>/dev/null || skip "needs the right to unshare"
	for flag in '' --dir; do
		# shellcheck disable=SC2086
		hold $flag "D$flag"
		# shellcheck disable=SC2086
		run -1 unshare -pf --mount-proc "$(command -v pc-lock)" $flag -n "D$flag" true
		# shellcheck disable=SC2086
		run -111 unshare -pf --mount-proc "$(command -v pc-lock)" $flag -t 50ms "D$flag" true
		let_go
		rm -f up
		mkfifo go
		# shellcheck disable=SC2086
		unshare -pf --mount-proc "$(command -v pc-lock)" $flag "D$flag" \
		    sh -c ': >up; read -r line <go; exit 0' 3>&- &
		pids+=($!)
		wait_until test -e up
		# shellcheck disable=SC2086
		run -1 pc-lock $flag -n "D$flag" true
		let_go
		rm -rf D up ./*.pc.lock
	done
}

@test "pc-lock: a lock's file that was removed is not the lock any more" {
	for then in : ': >L'; do
		hold L
		pc-lock -t 10s L sh -c 'for f in /proc/$$/fd/*; do [ "$f" -ef L ] && exit 5; done' 3>&- &
		waiter=$!
		waits_for "$waiter"
		rm L
		eval "$then"
		let_go
		ended "$waiter" 5
	done
}

@test "pc-lock: somebody's file can be the lock, and is left as it was" {
	echo data >f
	chmod 444 f
	cp f before
	pc-lock f cmp f before
	chmod 644 f
	pc-lock f true
	cmp f before
	pc-lock L true
	size=$(stat -c %s L)
	pc-lock L true
	[ "$(stat -c %s L)" -le $((size + 2)) ]
}

@test "pc-lock: --status says who, in words and as JSON; it makes no file" {
	run -0 pc-lock --status L
	[ "$output" = free ]
	[ ! -e L ]
	hold L
	run -1 pc-lock --status L
	[[ $output == "held by pid $(<who) since 20"*"Z: sh -c "* ]]
	run -1 pc-lock --status --json L
	jq -e --argjson p "$(<who)" '.state == "held" and .pid == $p and .alive and (.shared | not) and (.command | startswith("sh -c"))' <<<"$output"
	run -5 pc-lock --status --busy-status 5 L
	run -1 pc-lock --break L
	[[ $output == "pc-lock: L: held by pid $(<who) since "* ]]
	let_go
	run -0 pc-lock --status --json L
	[ "$output" = '{"state":"free","shared":false,"pid":null,"alive":false,"since":null,"command":null}' ]
	pc-lock --break L
}

@test "pc-lock: others' words are shown printable, and bounded" {
	mkdir D
	printf '{"pid":2,"command":"a\\u001b[31mb\\nc"}' >D/owner.json
	run -1 pc-lock --status D
	[[ $output == "held by pid 2 since "*": a?[31mb?c" ]]
	jq -nc '{pid: 2, command: ("x" * 1000)}' >D/owner.json
	run -1 pc-lock --status D
	[ "${#output}" -lt 250 ]
	run -1 pc-lock L sh -c 'pc-lock --status L' "$(printf 'a\033b%500s' x)"
	[[ $output == *" a?b "* ]]
	[ "${#output}" -lt 250 ]
}

@test "pc-lock: a note that is none is not believed" {
	for note in '' 'pc-lock ' 'pc-lock x 1 y' 'pc-lock 1' 'pc-lock 99999999999 1 y' \
	    'pc-lock 0 1 y' 'pc-lock 4 5' $'pc-lock 4 5 \n'; do
		printf '%s' "$note" >L
		python3 -c '
import fcntl, signal
f = open("L")
fcntl.flock(f, fcntl.LOCK_EX)
open("up", "w").close()
signal.pause()' 3>&- &
		pids+=($!)
		wait_until test -e up
		run -1 pc-lock --status L
		echo "$note: $output"
		[[ $output == "held by pid ${pids[0]}: "*"python3 -c "* ]]
		kill "${pids[0]}"
		ended "${pids[0]}" 143
		rm up
	done
}

@test "pc-lock: where flock excludes nobody it refuses" {
	for flag in '' -s --dir; do
		# shellcheck disable=SC2086
		run -100 strace -qq -o trace -e trace=flock -e inject=flock:retval=0 \
		    pc-lock $flag "D$flag" touch entered
		[[ $output == *": locks do not exclude on this file system" ]]
	done
	run -100 strace -qq -o trace -e trace=flock -e inject=flock:error=ENOLCK pc-lock L touch entered
	[ ! -e entered ]
}

@test "pc-lock: errors of the system are one line and exit 111" {
	run -111 strace -qq -o trace -e trace=fork,vfork,clone,clone3 -e inject=fork,vfork,clone,clone3:error=EAGAIN pc-lock --no-inherit L true
	[ "$(wc -l <<<"$output")" -eq 1 ]
	run -111 strace -qq -o trace -e trace=mkdirat -e inject=mkdirat:error=ENOSPC pc-lock --dir D true
	[ "$output" = "pc-lock: D: No space left on device" ]
	run -111 strace -qq -o trace -e trace=write -e inject=write:error=ENOSPC:when=1 pc-lock --dir D true
	[ "$output" = "pc-lock: D: No space left on device" ]
	run -111 pc-lock nowhere/L true
	run -111 bash -c 'pc-lock --status L >/dev/full'
	[ "$output" = "pc-lock: stdout: No space left on device" ]
	run -111 bash -c 'pc-lock --status L >&-'
	run -111 strace -qq -o trace -e trace=pidfd_open -e inject=pidfd_open:error=ENOSYS pc-lock --dir --no-inherit D touch entered
	[ "$output" = "pc-lock: cannot guard the lock: Function not implemented" ]
	[ "$(ls)" = $'D.pc.lock\nL\ntrace' ]
}

@test "pc-lock: a note that cannot be written does not matter" {
	strace -qq -o trace -e trace=pwrite64 -e inject=pwrite64:error=ENOSPC pc-lock L true
	grep -q INJECTED trace
}

@test "pc-lock: bad usage is exit 100, one line, and COMMAND does not run" {
	while IFS='|' read -r -a args; do
		run --separate-stderr -100 pc-lock "${args[@]}"
		[ -z "$output" ]
		[ "${#stderr_lines[@]}" -eq 1 ]
		[[ $stderr == "pc-lock: "* ]]
		[ ! -e x ] && [ ! -e L ]
	done <<-'END'

	L
	-n|-t|1s|L|touch|x
	-t|1|L|touch|x
	-t|soon|L|touch|x
	-s|--dir|L|touch|x
	--status
	--status|L|touch|x
	--status|--break|L
	--status|-n|L
	--status|-t|1s|L
	--break|L|touch
	--break|--no-inherit|L
	--json|L|touch|x
	--busy-status|256|L|touch|x
	--busy-status|-1|L|touch|x
	--nonsense|L|touch|x
	--dir|.|touch|x
	--dir|..|touch|x
	--dir|/|touch|x
	END
	run -100 pc-lock --dir '' touch x
	[ ! -e x ] && [ ! -e L ]
}

@test "pc-lock: what is no lock is refused, never followed or blocked on" {
	mkdir d
	mkfifo p
	: >f
	ln -s f link
	ln -s d dirlink
	for l in d p link dirlink /dev/null; do
		run -100 timeout 10 pc-lock "$l" touch entered
		[ "$(wc -l <<<"$output")" -eq 1 ]
	done
	for l in p f link dirlink; do
		run -100 timeout 10 pc-lock --dir "$l" touch entered
		[ "$(wc -l <<<"$output")" -eq 1 ]
	done
	run -100 pc-lock "$(printf '%300s' x)" true
	[ ! -e entered ]
}

# The folder of existing peers.

# make_lock WHAT AGE - a folder D as some peer leaves it; the words stand for
# pids of these kinds.
make_lock() {
	local what=$1 word
	sleep 0 &
	wait $!
	for word in "DEAD $!" "ALIVE $BASHPID" "KERNEL 2"; do
		what=${what//${word% *}/${word#* }}
	done
	mkdir D
	case $what in
	'{'*) printf '%s' "$what" >D/owner.json ;;
	none) ;;
	empty) : >D/pid ;;
	large) yes $$ | head -c 65537 >D/pid ;;
	large.json) yes '{"pid":2}' | head -c 65537 >D/owner.json ;;
	other) : >D/precious ;;
	both:*)
		what=${what#both:}
		printf '%s\n' "${what%%,*}" >D/pid
		printf '{"pid":%s}\n' "${what#*,}" >D/owner.json
		;;
	*) printf '%b' "$what" >D/pid ;;
	esac
	age D "$2"
}

folder_vector() {
	local what=$1 age=$2 want=$3 state=$4
	make_lock "$what" "$age"
	ls -R D >before
	run "-$want" pc-lock --status --json D
	[ "$want" -eq 100 ] || [ "$(jq -r .state <<<"$output")" = "$state" ]
	ls -R D | diff before -
	run "-$want" pc-lock --dir -n D touch entered
	if [ "$want" -eq 0 ]; then
		[ -e entered ]
		[ ! -e D ]
	else
		[ ! -e entered ]
		ls -R D | diff before -
		run "-$want" pc-lock --break D
		ls -R D | diff before -
	fi
	rm -rf D entered
	[ -z "$(find . -name 'D*' ! -name D.pc.lock)" ]
}

@test "pc-lock --dir: every folder of the table is held, left or no lock" {
	each_vector "$BATS_TEST_DIRNAME/pc-lock-dir.tsv" folder_vector
}

@test "pc-lock --dir: the folder is complete, says who, and is gone after" {
	umask 027
	pc-lock --dir D sh -c 'cat D/pid; echo $$; cat D/owner.json; stat -c %a D D/pid; pc-lock --status --json D || :' >out
	[ ! -e D ]
	[ "$(sed -n 1p out)" = "$(sed -n 2p out)" ]
	sed -n 3p out | jq -e --argjson p "$(head -1 out)" \
	    '.pid == $p and (.createdAt | test("^20.*Z$")) and .startTime > 0 and (.command | startswith("sh -c"))'
	[ "$(sed -n 4,5p out)" = $'750\n640' ]
	sed -n 6p out | jq -e '.state == "held" and .alive'
	# It is there with its contents or not at all: no look sees it without.
	strace -f -qq -o trace -e trace=mkdir,mkdirat,renameat2,rename,wait4 pc-lock --dir D true
	run ! grep -E 'mkdir.*"D"' trace
	grep -q 'renameat2(.*"D.pc.new", .*"D", RENAME_NOREPLACE) = 0' trace
	# It goes while the pid in it is COMMAND's still.
	sed -n '/renameat2([^"]*"D", [^"]*"D.pc.new"/,$p' trace | grep -q 'wait4(.*= [1-9]'
	run ! grep -q 'wait4(' <(sed '/renameat2([^"]*"D", [^"]*"D.pc.new"/,$d' trace)
}

@test "pc-lock --dir: ours that is dead is taken over, also when its pid is used again" {
	for change in '.' '.startTime += 1' '.bootId = "00000000-0000-0000-0000-000000000000"'; do
		# As if it had been this shell's, which lives.
		mkdir D
		echo $$ >D/pid
		start=$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)
		jq -nc --argjson p $$ --argjson s "$start" \
		    --arg b "$(</proc/sys/kernel/random/boot_id)" \
		    "{pid: \$p, createdAt: \"t\", startTime: \$s, bootId: \$b, command: \"c\"} | $change" >D/owner.json
		if [ "$change" = . ]; then
			run -1 pc-lock --dir -n D true
			rm -rf D
		else
			run -0 pc-lock --status D
			[[ $output == "free, held by what was left by pid $$ since "*": c" ]]
			pc-lock --dir -n D true
			[ ! -e D ]
		fi
	done
}

@test "pc-lock --dir: a zombie's and another user's" {
	python3 -c '
import os, signal
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print(pid, file=open("zombie.new", "w"), flush=True)
os.rename("zombie.new", "zombie")
signal.pause()' 3>&- &
	pids+=($!)
	wait_until test -e zombie
	mkdir D
	cp zombie D/pid
	kill -0 "$(<zombie)"
	pc-lock --dir -n D true
	[ "$(id -u)" -eq 0 ] || skip "needs root to be another user"
	mkdir D
	echo $$ >D/pid
	chmod 777 .
	run -1 setpriv --reuid 65534 --regid 65534 --clear-groups "$(command -v pc-lock)" --dir -n D true
	[ -d D ]
}

@test "pc-lock --dir: an old holder and ours exclude one another, both ways" {
	mkfifo go
	"$old" D sh -c ': >up; read -r line <go; exit 0' 3>&- &
	pids+=($!)
	wait_until test -e up
	run -1 pc-lock --dir -n D true
	run -111 pc-lock --dir -t 50ms D true
	[[ $output == *"(held by pid ${pids[0]} since "* ]]
	pc-lock --dir -t 0 D touch ours 3>&- &
	waiter=$!
	waits_for "$waiter"
	[ ! -e ours ]
	let_go
	ended "$waiter"
	[ -e ours ]
	rm up
	hold --dir D
	"$old" D touch theirs 3>&- &
	waiter=$!
	# It has looked at least once when it sleeps.
	wait_until sh -c "pgrep -P $waiter sleep"
	[ ! -e theirs ]
	let_go
	ended "$waiter"
	[ -e theirs ]
	[ ! -e D ]
}

@test "pc-lock --dir: a killed old holder's is taken over by a waiter, at once" {
	mkfifo go
	"$old" D sh -c ': >up; read -r line <go' 3>&- &
	pids+=($!)
	wait_until test -e up
	for i in 1 2 3; do
		pc-lock --dir -t 20s D sh -c "mkdir in && rmdir in && echo $i >>entered" 3>&- &
		waiters[i]=$!
	done
	waits_for "${waiters[1]}"
	kill -KILL "${pids[0]}"
	ended "${pids[0]}" 137
	for i in 1 2 3; do ended "${waiters[i]}"; done
	[ "$(sort entered)" = $'1\n2\n3' ]
	[ ! -e D ]
	open_go
}

@test "pc-lock --dir: a new holder's folder that was moved by mistake is put back" {
	make_lock DEAD 0
	strace -qq -o trace -e trace=newfstatat pc-lock --dir -n D true
	n=$(grep -n '"D", .*AT_SYMLINK_NOFOLLOW' trace | head -1 | cut -d: -f1)
	make_lock DEAD 0
	# Stopped between its last look and its rename.
	strace -qq -o trace -e trace=newfstatat -e "inject=newfstatat:signal=STOP:when=$n" \
	    pc-lock --dir -n D touch entered 3>&- &
	waiter=$!
	wait_until pgrep -P "$waiter" pc-lock
	pid=$(pgrep -P "$waiter" pc-lock)
	wait_until grep -q '^State:.[Tt]' "/proc/$pid/status"
	wait_until grep -q 'stopped by SIGSTOP' trace
	rm -r D
	mkdir D
	echo $$ >D/pid
	kill -CONT "$pid"
	ended "$waiter" 1
	[ ! -e entered ]
	[ "$(<D/pid)" = $$ ]
	[ ! -e D.pc.old ]
}

@test "pc-lock --dir: what a killed one had moved by mistake is put back" {
	mkdir D.pc.old D.pc.new
	echo $$ >D.pc.old/pid
	echo 1 >D.pc.new/pid
	run -1 pc-lock --dir -n D touch entered
	[ "$(<D/pid)" = $$ ]
	rm -r D
	pc-lock --dir -n D true
	[ "$(find . -name 'D*')" = ./D.pc.lock ]
}

@test "pc-lock --dir: one without a pid is waited for, and its pid is seen" {
	mkdir D
	pc-lock --dir -t 0 D touch entered 3>&- &
	waiter=$!
	waits_for "$waiter"
	run -1 pc-lock --status D
	[[ $output == "held by an unknown process"* ]]
	sh -c 'read -r line <&9' 9<> <(:) 3>&- &
	pids+=($!)
	echo "${pids[0]}" >D/pid
	age D 60
	run -1 pc-lock --status D
	[ ! -e entered ]
	kill "${pids[0]}"
	wait "${pids[0]}" || true
	pids=()
	ended "$waiter"
	[ -e entered ]
}

@test "pc-lock --dir: a waiting one uses no CPU to speak of" {
	mkdir D
	echo $$ >D/pid
	pc-lock --dir -t 0 D true 3>&- &
	waiter=$!
	pids+=($!)
	waits_for "$waiter"
	sleep 1.3
	ctxt() { awk '/^voluntary_ctxt/ { print $2 }' "/proc/$waiter/status"; }
	before=$(ctxt)
	sleep 1
	[ "$(($(ctxt) - before))" -le 2 ]
	rm -r D
	ended "$waiter"
}

@test "pc-lock --dir: killed at any step, the next one gets it, nothing stays" {
	for call in mkdirat openat write renameat2 unlinkat close pipe2 clone; do
		for n in 1 2 3 4 5 6 7 8; do
			strace -f -qq -o trace -e "trace=$call" \
			    -e "inject=$call:signal=KILL:when=$n" \
			    pc-lock --dir D true >out 2>&1 || true
			run -0 pc-lock --dir -t 5s D ls -A
			[ "$output" = $'D\nD.pc.lock\nout\ntrace' ]
			[ ! -e D ]
		done
	done
}

@test "pc-lock --dir: without renameat2's flags it makes it as peers do" {
	strace -f -qq -o trace -e trace=renameat2 -e inject=renameat2:error=EINVAL \
	    pc-lock --dir D sh -c 'cat D/pid; echo $$' >out
	[ "$(uniq out | wc -l)" -eq 1 ]
	[ ! -e D ]
	make_lock DEAD 0
	strace -f -qq -o trace -e trace=renameat2 -e inject=renameat2:error=ENOSYS \
	    pc-lock --dir -n D touch entered
	[ -e entered ]
	[ ! -e D ]
}

@test "pc-lock --dir: without inotify or pidfds it looks" {
	for call in inotify_init1 pidfd_open; do
		mkdir D
		echo $$ >D/pid
		strace -qq -o trace -e "trace=$call" -e "inject=$call:error=ENOSYS" \
		    pc-lock --dir -t 20s D true 3>&- &
		waiter=$!
		wait_until grep -q INJECTED trace
		rm -r D
		ended "$waiter"
		rm trace
	done
}

@test "pc-lock --dir: a peer that takes ours away is left alone, with a word" {
	run -0 pc-lock --dir D sh -c 'rm -r D; mkdir D; echo 2 >D/pid'
	[ "$output" = "pc-lock: D: a peer had taken the lock away" ]
	[ "$(<D/pid)" = 2 ]
}

@test "pc-lock --break: what the dead left goes, and nothing else" {
	make_lock DEAD 0
	hold --dir E
	run -1 pc-lock --break E
	[[ $output == "pc-lock: E: held by pid $(<who) since "* ]]
	let_go
	pc-lock --break D
	[ ! -e D ]
	pc-lock --break D
	pc-lock --dir --break D
}

@test "pc-lock: an interrupted look at a free lock is not a busy one" {
	run -0 "$BATS_TEST_DIRNAME/../build/faults/at" log 0/flock/1 EINTR \
	    pc-lock -n lock true
	[ -z "$output" ]
}

@test "pc-lock: --no-inherit: a command that was not begun is not done" {
	run -111 "$BATS_TEST_DIRNAME/../build/faults/at" log 0/write/1 EIO \
	    pc-lock --no-inherit lock touch ran
	[ "$output" = "pc-lock: touch: Input/output error" ]
	[ ! -e ran ]
}
