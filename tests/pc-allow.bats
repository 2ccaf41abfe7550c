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

@test "pc-allow: of random paths, none passes that a WHATWG URL parser would change" {
	printf 'GET /:a /:a/:b /:a/:b/:c\n' >r
	cat >random.js <<-'EOF'
	let seed = 1;
	const pick = list => list[(seed = seed * 48271 % 2147483647) % list.length];
	const good = ["a", "b", "%41", "~", ":", "@", ";", "|", "...", "%c3%a9", "%252e", "'", "[", "]"];
	const bad = [".", "..", "%2e", "%2E.", "//", "%2f", "%5C", "%00", "%7f", "%", "%g0", "\\", "?", "#",
	    " ", "\t", "\0", "\x7f", "\u00e9", "\uff0f", "\"", "<", ">", "^", "`", "{", "}"];
	for (let i = 0; i < 20000; i++) {
		let path = pick(["/", "/", "/", "/", "/", "/", "", "//", "\\", "h:"]), query = "";
		for (let n = pick([1, 2, 3, 4, 5, 6, 7]); n > 0; n--)
			path += pick(pick([good, good, good, good, ["/", "/a"], ["/a"], ["/b"], bad]));
		for (let n = pick([0, 0, 1, 2]); n > 0; n--)
			query += pick(["?", "?", "?a"]) + pick(pick([good, good, bad]));
		console.log(JSON.stringify({ id: `r${i}`, method: "GET", path, query, headers: {},
		    body: "", createdAt: "t" }));
	}
	EOF
	cat >judge.js <<-'EOF'
	const lines = name => require("fs").readFileSync(name, "utf8").trim().split("\n").map(JSON.parse);
	const sent = lines("in"), got = lines("out"), count = { passed: 0, 400: 0, 403: 0 };
	const must = (ok, r) => { if (!ok) throw new Error(JSON.stringify(r)); };
	must(sent.length === got.length, got.length);
	const parse = text => { try { return new URL(text); } catch { return {}; } };
	const same = ({ path, query }) => {
		const url = parse("http://h" + path + query);
		return url.host === "h" && url.pathname === path && url.search === query;
	};
	// stricter than the parser: what hides behind an escape, and ^
	const hides = path => /\/\/|%(2f|5c|[01].|7f)|%(?![0-9a-f]{2})|\^/i.test(path);
	for (const [i, r] of got.entries()) {
		const plain = same(sent[i]) && !hides(sent[i].path);
		must(r.id === sent[i].id && plain === (r.status !== 400), [sent[i], r]);
		must(r.status || r.path === sent[i].path && r.query === sent[i].query, r);
		count[r.status ?? "passed"]++;
	}
	must(Object.keys(count).length === 3 && Object.values(count).every(n => n > 500), count);
	EOF
	node random.js >in
	pc-allow -r r <in >out
	node judge.js
}

vector_triple() {
	printf '%b\n' "${1//\\/\\\\}" "${2/#'\e'/}" "${3/#'\e'/}"
}
@test "pc-allow: a line gets the verdict that --check gives" {
	each_vector "$BATS_TEST_DIRNAME/pc-allow-check.tsv" vector_triple |
	    grep -v ^vector: >triples
	jq -nRc '[inputs] as $l | range(0; $l | length; 3) as $i |
	    ($l[$i + 2] | split("?")) as $t |
	    { want: $l[$i], id: "r", method: $l[$i + 1], path: ($t[0] // ""),
	      query: ($t[1:] | map("?" + .) | join("")), headers: {},
	      body: "", createdAt: "t" } |
	    select(.method | test("^[!-~]+$"))' triples >in
	[ "$(wc -l <in)" -gt 150 ]
	jq -r '.want | if test("^no rule|^not canonical") then . else "passed" end' \
	    in >want
	pc-allow <in 2>err | jq -r 'if .method then "passed"
	    elif .status == 403 then "no rule allows it"
	    elif .status == 400 then .body | fromjson | .error |
	      sub("Invalid request path"; "not canonical") else . end' >got
	diff want got
	[ ! -s err ]
}

@test "pc-allow: a request passes with the five headers, and only they" {
	request GET /api/agents/me '{"accept":"a","authorization":"Bearer x","content-type":"b","cookie":"c","host":"d","idempotency-key":"e","if-match":"f","if-none-match":"g","x-paperclip-run-id":"h","Accept":"i"}' >in
	run pc-allow <in
	[ "$output" = '{"id":"r1","method":"GET","path":"/api/agents/me","query":"","headers":{"accept":"a","content-type":"b","idempotency-key":"e","if-match":"f","if-none-match":"g"},"body":"","createdAt":"t"}' ]
}

@test "pc-allow: the capability header passes below /runtime-tools/ only" {
	headers='{"content-type":"b","x-paperclip-github-capability":"c"}'
	request POST /runtime-tools/github/credentials "$headers" >in
	run pc-allow -r @2026.916 <in
	jq -e --argjson all "$headers" '.headers == $all' <<<"$output"
	request POST /api/issues/7/comments "$headers" >in
	run pc-allow -r @2026.916 <in
	jq -e '.headers == {"content-type":"b"}' <<<"$output"
	request POST /runtime-tools/github/credentials "$headers" >in
	run pc-allow <in
	jq -e '.status == 403' <<<"$output"
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

header_vector() {
	request GET /api/agents/me "{$2}" >in
	run --separate-stderr pc-allow <in
	[ -z "$stderr" ]
	[ "$(jq -rc '.body as $body | if .method then .headers
	    else "\(.status) \($body | fromjson | .error)" end' <<<"$output")" = "$1" ]
}
@test "pc-allow: headers" {
	cat >vectors <<-'EOF'
	none	{}
	empty value	{"accept":""}	"accept":""
	tab inside	{"accept":"a\tb"}	"accept":"a\tb"
	quotes	{"if-match":"W/\"a\""}	"if-match":"W/\"a\""
	utf-8	{"accept":"é"}	"accept":"\u00e9"
	upper case is another	{}	"Accept":"a","ACCEPT":"b"
	spaces are another	{}	"accept ":"a"," accept":"b"
	smuggled in a name	{}	"accept\r\nx":"a"
	empty name	{}	"":"a"
	host	{}	"host":"evil"
	length	{}	"content-length":"5","transfer-encoding":"chunked"
	credentials	{}	"authorization":"Bearer x","cookie":"c","proxy-authorization":"b"
	run id	{}	"x-paperclip-run-id":"r"
	hop by hop	{}	"connection":"accept","te":"x","upgrade":"h2c"
	forwarding	{}	"x-forwarded-for":"a","forwarded":"for=b"
	bad but dropped	{}	"cookie":"a\r\nb"
	carriage return	400 Invalid request header: accept	"accept":"a\rb"
	line feed	400 Invalid request header: content-type	"content-type":"a\nhost: evil"
	nul	400 Invalid request header: if-match	"if-match":"\u0000"
	nul at the end	400 Invalid request header: accept	"accept":"a\u0000"
	escape	400 Invalid request header: if-none-match	"if-none-match":"\u001b[2J"
	delete	400 Invalid request header: idempotency-key	"idempotency-key":"\u007f"
	escaped name	400 Invalid request header: accept	"\u0061ccept":"\n"
	the first bad one	400 Invalid request header: if-match	"accept":"a","if-match":"\n","if-none-match":"\r"
	EOF
	each_vector vectors header_vector
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

invalid_line() {
	printf '%b\n' "$2" >in
	request GET /api/agents/me >>in
	run --separate-stderr pc-allow <in
	[ "$stderr" = "pc-allow: line 1: $1" ]
	[ "$output" = "$(request GET /api/agents/me)" ]
}
@test "pc-allow: what is no record is dropped with a reason, the next line passes" {
	local rest='"query":"","headers":{},"body":"","createdAt":"t"'
	local kinds='not exactly one of "method", "status", "wrote"'
	cat >vectors <<-EOF
	three kinds	$kinds	{"id":"a","method":"GET","status":200,"wrote":true,"path":"/api/agents/me",$rest}
	request and response	$kinds	{"id":"a","method":"GET","status":200,"path":"/api/agents/me",$rest}
	request and report	$kinds	{"id":"a","wrote":true,"method":"GET","path":"/api/agents/me",$rest}
	response and report	$kinds	{"id":"a","status":200,"wrote":false}
	kind is null	$kinds	{"id":"a","method":"GET","status":null,"path":"/api/agents/me",$rest}
	kind is escaped	$kinds	{"id":"a","method":"GET","\\\\u0073tatus":200,"path":"/api/agents/me",$rest}
	no kind	$kinds	{"id":"a"}
	no members	$kinds	{}
	null	not JSON	null
	number	not JSON	1
	array	not a record	[{"id":"a"}]
	string	not JSON	"method"
	blank	not JSON	\\t
	truncated	not JSON	{"id":"a","method":"GET
	two values	not JSON	{"id":"a"} {"id":"b"}
	NUL	not JSON	{"id":"a"}\\0
	raw control	not JSON	{"id":"a","method":"G\\x01T","path":"/api/agents/me",$rest}
	not UTF-8	not JSON	{"id":"a","method":"GET","path":"/api/agents/\\xff",$rest}
	overlong slash	not JSON	{"id":"a","method":"GET","path":"/api/agents/\\xc0\\xaf",$rest}
	lone surrogate	not JSON	{"id":"a","method":"GET","path":"/api/agents/\\\\ud800",$rest}
	duplicate method	duplicate key	{"id":"a","method":"GET","method":"GET","path":"/api/agents/me",$rest}
	duplicate path	duplicate key	{"id":"a","method":"GET","path":"/api/agents/me","path":"/api/secrets",$rest}
	duplicate, escaped	duplicate key	{"id":"a","method":"GET","path":"/api/agents/me","p\\\\u0061th":"/api/secrets",$rest}
	duplicate header	bad headers	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{"accept":"a","accept":"b"},"body":"","createdAt":"t"}
	duplicate header, escaped	bad headers	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{"accept":"a","\\\\u0061ccept":"b"},"body":"","createdAt":"t"}
	header is a number	bad headers	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{"accept":1},"body":"","createdAt":"t"}
	header is a list	bad headers	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{"accept":["a","b"]},"body":"","createdAt":"t"}
	headers is a list	bad headers	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":[],"body":"","createdAt":"t"}
	no id	bad id	{"method":"GET","path":"/api/agents/me",$rest}
	id climbs	bad id	{"id":"../a","method":"GET","path":"/api/agents/me",$rest}
	id is a number	bad id	{"id":1,"method":"GET","path":"/api/agents/me",$rest}
	method is a number	bad method	{"id":"a","method":1,"path":"/api/agents/me",$rest}
	method is empty	bad method	{"id":"a","method":"","path":"/api/agents/me",$rest}
	method has more	bad method	{"id":"a","method":"GET / HTTP/1.1\\\\r\\\\nx: ","path":"/api/agents/me",$rest}
	no path	bad path	{"id":"a","method":"GET",$rest}
	path is a list	bad path	{"id":"a","method":"GET","path":["/api/agents/me"],$rest}
	no query	bad query	{"id":"a","method":"GET","path":"/api/agents/me","headers":{},"body":"","createdAt":"t"}
	no body	bad body	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{},"createdAt":"t"}
	body is an object	bad body	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{},"body":{},"createdAt":"t"}
	other encoding	bad body	{"id":"a","method":"GET","path":"/api/agents/me",$rest,"bodyEncoding":"hex"}
	unpadded base64	bad body	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{},"body":"YQ","bodyEncoding":"base64","createdAt":"t"}
	loose base64	bad body	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{},"body":"YR==","bodyEncoding":"base64","createdAt":"t"}
	no time	bad createdAt	{"id":"a","method":"GET","path":"/api/agents/me","query":"","headers":{},"body":""}
	no patience	bad timeoutMs	{"id":"a","method":"GET","path":"/api/agents/me",$rest,"timeoutMs":0}
	too patient	bad timeoutMs	{"id":"a","method":"GET","path":"/api/agents/me",$rest,"timeoutMs":600001}
	a fraction	bad timeoutMs	{"id":"a","method":"GET","path":"/api/agents/me",$rest,"timeoutMs":1.5}
	negative rest	bad remainingMs	{"id":"a","method":"GET","path":"/api/agents/me",$rest,"remainingMs":-1}
	no status	bad status	{"id":"a","status":"200"}
	status 199	bad status	{"id":"a","status":199}
	EOF
	each_vector vectors invalid_line
}

@test "pc-allow: a line over the limit is dropped once, whatever its length" {
	{ head -c 20000000 /dev/zero | tr '\0' a; echo; request GET /api/agents/me; } >in
	run --separate-stderr pc-allow <in
	[ "$output" = "$(request GET /api/agents/me)" ]
	[ "$stderr" = "pc-allow: line 1: over the limit" ]
	head -c 20000000 /dev/zero >in
	run --separate-stderr pc-allow <in
	[ -z "$output" ]
	[ "$stderr" = "pc-allow: line 1: over the limit" ]
}

@test "pc-allow: the last line needs no newline, but all of itself" {
	request GET /api/agents/me >in
	head -c -1 in | pc-allow | cmp - in
	head -c -2 in >cut
	run --separate-stderr pc-allow <cut
	[ -z "$output" ]
	[ "$stderr" = "pc-allow: line 1: not JSON" ]
}

@test "pc-allow: responses, reports and keep-alives go through as they are" {
	{
		echo '{"id":"a","status":200,"headers":{"X":"y"},"body":"z", "k":1}'
		echo
		echo '{"wrote":true,"id":"a"}'
		echo '{"id":"b","status":404,"headers":{"a":1},"body":"","bodyEncoding":"base64"}'
		printf '{"id":"c","status":200,"body":"%s"}\n' \
		    "$(head -c 300000 /dev/zero | tr '\0' b)"
	} >in
	pc-allow <in | cmp - in
}

@test "pc-allow: an answer does not wait for more input" {
	mkfifo up down
	pc-allow <up >down 3>&- &
	exec 7>up 8<down
	for want in '' "$(request GET /api/agents/me)" '{"id":"a","wrote":true}'; do
		printf '%s\n' "$want" >&7
		read -r -t 10 got <&8
		[ "$got" = "$want" ]
	done
	exec 7>&-
	wait $!
}

@test "pc-allow: what is read at once is written at once" {
	for i in $(seq 100); do request GET "/api/issues/$i"; done >in
	strace -qqf -e trace=write -e write=none -o calls pc-allow <in | cmp - in
	[ "$(grep -c '(1, ' calls)" -eq 1 ]
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
	PAPERCLIP_BRIDGE_MAX_BODY_BYTES=999 run pc-allow <in
	[ "$(jq -r .status <<<"$output")" = 413 ]
	run pc-allow <in
	[ "$(jq -r .method <<<"$output")" = POST ]
}

@test "pc-allow: 20,000 lines at once come out in order, none lost" {
	seq 20000 | sed "s|.*|$(request GET '/api/issues/&' | sed 's/r1/r\&/')|" >in
	[ "$(sed -n 20000p in)" = "$(request GET /api/issues/20000 | sed s/r1/r20000/)" ]
	pc-allow <in | cmp - in
	sed '3~3s/GET/PUT/' in | pc-allow >out
	[ "$(grep -c '"status":403' out)" -eq 6666 ]
	[ "$(jq -r .id out)" = "$(seq -f r%.0f 20000)" ]
}

@test "pc-allow: --print-rules prints rules that are the same rules" {
	pc-allow --print-rules >a
	pc-allow -r a --print-rules | cmp - a
	[ "$(wc -l <a)" -eq 56 ]
	pc-allow -r @2026.916 --print-rules >b
	pc-allow -r b --print-rules | cmp - b
	[ "$(wc -l <b)" -eq 76 ]
	[ -z "$(sort b | uniq -d)" ]
}

# page_rules HEADING - what pc-rules(5) lists below it.
page_rules() {
	sed -n "/^\.Ss $1/,/^\.S[sh] [^T]/{/^\.Bd/,/^\.Ed/{/^\./!p}}" \
	    "$BATS_TEST_DIRNAME/../man/pc-rules.5"
}
@test "pc-allow: the built-in rules are those of pc-rules(5)" {
	page_rules 'The default rules' >page
	pc-allow -r page --print-rules >rules
	head -n 56 rules | cmp - <(pc-allow --print-rules)
	[ "$(wc -l <rules)" -eq 76 ]
	cmp <(sort rules) <(pc-allow -r @2026.916 --print-rules | sort)
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

@test "pc-allow: a path of very many segments matches no shorter rule" {
	more=$(printf '/x%.0s' {1..512})
	for n in 1 61 64 255 256 257 512; do
		run -1 pc-allow --check GET "/api/issues/7${more:0:$((2 * n))}"
		[ "$output" = 'no rule allows it' ]
	done
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
	bad_rules "line 1: a wildcard needs a name of letters, digits and _" 'GET /:\n'
	bad_rules "line 1: a wildcard needs a name of letters, digits and _" 'GET /:.txt\n'
	bad_rules "line 1: after a wildcard's name comes a slash, or an ending that begins with a dot" 'GET /:issue-id\n'
	bad_rules "line 1: after a wildcard's name comes a slash, or an ending that begins with a dot" 'GET /:a:b\n'
	for plain in '/a:b' '/a?b' '/a%20' '/{a,b}' '/a[/b]' '/^a$' '/"a"' '/\0303\0251' '/:a.*'; do
		bad_rules "line 1: only :name is a wildcard, and only plain characters are matched" "GET $plain\n"
	done
	bad_rules "line 1: not a method" 'G@T /a\n'
	bad_rules "line 1: not a method" "$(printf '%033d' 0) /a"
	bad_rules "line 1: only :name is a wildcard, and only plain characters are matched" 'GET /a*\n'
	bad_rules "line 1: dot segment in a pattern" 'GET /a/../b\n'
	bad_rules "line 2: NUL in the rules" 'GET /a\nGET /b\0\n'
	bad_rules "line 1: too many segments" "GET $(printf '/a%.0s' {1..65})"
	bad_rules "line 2: too many rules" "GET$(printf ' /a%.0s' {1..4096})\nGET /b\n"
	bad_rules "File too large" "$(head -c 1048577 /dev/zero | tr '\0' '#')"
	run --separate-stderr -100 pc-allow -r nowhere
	[ "$stderr" = "pc-allow: nowhere: No such file or directory" ]
	run --separate-stderr -100 pc-allow -r @other
	[ "$stderr" = "pc-allow: @other: no such built-in rules" ]
}

@test "pc-allow: as many rules as there may be, and the last one counts" {
	seq -f 'GET /n/%.0f' 4095 >r
	printf 'GET %s' "$(printf '/a%.0s' {1..64})" >>r
	pc-allow -r r --check GET /n/4095
	pc-allow -r r --check GET "$(printf '/a%.0s' {1..64})"
	run -1 pc-allow -r r --check GET /n/4096
}

@test "pc-allow: of several rules that match, the first is named" {
	printf 'GET /a/:x\nGET /:y/b\nGET /a/b\n' >r
	run -0 pc-allow -r r --check GET /a/b
	[ "$output" = 'GET /a/:x' ]
	run -0 pc-allow -r r --check GET /c/b
	[ "$output" = 'GET /:y/b' ]
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

@test "pc-allow: -h and -V" {
	run -0 pc-allow -h
	[[ $output == "usage: pc-allow "* ]]
	run -0 pc-allow --version
	[[ $output == "pc-allow "* ]]
}

@test "pc-allow: no input is done; a full stdout, or a reader that left, is exit 111" {
	run -0 pc-allow </dev/null
	request GET /api/agents/me >in
	run --separate-stderr -111 sh -c 'pc-allow <in >/dev/full'
	[ "$stderr" = "pc-allow: stdout: No space left on device" ]
	run --separate-stderr -111 sh -c 'pc-allow --print-rules >/dev/full'
	exec 7> >(:)
	wait $!
	run --separate-stderr -111 sh -c 'pc-allow <in >&7'
	[ "$stderr" = "pc-allow: stdout: Broken pipe" ]
	exec 7>&-
	run --separate-stderr -100 sh -c 'pc-allow <.'
	[ "$stderr" = "pc-allow: stdin: Is a directory" ]
}

@test "pc-allow: a request that there is no memory for is not dropped, but 111" {
	make_long pc-allow
	run --separate-stderr -111 short_of_memory pc-allow -m 128M
	[ "$stderr" = "pc-allow: memory: Cannot allocate memory" ]
	[ -z "$output" ]
}
