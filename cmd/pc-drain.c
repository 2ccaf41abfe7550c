/*
 * pc-drain - claim pending requests and print them, a line each.
 *
 * Guarantees: exactly one drain wins a request, and only a winner prints it;
 * what is printed was checked and written anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "drain.h"
#include "id.h"
#include "io.h"
#include "presence.h"
#include "sweep.h"

static const char help[] =
"usage: pc-drain [-q DIR] [-w DURATION | --no-wait] [-n MAX]\n"
"       pc-drain [-q DIR] -f [-n MAX] [--respond] [--recover]\n"
"       pc-drain [-q DIR] --recover | --fail MESSAGE | --peek | --sweep |"
" --status\n"
"Claims pending requests and prints a line for each.\n"
"  -f, --follow             until the output closes, TERM or INT\n"
"  -h, --help               this text\n"
"  -m, --max-body SIZE      limit of a decoded body (256K)\n"
"  -n, --max MAX            claims open at once; in a batch, lines (16)\n"
"  -q, --queue DIR          the queue ($PAPERCLIP_BRIDGE_QUEUE_DIR)\n"
"  -V, --version\n"
"  -w, --wait DURATION      how long to wait for the first one (25s)\n"
"      --echo               --respond: answer an empty line with one\n"
"      --epoch N            claim nothing once a drain with a greater N came\n"
"      --except FILE        --recover: ids, a line each, to leave alone;\n"
"                           -: from stdin, up to an empty line\n"
"      --existing           the queue must be there already, or exit 1\n"
"      --fail MESSAGE       answer what is pending 503 (--respond: publish)\n"
"      --group              folders and files for a group of users\n"
"      --json               --status for a program\n"
"      --keep-alive DURATION  --respond: a line is due this often (10s)\n"
"      --max-bytes SIZE     of a batch's output (no limit)\n"
"      --no-wait            take what is there, wait for nothing\n"
"      --peek               print what is pending, claim nothing\n"
"      --recover            take over what is claimed and unanswered\n"
"      --respond            also publish response lines from stdin\n"
"      --status             what is in the queue, and is its gateway up\n"
"      --sweep              remove what has expired\n";

enum {
	OPT_ECHO = 256, OPT_EPOCH, OPT_EXCEPT, OPT_EXISTING, OPT_FAIL,
	OPT_GROUP, OPT_JSON, OPT_KEEP_ALIVE, OPT_MAX_BYTES, OPT_NO_WAIT,
	OPT_PEEK, OPT_RECOVER, OPT_RESPOND, OPT_STATUS, OPT_SWEEP
};

static const struct option options[] = {
	{ "echo", no_argument, NULL, OPT_ECHO },
	{ "epoch", required_argument, NULL, OPT_EPOCH },
	{ "except", required_argument, NULL, OPT_EXCEPT },
	{ "existing", no_argument, NULL, OPT_EXISTING },
	{ "fail", required_argument, NULL, OPT_FAIL },
	{ "follow", no_argument, NULL, 'f' },
	{ "group", no_argument, NULL, OPT_GROUP },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "keep-alive", required_argument, NULL, OPT_KEEP_ALIVE },
	{ "max", required_argument, NULL, 'n' },
	{ "max-body", required_argument, NULL, 'm' },
	{ "max-bytes", required_argument, NULL, OPT_MAX_BYTES },
	{ "no-wait", no_argument, NULL, OPT_NO_WAIT },
	{ "peek", no_argument, NULL, OPT_PEEK },
	{ "queue", required_argument, NULL, 'q' },
	{ "recover", no_argument, NULL, OPT_RECOVER },
	{ "respond", no_argument, NULL, OPT_RESPOND },
	{ "status", no_argument, NULL, OPT_STATUS },
	{ "sweep", no_argument, NULL, OPT_SWEEP },
	{ "version", no_argument, NULL, 'V' },
	{ "wait", required_argument, NULL, 'w' },
	{ NULL, 0, NULL, 0 }
};

enum mode { MODE_TAKE, MODE_FAIL, MODE_PEEK, MODE_STATUS, MODE_SWEEP };

struct command {
	struct drain_options drain;
	const char *dir, *except, *message;
	enum mode mode;
	int64_t wait_ms;	/* as for drain_batch() */
	int queue_flags;
	bool existing, follow, recover, json;
};

/* Only one mode: a second is a mistake. */
static void
set_mode(struct command *c, enum mode mode)
{
	if (c->mode != MODE_TAKE)
		cli_usage("only one of --fail, --peek, --status, --sweep");
	c->mode = mode;
}

static void
parse_options(struct command *c, int argc, char *argv[])
{
	int opt;

	while ((opt = getopt_long(argc, argv, ":fhm:n:q:Vw:", options,
	    NULL)) != -1)
		switch (opt) {
		case 'f':
			c->follow = true;
			break;
		case 'h':
			cli_help(help);
		case 'm':
			c->drain.body_max = cli_body_max(optarg);
			break;
		case 'n':
			c->drain.claims_max = cli_count("-n", optarg, 65536);
			break;
		case 'q':
			c->dir = optarg;
			break;
		case 'V':
			cli_version();
		case 'w':
			c->wait_ms = cli_duration("-w", optarg);
			break;
		case OPT_ECHO:
			c->drain.echo = true;
			break;
		case OPT_EPOCH:
			c->drain.has_epoch = true;
			c->drain.epoch = cli_number("--epoch", optarg,
			    UINT64_MAX / 2);
			break;
		case OPT_EXCEPT:
			c->except = optarg;
			break;
		case OPT_EXISTING:
			c->existing = true;
			break;
		case OPT_FAIL:
			set_mode(c, MODE_FAIL);
			c->message = optarg;
			break;
		case OPT_GROUP:
			c->queue_flags |= QUEUE_GROUP;
			break;
		case OPT_JSON:
			c->json = true;
			break;
		case OPT_KEEP_ALIVE:
			c->drain.keep_alive_ms = cli_duration("--keep-alive",
			    optarg);
			break;
		case OPT_MAX_BYTES:
			c->drain.bytes_max = cli_size("--max-bytes", optarg);
			break;
		case OPT_NO_WAIT:
			c->wait_ms = -1;
			break;
		case OPT_PEEK:
			set_mode(c, MODE_PEEK);
			break;
		case OPT_RECOVER:
			c->recover = true;
			break;
		case OPT_RESPOND:
			c->drain.respond = true;
			break;
		case OPT_STATUS:
			set_mode(c, MODE_STATUS);
			break;
		case OPT_SWEEP:
			set_mode(c, MODE_SWEEP);
			break;
		default:
			cli_bad_option(opt, argv, options);
		}
	if (optind != argc)
		cli_usage("no operands");
	if (c->mode != MODE_TAKE && (c->follow || c->recover))
		cli_usage("-f and --recover go with claiming only");
	if (c->drain.respond && !c->follow && c->mode != MODE_FAIL)
		cli_usage("--respond goes with -f or --fail");
	if (c->drain.echo && !c->drain.respond)
		cli_usage("--echo goes with --respond");
	if (c->except != NULL && !c->recover)
		cli_usage("--except goes with --recover");
	if (c->json && c->mode != MODE_STATUS)
		cli_usage("--json goes with --status");
	if (c->message != NULL && !utf8_is_valid(span_of(c->message)))
		cli_fail(EXIT_NEVER, "--fail", "not UTF-8");
	c->dir = cli_queue_dir(c->dir);
}

/* Writes what is in d->out; what cannot be written is answered by us. */
static void
print_all(struct drain *d)
{
	ssize_t n;

	while (d->out.len > 0) {
		n = write(STDOUT_FILENO, d->out.data, d->out.len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1) {
			int error = errno;

			drain_answer_unprinted(d, MESSAGE_STOPPED);
			cli_fail(EXIT_LATER, "stdout", strerror(error));
		}
		drain_wrote(d, (size_t)n);
	}
}

/* One of the ids that the caller still holds. */
static void
add_except(struct idmap *map, struct span line, const char *file)
{
	struct idmap_node *node;
	char *id;

	if ((id = strndup(line.p, line.n)) == NULL)
		cli_fail_errno(file);
	if (idmap_get(map, cli_id(id)) != NULL) {
		free(id);
		return;
	}
	node = calloc(1, sizeof(*node));
	if (node != NULL)
		node->id = id;
	if (node == NULL || idmap_add(map, node) == -1)
		cli_fail_errno(file);
}

/*
 * From a file to its end; from stdin up to an empty line, a byte at a time,
 * since what follows that is for others.
 */
static void
read_except(const char *file, struct idmap *map)
{
	struct lines l = { .fd = STDIN_FILENO, .max = ID_MAX };
	bool own = strcmp(file, "-") != 0;
	enum lines_result kind;
	struct span line;
	ssize_t n;

	if (own && (l.fd = open(file, O_RDONLY | O_CLOEXEC)) == -1)
		cli_fail_errno(file);
	do {
		n = own ? lines_fill(&l) : io_read_some(l.fd, &l.in, 1);
		if (n == -1)
			cli_fail_errno(file);
		while ((kind = lines_next(&l, &line)) == LINES_LINE) {
			if (line.n == 0 && !own)
				goto out;
			if (line.n > 0)
				add_except(map, line, file);
		}
		if (kind == LINES_TOO_LONG)
			cli_fail(EXIT_NEVER, file, "not a request id");
	} while (n > 0);
	if (lines_last(&l, &line))
		add_except(map, line, file);
out:
	if (own)
		io_close(l.fd);
	lines_free(&l);
}

static int
recover(const struct command *c, struct drain *d)
{
	struct idmap except = { 0 };
	int lock;

	lock = drain_lock(d->q, true, c->drain.has_epoch ? 5000 : 0);
	if (lock == -1 && errno == EAGAIN)
		cli_fail(EXIT_NO, c->dir, "another drain is following");
	if (lock == -1)
		cli_fail_errno(c->dir);
	if (c->except != NULL)
		read_except(c->except, &except);
	if (drain_recover(d, &except) == -1)
		cli_fail_errno(c->dir);
	return lock;
}

static int
follow(const struct command *c, struct drain *d, const sigset_t *unblocked)
{
	enum follow_result result;
	int lock;

	lock = c->recover ? recover(c, d) : drain_lock(d->q, false, 5000);
	d->lock = lock;
	if (lock == -1 && errno == EAGAIN)
		cli_fail(EXIT_LATER, c->dir, "another drain is recovering");
	if (lock == -1 || (c->recover && drain_lock_share(lock) == -1))
		cli_fail_errno(c->dir);
	result = drain_follow(d, STDIN_FILENO, STDOUT_FILENO, &cli_stop,
	    unblocked);
	switch (result) {
	case FOLLOW_ENDED:
		return EXIT_YES;
	case FOLLOW_SUPERSEDED:
		cli_warn(c->dir, "a drain with a greater epoch has come");
		return EXIT_NO;
	case FOLLOW_SILENT:
		cli_warn("stdin", "silent for too long: the channel is dead");
		return EXIT_LATER;
	default:
		cli_fail_errno("stdout");
	}
}

/* A long batch is printed in parts, so that it is never held whole. */
static bool
drain_more(const struct command *c, struct drain *d)
{
	ssize_t taken;

	if (c->drain.bytes_max != 0)
		return false;
	taken = drain_take_all(d);
	if (taken == -1 && errno != ESTALE)
		d->claim_error = errno;
	return taken > 0;
}

static int
batch(const struct command *c, struct drain *d, const sigset_t *unblocked)
{
	if (c->recover) {
		(void)recover(c, d);
		if (d->out.len == 0)
			return EXIT_NO;
	} else if (drain_batch(d, c->wait_ms, &cli_stop, unblocked) == -1) {
		if (errno == ESTALE)
			cli_fail(EXIT_NO, c->dir,
			    "a drain with a greater epoch has come");
		if (errno == EAGAIN)
			return EXIT_NO;
		if (errno == EINTR)
			return 128 + cli_stop;
		cli_fail_errno(c->dir);
	}
	do
		print_all(d);
	while (!c->recover && drain_more(c, d));
	/* What was printed counts; the others are still to be had. */
	if (d->claim_error != 0)
		cli_warn(c->dir, strerror(d->claim_error));
	return EXIT_YES;
}

/* The answers go where they belong: 0, or -1 with errno if one did not. */
static int
publish_all(const struct command *c, struct drain *d)
{
	struct responder r = { .q = d->q, .body_max = c->drain.body_max };
	struct buf reports = { 0 };
	struct span line;
	const char *end;

	for (line = buf_span(&d->out); line.n > 0; line.p = end + 1) {
		end = memchr(line.p, '\n', line.n);
		line.n = (size_t)(end - line.p);
		(void)respond_line(&r, line, &reports);
		line.n = (size_t)(d->out.data + d->out.len - (end + 1));
	}
	cli_out_buf(&reports);
	buf_free(&reports);
	responder_free(&r);
	errno = r.error;
	return r.error == 0 ? 0 : -1;
}

static int
fail_all(const struct command *c, struct drain *d)
{
	int error = 0;

	if (drain_fail(d, c->message) == -1)
		error = errno;
	if (buf_failed(&d->out))
		cli_fail_memory(EXIT_LATER);
	if (d->out.len == 0 && error == 0)
		return EXIT_NO;
	if (!c->drain.respond)
		print_all(d);
	else if (publish_all(c, d) == -1)
		error = errno;
	if (error == 0)
		return EXIT_YES;
	cli_warn(c->dir, strerror(error));
	return EXIT_LATER;
}

static int
peek(const struct command *c, struct drain *d)
{
	enum drain_result result;
	size_t shown = 0;
	char *id;

	if (drain_scan(d) == -1)
		cli_fail_errno(c->dir);
	while (shown < c->drain.claims_max &&
	    (id = pending_take(&d->pending)) != NULL) {
		result = drain_peek(d, id);
		if (result == DRAIN_FAILED)
			cli_fail_errno(c->dir);
		if (result == DRAIN_TOOK) {
			shown++;
			print_all(d);
		}
		free(id);
	}
	return shown > 0 ? EXIT_YES : EXIT_NO;
}

static void
put_row(struct buf *out, const char *name, size_t value)
{
	buf_add_str(out, name);
	buf_add_int(out, (int64_t)value);
	buf_add_char(out, '\n');
}

static void
put_status(struct buf *out, const struct sweep *s, const struct presence *g)
{
	char age[32];

	put_row(out, "pending   ", s->pending);
	put_row(out, "claimed   ", s->claimed);
	put_row(out, "answered  ", s->answered);
	buf_add_str(out, "oldest    ");
	if (s->oldest_ms < 0)
		snprintf(age, sizeof(age), "-");
	else
		snprintf(age, sizeof(age), "%.1f s",
		    (double)s->oldest_ms / 1000);
	buf_add_str(out, age);
	buf_add_str(out, "\ngateway   ");
	if (!g->up) {
		buf_add_str(out, "down\n");
		return;
	}
	buf_add_str(out, "up, pid ");
	buf_add_int(out, g->pid);
	buf_add_char(out, '\n');
}

static void
put_status_json(struct buf *out, const struct sweep *s,
    const struct presence *g)
{
	buf_add_str(out, "{");
	json_put_key(out, "pending");
	buf_add_int(out, (int64_t)s->pending);
	json_put_key(out, "claimed");
	buf_add_int(out, (int64_t)s->claimed);
	json_put_key(out, "answered");
	buf_add_int(out, (int64_t)s->answered);
	json_put_key(out, "oldestMs");
	if (s->oldest_ms < 0)
		buf_add_str(out, "null");
	else
		buf_add_int(out, s->oldest_ms);
	json_put_key(out, "gateway");
	buf_add_str(out, g->up ? "true" : "false");
	if (g->up) {
		json_put_key(out, "gatewayPid");
		buf_add_int(out, g->pid);
	}
	buf_add_str(out, "}\n");
}

static int
show_status(const struct command *c, struct queue *q)
{
	struct buf out = { 0 };
	struct presence gateway;
	struct sweep s;

	if (sweep_run(q, c->drain.body_max, true, &s) == -1)
		cli_fail_errno(c->dir);
	if (presence_look(q, &gateway) == -1)
		cli_fail_errno(c->dir);
	if (c->json)
		put_status_json(&out, &s, &gateway);
	else
		put_status(&out, &s, &gateway);
	cli_out_buf(&out);
	buf_free(&out);
	return EXIT_YES;
}

static int
run(const struct command *c, struct queue *q, const sigset_t *unblocked)
{
	struct sweep swept;
	struct drain d;
	int status;

	drain_start(&d, q, &c->drain);
	if (c->drain.has_epoch &&
	    epoch_open(&d.epoch, q, c->drain.epoch) == -1) {
		if (errno == ESTALE)
			cli_fail(EXIT_NO, c->dir,
			    "a drain with a greater epoch has come");
		cli_fail_errno(c->dir);
	}
	switch (c->mode) {
	case MODE_FAIL:
		status = fail_all(c, &d);
		break;
	case MODE_PEEK:
		status = peek(c, &d);
		break;
	case MODE_STATUS:
		status = show_status(c, q);
		break;
	case MODE_SWEEP:
		if (sweep_run(q, c->drain.body_max, false, &swept) == -1)
			cli_fail_errno(c->dir);
		status = EXIT_YES;
		break;
	default:
		status = c->follow ? follow(c, &d, unblocked) :
		    batch(c, &d, unblocked);
	}
	drain_free(&d);
	return status;
}

int
main(int argc, char *argv[])
{
	struct command c = { .wait_ms = 25000 };
	sigset_t unblocked;
	struct queue q;
	int status;

	cli_start("pc-drain");
	c.drain.claims_max = DRAIN_CLAIMS_MAX;
	c.drain.body_max = cli_env_body_max();
	c.drain.poll_ms = cli_env_poll_ms();
	c.drain.keep_alive_ms = DRAIN_KEEP_ALIVE_MS;
	c.drain.warn = cli_warn;
	parse_options(&c, argc, argv);
	cli_catch_stop(&unblocked);
	if (c.mode == MODE_PEEK || c.mode == MODE_STATUS)
		c.queue_flags |= QUEUE_LOOK;
	else if (c.follow)
		c.queue_flags |= QUEUE_CREATE;
	if (c.existing && access(c.dir, F_OK) == -1)
		cli_fail(EXIT_NO, c.dir, strerror(errno));
	if (queue_open(&q, c.dir, c.queue_flags) == -1)
		cli_fail_errno(c.dir);
	status = run(&c, &q, &unblocked);
	queue_close(&q);
	return status;
}
