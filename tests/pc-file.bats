#!/usr/bin/env bats
load helper

# listing - of this folder, without what bats puts there
listing() {
	ls -A -I 'separate-stderr-*'
}

# content FILE TEXT - what it has, and that nothing else is in its folder but
# what the test put there (in $known).
content() {
	printf %s "$2" | cmp - "$1"
	[ "$(listing)" = "$known" ]
}

# Before a command: as if there were no /proc, so that the content has a name
# from the beginning.  The process that was started stays the command's.
without_tmpfile=(strace -D -qq -o /dev/null
    -e 'trace=?access,?faccessat,?faccessat2'
    -e 'inject=?access,?faccessat,?faccessat2:error=ENOENT')

# one_line STATUS COMMAND... - ends so, with one line on stderr and nothing on stdout.
one_line() {
	local want=$1
	shift
	run --separate-stderr "-$want" "$@"
	echo "$* -> $output $stderr"
	[ -z "$output" ]
	[ "${#stderr_lines[@]}" -eq 1 ]
	[[ $stderr == "pc-file: "* ]]
}

as_nobody() {
	if [ "$(id -u)" -eq 0 ]; then
		setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
	else
		"$@"
	fi
}

sum_of() {
	sha256sum "$@" | cut -c 1-64
}

@test "pc-file put: a new file, 0644 less the umask, and said so" {
	run --separate-stderr -0 pc-file put f <<<hello
	[ "$output" = '{"uploaded":true}' ]
	[ -z "$stderr" ]
	known=f
	content f $'hello\n'
	[ "$(stat -c %a f)" = 644 ]
	umask 077
	pc-file put g </dev/null
	[ "$(stat -c '%a %s' g)" = '600 0' ]
	umask 777
	pc-file put h </dev/null
	[ "$(stat -c %a h)" = 0 ]
}

@test "pc-file put: replaces with a new file, and keeps the mode" {
	echo old >f
	chmod 4751 f
	ln f other
	pc-file put f <<<new
	known=$'f\nother'
	content f $'new\n'
	content other $'old\n'
	[ "$(stat -c %a f)" = 751 ]
	pc-file put --mode 2604 f <<<new
	[ "$(stat -c %a f)" = 2604 ]
	umask 777
	pc-file put --mode 0 f <<<newer
	pc-file put f <<<newest
	[ "$(stat -c %a f)" = 0 ]
	pc-file put --mode 0666 g <<<new
	[ "$(stat -c %a g)" = 666 ]
}

@test "pc-file put: a link is replaced, and what it leads to stays" {
	echo there >target
	chmod 600 target
	for link in target nowhere . /etc; do
		ln -sfn "$link" f
		pc-file put f <<<new
		known=$'f\ntarget'
		content f $'new\n'
		content target $'there\n'
		[ "$(stat -c '%F %a' f)" = 'regular file 644' ]
		[ ! -e nowhere ]
	done
	# One with the content is no file with the content.
	ln -sf target f
	pc-file put --sha256 "$(sum_of target)" f <target | grep -q true
	[ ! -L f ]
}

@test "pc-file put: not over a folder, a FIFO or a device" {
	mkdir d
	mkfifo p
	ln -s d l
	for f in d p d/ d/. d/.. . .. / '' p/ /dev/null new/ l/; do
		one_line 100 pc-file put "$f" <<<x
	done
	known=$'d\nl\np'
	[ "$(listing)" = "$known" ]
	[ -c /dev/null ]
	[ -z "$(ls -A d)" ]
}

@test "pc-file put: a folder that comes in between stays" {
	# The kernel's word counts, not the look before: here it says nothing.
	mkdir f
	stat='?newfstatat,?fstatat64,?lstat,?stat'
	run -100 strace -qq -o trace -P f -e "trace=$stat" \
	    -e "inject=$stat:error=ENOENT" pc-file put f <<<x
	[ "${lines[-1]}" = "pc-file: f: Is a directory" ]
	grep -q INJECTED trace
	[ -d f ]
	[ "$(listing)" = $'f\ntrace' ]
}

@test "pc-file put: --sha256 of what is there: nothing is read" {
	echo data >f
	sum=$(sum_of f)
	mkfifo in
	exec 7<>in
	run --separate-stderr -0 timeout 10 pc-file put --sha256 "$sum" f <&7
	[ "$output" = '{"uploaded":false}' ]
	[ -z "$stderr" ]
	run -0 timeout 10 pc-file put --sha256 "${sum^^}" f <&7
	before=$(stat -c '%i %a %y' f)
	run -0 timeout 10 pc-file put --base64 --sha256 "$sum" f <&7
	[ "$(stat -c '%i %a %y' f)" = "$before" ]
	# The mode that is asked for it gets all the same.
	run -0 timeout 10 pc-file put --mode 640 --sha256 "$sum" f <&7
	[ "$output" = '{"uploaded":false}' ]
	[ "$(stat -c %a f)" = 640 ]
	exec 7>&-
}

@test "pc-file put: --sha256 that differs: what comes must have it" {
	echo old >f
	for sum in "$(sum_of <<<new)" "$(sum_of <<<new | tr a-f A-F)"; do
		run -0 pc-file put --sha256 "$sum" f <<<new
		echo old >f
	done
	known=f
	one_line 100 pc-file put --sha256 "$sum" f <<<other
	[[ $stderr == "pc-file: f: what came has another SHA-256" ]]
	content f $'old\n'
	one_line 100 pc-file put --sha256 "$sum" f </dev/null
	content f $'old\n'
	one_line 100 pc-file put --sha256 "$sum" g <<<other
	content f $'old\n'
	for bad in '' 0 "${sum}0" "${sum%?}g" "${sum%?}" " ${sum%?}"; do
		one_line 100 pc-file put --sha256 "$bad" f <<<new
	done
	content f $'old\n'
}

@test "pc-file put: one that cannot be read is replaced" {
	mkdir d
	echo data >d/f
	sum=$(sum_of d/f)
	chmod 0 d/f
	chmod 777 d
	[ "$(id -u)" -ne 0 ] || chown 65534 d/f
	cd d
	run -0 as_nobody pc-file put --sha256 "$sum" f <<<data
	[ "$output" = '{"uploaded":true}' ]
	[ "$(stat -c %a f)" = 0 ]
}

@test "pc-file put: -p makes the folders above, else status 1" {
	one_line 1 pc-file put a/b/f <<<x
	[ "$stderr" = "pc-file: a/b/f: No such file or directory" ]
	[ ! -e a ]
	umask 027
	pc-file put -p a//b/f <<<x
	[ "$(stat -c %a a a/b a/b/f)" = $'750\n750\n640' ]
	pc-file put --parents a/b/f <<<y
	umask 777
	pc-file put -p c/d/f <<<x
	[ "$(stat -c %a c)" = 300 ]
	chmod -R u+rwx c
	umask 022
	ln -s a l
	pc-file put -p "$PWD/l/n/f" <<<x
	[ -f a/n/f ]
	one_line 100 pc-file put -p a/b/f/g <<<x
	ln -s nowhere broken
	one_line 1 pc-file put -p broken/f <<<x
}

@test "pc-file put: --base64 strictly, but for line ends" {
	while IFS='|' read -r text want; do
		printf "$text" | pc-file put --base64 f
		printf "$want" | cmp - f
	done <<-'END'
	|
	\n|
	YQ==|a
	YQ==\n|a
	Y\r\nQ\n=\n=\n\n|a
	YWI=|ab
	YWJjZGVm\n|abcdef
	Y\nW\nJ\njZ\nGVm|abcdef
	AP/+|\0\xff\xfe
	END
	while read -r text; do
		one_line 100 pc-file put --base64 f < <(printf "$text")
		[ "$stderr" = "pc-file: stdin: not base64" ]
		printf '\0\xff\xfe' | cmp - f
		[ "$(listing)" = f ]
	done <<-'END'
	Y
	YQ
	YQ=
	YQ===
	YR==
	YQ==YQ==
	YQ==\nYQ==
	=
	YW\x20Jj
	YW\tJj
	YW-_
	YWJj\0
	YWJj.
	END
	# Over several reads, and of what is base64's own hash.
	head -c 1000000 /dev/urandom >data
	for width in 0 1 76 77; do
		base64 -w "$width" data |
		    pc-file put --base64 --sha256 "$(sum_of data)" g | grep -q true
		rm g
	done
	# The padding is the end, also when it ends what one read brings.
	head -c 131068 /dev/zero | tr '\0' A >padded
	printf 'YQ==' >>padded
	pc-file put --base64 g <padded
	[ "$(stat -c %s g)" -eq 98302 ]
	rm g
	printf 'YQ==' >>padded
	one_line 100 pc-file put --base64 g <padded
	[ ! -e g ]
	base64 data | head -c 1300000 >cut
	printf '=' >>cut
	one_line 100 pc-file put --base64 g <cut
	[ ! -e g ]
}

@test "pc-file put: 50 MB" {
	head -c 50M /dev/urandom >in
	run -0 pc-file put --sha256 "$(sum_of in)" out <in
	cmp in out
	run -0 pc-file sha256 out
	[ "$output" = "{\"sha256\":\"$(sum_of in)\"}" ]
	run -0 pc-file put --sha256 "$(sum_of in)" out </dev/null
	[ "$output" = '{"uploaded":false}' ]
	pc-file get --base64 out | pc-file put --base64 back
	cmp in back
}

@test "pc-file put: a full disk: 111, and the old file stays" {
	mkdir m
	mount_tmpfs -o size=64k,nr_inodes=10 m
	cd m
	echo old >f
	known=f
	run -111 pc-file put f < <(head -c 100000 /dev/zero)
	[ "$output" = "pc-file: f: No space left on device" ]
	content f $'old\n'
	one_line 111 "${without_tmpfile[@]}" pc-file put f < <(head -c 100000 /dev/zero)
	content f $'old\n'
	one_line 111 pc-file put g < <(head -c 100000 /dev/zero)
	content f $'old\n'
	mkdir 1 2 3 4 5 6 7 8
	known=$(ls -A)
	one_line 111 pc-file put g <<<x
	content f $'old\n'
}

@test "pc-file put: a size limit is an error, not a signal" {
	echo old >f
	run -100 bash -c 'ulimit -f 1; head -c 5000 /dev/zero | pc-file put f'
	[ "$output" = "pc-file: f: File too large" ]
	known=f
	content f $'old\n'
}

# each call that may fail, and what comes of it
@test "pc-file put: any call may fail: the old file, and nothing else" {
	mkdir d
	cd d
	known=f
	while read -r want call error; do
		echo "$call $error"
		echo old >f
		run --separate-stderr "-$want" strace -qq -o /dev/null \
		    -e "trace=$call" -e "inject=$call:error=$error" pc-file put f <<<new
		[ "${#stderr_lines[@]}" -eq 1 ]
		content f $'old\n'
		[ "$(stat -c %a f)" = 644 ]
	done <<-'END'
	111 write ENOSPC:when=1
	111 write EDQUOT:when=1
	111 write EIO:when=1
	100 write EFBIG:when=1
	111 fchmod EIO
	111 linkat ENOSPC
	111 linkat EDQUOT:when=2
	111 renameat ENOSPC
	111 renameat EIO
	100 renameat EROFS
	111 getrandom EIO
	END
	while read -r want call error; do
		echo "named: $call $error"
		echo old >f
		run --separate-stderr "-$want" strace -qq -o /dev/null \
		    -e "trace=?access,?faccessat,?faccessat2,$call" \
		    -e 'inject=?access,?faccessat,?faccessat2:error=ENOENT' \
		    -e "inject=$call:error=$error" pc-file put f <<<new
		[ "${#stderr_lines[@]}" -eq 1 ]
		content f $'old\n'
	done <<-'END'
	111 write ENOSPC:when=1
	111 fchmod EIO
	111 renameat ENOSPC
	END
	# What is on the disk late is late, and not wrong.
	run -111 strace -qq -o /dev/null -e trace=fdatasync \
	    -e inject=fdatasync:error=EIO pc-file put --sync f <<<new
	content f $'old\n'
}

@test "pc-file put: interrupted calls are called again" {
	echo new >in
	strace -qq -o trace -P "$PWD/in" -e trace=read \
	    -e inject=read:error=EINTR:when=1..3 pc-file put f <in
	[ "$(grep -c INJECTED trace)" -ge 3 ]
	cmp in f
	strace -qq -o trace -e trace=write \
	    -e inject=write:error=EINTR:when=1 pc-file put g <in
	grep -q INJECTED trace
	cmp in g
}

@test "pc-file put: an input that cannot be read: the old file stays" {
	echo old >f
	known=f
	one_line 111 bash -c 'exec pc-file put f <&-'
	[ "$stderr" = "pc-file: stdin: Bad file descriptor" ]
	content f $'old\n'
	one_line 100 pc-file put f <.
	content f $'old\n'
	head -c 300000 /dev/zero >../in
	one_line 111 strace -qq -o /dev/null -P "$(realpath ../in)" \
	    -e trace=read -e inject=read:error=EIO:when=2 pc-file put f <../in
	content f $'old\n'
}

@test "pc-file put: --sync writes before it renames, and the folder after" {
	strace -qq -o trace -e trace=fdatasync,fsync,linkat,renameat,renameat2 \
	    pc-file put --sync f <<<x
	[ "$(sed 's/(.*//' trace | xargs)" = 'fdatasync linkat fsync' ]
	strace -qq -o trace -e trace=fdatasync,fsync,linkat,renameat,renameat2 \
	    pc-file put --sync f <<<y
	[ "$(sed 's/(.*//' trace | xargs)" = 'fdatasync linkat linkat renameat fsync' ]
	strace -qq -o trace -e trace=fdatasync,fsync pc-file put f <<<x
	[ ! -s trace ]
}

# begin_put [COMMAND...] - a put of f that has read some of its input and waits for more
begin_put() {
	mkfifo ../in
	{ exec "$@" pc-file put f; } <../in >../out 2>../err 3>&- &
	pids+=($!)
	exec 7>../in
	# A pipe takes 64 KiB: the rest has been read.
	head -c 400000 /dev/zero >&7
}

@test "pc-file put: kill -9 in the middle leaves the old file alone" {
	mkdir d
	cd d
	echo old >f
	known=f
	begin_put
	kill -9 "${pids[0]}"
	ended "${pids[0]}" 137
	exec 7>&-
	content f $'old\n'
	[ ! -s ../out ]
}

@test "pc-file put: without O_TMPFILE a kill leaves a name, a signal does not" {
	mkdir d
	cd d
	echo old >f
	known=f
	for signal in TERM INT HUP; do
		rm -f ../in
		# Bash starts background jobs with INT ignored.
		begin_put "${without_tmpfile[@]}" env --default-signal
		wait_until bash -c 'ls .pc-put.* 2>/dev/null'
		kill -"$signal" "${pids[0]}"
		ended "${pids[0]}" $((128 + $(kill -l "$signal")))
		exec 7>&-
		content f $'old\n'
	done
	rm ../in
	begin_put "${without_tmpfile[@]}"
	wait_until bash -c 'ls .pc-put.* 2>/dev/null'
	kill -9 "${pids[0]}"
	ended "${pids[0]}" 137
	exec 7>&-
	printf 'old\n' | cmp - f
	[[ $(listing) =~ ^\.pc-put\.[0-9a-f]{16}$'\n'f$ ]]
	[ "$(stat -c %a .pc-put.*)" = 600 ]
	pc-file put f <<<new
	printf 'new\n' | cmp - f
}

@test "pc-file put: killed at any call: the old file or the new one" {
	mkdir d
	cd d
	for call in openat read write fchmod linkat renameat close; do
		for n in 1 2 3 4 5 6 7 8; do
			echo old >f
			strace -qq -o /dev/null -e "trace=$call" \
			    -e "inject=$call:signal=KILL:when=$n" \
			    pc-file put f <<<new >../out 2>&1 || true
			case $(<f) in
			old) [ ! -s ../out ] ;;
			new) ;;
			*) false ;;
			esac
			# It is given its name in one call, and replaces in the next.
			for left in .pc-put.*; do
				[ -e "$left" ] || continue
				[ "$call" = linkat ] || [ "$call" = renameat ] ||
				    [ "$call" = close ]
				[ "$(<"$left")" = new ]
				rm "$left"
			done
			[ "$(listing)" = f ]
		done
	done
}

@test "pc-file put: without O_TMPFILE everything is the same" {
	echo old >f
	chmod 751 f
	"${without_tmpfile[@]}" pc-file put f <<<new
	"${without_tmpfile[@]}" pc-file put g <<<new
	known=$'f\ng'
	content f $'new\n'
	content g $'new\n'
	[ "$(stat -c %a f g)" = $'751\n644' ]
	mkdir d
	run -100 "${without_tmpfile[@]}" pc-file put d <<<new
	known=$'d\nf\ng'
	run -100 "${without_tmpfile[@]}" pc-file put --sha256 "$(sum_of f)" n </dev/null
	content f $'new\n'
	# A file system that has none, by the kernel's word.
	strace -qq -o ../trace -P "$PWD" -P . -e trace=openat \
	    -e inject=openat:error=EOPNOTSUPP pc-file put f <<<newer
	grep -q O_TMPFILE ../trace
	content f $'newer\n'
}

@test "pc-file put: at the same time: always one of them, whole" {
	mkdir d
	for n in 1 2 3 4 5 6 7 8; do
		head -c 300000 /dev/zero | tr '\0' "$n" >"c$n"
	done
	pc-file put d/f <c1 >out
	for n in 1 2 3 4 5 6 7 8; do
		for _ in 1 2 3 4 5; do pc-file put d/f <"c$n" >>out; done 3>&- &
		pids+=($!)
	done
	for _ in {1..30}; do
		pc-file get d/f >got
		cmp got "c$(head -c 1 got)"
	done
	for pid in "${pids[@]}"; do ended "$pid"; done
	[ "$(grep -c true out)" -eq 41 ]
	[ "$(ls -A d)" = f ]
	# And where nothing was: each finds it free, or not.
	rm d/f
	for n in 1 2 3 4 5 6 7 8; do
		pc-file put d/f <"c$n" >out 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do ended "$pid"; done
	cmp d/f "c$(head -c 1 d/f)"
	[ "$(ls -A d)" = f ]
}

@test "pc-file put: long names, and bytes of all kinds" {
	name=$(printf 'x%.0s' {1..255})
	for f in "$name" -n $'a\nb' $'\xff\x80' ' ' '\' "é'\""; do
		pc-file put -- "$f" <<<"$f"
		[ "$(pc-file get -- "$f")" = "$f" ]
		pc-file put -- "$f" <<<"$f"
		pc-file remove -- "$f"
		[ -z "$(listing)" ]
	done
	one_line 100 pc-file put "${name}x" <<<x
	one_line 100 pc-file put $'\xff\n\e[m/' <<<x
	[ "$stderr" = 'pc-file: \xff\x0a\x1b[m/: not the name of a file' ]
}

@test "pc-file put, get: a closed or full output is said" {
	echo old >f
	run -111 bash -c 'pc-file put f <<<new >/dev/full'
	[ "$output" = "pc-file: stdout: No space left on device" ]
	[ "$(<f)" = new ]
	for command in 'put f' 'get f' 'sha256 f' 'list .' 'get --base64 f' 'list --json .'; do
		for to in '>&-' '>/dev/full'; do
			run --separate-stderr -111 bash -c "pc-file $command $to </dev/null"
			[ "${#stderr_lines[@]}" -eq 1 ]
			[[ $stderr == "pc-file: stdout: "* ]]
			echo x >f
		done
	done
	head -c 1000000 /dev/zero >f
	run -0 bash -c 'pc-file get f | head -c 1 | wc -c; exit 0'
	run -111 bash -c 'set -o pipefail; pc-file get f | true'
	[[ $output == "pc-file: stdout: Broken pipe" ]]
}

@test "pc-file get: the bytes, and any part of them" {
	head -c 300000 /dev/urandom >f
	run --separate-stderr -0 bash -c 'pc-file get f | cmp - f'
	[ -z "$output$stderr" ]
	while read -r offset length; do
		pc-file get --offset "$offset" --length "$length" f >got
		tail -c "+$((offset + 1))" f | head -c "$length" | cmp - got
	done <<-'END'
	0 0
	0 1
	1 1
	0 131043
	0 131044
	131043 131043
	131043 2
	299999 10
	300000 10
	4000000 10
	0 300001
	END
	pc-file get --offset 290K f | cmp - <(tail -c +$((290 * 1024 + 1)) f)
	pc-file get --length 1K f | cmp - <(head -c 1024 f)
	[ -z "$(pc-file get --offset 4000000000000000000 f)" ]
	for ((at = 0; at < 300000; at += 70000)); do
		pc-file get --offset "$at" --length 70000 f
	done | cmp - f
	: >f
	[ -z "$(pc-file get f)" ]
	# Files that do not know their size.
	pc-file get /proc/self/status | grep -q '^Name:'
}

@test "pc-file get: --base64 is what base64(1) says" {
	for n in 0 1 2 3 56 57 58 113 114 115 131043 131044 300001; do
		head -c "$n" /dev/urandom >f
		pc-file get --base64 f >got
		base64 f | cmp - got
		pc-file put --base64 back <got
		cmp f back
	done
	pc-file get --base64 --offset 3 --length 60 f |
	    cmp - <(tail -c +4 f | head -c 60 | base64)
}

@test "pc-file get, sha256: regular files only, and nothing else is opened" {
	mkdir d
	mkfifo p
	echo data >f
	ln -s f l
	ln -s p lp
	ln -s l l2
	ln -s loop loop
	for command in get sha256; do
		for f in d p lp . / /dev/null /dev/zero; do
			one_line 100 timeout 10 pc-file "$command" "$f"
			[ "$stderr" = "pc-file: $f: not a regular file" ]
		done
		one_line 1 pc-file "$command" nowhere
		[ "$stderr" = "pc-file: nowhere: No such file or directory" ]
		one_line 1 pc-file "$command" ''
		for f in f/ f/x loop "$(printf 'x%.0s' {1..256})"; do
			one_line 100 pc-file "$command" "$f"
		done
	done
	[ "$(pc-file get l2)" = data ]
	[ "$(pc-file sha256 l2)" = "{\"sha256\":\"$(sum_of f)\"}" ]
	: >empty
	[ "$(pc-file sha256 empty)" = '{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}' ]
	chmod 0 f
	chmod 755 .
	one_line 100 as_nobody pc-file get f
	[ "$stderr" = "pc-file: f: Permission denied" ]
}

@test "pc-file list: names sorted by bytes, without control characters" {
	mkdir d
	cd d
	touch -- b B a a-b a.b ab .hidden $'n\n' $'e\e[m' 'back\' $'\x7f' $'\xff' é $'c1\u009b' ' ' -x
	mkdir dir
	run -0 pc-file list .
	[ "$output" = "$(printf '%s\n' ' ' -x .hidden B a a-b a.b ab b 'back\x5c' \
	    'c1\xc2\x9b' dir 'e\x1b[m' 'n\x0a' '\x7f' é '\xff')" ]
	pc-file list -0 . | cmp - <(find . -mindepth 1 -maxdepth 1 -printf '%P\0' | sort -z)
	pc-file list --null . | cmp - <(pc-file list -0 "$PWD/")
	cd ..
	mkdir empty
	[ -z "$(pc-file list empty)$(pc-file list --json empty)$(pc-file list -0 empty | tr '\0' x)" ]
	ln -s d l
	cmp <(pc-file list l) <(pc-file list d)
	: >f
	one_line 100 pc-file list f
	one_line 1 pc-file list nowhere
	one_line 1 pc-file list ''
	one_line 100 pc-file list --json -0 d
	chmod 0 empty
	one_line 100 as_nobody pc-file list empty
}

@test "pc-file list: --json says what each is" {
	mkdir -m 1750 d
	mkdir d/dir
	echo data >d/file
	chmod 640 d/file
	touch -d @1700000000.123456789 d/file
	touch -d @-1.5 d/before
	ln -s file d/link
	mkfifo d/pipe
	: >d/$'\xff"'
	pc-file list --json d >out
	[ "$(jq -r '.name // .nameBase64' out | paste -sd ' ')" = \
	    'before dir file link pipe /yI=' ]
	[ "$(jq -c 'select(.name == "file") | del(.name)' out)" = \
	    '{"type":"file","mode":416,"size":5,"mtimeNs":"1700000000123456789"}' ]
	[ "$(jq -r 'select(.name == "before").mtimeNs' out)" = -1500000000 ]
	[ "$(jq -c 'select(.name == "dir") | [.type, .mode, .size]' out)" = '["dir",493,0]' ]
	[ "$(jq -c 'select(.name == "link") | [.type, .mode, .size]' out)" = '["link",511,0]' ]
	[ "$(jq -c 'select(.name == "pipe") | [.type, .size]' out)" = '["other",0]' ]
	[ "$(jq -r 'select(.nameBase64) | [.nameBase64, .type] | @tsv' out)" = $'/yI=\tfile' ]
	: >$'d/"\n\\'
	[ "$(pc-file list --json d | jq -c 'select(.name == "\"\n\\") | keys_unsorted')" = '["name","type","mode","size","mtimeNs"]' ]
	[ "$(pc-file list --json . | jq -c 'select(.name == "d") | .mode')" = 1000 ]
}

@test "pc-file list: --json: every time that a file can have" {
	mkdir d
	for at in 0 0.000000001 1.5 -0.5 -1 -1.25 10413792000.000000007; do
		touch -d "@$at" d/f
		[ "$(stat -c %Y d/f)" = "$(date -d "@$at" +%s)" ] || continue
		run -0 pc-file list --json d
		[[ $output == *"\"mtimeNs\":\"$(stat -c %.9Y d/f |
		    sed 's/\.//; s/^\(-\{0,1\}\)0*\(.\)/\1\2/')\"}" ]]
	done
}

@test "pc-file list: 20,000 names, and one that goes away meanwhile" {
	mkdir d
	seq 20000 | (cd d && xargs touch)
	pc-file list d | cmp - <(seq 20000 | sort)
	[ "$(pc-file list --json d | jq -s length)" -eq 20000 ]
	strace -qq -o trace -P 5 -e 'trace=?newfstatat,?fstatat64' \
	    -e 'inject=?newfstatat,?fstatat64:error=ENOENT' \
	    pc-file list --json d >out
	grep -q INJECTED trace
	[ "$(jq -r .name out | paste -sd ' ')" = "$(seq 20000 | sort | grep -vx 5 | paste -sd ' ')" ]
	run -111 strace -qq -o trace -e trace=getdents64 \
	    -e inject=getdents64:error=EIO:when=2 pc-file list d
	[ "$output" = "pc-file: d: Input/output error" ]
}

@test "pc-file mkdir: folders, their modes, -p" {
	pc-file mkdir a
	[ "$(stat -c %a a)" = 755 ]
	pc-file mkdir --mode 1777 b/
	[ "$(stat -c %a b)" = 1777 ]
	umask 777
	pc-file mkdir --mode 700 c
	pc-file mkdir z
	[ "$(stat -c %a c z)" = $'700\n0' ]
	umask 027
	one_line 1 pc-file mkdir d/e/f
	[ "$stderr" = "pc-file: d/e/f: No such file or directory" ]
	one_line 1 pc-file mkdir a
	[ "$stderr" = "pc-file: a: File exists" ]
	pc-file mkdir -p --mode 711 d/e/f
	[ "$(stat -c %a d d/e d/e/f)" = $'750\n750\n711' ]
	pc-file mkdir --parents --mode 700 d/e/f
	[ "$(stat -c %a d/e/f)" = 711 ]
	: >file
	ln -s a l
	ln -s nowhere broken
	pc-file mkdir -p l
	pc-file mkdir -p l/x/
	pc-file mkdir -p . && pc-file mkdir -p / && pc-file mkdir -p a/..
	[ -d a/x ]
	one_line 1 pc-file mkdir -p file
	one_line 1 pc-file mkdir -p broken
	one_line 1 pc-file mkdir l
	one_line 100 pc-file mkdir -p file/x
	one_line 100 pc-file mkdir .
	one_line 100 pc-file mkdir ''
	chmod 555 a
	cd a
	one_line 100 as_nobody pc-file mkdir new
	chmod u+w .
}

@test "pc-file rename: files, folders, links; over what is there, or not" {
	echo a >a
	echo b >b
	ln -s a l
	mkdir d e
	pc-file rename a c
	[ "$(<c)" = a ]
	one_line 1 pc-file rename -n b c
	[ "$stderr" = "pc-file: c: File exists" ]
	[ "$(<b)$(<c)" = ba ]
	pc-file rename b c
	[ "$(<c)" = b ]
	ln -s c to
	pc-file rename l to
	[ "$(readlink to)" = a ]
	pc-file rename -n d f
	pc-file rename f/ d/
	pc-file rename d e
	: >e/x
	mkdir d
	one_line 1 pc-file rename d e
	one_line 1 pc-file rename --no-replace d e
	one_line 100 pc-file rename c d
	one_line 100 pc-file rename c e/
	one_line 100 pc-file rename c new/
	one_line 100 pc-file rename c/ new
	one_line 100 pc-file rename d c
	one_line 100 pc-file rename e e/y
	one_line 1 pc-file rename nowhere x
	[ "$stderr" = "pc-file: nowhere: No such file or directory" ]
	one_line 1 pc-file rename c nowhere/x
	one_line 100 pc-file rename . x
	one_line 100 pc-file rename c ..
	[ "$(listing)" = $'c\nd\ne\nto' ]
}

@test "pc-file rename: between file systems is refused" {
	[ -w /dev/shm ] || skip "no second file system"
	[ "$(stat -c %d /dev/shm)" != "$(stat -c %d .)" ] || skip "the same file system"
	echo data >f
	one_line 100 pc-file rename f "/dev/shm/pc-file.$$"
	[ -e f ]
	[ ! -e "/dev/shm/pc-file.$$" ]
}

@test "pc-file rename: -n without renameat2 is sure, too" {
	for error in ENOSYS EINVAL; do
		old_kernel=(strace -qq -o /dev/null -e trace=renameat2
		    -e "inject=renameat2:error=$error" pc-file)
		echo a >a
		ln -s nowhere l
		mkdir d
		echo x >d/x
		"${old_kernel[@]}" rename -n a b
		"${old_kernel[@]}" rename -n l m
		"${old_kernel[@]}" rename -n d e
		[ "$(listing)" = $'b\ne\nm' ]
		[ "$(stat -c '%h %F' b m)" = $'1 regular file\n1 symbolic link' ]
		mkdir d
		: >a
		ln -s nowhere l
		for new in b e m; do
			for old in a d l; do
				one_line 1 "${old_kernel[@]}" rename -n "$old" "$new"
				[ "$stderr" = "pc-file: $new: File exists" ]
			done
		done
		one_line 100 "${old_kernel[@]}" rename -n e e/y
		one_line 1 "${old_kernel[@]}" rename -n nowhere y
		[ "$(listing)" = $'a\nb\nd\ne\nl\nm' ]
		[ "$(ls e)" = x ]
		rm -r ./*
	done
}

@test "pc-file remove: files, links, empty folders; -r, -f" {
	mkdir -p d/e empty
	: >f
	: >d/e/g
	ln -s d l
	mkfifo p
	chmod 0 f
	one_line 1 pc-file remove d
	[ "$stderr" = "pc-file: d: Directory not empty" ]
	one_line 100 pc-file remove l/
	[ -L l ]
	one_line 100 pc-file remove f/
	pc-file remove f l p empty/
	[ "$(listing)" = d ]
	[ -e d/e/g ]
	one_line 1 pc-file remove f
	[ "$stderr" = "pc-file: f: No such file or directory" ]
	one_line 1 pc-file remove -r nowhere/f
	run -0 pc-file remove -f f nowhere/f
	[ -z "$output" ]
	run -0 pc-file remove --force --recursive f d
	[ -z "$(listing)" ]
	for f in . .. / '' /. x/.. ./ ..//; do
		one_line 100 pc-file remove -rf "$f"
	done
	: >f
	one_line 100 pc-file remove -f f/x
	run --separate-stderr -100 pc-file remove nowhere f/x nowhere f
	[ "${#stderr_lines[@]}" -eq 3 ]
	[ ! -e f ]
}

@test "pc-file remove: -r never follows a link, nor stops at closed folders" {
	mkdir -p outside/d tree/a/b/c
	echo data >outside/f
	ln -s ../outside tree/l
	ln -s ../../../outside/d tree/a/b/l
	ln -s . tree/a/self
	ln -s tree link
	: >tree/a/b/c/f
	chmod 0 tree/a/b/c tree/a/b tree/a
	[ "$(id -u)" -ne 0 ] || chown -R 65534 tree
	chmod 777 .
	before=$(find outside -printf '%p %m %T@\n')
	as_nobody pc-file remove -r tree
	[ "$(listing)" = $'link\noutside' ]
	[ "$(find outside -printf '%p %m %T@\n')" = "$before" ]
	mkdir tree
	: >tree/f
	pc-file remove -r link
	[ -e tree/f ]
	one_line 1 pc-file remove -r link
}

@test "pc-file remove: what may not be removed is said, the others go" {
	[ "$(id -u)" -eq 0 ] || skip "needs root for another user's file"
	mkdir d other
	: >d/f
	: >g
	: >other/f
	chmod 1777 other
	chmod 777 .
	run --separate-stderr -100 as_nobody pc-file remove -r d g other/f
	[ "${#stderr_lines[@]}" -eq 2 ]
	[ "$(listing)" = $'d\nother' ]
	[ -e other/f ]
	[ -e d/f ]
}

@test "pc-file remove: a mount point stays, with what is in it" {
	mkdir -p d/m
	mount_tmpfs d/m
	: >d/m/f
	one_line 111 pc-file remove -r d
	[ "$stderr" = "pc-file: d: Device or resource busy" ]
	[ -e d/m/f ]
	umount d/m
	mounts=()
	pc-file remove -r d
}

@test "pc-file: bad usage is exit 100, one line, and nothing happens" {
	mkdir d
	echo old >f
	while IFS='|' read -r -a args; do
		one_line 100 pc-file "${args[@]}" </dev/null
		known=$'d\nf'
		content f $'old\n'
	done <<-'END'
	x
	put
	put|f|g
	get
	get|f|f
	list
	list|d|d
	mkdir
	mkdir|x|y
	rename|f
	rename|f|g|h
	remove
	sha256
	sha256|f|f
	put|--mode||f
	put|--mode|8|f
	put|--mode|10000|f
	put|--mode|77777777777777777777|f
	put|--mode|-1|f
	put|--mode|644x|f
	put|--mode|0x1ff|f
	put|--sha256|x|f
	put|-r|f
	put|--json|f
	put|--offset|1|f
	get|--offset|x|f
	get|--offset|-1|f
	get|--length|1x|f
	get|--length|99999999999999999999|f
	get|--sha256|x|f
	get|-p|f
	list|-r|d
	mkdir|-r|x
	rename|-r|f|g
	remove|-n|f
	remove|--parents|f
	sha256|--base64|f
	--json|list|d
	-r|remove|f
	put|--nonsense|f
	nonsense|--nonsense
	END
	one_line 100 pc-file
	run -100 pc-file get --json f
	[ "$output" = "pc-file: --json: not an option of get" ]
	for command in '' put get list mkdir rename remove sha256; do
		run --separate-stderr -0 pc-file $command --help
		[[ $output == "usage: pc-file put "* ]]
		run -0 pc-file $command -V
		[[ $output == "pc-file "* ]]
	done
	run -111 bash -c 'pc-file remove --help >&-'
}
