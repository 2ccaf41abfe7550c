/*
 * pc-allow - decide which requests may pass, and with which headers.
 *
 * Guarantees: what passes was checked and written anew; what does not pass
 * is answered.  Deny is the default.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "allow.h"
#include "cli.h"
#include "io.h"
#include "lines.h"

static const char help[] =
"usage: pc-allow [-r RULES] [-m SIZE]\n"
"       pc-allow [-r RULES] --check METHOD PATH\n"
"       pc-allow [-r RULES] --print-rules\n"
"Passes request lines from stdin that a rule allows; answers the others.\n"
"  -h, --help           this text\n"
"  -m, --max-body SIZE  limit of a decoded body (256K)\n"
"  -r, --rules RULES    a file of rules, @default or @2026.916 (@default)\n"
"  -V, --version\n"
"      --check          print the rule that allows it, or exit 1 and say why\n"
"      --print-rules    print the rules in force\n";

enum { OPT_CHECK = 256, OPT_PRINT_RULES };

static const struct option options[] = {
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "help", no_argument, NULL, 'h' },
	{ "max-body", required_argument, NULL, 'm' },
	{ "print-rules", no_argument, NULL, OPT_PRINT_RULES },
	{ "rules", required_argument, NULL, 'r' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 }
};

static void
read_file(const char *name, struct buf *text)
{
	int fd = open(name, O_RDONLY | O_NOCTTY | O_CLOEXEC);

	if (fd == -1 || io_read_to_end(fd, text, RULES_TEXT_MAX) == -1)
		cli_fail_input(name);
	io_close(fd);
}

static void
load_rules(struct rules *rules, const char *name)
{
	const char *fault, *builtin = rules_builtin(name);
	struct buf file = { 0 };
	char where[128];
	size_t line;

	if (builtin == NULL) {
		if (*name == '@')
			cli_fail(EXIT_NEVER, name, "no such built-in rules");
		read_file(name, &file);
	}
	if (rules_parse(rules, builtin != NULL ? span_of(builtin) :
	    buf_span(&file), &line, &fault) == -1) {
		if (line == 0)
			cli_fail(EXIT_LATER, name, fault);
		snprintf(where, sizeof(where), "line %zu: %s", line, fault);
		cli_fail(EXIT_NEVER, name, where);
	}
	buf_free(&file);
}

static int
check(const struct rules *rules, const char *method, const char *target)
{
	const char *mark = strchr(target, '?'), *why;
	struct span path = span_of(target), query = { "", 0 };
	const struct rule *rule;
	struct buf out = { 0 };

	if (mark != NULL) {
		path.n = (size_t)(mark - target);
		query = span_of(mark);
	}
	why = allow_check_target(path, query);
	rule = why == NULL ? rules_match(rules, span_of(method), path) : NULL;
	if (rule != NULL) {
		buf_add_span(&out, rule->method);
		buf_add_char(&out, ' ');
		buf_add_span(&out, rule->pattern);
	} else {
		buf_add_str(&out, why != NULL ? "not canonical: " :
		    "no rule allows it");
		buf_add_str(&out, why != NULL ? why : "");
	}
	buf_add_char(&out, '\n');
	cli_out_buf(&out);
	buf_free(&out);
	return rule != NULL ? EXIT_YES : EXIT_NO;
}

static int
print_rules(const struct rules *rules)
{
	struct buf out = { 0 };

	rules_put(rules, &out);
	cli_out_buf(&out);
	buf_free(&out);
	return EXIT_YES;
}

/* A line was no use; without memory for it those that follow are not read. */
static void
drop(struct buf *out, size_t number, const char *fault)
{
	char where[32];

	if (fault == record_no_memory) {
		cli_out_buf(out);
		cli_fail_memory(EXIT_LATER);
	}
	snprintf(where, sizeof(where), "line %zu", number);
	cli_warn(where, fault);
}

static int
filter(const struct rules *rules, size_t body_max)
{
	struct lines in = { .fd = STDIN_FILENO,
	    .max = record_size_max(body_max) };
	struct record record = { 0 };
	struct buf out = { 0 };
	enum lines_result kind;
	struct span line;
	size_t number = 0;
	ssize_t n;

	do {
		if ((n = lines_fill(&in)) == -1)
			cli_fail_errno("stdin");
		while ((kind = lines_next(&in, &line)) != LINES_NONE) {
			number++;
			if (kind == LINES_TOO_LONG)
				drop(&out, number, "over the limit");
			else if (allow_line(rules, &record, body_max, line,
			    &out) == ALLOW_INVALID)
				drop(&out, number, record.fault);
		}
		if (n == 0 && lines_last(&in, &line) && allow_line(rules,
		    &record, body_max, line, &out) == ALLOW_INVALID)
			drop(&out, number + 1, record.fault);
		if (buf_failed(&out))
			cli_fail_memory(EXIT_LATER);
		cli_out_buf(&out);
		buf_reset(&out, 1 << 20);
	} while (n > 0);
	buf_free(&out);
	lines_free(&in);
	record_free(&record);
	return EXIT_YES;
}

int
main(int argc, char *argv[])
{
	bool checking = false, printing = false;
	const char *name = "@default";
	size_t body_max = cli_env_body_max();
	struct rules rules;
	int c, status;

	cli_start("pc-allow");
	while ((c = getopt_long(argc, argv, "+:hm:r:V", options, NULL)) != -1)
		switch (c) {
		case 'h':
			cli_help(help);
		case 'm':
			body_max = cli_body_max(optarg);
			break;
		case 'r':
			name = optarg;
			break;
		case 'V':
			cli_version();
		case OPT_CHECK:
			checking = true;
			break;
		case OPT_PRINT_RULES:
			printing = true;
			break;
		default:
			cli_bad_option(c, argv, options);
		}
	if (checking && printing)
		cli_usage("only one of --check, --print-rules");
	if (argc - optind != (checking ? 2 : 0))
		cli_usage("--check takes METHOD and PATH; else no operands");
	load_rules(&rules, name);
	if (checking)
		status = check(&rules, argv[optind], argv[optind + 1]);
	else
		status = printing ? print_rules(&rules) :
		    filter(&rules, body_max);
	rules_free(&rules);
	return status;
}
