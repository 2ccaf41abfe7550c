#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "compare.h"
#include "io.h"
#include "unpacking.h"

static int
write_origin(struct stage *s, const struct scope *scope, struct fault *f)
{
	struct manifest_writer out = { .fd = stage_file(s, ORIGIN) };
	char id[MANIFEST_ID_SIZE];
	int got = -1;

	if (out.fd == -1 || manifest_begin(&out, scope) == -1 ||
	    manifest_end(&out, id) == -1)
		staging_fault(f);
	else
		got = 0;
	manifest_writer_free(&out);
	io_close(out.fd);
	return got;
}

int
unpack_write_about(struct unpacking *k)
{
	const char *text = k->delta_origin ? "delta\n" : k->u->clean ?
	    "whole clean\n" : "whole\n";
	int dir = k->stage.dir, fd = stage_file(&k->stage, "about.new"), got;

	got = fd == -1 ? -1 : io_write_all(fd, text, strlen(text));
	io_close(fd);
	return got == -1 || renameat(dir, "about.new", dir,
	    STAGE_ABOUT) == -1 ? staging_fault(k->f) : 0;
}

/* What was begun must be ended in the same way. */
static int
check_about(struct unpacking *k)
{
	char text[16] = "";
	int fd = stage_file(&k->stage, STAGE_ABOUT);
	bool clean;

	if (fd == -1 || io_read_full(fd, text, sizeof(text) - 1) == -1) {
		io_close(fd);
		return staging_fault(k->f);
	}
	io_close(fd);
	k->delta_origin = strcmp(text, "delta\n") == 0;
	clean = strcmp(text, "whole clean\n") == 0;
	if (!k->delta_origin && clean != k->u->clean)
		return fault_input(k->f, span_of("archive"), clean ?
		    "goes on from one that was unpacked with --clean" :
		    "goes on from one that was unpacked without --clean");
	return 0;
}

/* Whether the transfer that was cut short has this id: 1, 0, -1. */
static int
is_partial(struct unpacking *k, const char *since)
{
	char id[MANIFEST_ID_SIZE];
	int about = stage_has(&k->stage, STAGE_ABOUT);

	if (about != 1)
		return about == -1 ? staging_fault(k->f) : 0;
	if (stage_again(&k->stage, k->f) == -1)
		return -1;
	if (staged_result_write(&k->stage, "partial", true, id, k->f) == 0)
		return strcmp(id, since) == 0;
	/* Killed while it was noted: it makes no tree, and is thrown away. */
	if (k->f->kind != FAULT_INPUT)
		return -1;
	fault_clear(k->f);
	return 0;
}

/* Goes on: what came first is part of what the archive starts from. */
static int
go_on(struct unpacking *k)
{
	int dir = k->stage.dir, fd;

	if (check_about(k) == -1)
		return -1;
	if (renameat(dir, "partial", dir, BASE) == -1)
		return staging_fault(k->f);
	fd = openat(dir, LINES, O_WRONLY | O_TRUNC | O_CLOEXEC);
	io_close(fd);
	if (fd == -1)
		return staging_fault(k->f);
	fd = openat(dir, DELETED, O_WRONLY | O_TRUNC | O_CLOEXEC);
	io_close(fd);
	return fd == -1 ? staging_fault(k->f) : 0;
}

static int
stored_fault(struct unpacking *k, const char *name)
{
	return fault_system(k->f, span_of(name));
}

/* Copies a stored manifest to `origin` if its id is since, or any (NULL). */
static int
take_stored(struct unpacking *k, const char *name, const char *since)
{
	struct fault ignored = { .kind = FAULT_NONE };
	char id[MANIFEST_ID_SIZE], block[65536];
	struct manifest *m;
	ssize_t n = 0;
	int fd, from, to, got = 0;

	fd = openat(k->stage.runtime, name, O_RDONLY | O_NOFOLLOW |
	    O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ?
		    0 : stored_fault(k, name);
	from = dup(fd);
	m = manifest_open(fd, name, &ignored);
	if (m != NULL && manifest_id(m, id, &ignored) == 0)
		got = since == NULL || strcmp(id, since) == 0;
	else if (ignored.kind == FAULT_SYSTEM && ignored.error != EISDIR) {
		errno = ignored.error;
		got = stored_fault(k, name);
	}
	manifest_free(m);
	fault_clear(&ignored);
	if (got == 1) {
		to = staged_file(&k->stage, ORIGIN);
		got = from == -1 || to == -1 || lseek(from, 0, SEEK_SET) == -1
		    ? -1 : 1;
		while (got == 1 && (n = io_read_full(from, block,
		    sizeof(block))) > 0)
			if (io_write_all(to, block, (size_t)n) == -1)
				got = -1;
		if (got == -1 || n == -1)
			got = staging_fault(k->f);
		io_close(to);
	}
	io_close(from);
	return got;
}

/*
 * A manifest of the tree as it is now, as `origin`, and its cache: 1 if its
 * id is since, 0, -1.
 */
static int
take_snapshot(struct unpacking *k, const char *since)
{
	struct manifest_writer out = { .fd = staged_file(&k->stage, ORIGIN) };
	struct statcache_writer cache = { .fd = -1 };
	struct statcache *old = origin_cache(&k->stage);
	char id[MANIFEST_ID_SIZE] = "";
	int got = -1;

	cache.fd = staged_file(&k->stage, ORIGIN_CACHE);
	if (out.fd == -1 || cache.fd == -1 || old == NULL)
		staging_fault(k->f);
	else if (tree_snapshot(k->u->root, k->u->scope, old, &out, &cache,
	    NULL, k->f) == 0)
		got = manifest_end(&out, id) == -1 ||
		    statcache_end(&cache) == -1 ? staging_fault(k->f) :
		    strcmp(id, since) == 0;
	k->origin_checked = k->cache_proved = got == 1;
	manifest_writer_free(&out);
	statcache_writer_free(&cache);
	statcache_free(old);
	io_close(out.fd);
	io_close(cache.fd);
	return got;
}

int
unpack_check_origin(struct unpacking *k)
{
	struct span none = { NULL, 0 };
	struct manifest *m = staged_manifest(k->stage.dir, ORIGIN, false, k->f);
	struct statcache *cache = origin_cache(&k->stage);
	struct compare_item item;
	struct compare *c = NULL;
	int got = -1;

	if (cache == NULL)
		staging_fault(k->f);
	else if (m != NULL)
		c = compare_open(k->u->root, none, manifest_scope(m), m,
		    cache, NULL, k->f);
	k->cache_proved = true;
	while (c != NULL && (got = compare_next(c, &item, k->f)) == 1) {
		if (item.now != NULL && item.now->summed &&
		    item.now->read_ns != INT64_MAX)
			k->cache_proved = false;
		if (item.change != CHANGE_NONE) {
			got = fault_input(k->f, item.path,
			    "changed since the manifest that the archive "
			    "starts from; take a snapshot");
			break;
		}
	}
	compare_free(c);
	statcache_free(cache);
	manifest_free(m);
	return got;
}

/* The patterns of the manifest that the archive starts from. */
static int
use_scope(struct unpacking *k)
{
	struct manifest *m = staged_manifest(k->stage.dir, ORIGIN, false, k->f);
	int got;

	if (m == NULL)
		return -1;
	got = scope_copy(&k->scope, manifest_scope(m));
	manifest_free(m);
	if (got == -1)
		return staging_fault(k->f);
	if (k->u->scope_given && !scope_equal(&k->scope, k->u->scope))
		return fault_input(k->f, span_of("archive"),
		    "made with other patterns (-x, -p)");
	k->use = &k->scope;
	return 0;
}

int
unpack_wrong_start(struct unpacking *k)
{
	fault_clear(k->f);
	return fault_input(k->f, span_of("archive"),
	    "starts from another tree than the one that is here");
}

static int
find_origin(struct unpacking *k, const char *since)
{
	int got = is_partial(k, since);

	if (got == -1)
		return -1;
	if (got == 1) {
		k->start = START_AGAIN;
		if (go_on(k) == -1)
			return -1;
		return use_scope(k);
	}
	k->start = START_DELTA;
	k->delta_origin = true;
	if (stage_fresh(&k->stage, k->f) == -1)
		return -1;
	got = take_stored(k, STORED_MANIFEST, since);
	if (got == 0)
		got = take_stored(k, STORED_NEXT, since);
	if (got == 0)
		got = take_snapshot(k, since);
	if (got == 0) {
		k->start = START_REPEAT;
		got = take_stored(k, STORED_MANIFEST, NULL);
	}
	if (got == 0)
		return unpack_wrong_start(k);
	return got == -1 ? -1 : use_scope(k);
}

int
unpack_find_start(struct unpacking *k, bool delta, const char *since)
{
	int about = stage_has(&k->stage, STAGE_ABOUT);

	if (about == -1)
		return staging_fault(k->f);
	if (delta && k->u->clean && about == 0)
		return fault_input(k->f, span_of("archive"),
		    "only what changed; --clean is for a whole tree");
	if (delta)
		return find_origin(k, since);
	k->start = START_WHOLE;
	k->use = k->u->scope;
	if (stage_fresh(&k->stage, k->f) == -1)
		return -1;
	return write_origin(&k->stage, k->use, k->f);
}
