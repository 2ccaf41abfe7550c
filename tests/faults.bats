#!/usr/bin/env bats
# The short form of make faults.
load helper

@test "faults: 30 rounds of killing: at most once, never silent, nothing left" {
	run "$BATS_TEST_DIRNAME/faults/pipeline.py" --rounds 30
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output == *"none twice" ]]
}

@test "faults: a bridge that puts claimed requests back is found out" {
	run "$BATS_TEST_DIRNAME/faults/pipeline.py" --rounds 200 --mutant put-back
	echo "$output"
	[ "$status" -eq 1 ]
	[[ $output == *violated:* ]]
}
