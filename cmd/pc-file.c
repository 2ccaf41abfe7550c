/*
 * pc-file - one file or folder at a time, where there is no shell.
 *
 * Guarantees: a file is replaced whole or not at all, never written to and
 * never through a link; nothing that is removed is reached through one.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "file.h"

static const char help[] =
"usage: pc-file put [-p] [--mode OCTAL] [--sha256 HEX] [--base64] [--sync]\n"
"               PATH\n"
"       pc-file get [--offset SIZE] [--length SIZE] [--base64] PATH\n"
"       pc-file list [-0 | --json] DIR\n"
"       pc-file mkdir [-p] [--mode OCTAL] DIR\n"
"       pc-file rename [-n] OLD NEW\n"
"       pc-file remove [-f] [-r] PATH...\n"
"       pc-file sha256 PATH\n"
"One file or folder at a time, where there is no shell.\n"
"  -0, --null             names end with NUL\n"
"  -f, --force            no word about what is not there\n"
"  -h, --help             this text\n"
"  -n, --no-replace       not over something that is there: exit 1\n"
"  -p, --parents          make the folders above; mkdir: it may be there\n"
"  -r, --recursive        folders and all that is in them\n"
"  -V, --version\n"
"      --base64           what is read, or written, is base64\n"
"      --json             a line of JSON for each entry\n"
"      --length SIZE      at most so many bytes\n"
"      --mode OCTAL       permissions, as they are\n"
"      --offset SIZE      from this byte on\n"
"      --sha256 HEX       what the content must have\n"
"      --sync             on the disk before it says so\n"
"Exit: 0 done; 1 not there, already there, or not empty; 100 bad usage, bad\n"
"input, no such thing; 111 full disk, closed output, try again.\n";

enum {
	OPT_BASE64 = 256, OPT_JSON, OPT_LENGTH, OPT_MODE, OPT_OFFSET,
	OPT_SHA256, OPT_SYNC
};

static const struct option options[] = {
	{ "base64", no_argument, NULL, OPT_BASE64 },
	{ "force", no_argument, NULL, 'f' },
	{ "help", no_argument, NULL, 'h' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "length", required_argument, NULL, OPT_LENGTH },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "no-replace", no_argument, NULL, 'n' },
	{ "null", no_argument, NULL, '0' },
	{ "offset", required_argument, NULL, OPT_OFFSET },
	{ "parents", no_argument, NULL, 'p' },
	{ "recursive", no_argument, NULL, 'r' },
	{ "sha256", required_argument, NULL, OPT_SHA256 },
	{ "sync", no_argument, NULL, OPT_SYNC },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

/* --- the command line --- */

struct command {
	const char *name;
	int (*run)(const struct args *a);
	size_t least, most;	/* operands */
	const char *usage;
	int options[8];		/* all but those for help */
};

static const struct command commands[] = {
	{ "get", file_get, 1, 1, "get takes one PATH",
	  { OPT_BASE64, OPT_LENGTH, OPT_OFFSET } },
	{ "list", file_list, 1, 1, "list takes one DIR", { '0', OPT_JSON } },
	{ "mkdir", file_mkdir, 1, 1, "mkdir takes one DIR", { 'p', OPT_MODE } },
	{ "put", file_put, 1, 1, "put takes one PATH",
	  { 'p', OPT_BASE64, OPT_MODE, OPT_SHA256, OPT_SYNC } },
	{ "remove", file_remove, 1, SIZE_MAX, "remove takes a PATH",
	  { 'f', 'r' } },
	{ "rename", file_rename, 2, 2, "rename takes OLD and NEW", { 'n' } },
	{ "sha256", file_sha256, 1, 1, "sha256 takes one PATH", { 0 } },
};

static const struct command none;

static const struct command *
find_command(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return &none;
}

static void
check_option(const struct command *c, int opt)
{
	size_t i;

	for (i = 0; c->options[i] != 0; i++)
		if (c->options[i] == opt)
			return;
	cli_foreign_option(opt, options, c->name);
}

static mode_t
parse_mode(const char *arg)
{
	mode_t mode = 0;
	const char *p;

	for (p = arg; *p >= '0' && *p <= '7' && mode <= MODE_MAX; p++)
		mode = mode * 8 + (mode_t)(*p - '0');
	if (p == arg || *p != '\0' || mode > MODE_MAX)
		cli_fail(EXIT_NEVER, "--mode", "not octal permissions");
	return mode;
}

static void
parse_option(struct args *a, int opt)
{
	switch (opt) {
	case '0':
		a->null = true;
		break;
	case 'f':
		a->force = true;
		break;
	case 'n':
		a->no_replace = true;
		break;
	case 'p':
		a->parents = true;
		break;
	case 'r':
		a->recursive = true;
		break;
	case OPT_BASE64:
		a->base64 = true;
		break;
	case OPT_JSON:
		a->json = true;
		break;
	case OPT_LENGTH:
		a->length = cli_size("--length", optarg);
		break;
	case OPT_MODE:
		a->mode = parse_mode(optarg);
		a->has_mode = true;
		break;
	case OPT_OFFSET:
		a->offset = cli_size("--offset", optarg);
		break;
	case OPT_SHA256:
		if (sha256_from_hex(span_of(optarg), a->sha256) == -1)
			cli_fail(EXIT_NEVER, "--sha256", "not 64 hex digits");
		a->has_sha256 = true;
		break;
	case OPT_SYNC:
		a->sync = true;
		break;
	}
}

/* Options of all commands together; the first operand is the command. */
static const struct command *
parse_line(struct args *a, int argc, char *argv[])
{
	const struct command *c = argc > 1 ? find_command(argv[1]) : &none;
	int opt;

	if (c != &none) {
		argc--;
		argv++;
	}
	while ((opt = getopt_long(argc, argv, ":0fhnprV", options, NULL)) != -1)
		switch (opt) {
		case 'h':
			cli_help(help);
		case 'V':
			cli_version();
		case '?':
		case ':':
			cli_bad_option(opt, argv, options);
		default:
			check_option(c, opt);
			parse_option(a, opt);
		}
	if (c == &none)
		cli_usage("put, get, list, mkdir, rename, remove or sha256");
	a->operands = argv + optind;
	a->count = (size_t)(argc - optind);
	if (a->count < c->least || a->count > c->most)
		cli_usage(c->usage);
	if (a->json && a->null)
		cli_usage("--json and -0 do not go together");
	return c;
}

int
main(int argc, char *argv[])
{
	struct args a = { .length = UINT64_MAX,
	    .no_stdin = fcntl(STDIN_FILENO, F_GETFD) == -1 };

	cli_start("pc-file");
	a.umask = umask(0);	/* from here on all modes are exact */
	return parse_line(&a, argc, argv)->run(&a);
}
