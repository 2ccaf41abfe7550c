/*
 * pc-tarsync - a workspace into a sandbox, and its changes back.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli.h"
#include "tarsync.h"

static const char help[] =
"usage: pc-tarsync pack [-C DIR] [-x PATTERN]... [-p NAME]... [-L]\n"
"           [--since MANIFEST] [--manifest FILE] [-z] [--base64] [-o FILE]\n"
"       pc-tarsync unpack [-C DIR] [--clean] [-x PATTERN]... [-p NAME]...\n"
"           [--links=any|inside] [--no-manifest] [LIMIT]... < ARCHIVE\n"
"       pc-tarsync snapshot [-C DIR] [-x PATTERN]... [-p NAME]...\n"
"           [--cache FILE] [--partial] [-o FILE]\n"
"       pc-tarsync diff MANIFEST MANIFEST|DIR\n"
"       pc-tarsync merge --baseline MANIFEST [-C DIR] [--links=inside|any]\n"
"           [--conflict=source|target|fail] [--allow-protected] [--dry-run]\n"
"           [--source-manifest FILE] [-t DURATION] [LIMIT]... < ARCHIVE\n"
"       pc-tarsync mirror [-x PATTERN]... [-p NAME]... [--checksum] SRC DST\n"
"       pc-tarsync recover [-C DIR]\n"
"  -C, --directory DIR    the tree's root (.)\n"
"  -x, --exclude PATTERN  not part of the tree: X, */X at any depth, X/*\n"
"  -p, --preserve NAME    top-level name that is left alone\n"
"      --no-apple-double  the same as -x '*/._*'\n"
"  -L, --follow-links     pack what links lead to\n"
"      --since MANIFEST   pack only what differs from it\n"
"      --manifest FILE    write the manifest of what is packed\n"
"  -z, --gzip             gzip; unpack and merge see it by themselves\n"
"      --base64           base64; likewise\n"
"  -o, --output FILE      instead of standard output\n"
"      --clean            what the archive lacks is removed\n"
"      --links WHICH      any, or only those that point inside the root\n"
"      --no-manifest      store none: nothing can be packed --since\n"
"      --cache FILE       do not read what it proves unchanged\n"
"      --partial          of a transfer that was cut short\n"
"      --baseline MANIFEST  what the sandbox's archive starts from\n"
"      --conflict WHOSE   version that stays in the tree (source)\n"
"      --allow-protected  apply also what git would execute\n"
"      --dry-run          print the report, change nothing\n"
"      --source-manifest FILE  what the sandbox has now\n"
"      --checksum         compare bytes, not only sizes and times\n"
"  -t, --timeout DURATION for locks (30s); 0 is for ever\n"
"      --sync             survive a power cut, too\n"
"  -v, --verbose          name each entry on standard error\n"
"      --progress         lines of progress; on a terminal always\n"
"      --phase WORD --label WORD --to NAME --from NAME --total SIZE\n"
"                         what they say\n"
"      --max-bytes SIZE --max-file SIZE --max-members N --max-depth N\n"
"      --max-name N       limits (64G 16G 2000000 128 4096)\n"
"  -h, --help  -V, --version\n";

enum {
	OPT_APPLE = 256, OPT_SINCE, OPT_MANIFEST, OPT_BASE64, OPT_CLEAN,
	OPT_LINKS, OPT_NO_MANIFEST, OPT_CACHE, OPT_PARTIAL, OPT_BASELINE,
	OPT_CONFLICT, OPT_PROTECTED, OPT_DRY_RUN, OPT_SOURCE, OPT_CHECKSUM,
	OPT_SYNC, OPT_PROGRESS, OPT_PHASE, OPT_LABEL, OPT_TO, OPT_FROM,
	OPT_TOTAL, OPT_BYTES, OPT_FILE, OPT_MEMBERS, OPT_DEPTH, OPT_NAME
};

static const struct option options[] = {
	{ "allow-protected", no_argument, NULL, OPT_PROTECTED },
	{ "base64", no_argument, NULL, OPT_BASE64 },
	{ "baseline", required_argument, NULL, OPT_BASELINE },
	{ "cache", required_argument, NULL, OPT_CACHE },
	{ "checksum", no_argument, NULL, OPT_CHECKSUM },
	{ "clean", no_argument, NULL, OPT_CLEAN },
	{ "conflict", required_argument, NULL, OPT_CONFLICT },
	{ "directory", required_argument, NULL, 'C' },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
	{ "exclude", required_argument, NULL, 'x' },
	{ "follow-links", no_argument, NULL, 'L' },
	{ "from", required_argument, NULL, OPT_FROM },
	{ "gzip", no_argument, NULL, 'z' },
	{ "help", no_argument, NULL, 'h' },
	{ "label", required_argument, NULL, OPT_LABEL },
	{ "links", required_argument, NULL, OPT_LINKS },
	{ "manifest", required_argument, NULL, OPT_MANIFEST },
	{ "max-bytes", required_argument, NULL, OPT_BYTES },
	{ "max-depth", required_argument, NULL, OPT_DEPTH },
	{ "max-file", required_argument, NULL, OPT_FILE },
	{ "max-members", required_argument, NULL, OPT_MEMBERS },
	{ "max-name", required_argument, NULL, OPT_NAME },
	{ "no-apple-double", no_argument, NULL, OPT_APPLE },
	{ "no-manifest", no_argument, NULL, OPT_NO_MANIFEST },
	{ "output", required_argument, NULL, 'o' },
	{ "partial", no_argument, NULL, OPT_PARTIAL },
	{ "phase", required_argument, NULL, OPT_PHASE },
	{ "preserve", required_argument, NULL, 'p' },
	{ "progress", no_argument, NULL, OPT_PROGRESS },
	{ "since", required_argument, NULL, OPT_SINCE },
	{ "source-manifest", required_argument, NULL, OPT_SOURCE },
	{ "sync", no_argument, NULL, OPT_SYNC },
	{ "timeout", required_argument, NULL, 't' },
	{ "to", required_argument, NULL, OPT_TO },
	{ "total", required_argument, NULL, OPT_TOTAL },
	{ "verbose", no_argument, NULL, 'v' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

#define LETTERS	":C:LVho:p:t:vx:z"

/* What each command takes; options all but those for help. */
struct command {
	const char *name;
	int (*run)(struct tarsync *);
	int operands;
	const int *options;
};

#define TREE_OPTIONS	'C', 'x', 'p', OPT_APPLE
#define LIMIT_OPTIONS	OPT_BYTES, OPT_FILE, OPT_MEMBERS, OPT_DEPTH, OPT_NAME
#define PROGRESS_OPTIONS OPT_PROGRESS, OPT_PHASE, OPT_LABEL, OPT_TO, \
	OPT_FROM, OPT_TOTAL

static const int pack_options[] = { TREE_OPTIONS, PROGRESS_OPTIONS, 'L', 'z',
	'o', 'v', 't', OPT_SINCE, OPT_MANIFEST, OPT_BASE64, 0 };
static const int unpack_options[] = { TREE_OPTIONS, PROGRESS_OPTIONS,
	LIMIT_OPTIONS, 'z', 'v', 't', OPT_BASE64, OPT_CLEAN, OPT_LINKS,
	OPT_NO_MANIFEST, OPT_SYNC, 0 };
static const int snapshot_options[] = { TREE_OPTIONS, 'o', 't', OPT_CACHE,
	OPT_PARTIAL, 0 };
static const int diff_options[] = { TREE_OPTIONS, 't', 0 };
static const int merge_options[] = { TREE_OPTIONS, PROGRESS_OPTIONS,
	LIMIT_OPTIONS, 'z', 'v', 't', OPT_BASE64, OPT_LINKS, OPT_BASELINE,
	OPT_CONFLICT, OPT_PROTECTED, OPT_DRY_RUN, OPT_SOURCE, OPT_SYNC, 0 };
static const int mirror_options[] = { 'x', 'p', OPT_APPLE, 'v', 't',
	OPT_CHECKSUM, 0 };
static const int recover_options[] = { 'C', 't', 0 };

static const struct command commands[] = {
	{ "diff", tarsync_diff, 2, diff_options },
	{ "merge", tarsync_merge, 0, merge_options },
	{ "mirror", tarsync_mirror, 2, mirror_options },
	{ "pack", tarsync_pack, 0, pack_options },
	{ "recover", tarsync_recover, 0, recover_options },
	{ "snapshot", tarsync_snapshot, 0, snapshot_options },
	{ "unpack", tarsync_unpack, 0, unpack_options },
};

static const struct command *
find_command(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	cli_fail(EXIT_NEVER, name, "no such command; see pc-tarsync --help");
}

static void
check_taken(const struct command *c, int option)
{
	const int *o;

	for (o = c->options; *o != 0; o++)
		if (*o == option)
			return;
	cli_foreign_option(option, options, c->name);
}

static void
add_exclude(struct tarsync *t, const char *pattern)
{
	if (scope_exclude(&t->scope, span_of(pattern)) == -1) {
		if (errno == ENOMEM)
			cli_fail_memory(EXIT_LATER);
		cli_fail(EXIT_NEVER, pattern, "not a pattern");
	}
	t->scope_given = true;
}

static void
add_preserve(struct tarsync *t, const char *name)
{
	if (scope_preserve(&t->scope, span_of(name)) == -1) {
		if (errno == ENOMEM)
			cli_fail_memory(EXIT_LATER);
		cli_fail(EXIT_NEVER, name, "not a top-level name");
	}
	t->scope_given = true;
}

static void
take_policy(struct tarsync *t, const char *arg)
{
	if (strcmp(arg, "source") == 0)
		t->policy = CONFLICT_SOURCE;
	else if (strcmp(arg, "target") == 0)
		t->policy = CONFLICT_TARGET;
	else if (strcmp(arg, "fail") == 0)
		t->policy = CONFLICT_FAIL;
	else
		cli_usage("--conflict is source, target or fail");
}

static void
take_links(struct tarsync *t, const char *arg)
{
	if (strcmp(arg, "any") == 0)
		t->links = TARSYNC_LINKS_ANY;
	else if (strcmp(arg, "inside") == 0)
		t->links = TARSYNC_LINKS_INSIDE;
	else
		cli_usage("--links is any or inside");
}

static void
take_progress(struct tarsync *t, int option, const char *arg)
{
	switch (option) {
	case OPT_PROGRESS:
		t->progress.plain = true;
		break;
	case OPT_PHASE:
		t->progress.phase = arg;
		break;
	case OPT_LABEL:
		t->progress.label = arg;
		break;
	case OPT_TO:
	case OPT_FROM:
		t->progress.direction = option == OPT_TO ? "to" : "from";
		t->progress.target = arg;
		break;
	case OPT_TOTAL:
		t->progress.total = cli_size("--total", arg);
		break;
	}
}

static void
take_limit(struct limits *l, int option, const char *arg)
{
	switch (option) {
	case OPT_BYTES:
		l->bytes = cli_size("--max-bytes", arg);
		break;
	case OPT_FILE:
		l->file = cli_size("--max-file", arg);
		break;
	case OPT_MEMBERS:
		l->members = cli_number("--max-members", arg, UINT64_MAX);
		break;
	case OPT_DEPTH:
		l->depth = (size_t)cli_number("--max-depth", arg,
		    BENEATH_DEPTH_MAX);
		break;
	case OPT_NAME:
		l->name = (size_t)cli_number("--max-name", arg,
		    BENEATH_PATH_MAX);
		break;
	}
}

static void
take_option(struct tarsync *t, int option, char *arg)
{
	switch (option) {
	case 'C':
		t->directory = arg;
		break;
	case 'L':
		t->follow = true;
		break;
	case 'o':
		t->output = arg;
		break;
	case 'p':
		add_preserve(t, arg);
		break;
	case 't':
		t->timeout_ms = cli_duration("-t", arg);
		break;
	case 'v':
		t->verbose = true;
		break;
	case 'x':
		add_exclude(t, arg);
		break;
	case 'z':
		t->gzip = true;
		break;
	case OPT_APPLE:
		add_exclude(t, "*/._*");
		break;
	case OPT_SINCE:
	case OPT_BASELINE:
		t->before = arg;
		break;
	case OPT_MANIFEST:
	case OPT_SOURCE:
		t->manifest = arg;
		break;
	case OPT_BASE64:
		t->base64 = true;
		break;
	case OPT_CLEAN:
		t->clean = true;
		break;
	case OPT_LINKS:
		take_links(t, arg);
		break;
	case OPT_NO_MANIFEST:
		t->no_manifest = true;
		break;
	case OPT_CACHE:
		t->cache = arg;
		break;
	case OPT_PARTIAL:
		t->partial = true;
		break;
	case OPT_CONFLICT:
		take_policy(t, arg);
		break;
	case OPT_PROTECTED:
		t->allow_protected = true;
		break;
	case OPT_DRY_RUN:
		t->dry_run = true;
		break;
	case OPT_CHECKSUM:
		t->checksum = true;
		break;
	case OPT_SYNC:
		t->sync = true;
		break;
	case OPT_BYTES:
	case OPT_FILE:
	case OPT_MEMBERS:
	case OPT_DEPTH:
	case OPT_NAME:
		take_limit(&t->limits, option, arg);
		break;
	default:
		take_progress(t, option, arg);
		break;
	}
}

static void
parse(struct tarsync *t, const struct command *c, int argc, char *argv[])
{
	int option;

	while ((option = getopt_long(argc, argv, LETTERS, options,
	    NULL)) != -1) {
		if (option == 'h')
			cli_help(help);
		if (option == 'V')
			cli_version();
		if (option == '?' || option == ':')
			cli_bad_option(option, argv, options);
		check_taken(c, option);
		take_option(t, option, optarg);
	}
	if (argc - optind != c->operands)
		cli_fail(EXIT_NEVER, c->name, c->operands == 0 ?
		    "takes no operands" : "takes two operands");
	t->operands = argv + optind;
}

int
main(int argc, char *argv[])
{
	struct tarsync t = { .directory = ".", .timeout_ms = 30000,
	    .limits = LIMITS_DEFAULT };
	const struct command *c;

	cli_start("pc-tarsync");
	if (argc < 2)
		cli_usage("name a command; see pc-tarsync --help");
	if (argv[1][0] == '-') {
		static const struct command none = { "pc-tarsync", NULL, 0,
		    recover_options };

		parse(&t, &none, argc, argv);
		cli_usage("name a command first; see pc-tarsync --help");
	}
	c = find_command(argv[1]);
	parse(&t, c, argc - 1, argv + 1);
	/* Modes come out as they are said; new folders of our own as usual. */
	t.umask = umask(0);
	return c->run(&t);
}
