/*
 * pc-lease - environments, and who has a lease of one, in a store that
 * several hosts share (lib/lease.h has the invariants).
 *
 * This file has what all commands share: the store, on whose behalf, and how
 * a problem is said.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "lease_schema.h"
#include "leasecmd.h"

static const char help[] =
"usage: pc-lease [OPTION...] COMMAND [OPTION...] [OPERAND...]\n"
"Environments that agents run in, and leases of them.\n"
"  acquire [ENV]           get a lease        --workspace --issue --run\n"
"    -t --policy --provider --provider-lease --metadata --expiry --for\n"
"  renew LEASE --epoch N   keep it            --expiry --metadata\n"
"  release LEASE | --run R give it back       --epoch --status --reason\n"
"  run [ENV] -- COMMAND    a lease around it  as acquire; --heartbeat\n"
"    --grace --busy-status --report\n"
"  sweep                   end what is due    --retained --all-companies\n"
"  list, show LEASE        what there is      --env --run --status\n"
"  log                     what happened      -f -n --since\n"
"  env add|set ENV [-- CHANNEL...]            -c --driver --default\n"
"    --name --status\n"
"  env archive ENV, env list, env show [ENV]  --for\n"
"  batch                   commands on stdin, a line each\n"
"Everywhere:\n"
"  -h, --help              this text\n"
"  -V, --version\n"
"      --actor NAME        for the log ($PC_ACTOR, or host and pid)\n"
"      --company NAME      whose ($PC_COMPANY, or default)\n"
"      --json              a JSON object a line, also for errors\n"
"Before COMMAND:\n"
"      --store STORE       a file or postgresql://... ($PC_STORE)\n"
"      --store-wait DURATION  for each of its answers (10s)\n"
"Long forms: -c --config, -f --follow, -n --max, -t --timeout.\n";

#define ACQUIRE "uwiPplmxFt"

static const struct lease_command commands[] = {
	{ "acquire", lease_do_acquire, ACQUIRE, 0, 1, false, false },
	{ "batch", lease_do_batch, "", 0, 0, false, true },
	{ "env add", lease_env_add, "cdD", 1, 1, true, false },
	{ "env archive", lease_env_archive, "", 1, 1, false, false },
	{ "env list", lease_env_list, "", 0, 0, false, false },
	{ "env set", lease_env_set, "cdDNs", 1, 1, true, false },
	{ "env show", lease_env_show, "F", 0, 1, false, false },
	{ "list", lease_do_list, "esu", 0, 0, false, false },
	{ "log", lease_do_log, "fnS", 0, 0, false, false },
	{ "release", lease_do_release, "Esru", 0, 1, false, false },
	{ "renew", lease_do_renew, "Exm", 1, 1, false, false },
	{ "run", lease_do_run, ACQUIRE "gHbq", 0, 1, true, true },
	{ "show", lease_do_show, "", 1, 1, false, false },
	{ "sweep", lease_do_sweep, "AR", 0, 0, false, false }
};

const struct lease_command *
lease_command_find(char *const *words, int n, int *used)
{
	const char *name;
	size_t i, first;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]) && n > 0;
	    i++) {
		name = commands[i].name;
		first = strcspn(name, " ");
		if (strlen(words[0]) != first ||
		    memcmp(words[0], name, first) != 0)
			continue;
		if (name[first] == '\0') {
			*used = 1;
			return &commands[i];
		}
		if (n > 1 && strcmp(words[1], name + first + 1) == 0) {
			*used = 2;
			return &commands[i];
		}
	}
	return NULL;
}

int
lease_status_of_problem(const struct problem *p)
{
	switch (p->kind) {
	case PROBLEM_NO:
		return EXIT_NO;
	case PROBLEM_UNKNOWN:
		return EXIT_UNKNOWN;
	case PROBLEM_INPUT:
		return EXIT_NEVER;
	default:
		return EXIT_LATER;
	}
}

void
lease_put_message(struct buf *out, const struct problem *p)
{
	struct span text = span_of(problem_text(p));
	struct buf plain = { 0 };

	if (!utf8_is_valid(text)) {
		cli_put_escaped(&plain, text.p);
		text = buf_span(&plain);
	}
	json_put_string(out, text);
	buf_free(&plain);
}

void
lease_put_problem(struct buf *out, const struct problem *p)
{
	buf_add_str(out, "\"code\":");
	json_put_string(out, span_of(p->code));
	buf_add_str(out, ",\"message\":");
	lease_put_message(out, p);
}

void
lease_say_problem(bool json, const struct problem *p)
{
	struct buf line = { 0 };

	if (!json) {
		cli_warn(strcmp(p->code, "usage") == 0 ? "usage" : NULL,
		    problem_text(p));
		return;
	}
	buf_add_char(&line, '{');
	lease_put_problem(&line, p);
	buf_add_str(&line, "}\n");
	if (!buf_failed(&line))
		(void)!write(STDERR_FILENO, line.data, line.len);
	buf_free(&line);
}

static _Noreturn void
fail(bool json, const struct problem *p)
{
	lease_say_problem(json, p);
	exit(lease_status_of_problem(p));
}

/* --- whose, and where ------------------------------------------------------- */

static const char *
env_or(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value != NULL && *value != '\0' ? value : fallback;
}

static const char *
default_actor(void)
{
	static char name[96];
	char host[64];

	if (gethostname(host, sizeof(host)) == -1)
		host[0] = '\0';
	host[sizeof(host) - 1] = '\0';
	(void)snprintf(name, sizeof(name), "%s/%ld", host, (long)getpid());
	return name;
}

/* $XDG_STATE_HOME/pc-tools/lease.db, whose folder is made. */
static const char *
default_store(void)
{
	const char *home = getenv("XDG_STATE_HOME"), *sub = "";
	static struct buf path;
	size_t n;

	if (home == NULL || home[0] != '/') {
		home = getenv("HOME");
		sub = "/.local/state";
	}
	if (home == NULL || home[0] != '/')
		cli_fail(EXIT_NEVER, "HOME", "no place for the store; "
		    "give --store, or set PC_STORE");
	buf_add_str(&path, home);
	buf_add_str(&path, sub);
	buf_add_str(&path, "/pc-tools");
	n = path.len;
	buf_add_char(&path, '\0');
	if (buf_failed(&path))
		cli_fail_memory(EXIT_LATER);
	if (cli_make_folders(path.data, 0700) == -1)
		cli_fail_errno(path.data);
	path.len = n;
	buf_add_str(&path, "/lease.db");
	buf_add_char(&path, '\0');
	if (buf_failed(&path))
		cli_fail_memory(EXIT_LATER);
	return path.data;
}

static void
open_session(struct lease_session *x, const struct lease_args *a,
    struct problem *p)
{
	const char *where = a->store != NULL ? a->store :
	    env_or("PC_STORE", NULL);

	x->json = a->json;
	x->caller = (struct caller){
	    .company = a->company != NULL ? a->company :
	    env_or("PC_COMPANY", "default"),
	    .actor = a->actor != NULL ? a->actor :
	    env_or("PC_ACTOR", default_actor()),
	    .run = a->run != NULL ? a->run : "" };
	if (where == NULL)
		where = default_store();
	/* For ever is as long as there is a number for. */
	x->store_wait = a->store_wait > 0 && a->store_wait < INT32_MAX ?
	    a->store_wait : INT32_MAX;
	if (store_open(&x->s, where, x->store_wait, p) == -1 ||
	    lease_schema_ready(x->s, p) == -1)
		fail(x->json, p);
}

/* -h and -V, wherever they stand before a --. */
static void
look_for_help(int argc, char *argv[])
{
	int i;

	for (i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "-h") == 0 ||
		    strcmp(argv[i], "--help") == 0)
			cli_help(help);
		if (strcmp(argv[i], "-V") == 0 ||
		    strcmp(argv[i], "--version") == 0)
			cli_version();
	}
}

int
main(int argc, char *argv[])
{
	struct lease_session x = { .s = NULL };
	struct problem p = { .kind = PROBLEM_NONE };
	const struct lease_command *c;
	struct lease_args a;
	struct buf out = { 0 };
	int at, used = 0, status;

	cli_start("pc-lease");
	look_for_help(argc, argv);
	lease_args_init(&a);
	if ((at = lease_args_first(&a, argc, argv, &p)) == -1)
		fail(a.json, &p);
	c = lease_command_find(argv + at, argc - at, &used);
	if (c == NULL) {
		(void)problem_set(&p, PROBLEM_INPUT, "usage", "%s%s",
		    at < argc ? argv[at] : "no command; see -h",
		    at < argc ? ": no such command" : "");
		fail(a.json, &p);
	}
	if (lease_args_read(&a, c, argc - at - used + 1, argv + at + used - 1,
	    &p) == -1)
		fail(a.json, &p);
	open_session(&x, &a, &p);
	status = c->run(&x, &a, &out, &p);
	if (buf_failed(&out))
		cli_fail_memory(EXIT_LATER);
	cli_out(buf_span(&out));
	buf_free(&out);
	store_close(x.s);
	if (status == -1)
		fail(x.json, &p);
	problem_clear(&p);
	return status;
}
