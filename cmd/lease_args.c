#include <getopt.h>
#include <stddef.h>
#include <string.h>

#include "leasecmd.h"
#include "units.h"

enum kind { TEXT, DURATION, NUMBER, FLAG, LEVEL };

/* mark stands for the option in a command's list; least is of a number. */
static const struct {
	const char *name;
	char mark;
	enum kind kind;
	size_t at;
	int64_t least;
} table[] = {
#define AT(member) AT_LEAST(member, 0)
#define AT_LEAST(member, least) offsetof(struct lease_args, member), (least)
	{ "actor", 'a', TEXT, AT(actor) },
	{ "all-companies", 'A', FLAG, AT(all) },
	{ "busy-status", 'b', NUMBER, AT(busy_status) },
	{ "company", 'C', TEXT, AT(company) },
	{ "config", 'c', TEXT, AT(config) },
	{ "default", 'D', FLAG, AT(make_default) },
	{ "driver", 'd', TEXT, AT(driver) },
	{ "env", 'e', TEXT, AT(env) },
	{ "epoch", 'E', NUMBER, AT(epoch) },
	{ "expiry", 'x', DURATION, AT_LEAST(expiry, LEASE_EXPIRY_MIN_MS) },
	{ "follow", 'f', FLAG, AT(follow) },
	{ "for", 'F', LEVEL, AT(levels) },
	{ "grace", 'g', DURATION, AT(grace) },
	{ "heartbeat", 'H', DURATION, AT_LEAST(heartbeat,
	    LEASE_HEARTBEAT_MIN_MS) },
	{ "issue", 'i', TEXT, AT(issue) },
	{ "json", 'j', FLAG, AT(json) },
	{ "max", 'n', NUMBER, AT_LEAST(max, 1) },
	{ "metadata", 'm', TEXT, AT(metadata) },
	{ "name", 'N', TEXT, AT(name) },
	{ "policy", 'P', TEXT, AT(policy) },
	{ "provider", 'p', TEXT, AT(provider) },
	{ "provider-lease", 'l', TEXT, AT(provider_lease) },
	{ "reason", 'r', TEXT, AT(reason) },
	{ "report", 'q', FLAG, AT(report) },
	{ "retained", 'R', DURATION, AT(retained) },
	{ "run", 'u', TEXT, AT(run) },
	{ "since", 'S', DURATION, AT(since) },
	{ "status", 's', TEXT, AT(status) },
	{ "store", 'o', TEXT, AT(store) },
	{ "store-wait", 'O', DURATION, AT(store_wait) },
	{ "timeout", 't', DURATION, AT(wait) },
	{ "workspace", 'w', TEXT, AT(workspace) }
#undef AT
#undef AT_LEAST
};

#define OPTIONS (sizeof(table) / sizeof(table[0]))

static const char everywhere[] = "aCj";
static const char first[] = "aCjoO";

void
lease_args_init(struct lease_args *a)
{
	*a = (struct lease_args){ .expiry = -1, .grace = -1, .heartbeat = -1,
	    .retained = -1, .since = -1, .store_wait = STORE_WAIT_MS,
	    .wait = -1, .busy_status = 1 };
}

static int
wrong(struct problem *p, const char *option, const char *reason)
{
	return problem_set(p, PROBLEM_INPUT, "usage", "%s%s: %s",
	    option[0] == '-' ? "" : "--", option, reason);
}

/* LEVEL=ENVIRONMENT */
static int
take_level(const char **levels, const char *text, struct problem *p)
{
	static const char *const names[LEVELS] = { "workspace", "issue",
	    "project", "agent", "company" };
	size_t i, n = strcspn(text, "=");

	for (i = 0; i < LEVELS && text[n] == '='; i++)
		if (strlen(names[i]) == n && memcmp(names[i], text, n) == 0) {
			levels[i] = text + n + 1;
			return 0;
		}
	return wrong(p, "for", "not workspace, issue, project, agent or "
	    "company, = and an environment");
}

static int
take(struct lease_args *a, size_t i, char *text, struct problem *p)
{
	void *at = (char *)a + table[i].at;

	switch (table[i].kind) {
	case TEXT:
		*(const char **)at = text;
		return 0;
	case FLAG:
		*(bool *)at = true;
		return 0;
	case DURATION:
		if (units_parse_duration(text, at) == -1)
			return wrong(p, table[i].name,
			    "not a duration like 250ms, 10s, 5m, 1h");
		if (*(int64_t *)at < table[i].least)
			return wrong(p, table[i].name, "too short");
		return 0;
	case NUMBER:
		if (units_parse_number(text, table[i].mark == 'b' ? 255 :
		    INT64_MAX, at) == -1 ||
		    *(uint64_t *)at < (uint64_t)table[i].least)
			return wrong(p, table[i].name,
			    "not a number in range");
		return 0;
	default:
		return take_level(at, text, p);
	}
}

static void
fill_options(struct option out[static OPTIONS + 3])
{
	size_t i;

	for (i = 0; i < OPTIONS; i++)
		out[i] = (struct option){ table[i].name,
		    table[i].kind == FLAG ? no_argument : required_argument,
		    NULL, 256 + (int)i };
	out[i++] = (struct option){ "help", no_argument, NULL, 'h' };
	out[i++] = (struct option){ "version", no_argument, NULL, 'V' };
	out[i] = (struct option){ NULL, 0, NULL, 0 };
}

/* The place in the table of what getopt found; OPTIONS for none of it. */
static size_t
place_of(int option)
{
	const char letters[] = "cfnt";
	size_t i;

	if (option >= 256)
		return (size_t)option - 256;
	if (option > 0 && strchr(letters, option) != NULL)
		for (i = 0; i < OPTIONS; i++)
			if (table[i].mark == option)
				return i;
	return OPTIONS;
}

/* Of a group of letters the one that is wrong; getopt is not past it yet. */
static int
unknown(struct problem *p, const char *word)
{
	const char letter[] = { '-', (char)optopt, '\0' };

	return wrong(p, optopt > 0 && optopt < 256 ? letter : word,
	    "unknown option");
}

static int
read_options(struct lease_args *a, const char *letters, const char *allowed,
    const char *also, int argc, char *argv[], struct problem *p)
{
	struct option options[OPTIONS + 3];
	size_t i;
	int found;

	fill_options(options);
	optind = optopt = 0;
	opterr = 0;
	while ((found = getopt_long(argc, argv, letters, options, NULL)) !=
	    -1) {
		i = place_of(found);
		if (found == ':')
			return wrong(p, argv[optind - 1], "needs a value");
		if (i == OPTIONS)
			return unknown(p, argv[optind - 1]);
		if (strchr(allowed, table[i].mark) == NULL &&
		    strchr(also, table[i].mark) == NULL)
			return wrong(p, table[i].name, "not here");
		if (take(a, i, optarg, p) == -1)
			return -1;
	}
	return 0;
}

int
lease_args_first(struct lease_args *a, int argc, char *argv[],
    struct problem *p)
{
	return read_options(a, "+:c:fn:t:", first, "", argc, argv, p) == -1 ?
	    -1 : optind;
}

int
lease_args_read(struct lease_args *a, const struct lease_command *c,
    int argc, char *argv[], struct problem *p)
{
	int end = 1;

	while (end < argc && strcmp(argv[end], "--") != 0)
		end++;
	a->command = c->takes_command && end + 1 < argc ? argv + end + 1 :
	    NULL;
	if (!c->takes_command)
		end = argc;
	if (read_options(a, ":c:fn:t:", c->options, everywhere, end, argv,
	    p) == -1)
		return -1;
	a->operands = argv + optind;
	a->n = end - optind;
	if (a->n < c->min || a->n > c->max)
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "%s: too %s operands", c->name,
		    a->n < c->min ? "few" : "many");
	return 0;
}
