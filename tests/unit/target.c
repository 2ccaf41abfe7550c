/*
 * target TABLE - table test of lib/target.
 * target --canonicalise | --check-path | --check-query - a filter over lines:
 * path TAB query or "bad"; "ok" or the reason.
 *
 * Rows: "canon" NAME TARGET PATH QUERY (PATH "bad": refused), "path" and
 * "query" NAME BYTES REASON (or "ok").
 */
#include <stdio.h>
#include <stdlib.h>

#include "target.h"

static int tests, failures;

static _Noreturn void
fail(const char *what)
{
	perror(what);
	exit(111);
}

static void
report(bool ok, const char *kind, const char *name)
{
	printf("%sok %d - target: %s: %s\n", ok ? "" : "not ", ++tests, kind,
	    name);
	failures += !ok;
}

static int
hex_value(char c)
{
	const char *digits = "0123456789abcdef", *at;

	at = c != '\0' ? strchr(digits, c) : NULL;
	return at != NULL ? (int)(at - digits) : -1;
}

/* \xHH and \\.  In a block of just that size, so that sanitizers see more. */
static struct span
unescape(const char *s)
{
	struct span exact;
	struct buf b = { 0 };
	char *block;

	for (; *s != '\0'; s++) {
		if (*s != '\\')
			buf_add_char(&b, *s);
		else if (*++s == '\\')
			buf_add_char(&b, '\\');
		else if (*s == 'x' && s[1] != '\0' && s[2] != '\0') {
			buf_add_char(&b, (char)(hex_value(s[1]) << 4 |
			    hex_value(s[2])));
			s += 2;
		} else
			fail("escape");
	}
	block = malloc(b.len > 0 ? b.len : 1);
	if (block == NULL || buf_failed(&b))
		fail("memory");
	if (b.len > 0)
		memcpy(block, b.data, b.len);
	exact = (struct span){ block, b.len };
	buf_free(&b);
	return exact;
}

/* "bad", or path TAB query, NUL-terminated; owned by the caller. */
static char *
canonical(struct span target)
{
	struct buf path = { 0 }, query = { 0 }, out = { 0 };

	buf_add_str(&path, "what was there");
	buf_add_str(&query, "before");
	if (target_canonicalise(target, &path, &query) == -1)
		buf_add_str(&out, "bad");
	else {
		buf_add_span(&out, buf_span(&path));
		buf_add_char(&out, '\t');
		buf_add_span(&out, buf_span(&query));
	}
	buf_add_char(&out, '\0');
	if (buf_failed(&path) || buf_failed(&query) || buf_failed(&out))
		fail("memory");
	buf_free(&path);
	buf_free(&query);
	return out.data;
}

/* What comes out, put in again, comes out as it is. */
static bool
is_settled(const char *outcome)
{
	char *target, *again, *tab;
	bool ok;

	if (strcmp(outcome, "bad") == 0 || strncmp(outcome, "//", 2) == 0)
		return true;	/* a path like "//x" would name a host */
	target = strdup(outcome);
	if (target == NULL)
		fail("memory");
	tab = strchr(target, '\t');
	memmove(tab, tab + 1, strlen(tab));
	again = canonical(span_of(target));
	ok = strcmp(again, outcome) == 0;
	free(target);
	free(again);
	return ok;
}

static bool
test_canon(const char *name, char *row)
{
	struct span target = unescape(strsep(&row, "\t"));
	char *got = canonical(target);
	bool ok = row != NULL && strcmp(got, row) == 0 && is_settled(got);

	if (!ok)
		printf("# %s: %s\n", name, got);
	free((char *)target.p);
	free(got);
	return ok;
}

static bool
test_check(const char *name, char *row,
    const char *(*check)(struct span))
{
	struct span s = unescape(strsep(&row, "\t"));
	const char *got = check(s);
	bool ok;

	if (got == NULL)
		got = "ok";
	ok = row != NULL && strcmp(got, row) == 0;
	if (!ok)
		printf("# %s: %s\n", name, got);
	free((char *)s.p);
	return ok;
}

static void
test_row(char *row)
{
	char *kind = strsep(&row, "\t"), *name = strsep(&row, "\t");

	if (row == NULL)
		fail(kind);
	if (strcmp(kind, "canon") == 0)
		report(test_canon(name, row), kind, name);
	else if (strcmp(kind, "path") == 0)
		report(test_check(name, row, target_check_path), kind, name);
	else if (strcmp(kind, "query") == 0)
		report(test_check(name, row, target_check_query), kind, name);
	else
		fail(kind);
}

static void
filter_line(const char *mode, struct span line)
{
	const char *reason;
	char *text;

	if (strcmp(mode, "--canonicalise") == 0) {
		text = canonical(line);
		puts(text);
		free(text);
		return;
	}
	reason = strcmp(mode, "--check-path") == 0 ? target_check_path(line) :
	    target_check_query(line);
	puts(reason != NULL ? reason : "ok");
}

/* mode is a filter's, or NULL for the table. */
static void
each_line(FILE *f, const char *mode)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	while ((n = getline(&line, &cap, f)) > 0) {
		if (line[n - 1] == '\n')
			line[--n] = '\0';
		if (mode != NULL)
			filter_line(mode, (struct span){ line, (size_t)n });
		else if (line[0] != '#' && line[0] != '\0')
			test_row(line);
	}
	if (ferror(f))
		fail("read");
	free(line);
}

int
main(int argc, char *argv[])
{
	FILE *f;

	if (argc != 2) {
		fprintf(stderr, "usage: target table | --canonicalise | "
		    "--check-path | --check-query\n");
		return 100;
	}
	if (strncmp(argv[1], "--", 2) == 0) {
		each_line(stdin, argv[1]);
		return fflush(stdout) != 0 || ferror(stdout);
	}
	f = fopen(argv[1], "re");
	if (f == NULL)
		fail(argv[1]);
	each_line(f, NULL);
	fclose(f);
	printf("1..%d\n", tests);
	return failures > 0;
}
