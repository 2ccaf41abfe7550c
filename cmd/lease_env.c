/* pc-lease env: the environments of a company. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli.h"
#include "io.h"
#include "leasecmd.h"

#define CONFIG_MAX (1 << 20)

/* --- the configuration that is asked for ------------------------------------ */

/* The text itself, or a file with it; - is standard input. */
static int
read_config(struct lease_session *x, const char *where, struct buf *b,
    struct problem *p)
{
	bool std = strcmp(where, "-") == 0;
	int fd, result = 0;

	if (*where == '{') {
		buf_add_str(b, where);
		return buf_failed(b) ? problem_memory(p) : 0;
	}
	if (x->batch)
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "config: in a batch, the text itself");
	fd = std ? STDIN_FILENO : open(where, O_RDONLY | O_CLOEXEC |
	    O_NOCTTY);
	if (fd == -1 || io_read_to_end(fd, b, CONFIG_MAX) == -1)
		result = problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "%s: %s", where, strerror(errno));
	else if (memchr(b->data, '\0', b->len) != NULL)
		result = problem_set(p, PROBLEM_INPUT, "invalid_input",
		    "%s: a NUL in it", where);
	if (fd != -1 && !std)
		io_close(fd);
	return result;
}

/* The words after -- are the channel, in place of one that is there. */
static int
put_channel(struct buf *b, char *const *words, struct problem *p)
{
	struct buf list = { 0 };
	size_t i;

	for (i = 0; words[i] != NULL; i++) {
		if (!utf8_is_valid(span_of(words[i]))) {
			buf_free(&list);
			return problem_set(p, PROBLEM_INPUT, "invalid_input",
			    "channel: not UTF-8");
		}
		buf_add_char(&list, i == 0 ? '[' : ',');
		json_put_string(&list, span_of(words[i]));
	}
	buf_add_str(b, "{\"channel\":{\"argv\":");
	buf_add_span(b, buf_span(&list));
	buf_add_str(b, "]}}");
	buf_free(&list);
	return 0;
}

static int
fill_config(struct lease_session *x, const struct lease_args *a,
    struct buf *b, struct environment_change *what, struct problem *p)
{
	if (a->config != NULL && a->command != NULL)
		return problem_set(p, PROBLEM_INPUT, "usage",
		    "a configuration, or a channel's words");
	if (a->config == NULL && a->command == NULL)
		return 0;
	if ((a->config != NULL ? read_config(x, a->config, b, p) :
	    put_channel(b, a->command, p)) == -1)
		return -1;
	buf_add_char(b, '\0');
	if (buf_failed(b))
		return problem_memory(p);
	what->config = b->data;
	return 0;
}

/* --- the commands ----------------------------------------------------------- */

static void
print(struct lease_session *x, struct buf *out, const struct environment *e)
{
	if (x->json)
		lease_put_environment(out, e);
	else
		lease_show_environment(out, e);
}

/* What the options say and the configuration, of selector; NULL: a new one. */
static int
change(struct lease_session *x, const struct lease_args *a,
    const char *selector, struct environment_change what, struct buf *out,
    struct problem *p)
{
	struct fields_memory m = { .first = NULL };
	struct buf config = { 0 };
	struct environment e;
	int result = fill_config(x, a, &config, &what, p);

	if (result == 0)
		result = selector == NULL ?
		    environment_add(x->s, &x->caller, &what, &e, &m, p) :
		    environment_set(x->s, &x->caller, selector, &what, &e,
		    &m, p);
	if (result == 0)
		print(x, out, &e);
	buf_free(&config);
	fields_free(&m);
	return result == 0 ? EXIT_YES : -1;
}

int
lease_env_add(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	return change(x, a, NULL, (struct environment_change){
	    .name = a->operands[0], .driver = a->driver,
	    .make_default = a->make_default }, out, p);
}

int
lease_env_set(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	return change(x, a, a->operands[0], (struct environment_change){
	    .name = a->name, .driver = a->driver, .status = a->status,
	    .make_default = a->make_default }, out, p);
}

int
lease_env_archive(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	return change(x, a, a->operands[0], (struct environment_change){
	    .status = "archived" }, out, p);
}

/* The one that acquire would take, or one of any status by its name. */
int
lease_env_show(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	const char *choice = environment_choose(a->levels);
	struct fields_memory m = { .first = NULL };
	struct environment e;
	int result;

	result = a->n > 0 ?
	    environment_find(x->s, &x->caller, a->operands[0], &e, &m, p) :
	    environment_resolve(x->s, &x->caller, choice, &e, &m, p);
	if (result == 0)
		print(x, out, &e);
	fields_free(&m);
	return result == 0 ? EXIT_YES : -1;
}

struct listing {
	struct buf *out;
	struct lease_table *table;	/* NULL: JSON */
};

static void
list_one(void *arg, const struct environment *e)
{
	const struct listing *l = arg;

	if (l->table == NULL) {
		lease_put_environment(l->out, e);
		return;
	}
	lease_table_add(l->table, e->name);
	lease_table_add(l->table, e->driver);
	lease_table_add(l->table, e->status);
	lease_table_add(l->table, e->is_default ? "default" : "");
	lease_table_add(l->table, e->id);
}

int
lease_env_list(struct lease_session *x, const struct lease_args *a,
    struct buf *out, struct problem *p)
{
	static const char *const headings[] = { "NAME", "DRIVER", "STATUS",
	    "DEFAULT", "ID" };
	struct lease_table t = { .columns = 5 };
	struct listing l = { out, x->json ? NULL : &t };
	int result;
	size_t i;

	(void)a;
	for (i = 0; i < t.columns && !x->json; i++)
		lease_table_add(&t, headings[i]);
	result = environment_list(x->s, &x->caller, list_one, &l, p);
	lease_table_end(&t, out);
	return result == 0 ? EXIT_YES : -1;
}
