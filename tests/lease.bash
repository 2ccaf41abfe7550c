# Stores for the tests of pc-lease: a file, and a server that is started for
# one test file, as another user than root, on a socket of its own.

# shellcheck disable=SC2034
STORES=(sqlite postgresql)

# become COMMAND... - in a subshell, which it replaces: its pid is that one's
become() {
	[ "$(id -u)" -ne 0 ] || set -- setpriv --reuid=postgres \
	    --regid=postgres --clear-groups "$@"
	exec "$@"
}

# The newest that is installed.
server_bin() {
	find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin | sort -V |
	    tail -n 1
}

start_server() {
	local i
	become "$SERVER_BIN/postgres" -D "$SERVER_HOME/data" -k "$SERVER_HOME" \
	    -c listen_addresses= -c fsync=off \
	    >>"$SERVER_HOME/log" 2>&1 3>&- 7>&- 8>&- &
	echo $! >"$SERVER_HOME/pid"
	for ((i = 0; i < 1000; i++)); do
		query postgres 'SELECT 1' >"$SERVER_HOME/ready" 2>&1 && return
		sleep 0.01
	done
	cat "$SERVER_HOME/ready" "$SERVER_HOME/log"
	return 1
}

stop_server() {
	local i pid
	pid=$(<"$SERVER_HOME/pid")
	kill -INT "$pid" 2>/dev/null || :
	for ((i = 0; i < 1000; i++)); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.01
	done
	kill -QUIT "$pid"
}

make_server() {
	SERVER_BIN=$(server_bin)
	SERVER_HOME=$(mktemp -d "${TMPDIR:-/tmp}/pc-lease.XXXXXX")
	export SERVER_BIN SERVER_HOME
	[ "$(id -u)" -ne 0 ] || chown postgres "$SERVER_HOME"
	(cd "$SERVER_HOME" && become "$SERVER_BIN/initdb" -D "$SERVER_HOME/data" \
	    -U lease -A trust --no-sync --no-locale -E UTF8 >"$SERVER_HOME.log" \
	    2>&1)
	mv "$SERVER_HOME.log" "$SERVER_HOME/initdb"
	(cd "$SERVER_HOME" && start_server)
}

remove_server() {
	stop_server
	rm -rf "$SERVER_HOME"
}

# query DATABASE STATEMENT
query() {
	"$SERVER_BIN/psql" -h "$SERVER_HOME" -U lease -d "$1" -XqAt -v ON_ERROR_STOP=1 \
	    -c "$2"
}

# use KIND - a store that is empty
use() {
	KIND=$1
	echo "store: $KIND"
	stores=$((${stores:-0} + 1))
	if [ "$KIND" = sqlite ]; then
		DATABASE=$PWD/store$stores.db
		export PC_STORE=$DATABASE
	else
		DATABASE=t$$_${BATS_TEST_NUMBER:-0}_$stores
		query postgres "CREATE DATABASE $DATABASE"
		export PC_STORE="postgresql://lease@/$DATABASE?host=$SERVER_HOME"
	fi
}

# sql STATEMENT - past pc-lease; columns are separated by |
sql() {
	if [ "$KIND" = sqlite ]; then
		python3 - "$DATABASE" "$1" <<'END'
import sqlite3
import sys

with sqlite3.connect(sys.argv[1], timeout=10) as db:
    for row in db.execute(sys.argv[2]):
        print(*row, sep="|")
END
	else
		query "$DATABASE" "$1"
	fi
}
