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
