#!/usr/bin/env bats
load helper

# request METHOD PATH [MORE] - a request line; MORE replaces the headers.
request() {
	printf '{"id":"r1","method":"%s","path":"%s","query":"%s","headers":%s,"body":"","createdAt":"t"}\n' \
	    "$1" "$2" "${4:-}" "${3:-{\}}"
}

check_vector() {
	local method=$2 path=$3 want=0
	[ "$method" != '\e' ] || method=
	[ "$path" != '\e' ] || path=
	method=$(printf '%b' "$method")
	path=$(printf '%b' "$path")
	case $1 in 'not canonical'*|'no rule'*) want=1 ;; esac
	run "-$want" pc-allow --check "$method" "$path"
	[ "$output" = "$1" ]
}

@test "pc-allow: --check says which rule, or why not" {
	each_vector "$BATS_TEST_DIRNAME/pc-allow-check.tsv" check_vector
}

@test "pc-allow: what passes is what a WHATWG URL parser leaves as it is" {
	while IFS=$'\t' read -r name want method path; do
		case $want in GET*|POST*|PUT*|PATCH*|DELETE*) ;; *) continue ;; esac
		printf '%b\n' "$path"
	done <"$BATS_TEST_DIRNAME/pc-allow-check.tsv" >paths
	[ "$(wc -l <paths)" -gt 80 ]
	node -e '
		const fs = require("fs");
		for (const line of fs.readFileSync("paths", "utf8").trim().split("\n")) {
			const u = new URL("http://h" + line);
			if (u.pathname + u.search !== line) throw new Error(line);
		}'
}

@test "pc-allow: a request passes with the five headers, and only they" {
	request GET /api/agents/me '{"accept":"a","authorization":"Bearer x","content-type":"b","cookie":"c","host":"d","idempotency-key":"e","if-match":"f","if-none-match":"g","x-paperclip-run-id":"h","Accept":"i"}' >in
	run pc-allow <in
	[ "$output" = '{"id":"r1","method":"GET","path":"/api/agents/me","query":"","headers":{"accept":"a","content-type":"b","idempotency-key":"e","if-match":"f","if-none-match":"g"},"body":"","createdAt":"t"}' ]
}

@test "pc-allow: a header value with CR, LF or NUL refuses the request" {
	for bad in '\r' '\n' '\u0000' '\u0001'; do
		request GET /api/agents/me "{\"accept\":\"a${bad}b\"}" >in
		run pc-allow <in
		[ "$(jq -r .status <<<"$output")" = 400 ]
		[ "$(jq -r '.body|fromjson|.error' <<<"$output")" = \
		    "Invalid request header: accept" ]
	done
	request GET /api/agents/me '{"cookie":"a\r\nb"}' >in
	run pc-allow <in
	[ "$(jq -r .method <<<"$output")" = GET ]
}

@test "pc-allow: what no rule allows is answered 403, with the peers' text" {
	request DELETE /api/agents/me >in
	run pc-allow <in
	[ "$(jq -r .id <<<"$output")" = r1 ]
	[ "$(jq -r .status <<<"$output")" = 403 ]
	[ "$(jq -r '.headers["content-type"]' <<<"$output")" = application/json ]
	[ "$(jq -r '.body|fromjson|.error' <<<"$output")" = \
	    "Route not allowed: DELETE /api/agents/me" ]
}

@test "pc-allow: what is not canonical is answered 400 with the reason" {
	request GET /api/agents/../me >in
	run pc-allow <in
	[ "$(jq -r .status <<<"$output")" = 400 ]
	[ "$(jq -r '.body|fromjson|.error' <<<"$output")" = \
	    "Invalid request path: dot segment" ]
	request GET /api/agents/me '{}' '?a#b' >in
	run pc-allow <in
	[ "$(jq -r '.body|fromjson|.error' <<<"$output")" = \
	    "Invalid request path: fragment" ]
}

@test "pc-allow: a path of NUL or of any length makes a bounded message" {
	request GET '/\u0000' >in
	run pc-allow <in
	[ "$(jq -r .status <<<"$output")" = 400 ]
	request GET "/$(head -c 100000 /dev/zero | tr '\0' a)" >in
	pc-allow <in >out
	[ "$(jq -r .status <out)" = 403 ]
	[ "$(wc -c <out)" -lt 2000 ]
}

@test "pc-allow: only checked fields go on, unknown keys stay" {
	printf '{"x":1,"createdAt":"t","body":"b","secret":{"a":[1,2]},"headers":{},"query":"?q","path":"/api/agents/\\u006de","method":"GET","remainingMs":5,"timeoutMs":7,"id":"r1"}\n' >in
	run pc-allow <in
	[ "$output" = '{"id":"r1","method":"GET","path":"/api/agents/me","query":"?q","headers":{},"body":"b","createdAt":"t","timeoutMs":7,"remainingMs":5}' ]
}

@test "pc-allow: a line of no kind, or of several, is dropped and reported" {
	{
		echo '{"id":"a","method":"GET","status":200,"wrote":true}'
		echo '{"id":"a"}'
		echo 'null'
		echo '{"id":"a","method":"GET","method":"GET"}'
		echo '{"id":"../x","method":"GET","path":"/api/agents/me","query":"","headers":{},"body":"","createdAt":"t"}'
		request GET /api/agents/me
	} >in
	run --separate-stderr pc-allow <in
	[ "$(wc -l <<<"$output")" -eq 1 ]
	[ "$(wc -l <<<"$stderr")" -eq 5 ]
	[[ $stderr == "pc-allow: line 1: not exactly one of "* ]]
}

@test "pc-allow: responses, reports and keep-alives go through as they are" {
	{
		echo '{"id":"a","status":200,"headers":{"X":"y"},"body":"z", "k":1}'
		echo
		echo '{"wrote":true,"id":"a"}'
	} >in
	pc-allow <in | cmp - in
}

@test "pc-allow: a body over the limit is answered 413, one below passes" {
	b=$(head -c 1000 /dev/zero | tr '\0' a)
	printf '{"id":"r1","method":"POST","path":"/api/issues/1/comments","query":"","headers":{},"body":"%s","createdAt":"t"}\n' "$b" >in
	run pc-allow -m 1000 <in
	[ "$(jq -r .method <<<"$output")" = POST ]
	run pc-allow -m 999 <in
	[ "$(jq -r .status <<<"$output")" = 413 ]
	[ "$(jq -r '.body|fromjson|.error' <<<"$output")" = \
	    "Bridge request envelope exceeded the configured size limit." ]
}

@test "pc-allow: 20,000 lines at once come out in order, none lost" {
	seq -f '{"id":"r%.0f","method":"GET","path":"/api/issues/%.0f","query":"","headers":{},"body":"","createdAt":"t"}' 20000 |
	    sed 's/%.0f/1/' >in
	pc-allow <in | cmp - in
}

@test "pc-allow: --print-rules prints rules that are the same rules" {
	pc-allow --print-rules >a
	pc-allow -r a --print-rules | cmp - a
	[ "$(wc -l <a)" -eq 56 ]
	pc-allow -r @2026.916 --print-rules >b
	pc-allow -r b --print-rules | cmp - b
}

@test "pc-allow: a rules file has comments, many patterns a line, endings" {
	printf '# all\n\nGET /a /b/:x # two\n\tPOST  /c/:file.txt\r\n' >r
	run pc-allow -r r --print-rules
	[ "$output" = $'GET /a\nGET /b/:x\nPOST /c/:file.txt' ]
	pc-allow -r r --check POST /c/x.txt
	run -1 pc-allow -r r --check POST /c/.txt
	run -1 pc-allow -r r --check POST /c/x.txtx
	run -1 pc-allow -r r --check GET /b/
}

bad_rules() {
	printf '%b' "$2" >r
	run --separate-stderr -100 pc-allow -r r --print-rules
	[ -z "$output" ]
	[ "$stderr" = "pc-allow: r: $1" ]
}
@test "pc-allow: bad rules are refused with line and reason" {
	bad_rules "line 1: no pattern" 'GET\n'
	bad_rules "line 2: methods are in upper case" 'GET /a\nget /b\n'
	bad_rules "line 1: a pattern begins with /" 'GET a\n'
	bad_rules "line 1: empty segment in a pattern" 'GET /a//b\n'
	bad_rules "line 1: empty segment in a pattern" 'GET /a/\n'
	bad_rules "line 1: a wildcard needs a name" 'GET /:\n'
	bad_rules "line 1: only :name is a wildcard, and only plain characters are matched" 'GET /a*\n'
	bad_rules "line 1: dot segment in a pattern" 'GET /a/../b\n'
	bad_rules "line 0: NUL in the rules" 'GET /a\0\n'
	run --separate-stderr -100 pc-allow -r nowhere
	[ "$stderr" = "pc-allow: nowhere: No such file or directory" ]
	run --separate-stderr -100 pc-allow -r @other
	[ "$stderr" = "pc-allow: @other: no such built-in rules" ]
}

@test "pc-allow: an empty rules file allows nothing" {
	: >r
	run -1 pc-allow -r r --check GET /api/agents/me
}

@test "pc-allow: bad command lines are one line and exit 100" {
	for args in '--nope' 'x' '--check GET' '--check --print-rules' '-m 1x'; do
		# shellcheck disable=SC2086
		run --separate-stderr -100 pc-allow $args </dev/null
		[ -z "$output" ]
		[ "$(wc -l <<<"$stderr")" -eq 1 ]
	done
}

@test "pc-allow: no input is done; a full or closed stdout is exit 111" {
	run -0 pc-allow </dev/null
	request GET /api/agents/me >in
	run --separate-stderr -111 sh -c 'pc-allow <in >/dev/full'
	[ "$stderr" = "pc-allow: stdout: No space left on device" ]
	run --separate-stderr -111 sh -c 'pc-allow --print-rules >/dev/full'
}
