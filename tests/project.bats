#!/usr/bin/env bats
# The build itself: what make promises.
load helper

TOOLS=(pc-allow pc-drain pc-enqueue pc-exec pc-file pc-forward pc-lease
    pc-lock pc-respond pc-run pc-serve pc-tarsync)

top() {
	cd "$BATS_TEST_DIRNAME/.."
}

@test "make: nothing is rebuilt without need, dependants when a header changes" {
	top
	run -0 make -q all
	run -1 make -q -W lib/queue.h all
	run -0 make -n -W lib/rules.h all
	[[ $output == *"-o bin/pc-allow "* ]]
	[[ $output != *"-c -o build/release/lib/queue.o"* ]]
}

@test "make: install and uninstall are each other's opposite" {
	d=$BATS_TEST_TMPDIR/dest
	top
	make -s install DESTDIR="$d" PREFIX=/usr
	[ -x "$d/usr/bin/pc-serve" ]
	[ -f "$d/usr/share/man/man7/pc-tools.7" ]
	for t in "$d"/usr/bin/*; do
		[ -f "$d/usr/share/man/man1/$(basename "$t").1" ]
	done
	make -s uninstall DESTDIR="$d" PREFIX=/usr
	[ -z "$(find "$d" -type f)" ]
}

@test "every tool: -h is one page on stdout, -V a version, bad options exit 100" {
	for t in "${TOOLS[@]}"; do
		run --separate-stderr -0 "$t" --help
		[[ $output == "usage: $t "* ]]
		[ -z "$stderr" ]
		run --separate-stderr -0 "$t" -V
		[[ $output =~ ^$t\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
		run --separate-stderr -100 "$t" --no-such-option
		[ -z "$output" ]
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
		run --separate-stderr -100 "$t" $'--no\e[m\nsuch'
		[[ $stderr == "$t: "*'--no\x1b[m\x0asuch: unknown option' ]]
		run --separate-stderr -111 sh -c "$t -h >/dev/full"
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
	done
}

@test "every tool: a closed stdout is an error, not silence" {
	for t in "${TOOLS[@]}"; do
		run --separate-stderr -111 sh -c "$t -h >&-"
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
	done
	echo '{"id":"a","wrote":true}' >in
	run --separate-stderr -111 sh -c 'pc-allow <in >&-'
	mkdir q
	run --separate-stderr -111 sh -c 'pc-respond -q q <in >&-'
	id=$(pc-enqueue -q q --no-wait GET /api/agents/me)
	run --separate-stderr -111 sh -c 'pc-drain -q q --no-wait >&-'
	# What it had claimed it answered: it provably never ran.
	grep -q not-started "q/responses/$id.json"
}

@test "every tool: its page names each of its long options" {
	for t in "${TOOLS[@]}"; do
		"$t" --help | grep -oE -- '--[a-z][a-z0-9-]+' | sort -u |
		while read -r option; do
			echo "$t $option"
			# mdoc writes --name as "Fl -name".
			grep -qE -- "(Fl|,|[|]) -${option#--}( |\$)" \
			    "$BATS_TEST_DIRNAME/../man/$t.1"
		done
	done
}
