#!/usr/bin/env bats
# What takes a minute: a reader that stops for longer than a channel may be
# silent.
bats_require_minimum_version 1.5.0

@test "pc-run: a reader that stops for a minute is no channel that hangs" {
	cd "$BATS_TEST_TMPDIR"
	export HOME="$PWD" XDG_STATE_HOME="$PWD/state"
	{
		timeout 100 pc-run --channel env -- \
		    sh -c 'head -c 3000000 /dev/zero' 2>err 3>&- || echo $? >code
	} | {
		dd bs=1 count=1 of=/dev/null status=none
		read -r -t 62 <> <(:) || :
		wc -c >count
	}
	cat err
	[ ! -e code ]
	[ "$(cat count)" -eq 2999999 ]
}
