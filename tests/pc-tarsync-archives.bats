#!/usr/bin/env bats
# Archives as other programs, and older ones of their own, come to make them.
load helper

# in_folder MEMBER... - an archive of folders with modes, NAME=MODE each
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

@test "unpack: hard links of tar -cf x.tar ." {
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

@test "unpack: of several modes for one folder the last holds" {
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

@test "unpack: a folder gets its new mode, whatever it had" {
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

@test "unpack: a hard link to a sparse file stays sparse" {
	mkdir W
	truncate -s 50M W/a
	echo end >>W/a
	dd if=/dev/urandom of=W/a bs=4096 seek=1000 count=1 conv=notrunc status=none
	ln W/a W/b
	tar -C W -S -cf x.tar a b
	pc-tarsync unpack -C R <x.tar
	cmp W/a R/b
	[ "$(stat -c %b R/b)" -lt 1000 ]
}

@test "unpack: what is below a skipped lock of git is skipped" {
	archive_of .git/=755 .git/x.lock/=755 .git/x.lock/f=x .git/y=1
	pc-tarsync unpack -C R <x.tar
	[ -e R/.git/y ]
	[ ! -e R/.git/x.lock ]
}

@test "unpack, pack: times after 2262 are the last one that there is" {
	mkdir W
	echo x >W/a
	touch -d '2400-01-01 UTC' W/a || skip "no such time here"
	[ "$(stat -c %Y W/a)" -gt 9300000000 ] || skip "no such time here"
	pc-tarsync pack -C W | pc-tarsync unpack -C R
	[ "$(stat -c %Y R/a)" -eq 9223372035 ]
	pc-tarsync pack -C W | pc-tarsync unpack -C R
}
