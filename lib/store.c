#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_kinds.h"

static bool
starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool
is_url(const char *where)
{
	return starts_with(where, "postgresql://") ||
	    starts_with(where, "postgres://");
}

/* The query of a URL, but for what is secret in it. */
static void
put_query(struct buf *out, const char *query)
{
	const char *end;
	char before = '?';

	for (; *query != '\0'; query = *end == '&' ? end + 1 : end) {
		end = query + strcspn(query, "&");
		if (starts_with(query, "password") ||
		    starts_with(query, "sslpassword") ||
		    memchr(query, '%', (size_t)(end - query)) != NULL)
			continue;
		buf_add_char(out, before);
		buf_add(out, query, (size_t)(end - query));
		before = '&';
	}
}

void
store_put_name(struct buf *out, const char *where)
{
	const char *host, *end, *at, *colon;

	if (!is_url(where)) {
		buf_add_str(out, where);
		return;
	}
	/* A password may have an @ of its own, or even a slash. */
	host = strstr(where, "//") + 2;
	/* Before the first @ of libpq's a ? is the password's as well. */
	end = host + strcspn(host, "@/");
	if (*end != '@')
		end = host;
	end += strcspn(end, "?");
	at = memrchr(host, '@', (size_t)(end - host));
	colon = at == NULL ? NULL : memchr(host, ':', (size_t)(at - host));
	buf_add(out, where, (size_t)((colon != NULL ? colon : host) - where));
	if (colon != NULL)
		host = at;
	buf_add(out, host, (size_t)(end - host));
	if (*end == '?')
		put_query(out, end + 1);
}

int
store_problem(const struct store *s, struct problem *p,
    enum problem_kind kind, const char *text)
{
	struct buf line = { 0 };
	size_t i;

	buf_add_str(&line, text);
	while (line.len > 0 && line.data[line.len - 1] == '\n')
		line.len--;
	for (i = 0; i < line.len; i++)
		if (line.data[i] == '\n' || line.data[i] == '\t')
			line.data[i] = ' ';
	(void)problem_set(p, kind, kind == PROBLEM_UNKNOWN ?
	    "store_outcome_unknown" : "store_unavailable", "%s: %.*s",
	    s->name, (int)line.len, buf_failed(&line) ? "" : line.data);
	buf_free(&line);
	return -1;
}

int
store_open(struct store **s, const char *where, int64_t wait_ms,
    struct problem *p)
{
	const char *scheme = strstr(where, "://");

	*s = NULL;
	if (is_url(where))
		return store_open_postgresql(s, where, wait_ms, p);
	if (scheme != NULL && strcspn(where, "/") > (size_t)(scheme - where))
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "a store is a file or postgresql://...");
	return store_open_sqlite(s, where, wait_ms, p);
}

void
store_close(struct store *s)
{
	if (s != NULL)
		s->calls->close(s);
}

void
store_set_wait(struct store *s, int64_t wait_ms)
{
	s->wait_ms = wait_ms;
	s->calls->set_wait(s);
}

enum store_kind
store_kind_of(const struct store *s)
{
	return s->calls->kind;
}

int
store_begin(struct store *s, enum store_access access, struct problem *p)
{
	return s->calls->begin(s, access, p);
}

int
store_commit(struct store *s, struct problem *p)
{
	return s->calls->commit(s, p);
}

void
store_rollback(struct store *s)
{
	s->calls->rollback(s);
}

int
store_run(struct store *s, const char *sql, size_t n,
    const char *const *params, struct problem *p)
{
	return s->calls->run(s, sql, n, params, p);
}

int
store_next(struct store *s, struct problem *p)
{
	return s->calls->next(s, p);
}

const char *
store_text(struct store *s, int column)
{
	const char *text = s->calls->text(s, column);

	return text != NULL ? text : "";
}

int64_t
store_number(struct store *s, int column)
{
	return strtoll(store_text(s, column), NULL, 10);
}

int
store_has_table(struct store *s, const char *name, struct problem *p)
{
	if (STORE_RUN(s, p, s->calls->tables, name) == -1)
		return -1;
	return store_next(s, p);
}

int
store_be_alone(struct store *s, struct problem *p)
{
	return s->calls->be_alone(s, p);
}

int
store_settle(struct store *s, const char *table, struct problem *p)
{
	return s->calls->settle(s, table, p);
}

struct store_digits
store_digits(int64_t number)
{
	struct store_digits d;

	(void)snprintf(d.text, sizeof(d.text), "%lld", (long long)number);
	return d;
}
