# Exec channels for tests: ssh to an sshd of our own, a container made from an
# empty image, bwrap without network, and one that returns everything at the
# end.  Each is set up once for a file, in $BATS_FILE_TMPDIR.

TOP=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
STATIC=$TOP/bin/static/pc-tools
PODMAN=(podman --runtime=/usr/sbin/runc --cgroup-manager=cgroupfs
    --storage-driver=vfs)

# json_words WORD... - as an array of strings
json_words() {
	jq -nc '$ARGS.positional' --args -- "$@"
}

# start_api - an API on loopback; its URL in $API, its token in PC_API_TOKEN.
start_api() {
	export PC_API_TOKEN=host-secret-$$
	mkfifo port
	python3 "$BATS_TEST_DIRNAME/api.py" "${1:-0}" >port 2>api.log 3>&- &
	pids+=("$!")
	API=http://127.0.0.1:$(head -n 1 port)
	rm port
}

# api METHOD PATH [CURL ARGUMENT...] - straight to it, as somebody else
api() {
	local method=$1 path=$2
	shift 2
	curl -sS --noproxy '*' -m 10 -X "$method" \
	    -H "Authorization: Bearer $PC_API_TOKEN" \
	    -H 'Content-Type: application/json' "$@" "$API$path"
}

free_port() {
	python3 -c 'import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

# start_sshd DIR - keys and a server there, its pid in DIR/pid; how to use it
# in DIR/ssh_config, as the host "box", with one connection for all.
start_sshd() {
	local dir=$1 port
	mkdir -p "$dir"
	[ -e "$dir/host" ] || ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
	[ -e "$dir/user" ] || ssh-keygen -q -t ed25519 -N '' -f "$dir/user"
	[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
	[ -e "$dir/port" ] || free_port >"$dir/port"
	port=$(cat "$dir/port")
	cat >"$dir/sshd_config" <<-CONFIG
	ListenAddress 127.0.0.1:$port
	HostKey $dir/host
	AuthorizedKeysFile $dir/user.pub
	PidFile $dir/pid
	StrictModes no
	UsePAM no
	PasswordAuthentication no
	KbdInteractiveAuthentication no
	PermitRootLogin prohibit-password
	MaxSessions 100
	MaxStartups 100
	SetEnv HOME=$dir
	LogLevel ERROR
	CONFIG
	cat >"$dir/ssh_config" <<-CONFIG
	Host box
	HostName 127.0.0.1
	Port $port
	User $(id -un)
	IdentityFile $dir/user
	IdentitiesOnly yes
	BatchMode yes
	StrictHostKeyChecking no
	UserKnownHostsFile $dir/known
	LogLevel ERROR
	ControlMaster auto
	ControlPath $dir/mux
	ControlPersist 60
	CONFIG
	/usr/sbin/sshd -f "$dir/sshd_config" -E "$dir/log" \
	    </dev/null >/dev/null 2>&1 3>&- 4>&-
	wait_until test -s "$dir/pid"
}

stop_sshd() {
	ssh -F "$1/ssh_config" -O exit box 2>/dev/null 3>&- || :
	[ ! -s "$1/pid" ] || kill "$(cat "$1/pid")" 2>/dev/null || :
}

# start_box NAME [MOUNT] - a container without network, from an empty image:
# there is nothing in it but our one file, and busybox if it is brought in.
start_box() {
	make_box "$1" </dev/null >"$BATS_FILE_TMPDIR/box.log" 2>&1 3>&- 4>&-
}

make_box() {
	local empty=$BATS_FILE_TMPDIR/empty
	mkdir -p "$empty"
	"${PODMAN[@]}" image exists pc-empty ||
	    tar -C "$empty" -cf - . | "${PODMAN[@]}" import -q - pc-empty
	"${PODMAN[@]}" create --name "$1" --network=none \
	    --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 pc-empty \
	    /pc-tools pc-exec --init
	"${PODMAN[@]}" cp "$STATIC" "$1:/pc-tools"
	"${PODMAN[@]}" start "$1"
}

stop_box() {
	"${PODMAN[@]}" rm -f -t 1 "$1" >/dev/null 2>&1
}

# The words of each channel, in $channel; where the workspace goes in $remote,
# and what else its configuration says in $more (members of "channel") and
# $tools (of "tools").
use_channel() {
	more='' tools="\"local\":\"$STATIC\""
	remote=$BATS_TEST_TMPDIR/remote
	case $1 in
	ssh)
		channel=(ssh -F "$BATS_FILE_TMPDIR/ssh/ssh_config" box) ;;
	podman)
		channel=("${PODMAN[@]}" exec -i "$(cat "$BATS_FILE_TMPDIR/box")")
		remote=/work$BATS_TEST_NUMBER
		tools+=',"remote":"/pc-tools"' ;;
	bwrap)
		mkdir -p "$remote"
		channel=(bwrap --ro-bind / / --dev /dev --proc /proc
		    --tmpfs /tmp --bind "$remote" "$remote" --unshare-net
		    --unshare-pid --die-with-parent) ;;
	batch)
		channel=("$BATS_TEST_DIRNAME/batch-channel.py")
		more=',"stream":false,"text":true,"outputMax":"1M"' ;;
	esac
	# Counted, whichever it is.
	channel=("$BATS_TEST_DIRNAME/count-channel.sh"
	    "$BATS_TEST_TMPDIR/execs" "${channel[@]}")
}

# put_config [MEMBERS] - run.json: the channel in use, workspace W, the API;
# and further members.
put_config() {
	cat >run.json <<-JSON
	{"channel":{"argv":$(json_words "${channel[@]}")$more},
	"workspace":{"local":"W","remote":"$remote"},
	"api":{"url":"$API","rules":"$PWD/rules"},
	"tools":{$tools},"state":"$PWD/state"${1:+,$1}}
	JSON
}

# inside WORD... - an exec of the channel in use, not counted
inside() {
	"${channel[@]:2}" "$@"
}
