#include <sys/mman.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"
#include "io.h"
#include "run_lease.h"
#include "units.h"

#define GRANT_MAX	(1 << 20)
#define WORDS_MAX	64	/* of our options, and two for each level */

/* --- asking ----------------------------------------------------------------- */

struct words_of {
	char **v;
	size_t n, room;
};

static void
add(struct words_of *w, const char *word)
{
	char **v;

	if (w->n + 1 >= w->room) {
		w->room = w->room * 2 + WORDS_MAX;
		if ((v = realloc(w->v, w->room * sizeof(*v))) == NULL)
			cli_fail_errno("arguments");
		w->v = v;
	}
	w->v[w->n++] = (char *)(uintptr_t)word;
	w->v[w->n] = NULL;
}

static void
add_option(struct words_of *w, const char *option, const char *value)
{
	if (value != NULL) {
		add(w, option);
		add(w, value);
	}
}

static char *
text_of(const char *format, const char *a, const char *b)
{
	char *text;

	if (asprintf(&text, format, a, b) == -1)
		cli_fail_memory(EXIT_LATER);
	return text;
}

static void
begin_words(struct words_of *w, const struct runconfig *c, const char *folder)
{
	add(w, text_of("%s/%s", folder, "pc-lease"));
	add_option(w, "--store", c->lease.store);
	add_option(w, "--company", c->lease.company);
}

static void
add_selection(struct words_of *w, const struct runconfig *c)
{
	size_t i;

	for (i = 0; i < c->lease.levels.n; i++)
		add_option(w, "--for", c->lease.levels.v[i]);
	if (*c->lease.environment != '\0')
		add(w, c->lease.environment);
}

/* A file of which the one that becomes of us has the only name. */
static int
hand_on(struct span text)
{
	int fd = memfd_create("config", 0);

	if (fd == -1 || io_write_all(fd, text.p, text.n) == -1 ||
	    lseek(fd, 0, SEEK_SET) == -1)
		cli_fail_errno("configuration");
	return fd;
}

void
run_lease_become(const struct runconfig *c, struct span text,
    const char *folder, char *const argv[])
{
	struct words_of w = { NULL, 0, 0 };
	char wait[32], file[32];
	size_t i;

	begin_words(&w, c, folder);
	add(&w, "run");
	add(&w, "--report");
	if (c->lease.wait_ms != -1) {
		(void)snprintf(wait, sizeof(wait), "%lldms",
		    (long long)c->lease.wait_ms);
		add_option(&w, "-t", wait);
	}
	add_option(&w, "--run", c->api.run_id);
	add_option(&w, "--workspace", c->lease.workspace);
	add_option(&w, "--issue", c->lease.issue);
	add_selection(&w, c);
	add(&w, "--");
	add(&w, text_of("%s/%s", folder, "pc-run"));
	(void)snprintf(file, sizeof(file), "%d", hand_on(text));
	add_option(&w, "--leased", file);
	for (i = 1; argv[i] != NULL; i++)
		add(&w, argv[i]);
	execv(w.v[0], w.v);
	cli_fail_errno(w.v[0]);
}

/* --- what the environment and the lease say --------------------------------- */

struct known {
	char *name, *driver, *remote, *provider;
	struct span channel;
	int64_t epoch;
	char *provider_lease;
	char *realised, *api_url;	/* of the metadata */
};

#define MEMBER(name, kind, member) .key = (name), .type = (kind), \
	.at = offsetof(struct known, member)

static const struct field config_fields[] = {
	{ MEMBER("channel", FIELD_JSON, channel) },
	{ MEMBER("provider", FIELD_TEXT, provider) },
	{ MEMBER("remoteCwd", FIELD_TEXT, remote) },
	{ FIELDS_OTHERS }
};

static const struct field environment_fields[] = {
	{ .key = "config", .type = FIELD_OBJECT, .fields = config_fields },
	{ MEMBER("driver", FIELD_TEXT, driver) },
	{ MEMBER("name", FIELD_TEXT, name) },
	{ FIELDS_OTHERS }
};

static const struct field metadata_fields[] = {
	{ MEMBER("apiUrl", FIELD_TEXT, api_url) },
	{ MEMBER("remoteCwd", FIELD_TEXT, realised) },
	{ FIELDS_OTHERS }
};

static const struct field lease_fields[] = {
	{ MEMBER("epoch", FIELD_NUMBER, epoch) },
	{ .key = "metadata", .type = FIELD_OBJECT, .fields = metadata_fields },
	{ MEMBER("provider", FIELD_TEXT, provider) },
	{ MEMBER("providerLeaseId", FIELD_TEXT, provider_lease) },
	{ FIELDS_OTHERS }
};

static const struct field grant_fields[] = {
	{ .key = "environment", .type = FIELD_OBJECT,
	    .fields = environment_fields },
	{ .key = "lease", .type = FIELD_OBJECT, .fields = lease_fields },
	{ .key = NULL }
};

static void
parse(struct run_lease *l, struct span text, const struct field *fields,
    struct known *k)
{
	struct fault f = { .kind = FAULT_NONE };

	*k = (struct known){ .name = NULL };
	if (fields_read(text, fields, k, &l->memory, &f) == -1)
		cli_fail_fault(&f);
	if (k->name == NULL || k->driver == NULL)
		cli_fail(EXIT_NEVER, "pc-lease", "no environment came from it");
	l->name = k->name;
	l->driver = k->driver;
}

/* The channel that the environment has. */
static void
take_channel(struct run_lease *l, struct runconfig *c, struct span channel)
{
	struct fault f = { .kind = FAULT_NONE };
	struct buf text = { .data = NULL };

	buf_add_str(&text, "{\"channel\":");
	buf_add_span(&text, channel);
	buf_add_char(&text, '}');
	if (buf_failed(&text))
		cli_fail_memory(EXIT_LATER);
	if (runconfig_read(&l->of_environment, buf_span(&text), &f) == -1)
		cli_fail_fault(&f);
	c->channel = l->of_environment.channel;
	buf_free(&text);
}

/* A local environment is this host: nothing is carried, or provisioned. */
static void
take_host(struct runconfig *c)
{
	static char program[] = "env", transport[] = "local";
	static char *argv[] = { program, NULL };
	const char *folder = c->workspace.local != NULL ?
	    c->workspace.local : ".";

	c->channel.argv = (struct texts){ argv, 1 };
	if (c->channel.transport == NULL)
		c->channel.transport = transport;
	if ((c->workspace.remote = realpath(folder, NULL)) == NULL)
		cli_fail(EXIT_NEVER, folder, strerror(errno));
	if (c->agent.cwd == NULL)
		c->agent.cwd = c->workspace.remote;
	c->workspace.local = NULL;
	c->provision.command = (struct words){ .line = NULL };
}

static void
use(struct run_lease *l, struct runconfig *c, const struct known *k)
{
	bool local = strcmp(k->driver, "local") == 0;

	if (c->channel.argv.n == 0 && k->channel.n > 0)
		take_channel(l, c, k->channel);
	if (c->channel.argv.n == 0 && local)
		take_host(c);
	if (c->channel.provider == NULL)
		c->channel.provider = k->provider;
	if (c->channel.sandbox_id == NULL)
		c->channel.sandbox_id = k->provider_lease;
	if (c->workspace.remote == NULL)
		c->workspace.remote = k->realised != NULL ? k->realised :
		    k->remote;
	if (k->api_url != NULL)
		c->api.url = k->api_url;
}

/* Up to a newline or the end; who sends it sends no more than a line. */
static void
read_line(int fd, struct buf *line)
{
	while (line->len < GRANT_MAX && (line->len == 0 ||
	    line->data[line->len - 1] != '\n')) {
		ssize_t n = io_read_some(fd, line, GRANT_MAX - line->len);

		if (n == -1)
			cli_fail_errno("PC_LEASE_FD");
		if (n == 0)
			break;
	}
	if (buf_failed(line))
		cli_fail_memory(EXIT_LATER);
}

void
run_lease_take(struct run_lease *l, struct runconfig *c, uint64_t *epoch)
{
	const char *text = getenv("PC_LEASE_FD");
	struct buf line = { .data = NULL };
	struct known k;
	uint64_t fd;

	if (text == NULL || units_parse_number(text, INT_MAX, &fd) == -1 ||
	    fd < 3 || fcntl((int)fd, F_SETFD, FD_CLOEXEC) == -1)
		cli_usage("--leased is for pc-lease run --report");
	(void)unsetenv("PC_LEASE_FD");
	l->fd = (int)fd;
	read_line(l->fd, &line);
	parse(l, buf_span(&line), grant_fields, &k);
	if (*epoch == 0)
		*epoch = (uint64_t)k.epoch;
	use(l, c, &k);
	buf_free(&line);
}

void
run_lease_look(struct run_lease *l, struct runconfig *c, const char *folder)
{
	struct words_of w = { NULL, 0, 0 };
	struct buf line = { .data = NULL };
	struct known k;
	int ends[2], status;
	pid_t pid;

	begin_words(&w, c, folder);
	add(&w, "env");
	add(&w, "show");
	add(&w, "--json");
	add_selection(&w, c);
	if (pipe2(ends, O_CLOEXEC) == -1 || (pid = fork()) == -1)
		cli_fail_errno("pc-lease");
	if (pid == 0) {
		(void)dup2(ends[1], STDOUT_FILENO);
		execv(w.v[0], w.v);
		cli_fail_errno(w.v[0]);
	}
	io_close(ends[1]);
	read_line(ends[0], &line);
	io_close(ends[0]);
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		continue;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_LATER);
	parse(l, buf_span(&line), environment_fields, &k);
	use(l, c, &k);
	buf_free(&line);
}

/* --- telling ---------------------------------------------------------------- */

/* The run is what matters: a holder that has gone is told nothing. */
static void
tell(const struct run_lease *l, struct buf *line)
{
	buf_add_str(line, "}\n");
	if (l->fd != -1 && !buf_failed(line))
		(void)io_write_all(l->fd, line->data, line->len);
	buf_free(line);
}

void
run_lease_tell_places(const struct run_lease *l, struct span members)
{
	struct buf line = { .data = NULL };

	buf_add_str(&line, "{\"metadata\":{");
	buf_add_span(&line, members);
	buf_add_char(&line, '}');
	tell(l, &line);
}

void
run_lease_tell_failure(const struct run_lease *l, const char *words)
{
	struct buf line = { .data = NULL };

	buf_add_str(&line, "{\"failure\":");
	if (!utf8_is_valid(span_of(words)))
		words = "not in UTF-8";
	json_put_string(&line, span_of(words));
	tell(l, &line);
}

char *
run_lease_words(const struct run_lease *l, const char *phase, const char *why)
{
	static const struct {
		const char *phase, *words;
		bool driver;
	} table[] = {
		{ "transport", "resolve execution transport for", false },
		{ "bootstrap", "resolve execution target for", false },
		{ "recover", "realize workspace for environment", true },
		{ "sync-in", "realize workspace for environment", true },
		{ "provision", "provision workspace for environment", true }
	};
	size_t i, n = phase != NULL ? strlen(phase) : 0;
	char *text;

	for (i = 0; l->name != NULL && phase != NULL &&
	    i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(phase, table[i].phase) != 0)
			continue;
		if (strncmp(why, phase, n) == 0 && why[n] == ':')
			why += n + 1 + (why[n + 1] == ' ');
		if (asprintf(&text, "Failed to %s \"%s\"%s%s%s: %s",
		    table[i].words, l->name, table[i].driver ? " (" : "",
		    table[i].driver ? l->driver : "",
		    table[i].driver ? ")" : "", why) == -1)
			break;
		return text;
	}
	if ((text = strdup(why)) == NULL)
		cli_fail_memory(EXIT_LATER);
	return text;
}
