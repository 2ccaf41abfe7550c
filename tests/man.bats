#!/usr/bin/env bats
# The examples of the pages are sessions, and work: a line after "$ " is run,
# what follows until the next one is what it prints.
load helper

# session PAGE - those of its literal displays that are sessions
session() {
	awk '/^\.Bd -literal/ { first = 1; next }
	    /^\.Ed/ { on = first = 0 }
	    first { on = /^\$ /; first = 0 }
	    on' "$1" |
	    sed "s/\\\\(aq/'/g; s/\\\\(dq/\"/g; s/\\\\&//g; s/\\\\-/-/g; s/\\\\e/\\\\/g"
}

# run_session PAGE
run_session() {
	local line n=0
	: >script
	: >wanted
	while IFS= read -r line; do
		case $line in
		'$ '*)
			printf '%s\n' "${line#??}" >>script
			n=$((n + 1))
			;;
		*)
			[ "$n" -eq 0 ] || printf '%s\n' "$line" >>wanted
			;;
		esac
	done < <(session "$1")
	[ "$n" -gt 0 ] || return 0
	echo "$1: $n commands"
	bash -u script >got
	diff wanted got
}

@test "pages: every example does what the page says" {
	for page in "$BATS_TEST_DIRNAME"/../man/*; do
		d=$(basename "$page")
		mkdir "$d"
		cd "$d"
		run_session "$page"
		cd ..
	done
}

@test "pages: every tool and format has one, and they are well formed" {
	for c in "$BATS_TEST_DIRNAME"/../cmd/pc-*.c; do
		t=$(basename "$c" .c)
		[ -f "$BATS_TEST_DIRNAME/../man/$t.1" ] || [ "$t" = pc-tools ]
	done
	run mandoc -Tlint -Wwarning "$BATS_TEST_DIRNAME"/../man/*
	[ -z "$output" ]
}
