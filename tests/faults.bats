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
