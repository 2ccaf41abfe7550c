/*
 * Our one file in the sandbox: used if it is the same, else put there; and
 * what there is in the sandbox.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base64.h"
#include "io.h"
#include "running.h"
#include "sha256.h"

#define FILE_MAX (64 << 20)

struct probe {
	char *version, *sha256, *cwd, *home, *tmpfs, *scratch;
	struct fields_memory memory;
};

/* null, and what has a NUL in it, is as if the key were not there. */
static char *
probe_text(struct probe *p, const struct json *j, size_t token)
{
	size_t len;
	char *text;

	if (json_type_of(j, token) != JSON_STRING)
		return NULL;
	text = fields_copy(&p->memory, json_raw(j, token), &len);
	return text != NULL && strlen(text) == len ? text : NULL;
}

/* What pc-exec --probe has printed: 0 or -1. */
static int
read_probe(struct probe *p, struct span text)
{
	static const struct {
		const char *key;
		size_t at;
	} keys[] = {
		{ "version", offsetof(struct probe, version) },
		{ "sha256", offsetof(struct probe, sha256) },
		{ "cwd", offsetof(struct probe, cwd) },
		{ "home", offsetof(struct probe, home) },
		{ "tmpfs", offsetof(struct probe, tmpfs) },
		{ "scratch", offsetof(struct probe, scratch) }
	};
	struct json j = { .tokens = NULL };
	size_t at, k;
	int result = -1;

	*p = (struct probe){ .version = NULL };
	if (json_parse(&j, text) == 0 && json_type_of(&j, 0) == JSON_OBJECT) {
		for (at = 1; at < j.count; at = json_skip(&j, at + 1))
			for (k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
				if (json_string_is(json_raw(&j, at),
				    keys[k].key))
					*(char **)(void *)((char *)p +
					    keys[k].at) = probe_text(p, &j,
					    at + 1);
		result = 0;
	}
	json_free(&j);
	return result;
}

/* The static file on the host, into b; its name, or NULL. */
static char *
find_file(struct run *r, struct buf *b)
{
	static const char *const places[] = { "static/pc-tools", "pc-tools",
	    "../lib/pc-tools/pc-tools" };
	char *name = r->c->tools.local;
	size_t i;
	int fd = -1;

	for (i = 0; name == NULL && i < sizeof(places) / sizeof(places[0]);
	    i++) {
		name = run_text(r, "%s/%s", r->o->tools, places[i]);
		if (name != NULL && access(name, R_OK) == -1)
			name = NULL;
	}
	if (name == NULL && r->o->dry)
		return run_text(r, "pc-tools");
	if (name == NULL) {
		(void)run_fail(r, RUN_STATUS_NEVER, "tools.local: no static "
		    "pc-tools beside pc-run (make static)");
		return NULL;
	}
	if ((fd = open(name, O_RDONLY | O_CLOEXEC)) == -1 ||
	    io_read_to_end(fd, b, FILE_MAX) == -1) {
		(void)run_fail(r, RUN_STATUS_NEVER, "%s: %s", name,
		    strerror(errno));
		io_close(fd);
		return NULL;
	}
	io_close(fd);
	return name;
}

static void
sum_of(struct span text, char hex[static SHA256_HEX_SIZE])
{
	uint8_t sum[SHA256_SIZE];
	struct sha256 s;

	sha256_init(&s);
	sha256_add(&s, text.p, text.n);
	sha256_end(&s, sum);
	sha256_hex(sum, hex);
}

/* A name that the next run of the same kind finds again. */
static char *
scratch_name(struct run *r)
{
	char hex[SHA256_HEX_SIZE];
	struct buf b = { 0 };
	char *name = NULL;

	runconfig_put_identity(&b, r->c);
	buf_add_str(&b, r->c->adapter);
	if (buf_failed(&b)) {
		errno = ENOMEM;
		(void)run_fail_errno(r, "memory");
	} else {
		sum_of(buf_span(&b), hex);
		name = run_text(r, "pc-run-%.16s", hex);
	}
	buf_free(&b);
	return name;
}

/* 0 when it is there and the same; 1 when it is not; -1. */
static int
probe(struct run *r, const char *scratch, const char *sum, struct probe *p)
{
	struct exec e = { .action = "probe", .tried = true };
	struct wordlist w = { .v = NULL };
	struct buf out = { 0 };
	int result;

	words_add(r, &w, r->tools);
	words_add(r, &w, "pc-exec");
	words_add(r, &w, "--probe");
	if (r->c->api.url != NULL) {
		words_add(r, &w, "--scratch");
		words_add(r, &w, scratch);
	}
	e.out = &out;
	result = run_words(r, &e, &w);
	if (result >= 0) {
		run_event(r, "bootstrap", "probe", "\"status\":%d", result);
		if (result != 0 || read_probe(p, buf_span(&out)) == -1 ||
		    p->sha256 == NULL || strcmp(p->sha256, sum) != 0)
			result = r->o->dry ? 0 : 1;
	}
	buf_free(&out);
	return result;
}

/* A command of the host's that copies the file. */
static int
copy_file(struct run *r, const char *file)
{
	const struct texts *copy = &r->c->tools.copy;
	struct wordlist w = { .v = NULL };
	size_t i;

	for (i = 0; i < copy->n; i++) {
		const char *word = copy->v[i], *hole;
		struct buf b = { 0 };

		for (; (hole = strchr(word, '{')) != NULL; word = hole) {
			buf_add(&b, word, (size_t)(hole - word));
			if (strncmp(hole, "{local}", 7) == 0) {
				buf_add_str(&b, file);
				hole += 7;
			} else if (strncmp(hole, "{remote}", 8) == 0) {
				buf_add_str(&b, r->tools);
				hole += 8;
			} else {
				buf_add_char(&b, *hole++);
			}
		}
		buf_add_str(&b, word);
		buf_add_char(&b, '\0');
		if (buf_failed(&b))
			(void)run_fail_errno(r, "memory");
		words_add(r, &w, buf_failed(&b) ? NULL : b.data);
		buf_free(&b);
	}
	return run_local(r, "tools.copy", &w, NULL);
}

/* A script for sh: everything in it that varies is plain. */
static void
put_script(struct run *r, struct buf *out, struct span file,
    const char *scratch)
{
	const char *slash = strrchr(r->tools, '/');
	struct buf text = { 0 };
	size_t at;

	buf_add_str(out, "set -e\numask 022\nmkdir -p ");
	buf_add(out, r->tools, slash == r->tools ? 1 :
	    (size_t)(slash - r->tools));
	buf_add_str(out, "\nt=");
	buf_add_str(out, r->tools);
	buf_add_str(out, ".$$\ntrap 'rm -f \"$t\"' EXIT\n"
	    "base64 -d >\"$t\" <<'END-OF-FILE'\n");
	base64_encode(&text, file);
	for (at = 0; at < text.len; at += 76) {
		buf_add(out, text.data + at,
		    text.len - at < 76 ? text.len - at : 76);
		buf_add_char(out, '\n');
	}
	buf_add_str(out, "END-OF-FILE\nchmod 755 \"$t\"\nmv -f \"$t\" ");
	buf_add_str(out, r->tools);
	buf_add_str(out, "\ntrap - EXIT\nexec ");
	buf_add_str(out, r->tools);
	buf_add_str(out, " pc-exec --probe");
	if (r->c->api.url != NULL) {
		buf_add_str(out, " --scratch ");
		buf_add_str(out, scratch);
	}
	buf_add_char(out, '\n');
	if (buf_failed(&text))
		out->failed = true;
	buf_free(&text);
}

static int
put_file(struct run *r, struct span file, const char *scratch,
    const char *sum, struct probe *p)
{
	struct exec e = { .action = "putting the tools there",
	    .kind = EXEC_SHELL, .tried = true };
	struct buf script = { 0 }, out = { 0 };
	char *said;
	int status = -1;

	put_script(r, &script, file, scratch);
	if (buf_failed(&script)) {
		errno = ENOMEM;
		(void)run_fail_errno(r, "memory");
		goto out;
	}
	e.input = buf_span(&script);
	e.out = &out;
	if ((status = run_exec(r, &e)) == -1)
		goto out;
	if (status == 0 && (r->o->dry || (read_probe(p, buf_span(&out)) == 0 &&
	    p->sha256 != NULL && strcmp(p->sha256, sum) == 0)))
		goto out;
	said = run_last_lines(r, e.tail, 3, 1000);
	status = run_fail(r, status == 126 || status == 127 ?
	    RUN_STATUS_NEVER : RUN_STATUS_LATER, "the tools cannot be put at "
	    "%s by a shell there (exit code %d%s%s): see tools.copy and "
	    "tools.remote", r->tools, status, said != NULL && *said != '\0' ?
	    ": " : "", said != NULL ? said : "");
out:
	buf_free(&script);
	buf_free(&out);
	return status;
}

static int
put_or_copy(struct run *r, const char *name, struct span file,
    const char *scratch, const char *sum, struct probe *p)
{
	int result;

	run_event(r, "bootstrap", "put", "\"bytes\":%zu", file.n);
	if (r->c->tools.copy.n == 0)
		return put_file(r, file, scratch, sum, p);
	if (copy_file(r, name) == -1)
		return -1;
	if ((result = probe(r, scratch, sum, p)) == 1)
		return run_fail(r, RUN_STATUS_NEVER, "%s: not our file, "
		    "after tools.copy has put it there", r->tools);
	return result;
}

int
run_bootstrap(struct run *r)
{
	char sum[SHA256_HEX_SIZE], *scratch, *name;
	struct probe p = { .version = NULL };
	struct buf file = { 0 };
	int result = -1;

	r->tools = r->c->tools.remote != NULL ? r->c->tools.remote :
	    run_text(r, "%s/pc-tools", r->root);
	if (r->tools == NULL || (scratch = scratch_name(r)) == NULL)
		return -1;
	if (!runconfig_is_plain(r->tools))
		return run_fail(r, RUN_STATUS_NEVER, "%s: not a plain path: "
		    "give tools.remote", r->tools);
	if ((name = find_file(r, &file)) == NULL)
		goto out;
	sum_of(buf_span(&file), sum);
	result = probe(r, scratch, sum, &p);
	if (result == 1)
		result = put_or_copy(r, name, buf_span(&file), scratch, sum,
		    &p);
	r->ready = result == 0;
	if (result != 0 || r->c->api.url == NULL)
		goto out;
	r->queue_is_scratch = p.scratch != NULL;
	r->queue = p.scratch != NULL ? run_text(r, "%s", p.scratch) :
	    run_text(r, "%s/paperclip-bridge/queue", r->root);
	if (r->queue == NULL)
		result = -1;
	run_event(r, "bootstrap", "queue", "\"queue\":%s",
	    run_quoted(r, r->queue));
out:
	fields_free(&p.memory);
	buf_free(&file);
	return result;
}
