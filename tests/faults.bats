#!/usr/bin/env bats
# The short form of make faults.
load helper

@test "faults: 30 rounds of killing: at most once, never silent, nothing left" {
	run "$BATS_TEST_DIRNAME/faults/pipeline.py" --rounds 30
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"none twice" ]]
}

@test "faults: bridges that are broken on purpose are found out" {
	run "$BATS_TEST_DIRNAME/faults/pipeline.py" --self-test
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "faults: a lock's holders and waiters killed and stopped: exact, never stuck" {
	run "$BATS_TEST_DIRNAME/faults/lock.py" --rounds 15
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(grep -c 'none two at a time, none stuck$' <<<"$output")" -eq 3 ]
}

@test "faults: the lock that pc-lock replaces is found out, and so is none" {
	run "$BATS_TEST_DIRNAME/faults/lock.py" --self-test
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "faults: every tool stopped at its calls: nothing lost, no lie, no hang" {
	run "$BATS_TEST_DIRNAME/faults/tools.py" --every 97
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"each reached, "*"; 0 failed" ]]
}

@test "faults: tools that work in place, or report too early, are found out" {
	run "$BATS_TEST_DIRNAME/faults/tools.py" --self-test
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(grep -c ': found out, ' <<<"$output")" -eq 3 ]
}

@test "faults: pc-tarsync raced with links and edits: nothing outside, nothing lost" {
	run "$BATS_TEST_DIRNAME/faults/tarsync.py" --rounds 30
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "faults: whole runs, over four channels: no call twice, nothing left" {
	run "$BATS_TEST_DIRNAME/faults/run.py" --rounds 10
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"10 rounds, 0 failed" ]]
}

@test "faults: a host that sends twice, or denies it, is found out" {
	run "$BATS_TEST_DIRNAME/faults/run.py" --self-test
	echo "$output"
	[ "$status" -eq 0 ]
}
