#!/usr/bin/env bats
# pc-tarsync unpack: hostile archives, archives of others, and what others
# make of ours.
load helper

archives() {
	python3 "$BATS_TEST_DIRNAME/tarsync-archives.py" "$@"
}

# taken NAME [OPTION]... - an archive that is accepted, unpacked into R.
taken() {
	rm -rf R
	archives make "$1" >x.tar
	pc-tarsync unpack -C R "${@:2}" <x.tar
}

# in_R NAME... - that is all there is.
in_R() {
	[ "$(cd R && find . -mindepth 1 ! -path './.paperclip-runtime*' |
	    sort | tr '\n' ' ')" = "$*${*:+ }" ]
}

# archive_of WORD... - x.tar: folders FOLDER/=MODE, hard links NAME=->TARGET,
# and files NAME=TEXT
archive_of() {
	python3 - "$@" <<-'PY' >x.tar
	import io, sys, tarfile
	with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
	    for word in sys.argv[1:]:
	        name, _, mode = word.partition("=")
	        info = tarfile.TarInfo(name)
	        if name.endswith("/"):
	            info.type, info.mode = tarfile.DIRTYPE, int(mode, 8)
	            tar.addfile(info)
	        elif mode.startswith("->"):
	            info.type, info.linkname = tarfile.LNKTYPE, mode[2:]
	            tar.addfile(info)
	        else:
	            info.size, info.mode = len(mode), 0o644
	            tar.addfile(info, io.BytesIO(mode.encode()))
	PY
}

mode() {
	stat -c %a "$1"
}

@test "archives: each of the table is refused and named, and changes nothing" {
	mkdir rows
	run archives run rows
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *" rows, 0 failed" ]]
}

@test "archives: cut at and around every block, plain and gzip: 111, and nothing changes" {
	mkdir cuts
	run archives cuts cuts
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *" cuts, 0 failed" ]]
}

@test "archives: a tool that unpacks in place, and one that takes memory, are found out" {
	mkdir fake rows
	real=$(command -v pc-tarsync)
	cat >fake/pc-tarsync <<-EOF
		#!/bin/sh
		# The base archive is unpacked as it should be.
		case \$4 in -p) exec $real "\$@" ;; esac
		cd "\$3" && tar -xf - 2>/dev/null
		echo "pc-tarsync: a: b" >&2
		exit 100
	EOF
	chmod +x fake/pc-tarsync
	PATH="$PWD/fake:$PATH" run -1 archives run rows 'field: mtime of junk' \
	    'way: a link of the tree, link'
	echo "$output"
	[ "$(grep -c ': says ' <<<"$output")" -eq 2 ]
	sed -i 's/echo .*/echo "pc-tarsync: lnk: is a link, or no folder, and the archive does not replace it" >\&2/' fake/pc-tarsync
	PATH="$PWD/fake:$PATH" run -1 archives run rows/2 \
	    'way: a link of the tree, link'
	echo "$output"
	[[ $output == *": changed: ["* ]]
	[[ $real != */san/* ]] || return 0
	sed -i "s|^cd .*|python3 -c 'b\"x\" * (50 << 20)'|; s/exit 100/exec python3 -c 'import sys; x = b\"x\" * (50 << 20); sys.exit(100)'/" fake/pc-tarsync
	PATH="$PWD/fake:$PATH" run -1 archives run rows/3 \
	    'way: a link of the tree, link'
	echo "$output"
	[[ $output == *": took "*" KiB"* ]]
}

# --- what a later member does to an earlier one ---

@test "archives: of two members with one name the later holds" {
	taken twice
	[ "$(cat R/f)" = second ] && [ "$(stat -c %a R/f)" = 600 ]
	in_R ./f
	taken 'file, then folder'
	in_R ./f ./f/g
	taken 'folder, then file'
	[ "$(cat R/f)" = file ]
	before=$(stat -c '%i %s %Y' /etc/passwd)
	taken 'link, then file'
	[ "$(cat R/f)" = file ] && [ ! -L R/f ]
	[ "$(stat -c '%i %s %Y' /etc/passwd)" = "$before" ]
	taken 'file, then link'
	[ "$(readlink R/f)" = gone ]
	taken 'empty records'
	in_R ./f
	# Whatever was in it, the manifest is that of the tree.
	for a in twice 'file, then folder' 'link, then file' 'file, then link'; do
		taken "$a"
		pc-tarsync snapshot -C R | cmp - R/.paperclip-runtime/manifest
	done
}

@test "archives: of a folder's two modes the later holds" {
	modes() {
		[ "$(cd R && stat -c %a "${@:2}" | tr '\n' ' ')" = "$1 " ]
		pc-tarsync diff R/.paperclip-runtime/manifest R
	}
	taken 'folder with two modes'
	modes 755 d
	taken 'folder with two modes, locked last'
	modes 555 d
	taken 'folders after what is in them'
	modes '775 444 444 755' d e e/g i
	# One that no member has named keeps what it has there.
	chmod 700 R/i R/d && chmod 300 R/e
	archives make 'folders after what is in them' | pc-tarsync unpack -C R
	modes '775 444 444 700' d e e/g i
	taken 'locked folder, then file'
	modes '644 755' d e
}

@test "archives: of several modes for one folder the last holds" {
	while read -r words want; do
		# shellcheck disable=SC2086
		archive_of ${words//,/ }
		for as in root other; do
			rm -rf R
			if [ $as = root ]; then
				pc-tarsync unpack -C R <x.tar
			elif [ "$(id -u)" -eq 0 ]; then
				mkdir R
				chown 65534 R
				chmod 777 .
				setpriv --reuid=65534 --regid=65534 --clear-groups \
				    "$(command -v pc-tarsync)" unpack -C R <x.tar
			fi
			echo "$as: $words: $(mode R/d)"
			[ "$(mode R/d)" = "$want" ]
			[ "$(cat R/d/f)" = x ]
			chmod -R u+rwx R
		done
	done <<-'ROWS'
	d/=555,d/f=x,d/=755 755
	d/=755,d/f=x,d/=555 555
	d/=555,d/f=x,d/=500 500
	d/=500,d/f=x,d/=555 555
	d/f=x,d/=555 555
	d/f=x,d/=711 711
	d/=555,d/f=x,d/=700,d/=511 511
	ROWS
}

@test "archives: a folder gets its new mode, whatever it had" {
	for old in 500 555 700 755 100; do
		for new in 555 500 755 700 711 577; do
			rm -rf W R
			mkdir -p W/d
			echo one >W/d/f
			chmod "$old" W/d
			pc-tarsync pack -C W --manifest M | pc-tarsync unpack -C R --clean
			chmod 700 W/d
			echo two >W/d/f
			echo new >W/d/g
			chmod "$new" W/d
			pc-tarsync pack -C W --since M --manifest M2 | pc-tarsync unpack -C R
			echo "$old -> $new: $(mode R/d)"
			[ "$(mode R/d)" = "$new" ]
			[ "$(cat R/d/f R/d/g)" = $'two\nnew' ]
			# And what it has is what the manifest says.
			chmod 700 W/d
			rm W/d/g
			chmod "$new" W/d
			pc-tarsync pack -C W --since M2 | pc-tarsync unpack -C R
			[ ! -e R/d/g ]
			[ "$(mode R/d)" = "$new" ]
			chmod 700 W/d R/d
		done
	done
}

@test "archives: a locked folder in a locked folder, as another user" {
	[ "$(id -u)" = 0 ] || skip "needs root to become another"
	there=$(mktemp -d /tmp/pc-tarsync.XXXXXX)
	chmod 755 "$there"
	cp "$(command -v pc-tarsync)" "$there"
	archives make 'folders after what is in them' >"$there/x.tar"
	mkdir "$there/home" && chown 65534:65534 "$there/home"
	run setpriv --reuid=65534 --regid=65534 --clear-groups \
	    env -C "$there/home" sh -c \
	    '../pc-tarsync unpack -C R <../x.tar'
	modes=$(stat -c %a "$there/home/R/e" "$there/home/R/e/g" | tr '\n' ' ')
	left=$(ls -A "$there/home/R/.paperclip-runtime")
	rm -rf "$there"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$output" = \
	    'pc-tarsync: e/g: cannot be in a manifest; none is stored' ]
	[ "$modes" = '444 444 ' ]
	[ "$left" = staging.lock ]
}

@test "archives: many folders that come after what is in them" {
	python3 - <<-'EOF' >x.tar
		import io, sys, tarfile
		with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as tar:
		    for i in range(3000):
		        for name in f"d{i}/e/f", f"d{i}/e/", f"d{i}/":
		            info = tarfile.TarInfo(name)
		            if name.endswith("/"):
		                info.type, info.mode = tarfile.DIRTYPE, 0o555
		            tar.addfile(info)
	EOF
	pc-tarsync unpack -C R --no-manifest <x.tar
	[ "$(stat -c %a R/d*/e R/d* | sort | uniq -c | tr -s ' ')" = ' 6000 555' ]
}

@test "archives: git's locks are passed over, with what is below them" {
	run -0 --separate-stderr taken 'a lock of git'
	in_R ./.git ./.git/HEAD
	[ "$stderr" = 'pc-tarsync: .git/index.lock: a lock of git, left out' ]
	run -0 --separate-stderr taken 'a folder that is a lock of git'
	in_R ./.git ./.git/HEAD
	[[ $stderr == 'pc-tarsync: .git/x.lock: a lock of git, left out'* ]]
}

# --- hard links ---

@test "archives: hard links behind ./, as every tar writes them for a folder" {
	taken 'hard links with ./'
	[ "$(cat R/two)" = one ]
	mkdir -p A/d && printf 'shared\n' >A/d/one && ln A/d/one A/two
	made() {
		rm -rf R
		"$@"
		pc-tarsync unpack -C R <x.tar
		cmp A/two R/two
		cmp A/two R/d/one
	}
	made tar -C A -cf x.tar .
	made bsdtar -C A -cf x.tar .
	made busybox tar -C A -cf x.tar .
	made python3 -c 'import tarfile
t = tarfile.open("x.tar", "w")
t.add("A", ".")
t.close()'
}

@test "archives: hard links behind ./, one of which leads out" {
	mkdir W
	echo one >W/a
	ln W/a W/b
	mkdir W/d
	ln W/a W/d/c
	tar -C W -cf x.tar .
	pc-tarsync unpack -C R <x.tar
	[ "$(cat R/a R/b R/d/c)" = $'one\none\none' ]
	archive_of ./a=x ./b='->../a'
	run -100 pc-tarsync unpack -C R2 <x.tar
}

@test "archives: a hard link to a sparse file takes no more room than the file" {
	taken 'hard link to a hole' --no-manifest
	[ "$(stat -c %s R/hole R/again | uniq)" = $((1 << 28)) ]
	cmp R/hole R/again
	[ "$(stat -c %b R/again)" -lt 1000 ]
	# The same with sums; and from a tree, through the tool and others.
	taken 'hard link to a hole'
	[ "$(stat -c %b R/again)" -lt 1000 ]
	pc-tarsync diff R/.paperclip-runtime/manifest R
	rm -r R/.paperclip-runtime
	ln -f R/hole R/again
	for tool in 'pc-tarsync pack -C R' 'tar -C R -Scf - .'; do
		$tool >x.tar
		[ "$(wc -c <x.tar)" -lt 100000 ]
		rm -rf S
		pc-tarsync unpack -C S <x.tar
		cmp R/hole S/again
		[ "$(stat -c %b S/hole S/again | sort -n | tail -n 1)" -lt 1000 ]
	done
}

# --- others read ours ---

@test "archives: bsdtar and Python read names of any bytes, and sparse files" {
	mkdir -p "A/$(printf 'd\377\001\n')" B P
	printf '1\n' >"A/$(printf 'd\377\001\n')/$(printf '\200 \t"*')"
	printf '2\n' >A/"$(printf 'n%.0s' {1..255})"
	mkdir -p "A/$(printf 'p%.0s' {1..200})/$(printf 'q%.0s' {1..200})"
	ln -s "$(printf '\376t')" A/link
	truncate -s 3M A/sparse
	printf data | dd of=A/sparse bs=1 seek=1M conv=notrunc status=none
	truncate -s 20M A/hole
	find A -type f -exec touch -d @1700000000 {} +
	pc-tarsync pack -C A >a.tar
	[ "$(wc -c <a.tar)" -lt 100000 ]
	LC_ALL=C.UTF-8 bsdtar -C B -xpf a.tar
	run -0 python3 "$BATS_TEST_DIRNAME/tree.py" compare A B
	python3 - <<-'EOF'
		import tarfile
		t = tarfile.open("a.tar", errors="surrogateescape")
		if hasattr(tarfile, "data_filter"):
		    t.extraction_filter = tarfile.fully_trusted_filter
		t.extractall("P")
	EOF
	run -0 python3 "$BATS_TEST_DIRNAME/tree.py" compare A P
}

@test "archives: names that are no UTF-8 are said to be none, before any of them" {
	mkdir -p W/hdrcharset X
	ln -s "$(printf '\377\376')" "W/hdrcharset/$(printf '\303\251')"
	ln -s "$(printf '\377\376')" "X/$(printf '\303\251')"
	touch "X/$(printf '\377')"
	for t in W X; do
		pc-tarsync pack -C $t >a.tar
		python3 - <<-'EOF'
			import tarfile
			heads = [m.pax_headers for m in tarfile.open("a.tar")]
			heads = [h for h in heads if "path" in h]
			assert heads
			for h in heads:
			    assert list(h.items())[0] == ("hdrcharset", "BINARY"), h
		EOF
	done
}
