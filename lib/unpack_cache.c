#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "unpacking.h"

#define WORTH_WAITING	(1024 * 1024)	/* bytes, for a tick of the clock */

/*
 * A cache of the new tree: a file's sum is known from the old cache, or from
 * the manifest when the file is as it was put there.
 */
static int
add_to_cache(struct unpacking *k, struct statcache_writer *w,
    struct found *now, const struct entry *e, struct statcache *old)
{
	uint8_t sum[SHA256_SIZE];
	bool known;

	if (e->type != ENTRY_FILE || now->entry.type != ENTRY_FILE)
		return 0;
	known = old != NULL && statcache_find(old, e->path, &now->at.st, sum);
	if (known && memcmp(sum, e->sha256, SHA256_SIZE) != 0)
		return 0;
	if (!known && (now->entry.size != e->size ||
	    now->entry.mtime_ns != e->mtime_ns))
		return 0;
	return statcache_add(w, e->path, &now->at.st, statcache_clock(),
	    e->sha256) == -1 ? staging_fault(k->f) : 0;
}

static int
rewrite_cache(struct unpacking *k)
{
	struct span none = { NULL, 0 };
	struct statcache_writer out = { .fd = staged_file(&k->stage,
	    RESULT CACHE_SUFFIX) };
	struct manifest *m = staged_manifest(k->stage.dir, RESULT, false, k->f);
	struct statcache *old = origin_cache(&k->stage);
	struct walk *w = walk_open(k->u->root, none, k->use, false);
	const struct entry *e;
	struct found now;
	bool failed = false;
	int got = -1, order;

	if (out.fd == -1 || m == NULL || old == NULL || w == NULL) {
		staging_fault(k->f);
		goto out;
	}
	while ((got = tree_next(w, &now, NULL, k->f)) == 1) {
		while ((e = manifest_peek(m, k->f, &failed)) != NULL &&
		    (order = path_compare(e->path, now.entry.path)) <= 0) {
			if (order == 0 && add_to_cache(k, &out, &now, e,
			    old) == -1)
				failed = true;
			manifest_next(m);
		}
		if (failed)
			break;
	}
	got = failed || got == -1 ? -1 : statcache_end(&out) == -1 ?
	    staging_fault(k->f) : 0;
out:
	walk_free(w);
	statcache_free(old);
	manifest_free(m);
	statcache_writer_free(&out);
	io_close(out.fd);
	return got;
}

/* The old cache, which proved everything, with what was put in between. */
static int
update_cache(struct unpacking *k)
{
	struct statcache_writer out = { .fd = staged_file(&k->stage,
	    RESULT CACHE_SUFFIX) };
	struct manifest *lines = staged_manifest(k->stage.dir, LINES, true,
	    k->f);
	struct statcache *old = origin_cache(&k->stage);
	int got = -1;

	if (out.fd == -1 || old == NULL)
		staging_fault(k->f);
	else if (lines != NULL)
		got = tree_update_cache(k->u->root, lines, old, &out, k->f);
	if (got == 0 && statcache_end(&out) == -1)
		got = staging_fault(k->f);
	statcache_free(old);
	manifest_free(lines);
	statcache_writer_free(&out);
	io_close(out.fd);
	return got;
}

/*
 * A rename is a change: what was moved just now proves nothing until the
 * clock has gone on.  When that is a lot to read again, it is waited for.
 */
int
unpack_write_cache(struct unpacking *k)
{
	if (k->r.bytes > WORTH_WAITING)
		poll(NULL, 0, statcache_step_ms());
	return k->start == START_DELTA && k->cache_proved ? update_cache(k) :
	    rewrite_cache(k);
}

/*
 * The tree is as it should be, and cannot be read or said: it has no manifest
 * then, and not the one of what it was before.
 */
static int
do_without(struct unpacking *k)
{
	static const char *const made[] = { RESULT, RESULT CACHE_SUFFIX };
	static const char *const stored[] = { STORED_MANIFEST,
	    STORED_MANIFEST CACHE_SUFFIX };
	size_t i;

	notice(k->u->notices, NOTICE_LEFT_OUT, buf_span(&k->f->object),
	    "cannot be in a manifest; none is stored");
	fault_clear(k->f);
	for (i = 0; i < 2; i++)
		if ((unlinkat(k->stage.dir, made[i], 0) == -1 &&
		    errno != ENOENT) ||
		    (unlinkat(k->stage.runtime, stored[i], 0) == -1 &&
		    errno != ENOENT))
			return staging_fault(k->f);
	return 0;
}

int
unpack_write_snapshot(struct unpacking *k)
{
	struct manifest_writer out = { .fd = -1 };
	struct statcache_writer cache = { .fd = -1 };
	char id[MANIFEST_ID_SIZE];
	int got = -1;

	if ((out.fd = staged_file(&k->stage, RESULT)) == -1 ||
	    (cache.fd = staged_file(&k->stage, RESULT CACHE_SUFFIX)) == -1)
		staging_fault(k->f);
	else if (tree_snapshot(k->u->root, k->use, NULL, &out, &cache, NULL,
	    k->f) == 0)
		got = manifest_end(&out, id) == -1 ||
		    statcache_end(&cache) == -1 ? staging_fault(k->f) : 0;
	manifest_writer_free(&out);
	statcache_writer_free(&cache);
	io_close(out.fd);
	io_close(cache.fd);
	return got == -1 && (k->f->kind == FAULT_INPUT ||
	    (k->f->kind == FAULT_SYSTEM && k->f->error == EACCES)) ?
	    do_without(k) : got;
}
