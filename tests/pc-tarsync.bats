#!/usr/bin/env bats
# pc-tarsync: pack, unpack, snapshot, diff, mirror.

load helper

tree() {
	python3 "$BATS_TEST_DIRNAME/tree.py" "$@"
}

same() {
	run -0 tree compare "$@"
}

# As nobody, in a folder that is theirs.
as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

small_tree() {
	mkdir -p W/a W/b/c W/empty
	printf 'one\n' >W/a/one
	printf 'two\n' >W/b/two
	printf 'three\n' >W/b/c/three
	ln -s a/one W/link
	chmod 600 W/a/one
}

# --- round trips --------------------------------------------------------------

@test "pc-tarsync: pack | unpack is identity on 10,000 entries of any name, mode and time" {
	tree make A 7 10000
	pc-tarsync pack -C A --manifest m |
	    pc-tarsync unpack -C B --max-depth 512
	same A B
	cmp m B/.paperclip-runtime/manifest
	pc-tarsync snapshot -C B | cmp - m
}

@test "pc-tarsync: the same as another user, and whatever the umask" {
	[ "$(id -u)" = 0 ] || skip "needs root to become another"
	# A folder that others can reach, whatever bats has made of its own.
	there=$(mktemp -d /tmp/pc-tarsync.XXXXXX)
	chmod 755 "$there"
	cp "$(command -v pc-tarsync)" "$BATS_TEST_DIRNAME/tree.py" "$there"
	mkdir "$there/home" && chown 65534:65534 "$there/home"
	run as_nobody env -C "$there/home" PATH=/usr/bin:/bin sh -euc '
		python3 ../tree.py make A 3 300 readable
		for mask in 077 000; do
			umask $mask
			../pc-tarsync pack -C A |
			    ../pc-tarsync unpack -C B$mask --max-depth 512
			python3 ../tree.py compare A B$mask
			# A second time, over folders that may not be written.
			../pc-tarsync pack -C A |
			    ../pc-tarsync unpack --clean -C B$mask --max-depth 512
			python3 ../tree.py compare A B$mask
			../pc-tarsync pack -C A |
			    ../pc-tarsync unpack -C B$mask --max-depth 512
			python3 ../tree.py compare A B$mask
			../pc-tarsync mirror A M$mask
			../pc-tarsync mirror A M$mask
			python3 ../tree.py compare A M$mask
		done
		echo done'
	rm -rf "$there"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$output" = "done" ]
}

@test "pc-tarsync: gzip, base64 and both are recognised by themselves" {
	small_tree
	for way in -z --base64 '-z --base64'; do
		# shellcheck disable=SC2086
		pc-tarsync pack -C W $way -o archive
		pc-tarsync unpack -C R --clean <archive
		same W R
	done
	run -0 file_is_text archive
	gzip -dc < <(base64 -d archive) | tar -tf - | grep -qx a/one
}

file_is_text() {
	! LC_ALL=C grep -q '[^A-Za-z0-9+/=]' "$1"
}

@test "pc-tarsync: an empty tree is a valid archive" {
	mkdir A
	pc-tarsync pack -C A >a.tar
	[ "$(wc -c <a.tar)" -eq 1024 ]
	pc-tarsync unpack -C B <a.tar
	[ "$(ls -A B)" = .paperclip-runtime ]
}

@test "pc-tarsync: a sparse file of 10 GiB stays sparse, in bounded memory and time" {
	mkdir A
	truncate -s 10G A/holes
	printf x | dd of=A/holes bs=1 seek=5G conv=notrunc status=none
	printf y >>A/holes
	pc-tarsync pack -C A >a.tar
	[ "$(wc -c <a.tar)" -lt 100000 ]
	pc-tarsync unpack -C B --no-manifest <a.tar
	[ "$(stat -c %s B/holes)" = $((10 * 1024 * 1024 * 1024 + 1)) ]
	[ "$(stat -c %b B/holes)" -lt 1000 ]
	[ "$(tail -c 1 B/holes)" = y ]
	[ "$(dd if=B/holes bs=1 skip=5G count=1 status=none)" = x ]
	mkdir T && tar -C T -xf a.tar
	[ "$(stat -c %s T/holes)" = "$(stat -c %s B/holes)" ]
	[ "$(dd if=T/holes bs=1 skip=5G count=1 status=none)" = x ]
}

@test "pc-tarsync: reads what GNU tar, bsdtar, Python and busybox write, in every format" {
	tree make A 11 120 plain
	for f in v7 oldgnu gnu ustar posix; do
		tar -C A --format=$f -cf x.tar . 2>/dev/null
		pc-tarsync unpack -C R --clean <x.tar
		run -0 tree compare A R seconds
	done
	for f in v7 ustar pax gnutar; do
		LC_ALL=C.UTF-8 bsdtar -C A --format=$f -cf x.tar .
		pc-tarsync unpack -C R --clean <x.tar
		run -0 tree compare A R seconds
	done
	for f in USTAR GNU PAX; do
		python3 -c "import sys, tarfile
t = tarfile.open('x.tar', 'w', format=tarfile.${f}_FORMAT)
t.add('A', '.')
t.close()"
		pc-tarsync unpack -C R --clean <x.tar
		run -0 tree compare A R seconds
	done
	busybox tar -C A -cf x.tar .
	pc-tarsync unpack -C R --clean <x.tar
	run -0 tree compare A R seconds
}

@test "pc-tarsync: keeps nanoseconds that pax archives of others have" {
	tree make A 12 60 plain
	tar -C A --format=posix -cf x.tar . 2>/dev/null
	pc-tarsync unpack -C R <x.tar
	same A R
}

@test "pc-tarsync: GNU tar, bsdtar, Python and busybox read what it writes" {
	tree make A 13 200 plain
	pc-tarsync pack -C A >a.tar
	mkdir G B P Y
	tar -C G -xpf a.tar 2>/dev/null
	same A G
	LC_ALL=C.UTF-8 bsdtar -C B -xpf a.tar
	same A B
	python3 -c "import tarfile
t = tarfile.open('a.tar')
t.extractall('P', filter='fully_trusted') if hasattr(tarfile, 'data_filter') \
    else t.extractall('P')"
	run -0 tree compare A P seconds
	busybox tar -C Y -xpf a.tar
	run -0 tree compare A Y seconds
}

@test "pc-tarsync: GNU tar reads names of any bytes that it writes" {
	tree make A 14 300
	pc-tarsync pack -C A -x '*/dddddddddddddddddddddddddd*' >a.tar
	mkdir G
	tar -C G -xpf a.tar 2>/dev/null
	rm -rf A/ddddddddddddddd*
	same A G
}

@test "pc-tarsync: sparse files of others, in every form" {
	mkdir A
	truncate -s 3M A/s
	printf data | dd of=A/s bs=1 seek=1M conv=notrunc status=none
	printf end >>A/s
	for form in gnu oldgnu; do
		tar -C A -S --format=$form -cf x.tar s
		pc-tarsync unpack -C R --clean <x.tar
		cmp A/s R/s
	done
	for form in 0.0 0.1 1.0; do
		tar -C A -S --format=posix --sparse-version=$form -cf x.tar s
		pc-tarsync unpack -C R --clean <x.tar
		cmp A/s R/s
		[ "$(stat -c %b R/s)" -lt 2000 ]
	done
	# More runs than one header has.
	truncate -s 0 A/s
	for i in $(seq 0 60); do
		printf 'run%03d' "$i" |
		    dd of=A/s bs=1 seek=$((i * 20000)) conv=notrunc status=none
	done
	for form in gnu posix; do
		tar -C A -S --format=$form -cf x.tar s
		pc-tarsync unpack -C R --clean <x.tar
		cmp A/s R/s
	done
}

@test "pc-tarsync: hard links of an archive become files of their own" {
	mkdir A
	printf 'shared\n' >A/one
	ln A/one A/two
	tar -C A -cf x.tar one two
	pc-tarsync unpack -C R <x.tar
	cmp A/one R/two
	[ "$(stat -c %h R/two)" = 1 ]
}

# --- what is dropped (hostile archives: pc-tarsync-archives.bats) -------------

@test "pc-tarsync: setuid, setgid and sticky are dropped" {
	mkdir A && printf x >A/s && chmod 6755 A/s && mkdir A/d && chmod 1777 A/d
	tar -C A -cf x.tar s d
	pc-tarsync unpack -C R <x.tar
	[ "$(stat -c %a R/s)" = 755 ]
	[ "$(stat -c %a R/d)" = 777 ]
}

# --- the tree -----------------------------------------------------------------

@test "pc-tarsync: exclude patterns" {
	mkdir -p W/x/y W/x/node_modules/m W/node_modules W/logs/deep
	for f in x/a.o x/y/b.o x/node_modules/m/f node_modules/f logs/l \
	    logs/deep/l keep c.o 'x/[1]'; do printf . >"W/$f"; done
	packed() {
		pc-tarsync pack -C W "$@" | tar -tf - | sed 's,/$,,' | sort |
		    tr '\n' ' '
	}
	all='c.o keep logs logs/deep logs/deep/l logs/l node_modules'
	all="$all node_modules/f x x/[1] x/a.o x/node_modules x/node_modules/m"
	all="$all x/node_modules/m/f x/y x/y/b.o "
	[ "$(packed)" = "$all" ]
	[ "$(packed -x node_modules | wc -w)" = $(($(wc -w <<<"$all") - 2)) ]
	[ "$(packed -x '*/node_modules')" = "c.o keep logs logs/deep logs/deep/l logs/l x x/[1] x/a.o x/y x/y/b.o " ]
	[ "$(packed -x '*/node_modules/*')" = "$(packed -x '*/node_modules')" ]
	[ "$(packed -x 'logs/*' -x x -x node_modules)" = "c.o keep logs " ]
	[ "$(packed -x '*/*.o' -x logs -x '*/node_modules')" = "keep x x/[1] x/y " ]
	[ "$(packed -x '*.o' -x logs -x node_modules -x x)" = "keep " ]
	[ "$(packed -x 'x/[[]1]' -x logs -x node_modules -x x/node_modules)" = "c.o keep x x/a.o x/y x/y/b.o " ]
	[ "$(packed -x 'x/?' -x logs -x node_modules -x x/node_modules)" = "c.o keep x x/[1] x/a.o " ]
	[ "$(packed -p x -p logs -p node_modules)" = "c.o keep " ]
	for bad in '' /abs ../up a/../b; do
		run -100 pc-tarsync pack -C W -x "$bad"
	done
	run -100 pc-tarsync pack -C W -p a/b
}

@test "pc-tarsync: the runtime folder is never in the tree, nor git's locks" {
	mkdir -p W/.paperclip-runtime W/.git/refs W/sub/.paperclip-runtime
	printf x >W/.paperclip-runtime/f
	printf x >W/.git/index.lock
	printf x >W/other.lock
	[ "$(pc-tarsync pack -C W | tar -tf - | tr '\n' ' ')" = ".git/ .git/refs/ other.lock sub/ sub/.paperclip-runtime/ " ]
	tar -C W -cf x.tar .git
	run -0 --separate-stderr pc-tarsync unpack -C R <x.tar
	[[ "$stderr" == *"index.lock: a lock of git, left out"* ]]
	[ ! -e R/.git/index.lock ]
}

@test "pc-tarsync: AppleDouble files are left out when asked" {
	mkdir -p W/a && printf x >W/._x && printf x >W/a/._y && printf x >W/a/y
	[ "$(pc-tarsync pack -C W --no-apple-double | tar -tf - | tr '\n' ' ')" = "a/ a/y " ]
}

@test "pc-tarsync: sockets, FIFOs and devices are left out and said" {
	mkdir W && mkfifo W/fifo && printf x >W/f
	run -0 --separate-stderr bash -c 'pc-tarsync pack -C W | tar -tf -'
	[ "$output" = f ]
	[[ "$stderr" == *"pc-tarsync: fifo: not a file, folder or link, left out"* ]]
}

@test "pc-tarsync: what cannot be read is an error that names it" {
	run -100 pc-tarsync pack -C missing
	[[ "$output" == *missing* ]]
	run -100 pc-tarsync snapshot -C missing
}

@test "pc-tarsync: -L packs what links lead to, and refuses loops" {
	mkdir -p W/d out && printf x >out/f && ln -s ../out W/o && ln -s o/f W/g
	pc-tarsync pack -L -C W | pc-tarsync unpack -C R
	[ "$(cat R/o/f)" = x ] && [ ! -L R/o ] && [ ! -L R/g ]
	ln -s ../d W/d/loop
	run -100 pc-tarsync pack -L -C W
	[[ "$output" == *"d/loop"* ]]
	rm W/d/loop && ln -s gone W/dangling
	run pc-tarsync pack -L -C W
	[ "$status" -ne 0 ]
	[[ "$output" == *dangling* ]]
}

# --- unpacking ----------------------------------------------------------------

@test "pc-tarsync: without --clean others stay, with it they go, but the preserved" {
	small_tree
	mkdir -p R/b R/keep && printf old >R/b/other && printf old >R/keep/f
	printf old >R/a
	pc-tarsync pack -C W >a.tar
	pc-tarsync unpack -C R <a.tar
	[ "$(cat R/b/other)" = old ] && [ "$(cat R/a/one)" = one ]
	pc-tarsync unpack -C R --clean -p keep <a.tar
	[ ! -e R/b/other ] && [ "$(cat R/keep/f)" = old ]
	rm -r R/keep
	same W R
}

@test "pc-tarsync: --clean leaves what is excluded, and its folders" {
	small_tree
	mkdir -p R/b/node_modules/m R/gone/node_modules R/gone2 W/empty2
	printf x >R/b/node_modules/m/f
	printf x >R/gone/node_modules/f
	printf x >R/gone/f
	pc-tarsync pack -C W | pc-tarsync unpack -C R --clean -x '*/node_modules'
	[ -e R/b/node_modules/m/f ] && [ -e R/gone/node_modules/f ]
	[ ! -e R/gone/f ] && [ ! -e R/gone2 ] && [ -d R/empty ] && [ -d R/empty2 ]
	# A file cannot take the place of a folder that holds such.
	rm -r W/b && printf file >W/b
	pc-tarsync pack -C W >a.tar
	run -100 pc-tarsync unpack -C R --clean -x '*/node_modules' <a.tar
	[[ "$output" == *"b: cannot be replaced"* ]]
	[ "$(cat R/b/two)" = two ]
}

@test "pc-tarsync: a file over a folder, a folder over a file, a link over both" {
	mkdir -p W/d A && printf f >W/f && ln -s x W/l
	mkdir -p R/f/deep R/l && printf x >R/f/deep/x && printf x >R/d
	pc-tarsync pack -C W | pc-tarsync unpack -C R
	same W R
}

@test "pc-tarsync: a folder that was locked gets its new mode, whatever it is" {
	for old in 500 300 400 0; do
		for new in 555 500 400 755; do
			mkdir -p W/d R/d
			printf 1 >W/d/f && printf 2 >R/d/g
			chmod "$new" W/d && chmod "$old" R/d
			pc-tarsync pack -C W | pc-tarsync unpack -C R
			[ "$(stat -c %a R/d)" = "$new" ]
			pc-tarsync diff R/.paperclip-runtime/manifest W
			chmod 700 W/d R/d && rm -r W R
		done
	done
}

@test "pc-tarsync: a time that nanoseconds cannot count is refused" {
	mkdir W R && printf x >W/f && printf y >R/g && touch -d @10413792000 W/f R/g
	[ "$(stat -c %Y W/f)" = 10413792000 ] || skip "the file system has none"
	for c in pack snapshot; do
		run -100 --separate-stderr pc-tarsync $c -C W -o out
		[ "$stderr" = \
		    'pc-tarsync: f: its time is not between 1678 and 2262' ]
		[ ! -e out ]
	done
	# The last second that can be said, both ways (or as the file system can).
	for at in 9223372035 -9223372035; do
		touch -d "@$at" W/f
		pc-tarsync pack -C W | pc-tarsync unpack -C S
		[ "$(stat -c %Y S/f)" = "$(stat -c %Y W/f)" ]
	done
	# In the way of nobody; but there can be no manifest of it.
	pc-tarsync pack -C W | pc-tarsync unpack -C R
	run -0 --separate-stderr pc-tarsync unpack -C R \
	    < <(cd W && printf z >a && tar -cf - f a)
	[ "$stderr" = \
	    'pc-tarsync: g: cannot be in a manifest; none is stored' ]
	[ "$(cat R/a R/f R/g)" = zxy ]
	[ ! -e R/.paperclip-runtime/manifest ]
	[ ! -e R/.paperclip-runtime/staging ]
	pc-tarsync mirror R M
	[ "$(stat -c %Y M/g)" = 10413792000 ]
}

@test "pc-tarsync: the root keeps its mode and its time" {
	small_tree
	mkdir R && chmod 711 R
	chmod 700 W && touch -d @1000 W
	tar -C W --format=posix -cf root.tar .
	tar -tf root.tar | grep -qx ./
	pc-tarsync unpack -C R <root.tar
	[ "$(stat -c %a R)" = 711 ]
	[ "$(stat -c %Y R)" -gt 1000 ]
	# Nothing comes to the root itself, nor goes: it is not touched.
	touch -d @2000 R
	printf 'more\n' >W/a/more && rm W/b/two
	pc-tarsync pack -C W --since R/.paperclip-runtime/manifest |
	    pc-tarsync unpack -C R
	same W R
	pc-tarsync mirror W R
	[ "$(stat -c '%a %.Y' R)" = '711 2000.000000000' ]
}

@test "pc-tarsync: a mount point is unpacked into, nothing is left of the staging" {
	small_tree
	mkdir R
	mount_tmpfs R
	pc-tarsync pack -C W | pc-tarsync unpack -C R
	tree compare W R
	ls -A R/.paperclip-runtime >left
	[ "$(tr '\n' ' ' <left)" = "manifest manifest.cache staging.lock " ]
}

@test "pc-tarsync: a full disk changes nothing, is 111, and is given back" {
	mkdir W R
	head -c 3000000 /dev/urandom >W/big
	mount_tmpfs -o size=2m R
	printf old >R/old
	run -111 pc-tarsync unpack -C R --clean < <(pc-tarsync pack -C W)
	[[ $output == *"No space left"* ]]
	[ "$(<R/old)" = old ]
	[ "$(df --output=used R | tail -n 1)" -lt 100 ]
}

@test "pc-tarsync: output to a full or closed place is an error" {
	small_tree
	run -111 bash -c 'pc-tarsync pack -C W >/dev/full'
	run -111 bash -c 'pc-tarsync pack -C W >&-'
	run -111 bash -c 'pc-tarsync snapshot -C W >/dev/full'
	run -100 bash -c 'pc-tarsync pack -C W -o W/a/one/x'
}

@test "pc-tarsync: an output is whole or as it was, and a device stays one" {
	small_tree
	printf old >out && chmod 600 out
	pc-tarsync pack -C W -o /dev/null --manifest m
	[ -c /dev/null ]
	# Killed while it writes: what was there is there, and nothing else.
	strace -o log -e inject=write:signal=KILL:when=1 \
	    pc-tarsync pack -C W -o out || :
	[ "$(cat out)" = old ]
	[ "$(ls -A | tr '\n' ' ')" = "W log m m.cache out " ]
	run -100 pc-tarsync pack -C W -o W
	run -111 pc-tarsync pack -C W -o missing/out
	pc-tarsync pack -C W -o out
	tar -tf out >/dev/null
}

@test "pc-tarsync: on a terminal progress is one line, with rate and time" {
	mkdir W && head -c 3000000 /dev/zero >W/f
	script -qec 'pc-tarsync pack -C W -o a.tar' said >/dev/null
	[[ "$(tr '\r' '\n' <said)" == *"[paperclip] Packing from W: 100% (3.0/3.0 MB) "*" MB/s"* ]]
}

@test "pc-tarsync: usage" {
	run -100 pc-tarsync
	run -100 pc-tarsync frob
	run -100 pc-tarsync pack --frob
	run -100 pc-tarsync pack --clean
	run -100 pc-tarsync pack operand
	run -100 pc-tarsync diff one
	run -100 pc-tarsync diff . .
	run -100 pc-tarsync merge -C .
	run -100 pc-tarsync unpack --links=some -C .
	run -0 pc-tarsync --help
	run -0 pc-tarsync unpack --help
	run -0 pc-tarsync --version
}

# --- manifests and deltas -----------------------------------------------------

@test "pc-tarsync: a manifest's lines, exactly" {
	mkdir -p W/d && printf 'hi\n' >W/d/f && ln -s d/f W/l
	chmod 755 W/d && chmod 644 W/d/f && touch -d '2023-11-14 22:13:20.5 UTC' W/d/f
	printf x >"W/$(printf 'b\377')" && touch -d @1 W/b* && chmod 600 W/b*
	pc-tarsync snapshot -C W -x '*/tmp' -p keep >m
	cat >want <<-'EOM'
	{"manifest":1,"exclude":["*/tmp"],"preserve":["keep"]}
	{"pathBase64":"Yv8=","type":"file","mode":384,"size":1,"mtimeNs":"1000000000","sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
	{"path":"d","type":"dir","mode":493}
	{"path":"d/f","type":"file","mode":420,"size":3,"mtimeNs":"1700000000500000000","sha256":"98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4"}
	{"path":"l","type":"link","target":"d/f"}
	EOM
	diff want m
}

@test "pc-tarsync: manifests that are none are refused" {
	small_tree
	head='{"manifest":1,"exclude":[]}'
	dir='{"path":"a","type":"dir","mode":493}'
	file='"type":"file","mode":420,"size":0,"mtimeNs":"0","sha256":"'$(printf 0%.0s {1..64})'"}'
	refused() {
		printf '%s\n' "$@" >m
		run -100 --separate-stderr pc-tarsync diff m W
		[[ "$stderr" == "pc-tarsync: m: "* ]]
	}
	refused ''
	refused '{}'
	refused '{"manifest":2,"exclude":[]}'
	refused '{"manifest":1,"exclude":["/x"]}'
	refused "$head" 'text'
	refused "$head" '{"path":"a","type":"dir","mode":493,"more":1}'
	refused "$head" '{"path":"a","type":"dir","mode":512}'
	refused "$head" '{"path":"../a","type":"dir","mode":493}'
	refused "$head" '{"path":"/a","type":"dir","mode":493}'
	refused "$head" '{"path":"a/b","type":"dir","mode":493}'
	refused "$head" "$dir" "$dir"
	refused "$head" '{"path":"b","type":"dir","mode":493}' "$dir"
	refused "$head" "{\"path\":\"b\",$file" "{\"path\":\"b/c\",$file"
	refused "$head" '{"path":".paperclip-runtime","type":"dir","mode":493}'
	refused "$head" '{"pathBase64":"YQ==","type":"dir","mode":493}'
	refused "$head" '{"pathBase64":"","type":"dir","mode":493}'
	refused "$head" '{"path":"l","type":"link","target":""}'
	refused "$head" '{"path":"l","type":"link","target":"a\u0000b"}'
	refused "$head" "{\"path\":\"b\",${file/420/420,\"target\":\"x\"}"
	refused "$head" "{\"path\":\"b\",${file/\"0\"/\"00\"}"
	printf '%s\n%s' "$head" "$dir" >m
	run -100 pc-tarsync diff m W
	run -100 pc-tarsync diff missing W
}

@test "pc-tarsync: diff names each change, and its kind" {
	small_tree
	mkdir W/t && printf x >W/gone
	pc-tarsync snapshot -C W >m
	run -0 pc-tarsync diff m W
	[ -z "$output" ]
	printf 'ONE\n' >W/a/one
	chmod 700 W/b
	ln -sfn b W/link
	rm W/gone
	rmdir W/t && printf x >W/t
	printf new >W/new
	touch W/b/two
	cat >want <<-'EOM'
	{"path":"a/one","change":"content"}
	{"path":"b","change":"mode"}
	{"path":"gone","change":"deleted"}
	{"path":"link","change":"target"}
	{"path":"new","change":"added"}
	{"path":"t","change":"type"}
	EOM
	run -1 pc-tarsync diff m W
	diff want - <<<"$output"
	pc-tarsync snapshot -C W >n
	run -1 pc-tarsync diff m n
	diff want - <<<"$output"
}

@test "pc-tarsync: a delta has what changed, and makes the other side equal" {
	small_tree
	for i in $(seq 50); do printf '%s\n' "$i" >W/b/c/f"$i"; done
	pc-tarsync pack -C W --manifest m1 | pc-tarsync unpack -C R --clean
	printf 'ONE\n' >W/a/one
	rm W/b/two W/b/c/f7 && chmod 751 W/b/c && rm -r W/empty
	mkdir W/new && printf n >W/new/n
	rm W/link && mkdir W/link && printf x >W/link/x
	touch W/b/c/f1
	pc-tarsync pack -C W --since m1 --manifest m2 >d.tar
	[ "$(tar -tf d.tar | tr '\n' ' ')" = ".paperclip-runtime/pc-sync a/ a/one b/ b/c/ link/ link/x new/ new/n .paperclip-runtime/pc-deleted " ]
	pc-tarsync unpack -C R <d.tar
	run -0 pc-tarsync diff m2 R
	cmp m2 R/.paperclip-runtime/manifest
	touch -r W/b/c/f1 R/b/c/f1
	same W R
	# Sent again, since nobody heard that it came: nothing to do.
	run -0 pc-tarsync unpack -C R <d.tar
	run -0 pc-tarsync diff m2 R
	# It holds for one starting point only.
	printf 'two again\n' >W/b/two
	pc-tarsync pack -C W --since m2 --manifest m3 | pc-tarsync unpack -C R
	run -100 pc-tarsync unpack -C R <d.tar
	[[ "$output" == *"another tree"* ]]
	run -0 pc-tarsync diff m3 R
}

@test "pc-tarsync: a delta is refused where the tree is not what it was" {
	small_tree
	pc-tarsync pack -C W --manifest m1 | pc-tarsync unpack -C R
	printf new >W/new
	pc-tarsync pack -C W --since m1 >d.tar
	printf changed >R/b/two
	run -100 pc-tarsync unpack -C R <d.tar
	[[ "$output" == *"b/two: changed since"* ]]
	[ ! -e R/new ]
	# From a snapshot of how it is, it goes.
	pc-tarsync snapshot -C R >mr
	pc-tarsync pack -C W --since mr --manifest m2 | pc-tarsync unpack -C R
	same W R
	run -100 pc-tarsync pack -C W --since m1 -x other
	rm -r R/.paperclip-runtime
	run -100 pc-tarsync unpack -C R <d.tar
}

@test "pc-tarsync: a changed repository is sent with all but its objects" {
	mkdir -p W/.git/objects/aa W/.git/refs
	printf o >W/.git/objects/aa/bb && printf r >W/.git/refs/r && printf h >W/.git/HEAD
	pc-tarsync snapshot -C W >m
	[ "$(pc-tarsync pack -C W --since m | tar -tf - | tr '\n' ' ')" = ".paperclip-runtime/pc-sync " ]
	printf R >W/.git/refs/r
	[ "$(pc-tarsync pack -C W --since m | tar -tf - | tr '\n' ' ')" = ".paperclip-runtime/pc-sync .git/ .git/HEAD .git/objects/ .git/refs/ .git/refs/r " ]
}

@test "pc-tarsync: a cache spares the reading, and is believed only when it proves" {
	small_tree
	# Older than the clock's step, so that the cache can vouch for it.
	wait_until_older W/b/c/three
	pc-tarsync snapshot -C W --cache c >m1
	strace -f -e trace=openat -o log pc-tarsync snapshot -C W --cache c >m2
	cmp m1 m2
	run ! grep -q '"three"' log
	grep -q '"one"\|"b"' log
	# Same size, same time: what changed is found by its change time.
	cp -p W/b/two ref && printf 'TWO\n' >W/b/two && touch -r ref W/b/two
	pc-tarsync snapshot -C W --cache c >m3
	run -1 pc-tarsync diff m1 m3
	[ "$output" = '{"path":"b/two","change":"content"}' ]
	# A damaged one is none.
	printf garbage >c
	pc-tarsync snapshot -C W --cache c | cmp - m3
	pc-tarsync snapshot -C W --cache c >/dev/null
	printf '\1' | dd of=c bs=1 seek=60 conv=notrunc status=none
	pc-tarsync snapshot -C W --cache c | cmp - m3
}

wait_until_older() {
	touch marker
	wait_until sh -c 'touch now; [ "$(stat -c %.Z now)" != "$(stat -c %.Z marker)" ]'
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		cp -p marker again
		wait_until sh -c 'touch now; [ "$(stat -c %.Z now)" != "$(stat -c %.Z again)" ]'
	done
	[ -e "$1" ]
}

@test "pc-tarsync: a change within the clock's step is read again" {
	mkdir W
	for i in $(seq 30); do
		printf 'a%02d\n' "$i" >W/f
		pc-tarsync snapshot -C W --cache c >/dev/null
		printf 'b%02d\n' "$i" >W/f
		pc-tarsync snapshot -C W --cache c |
		    grep -q "$(printf 'b%02d\n' "$i" | sha256sum | cut -c1-64)"
	done
}

@test "pc-tarsync: a transfer that was cut goes on with what is missing" {
	mkdir W
	for i in 1 2 3 4 5 6; do head -c 200000 /dev/urandom >W/f$i; done
	pc-tarsync pack -C W --manifest m >whole.tar
	head -c 700000 whole.tar >cut.tar
	mkdir R && printf old >R/old
	run -111 pc-tarsync unpack -C R --clean <cut.tar
	[[ "$output" == *"f4: the archive ends early"* ]]
	[ "$(ls R)" = old ]
	pc-tarsync snapshot --partial -C R >p
	[ "$(wc -l <p)" = 4 ]
	pc-tarsync pack -C W --since p >rest.tar
	[ "$(wc -c <rest.tar)" -lt 620000 ]
	# Without the same options it is not the same transfer.
	run -100 pc-tarsync unpack -C R <rest.tar
	run -111 pc-tarsync unpack -C R --clean <cut.tar
	pc-tarsync unpack -C R --clean <rest.tar
	same W R
	cmp m R/.paperclip-runtime/manifest
	[ ! -e R/.paperclip-runtime/staging ]
	run -100 pc-tarsync snapshot --partial -C R
}

@test "pc-tarsync: the same for a delta, cut twice" {
	small_tree
	printf gone >W/gone
	pc-tarsync pack -C W --manifest m1 | pc-tarsync unpack -C R
	rm W/gone
	for i in 1 2 3 4 5 6; do head -c 100000 /dev/urandom >W/f$i; done
	pc-tarsync pack -C W --since m1 --manifest m2 >d.tar
	run -111 pc-tarsync unpack -C R < <(head -c 250000 d.tar)
	pc-tarsync snapshot --partial -C R >p
	rm W/f1
	pc-tarsync pack -C W --since p >e.tar
	run -111 pc-tarsync unpack -C R < <(head -c 250000 e.tar)
	pc-tarsync snapshot --partial -C R >p
	pc-tarsync pack -C W --since p >f.tar
	[ "$(wc -c <f.tar)" -lt 250000 ]
	pc-tarsync unpack -C R <f.tar
	same W R
	pc-tarsync pack -C W --since R/.paperclip-runtime/manifest | tar -tf - >list
	[ "$(cat list)" = .paperclip-runtime/pc-sync ]
}

# --- progress -----------------------------------------------------------------

@test "pc-tarsync: progress, in plain lines, always to the end" {
	mkdir W && head -c 3000000 /dev/zero >W/f
	run -0 --separate-stderr bash -c 'pc-tarsync pack -C W --progress --phase Uploading --label workspace --to box >a.tar'
	[[ "$stderr" == *"[paperclip] Uploading workspace to box: "*"% ("*"/3.0 MB)"* ]]
	[[ "${stderr##*$'\n'}" == "[paperclip] Uploading workspace to box: 100% (3.0/3.0 MB)" ]]
	run -0 --separate-stderr pc-tarsync pack -C W -o a.tar --progress --to $'b\e[m\nx'
	[ "${stderr_lines[-1]}" = '[paperclip] Packing to b\x1b[m\x0ax: 100% (3.0/3.0 MB)' ]
	run -0 --separate-stderr bash -c 'pc-tarsync unpack -C R --progress <a.tar'
	[[ "${stderr##*$'\n'}" == "[paperclip] Unpacking to R: 100% (3.0/3.0 MB)" ]]
	run -0 --separate-stderr bash -c 'pc-tarsync pack -C W >/dev/null'
	[ -z "$stderr" ]
}

@test "pc-tarsync: -v names each entry" {
	small_tree
	run -0 --separate-stderr bash -c 'pc-tarsync pack -v -C W >/dev/null'
	[ "$(tr '\n' ' ' <<<"$stderr")" = "a a/one b b/c b/c/three b/two empty link " ]
}

# --- mirror -------------------------------------------------------------------

@test "pc-tarsync: mirror makes two folders equal, and then does nothing" {
	tree make A 21 400
	tree make B 22 200
	pc-tarsync mirror A B
	same A B
	strace -f -e trace=openat,read,copy_file_range,renameat -o log \
	    pc-tarsync mirror A B
	run ! grep -q 'copy_file_range\|renameat' log
	same A B
}

@test "pc-tarsync: mirror leaves the preserved and the excluded, and reads bytes when asked" {
	small_tree
	mkdir -p D/keep D/x && printf k >D/keep/f && printf l >D/x/a.log && printf o >D/old
	pc-tarsync mirror -p keep -x '*/*.log' W D
	[ -e D/keep/f ] && [ -e D/x/a.log ] && [ ! -e D/old ]
	printf 'TWO\n' >D/b/two && touch -r W/b/two D/b/two
	pc-tarsync mirror -p keep -x '*/*.log' W D
	[ "$(cat D/b/two)" = TWO ]
	pc-tarsync mirror --checksum -p keep -x '*/*.log' W D
	[ "$(cat D/b/two)" = two ]
	run -100 pc-tarsync mirror missing D
	[ ! -e D/.paperclip-runtime/mirroring ]
}

@test "pc-tarsync pack: -x: sets, ranges, backslashes, alike with any libc" {
	mkdir w
	(cd w && touch a b c ']' ./- '[x' '*' 'a\')
	# A pattern, and what it leaves out.
	while read -r pattern out; do
		echo "pattern: $pattern"
		pc-tarsync pack -C w -x "$pattern" | tar -t | sed 's|^\./||' |
		    sort >left
		[ "$(ls w | sort | comm -23 - <(sed 's/\\\\/\\/g' left) |
		    tr -d '\n')" = "$out" ]
	done <<-'E'
	[ab] ab
	[a-b] ab
	[!a-c-] *]
	[^a-c-] *]
	[]] ]
	[\]] ]
	[\]a] ]a
	[a\-c] -ac
	[c-a]
	[x [x
	\* *
	?\\ a\
	a\
	*x [x
	?? [xa\
	E
}
