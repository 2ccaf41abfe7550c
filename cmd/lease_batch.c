/*
 * pc-lease batch: a command a line, an answer a line, in one process.  A line
 * is a JSON array of words, or words between blanks; the answer an object.
 */
#include <errno.h>
#include <unistd.h>

#include "cli.h"
#include "leasecmd.h"
#include "lines.h"

#define LINE_MAX_BYTES	(256 * 1024)
#define WORDS_MAX	64

struct words_of_line {
	char *v[WORDS_MAX + 1];
	int n;
	struct buf text;		/* where they are */
};

static int
wrong(struct problem *p, const char *reason)
{
	return problem_set(p, PROBLEM_INPUT, "usage", "line: %s", reason);
}

static int
split_array(struct words_of_line *w, struct span line, struct problem *p)
{
	struct json j = { .text = { NULL, 0 } };
	size_t at[WORDS_MAX], i, token = 1, n = 0;
	int result = json_parse(&j, line);

	if (result == 0 && (n = json_size(&j, 0)) > WORDS_MAX)
		result = -1;
	for (i = 0; i < n && result == 0; i++, token = json_skip(&j, token)) {
		at[i] = w->text.len;
		if (json_type_of(&j, token) != JSON_STRING)
			result = -1;
		else
			json_unescape(&w->text, json_raw(&j, token));
		if (w->text.len > at[i] && memchr(w->text.data + at[i], '\0',
		    w->text.len - at[i]) != NULL)
			result = -1;
		buf_add_char(&w->text, '\0');
	}
	json_free(&j);
	if (result == -1)
		return wrong(p, "not a JSON array of at most 64 words");
	if (buf_failed(&w->text))
		return problem_memory(p);
	for (i = 0; i < n; i++)
		w->v[w->n++] = w->text.data + at[i];
	return 0;
}

static int
split_blanks(struct words_of_line *w, struct span line, struct problem *p)
{
	char *from, *save = NULL;

	if (memchr(line.p, '\0', line.n) != NULL)
		return wrong(p, "a NUL in it");
	buf_add_span(&w->text, line);
	buf_add_char(&w->text, '\0');
	if (buf_failed(&w->text))
		return problem_memory(p);
	for (from = strtok_r(w->text.data, " \t\r", &save); from != NULL;
	    from = strtok_r(NULL, " \t\r", &save)) {
		if (w->n == WORDS_MAX)
			return wrong(p, "more than 64 words");
		w->v[w->n++] = from;
	}
	return 0;
}

static int
run_words(struct lease_session *x, struct words_of_line *w, struct buf *out,
    struct problem *p)
{
	const struct lease_command *c;
	struct lease_session inner = *x;
	struct lease_args a;
	int used = 0;

	w->v[w->n] = NULL;
	c = lease_command_find(w->v, w->n, &used);
	if (c == NULL || c->alone)
		return wrong(p, c == NULL ? "no such command" :
		    "not in a batch");
	lease_args_init(&a);
	if (lease_args_read(&a, c, w->n - used + 1, w->v + used - 1, p) == -1)
		return -1;
	inner.json = inner.batch = true;
	if (a.company != NULL)
		inner.caller.company = a.company;
	if (a.actor != NULL)
		inner.caller.actor = a.actor;
	inner.caller.run = a.run != NULL ? a.run : "";
	return c->run(&inner, &a, out, p);
}

/* Its lines as the elements of an array. */
static void
put_answer(struct buf *answers, int status, struct span lines,
    const struct problem *p)
{
	size_t i;

	buf_add_str(answers, "{\"status\":");
	buf_add_int(answers, p != NULL ? lease_status_of_problem(p) : status);
	buf_add_str(answers, ",\"results\":[");
	for (i = 0; i < lines.n; i++)
		if (lines.p[i] != '\n')
			buf_add_char(answers, lines.p[i]);
		else if (i + 1 < lines.n)
			buf_add_char(answers, ',');
	buf_add_char(answers, ']');
	if (p != NULL) {
		buf_add_char(answers, ',');
		lease_put_problem(answers, p);
	}
	buf_add_str(answers, "}\n");
}

static void
answer_line(struct lease_session *x, struct span line, struct buf *answers)
{
	struct words_of_line w = { .n = 0 };
	struct problem p = { .kind = PROBLEM_NONE };
	struct buf out = { 0 };
	int status;

	status = line.n > 0 && *line.p == '[' ? split_array(&w, line, &p) :
	    split_blanks(&w, line, &p);
	if (status == 0)
		status = run_words(x, &w, &out, &p);
	if (buf_failed(&out)) {
		status = problem_memory(&p);
		buf_reset(&out, 0);
	}
	put_answer(answers, status, buf_span(&out), status == -1 ? &p :
	    NULL);
	problem_clear(&p);
	buf_free(&out);
	buf_free(&w.text);
}

static void
answer_all(struct lease_session *x, struct lines *in, struct buf *answers)
{
	enum lines_result result;
	struct span line;

	while ((result = lines_next(in, &line)) != LINES_NONE) {
		if (result == LINES_LINE)
			answer_line(x, line, answers);
		else
			buf_add_str(answers, "{\"status\":100,\"results\":[],"
			    "\"code\":\"usage\","
			    "\"message\":\"line: too long\"}\n");
		/* A reader may wait for each before it asks for more. */
		if (buf_failed(answers))
			cli_fail_memory(EXIT_LATER);
		cli_out(buf_span(answers));
		buf_reset(answers, 65536);
	}
}

int
lease_do_batch(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	struct lines in = { .fd = STDIN_FILENO, .max = LINE_MAX_BYTES };
	struct span line;
	ssize_t n;

	(void)a;
	while ((n = lines_fill(&in)) > 0)
		answer_all(x, &in, out);
	if (n == 0 && lines_last(&in, &line)) {
		answer_line(x, line, out);
		if (buf_failed(out))
			cli_fail_memory(EXIT_LATER);
	}
	lines_free(&in);
	return n == 0 ? EXIT_YES : problem_set(p, PROBLEM_LATER, "system",
	    "stdin: %s", strerror(errno));
}
